/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The gradient: a walk back over the list, one short rule for each op. A rule names
 * the gradients it makes by the tensors of the record that was traced, and reads
 * their values where they are: in the tensor itself, or in its copy where a segment
 * between two checkpoints was computed again.
 */

#include "graph/grad.h"

#include <stdlib.h>
#include <string.h>

#include "graph/internal.h"

/* What is known of a tensor of the forward pass. */
typedef struct Slot {
    LvTensor grad;   /* absent until something has been put there */
    int again;       /* id of its copy, or its own */
    uint8_t needs;   /* a target lies behind it */
    uint8_t dtype;   /* of its gradient */
    int last_read;   /* last forward record that reads it */
} Slot;

enum { MAX_LATER = 5 };

typedef struct Grad {
    LvGraph *g;
    Slot *slot;      /* [nb_slots], by id */
    int nb_slots, nb_rec; /* of the forward pass */
    const LvGradTarget *target;
    int nb_targets;
    LvTensor *weight; /* gradients of weights, by LV_ID_WEIGHT - id */
    int nb_weights;
    const LvRecord *rec; /* whose gradient is being made */
    struct { LvTensor to, from; } later[MAX_LATER]; /* sums due after it */
    int nb_later;
} Grad;

static void append(Grad *c, int op, const LvOpArgs *u)
{
    LvRecord r = *c->rec;

    r.op = op;
    r.u  = *u;
    lv_graph_append(c->g, &r);
}

static int is_weight(LvTensor t)
{
    return t.id <= LV_ID_WEIGHT;
}

static LvTensor weight_grad(const Grad *c, LvTensor t)
{
    int i = LV_ID_WEIGHT - t.id;

    return i < c->nb_weights ? c->weight[i] : LV_NO_TENSOR;
}

static int needs(const Grad *c, LvTensor t)
{
    if (is_weight(t))
        return weight_grad(c, t).id != LV_ID_NONE;
    return t.id >= 0 && c->slot[t.id].needs;
}

/* t as a rule reads it. */
static LvTensor at(const Grad *c, LvTensor t)
{
    if (t.id >= 0)
        t.id = c->slot[t.id].again;
    return t;
}

static LvTensor shaped(LvTensor t, LvTensor like)
{
    return lv_reshape(t, like.rank, like.dim);
}

static LvTensor make(Grad *c, LvTensor like, int dtype)
{
    return lv_graph_tensor(c->g, (LvDtype)dtype, like.rank, like.dim);
}

static void copy(Grad *c, LvTensor from, LvTensor to)
{
    append(c, LV_OP_ACT, &(LvOpArgs) { .act = { shaped(from, to), to, LV_ACT_NONE } });
}

/* Whether an output of the rule at work is this tensor already. */
static int taken(LvTensor t, const LvTensor *made, int nb)
{
    for (int i = 0; i < nb; i++)
        if (made[i].id == t.id)
            return 1;
    return 0;
}

/* Where the gradient of t goes, as output number i of the op at work, whose outputs
 * before it are made[]. Sets bit i of add when something is there already. */
static LvTensor want(Grad *c, LvTensor t, const LvTensor *made, int i, int *add)
{
    LvTensor to;

    if (!needs(c, t))
        return LV_NO_TENSOR;
    to = is_weight(t) ? weight_grad(c, t) : c->slot[t.id].grad;
    if (lv_has(&to) && !taken(to, made, i)) {
        *add |= 1 << i;
        return shaped(to, t);
    }
    if (!lv_has(&to))
        return c->slot[t.id].grad = make(c, t, c->slot[t.id].dtype);
    c->later[c->nb_later].to     = to;
    c->later[c->nb_later++].from = make(c, t, to.dtype);
    return c->later[c->nb_later - 1].from;
}

/* The same for an op that can only add to what is there. */
static LvTensor want_zeroed(Grad *c, LvTensor t)
{
    LvTensor *to;

    if (!needs(c, t))
        return LV_NO_TENSOR;
    if (is_weight(t))
        return shaped(weight_grad(c, t), t);
    to = &c->slot[t.id].grad;
    if (!lv_has(to)) {
        *to = make(c, t, LV_F32);
        append(c, LV_OP_FILL, &(LvOpArgs) { .fill = { *to, 0 } });
    }
    return shaped(*to, t);
}

/* to += from */
static void sum(Grad *c, LvTensor to, LvTensor from)
{
    append(c, LV_OP_ADD, &(LvOpArgs) { .add = { to, shaped(from, to), to } });
}

static int is_external(const Grad *c, LvTensor t)
{
    return t.id < 0 || c->g->info[t.id].external;
}

