/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of floor F4: networks against the numbers of the reference code, and what
 * must hold of them whatever the weights. Run from the top folder.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/dit.h"
#include "model/range.h"
#include "tests/keep.h"
#include "tests/linear_kit.h"
#include "tests/nets.h"
#include "tests/ref_device.h"

#define BUNDLE  "samples/motion-teacher.safetensors"

#define F32_BOUND 1e-5

static const LvMsg keep = { keep_line, NULL, LV_MSG_WARNING };

/* isa "ref": the device of definitions. */
static NetsOptions options(const char *isa, int threads, int dtype)
{
    const LvDeviceOptions o = { .threads = threads, .isa = isa };
    NetsOptions opt = { .dtype = dtype, .bundle = BUNDLE, .msg = &keep };
    int ret = isa && !strcmp(isa, "ref") ? ref_device_open(&opt.dev, &keep)
                                         : lv_device_open(&opt.dev, "cpu", &o, &keep);

    ck_assert_msg(ret == 0, "%s", last_line);
    return opt;
}

/* Parity */

typedef struct Limit {
    double bound;
    int compared;
} Limit;

static void within(void *opaque, const LvFileTensor *ref, const float *ours)
{
    Limit *limit = opaque;
    double error = nets_error(ref, ours, NULL);

    limit->compared++;
    ck_assert_msg(error <= limit->bound, "%s: relative error %.2e, not within %.1e",
                  ref->name, error, limit->bound);
}

static const struct {
    const char *path;
    int compared; ///< tensors that must have been compared
    double bf16;  ///< relative error allowed with bf16 matmuls
} files[] = {
    { REF_DIR "/dit_a.safetensors", 5, 1e-2 },
    { REF_DIR "/dit_b.safetensors", 6, 1e-2 },
    { REF_DIR "/umt5_a.safetensors", 1, 1e-2 },
    { REF_DIR "/tae_a.safetensors", 2, 1.5e-2 },
    { REF_DIR "/wan_vae.safetensors", 2, 3e-2 },
    { REF_DIR "/wan22_dit_t2v.safetensors", 3, 1e-2 },
    { REF_DIR "/wan22_dit_ti2v.safetensors", 4, 1e-2 },
    { REF_DIR "/wan22_dit_i2v.safetensors", 3, 1e-2 },
    { REF_DIR "/wan21_dit_i2v.safetensors", 3, 1e-2 },
    { REF_DIR "/wan21_dit_flf2v.safetensors", 3, 1e-2 },
    { REF_DIR "/samplers22.safetensors", 15, 1e-5 },
    { REF_DIR "/wan22_vae.safetensors", 7, 3e-2 },
    { REF_DIR "/prep_image.safetensors", 10, 1e-6 },
    { REF_DIR "/clip_vision.safetensors", 2, 1e-2 },
    { REF_DIR "/sample.safetensors", 10, 4e-2 },
    { REF_DIR "/pipe_wan22_t2v.safetensors", 4, 6e-2 },
    { REF_DIR "/pipe_wan22_ti2v_text.safetensors", 2, 1e-2 },
    { REF_DIR "/pipe_wan22_i2v.safetensors", 4, 2e-2 },
    { REF_DIR "/pipe_wan22_ti2v_image.safetensors", 4, 2e-2 },
    { REF_DIR "/pipe_wan21_i2v.safetensors", 3, 2e-2 },
    { REF_DIR "/pipe_wan21_flf2v.safetensors", 3, 4e-2 },
};

enum { WHOLE = 7 }; /* files at the end, of all parts together */
enum { SAMPLE = LV_COUNT(files) - WHOLE };

static void parity(int file, const char *isa, int threads, int dtype, double bound)
{
    Limit limit = { .bound = bound };
    NetsOptions opt = options(isa, threads, dtype);
    int ret;

    opt.put    = within;
    opt.opaque = &limit;
    ret = nets_run_file(files[file].path, &opt);
    ck_assert_msg(ret == 0, "%s: %d: %s", files[file].path, ret, last_line);
    ck_assert_int_eq(limit.compared, files[file].compared);
    lv_device_close(&opt.dev);
}

START_TEST(parity_f32)
{
    parity(_i, NULL, 2, LV_F32, F32_BOUND);
}
END_TEST

