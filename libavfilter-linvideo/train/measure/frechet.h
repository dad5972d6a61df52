/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frechet distance of two sets of clips, in the features of a fixed random network.
 * Floor train/measure.
 *
 * The network: means over a grid of about 48x28 squares, less 0.5, then four 3x3x3
 * convolutions to 16, 32, 64 and 128 channels with strides (time, rows, columns) of
 * (1,2,2), (2,2,2), (1,1,1), (2,2,2), zero padding of one, He-normal weights without
 * bias, leaky ReLU of 0.2. The features are mean and standard deviation of each of the
 * last 128 channels.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_FRECHET_H
#define LINVIDEO_TRAIN_MEASURE_FRECHET_H

#include <stdint.h>

#include "base/common.h"

/** Numbers that a clip becomes. */
enum { LV_FEATURES = 256 };

typedef struct LvFeatureNet LvFeatureNet;

/**
 * Make the network with the weights of a seed (0 for figures that are published), for
 * clips of one size.
 *
 * @param width, height, frames each at least 1
 * @param[out] out freed with lv_features_free(); for one thread
 * @return 0 or -ENOMEM
 */
int lv_features_new(LvFeatureNet **out, uint64_t seed, int width, int height,
                    int frames);

/** Free *net and set it to NULL. NULL is fine. */
void lv_features_free(LvFeatureNet **net);

/** Features of a clip, [frames,height,width,3] in 0..1. */
void lv_features_clip(LvFeatureNet *net, const float *rgb, float features[LV_FEATURES]);

/**
 * Frechet distance of two sets of vectors, each taken for normally distributed:
 * |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2). The covariances are shrunk to a
 * multiple of the identity by the oracle approximating rule (Chen, Wiesel, Eldar, Hero
 * 2010), so that small sets work; distances between sets of other sizes do not compare.
 * Roots by Jacobi rotations in f64: two sets of 256 numbers take some seconds.
 *
 * @param a, b     [na,dim], [nb,dim]; na, nb >= 2
 * @param[out] out the distance, >= 0
 * @return 0 or -ENOMEM
 */
int lv_frechet(const float *a, int na, const float *b, int nb, int dim, double *out);

#endif /* LINVIDEO_TRAIN_MEASURE_FRECHET_H */
