/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * cuBLASLt's entries as backend/cuda/driver.h lists them, as plain loops, for tests.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "standin.h"

typedef struct Layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
} Layout;

typedef struct Desc {
    int trans[2];
    uint32_t epilogue;
    int bias_type;
    const void *bias;
    const float *scale[2]; /* of rows of a, columns of b; read in mode OUTER */
    int mode[2];
} Desc;

/* Attributes and values of a product's description. */
enum { TRANS_A = 3, TRANS_B, EPILOGUE = 7, BIAS = 8, A_SCALE = 17, B_SCALE = 18, BIAS_TYPE = 26,
       A_SCALE_MODE = 31, B_SCALE_MODE = 32 };
enum { F32 = 0, BF16 = 14, E4M3 = 28, OUTER = 3 };
enum { RELU = 2, WITH_BIAS = 4, GELU = 32 };

int cublasLtCreate(void **handle);
int cublasLtDestroy(void *handle);
int cublasLtMatmulDescCreate(void **desc, int compute, int scale_type);
int cublasLtMatmulDescDestroy(void *desc);
int cublasLtMatmulDescSetAttribute(void *desc, int attr, const void *v, size_t size);
int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols,
                               int64_t ld);
int cublasLtMatrixLayoutDestroy(void *layout);
int cublasLtMatmulPreferenceCreate(void **pref);
int cublasLtMatmulPreferenceDestroy(void *pref);
int cublasLtMatmulPreferenceSetAttribute(void *pref, int attr, const void *v,
                                         size_t size);
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c,
                                   void *d, void *pref, int wanted, void *out, int *nb);
int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *la,
                   const void *b, void *lb, const void *beta, const void *c, void *lc,
                   void *d, void *ld, const void *algo, void *workspace, size_t bytes,
                   void *stream);

/* Results of cuBLASLt. */
enum { INTERNAL = 14, NO_MEMORY = 3, WRONG = 7 };

/* A new object of a kind, or NULL when the call has to fail. */
static void *make(int kind, const char *entry, size_t size)
{
    void *p = emu_fault(entry) ? NULL : calloc(1, size);

    if (p)
        emu_made(kind);
    return p;
}

static int destroy(int kind, void *p)
{
    free(p);
    emu_gone(kind);
    return 0;
}

int cublasLtCreate(void **handle)
{
    *handle = make(EMU_LT, "cublasLtCreate", 1);
    return *handle ? 0 : NO_MEMORY;
}

int cublasLtDestroy(void *handle)
{
    return destroy(EMU_LT, handle);
}

int cublasLtMatmulDescCreate(void **desc, int compute, int scale_type)
{
    (void)compute, (void)scale_type;
    *desc = make(EMU_DESC, "cublasLtMatmulDescCreate", sizeof(Desc));
    return *desc ? 0 : NO_MEMORY;
}

int cublasLtMatmulDescDestroy(void *desc)
{
    return destroy(EMU_DESC, desc);
}

int cublasLtMatmulDescSetAttribute(void *desc, int attr, const void *v, size_t size)
{
    Desc *d = desc;

    (void)size;
    if (emu_fault("cublasLtMatmulDescSetAttribute"))
        return INTERNAL;
    if (attr == TRANS_A || attr == TRANS_B)
        d->trans[attr - TRANS_A] = *(const int *)v;
    else if (attr == EPILOGUE)
        d->epilogue = *(const uint32_t *)v;
    else if (attr == BIAS)
        d->bias = *(const void *const *)v;
    else if (attr == A_SCALE || attr == B_SCALE)
        d->scale[attr - A_SCALE] = *(const float *const *)v;
    else if (attr == A_SCALE_MODE || attr == B_SCALE_MODE)
        d->mode[attr - A_SCALE_MODE] = *(const int *)v;
    else if (attr == BIAS_TYPE)
        d->bias_type = *(const int *)v;
    else
        return 7;
    return 0;
}

int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols,
                               int64_t ld)
{
    Layout *layout = make(EMU_LAYOUT, "cublasLtMatrixLayoutCreate", sizeof(*layout));

    if (layout)
        *layout = (Layout) { type, rows, cols, ld };
    *l = layout;
    return !layout ? NO_MEMORY : (uint64_t)ld < rows ? WRONG : 0;
}

int cublasLtMatrixLayoutDestroy(void *layout)
{
    return destroy(EMU_LAYOUT, layout);
}

int cublasLtMatmulPreferenceCreate(void **pref)
{
    *pref = make(EMU_PREF, "cublasLtMatmulPreferenceCreate", 1);
    return *pref ? 0 : NO_MEMORY;
}

int cublasLtMatmulPreferenceDestroy(void *pref)
{
    return destroy(EMU_PREF, pref);
}

int cublasLtMatmulPreferenceSetAttribute(void *pref, int attr, const void *v,
                                         size_t size)
{
    (void)pref, (void)attr, (void)v, (void)size;
    return emu_fault("cublasLtMatmulPreferenceSetAttribute") ? INTERNAL : 0;
}

/* Small numbers: rows are along the sum, in units of 16 bytes. Of scales with GELU
 * behind them this one knows nothing, nor of scales where there are 48 rows: so callers need
 * each way that they have. */
