/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/windows.h"

#include <assert.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"

int lv_windows_whole(const LvWindows *w)
{
    return !w->circular && w->length <= w->size;
}

/* Latents of a window that count wherever it begins. */
static int usable(const LvWindows *w)
{
    return LV_MAX(w->size - 1, 1);
}

/* A third of a window is shared with the next one. */
int lv_windows_step(const LvWindows *w)
{
    return LV_MAX(usable(w) - (usable(w) + 1) / 3, 1);
}

/* Van der Corput's sequence 0, 1/2, 1/4, 3/4... times n, as a whole number below n. */
static int shift_of(int step, int n)
{
    double at = 0, bit = 0.5;

    for (unsigned i = (unsigned)step; i; i >>= 1, bit /= 2)
        at += i & 1 ? bit : 0;
    return (int)(at * n);
}

/* Begin of the last window of a line. */
static int last_start(const LvWindows *w)
{
    return LV_MAX(w->length - w->size, 0);
}

int lv_windows_count(const LvWindows *w, int step)
{
    int by = lv_windows_step(w);

    if (lv_windows_whole(w))
        return 1;
    if (w->circular)
        return (w->length + by - 1) / by;
    return 1 + (last_start(w) + shift_of(step, by) + by - 1) / by;
}

int lv_windows_most(const LvWindows *w)
{
    return lv_windows_count(w, 0) + !(w->circular || lv_windows_whole(w));
}

int lv_windows_start(const LvWindows *w, int step, int k)
{
    int by = lv_windows_step(w), shift = shift_of(step, by);

    if (w->circular)
        return (shift + k * by) % w->length;
    return k ? LV_MIN(k * by - shift, last_start(w)) : 0;
}

float lv_windows_weight(const LvWindows *w, int start, int i)
{
    if (w->size == 1)
        return 1;
    if (i == 0)
        return start == 0 && !w->circular;
    return (float)LV_MIN(i, w->size - i);
}

/* Copying */

static size_t at(const LvWindows *w, int channel, int latent)
{
    return ((size_t)channel * (size_t)w->length + (size_t)(latent % w->length)) * w->plane;
}

void lv_windows_take(const LvWindows *w, int start, const float *x, float *to)
{
    for (int c = 0; c < w->channels; c++)
        for (int i = 0; i < w->size; i++, to += w->plane)
            memcpy(to, x + at(w, c, start + i), w->plane * sizeof(*to));
}

void lv_windows_add(const LvWindows *w, int start, const float *v, float *sum)
{
    for (int c = 0; c < w->channels; c++)
        for (int i = 0; i < w->size; i++, v += w->plane) {
            float *to = sum + at(w, c, start + i), weight = lv_windows_weight(w, start, i);

            for (size_t e = 0; e < w->plane && weight > 0; e++)
                to[e] += weight * v[e];
        }
}

/* What all windows of a step weigh at a latent. */
static float weight_of(const LvWindows *w, int step, int latent)
{
    float sum = 0;

    for (int k = 0; k < lv_windows_count(w, step); k++) {
        int start = lv_windows_start(w, step, k);

        for (int i = 0; i < w->size; i++)
            if ((start + i) % w->length == latent)
                sum += lv_windows_weight(w, start, i);
    }
    return sum;
}

void lv_windows_divide(const LvWindows *w, int step, float *sum)
{
    for (int t = 0; t < w->length; t++) {
        float weight = weight_of(w, step, t);

        assert(weight > 0);
        for (int c = 0; c < w->channels; c++)
            for (size_t e = 0; e < w->plane; e++)
                sum[at(w, c, t) + e] /= weight;
    }
}

/* Noise */

/* Number `i` of a stream, 0 to n - 1. */
static int draw(uint64_t seed, uint64_t stream, uint32_t i, int n)
{
    const uint32_t ctr[4] = { i, 0, (uint32_t)stream, (uint32_t)(stream >> 32) };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];

    lv_philox(out, ctr, key);
    return (int)((uint64_t)out[0] * (uint64_t)n >> 32);
}

/* Put n numbers into another order. */
static void shuffle(int *p, int n, uint64_t seed, uint64_t stream, uint32_t *drawn)
{
    for (int i = n - 1; i > 0; i--) {
        int k = draw(seed, stream, (*drawn)++, i + 1), was = p[i];

        p[i] = p[k];
        p[k] = was;
    }
}

void lv_windows_noise(const LvWindows *w, uint64_t seed, uint64_t stream, int *source)
{
    int by = lv_windows_step(w);
    uint32_t drawn = 0;

    for (int p = 0; p < LV_MIN(w->size, w->length); p++)
        source[p] = p;
    for (int p = w->size; p < w->length; p += by) {
        int n = LV_MIN(by, w->length - p);

        memcpy(source + p, source + p - w->size, (size_t)n * sizeof(*source));
        shuffle(source + p, n, seed, stream, &drawn);
    }
}
