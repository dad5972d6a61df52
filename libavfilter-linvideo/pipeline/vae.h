/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the stages "decode" and "encode frames" share: a half of a model's autoencoder, its
 * weights, and the state that its programs hand on from one latent frame to the next.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_VAE_H
#define LINVIDEO_PIPELINE_VAE_H

#include "model/tae.h"
#include "model/wan_vae.h"
#include "pipeline/env.h"
#include "pipeline/memory.h"
#include "pipeline/tiles.h"

enum { LV_VAE_STATES = 64 };

_Static_assert((int)LV_VAE_STATES >= (int)LV_WAN_STATES &&
               (int)LV_VAE_STATES >= (int)LV_TAE_MAX_LAYERS, "states of an autoencoder");

/** One half. All zero: none. */
typedef struct LvVaeHalf {
    const LvEnv *env;
    int encoder;
    LvWeights *weights;
    void *room;      ///< device: the weights'
    LvTae tae;
    LvWanVae *wan;   ///< NULL: it is a TAE
} LvVaeHalf;

/** State of a traced program; id LV_ID_NONE where it is not touched. */
typedef struct LvVaeState {
    LvTensor t[LV_VAE_STATES];
    int nb;
} LvVaeState;

/**
 * Describe the half of env's autoencoder: all tensors are checked, none is read. What was
 * there before is freed.
 *
 * @param env     outlives h
 * @param encoder 1: the encoder, 0: the decoder
 * @return 0; -ENOMEM; LV_ERR_MODEL (a TAE without an encoder); as lv_tae_bind(),
 *         lv_wan_vae_bind()
 */
int lv_vae_describe(LvVaeHalf *h, const LvEnv *env, int encoder);

/** Read the weights of what was described. @return as lv_env_load() */
int lv_vae_load(LvVaeHalf *h);

void lv_vae_free(LvVaeHalf *h);

/** Pixels along an axis, and frames, that a latent stands for; the first of a clip stands for
 *  one frame. */
int lv_vae_scale(const LvVaeHalf *h);
int lv_vae_frames(const LvVaeHalf *h);

/** Pixels of a side of the smallest tile. */
int lv_vae_least_tile(const LvVaeHalf *h);

/**
 * Lay out tiles over size[0] rows and size[1] columns of latents, in place of those that are
 * there. Tiles that are too small to look right are made larger, with a warning.
 *
 * @param tile  pixels of a side; 0: one tile
 * @param scale pixels, or latents (1), that a latent has weights for; see lv_tiles_new()
 * @return 0; -ENOMEM; -EINVAL (a decoder of TAEHV's kind takes none so small)
 */
int lv_vae_tiles(const LvVaeHalf *h, LvTiles tiles[2], const int *size, int tile, int scale);

/** Needs of its two programs, which use the same weights, but for state and host. */
LvNeed lv_vae_need(const LvVaeHalf *h, const LvSizes *first, const LvSizes *rest);

/** Trace it over one latent frame; first: of a clip (a TAE has but one program). x and the
 *  result are as of lv_tae_trace_decoder() and lv_wan_vae_trace_decoder(), or _encoder(). */
LvTensor lv_vae_trace(LvGraph *g, const LvVaeHalf *h, LvTensor x, int first, LvVaeState *s);

/** Bytes of a state, whole units of LV_ALIGN. */
size_t lv_vae_state_bytes(const LvVaeState *s);

/** Bind a state to memory of so many bytes. */
void lv_vae_bind_state(LvProgram *p, const LvVaeState *s, void *memory);

/** Zero states, as a clip begins with. */
int lv_vae_clear(LvDevice *dev, void *memory, size_t bytes);

#endif /* LINVIDEO_PIPELINE_VAE_H */
