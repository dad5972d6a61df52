/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Windows over latents that are longer than what a network runs on: at each step the network sees
 * the whole piece by piece, and where pieces overlap its velocities are averaged (MultiDiffusion,
 * arXiv 2302.08113; in time Gen-L-Video, arXiv 2305.18264). Windows move from step to step, so that
 * none ends twice at one place.
 *
 * The network takes the first latent of a window for one frame and each other one for several.
 * Only the whole's own first latent is so: of a window that begins elsewhere the first is there to
 * be seen, and its velocity counts nowhere.
 * Floor F5 (pipeline): knows places, not the network.
 */

#ifndef LINVIDEO_PIPELINE_WINDOWS_H
#define LINVIDEO_PIPELINE_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

typedef struct LvWindows {
    int length;  ///< latents of the whole, >= 1
    int size;    ///< of a window, >= 1; of one that is not a loop, at most length
    int circular; ///< 1: behind the last latent comes the first; else it is a line
    int channels;
    size_t plane; ///< elements of a latent's channel
} LvWindows;

/** 1: the network sees the whole at once, and there is nothing to average. */
int lv_windows_whole(const LvWindows *w);

/** Latents from the begin of a window to that of the next one. */
int lv_windows_step(const LvWindows *w);

/** Windows of a step 0, 1... of the sampler; the most of any step. */
int lv_windows_count(const LvWindows *w, int step);
int lv_windows_most(const LvWindows *w);

/** First latent of window k of a step. */
int lv_windows_start(const LvWindows *w, int step, int k);

/** How much place i of a window that begins at `start` counts: 0 or more, most in its middle. */
float lv_windows_weight(const LvWindows *w, int start, int i);

/** to [channels,size,plane]: the latents of a window, of x [channels,length,plane]. */
void lv_windows_take(const LvWindows *w, int start, const float *x, float *to);

/** sum += weight v of a window's v, as lv_windows_take() has it. */
void lv_windows_add(const LvWindows *w, int start, const float *v, float *sum);

/** Divide sums by the weights of all windows of a step. */
void lv_windows_divide(const LvWindows *w, int step, float *sum);

/**
 * Latents that a latent of the whole shares its first noise with, 0 to size - 1: those of the first
 * window, and behind them the same in another order (FreeNoise, arXiv 2310.15169), so that windows
 * begin alike.
 *
 * @param source [length]
 */
void lv_windows_noise(const LvWindows *w, uint64_t seed, uint64_t stream, int *source);

#endif /* LINVIDEO_PIPELINE_WINDOWS_H */
