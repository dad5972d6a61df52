/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/umt5.h"

#include <stdio.h>
#include <stdlib.h>

enum { VOCAB, DIM, ATTN, FFN, HEADS, BUCKETS, NB_SYMBOLS };

#define MODEL(member) offsetof(LvUmt5, member)
#define BLOCK(member) offsetof(LvUmt5Block, member)
#define MATRIX (LV_W_MATRIX | LV_W_DECAY)

/* Names: the reference's, those of transformers, those of llama.cpp. */
#define ROW(name, hf, llama, at, flags, ...)                                      \
    { name, at, { __VA_ARGS__ }, flags, { hf, llama } }

#define BLOCK_ROW(name, hf, llama, member, flags, ...)                            \
    ROW("blocks.%d." name, "encoder.block.%d.layer." hf, "enc.blk.%d." llama,     \
        BLOCK(member), flags, __VA_ARGS__)

/* Some files of transformers have the other name of the table only. */
static const LvWeightRow embedding_rows[] = {
    ROW("token_embedding.weight", "shared.weight", "token_embd.weight",
        MODEL(embedding), LV_W_MATRIX | LV_W_TABLE, LV_DIM(VOCAB), LV_DIM(DIM)),
    ROW("token_embedding.weight", "encoder.embed_tokens.weight", "token_embd.weight",
        MODEL(embedding), LV_W_MATRIX | LV_W_TABLE, LV_DIM(VOCAB), LV_DIM(DIM)),
};

static const LvWeightRow norm_rows[] = {
    ROW("norm.weight", "encoder.final_layer_norm.weight", "enc.output_norm.weight",
        MODEL(norm), 0, LV_DIM(DIM)),
};

static const LvWeightRow block_rows[] = {
    BLOCK_ROW("norm1.weight", "0.layer_norm.weight", "attn_norm.weight", norm1, 0,
              LV_DIM(DIM)),
    BLOCK_ROW("attn.q.weight", "0.SelfAttention.q.weight", "attn_q.weight", q, MATRIX,
              LV_DIM(ATTN), LV_DIM(DIM)),
    BLOCK_ROW("attn.k.weight", "0.SelfAttention.k.weight", "attn_k.weight", k, MATRIX,
              LV_DIM(ATTN), LV_DIM(DIM)),
    BLOCK_ROW("attn.v.weight", "0.SelfAttention.v.weight", "attn_v.weight", v, MATRIX,
              LV_DIM(ATTN), LV_DIM(DIM)),
    BLOCK_ROW("attn.o.weight", "0.SelfAttention.o.weight", "attn_o.weight", o, MATRIX,
              LV_DIM(DIM), LV_DIM(ATTN)),
    BLOCK_ROW("pos_embedding.embedding.weight",
              "0.SelfAttention.relative_attention_bias.weight", "attn_rel_b.weight",
              bias, 0, LV_DIM(BUCKETS), LV_DIM(HEADS)),
    BLOCK_ROW("norm2.weight", "1.layer_norm.weight", "ffn_norm.weight", norm2, 0,
              LV_DIM(DIM)),
    BLOCK_ROW("ffn.gate.0.weight", "1.DenseReluDense.wi_0.weight", "ffn_gate.weight",
              gate, MATRIX, LV_DIM(FFN), LV_DIM(DIM)),
    BLOCK_ROW("ffn.fc1.weight", "1.DenseReluDense.wi_1.weight", "ffn_up.weight", fc1,
              MATRIX, LV_DIM(FFN), LV_DIM(DIM)),
    BLOCK_ROW("ffn.fc2.weight", "1.DenseReluDense.wo.weight", "ffn_down.weight", fc2,
              MATRIX, LV_DIM(DIM), LV_DIM(FFN)),
};

static void set_symbols(int symbols[NB_SYMBOLS], const LvUmt5Config *cfg)
{
    symbols[VOCAB]   = cfg->vocab;
    symbols[DIM]     = cfg->dim;
    symbols[ATTN]    = cfg->dim_attn;
    symbols[FFN]     = cfg->dim_ffn;
    symbols[HEADS]   = cfg->heads;
    symbols[BUCKETS] = cfg->buckets;
}

static const LvWeightRow *embedding_row(LvWeights *w, const char *prefix)
{
    const LvSource *src = lv_weights_file(w);
    char name[LV_PARAM_NAME];

    lv_row_name(name, prefix, &embedding_rows[0], lv_weights_layout(w), 0);
    return &embedding_rows[src && !lv_source_find(src, name)];
}

int lv_umt5_bind_norm(LvUmt5 *m, LvWeights *w, const char *prefix)
{
    int symbols[NB_SYMBOLS];

    set_symbols(symbols, &m->cfg);
    return lv_weights_bind(w, norm_rows, LV_COUNT(norm_rows), prefix, 0, symbols, m);
}

