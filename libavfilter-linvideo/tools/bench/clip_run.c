/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/clip_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deliver.h"
#include "pipeline/choices.h"
#include "pipeline/options.h"
#include "pipeline/session.h"
#include "tools/bench/clip_model.h"
#include "tools/bench/networks.h"

/* Kinds */

typedef struct Kind {
    LvDitConfig dit;
    LvUmt5Config text;
    int vae_width; /* of Wan's decoder */
    int width, height, frames;
} Kind;

#define DIT(d, f, n, t)                                                           \
    .dit = { .dim = d, .ffn_dim = f, .heads = d / 128, .layers = n, .text_dim = t, \
             .text_len = 512, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 }, \
             .eps = 1e-6f, .map = LV_MAP_HEDGEHOG, .map_dim = 64, .map_eps = 1e-6f }
#define TEXT(v, d, f, h, n)                                                       \
    .text = { .vocab = v, .dim = d, .dim_attn = d, .dim_ffn = f, .heads = h, .layers = n, \
              .buckets = 32, .max_distance = 128, .eps = 1e-6f }
#define UMT5_XXL TEXT(256384, 4096, 10240, 64, 24)
#define WAN_1_3B DIT(1536, 8960, 30, 4096), UMT5_XXL, 96
#define WAN_14B  DIT(5120, 13824, 40, 4096), UMT5_XXL, 96

static const Kind kinds[] = {
    [LV_CLIP_1_3B_480P] = { WAN_1_3B, 832, 480, 81 },
    [LV_CLIP_1_3B_720P] = { WAN_1_3B, 1280, 720, 81 },
    [LV_CLIP_14B_480P]  = { WAN_14B, 832, 480, 81 },
    [LV_CLIP_14B_720P]  = { WAN_14B, 1280, 720, 81 },
    [LV_CLIP_TINY]      = { DIT(256, 512, 4, 64), TEXT(8192, 64, 96, 4, 2), 8, 64, 64, 5 },
};

int lv_clip_layers(int kind)
{
    return kinds[kind].dit.layers;
}

/* A clip */

enum { OPEN, LOAD, TEXT_STAGE, DENOISE, DECODE, DELIVER, ROWS };
enum { RUNS = 3, STEPS = 4 };

typedef struct Clip {
    const LvBench *b;
    const LvClipOptions *opt;
    LvModelConfig cfg;
    LvClipModel *model;
    LvSession *session;
    LvSessionInfo info;
    LvProgress seen;          /* where memory was looked at last */
    size_t free_first, free_least; /* bytes of the device: before loading; since then */
    uint8_t *planes;
    LvPlanes out;
    double seconds[RUNS][ROWS];
    LvCost cost[LV_STAGE_NB];
} Clip;

static int or_else(int given, int own)
{
    return given ? given : own;
}

static void choose_config(Clip *c, const Kind *kind)
{
    const LvClipOptions *o = c->opt;
    LvDitConfig *dit       = &c->cfg.dit;

    c->cfg = (LvModelConfig) {
        .dit = kind->dit, .text = kind->text,
        .vae = { .kind = o->tiny ? LV_VAE_TAE : LV_VAE_WAN, .channels = 16, .patch = 1,
                 .width = kind->vae_width },
        .video = { .width  = or_else(o->params.width, kind->width),
                   .height = or_else(o->params.height, kind->height),
                   .frames = or_else(o->params.clip_frames, kind->frames) },
    };
    lv_make_linear(dit, o->linear < 0 ? dit->layers * 16 / 30 : o->linear);
}

/* Memory is looked at once a step of each stage. */
static void look(void *opaque, const LvProgress *p)
{
    Clip *c = opaque;
    size_t now;

    if (p->stage == c->seen.stage && p->step == c->seen.step && p->clip == c->seen.clip)
        return;
    c->seen       = *p;
    now           = c->session ? lv_session_free_bytes(c->session) : SIZE_MAX;
    c->free_least = LV_MIN(c->free_least, now);
}

static const char *const prompts[] = {
    "a red fox runs over fresh snow between tall dark trees while the low sun of the morning "
    "shines through them and the camera follows it slowly from the side",
    "waves of a green sea roll on to a wide beach of pale sand under heavy clouds and a small "
    "boat with a white sail goes past far out where the light is",
};

