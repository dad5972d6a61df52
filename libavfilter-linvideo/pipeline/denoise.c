/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/denoise.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/locale.h"
#include "base/thread.h"
#include "pipeline/sample.h"

struct LvDenoise {
    const LvEnv *env;
    LvBranch branch[LV_BRANCHES];
    LvSchedule schedule;
    LvSampler *sampler;
    LvExpertNext next; /* NULL: nobody makes them ready */
    void *opaque;
    LvStepGuess guess; /* NULL: nobody asks */
    void *guess_opaque;
    int expert;        /* whose steps these are */
    int runs;          /* branches of this step */
    LvStepCache cache;
    const float *first; /* latent frame that is given; NULL: none */
    const float *from;  /* latents that clips begin with; NULL: noise alone */
    const float *kept, *mask; /* see lv_denoise_blend(); NULL: none */
    LvWindows windows;
    int window;        /* of this step, that the network sees */
    const int *from_latent, *number; /* [parts]: see lv_denoise_parts() */
    int parts, part;   /* part: of the window */
    size_t numel, seen; /* elements of the whole; of what a network sees */
    LvMemory memory;
    float *x, *v[LV_BRANCHES], *x0; /* host */
    float *in, *out[LV_BRANCHES]; /* of a window; x and v where it is the whole */
    int *source;       /* [length]: see lv_windows_noise() */
};

int lv_schedule_steps(const LvSchedule *s)
{
    return s->strength > 0 ? lv_sampler_left(s->kind, s->steps, (double)s->strength) : s->steps;
}

int lv_schedule_passes(const LvSchedule *s)
{
    return lv_schedule_steps(s) + s->keeps;
}

int lv_schedule_prompts(const LvSchedule *s)
{
    return s->nag.scale > 0 ? LV_NEGATIVE + 1 : s->branches;
}

int lv_schedule_runs(const LvSchedule *s, int expert, int step)
{
    int guided = !s->guided[1] || (step >= s->guided[0] && step < s->guided[1]);

    return guided ? s->runs[expert] : 1;
}

/* Of a network, whole clips of which are made until lv_denoise_lengthen(). */
static LvWindows windows_of(const LvEnv *env, const LvNetwork *net)
{
    LvWindows w = { .channels = env->cfg->dit.channels, .plane = lv_network_frame(net) };

    w.size   = (int)(lv_network_numel(net) / ((size_t)w.channels * w.plane));
    w.length = w.size;
    return w;
}

static int new_sampler(LvSampler **out, const LvEnv *env, const LvSchedule *s, size_t numel)
{
    int ret = lv_sampler_new(out, s->kind, s->steps, (double)s->shift, numel, env->msg);

    if (ret >= 0 && s->strength > 0)
        lv_sampler_begin_at(*out, (double)s->strength);
    return ret;
}

/* Before anything is read. */
static int check_schedule(const LvEnv *env, const LvSchedule *s)
{
    LvSampler *trial;
    int ret = new_sampler(&trial, env, s, 1);

    lv_sampler_free(&trial);
    return ret;
}

int lv_denoise_new(LvDenoise **out, const LvEnv *env, const LvBranch *branch,
                   const LvSchedule *s)
{
    LvDenoise *d;
    int ret = check_schedule(env, s);

    *out = NULL;
    if (ret < 0)
        return ret;
    if (!(d = *out = calloc(1, sizeof(*d))))
        return lv_fail(env->msg, LV_ERR(ENOMEM), "denoise: out of memory");
    *d = (LvDenoise) { .env = env, .schedule = *s,
                       .numel = lv_network_numel(branch->net[LV_HIGH]),
                       .seen = lv_network_numel(branch->net[LV_HIGH]),
                       .windows = windows_of(env, branch->net[LV_HIGH]) };
    d->cache.limit = (double)s->cache;
    d->cache.steps = lv_schedule_steps(s);
    d->cache.n     = d->numel;
    for (int i = 0; i < s->branches; i++)
        d->branch[i] = branch[i];
    return 0;
}

