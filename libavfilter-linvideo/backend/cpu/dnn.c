/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/dnn.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define V3 (DNNL_VERSION_MAJOR >= 3)

enum { PACK_N = 64 };

/* Roles of the memory objects a primitive is run with. */
enum { ARG_SRC, ARG_WEIGHTS, ARG_BIAS, ARG_DST, ARG_SCRATCH, ARG_NB };

/* What can be made: matmuls, convolutions, their gradients. */
enum { GEMM, CONV, CONV_DX, CONV_DW };

/* What oneDNN calls the roles. */
typedef struct Role {
    int id;
    dnnl_query_t md;
} Role;

#define ROLES(src, weights, dst, SRC, WEIGHTS, DST)                               \
    { { DNNL_ARG_##SRC, dnnl_query_##src##_md },                                  \
      { DNNL_ARG_##WEIGHTS, dnnl_query_##weights##_md },                          \
      { DNNL_ARG_BIAS, dnnl_query_weights_md },                                   \
      { DNNL_ARG_##DST, dnnl_query_##dst##_md },                                  \
      { DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md } }

static const Role roles[][ARG_NB] = {
    [GEMM]    = ROLES(src, weights, dst, SRC, WEIGHTS, DST),
    [CONV]    = ROLES(src, weights, dst, SRC, WEIGHTS, DST),
    [CONV_DX] = ROLES(diff_src, weights, diff_dst, DIFF_SRC, WEIGHTS, DIFF_DST),
    [CONV_DW] = ROLES(src, diff_weights, diff_dst, SRC, DIFF_WEIGHTS, DIFF_DST),
};

/* A memory descriptor: a struct in 2.x, a pointer in 3.x. */
#if V3
typedef dnnl_memory_desc_t Desc;
typedef const_dnnl_memory_desc_t DescRef;
#define REF(d) (d)
#else
typedef dnnl_memory_desc_t Desc;
typedef const dnnl_memory_desc_t *DescRef;
#define REF(d) (&(d))
#endif

/* What matmuls and convolutions have in common. */
typedef struct Primitive {
    LvDnn *dnn;
    int kind;              /* of the table `kinds` */
    struct Primitive *next;
    dnnl_primitive_t prim;
    dnnl_memory_t *mem;    /* [threads][ARG_NB]; NULL where there is none */
    Desc weights;          /* layout */
    size_t weight_bytes;
} Primitive;

struct LvGemm {
    Primitive p;
    LvGemmDesc desc;
};

struct LvConv {
    Primitive p;
    LvConvDesc desc;
    dnnl_primitive_t reorder; /* of weights: plain to packed; CONV_DW: back */
    dnnl_memory_t from, to;
};

struct LvDnn {
    const LvMsg *msg;
    const LvDsp *dsp;
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* of each thread */
    void **scratch;        /* of each thread */
    size_t scratch_bytes;
    int threads;
    int blocked;           /* packed layouts are in use, else plain rows */
    int bf16, i8;
    Primitive *made;       /* newest first */
    int error;             /* why the last one could not be made */
};

static dnnl_data_type_t type_of(int type)
{
    switch (type) {
    case LV_BF16: return dnnl_bf16;
    case LV_I8:   return dnnl_s8;
    case LV_U8:   return dnnl_u8;
    case LV_I32:  return dnnl_s32;
    }
    return dnnl_f32;
}

/* Of A, which is multiplied with a B of some type. */
static int type_beside(int type)
{
    return type == LV_I8 ? LV_U8 : type;
}

static int fail(const LvDnn *dnn, dnnl_status_t status, const char *what)
{
    return lv_fail(dnn->msg, status == dnnl_out_of_memory ? LV_ERR(ENOMEM)
                                                          : LV_ERR_DEVICE,
                   "cpu: oneDNN cannot make %s (status %d)", what, (int)status);
}

/* Descriptors, in one form for both versions. */

static dnnl_status_t desc_strides(Desc *d, int rank, const dnnl_dims_t dims,
                                  dnnl_data_type_t t, const dnnl_dims_t strides)
{
#if V3
    return dnnl_memory_desc_create_with_strides(d, rank, dims, t, strides);
#else
    return dnnl_memory_desc_init_by_strides(d, rank, dims, t, strides);
#endif
}

static dnnl_status_t desc_tag(Desc *d, int rank, const dnnl_dims_t dims,
                              dnnl_data_type_t t, dnnl_format_tag_t tag)
{
#if V3
    return dnnl_memory_desc_create_with_tag(d, rank, dims, t, tag);
#else
    return dnnl_memory_desc_init_by_tag(d, rank, dims, t, tag);
#endif
}

static void desc_free(Desc *d)
{
#if V3
    if (*d)
        dnnl_memory_desc_destroy(*d);
    *d = NULL;
#else
    (void)d;
#endif
}

static dnnl_status_t desc_copy(Desc *d, DescRef src)
{
#if V3
    return dnnl_memory_desc_clone(d, src);
#else
    *d = *src;
    return dnnl_success;
#endif
}

/* Opening */

static int is_fast(LvDnn *dnn, int type, int c_type);

static int open_threads(LvDnn *dnn)
{
    dnn->stream  = calloc((size_t)dnn->threads, sizeof(*dnn->stream));
    dnn->scratch = calloc((size_t)dnn->threads, sizeof(*dnn->scratch));
    if (!dnn->stream || !dnn->scratch)
        return lv_fail(dnn->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < dnn->threads; i++) {
        dnnl_status_t s = dnnl_stream_create(&dnn->stream[i], dnn->engine,
                                             dnnl_stream_default_flags);
        if (s != dnnl_success)
            return fail(dnn, s, "a stream");
    }
    return 0;
}

int lv_dnn_open(LvDnn **out, int threads, const LvDsp *dsp, const LvMsg *msg)
{
    LvDnn *dnn = *out = calloc(1, sizeof(*dnn));
    dnnl_status_t s;
    int ret;

    if (!dnn)
        return lv_fail(msg, LV_ERR(ENOMEM), "cpu: out of memory");
    dnn->msg     = msg;
    dnn->dsp     = dsp;
    dnn->threads = threads;
    if ((s = dnnl_engine_create(&dnn->engine, dnnl_cpu, 0)) != dnnl_success)
        ret = fail(dnn, s, "an engine");
    else
        ret = open_threads(dnn);
    if (ret < 0) {
        lv_dnn_close(out);
        return ret;
    }
    dnn->blocked = is_fast(dnn, LV_F32, LV_F32);
#if HAVE_AVX512
    dnn->bf16    = dnn->blocked && __builtin_cpu_supports("avx512bf16") &&
                   is_fast(dnn, LV_BF16, LV_F32);
    dnn->i8      = dnn->blocked && __builtin_cpu_supports("avx512vnni") &&
                   is_fast(dnn, LV_I8, LV_I32);
#endif
    return 0;
}

static void reorder_close(LvConv *c)
{
    if (c->from)
        dnnl_memory_destroy(c->from);
    if (c->to)
        dnnl_memory_destroy(c->to);
    if (c->reorder)
        dnnl_primitive_destroy(c->reorder);
}

static void primitive_close(Primitive *p)
{
    if (p->kind != GEMM)
        reorder_close((LvConv *)p);
    for (int i = 0; p->mem && i < p->dnn->threads * ARG_NB; i++)
        if (p->mem[i])
            dnnl_memory_destroy(p->mem[i]);
    free(p->mem);
    if (p->prim)
        dnnl_primitive_destroy(p->prim);
    desc_free(&p->weights);
    free(p);
}

void lv_dnn_close(LvDnn **out)
{
    LvDnn *dnn = *out;

    if (!dnn)
        return;
    for (Primitive *p = dnn->made, *next; p; p = next) {
        next = p->next;
        primitive_close(p);
    }
    for (int i = 0; i < dnn->threads; i++) {
        if (dnn->stream && dnn->stream[i])
            dnnl_stream_destroy(dnn->stream[i]);
        if (dnn->scratch)
            lv_free(dnn->scratch[i]);
    }
    free(dnn->stream);
    free(dnn->scratch);
    if (dnn->engine)
        dnnl_engine_destroy(dnn->engine);
    free(dnn);
    *out = NULL;
}

int lv_dnn_has_bf16(const LvDnn *dnn)
{
    return dnn->bf16;
}

int lv_dnn_has_i8(const LvDnn *dnn)
{
    return dnn->i8;
}

int lv_dnn_error(const LvDnn *dnn)
{
    return dnn->error;
}

/* Primitives */

static int grow_scratch(LvDnn *dnn, size_t bytes)
{
    if (bytes <= dnn->scratch_bytes)
        return 0;
    dnn->scratch_bytes = 0;
    for (int i = 0; i < dnn->threads; i++) {
        lv_free(dnn->scratch[i]);
        if (!(dnn->scratch[i] = lv_alloc(bytes)))
            return lv_fail(dnn->msg, LV_ERR(ENOMEM),
                           "cpu: no %zu bytes for a matmul", bytes);
    }
    dnn->scratch_bytes = bytes;
    return 0;
}

static int make_memory(Primitive *p, const DescRef md[ARG_NB])
{
    LvDnn *dnn = p->dnn;

    p->mem = calloc((size_t)dnn->threads * ARG_NB, sizeof(*p->mem));
    if (!p->mem)
        return lv_fail(dnn->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < dnn->threads * ARG_NB; i++) {
        dnnl_status_t s;
        if (!md[i % ARG_NB])
            continue;
        s = dnnl_memory_create(&p->mem[i], md[i % ARG_NB], dnn->engine,
                               DNNL_MEMORY_NONE);
        if (s != dnnl_success)
            return fail(dnn, s, "a memory object");
    }
    return 0;
}

/* Take over pd: make the primitive and its memory objects. pd is destroyed. */
static int primitive_open(Primitive *p, dnnl_primitive_desc_t pd, int bias)
{
    DescRef md[ARG_NB] = { NULL };
    dnnl_status_t s = dnnl_primitive_create(&p->prim, pd);
    int ret;

    for (int i = 0; i < ARG_NB; i++)
        if (i != ARG_BIAS || bias)
            md[i] = dnnl_primitive_desc_query_md(pd, roles[p->kind][i].md,
                                                 i == ARG_BIAS);
    if (s == dnnl_success)
        s = desc_copy(&p->weights, md[ARG_WEIGHTS]);
    if (s == dnnl_success) {
        p->weight_bytes = dnnl_memory_desc_get_size(md[ARG_WEIGHTS]);
        ret = grow_scratch(p->dnn, dnnl_memory_desc_get_size(md[ARG_SCRATCH]));
        ret = ret < 0 ? ret : make_memory(p, md);
    } else {
        ret = fail(p->dnn, s, "a primitive");
    }
    dnnl_primitive_desc_destroy(pd);
    return ret;
}

static int primitive_run(const Primitive *p, int thread, void *const data[ARG_NB])
{
    dnnl_memory_t *mem = p->mem + (size_t)thread * ARG_NB;
    dnnl_exec_arg_t args[ARG_NB];
    int nb = 0;

    for (int i = 0; i < ARG_NB; i++) {
        if (!mem[i])
            continue;
        if (dnnl_memory_set_data_handle(mem[i], data[i]) != dnnl_success)
            return LV_ERR_DEVICE;
        args[nb++] = (dnnl_exec_arg_t) { roles[p->kind][i].id, mem[i] };
    }
    return dnnl_primitive_execute(p->prim, p->dnn->stream[thread], nb, args) ==
           dnnl_success ? 0 : LV_ERR_DEVICE;
}

/* Attributes: scratchpad of ours, sum or relu after the matmul. */
static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr, int sum, int relu)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(attr);

    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(*attr,
                                                    dnnl_scratchpad_mode_user);
    if (s != dnnl_success || !(sum || relu))
        return s;
    s = dnnl_post_ops_create(&ops);
#if V3
    if (s == dnnl_success && sum)
        s = dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
    if (s == dnnl_success && relu)
        s = dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
#else
    if (s == dnnl_success && sum)
        s = dnnl_post_ops_append_sum(ops, 1);
    if (s == dnnl_success && relu)
        s = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
#endif
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return s;
}

/* Matmuls */

static int block_rows(int type)
{
    return type == LV_I8 ? 64 : type == LV_BF16 ? 32 : 16;
}

static dnnl_format_tag_t block_tag(int type)
{
    return type == LV_I8 ? dnnl_BA16a64b4a : type == LV_BF16 ? dnnl_BA16a64b2a :
           dnnl_BA16a64b;
}

static dnnl_status_t weight_desc(const LvDnn *dnn, Desc *d, int type, int k, int n,
                                 int ldb)
{
    const dnnl_dims_t dims = { k, n }, rows = { LV_ROUND_UP(ldb, PACK_N), 1 };

    if (dnn->blocked)
        return desc_tag(d, 2, dims, type_of(type), block_tag(type));
    return desc_strides(d, 2, dims, type_of(type), rows);
}

static dnnl_status_t matmul_pd(const LvDnn *dnn, dnnl_primitive_desc_t *pd,
                               const Desc md[ARG_NB], int bias,
                               const_dnnl_primitive_attr_t attr)
{
#if V3
    return dnnl_matmul_primitive_desc_create(pd, dnn->engine, md[ARG_SRC],
        md[ARG_WEIGHTS], bias ? md[ARG_BIAS] : NULL, md[ARG_DST], attr);
#else
    dnnl_matmul_desc_t desc;
    dnnl_status_t s = dnnl_matmul_desc_init(&desc, &md[ARG_SRC], &md[ARG_WEIGHTS],
        bias ? &md[ARG_BIAS] : NULL, &md[ARG_DST]);

    return s != dnnl_success ? s :
           dnnl_primitive_desc_create(pd, &desc, attr, dnn->engine, NULL);
#endif
}

static dnnl_status_t gemm_descs(const LvDnn *dnn, const LvGemmDesc *g, Desc md[ARG_NB])
{
    const dnnl_dims_t a = { g->m, g->k }, c = { g->m, g->n }, b = { 1, g->n };
    dnnl_status_t s;

    s = desc_tag(&md[ARG_SRC], 2, a, type_of(type_beside(g->type)),
                 g->transposed ? dnnl_ba : dnnl_ab);
    if (s == dnnl_success)
        s = weight_desc(dnn, &md[ARG_WEIGHTS], g->type, g->k, g->n, g->ldb);
    if (s == dnnl_success)
        s = desc_tag(&md[ARG_DST], 2, c, type_of(g->c_type), dnnl_ab);
    if (s == dnnl_success && g->bias)
        s = desc_tag(&md[ARG_BIAS], 2, b, dnnl_f32, dnnl_ab);
    return s;
}

static dnnl_status_t gemm_pd(LvDnn *dnn, const Primitive *p, Desc md[ARG_NB],
                             dnnl_primitive_attr_t *attr, dnnl_primitive_desc_t *pd)
{
    const LvGemmDesc *desc = &((const LvGemm *)p)->desc;
    dnnl_status_t s        = gemm_descs(dnn, desc, md);

    if (s == dnnl_success)
        s = make_attr(attr, desc->sum, 0);
    return s == dnnl_success ? matmul_pd(dnn, pd, md, desc->bias, *attr) : s;
}

int lv_gemm_run(const LvGemm *g, int thread, const void *a, const void *b,
                const float *bias, void *c)
{
    void *const data[ARG_NB] = { (void *)a, (void *)b, (void *)bias, c,
                                 g->p.dnn->scratch[thread] };

    return primitive_run(&g->p, thread, data);
}

/* oneDNN multiplies any layout, by a plain loop called "ref" when it has nothing
 * better, slower by orders of magnitude. And its AVX2 form of the packed layout (3.7)
 * reads past the last row of A when k is no multiple of the block. So packed layouts
 * are for AVX-512 only; plain rows are fast everywhere else. */
static const char *impl_of(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;

    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return name ? name : "";
}

static int is_fast(LvDnn *dnn, int type, int c_type)
{
    const dnnl_dims_t dims = { 64, 64 };
    dnnl_primitive_desc_t pd = NULL;
    Desc md[ARG_NB];
    dnnl_status_t s;
    int fast;

    memset(md, 0, sizeof(md));
    s = desc_tag(&md[ARG_SRC], 2, dims, type_of(type_beside(type)), dnnl_ab);
    if (s == dnnl_success)
        s = desc_tag(&md[ARG_WEIGHTS], 2, dims, type_of(type), block_tag(type));
    if (s == dnnl_success)
        s = desc_tag(&md[ARG_DST], 2, dims, type_of(c_type), dnnl_ab);
    if (s == dnnl_success)
        s = matmul_pd(dnn, &pd, md, 0, NULL);
    for (int i = 0; i < ARG_NB; i++)
        desc_free(&md[i]);
    fast = s == dnnl_success && strstr(impl_of(pd), "512") != NULL;
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return fast;
}

/* Packing */

size_t lv_pack_bytes(const LvDnn *dnn, int type, int k, int n)
{
    return lv_pack_offset(dnn, type, k, LV_ROUND_UP(n, PACK_N)) *
           (size_t)(dnn->blocked ? 1 : k);
}

size_t lv_pack_offset(const LvDnn *dnn, int type, int k, int n0)
{
    size_t size = lv_dtype_size((LvDtype)type);

    return dnn->blocked ? (size_t)n0 * LV_ROUND_UP((size_t)k, block_rows(type)) * size
                        : (size_t)n0 * size;
}

/* One block of 64 columns in the layout, made of units of 32 bits: one f32, or two bf16
 * or four bytes of neighbouring rows. */

static void pack_cols8(const LvDsp *dsp, uint32_t *dst, const uint32_t *src, int k, int n,
                       size_t ld)
{
    dsp->turn(dst, PACK_N, src, ld / 4, (size_t)n, (size_t)(k + 3) / 4);
}

static void pack_cols32(const LvDsp *dsp, uint32_t *dst, const uint32_t *src, int k,
                        int n, size_t ld)
{
    dsp->turn(dst, PACK_N, src, ld, (size_t)n, (size_t)k);
}

static void pack_cols16(const LvDsp *dsp, uint16_t *dst, const uint16_t *src, int k,
                        int n, size_t ld)
{
    size_t last = (size_t)(k - 1);

    /* Pairs are aligned when columns are whole pairs apart. */
    if (ld % 2 == 0 && (uintptr_t)src % 4 == 0)
        dsp->turn((uint32_t *)(void *)dst, PACK_N, (const uint32_t *)(const void *)src,
                  ld / 2, (size_t)n, (size_t)(k / 2));
    else
        for (int c = 0; c < n; c++)
            for (int r = 0; r < k / 2 * 2; r++)
                dst[(size_t)(r / 2) * 2 * PACK_N + 2 * c + r % 2] =
                    src[(size_t)c * ld + r];
    for (int c = 0; c < n && k % 2; c++)
        dst[last * PACK_N + 2 * c] = src[(size_t)c * ld + last];
}

static void pack_rows16(const LvDsp *dsp, uint16_t *dst, const uint16_t *src, int k,
                        int n, size_t ld)
{
    static const uint16_t zeros[PACK_N];

    for (int r = 0; r < k; r += 2, dst += 2 * PACK_N, src += 2 * ld)
        dsp->weave(dst, src, r + 1 < k ? src + ld : zeros, (size_t)n);
}

static void pack_rows32(const LvDsp *dsp, uint32_t *dst, const uint32_t *src, int k,
                        int n, size_t ld)
{
    (void)dsp;
    for (int r = 0; r < k; r++)
        memcpy(dst + (size_t)r * PACK_N, src + (size_t)r * ld, (size_t)n * 4);
}

/* The block, with zeros wherever packing does not write. */
static void *begin_block(const LvDnn *dnn, int type, void *dst, int k, int n, int n0)
{
    char *block  = (char *)dst + lv_pack_offset(dnn, type, k, n0);
    size_t bytes = lv_pack_offset(dnn, type, k, PACK_N), whole = 0;

    if (n == PACK_N)
        whole = (size_t)(k / 4 * 4) * PACK_N * lv_dtype_size((LvDtype)type);
    memset(block + whole, 0, bytes - whole);
    return block;
}

/* Without blocks: plain rows, padded to a multiple of 64. */
static void plain_block(int type, void *dst, const void *src, int k, int n, int ld,
                        int n0, int stride, int transposed)
{
    size_t size = lv_dtype_size((LvDtype)type);
    int width = LV_MIN(n - n0, PACK_N);

    for (int r = 0; r < k; r++)
        for (int c = 0; c < PACK_N; c++) {
            char *to = (char *)dst + ((size_t)r * stride + n0 + c) * size;
            size_t from = transposed ? (size_t)c * ld + r : (size_t)r * ld + c;
            if (c < width)
                memcpy(to, (const char *)src + from * size, size);
            else
                memset(to, 0, size);
        }
}

void lv_pack_rows(const LvDnn *dnn, int type, void *dst, const void *src, int k,
                  int n, int ld, int n0)
{
    int width = LV_MIN(n - n0, PACK_N);

    if (!dnn->blocked)
        plain_block(type, dst, src, k, n, ld, n0, LV_ROUND_UP(n, PACK_N), 0);
    else if (type == LV_BF16)
        pack_rows16(dnn->dsp, begin_block(dnn, type, dst, k, width, n0), src, k, width,
                    (size_t)ld);
    else
        pack_rows32(dnn->dsp, begin_block(dnn, type, dst, k, width, n0), src, k, width,
                    (size_t)ld);
}

void lv_pack_cols(const LvDnn *dnn, int type, void *dst, const void *src, int k,
                  int n, int ld, int n0)
{
    int width = LV_MIN(n - n0, PACK_N);

    if (!dnn->blocked)
        plain_block(type, dst, src, k, n, ld, n0, LV_ROUND_UP(n, PACK_N), 1);
    else if (type == LV_I8)
        pack_cols8(dnn->dsp, begin_block(dnn, type, dst, k, width, n0), src, k, width,
                   (size_t)ld);
    else if (type == LV_BF16)
        pack_cols16(dnn->dsp, begin_block(dnn, type, dst, k, width, n0), src, k, width,
                    (size_t)ld);
    else
        pack_cols32(dnn->dsp, begin_block(dnn, type, dst, k, width, n0), src, k, width,
                    (size_t)ld);
}

/* Convolutions */

typedef struct Geometry {
    dnnl_dims_t strides, dilates, before, after;
} Geometry;

static Geometry geometry_of(const LvConvDesc *c)
{
    return (Geometry) {
        .strides = { c->stride, c->stride },
        .before  = { c->pad_top, c->pad_left },
        .after   = {
            (c->out_rows - 1) * c->stride + c->kh - c->in_rows - c->pad_top,
            (c->out_cols - 1) * c->stride + c->kw - c->cols - c->pad_left,
        },
    };
}

static dnnl_status_t forward_pd(const LvDnn *dnn, dnnl_primitive_desc_t *pd,
                                const Desc md[ARG_NB], const LvConvDesc *c,
                                dnnl_prop_kind_t prop, const_dnnl_primitive_attr_t attr)
{
    const Geometry g = geometry_of(c);
#if V3
    return dnnl_convolution_forward_primitive_desc_create(pd, dnn->engine, prop,
        dnnl_convolution_direct, md[ARG_SRC], md[ARG_WEIGHTS],
        c->bias ? md[ARG_BIAS] : NULL, md[ARG_DST], g.strides, g.dilates, g.before,
        g.after, attr);
#else
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(&desc, prop,
        dnnl_convolution_direct, &md[ARG_SRC], &md[ARG_WEIGHTS],
        c->bias ? &md[ARG_BIAS] : NULL, &md[ARG_DST], g.strides, g.dilates, g.before,
        g.after);

    return s != dnnl_success ? s :
           dnnl_primitive_desc_create(pd, &desc, attr, dnn->engine, NULL);
#endif
}

static dnnl_status_t dx_pd(const LvDnn *dnn, dnnl_primitive_desc_t *pd,
                           const Desc md[ARG_NB], const LvConvDesc *c,
                           const_dnnl_primitive_desc_t hint,
                           const_dnnl_primitive_attr_t attr)
{
    const Geometry g = geometry_of(c);
#if V3
    return dnnl_convolution_backward_data_primitive_desc_create(pd, dnn->engine,
        dnnl_convolution_direct, md[ARG_SRC], md[ARG_WEIGHTS], md[ARG_DST], g.strides,
        g.dilates, g.before, g.after, hint, attr);
#else
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_backward_data_desc_init(&desc,
        dnnl_convolution_direct, &md[ARG_SRC], &md[ARG_WEIGHTS], &md[ARG_DST],
        g.strides, g.dilates, g.before, g.after);

    return s != dnnl_success ? s :
           dnnl_primitive_desc_create(pd, &desc, attr, dnn->engine, hint);
#endif
}

static dnnl_status_t dw_pd(const LvDnn *dnn, dnnl_primitive_desc_t *pd,
                           const Desc md[ARG_NB], const LvConvDesc *c,
                           const_dnnl_primitive_desc_t hint,
                           const_dnnl_primitive_attr_t attr)
{
    const Geometry g = geometry_of(c);
#if V3
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, dnn->engine,
        dnnl_convolution_direct, md[ARG_SRC], md[ARG_WEIGHTS], NULL, md[ARG_DST],
        g.strides, g.dilates, g.before, g.after, hint, attr);
#else
    dnnl_convolution_desc_t desc;
    dnnl_status_t s = dnnl_dilated_convolution_backward_weights_desc_init(&desc,
        dnnl_convolution_direct, &md[ARG_SRC], &md[ARG_WEIGHTS], NULL, &md[ARG_DST],
        g.strides, g.dilates, g.before, g.after);

    return s != dnnl_success ? s :
           dnnl_primitive_desc_create(pd, &desc, attr, dnn->engine, hint);
#endif
}