static int is_known(const Desc *d, const Layout *a, const Layout *b)
{
    if (a->type != E4M3)
        return 1;
    if (b->type != E4M3 || !d->trans[0] || d->trans[1] || a->ld % 16 || b->ld % 16 ||
        a->cols % 16 || a->rows % 16)
        return 0;
    return d->mode[0] != OUTER || (!(d->epilogue & GELU) && a->cols != 48);
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c,
                                   void *d, void *pref, int wanted, void *out, int *nb)
{
    (void)handle, (void)c, (void)d, (void)pref;
    (void)wanted, (void)out;
    *nb = is_known(desc, a, b);
    return emu_fault("cublasLtMatmulAlgoGetHeuristic") ? INTERNAL : 0;
}

/* Element (row, col) of op(matrix), column-major. */
static size_t place(const Layout *l, int trans, uint64_t row, uint64_t col)
{
    return (size_t)(trans ? row * (uint64_t)l->ld + col : col * (uint64_t)l->ld + row);
}

static float get(const void *p, int type, size_t i)
{
    uint32_t u;
    float f;

    if (type == F32)
        return ((const float *)p)[i];
    if (type == E4M3)
        return lv_e4m3_f32(((const uint8_t *)p)[i]);
    u = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&f, &u, sizeof(f));
    return f;
}

static void put(void *p, int type, size_t i, float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    if (type == 0)
        ((float *)p)[i] = x;
    else
        ((uint16_t *)p)[i] = (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static double after(const Desc *d, uint64_t row, double x)
{
    if (d->epilogue & WITH_BIAS)
        x += get(d->bias, d->bias_type, row);
    if (d->epilogue & RELU)
        x = x > 0 ? x : 0;
    if (d->epilogue & GELU)
        x = 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

typedef struct Product {
    Desc desc;
    const Layout *x, *y, *z;
    const void *a, *b, *c;
    void *d;
    float alpha, beta;
} Product;

/* op(matrix) row by row, or column by column when `across`, as f32 */
static float *unpack(const void *p, const Layout *l, int trans, uint64_t rows,
                     uint64_t cols, int across)
{
    float *out = malloc(4 * rows * cols);

    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            out[across ? c * rows + r : r * cols + c] =
                get(p, l->type, place(l, trans, r, c));
    return out;
}

/* In sixteen sums, so that the compiler may take as many products at once. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static double dot(const float *a, const float *b, uint64_t n)
{
    enum { SUMS = 16 };
    double sum[SUMS] = { 0 }, all = 0;
    uint64_t k = 0;

    for (; k + SUMS <= n; k += SUMS)
        for (int i = 0; i < SUMS; i++)
            sum[i] += (double)a[k + i] * b[k + i];
    for (; k < n; k++)
        sum[0] += (double)a[k] * b[k];
    for (int i = 0; i < SUMS; i++)
        all += sum[i];
    return all;
}

static void run_product(const void *data)
{
    const Product *p = data;
    const Layout *z  = p->z;
    uint64_t depth   = p->desc.trans[0] ? p->x->rows : p->x->cols;
    float *a = unpack(p->a, p->x, p->desc.trans[0], z->rows, depth, 0);
    float *b = unpack(p->b, p->y, p->desc.trans[1], depth, z->cols, 1);

    for (uint64_t col = 0; col < z->cols; col++)
        for (uint64_t row = 0; row < z->rows; row++) {
            size_t at  = place(z, 0, row, col);
            double sum = p->alpha * dot(a + row * depth, b + col * depth, depth);
            if (p->desc.mode[0] == OUTER)
                sum *= (double)p->desc.scale[0][row] * (double)p->desc.scale[1][col];
            if (p->beta != 0)
                sum += p->beta * get(p->c, z->type, at);
            put(p->d, z->type, at, (float)after(&p->desc, row, sum));
        }
    free(a);
    free(b);
}

static size_t bytes_of(const Layout *l)
{
    return ((l->cols - 1) * (uint64_t)l->ld + l->rows) *
           (l->type == F32 ? 4 : l->type == E4M3 ? 1 : 2);
}

int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *la,
                   const void *b, void *lb, const void *beta, const void *c, void *lc,
                   void *d, void *ld, const void *algo, void *workspace, size_t bytes,
                   void *stream)
{
    const Layout *x = la, *y = lb, *z = lc;
    Product p = { *(const Desc *)desc, la, lb, lc, a, b, c, d, *(const float *)alpha,
                  *(const float *)beta };

    (void)handle, (void)ld, (void)algo, (void)workspace, (void)bytes;
    if (emu_fault("cublasLtMatmul"))
        return INTERNAL;
    if (!emu_memory_has(a, bytes_of(x)) || !emu_memory_has(b, bytes_of(y)) ||
        !emu_memory_has(d, bytes_of(z)) || !emu_memory_has(workspace, bytes))
        return WRONG;
    if ((p.desc.epilogue & WITH_BIAS) &&
        !emu_memory_has(p.desc.bias, z->rows * (p.desc.bias_type == 0 ? 4 : 2)))
        return WRONG;
    if (p.desc.mode[0] == OUTER && (!emu_memory_has(p.desc.scale[0], z->rows * 4) ||
                                    !emu_memory_has(p.desc.scale[1], z->cols * 4)))
        return WRONG;
    emu_submit(stream, run_product, &p, sizeof(p));
    return 0;
}
