/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/wan_vae.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { IN, OUT, OUT2, QKV, NB_SYMBOLS };

enum { COLOURS = 3 };

#define LAYER(member) offsetof(LvWanLayer, member)
#define HALF(member)  offsetof(LvWanHalf, member)

/* Names are those of the reference, then those of diffusers. */
#define ROW(name, hf, at, flags, ...) { name, at, { __VA_ARGS__ }, flags, { hf, NULL } }

/* A convolution with its bias: index, flags, outputs, inputs, kernel. */
#define CONV(name, hf, i, flags, n, ...)                                          \
    ROW(name ".weight", hf ".weight", LAYER(w[i]), LV_W_MATRIX | flags, n,        \
        __VA_ARGS__),                                                             \
    ROW(name ".bias", hf ".bias", LAYER(b[i]), 0, n)

#define SIDE(name, hf, flags, n, ...)                                             \
    ROW(name ".weight", hf ".weight", LAYER(side_w), LV_W_MATRIX | flags, n,      \
        __VA_ARGS__),                                                             \
    ROW(name ".bias", hf ".bias", LAYER(side_b), 0, n)

#define I LV_DIM(IN)
#define O LV_DIM(OUT)

static const LvWeightRow conv_rows[] = {
    CONV("conv1", "conv_in", 0, LV_W_FRAMES, O, I, 3, 3, 3),
};

static const LvWeightRow res_rows[] = {
    ROW("residual.0.gamma", "norm1.gamma", LAYER(norm[0]), 0, I),
    CONV("residual.2", "conv1", 0, LV_W_FRAMES, O, I, 3, 3, 3),
    ROW("residual.3.gamma", "norm2.gamma", LAYER(norm[1]), 0, O),
    CONV("residual.6", "conv2", 1, LV_W_FRAMES, O, O, 3, 3, 3),
};

static const LvWeightRow shortcut_rows[] = {
    SIDE("shortcut", "conv_shortcut", 0, O, I),
};

static const LvWeightRow attn_rows[] = {
    ROW("norm.gamma", NULL, LAYER(norm[0]), 0, I),
    CONV("to_qkv", "to_qkv", 0, 0, LV_DIM(QKV), I),
    CONV("proj", "proj", 1, 0, O, I),
};

static const LvWeightRow up_rows[] = {
    CONV("resample.1", "resample.1", 0, 0, O, I, 3, 3),
};

static const LvWeightRow up_time_rows[] = {
    SIDE("time_conv", "time_conv", LV_W_FRAMES, LV_DIM(OUT2), I, 3, 1, 1),
};

static const LvWeightRow down_rows[] = {
    CONV("resample.1", "resample.1", 0, LV_W_EDGE, O, I, 3, 3),
};

static const LvWeightRow down_time_rows[] = {
    SIDE("time_conv", "time_conv", LV_W_FRAMES, O, I, 3, 1, 1),
};

static const LvWeightRow head_rows[] = {
    ROW("head.0.gamma", "norm_out.gamma", LAYER(norm[0]), 0, I),
    CONV("head.2", "conv_out", 0, LV_W_FRAMES, O, I, 3, 3, 3),
};

static const LvWeightRow decoder_rows[] = {
    ROW("conv2.weight", "post_quant_conv.weight", HALF(w), LV_W_MATRIX, I, I),
    ROW("conv2.bias", "post_quant_conv.bias", HALF(b), 0, I),
};

static const LvWeightRow encoder_rows[] = {
    ROW("conv1.weight", "quant_conv.weight", HALF(w), LV_W_MATRIX, O, O),
    ROW("conv1.bias", "quant_conv.bias", HALF(b), 0, O),
};

#undef I
#undef O

