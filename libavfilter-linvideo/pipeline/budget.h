/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * From what a clip needs and what there is to where the network's weights lie. Where a device
 * has no room for the weights of all blocks, as many as must be stay on the host, and stream.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_BUDGET_H
#define LINVIDEO_PIPELINE_BUDGET_H

#include <stddef.h>
#include <stdint.h>

/** Bytes of the device. */
typedef struct LvRoom {
    size_t have;  ///< there are
    size_t all;   ///< needed when all blocks stream, slots included
    size_t none;  ///< needed when all blocks stay, in the type that streams
    size_t slots; ///< of `all`
    size_t text;  ///< what the text encoder needs when the prompt changes
} LvRoom;

/** With fewer blocks on the host the two slots would hold all. */
enum { LV_LEAST_STREAMED = 3 };

/**
 * How many of a network's blocks stream: 0 when all may stay; else as few as must, when they
 * are all of one size. Room is left for the text encoder where that can be.
 *
 * @param room have >= all
 * @return 0, or LV_LEAST_STREAMED to blocks
 */
int lv_budget_streamed(const LvRoom *room, int blocks);

/** What is left of room->have for the clip. */
size_t lv_budget_left(const LvRoom *room);

/** Mark nb of blocks: they lie apart, so that while one is copied those that stay are
 *  computed as well. @param[out] streamed [blocks] */
void lv_budget_spread(uint8_t *streamed, int blocks, int nb);

#endif /* LINVIDEO_PIPELINE_BUDGET_H */
