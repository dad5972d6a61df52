/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Which random numbers a clip is made of.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_NOISE_H
#define LINVIDEO_PIPELINE_NOISE_H

#include <stdint.h>

/** What a stream of random numbers is for; makes streams of one seed disjoint. */
enum LvNoiseUse {
    LV_NOISE_START,  ///< the latents a clip begins with
    LV_NOISE_RENOISE ///< + step: noise added by the few-step sampler
};

/** Stream number for clip (from 0), use and step (below 2^16). */
uint64_t lv_noise_stream(int64_t clip, int use, int step);

#endif /* LINVIDEO_PIPELINE_NOISE_H */