/* Rows of a kind of layer, and those of its side. */
static const struct {
    const LvWeightRow *rows, *side;
    int nb, nb_side;
} tables[] = {
    [LV_WAN_CONV]  = { conv_rows, NULL, LV_COUNT(conv_rows), 0 },
    [LV_WAN_RES]   = { res_rows, shortcut_rows, LV_COUNT(res_rows),
                       LV_COUNT(shortcut_rows) },
    [LV_WAN_ATTN]  = { attn_rows, NULL, LV_COUNT(attn_rows), 0 },
    [LV_WAN_UP2]   = { up_rows, NULL, LV_COUNT(up_rows), 0 },
    [LV_WAN_UP3]   = { up_rows, up_time_rows, LV_COUNT(up_rows), LV_COUNT(up_time_rows) },
    [LV_WAN_DOWN2] = { down_rows, NULL, LV_COUNT(down_rows), 0 },
    [LV_WAN_DOWN3] = { down_rows, down_time_rows, LV_COUNT(down_rows),
                       LV_COUNT(down_time_rows) },
    [LV_WAN_HEAD]  = { head_rows, NULL, LV_COUNT(head_rows), 0 },
};

/* Whether it is Wan2.2's: its parts are numbered within levels. */
static int has_levels(const LvTaeConfig *cfg)
{
    return cfg->patch > 1;
}

/* Layers in order, each with its name in both layouts. */

typedef struct Binding {
    LvWanHalf *h;
    LvWeights *w;
    char prefix[LV_PARAM_NAME]; /* of the half */
    int channels;               /* that the next layer gets */
    int ret;
} Binding;

static int bind_side(LvWeights *w, LvWanLayer *l, const char *prefix, const int *symbols)
{
    int wanted = tables[l->kind].nb_side && (l->kind != LV_WAN_RES || l->in != l->out);

    l->side_w = l->side_b = LV_NO_TENSOR;
    return wanted ? lv_weights_bind(w, tables[l->kind].side, tables[l->kind].nb_side,
                                    prefix, 0, symbols, l) : 0;
}

/* Add a layer. name, hf: what stands between the half's prefix and the row's name. */
static void add(Binding *b, int kind, int out, const char *name, const char *hf)
{
    LvWanLayer *l = &b->h->layer[b->h->layers];
    const int symbols[NB_SYMBOLS] = { [IN] = b->channels, [OUT] = out,
                                      [OUT2] = 2 * b->channels, [QKV] = 3 * b->channels };
    char prefix[LV_PARAM_NAME];
    const char *part = lv_weights_layout(b->w) == LV_LAYOUT_ORIGINAL ? name : hf;

    if (b->ret < 0)
        return;
    *l = (LvWanLayer) { .kind = kind, .in = b->channels, .out = out };
    snprintf(prefix, sizeof(prefix), "%.250s%s", b->prefix, part);
    b->ret = lv_weights_bind(b->w, tables[kind].rows, tables[kind].nb, prefix, 0, symbols,
                             l);
    if (b->ret >= 0)
        b->ret = bind_side(b->w, l, prefix, symbols);
    for (int i = 0; i < 3 && b->ret >= 0 && kind == LV_WAN_ATTN; i++) {
        b->ret = lv_weights_slice(&l->part_w[i], b->w, l->w[0], i * out, out);
        if (b->ret >= 0)
            b->ret = lv_weights_slice(&l->part_b[i], b->w, l->b[0], i * out, out);
    }
    b->channels = out;
    b->h->layers++;
}

static void add_middle(Binding *b)
{
    add(b, LV_WAN_RES, b->channels, "middle.0.", "mid_block.resnets.0.");
    add(b, LV_WAN_ATTN, b->channels, "middle.1.", "mid_block.attentions.0.");
    add(b, LV_WAN_RES, b->channels, "middle.2.", "mid_block.resnets.1.");
}

/* A short cut goes past the last n layers. */
static void close_level(Binding *b, int n)
{
    if (b->ret >= 0)
        b->h->layer[b->h->layers - 1].span = n;
}

/* Part i of level k of Wan2.1's decoder; there are four parts in a level. */
static void name_up(char name[2][48], int kind, int k, int i)
{
    int res = kind == LV_WAN_RES;

    snprintf(name[0], sizeof(name[0]), "upsamples.%d.", 4 * k + i);
    snprintf(name[1], sizeof(name[1]), "up_blocks.%d.%s.%d.", k,
             res ? "resnets" : "upsamplers", res ? i : 0);
}

