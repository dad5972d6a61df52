/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of how post-training is put together: which states, times, prompts, weights and
 * branches meet where. Each step is worked out here from velocities of single networks,
 * and compared with what the run reports, keeps and writes. tests/mutants.txt lists faults
 * that these tests find. Run from the top folder.
 */

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/philox.h"
#include "tests/post_kit.h"
#include "train/post/prompts.h"
#include "train/run/streams.h"

/* Whether a is b but for rounding, in the square mean. */
static void near(const float *a, const float *b, size_t n, double bound, const char *what)
{
    double d2 = 0, r2 = 0;

    for (size_t i = 0; i < n; i++) {
        d2 += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        r2 += (double)b[i] * (double)b[i];
    }
    ck_assert_msg(r2 > 0 && d2 <= bound * bound * r2, "%s: relative error %g", what,
                  sqrt(d2 / r2));
}

static void close_to(double got, double want, double bound, const char *what)
{
    ck_assert_msg(want != 0 && fabs(got - want) <= bound * fabs(want),
                  "%s: expected %.9g, got %.9g", what, want, got);
}

/* Gates */

/* The gradient that moves a gate: data + lambda (eta dL_con/dr + dL_reg/dr). Without beta1
 * the first moment is that gradient. Test number: before and behind the annealing. */
START_TEST(gate_gradient)
{
    enum { N = 8, T = 3, STEPS = 1000 };
    const double r = 0.7, alpha = _i ? 2 : 17, eta = _i ? 4 : 1;
    LvRecipe recipe;
    LvGatesConfig c;
    float data[N];
    LvGates g;

    SUCCEEDS(lv_recipe_read(&recipe, NULL, NULL, 0, &post_msg));
    c        = recipe.linearize.gates;
    c.beta1  = 0;
    c.lambda = 0.01f;
    lv_gates_init(&g, &c, N, T, STEPS);
    for (int i = 0; i < N; i++) {
        g.gate[i].r = g.gate[i].a = r;
        data[i] = 0.05f * (float)(i - 3);
    }
    ck_assert_int_eq(lv_gates_update(&g, _i ? 700 : 100, data), 0);
    for (int i = 0; i < N; i++) {
        double reg  = -2 * alpha * pow(2 * r - 1, alpha - 1);
        double want = (double)data[i] + 0.01 * (eta * 2 * (N - (N - T)) + reg);
        close_to(g.gate[i].m, want, 1e-6, "gradient of a gate");
        ck_assert((g.gate[i].r < r) == (want > 0));
    }
    lv_recipe_free(&recipe);
}
END_TEST

/* Batches */

/* Which stored state a sample is; -1, -1: none. */
static void find_state(const PostJob *j, const float *x, int *clip, int *k)
{
    float *s = malloc(j->t.numel * sizeof(*s));

    *clip = *k = -1;
    for (int c = 0; c < j->t.clips && *clip < 0; c++)
        for (int i = 0; i < j->t.steps && *clip < 0; i++) {
            lv_trajectories_state(&j->t, c, i, s);
            if (!memcmp(s, x, j->t.numel * sizeof(*s))) {
                *clip = c;
                *k    = i;
            }
        }
    free(s);
}

static int is_text(const PostJob *j, const LvBatch *b, int port, int at, int prompt)
{
    return !memcmp(b->port[port] + (size_t)at * j->t.text,
                   lv_trajectories_text(&j->t, prompt), j->t.text * sizeof(float));
}

/* States meet their own times and prompts; negative prompts are drawn as often as asked.
 * Test number: never, always, at times. */
START_TEST(samples)
{
    static const char *const often[][2] = {
        { "linearize.p_negative=0" }, { "linearize.p_negative=1" },
        { "linearize.p_negative=0.35" },
    };
    enum { ITEMS = 200 };
    int negative = 0, later = 0;
    LvStates *s;
    float *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, often[_i]);
    post_open_linearize(&j, "run", 1);
    s = &j.l->states;
    s->objective = LV_LEARN_STEP;
    data = calloc(lv_states_lay_out(s, 1, NULL, &b), sizeof(*data));
    lv_states_lay_out(s, 1, data, &b);
    for (int i = 0; i < ITEMS; i++) {
        int clip, k, is_negative;
        lv_states_make(s, &b, 0, 3, i);
        find_state(&j, b.port[LV_PORT_X], &clip, &k);
        ck_assert_int_ge(clip, 0);
        ck_assert_double_eq((double)b.port[LV_PORT_T][0], (double)(1000 * j.t.sigma[k]));
        ck_assert_double_eq((double)b.port[LV_PORT_T1][0],
                            (double)(1000 * j.t.sigma[k + 1]));
        is_negative = is_text(&j, &b, LV_PORT_TEXT, 0, -1);
        ck_assert(is_text(&j, &b, LV_PORT_TEXT, 0, is_negative ? -1 : j.t.prompt[clip]));
        ck_assert(is_text(&j, &b, LV_PORT_OTHER, 0, is_negative ? j.t.prompt[clip] : -1));
        negative += is_negative;
        later    += k > 0;
    }
    ck_assert_int_gt(later, ITEMS / 4);
    if (_i < 2)
        ck_assert_int_eq(negative, _i ? ITEMS : 0);
    else
        ck_assert(negative > 40 && negative < 100);
    free(data);
    post_end(&j);
}
END_TEST

/* Trajectories */

/* Texts of a micro-batch's samples. */
static float *texts(const PostJob *j, const int *prompt, int nb)
{
    float *text = malloc((size_t)nb * j->t.text * sizeof(*text));

    for (int i = 0; i < nb; i++)
        memcpy(text + (size_t)i * j->t.text, lv_trajectories_text(&j->t, prompt[i]),
               j->t.text * sizeof(*text));
    return text;
}