START_TEST(parity_plain_c)
{
    parity(_i, "c", 1, LV_F32, F32_BOUND);
}
END_TEST

START_TEST(parity_bf16)
{
    NetsOptions opt = options(NULL, 1, LV_F32);
    int bf16 = opt.dev->bf16;

    lv_device_close(&opt.dev);
    if (bf16)
        parity(_i, NULL, 2, LV_BF16, files[_i].bf16);
}
END_TEST

/* The network alone: ops by their definitions. */
START_TEST(parity_of_definitions)
{
    parity(_i, "ref", 1, LV_F32, 2e-6);
}
END_TEST

START_TEST(unknown_files)
{
    NetsOptions opt = options(NULL, 1, LV_F32);

    ck_assert_int_eq(nets_run_file(BUNDLE, &opt), LV_ERR_UNSUPPORTED);
    ck_assert_int_eq(nets_run_file(REF_DIR "/none.safetensors", &opt), -ENOENT);
    lv_device_close(&opt.dev);
}
END_TEST

/* Threads: the bits of every result */

typedef struct Bits {
    uint64_t hash;
    int compared;
} Bits;

static void hash_bits(void *opaque, const LvFileTensor *ref, const float *ours)
{
    Bits *bits = opaque;
    const uint8_t *p = (const uint8_t *)ours;

    for (size_t i = 0; i < ref->numel * sizeof(*ours); i++)
        bits->hash = (bits->hash ^ p[i]) * 0x100000001B3u;
    bits->compared++;
}

static uint64_t bits_of(const char *path, int threads, int dtype)
{
    Bits bits = { .hash = 0xCBF29CE484222325u };
    NetsOptions opt = options(NULL, threads, dtype);
    int ret;

    opt.put    = hash_bits;
    opt.opaque = &bits;
    ret = nets_run_file(path, &opt);
    ck_assert_msg(ret == 0 && bits.compared > 0, "%s: %d: %s", path, ret, last_line);
    lv_device_close(&opt.dev);
    return bits.hash;
}

START_TEST(threads_same_bits)
{
    static const int dtypes[] = { LV_F32, LV_BF16 };
    const char *path = files[_i / 2].path;
    NetsOptions opt = options(NULL, 1, LV_F32);
    int bf16 = opt.dev->bf16, dtype = dtypes[_i % 2];
    uint64_t one;

    lv_device_close(&opt.dev);
    if (dtype == LV_BF16 && !bf16)
        return;
    one = bits_of(path, 1, dtype);
    ck_assert(bits_of(path, 2, dtype) == one);
    ck_assert(bits_of(path, 3, dtype) == one);
}
END_TEST

/* Files changed in memory */

typedef struct Copy {
    uint8_t *bytes;
    LvSafetensors *st;
} Copy;

static Copy copy_of(const char *path)
{
    Copy c = { 0 };
    LvMap map;

    ck_assert_int_eq(lv_map_open(&map, path, &keep), 0);
    c.bytes = malloc(map.size);
    ck_assert_ptr_nonnull(c.bytes);
    memcpy(c.bytes, map.data, map.size);
    ck_assert_int_eq(lv_safetensors_parse(&c.st, c.bytes, map.size, path, &keep), 0);
    lv_map_close(&map);
    return c;
}

static void copy_free(Copy *c)
{
    lv_safetensors_close(&c->st);
    free(c->bytes);
}

/* Set values first to first + n - 1 of an F32 tensor to zero; n 0: all. */
static void clear(Copy *c, const char *name, size_t first, size_t n)
{
    const LvFileTensor *t = lv_safetensors_find(c->st, name);

    ck_assert_msg(t && t->dtype == LV_F32, "%s", name);
    memset(c->bytes + ((const uint8_t *)t->data - c->bytes) + 4 * first, 0,
           4 * (n ? n : t->numel));
}

/* DiT b with other weights or other attention */

enum { B_TOKENS = 30, B_VALUES = 16 * 2 * 6 * 10 };

static const int b_size[3] = { 2, 6, 10 };

