/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/denoise.h"

#include <stdlib.h>

#include "base/convert.h"
#include "pipeline/sample.h"

struct LvDenoise {
    const LvEnv *env;
    LvNetwork *net;
    LvSchedule schedule;
    LvSampler *sampler;
    size_t numel;
    LvMemory memory;
    float *x, *v[LV_BRANCHES]; /* host */
};

int lv_denoise_new(LvDenoise **out, const LvEnv *env, LvNetwork *net, const LvSchedule *s)
{
    LvDenoise *d = *out = calloc(1, sizeof(*d));

    if (!d)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "denoise: out of memory");
    *d = (LvDenoise) { .env = env, .net = net, .schedule = *s, .numel = lv_network_numel(net) };
    return 0;
}

void lv_denoise_free(LvDenoise **out)
{
    LvDenoise *d = *out;

    if (!d)
        return;
    lv_sampler_free(&d->sampler);
    lv_memory_free(&d->memory, d->env->dev);
    free(d);
    *out = NULL;
}

/* @return bytes */
static size_t lay_out(LvDenoise *d, char *base)
{
    LvRegion region = { .base = base };

    d->x = lv_region_take(&region, d->numel * sizeof(float));
    for (int i = 0; i < d->schedule.branches; i++)
        d->v[i] = lv_region_take(&region, d->numel * sizeof(float));
    return region.at;
}

LvNeed lv_denoise_need(const LvDenoise *d)
{
    LvDenoise sizes = *d;

    return (LvNeed) { .host = lay_out(&sizes, NULL) };
}

int lv_denoise_build(LvDenoise *d)
{
    const LvSchedule *s = &d->schedule;
    const LvNeed need   = lv_denoise_need(d);
    int ret = lv_memory_new(&d->memory, d->env->dev, &need);

    if (ret < 0)
        return ret;
    lay_out(d, d->memory.host);
    return lv_sampler_new(&d->sampler, s->kind, s->steps, (double)s->shift, d->numel,
                          d->env->msg);
}

/* Whether all values of a step are finite. */
static int check_step(const LvDenoise *d, int step, const float *x, const char *what)
{
    const LvEnv *env = d->env;

    return lv_find_nonfinite(x, LV_F32, LV_F32, d->numel) == d->numel ? 0 :
           lv_fail(env->msg, LV_ERR_MODEL, "%s: step %d of %d: %s are not finite%s",
                   env->files->path, step + 1, d->schedule.steps, what, lv_env_hint(env));
}

static int run_branch(LvDenoise *d, int step, int branch)
{
    static const char *const what[LV_BRANCHES] = {
        "values of the network", "values of the network for the negative prompt",
    };
    int layers = d->env->cfg->dit.layers;
    const LvAt at = { LV_STAGE_DENOISE, step, d->schedule.steps, branch * layers,
                      d->schedule.branches * layers };
    int ret = lv_network_run(d->net, branch, &at, d->v[branch]);

    return ret < 0 ? ret : check_step(d, step, d->v[branch], what[branch]);
}

static int run_step(LvDenoise *d, int step, LvStepSeen seen, void *opaque)
{
    const LvSchedule *s = &d->schedule;
    int ret = lv_network_at(d->net, d->x, lv_sampler_time(d->sampler, step));

    for (int b = 0; b < s->branches && ret >= 0; b++)
        ret = run_branch(d, step, b);
    if (ret >= 0 && seen)
        ret = seen(opaque, step, d->x, (const float *const *)d->v);
    if (ret < 0)
        return ret;
    if (s->branches > 1)
        lv_guide(d->v[LV_COND], d->v[LV_UNCOND], d->numel, s->guidance);
    lv_sampler_step(d->sampler, step, d->x, d->v[LV_COND]);
    return check_step(d, step, d->x, "latents");
}

int lv_denoise_run(LvDenoise *d, const LvNoise *noise, LvStepSeen seen, void *opaque,
                   const float **x)
{
    int ret = 0;

    lv_noise_fill(noise, d->x, d->numel, lv_sampler_scale(d->sampler));
    lv_sampler_start(d->sampler, noise->seed, noise->renoise);
    for (int i = 0; i < d->schedule.steps && ret >= 0; i++)
        ret = run_step(d, i, seen, opaque);
    *x = d->x;
    return ret;
}
