/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A device that runs every op by its f64 definition (ops_ref.h): slow, and sharing
 * no code with the CPU device, so that a wrong network and a wrong op can be told
 * apart.
 */

#ifndef LINVIDEO_TESTS_REF_DEVICE_H
#define LINVIDEO_TESTS_REF_DEVICE_H

#include "backend/device.h"

/** Open it; lv_device_close() frees it. 0 or -ENOMEM. */
int ref_device_open(LvDevice **dev, const LvMsg *msg);

#endif /* LINVIDEO_TESTS_REF_DEVICE_H */
