/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops on rows and their gradients. Those that sum columns leave a row of partial sums
 * for each run of rows of a sample, and add these up in a second kernel.
 */

#include "backend/cuda/cuda.h"

enum { COL_TILE = 128, RUN_ROWS = 128, MAX_RUNS = 512, FEW = 32 };

/* A warp for each row. */
static LvGrid row_grid(const LvTensor *x)
{
    return (LvGrid) { lv_cuda_split(lv_tensor_rows(x), 4), 1, 1, 128, 0 };
}

/* Kernels whose rows stay in registers, by what rows may have, in eights; then any. */
typedef struct Held {
    int columns;     /* 0: any */
    unsigned rows;   /* of a block of 128 threads */
    int norm, gate_norm, qknorm;
} Held;

static const Held held[] = {
    { 512, 4, LV_K_norm_512, LV_K_gate_norm_512, LV_K_qknorm_512 },
    { 2048, 1, LV_K_norm_2048, LV_K_gate_norm_2048, LV_K_qknorm_2048 },
    { 5120, 1, LV_K_norm_5120, LV_K_gate_norm_5120, LV_K_qknorm_5120 },
    { 0, 4, LV_K_norm, LV_K_gate_norm, LV_K_qknorm },
};

/* Rows of n columns in parts that `unit` divides. */
static const Held *held_of(int n, int unit)
{
    const Held *h = held;

    while (h->columns && (unit % 8 || n > h->columns))
        h++;
    return h;
}

static LvGrid held_grid(const Held *h, const LvTensor *x)
{
    return (LvGrid) { lv_cuda_split(lv_tensor_rows(x), h->rows), 1, 1, 128, 0 };
}

/* Runs that the rows of one sample are cut into. */
static int runs_of(size_t rows)
{
    return (int)LV_MIN(lv_cuda_split(rows, RUN_ROWS), MAX_RUNS);
}

static LvGrid col_grid(size_t samples, int runs, int cols)
{
    return (LvGrid) { samples * (size_t)runs, lv_cuda_split((size_t)cols, COL_TILE), 1,
                      256, 0 };
}

/* A norm and its activation: narrow rows as one, by what they may have, in eights; others
 * one after the other. */
static int norm_with_act(LvCuda *cu, const LvNormArgs *a)
{
    static const struct {
        int kernel, columns;
        unsigned rows;   /* of a block */
    } narrow[] = {
        { LV_K_norm_act_128, 128, 8 }, { LV_K_norm_act_256, 256, 4 },
        { LV_K_norm_act_512, 512, 4 },
    };
    LvActArgs act = { a->y, a->y, a->act };
    LvNormArgs norm = *a;
    int cols = a->x.dim[1], ret;

    for (int i = 0; i < LV_COUNT(narrow) && cols % 8 == 0; i++)
        if (cols <= narrow[i].columns) {
            LvGrid grid = { lv_cuda_split(lv_tensor_rows(&a->x), narrow[i].rows), 1, 1, 128,
                            0 };
            return lv_cuda_launch(cu, narrow[i].kernel, grid, (void *[]) { &norm, &act });
        }
    norm.act = LV_ACT_NONE;
    ret = lv_cuda_norm(&cu->dev, &norm, NULL);
    return ret < 0 ? ret : lv_cuda_act(&cu->dev, &act, NULL);
}

int lv_cuda_norm(LvDevice *dev, const LvNormArgs *a, LvCall *call)
{
    const Held *h = held_of(a->x.dim[1], a->x.dim[1]);

    (void)call;
    if (a->act)
        return norm_with_act(lv_cuda(dev), a);
    return lv_cuda_launch(lv_cuda(dev), h->norm, held_grid(h, &a->x),
                          (void *[]) { (void *)a });
}

int lv_cuda_gate(LvDevice *dev, const LvGateArgs *a, LvCall *call)
{
    (void)call;
    return LV_LAUNCH(lv_cuda(dev), gate, row_grid(&a->r), (void *)a);
}

int lv_cuda_nag(LvDevice *dev, const LvNagArgs *a, LvCall *call)
{
    (void)call;
    return LV_LAUNCH(lv_cuda(dev), nag, row_grid(&a->p), (void *)a);
}

int lv_cuda_gate_norm(LvDevice *dev, const LvGateNormArgs *a, LvCall *call)
{
    const Held *h = held_of(a->r.dim[1], a->r.dim[1]);
    LvGateArgs gate = lv_gate_part(a);
    LvNormArgs norm = lv_norm_part(a);

    (void)call;
    return lv_cuda_launch(lv_cuda(dev), h->gate_norm, held_grid(h, &a->r),
                          (void *[]) { &gate, &norm });
}

int lv_cuda_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    const Held *h = held_of(a->x.dim[1], a->x.dim[1] / a->heads);

    (void)call;
    return lv_cuda_launch(lv_cuda(dev), h->qknorm, held_grid(h, &a->x),
                          (void *[]) { (void *)a });
}

/* A block for 32 columns of each sample. */
static LvGrid sum_grid(int cols, size_t samples)
{
    return (LvGrid) { samples, lv_cuda_split((size_t)cols, 32), 1, 256, 0 };
}

/* y = sums of part [samples,runs,cols], as rows row + i stride of y. */
static int add_runs(LvCuda *cu, void *part, size_t samples, int runs, int cols,
                    const LvTensor *y, size_t row, size_t stride, int add)
{
    LvGrid grid = sum_grid(cols, samples);
    void *data  = y->data;
    int type    = y->dtype;

    return LV_LAUNCH(cu, cols_sum, grid, &part, &runs, &cols, &data, &type, &row,
                     &stride, &add);
}

