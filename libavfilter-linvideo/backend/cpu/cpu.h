/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of the CPU device share.
 * Floor F2 (backend): knows ops, never graphs.
 *
 * Every op cuts its work into jobs whose number and size depend on shapes alone;
 * threads take jobs in any order. No job reads what another one of the same batch
 * writes, and sums over jobs are made in the order of jobs. Hence the same bits for
 * any number of threads.
 */

#ifndef LINVIDEO_BACKEND_CPU_CPU_H
#define LINVIDEO_BACKEND_CPU_CPU_H

#include "backend/cpu/dnn.h"
#include "backend/cpu/dsp.h"
#include "backend/cpu/pool.h"
#include "backend/device.h"
#include "backend/weight.h"

typedef struct LvCpu {
    LvDevice dev;       ///< first, so that an LvDevice * is an LvCpu *
    const LvDsp *dsp;
    LvDnn *dnn;
    LvPool *pool;
    char **slab;        ///< thread_bytes of each thread, LV_ALIGN-aligned
    size_t slab_bytes;
    int pack_error;     ///< code of the last weight that was packed
} LvCpu;

static inline LvCpu *lv_cpu(LvDevice *dev)
{
    return (LvCpu *)dev;
}

/** One job. @return 0 or a negative code */
typedef int (*LvJob)(void *arg, int job, int thread);

/** Run jobs 0 to jobs - 1 on the device's threads. @return 0 or a job's code */
int lv_cpu_jobs(LvCpu *cpu, LvJob fn, void *arg, int jobs);

/** 0, or LV_ERR_UNSUPPORTED with a message when matmuls of this type (LvDtype) are
 *  not to be had on this CPU. */
int lv_cpu_has_type(const LvCpu *cpu, int type);

/** Number of jobs for n items of which one job should do about `per`. */
static inline int lv_cpu_split(size_t n, size_t per)
{
    return (int)((n + per - 1) / per);
}

/** Rows that a job of a matmul over m rows takes: a multiple of 16. */
int lv_cpu_row_tile(int m);

/** Place a buffer of so many bytes behind others that end at *at: its offset, aligned;
 *  *at is moved behind it. */
static inline size_t lv_cpu_place(size_t *at, size_t bytes)
{
    size_t offset = *at;

    *at = LV_ROUND_UP(offset + bytes, LV_ALIGN);
    return offset;
}

/**
 * A buffer of the calling job, from its thread's slab.
 *
 * @param offset bytes into the slab; buffers of one op are laid out by the op,
 *               whose plan entry asked for the sum in thread_bytes
 */
static inline void *lv_cpu_slab(const LvCpu *cpu, int thread, size_t offset)
{
    return cpu->slab[thread] + offset;
}

/** Row i of tensor t (seen as a matrix of `cols` columns) as f32: the memory
 *  itself, or tmp[cols] with the values converted. */
const float *lv_cpu_row(const LvCpu *cpu, const LvTensor *t, size_t i, size_t cols,
                        float *tmp);

/** Where to put row i: the memory itself, or tmp; then call lv_cpu_put(). */
float *lv_cpu_out(const LvTensor *t, size_t i, size_t cols, float *tmp);

/** Store row (from lv_cpu_out) to row i of t, when it is not there yet. */
void lv_cpu_put(const LvCpu *cpu, const LvTensor *t, size_t i, size_t cols,
                const float *row);

/** Put row[n] at dst, of type f32 or bf16, or add it to what is there. row is used
 *  up when added. */
void lv_cpu_store(const LvCpu *cpu, int type, void *dst, float *row, size_t n, int add);

/** Address of element (row i, column c) of a matrix with `cols` columns. */
static inline void *lv_at(const LvTensor *t, size_t i, size_t cols, size_t c)
{
    return (char *)t->data + (i * cols + c) * lv_dtype_size((LvDtype)t->dtype);
}

/** Copy a block of matrix t, from (row, col) on, to dst[rows][n], of its type. */
void lv_cpu_gather(const LvTensor *t, size_t row, int rows, size_t col, int n,
                   void *dst);

/** The same to dst of type f32 or bf16. */
void lv_cpu_gather_as(const LvCpu *cpu, const LvTensor *t, size_t row, int rows,
                      size_t col, int n, void *dst, int type);

/** Kinds of forms (LvForm.kind). */
enum LvPackKind {
    LV_PACK_LINEAR, ///< [N,K] for x w^T
    LV_PACK_ROWS,   ///< [N,K] for dy w
    LV_PACK_I8,     ///< [N,K] for x w^T, 8-bit numbers, with scales and sums of rows
    LV_PACK_HEADS,  ///< [H,K,N]: one packed matrix after another
    LV_PACK_HEADS_TRANSPOSED, ///< the same of [H,N,K]
    LV_PACK_CONV,   ///< layout of oneDNN; plus LV_PACK_NB times the frames' width
    LV_PACK_CONV_DX, ///< the same, for the gradient of x
    LV_PACK_NB
};

/**
 * The form of weight w, made by the first call: `bytes` that fill() writes. NULL, and the code
 * in cpu->pack_error after a message, when out of memory or when fill() failed.
 */
