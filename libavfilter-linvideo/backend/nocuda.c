/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * In place of the CUDA device in builds without nvcc.
 */

#include "backend/cuda/cuda_device.h"

static int refuse(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR_DEVICE, "cuda: this build has no CUDA device: "
                   "./configure found no nvcc, or --disable-cuda was given");
}

int lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    (void)opt;
    *dev = NULL;
    return refuse(msg);
}

int lv_cuda_list(LvCard *cards, int most, const LvMsg *msg)
{
    (void)cards, (void)most;
    return refuse(msg);
}
