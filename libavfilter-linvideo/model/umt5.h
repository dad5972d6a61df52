/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * UMT5 text encoder (encoder half only; one position bias table a layer).
 * Floor F4 (model). Source: Wan2.1's reference text encoder.
 */

#ifndef LINVIDEO_MODEL_UMT5_H
#define LINVIDEO_MODEL_UMT5_H

#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"

typedef struct LvUmt5Block {
    LvTensor norm1, q, k, v, o, bias;
    LvTensor norm2, gate, fc1, fc2;
} LvUmt5Block;

typedef struct LvUmt5 {
    LvUmt5Config cfg;
    LvTensor embedding, norm;
    LvUmt5Block *block; ///< [layers]
} LvUmt5;

/** Bind all tensors "<prefix>...". Zero m first. @return as lv_weights_bind() */
int lv_umt5_bind(LvUmt5 *m, const LvUmt5Config *cfg, LvWeights *w, const char *prefix);

/** Bind again, from other weights: the last norm, or one block. m was bound before. */
int lv_umt5_bind_norm(LvUmt5 *m, LvWeights *w, const char *prefix);
int lv_umt5_bind_block(LvUmt5 *m, int i, LvWeights *w, const char *prefix);

/** Rows of the embedding, read from the file: x[nb,dim]. @return as
 *  lv_weights_read_rows() */
int lv_umt5_embed(const LvUmt5 *m, LvWeights *w, const char *prefix, const int32_t *ids,
                  int nb, float *x);

/** Free what bind made (not the weights). */
void lv_umt5_free(LvUmt5 *m);

/**
 * Trace the encoder over exactly the prompt's ids, </s> included; no padding.
 *
 * @param ids   external [L] i32
 * @param dtype of activations between matmuls: f32 or bf16
 * @return features [L,dim] f32
 */
LvTensor lv_umt5_trace(LvGraph *g, const LvUmt5 *m, LvTensor ids, LvDtype dtype);

/** The same in pieces, each of which may be a program of its own, so that the weights of
 *  one layer are there at a time: x [L,dim] f32, of lv_umt5_embed(), through block i;
 *  x to the features. */
LvTensor lv_umt5_trace_block(LvGraph *g, const LvUmt5 *m, int i, LvTensor x,
                             LvDtype dtype);
LvTensor lv_umt5_trace_norm(LvGraph *g, const LvUmt5 *m, LvTensor x);

/**
 * The same for B prompts padded to one length, for training.
 *
 * @param ids      external [B L] i32
 * @param key_bias external [B L] f32: 0, and -INFINITY at padding
 * @param batch    B
 * @return features [B L,dim] f32; those of padding have no meaning
 */
LvTensor lv_umt5_trace_batch(LvGraph *g, const LvUmt5 *m, LvTensor ids,
                             LvTensor key_bias, int batch, LvDtype dtype);

#endif /* LINVIDEO_MODEL_UMT5_H */
