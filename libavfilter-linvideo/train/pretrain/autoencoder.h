/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The autoencoder's training: procedural clips in, the same clips out, by mean squared
 * error through latents with a little noise.
 * Floor train/pretrain.
 *
 * A latent stands for n frames. A clip of 1 + n k frames goes in as n (k + 1) frames, the
 * first being repeated n - 1 times in front, as the decoder's user drops so many; those
 * do not count in the loss.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_AUTOENCODER_H
#define LINVIDEO_TRAIN_PRETRAIN_AUTOENCODER_H

#include "model/tae.h"
#include "train/pretrain/train_config.h"
#include "train/reel/stock.h"
#include "train/run/codec.h"
#include "train/run/feeder.h"
#include "train/run/trainer.h"

typedef struct LvAutoencoder {
    const LvTrainConfig *cfg;
    LvTrainer *trainer;
    LvStock stock;
    LvTae tae;
    LvDtype dtype;       ///< of activations
    LvTask task;         ///< of one crop: losses and gradients
    LvTensor x;          ///< [F,Y,X,3]: the crop
    LvTensor noise;      ///< [F',Y',X',C]: added to its latents
    LvTensor zero;       ///< the same shape: what the penalty pulls latents to
    LvTensor weight, z_weight; ///< [F], [1] of the losses
    LvTensor loss, z_loss;     ///< [F], [1]
    LvTaeState memory[2];      ///< of encoder and decoder, zero
    LvFeeder *feeder;
    double mse;          ///< of the last step, over the frames that count
    double z_square;     ///< of the last step: mean square of the latents
} LvAutoencoder;

/** Write a new run at path. @param from file of weights to begin with (lv_init_from());
 *  NULL: new ones. 0 or an error. */
int lv_autoencoder_create(const LvTrainConfig *cfg, const char *path, const char *from,
                          LvDevice *dev, const LvMsg *msg);

/**
 * Open a run.
 *
 * @param train   1: to take steps; 0: to use the average (encode, decode, export), which
 *                then stands in the place of the values
 * @param dtype   of activations: f32 or bf16
 * @param threads that render clips
 * @param[out] a  closed with lv_autoencoder_close(); NULL on error
 */
int lv_autoencoder_open(LvAutoencoder **a, const LvTrainConfig *cfg, const char *path,
                        int train, LvDtype dtype, int threads, LvDevice *dev,
                        const LvMsg *msg);

/** Free *a and set it to NULL. NULL is fine. */
void lv_autoencoder_close(LvAutoencoder **a);

/** Take one step; sets mse and z_square. */
int lv_autoencoder_step(LvAutoencoder *a);

/** Frames that the encoder takes for a clip: latent frames times frames of one. */
int lv_autoencoder_frames(const LvTrainConfig *cfg, int frames);

/** Render clip `index` of the stream for training (0), or of the one held out (1), as the
 *  encoder wants it: rgb [lv_autoencoder_frames(),height,width,3] of a shape. Shorter ones
 *  than the recipe's clips are parts of these, from somewhere within. */
void lv_autoencoder_clip(const LvAutoencoder *a, float *rgb, uint64_t index, int held_out,
                         const LvFlowShape *shape);

/** Plan the run's codec (encoder alone, or decoder too) for clips of a shape. Freed with
 *  lv_codec_free(). */
int lv_autoencoder_codec(LvCodec *c, const LvAutoencoder *a, int decode,
                         const LvFlowShape *shape);

/** PSNR in dB of `clips` held-out clips (mean error of all, peak 1) through encoder and
 *  decoder. */
int lv_autoencoder_psnr(const LvAutoencoder *a, int clips, double *psnr);

#endif /* LINVIDEO_TRAIN_PRETRAIN_AUTOENCODER_H */