/* The oldest convolution of such a weight over frames of such a width: its layout is
 * the one in use. What is fast at one width may have only a plain loop at another. */
static const LvConv *same_weight(const LvDnn *dnn, const LvConvDesc *d)
{
    const LvConv *found = NULL;

    for (const Primitive *p = dnn->made; p; p = p->next) {
        const LvConv *c = (const LvConv *)p;
        if (p->kind != GEMM && c->desc.what == d->what && c->desc.c == d->c &&
            c->desc.o == d->o && c->desc.kh == d->kh && c->desc.kw == d->kw &&
            c->desc.type == d->type && c->desc.cols == d->cols &&
            c->desc.stride == d->stride)
            found = c;
    }
    return found;
}

/* same: of the layout wanted for weights, or NULL */
static dnnl_status_t conv_descs(const LvConvDesc *c, const LvConv *same,
                                Desc md[ARG_NB])
{
    const dnnl_dims_t x = { c->batch, c->c, c->in_rows, c->cols };
    const dnnl_dims_t y = { c->batch, c->o, c->out_rows, c->out_cols };
    const dnnl_dims_t w = { c->o, c->c, c->kh, c->kw }, b = { c->o };
    int types[] = { c->type, c->type, c->type };
    dnnl_status_t s;

    types[c->what == LV_CONV_DX ? 0 : c->what == LV_CONV_DW ? 1 : 2] = c->out_type;
    s = desc_tag(&md[ARG_SRC], 4, x, type_of(types[0]), dnnl_nhwc);
    if (s == dnnl_success)
        s = same ? desc_copy(&md[ARG_WEIGHTS], REF(same->p.weights)) :
            desc_tag(&md[ARG_WEIGHTS], 4, w, type_of(types[1]), dnnl_format_tag_any);
    if (s == dnnl_success)
        s = desc_tag(&md[ARG_DST], 4, y, type_of(types[2]), dnnl_nhwc);
    if (s == dnnl_success && c->bias)
        s = desc_tag(&md[ARG_BIAS], 1, b, dnnl_f32, dnnl_x);
    return s;
}

