/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradient of softmax attention, never holding more than a tile of scores.
 *
 * Keys and values are packed first. Then each job takes one head and a chunk of key
 * blocks. For each block it walks the tiles of queries: p = exp(scores - lse) and
 * do v^T once more, ds = p (do v^T - delta), and with them dv += p^T do, dk += ds^T q,
 * dq += ds k. With one block in all, dq of a tile is complete and goes out at once;
 * else each chunk sums its own dq, and those are added in order. The number of chunks,
 * at most MAX_CHUNKS, depends on shapes alone.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/attention.h"

enum { KEYS = LV_ATTN_KEYS, MAX_CHUNKS = 4 };

typedef struct GradPriv {
    const LvGemm *scores[2][2]; /* [last tile of queries][last block of keys] */
    const LvGemm *dq[2][2];     /* dq += ds k */
    const LvGemm *dk[2][2];     /* dk += ds^T q, dv += p^T do */
    short bucket[];             /* of lv_attn_buckets() */
} GradPriv;

typedef struct Sizes {
    int heads; /* of all samples, numbered */
    int d, lq, lk, tile, tiles, blocks, per_chunk, chunks, buckets;
    size_t cols, rows; /* bytes of packed [D,Lk] of a head, of [KEYS,D] of a block */
    size_t keys_at, values_at, rows_at, dq_at, drel_at, scratch;
    size_t scores, ds, half, q, dy, q_rows, dy_rows, dq, dk, dv, delta, bias, slab;
} Sizes;

typedef struct GradJob {
    LvCpu *cpu;
    const LvAttnDxArgs *a;
    const GradPriv *priv;
    Sizes s;
    LvAttnBias bias;
    char *scratch;
} GradJob;

/* What a step of a job works on. */
typedef struct Step {
    int number, chunk, block, tile, thread;
    int first, keys, q0, rows;
    size_t q_row, k_row; /* of the tensors: of the tile and of the block */
    int column;          /* of the head */
    char *slab;
} Step;

static int wants_ds(const LvAttnDxArgs *a)
{
    return lv_has(&a->dq) || lv_has(&a->dk) || lv_has(&a->drel);
}

static void lay_out(const LvCpu *cpu, const LvAttnDxArgs *a, Sizes *s)
{
    size_t head = 4 * (size_t)s->tile * s->d, scores = (size_t)s->tile * KEYS, at = 0;
    size_t rows = lv_pack_bytes(cpu->dnn, a->q.dtype, s->tile, s->d);

    s->scores  = lv_cpu_place(&at, 4 * scores);
    s->ds      = lv_cpu_place(&at, 4 * scores);
    s->half    = lv_cpu_place(&at, a->q.dtype == LV_BF16 ? 2 * scores : 0);
    s->q       = lv_cpu_place(&at, head);
    s->dy      = lv_cpu_place(&at, head);
    s->dq      = lv_cpu_place(&at, head);
    s->q_rows  = lv_cpu_place(&at, rows);
    s->dy_rows = lv_cpu_place(&at, rows);
    s->dk      = lv_cpu_place(&at, 4 * KEYS * (size_t)s->d);
    s->dv      = lv_cpu_place(&at, 4 * KEYS * (size_t)s->d);
    s->delta   = lv_cpu_place(&at, 4 * (size_t)s->tile);
    s->bias    = lv_cpu_place(&at, 4 * LV_MAX(KEYS, 2 * (size_t)s->d));
    s->slab    = at;
}

