/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Whether there is memory for a clip, and where the network's weights lie in it.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_PLACE_H
#define LINVIDEO_PIPELINE_PLACE_H

#include "pipeline/network.h"

/** What a clip is made with. */
typedef struct LvPlace {
    LvNetwork *network;          ///< planned, nothing streams
    const LvNetworkShape *shape;
    LvNeed others;               ///< of all other stages that stay beside it
    LvNeed text;                 ///< of the text encoder, which runs before them
    size_t limit;                ///< bytes of the device; 0: what it has free
} LvPlace;

/**
 * Plan the network so that all fits, streaming blocks where it must, and tell of it.
 *
 * @param[out] need of network and others, as placed
 * @return 0; -ENOMEM with "... need ..., ... are available"; as lv_network_plan()
 */
int lv_place(const LvEnv *env, const LvPlace *p, LvNeed *need);

#endif /* LINVIDEO_PIPELINE_PLACE_H */