static dnnl_status_t conv_pd(LvDnn *dnn, const Primitive *p, Desc md[ARG_NB],
                             dnnl_primitive_attr_t *attr, dnnl_primitive_desc_t *pd)
{
    const LvConvDesc *desc = &((const LvConv *)p)->desc;
    dnnl_status_t s        = conv_descs(desc, same_weight(dnn, desc), md);

    if (s == dnnl_success)
        s = make_attr(attr, desc->sum, desc->relu);
    return s != dnnl_success ? s :
           forward_pd(dnn, pd, md, desc, dnnl_forward_inference, *attr);
}

/* oneDNN wants to know the forward convolution that a gradient belongs to. */
static dnnl_status_t hint_pd(const LvDnn *dnn, const LvConvDesc *of,
                             dnnl_primitive_desc_t *pd)
{
    LvConvDesc desc = *of;
    Desc md[ARG_NB];
    dnnl_status_t s;

    memset(md, 0, sizeof(md));
    desc.what     = LV_CONV_Y;
    desc.out_type = desc.type;
    s = conv_descs(&desc, NULL, md);
    if (s == dnnl_success)
        s = forward_pd(dnn, pd, md, &desc, dnnl_forward_training, NULL);
    for (int i = 0; i < ARG_NB; i++)
        desc_free(&md[i]);
    return s;
}

