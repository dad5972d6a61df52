/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/timing.h"

#include <stdlib.h>
#include <string.h>

/* A run this long is not repeated more than SLOW_REPS times. */
#define SLOW_SECONDS 8.0
enum { SLOW_REPS = 2 };

static int prepare(LvBench *b, const LvWork *w)
{
    LvSizes sizes;
    int ret;

    b->graph = lv_graph_new(&b->msg);
    if (!b->graph)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    ret = w->trace(b, w);
    if (ret < 0 || (ret = lv_program_new(&b->program, b->graph, b->dev)) < 0)
        return ret;
    sizes    = lv_program_sizes(b->program);
    ret      = lv_device_alloc(b->dev, &b->arena, LV_MAX(sizes.arena, 1), w->name);
    if (ret < 0 || (ret = lv_program_build(b->program, b->arena)) < 0)
        return ret;
    return lv_bench_bind_inputs(b);
}

double lv_timing_times(const LvBench *b, int i)
{
    int layer = lv_program_record(b->program, i)->layer;

    return layer < LV_BENCH_LAYERS ? b->times[layer] : 1;
}

/* One run; its seconds, counting each layer as often as it stands for. */
static int run_once(LvBench *b, LvTiming *r, double *seconds)
{
    int n = lv_program_count(b->program), ret;
    double *one = calloc(n + 1, sizeof(*one));

    if (!one)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    lv_program_time(b->program, one);
    ret = lv_program_run(b->program, NULL, NULL);
    *seconds = 0;
    for (int i = 0; i < n; i++) {
        *seconds     += one[i] * lv_timing_times(b, i);
        r->record[i] += one[i];
    }
    lv_program_time(b->program, NULL);
    free(one);
    return ret;
}

int lv_timing_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int run_all(LvBench *b, LvTiming *r)
{
    int n = lv_program_count(b->program), ret;
    double warm;

    r->record = calloc(n + 1, sizeof(*r->record));
    if (!r->record)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    if ((ret = run_once(b, r, &warm)) < 0)
        return ret;
    memset(r->record, 0, n * sizeof(*r->record));
    r->reps = warm > SLOW_SECONDS ? LV_MIN(b->reps, SLOW_REPS) : b->reps;
    for (int i = 0; i < r->reps; i++)
        if ((ret = run_once(b, r, &r->seconds[i])) < 0)
            return ret;
    qsort(r->seconds, r->reps, sizeof(*r->seconds), lv_timing_compare);
    for (int i = 0; i < n; i++) {
        const LvRecord *rec = lv_program_record(b->program, i);

        r->record[i] /= r->reps;
        r->flops += lv_op_flops(rec->op, &rec->u) * lv_timing_times(b, i);
        r->bytes += lv_op_bytes(rec->op, &rec->u) * lv_timing_times(b, i);
    }
    return 0;
}

int lv_timing_measure(LvBench *b, const LvWork *w, LvTiming *r)
{
    int ret;

    lv_bench_clear(b);
    ret = prepare(b, w);
    return ret < 0 ? ret : run_all(b, r);
}

double lv_timing_median(const LvTiming *r)
{
    return (r->seconds[(r->reps - 1) / 2] + r->seconds[r->reps / 2]) / 2;
}