/* Part i of level k of a half of Wan2.2's; side: "up" or "down". */
static void name_level(char name[2][48], const char *side, int kind, int k, int i)
{
    snprintf(name[0], sizeof(name[0]), "%ssamples.%d.%ssamples.%d.", side, k, side, i);
    if (kind == LV_WAN_RES)
        snprintf(name[1], sizeof(name[1]), "%s_blocks.%d.resnets.%d.", side, k, i);
    else
        snprintf(name[1], sizeof(name[1]), "%s_blocks.%d.%ssampler.", side, k, side);
}

static void add_up(Binding *b, const LvTaeConfig *cfg, int kind, int out, int k, int i)
{
    char name[2][48];

    if (has_levels(cfg))
        name_level(name, "up", kind, k, i);
    else
        name_up(name, kind, k, i);
    add(b, kind, out, name[0], name[1]);
}

static void add_decoder(Binding *b, const LvTaeConfig *cfg)
{
    const int width[] = { 4 * cfg->width, 4 * cfg->width, 2 * cfg->width, cfg->width };
    const int up[]    = { LV_WAN_UP3, LV_WAN_UP3, LV_WAN_UP2 };

    add(b, LV_WAN_CONV, 4 * cfg->width, "", "");
    add_middle(b);
    for (int k = 0; k < LV_COUNT(width); k++) {
        for (int i = 0; i < 3; i++)
            add_up(b, cfg, LV_WAN_RES, width[k], k, i);
        if (k == LV_COUNT(up))
            break;
        add_up(b, cfg, up[k], has_levels(cfg) ? b->channels : b->channels / 2, k, 3);
        if (has_levels(cfg))
            close_level(b, 4);
    }
    add(b, LV_WAN_HEAD, COLOURS * cfg->patch * cfg->patch, "", "");
}

/* Part i of level k of the encoder; Wan2.1 numbers them through in both layouts. */
static void add_down(Binding *b, const LvTaeConfig *cfg, int kind, int out, int k, int i)
{
    char name[2][48];

    if (has_levels(cfg)) {
        name_level(name, "down", kind, k, i);
    } else {
        snprintf(name[0], sizeof(name[0]), "downsamples.%d.", 3 * k + i);
        snprintf(name[1], sizeof(name[1]), "down_blocks.%d.", 3 * k + i);
    }
    add(b, kind, out, name[0], name[1]);
}

static void add_encoder(Binding *b, const LvTaeConfig *cfg)
{
    int first         = has_levels(cfg) ? cfg->encoder_width : cfg->width;
    const int width[] = { first, 2 * first, 4 * first, 4 * first };
    const int down[]  = { LV_WAN_DOWN2, LV_WAN_DOWN3, LV_WAN_DOWN3 };

    add(b, LV_WAN_CONV, first, "", "");
    for (int k = 0; k < LV_COUNT(width); k++) {
        add_down(b, cfg, LV_WAN_RES, width[k], k, 0);
        add_down(b, cfg, LV_WAN_RES, width[k], k, 1);
        if (k < LV_COUNT(down))
            add_down(b, cfg, down[k], width[k], k, 2);
        if (has_levels(cfg))
            close_level(b, k < LV_COUNT(down) ? 3 : 2);
    }
    add_middle(b);
    add(b, LV_WAN_HEAD, 2 * cfg->channels, "", "");
}

static int bind_ends(LvWanHalf *h, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                     const char *prefix)
{
    const int symbols[NB_SYMBOLS] = { [IN] = cfg->channels, [OUT] = 2 * cfg->channels };
    int ret = lv_weights_bind(w, encoder ? encoder_rows : decoder_rows,
                              LV_COUNT(decoder_rows), prefix, 0, symbols, h);

    if (ret < 0 || !encoder)
        return ret;
    /* The other half of what the encoder tells are variances, which nobody asks for. */
    if ((ret = lv_weights_slice(&h->w, w, h->w, 0, cfg->channels)) < 0)
        return ret;
    return lv_weights_slice(&h->b, w, h->b, 0, cfg->channels);
}

int lv_wan_vae_bind(LvWanVae *m, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                    const char *prefix)
{
    Binding b = { .h = encoder ? &m->encoder : &m->decoder, .w = w,
                  .channels = encoder ? COLOURS * cfg->patch * cfg->patch : cfg->channels };

    m->cfg = *cfg;
    b.ret  = bind_ends(b.h, cfg, encoder, w, prefix);
    snprintf(b.prefix, sizeof(b.prefix), "%.200s%s", prefix,
             encoder ? "encoder." : "decoder.");
    if (encoder)
        add_encoder(&b, cfg);
    else
        add_decoder(&b, cfg);
    return b.ret;
}

