/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures on their way in: how they are prepared; the stage that encodes frames, against the
 * autoencoder run whole; CLIP's image tower. On the device that LV_TEST_DEVICE names.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"
#include "pipeline/clip_vision.h"
#include "pipeline/prepare.h"
#include "pipeline/tiles.h"
#include "pipeline/vae.h"
#include "pipeline/vae_encode.h"
#include "tests/keep.h"
#include "tests/nets.h"
#include "tests/wan_kit.h"

enum { FRAMES = 9, LATENTS = 3, TILE = 16, LARGE = 24, MOST_CHANNELS = 48 };

static WanModel model;
static const LvMsg keep = { keep_line, NULL, LV_MSG_WARNING };

/* An autoencoder's file as a stage sees it. */
typedef struct Stage {
    LvSafetensors *st;
    LvSource *src;
    LvFiles files;
    LvModelConfig cfg;
    LvEnv env;
    void *arena;
    LvVaeEncode *e;
} Stage;

static const char *device_name(void)
{
    const char *name = getenv("LV_TEST_DEVICE");

    return name ? name : "cpu";
}

static void open_file(Stage *s, const char *name)
{
    const LvDeviceOptions opt = { .threads = 2 };

    *s = (Stage) { .env = { .msg = &keep, .dtype = LV_F32 } };
    ck_assert_int_eq(lv_safetensors_open(&s->st, wan_path(name), &keep), 0);
    ck_assert_int_eq(lv_source_view(&s->src, s->st, &keep), 0);
    s->files.vae  = lv_part_find(s->src);
    s->files.path = (char *)"vae";
    ck_assert_int_eq(lv_part_vae(&s->cfg.vae, &s->files.vae, &keep), 0);
    ck_assert_msg(lv_device_open(&s->env.dev, device_name(), &opt, &keep) == 0, "%s", last_line);
    s->env.files = &s->files;
    s->env.cfg   = &s->cfg;
}

static void close_file(Stage *s)
{
    lv_device_close(&s->env.dev);
    lv_source_close(&s->src);
    lv_safetensors_close(&s->st);
}

static void open_stage(Stage *s, int latents, int rows, int cols, int tile)
{
    const LvVaeEncodeShape shape = { { latents, rows, cols }, tile };
    LvNeed need;

    ck_assert_msg(lv_vae_encode_new(&s->e, &s->env) == 0, "%s", last_line);
    ck_assert_int_eq(lv_vae_encode_plan(s->e, &shape), 0);
    need = lv_vae_encode_need(s->e);
    ck_assert_int_eq(s->env.dev->fn->reserve ? lv_device_reserve(s->env.dev, need.thread)
                                             : 0, 0);
    s->arena = lv_device_try_alloc(s->env.dev, need.arena);
    ck_assert_ptr_nonnull(s->arena);
    ck_assert_msg(lv_vae_encode_build(s->e, s->arena) == 0, "%s", last_line);
}

static void close_stage(Stage *s)
{
    lv_vae_encode_free(&s->e);
    lv_device_free(s->env.dev, s->arena);
}

/* rgb: frames one behind the other, of so many values; 0: the first alone, mid grey behind. */
static void encode(Stage *s, int latents, const float *rgb, size_t frame, float *x)
{
    ck_assert_int_eq(lv_vae_encode_begin(s->e, x), 0);
    for (int f = 0, at = 0; f < latents; f++) {
        const float *frames[LV_WAN_FRAMES];
        int nb = f ? LV_WAN_FRAMES : 1;
        for (int i = 0; i < nb; i++, at++)
            frames[i] = !at || frame ? rgb + (size_t)at * frame : NULL;
        ck_assert_msg(lv_vae_encode_run(s->e, frames) == 0, "%s", last_line);
    }
}

static float *noise(size_t n)
{
    float *x = malloc(n * sizeof(*x));

    ck_assert_ptr_nonnull(x);
    lv_philox_normal(x, n, 5, 7);
    for (size_t i = 0; i < n; i++)
        x[i] = tanhf(x[i]);
    return x;
}

