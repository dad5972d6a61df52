/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Checks of the arguments of ops against the comments of their structs. Each
 * returns what is wrong, or NULL.
 */

#include "backend/check.h"

#include <errno.h>

#include "base/common.h"

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

static const char BATCH[] = "batch must be 1 or more and divide the rows";

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

/* Rows of x in `batch` groups of one size. */
static int batch_ok(const LvTensor *x, int batch)
{
    return batch >= 1 && x->dim[0] % batch == 0;
}

static int mod_ok(const LvTensor *mod, int c, int row, int batch)
{
    return !lv_has(mod) ||
           (is(mod, F32, 2) && mod->dim[1] == c && mod->dim[0] % batch == 0 &&
            row >= 0 && row < mod->dim[0] / batch);
}

static int frame_dims(const LvTensor *t, int b, int y, int x, int c)
{
    return t->dim[0] == b && t->dim[1] == y && t->dim[2] == x && t->dim[3] == c;
}

static int is_stored(const LvTensor *w)
{
    size_t block = lv_dtype_block((LvDtype)w->dtype);

    if (!lv_tensor_is_stored(w) || !is(w, 1 << w->dtype, 2))
        return 0;
    return block > 1 ? (size_t)w->dim[1] % block == 0 : !(w->dim[0] % 16 || w->dim[1] % 16);
}

