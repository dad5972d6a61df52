/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * y = act(x w^T + b) in matmuls of 8-bit numbers: x[i] = sx[i] p[i], w[j] = sw[j] q[j],
 * p and q whole numbers from -127 to 127. Rows of x are rounded first, kept with 128
 * added, as matmuls want one side without sign; y[i,j] is then
 * sx[i] sw[j] (sum (p + 128) q - 128 sum q), whose sums are exact. Tiles are those of
 * linear.c whose rows ISA kernels finish.
 */

#include <stdlib.h>

#include "backend/cpu/cpu.h"

enum { MANY_ROWS = 256, PACK_N = 64, MOST = 127, SHIFT = 128, ROWS = 16,
       READ = 16 /* rows of a weight at once */ };

typedef struct Grid {
    int tile_m, tile_n, rows, cols;
} Grid;

typedef struct Priv {
    const void *packed;       /* the weight; NULL: packed at every run */
    const LvGemm *gemm[2][2]; /* [last row of tiles][last column of tiles] */
} Priv;

/* Packed weight: the matrix, scales of its rows, 128 times their sums. */
typedef struct Pack {
    size_t matrix, scale, sum, bytes;
} Pack;

typedef struct Job {
    LvCpu *cpu;
    const LvLinearArgs *a;
    const Priv *priv;
    char *packed;
    Pack pack;
    uint8_t *x;   /* [M,K] */
    float *scale; /* [M] */
    Grid grid;
} Job;

static Grid grid_of(const LvLinearArgs *a)
{
    int m = a->x.dim[0], n = a->w.dim[0];
    Grid g = { .tile_m = lv_cpu_row_tile(m), .tile_n = 512 };

    if (m < MANY_ROWS)
        g.tile_n = LV_CLAMP(LV_ROUND_UP(n / 4, PACK_N), PACK_N, 512);
    g.rows = lv_cpu_split((size_t)m, (size_t)g.tile_m);
    g.cols = lv_cpu_split((size_t)n, (size_t)g.tile_n);
    return g;
}

static Pack pack_of(const LvCpu *cpu, const LvLinearArgs *a)
{
    int n = a->w.dim[0];
    Pack p = { 0 };

    p.matrix = lv_cpu_place(&p.bytes, lv_pack_bytes(cpu->dnn, LV_I8, a->w.dim[1], n));
    p.scale  = lv_cpu_place(&p.bytes, (size_t)n * sizeof(float));
    p.sum    = lv_cpu_place(&p.bytes, (size_t)n * sizeof(int32_t));
    return p;
}

/* Scratch: rows of x, their scales, the weight when it is not kept. */
static size_t scratch_of(const LvLinearArgs *a, const Pack *pack, size_t at[3])
{
    size_t m = (size_t)a->x.dim[0], bytes = 0;

    at[0] = lv_cpu_place(&bytes, m * (size_t)a->x.dim[1]);
    at[1] = lv_cpu_place(&bytes, m * sizeof(float));
    at[2] = lv_cpu_place(&bytes, lv_is_fixed(&a->w) ? 0 : pack->bytes);
    return bytes;
}

/* A row to whole numbers, 128 added; its scale. */
static float round_row(const LvCpu *cpu, uint8_t *to, const float *x, size_t n)
{
    float most = LV_MAX(cpu->dsp->max(x, n), -cpu->dsp->min(x, n));

    cpu->dsp->to_u8(to, x, most > 0 ? MOST / most : 0, n);
    return most / MOST;
}

/* Weights */

