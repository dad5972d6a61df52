/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x w^T + b), and its gradient dx = dy w: a grid of tiles, rows by columns. A
 * tile is one matmul of oneDNN. It writes y itself when its rows are whole rows of y
 * and need no more than a bias or a sum; else it goes to the thread's slab in f32 and
 * ISA kernels finish it row by row.
 */

#include <stdlib.h>

#include "backend/cpu/cpu.h"

/* What both ops are: y[m,n] = act(x[m,k] B + b), B being w^T or w. */
typedef struct Matmul {
    const LvTensor *x, *w, *b, *y; /* b: NULL when there can be none */
    int m, n, k;
    int pack; /* LV_PACK_LINEAR: w is [n,k]; LV_PACK_ROWS: [k,n] */
    int act, add;
} Matmul;

typedef struct LinearPriv {
    const void *packed;        /* the weight; NULL: packed at every run */
    const LvGemm *gemm[2][2];  /* [last row of tiles][last column of tiles] */
} LinearPriv;

typedef struct Grid {
    int tile_m, tile_n, rows, cols;
    int direct; /* oneDNN writes y itself */
} Grid;

typedef struct LinearJob {
    LvCpu *cpu;
    const Matmul *p;
    const LinearPriv *priv;
    const void *packed;
    Grid grid;
} LinearJob;

/* Few rows are cut into columns too, so that there is work for all threads; so is
 * what ISA kernels finish, so that it is still near when they do. */
enum { MANY_ROWS = 256, PACK_N = 64, READ = 16 /* rows of a weight at once */ };

static Matmul forward(const LvLinearArgs *a)
{
    return (Matmul) { &a->x, &a->w, &a->b, &a->y, a->x.dim[0], a->w.dim[0],
                       a->w.dim[1], LV_PACK_LINEAR, a->act, 0 };
}

static Matmul gradient(const LvLinearDxArgs *a)
{
    return (Matmul) { &a->dy, &a->w, NULL, &a->dx, a->dy.dim[0], a->w.dim[1],
                       a->w.dim[0], LV_PACK_ROWS, LV_ACT_NONE, a->add };
}

/* Whether oneDNN cannot make what y is to hold. */
static int needs_finish(const Matmul *p)
{
    return p->act != LV_ACT_NONE ||
           (p->y->dtype != LV_F32 && (p->x->dtype == LV_F32 || p->add));
}

static int has_bias(const Matmul *p)
{
    return p->b && lv_has(p->b);
}

static Grid grid_of(const Matmul *p)
{
    Grid g = { .tile_m = lv_cpu_row_tile(p->m), .tile_n = p->n };

    if (p->m < MANY_ROWS)
        g.tile_n = LV_CLAMP(LV_ROUND_UP(p->n / 4, PACK_N), PACK_N, 512);
    else if (needs_finish(p))
        g.tile_n = 512;
    g.rows   = lv_cpu_split((size_t)p->m, (size_t)g.tile_m);
    g.cols   = lv_cpu_split((size_t)p->n, (size_t)g.tile_n);
    g.direct = g.cols == 1 && !needs_finish(p);
    return g;
}

static size_t pack_size(const LvCpu *cpu, const Matmul *p)
{
    return lv_pack_bytes(cpu->dnn, p->x->dtype, p->k, p->n);
}

static int plan(const LvCpu *cpu, const Matmul *p, LvCall *call)
{
    Grid g   = grid_of(p);
    size_t k = (size_t)p->k;

    if (lv_is_fixed(p->w))
        call->weight_bytes = pack_size(cpu, p);
    else
        call->scratch_bytes = pack_size(cpu, p);
    call->thread_bytes = LV_MAX(g.direct ? 0 : 4 * (size_t)g.tile_m * g.tile_n,
                                4 * ((PACK_N + READ) * k + LV_MAX(k, PACK_N)));
    return lv_cpu_has_type(cpu, p->x->dtype);
}

static const LvGemm *tile_gemm(LvCpu *cpu, const Matmul *p, Grid g, int row, int col)
{
    LvGemmDesc d = {
        .m = LV_MIN(p->m - row * g.tile_m, g.tile_m),
        .n = LV_MIN(p->n - col * g.tile_n, g.tile_n), .k = p->k, .ldb = p->n,
        .type = p->x->dtype, .c_type = g.direct ? p->y->dtype : LV_F32,
        .bias = has_bias(p), .sum = g.direct && p->add,
    };

    return lv_gemm_get(cpu->dnn, &d);
}

