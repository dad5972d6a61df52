/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Attention of heads wider than LV_CUDA_HEAD channels, as the middle of Wan's decoder has:
 * for each sample and head, tiles of queries, whose scores are a matmul, whose softmax is a
 * kernel, and whose outputs are a matmul again. The tiles' size bounds the memory; their
 * order is fixed, and so are the sums.
 */

#include "backend/cuda/attention_wide.h"
#include "backend/cuda/cast.h"
#include "backend/cuda/gemm.h"

/* What forward and backward have in common. */
typedef struct Wide {
    const LvTensor *q, *k, *v, *key_bias, *rel_bias;
    const int *bucket;
    int lq, lk, c, d, heads, batch, max_distance;
    int rows, pitch;   /* queries of a tile; elements from one's scores to the next's */
    float scale;
} Wide;

static Wide wide_of(const LvCuda *cu, const LvAttnArgs *a)
{
    Wide w = { .q = &a->q, .k = &a->k, .v = &a->v, .key_bias = &a->key_bias,
               .rel_bias = &a->rel_bias, .lq = a->q.dim[0] / a->batch,
               .lk = a->k.dim[0] / a->batch, .c = a->q.dim[1],
               .d = a->q.dim[1] / a->heads, .heads = a->heads, .batch = a->batch,
               .max_distance = a->max_distance, .scale = a->scale };
    size_t most, tiles;

    w.pitch = LV_ROUND_UP(w.lk, LV_ALIGN / 4);
    most    = LV_MAX(cu->scores / 4 / (size_t)w.pitch, 1);
    tiles   = lv_cuda_split((size_t)w.lq, most);
    w.rows  = (int)lv_cuda_split((size_t)w.lq, tiles);
    return w;
}

static Wide wide_of_dx(const LvCuda *cu, const LvAttnDxArgs *a)
{
    const LvAttnArgs forward = { .q = a->q, .k = a->k, .batch = a->batch, .heads = a->heads,
                                 .max_distance = a->max_distance, .scale = a->scale };
    Wide w = wide_of(cu, &forward);

    w.q        = &a->q;
    w.k        = &a->k;
    w.v        = &a->v;
    w.key_bias = &a->key_bias;
    w.rel_bias = &a->rel_bias;
    return w;
}

/* One sample's head, and of it a tile of queries. */
typedef struct Tile {
    int sample, head, first, rows;
} Tile;

/* Columns of the tile's head, from row i of its sample on; samples are `length` rows. */
static void *rows_of(const Wide *w, const LvTensor *t, const Tile *at, int length, int i)
{
    size_t row   = (size_t)at->sample * (size_t)length + (size_t)i;
    size_t place = row * (size_t)w->c + (size_t)at->head * (size_t)w->d;

    return (char *)t->data + place * lv_dtype_size((LvDtype)t->dtype);
}

/* The matmuls. Rows of heads are c apart, those of scores `pitch`, all else is dense. */

enum Product { SCORES, OUTPUTS, KEYS };

static LvGemmKey key_of(const Wide *w, enum Product which, int rows)
{
    LvGemmKey key = { .type = w->q->dtype, .out = LV_F32, .align = 16 };

    if (w->d * lv_dtype_size((LvDtype)key.type) % 16)
        key.align = (int)lv_dtype_size((LvDtype)key.type);
    if (which == SCORES) { /* [rows,lk] = [rows,d] [lk,d]^T */
        key.m = rows, key.n = w->lk, key.k = w->d, key.tb = 1;
        key.lda = key.ldb = w->c, key.ldc = w->pitch;
    } else if (which == OUTPUTS) { /* [rows,d] = [rows,lk] [lk,d] */
        key.m = rows, key.n = w->d, key.k = w->lk;
        key.lda = w->pitch, key.ldb = w->c;
    } else { /* [lk,d] = [rows,lk]^T [rows,d] */
        key.m = w->lk, key.n = w->d, key.k = rows, key.ta = 1;
        key.lda = w->pitch, key.ldb = w->c;
    }
    return key;
}

static int build(LvCuda *cu, const Wide *w, int products)
{
    int rows[2] = { w->rows, w->lq % w->rows };

    for (int i = 0; i < products; i++)
        for (int j = 0; j < 2; j++) {
            LvGemmKey key = key_of(w, (enum Product)i, rows[j]);
            if (rows[j] && !lv_cuda_gemm_get(cu, &key))
                return LV_ERR_UNSUPPORTED;
        }
    return 0;
}

static LvScoresArgs scores_of(const Wide *w, const Tile *at, float *s, void *p, float *lse)
{
    const float *rel = w->rel_bias->data, *keys = w->key_bias->data;
    size_t stats     = (size_t)(at->sample * w->heads + at->head) * (size_t)w->lq;

    return (LvScoresArgs) {
        .s = s, .p = p, .type = w->q->dtype, .keys = w->lk, .pitch = w->pitch,
        .key_bias = lv_has(w->key_bias) ? keys + (size_t)at->sample * (size_t)w->lk : NULL,
        .rel_bias = lv_has(w->rel_bias) ? rel + at->head : NULL, .bucket = w->bucket,
        .first = at->first, .heads = w->heads, .half = w->rel_bias->dim[0] / 2,
        .max_distance = w->max_distance, .scale = w->scale,
        .lse = lse ? lse + stats + (size_t)at->first : NULL,
    };
}

