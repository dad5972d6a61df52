/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention, never holding more than a tile of scores.
 *
 * First all keys and values are packed for oneDNN, a job for each head of a sample and
 * block of KEYS keys. Then each job takes one head and one tile of queries, and walks
 * the blocks: scores = Q K^T (matmul), the running maximum and sum of the softmax
 * (ISA kernels), O = O corr + P V (matmul). The order of blocks is fixed, so bits are too.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/attention.h"

enum { KEYS = LV_ATTN_KEYS };

typedef struct AttnPriv {
    const LvGemm *qk[2][2]; /* [last tile of queries][last block of keys] */
    const LvGemm *pv[2][2];
    short bucket[];         /* of lv_attn_buckets() */
} AttnPriv;

typedef struct Sizes {
    int heads; /* of all samples: head h of sample b is number b H + h */
    int d, lq, lk, tile, tiles, blocks;
    size_t k_head, v_block, v_head; /* bytes of packed parts */
    size_t q, p, o, stats, bias, end; /* offsets in a thread's slab; scores at 0 */
} Sizes;

typedef struct AttnJob {
    LvCpu *cpu;
    const LvAttnArgs *a;
    const AttnPriv *priv;
    Sizes s;
    LvAttnBias bias;
    char *keys, *values;
} AttnJob;

static Sizes sizes_of(const LvCpu *cpu, const LvAttnArgs *a)
{
    Sizes s = { .heads = a->heads * a->batch, .d = a->q.dim[1] / a->heads,
                .lq = a->q.dim[0] / a->batch, .lk = a->k.dim[0] / a->batch };
    size_t scores;

    s.tile    = LV_MIN(lv_cpu_row_tile(s.lq), 128);
    s.tiles   = lv_cpu_split((size_t)s.lq, (size_t)s.tile);
    s.blocks  = lv_cpu_split((size_t)s.lk, KEYS);
    s.k_head  = lv_pack_bytes(cpu->dnn, a->q.dtype, s.d, s.lk);
    s.v_block = lv_pack_bytes(cpu->dnn, a->q.dtype, KEYS, s.d);
    s.v_head  = s.v_block * (size_t)s.blocks;
    scores    = (size_t)s.tile * KEYS;
    s.q       = 4 * scores;
    s.p       = s.q + 4 * (size_t)s.tile * s.d;
    s.o       = s.p + (a->q.dtype == LV_BF16 ? 2 * scores : 0);
    s.stats   = s.o + 4 * (size_t)s.tile * s.d;
    s.bias    = s.stats + 8 * (size_t)s.tile;
    s.end     = s.bias + 4 * KEYS;
    return s;
}

int lv_cpu_plan_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    Sizes s = sizes_of(lv_cpu(dev), a);

    call->scratch_bytes = (size_t)s.heads * (s.k_head + s.v_head);
    call->thread_bytes  = s.end;
    return lv_cpu_has_type(lv_cpu(dev), a->q.dtype);
}

static int bucket_of(int distance, int half, int max_distance)
{
    int exact = half / 2;

    if (distance < exact)
        return distance;
    return LV_MIN(half - 1, exact + (int)(log((double)distance / exact) /
                                          log((double)max_distance / exact) *
                                          (half - exact)));
}

void lv_attn_buckets(short *bucket, const LvTensor *rel_bias, int max_distance)
{
    int half = rel_bias->dim[0] / 2;

    for (int i = -max_distance; i <= max_distance; i++)
        bucket[i + max_distance] =
            (short)(bucket_of(abs(i), half, max_distance) + (i > 0 ? half : 0));
}

const float *lv_attn_bias(const LvAttnBias *b, int number, int i, int first,
                          int keys, float *tmp)
{
    int head = number % b->heads, max = b->max_distance;
    const float *key = b->key_bias, *rel = b->rel_bias;

    if (key)
        key += (size_t)(number / b->heads) * b->lk + first;
    if (!rel)
        return key;
    for (int n = 0; n < keys; n++)
        tmp[n] = rel[(size_t)b->bucket[LV_CLAMP(first + n - i, -max, max) + max] *
                     b->heads + head] + (key ? key[n] : 0);
    return tmp;
}

