/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A model as post-training sees it: its files, as inference opens them, and its network,
 * which stands still.
 * Floor "train/post".
 */

#ifndef LINVIDEO_TRAIN_POST_FROZEN_H
#define LINVIDEO_TRAIN_POST_FROZEN_H

#include "model/dit.h"
#include "model/files.h"
#include "pipeline/env.h"

/** Clips to train on; 0: the model's own. */
typedef struct LvFrozenClip {
    int width, height, frames;
} LvFrozenClip;

typedef struct LvFrozen {
    const LvMsg *msg;
    LvDevice *dev;
    LvFiles files;    ///< a bundle or a manifest, with its LoRAs
    LvModelConfig cfg; ///< .video as asked
    LvEnv env;        ///< for the stages of inference; f32
    char *config;     ///< the configuration as text, as bundles have it
    LvWeights *weights;
    LvDit dit;        ///< f32, not fixed: bits as those of one in training
    int size[3];      ///< of the latents of its clips: F, Y, X
    size_t numel;     ///< of those, with channels
    char hash[17];    ///< of the network and the text encoder, of a manifest's negative prompt,
                      ///< and of a size of clips that is not the model's own, in hexadecimal
} LvFrozen;

/**
 * Open a model by its path.
 *
 * @param clip   NULL: the model's own
 * @param[out] b closed with lv_frozen_close(); NULL on error
 * @return 0; -ENOMEM; as lv_files_open(), lv_dit_bind()
 */
int lv_frozen_open(LvFrozen **b, const char *path, const LvFrozenClip *clip, LvDevice *dev,
                   const LvMsg *msg);

/** Free *b and set it to NULL. NULL is fine. */
void lv_frozen_close(LvFrozen **b);

/** The prompt of the unconditional branch: the model's negative prompt, or "". */
const char *lv_frozen_negative(const LvFrozen *b);

/** Weights of the network, in numbers. */
size_t lv_frozen_weights(const LvFrozen *b);

#endif /* LINVIDEO_TRAIN_POST_FROZEN_H */
