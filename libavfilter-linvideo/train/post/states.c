/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/states.h"

#include <math.h>
#include <string.h>

#include "base/convert.h"
#include "base/half.h"
#include "train/run/streams.h"

static int is_here(int objective)
{
    return objective == LV_LEARN_MSE || objective == LV_LEARN_ONLINE ||
           objective == LV_LEARN_DMD;
}

/* ONPOLICY: the state before leads to j; at the start there is none before. The others:
 * state j leads on, but for the last, where ANCHORED looks at it alone. */
void lv_states_pair(const LvStates *s, int j, int *from, int *to)
{
    *from = s->objective == LV_LEARN_ONPOLICY ? LV_MAX(j - 1, 0) : j;
    *to   = s->objective == LV_LEARN_ONPOLICY || is_here(s->objective) ? j :
            LV_MIN(j + 1, s->last);
}

/* Pairs that there are. */
static int nb_pairs(int objective, int last)
{
    return objective == LV_LEARN_STEP ? last : last + 1;
}

static int pairs(const LvStates *s)
{
    return nb_pairs(s->objective, s->last);
}

static double literal(const LvStates *s, int from, int to)
{
    double t0 = (double)s->t->sigma[from], t = (double)s->t->sigma[to];

    return (t0 - t) * LV_MIN((1 - t) / t, (double)s->cfg->cap);
}

double lv_states_weight(const LvStates *s, int from, int to)
{
    switch (s->cfg->weight) {
    case LV_WEIGHT_LITERAL: return literal(s, from, to);
    case LV_WEIGHT_SQRT:    return sqrt(literal(s, from, to) / (double)s->mean_k);
    }
    return 1;
}

int lv_states_last(const LvLinearizeConfig *cfg, int objective, const float *sigma, int steps,
                   const LvMsg *msg)
{
    int last = steps - 1;

    while (last >= 0 && sigma[last] < cfg->t_min)
        last--;
    return nb_pairs(objective, last) >= 1 ? last :
           lv_fail(msg, LV_ERR_MODEL, "linearize.t_min is %g: expected at most %g, so that there "
                   "are states to look at", (double)cfg->t_min,
                   (double)sigma[objective == LV_LEARN_STEP && steps > 1]);
}

int lv_states_init(LvStates *s, const LvRecipe *recipe, const LvTrajectories *t,
                   const LvFrozen *teacher)
{
    double sum = 0;
    int from, to;

    *s = (LvStates) { .cfg = &recipe->linearize, .t = t, .dit = &teacher->cfg.dit,
                      .width = teacher->size[2], .seed = (uint64_t)recipe->seed,
                      .objective = recipe->linearize.objective,
                      .guidance = t->guidance, .score = &recipe->distill };
    s->last = lv_states_last(s->cfg, s->objective, t->sigma, t->steps, teacher->msg);
    if (s->last < 0)
        return s->last;
    for (int j = 0; j < pairs(s); j++) {
        lv_states_pair(s, j, &from, &to);
        sum += literal(s, from, to);
    }
    s->mean_k = (float)LV_MAX(sum / pairs(s), 1e-12);
    return 0;
}

/* Ports that are filled for each step. */
static size_t numbers(const LvStates *s, int port)
{
    size_t x = s->t->numel, dmd = s->objective == LV_LEARN_DMD;

    switch (port) {
    case LV_PORT_X:       return x;
    case LV_PORT_TEXT:
    case LV_PORT_OTHER:   return s->t->text;
    case LV_PORT_COEF:    return (size_t)LV_COEFS * (size_t)s->width;
    case LV_PORT_TARGET:  return s->objective == LV_LEARN_MSE ? x : 0;
    case LV_PORT_NOISE:   return dmd ? x : 0;
    case LV_PORT_T:
    case LV_PORT_T1:
    case LV_PORT_WEIGHT:
    case LV_PORT_WEIGHT0: return 1;
    }
    return 0;
}

