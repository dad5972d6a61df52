/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Memory that the ranks of one host share, by a file that all of them map: sums in the order
 * of ranks.
 * Floor F2 (backend). It needs the C library alone.
 */

#ifndef LINVIDEO_BACKEND_CPU_SHARED_H
#define LINVIDEO_BACKEND_CPU_SHARED_H

#include <stddef.h>

typedef struct LvShared {
    void *map;      ///< NULL: not open
    size_t bytes;
    int rank, size;
    int (*gone)(void *opaque); ///< whether a rank is gone, asked now and then while waiting
    void *opaque;
} LvShared;

/** Make the file, in place of an older one. 0 or -1 with errno. */
int lv_shared_create(const char *path, int size);

/** Map it; rank, size, gone and opaque are set before. 0 or -1 with errno. */
int lv_shared_open(LvShared *s, const char *path);

void lv_shared_close(LvShared *s);

/** data[n] of float (wide 0) or double (1) becomes the sum over all ranks, which all call
 *  this. 0; -1: a rank is gone. */
int lv_shared_sum(LvShared *s, void *data, size_t n, int wide);

#endif /* LINVIDEO_BACKEND_CPU_SHARED_H */
