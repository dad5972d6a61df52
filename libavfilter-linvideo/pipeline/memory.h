/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Memory of a stage: what it needs, told before anything is allocated, and its two slabs,
 * the device's and the host's. A stage lays out its regions twice by the same function:
 * without memory to find their sizes, then with it.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_MEMORY_H
#define LINVIDEO_PIPELINE_MEMORY_H

#include "backend/device.h"
#include "graph/graph.h"

/** Bytes that a stage needs. */
typedef struct LvNeed {
    size_t weights; ///< device: weights, packed or uploaded
    size_t state;   ///< device: what lasts between runs
    size_t host;    ///< host: the same there
    size_t arena;   ///< device: temporaries, which stages share
    size_t lower;   ///< no arena can be smaller than that
    size_t thread;  ///< host: of each thread, shared too
    size_t slot;    ///< device: of one of the LV_SLOTS slots for weights that stream
} LvNeed;

/** Need of programs that one stage runs: weights are added up, the rest is shared. */
LvNeed lv_need_of(const LvSizes *sizes);

/** Need of two stages that are there at the same time and run in turn. */
LvNeed lv_need_join(LvNeed a, LvNeed b);

/** Bytes of a device: of weights, slots included; of all else, what is of the host among it
 *  where that is the device. */
size_t lv_need_weights(const LvNeed *n);
size_t lv_need_work(const LvNeed *n, const LvDevice *dev);

typedef struct LvRegion {
    char *base; ///< NULL: only sizes are wanted
    size_t at;
} LvRegion;

/** The next bytes of a region, aligned to LV_ALIGN; NULL where it has no memory. */
void *lv_region_take(LvRegion *s, size_t bytes);

/** A stage's regions. All zero: none. */
typedef struct LvMemory {
    char *device, *host;
} LvMemory;

/** Allocate need->state and need->host; the host's is pinned where that can be.
 *  @return 0; -ENOMEM with a message. Freed with lv_memory_free(), after an error too */
int lv_memory_new(LvMemory *m, LvDevice *dev, const LvNeed *need);

/** Free both and clear *m. All zero is fine. */
void lv_memory_free(LvMemory *m, LvDevice *dev);

#endif /* LINVIDEO_PIPELINE_MEMORY_H */
