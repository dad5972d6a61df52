/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of post-training: linear attention as its definition has it, mixtures, what each
 * objective makes of an error, the rules of shares, runs of selective transfer and of
 * distillation on a tiny bundle. Run from the top folder.
 */

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "tests/post_kit.h"
#include "train/post/lora_fit.h"
#include "train/post/maps.h"

/* Linear attention: one sample, two heads */

enum { HEADS = 2, HEAD = 8, WIDTH = 6, DIM = HEADS * HEAD, TOKENS = 24 };

typedef struct Linattn {
    int tokens, map, features;
    float *q, *k, *v, wq[HEADS * HEAD * WIDTH], wk[HEADS * HEAD * WIDTH];
    float *o, *state, *den;
} Linattn;

static float *normals(size_t n, uint64_t stream)
{
    float *x = malloc(n * sizeof(*x));

    lv_philox_normal(x, n, 7, stream);
    return x;
}

static Linattn linattn_new(int map, int tokens)
{
    size_t n  = (size_t)tokens * DIM;
    Linattn a = { .tokens = tokens, .map = map, .features = lv_map_features(map, WIDTH) };

    a.q = normals(n, 1);
    a.k = normals(n, 2);
    a.v = normals(n, 3);
    lv_philox_normal(a.wq, LV_COUNT(a.wq), 7, 4);
    lv_philox_normal(a.wk, LV_COUNT(a.wk), 7, 5);
    for (int i = 0; i < LV_COUNT(a.wq); i++) {
        a.wq[i] *= 0.4f;
        a.wk[i] *= 0.4f;
    }
    a.o     = malloc(n * sizeof(float));
    a.state = malloc((size_t)(HEADS * a.features * (HEAD + 1)) * sizeof(float));
    a.den   = malloc((size_t)(HEADS * tokens) * sizeof(float));
    return a;
}

static void linattn_free(Linattn *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->o);
    free(a->state);
    free(a->den);
}

/* Traced as in training, so that state and denominators come out. */
static void linattn_run(Linattn *a)
{
    const int x[] = { a->tokens, DIM }, w[] = { HEADS, HEAD, WIDTH };
    LvDevice *dev = post_open_device();
    LvGraph *g    = lv_graph_new(&post_msg);
    LvTensor t[8], state, den;
    LvTensor *const list[] = { &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &state, &den };
    const float *const in[] = { a->q, a->k, a->v, a->wq, a->wk };
    LvTask task;

    lv_graph_train(g, 0);
    for (int i = 0; i < 5; i++)
        t[i] = i < 3 ? lv_external(g, "x", LV_F32, 2, x) : lv_external(g, "w", LV_F32, 3, w);
    t[5]  = lv_linattn(g, t[0], t[1], t[2], t[3], t[4], HEADS, a->map, 1e-6f);
    state = lv_graph_record(g, lv_graph_count(g) - 1)->u.linattn.state;
    den   = lv_graph_record(g, lv_graph_count(g) - 1)->u.linattn.den;
    lv_output(g, t[5], "o");
    lv_output(g, state, "state");
    lv_output(g, den, "den");
    SUCCEEDS(lv_task_new(&task, &g, list, LV_COUNT(list), dev, &post_msg));
    for (int i = 0; i < 5; i++)
        SUCCEEDS(lv_task_put(&task, &t[i], in[i]));
    SUCCEEDS(lv_task_run(&task));
    SUCCEEDS(lv_task_get(&task, &t[5], a->o));
    SUCCEEDS(lv_task_get(&task, &state, a->state));
    SUCCEEDS(lv_task_get(&task, &den, a->den));
    lv_task_free(&task);
    lv_device_close(&dev);
}

/* Features of one row of one head, by their definition. */
static void features(const Linattn *a, const float *x, const float *w, double *phi)
{
    double y[WIDTH] = { 0 }, sum[2] = { 0 };
    int at = 0;

    for (int i = 0; i < HEAD; i++)
        for (int p = 0; p < WIDTH; p++)
            y[p] += (double)x[i] * (double)w[i * WIDTH + p];
    for (int p = 0; p < WIDTH; p++) {
        sum[0] += exp(y[p]);
        sum[1] += exp(-y[p]);
    }
    for (int p = 0; p < WIDTH && a->map == LV_MAP_HEDGEHOG; p++) {
        phi[p]         = exp(y[p]) / sum[0];
        phi[WIDTH + p] = exp(-y[p]) / sum[1];
    }
    for (int p = 0; p < WIDTH && a->map == LV_MAP_RELU; p++)
        phi[p] = fmax(y[p], 0);
    if (a->map != LV_MAP_TAYLOR)
        return;
    phi[at++] = 1;
    for (int p = 0; p < WIDTH; p++)
        phi[at++] = y[p] / pow(WIDTH, 0.25);
    for (int p = 0; p < WIDTH; p++)
        for (int r = p; r < WIDTH; r++)
            phi[at++] = y[p] * y[r] / sqrt(WIDTH * (r == p ? 2.0 : 1.0));
}

static double similarity(const Linattn *a, int head, int i, int j)
{
    double q[64], k[64], s = 0;
    size_t w = (size_t)head * HEAD * WIDTH;

    features(a, a->q + i * DIM + head * HEAD, a->wq + w, q);
    features(a, a->k + j * DIM + head * HEAD, a->wk + w, k);
    for (int f = 0; f < a->features; f++)
        s += q[f] * k[f];
    return s;
}

/* o_i = sum_j s_ij v_j / (sum_j s_ij + n eps). Test number: map. */
START_TEST(quadratic)
{
    Linattn a = linattn_new(_i, TOKENS);

    linattn_run(&a);
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++)
            for (int e = 0; e < HEAD; e++) {
                double sum = 0, norm = TOKENS * 1e-6;
                for (int j = 0; j < TOKENS; j++) {
                    double s = similarity(&a, h, i, j);
                    sum  += s * (double)a.v[j * DIM + h * HEAD + e];
                    norm += s;
                }
                ck_assert_double_eq_tol((double)a.o[i * DIM + h * HEAD + e], sum / norm,
                                        2e-5);
            }
    linattn_free(&a);
}
END_TEST

static void near(const float *a, const float *b, size_t n, double bound)
{
    double d2 = 0, r2 = 0;

    for (size_t i = 0; i < n; i++) {
        d2 += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        r2 += (double)b[i] * (double)b[i];
    }
    ck_assert_msg(d2 <= bound * bound * r2, "relative error %g", sqrt(d2 / r2));
}

/* All tokens twice; keys and values in another order. */
START_TEST(any_number_and_order)
{
    Linattn a = linattn_new(_i, TOKENS), twice = linattn_new(_i, 2 * TOKENS);
    Linattn other = linattn_new(_i, TOKENS);
    size_t n = TOKENS * DIM;

    for (size_t i = 0; i < 2 * n; i++) {
        twice.q[i] = a.q[i % n];
        twice.k[i] = a.k[i % n];
        twice.v[i] = a.v[i % n];
    }
    for (int i = 0; i < TOKENS; i++) {
        int from = (i * 7 + 5) % TOKENS;
        memcpy(other.k + i * DIM, a.k + from * DIM, DIM * sizeof(float));
        memcpy(other.v + i * DIM, a.v + from * DIM, DIM * sizeof(float));
    }
    linattn_run(&a);
    linattn_run(&twice);
    linattn_run(&other);
    near(twice.o, a.o, n, 1e-5);
    near(twice.o + n, a.o, n, 1e-5);
    near(other.o, a.o, n, 1e-5);
    linattn_free(&a);
    linattn_free(&twice);
    linattn_free(&other);
}
END_TEST

