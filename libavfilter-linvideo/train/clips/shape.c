/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/shape.h"

#include <math.h>

#include "base/common.h"

#define RING_MIDDLE 0.86f
#define RING_HALF   0.24f

enum { MAX_CORNERS = 12 };

typedef struct Polygon {
    int n;
    float v[MAX_CORNERS][2];
} Polygon;

/* Corner k of the star lies at 36 k degrees, at 1.38 or 0.58 from the middle. */
static const Polygon polygons[LV_SHAPE_NB] = {
    [LV_SQUARE] = { 4, { { -0.9f, -0.9f }, { 0.9f, -0.9f }, { 0.9f, 0.9f },
                         { -0.9f, 0.9f } } },
    [LV_TRIANGLE] = { 3, { { 0, -1.34f }, { 1.16047f, 0.67f }, { -1.16047f, 0.67f } } },
    [LV_DIAMOND] = { 4, { { 0, -1.36f }, { 0.85f, 0 }, { 0, 1.36f }, { -0.85f, 0 } } },
    [LV_CROSS] = { 12, { { -0.38f, -1.14f }, { 0.38f, -1.14f }, { 0.38f, -0.38f },
                         { 1.14f, -0.38f }, { 1.14f, 0.38f }, { 0.38f, 0.38f },
                         { 0.38f, 1.14f }, { -0.38f, 1.14f }, { -0.38f, 0.38f },
                         { -1.14f, 0.38f }, { -1.14f, -0.38f }, { -0.38f, -0.38f } } },
    [LV_STAR] = { 10, { { 0, -1.38f }, { 0.340915f, -0.469230f },
                        { 1.312458f, -0.426443f }, { 0.551613f, 0.179230f },
                        { 0.811143f, 1.116443f }, { 0, 0.58f },
                        { -0.811143f, 1.116443f }, { -0.551613f, 0.179230f },
                        { -1.312458f, -0.426443f }, { -0.340915f, -0.469230f } } },
};

static float polygon_distance(const Polygon *p, float x, float y)
{
    float least = INFINITY, sign = 1;

    for (int i = 0, j = p->n - 1; i < p->n; j = i++) {
        const float *a = p->v[i], *b = p->v[j];
        float ex = b[0] - a[0], ey = b[1] - a[1], wx = x - a[0], wy = y - a[1];
        float t = (wx * ex + wy * ey) / (ex * ex + ey * ey);
        int above = y >= a[1], below = y < b[1], left = ex * wy > ey * wx;
        float dx, dy;

        t  = LV_CLAMP(t, 0, 1);
        dx = wx - t * ex;
        dy = wy - t * ey;
        least = LV_MIN(least, dx * dx + dy * dy);
        if (above == below && below == left)
            sign = -sign;
    }
    return sign * sqrtf(least);
}

/* Two half discs on the sides of a corner of 90 degrees. In its own measure the
 * heart goes from (0,0), the tip, to 1.1 above. */
static float heart_distance(float x, float y)
{
    const float scale = 1.9f;
    float px = fabsf(x) / scale, py = 0.56f - y / scale, d, t;

    if (px + py > 1)
        return scale * (hypotf(px - 0.25f, py - 0.75f) - 0.35355339f);
    t = 0.5f * LV_MAX(px + py, 0);
    d = LV_MIN(hypotf(px, py - 1), hypotf(px - t, py - t));
    return px > py ? scale * d : -scale * d;
}

float lv_shape_distance(LvShape shape, float x, float y)
{
    switch (shape) {
    case LV_CIRCLE: return sqrtf(x * x + y * y) - 1;
    case LV_RING:   return fabsf(sqrtf(x * x + y * y) - RING_MIDDLE) - RING_HALF;
    case LV_HEART:  return heart_distance(x, y);
    default:        return polygon_distance(&polygons[shape], x, y);
    }
}

float lv_shape_extent(LvShape shape)
{
    static const float extent[LV_SHAPE_NB] = {
        [LV_CIRCLE] = 1, [LV_SQUARE] = 1.2728f, [LV_TRIANGLE] = 1.34f,
        [LV_STAR] = 1.38f, [LV_RING] = RING_MIDDLE + RING_HALF, [LV_CROSS] = 1.2017f,
        [LV_HEART] = 1.27f, [LV_DIAMOND] = 1.36f,
    };

    return extent[shape];
}