static Sizes sizes_of(const LvCpu *cpu, const LvAttnDxArgs *a)
{
    Sizes s = { .heads = a->heads * a->batch, .d = a->q.dim[1] / a->heads,
                .lq = a->q.dim[0] / a->batch, .lk = a->k.dim[0] / a->batch,
                .buckets = lv_has(&a->drel) ? a->drel.dim[0] : 0 };
    size_t heads = (size_t)s.heads, dq;

    s.tile      = LV_MIN(lv_cpu_row_tile(s.lq), 128);
    s.tiles     = lv_cpu_split((size_t)s.lq, (size_t)s.tile);
    s.blocks    = lv_cpu_split((size_t)s.lk, KEYS);
    s.per_chunk = lv_cpu_split((size_t)s.blocks, MAX_CHUNKS);
    s.chunks    = lv_cpu_split((size_t)s.blocks, (size_t)s.per_chunk);
    s.cols      = lv_pack_bytes(cpu->dnn, a->q.dtype, s.d, s.lk);
    s.rows      = lv_pack_bytes(cpu->dnn, a->q.dtype, LV_MIN(KEYS, s.lk), s.d);
    dq          = s.blocks > 1 ? 4 * heads * (size_t)s.chunks * s.lq * (size_t)s.d : 0;
    s.keys_at   = lv_cpu_place(&s.scratch, heads * s.cols);
    s.values_at = lv_cpu_place(&s.scratch, heads * s.cols);
    s.rows_at   = lv_cpu_place(&s.scratch, heads * (size_t)s.blocks * s.rows);
    s.dq_at     = lv_cpu_place(&s.scratch, dq);
    s.drel_at   = lv_cpu_place(&s.scratch, sizeof(double) * heads * (size_t)s.chunks *
                                           (size_t)s.buckets);
    lay_out(cpu, a, &s);
    return s;
}

int lv_cpu_plan_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    Sizes s = sizes_of(lv_cpu(dev), a);

    call->scratch_bytes = s.scratch;
    call->thread_bytes  = s.slab;
    return lv_cpu_has_type(lv_cpu(dev), a->q.dtype);
}

static int build_matmuls(LvCpu *cpu, const LvAttnDxArgs *a, GradPriv *p)
{
    Sizes s = sizes_of(cpu, a);

    for (int i = 0; i < 4; i++) {
        int rows = i / 2 ? s.lq - (s.tiles - 1) * s.tile : LV_MIN(s.tile, s.lq);
        int keys = i % 2 ? s.lk - (s.blocks - 1) * KEYS : LV_MIN(KEYS, s.lk);
        LvGemmDesc scores = { .m = rows, .n = keys, .k = s.d, .ldb = s.lk,
                              .type = a->q.dtype, .c_type = LV_F32 };
        LvGemmDesc dq = { .m = rows, .n = s.d, .k = keys, .ldb = s.d,
                          .type = a->q.dtype, .c_type = LV_F32, .sum = 1 };
        LvGemmDesc dk = { .m = keys, .n = s.d, .k = rows, .ldb = s.d,
                          .type = a->q.dtype, .c_type = LV_F32, .transposed = 1,
                          .sum = 1 };
        if (!(p->scores[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &scores)) ||
            !(p->dq[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &dq)) ||
            !(p->dk[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &dk)))
            return lv_dnn_error(cpu->dnn);
    }
    return 0;
}

int lv_cpu_build_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    int distances = lv_has(&a->rel_bias) ? 2 * a->max_distance + 1 : 0;
    GradPriv *p   = calloc(1, sizeof(*p) + sizeof(p->bucket[0]) * (size_t)distances);

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    if (distances)
        lv_attn_buckets(p->bucket, &a->rel_bias, a->max_distance);
    return build_matmuls(lv_cpu(dev), a, p);
}

/* Packing */

static void pack_transposed(const GradJob *j, const LvTensor *t, size_t row, int column,
                        char *dst, int first, int keys)
{
    const Sizes *s = &j->s;

    for (int n = 0; n < keys; n += 64)
        lv_pack_cols(j->cpu->dnn, t->dtype, dst,
                     lv_at(t, row + (size_t)n, (size_t)t->dim[1], (size_t)column),
                     s->d, s->lk, t->dim[1], first + n);
}

static void pack_straight(const GradJob *j, int type, const void *src, int rows, int ld,
                          char *dst)
{
    for (int n = 0; n < j->s.d; n += 64)
        lv_pack_rows(j->cpu->dnn, type, dst,
                     (const char *)src + (size_t)n * lv_dtype_size((LvDtype)type), rows,
                     j->s.d, ld, n);
}

static int pack_job(void *arg, int job, int thread)
{
    const GradJob *j = arg;
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;
    int number = job / s->blocks, block = job % s->blocks, first = block * KEYS;
    int keys = LV_MIN(s->lk - first, KEYS), column = number % a->heads * s->d;
    size_t row = (size_t)(number / a->heads) * s->lk + first, head = (size_t)number;

    (void)thread;
    pack_transposed(j, &a->k, row, column, j->scratch + s->keys_at + head * s->cols, first,
                keys);
    if (wants_ds(a))
        pack_transposed(j, &a->v, row, column, j->scratch + s->values_at + head * s->cols,
                    first, keys);
    if (lv_has(&a->dq))
        pack_straight(j, a->k.dtype, lv_at(&a->k, row, (size_t)a->k.dim[1],
                                           (size_t)column), keys, a->k.dim[1],
                      j->scratch + s->rows_at + (size_t)job * s->rows);
    return 0;
}

