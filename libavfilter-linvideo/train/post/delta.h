/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What makes one network of another: a file of the maps of its linear layers and of the
 * weights that are not the same, which is taken as a LoRA (model/lora.h).
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_DELTA_H
#define LINVIDEO_TRAIN_POST_DELTA_H

#include "backend/device.h"

/** Of which networks, and how near. */
typedef struct LvDelta {
    const char *base, *to; ///< files of a network, bundles or manifests
    const char *out;       ///< .safetensors
    int rank;              ///< highest of factors, 1 to 4096
    float error;           ///< root of the sum of squares of what a matrix may be off by, over
                           ///< that of the matrix: 0 to 1. 1e-3 is less than rounding to bf16
} LvDelta;

/** What was written. */
typedef struct LvDeltaReport {
    int linear;            ///< layers
    int factors, whole;    ///< matrices written as factors; whole, as these were not near enough
    int within;            ///< matrices of which nothing is written: within the error
    int others;            ///< vectors and biases
    int lowest, highest;   ///< rank of factors
    size_t bytes, network; ///< of tensors written; of the network in 16 bits
} LvDeltaReport;

/**
 * Write the delta of two networks. Memory: what is written, and three times the largest matrix.
 *
 * @return 0; LV_ERR_MODEL: networks of other sizes, the base has linear layers; LV_ERR_UNSUPPORTED:
 *         a manifest names LoRAs or two networks; as lv_source_open(), lv_safetensors_write()
 */
int lv_delta_write(const LvDelta *d, LvDeltaReport *r, LvDevice *null_dev, const LvMsg *msg);

#endif /* LINVIDEO_TRAIN_POST_DELTA_H */
