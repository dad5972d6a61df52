/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * dw = dy^T x, a sum over rows. A job takes a chunk of rows and a slice of columns of
 * x, packed before, and multiplies all of dy's chunk with it. One chunk: the job adds
 * to or writes dw; more: their parts are added in order by a second batch of jobs.
 */

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

/* Jobs wanted, rows a chunk has at least, rows of dw that a job adds up. */
enum { JOBS = 8, MIN_CHUNK = 256, PACK_N = 64, SUM_ROWS = 32 };

typedef struct DwPriv {
    const LvGemm *gemm[2][2]; /* [last chunk][last slice] */
} DwPriv;

typedef struct Cut {
    int m, n, k;        /* rows, columns of dy, columns of x */
    int slice, slices;  /* of columns of x */
    int chunk, chunks;  /* of rows */
    size_t packed;      /* bytes of a packed chunk of x */
    size_t parts;       /* floats of a chunk's parts */
} Cut;

typedef struct DwJob {
    LvCpu *cpu;
    const LvLinearDwArgs *a;
    const DwPriv *priv;
    Cut c;
    char *packed;
    float *parts; /* [chunks][slices][n][slice]; none for one chunk */
} DwJob;

static Cut cut_of(const LvCpu *cpu, const LvLinearDwArgs *a)
{
    Cut c = { .m = a->dy.dim[0], .n = a->dy.dim[1], .k = a->x.dim[1] };
    int chunks;

    c.slice  = c.k >= 2 * JOBS * PACK_N ? 2 * PACK_N : PACK_N;
    c.slices = lv_cpu_split((size_t)c.k, (size_t)c.slice);
    chunks   = LV_CLAMP(lv_cpu_split(JOBS, (size_t)c.slices), 1,
                        LV_MAX(c.m / MIN_CHUNK, 1));
    c.chunk  = LV_ROUND_UP(lv_cpu_split((size_t)c.m, (size_t)chunks), 32);
    c.chunks = lv_cpu_split((size_t)c.m, (size_t)c.chunk);
    c.packed = lv_pack_bytes(cpu->dnn, a->x.dtype, LV_MIN(c.chunk, c.m), c.k);
    c.parts  = (size_t)c.n * c.k;
    return c;
}

static int chunk_rows(const Cut *c, int chunk)
{
    return LV_MIN(c->m - chunk * c->chunk, c->chunk);
}

static int slice_cols(const Cut *c, int slice)
{
    return LV_MIN(c->k - slice * c->slice, c->slice);
}

int lv_cpu_plan_linear_dw(LvDevice *dev, const LvLinearDwArgs *a, LvCall *call)
{
    Cut c = cut_of(lv_cpu(dev), a);

    call->scratch_bytes = (size_t)c.chunks * c.packed;
    if (c.chunks > 1)
        call->scratch_bytes += 4 * (size_t)c.chunks * c.parts;
    call->thread_bytes = c.chunks > 1 ? 0 : 4 * (size_t)c.n * c.slice;
    return lv_cpu_has_type(lv_cpu(dev), a->dy.dtype);
}

int lv_cpu_build_linear_dw(LvDevice *dev, const LvLinearDwArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    Cut c      = cut_of(cpu, a);
    DwPriv *p  = call->priv = calloc(1, sizeof(*p));

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    for (int i = 0; i < 4; i++) {
        LvGemmDesc d = {
            .m = c.n, .n = slice_cols(&c, i % 2 ? c.slices - 1 : 0),
            .k = chunk_rows(&c, i / 2 ? c.chunks - 1 : 0), .ldb = c.k,
            .type = a->dy.dtype, .c_type = LV_F32, .transposed = 1,
        };
        if (!(p->gemm[i / 2][i % 2] = lv_gemm_get(cpu->dnn, &d)))
            return lv_dnn_error(cpu->dnn);
    }
    return 0;
}

static int pack_job(void *arg, int job, int thread)
{
    const DwJob *j = arg;
    const Cut *c   = &j->c;
    int columns = lv_cpu_split((size_t)c->k, PACK_N);
    int chunk = job / columns, n0 = job % columns * PACK_N;

    (void)thread;
    lv_pack_rows(j->cpu->dnn, j->a->x.dtype, j->packed + (size_t)chunk * c->packed,
                 lv_at(&j->a->x, (size_t)chunk * c->chunk, (size_t)c->k, (size_t)n0),
                 chunk_rows(c, chunk), c->k, c->k, n0);
    return 0;
}

static float *part_of(const DwJob *j, int chunk, int slice)
{
    return j->parts + (size_t)chunk * j->c.parts +
           (size_t)slice * j->c.slice * (size_t)j->c.n;
}

static float *dw_at(const DwJob *j, int row, int slice)
{
    return (float *)j->a->dw.data + (size_t)row * j->c.k + (size_t)slice * j->c.slice;
}

static int matmul_job(void *arg, int job, int thread)
{
    const DwJob *j = arg;
    const Cut *c   = &j->c;
    int chunk = job / c->slices, slice = job % c->slices, cols = slice_cols(c, slice);
    int type  = j->a->x.dtype, last = chunk == c->chunks - 1;
    float *part = j->parts ? part_of(j, chunk, slice) : lv_cpu_slab(j->cpu, thread, 0);
    int ret = lv_gemm_run(j->priv->gemm[last][slice == c->slices - 1], thread,
        lv_at(&j->a->dy, (size_t)chunk * c->chunk, (size_t)c->n, 0),
        j->packed + (size_t)chunk * c->packed +
            lv_pack_offset(j->cpu->dnn, type, chunk_rows(c, chunk), slice * c->slice),
        NULL, part);

    for (int i = 0; i < c->n && !j->parts && ret >= 0; i++)
        lv_cpu_store(j->cpu, LV_F32, dw_at(j, i, slice), part + (size_t)i * cols,
                     (size_t)cols, j->a->add);
    return ret;
}

static int sum_job(void *arg, int job, int thread)
{
    const DwJob *j = arg;
    const Cut *c   = &j->c;
    int end = LV_MIN((job + 1) * SUM_ROWS, c->n);

    (void)thread;
    for (int slice = 0; slice < c->slices; slice++)
        for (int i = job * SUM_ROWS; i < end; i++) {
            size_t cols = (size_t)slice_cols(c, slice), at = (size_t)i * cols;
            float *sum  = part_of(j, 0, slice) + at;
            for (int chunk = 1; chunk < c->chunks; chunk++)
                j->cpu->dsp->madd(sum, sum, NULL, part_of(j, chunk, slice) + at, cols);
            lv_cpu_store(j->cpu, LV_F32, dw_at(j, i, slice), sum, cols, j->a->add);
        }
    return 0;
}

int lv_cpu_linear_dw(LvDevice *dev, const LvLinearDwArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    DwJob j    = { cpu, a, call->priv, cut_of(cpu, a), call->scratch, NULL };
    int ret;

    if (j.c.chunks > 1)
        j.parts = (float *)(void *)(j.packed + (size_t)j.c.chunks * j.c.packed);
    ret = lv_cpu_jobs(cpu, pack_job, &j,
                      j.c.chunks * lv_cpu_split((size_t)j.c.k, PACK_N));
    if (ret >= 0)
        ret = lv_cpu_jobs(cpu, matmul_job, &j, j.c.chunks * j.c.slices);
    if (ret >= 0 && j.parts)
        ret = lv_cpu_jobs(cpu, sum_job, &j, lv_cpu_split((size_t)j.c.n, SUM_ROWS));
    return ret;
}