static NetsDit *dit_open(const LvSafetensors *st, const LvDitConfig *cfg,
                         const NetsOptions *opt)
{
    float *context = nets_floats(st, "in.context", &keep);
    NetsDit *d;
    int ret = nets_dit_open(&d, st, "weights.", cfg, b_size, opt);

    ck_assert_msg(ret == 0, "%s", last_line);
    ck_assert_int_eq(nets_dit_text(d, context, 16), 0);
    free(context);
    return d;
}

static void dit_run(NetsDit *d, const LvSafetensors *st, float *v)
{
    float *latent = nets_floats(st, "in.latent", &keep);
    float *t = nets_floats(st, "in.t", &keep);

    ck_assert(latent && t);
    ck_assert_int_eq(nets_dit_run(d, latent, t[0], v), 0);
    free(latent);
    free(t);
}

START_TEST(zero_head_gives_bias)
{
    Copy c = copy_of(REF_DIR "/dit_b.safetensors");
    NetsOptions opt = options(NULL, 2, LV_F32);
    float v[B_VALUES], *bias = nets_floats(c.st, "weights.head.head.bias", &keep);
    LvDitConfig cfg;
    NetsDit *d;

    clear(&c, "weights.head.head.weight", 0, 0);
    ck_assert_int_eq(nets_dit_config(&cfg, c.st, &keep), 0);
    d = dit_open(c.st, &cfg, &opt);
    dit_run(d, c.st, v);
    for (int ch = 0, k = 0; ch < 16; ch++)
        for (int f = 0; f < 2; f++)
            for (int y = 0; y < 6; y++)
                for (int x = 0; x < 10; x++, k++)
                    ck_assert(v[k] == bias[(y % 2 * 2 + x % 2) * 16 + ch]);
    nets_dit_close(&d);
    free(bias);
    lv_device_close(&opt.dev);
    copy_free(&c);
}
END_TEST

/* Token n of the patch embedding of DiT b, in f64. */
static void embed_token(double out[B_DIM], const LvSafetensors *st, int n)
{
    float *w = nets_floats(st, "weights.patch_embedding.weight", &keep);
    float *b = nets_floats(st, "weights.patch_embedding.bias", &keep);
    float *x = nets_floats(st, "in.latent", &keep);
    int f = n / 15, i = n / 5 % 3, j = n % 5;

    for (int o = 0; o < B_DIM; o++) {
        out[o] = b[o];
        for (int k = 0; k < 64; k++) {
            int c = k / 4, row = 2 * i + k / 2 % 2, col = 2 * j + k % 2;
            out[o] += (double)w[o * 64 + k] * x[((c * 2 + f) * 6 + row) * 10 + col];
        }
    }
    free(w);
    free(b);
    free(x);
}

static void close_gates(Copy *c)
{
    char name[80];

    clear(c, "weights.time_projection.1.weight", 0, 0);
    clear(c, "weights.time_projection.1.bias", 0, 0);
    for (int i = 0; i < B_LAYERS; i++) {
        snprintf(name, sizeof(name), "weights.blocks.%d.modulation", i);
        clear(c, name, 2 * B_DIM, B_DIM);
        clear(c, name, 5 * B_DIM, B_DIM);
        snprintf(name, sizeof(name), "weights.blocks.%d.cross_attn.o.weight", i);
        clear(c, name, 0, 0);
        snprintf(name, sizeof(name), "weights.blocks.%d.cross_attn.o.bias", i);
        clear(c, name, 0, 0);
    }
}

START_TEST(closed_gates_give_identity)
{
    Copy c = copy_of(REF_DIR "/dit_b.safetensors");
    NetsOptions opt = options(NULL, 2, LV_F32);
    float v[B_VALUES];
    LvDitConfig cfg;
    NetsDit *d;

    close_gates(&c);
    ck_assert_int_eq(nets_dit_config(&cfg, c.st, &keep), 0);
    d = dit_open(c.st, &cfg, &opt);
    dit_run(d, c.st, v);
    for (int layer = 0; layer < B_LAYERS; layer++) {
        float *x = nets_dit_act(d, layer, NETS_BLOCK);
        for (int n = 0; n < B_TOKENS; n++) {
            double want[B_DIM];
            embed_token(want, c.st, n);
            for (int o = 0; o < B_DIM; o++)
                ck_assert(fabs(x[n * B_DIM + o] - want[o]) < 1e-5 * (1 + fabs(want[o])));
        }
        free(x);
    }
    nets_dit_close(&d);
    lv_device_close(&opt.dev);
    copy_free(&c);
}
END_TEST