/* The gradient of t is d itself, whose memory may be taken over when `own`. */
static void give(Grad *c, LvTensor t, LvTensor d, int own)
{
    Slot *s = t.id >= 0 ? &c->slot[t.id] : NULL;

    if (!needs(c, t))
        return;
    if (!s) {
        sum(c, weight_grad(c, t), d);
    } else if (lv_has(&s->grad)) {
        sum(c, s->grad, d);
    } else if (own && d.dtype == s->dtype && !is_external(c, d)) {
        s->grad = shaped(d, t);
    } else {
        s->grad = make(c, t, s->dtype);
        copy(c, d, s->grad);
    }
}

/* Rules. dy has the shape of the record's first output. */

/* A bias stands in every row. */
static void grad_bias(Grad *c, LvTensor b, LvTensor dy)
{
    int add = 0;
    LvTensor db = want(c, b, NULL, 0, &add);

    if (lv_has(&db))
        append(c, LV_OP_REDUCE, &(LvOpArgs) { .reduce = {
            dy, db, (int)lv_tensor_numel(&db), add } });
}

static void grad_linear(Grad *c, const LvLinearArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add), dw;

    if (lv_has(&dx))
        append(c, LV_OP_LINEAR_DX, &(LvOpArgs) { .linear_dx = { dy, a->w, dx, add } });
    add = 0;
    dw  = want(c, a->w, NULL, 0, &add);
    if (lv_has(&dw))
        append(c, LV_OP_LINEAR_DW, &(LvOpArgs) { .linear_dw = {
            dy, at(c, a->x), dw, add } });
    grad_bias(c, a->b, dy);
}

static void grad_norm(Grad *c, const LvNormArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[4];

    d[0] = want(c, a->x, d, 0, &add);
    d[1] = want(c, a->w, d, 1, &add);
    d[2] = want(c, a->b, d, 2, &add);
    d[3] = want_zeroed(c, a->mod);
    append(c, LV_OP_NORM_DX, &(LvOpArgs) { .norm_dx = {
        at(c, a->x), a->w, a->b, at(c, a->mod), at(c, a->mean), at(c, a->rstd), dy,
        d[0], d[1], d[2], d[3], a->kind, a->shift, a->scale, a->batch, add } });
}

static void grad_gate(Grad *c, const LvGateArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add), dmod = want_zeroed(c, a->mod);
    LvTensor x  = lv_has(&dmod) ? at(c, a->x) : LV_NO_TENSOR;

    if (lv_has(&dx) || lv_has(&dmod))
        append(c, LV_OP_GATE_DX, &(LvOpArgs) { .gate_dx = {
            x, at(c, a->mod), dy, dx, dmod, a->row, a->batch, add } });
    give(c, a->r, dy, 1);
}

static void grad_qknorm(Grad *c, const LvQknormArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[2];

    d[0] = want(c, a->x, d, 0, &add);
    d[1] = want(c, a->w, d, 1, &add);
    append(c, LV_OP_QKNORM_DX, &(LvOpArgs) { .qknorm_dx = {
        at(c, a->x), a->w, a->rope, at(c, a->rstd), dy, d[0], d[1], a->heads, add } });
}

static void grad_attn(Grad *c, const LvAttnArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[4];

    d[0] = want(c, a->q, d, 0, &add);
    d[1] = want(c, a->k, d, 1, &add);
    d[2] = want(c, a->v, d, 2, &add);
    d[3] = want(c, a->rel_bias, d, 3, &add);
    append(c, LV_OP_ATTN_DX, &(LvOpArgs) { .attn_dx = {
        at(c, a->q), at(c, a->k), at(c, a->v), a->key_bias, a->rel_bias, at(c, a->o),
        at(c, a->lse), dy, d[0], d[1], d[2], d[3], a->heads, a->max_distance, a->scale,
        a->batch, add } });
}

static void grad_linattn(Grad *c, const LvLinattnArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[5];

    d[0] = want(c, a->q, d, 0, &add);
    d[1] = want(c, a->k, d, 1, &add);
    d[2] = want(c, a->v, d, 2, &add);
    d[3] = want(c, a->wq, d, 3, &add);
    d[4] = want(c, a->wk, d, 4, &add);
    append(c, LV_OP_LINATTN_DX, &(LvOpArgs) { .linattn_dx = {
        at(c, a->q), at(c, a->k), at(c, a->v), a->wq, a->wk, at(c, a->o),
        at(c, a->state), at(c, a->den), dy, d[0], d[1], d[2], d[3], d[4], a->heads,
        a->map, a->eps, a->batch, add } });
}