static int bind_embedding(LvUmt5 *m, LvWeights *w, const char *prefix)
{
    int symbols[NB_SYMBOLS];

    set_symbols(symbols, &m->cfg);
    return lv_weights_bind(w, embedding_row(w, prefix), 1, prefix, 0, symbols, m);
}

int lv_umt5_embed(const LvUmt5 *m, LvWeights *w, const char *prefix, const int32_t *ids,
                  int nb, float *x)
{
    int symbols[NB_SYMBOLS];

    set_symbols(symbols, &m->cfg);
    return lv_weights_read_rows(w, embedding_row(w, prefix), prefix, symbols, ids, nb, x);
}

int lv_umt5_bind_block(LvUmt5 *m, int i, LvWeights *w, const char *prefix)
{
    int symbols[NB_SYMBOLS];

    set_symbols(symbols, &m->cfg);
    return lv_weights_bind(w, block_rows, LV_COUNT(block_rows), prefix, i, symbols,
                           &m->block[i]);
}

int lv_umt5_bind(LvUmt5 *m, const LvUmt5Config *cfg, LvWeights *w, const char *prefix)
{
    char again[LV_PARAM_NAME];
    int ret;

    m->cfg   = *cfg;
    m->block = calloc((size_t)cfg->layers, sizeof(*m->block));
    if (!m->block)
        return lv_fail(lv_weights_msg(w), LV_ERR(ENOMEM), "text: out of memory");
    if ((ret = bind_embedding(m, w, prefix)) >= 0)
        ret = lv_umt5_bind_norm(m, w, prefix);
    for (int i = 0; i < cfg->layers && ret >= 0; i++)
        ret = lv_umt5_bind_block(m, i, w, prefix);
    /* Others hold the table twice. */
    snprintf(again, sizeof(again), "%sencoder.embed_tokens.weight", prefix);
    if (ret >= 0 && lv_weights_file(w) && lv_weights_layout(w) == LV_LAYOUT_HF)
        lv_weights_skip(w, again);
    return ret;
}

void lv_umt5_free(LvUmt5 *m)
{
    free(m->block);
    m->block = NULL;
}

static LvTensor rms(LvGraph *g, const LvUmt5 *m, LvTensor x, LvTensor w, LvDtype dtype)
{
    return lv_norm(g, x, w, LV_NO_TENSOR, LV_NO_TENSOR, LV_NORM_RMS, 0, 0, m->cfg.eps,
                   dtype);
}

static LvTensor matmul(LvGraph *g, LvTensor x, LvTensor w)
{
    return lv_linear(g, x, w, LV_NO_TENSOR, LV_ACT_NONE, LV_NONE);
}

static LvTensor block(LvGraph *g, const LvUmt5 *m, const LvUmt5Block *b, LvTensor x,
                      LvTensor key_bias, LvDtype dtype)
{
    LvTensor y = rms(g, m, x, b->norm1, dtype), up, gate;
    LvTensor q = matmul(g, y, b->q), k = matmul(g, y, b->k), v = matmul(g, y, b->v);

    y    = lv_attn(g, q, k, v, key_bias, b->bias, m->cfg.heads,
                   m->cfg.max_distance, 1);
    y    = matmul(g, y, b->o);
    x    = lv_gate(g, x, y, LV_NO_TENSOR, 0);
    y    = rms(g, m, x, b->norm2, dtype);
    up   = matmul(g, y, b->fc1);
    gate = matmul(g, y, b->gate);
    y    = matmul(g, lv_glu(g, up, gate), b->fc2);
    return lv_gate(g, x, y, LV_NO_TENSOR, 0);
}

LvTensor lv_umt5_trace_block(LvGraph *g, const LvUmt5 *m, int i, LvTensor x,
                             LvDtype dtype)
{
    return block(g, m, &m->block[i], x, LV_NO_TENSOR, dtype);
}

LvTensor lv_umt5_trace_norm(LvGraph *g, const LvUmt5 *m, LvTensor x)
{
    return rms(g, m, x, m->norm, LV_F32);
}

LvTensor lv_umt5_trace(LvGraph *g, const LvUmt5 *m, LvTensor ids, LvDtype dtype)
{
    return lv_umt5_trace_batch(g, m, ids, LV_NO_TENSOR, 1, dtype);
}

LvTensor lv_umt5_trace_batch(LvGraph *g, const LvUmt5 *m, LvTensor ids,
                             LvTensor key_bias, int batch, LvDtype dtype)
{
    LvTensor x = lv_embed(g, ids, m->embedding, LV_F32);

    lv_graph_batch(g, batch);
    for (int i = 0; i < m->cfg.layers; i++) {
        lv_graph_layer(g, i + 1);
        x = block(g, m, &m->block[i], x, key_bias, dtype);
    }
    lv_graph_layer(g, 0);
    return lv_umt5_trace_norm(g, m, x);
}
