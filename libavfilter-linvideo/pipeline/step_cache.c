/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/step_cache.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Runs before k is known. */
enum { LEAST_RUNS = 2 };

/* Share of the steps that are always run. */
enum { FIRST_STEPS = 5 };

void lv_step_cache_begin(LvStepCache *c)
{
    lv_step_cache_change(c);
    c->skipped = c->saved = 0;
}

void lv_step_cache_change(LvStepCache *c)
{
    c->runs  = 0;
    c->error = 0;
}

/* Mean of |a - b|, or of |a| where b is NULL. */
static double mean_distance(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a[i] - (b ? b[i] : 0));
    return sum / (double)n;
}

/* Steps that no error has a say in. */
static int always_runs(const LvStepCache *c, int step, int branches)
{
    return c->runs < LEAST_RUNS || branches > c->branches ||
           step < c->steps / FIRST_STEPS || step == c->steps - 1;
}

/* Where k or the norm came of a division by 0, the error is small never: the step is run. */
static int stays_small(LvStepCache *c, double moved)
{
    c->error += c->k * moved / c->norm;
    return c->error < c->limit;
}

int lv_step_cache_skips(LvStepCache *c, int step, const float *x, int branches)
{
    int skips;

    assert(branches <= LV_STEP_BRANCHES);
    if (!(c->limit > 0))
        return 0;
    skips = !always_runs(c, step, branches) && stays_small(c, mean_distance(x, c->x, c->n));
    memcpy(c->x, x, c->n * sizeof(*x));
    c->skipped += skips;
    c->saved   += skips ? branches : 0;
    return skips;
}

void lv_step_cache_velocity(const LvStepCache *c, int branch, float *v)
{
    memcpy(v, c->run_v[branch], c->n * sizeof(*v));
}

void lv_step_cache_keep(LvStepCache *c, const float *x, float *const *v, int branches)
{
    if (!(c->limit > 0))
        return;
    if (c->runs)
        c->k = mean_distance(v[0], c->run_v[0], c->n) / mean_distance(x, c->run_x, c->n);
    memcpy(c->run_x, x, c->n * sizeof(*x));
    for (int b = 0; b < branches; b++)
        memcpy(c->run_v[b], v[b], c->n * sizeof(**v));
    c->norm     = mean_distance(v[0], NULL, c->n);
    c->branches = branches;
    c->runs     = c->runs < LEAST_RUNS ? c->runs + 1 : c->runs;
    c->error    = 0;
}