static void grad_mix(Grad *c, const LvMixArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[3];

    d[0] = want(c, a->a, d, 0, &add);
    d[1] = want(c, a->b, d, 1, &add);
    d[2] = want(c, a->r, d, 2, &add);
    append(c, LV_OP_MIX_DX, &(LvOpArgs) { .mix_dx = {
        at(c, a->a), at(c, a->b), a->r, dy, d[0], d[1], d[2], add } });
}

static void grad_add(Grad *c, const LvAddArgs *a, LvTensor dy)
{
    grad_bias(c, a->b, dy);
    give(c, a->a, dy, 1);
}

static void grad_act(Grad *c, const LvActArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add);

    append(c, LV_OP_ACT_DX, &(LvOpArgs) { .act_dx = { at(c, a->x), dy, dx, a->act, add } });
}

static void grad_glu(Grad *c, const LvGluArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d[2];

    d[0] = want(c, a->x, d, 0, &add);
    d[1] = want(c, a->g, d, 1, &add);
    append(c, LV_OP_GLU_DX, &(LvOpArgs) { .glu_dx = {
        at(c, a->x), at(c, a->g), dy, d[0], d[1], add } });
}

static void grad_embed(Grad *c, const LvEmbedArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor d = want(c, a->table, NULL, 0, &add);

    append(c, LV_OP_EMBED_DX, &(LvOpArgs) { .embed_dx = { a->ids, dy, d, add } });
}

static void grad_patchify(Grad *c, const LvPatchifyArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, LV_F32);

    append(c, LV_OP_UNPATCHIFY, &(LvOpArgs) { .unpatchify = {
        dy, d, a->pt, a->ph, a->pw, a->order } });
    give(c, a->x, d, 1);
}

static void grad_unpatchify(Grad *c, const LvUnpatchifyArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, c->slot[a->x.id].dtype);

    append(c, LV_OP_PATCHIFY, &(LvOpArgs) { .patchify = {
        dy, d, a->pt, a->ph, a->pw, a->order } });
    give(c, a->x, d, 1);
}

static void grad_conv(Grad *c, const LvConvArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add), dw;

    if (lv_has(&dx))
        append(c, LV_OP_CONV_DX, &(LvOpArgs) { .conv_dx = {
            dy, a->w, dx, a->stride, a->pad, add } });
    add = 0;
    dw  = want(c, a->w, NULL, 0, &add);
    if (lv_has(&dw))
        append(c, LV_OP_CONV_DW, &(LvOpArgs) { .conv_dw = {
            dy, at(c, a->x), dw, a->stride, a->pad, add } });
    grad_bias(c, a->b, dy);
    give(c, a->r, dy, 1);
}

static void grad_recall(Grad *c, const LvRecallArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add);

    append(c, LV_OP_RECALL_DX, &(LvOpArgs) { .recall_dx = { dy, dx, add } });
}

static void grad_upsample(Grad *c, const LvUpsampleArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add);

    append(c, LV_OP_UPSAMPLE_DX, &(LvOpArgs) { .upsample_dx = { dy, dx, add } });
}

static void grad_unstack(Grad *c, const LvUnstackArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, dy.dtype);

    append(c, LV_OP_STACK, &(LvOpArgs) { .stack = { dy, d, a->n } });
    give(c, a->x, d, 1);
}

static void grad_stack(Grad *c, const LvStackArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, dy.dtype);

    append(c, LV_OP_UNSTACK, &(LvOpArgs) { .unstack = { dy, d, a->n } });
    give(c, a->x, d, 1);
}

static void grad_shuffle(Grad *c, const LvShuffleArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, c->slot[a->x.id].dtype);

    append(c, LV_OP_UNSHUFFLE, &(LvOpArgs) { .unshuffle = { dy, d, a->n, a->transposed } });
    give(c, a->x, d, 1);
}

static void grad_unshuffle(Grad *c, const LvUnshuffleArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, c->slot[a->x.id].dtype);

    append(c, LV_OP_SHUFFLE, &(LvOpArgs) { .shuffle = { dy, d, a->n, a->transposed } });
    give(c, a->x, d, 1);
}

static void grad_expand(Grad *c, const LvExpandArgs *a, LvTensor dy)
{
    int add = 0;
    LvTensor dx = want(c, a->x, NULL, 0, &add);

    append(c, LV_OP_REDUCE, &(LvOpArgs) { .reduce = { dy, dx, a->inner, add } });
}

static void grad_reduce(Grad *c, const LvReduceArgs *a, LvTensor dy)
{
    LvTensor d = make(c, a->x, c->slot[a->x.id].dtype);

    append(c, LV_OP_EXPAND, &(LvOpArgs) { .expand = { dy, d, a->inner } });
    give(c, a->x, d, 1);
}