/* u(other) + g (u(text) - u(other)) */
static float *guided(PostJob *j, const LvDit *net, const float *x, const float *t,
                     const float *text, const float *other, double g)
{
    size_t n = (size_t)j->l->nets.batch * j->t.numel;
    float *a = post_velocity(j, net, x, t, text), *b = post_velocity(j, net, x, t, other);

    for (size_t i = 0; i < n; i++)
        a[i] = (float)((double)b[i] + g * ((double)a[i] - (double)b[i]));
    free(b);
    return a;
}

static float *fill(size_t n, double value)
{
    float *x = malloc(n * sizeof(*x));

    for (size_t i = 0; i < n; i++)
        x[i] = (float)value;
    return x;
}

/* Stored velocities of a state: branch 0 of the prompt, 1 of the empty one. */
static void stored_velocity(const PostJob *j, int clip, int k, int branch, float *out)
{
    size_t at = (((size_t)clip * (size_t)j->t.steps + (size_t)k) * 2 + (size_t)branch) *
                j->t.numel;

    for (size_t i = 0; i < j->t.numel; i++)
        out[i] = lv_f16_f32(j->t.velocities[at + i]);
}

/* State 0 is noise of the seed; each step is an Euler step with guidance from the state
 * before it; velocities are those of the two branches. */
START_TEST(trajectory_contents)
{
    PostJob j;
    int nb, prompt[16], none[16];
    float *text, *other, *x, *want, *t, *u[2], *kept;
    size_t n;

    post_begin(&j, NULL);
    post_open_linearize(&j, "run", 1);
    nb   = j.l->nets.batch;
    n    = j.t.numel;
    x    = malloc((size_t)nb * n * sizeof(*x));
    want = malloc((size_t)nb * n * sizeof(*x));
    kept = malloc(n * sizeof(*kept));
    for (int i = 0; i < nb; i++) {
        prompt[i] = j.t.prompt[i];
        none[i]   = -1;
        ck_assert_int_eq(prompt[i], i % j.t.prompts);
        lv_philox_normal(want, n, 1, lv_stream(LV_STREAM_TRAJECTORY, 0, i));
        lv_trajectories_state(&j.t, i, 0, x);
        near(x, want, n, 1e-3, "state 0");
    }
    text  = texts(&j, prompt, nb);
    other = texts(&j, none, nb);
    for (int k = 0; k + 1 < j.t.steps; k++) {
        double d = (double)j.t.sigma[k + 1] - (double)j.t.sigma[k];
        t = fill((size_t)nb, 1000 * (double)j.t.sigma[k]);
        for (int i = 0; i < nb; i++)
            lv_trajectories_state(&j.t, i, k, x + (size_t)i * n);
        u[0] = post_velocity(&j, &j.teacher->dit, x, t, text);
        u[1] = post_velocity(&j, &j.teacher->dit, x, t, other);
        for (int i = 0; i < nb; i++)
            for (int s = 0; s < 2; s++) {
                stored_velocity(&j, i, k, s, kept);
                near(kept, u[s] + (size_t)i * n, n, 5e-3, "stored velocity");
            }
        for (size_t i = 0; i < (size_t)nb * n; i++)
            want[i] = (float)((double)x[i] + d * ((double)u[1][i] + 3 *
                              ((double)u[0][i] - (double)u[1][i])));
        for (int i = 0; i < nb; i++)
            lv_trajectories_state(&j.t, i, k + 1, x + (size_t)i * n);
        near(x, want, (size_t)nb * n, 3e-3, "state behind a step");
        free(u[0]);
        free(u[1]);
        free(t);
    }
    free(text);
    free(other);
    free(x);
    free(want);
    free(kept);
    post_end(&j);
}
END_TEST

/* Features are those of their own prompt wherever it stands; -1 is the empty prompt. */
START_TEST(prompt_features)
{
    const size_t most = 1 << 16;
    float *one = malloc(2 * most * sizeof(*one));
    LvPrompts all, single;
    PostJob j;

    post_begin(&j, NULL);
    ck_assert_uint_le(j.t.text, most);
    SUCCEEDS(lv_prompts_draw(&all, j.t.prompts, 1, j.teacher));
    for (char *line = all.text, i = 0; i < j.t.prompts; i++, line = strchr(line, '\n') + 1) {
        single = (LvPrompts) { .text = strndup(line, (size_t)(strchr(line, '\n') - line) + 1),
                               .nb = 1 };
        SUCCEEDS(lv_prompts_encode(&single, j.teacher, LV_F32, one));
        near(one, lv_trajectories_text(&j.t, -1), j.t.text, 1e-5, "empty prompt");
        near(one + j.t.text, lv_trajectories_text(&j.t, i), j.t.text, 1e-5, "prompt");
        lv_prompts_free(&single);
    }
    lv_prompts_free(&all);
    free(one);
    post_end(&j);
}
END_TEST

/* Steps of selective transfer */

/* What a step should report. */
typedef struct Sums {
    double loss, error[LV_TIME_BINS], power[LV_TIME_BINS];
} Sums;

/* Compare sample i of a and b, and add. norm: the loss is relative to mean |b|. */
static void add_sums(Sums *s, const float *a, const float *b, size_t n, double weight,
                     int norm, double sigma)
{
    double e = 0, p = 0, size = 0;
    int bin = (int)fmin(sigma * LV_TIME_BINS, LV_TIME_BINS - 1);

    for (size_t i = 0; i < n; i++) {
        e    += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]) / (double)n;
        p    += (double)b[i] * (double)b[i] / (double)n;
        size += fabs((double)b[i]) / (double)n;
    }
    s->loss       += weight * e / (norm ? size : 1);
    s->error[bin] += e;
    s->power[bin] += p;
}

