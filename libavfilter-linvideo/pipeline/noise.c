/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/noise.h"

#include <string.h>

#include "base/philox.h"

/* What a stream is for. */
enum { START, RENOISE, ORDER };

static uint64_t stream(int64_t clip, int use)
{
    return (uint64_t)clip << 24 | (uint64_t)use << 16;
}

LvNoise lv_noise_of(uint64_t seed, int64_t clip)
{
    return (LvNoise) { .seed = seed, .start = stream(clip, START),
                       .renoise = stream(clip, RENOISE), .order = stream(clip, ORDER) };
}

void lv_noise_fill(const LvNoise *noise, float *x, size_t n, float scale)
{
    if (noise->given)
        memcpy(x, noise->given, n * sizeof(*x));
    else
        lv_philox_normal(x, n, noise->seed, noise->start);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}
