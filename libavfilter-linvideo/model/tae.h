/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * TAEHV-style video autoencoder: 2-D convolutions, blocks that see the frame before
 * (MemBlock), and layers that make several frames of one (TGrow) or one of several
 * (TPool). Works frame by frame: its memory does not depend on the clip's length.
 * Floor F4 (model). Source: TAEHV (taew2_1), of which widths, number of blocks and
 * stages are free here: the list of layers is read from the names and shapes in the
 * file.
 */

#ifndef LINVIDEO_MODEL_TAE_H
#define LINVIDEO_MODEL_TAE_H

#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"

enum { LV_TAE_MAX_LAYERS = 64, LV_TAE_MAX_STAGES = 4 };

/** What a new autoencoder looks like, outermost stage first: the encoder enters stage i
 *  > 0 by a POOL over `frames` and a convolution of stride 2, the decoder leaves it by
 *  UP, GROW and a convolution; either has `blocks` MemBlocks there. */
typedef struct LvTaeDesign {
    int stages;
    struct { int width, blocks, frames; } stage[LV_TAE_MAX_STAGES];
} LvTaeDesign;

enum LvTaeKind {
    LV_TAE_CLAMP, ///< 3 tanh(x / 3); first of a decoder, has no tensors
    LV_TAE_RELU,  ///< no tensors
    LV_TAE_UP,    ///< nearest, twice as large; before a GROW, no tensors
    LV_TAE_CONV,  ///< 3x3; stride 2 behind a POOL
    LV_TAE_MEM,   ///< MemBlock
    LV_TAE_GROW,  ///< 1x1 to n times the channels, then n frames
    LV_TAE_POOL   ///< n frames to n times the channels, then 1x1
};

typedef struct LvTaeLayer {
    enum LvTaeKind kind;
    int in, out;        ///< channels
    int n;              ///< frames of GROW and POOL
    int stride;         ///< of CONV
    int bias;           ///< 1: CONV has one
    LvTensor w[3], b[3]; ///< one for CONV (b optional), GROW, POOL; three for MEM
} LvTaeLayer;

/** One half: a list of layers. */
typedef struct LvTaeHalf {
    LvTaeLayer layer[LV_TAE_MAX_LAYERS];
    int layers;
    int frames;  ///< frames that one latent frame stands for
    int scale;   ///< rows and columns of pixels for one of the latents, without patch
} LvTaeHalf;

typedef struct LvTae {
    LvTaeConfig cfg;
    LvTaeHalf encoder, decoder; ///< layers is 0 when not bound
} LvTae;

/** What the state of a traced half is: to be allocated, zeroed when a clip begins,
 *  and bound, by the caller. */
typedef struct LvTaeState {
    LvTensor t[LV_TAE_MAX_LAYERS];
    int nb;
} LvTaeState;

/**
 * Find the layers of one half and bind their tensors, "<prefix><number>...".
 *
 * @param encoder 1: the encoder half, 0: the decoder
 * @return as lv_weights_bind(); LV_ERR_MODEL when the layers do not fit together
 */
int lv_tae_bind(LvTae *m, const LvTaeConfig *cfg, int encoder, LvWeights *w,
                const char *prefix);

/**
 * Lay out one half of a new autoencoder and describe its tensors in w, which has no
 * file (lv_weights_new_params()).
 *
 * @return 0, -ENOMEM, -EINVAL (too many layers)
 */
int lv_tae_design(LvTae *m, const LvTaeConfig *cfg, const LvTaeDesign *d, int encoder,
                  LvWeights *w, const char *prefix);

/** Latents F, Y, X for the frames of a model, rounded up to whole patches of its
 *  network; the decoder is bound. */
void lv_tae_latent_size(const LvTae *m, const LvModelConfig *cfg, int size[3]);

/**
 * Trace the decoder over one latent frame.
 *
 * @param z     external [1,Y,X,channels] f32, de-normalised
 * @param dtype of activations between convolutions
 * @return frames [frames,Y scale patch,X scale patch,3] f32, 0 to 1 when in range; of
 *         the first latent frame of a clip all but the last are to be dropped
 */
LvTensor lv_tae_trace_decoder(LvGraph *g, const LvTae *m, LvTensor z, LvDtype dtype,
                              LvTaeState *state);

/**
 * Trace the encoder over frames at once.
 *
 * @param x external [F,Y,X,3] f32, 0 to 1; frames divides F, scale patch Y and X
 * @return latents [F / frames,Y',X',channels] f32, not normalised
 */
LvTensor lv_tae_trace_encoder(LvGraph *g, const LvTae *m, LvTensor x, LvDtype dtype,
                              LvTaeState *state);

#endif /* LINVIDEO_MODEL_TAE_H */