/* Its activation is within, or there are no statistics, which are outputs behind y. */
static int is_untrained(const LvRecord *r)
{
    const LvOpInfo *op = lv_op_info(r->op);

    return (r->op == LV_OP_LINEAR && r->u.linear.act != LV_ACT_NONE) ||
           (r->op == LV_OP_CONV && r->u.conv.act != LV_ACT_NONE) ||
           !lv_has(&r->u.t[op->in + op->out - 1]);
}

static int fail_record(Grad *c, const LvRecord *r, const char *why)
{
    return c->g->error = lv_fail(c->g->msg, LV_ERR_UNSUPPORTED, "%s:%d: %s: %s", r->file,
                                 r->line, lv_op_info(r->op)->name, why);
}

static void apply_rule(Grad *c, const LvRecord *r, LvTensor dy)
{
    if (is_untrained(r)) {
        fail_record(c, r, "traced without lv_graph_train(), so it has no gradient");
        return;
    }
    switch (r->op) {
#define RULE(NAME, name) case LV_OP_##NAME: grad_##name(c, &r->u.name, dy); break;
    RULE(LINEAR, linear) RULE(NORM, norm) RULE(GATE, gate) RULE(QKNORM, qknorm)
    RULE(ATTN, attn) RULE(LINATTN, linattn) RULE(MIX, mix) RULE(ADD, add)
    RULE(ACT, act) RULE(GLU, glu) RULE(EMBED, embed) RULE(PATCHIFY, patchify)
    RULE(UNPATCHIFY, unpatchify) RULE(CONV, conv) RULE(RECALL, recall)
    RULE(UPSAMPLE, upsample) RULE(UNSTACK, unstack) RULE(STACK, stack)
    RULE(SHUFFLE, shuffle) RULE(UNSHUFFLE, unshuffle) RULE(EXPAND, expand)
    RULE(REDUCE, reduce)
#undef RULE
    default: fail_record(c, r, "has no gradient");
    }
}

/* Any of the inputs of a record leads to a target. */
static int record_needs(const Grad *c, const LvRecord *r)
{
    for (int k = 0; k < lv_op_info(r->op)->in; k++)
        if (needs(c, r->u.t[k]))
            return 1;
    return 0;
}

static void back_record(Grad *c, int i)
{
    /* A copy: appending moves the list. */
    const LvRecord r = c->g->rec[i];
    LvTensor y = r.u.t[lv_op_info(r.op)->in];
    LvTensor dy = y.id >= 0 ? c->slot[y.id].grad : LV_NO_TENSOR;

    if (!lv_has(&dy) || !record_needs(c, &r))
        return;
    c->rec = &r;
    c->nb_later = 0;
    apply_rule(c, &r, shaped(dy, y));
    for (int k = 0; k < c->nb_later; k++)
        sum(c, c->later[k].to, c->later[k].from);
    c->rec = NULL;
}

/* Segments. What a segment made and nobody behind it reads is made once more before
 * the walk back over it; the rest is still there. */

static int is_kept(const Grad *c, int id, int end)
{
    return c->slot[id].last_read >= end || c->g->info[id].external;
}

static int has_lost(const Grad *c, const LvRecord *r, int end)
{
    const LvOpInfo *op = lv_op_info(r->op);

    for (int k = op->in; k < op->in + op->out; k++)
        if (lv_has(&r->u.t[k]) && r->u.t[k].id >= 0 && !is_kept(c, r->u.t[k].id, end))
            return 1;
    return 0;
}

static void repeat_record(Grad *c, int i, int end)
{
    LvRecord r = c->g->rec[i];
    const LvOpInfo *op = lv_op_info(r.op);

    for (int k = 0; k < op->in; k++)
        r.u.t[k] = at(c, r.u.t[k]);
    for (int k = op->in; k < op->in + op->out; k++) {
        LvTensor *t = &r.u.t[k];
        int id      = t->id;
        if (id < 0)
            continue;
        t->id = make(c, *t, t->dtype).id;
        if (!is_kept(c, id, end))
            c->slot[id].again = t->id;
    }
    lv_graph_append(c->g, &r);
}

static void back_segment(Grad *c, int from, int to, int again)
{
    for (int i = from; i < to && again && !c->g->error; i++)
        if (has_lost(c, &c->g->rec[i], to))
            repeat_record(c, i, to);
    for (int i = to - 1; i >= from && !c->g->error; i--)
        back_record(c, i);
}