/* The state of all keys is the mean of those of 1, 2 or 4 equal parts of them. */
START_TEST(states_add_up)
{
    for (int parts = 1; parts <= 4; parts *= 2) {
        Linattn a = linattn_new(_i, TOKENS);
        size_t n  = (size_t)(HEADS * a.features * (HEAD + 1)), share = TOKENS * DIM / 4;
        float *sum = calloc(n, sizeof(*sum));

        share = share * 4 / (size_t)parts;
        linattn_run(&a);
        for (int p = 0; p < parts; p++) {
            Linattn b = linattn_new(_i, TOKENS / parts);
            memcpy(b.k, a.k + (size_t)p * share, share * sizeof(float));
            memcpy(b.v, a.v + (size_t)p * share, share * sizeof(float));
            linattn_run(&b);
            for (size_t i = 0; i < n; i++)
                sum[i] += b.state[i] / (float)parts;
            linattn_free(&b);
        }
        near(sum, a.state, n, 1e-5);
        free(sum);
        linattn_free(&a);
    }
}
END_TEST

/* q and k twenty times as large. ReLU may have rows without any feature. */
START_TEST(large_inputs)
{
    Linattn a = linattn_new(_i, TOKENS);

    for (int i = 0; i < TOKENS * DIM; i++) {
        a.q[i] *= 20;
        a.k[i] *= 20;
    }
    linattn_run(&a);
    for (int i = 0; i < HEADS * TOKENS; i++)
        ck_assert(isfinite(a.den[i]) && a.den[i] > 0);
    for (int i = 0; i < TOKENS * DIM; i++)
        ck_assert(isfinite(a.o[i]));
    linattn_free(&a);
}
END_TEST

/* Shares */

static LvGatesConfig gates_config(void)
{
    LvRecipe r;
    LvGatesConfig c;

    SUCCEEDS(lv_recipe_read(&r, NULL, NULL, 0, &post_msg));
    c = r.linearize.gates;
    lv_recipe_free(&r);
    return c;
}

/* Slopes of both losses, also at the ends and in the middle. */
START_TEST(slopes)
{
    const double r[] = { 0, 0.1, 0.5, 0.73, 1 }, alpha[] = { 2, 5, 20 }, h = 1e-6;
    LvGatesConfig c = gates_config();
    LvGates g;

    lv_gates_init(&g, &c, 1, 0, 10);
    for (int i = 0; i < LV_COUNT(r); i++)
        for (int k = 0; k < LV_COUNT(alpha); k++) {
            double up, down, want;
            g.gate[0].r = r[i] + h;
            up = lv_gates_reg(&g, alpha[k]);
            g.gate[0].r = r[i] - h;
            down = lv_gates_reg(&g, alpha[k]);
            want = (up - down) / (2 * h);
            ck_assert_double_eq_tol(lv_gates_reg_slope(r[i], alpha[k]), want,
                                    1e-6 * (1 + fabs(want)));
        }
    lv_gates_init(&g, &c, 8, 3, 10); /* 8 softmax layers, 5 are wanted */
    ck_assert_int_eq(lv_gates_count(&g), 8);
    ck_assert_double_eq(lv_gates_con(&g), 9);
    ck_assert_double_eq(lv_gates_con_slope(&g), 6);
    g.gate[1].r = 0.5;
    g.gate[2].r = 0.49;
    ck_assert_int_eq(lv_gates_count(&g), 7);
    ck_assert_double_eq(lv_gates_con_slope(&g), 4);
}
END_TEST

START_TEST(schedule)
{
    LvGatesConfig c = gates_config();
    LvGates g;

    lv_gates_init(&g, &c, 4, 2, 1000);
    ck_assert_double_eq_tol(lv_gates_alpha(&g, 0), 20, 1e-9);
    ck_assert_double_eq_tol(lv_gates_alpha(&g, 300), 11, 1e-4);
    ck_assert_double_eq_tol(lv_gates_alpha(&g, 700), 2, 1e-9);
    ck_assert_double_eq(lv_gates_eta(&g, 599), 1);
    ck_assert_double_eq(lv_gates_eta(&g, 601), 4);
    ck_assert_int_eq(lv_gates_freeze_step(&c, 1000), 750);
    ck_assert_double_eq(lv_gates_rho(&g, 0, 10), 0);
    g.gate[0].data = -0.02;
    ck_assert_double_eq_tol(lv_gates_rho(&g, 0, 700), 0.5, 1e-5); /* 4 lambda is 0.04 */
}
END_TEST

/* Thirty layers whose data term pulls towards softmax, each with a strength of its own,
 * and noise: sixteen become linear, the first, costliest one never. Test number: sigmoid. */
START_TEST(selection)
{
    enum { N = 30, T = 16, STEPS = 1500 };
    LvGatesConfig c = gates_config();
    float noise[N], d[N];
    LvGates g;
    int linear = 0, changed = 0;

    c.sigmoid = _i;
    lv_gates_init(&g, &c, N, T, STEPS);
    for (int step = 0; step < STEPS; step++) {
        lv_philox_normal(noise, N, 3, (uint64_t)step);
        for (int i = 0; i < N; i++)
            d[i] = -0.02f * (float)(N - i) / N * (1 - (float)g.gate[i].r) *
                   (1 + 0.3f * noise[i]) - (i ? 0 : 0.02f);
        changed = lv_gates_update(&g, step, d);
        ck_assert_int_eq(changed, step == lv_gates_freeze_step(&c, STEPS) - 1);
        if (changed)
            break;
        for (int i = 0; i < N; i++)
            ck_assert(g.gate[i].r >= 0 && g.gate[i].r <= 1);
    }
    ck_assert(!lv_gates_open(&g));
    for (int i = 0; i < N; i++) {
        linear += (int)g.gate[i].kind == LV_ATTN_LINEAR;
        ck_assert_double_eq(g.gate[i].r, (int)g.gate[i].kind == LV_ATTN_SOFTMAX);
    }
    ck_assert_int_eq(linear, T);
    ck_assert_int_eq((int)g.gate[0].kind, LV_ATTN_SOFTMAX);
}
END_TEST

/* Equal shares: those whose loss falls as r does give way, whatever their number. */
START_TEST(ties)
{
    LvGatesConfig c = gates_config();
    const float d[] = { -0.5f, -0.1f, 0.2f, -0.3f };
    LvGates g;

    c.freeze = 0.01f;
    c.lr     = 0;
    lv_gates_init(&g, &c, 4, 2, 100);
    ck_assert_int_eq(lv_gates_update(&g, 0, d), 1);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq((int)g.gate[i].kind, i == 1 || i == 2 ? LV_ATTN_LINEAR
                                                               : LV_ATTN_SOFTMAX);
}
END_TEST

/* The literal formulas: with r at 1 nothing moves until alpha is below T. */
START_TEST(literal_start)
{
    enum { N = 30, T = 16, STEPS = 1000 };
    LvGatesConfig c = gates_config();
    const float d[N] = { 0 };
    int first = -1;
    LvGates g;

    c.r0     = 1;
    c.anneal = c.freeze = c.eta_end = 1;
    c.plain  = 1;
    lv_gates_init(&g, &c, N, T, STEPS);
    for (int step = 0; step < STEPS && first < 0; step++) {
        lv_gates_update(&g, step, d);
        if (g.gate[3].r < 1)
            first = step;
    }
    ck_assert_int_ge(first, STEPS * (20 - T) / 18);
    ck_assert_int_le(first, STEPS * (20 - T) / 18 + 5);
}
END_TEST

START_TEST(early)
{
    LvGatesConfig c = gates_config();
    const float d[] = { 1, -1, -1 };
    int changed = 0, step = 0;
    LvGates g;

    c.early  = 5;
    c.lambda = 0;
    lv_gates_init(&g, &c, 3, 1, 1000);
    for (; step < 200 && !changed; step++)
        changed = lv_gates_update(&g, step, d);
    ck_assert_int_lt(step, 150);
    ck_assert_int_eq((int)g.gate[0].kind, LV_ATTN_LINEAR);
    ck_assert_int_eq((int)g.gate[1].kind, LV_ATTN_MIXED);
}
END_TEST

