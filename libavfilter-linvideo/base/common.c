/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/common.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Smaller memory gains nothing by them. */
enum { HUGE_LEAST = 4 << 20 };

void lv_huge_pages(void *p, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = -(uintptr_t)p % page;

    if (bytes >= HUGE_LEAST)
        madvise((char *)p + skip, (bytes - skip) / page * page, MADV_HUGEPAGE);
}

void *lv_alloc(size_t bytes)
{
    void *p;

    if (bytes > SIZE_MAX - LV_ALIGN)
        return NULL;
    bytes = LV_ROUND_UP(LV_MAX(bytes, 1), LV_ALIGN);
    if (!(p = aligned_alloc(LV_ALIGN, bytes)))
        return NULL;
    lv_huge_pages(p, bytes);
    return memset(p, 0, bytes);
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
