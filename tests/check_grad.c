/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of the references themselves: every backward op of ops_ref_grad.c against
 * central differences of the op it is the gradient of, all in f64, over the shapes of
 * the list of cases.
 */

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "tests/ops_grad.h"
#include "tests/ops_ref.h"
#include "tests/ops_table.h"

#define TOLERANCE  1e-6
#define STEP       1e-6
#define DIRECTIONS 4

/* A backward op at one point. The scalar is S = sum dy y. */
typedef struct Problem {
    const OpsGrad *g;
    LvOpArgs a, f;                 ///< backward and forward
    double *x[LV_OP_MAX_TENSORS];  ///< inputs of the forward op
    double *in[LV_OP_MAX_TENSORS]; ///< inputs of the backward op
    double *grad[OPS_MAX_OUT];     ///< what it gives
    uint64_t seed;
} Problem;

static double uniform(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*s >> 12) + 0.5) * 0x1p-52;
}

static double normal(uint64_t *s)
{
    double r = sqrt(-2 * log(uniform(s)));

    return r * cos(2 * M_PI * uniform(s));
}

static double *normals(size_t n, uint64_t *s)
{
    double *p = calloc(n + 1, sizeof(*p));

    for (size_t i = 0; i < n; i++)
        p[i] = normal(s);
    return p;
}

static void free_all(double **p, int n)
{
    for (int i = 0; i < n; i++)
        free(p[i]);
}

/* Outputs of op; free them. */
static void run(int op, const LvOpArgs *a, double **in, double **out)
{
    const LvOpInfo *info = lv_op_info(op);

    memset(out, 0, OPS_MAX_OUT * sizeof(*out));
    for (int i = 0; i < info->out; i++)
        if (lv_has(&a->t[info->in + i]))
            out[i] = calloc(ops_numel(&a->t[info->in + i]), sizeof(**out));
    ops_ref_f64(op, a, in, out);
}

static double scalar(const Problem *p)
{
    double *out[OPS_MAX_OUT], s = 0;
    const double *dy = p->in[p->g->dy];

    run(p->g->of, &p->f, (double **)p->x, out);
    for (size_t i = 0; i < ops_numel(&p->a.t[p->g->dy]); i++)
        s += dy[i] * out[0][i];
    free_all(out, OPS_MAX_OUT);
    return s;
}

/* Values of the case's inputs. */
static void load(Problem *p, const OpsCase *c)
{
    const LvOpInfo *info = lv_op_info(c->op);

    ops_case_args(c, &p->a);
    for (int t = 0; t < info->in + info->out; t++)
        if (ops_given(c, &p->a, t))
            p->a.t[t].data = calloc(ops_numel(&p->a.t[t]), ops_elem(p->a.t[t].dtype));
    ops_case_fill(c, &p->a);
    for (int t = 0; t < info->in + info->out; t++) {
        p->in[t] = t < info->in ? ops_f64(&p->a.t[t]) : NULL;
        free(p->a.t[t].data);
    }
}

/* Parameters that are absent, but whose gradient is wanted: ones, or zeros. */
static void add_parameters(Problem *p)
{
    const OpsGrad *g = p->g;

    for (int i = 0; i < lv_op_info(g->op)->out; i++) {
        const LvTensor *d = &p->a.t[lv_op_info(g->op)->in + i];
        int t = g->to[i] - '0';
        if (!lv_has(d) || lv_has(&p->f.t[t]))
            continue;
        p->f.t[t] = *d;
        p->x[t]   = calloc(ops_numel(d), sizeof(double));
        for (size_t k = 0; k < ops_numel(d) && ops_role(g->of, t) == 'g'; k++)
            p->x[t][k] = 1;
    }
}

/* Inputs of the forward op, and its results to those of the backward op. */
static void go_forward(Problem *p)
{
    const OpsGrad *g = p->g;
    const LvOpInfo *info = lv_op_info(g->of);
    double *out[OPS_MAX_OUT];

    ops_grad_forward(g, &p->a, &p->f);
    for (int t = 0; t < info->in; t++) {
        int at = g->place[t] - '0', known = at < lv_op_info(g->op)->in && at != g->dy;
        if (!lv_has(&p->f.t[t]))
            continue;
        p->x[t] = normals(ops_numel(&p->f.t[t]), &p->seed);
        if (known)
            memcpy(p->x[t], p->in[at], ops_numel(&p->f.t[t]) * sizeof(double));
    }
    add_parameters(p);
    run(g->of, &p->f, p->x, out);
    for (int i = 0; i < info->out; i++) {
        int at = g->place[info->in + i] - '0';
        if (out[i] && at != g->dy && at < lv_op_info(g->op)->in)
            memcpy(p->in[at], out[i], ops_numel(&p->a.t[at]) * sizeof(double));
    }
    free_all(out, OPS_MAX_OUT);
}

