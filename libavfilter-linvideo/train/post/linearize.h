/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Selective transfer: a student that begins as its teacher, of whose self-attention layers
 * some become linear while it learns to move latents as the teacher does.
 * Floor train/post. Source: LinVideo (arXiv 2510.08318).
 */

#ifndef LINVIDEO_TRAIN_POST_LINEARIZE_H
#define LINVIDEO_TRAIN_POST_LINEARIZE_H

#include "train/post/critic.h"
#include "train/post/states.h"
#include "train/run/feeder.h"
#include "train/run/trainer.h"

/** Where a run is, and on what. */
typedef struct LvLinearizeFiles {
    const LvRecipe *recipe;
    const LvFrozen *teacher;
    const LvFrozen *begin;   ///< the network that the student begins as, whose linear layers stay
                             ///< so; NULL: the teacher
    const LvTrajectories *t;
    const char *run;         ///< path; with DMD also the beginning of those of the critic
    const char *maps;        ///< run of warmed-up maps; NULL: none
} LvLinearizeFiles;

typedef struct LvLinearize {
    const LvRecipe *recipe;
    const LvLinearizeConfig *cfg;
    const LvFrozen *teacher, *begin; ///< begin: as of files, or teacher
    LvOptim optim;
    char *about;             ///< settings of the run
    LvTrainer *trainer;
    LvDit dit;               ///< cfg.attention: kinds of layers now
    const LvParam *mix[LV_MAX_LAYERS];
    LvGates gates;
    LvStates states;
    LvNets nets;
    void *x;                 ///< memory of states, on the device
    LvLearn move, learn;     ///< move: absent when no states are moved before
    LvCritic *critic;        ///< of DMD
    LvFeeder *feeder;        ///< of stored states
    float *data;             ///< of a step of streams
    float *moved;            ///< states of a step
    /* of the last step */
    double loss;             ///< sum of weighted errors
    double error[LV_TIME_BINS], power[LV_TIME_BINS]; ///< sums of mean squares
    double critic_loss;
} LvLinearize;

/** Check that a teacher can be linearised by a recipe; fill in the student's network: linear
 *  where it begins so, mixed elsewhere. */
int lv_linearize_config(LvDitConfig *cfg, const LvLinearizeFiles *files);

/** Check all that a recipe says of a run, with trajectories that it makes itself, before any
 *  work. 0 or LV_ERR_MODEL after a message. */
int lv_linearize_check(const LvLinearizeFiles *files);

/** Write a new run. */
int lv_linearize_create(const LvLinearizeFiles *files);

/**
 * Open a run.
 *
 * @param checkpoint 1: blocks are computed again in the backward pass, in less memory
 * @param threads    that make batches
 * @param[out] l     closed with lv_linearize_close(); NULL on error
 * @return 0; -ENOMEM; LV_ERR_MODEL (files that do not fit together, other settings,
 *         velocities that are wanted and not there)
 */
int lv_linearize_open(LvLinearize **l, const LvLinearizeFiles *files, int checkpoint,
                      LvDtype dtype, int threads);

/** Free *l and set it to NULL. NULL is fine. */
void lv_linearize_close(LvLinearize **l);

/** Take one step. */
int lv_linearize_step(LvLinearize *l);

/** Save the run, and that of the critic. */
int lv_linearize_save(LvLinearize *l, const char *run);

/** Floating point operations of one step's matmuls. */
double lv_linearize_flops(const LvLinearize *l);

/** Squared error of velocities over their square when layer i alone is linear, and maps
 *  are as they are: out[layers]. Of the first 64 items of step 0. */
int lv_linearize_sensitivity(LvLinearize *l, double *out);

/** Write the bundle: kinds of layers as they are, weights by their average. LV_ERR_MODEL
 *  while any is mixed. */
int lv_linearize_export(const LvLinearize *l, const char *path);

/**
 * Verify a written bundle: as many softmax and linear layers as there should be run,
 * it has the size that it should have, and moves latents as the run does. The programs that
 * train are freed: the run is only to be closed then.
 *
 * @param[out] error squared error of its velocities over their square; what rounding to
 *                   f16 and `dtype` makes
 * @return 0; LV_ERR_MODEL
 */
int lv_linearize_verify(LvLinearize *l, const char *path, double *error);

#endif /* LINVIDEO_TRAIN_POST_LINEARIZE_H */
