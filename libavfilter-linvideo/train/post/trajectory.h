/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a student learns on: prompts, and the states that the teacher's own sampler went
 * through, guidance included. No data go in but noise and prompts.
 * Floor train/post.
 *
 * A safetensors file: "states" [N,K,C,F,Y,X] F16, state k of a clip being that at
 * "sigma"[k] ([K + 1] F32, the last is 0); "velocities" [N,K,2,C,F,Y,X] F16, of the
 * prompt and of the unconditional one, when asked for; "prompt" [N] I32; "features"
 * [1 + P,text_len,text_dim] F32, first of the unconditional prompt; "prompts" U8, lines; "done"
 * [N] U8: which clips are there; "sums" [N] U64: a hash of what is stored of a clip, its
 * states and velocities step by step. Metadata "linvideo.trajectories" tells teacher and
 * settings. Clips are sampled into it in place, so that it goes on where it stopped.
 */

#ifndef LINVIDEO_TRAIN_POST_TRAJECTORY_H
#define LINVIDEO_TRAIN_POST_TRAJECTORY_H

#include "train/post/prompts.h"
#include "train/post/recipe.h"

typedef struct LvTrajectories {
    LvSafetensors *file;
    int prompts, clips, steps;  ///< P, N, K
    size_t numel;               ///< of a state
    size_t text;                ///< elements of a prompt's features
    const uint16_t *states, *velocities; ///< f16; NULL: not there
    const int32_t *prompt;      ///< of a clip, 0 to P - 1
    const float *features, *sigma;
    const uint8_t *done;
    const uint64_t *sums;       ///< [clips]; NULL: a file without
    float guidance;
} LvTrajectories;

/** Called after some clips: done of all. A negative result stops with that code. */
typedef int (*LvTrajectoriesProgress)(void *opaque, int done, int all);

enum { LV_TIMES = 1001 };

/** Times (sigma) of the states that a recipe asks for; behind the last is a 0.
 *  @return their number K, or LV_ERR_MODEL, -EINVAL or -ENOMEM after a message */
int lv_trajectories_times(float sigma[LV_TIMES], const LvFrozen *teacher,
                          const LvTrajectoryConfig *cfg);

/**
 * Make the file, or go on with it.
 *
 * @param p     prompts; clip i takes number i mod p->nb
 * @param dtype of activations
 * @return 0, an error, or what progress returned; LV_ERR_MODEL: it was begun with other
 *         settings
 */
int lv_trajectories_make(const LvFrozen *teacher, const LvTrajectoryConfig *cfg,
                         const LvPrompts *p, uint64_t seed, LvDtype dtype,
                         const char *path, LvTrajectoriesProgress progress, void *opaque);

/** Open a file that is whole. @return 0; errors of the file; LV_ERR_MODEL (of another
 *  teacher, not done). Close with lv_trajectories_close(), after an error too. */
int lv_trajectories_open(LvTrajectories *t, const LvFrozen *teacher, const char *path);

void lv_trajectories_close(LvTrajectories *t);

/** State k of a clip as f32, out[numel]. */
void lv_trajectories_state(const LvTrajectories *t, int clip, int k, float *out);

/** Features of a prompt, -1 for the unconditional one: [text]. */
const float *lv_trajectories_text(const LvTrajectories *t, int prompt);

#endif /* LINVIDEO_TRAIN_POST_TRAJECTORY_H */