/* Linear and mixed layers: DiT b with maps added to its file */

/* A file with layers of the kinds given, and its configuration. */
static LvSafetensors *linear_file(LvDitConfig *cfg, const int kinds[B_LAYERS], int map,
                                  float mix)
{
    char path[1024];
    LvSafetensors *st;

    snprintf(path, sizeof(path), "%s/linvideo-check-%ld.safetensors",
             getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir, (long)getpid());
    ck_assert_msg(linear_kit_write(path, cfg, kinds, map, mix, &keep) == 0, "%s", last_line);
    ck_assert_int_eq(lv_safetensors_open(&st, path, &keep), 0);
    unlink(path);
    return st;
}

static void linear_velocity(float v[B_VALUES], const int kinds[B_LAYERS], int map,
                            float mix, const char *isa, int threads, int dtype)
{
    NetsOptions opt = options(isa, threads, dtype);
    LvDitConfig cfg;
    LvSafetensors *st = linear_file(&cfg, kinds, map, mix);
    NetsDit *d = dit_open(st, &cfg, &opt);

    dit_run(d, st, v);
    nets_dit_close(&d);
    lv_safetensors_close(&st);
    lv_device_close(&opt.dev);
}

static double distance(const float *a, const float *b)
{
    double d = 0, r = 0;

    for (int i = 0; i < B_VALUES; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        r += (double)b[i] * b[i];
    }
    return sqrt(d / r);
}

enum { SOFTMAX = LV_ATTN_SOFTMAX, LINEAR = LV_ATTN_LINEAR, MIXED = LV_ATTN_MIXED };

static const int all_softmax[B_LAYERS] = { SOFTMAX, SOFTMAX, SOFTMAX };
static const int all_linear[B_LAYERS]  = { LINEAR, LINEAR, LINEAR };
static const int all_mixed[B_LAYERS]   = { MIXED, MIXED, MIXED };
static const int each_kind[B_LAYERS]   = { SOFTMAX, MIXED, LINEAR };

START_TEST(mixture_at_its_ends)
{
    float softmax[B_VALUES], linear[B_VALUES], mixed[B_VALUES];

    linear_velocity(softmax, all_softmax, _i, 0, NULL, 2, LV_F32);
    linear_velocity(linear, all_linear, _i, 0, NULL, 2, LV_F32);
    linear_velocity(mixed, all_mixed, _i, 1, NULL, 2, LV_F32);
    ck_assert(distance(mixed, softmax) == 0);
    linear_velocity(mixed, all_mixed, _i, 0, NULL, 2, LV_F32);
    ck_assert(distance(mixed, linear) == 0);
    ck_assert_msg(distance(linear, softmax) > 1e-3, "%.2e", distance(linear, softmax));
    linear_velocity(mixed, all_mixed, _i, 0.5f, NULL, 2, LV_F32);
    ck_assert(distance(mixed, linear) > 1e-4 && distance(mixed, softmax) > 1e-4);
}
END_TEST

START_TEST(linear_as_defined)
{
    float ours[B_VALUES], ref[B_VALUES];
    double error;

    linear_velocity(ours, each_kind, _i, 0.25f, NULL, 2, LV_F32);
    linear_velocity(ref, each_kind, _i, 0.25f, "ref", 1, LV_F32);
    error = distance(ours, ref);
    ck_assert_msg(error < F32_BOUND, "relative error %.2e", error);
}
END_TEST

START_TEST(linear_threads_same_bits)
{
    float one[B_VALUES], more[B_VALUES];

    linear_velocity(one, each_kind, _i, 0.25f, NULL, 1, LV_F32);
    for (int threads = 2; threads <= 3; threads++) {
        linear_velocity(more, each_kind, _i, 0.25f, NULL, threads, LV_F32);
        ck_assert_mem_eq(one, more, sizeof(one));
    }
}
END_TEST

/* Files that do not fit the model */