/* [F,Y,X,channels] to normalised [channels,F,Y,X]. */
static void normalise(const NetsClip *z, const LvTaeConfig *c, float *x)
{
    size_t area = (size_t)z->frames * (size_t)z->rows * (size_t)z->cols;
    size_t nb   = (size_t)z->channels;

    for (size_t i = 0; i < area; i++)
        for (size_t k = 0; k < nb; k++)
            x[k * area + i] = (z->data[i * nb + k] - c->mean[k]) / c->std[k];
}

static void expect_near(const float *got, const float *want, size_t n, double bound)
{
    double d = 0, r = 0;

    for (size_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        r += (double)want[i] * want[i];
    }
    ck_assert_msg(sqrt(d / r) <= bound, "relative error %.2e, expected %.1e", sqrt(d / r), bound);
}

static const char *file_of(int wan22)
{
    if (wan22)
        wan_kit_change_vae(&model);
    wan_kit_write(&model, &model.vae, &(WanFile) { .path = wan_path("v.safetensors"),
                                                   .prefix = "" });
    return "v.safetensors";
}

/* The autoencoder alone, on the CPU. */
static void run_whole(const Stage *s, const float *rgb, int rows, int cols, float *x)
{
    NetsOptions opt = { .dtype = LV_F32, .msg = &keep };
    NetsClip in = { (float *)rgb, FRAMES, rows, cols, 3 }, z;

    ck_assert_int_eq(lv_device_open(&opt.dev, "cpu", &(LvDeviceOptions) { 0 }, &keep), 0);
    ck_assert_msg(nets_wan(s->st, "", &s->cfg.vae, 1, &in, &opt, &z) == 0, "%s", last_line);
    normalise(&z, &s->cfg.vae, x);
    free(z.data);
    lv_device_close(&opt.dev);
}

/* _i: of Wan2.1, of Wan2.2 */
START_TEST(device_encodes)
{
    enum { ROWS = 4, COLS = 3, N = MOST_CHANNELS * LATENTS * ROWS * COLS };
    static float got[N], want[N];
    int scale = _i ? 16 : 8;
    size_t frame = (size_t)(ROWS * scale) * (size_t)(COLS * scale) * 3, n;
    float *rgb = noise(frame * FRAMES);
    Stage s;

    open_file(&s, file_of(_i));
    open_stage(&s, LATENTS, ROWS, COLS, 0);
    ck_assert_int_eq(lv_vae_encode_scale(s.e), scale);
    ck_assert_double_gt(lv_vae_encode_flops(s.e), 0);
    n = (size_t)(s.cfg.vae.channels * LATENTS * ROWS * COLS);
    run_whole(&s, rgb, ROWS * scale, COLS * scale, want);
    encode(&s, LATENTS, rgb, frame, got);
    expect_near(got, want, n, 1e-5);
    encode(&s, LATENTS, rgb, frame, got); /* nothing is left of the clip before */
    expect_near(got, want, n, 1e-5);
    close_stage(&s);
    close_file(&s);
    free(rgb);
}
END_TEST

/* A picture, and mid grey behind it. */
START_TEST(grey_behind)
{
    enum { N = 16 * LATENTS * 16, FRAME = 32 * 32 * 3 };
    static float got[N], want[N], rgb[FRAME * FRAMES];
    int side = 32 / (_i ? 16 : 8);
    float *picture = noise(FRAME);
    Stage s;

    memset(rgb, 0, sizeof(rgb));
    memcpy(rgb, picture, FRAME * sizeof(*rgb));
    open_file(&s, file_of(_i));
    ck_assert_int_le(s.cfg.vae.channels * LATENTS * side * side, LV_COUNT(got));
    open_stage(&s, LATENTS, side, side, 0);
    encode(&s, LATENTS, rgb, FRAME, want);
    encode(&s, LATENTS, picture, 0, got);
    ck_assert_mem_eq(got, want, sizeof(*got) *
                     (size_t)(s.cfg.vae.channels * LATENTS * side * side));
    close_stage(&s);
    close_file(&s);
    free(picture);
}
END_TEST

