/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention: on tensor cores for bf16 heads of 64 and 128 channels without
 * relative bias, else in f32.
 */

#include "backend/cuda/cuda.h"

enum { MAX_WARPS = 4, ANY_ROWS = 32, ANY_WARPS = 8, MAX_HEAD = 256 };

static int is_fast(const LvTensor *q, const LvTensor *rel_bias, int d)
{
    return q->dtype == LV_BF16 && (d == 64 || d == 128) && !lv_has(rel_bias);
}

static int check_head(LvDevice *dev, int d)
{
    return d <= MAX_HEAD ? 0 :
           lv_fail(dev->msg, LV_ERR_UNSUPPORTED,
                   "cuda: attention has heads of up to %d channels, not %d", MAX_HEAD, d);
}

static size_t bucket_bytes(const LvTensor *rel_bias, int max_distance)
{
    return lv_has(rel_bias) ? 4 * (size_t)(max_distance + 1) : 0;
}

static int fill_buckets(LvCuda *cu, int *bucket, const LvTensor *rel_bias,
                        int max_distance)
{
    int half = rel_bias->dim[0] / 2;

    if (!lv_has(rel_bias))
        return 0;
    return LV_LAUNCH(cu, attn_buckets, lv_cuda_grid1((size_t)max_distance + 1), &bucket,
                     &half, &max_distance);
}

/* Warps of a block, of `own` rows each, that leave fewest of n rows' places empty. */
static int fast_warps(int n, int own)
{
    int best = 1, least = LV_ROUND_UP(n, own);

    for (int w = 2; w <= MAX_WARPS; w++)
        if (LV_ROUND_UP(n, w * own) <= least + least / 16)
            best = w;
    return best;
}

/* Blocks for n rows of each sample and head; memory for `kept` tensors of own rows and
 * for tiles of `tile` rows, two of each of two tensors, with two numbers a row. */
static LvGrid fast_grid(int n, int groups, int d, int own, int kept, int tile)
{
    int warps = fast_warps(n, own), rows = kept * warps * own + 4 * tile;

    return (LvGrid) { lv_cuda_split((size_t)n, (size_t)(warps * own)), (size_t)groups, 1,
                      32 * (unsigned)warps, 2 * (size_t)rows * (size_t)d +
                      16 * (size_t)tile };
}

/* Blocks of eight rows each, for the kernels in f32. */
static LvGrid any_grid(int n, int groups, int d, size_t ones)
{
    return (LvGrid) { lv_cuda_split((size_t)n, ANY_WARPS), (size_t)groups, 1,
                      32 * ANY_WARPS, 4 * (2 * ANY_ROWS * (size_t)(d + 1) +
                                           ones * ANY_WARPS * (size_t)d) };
}

int lv_cuda_plan_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    call->scratch_bytes = bucket_bytes(&a->rel_bias, a->max_distance);
    return check_head(dev, a->q.dim[1] / a->heads);
}

int lv_cuda_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int d = a->q.dim[1] / a->heads, lq = a->q.dim[0] / a->batch, ret;
    int groups = a->batch * a->heads;

    if (is_fast(&a->q, &a->rel_bias, d))
        return lv_cuda_launch(cu, d == 64 ? LV_K_attn_bf16_d64 : LV_K_attn_bf16_d128,
                              fast_grid(lq, groups, d, 32, 1, d == 64 ? 64 : 32), (void *[]) { (void *)a });
    ret = fill_buckets(cu, call->scratch, &a->rel_bias, a->max_distance);
    return ret < 0 ? ret : LV_LAUNCH(cu, attn_any, any_grid(lq, groups, d, 1), (void *)a,
                                     &call->scratch);
}

/* What the gradient makes on the way, in its scratch. */
typedef struct Parts {
    float *delta;      /* [B H,Lq] */
    uint16_t *dy;      /* [B Lq,C] in bf16, when dy is not */
    int *bucket;
    float *diagonals;  /* [B H,Lq + Lk - 1] */
    size_t bytes;
} Parts;

