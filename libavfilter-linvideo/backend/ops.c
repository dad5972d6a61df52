/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/ops.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/common.h"

static const LvOpInfo infos[LV_OP_NB] = {
#define LV_OP_ROW(NAME, name, Type, in, out) [LV_OP_##NAME] = { #name, in, out },
    LV_OPS(LV_OP_ROW)
#undef LV_OP_ROW
};

const LvOpInfo *lv_op_info(int op)
{
    assert(op >= 0 && op < LV_OP_NB);
    return &infos[op];
}

size_t lv_tensor_numel(const LvTensor *t)
{
    size_t n = lv_has(t);

    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->dim[i];
    return n;
}

size_t lv_tensor_bytes(const LvTensor *t)
{
    size_t bytes = 0;

    lv_dtype_bytes(&bytes, (LvDtype)t->dtype, lv_tensor_numel(t));
    if (bytes && lv_dtype_has_scales((LvDtype)t->dtype))
        bytes += sizeof(float) * (size_t)t->dim[0];
    return bytes;
}

int lv_dtype_has_scales(LvDtype dtype)
{
    return dtype == LV_F8_E4M3 || dtype == LV_I8;
}

int lv_tensor_is_stored(const LvTensor *t)
{
    return lv_dtype_has_scales((LvDtype)t->dtype) || lv_dtype_block((LvDtype)t->dtype) > 1;
}

size_t lv_tensor_rows(const LvTensor *t)
{
    return lv_has(t) ? lv_tensor_numel(t) / (size_t)t->dim[t->rank - 1] : 0;
}

const char *lv_tensor_text(char *buf, size_t size, const LvTensor *t)
{
    size_t n = 0;

    if (!lv_has(t)) {
        snprintf(buf, size, "-");
        return buf;
    }
    for (int i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%d", i ? "," : "[", t->dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "] %s", lv_dtype_name((LvDtype)t->dtype));
    return buf;
}

int lv_map_features(int map, int p)
{
    switch (map) {
    case LV_MAP_HEDGEHOG: return 2 * p;
    case LV_MAP_TAYLOR:   return 1 + p + p * (p + 1) / 2;
    default:              return p;
    }
}

static double attn_flops(const LvAttnArgs *a)
{
    return 4.0 * a->q.dim[0] * a->k.dim[0] * a->q.dim[1] / a->batch;
}

/* Scores and do v^T once more, then dq, dk, dv. */
static double attn_dx_flops(const LvAttnDxArgs *a)
{
    return 10.0 * a->q.dim[0] * a->k.dim[0] * a->q.dim[1] / a->batch;
}

static double linattn_flops(const LvLinattnArgs *a)
{
    double l = a->q.dim[0], c = a->q.dim[1], h = a->heads, p = a->wq.dim[2];
    double f = lv_map_features(a->map, a->wq.dim[2]);

    return 4 * l * c * p + 2 * l * h * f * (2 * c / h + 2);
}

/* Maps once more and their two gradients each; phi S^T, phi^T G, V+ dS^T, phi dS. */
static double linattn_dx_flops(const LvLinattnDxArgs *a)
{
    double l = a->q.dim[0], c = a->q.dim[1], h = a->heads, p = a->wq.dim[2];
    double f = lv_map_features(a->map, a->wq.dim[2]);

    return 12 * l * c * p + 8 * l * h * f * (c / h + 1);
}

static double linattn_run_flops(const LvLinattnRunArgs *a)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return linattn_flops(&part);
}

static double conv_grad_flops(const LvTensor *w, const LvTensor *dy)
{
    return 2.0 * w->dim[1] * w->dim[2] * w->dim[3] * (double)lv_tensor_numel(dy);
}

static double conv_flops(const LvConvArgs *a)
{
    double taps = (double)a->w.dim[1] * a->w.dim[2] * a->w.dim[3];

    return 2 * taps * (double)lv_tensor_numel(&a->y);
}

static double conv3_flops(const LvConv3Args *a)
{
    const int *w = a->w.dim;

    return 2.0 * w[0] * w[2] * w[3] * w[4] * (double)lv_tensor_numel(&a->y);
}

LvGateArgs lv_gate_part(const LvGateNormArgs *a)
{
    return (LvGateArgs) { a->r, a->x, a->gate, a->y, a->row, a->batch };
}

LvNormArgs lv_norm_part(const LvGateNormArgs *a)
{
    return (LvNormArgs) { a->y, a->w, a->b, a->mod, a->n, a->mean, a->rstd, a->kind,
                          a->shift, a->scale, a->eps, a->batch, LV_ACT_NONE };
}

LvLinattnArgs lv_linattn_part(const LvLinattnRunArgs *a)
{
    return (LvLinattnArgs) { a->q, a->k, a->v, a->wq, a->wk, a->o, a->state, LV_NO_TENSOR,
                             a->heads, a->map, a->eps, a->batch };
}

LvTensor lv_conv3_tap(const LvConv3Args *a, int t)
{
    LvTensor w = a->w;

    w.rank = 4;
    for (int i = 0; i < LV_MAX_RANK; i++)
        w.dim[i] = i < 4 ? a->w.dim[i + 1] : 1;
    w.data = (char *)w.data + (size_t)t * lv_tensor_bytes(&w);
    return w;
}

double lv_op_flops(int op, const LvOpArgs *a)
{
    switch (op) {
    case LV_OP_LINEAR:
        return 2.0 * a->linear.x.dim[0] * a->linear.w.dim[0] * a->linear.w.dim[1];
    case LV_OP_ATTN:    return attn_flops(&a->attn);
    case LV_OP_LINATTN: return linattn_flops(&a->linattn);
    case LV_OP_LINATTN_RUN: return linattn_run_flops(&a->linattn_run);
    case LV_OP_CONV:    return conv_flops(&a->conv);
    case LV_OP_CONV3:   return conv3_flops(&a->conv3);
    case LV_OP_LINEAR_DX:
        return 2.0 * a->linear_dx.dy.dim[0] * a->linear_dx.w.dim[0] *
               a->linear_dx.w.dim[1];
    case LV_OP_LINEAR_DW:
        return 2.0 * a->linear_dw.dy.dim[0] * a->linear_dw.dw.dim[0] *
               a->linear_dw.dw.dim[1];
    case LV_OP_ATTN_DX:    return attn_dx_flops(&a->attn_dx);
    case LV_OP_LINATTN_DX: return linattn_dx_flops(&a->linattn_dx);
    case LV_OP_CONV_DX:
        return conv_grad_flops(&a->conv_dx.w, &a->conv_dx.dy);
    case LV_OP_CONV_DW:
        return conv_grad_flops(&a->conv_dw.dw, &a->conv_dw.dy);
    default:            return 0;
    }
}

double lv_op_bytes(int op, const LvOpArgs *a)
{
    double sum = 0;

    for (int i = 0; i < infos[op].in + infos[op].out; i++)
        sum += (double)lv_tensor_bytes(&a->t[i]);
    return sum;
}
