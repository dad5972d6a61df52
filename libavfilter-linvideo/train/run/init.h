/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Values that new weights begin with: by a table of names, or out of a file.
 * Floor train/run.
 */

#ifndef LINVIDEO_TRAIN_RUN_INIT_H
#define LINVIDEO_TRAIN_RUN_INIT_H

#include "model/params.h"

/**
 * Fill values[size] with the start of every tensor described in p. Each draws from its
 * own stream (seed, its number), so that the same names give the same values.
 *
 * DiT: Wan's own start (Xavier for matmuls, 0.02 for text and time embeddings, zeros for
 * the head). UMT5: T5's. Autoencoder: every convolution passes its input on (centre taps,
 * averaging temporal pools, copying temporal grows, the last convolution of each block
 * at zero) with a little noise, from which it learns far faster than from noise alone.
 *
 * @return 0, LV_ERR_MODEL when no rule knows a name
 */
int lv_init_params(const LvParams *p, float *values, uint64_t seed, const LvMsg *msg);

/** Fill values[size] from the tensors of the same names in a safetensors file: a bundle, or a
 *  run. @return 0; errors of the file; LV_ERR_MODEL when one is absent or of another size */
int lv_init_from(const LvParams *p, float *values, const char *path, const LvMsg *msg);

#endif /* LINVIDEO_TRAIN_RUN_INIT_H */
