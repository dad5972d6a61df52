/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/ground.h"

#include <math.h>
#include <string.h>

#include "base/common.h"

enum { ROUNDS = 10, STEP = 4 };

/* Solve the symmetric 3x3 system m x = b by Cramer's rule. 0, or -1. */
static int solve(const double m[6], const double b[3], float x[3])
{
    /* m: 00 01 02 11 12 22 */
    double c00 = m[3] * m[5] - m[4] * m[4], c01 = m[2] * m[4] - m[1] * m[5];
    double c02 = m[1] * m[4] - m[2] * m[3], c11 = m[0] * m[5] - m[2] * m[2];
    double c12 = m[1] * m[2] - m[0] * m[4], c22 = m[0] * m[3] - m[1] * m[1];
    double det = m[0] * c00 + m[1] * c01 + m[2] * c02;

    if (fabs(det) < 1e-9)
        return -1;
    x[0] = (float)((c00 * b[0] + c01 * b[1] + c02 * b[2]) / det);
    x[1] = (float)((c01 * b[0] + c11 * b[1] + c12 * b[2]) / det);
    x[2] = (float)((c02 * b[0] + c12 * b[1] + c22 * b[2]) / det);
    return 0;
}

typedef struct Sums {
    double m[6], b[3][3];
} Sums;

static void add(Sums *s, const float *px, float x, float y, double w)
{
    s->m[0] += w;
    s->m[1] += w * x;
    s->m[2] += w * y;
    s->m[3] += w * x * x;
    s->m[4] += w * x * y;
    s->m[5] += w * y * y;
    for (int c = 0; c < 3; c++) {
        s->b[c][0] += w * px[c];
        s->b[c][1] += w * px[c] * x;
        s->b[c][2] += w * px[c] * y;
    }
}

/* One round: planes to all pixels, weighted by their distance to the last planes. */
static void refit(LvGround *g, const float *rgb, LvExtent n, float scale)
{
    Sums s = { { 0 }, { { 0 } } };

    for (int f = 0; f < n.frames; f += 2) {
        for (int row = f / 2 % STEP; row < n.height; row += STEP) {
            for (int col = 0; col < n.width; col += STEP) {
                size_t at_px = ((size_t)f * n.height + row) * n.width + col;
                const float *px = rgb + 3 * at_px;
                float x = 2 * (col + 0.5f) / n.width - 1;
                float y = 2 * (row + 0.5f) / n.height - 1, at[3], d = 0;
                double w;

                lv_ground_color(at, g, x, y);
                for (int c = 0; c < 3; c++)
                    d += (px[c] - at[c]) * (px[c] - at[c]);
                w = scale * scale / (scale * scale + d);
                add(&s, px, x, y, w * w);
            }
        }
    }
    for (int c = 0; c < 3; c++)
        solve(s.m, s.b[c], g->at[c]);
}

/* Median of a channel, to a 64th. */
static float median(const float *rgb, size_t pixels)
{
    size_t counts[64] = { 0 }, seen = 0;
    int i = 0;

    for (size_t k = 0; k < pixels; k++)
        counts[(int)(LV_CLAMP(rgb[3 * k], 0, 0.999f) * 64)]++;
    while ((seen += counts[i]) * 2 < pixels)
        i++;
    return (i + 0.5f) / 64;
}

void lv_ground_fit(LvGround *g, const float *rgb, LvExtent size)
{
    size_t pixels = (size_t)size.width * size.height * size.frames;
    float scale = 0.5f;

    memset(g, 0, sizeof(*g));
    for (int c = 0; c < 3; c++)
        g->at[c][0] = median(rgb + c, pixels);
    for (int i = 0; i < ROUNDS; i++) {
        refit(g, rgb, size, scale);
        scale = LV_MAX(0.75f * scale, 0.06f);
    }
}

/* Names */

/* The plane that a pattern has. */
static LvGround plane_of(LvPattern pattern, LvColor back, LvColor back2)
{
    float a[3], b[3];
    LvGround g;

    lv_scene_shades(a, b, pattern, back, back2);
    for (int c = 0; c < 3; c++) {
        float half = 0.5f * (b[c] - a[c]);

        /* a and b are the same where the pattern is plain */
        g.at[c][0] = 0.5f * (a[c] + b[c]);
        g.at[c][1] = pattern == LV_BLEND ? 0.5f * half : 0;
        g.at[c][2] = pattern == LV_BLEND ? 0.5f * half : half;
    }
    return g;
}

static float plane_distance(const LvGround *g, const LvGround *h, float until)
{
    float sum = 0;

    for (int i = 0; i < 9; i++) {
        float x = 0.8f * (i % 3 - 1), y = -0.9f + (until + 0.9f) * 0.5f * (i / 3);
        float a[3], b[3], d;

        lv_ground_color(a, g, x, y);
        lv_ground_color(b, h, x, y);
        d = lv_color_distance(a, b);
        sum += d * d;
    }
    return sum;
}

void lv_ground_name(LvPattern *pattern, LvColor *back, LvColor *back2,
                    const LvGround *g, float until)
{
    float least = INFINITY;

    for (int i = 0; i < (2 + LV_COLOR_NB) * LV_COLOR_NB; i++) {
        LvColor a = i % LV_COLOR_NB, b = i / LV_COLOR_NB - 2;
        LvPattern kind = i < LV_COLOR_NB ? LV_PLAIN :
                         i < 2 * LV_COLOR_NB ? LV_SHADED : LV_BLEND;
        LvGround h = plane_of(kind, a, kind == LV_BLEND ? b : a);
        float d = plane_distance(g, &h, until);

        if (d < least) {
            least = d;
            *pattern = kind;
            *back = a;
            *back2 = kind == LV_BLEND ? b : a;
        }
    }
}