/* Steps */

/* delta of the tile, from do as matmuls read it. */
static void make_delta(const GradJob *j, const Step *t)
{
    const LvCpu *cpu = j->cpu;
    size_t d     = (size_t)j->s.d, size = lv_dtype_size((LvDtype)j->a->q.dtype);
    float *delta = (float *)(void *)(t->slab + j->s.delta);
    float *dy    = (float *)(void *)(t->slab + j->s.bias), *o = dy + d;

    for (size_t i = 0; i < (size_t)t->rows; i++) {
        lv_cpu_convert(cpu, dy, LV_F32, t->slab + j->s.dy + i * d * size, j->a->q.dtype,
                       d, NULL);
        lv_cpu_gather_as(cpu, &j->a->o, t->q_row + i, 1, (size_t)t->column, j->s.d, o,
                         LV_F32);
        delta[i] = cpu->dsp->dot(dy, o, d);
    }
}

static void load_tile(const GradJob *j, const Step *t)
{
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;

    lv_cpu_gather(&a->q, t->q_row, t->rows, (size_t)t->column, s->d, t->slab + s->q);
    lv_cpu_gather_as(j->cpu, &a->dy, t->q_row, t->rows, (size_t)t->column, s->d,
                     t->slab + s->dy, a->q.dtype);
    if (lv_has(&a->dk))
        pack_straight(j, a->q.dtype, t->slab + s->q, t->rows, s->d,
                      t->slab + s->q_rows);
    if (lv_has(&a->dv))
        pack_straight(j, a->q.dtype, t->slab + s->dy, t->rows, s->d,
                      t->slab + s->dy_rows);
    if (wants_ds(a))
        make_delta(j, t);
}

/* Scores of the tile, or do v^T: x times packed keys or values. */
static int make_scores(const GradJob *j, const Step *t, size_t x, size_t packed,
                       size_t to)
{
    const Sizes *s = &j->s;
    int last_tile = t->tile == s->tiles - 1, last_block = t->block == s->blocks - 1;

    return lv_gemm_run(j->priv->scores[last_tile][last_block], t->thread, t->slab + x,
        j->scratch + packed + (size_t)t->number * s->cols +
            lv_pack_offset(j->cpu->dnn, j->a->q.dtype, s->d, t->first), NULL,
        t->slab + to);
}

/* A tile of p, or of ds, that lies at `from` in f32, as matmuls read it. */
static void *operand(const GradJob *j, const Step *t, size_t from)
{
    return t->slab + (j->a->q.dtype == LV_BF16 ? j->s.half : from);
}

/* Row i of that as bf16; NULL for f32 matmuls. */
static uint16_t *half_row(const GradJob *j, const Step *t, int i)
{
    return j->a->q.dtype != LV_BF16 ? NULL :
           (uint16_t *)(void *)(t->slab + j->s.half) + (size_t)i * (size_t)t->keys;
}

static int make_p(const GradJob *j, const Step *t)
{
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;
    const float *lse = (const float *)a->lse.data + (size_t)t->number * s->lq + t->q0;
    float *p = (float *)(void *)(t->slab + s->scores);
    float *tmp = (float *)(void *)(t->slab + s->bias);
    int ret  = make_scores(j, t, s->q, s->keys_at, s->scores);
    size_t n = (size_t)t->keys;

    for (int i = 0; i < t->rows && ret >= 0; i++, p += n) {
        uint16_t *half = half_row(j, t, i);
        if (lse[i] != -INFINITY) {
            j->cpu->dsp->exp_sum(p, half, a->scale, p,
                                 lv_attn_bias(&j->bias, t->number, t->q0 + i, t->first,
                                              t->keys, tmp), lse[i], n);
            continue;
        }
        memset(p, 0, n * sizeof(*p));
        if (half)
            memset(half, 0, n * sizeof(*half));
    }
    return ret;
}

