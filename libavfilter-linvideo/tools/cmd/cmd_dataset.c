/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo dataset`: the clips and captions that models are trained on, to look at,
 * and what the measurement finds in them.
 */

#include "tools/cmd/commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linvideo/linvideo.h>

#include "base/common.h"
#include "base/file.h"
#include "base/deliver.h"
#include "tools/share/arguments.h"
#include "tools/share/canvas.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/sheet.h"
#include "tools/share/y4m.h"
#include "train/clips/caption.h"
#include "train/clips/render.h"
#include "train/measure/evaluate.h"
#include "train/measure/measure.h"
#include "train/pretrain/tokenizer_train.h"
#include "train/reel/stock.h"

enum { RATE = 8, REEL_RATE = 16, TOKENIZER_CAPTIONS = 20000 };

typedef struct Options {
    int seed, count, width, height, frames, held_out;
    int index;            ///< -1: not given
    int captions, measure; ///< 0: not asked for
    int verbose;          ///< print mistakes of the measurement
    int overwrite;
    int vocab;            ///< pieces of a tokenizer
    const char *output, *tokenizer, *clips, *art;
    LvStock stock;
} Options;

static int rate(const Options *o)
{
    return o->stock.reel ? REEL_RATE : RATE;
}

/* Pictures */

static float *new_clip(const Options *o)
{
    float *rgb = malloc(sizeof(*rgb) * 3 * o->width * o->height * o->frames);

    if (!rgb)
        lv_tool_fail(0, "out of memory");
    return rgb;
}

static void draw_clip(const Options *o, int index, float *rgb)
{
    LvSpan span = { o->width, o->height, 0, o->frames, o->frames, rate(o) };

    lv_stock_clip(&o->stock, (uint64_t)index, o->held_out, &span, rgb);
}

static void print_caption(const Options *o, int index)
{
    char text[LV_STOCK_CAPTION_SIZE];

    lv_stock_caption(&o->stock, (uint64_t)index, o->held_out, (uint64_t)index, text,
                     sizeof(text));
    puts(text);
}

static int write_sheet(const Options *o)
{
    float *rgb = new_clip(o);
    int ret = LV_EXIT_FAILED;
    LvSheet sheet;

    if (rgb && lv_sheet_new(&sheet, o->width, o->height, o->frames, o->count)) {
        lv_tool_fail(0, "out of memory");
    } else if (rgb) {
        for (int i = 0; i < o->count; i++) {
            draw_clip(o, LV_MAX(o->index, 0) + i, rgb);
            lv_sheet_paste(&sheet, i, rgb);
            print_caption(o, LV_MAX(o->index, 0) + i);
        }
        ret = lv_sheet_write(&sheet, o->output) ? LV_EXIT_FAILED : LV_EXIT_OK;
        lv_sheet_free(&sheet);
    }
    free(rgb);
    return ret;
}

static void write_frames(const Options *o, LvFile *out, LvCanvas *c, const float *rgb)
{
    size_t size = (size_t)3 * o->width * o->height;
    LvPlanes to = { .width = o->width, .height = o->height, .format = LV_YUV420P,
                    .matrix = LV_MATRIX_BT601 };
    int ret = lv_y4m_header(out, c, rate(o), 1);

    for (int i = 0; i < 3; i++) {
        to.data[i]   = c->frame.data[i];
        to.stride[i] = c->frame.stride[i];
    }
    for (int f = 0; f < o->frames && !ret; f++) {
        lv_deliver(&to, rgb + f * size, o->height, o->width);
        ret = lv_y4m_frame(out, c);
    }
}

static int write_clip(const Options *o)
{
    float *rgb = new_clip(o);
    int ret = LV_EXIT_FAILED;
    LvCanvas c = { 0 };
    LvFile out;

    if (!rgb)
        return LV_EXIT_FAILED;
    if (lv_canvas_alloc(&c, LINVIDEO_YUV420P, o->width, o->height)) {
        lv_tool_fail(0, "out of memory");
    } else if (lv_file_output(&out, o->output, &lv_tool_msg) >= 0) {
        draw_clip(o, LV_MAX(o->index, 0), rgb);
        write_frames(o, &out, &c, rgb);
        ret = lv_tool_finish(&out) < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
    }
    lv_canvas_free(&c);
    free(rgb);
    return ret;
}

/* Tokenizer */

static int train_tokenizer(const Options *o)
{
    return lv_tokenizer_train(o->tokenizer, o->vocab, &o->stock, o->captions ?
                              o->captions : TOKENIZER_CAPTIONS, &lv_tool_msg) < 0 ?
           LV_EXIT_FAILED : LV_EXIT_OK;
}

/* Measurement */

typedef struct Score {
    LvScore score;
    double psnr, seconds; ///< sums
} Score;

static void print_score(const char *name, const Score *score, int clips)
{
    static const char *const rows[2] = { "objects", "material" };

    printf("%s, %.1f dB, %.1f ms a clip\n  %-10s %5s %8s %8s %8s %10s\n", name,
           score->psnr / clips, 1e3 * score->seconds / clips, "", "clips", "colour",
           "shape", "motion", "background");
    for (int k = 0; k < 2; k++) {
        printf("  %-10s %5d", rows[k], score->score.clips[k]);
        for (int i = 0; i < 4; i++)
            printf(" %*.2f %%", i < 3 ? 6 : 8,
                   100.0 * score->score.right[k][i] / LV_MAX(score->score.clips[k], 1));
        putchar('\n');
    }
}

static void print_mistake(const LvScene *s, const LvMeasured *found)
{
    char text[LV_CAPTION_SIZE], seen[LV_CAPTION_SIZE];

    lv_caption_plain(text, sizeof(text), s);
    lv_measured_text(seen, sizeof(seen), found);
    printf("  %s: %s\n", text, seen);
}

static void score_clip(const Options *o, LvMeasure *m, int index, float *clip[3],
                       Score score[2])
{
    size_t n = (size_t)3 * o->width * o->height * o->frames;
    LvScene s;

    lv_scene_draw(&s, o->seed, index, o->held_out);
    draw_clip(o, index, clip[0]);
    memcpy(clip[1], clip[0], n * sizeof(**clip));
    lv_measure_degrade(clip[1], clip[2], o->width, o->height, o->frames, index);
    for (int k = 0; k < 2; k++) {
        double start = lv_seconds();
        LvMeasured found;

        lv_measure_clip(m, clip[k], &found);
        score[k].seconds += lv_seconds() - start;
        score[k].psnr += k ? lv_measure_psnr(clip[0], clip[k], n) : INFINITY;
        if (lv_score_add(&score[k].score, &found, &s) != LV_MATCH_ALL && o->verbose)
            print_mistake(&s, &found);
    }
}

static int measure(const Options *o)
{
    float *clip[3] = { new_clip(o), new_clip(o), new_clip(o) };
    Score score[2] = { { .psnr = 0 }, { .psnr = 0 } };
    LvMeasure *m = NULL;
    int ret = LV_EXIT_FAILED;

    if (lv_measure_new(&m, o->width, o->height, o->frames, RATE) < 0) {
        lv_tool_fail(0, "out of memory");
    } else if (clip[0] && clip[1] && clip[2]) {
        for (int i = 0; i < o->measure; i++)
            score_clip(o, m, LV_MAX(o->index, 0) + i, clip, score);
        print_score("as rendered", &score[0], o->measure);
        print_score("blurred, with noise", &score[1], o->measure);
        ret = LV_EXIT_OK;
    }
    lv_measure_free(&m);
    for (int i = 0; i < 3; i++)
        free(clip[i]);
    return ret;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo dataset [options]\n"
         "\n"
         "Shows the clips and captions that models are trained on. Defaults are shown in\n"
         "brackets.\n"
         "\n"
         "  -o, --output FILE     NAME.png: a sheet, a row of frames for each clip, and the\n"
         "                        captions are printed. NAME.y4m or -: one clip as video\n"
         "  --captions N          print N captions\n"
         "  --measure N           measure N clips and print how often that is right\n"
         "  -v, --verbose         also print each measurement that is wrong\n"
         "  --tokenizer FILE      train a tokenizer on captions (20000, or --captions)\n"
         LV_OVERWRITE_HELP
         "  --vocab N             pieces of the tokenizer, 256 bytes among them [512]\n"
         "  --seed N              seed of the stream of clips [0]\n"
         "  --index N             number of the first clip [0]\n"
         "  --count N             clips on a sheet [12]\n"
         "  --held-out            clips that are kept out of training\n"
         "  --clips NAME          shapes, or reel: effects, things and shapes [shapes]\n"
         "  --art FONT            NotoColorEmoji.ttf, which the reel takes things from;\n"
         "                        without it the reel shows none\n"
         "  --size WxH            size in pixels [192x112; reel 512x288]\n"
         "  --frames N            frames of a clip, 8 a second, reel 16 [17; reel 65]");
}

static int set_size(Options *o, LvArgs *a)
{
    const char *text = lv_args_value(a);
    char rest;

    if (!text)
        return -1;
    if (sscanf(text, "%dx%d%c", &o->width, &o->height, &rest) == 2 &&
        o->width >= 16 && o->width <= 1024 && o->height >= 16 && o->height <= 1024)
        return 0;
    return lv_tool_fail(-1, "option size: expected 16x16 to 1024x1024, got \"%s\"", text);
}

static int set_option(Options *o, LvArgs *a)
{
    const struct {
        const char *name;
        int low, high, *value;
    } numbers[] = {
        { "seed", 0, INT32_MAX, &o->seed },
        { "index", 0, INT32_MAX / 2, &o->index },
        { "count", 1, 200, &o->count },
        { "frames", 1, 512, &o->frames },
        { "captions", 1, INT32_MAX / 2, &o->captions },
        { "measure", 1, INT32_MAX / 2, &o->measure },
        { "vocab", 320, 8000, &o->vocab },
    };

    for (int i = 0; i < LV_COUNT(numbers); i++)
        if (!strcmp(a->name, numbers[i].name))
            return lv_args_int(a, numbers[i].low, numbers[i].high, numbers[i].value);
    if (!strcmp(a->name, "held_out"))
        return o->held_out = 1, 0;
    if (!strcmp(a->name, "v") || !strcmp(a->name, "verbose"))
        return o->verbose = 1, 0;
    if (lv_args_overwrite(a, &o->overwrite))
        return 0;
    if (!strcmp(a->name, "size"))
        return set_size(o, a);
    if (!strcmp(a->name, "tokenizer"))
        return (o->tokenizer = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "clips"))
        return (o->clips = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "art"))
        return (o->art = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "o") || !strcmp(a->name, "output"))
        return (o->output = lv_args_value(a)) ? 0 : -1;
    return lv_tool_fail(-1, "no option \"%s\"; linvideo dataset --help lists them",
                        a->name);
}

/* -1 to go on, or an exit code. */
static int parse(Options *o, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (!a.name[0])
            return lv_tool_fail(LV_EXIT_USAGE, "what is \"%s\"?", a.value);
        if (set_option(o, &a) < 0)
            return LV_EXIT_USAGE;
    }
    return -1;
}

/* Clips that are asked for, and their size where none is. */
static int open_stock(Options *o)
{
    int ret = lv_stock_open(&o->stock, o->clips, o->art, !!o->output, (uint64_t)o->seed,
                            &lv_tool_msg);

    if (ret < 0)
        return ret;
    if (!o->width) {
        o->width  = o->stock.reel ? 512 : 192;
        o->height = o->stock.reel ? 288 : 112;
    }
    if (!o->frames)
        o->frames = o->stock.reel ? 65 : 17;
    return o->stock.reel && o->measure ?
           lv_tool_fail(LV_ERR(EINVAL), "option measure: shapes can be measured, the reel "
                        "can't") : 0;
}

static int run_dataset(const Options *o)
{
    if (o->tokenizer)
        return train_tokenizer(o);
    for (int i = 0; i < o->captions; i++)
        print_caption(o, LV_MAX(o->index, 0) + i);
    if (o->output)
        return lv_tool_ends_with(o->output, ".png") ? write_sheet(o) : write_clip(o);
    if (o->measure)
        return measure(o);
    if (o->captions)
        return LV_EXIT_OK;
    return lv_tool_fail(LV_EXIT_USAGE, "nothing to do; linvideo dataset --help lists "
                        "the options");
}

static int cmd_dataset(int argc, char **argv)
{
    Options o = { .count = 12, .index = -1, .vocab = 512, .clips = "", .art = "" };
    int ret = parse(&o, argc, argv);

    if (ret >= 0)
        return ret;
    if ((o.tokenizer && lv_tool_may_write(o.tokenizer, o.overwrite) < 0) ||
        (o.output && lv_tool_may_write(o.output, o.overwrite) < 0))
        return LV_EXIT_FAILED;
    ret = open_stock(&o);
    ret = ret == LV_ERR(EINVAL) ? LV_EXIT_USAGE : ret < 0 ? LV_EXIT_FAILED : run_dataset(&o);
    lv_stock_close(&o.stock);
    return ret;
}

const LvCommand lv_cmd_dataset = {
    .name  = "dataset",
    .about = "show the clips and captions that models are trained on",
    .run   = cmd_dataset,
};
