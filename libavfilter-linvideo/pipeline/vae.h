/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the stages "decode" and "encode frames" share: a half of a model's autoencoder that goes
 * over a clip tile by tile, one latent frame after another: its weights, its programs, and the
 * state that they hand on from one latent frame to the next.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_VAE_H
#define LINVIDEO_PIPELINE_VAE_H

#include "model/tae.h"
#include "model/wan_vae.h"
#include "pipeline/env.h"
#include "pipeline/memory.h"
#include "pipeline/net.h"
#include "pipeline/tiles.h"

enum { LV_VAE_STATES = 64 };

_Static_assert((int)LV_VAE_STATES >= (int)LV_WAN_STATES &&
               (int)LV_VAE_STATES >= (int)LV_TAE_MAX_LAYERS, "states of an autoencoder");

/** Programs: for the first latent frame of a clip, and for any other. A TAE has but the second. */
enum LvVaeWhich { LV_VAE_FIRST, LV_VAE_REST, LV_VAE_PROGRAMS };

/** State of a traced program; id LV_ID_NONE where it is not touched. */
typedef struct LvVaeState {
    LvTensor t[LV_VAE_STATES];
    int nb;
} LvVaeState;

/** The half traced over a tile of one latent frame: latents z[1,Y,X,channels] to frames
 *  rgb[frames,rows,columns,3], or the other way round. */
typedef struct LvVaeProgram {
    LvNet net;
    LvTensor in, out;
    LvTensor energy; ///< [1]: sum of squares of out, where that is asked for
    LvVaeState state;
} LvVaeProgram;

/** One half. All zero: none. */
typedef struct LvVaeHalf {
    const LvEnv *env;
    int encoder;
    LvWeights *weights;
    void *room;      ///< device: the weights'
    LvTae tae;
    LvWanVae *wan;   ///< NULL: it is a TAE

    LvVaeProgram program[LV_VAE_PROGRAMS];
    LvTiles tiles[2];   ///< of rows, of columns
    size_t state_bytes; ///< of one tile
    int in_turn;        ///< 1: one tile after another, each over the whole clip
    char *state;        ///< device: for each tile, or for the one whose turn it is; the stage's
                        ///< memory
    int at;             ///< latent frame of the clip that is next
} LvVaeHalf;

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

/** Free all but the state's memory. */
void lv_vae_free(LvVaeHalf *h);

/** Pixels along an axis, and frames, that a latent stands for; the first of a clip stands for
 *  one frame. */
int lv_vae_scale(const LvVaeHalf *h);
int lv_vae_frames(const LvVaeHalf *h);

/** Pixels of a side of the smallest tile. */
int lv_vae_least_tile(const LvVaeHalf *h);

/**
 * Lay out tiles over size[0] rows and size[1] columns of latents, and plan the programs of one, in
 * place of what is there. Tiles that are too small to look right are made larger, with a warning.
 *
 * @param tile   pixels of a side; 0: one tile
 * @param scale  pixels, or latents (1), that a latent has weights for; see lv_tiles_new()
 * @param energy 1: the programs make sums of squares
 * @return 0; -ENOMEM; -EINVAL (a TAE takes no tiles so small); as lv_net_plan()
 */
int lv_vae_plan(LvVaeHalf *h, const int *size, int tile, int scale, int energy);

size_t lv_vae_nb_tiles(const LvVaeHalf *h);

/** Bytes of the states that are there at a time. */
size_t lv_vae_states_bytes(const LvVaeHalf *h);

/** Floating point operations of a clip of so many latent frames. */
double lv_vae_flops(const LvVaeHalf *h, int frames);

/** What a clip costs. */
void lv_vae_cost(const LvVaeHalf *h, const LvRates *rates, int frames, LvCost *cost);

/** Needs of its two programs, which use the same weights, but for state and host. */
LvNeed lv_vae_need(const LvVaeHalf *h);

/** Where programs find what they work on, in memory of the device. */
typedef struct LvVaePorts {
    void *in, *out;
    float *energy;   ///< NULL where it is not asked for
} LvVaePorts;

/** Read the weights of what was described, build the programs and bind them.
 *  @return as lv_env_load(), lv_program_build() */
int lv_vae_build(LvVaeHalf *h, void *arena, const LvVaePorts *ports);

/** Begin a clip, or a tile of it: zero states. */
int lv_vae_begin(LvVaeHalf *h);

/** The program of the next latent frame. */
LvVaeProgram *lv_vae_next(LvVaeHalf *h);

/** What is done with a tile of the next latent frame, of row ty and column tx of tiles. */
typedef int LvVaeTile(void *opaque, LvVaeProgram *p, int ty, int tx);

/** Go over the tiles of the next latent frame, until one returns a negative code, which this
 *  returns; else 0. */
int lv_vae_walk(LvVaeHalf *h, LvVaeTile *tile, void *opaque);

/** Within a tile: send its input from the host and run its program. */
int lv_vae_run(LvVaeHalf *h, LvVaeProgram *p, int ty, int tx, void *in, const void *host);

#endif /* LINVIDEO_PIPELINE_VAE_H */
