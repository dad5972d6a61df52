/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A bundle as post-training sees it: the network stands still, its other parts are handed
 * on to the bundle that comes out.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_BUNDLE_H
#define LINVIDEO_TRAIN_POST_BUNDLE_H

#include "model/dit.h"
#include "model/params.h"

typedef struct LvBundle {
    const LvMsg *msg;
    LvDevice *dev;
    LvSafetensors *file;
    LvModelConfig cfg;
    LvWeights *weights;
    LvDit dit;        ///< f32, not fixed: bits as those of one in training
    int size[3];      ///< of the latents of its clips: F, Y, X
    size_t numel;     ///< of those, with channels
    char hash[17];    ///< of the networks of text and latents, in hexadecimal
} LvBundle;

/**
 * Open a bundle.
 *
 * @param[out] b closed with lv_bundle_close(); NULL on error
 * @return 0; -ENOMEM; as lv_safetensors_open(), lv_config_read(), lv_dit_bind()
 */
int lv_bundle_open(LvBundle **b, const char *path, LvDevice *dev, const LvMsg *msg);

/** Free *b and set it to NULL. NULL is fine. */
void lv_bundle_close(LvBundle **b);

/** What a written bundle has of its own. */
typedef struct LvNewBundle {
    const LvDitConfig *dit;  ///< kinds of layers, and maps
    const LvParams *params;  ///< "dit.*"
    const char *sampler;     ///< JSON of its section; NULL: the old one's
    const char *about;       ///< how it was made, JSON; goes to...
    const char *section;     ///< ...this section
} LvNewBundle;

/**
 * Write a bundle: b with another network, whose average (LV_SLAB_EMA) is taken. Matrices
 * become f16; of MIXED layers nothing is written but softmax, and maps only of LINEAR
 * ones.
 *
 * @return 0, -errno, -ENOMEM
 */
int lv_bundle_write(const LvBundle *b, const char *path, const LvNewBundle *n);

#endif /* LINVIDEO_TRAIN_POST_BUNDLE_H */
