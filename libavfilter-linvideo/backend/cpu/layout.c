/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops that only move values. Those between equal types copy bytes; the others
 * gather a row into the thread's slab as f32 and convert it on the way out.
 */

#include <string.h>

#include "backend/cpu/cpu.h"

typedef struct MoveJob {
    LvCpu *cpu;
    const void *args;
    void (*move)(const struct MoveJob *j, size_t i, float *tmp);
    size_t items;
} MoveJob;

enum { ITEMS_PER_JOB = 8 };

static int move_job(void *arg, int job, int thread)
{
    const MoveJob *j = arg;
    size_t from = (size_t)job * ITEMS_PER_JOB;

    for (size_t i = from; i < LV_MIN(from + ITEMS_PER_JOB, j->items); i++)
        j->move(j, i, lv_cpu_slab(j->cpu, thread, 0));
    return 0;
}

static int each(LvDevice *dev, const void *args, size_t items,
                void (*move)(const MoveJob *j, size_t i, float *tmp))
{
    MoveJob j = { lv_cpu(dev), args, move, items };

    return lv_cpu_jobs(j.cpu, move_job, &j, lv_cpu_split(items, ITEMS_PER_JOB));
}

static int plan_rows(LvCall *call, size_t floats)
{
    call->thread_bytes = floats * sizeof(float);
    return 0;
}

/* Patches: one item is a row of tokens (sample, f, i). */

/* A video [B,C,F,Y,X] and how it is cut. */
typedef struct Patches {
    float *data;
    size_t batch, channels, frames, rows, cols;
    size_t pt, ph, pw;
    int fast; /* channels within a token */
} Patches;

static Patches patches(const LvTensor *video, int pt, int ph, int pw, int order)
{
    const int *d = video->dim + (video->rank == 5);

    return (Patches) {
        video->data, video->rank == 5 ? (size_t)video->dim[0] : 1, (size_t)d[0],
        (size_t)d[1], (size_t)d[2], (size_t)d[3], (size_t)pt, (size_t)ph, (size_t)pw,
        order == LV_PATCH_CHANNEL_FAST,
    };
}

static size_t token_rows(const Patches *p)
{
    return p->batch * (p->frames / p->pt) * (p->rows / p->ph);
}

/* Line (channel c, a, b) of token j of row `item`: pw values. */
static float *line(const Patches *p, size_t item, size_t j, size_t c, size_t a,
                   size_t b)
{
    size_t down = p->rows / p->ph, deep = p->frames / p->pt;
    size_t i = item % down, f = item / down % deep, sample = item / down / deep;
    size_t y = i * p->ph + b;

    f = f * p->pt + a;
    return p->data + (((sample * p->channels + c) * p->frames + f) * p->rows + y) *
                     p->cols + j * p->pw;
}

/* For all lines x of token j of row `item`: body, with the first value at element
 * `at` of the token and the others `step` apart. */
#define EACH_LINE(p, item, j, body)                                               \
    do {                                                                          \
        size_t places = (p)->pt * (p)->ph * (p)->pw;                              \
        size_t step = (p)->fast ? (p)->channels : 1, skip = (p)->fast ? 1 : places; \
        for (size_t c = 0; c < (p)->channels; c++)                                \
            for (size_t n = 0; n < places; n += (p)->pw) {                        \
                size_t up = n / (p)->pw, at = c * skip + n * step;                \
                float *x = line(p, item, j, c, up / (p)->ph, up % (p)->ph);       \
                for (size_t e = 0; e < (p)->pw; e++)                              \
                    body;                                                         \
            }                                                                     \
    } while (0)

static void gather_patch(const Patches *p, size_t item, size_t j, float *token)
{
    EACH_LINE(p, item, j, token[at + e * step] = x[e]);
}

static void scatter_patch(const Patches *p, size_t item, size_t j, const float *token)
{
    EACH_LINE(p, item, j, x[e] = token[at + e * step]);
}

int lv_cpu_plan_patchify(LvDevice *dev, const LvPatchifyArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->y.dim[1]);
}

