/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Programs of post-training: one moves states along by a network, the others tell what
 * the student gets wrong and what gradient that makes. All samples of a micro-batch go
 * through one program, whose memory keeps its place.
 * Floor train/post. Source: LinVideo (arXiv 2510.08318), DMD2 (arXiv 2405.14867).
 *
 * Time t is 1 for noise, 0 for clips; networks are fed 1000 t. Each sample has numbers of
 * its own, the "coefficients": rows of LV_PORT_COEF.
 */

#ifndef LINVIDEO_TRAIN_POST_LEARN_H
#define LINVIDEO_TRAIN_POST_LEARN_H

#include "model/dit.h"
#include "model/params.h"
#include "train/post/recipe.h"
#include "train/run/task.h"

/** What a program is given. B samples of latents [C,F,Y,X]. */
enum LvPort {
    LV_PORT_X,      ///< [B,C,F,Y,X] states
    LV_PORT_T,      ///< [B] times of them, times 1000
    LV_PORT_ROPE,   ///< set when the program is made
    LV_PORT_TEXT,   ///< [B text_len,text_dim]: of the branch that is compared
    LV_PORT_OTHER,  ///< the same of the other branch
    LV_PORT_COEF,   ///< [B LV_COEFS,X]: each coefficient X times
    LV_PORT_T1,     ///< [B]: times behind the step
    LV_PORT_WEIGHT, ///< [B]: of losses there
    LV_PORT_WEIGHT0, ///< [B]: of those before the step
    LV_PORT_TARGET, ///< as X: stored velocities
    LV_PORT_NOISE,  ///< as X
    LV_PORT_ONE,    ///< [B] ones; set when the program is made
    LV_PORT_ZERO,   ///< as X, zeros
    LV_PORT_ZERO_TOKENS, ///< [B L,dim] zeros
    LV_PORT_NB
};

/** Coefficients. */
enum LvCoef {
    LV_COEF_STEP,    ///< of the velocity of LV_PORT_TEXT in a step
    LV_COEF_OTHER,   ///< of that of LV_PORT_OTHER
    LV_COEF_FADE,    ///< minus the time that noise is put in for
    LV_COEF_NOISE,   ///< that time
    LV_COEF_GUIDE,   ///< guidance
    LV_COEF_UNGUIDE, ///< minus guidance
    LV_COEFS
};

/** What comes out. */
enum LvResult {
    LV_RESULT_LOSS,  ///< [B]
    LV_RESULT_ERROR, ///< [B] mean square of student less teacher
    LV_RESULT_POWER, ///< [B] mean square of the teacher's
    LV_RESULT_MOVED, ///< as X: states behind the step
    LV_RESULT_NB
};

typedef struct LvLearn {
    LvTask task;
    LvTensor port[LV_PORT_NB], result[LV_RESULT_NB]; ///< absent when there is none
    int batch;
} LvLearn;

/** Networks of a program. */
typedef struct LvNets {
    const LvDit *student, *teacher, *critic;
    const LvParams *params;  ///< of what learns
    const int *size;         ///< of latents: F, Y, X
    LvDtype dtype;           ///< of activations
    int batch;
    int only;                ///< enum LvOnly: which of params learn
    int checkpoint;          ///< 1: activation checkpointing; set where a program with a
                             ///< gradient does not fit the device without, and told of
    LvDevice *dev;
    const LvMsg *msg;
} LvNets;

/** Parts of a move. */
enum { LV_MOVE_OTHER = 1, LV_MOVE_NOISE = 2 };

/**
 * A program that moves states in place, without gradient:
 * x = x + STEP u(TEXT) [+ OTHER u(OTHER)], then with noise x = (1 + FADE) x + NOISE noise.
 *
 * @param x memory of the states, on the device
 * @return as lv_task_new(). Freed with lv_learn_free(), after an error too
 */
int lv_learn_move(LvLearn *l, const LvNets *n, int parts, void *x);

/** What is of both branches: velocity of OTHER + guidance (that of TEXT - it), by
 *  LV_COEF_GUIDE and LV_COEF_UNGUIDE. Flags. */
enum LvGuided {
    LV_GUIDED_STEPS = 1,  ///< steps of ANCHORED and STEP
    LV_GUIDED_ERRORS = 2, ///< what ONPOLICY and ONLINE compare
};

/**
 * A program that adds up gradients of what the student gets wrong.
 *
 * @param objective of enum LvObjective; ONPOLICY and ONLINE are one: both compare at X
 * @param relative  1: losses are relative to the teacher's mean size ("norm")
 * @param x         memory of the states, on the device; NULL: of its own
 * @param guided    flags of enum LvGuided
 */
int lv_learn_new(LvLearn *l, LvNets *n, int objective, int relative, int guided, void *x);

/**
 * A program for the critic n->student: flow matching on the states x, at times T with
 * noise put in (FADE, NOISE); WEIGHT is that of the mean square, OTHER is -1.
 */
int lv_learn_critic(LvLearn *l, LvNets *n, void *x);

/**
 * A program that compares, at each MIXED layer of the student, the linear branch with the
 * softmax branch on the states X.
 *
 * @param errors [layers]: set to a result each, [B], mean squares, absent of layers that are not
 *               mixed; sizes likewise, those of the softmax branch
 */
int lv_learn_maps(LvLearn *l, LvNets *n, LvTensor *errors, LvTensor *sizes);

void lv_learn_free(LvLearn *l);

/** Run with data by port (NULL: it has none or keeps what it had), but for port `but`,
 *  whose memory holds what is wanted; LV_PORT_NB: for none. */
int lv_learn_run(const LvLearn *l, float *const port[LV_PORT_NB], int but);

/** A result's numbers, all of them. */
int lv_learn_get(const LvLearn *l, int result, float *data);

/** States in the memory of port X. */
int lv_learn_states(const LvLearn *l, float *x);

#endif /* LINVIDEO_TRAIN_POST_LEARN_H */
