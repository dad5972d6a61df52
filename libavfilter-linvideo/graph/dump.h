/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A program as text.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_DUMP_H
#define LINVIDEO_GRAPH_DUMP_H

#include <stdio.h>
#include "graph/graph.h"

/** Print a line for each record: op, shapes, offsets, live range, source line. */
void lv_program_dump(const LvProgram *p, FILE *out);

#endif /* LINVIDEO_GRAPH_DUMP_H */