static int build_matmuls(LvCpu *cpu, const LvAttnArgs *a, AttnPriv *p)
{
    Sizes s = sizes_of(cpu, a);

    for (int i = 0; i < 4; i++) {
        int m = i / 2 ? s.lq - (s.tiles - 1) * s.tile : LV_MIN(s.tile, s.lq);
        int n = i % 2 ? s.lk - (s.blocks - 1) * KEYS : LV_MIN(KEYS, s.lk);
        LvGemmDesc qk = { .m = m, .n = n, .k = s.d, .ldb = s.lk, .type = a->q.dtype,
                          .c_type = LV_F32 };
        LvGemmDesc pv = { .m = m, .n = s.d, .k = n, .ldb = s.d, .type = a->q.dtype,
                          .c_type = LV_F32, .sum = 1 };
        if (!(p->qk[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &qk)) ||
            !(p->pv[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &pv)))
            return lv_dnn_error(cpu->dnn);
    }
    return 0;
}

int lv_cpu_build_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    int distances = lv_has(&a->rel_bias) ? 2 * a->max_distance + 1 : 0;
    AttnPriv *p   = calloc(1, sizeof(*p) + sizeof(p->bucket[0]) * (size_t)distances);

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    if (distances)
        lv_attn_buckets(p->bucket, &a->rel_bias, a->max_distance);
    return build_matmuls(lv_cpu(dev), a, p);
}

static int pack_job(void *arg, int job, int thread)
{
    const AttnJob *j = arg;
    const LvAttnArgs *a = j->a;
    const Sizes *s = &j->s;
    int head = job / s->blocks, block = job % s->blocks, first = block * KEYS;
    int keys = LV_MIN(s->lk - first, KEYS), c = a->k.dim[1];
    int column = head % a->heads * s->d;
    size_t row = (size_t)(head / a->heads) * s->lk + first;
    char *values = j->values + (size_t)head * s->v_head + (size_t)block * s->v_block;

    (void)thread;
    for (int n = 0; n < keys; n += 64)
        lv_pack_cols(j->cpu->dnn, a->k.dtype, j->keys + (size_t)head * s->k_head,
                     lv_at(&a->k, row + (size_t)n, (size_t)c, (size_t)column),
                     s->d, s->lk, c, first + n);
    for (int n = 0; n < s->d; n += 64)
        lv_pack_rows(j->cpu->dnn, a->v.dtype, values,
                     lv_at(&a->v, row, (size_t)c, (size_t)(column + n)),
                     keys, s->d, c, n);
    return 0;
}

/* A query of a block. */
typedef struct Row {
    float *s;           /* [keys]: scores, then probabilities */
    uint16_t *half;     /* those as bf16; NULL for f32 matmuls */
    const float *bias;  /* [keys] or NULL */
    float *max, *sum, *o;
    int keys, d;
} Row;

/* One query's softmax over a block: probabilities relative to the running maximum; the
 * row of O and the running sum are rescaled to it. */
static void softmax_row(const LvDsp *dsp, const Row *r, float scale)
{
    size_t n = (size_t)r->keys;
    float now, corr;

    if (r->bias || scale <= 0) {
        dsp->affine(r->s, scale, r->s, r->bias, n);
        scale = 1;
    }
    now = LV_MAX(*r->max, scale * dsp->max(r->s, n));
    if (now == -INFINITY) {
        memset(r->s, 0, n * sizeof(*r->s));
        if (r->half)
            memset(r->half, 0, n * sizeof(*r->half));
        return;
    }
    corr    = expf(*r->max - now);
    *r->sum = *r->sum * corr + dsp->exp_sum(r->s, r->half, scale, r->s, NULL, now, n);
    *r->max = now;
    if (corr != 1)
        dsp->affine(r->o, corr, r->o, NULL, (size_t)r->d);
}

