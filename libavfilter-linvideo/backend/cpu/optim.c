/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Losses and the optimizer: memory is walked once, sums are in f64, one for each job,
 * added in the order of jobs.
 */

#include <math.h>

#include "backend/cpu/rows.h"

static double total(const double *sums, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += sums[i];
    return s;
}

/* loss: a job is a part of a sample */

typedef struct LossJob {
    LvCpu *cpu;
    const LvLossArgs *a;
    size_t n, parts; ///< elements and jobs of a sample
    double *sums;    ///< [B,parts]
} LossJob;

static LossJob loss_jobs(LvDevice *dev, const LvLossArgs *a)
{
    size_t n = lv_tensor_numel(&a->x) / (size_t)a->weight.dim[0];

    return (LossJob) { .cpu = lv_cpu(dev), .a = a, .n = n,
                       .parts = (size_t)lv_cpu_split(n, LV_JOB_ELEMENTS) };
}

int lv_cpu_plan_loss(LvDevice *dev, const LvLossArgs *a, LvCall *call)
{
    LossJob j = loss_jobs(dev, a);

    call->scratch_bytes = (size_t)a->weight.dim[0] * j.parts * sizeof(double);
    return lv_cpu_plan_tmp(call, 3 * LV_PIECE);
}

/* Weight of an element. */
static double weight_of(const LossJob *j, size_t sample)
{
    const LvLossArgs *a = j->a;
    const float *size   = a->size.data;
    double w = (double)((const float *)a->weight.data)[sample] / (double)j->n;

    return lv_has(&a->size) ? w / (double)LV_MAX(size[sample], LV_LOSS_FLOOR) : w;
}

static int loss_job(void *arg, int job, int thread)
{
    const LossJob *j = arg;
    const LvLossArgs *a = j->a;
    size_t sample = (size_t)job / j->parts, part = (size_t)job % j->parts, n;
    size_t from = sample * j->n + part * LV_JOB_ELEMENTS;
    size_t to   = LV_MIN(from + LV_JOB_ELEMENTS, (sample + 1) * j->n);
    double w    = weight_of(j, sample), sum = 0;
    float *tmp  = lv_cpu_slab(j->cpu, thread, 0);

    for (; from < to; from += n) {
        float *dx = lv_has(&a->dx) ? lv_cpu_target(&a->dx, from, tmp) : tmp;
        n    = LV_MIN((size_t)LV_PIECE, to - from);
        sum += j->cpu->dsp->loss[a->kind](
            dx, lv_cpu_get(j->cpu, &a->x, from, n, tmp + LV_PIECE),
            lv_cpu_get(j->cpu, &a->target, from, n, tmp + 2 * LV_PIECE), w, n);
        if (lv_has(&a->dx))
            lv_cpu_set(j->cpu, &a->dx, from, n, dx);
    }
    j->sums[job] = w * sum;
    return 0;
}

int lv_cpu_loss(LvDevice *dev, const LvLossArgs *a, LvCall *call)
{
    LossJob j = loss_jobs(dev, a);
    int ret;

    j.sums = call->scratch;
    ret = lv_cpu_jobs(j.cpu, loss_job, &j, a->weight.dim[0] * (int)j.parts);
    for (int b = 0; b < a->weight.dim[0] && ret >= 0; b++)
        ((float *)a->loss.data)[b] = (float)total(j.sums + (size_t)b * j.parts,
                                                  j.parts);
    return ret;
}

/* sqsum */

typedef struct SqsumJob {
    LvCpu *cpu;
    const float *x;
    size_t n;
    double *sums;
} SqsumJob;

int lv_cpu_plan_sqsum(LvDevice *dev, const LvSqsumArgs *a, LvCall *call)
{
    size_t jobs = (size_t)lv_cpu_split(lv_tensor_numel(&a->x), LV_JOB_ELEMENTS);

    (void)dev;
    call->scratch_bytes = jobs * sizeof(double);
    return 0;
}

static int sqsum_job(void *arg, int job, int thread)
{
    const SqsumJob *j = arg;
    size_t from = (size_t)job * LV_JOB_ELEMENTS;

    (void)thread;
    j->sums[job] = j->cpu->dsp->sum_sq_f64(
        j->x + from, LV_MIN((size_t)LV_JOB_ELEMENTS, j->n - from));
    return 0;
}

int lv_cpu_sqsum(LvDevice *dev, const LvSqsumArgs *a, LvCall *call)
{
    SqsumJob j = { lv_cpu(dev), a->x.data, lv_tensor_numel(&a->x), call->scratch };
    int jobs   = lv_cpu_split(j.n, LV_JOB_ELEMENTS);
    int ret    = lv_cpu_jobs(j.cpu, sqsum_job, &j, jobs);
    float *y   = a->y.data;

    if (ret >= 0)
        *y = (float)((a->add ? (double)*y : 0) + total(j.sums, (size_t)jobs));
    return ret;
}

/* adamw */

typedef struct AdamwRun {
    const LvAdamwArgs *a;
    LvAdam k;
} AdamwRun;

static LvAdam adam_scalars(const LvAdamwArgs *a)
{
    const float *h = a->hyper.data, *norm = a->norm.data;
    float most = h[LV_HYPER_CLIP], length = lv_has(&a->norm) ? sqrtf(*norm) : 0;

    return (LvAdam) {
        .clip  = most > 0 && length > most ? most / length : 1,
        .beta1 = h[LV_HYPER_BETA1], .beta2 = h[LV_HYPER_BETA2],
        .bias1 = 1 / h[LV_HYPER_BIAS1], .bias2 = 1 / h[LV_HYPER_BIAS2],
        .lr = h[LV_HYPER_LR], .eps = h[LV_HYPER_EPS], .decay = h[LV_HYPER_DECAY],
        .keep = h[LV_HYPER_EMA],
    };
}

static void adamw_piece(const LvPiecesJob *j, size_t from, size_t n, float *tmp)
{
    const AdamwRun *r = j->args;
    const LvAdamwArgs *a = r->a;

    (void)tmp;
    j->cpu->dsp->adamw((float *)a->p.data + from, (float *)a->m.data + from,
                       (float *)a->v.data + from,
                       lv_has(&a->ema) ? (float *)a->ema.data + from : NULL,
                       (const float *)a->g.data + from, &r->k, n);
}

int lv_cpu_adamw(LvDevice *dev, const LvAdamwArgs *a, LvCall *call)
{
    AdamwRun r = { a, adam_scalars(a) };

    (void)call;
    return lv_cpu_each_piece(dev, &r, lv_tensor_numel(&a->p), adamw_piece);
}