/* Row number `row`, which lies at src, as signed bytes, with zeros behind it. */
static void pack_row(const Job *j, int row, const void *src, uint8_t *to, int padded,
                     float *tmp)
{
    const LvTensor *w = &j->a->w;
    int k = w->dim[1], sum = 0;

    lv_cpu_convert(j->cpu, tmp, LV_F32, src, w->dtype, (size_t)k, NULL);
    ((float *)(void *)(j->packed + j->pack.scale))[row] =
        round_row(j->cpu, to, tmp, (size_t)k);
    for (int i = 0; i < k; i++) {
        sum += to[i] - SHIFT;
        to[i] ^= SHIFT;
    }
    for (int i = k; i < padded; i++)
        to[i] = 0;
    ((int32_t *)(void *)(j->packed + j->pack.sum))[row] = SHIFT * sum;
}

static size_t pack_slab(int k)
{
    return (READ + 1) * LV_ROUND_UP((size_t)k * sizeof(float), LV_ALIGN) +
           (size_t)PACK_N * LV_ROUND_UP((size_t)k, 4);
}

static int pack_job(void *arg, int job, int thread)
{
    const Job *j = arg;
    int n = j->a->w.dim[0], k = j->a->w.dim[1], padded = LV_ROUND_UP(k, 4);
    int first = job * PACK_N, nb = LV_MIN(n - first, PACK_N);
    const LvTensor *w = &j->a->w;
    size_t line   = LV_ROUND_UP((size_t)k * sizeof(float), LV_ALIGN);
    float *tmp    = lv_cpu_slab(j->cpu, thread, 0);
    void *read    = lv_cpu_slab(j->cpu, thread, line);
    uint8_t *rows = lv_cpu_slab(j->cpu, thread, (READ + 1) * line);
    const char *src = NULL;

    for (int i = 0; i < nb; i++) {
        if (i % READ == 0)
            src = lv_weight_rows(w, (size_t)(first + i), (size_t)LV_MIN(READ, nb - i), read,
                                 NULL);
        if (!src)
            return LV_ERR_MODEL;
        pack_row(j, first + i, src + (size_t)(i % READ) * (size_t)k *
                 lv_dtype_size((LvDtype)w->dtype), rows + (size_t)i * (size_t)padded, padded,
                 tmp);
    }
    lv_pack_cols(j->cpu->dnn, LV_I8, j->packed + j->pack.matrix, rows, k, n, padded, first);
    return 0;
}

static int pack_weight(LvCpu *cpu, void *dst, void *arg)
{
    const LvLinearArgs *a = arg;
    Job j = { .cpu = cpu, .a = a, .packed = dst, .pack = pack_of(cpu, a) };

    return lv_cpu_pack_jobs(cpu, &a->w, pack_job, &j,
                            lv_cpu_split((size_t)a->w.dim[0], PACK_N));
}

/* Running */

static int round_job(void *arg, int job, int thread)
{
    const Job *j = arg;
    int m = j->a->x.dim[0];
    size_t k = (size_t)j->a->x.dim[1];
    float *tmp = lv_cpu_slab(j->cpu, thread, 0);

    for (int i = job * ROWS; i < LV_MIN((job + 1) * ROWS, m); i++)
        j->scale[i] = round_row(j->cpu, j->x + (size_t)i * k,
                                lv_cpu_row(j->cpu, &j->a->x, (size_t)i, k, tmp), k);
    return 0;
}

static void finish_row(const Job *j, int row, int n0, const int32_t *c, size_t n)
{
    const LvLinearArgs *a = j->a;
    const LvDsp *dsp = j->cpu->dsp;
    float *y = (float *)(void *)(uintptr_t)c;
    void *to = lv_at(&a->y, (size_t)row, (size_t)a->w.dim[0], (size_t)n0);

    dsp->from_i32(y, c, (const int32_t *)(const void *)(j->packed + j->pack.sum) + n0,
                  j->scale[row], (const float *)(const void *)(j->packed + j->pack.scale) +
                  n0, lv_has(&a->b) ? (const float *)a->b.data + n0 : NULL, n);
    if (a->y.dtype == LV_F32) {
        dsp->act[a->act](to, y, n);
        return;
    }
    if (a->act != LV_ACT_NONE)
        dsp->act[a->act](y, y, n);
    lv_cpu_store(j->cpu, a->y.dtype, to, y, n, 0);
}

