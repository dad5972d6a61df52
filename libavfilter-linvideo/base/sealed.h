/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Safetensors files of our own that carry a hash of what they hold, so that one that was
 * damaged or changed is not taken: checkpoints, features, trajectories.
 * Floor F1 (base).
 *
 * The hash is in the metadata, "linvideo.hash": "xxh64:" and 16 digits. It is of the names,
 * types, shapes and data of tensors and of the other metadata, in any order.
 */

#ifndef LINVIDEO_BASE_SEALED_H
#define LINVIDEO_BASE_SEALED_H

#include "base/safetensors.h"

/** lv_safetensors_write(), with the hash. Tensors without data are left out of it: they are
 *  filled in later. meta has at most 8 pairs. */
int lv_sealed_write(const char *path, const LvFileTensor *tensors, int n,
                    const char *const *meta, const LvMsg *msg);

/**
 * Compare the hash with what the file holds.
 *
 * @param keys  of the metadata that the file was written with, ended by NULL
 * @param later tensors that had no data then, ended by NULL; NULL: none
 * @return 0; 1: the file has no hash, after a warning; LV_ERR_MODEL after a message
 */
int lv_sealed_check(const LvSafetensors *st, const char *const *keys,
                    const char *const *later, const LvMsg *msg);

#endif /* LINVIDEO_BASE_SEALED_H */
