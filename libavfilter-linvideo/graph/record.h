/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the list of operations is made of.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_RECORD_H
#define LINVIDEO_GRAPH_RECORD_H

#include "backend/ops.h"

typedef struct LvGraph LvGraph;
typedef struct LvProgram LvProgram;
typedef struct LvSlots LvSlots;

/** One op of the list. */
typedef struct LvRecord {
    enum LvOpKind op;
    int layer;        ///< as lv_graph_layer() said, for progress and cancelling
    const char *file; ///< source of the model that asked for it
    int line;
    LvOpArgs u;
} LvRecord;

/** Bytes a program wants; all known before anything is allocated. */
typedef struct LvSizes {
    size_t arena;   ///< temporaries, at their planned offsets, and op scratch
    size_t lower;   ///< largest sum of temporaries alive at once (the bound)
    size_t thread;  ///< for each thread of the device
    size_t weights; ///< packed copies of weights, each counted once
    size_t slot;    ///< of each of the slots; 0: no weight is streamed
    double flops;   ///< of one run
} LvSizes;

#endif /* LINVIDEO_GRAPH_RECORD_H */
