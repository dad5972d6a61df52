/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/umt5.h"

#include <stdlib.h>

enum { VOCAB, DIM, ATTN, FFN, HEADS, BUCKETS, NB_SYMBOLS };

#define MODEL(member) offsetof(LvUmt5, member)
#define BLOCK(member) offsetof(LvUmt5Block, member)
#define MATRIX (LV_W_MATRIX | LV_W_DECAY)

static const LvWeightRow model_rows[] = {
    { "token_embedding.weight", MODEL(embedding), { LV_DIM(VOCAB), LV_DIM(DIM) },
      LV_W_MATRIX },
    { "norm.weight", MODEL(norm), { LV_DIM(DIM) }, 0 },
};

static const LvWeightRow block_rows[] = {
    { "blocks.%d.norm1.weight", BLOCK(norm1), { LV_DIM(DIM) }, 0 },
    { "blocks.%d.attn.q.weight", BLOCK(q), { LV_DIM(ATTN), LV_DIM(DIM) }, MATRIX },
    { "blocks.%d.attn.k.weight", BLOCK(k), { LV_DIM(ATTN), LV_DIM(DIM) }, MATRIX },
    { "blocks.%d.attn.v.weight", BLOCK(v), { LV_DIM(ATTN), LV_DIM(DIM) }, MATRIX },
    { "blocks.%d.attn.o.weight", BLOCK(o), { LV_DIM(DIM), LV_DIM(ATTN) }, MATRIX },
    { "blocks.%d.pos_embedding.embedding.weight", BLOCK(bias),
      { LV_DIM(BUCKETS), LV_DIM(HEADS) }, 0 },
    { "blocks.%d.norm2.weight", BLOCK(norm2), { LV_DIM(DIM) }, 0 },
    { "blocks.%d.ffn.gate.0.weight", BLOCK(gate), { LV_DIM(FFN), LV_DIM(DIM) }, MATRIX },
    { "blocks.%d.ffn.fc1.weight", BLOCK(fc1), { LV_DIM(FFN), LV_DIM(DIM) }, MATRIX },
    { "blocks.%d.ffn.fc2.weight", BLOCK(fc2), { LV_DIM(DIM), LV_DIM(FFN) }, MATRIX },
};

int lv_umt5_bind(LvUmt5 *m, const LvUmt5Config *cfg, LvWeights *w, const char *prefix)
{
    const int symbols[NB_SYMBOLS] = {
        [VOCAB] = cfg->vocab, [DIM] = cfg->dim, [ATTN] = cfg->dim_attn,
        [FFN] = cfg->dim_ffn, [HEADS] = cfg->heads, [BUCKETS] = cfg->buckets,
    };
    int ret;

    m->cfg   = *cfg;
    m->block = calloc((size_t)cfg->layers, sizeof(*m->block));
    if (!m->block)
        return lv_fail(lv_weights_msg(w), LV_ERR(ENOMEM), "text: out of memory");
    ret = lv_weights_bind(w, model_rows, LV_COUNT(model_rows), prefix, 0, symbols, m);
    for (int i = 0; i < cfg->layers && ret >= 0; i++)
        ret = lv_weights_bind(w, block_rows, LV_COUNT(block_rows), prefix, i, symbols,
                              &m->block[i]);
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

static LvTensor product(LvGraph *g, LvTensor x, LvTensor w)
{
    return lv_linear(g, x, w, LV_NO_TENSOR, LV_ACT_NONE, LV_NONE);
}

static LvTensor block(LvGraph *g, const LvUmt5 *m, const LvUmt5Block *b, LvTensor x,
                      LvTensor key_bias, LvDtype dtype)
{
    LvTensor y = rms(g, m, x, b->norm1, dtype), up, gate;
    LvTensor q = product(g, y, b->q), k = product(g, y, b->k), v = product(g, y, b->v);

    y    = lv_attn(g, q, k, v, key_bias, b->bias, m->cfg.heads,
                   m->cfg.max_distance, 1);
    y    = product(g, y, b->o);
    x    = lv_gate(g, x, y, LV_NO_TENSOR, 0);
    y    = rms(g, m, x, b->norm2, dtype);
    up   = product(g, y, b->fc1);
    gate = product(g, y, b->gate);
    y    = product(g, lv_glu(g, up, gate), b->fc2);
    return lv_gate(g, x, y, LV_NO_TENSOR, 0);
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
    return rms(g, m, x, m->norm, LV_F32);
}
