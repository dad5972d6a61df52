/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ops_grad.h"

#include <string.h>

#include "base/common.h"

static const OpsGrad grads[] = {
    { LV_OP_REDUCE,      LV_OP_EXPAND,   "10",       0, "0" },
    { LV_OP_LINEAR_DX,   LV_OP_LINEAR,   "21-0",     0, "0" },
    { LV_OP_LINEAR_DW,   LV_OP_LINEAR,   "12-0",     0, "1" },
    { LV_OP_NORM_DX,     LV_OP_NORM,     "0123645",  6, "0123" },
    { LV_OP_GATE_DX,     LV_OP_GATE,     "2012",     2, "12" },
    { LV_OP_QKNORM_DX,   LV_OP_QKNORM,   "01243",    4, "01" },
    { LV_OP_ATTN_DX,     LV_OP_ATTN,     "0123456",  7, "0124" },
    { LV_OP_LINATTN_DX,  LV_OP_LINATTN,  "01234567", 8, "01234" },
    { LV_OP_MIX_DX,      LV_OP_MIX,      "0123",     3, "012" },
    { LV_OP_ACT_DX,      LV_OP_ACT,      "01",       1, "0" },
    { LV_OP_GLU_DX,      LV_OP_GLU,      "012",      2, "01" },
    { LV_OP_EMBED_DX,    LV_OP_EMBED,    "021",      1, "1" },
    { LV_OP_CONV_DX,     LV_OP_CONV,     "21--0",    0, "0" },
    { LV_OP_CONV_DW,     LV_OP_CONV,     "12--0",    0, "1" },
    { LV_OP_RECALL_DX,   LV_OP_RECALL,   "1101",     0, "0" },
    { LV_OP_UPSAMPLE_DX, LV_OP_UPSAMPLE, "10",       0, "0" },
};

int ops_grad_count(void)
{
    return LV_COUNT(grads);
}

const OpsGrad *ops_grad_at(int i)
{
    return &grads[i];
}

const OpsGrad *ops_grad(int op)
{
    for (int i = 0; i < LV_COUNT(grads); i++)
        if (grads[i].op == op)
            return &grads[i];
    return NULL;
}

static void scalars(int op, const LvOpArgs *a, LvOpArgs *f)
{
    switch (op) {
    case LV_OP_REDUCE:
        f->expand.inner = a->reduce.inner;
        break;
    case LV_OP_NORM_DX:
        f->norm.kind  = a->norm_dx.kind;
        f->norm.shift = a->norm_dx.shift;
        f->norm.scale = a->norm_dx.scale;
        f->norm.batch = a->norm_dx.batch;
        f->norm.eps   = 1e-6f;
        break;
    case LV_OP_GATE_DX:
        f->gate.row   = a->gate_dx.row;
        f->gate.batch = a->gate_dx.batch;
        break;
    case LV_OP_QKNORM_DX:
        f->qknorm.heads = a->qknorm_dx.heads;
        f->qknorm.eps   = 1e-6f;
        break;
    case LV_OP_ATTN_DX:
        f->attn.heads        = a->attn_dx.heads;
        f->attn.max_distance = a->attn_dx.max_distance;
        f->attn.scale        = a->attn_dx.scale;
        f->attn.batch        = a->attn_dx.batch;
        break;
    case LV_OP_LINATTN_DX:
        f->linattn.heads = a->linattn_dx.heads;
        f->linattn.map   = a->linattn_dx.map;
        f->linattn.eps   = a->linattn_dx.eps;
        f->linattn.batch = a->linattn_dx.batch;
        break;
    case LV_OP_ACT_DX:
        f->act.act = a->act_dx.act;
        break;
    case LV_OP_CONV_DX:
        f->conv.stride = a->conv_dx.stride;
        f->conv.pad    = a->conv_dx.pad;
        break;
    case LV_OP_CONV_DW:
        f->conv.stride = a->conv_dw.stride;
        f->conv.pad    = a->conv_dw.pad;
        break;
    }
}

void ops_grad_forward(const OpsGrad *g, const LvOpArgs *a, LvOpArgs *f)
{
    memset(f, 0, sizeof(*f));
    for (int t = 0; g->place[t]; t++)
        f->t[t] = g->place[t] == '-' ? LV_NO_TENSOR : a->t[g->place[t] - '0'];
    scalars(g->op, a, f);
    if (g->op == LV_OP_RECALL_DX)
        f->recall.prev.dim[0] = f->recall.next.dim[0] = 1;
}