/* A toy: a Gaussian teacher and student, one Euler step from the
 * teacher's states. sign: of student less teacher. */

static double toy_velocity(double x, double t, double m, double s)
{
    double v = (1 - t) * s * (1 - t) * s + t * t;

    return (t - (1 - t) * s * s) / v * (x - (1 - t) * m) - m;
}

static double toy_time(int i)
{
    double k = 50 - i;

    return 5 * k / 50 / (1 + 4 * k / 50);
}

/* Seed of a state, by the objective's weight for time t. */
static void toy_step(double *m, double *ls, int i, int sign, double rate)
{
    const double M = 1, S = 0.5, node[] = { -sqrt(3), 0, sqrt(3) };
    const double share[] = { 1 / 6.0, 2 / 3.0, 1 / 6.0 }, h = 1e-5;
    double t0 = toy_time(i), t = toy_time(i + 1), g[2] = { 0 }, norm;

    for (int k = 0; k < 3; k++) {
        double v = (1 - t0) * S * (1 - t0) * S + t0 * t0, s = exp(*ls);
        double x = (1 - t0) * M + sqrt(v) * node[k];
        double y = x - (t0 - t) * toy_velocity(x, t0, *m, s);
        double e = sign * (toy_velocity(y, t, *m, s) - toy_velocity(y, t, M, S));
        g[0] += share[k] * e * (toy_velocity(x, t0, *m + h, s) -
                                toy_velocity(x, t0, *m - h, s)) / (2 * h);
        g[1] += share[k] * e * (toy_velocity(x, t0, *m, exp(*ls + h)) -
                                toy_velocity(x, t0, *m, exp(*ls - h))) / (2 * h);
    }
    norm = fmax(1, hypot(g[0], g[1]));
    *m   = fmax(-50, fmin(50, *m - rate * g[0] / norm));
    *ls  = fmax(-3, fmin(3, *ls - rate * g[1] / norm));
}

static double toy_kl(int sign)
{
    double m = 0, ls = log(1.2), s;

    for (int i = 0; i < 4000; i++)
        toy_step(&m, &ls, i * 37 % 48, sign, 0.02);
    s = exp(ls);
    return log(s / 0.5) + (0.25 + (m - 1) * (m - 1)) / (2 * s * s) - 0.5;
}

START_TEST(toy)
{
    ck_assert_double_lt(toy_kl(1), 1e-3);
    ck_assert_double_gt(toy_kl(-1), 1);
}
END_TEST

/* Equal weights: the error is no rounding, it is nothing; also with mixed layers
 * whose share of softmax is all. Test number: softmax or mixed, then bf16. */
START_TEST(no_error)
{
    float error[16], *grad, *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, NULL);
    j.dtype = _i / 2 ? LV_BF16 : LV_F32;
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 1);
    if (_i % 2)
        memset(j.l->dit.cfg.attention, LV_ATTN_SOFTMAX, LV_MAX_LAYERS);
    data = post_make_batch(&j, LV_LEARN_ONLINE, &b);
    grad = post_learn(&j, LV_LEARN_ONLINE, 1, &b, error);
    for (int i = 0; i < j.l->cfg->micro; i++)
        ck_assert_double_eq((double)error[i], 0);
    for (size_t i = 0; i < j.l->trainer->params->size; i++)
        ck_assert_double_eq((double)grad[i], 0);
    free(grad);
    free(data);
    post_end(&j);
}
END_TEST

/* Without any share of softmax, mixed layers are linear ones. Test number: map. */
START_TEST(no_softmax)
{
    static const char *const map[][2] = {
        { "linearize.feature_map=hedgehog", NULL }, { "linearize.feature_map=relu", NULL },
        { "linearize.feature_map=taylor", NULL },
    };
    float *data, *u[2];
    size_t bytes;
    LvBatch b;
    PostJob j;

    post_begin(&j, map[_i]);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 0);
    data  = post_make_batch(&j, LV_LEARN_ONLINE, &b);
    bytes = (size_t)j.l->nets.batch * j.t.numel * sizeof(float);
    for (int i = 0; i < 2; i++) {
        memset(j.l->dit.cfg.attention, i ? LV_ATTN_LINEAR : LV_ATTN_MIXED, LV_MAX_LAYERS);
        u[i] = post_velocity(&j, &j.l->dit, b.port[LV_PORT_X], b.port[LV_PORT_T],
                        b.port[LV_PORT_TEXT]);
    }
    ck_assert_int_eq(memcmp(u[0], u[1], bytes), 0);
    free(u[0]);
    free(u[1]);
    free(data);
    post_end(&j);
}
END_TEST

/* Student - teacher with the text of a port. */
static float *difference(PostJob *j, const LvBatch *b, int text)
{
    size_t n = (size_t)j->l->nets.batch * j->t.numel;
    float *u[2];

    for (int i = 0; i < 2; i++)
        u[i] = post_velocity(j, i ? j->l->nets.teacher : &j->l->dit, b->port[LV_PORT_X],
                        b->port[LV_PORT_T], b->port[text]);
    for (size_t i = 0; i < n; i++)
        u[0][i] -= u[1][i];
    free(u[1]);
    return u[0];
}

/* sum of weight mean (student - teacher)^2, guided when joint, at the parameters as they
 * are. */
static double online_loss(PostJob *j, const LvBatch *b)
{
    int joint = j->l->cfg->compare == LV_COMPARE_JOINT;
    double g  = joint ? (double)j->l->states.guidance : 1, sum = 0;
    float *text = difference(j, b, LV_PORT_TEXT), *other = difference(j, b, LV_PORT_OTHER);
    size_t n = j->t.numel;

    for (size_t i = 0; i < (size_t)j->l->nets.batch * n; i++) {
        double e = g * (double)text[i] + (1 - g) * (double)other[i];
        sum += (double)b->port[LV_PORT_WEIGHT][i / n] * e * e / (double)n;
    }
    free(text);
    free(other);
    return sum;
}

/* dL/dr of each layer against differences, of the whole network. Test number: map, or
 * behind those guided velocities. */
START_TEST(share_gradients)
{
    static const char *const map[][2] = {
        { "linearize.feature_map=hedgehog", NULL }, { "linearize.feature_map=relu", NULL },
        { "linearize.feature_map=taylor", NULL }, { "linearize.compare=joint", NULL },
    };
    const float h = 0.02f;
    float error[16], *grad, *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, map[_i]);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 0.4f);
    data = post_make_batch(&j, LV_LEARN_ONLINE, &b);
    grad = post_learn(&j, LV_LEARN_ONLINE, 0, &b, error);
    for (int i = 0; i < j.l->gates.layers; i++) {
        const LvParam *mix = j.l->mix[i];
        double loss[2], want;
        for (int k = 0; k < 2; k++) {
            float r = 0.4f + (k ? h : -h);
            SUCCEEDS(lv_param_put(j.l->trainer->params, LV_SLAB_VALUE, mix, &r));
            loss[k] = online_loss(&j, &b);
        }
        post_set_shares(&j, 0.4f);
        want = (loss[1] - loss[0]) / (2 * (double)h);
        ck_assert_msg(fabs((double)grad[mix->at] - want) <= 5e-3 * fabs(want),
                      "layer %d: %g, differences %g", i, grad[mix->at], want);
    }
    free(grad);
    free(data);
    post_end(&j);
}
END_TEST

static void add_to_head(PostJob *j, float delta)
{
    LvParams *p      = j->l->trainer->params;
    const LvParam *t = lv_params_find(p, "dit.head.head.bias");
    float *v         = malloc(t->numel * sizeof(*v));

    SUCCEEDS(lv_param_get(p, LV_SLAB_VALUE, t, v));
    for (size_t i = 0; i < t->numel; i++)
        v[i] += delta;
    SUCCEEDS(lv_param_put(p, LV_SLAB_VALUE, t, v));
    free(v);
}

