/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Collectives between CPUs of one host.
 * Floor F2 (backend): knows memory and ranks.
 */

#ifndef LINVIDEO_BACKEND_CPU_CPU_GROUP_H
#define LINVIDEO_BACKEND_CPU_CPU_GROUP_H

#include "backend/group.h"

extern const LvGroupFns lv_cpu_group;

#endif /* LINVIDEO_BACKEND_CPU_CPU_GROUP_H */
