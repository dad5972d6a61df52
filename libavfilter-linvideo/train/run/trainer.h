/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What every kind of training does alike: slabs of weights, gradients summed over
 * pieces of a batch, AdamW with clipping, warm-up, decay of the rate, averaging,
 * checkpoints, a log.
 * Floor train/run: above the models; knows steps, not what is learned.
 *
 * A run is a safetensors file: every tensor of the networks by its name, f32, then
 * "adam.m", "adam.v" and "ema" as flat slabs in the order of binding, "state.*" of those
 * who train, and metadata: "linvideo.config" (the model) and "linvideo.train" (step and
 * settings). A new run is a file of step 0. Resuming gives the bits that an unbroken run
 * would give: all random numbers are counted from seed and step.
 */

#ifndef LINVIDEO_TRAIN_RUN_TRAINER_H
#define LINVIDEO_TRAIN_RUN_TRAINER_H

#include <stdio.h>

#include "backend/group.h"
#include "graph/graph.h"
#include "model/params.h"
#include "model/weights.h"
#include "train/run/task.h"

/** Settings of the optimizer. Source: AdamW (arXiv 1711.05101). */
typedef struct LvOptim {
    int steps;         ///< of the whole run
    int warmup;        ///< steps over which the rate rises from 0
    float lr;          ///< highest rate
    float lr_map;      ///< the same of feature maps; 0: as lr
    float lr_end;      ///< share of it that a cosine falls to at the last step
    float beta1, beta2, eps;
    float decay;       ///< of tensors marked LV_W_DECAY
    float clip;        ///< largest norm of the gradient; 0: none
    float ema;         ///< share of the average kept at a step; grows up to this with
                       ///< (1 + n) / (10 + n) at the n-th step that is averaged
    int ema_from;      ///< steps before this one leave no trace in the average
    uint64_t seed;
    const char *more;  ///< further settings of a run as text, NULL: none
} LvOptim;

enum { LV_TRAINER_STATES = 4,
       LV_TRAINER_DROPS = 10 ///< most steps in a row that may be dropped
};

typedef struct LvTrainer {
    LvDevice *dev;
    const LvMsg *msg;
    LvOptim optim;
    int step;           ///< steps done
    LvSafetensors *file; ///< the run, as it was opened
    LvParams *params;
    LvWeights *weights; ///< binds into params
    LvTask measure;     ///< norm of the gradient
    LvTensor norm;      ///< [1] of it
    LvTask update;      ///< AdamW
    LvTensor norm_in;   ///< [1] the same there
    LvTensor hyper[LV_GROUP_GATE]; ///< [LV_HYPER_NB], by LvParamGroup
    LvTask clear;       ///< gradients become zero
    double grad_norm;   ///< of the last step, before clipping; without gates
    int dropped;        ///< steps in a row whose gradient was not finite
    LvFileTensor state[LV_TRAINER_STATES];
    int nb_states;
    int summed;         ///< 1: the gradients are those of all ranks
    int measured;       ///< 1: grad_norm is that of this step
} LvTrainer;

/**
 * Open a run. The caller then binds its networks with weights and calls
 * lv_trainer_ready().
 *
 * @param path  of the run
 * @param[out] t closed with lv_trainer_close(); NULL on error
 * @return 0; -ENOENT and other errors of the file; LV_ERR_MODEL (no run, or one made
 *         with other settings); -ENOMEM
 */
int lv_trainer_open(LvTrainer **t, const char *path, const LvOptim *optim,
                    LvDevice *dev, const LvMsg *msg);

/**
 * Keep memory of the host with the run: it is filled from the file when that has it, and
 * saved with all the rest. Between lv_trainer_open() and lv_trainer_ready().
 *
 * @param name "state.", and what it is; static
 * @param data numel elements, outlives the trainer
 * @return 0; LV_ERR_MODEL (of another size or type)
 */
int lv_trainer_keep(LvTrainer *t, const char *name, LvDtype dtype, size_t numel, void *data);

/** All is bound: read the moments, plan the update. 0 or an error. */
int lv_trainer_ready(LvTrainer *t);

/** Free *t and set it to NULL. NULL is fine. */
void lv_trainer_close(LvTrainer **t);

/** Make ready for the gradients of a step: they become zero. */
int lv_trainer_begin(LvTrainer *t);

/** Whether the ranks of the device have work each: `parts` micro-batches are split over them,
 *  part n is of lv_group_has(t->dev, n). 0; -EINVAL after a message with the name of what
 *  there is too little of. */
int lv_trainer_split(const LvTrainer *t, int parts, const char *name);

/** Gradients become those of all ranks, and numbers v[nb] too. Once in a step: otherwise
 *  lv_trainer_update() does it, without numbers. */
int lv_trainer_sum(LvTrainer *t, double *v, int nb);

/** Sum the gradients of all ranks, if that is not done, and find t->grad_norm. @return 1; 0: it
 *  is not finite, and lv_trainer_update() will drop the step; or a code */
int lv_trainer_measure(LvTrainer *t);

/** Have the step dropped for another reason. */
void lv_trainer_drop(LvTrainer *t);

/**
 * Take the step with the gradients summed so far; t->step grows by one. In all ranks the
 * weights keep the same bits. Where the gradient is not finite the step is dropped before any
 * weight, moment or average is changed, with a warning.
 *
 * @return 0; -ERANGE after a message: the step was the LV_TRAINER_DROPS-th in a row
 */
int lv_trainer_update(LvTrainer *t);

/** Rate at a step, 0 <= step < steps: warm-up, then a cosine. */
double lv_optim_rate(const LvOptim *o, int step);

/**
 * Write the run, whole or not at all (a new file takes the old one's name).
 *
 * @return 0, -errno, -ENOMEM
 */
int lv_trainer_save(const LvTrainer *t, const char *path);

/** What a new run is made of. */
typedef struct LvNewRun {
    /** Describe the tensors in w. 0 or an error. */
    int (*describe)(void *opaque, LvWeights *w);
    /** Give values[p->size] what they begin with. NULL: by lv_init_params(). */
    int (*fill)(void *opaque, const LvParams *p, float *values);
    void *opaque;
    uint64_t seed;      ///< of lv_init_params()
    const char *from;   ///< file for lv_init_from(), in its place; NULL: none
    const char *config; ///< text for "linvideo.config"
} LvNewRun;

/** Write a run of step 0. */
int lv_trainer_create(const char *path, const LvNewRun *n, LvDevice *dev,
                      const LvMsg *msg);

/** Change places: what is trained, and its average. Call twice around a use. */
int lv_trainer_swap(LvTrainer *t);

#endif /* LINVIDEO_TRAIN_RUN_TRAINER_H */