static void check_sums(const LvLinearize *l, const Sums *s)
{
    close_to(l->loss, s->loss, 2e-3, "loss");
    for (int i = 0; i < LV_TIME_BINS; i++)
        if (s->power[i] > 0) {
            close_to(l->error[i], s->error[i], 2e-3, "error");
            close_to(l->power[i], s->power[i], 2e-3, "power");
        } else {
            ck_assert_double_eq(l->power[i], 0);
        }
}

/* x + (sigma' - sigma) u, sample by sample: times are in the ports. */
static float *stepped(const PostJob *j, const LvBatch *b, const float *x, const float *u)
{
    size_t n = j->t.numel, all = (size_t)j->l->nets.batch * n;
    float *y = malloc(all * sizeof(*y));

    for (size_t i = 0; i < all; i++)
        y[i] = (float)((double)x[i] + ((double)b->port[LV_PORT_T1][i / n] -
                       (double)b->port[LV_PORT_T][i / n]) / 1000 * (double)u[i]);
    return y;
}

/* Stored velocities at the states of a micro-batch, of the branch that TEXT is of. */
static float *targets(const PostJob *j, const LvBatch *b)
{
    size_t n = j->t.numel;
    float *v = malloc((size_t)j->l->nets.batch * n * sizeof(*v));
    int clip, k;

    for (int i = 0; i < j->l->nets.batch; i++) {
        find_state(j, b->port[LV_PORT_X] + (size_t)i * n, &clip, &k);
        ck_assert_int_ge(clip, 0);
        stored_velocity(j, clip, k, is_text(j, b, LV_PORT_TEXT, i, -1), v + (size_t)i * n);
    }
    return v;
}

/* Velocity of a network as it is compared: of TEXT, or guided. */
static float *compared(PostJob *j, const LvBatch *b, const LvDit *net, const float *x,
                       const float *t)
{
    double g = j->l->cfg->compare == LV_COMPARE_JOINT ? (double)j->t.guidance : 1;

    return guided(j, net, x, t, b->port[LV_PORT_TEXT], b->port[LV_PORT_OTHER], g);
}

/* A student's own step, guided when velocities are. */
static float *own_step(PostJob *j, const LvBatch *b)
{
    float *u = compared(j, b, &j->l->dit, b->port[LV_PORT_X], b->port[LV_PORT_T]);
    float *y = stepped(j, b, b->port[LV_PORT_X], u);

    free(u);
    return y;
}

/* The student's errors of one micro-batch, at X or behind a step of its own. */
static void micro_sums(PostJob *j, const LvBatch *b, int onpolicy, Sums *s)
{
    const LvLinearize *l = j->l;
    double g     = l->cfg->compare == LV_COMPARE_JOINT ? (double)j->t.guidance : 1;
    double scale = g * g + (1 - g) * (1 - g);
    float *moved = onpolicy ? own_step(j, b) : NULL;
    const float *x = moved ? moved : b->port[LV_PORT_X];
    const float *t = b->port[moved ? LV_PORT_T1 : LV_PORT_T];
    float *a = compared(j, b, &l->dit, x, t);
    float *v = l->cfg->objective == LV_LEARN_MSE ? targets(j, b)
             : compared(j, b, l->nets.teacher, x, t);

    for (int i = 0; i < l->nets.batch; i++)
        add_sums(s, a + (size_t)i * j->t.numel, v + (size_t)i * j->t.numel, j->t.numel,
                 1 / (2.0 * l->cfg->batch) / scale, l->cfg->weight == LV_WEIGHT_NORM,
                 (double)t[i] / 1000);
    free(moved);
    free(a);
    free(v);
}

/* Micro-batch number m of a step. */
static void make_micro(PostJob *j, LvBatch *b, int step, int m)
{
    int micro = j->l->cfg->micro;

    for (int i = 0; i < micro; i++)
        lv_states_make(&j->l->states, b, i, step, m * micro + i);
}

static const char *const objectives[][4] = {
    { "linearize.objective=onpolicy", "linearize.weight=norm" },
    { "linearize.objective=onpolicy", "linearize.weight=unit" },
    { "linearize.objective=onpolicy", "linearize.compare=joint" },
    { "linearize.objective=mse-online", "linearize.weight=norm" },
    { "linearize.objective=mse-online", "linearize.weight=unit" },
    { "linearize.objective=mse-online", "linearize.compare=joint" },
    { "linearize.objective=mse", "linearize.p_negative=0.5" },
};
enum { ONPOLICY = 3, ONLINE = 3 };

/* Losses and errors of two steps, each by the weights that are there. Test number: of
 * objectives. */
START_TEST(losses)
{
    float *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, objectives[_i]);
    post_open_linearize(&j, "run", 1);
    data = post_make_batch(&j, j.l->cfg->objective, &b);
    for (int step = 0; step < 2; step++) {
        Sums s = { 0 };
        for (int m = 0; m < j.l->cfg->batch / j.l->cfg->micro; m++) {
            make_micro(&j, &b, step, m);
            micro_sums(&j, &b, _i < ONPOLICY, &s);
        }
        SUCCEEDS(lv_linearize_step(j.l));
        check_sums(j.l, &s);
    }
    free(data);
    post_end(&j);
}
END_TEST