static void patchify_tokens(const MoveJob *j, size_t item, float *tmp)
{
    const LvPatchifyArgs *a = j->args;
    Patches p = patches(&a->x, a->pt, a->ph, a->pw, a->order);
    size_t cols = p.cols / p.pw, n = (size_t)a->y.dim[1];

    for (size_t k = 0; k < cols; k++) {
        float *y = lv_cpu_out(&a->y, item * cols + k, n, tmp);
        gather_patch(&p, item, k, y);
        lv_cpu_put(j->cpu, &a->y, item * cols + k, n, y);
    }
}

int lv_cpu_patchify(LvDevice *dev, const LvPatchifyArgs *a, LvCall *call)
{
    Patches p = patches(&a->x, a->pt, a->ph, a->pw, a->order);

    (void)call;
    return each(dev, a, token_rows(&p), patchify_tokens);
}

int lv_cpu_plan_unpatchify(LvDevice *dev, const LvUnpatchifyArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->x.dim[1]);
}

static void unpatchify_tokens(const MoveJob *j, size_t item, float *tmp)
{
    const LvUnpatchifyArgs *a = j->args;
    Patches p = patches(&a->y, a->pt, a->ph, a->pw, a->order);
    size_t cols = p.cols / p.pw, n = (size_t)a->x.dim[1];

    for (size_t k = 0; k < cols; k++)
        scatter_patch(&p, item, k,
                      lv_cpu_row(j->cpu, &a->x, item * cols + k, n, tmp));
}

int lv_cpu_unpatchify(LvDevice *dev, const LvUnpatchifyArgs *a, LvCall *call)
{
    Patches p = patches(&a->y, a->pt, a->ph, a->pw, a->order);

    (void)call;
    return each(dev, a, token_rows(&p), unpatchify_tokens);
}

/* Moves of equal types: an item is a row of pixels (b, i). */

static char *pixel(const LvTensor *t, size_t row, size_t x)
{
    return lv_at(t, row * (size_t)t->dim[2] + x, (size_t)t->dim[3], 0);
}

static size_t pixel_bytes(const LvTensor *t)
{
    return (size_t)t->dim[3] * lv_dtype_size((LvDtype)t->dtype);
}

static size_t pixel_rows(const LvTensor *t)
{
    return (size_t)t->dim[0] * t->dim[1];
}

/* One item is a row of every frame, so that next may lie on prev: a pixel of
 * prev is read for frame 0 before that of next is written after the last one. */
static void recall_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvRecallArgs *a = j->args;
    size_t size = pixel_bytes(&a->x), cols = (size_t)a->x.dim[2];
    size_t height = (size_t)a->x.dim[1];

    (void)tmp;
    for (int b = 0; b < a->x.dim[0]; b++)
        for (size_t x = 0; x < cols; x++) {
            size_t row = (size_t)b * height + i;
            char *y    = pixel(&a->y, row, x);
            memcpy(y, pixel(&a->x, row, x), size);
            memcpy(y + size, b ? pixel(&a->x, row - height, x) : pixel(&a->prev, i, x),
                   size);
        }
    memcpy(pixel(&a->next, i, 0),
           pixel(&a->x, (size_t)(a->x.dim[0] - 1) * height + i, 0), size * cols);
}

int lv_cpu_recall(LvDevice *dev, const LvRecallArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, (size_t)a->x.dim[1], recall_row);
}

static void upsample_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvUpsampleArgs *a = j->args;
    size_t size = pixel_bytes(&a->x), cols = (size_t)a->x.dim[2];

    (void)tmp;
    for (size_t x = 0; x < cols; x++) {
        memcpy(pixel(&a->y, 2 * i, 2 * x), pixel(&a->x, i, x), size);
        memcpy(pixel(&a->y, 2 * i, 2 * x + 1), pixel(&a->x, i, x), size);
    }
    memcpy(pixel(&a->y, 2 * i + 1, 0), pixel(&a->y, 2 * i, 0), 2 * cols * size);
}

int lv_cpu_upsample(LvDevice *dev, const LvUpsampleArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->x), upsample_row);
}

