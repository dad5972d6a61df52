/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "encode frames": frames to latents by the encoder of an autoencoder, the frames of
 * one latent frame after another, so that memory does not depend on the clip's length. In
 * tiles, when asked: each has its own state; where tiles overlap, their latents blend.
 * Floor F5 (pipeline).
 *
 * A picture to begin a clip with is frame 0, and the frames behind it are NULL (mid grey); a
 * picture alone is a clip of one latent frame. It is needed before denoising only: freed, its
 * memory is there for the network.
 */

#ifndef LINVIDEO_PIPELINE_VAE_ENCODE_H
#define LINVIDEO_PIPELINE_VAE_ENCODE_H

#include "pipeline/env.h"
#include "pipeline/memory.h"

typedef struct LvVaeEncode LvVaeEncode;

/** What is fixed before planning. */
typedef struct LvVaeEncodeShape {
    int size[3]; ///< of the latents: F, Y, X
    int tile;    ///< pixels; 0: frames are encoded whole
} LvVaeEncodeShape;

/**
 * Describe the encoder of env's autoencoder: all tensors are checked, none is read.
 *
 * @param env    outlives the stage
 * @param[out] e freed with lv_vae_encode_free(); NULL on error
 * @return 0; as lv_vae_describe()
 */
int lv_vae_encode_new(LvVaeEncode **e, const LvEnv *env);

/** NULL is fine. */
void lv_vae_encode_free(LvVaeEncode **e);

/** Pixels along an axis that a latent stands for. */
int lv_vae_encode_scale(const LvVaeEncode *e);

/** Frames that a latent frame stands for which is not a clip's first. */
int lv_vae_encode_frames(const LvVaeEncode *e);

/** Lay out tiles and plan. @return 0; -ENOMEM. A tile that is too small becomes the least
 *  there is, with a warning */
int lv_vae_encode_plan(LvVaeEncode *e, const LvVaeEncodeShape *shape);

/** What it needs as planned. */
LvNeed lv_vae_encode_need(const LvVaeEncode *e);

/** Floating point operations of a clip. */
double lv_vae_encode_flops(const LvVaeEncode *e);

/** Read, check and pack the weights, allocate the state.
 *  @param arena device, at least need.arena bytes, of the caller */
int lv_vae_encode_build(LvVaeEncode *e, void *arena);

/** Begin a clip. @param x its latents [channels,F,Y,X] of the host, to be written, normalised:
 *  (mean - cfg.mean) / cfg.std */
int lv_vae_encode_begin(LvVaeEncode *e, float *x);

/**
 * Encode the frames of the next latent frame into the clip's latents.
 *
 * @param frames one for the first latent frame, else lv_vae_encode_frames(): each
 *               [Y scale,X scale,3] f32 of the host, -1 to 1, or NULL for mid grey (0)
 * @return 0; LV_ERR_CANCELLED; LV_ERR_MODEL (a latent is not finite); an error of the device
 */
int lv_vae_encode_run(LvVaeEncode *e, const float *const *frames);

#endif /* LINVIDEO_PIPELINE_VAE_ENCODE_H */