static void add_drel(const GradJob *j, const Step *t, const float *ds, int i)
{
    const Sizes *s = &j->s;
    int max = j->a->max_distance;
    double *sum = (double *)(void *)(j->scratch + s->drel_at) +
                  ((size_t)t->number * s->chunks + t->chunk) * (size_t)s->buckets;

    for (int n = 0; n < t->keys; n++)
        sum[j->priv->bucket[LV_CLAMP(t->first + n - i, -max, max) + max]] += ds[n];
}

static int make_ds(const GradJob *j, const Step *t)
{
    const Sizes *s = &j->s;
    const float *p = (const float *)(const void *)(t->slab + s->scores);
    const float *delta = (const float *)(const void *)(t->slab + s->delta);
    float *ds = (float *)(void *)(t->slab + s->ds);
    int ret   = make_scores(j, t, s->dy, s->values_at, s->ds);
    size_t n  = (size_t)t->keys;

    for (int i = 0; i < t->rows && ret >= 0; i++, p += n, ds += n) {
        j->cpu->dsp->softmax_dx(ds, half_row(j, t, i), p, ds, delta[i], n);
        if (s->buckets)
            add_drel(j, t, ds, t->q0 + i);
    }
    return ret;
}

/* Rows of a gradient from their sums, which are used up. */
static void store_rows(const GradJob *j, const LvTensor *dst, size_t row, int column,
                       float *sums, int rows, float scale, int add)
{
    size_t d = (size_t)j->s.d;

    for (int i = 0; i < rows; i++, sums += d) {
        if (scale != 1)
            j->cpu->dsp->affine(sums, scale, sums, NULL, d);
        lv_cpu_store(j->cpu, dst->dtype, lv_at(dst, row + (size_t)i,
                     (size_t)dst->dim[1], (size_t)column), sums, d, add);
    }
}

/* Where the sums of a chunk's dq for query i of a numbered head are. */
static float *dq_sums(const GradJob *j, int chunk, int number, int i)
{
    const Sizes *s = &j->s;

    return (float *)(void *)(j->scratch + s->dq_at) +
           (((size_t)chunk * s->heads + number) * s->lq + i) * (size_t)s->d;
}

static int add_dq(const GradJob *j, const Step *t, const void *ds)
{
    const Sizes *s = &j->s;
    int whole  = s->blocks == 1, first = t->block % s->per_chunk == 0;
    float *sum = whole ? (float *)(void *)(t->slab + s->dq)
                       : dq_sums(j, t->chunk, t->number, t->q0);
    int ret;

    if (first)
        memset(sum, 0, (size_t)t->rows * s->d * sizeof(*sum));
    ret = lv_gemm_run(j->priv->dq[t->tile == s->tiles - 1][t->block == s->blocks - 1],
        t->thread, ds, j->scratch + s->rows_at +
            ((size_t)t->number * s->blocks + t->block) * s->rows, NULL, sum);
    if (ret >= 0 && whole)
        store_rows(j, &j->a->dq, t->q_row, t->column, sum, t->rows, j->a->scale,
                   j->a->add & 1);
    return ret;
}

static int tile_step(const GradJob *j, const Step *t)
{
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;
    const LvGemm *dk = j->priv->dk[t->tile == s->tiles - 1][t->block == s->blocks - 1];
    int ret = make_p(j, t);
    void *ds;

    if (ret >= 0 && lv_has(&a->dv))
        ret = lv_gemm_run(dk, t->thread, operand(j, t, s->scores),
                          t->slab + s->dy_rows, NULL, t->slab + s->dv);
    if (ret < 0 || !wants_ds(a) || (ret = make_ds(j, t)) < 0)
        return ret;
    ds = operand(j, t, s->ds);
    if (lv_has(&a->dk))
        ret = lv_gemm_run(dk, t->thread, ds, t->slab + s->q_rows, NULL,
                          t->slab + s->dk);
    return ret >= 0 && lv_has(&a->dq) ? add_dq(j, t, ds) : ret;
}

