/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/init.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "base/convert.h"
#include "base/philox.h"
#include "base/safetensors.h"

/* Seen as a matrix, a tensor has dim[0] outputs and `in` inputs for each. */
static size_t inputs(const LvParam *t)
{
    return t->numel / (size_t)t->dim[0];
}

static void fill(const LvParam *t, float *w, float value)
{
    for (size_t i = 0; i < t->numel; i++)
        w[i] = value;
}

static void scale(const LvParam *t, float *w, double by)
{
    for (size_t i = 0; i < t->numel; i++)
        w[i] = (float)(w[i] * by);
}

/* Rules get w filled with standard normal values. */

static void zeros(const LvParam *t, float *w, double x)
{
    (void)x;
    fill(t, w, 0);
}

static void ones(const LvParam *t, float *w, double x)
{
    (void)x;
    fill(t, w, 1);
}

static void normal(const LvParam *t, float *w, double deviation)
{
    scale(t, w, deviation);
}

/* Deviation x / sqrt(inputs). */
static void fan_in(const LvParam *t, float *w, double x)
{
    scale(t, w, x / sqrt((double)inputs(t)));
}

/* Xavier's deviation, sqrt(2 / (inputs + outputs)). */
static void xavier(const LvParam *t, float *w, double x)
{
    scale(t, w, x * sqrt(2.0 / (double)(inputs(t) + (size_t)t->dim[0])));
}

/* Deviation x / sqrt(last size): modulation of width `dim`. */
static void by_width(const LvParam *t, float *w, double x)
{
    scale(t, w, x / sqrt((double)t->dim[t->rank - 1]));
}

/* [O,C,kh,kw]: the centre of the kernel hands input o mod C on to output o. */
static void pass_on(const LvParam *t, float *w, double noise)
{
    size_t taps = (size_t)(t->dim[2] * t->dim[3]), c = (size_t)t->dim[1];

    fan_in(t, w, noise);
    for (size_t o = 0; o < (size_t)t->dim[0]; o++)
        w[(o * c + o % c) * taps + taps / 2] += 1;
}

/* [O,n O,1,1]: the mean of n frames, which lie one behind the other. */
static void mean_of_frames(const LvParam *t, float *w, double noise)
{
    size_t out = (size_t)t->dim[0], in = (size_t)t->dim[1], n = LV_MAX(in / out, 1);

    fan_in(t, w, noise);
    for (size_t o = 0; o < out; o++)
        for (size_t k = 0; k < n; k++)
            w[o * in + k * out + o] += 1 / (float)n;
}

/* [n C,C,1,1]: each of n frames is the one that is there. */
static void copy_to_frames(const LvParam *t, float *w, double noise)
{
    size_t out = (size_t)t->dim[0], in = (size_t)t->dim[1];

    fan_in(t, w, noise);
    for (size_t o = 0; o < out; o++)
        w[o * in + o % in] += 1;
}

static const struct {
    const char *name; /* as for fnmatch(); the first that fits counts */
    void (*rule)(const LvParam *t, float *w, double x);
    double x;
} rules[] = {
    { "dit.head.head.weight",            zeros, 0 },
    { "dit.*modulation",                 by_width, 1 },
    { "dit.text_embedding.*.weight",     fan_in, 1 },
    { "dit.time_embedding.*.weight",     normal, 0.02 },
    { "dit.*norm*.weight",               ones, 0 },
    { "dit.*.weight",                    xavier, 1 },
    { "text.token_embedding.weight",     normal, 1 },
    { "text.*norm*.weight",              ones, 0 },
    { "text.*.embedding.weight",         normal, 1 },
    { "text.*.attn.q.weight",            fan_in, 0.125 },
    { "text.*.weight",                   fan_in, 1 },
    { "vae.*.conv.4.weight",             zeros, 0 },
    { "vae.*.conv.[02].weight",          fan_in, 1.4 },
    { "vae.encoder.*.conv.weight",       mean_of_frames, 0.1 },
    { "vae.decoder.*.conv.weight",       copy_to_frames, 0.1 },
    { "vae.*.weight",                    pass_on, 0.3 },
    { "*.bias",                          zeros, 0 },
};

static int init_one(const LvParam *t, float *w, const LvMsg *msg)
{
    for (int i = 0; i < LV_COUNT(rules); i++)
        if (!fnmatch(rules[i].name, t->name, 0)) {
            rules[i].rule(t, w, rules[i].x);
            return 0;
        }
    return lv_fail(msg, LV_ERR_MODEL, "no initializer for %s", t->name);
}

int lv_init_params(const LvParams *p, float *values, uint64_t seed, const LvMsg *msg)
{
    int ret = 0;

    memset(values, 0, p->size * sizeof(*values));
    for (int i = 0; i < p->nb && ret >= 0; i++) {
        const LvParam *t = &p->list[i];
        lv_philox_normal(values + t->at, t->numel, seed, (uint64_t)i << 32);
        ret = init_one(t, values + t->at, msg);
    }
    return ret;
}

static int take(const LvParam *t, float *w, const LvSafetensors *st, const LvMsg *msg)
{
    const LvFileTensor *f = lv_safetensors_find(st, t->name);
    const char *path = lv_safetensors_path(st);
    int ret;

    if (!f || f->numel != t->numel)
        return lv_fail(msg, LV_ERR_MODEL, "%s: expected %s of %zu values, got %zu", path, t->name,
                       t->numel, f ? f->numel : (size_t)0);
    ret = lv_to_f32(w, f->data, f->dtype, f->numel);
    return ret < 0 ? lv_fail(msg, ret, "%s: %s is %s, expected floats (linvideo convert makes "
                             "f16 of it)", path, t->name, lv_dtype_name(f->dtype)) : 0;
}

int lv_init_from(const LvParams *p, float *values, const char *path, const LvMsg *msg)
{
    LvSafetensors *st;
    int ret = lv_safetensors_open(&st, path, msg);

    if (ret < 0)
        return ret;
    memset(values, 0, p->size * sizeof(*values));
    for (int i = 0; i < p->nb && ret >= 0; i++)
        ret = take(&p->list[i], values + p->list[i].at, st, msg);
    lv_safetensors_close(&st);
    return ret;
}
