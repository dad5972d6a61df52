/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/sample.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/philox.h"

#define MAX_STEPS 1000
#define MAX_MEMORIES 3

/* How the time that is fed to the model comes from 1000 sigma. */
enum { TIME_AS_IS, TIME_WHOLE, TIME_BF16 };

typedef struct Method {
    const char *name;
    double first;      ///< sigma of step 0 before the shift
    int time;          ///< TIME_*
    int memories;      ///< arrays of n values kept from step to step
    void (*step)(LvSampler *s, int i, float *x, const float *v);
    const double *level; ///< sigmas instead of equal steps; NULL: none
    int least, most;     ///< steps, where there are levels
    int shifted;         ///< 1: they are shifted
} Method;

struct LvSampler {
    const Method *method;
    int steps;
    int all;           ///< steps from the first level
    double shift;
    size_t n;
    uint64_t seed, stream;
    float sigma[MAX_STEPS + 1];
    float time[MAX_STEPS];
    float *memory[MAX_MEMORIES]; ///< what each one holds is up to the method
};

/*
 * The rules. Every one is a sum of arrays with coefficients that hold for all
 * elements, so that the loops stay plain.
 */

/* ln of the ratio of signal to noise; -inf at sigma 1, +inf at sigma 0. */
static double lambda(double sigma)
{
    return log1p(-sigma) - log(sigma);
}

static void euler_step(LvSampler *s, int i, float *x, const float *v)
{
    double d = (double)s->sigma[i + 1] - s->sigma[i];

    for (size_t k = 0; k < s->n; k++)
        x[k] = (float)(x[k] + d * v[k]);
}

static void renoise(size_t n, float *restrict x, const float *restrict v,
                    const float *restrict noise, double sigma, double next)
{
    for (size_t k = 0; k < n; k++) {
        double x0 = x[k] - sigma * v[k];
        x[k] = (float)((1 - next) * x0 + next * noise[k]);
    }
}

static void renoise_step(LvSampler *s, int i, float *x, const float *v)
{
    float *noise = s->memory[0];

    /* The last step adds none; what noise[] holds then is multiplied by 0. */
    if (i + 1 < s->steps)
        lv_philox_normal(noise, s->n, s->seed, s->stream + (uint64_t)i);
    renoise(s->n, x, v, noise, s->sigma[i], s->sigma[i + 1]);
}

static void dpmpp(size_t n, float *restrict x, const float *restrict v,
                  float *restrict m1, double sigma, const double c[3])
{
    double c0 = c[0], c1 = c[1], c2 = c[2];

    for (size_t k = 0; k < n; k++) {
        double m0 = x[k] - sigma * v[k];
        x[k]  = (float)(c0 * x[k] + c1 * m0 + c2 * m1[k]);
        m1[k] = (float)m0;
    }
}

static void dpmpp_step(LvSampler *s, int i, float *x, const float *v)
{
    double from = s->sigma[i], to = s->sigma[i + 1];
    double h = lambda(to) - lambda(from), a = -(1 - to) * expm1(-h);
    double half = 0;

    if (i > 0 && i < s->steps - 1)
        half = 0.5 * h / (lambda(from) - lambda(s->sigma[i - 1]));
    dpmpp(s->n, x, v, s->memory[0], from,
          (double[]) { to / from, a * (1 + half), -a * half });
}

/*
 * UniPC, order 2, variant bh2. m are predictions of x0: m_new of this step,
 * m_cur of the one before, m_prev of the one before that; last is where the
 * predictor of the step before began.
 *
 *   x    = c0 last + c1 m_prev + c2 m_cur + c3 m_new      (corrector)
 *   last = x
 *   x    = p0 x + p1 m_cur + p2 m_new                     (predictor)
 *
 * m_new takes the place of m_prev, which nothing needs any more.
 */
static void unipc(size_t n, float *restrict x, const float *restrict v,
                  float *restrict last, float *restrict prev,
                  const float *restrict cur, double sigma, const double c[4],
                  const double p[3])
{
    double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    double p0 = p[0], p1 = p[1], p2 = p[2];

    for (size_t k = 0; k < n; k++) {
        double m_new = x[k] - sigma * v[k], m_cur = cur[k];
        double y = c0 * last[k] + c1 * prev[k] + c2 * m_cur + c3 * m_new;

        x[k]    = (float)(p0 * y + p1 * m_cur + p2 * m_new);
        last[k] = (float)y;
        prev[k] = (float)m_new;
    }
}

/* Order with which step i predicts; step i + 1 corrects with the same. */
static int unipc_order(const LvSampler *s, int i)
{
    return LV_MIN(2, LV_MIN(s->steps - i, i + 1));
}

