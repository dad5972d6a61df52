/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/convert.h"

int lv_cpu_jobs(LvCpu *cpu, LvJob fn, void *arg, int jobs)
{
    int ret = lv_pool_run(cpu->pool, fn, arg, jobs);

    return ret < 0 ? lv_fail(cpu->dev.msg, ret, "cpu: a product failed") : 0;
}

int lv_cpu_has_type(const LvCpu *cpu, int type)
{
    return type != LV_BF16 || cpu->dev.bf16 ? 0 :
           lv_fail(cpu->dev.msg, LV_ERR_UNSUPPORTED, "%s has no bf16 products",
                   cpu->dev.about);
}

void lv_cpu_gather(const LvTensor *t, size_t row, int rows, size_t col, int n,
                   void *dst)
{
    size_t cols = (size_t)t->dim[1], size = (size_t)n * lv_dtype_size((LvDtype)t->dtype);

    for (int i = 0; i < rows; i++)
        memcpy((char *)dst + (size_t)i * size, lv_at(t, row + (size_t)i, cols, col), size);
}

void lv_cpu_gather_as(const LvCpu *cpu, const LvTensor *t, size_t row, int rows,
                      size_t col, int n, void *dst, int type)
{
    size_t cols = (size_t)t->dim[1], size = (size_t)n * lv_dtype_size((LvDtype)type);

    for (int i = 0; i < rows; i++)
        lv_cpu_convert(cpu, (char *)dst + (size_t)i * size, type,
                       lv_at(t, row + (size_t)i, cols, col), t->dtype, (size_t)n, NULL);
}

int lv_cpu_row_tile(int m)
{
    return m >= 1024 ? 128 : m >= 256 ? 64 : LV_MAX(LV_ROUND_UP((m + 1) / 2, 16), 16);
}

const float *lv_cpu_row(const LvCpu *cpu, const LvTensor *t, size_t i, size_t cols,
                        float *tmp)
{
    if (t->dtype == LV_F32)
        return (const float *)t->data + i * cols;
    cpu->dsp->from_bf16(tmp, (const uint16_t *)t->data + i * cols, cols);
    return tmp;
}

float *lv_cpu_out(const LvTensor *t, size_t i, size_t cols, float *tmp)
{
    return t->dtype == LV_F32 ? (float *)t->data + i * cols : tmp;
}

void lv_cpu_put(const LvCpu *cpu, const LvTensor *t, size_t i, size_t cols,
                const float *row)
{
    if (t->dtype == LV_BF16)
        cpu->dsp->to_bf16((uint16_t *)t->data + i * cols, row, cols);
}

static void add_bf16(const LvDsp *dsp, uint16_t *dst, float *row, size_t n)
{
    float old[128];

    for (size_t i = 0, k; i < n; i += k) {
        k = LV_MIN(n - i, sizeof(old) / sizeof(*old));
        dsp->from_bf16(old, dst + i, k);
        dsp->madd(row + i, row + i, NULL, old, k);
    }
    dsp->to_bf16(dst, row, n);
}

void lv_cpu_store(const LvCpu *cpu, int type, void *dst, float *row, size_t n, int add)
{
    if (type == LV_BF16 && add)
        add_bf16(cpu->dsp, dst, row, n);
    else if (type == LV_BF16)
        cpu->dsp->to_bf16(dst, row, n);
    else if (add)
        cpu->dsp->madd(dst, dst, NULL, row, n);
    else
        memcpy(dst, row, n * sizeof(*row));
}

/* Kept forms of weights */

/* A weight is packed, then nobody needs what it was packed from. */
static int pack(LvCpu *cpu, const LvTensor *w, void *dst,
                int (*fill)(LvCpu *cpu, void *dst, void *arg), void *arg)
{
    int ret = w->fixed == LV_FIXED ? 0 : lv_later_make(&cpu->dev, w);

    if (ret >= 0)
        ret = fill(cpu, dst, arg);
    if (w->fixed == LV_FIXED_LATER)
        lv_later_drop(&cpu->dev, w);
    return ret;
}

