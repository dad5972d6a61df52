/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The relative bias of softmax attention.
 */

#ifndef LINVIDEO_KERNELS_ATTENTION_BIAS_CUH
#define LINVIDEO_KERNELS_ATTENTION_BIAS_CUH

#include "lv_device.cuh"

/* Rows of bias that distance d = j - i takes. */
LV_INLINE int bucket_row(const int *bucket, int d, int half, int max_distance)
{
    return bucket[min(abs(d), max_distance)] + (d > 0 ? half : 0);
}

#endif /* LINVIDEO_KERNELS_ATTENTION_BIAS_CUH */
