/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Distribution matching distillation to a few steps (DMD2, arXiv 2405.14867, without its
 * GAN term): the student samples as it will, without guidance; a critic tells the
 * velocity of what it makes, and the student follows the difference to the teacher's
 * guided one.
 * Floor train/post. Source: DMD2 (arXiv 2405.14867), without its GAN.
 */

#ifndef LINVIDEO_TRAIN_POST_DISTILL_H
#define LINVIDEO_TRAIN_POST_DISTILL_H

#include "train/post/critic.h"
#include "train/post/trajectory.h"
#include "train/run/feeder.h"

enum { LV_DISTILL_STEPS = 64 };

typedef struct LvDistillFiles {
    const LvRecipe *recipe;
    const LvFrozen *student, *teacher;
    const LvTrajectories *t; ///< for its prompts
    const char *run;         ///< path; also the beginning of those of the critic
} LvDistillFiles;

typedef struct LvDistill {
    const LvRecipe *recipe;
    const LvDistillConfig *cfg;
    const LvFrozen *student, *teacher;
    const LvTrajectories *t;
    LvOptim optim;
    char *about;
    LvTrainer *trainer;
    LvDit dit;
    LvNets nets;
    LvLearn move, learn;
    LvCritic *critic;
    LvFeeder *feeder;
    void *x;                 ///< memory of states, on the device
    float *coef, *one;       ///< ports of the host: [micro LV_COEFS,X]; [micro], four of
    int steps;               ///< of the sampler
    float sigma[LV_DISTILL_STEPS + 1];
    size_t numel;            ///< of a state
    /* of the last step */
    double loss, critic_loss;
    double error;            ///< of the critic's velocity against the teacher's, relative
    int stop;                ///< step of the sampler that the student learned at, from 1
} LvDistill;

/** Check that student, teacher and recipe go together, before any work; t and run are not
 *  looked at. 0 or LV_ERR_MODEL after a message. */
int lv_distill_check(const LvDistillFiles *files);

/** Write a new run. */
int lv_distill_create(const LvDistillFiles *files);

/** Open a run; as lv_linearize_open(). */
int lv_distill_open(LvDistill **d, const LvDistillFiles *files, int checkpoint,
                    LvDtype dtype, int threads);

/** Free *d and set it to NULL. NULL is fine. */
void lv_distill_close(LvDistill **d);

/** One step of the student, and the critic's. */
int lv_distill_step(LvDistill *d);

/** Save both runs. */
int lv_distill_save(LvDistill *d, const char *run);

/** Floating point operations of a step's matmuls, about. */
double lv_distill_flops(const LvDistill *d);

/** Write the bundle: the student's, with averaged weights and a sampler of few steps. */
int lv_distill_export(const LvDistill *d, const char *path);

#endif /* LINVIDEO_TRAIN_POST_DISTILL_H */
