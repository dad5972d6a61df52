/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames: how many, of what size and format, the same when they must be and
 * different when they must be.
 */

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api_kit.h"

#define OTHER_PROMPT "a small yellow square moving up on a green background"

/* Bounds for the embedded model, of seed 1 and its defaults. */
#define RED_MIN  120 ///< of r - b where it is largest; it is 234
#define BLUE_MIN 30  ///< of the mean b over the mean r and g; it is 89

START_TEST(one_clip)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    char prompt[] = KIT_PROMPT;
    LinvideoContext *c;
    Video v;

    p.prompt = prompt;
    c = kit_open(&p);
    prompt[0] = '?';
    v = kit_video(c, LINVIDEO_YUV420P);
    ck_assert_int_eq(v.info.frames, v.info.clip_frames);
    for (int64_t i = 0; i < v.info.frames; i++) {
        ck_assert_int_eq(kit_next(&v, c), 0);
        ck_assert_int_eq(v.shot[i].index, i);
        ck_assert_int_eq(v.shot[i].clip, 0);
        ck_assert_int_eq(v.shot[i].seed, 1);
        ck_assert_str_eq(v.shot[i].prompt, KIT_PROMPT);
        ck_assert(!i || !kit_same(&v, i, &v, i - 1));
    }
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    ck_assert_int_eq(w.lines[LINVIDEO_LOG_ERROR], 0);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

static void check_info(const LinvideoInfo *i)
{
    ck_assert(i->width == 64 && i->height == 64);
    ck_assert(i->model_width == 64 && i->model_height == 64);
    ck_assert(i->rate_num == 8 && i->rate_den == 1);
    ck_assert(i->frames == 17 && i->clip_frames == 17 && i->seed == 1);
    ck_assert(i->steps == 2 && i->guidance == 1 && i->shift == 3);
    ck_assert_str_eq(i->sampler, "euler");
    ck_assert_str_eq(i->model, "motion");
    ck_assert_str_eq(i->model_path, kit_model());
    ck_assert(i->layers == 12 && i->linear_layers == 0);
    ck_assert_int_eq(i->tokens, 5 * 4 * 4);
    ck_assert(i->memory_weights > 1 << 20 && i->memory_work > 1 << 16);
}

START_TEST(information)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = kit_open(&p);
    LinvideoInfo before, after;
    Video v = kit_video(c, LINVIDEO_YUV420P);

    linvideo_info(c, &before);
    check_info(&before);
    for (int i = 0; i < 4; i++)
        ck_assert(before.seconds[i] == 0);
    while (!kit_next(&v, c))
        ;
    linvideo_info(c, &after);
    for (int i = 0; i < 4; i++)
        ck_assert(after.seconds[i] > 0);
    memset(after.seconds, 0, sizeof(after.seconds));
    ck_assert_mem_eq(&before, &after, sizeof(before));
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

/* Clips */

START_TEST(several_clips)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video v;

    p.clip_frames = 5;
    p.frames      = 12;
    v = kit_make(&p);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(v.shot[i].index, i);
        ck_assert_int_eq(v.shot[i].clip, i / 5);
    }
    ck_assert(!kit_same(&v, 0, &v, 5));
    ck_assert(!kit_same(&v, 0, &v, 10));
    ck_assert(!kit_same(&v, 5, &v, 10));
    ck_assert(!kit_same(&v, 1, &v, 6));
    kit_free(&v);
}
END_TEST

/* Frames of a clip that the networks cannot make exactly come from the next longer
 * one they can; and what is left out of the last clip changes nothing before it. */
static const struct {
    int clip, longer;
} odd_clips[] = {
    { 1, 1 }, { 2, 5 }, { 3, 5 }, { 4, 5 }, { 6, 9 }, { 7, 9 }, { 16, 17 },
};

START_TEST(odd_clip)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    int n = odd_clips[_i].clip;
    Video a, b;

    p.clip_frames = odd_clips[_i].longer;
    a = kit_make(&p);
    ck_assert_int_eq(a.nb, odd_clips[_i].longer);
    p.clip_frames = n;
    p.frames      = 2 * n;
    b = kit_make(&p);
    for (int i = 0; i < 2 * n; i++) {
        ck_assert_int_eq(b.shot[i].clip, i / n);
        if (i < n)
            ck_assert(kit_same(&a, i, &b, i));
    }
    kit_free(&a);
    kit_free(&b);
}
END_TEST

