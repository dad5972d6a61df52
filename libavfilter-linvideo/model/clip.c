/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/clip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

enum { DIM, DIM3, FFN, NB_SYMBOLS };

static const float eps = 1e-5f;

#define MODEL(member) offsetof(LvClip, member)
#define BLOCK(member) offsetof(LvClipBlock, member)
#define D LV_DIM(DIM)

/* Names: the reference's, those of transformers. */
#define ROW(name, hf, at, flags, ...) { name, at, { __VA_ARGS__ }, flags, { hf, NULL } }

static const LvWeightRow rows[] = {
    ROW("visual.cls_embedding", "vision_model.embeddings.class_embedding", MODEL(cls), 0, D),
    ROW("visual.pos_embedding", "vision_model.embeddings.position_embedding.weight",
        MODEL(places), 0, LV_CLIP_ROWS, D),
    ROW("visual.patch_embedding.weight", "vision_model.embeddings.patch_embedding.weight",
        MODEL(patch), LV_W_MATRIX | LV_W_FLAT, D, 3, LV_CLIP_PATCH, LV_CLIP_PATCH),
    ROW("visual.pre_norm.weight", "vision_model.pre_layrnorm.weight", MODEL(norm_w), 0, D),
    ROW("visual.pre_norm.bias", "vision_model.pre_layrnorm.bias", MODEL(norm_b), 0, D),
};

#define BLOCK_ROW(name, hf, member, flags, ...)                                         \
    ROW("visual.transformer.%d." name, "vision_model.encoder.layers.%d." hf,            \
        BLOCK(member), flags, __VA_ARGS__)

