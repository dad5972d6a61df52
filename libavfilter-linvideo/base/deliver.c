/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/deliver.h"

#include <string.h>

/* Columns handled at once. Even, so that 4:2:0 pairs never cross a border. */
#define TILE 128

/* One tile of one row, each colour apart; one more column at the left. */
typedef struct Tile {
    float r[TILE + 1], g[TILE + 1], b[TILE + 1];
} Tile;

/* Written so that NaN, which compares false, becomes 0. */
static inline float clamp01(float x)
{
    x = x > 0 ? x : 0;
    return x < 1 ? x : 1;
}

static void load(Tile *t, const float *restrict rgb, int n)
{
    for (int i = 0; i < n; i++) {
        t->r[i] = clamp01(rgb[3 * i]);
        t->g[i] = clamp01(rgb[3 * i + 1]);
        t->b[i] = clamp01(rgb[3 * i + 2]);
    }
}

/* Round to nearest what is known to be in 0..255. */
static inline uint8_t byte(float x)
{
    return (uint8_t)(int)(x + 0.5f);
}

static inline float luma(const LvMatrix *m, float r, float g, float b)
{
    return m->r * r + m->g * g + m->b * b;
}

static void put_luma(uint8_t *restrict y, const LvMatrix *of, const Tile *t, int first,
                     int n)
{
    const LvMatrix m = *of;

    for (int i = 0; i < n; i++)
        y[i] = byte(16 + 219 * luma(&m, t->r[first + i], t->g[first + i],
                                    t->b[first + i]));
}

/* Samples of a plane lie step apart. */
static inline void put_chroma(uint8_t *restrict cb, uint8_t *restrict cr, int step,
                              const LvMatrix *of, const Tile *t, int n)
{
    const LvMatrix m = *of;

    for (int i = 0; i < n; i++) {
        float y = luma(&m, t->r[i], t->g[i], t->b[i]);

        cb[i * step] = byte(128 + 224 * m.cb * (t->b[i] - y));
        cr[i * step] = byte(128 + 224 * m.cr * (t->r[i] - y));
    }
}

static void put_full(uint8_t *restrict out, const float *restrict c, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = byte(255 * c[i]);
}

/* Chroma samples of a tile of w columns, from two rows of one colour. Index 0 of
 * a and b is the column left of the tile. */
static void halve(float *restrict s, const float *restrict a,
                  const float *restrict b, int w)
{
    int pairs = w / 2;

    for (int i = 0; i < pairs; i++) {
        float l = a[2 * i] + b[2 * i], m = a[2 * i + 1] + b[2 * i + 1];
        float r = a[2 * i + 2] + b[2 * i + 2];
        s[i] = 0.125f * (l + 2 * m + r);
    }
    if (w & 1)
        s[pairs] = 0.5f * (a[w] + b[w]);
}

/* Planes on their way: out, and the row of colours that its row 0 comes from. */
typedef struct Job {
    const LvPlanes *out;
    const float *rgb;  ///< first value of the frame that is cut out
    size_t pitch;      ///< values from row to row of it
} Job;

static const float *source(const Job *job, int y, int x)
{
    return job->rgb + (size_t)y * job->pitch + 3 * (size_t)x;
}

static uint8_t *target(const Job *job, int plane, int y, int x)
{
    return job->out->data[plane] + y * job->out->stride[plane] + x;
}

/* Load columns x - 1 to x + w - 1; at the left edge the first one twice. */
static void load_left(Tile *t, const Job *job, int y, int x, int w)
{
    Tile edge;

    if (x > 0) {
        load(t, source(job, y, x - 1), w + 1);
        return;
    }
    load(&edge, source(job, y, 0), w);
    memcpy(t->r + 1, edge.r, (size_t)w * sizeof(float));
    memcpy(t->g + 1, edge.g, (size_t)w * sizeof(float));
    memcpy(t->b + 1, edge.b, (size_t)w * sizeof(float));
    t->r[0] = edge.r[0];
    t->g[0] = edge.g[0];
    t->b[0] = edge.b[0];
}

