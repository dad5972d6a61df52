/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures, for the entries of LvDeviceFns.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_FRAME_H
#define LINVIDEO_BACKEND_CUDA_FRAME_H

#include "backend/cuda/cuda.h"

int lv_cuda_paste(LvDevice *dev, const LvPaste *p);
int lv_cuda_deliver(LvDevice *dev, const LvPicture *out, const float *rgb, int rows,
                    int cols);

#endif /* LINVIDEO_BACKEND_CUDA_FRAME_H */
