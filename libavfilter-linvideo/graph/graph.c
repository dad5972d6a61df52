/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "graph/graph.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"
#include "graph/internal.h"

LvGraph *lv_graph_new(const LvMsg *msg)
{
    LvGraph *g = calloc(1, sizeof(*g));

    if (g) {
        g->msg   = msg;
        g->batch = 1;
    }
    return g;
}

void lv_graph_free(LvGraph **g)
{
    if (*g) {
        free((*g)->rec);
        free((*g)->info);
        free((*g)->mark);
        free(*g);
    }
    *g = NULL;
}

void lv_graph_layer(LvGraph *g, int n)
{
    assert(n >= 0);
    g->layer = n;
}

void lv_graph_matmul(LvGraph *g, enum LvMatmul of)
{
    g->matmul = of;
}

void lv_graph_batch(LvGraph *g, int n)
{
    g->batch = n;
}

void lv_graph_train(LvGraph *g, int checkpoints)
{
    g->train       = 1;
    g->checkpoints = checkpoints;
}

LvGraph *lv_graph_at(LvGraph *g, const char *file, int line)
{
    g->file = file;
    g->line = line;
    return g;
}

int lv_graph_count(const LvGraph *g)
{
    return g->nb_rec;
}

const LvRecord *lv_graph_record(const LvGraph *g, int i)
{
    assert(i >= 0 && i < g->nb_rec);
    return &g->rec[i];
}

int lv_graph_error(const LvGraph *g)
{
    return g->error;
}

static void *grow(LvGraph *g, void *array, int nb, size_t size)
{
    /* Powers of two: room is exhausted exactly when nb is one of them. */
    if (nb & (nb - 1))
        return array;
    array = realloc(array, (size_t)LV_MAX(2 * nb, 2) * size);
    if (!array && !g->error)
        g->error = lv_fail(g->msg, LV_ERR(ENOMEM), "graph: out of memory");
    return array;
}

void lv_graph_checkpoint(LvGraph *g)
{
    int *mark = g->error || !g->checkpoints ? NULL : grow(g, g->mark, g->nb_marks, sizeof(*mark));

    if (!mark)
        return;
    g->mark = mark;
    g->mark[g->nb_marks++] = g->nb_rec;
}

LvTensor lv_graph_tensor(LvGraph *g, LvDtype dtype, int rank, const int *dim)
{
    LvTensor t = { .id = g->nb_info, .dtype = (uint8_t)dtype, .rank = (uint8_t)rank };
    LvTensorInfo *info = grow(g, g->info, g->nb_info, sizeof(*info));

    assert(rank <= LV_MAX_RANK);
    if (!info)
        return LV_NO_TENSOR;
    for (int i = 0; i < LV_MAX_RANK; i++)
        t.dim[i] = i < rank ? dim[i] : 1;
    g->info = info;
    g->info[g->nb_info++] = (LvTensorInfo) { .bytes = lv_tensor_bytes(&t) };
    return t;
}

LvTensor lv_external(LvGraph *g, const char *name, LvDtype dtype, int rank,
                     const int *dim)
{
    LvTensor t = g->error ? LV_NO_TENSOR : lv_graph_tensor(g, dtype, rank, dim);

    assert(name && rank >= 1 && rank <= LV_MAX_RANK);
    if (t.id >= 0) {
        g->info[t.id].name     = name;
        g->info[t.id].external = 1;
    }
    return t;
}

void lv_output(LvGraph *g, LvTensor t, const char *name)
{
    if (g->error || t.id < 0)
        return;
    g->info[t.id].name     = name;
    g->info[t.id].external = 1;
}

static void fail_shapes(LvGraph *g, const LvRecord *r, const char *why)
{
    char text[256], one[64];
    size_t n = 0;

    text[0] = 0;
    for (int i = 0; i < lv_op_info(r->op)->in && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %s",
                              lv_tensor_text(one, sizeof(one), &r->u.t[i]));
    g->error = lv_fail(g->msg, LV_ERR(EINVAL), "%s:%d: %s: %s; got%s", r->file,
                       r->line, lv_op_info(r->op)->name, why, text);
}

