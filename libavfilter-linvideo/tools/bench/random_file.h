/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A model file of random values, in memory: the tensors that a network's own tables of
 * weights ask for.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_RANDOM_FILE_H
#define LINVIDEO_TOOLS_BENCH_RANDOM_FILE_H

#include "tools/bench/bench.h"

/**
 * Make it and open b->weights on it, for a network to bind.
 *
 * @param list  what the network asks for (see lv_part_list()), which is freed
 * @param train 1: weights are kept as f32 in b->params, with gradients; 0: matrices have
 *              the type b->act
 * @return 0 or an error
 */
int lv_random_file(LvBench *b, LvParams **list, int train);

/** Type of a tensor in a file whose matrices have the type `matrices`: of 8 bits or less, only
 *  those of two dimensions, the rows whole blocks, and others bf16. All else is f32. */
LvDtype lv_random_type(const LvParam *t, LvDtype matrices);

/** Bytes that hold the head of a file of these tensors. */
size_t lv_random_head_room(const LvParams *list);

/** Write that head, of tensors one behind the other as they are listed.
 *  @return where their data begin */
size_t lv_random_head(const LvParams *list, LvDtype matrices, char *to);

#endif /* LINVIDEO_TOOLS_BENCH_RANDOM_FILE_H */
