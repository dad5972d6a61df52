/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of floor F5: samplers against the numbers of Wan's reference, delivery
 * against an f64 conversion written from the standard, and that of a device against
 * the CPU's to the bit. Run from the top folder.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "base/philox.h"
#include "base/safetensors.h"
#include "base/deliver.h"
#include "pipeline/noise.h"
#include "pipeline/preview.h"
#include "pipeline/resize.h"
#include "pipeline/sample.h"
#include "pipeline/step_cache.h"
#include "tests/keep.h"

#ifndef REF_DIR
#define REF_DIR "tests/ref"
#endif

#define MAX_N 64

/* Helpers */

static const LvMsg keep = { keep_line, NULL, LV_MSG_DEBUG };

static LvSampler *sampler(int kind, int steps, double shift, size_t n)
{
    LvSampler *s;

    ck_assert_int_eq(lv_sampler_new(&s, kind, steps, shift, n, NULL), 0);
    lv_sampler_start(s, 1, 0);
    return s;
}

/* ||a - b|| / ||b|| */
static double relative(const float *a, const float *b, size_t n)
{
    double d = 0, r = 0;

    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        r += (double)b[i] * b[i];
    }
    return sqrt(d / r);
}

/* Random numbers for inputs: a plain congruential generator, 0 to 1. */
static double draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) / 16777216.0;
}

/* Names and errors of samplers */

START_TEST(names)
{
    static const char *const all[LV_SAMPLER_NB] = {
        "auto", "euler", "unipc", "renoise", "dpm++", "causvid", "rcm", "causvid-causal"
    };

    for (int i = 0; i < LV_SAMPLER_NB; i++) {
        ck_assert_int_eq(lv_sampler_by_name(all[i]), i);
        ck_assert_str_eq(lv_sampler_name(i), all[i]);
    }
    ck_assert_int_eq(lv_sampler_by_name("heun"), -EINVAL);
    ck_assert_int_eq(lv_sampler_by_name(""), -EINVAL);
}
END_TEST

static const struct {
    int kind, steps;
    double shift;
    const char *message; ///< part of it
} refused[] = {
    { LV_SAMPLER_AUTO, 4, 3, "no kind 0" },
    { LV_SAMPLER_NB, 4, 3, "no kind 8" },
    { LV_SAMPLER_CAUSVID, 8, 8, "causvid takes 9 to 9 steps, not 8" },
    { LV_SAMPLER_RCM, 5, 1, "rcm takes 1 to 4 steps, not 5" },
    { -1, 4, 3, "no kind -1" },
    { LV_SAMPLER_EULER, 0, 3, "0 steps" },
    { LV_SAMPLER_EULER, 1001, 3, "1001 steps, not in 1 to 1000" },
    { LV_SAMPLER_UNIPC, 4, 0, "shift 0 is not above 0" },
    { LV_SAMPLER_UNIPC, 4, -2, "shift -2 is not above 0" },
    { LV_SAMPLER_UNIPC, 4, NAN, "nan is not above 0" },
    { LV_SAMPLER_DPMPP, 4, INFINITY, "shift inf is too extreme for 4 steps" },
    { LV_SAMPLER_UNIPC, 4, 1e12, "too extreme" },
};

START_TEST(refuses)
{
    LvSampler *s = (LvSampler *)&keep;

    last_line[0] = 0;
    ck_assert_int_eq(lv_sampler_new(&s, refused[_i].kind, refused[_i].steps,
                                    refused[_i].shift, 8, &keep), -EINVAL);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(last_line, refused[_i].message), "%s", last_line);
}
END_TEST

START_TEST(out_of_memory)
{
    LvSampler *s;

    last_line[0] = 0;
    ck_assert_int_eq(lv_sampler_new(&s, LV_SAMPLER_UNIPC, 4, 3, SIZE_MAX / 2, &keep),
                     -ENOMEM);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(last_line, "memory"), "%s", last_line);
    lv_sampler_free(&s);
}
END_TEST

/* Every legal choice gives a falling table within 0..1 and times within 0..1000. */
START_TEST(tables_fall)
{
    static const int steps[] = { 1, 2, 3, 4, 7, 50, 999, 1000 };
    static const double shifts[] = { 0.01, 0.5, 1, 3, 5, 8, 100 };
    LvSampler *s = NULL;

    for (int k = 0; k < LV_COUNT(steps) * LV_COUNT(shifts); k++) {
        int n = steps[k / LV_COUNT(shifts)];
        s = sampler(_i, n, shifts[k % LV_COUNT(shifts)], 1);
        for (int i = 0; i < n; i++) {
            float t = lv_sampler_time(s, i);
            ck_assert(lv_sampler_sigma(s, i) > lv_sampler_sigma(s, i + 1));
            ck_assert(t >= 0 && t <= 1000);
            ck_assert(fabs(t - 1000.0 * lv_sampler_sigma(s, i)) < 1.001);
        }
        ck_assert(lv_sampler_sigma(s, 0) <= 1);
        ck_assert(lv_sampler_sigma(s, n) == 0);
        lv_sampler_free(&s);
    }
}
END_TEST

/* Tables of Wan's reference */

static const struct {
    int kind, steps;
    double shift;
    int first;        ///< step of the first number below
    int count;
    double time[20];
    double sigma[9];  ///< 0 where not given, but for the last
} tables[] = {
    { LV_SAMPLER_UNIPC, 4, 5, 0, 4, { 999, 937, 833, 624 },
      { 0.999799848, 0.937265456, 0.833055377, 0.624687374 } },
    { LV_SAMPLER_UNIPC, 8, 3, 0, 8, { 999, 954, 899, 832, 749, 642, 499, 299 },
      { 0.999666452, 0.954198122, 0.899639785, 0.832962751, 0.749624789,
        0.642489672, 0.499666572, 0.299759954 } },
    { LV_SAMPLER_UNIPC, 20, 5, 0, 20,
      { 999, 989, 978, 965, 952, 937, 920, 902, 882, 859,
        833, 803, 768, 728, 681, 624, 555, 468, 356, 208 }, { 0 } },
    { LV_SAMPLER_UNIPC, 50, 5, 0, 6, { 999, 995, 991, 987, 982, 978 },
      { 0.999799848, 0.995732367, 0.991530478, 0.987187386 } },
    { LV_SAMPLER_UNIPC, 50, 5, 45, 5, { 356, 302, 241, 172, 92 },
      { 0, 0, 0.241740346, 0.172265142, 0.0925068557 } },
    { LV_SAMPLER_UNIPC, 50, 3, 0, 3, { 999, 992, 985 },
      { 0.999666452, 0.992907465 } },
    { LV_SAMPLER_UNIPC, 50, 3, 47, 3, { 160, 111, 57 },
      { 0, 0.111008227, 0.0576368347 } },
    { LV_SAMPLER_DPMPP, 4, 5, 0, 4, { 1000, 937, 833, 625 },
      { 1, 0.9375, 0.833333313, 0.625 } },
    { LV_SAMPLER_DPMPP, 8, 3, 0, 8,
      { 1000, 954, 900, 833, 750, 642, 500, 300 }, { 0 } },
    { LV_SAMPLER_DPMPP, 12, 5, 5, 1, { 875 }, { 0 } },
    { LV_SAMPLER_EULER, 4, 5, 0, 4, { 1000, 937.5, 2500 / 3.0, 625 },
      { 1, 0.9375, 5 / 6.0, 0.625 } },
    { LV_SAMPLER_EULER, 8, 3, 0, 8,
      { 1000, 21000 / 22.0, 900, 15000 / 18.0, 750, 9000 / 14.0, 500, 300 },
      { 1, 0.95454544, 0.9, 0.8333333, 0.75, 0.6428571, 0.5, 0.3 } },
    { LV_SAMPLER_RENOISE, 4, 5, 0, 4, { 1000, 937.5, 2500 / 3.0, 625 },
      { 1, 0.9375, 5 / 6.0, 0.625 } },
    { LV_SAMPLER_RENOISE, 4, 8, 0, 4, { 1000, 960, 8000 / 9.0, 8000 / 11.0 },
      { 1, 0.96, 8 / 9.0, 8 / 11.0 } },
    { LV_SAMPLER_RENOISE, 1, 5, 0, 1, { 1000 }, { 1 } },
};