/* Gates see the gradient of the whole batch. */
START_TEST(gates_get_gradients)
{
    float error[16], *data;
    double want[LV_MAX_LAYERS] = { 0 };
    LvBatch b;
    PostJob j;

    post_begin(&j, objectives[ONLINE]);
    post_open_linearize(&j, "run", 1);
    data = post_make_batch(&j, LV_LEARN_ONLINE, &b);
    for (int m = 0; m < j.l->cfg->batch / j.l->cfg->micro; m++) {
        float *grad;
        make_micro(&j, &b, 0, m);
        grad = post_learn(&j, LV_LEARN_ONLINE, 1, &b, error);
        for (int i = 0; i < j.l->gates.layers; i++)
            want[i] += (double)grad[j.l->mix[i]->at];
        free(grad);
    }
    SUCCEEDS(lv_linearize_step(j.l));
    for (int i = 0; i < j.l->gates.layers; i++)
        close_to(j.l->gates.gate[i].data, want[i], 1e-4, "gradient that a gate sees");
    free(data);
    post_end(&j);
}
END_TEST

/* Where the slots of a micro-batch should be moved to, by the student's guided velocity. */
static float *moved_slots(PostJob *j, int first)
{
    const LvSlot *slot = j->l->states.slot + first;
    int nb = j->l->nets.batch, prompt[16], none[16];
    size_t n = j->t.numel;
    float *x = j->l->states.x + (size_t)first * n, t[16], *text, *other, *u;

    for (int i = 0; i < nb; i++) {
        prompt[i] = slot[i].prompt;
        none[i]   = -1;
        t[i]      = 1000 * j->t.sigma[LV_MAX(slot[i].at, 0)];
    }
    text  = texts(j, prompt, nb);
    other = texts(j, none, nb);
    u     = guided(j, &j->l->dit, x, t, text, other, (double)j->t.guidance);
    for (size_t i = 0; i < (size_t)nb * n; i++) {
        int at = LV_MAX(slot[i / n].at, 0);
        u[i] = (float)((double)x[i] + ((double)j->t.sigma[at + 1] -
                       (double)j->t.sigma[at]) * (double)u[i]);
    }
    free(text);
    free(other);
    return u;
}

/* Streams go on by the student's guided velocity. */
START_TEST(streams)
{
    static const char *const more[] = { "linearize.states=stream", NULL };
    int looked_at = 0, nb, batch;
    LvSlot before[64];
    float *want[64];
    size_t n;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    nb    = j.l->nets.batch;
    n     = j.t.numel;
    batch = j.l->cfg->batch;
    for (int step = 0; step < 6; step++) {
        memcpy(before, j.l->states.slot, (size_t)batch * sizeof(*before));
        for (int i = 0; i < batch / nb; i++)
            want[i] = moved_slots(&j, i * nb);
        SUCCEEDS(lv_linearize_step(j.l));
        for (int i = 0; i < batch; i++) {
            const LvSlot *slot = &j.l->states.slot[i];
            if (before[i].at < 0 || slot->at != before[i].at + 1)
                continue;
            near(j.l->states.x + (size_t)i * n, want[i / nb] + (size_t)(i % nb) * n, n, 1e-4,
                 "state of a stream");
            ck_assert_int_eq(slot->prompt, before[i].prompt);
            looked_at++;
        }
        for (int i = 0; i < batch / nb; i++)
            free(want[i]);
    }
    ck_assert_int_gt(looked_at, 5);
    post_end(&j);
}
END_TEST

/* Error when layer i alone is linear, over the first 64 items. */
static double alone(PostJob *j, LvBatch *b, int layer)
{
    double e = 0, p = 0;

    for (int i = 0; i < j->l->gates.layers; i++) {
        float r = i != layer;
        SUCCEEDS(lv_param_put(j->l->trainer->params, LV_SLAB_VALUE, j->l->mix[i], &r));
    }
    for (int m = 0; m < 64 / j->l->cfg->micro; m++) {
        Sums s = { 0 };
        make_micro(j, b, 0, m);
        micro_sums(j, b, 0, &s);
        for (int i = 0; i < LV_TIME_BINS; i++) {
            e += s.error[i];
            p += s.power[i];
        }
    }
    return e / p;
}

/* Sensitivity is the error of a layer alone; greedy takes the least. */
START_TEST(sensitivity)
{
    static const char *const more[] = { "linearize.objective=mse-online",
                                        "linearize.select=greedy", NULL };
    double out[LV_MAX_LAYERS], want[LV_MAX_LAYERS];
    float *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    SUCCEEDS(lv_linearize_sensitivity(j.l, out));
    memset(j.l->dit.cfg.attention, LV_ATTN_MIXED, LV_MAX_LAYERS);
    data = post_make_batch(&j, LV_LEARN_ONLINE, &b);
    for (int i = 0; i < j.l->gates.layers; i++) {
        want[i] = alone(&j, &b, i);
        close_to(out[i], want[i], 1e-3, "sensitivity");
    }
    ck_assert_int_eq(j.l->gates.layers, 2);
    ck_assert(fabs(want[0] - want[1]) > 0.02 * (want[0] + want[1]));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq((int)j.l->gates.gate[i].kind,
                         want[i] < want[!i] ? LV_ATTN_LINEAR : LV_ATTN_SOFTMAX);
    free(data);
    post_end(&j);
}
END_TEST

/* The optimizer's settings reach the tensors they are for */

static float *slab(const PostJob *j, int which)
{
    const LvParams *p = j->l->trainer->params;
    float *v = malloc(p->size * sizeof(*v));

    SUCCEEDS(lv_params_download(p, which, v));
    return v;
}

static double largest_change(const LvParam *p, const float *a, const float *b)
{
    double top = 0;

    for (size_t i = 0; i < p->numel; i++)
        top = fmax(top, fabs((double)a[p->at + i] - (double)b[p->at + i]));
    return top;
}

