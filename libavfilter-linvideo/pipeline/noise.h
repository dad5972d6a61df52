/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Which random numbers a clip is made of.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_NOISE_H
#define LINVIDEO_PIPELINE_NOISE_H

#include <stddef.h>
#include <stdint.h>

/** The streams of one seed that a clip is made of: what it begins with, and, counted up by
 *  the step, what the few-step samplers add. */
typedef struct LvNoise {
    uint64_t seed, start, renoise;
    uint64_t order;     ///< in what order latents behind the first window share it
    const float *given; ///< what the clip begins with, in place of the stream `start`; NULL
} LvNoise;

/** The noise of clip 0, 1... of a seed; those of different clips have nothing in common. */
LvNoise lv_noise_of(uint64_t seed, int64_t clip);

/** Fill x[n] with the noise a clip begins with (n values, if given), times scale. */
void lv_noise_fill(const LvNoise *noise, float *x, size_t n, float scale);

#endif /* LINVIDEO_PIPELINE_NOISE_H */