START_TEST(reference_tables)
{
    LvSampler *s = sampler(tables[_i].kind, tables[_i].steps, tables[_i].shift, 1);

    for (int k = 0; k < tables[_i].count; k++) {
        int i = tables[_i].first + k;
        double sigma = k < 9 ? tables[_i].sigma[k] : 0;

        ck_assert_msg(lv_sampler_time(s, i) == (float)tables[_i].time[k],
                      "time %d: %.9g, not %.9g", i, lv_sampler_time(s, i),
                      tables[_i].time[k]);
        if (sigma > 0)
            ck_assert_msg(fabs(lv_sampler_sigma(s, i) - sigma) < 1.2e-7 * sigma,
                          "sigma %d: %.9g, not %.9g", i, lv_sampler_sigma(s, i), sigma);
    }
    lv_sampler_free(&s);
}
END_TEST

/* The rules, on one number: v = 0.3 x + 0.1 t / 1000 - 0.05, from x = 1 */

static const struct {
    int kind, steps;
    double shift;
    double x[6];
} scalars[] = {
    { LV_SAMPLER_UNIPC, 4, 5,
      { 0.9781192163, 0.9434442968, 0.8805045493, 0.7077464036 } },
    { LV_SAMPLER_UNIPC, 6, 3,
      { 0.9781248682, 0.9514583884, 0.9182476224, 0.8752141382, 0.8188245450,
        0.7314973409 } },
    { LV_SAMPLER_DPMPP, 4, 5, { 0.978125, 0.9430065037, 0.8793118891, 0.7066284099 } },
    { LV_SAMPLER_DPMPP, 6, 3,
      { 0.978125, 0.9510335966, 0.9172932243, 0.8738920509, 0.8172247070,
        0.7299744275 } },
    { LV_SAMPLER_EULER, 4, 5, { 0.978125, 0.9430012954, 0.8771192767, 0.7048469123 } },
};

START_TEST(scalar)
{
    LvSampler *s = sampler(scalars[_i].kind, scalars[_i].steps, scalars[_i].shift, 1);
    float x = 1;

    for (int i = 0; i < scalars[_i].steps; i++) {
        double want = scalars[_i].x[i];
        float v = (float)(0.3 * x + 0.1 * lv_sampler_time(s, i) / 1000 - 0.05);

        lv_sampler_step(s, i, &x, &v);
        ck_assert_msg(fabs(x - want) < 5e-7 * want, "step %d: %.10g, not %.10g", i, x,
                      want);
    }
    lv_sampler_free(&s);
}
END_TEST

/* The rules, on a field of 64 values: u = tanh(A x + b t / 1000) */

static const struct {
    const char *name;
    int kind, steps;
    double shift;
} runs[] = {
    { "unipc.50.5.0", LV_SAMPLER_UNIPC, 50, 5 },
    { "unipc.20.3.0", LV_SAMPLER_UNIPC, 20, 3 },
    { "unipc.4.8.0", LV_SAMPLER_UNIPC, 4, 8 },
    { "dpm++.50.5.0", LV_SAMPLER_DPMPP, 50, 5 },
    { "dpm++.10.3.0", LV_SAMPLER_DPMPP, 10, 3 },
};

static const void *tensor(const LvSafetensors *st, const char *name, size_t numel)
{
    const LvFileTensor *t = lv_safetensors_find(st, name);

    ck_assert_msg(t && t->numel == numel, "%s", name);
    return t->data;
}

static void floats(float *dst, const LvSafetensors *st, const char *name, size_t n)
{
    memcpy(dst, tensor(st, name, n), n * sizeof(float));
}

static void field(float *v, const float *a, const float *b, const float *x, double t)
{
    for (int i = 0; i < MAX_N; i++) {
        double sum = b[i] * t / 1000;
        for (int j = 0; j < MAX_N; j++)
            sum += (double)a[i * MAX_N + j] * x[j];
        v[i] = (float)tanh(sum);
    }
}

static void compare_tables(const LvSampler *s, const LvSafetensors *st, int run)
{
    int n = runs[run].steps;
    float sigma[51];
    int64_t time[50];
    char name[80];

    snprintf(name, sizeof(name), "%s.sigmas", runs[run].name);
    floats(sigma, st, name, (size_t)n + 1);
    snprintf(name, sizeof(name), "%s.timesteps", runs[run].name);
    memcpy(time, tensor(st, name, (size_t)n), (size_t)n * sizeof(*time));
    for (int i = 0; i < n; i++) {
        ck_assert(lv_sampler_time(s, i) == (float)time[i]);
        ck_assert(lv_sampler_sigma(s, i) == sigma[i]);
    }
    ck_assert(sigma[n] == 0);
}

