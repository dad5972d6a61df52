/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/tae.h"

#include <stdio.h>
#include <string.h>

enum { IN, OUT, IN2, IN_N, OUT_N, NB_SYMBOLS };

#define LAYER(member) offsetof(LvTaeLayer, member)

#define ROW(name, member, flags, ...)                                             \
    { name, LAYER(member), { __VA_ARGS__ }, flags, { NULL } }

static const LvWeightRow conv_rows[] = {
    ROW("%d.weight", w[0], LV_W_MATRIX, LV_DIM(OUT), LV_DIM(IN), 3, 3),
    ROW("%d.bias", b[0], 0, LV_DIM(OUT)),
};

static const LvWeightRow mem_rows[] = {
    ROW("%d.conv.0.weight", w[0], LV_W_MATRIX, LV_DIM(OUT), LV_DIM(IN2), 3, 3),
    ROW("%d.conv.0.bias", b[0], 0, LV_DIM(OUT)),
    ROW("%d.conv.2.weight", w[1], LV_W_MATRIX, LV_DIM(OUT), LV_DIM(OUT), 3, 3),
    ROW("%d.conv.2.bias", b[1], 0, LV_DIM(OUT)),
    ROW("%d.conv.4.weight", w[2], LV_W_MATRIX, LV_DIM(OUT), LV_DIM(OUT), 3, 3),
    ROW("%d.conv.4.bias", b[2], 0, LV_DIM(OUT)),
};

static const LvWeightRow grow_rows[] = {
    ROW("%d.conv.weight", w[0], LV_W_MATRIX, LV_DIM(OUT_N), LV_DIM(IN), 1, 1),
};

static const LvWeightRow pool_rows[] = {
    ROW("%d.conv.weight", w[0], LV_W_MATRIX, LV_DIM(OUT), LV_DIM(IN_N), 1, 1),
};

/* Finding the layers */

static const LvFileTensor *find(const LvSource *st, const char *prefix, int i,
                                const char *rest)
{
    char name[256];

    snprintf(name, sizeof(name), "%s%d.%s", prefix, i, rest);
    return lv_source_find(st, name);
}

static int last_layer(const LvSource *st, const char *prefix)
{
    size_t len = strlen(prefix);
    int last = -1, i;

    for (int k = 0; k < lv_source_count(st); k++) {
        const char *name = lv_source_at(st, k)->name;
        if (!strncmp(name, prefix, len) && sscanf(name + len, "%d", &i) == 1)
            last = LV_MAX(last, i);
    }
    return last;
}

static int dim(const LvFileTensor *t, int i)
{
    return t->rank == 4 && t->dim[i] >= 1 && t->dim[i] <= 1 << 16 ? (int)t->dim[i] : 0;
}

/* Kind and sizes of layer i; its tensors are checked when they are bound. */
static LvTaeLayer identify(const LvSource *st, const char *prefix, int i,
                           int encoder, const LvTaeLayer *before)
{
    const LvFileTensor *mem  = find(st, prefix, i, "conv.0.weight");
    const LvFileTensor *pw   = find(st, prefix, i, "conv.weight");
    const LvFileTensor *conv = find(st, prefix, i, "weight");
    int in = before ? before->out : 0;
    LvTaeLayer l = { .in = in, .out = in, .n = 1, .stride = 1 };

    if (mem) {
        l.kind = LV_TAE_MEM;
    } else if (pw) {
        l.kind = encoder ? LV_TAE_POOL : LV_TAE_GROW;
        l.n    = in ? dim(pw, encoder ? 1 : 0) / in : 0;
        l.out  = encoder ? dim(pw, 0) : in;
    } else if (conv) {
        l.kind   = LV_TAE_CONV;
        l.in     = in ? in : dim(conv, 1);
        l.out    = dim(conv, 0);
        l.stride = before && before->kind == LV_TAE_POOL ? 2 : 1;
        l.bias   = find(st, prefix, i, "bias") != NULL;
    } else if (i == 0) {
        l.kind = LV_TAE_CLAMP;
    } else {
        l.kind = !encoder && find(st, prefix, i + 1, "conv.weight") ? LV_TAE_UP
                                                                    : LV_TAE_RELU;
    }
    return l;
}