START_TEST(less_than_a_clip)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a = kit_make(&p), b;

    p.frames = 6;
    b = kit_make(&p);
    ck_assert_int_eq(b.nb, 6);
    ck_assert_int_eq(b.info.clip_frames, 17);
    for (int i = 0; i < 6; i++)
        ck_assert(kit_same(&a, i, &b, i));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Formats and sizes */

enum { FORMATS = LINVIDEO_NV12 + 1 };

static const struct {
    int width, height;
} sizes[] = {
    { 64, 64 }, { 16, 16 }, { 17, 33 }, { 100, 60 }, { 33, 17 }, { 129, 16 }, { 63, 65 },
};

/* Two frames of all formats in a size. */
static void make_formats(Video v[FORMATS], int i)
{
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.width  = sizes[i].width;
    p.height = sizes[i].height;
    p.frames = 2;
    p.clip_frames = 5;
    for (int k = 0; k < FORMATS; k++) {
        p.format = (enum LinvideoFormat)k;
        v[k] = kit_make(&p);
        ck_assert_int_eq(v[k].info.width, sizes[i].width);
        ck_assert_int_eq(v[k].info.height, sizes[i].height);
        ck_assert_int_ge(v[k].info.model_width, sizes[i].width);
        ck_assert_int_ge(v[k].info.model_height, sizes[i].height);
    }
}

/* yuv444p of a pixel, from bytes: within one of what the library, which had no
 * rounding in between, may give. */
static void check_yuv(const uint8_t *rgb, const uint8_t *const plane[3], size_t at)
{
    double r = rgb[3 * at] / 255.0, g = rgb[3 * at + 1] / 255.0;
    double b = rgb[3 * at + 2] / 255.0, y = 0.2126 * r + 0.7152 * g + 0.0722 * b;

    ck_assert_double_le(fabs(plane[0][at] - (16 + 219 * y)), 1.1);
    ck_assert_double_le(fabs(plane[1][at] - (128 + 224 * (b - y) / 1.8556)), 1.1);
    ck_assert_double_le(fabs(plane[2][at] - (128 + 224 * (r - y) / 1.5748)), 1.1);
}

/* A chroma sample of yuv420p lies within the values around it of yuv444p. */
static void check_chroma(const Video *half, const Video *full, int plane)
{
    int w = full->info.width, h = full->info.height;
    int cols = kit_cols(half->format, plane, w), rows = kit_rows(half->format, plane, h);
    const uint8_t *a = kit_plane(half, 1, plane), *b = kit_plane(full, 1, plane);

    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < cols; x++) {
            int lo = 255, hi = 0;
            for (int i = 2 * y; i <= LV_MIN(2 * y + 1, h - 1); i++)
                for (int k = LV_MAX(2 * x - 1, 0); k <= LV_MIN(2 * x + 1, w - 1); k++) {
                    lo = LV_MIN(lo, b[i * w + k]);
                    hi = LV_MAX(hi, b[i * w + k]);
                }
            ck_assert(a[y * cols + x] >= lo - 1 && a[y * cols + x] <= hi + 1);
        }
    }
}

/* nv12 is yuv420p with its chroma woven. */
static void check_woven(const Video *nv12, const Video *half)
{
    int w = half->info.width, h = half->info.height, n = (w + 1) / 2 * ((h + 1) / 2);
    const uint8_t *woven = kit_plane(nv12, 1, 1);

    ck_assert_mem_eq(kit_plane(nv12, 1, 0), kit_plane(half, 1, 0), (size_t)(w * h));
    for (int i = 0; i < n; i++)
        ck_assert(woven[2 * i] == kit_plane(half, 1, 1)[i] &&
                  woven[2 * i + 1] == kit_plane(half, 1, 2)[i]);
}