/* The first step of AdamW without decay is as long as the rate. */
START_TEST(rates)
{
    static const char *const more[] = {
        "linearize.lr=1e-3", "linearize.lr_map=4e-3", "linearize.weight_decay=0",
        "linearize.warmup=0", "linearize.objective=mse-online", NULL };
    float *before, *after;
    double map = 0, rest = 0;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    before = slab(&j, LV_SLAB_VALUE);
    SUCCEEDS(lv_linearize_step(j.l));
    after = slab(&j, LV_SLAB_VALUE);
    for (int i = 0; i < j.l->trainer->params->nb; i++) {
        const LvParam *p = &j.l->trainer->params->list[i];
        double d = largest_change(p, before, after);
        if (p->flags & LV_W_MAP)
            map = fmax(map, d);
        else if (!(p->flags & LV_W_GATE))
            rest = fmax(rest, d);
    }
    close_to(map, 4e-3, 0.02, "change of a map");
    close_to(rest, 1e-3, 0.02, "change of the other weights");
    free(before);
    free(after);
    post_end(&j);
}
END_TEST

/* Values after one step of a run with some decay. */
static float *decayed(PostJob *j, const char *decay)
{
    const char *more[] = { decay, "linearize.warmup=0", "linearize.objective=mse-online",
                           NULL };
    float *v;

    post_begin(j, more);
    post_open_linearize(j, "run", 1);
    SUCCEEDS(lv_linearize_step(j->l));
    v = slab(j, LV_SLAB_VALUE);
    return v;
}

/* Decay is for matrices alone: rate times decay times the value. */
START_TEST(decay)
{
    float *with, *without, *before;
    const LvParams *p;
    int nb = 0;
    PostJob j;

    without = decayed(&j, "linearize.weight_decay=0");
    post_end(&j);
    with = decayed(&j, "linearize.weight_decay=0.5");
    p    = j.l->trainer->params;
    lv_linearize_close(&j.l);
    post_open_linearize(&j, "run", 1);
    p      = j.l->trainer->params;
    before = slab(&j, LV_SLAB_VALUE);
    for (int i = 0; i < p->nb; i++) {
        const LvParam *t = &p->list[i];
        size_t at = t->at;
        if (t->flags & LV_W_GATE)
            continue;
        if (!(t->flags & LV_W_DECAY)) {
            ck_assert_msg(!memcmp(with + at, without + at, t->numel * sizeof(float)), "%s",
                          t->name);
            continue;
        }
        for (size_t k = at; k < at + t->numel; k++)
            ck_assert_double_eq_tol((double)with[k] - (double)without[k],
                                    -1e-3 * 0.5 * (double)before[k],
                                    1e-6 + 1e-3 * fabs((double)before[k]) * 0.01);
        nb++;
    }
    ck_assert_int_gt(nb, 4);
    free(with);
    free(without);
    free(before);
    post_end(&j);
}
END_TEST

/* What is written is the average, not the last value. */
START_TEST(export_is_averaged)
{
    static const char *const more[] = { "linearize.select=first", "linearize.steps=8",
                                        "linearize.lr=2e-2", NULL };
    const LvFileTensor *f;
    const LvParam *p;
    float *ema, *value;
    LvSafetensors *st;
    size_t same = 0;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    for (int i = 0; i < 8; i++)
        SUCCEEDS(lv_linearize_step(j.l));
    SUCCEEDS(lv_linearize_export(j.l, post_in_folder("out")));
    ema   = slab(&j, LV_SLAB_EMA);
    value = slab(&j, LV_SLAB_VALUE);
    p     = lv_params_find(j.l->trainer->params, "dit.blocks.1.ffn.0.weight");
    SUCCEEDS(lv_safetensors_open(&st, post_in_folder("out"), &post_msg));
    f = lv_safetensors_find(st, p->name);
    ck_assert(f && f->dtype == LV_F16 && f->numel == p->numel);
    for (size_t i = 0; i < p->numel; i++) {
        uint16_t h;
        memcpy(&h, (const char *)f->data + 2 * i, 2);
        ck_assert_uint_eq(h, lv_f32_f16(ema[p->at + i]));
        same += h == lv_f32_f16(value[p->at + i]);
    }
    ck_assert_uint_lt(same, p->numel / 2);
    lv_safetensors_close(&st);
    free(ema);
    free(value);
    post_end(&j);
}
END_TEST

/* Distribution matching */

/* Clips x0 [batch,numel] and how they are compared. */
typedef struct Match {
    float *x, *x0, *z, *f, *c;
    float *t, *t1;            /* times 1000: of x, of z */
    double size[16];
} Match;

static void match_free(Match *m)
{
    free(m->x);
    free(m->x0);
    free(m->z);
    free(m->f);
    free(m->c);
    free(m->t);
    free(m->t1);
}

/* (1 - t) x + t noise, t [batch] times 1000 */
static float *noised(const float *x, const float *noise, const float *t, int nb, size_t n)
{
    float *z = malloc((size_t)nb * n * sizeof(*z));

    for (size_t i = 0; i < (size_t)nb * n; i++) {
        double tau = (double)t[i / n] / 1000;
        z[i] = (float)((1 - tau) * (double)x[i] + tau * (double)noise[i]);
    }
    return z;
}

/* x - t u(x): the clip that a network sees in a state. */
static float *clip_of(PostJob *j, const LvDit *net, const float *x, const float *t,
                      const float *text)
{
    size_t n = j->t.numel, all = (size_t)j->l->nets.batch * n;
    float *u = post_velocity(j, net, x, t, text);

    for (size_t i = 0; i < all; i++)
        u[i] = (float)((double)x[i] - (double)t[i / n] / 1000 * (double)u[i]);
    return u;
}

/* Critic against the guided teacher where noise was put into the student's clips; x, t and
 * t1 are there. */