/* Corrects what step i - 1 predicted, 0 < i < steps. */
static void unipc_corrector(const LvSampler *s, int i, double c[4])
{
    double from = s->sigma[i - 1], to = s->sigma[i];
    double h = lambda(to) - lambda(from), phi = expm1(-h), a = -(1 - to) * phi;
    double r = 1, rho1 = 0, rho2 = 0.5;

    if (unipc_order(s, i - 1) == 2) {
        double g1 = phi / -h - 1, b1 = g1 / phi, b2 = 2 * (g1 / -h - 0.5) / phi;
        r    = (lambda(s->sigma[i - 2]) - lambda(from)) / h;
        rho1 = (b1 - b2) / (1 - r);
        rho2 = b1 - rho1;
    }
    c[0] = to / from;
    c[1] = a * rho1 / r;
    c[2] = a * (1 - rho1 / r - rho2);
    c[3] = a * rho2;
}

static void unipc_predictor(const LvSampler *s, int i, double p[3])
{
    double from = s->sigma[i], to = s->sigma[i + 1];
    double h = lambda(to) - lambda(from), a = -(1 - to) * expm1(-h);
    double half = 0;

    if (unipc_order(s, i) == 2)
        half = 0.5 * h / (lambda(s->sigma[i - 1]) - lambda(from));
    p[0] = to / from;
    p[1] = a * half;
    p[2] = a * (1 - half);
}

static void unipc_step(LvSampler *s, int i, float *x, const float *v)
{
    float *last = s->memory[0], *prev = s->memory[1], *cur = s->memory[2];
    double c[4] = { 1, 0, 0, 0 }, p[3];

    if (i == 0)
        memcpy(last, x, s->n * sizeof(*x));
    else
        unipc_corrector(s, i, c);
    unipc_predictor(s, i, p);
    unipc(s->n, x, v, last, prev, cur, s->sigma[i], c, p);
    s->memory[1] = cur;
    s->memory[2] = prev;
}

/* 0.999 as the reference has it: rounded to f32. */
#define UNIPC_FIRST ((double)0.999f)

/* Nominal times of 1000. */
static const double causvid_levels[] = { 0.999, 0.934, 0.862, 0.756, 0.603, 0.410, 0.250,
                                         0.140, 0.074 };

static const double causvid_causal_levels[] = { 1, 0.757, 0.522 };

/* sin a / (sin a + cos a) of the angles atan(80), 1.5, 1.4, 1. */
static const double rcm_levels[] = { 0.98765432098765427, 0.93378106141685802,
                                     0.85289539482377497, 0.60897904923043100 };

static const Method methods[LV_SAMPLER_NB] = {
    [LV_SAMPLER_AUTO]    = { "auto",    0, 0, 0, NULL, NULL, 0, 0, 0 },
    [LV_SAMPLER_EULER]   = { "euler",   1, TIME_AS_IS, 0, euler_step, NULL, 0, 0, 0 },
    [LV_SAMPLER_UNIPC]   = { "unipc",   UNIPC_FIRST, TIME_WHOLE, 3, unipc_step, NULL, 0,
                             0, 0 },
    [LV_SAMPLER_RENOISE] = { "renoise", 1, TIME_AS_IS, 1, renoise_step, NULL, 0, 0, 0 },
    [LV_SAMPLER_DPMPP]   = { "dpm++",   1, TIME_WHOLE, 1, dpmpp_step, NULL, 0, 0, 0 },
    [LV_SAMPLER_CAUSVID] = { "causvid", 1, TIME_AS_IS, 1, renoise_step, causvid_levels,
                             9, 9, 1 },
    [LV_SAMPLER_RCM]     = { "rcm",     1, TIME_BF16, 1, renoise_step, rcm_levels, 1, 4,
                             0 },
    [LV_SAMPLER_CAUSVID_CAUSAL] = { "causvid-causal", 1, TIME_AS_IS, 1, renoise_step,
                                    causvid_causal_levels, 3, 3, 0 },
};

int lv_sampler_by_name(const char *name)
{
    for (int i = 0; i < LV_SAMPLER_NB; i++)
        if (!strcmp(methods[i].name, name))
            return i;
    return LV_ERR(EINVAL);
}

const char *lv_sampler_name(int kind)
{
    return methods[kind].name;
}

/* Before the shift. */
static double first_level(const Method *m, double strength)
{
    return strength * (m->level ? m->level[0] : m->first);
}

int lv_sampler_left(int kind, int steps, double strength)
{
    const Method *m = &methods[kind];
    int above = 0;

    if (!m->level)
        return LV_MAX(1, (int)lround(steps * strength));
    while (above < steps && m->level[above] >= first_level(m, strength))
        above++;
    return 1 + steps - above;
}

/* Levels fall from the first to 0 in equal steps, then are shifted. The form of the
 * sum matters: whole times are truncated from it. */
