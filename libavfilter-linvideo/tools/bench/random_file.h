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

#endif /* LINVIDEO_TOOLS_BENCH_RANDOM_FILE_H */