static int block_step(const GradJob *j, Step *t)
{
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;
    int ret = 0;

    memset(t->slab + s->dk, 0, s->delta - s->dk);
    for (t->tile = 0; t->tile < s->tiles && ret >= 0; t->tile++) {
        t->q0    = t->tile * s->tile;
        t->rows  = LV_MIN(s->lq - t->q0, s->tile);
        t->q_row = (size_t)(t->number / a->heads) * s->lq + (size_t)t->q0;
        load_tile(j, t);
        ret = tile_step(j, t);
    }
    if (ret >= 0 && lv_has(&a->dk))
        store_rows(j, &a->dk, t->k_row, t->column, (float *)(void *)(t->slab + s->dk),
                   t->keys, a->scale, a->add & 2);
    if (ret >= 0 && lv_has(&a->dv))
        store_rows(j, &a->dv, t->k_row, t->column, (float *)(void *)(t->slab + s->dv),
                   t->keys, 1, a->add & 4);
    return ret;
}

static int chunk_job(void *arg, int job, int thread)
{
    const GradJob *j = arg;
    const Sizes *s   = &j->s;
    Step t = { .number = job / s->chunks, .chunk = job % s->chunks, .thread = thread,
               .slab = lv_cpu_slab(j->cpu, thread, 0) };
    int end = LV_MIN((t.chunk + 1) * s->per_chunk, s->blocks), ret = 0;
    size_t buckets = (size_t)s->buckets * sizeof(double);

    t.column = t.number % j->a->heads * s->d;
    memset(j->scratch + s->drel_at + (size_t)job * buckets, 0, buckets);
    for (t.block = t.chunk * s->per_chunk; t.block < end && ret >= 0; t.block++) {
        t.first = t.block * KEYS;
        t.keys  = LV_MIN(s->lk - t.first, KEYS);
        t.k_row = (size_t)(t.number / j->a->heads) * s->lk + (size_t)t.first;
        ret = block_step(j, &t);
    }
    return ret;
}

/* Sums over chunks */

static int dq_job(void *arg, int job, int thread)
{
    const GradJob *j = arg;
    const Sizes *s   = &j->s;
    int number = job / s->tiles, q0 = job % s->tiles * s->tile;
    int rows   = LV_MIN(s->lq - q0, s->tile);
    float *sum = dq_sums(j, 0, number, q0);

    (void)thread;
    for (int chunk = 1; chunk < s->chunks; chunk++)
        j->cpu->dsp->madd(sum, sum, NULL, dq_sums(j, chunk, number, q0),
                          (size_t)rows * (size_t)s->d);
    store_rows(j, &j->a->dq, (size_t)(number / j->a->heads) * s->lq + (size_t)q0,
               number % j->a->heads * s->d, sum, rows, j->a->scale, j->a->add & 1);
    return 0;
}

static void store_drel(const GradJob *j)
{
    const LvAttnDxArgs *a = j->a;
    const Sizes *s = &j->s;
    const double *part = (const double *)(const void *)(j->scratch + s->drel_at);
    float *out = a->drel.data;

    for (int i = 0; i < s->buckets * a->heads; i++) {
        int bucket = i / a->heads, head = i % a->heads;
        double sum = a->add & 8 ? out[i] : 0;
        for (int b = 0; b < a->batch; b++)
            for (int chunk = 0; chunk < s->chunks; chunk++)
                sum += part[((size_t)(b * a->heads + head) * s->chunks + chunk) *
                            (size_t)s->buckets + (size_t)bucket];
        out[i] = (float)sum;
    }
}

int lv_cpu_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    GradJob j  = { .cpu = cpu, .a = a, .priv = call->priv, .s = sizes_of(cpu, a),
                   .scratch = call->scratch };
    int ret;

    j.bias = (LvAttnBias) {
        .key_bias = lv_has(&a->key_bias) ? a->key_bias.data : NULL,
        .rel_bias = lv_has(&a->rel_bias) ? a->rel_bias.data : NULL,
        .bucket = j.priv->bucket, .heads = a->heads, .lk = j.s.lk,
        .max_distance = a->max_distance,
    };
    ret = lv_cpu_jobs(cpu, pack_job, &j, j.s.heads * j.s.blocks);
    if (ret >= 0)
        ret = lv_cpu_jobs(cpu, chunk_job, &j, j.s.heads * j.s.chunks);
    if (ret >= 0 && j.s.blocks > 1 && lv_has(&a->dq))
        ret = lv_cpu_jobs(cpu, dq_job, &j, j.s.heads * j.s.tiles);
    if (ret >= 0 && j.s.buckets)
        store_drel(&j);
    return ret;
}
