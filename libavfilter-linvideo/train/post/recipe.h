/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A recipe of post-training: how a model is made linear in part and how it is distilled,
 * from one JSON file with the sections below. Source: LinVideo
 * (arXiv 2510.08318), DMD2 (arXiv 2405.14867).
 * Floor train/post: knows numbers.
 */

#ifndef LINVIDEO_TRAIN_POST_RECIPE_H
#define LINVIDEO_TRAIN_POST_RECIPE_H

#include "model/config.h"
#include "train/post/gates.h"
#include "train/run/trainer.h"

/** Section "trajectories": clips that the teacher samples for its student. */
typedef struct LvTrajectoryConfig {
    int prompts;     ///< captions drawn, when no file of prompts is given
    int clips;       ///< sampled, prompt by prompt in turn; 0: only prompts are kept
    int seed;        ///< of prompts and noise; -1: that of all
    int batch;       ///< not used; 0: not given
    int velocities;  ///< 1: those of both branches are kept too
    char solver[16]; ///< "": the model's, as all that is 0
    int steps;
    float shift, guidance;
} LvTrajectoryConfig;

/** Section "maps": the warm-up of feature maps by matching outputs of attention. */
typedef struct LvMapsConfig {
    LvOptim optim;   ///< steps 0: none
    int batch;
} LvMapsConfig;

/** What the student learns from. */
enum LvObjective {
    LV_LEARN_ONPOLICY, ///< the teacher's velocity where its own step led
    LV_LEARN_ANCHORED, ///< half of the error there and half of that before the step
    LV_LEARN_STEP,     ///< the error behind the step moves the velocity before it
    LV_LEARN_MSE,      ///< stored velocities at stored states
    LV_LEARN_ONLINE,   ///< the teacher's velocity at stored states
    LV_LEARN_DMD,      ///< distributions of clips, by a net that models the student's
    LV_LEARN_NB
};

/** Where states come from. */
enum LvStateSource { LV_STATES_STEP, LV_STATES_STREAM, LV_STATES_NB };

/** Which velocities are compared. */
enum LvCompare {
    LV_COMPARE_BRANCH, ///< those of one prompt, given or empty
    LV_COMPARE_JOINT,  ///< guided ones, made of both; for ONPOLICY and ONLINE
    LV_COMPARE_NB
};

/** Weight of an error. */
enum LvWeighting { LV_WEIGHT_NORM, LV_WEIGHT_UNIT, LV_WEIGHT_LITERAL, LV_WEIGHT_SQRT,
                   LV_WEIGHT_NB };

/** Weights that learn; all others keep their bits. */
enum LvOnly {
    LV_ONLY_NOT,       ///< all do
    LV_ONLY_ATTENTION, ///< those of self-attention: q, k, v, o, norms, feature maps
    LV_ONLY_MAPS,      ///< feature maps
    LV_ONLY_NB
};

enum { LV_SELECT_SIZE = 512 };

/** Section "linearize". */
typedef struct LvLinearizeConfig {
    LvOptim optim;   ///< averaging begins at the freeze, or half-way when none comes
    int batch, micro; ///< samples a step, and at once; micro divides batch
    int layers;      ///< that become linear: T; 0: half of them
    char select_by[LV_SELECT_SIZE]; ///< learned, first, random, greedy, or numbers from
                     ///< 0, as "0,3,5": these are linear from the start
    char map_name[16]; ///< of enum LvMapKind
    int map;
    int map_dim;     ///< 0: head_dim, of taylor 16
    float map_scale; ///< of the identity that maps begin as; 0: head_dim^-1/4
    float map_eps;
    char objective_name[16], states_name[16], weight_name[16], compare_name[16], only_name[16];
    int objective, states, weight, compare, only;
    float p_negative; ///< share of samples with the empty prompt, of BRANCH
    float t_min;     ///< least time of a state
    float cap;       ///< of (1 - t) / t in weights
    LvGatesConfig gates;
} LvLinearizeConfig;

/** Section "fake": the critic, which models what the student makes. */
typedef struct LvCriticConfig {
    LvOptim optim;   ///< its steps are counted from those of the student
    int ratio;       ///< of its steps to one of the student
} LvCriticConfig;

/** Section "distill" (E). */
typedef struct LvDistillConfig {
    LvOptim optim;
    int batch, micro;
    int sampler_steps;
    float sampler_shift;
    float guidance;  ///< of the teacher
    float shift;     ///< of the times at which distributions are compared
    float t_min, t_max; ///< their bounds
    char only_name[16];
    int only;        ///< enum LvOnly
} LvDistillConfig;

typedef struct LvRecipe {
    LvTrajectoryConfig trajectories;
    LvMapsConfig maps;
    LvLinearizeConfig linearize;
    LvCriticConfig critic;
    LvDistillConfig distill;
    int seed;        ///< of everything; section "train"
    char *text;      ///< the JSON, changes put in
} LvRecipe;

/**
 * Read a recipe.
 *
 * @param path    NULL: all is as by default
 * @param changes "section.key=value", nb of them, each in place of what the file says
 * @param r       freed with lv_recipe_free(), after an error too
 * @return 0, -errno of the file, LV_ERR_MODEL (which key, what it holds, what is
 *         allowed), -EINVAL (a change that is none), -ENOMEM
 */
int lv_recipe_read(LvRecipe *r, const char *path, const char *const *changes, int nb,
                   const LvMsg *msg);

/** Free what reading made. */
void lv_recipe_free(LvRecipe *r);

/** A section as one line of text, for the settings of a run; malloc'ed, NULL when out of
 *  memory. */
char *lv_recipe_section(const LvRecipe *r, const char *section);

#endif /* LINVIDEO_TRAIN_POST_RECIPE_H */