static void walk_back(Grad *c)
{
    int to = c->nb_rec;

    for (int k = c->g->nb_marks - 1; k >= -1; k--) {
        int from = k >= 0 ? c->g->mark[k] : 0;
        back_segment(c, from, to, k < c->g->nb_marks - 1 && k >= 0);
        to = from;
    }
}

/* Records that nobody needs: their outputs are temporaries that no later one reads. */
static void prune(LvGraph *g, int from)
{
    uint8_t *read = calloc((size_t)g->nb_info + 1, 1);
    int nb = g->nb_rec;

    if (!read) {
        g->error = lv_fail(g->msg, LV_ERR(ENOMEM), "graph: out of memory");
        return;
    }
    for (int i = g->nb_rec - 1, out = g->nb_rec; i >= from; i--) {
        const LvRecord r = g->rec[i];
        const LvOpInfo *op = lv_op_info(r.op);
        int live = 0;
        for (int k = op->in; k < op->in + op->out; k++) {
            int id = r.u.t[k].id;
            live = live || (id != LV_ID_NONE && (id < 0 || read[id] || g->info[id].external));
        }
        if (live) {
            for (int k = 0; k < op->in + op->out; k++)
                if (r.u.t[k].id >= 0)
                    read[r.u.t[k].id] = 1;
            g->rec[--out] = r;
        }
        nb = out;
    }
    memmove(g->rec + from, g->rec + nb, (size_t)(g->nb_rec - nb) * sizeof(*g->rec));
    g->nb_rec -= nb - from;
    free(read);
}

/* Gradients have the type of their tensor, but for what a matmul made: there it is
 * that of the matmul, so that it can enter the matmuls of the backward pass. */
static int grad_dtype(const LvRecord *r, const LvTensor *t)
{
    return r->op == LV_OP_LINEAR || r->op == LV_OP_CONV ? r->u.t[0].dtype : t->dtype;
}

static void look_at_records(Grad *c)
{
    for (int i = 0; i < c->nb_slots; i++)
        c->slot[i] = (Slot) { .grad = LV_NO_TENSOR, .again = i, .dtype = LV_F32,
                              .last_read = -1 };
    for (int i = 0; i < c->nb_targets; i++)
        if (c->target[i].value.id >= 0) {
            Slot *s  = &c->slot[c->target[i].value.id];
            s->needs = 1;
            s->grad  = c->target[i].grad;
        }
    for (int i = 0; i < c->nb_rec; i++) {
        const LvRecord *r  = &c->g->rec[i];
        const LvOpInfo *op = lv_op_info(r->op);
        int leads = record_needs(c, r);
        for (int k = 0; k < op->in + op->out; k++) {
            const LvTensor *t = &r->u.t[k];
            if (t->id < 0)
                continue;
            if (k < op->in) {
                c->slot[t->id].last_read = i;
                continue;
            }
            c->slot[t->id].needs |= leads;
            c->slot[t->id].dtype  = (uint8_t)grad_dtype(r, t);
        }
    }
}

static int list_weights(Grad *c)
{
    for (int i = 0; i < c->nb_targets; i++)
        if (is_weight(c->target[i].value))
            c->nb_weights = LV_MAX(c->nb_weights, LV_ID_WEIGHT - c->target[i].value.id + 1);
    c->weight = calloc((size_t)c->nb_weights + 1, sizeof(*c->weight));
    if (!c->weight)
        return -1;
    for (int i = 0; i < c->nb_weights; i++)
        c->weight[i] = LV_NO_TENSOR;
    for (int i = 0; i < c->nb_targets; i++)
        if (is_weight(c->target[i].value))
            c->weight[LV_ID_WEIGHT - c->target[i].value.id] = c->target[i].grad;
    return 0;
}

int lv_grad(LvGraph *g, const LvGradSeed *seed, int nb_seeds, const LvGradTarget *target,
            int nb_targets)
{
    Grad c = { .g = g, .nb_slots = g->nb_info, .nb_rec = g->nb_rec, .target = target,
               .nb_targets = nb_targets };

    if (g->error)
        return g->error;
    c.slot = calloc((size_t)g->nb_info + 1, sizeof(*c.slot));
    if (!c.slot || list_weights(&c) < 0) {
        g->error = lv_fail(g->msg, LV_ERR(ENOMEM), "graph: out of memory");
    } else {
        look_at_records(&c);
        c.rec = g->nb_rec ? &(const LvRecord) { .file = g->file, .line = g->line } : NULL;
        for (int i = 0; i < nb_seeds; i++)
            give(&c, seed[i].y, seed[i].dy, 1);
        walk_back(&c);
        prune(g, c.nb_rec);
    }
    free(c.slot);
    free(c.weight);
    return g->error;
}
