/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/gates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double sigmoid(double a)
{
    return 1 / (1 + exp(-a));
}

void lv_gates_init(LvGates *g, const LvGatesConfig *cfg, int layers, int linear,
                   int steps)
{
    double r = (double)cfg->r0;

    memset(g, 0, sizeof(*g));
    g->cfg    = cfg;
    g->layers = layers;
    g->linear = linear;
    g->steps  = steps;
    for (int i = 0; i < layers; i++)
        g->gate[i] = (LvGate) { .a = cfg->sigmoid ? log(r / (1 - r)) : r, .r = r,
                                .kind = LV_ATTN_MIXED };
}

static int is_open(const LvGate *gate)
{
    return (int)gate->kind == LV_ATTN_MIXED;
}

static void close_gate(LvGate *gate, int linear)
{
    gate->kind = linear ? LV_ATTN_LINEAR : LV_ATTN_SOFTMAX;
    gate->r    = linear ? 0 : 1;
}

void lv_gates_close(LvGates *g, int layer, int linear)
{
    close_gate(&g->gate[layer], linear);
}

void lv_gates_set(LvGates *g, const uint8_t *set)
{
    for (int i = 0; i < g->layers; i++)
        close_gate(&g->gate[i], set[i]);
}

int lv_gates_open(const LvGates *g)
{
    for (int i = 0; i < g->layers; i++)
        if (is_open(&g->gate[i]))
            return 1;
    return 0;
}

int lv_gates_freeze_step(const LvGatesConfig *cfg, int steps)
{
    return (int)lrint((double)cfg->freeze * steps);
}

/* Share of the way that alpha has to go. */
static double annealed(const LvGates *g, int step)
{
    double end = (double)g->cfg->anneal * g->steps;

    return end > 0 ? LV_MIN(step / end, 1) : 1;
}

double lv_gates_alpha(const LvGates *g, int step)
{
    double from = (double)g->cfg->alpha_start, to = (double)g->cfg->alpha_end;

    return from + (to - from) * annealed(g, step);
}

double lv_gates_eta(const LvGates *g, int step)
{
    return (double)(annealed(g, step) < 1 ? g->cfg->eta_start : g->cfg->eta_end);
}

int lv_gates_count(const LvGates *g)
{
    int n = 0;

    for (int i = 0; i < g->layers; i++)
        n += g->gate[i].r >= 0.5;
    return n;
}

/* Softmax layers that are too many. */
static double excess(const LvGates *g)
{
    double sum = 0;

    for (int i = 0; i < g->layers; i++)
        sum += g->gate[i].r;
    return (g->cfg->soft ? sum : lv_gates_count(g)) - (g->layers - g->linear);
}

double lv_gates_con(const LvGates *g)
{
    return excess(g) * excess(g);
}

double lv_gates_con_slope(const LvGates *g)
{
    return 2 * excess(g);
}

double lv_gates_reg(const LvGates *g, double alpha)
{
    double sum = 0;

    for (int i = 0; i < g->layers; i++)
        sum += 1 - pow(fabs(2 * g->gate[i].r - 1), alpha);
    return sum;
}

double lv_gates_reg_slope(double r, double alpha)
{
    double x = 2 * r - 1;

    return x ? -2 * alpha * copysign(pow(fabs(x), alpha - 1), x) : 0;
}

double lv_gates_rho(const LvGates *g, int layer, int step)
{
    double force = (double)g->cfg->lambda *
                   (2 * lv_gates_eta(g, step) - 2 * lv_gates_alpha(g, step));

    return force > 0 ? fabs(g->gate[layer].data) / force : 0;
}

/* Whole gradient of a gate. */
static double slope_of(const LvGates *g, const LvGate *gate, int step)
{
    const LvGatesConfig *c = g->cfg;
    double reg = c->reg ? lv_gates_reg_slope(gate->r, lv_gates_alpha(g, step)) : 0;
    double con = lv_gates_eta(g, step) * lv_gates_con_slope(g);
    double d   = gate->data + (double)c->lambda * (con + reg);

    return c->sigmoid ? d * gate->r * (1 - gate->r) : d;
}

