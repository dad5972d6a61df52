/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/noise.h"

uint64_t lv_noise_stream(int64_t clip, int use, int step)
{
    return (uint64_t)clip << 24 | (uint64_t)use << 16 | (uint64_t)step;
}
