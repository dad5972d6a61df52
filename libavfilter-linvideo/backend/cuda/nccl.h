/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Collectives between CUDA devices by NCCL, opened by name at run time as the driver is:
 * libnccl.so.2, or what LINVIDEO_LIBNCCL in the environment names.
 * Floor F2 (backend): knows memory and ranks.
 */

#ifndef LINVIDEO_BACKEND_CUDA_NCCL_H
#define LINVIDEO_BACKEND_CUDA_NCCL_H

#include "backend/group.h"

extern const LvGroupFns lv_nccl_group;

#endif /* LINVIDEO_BACKEND_CUDA_NCCL_H */