static const struct {
    const char *what;
    int kind;        ///< that the configuration has
    int file_kind;   ///< that the file has
    int map_dim;
    const char *message;
} misfits[] = {
    { "map missing", LV_ATTN_LINEAR, LV_ATTN_SOFTMAX, MAP_DIM,
      "weights.blocks.0.self_attn.map_q.weight is missing" },
    { "mix missing", LV_ATTN_MIXED, LV_ATTN_LINEAR, MAP_DIM,
      "weights.blocks.0.self_attn.mix is missing" },
    { "map too much", LV_ATTN_SOFTMAX, LV_ATTN_LINEAR, MAP_DIM,
      "6 tensors the model does not know" },
    { "map of another width", LV_ATTN_LINEAR, LV_ATTN_LINEAR, 16,
      "file has [2,48,24], expected [2,48,16]" },
};

START_TEST(misfit)
{
    const int kinds[B_LAYERS] = { misfits[_i].file_kind, misfits[_i].file_kind,
                                  misfits[_i].file_kind };
    NetsOptions opt = options(NULL, 1, LV_F32);
    LvDitConfig cfg;
    LvSafetensors *st = linear_file(&cfg, kinds, LV_MAP_HEDGEHOG, 0);
    NetsDit *d;

    cfg.map_dim = misfits[_i].map_dim;
    for (int i = 0; i < B_LAYERS; i++)
        cfg.attention[i] = (uint8_t)misfits[_i].kind;
    last_line[0] = 0;
    ck_assert_int_eq(nets_dit_open(&d, st, "weights.", &cfg, b_size, &opt), LV_ERR_MODEL);
    ck_assert_ptr_null(d);
    ck_assert_msg(strstr(last_line, misfits[_i].message), "%s", last_line);
    lv_safetensors_close(&st);
    lv_device_close(&opt.dev);
}
END_TEST

/* RoPE */

static const struct {
    int pair;
    double angle, cosine, sine;
} turns[] = { /* token (3, 7, 11) of heads of 128 */
    { 0, 3, NAN, NAN }, { 22, 7, NAN, NAN }, { 43, 11, NAN, NAN },
    { 1, 1.973799674, -0.392182848, 0.919887283 },
    { 23, 4.514626740, -0.196475682, -0.980508698 },
    { 44, 7.094413448, 0.688608386, 0.725133429 },
    { 63, 0.001705567, 0.999998546, 0.001705567 },
};

static float *rope_table(int head_dim, const int size[3])
{
    const LvDitConfig cfg = { .dim = 2 * head_dim, .heads = 2, .patch = { 1, 2, 2 } };
    int values   = lv_dit_tokens(&cfg, size) * head_dim;
    float *table = malloc((size_t)values * sizeof(*table));

    ck_assert_ptr_nonnull(table);
    lv_dit_rope(table, &cfg, size);
    return table;
}

START_TEST(rope_angles)
{
    const int size[3] = { 4, 16, 24 }, token = (3 * 8 + 7) * 12 + 11;
    float *table = rope_table(128, size);

    for (int i = 0; i < LV_COUNT(turns); i++) {
        const float *cs = table + (token * 64 + turns[i].pair) * 2;
        ck_assert(fabs(cs[0] - cos(turns[i].angle)) < 1e-7);
        ck_assert(fabs(cs[1] - sin(turns[i].angle)) < 1e-7);
        if (turns[i].cosine == turns[i].cosine) {
            ck_assert(fabs(cs[0] - turns[i].cosine) < 1e-7);
            ck_assert(fabs(cs[1] - turns[i].sine) < 1e-7);
        }
    }
    free(table);
}
END_TEST

/* Score of q at token m and k at token n. */
static double score(const float *table, int pairs, int m, int n, const double *q,
                    const double *k)
{
    double sum = 0;

    for (int p = 0; p < pairs; p++) {
        const float *a = table + (m * pairs + p) * 2, *b = table + (n * pairs + p) * 2;
        double qr = q[2 * p] * a[0] - q[2 * p + 1] * a[1];
        double qi = q[2 * p] * a[1] + q[2 * p + 1] * a[0];
        double kr = k[2 * p] * b[0] - k[2 * p + 1] * b[1];
        double ki = k[2 * p] * b[1] + k[2 * p + 1] * b[0];
        sum += qr * kr + qi * ki;
    }
    return sum;
}

