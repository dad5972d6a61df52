/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights that are trained: five slabs of f32 on the device (values, gradients, both
 * moments of AdamW, average), each tensor at the same place in all of them. Tensors
 * that are decayed stand first, so that the optimizer takes few pieces of each slab.
 * Floor F4 (model): knows tensors, not networks or steps.
 */

#ifndef LINVIDEO_MODEL_PARAMS_H
#define LINVIDEO_MODEL_PARAMS_H

#include "backend/device.h"
#include "graph/grad.h"
#include "graph/graph.h"
#include "model/row.h"

/** The slabs. */
enum LvSlab { LV_SLAB_VALUE, LV_SLAB_GRAD, LV_SLAB_M, LV_SLAB_V, LV_SLAB_EMA, LV_SLAB_NB };

/** How tensors are trained, by the flags of their rows. */
enum LvParamGroup {
    LV_GROUP_PLAIN, LV_GROUP_DECAY, LV_GROUP_MAP, LV_GROUP_GATE, LV_GROUP_NB
};

/** Neighbours of one group in the slabs. */
typedef struct LvParamPiece {
    size_t at, size; ///< elements, padding included
    enum LvParamGroup group;
} LvParamPiece;

/** One tensor. */
typedef struct LvParam {
    char name[LV_PARAM_NAME]; ///< in files
    int rank;
    int64_t dim[LV_MAX_RANK]; ///< in files; a bound tensor may be shaped otherwise
    unsigned flags;           ///< LV_W_* of its row
    size_t numel;
    size_t at;                ///< element of each slab it begins with
    LvTensor value;           ///< as bound
} LvParam;

typedef struct LvParams {
    LvDevice *dev;
    const LvMsg *msg;
    LvParam *list;
    int nb;
    float *slab[LV_SLAB_NB]; ///< [size] each, on the device; NULL: only described
    size_t size;             ///< elements, padding included
} LvParams;

/**
 * Make the slabs, zeroed, for tensors of so many elements in all.
 *
 * @param room sum of lv_param_room() over the tensors; 0: no slabs, the tensors are only
 *             described, at places in the order of their rows
 * @param[out] p freed with lv_params_free(); NULL on error
 * @return 0 or -ENOMEM ("training needs 123 MiB ...")
 */
int lv_params_new(LvParams **p, size_t room, LvDevice *dev, const LvMsg *msg);

/** Free *p with its slabs and set it to NULL. NULL is fine. */
void lv_params_free(LvParams **p);

/** Elements of a slab that a tensor takes: whole lines of memory. */
size_t lv_param_room(size_t numel);

/**
 * Give a tensor its place. All of them must be added before anything else is done.
 *
 * @return its entry, until the next call; NULL when out of memory or room, after a
 *         message
 */
LvParam *lv_params_add(LvParams *p, const char *name, int rank, const int64_t *dim,
                       unsigned flags);

/** Entry by name, NULL when absent. */
const LvParam *lv_params_find(const LvParams *p, const char *name);

/** Gradients of all tensors, for lv_grad(): target[nb]. */
void lv_params_targets(const LvParams *p, LvGradTarget *target);

/** Cut the slabs into pieces, in the order of their places: piece[nb]. Returns how many
 *  there are. */
int lv_params_pieces(const LvParams *p, LvParamPiece *piece);

/** A piece of a slab as a tensor [n]. */
LvTensor lv_params_piece(const LvParams *p, int slab, const LvParamPiece *piece);

/** Host to a tensor in a slab and back: data[numel]. */
int lv_param_put(const LvParams *p, int slab, const LvParam *t, const float *data);
int lv_param_get(const LvParams *p, int slab, const LvParam *t, float *data);

/** Host to a slab and back, all of it: data[size]. */
int lv_params_upload(LvParams *p, int slab, const float *data);
int lv_params_download(const LvParams *p, int slab, float *data);

#endif /* LINVIDEO_MODEL_PARAMS_H */
