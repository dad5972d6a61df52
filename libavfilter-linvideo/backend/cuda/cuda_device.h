/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The CUDA device. In builds without one, nocuda.c stands for it.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_CUDA_DEVICE_H
#define LINVIDEO_BACKEND_CUDA_CUDA_DEVICE_H

#include "backend/device.h"

/** As lv_device_open(). */
int lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);

/** A CUDA device, usable or not. */
typedef struct LvCard {
    char name[64];
    int major, minor;    ///< compute capability
    size_t free, total;  ///< bytes of memory; 0: unknown
    int driver;          ///< what the driver can do: 12040 for CUDA 12.4
    char why_not[256];   ///< why it can't be used here; "" when it can
} LvCard;

enum { LV_MAX_CARDS = 64 };

/**
 * List all CUDA devices. Opens each for a moment.
 *
 * @return how many there are, of which `most` are told of; LV_ERR_DEVICE with a message
 *         (no driver, no device...)
 */
int lv_cuda_list(LvCard *cards, int most, const LvMsg *msg);

#endif /* LINVIDEO_BACKEND_CUDA_CUDA_DEVICE_H */
