/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a causal network keeps of the blocks before the one that it makes: their keys and values
 * in the slots of a window, and the state of linear layers, which stands for all of them.
 *
 * The first blocks, the sink, keep their slots; behind them the oldest gives way. Positions are
 * those in the window: they grow until it is full, then the block is always at its end and what
 * came before moves towards the sink. So nothing is ever at a place that the network has not
 * learned, and memory and time of a block are the same for ever. Linear layers take the mean over
 * all blocks until the window is full, and then let the oldest fade: a block has the share of the
 * window that it is.
 * Floor F5 (pipeline). Source: Self-Forcing, LongLive, Infinity-RoPE.
 */

#ifndef LINVIDEO_PIPELINE_BLOCK_CACHE_H
#define LINVIDEO_PIPELINE_BLOCK_CACHE_H

#include "model/dit.h"
#include "pipeline/env.h"
#include "pipeline/memory.h"

/** Slots behind the block's own rows. */
int lv_blocks_slots(const LvCausal *c);

/** Slot of block n, from 0 on; -1: it is not kept. */
int lv_blocks_slot(const LvCausal *c, int64_t n);

/** Where block n begins while block `now` >= n is made, in latents from the window's begin. */
int lv_blocks_position(const LvCausal *c, int64_t n, int64_t now);

/** Share of block n in the state of linear layers. */
float lv_blocks_share(const LvCausal *c, int64_t n);

/** Blocks of a network: one cache for each branch of guidance that it runs. */
typedef struct LvBlocks {
    const LvEnv *env;
    LvCausal causal;       ///< block 0: none
    int size[3];           ///< of a block: F, Y, X
    int caches;
    int64_t done;          ///< blocks that were kept
    float *rope, *rope_keys, *mask, *share; ///< device
    char *cache;           ///< device, [caches]
    float *table, *masks;  ///< host: rope of the window; mask
} LvBlocks;

/** Take the device's memory of a region. */
void lv_blocks_lay_out(LvBlocks *b, LvRegion *region);

/** The same of the host's; with memory the tables there are filled in. */
void lv_blocks_lay_out_host(LvBlocks *b, LvRegion *region);

/** Begin a video: nothing is kept. */
int lv_blocks_clear(LvBlocks *b);

/** Whether some of the window is not there yet: the program is one of `filling`. */
int lv_blocks_filling(const LvBlocks *b);

/** Bind a cache to a program whose inputs are `in`. */
void lv_blocks_bind(const LvBlocks *b, LvProgram *p, const LvDitInputs *in, int cache);

/** Keep the block that has been run, of all caches: what the last run of each left is that of
 *  clean latents. */
int lv_blocks_keep(LvBlocks *b);

#endif /* LINVIDEO_PIPELINE_BLOCK_CACHE_H */