/* Rows of `many` [n B,Y,X,C] against channel groups of `one` [B,Y,X,n C]. */
static void stack_row(const LvTensor *one, const LvTensor *many, int n, size_t i,
                      int unstack)
{
    size_t size = pixel_bytes(many), cols = (size_t)many->dim[2];
    size_t height = (size_t)many->dim[1], b = i / height, y = i % height;

    for (int k = 0; k < n; k++)
        for (size_t x = 0; x < cols; x++) {
            char *p = pixel(one, i, x) + (size_t)k * size;
            char *q = pixel(many, (b * (size_t)n + (size_t)k) * height + y, x);
            memcpy(unstack ? q : p, unstack ? p : q, size);
        }
}

static void unstack_item(const MoveJob *j, size_t i, float *tmp)
{
    const LvUnstackArgs *a = j->args;

    (void)tmp;
    stack_row(&a->x, &a->y, a->n, i, 1);
}

int lv_cpu_unstack(LvDevice *dev, const LvUnstackArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->x), unstack_item);
}

static void stack_item(const MoveJob *j, size_t i, float *tmp)
{
    const LvStackArgs *a = j->args;

    (void)tmp;
    stack_row(&a->y, &a->x, a->n, i, 0);
}

int lv_cpu_stack(LvDevice *dev, const LvStackArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), stack_item);
}

/* shuffle: an item is a row of the wide frame; tmp holds a deep pixel, then the
 * wide row. unshuffle: an item is a row of the deep one. */

int lv_cpu_plan_shuffle(LvDevice *dev, const LvShuffleArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->x.dim[3] +
                           (size_t)a->y.dim[2] * (size_t)a->y.dim[3]);
}

static void shuffle_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvShuffleArgs *a = j->args;
    size_t n = (size_t)a->n, deep = (size_t)a->x.dim[3], c = (size_t)a->y.dim[3];
    size_t cols = (size_t)a->x.dim[2], width = (size_t)a->y.dim[2] * c, u = i % n;
    float *y = lv_cpu_out(&a->y, i, width, tmp + deep);

    for (size_t x = 0; x < cols; x++) {
        const float *p = lv_cpu_row(j->cpu, &a->x, i / n * cols + x, deep, tmp);
        for (size_t v = 0; v < n; v++)
            for (size_t k = 0; k < c; k++)
                y[(x * n + v) * c + k] = p[a->transposed ? (k * n + v) * n + u
                                                         : (k * n + u) * n + v];
    }
    lv_cpu_put(j->cpu, &a->y, i, width, y);
}

int lv_cpu_shuffle(LvDevice *dev, const LvShuffleArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), shuffle_row);
}

int lv_cpu_plan_unshuffle(LvDevice *dev, const LvUnshuffleArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->y.dim[3] + (size_t)a->x.dim[3]);
}

static void unshuffle_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvUnshuffleArgs *a = j->args;
    size_t n = (size_t)a->n, deep = (size_t)a->y.dim[3], c = (size_t)a->x.dim[3];
    size_t cols = (size_t)a->y.dim[2], wide = (size_t)a->x.dim[2];

    for (size_t x = 0; x < cols; x++) {
        float *y = lv_cpu_out(&a->y, i * cols + x, deep, tmp);
        for (size_t u = 0; u < n; u++)
            for (size_t v = 0; v < n; v++) {
                const float *p = lv_cpu_row(j->cpu, &a->x,
                    (i * n + u) * wide + x * n + v, c, tmp + deep);
                for (size_t k = 0; k < c; k++)
                    y[a->transposed ? (k * n + v) * n + u : (k * n + u) * n + v] = p[k];
            }
        lv_cpu_put(j->cpu, &a->y, i * cols + x, deep, y);
    }
}

int lv_cpu_unshuffle(LvDevice *dev, const LvUnshuffleArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), unshuffle_row);
}

/* avg_down, dup_up: an item is a row of y. tmp holds a pixel of the result, one of the
 * residual, what the pixel is made of, and a pixel of x. */

static void add_pixel(const MoveJob *j, const LvTensor *r, size_t i, size_t n, float *y,
                      float *tmp)
{
    if (lv_has(r))
        j->cpu->dsp->madd(y, lv_cpu_row(j->cpu, r, i, n, tmp), NULL, y, n);
}

