/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Step caching: where the velocity would change little, that of the last run is used again, and
 * the network is not run. The rule is EasyCache's (arXiv 2507.02860), which learns from the steps
 * themselves how fast the velocity follows the latents, and needs no table of a model. What is used
 * again is v', not x + v' - x' as there: frames of the embedded model are 3 to 4 dB nearer, with
 * every sampler, and on a straight path v' is exact.
 *
 *   k  = mean |v - v'| / mean |x - x'|                 v, x of a step that is run, v', x' of
 *                                                      the run before
 *   E += k mean |x - x of the step before| / mean |v'| at every step behind that
 *   E < limit: v = v' in each branch; else the network is run, and E = 0
 *
 * The conditional branch decides for both. The first fifth of the steps and the last are always
 * run, and so are the first two of each network. Sums are f64 in one order: the same on
 * every machine.
 * Floor F5 (pipeline): knows velocities, not the network that makes them.
 */

#ifndef LINVIDEO_PIPELINE_STEP_CACHE_H
#define LINVIDEO_PIPELINE_STEP_CACHE_H

#include "base/common.h"

/** Branches of guidance whose velocities are kept, at most. */
enum { LV_STEP_BRANCHES = 2 };

/** Steps with which it can be of use, at least. */
enum { LV_STEP_CACHE_LEAST = 8 };

/** All zero: off. Arrays are of the host, of the caller's memory. */
typedef struct LvStepCache {
    double limit;      ///< of E; 0: every step is run
    int steps;         ///< of a clip
    size_t n;          ///< elements of x and v
    float *x;          ///< [n]: latents of the step before
    float *run_x;      ///< [n]: those of the last run
    float *run_v[LV_STEP_BRANCHES]; ///< [n]: its velocities; NULL: there is no such branch
    int runs;          ///< since the network was new: 0, 1, 2 or more
    int branches;      ///< of the last run
    double k, norm;    ///< see above; norm: mean |v'|
    double error;      ///< E
    int skipped, saved; ///< in this clip: steps, and velocities of them
} LvStepCache;

/** Begin a clip. */
void lv_step_cache_begin(LvStepCache *c);

/** The steps to come are another network's. */
void lv_step_cache_change(LvStepCache *c);

/** Decide for a step of so many branches, once. @return 1: its velocities are
 *  lv_step_cache_velocity()'s; 0: they are to be computed, and given to lv_step_cache_keep() */
int lv_step_cache_skips(LvStepCache *c, int step, const float *x, int branches);

void lv_step_cache_velocity(const LvStepCache *c, int branch, float *v);

/** v: [branches] */
void lv_step_cache_keep(LvStepCache *c, const float *x, float *const *v, int branches);

#endif /* LINVIDEO_PIPELINE_STEP_CACHE_H */