/* Rows of w as what matmuls read, some at a time. */
static int convert_rows(const LinearJob *j, int first, int nb, char *rows, char *slab)
{
    const Matmul *p = j->p;
    int type    = p->x->dtype, n;
    size_t k    = (size_t)p->k, size = k * lv_dtype_size((LvDtype)type);
    LvTensor at = { .data = slab, .dtype = p->w->dtype };
    float *tmp  = (float *)(void *)(slab + 4 * READ * k);

    for (int i = 0; i < nb; i += n) {
        n       = LV_MIN(nb - i, READ);
        at.data = (void *)(uintptr_t)lv_weight_rows(p->w, (size_t)(first + i), (size_t)n,
                                                    slab, NULL);
        for (int r = 0; r < n && at.data; r++)
            lv_cpu_convert(j->cpu, rows + (size_t)(i + r) * size, type,
                           lv_at(&at, (size_t)r, k, 0), at.dtype, k, tmp);
        if (!at.data)
            return LV_ERR_MODEL;
    }
    return 0;
}

/* 64 columns of the matmul, which are 64 rows of w: where they lie, if they are what matmuls
 * read. */
static int pack_transposed(const LinearJob *j, int n0, char *rows)
{
    const Matmul *p = j->p;
    int type = p->x->dtype, width = LV_MIN(p->n - n0, PACK_N);
    char *slab = rows + 4 * (size_t)PACK_N * (size_t)p->k;
    const void *src = rows;

    if (p->w->dtype == type)
        src = lv_weight_rows(p->w, (size_t)n0, (size_t)width, rows, NULL);
    else if (convert_rows(j, n0, width, rows, slab) < 0)
        src = NULL;
    if (src)
        lv_pack_cols(j->cpu->dnn, type, (void *)j->packed, src, p->k, p->n, p->k, n0);
    return src ? 0 : LV_ERR_MODEL;
}

static void pack_straight(const LinearJob *j, int n0, char *rows)
{
    const Matmul *p = j->p;
    int type = p->x->dtype, width = LV_MIN(p->n - n0, PACK_N), ld = p->n;
    float *tmp = (float *)(void *)rows;
    const void *src = lv_at(p->w, 0, 0, (size_t)n0);

    rows += 4 * (size_t)LV_MAX(p->k, PACK_N);
    if (p->w->dtype != type) {
        ld = width;
        for (int i = 0; i < p->k; i++)
            lv_cpu_convert(j->cpu, rows + (size_t)i * ld * lv_dtype_size((LvDtype)type),
                           type, lv_at(p->w, (size_t)i, (size_t)p->n, (size_t)n0),
                           p->w->dtype, (size_t)width, tmp);
        src = rows;
    }
    lv_pack_rows(j->cpu->dnn, type, (void *)j->packed, src, p->k, p->n, ld, n0);
}

static int pack_job(void *arg, int job, int thread)
{
    const LinearJob *j = arg;
    char *slab = lv_cpu_slab(j->cpu, thread, 0);

    if (j->p->pack == LV_PACK_LINEAR)
        return pack_transposed(j, job * PACK_N, slab);
    pack_straight(j, job * PACK_N, slab);
    return 0;
}

static int pack_strips(LvCpu *cpu, const Matmul *p, void *dst)
{
    LinearJob j = { .cpu = cpu, .p = p, .packed = dst };

    return lv_cpu_pack_jobs(cpu, p->w, pack_job, &j, lv_cpu_split((size_t)p->n, PACK_N));
}

/* Columns of w come from all of its rows. */
static int pack_columns(LvCpu *cpu, const Matmul *p, void *dst)
{
    LvTensor whole = *p->w;
    Matmul from   = *p;
    float *data    = lv_alloc(lv_tensor_numel(p->w) * sizeof(*data));
    int ret        = data ? lv_cpu_weight_f32(cpu, data, p->w, 0, (size_t)p->w->dim[0])
                          : lv_fail(cpu->dev.msg, LV_ERR(ENOMEM), "cpu: out of memory");

    whole.data  = data;
    whole.dtype = LV_F32;
    from.w      = &whole;
    if (ret >= 0)
        ret = pack_strips(cpu, &from, dst);
    lv_free(data);
    return ret;
}

static int pack_weight(LvCpu *cpu, void *dst, void *arg)
{
    const Matmul *p = arg;

    return p->pack == LV_PACK_ROWS && !p->w->data ? pack_columns(cpu, p, dst)
                                                  : pack_strips(cpu, p, dst);
}