const void *lv_cpu_packed(LvCpu *cpu, const LvTensor *w, int kind, int type,
                          size_t bytes,
                          int (*fill)(LvCpu *cpu, void *dst, void *arg), void *arg)
{
    LvPacked *p;

    for (p = cpu->packed; p; p = p->next)
        if (p->src == w->data && p->kind == kind && p->type == type &&
            p->bytes == bytes)
            return p->data;
    p = calloc(1, sizeof(*p));
    cpu->pack_error = LV_ERR(ENOMEM);
    if (!p || !(p->data = lv_alloc(bytes))) {
        free(p);
        cpu->pack_error = lv_fail(cpu->dev.msg, LV_ERR(ENOMEM),
                                  "cpu: no %zu bytes for a weight", bytes);
        return NULL;
    }
    p->src   = w->data;
    p->kind  = kind;
    p->type  = type;
    p->bytes = bytes;
    if ((cpu->pack_error = pack(cpu, w, p->data, fill, arg)) < 0) {
        lv_free(p->data);
        free(p);
        return NULL;
    }
    p->next     = cpu->packed;
    cpu->packed = p;
    return p->data;
}

void lv_cpu_convert(const LvCpu *cpu, void *dst, int to, const void *src, int from,
                    size_t n, float *tmp)
{
    if (to == from) {
        memcpy(dst, src, n * lv_dtype_size((LvDtype)to));
    } else if (to == LV_F32 && from == LV_BF16) {
        cpu->dsp->from_bf16(dst, src, n);
    } else if (to == LV_F32) {
        lv_to_f32(dst, src, (LvDtype)from, n);
    } else if (from == LV_F32) {
        cpu->dsp->to_bf16(dst, src, n);
    } else {
        lv_to_f32(tmp, src, (LvDtype)from, n);
        cpu->dsp->to_bf16(dst, tmp, n);
    }
}

/* The table */

static void free_packed(LvCpu *cpu, const void *data, size_t bytes)
{
    for (LvPacked **p = &cpu->packed; *p;) {
        LvPacked *this = *p;
        uintptr_t at = (uintptr_t)this->src, lo = (uintptr_t)data;
        if (data && (at < lo || at - lo >= bytes)) {
            p = &this->next;
            continue;
        }
        *p = this->next;
        lv_free(this->data);
        free(this);
    }
}

static void cpu_close(LvDevice *dev)
{
    LvCpu *cpu = lv_cpu(dev);

    free_packed(cpu, NULL, 0);
    lv_dnn_close(&cpu->dnn);
    lv_pool_free(&cpu->pool);
    for (int i = 0; cpu->slab && i < dev->threads; i++)
        lv_free(cpu->slab[i]);
    free(cpu->slab);
    free(cpu);
}

static void *cpu_alloc(LvDevice *dev, size_t bytes)
{
    (void)dev;
    return lv_alloc(bytes);
}

static void cpu_free(LvDevice *dev, void *p)
{
    (void)dev;
    lv_free(p);
}

static int cpu_copy(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(dst, src, bytes);
    return 0;
}

static int cpu_sync(LvDevice *dev)
{
    (void)dev;
    return 0;
}

static size_t cpu_available(const LvDevice *dev)
{
    (void)dev;
    return lv_host_available();
}

static int cpu_reserve(LvDevice *dev, size_t bytes)
{
    LvCpu *cpu = lv_cpu(dev);

    if (bytes <= cpu->slab_bytes)
        return 0;
    cpu->slab_bytes = 0;
    for (int i = 0; i < dev->threads; i++) {
        lv_free(cpu->slab[i]);
        if (!(cpu->slab[i] = lv_alloc(bytes)))
            return lv_fail(dev->msg, LV_ERR(ENOMEM),
                           "cpu: no %zu bytes for a thread's work", bytes);
    }
    cpu->slab_bytes = bytes;
    return 0;
}

static void cpu_forget(LvDevice *dev, const void *data, size_t bytes)
{
    if (data && bytes)
        free_packed(lv_cpu(dev), data, bytes);
}

static void cpu_release(LvDevice *dev, int op, LvCall *call)
{
    (void)dev, (void)op;
    free(call->priv);
    call->priv = NULL;
}

