/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/tiles.h"

#include <assert.h>
#include <stdlib.h>

#include "base/common.h"

/* From 0 to 1 over the middle of the pixels shared: what is near the edge of a tile lacks the
 * latents beyond it. */
static float fade(float at, float shared)
{
    float x = 2 * at / shared - 0.5f;

    return LV_MIN(LV_MAX(x, 0), 1);
}

/* How much the pixels of a tile count: rising over the pixels shared with the one before,
 * falling over those shared with the one behind. */
static void fill_weights(LvTiles *t, int scale, float *sum)
{
    int n = t->size * scale;

    for (int i = 0; i < t->nb; i++)
        for (int k = 0; k < n; k++) {
            float left  = (float)lv_tiles_shared(t, i, scale);
            float right = i + 1 < t->nb ? (float)lv_tiles_shared(t, i + 1, scale) : 0;
            float rise  = left ? fade((float)k + 0.5f, left) : 1;
            float fall  = right ? fade((float)(n - k) - 0.5f, right) : 1;
            float w     = LV_MIN(rise, fall);

            t->weight[i * n + k]          = w;
            sum[t->start[i] * scale + k] += w;
        }
    for (int i = 0; i < t->nb; i++)
        for (int k = 0; k < n; k++)
            t->weight[i * n + k] /= sum[t->start[i] * scale + k];
}

int lv_tiles_new(LvTiles *t, int n, int size, int scale)
{
    int step = size - size / 2;
    float *sum;

    assert(n >= 1 && size >= 2 && scale >= 1);
    t->size   = LV_MIN(size, n);
    t->nb     = t->size == n ? 1 : (n - size + step - 1) / step + 1;
    t->start  = calloc((size_t)t->nb, sizeof(*t->start));
    t->weight = calloc((size_t)t->nb * (size_t)(t->size * scale), sizeof(*t->weight));
    sum       = calloc((size_t)(n * scale), sizeof(*sum));
    if (t->start && t->weight && sum) {
        for (int i = 0; i < t->nb; i++)
            t->start[i] = LV_MIN(i * step, n - t->size);
        fill_weights(t, scale, sum);
    }
    free(sum);
    return t->start && t->weight && sum ? 0 : LV_ERR(ENOMEM);
}

void lv_tiles_free(LvTiles *t)
{
    free(t->start);
    free(t->weight);
    *t = (LvTiles) { 0 };
}

size_t lv_tiles_weight_bytes(const LvTiles *t, int scale)
{
    return (size_t)t->nb * (size_t)(t->size * scale) * sizeof(*t->weight);
}

int lv_tiles_shared(const LvTiles *t, int i, int scale)
{
    assert(i >= 0 && i < t->nb);
    return i ? (t->start[i - 1] + t->size - t->start[i]) * scale : 0;
}
