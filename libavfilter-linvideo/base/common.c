/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/common.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void *lv_alloc(size_t bytes)
{
    void *p;

    if (bytes > SIZE_MAX - LV_ALIGN)
        return NULL;
    bytes = LV_ROUND_UP(LV_MAX(bytes, 1), LV_ALIGN);
    p     = aligned_alloc(LV_ALIGN, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void lv_free(void *p)
{
    free(p);
}

int lv_cores(void)
{
    cpu_set_t set;

    if (!sched_getaffinity(0, sizeof(set), &set))
        return LV_MAX(CPU_COUNT(&set), 1);
    return LV_MAX((int)sysconf(_SC_NPROCESSORS_ONLN), 1);
}

double lv_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