START_TEST(formats_agree)
{
    Video v[FORMATS];
    size_t n = (size_t)sizes[_i].width * (size_t)sizes[_i].height;
    const uint8_t *rgb, *plane[3], *gbr[3];

    make_formats(v, _i);
    rgb = kit_plane(&v[LINVIDEO_RGB24], 1, 0);
    for (int k = 0; k < 3; k++) {
        plane[k] = kit_plane(&v[LINVIDEO_YUV444P], 1, k);
        gbr[k]   = kit_plane(&v[LINVIDEO_GBRP], 1, k);
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert(gbr[0][i] == rgb[3 * i + 1] && gbr[1][i] == rgb[3 * i + 2] &&
                  gbr[2][i] == rgb[3 * i]);
        check_yuv(rgb, plane, i);
    }
    ck_assert_mem_eq(kit_plane(&v[LINVIDEO_YUV420P], 1, 0), plane[0], n);
    check_chroma(&v[LINVIDEO_YUV420P], &v[LINVIDEO_YUV444P], 1);
    check_chroma(&v[LINVIDEO_YUV420P], &v[LINVIDEO_YUV444P], 2);
    check_woven(&v[LINVIDEO_NV12], &v[LINVIDEO_YUV420P]);
    for (int k = 0; k < FORMATS; k++)
        kit_free(&v[k]);
}
END_TEST

/* The same colours by either matrix; by default it is BT.709. */
START_TEST(matrices)
{
    static const double share[][2] = { { 0.2126, 0.0722 }, { 0.2126, 0.0722 },
                                       { 0.299, 0.114 } };
    Watch w;
    LinvideoParams p = kit_params(&w);
    double kr = share[_i][0], kb = share[_i][1];
    Video rgb, yuv;

    p.frames = 1;
    p.format = LINVIDEO_RGB24;
    rgb      = kit_make(&p);
    p.format = LINVIDEO_YUV444P;
    p.matrix = (enum LinvideoMatrix)_i;
    yuv      = kit_make(&p);
    for (int i = 0; i < 64 * 64; i++) {
        const uint8_t *c = kit_plane(&rgb, 0, 0) + 3 * i;
        double y = (kr * c[0] + (1 - kr - kb) * c[1] + kb * c[2]) / 255;
        ck_assert_double_le(fabs(kit_plane(&yuv, 0, 0)[i] - (16 + 219 * y)), 1.1);
        ck_assert_double_le(fabs(kit_plane(&yuv, 0, 1)[i] -
                                 (128 + 112 * (c[2] / 255. - y) / (1 - kb))), 1.1);
        ck_assert_double_le(fabs(kit_plane(&yuv, 0, 2)[i] -
                                 (128 + 112 * (c[0] / 255. - y) / (1 - kr))), 1.1);
    }
    kit_free(&rgb);
    kit_free(&yuv);
}
END_TEST

/* Sizes that the model makes alike are cut from its middle. */
START_TEST(cropped)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a, b;

    p.frames = 1;
    p.format = LINVIDEO_RGB24;
    a = kit_make(&p);
    p.width  = 50;
    p.height = 58;
    b = kit_make(&p);
    ck_assert(b.info.model_width == 64 && b.info.model_height == 64);
    for (int y = 0; y < 58; y++)
        ck_assert_mem_eq(b.data + y * 150, a.data + (y + 3) * 192 + 7 * 3, 150);
    kit_free(&a);
    kit_free(&b);
}
END_TEST

enum { PAD = 13, MARK = 0x5A };

/* Frame 0 into planes from the bottom up, with marks left of, right of and around
 * the rows; compared with v. */
static void check_stride(const Video *v, LinvideoContext *c)
{
    LinvideoFrame f = { .index = 0 };
    uint8_t *memory[3] = { NULL, NULL, NULL };
    int planes = kit_planes(v->format), rows[3], cols[3];

    for (int i = 0; i < planes; i++) {
        rows[i]   = kit_rows(v->format, i, v->info.height);
        cols[i]   = kit_cols(v->format, i, v->info.width);
        memory[i] = malloc((size_t)(rows[i] + 2) * (size_t)(cols[i] + PAD));
        ck_assert_ptr_nonnull(memory[i]);
        memset(memory[i], MARK, (size_t)(rows[i] + 2) * (size_t)(cols[i] + PAD));
        f.stride[i] = -(cols[i] + PAD);
        f.data[i]   = memory[i] - rows[i] * f.stride[i];
    }
    ck_assert_int_eq(linvideo_next_frame(c, &f), 0);
    for (int i = 0; i < planes; i++) {
        const uint8_t *want = kit_plane(v, 0, i), *p = memory[i];
        for (int y = -1; y <= rows[i]; y++, p += cols[i] + PAD) {
            int inside = y >= 0 && y < rows[i];
            if (inside)
                ck_assert_mem_eq(p, want + (rows[i] - 1 - y) * cols[i], (size_t)cols[i]);
            for (int x = inside ? cols[i] : 0; x < cols[i] + PAD; x++)
                ck_assert_int_eq(p[x], MARK);
        }
        free(memory[i]);
    }
}