size_t lv_states_lay_out(const LvStates *s, int micro, float *data, LvBatch *b)
{
    size_t at = 0;

    *b = (LvBatch) { 0 };
    for (int i = 0; i < LV_PORT_NB; i++) {
        size_t n = (size_t)micro * numbers(s, i);
        if (n && data)
            b->port[i] = data + at;
        at += n;
    }
    if (data)
        b->to = (int32_t *)(void *)(data + at);
    return at + (size_t)micro;
}

static void put_coef(const LvStates *s, LvBatch *b, int at, int coef, double value)
{
    float *row = b->port[LV_PORT_COEF] + ((size_t)at * LV_COEFS + (size_t)coef) *
                 (size_t)s->width;

    for (int i = 0; i < s->width; i++)
        row[i] = (float)value;
}

static void put_text(const LvStates *s, LvBatch *b, int at, int prompt, int negative)
{
    size_t n = s->t->text;

    memcpy(b->port[LV_PORT_TEXT] + (size_t)at * n,
           lv_trajectories_text(s->t, negative ? -1 : prompt), n * sizeof(float));
    memcpy(b->port[LV_PORT_OTHER] + (size_t)at * n,
           lv_trajectories_text(s->t, negative ? prompt : -1), n * sizeof(float));
}

static int is_joint(const LvStates *s)
{
    return s->cfg->compare == LV_COMPARE_JOINT;
}

/* A step by the branch that is compared, or by both, guided. */
static void put_step(const LvStates *s, LvBatch *b, int at, int from, int to, int negative)
{
    double d = (double)s->t->sigma[to] - (double)s->t->sigma[from];
    double g = (double)s->guidance;
    int both = s->slot || is_joint(s);

    put_coef(s, b, at, LV_COEF_STEP, !both ? d : d * (negative ? 1 - g : g));
    put_coef(s, b, at, LV_COEF_OTHER, !both ? 0 : d * (negative ? g : 1 - g));
    put_coef(s, b, at, LV_COEF_GUIDE, g);
    put_coef(s, b, at, LV_COEF_UNGUIDE, -g);
}

/* Clips of one step from the state, and the time and noise that they are compared with. */
static void put_score(const LvStates *s, LvBatch *b, int at, int from, int step, int item)
{
    const LvDistillConfig *c = s->score;
    int critic = item >= s->cfg->batch;
    double t   = (double)s->t->sigma[from], shift = (double)c->shift, u[4], tau;

    lv_uniform4(u, s->seed, lv_stream(LV_STREAM_SCORE, step, item));
    tau = shift * u[0] / (1 + (shift - 1) * u[0]);
    tau = LV_CLAMP(tau, (double)c->t_min, (double)c->t_max);
    put_coef(s, b, at, LV_COEF_STEP, -t);
    put_coef(s, b, at, LV_COEF_OTHER, -1);
    put_coef(s, b, at, LV_COEF_FADE, -tau);
    put_coef(s, b, at, LV_COEF_NOISE, tau);
    put_coef(s, b, at, LV_COEF_GUIDE, (double)c->guidance);
    put_coef(s, b, at, LV_COEF_UNGUIDE, -(double)c->guidance);
    b->port[LV_PORT_T1][at]     = (float)(1000 * tau);
    b->port[LV_PORT_WEIGHT][at] = (float)((critic ? 1 : t * tau / 2) / s->cfg->batch);
    lv_philox_normal(b->port[LV_PORT_NOISE] + (size_t)at * s->t->numel, s->t->numel,
                     s->seed, lv_stream(LV_STREAM_NOISE, step, item));
}

static void put_velocity(const LvStates *s, LvBatch *b, int at, int clip, int k,
                         int negative)
{
    size_t n = s->t->numel, index = ((size_t)clip * (size_t)s->t->steps + (size_t)k) * 2;
    const uint16_t *v = s->t->velocities + (index + (size_t)negative) * n;
    float *to = b->port[LV_PORT_TARGET] + (size_t)at * n;

    for (size_t i = 0; i < n; i++)
        to[i] = lv_f16_f32(v[i]);
}