void lv_graph_append(LvGraph *g, const LvRecord *r)
{
    const char *why;
    LvRecord copy = *r, *rec; /* r may lie in the list that grows */

    if (g->error)
        return;
    if (lv_op_check(r->op, &r->u, &why) < 0) {
        fail_shapes(g, r, why);
        return;
    }
    if (!(rec = grow(g, g->rec, g->nb_rec, sizeof(*rec))))
        return;
    g->rec = rec;
    g->rec[g->nb_rec++] = copy;
}

/* Append an op; its outputs are already described. */
static void emit(LvGraph *g, int op, const LvOpArgs *u)
{
    lv_graph_append(g, &(LvRecord) { .op = op, .layer = g->layer, .file = g->file,
                                     .line = g->line, .u = *u });
}

/* Shapes are checked when a record is appended; until then a zero must not divide. */
static int part(int n, int by)
{
    return by ? n / by : 0;
}

/* Describe an output, so that no builder can make one in a failed graph. */
static LvTensor out(LvGraph *g, LvTensor like, LvDtype dtype, int rank,
                    const int *dim)
{
    if (g->error)
        return LV_NO_TENSOR;
    return lv_graph_tensor(g, dtype ? dtype : (LvDtype)like.dtype, rank, dim);
}

#define OUT(like, dtype, rank, ...) \
    out(g, like, dtype, rank, (const int[LV_MAX_RANK]) { __VA_ARGS__ })

static LvTensor out_like(LvGraph *g, LvTensor like, LvDtype dtype)
{
    return out(g, like, dtype, like.rank, like.dim);
}

/* A statistic for the gradient: f32, only in training. */
#define STAT(rank, ...) \
    (g->train ? OUT(LV_NO_TENSOR, LV_F32, rank, __VA_ARGS__) : LV_NO_TENSOR)

LvTensor lv_linear_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, int act,
                    LvDtype dtype)
{
    LvTensor y = OUT(x, dtype, 2, x.dim[0], w.dim[0]);
    int split  = g->train && act != LV_ACT_NONE;

    emit(g, LV_OP_LINEAR, &(LvOpArgs) { .linear = {
        x, w, b, y, split ? LV_ACT_NONE : act, g->matmul } });
    return split ? lv_act_(g, y, act, LV_NONE) : y;
}

LvTensor lv_norm_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor mod,
                  int kind, int shift, int scale, float eps, LvDtype dtype)
{
    LvTensor y = out_like(g, x, dtype);
    LvTensor mean = kind == LV_NORM_LAYER ? STAT(1, x.dim[0]) : LV_NO_TENSOR;
    LvTensor rstd = STAT(1, x.dim[0]);

    emit(g, LV_OP_NORM, &(LvOpArgs) { .norm = {
        x, w, b, mod, y, mean, rstd, kind, shift, scale, eps, g->batch, LV_ACT_NONE } });
    return y;
}

LvTensor lv_gate_(LvGraph *g, LvTensor r, LvTensor x, LvTensor mod, int row)
{
    LvTensor y = out_like(g, r, LV_NONE);

    emit(g, LV_OP_GATE, &(LvOpArgs) { .gate = { r, x, mod, y, row, g->batch } });
    return y;
}

void lv_gate_to_(LvGraph *g, LvTensor r, LvTensor x, LvTensor mod, int row, LvTensor y)
{
    emit(g, LV_OP_GATE, &(LvOpArgs) { .gate = { r, x, mod, y, row, g->batch } });
}

LvTensor lv_qknorm_(LvGraph *g, LvTensor x, LvTensor w, LvTensor rope, int heads,
                    float eps, LvDtype dtype)
{
    LvTensor y = out_like(g, x, dtype), rstd = STAT(1, x.dim[0]);

    emit(g, LV_OP_QKNORM, &(LvOpArgs) { .qknorm = { x, w, rope, y, rstd, heads, eps } });
    return y;
}