/* Luma of two rows, and colours of their chroma samples to s. */
static void put_halves(const Job *job, int y, int x, int w, Tile *s)
{
    int below = LV_MIN(y + 1, job->out->height - 1);
    Tile a, b;

    load_left(&a, job, y, x, w);
    load_left(&b, job, below, x, w);
    put_luma(target(job, 0, y, x), &job->out->matrix, &a, 1, w);
    put_luma(target(job, 0, below, x), &job->out->matrix, &b, 1, w);
    halve(s->r, a.r, b.r, w);
    halve(s->g, a.g, b.g, w);
    halve(s->b, a.b, b.b, w);
}

static void put_yuv420(const Job *job, int y, int x, int w)
{
    Tile s;

    put_halves(job, y, x, w, &s);
    put_chroma(target(job, 1, y / 2, x / 2), target(job, 2, y / 2, x / 2), 1,
               &job->out->matrix, &s, (w + 1) / 2);
}

static void put_nv12(const Job *job, int y, int x, int w)
{
    uint8_t *cbcr = target(job, 1, y / 2, x);
    Tile s;

    put_halves(job, y, x, w, &s);
    put_chroma(cbcr, cbcr + 1, 2, &job->out->matrix, &s, (w + 1) / 2);
}

static void put_yuv444(const Job *job, int y, int x, int w)
{
    Tile t;

    load(&t, source(job, y, x), w);
    put_luma(target(job, 0, y, x), &job->out->matrix, &t, 0, w);
    put_chroma(target(job, 1, y, x), target(job, 2, y, x), 1, &job->out->matrix, &t, w);
}

static void put_gbrp(const Job *job, int y, int x, int w)
{
    Tile t;

    load(&t, source(job, y, x), w);
    put_full(target(job, 0, y, x), t.g, w);
    put_full(target(job, 1, y, x), t.b, w);
    put_full(target(job, 2, y, x), t.r, w);
}

static void put_rgb24(const Job *job, int y, int x, int w)
{
    const float *restrict rgb = source(job, y, x);
    uint8_t *restrict out = target(job, 0, y, 3 * x);

    for (int i = 0; i < 3 * w; i++)
        out[i] = byte(255 * clamp01(rgb[i]));
}

static const struct {
    int half;     ///< 1: planes behind the first have half of the rows and columns
    int bytes[3]; ///< of an element of each plane; 0: the format lacks the plane
    void (*put)(const Job *job, int y, int x, int w); ///< one row, or two where half is set
} formats[LV_FORMAT_NB] = {
    [LV_YUV420P] = { 1, { 1, 1, 1 }, put_yuv420 },
    [LV_YUV444P] = { 0, { 1, 1, 1 }, put_yuv444 },
    [LV_GBRP]    = { 0, { 1, 1, 1 }, put_gbrp },
    [LV_RGB24]   = { 0, { 3, 0, 0 }, put_rgb24 },
    [LV_NV12]    = { 1, { 1, 2, 0 }, put_nv12 },
};

void lv_deliver(const LvPlanes *out, const float *rgb, int rows, int cols)
{
    size_t top = (size_t)(rows - out->height) / 2, left = (size_t)(cols - out->width) / 2;
    Job job = { out, rgb + 3 * (top * (size_t)cols + left), 3 * (size_t)cols };
    int step = 1 + formats[out->format].half;

    for (int y = 0; y < out->height; y += step)
        for (int x = 0; x < out->width; x += TILE)
            formats[out->format].put(&job, y, x, LV_MIN(TILE, out->width - x));
}

int lv_planes_halve(enum LvFormat format)
{
    return formats[format].half;
}

LvPlaneSize lv_plane_size(enum LvFormat format, int plane, int width, int height)
{
    int half = plane && formats[format].half, bytes = formats[format].bytes[plane];

    return !bytes ? (LvPlaneSize) { 0, 0 }
         : (LvPlaneSize) { bytes * (half ? (width + 1) / 2 : width),
                           half ? (height + 1) / 2 : height };
}

size_t lv_planes_lay_out(LvPlanes *p, void *base)
{
    size_t at = 0;

    for (int i = 0; i < LV_COUNT(p->data); i++) {
        LvPlaneSize s = lv_plane_size(p->format, i, p->width, p->height);

        p->data[i]   = base && s.row ? (uint8_t *)base + at : NULL;
        p->stride[i] = s.row;
        at += (size_t)s.row * (size_t)s.rows;
    }
    return at;
}