static void match(PostJob *j, Match *m, const LvDit *student, const LvDit *critic,
                  const float *noise, const float *text, const float *other)
{
    const LvDit *teacher = &j->teacher->dit;
    size_t n = j->t.numel;
    int nb   = j->l->nets.batch;

    m->x0 = clip_of(j, student, m->x, m->t, text);
    m->z  = noised(m->x0, noise, m->t1, nb, n);
    m->f  = post_velocity(j, critic, m->z, m->t1, text);
    m->c  = guided(j, teacher, m->z, m->t1, text, other,
                   (double)j->recipe.distill.guidance);
    for (int i = 0; i < nb; i++) {
        m->size[i] = 0;
        for (size_t k = (size_t)i * n; k < (size_t)(i + 1) * n; k++)
            m->size[i] += fabs((double)m->x0[k] - ((double)m->z[k] - (double)m->t1[i] / 1000 *
                               (double)m->c[k])) / (double)n;
    }
}

static double mean_square(const float *a, const float *b, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (b ? (double)b[i] : 0);
        s += d * d / (double)n;
    }
    return s;
}

/* Numbers of a step of distribution matching; grad: what the seeds make of the student's
 * velocities, S = sum seed u. */
typedef struct Matched {
    double loss, error, power;
} Matched;

static void add_matched(const PostJob *j, const Match *m, int batch, Matched *out)
{
    size_t n = j->t.numel;

    for (int i = 0; i < j->l->nets.batch; i++) {
        size_t at = (size_t)i * n;
        double e = mean_square(m->f + at, m->c + at, n);
        double w = (double)m->t[i] * (double)m->t1[i] / 1e6 / 2 / batch;
        out->loss  += w * e / m->size[i];
        out->error += e;
        out->power += mean_square(m->c + at, NULL, n);
    }
}

static double tau_of(const LvDistillConfig *c, double u)
{
    double shift = (double)c->shift, tau = shift * u / (1 + (shift - 1) * u);

    return fmax((double)c->t_min, fmin((double)c->t_max, tau));
}

/* A network's head with a constant more, so that it is another than the teacher's. */
static void shift_head(LvParams *p, float delta)
{
    const LvParam *t = lv_params_find(p, "dit.head.head.bias");
    float *v = malloc(t->numel * sizeof(*v));

    SUCCEEDS(lv_param_get(p, LV_SLAB_VALUE, t, v));
    for (size_t i = 0; i < t->numel; i++)
        v[i] += delta * (float)(1 + (int)(i % 3));
    SUCCEEDS(lv_param_put(p, LV_SLAB_VALUE, t, v));
    free(v);
}

static const char *const distill_ways[] = {
    "linearize.micro=2", "distill.micro=2", "distill.batch=4", "fake.ratio=1",
    "distill.guidance=2.5", NULL };

static void open_distill(PostJob *j)
{
    LvDistillFiles f;

    post_begin(j, distill_ways);
    post_open_linearize(j, "run", 1);
    f = (LvDistillFiles) { .recipe = &j->recipe, .student = j->teacher,
                           .teacher = j->teacher, .t = &j->t,
                           .run = post_in_folder("four") };
    SUCCEEDS(lv_distill_create(&f));
    SUCCEEDS(lv_distill_open(&j->d, &f, 0, LV_F32, 1));
    shift_head(j->d->trainer->params, 0.1f);
    shift_head(j->d->critic->trainer->params, -0.15f);
}

/* Items of a micro-batch: what the data of distillation are drawn from. */
typedef struct Items {
    float *x, *noise, *text, *other, *again[3], *t1;
    int nb;
} Items;

static Items items_of(const PostJob *j, int step, int first)
{
    size_t n      = j->t.numel;
    uint64_t seed = j->d->optim.seed;
    int nb        = j->l->nets.batch, prompt[16], none[16];
    Items it = { .nb = nb, .x = malloc((size_t)nb * n * 4),
                 .noise = malloc((size_t)nb * n * 4), .t1 = malloc((size_t)nb * 4) };

    for (int k = 0; k < 3; k++)
        it.again[k] = malloc((size_t)nb * n * 4);
    for (int i = 0; i < nb; i++) {
        size_t at = (size_t)i * n;
        double u[4];
        lv_uniform4(u, seed, lv_stream(LV_STREAM_SCORE, step, first + i));
        it.t1[i]  = (float)(1000 * (double)(float)tau_of(j->d->cfg, u[0]));
        prompt[i] = (int)(u[1] * j->t.prompts);
        none[i]   = -1;
        lv_philox_normal(it.x + at, n, seed, lv_stream(LV_STREAM_STATE, step, first + i));
        lv_philox_normal(it.noise + at, n, seed, lv_stream(LV_STREAM_NOISE, step, first + i));
        for (int k = 0; k < 3; k++)
            lv_philox_normal(it.again[k] + at, n, seed + 1 + (uint64_t)k,
                             lv_stream(LV_STREAM_RENOISE, step, first + i));
    }
    it.text  = texts(j, prompt, nb);
    it.other = texts(j, none, nb);
    return it;
}

static void items_free(Items *it)
{
    free(it->x);
    free(it->noise);
    free(it->t1);
    free(it->text);
    free(it->other);
    for (int k = 0; k < 3; k++)
        free(it->again[k]);
}

/* The state that `steps` steps of the few-step sampler lead to from x: each sees a clip and
 * puts noise in for the next time; last: the clip itself. */
static float *rollout(PostJob *j, const Items *it, int steps, int last)
{
    size_t n = j->t.numel, all = (size_t)it->nb * n;
    float *x = malloc(all * sizeof(*x));

    memcpy(x, it->x, all * sizeof(*x));
    for (int k = 0; k < steps; k++) {
        float *t = fill((size_t)it->nb, 1000 * (double)j->d->sigma[k]);
        float *next = fill((size_t)it->nb, 1000 * (double)j->d->sigma[k + 1]);
        float *x0 = clip_of(j, &j->d->dit, x, t, it->text);
        free(x);
        x = last && k + 1 == steps ? memcpy(malloc(all * sizeof(*x)), x0, all * sizeof(*x))
                                   : noised(x0, it->again[k], next, it->nb, n);
        free(x0);
        free(t);
        free(next);
    }
    return x;
}