static void open_problem(Problem *p, const OpsCase *c)
{
    *p = (Problem) { .g = ops_grad(c->op), .seed = c->seed + 1 };
    load(p, c);
    go_forward(p);
    run(c->op, &p->a, p->in, p->grad);
}

static void close_problem(Problem *p)
{
    free_all(p->x, LV_OP_MAX_TENSORS);
    free_all(p->in, LV_OP_MAX_TENSORS);
    free_all(p->grad, OPS_MAX_OUT);
}

/* dS / dh for x + h d, d being as long as input t. */
static double slope(Problem *p, int t, const double *d)
{
    size_t n = ops_numel(&p->f.t[t]);
    double *x = p->x[t], *moved = calloc(n, sizeof(*moved)), s[2];

    p->x[t] = moved;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++)
            moved[i] = x[i] + (side ? STEP : -STEP) * d[i];
        s[side] = scalar(p);
    }
    p->x[t] = x;
    free(moved);
    return (s[1] - s[0]) / (2 * STEP);
}

/* Largest error of output i over random directions, which reach all elements: as a
 * part of what the gradient's length makes likely for the slope. */
static double error_of(Problem *p, int i)
{
    int t = p->g->to[i] - '0';
    size_t n = ops_numel(&p->f.t[t]);
    double worst = 0;

    for (int k = 0; k < DIRECTIONS; k++) {
        double *d = normals(n, &p->seed), want = 0, norm = 0, e;
        for (size_t j = 0; j < n; j++) {
            want += p->grad[i][j] * d[j];
            norm += p->grad[i][j] * p->grad[i][j];
        }
        e = fabs(slope(p, t, d) - want);
        worst = fmax(worst, e > 0 ? e / sqrt(norm) : 0);
        free(d);
    }
    return worst;
}

static double largest_error(Problem *p)
{
    double worst = 0;

    for (int i = 0; i < lv_op_info(p->g->op)->out; i++)
        if (p->grad[i])
            worst = fmax(worst, error_of(p, i));
    return worst;
}

/* The first case of each row of a backward op; others differ in types and kinds. */
static int is_problem(const OpsCase *c)
{
    return ops_grad(c->op) && c->kind == 'n' && !(c->flags & OPS_NO_X);
}

/* Test number: row. */
START_TEST(differences)
{
    OpsCase c = ops_case(ops_row_start(_i));
    char text[512];
    Problem p;

    if (!is_problem(&c))
        return;
    open_problem(&p, &c);
    for (int i = 0; i < lv_op_info(c.op)->out; i++)
        if (p.grad[i]) {
            double e = error_of(&p, i);
            ck_assert_msg(e <= TOLERANCE, "%s: gradient %d is wrong by %.3g",
                          ops_case_text(text, sizeof(text), &c), i, e);
        }
    close_problem(&p);
}
END_TEST

START_TEST(every_gradient)
{
    int seen[LV_OP_NB][OPS_MAX_OUT] = { { 0 } };

    for (int row = 0; row < ops_row_count(); row++) {
        OpsCase c = ops_case(ops_row_start(row));
        LvOpArgs a;
        ops_case_args(&c, &a);
        for (int i = 0; is_problem(&c) && i < lv_op_info(c.op)->out; i++)
            seen[c.op][i] += lv_has(&a.t[lv_op_info(c.op)->in + i]);
    }
    for (int k = 0; k < ops_grad_count(); k++)
        for (int op = ops_grad_at(k)->op, i = 0; i < lv_op_info(op)->out; i++)
            ck_assert_msg(seen[op][i] >= 2, "gradient %d of %s has %d cases", i,
                          lv_op_info(op)->name, seen[op][i]);
}
END_TEST