static dnnl_status_t conv_grad_pd(LvDnn *dnn, const Primitive *p, Desc md[ARG_NB],
                                  dnnl_primitive_attr_t *attr,
                                  dnnl_primitive_desc_t *pd)
{
    const LvConvDesc *desc = &((const LvConv *)p)->desc;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t s = conv_descs(desc, same_weight(dnn, desc), md);

    if (s == dnnl_success)
        s = make_attr(attr, 0, 0);
    if (s == dnnl_success)
        s = hint_pd(dnn, desc, &hint);
    if (s == dnnl_success)
        s = desc->what == LV_CONV_DX ? dx_pd(dnn, pd, md, desc, hint, *attr)
                                     : dw_pd(dnn, pd, md, desc, hint, *attr);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    return s;
}

size_t lv_conv_weight_bytes(const LvConv *conv)
{
    return conv->p.weight_bytes;
}

static dnnl_status_t make_reorder(LvConv *c, DescRef from, DescRef to)
{
    dnnl_engine_t engine     = c->p.dnn->engine;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine,
                                                         NULL);

    if (s == dnnl_success)
        s = dnnl_primitive_create(&c->reorder, pd);
    if (s == dnnl_success)
        s = dnnl_memory_create(&c->from, from, engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&c->to, to, engine, DNNL_MEMORY_NONE);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return s;
}