static int tile_job(void *arg, int job, int thread)
{
    const Job *j = arg;
    Grid g = j->grid;
    int row = job / g.cols, col = job % g.cols, m0 = row * g.tile_m, n0 = col * g.tile_n;
    int m = LV_MIN(j->a->x.dim[0] - m0, g.tile_m), n = LV_MIN(j->a->w.dim[0] - n0, g.tile_n);
    int k = j->a->x.dim[1];
    int32_t *c = lv_cpu_slab(j->cpu, thread, 0);
    int ret = lv_gemm_run(j->priv->gemm[row == g.rows - 1][col == g.cols - 1], thread,
                          j->x + (size_t)m0 * (size_t)k, j->packed + j->pack.matrix +
                          lv_pack_offset(j->cpu->dnn, LV_I8, k, n0), NULL, c);

    for (int i = 0; i < m && ret >= 0; i++)
        finish_row(j, m0 + i, n0, c + (size_t)i * (size_t)n, (size_t)n);
    return ret;
}

/* The entries */

int lv_cpu_plan_linear_i8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    const LvCpu *cpu = lv_cpu(dev);
    Grid g    = grid_of(a);
    Pack pack = pack_of(cpu, a);
    size_t at[3], slab = (size_t)g.tile_m * (size_t)g.tile_n * sizeof(int32_t);

    if (!dev->i8)
        return lv_fail(dev->msg, LV_ERR_UNSUPPORTED, "%s has no int8 matmuls",
                       dev->about);
    call->weight_bytes  = lv_is_fixed(&a->w) ? pack.bytes : 0;
    call->scratch_bytes = scratch_of(a, &pack, at);
    call->thread_bytes  = LV_MAX(slab, pack_slab(a->x.dim[1]));
    return 0;
}

int lv_cpu_build_linear_i8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    Grid g     = grid_of(a);
    Priv *priv = call->priv = calloc(1, sizeof(*priv));

    if (!priv)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 4; i++) {
        LvGemmDesc d = { .ldb = a->w.dim[0], .k = a->x.dim[1], .type = LV_I8,
                         .c_type = LV_I32 };
        d.m = i / 2 ? a->x.dim[0] - (g.rows - 1) * g.tile_m : LV_MIN(a->x.dim[0], g.tile_m);
        d.n = i % 2 ? a->w.dim[0] - (g.cols - 1) * g.tile_n : LV_MIN(a->w.dim[0], g.tile_n);
        if (!(priv->gemm[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &d)))
            return lv_dnn_error(cpu->dnn);
    }
    if (lv_is_fixed(&a->w) && !(priv->packed = lv_cpu_packed(cpu, &a->w, LV_PACK_I8, LV_I8,
                                                     pack_of(cpu, a).bytes, pack_weight,
                                                     (void *)(uintptr_t)a)))
        return cpu->pack_error;
    return 0;
}

int lv_cpu_linear_i8(LvDevice *dev, const LvLinearArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    char *scratch = call->scratch;
    Job j = { .cpu = cpu, .a = a, .priv = call->priv, .pack = pack_of(cpu, a),
              .grid = grid_of(a) };
    size_t at[3];
    int ret = 0;

    scratch_of(a, &j.pack, at);
    j.x      = (uint8_t *)scratch + at[0];
    j.scale  = (float *)(void *)(scratch + at[1]);
    j.packed = j.priv->packed ? (char *)(uintptr_t)j.priv->packed : scratch + at[2];
    if (!j.priv->packed)
        ret = pack_weight(cpu, j.packed, (void *)(uintptr_t)a);
    if (ret >= 0)
        ret = lv_cpu_jobs(cpu, round_job, &j, lv_cpu_split((size_t)a->x.dim[0], ROWS));
    return ret < 0 ? ret : lv_cpu_jobs(cpu, tile_job, &j, j.grid.rows * j.grid.cols);
}