START_TEST(negative_stride)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    Video v;

    p.frames = 1;
    p.width  = 37;
    p.height = 21;
    p.format = (enum LinvideoFormat)_i;
    v = kit_make(&p);
    c = kit_open(&p);
    check_stride(&v, c);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

/* The same and different */

START_TEST(repeatable)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video first, v;

    p.guidance    = 3;
    p.clip_frames = 9;
    first = kit_make(&p);
    for (int threads = 0; threads <= 3; threads++) {
        p.threads = threads;
        v = kit_make(&p);
        ck_assert_msg(kit_equal(&first, &v), "differs with %d threads", threads);
        kit_free(&v);
    }
    p.threads   = 0;
    p.precision = LINVIDEO_PRECISION_F32;
    kit_free(&first);
    first     = kit_make(&p);
    p.threads = 3;
    v = kit_make(&p);
    ck_assert(kit_equal(&first, &v));
    kit_free(&v);
    kit_free(&first);
}
END_TEST

START_TEST(seeds)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    static const int64_t seed[] = { 0, 1, 2, 4294967295 };
    Video v[LV_COUNT(seed)];

    p.frames = 2;
    for (int i = 0; i < LV_COUNT(seed); i++) {
        p.seed = seed[i];
        v[i]   = kit_make(&p);
        ck_assert_int_eq(v[i].info.seed, seed[i]);
        ck_assert_int_eq(v[i].shot[1].seed, seed[i]);
        for (int k = 0; k < i; k++)
            ck_assert(!kit_same(&v[i], 0, &v[k], 0));
    }
    for (int i = 0; i < LV_COUNT(seed); i++)
        kit_free(&v[i]);
}
END_TEST

START_TEST(drawn_seed)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a, b, c;

    p.frames = 2;
    p.seed   = -1;
    a = kit_make(&p);
    b = kit_make(&p);
    ck_assert(a.info.seed >= 0 && a.info.seed <= 4294967295);
    ck_assert_int_eq(a.shot[0].seed, a.info.seed);
    ck_assert_int_ne(a.info.seed, b.info.seed);
    ck_assert(!kit_same(&a, 0, &b, 0));
    p.seed = a.info.seed;
    c = kit_make(&p);
    ck_assert(kit_equal(&a, &c));
    kit_free(&a);
    kit_free(&b);
    kit_free(&c);
}
END_TEST

/* With guidance off the negative prompt has no say; with it on it has. */
START_TEST(negative_prompt)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a[2], b[2];

    p.frames = 2;
    for (int i = 0; i < 2; i++) {
        p.guidance        = i ? 3 : 1;
        p.negative_prompt = NULL;
        a[i] = kit_make(&p);
        p.negative_prompt = OTHER_PROMPT;
        b[i] = kit_make(&p);
        ck_assert_int_eq(kit_equal(&a[i], &b[i]), !i);
    }
    ck_assert(!kit_equal(&a[0], &a[1]));
    p.negative_prompt = "";
    kit_free(&b[1]);
    b[1] = kit_make(&p);
    ck_assert(kit_equal(&a[1], &b[1]));
    for (int i = 0; i < 2; i++) {
        kit_free(&a[i]);
        kit_free(&b[i]);
    }
}
END_TEST

/* Every option that is to change the frames does. */
START_TEST(options_matter)
{
    static const char *const changes[][2] = {
        { "steps", "3" }, { "shift", "8" }, { "prompt", OTHER_PROMPT },
        { "guidance", "2" }, { "size", "64x80" }, { "clip_frames", "9" },
    };
    Watch w;
    LinvideoParams p = kit_params(&w), q;
    Video a, b;

    p.frames = 2;
    a = kit_make(&p);
    for (int i = 0; i < LV_COUNT(changes); i++) {
        q = p;
        ck_assert_int_eq(linvideo_params_set(&q, changes[i][0], changes[i][1]), 0);
        b = kit_make(&q);
        ck_assert_msg(!kit_equal(&a, &b), "%s", changes[i][0]);
        kit_free(&b);
    }
    kit_free(&a);
}
END_TEST