LvTensor lv_attn_(LvGraph *g, LvTensor q, LvTensor k, LvTensor v,
                  LvTensor key_bias, LvTensor rel_bias, int heads,
                  int max_distance, float scale)
{
    LvTensor o   = out_like(g, q, LV_NONE);
    LvTensor lse = STAT(2, g->batch * heads, part(q.dim[0], g->batch));

    emit(g, LV_OP_ATTN, &(LvOpArgs) { .attn = {
        q, k, v, key_bias, rel_bias, o, lse, heads, max_distance, scale, g->batch,
        g->matmul == LV_MATMUL_F8 ? LV_MATMUL_F8 : LV_MATMUL_FLOAT } });
    return o;
}

LvTensor lv_linattn_(LvGraph *g, LvTensor q, LvTensor k, LvTensor v, LvTensor wq,
                     LvTensor wk, int heads, int map, float eps)
{
    LvTensor o     = out_like(g, q, LV_NONE);
    LvTensor state = STAT(3, g->batch * heads, lv_map_features(map, wq.dim[2]),
                          wq.dim[1] + 1);
    LvTensor den   = STAT(2, g->batch * heads, part(q.dim[0], g->batch));

    emit(g, LV_OP_LINATTN, &(LvOpArgs) { .linattn = {
        q, k, v, wq, wk, o, state, den, heads, map, eps, g->batch } });
    return o;
}

LvTensor lv_linattn_run_(LvGraph *g, const LvLinattnRunArgs *a, LvTensor *state)
{
    LvLinattnRunArgs run = *a;

    run.o     = out_like(g, a->q, LV_NONE);
    run.state = *state = out_like(g, a->past, LV_NONE);
    run.batch = g->batch;
    emit(g, LV_OP_LINATTN_RUN, &(LvOpArgs) { .linattn_run = run });
    return run.o;
}

LvTensor lv_mix_(LvGraph *g, LvTensor a, LvTensor b, LvTensor r)
{
    LvTensor y = out_like(g, a, LV_NONE);

    emit(g, LV_OP_MIX, &(LvOpArgs) { .mix = { a, b, r, y } });
    return y;
}

LvTensor lv_nag_(LvGraph *g, LvTensor p, LvTensor n, float scale, float tau, float alpha)
{
    LvTensor y = out_like(g, p, LV_NONE);

    emit(g, LV_OP_NAG, &(LvOpArgs) { .nag = { p, n, y, scale, tau, alpha } });
    return y;
}

LvTensor lv_add_(LvGraph *g, LvTensor a, LvTensor b)
{
    LvTensor y = out_like(g, a, LV_NONE);

    emit(g, LV_OP_ADD, &(LvOpArgs) { .add = { a, b, y } });
    return y;
}

LvTensor lv_act_(LvGraph *g, LvTensor x, int act, LvDtype dtype)
{
    LvTensor y = out_like(g, x, dtype);

    emit(g, LV_OP_ACT, &(LvOpArgs) { .act = { x, y, act } });
    return y;
}

LvTensor lv_glu_(LvGraph *g, LvTensor x, LvTensor gate)
{
    LvTensor y = out_like(g, x, LV_NONE);

    emit(g, LV_OP_GLU, &(LvOpArgs) { .glu = { x, gate, y } });
    return y;
}

LvTensor lv_embed_(LvGraph *g, LvTensor ids, LvTensor table, LvDtype dtype)
{
    LvTensor y = OUT(table, dtype, 2, ids.dim[0], table.dim[1]);

    emit(g, LV_OP_EMBED, &(LvOpArgs) { .embed = { ids, table, y } });
    return y;
}

LvTensor lv_sinusoid_(LvGraph *g, LvTensor t, int n)
{
    LvTensor y = OUT(t, LV_F32, 2, t.dim[0], n);

    emit(g, LV_OP_SINUSOID, &(LvOpArgs) { .sinusoid = { t, y } });
    return y;
}

