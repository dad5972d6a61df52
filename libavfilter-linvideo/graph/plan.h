/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where temporaries of a program lie, and how long they live.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_PLAN_H
#define LINVIDEO_GRAPH_PLAN_H

#include "graph/graph.h"

/** Find live ranges and offsets of p's temporaries; sets sizes.arena and .lower. */
int lv_plan_place(LvProgram *p);

/** Offset of a tensor in the arena and its live range (first and last record);
 *  0, or -1 when it is not a temporary. */
int lv_plan_find(const LvProgram *p, LvTensor t, size_t *offset, int *first,
                 int *last);

#endif /* LINVIDEO_GRAPH_PLAN_H */
