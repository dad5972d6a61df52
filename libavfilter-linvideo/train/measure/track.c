/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/track.h"

#include <math.h>

#include "base/common.h"

/* Least squared distance of magnitudes. */
static float outline_distance(const LvBlob *a, const LvBlob *b)
{
    float sum = 0;

    for (int k = 0; k < LV_RINGS; k++) {
        for (int h = 0; h < LV_HARMONICS; h++) {
            float d = hypotf(a->ring[k][h][0], a->ring[k][h][1]) -
                      hypotf(b->ring[k][h][0], b->ring[k][h][1]);

            sum += (k + 0.5f) * (h ? 2 : 1) * d * d;
        }
    }
    return sum;
}

LvShape lv_track_shape(const LvBlob *blobs, int frames, const LvOutlines *outlines)
{
    float most = 0, sums[LV_SHAPE_NB] = { 0 };
    LvShape best = 0;

    for (int f = 0; f < frames; f++)
        most = LV_MAX(most, blobs[f].area);
    for (int f = 0; f < frames; f++) {
        float least[LV_SHAPE_NB], weight = powf(blobs[f].area / LV_MAX(most, 1), 6);

        if (weight < 0.1f)
            continue;
        for (int s = 0; s < LV_SHAPE_NB; s++)
            least[s] = INFINITY;
        for (int i = 0; i < LV_OUTLINES; i++) {
            float d = outline_distance(&blobs[f], &outlines->blob[i]);

            least[i % LV_SHAPE_NB] = LV_MIN(least[i % LV_SHAPE_NB], d);
        }
        for (int s = 0; s < LV_SHAPE_NB; s++)
            sums[s] += weight * sqrtf(least[s]);
    }
    for (int s = 1; s < LV_SHAPE_NB; s++)
        if (sums[s] < sums[best])
            best = s;
    return best;
}

/* What the tracks say, lengths in the shorter side. */
typedef struct Track {
    float wide, high;   ///< extent of the centroid's way
    float right, down;  ///< from start to end
    float straight;     ///< from first to last by the length of the way, 0..1
    float growth;       ///< ln of size at the end by size at the start
    float swing;        ///< largest by smallest size
    float aspect;       ///< smallest by largest aspect
    float turned;       ///< radians in all
    float steady;       ///< 0..1: share of the turning that goes one way
} Track;

enum { ENDS = 3 }; /* frames that are taken for start and end */

typedef struct Range {
    float low, high;
} Range;

static void widen(Range *r, float x)
{
    r->low  = LV_MIN(r->low, x);
    r->high = LV_MAX(r->high, x);
}

static void turning(Track *t, const LvBlob *const *b, int n)
{
    float all = 1e-6f;

    for (int i = 1; i < n; i++) {
        float a = lv_blob_rotation(b[i - 1], b[i]);

        t->turned += a;
        all += fabsf(a);
    }
    t->steady = fabsf(t->turned) / all;
}

static Track follow(const LvBlob *const *b, int n, float unit)
{
    Range x = { INFINITY, -INFINITY }, y = x, size = x, aspect = x;
    int ends = LV_MIN(ENDS, n / 2);
    float way = 1e-6f;
    Track t = { 0 };

    for (int i = 0; i < n; i++) {
        widen(&x, b[i]->x / unit);
        widen(&y, b[i]->y / unit);
        widen(&size, sqrtf(b[i]->area));
        widen(&aspect, b[i]->aspect);
        if (i)
            way += hypotf(b[i]->x - b[i - 1]->x, b[i]->y - b[i - 1]->y);
    }
    t.straight = hypotf(b[n - 1]->x - b[0]->x, b[n - 1]->y - b[0]->y) / way;
    for (int i = 0; i < ends; i++) {
        const LvBlob *first = b[i], *last = b[n - 1 - i];

        t.right  += (last->x - first->x) / unit / ends;
        t.down   += (last->y - first->y) / unit / ends;
        t.growth += 0.5f * logf(last->area / first->area) / ends;
    }
    t.wide   = x.high - x.low;
    t.high   = y.high - y.low;
    t.swing  = size.high / size.low;
    t.aspect = aspect.low / LV_MAX(aspect.high, 1e-6f);
    turning(&t, b, n);
    return t;
}

static LvMotion name_travel(const Track *t)
{
    if (LV_MIN(t->wide, t->high) > 0.12f && t->straight < 0.6f)
        return LV_CIRCLING;
    if (t->wide > t->high)
        return t->right < 0 ? LV_LEFT : LV_RIGHT;
    if (t->straight < 0.6f)
        return LV_BOUNCING;
    return t->down < 0 ? LV_UP : LV_DOWN;
}

static LvMotion name_motion(const Track *t)
{
    if (LV_MAX(t->wide, t->high) > 0.12f)
        return name_travel(t);
    if (t->aspect < 0.7f)
        return LV_SPINNING;
    if (fabsf(t->growth) > 0.35f)
        return t->growth > 0 ? LV_GROWING : LV_SHRINKING;
    if (t->swing > 1.25f)
        return LV_PULSING;
    if (fabsf(t->turned) > 0.8f && t->steady > 0.6f)
        return LV_SPINNING;
    return LV_STILL;
}

LvMotion lv_track_motion(const LvBlob *blobs, int frames, float unit)
{
    const LvBlob *seen[512];
    Track t;
    int n = 0;

    for (int f = 0; f < frames && n < LV_COUNT(seen); f++)
        if (blobs[f].area > 0)
            seen[n++] = &blobs[f];
    if (n < 2)
        return LV_STILL;
    t = follow(seen, n, unit);
    return name_motion(&t);
}
