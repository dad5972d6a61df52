/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The training of text encoder and diffusion transformer together, by flow matching:
 * x_t = (1 - t) x0 + t eps, the velocity eps - x0 by mean squared error.
 * Floor train/pretrain. Source: rectified flow with logit-normal times (arXiv 2403.03206).
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_FLOW_H
#define LINVIDEO_TRAIN_PRETRAIN_FLOW_H

#include "model/dit.h"
#include "model/tokenizer.h"
#include "model/umt5.h"
#include "train/pretrain/latents.h"
#include "train/pretrain/train_config.h"
#include "train/run/feeder.h"
#include "train/run/trainer.h"

/** What a micro-batch is given, as it lies in memory of the host. */
typedef struct LvFlowBatch {
    float *latent, *target; /* [B,C,F,Y,X] */
    float *t, *weight;      /* [B] */
    int32_t *ids, *rows;    /* [B text_len] */
    float *key_bias;        /* [B text_len] */
} LvFlowBatch;

/** A micro-batch of one shape, forward and back. */
typedef struct LvFlowMicro {
    LvLatents latents;
    LvTask task;         ///< loss and gradients
    LvDitInputs in;
    LvTensor ids;        ///< [B text_len] i32, padded
    LvTensor rows;       ///< [B text_len] i32: number of each row of features, -1 for
                         ///< padding, which becomes zero
    LvTensor key_bias;   ///< [B text_len]
    LvTensor target, weight;
    LvTensor loss;       ///< [B]
} LvFlowMicro;

typedef struct LvFlow {
    const LvTrainConfig *cfg;
    LvTrainer *trainer;
    LvTokenizer *tokenizer;
    LvStock stock;       ///< of captions
    LvDit dit;
    LvUmt5 text;
    LvDtype dtype;       ///< of activations
    LvFlowMicro micro[LV_FLOW_SHAPES]; ///< by shape
    LvFeeder *feeder;
    double mse;          ///< of the last step
} LvFlow;

/** Files that a flow run needs. */
typedef struct LvFlowFiles {
    const char *run, *tokenizer;
    const char *latents[LV_FLOW_SHAPES]; ///< by shape
} LvFlowFiles;

/** Write a new run. @param from file of weights to begin with (lv_init_from()); NULL: new
 *  ones. */
int lv_flow_create(const LvTrainConfig *cfg, const char *path, const char *from,
                   LvDevice *dev, const LvMsg *msg);

/**
 * Open a run.
 *
 * @param train      1: to take steps; 0: to use the average, which then stands in the
 *                   place of the values (latents are not opened)
 * @param checkpoint 1: blocks are computed again in the backward pass, in less memory
 * @param threads    that make batches
 * @param[out] f     closed with lv_flow_close(); NULL on error
 */
int lv_flow_open(LvFlow **f, const LvTrainConfig *cfg, const LvFlowFiles *files, int train,
                 int checkpoint, LvDtype dtype, int threads, LvDevice *dev,
                 const LvMsg *msg);

/** Free *f and set it to NULL. NULL is fine. */
void lv_flow_close(LvFlow **f);

/** Take one step; sets mse. */
int lv_flow_step(LvFlow *f);

/** Floating point operations of one step's matmuls, of the first shape. */
double lv_flow_flops(const LvFlow *f);

/** Read a tokenizer from a file. Closed by the caller. */
int lv_flow_tokenizer(LvTokenizer **t, const char *path, const LvMsg *msg);

/**
 * Trace text encoder and network for B samples.
 *
 * @param in       of lv_dit_batch_inputs()
 * @param ids, rows, key_bias as in LvFlow, external
 * @return velocity [B,C,F,Y,X] f32
 */
LvTensor lv_flow_trace(LvGraph *g, const LvUmt5 *text, const LvDit *dit, LvDitInputs *in,
                       LvTensor ids, LvTensor rows, LvTensor key_bias, LvDtype dtype);

#endif /* LINVIDEO_TRAIN_PRETRAIN_FLOW_H */
