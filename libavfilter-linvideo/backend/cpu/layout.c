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

/* patchify: one item is a row of tokens (f, i) */

int lv_cpu_plan_patchify(LvDevice *dev, const LvPatchifyArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->y.dim[1]);
}

static void gather_patch(const LvPatchifyArgs *a, int f, int i, int j, float *out)
{
    const int *d = a->x.dim;

    for (int c = 0; c < d[0]; c++)
        for (int u = 0; u < a->pt; u++)
            for (int v = 0; v < a->ph; v++) {
                const float *x = (const float *)a->x.data +
                    (((size_t)c * d[1] + f * a->pt + u) * d[2] + i * a->ph + v) *
                    (size_t)d[3] + (size_t)j * a->pw;
                memcpy(out, x, (size_t)a->pw * sizeof(*out));
                out += a->pw;
            }
}

static void patchify_tokens(const MoveJob *j, size_t item, float *tmp)
{
    const LvPatchifyArgs *a = j->args;
    int rows = a->x.dim[2] / a->ph, cols = a->x.dim[3] / a->pw;
    size_t n = (size_t)a->y.dim[1];

    for (int k = 0; k < cols; k++) {
        size_t token = item * (size_t)cols + (size_t)k;
        float *y     = lv_cpu_out(&a->y, token, n, tmp);
        gather_patch(a, (int)(item / (size_t)rows), (int)(item % (size_t)rows), k, y);
        lv_cpu_put(j->cpu, &a->y, token, n, y);
    }
}

int lv_cpu_patchify(LvDevice *dev, const LvPatchifyArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, (size_t)(a->x.dim[1] / a->pt) * (a->x.dim[2] / a->ph),
                patchify_tokens);
}

int lv_cpu_plan_unpatchify(LvDevice *dev, const LvUnpatchifyArgs *a, LvCall *call)
{
    (void)dev;
    return plan_rows(call, (size_t)a->x.dim[1]);
}

static void scatter_patch(const LvUnpatchifyArgs *a, int f, int i, int j,
                          const float *in)
{
    const int *d = a->y.dim;

    for (int u = 0; u < a->pt; u++)
        for (int v = 0; v < a->ph; v++)
            for (int w = 0; w < a->pw; w++)
                for (int c = 0; c < d[0]; c++)
                    ((float *)a->y.data)[
                        (((size_t)c * d[1] + f * a->pt + u) * d[2] + i * a->ph + v) *
                        (size_t)d[3] + (size_t)j * a->pw + w] = *in++;
}

static void unpatchify_tokens(const MoveJob *j, size_t item, float *tmp)
{
    const LvUnpatchifyArgs *a = j->args;
    int rows = a->y.dim[2] / a->ph, cols = a->y.dim[3] / a->pw;

    for (int k = 0; k < cols; k++)
        scatter_patch(a, (int)(item / (size_t)rows), (int)(item % (size_t)rows), k,
                      lv_cpu_row(j->cpu, &a->x, item * (size_t)cols + (size_t)k,
                                 (size_t)a->x.dim[1], tmp));
}

int lv_cpu_unpatchify(LvDevice *dev, const LvUnpatchifyArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, (size_t)(a->y.dim[1] / a->pt) * (a->y.dim[2] / a->ph),
                unpatchify_tokens);
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

/* shuffle: an item is a row of the wide picture; tmp holds a deep pixel, then the
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
                y[(x * n + v) * c + k] = p[(k * n + u) * n + v];
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
                    y[(k * n + u) * n + v] = p[k];
            }
        lv_cpu_put(j->cpu, &a->y, i * cols + x, deep, y);
    }
}

int lv_cpu_unshuffle(LvDevice *dev, const LvUnshuffleArgs *a, LvCall *call)
{
    (void)call;
    return each(dev, a, pixel_rows(&a->y), unshuffle_row);
}
