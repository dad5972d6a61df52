/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of floor F2: every op of every set of leaves against the f64 reference, over
 * the list of cases; the checks of arguments; the null device.
 *
 *     check_ops         run the tests
 *     check_ops -v ISA  print the error of every case next to what it may be
 *
 * LV_TEST_DEVICE=cuda in the environment runs the list on that device instead. It
 * stays open from case to case, and does not survive a fork: CK_FORK=no.
 * LV_TEST_NEWEST=90 takes kernels for compute capability 9.0 that are not in use yet,
 * LV_TEST_SCORES=5000 makes attention of wide heads take many tiles, LV_TEST_OP=attn leaves
 * out the cases of other ops.
 * LV_TEST_GUARD=0 leaves no guard bytes behind tensors, for a device that finds itself
 * what is written or read there.
 */

#include <check.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "backend/device.h"
#include "backend/form.h"
#include "backend/weight.h"
#include "base/common.h"
#include "base/half.h"
#include "base/philox.h"
#include "base/quant.h"
#include "graph/graph.h"
#include "graph/program.h"
#include "tests/ops_grad.h"
#include "tests/ops_ref.h"
#include "tests/ops_table.h"

#define POISON 0xFF /* a NaN in every float type */

static char last_line[2048]; ///< what the library said
static char the_case[512];   ///< what is being tested

static void keep_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    snprintf(last_line, sizeof(last_line), "%s", line);
}

static void say_case(const OpsCase *c)
{
    ops_case_text(the_case, sizeof(the_case), c);
    last_line[0] = 0;
}

static const LvMsg keep = { keep_line, NULL, LV_MSG_WARNING };

/* Devices */

static int have_isa(const char *isa)
{
#if defined(__x86_64__) || defined(__i386__)
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2");
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512bw");
#endif
#if defined(__aarch64__)
    if (!strcmp(isa, "neon"))
        return 1;
#endif
    return !strcmp(isa, "c");
}

static LvDevice *other; ///< the device of LV_TEST_DEVICE, once it is open

static const char *other_name(void)
{
    return getenv("LV_TEST_DEVICE");
}

static LvDevice *open_other(void)
{
    const LvDeviceOptions opt = ops_device_options();
    int ret = other ? 0 : lv_device_open(&other, other_name(), &opt, &keep);

    ck_assert_msg(ret == 0, "device %s: %d, %s", other_name(), ret, last_line);
    return other;
}

static LvDevice *open_cpu(const char *isa, int threads)
{
    LvDeviceOptions opt = { .threads = threads, .isa = isa };
    LvDevice *dev;
    int ret = lv_device_open(&dev, "cpu", &opt, &keep);

    ck_assert_msg(ret == 0, "cpu device, isa %s: %d, %s", isa ? isa : "best", ret, last_line);
    ck_assert_int_eq(dev->threads, threads);
    return dev;
}

/* The device that cases run on. */
static LvDevice *open_device(const char *isa, int threads)
{
    return other_name() ? open_other() : open_cpu(isa, threads);
}

static void close_device(LvDevice **dev)
{
    if (*dev != other)
        lv_device_close(dev);
    *dev = NULL;
}

static void fill_device(LvDevice *dev, void *p, int byte, size_t bytes)
{
    void *host = malloc(bytes);

    memset(host, byte, bytes);
    ck_assert_int_eq(lv_device_upload(dev, p, host, bytes), 0);
    free(host);
}

/* Bytes behind everything that nobody may write. */
static size_t guard(void)
{
    return getenv("LV_TEST_GUARD") ? (size_t)atoi(getenv("LV_TEST_GUARD")) : 256;
}

/* Memory of the device, poisoned, with guard bytes behind it. */
static void *take(LvDevice *dev, size_t bytes)
{
    void *p = lv_device_try_alloc(dev, bytes + guard());

    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % LV_ALIGN, 0);
    fill_device(dev, p, POISON, bytes + guard());
    return p;
}

/* The contents of what take() gave, to be freed; its guard must be whole. */
static void *fetch(LvDevice *dev, const void *p, size_t bytes, const char *what)
{
    size_t i = 0, n = guard();
    uint8_t *host = malloc(bytes + n);

    ck_assert_int_eq(lv_device_download(dev, host, p, bytes + n), 0);
    while (i < n && host[bytes + i] == POISON)
        i++;
    ck_assert_msg(i == n, "%s: byte %zu behind %s is written", the_case, i, what);
    return host;
}

static void give(LvDevice *dev, void *p, size_t bytes, const char *what)
{
    free(fetch(dev, p, bytes, what));
    lv_device_free(dev, p);
}

/* Tensors of a case */

typedef struct Result {
    void *out[OPS_MAX_OUT]; ///< NULL when absent
    size_t bytes[OPS_MAX_OUT];
} Result;

static size_t bytes_of(const LvTensor *t)
{
    return ops_numel(t) * ops_elem(t->dtype);
}

/* Tensors of an op. */
static int tensors(int op)
{
    return lv_op_info(op)->in + lv_op_info(op)->out;
}

/* Input that an output lies on, or -1. */
static int under(const OpsCase *c)
{
    if (c->flags & OPS_ON_DY)
        return ops_grad(c->op)->dy;
    if (c->op == LV_OP_CONV3)
        return c->flags & OPS_ON_1 ? 4 : -1;
    return c->flags & OPS_ON_0 ? 0 : c->flags & OPS_ON_1 ? 1 : -1;
}

/* Tensor that tensor t lies on, or -1. */
static int lies_on(const OpsCase *c, int t)
{
    int state = c->op == LV_OP_RECALL || c->op == LV_OP_CONV3;

    return t == lv_op_info(c->op)->in + state ? under(c) : -1;
}

static LvOpArgs new_host(const OpsCase *c)
{
    LvOpArgs a;

    ops_case_args(c, &a);
    for (int t = 0; t < tensors(c->op); t++)
        if (ops_given(c, &a, t))
            a.t[t].data = calloc(1, bytes_of(&a.t[t]));
    ops_case_fill(c, &a);
    return a;
}

static void free_host(const OpsCase *c, LvOpArgs *a)
{
    for (int t = 0; t < tensors(c->op); t++)
        free(a->t[t].data);
}

static void upload(LvDevice *dev, const OpsCase *c, const LvOpArgs *host, LvOpArgs *a)
{
    for (int t = 0; t < tensors(c->op); t++)
        if (ops_given(c, a, t))
            ck_assert_int_eq(lv_device_upload(dev, a->t[t].data, host->t[t].data,
                                             bytes_of(&a->t[t])), 0);
}

/* The same tensors in the device's memory, outputs poisoned. */
static LvOpArgs new_device_args(LvDevice *dev, const OpsCase *c, const LvOpArgs *host)
{
    LvOpArgs a = *host;

    for (int t = 0; t < tensors(c->op); t++) {
        int on = lies_on(c, t);
        if (lv_has(&a.t[t]))
            a.t[t].data = on < 0 ? take(dev, bytes_of(&a.t[t])) : a.t[on].data;
        if (a.t[t].w) {
            a.t[t].w       = calloc(1, sizeof(*a.t[t].w));
            a.t[t].w->data = a.t[t].data;
        }
    }
    upload(dev, c, host, &a);
    return a;
}

/* Check that inputs are as they were, and free all. */
static void free_device_args(LvDevice *dev, const OpsCase *c, const LvOpArgs *host,
                             LvOpArgs *a)
{
    for (int t = 0; t < tensors(c->op); t++) {
        size_t n = bytes_of(&a->t[t]);
        if (!lv_has(&a->t[t]) || lies_on(c, t) >= 0)
            continue;
        if (a->t[t].w)
            lv_forms_evict(a->t[t].w);
        free(a->t[t].w);
        if (t < lv_op_info(c->op)->in && t != under(c)) {
            void *now = fetch(dev, a->t[t].data, n, "an input");
            ck_assert_msg(!memcmp(now, host->t[t].data, n), "%s: input %d is changed",
                          the_case, t);
            free(now);
        }
        give(dev, a->t[t].data, n, "a tensor");
    }
}

static void download(LvDevice *dev, const OpsCase *c, const LvOpArgs *a, Result *r)
{
    const LvOpInfo *info = lv_op_info(c->op);

    memset(r, 0, sizeof(*r));
    for (int i = 0; i < info->out; i++) {
        const LvTensor *t = &a->t[info->in + i];
        if (!lv_has(t))
            continue;
        r->bytes[i] = bytes_of(t);
        r->out[i]   = fetch(dev, t->data, r->bytes[i], "an output");
    }
}

static void free_result(Result *r)
{
    for (int i = 0; i < OPS_MAX_OUT; i++)
        free(r->out[i]);
}

/* Running */

/* While planning and building only weights have data. */
static LvOpArgs without_data(const OpsCase *c, const LvOpArgs *a)
{
    LvOpArgs bare = *a;

    for (int t = 0; t < tensors(c->op); t++)
        if (bare.t[t].id > LV_ID_WEIGHT)
            bare.t[t].data = NULL;
    return bare;
}

static void build(LvDevice *dev, const OpsCase *c, const LvOpArgs *a, LvCall *call)
{
    LvOpArgs bare = without_data(c, a);
    int ret;

    memset(call, 0, sizeof(*call));
    ck_assert_int_eq(lv_device_call(dev->fn->plan, dev, c->op, &bare, call), 0);
    ck_assert_int_eq(lv_device_reserve(dev, call->thread_bytes), 0);
    call->scratch = take(dev, call->scratch_bytes);
    ret = lv_device_call(dev->fn->build, dev, c->op, &bare, call);
    ck_assert_msg(ret == 0, "%s: build gives %d, %s", the_case, ret, last_line);
}

static void release(LvDevice *dev, const OpsCase *c, LvCall *call)
{
    if (call->priv)
        lv_device_release(dev, c->op, call);
    give(dev, call->scratch, call->scratch_bytes, "the scratch");
}

static void run_op(LvDevice *dev, const OpsCase *c, const LvOpArgs *a, LvCall *call)
{
    int ret = lv_device_call(dev->fn->run, dev, c->op, a, call);

    ck_assert_msg(ret == 0, "%s: run gives %d, %s", the_case, ret, last_line);
    ck_assert_int_eq(lv_device_sync(dev), 0);
}

/* Through the entries of the device. */
static void run_direct(LvDevice *dev, const OpsCase *c, const LvOpArgs *host, Result *r)
{
    LvOpArgs a = new_device_args(dev, c, host);
    LvCall call;

    build(dev, c, &a, &call);
    run_op(dev, c, &a, &call);
    download(dev, c, &a, r);
    release(dev, c, &call);
    free_device_args(dev, c, host, &a);
}