/* Trace */

typedef struct Trace {
    LvGraph *g;
    LvWanState *state;
    LvDtype dtype;
    int first;
} Trace;

static LvTensor as_rows(LvTensor x)
{
    const int dim[] = { x.dim[0] * x.dim[1] * x.dim[2], x.dim[3] };

    return lv_reshape(x, 2, dim);
}

/* Rows as frames of the size of x. */
static LvTensor as_frames(LvTensor y, LvTensor x)
{
    const int dim[] = { x.dim[0], x.dim[1], x.dim[2], y.dim[1] };

    return lv_reshape(y, 4, dim);
}

/* x / max(|x|, 1e-12) sqrt(C) w, which is a root mean square with such an eps; silu. */
static LvTensor norm(Trace *t, LvTensor x, LvTensor w, int act)
{
    float eps  = 1e-24f / (float)x.dim[3];
    LvTensor y = lv_norm(t->g, as_rows(x), w, LV_NO_TENSOR, LV_NO_TENSOR, LV_NORM_RMS, 0,
                         0, eps, t->dtype);

    if (act)
        y = lv_act(t->g, y, LV_ACT_SILU, t->dtype);
    return as_frames(y, x);
}

static LvTensor matmul(Trace *t, LvTensor x, LvTensor w, LvTensor b, LvDtype dtype)
{
    return as_frames(lv_linear(t->g, as_rows(x), w, b, LV_ACT_NONE, dtype), x);
}

/* State of n frames like x; described: of the other program only. */
static LvTensor state_of(Trace *t, LvTensor x, int n, int described)
{
    const int dim[] = { n, x.dim[1], x.dim[2], x.dim[3] };
    LvTensor *s = &t->state->t[t->state->nb++];

    if (described) {
        *s       = lv_reshape(x, 4, dim);
        s->id    = LV_ID_NONE;
        s->dtype = (uint8_t)t->dtype;
    } else {
        *s = lv_external(t->g, "frames before", t->dtype, 4, dim);
    }
    return *s;
}

static LvTensor causal(Trace *t, LvTensor x, LvTensor w, LvTensor b, LvTensor r,
                       LvDtype dtype)
{
    return lv_conv3(t->g, x, w, b, r, state_of(t, x, 2, 0), 1, w.dim[3] / 2, LV_ACT_NONE,
                    dtype);
}

static LvTensor residual(Trace *t, const LvWanLayer *l, LvTensor x)
{
    LvTensor y = norm(t, x, l->norm[0], 1), r = x;

    y = causal(t, y, l->w[0], l->b[0], LV_NO_TENSOR, t->dtype);
    if (l->in != l->out)
        r = matmul(t, x, l->side_w, l->side_b, t->dtype);
    return causal(t, norm(t, y, l->norm[1], 1), l->w[1], l->b[1], r, t->dtype);
}

static LvTensor attention(Trace *t, const LvWanLayer *l, LvTensor x)
{
    LvTensor y = as_rows(norm(t, x, l->norm[0], 0)), part[3];

    for (int i = 0; i < 3; i++)
        part[i] = lv_linear(t->g, y, l->part_w[i], l->part_b[i], LV_ACT_NONE, t->dtype);
    lv_graph_batch(t->g, x.dim[0]);
    y = lv_attn(t->g, part[0], part[1], part[2], LV_NO_TENSOR, LV_NO_TENSOR, 1, 0,
                1 / sqrtf((float)l->in));
    lv_graph_batch(t->g, 1);
    y = lv_linear(t->g, y, l->w[1], l->b[1], LV_ACT_NONE, t->dtype);
    return as_frames(lv_gate(t->g, as_rows(x), y, LV_NO_TENSOR, 0), x);
}

