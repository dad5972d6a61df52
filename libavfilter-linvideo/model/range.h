/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The sizes and lengths that a model was made for.
 * Floor F4 (model): knows numbers, not weights.
 */

#ifndef LINVIDEO_MODEL_RANGE_H
#define LINVIDEO_MODEL_RANGE_H

#include "model/config.h"

enum { LV_RANGE_TEXT = 96 };

/** That of Wan's published networks, by their width and layers, with what a manifest says
 *  of its video; of others, which are not known, all zero: no bound. */
LvRange lv_range_wan(const LvDitConfig *c, const LvVideoConfig *v);

/** Whether r has any bound of sizes. */
int lv_range_bounds_size(const LvRange *r);

/**
 * The size to make frames of `asked` at: that itself, where it is within r when rounded
 * up to steps, or within nothing but a lenient lower bound; else the one of whole steps
 * within r whose shape is most like it, and then whose area is.
 *
 * @param asked width, height
 * @param step  whole ones of these can be made
 * @param[out] made width, height
 * @return 1: made differs from asked, and is to be scaled; 0: it does not; -1: nor does it,
 *         though it is below a lenient bound
 */
int lv_range_size(const LvRange *r, const int asked[2], const int step[2], int made[2]);

/** Frames of a clip to make for those asked for; the same that are asked where r is
 *  lenient. */
int lv_range_frames(const LvRange *r, int asked);

/** "192x112", "480x272 to 832x480", "230400 to 414720 pixels" or that it says nothing. */
const char *lv_range_text(char text[LV_RANGE_TEXT], const LvRange *r);

#endif /* LINVIDEO_MODEL_RANGE_H */
