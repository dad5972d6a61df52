/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops that work on rows or elements, one leaf call after another.
 */

#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"

/* Elements that one job does about. */
enum { JOB_ELEMENTS = 32768 };

typedef struct RowsJob {
    LvCpu *cpu;
    const void *args;
    size_t rows, cols, per_job;
    void (*row)(const struct RowsJob *j, size_t i, float *tmp);
} RowsJob;

static int rows_job(void *arg, int job, int thread)
{
    const RowsJob *j = arg;
    size_t from = (size_t)job * j->per_job, to = LV_MIN(from + j->per_job, j->rows);
    float *tmp  = lv_cpu_slab(j->cpu, thread, 0);

    for (size_t i = from; i < to; i++)
        j->row(j, i, tmp);
    return 0;
}

static int each_row(LvDevice *dev, const void *args, size_t rows, size_t cols,
                    void (*row)(const RowsJob *j, size_t i, float *tmp))
{
    RowsJob j = { lv_cpu(dev), args, rows, cols, LV_MAX(JOB_ELEMENTS / cols, 1), row };

    return lv_cpu_jobs(j.cpu, rows_job, &j, lv_cpu_split(rows, j.per_job));
}

/* Elementwise ops have no rows of their own: pieces of this many elements. */
enum { PIECE = 4096 };

typedef struct PiecesJob {
    LvCpu *cpu;
    const void *args;
    size_t n;
    void (*piece)(const struct PiecesJob *j, size_t from, size_t n, float *tmp);
} PiecesJob;

static int pieces_job(void *arg, int job, int thread)
{
    const PiecesJob *j = arg;
    size_t from = (size_t)job * JOB_ELEMENTS, to = LV_MIN(from + JOB_ELEMENTS, j->n);

    for (; from < to; from += PIECE)
        j->piece(j, from, LV_MIN((size_t)PIECE, to - from),
                 lv_cpu_slab(j->cpu, thread, 0));
    return 0;
}

static int each_piece(LvDevice *dev, const void *args, const LvTensor *y,
                      void (*piece)(const PiecesJob *j, size_t from, size_t n,
                                    float *tmp))
{
    PiecesJob j = { lv_cpu(dev), args, lv_tensor_numel(y), piece };

    return lv_cpu_jobs(j.cpu, pieces_job, &j, lv_cpu_split(j.n, JOB_ELEMENTS));
}

/* n elements of t from `from`, as f32. */
static const float *get(const LvCpu *cpu, const LvTensor *t, size_t from, size_t n,
                        float *tmp)
{
    if (t->dtype == LV_F32)
        return (const float *)t->data + from;
    cpu->dsp->from_bf16(tmp, (const uint16_t *)t->data + from, n);
    return tmp;
}

static float *target(const LvTensor *t, size_t from, float *tmp)
{
    return t->dtype == LV_F32 ? (float *)t->data + from : tmp;
}

static void put(const LvCpu *cpu, const LvTensor *t, size_t from, size_t n,
                const float *y)
{
    if (t->dtype == LV_BF16)
        cpu->dsp->to_bf16((uint16_t *)t->data + from, y, n);
}

static int plan_tmp(LvCall *call, size_t floats)
{
    call->thread_bytes = floats * sizeof(float);
    return 0;
}

/* norm */

/* y = n(x) A + B with A = w (1 + scale), B = b (1 + scale) + shift, made once for
 * all rows in the op's scratch. */
typedef struct NormRun {
    const LvNormArgs *a;
    const float *scale, *shift;
} NormRun;

int lv_cpu_plan_norm(LvDevice *dev, const LvNormArgs *a, LvCall *call)
{
    (void)dev;
    call->scratch_bytes = 2 * sizeof(float) * (size_t)a->x.dim[1];
    return plan_tmp(call, 2 * (size_t)a->x.dim[1]);
}

static void fold_modulation(const LvNormArgs *a, float *scale, float *shift)
{
    const float *w = a->w.data, *b = a->b.data, *mod = a->mod.data;
    size_t c = (size_t)a->x.dim[1];

    for (size_t i = 0; i < c; i++) {
        float s = lv_has(&a->mod) ? 1 + mod[(size_t)a->scale * c + i] : 1;
        float t = lv_has(&a->mod) ? mod[(size_t)a->shift * c + i] : 0;
        scale[i] = lv_has(&a->w) ? w[i] * s : s;
        shift[i] = lv_has(&a->b) ? b[i] * s + t : t;
    }
}