static int open_reorder(LvConv *c)
{
    const LvConvDesc *d = &c->desc;
    const dnnl_dims_t dims = { d->o, d->c, d->kh, d->kw };
    Desc plain;
    dnnl_status_t s;

    memset(&plain, 0, sizeof(plain));
    s = desc_tag(&plain, 4, dims, dnnl_f32, dnnl_abcd);
    if (s == dnnl_success && d->what == LV_CONV_DW)
        s = make_reorder(c, REF(c->p.weights), REF(plain));
    else if (s == dnnl_success)
        s = make_reorder(c, REF(plain), REF(c->p.weights));
    desc_free(&plain);
    return s == dnnl_success ? 0 : fail(c->p.dnn, s, "a packed weight");
}

int lv_conv_reorder(const LvConv *c, void *dst, const void *src)
{
    const dnnl_exec_arg_t args[] = {
        { DNNL_ARG_FROM, c->from }, { DNNL_ARG_TO, c->to },
    };

    return dnnl_memory_set_data_handle(c->from, (void *)src) == dnnl_success &&
           dnnl_memory_set_data_handle(c->to, dst) == dnnl_success &&
           dnnl_primitive_execute(c->reorder, c->p.dnn->stream[0], 2, args) ==
           dnnl_success ? 0 : LV_ERR_DEVICE;
}

