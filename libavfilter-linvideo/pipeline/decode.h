/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "decode": latents to frames, one latent frame after another, so that frames leave
 * early and memory does not depend on the clip's length. In tiles, when asked: each has its
 * own state and is decoded by the same programs; where tiles overlap, they blend.
 *
 * Wan's decoder has so much state that one tile has all of the device's at a time: it is decoded
 * over the whole clip before the next one, and frames are collected on the host.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_DECODE_H
#define LINVIDEO_PIPELINE_DECODE_H

#include <stdio.h>

#include "pipeline/env.h"
#include "pipeline/memory.h"

typedef struct LvDecode LvDecode;

/** What is fixed before planning. */
typedef struct LvDecodeShape {
    int size[3];   ///< of the latents: F, Y, X
    int history;   ///< above 0: latents are a loop, whose first one follows the last; so many of
                   ///< its last ones are decoded before, unseen. Each latent gives all its frames
    int endless;   ///< 1: latents follow others, see lv_decode_continue(); tiles of Wan's decoder
                   ///< then have memory each
    int tile;      ///< pixels; 0: frames are decoded whole
    int on_device; ///< 1: frames stay in memory of the device
} LvDecodeShape;

/** Frames of one latent frame. */
typedef struct LvFrames {
    const float *rgb; ///< [nb,rows,cols,3], 0 to 1 when in range, of the host or, with
                      ///< on_device, of the device; until the next run
    int nb;
} LvFrames;

/**
 * Describe env's decoder: all tensors are checked, none is read.
 *
 * @param env    outlives the stage
 * @param[out] d freed with lv_decode_free(); NULL on error
 * @return 0; -ENOMEM; as lv_tae_bind(), lv_wan_vae_bind()
 */
int lv_decode_new(LvDecode **d, const LvEnv *env);

void lv_decode_free(LvDecode **d);

/** Pixels along an axis, and frames, that a latent stands for; the first of a clip stands
 *  for one frame. */
int lv_decode_scale(const LvDecode *d);
int lv_decode_frames(const LvDecode *d);

/** Lay out tiles and plan. @return 0; -ENOMEM; -EINVAL (a tile too small for the decoder;
 *  for Wan's own the least is taken instead, with a warning) */
int lv_decode_plan(LvDecode *d, const LvDecodeShape *shape);

/** The smallest tile that it takes, in pixels. */
int lv_decode_least_tile(const LvDecode *d);

/** Pixels of a tile's longer side; 0: frames are decoded whole. */
int lv_decode_tile(const LvDecode *d);

/** What it needs as planned. */
LvNeed lv_decode_need(const LvDecode *d);

/** Floating point operations of a clip. */
double lv_decode_flops(const LvDecode *d);

/** Add what a clip costs, and what the weights cost to be there. */
void lv_decode_cost(const LvDecode *d, const LvRates *rates, LvCost *cost);
void lv_decode_cost_load(const LvDecode *d, const LvRates *rates, LvCost *cost);

/** Read, check and pack the weights, allocate the state.
 *  @param arena device, at least need.arena bytes, of the caller */
int lv_decode_build(LvDecode *d, void *arena);

/** Begin a clip: x are its latents [channels,F,Y,X] of the host, normalised, which stay as
 *  they are until the clip is decoded. */
int lv_decode_begin(LvDecode *d, const float *x);

/** Go on with latents x that follow those of the clip, which are all decoded. With endless. */
void lv_decode_continue(LvDecode *d, const float *x);

/** Decode the next latent frame of the clip. @return 0; LV_ERR_CANCELLED; LV_ERR_MODEL (a
 *  frame is not finite: its number); an error of the device */
int lv_decode_run(LvDecode *d, LvFrames *out);

/** Print the program of a latent frame that is not a clip's first. */
void lv_decode_dump(const LvDecode *d, FILE *to);

#endif /* LINVIDEO_PIPELINE_DECODE_H */