START_TEST(rope_knows_differences)
{
    static const int head_dims[] = { 48, 64, 128, 2 };
    const int size[3] = { 4, 10, 14 }, d = head_dims[_i];
    float *table = rope_table(d, size);
    double q[128], k[128];

    for (int i = 0; i < d; i++) {
        q[i] = sin(1 + i);
        k[i] = cos(3 * i);
    }
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 6; j++) {
                int m = (f * 5 + i) * 7 + j, step = (1 * 5 + 1) * 7 + 1;
                double s = score(table, d / 2, 0, step, q, k);
                ck_assert(fabs(score(table, d / 2, m, m + step, q, k) - s) < 1e-5);
            }
    free(table);
}
END_TEST

/* Autoencoder */

static NetsClip clip_of(const LvSafetensors *st, const char *name)
{
    const LvFileTensor *t = lv_safetensors_find(st, name);
    float *v = nets_floats(st, name, &keep);
    NetsClip c = nets_clip(v, (int)t->dim[0], (int)t->dim[1], (int)t->dim[2],
                           (int)t->dim[3]);

    ck_assert_ptr_nonnull(c.data);
    free(v);
    return c;
}

static NetsClip decode(const LvSafetensors *st, const NetsClip *z, const NetsOptions *opt)
{
    const LvTaeConfig cfg = { .channels = 16, .patch = 1 };
    NetsClip out;
    int ret = nets_decode(st, "weights.decoder.", &cfg, z, opt, &out);

    ck_assert_msg(ret == 0, "%s", last_line);
    return out;
}

static NetsClip encode(const LvSafetensors *st, const NetsClip *x, int chunk,
                       const NetsOptions *opt)
{
    const LvTaeConfig cfg = { .channels = 16, .patch = 1 };
    NetsClip out;
    int ret = nets_encode(st, "weights.encoder.", &cfg, x, chunk, opt, &out);

    ck_assert_msg(ret == 0, "%s", last_line);
    return out;
}

/* Changing latent n leaves all frames before its own as they were. */
START_TEST(decoder_is_causal)
{
    NetsOptions opt = options(NULL, 2, LV_F32);
    LvSafetensors *st;
    NetsClip z, before, after;
    size_t latent, frame;

    ck_assert_int_eq(lv_safetensors_open(&st, REF_DIR "/tae_a.safetensors", &keep), 0);
    z = clip_of(st, "in.latent");
    before = decode(st, &z, &opt);
    latent = (size_t)(z.rows * z.cols * z.channels);
    frame  = (size_t)(before.rows * before.cols * before.channels);
    ck_assert_int_eq(before.frames, 4 * z.frames);
    for (size_t i = 0; i < latent; i++)
        z.data[latent + i] += 1;
    after = decode(st, &z, &opt);
    ck_assert_mem_eq(before.data, after.data, 4 * frame * sizeof(float));
    for (size_t f = 4; f < 12; f++)
        ck_assert(memcmp(before.data + f * frame, after.data + f * frame,
                         frame * sizeof(float)));
    free(z.data);
    free(before.data);
    free(after.data);
    lv_safetensors_close(&st);
    lv_device_close(&opt.dev);
}
END_TEST

START_TEST(encoder_streams)
{
    NetsOptions opt = options(NULL, 2, LV_F32);
    LvSafetensors *st;
    NetsClip x, whole, parts;

    ck_assert_int_eq(lv_safetensors_open(&st, REF_DIR "/tae_a.safetensors", &keep), 0);
    x = clip_of(st, "in.video");
    whole = encode(st, &x, 12, &opt);
    parts = encode(st, &x, 4, &opt);
    ck_assert_int_eq(whole.frames, 3);
    ck_assert_int_eq(parts.frames, 3);
    ck_assert_int_eq(whole.rows, x.rows / 8);
    ck_assert_int_eq(whole.cols, x.cols / 8);
    for (int i = 0; i < 3 * whole.rows * whole.cols * whole.channels; i++)
        ck_assert(fabsf(whole.data[i] - parts.data[i]) <
                  1e-5f * (1 + fabsf(whole.data[i])));
    free(x.data);
    free(whole.data);
    free(parts.data);
    lv_safetensors_close(&st);
    lv_device_close(&opt.dev);
}
END_TEST

