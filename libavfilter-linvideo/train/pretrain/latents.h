/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The set that the flow is trained on: latents of many clips, made once by the trained
 * encoder. A safetensors file: "latents" [N,C,F,Y,X] F16, normalised, "mean" and "std"
 * [C] F32 of what they were; metadata "linvideo.latents" says of which clips.
 * Floor train/pretrain.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_LATENTS_H
#define LINVIDEO_TRAIN_PRETRAIN_LATENTS_H

#include "base/safetensors.h"
#include "train/pretrain/autoencoder.h"

typedef struct LvLatents {
    LvSafetensors *file;
    const uint16_t *data;   ///< f16, in the mapping
    const float *mean, *std; ///< [C]
    int clips;
    size_t size;            ///< elements of a clip
} LvLatents;

/** Called after some clips: done of all. A negative result stops with that code. */
typedef int (*LvLatentsProgress)(void *opaque, int done, int all);

/**
 * Encode clips of one of the recipe's shapes, numbers 0 to clips - 1 of the training stream.
 *
 * @param a     opened for use (train = 0)
 * @param shape number of flow.shape
 * @param first the set of shape 0, whose mean and deviation are this one's too; NULL: they
 *              are those of these clips
 * @return 0, an error, or what progress returned
 */
int lv_latents_create(const LvAutoencoder *a, int shape, const LvLatents *first,
                      const char *path, int threads, LvLatentsProgress progress,
                      void *opaque);

/** Open a set. @return 0; errors of the file; LV_ERR_MODEL when it is one of another
 *  recipe or shape. Close with lv_latents_close(), after an error too. */
int lv_latents_open(LvLatents *l, const LvTrainConfig *cfg, int shape, const char *path,
                    const LvMsg *msg);

/** Close the file. */
void lv_latents_close(LvLatents *l);

#endif /* LINVIDEO_TRAIN_PRETRAIN_LATENTS_H */
