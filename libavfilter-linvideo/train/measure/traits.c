/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/traits.h"

#include <math.h>

#include "base/common.h"

enum { BINS = 256 };

/* A step between neighbours of at least this part of the contrast is an edge. */
#define EDGE 0.3f

typedef struct Grid {
    const float *v;       ///< [frames,rows,columns,3]
    int frames, rows, columns;
    float contrast;
} Grid;

static const float *cell(const Grid *g, int f, int y, int x)
{
    return g->v + 3 * (((size_t)f * g->rows + y) * g->columns + x);
}

static float norm(const float v[3])
{
    return sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

static float apart(const float a[3], const float b[3])
{
    float d[3] = { a[0] - b[0], a[1] - b[1], a[2] - b[2] };

    return norm(d);
}

static void square_mean(float mean[3], const float *frame, int width, int x, int y)
{
    mean[0] = mean[1] = mean[2] = 0;
    for (int i = 0; i < LV_SQUARE_PIXELS * LV_SQUARE_PIXELS; i++) {
        int px = LV_SQUARE_PIXELS * x + i % LV_SQUARE_PIXELS;
        int py = LV_SQUARE_PIXELS * y + i / LV_SQUARE_PIXELS;

        for (int c = 0; c < 3; c++)
            mean[c] += frame[3 * ((size_t)py * width + px) + c];
    }
    for (int c = 0; c < 3; c++)
        mean[c] /= LV_SQUARE_PIXELS * LV_SQUARE_PIXELS;
}

float lv_squares(float *squares, const float *rgb, LvExtent n, const LvGround *g)
{
    int rows = n.height / LV_SQUARE_PIXELS, columns = n.width / LV_SQUARE_PIXELS;
    size_t counts[BINS] = { 0 }, cells = (size_t)rows * columns * n.frames, over = 0;
    int top = BINS - 1;

    for (size_t i = 0; i < cells; i++) {
        int x = i % columns, y = i / columns % rows, f = i / columns / rows;
        float *s = squares + 3 * i, at[3];

        square_mean(s, rgb + (size_t)3 * f * n.width * n.height, n.width, x, y);
        lv_ground_color(at, g, (2 * x + 1.0f) / columns - 1, (2 * y + 1.0f) / rows - 1);
        for (int c = 0; c < 3; c++)
            s[c] -= at[c];
        counts[(int)LV_MIN(norm(s) * (BINS / 2), BINS - 1)]++;
    }
    while (top > 0 && (over += counts[top]) * 100 < cells)
        top--;
    return LV_MAX((top + 1.0f) / (BINS / 2), 0.35f);
}

/* Shares of neighbours with an edge between them: across, down, from frame to frame;
 * and the mean step from frame to frame. */
static void edge_traits(float out[4], const Grid *g)
{
    double across = 0, down = 0, later = 0, step = 0, n = 0;
    float edge = EDGE * g->contrast;

    for (int f = 1; f < g->frames; f++) {
        for (int y = 1; y < g->rows; y++) {
            for (int x = 1; x < g->columns; x++, n++) {
                const float *v = cell(g, f, y, x);
                float d = apart(v, cell(g, f - 1, y, x));

                across += apart(v, cell(g, f, y, x - 1)) > edge;
                down   += apart(v, cell(g, f, y - 1, x)) > edge;
                later  += d > edge;
                step   += d / g->contrast;
            }
        }
    }
    out[0] = sqrt(across / n);
    out[1] = sqrt(down / n);
    out[2] = sqrt(later / n);
    out[3] = sqrt(step / n);
}

/* Logarithm of the step that one in 200 neighbours exceeds: how sharp outlines are. */
static float sharpness(const Grid *g)
{
    size_t counts[BINS] = { 0 }, n = 0, over = 0;
    int top = BINS - 1;

    for (int f = 0; f < g->frames; f++) {
        for (int y = 1; y < g->rows; y++) {
            for (int x = 1; x < g->columns; x++, n++) {
                const float *v = cell(g, f, y, x);
                float d = LV_MAX(apart(v, v - 3), apart(v, v - 3 * g->columns));

                counts[(int)LV_MIN(d * BINS, BINS - 1)]++;
            }
        }
    }
    while (top > 0 && (over += counts[top]) * 200 < n)
        top--;
    return logf((top + 4) / (float)BINS);
}

/* How much stands out, how that changes, and how much more of it is below. */
static void cover_traits(float out[3], const Grid *g)
{
    double sum = 0, squares = 0, below = 0, cells = (double)g->rows * g->columns;

    for (int f = 0; f < g->frames; f++) {
        double n = 0;

        for (int y = 0; y < g->rows; y++) {
            for (int x = 0; x < g->columns; x++) {
                int stands = norm(cell(g, f, y, x)) > 0.5f * g->contrast;

                n += stands;
                below += stands * (y * 3 / g->rows - 1) / cells / g->frames;
            }
        }
        sum += n / cells;
        squares += n * n / cells / cells;
    }
    sum /= g->frames;
    out[0] = sqrt(sum);
    out[1] = sqrt(LV_MAX(squares / g->frames - sum * sum, 0));
    out[2] = below;
}

/* Optical flow by least squares in [x0,x1) x [y0,y1), squares a frame: u to the right,
 * v down, each alone. */
static void flow(float uv[2], const Grid *g, int x0, int x1, int y0, int y1)
{
    double xt = 0, yt = 0, xx = 1e-3, yy = 1e-3;

    for (int f = 1; f < g->frames; f++) {
        for (int y = LV_MAX(y0, 1); y < LV_MIN(y1, g->rows - 1); y++) {
            for (int x = LV_MAX(x0, 1); x < LV_MIN(x1, g->columns - 1); x++) {
                const float *a = cell(g, f - 1, y, x), *b = cell(g, f, y, x);
                const float *l = b - 3, *r = b + 3;
                const float *u = b - 3 * g->columns, *d = b + 3 * g->columns;

                for (int c = 0; c < 3; c++) {
                    float t = b[c] - a[c], h = 0.5f * (r[c] - l[c]);
                    float v = 0.5f * (d[c] - u[c]);

                    xt -= h * t;
                    xx += h * h;
                    yt -= v * t;
                    yy += v * v;
                }
            }
        }
    }
    uv[0] = xt / xx;
    uv[1] = yt / yy;
}

/* What moves away from the middle, what falls, what goes sideways. */
static void flow_traits(float out[4], const Grid *g)
{
    float left[2], right[2], top[2], bottom[2];
    int x = g->columns / 2, y = g->rows / 2;

    flow(left, g, 0, x, 0, g->rows);
    flow(right, g, x, g->columns, 0, g->rows);
    flow(top, g, 0, g->columns, 0, y);
    flow(bottom, g, 0, g->columns, y, g->rows);
    out[0] = right[0] - left[0];
    out[1] = bottom[1] - top[1];
    out[2] = top[1] + bottom[1];
    out[3] = fabsf(left[0] + right[0]);
}

/* How much the colours that stand out differ, and the share of rows in the variance. */
static void mix_traits(float out[2], const Grid *g)
{
    double unit[3] = { 0 }, n = 0, rows = 0, all = 1e-6;

    for (int f = 0; f < g->frames; f++) {
        for (int y = 0; y < g->rows; y++) {
            double mean[3] = { 0 };

            for (int x = 0; x < g->columns; x++) {
                const float *v = cell(g, f, y, x);
                float size = norm(v);

                for (int c = 0; c < 3; c++) {
                    mean[c] += v[c] / g->columns;
                    all += v[c] * v[c] / g->columns;
                    unit[c] += size > 0.4f * g->contrast ? v[c] / size : 0;
                }
                n += size > 0.4f * g->contrast;
            }
            rows += mean[0] * mean[0] + mean[1] * mean[1] + mean[2] * mean[2];
        }
    }
    out[0] = 1 - sqrt(unit[0] * unit[0] + unit[1] * unit[1] + unit[2] * unit[2]) /
             LV_MAX(n, 1);
    out[1] = rows / all;
}

/* Deviation within one frame. */
static float deviation(const Grid *g, int f)
{
    double sum[3] = { 0 }, squares = 0, n = (double)g->rows * g->columns;

    for (int i = 0; i < g->rows * g->columns; i++) {
        const float *v = cell(g, f, 0, i);

        for (int c = 0; c < 3; c++) {
            sum[c] += v[c] / n;
            squares += v[c] * v[c] / n;
        }
    }
    squares -= sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2];
    return (float)sqrt(LV_MAX(squares, 0)) / g->contrast;
}

static void part_traits(float out[2], const LvParts *parts, int frames)
{
    double count = 0, share = 0;

    for (int f = 0; f < frames; f++) {
        count += parts[f].count;
        share += parts[f].total ? (double)parts[f].largest / parts[f].total : 0;
    }
    out[0] = sqrt(count / frames);
    out[1] = share / frames;
}

void lv_traits(float traits[LV_TRAITS], const float *squares, LvExtent n,
               float contrast, const LvParts *parts)
{
    Grid g = { squares, n.frames, n.height / LV_SQUARE_PIXELS,
               n.width / LV_SQUARE_PIXELS, contrast };

    edge_traits(traits, &g);
    cover_traits(traits + 4, &g);
    flow_traits(traits + 7, &g);
    mix_traits(traits + 11, &g);
    traits[13] = deviation(&g, 0);
    traits[14] = deviation(&g, n.frames - 1);
    part_traits(traits + 15, parts, n.frames);
    traits[17] = sharpness(&g);
}