static int build(LvCpu *cpu, const Matmul *p, LvCall *call)
{
    Grid g = grid_of(p);
    LinearPriv *priv = call->priv = calloc(1, sizeof(*priv));

    if (!priv)
        return lv_fail(cpu->dev.msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 4; i++) {
        int row = i / 2 ? g.rows - 1 : 0, col = i % 2 ? g.cols - 1 : 0;
        if (!(priv->gemm[i / 2][i % 2] = tile_gemm(cpu, p, g, row, col)))
            return lv_dnn_error(cpu->dnn);
    }
    if (lv_is_fixed(p->w) && !(priv->packed = lv_cpu_packed(cpu, p->w, p->pack, p->x->dtype,
                                                      pack_size(cpu, p), pack_weight,
                                                      (void *)p)))
        return cpu->pack_error;
    return 0;
}

static void finish_tile(const LinearJob *j, float *row, int m0, int n0, int m, int n)
{
    const LvCpu *cpu  = j->cpu;
    const LvTensor *y = j->p->y;

    for (int i = 0; i < m; i++, row += n) {
        void *dst = lv_at(y, (size_t)(m0 + i), (size_t)j->p->n, (size_t)n0);
        if (y->dtype == LV_F32 && !j->p->add) {
            cpu->dsp->act[j->p->act](dst, row, (size_t)n);
        } else {
            if (j->p->act != LV_ACT_NONE)
                cpu->dsp->act[j->p->act](row, row, (size_t)n);
            lv_cpu_store(cpu, y->dtype, dst, row, (size_t)n, j->p->add);
        }
    }
}

static int tile_job(void *arg, int job, int thread)
{
    const LinearJob *j = arg;
    const Matmul *p = j->p;
    Grid g = j->grid;
    int row = job / g.cols, col = job % g.cols;
    int m0 = row * g.tile_m, n0 = col * g.tile_n;
    const LvGemm *gemm = j->priv->gemm[row == g.rows - 1][col == g.cols - 1];
    void *c = g.direct ? lv_at(p->y, (size_t)m0, (size_t)p->n, (size_t)n0)
                       : lv_cpu_slab(j->cpu, thread, 0);
    int ret = lv_gemm_run(gemm, thread, lv_at(p->x, (size_t)m0, (size_t)p->k, 0),
        (const char *)j->packed + lv_pack_offset(j->cpu->dnn, p->x->dtype, p->k, n0),
        has_bias(p) ? (const float *)p->b->data + n0 : NULL, c);

    if (ret >= 0 && !g.direct)
        finish_tile(j, c, m0, n0, LV_MIN(p->m - m0, g.tile_m),
                    LV_MIN(p->n - n0, g.tile_n));
    return ret;
}

static int run(LvCpu *cpu, const Matmul *p, LvCall *call)
{
    LinearJob j = { .cpu = cpu, .p = p, .priv = call->priv, .grid = grid_of(p) };

    j.packed = j.priv->packed;
    if (!j.packed) {
        int ret = pack_weight(cpu, call->scratch, (void *)p);
        if (ret < 0)
            return ret;
        j.packed = call->scratch;
    }
    return lv_cpu_jobs(cpu, tile_job, &j, j.grid.rows * j.grid.cols);
}

/* The entries */

int lv_cpu_plan_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    Matmul p = forward(a);

    if (a->of == LV_MATMUL_F8 || lv_tensor_is_stored(&a->w))
        return lv_fail(dev->msg, LV_ERR_UNSUPPORTED, "%s: no matmuls of fp8 or stored weights here",
                       dev->about);
    return a->of == LV_MATMUL_I8 ? lv_cpu_plan_linear_i8(dev, a, call)
                                 : plan(lv_cpu(dev), &p, call);
}

int lv_cpu_build_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    Matmul p = forward(a);

    return a->of == LV_MATMUL_I8 ? lv_cpu_build_linear_i8(dev, a, call)
                                 : build(lv_cpu(dev), &p, call);
}

int lv_cpu_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    Matmul p = forward(a);

    return a->of == LV_MATMUL_I8 ? lv_cpu_linear_i8(dev, a, call) : run(lv_cpu(dev), &p, call);
}

int lv_cpu_plan_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    Matmul p = gradient(a);

    return plan(lv_cpu(dev), &p, call);
}

int lv_cpu_build_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    Matmul p = gradient(a);

    return build(lv_cpu(dev), &p, call);
}

int lv_cpu_linear_dx(LvDevice *dev, const LvLinearDxArgs *a, LvCall *call)
{
    Matmul p = gradient(a);

    return run(lv_cpu(dev), &p, call);
}