int lv_conv_run(const LvConv *c, int thread, const LvConvData *d)
{
    void *const data[ARG_NB] = { d->x, d->w, (void *)d->bias, d->y,
                                 c->p.dnn->scratch[thread] };

    return primitive_run(&c->p, thread, data);
}

/* Making and keeping */

static const struct {
    const char *about;
    size_t size, desc_at, desc_size;
    dnnl_status_t (*pd)(LvDnn *dnn, const Primitive *p, Desc md[ARG_NB],
                        dnnl_primitive_attr_t *attr, dnnl_primitive_desc_t *pd);
} kinds[] = {
    [GEMM] = { "a matmul", sizeof(LvGemm), offsetof(LvGemm, desc),
               sizeof(LvGemmDesc), gemm_pd },
    [CONV] = { "a convolution", sizeof(LvConv), offsetof(LvConv, desc),
               sizeof(LvConvDesc), conv_pd },
    [CONV_DX] = { "a convolution's gradient", sizeof(LvConv), offsetof(LvConv, desc),
                  sizeof(LvConvDesc), conv_grad_pd },
    [CONV_DW] = { "a convolution's gradient", sizeof(LvConv), offsetof(LvConv, desc),
                  sizeof(LvConvDesc), conv_grad_pd },
};

static int open_kind(LvDnn *dnn, Primitive *p, int bias)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd   = NULL;
    Desc md[ARG_NB];
    dnnl_status_t s;
    int ret;

    memset(md, 0, sizeof(md));
    s = kinds[p->kind].pd(dnn, p, md, &attr, &pd);
    for (int i = 0; i < ARG_NB; i++)
        desc_free(&md[i]);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (s == dnnl_success && !strncmp(impl_of(pd), "ref", 3))
        lv_msg(dnn->msg, LV_MSG_DEBUG, "cpu: oneDNN has no fast form of %s",
               kinds[p->kind].about);
    if (s != dnnl_success)
        return fail(dnn, s, kinds[p->kind].about);
    ret = primitive_open(p, pd, bias);
    return ret < 0 || p->kind == GEMM ? ret : open_reorder((LvConv *)p);
}