START_TEST(reference_states)
{
    static float a[MAX_N * MAX_N], b[MAX_N], x[MAX_N], v[MAX_N], want[50 * MAX_N];
    LvSampler *s = sampler(runs[_i].kind, runs[_i].steps, runs[_i].shift, MAX_N);
    LvSafetensors *st;
    char name[80];

    ck_assert_int_eq(lv_safetensors_open(&st, REF_DIR "/samplers.safetensors", NULL), 0);
    compare_tables(s, st, _i);
    floats(a, st, "A", MAX_N * MAX_N);
    floats(b, st, "b", MAX_N);
    floats(x, st, "x_start", MAX_N);
    snprintf(name, sizeof(name), "%s.states", runs[_i].name);
    floats(want, st, name, (size_t)runs[_i].steps * MAX_N);
    for (int i = 0; i < runs[_i].steps; i++) {
        double e;
        field(v, a, b, x, lv_sampler_time(s, i));
        lv_sampler_step(s, i, x, v);
        e = relative(x, want + i * MAX_N, MAX_N);
        ck_assert_msg(e < 1e-5, "%s, step %d: relative error %.2e", runs[_i].name, i, e);
    }
    lv_safetensors_close(&st);
    lv_sampler_free(&s);
}
END_TEST

/* Where the velocity says the same x0 everywhere, every rule ends at it. */
START_TEST(ends_at_x0)
{
    static const int steps[] = { 1, 2, 3, 4, 5, 20 };
    float x[5], x0[5] = { 1, -2, 0.5f, 0, 3 }, v[5];

    for (int k = 0; k < LV_COUNT(steps); k++) {
        LvSampler *s = sampler(_i, steps[k], 3, 5);
        lv_philox_normal(x, 5, 7, 0);
        for (int i = 0; i < steps[k]; i++) {
            for (int j = 0; j < 5; j++)
                v[j] = (x[j] - x0[j]) / lv_sampler_sigma(s, i);
            lv_sampler_step(s, i, x, v);
        }
        for (int j = 0; j < 5; j++)
            ck_assert_msg(fabsf(x[j] - x0[j]) < 2e-6f, "%d steps: %g, not %g", steps[k],
                          x[j], x0[j]);
        lv_sampler_free(&s);
    }
}
END_TEST

static void sample(LvSampler *s, int steps, float *x, size_t n, uint64_t seed,
                   uint64_t stream)
{
    float v[MAX_N];

    lv_sampler_start(s, seed, stream);
    for (size_t j = 0; j < n; j++)
        x[j] = 1 - 0.1f * (float)j;
    for (int i = 0; i < steps; i++) {
        for (size_t j = 0; j < n; j++)
            v[j] = 0.3f * x[j] - 0.1f;
        lv_sampler_step(s, i, x, v);
    }
}

/* A clip leaves nothing behind: not even NaN in the history. */
START_TEST(starts_anew)
{
    LvSampler *s = sampler(_i, 4, 5, 17);
    float once[17], again[17], bad[17], worse[17];

    sample(s, 4, once, 17, 5, 9);
    for (int j = 0; j < 17; j++)
        bad[j] = worse[j] = NAN;
    lv_sampler_start(s, 1, 1);
    lv_sampler_step(s, 0, bad, worse);
    lv_sampler_step(s, 1, bad, worse);
    sample(s, 4, again, 17, 5, 9);
    ck_assert_mem_eq(once, again, sizeof(once));
    ck_assert(isfinite(once[0]));
    lv_sampler_free(&s);
}
END_TEST

/* x <- (1 - sigma') (x - sigma v) + sigma' noise, of the stream of the step */
static const struct {
    int kind, steps;
    double shift;
    float scale, time[9];
} lists[] = {
    { LV_SAMPLER_RCM, 4, 5, 0.98765432f, { 988, 932, 852, 608 } },
    { LV_SAMPLER_RCM, 2, 1, 0.98765432f, { 988, 932 } },
    { LV_SAMPLER_CAUSVID_CAUSAL, 3, 8, 1, { 1000, 757, 522 } },
    { LV_SAMPLER_RENOISE, 4, 5, 1, { 1000, 937.5f, 833.3333f, 625 } },
    { LV_SAMPLER_EULER, 4, 8, 1, { 1000, 960, 888.8889f, 727.2727f } },
    { LV_SAMPLER_CAUSVID, 9, 1, 1, { 999, 934, 862, 756, 603, 410, 250, 140, 74 } },
};

/* Steps of distilled models, as published. */
START_TEST(known_lists)
{
    LvSampler *s;

    ck_assert_int_eq(lv_sampler_new(&s, lists[_i].kind, lists[_i].steps, lists[_i].shift,
                                    1, NULL), 0);
    ck_assert_float_eq_tol(lv_sampler_scale(s), lists[_i].scale, 1e-6);
    for (int i = 0; i < lists[_i].steps; i++)
        ck_assert_float_eq_tol(lv_sampler_time(s, i), lists[_i].time[i], 1e-3);
    ck_assert_float_eq(lv_sampler_sigma(s, lists[_i].steps), 0);
    lv_sampler_free(&s);
}
END_TEST

/* Below the first level: the end of the same list, or what is left of a share of it. */
static const struct {
    int kind, steps;
    double shift, strength;
    int left;
    float time[9];
} lower[] = {
    { LV_SAMPLER_EULER, 4, 8, 0.5, 2, { 888.8889f, 727.2727f } },
    { LV_SAMPLER_EULER, 4, 1, 0.7, 3, { 700, 466.6667f, 233.3333f } },
    { LV_SAMPLER_UNIPC, 4, 1, 0.25, 1, { 249 } },
    { LV_SAMPLER_DPMPP, 50, 5, 0.001, 1, { 4 } },
    { LV_SAMPLER_CAUSVID, 9, 1, 0.6, 5, { 599.4f, 410, 250, 140, 74 } },
    { LV_SAMPLER_RCM, 4, 5, 0.9, 3, { 888, 852, 608 } },
    { LV_SAMPLER_RCM, 2, 5, 0.5, 1, { 494 } },
};

START_TEST(begins_lower)
{
    LvSampler *s = sampler(lower[_i].kind, lower[_i].steps, lower[_i].shift, 1);

    lv_sampler_begin_at(s, 1);
    ck_assert_int_eq(lv_sampler_left(lower[_i].kind, lower[_i].steps, 1), lower[_i].steps);
    ck_assert_float_eq(lv_sampler_sigma(s, lower[_i].steps), 0);
    ck_assert_int_eq(lv_sampler_left(lower[_i].kind, lower[_i].steps, lower[_i].strength),
                     lower[_i].left);
    lv_sampler_begin_at(s, lower[_i].strength);
    for (int i = 0; i < lower[_i].left; i++)
        ck_assert_float_eq_tol(lv_sampler_time(s, i), lower[_i].time[i], 1e-3);
    ck_assert_float_eq(lv_sampler_sigma(s, lower[_i].left), 0);
    lv_sampler_free(&s);
}
END_TEST

