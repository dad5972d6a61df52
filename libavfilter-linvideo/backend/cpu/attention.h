/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What softmax attention and its gradient share: the biases of scores.
 * Floor F2 (backend).
 *
 * Heads of all samples are numbered: head h of sample b is number b H + h.
 */

#ifndef LINVIDEO_BACKEND_CPU_ATTENTION_H
#define LINVIDEO_BACKEND_CPU_ATTENTION_H

#include "backend/cpu/cpu.h"

/** Keys of a block: scores are held for a tile of queries and a block of keys. */
enum { LV_ATTN_KEYS = 512 };

typedef struct LvAttnBias {
    const float *key_bias; ///< [B Lk] or NULL
    const float *rel_bias; ///< [buckets,H] or NULL
    const short *bucket;   ///< of lv_attn_buckets()
    int heads;             ///< H
    int lk;                ///< keys of a sample
    int max_distance;
} LvAttnBias;

/** Row of rel_bias for each distance key - query from -max_distance on, beyond which
 *  it stays the same: bucket[2 max_distance + 1]. */
void lv_attn_buckets(short *bucket, const LvTensor *rel_bias, int max_distance);

/** Biases of query i of a numbered head for keys `first` to first + keys - 1, in memory
 *  of ours or in tmp[keys]; NULL when there are none. */
const float *lv_attn_bias(const LvAttnBias *bias, int number, int i, int first, int keys,
                          float *tmp);

#endif /* LINVIDEO_BACKEND_CPU_ATTENTION_H */
