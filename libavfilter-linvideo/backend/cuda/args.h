/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Arguments of kernels that are not an op's own: products and the order of pictures.
 * Floor F2 (backend): the kernels read it too, and take the structs by value.
 */

#ifndef LINVIDEO_BACKEND_CUDA_ARGS_H
#define LINVIDEO_BACKEND_CUDA_ARGS_H

#include <stdint.h>

#include "backend/ops.h"

/** A tensor as the device copies boxes of it, written by the driver (its CUtensorMap).
 *  Kernels get it by value. */
typedef struct LvTileMap {
    uint64_t data[16];
} __attribute__((aligned(64))) LvTileMap;

/** One operand of a batch of products: where element (row, col) of the matrix of a
 *  sample, head and chunk lies. Strides are in elements. */
typedef struct LvView {
    void *data;
    int dtype;  ///< LvDtype, any float
    int ones;   ///< rows from this one on are ones; 0: there are none
    int ones_k; ///< the same for columns
    int64_t sample, head, chunk, row, col;
} LvView;

/**
 * c[i,j] = alpha sum_k a[i,k] b[j,k], or added to c, for each sample, head and chunk;
 * chunk n sums k from n k_chunk on. Rows of the views a and b are i and j, columns k.
 */
typedef struct LvBatchedArgs {
    LvView a, b;
    LvView c;       ///< row i, column j; f32 or bf16
    int m, n, k, k_chunk;
    int heads, chunks;
    float alpha;
    int add;
} LvBatchedArgs;

/**
 * y = act(x' w^T + bias + r) in bf16, x' being the pictures x unrolled: row (b,i,j) of
 * x' holds, for each tap (t,u,v) and channel c, x[b f + t, (i s + u - py) / z,
 * (j s + v - px) / z, c], zero outside or where z (the spread of x) does not divide, f
 * being `step`; the first `before` frames of x are those of prev. A matrix is a picture of
 * one row, with one tap.
 */
typedef struct LvProductArgs {
    const void *x;  ///< [frames,YI,XI,C] bf16, C a multiple of 8
    const void *prev; ///< [before,YI,XI,C] bf16; not read when before is 0
    const void *w;  ///< [O, kt kh kw C] bf16
    const float *bias; ///< [O], or NULL
    const void *r;  ///< [B,YO,XO,O], or NULL
    void *y;        ///< [B,YO,XO,O]
    int r_type, y_type; ///< LvDtype
    int rows;       ///< B YO XO
    int yi, xi, c, yo, xo, o;
    int kt, kh, kw, stride, pad_y, pad_x; ///< at most 32 taps
    int step, before;
    int spread;     ///< 1 or 2
    int act, add;   ///< LvAct; 1: added to y
} LvProductArgs;

/** The unrolled pictures x' of LvProductArgs as a matrix, rows `first` to first +
 *  rows - 1, columns padded with zeros to `cols`. */
typedef struct LvColumnsArgs {
    const void *x;
    void *cols_out; ///< [rows, cols], of type out_type
    int x_type, out_type;
    int first, rows, cols;
    int yi, xi, c, yo, xo;
    int kh, kw, stride, pad_y, pad_x, spread;
} LvColumnsArgs;

/** y = act(sum row_scale col_scale + bias + r), or added to y; columns n. */
typedef struct LvEpilogueArgs {
    const float *sum;  ///< [rows, n]
    const float *row_scale; ///< [rows], or NULL: no scales
    const float *col_scale; ///< [n], where there are those of rows
    const float *bias; ///< [n], or NULL
    const void *r;     ///< [rows, n], or NULL
    void *y;           ///< [rows, n]; may be sum
    int r_type, y_type;
    int rows, n;
    int act, add;
} LvEpilogueArgs;

/** Scores of `rows` queries of one sample and head, s = q k^T: weights p = exp(scale s +
 *  biases - their maximum), or that of lse. Row i, key j stand at i pitch + j. */
typedef struct LvScoresArgs {
    const float *s;
    void *p;               ///< of `type`; may be s
    float *factor;         ///< [rows]: 1 / sum of p
    float *lse;            ///< [rows], or NULL
    const float *key_bias; ///< [keys], or NULL
    const float *rel_bias; ///< [buckets,heads], that of the head first, or NULL
    const int *bucket;
    int type;              ///< LvDtype
    int keys, pitch;
    int first;             ///< query of row 0
    int heads, half, max_distance; ///< half of the buckets
    float scale;
} LvScoresArgs;

/** Weights [frames,O,C,taps] and the matrix of LV_FORM_TAPS or LV_FORM_FLIPPED, in either
 *  direction; of one frame where flipped or back is set. */
typedef struct LvOrderArgs {
    const void *src;
    void *dst;
    int src_type, dst_type;
    int frames, o, c, taps;
    int cols;    ///< of the matrix, padded
    int flipped; ///< 1: [C, taps O], taps from last to first; else [O, frames taps C]
    int back;    ///< 1: from [O, taps C] to [O,C,taps]
    int add;     ///< with back: added to dst
} LvOrderArgs;

/** Rows as F8_E4M3: y = x / scale, scale being the largest |x| of a row / 448. */
typedef struct LvQuantizeArgs {
    const void *x; ///< [rows,cols], any float type; cols a multiple of 8
    uint8_t *y;    ///< [rows,cols]
    float *scale;  ///< [rows]
    int x_type, rows, cols;
} LvQuantizeArgs;

/** Queries, keys and values of softmax attention as F8_E4M3: see attention_f8.cu. */
typedef struct LvAttnF8Args {
    LvTensor q, k, v;       ///< [B L,C] bf16
    float *most;            ///< [B,3,heads,pieces]: the largest magnitudes
    float *scales;          ///< [B,3,heads]
    uint8_t *q8, *k8, *v8;  ///< as q, as k, [B,heads,tiles,136,128]
    int batch, heads;
    int piece, pieces;      ///< rows that a block looks at; of those, the most there are
} LvAttnF8Args;

/** A stored weight, see LvLinearArgs, as f32 or bf16. */
typedef struct LvWidenArgs {
    const uint8_t *src;
    const float *scale; ///< of rows; read where src has them
    void *dst;
    int src_type, dst_type; ///< LvDtype
    int cols;               ///< multiples of 8
    int block, block_bytes; ///< of src's type
} LvWidenArgs;

#endif /* LINVIDEO_BACKEND_CUDA_ARGS_H */