START_TEST(renoises)
{
    enum { N = 33 };
    LvSampler *s = sampler(LV_SAMPLER_RENOISE, 4, 5, N);
    float x[N], v[N], noise[N], want[N];

    lv_sampler_start(s, 42, 1000);
    lv_philox_normal(x, N, 1, 2);
    for (int i = 0; i < 4; i++) {
        double sigma = lv_sampler_sigma(s, i), next = lv_sampler_sigma(s, i + 1);

        lv_philox_normal(v, N, 3, (uint64_t)i);
        lv_philox_normal(noise, N, 42, 1000 + (uint64_t)i);
        for (int j = 0; j < N; j++)
            want[j] = (float)((1 - next) * (x[j] - sigma * v[j]) + next * noise[j]);
        lv_sampler_step(s, i, x, v);
        ck_assert(relative(x, want, N) < 1e-7);
    }
    lv_sampler_free(&s);
}
END_TEST

START_TEST(renoise_seeds_differ)
{
    LvSampler *s = sampler(LV_SAMPLER_RENOISE, 4, 5, 17);
    float a[17], b[17], c[17];

    sample(s, 4, a, 17, 5, 9);
    sample(s, 4, b, 17, 6, 9);
    sample(s, 4, c, 17, 5, 1 << 16);
    ck_assert(relative(a, b, 17) > 0.1);
    ck_assert(relative(a, c, 17) > 0.1);
    lv_sampler_free(&s);
}
END_TEST

/* Of up to 2^16 steps no stream is another clip's, nor what a clip begins with. */
START_TEST(noise_streams)
{
    static const int64_t clips[] = { 0, 1, 2, 1 << 20 };
    uint64_t last = 0;

    for (int i = 0; i < LV_COUNT(clips); i++) {
        LvNoise n = lv_noise_of(7, clips[i]);

        ck_assert(n.seed == 7);
        ck_assert(i == 0 || n.start > last);
        ck_assert(n.renoise >= n.start + (1 << 16));
        last = n.renoise + (1 << 16) - 1;
    }
}
END_TEST

START_TEST(noise_fills)
{
    const LvNoise n = lv_noise_of(7, 3);
    float x[33], want[33];

    lv_noise_fill(&n, x, 33, 0.5f);
    lv_philox_normal(want, 33, 7, 3 << 24);
    for (int i = 0; i < 33; i++)
        ck_assert(x[i] == 0.5f * want[i]);
}
END_TEST

START_TEST(guidance)
{
    const float u[5] = { 1, -2, 0, 0.5f, 8 }, c[5] = { 3, -2, 1, -0.5f, 4 };
    float v[5];

    for (int scale = 0; scale <= 5; scale++) {
        memcpy(v, c, sizeof(v));
        lv_guide(v, u, 5, (float)scale);
        for (int j = 0; j < 5; j++)
            ck_assert(v[j] == u[j] + (float)scale * (c[j] - u[j]));
    }
    memcpy(v, c, sizeof(v));
    lv_guide(v, u, 5, 1);
    ck_assert_mem_eq(v, c, sizeof(v));
}
END_TEST

/* Previews: pixels by hand, [channels,n] to [n,3]; the published maps, of one channel each. */
START_TEST(previews)
{
    static const LvPreviewMap map = {
        .channels = 2, .bias = { 0.5f, 0, 1 },
        .factor   = { { 0.25f, 1, 0 }, { 0, -0.5f, 2 } },
    };
    static const float z[2][3] = { { 0, 1, -1 }, { 0, 1, -0.25f } };
    static const uint8_t want[3][3] = { { 128, 0, 255 }, { 191, 128, 255 }, { 64, 0, 128 } };
    uint8_t rgb[3][3];

    lv_preview_make(&map, &z[0][0], 3, &rgb[0][0]);
    ck_assert_mem_eq(rgb, want, sizeof(want));
    ck_assert(lv_preview_wan(16)->factor[2][0] == 0.3568f);
    ck_assert(lv_preview_wan(48)->factor[47][2] == 0.0055f);
    ck_assert_ptr_null(lv_preview_wan(17));
}
END_TEST

/* Step caching: decisions and velocities by hand, with two values and a limit of 0.05. k and
 * E behind each step:
 *
 *     step 3: k = 0.375 / 0.25 = 1.5, mean |v| = 5
 *     step 4: E = 1.5 0.0625 / 5 = 0.01875       step 5: E = 0.0375       step 6: E = 0.05625
 *     step 6: k = 0.5625 / 0.0625 = 9, mean |v| = 4.5625
 *     step 7: E = 9 0.03125 / 4.5625 = 0.0616; k = 1, mean |v| = 4.59375
 *     step 8: E = 0.05 / 4.59375 = 0.0109 */

static const struct {
    int step, branches, changed; ///< changed: it is another network's
    float x[2];
    int skips;
    float v[2]; ///< of the network, or of the cache
} cached[] = {
    { 0,  2, 0, { 0, 0 },           0, { 4, -4 } },
    { 1,  2, 0, { 1, 1 },           0, { 4.5f, -4.5f } },
    { 2,  2, 0, { 1, 1.5f },        0, { 4.25f, -5 } },
    { 3,  2, 0, { 1.5f, 1.5f },     0, { 4.5f, -5.5f } },
    { 4,  2, 0, { 1.625f, 1.5f },   1, { 4.5f, -5.5f } },
    { 5,  2, 0, { 1.625f, 1.375f }, 1, { 4.5f, -5.5f } },
    { 6,  2, 0, { 1.5f, 1.375f },   0, { 3.5f, -5.625f } },
    { 7,  2, 0, { 1.5f, 1.4375f },  0, { 3.5f, -5.6875f } },
    { 8,  1, 0, { 1.6f, 1.4375f },  1, { 3.5f, -5.6875f } },
    { 9,  2, 1, { 1.6f, 1.4375f },  0, { 3, -5 } },          /* first of its network */
    { 10, 2, 0, { 1.65f, 1.4375f }, 0, { 3.0625f, -5 } },    /* second */
    { 11, 2, 0, { 1.65f, 1.4475f }, 1, { 3.0625f, -5 } },
    { 12, 1, 0, { 2.65f, 1.4475f }, 0, { 3.5f, -5 } },       /* far away */
    { 13, 2, 0, { 2.65f, 1.4475f }, 0, { 3.5f, -5 } },       /* the other branch has none */
    { 14, 2, 0, { 2.65f, 1.4475f }, 0, { 3.5f, -4 } },       /* k was 0 / 0 */
    { 15, 2, 0, { 2.65f, 1.4476f }, 0, { 3.5f, -5 } },       /* k was 1 / 0 */
    { 16, 2, 0, { 2.65f, 1.4975f }, 0, { 3.5f, -5 } },       /* k was 1 / 0.0001 */
    { 17, 2, 0, { 2.65f, 1.5f },    1, { 3.5f, -5 } },
    { 19, 2, 0, { 2.65f, 1.5f },    0, { 3.5f, -5 } },       /* the last */
};

