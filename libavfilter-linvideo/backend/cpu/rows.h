/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the ops on rows and elements share: walks over rows, over pieces of a tensor
 * and over rows whose columns are summed; values in and out as f32.
 * Floor F2 (backend): knows tensors, never what an op makes of them.
 */

#ifndef LINVIDEO_BACKEND_CPU_ROWS_H
#define LINVIDEO_BACKEND_CPU_ROWS_H

#include <string.h>

#include "backend/cpu/cpu.h"

enum {
    LV_JOB_ELEMENTS = 32768, ///< that one job does about
    LV_PIECE        = 1024,  ///< of a piece, at most: five as f32 fit into L1
};

/** One row i of an op; tmp is the start of the thread's slab. */
typedef struct LvRowsJob LvRowsJob;
typedef void (*LvRow)(const LvRowsJob *j, size_t i, float *tmp);

struct LvRowsJob {
    LvCpu *cpu;
    const void *args; ///< as given
    size_t rows, cols, per_job;
    LvRow row;
};

/** Call row() for all rows. @return as lv_cpu_jobs() */
int lv_cpu_each_row(LvDevice *dev, const void *args, size_t rows, size_t cols,
                    LvRow row);

/** Sample that row i belongs to, of `batch`. */
static inline size_t lv_cpu_sample(const LvRowsJob *j, int batch, size_t i)
{
    return i / (j->rows / (size_t)batch);
}

/** Row `row` of a sample's part of mod [B R,C]; NULL when mod is absent. */
static inline float *lv_cpu_mod(const LvTensor *mod, int batch, int sample, int row)
{
    size_t at = (size_t)sample * (size_t)(mod->dim[0] / batch) + (size_t)row;

    return lv_has(mod) ? (float *)mod->data + at * (size_t)mod->dim[1] : NULL;
}

/** Angles (cos, sin) of row i by rope [L,D/2,2]. */
static inline const float *lv_cpu_turn(const LvTensor *rope, size_t i)
{
    size_t at = i % (size_t)rope->dim[0] * (size_t)rope->dim[1] * 2;

    return (const float *)rope->data + at;
}

/** Elements from to from + n - 1 of an op, n <= LV_PIECE. */
typedef struct LvPiecesJob LvPiecesJob;
typedef void (*LvPiece)(const LvPiecesJob *j, size_t from, size_t n, float *tmp);

struct LvPiecesJob {
    LvCpu *cpu;
    const void *args; ///< as given
    size_t n;
    LvPiece piece;
};

/** Call piece() for all of n elements. @return as lv_cpu_jobs() */
int lv_cpu_each_piece(LvDevice *dev, const void *args, size_t n, LvPiece piece);

/** n elements of t from `from`, as f32: the memory itself, or tmp[n]. */
static inline const float *lv_cpu_get(const LvCpu *cpu, const LvTensor *t, size_t from,
                                      size_t n, float *tmp)
{
    if (t->dtype == LV_F32)
        return (const float *)t->data + from;
    cpu->dsp->from_bf16(tmp, (const uint16_t *)t->data + from, n);
    return tmp;
}

/** Where to put elements from `from`: the memory itself, or tmp; then call
 *  lv_cpu_set(). */
static inline float *lv_cpu_target(const LvTensor *t, size_t from, float *tmp)
{
    return t->dtype == LV_F32 ? (float *)t->data + from : tmp;
}

/** Store y[n] (from lv_cpu_target) to t, when it is not there yet. */
static inline void lv_cpu_set(const LvCpu *cpu, const LvTensor *t, size_t from,
                              size_t n, const float *y)
{
    if (t->dtype == LV_BF16)
        cpu->dsp->to_bf16((uint16_t *)t->data + from, y, n);
}

/** Where to put what may be added to t: the memory itself when it replaces f32, or
 *  tmp; then call lv_cpu_finish(). */
static inline float *lv_cpu_into(const LvTensor *t, int add, size_t from, float *tmp)
{
    return add ? tmp : lv_cpu_target(t, from, tmp);
}

/** Store y[n] (from lv_cpu_into, or elsewhere) to t, or add it when add is not 0; y
 *  may be overwritten, tmp[n] is. */
static inline void lv_cpu_finish(const LvCpu *cpu, const LvTensor *t, int add,
                                 size_t from, size_t n, float *y, float *tmp)
{
    float *to = lv_cpu_target(t, from, y);

    if (add)
        cpu->dsp->madd(to, lv_cpu_get(cpu, t, from, n, tmp), NULL, y, n);
    else if (to != y)
        memcpy(to, y, n * sizeof(*y));
    lv_cpu_set(cpu, t, from, n, to);
}

/** Ask for so many floats in every thread's slab. Returns 0. */
static inline int lv_cpu_plan_tmp(LvCall *call, size_t floats)
{
    call->thread_bytes = floats * sizeof(float);
    return 0;
}

#endif /* LINVIDEO_BACKEND_CPU_ROWS_H */