/* The op by its builder. */
static LvTensor trace(LvGraph *g, const OpsCase *c, const LvOpArgs *a)
{
    LvDtype y = (LvDtype)a->t[lv_op_info(c->op)->in].dtype;
    const int *n = c->n, patch[3] = { n[4], n[5], n[6] };

    switch (c->op) {
#define U(name) const Lv##name##Args *u = (const Lv##name##Args *)a
    case LV_OP_LINEAR: {
        U(Linear);
        lv_graph_matmul(g, u->of);
        return lv_linear(g, u->x, u->w, u->b, u->act, y);
    }
    case LV_OP_NORM: {
        U(Norm);
        return lv_norm(g, u->x, u->w, u->b, u->mod, u->kind, u->shift, u->scale,
                       u->eps, y);
    }
    case LV_OP_GATE:   return lv_gate(g, a->gate.r, a->gate.x, a->gate.mod, a->gate.row);
    case LV_OP_QKNORM: {
        U(Qknorm);
        return lv_qknorm(g, u->x, u->w, u->rope, u->heads, u->eps, y);
    }
    case LV_OP_ATTN: {
        U(Attn);
        lv_graph_matmul(g, u->of);
        return lv_attn(g, u->q, u->k, u->v, u->key_bias, u->rel_bias, u->heads,
                       u->max_distance, u->scale);
    }
    case LV_OP_LINATTN: {
        U(Linattn);
        return lv_linattn(g, u->q, u->k, u->v, u->wq, u->wk, u->heads, u->map, u->eps);
    }
    case LV_OP_LINATTN_RUN: {
        LvTensor state;
        return lv_linattn_run(g, &a->linattn_run, &state);
    }
    case LV_OP_MIX:       return lv_mix(g, a->mix.a, a->mix.b, a->mix.r);
    case LV_OP_NAG: {
        U(Nag);
        return lv_nag(g, u->p, u->n, u->scale, u->tau, u->alpha);
    }
    case LV_OP_ADD:       return lv_add(g, a->add.a, a->add.b);
    case LV_OP_ACT:       return lv_act(g, a->act.x, a->act.act, y);
    case LV_OP_GLU:       return lv_glu(g, a->glu.x, a->glu.g);
    case LV_OP_EMBED:     return lv_embed(g, a->embed.ids, a->embed.table, y);
    case LV_OP_SINUSOID:  return lv_sinusoid(g, a->sinusoid.t, a->sinusoid.y.dim[1]);
    case LV_OP_PATCHIFY:  return lv_patchify(g, a->patchify.x, patch, y);
    case LV_OP_UNPATCHIFY:
        return lv_unpatchify(g, a->unpatchify.x, patch, a->unpatchify.y);
    case LV_OP_CONV: {
        U(Conv);
        return lv_conv(g, u->x, u->w, u->b, u->r, u->stride, u->pad, u->act, y);
    }
    case LV_OP_CONV3: {
        U(Conv3);
        return lv_conv3(g, u->x, u->w, u->b, u->r, u->prev, u->step, u->pad, u->act, y);
    }
    case LV_OP_RECALL:    return lv_recall(g, a->recall.x, a->recall.prev);
    case LV_OP_UPSAMPLE:  return lv_upsample(g, a->upsample.x);
    case LV_OP_UNSTACK:   return lv_unstack(g, a->unstack.x, a->unstack.n);
    case LV_OP_STACK:     return lv_stack(g, a->stack.x, a->stack.n);
    case LV_OP_SHUFFLE:   return lv_shuffle(g, a->shuffle.x, a->shuffle.n,
                                             a->shuffle.transposed, y);
    case LV_OP_UNSHUFFLE: return lv_unshuffle(g, a->unshuffle.x, a->unshuffle.n,
                                               a->unshuffle.transposed, y);
    case LV_OP_AVG_DOWN: {
        U(AvgDown);
        return lv_avg_down(g, u->x, u->r, u->ft, u->fs);
    }
    case LV_OP_DUP_UP: {
        U(DupUp);
        return lv_dup_up(g, u->x, u->r, u->ft, u->fs);
    }
    case LV_OP_EXPAND:    return lv_expand(g, a->expand.x, n[1]);
    case LV_OP_REDUCE:    return lv_reduce(g, a->reduce.x, n[1]);
    }
#undef U
    return LV_NO_TENSOR;
}

/* Whether the builders can make the case: no statistics, no adding, one order of
 * patches, and an op writes over an input only where it keeps state. */
static int has_builder(const OpsCase *c)
{
    LvOpArgs a;

    ops_case_args(c, &a);
    switch (c->op) {
    case LV_OP_GATE_NORM:  return 0;
    case LV_OP_NORM:
        if (a.norm.act)
            return 0;
        break;
    case LV_OP_RECALL:     return lies_on(c, 3) == 1;
    case LV_OP_CONV3:      return lies_on(c, 6) == 4;
    case LV_OP_PATCHIFY:   return a.patchify.order == LV_PATCH_CHANNEL_SLOW;
    case LV_OP_UNPATCHIFY: return a.unpatchify.order == LV_PATCH_CHANNEL_FAST;
    case LV_OP_EXPAND:     return a.expand.inner == a.expand.x.dim[1];
    case LV_OP_REDUCE:     return a.reduce.inner == a.reduce.x.dim[1] && !a.reduce.add;
    case LV_OP_AVG_DOWN:
        return lv_has(&a.avg_down.r) && a.avg_down.r.dtype == a.avg_down.y.dtype;
    case LV_OP_DUP_UP:     return lv_has(&a.dup_up.r) && a.dup_up.r.dtype == a.dup_up.y.dtype;
    }
    return c->op <= LV_OP_UNSHUFFLE && !(c->flags & (OPS_STATS | OPS_ON_0 | OPS_ON_1));
}

/* Samples of a case that differ. */
static int batch_of(const OpsCase *c)
{
    LvOpArgs a;

    ops_case_args(c, &a);
    switch (c->op) {
    case LV_OP_NORM:    return a.norm.batch;
    case LV_OP_GATE:    return a.gate.batch;
    case LV_OP_ATTN:    return a.attn.batch;
    case LV_OP_LINATTN: return a.linattn.batch;
    case LV_OP_LINATTN_RUN: return a.linattn_run.batch;
    }
    return 1;
}

static LvGraph *trace_case(const OpsCase *c, LvOpArgs *a, LvTensor *y)
{
    LvGraph *g = lv_graph_new(&keep);

    for (int t = 0; t < lv_op_info(c->op)->in; t++)
        if (a->t[t].id >= 0) {
            void *data = a->t[t].data;
            a->t[t] = lv_external(g, "input", (LvDtype)a->t[t].dtype, a->t[t].rank,
                                  a->t[t].dim);
            a->t[t].data = data;
        }
    lv_graph_batch(g, batch_of(c));
    *y = trace(g, c, a);
    ck_assert_msg(lv_graph_error(g) == 0, "builder: %s", last_line);
    ck_assert_int_eq(lv_graph_count(g), 1);
    lv_output(g, *y, "result");
    if (c->op == LV_OP_LINATTN_RUN) {
        void *data = a->linattn_run.state.data;
        a->linattn_run.state      = lv_graph_record(g, 0)->u.linattn_run.state;
        a->linattn_run.state.data = data;
        lv_output(g, a->linattn_run.state, "state");
    }
    return g;
}

static void run_program(LvDevice *dev, const OpsCase *c, const LvGraph *g,
                        const LvOpArgs *a, LvTensor y)
{
    LvProgram *p;
    void *arena;

    ck_assert_int_eq(lv_program_new(&p, g, dev), 0);
    arena = take(dev, lv_program_sizes(p).arena);
    ck_assert_int_eq(lv_program_build(p, arena), 0);
    for (int t = 0; t < lv_op_info(c->op)->in; t++)
        if (a->t[t].id >= 0)
            lv_program_bind(p, a->t[t], a->t[t].data);
    lv_program_bind(p, y, a->t[lv_op_info(c->op)->in].data);
    if (c->op == LV_OP_LINATTN_RUN)
        lv_program_bind(p, a->linattn_run.state, a->linattn_run.state.data);
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
    give(dev, arena, lv_program_sizes(p).arena, "the arena");
    lv_program_free(&p);
}

/* As a program of one record; 0 when builders do not make the case. */
static int run_graph(LvDevice *dev, const OpsCase *c, const LvOpArgs *host, Result *r)
{
    LvOpArgs a = new_device_args(dev, c, host);
    const LvTensor *want = &a.t[lv_op_info(c->op)->in];
    LvTensor y;
    LvGraph *g = trace_case(c, &a, &y);
    int fits = y.dtype == want->dtype;

    ck_assert_uint_eq(y.rank, want->rank);
    for (int i = 0; i < LV_MAX_RANK; i++)
        ck_assert_int_eq(y.dim[i], want->dim[i]);
    if (fits) {
        run_program(dev, c, g, &a, y);
        download(dev, c, &a, r);
    }
    lv_graph_free(&g);
    free_device_args(dev, c, host, &a);
    return fits;
}

/* Comparing */

typedef struct Error {
    double norm, max; ///< see ops_table.h
    size_t at;        ///< element of the largest
    double got, ref;  ///< there
} Error;

static Error error_of(const LvTensor *like, const void *data, const double *ref)
{
    LvTensor t = *like;
    Error e = { 0 };
    double err2 = 0, ref2 = 0, top = 0;

    t.data = (void *)data;
    for (size_t i = 0; i < ops_numel(&t); i++) {
        double got = ops_get(&t, i), d = fabs(got - ref[i]);
        if (!isfinite(ref[i]) && got == ref[i])
            continue; /* lse of a query without keys */
        d = isfinite(got) ? fmax(0, d - ops_half_ulp(ref[i], t.dtype)) : INFINITY;
        if (d > e.max || i == 0) {
            e.max = d;
            e.at  = i;
            e.got = got;
            e.ref = ref[i];
        }
        err2 += d * d;
        ref2 += ref[i] * ref[i];
        top = fmax(top, fabs(ref[i]));
    }
    e.norm = err2 > 0 ? sqrt(err2 / ref2) : 0;
    e.max  = e.max > 0 ? e.max / top : 0;
    return e;
}

static void compare(const OpsCase *c, const LvOpArgs *host, const Result *r,
                    double *ref[OPS_MAX_OUT])
{
    const LvOpInfo *info = lv_op_info(c->op);

    for (int i = 0; i < info->out; i++) {
        double tol = i && c->op != LV_OP_RECALL ? c->stat_tol : c->tol;
        Error e;
        if (!ref[i])
            continue;
        e = error_of(&host->t[info->in + i], r->out[i], ref[i]);
        ck_assert_msg(e.norm <= tol && e.max <= tol,
                      "%s: output %d: error %.3g, largest %.3g at %zu (%.9g, not %.9g), "
                      "allowed %.3g", the_case, i, e.norm, e.max, e.at, e.got, e.ref, tol);
    }
}

static void same_bits(const Result *a, const Result *b, const char *what)
{
    for (int i = 0; i < OPS_MAX_OUT; i++) {
        ck_assert_uint_eq(a->bytes[i], b->bytes[i]);
        if (a->bytes[i])
            ck_assert_msg(!memcmp(a->out[i], b->out[i], a->bytes[i]),
                          "%s: output %d differs %s", the_case, i, what);
    }
}

/* The list of cases */

static const char *const leaves[] = { "c", "avx2", "avx512", "neon" };

static void check_direct(const OpsCase *c, const char *isa, int threads,
                         const LvOpArgs *host, const Result *first)
{
    LvDevice *dev = open_device(isa, threads);
    Result r;

    run_direct(dev, c, host, &r);
    same_bits(&r, first, "with other threads");
    free_result(&r);
    close_device(&dev);
}

static void check_program(const OpsCase *c, const char *isa, int threads,
                          const LvOpArgs *host, const Result *first)
{
    LvDevice *dev = open_device(isa, threads);
    Result r;

    if (has_builder(c) && run_graph(dev, c, host, &r)) {
        same_bits(&r, first, "in a program");
        free_result(&r);
    }
    close_device(&dev);
    ck_assert_ptr_null(dev);
}

/* All numbers of threads with the best leaves, two with the others. */
static void check_leaves(const OpsCase *c, const char *isa, const LvOpArgs *host,
                         double *ref[OPS_MAX_OUT])
{
    LvDevice *dev = open_device(isa, 1);
    size_t n = strlen(the_case);
    Result first;

    snprintf(the_case + n, sizeof(the_case) - n, ", on %s", dev->about);
    run_direct(dev, c, host, &first);
    close_device(&dev);
    compare(c, host, &first, ref);
    check_direct(c, isa, 3, host, &first);
    if (!isa) {
        if (!other_name()) {
            check_direct(c, isa, 2, host, &first);
            check_direct(c, isa, 5, host, &first);
        }
        check_program(c, isa, 2, host, &first);
    }
    free_result(&first);
    the_case[n] = 0;
}

static void check_case(const OpsCase *c)
{
    LvOpArgs host = new_host(c);
    double *ref[OPS_MAX_OUT];

    say_case(c);
    ops_ref(c->op, &host, ref);
    check_leaves(c, NULL, &host, ref);
    for (int i = 0; i < LV_COUNT(leaves) && !other_name(); i++)
        if (have_isa(leaves[i]))
            check_leaves(c, leaves[i], &host, ref);
    for (int i = 0; i < OPS_MAX_OUT; i++)
        free(ref[i]);
    free_host(c, &host);
}