/* The other branch is the conditional one and this. */
#define APART 10

static void check_cached(const LvStepCache *c, int row)
{
    for (int b = 0; b < cached[row].branches; b++) {
        float v[2] = { 0, 0 };

        lv_step_cache_velocity(c, b, v);
        for (int k = 0; k < 2; k++)
            ck_assert_msg(fabsf(v[k] - cached[row].v[k] - (float)(b * APART)) < 1e-6f,
                          "step %d, branch %d: %g", cached[row].step, b, v[k]);
    }
}

static void keep_run(LvStepCache *c, int row)
{
    float v[2][2], *const of[2] = { v[0], v[1] };

    for (int k = 0; k < 4; k++)
        v[k / 2][k % 2] = cached[row].v[k % 2] + (float)(k / 2 * APART);
    lv_step_cache_keep(c, cached[row].x, of, cached[row].branches);
}

/* The second clip is as the first. */
START_TEST(caches_steps)
{
    float memory[4][2];
    LvStepCache c = { .limit = 0.05, .steps = 20, .n = 2, .x = memory[0], .run_x = memory[1],
                      .run_v = { memory[2], memory[3] } };

    for (int i = 0; i < 2 * LV_COUNT(cached); i++) {
        int row = i % LV_COUNT(cached);

        if (!row)
            lv_step_cache_begin(&c);
        if (cached[row].changed)
            lv_step_cache_change(&c);
        ck_assert_msg(lv_step_cache_skips(&c, cached[row].step, cached[row].x,
                                          cached[row].branches) == cached[row].skips,
                      "step %d: E is %g", cached[row].step, c.error);
        if (cached[row].skips)
            check_cached(&c, row);
        else
            keep_run(&c, row);
    }
    ck_assert_int_eq(c.skipped, 5);
    ck_assert_int_eq(c.saved, 9);
}
END_TEST

/* Off, and where there is nothing to divide by, every step is run. */
START_TEST(caches_nothing)
{
    float memory[4][2] = { { 0 } };
    const float still[2] = { 0, 0 };
    LvStepCache c = { .limit = _i ? 0.05 : 0, .steps = 20, .n = 2, .x = memory[0],
                      .run_x = memory[1], .run_v = { memory[2], memory[3] } };
    float zero[2] = { 0, 0 }, *const v[2] = { zero, zero };

    lv_step_cache_begin(&c);
    for (int i = 0; i < c.steps; i++) {
        ck_assert_int_eq(lv_step_cache_skips(&c, i, still, 2), 0);
        lv_step_cache_keep(&c, still, v, 2);
    }
    ck_assert_int_eq(c.skipped + c.saved, 0);
}
END_TEST

/* Delivery */

enum { PAD = 5, MAX_SIDE = 300, MARGIN = 3 };

/* Planes of a picture with room and known bytes around them. */
typedef struct Canvas {
    LvPlanes pic;
    uint8_t *memory[3];
    int rows[3], row_bytes[3], pitch[3];
} Canvas;

static int planes(int format)
{
    return format == LV_RGB24 ? 1 : format == LV_NV12 ? 2 : 3;
}

static int halved(int format)
{
    return format == LV_YUV420P || format == LV_NV12;
}

static size_t canvas_bytes(const Canvas *c, int p)
{
    return (size_t)(c->pitch[p] * (c->rows[p] + 2 * MARGIN));
}

static void canvas_new(Canvas *c, int format, int w, int h, int upside_down)
{
    memset(c, 0, sizeof(*c));
    c->pic = (LvPlanes) { .width = w, .height = h, .format = format };
    for (int p = 0; p < planes(format); p++) {
        int half = halved(format) && p > 0, cols = half ? (w + 1) / 2 : w;
        size_t bytes;

        c->rows[p]      = half ? (h + 1) / 2 : h;
        c->row_bytes[p] = format == LV_RGB24 ? 3 * w :
                          half && format == LV_NV12 ? 2 * cols : cols;
        c->pitch[p]     = c->row_bytes[p] + PAD;
        bytes = canvas_bytes(c, p);
        c->memory[p] = malloc(bytes);
        ck_assert_ptr_nonnull(c->memory[p]);
        memset(c->memory[p], 0xA5, bytes);
        c->pic.data[p]   = c->memory[p] + c->pitch[p] * MARGIN;
        c->pic.stride[p] = c->pitch[p];
        if (upside_down) {
            c->pic.data[p] += c->pitch[p] * (c->rows[p] - 1);
            c->pic.stride[p] = -c->pitch[p];
        }
    }
}

/* Nothing outside the picture was written. */
static void canvas_free(Canvas *c)
{
    for (int p = 0; p < planes(c->pic.format); p++) {
        for (int y = 0; y < c->rows[p] + 2 * MARGIN; y++) {
            int inside = y >= MARGIN && y < MARGIN + c->rows[p];
            for (int x = inside ? c->row_bytes[p] : 0; x < c->pitch[p]; x++)
                ck_assert_int_eq(c->memory[p][y * c->pitch[p] + x], 0xA5);
        }
        free(c->memory[p]);
    }
}

static int pixel(const Canvas *c, int p, int y, int x)
{
    return c->pic.data[p][y * c->pic.stride[p] + x];
}

/* Y, Cb or Cr, where each has a sample */
static int yuv(const Canvas *c, int p, int y, int x)
{
    int woven = p && c->pic.format == LV_NV12;

    return woven ? pixel(c, 1, y, 2 * x + p - 1) : pixel(c, p, y, x);
}

/* Nearest whole number, or either neighbour where f32 can't tell. */
static void close_to(int got, double want, int p, int y, int x)
{
    ck_assert_msg(fabs(got - want) <= 0.5 + 1e-3, "plane %d (%d, %d): %d, not %.4f", p,
                  x, y, got, want);
}

/* The picture as seen by the reference: clamped, cut, in f64. */
typedef struct Scene {
    const float *rgb;
    int rows, cols, w, h;
} Scene;

static double colour(const Scene *s, int y, int x, int c)
{
    int top = (s->rows - s->h) / 2, left = (s->cols - s->w) / 2;
    double v = s->rgb[((top + y) * s->cols + left + x) * 3 + c];

    return v > 1 ? 1 : v > 0 ? v : 0;
}

enum { BT709, BT601, MATRICES };

static const LvMatrix matrices[MATRICES] = { LV_MATRIX_BT709, LV_MATRIX_BT601 };