/* Mean of student less teacher. */
static double mean_error(PostJob *j, const LvBatch *b)
{
    size_t n = (size_t)j->l->nets.batch * j->t.numel;
    double sum = 0;
    float *u[2];

    for (int i = 0; i < 2; i++)
        u[i] = post_velocity(j, i ? j->l->nets.teacher : &j->l->dit, b->port[LV_PORT_X],
                        b->port[LV_PORT_T], b->port[LV_PORT_TEXT]);
    for (size_t i = 0; i < n; i++)
        sum += ((double)u[0][i] - (double)u[1][i]) / (double)n;
    free(u[0]);
    free(u[1]);
    return sum;
}

/* The student is the teacher and a constant; one update lessens it, whatever the
 * objective. Test number: objective, then whether the error is relative. */
START_TEST(sign)
{
    int objective = _i / 2;
    float error[16], *grad, *data;
    double before, after;
    LvBatch b;
    PostJob j;

    post_begin(&j, NULL);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 1);
    add_to_head(&j, 0.3f);
    data   = post_make_batch(&j, objective, &b);
    before = mean_error(&j, &b);
    ck_assert_double_eq_tol(before, 0.3, 1e-4);
    grad = post_learn(&j, objective, _i % 2, &b, error);
    post_descend(&j, grad, 0.05f);
    after = mean_error(&j, &b);
    ck_assert_msg(after < before, "%g, then %g", before, after);
    free(grad);
    free(data);
    post_end(&j);
}
END_TEST
enum { SIGNS = 2 * LV_LEARN_DMD };

/* L = 1/2 mean |x(theta) - (x - G)|^2, x being where the student's step leads, and G the
 * difference of scores; as a function of theta alone. */
static double surrogate(PostJob *j, const LvBatch *b, const float *x0, const float *g)
{
    size_t n = j->t.numel, all = (size_t)j->l->nets.batch * n;
    float *u = post_velocity(j, &j->l->dit, b->port[LV_PORT_X], b->port[LV_PORT_T],
                        b->port[LV_PORT_TEXT]);
    double sum = 0;

    for (size_t i = 0; i < all; i++) {
        size_t row = i / n;
        double d = ((double)b->port[LV_PORT_T][row] - (double)b->port[LV_PORT_T1][row]) /
                   1000;
        double x = (double)b->port[LV_PORT_X][i] - d * (double)u[i];
        double e = x - ((double)x0[i] - (double)g[i]);
        sum += e * e / 2 / (double)all;
    }
    free(u);
    return sum;
}

/* Where steps lead, and the differences of scores there. */
static void scores(PostJob *j, const LvBatch *b, float *x, float *g)
{
    size_t n = j->t.numel, all = (size_t)j->l->nets.batch * n;
    float *u[3];

    u[0] = post_velocity(j, &j->l->dit, b->port[LV_PORT_X], b->port[LV_PORT_T],
                    b->port[LV_PORT_TEXT]);
    for (size_t i = 0; i < all; i++)
        x[i] = b->port[LV_PORT_X][i] - (b->port[LV_PORT_T][i / n] -
                                        b->port[LV_PORT_T1][i / n]) / 1000 * u[0][i];
    for (int k = 1; k < 3; k++)
        u[k] = post_velocity(j, k == 1 ? &j->l->dit : j->l->nets.teacher, x,
                        b->port[LV_PORT_T1], b->port[LV_PORT_TEXT]);
    for (size_t i = 0; i < all; i++) {
        float t = b->port[LV_PORT_T1][i / n] / 1000;
        g[i] = (1 - t) / t * (u[2][i] - u[1][i]);
    }
    for (int k = 0; k < 3; k++)
        free(u[k]);
}

/* The seed that `step` puts on the velocity, literal weight, against differences of
 * the surrogate, along the gradient itself. */
START_TEST(surrogates)
{
    static const char *const literal[] = { "linearize.weight=literal",
                                           "linearize.cap=1000", NULL };
    float error[16], *grad, *data, *x, *g;
    double norm = 0, loss[2], want;
    const double h = 2e-4;
    size_t bytes;
    LvBatch b;
    PostJob j;

    post_begin(&j, literal);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 0.3f);
    data  = post_make_batch(&j, LV_LEARN_STEP, &b);
    bytes = (size_t)j.l->nets.batch * j.t.numel * sizeof(float);
    x     = malloc(bytes);
    g     = malloc(bytes);
    for (int i = 0; i < j.l->nets.batch; i++)
        b.port[LV_PORT_WEIGHT][i] *= (float)j.l->cfg->batch / (float)j.l->nets.batch;
    scores(&j, &b, x, g);
    grad = post_learn(&j, LV_LEARN_STEP, 0, &b, error);
    for (size_t i = 0; i < j.l->trainer->params->size; i++)
        norm += (double)grad[i] * (double)grad[i];
    norm = sqrt(norm);
    for (int k = 0; k < 2; k++) {
        post_descend(&j, grad, (float)((k ? -h : h) / norm));
        loss[k] = surrogate(&j, &b, x, g);
        post_descend(&j, grad, (float)((k ? h : -h) / norm));
    }
    want = (loss[1] - loss[0]) / (2 * h);
    ck_assert_msg(fabs(norm - want) <= 1e-2 * fabs(want), "%g, differences %g", norm, want);
    free(x);
    free(g);
    free(grad);
    free(data);
    post_end(&j);
}
END_TEST

/* Weights of errors on this sampler. */
START_TEST(weights)
{
    LvStates *s;
    double k, sum = 0;
    PostJob j;

    post_begin(&j, NULL);
    post_open_linearize(&j, "run", 1);
    s = &j.l->states;
    s->objective = LV_LEARN_STEP;
    for (int w = 0; w < LV_WEIGHT_NB; w++) {
        LvLinearizeConfig c = *s->cfg;
        double t0 = (double)j.t.sigma[1], t = (double)j.t.sigma[2];
        c.weight = w;
        s->cfg   = &c;
        k = (t0 - t) * fmin((1 - t) / t, 10);
        if (w == LV_WEIGHT_LITERAL)
            ck_assert_double_eq_tol(lv_states_weight(s, 1, 2), k, 1e-9);
        else if (w == LV_WEIGHT_SQRT)
            ck_assert_double_eq_tol(lv_states_weight(s, 1, 2), sqrt(k / (double)s->mean_k),
                                    1e-9);
        else
            ck_assert_double_eq(lv_states_weight(s, 1, 2), 1);
        s->cfg = j.l->cfg;
    }
    for (int i = 0; i < s->last; i++)
        sum += (double)(j.t.sigma[i] - j.t.sigma[i + 1]) *
               fmin((1 - (double)j.t.sigma[i + 1]) / (double)j.t.sigma[i + 1], 10);
    ck_assert_double_gt(sum, 0);
    post_end(&j);
}
END_TEST

/* Runs */

static char *read_file(const char *path, size_t *size)
{
    FILE *f    = fopen(path, "rb");
    char *data = malloc(1 << 24);

    ck_assert_msg(f && data, "%s", path);
    *size = fread(data, 1, 1 << 24, f);
    fclose(f);
    return data;
}

static int same_files(const char *a, const char *b)
{
    size_t na, nb;
    char *x = read_file(a, &na), *y = read_file(b, &nb);
    int same = na == nb && na > 0 && !memcmp(x, y, na);

    free(x);
    free(y);
    return same;
}

static void take_steps(PostJob *j, const char *run, int create, int nb)
{
    post_open_linearize(j, run, create);
    for (int i = 0; i < nb; i++)
        SUCCEEDS(lv_linearize_step(j->l));
    SUCCEEDS(lv_linearize_save(j->l, post_in_folder(run)));
    lv_linearize_close(&j->l);
}

