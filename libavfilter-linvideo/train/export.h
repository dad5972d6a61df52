/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A bundle from trained runs: averaged weights, matrices as f16, with tokenizer and
 * recipe.
 * Floor "train".
 */

#ifndef LINVIDEO_TRAIN_EXPORT_H
#define LINVIDEO_TRAIN_EXPORT_H

#include "train/autoencoder.h"
#include "train/flow.h"

/**
 * Write a bundle.
 *
 * @param a, f      opened for use (train = 0)
 * @param latents   opened: whose mean and deviation the bundle tells
 * @param tokenizer path of its file
 * @return 0, -errno, -ENOMEM
 */
int lv_export(const char *path, const LvAutoencoder *a, const LvFlow *f,
              const LvLatents *latents, const char *tokenizer, const LvMsg *msg);

#endif /* LINVIDEO_TRAIN_EXPORT_H */
