/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention, never holding more than a tile of scores.
 *
 * First all keys and values are packed for oneDNN, a job for each head and block of
 * KEYS keys. Then each job takes one head and one tile of queries, and walks the
 * blocks: scores = Q K^T (product), the running maximum and sum of the softmax
 * (leaves), O = O corr + P V (product). The order of blocks is fixed, so bits are too.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum { KEYS = 512 };

typedef struct AttnPriv {
    const LvGemm *qk[2][2]; /* [last tile of queries][last block of keys] */
    const LvGemm *pv[2][2];
    short bucket[];         /* by distance, 0 to max_distance */
} AttnPriv;

typedef struct Sizes {
    int d, lq, lk, tile, tiles, blocks;
    size_t k_head, v_block, v_head; /* bytes of packed parts */
    size_t q, p, o, stats, bias, end; /* offsets in a thread's slab; scores at 0 */
} Sizes;

typedef struct AttnJob {
    LvCpu *cpu;
    const LvAttnArgs *a;
    const AttnPriv *priv;
    Sizes s;
    char *keys, *values;
} AttnJob;

static Sizes sizes_of(const LvCpu *cpu, const LvAttnArgs *a)
{
    Sizes s = { .d = a->q.dim[1] / a->heads, .lq = a->q.dim[0], .lk = a->k.dim[0] };
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

    call->scratch_bytes = (size_t)a->heads * (s.k_head + s.v_head);
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

static int build_products(LvCpu *cpu, const LvAttnArgs *a, AttnPriv *p)
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
    int distances = lv_has(&a->rel_bias) ? a->max_distance + 1 : 0;
    AttnPriv *p   = calloc(1, sizeof(*p) + sizeof(p->bucket[0]) * (size_t)distances);

    if (!(call->priv = p))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < distances; i++)
        p->bucket[i] = (short)bucket_of(i, a->rel_bias.dim[0] / 2, a->max_distance);
    return build_products(lv_cpu(dev), a, p);
}

static int pack_job(void *arg, int job, int thread)
{
    const AttnJob *j = arg;
    const LvAttnArgs *a = j->a;
    const Sizes *s = &j->s;
    int head = job / s->blocks, block = job % s->blocks, first = block * KEYS;
    int keys = LV_MIN(s->lk - first, KEYS), c = a->k.dim[1];
    char *values = j->values + (size_t)head * s->v_head + (size_t)block * s->v_block;

    (void)thread;
    for (int n = 0; n < keys; n += 64)
        lv_pack_cols(j->cpu->dnn, a->k.dtype, j->keys + (size_t)head * s->k_head,
                     lv_at(&a->k, (size_t)(first + n), (size_t)c, (size_t)(head * s->d)),
                     s->d, s->lk, c, first + n);
    for (int n = 0; n < s->d; n += 64)
        lv_pack_rows(j->cpu->dnn, a->v.dtype, values,
                     lv_at(&a->v, (size_t)first, (size_t)c, (size_t)(head * s->d + n)),
                     keys, s->d, c, n);
    return 0;
}

/* Biases of query i for the block's keys; NULL when there are none. */
static const float *bias_row(const AttnJob *j, int head, int i, int first, int keys,
                             float *tmp)
{
    const LvAttnArgs *a = j->a;
    const float *key = a->key_bias.data, *rel = a->rel_bias.data;
    int half = a->rel_bias.dim[0] / 2;

    if (!lv_has(&a->rel_bias))
        return lv_has(&a->key_bias) ? key + first : NULL;
    for (int n = 0; n < keys; n++) {
        int d      = first + n - i;
        int bucket = j->priv->bucket[LV_MIN(abs(d), a->max_distance)];
        tmp[n] = rel[(size_t)(bucket + (d > 0 ? half : 0)) * a->heads + head] +
                 (lv_has(&a->key_bias) ? key[first + n] : 0);
    }
    return tmp;
}

/* One query's softmax over a block: s[keys] becomes probabilities relative to the
 * running maximum; the row of O and the running sum are rescaled to it. */
