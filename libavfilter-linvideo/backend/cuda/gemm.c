/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/gemm.h"

#include <stdlib.h>
#include <string.h>

/* A product with what cuBLASLt needs to run it. Its matrices are column-major, so it
 * is asked for c^T = b^T a^T: its first operand is b, its rows are our columns. */
struct LvGemm {
    LvGemmKey key;
    LtMatmulDesc desc;
    LtLayout a, b, c;
    LtAlgo algo;
    int absent;    /* cuBLASLt does not do what follows it */
    LvGemm *next;
};

static unsigned hash(const LvGemmKey *k)
{
    unsigned h = (unsigned)k->m * 31u + (unsigned)k->n * 131u + (unsigned)k->k * 8191u;

    h += (unsigned)k->lda * 17u + (unsigned)k->ldb * 19u + (unsigned)k->ldc * 23u;
    h += k->ta * 3u + k->tb * 5u + k->type * 7u + k->out * 11u + k->after * 13u + k->scaled;
    return h % LV_CUDA_BUCKETS;
}

static int lt_type(int type)
{
    return type == LV_F32 ? LT_TYPE_F32 : type == LV_F8_E4M3 ? LT_TYPE_E4M3 : LT_TYPE_BF16;
}

static int describe_after(const LvDriver *d, const LvGemm *g)
{
    uint32_t after = g->key.after;
    int type = lt_type(g->key.out);

    return d->lt.desc_set(g->desc, LT_DESC_EPILOGUE, &after, sizeof(after)) |
           d->lt.desc_set(g->desc, LT_DESC_BIAS_TYPE, &type, sizeof(type));
}

/* Versions before 12.9 know no such scales; those after it look for addresses when an algorithm
 * is asked for, so that there have to be some. */
static int describe_scales(const LvCuda *cu, const LvGemm *g)
{
    const LvDriver *d = &cu->drv;
    int mode = LT_SCALE_OUTER;

    return d->lt.desc_set(g->desc, LT_DESC_A_SCALE_MODE, &mode, sizeof(mode)) ||
           d->lt.desc_set(g->desc, LT_DESC_B_SCALE_MODE, &mode, sizeof(mode)) ||
           d->lt.desc_set(g->desc, LT_DESC_A_SCALE, &cu->workspace, sizeof(cu->workspace)) ||
           d->lt.desc_set(g->desc, LT_DESC_B_SCALE, &cu->workspace, sizeof(cu->workspace))
         ? LT_NOT_SUPPORTED : 0;
}

static int describe(const LvCuda *cu, LvGemm *g)
{
    const LvDriver *d = &cu->drv;
    const LvGemmKey *k = &g->key;
    int ta = k->tb, tb = k->ta;
    int lda = k->lda ? k->lda : k->ta ? k->m : k->k;
    int ldb = k->ldb ? k->ldb : k->tb ? k->k : k->n;
    uint64_t m = (uint64_t)k->m, n = (uint64_t)k->n, kk = (uint64_t)k->k;
    int ret = d->lt.desc_create(&g->desc, LT_COMPUTE_F32, LT_TYPE_F32);

    if (!ret)
        ret = d->lt.desc_set(g->desc, LT_DESC_TRANS_A, &ta, sizeof(ta)) |
              d->lt.desc_set(g->desc, LT_DESC_TRANS_B, &tb, sizeof(tb));
    if (!ret && k->after)
        ret = describe_after(d, g);
    if (!ret && k->scaled)
        ret = describe_scales(cu, g);
    return ret ? ret
         : d->lt.layout_create(&g->a, lt_type(k->type), k->tb ? kk : n, k->tb ? n : kk,
                               ldb) |
           d->lt.layout_create(&g->b, lt_type(k->type), k->ta ? m : kk, k->ta ? kk : m,
                               lda) |
           d->lt.layout_create(&g->c, lt_type(k->out), n, m, k->ldc ? k->ldc : k->n);
}

static int choose(const LvCuda *cu, LvGemm *g)
{
    const LvDriver *d = &cu->drv;
    size_t workspace = LV_CUDA_WORKSPACE;
    uint32_t align = g->key.align ? (uint32_t)g->key.align : LV_ALIGN;
    uint32_t reduction = LT_REDUCTION_F32;
    LtPreference pref = NULL;
    LtHeuristic found;
    int nb = 0, ret = d->lt.pref_create(&pref);

    if (!ret)
        ret = d->lt.pref_set(pref, LT_PREF_WORKSPACE, &workspace, sizeof(workspace)) |
              d->lt.pref_set(pref, LT_PREF_REDUCTION, &reduction, sizeof(reduction));
    for (int i = LT_PREF_ALIGN_A; i <= LT_PREF_ALIGN_D && !ret; i++)
        ret = d->lt.pref_set(pref, i, &align, sizeof(align));
    if (!ret)
        ret = d->lt.heuristic(cu->lt, g->desc, g->a, g->b, g->c, g->c, pref, 1, &found,
                              &nb);
    if (pref)
        d->lt.pref_destroy(pref);
    if (!ret && nb)
        g->algo = found.algo;
    return ret ? ret : nb ? 0 : LT_NOT_SUPPORTED;
}

