/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A diffusion transformer made ready: its programs, its weights, keys and values of the
 * prompts and pictures it works on. What denoises calls it; a model of two experts has two of them.
 * Floor F5 (pipeline): knows velocities, not samplers.
 */

#ifndef LINVIDEO_PIPELINE_NETWORK_H
#define LINVIDEO_PIPELINE_NETWORK_H

#include <stdio.h>

#include "model/dit.h"
#include "pipeline/env.h"
#include "pipeline/memory.h"

typedef struct LvNetwork LvNetwork;

/** Number of the negative prompt. */
enum { LV_NEGATIVE = 1 };

/** What is fixed before planning. */
typedef struct LvNetworkShape {
    int size[3]; ///< of the latents: F, Y, X
    int prompts; ///< that it works on in turn: 2 with guidance, or with nag
    int first_given; ///< 1: the first latent frame may be given, and has time 0 then (TI2V)
    LvNag nag;   ///< away from prompt LV_NEGATIVE
    LvCausal causal; ///< block 0: not causal; else size is that of a block
} LvNetworkShape;

/**
 * Describe a network of env's: all tensors are checked, none is read.
 *
 * @param env    outlives the network
 * @param expert LV_HIGH, which is the only one of most models, or LV_LOW
 * @param[out] n freed with lv_network_free(); NULL on error
 * @return 0; -ENOMEM; as lv_dit_bind(), lv_loras_finish()
 */
int lv_network_new(LvNetwork **n, const LvEnv *env, int expert);

void lv_network_free(LvNetwork **n);

/**
 * Plan its programs; may be called again, with another placement, before the build.
 *
 * @param streamed [cfg.dit.layers] 1 for blocks whose matrices stay on the host; kept as a
 *                 copy. NULL: none stream, and matrices may stay as they are stored
 * @return 0; -ENOMEM; LV_ERR_UNSUPPORTED
 */
int lv_network_plan(LvNetwork *n, const LvNetworkShape *shape, const uint8_t *streamed);

/** What it needs as planned. */
LvNeed lv_network_need(const LvNetwork *n);

/** Bytes of the host for weights that stream. */
size_t lv_network_streamed(const LvNetwork *n);

/** Floating point operations of one run. */
double lv_network_flops(const LvNetwork *n);

/** Add what runs of it cost, with what is offloaded sent each time; what a prompt costs; and
 *  what its weights cost to be there. */
void lv_network_cost(const LvNetwork *n, const LvRates *rates, double runs, LvCost *cost);
void lv_network_cost_prompt(const LvNetwork *n, const LvRates *rates, LvCost *cost);
void lv_network_cost_load(const LvNetwork *n, const LvRates *rates, LvCost *cost);

/** Elements of the latents, which are f32 [channels,F,Y,X]. */
size_t lv_network_numel(const LvNetwork *n);

/** Those of a latent frame in a channel. */
size_t lv_network_frame(const LvNetwork *n);

/**
 * Read, check and pack the weights, allocate the state.
 *
 * @param arena device, at least need.arena bytes, of the caller
 */
int lv_network_build(LvNetwork *n, void *arena);

/** Free what building made, prompts too: it is as planned again. Not built is fine.
 *  @return as lv_network_plan() */
int lv_network_drop(LvNetwork *n);

/** Make keys and values of prompt number `at` of its features
 *  [cfg.dit.text_len,cfg.dit.text_dim], of the host. */
int lv_network_prompt(LvNetwork *n, int at, const float *features);

/** Set what goes in behind the latents: y [cfg.dit.cond_channels,F,Y,X] of the host. */
int lv_network_condition(LvNetwork *n, const float *y);

/** Make keys and values of CLIP's features [lv_dit_clip_rows(),cfg.dit.clip_dim], of the host. */
int lv_network_clip(LvNetwork *n, const float *features);

/** Set where the next runs are: latents x of the host, time t of 0 to 1000; first_given: 1: the
 *  first latent frame is given, 0: it has that time too. */
int lv_network_at(LvNetwork *n, const float *x, float t, int first_given);

/**
 * Velocity for a prompt, to v of the host.
 *
 * @param tell where this run is: told of as layers pass, and counted up from at->layer
 */
int lv_network_run(LvNetwork *n, int prompt, const LvAt *at, float *v);

/** Of a causal network: begin a video, without any blocks before. Once after the build, too. */
int lv_network_clear(LvNetwork *n);

/** Of a causal network: the block that has been run, for all prompts and at time 0, is one of
 *  those that the next one attends to. */
int lv_network_keep(LvNetwork *n);

/** Print the network's program; that of its text side. */
void lv_network_dump(const LvNetwork *n, FILE *to);
void lv_network_dump_text(const LvNetwork *n, FILE *to);

#endif /* LINVIDEO_PIPELINE_NETWORK_H */