static const char *const ways[][4] = {
    { NULL },
    { "linearize.states=stream", NULL },
    { "linearize.compare=joint", "linearize.states=stream", NULL },
    { "linearize.compare=joint", "linearize.objective=mse-online", NULL },
    { "linearize.objective=anchored", "linearize.states=stream", NULL },
    { "linearize.objective=step", "linearize.weight=literal", NULL },
    { "linearize.objective=mse", "linearize.r_range=sigmoid", NULL },
    { "linearize.objective=mse-online", "linearize.weight=sqrt",
      "linearize.select=greedy", NULL },
    { "linearize.objective=dmd", "linearize.select=random", NULL },
    { "linearize.select=1", "linearize.weight=unit", "linearize.feature_map=taylor", NULL },
};

/* Stopped before the freeze, at it, and behind it. Test number: of ways. */
START_TEST(resume)
{
    PostJob j;

    post_begin(&j, ways[_i]);
    take_steps(&j, "a", 1, 8);
    take_steps(&j, "b", 1, 3);
    take_steps(&j, "b", 0, 3);
    ck_assert(!same_files(post_in_folder("a"), post_in_folder("b")));
    take_steps(&j, "b", 0, 2);
    ck_assert(same_files(post_in_folder("a"), post_in_folder("b")));
    if (j.recipe.linearize.objective == LV_LEARN_DMD)
        ck_assert(same_files(post_in_folder("a.fake-8"), post_in_folder("b.fake-8")));
    post_end(&j);
}
END_TEST

/* Blocks made again on the way back give the same bits. */
START_TEST(checkpoints)
{
    float error[2][16], *grad[2], *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, NULL);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 0.5f);
    data = post_make_batch(&j, _i, &b);
    for (int i = 0; i < 2; i++) {
        j.l->nets.checkpoint = i;
        grad[i] = post_learn(&j, _i, 1, &b, error[i]);
    }
    ck_assert_int_eq(memcmp(grad[0], grad[1], j.l->trainer->params->size * sizeof(float)),
                     0);
    free(grad[0]);
    free(grad[1]);
    free(data);
    post_end(&j);
}
END_TEST

/* What is written is the network that was trained, and makes the same velocities; its
 * configuration tells layers and maps. */
START_TEST(round_trip)
{
    double error;
    LvFrozen *b;
    PostJob j;

    post_begin(&j, ways[_i]);
    post_open_linearize(&j, "run", 1);
    if (lv_gates_open(&j.l->gates)) {
        ck_assert_int_eq(lv_linearize_export(j.l, post_in_folder("out")), LV_ERR_MODEL);
        ck_assert_msg(strstr(post_said, "still mixed") != NULL, "%s", post_said);
    }
    for (int i = 0; i < 8; i++)
        SUCCEEDS(lv_linearize_step(j.l));
    SUCCEEDS(lv_linearize_export(j.l, post_in_folder("out")));
    SUCCEEDS(lv_linearize_verify(j.l, post_in_folder("out"), &error));
    ck_assert_double_gt(error, 0);
    SUCCEEDS(lv_frozen_open(&b, post_in_folder("out"), NULL, j.dev, &post_msg));
    ck_assert_int_eq(lv_config_layers(&b->cfg.dit, LV_ATTN_LINEAR), 1);
    ck_assert_int_eq(lv_config_layers(&b->cfg.dit, LV_ATTN_SOFTMAX), 1);
    ck_assert_int_eq(b->cfg.dit.map, j.recipe.linearize.map);
    lv_frozen_close(&b);
    ck_assert_int_eq(lv_linearize_verify(j.l, post_in_folder("bundle"), &error), LV_ERR_MODEL);
    post_end(&j);
}
END_TEST

/* It learns: with one layer linear from the start the error falls. */
START_TEST(learns)
{
    static const char *const more[] = { "linearize.select=first", "linearize.steps=60",
                                        "linearize.feature_map=hedgehog", NULL };
    double first = 0, last = 0;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    for (int i = 0; i < 60; i++) {
        SUCCEEDS(lv_linearize_step(j.l));
        first += i < 10 ? j.l->loss : 0;
        last  += i >= 50 ? j.l->loss : 0;
    }
    ck_assert_msg(last < 0.7 * first, "error %g, then %g", first, last);
    post_end(&j);
}
END_TEST

/* Columns of a map are never alike at the start, or they would stay so. */
START_TEST(wide_maps)
{
    static const char *const more[] = { "linearize.feature_dim=80", NULL };
    float *v;
    LvMaps *m;
    PostJob j;
    int maps = 0;

    post_begin(&j, more);
    j.files.run = post_in_folder("maps");
    SUCCEEDS(lv_linearize_create(&j.files));
    SUCCEEDS(lv_maps_open(&m, &j.files, 0, LV_F32));
    v = malloc(m->trainer->params->size * sizeof(float));
    SUCCEEDS(lv_params_download(m->trainer->params, LV_SLAB_VALUE, v));
    for (int i = 0; i < m->trainer->params->nb; i++) {
        const LvParam *p = &m->trainer->params->list[i];
        int d = p->dim[1], width = p->dim[2];
        if (!(p->flags & LV_W_MAP))
            continue;
        maps++;
        ck_assert_int_gt(width, d);
        for (int a = 0; a < width; a++)
            for (int b = 0; b < a; b++) {
                int k = 0;
                while (k < d && v[p->at + (size_t)(k * width + a)] ==
                       v[p->at + (size_t)(k * width + b)])
                    k++;
                ck_assert_msg(k < d, "%s: columns %d and %d", p->name, b, a);
            }
    }
    ck_assert_int_gt(maps, 0);
    free(v);
    lv_maps_close(&m);
    post_end(&j);
}
END_TEST

/* Whether a weight is of those that learn. */
static int is_of(const LvParam *p, int only)
{
    int map = strstr(p->name, ".map_") != NULL, self = strstr(p->name, ".self_attn.") != NULL;

    return only == LV_ONLY_MAPS ? map : only == LV_ONLY_ATTENTION ? self : 1;
}

/* In each layer some of what learns is moved, and nothing else is, nor its average. */
START_TEST(parts_learn)
{
    static const char *const sets[LV_ONLY_NB] = { "linearize.only=all",
                                                  "linearize.only=attention",
                                                  "linearize.only=maps" };
    const char *const more[] = { sets[_i], "linearize.select=first", "linearize.layers=2",
                                 "linearize.weight_decay=0.1", "linearize.lr=1e-3", NULL };
    int moved = 0, still = 0;
    float *v[3];
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    for (int i = 0; i < 3; i++)
        v[i] = malloc(j.l->trainer->params->size * sizeof(float));
    SUCCEEDS(lv_params_download(j.l->trainer->params, LV_SLAB_VALUE, v[0]));
    for (int i = 0; i < 3; i++)
        SUCCEEDS(lv_linearize_step(j.l));
    SUCCEEDS(lv_params_download(j.l->trainer->params, LV_SLAB_VALUE, v[1]));
    SUCCEEDS(lv_params_download(j.l->trainer->params, LV_SLAB_M, v[2]));
    for (int i = 0; i < j.l->trainer->params->nb; i++) {
        const LvParam *p = &j.l->trainer->params->list[i];
        int same = !memcmp(v[0] + p->at, v[1] + p->at, p->numel * sizeof(float));
        if (p->flags & LV_W_GATE)
            continue;
        if (!is_of(p, _i)) {
            ck_assert_msg(same, "%s was moved", p->name);
            for (size_t k = 0; k < p->numel; k++)
                ck_assert_msg(v[2][p->at + k] == 0, "%s has a moment", p->name);
        }
        moved += !same;
        still += same;
    }
    ck_assert_int_ge(moved, _i == LV_ONLY_MAPS ? 2 : 8);
    ck_assert(_i == LV_ONLY_NOT || still > 8);
    for (int i = 0; i < 3; i++)
        free(v[i]);
    post_end(&j);
}
END_TEST