START_TEST(samplers)
{
    static const char *const names[] = { "euler", "euler", "unipc", "renoise", "dpm++" };
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video v[LV_COUNT(names)];

    p.frames = 2;
    p.steps  = 4;
    for (int i = 0; i < LV_COUNT(names); i++) {
        LinvideoContext *c;
        LinvideoInfo info;

        p.sampler = (enum LinvideoSampler)i;
        c = kit_open(&p);
        linvideo_info(c, &info);
        ck_assert_str_eq(info.sampler, names[i]);
        linvideo_close(&c);
        v[i] = kit_make(&p);
        for (int k = 0; k < i; k++)
            ck_assert_int_eq(kit_equal(&v[i], &v[k]), i == 1);
    }
    for (int i = 0; i < LV_COUNT(names); i++)
        kit_free(&v[i]);
}
END_TEST

static double psnr(const Video *a, const Video *b)
{
    size_t n = (size_t)a->nb * a->bytes;
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += pow((double)a->data[i] - b->data[i], 2);
    return 10 * log10(255 * 255 * (double)n / sum);
}

/* Others against f32 with all of the model's defaults, where there are any. */
START_TEST(precisions)
{
    static const struct {
        enum LinvideoPrecision precision;
        const char *name, *refused[2];
        double psnr; ///< least, in dB
    } of[] = {
        { LINVIDEO_PRECISION_BF16, "bf16", { "has no bf16 matmuls; use precision f32" },
          40 },
        { LINVIDEO_PRECISION_INT8, "int8", { "has no int8 matmuls, which are for CPUs with "
                                             "AVX-512 VNNI; use precision auto" }, 30 },
        { LINVIDEO_PRECISION_FP8, "fp8", { "has no fp8 matmuls, which are for GPUs of compute "
                                           "capability 8.9 or more; use precision auto" }, 30 },
    };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = NULL;
    LinvideoInfo info;
    Video a, b;

    p.precision = of[_i].precision;
    if (linvideo_open(&c, &p) < 0) {
        kit_refused(&p, &w, LINVIDEO_ERR_UNSUPPORTED, of[_i].refused);
        return;
    }
    linvideo_info(c, &info);
    ck_assert_str_eq(info.precision, of[_i].name);
    linvideo_close(&c);
    p.steps    = 0;
    p.guidance = 0;
    p.format   = LINVIDEO_RGB24;
    a = kit_make(&p);
    p.precision = LINVIDEO_PRECISION_F32;
    b = kit_make(&p);
    ck_assert_double_gt(psnr(&a, &b), of[_i].psnr);
    ck_assert(!kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Changing the prompt */

/* 3 clips of 5 frames. After frame `at` the prompt is changed. */
static Video change_prompt(LinvideoParams *p, int at, const char *prompt, int code)
{
    Watch *w = p->opaque;
    LinvideoContext *c = kit_open(p);
    Video v = kit_video(c, (int)p->format);
    int ret;

    for (int i = 0; i < 15; i++) {
        if (i == at) {
            ret = linvideo_set_prompt(c, prompt);
            ck_assert_msg(ret == code, "%d: %s", ret, w->error);
        }
        ck_assert_int_eq(kit_next(&v, c), 0);
    }
    ck_assert_int_eq(w->lines[LINVIDEO_LOG_ERROR], code < 0);
    w->lines[LINVIDEO_LOG_ERROR] = 0;
    linvideo_close(&c);
    return v;
}

/* Clips before `clip` are a's, later ones b's. */
static void check_change(const Video *v, const Video *a, const Video *b, int clip)
{
    for (int i = 0; i < 15; i++) {
        ck_assert(kit_same(v, i, i / 5 < clip ? a : b, i));
        ck_assert_str_eq(v->shot[i].prompt, i / 5 < clip ? KIT_PROMPT : OTHER_PROMPT);
    }
}

START_TEST(new_prompt)
{
    static const int at[] = { 0, 1, 4, 5, 7 }, clip[] = { 0, 1, 1, 1, 2 };
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a, b, v;

    p.clip_frames = 5;
    p.frames      = 15;
    a = kit_make(&p);
    p.prompt = OTHER_PROMPT;
    b = kit_make(&p);
    p.prompt = KIT_PROMPT;
    ck_assert(!kit_same(&a, 0, &b, 0) && !kit_same(&a, 5, &b, 5));
    for (int i = 0; i < LV_COUNT(at); i++) {
        v = change_prompt(&p, at[i], OTHER_PROMPT, 0);
        check_change(&v, &a, &b, clip[i]);
        kit_free(&v);
    }
    kit_free(&a);
    kit_free(&b);
}
END_TEST

static char many_words[300];

static const struct {
    const char *prompt, *part;
} bad_prompts[] = {
    { NULL, "no prompt" }, { "", "the prompt is empty" }, { " \n\t", "the prompt is empty" },
    { "red \xFE", "not valid UTF-8 at byte 4 of 5" },
    { many_words, "tokens, the model takes 64" },
};

START_TEST(bad_new_prompt)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a, v;

    memset(many_words, 'x', sizeof(many_words) - 1);
    p.clip_frames = 5;
    p.frames      = 15;
    a = kit_make(&p);
    v = change_prompt(&p, _i, bad_prompts[_i].prompt, -EINVAL);
    ck_assert_msg(strstr(w.error, bad_prompts[_i].part), "%s", w.error);
    check_change(&v, &a, NULL, 3);
    kit_free(&a);
    kit_free(&v);
}
END_TEST

/* The last good one of several counts. */
START_TEST(prompts_in_a_row)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    Video b, v;

    p.clip_frames = 1;
    p.frames      = 2;
    p.prompt      = OTHER_PROMPT;
    b = kit_make(&p);
    p.prompt = KIT_PROMPT;
    c = kit_open(&p);
    v = kit_video(c, LINVIDEO_YUV420P);
    ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, "a blue square"), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, OTHER_PROMPT), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, ""), -EINVAL);
    ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert(kit_same(&v, 1, &b, 1));
    ck_assert_str_eq(v.shot[1].prompt, OTHER_PROMPT);
    kit_one_error(&w, "empty");
    linvideo_close(&c);
    kit_free(&b);
    kit_free(&v);
}
END_TEST

