/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/net.h"

int lv_net_plan(LvNet *net, LvGraph **g, LvDevice *dev)
{
    int ret;

    lv_net_free(net);
    ret = lv_program_new(&net->prog, *g, dev);
    lv_graph_free(g);
    if (ret >= 0)
        net->sizes = lv_program_sizes(net->prog);
    return ret;
}

void lv_net_free(LvNet *net)
{
    lv_program_free(&net->prog);
    *net = (LvNet) { 0 };
}
