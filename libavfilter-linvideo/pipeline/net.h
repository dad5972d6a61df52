/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A program with its sizes.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_NET_H
#define LINVIDEO_PIPELINE_NET_H

#include "graph/program.h"

/** All zero: none. */
typedef struct LvNet {
    LvProgram *prog;
    LvSizes sizes;
} LvNet;

/** Plan a traced graph, which is freed; a program that was there before is freed as well.
 *  @return as lv_program_new() */
int lv_net_plan(LvNet *net, LvGraph **g, LvDevice *dev);

/** Free the program and clear *net. */
void lv_net_free(LvNet *net);

#endif /* LINVIDEO_PIPELINE_NET_H */