static void init_schedule(LvSampler *s, double strength)
{
    const Method *m = s->method;
    double first = first_level(m, strength), step = (0 - first) / s->steps;
    double shift = m->level && !m->shifted ? 1 : s->shift;

    for (int i = 0; i < s->steps; i++) {
        double a = m->level && i ? m->level[s->all - s->steps + i] : first + i * step;
        double sigma = shift * a / (1 + (shift - 1) * a), t = 1000 * sigma;

        s->sigma[i] = (float)sigma;
        s->time[i]  = m->time == TIME_WHOLE ? (float)trunc(t)
                    : m->time == TIME_BF16 ? lv_bf16_f32(lv_f32_bf16((float)t)) : (float)t;
    }
    s->sigma[s->steps] = 0;
}

/* Rules divide by distances between levels, which an extreme shift makes 0. */
static int falls(const LvSampler *s)
{
    for (int i = 0; i < s->steps; i++)
        if (!(s->sigma[i] > s->sigma[i + 1]))
            return 0;
    return 1;
}

int lv_sampler_new(LvSampler **out, int kind, int steps, double shift, size_t n,
                   const LvMsg *msg)
{
    LvSampler *s;
    size_t bytes;

    *out = NULL;
    if (kind <= LV_SAMPLER_AUTO || kind >= LV_SAMPLER_NB)
        return lv_fail(msg, LV_ERR(EINVAL), "sampler: no kind %d", kind);
    if (steps < 1 || steps > MAX_STEPS)
        return lv_fail(msg, LV_ERR(EINVAL), "sampler: %d steps, not in 1 to %d",
                       steps, MAX_STEPS);
    if (methods[kind].level && (steps < methods[kind].least || steps > methods[kind].most))
        return lv_fail(msg, LV_ERR(EINVAL), "sampler %s takes %d to %d steps, not %d",
                       methods[kind].name, methods[kind].least, methods[kind].most, steps);
    if (!(shift > 0))
        return lv_fail(msg, LV_ERR(EINVAL), "sampler: shift %g is not above 0",
                       shift);
    if (!(s = lv_alloc(sizeof(*s))))
        goto fail;
    s->method = &methods[kind];
    s->steps  = s->all = steps;
    s->shift  = shift;
    s->n      = n;
    init_schedule(s, 1);
    if (!falls(s)) {
        lv_sampler_free(&s);
        return lv_fail(msg, LV_ERR(EINVAL), "sampler: shift %g is too extreme for "
                       "%d steps: two noise levels are the same", shift, steps);
    }
    if (lv_mul(&bytes, n, sizeof(float)))
        goto fail;
    for (int i = 0; i < s->method->memories; i++)
        if (!(s->memory[i] = lv_alloc(bytes)))
            goto fail;
    *out = s;
    return 0;

fail:
    lv_sampler_free(&s);
    return lv_fail(msg, LV_ERR(ENOMEM), "sampler: no memory for %d times %zu values",
                   methods[kind].memories, n);
}

void lv_sampler_free(LvSampler **s)
{
    if (!*s)
        return;
    for (int i = 0; i < MAX_MEMORIES; i++)
        lv_freep(&(*s)->memory[i]);
    lv_freep(s);
}

void lv_sampler_begin_at(LvSampler *s, double strength)
{
    assert(strength > 0 && strength <= 1);
    s->steps = lv_sampler_left((int)(s->method - methods), s->all, strength);
    init_schedule(s, strength);
}

void lv_sampler_start(LvSampler *s, uint64_t seed, uint64_t stream)
{
    s->seed   = seed;
    s->stream = stream;
    for (int i = 0; i < s->method->memories; i++)
        memset(s->memory[i], 0, s->n * sizeof(float));
}

int lv_sampler_renoises(int kind)
{
    return methods[kind].step == renoise_step;
}

float lv_sampler_scale(const LvSampler *s)
{
    return s->method->level && !s->method->shifted ? s->sigma[0] : 1;
}

float lv_sampler_time(const LvSampler *s, int i)
{
    assert(i >= 0 && i < s->steps);
    return s->time[i];
}

int lv_sampler_expert(const LvSampler *s, int i, float boundary)
{
    assert(i >= 0 && i < s->steps);
    return s->time[i] >= 1000 * boundary ? LV_HIGH : LV_LOW;
}

float lv_sampler_sigma(const LvSampler *s, int i)
{
    assert(i >= 0 && i <= s->steps);
    return s->sigma[i];
}

void lv_sampler_step(LvSampler *s, int i, float *x, const float *v)
{
    assert(i >= 0 && i < s->steps);
    s->method->step(s, i, x, v);
}

void lv_guide(float *v, const float *u, size_t n, float scale)
{
    for (size_t k = 0; k < n; k++)
        v[k] = u[k] + scale * (v[k] - u[k]);
}