/* Sum of w |u_F(z) - (noise - x0)|^2 over a step's clips. */
static double critic_loss(PostJob *j, int step, int stop)
{
    size_t n = j->t.numel;
    double sum = 0;

    for (int i = 0; i < j->d->cfg->batch; i += j->l->nets.batch) {
        Items it  = items_of(j, step, j->d->cfg->batch + i);
        float *x0 = rollout(j, &it, stop, 1);
        float *z  = noised(x0, it.noise, it.t1, it.nb, n);
        float *u  = post_velocity(j, &j->d->critic->dit, z, it.t1, it.text);
        for (size_t k = 0; k < (size_t)it.nb * n; k++)
            x0[k] = it.noise[k] - x0[k];
        for (int k = 0; k < it.nb; k++)
            sum += mean_square(u + (size_t)k * n, x0 + (size_t)k * n, n) / j->d->cfg->batch;
        free(x0);
        free(z);
        free(u);
        items_free(&it);
    }
    return sum;
}

/* What the student's step reports, by hand. */
static Matched student_numbers(PostJob *j, int step, int stop)
{
    Matched out = { 0 };

    for (int i = 0; i < j->d->cfg->batch; i += j->l->nets.batch) {
        Items it = items_of(j, step, i);
        Match m  = { .x = rollout(j, &it, stop - 1, 0),
                     .t = fill((size_t)it.nb, 1000 * (double)j->d->sigma[stop - 1]),
                     .t1 = memcpy(malloc((size_t)it.nb * 4), it.t1, (size_t)it.nb * 4) };
        match(j, &m, &j->d->dit, &j->d->critic->dit, it.noise, it.text, it.other);
        add_matched(j, &m, j->d->cfg->batch, &out);
        match_free(&m);
        items_free(&it);
    }
    return out;
}

static int stop_of(const PostJob *j, int step, int group)
{
    double u[4];

    lv_uniform4(u, j->d->optim.seed, lv_stream(LV_STREAM_ORDER, step, group));
    return 1 + (int)(u[0] * 4);
}

/* Losses and errors of steps of distillation, each from noise to its end. */
START_TEST(distillation_losses)
{
    int stops = 0;
    PostJob j;

    open_distill(&j);
    ck_assert_int_eq(j.d->steps, 4);
    for (int step = 0; step < 5; step++) {
        Matched want  = student_numbers(&j, step, stop_of(&j, step, 0));
        double critic = critic_loss(&j, step, stop_of(&j, step, 1));
        SUCCEEDS(lv_distill_step(j.d));
        ck_assert_int_eq(j.d->stop, stop_of(&j, step, 0));
        close_to(j.d->loss, want.loss, 2e-4, "loss of the student");
        close_to(j.d->error, want.error / want.power, 2e-4, "error of the critic");
        close_to(j.d->critic_loss, critic, 2e-4, "loss of the critic");
        stops |= 1 << j.d->stop;
    }
    ck_assert_int_ge(__builtin_popcount((unsigned)stops), 2);
    post_end(&j);
}
END_TEST

/* sum seed u_S over a step's items, u_S at the parameters as they are and all else as it
 * was: its slope is the gradient of DMD2. */
static double dmd_surrogate(PostJob *j, Match *m, const Items *it, int nb)
{
    size_t n = j->t.numel;
    double sum = 0;

    for (int b = 0; b < nb; b++) {
        float *u = post_velocity(j, &j->d->dit, m[b].x, m[b].t, it[b].text);
        for (size_t i = 0; i < (size_t)it[b].nb * n; i++) {
            int row  = (int)(i / n);
            double w = (double)m[b].t[row] * (double)m[b].t1[row] / 1e6 / 2 / j->d->cfg->batch;
            sum += w * 2 * ((double)m[b].f[i] - (double)m[b].c[i]) / (double)n /
                   m[b].size[row] * (double)u[i];
        }
        free(u);
    }
    return sum;
}

static void walk(const LvParams *p, const float *from, const float *dir, double h)
{
    float *v = malloc(p->size * sizeof(*v));

    for (size_t i = 0; i < p->size; i++)
        v[i] = (float)((double)from[i] + h * (double)dir[i]);
    SUCCEEDS(lv_params_upload((LvParams *)p, LV_SLAB_VALUE, v));
    free(v);
}

static float *download(const LvParams *p, int which, double *norm)
{
    float *v = malloc(p->size * sizeof(*v));

    SUCCEEDS(lv_params_download(p, which, v));
    *norm = 0;
    for (size_t i = 0; i < p->size; i++)
        *norm += (double)v[i] * (double)v[i];
    *norm = sqrt(*norm);
    return v;
}