static void free_gemm(const LvDriver *d, LvGemm *g)
{
    if (g->c)
        d->lt.layout_destroy(g->c);
    if (g->b)
        d->lt.layout_destroy(g->b);
    if (g->a)
        d->lt.layout_destroy(g->a);
    if (g->desc)
        d->lt.desc_destroy(g->desc);
    free(g);
}

static LvGemm *new_gemm(LvCuda *cu, const LvGemmKey *key)
{
    LvGemm *g = calloc(1, sizeof(*g));
    int ret;

    if (!g) {
        lv_msg(cu->dev.msg, LV_MSG_ERROR, "cuda: out of memory");
        return NULL;
    }
    g->key = *key;
    cu->drv.context_set(cu->ctx);
    ret = describe(cu, g);
    if (!ret)
        ret = choose(cu, g);
    g->absent = (key->after && ret == LT_NOT_SUPPORTED) ||
                (key->scaled && (ret == LT_NOT_SUPPORTED || ret == LT_WRONG));
    if (ret && !g->absent) {
        lv_msg(cu->dev.msg, LV_MSG_ERROR, "cuda: no matmul [%d,%d] x [%d,%d] %s (%d)",
               key->m, key->k, key->k, key->n, lv_dtype_name((LvDtype)key->type), ret);
        free_gemm(&cu->drv, g);
        return NULL;
    }
    return g;
}

/* NULL after an error. */
static const LvGemm *find(LvCuda *cu, const LvGemmKey *key)
{
    LvGemm **at = &cu->gemms[hash(key)], *g;

    for (g = *at; g; g = g->next)
        if (!memcmp(&g->key, key, sizeof(*key)))
            return g;
    if (!(g = new_gemm(cu, key)))
        return NULL;
    g->next = *at;
    return *at = g;
}

const LvGemm *lv_cuda_gemm_get(LvCuda *cu, const LvGemmKey *key)
{
    const LvGemm *g = find(cu, key);

    return g && !g->absent ? g : NULL;
}

int lv_cuda_gemm_has(LvCuda *cu, const LvGemmKey *key)
{
    const LvGemm *g = find(cu, key);

    return g ? !g->absent : LV_ERR_DEVICE;
}

static int run(LvCuda *cu, const LvGemm *g, const void *a, const void *b, void *c,
               int add)
{
    const float alpha = 1, beta = add ? 1 : 0;
    const LvGemmKey *key = &g->key;
    int ret = cu->drv.lt.matmul(cu->lt, g->desc, &alpha, b, g->a, a, g->b, &beta, c, g->c,
                                c, g->c, &g->algo, cu->workspace, LV_CUDA_WORKSPACE,
                                cu->stream);

    return ret ? lv_cuda_fail(cu, "cuda: the matmul [%d,%d] x [%d,%d] failed (%d)",
                              key->m, key->k, key->k, key->n, ret) : 0;
}

int lv_cuda_gemm(LvCuda *cu, const LvGemmKey *key, const void *a, const void *b,
                 void *c, int add)
{
    const LvGemm *g = lv_cuda_gemm_get(cu, key);

    return g ? run(cu, g, a, b, c, add) : LV_ERR_UNSUPPORTED;
}

static int set_address(LvCuda *cu, const LvGemm *g, int attribute, const void *p)
{
    int ret = p ? cu->drv.lt.desc_set(g->desc, attribute, &p, sizeof(p)) : 0;

    return ret ? lv_cuda_fail(cu, "cuda: a matmul's bias or scales failed (%d)", ret) : 0;
}

int lv_cuda_gemm_more(LvCuda *cu, const LvGemmKey *key, const void *a, const void *b, void *c,
                      const LvGemmMore *more)
{
    const LvGemm *g = lv_cuda_gemm_get(cu, key);
    int ret;

    if (!g)
        return LV_ERR_UNSUPPORTED;
    if ((ret = set_address(cu, g, LT_DESC_BIAS, more->bias)) < 0 ||
        (ret = set_address(cu, g, LT_DESC_A_SCALE, more->b_scale)) < 0 ||
        (ret = set_address(cu, g, LT_DESC_B_SCALE, more->a_scale)) < 0)
        return ret;
    return run(cu, g, a, b, c, 0);
}

void lv_cuda_free_gemms(LvCuda *cu)
{
    for (int i = 0; i < LV_CUDA_BUCKETS; i++)
        for (LvGemm *g = cu->gemms[i], *next; g; g = next) {
            next = g->next;
            free_gemm(&cu->drv, g);
        }
    memset(cu->gemms, 0, sizeof(cu->gemms));
}