/* Another video with the same weights */

/* Restart c with p: the frames of a new context, and nothing is loaded. */
static void check_restart(LinvideoContext *c, const LinvideoParams *p)
{
    Video fresh = kit_make(p), v;

    ck_assert_int_eq(linvideo_restart(c, p), 0);
    v = kit_video(c, (int)p->format);
    while (!kit_next(&v, c))
        ;
    linvideo_info(c, &v.info);
    ck_assert_double_eq(v.info.seconds[LINVIDEO_STAGE_LOAD], 0);
    ck_assert_int_eq(v.info.frames, fresh.info.frames);
    ck_assert(kit_equal(&v, &fresh));
    ck_assert_str_eq(v.shot[0].prompt, p->prompt);
    ck_assert_int_eq(v.shot[0].seed, p->seed);
    kit_free(&v);
    kit_free(&fresh);
}

/* From its middle, from its end, after a cancelled call. Loop: without guidance, with it. */
START_TEST(restarted)
{
    Watch w;
    LinvideoParams p = kit_params(&w), other;
    LinvideoContext *c;
    Video v;

    p.guidance    = _i ? 3 : 1;
    p.clip_frames = 5;
    p.frames      = 6;
    other         = p;
    other.prompt  = OTHER_PROMPT;
    other.seed    = 9;
    other.frames  = 3;
    other.format  = LINVIDEO_NV12;
    other.negative_prompt = _i ? "a blue square" : NULL;
    c = kit_open(&p);
    v = kit_video(c, (int)p.format);
    ck_assert_int_eq(kit_next(&v, c), 0);
    check_restart(c, &other);
    check_restart(c, &p);
    linvideo_cancel(c);
    ck_assert_int_eq(linvideo_next_frame(c, &(LinvideoFrame) { .index = 0 }), LINVIDEO_EOF);
    check_restart(c, &p);
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    linvideo_cancel(c);
    v.nb = 0;
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_ERR_CANCELLED);
    check_restart(c, &other);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

/* Before there are weights; with what cannot be: the old video goes on. */
START_TEST(bad_restart)
{
    Watch w;
    LinvideoParams p = kit_params(&w), bad = p;
    Video fresh, v;
    LinvideoContext *c;

    p.guidance = bad.guidance = 3;
    p.frames   = 2;
    fresh      = kit_make(&p);
    c          = kit_open(&p);
    v          = kit_video(c, (int)p.format);
    ck_assert_int_eq(linvideo_restart(c, &p), -EINVAL);
    kit_one_error(&w, "restart: expected a context that has loaded its weights");
    ck_assert_int_eq(kit_next(&v, c), 0);
    bad.negative_prompt = "a blue square";
    bad.prompt = "";
    ck_assert_int_eq(linvideo_restart(c, &bad), -EINVAL);
    kit_one_error(&w, "empty");
    bad.prompt = OTHER_PROMPT;
    bad.frames = bad.duration = 8;
    ck_assert_int_eq(linvideo_restart(c, &bad), -EINVAL);
    kit_one_error(&w, "both frames and duration");
    ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert(kit_equal(&v, &fresh));
    linvideo_close(&c);
    kit_free(&fresh);
    kit_free(&v);
}
END_TEST

