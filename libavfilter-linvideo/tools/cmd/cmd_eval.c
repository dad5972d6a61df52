/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo eval`: how often a model shows what held-out prompts ask for, and how near
 * its clips are to rendered ones. Clips are made through the public API.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linvideo/linvideo.h>

#include "api/model.h"
#include "base/common.h"
#include "tools/share/arguments.h"
#include "tools/share/canvas.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/plot.h"
#include "tools/share/progress.h"
#include "tools/share/sheet.h"
#include "train/clips/caption.h"
#include "train/measure/evaluate.h"

enum { SHEET_CLIPS = 24 };

typedef struct Eval {
    LinvideoParams params;
    LvMsg msg;
    LvBar bar;
    int prompts, seed, verbose;
    int plain;                ///< wording
    int json_only;            ///< JSON goes to standard output
    int overwrite;
    const char *model, *json, *plots, *sheet_path, *log;
    char path[LV_PATH_SIZE];  ///< of the model
    LvDevice *dev;
    LvEvaluation *evaluation;
    LinvideoContext *context;
    LinvideoInfo info;
    LvCanvas canvas;          ///< a frame as delivered
    float *clip;
    LvSheet sheet;
    LvEvalResult result[LV_EVAL_SOURCES];
    int *mistakes;
    double made, measured;    ///< seconds
} Eval;

static const char *const source_names[] = { "generated", "data", "autoencoder" };
static const char *const kind_names[]   = { "objects", "material" };

/* Rows of a kind of clip, by bit of lv_measure_matches(). */
static const char *const row_names[2][4] = {
    { "colour", "shape", "motion", "background" },
    { "colour", "kind", "kind and side", "background" },
};

/* Mistakes that are worth telling apart */

static int is_swapped(const LvMeasured *f, const LvScene *s)
{
    return f->color == s->back && f->back == s->color;
}

static int is_other_kind(const LvMeasured *f, const LvScene *s)
{
    return f->kind != s->kind;
}

static int is_opposite(const LvMeasured *f, const LvScene *s)
{
    static const int opposite[LV_MOTION_NB] = {
        [LV_LEFT] = LV_RIGHT, [LV_RIGHT] = LV_LEFT,
        [LV_UP] = LV_DOWN, [LV_DOWN] = LV_UP,
        [LV_CIRCLING] = -1, [LV_BOUNCING] = -1, [LV_SPINNING] = -1,
        [LV_GROWING] = LV_SHRINKING, [LV_SHRINKING] = LV_GROWING, [LV_PULSING] = -1,
        [LV_STILL] = -1,
    };

    return f->kind == LV_SCENE_OBJECT && s->kind == LV_SCENE_OBJECT &&
           (int)f->motion == opposite[s->motion];
}

static const struct {
    const char *name;
    int (*is)(const LvMeasured *found, const LvScene *s);
} mistakes[] = {
    { "colours in front and behind swapped", is_swapped },
    { "another kind of clip", is_other_kind },
    { "the opposite motion", is_opposite },
};

/* Making clips */

static void write_prompt(const Eval *e, char text[LV_CAPTION_SIZE], int index)
{
    LvScene s;

    lv_scene_draw(&s, (uint64_t)e->seed, (uint64_t)index, 1);
    if (e->plain)
        lv_caption_plain(text, LV_CAPTION_SIZE, &s);
    else
        lv_caption_write(text, LV_CAPTION_SIZE, &s, (uint64_t)e->seed, (uint64_t)index);
}

static void put_message(void *opaque, int level, const char *line)
{
    lv_tool_log(opaque, level, line);
}

static int open_evaluation(Eval *e)
{
    static const LvDtype types[] = { LV_NONE, LV_F32, LV_BF16 };
    LvDeviceOptions options = { .threads = e->params.threads };
    int ret;

    if ((ret = lv_device_open(&e->dev, e->params.device, &options, &e->msg)) < 0)
        return ret;
    return lv_evaluation_new(&e->evaluation, e->path, (uint64_t)e->seed, e->prompts,
                             types[e->params.precision], e->dev, &e->msg);
}

static int open_model(Eval *e)
{
    const LvVideoConfig *v = lv_evaluation_video(e->evaluation);
    char text[LV_CAPTION_SIZE];
    int ret;

    write_prompt(e, text, 0);
    e->params.model  = e->path;
    e->params.prompt = text;
    e->params.format = LINVIDEO_RGB24;
    e->params.frames = (int64_t)e->prompts * v->frames;
    if ((ret = linvideo_open(&e->context, &e->params)) < 0)
        return ret;
    linvideo_info(e->context, &e->info);
    e->clip = lv_alloc(3 * sizeof(float) * (size_t)v->frames * (size_t)v->width *
                       (size_t)v->height);
    if (!e->clip || lv_canvas_alloc(&e->canvas, LINVIDEO_RGB24, v->width, v->height) ||
        (e->sheet_path && lv_sheet_new(&e->sheet, v->width, v->height, v->frames,
                                       LV_MIN(e->prompts, SHEET_CLIPS))))
        return lv_tool_fail(-ENOMEM, "out of memory");
    return 0;
}

static int make_clip(Eval *e, int index, const char *prompt)
{
    size_t size = e->canvas.size;
    int ret = index ? linvideo_set_prompt(e->context, prompt) : 0;

    for (int f = 0; f < e->info.clip_frames && !ret; f++) {
        ret = linvideo_next_frame(e->context, &e->canvas.frame);
        lv_measure_from_u8(e->clip + (size_t)f * size, e->canvas.frame.data[0], size);
    }
    return ret;
}

/* "12 csm- a red star...: red star growing on plain pink" */
static void print_clip(Eval *e, int index, const char *prompt, int bits,
                       const LvMeasured *found)
{
    char seen[LV_CAPTION_SIZE], marks[] = "csmb";

    for (int i = 0; i < 4; i++)
        if (!(bits >> i & 1))
            marks[i] = '-';
    lv_measured_text(seen, sizeof(seen), found);
    lv_bar_clear(&e->bar);
    printf("%4d %s %s: %s\n", index, marks, prompt, seen);
}

static int take_clip(Eval *e, int index, const char *prompt)
{
    LvMeasured found;
    LvScene scene;
    int bits = lv_evaluation_clip(e->evaluation, e->clip, &scene, &found);

    if (bits < 0)
        return bits;
    for (int i = 0; i < LV_COUNT(mistakes); i++)
        e->mistakes[i] += bits != LV_MATCH_ALL && mistakes[i].is(&found, &scene);
    if (e->sheet_path && index < SHEET_CLIPS)
        lv_sheet_paste(&e->sheet, index, e->clip);
    if (e->verbose && !e->json_only)
        print_clip(e, index, prompt, bits, &found);
    return 0;
}

static int make_clips(Eval *e)
{
    for (int i = 0; i < e->prompts; i++) {
        char prompt[LV_CAPTION_SIZE];
        double start = lv_seconds(), middle;
        int ret;

        write_prompt(e, prompt, i);
        if ((ret = make_clip(e, i, prompt)) < 0)
            return ret;
        middle = lv_seconds();
        if ((ret = take_clip(e, i, prompt)) < 0)
            return ret;
        e->made     += middle - start;
        e->measured += lv_seconds() - middle;
    }
    lv_bar_clear(&e->bar);
    return lv_evaluation_finish(e->evaluation, e->result);
}

/* Results */

static double percent(int part, int all)
{
    return 100.0 * part / LV_MAX(all, 1);
}

static void print_kind(const Eval *e, int kind)
{
    const LvEvalResult *r = e->result;

    if (!r->score.clips[kind])
        return;
    printf("%s: %d\n", kind_names[kind], r->score.clips[kind]);
    for (int i = 0; i < 5; i++) {
        printf("  %-22s", i < 4 ? row_names[kind][i] : "all of these");
        for (int k = 0; k < LV_EVAL_SOURCES; k++) {
            const LvScore *s = &r[k].score;
            printf("%10.1f %%", percent(i < 4 ? s->right[kind][i] : s->all[kind],
                                        s->clips[kind]));
        }
        putchar('\n');
    }
}

static void print_table(const Eval *e)
{
    const LvEvalResult *r = e->result;
    double flicker = LV_MAX(r[LV_EVAL_DATA].flicker, 1e-30);
    int wrong = e->prompts - r->score.all[0] - r->score.all[1];

    lv_tool_line(stdout, "%s, %d held-out scenes, %s wording, seed %d", e->path, e->prompts,
                 e->plain ? "plain" : "free", e->seed);
    printf("%d steps, guidance %g, %s, %s\n\n%-24s", e->info.steps, e->info.guidance,
           e->info.precision, e->info.device, "");
    for (int k = 0; k < LV_EVAL_SOURCES; k++)
        printf("%12s", source_names[k]);
    putchar('\n');
    for (int kind = 0; kind < 2; kind++)
        print_kind(e, kind);
    printf("%-24s%12.3f%12.3f%12.3f\n", "Frechet distance", r[0].frechet, r[1].frechet,
           r[2].frechet);
    printf("%-24s%12.3f%12.3f%12.3f\n", "flicker index", r[0].flicker, r[1].flicker,
           r[2].flicker);
    printf("%-24s%12.3f%12.3f%12.3f\n", "  by that of data", r[0].flicker / flicker,
           r[1].flicker / flicker, r[2].flicker / flicker);
    printf("%-48s%9.2f dB\n\n", "reconstruction", r[LV_EVAL_CODEC].psnr);
    printf("%d of %d clips with a mistake", wrong, e->prompts);
    for (int i = 0; i < LV_COUNT(mistakes); i++)
        printf("%s %s: %d", i ? "," : ";", mistakes[i].name, e->mistakes[i]);
    printf("\n%.1f s to make clips (%.2f s each), %.1f s to measure\n", e->made,
           e->made / e->prompts, e->measured);
}

static json_t *score_json(const LvScore *s, int kind)
{
    json_t *all = json_object();

    json_object_set_new(all, "clips", json_integer(s->clips[kind]));
    for (int i = 0; i < 4; i++)
        json_object_set_new(all, row_names[kind][i],
                            json_real(percent(s->right[kind][i], s->clips[kind])));
    json_object_set_new(all, "all", json_real(percent(s->all[kind], s->clips[kind])));
    return all;
}

static json_t *results_json(const Eval *e)
{
    json_t *all = json_object();

    for (int k = 0; k < LV_EVAL_SOURCES; k++) {
        const LvEvalResult *r = &e->result[k];
        json_t *one = json_pack("{s:o, s:o, s:f, s:f}",
            kind_names[0], score_json(&r->score, 0), kind_names[1],
            score_json(&r->score, 1), "frechet", r->frechet, "flicker", r->flicker);

        if (isfinite(r->psnr))
            json_object_set_new(one, "psnr", json_real(r->psnr));
        json_object_set_new(all, source_names[k], one);
    }
    return all;
}

static int write_json(const Eval *e)
{
    json_t *wrong = json_object();

    for (int i = 0; i < LV_COUNT(mistakes); i++)
        json_object_set_new(wrong, mistakes[i].name, json_integer(e->mistakes[i]));
    return lv_tool_json(json_pack(
        "{s:s, s:i, s:s, s:i, s:i, s:f, s:s, s:s, s:o, s:o, s:f, s:f}",
        "model", e->path, "prompts", e->prompts, "wording", e->plain ? "plain" : "free",
        "seed", e->seed, "steps", e->info.steps, "guidance", (double)e->info.guidance,
        "precision", e->info.precision, "device", e->info.device,
        "results", results_json(e), "mistakes", wrong, "seconds_made", e->made,
        "seconds_measured", e->measured), e->json);
}

static int draw_bars(const Eval *e)
{
    const char *groups[8];
    char names[8][64];
    double value[8][LV_EVAL_SOURCES];
    LvPlotBars bars = { "what clips show, by what prompts ask for", groups,
                        source_names, value[0], 0, LV_EVAL_SOURCES };

    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < 4 && e->result->score.clips[kind]; i++, bars.nb++) {
            snprintf(names[bars.nb], sizeof(*names), "%s: %s", kind_names[kind],
                     row_names[kind][i]);
            groups[bars.nb] = names[bars.nb];
            for (int k = 0; k < LV_EVAL_SOURCES; k++)
                value[bars.nb][k] = percent(e->result[k].score.right[kind][i],
                                            e->result[k].score.clips[kind]);
        }
    return lv_plot_bars(e->plots, "accuracy", &bars);
}

static int draw(const Eval *e)
{
    int ret = draw_bars(e);

    if (ret < 0)
        return ret;
    lv_plot_run(e->plots, "accuracy");
    if (!e->log || (ret = lv_plot_log(e->plots, "training", e->log)) < 0)
        return ret;
    lv_plot_run(e->plots, "training");
    return 0;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo eval [options] [MODEL]\n"
         "\n"
         "Measures how well a model follows prompts of scenes that were kept out of\n"
         "training. It makes one clip for each prompt and measures its frames by rules.\n"
         "The columns data and autoencoder have the numbers of the same scenes as\n"
         "rendered, and passed through the model's autoencoder: both are upper bounds.\n"
         "Defaults are shown in brackets.\n"
         "\n"
         "  --prompts N           number of prompts, 2 or more [200]\n"
         "  --wording NAME        free: varied wording, a few percent incomplete; plain:\n"
         "                        canonical wording [free]\n"
         "  --seed N              seed of scenes, wording and noise [1]\n"
         "  --steps N, --guidance G, --shift S, --sampler NAME, --precision NAME,\n"
         "  --device NAME, --threads N, --memory-limit BYTES\n"
         "                        as for linvideo generate\n"
         "  --json FILE           write the numbers as JSON; -: to standard output, and\n"
         "                        nothing else there\n"
         "  --sheet FILE.png      frames of the first 24 clips\n"
         "  --plots DIR           charts by gnuplot, PNG and SVG\n"
         "  --log FILE.jsonl      add the curve of this training log to the charts\n"
         "  -v, --verbose         list every prompt and what its clip shows; c, s, m and b\n"
         "                        mark a colour, shape (or kind), motion and background\n"
         "                        that are right\n"
         LV_OVERWRITE_HELP
         "  -q, --quiet           no progress");
}

static int set_wording(Eval *e, LvArgs *a)
{
    const char *value = lv_args_value(a);

    if (value && strcmp(value, "plain") && strcmp(value, "free"))
        return lv_tool_fail(-1, "option wording: \"%s\" is not one of plain, free", value);
    e->plain = value && !strcmp(value, "plain");
    return value ? 0 : -1;
}

static int set_parameter(Eval *e, LvArgs *a)
{
    static const char *const names[] = { "steps", "guidance", "shift", "sampler",
                                         "precision", "device", "threads",
                                         "memory_limit" };

    for (int i = 0; i < LV_COUNT(names); i++)
        if (!strcmp(a->name, names[i])) {
            const char *value = lv_args_value(a);
            return value ? linvideo_params_set(&e->params, a->name, value) : -1;
        }
    return lv_tool_fail(-1, "no option \"%s\"; linvideo eval --help lists them",
                        a->name);
}

static int set_option(Eval *e, LvArgs *a)
{
    const struct { const char *name; const char **to; } texts[] = {
        { "json", &e->json }, { "plots", &e->plots }, { "sheet", &e->sheet_path },
        { "log", &e->log },
    };

    for (int i = 0; i < LV_COUNT(texts); i++)
        if (!strcmp(a->name, texts[i].name))
            return (*texts[i].to = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "prompts"))
        return lv_args_int(a, 2, 1000000, &e->prompts);
    if (!strcmp(a->name, "seed"))
        return lv_args_int(a, 0, INT32_MAX, &e->seed);
    if (!strcmp(a->name, "wording"))
        return set_wording(e, a);
    if (lv_args_overwrite(a, &e->overwrite))
        return 0;
    if (!strcmp(a->name, "v") || !strcmp(a->name, "verbose"))
        return e->verbose = 1, 0;
    if (!strcmp(a->name, "q") || !strcmp(a->name, "quiet"))
        return e->params.progress = NULL, 0;
    return set_parameter(e, a);
}

/* -1 to go on, or an exit code. */
static int parse(Eval *e, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && set_option(e, &a) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && e->model)
            return lv_tool_fail(LV_EXIT_USAGE, "two models, the second is \"%s\"",
                                a.value);
        if (!a.name[0])
            e->model = a.value;
    }
    if (e->log && !e->plots)
        return lv_tool_fail(LV_EXIT_USAGE, "option log goes with option plots");
    e->json_only   = e->json && !strcmp(e->json, "-");
    e->params.seed = e->seed;
    return -1;
}

/* What is written goes where it may, and what is read is there: before the work. */
static int check_files(const Eval *e)
{
    const char *const out[] = { e->json, e->sheet_path };
    int ret = 0;

    for (int i = 0; i < LV_COUNT(out) && ret >= 0; i++)
        if (out[i] && (ret = lv_tool_not_input(out[i], e->path)) >= 0 &&
            (ret = lv_tool_not_input(out[i], e->log)) >= 0)
            ret = lv_tool_may_write(out[i], e->overwrite);
    if (ret >= 0 && e->log && access(e->log, R_OK))
        ret = lv_tool_fail(-errno, "%s: %s", e->log, strerror(errno));
    return ret < 0 ? ret : lv_tool_may_fill(e->plots, e->overwrite);
}

static int evaluate(Eval *e)
{
    int ret = lv_model_find(e->path, e->model, &e->msg);

    if (ret < 0 || (ret = check_files(e)) < 0 || (ret = open_evaluation(e)) < 0 ||
        (ret = open_model(e)) < 0 || (ret = make_clips(e)) < 0)
        return ret;
    if (!e->json_only)
        print_table(e);
    if ((e->json && (ret = write_json(e)) < 0) ||
        (e->sheet_path && (ret = lv_sheet_write(&e->sheet, e->sheet_path)) < 0))
        return ret;
    return e->plots ? draw(e) : 0;
}

static int cmd_eval(int argc, char **argv)
{
    int count[LV_COUNT(mistakes)] = { 0 };
    Eval e = { .prompts = 200, .seed = 1, .mistakes = count };
    int ret;

    lv_bar_init(&e.bar);
    linvideo_params_default(&e.params);
    e.params.log       = lv_tool_log;
    e.params.log_level = LINVIDEO_LOG_WARNING;
    e.params.progress  = lv_bar_show;
    e.params.opaque    = &e.bar;
    e.msg = (LvMsg) { .put = put_message, .opaque = &e.bar, .level = LV_MSG_WARNING };
    ret   = parse(&e, argc, argv);
    if (ret >= 0)
        return ret;
    ret = evaluate(&e);
    lv_bar_clear(&e.bar);
    linvideo_close(&e.context);
    lv_evaluation_free(&e.evaluation);
    lv_device_close(&e.dev);
    lv_canvas_free(&e.canvas);
    lv_sheet_free(&e.sheet);
    lv_free(e.clip);
    return !ret ? LV_EXIT_OK : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
}

const LvCommand lv_cmd_eval = {
    .name  = "eval",
    .about = "measure how well a model follows its prompts",
    .run   = cmd_eval,
};
