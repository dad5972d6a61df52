/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Which random numbers are for what: counted from (seed, purpose, step, item), so that a
 * run can stop and go on anywhere.
 * Floor train/run.
 */

#ifndef LINVIDEO_TRAIN_RUN_STREAMS_H
#define LINVIDEO_TRAIN_RUN_STREAMS_H

#include "base/philox.h"

enum LvStream {
    LV_STREAM_INIT_AUTOENCODER = 1, LV_STREAM_INIT_FLOW, LV_STREAM_CROP,
    LV_STREAM_LATENT_NOISE, LV_STREAM_SAMPLE, LV_STREAM_NOISE, LV_STREAM_CAPTION,
    LV_STREAM_TRAJECTORY, LV_STREAM_RENOISE, LV_STREAM_PROMPT, LV_STREAM_STATE,
    LV_STREAM_SLOT, LV_STREAM_ORDER, LV_STREAM_SCORE, LV_STREAM_FAKE
};

/** Number of a stream; step below 2^32, item below 2^24. */
static inline uint64_t lv_stream(int purpose, int step, int item)
{
    return (uint64_t)purpose << 56 | (uint64_t)(uint32_t)step << 24 | (uint32_t)item;
}

/** Four numbers evenly spread over [0, 1) of a stream. */
static inline void lv_uniform4(double u[4], uint64_t seed, uint64_t stream)
{
    const uint32_t ctr[4] = { 0, 0, (uint32_t)stream, (uint32_t)(stream >> 32) };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t word[4];

    lv_philox(word, ctr, key);
    for (int i = 0; i < 4; i++)
        u[i] = word[i] / 4294967296.0;
}

#endif /* LINVIDEO_TRAIN_RUN_STREAMS_H */