static int open_clip(Clip *c)
{
    const LvBench *b        = c->b;
    const LinvideoParams *p = &c->opt->params;
    const LvSessionOptions opt = {
        .model = lv_clip_model_path(c->model), .prompt = prompts[0], .seed = 1,
        .steps = or_else(p->steps, STEPS), .guidance = p->guidance > 0 ? p->guidance : 1,
        .precision = lv_precision_type(b->precision), .device = b->device, .threads = b->threads,
        .memory_limit = (size_t)p->memory_limit, .tile = p->tile, .cache = LV_CACHE_OFF,
        .progress = look, .opaque = c,
    };
    double start = lv_seconds();
    int ret = lv_session_open(&c->session, &opt, &b->msg);

    c->seconds[0][OPEN] = lv_seconds() - start;
    if (ret < 0)
        return ret;
    lv_session_info(c->session, &c->info);
    return 0;
}

static int new_out(Clip *c)
{
    const LvVideoConfig *v = &c->info.cfg->video;

    c->out = (LvPlanes) { .width = v->width, .height = v->height, .format = LV_YUV420P,
                          .matrix = LV_MATRIX_BT709 };
    if (!(c->planes = malloc(lv_planes_lay_out(&c->out, NULL))))
        return lv_fail(&c->b->msg, LV_ERR(ENOMEM), "out of memory");
    lv_planes_lay_out(&c->out, c->planes);
    return 0;
}

static int deliver(Clip *c, const LvShot *shot, double *seconds)
{
    double start = lv_seconds();
    int ret = lv_session_deliver(c->session, &c->out, shot);

    *seconds += lv_seconds() - start;
    return ret;
}

static int make_frames(Clip *c, double *seconds)
{
    LvShot shot;
    int ret = 0;

    for (int i = 0; i < c->info.cfg->video.frames && ret >= 0; i++)
        if ((ret = lv_session_frame(c->session, &shot)) >= 0)
            ret = deliver(c, &shot, &seconds[DELIVER]);
    lv_session_info(c->session, &c->info);
    for (int i = 0; i < LV_STAGE_NB; i++)
        seconds[LOAD + i] = c->info.seconds[i];
    return ret;
}

static int make_clips(Clip *c)
{
    int ret;

    if ((ret = lv_clip_model_fill(c->model)) < 0 || (ret = new_out(c)) < 0)
        return ret;
    c->free_first = c->free_least = lv_session_free_bytes(c->session);
    if ((ret = lv_session_load(c->session)) < 0)
        return ret;
    for (int i = 0; i < LV_MIN(RUNS, c->b->reps) && ret >= 0; i++) {
        if (i)
            ret = lv_session_restart(c->session, prompts[1], NULL, (uint64_t)i + 1);
        if (ret >= 0)
            ret = make_frames(c, c->seconds[i]);
    }
    return ret;
}

static int measure(Clip *c, const Kind *kind)
{
    const LvBench *b    = c->b;
    const LvRates rates = { 1e9 * b->ceiling, 1e9 * b->copy, 1e9 * b->send };
    int ret;

    choose_config(c, kind);
    if ((ret = lv_clip_model_new(&c->model, &c->cfg, c->opt->stored, &b->msg)) < 0 ||
        (ret = open_clip(c)) < 0 || c->opt->plan ||
        (ret = lv_session_cost(c->session, &rates, c->cost)) < 0)
        return ret;
    return make_clips(c);
}

/* Printing */

static const char *const rows[ROWS] = {
    "opening", "loading", "text", "denoising", "decoding", "delivery",
};

/* Of a row; NULL: opening and delivery have none. */
static const LvCost *cost_of(const Clip *c, int row)
{
    return row < LOAD || row > DECODE ? NULL : &c->cost[row - LOAD];
}

static double sum(const double seconds[ROWS])
{
    double all = 0;

    for (int i = 0; i < ROWS; i++)
        all += seconds[i];
    return all;
}

static double in_gib(size_t bytes)
{
    return (double)bytes / (1 << 30);
}

static void print_memory(const Clip *c)
{
    const LvSessionInfo *s = &c->info;

    printf("    memory: weights %.2f GiB, work %.2f, %.2f in all planned", in_gib(s->weight_bytes),
           in_gib(s->work_bytes), in_gib(s->weight_bytes + s->work_bytes));
    if (s->streamed_bytes)
        printf(", %.2f of the host offloaded", in_gib(s->streamed_bytes));
    if (s->tile)
        printf(", tiles of %d", s->tile);
    if (!c->opt->plan)
        printf("; the device had %.2f less free at most", in_gib(c->free_first - c->free_least));
    putchar('\n');
}

