/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The null device.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_NULL_H
#define LINVIDEO_BACKEND_NULL_H

#include "backend/device.h"

/** As lv_device_open(). */
int lv_null_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);

#endif /* LINVIDEO_BACKEND_NULL_H */
