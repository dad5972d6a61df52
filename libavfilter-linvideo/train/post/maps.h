/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Warm-up of feature maps: at each layer of the teacher, the linear branch learns to give
 * what the softmax branch gives, on stored states. All but maps stands still.
 * Floor train/post. Source: attention transfer (LoLCATs, arXiv 2410.10254).
 */

#ifndef LINVIDEO_TRAIN_POST_MAPS_H
#define LINVIDEO_TRAIN_POST_MAPS_H

#include "train/post/linearize.h"

typedef struct LvMaps {
    LvRecipe recipe;      ///< with the batch of this stage
    LvOptim optim;
    char *about;
    LvTrainer *trainer;
    LvDit dit;
    LvStates states;
    LvLearn learn;
    LvTensor errors[LV_MAX_LAYERS], sizes[LV_MAX_LAYERS];
    float *data;
    double error[LV_MAX_LAYERS]; ///< of the last step, relative, by layer
    double mean;          ///< of those
} LvMaps;

/** Open a run made by lv_linearize_create() (files->run); as lv_linearize_open(). */
int lv_maps_open(LvMaps **m, const LvLinearizeFiles *files, int checkpoint, LvDtype dtype);

/** Free *m and set it to NULL. NULL is fine. */
void lv_maps_close(LvMaps **m);

/** Take one step. */
int lv_maps_step(LvMaps *m);

#endif /* LINVIDEO_TRAIN_POST_MAPS_H */