/* Several contexts */

static void *make_in_thread(void *arg)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video *v = arg;

    p.seed     = v->info.seed;
    p.prompt   = p.seed & 1 ? KIT_PROMPT : OTHER_PROMPT;
    p.guidance = 3;
    p.threads  = 2;
    *v = kit_make(&p);
    return NULL;
}

START_TEST(side_by_side)
{
    pthread_t thread[2];
    Video alone[2], both[2];

    for (int i = 0; i < 2; i++) {
        alone[i].info.seed = both[i].info.seed = 7 + i;
        make_in_thread(&alone[i]);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, make_in_thread, &both[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert(kit_equal(&alone[i], &both[i]));
        kit_free(&alone[i]);
        kit_free(&both[i]);
    }
}
END_TEST

/* Two contexts of one thread, a frame from each in turn. */
START_TEST(in_turn)
{
    Watch w[2];
    LinvideoParams p[2] = { kit_params(&w[0]), kit_params(&w[1]) };
    LinvideoContext *c[2];
    Video alone[2], v[2];

    p[1].seed = 2;
    for (int i = 0; i < 2; i++) {
        alone[i] = kit_make(&p[i]);
        c[i]     = kit_open(&p[i]);
        v[i]     = kit_video(c[i], LINVIDEO_YUV420P);
    }
    for (int i = 0; i < 34; i++)
        ck_assert_int_eq(kit_next(&v[i % 2], c[i % 2]), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(kit_equal(&alone[i], &v[i]));
        linvideo_close(&c[i]);
        kit_free(&alone[i]);
        kit_free(&v[i]);
    }
}
END_TEST

/* What is seen */

START_TEST(red_on_blue)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    double mean[3] = { 0, 0, 0 };
    const uint8_t *rgb;
    int most = -255, n = 64 * 64;
    Video v;

    p.steps    = 0;
    p.guidance = 0;
    p.format   = LINVIDEO_RGB24;
    v   = kit_make(&p);
    rgb = kit_plane(&v, 8, 0);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++)
            mean[k] += rgb[3 * i + k] / (double)n;
        most = LV_MAX(most, rgb[3 * i] - rgb[3 * i + 2]);
    }
    ck_assert_int_gt(most, RED_MIN);
    ck_assert_double_gt(mean[2], mean[0] + BLUE_MIN);
    ck_assert_double_gt(mean[2], mean[1] + BLUE_MIN);
    kit_free(&v);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    return t;
}

void api_add_frames(Suite *suite)
{
    TCase *t = add_case(suite, "frames");

    tcase_add_test(t, one_clip);
    tcase_add_test(t, information);
    tcase_add_test(t, several_clips);
    tcase_add_loop_test(t, odd_clip, 0, LV_COUNT(odd_clips));
    tcase_add_test(t, less_than_a_clip);
    tcase_add_loop_test(t, formats_agree, 0, LV_COUNT(sizes));
    tcase_add_loop_test(t, matrices, 0, LINVIDEO_MATRIX_BT601 + 1);
    tcase_add_test(t, cropped);
    tcase_add_loop_test(t, negative_stride, 0, FORMATS);
    t = add_case(suite, "same and different");
    tcase_add_test(t, repeatable);
    tcase_add_test(t, seeds);
    tcase_add_test(t, drawn_seed);
    tcase_add_test(t, negative_prompt);
    tcase_add_test(t, options_matter);
    tcase_add_test(t, samplers);
    tcase_add_loop_test(t, precisions, 0, 3);
    tcase_add_test(t, red_on_blue);
    t = add_case(suite, "several contexts");
    tcase_add_test(t, side_by_side);
    tcase_add_test(t, in_turn);
    t = add_case(suite, "new prompt");
    tcase_add_test(t, new_prompt);
    tcase_add_loop_test(t, bad_new_prompt, 0, LV_COUNT(bad_prompts));
    tcase_add_test(t, prompts_in_a_row);
    t = add_case(suite, "restart");
    tcase_add_loop_test(t, restarted, 0, 2);
    tcase_add_test(t, bad_restart);
}
