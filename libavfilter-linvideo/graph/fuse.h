/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Two records of a program that one op of the contract does, to the same bits, so that what
 * goes between them need not travel through memory.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_FUSE_H
#define LINVIDEO_GRAPH_FUSE_H

#include "graph/graph.h"

/**
 * Fuse neighbours among p's records where the device runs what comes of it:
 *   GATE, NORM of its f32 result    -> GATE_NORM
 *   NORM, ACT of its result, which nobody else reads, of the same type -> NORM with act
 */
void lv_fuse(LvProgram *p);

#endif /* LINVIDEO_GRAPH_FUSE_H */