/* Tiles are what their parts of the frames give, blended. */
START_TEST(blends_tiles)
{
    enum { SIDE = LARGE * 8, FRAME = SIDE * SIDE * 3, CUT = TILE * 8, N = 16 * LARGE * LARGE };
    static float got[N], want[N], part[16 * TILE * TILE], crop[CUT * CUT * 3];
    float *rgb = noise(FRAME);
    LvTiles t;
    Stage s;

    ck_assert_int_eq(lv_tiles_new(&t, LARGE, TILE, 1), 0);
    ck_assert_int_gt(t.nb, 1);
    open_file(&s, file_of(0));
    open_stage(&s, 1, LARGE, LARGE, 16); /* too small: the least is taken */
    ck_assert_ptr_nonnull(strstr(last_line, "128 is used"));
    encode(&s, 1, rgb, FRAME, got);
    close_stage(&s);
    open_stage(&s, 1, TILE, TILE, 0);
    memset(want, 0, sizeof(want));
    for (int k = 0; k < t.nb * t.nb; k++) {
        int y0 = t.start[k / t.nb], x0 = t.start[k % t.nb];
        for (int i = 0; i < CUT; i++)
            memcpy(crop + i * CUT * 3, rgb + ((y0 * 8 + i) * SIDE + x0 * 8) * 3,
                   CUT * 3 * sizeof(*rgb));
        encode(&s, 1, crop, 0, part);
        for (int i = 0; i < 16 * TILE * TILE; i++) {
            int c = i / (TILE * TILE), y = i / TILE % TILE, x = i % TILE;
            want[(c * LARGE + y0 + y) * LARGE + x0 + x] +=
                t.weight[k / t.nb * TILE + y] * t.weight[k % t.nb * TILE + x] * part[i];
        }
    }
    expect_near(got, want, N, 1e-6);
    close_stage(&s);
    close_file(&s);
    lv_tiles_free(&t);
    free(rgb);
}
END_TEST

START_TEST(refuses_bad_files)
{
    static const float grey[32 * 32 * 3];
    const float *frames[] = { grey };
    static float x[16 * 16];
    float *w;
    const LvParam *p;
    WanFile f = { .path = wan_path("d.safetensors"), .prefix = "", .drop = "encoder.conv1.bias" };
    Stage s;

    wan_kit_write(&model, &model.vae, &f);
    open_file(&s, "d.safetensors");
    ck_assert_int_eq(lv_vae_encode_new(&s.e, &s.env), LV_ERR_MODEL);
    ck_assert_ptr_null(s.e);
    ck_assert_ptr_nonnull(strstr(last_line, "encoder.conv1.bias is missing"));
    close_file(&s);
    wan_kit_write_tae(&model, wan_path("t.safetensors"));
    open_file(&s, "t.safetensors");
    ck_assert_int_eq(lv_vae_encode_new(&s.e, &s.env), LV_ERR_MODEL);
    ck_assert_ptr_nonnull(strstr(last_line, "it has a decoder alone"));
    close_file(&s);
    w = wan_kit_tensor(&model.vae, "conv1.bias", &p);
    ck_assert_ptr_nonnull(w);
    w[0] = 3e38f;
    open_file(&s, file_of(0));
    s.cfg.vae.std[0] = 0.5f;
    open_stage(&s, 1, 4, 4, 0);
    ck_assert_int_eq(lv_vae_encode_begin(s.e, x), 0);
    ck_assert_int_eq(lv_vae_encode_run(s.e, frames), LV_ERR_MODEL);
    ck_assert_ptr_nonnull(strstr(last_line, "latent frame 0 is not finite"));
    close_stage(&s);
    close_file(&s);
}
END_TEST

/* CLIP */

enum { DIM = 80, CLIP_FFN = 96, CLIP_LAYERS = 3, CLIP_TENSORS = 64 };

/* A file in the making: names, shapes and values. */
typedef struct ClipFile {
    LvFileTensor t[CLIP_TENSORS];
    char name[CLIP_TENSORS][96];
    int nb;
} ClipFile;

/* data: of the caller; NULL: made from the name's number */
static float *add_clip(ClipFile *f, const char *name, const float *data, int rank, int a, int b)
{
    LvFileTensor *t = &f->t[f->nb];
    size_t n = (size_t)a * (size_t)(rank > 1 ? b : 1);
    float *x = malloc(n * sizeof(*x));
    int norm = strstr(name, "norm") && strstr(name, "weight");

    ck_assert(f->nb < CLIP_TENSORS && x);
    snprintf(f->name[f->nb], sizeof(f->name[0]), "%s", name);
    *t = (LvFileTensor) { .name = f->name[f->nb], .dtype = LV_F32, .rank = rank,
                          .dim = { a, b }, .numel = n, .size = n * sizeof(*x), .data = x };
    lv_philox_normal(x, n, 3, (uint64_t)f->nb);
    for (size_t i = 0; i < n; i++)
        x[i] = data ? data[i] : 0.1f * x[i] + (float)norm;
    f->nb++;
    return x;
}

