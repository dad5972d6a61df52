/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/dit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIM, DIM6, FFN, CHANNELS, OUT, PT, PH, PW, TEXT, FREQ, HEADS, HEAD_DIM, MAP, CLIP,
       CLIP_ROWS, NB_SYMBOLS };

/* Of the norms around CLIP's features, as PyTorch's layer norm has it. */
#define CLIP_EPS 1e-5f

#define MODEL(member) offsetof(LvDit, member)
#define BLOCK(member) offsetof(LvDitBlock, member)
#define MATRIX (LV_W_MATRIX | LV_W_DECAY)
#define D LV_DIM(DIM)

/* Names are those of the reference, then those of diffusers, whose norms are numbered in
 * the order of running. */
#define ROW(name, hf, at, flags, ...) { name, at, { __VA_ARGS__ }, flags, { hf, NULL } }

/* A matmul: struct (MODEL or BLOCK), member, outputs, inputs. Those outside the blocks
 * get f32. */
#define EXACT_MODEL LV_W_EXACT
#define EXACT_BLOCK 0
#define AFFINE(name, hf, of, member, n, k)                                        \
    ROW(name ".weight", hf ".weight", of(member.w), MATRIX | EXACT_##of, n, k),   \
    ROW(name ".bias", hf ".bias", of(member.b), 0, n)

static const LvWeightRow model_rows[] = {
    ROW("patch_embedding.weight", NULL, MODEL(patch.w),
        MATRIX | LV_W_FLAT | LV_W_EXACT,
        D, LV_DIM(CHANNELS), LV_DIM(PT), LV_DIM(PH), LV_DIM(PW)),
    ROW("patch_embedding.bias", NULL, MODEL(patch.b), 0, D),
    AFFINE("text_embedding.0", "condition_embedder.text_embedder.linear_1",
           MODEL, text0, D, LV_DIM(TEXT)),
    AFFINE("text_embedding.2", "condition_embedder.text_embedder.linear_2",
           MODEL, text2, D, D),
    AFFINE("time_embedding.0", "condition_embedder.time_embedder.linear_1",
           MODEL, time0, D, LV_DIM(FREQ)),
    AFFINE("time_embedding.2", "condition_embedder.time_embedder.linear_2",
           MODEL, time2, D, D),
    AFFINE("time_projection.1", "condition_embedder.time_proj",
           MODEL, proj, LV_DIM(DIM6), D),
    ROW("head.modulation", "scale_shift_table", MODEL(head_mod), LV_W_INNER, 1, 2, D),
    AFFINE("head.head", "proj_out", MODEL, head, LV_DIM(OUT), D),
};

#define ATTN_ROWS(name, hf, member)                                               \
    AFFINE("blocks.%d." name ".q", "blocks.%d." hf ".to_q", BLOCK, member.q, D, D), \
    AFFINE("blocks.%d." name ".k", "blocks.%d." hf ".to_k", BLOCK, member.k, D, D), \
    AFFINE("blocks.%d." name ".v", "blocks.%d." hf ".to_v", BLOCK, member.v, D, D), \
    AFFINE("blocks.%d." name ".o", "blocks.%d." hf ".to_out.0", BLOCK, member.o, D, \
           D),                                                                    \
    ROW("blocks.%d." name ".norm_q.weight", "blocks.%d." hf ".norm_q.weight",     \
        BLOCK(member.norm_q), 0, D),                                              \
    ROW("blocks.%d." name ".norm_k.weight", "blocks.%d." hf ".norm_k.weight",     \
        BLOCK(member.norm_k), 0, D)

static const LvWeightRow block_rows[] = {
    ROW("blocks.%d.modulation", "blocks.%d.scale_shift_table", BLOCK(mod), LV_W_INNER,
        1, 6, D),
    ATTN_ROWS("self_attn", "attn1", self),
    ATTN_ROWS("cross_attn", "attn2", cross),
    ROW("blocks.%d.norm3.weight", "blocks.%d.norm2.weight", BLOCK(norm3.w), 0, D),
    ROW("blocks.%d.norm3.bias", "blocks.%d.norm2.bias", BLOCK(norm3.b), 0, D),
    AFFINE("blocks.%d.ffn.0", "blocks.%d.ffn.net.0.proj", BLOCK, ffn0, LV_DIM(FFN), D),
    AFFINE("blocks.%d.ffn.2", "blocks.%d.ffn.net.2", BLOCK, ffn2, D, LV_DIM(FFN)),
};

/* Of networks that attend to CLIP's features. */
#define CLIP_NAME(name) "condition_embedder.image_embedder." name

static const LvWeightRow clip_rows[] = {
    ROW("img_emb.proj.0.weight", CLIP_NAME("norm1.weight"), MODEL(clip.norm_in.w), 0,
        LV_DIM(CLIP)),
    ROW("img_emb.proj.0.bias", CLIP_NAME("norm1.bias"), MODEL(clip.norm_in.b), 0,
        LV_DIM(CLIP)),
    AFFINE("img_emb.proj.1", CLIP_NAME("ff.net.0.proj"), MODEL, clip.mlp0, LV_DIM(CLIP),
           LV_DIM(CLIP)),
    AFFINE("img_emb.proj.3", CLIP_NAME("ff.net.2"), MODEL, clip.mlp2, D, LV_DIM(CLIP)),
    ROW("img_emb.proj.4.weight", CLIP_NAME("norm2.weight"), MODEL(clip.norm_out.w), 0, D),
    ROW("img_emb.proj.4.bias", CLIP_NAME("norm2.bias"), MODEL(clip.norm_out.b), 0, D),
};

static const LvWeightRow pair_rows[] = {
    ROW("img_emb.emb_pos", CLIP_NAME("pos_embed"), MODEL(clip.pos), LV_W_INNER, 1,
        LV_DIM(CLIP_ROWS), LV_DIM(CLIP)),
};

static const LvWeightRow clip_block_rows[] = {
    AFFINE("blocks.%d.cross_attn.k_img", "blocks.%d.attn2.add_k_proj", BLOCK, k_img, D, D),
    AFFINE("blocks.%d.cross_attn.v_img", "blocks.%d.attn2.add_v_proj", BLOCK, v_img, D, D),
    ROW("blocks.%d.cross_attn.norm_k_img.weight", "blocks.%d.attn2.norm_added_k.weight",
        BLOCK(norm_k_img), 0, D),
};

#define MAP_ROW(name, member)                                                     \
    ROW("blocks.%d.self_attn." name ".weight", NULL, BLOCK(member),               \
        LV_W_MATRIX | LV_W_MAP, LV_DIM(HEADS), LV_DIM(HEAD_DIM), LV_DIM(MAP))

static const LvWeightRow linear_rows[] = {
    MAP_ROW("map_q", map_q),
    MAP_ROW("map_k", map_k),
};

static const LvWeightRow mixed_rows[] = {
    ROW("blocks.%d.self_attn.mix", NULL, BLOCK(mix), LV_W_GATE, 1),
};

typedef struct Table {
    const LvWeightRow *rows;
    int nb;
} Table;

enum { MAX_TABLES = 4 };
#define TABLE(rows) ((Table) { rows, LV_COUNT(rows) })

/* Weights outside of blocks. */
static int model_tables(Table table[MAX_TABLES], const LvDitConfig *c)
{
    int nb = 0;

    table[nb++] = TABLE(model_rows);
    if (c->clip_dim)
        table[nb++] = TABLE(clip_rows);
    if (c->clip_images > 1)
        table[nb++] = TABLE(pair_rows);
    return nb;
}

static int block_tables(Table table[MAX_TABLES], const LvDitConfig *c, int i)
{
    int kind = c->attention[i], nb = 0;

    table[nb++] = TABLE(block_rows);
    if (c->clip_dim)
        table[nb++] = TABLE(clip_block_rows);
    if (kind != LV_ATTN_SOFTMAX)
        table[nb++] = TABLE(linear_rows);
    if (kind == LV_ATTN_MIXED)
        table[nb++] = TABLE(mixed_rows);
    return nb;
}

static int bind_block(LvDit *m, LvWeights *w, const char *prefix, int i,
                      const int *symbols)
{
    LvDitBlock *b = &m->block[i];
    Table table[MAX_TABLES];
    int nb = block_tables(table, &m->cfg, i), ret = 0;

    b->map_q = b->map_k = b->mix = LV_NO_TENSOR;
    for (int k = 0; k < nb && ret >= 0; k++)
        ret = lv_weights_bind(w, table[k].rows, table[k].nb, prefix, i, symbols, b);
    return ret;
}

static int bind_model(LvDit *m, LvWeights *w, const char *prefix, const int *symbols)
{
    Table table[MAX_TABLES];
    int nb = model_tables(table, &m->cfg), ret = 0;

    for (int k = 0; k < nb && ret >= 0; k++)
        ret = lv_weights_bind(w, table[k].rows, table[k].nb, prefix, 0, symbols, m);
    return ret;
}

int lv_dit_bind(LvDit *m, const LvDitConfig *cfg, LvWeights *w, const char *prefix)
{
    const int *p = cfg->patch;
    const int symbols[NB_SYMBOLS] = {
        [DIM] = cfg->dim, [DIM6] = 6 * cfg->dim, [FFN] = cfg->ffn_dim,
        [CHANNELS] = cfg->channels + cfg->cond_channels,
        [OUT] = cfg->channels * p[0] * p[1] * p[2],
        [PT] = p[0], [PH] = p[1], [PW] = p[2], [TEXT] = cfg->text_dim,
        [FREQ] = cfg->freq_dim, [HEADS] = cfg->heads,
        [HEAD_DIM] = cfg->dim / cfg->heads, [MAP] = cfg->map_dim,
        [CLIP] = cfg->clip_dim, [CLIP_ROWS] = lv_dit_clip_rows(cfg),
    };
    int ret;

    m->cfg   = *cfg;
    m->block = calloc((size_t)cfg->layers, sizeof(*m->block));
    if (!m->block)
        return lv_fail(lv_weights_msg(w), LV_ERR(ENOMEM), "dit: out of memory");
    ret = bind_model(m, w, prefix, symbols);
    for (int i = 0; i < cfg->layers && ret >= 0; i++)
        ret = bind_block(m, w, prefix, i, symbols);
    return ret;
}

void lv_dit_free(LvDit *m)
{
    free(m->block);
    m->block = NULL;
}

typedef int (*See)(void *opaque, const char *name, const LvTensor *t);

static int each_row(Table table, int index, const void *bound, See see, void *opaque)
{
    char name[LV_PARAM_NAME];
    int ret = 0;

    for (int i = 0; i < table.nb && ret >= 0; i++) {
        const LvWeightRow *r = &table.rows[i];
        lv_row_name(name, "", r, LV_LAYOUT_ORIGINAL, index);
        ret = see(opaque, name, (const void *)((const char *)bound + r->offset));
    }
    return ret;
}

int lv_dit_each(const LvDit *m, See see, void *opaque)
{
    Table table[MAX_TABLES];
    int nb = model_tables(table, &m->cfg), ret = 0;

    for (int k = 0; k < nb && ret >= 0; k++)
        ret = each_row(table[k], 0, m, see, opaque);
    for (int i = 0; i < m->cfg.layers && ret >= 0; i++) {
        nb = block_tables(table, &m->cfg, i);
        for (int k = 0; k < nb && ret >= 0; k++)
            ret = each_row(table[k], i, &m->block[i], see, opaque);
    }
    return ret;
}

/* Trace. What products, norms and attention make is of dtype; what adds up is f32. */

static LvTensor affine(LvGraph *g, LvTensor x, LvAffine p, LvDtype dtype)
{
    return lv_linear(g, x, p.w, p.b, LV_ACT_NONE, dtype);
}

/* Shifts, scales and gates are those of a time: of a sample, or of a latent frame. */
static void group_by_time(LvGraph *g, const LvDitInputs *in)
{
    lv_graph_batch(g, in->t.dim[0]);
}

/* Tokens of a sample attend to each other. */
static void group_by_sample(LvGraph *g, const LvDitInputs *in)
{
    lv_graph_batch(g, in->latent.rank == 5 ? in->latent.dim[0] : 1);
}

static LvTensor layer_norm(LvGraph *g, const LvDit *m, LvTensor x, LvTensor mod,
                           int shift, int scale, LvDtype dtype)
{
    return lv_norm(g, x, LV_NO_TENSOR, LV_NO_TENSOR, mod, LV_NORM_LAYER, shift, scale,
                   m->cfg.eps, dtype);
}

static LvTensor qk(LvGraph *g, const LvDit *m, LvTensor x, LvAffine p, LvTensor norm,
                   LvTensor rope, LvDtype dtype)
{
    x = affine(g, x, p, dtype);
    return lv_qknorm(g, x, norm, rope, m->cfg.heads, m->cfg.eps, dtype);
}

/* mask: of keys; absent: none is masked */
static LvTensor masked(LvGraph *g, const LvDit *m, LvTensor q, LvTensor k, LvTensor v,
                       LvTensor mask)
{
    float scale = 1 / sqrtf((float)(m->cfg.dim / m->cfg.heads));

    return lv_attn(g, q, k, v, mask, LV_NO_TENSOR, m->cfg.heads, 0, scale);
}

static LvTensor softmax(LvGraph *g, const LvDit *m, LvTensor q, LvTensor k, LvTensor v)
{
    return masked(g, m, q, k, v, LV_NO_TENSOR);
}

static LvTensor linear(LvGraph *g, const LvDit *m, const LvDitBlock *b, LvTensor q,
                       LvTensor k, LvTensor v)
{
    return lv_linattn(g, q, k, v, b->map_q, b->map_k, m->cfg.heads, m->cfg.map,
                      m->cfg.map_eps);
}

/* The same of a block and all before it. */
static LvTensor linear_run(LvGraph *g, const LvDit *m, int layer, LvTensor q, LvTensor k,
                           LvTensor v, LvDitInputs *in)
{
    const LvDitBlock *b = &m->block[layer];
    LvTensor o = lv_linattn_run(g, &(LvLinattnRunArgs) {
        .q = q, .k = k, .v = v, .wq = b->map_q, .wk = b->map_k, .past = in->past[layer],
        .share = in->share, .heads = m->cfg.heads, .map = (int)m->cfg.map,
        .eps = m->cfg.map_eps }, &in->state[layer]);

    lv_output(g, in->state[layer], "state");
    return o;
}

/* Of a block to the window. Keys are turned when they are read: where they are in the window
 * changes. */
static LvTensor softmax_run(LvGraph *g, const LvDit *m, int layer, LvTensor q, LvTensor k,
                            LvTensor v, LvDitInputs *in, LvDtype dtype)
{
    lv_output(g, in->own_keys[layer] = k, "block's keys");
    lv_output(g, in->own_values[layer] = v, "block's values");
    k = lv_qknorm(g, in->keys[layer], m->block[layer].self.norm_k, in->rope_keys, m->cfg.heads,
                  m->cfg.eps, dtype);
    return masked(g, m, q, k, in->values[layer], in->mask);
}

/* What both branches of self-attention make; those that a layer has none of are absent. */
typedef struct Branches {
    LvTensor softmax, linear;
} Branches;

static Branches attend(LvGraph *g, const LvDit *m, int layer, LvTensor y, LvDitInputs *in,
                       LvDtype dtype)
{
    const LvDitBlock *b = &m->block[layer];
    LvTensor q = qk(g, m, y, b->self.q, b->self.norm_q, in->rope, dtype);
    LvTensor k = qk(g, m, y, b->self.k, b->self.norm_k, in->rope, dtype);
    LvTensor v = affine(g, y, b->self.v, dtype);
    int kind   = m->cfg.attention[layer];

    return (Branches) {
        kind == LV_ATTN_LINEAR ? LV_NO_TENSOR : softmax(g, m, q, k, v),
        kind == LV_ATTN_SOFTMAX ? LV_NO_TENSOR : linear(g, m, b, q, k, v),
    };
}

/* The same of a block. */
static Branches attend_run(LvGraph *g, const LvDit *m, int layer, LvTensor y, LvDitInputs *in,
                           LvDtype dtype)
{
    const LvDitBlock *b = &m->block[layer];
    LvTensor q = qk(g, m, y, b->self.q, b->self.norm_q, in->rope, dtype);
    LvTensor k = affine(g, y, b->self.k, dtype), v = affine(g, y, b->self.v, dtype);
    int kind   = m->cfg.attention[layer];
    Branches o = { LV_NO_TENSOR, LV_NO_TENSOR };

    if (kind != LV_ATTN_LINEAR)
        o.softmax = softmax_run(g, m, layer, q, k, v, in, dtype);
    if (kind != LV_ATTN_SOFTMAX)
        o.linear = linear_run(g, m, layer, q, lv_qknorm(g, k, b->self.norm_k, in->rope,
                                                        m->cfg.heads, m->cfg.eps, dtype), v, in);
    return o;
}

static LvTensor self_attn(LvGraph *g, const LvDit *m, int layer, LvTensor y,
                          LvDitInputs *in, LvDtype dtype, LvDitWatch *watch)
{
    const LvDitBlock *b = &m->block[layer];
    Branches both = m->causal.block ? attend_run(g, m, layer, y, in, dtype)
                                    : attend(g, m, layer, y, in, dtype);
    LvTensor o = both.softmax, l = both.linear;
    int kind   = m->cfg.attention[layer];

    if (watch) {
        watch->softmax = o;
        watch->linear  = l;
    }
    if (kind == LV_ATTN_MIXED && !m->apart)
        o = lv_mix(g, o, l, b->mix);
    return affine(g, kind == LV_ATTN_LINEAR ? l : o, b->self.o, dtype);
}

/* To the text, and away from the negative prompt. */
static LvTensor text_attn(LvGraph *g, const LvDit *m, int layer, LvTensor q,
                          const LvDitInputs *in)
{
    const LvNag *nag = &m->nag;
    LvTensor o = softmax(g, m, q, in->k[layer], in->v[layer]);

    if (!(nag->scale > 0))
        return o;
    return lv_nag(g, o, softmax(g, m, q, in->k_neg[layer], in->v_neg[layer]), nag->scale,
                  nag->tau, nag->alpha);
}

/* To the text, and apart from that to the pictures. */
static LvTensor cross_attn(LvGraph *g, const LvDit *m, int layer, LvTensor y,
                           const LvDitInputs *in, LvDtype dtype)
{
    const LvDitAttn *a = &m->block[layer].cross;
    LvTensor q = qk(g, m, y, a->q, a->norm_q, LV_NO_TENSOR, dtype);
    LvTensor o = text_attn(g, m, layer, q, in);

    if (m->cfg.clip_dim)
        o = lv_add(g, o, softmax(g, m, q, in->k_img[layer], in->v_img[layer]));
    return affine(g, o, a->o, dtype);
}

static LvTensor ffn(LvGraph *g, const LvDitBlock *b, LvTensor y, LvDtype dtype)
{
    y = lv_linear(g, y, b->ffn0.w, b->ffn0.b, LV_ACT_GELU, dtype);
    return affine(g, y, b->ffn2, dtype);
}

enum { SHIFT_SA, SCALE_SA, GATE_SA, SHIFT_FF, SCALE_FF, GATE_FF };

static LvTensor block(LvGraph *g, const LvDit *m, int i, LvTensor x, LvTensor mod,
                      LvDitInputs *in, LvDtype dtype, LvDitWatch *watch)
{
    const LvDitBlock *b = &m->block[i];
    LvTensor y, sa, ca;

    group_by_time(g, in);
    y  = layer_norm(g, m, x, mod, SHIFT_SA, SCALE_SA, dtype);
    group_by_sample(g, in);
    sa = self_attn(g, m, i, y, in, dtype, watch);
    group_by_time(g, in);
    x  = lv_gate(g, x, sa, mod, GATE_SA);
    y  = lv_norm(g, x, b->norm3.w, b->norm3.b, LV_NO_TENSOR, LV_NORM_LAYER, 0, 0,
                 m->cfg.eps, dtype);
    group_by_sample(g, in);
    ca = cross_attn(g, m, i, y, in, dtype);
    group_by_time(g, in);
    x  = lv_gate(g, x, ca, LV_NO_TENSOR, 0);
    y  = layer_norm(g, m, x, mod, SHIFT_FF, SCALE_FF, dtype);
    y  = ffn(g, b, y, dtype);
    x  = lv_gate(g, x, y, mod, GATE_FF);
    if (watch) {
        watch->self_attn  = sa;
        watch->cross_attn = ca;
        watch->out        = x;
    }
    return x;
}

/* k and v of a layer, from what the text embedding made of the features. */
static void text_kv(LvGraph *g, const LvDit *m, int layer, LvTensor x, LvDtype dtype,
                    LvDitInputs *in)
{
    const LvDitAttn *a = &m->block[layer].cross;

    in->k[layer] = qk(g, m, x, a->k, a->norm_k, LV_NO_TENSOR, dtype);
    in->v[layer] = affine(g, x, a->v, dtype);
}

static LvTensor embed_text(LvGraph *g, const LvDit *m, LvTensor context, LvDtype dtype)
{
    LvTensor x = lv_linear(g, context, m->text0.w, m->text0.b, LV_ACT_GELU, LV_F32);

    return affine(g, x, m->text2, dtype);
}

int lv_dit_clip_rows(const LvDitConfig *cfg)
{
    return cfg->clip_images * LV_CLIP_ROWS;
}

/* The same of what was made of CLIP's features. */
static void image_kv(LvGraph *g, const LvDit *m, int layer, LvTensor x, LvDtype dtype,
                     LvDitInputs *in)
{
    const LvDitBlock *b = &m->block[layer];

    in->k_img[layer] = qk(g, m, x, b->k_img, b->norm_k_img, LV_NO_TENSOR, dtype);
    in->v_img[layer] = affine(g, x, b->v_img, dtype);
}

static LvTensor clip_norm(LvGraph *g, LvTensor x, LvAffine p, LvDtype dtype)
{
    return lv_norm(g, x, p.w, p.b, LV_NO_TENSOR, LV_NORM_LAYER, 0, 0, CLIP_EPS, dtype);
}

static LvTensor embed_image(LvGraph *g, const LvDit *m, LvTensor clip, LvDtype dtype)
{
    const LvDitClip *c = &m->clip;
    LvTensor x = m->cfg.clip_images > 1 ? lv_add(g, clip, c->pos) : clip;

    x = clip_norm(g, x, c->norm_in, LV_F32);
    x = lv_linear(g, x, c->mlp0.w, c->mlp0.b, LV_ACT_GELU_ERF, LV_F32);
    x = affine(g, x, c->mlp2, LV_F32);
    return clip_norm(g, x, c->norm_out, dtype);
}

void lv_dit_trace_image(LvGraph *g, const LvDit *m, LvTensor clip, LvDtype dtype,
                        LvDitInputs *in)
{
    LvTensor x = embed_image(g, m, clip, dtype);

    for (int i = 0; i < m->cfg.layers; i++) {
        lv_graph_layer(g, i + 1);
        image_kv(g, m, i, x, dtype, in);
        lv_output(g, in->k_img[i], "image k");
        lv_output(g, in->v_img[i], "image v");
    }
    lv_graph_layer(g, 0);
}

void lv_dit_trace_text(LvGraph *g, const LvDit *m, LvTensor context, LvDtype dtype,
                       LvDitInputs *in)
{
    LvTensor x = embed_text(g, m, context, dtype);

    for (int i = 0; i < m->cfg.layers; i++) {
        lv_graph_layer(g, i + 1);
        text_kv(g, m, i, x, dtype, in);
        lv_output(g, in->k[i], "text k");
        lv_output(g, in->v[i], "text v");
    }
    lv_graph_layer(g, 0);
}

void lv_dit_batch_inputs(LvGraph *g, const LvDit *m, const int size[3], int batch,
                         LvDitInputs *in)
{
    const LvDitConfig *c = &m->cfg;
    const int latent[] = { batch, c->channels + c->cond_channels, size[0], size[1], size[2] };
    const int rope[] = { lv_dit_tokens(c, size), c->dim / c->heads / 2, 2 };
    const int times  = batch * (m->frame_times ? size[0] / c->patch[0] : 1);

    *in        = (LvDitInputs) { 0 };
    in->latent = lv_external(g, "latent", LV_F32, 5, latent);
    in->t      = lv_external(g, "t", LV_F32, 1, &times);
    in->rope   = lv_external(g, "rope", LV_F32, 3, rope);
    in->mask   = LV_NO_TENSOR;
}

/* Tokens of the window. */
static int window_tokens(const LvDit *m, const int size[3])
{
    const int window[3] = { m->causal.window, size[1], size[2] };

    return lv_dit_tokens(&m->cfg, window);
}

size_t lv_dit_state(const LvDitConfig *c)
{
    return (size_t)c->heads * (size_t)lv_map_features((int)c->map, c->map_dim) *
           (size_t)(c->dim / c->heads + 1);
}

/* What a block takes in of those before it. */
static void causal_inputs(LvGraph *g, const LvDit *m, const int size[3], LvDtype dtype,
                          LvDitInputs *in)
{
    const LvDitConfig *c = &m->cfg;
    const int tokens = window_tokens(m, size), head = c->dim / c->heads, one = 1;
    const int keys[] = { tokens, c->dim }, rope[] = { tokens, head / 2, 2 };
    const int state[] = { c->heads, lv_map_features((int)c->map, c->map_dim), head + 1 };

    in->rope_keys = lv_external(g, "rope of keys", LV_F32, 3, rope);
    in->share     = lv_external(g, "share", LV_F32, 1, &one);
    if (m->filling)
        in->mask = lv_external(g, "mask", LV_F32, 1, &tokens);
    for (int i = 0; i < c->layers; i++) {
        if (c->attention[i] != LV_ATTN_LINEAR) {
            in->keys[i]   = lv_external(g, "keys", dtype, 2, keys);
            in->values[i] = lv_external(g, "values", dtype, 2, keys);
        }
        if (c->attention[i] != LV_ATTN_SOFTMAX)
            in->past[i] = lv_external(g, "past", LV_F32, 3, state);
    }
}

void lv_dit_inputs(LvGraph *g, const LvDit *m, const int size[3], LvDtype dtype,
                   LvDitInputs *in)
{
    const LvDitConfig *c = &m->cfg;
    const int text[] = { c->text_len, c->dim }, image[] = { lv_dit_clip_rows(c), c->dim };

    lv_dit_batch_inputs(g, m, size, 1, in);
    in->latent = lv_reshape(in->latent, 4, in->latent.dim + 1);
    for (int i = 0; i < c->layers; i++) {
        in->k[i] = lv_external(g, "text k", dtype, 2, text);
        in->v[i] = lv_external(g, "text v", dtype, 2, text);
    }
    for (int i = 0; i < c->layers && m->nag.scale > 0; i++) {
        in->k_neg[i] = lv_external(g, "negative k", dtype, 2, text);
        in->v_neg[i] = lv_external(g, "negative v", dtype, 2, text);
    }
    for (int i = 0; i < c->layers && c->clip_dim; i++) {
        in->k_img[i] = lv_external(g, "image k", dtype, 2, image);
        in->v_img[i] = lv_external(g, "image v", dtype, 2, image);
    }
    if (m->causal.block)
        causal_inputs(g, m, size, dtype, in);
}

LvTensor lv_dit_trace_batch(LvGraph *g, const LvDit *m, LvTensor context, LvTensor clip,
                            LvDitInputs *in, LvDtype dtype, LvDitWatch *watch)
{
    in->text = embed_text(g, m, context, dtype);
    if (m->cfg.clip_dim)
        in->image = embed_image(g, m, clip, dtype);
    return lv_dit_trace(g, m, in, dtype, watch);
}

/* Shifts, scales and gates of all blocks, and behind them those of the head. They are made
 * first, so that nothing stands between a gate and the norm behind it. */
static void modulations(LvGraph *g, const LvDit *m, LvTensor t, LvTensor *mod)
{
    const LvDitConfig *c = &m->cfg;
    LvTensor e = lv_sinusoid(g, t, c->freq_dim), time;

    e    = lv_linear(g, e, m->time0.w, m->time0.b, LV_ACT_SILU, LV_F32);
    e    = affine(g, e, m->time2, LV_F32);
    time = lv_act(g, e, LV_ACT_SILU, LV_F32);
    time = affine(g, time, m->proj, LV_F32);
    time = lv_reshape(time, 2, (const int[]) { 6 * t.dim[0], c->dim });
    for (int i = 0; i < c->layers; i++)
        mod[i] = lv_add(g, time, m->block[i].mod);
    mod[c->layers] = lv_add(g, lv_expand(g, e, 2), m->head_mod);
}

/* The latents that a velocity is of. */
static LvTensor without_condition(const LvDit *m, LvTensor latent)
{
    latent.dim[latent.rank - 4] = m->cfg.channels;
    return latent;
}

LvTensor lv_dit_trace(LvGraph *g, const LvDit *m, LvDitInputs *in, LvDtype dtype,
                      LvDitWatch *watch)
{
    const LvDitConfig *c = &m->cfg;
    LvTensor x, mod[LV_MAX_LAYERS + 1];

    group_by_sample(g, in);
    modulations(g, m, in->t, mod);
    x = lv_patchify(g, in->latent, c->patch, LV_F32);
    x = affine(g, x, m->patch, LV_F32);
    for (int i = 0; i < c->layers; i++) {
        lv_graph_layer(g, i + 1);
        lv_graph_checkpoint(g);
        if (in->text.rank)
            text_kv(g, m, i, in->text, dtype, in);
        if (in->image.rank)
            image_kv(g, m, i, in->image, dtype, in);
        lv_graph_matmul(g, m->matmul);
        x = block(g, m, i, x, mod[i], in, dtype, watch ? &watch[i] : NULL);
        lv_graph_matmul(g, LV_MATMUL_FLOAT);
    }
    lv_graph_layer(g, 0);
    group_by_time(g, in);
    x = layer_norm(g, m, x, mod[c->layers], 0, 1, LV_F32);
    group_by_sample(g, in);
    x = affine(g, x, m->head, LV_F32);
    return lv_unpatchify(g, x, c->patch, without_condition(m, in->latent));
}

int lv_dit_tokens(const LvDitConfig *cfg, const int size[3])
{
    return size[0] / cfg->patch[0] * (size[1] / cfg->patch[1]) *
           (size[2] / cfg->patch[2]);
}

/* Token (f, i, j) of all, and where its table begins. */
typedef struct RopePlace {
    float *table;
    const int *n; /* tokens along the axes */
    int pairs;
} RopePlace;

/* What the pairs from number `first` on turn by at each position of an axis: made where the other
 * axes are at 0, and copied to all others. */
static void fill_axis(const RopePlace *r, int axis, int first, int pairs)
{
    const int step = axis == 0 ? r->n[1] * r->n[2] : axis == 1 ? r->n[2] : 1;

    for (int position = 0; position < r->n[axis]; position++)
        for (int p = 0; p < pairs; p++) {
            double angle = position * pow(10000, -(double)p / pairs);
            float *out   = r->table + 2 * ((size_t)position * (size_t)step * (size_t)r->pairs +
                                           (size_t)(first + p));
            out[0] = (float)cos(angle);
            out[1] = (float)sin(angle);
        }
}

static void copy_axes(const RopePlace *r, const int at[3], int third)
{
    const int token[3] = { at[0] * r->n[1] * r->n[2], at[1] * r->n[2], at[2] };
    const int first[3] = { 0, r->pairs - 2 * third, r->pairs - third };
    float *out = r->table + 2 * (size_t)(token[0] + token[1] + token[2]) * (size_t)r->pairs;

    for (int a = 0; a < 3; a++) {
        const float *from = r->table + 2 * (size_t)token[a] * (size_t)r->pairs;
        int end = a < 2 ? first[a + 1] : r->pairs;

        if (out != from)
            memcpy(out + 2 * first[a], from + 2 * first[a],
                   sizeof(*out) * 2 * (size_t)(end - first[a]));
    }
}

void lv_dit_rope(float *table, const LvDitConfig *cfg, const int size[3])
{
    const int n[3] = { size[0] / cfg->patch[0], size[1] / cfg->patch[1], size[2] / cfg->patch[2] };
    const RopePlace r = { table, n, cfg->dim / cfg->heads / 2 };
    int third = r.pairs / 3;

    fill_axis(&r, 0, 0, r.pairs - 2 * third);
    fill_axis(&r, 1, r.pairs - 2 * third, third);
    fill_axis(&r, 2, r.pairs - third, third);
    for (int f = 0; f < n[0]; f++)
        for (int i = 0; i < n[1]; i++)
            for (int j = 0; j < n[2]; j++)
                copy_axes(&r, (const int[]) { f, i, j }, third);
}