static Primitive *get(LvDnn *dnn, int kind, const void *desc, int bias)
{
    int threads = omp_get_max_threads(), ret;
    Primitive *p;

    for (p = dnn->made; p; p = p->next)
        if (p->kind == kind && !memcmp((char *)p + kinds[kind].desc_at, desc,
                                       kinds[kind].desc_size))
            return p;
    if (!(p = calloc(1, kinds[kind].size))) {
        dnn->error = lv_fail(dnn->msg, LV_ERR(ENOMEM), "cpu: out of memory");
        return NULL;
    }
    p->dnn  = dnn;
    p->kind = kind;
    memcpy((char *)p + kinds[kind].desc_at, desc, kinds[kind].desc_size);
    /* oneDNN fits a primitive to the number of threads it sees when making it. */
    omp_set_num_threads(1);
    ret = open_kind(dnn, p, bias);
    omp_set_num_threads(threads);
    if (ret < 0) {
        dnn->error = ret;
        primitive_close(p);
        return NULL;
    }
    p->next   = dnn->made;
    dnn->made = p;
    return p;
}

const LvGemm *lv_gemm_get(LvDnn *dnn, const LvGemmDesc *wanted)
{
    LvGemmDesc desc = *wanted;

    if (dnn->blocked)
        desc.ldb = 0;
    return (const LvGemm *)get(dnn, GEMM, &desc, desc.bias);
}

const LvConv *lv_conv_get(LvDnn *dnn, const LvConvDesc *desc)
{
    static const int kind_of[] = {
        [LV_CONV_Y] = CONV, [LV_CONV_DX] = CONV_DX, [LV_CONV_DW] = CONV_DW,
    };

    return (const LvConv *)get(dnn, kind_of[desc->what], desc, desc->bias);
}
