/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "denoise": noise to latents by the sampler's steps, each with one run of the network
 * for every prompt of guidance. Latents and solver stay on the host.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_DENOISE_H
#define LINVIDEO_PIPELINE_DENOISE_H

#include "pipeline/network.h"
#include "pipeline/noise.h"
#include "pipeline/sample.h"
#include "pipeline/step_cache.h"
#include "pipeline/windows.h"

/** Prompts of guidance: the conditional and the unconditional branch. */
enum { LV_COND, LV_UNCOND, LV_BRANCHES };

/** Where a branch runs. Branches of different networks run at the same time; these are on
 *  devices of their own. */
typedef struct LvBranch {
    LvNetwork *net[LV_EXPERTS]; ///< that of LV_LOW where there are two
    int prompt;     ///< number of its prompt there
    LvAside *aside; ///< of a network on another device than the stage's; NULL: it is there
} LvBranch;

/** How latents are sampled. */
typedef struct LvSchedule {
    enum LvSamplerKind kind; ///< not AUTO
    int steps;      ///< 1 to 1000, from noise alone
    float strength; ///< of noise that clips begin with, above 0, beside latents that are given;
                    ///< see lv_sampler_begin_at(). 0: noise alone
    float shift;    ///< > 0
    float boundary; ///< of LvVideoConfig; 0: all steps are the network's of LV_HIGH
    float guidance[LV_EXPERTS]; ///< scales, used with two branches
    int runs[LV_EXPERTS]; ///< branches of a step: 1, or 2 with guidance
    int guided[2];  ///< first step with guidance, and the first one behind these, of
                    ///< lv_schedule_steps(); the others have one branch. 0, 0: all have it
    int branches;   ///< the most of them
    float cache;    ///< limit of LvStepCache; 0: every step is run
    LvNag nag;      ///< in the conditional branch, without an unconditional one
    int keeps;      ///< 1: every clip is kept, see lv_denoise_keep(): one run more of each branch
} LvSchedule;

/** What a step began with: the latents of the host, and what the network made of them for
 *  each branch; v[LV_UNCOND] is NULL at a step of one. A negative result stops. */
typedef int (*LvStepSeen)(void *opaque, int step, const float *x,
                          const float *const v[LV_BRANCHES]);

/** What a step says that the clip will be: latents x0 = x - sigma v, with guidance. A negative
 *  result stops. */
typedef int (*LvStepGuess)(void *opaque, int step, const float *x0);

/** Steps of a network, LV_HIGH or LV_LOW, are to come: it is made ready. 0 or an error. */
typedef int (*LvExpertNext)(void *opaque, int expert);

/** Steps that are taken. */
int lv_schedule_steps(const LvSchedule *s);

/** Steps, and the run that keeps a clip. */
int lv_schedule_passes(const LvSchedule *s);

/** Prompts of a clip: one for each branch, and with nag the negative one. */
int lv_schedule_prompts(const LvSchedule *s);

/** Branches of a step that is a network's. */
int lv_schedule_runs(const LvSchedule *s, int expert, int step);

typedef struct LvDenoise LvDenoise;

/**
 * @param branch   [s->branches] of planned networks, which outlive the stage, as env does
 * @param[out] d   freed with lv_denoise_free(); NULL on error
 * @return 0; -ENOMEM; -EINVAL (steps that the sampler does not take)
 */
int lv_denoise_new(LvDenoise **d, const LvEnv *env, const LvBranch *branch,
                   const LvSchedule *s);

void lv_denoise_free(LvDenoise **d);

/** Set the length of clips in latents. The networks sample longer ones in windows of their own
 *  size. With circular the first latent follows the last, and a clip may be shorter than a
 *  window. Call it after the networks are planned and before lv_denoise_need(). */
void lv_denoise_lengthen(LvDenoise *d, int length, int circular);

/** Of clips in windows the conditional branch has a prompt for each part of the whole: a window
 *  that of its middle latent, and where windows overlap prompts melt into each other.
 *  @param from   [nb] first latents of the parts, from 0 on; of the caller, who keeps both
 *  @param number [nb] of prompts there, as LvBranch has it; NULL, 0: that of the branch alone */
void lv_denoise_parts(LvDenoise *d, const int *from, const int *number, int nb);

/** Windows of its first step. */
int lv_denoise_windows(const LvDenoise *d);

/** Of causal networks, whose clips are the blocks of a video: begin a video. */
int lv_denoise_clear(LvDenoise *d);

/** Of causal networks, with schedule.keeps: have the clip that was sampled last be one that the
 *  next one goes on from. The networks are run once more, at time 0. @return as
 *  lv_denoise_run() */
int lv_denoise_keep(LvDenoise *d);

/** Have a function called before the first step of each network, in every clip. */
void lv_denoise_each_expert(LvDenoise *d, LvExpertNext next, void *opaque);

/** Have a function called at each step of every clip; before lv_denoise_need(). */
void lv_denoise_each_guess(LvDenoise *d, LvStepGuess guess, void *opaque);

/** Give the first latent frame z [channels,Y,X] of the clips to come, which stays as it is; of the
 *  caller, who keeps it. NULL: none. The networks are planned with first_given. */
void lv_denoise_give_first(LvDenoise *d, const float *z);

/** Begin clips to come with latents z [channels,F,Y,X], noised to the first level; of the caller,
 *  who keeps them. NULL: with noise alone. */
void lv_denoise_from(LvDenoise *d, const float *z);

/** Have clips to come keep latents z [channels,F,Y,X] where mask [F,Y,X] is 1, nothing of them
 *  where it is 0, and between a part: at each step x0 = mask z + (1 - mask) of what the network
 *  says, so that x is z with the noise of that step where it is kept. Both of the caller, who
 *  keeps them; NULL: nothing is kept. */
void lv_denoise_blend(LvDenoise *d, const float *z, const float *mask);

/** What it needs beside the network. */
LvNeed lv_denoise_need(const LvDenoise *d);

/** Add what a clip costs, the network's runs. @return 0 or -ENOMEM */
int lv_denoise_cost(const LvDenoise *d, const LvRates *rates, LvCost *cost);

/** Allocate, once. @return 0 or -ENOMEM */
int lv_denoise_build(LvDenoise *d);

/**
 * Sample a clip, once networks and stage are built and the networks have their prompts.
 *
 * @param seen called at each step; may be NULL
 * @param[out] x latents [channels,F,Y,X] of the host, until the next run; F of the whole
 * @return 0; LV_ERR_CANCELLED; LV_ERR_MODEL (not finite: names the step); what seen returned
 */
int lv_denoise_run(LvDenoise *d, const LvNoise *noise, LvStepSeen seen, void *opaque,
                   const float **x);

#endif /* LINVIDEO_PIPELINE_DENOISE_H */
