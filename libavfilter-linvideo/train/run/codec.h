/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * An autoencoder over whole clips: the encoder alone, or the decoder behind it.
 * Floor train/run: knows neither runs nor bundles.
 *
 * A latent stands for n frames. A clip of 1 + n k frames goes in as n (k + 1) frames,
 * the first being repeated n - 1 times in front.
 */

#ifndef LINVIDEO_TRAIN_RUN_CODEC_H
#define LINVIDEO_TRAIN_RUN_CODEC_H

#include "model/tae.h"
#include "train/run/task.h"

typedef struct LvCodec {
    LvTask task;
    LvTensor x;      ///< [F,Y,X,3]
    LvTensor z;      ///< [F',Y',X',C], as the decoder takes it
    LvTensor y;      ///< [F,Y,X,3]; absent without the decoder
    LvTaeState memory[2];
    float *zero;     ///< host: what the memory begins with
} LvCodec;

/**
 * Plan it.
 *
 * @param tae    both halves bound; the decoder only when it is asked for
 * @param size   frames, rows and columns of what goes in
 * @param dtype  of activations: f32 or bf16
 * @param decode 1 to have y
 * @param[out] c freed with lv_codec_free(), on error too
 * @return as lv_task_new()
 */
int lv_codec_new(LvCodec *c, const LvTae *tae, const int size[3], LvDtype dtype,
                 int decode, LvDevice *dev, const LvMsg *msg);

/** Free what it holds; a zeroed one is fine. */
void lv_codec_free(LvCodec *c);

/**
 * Put a clip through.
 *
 * @param x [F,Y,X,3], 0 to 1
 * @param z latents, [F',Y',X',C]; NULL: not wanted
 * @param y [F,Y,X,3], 0 to 1 when in range; NULL: not wanted
 */
int lv_codec_run(const LvCodec *c, const float *x, float *z, float *y);

/** Repeat the frame at rgb[before * size] in front of it, `before` times; a frame
 *  is `size` values. */
void lv_codec_repeat(float *rgb, int before, size_t size);

/** Mean square error of n values of y, clamped to 0..1, against x. */
double lv_codec_error(const float *x, const float *y, size_t n);

#endif /* LINVIDEO_TRAIN_RUN_CODEC_H */