/* Whether this CPU has the products of a case; if not, its device must refuse. */
static int runs_here(const OpsCase *c, const char *isa)
{
    static const int products[] = {
        LV_OP_LINEAR, LV_OP_ATTN, LV_OP_LINATTN, LV_OP_LINATTN_RUN, LV_OP_CONV, LV_OP_CONV3,
        LV_OP_LINEAR_DX, LV_OP_LINEAR_DW, LV_OP_ATTN_DX, LV_OP_LINATTN_DX,
        LV_OP_CONV_DX, LV_OP_CONV_DW,
    };
    LvDevice *dev = open_device(isa, 1);
    LvCall call   = { 0 };
    LvOpArgs a;
    int here = 1;

    ops_case_args(c, &a);
    for (int i = 0; i < LV_COUNT(products); i++)
        if (c->op == products[i] && a.t[0].dtype == LV_BF16)
            here = dev->bf16;
    if (c->op == LV_OP_LINEAR && a.linear.of == LV_MATMUL_I8)
        here = dev->i8;
    if (c->op == LV_OP_LINEAR && a.linear.of == LV_MATMUL_F8)
        here = dev->f8;
    if (!here)
        ck_assert_int_eq(lv_device_call(dev->fn->plan, dev, c->op, &a, &call),
                         LV_ERR_UNSUPPORTED);
    close_device(&dev);
    return here;
}

static int is_wanted(int op)
{
    const char *only = getenv("LV_TEST_OP");

    return !only || !strcmp(only, lv_op_info(op)->name);
}

/* Test number: row. */
START_TEST(cases)
{
    for (int i = ops_row_start(_i); i < ops_row_start(_i + 1); i++) {
        OpsCase c = ops_case(i);
        if (is_wanted(c.op) && runs_here(&c, NULL))
            check_case(&c);
    }
}
END_TEST

/* Weights */

static int has_weight(int op)
{
    for (int t = 0; t < lv_op_info(op)->in; t++)
        if (ops_role(op, t) == 'w')
            return 1;
    return 0;
}

/* New weights in the same memory: taken at once when not marked fixed, after
 * evicting forms of the old ones and building anew when they are. */
static void check_new_weights(int i, int fixed)
{
    OpsCase c = ops_case(i);
    LvDevice *dev = open_device(NULL, 2);
    LvOpArgs host, a;
    double *ref[OPS_MAX_OUT];
    LvCall call;
    Result r;

    c.flags = fixed ? c.flags | OPS_FIXED : c.flags & ~OPS_FIXED;
    host = new_host(&c);
    a    = new_device_args(dev, &c, &host);
    say_case(&c);
    build(dev, &c, &a, &call);
    run_op(dev, &c, &a, &call);
    c.seed += 100000;
    ops_case_fill(&c, &host);
    upload(dev, &c, &host, &a);
    if (fixed) {
        release(dev, &c, &call);
        for (int t = 0; t < lv_op_info(c.op)->in; t++)
            if (a.t[t].w)
                lv_forms_evict(a.t[t].w);
        build(dev, &c, &a, &call);
    }
    run_op(dev, &c, &a, &call);
    download(dev, &c, &a, &r);
    ops_ref(c.op, &host, ref);
    compare(&c, &host, &r, ref);
    for (int t = 0; t < OPS_MAX_OUT; t++)
        free(ref[t]);
    release(dev, &c, &call);
    free_result(&r);
    free_device_args(dev, &c, &host, &a);
    free_host(&c, &host);
    close_device(&dev);
}

/* Test number: op. */
START_TEST(new_weights)
{
    for (int i = 0; i < ops_case_count(); i++) {
        OpsCase c = ops_case(i);
        if (c.op != _i || !has_weight(_i) || c.kind != 'n' || !runs_here(&c, NULL))
            continue;
        check_new_weights(i, 0);
        check_new_weights(i, 1);
    }
}
END_TEST

/* Weights as files store them: the bits of the same numbers as f32. */

enum { STORED_ROWS = 32, STORED_COLS = 512, STORED_X = 17 };

static const int stored_types[] = {
    LV_F8_E4M3, LV_I8, LV_Q4_0, LV_Q4_1, LV_Q5_0, LV_Q5_1, LV_Q8_0, LV_Q2_K, LV_Q3_K, LV_Q4_K,
    LV_Q5_K, LV_Q6_K,
};

/* Any bytes but those of numbers that are not finite. */
static void fill_stored(uint8_t *p, size_t bytes, int type, uint32_t seed)
{
    const LvBlock *b = lv_block((LvDtype)type);
    size_t step = 0;

    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
        if (type == LV_F8_E4M3 && (p[i] & 0x7F) == 0x7F)
            p[i] = 0x7E;
    }
    for (int r = 0; r < STORED_ROWS && lv_dtype_has_scales((LvDtype)type); r++) {
        float scale = ldexpf(1, -r % 7 - 6);
        p[r * STORED_COLS + r] = 0x7E; /* the largest number, by which rows are scaled again */
        memcpy(p + STORED_ROWS * STORED_COLS + 4 * r, &scale, 4);
    }
    lv_dtype_bytes(&step, (LvDtype)type, lv_dtype_block((LvDtype)type));
    for (size_t i = 0; b && i < bytes; i += step)
        for (int k = 0; k < b->halves; k++)
            p[i + (size_t)b->half[k] + 1] &= 0xBB; /* below 4 */
}

static void decode_stored(float *to, const uint8_t *p, int type)
{
    float scale;

    if (!lv_dtype_has_scales((LvDtype)type)) {
        ck_assert_int_eq(lv_block_decode(to, p, (LvDtype)type, STORED_ROWS * STORED_COLS), 0);
        return;
    }
    for (int i = 0; i < STORED_ROWS * STORED_COLS; i++) {
        memcpy(&scale, p + STORED_ROWS * STORED_COLS + i / STORED_COLS * 4, 4);
        to[i] = (type == LV_I8 ? (float)(int8_t)p[i] : lv_e4m3_f32(p[i])) * scale;
    }
}

/* x times the weights, with a handle or without one. Freed by the caller. */
static void *times_stored(LvDevice *dev, int type, const void *w, int x_type, int of, int fixed)
{
    const OpsCase c = { .op = LV_OP_LINEAR };
    LvOpArgs a = { .linear = {
        { .id = 0, .dtype = (uint8_t)x_type, .rank = 2, .dim = { STORED_X, STORED_COLS, 1, 1, 1 } },
        { .id = LV_ID_WEIGHT, .dtype = (uint8_t)type, .rank = 2,
          .dim = { STORED_ROWS, STORED_COLS, 1, 1, 1 } },
        LV_NO_TENSOR,
        { .id = 1, .dtype = LV_F32, .rank = 2, .dim = { STORED_X, STORED_ROWS, 1, 1, 1 } },
        .of = (enum LvMatmul)of } };
    LvWeight handle = { 0 };
    float x[STORED_X * STORED_COLS];
    LvCall call;
    void *y;

    for (int i = 0; i < STORED_X * STORED_COLS; i++)
        x[i] = (float)(i * 37 % 101) / 64 - 0.75f;
    for (int i = 0; i < STORED_X * STORED_COLS && x_type == LV_BF16; i++)
        ((uint16_t *)x)[i] = lv_f32_bf16(x[i]);
    for (int t = 0; t < 4; t++)
        if (lv_has(&a.t[t]))
            a.t[t].data = take(dev, lv_tensor_bytes(&a.t[t]));
    ck_assert_int_eq(lv_device_upload(dev, a.t[0].data, x, lv_tensor_bytes(&a.t[0])), 0);
    ck_assert_int_eq(lv_device_upload(dev, a.t[1].data, w, lv_tensor_bytes(&a.t[1])), 0);
    handle.data = a.t[1].data;
    a.t[1].w    = fixed ? &handle : NULL;
    build(dev, &c, &a, &call);
    run_op(dev, &c, &a, &call);
    y = fetch(dev, a.t[3].data, lv_tensor_bytes(&a.t[3]), "y");
    release(dev, &c, &call);
    lv_forms_evict(&handle);
    for (int t = 0; t < 4; t++)
        if (lv_has(&a.t[t]))
            give(dev, a.t[t].data, lv_tensor_bytes(&a.t[t]), "a tensor");
    return y;
}

static void same_stored(LvDevice *dev, int type, int x_type, int of)
{
    uint8_t *stored = calloc(STORED_ROWS, 4 * STORED_COLS);
    float *plain    = calloc(STORED_ROWS, 4 * STORED_COLS);
    const LvTensor t = { .dtype = (uint8_t)type, .rank = 2, .dim = { STORED_ROWS, STORED_COLS } };
    void *want, *got;

    snprintf(the_case, sizeof(the_case), "%s, x %s, of %d", lv_dtype_name((LvDtype)type),
             lv_dtype_name((LvDtype)x_type), of);
    fill_stored(stored, lv_tensor_bytes(&t), type, (uint32_t)type);
    decode_stored(plain, stored, type);
    want = times_stored(dev, LV_F32, plain, x_type, of, 0);
    for (int fixed = 0; fixed < 2; fixed++) {
        got = times_stored(dev, type, stored, x_type, of, fixed);
        ck_assert_msg(!memcmp(got, want, 4 * STORED_X * STORED_ROWS), "%s: other bits", the_case);
        free(got);
    }
    free(want);
    free(stored);
    free(plain);
}

/* Test number: type. */
START_TEST(stored)
{
    LvDevice *dev = open_device(NULL, 1);

    for (int x = LV_F32; dev->widens && x <= LV_BF16; x += LV_BF16 - LV_F32) {
        same_stored(dev, stored_types[_i], x, LV_MATMUL_FLOAT);
        if (dev->f8 && stored_types[_i] == LV_F8_E4M3)
            same_stored(dev, stored_types[_i], x, LV_MATMUL_F8);
    }
    close_device(&dev);
}
END_TEST

/* Descriptions and counts */

START_TEST(names)
{
    static const char *const list[LV_OP_NB] = {
        [LV_OP_LINEAR] = "linear", [LV_OP_NORM] = "norm", [LV_OP_GATE] = "gate",
        [LV_OP_GATE_NORM] = "gate_norm", [LV_OP_BLEND] = "blend", [LV_OP_FRAME] = "frame",
        [LV_OP_QKNORM] = "qknorm", [LV_OP_ATTN] = "attn",
        [LV_OP_LINATTN] = "linattn", [LV_OP_MIX] = "mix", [LV_OP_ADD] = "add",
        [LV_OP_NAG] = "nag", [LV_OP_LINATTN_RUN] = "linattn_run",
        [LV_OP_ACT] = "act", [LV_OP_GLU] = "glu", [LV_OP_EMBED] = "embed",
        [LV_OP_SINUSOID] = "sinusoid", [LV_OP_PATCHIFY] = "patchify",
        [LV_OP_UNPATCHIFY] = "unpatchify", [LV_OP_CONV] = "conv",
        [LV_OP_CONV3] = "conv3", [LV_OP_RECALL] = "recall", [LV_OP_UPSAMPLE] = "upsample",
        [LV_OP_UNSTACK] = "unstack", [LV_OP_STACK] = "stack",
        [LV_OP_SHUFFLE] = "shuffle", [LV_OP_UNSHUFFLE] = "unshuffle",
        [LV_OP_AVG_DOWN] = "avg_down", [LV_OP_DUP_UP] = "dup_up",
        [LV_OP_EXPAND] = "expand", [LV_OP_REDUCE] = "reduce", [LV_OP_FILL] = "fill",
        [LV_OP_LOSS] = "loss", [LV_OP_SQSUM] = "sqsum", [LV_OP_ADAMW] = "adamw",
        [LV_OP_LINEAR_DX] = "linear_dx", [LV_OP_LINEAR_DW] = "linear_dw",
        [LV_OP_NORM_DX] = "norm_dx", [LV_OP_GATE_DX] = "gate_dx",
        [LV_OP_QKNORM_DX] = "qknorm_dx", [LV_OP_ATTN_DX] = "attn_dx",
        [LV_OP_LINATTN_DX] = "linattn_dx", [LV_OP_MIX_DX] = "mix_dx",
        [LV_OP_ACT_DX] = "act_dx", [LV_OP_GLU_DX] = "glu_dx",
        [LV_OP_EMBED_DX] = "embed_dx", [LV_OP_CONV_DX] = "conv_dx",
        [LV_OP_CONV_DW] = "conv_dw", [LV_OP_RECALL_DX] = "recall_dx",
        [LV_OP_UPSAMPLE_DX] = "upsample_dx",
    };

    for (int op = 0; op < LV_OP_NB; op++) {
        ck_assert_str_eq(lv_op_info(op)->name, list[op]);
        ck_assert_int_le(tensors(op), LV_OP_MAX_TENSORS);
        ck_assert_int_le(lv_op_info(op)->out, OPS_MAX_OUT);
        for (int t = 0; t < tensors(op); t++)
            ck_assert_int_eq(strchr("-+", ops_role(op, t)) != NULL,
                             t >= lv_op_info(op)->in);
        ck_assert_int_eq(ops_role(op, tensors(op)), 0);
    }
}
END_TEST