/* All that a step changes. */
static void get_slabs(const LvTrainer *t, float *v)
{
    static const int slabs[] = { LV_SLAB_VALUE, LV_SLAB_M, LV_SLAB_V, LV_SLAB_EMA };

    for (int i = 0; i < LV_COUNT(slabs); i++)
        SUCCEEDS(lv_params_download(t->params, slabs[i], v + (size_t)i * t->params->size));
}

/* A step whose gradient is not finite changes nothing, is told of, and not taken too often. */
START_TEST(not_finite)
{
    static const char *const more[] = { "linearize.freeze=1", "linearize.steps=20", NULL };
    float *was, *is, bad = NAN, good;
    const LvParam *p;
    LvGates gates;
    LvTrainer *t;
    PostJob j;
    size_t n;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    t = j.l->trainer;
    n = 4 * t->params->size * sizeof(float);
    SUCCEEDS(lv_linearize_step(j.l));
    p   = lv_params_find(t->params, "dit.blocks.0.ffn.0.weight");
    was = malloc(n);
    is  = malloc(n);
    get_slabs(t, was);
    gates = j.l->gates;
    good  = was[p->at];
    for (int i = 1; i < LV_TRAINER_DROPS; i++) {
        float *all = malloc(p->numel * sizeof(float));
        memcpy(all, was + p->at, p->numel * sizeof(float));
        all[0] = i % 2 ? bad : 1e30f; /* products that are too large */
        SUCCEEDS(lv_param_put(t->params, LV_SLAB_VALUE, p, all));
        SUCCEEDS(lv_linearize_step(j.l));
        ck_assert_msg(strstr(post_said, "not finite: the step is dropped") != NULL, "%s",
                      post_said);
        ck_assert_int_eq(t->step, 1 + i);
        ck_assert_int_eq(t->dropped, i);
        all[0] = good;
        SUCCEEDS(lv_param_put(t->params, LV_SLAB_VALUE, p, all));
        free(all);
    }
    get_slabs(t, is);
    ck_assert_mem_eq(was, is, n);
    ck_assert_mem_eq(&gates.gate, &j.l->gates.gate, sizeof(gates.gate));
    SUCCEEDS(lv_linearize_step(j.l));
    ck_assert_int_eq(t->dropped, 0);
    get_slabs(t, is);
    ck_assert(memcmp(was, is, n));
    for (int i = 0; i < LV_TRAINER_DROPS; i++) {
        SUCCEEDS(lv_trainer_begin(t));
        lv_trainer_drop(t);
        t->summed = t->measured = 1;
        ck_assert_int_eq(lv_trainer_update(t), i + 1 < LV_TRAINER_DROPS ? 0 : -ERANGE);
    }
    free(was);
    free(is);
    post_end(&j);
}
END_TEST

/* Maps learn to do what softmax does; all other weights stand still. */
START_TEST(maps_alone)
{
    static const char *const more[] = { "maps.steps=40", "maps.lr=2e-2", NULL };
    double first = 0, last = 0;
    float *v[2];
    LvMaps *m;
    PostJob j;

    post_begin(&j, more);
    j.files.run = post_in_folder("maps");
    SUCCEEDS(lv_linearize_create(&j.files));
    SUCCEEDS(lv_maps_open(&m, &j.files, 0, LV_F32));
    for (int i = 0; i < 2; i++)
        v[i] = malloc(m->trainer->params->size * sizeof(float));
    SUCCEEDS(lv_params_download(m->trainer->params, LV_SLAB_VALUE, v[0]));
    for (int i = 0; i < 40; i++) {
        SUCCEEDS(lv_maps_step(m));
        first += i < 5 ? m->mean : 0;
        last  += i >= 35 ? m->mean : 0;
    }
    ck_assert_msg(last < 0.8 * first, "error %g, then %g", first, last);
    SUCCEEDS(lv_params_download(m->trainer->params, LV_SLAB_VALUE, v[1]));
    for (int i = 0; i < m->trainer->params->nb; i++) {
        const LvParam *p = &m->trainer->params->list[i];
        int same = !memcmp(v[0] + p->at, v[1] + p->at, p->numel * sizeof(float));
        ck_assert_msg(same == !(p->flags & LV_W_MAP), "%s", p->name);
    }
    free(v[0]);
    free(v[1]);
    lv_maps_close(&m);
    post_end(&j);
}
END_TEST

static int stop(void *opaque, int done, int all)
{
    (void)opaque, (void)all;
    return done >= 4 ? LV_ERR_CANCELLED : 0;
}

