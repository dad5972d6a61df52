/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x w^T + b): a grid of tiles, rows by columns. A tile is one product of
 * oneDNN. It writes y itself when its rows are whole rows of y and need no more than
 * a bias; else it goes to the thread's slab in f32 and leaves finish it row by row.
 */

#include <stdlib.h>

#include "backend/cpu/cpu.h"

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
    const LvLinearArgs *a;
    const LinearPriv *priv;
    const void *packed;
    Grid grid;
} LinearJob;

/* Few rows are cut into columns too, so that there is work for all threads; so is
 * what leaves finish, so that it is still near when they do. */
enum { MANY_ROWS = 256 };

/* Whether oneDNN can make what y is to hold. */
static int needs_leaves(const LvLinearArgs *a)
{
    return a->act != LV_ACT_NONE || (a->x.dtype == LV_F32 && a->y.dtype != LV_F32);
}

static Grid grid_of(const LvLinearArgs *a)
{
    int m = a->x.dim[0], n = a->w.dim[0];
    Grid g = { .tile_m = lv_cpu_row_tile(m), .tile_n = n };

    if (m < MANY_ROWS)
        g.tile_n = LV_CLAMP(LV_ROUND_UP(n / 4, 64), 64, 512);
    else if (needs_leaves(a))
        g.tile_n = 512;
    g.rows   = lv_cpu_split((size_t)m, (size_t)g.tile_m);
    g.cols   = lv_cpu_split((size_t)n, (size_t)g.tile_n);
    g.direct = g.cols == 1 && !needs_leaves(a);
    return g;
}

static size_t pack_size(const LvCpu *cpu, const LvLinearArgs *a)
{
    return lv_pack_bytes(cpu->dnn, a->x.dtype, a->w.dim[1], a->w.dim[0]);
}

int lv_cpu_plan_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    const LvCpu *cpu = lv_cpu(dev);
    Grid g = grid_of(a);
    size_t k = (size_t)a->w.dim[1];

    if (a->w.fixed)
        call->weight_bytes = pack_size(cpu, a);
    else
        call->scratch_bytes = pack_size(cpu, a);
    call->thread_bytes = LV_MAX(g.direct ? 0 : 4 * (size_t)g.tile_m * g.tile_n,
                                64 * k * 4 + k * 4);
    return lv_cpu_has_type(lv_cpu(dev), a->x.dtype);
}

static const LvGemm *tile_gemm(LvCpu *cpu, const LvLinearArgs *a, Grid g, int row,
                               int col)
{
    int m = LV_MIN(a->x.dim[0] - row * g.tile_m, g.tile_m);
    int n = LV_MIN(a->w.dim[0] - col * g.tile_n, g.tile_n);
    LvGemmDesc d = {
        .m = m, .n = n, .k = a->w.dim[1], .ldb = a->w.dim[0], .type = a->x.dtype,
        .c_type = g.direct ? a->y.dtype : LV_F32, .bias = lv_has(&a->b),
    };

    return lv_gemm_get(cpu->dnn, &d);
}

/* Pack 64 columns of the product, which are 64 rows of w. */
static int pack_job(void *arg, int job, int thread)
{
    const LinearJob *j = arg;
    int n = j->a->w.dim[0], k = j->a->w.dim[1], type = j->a->x.dtype;
    size_t from = (size_t)job * 64, to = LV_MIN(from + 64, (size_t)n);
    char *rows  = lv_cpu_slab(j->cpu, thread, 0);
    float *tmp  = (float *)(void *)(rows + 64 * (size_t)k * 4);

    lv_cpu_convert(j->cpu, &j->a->w, from, to, (size_t)k, rows, type, tmp);
    lv_pack_cols(j->cpu->dnn, type, (void *)j->packed, rows, k, n, k, (int)from);
    return 0;
}

static int pack_weight(LvCpu *cpu, void *dst, void *arg)
{
    LinearJob j = { .cpu = cpu, .a = arg, .packed = dst };

    return lv_cpu_jobs(cpu, pack_job, &j, lv_cpu_split((size_t)j.a->w.dim[0], 64));
}

int lv_cpu_build_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    Grid g = grid_of(a);
    LinearPriv *p = call->priv = calloc(1, sizeof(*p));

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 4; i++) {
        int row = i / 2 ? g.rows - 1 : 0, col = i % 2 ? g.cols - 1 : 0;
        if (!(p->gemm[i / 2][i % 2] = tile_gemm(cpu, a, g, row, col)))
            return lv_dnn_error(cpu->dnn);
    }
    if (a->w.fixed && !(p->packed = lv_cpu_packed(cpu, &a->w, LV_PACK_LINEAR,
                                                  a->x.dtype, pack_size(cpu, a),
                                                  pack_weight, (void *)a)))
        return LV_ERR(ENOMEM);
    return 0;
}

static void finish_tile(const LinearJob *j, const float *tile, int m0, int n0, int m,
                        int n)
{
    const LvCpu *cpu = j->cpu;
    const LvTensor *y = &j->a->y;

    for (int i = 0; i < m; i++) {
        float *row = (float *)tile + (size_t)i * n;
        void *dst  = lv_at(y, (size_t)(m0 + i), (size_t)y->dim[1], (size_t)n0);
        if (y->dtype == LV_F32) {
            cpu->dsp->act[j->a->act](dst, row, (size_t)n);
        } else {
            cpu->dsp->act[j->a->act](row, row, (size_t)n);
            cpu->dsp->to_bf16(dst, row, (size_t)n);
        }
    }
}

static int tile_job(void *arg, int job, int thread)
{
    const LinearJob *j = arg;
    const LvLinearArgs *a = j->a;
    Grid g = j->grid;
    int row = job / g.cols, col = job % g.cols;
    int m0 = row * g.tile_m, n0 = col * g.tile_n, k = a->w.dim[1];
    const LvGemm *gemm = j->priv->gemm[row == g.rows - 1][col == g.cols - 1];
    void *c = g.direct ? lv_at(&a->y, (size_t)m0, (size_t)a->w.dim[0], (size_t)n0)
                           : lv_cpu_slab(j->cpu, thread, 0);
    int ret = lv_gemm_run(gemm, thread, lv_at(&a->x, (size_t)m0, (size_t)k, 0),
        (const char *)j->packed + lv_pack_offset(j->cpu->dnn, a->x.dtype, k, n0),
        lv_has(&a->b) ? (const float *)a->b.data + n0 : NULL, c);

    if (ret >= 0 && !g.direct)
        finish_tile(j, c, m0, n0, LV_MIN(a->x.dim[0] - m0, g.tile_m),
                    LV_MIN(a->w.dim[0] - n0, g.tile_n));
    return ret;
}

int lv_cpu_linear(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    LinearJob j = { .cpu = cpu, .a = a, .priv = call->priv, .grid = grid_of(a) };

    j.packed = j.priv->packed;
    if (!j.packed) {
        int ret = pack_weight(cpu, call->scratch, (void *)a);
        if (ret < 0)
            return ret;
        j.packed = call->scratch;
    }
    return lv_cpu_jobs(cpu, tile_job, &j, j.grid.rows * j.grid.cols);
}