static void norm_row(const RowsJob *j, size_t i, float *tmp)
{
    const NormRun *r = j->args;
    const LvNormArgs *a = r->a;
    const LvDsp *dsp = j->cpu->dsp;
    const float *x = lv_cpu_row(j->cpu, &a->x, i, j->cols, tmp);
    float *y    = lv_cpu_out(&a->y, i, j->cols, tmp + j->cols);
    float n     = (float)j->cols;
    float mean  = a->kind == LV_NORM_LAYER ? dsp->sum(x, j->cols) / n : 0;
    float rstd  = 1 / sqrtf(dsp->sum_sq(x, mean, j->cols) / n + a->eps);

    dsp->norm(y, x, r->scale, r->shift, mean, rstd, j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
    if (lv_has(&a->mean))
        ((float *)a->mean.data)[i] = mean;
    if (lv_has(&a->rstd))
        ((float *)a->rstd.data)[i] = rstd;
}

int lv_cpu_norm(LvDevice *dev, const LvNormArgs *a, LvCall *call)
{
    size_t c = (size_t)a->x.dim[1];
    float *scale = call->scratch;
    NormRun r = { a, scale, scale + c };

    fold_modulation(a, scale, scale + c);
    return each_row(dev, &r, (size_t)a->x.dim[0], c, norm_row);
}

/* gate */

int lv_cpu_plan_gate(LvDevice *dev, const LvGateArgs *a, LvCall *call)
{
    (void)dev;
    return plan_tmp(call, 3 * (size_t)a->r.dim[1]);
}

static void gate_row(const RowsJob *j, size_t i, float *tmp)
{
    const LvGateArgs *a = j->args;
    size_t c = j->cols;
    float *y = lv_cpu_out(&a->y, i, c, tmp);
    const float *mod = a->mod.data;

    j->cpu->dsp->madd(y, lv_cpu_row(j->cpu, &a->r, i, c, tmp + c),
                      lv_has(&a->mod) ? mod + (size_t)a->row * c : NULL,
                      lv_cpu_row(j->cpu, &a->x, i, c, tmp + 2 * c), c);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
}

int lv_cpu_gate(LvDevice *dev, const LvGateArgs *a, LvCall *call)
{
    (void)call;
    return each_row(dev, a, (size_t)a->r.dim[0], (size_t)a->r.dim[1], gate_row);
}

/* qknorm */

int lv_cpu_plan_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    (void)dev;
    return plan_tmp(call, 2 * (size_t)a->x.dim[1]);
}

static void qknorm_row(const RowsJob *j, size_t i, float *tmp)
{
    const LvQknormArgs *a = j->args;
    const LvDsp *dsp = j->cpu->dsp;
    size_t c = j->cols, d = c / (size_t)a->heads;
    const float *x = lv_cpu_row(j->cpu, &a->x, i, c, tmp);
    float *y    = lv_cpu_out(&a->y, i, c, tmp + c);
    float rstd  = 1 / sqrtf(dsp->sum_sq(x, 0, c) / (float)c + a->eps);

    dsp->norm(y, x, a->w.data, NULL, 0, rstd, c);
    if (lv_has(&a->rope))
        for (size_t h = 0; h < c; h += d)
            dsp->rope(y + h, y + h, (const float *)a->rope.data + i * d, d);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
    if (lv_has(&a->rstd))
        ((float *)a->rstd.data)[i] = rstd;
}

int lv_cpu_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    (void)call;
    return each_row(dev, a, (size_t)a->x.dim[0], (size_t)a->x.dim[1], qknorm_row);
}

/* mix */

int lv_cpu_plan_mix(LvDevice *dev, const LvMixArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return plan_tmp(call, 3 * PIECE);
}

static void mix_piece(const PiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvMixArgs *a = j->args;
    float r = *(const float *)a->r.data, *y = target(&a->y, from, tmp);

    j->cpu->dsp->axpby(y, r, get(j->cpu, &a->a, from, n, tmp + PIECE), 1 - r,
                       get(j->cpu, &a->b, from, n, tmp + 2 * PIECE), n);
    put(j->cpu, &a->y, from, n, y);
}