const void *lv_cpu_packed(LvCpu *cpu, const LvTensor *w, int kind, int type,
                          size_t bytes,
                          int (*fill)(LvCpu *cpu, void *dst, void *arg), void *arg);

/** lv_cpu_jobs() of jobs that take rows of w with lv_weight_rows(), silently: here the first
 *  row that is wrong gets its message. */
int lv_cpu_pack_jobs(LvCpu *cpu, const LvTensor *w, LvJob fn, void *arg, int jobs);

/** Write rows of w (see lv_weight_cols()) to dst as f32. @return 0 or a code, after a message */
int lv_cpu_weight_f32(LvCpu *cpu, float *dst, const LvTensor *w, size_t first, size_t rows);

/** n floats of src, of type `from` (f32, bf16 or f16), as `to` (f32 or bf16). tmp[n] is
 *  used where both are 16 bits wide. */
void lv_cpu_convert(const LvCpu *cpu, void *dst, int to, const void *src, int from,
                    size_t n, float *tmp);

/** Entries of the tables, by file. */
#define LV_CPU_DECLARE(name, Type)                                              \
    int lv_cpu_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call);

#define LV_CPU_OP(NAME, name, Type, in, out) LV_CPU_DECLARE(name, Type)
LV_OPS(LV_CPU_OP)
#undef LV_CPU_OP

LV_CPU_DECLARE(plan_linear, Linear)
LV_CPU_DECLARE(build_linear, Linear)
/* linear_i8.c: the same for matmuls of 8-bit numbers */
LV_CPU_DECLARE(plan_linear_i8, Linear)
LV_CPU_DECLARE(build_linear_i8, Linear)
LV_CPU_DECLARE(linear_i8, Linear)
LV_CPU_DECLARE(plan_linear_dx, LinearDx)
LV_CPU_DECLARE(build_linear_dx, LinearDx)
LV_CPU_DECLARE(plan_linear_dw, LinearDw)
LV_CPU_DECLARE(build_linear_dw, LinearDw)
LV_CPU_DECLARE(plan_attn, Attn)
LV_CPU_DECLARE(build_attn, Attn)
LV_CPU_DECLARE(plan_attn_dx, AttnDx)
LV_CPU_DECLARE(build_attn_dx, AttnDx)
LV_CPU_DECLARE(plan_linattn, Linattn)
LV_CPU_DECLARE(build_linattn, Linattn)
LV_CPU_DECLARE(plan_linattn_run, LinattnRun)
LV_CPU_DECLARE(build_linattn_run, LinattnRun)
LV_CPU_DECLARE(plan_linattn_dx, LinattnDx)
LV_CPU_DECLARE(build_linattn_dx, LinattnDx)
LV_CPU_DECLARE(plan_conv, Conv)
LV_CPU_DECLARE(build_conv, Conv)
LV_CPU_DECLARE(plan_conv3, Conv3)
LV_CPU_DECLARE(build_conv3, Conv3)
LV_CPU_DECLARE(plan_conv_dx, ConvDx)
LV_CPU_DECLARE(build_conv_dx, ConvDx)
LV_CPU_DECLARE(plan_conv_dw, ConvDw)
LV_CPU_DECLARE(build_conv_dw, ConvDw)
LV_CPU_DECLARE(plan_norm, Norm)
LV_CPU_DECLARE(plan_gate, Gate)
LV_CPU_DECLARE(plan_gate_norm, GateNorm)
LV_CPU_DECLARE(plan_qknorm, Qknorm)
LV_CPU_DECLARE(plan_mix, Mix)
LV_CPU_DECLARE(plan_nag, Nag)
LV_CPU_DECLARE(plan_add, Add)
LV_CPU_DECLARE(plan_act, Act)
LV_CPU_DECLARE(plan_glu, Glu)
LV_CPU_DECLARE(plan_embed, Embed)
LV_CPU_DECLARE(plan_patchify, Patchify)
LV_CPU_DECLARE(plan_unpatchify, Unpatchify)
LV_CPU_DECLARE(plan_expand, Expand)
LV_CPU_DECLARE(plan_fill, Fill)
LV_CPU_DECLARE(plan_reduce, Reduce)
LV_CPU_DECLARE(plan_loss, Loss)
LV_CPU_DECLARE(plan_sqsum, Sqsum)
LV_CPU_DECLARE(plan_norm_dx, NormDx)
LV_CPU_DECLARE(plan_gate_dx, GateDx)
LV_CPU_DECLARE(plan_qknorm_dx, QknormDx)
LV_CPU_DECLARE(plan_mix_dx, MixDx)
LV_CPU_DECLARE(plan_act_dx, ActDx)
LV_CPU_DECLARE(plan_glu_dx, GluDx)
LV_CPU_DECLARE(plan_embed_dx, EmbedDx)
LV_CPU_DECLARE(plan_recall_dx, RecallDx)
LV_CPU_DECLARE(plan_upsample_dx, UpsampleDx)
LV_CPU_DECLARE(plan_shuffle, Shuffle)
LV_CPU_DECLARE(plan_unshuffle, Unshuffle)
LV_CPU_DECLARE(plan_avg_down, AvgDown)
LV_CPU_DECLARE(plan_dup_up, DupUp)

#endif /* LINVIDEO_BACKEND_CPU_CPU_H */
