/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "graph/fuse.h"

#include "graph/internal.h"

static int same_size(const LvTensor *a, const LvTensor *b)
{
    return a->dim[0] == b->dim[0] && a->dim[1] == b->dim[1];
}

static int fuse_gate_norm(const LvProgram *p, LvRecord *a, const LvRecord *b)
{
    const LvGateArgs g = a->u.gate;
    const LvNormArgs n = b->u.norm;

    if (a->op != LV_OP_GATE || b->op != LV_OP_NORM || g.y.id != n.x.id || n.act ||
        g.y.dtype != LV_F32 || !same_size(&g.y, &n.x) || g.batch != n.batch ||
        !lv_device_has(p->dev, LV_OP_GATE_NORM))
        return 0;
    a->op = LV_OP_GATE_NORM;
    a->u  = (LvOpArgs) { .gate_norm = {
        g.r, g.x, g.mod, n.w, n.b, n.mod, g.y, n.y, n.mean, n.rstd, g.row, n.kind, n.shift,
        n.scale, n.eps, n.batch } };
    return 1;
}

/* Whether record r alone reads this tensor, a temporary. */
static int is_passed_on(const LvProgram *p, const LvRecord *r, int id)
{
    int readers = 0;

    for (int i = 0; i < p->nb_rec; i++)
        for (int k = 0; k < lv_op_info(p->rec[i].op)->in; k++)
            if (p->rec[i].u.t[k].id == id)
                readers += &p->rec[i] == r ? 1 : 2;
    return readers == 1 && !p->info[id].external;
}

static int fuse_norm_act(const LvProgram *p, LvRecord *a, const LvRecord *b)
{
    LvNormArgs *n = &a->u.norm;

    if (a->op != LV_OP_NORM || b->op != LV_OP_ACT || n->y.id != b->u.act.x.id || n->act ||
        n->y.dtype != b->u.act.y.dtype || lv_has(&n->mean) || lv_has(&n->rstd) ||
        !is_passed_on(p, b, n->y.id))
        return 0;
    n->y   = lv_reshape(b->u.act.y, n->y.rank, n->y.dim);
    n->act = b->u.act.act;
    return 1;
}

void lv_fuse(LvProgram *p)
{
    int nb = 0;

    for (int r = 0; r < p->nb_rec; r++) {
        LvRecord *last = nb ? &p->rec[nb - 1] : NULL;
        const LvRecord *next = &p->rec[r];

        if (last && (fuse_gate_norm(p, last, next) || fuse_norm_act(p, last, next)))
            continue;
        p->rec[nb++] = *next;
    }
    p->nb_rec = nb;
}