/* A matmul with its bias. */
#define LINEAR(name, hf, member, n, k)                                                  \
    BLOCK_ROW(name ".weight", hf ".weight", member##_w, LV_W_MATRIX, n, k),             \
    BLOCK_ROW(name ".bias", hf ".bias", member##_b, 0, n)

#define NORM(name, hf, member)                                                          \
    BLOCK_ROW(name ".weight", hf ".weight", member##_w, 0, D),                          \
    BLOCK_ROW(name ".bias", hf ".bias", member##_b, 0, D)

static const LvWeightRow block_rows[] = {
    NORM("norm1", "layer_norm1", norm1),
    LINEAR("attn.proj", "self_attn.out_proj", proj, D, D),
    NORM("norm2", "layer_norm2", norm2),
    LINEAR("mlp.0", "mlp.fc1", fc1, LV_DIM(FFN), D),
    LINEAR("mlp.2", "mlp.fc2", fc2, D, LV_DIM(FFN)),
};

/* Either of these, by the layout. */
static const LvWeightRow joined_rows[] = {
    LINEAR("attn.to_qkv", "", qkv, LV_DIM(DIM3), D),
};

#define PART(name, i)                                                                   \
    BLOCK_ROW("", name ".weight", part_w[i], LV_W_MATRIX, D, D),                        \
    BLOCK_ROW("", name ".bias", part_b[i], 0, D)

static const LvWeightRow part_rows[] = {
    PART("self_attn.q_proj", 0), PART("self_attn.k_proj", 1), PART("self_attn.v_proj", 2),
};

#undef D

static int bind_qkv(LvClipBlock *b, LvWeights *w, const char *prefix, int i, const int *symbols)
{
    int dim = symbols[DIM], ret;

    if (lv_weights_layout(w) != LV_LAYOUT_ORIGINAL)
        return lv_weights_bind(w, part_rows, LV_COUNT(part_rows), prefix, i, symbols, b);
    ret = lv_weights_bind(w, joined_rows, LV_COUNT(joined_rows), prefix, i, symbols, b);
    for (int k = 0; k < 3 && ret >= 0; k++) {
        ret = lv_weights_slice(&b->part_w[k], w, b->qkv_w, k * dim, dim);
        if (ret >= 0)
            ret = lv_weights_slice(&b->part_b[k], w, b->qkv_b, k * dim, dim);
    }
    return ret;
}

/* What the reference's files hold beside what is run. */
static void skip_rest(const LvClip *m, LvWeights *w, const char *prefix)
{
    static const char *const names[] = {
        "textual.", "log_scale", "visual.post_norm.", "visual.head",
        "text_model.", "logit_scale", "vision_model.post_layernorm.",
        "vision_model.embeddings.position_ids", "visual_projection.", "text_projection.",
    };
    char name[LV_PARAM_NAME];

    for (int i = 0; i < LV_COUNT(names); i++) {
        snprintf(name, sizeof(name), "%.200s%s", prefix, names[i]);
        lv_weights_skip(w, name);
    }
    snprintf(name, sizeof(name), lv_weights_layout(w) == LV_LAYOUT_ORIGINAL
             ? "%.200svisual.transformer.%d." : "%.200svision_model.encoder.layers.%d.", prefix,
             m->cfg.layers - 1);
    lv_weights_skip(w, name);
}

int lv_clip_bind(LvClip *m, const LvClipConfig *cfg, LvWeights *w, const char *prefix)
{
    const int symbols[NB_SYMBOLS] = { [DIM] = cfg->dim, [DIM3] = 3 * cfg->dim,
                                      [FFN] = cfg->ffn_dim };
    int ret;

    m->cfg   = *cfg;
    m->block = calloc((size_t)cfg->layers, sizeof(*m->block));
    if (!m->block)
        return lv_fail(lv_weights_msg(w), LV_ERR(ENOMEM), "out of memory");
    ret = lv_weights_bind(w, rows, LV_COUNT(rows), prefix, 0, symbols, m);
    for (int i = 0; i < cfg->layers - 1 && ret >= 0; i++)
        if ((ret = lv_weights_bind(w, block_rows, LV_COUNT(block_rows), prefix, i, symbols,
                                   &m->block[i])) >= 0)
            ret = bind_qkv(&m->block[i], w, prefix, i, symbols);
    skip_rest(m, w, prefix);
    return ret;
}

void lv_clip_free(LvClip *m)
{
    free(m->block);
    m->block = NULL;
}

void lv_clip_patches(float *x, int32_t *ids, const float *rgb)
{
    enum { P = LV_CLIP_PATCH, SIDE = 16, WIDTH = SIDE * P };

    memset(x, 0, LV_CLIP_IN * sizeof(*x));
    for (int i = 0; i < LV_CLIP_ROWS; i++)
        ids[i] = i ? -1 : 0;
    for (int row = 0; row < WIDTH; row++)
        for (int col = 0; col < WIDTH; col++)
            for (int c = 0; c < 3; c++)
                x[(1 + row / P * SIDE + col / P) * LV_CLIP_IN + (c * P + row % P) * P + col % P] =
                    rgb[(row * WIDTH + col) * 3 + c];
}

/* Trace */

static LvTensor norm(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvDtype dtype)
{
    return lv_norm(g, x, w, b, LV_NO_TENSOR, LV_NORM_LAYER, 0, 0, eps, dtype);
}

static LvTensor attention(LvGraph *g, const LvClip *m, const LvClipBlock *b, LvTensor x,
                          LvDtype dtype)
{
    float scale = 1 / sqrtf((float)(m->cfg.dim / m->cfg.heads));
    LvTensor part[3];

    for (int i = 0; i < 3; i++)
        part[i] = lv_linear(g, x, b->part_w[i], b->part_b[i], LV_ACT_NONE, dtype);
    x = lv_attn(g, part[0], part[1], part[2], LV_NO_TENSOR, LV_NO_TENSOR, m->cfg.heads, 0, scale);
    return lv_linear(g, x, b->proj_w, b->proj_b, LV_ACT_NONE, dtype);
}

static LvTensor block(LvGraph *g, const LvClip *m, const LvClipBlock *b, LvTensor x, LvDtype dtype)
{
    LvTensor y = attention(g, m, b, norm(g, x, b->norm1_w, b->norm1_b, dtype), dtype);

    x = lv_gate(g, x, y, LV_NO_TENSOR, 0);
    y = lv_linear(g, norm(g, x, b->norm2_w, b->norm2_b, dtype), b->fc1_w, b->fc1_b,
                  LV_ACT_GELU_ERF, dtype);
    y = lv_linear(g, y, b->fc2_w, b->fc2_b, LV_ACT_NONE, dtype);
    return lv_gate(g, x, y, LV_NO_TENSOR, 0);
}

LvTensor lv_clip_trace(LvGraph *g, const LvClip *m, LvTensor x, LvTensor ids, LvDtype dtype,
                       LvClipWatch *watch)
{
    const int row[] = { 1, m->cfg.dim };
    LvTensor cls    = lv_embed(g, ids, lv_reshape(m->cls, 2, row), LV_F32);

    x = lv_gate(g, lv_linear(g, x, m->patch, LV_NO_TENSOR, LV_ACT_NONE, LV_F32), cls,
                LV_NO_TENSOR, 0);
    x = norm(g, lv_add(g, x, m->places), m->norm_w, m->norm_b, LV_F32);
    if (watch)
        watch->in = x;
    for (int i = 0; i < m->cfg.layers - 1; i++) {
        lv_graph_layer(g, i + 1);
        x = block(g, m, &m->block[i], x, dtype);
        if (watch && !i)
            watch->block0 = x;
    }
    lv_graph_layer(g, 0);
    return x;
}