LvTensor lv_patchify_(LvGraph *g, LvTensor x, const int patch[3], LvDtype dtype)
{
    int pt = patch[0], ph = patch[1], pw = patch[2], batched = x.rank == 5;
    const int *d = x.dim + batched;
    LvTensor y = OUT(x, dtype, 2, (batched ? x.dim[0] : 1) * part(d[1], pt) *
                     part(d[2], ph) * part(d[3], pw), d[0] * pt * ph * pw);

    emit(g, LV_OP_PATCHIFY, &(LvOpArgs) { .patchify = {
        x, y, pt, ph, pw, LV_PATCH_CHANNEL_SLOW } });
    return y;
}

LvTensor lv_unpatchify_(LvGraph *g, LvTensor x, const int patch[3], LvTensor like)
{
    LvTensor y = out_like(g, like, LV_F32);

    emit(g, LV_OP_UNPATCHIFY, &(LvOpArgs) { .unpatchify = {
        x, y, patch[0], patch[1], patch[2], LV_PATCH_CHANNEL_FAST } });
    return y;
}

static int conv_size(int n, int kernel, int pad, int stride)
{
    return stride ? (n + 2 * pad - kernel) / stride + 1 : 0;
}

LvTensor lv_conv_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor r,
                  int stride, int pad, int act, LvDtype dtype)
{
    LvTensor y = OUT(x, dtype, 4, x.dim[0], conv_size(x.dim[1], w.dim[2], pad, stride),
                     conv_size(x.dim[2], w.dim[3], pad, stride), w.dim[0]);
    int split  = g->train && act != LV_ACT_NONE;

    emit(g, LV_OP_CONV, &(LvOpArgs) { .conv = {
        x, w, b, r, y, stride, pad, split ? LV_ACT_NONE : act } });
    return split ? lv_act_(g, y, act, LV_NONE) : y;
}

LvTensor lv_conv3_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor r,
                   LvTensor state, int step, int pad, int act, LvDtype dtype)
{
    int frames = step ? (state.dim[0] + x.dim[0] - w.dim[0]) / step + 1 : 0;
    LvTensor y = OUT(x, dtype, 4, frames, conv_size(x.dim[1], w.dim[3], pad, 1),
                     conv_size(x.dim[2], w.dim[4], pad, 1), w.dim[1]);

    emit(g, LV_OP_CONV3, &(LvOpArgs) { .conv3 = {
        x, w, b, r, state, y, state, step, pad, act } });
    return y;
}

LvTensor lv_recall_(LvGraph *g, LvTensor x, LvTensor state)
{
    LvTensor y = OUT(x, LV_NONE, 4, x.dim[0], x.dim[1], x.dim[2], 2 * x.dim[3]);
    LvTensor next = g->train ? out_like(g, state, LV_NONE) : state;

    emit(g, LV_OP_RECALL, &(LvOpArgs) { .recall = { x, state, y, next } });
    return y;
}

LvTensor lv_upsample_(LvGraph *g, LvTensor x)
{
    LvTensor y = OUT(x, LV_NONE, 4, x.dim[0], 2 * x.dim[1], 2 * x.dim[2], x.dim[3]);

    emit(g, LV_OP_UPSAMPLE, &(LvOpArgs) { .upsample = { x, y } });
    return y;
}

LvTensor lv_unstack_(LvGraph *g, LvTensor x, int n)
{
    LvTensor y = OUT(x, LV_NONE, 4, x.dim[0] * n, x.dim[1], x.dim[2], part(x.dim[3], n));

    emit(g, LV_OP_UNSTACK, &(LvOpArgs) { .unstack = { x, y, n } });
    return y;
}

LvTensor lv_stack_(LvGraph *g, LvTensor x, int n)
{
    LvTensor y = OUT(x, LV_NONE, 4, part(x.dim[0], n), x.dim[1], x.dim[2], x.dim[3] * n);

    emit(g, LV_OP_STACK, &(LvOpArgs) { .stack = { x, y, n } });
    return y;
}

