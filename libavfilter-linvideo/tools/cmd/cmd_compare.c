/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo compare`: how near the clips of post-trained models are to their teacher's.
 * Clips are made through the public API, the teacher's once for all students.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linvideo/linvideo.h>

#include "base/common.h"
#include "tools/share/arguments.h"
#include "tools/share/canvas.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/progress.h"
#include "train/clips/caption.h"
#include "train/measure/compare.h"

/* Makers of clips: students are numbered from STUDENTS on. */
enum { TEACHER, OTHER, STUDENTS, MAKERS = STUDENTS + 64 };

/* More than are ever asked for. */
enum { FRAMES = 1000000000 };

typedef struct Compare {
    LvBar bar;            ///< first, so that an LvBar * is a Compare *
    LinvideoParams params;
    int clips, seed, plain;
    int json_only;            ///< JSON goes to standard output
    int overwrite;
    const char *model[MAKERS]; ///< as named, by maker
    int makers;
    const char *prompts_path, *json;
    char **prompt;            ///< [clips]
    LinvideoContext *context[MAKERS];
    LinvideoInfo info[MAKERS];
    LvCanvas canvas;
    float *clip[STUDENTS + 1]; ///< the teacher's two, a student's
    LvComparison *comparison[MAKERS];
    LvCompared result[MAKERS];
    double seconds[MAKERS];   ///< of making clips
} Compare;

/* Prompts */

static int add_prompt(Compare *c, int i, const char *text)
{
    size_t n = strcspn(text, "\r\n");

    c->prompt[i] = strndup(text, n);
    return c->prompt[i] ? 0 : lv_tool_fail(-ENOMEM, "out of memory");
}

static int draw_prompts(Compare *c)
{
    char text[LV_CAPTION_SIZE];
    int ret = 0;

    for (int i = 0; i < c->clips && ret >= 0; i++) {
        LvScene s;
        lv_scene_draw(&s, (uint64_t)c->seed, (uint64_t)i, 1);
        if (c->plain)
            lv_caption_plain(text, sizeof(text), &s);
        else
            lv_caption_write(text, sizeof(text), &s, (uint64_t)c->seed, (uint64_t)i);
        ret = add_prompt(c, i, text);
    }
    return ret;
}

enum { PROMPT_MAX = 1 << 16 };

/* Lines in turn, until there are enough. */
static int read_prompts(Compare *c)
{
    FILE *f = fopen(c->prompts_path, "r");
    char *line = malloc(PROMPT_MAX + 2);
    int nb = 0, number = 1, ret = 0;

    if (!f || !line)
        ret = lv_tool_fail(-errno, "%s: %s", c->prompts_path, strerror(errno));
    for (; nb < c->clips && ret >= 0 && fgets(line, PROMPT_MAX + 2, f); number++)
        if (strlen(line) > PROMPT_MAX)
            ret = lv_tool_fail(-EINVAL, "%s: line %d is too long, expected at most %d bytes",
                               c->prompts_path, number, PROMPT_MAX);
        else if (strcspn(line, "\r\n"))
            ret = add_prompt(c, nb++, line);
    free(line);
    if (f)
        fclose(f);
    if (ret < 0)
        return ret;
    if (!nb)
        return lv_tool_fail(-EINVAL, "%s: no prompts", c->prompts_path);
    for (int i = nb; i < c->clips && ret >= 0; i++)
        ret = add_prompt(c, i, c->prompt[i % nb]);
    return ret;
}

/* Clips */

/* Contexts know of more clips than are wanted. */
static void show(void *opaque, const LinvideoProgress *progress)
{
    Compare *c = opaque;
    LinvideoProgress p = *progress;

    p.clips = c->clips;
    lv_bar_show(&c->bar, &p);
}

static int open_model(Compare *c, int i)
{
    LinvideoParams p = c->params;
    int ret;

    p.model  = c->model[i];
    p.seed   = c->seed + (i == OTHER);
    p.prompt = c->prompt[0];
    p.format = LINVIDEO_RGB24;
    p.frames = FRAMES;
    if ((ret = linvideo_open(&c->context[i], &p)) < 0)
        return ret;
    linvideo_info(c->context[i], &c->info[i]);
    return 0;
}

static int open_student(Compare *c, int i)
{
    const LinvideoInfo *s = &c->info[i], *t = &c->info[TEACHER];
    int ret = open_model(c, i);

    if (ret < 0)
        return ret;
    if (s->width != t->width || s->height != t->height || s->clip_frames != t->clip_frames)
        return lv_tool_fail(-EINVAL, "%s makes %dx%d, %d frames, %s %dx%d, %d frames",
                            s->model, s->width, s->height, s->clip_frames, t->model,
                            t->width, t->height, t->clip_frames);
    return lv_comparison_new(&c->comparison[i], c->clips, t->width, t->height,
                             t->clip_frames);
}

static int open_all(Compare *c)
{
    const LinvideoInfo *t = &c->info[TEACHER];
    int ret = 0;

    for (int i = 0; i < c->makers && ret >= 0; i++)
        ret = i < STUDENTS ? open_model(c, i) : open_student(c, i);
    if (ret < 0)
        return ret;
    if (lv_canvas_alloc(&c->canvas, LINVIDEO_RGB24, t->width, t->height) < 0)
        return lv_tool_fail(-ENOMEM, "out of memory");
    for (int i = 0; i <= STUDENTS; i++)
        if (!(c->clip[i] = lv_alloc(c->canvas.size * (size_t)t->clip_frames *
                                    sizeof(float))))
            return lv_tool_fail(-ENOMEM, "out of memory");
    return 0;
}

static int make_clip(Compare *c, int maker, int index)
{
    size_t size  = c->canvas.size;
    float *clip  = c->clip[LV_MIN(maker, STUDENTS)];
    double start = lv_seconds();
    int ret = index ? linvideo_set_prompt(c->context[maker], c->prompt[index]) : 0;

    for (int f = 0; f < c->info[maker].clip_frames && !ret; f++) {
        ret = linvideo_next_frame(c->context[maker], &c->canvas.frame);
        lv_measure_from_u8(clip + (size_t)f * size, c->canvas.frame.data[0], size);
    }
    c->seconds[maker] += lv_seconds() - start;
    return ret;
}

static int make_clips(Compare *c)
{
    int ret = 0;

    for (int i = 0; i < c->clips; i++)
        for (int k = 0; k < c->makers; k++) {
            if ((ret = make_clip(c, k, i)) < 0)
                return ret;
            if (k >= STUDENTS)
                lv_comparison_add(c->comparison[k], c->clip[STUDENTS], c->clip[TEACHER],
                                  c->clip[OTHER]);
        }
    lv_bar_clear(&c->bar);
    for (int k = STUDENTS; k < c->makers && ret >= 0; k++)
        ret = lv_comparison_finish(c->comparison[k], &c->result[k]);
    return ret;
}

/* Results */

static void print_head(const Compare *c)
{
    const LinvideoInfo *t = &c->info[TEACHER];

    lv_tool_line(stdout, "against %s (%d steps, guidance %g), %d clips, seed %d, %s",
                 t->model_path, t->steps, t->guidance, c->clips, c->seed, t->device);
    putchar('\n');
}

/* A column that is below 0 stays empty. */
static void print_row(const char *name, double student, double teacher, double ratio)
{
    const double column[] = { student, teacher, ratio };

    printf("%-20s", name);
    for (int i = 0; i < LV_COUNT(column); i++)
        if (column[i] < 0)
            printf("%14s", "");
        else
            printf(i == 2 ? "%14.4f" : "%14.6g", column[i]);
    putchar('\n');
}

static void print_table(const Compare *c, int maker)
{
    const LinvideoInfo *s = &c->info[maker];
    const LvCompared *r   = &c->result[maker];
    double student = c->seconds[maker] / c->clips, teacher = c->seconds[TEACHER] / c->clips;

    lv_tool_line(stdout, "%s (%d steps, guidance %g, %d of %d layers linear)", s->model_path,
                 s->steps, s->guidance, s->linear_layers, s->layers);
    printf("\n%-20s%14s%14s%14s\n", "", "student", "teacher", "ratio");
    print_row("Frechet distance", r->frechet, r->frechet_teacher, r->frechet_ratio);
    print_row("  from same noise", r->frechet_same, -1, -1);
    print_row("flicker index", r->flicker, r->flicker_teacher, r->flicker_ratio);
    print_row("squared distance", r->distance, r->distance_teacher, r->distance_ratio);
    print_row("  standard error", -1, -1, r->distance_error);
    print_row("  median of clips", r->median, r->median_teacher, r->median_ratio);
    print_row("seconds a clip", student, teacher, student / LV_MAX(teacher, 1e-30));
    putchar('\n');
}

static void print_tables(const Compare *c)
{
    print_head(c);
    for (int k = STUDENTS; k < c->makers; k++)
        print_table(c, k);
    puts("Frechet distances are to the teacher's clips from other noise, \"from same noise\"\n"
         "is that to those from the student's own. Squared distances: of the student's to\n"
         "the teacher's clip from the same noise, and between the teacher's from two; the\n"
         "standard error is that of their ratio.");
}

static json_t *student_json(const Compare *c, int maker)
{
    const LinvideoInfo *s = &c->info[maker];
    const LvCompared *r   = &c->result[maker];

    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:f, s:i, s:i, s:s,"
        " s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f,"
        " s:f, s:f, s:f, s:f, s:f, s:f}",
        "student", s->model_path, "teacher", c->info[TEACHER].model_path,
        "clips", c->clips, "seed", c->seed, "steps", s->steps,
        "guidance", (double)s->guidance, "layers", s->layers,
        "linear_layers", s->linear_layers, "device", s->device,
        "frechet", r->frechet, "frechet_teacher", r->frechet_teacher,
        "frechet_ratio", r->frechet_ratio, "frechet_same", r->frechet_same,
        "flicker", r->flicker, "flicker_teacher", r->flicker_teacher,
        "flicker_ratio", r->flicker_ratio, "distance", r->distance,
        "distance_teacher", r->distance_teacher, "distance_ratio", r->distance_ratio,
        "distance_error", r->distance_error, "median", r->median,
        "median_teacher", r->median_teacher, "median_ratio", r->median_ratio,
        "seconds", c->seconds[maker], "seconds_teacher", c->seconds[TEACHER]);
}

/* One student's numbers, or a list of several. */
static int write_json(const Compare *c)
{
    json_t *list = json_array();

    for (int k = STUDENTS; k < c->makers; k++)
        json_array_append_new(list, student_json(c, k));
    if (c->makers == STUDENTS + 1) {
        json_t *one = json_incref(json_array_get(list, 0));
        json_decref(list);
        list = one;
    }
    return lv_tool_json(list, c->json);
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo compare [options] STUDENT... TEACHER\n"
         "\n"
         "Measures how near the clips of post-trained models are to their teacher's, by\n"
         "Frechet distance, flicker, and squared distance from the same noise. Beside each\n"
         "number is that of two sets of the teacher's own clips. Every model samples as\n"
         "its file says. Defaults are shown in brackets.\n"
         "\n"
         "  --clips N             number of clips, 2 or more [200]\n"
         "  --prompts FILE        file with a prompt on each line [held-out captions]\n"
         "  --wording NAME        wording of the captions: free or plain [free]\n"
         "  --seed N              seed of captions and noise [1]\n"
         "  --precision NAME, --device NAME, --threads N, --memory-limit BYTES\n"
         "                        as for linvideo generate\n"
         "  --json FILE           write the numbers as JSON, a list for several students;\n"
         "                        -: to standard output, and nothing else there\n"
         LV_OVERWRITE_HELP
         "  -q, --quiet           no progress");
}

static int set_wording(Compare *c, LvArgs *a)
{
    const char *value = lv_args_value(a);

    if (value && strcmp(value, "plain") && strcmp(value, "free"))
        return lv_tool_fail(-1, "option wording: \"%s\" is not one of plain, free", value);
    c->plain = value && !strcmp(value, "plain");
    return value ? 0 : -1;
}

static int set_parameter(Compare *c, LvArgs *a)
{
    static const char *const names[] = { "precision", "device", "threads",
                                         "memory_limit" };

    for (int i = 0; i < LV_COUNT(names); i++)
        if (!strcmp(a->name, names[i])) {
            const char *value = lv_args_value(a);
            return value ? linvideo_params_set(&c->params, a->name, value) : -1;
        }
    return lv_tool_fail(-1, "no option \"%s\"; linvideo compare --help lists them",
                        a->name);
}

static int set_option(Compare *c, LvArgs *a)
{
    if (!strcmp(a->name, "clips"))
        return lv_args_int(a, 2, 1000000, &c->clips);
    if (!strcmp(a->name, "seed"))
        return lv_args_int(a, 0, INT32_MAX - 1, &c->seed);
    if (!strcmp(a->name, "prompts"))
        return (c->prompts_path = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "json"))
        return (c->json = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "wording"))
        return set_wording(c, a);
    if (lv_args_overwrite(a, &c->overwrite))
        return 0;
    if (!strcmp(a->name, "q") || !strcmp(a->name, "quiet"))
        return c->params.progress = NULL, 0;
    return set_parameter(c, a);
}

/* -1 to go on, or an exit code. */
static int parse(Compare *c, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    c->makers = STUDENTS;
    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && set_option(c, &a) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && c->makers == MAKERS)
            return lv_tool_fail(LV_EXIT_USAGE, "more than %d students",
                                MAKERS - STUDENTS - 1);
        if (!a.name[0])
            c->model[c->makers++] = a.value;
    }
    c->json_only = c->json && !strcmp(c->json, "-");
    if (--c->makers <= STUDENTS)
        return lv_tool_fail(LV_EXIT_USAGE, "expected STUDENT... TEACHER; linvideo "
                            "compare --help lists the options");
    c->model[TEACHER] = c->model[OTHER] = c->model[c->makers];
    return -1;
}

static int compare(Compare *c)
{
    int ret;

    if (c->json && ((ret = lv_tool_not_input(c->json, c->prompts_path)) < 0 ||
                    (ret = lv_tool_may_write(c->json, c->overwrite)) < 0))
        return ret;
    if (!(c->prompt = calloc((size_t)c->clips, sizeof(*c->prompt))))
        return lv_tool_fail(-ENOMEM, "out of memory");
    if ((ret = c->prompts_path ? read_prompts(c) : draw_prompts(c)) < 0 ||
        (ret = open_all(c)) < 0 || (ret = make_clips(c)) < 0)
        return ret;
    if (!c->json_only)
        print_tables(c);
    return c->json ? write_json(c) : 0;
}

static int cmd_compare(int argc, char **argv)
{
    Compare c = { .clips = 200, .seed = 1 };
    int ret;

    lv_bar_init(&c.bar);
    linvideo_params_default(&c.params);
    c.params.log       = lv_tool_log;
    c.params.log_level = LINVIDEO_LOG_WARNING;
    c.params.progress  = show;
    c.params.opaque    = &c.bar;
    if ((ret = parse(&c, argc, argv)) >= 0)
        return ret;
    ret = compare(&c);
    lv_bar_clear(&c.bar);
    for (int i = 0; i < MAKERS; i++) {
        linvideo_close(&c.context[i]);
        lv_comparison_free(&c.comparison[i]);
    }
    for (int i = 0; i <= STUDENTS; i++)
        lv_free(c.clip[i]);
    for (int i = 0; i < c.clips && c.prompt; i++)
        free(c.prompt[i]);
    free(c.prompt);
    lv_canvas_free(&c.canvas);
    return !ret ? LV_EXIT_OK : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
}

const LvCommand lv_cmd_compare = {
    .name  = "compare",
    .about = "measure how near a model is to its teacher",
    .run   = cmd_compare,
};