static size_t largest_at(const double *v, size_t n)
{
    size_t at = 0;

    for (size_t i = 1; i < n; i++)
        at = fabs(v[i]) > fabs(v[at]) ? i : at;
    return at;
}

/* One element of one gradient with the wrong sign, for every gradient. */
START_TEST(wrong_sign)
{
    OpsCase c = ops_case(ops_row_start(_i));
    Problem p;

    if (!is_problem(&c))
        return;
    open_problem(&p, &c);
    for (int i = 0; i < lv_op_info(c.op)->out; i++)
        if (p.grad[i]) {
            size_t n = ops_numel(&p.a.t[lv_op_info(c.op)->in + i]);
            double *v = p.grad[i] + largest_at(p.grad[i], n);
            *v = -*v;
            ck_assert_msg(*v == 0 || error_of(&p, i) > 100 * TOLERANCE,
                          "%s: a wrong sign in gradient %d is not found",
                          lv_op_info(c.op)->name, i);
            *v = -*v;
        }
    close_problem(&p);
}
END_TEST

/* A result of the forward op that is off by a thousandth: the gradient uses it. */
START_TEST(wrong_results)
{
    static const struct {
        int op, t;
    } used[] = {
        { LV_OP_NORM_DX, 4 }, { LV_OP_NORM_DX, 5 }, { LV_OP_QKNORM_DX, 3 },
        { LV_OP_ATTN_DX, 5 }, { LV_OP_ATTN_DX, 6 }, { LV_OP_LINATTN_DX, 5 },
        { LV_OP_LINATTN_DX, 6 }, { LV_OP_LINATTN_DX, 7 },
    };
    int row = 0;
    OpsCase c;
    Problem p;

    while (c = ops_case(ops_row_start(row)), c.op != used[_i].op)
        row++;
    c = ops_case(ops_row_start(row + 4)); /* the first ones are of size 1 */
    ck_assert_int_eq(c.op, used[_i].op);
    open_problem(&p, &c);
    for (size_t i = 0; i < ops_numel(&p.a.t[used[_i].t]); i++)
        p.in[used[_i].t][i] *= 1.001;
    free_all(p.grad, OPS_MAX_OUT);
    run(c.op, &p.a, p.in, p.grad);
    ck_assert_double_gt(largest_error(&p), 10 * TOLERANCE);
    close_problem(&p);
}
END_TEST

static double total_loss(const LvOpArgs *a, double **in)
{
    double *out[OPS_MAX_OUT], s = 0;

    run(LV_OP_LOSS, a, in, out);
    for (int b = 0; b < a->loss.weight.dim[0]; b++)
        s += out[0][b];
    free_all(out, OPS_MAX_OUT);
    return s;
}

/* The op that gives a gradient along with its result. Test number: kind. */
START_TEST(loss)
{
    OpsCase c  = { .op = LV_OP_LOSS, .type = "fff", .kind = 'n', .n = { 3, 5, 7, _i } };
    uint64_t s = 7;
    double *in[4] = { 0 }, *out[OPS_MAX_OUT], *d = normals(105, &s), *x, *moved, want = 0, got;
    LvOpArgs a;

    ops_case_args(&c, &a);
    in[0] = x = normals(105, &s);
    in[1] = normals(105, &s);
    in[2] = normals(3, &s);
    moved = normals(105, &s);
    run(LV_OP_LOSS, &a, in, out);
    for (int i = 0; i < 105; i++) {
        want += out[1][i] * d[i];
        moved[i] = x[i] + STEP * d[i];
    }
    in[0] = moved;
    got   = total_loss(&a, in);
    for (int i = 0; i < 105; i++)
        moved[i] = x[i] - STEP * d[i];
    got = (got - total_loss(&a, in)) / (2 * STEP);
    ck_assert_double_le(fabs(got - want), TOLERANCE * fabs(want));
    free_all(in, 3);
    free_all(out, OPS_MAX_OUT);
    free(x);
    free(d);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grad");
    TCase *t = tcase_create("differences");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, differences, 0, ops_row_count());
    tcase_add_test(t, every_gradient);
    tcase_add_loop_test(t, wrong_sign, 0, ops_row_count());
    tcase_add_loop_test(t, wrong_results, 0, 8);
    tcase_add_loop_test(t, loss, 0, LV_LOSS_NB);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
