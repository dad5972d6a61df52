/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The data of a step: at which states the student is looked at, with which prompts, weights
 * and coefficients. States are the teacher's, stored, or the student's own, which slots
 * carry from step to step.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_STATES_H
#define LINVIDEO_TRAIN_POST_STATES_H

#include "train/post/learn.h"
#include "train/post/trajectory.h"

enum { LV_TIME_BINS = 5 };

/** Data of a micro-batch by port, in memory of the host; NULL where a port has none. */
typedef struct LvBatch {
    float *port[LV_PORT_NB];
    int32_t *to;     ///< [B] number of the time at which a sample is compared
} LvBatch;

/** A slot of a stream. The order is that of the file. */
typedef struct LvSlot {
    int32_t at;      ///< number of the state it is in; -1: it has not begun
    int32_t prompt;
    int32_t end;     ///< number of the state behind which it begins anew
} LvSlot;

typedef struct LvStates {
    const LvLinearizeConfig *cfg;
    const LvTrajectories *t;
    const LvDitConfig *dit;
    int width;       ///< X of latents
    uint64_t seed;
    int objective;
    int last;        ///< number of the last time that is used
    float mean_k;    ///< of literal weights
    float guidance;  ///< of the sampler
    const LvDistillConfig *score; ///< times of distributions; for DMD
    float *x;        ///< [batch,numel] of slots; NULL: no stream
    LvSlot *slot;    ///< [batch]
} LvStates;

/** The pair of times that sample number j is about: `from` that of its state, `to` where
 *  it is compared. */
void lv_states_pair(const LvStates *s, int j, int *from, int *to);

/** Factor of an error for a pair, but for what "norm" divides by. */
double lv_states_weight(const LvStates *s, int from, int to);

/** Number of the last of `steps` times that an objective uses, from 0; LV_ERR_MODEL after a
 *  message: there is none. */
int lv_states_last(const LvLinearizeConfig *cfg, int objective, const float *sigma, int steps,
                   const LvMsg *msg);

/** Prepare; all but x and slot is set then. 0 or as lv_states_last(). */
int lv_states_init(LvStates *s, const LvRecipe *recipe, const LvTrajectories *t,
                   const LvFrozen *teacher);

/** Number of a micro-batch's floats; with data, where each part lies. */
size_t lv_states_lay_out(const LvStates *s, int micro, float *data, LvBatch *b);

/**
 * Fill sample `at` of a micro-batch with the item of a step. Items of DMD from cfg->batch
 * on are for the critic.
 */
void lv_states_make(const LvStates *s, LvBatch *b, int at, int step, int item);

/** Slots before their first step. */
void lv_states_begin(LvStates *s);

/** Slot `item` was moved to x[numel]. */
void lv_states_moved(LvStates *s, int step, int item, const float *x);

/** Bin of time number `to`, 0 to LV_TIME_BINS - 1, each a fifth of 0..1. */
int lv_states_bin(const LvStates *s, int to);

#endif /* LINVIDEO_TRAIN_POST_STATES_H */