/* In the reference's names, or in those of transformers with the same values. */
static void add_clip_both(ClipFile *o, ClipFile *h, const char *name, const char *hf, int rank,
                          int a, int b)
{
    const float *x = add_clip(o, name, NULL, rank, a, b);

    add_clip(h, hf, x, rank, a, b);
}

static void add_clip_layer(ClipFile *o, ClipFile *h, int i)
{
    static const struct { const char *name, *hf; int rows, cols; } parts[] = {
        { "norm1", "layer_norm1", DIM, 0 }, { "norm2", "layer_norm2", DIM, 0 },
        { "attn.proj", "self_attn.out_proj", DIM, DIM },
        { "mlp.0", "mlp.fc1", CLIP_FFN, DIM }, { "mlp.2", "mlp.fc2", DIM, CLIP_FFN },
    };
    char a[96], b[96];
    const float *w, *bias;

    for (int k = 0; k < 2 * LV_COUNT(parts); k++) {
        const char *end = k % 2 ? "bias" : "weight";
        int rank = k % 2 || !parts[k / 2].cols ? 1 : 2;
        snprintf(a, sizeof(a), "visual.transformer.%d.%s.%s", i, parts[k / 2].name, end);
        snprintf(b, sizeof(b), "vision_model.encoder.layers.%d.%s.%s", i, parts[k / 2].hf, end);
        add_clip_both(o, h, a, b, rank, parts[k / 2].rows, parts[k / 2].cols);
    }
    snprintf(a, sizeof(a), "visual.transformer.%d.attn.to_qkv.weight", i);
    w = add_clip(o, a, NULL, 2, 3 * DIM, DIM);
    snprintf(a, sizeof(a), "visual.transformer.%d.attn.to_qkv.bias", i);
    bias = add_clip(o, a, NULL, 1, 3 * DIM, 0);
    for (int k = 0; k < 3; k++) {
        snprintf(b, sizeof(b), "vision_model.encoder.layers.%d.self_attn.%c_proj.weight", i,
                 "qkv"[k]);
        add_clip(h, b, w + k * DIM * DIM, 2, DIM, DIM);
        snprintf(b, sizeof(b), "vision_model.encoder.layers.%d.self_attn.%c_proj.bias", i,
                 "qkv"[k]);
        add_clip(h, b, bias + k * DIM, 1, DIM, 0);
    }
}

static void write_clip(ClipFile *f, const char *name)
{
    ck_assert_int_eq(lv_safetensors_write(wan_path(name), f->t, f->nb, NULL, &keep), 0);
    for (int i = 0; i < f->nb; i++)
        free((void *)f->t[i].data);
}

/* Both files, with what is not run and a text half beside it. */
static void write_clips(void)
{
    static ClipFile o, h;

    o.nb = h.nb = 0;
    add_clip_both(&o, &h, "visual.cls_embedding", "vision_model.embeddings.class_embedding", 1,
                  DIM, 0);
    add_clip_both(&o, &h, "visual.pos_embedding",
                  "vision_model.embeddings.position_embedding.weight", 2, LV_CLIP_ROWS, DIM);
    add_clip_both(&o, &h, "visual.patch_embedding.weight",
                  "vision_model.embeddings.patch_embedding.weight", 2, DIM, 588);
    add_clip_both(&o, &h, "visual.pre_norm.weight", "vision_model.pre_layrnorm.weight", 1, DIM, 0);
    add_clip_both(&o, &h, "visual.pre_norm.bias", "vision_model.pre_layrnorm.bias", 1, DIM, 0);
    for (int i = 0; i < CLIP_LAYERS - 1; i++)
        add_clip_layer(&o, &h, i);
    add_clip_both(&o, &h, "visual.transformer.2.norm1.bias",
                  "vision_model.encoder.layers.2.layer_norm1.bias", 1, DIM, 0);
    add_clip_both(&o, &h, "visual.post_norm.bias", "vision_model.post_layernorm.bias", 1, DIM, 0);
    add_clip_both(&o, &h, "visual.head", "visual_projection.weight", 2, DIM, 8);
    add_clip_both(&o, &h, "textual.norm.weight", "text_model.final_layer_norm.weight", 1, DIM, 0);
    write_clip(&o, "clip.safetensors");
    write_clip(&h, "clip_hf.safetensors");
}

