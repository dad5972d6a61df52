/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "deliver": frames made to frames asked for, cut or scaled, on the host or in
 * memory of the device; or made there to planes, which come to the host.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_DELIVERY_H
#define LINVIDEO_PIPELINE_DELIVERY_H

#include "pipeline/env.h"
#include "pipeline/memory.h"
#include "pipeline/resize.h"

/** How frames are delivered. Freed with lv_delivery_free(). */
typedef struct LvDelivery {
    const LvEnv *env;
    int rows, cols; ///< made
    int on_device;  ///< 1: made in memory of the device
    int fetched;    ///< 1: delivered from there to the host; 0: delivered where they are made
    int scaled;     ///< 1: through resize; 0: the middle is cut out
    LvResize resize;
    LvMemory memory; ///< of planes, where they are fetched
} LvDelivery;

/** Prepare for frames of cfg.video's size; all but resize and memory is set by the caller.
 *  @return 0 or -ENOMEM */
int lv_delivery_new(LvDelivery *d);

/** What it needs. */
LvNeed lv_delivery_need(const LvDelivery *d);

/** Allocate that. 0 or -ENOMEM */
int lv_delivery_build(LvDelivery *d);

void lv_delivery_free(LvDelivery *d);

/** Deliver rgb [rows,cols,3], which is where frames are made, to out. @return 0 or an error of
 *  the device */
int lv_delivery_run(const LvDelivery *d, const LvPlanes *out, const float *rgb);

#endif /* LINVIDEO_PIPELINE_DELIVERY_H */