static int norm_sums(const LvNormDxArgs *a)
{
    return lv_has(&a->dw) || lv_has(&a->db) || lv_has(&a->dmod);
}

int lv_cuda_plan_norm_dx(LvDevice *dev, const LvNormDxArgs *a, LvCall *call)
{
    size_t batch = (size_t)a->batch;
    int runs = runs_of((size_t)a->x.dim[0] / batch);

    (void)dev;
    if (norm_sums(a))
        call->scratch_bytes = 8 * batch * (size_t)(runs + 1) * (size_t)a->x.dim[1];
    return 0;
}

static int norm_columns(LvCuda *cu, const LvNormDxArgs *a, LvCall *call)
{
    size_t batch = (size_t)a->batch;
    int runs = runs_of((size_t)a->x.dim[0] / batch), cols = a->x.dim[1];
    float *part = call->scratch,
                  *total = part + 2 * batch * (size_t)runs * (size_t)cols;
    LvGrid params = lv_cuda_grid1((size_t)cols);
    int ret = LV_LAUNCH(cu, norm_cols, col_grid(batch, runs, cols), (void *)a, &runs,
                        &part);

    if (ret >= 0)
        ret = LV_LAUNCH(cu, norm_fold, sum_grid(cols, batch), (void *)a, &runs, &part,
                        &total);
    if (ret < 0 || (!lv_has(&a->dw) && !lv_has(&a->db)))
        return ret;
    return LV_LAUNCH(cu, norm_params, params, (void *)a, &total);
}

/* Columns first: dx may lie on dy. */
int lv_cuda_norm_dx(LvDevice *dev, const LvNormDxArgs *a, LvCall *call)
{
    int ret = norm_sums(a) ? norm_columns(lv_cuda(dev), a, call) : 0;

    return ret < 0 || !lv_has(&a->dx) ? ret :
           LV_LAUNCH(lv_cuda(dev), norm_dx, row_grid(&a->x), (void *)a);
}

int lv_cuda_plan_gate_dx(LvDevice *dev, const LvGateDxArgs *a, LvCall *call)
{
    size_t batch = (size_t)a->batch;

    (void)dev;
    if (lv_has(&a->dmod))
        call->scratch_bytes = 4 * batch * (size_t)a->dy.dim[1] *
                              (size_t)runs_of((size_t)a->dy.dim[0] / batch);
    return 0;
}

int lv_cuda_gate_dx(LvDevice *dev, const LvGateDxArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t batch = (size_t)a->batch;
    int runs = runs_of((size_t)a->dy.dim[0] / batch), cols = a->dy.dim[1], ret = 0;

    if (lv_has(&a->dmod)) {
        ret = LV_LAUNCH(cu, gate_cols, col_grid(batch, runs, cols), (void *)a, &runs,
                        &call->scratch);
        if (ret >= 0)
            ret = add_runs(cu, call->scratch, batch, runs, cols, &a->dmod,
                           (size_t)a->row, (size_t)a->dmod.dim[0] / batch, 1);
    }
    return ret < 0 || !lv_has(&a->dx) ? ret :
           LV_LAUNCH(cu, gate_dx, row_grid(&a->dy), (void *)a);
}

int lv_cuda_plan_qknorm_dx(LvDevice *dev, const LvQknormDxArgs *a, LvCall *call)
{
    (void)dev;
    if (lv_has(&a->dw))
        call->scratch_bytes = 4 * (size_t)a->x.dim[1] *
                              (size_t)runs_of((size_t)a->x.dim[0]);
    return 0;
}

int lv_cuda_qknorm_dx(LvDevice *dev, const LvQknormDxArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int runs = runs_of((size_t)a->x.dim[0]), cols = a->x.dim[1], ret = 0;

    if (lv_has(&a->dw)) {
        ret = LV_LAUNCH(cu, qknorm_cols, col_grid(1, runs, cols), (void *)a, &runs,
                        &call->scratch);
        if (ret >= 0)
            ret = add_runs(cu, call->scratch, 1, runs, cols, &a->dw, 0, 0,
                           a->add >> 1 & 1);
    }
    return ret < 0 || !lv_has(&a->dx) ? ret :
           LV_LAUNCH(cu, qknorm_dx, row_grid(&a->x), (void *)a);
}

/* REDUCE: terms of each sum. */
static size_t terms_of(const LvReduceArgs *a)
{
    return lv_tensor_numel(&a->x) / lv_tensor_numel(&a->y);
}

int lv_cuda_plan_reduce(LvDevice *dev, const LvReduceArgs *a, LvCall *call)
{
    (void)dev;
    if (terms_of(a) > FEW)
        call->scratch_bytes = 4 * lv_tensor_numel(&a->y) * (size_t)runs_of(terms_of(a));
    return 0;
}

int lv_cuda_reduce(LvDevice *dev, const LvReduceArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    size_t n = lv_tensor_numel(&a->y), times = terms_of(a);
    size_t groups = n / (size_t)a->inner;
    int runs = runs_of(times), ret;

    if (times <= FEW)
        return LV_LAUNCH(cu, reduce_few, lv_cuda_grid1(n), (void *)a, &n, &times);
    ret = LV_LAUNCH(cu, reduce_cols, col_grid(groups, runs, a->inner), (void *)a,
                    &times, &runs, &call->scratch);
    return ret < 0 ? ret :
           add_runs(cu, call->scratch, groups, runs, a->inner, &a->y, 0, 1,
                                    a->add & 1);
}