static void run_clip(const char *name, int layout, const float *const *pixels, int nb, float *y)
{
    Stage s = { .env = { .msg = &keep, .dtype = LV_F32 } };
    LvClipVision *c;
    LvClipConfig cfg;
    LvPart part;

    ck_assert_int_eq(lv_source_open(&s.src, wan_path(name), &keep), 0);
    part = lv_part_find(s.src);
    ck_assert_int_eq(part.kind, LV_PART_CLIP);
    ck_assert_int_eq(part.layout, layout);
    ck_assert_msg(lv_part_clip(&cfg, &part, &keep) == 0, "%s", last_line);
    ck_assert(cfg.dim == DIM && cfg.heads == 1 && cfg.layers == CLIP_LAYERS);
    ck_assert_int_eq(lv_device_open(&s.env.dev, device_name(), &(LvDeviceOptions) { 0 }, &keep), 0);
    s.env.files = &s.files;
    s.env.cfg   = &s.cfg;
    ck_assert_msg(lv_clip_vision_new(&c, &s.env, &part, &cfg) == 0, "%s", last_line);
    ck_assert_uint_gt(lv_clip_vision_need(c).weights + lv_clip_vision_need(c).arena, 0);
    for (int i = 0; i < 2; i++) /* and once more */
        ck_assert_msg(lv_clip_vision_run(c, pixels, nb, y) == 0, "%s", last_line);
    lv_clip_vision_free(&c);
    lv_device_close(&s.env.dev);
    lv_source_close(&s.src);
}

/* Files in both layouts give the same features, each picture its own. */
START_TEST(device_clip)
{
    enum { N = LV_CLIP_ROWS * DIM, IN = LV_CLIP_SIDE * LV_CLIP_SIDE * 3 };
    static float want[2 * N], got[2 * N], one[N];
    float *a = noise(IN), *b = noise(IN);
    const float *pictures[] = { a, b };

    for (int i = 0; i < IN; i++)
        b[i] = -b[i];
    write_clips();
    run_clip("clip.safetensors", LV_LAYOUT_ORIGINAL, pictures, 2, want);
    run_clip("clip_hf.safetensors", LV_LAYOUT_HF, pictures, 2, got);
    ck_assert_mem_eq(got, want, sizeof(got));
    run_clip("clip.safetensors", LV_LAYOUT_ORIGINAL, pictures + 1, 1, one);
    ck_assert_mem_eq(one, want + N, sizeof(one));
    ck_assert(memcmp(want, want + N, sizeof(one)));
    free(a);
    free(b);
}
END_TEST

/* Preparation: the numbers of the references are in tests/ref/prep_image.safetensors. */

START_TEST(narrow_pictures)
{
    int size[2];

    ck_assert_int_eq(lv_prepare_size(size, (const int[]) { 1, 30000 }, 480 * 832, &keep),
                     LV_ERR(EINVAL));
    ck_assert_ptr_nonnull(strstr(last_line, "1x30000 is too narrow"));
    ck_assert_int_eq(lv_prepare_size_ti2v(size, (const int[]) { 30000, 1 }, 704 * 1280, &keep),
                     LV_ERR(EINVAL));
    for (int w = 1; w < 4000; w = w * 7 / 5 + 1)
        for (int h = 1; h < 4000; h = h * 7 / 5 + 1) {
            const int image[] = { w, h };
            if (lv_prepare_size(size, image, 480 * 832, NULL) >= 0)
                ck_assert(size[0] >= 16 && size[1] >= 16 && !(size[0] % 16) && !(size[1] % 16) &&
                          size[0] * size[1] <= 480 * 832);
            if (lv_prepare_size_ti2v(size, image, 704 * 1280, NULL) >= 0)
                ck_assert(size[0] >= 32 && size[1] >= 32 && !(size[0] % 32) && !(size[1] % 32) &&
                          size[0] * size[1] <= 704 * 1280);
        }
}
END_TEST

