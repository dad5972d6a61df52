/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The critic of distribution matching: a network of the teacher's kind, trained by flow
 * matching on what the student makes, so that it tells the student's velocity.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_CRITIC_H
#define LINVIDEO_TRAIN_POST_CRITIC_H

#include "train/post/frozen.h"
#include "train/post/learn.h"
#include "train/run/trainer.h"

typedef struct LvCritic {
    LvTrainer *trainer;
    LvDit dit;
    LvLearn learn;
    LvOptim optim;
    char *about;       ///< settings of the run
    int saved;         ///< step of the student of the file that there is
} LvCritic;

/** Path of the run that goes with one at `run` after some steps of the student. */
void lv_critic_path(char *buf, size_t size, const char *run, int step);

/** Write a new run, a copy of the teacher's network; of several ranks the first does. */
int lv_critic_create(const char *path, const LvFrozen *teacher, const LvMsg *msg);

/**
 * Open a run.
 *
 * @param cfg    section "fake"
 * @param step   that the student has taken, of `steps`
 * @param[out] f closed with lv_critic_close(); NULL on error
 */
int lv_critic_open(LvCritic **f, const char *path, const LvCriticConfig *cfg, int step,
                 int steps, const LvFrozen *teacher);

/** Make the program that it learns by; that of the student, which is larger, first.
 *
 * @param n batch, size, device...; networks are not looked at
 * @param x memory of the clips that it learns on, on the device
 * @return as lv_learn_critic() */
int lv_critic_plan(LvCritic *f, const LvNets *n, void *x);

void lv_critic_close(LvCritic **f);

/** Add the gradients of a micro-batch: of the clips in memory, data by port as of
 *  lv_states_make(). *loss grows by the sum of losses. */
int lv_critic_learn(const LvCritic *f, float *const port[LV_PORT_NB], double *loss);

/** Save the student's run and that of its critic beside it, so that there is a pair at
 *  any time; the critic's file of an earlier step is removed then. f may be NULL. */
int lv_critic_save(LvCritic *f, const LvTrainer *student, const char *run);

#endif /* LINVIDEO_TRAIN_POST_CRITIC_H */
