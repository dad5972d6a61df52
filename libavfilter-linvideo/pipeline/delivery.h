/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "deliver": frames made to frames asked for, cut or scaled, on the host or in
 * memory of the device.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_DELIVERY_H
#define LINVIDEO_PIPELINE_DELIVERY_H

#include "pipeline/env.h"
#include "pipeline/resize.h"

/** How frames are delivered. Freed with lv_delivery_free(). */
typedef struct LvDelivery {
    const LvEnv *env;
    int rows, cols; ///< made
    int on_device;  ///< 1: made and delivered in memory of the device
    int scaled;     ///< 1: through resize; 0: the middle is cut out
    LvResize resize;
} LvDelivery;

/** Prepare for frames of cfg.video's size; all but resize is set by the caller.
 *  @return 0 or -ENOMEM */
int lv_delivery_new(LvDelivery *d);

void lv_delivery_free(LvDelivery *d);

/** Deliver rgb [rows,cols,3] to out, which is where rgb is. @return 0 or an error of the
 *  device */
int lv_delivery_run(const LvDelivery *d, const LvPlanes *out, const float *rgb);

#endif /* LINVIDEO_PIPELINE_DELIVERY_H */