static int bind_layer(LvWeights *w, LvTaeLayer *l, const char *prefix, int i)
{
    const int symbols[NB_SYMBOLS] = { [IN] = l->in, [OUT] = l->out, [IN2] = 2 * l->in,
                                      [IN_N] = l->n * l->in, [OUT_N] = l->n * l->out };

    for (int k = 0; k < 3; k++)
        l->w[k] = l->b[k] = LV_NO_TENSOR;
    switch (l->kind) {
    case LV_TAE_MEM:
        return lv_weights_bind(w, mem_rows, LV_COUNT(mem_rows), prefix, i, symbols, l);
    case LV_TAE_CONV:
        return lv_weights_bind(w, conv_rows, 1 + l->bias, prefix, i, symbols, l);
    case LV_TAE_GROW:
        return lv_weights_bind(w, grow_rows, 1, prefix, i, symbols, l);
    case LV_TAE_POOL:
        return lv_weights_bind(w, pool_rows, 1, prefix, i, symbols, l);
    default:
        return 0;
    }
}

static int fail(LvWeights *w, const char *prefix, int i, const char *what)
{
    return lv_fail(lv_weights_msg(w), LV_ERR_MODEL, "%s: %s%d %s",
                   lv_source_path(lv_weights_file(w)), prefix, i, what);
}

static int bind_half(LvTaeHalf *h, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                     const char *prefix)
{
    int last = last_layer(lv_weights_file(w), prefix), ret;
    int first = encoder ? 3 * cfg->patch * cfg->patch : cfg->channels;
    int final = encoder ? cfg->channels : 3 * cfg->patch * cfg->patch;

    if (last < 0 || last >= LV_TAE_MAX_LAYERS)
        return fail(w, prefix, last, "is not a usable last layer");
    h->layers = last + 1;
    h->frames = h->scale = 1;
    for (int i = 0; i <= last; i++) {
        LvTaeLayer *l = &h->layer[i];
        LvTaeLayer start = { .out = first };
        *l = identify(lv_weights_file(w), prefix, i, encoder, i ? l - 1 : &start);
        if (l->n < 1 || l->n > 16)
            return fail(w, prefix, i, "makes a fraction of a frame");
        h->frames *= l->n;
        h->scale  *= l->kind == LV_TAE_UP || l->stride == 2 ? 2 : 1;
        if ((ret = bind_layer(w, l, prefix, i)) < 0)
            return ret;
        if (h->frames > 64 || h->scale > 64)
            return fail(w, prefix, i, "makes the scale larger than 64");
    }
    return h->layer[last].out == final ? 0 :
           fail(w, prefix, last, "does not end in the right number of channels");
}

int lv_tae_bind(LvTae *m, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                const char *prefix)
{
    m->cfg = *cfg;
    return bind_half(encoder ? &m->encoder : &m->decoder, cfg, encoder, w, prefix);
}

/* Design */

static LvTaeLayer *push(LvTaeHalf *h, int kind, int out, int n)
{
    LvTaeLayer *l = &h->layer[LV_MIN(h->layers, LV_TAE_MAX_LAYERS - 1)];
    int in = h->layers ? l[-1].out : 0;

    h->layers++;
    *l = (LvTaeLayer) { .kind = kind, .in = in, .out = out, .n = n, .stride = 1 };
    return l;
}

static void push_conv(LvTaeHalf *h, int in, int out, int stride, int bias)
{
    LvTaeLayer *l = push(h, LV_TAE_CONV, out, 1);

    l->in     = in;
    l->stride = stride;
    l->bias   = bias;
}

static void push_blocks(LvTaeHalf *h, int width, int blocks)
{
    for (int i = 0; i < blocks; i++)
        push(h, LV_TAE_MEM, width, 1);
}

static void lay_out_encoder(LvTaeHalf *h, const LvTaeDesign *d, int pixels, int channels)
{
    int width = d->stage[0].width;

    push_conv(h, pixels, width, 1, 1);
    push(h, LV_TAE_RELU, width, 1);
    for (int i = 0; i < d->stages; i++) {
        if (i) {
            push(h, LV_TAE_POOL, width, d->stage[i].frames);
            push_conv(h, width, d->stage[i].width, 2, 0);
        }
        width = d->stage[i].width;
        push_blocks(h, width, d->stage[i].blocks);
    }
    push_conv(h, width, channels, 1, 1);
}

static void lay_out_decoder(LvTaeHalf *h, const LvTaeDesign *d, int pixels, int channels)
{
    int width = d->stage[d->stages - 1].width;

    push(h, LV_TAE_CLAMP, channels, 1);
    push_conv(h, channels, width, 1, 1);
    push(h, LV_TAE_RELU, width, 1);
    for (int i = d->stages - 1; i >= 0; i--) {
        push_blocks(h, width, d->stage[i].blocks);
        if (i) {
            push(h, LV_TAE_UP, width, 1);
            push(h, LV_TAE_GROW, width, d->stage[i].frames);
            push_conv(h, width, d->stage[i - 1].width, 1, 0);
            width = d->stage[i - 1].width;
        }
    }
    push(h, LV_TAE_RELU, width, 1);
    push_conv(h, width, pixels, 1, 1);
}