/* Plane p of a matrix, limited range, of a colour: 0 Y, 1 Cb, 2 Cr */
static double plane_of(int matrix, const double rgb[3], int p)
{
    static const double share[MATRICES][3] = { { 0.2126, 0.7152, 0.0722 },
                                               { 0.299, 0.587, 0.114 } };
    const double *k = share[matrix];
    double y = k[0] * rgb[0] + k[1] * rgb[1] + k[2] * rgb[2];

    if (p == 0)
        return 16 + 219 * y;
    return p == 1 ? 128 + 224 * (rgb[2] - y) / (2 - 2 * k[2])
                  : 128 + 224 * (rgb[0] - y) / (2 - 2 * k[0]);
}

/* What a chroma sample at (y, x) of 4:2:0 sees of colour c. */
static double chroma_colour(const Scene *s, int y, int x, int c)
{
    double sum = 0, weights = 0;

    for (int j = 0; j < 2; j++) {
        for (int i = -1; i < 2; i++) {
            int row = 2 * y + j, col = 2 * x + i, w = i ? 1 : 2;
            int alone = 2 * x == s->w - 1;
            if (row >= s->h || (alone && i))
                continue;
            sum     += w * colour(s, row, col < 0 ? 0 : col, c);
            weights += w;
        }
    }
    return sum / weights;
}

static void check_yuv(const Canvas *cv, const Scene *s, int matrix)
{
    int half = halved(cv->pic.format);

    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (half && p ? (s->h + 1) / 2 : s->h); y++)
            for (int x = 0; x < (half && p ? (s->w + 1) / 2 : s->w); x++) {
                double rgb[3];
                for (int c = 0; c < 3; c++)
                    rgb[c] = half && p ? chroma_colour(s, y, x, c) : colour(s, y, x, c);
                close_to(yuv(cv, p, y, x), plane_of(matrix, rgb, p), p, y, x);
            }
}

static void check_rgb(const Canvas *cv, const Scene *s)
{
    static const int plane_colour[3] = { 1, 2, 0 };

    for (int y = 0; y < s->h; y++)
        for (int x = 0; x < s->w; x++)
            for (int c = 0; c < 3; c++)
                if (cv->pic.format == LV_RGB24)
                    close_to(pixel(cv, 0, y, 3 * x + c), 255 * colour(s, y, x, c), c,
                             y, x);
                else
                    close_to(pixel(cv, c, y, x), 255 * colour(s, y, x, plane_colour[c]),
                             c, y, x);
}

static float *random_picture(int rows, int cols, uint32_t seed)
{
    float *rgb = malloc((size_t)rows * (size_t)cols * 3 * sizeof(*rgb));

    ck_assert_ptr_nonnull(rgb);
    for (int i = 0; i < rows * cols * 3; i++)
        rgb[i] = (float)(draw(&seed) * 1.4 - 0.2);
    return rgb;
}

static void check_size(int format, int w, int h, int extra_rows, int extra_cols)
{
    Scene s = { NULL, h + extra_rows, w + extra_cols, w, h };
    float *rgb = random_picture(s.rows, s.cols, (uint32_t)(w * 100 + h));

    s.rgb = rgb;
    for (int i = 0; i < 2 * MATRICES; i++) {
        int upside_down = i % 2, matrix = i / 2;
        Canvas c;
        canvas_new(&c, format, w, h, upside_down);
        c.pic.matrix = matrices[matrix];
        lv_deliver(&c.pic, rgb, s.rows, s.cols);
        if (format == LV_GBRP || format == LV_RGB24)
            check_rgb(&c, &s);
        else
            check_yuv(&c, &s, matrix);
        canvas_free(&c);
    }
    free(rgb);
}

START_TEST(all_sizes)
{
    for (int h = 1; h <= 9; h++)
        for (int w = 1; w <= 17; w++)
            check_size(_i, w, h, h % 4, w % 4);
}
END_TEST

START_TEST(wide_sizes)
{
    static const int widths[] = { 126, 127, 128, 129, 130, 255, 256, 257, MAX_SIDE };

    for (int k = 0; k < LV_COUNT(widths); k++) {
        check_size(_i, widths[k], 3, 0, 0);
        check_size(_i, widths[k], 4, 2, 7);
    }
}
END_TEST

static const struct {
    float rgb[3];
    int yuv[MATRICES][3];
} colours[] = {
    { { 0, 0, 0 }, { { 16, 128, 128 }, { 16, 128, 128 } } },
    { { 1, 1, 1 }, { { 235, 128, 128 }, { 235, 128, 128 } } },
    { { 1, 0, 0 }, { { 63, 102, 240 }, { 81, 90, 240 } } },
    { { 0, 1, 0 }, { { 173, 42, 26 }, { 145, 54, 34 } } },
    { { 0, 0, 1 }, { { 32, 240, 118 }, { 41, 240, 110 } } },
    { { 1, 1, 0 }, { { 219, 16, 138 }, { 210, 16, 146 } } },
    { { 2, -1, -INFINITY }, { { 63, 102, 240 }, { 81, 90, 240 } } },
    { { INFINITY, 7, 1e30f }, { { 235, 128, 128 }, { 235, 128, 128 } } },
    { { NAN, NAN, NAN }, { { 16, 128, 128 }, { 16, 128, 128 } } },
    { { 1, NAN, -NAN }, { { 63, 102, 240 }, { 81, 90, 240 } } },
};

/* A flat picture has one value in each plane, wherever chroma is sited. */
START_TEST(known_colours)
{
    static const int formats[] = { LV_YUV420P, LV_YUV444P, LV_NV12 };
    float rgb[5 * 7 * 3];

    for (int i = 0; i < 5 * 7 * 3; i++)
        rgb[i] = colours[_i].rgb[i % 3];
    for (int i = 0; i < MATRICES * LV_COUNT(formats); i++) {
        int format = formats[i % LV_COUNT(formats)], matrix = i / LV_COUNT(formats);
        int half = halved(format);
        Canvas c;
        canvas_new(&c, format, 7, 5, 0);
        c.pic.matrix = matrices[matrix];
        lv_deliver(&c.pic, rgb, 5, 7);
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (half && p ? 3 : 5); y++)
                for (int x = 0; x < (half && p ? 4 : 7); x++)
                    ck_assert_int_eq(yuv(&c, p, y, x), colours[_i].yuv[matrix][p]);
        canvas_free(&c);
    }
}
END_TEST

/* Full range formats keep every 8-bit value. */
START_TEST(bytes_survive)
{
    float rgb[256 * 3];
    Canvas c;

    for (int i = 0; i < 256; i++) {
        rgb[3 * i]     = (float)i / 255;
        rgb[3 * i + 1] = (float)(255 - i) / 255;
        rgb[3 * i + 2] = (float)(i ^ 85) / 255;
    }
    canvas_new(&c, LV_RGB24, 256, 1, 0);
    lv_deliver(&c.pic, rgb, 1, 256);
    for (int i = 0; i < 256; i++) {
        ck_assert_int_eq(pixel(&c, 0, 0, 3 * i), i);
        ck_assert_int_eq(pixel(&c, 0, 0, 3 * i + 1), 255 - i);
        ck_assert_int_eq(pixel(&c, 0, 0, 3 * i + 2), i ^ 85);
    }
    canvas_free(&c);
}
END_TEST