static const LvOpTable plan = {
    .linear_dx = lv_cpu_plan_linear_dx, .linear_dw = lv_cpu_plan_linear_dw,
    .attn_dx = lv_cpu_plan_attn_dx, .linattn_dx = lv_cpu_plan_linattn_dx,
    .conv_dx = lv_cpu_plan_conv_dx, .conv_dw = lv_cpu_plan_conv_dw,
    .linear = lv_cpu_plan_linear, .attn = lv_cpu_plan_attn,
    .linattn = lv_cpu_plan_linattn, .conv = lv_cpu_plan_conv, .conv3 = lv_cpu_plan_conv3,
    .norm = lv_cpu_plan_norm, .gate = lv_cpu_plan_gate,
    .qknorm = lv_cpu_plan_qknorm, .mix = lv_cpu_plan_mix, .add = lv_cpu_plan_add,
    .act = lv_cpu_plan_act, .glu = lv_cpu_plan_glu, .embed = lv_cpu_plan_embed,
    .patchify = lv_cpu_plan_patchify, .unpatchify = lv_cpu_plan_unpatchify,
    .shuffle = lv_cpu_plan_shuffle, .unshuffle = lv_cpu_plan_unshuffle,
    .expand = lv_cpu_plan_expand, .reduce = lv_cpu_plan_reduce,
    .fill = lv_cpu_plan_fill, .loss = lv_cpu_plan_loss, .sqsum = lv_cpu_plan_sqsum,
    .norm_dx = lv_cpu_plan_norm_dx, .gate_dx = lv_cpu_plan_gate_dx,
    .qknorm_dx = lv_cpu_plan_qknorm_dx, .mix_dx = lv_cpu_plan_mix_dx,
    .act_dx = lv_cpu_plan_act_dx, .glu_dx = lv_cpu_plan_glu_dx,
    .embed_dx = lv_cpu_plan_embed_dx, .recall_dx = lv_cpu_plan_recall_dx,
    .upsample_dx = lv_cpu_plan_upsample_dx,
};

static const LvOpTable build = {
    .linear_dx = lv_cpu_build_linear_dx, .linear_dw = lv_cpu_build_linear_dw,
    .attn_dx = lv_cpu_build_attn_dx, .linattn_dx = lv_cpu_build_linattn_dx,
    .conv_dx = lv_cpu_build_conv_dx, .conv_dw = lv_cpu_build_conv_dw,
    .linear = lv_cpu_build_linear, .attn = lv_cpu_build_attn,
    .linattn = lv_cpu_build_linattn, .conv = lv_cpu_build_conv, .conv3 = lv_cpu_build_conv3,
};

static const LvOpTable run = {
#define LV_CPU_ROW(NAME, name, Type, in, out) .name = lv_cpu_##name,
    LV_OPS(LV_CPU_ROW)
#undef LV_CPU_ROW
};

static const LvDeviceFns fns = {
    .name = "cpu", .close = cpu_close, .alloc = cpu_alloc, .free = cpu_free,
    .upload = cpu_copy, .download = cpu_copy, .sync = cpu_sync,
    .available = cpu_available, .reserve = cpu_reserve, .forget = cpu_forget,
    .gate_norm = lv_cpu_gate_norm, .release = cpu_release,
    .plan = &plan, .build = &build, .run = &run,
};

static int usable_cores(void)
{
    cpu_set_t set;

    if (!sched_getaffinity(0, sizeof(set), &set))
        return LV_MAX(CPU_COUNT(&set), 1);
    return LV_MAX((int)sysconf(_SC_NPROCESSORS_ONLN), 1);
}

int lv_cpu_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    LvCpu *cpu = calloc(1, sizeof(*cpu));
    int ret;

    *dev = NULL;
    if (!cpu)
        return lv_fail(msg, LV_ERR(ENOMEM), "cpu: out of memory");
    cpu->dev = (LvDevice) { .fn = &fns, .msg = msg, .host = 1, .packs = 1,
                            .threads = opt->threads ? opt->threads : usable_cores() };
    cpu->dsp = lv_dsp_get(opt->isa);
    if (!cpu->dsp) {
        free(cpu);
        return lv_fail(msg, LV_ERR_DEVICE, "cpu: no leaves for '%s' here", opt->isa);
    }
    cpu->slab = calloc((size_t)cpu->dev.threads, sizeof(*cpu->slab));
    cpu->pool = lv_pool_new(cpu->dev.threads);
    ret = cpu->slab && cpu->pool
        ? lv_dnn_open(&cpu->dnn, cpu->dev.threads, cpu->dsp, msg)
        : lv_fail(msg, LV_ERR(ENOMEM), "cpu: cannot start %d threads",
                  cpu->dev.threads);
    if (ret < 0) {
        cpu_close(&cpu->dev);
        return ret;
    }
    cpu->dev.bf16 = lv_dnn_has_bf16(cpu->dnn);
    cpu->dev.i8   = lv_dnn_has_i8(cpu->dnn);
    snprintf(cpu->dev.about, sizeof(cpu->dev.about), "cpu (%s, %d thread%s)",
             cpu->dsp->name, cpu->dev.threads, cpu->dev.threads > 1 ? "s" : "");
    *dev = &cpu->dev;
    return 0;
}
