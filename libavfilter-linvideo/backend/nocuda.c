/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * In place of the CUDA device in builds without nvcc.
 */

#include "backend/device.h"

int lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    (void)opt;
    *dev = NULL;
    return lv_fail(msg, LV_ERR_DEVICE, "cuda: this build has no CUDA device: "
                   "./configure found no nvcc, or was told --disable-cuda");
}