/* Flip a bit of a tensor in a file. */
static void damage(const char *path, const char *name, size_t byte)
{
    LvSafetensors *st;
    size_t at;
    FILE *f;
    int c;

    SUCCEEDS(lv_safetensors_open(&st, path, &post_msg));
    at = lv_safetensors_place(st, lv_safetensors_find(st, name)) + byte;
    lv_safetensors_close(&st);
    ck_assert_ptr_nonnull(f = fopen(path, "r+b"));
    fseek(f, (long)at, SEEK_SET);
    c = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

/* Sampling goes on where it stopped, and mends what was damaged; another teacher's or other
 * settings are refused. */
START_TEST(trajectories)
{
    LvTrajectories t;
    LvPrompts p;
    PostJob j;

    post_begin(&j, NULL);
    SUCCEEDS(lv_prompts_draw(&p, 6, 1, j.teacher));
    ck_assert_int_eq(lv_trajectories_make(j.teacher, &j.recipe.trajectories, &p, 1, LV_F32,
                                          post_in_folder("t"), stop, NULL), LV_ERR_CANCELLED);
    ck_assert_int_eq(lv_trajectories_open(&t, j.teacher, post_in_folder("t")), LV_ERR_MODEL);
    lv_trajectories_close(&t);
    SUCCEEDS(lv_trajectories_make(j.teacher, &j.recipe.trajectories, &p, 1, LV_F32,
                                  post_in_folder("t"), NULL, NULL));
    ck_assert(same_files(post_in_folder("t"), post_in_folder("trajectories")));
    ck_assert_int_eq(lv_trajectories_make(j.teacher, &j.recipe.trajectories, &p, 2, LV_F32,
                                          post_in_folder("t"), NULL, NULL), LV_ERR_MODEL);
    ck_assert_msg(strstr(post_said, "seed=1; expected") != NULL, "%s", post_said);
    damage(post_in_folder("t"), "states", 1);
    ck_assert_int_eq(lv_trajectories_open(&t, j.teacher, post_in_folder("t")), LV_ERR_MODEL);
    ck_assert_msg(strstr(post_said, "is damaged") != NULL, "%s", post_said);
    lv_trajectories_close(&t);
    SUCCEEDS(lv_trajectories_make(j.teacher, &j.recipe.trajectories, &p, 1, LV_F32,
                                  post_in_folder("t"), NULL, NULL));
    ck_assert(same_files(post_in_folder("t"), post_in_folder("trajectories")));
    damage(post_in_folder("t"), "features", 1);
    ck_assert_int_eq(lv_trajectories_open(&t, j.teacher, post_in_folder("t")), LV_ERR_MODEL);
    ck_assert_msg(strstr(post_said, "is damaged or was changed") != NULL, "%s", post_said);
    lv_trajectories_close(&t);
    damage(post_in_folder("t"), "features", 1);
    strcpy(j.teacher->hash, "0");
    ck_assert_int_eq(lv_trajectories_open(&t, j.teacher, post_in_folder("t")), LV_ERR_MODEL);
    ck_assert_msg(strstr(post_said, "another teacher") != NULL, "%s", post_said);
    lv_trajectories_close(&t);
    lv_prompts_free(&p);
    post_end(&j);
}
END_TEST

START_TEST(prompts)
{
    FILE *f = fopen(post_in_folder("lines"), "w");
    LvPrompts p;

    fputs("a red circle\n\nwaves", f);
    fclose(f);
    SUCCEEDS(lv_prompts_read(&p, post_in_folder("lines"), &post_msg));
    ck_assert_int_eq(p.nb, 2);
    ck_assert_str_eq(p.text, "a red circle\nwaves\n");
    lv_prompts_free(&p);
    f = fopen(post_in_folder("lines"), "w");
    fclose(f);
    ck_assert_int_eq(lv_prompts_read(&p, post_in_folder("lines"), &post_msg), LV_ERR_MODEL);
    lv_prompts_free(&p);
    ck_assert_int_eq(lv_prompts_read(&p, post_in_folder("none"), &post_msg), -ENOENT);
    lv_prompts_free(&p);
}
END_TEST

static void distill_steps(PostJob *j, const char *run, int create, int nb)
{
    const LvDistillFiles f = { .recipe = &j->recipe, .student = j->teacher,
                               .teacher = j->teacher, .t = &j->t, .run = post_in_folder(run) };

    if (create)
        SUCCEEDS(lv_distill_create(&f));
    SUCCEEDS(lv_distill_open(&j->d, &f, 0, LV_F32, 1));
    for (int i = 0; i < nb; i++)
        SUCCEEDS(lv_distill_step(j->d));
    SUCCEEDS(lv_distill_save(j->d, post_in_folder(run)));
    SUCCEEDS(lv_distill_export(j->d, post_in_folder("out")));
    lv_distill_close(&j->d);
}

/* Both runs go on alike; the bundle says how it samples. */
START_TEST(distillation)
{
    LvFrozen *b;
    PostJob j;

    post_begin(&j, NULL);
    distill_steps(&j, "a", 1, 6);
    distill_steps(&j, "b", 1, 2);
    ck_assert_int_eq(access(post_in_folder("b.fake-2"), F_OK), 0);
    distill_steps(&j, "b", 0, 4);
    ck_assert(same_files(post_in_folder("a"), post_in_folder("b")));
    ck_assert(same_files(post_in_folder("a.fake-6"), post_in_folder("b.fake-6")));
    ck_assert_int_ne(access(post_in_folder("b.fake-2"), F_OK), 0);
    SUCCEEDS(lv_frozen_open(&b, post_in_folder("out"), NULL, j.dev, &post_msg));
    ck_assert_str_eq(b->cfg.video.sampler, "renoise");
    ck_assert_int_eq(b->cfg.video.steps, 4);
    ck_assert_double_eq((double)b->cfg.video.guidance, 1);
    ck_assert_double_eq((double)b->cfg.video.shift, 5);
    lv_frozen_close(&b);
    post_end(&j);
}
END_TEST

/* The sign of DMD2: dL/du_S is along u_F - u_T. With a critic that is the teacher and a
 * constant, and a teacher without guidance, the velocity goes down by it. */
START_TEST(distillation_sign)
{
    static const char *const more[] = { "linearize.objective=dmd", "distill.guidance=1",
                                        NULL };
    float error[16], *grad, *data, *bias;
    const LvParam *t;
    double sum = 0;
    LvBatch b;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    post_set_shares(&j, 1);
    t    = lv_params_find(j.l->critic->trainer->params, "dit.head.head.bias");
    bias = calloc(t->numel, sizeof(*bias));
    for (size_t i = 0; i < t->numel; i++)
        bias[i] = 0.3f;
    SUCCEEDS(lv_param_put(j.l->critic->trainer->params, LV_SLAB_VALUE, t, bias));
    data = post_make_batch(&j, LV_LEARN_DMD, &b);
    grad = post_learn(&j, LV_LEARN_DMD, 1, &b, error);
    for (int i = 0; i < j.l->nets.batch; i++)
        ck_assert_double_eq_tol((double)error[i], 0.09, 1e-4);
    t = lv_params_find(j.l->trainer->params, "dit.head.head.bias");
    for (size_t i = 0; i < t->numel; i++)
        sum += (double)grad[t->at + i];
    ck_assert_double_gt(sum, 0);
    free(bias);
    free(grad);
    free(data);
    post_end(&j);
}
END_TEST

/* Deltas: factors of a change */

enum { FIT_ROWS = 40, FIT_COLS = 56, FIT_SIZE = FIT_ROWS * FIT_COLS };

/* A matrix of this rank, the k-th part of it 2^-k as large. */
static void fit_matrix(float *d, int rank)
{
    float *a = normals(FIT_ROWS * (size_t)rank, 11), *b = normals(FIT_COLS * (size_t)rank, 12);

    memset(d, 0, FIT_SIZE * sizeof(*d));
    for (int i = 0; i < FIT_SIZE; i++)
        for (int k = 0; k < rank; k++)
            d[i] += ldexpf(a[i / FIT_COLS * rank + k] * b[k * FIT_COLS + i % FIT_COLS], -k);
    free(a);
    free(b);
}

/* Root of the sum of squares of what factors leave of a matrix. */
static double fit_rest(const LvLoraFit *fit, const float *d)
{
    double sum = 0;

    for (int i = 0; i < FIT_SIZE; i++) {
        double x = (double)d[i];
        for (int k = 0; k < fit->rank; k++)
            x -= (double)fit->up[i / FIT_COLS * fit->rank + k] *
                 (double)fit->down[k * FIT_COLS + i % FIT_COLS];
        sum += x * x;
    }
    return sqrt(sum);
}

static const struct { int rank, most; double bound; int least, highest; } fits[] = {
    { 1, 30, 1e-4, 1, 1 }, { 3, 30, 1e-4, 3, 3 }, { 11, 30, 1e-5, 10, 11 },
    { 20, 30, 1e-2, 6, 13 }, /* what is small is left out */
    { 20, 4, 1e-5, 4, 4 },   /* not near enough */
    { 1, 30, 2, 0, 0 },      /* near enough without any */
};

START_TEST(factors)
{
    static float d[FIT_SIZE], left[FIT_SIZE];
    LvLoraFit fit;
    double size;

    fit_matrix(d, fits[_i].rank);
    memcpy(left, d, sizeof(d));
    size = lv_lora_norm(d, FIT_SIZE);
    ck_assert_int_eq(lv_lora_fit(&fit, left, FIT_ROWS, FIT_COLS, fits[_i].most,
                                 fits[_i].bound * size), 0);
    ck_assert_int_ge(fit.rank, fits[_i].least);
    ck_assert_int_le(fit.rank, fits[_i].highest);
    ck_assert_double_eq_tol(fit_rest(&fit, d), fit.error, 1e-5 * size);
    ck_assert((fit.error <= fits[_i].bound * size) == (fit.rank < fits[_i].most));
    for (int k = 0; k < fit.rank; k++) { /* both can be stored in 16 bits */
        double up = 0, down = lv_lora_norm(fit.down + k * FIT_COLS, FIT_COLS);
        for (int r = 0; r < FIT_ROWS; r++)
            up += pow((double)fit.up[r * fit.rank + k], 2);
        ck_assert_double_eq_tol(sqrt(up), down, 1e-3 * down);
    }
    lv_lora_fit_free(&fit);
}
END_TEST

START_TEST(recipes)
{
    static const struct { const char *change, *says, *with; } bad[] = {
        { "linearize.objective=best", "linearize.objective is \"best\"", NULL },
        { "linearize.micro=3", "does not divide", NULL },
        { "linearize.compare=both", "linearize.compare is \"both\"", NULL },
        { "linearize.compare=joint", "joint is for", "linearize.objective=mse" },
        { "linearize.lambda=-1", "linearize.lambda is -1", NULL },
        { "linearize.speed=1", "not SECTION.KEY=VALUE", NULL },
        { "layers=1", "not SECTION.KEY=VALUE", NULL },
        { "linearize.steps=0", "steps are at least 1", NULL },
        { "distill.t_min=0.99", "not below", NULL },
    };
    static const struct { const char *path; int distill, nb, steps; } given[] = {
        { "samples/configs/motion-linear.json", 0, 6, 2800 },
        { "samples/configs/motion-4step.json", 1, 4, 800 },
        { "samples/configs/wan-1.3b-linear.json", 0, 16, 3000 },
        { "samples/configs/wan-1.3b-4step.json", 1, 4, 2000 },
        { "samples/configs/wan-14b-linear.json", 0, 22, 3000 },
        { "samples/configs/wan-14b-4step.json", 1, 4, 2000 },
    };
    LvRecipe r;

    for (int i = 0; i < LV_COUNT(bad); i++) {
        const char *changes[] = { "linearize.layers=1", bad[i].change, bad[i].with };
        ck_assert_int_lt(lv_recipe_read(&r, NULL, changes, bad[i].with ? 3 : 2, &post_msg), 0);
        ck_assert_msg(strstr(post_said, bad[i].says) != NULL, "%s", post_said);
        lv_recipe_free(&r);
    }
    ck_assert_int_eq(lv_recipe_read(&r, "none", NULL, 0, &post_msg), -ENOENT);
    lv_recipe_free(&r);
    for (int i = 0; i < LV_COUNT(given); i++) {
        SUCCEEDS(lv_recipe_read(&r, given[i].path, NULL, 0, &post_msg));
        ck_assert_int_eq(given[i].distill ? r.distill.sampler_steps : r.linearize.layers,
                         given[i].nb);
        ck_assert_int_eq(given[i].distill ? r.distill.optim.steps : r.linearize.optim.steps,
                         given[i].steps);
        lv_recipe_free(&r);
    }
}
END_TEST

START_TEST(refused)
{
    static const char *const bad[][3] = {
        { "linearize.layers=3", "the model has 2" },
        { "linearize.select=0,0", "neither learned" },
        { "linearize.select=5", "neither learned" },
        { "linearize.select=0,1", "lists 2 layers" },
    };
    const char *more[] = { bad[_i][0], NULL };
    int ret;
    PostJob j;

    post_begin(&j, more);
    j.files.run = post_in_folder("run");
    ret = lv_linearize_create(&j.files);
    if (ret >= 0)
        ret = lv_linearize_open(&j.l, &j.files, 0, LV_F32, 1);
    ck_assert_int_eq(ret, LV_ERR_MODEL);
    ck_assert_msg(strstr(post_said, bad[_i][1]) != NULL, "%s", post_said);
    ck_assert_ptr_null(j.l);
    post_end(&j);
}
END_TEST
enum { REFUSED = 4 };

static TCase *tcase(Suite *suite, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 60);
    suite_add_tcase(suite, t);
    return t;
}