/* Suite */

static TCase *tcase(Suite *suite, const char *name, double seconds)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, seconds);
    suite_add_tcase(suite, t);
    return t;
}

/* Sizes of Wan's networks, in steps of 16: what is made for what is asked, and how. */
static const struct {
    int dim, layers, asked[2], made[2], ret;
} wan_sizes[] = {
    { 1536, 30, { 832, 480 }, { 832, 480 }, 0 },
    { 1536, 30, { 480, 832 }, { 480, 832 }, 0 },
    { 1536, 30, { 854, 480 }, { 854, 480 }, 0 },
    { 1536, 30, { 512, 512 }, { 512, 512 }, 0 },
    { 1536, 30, { 256, 256 }, { 256, 256 }, -1 },
    { 1536, 30, { 1280, 720 }, { 848, 480 }, 1 },
    { 1536, 30, { 720, 1280 }, { 480, 848 }, 1 },
    { 1536, 30, { 1024, 1024 }, { 640, 640 }, 1 },
    { 5120, 40, { 1280, 720 }, { 1280, 720 }, 0 },
    { 5120, 40, { 1920, 1080 }, { 1280, 720 }, 1 },
    { 128, 2, { 8192, 16 }, { 8192, 16 }, 0 },
};

START_TEST(wan_range)
{
    const LvDitConfig c = { .dim = wan_sizes[_i].dim, .layers = wan_sizes[_i].layers };
    const LvVideoConfig v = { .width = 832, .height = 480, .frames = 81 };
    const LvRange r = lv_range_wan(&c, &v);
    const int step[2] = { 16, 16 };
    int made[2];

    ck_assert_int_eq(lv_range_size(&r, wan_sizes[_i].asked, step, made), wan_sizes[_i].ret);
    ck_assert_msg(made[0] == wan_sizes[_i].made[0] && made[1] == wan_sizes[_i].made[1],
                  "%dx%d", made[0], made[1]);
}
END_TEST

/* A manifest that names a larger video is right about its network. */
START_TEST(manifest_range)
{
    const LvDitConfig c = { .dim = 1536, .layers = 30 };
    const LvVideoConfig v = { .width = 1280, .height = 720, .frames = 121 };
    const LvRange r = lv_range_wan(&c, &v);
    const int step[2] = { 16, 16 }, asked[2] = { 1280, 720 };
    int made[2];

    ck_assert_int_eq(lv_range_size(&r, asked, step, made), 0);
    ck_assert_int_eq(r.max_frames, 121);
}
END_TEST

static Suite *model_suite(void)
{
    Suite *suite = suite_create("model");
    TCase *t = tcase(suite, "parity", 60);

    tcase_add_loop_test(t, parity_f32, 0, LV_COUNT(files));
    tcase_add_loop_test(t, parity_plain_c, 0, SAMPLE);
    tcase_add_loop_test(t, parity_bf16, 0, LV_COUNT(files));
    tcase_add_loop_test(t, parity_of_definitions, 0, SAMPLE);
    tcase_add_loop_test(t, threads_same_bits, 0, 2 * SAMPLE);
    tcase_add_test(t, unknown_files);

    t = tcase(suite, "range", 60);
    tcase_add_loop_test(t, wan_range, 0, LV_COUNT(wan_sizes));
    tcase_add_test(t, manifest_range);

    t = tcase(suite, "dit", 60);
    tcase_add_test(t, zero_head_gives_bias);
    tcase_add_test(t, closed_gates_give_identity);
    tcase_add_test(t, rope_angles);
    tcase_add_loop_test(t, rope_knows_differences, 0, 4);

    t = tcase(suite, "linear", 60);
    tcase_add_loop_test(t, mixture_at_its_ends, 0, LV_MAP_NB);
    tcase_add_loop_test(t, linear_as_defined, 0, LV_MAP_NB);
    tcase_add_loop_test(t, linear_threads_same_bits, 0, LV_MAP_NB);
    tcase_add_loop_test(t, misfit, 0, LV_COUNT(misfits));

    t = tcase(suite, "autoencoder", 60);
    tcase_add_test(t, decoder_is_causal);
    tcase_add_test(t, encoder_streams);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(model_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
