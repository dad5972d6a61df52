/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights by table: a row names a tensor of the file, the field it goes to and its
 * shape in symbols. The same rows serve loading, checking, counting and (in
 * training) saving, initialising and grouping.
 * Floor F4 (model): knows rows, not networks.
 */

#ifndef LINVIDEO_MODEL_WEIGHTS_H
#define LINVIDEO_MODEL_WEIGHTS_H

#include "backend/device.h"
#include "base/safetensors.h"
#include "model/params.h"

/** What a weight is, for those who walk the rows. */
enum {
    LV_W_MATRIX = 1, ///< stays in the file's type and mapping: f32, bf16 or f16.
                     ///< All others are kept as f32
    LV_W_DECAY  = 2, ///< the optimizer's weight decay applies
    LV_W_FLAT   = 4, ///< bound as [first, product of the others]
    LV_W_INNER  = 8, ///< bound without its first dimension, which is 1
    LV_W_MAP    = 16, ///< a feature map: trained at a rate of its own
    LV_W_GATE   = 32, ///< the share of a mixture: no optimizer's matter
};

/** A size in a row: a number above 0, or LV_DIM(i), the i-th symbol. */
#define LV_DIM(i) (-(i) - 1)

typedef struct LvWeightRow {
    const char *name;        ///< after the prefix; "%d" stands for the index
    size_t offset;           ///< of the LvTensor in the bound struct
    int dim[LV_MAX_RANK];    ///< as in the file; ends at the first 0
    unsigned flags;          ///< LV_W_*
} LvWeightRow;

typedef struct LvWeights LvWeights;

/**
 * Bind from a file. Data of matrices stay in the mapping on a host device (st must
 * outlive the weights), and are uploaded on others.
 *
 * @return 0 or -ENOMEM
 */
int lv_weights_new(LvWeights **w, const LvSafetensors *st, LvDevice *dev,
                   const LvMsg *msg);

/**
 * The same for training: every tensor is kept as f32 in p, which is filled from the
 * file, and is not fixed. p must have room for all of them and outlive w.
 *
 * @param st NULL: rows are only described in p, with the shapes that they ask for
 */
int lv_weights_new_params(LvWeights **w, LvParams *p, const LvSafetensors *st,
                          LvDevice *dev, const LvMsg *msg);

/** The same for a network that stands beside one in training: every tensor is kept as f32
 *  and not fixed, so that equal weights give equal bits in both. */
int lv_weights_new_plain(LvWeights **w, const LvSafetensors *st, LvDevice *dev,
                         const LvMsg *msg);

/** Free *w and all memory of bound tensors; the device forgets packed forms of
 *  them. NULL is fine. */
void lv_weights_free(LvWeights **w);

/**
 * Bind all rows into the struct at `to`.
 *
 * @param prefix  put before every name
 * @param index   for "%d" in names
 * @param symbols sizes that LV_DIM refers to
 * @return 0; LV_ERR_MODEL: missing ("dit.head.head.weight is missing"), wrong shape
 *         ("... file has [8960,1536], model wants [8960,2048]") or type; -ENOMEM
 */
int lv_weights_bind(LvWeights *w, const LvWeightRow *rows, int nb,
                    const char *prefix, int index, const int *symbols, void *to);

/** Note that tensors whose names begin with prefix are not wanted. */
void lv_weights_skip(LvWeights *w, const char *prefix);

/** Tensor by its whole name, marked as used; NULL when absent. */
const LvFileTensor *lv_weights_take(LvWeights *w, const char *name);

/** Let the device drop packed forms of all weights bound by w; they are made again
 *  when a program is built. */
void lv_weights_forget(LvWeights *w);

/** Check that every tensor was used once: LV_ERR_MODEL names the first that was
 *  not, and how many there are. */
int lv_weights_finish(const LvWeights *w);

/** Messages and file of w, for those who bind. */
const LvMsg *lv_weights_msg(const LvWeights *w);
const LvSafetensors *lv_weights_file(const LvWeights *w);

#endif /* LINVIDEO_MODEL_WEIGHTS_H */