LvTensor lv_shuffle_(LvGraph *g, LvTensor x, int n, int transposed, LvDtype dtype)
{
    LvTensor y = OUT(x, dtype, 4, x.dim[0], x.dim[1] * n, x.dim[2] * n,
                     part(x.dim[3], n * n));

    emit(g, LV_OP_SHUFFLE, &(LvOpArgs) { .shuffle = { x, y, n, transposed } });
    return y;
}

LvTensor lv_unshuffle_(LvGraph *g, LvTensor x, int n, int transposed, LvDtype dtype)
{
    LvTensor y = OUT(x, dtype, 4, x.dim[0], part(x.dim[1], n), part(x.dim[2], n),
                     x.dim[3] * n * n);

    emit(g, LV_OP_UNSHUFFLE, &(LvOpArgs) { .unshuffle = { x, y, n, transposed } });
    return y;
}

LvTensor lv_avg_down_(LvGraph *g, LvTensor x, LvTensor r, int ft, int fs)
{
    LvTensor y = out_like(g, r, LV_NONE);

    emit(g, LV_OP_AVG_DOWN, &(LvOpArgs) { .avg_down = { x, r, y, ft, fs } });
    return y;
}

LvTensor lv_dup_up_(LvGraph *g, LvTensor x, LvTensor r, int ft, int fs)
{
    LvTensor y = out_like(g, r, LV_NONE);

    emit(g, LV_OP_DUP_UP, &(LvOpArgs) { .dup_up = { x, r, y, ft, fs } });
    return y;
}

LvTensor lv_expand_(LvGraph *g, LvTensor x, int n)
{
    LvTensor y = OUT(x, LV_NONE, 2, x.dim[0] * n, x.dim[1]);

    emit(g, LV_OP_EXPAND, &(LvOpArgs) { .expand = { x, y, x.dim[1] } });
    return y;
}

LvTensor lv_reduce_(LvGraph *g, LvTensor x, int n)
{
    LvTensor y = OUT(x, LV_NONE, 2, part(x.dim[0], n), x.dim[1]);

    emit(g, LV_OP_REDUCE, &(LvOpArgs) { .reduce = { x, y, x.dim[1], 0 } });
    return y;
}

void lv_fill_(LvGraph *g, LvTensor y, float value)
{
    emit(g, LV_OP_FILL, &(LvOpArgs) { .fill = { y, value } });
}

LvTensor lv_loss_by_(LvGraph *g, LvTensor x, LvTensor target, LvTensor weight,
                     LvTensor size, int kind, LvDtype dtype, LvTensor *dx)
{
    LvTensor loss = OUT(x, LV_F32, 1, weight.dim[0]);
    LvTensor d    = dx ? out_like(g, x, dtype) : LV_NO_TENSOR;

    if (dx)
        *dx = d;
    emit(g, LV_OP_LOSS, &(LvOpArgs) { .loss = {
        x, target, weight, size, loss, d, kind } });
    return loss;
}

LvTensor lv_loss_(LvGraph *g, LvTensor x, LvTensor target, LvTensor weight, int kind,
                  LvDtype dtype, LvTensor *dx)
{
    return lv_loss_by_(g, x, target, weight, LV_NO_TENSOR, kind, dtype, dx);
}

void lv_sqsum_(LvGraph *g, LvTensor x, LvTensor y, int add)
{
    emit(g, LV_OP_SQSUM, &(LvOpArgs) { .sqsum = { x, y, add } });
}

void lv_adamw_(LvGraph *g, LvTensor grad, LvTensor hyper, LvTensor norm, LvTensor p,
               LvTensor m, LvTensor v, LvTensor ema)
{
    emit(g, LV_OP_ADAMW, &(LvOpArgs) { .adamw = { grad, hyper, norm, p, m, v, ema } });
}