/* What errors that are alike in both branches come to when they do not depend on each
 * other: by this, guided and single errors are of one size. */
static double joint_scale(const LvStates *s)
{
    double g = (double)s->guidance;

    return is_joint(s) ? g * g + (1 - g) * (1 - g) : 1;
}

void lv_states_make(const LvStates *s, LvBatch *b, int at, int step, int item)
{
    int slot = item % s->cfg->batch, clip, j, from, to, negative, prompt;
    double u[4], w;

    lv_uniform4(u, s->seed, lv_stream(LV_STREAM_STATE, step, item));
    clip     = LV_MIN((int)(u[0] * s->t->clips), s->t->clips - 1);
    j        = s->slot ? s->slot[slot].at + (s->objective == LV_LEARN_ONPOLICY) :
               LV_MIN((int)(u[1] * pairs(s)), pairs(s) - 1);
    negative = s->objective != LV_LEARN_DMD && !is_joint(s) &&
               u[2] < (double)s->cfg->p_negative;
    prompt   = s->slot ? s->slot[slot].prompt : s->t->prompt[clip];
    lv_states_pair(s, j, &from, &to);
    if (s->slot)
        memcpy(b->port[LV_PORT_X] + (size_t)at * s->t->numel,
               s->x + (size_t)slot * s->t->numel, s->t->numel * sizeof(float));
    else
        lv_trajectories_state(s->t, clip, from, b->port[LV_PORT_X] +
                              (size_t)at * s->t->numel);
    put_text(s, b, at, prompt, negative);
    w = lv_states_weight(s, from, to) / (2.0 * s->cfg->batch) / joint_scale(s);
    w = s->objective == LV_LEARN_ANCHORED ? w / 2 : w;
    b->port[LV_PORT_T][at]       = 1000 * s->t->sigma[from];
    b->port[LV_PORT_T1][at]      = 1000 * s->t->sigma[to];
    b->port[LV_PORT_WEIGHT][at]  = (float)w;
    b->port[LV_PORT_WEIGHT0][at] = (float)w;
    b->to[at]                    = to;
    put_step(s, b, at, from, to, negative);
    if (s->objective == LV_LEARN_DMD)
        put_score(s, b, at, from, step, item);
    if (s->objective == LV_LEARN_MSE)
        put_velocity(s, b, at, clip, from, negative);
}

/* Slots */

/* The first round ends anywhere, so that slots are not all at one time. */
static void restart(LvStates *s, int step, int item, int first)
{
    LvSlot *slot = &s->slot[item];
    double u[4];

    lv_uniform4(u, s->seed, lv_stream(LV_STREAM_SLOT, step, item));
    slot->at     = s->objective == LV_LEARN_ONPOLICY ? -1 : 0;
    slot->prompt = LV_MIN((int)(u[0] * s->t->prompts), s->t->prompts - 1);
    slot->end    = first ? LV_MIN((int)(u[1] * pairs(s)), pairs(s) - 1) : pairs(s) - 1;
    lv_philox_normal(s->x + (size_t)item * s->t->numel, s->t->numel, s->seed,
                     lv_stream(LV_STREAM_NOISE, step, item) + (1 << 23));
}

void lv_states_begin(LvStates *s)
{
    for (int i = 0; i < s->cfg->batch; i++)
        restart(s, 0, i, 1);
}

void lv_states_moved(LvStates *s, int step, int item, const float *x)
{
    LvSlot *slot = &s->slot[item];
    int j = slot->at + (s->objective == LV_LEARN_ONPOLICY);

    if (j >= slot->end ||
        lv_find_nonfinite(x, LV_F32, LV_F32, s->t->numel) < s->t->numel) {
        restart(s, step + 1, item, 0);
        return;
    }
    slot->at++;
    memcpy(s->x + (size_t)item * s->t->numel, x, s->t->numel * sizeof(*x));
}

int lv_states_bin(const LvStates *s, int to)
{
    return LV_MIN((int)(s->t->sigma[to] * LV_TIME_BINS), LV_TIME_BINS - 1);
}