/* Scaled pictures, against the formula in f64 */

static double cubic(double x)
{
    x = fabs(x);
    return x >= 2 ? 0 : x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1
                              : -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
}

/* Sample i of nb along an axis of n values, `pitch` apart. */
static double resampled(const float *v, int n, size_t pitch, int i, int nb, double step)
{
    double stretch = step > 1 ? step : 1, sum = 0, weights = 0;
    double at = (n - nb * step) / 2 + (i + 0.5) * step - 0.5;

    for (int k = -2 * n - 20; k < 3 * n + 20; k++) {
        double w = cubic((k - at) / stretch);
        sum     += w * v[(size_t)(k < 0 ? 0 : k >= n ? n - 1 : k) * pitch];
        weights += w;
    }
    return sum / weights;
}

static float *resized(const float *rgb, int rows, int cols, int h, int w)
{
    double step = fmin((double)rows / h, (double)cols / w);
    float *tall = malloc((size_t)h * (size_t)cols * 3 * sizeof(*tall));
    float *out  = malloc((size_t)h * (size_t)w * 3 * sizeof(*out));

    ck_assert(tall && out);
    for (int x = 0; x < 3 * cols; x++)
        for (int y = 0; y < h; y++)
            tall[y * 3 * cols + x] =
                (float)resampled(rgb + x, rows, 3 * (size_t)cols, y, h, step);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < 3 * w; x++)
            out[y * 3 * w + x] = (float)resampled(tall + y * 3 * cols + x % 3, cols, 3,
                                                  x / 3, w, step);
    free(tall);
    return out;
}

static const struct {
    int rows, cols, h, w;
} scaled[] = {
    { 8, 12, 16, 24 }, { 8, 12, 27, 33 }, { 8, 12, 8, 12 }, { 9, 7, 31, 5 }, { 16, 16, 5, 7 },
    { 24, 32, 3, 4 }, { 1, 1, 5, 7 }, { 2, 3, 9, 20 }, { 14, 24, 45, 300 },
};

/* All formats: bytes within one of those of the picture that the formula gives. */
START_TEST(scaled_sizes)
{
    int rows = scaled[_i].rows, cols = scaled[_i].cols, h = scaled[_i].h, w = scaled[_i].w;
    float *rgb = random_picture(rows, cols, 5), *want = resized(rgb, rows, cols, h, w);
    LvResize r;

    ck_assert_int_eq(lv_resize_new(&r, rows, cols, h, w), 0);
    for (int i = 0; i < 2 * LV_FORMAT_NB; i++) {
        Canvas a, b;
        canvas_new(&a, i / 2, w, h, i % 2);
        canvas_new(&b, i / 2, w, h, i % 2);
        a.pic.matrix = b.pic.matrix = matrices[BT601];
        lv_resize_deliver(&r, &a.pic, rgb);
        lv_deliver(&b.pic, want, h, w);
        for (int p = 0; p < planes(i / 2); p++)
            for (size_t k = 0; k < canvas_bytes(&a, p); k++)
                ck_assert_int_le(abs(a.memory[p][k] - b.memory[p][k]), 1);
        canvas_free(&a);
        canvas_free(&b);
    }
    lv_resize_free(&r);
    free(rgb);
    free(want);
}
END_TEST

/* The same by a device: the CPU, or the one that LV_TEST_DEVICE names */

static LvDevice *dev;

static void open_device(void)
{
    const char *name = getenv("LV_TEST_DEVICE");

    ck_assert_msg(lv_device_open(&dev, name ? name : "cpu", NULL, &keep) == 0, "%s",
                  last_line);
}

static void close_device(void)
{
    lv_device_close(&dev);
}

static void *to_device(const void *data, size_t bytes)
{
    void *p;

    ck_assert_int_eq(lv_device_alloc(dev, &p, bytes, "a test"), 0);
    ck_assert_int_eq(lv_device_upload(dev, p, data, bytes), 0);
    return p;
}

/* Move planes to the device, let it deliver, and move them back. */
static void deliver_there(Canvas *c, float *rgb, int rows, int cols)
{
    LvPlanes there = c->pic;
    uint8_t *memory[3];
    LvOpArgs a;

    for (int p = 0; p < planes(c->pic.format); p++) {
        memory[p]     = to_device(c->memory[p], canvas_bytes(c, p));
        there.data[p] = memory[p] + (c->pic.data[p] - c->memory[p]);
    }
    a.frame = (LvFrameArgs) {
        { .data = rgb, .dtype = LV_F32, .rank = 3, .dim = { rows, cols, 3, 1, 1 } }, there,
    };
    ck_assert_int_eq(lv_device_run(dev, LV_OP_FRAME, &a), 0);
    for (int p = 0; p < planes(c->pic.format); p++) {
        ck_assert_int_eq(lv_device_download(dev, c->memory[p], memory[p],
                                           canvas_bytes(c, p)), 0);
        lv_device_free(dev, memory[p]);
    }
}

/* Every value there is, and among them what rounds at the middle. */
static float *wild_picture(int rows, int cols)
{
    static const float odd[] = { NAN, -NAN, INFINITY, -INFINITY, -0.0f, 0, 1, 2, 1e-40f,
                                 0.5f / 255, 127.5f / 255, 0.5f, 0.99999994f };
    float *rgb    = random_picture(rows, cols, (uint32_t)(rows * 1000 + cols));
    uint32_t seed = 7;

    for (int i = 0; i < rows * cols * 3; i++)
        if (draw(&seed) < 0.1)
            rgb[i] = odd[(int)(draw(&seed) * LV_COUNT(odd))];
    return rgb;
}

static void check_device_size(int format, int w, int h, int extra_rows, int extra_cols)
{
    int rows = h + extra_rows, cols = w + extra_cols;
    float *rgb = wild_picture(rows, cols);
    float *there = to_device(rgb, (size_t)(rows * cols * 3) * sizeof(*rgb));

    for (int i = 0; i < 2 * MATRICES; i++) {
        Canvas host, device;
        canvas_new(&host, format, w, h, i % 2);
        canvas_new(&device, format, w, h, i % 2);
        host.pic.matrix = device.pic.matrix = matrices[i / 2];
        lv_deliver(&host.pic, rgb, rows, cols);
        deliver_there(&device, there, rows, cols);
        for (int p = 0; p < planes(format); p++)
            ck_assert_mem_eq(device.memory[p], host.memory[p], canvas_bytes(&host, p));
        canvas_free(&host);
        canvas_free(&device);
    }
    lv_device_free(dev, there);
    free(rgb);
}

