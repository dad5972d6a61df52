/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The autoencoders of Wan2.1 and Wan2.2: causal convolutions over time and place, 4 frames
 * and 8 x 8 pixels (Wan2.2's for its 5B model: 16 x 16) to a latent. They work on one latent
 * frame after another: every convolution keeps the last two frames that went into it, so that
 * memory does not depend on the clip's length, and the result is that of the whole clip at
 * once.
 * Floor F4 (model). Source: the references of Wan2.1 and Wan2.2, of which widths and latent
 * channels are free here.
 *
 * Wan2.2's (LvTaeConfig.patch is 2) takes pixels in patches of 2 x 2, and its levels have short
 * cuts (AVG_DOWN and DUP_UP in ops.h).
 *
 * The first latent frame of a clip is one frame, every other one is four; so either
 * half is two programs, for the first frame and for the others, which share their state.
 */

#ifndef LINVIDEO_MODEL_WAN_VAE_H
#define LINVIDEO_MODEL_WAN_VAE_H

#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"

enum { LV_WAN_LAYERS = 24, LV_WAN_STATES = 48,
       LV_WAN_FRAMES = 4, ///< frames of a latent frame that is not the first
       LV_WAN_SCALE = 8 };///< rows and columns of patches for one of the latents

enum LvWanKind {
    LV_WAN_CONV,  ///< 3x3x3
    LV_WAN_RES,   ///< norm, conv, norm, conv, beside a shortcut
    LV_WAN_ATTN,  ///< within each frame, one head
    LV_WAN_UP2, LV_WAN_UP3,     ///< twice as large; UP3: also twice as many frames
    LV_WAN_DOWN2, LV_WAN_DOWN3, ///< half as large; DOWN3: also half as many frames
    LV_WAN_HEAD   ///< norm, conv
};

typedef struct LvWanLayer {
    enum LvWanKind kind;
    int in, out;  ///< channels
    LvTensor norm[2], w[2], b[2]; ///< norms; convolutions, of ATTN to_qkv and proj
    LvTensor side_w, side_b;      ///< shortcut of RES, over time of UP3 and DOWN3
    LvTensor part_w[3], part_b[3]; ///< q, k and v of to_qkv
    int span;     ///< layers up to this one that a short cut goes past; 0: none
} LvWanLayer;

typedef struct LvWanHalf {
    LvWanLayer layer[LV_WAN_LAYERS];
    int layers;             ///< 0 when not bound
    LvTensor w, b;          ///< matmul at the side of the latents
} LvWanHalf;

typedef struct LvWanVae {
    LvTaeConfig cfg;
    LvWanHalf encoder, decoder;
} LvWanVae;

/** What the state of a traced half is: to be allocated, zeroed when a clip begins, and
 *  bound, by the caller. The same for both programs of a half; in the first one some are
 *  absent (id LV_ID_NONE), but for their sizes. */
typedef struct LvWanState {
    LvTensor t[LV_WAN_STATES];
    int nb;
    LvTensor out[LV_WAN_LAYERS]; ///< what each layer gives, to be watched
} LvWanState;

/**
 * Bind one half. Zero m first.
 *
 * @param encoder 1: the encoder half, 0: the decoder
 * @return as lv_weights_bind()
 */
int lv_wan_vae_bind(LvWanVae *m, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                    const char *prefix);

/**
 * Trace the decoder over one latent frame.
 *
 * @param z     external [1,Y,X,channels] f32, de-normalised
 * @param first 1: the first of a clip
 * @param dtype of activations between convolutions
 * @return frames [1 or 4, 8 Y, 8 X, 3] f32 (Wan2.2: 16 Y, 16 X), -1 to 1 when in range
 */
LvTensor lv_wan_vae_trace_decoder(LvGraph *g, const LvWanVae *m, LvTensor z, int first,
                                  LvDtype dtype, LvWanState *state);

/**
 * Trace the encoder over the frames of one latent frame.
 *
 * @param x external [1 or 4,Y,X,3] f32, -1 to 1; 8 (Wan2.2: 16) divides Y and X
 * @return means [1,Y / 8,X / 8,channels] f32, not normalised
 */
LvTensor lv_wan_vae_trace_encoder(LvGraph *g, const LvWanVae *m, LvTensor x, int first,
                                  LvDtype dtype, LvWanState *state);

#endif /* LINVIDEO_MODEL_WAN_VAE_H */
