/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "backend/form.h"
#include "backend/weight.h"
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

/* Weights */

int lv_cpu_pack_jobs(LvCpu *cpu, const LvTensor *w, LvJob fn, void *arg, int jobs)
{
    int ret = lv_pool_run(cpu->pool, fn, arg, jobs), why;

    if (ret >= 0)
        return 0;
    why = lv_weight_check(w, cpu->dev.msg);
    return why < 0 ? why : lv_fail(cpu->dev.msg, ret, "cpu: a weight cannot be packed");
}

const void *lv_cpu_packed(LvCpu *cpu, const LvTensor *w, int kind, int type,
                          size_t bytes,
                          int (*fill)(LvCpu *cpu, void *dst, void *arg), void *arg)
{
    const LvForm *kept = lv_form_find(w, &cpu->dev, kind, type, bytes);
    LvForm *f;

    if (kept)
        return kept->data;
    cpu->pack_error = lv_form_new(&f, &cpu->dev, w, kind, type, bytes);
    if (cpu->pack_error >= 0 && (cpu->pack_error = fill(cpu, f->data, arg)) < 0)
        lv_form_free(&f);
    if (cpu->pack_error < 0)
        return NULL;
    lv_form_keep(w->w, f);
    return f->data;
}

/* Elements that a job makes. */
enum { MADE = 1 << 16 };

typedef struct MakeJob {
    float *dst;
    const LvTensor *w;
    size_t first, rows, strip, cols;
} MakeJob;

static int make_job(void *arg, int job, int thread)
{
    const MakeJob *j = arg;
    size_t at = (size_t)job * j->strip, n = LV_MIN(j->strip, j->rows - at) * j->cols;
    float *dst = j->dst + at * j->cols;
    int is_f32 = j->w->dtype == LV_F32;
    void *tmp  = is_f32 || j->w->data ? NULL : malloc(n * lv_dtype_size((LvDtype)j->w->dtype));
    const void *src;

    (void)thread;
    if (!is_f32 && !j->w->data && !tmp)
        return LV_ERR(ENOMEM);
    src = lv_weight_rows(j->w, j->first + at, n / j->cols, is_f32 ? dst : tmp, NULL);
    if (src && src != dst)
        lv_to_f32(dst, src, (LvDtype)j->w->dtype, n);
    free(tmp);
    return src ? 0 : LV_ERR_MODEL;
}

int lv_cpu_weight_f32(LvCpu *cpu, float *dst, const LvTensor *w, size_t first, size_t rows)
{
    size_t cols = lv_weight_cols(w);
    MakeJob j   = { dst, w, first, rows, LV_MAX(MADE / cols, 1), cols };

    return lv_cpu_pack_jobs(cpu, w, make_job, &j, lv_cpu_split(rows, j.strip));
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