/* Rows of a head of t from row i of the sample on, from x. */
static int put_rows(LvCuda *cu, const Wide *w, const Tile *at, const LvTensor *t,
                    const float *x, const float *factor, int rows, size_t first, float scale,
                    int add)
{
    int column = at->head * w->d;

    return LV_LAUNCH(cu, attn_rows, lv_cuda_grid1((size_t)rows * (size_t)w->d), (void *)t, &x,
                     &factor, &rows, &first, &column, (void *)&w->d, &scale, &add);
}

/* Run `one` for every tile of a sample's head. */
typedef int (*OneTile)(LvCuda *cu, const Wide *w, const Tile *at, void *opaque);

static int each_tile(LvCuda *cu, const Wide *w, Tile at, OneTile one, void *opaque)
{
    int ret = 0;

    for (at.first = 0; at.first < w->lq && ret >= 0; at.first += w->rows) {
        at.rows = LV_MIN(w->rows, w->lq - at.first);
        ret     = one(cu, w, &at, opaque);
    }
    return ret;
}

/* Forward */

typedef struct Forward {
    const LvAttnArgs *a;
    float *s, *o, *factor;
    void *p;
    size_t bytes;
} Forward;

static Forward carve(const Wide *w, const LvAttnArgs *a, void *scratch)
{
    size_t n  = (size_t)w->rows * (size_t)w->pitch;
    Forward f = { .a = a };

    f.s = lv_cuda_carve(scratch, &f.bytes, 4 * n);
    f.p = f.s;
    if (a->q.dtype != LV_F32)
        f.p = lv_cuda_carve(scratch, &f.bytes, 2 * n);
    f.o      = lv_cuda_carve(scratch, &f.bytes, 4 * (size_t)w->rows * (size_t)w->d);
    f.factor = lv_cuda_carve(scratch, &f.bytes, 4 * (size_t)w->rows);
    return f;
}

size_t lv_cuda_wide_bytes(const LvCuda *cu, const LvAttnArgs *a)
{
    const Wide w = wide_of(cu, a);

    return carve(&w, a, NULL).bytes;
}

int lv_cuda_wide_build(LvCuda *cu, const LvAttnArgs *a)
{
    const Wide w = wide_of(cu, a);

    return build(cu, &w, KEYS);
}

static int forward_tile(LvCuda *cu, const Wide *w, const Tile *at, void *opaque)
{
    const Forward *f = opaque;
    LvScoresArgs s   = scores_of(w, at, f->s, f->p, lv_has(&f->a->lse) ? f->a->lse.data : NULL);
    LvGemmKey scores = key_of(w, SCORES, at->rows), outputs = key_of(w, OUTPUTS, at->rows);
    const LvGrid grid = { (size_t)at->rows, 1, 1, 256, 0 };
    int ret;

    s.factor = f->factor;
    if ((ret = lv_cuda_gemm(cu, &scores, rows_of(w, w->q, at, w->lq, at->first),
                            rows_of(w, w->k, at, w->lk, 0), f->s, 0)) < 0 ||
        (ret = LV_LAUNCH(cu, attn_weights, grid, &s)) < 0 ||
        (ret = lv_cuda_gemm(cu, &outputs, f->p, rows_of(w, w->v, at, w->lk, 0), f->o,
                            0)) < 0)
        return ret;
    return put_rows(cu, w, at, &f->a->o, f->o, f->factor, at->rows,
                    (size_t)at->sample * (size_t)w->lq + (size_t)at->first, 1, 0);
}

int lv_cuda_wide(LvCuda *cu, const LvAttnArgs *a, const int *bucket, void *scratch)
{
    Wide w    = wide_of(cu, a);
    Forward f = carve(&w, a, scratch);
    int ret   = 0;

    w.bucket = bucket;
    for (int i = 0; i < a->batch * a->heads && ret >= 0; i++)
        ret = each_tile(cu, &w, (Tile) { i / a->heads, i % a->heads, 0, 0 }, forward_tile, &f);
    return ret;
}

/* Backward. dk and dv of a head are summed in f32 over its tiles. */

typedef struct Backward {
    const LvAttnDxArgs *a;
    const float *delta;
    LvTensor dy;       /* in the type of q */
    float *s, *dp, *dq, *dk, *dv;
    void *p, *ds;
    size_t bytes;
} Backward;

