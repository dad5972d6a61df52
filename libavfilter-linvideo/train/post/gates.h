/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Selective transfer: one gate r for each layer: r of softmax and 1 - r of linear
 * attention, learned together with the weights until so many layers are linear.
 * Source: LinVideo (arXiv 2510.08318).
 * Floor train/post: numbers of the host, nothing of networks. All in f64.
 */

#ifndef LINVIDEO_TRAIN_POST_GATES_H
#define LINVIDEO_TRAIN_POST_GATES_H

#include "model/config.h"

/** Rules of the section "linearize". Shares of the run's steps are 0 to 1. */
typedef struct LvGatesConfig {
    float r0;            ///< what all begin with
    float lr, beta1, beta2; ///< of their own Adam
    float lambda;        ///< of L_con and L_reg
    float alpha_start, alpha_end, anneal; ///< alpha falls in a line until `anneal`
    float eta_start, eta_end; ///< of L_con, before `anneal` and behind it
    float freeze;        ///< when layers become one or the other
    char par_name[16], choice_name[16];
    int sigmoid;         ///< r = sigma(a); else r is clamped
    int plain;           ///< at the freeze r is rounded; else the T least are linear
    int reg;             ///< 0: without L_reg
    int soft;            ///< the count is sum r, not sum round(r)
    float trend;         ///< share kept of the average of dL/dr, which parts equal r
    int early;           ///< a layer with r at its end for so many steps is frozen by
                         ///< itself; 0: none is
} LvGatesConfig;

/** A layer. The order is that of the file. */
typedef struct LvGate {
    double r;
    double a;       ///< r, or what sigma is taken of
    double m, v;    ///< moments of a
    double trend;   ///< average of `data`
    double data;    ///< dL/dr of the last step
    double still;   ///< steps that r has been at its end
    double kind;    ///< enum LvAttnKind: MIXED until it is frozen
} LvGate;

enum { LV_GATE_NUMBERS = sizeof(LvGate) / sizeof(double) };

typedef struct LvGates {
    const LvGatesConfig *cfg;
    int layers, linear;  ///< N and T
    int steps;           ///< of the run
    LvGate gate[LV_MAX_LAYERS];
} LvGates;

/** Begin: all are mixed. cfg outlives g. */
void lv_gates_init(LvGates *g, const LvGatesConfig *cfg, int layers, int linear,
                   int steps);

/** Make one layer final from the start. */
void lv_gates_close(LvGates *g, int layer, int linear);

/** Make set[layers] (1: linear) final from the start. */
void lv_gates_set(LvGates *g, const uint8_t *set);

/** Step at which all are frozen; steps + 1 for none. */
int lv_gates_freeze_step(const LvGatesConfig *cfg, int steps);

/** alpha and eta at a step, 0 <= step < steps. */
double lv_gates_alpha(const LvGates *g, int step);
double lv_gates_eta(const LvGates *g, int step);

/** Number of softmax layers: sum of round(r), where 0.5 is 1. */
int lv_gates_count(const LvGates *g);

/** L_con = (count - (N - T))^2 and L_reg = sum (1 - |2r - 1|^alpha). */
double lv_gates_con(const LvGates *g);
double lv_gates_reg(const LvGates *g, double alpha);

/** Slopes of both with respect to one r; that of L_con is straight through. */
double lv_gates_con_slope(const LvGates *g);
double lv_gates_reg_slope(double r, double alpha);

/** |dL/dr| over the force lambda (2 eta - 2 alpha) that a missing layer makes; 0
 *  where that is none. */
double lv_gates_rho(const LvGates *g, int layer, int step);

/**
 * Take step number `step` with the gradients of the data term, data[layers]; at the
 * freeze, layers become one or the other.
 *
 * @return 1 when a kind changed, else 0
 */
int lv_gates_update(LvGates *g, int step, const float *data);

/** Whether any is still mixed. */
int lv_gates_open(const LvGates *g);

#endif /* LINVIDEO_TRAIN_POST_GATES_H */