/* The gradients of the student and of the critic, along themselves. */
START_TEST(distillation_gradients)
{
    enum { MICROS = 2 };
    const double h = 2e-4;
    float *value[2], *grad[2];
    double norm[2], at[2], none;
    const LvParams *p[2];
    Items it[MICROS];
    Match m[MICROS];
    PostJob j;
    int stop;

    open_distill(&j);
    stop = stop_of(&j, 0, 0);
    p[0] = j.d->trainer->params;
    p[1] = j.d->critic->trainer->params;
    for (int i = 0; i < MICROS; i++) {
        it[i] = items_of(&j, 0, i * j.l->nets.batch);
        m[i]  = (Match) { .x = rollout(&j, &it[i], stop - 1, 0),
                          .t = fill((size_t)it[i].nb, 1000 * (double)j.d->sigma[stop - 1]),
                          .t1 = memcpy(malloc((size_t)it[i].nb * 4), it[i].t1,
                                       (size_t)it[i].nb * 4) };
        match(&j, &m[i], &j.d->dit, &j.d->critic->dit, it[i].noise, it[i].text, it[i].other);
    }
    for (int k = 0; k < 2; k++)
        value[k] = download(p[k], LV_SLAB_VALUE, &none);
    SUCCEEDS(lv_distill_step(j.d));
    for (int k = 0; k < 2; k++) {
        grad[k] = download(p[k], LV_SLAB_GRAD, &norm[k]);
        walk(p[k], value[k], grad[k], 0);
    }
    for (int s = 0; s < 2; s++) {
        walk(p[0], value[0], grad[0], (s ? h : -h) / norm[0]);
        at[s] = dmd_surrogate(&j, m, it, MICROS);
    }
    close_to(norm[0], (at[1] - at[0]) / (2 * h), 2e-2, "gradient of the student");
    walk(p[0], value[0], grad[0], 0);
    for (int s = 0; s < 2; s++) {
        walk(p[1], value[1], grad[1], (s ? h : -h) / norm[1]);
        at[s] = critic_loss(&j, 0, stop_of(&j, 0, 1));
    }
    close_to(norm[1], (at[1] - at[0]) / (2 * h), 2e-2, "gradient of the critic");
    for (int i = 0; i < MICROS; i++) {
        match_free(&m[i]);
        items_free(&it[i]);
    }
    for (int k = 0; k < 2; k++) {
        free(value[k]);
        free(grad[k]);
    }
    post_end(&j);
}
END_TEST

/* A step against its gradient: what AdamW makes of it goes down. */
START_TEST(distillation_descends)
{
    float *before, *after, *grad;
    double none, along = 0;
    const LvParams *p;
    PostJob j;

    open_distill(&j);
    p      = j.d->trainer->params;
    before = download(p, LV_SLAB_VALUE, &none);
    SUCCEEDS(lv_distill_step(j.d));
    after = download(p, LV_SLAB_VALUE, &none);
    grad  = download(p, LV_SLAB_GRAD, &none);
    for (size_t i = 0; i < p->size; i++)
        along += ((double)after[i] - (double)before[i]) * (double)grad[i];
    ck_assert_double_lt(along, 0);
    free(before);
    free(after);
    free(grad);
    post_end(&j);
}
END_TEST

/* Distribution matching inside selective transfer reports the same. */
START_TEST(transfer_by_dmd)
{
    static const char *const more[] = { "linearize.objective=dmd", "linearize.micro=2",
                                        "linearize.batch=4", "fake.ratio=1",
                                        "distill.guidance=2.5", NULL };
    Matched want = { 0 };
    double error = 0;
    float *data;
    LvBatch b;
    PostJob j;

    post_begin(&j, more);
    post_open_linearize(&j, "run", 1);
    shift_head(j.l->critic->trainer->params, -0.15f);
    data = post_make_batch(&j, LV_LEARN_DMD, &b);
    for (int m = 0; m < 2; m++) {
        Match k;
        double u[4];
        make_micro(&j, &b, 0, m);
        for (int i = 0; i < 2; i++) {
            lv_uniform4(u, j.l->states.seed, lv_stream(LV_STREAM_SCORE, 0, 2 * m + i));
            close_to((double)b.port[LV_PORT_T1][i], 1000 * tau_of(&j.recipe.distill, u[0]),
                     1e-5, "time of the comparison");
            ck_assert(!is_text(&j, &b, LV_PORT_TEXT, i, -1));
            ck_assert(is_text(&j, &b, LV_PORT_OTHER, i, -1));
        }
        k = (Match) { .x = memcpy(malloc(2 * j.t.numel * 4), b.port[LV_PORT_X],
                                  2 * j.t.numel * 4),
                      .t = memcpy(malloc(8), b.port[LV_PORT_T], 8),
                      .t1 = memcpy(malloc(8), b.port[LV_PORT_T1], 8) };
        match(&j, &k, &j.l->dit, &j.l->critic->dit, b.port[LV_PORT_NOISE],
              b.port[LV_PORT_TEXT], b.port[LV_PORT_OTHER]);
        add_matched(&j, &k, j.l->cfg->batch, &want);
        match_free(&k);
    }
    SUCCEEDS(lv_linearize_step(j.l));
    for (int i = 0; i < LV_TIME_BINS; i++)
        error += j.l->error[i];
    close_to(j.l->loss, want.loss, 3e-3, "loss");
    close_to(error, want.error, 3e-3, "error");
    free(data);
    post_end(&j);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wiring");
    TCase *gates = tcase_create("gates"), *run = tcase_create("run");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(gates, gate_gradient, 0, 2);
    suite_add_tcase(suite, gates);
    tcase_add_unchecked_fixture(run, post_make_timed_folder, post_remove_folder);
    tcase_set_timeout(run, 120);
    tcase_add_loop_test(run, samples, 0, 3);
    tcase_add_test(run, trajectory_contents);
    tcase_add_test(run, prompt_features);
    tcase_add_loop_test(run, losses, 0, LV_COUNT(objectives));
    tcase_add_test(run, gates_get_gradients);
    tcase_add_test(run, streams);
    tcase_add_test(run, sensitivity);
    tcase_add_test(run, rates);
    tcase_add_test(run, decay);
    tcase_add_test(run, export_is_averaged);
    tcase_add_test(run, distillation_losses);
    tcase_add_test(run, distillation_gradients);
    tcase_add_test(run, distillation_descends);
    tcase_add_test(run, transfer_by_dmd);
    suite_add_tcase(suite, run);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