int lv_cpu_plan_avg_down(LvDevice *dev, const LvAvgDownArgs *a, LvCall *call)
{
    size_t c = (size_t)a->x.dim[3], o = (size_t)a->y.dim[3];

    (void)dev;
    return plan_rows(call, 2 * o + c + c * (size_t)(a->ft * a->fs * a->fs));
}

/* All that pixel (f, i, x) of y is the mean of, into v. */
static void gather_near(const MoveJob *j, size_t f, size_t i, size_t x, float *v, float *tmp)
{
    const LvAvgDownArgs *a = j->args;
    size_t ft = (size_t)a->ft, fs = (size_t)a->fs, c = (size_t)a->x.dim[3];
    size_t rows = (size_t)a->x.dim[1], cols = (size_t)a->x.dim[2], n = ft * fs * fs;
    size_t zeros = (size_t)a->y.dim[0] * ft - (size_t)a->x.dim[0];

    for (size_t k = 0; k < n; k++) {
        size_t at = f * ft + k / (fs * fs), row = i * fs + k / fs % fs, col = x * fs + k % fs;
        const float *p = at < zeros ? NULL :
            lv_cpu_row(j->cpu, &a->x, ((at - zeros) * rows + row) * cols + col, c, tmp);
        for (size_t e = 0; e < c; e++)
            v[e * n + k] = p ? p[e] : 0;
    }
}

static void avg_down_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvAvgDownArgs *a = j->args;
    size_t o = (size_t)a->y.dim[3], height = (size_t)a->y.dim[1];
    size_t cols = (size_t)a->y.dim[2], c = (size_t)a->x.dim[3];
    size_t g = c * (size_t)(a->ft * a->fs * a->fs) / o;
    float *pixel = tmp + 2 * o, *v = pixel + c;

    for (size_t x = 0; x < cols; x++) {
        float *y = lv_cpu_out(&a->y, i * cols + x, o, tmp);
        gather_near(j, i / height, i % height, x, v, pixel);
        for (size_t k = 0; k < o; k++)
            y[k] = j->cpu->dsp->sum(v + k * g, g) / (float)g;
        add_pixel(j, &a->r, i * cols + x, o, y, tmp + o);
        lv_cpu_put(j->cpu, &a->y, i * cols + x, o, y);
    }
}

int lv_cpu_avg_down(LvDevice *dev, const LvAvgDownArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), avg_down_row);
}

int lv_cpu_plan_dup_up(LvDevice *dev, const LvDupUpArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, 2 * (size_t)a->y.dim[3] + (size_t)a->x.dim[3]);
}

static void dup_up_row(const MoveJob *j, size_t i, float *tmp)
{
    const LvDupUpArgs *a = j->args;
    size_t ft = (size_t)a->ft, fs = (size_t)a->fs, n = ft * fs * fs;
    size_t c = (size_t)a->x.dim[3], o = (size_t)a->y.dim[3], many = o * n / c;
    size_t height = (size_t)a->y.dim[1], cols = (size_t)a->y.dim[2], row = i % height;
    size_t f = i / height + (size_t)a->x.dim[0] * ft - (size_t)a->y.dim[0];
    size_t from = (f / ft * (size_t)a->x.dim[1] + row / fs) * (size_t)a->x.dim[2];

    for (size_t x = 0; x < cols; x++) {
        float *y = lv_cpu_out(&a->y, i * cols + x, o, tmp);
        const float *p = lv_cpu_row(j->cpu, &a->x, from + x / fs, c, tmp + 2 * o);
        size_t at = (f % ft * fs + row % fs) * fs + x % fs;
        for (size_t k = 0; k < o; k++)
            y[k] = p[(k * n + at) / many];
        add_pixel(j, &a->r, i * cols + x, o, y, tmp + o);
        lv_cpu_put(j->cpu, &a->y, i * cols + x, o, y);
    }
}

int lv_cpu_dup_up(LvDevice *dev, const LvDupUpArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), dup_up_row);
}