static const char *check_linear(const LvLinearArgs *a)
{
    if (!is(&a->x, ACT, 2) || !(is(&a->w, WEIGHT, 2) || is_stored(&a->w)))
        return "x must be [M,K] f32 or bf16, w [N,K] float or stored";
    if (a->x.dim[1] != a->w.dim[1])
        return "inner sizes of x and w differ";
    if (!vector_or_absent(&a->b, a->w.dim[0]))
        return "b must be [N] f32";
    if (!is(&a->y, ACT, 2) || !matrix_dims(&a->y, a->x.dim[0], a->w.dim[0]))
        return "y must be [M,N] f32 or bf16";
    if (a->of >= LV_MATMUL_NB)
        return "unknown numbers to multiply";
    return a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

/* What a norm has besides its x and y. */
static const char *check_norm_rest(const LvNormArgs *a)
{
    int c = a->x.dim[1];

    if (!vector_or_absent(&a->w, c) || !vector_or_absent(&a->b, c))
        return "w and b must be [C] f32";
    if (!batch_ok(&a->x, a->batch))
        return BATCH;
    if (!mod_ok(&a->mod, c, a->shift, a->batch) ||
        !mod_ok(&a->mod, c, a->scale, a->batch))
        return "mod must be [B R,C] f32, shift and scale below R";
    if (!vector_or_absent(&a->mean, a->x.dim[0]) ||
        !vector_or_absent(&a->rstd, a->x.dim[0]))
        return "mean and rstd must be [M] f32";
    if (a->kind != LV_NORM_LAYER && a->kind != LV_NORM_RMS)
        return "unknown kind of norm";
    if (a->act >= LV_ACT_NB)
        return "unknown activation";
    return a->eps > 0 ? NULL : "eps must be above 0";
}

static const char *check_norm(const LvNormArgs *a)
{
    if (!is(&a->x, ACT, 2) || !act_like(&a->y, &a->x))
        return "x and y must be [M,C] f32 or bf16";
    return check_norm_rest(a);
}

static const char *check_gate(const LvGateArgs *a)
{
    if (!is(&a->r, ACT, 2) || !act_like(&a->x, &a->r) || !act_like(&a->y, &a->r))
        return "r, x and y must be [M,C] f32 or bf16";
    if (!batch_ok(&a->r, a->batch))
        return BATCH;
    return mod_ok(&a->mod, a->r.dim[1], a->row, a->batch) ? NULL :
           "mod must be [B R,C] f32, row below R";
}

static const char *check_gate_norm(const LvGateNormArgs *a)
{
    const LvNormArgs n = lv_norm_part(a);

    if (!is(&a->r, ACT, 2) || !act_like(&a->x, &a->r) || !act_like(&a->n, &a->r))
        return "r, x and n must be [M,C] f32 or bf16";
    if (!is(&a->y, F32, 2) || !same_shape(&a->y, &a->r))
        return "y must be [M,C] f32";
    if (!batch_ok(&a->r, a->batch))
        return BATCH;
    if (!mod_ok(&a->gate, a->r.dim[1], a->row, a->batch))
        return "gate must be [B R,C] f32, row below R";
    return check_norm_rest(&n);
}

static int heads_ok(int c, int heads)
{
    return heads >= 1 && c % heads == 0;
}

static int rope_ok(const LvTensor *rope, int rows, int d)
{
    return !lv_has(rope) ||
           (is(rope, F32, 3) && d % 2 == 0 && rows % rope->dim[0] == 0 &&
            rope->dim[1] == d / 2 && rope->dim[2] == 2);
}

static const char *check_qknorm(const LvQknormArgs *a)
{
    int m = a->x.dim[0], c = a->x.dim[1];

    if (!is(&a->x, ACT, 2) || !act_like(&a->y, &a->x))
        return "x and y must be [M,C] f32 or bf16";
    if (!is(&a->w, F32, 1) || a->w.dim[0] != c)
        return "w must be [C] f32";
    if (!heads_ok(c, a->heads))
        return "heads must divide C";
    if (!rope_ok(&a->rope, m, c / a->heads))
        return "rope must be [L,D/2,2] f32, L dividing the rows of x";
    if (!vector_or_absent(&a->rstd, m))
        return "rstd must be [M] f32";
    return a->eps > 0 ? NULL : "eps must be above 0";
}

static int matrix_or_absent(const LvTensor *t, int rows, int cols)
{
    return !lv_has(t) || (is(t, F32, 2) && matrix_dims(t, rows, cols));
}

static const char *check_attn_inputs(const LvTensor *q, const LvTensor *k,
                                     const LvTensor *v, const LvTensor *o, int heads,
                                     int batch)
{
    if (!is(q, ACT, 2) || !is(k, ACT, 2) || !act_like(v, k) ||
        k->dim[1] != q->dim[1] || !act_like(o, q))
        return "q and o must be [Lq,C], k and v [Lk,C], f32 or bf16";
    if (k->dtype != q->dtype || v->dtype != q->dtype)
        return "q, k and v must have one type";
    if (!batch_ok(q, batch) || !batch_ok(k, batch))
        return BATCH;
    return heads_ok(q->dim[1], heads) ? NULL : "heads must divide C";
}

static const char *check_attn_biases(const LvTensor *key, const LvTensor *rel, int keys,
                                     int heads, int max_distance)
{
    if (!vector_or_absent(key, keys))
        return "key_bias must be [B Lk] f32";
    if (lv_has(rel) && (!is(rel, F32, 2) || rel->dim[1] != heads || rel->dim[0] % 4 ||
                        max_distance <= rel->dim[0] / 4))
        return "rel_bias must be [buckets,H] f32, max_distance above buckets / 4";
    return NULL;
}

static const char *check_attn(const LvAttnArgs *a)
{
    const char *why = check_attn_inputs(&a->q, &a->k, &a->v, &a->o, a->heads, a->batch);

    if (!why)
        why = check_attn_biases(&a->key_bias, &a->rel_bias, a->k.dim[0], a->heads,
                                a->max_distance);
    if (why)
        return why;
    if (a->of != LV_MATMUL_FLOAT && a->of != LV_MATMUL_F8)
        return "of must be LV_MATMUL_FLOAT or LV_MATMUL_F8";
    return matrix_or_absent(&a->lse, a->batch * a->heads, a->q.dim[0] / a->batch) ? NULL
           : "lse must be [B H,Lq] f32";
}

static int maps_ok(const LvTensor *wq, const LvTensor *wk, int heads, int c)
{
    return is(wq, WEIGHT, 3) && is(wk, WEIGHT, 3) && wq->dtype == wk->dtype &&
           same_shape(wq, wk) && wq->dim[0] == heads && wq->dim[1] == c / heads;
}

static const char *check_linattn_inputs(const LvTensor *q, const LvTensor *k,
                                        const LvTensor *v, const LvTensor *o,
                                        const LvTensor *wq, const LvTensor *wk,
                                        int heads, int map, int batch)
{
    const char *why = check_attn_inputs(q, k, v, o, heads, batch);

    if (why || !same_shape(k, q))
        return why ? why : "q, k, v and o must have one shape";
    if (map < 0 || map >= LV_MAP_NB)
        return "unknown feature map";
    return maps_ok(wq, wk, heads, q->dim[1]) ? NULL :
           "wq and wk must be [H,D,P] of one float type";
}

static int state_ok(const LvTensor *state, const LvTensor *w, int map, int batch)
{
    return is(state, F32, 3) && state->dim[0] == batch * w->dim[0] &&
           state->dim[1] == lv_map_features(map, w->dim[2]) &&
           state->dim[2] == w->dim[1] + 1;
}

static const char STATE[] = "state must be [B H,F',D+1] f32", DEN[] =
    "den must be [B H,L] f32", EPS[] = "eps must not be below 0";

static const char *check_linattn(const LvLinattnArgs *a)
{
    const char *why = check_linattn_inputs(&a->q, &a->k, &a->v, &a->o, &a->wq, &a->wk,
                                           a->heads, a->map, a->batch);

    if (why)
        return why;
    if (lv_has(&a->state) && !state_ok(&a->state, &a->wq, a->map, a->batch))
        return STATE;
    if (!matrix_or_absent(&a->den, a->batch * a->heads, a->q.dim[0] / a->batch))
        return DEN;
    return a->eps >= 0 ? NULL : EPS;
}

static const char *check_linattn_run(const LvLinattnRunArgs *a)
{
    const LvLinattnArgs part = lv_linattn_part(a);
    const char *why = check_linattn(&part);

    if (why)
        return why;
    if (!state_ok(&a->state, &a->wq, a->map, a->batch) ||
        !state_ok(&a->past, &a->wq, a->map, a->batch))
        return "past and state must be [B H,F',D+1] f32";
    return is(&a->share, F32, 1) && a->share.dim[0] == 1 ? NULL : "share must be [1] f32";
}

static const char *check_mix(const LvMixArgs *a)
{
    if (!act(&a->a) || !act_like(&a->b, &a->a) || !act_like(&a->y, &a->a))
        return "a, b and y must have one shape, f32 or bf16";
    return is(&a->r, F32, 1) && a->r.dim[0] == 1 ? NULL : "r must be [1] f32";
}

static const char *check_nag(const LvNagArgs *a)
{
    if (!is(&a->p, ACT, 2) || !act_like(&a->n, &a->p) || !act_like(&a->y, &a->p))
        return "p, n and y must be [M,C] f32 or bf16";
    if (!(a->scale >= 1) || !(a->tau > 0))
        return "scale must be 1 or more, tau above 0";
    return a->alpha >= 0 && a->alpha <= 1 ? NULL : "alpha must be 0 to 1";
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
    return a->act >= LV_ACT_NB ? "unknown activation" : NULL;
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
    return is(&a->t, F32, 1) && is(&a->y, F32, 2) && a->y.dim[0] == a->t.dim[0] &&
           a->y.dim[1] % 2 == 0 ? NULL : "t must be [B] f32, y [B,2n] f32";
}

/* video [C,F,Y,X] or [B,C,F,Y,X] f32 against tokens [B L, C pt ph pw] */
static const char *check_patches(const LvTensor *video, const LvTensor *tokens,
                                 int pt, int ph, int pw, int order)
{
    int batch = video->rank == 5 ? video->dim[0] : 1;
    const int *d = video->dim + (video->rank == 5);

    if ((!is(video, F32, 4) && !is(video, F32, 5)) || !is(tokens, ACT, 2))
        return "latents must be [C,F,Y,X] or [B,C,F,Y,X] f32, tokens [L,N] f32 or bf16";
    if (pt < 1 || ph < 1 || pw < 1 || d[1] % pt || d[2] % ph || d[3] % pw)
        return "the patch must divide F, Y and X";
    if (order != LV_PATCH_CHANNEL_SLOW && order != LV_PATCH_CHANNEL_FAST)
        return "unknown order";
    return matrix_dims(tokens, batch * (d[1] / pt) * (d[2] / ph) * (d[3] / pw),
                       d[0] * pt * ph * pw) ?
           NULL : "tokens must be [B F Y X / patch, C patch]";
}

static const char *check_patchify(const LvPatchifyArgs *a)
{
    return check_patches(&a->x, &a->y, a->pt, a->ph, a->pw, a->order);
}

static const char *check_unpatchify(const LvUnpatchifyArgs *a)
{
    return check_patches(&a->y, &a->x, a->pt, a->ph, a->pw, a->order);
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
        !frame_dims(&a->y, x[0], conv_out(x[1], w[2], a->pad, a->stride),
                      conv_out(x[2], w[3], a->pad, a->stride), w[0]))
        return "y must be [B,Y',X',O] f32 or bf16";
    if (lv_has(&a->r) && !act_like(&a->r, &a->y))
        return "r must have the shape of y";
    return a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static int same_type(const LvTensor *a, const LvTensor *b)
{
    return a->dtype == b->dtype;
}

static int same_frames(const LvTensor *t, const LvTensor *x, int frames)
{
    return is(t, ACT, 4) && same_type(t, x) &&
           frame_dims(t, frames, x->dim[1], x->dim[2], x->dim[3]);
}

static const char *check_conv3(const LvConv3Args *a)
{
    const int *x = a->x.dim, *w = a->w.dim;
    int p = a->prev.dim[0], left = p + x[0] - w[0];

    if (!is(&a->x, ACT, 4) || !is(&a->w, WEIGHT, 5) || w[2] != x[3])
        return "x must be [F,Y,X,C] f32 or bf16, w [T,O,C,kh,kw] float";
    if (a->step < 1 || a->step > 2 || a->pad < 0 || a->pad >= LV_MIN(w[3], w[4]))
        return "step must be 1 or 2, pad below the kernel's size";
    if (!same_frames(&a->prev, &a->x, p) || !same_frames(&a->next, &a->x, p) || p >= w[0])
        return "prev and next must be [P,Y,X,C] of the type of x, P below T";
    if (!vector_or_absent(&a->b, w[1]))
        return "b must be [O] f32";
    if (!is(&a->y, ACT, 4) || left < 0 ||
        !frame_dims(&a->y, left / a->step + 1, conv_out(x[1], w[3], a->pad, 1),
                      conv_out(x[2], w[4], a->pad, 1), w[1]))
        return "y must be [F',Y',X',O] f32 or bf16";
    if (lv_has(&a->r) && !act_like(&a->r, &a->y))
        return "r must have the shape of y";
    return a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static const char *check_recall(const LvRecallArgs *a)
{
    const int *x = a->x.dim;

    if (!is(&a->x, ACT, 4) || !is(&a->prev, ACT, 4) || !same_type(&a->prev, &a->x) ||
        !frame_dims(&a->prev, 1, x[1], x[2], x[3]))
        return "x must be [B,Y,X,C], prev [1,Y,X,C] of its type";
    return is(&a->y, ACT, 4) && same_type(&a->y, &a->x) &&
           frame_dims(&a->y, x[0], x[1], x[2], 2 * x[3]) &&
           act_like(&a->next, &a->prev) && same_type(&a->next, &a->x) ?
           NULL : "y must be [B,Y,X,2C], next [1,Y,X,C] of x's type";
}

static const char *check_upsample(const LvUpsampleArgs *a)
{
    const int *x = a->x.dim;

    return is(&a->x, ACT, 4) && is(&a->y, ACT, 4) && same_type(&a->y, &a->x) &&
           frame_dims(&a->y, x[0], 2 * x[1], 2 * x[2], x[3]) ? NULL :
           "x must be [B,Y,X,C], y [B,2Y,2X,C] of its type";
}

/* one: [B,Y,X,n C], many: [n B,Y,X,C] */
static const char *check_stacking(const LvTensor *one, const LvTensor *many, int n)
{
    const int *d = many->dim;

    return is(one, ACT, 4) && is(many, ACT, 4) && same_type(one, many) && n >= 1 &&
           d[0] % n == 0 && frame_dims(one, d[0] / n, d[1], d[2], n * d[3]) ?
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
           frame_dims(wide, d[0], d[1] * n, d[2] * n, d[3] / (n * n)) ?
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

static int act_or_absent(const LvTensor *t, const LvTensor *like)
{
    return !lv_has(t) || act_like(t, like);
}

/* Channels of a pixel of the smaller side's, ft fs fs of the larger one's together. */
static int gathered(int channels, int ft, int fs)
{
    int64_t n = (int64_t)channels * ft * fs * fs;

    return n <= INT32_MAX ? (int)n : 0;
}

static const char *check_avg_down(const LvAvgDownArgs *a)
{
    const int *x = a->x.dim, *y = a->y.dim;
    int n = a->ft >= 1 && a->fs >= 1 ? gathered(x[3], a->ft, a->fs) : 0;

    return is(&a->x, ACT, 4) && is(&a->y, ACT, 4) && act_or_absent(&a->r, &a->y) && n > 0 &&
           y[0] == (x[0] - 1) / a->ft + 1 && (int64_t)y[1] * a->fs == x[1] &&
           (int64_t)y[2] * a->fs == x[2] && n % y[3] == 0 ? NULL :
           "x must be [F,Y fs,X fs,C], r and y [F / ft rounded up,Y,X,O], O dividing C ft fs fs";
}

static const char *check_dup_up(const LvDupUpArgs *a)
{
    const int *x = a->x.dim, *y = a->y.dim;
    int n = a->ft >= 1 && a->fs >= 1 ? gathered(y[3], a->ft, a->fs) : 0;

    return is(&a->x, ACT, 4) && is(&a->y, ACT, 4) && act_or_absent(&a->r, &a->y) && n > 0 &&
           x[0] == (y[0] - 1) / a->ft + 1 && (int64_t)x[1] * a->fs == y[1] &&
           (int64_t)x[2] * a->fs == y[2] && n % x[3] == 0 ? NULL :
           "x must be [F,Y,X,C], r and y [F ft or less,Y fs,X fs,O], C dividing O ft fs fs";
}

/* n elements from `first` on lie within `all` of them. */
static int lies_in(int first, int n, int all)
{
    return first >= 0 && first <= all - n;
}

static const char *check_blend(const LvBlendArgs *a)
{
    const int *x = a->x.dim, *y = a->y.dim;

    if (!is(&a->x, F32, 4) || !is(&a->y, F32, 4) || x[3] != 3 || y[3] != 3 || x[0] != y[0])
        return "x must be [F,Y,X,3] f32, y [F,Y',X',3]";
    if (!is(&a->wy, F32, 1) || a->wy.dim[0] != x[1] || !is(&a->wx, F32, 1) ||
        a->wx.dim[0] != x[2])
        return "wy must be [Y] f32, wx [X]";
    if (!lies_in(a->top, x[1], y[1]) || !lies_in(a->left, x[2], y[2]))
        return "x must lie within y";
    return lies_in(0, a->old_rows, x[1]) && lies_in(0, a->old_cols, x[2]) &&
           a->old_rows >= 0 && a->old_cols >= 0 ? NULL :
           "old_rows must be 0 to Y, old_cols 0 to X";
}

static const char *check_frame(const LvFrameArgs *a)
{
    const LvPlanes *out = &a->out;

    if (!is(&a->rgb, F32, 3) || a->rgb.dim[2] != 3)
        return "rgb must be [Y,X,3] f32";
    if (out->width < 1 || out->width > a->rgb.dim[1] || out->height < 1 ||
        out->height > a->rgb.dim[0])
        return "out must be 1x1 or more, and within rgb";
    return out->format < LV_FORMAT_NB ? NULL : "unknown format";
}

/* many: A n C elements, few: A C, inner: C */
static const char *check_repeats(const LvTensor *many, const LvTensor *few, int inner)
{
    return act(many) && act(few) && inner >= 1 &&
           lv_tensor_numel(few) % (size_t)inner == 0 &&
           lv_tensor_numel(many) % lv_tensor_numel(few) == 0 ? NULL :
           "sizes must be A n C and A C, f32 or bf16, inner C";
}

static const char *check_expand(const LvExpandArgs *a)
{
    return check_repeats(&a->y, &a->x, a->inner);
}

static const char *check_reduce(const LvReduceArgs *a)
{
    return check_repeats(&a->x, &a->y, a->inner);
}

static const char *check_fill(const LvFillArgs *a)
{
    return act(&a->y) ? NULL : "y must be f32 or bf16";
}

static const char *check_loss(const LvLossArgs *a)
{
    if (!act(&a->x) || !act_like(&a->target, &a->x) ||
        (lv_has(&a->dx) && !act_like(&a->dx, &a->x)))
        return "x, target and dx must have one shape, f32 or bf16";
    if (!is(&a->weight, F32, 1) || a->x.dim[0] % a->weight.dim[0] ||
        !is(&a->loss, F32, 1) || a->loss.dim[0] != a->weight.dim[0])
        return "weight and loss must be [B] f32, B dividing the first size of x";
    if (!vector_or_absent(&a->size, a->weight.dim[0]))
        return "size must be [B] f32";
    return a->kind >= LV_LOSS_NB ? "unknown loss" : NULL;
}

static const char *check_sqsum(const LvSqsumArgs *a)
{
    return is(&a->x, F32, a->x.rank) && is(&a->y, F32, 1) && a->y.dim[0] == 1 ? NULL :
           "x must be f32, y [1] f32";
}

static const char *check_adamw(const LvAdamwArgs *a)
{
    int n = a->g.dim[0];

    if (!is(&a->g, F32, 1) || !is(&a->p, F32, 1) || !is(&a->m, F32, 1) ||
        !is(&a->v, F32, 1) || a->p.dim[0] != n || a->m.dim[0] != n ||
        a->v.dim[0] != n || !vector_or_absent(&a->ema, n))
        return "g, p, m, v and ema must be [n] f32";
    if (!is(&a->hyper, F32, 1) || a->hyper.dim[0] != LV_HYPER_NB)
        return "hyper must hold the scalars of LvHyper in f32";
    return vector_or_absent(&a->norm, 1) ? NULL : "norm must be [1] f32";
}

static const char *check_linear_dx(const LvLinearDxArgs *a)
{
    return is(&a->dy, ACT, 2) && is(&a->w, WEIGHT, 2) && is(&a->dx, ACT, 2) &&
           a->dy.dim[1] == a->w.dim[0] &&
           matrix_dims(&a->dx, a->dy.dim[0], a->w.dim[1]) ? NULL :
           "dy must be [M,N], dx [M,K] f32 or bf16, w [N,K] float";
}

static const char *check_linear_dw(const LvLinearDwArgs *a)
{
    return is(&a->dy, ACT, 2) && is(&a->x, ACT, 2) && same_type(&a->dy, &a->x) &&
           is(&a->dw, F32, 2) && a->dy.dim[0] == a->x.dim[0] &&
           matrix_dims(&a->dw, a->dy.dim[1], a->x.dim[1]) ? NULL :
           "dy must be [M,N], x [M,K] of one type, dw [N,K] f32";
}

static int grad_like(const LvTensor *d, const LvTensor *of)
{
    return !lv_has(d) || act_like(d, of);
}

static const char *check_norm_dx(const LvNormDxArgs *a)
{
    int m = a->x.dim[0], c = a->x.dim[1];

    if (!is(&a->x, ACT, 2) || !act_like(&a->dy, &a->x) || !grad_like(&a->dx, &a->x))
        return "x, dy and dx must be [M,C] f32 or bf16";
    if (!vector_or_absent(&a->w, c) || !vector_or_absent(&a->b, c) ||
        !vector_or_absent(&a->dw, c) || !vector_or_absent(&a->db, c))
        return "w, b, dw and db must be [C] f32";
    if (!batch_ok(&a->x, a->batch))
        return BATCH;
    if (!mod_ok(&a->mod, c, a->shift, a->batch) ||
        !mod_ok(&a->mod, c, a->scale, a->batch) ||
        (lv_has(&a->dmod) &&
         (!lv_has(&a->mod) || !is(&a->dmod, F32, 2) || !same_shape(&a->dmod, &a->mod))))
        return "mod and dmod must be [B R,C] f32, shift and scale below R";
    if (a->kind != LV_NORM_LAYER && a->kind != LV_NORM_RMS)
        return "unknown kind of norm";
    if (lv_has(&a->mean) != (a->kind == LV_NORM_LAYER) || !vector_or_absent(&a->mean, m) ||
        !is(&a->rstd, F32, 1) || a->rstd.dim[0] != m)
        return "mean (of LAYER) and rstd must be [M] f32";
    return NULL;
}

static const char *check_gate_dx(const LvGateDxArgs *a)
{
    if (!is(&a->dy, ACT, 2) || !grad_like(&a->x, &a->dy) || !grad_like(&a->dx, &a->dy) ||
        (lv_has(&a->dmod) && !lv_has(&a->x)))
        return "x, dy and dx must be [M,C] f32 or bf16";
    if (!batch_ok(&a->dy, a->batch))
        return BATCH;
    return mod_ok(&a->mod, a->dy.dim[1], a->row, a->batch) &&
           (!lv_has(&a->dmod) || (lv_has(&a->mod) && is(&a->dmod, F32, 2) &&
                                  same_shape(&a->dmod, &a->mod))) ? NULL :
           "mod and dmod must be [B R,C] f32, row below R";
}

static const char *check_qknorm_dx(const LvQknormDxArgs *a)
{
    int m = a->x.dim[0], c = a->x.dim[1];

    if (!is(&a->x, ACT, 2) || !act_like(&a->dy, &a->x) || !grad_like(&a->dx, &a->x))
        return "x, dy and dx must be [M,C] f32 or bf16";
    if (!is(&a->w, F32, 1) || a->w.dim[0] != c || !vector_or_absent(&a->dw, c))
        return "w and dw must be [C] f32";
    if (!heads_ok(c, a->heads))
        return "heads must divide C";
    if (!rope_ok(&a->rope, m, c / a->heads))
        return "rope must be [L,D/2,2] f32, L dividing the rows of x";
    return is(&a->rstd, F32, 1) && a->rstd.dim[0] == m ? NULL : "rstd must be [M] f32";
}

static const char *check_attn_grads(const LvTensor *q, const LvTensor *k,
                                    const LvTensor *dy, const LvTensor *dq,
                                    const LvTensor *dk, const LvTensor *dv)
{
    return act_like(dy, q) && grad_like(dq, q) && grad_like(dk, k) && grad_like(dv, k) ?
           NULL : "dy and dq must have the shape of q, dk and dv that of k";
}

static const char *check_attn_dx(const LvAttnDxArgs *a)
{
    const char *why = check_attn_inputs(&a->q, &a->k, &a->v, &a->o, a->heads, a->batch);

    if (!why)
        why = check_attn_biases(&a->key_bias, &a->rel_bias, a->k.dim[0], a->heads,
                                a->max_distance);
    if (!why)
        why = check_attn_grads(&a->q, &a->k, &a->dy, &a->dq, &a->dk, &a->dv);
    if (why)
        return why;
    if (!lv_has(&a->lse) ||
        !matrix_or_absent(&a->lse, a->batch * a->heads, a->q.dim[0] / a->batch))
        return "lse must be [B H,Lq] f32";
    return !lv_has(&a->drel) || (lv_has(&a->rel_bias) && is(&a->drel, F32, 2) &&
                                 same_shape(&a->drel, &a->rel_bias)) ? NULL :
           "drel must have the shape of rel_bias, f32";
}

static int map_grad_ok(const LvTensor *d, const LvTensor *w)
{
    return !lv_has(d) || (is(d, F32, 3) && same_shape(d, w));
}

static const char *check_linattn_dx(const LvLinattnDxArgs *a)
{
    const char *why = check_linattn_inputs(&a->q, &a->k, &a->v, &a->o, &a->wq, &a->wk,
                                           a->heads, a->map, a->batch);

    if (!why)
        why = check_attn_grads(&a->q, &a->k, &a->dy, &a->dq, &a->dk, &a->dv);
    if (why)
        return why;
    if (!state_ok(&a->state, &a->wq, a->map, a->batch))
        return STATE;
    if (!lv_has(&a->den) ||
        !matrix_or_absent(&a->den, a->batch * a->heads, a->q.dim[0] / a->batch))
        return DEN;
    if (!map_grad_ok(&a->dwq, &a->wq) || !map_grad_ok(&a->dwk, &a->wk))
        return "dwq and dwk must be [H,D,P] f32";
    return a->eps >= 0 ? NULL : EPS;
}

static const char *check_mix_dx(const LvMixDxArgs *a)
{
    if (!act(&a->a) || !act_like(&a->b, &a->a) || !act_like(&a->dy, &a->a) ||
        !grad_like(&a->da, &a->a) || !grad_like(&a->db, &a->a))
        return "a, b, dy, da and db must have one shape, f32 or bf16";
    return is(&a->r, F32, 1) && a->r.dim[0] == 1 && vector_or_absent(&a->dr, 1) ? NULL :
           "r and dr must be [1] f32";
}

static const char *check_act_dx(const LvActDxArgs *a)
{
    if (!act(&a->x) || !act_like(&a->dy, &a->x) || !act_like(&a->dx, &a->x))
        return "x, dy and dx must have one shape, f32 or bf16";
    return a->act >= LV_ACT_NB ? "unknown activation" : NULL;
}

static const char *check_glu_dx(const LvGluDxArgs *a)
{
    return act(&a->x) && act_like(&a->g, &a->x) && act_like(&a->dy, &a->x) &&
           grad_like(&a->dx, &a->x) && grad_like(&a->dg, &a->x) ? NULL :
           "x, g, dy, dx and dg must have one shape, f32 or bf16";
}

static const char *check_embed_dx(const LvEmbedDxArgs *a)
{
    return is(&a->ids, I32, 1) && is(&a->dy, ACT, 2) && is(&a->dtable, F32, 2) &&
           matrix_dims(&a->dy, a->ids.dim[0], a->dtable.dim[1]) ? NULL :
           "ids must be [M] i32, dy [M,C] f32 or bf16, dtable [V,C] f32";
}

/* x: [B,Y,X,C], w: [O,C,kh,kw], y: [B,Y',X',O] */
static const char *check_conv_grad(const LvTensor *x, const LvTensor *w,
                                   const LvTensor *y, int stride, int pad)
{
    if (w->dim[1] != x->dim[3])
        return "channels of x and w differ";
    if (stride < 1 || stride > 2 || pad < 0 || pad >= LV_MIN(w->dim[2], w->dim[3]))
        return "stride must be 1 or 2, pad below the kernel's size";
    return frame_dims(y, x->dim[0], conv_out(x->dim[1], w->dim[2], pad, stride),
                        conv_out(x->dim[2], w->dim[3], pad, stride), w->dim[0]) ? NULL :
           "dy must be [B,Y',X',O]";
}

static const char *check_conv_dx(const LvConvDxArgs *a)
{
    if (!is(&a->dy, ACT, 4) || !is(&a->w, WEIGHT, 4) || !is(&a->dx, ACT, 4))
        return "dy and dx must be images, f32 or bf16, w [O,C,kh,kw] float";
    return check_conv_grad(&a->dx, &a->w, &a->dy, a->stride, a->pad);
}

static const char *check_conv_dw(const LvConvDwArgs *a)
{
    if (!is(&a->dy, ACT, 4) || !is(&a->x, ACT, 4) || !same_type(&a->dy, &a->x) ||
        !is(&a->dw, F32, 4))
        return "dy and x must be images of one type, f32 or bf16, dw [O,C,kh,kw] f32";
    return check_conv_grad(&a->x, &a->dw, &a->dy, a->stride, a->pad);
}

static const char *check_recall_dx(const LvRecallDxArgs *a)
{
    const int *d = a->dx.dim;

    return is(&a->dy, ACT, 4) && is(&a->dx, ACT, 4) &&
           frame_dims(&a->dy, d[0], d[1], d[2], 2 * d[3]) ? NULL :
           "dy must be [B,Y,X,2C], dx [B,Y,X,C]";
}

static const char *check_upsample_dx(const LvUpsampleDxArgs *a)
{
    const int *d = a->dx.dim;

    return is(&a->dy, ACT, 4) && is(&a->dx, ACT, 4) &&
           frame_dims(&a->dy, d[0], 2 * d[1], 2 * d[2], d[3]) ? NULL :
           "dy must be [B,2Y,2X,C], dx [B,Y,X,C]";
}

/* Whether any output is there. */
static int has_output(int op, const LvOpArgs *a)
{
    const LvOpInfo *info = lv_op_info(op);
    int has = 0;

    for (int i = info->in; i < info->in + info->out; i++)
        has = has || lv_has(&a->t[i]);
    return has;
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
    if (!*why && lv_op_info(op)->out && !has_output(op, a))
        *why = "no output is asked for";
    return *why ? LV_ERR(EINVAL) : 0;
}