static void softmax_row(const LvDsp *dsp, float *s, int keys, float *max, float *sum,
                        float *o, int d)
{
    float now = LV_MAX(*max, dsp->max(s, (size_t)keys)), corr;

    if (now == -INFINITY) {
        memset(s, 0, (size_t)keys * sizeof(*s));
        return;
    }
    corr = expf(*max - now);
    *sum = *sum * corr + dsp->exp_sum(s, s, now, (size_t)keys);
    *max = now;
    if (corr != 1)
        dsp->affine(o, corr, o, NULL, (size_t)d);
}

/* A tile of queries against a block of keys. */
static int block_step(const AttnJob *j, int head, int tile, int block, char *slab,
                      int thread)
{
    const LvAttnArgs *a = j->a;
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    int first = block * KEYS, keys = LV_MIN(s->lk - first, KEYS);
    int q0 = tile * s->tile, rows = LV_MIN(s->lq - q0, s->tile);
    int last_tile = tile == s->tiles - 1, last_block = block == s->blocks - 1;
    float *scores = (float *)(void *)slab, *o = (float *)(void *)(slab + s->o);
    float *max = (float *)(void *)(slab + s->stats), *sum = max + s->tile;
    uint16_t *p = (uint16_t *)(void *)(slab + s->p);
    int ret = lv_gemm_run(j->priv->qk[last_tile][last_block], thread,
        slab + s->q, j->keys + (size_t)head * s->k_head +
            lv_pack_offset(j->cpu->dnn, a->q.dtype, s->d, first), NULL, scores);

    for (int i = 0; i < rows && ret >= 0; i++) {
        float *row = scores + (size_t)i * keys;
        dsp->affine(row, a->scale, row, bias_row(j, head, q0 + i, first, keys,
                    (float *)(void *)(slab + s->bias)), (size_t)keys);
        softmax_row(dsp, row, keys, max + i, sum + i, o + (size_t)i * s->d, s->d);
        if (a->q.dtype == LV_BF16)
            dsp->to_bf16(p + (size_t)i * keys, row, (size_t)keys);
    }
    return ret < 0 ? ret : lv_gemm_run(j->priv->pv[last_tile][last_block], thread,
        a->q.dtype == LV_BF16 ? (void *)p : scores,
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

    for (int i = 0; i < LV_MIN(s->lq - q0, s->tile); i++) {
        float *row = o + (size_t)i * s->d;
        void *dst  = lv_at(&a->o, (size_t)(q0 + i), (size_t)a->o.dim[1],
                           (size_t)(head * s->d));
        float r    = sum[i] > 0 ? 1 / sum[i] : 0;
        dsp->affine(a->o.dtype == LV_F32 ? dst : row, r, row, NULL, (size_t)s->d);
        if (a->o.dtype == LV_BF16)
            dsp->to_bf16(dst, row, (size_t)s->d);
        if (lv_has(&a->lse))
            ((float *)a->lse.data)[(size_t)head * s->lq + q0 + i] = max[i] + logf(sum[i]);
    }
}

static int tile_job(void *arg, int job, int thread)
{
    const AttnJob *j = arg;
    const Sizes *s = &j->s;
    int head = job / s->tiles, tile = job % s->tiles, ret = 0;
    char *slab = lv_cpu_slab(j->cpu, thread, 0);
    float *max = (float *)(void *)(slab + s->stats);

    lv_cpu_gather(&j->a->q, (size_t)tile * s->tile, LV_MIN(s->lq - tile * s->tile, s->tile),
                  (size_t)(head * s->d), s->d, slab + s->q);
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
    AttnJob j  = { cpu, a, call->priv, sizes_of(cpu, a), call->scratch, NULL };
    int ret;

    j.values = j.keys + (size_t)a->heads * j.s.k_head;
    ret = lv_cpu_jobs(cpu, pack_job, &j, a->heads * j.s.blocks);
    return ret < 0 ? ret : lv_cpu_jobs(cpu, tile_job, &j, a->heads * j.s.tiles);
}