START_TEST(device_sizes)
{
    static const int widths[] = { 126, 127, 128, 129, 255, 256, 257, 258, MAX_SIDE };

    for (int h = 1; h <= 9; h++)
        for (int w = 1; w <= 17; w++)
            check_device_size(_i, w, h, h % 4, w % 4);
    for (int k = 0; k < LV_COUNT(widths); k++)
        check_device_size(_i, widths[k], 3 + k % 2, k % 3, k % 5);
}
END_TEST

enum { TILE_ROWS = 5, TILE_COLS = 7, WHOLE_ROWS = 8, WHOLE_COLS = 11, FRAMES = 2,
       WHOLE = FRAMES * WHOLE_ROWS * WHOLE_COLS * 3, TILE = FRAMES * TILE_ROWS * TILE_COLS * 3 };

/* What ops.h says, on the host. */
static void blend_here(float *y, const LvBlendArgs *a, const float *x, const float *wy,
                       const float *wx)
{
    for (int f = 0; f < FRAMES; f++)
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < 3 * TILE_COLS; j++) {
                float *to = y + ((f * WHOLE_ROWS + a->top + i) * WHOLE_COLS + a->left) * 3 + j;
                float v   = wy[i] * wx[j / 3] * (a->scale * *x++ + a->offset);
                *to = i < a->old_rows || j / 3 < a->old_cols ? *to + v : v;
            }
}

static void fill_random(float *x, int n, uint32_t *seed)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(draw(seed) * 1.4 - 0.2);
}

static LvTensor there(const float *data, int rank, int a, int b, int c)
{
    size_t n = (size_t)a * (size_t)b * (size_t)c * (rank == 4 ? 3 : 1);

    return (LvTensor) { .data = to_device(data, n * sizeof(*data)), .dtype = LV_F32,
                        .rank = (uint8_t)rank,
                        .dim = { a, b, c, rank == 4 ? 3 : 1, 1 } };
}

START_TEST(device_blends)
{
    uint32_t seed = (uint32_t)_i + 1;
    float whole[WHOLE], got[WHOLE], from[TILE], wy[TILE_ROWS], wx[TILE_COLS];
    LvOpArgs a;

    fill_random(whole, WHOLE, &seed);
    fill_random(from, TILE, &seed);
    fill_random(wy, TILE_ROWS, &seed);
    fill_random(wx, TILE_COLS, &seed);
    a.blend = (LvBlendArgs) {
        there(from, 4, FRAMES, TILE_ROWS, TILE_COLS), there(wy, 1, TILE_ROWS, 1, 1),
        there(wx, 1, TILE_COLS, 1, 1), there(whole, 4, FRAMES, WHOLE_ROWS, WHOLE_COLS),
        .top = 2, .left = 3, .old_rows = _i % 6, .old_cols = _i / 6,
        .scale = _i % 2 ? 0.5f : 1, .offset = _i % 2 ? 0.5f : 0,
    };
    ck_assert_int_eq(lv_device_run(dev, LV_OP_BLEND, &a), 0);
    ck_assert_int_eq(lv_device_download(dev, got, a.blend.y.data, sizeof(got)), 0);
    blend_here(whole, &a.blend, from, wy, wx);
    ck_assert_mem_eq(got, whole, sizeof(got));
    for (int i = 0; i < 4; i++)
        lv_device_free(dev, a.t[i].data);
}
END_TEST

/* What an op run by itself refuses is said. */
START_TEST(device_refuses)
{
    LvOpArgs a = { .frame = { { .dtype = LV_F32, .rank = 3, .dim = { 2, 2, 3, 1, 1 } },
                              { .width = 3, .height = 2 } } };

    ck_assert_int_eq(lv_device_run(dev, LV_OP_FRAME, &a), LV_ERR(EINVAL));
    ck_assert_str_eq(last_line, "frame: out must be 1x1 or more, and within rgb");
    a.frame.out = (LvPlanes) { .width = 2, .height = 2, .format = LV_FORMAT_NB };
    ck_assert_int_eq(lv_device_run(dev, LV_OP_FRAME, &a), LV_ERR(EINVAL));
    ck_assert_str_eq(last_line, "frame: unknown format");
}
END_TEST

/* Suite */

static TCase *tcase(Suite *suite, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 60);
    suite_add_tcase(suite, t);
    return t;
}

static Suite *pipeline_suite(void)
{
    Suite *suite = suite_create("pipeline");
    TCase *t = tcase(suite, "sample");

    tcase_add_test(t, names);
    tcase_add_loop_test(t, refuses, 0, LV_COUNT(refused));
    tcase_add_test(t, out_of_memory);
    tcase_add_loop_test(t, tables_fall, LV_SAMPLER_EULER, LV_SAMPLER_CAUSVID);
    tcase_add_loop_test(t, reference_tables, 0, LV_COUNT(tables));
    tcase_add_loop_test(t, scalar, 0, LV_COUNT(scalars));
    tcase_add_loop_test(t, reference_states, 0, LV_COUNT(runs));
    tcase_add_loop_test(t, ends_at_x0, LV_SAMPLER_EULER, LV_SAMPLER_CAUSVID);
    tcase_add_loop_test(t, starts_anew, LV_SAMPLER_EULER, LV_SAMPLER_CAUSVID);
    tcase_add_loop_test(t, known_lists, 0, LV_COUNT(lists));
    tcase_add_loop_test(t, begins_lower, 0, LV_COUNT(lower));
    tcase_add_test(t, renoises);
    tcase_add_test(t, renoise_seeds_differ);
    tcase_add_test(t, noise_streams);
    tcase_add_test(t, noise_fills);
    tcase_add_test(t, guidance);
    tcase_add_test(t, previews);
    tcase_add_test(t, caches_steps);
    tcase_add_loop_test(t, caches_nothing, 0, 2);

    t = tcase(suite, "deliver");
    tcase_add_loop_test(t, all_sizes, 0, LV_FORMAT_NB);
    tcase_add_loop_test(t, wide_sizes, 0, LV_FORMAT_NB);
    tcase_add_loop_test(t, known_colours, 0, LV_COUNT(colours));
    tcase_add_test(t, bytes_survive);
    tcase_add_loop_test(t, scaled_sizes, 0, LV_COUNT(scaled));

    t = tcase(suite, "device");
    tcase_add_checked_fixture(t, open_device, close_device);
    tcase_add_loop_test(t, device_sizes, 0, LV_FORMAT_NB);
    tcase_add_loop_test(t, device_blends, 0, 6 * (TILE_COLS + 1));
    tcase_add_test(t, device_refuses);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(pipeline_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