void lv_denoise_lengthen(LvDenoise *d, int length, int circular)
{
    LvWindows *w = &d->windows;

    assert(length >= 1 && (circular || length >= w->size));
    w->length   = length;
    w->circular = circular;
    d->numel    = (size_t)w->channels * (size_t)length * w->plane;
    d->cache.n  = d->numel;
}

void lv_denoise_parts(LvDenoise *d, const int *from, const int *number, int nb)
{
    d->from_latent = from;
    d->number      = number;
    d->parts       = nb;
}

int lv_denoise_windows(const LvDenoise *d)
{
    return lv_windows_count(&d->windows, 0);
}

void lv_denoise_each_expert(LvDenoise *d, LvExpertNext next, void *opaque)
{
    d->next   = next;
    d->opaque = opaque;
}

void lv_denoise_each_guess(LvDenoise *d, LvStepGuess guess, void *opaque)
{
    d->guess        = guess;
    d->guess_opaque = opaque;
}

void lv_denoise_give_first(LvDenoise *d, const float *z)
{
    d->first = z;
}

void lv_denoise_from(LvDenoise *d, const float *z)
{
    d->from = z;
}

void lv_denoise_blend(LvDenoise *d, const float *z, const float *mask)
{
    d->kept = z;
    d->mask = mask;
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

static void lay_out_cache(LvDenoise *d, LvRegion *region, size_t bytes)
{
    d->cache.x     = lv_region_take(region, bytes);
    d->cache.run_x = lv_region_take(region, bytes);
    for (int i = 0; i < d->schedule.branches; i++)
        d->cache.run_v[i] = lv_region_take(region, bytes);
}

static void lay_out_window(LvDenoise *d, LvRegion *region)
{
    int whole = lv_windows_whole(&d->windows);

    d->in = whole ? d->x : lv_region_take(region, d->seen * sizeof(float));
    for (int i = 0; i < d->schedule.branches; i++)
        d->out[i] = whole ? d->v[i] : lv_region_take(region, d->seen * sizeof(float));
    if (!whole)
        d->source = lv_region_take(region, (size_t)d->windows.length * sizeof(*d->source));
}

/* @return bytes */
static size_t lay_out(LvDenoise *d, char *base)
{
    LvRegion region = { .base = base };
    size_t bytes = d->numel * sizeof(float);

    d->x = lv_region_take(&region, bytes);
    for (int i = 0; i < d->schedule.branches; i++)
        d->v[i] = lv_region_take(&region, bytes);
    if (d->guess)
        d->x0 = lv_region_take(&region, bytes);
    if (d->schedule.cache > 0)
        lay_out_cache(d, &region, bytes);
    lay_out_window(d, &region);
    return region.at;
}

LvNeed lv_denoise_need(const LvDenoise *d)
{
    LvDenoise sizes = *d;

    return (LvNeed) { .host = lay_out(&sizes, NULL) };
}

static int expert_of(const LvDenoise *d, const LvSampler *sampler, int step)
{
    float boundary = d->schedule.boundary;

    return boundary > 0 ? lv_sampler_expert(sampler, step, boundary) : LV_HIGH;
}

int lv_denoise_cost(const LvDenoise *d, const LvRates *rates, LvCost *cost)
{
    LvSampler *sampler;
    int ret = new_sampler(&sampler, d->env, &d->schedule, 1);

    for (int i = 0; i < d->schedule.steps && ret >= 0; i++) {
        int expert = expert_of(d, sampler, i);

        for (int b = 0; b < lv_schedule_runs(&d->schedule, expert, i); b++)
            lv_network_cost(d->branch[b].net[expert], rates,
                            lv_windows_count(&d->windows, i), cost);
    }
    for (int b = 0; b < d->schedule.branches && d->schedule.keeps; b++)
        lv_network_cost(d->branch[b].net[LV_HIGH], rates, 1, cost);
    lv_sampler_free(&sampler);
    return ret;
}

int lv_denoise_build(LvDenoise *d)
{
    const LvNeed need = lv_denoise_need(d);
    int ret = lv_memory_new(&d->memory, d->env->dev, &need);

    if (ret < 0)
        return ret;
    lay_out(d, d->memory.host);
    return new_sampler(&d->sampler, d->env, &d->schedule, d->numel);
}

/* Whether all values of a step are finite. */
static int check_step(const LvDenoise *d, int step, const float *x, const char *what)
{
    const LvEnv *env = d->env;

    return lv_find_nonfinite(x, LV_F32, LV_F32, d->numel) == d->numel ? 0 :
           lv_fail(env->msg, LV_ERR_MODEL, "%s: step %d of %d: %s are not finite%s",
                   env->files->path, step + 1, lv_schedule_steps(&d->schedule), what,
                   lv_env_hint(env, 1));
}

static int run_branch(LvDenoise *d, int step, int branch)
{
    const LvBranch *b = &d->branch[branch];
    int layers = d->env->cfg->dit.layers, windows = lv_windows_count(&d->windows, step);
    int prompt = d->parts && branch == LV_COND ? d->number[d->part] : b->prompt;
    const LvAt at = { LV_STAGE_DENOISE, step, lv_schedule_passes(&d->schedule),
                      (d->window * d->runs + branch) * layers, windows * d->runs * layers };

    return lv_network_run(b->net[d->expert], prompt, &at, d->out[branch]);
}

/* Networks that are not those of branches before are brought to a step. */
static int put_step(LvDenoise *d, int step, int branch)
{
    LvNetwork *net = d->branch[branch].net[d->expert];

    for (int i = 0; i < branch; i++)
        if (d->branch[i].net[d->expert] == net)
            return 0;
    return lv_network_at(net, d->in, lv_sampler_time(d->sampler, step), d->first != NULL);
}

/* The branch that has a device of its own, beside the first one. */
typedef struct Beside {
    LvDenoise *d;
    int step, ret;
} Beside;

static void *run_beside(void *opaque)
{
    Beside *b = opaque;
    LvLocale locale;

    lv_locale_enter(&locale);
    b->ret = put_step(b->d, b->step, LV_UNCOND);
    if (b->ret >= 0)
        b->ret = run_branch(b->d, b->step, LV_UNCOND);
    lv_locale_leave(&locale);
    return NULL;
}

static int run_both(LvDenoise *d, int step)
{
    LvAside *aside = d->branch[LV_UNCOND].aside;
    Beside b = { d, step, 0 };
    pthread_t thread;
    int ret;

    lv_aside_begin(aside);
    if (lv_thread_start(&thread, run_beside, &b)) {
        lv_aside_end(aside);
        return lv_fail(d->env->msg, LV_ERR(ENOMEM), "denoise: no thread for the second device");
    }
    ret = put_step(d, step, LV_COND);
    if (ret >= 0)
        ret = run_branch(d, step, LV_COND);
    pthread_join(thread, NULL);
    lv_aside_end(aside);
    return ret < 0 ? ret : b.ret;
}

static int run_in_turn(LvDenoise *d, int step)
{
    int ret = 0;

    for (int b = 0; b < d->runs && ret >= 0; b++)
        if ((ret = put_step(d, step, b)) >= 0)
            ret = run_branch(d, step, b);
    return ret;
}

static int check_branches(const LvDenoise *d, int step)
{
    static const char *const what[LV_BRANCHES] = {
        "values of the network", "values of the network for the negative prompt",
    };
    int ret = 0;

    for (int b = 0; b < d->runs && ret >= 0; b++)
        ret = check_step(d, step, d->v[b], what[b]);
    return ret;
}

/* Whose steps come next. */
static int choose_expert(LvDenoise *d, int step)
{
    int expert = expert_of(d, d->sampler, step);

    if (step && expert == d->expert)
        return 0;
    d->expert = expert;
    lv_step_cache_change(&d->cache);
    return d->next ? d->next(d->opaque, expert) : 0;
}

/* Put the frame that is given in its place, of every channel. */
static void put_first(LvDenoise *d)
{
    size_t channels = (size_t)d->env->cfg->dit.channels;
    size_t frame = lv_network_frame(d->branch[LV_COND].net[LV_HIGH]);

    for (size_t c = 0; c < channels && d->first; c++)
        memcpy(d->x + c * (d->numel / channels), d->first + c * frame, frame * sizeof(*d->x));
}

/* Of all branches, for what the network sees. */
static int run_seen(LvDenoise *d, int step)
{
    return d->runs > 1 && d->branch[LV_UNCOND].aside ? run_both(d, step) : run_in_turn(d, step);
}

/* That of a window's middle. */
static int part_of(const LvDenoise *d, int start)
{
    const LvWindows *w = &d->windows;
    int middle = (start + w->size / 2) % w->length, i = LV_MAX(d->parts - 1, 0);

    while (i && d->from_latent[i] > middle)
        i--;
    return i;
}

/* The same of the whole: the mean of windows, where they overlap. */
static int run_windows(LvDenoise *d, int step)
{
    const LvWindows *w = &d->windows;
    int ret = 0;

    for (int b = 0; b < d->runs; b++)
        memset(d->v[b], 0, d->numel * sizeof(*d->v[b]));
    for (d->window = 0; d->window < lv_windows_count(w, step) && ret >= 0; d->window++) {
        int start = lv_windows_start(w, step, d->window);

        d->part = part_of(d, start);
        lv_windows_take(w, start, d->x, d->in);
        ret = run_seen(d, step);
        for (int b = 0; b < d->runs; b++)
            lv_windows_add(w, start, d->out[b], d->v[b]);
    }
    for (int b = 0; b < d->runs; b++)
        lv_windows_divide(w, step, d->v[b]);
    return ret;
}

/* Velocities of all branches. */
static int run_network(LvDenoise *d, int step)
{
    int ret = lv_windows_whole(&d->windows) ? run_seen(d, step) : run_windows(d, step);

    if (ret < 0 || (ret = check_branches(d, step)) < 0)
        return ret;
    lv_step_cache_keep(&d->cache, d->x, d->v, d->runs);
    return 0;
}

static int find_velocities(LvDenoise *d, int step)
{
    if (!lv_step_cache_skips(&d->cache, step, d->x, d->runs))
        return run_network(d, step);
    for (int b = 0; b < d->runs; b++)
        lv_step_cache_velocity(&d->cache, b, d->v[b]);
    return 0;
}

static int show_step(const LvDenoise *d, int step, LvStepSeen seen, void *opaque)
{
    const float *v[LV_BRANCHES] = { NULL };

    for (int b = 0; b < d->runs; b++)
        v[b] = d->v[b];
    return seen ? seen(opaque, step, d->x, v) : 0;
}

static int tell_guess(LvDenoise *d, int step)
{
    float sigma = lv_sampler_sigma(d->sampler, step);

    for (size_t i = 0; i < d->numel && d->guess; i++)
        d->x0[i] = d->x[i] - sigma * d->v[LV_COND][i];
    return d->guess ? d->guess(d->guess_opaque, step, d->x0) : 0;
}

/* Where latents are kept the velocity is the one that leads to them. */
static void blend_kept(LvDenoise *d, int step)
{
    size_t frame = d->numel / (size_t)d->env->cfg->dit.channels;
    float sigma  = lv_sampler_sigma(d->sampler, step), *v = d->v[LV_COND];

    for (size_t i = 0; i < d->numel && d->mask; i++) {
        float m = d->mask[i % frame];

        if (m > 0)
            v[i] += m * ((d->x[i] - d->kept[i]) / sigma - v[i]);
    }
}

static int run_step(LvDenoise *d, int step, LvStepSeen seen, void *opaque)
{
    const LvSchedule *s = &d->schedule;
    int ret = choose_expert(d, step);

    d->runs = lv_schedule_runs(s, d->expert, step);
    if (ret < 0 || (ret = find_velocities(d, step)) < 0 ||
        (ret = show_step(d, step, seen, opaque)) < 0)
        return ret;
    if (d->runs > 1)
        lv_guide(d->v[LV_COND], d->v[LV_UNCOND], d->numel, s->guidance[d->expert]);
    blend_kept(d, step);
    if ((ret = tell_guess(d, step)) < 0)
        return ret;
    lv_sampler_step(d->sampler, step, d->x, d->v[LV_COND]);
    put_first(d);
    return check_step(d, step, d->x, "latents");
}

/* Noise of all latents, of as many as the network sees. */
static void share_noise(LvDenoise *d, const LvNoise *noise)
{
    const LvWindows *w = &d->windows;

    lv_windows_noise(w, noise->seed, noise->order, d->source);
    for (int c = 0; c < w->channels; c++)
        for (int t = 0; t < w->length; t++)
            memcpy(d->x + ((size_t)c * (size_t)w->length + (size_t)t) * w->plane,
                   d->in + ((size_t)c * (size_t)w->size + (size_t)d->source[t]) * w->plane,
                   w->plane * sizeof(*d->x));
}

/* The latents of the first level. */
static void begin(LvDenoise *d, const LvNoise *noise)
{
    float sigma = lv_sampler_sigma(d->sampler, 0);

    lv_noise_fill(noise, d->in, d->seen, d->from ? sigma : lv_sampler_scale(d->sampler));
    if (!lv_windows_whole(&d->windows))
        share_noise(d, noise);
    for (size_t i = 0; i < d->numel && d->from; i++)
        d->x[i] += (1 - sigma) * d->from[i];
    put_first(d);
}

static int runs_of_clip(const LvDenoise *d)
{
    int runs = 0;

    for (int i = 0; i < lv_schedule_steps(&d->schedule); i++)
        runs += lv_schedule_runs(&d->schedule, expert_of(d, d->sampler, i), i);
    return runs;
}

static void tell_saved(const LvDenoise *d)
{
    if (d->schedule.cache > 0)
        lv_msg(d->env->msg, LV_MSG_INFO, "cache: %d of %d steps were taken without the network: "
               "%d of %d runs of it were saved", d->cache.skipped, d->cache.steps,
               d->cache.saved, runs_of_clip(d));
}

int lv_denoise_run(LvDenoise *d, const LvNoise *noise, LvStepSeen seen, void *opaque,
                   const float **x)
{
    int steps = lv_schedule_steps(&d->schedule), ret = 0;

    begin(d, noise);
    lv_step_cache_begin(&d->cache);
    lv_sampler_start(d->sampler, noise->seed, noise->renoise);
    for (int i = 0; i < steps && ret >= 0; i++)
        ret = run_step(d, i, seen, opaque);
    if (ret >= 0)
        tell_saved(d);
    *x = d->x;
    return ret;
}

/* Blocks */

/* Whether a branch's network is that of none before it. */
static int is_first_of(const LvDenoise *d, int branch)
{
    for (int i = 0; i < branch; i++)
        if (d->branch[i].net[LV_HIGH] == d->branch[branch].net[LV_HIGH])
            return 0;
    return 1;
}

int lv_denoise_clear(LvDenoise *d)
{
    int ret = 0;

    for (int b = 0; b < d->schedule.branches && ret >= 0; b++)
        if (is_first_of(d, b))
            ret = lv_network_clear(d->branch[b].net[LV_HIGH]);
    return ret;
}

int lv_denoise_keep(LvDenoise *d)
{
    int steps = lv_schedule_steps(&d->schedule), ret = 0;

    d->runs = d->schedule.branches;
    for (int b = 0; b < d->runs && ret >= 0; b++) {
        LvNetwork *net = d->branch[b].net[LV_HIGH];
        if (is_first_of(d, b))
            ret = lv_network_at(net, d->x, 0, 0);
        if (ret >= 0)
            ret = run_branch(d, steps, b);
    }
    for (int b = 0; b < d->runs && ret >= 0; b++)
        if (is_first_of(d, b))
            ret = lv_network_keep(d->branch[b].net[LV_HIGH]);
    return ret;
}