/* Memory that a device says it has. */
static size_t little;

static size_t available(const LvDevice *dev)
{
    (void)dev;
    return little;
}

/* Bytes of a program's temporaries, with or without activation checkpointing. */
static size_t arena_of(LvNets *n, int checkpoint, float *x)
{
    LvLearn l;
    size_t bytes;

    n->checkpoint = checkpoint;
    SUCCEEDS(lv_learn_new(&l, n, LV_LEARN_ONLINE, 0, 0, x));
    bytes = lv_program_sizes(l.task.prog).arena;
    lv_learn_free(&l);
    return bytes;
}

/* Where a step does not fit, blocks are computed again, and where it does they are not. */
START_TEST(checkpoints_in_little_memory)
{
    LvDeviceFns fns;
    const LvDeviceFns *own;
    size_t all, some;
    LvNets n;
    LvLearn l;
    PostJob j;

    post_begin(&j, NULL);
    post_open_linearize(&j, "run", 1);
    n    = j.l->nets;
    all  = arena_of(&n, 0, j.l->x);
    some = arena_of(&n, 1, j.l->x);
    ck_assert_uint_lt(some, all);
    own           = j.dev->fn;
    fns           = *own;
    fns.available = available;
    j.dev->fn     = &fns;
    little        = (size_t)-1;
    n.checkpoint  = 0;
    SUCCEEDS(lv_learn_new(&l, &n, LV_LEARN_ONLINE, 0, 0, j.l->x));
    ck_assert_int_eq(n.checkpoint, 0);
    lv_learn_free(&l);
    little = all - 1;
    SUCCEEDS(lv_learn_new(&l, &n, LV_LEARN_ONLINE, 0, 0, j.l->x));
    ck_assert_int_eq(n.checkpoint, 1);
    lv_learn_free(&l);
    little       = some / 2;
    n.checkpoint = 0;
    ck_assert_int_eq(lv_learn_new(&l, &n, LV_LEARN_ONLINE, 0, 0, j.l->x), LV_ERR(ENOMEM));
    lv_learn_free(&l);
    j.dev->fn = own;
    post_end(&j);
}
END_TEST

static Suite *post_suite(void)
{
    Suite *suite = suite_create("post");
    TCase *t = tcase(suite, "attention");

    tcase_add_loop_test(t, quadratic, 0, LV_MAP_NB);
    tcase_add_loop_test(t, any_number_and_order, 0, LV_MAP_NB);
    tcase_add_loop_test(t, states_add_up, 0, LV_MAP_NB);
    tcase_add_loop_test(t, large_inputs, 0, LV_MAP_NB);

    t = tcase(suite, "shares");
    tcase_add_test(t, slopes);
    tcase_add_test(t, schedule);
    tcase_add_loop_test(t, selection, 0, 2);
    tcase_add_test(t, ties);
    tcase_add_test(t, literal_start);
    tcase_add_test(t, early);
    tcase_add_test(t, toy);
    tcase_add_test(t, recipes);
    tcase_add_loop_test(t, factors, 0, LV_COUNT(fits));

    t = tcase(suite, "objectives");
    tcase_add_checked_fixture(t, post_make_folder, post_remove_folder);
    tcase_add_loop_test(t, no_error, 0, 4);
    tcase_add_loop_test(t, no_softmax, 0, LV_MAP_NB);
    tcase_add_loop_test(t, share_gradients, 0, LV_MAP_NB + 1);
    tcase_add_loop_test(t, sign, 0, SIGNS);
    tcase_add_test(t, surrogates);
    tcase_add_test(t, weights);
    tcase_add_loop_test(t, checkpoints, 0, LV_LEARN_DMD);
    tcase_add_test(t, distillation_sign);

    t = tcase(suite, "runs");
    tcase_add_checked_fixture(t, post_make_folder, post_remove_folder);
    tcase_add_loop_test(t, resume, 0, LV_COUNT(ways));
    tcase_add_loop_test(t, round_trip, 0, LV_COUNT(ways));
    tcase_add_test(t, learns);
    tcase_add_test(t, maps_alone);
    tcase_add_loop_test(t, parts_learn, 0, LV_ONLY_NB);
    tcase_add_test(t, not_finite);
    tcase_add_test(t, wide_maps);
    tcase_add_test(t, checkpoints_in_little_memory);
    tcase_add_test(t, trajectories);
    tcase_add_test(t, prompts);
    tcase_add_test(t, distillation);
    tcase_add_loop_test(t, refused, 0, REFUSED);

    /* a few of them once more, for a device that takes its time (tests/emu.sh) */
    t = tcase(suite, "device");
    tcase_add_checked_fixture(t, post_make_folder, post_remove_folder);
    tcase_add_loop_test(t, quadratic, 0, LV_MAP_NB);
    tcase_add_loop_test(t, no_error, 1, 2);
    tcase_add_loop_test(t, no_error, 3, 4);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(post_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