/* A step of Adam, then back into the range; a moment that points out of it is dropped. */
static void move(const LvGates *g, LvGate *gate, double d, int step)
{
    const LvGatesConfig *c = g->cfg;
    double b1 = (double)c->beta1, b2 = (double)c->beta2;

    gate->m  = b1 * gate->m + (1 - b1) * d;
    gate->v  = b2 * gate->v + (1 - b2) * d * d;
    gate->a -= (double)c->lr * gate->m / (1 - pow(b1, step + 1)) /
               (sqrt(gate->v / (1 - pow(b2, step + 1))) + 1e-8);
    if (!c->sigmoid) {
        double a = LV_CLAMP(gate->a, 0, 1);
        if ((gate->a < 0 && gate->m > 0) || (gate->a > 1 && gate->m < 0))
            gate->m = 0;
        gate->a = a;
    }
    gate->r = c->sigmoid ? sigmoid(gate->a) : gate->a;
}

/* -1: linear already, 1: softmax already. */
static int rank_of(const LvGate *gate)
{
    return is_open(gate) ? 0 : (int)gate->kind == LV_ATTN_LINEAR ? -1 : 1;
}

/* Layers in the order in which they become linear: least r, then least resistance. */
static int by_gate(const void *a, const void *b)
{
    const LvGate *x = *(const LvGate *const *)a, *y = *(const LvGate *const *)b;

    if (rank_of(x) != rank_of(y))
        return rank_of(x) - rank_of(y);
    if (x->r != y->r)
        return x->r < y->r ? -1 : 1;
    /* L falls as r does where dL/dr > 0: such a layer gives way first */
    if (x->trend != y->trend)
        return x->trend > y->trend ? -1 : 1;
    return x < y ? -1 : 1;
}

static void freeze(LvGates *g)
{
    LvGate *order[LV_MAX_LAYERS];

    for (int i = 0; i < g->layers; i++)
        order[i] = &g->gate[i];
    qsort(order, (size_t)g->layers, sizeof(order[0]), by_gate);
    for (int i = 0; i < g->layers; i++)
        close_gate(order[i], g->cfg->plain ? order[i]->r < 0.5 : i < g->linear);
}

/* Early freezing: 1 when the gate was closed. */
static int close_early(const LvGates *g, LvGate *gate, int step)
{
    int low = gate->r <= 0, high = gate->r >= 1 && annealed(g, step) >= 1;

    gate->still = low || high ? gate->still + 1 : 0;
    if (!g->cfg->early || gate->still < g->cfg->early ||
        (low && lv_gates_count(g) > g->layers - g->linear))
        return 0;
    close_gate(gate, low);
    return 1;
}

int lv_gates_update(LvGates *g, int step, const float *data)
{
    double d[LV_MAX_LAYERS], keep = (double)g->cfg->trend;
    int changed = 0, end = lv_gates_freeze_step(g->cfg, g->steps);

    if (!lv_gates_open(g))
        return 0;
    for (int i = 0; i < g->layers; i++) {
        LvGate *gate = &g->gate[i];
        if (!is_open(gate))
            continue;
        gate->data  = (double)data[i];
        gate->trend = keep * gate->trend + (1 - keep) * gate->data;
        d[i]        = slope_of(g, gate, step);
    }
    for (int i = 0; i < g->layers; i++)
        if (is_open(&g->gate[i]))
            move(g, &g->gate[i], d[i], step);
    for (int i = 0; i < g->layers; i++)
        if (is_open(&g->gate[i]))
            changed |= close_early(g, &g->gate[i], step);
    if (step + 1 < end && step + 1 < g->steps)
        return changed;
    freeze(g);
    return 1;
}
