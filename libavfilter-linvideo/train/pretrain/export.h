/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A bundle from trained runs: averaged weights, matrices as f16, with tokenizer and
 * recipe.
 * Floor train/pretrain.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_EXPORT_H
#define LINVIDEO_TRAIN_PRETRAIN_EXPORT_H

#include "train/pretrain/autoencoder.h"
#include "train/pretrain/flow.h"

/** Tensors of a bundle in the making. */
typedef struct LvExport {
    LvFileTensor *list;
    int nb;
    char *data; ///< of those that were added from slabs, one behind the other
    size_t at;
} LvExport;

/** Make room for so many tensors, and for the elements of so many. 0 or -ENOMEM; free it
 *  with lv_export_free(), after an error too. */
int lv_export_new(LvExport *e, int tensors, size_t numel);
void lv_export_free(LvExport *e);

/** Add tensor t of a slab of the host: a matrix as f16, any other as f32. */
void lv_export_add(LvExport *e, const LvParam *t, const float *slab);

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

#endif /* LINVIDEO_TRAIN_PRETRAIN_EXPORT_H */