int lv_cpu_mix(LvDevice *dev, const LvMixArgs *a, LvCall *call)
{
    (void)call;
    return each_piece(dev, a, &a->y, mix_piece);
}

/* add */

int lv_cpu_plan_add(LvDevice *dev, const LvAddArgs *a, LvCall *call)
{
    (void)dev;
    return plan_tmp(call, 3 * lv_tensor_numel(&a->b));
}

static void add_row(const RowsJob *j, size_t i, float *tmp)
{
    const LvAddArgs *a = j->args;
    size_t c = j->cols;
    float *y = lv_cpu_out(&a->y, i, c, tmp);

    j->cpu->dsp->madd(y, lv_cpu_row(j->cpu, &a->a, i, c, tmp + c), NULL,
                      lv_cpu_row(j->cpu, &a->b, 0, c, tmp + 2 * c), c);
    lv_cpu_put(j->cpu, &a->y, i, c, y);
}

int lv_cpu_add(LvDevice *dev, const LvAddArgs *a, LvCall *call)
{
    size_t c = lv_tensor_numel(&a->b);

    (void)call;
    return each_row(dev, a, lv_tensor_numel(&a->a) / c, c, add_row);
}

/* act, glu */

int lv_cpu_plan_act(LvDevice *dev, const LvActArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return plan_tmp(call, 2 * PIECE);
}

static void act_piece(const PiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvActArgs *a = j->args;
    float *y = target(&a->y, from, tmp);

    j->cpu->dsp->act[a->act](y, get(j->cpu, &a->x, from, n, tmp + PIECE), n);
    put(j->cpu, &a->y, from, n, y);
}

int lv_cpu_act(LvDevice *dev, const LvActArgs *a, LvCall *call)
{
    (void)call;
    return each_piece(dev, a, &a->y, act_piece);
}

int lv_cpu_plan_glu(LvDevice *dev, const LvGluArgs *a, LvCall *call)
{
    (void)dev, (void)a;
    return plan_tmp(call, 3 * PIECE);
}

static void glu_piece(const PiecesJob *j, size_t from, size_t n, float *tmp)
{
    const LvGluArgs *a = j->args;
    float *y = target(&a->y, from, tmp);

    j->cpu->dsp->glu(y, get(j->cpu, &a->x, from, n, tmp + PIECE),
                     get(j->cpu, &a->g, from, n, tmp + 2 * PIECE), n);
    put(j->cpu, &a->y, from, n, y);
}

int lv_cpu_glu(LvDevice *dev, const LvGluArgs *a, LvCall *call)
{
    (void)call;
    return each_piece(dev, a, &a->y, glu_piece);
}

/* embed */

int lv_cpu_plan_embed(LvDevice *dev, const LvEmbedArgs *a, LvCall *call)
{
    (void)dev;
    return plan_tmp(call, (size_t)a->table.dim[1]);
}

static void embed_row(const RowsJob *j, size_t i, float *tmp)
{
    const LvEmbedArgs *a = j->args;
    int32_t id = ((const int32_t *)a->ids.data)[i];
    float *y   = lv_cpu_out(&a->y, i, j->cols, tmp);

    if (id < 0 || id >= a->table.dim[0])
        memset(y, 0, j->cols * sizeof(*y));
    else
        lv_to_f32(y, lv_at(&a->table, (size_t)id, j->cols, 0),
                  (LvDtype)a->table.dtype, j->cols);
    lv_cpu_put(j->cpu, &a->y, i, j->cols, y);
}

int lv_cpu_embed(LvDevice *dev, const LvEmbedArgs *a, LvCall *call)
{
    (void)call;
    return each_row(dev, a, (size_t)a->ids.dim[0], (size_t)a->table.dim[1], embed_row);
}

/* sinusoid */

int lv_cpu_sinusoid(LvDevice *dev, const LvSinusoidArgs *a, LvCall *call)
{
    double t = *(const float *)a->t.data;
    float *y = a->y.data;
    int n    = a->y.dim[1] / 2;

    (void)dev, (void)call;
    for (int i = 0; i < n; i++) {
        double angle = t * pow(10000, -(double)i / n);
        y[i]     = (float)cos(angle);
        y[n + i] = (float)sin(angle);
    }
    return 0;
}