static Backward carve_dx(const Wide *w, const LvAttnDxArgs *a, void *scratch)
{
    size_t n   = (size_t)w->rows * (size_t)w->pitch;
    size_t own = 4 * (size_t)w->rows * (size_t)w->d, all = 4 * (size_t)w->lk * (size_t)w->d;
    Backward b = { .a = a, .dy = a->dy };

    b.s  = lv_cuda_carve(scratch, &b.bytes, 4 * n);
    b.dp = lv_cuda_carve(scratch, &b.bytes, 4 * n);
    b.p  = b.s;
    b.ds = b.dp;
    if (a->q.dtype != LV_F32) {
        b.p  = lv_cuda_carve(scratch, &b.bytes, 2 * n);
        b.ds = lv_cuda_carve(scratch, &b.bytes, 2 * n);
    }
    b.dq = lv_cuda_carve(scratch, &b.bytes, own);
    b.dk = lv_cuda_carve(scratch, &b.bytes, all);
    b.dv = lv_cuda_carve(scratch, &b.bytes, all);
    if (a->dy.dtype != a->q.dtype) {
        b.dy.dtype = a->q.dtype;
        b.dy.data  = lv_cuda_carve(scratch, &b.bytes, lv_tensor_bytes(&b.dy));
    }
    return b;
}

size_t lv_cuda_wide_dx_bytes(const LvCuda *cu, const LvAttnDxArgs *a)
{
    const Wide w = wide_of_dx(cu, a);

    return carve_dx(&w, a, NULL).bytes;
}

int lv_cuda_wide_dx_build(LvCuda *cu, const LvAttnDxArgs *a)
{
    const Wide w = wide_of_dx(cu, a);

    return build(cu, &w, KEYS + 1);
}

/* dk and dv += what the tile's queries add. */
static int add_keys(LvCuda *cu, const Wide *w, const Tile *at, const Backward *b)
{
    LvGemmKey key = key_of(w, KEYS, at->rows);
    int ret = 0;

    if (lv_has(&b->a->dk))
        ret = lv_cuda_gemm(cu, &key, b->ds, rows_of(w, w->q, at, w->lq, at->first), b->dk,
                           at->first > 0);
    if (ret >= 0 && lv_has(&b->a->dv))
        ret = lv_cuda_gemm(cu, &key, b->p, rows_of(w, &b->dy, at, w->lq, at->first), b->dv,
                           at->first > 0);
    return ret;
}

static int backward_tile(LvCuda *cu, const Wide *w, const Tile *at, void *opaque)
{
    const Backward *b  = opaque;
    LvScoresArgs s     = scores_of(w, at, b->s, b->p, b->a->lse.data);
    const float *delta = b->delta + (s.lse - (float *)b->a->lse.data);
    LvGemmKey scores   = key_of(w, SCORES, at->rows), outputs = key_of(w, OUTPUTS, at->rows);
    const LvGrid grid  = { (size_t)at->rows, 1, 1, 256, 0 };
    int ret;

    if ((ret = lv_cuda_gemm(cu, &scores, rows_of(w, w->q, at, w->lq, at->first),
                            rows_of(w, w->k, at, w->lk, 0), b->s, 0)) < 0 ||
        (ret = lv_cuda_gemm(cu, &scores, rows_of(w, &b->dy, at, w->lq, at->first),
                            rows_of(w, w->v, at, w->lk, 0), b->dp, 0)) < 0 ||
        (ret = LV_LAUNCH(cu, attn_weights_dx, grid, &s, (void *)&b->dp, (void *)&b->ds,
                         &delta)) < 0 ||
        (ret = add_keys(cu, w, at, b)) < 0 || !lv_has(&b->a->dq))
        return ret;
    ret = lv_cuda_gemm(cu, &outputs, b->ds, rows_of(w, w->k, at, w->lk, 0), b->dq, 0);
    return ret < 0 ? ret :
           put_rows(cu, w, at, &b->a->dq, b->dq, NULL, at->rows,
                    (size_t)at->sample * (size_t)w->lq + (size_t)at->first, w->scale,
                    b->a->add & 1);
}

static int head_dx(LvCuda *cu, const Wide *w, Tile at, Backward *b)
{
    size_t first = (size_t)at.sample * (size_t)w->lk;
    int ret = each_tile(cu, w, at, backward_tile, b);

    if (ret >= 0 && lv_has(&b->a->dk))
        ret = put_rows(cu, w, &at, &b->a->dk, b->dk, NULL, w->lk, first, w->scale,
                       b->a->add & 2);
    if (ret >= 0 && lv_has(&b->a->dv))
        ret = put_rows(cu, w, &at, &b->a->dv, b->dv, NULL, w->lk, first, 1, b->a->add & 4);
    return ret;
}

int lv_cuda_wide_dx(LvCuda *cu, const LvAttnDxArgs *a, const int *bucket,
                    const float *delta, void *scratch)
{
    Wide w     = wide_of_dx(cu, a);
    Backward b = carve_dx(&w, a, scratch);
    int ret    = 0;

    w.bucket = bucket;
    b.delta  = delta;
    if (b.dy.data != a->dy.data)
        ret = lv_cuda_cast(cu, b.dy.data, b.dy.dtype, a->dy.data, a->dy.dtype,
                           lv_tensor_numel(&a->dy));
    for (int i = 0; i < a->batch * a->heads && ret >= 0; i++)
        ret = head_dx(cu, &w, (Tile) { i / a->heads, i % a->heads, 0, 0 }, &b);
    return ret;
}
