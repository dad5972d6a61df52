/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/convert.h"

int lv_cpu_jobs(LvCpu *cpu, LvJob fn, void *arg, int jobs)
{
    int ret = lv_pool_run(cpu->pool, fn, arg, jobs);

    return ret < 0 ? lv_fail(cpu->dev.msg, ret, "cpu: a matmul failed") : 0;
}

int lv_cpu_has_type(const LvCpu *cpu, int type)
{
    return type != LV_BF16 || cpu->dev.bf16 ? 0 :
           lv_fail(cpu->dev.msg, LV_ERR_UNSUPPORTED, "%s has no bf16 matmuls",
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

void lv_cpu_forget(LvCpu *cpu, const void *data, size_t bytes)
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