/* Any size from any other, none of whose bytes is left unset; one colour stays itself. */
START_TEST(one_colour)
{
    static const int sides[] = { 1, 2, 16, 37 };
    static uint8_t bytes[37 * 37 * 3], out[37 * 37 * 3];
    static float rgb[37 * 37 * 3];

    for (int k = 0; k < 4 * 4 * 4 * 4; k++) {
        LvImage from = { bytes, sides[k % 4], sides[k / 4 % 4] };
        LvImage to   = { out, sides[k / 16 % 4], sides[k / 64] };
        const int size[] = { to.width, to.height };
        LvPixels p;
        int wrong = 0;
        memset(bytes, 200, sizeof(bytes));
        memset(out, 0, sizeof(out));
        ck_assert_int_eq(lv_prepare_cover(&to, &from, NULL), 0);
        ck_assert_int_eq(lv_pixels_from(&p, &from), 0);
        ck_assert_int_eq(lv_prepare_stretch(rgb, size, &p), 0);
        for (int i = 0; i < 3 * to.width * to.height; i++)
            wrong += out[i] != 200 || fabs((double)rgb[i] - (200 / 127.5 - 1)) > 1e-6;
        ck_assert_int_eq(wrong, 0);
        lv_pixels_free(&p);
    }
}
END_TEST

/* A strip that would have to be scaled to thousands of millions of pixels. */
START_TEST(too_narrow)
{
    uint8_t strip[3] = { 0 };
    const LvImage from = { strip, 1, LV_IMAGE_MAX }, to = { strip, 1280, 704 };
    const LvPixels last = { NULL, 1, LV_IMAGE_MAX };
    LvPixels cut = { 0 };

    ck_assert_int_eq(lv_prepare_cover(&to, &from, &keep), LV_ERR(EINVAL));
    ck_assert_str_eq(last_line, "an image of 1x32768 is too narrow for 1280x704: scaled to that "
                     "it has 1280x41943040 pixels, expected at most 268435456");
    ck_assert_int_eq(lv_prepare_last(&cut, &last, (const int[]) { 1280, 704 }, &keep),
                     LV_ERR(EINVAL));
    ck_assert_msg(strstr(last_line, "is too narrow for 1280x704") != NULL, "%s", last_line);
}
END_TEST

START_TEST(condition)
{
    enum { F = 3, PLANE = 6, C = 2 };
    const int size[3] = { F, 2, 3 };
    float y[(LV_MASK_CHANNELS + C) * F * PLANE], z[C * F * PLANE], mask[LV_MASK_CHANNELS * F];

    for (int i = 0; i < LV_COUNT(z); i++)
        z[i] = (float)i;
    for (int last = 0; last < 2; last++) {
        lv_prepare_condition(y, z, C, size, last);
        lv_prepare_mask(mask, F, last);
        for (int i = 0; i < LV_MASK_CHANNELS * F * PLANE; i++) {
            int c = i / PLANE / F, f = i / PLANE % F;
            ck_assert_double_eq(y[i], !f || (last && f == F - 1 && c == 3));
            ck_assert_double_eq(y[i], mask[i / PLANE]);
        }
        ck_assert_mem_eq(y + LV_MASK_CHANNELS * F * PLANE, z, sizeof(z));
    }
}
END_TEST

static void start(void)
{
    wan_kit_start(&model);
}

static void end(void)
{
    wan_kit_end(&model);
}

static Suite *images_suite(void)
{
    Suite *suite  = suite_create("images");
    TCase *device = tcase_create("device"), *tc = tcase_create("stages");
    TCase *prepare = tcase_create("prepare");

    suite_add_tcase(suite, device);
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(device, start, end);
    tcase_add_checked_fixture(tc, start, end);
    tcase_set_timeout(device, 60);
    tcase_set_timeout(tc, 60);
    tcase_set_timeout(prepare, 60);
    tcase_add_loop_test(device, device_encodes, 0, 2);
    tcase_add_test(device, device_clip);
    tcase_add_loop_test(tc, grey_behind, 0, 2);
    tcase_add_test(tc, blends_tiles);
    tcase_add_test(tc, refuses_bad_files);
    suite_add_tcase(suite, prepare);
    tcase_add_test(prepare, narrow_pictures);
    tcase_add_test(prepare, one_colour);
    tcase_add_test(prepare, too_narrow);
    tcase_add_test(prepare, condition);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(images_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