static Parts parts_of(const LvAttnDxArgs *a, void *scratch)
{
    size_t groups = (size_t)a->batch * (size_t)a->heads;
    size_t lq = (size_t)(a->q.dim[0] / a->batch), lk = (size_t)(a->k.dim[0] / a->batch);
    int fast  = is_fast(&a->q, &a->rel_bias, a->q.dim[1] / a->heads);
    Parts p   = { 0 };

    p.delta     = lv_cuda_carve(scratch, &p.bytes, 4 * groups * lq);
    p.dy        = lv_cuda_carve(scratch, &p.bytes, fast && a->dy.dtype != LV_BF16 ?
                                2 * lv_tensor_numel(&a->dy) : 0);
    p.bucket    = lv_cuda_carve(scratch, &p.bytes,
                                bucket_bytes(&a->rel_bias, a->max_distance));
    p.diagonals = lv_cuda_carve(scratch, &p.bytes,
                                lv_has(&a->drel) ? 4 * groups * (lq + lk - 1) : 0);
    return p;
}

int lv_cuda_plan_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    call->scratch_bytes = parts_of(a, NULL).bytes;
    return check_head(dev, a->q.dim[1] / a->heads);
}

static int fast_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    int d = a->q.dim[1] / a->heads, groups = a->batch * a->heads, ret = 0;
    const void *dy = a->dy.data;
    void *args[] = { (void *)a, &dy, &p->delta };

    if (a->dy.dtype != LV_BF16) {
        ret = lv_cuda_cast(cu, p->dy, LV_BF16, dy, a->dy.dtype, lv_tensor_numel(&a->dy));
        dy  = p->dy;
    }
    if (ret >= 0 && lv_has(&a->dq))
        ret = lv_cuda_launch(cu, d == 64 ? LV_K_attn_dq_bf16_d64 : LV_K_attn_dq_bf16_d128,
                             fast_grid(a->q.dim[0] / a->batch, groups, d, 32, 2, 32), args);
    if (ret >= 0 && (lv_has(&a->dk) || lv_has(&a->dv)))
        ret = lv_cuda_launch(cu, d == 64 ? LV_K_attn_dkv_bf16_d64
                                         : LV_K_attn_dkv_bf16_d128,
                             fast_grid(a->k.dim[0] / a->batch, groups, d, d == 64 ? 32 : 16, 2,
                                       32), args);
    return ret;
}

static int relative_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    size_t n = (size_t)(a->q.dim[0] / a->batch + a->k.dim[0] / a->batch) - 1;
    LvGrid grid = { lv_cuda_split(n, 4), (size_t)(a->batch * a->heads), 1, 128, 0 };
    int ret = LV_LAUNCH(cu, attn_diagonals, grid, (void *)a, &p->delta, &p->bucket,
                        &p->diagonals);

    return ret < 0 ? ret :
           LV_LAUNCH(cu, attn_drel, lv_cuda_grid1(lv_tensor_numel(&a->drel)), (void *)a,
                     &p->bucket, &p->diagonals);
}

static int any_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    int d = a->q.dim[1] / a->heads, groups = a->batch * a->heads;
    int ret = fill_buckets(cu, p->bucket, &a->rel_bias, a->max_distance);

    if (ret >= 0 && lv_has(&a->dq))
        ret = LV_LAUNCH(cu, attn_dq_any, any_grid(a->q.dim[0] / a->batch, groups, d, 2),
                        (void *)a, &p->delta, &p->bucket);
    if (ret >= 0 && (lv_has(&a->dk) || lv_has(&a->dv)))
        ret = LV_LAUNCH(cu, attn_dkv_any, any_grid(a->k.dim[0] / a->batch, groups, d, 2),
                        (void *)a, &p->delta, &p->bucket);
    return ret < 0 || !lv_has(&a->drel) ? ret : relative_dx(cu, a, p);
}

int lv_cuda_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    Parts p    = parts_of(a, call->scratch);
    size_t threads = 8 * (size_t)a->q.dim[0] * (size_t)a->heads;
    int ret = LV_LAUNCH(cu, attn_delta, lv_cuda_grid1(threads), (void *)a, &p.delta);

    if (ret < 0)
        return ret;
    return is_fast(&a->q, &a->rel_bias, a->q.dim[1] / a->heads) ? fast_dx(cu, a, &p)
                                                                 : any_dx(cu, a, &p);
}