int lv_tae_design(LvTae *m, const LvTaeConfig *cfg, const LvTaeDesign *d, int encoder,
                  LvWeights *w, const char *prefix)
{
    LvTaeHalf *h = encoder ? &m->encoder : &m->decoder;
    int pixels   = 3 * cfg->patch * cfg->patch, ret = 0;

    m->cfg    = *cfg;
    h->layers = 0;
    if (encoder)
        lay_out_encoder(h, d, pixels, cfg->channels);
    else
        lay_out_decoder(h, d, pixels, cfg->channels);
    if (h->layers > LV_TAE_MAX_LAYERS)
        return lv_fail(lv_weights_msg(w), LV_ERR(EINVAL), "an autoencoder of %d layers, "
                       "%d are allowed", h->layers, LV_TAE_MAX_LAYERS);
    for (int i = 0; i < h->layers && ret >= 0; i++)
        ret = bind_layer(w, &h->layer[i], prefix, i);
    return ret;
}

/* Trace */

static LvTensor conv(LvGraph *g, LvTensor x, const LvTaeLayer *l, int k, LvTensor r,
                     int act, LvDtype dtype)
{
    return lv_conv(g, x, l->w[k], l->b[k], r, l->stride, l->w[k].dim[2] / 2, act, dtype);
}

static LvTensor mem_block(LvGraph *g, const LvTaeLayer *l, LvTensor x, LvDtype dtype,
                          LvTaeState *s)
{
    const int shape[] = { 1, x.dim[1], x.dim[2], x.dim[3] };
    LvTensor state = s->t[s->nb++] = lv_external(g, "memory", dtype, 4, shape);
    LvTensor y = lv_recall(g, x, state);

    y = conv(g, y, l, 0, LV_NO_TENSOR, LV_ACT_RELU, dtype);
    y = conv(g, y, l, 1, LV_NO_TENSOR, LV_ACT_RELU, dtype);
    return conv(g, y, l, 2, x, LV_ACT_RELU, dtype);
}

static LvTensor layer(LvGraph *g, const LvTaeLayer *l, LvTensor x, LvDtype dtype,
                      LvDtype out, LvTaeState *s)
{
    switch (l->kind) {
    case LV_TAE_CLAMP: return lv_act(g, x, LV_ACT_CLAMP3, dtype);
    case LV_TAE_RELU:  return lv_act(g, x, LV_ACT_RELU, dtype);
    case LV_TAE_UP:    return lv_upsample(g, x);
    case LV_TAE_MEM:   return mem_block(g, l, x, dtype, s);
    case LV_TAE_CONV:  return conv(g, x, l, 0, LV_NO_TENSOR, LV_ACT_NONE, out);
    case LV_TAE_GROW:
        x = conv(g, x, l, 0, LV_NO_TENSOR, LV_ACT_NONE, dtype);
        return lv_unstack(g, x, l->n);
    default:
        x = lv_stack(g, x, l->n);
        return conv(g, x, l, 0, LV_NO_TENSOR, LV_ACT_NONE, dtype);
    }
}

static LvTensor half(LvGraph *g, const LvTaeHalf *h, LvTensor x, LvDtype dtype,
                     LvTaeState *s)
{
    s->nb = 0;
    for (int i = 0; i < h->layers; i++) {
        lv_graph_layer(g, i + 1);
        x = layer(g, &h->layer[i], x, dtype, i == h->layers - 1 ? LV_F32 : dtype, s);
    }
    lv_graph_layer(g, 0);
    return x;
}

LvTensor lv_tae_trace_decoder(LvGraph *g, const LvTae *m, LvTensor z, LvDtype dtype,
                              LvTaeState *state)
{
    LvTensor y = half(g, &m->decoder, z, dtype, state);

    return m->cfg.patch > 1 ? lv_shuffle(g, y, m->cfg.patch, 0, LV_F32) : y;
}

LvTensor lv_tae_trace_encoder(LvGraph *g, const LvTae *m, LvTensor x, LvDtype dtype,
                              LvTaeState *state)
{
    /* The first convolution wants its input in dtype. */
    x = lv_unshuffle(g, x, m->cfg.patch, 0, dtype);
    return half(g, &m->encoder, x, dtype, state);
}

void lv_tae_latent_size(const LvTae *m, const LvModelConfig *cfg, int size[3])
{
    lv_config_latents(cfg, (const int[]) { cfg->video.width, cfg->video.height },
                      m->decoder.frames, m->decoder.scale * cfg->vae.patch, size);
}
