/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Runs of networks that begin as one of a bundle.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_STUDENT_H
#define LINVIDEO_TRAIN_POST_STUDENT_H

#include "train/post/frozen.h"
#include "train/post/recipe.h"
#include "train/run/trainer.h"

/** How a student begins. */
typedef struct LvStudent {
    const LvDitConfig *cfg;    ///< its network
    const LvSafetensors *maps; ///< a run whose tensors it takes by name; NULL: none
    const LvDit *from;         ///< whose tensors it takes where maps has none
    float map_scale;  ///< of the identity that maps are which are not there; 0:
                      ///< head_dim^-1/4
    float mix;        ///< gate of MIXED layers, likewise
} LvStudent;

/** Write a run of step 0; `teacher` is where its configuration is from. */
int lv_student_create(const char *path, const LvStudent *s, const LvFrozen *teacher,
                      const LvMsg *msg);

/**
 * Open a run of a network.
 *
 * @param cfg    of lv_student_create()
 * @param[out] t to be made ready, with dit bound; closed by the caller, as dit
 */
int lv_student_open(LvTrainer **t, LvDit *dit, const char *path, const LvDitConfig *cfg,
                    const LvOptim *optim, LvDevice *dev, const LvMsg *msg);

/** Whether a parameter learns, by enum LvOnly. */
int lv_student_learns(const LvParam *p, int only);

/** Keep the weights that do not learn from decaying; between lv_student_open() and
 *  lv_trainer_ready(). */
void lv_student_freeze(LvTrainer *t, int only);

#endif /* LINVIDEO_TRAIN_POST_STUDENT_H */
