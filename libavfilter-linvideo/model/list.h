/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * All tensors of a network by name and shape, in any layout: what its rows say, without a
 * file. Lists of one network in two layouts have the same order.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_LIST_H
#define LINVIDEO_MODEL_LIST_H

#include "model/params.h"
#include "model/recognise.h"

/**
 * List the tensors of a network, both halves of an autoencoder (not of LV_PART_TAE, whose
 * tensors are called the same in every layout).
 *
 * @param cfg   sizes of the kind's network in it
 * @param[out] list freed with lv_params_free(), before dev is closed; has no slabs
 * @param dev   the null device will do
 * @return 0, -ENOMEM, -EINVAL (no such kind)
 */
int lv_part_list(LvParams **list, int kind, const LvModelConfig *cfg, int layout,
                 const char *prefix, LvDevice *dev, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_LIST_H */