static LvTensor up(Trace *t, const LvWanLayer *l, LvTensor x)
{
    if (l->kind == LV_WAN_UP3) {
        if (t->first)
            state_of(t, x, 2, 1);
        else
            x = lv_unstack(t->g, causal(t, x, l->side_w, l->side_b, LV_NO_TENSOR,
                                        t->dtype), 2);
    }
    return lv_conv(t->g, lv_upsample(t->g, x), l->w[0], l->b[0], LV_NO_TENSOR, 1, 1,
                   LV_ACT_NONE, t->dtype);
}

static LvTensor down(Trace *t, const LvWanLayer *l, LvTensor x)
{
    LvTensor y = lv_conv(t->g, x, l->w[0], l->b[0], LV_NO_TENSOR, 2, 1, LV_ACT_NONE,
                         t->dtype), state;

    if (l->kind != LV_WAN_DOWN3)
        return y;
    state = state_of(t, y, 1, 0);
    if (!t->first)
        return lv_conv3(t->g, y, l->side_w, l->side_b, LV_NO_TENSOR, state, 2, 0,
                        LV_ACT_NONE, t->dtype);
    /* The first frame passes, and is remembered. */
    lv_recall(t->g, y, state);
    return y;
}

static LvTensor layer(Trace *t, const LvWanLayer *l, LvTensor x)
{
    switch (l->kind) {
    case LV_WAN_CONV:
        return causal(t, x, l->w[0], l->b[0], LV_NO_TENSOR, t->dtype);
    case LV_WAN_HEAD:
        return causal(t, norm(t, x, l->norm[0], 1), l->w[0], l->b[0], LV_NO_TENSOR, LV_F32);
    case LV_WAN_RES:  return residual(t, l, x);
    case LV_WAN_ATTN: return attention(t, l, x);
    case LV_WAN_UP2:
    case LV_WAN_UP3:  return up(t, l, x);
    default:          return down(t, l, x);
    }
}

/* y and what went in before the layers of a level, brought to its shape. */
static LvTensor shortcut(Trace *t, const LvWanLayer *l, LvTensor in, LvTensor y)
{
    switch (l->kind) {
    case LV_WAN_DOWN2: return lv_avg_down(t->g, in, y, 1, 2);
    case LV_WAN_DOWN3: return lv_avg_down(t->g, in, y, 2, 2);
    case LV_WAN_UP2:   return lv_dup_up(t->g, in, y, 1, 2);
    case LV_WAN_UP3:   return lv_dup_up(t->g, in, y, 2, 2);
    default:
        return as_frames(lv_gate(t->g, as_rows(y), as_rows(in), LV_NO_TENSOR, 0), y);
    }
}

static LvTensor half(Trace *t, const LvWanHalf *h, LvTensor x)
{
    LvTensor in[LV_WAN_LAYERS];

    t->state->nb = 0;
    lv_graph_batch(t->g, 1);
    for (int i = 0; i < h->layers; i++) {
        const LvWanLayer *l = &h->layer[i];
        lv_graph_layer(t->g, i + 1);
        in[i] = x;
        x = layer(t, l, x);
        if (l->span)
            x = shortcut(t, l, in[i + 1 - l->span], x);
        t->state->out[i] = x;
    }
    lv_graph_layer(t->g, 0);
    return x;
}

LvTensor lv_wan_vae_trace_decoder(LvGraph *g, const LvWanVae *m, LvTensor z, int first,
                                  LvDtype dtype, LvWanState *state)
{
    Trace t = { g, state, dtype, first };

    z = matmul(&t, z, m->decoder.w, m->decoder.b, dtype);
    z = half(&t, &m->decoder, z);
    return m->cfg.patch > 1 ? lv_shuffle(g, z, m->cfg.patch, 1, LV_F32) : z;
}

LvTensor lv_wan_vae_trace_encoder(LvGraph *g, const LvWanVae *m, LvTensor x, int first,
                                  LvDtype dtype, LvWanState *state)
{
    Trace t = { g, state, dtype, first };

    if (m->cfg.patch > 1)
        x = lv_unshuffle(g, x, m->cfg.patch, 1, dtype);
    else if (dtype != LV_F32)
        x = lv_act(g, x, LV_ACT_NONE, dtype);
    x = half(&t, &m->encoder, x);
    return matmul(&t, x, m->encoder.w, m->encoder.b, LV_F32);
}