START_TEST(every_op_has_cases)
{
    int seen[LV_OP_NB] = { 0 };

    for (int i = 0; i < ops_case_count(); i++)
        seen[ops_case(i).op]++;
    for (int op = 0; op < LV_OP_NB; op++)
        ck_assert_msg(seen[op] >= 2 || op == LV_OP_FRAME, /* writes no tensor */
                      "%s has %d cases", lv_op_info(op)->name, seen[op]);
}
END_TEST

/* Struct members lie where t[] looks for them. */
START_TEST(members)
{
#define AT(Type, member, n) \
    ck_assert_uint_eq(offsetof(Lv##Type##Args, member), (n) * sizeof(LvTensor))
    AT(Linear, y, 3);
    AT(Norm, rstd, 6);
    AT(Gate, y, 3);
    AT(Qknorm, rstd, 4);
    AT(Attn, lse, 6);
    AT(Linattn, den, 7);
    AT(Mix, y, 3);
    AT(Nag, y, 2);
    AT(Add, y, 2);
    AT(Act, y, 1);
    AT(Glu, y, 2);
    AT(Embed, y, 2);
    AT(Sinusoid, y, 1);
    AT(Patchify, y, 1);
    AT(Unpatchify, y, 1);
    AT(Conv, y, 4);
    AT(Recall, next, 3);
    AT(Upsample, y, 1);
    AT(Unstack, y, 1);
    AT(Stack, y, 1);
    AT(Shuffle, y, 1);
    AT(Unshuffle, y, 1);
    AT(AvgDown, y, 2);
    AT(DupUp, y, 2);
    AT(Expand, y, 1);
    AT(Reduce, y, 1);
    AT(Fill, y, 0);
    AT(Loss, dx, 5);
    AT(Sqsum, y, 1);
    AT(Adamw, ema, 6);
    AT(LinearDx, dx, 2);
    AT(LinearDw, dw, 2);
    AT(NormDx, dmod, 10);
    AT(GateDx, dmod, 4);
    AT(QknormDx, dw, 6);
    AT(AttnDx, drel, 11);
    AT(LinattnDx, dwk, 13);
    AT(MixDx, dr, 6);
    AT(ActDx, dx, 2);
    AT(GluDx, dg, 4);
    AT(EmbedDx, dtable, 2);
    AT(ConvDx, dx, 2);
    AT(ConvDw, dw, 2);
    AT(RecallDx, dx, 1);
    AT(UpsampleDx, dx, 1);
#undef AT
}
END_TEST

START_TEST(tensor_helpers)
{
    LvTensor t = { .id = 0, .dtype = LV_BF16, .rank = 3, .dim = { 2, 80, 192, 1, 1 } };
    LvTensor none = LV_NO_TENSOR;
    char buf[64];

    ck_assert(lv_has(&t) && !lv_has(&none));
    ck_assert_uint_eq(lv_tensor_numel(&t), 2 * 80 * 192);
    ck_assert_uint_eq(lv_tensor_bytes(&t), 2 * 2 * 80 * 192);
    ck_assert_uint_eq(lv_tensor_rows(&t), 160);
    ck_assert_uint_eq(lv_tensor_numel(&none), 0);
    ck_assert_uint_eq(lv_tensor_bytes(&none), 0);
    ck_assert_str_eq(lv_tensor_text(buf, sizeof(buf), &t), "[2,80,192] BF16");
    t = (LvTensor) { .dtype = LV_F32, .rank = 5,
                     .dim = { 60000, 60000, 60000, 2, 1 } };
    ck_assert_uint_eq(lv_tensor_bytes(&t), (size_t)60000 * 60000 * 60000 * 8);
    lv_tensor_text(buf, 8, &t);
    ck_assert_uint_lt(strlen(buf), 8);
}
END_TEST

static OpsCase hand(int op, int flags, const char *type, const int n[9])
{
    OpsCase c = { .op = op, .flags = flags, .type = type, .kind = 'n', .s = 1 };

    memcpy(c.n, n, sizeof(c.n));
    return c;
}

static double flops_of(int op, const int n[9])
{
    OpsCase c = hand(op, 0, "fffff", n);
    LvOpArgs a;

    ops_case_args(&c, &a);
    return lv_op_flops(op, &a);
}

START_TEST(flops)
{
    static const int linear[9] = { 3, 5, 7 }, attn[9] = { 10, 20, 2, 4 };
    static const int conv[9] = { 2, 5, 6, 3, 4, 3, 2, 1 };
    static const int linattn[9] = { 10, 2, 4, 3, LV_MAP_HEDGEHOG }, norm[9] = { 3, 8 };
    double f;

    ck_assert_double_eq(flops_of(LV_OP_LINEAR, linear), 2 * 3 * 5 * 7);
    ck_assert_double_eq(flops_of(LV_OP_ATTN, attn), 2 * 2 * 10 * 20 * 8);
    ck_assert_double_eq(flops_of(LV_OP_CONV, conv), 2 * 2 * 3 * 3 * 4 * 27);
    ck_assert_double_eq(flops_of(LV_OP_LINEAR_DX, linear), 2 * 3 * 5 * 7);
    ck_assert_double_eq(flops_of(LV_OP_LINEAR_DW, linear), 2 * 3 * 5 * 7);
    ck_assert_double_eq(flops_of(LV_OP_ATTN_DX, attn), 5 * 2 * 10 * 20 * 8);
    ck_assert_double_eq(flops_of(LV_OP_CONV_DX, conv), 2 * 2 * 3 * 3 * 4 * 27);
    ck_assert_double_eq(flops_of(LV_OP_CONV_DW, conv), 2 * 2 * 3 * 3 * 4 * 27);
    /* two maps; state and use of it, with or without the column of ones */
    f = flops_of(LV_OP_LINATTN, linattn) - 2 * 2 * 2 * 10 * 4 * 3;
    ck_assert_double_ge(f, 2 * 2 * 2 * 10 * 6 * 4);
    ck_assert_double_le(f, 2 * 2 * 2 * 10 * 6 * 5);
    ck_assert_double_eq(flops_of(LV_OP_NORM, norm), 0);
    ck_assert_int_eq(lv_map_features(LV_MAP_HEDGEHOG, 48), 96);
    ck_assert_int_eq(lv_map_features(LV_MAP_RELU, 48), 48);
    ck_assert_int_eq(lv_map_features(LV_MAP_TAYLOR, 16), 153);
}
END_TEST

START_TEST(bytes)
{
    OpsCase c = hand(LV_OP_LINEAR, OPS_BIAS, "bhf", (const int[9]) { 3, 5, 7 });
    LvOpArgs a;

    ops_case_args(&c, &a);
    ck_assert_double_eq(lv_op_bytes(c.op, &a), 3 * 5 * 2 + 7 * 5 * 2 + 7 * 4 + 3 * 7 * 4);
    a.linear.b = LV_NO_TENSOR;
    ck_assert_double_eq(lv_op_bytes(c.op, &a), 3 * 5 * 2 + 7 * 5 * 2 + 3 * 7 * 4);
}
END_TEST

/* Checks of arguments */

static void accepts(const OpsCase *c, const LvOpArgs *a)
{
    const char *why = "unset";
    int ret = lv_op_check(c->op, a, &why);

    ck_assert_msg(ret == 0 && !why, "%s is refused: %s", the_case, why ? why : "");
}

static void refuses(const OpsCase *c, const LvOpArgs *a, const char *what, int t)
{
    const char *why = NULL;
    int ret = lv_op_check(c->op, a, &why);

    ck_assert_msg(ret == LV_ERR(EINVAL), "%s: %s of tensor %d: not refused (%d)", the_case,
                  what, t, ret);
    ck_assert_msg(why && *why, "%s: %s of tensor %d: no reason", the_case, what, t);
}

/* Whether sizes A n C and A C fit; inner: C. */
static int repeats(const LvTensor *many, const LvTensor *few, int inner)
{
    return ops_numel(few) % (size_t)inner == 0 && ops_numel(many) % ops_numel(few) == 0;
}

/* Whether tensor t of a, of which dimension d has grown by one all alone, is right. */
static int is_free(const OpsCase *c, const LvOpArgs *a, int t, int d)
{
    switch (c->op) {
    case LV_OP_NORM:    return t == 3 && d == 0;
    case LV_OP_NORM_DX: return t == 3 && d == 0 && !lv_has(&a->norm_dx.dmod);
    case LV_OP_GATE:    return t == 2 && d == 0;
    case LV_OP_GATE_NORM: return (t == 2 || t == 5) && d == 0;
    case LV_OP_BLEND:   return t == 3 && (d == 1 || d == 2);
    case LV_OP_GATE_DX: return t == 1 && d == 0 && !lv_has(&a->gate_dx.dmod);
    case LV_OP_QKNORM:
    case LV_OP_QKNORM_DX: return t == 2 && d == 0 && a->t[0].dim[0] % a->t[2].dim[0] == 0;
    case LV_OP_ATTN:
    case LV_OP_ATTN_DX: return t == 4 && d == 0;
    case LV_OP_EMBED:   return t == 1 && d == 0;
    case LV_OP_EMBED_DX: return t == 2 && d == 0;
    case LV_OP_ADD:     return t == 1 && ops_numel(&a->t[0]) % ops_numel(&a->t[1]) == 0;
    case LV_OP_EXPAND:  return repeats(&a->expand.y, &a->expand.x, a->expand.inner);
    case LV_OP_REDUCE:  return repeats(&a->reduce.x, &a->reduce.y, a->reduce.inner);
    case LV_OP_CONV:    return c->n[6] == 2 && t < 2 && d > 0;
    case LV_OP_AVG_DOWN:
        return t == 0 && d == 0 && a->avg_down.x.dim[0] % c->n[5] != 1 % c->n[5];
    case LV_OP_CONV3:   return c->n[7] == 2 && t == 0 && d == 0;
    case LV_OP_CONV_DX:
    case LV_OP_CONV_DW: return c->n[6] == 2 && t > 0 && d > 0;
    case LV_OP_FILL:    return 1;
    case LV_OP_SQSUM:   return t == 0;
    }
    return 0;
}

/* Whether a rank more, of size 1, leaves tensor t right. */
static int any_rank(const OpsCase *c, const LvOpArgs *a, int t)
{
    switch (c->op) {
    case LV_OP_ADD:        return t == 1;
    case LV_OP_PATCHIFY:   return t == 0 && ops_numel(&a->t[0]) == 1;
    case LV_OP_UNPATCHIFY: return t == 1 && ops_numel(&a->t[1]) == 1;
    case LV_OP_SQSUM:      return t == 0;
    case LV_OP_EXPAND:
    case LV_OP_REDUCE:
    case LV_OP_FILL:       return 1;
    }
    return 0;
}

static void check_dims(const OpsCase *c, const LvOpArgs *good, int t)
{
    for (int d = 0; d < good->t[t].rank; d++) {
        LvOpArgs a = *good;
        a.t[t].dim[d]++;
        if (!is_free(c, &a, t, d))
            refuses(c, &a, "a dimension more", t);
        a.t[t].dim[d] = 0;
        refuses(c, &a, "a dimension of 0", t);
        a.t[t].dim[d] = -good->t[t].dim[d];
        refuses(c, &a, "a negative dimension", t);
    }
}

static void check_rank(const OpsCase *c, const LvOpArgs *good, int t)
{
    LvOpArgs a = *good;

    a.t[t].rank++;
    if (!any_rank(c, good, t))
        refuses(c, &a, "a rank more", t);
}

/* Whether a weight of LINEAR can be of a type as files store it. */
static int fits_stored(const LvTensor *w, LvDtype type)
{
    int block = (int)lv_dtype_block(type);

    return block > 1 ? w->dim[1] % block == 0 : w->dim[0] % 16 == 0 && w->dim[1] % 16 == 0;
}

/* Types as files store them: of LINEAR's weight alone. */
static void check_stored_types(const OpsCase *c, const LvOpArgs *good, int t)
{
    LvOpArgs a = *good;

    for (int i = 0; i < LV_COUNT(stored_types); i++) {
        LvDtype type = (LvDtype)stored_types[i];

        a.t[t].dtype = (uint8_t)type;
        if (c->op == LV_OP_LINEAR && t == 1 && fits_stored(&a.t[t], type))
            accepts(c, &a);
        else
            refuses(c, &a, lv_dtype_name(type), t);
    }
}

static void check_types(const OpsCase *c, const LvOpArgs *good, int t)
{
    static const uint8_t never[] = { LV_NONE, LV_F64, LV_I16, LV_I64, LV_U32, LV_BOOL,
                                     LV_F8_E5M2 };
    LvOpArgs a = *good;
    char role = ops_role(c->op, t);

    for (int i = 0; i < LV_COUNT(never); i++) {
        a.t[t].dtype = never[i];
        refuses(c, &a, lv_dtype_name((LvDtype)never[i]), t);
    }
    check_stored_types(c, good, t);
    a.t[t].dtype = LV_F16;
    if (role != 'w')
        refuses(c, &a, "F16", t);
    a.t[t].dtype = role == 'i' ? LV_F32 : LV_I32;
    refuses(c, &a, "F32 for ids, I32 for values", t);
    a.t[t].dtype = LV_BF16;
    if (ops_type_index(c->op, t) < 0)
        refuses(c, &a, "BF16", t);
}

/* Whether the case is right without tensor t: another one may need it, and one output
 * must be there. */
static int may_go(const OpsCase *c, const LvOpArgs *a, int t)
{
    int in = lv_op_info(c->op)->in, others = 0;

    for (int i = in; i < tensors(c->op); i++)
        others += i != t && lv_has(&a->t[i]);
    switch (c->op) {
    case LV_OP_NORM_DX: return ops_optional(c->op, t) && others && t != 4 &&
                               (t != 3 || !lv_has(&a->norm_dx.dmod));
    case LV_OP_GATE_DX: return ops_optional(c->op, t) && others &&
                               (t > 1 || !lv_has(&a->gate_dx.dmod));
    case LV_OP_ATTN_DX: return ops_optional(c->op, t) && others &&
                               (t != 4 || !lv_has(&a->attn_dx.drel));
    }
    return ops_optional(c->op, t) && others;
}

static void check_presence(const OpsCase *c, const LvOpArgs *good, int t)
{
    LvOpArgs a = *good;

    a.t[t] = LV_NO_TENSOR;
    if (may_go(c, good, t))
        accepts(c, &a);
    else
        refuses(c, &a, "absence", t);
}

static void check_arguments(const OpsCase *c)
{
    LvOpArgs a;

    ops_case_args(c, &a);
    say_case(c);
    accepts(c, &a);
    for (int t = 0; t < tensors(c->op); t++) {
        if (!lv_has(&a.t[t]))
            continue;
        check_dims(c, &a, t);
        check_rank(c, &a, t);
        check_types(c, &a, t);
        check_presence(c, &a, t);
    }
}

/* Test number: op. */
START_TEST(arguments)
{
    for (int i = 0; i < ops_case_count(); i++) {
        OpsCase c = ops_case(i);
        if (c.op == _i)
            check_arguments(&c);
    }
}
END_TEST

/* Tensors that must have the type of another. */
START_TEST(one_type)
{
    static const int pairs[][2] = {
        { LV_OP_ATTN, 1 }, { LV_OP_ATTN, 2 }, { LV_OP_LINATTN, 1 }, { LV_OP_LINATTN, 2 },
        { LV_OP_LINATTN, 4 }, { LV_OP_RECALL, 1 }, { LV_OP_RECALL, 2 },
        { LV_OP_RECALL, 3 }, { LV_OP_UPSAMPLE, 1 }, { LV_OP_UNSTACK, 1 },
        { LV_OP_STACK, 1 }, { LV_OP_LINEAR_DW, 1 }, { LV_OP_CONV_DW, 1 },
        { LV_OP_ATTN_DX, 1 }, { LV_OP_ATTN_DX, 2 }, { LV_OP_LINATTN_DX, 1 },
        { LV_OP_LINATTN_DX, 2 }, { LV_OP_LINATTN_DX, 4 },
    };

    for (int p = 0; p < LV_COUNT(pairs); p++)
        for (int i = 0; i < ops_case_count(); i++) {
            OpsCase c = ops_case(i);
            LvOpArgs a;
            LvTensor *t = &a.t[pairs[p][1]];
            if (c.op != pairs[p][0])
                continue;
            ops_case_args(&c, &a);
            say_case(&c);
            t->dtype = t->dtype == LV_F32 ? LV_BF16 : LV_F32;
            refuses(&c, &a, "another type", pairs[p][1]);
        }
}
END_TEST

#define INT(Type, member, value) offsetof(Lv##Type##Args, member), 0, value
#define FLT(Type, member, value) offsetof(Lv##Type##Args, member), 1, value

static const struct {
    int op, flags;
    size_t offset;
    int is_float;
    double value;
    int n[9];
} bad_scalars[] = {
    { LV_OP_LINEAR, 0, INT(Linear, act, -1), { 2, 3, 4 } },
    { LV_OP_LINEAR, 0, INT(Linear, act, LV_ACT_NB), { 2, 3, 4 } },
    { LV_OP_NORM, 0, INT(Norm, kind, -1), { 2, 3 } },
    { LV_OP_NORM, 0, INT(Norm, kind, 2), { 2, 3 } },
    { LV_OP_NORM, OPS_MOD, INT(Norm, shift, -1), { 2, 3, 0, 6, 0, 1 } },
    { LV_OP_NORM, OPS_MOD, INT(Norm, shift, 6), { 2, 3, 0, 6, 0, 1 } },
    { LV_OP_NORM, OPS_MOD, INT(Norm, scale, -1), { 2, 3, 0, 6, 0, 1 } },
    { LV_OP_NORM, OPS_MOD, INT(Norm, scale, 6), { 2, 3, 0, 6, 0, 1 } },
    { LV_OP_NORM, 0, FLT(Norm, eps, 0), { 2, 3 } },
    { LV_OP_NORM, 0, FLT(Norm, eps, -1), { 2, 3 } },
    { LV_OP_NORM, 0, FLT(Norm, eps, NAN), { 2, 3 } },
    { LV_OP_NORM, 0, INT(Norm, act, -1), { 2, 3 } },
    { LV_OP_NORM, 0, INT(Norm, act, LV_ACT_NB), { 2, 3 } },
    { LV_OP_GATE_NORM, OPS_MOD, INT(GateNorm, row, 6), { 2, 3, 6, 0, 0, 0, 1 } },
    { LV_OP_GATE_NORM, OPS_MOD, INT(GateNorm, shift, -1), { 2, 3, 6, 0, 0, 0, 1 } },
    { LV_OP_GATE_NORM, OPS_MOD, INT(GateNorm, scale, 6), { 2, 3, 6, 0, 0, 0, 1 } },
    { LV_OP_GATE_NORM, 0, INT(GateNorm, kind, 2), { 2, 3 } },
    { LV_OP_GATE_NORM, 0, INT(GateNorm, batch, 3), { 4, 3 } },
    { LV_OP_GATE_NORM, 0, FLT(GateNorm, eps, 0), { 2, 3 } },
    { LV_OP_BLEND, 0, INT(Blend, top, -1), { 1, 2, 3, 4, 5 } },
    { LV_OP_BLEND, 0, INT(Blend, top, 3), { 1, 2, 3, 4, 5 } },
    { LV_OP_BLEND, 0, INT(Blend, left, 3), { 1, 2, 3, 4, 5 } },
    { LV_OP_BLEND, 0, INT(Blend, old_rows, 3), { 1, 2, 3, 4, 5 } },
    { LV_OP_BLEND, 0, INT(Blend, old_cols, -1), { 1, 2, 3, 4, 5 } },
    { LV_OP_GATE, OPS_MOD, INT(Gate, row, -1), { 2, 3, 6, 0 } },
    { LV_OP_GATE, OPS_MOD, INT(Gate, row, 6), { 2, 3, 6, 0 } },
    { LV_OP_QKNORM, 0, INT(Qknorm, heads, 0), { 3, 2, 6 } },
    { LV_OP_QKNORM, 0, INT(Qknorm, heads, -2), { 3, 2, 6 } },
    { LV_OP_QKNORM, 0, INT(Qknorm, heads, 5), { 3, 2, 6 } },
    { LV_OP_QKNORM, OPS_ROPE, INT(Qknorm, heads, 4), { 3, 2, 6 } },
    { LV_OP_QKNORM, OPS_ROPE, INT(Qknorm, heads, 1), { 3, 2, 6 } },
    { LV_OP_QKNORM, 0, FLT(Qknorm, eps, 0), { 3, 2, 6 } },
    { LV_OP_ATTN, 0, INT(Attn, heads, 0), { 3, 4, 2, 6 } },
    { LV_OP_ATTN, 0, INT(Attn, heads, -1), { 3, 4, 2, 6 } },
    { LV_OP_ATTN, 0, INT(Attn, heads, 5), { 3, 4, 2, 6 } },
    { LV_OP_ATTN, OPS_RELB, INT(Attn, heads, 3), { 3, 4, 2, 6, 32, 128 } },
    { LV_OP_ATTN, OPS_RELB, INT(Attn, max_distance, 0), { 3, 4, 2, 6, 32, 128 } },
    { LV_OP_ATTN, OPS_RELB, INT(Attn, max_distance, -5), { 3, 4, 2, 6, 32, 128 } },
    { LV_OP_ATTN, OPS_STATS, INT(Attn, heads, 3), { 3, 4, 2, 6 } },
    { LV_OP_LINATTN, 0, INT(Linattn, heads, 0), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, 0, INT(Linattn, heads, 4), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, 0, INT(Linattn, map, -1), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, 0, INT(Linattn, map, LV_MAP_NB), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, OPS_STATS, INT(Linattn, map, LV_MAP_RELU), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, 0, FLT(Linattn, eps, -1e-6), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, 0, FLT(Linattn, eps, NAN), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN_RUN, 0, INT(LinattnRun, heads, 4), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN_RUN, 0, INT(LinattnRun, map, LV_MAP_RELU), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN_RUN, 0, FLT(LinattnRun, eps, -1), { 3, 2, 4, 5, 0 } },
    { LV_OP_NAG, 0, FLT(Nag, scale, 0.5), { 2, 3, 250, 25 } },
    { LV_OP_NAG, 0, FLT(Nag, scale, NAN), { 2, 3, 250, 25 } },
    { LV_OP_NAG, 0, FLT(Nag, tau, 0), { 2, 3, 250, 25 } },
    { LV_OP_NAG, 0, FLT(Nag, alpha, 1.5), { 2, 3, 250, 25 } },
    { LV_OP_NAG, 0, FLT(Nag, alpha, -0.5), { 2, 3, 250, 25 } },
    { LV_OP_ACT, 0, INT(Act, act, -1), { 2, 3 } },
    { LV_OP_ACT, 0, INT(Act, act, LV_ACT_NB), { 2, 3 } },
    { LV_OP_PATCHIFY, 0, INT(Patchify, pt, 0), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_PATCHIFY, 0, INT(Patchify, ph, 5), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_PATCHIFY, 0, INT(Patchify, pw, -3), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_UNPATCHIFY, 0, INT(Unpatchify, pt, 2), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_UNPATCHIFY, 0, INT(Unpatchify, pw, 0), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_CONV, 0, INT(Conv, stride, 0), { 1, 5, 5, 2, 3, 3, 1, 1 } },
    { LV_OP_CONV, 0, INT(Conv, stride, -1), { 1, 1, 1, 2, 3, 1, 1, 0 } },
    { LV_OP_CONV, 0, INT(Conv, stride, 3), { 1, 1, 1, 2, 3, 1, 1, 0 } },
    { LV_OP_CONV, 0, INT(Conv, pad, -1), { 1, 5, 5, 2, 3, 3, 1, 0 } },
    { LV_OP_CONV, 0, INT(Conv, pad, 3), { 1, 5, 5, 2, 3, 3, 1, 2 } },
    { LV_OP_CONV, 0, INT(Conv, act, LV_ACT_NB), { 1, 5, 5, 2, 3, 3, 1, 1 } },
    { LV_OP_UNSTACK, 0, INT(Unstack, n, 0), { 2, 3, 3, 4, 2 } },
    { LV_OP_UNSTACK, 0, INT(Unstack, n, 4), { 2, 3, 3, 4, 2 } },
    { LV_OP_STACK, 0, INT(Stack, n, 0), { 2, 3, 3, 4, 2 } },
    { LV_OP_STACK, 0, INT(Stack, n, -2), { 2, 3, 3, 4, 2 } },
    { LV_OP_SHUFFLE, 0, INT(Shuffle, n, 0), { 2, 3, 3, 4, 2 } },
    { LV_OP_SHUFFLE, 0, INT(Shuffle, n, -2), { 2, 3, 3, 4, 2 } },
    { LV_OP_UNSHUFFLE, 0, INT(Unshuffle, n, 0), { 2, 3, 3, 4, 2 } },
    { LV_OP_UNSHUFFLE, 0, INT(Unshuffle, n, 3), { 2, 3, 3, 4, 2 } },
    { LV_OP_AVG_DOWN, 0, INT(AvgDown, ft, 0), { 4, 2, 3, 4, 8, 2, 2 } },
    { LV_OP_AVG_DOWN, 0, INT(AvgDown, ft, 1), { 4, 2, 3, 4, 8, 2, 2 } },
    { LV_OP_AVG_DOWN, 0, INT(AvgDown, fs, -2), { 4, 2, 3, 4, 8, 2, 2 } },
    { LV_OP_DUP_UP, 0, INT(DupUp, ft, 1), { 1, 2, 3, 4, 4, 2, 2 } },
    { LV_OP_DUP_UP, 0, INT(DupUp, fs, 0), { 1, 2, 3, 4, 4, 2, 2 } },
    { LV_OP_DUP_UP, 0, INT(DupUp, fs, 1), { 1, 2, 3, 4, 4, 2, 2 } },
    { LV_OP_NORM, 0, INT(Norm, batch, 0), { 4, 3, 0, 0, 0, 0, 2 } },
    { LV_OP_NORM, 0, INT(Norm, batch, 3), { 4, 3, 0, 0, 0, 0, 2 } },
    { LV_OP_NORM, OPS_MOD, INT(Norm, batch, 4), { 4, 3, 0, 3, 0, 1, 2 } },
    { LV_OP_GATE, OPS_MOD, INT(Gate, batch, -1), { 4, 3, 1, 0, 2 } },
    { LV_OP_GATE, OPS_MOD, INT(Gate, batch, 4), { 4, 3, 1, 0, 2 } },
    { LV_OP_ATTN, 0, INT(Attn, batch, 0), { 3, 4, 2, 6 } },
    { LV_OP_ATTN, 0, INT(Attn, batch, 2), { 3, 4, 2, 6 } },
    { LV_OP_ATTN, OPS_STATS, INT(Attn, batch, 2), { 4, 4, 2, 6 } },
    { LV_OP_LINATTN, 0, INT(Linattn, batch, -1), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN, OPS_STATS, INT(Linattn, batch, 3), { 3, 2, 4, 5, 0 } },
    { LV_OP_PATCHIFY, 0, INT(Patchify, order, 2), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_UNPATCHIFY, 0, INT(Unpatchify, order, -1), { 2, 4, 6, 6, 1, 2, 3 } },
    { LV_OP_EXPAND, 0, INT(Expand, inner, 0), { 2, 3, 4 } },
    { LV_OP_EXPAND, 0, INT(Expand, inner, 3), { 2, 3, 4 } },
    { LV_OP_REDUCE, 0, INT(Reduce, inner, -4), { 2, 3, 4 } },
    { LV_OP_REDUCE, 0, INT(Reduce, inner, 16), { 2, 3, 4 } },
    { LV_OP_LOSS, 0, INT(Loss, kind, -1), { 2, 3, 4 } },
    { LV_OP_LOSS, 0, INT(Loss, kind, LV_LOSS_NB), { 2, 3, 4 } },
    { LV_OP_NORM_DX, 0, INT(NormDx, kind, 1), { 2, 3 } },
    { LV_OP_NORM_DX, 0, INT(NormDx, batch, 3), { 4, 3 } },
    { LV_OP_NORM_DX, OPS_MOD, INT(NormDx, scale, 6), { 2, 3, 0, 6, 0, 1 } },
    { LV_OP_GATE_DX, OPS_MOD, INT(GateDx, row, 6), { 2, 3, 6, 0 } },
    { LV_OP_GATE_DX, OPS_MOD, INT(GateDx, batch, 0), { 2, 3, 6, 0 } },
    { LV_OP_QKNORM_DX, 0, INT(QknormDx, heads, 5), { 3, 2, 6 } },
    { LV_OP_ATTN_DX, OPS_LESS(3), INT(AttnDx, heads, 5), { 3, 4, 2, 6 } },
    { LV_OP_ATTN_DX, OPS_LESS(3), INT(AttnDx, batch, 2), { 3, 4, 2, 6 } },
    { LV_OP_ATTN_DX, OPS_RELB, INT(AttnDx, max_distance, 8), { 3, 4, 2, 6, 32, 128 } },
    { LV_OP_LINATTN_DX, 0, INT(LinattnDx, map, LV_MAP_RELU), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN_DX, 0, INT(LinattnDx, heads, 4), { 3, 2, 4, 5, 0 } },
    { LV_OP_LINATTN_DX, 0, FLT(LinattnDx, eps, -1), { 3, 2, 4, 5, 0 } },
    { LV_OP_ACT_DX, 0, INT(ActDx, act, LV_ACT_NB), { 2, 3 } },
    { LV_OP_CONV_DX, 0, INT(ConvDx, stride, 3), { 1, 1, 1, 2, 3, 1, 1, 0 } },
    { LV_OP_CONV_DX, 0, INT(ConvDx, pad, 3), { 1, 5, 5, 2, 3, 3, 1, 2 } },
    { LV_OP_CONV_DW, 0, INT(ConvDw, stride, 0), { 1, 5, 5, 2, 3, 3, 1, 1 } },
    { LV_OP_CONV_DW, 0, INT(ConvDw, pad, -1), { 1, 5, 5, 2, 3, 3, 1, 0 } },
};

START_TEST(scalars)
{
    OpsCase c = hand(bad_scalars[_i].op, bad_scalars[_i].flags, "fffff", bad_scalars[_i].n);
    float f = (float)bad_scalars[_i].value;
    int n   = (int)bad_scalars[_i].value;
    LvOpArgs a;
    char *at = (char *)&a + bad_scalars[_i].offset;

    ops_case_args(&c, &a);
    say_case(&c);
    accepts(&c, &a);
    memcpy(at, bad_scalars[_i].is_float ? (void *)&f : (void *)&n, sizeof(n));
    refuses(&c, &a, "a scalar", _i);
}
END_TEST

START_TEST(unknown_op)
{
    LvOpArgs a = { 0 };
    const char *why = NULL;

    ck_assert_int_eq(lv_op_check(LV_OP_NB, &a, &why), LV_ERR(EINVAL));
    ck_assert_ptr_nonnull(why);
    ck_assert_int_eq(lv_op_check(-1, &a, &why), LV_ERR(EINVAL));
}
END_TEST

/* Devices as such */

START_TEST(null_device)
{
    LvDevice *dev;

    ck_assert_int_eq(lv_device_open(&dev, "null", NULL, &keep), 0);
    for (int i = 0; i < ops_case_count(); i++) {
        OpsCase c = ops_case(i);
        LvCall call = { 0 };
        LvOpArgs a;
        ops_case_args(&c, &a);
        ck_assert(lv_device_has(dev, c.op));
        ck_assert_int_eq(lv_device_call(dev->fn->plan, dev, c.op, &a, &call), 0);
        ck_assert_int_eq(lv_device_call(dev->fn->build, dev, c.op, &a, &call), 0);
        ck_assert_int_eq(lv_device_call(dev->fn->run, dev, c.op, &a, &call), 0);
        ck_assert_uint_eq(call.scratch_bytes + call.thread_bytes + call.weight_bytes, 0);
    }
    lv_device_close(&dev);
    ck_assert_ptr_null(dev);
    lv_device_close(&dev);
}
END_TEST

START_TEST(opening)
{
    LvDeviceOptions bad = { .isa = "mmx" };
    LvDevice *dev = (LvDevice *)&bad;

    ck_assert_int_eq(lv_device_open(&dev, "abacus", NULL, &keep), LV_ERR(EINVAL));
    ck_assert_ptr_null(dev);
    ck_assert_ptr_nonnull(strstr(last_line, "abacus"));
    ck_assert_ptr_nonnull(strstr(last_line, "cpu"));
    ck_assert_int_lt(lv_device_open(&dev, "cpu", &bad, &keep), 0);
    ck_assert_ptr_null(dev);
    ck_assert_ptr_nonnull(strstr(last_line, "mmx"));
    ck_assert_int_eq(lv_device_open(&dev, NULL, NULL, &keep), 0);
    ck_assert(!strcmp(dev->fn->name, "cpu") || !strcmp(dev->fn->name, "cuda"));
    lv_device_close(&dev);
    ck_assert_int_eq(lv_device_open(&dev, "cpu", NULL, &keep), 0);
    ck_assert_int_ge(dev->threads, 1);
    ck_assert_str_eq(dev->fn->name, "cpu");
    ck_assert_msg(*dev->about, "a device says nothing about itself");
    for (int op = 0; op < LV_OP_NB; op++)
        ck_assert_msg(lv_device_has(dev, op), "cpu lacks %s", lv_op_info(op)->name);
    ck_assert_uint_gt(lv_device_available(dev), 0);
    lv_device_close(&dev);
}
END_TEST

/* The reference itself, against numbers worked out elsewhere */

static void near(double got, double want)
{
    ck_assert_msg(fabs(got - want) <= 1e-8 * fmax(1, fabs(want)), "%.12g, not %.12g", got, want);
}

/* One op by the reference; the array must be freed. */
static double *reference(const OpsCase *c, const LvOpArgs *a)
{
    double *out[OPS_MAX_OUT];

    ops_ref(c->op, a, out);
    for (int i = 1; i < OPS_MAX_OUT; i++)
        free(out[i]);
    return out[0];
}

START_TEST(ref_values)
{
    static const float in[3] = { 1, -2, 3 };
    static const double want[LV_ACT_NB][3] = {
        { 1, -2, 3 }, { 1, 0, 3 }, { 0.7310585786, -0.2384058440, 2.8577223805 },
        { 0.8411919906, -0.0454023059, 2.9963626079 },
        { 0.9645382126, -1.7483488360, 2.2847824679 },
        { 0.8413447461, -0.0455002639, 2.9959503059 },
    };

    for (int k = 0; k < LV_ACT_NB; k++) {
        OpsCase c = hand(LV_OP_ACT, 0, "ff", (const int[9]) { 1, 3, k });
        LvOpArgs a;
        double *y;
        ops_case_args(&c, &a);
        a.act.x.data = (void *)in;
        y = reference(&c, &a);
        for (int i = 0; i < 3; i++)
            near(y[i], want[k][i]);
        free(y);
    }
}
END_TEST

START_TEST(ref_sinusoid)
{
    static const struct {
        float t;
        int i;
        double cos, sin;
    } v[] = {
        { 999, 0, 0.999649853, -0.026460753 }, { 999, 64, -0.844469696, -0.535603335 },
        { 500, 1, 0.945942580, 0.324334142 }, { 937.5f, 127, 0.994929565, 0.100574153 },
    };

    for (int k = 0; k < LV_COUNT(v); k++) {
        OpsCase c = hand(LV_OP_SINUSOID, 0, "", (const int[9]) { 128 });
        LvOpArgs a;
        double *y;
        ops_case_args(&c, &a);
        a.sinusoid.t.data = (void *)&v[k].t;
        y = reference(&c, &a);
        near(y[v[k].i], v[k].cos);
        near(y[128 + v[k].i], v[k].sin);
        free(y);
    }
}
END_TEST

START_TEST(ref_buckets)
{
    static const int from[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91 };
    int g = 0;

    for (int n = 0; n < 600; n++) {
        g += g < 15 && n == from[g + 1];
        ck_assert_int_eq(ops_bucket(-n, 32, 128), g);
        ck_assert_int_eq(ops_bucket(n, 32, 128), n ? 16 + g : 0);
    }
}
END_TEST

/* A sum over pixels that are ones: the taps that meet the picture. */
START_TEST(ref_conv)
{
    static const double want[9] = { 4, 6, 4, 6, 9, 6, 4, 6, 4 };
    OpsCase c = hand(LV_OP_CONV, 0, "ffff", (const int[9]) { 1, 3, 3, 1, 1, 3, 1, 1 });
    float ones[9];
    LvOpArgs a;
    double *y;

    for (int i = 0; i < 9; i++)
        ones[i] = 1;
    ops_case_args(&c, &a);
    a.conv.x.data = a.conv.w.data = ones;
    y = reference(&c, &a);
    for (int i = 0; i < 9; i++)
        near(y[i], want[i]);
    free(y);
}
END_TEST

/* What linear attention by the Taylor map must be: weights 1 + s + s^2 / 2. */
START_TEST(ref_taylor)
{
    OpsCase c = hand(LV_OP_LINATTN, 0, "fff", (const int[9]) { 5, 1, 3, 3, LV_MAP_TAYLOR });
    static const float identity[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    LvOpArgs a;
    double *o;

    c.s = 1e-20f;
    a   = new_host(&c);
    memcpy(a.linattn.wq.data, identity, sizeof(identity));
    memcpy(a.linattn.wk.data, identity, sizeof(identity));
    o = reference(&c, &a);
    for (int i = 0; i < 5; i++)
        for (int e = 0; e < 3; e++) {
            const float *q = a.linattn.q.data, *k = a.linattn.k.data, *v = a.linattn.v.data;
            double num = 0, den = 0;
            for (int j = 0; j < 5; j++) {
                double s = 0, w;
                for (int d = 0; d < 3; d++)
                    s += (double)q[i * 3 + d] * k[j * 3 + d] / sqrt(3);
                w = 1 + s + s * s / 2;
                num += w * v[j * 3 + e];
                den += w;
            }
            near(o[i * 3 + e], num / den);
        }
    free(o);
    free_host(&c, &a);
}
END_TEST

START_TEST(ref_types)
{
    static const struct {
        int dtype;
        uint16_t bits;
        double value;
    } v[] = {
        { LV_BF16, 0x3F80, 1 }, { LV_BF16, 0xC049, -3.140625 }, { LV_BF16, 1, 0x1p-133 },
        { LV_F16, 0x3C00, 1 }, { LV_F16, 0xC248, -3.140625 }, { LV_F16, 1, 0x1p-24 },
        { LV_F16, 0x7BFF, 65504 }, { LV_BF16, 0x7F80, INFINITY },
    };

    for (int i = 0; i < LV_COUNT(v); i++) {
        LvTensor t = { .data = (void *)&v[i].bits, .dtype = (uint8_t)v[i].dtype,
                       .rank = 1, .dim = { 1, 1, 1, 1, 1 } };
        ck_assert(ops_get(&t, 0) == v[i].value);
    }
    ck_assert(ops_half_ulp(1, LV_BF16) == 0x1p-8);
    ck_assert(ops_half_ulp(-1.99, LV_BF16) == 0x1p-8);
    ck_assert(ops_half_ulp(2, LV_F32) == 0x1p-23);
    ck_assert(ops_half_ulp(0, LV_F32) == 0x1p-150);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    return t;
}

/* What has no need of a device but the CPU. */
static void add_plain(Suite *s)
{
    TCase *ref = tcase(s, "reference"), *args = tcase(s, "arguments");
    TCase *devices = tcase(s, "devices");

    tcase_add_test(ref, ref_values);
    tcase_add_test(ref, ref_sinusoid);
    tcase_add_test(ref, ref_buckets);
    tcase_add_test(ref, ref_conv);
    tcase_add_test(ref, ref_taylor);
    tcase_add_test(ref, ref_types);
    tcase_add_test(args, names);
    tcase_add_test(args, every_op_has_cases);
    tcase_add_test(args, members);
    tcase_add_test(args, tensor_helpers);
    tcase_add_test(args, flops);
    tcase_add_test(args, bytes);
    tcase_add_loop_test(args, arguments, 0, LV_OP_NB);
    tcase_add_test(args, one_type);
    tcase_add_loop_test(args, scalars, 0, LV_COUNT(bad_scalars));
    tcase_add_test(args, unknown_op);
    tcase_add_test(devices, null_device);
    tcase_add_test(devices, opening);
}

/* A program run often: devices may keep a run and start it as a whole. Rows 5, inputs
 * 24, outputs 16. */

enum { TIMES_ROWS = 5, TIMES_IN = 24, TIMES_OUT = 16, TIMES_MOST = 6 };

typedef struct Times {
    LvDevice *dev;
    LvProgram *p;
    LvTensor x, w, y;
    void *xs[TIMES_MOST], *ys[TIMES_MOST], *weights, *arena;
} Times;

static void new_times(Times *t)
{
    LvGraph *g = lv_graph_new(&keep);
    LvTensor h;

    t->dev = open_device(NULL, 2);
    t->x = lv_external(g, "x", LV_F32, 2, (int[]) { TIMES_ROWS, TIMES_IN });
    t->w = lv_external(g, "w", LV_F32, 2, (int[]) { TIMES_OUT, TIMES_IN });
    h    = lv_linear(g, t->x, t->w, LV_NO_TENSOR, LV_ACT_NONE, LV_NONE);
    h    = lv_norm(g, h, LV_NO_TENSOR, LV_NO_TENSOR, LV_NO_TENSOR, LV_NORM_LAYER, 0, 0,
                   1e-6f, LV_F32);
    t->y = lv_act(g, lv_add(g, h, h), LV_ACT_SILU, LV_F32);
    lv_output(g, t->y, "y");
    ck_assert_int_eq(lv_program_new(&t->p, g, t->dev), 0);
    lv_graph_free(&g);
    for (int i = 0; i < TIMES_MOST; i++) {
        t->xs[i] = take(t->dev, lv_tensor_bytes(&t->x));
        t->ys[i] = take(t->dev, lv_tensor_bytes(&t->y));
    }
    t->weights = take(t->dev, lv_tensor_bytes(&t->w));
    t->arena   = take(t->dev, lv_program_sizes(t->p).arena);
    ck_assert_int_eq(lv_program_build(t->p, t->arena), 0);
    lv_program_bind(t->p, t->w, t->weights);
}

static void free_times(Times *t)
{
    size_t arena = lv_program_sizes(t->p).arena;

    lv_program_free(&t->p);
    for (int i = 0; i < TIMES_MOST; i++) {
        give(t->dev, t->xs[i], lv_tensor_bytes(&t->x), "x");
        give(t->dev, t->ys[i], lv_tensor_bytes(&t->y), "y");
    }
    give(t->dev, t->weights, lv_tensor_bytes(&t->w), "w");
    give(t->dev, t->arena, arena, "the arena");
    close_device(&t->dev);
}

static void put_numbers(Times *t, const LvTensor *like, void *to, uint64_t stream)
{
    float v[TIMES_OUT * TIMES_IN];

    lv_philox_normal(v, lv_tensor_numel(like), 3, stream << 32);
    ck_assert_int_eq(lv_device_upload(t->dev, to, v, lv_tensor_bytes(like)), 0);
}

static int count_hook(void *opaque, const LvRecord *next, int index, int count)
{
    (void)next;
    ck_assert_int_eq(index, *(int *)opaque);
    return ++*(int *)opaque > count ? -1 : 0;
}

/* Run on input `stream` in place `at`; y must be what a run one by one gives. */
static void run_times(Times *t, int at, uint64_t stream)
{
    float y[TIMES_ROWS * TIMES_OUT], want[TIMES_ROWS * TIMES_OUT];
    double seconds[8] = { 0 };
    int calls = 0;

    put_numbers(t, &t->x, t->xs[at], stream);
    lv_program_bind(t->p, t->x, t->xs[at]);
    lv_program_bind(t->p, t->y, t->ys[at]);
    fill_device(t->dev, t->ys[at], POISON, sizeof(y));
    ck_assert_int_eq(lv_program_run(t->p, count_hook, &calls), 0);
    ck_assert_int_eq(calls, lv_program_count(t->p));
    lv_device_download(t->dev, y, t->ys[at], sizeof(y));
    lv_program_time(t->p, seconds); /* so nothing is kept or started as a whole */
    ck_assert_int_eq(lv_program_run(t->p, NULL, NULL), 0);
    lv_program_time(t->p, NULL);
    lv_device_download(t->dev, want, t->ys[at], sizeof(want));
    ck_assert_msg(!memcmp(y, want, sizeof(y)), "place %d, input %d", at, (int)stream);
}

START_TEST(many_times)
{
    Times t = { 0 };

    new_times(&t);
    put_numbers(&t, &t.w, t.weights, 100);
    for (int i = 0; i < 4; i++)
        run_times(&t, 0, (uint64_t)i);
    for (int i = 0; i < 3 * TIMES_MOST; i++)
        run_times(&t, i % TIMES_MOST, (uint64_t)(10 + i));
    put_numbers(&t, &t.w, t.weights, 101);
    run_times(&t, 0, 50);
    ck_assert_int_eq(lv_program_build(t.p, t.arena), 0);
    run_times(&t, 0, 51);
    run_times(&t, 0, 52);
    free_times(&t);
}
END_TEST

/* A gate and the norm of what it makes, which devices may run as one: the bits are those
 * of one after the other. */

static const struct {
    int rows, cols, batch, flags; ///< OPS_MOD: of the gate; OPS_ROPE: of the norm
    int kind;
    LvDtype x, y;
} pairs[] = {
    { 1, 8, 1, 0, LV_NORM_LAYER, LV_F32, LV_F32 },
    { 37, 5, 1, OPS_MOD | OPS_GAIN | OPS_BIAS, LV_NORM_LAYER, LV_BF16, LV_BF16 },
    { 130, 40, 2, OPS_MOD | OPS_ROPE, LV_NORM_RMS, LV_BF16, LV_F32 },
    { 60, 250, 3, OPS_MOD | OPS_ROPE | OPS_GAIN | OPS_BIAS, LV_NORM_LAYER, LV_F32, LV_BF16 },
    { 66, 384, 6, OPS_MOD | OPS_ROPE, LV_NORM_LAYER, LV_BF16, LV_BF16 },
    { 9, 1536, 1, OPS_GAIN | OPS_BIAS, LV_NORM_LAYER, LV_BF16, LV_BF16 },
    { 6, 2048, 2, OPS_ROPE, LV_NORM_RMS, LV_F32, LV_BF16 },
    { 6, 2056, 2, OPS_MOD | OPS_ROPE, LV_NORM_LAYER, LV_BF16, LV_BF16 },
    { 4, 5120, 1, OPS_MOD | OPS_GAIN, LV_NORM_LAYER, LV_BF16, LV_F32 },
};

enum { PAIR_IN = 6, PAIR_OUT = 2, PAIR_MOD = 6 };

static LvTensor pair_vector(LvGraph *g, int wanted, int rows, int cols)
{
    return wanted ? lv_external(g, "v", LV_F32, rows ? 2 : 1,
                                rows ? (int[]) { rows, cols } : &cols) : LV_NO_TENSOR;
}

/* t: inputs, then outputs. */
static void trace_pair(LvGraph *g, int i, LvTensor t[PAIR_IN + PAIR_OUT])
{
    int f = pairs[i].flags, n = pairs[i].cols, size[2] = { pairs[i].rows, n };
    int mod = pairs[i].batch * PAIR_MOD;

    lv_graph_batch(g, pairs[i].batch);
    t[0] = lv_external(g, "r", LV_F32, 2, size);
    t[1] = lv_external(g, "x", pairs[i].x, 2, size);
    t[2] = pair_vector(g, f & OPS_MOD, mod, n);
    t[3] = pair_vector(g, f & OPS_GAIN, 0, n);
    t[4] = pair_vector(g, f & OPS_BIAS, 0, n);
    t[5] = pair_vector(g, f & OPS_ROPE, mod, n);
    t[6] = lv_gate(g, t[0], t[1], t[2], 2);
    t[7] = lv_norm(g, t[6], t[3], t[4], t[5], pairs[i].kind, 3, 4, 1e-6f, pairs[i].y);
    lv_output(g, t[6], "gated");
    lv_output(g, t[7], "normed");
}

static void fill_pair(LvDevice *dev, const LvTensor *t, void *to, uint64_t stream)
{
    size_t n = lv_tensor_numel(t);
    float *v = calloc(n, sizeof(*v));
    uint16_t *half = (uint16_t *)v;

    lv_philox_normal(v, n, 7, stream << 32);
    for (size_t k = 0; k < n && t->dtype == LV_BF16; k++)
        half[k] = lv_f32_bf16(v[k]);
    ck_assert_int_eq(lv_device_upload(dev, to, v, lv_tensor_bytes(t)), 0);
    free(v);
}

/* What comes out, as one or one after the other. */
static void run_pair(LvDevice *dev, int i, int apart, void *out[PAIR_OUT])
{
    const LvDeviceFns *fn = dev->fn;
    LvDeviceFns without   = *fn;
    LvOpTable run         = *fn->run;
    LvGraph *g = lv_graph_new(&keep);
    LvTensor t[PAIR_IN + PAIR_OUT];
    void *data[PAIR_IN + PAIR_OUT] = { NULL }, *arena;
    LvProgram *p;
    size_t size;

    run.gate_norm = NULL;
    without.run   = &run;
    dev->fn = apart ? &without : fn;
    trace_pair(g, i, t);
    ck_assert_int_eq(lv_program_new(&p, g, dev), 0);
    ck_assert_int_eq(lv_program_count(p), apart ? 2 : 1);
    arena = take(dev, size = lv_program_sizes(p).arena);
    ck_assert_int_eq(lv_program_build(p, arena), 0);
    for (int k = 0; k < LV_COUNT(data); k++)
        if (lv_has(&t[k])) {
            data[k] = take(dev, lv_tensor_bytes(&t[k]));
            if (k < PAIR_IN)
                fill_pair(dev, &t[k], data[k], (uint64_t)k);
            lv_program_bind(p, t[k], data[k]);
        }
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
    for (int k = 0; k < PAIR_OUT; k++)
        out[k] = fetch(dev, data[PAIR_IN + k], lv_tensor_bytes(&t[PAIR_IN + k]), "a result");
    lv_program_free(&p);
    give(dev, arena, size, "the arena");
    for (int k = 0; k < LV_COUNT(data); k++)
        if (data[k])
            give(dev, data[k], lv_tensor_bytes(&t[k]), "a tensor");
    dev->fn = fn;
    lv_graph_free(&g);
}

START_TEST(gate_with_norm)
{
    size_t n = (size_t)pairs[_i].rows * (size_t)pairs[_i].cols;
    const size_t bytes[PAIR_OUT] = { 4 * n, lv_dtype_size(pairs[_i].y) * n };
    LvDevice *dev = open_device(NULL, 2);
    void *one[PAIR_OUT], *two[PAIR_OUT];

    run_pair(dev, _i, 0, one);
    run_pair(dev, _i, 1, two);
    for (int k = 0; k < PAIR_OUT; k++) {
        ck_assert_msg(!memcmp(one[k], two[k], bytes[k]), "output %d differs", k);
        free(one[k]);
        free(two[k]);
    }
    close_device(&dev);
}
END_TEST

/* A norm and an activation behind it */

static const struct {
    int rows, cols, kind, flags, act;
    LvDtype x, between, y;
} acted[] = {
    { 5, 96, LV_NORM_RMS, OPS_GAIN, LV_ACT_SILU, LV_BF16, LV_BF16, LV_BF16 },
    { 9, 128, LV_NORM_LAYER, OPS_GAIN | OPS_BIAS, LV_ACT_GELU, LV_F32, LV_BF16, LV_F32 },
    { 7, 8, LV_NORM_RMS, 0, LV_ACT_RELU, LV_F32, LV_F32, LV_BF16 },
    { 6, 384, LV_NORM_RMS, OPS_GAIN, LV_ACT_SILU, LV_BF16, LV_BF16, LV_BF16 },
    { 3, 33, LV_NORM_RMS, OPS_GAIN, LV_ACT_SILU, LV_BF16, LV_BF16, LV_BF16 },
    { 3, 1536, LV_NORM_LAYER, OPS_BIAS, LV_ACT_SILU, LV_BF16, LV_F32, LV_BF16 },
    { 4, 1537, LV_NORM_LAYER, OPS_BIAS, LV_ACT_GELU, LV_F32, LV_F32, LV_F32 },
    { 4, 1536, LV_NORM_RMS, OPS_GAIN, LV_ACT_SILU, LV_F32, LV_BF16, LV_BF16 },
};

/* What comes out. also: the norm's result is read once more; apart: it is wanted, so that
 * the two run one after the other. */
static void run_acted(LvDevice *dev, int i, int apart, int also, float *out)
{
    int fused = !apart && !also && acted[i].between == acted[i].y;
    int cols = acted[i].cols, size[2] = { acted[i].rows, cols }, f = acted[i].flags;
    LvGraph *g = lv_graph_new(&keep);
    LvTensor t[5];
    void *data[5] = { NULL }, *arena;
    LvProgram *p;
    size_t bytes;

    t[0] = lv_external(g, "x", acted[i].x, 2, size);
    t[1] = pair_vector(g, f & OPS_GAIN, 0, cols);
    t[2] = pair_vector(g, f & OPS_BIAS, 0, cols);
    t[3] = lv_norm(g, t[0], t[1], t[2], LV_NO_TENSOR, acted[i].kind, 0, 0, 1e-6f,
                   acted[i].between);
    t[4] = lv_act(g, t[3], acted[i].act, acted[i].y);
    if (also)
        t[4] = lv_add(g, t[4], t[3]);
    lv_output(g, t[4], "out");
    if (apart)
        lv_output(g, t[3], "normed");
    ck_assert_int_eq(lv_program_new(&p, g, dev), 0);
    ck_assert_int_eq(lv_program_count(p), 2 + also - fused);
    arena = take(dev, bytes = lv_program_sizes(p).arena);
    ck_assert_int_eq(lv_program_build(p, arena), 0);
    for (int k = 0; k < 5; k++)
        if ((k != 3 || apart) && lv_has(&t[k])) {
            data[k] = take(dev, lv_tensor_bytes(&t[k]));
            if (k < 3)
                fill_pair(dev, &t[k], data[k], (uint64_t)k);
            lv_program_bind(p, t[k], data[k]);
        }
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
    ck_assert_int_eq(lv_device_download(dev, out, data[4], lv_tensor_bytes(&t[4])), 0);
    lv_program_free(&p);
    give(dev, arena, bytes, "the arena");
    for (int k = 0; k < 5; k++)
        if (data[k])
            give(dev, data[k], lv_tensor_bytes(&t[k]), "a tensor");
    lv_graph_free(&g);
}

START_TEST(norm_with_act)
{
    enum { MOST = 8192 };
    static float one[MOST], two[MOST];
    LvDevice *dev = open_device(NULL, 2);

    for (int also = 0; also < 2; also++) {
        memset(one, 0, sizeof(one));
        memset(two, 0, sizeof(two));
        run_acted(dev, _i, 0, also, one);
        run_acted(dev, _i, 1, also, two);
        ck_assert_msg(!memcmp(one, two, sizeof(one)), "outputs differ, %d", also);
    }
    close_device(&dev);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ops");

    if (!other_name())
        add_plain(s);
    tcase_add_loop_test(tcase(s, "weights"), new_weights, 0, LV_OP_NB);
    tcase_add_loop_test(tcase(s, "weights"), stored, 0, LV_COUNT(stored_types));
    tcase_add_test(tcase(s, "programs"), many_times);
    tcase_add_loop_test(tcase(s, "pairs"), gate_with_norm, 0, LV_COUNT(pairs));
    tcase_add_loop_test(tcase(s, "pairs"), norm_with_act, 0, LV_COUNT(acted));
    tcase_add_loop_test(tcase(s, "cases"), cases, 0, ops_row_count());
    return s;
}

static const char *print_isa;

static void print_case(const OpsCase *c)
{
    const LvOpInfo *info = lv_op_info(c->op);
    LvDevice *dev = open_device(print_isa, 2);
    LvOpArgs host = new_host(c);
    double *ref[OPS_MAX_OUT], start = lv_seconds();
    Result r;

    say_case(c);
    run_direct(dev, c, &host, &r);
    start = lv_seconds() - start;
    ops_ref(c->op, &host, ref);
    for (int i = 0; i < info->out; i++) {
        Error e;
        if (!ref[i])
            continue;
        e = error_of(&host.t[info->in + i], r.out[i], ref[i]);
        printf("%.2e %.2e of %.2e, %.1f ms, output %d of %s\n", e.norm, e.max,
               i && c->op != LV_OP_RECALL ? c->stat_tol : c->tol, 1e3 * start, i,
               the_case);
        free(ref[i]);
    }
    free_result(&r);
    free_host(c, &host);
    close_device(&dev);
}

START_TEST(print_cases)
{
    OpsCase c = ops_case(_i);

    if (runs_here(&c, print_isa))
        print_case(&c);
}
END_TEST

int main(int argc, char **argv)
{
    SRunner *r;
    int failed;

    if (argc > 1 && !strcmp(argv[1], "-v")) {
        Suite *s = suite_create("errors");
        print_isa = argc > 2 ? argv[2] : NULL;
        tcase_add_loop_test(tcase(s, "print"), print_cases, 0, ops_case_count());
        r = srunner_create(s);
    } else {
        r = srunner_create(suite());
    }
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