static void print_row(const Clip *c, int row)
{
    const LvCost *cost = cost_of(c, row);

    printf("    %-10s %11.4f %11.4f %11.4f", rows[row], c->seconds[0][row], c->seconds[1][row],
           c->seconds[2][row]);
    if (cost)
        printf(" %9.4g %9.4g %9.4g %9.4f %7.0f %%", 1e-12 * cost->flops, 1e-9 * cost->bytes,
               1e-9 * cost->sent, cost->seconds,
               c->seconds[0][row] > 0 ? 100 * cost->seconds / c->seconds[0][row] : 0);
    putchar('\n');
}

static void print_times(const Clip *c)
{
    printf("    %-10s %11s %11s %11s %9s %9s %9s %9s %9s\n", "seconds", "first clip", "new prompt",
           "same prompt", "TFLOP", "GB", "GB sent", "limit", "of limit");
    for (int i = 0; i < ROWS; i++)
        print_row(c, i);
    printf("    %-10s %11.4f %11.4f %11.4f\n", "sum", sum(c->seconds[0]), sum(c->seconds[1]),
           sum(c->seconds[2]));
}

static void print_clip(const Clip *c, const LvWork *w)
{
    const LvSessionInfo *s = &c->info;
    const LvVideoConfig *v = &s->cfg->video;

    printf("%s: %d frames of %dx%d, %d step%s%s, %d of %d layers linear, %s decoder, network "
           "stored in %s\n", w->name, v->frames, v->width, v->height, v->steps,
           v->steps > 1 ? "s" : "",
           s->schedule->branches > 1 ? " with guidance" : "",
           lv_config_layers(&s->cfg->dit, LV_ATTN_LINEAR), s->cfg->dit.layers,
           c->opt->tiny ? "tiny" : "Wan's", lv_dtype_name(c->opt->stored));
    print_memory(c);
    if (!c->opt->plan)
        print_times(c);
    fflush(stdout);
}

static void print_json_stages(const Clip *c)
{
    for (int i = 0; i < ROWS; i++) {
        const LvCost *cost = cost_of(c, i);

        printf("%s\"%s\": {\"seconds\": [%.6g, %.6g, %.6g]", i ? ", " : "", rows[i],
               c->seconds[0][i], c->seconds[1][i], c->seconds[2][i]);
        if (cost)
            printf(", \"gflop\": %.6g, \"gbyte\": %.6g, \"sent\": %.6g, \"limit\": %.6g",
                   1e-9 * cost->flops, 1e-9 * cost->bytes, 1e-9 * cost->sent, cost->seconds);
        putchar('}');
    }
}

static void print_json(const Clip *c, const LvWork *w)
{
    const LvSessionInfo *s = &c->info;

    printf("%s  {\"name\": \"%s\", \"weights\": %zu, \"work\": %zu, \"offloaded\": %zu, \"tile\": "
           "%d", c->b->printed ? ",\n" : "", w->name, s->weight_bytes, s->work_bytes,
           s->streamed_bytes, s->tile);
    if (!c->opt->plan) {
        printf(", \"taken\": %zu, \"seconds\": [%.6g, %.6g, %.6g], \"stages\": {",
               c->free_first - c->free_least, sum(c->seconds[0]), sum(c->seconds[1]),
               sum(c->seconds[2]));
        print_json_stages(c);
        putchar('}');
    }
    putchar('}');
    fflush(stdout);
}

int lv_clip_run(LvBench *b, const LvWork *w)
{
    Clip *c = calloc(1, sizeof(*c));
    int ret;

    if (!c)
        return lv_fail(&b->msg, LV_ERR(ENOMEM), "out of memory");
    c->b   = b;
    c->opt = &b->clip;
    c->seen.stage = LV_STAGE_NB;
    ret    = measure(c, &kinds[w->a]);
    if (ret >= 0)
        (b->json ? print_json : print_clip)(c, w);
    b->printed += ret >= 0;
    lv_session_close(&c->session);
    lv_clip_model_free(&c->model);
    free(c->planes);
    free(c);
    return LV_MIN(ret, 0);
}
