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
    LvNetwork *network;          ///< planned
    const LvNetworkShape *shape;
    LvNeed others;               ///< of all other stages that stay beside it
    int tile;                    ///< pixels that frames are decoded in tiles of, for messages;
                                 ///< 0: whole
    LvNeed before;               ///< of what runs before them: the text encoder, or what encodes
                                 ///< images, if that is more
    size_t limit;                ///< bytes of the device; 0: what it has free
} LvPlace;

/** Where it lies. */
typedef struct LvPlaced {
    LvNeed need;     ///< of network and others
    size_t bytes;    ///< at the highest point
    size_t wanted;   ///< the same when nothing streams
    size_t have;     ///< there are
    int streams;     ///< 1: the network was planned so that blocks may stream
    int streamed;    ///< blocks that do
    size_t host;     ///< bytes of the host for them
    size_t host_all; ///< with what else lies there, where that is not the device...
    size_t host_have; ///< ...of so many
} LvPlaced;

/** Bytes of the device that the text encoder may use. */
typedef struct LvLeft {
    size_t spare; ///< while it runs, in addition to its need; SIZE_MAX without a memory limit
    size_t all;   ///< once all stages are loaded
} LvLeft;

/**
 * Plan the network so that all fits, streaming blocks where it must.
 *
 * @return 0; -ENOMEM without a message: it does not fit; as lv_network_plan()
 */
int lv_place(const LvEnv *env, const LvPlace *p, LvPlaced *placed);

/** 1: all fits, and nothing streams. */
int lv_place_whole(const LvEnv *env, const LvPlace *p);

/** Tell of it. @return 0; -ENOMEM with "... need ..., ... are available" */
int lv_place_tell(const LvEnv *env, const LvPlace *p, const LvPlaced *placed);

LvLeft lv_place_left(const LvEnv *env, const LvPlace *p, const LvPlaced *placed);

#endif /* LINVIDEO_PIPELINE_PLACE_H */
