/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/blob.h"

#include <math.h>
#include <string.h>

#include "base/common.h"

#define TURN 6.28318531f

enum { ANGLES = 64, BORDER = 3 };

typedef struct Flood {
    const float *alpha;
    int width, height;
    uint8_t *mark;
    int *stack;
    LvParts box; ///< of the part at hand
} Flood;

static void push(Flood *f, int *top, int x, int y)
{
    int i = y * f->width + x;

    if (x < 0 || y < 0 || x >= f->width || y >= f->height || f->mark[i] ||
        f->alpha[i] <= 0.5f)
        return;
    f->mark[i] = 1;
    f->stack[(*top)++] = i;
}

/* Take the part that (x, y) belongs to: its pixels and box. */
static int flood(Flood *f, int x, int y)
{
    int top = 0, n = 0;

    f->box = (LvParts) { .x0 = x, .y0 = y, .x1 = x, .y1 = y };
    push(f, &top, x, y);
    for (; top; n++) {
        int i = f->stack[--top];

        x = i % f->width;
        y = i / f->width;
        f->box.x0 = LV_MIN(f->box.x0, x);
        f->box.x1 = LV_MAX(f->box.x1, x);
        f->box.y0 = LV_MIN(f->box.y0, y);
        f->box.y1 = LV_MAX(f->box.y1, y);
        push(f, &top, x - 1, y);
        push(f, &top, x + 1, y);
        push(f, &top, x, y - 1);
        push(f, &top, x, y + 1);
    }
    return n;
}

LvParts lv_parts_find(const float *alpha, int width, int height, uint8_t *mark,
                      int *stack)
{
    Flood f = { alpha, width, height, mark, stack, { 0 } };
    LvParts parts = { 0 };

    memset(mark, 0, (size_t)width * height);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int n = flood(&f, x, y);

            if (n < LV_PART_PIXELS)
                continue;
            parts.count++;
            parts.total += n;
            if (n > parts.largest) {
                f.box.count   = parts.count;
                f.box.total   = parts.total;
                f.box.largest = n;
                parts = f.box;
            }
        }
    }
    return parts;
}

/* A pixel's share of the blob: steep, so that neither noise nor blur counts much. */
static float firm(float a)
{
    a = 2 * a - 0.5f;
    return LV_CLAMP(a, 0, 1);
}

typedef struct Window {
    const float *alpha;
    int width, x0, y0, x1, y1; ///< [x0, x1) x [y0, y1)
} Window;

static float at(const Window *w, int x, int y)
{
    if (x < w->x0 || y < w->y0 || x >= w->x1 || y >= w->y1)
        return 0;
    return firm(w->alpha[(size_t)y * w->width + x]);
}

static float between(const Window *w, float x, float y)
{
    int ix = (int)floorf(x - 0.5f), iy = (int)floorf(y - 0.5f);
    float u = x - 0.5f - ix, v = y - 0.5f - iy;

    return (1 - v) * ((1 - u) * at(w, ix, iy) + u * at(w, ix + 1, iy)) +
           v * ((1 - u) * at(w, ix, iy + 1) + u * at(w, ix + 1, iy + 1));
}

/* Area, centroid, and the ratio of the axes. */
static void moments(LvBlob *b, const Window *w)
{
    double m = 0, mx = 0, my = 0, xx = 0, xy = 0, yy = 0, half, root;

    for (int y = w->y0; y < w->y1; y++) {
        for (int x = w->x0; x < w->x1; x++) {
            double a = at(w, x, y), px = x + 0.5, py = y + 0.5;

            m  += a;
            mx += a * px;
            my += a * py;
            xx += a * px * px;
            xy += a * px * py;
            yy += a * py * py;
        }
    }
    b->area = (float)m;
    if (m < 1) {
        b->area = 0;
        return;
    }
    mx /= m;
    my /= m;
    xx = xx / m - mx * mx;
    yy = yy / m - my * my;
    xy = xy / m - mx * my;
    b->x = (float)mx;
    b->y = (float)my;
    half = 0.5 * (xx + yy);
    root = sqrt(0.25 * (xx - yy) * (xx - yy) + xy * xy);
    b->aspect = 1;
    if (half + root > 0)
        b->aspect = (float)sqrt(LV_MAX(half - root, 0) / (half + root));
}

static void rings(LvBlob *b, const Window *w)
{
    float radius = sqrtf(b->area / (TURN / 2)), c[ANGLES], s[ANGLES];

    for (int i = 0; i < ANGLES; i++) {
        c[i] = cosf(TURN * i / ANGLES);
        s[i] = sinf(TURN * i / ANGLES);
    }
    memset(b->ring, 0, sizeof(b->ring));
    for (int k = 0; k < LV_RINGS; k++) {
        float r = radius * (k + 0.5f) / 5;

        for (int i = 0; i < ANGLES; i++) {
            float v = between(w, b->x + r * c[i], b->y + r * s[i]) / ANGLES;

            for (int h = 0; h < LV_HARMONICS; h++) {
                b->ring[k][h][0] += v * c[h * i % ANGLES];
                b->ring[k][h][1] -= v * s[h * i % ANGLES];
            }
        }
    }
}

void lv_blob_describe(LvBlob *b, const float *alpha, int width, int height,
                      const LvParts *parts)
{
    Window w = { alpha, width, LV_MAX(parts->x0 - BORDER, 0),
                 LV_MAX(parts->y0 - BORDER, 0), LV_MIN(parts->x1 + 1 + BORDER, width),
                 LV_MIN(parts->y1 + 1 + BORDER, height) };

    memset(b, 0, sizeof(*b));
    if (!parts->largest)
        return;
    moments(b, &w);
    if (b->area > 0)
        rings(b, &w);
}

float lv_blob_rotation(const LvBlob *a, const LvBlob *b)
{
    float re[LV_HARMONICS] = { 0 }, im[LV_HARMONICS] = { 0 }, flat = 0, wavy = 0;
    float best = 0, most = -INFINITY;

    for (int k = 0; k < LV_RINGS; k++) {
        for (int h = 0; h < LV_HARMONICS; h++) {
            const float *p = a->ring[k][h], *q = b->ring[k][h];

            re[h] += (k + 0.5f) * (p[0] * q[0] + p[1] * q[1]);
            im[h] += (k + 0.5f) * (p[0] * q[1] - p[1] * q[0]);
        }
    }
    flat = re[0];
    for (int h = 1; h < LV_HARMONICS; h++)
        wavy += hypotf(re[h], im[h]);
    if (wavy < 0.006f * flat)
        return 0;
    for (int i = -60; i <= 60; i++) {
        float angle = 0.01f * i, sum = 0;

        for (int h = 1; h < LV_HARMONICS; h++)
            sum += re[h] * cosf(h * angle) - im[h] * sinf(h * angle);
        if (sum > most) {
            most = sum;
            best = angle;
        }
    }
    return best;
}
