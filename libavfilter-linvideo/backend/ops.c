/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/ops.h"

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
    return lv_tensor_numel(t) * lv_dtype_size((LvDtype)t->dtype);
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
    return 4.0 * a->q.dim[0] * a->k.dim[0] * a->q.dim[1];
}

static double linattn_flops(const LvLinattnArgs *a)
{
    double l = a->q.dim[0], c = a->q.dim[1], h = a->heads, p = a->wq.dim[2];
    double f = lv_map_features(a->map, a->wq.dim[2]);

    return 4 * l * c * p + 2 * l * h * f * (2 * c / h + 2);
}

static double conv_flops(const LvConvArgs *a)
{
    double taps = (double)a->w.dim[1] * a->w.dim[2] * a->w.dim[3];

    return 2 * taps * (double)lv_tensor_numel(&a->y);
}

double lv_op_flops(int op, const LvOpArgs *a)
{
    switch (op) {
    case LV_OP_LINEAR:
        return 2.0 * a->linear.x.dim[0] * a->linear.w.dim[0] * a->linear.w.dim[1];
    case LV_OP_ATTN:    return attn_flops(&a->attn);
    case LV_OP_LINATTN: return linattn_flops(&a->linattn);
    case LV_OP_CONV:    return conv_flops(&a->conv);
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

/* Checks. Each returns what is wrong, or NULL. */

enum { ACT = 1 << LV_F32 | 1 << LV_BF16, F32 = 1 << LV_F32, I32 = 1 << LV_I32,
       WEIGHT = ACT | 1 << LV_F16 };

static int is(const LvTensor *t, int types, int rank)
{
    if (!lv_has(t) || t->rank != rank || !(types >> t->dtype & 1))
        return 0;
    for (int i = 0; i < rank; i++)
        if (t->dim[i] < 1)
            return 0;
    return 1;
}

static int same_shape(const LvTensor *a, const LvTensor *b)
{
    if (a->rank != b->rank)
        return 0;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return 0;
    return 1;
}

static int act(const LvTensor *t)
{
    return t->rank >= 1 && t->rank <= LV_MAX_RANK && is(t, ACT, t->rank);
}

static int act_like(const LvTensor *t, const LvTensor *shape)
{
    return act(t) && same_shape(t, shape);
}

static int matrix_dims(const LvTensor *t, int rows, int cols)
{
    return t->dim[0] == rows && t->dim[1] == cols;
}

static int vector_or_absent(const LvTensor *t, int n)
{
    return !lv_has(t) || (is(t, F32, 1) && t->dim[0] == n);
}

static int mod_ok(const LvTensor *mod, int c, int row)
{
    return !lv_has(mod) ||
           (is(mod, F32, 2) && mod->dim[1] == c && row >= 0 && row < mod->dim[0]);
}

static int picture_dims(const LvTensor *t, int b, int y, int x, int c)
{
    return t->dim[0] == b && t->dim[1] == y && t->dim[2] == x && t->dim[3] == c;
}

static const char *check_linear(const LvLinearArgs *a)
{
    if (!is(&a->x, ACT, 2) || !is(&a->w, WEIGHT, 2))
        return "x must be [M,K] f32 or bf16, w [N,K] float";
    if (a->x.dim[1] != a->w.dim[1])
        return "inner sizes of x and w differ";
    if (!vector_or_absent(&a->b, a->w.dim[0]))
        return "b must be [N] f32";
    if (!is(&a->y, ACT, 2) || !matrix_dims(&a->y, a->x.dim[0], a->w.dim[0]))
        return "y must be [M,N] f32 or bf16";
    return a->act < 0 || a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static const char *check_norm(const LvNormArgs *a)
{
    int c = a->x.dim[1];

    if (!is(&a->x, ACT, 2) || !act_like(&a->y, &a->x))
        return "x and y must be [M,C] f32 or bf16";
    if (!vector_or_absent(&a->w, c) || !vector_or_absent(&a->b, c))
        return "w and b must be [C] f32";
    if (!mod_ok(&a->mod, c, a->shift) || !mod_ok(&a->mod, c, a->scale))
        return "mod must be [R,C] f32, shift and scale rows of it";
    if (!vector_or_absent(&a->mean, a->x.dim[0]) ||
        !vector_or_absent(&a->rstd, a->x.dim[0]))
        return "mean and rstd must be [M] f32";
    if (a->kind != LV_NORM_LAYER && a->kind != LV_NORM_RMS)
        return "unknown kind of norm";
    return a->eps > 0 ? NULL : "eps must be above 0";
}

static const char *check_gate(const LvGateArgs *a)
{
    if (!is(&a->r, ACT, 2) || !act_like(&a->x, &a->r) || !act_like(&a->y, &a->r))
        return "r, x and y must be [M,C] f32 or bf16";
    return mod_ok(&a->mod, a->r.dim[1], a->row) ? NULL :
           "mod must be [R,C] f32, row one of it";
}

static int heads_ok(int c, int heads)
{
    return heads >= 1 && c % heads == 0;
}

static const char *check_qknorm(const LvQknormArgs *a)
{
    int l = a->x.dim[0], c = a->x.dim[1];

    if (!is(&a->x, ACT, 2) || !act_like(&a->y, &a->x))
        return "x and y must be [L,C] f32 or bf16";
    if (!is(&a->w, F32, 1) || a->w.dim[0] != c)
        return "w must be [C] f32";
    if (!heads_ok(c, a->heads))
        return "heads must divide C";
    if (lv_has(&a->rope) &&
        (!is(&a->rope, F32, 3) || c / a->heads % 2 || a->rope.dim[0] != l ||
         a->rope.dim[1] != c / a->heads / 2 || a->rope.dim[2] != 2))
        return "rope must be [L,D/2,2] f32";
    if (!vector_or_absent(&a->rstd, l))
        return "rstd must be [L] f32";
    return a->eps > 0 ? NULL : "eps must be above 0";
}

static int matrix_or_absent(const LvTensor *t, int rows, int cols)
{
    return !lv_has(t) || (is(t, F32, 2) && matrix_dims(t, rows, cols));
}

static const char *check_attn(const LvAttnArgs *a)
{
    int c = a->q.dim[1];

    if (!is(&a->q, ACT, 2) || !is(&a->k, ACT, 2) || !act_like(&a->v, &a->k) ||
        a->k.dim[1] != c || !act_like(&a->o, &a->q))
        return "q and o must be [Lq,C], k and v [Lk,C], f32 or bf16";
    if (a->k.dtype != a->q.dtype || a->v.dtype != a->q.dtype)
        return "q, k and v must have one type";
    if (!heads_ok(c, a->heads))
        return "heads must divide C";
    if (!vector_or_absent(&a->key_bias, a->k.dim[0]))
        return "key_bias must be [Lk] f32";
    if (lv_has(&a->rel_bias) &&
        (!is(&a->rel_bias, F32, 2) || a->rel_bias.dim[1] != a->heads ||
         a->rel_bias.dim[0] % 4 || a->max_distance <= a->rel_bias.dim[0] / 4))
        return "rel_bias must be [buckets,H] f32, max_distance above buckets / 4";
    return matrix_or_absent(&a->lse, a->heads, a->q.dim[0]) ? NULL :
           "lse must be [H,Lq] f32";
}

static int maps_ok(const LvLinattnArgs *a)
{
    return is(&a->wq, WEIGHT, 3) && is(&a->wk, WEIGHT, 3) &&
           a->wq.dtype == a->wk.dtype && same_shape(&a->wq, &a->wk) &&
           a->wq.dim[0] == a->heads && a->wq.dim[1] == a->q.dim[1] / a->heads;
}

static const char *check_linattn(const LvLinattnArgs *a)
{
    if (!is(&a->q, ACT, 2) || !act_like(&a->k, &a->q) || !act_like(&a->v, &a->q) ||
        !act_like(&a->o, &a->q))
        return "q, k, v and o must be [L,C] f32 or bf16";
    if (a->k.dtype != a->q.dtype || a->v.dtype != a->q.dtype)
        return "q, k and v must have one type";
    if (!heads_ok(a->q.dim[1], a->heads))
        return "heads must divide C";
    if (a->map < 0 || a->map >= LV_MAP_NB)
        return "unknown feature map";
    if (!maps_ok(a))
        return "wq and wk must be [H,D,P] of one float type";
    if (lv_has(&a->state) &&
        (!is(&a->state, F32, 3) || a->state.dim[0] != a->heads ||
         a->state.dim[1] != lv_map_features(a->map, a->wq.dim[2]) ||
         a->state.dim[2] != a->wq.dim[1] + 1))
        return "state must be [H,F',D+1] f32";
    if (!matrix_or_absent(&a->den, a->heads, a->q.dim[0]))
        return "den must be [H,L] f32";
    return a->eps >= 0 ? NULL : "eps must not be below 0";
}

static const char *check_mix(const LvMixArgs *a)
{
    if (!act(&a->a) || !act_like(&a->b, &a->a) || !act_like(&a->y, &a->a))
        return "a, b and y must have one shape, f32 or bf16";
    return is(&a->r, F32, 1) && a->r.dim[0] == 1 ? NULL : "r must be [1] f32";
}

static const char *check_add(const LvAddArgs *a)
{
    if (!act(&a->a) || !act(&a->b) || !act_like(&a->y, &a->a))
        return "a and y must have one shape, f32 or bf16";
    return lv_tensor_numel(&a->a) % lv_tensor_numel(&a->b) ?
           "size of b must divide that of a" : NULL;
}

static const char *check_act(const LvActArgs *a)
{
    if (!act(&a->x) || !act_like(&a->y, &a->x))
        return "x and y must have one shape, f32 or bf16";
    return a->act < 0 || a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static const char *check_glu(const LvGluArgs *a)
{
    return act(&a->x) && act_like(&a->g, &a->x) && act_like(&a->y, &a->x) ? NULL :
           "x, g and y must have one shape, f32 or bf16";
}

static const char *check_embed(const LvEmbedArgs *a)
{
    if (!is(&a->ids, I32, 1) || !is(&a->table, WEIGHT, 2))
        return "ids must be [L] i32, table [V,C] float";
    return is(&a->y, ACT, 2) && matrix_dims(&a->y, a->ids.dim[0], a->table.dim[1]) ?
           NULL : "y must be [L,C] f32 or bf16";
}

static const char *check_sinusoid(const LvSinusoidArgs *a)
{
    return is(&a->t, F32, 1) && a->t.dim[0] == 1 && is(&a->y, F32, 2) &&
           a->y.dim[0] == 1 && a->y.dim[1] % 2 == 0 ? NULL :
           "t must be [1] f32, y [1,2n] f32";
}

/* video [C,F,Y,X] f32 against tokens [L, C pt ph pw] */
static const char *check_patches(const LvTensor *video, const LvTensor *tokens,
                                 int pt, int ph, int pw)
{
    const int *d = video->dim;

    if (!is(video, F32, 4) || !is(tokens, ACT, 2))
        return "latents must be [C,F,Y,X] f32, tokens [L,N] f32 or bf16";
    if (pt < 1 || ph < 1 || pw < 1 || d[1] % pt || d[2] % ph || d[3] % pw)
        return "the patch must divide F, Y and X";
    return matrix_dims(tokens, d[1] / pt * (d[2] / ph) * (d[3] / pw),
                       d[0] * pt * ph * pw) ?
           NULL : "tokens must be [F Y X / patch, C patch]";
}

static const char *check_patchify(const LvPatchifyArgs *a)
{
    return check_patches(&a->x, &a->y, a->pt, a->ph, a->pw);
}

static const char *check_unpatchify(const LvUnpatchifyArgs *a)
{
    return check_patches(&a->y, &a->x, a->pt, a->ph, a->pw);
}

static int conv_out(int n, int k, int pad, int stride)
{
    return n + 2 * pad < k ? 0 : (n + 2 * pad - k) / stride + 1;
}

static const char *check_conv(const LvConvArgs *a)
{
    const int *x = a->x.dim, *w = a->w.dim;

    if (!is(&a->x, ACT, 4) || !is(&a->w, WEIGHT, 4) || w[1] != x[3])
        return "x must be [B,Y,X,C] f32 or bf16, w [O,C,kh,kw] float";
    if (a->stride < 1 || a->stride > 2 || a->pad < 0 || a->pad >= LV_MIN(w[2], w[3]))
        return "stride must be 1 or 2, pad below the kernel's size";
    if (!vector_or_absent(&a->b, w[0]))
        return "b must be [O] f32";
    if (!is(&a->y, ACT, 4) ||
        !picture_dims(&a->y, x[0], conv_out(x[1], w[2], a->pad, a->stride),
                      conv_out(x[2], w[3], a->pad, a->stride), w[0]))
        return "y must be [B,Y',X',O] f32 or bf16";
    if (lv_has(&a->r) && !act_like(&a->r, &a->y))
        return "r must have the shape of y";
    return a->act < 0 || a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static int same_type(const LvTensor *a, const LvTensor *b)
{
    return a->dtype == b->dtype;
}

static const char *check_recall(const LvRecallArgs *a)
{
    const int *x = a->x.dim;

    if (!is(&a->x, ACT, 4) || !is(&a->prev, ACT, 4) || !same_type(&a->prev, &a->x) ||
        !picture_dims(&a->prev, 1, x[1], x[2], x[3]))
        return "x must be [B,Y,X,C], prev [1,Y,X,C] of its type";
    return is(&a->y, ACT, 4) && same_type(&a->y, &a->x) &&
           picture_dims(&a->y, x[0], x[1], x[2], 2 * x[3]) &&
           act_like(&a->next, &a->prev) && same_type(&a->next, &a->x) ?
           NULL : "y must be [B,Y,X,2C], next [1,Y,X,C] of x's type";
}

static const char *check_upsample(const LvUpsampleArgs *a)
{
    const int *x = a->x.dim;

    return is(&a->x, ACT, 4) && is(&a->y, ACT, 4) && same_type(&a->y, &a->x) &&
           picture_dims(&a->y, x[0], 2 * x[1], 2 * x[2], x[3]) ? NULL :
           "x must be [B,Y,X,C], y [B,2Y,2X,C] of its type";
}

/* one: [B,Y,X,n C], many: [n B,Y,X,C] */
static const char *check_stacking(const LvTensor *one, const LvTensor *many, int n)
{
    const int *d = many->dim;

    return is(one, ACT, 4) && is(many, ACT, 4) && same_type(one, many) && n >= 1 &&
           d[0] % n == 0 && picture_dims(one, d[0] / n, d[1], d[2], n * d[3]) ?
           NULL : "shapes must be [B,Y,X,n C] and [n B,Y,X,C] of one type";
}

static const char *check_unstack(const LvUnstackArgs *a)
{
    return check_stacking(&a->x, &a->y, a->n);
}

static const char *check_stack(const LvStackArgs *a)
{
    return check_stacking(&a->y, &a->x, a->n);
}

/* deep: [B,Y,X,C n n], wide: [B,Y n,X n,C] */
static const char *check_shuffling(const LvTensor *deep, const LvTensor *wide, int n)
{
    const int *d = deep->dim;

    return is(deep, ACT, 4) && is(wide, ACT, 4) && n >= 1 && d[3] % (n * n) == 0 &&
           picture_dims(wide, d[0], d[1] * n, d[2] * n, d[3] / (n * n)) ?
           NULL : "shapes must be [B,Y,X,C n n] and [B,Y n,X n,C]";
}

static const char *check_shuffle(const LvShuffleArgs *a)
{
    return check_shuffling(&a->x, &a->y, a->n);
}

static const char *check_unshuffle(const LvUnshuffleArgs *a)
{
    return check_shuffling(&a->y, &a->x, a->n);
}

int lv_op_check(int op, const LvOpArgs *a, const char **why)
{
    *why = "no such op";
    switch (op) {
#define LV_OP_CHECK(NAME, name, Type, in, out) \
    case LV_OP_##NAME: *why = check_##name(&a->name); break;
    LV_OPS(LV_OP_CHECK)
#undef LV_OP_CHECK
    }
    return *why ? LV_ERR(EINVAL) : 0;
}
