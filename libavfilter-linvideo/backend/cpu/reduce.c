/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Sums over rows, for REDUCE and for gradients of parameters.
 */

#include "backend/cpu/reduce.h"

#include <string.h>

#include "backend/cpu/rows.h"

/* Parts of all groups at most, and rows of a part at least: partial sums shall stay
 * small next to what is summed. */
enum { MAX_PARTS = 64, MIN_ROWS = 16 };

/* Columns of a job of REDUCE: rows in one piece, unless they are long. */
enum { REDUCE_BLOCK = 4096 };

void lv_cpu_sums_init(LvSumsJob *j, LvDevice *dev)
{
    size_t rows  = j->rows / j->groups;
    size_t parts = (rows * j->block + LV_JOB_ELEMENTS - 1) / LV_JOB_ELEMENTS;

    parts    = LV_MIN(parts, LV_MIN(MAX_PARTS / j->groups, rows / MIN_ROWS));
    j->cpu   = lv_cpu(dev);
    j->parts = LV_MAX(parts, 1);
}

static size_t blocks(const LvSumsJob *j)
{
    return (j->cols + j->block - 1) / j->block;
}

size_t lv_cpu_sums_floats(const LvSumsJob *j)
{
    return j->groups * blocks(j) * j->parts * j->sums * j->block;
}

/* Partial sums of a job; jobs count [groups,blocks,parts]. */
static float *partial(const LvSumsJob *j, size_t job)
{
    return j->sums ? j->partial + job * j->sums * j->block : NULL;
}

static int part_job(void *arg, int job, int thread)
{
    const LvSumsJob *j = arg;
    size_t part = (size_t)job % j->parts, at = (size_t)job / j->parts;
    size_t rows = j->rows / j->groups, first = at / blocks(j) * rows;
    size_t col  = at % blocks(j) * j->block, n = LV_MIN(j->block, j->cols - col);
    float *sums = partial(j, (size_t)job), *tmp = lv_cpu_slab(j->cpu, thread, 0);

    if (sums)
        memset(sums, 0, j->sums * j->block * sizeof(*sums));
    for (size_t i = part * rows / j->parts; i < (part + 1) * rows / j->parts; i++)
        j->row(j, first + i, col, n, sums, tmp);
    return 0;
}

/* All parts to the first one. */
static int total_job(void *arg, int job, int thread)
{
    const LvSumsJob *j = arg;
    float *sums = partial(j, (size_t)job * j->parts);

    (void)thread;
    for (size_t p = 1; p < j->parts; p++)
        j->cpu->dsp->madd(sums, sums, NULL, partial(j, (size_t)job * j->parts + p),
                          j->sums * j->block);
    return 0;
}

int lv_cpu_sum_rows(LvSumsJob *j)
{
    int totals = (int)(j->groups * blocks(j));
    int ret    = lv_cpu_jobs(j->cpu, part_job, j, totals * (int)j->parts);

    return ret < 0 || !j->sums ? ret : lv_cpu_jobs(j->cpu, total_job, j, totals);
}

float *lv_cpu_totals(const LvSumsJob *j, size_t i)
{
    return partial(j, i * j->parts);
}

/* reduce */

static void reduce_row(const LvSumsJob *j, size_t i, size_t col, size_t n, float *sums,
                       float *tmp)
{
    const LvReduceArgs *a = j->args;

    j->cpu->dsp->madd(sums, sums, NULL,
                      lv_cpu_get(j->cpu, &a->x, i * j->cols + col, n, tmp), n);
}

static LvSumsJob reduce_sums(LvDevice *dev, const LvReduceArgs *a)
{
    size_t c = (size_t)a->inner;
    LvSumsJob j = { .args = a, .groups = lv_tensor_numel(&a->y) / c,
                    .rows = lv_tensor_numel(&a->x) / c, .cols = c,
                    .block = LV_MIN(c, (size_t)REDUCE_BLOCK), .sums = 1, .row = reduce_row };

    lv_cpu_sums_init(&j, dev);
    return j;
}

int lv_cpu_plan_reduce(LvDevice *dev, const LvReduceArgs *a, LvCall *call)
{
    LvSumsJob j = reduce_sums(dev, a);

    call->scratch_bytes = lv_cpu_sums_floats(&j) * sizeof(float);
    return lv_cpu_plan_tmp(call, REDUCE_BLOCK);
}

/* Block i of all groups' blocks. */
static void put_totals(const LvRowsJob *r, size_t i, float *tmp)
{
    const LvSumsJob *j = r->args;
    const LvReduceArgs *a = j->args;
    size_t col = i % blocks(j) * j->block;

    lv_cpu_finish(j->cpu, &a->y, a->add, i / blocks(j) * j->cols + col,
                  LV_MIN(j->block, j->cols - col), lv_cpu_totals(j, i), tmp);
}

int lv_cpu_reduce(LvDevice *dev, const LvReduceArgs *a, LvCall *call)
{
    LvSumsJob j = reduce_sums(dev, a);
    int ret;

    j.partial = call->scratch;
    ret = lv_cpu_sum_rows(&j);
    return ret < 0 ? ret :
           lv_cpu_each_row(dev, &j, j.groups * blocks(&j), j.block, put_totals);
}