/* A tile of queries against a block of keys. */
static int block_step(const AttnJob *j, int head, int tile, int block, char *slab,
                      int thread)
{
    const LvAttnArgs *a = j->a;
    const Sizes *s = &j->s;
    int first = block * KEYS, keys = LV_MIN(s->lk - first, KEYS);
    int q0 = tile * s->tile, rows = LV_MIN(s->lq - q0, s->tile);
    int last_tile = tile == s->tiles - 1, last_block = block == s->blocks - 1;
    float *scores = (float *)(void *)slab, *o = (float *)(void *)(slab + s->o);
    float *max = (float *)(void *)(slab + s->stats), *sum = max + s->tile;
    float *tmp = (float *)(void *)(slab + s->bias);
    uint16_t *p = a->q.dtype == LV_BF16 ? (uint16_t *)(void *)(slab + s->p) : NULL;
    int ret = lv_gemm_run(j->priv->qk[last_tile][last_block], thread,
        slab + s->q, j->keys + (size_t)head * s->k_head +
            lv_pack_offset(j->cpu->dnn, a->q.dtype, s->d, first), NULL, scores);

    for (int i = 0; i < rows && ret >= 0; i++) {
        size_t at = (size_t)i * keys;
        Row r = { .s = scores + at, .half = p ? p + at : NULL,
                  .bias = lv_attn_bias(&j->bias, head, q0 + i, first, keys, tmp),
                  .max = max + i, .sum = sum + i, .o = o + (size_t)i * s->d,
                  .keys = keys, .d = s->d };
        softmax_row(j->cpu->dsp, &r, a->scale);
    }
    return ret < 0 ? ret : lv_gemm_run(j->priv->pv[last_tile][last_block], thread,
        p ? (void *)p : scores,
        j->values + (size_t)head * s->v_head + (size_t)block * s->v_block, NULL, o);
}

static void store_tile(const AttnJob *j, int head, int tile, char *slab)
{
    const LvAttnArgs *a = j->a;
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    float *o   = (float *)(void *)(slab + s->o);
    float *max = (float *)(void *)(slab + s->stats), *sum = max + s->tile;
    int q0     = tile * s->tile;
    size_t at  = (size_t)(head / a->heads) * s->lq + (size_t)q0;

    for (int i = 0; i < LV_MIN(s->lq - q0, s->tile); i++) {
        float *row = o + (size_t)i * s->d;
        void *dst  = lv_at(&a->o, at + (size_t)i, (size_t)a->o.dim[1],
                           (size_t)(head % a->heads * s->d));
        float r    = sum[i] > 0 ? 1 / sum[i] : 0;
        dsp->affine(a->o.dtype == LV_F32 ? dst : row, r, row, NULL, (size_t)s->d);
        if (a->o.dtype == LV_BF16)
            dsp->to_bf16(dst, row, (size_t)s->d);
        if (lv_has(&a->lse))
            ((float *)a->lse.data)[(size_t)head * s->lq + q0 + i] =
                max[i] + logf(sum[i]);
    }
}

static int tile_job(void *arg, int job, int thread)
{
    const AttnJob *j = arg;
    const Sizes *s = &j->s;
    int head = job / s->tiles, tile = job % s->tiles, q0 = tile * s->tile, ret = 0;
    char *slab = lv_cpu_slab(j->cpu, thread, 0);
    float *max = (float *)(void *)(slab + s->stats);

    lv_cpu_gather(&j->a->q, (size_t)(head / j->a->heads) * s->lq + (size_t)q0,
                  LV_MIN(s->lq - q0, s->tile), (size_t)(head % j->a->heads * s->d),
                  s->d, slab + s->q);
    memset(slab + s->o, 0, s->bias - s->o);
    for (int i = 0; i < s->tile; i++)
        max[i] = -INFINITY;
    for (int block = 0; block < s->blocks && ret >= 0; block++)
        ret = block_step(j, head, tile, block, slab, thread);
    if (ret >= 0)
        store_tile(j, head, tile, slab);
    return ret;
}

int lv_cpu_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    AttnJob j  = { .cpu = cpu, .a = a, .priv = call->priv, .s = sizes_of(cpu, a),
                   .keys = call->scratch };
    int ret;

    j.bias = (LvAttnBias) {
        .key_bias = lv_has(&a->key_bias) ? a->key_bias.data : NULL,
        .rel_bias = lv_has(&a->rel_bias) ? a->rel_bias.data : NULL,
        .bucket = j.priv->bucket, .heads = a->heads, .lk = j.s.lk,
        .max_distance = a->max_distance,
    };
    j.values = j.keys + (size_t)j.s.heads * j.s.k_head;
    ret = lv_cpu_jobs(cpu, pack_job, &j, j.s.heads * j.s.blocks);
    return ret < 0 ? ret : lv_cpu_jobs(cpu, tile_job, &j, j.s.heads * j.s.tiles);
}
