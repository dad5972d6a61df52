/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pairs of ops on rows, for the entries of LvDeviceFns.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CUDA_ROWS_H
#define LINVIDEO_BACKEND_CUDA_ROWS_H

#include "backend/cuda/cuda.h"

int lv_cuda_gate_norm(LvDevice *dev, const LvGateArgs *g, const LvNormArgs *n,
                      LvCall *call);
int lv_cuda_norm_act(LvDevice *dev, const LvNormArgs *n, const LvActArgs *a, LvCall *call);

#endif /* LINVIDEO_BACKEND_CUDA_ROWS_H */
