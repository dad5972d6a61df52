/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Time of single ops at the shapes of training, on any device.
 *
 *     bench_ops DEVICE [OP]
 *
 * LV_BENCH_SMALL=1 in the environment cuts the shapes down, to try the program;
 * LV_TEST_NEWEST is LvDeviceOptions.newest: 80 for none of the kernels for 9.0.
 *
 * For each: microseconds, GB/s of tensors read and written once, TFLOP/s of products.
 * Runs follow one another without waiting between them; the shortest of three rounds
 * counts.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "backend/form.h"
#include "base/common.h"
#include "base/half.h"
#include "tests/ops_table.h"

#define B    OPS_BIAS
#define MOD  OPS_MOD
#define ROPE OPS_ROPE
#define KEYB OPS_KEYB
#define FULL OPS_STATS
#define FIX  OPS_FIXED
#define LESS OPS_LESS

enum { ROUNDS = 3, MAX_TENSORS = LV_OP_MAX_TENSORS };

/* A width of 384 in 6 heads, 64 samples of 420 tokens and 32 rows of text; pictures of
 * the small autoencoder. What n[] holds stands in ops_table.c. */
enum { M = 64 * 420, N = 64, W = 384 };

static const struct {
    int op, flags;
    const char *type;
    int n[9];
} rows[] = {
    { LV_OP_LINEAR, B, "bfb", { M, W, W, LV_ACT_NONE } },
    { LV_OP_LINEAR, B, "bfb", { M, W, 4 * W, LV_ACT_GELU } },
    { LV_OP_LINEAR, B, "bfb", { M, 4 * W, W, LV_ACT_NONE } },
    { LV_OP_LINEAR, 0, "bbb", { M, W, 4 * W, LV_ACT_NONE } },
    { LV_OP_LINEAR, B, "bfb", { M, W, 4 * W, LV_ACT_NONE } },
    { LV_OP_LINEAR, B, "bff", { N, W, 6 * W, LV_ACT_NONE } },
    { LV_OP_LINEAR, B, "fff", { M, W, W, LV_ACT_NONE } },
    { LV_OP_LINEAR_DX, 0, "bfb", { M, W, 4 * W } },
    { LV_OP_LINEAR_DX, 0, "bfb", { M, 4 * W, W } },
    { LV_OP_LINEAR_DW, 0, "b", { M, W, 4 * W } },
    { LV_OP_LINEAR_DW, 0, "b", { M, W, W } },
    { LV_OP_REDUCE, 0, "bf", { 1, M, 4 * W } },
    { LV_OP_NORM, MOD | FULL, "fb", { M, W, LV_NORM_LAYER, 6, 0, 1, N } },
    { LV_OP_NORM_DX, MOD | LESS(1) | LESS(2), "fbf", { M, W, LV_NORM_LAYER, 6, 0, 1, N } },
    { LV_OP_GATE, MOD, "fbf", { M, W, 6, 2, N } },
    { LV_OP_GATE_DX, MOD, "bfb", { M, W, 6, 2, N } },
    { LV_OP_QKNORM, ROPE | FULL, "bb", { M, 6, 64, N } },
    { LV_OP_QKNORM_DX, ROPE, "bbb", { M, 6, 64, N } },
    { LV_OP_ATTN, FULL, "bb", { 420, 420, 6, 64, 0, 0, N } },
    { LV_OP_ATTN_DX, 0, "bbbb", { 420, 420, 6, 64, 0, 0, N } },
    { LV_OP_ATTN, FULL | KEYB, "bb", { 420, 32, 6, 64, 0, 0, N } },
    { LV_OP_ATTN_DX, KEYB, "bbbb", { 420, 32, 6, 64, 0, 0, N } },
    { LV_OP_ATTN, 0, "bb", { 8192, 8192, 12, 128, 0, 0, 1 } },
    { LV_OP_ATTN_DX, 0, "bbbb", { 8192, 8192, 12, 128, 0, 0, 1 } },
    { LV_OP_ATTN, 0, "bb", { 32760, 32760, 12, 128, 0, 0, 1 } },
    { LV_OP_ATTN, 0, "bb", { 32760, 32760, 12, 128, 0, 0, 1, LV_MATMUL_F8 } },
    { LV_OP_ATTN_DX, 0, "bbbb", { 32760, 32760, 12, 128, 0, 0, 1 } },
    { LV_OP_LINATTN, FULL, "bfb", { 420, 6, 64, 64, LV_MAP_HEDGEHOG, N } },
    { LV_OP_LINATTN_DX, 0, "bfbbb", { 420, 6, 64, 64, LV_MAP_HEDGEHOG, N } },
    { LV_OP_LINATTN, 0, "bbb", { 32760, 12, 128, 64, LV_MAP_HEDGEHOG, 1 } },
    { LV_OP_ADD, 0, "fbf", { M, W, M * W } },
    { LV_OP_ACT, 0, "bb", { M, 4 * W, LV_ACT_GELU } },
    { LV_OP_ACT_DX, 0, "bbb", { M, 4 * W, LV_ACT_GELU } },
    { LV_OP_ADAMW, 0, "", { 33000000 } },
    { LV_OP_SQSUM, 0, "", { 33000, 1000 } },
    { LV_OP_CONV, B, "bfbb", { 80, 48, 28, 64, 64, 3, 1, 1, LV_ACT_RELU } },
    { LV_OP_CONV_DX, 0, "bfb", { 80, 48, 28, 64, 64, 3, 1, 1 } },
    { LV_OP_CONV_DW, 0, "b", { 80, 48, 28, 64, 64, 3, 1, 1 } },
    { LV_OP_CONV, B, "bfbb", { 80, 96, 56, 64, 64, 3, 2, 1, LV_ACT_RELU } },
    { LV_OP_UPSAMPLE, 0, "b", { 80, 48, 28, 64 } },
    { LV_OP_UPSAMPLE_DX, 0, "bb", { 80, 48, 28, 64 } },
    { LV_OP_RECALL, 0, "b", { 80, 48, 28, 64 } },
    /* Wan's decoder at 832x480, four frames of its result */
    { LV_OP_CONV3, B | FIX, "bfbb", { 1, 60, 104, 384, 384, 3, 3, 1, 2 } },
    { LV_OP_ATTN, 0, "bb", { 6240, 6240, 1, 384, 0, 0, 1 } },
    { LV_OP_CONV3, B | FIX, "bfbb", { 2, 120, 208, 384, 384, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B | FIX, "bfbb", { 2, 120, 208, 384, 768, 3, 1, 1, 2 } },
    { LV_OP_CONV, B | FIX, "bfbb", { 4, 240, 416, 384, 192, 3, 1, 1, LV_ACT_NONE } },
    { LV_OP_CONV3, B | FIX, "bfbb", { 4, 240, 416, 192, 192, 3, 3, 1, 2 } },
    { LV_OP_CONV, B | FIX, "bfbb", { 4, 480, 832, 192, 96, 3, 1, 1, LV_ACT_NONE } },
    { LV_OP_CONV3, B | FIX, "bfbb", { 4, 480, 832, 96, 96, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B | FIX, "bfbf", { 4, 480, 832, 96, 3, 3, 3, 1, 2 } },
};

/** Sizes as LV_BENCH_SMALL has them. */
static const struct {
    int whole, small;
} sizes[] = {
    { M * W, 60 * W }, { M, 60 }, { N, 2 }, { 420, 30 }, { 8192, 64 }, { 32760, 64 },
    { 33000000, 1000 }, { 33000, 33 }, { 80, 2 }, { 96, 12 }, { 48, 12 }, { 56, 8 },
    { 28, 8 }, { 60, 8 }, { 104, 8 }, { 120, 8 }, { 208, 8 }, { 240, 8 }, { 416, 8 },
    { 480, 8 }, { 832, 8 }, { 6240, 60 },
};

static int size_of(int n)
{
    for (int i = 0; i < LV_COUNT(sizes) && getenv("LV_BENCH_SMALL"); i++)
        if (sizes[i].whole == n)
            return sizes[i].small;
    return n;
}

/* The numbers of a row: heads and channels stay, also when they equal a size. */
static void set_numbers(int *n, int op, const int *whole)
{
    int conv = op >= LV_OP_CONV && op <= LV_OP_UPSAMPLE;
    int grad = op == LV_OP_CONV_DX || op == LV_OP_CONV_DW || op == LV_OP_UPSAMPLE_DX;
    int norm = op == LV_OP_QKNORM || op == LV_OP_QKNORM_DX;

    for (int i = 0; i < 9; i++) {
        int channels = i == 2 || (i == 3 && !norm) || conv || grad;
        n[i] = channels && whole[i] == N ? N : size_of(whole[i]);
    }
}

static void say(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "bench_ops: %s\n", line);
}

/* Small values without a pattern, of the tensor's type. */
static int fill(LvDevice *dev, const LvTensor *t)
{
    size_t n = lv_tensor_numel(t), bytes = lv_tensor_bytes(t);
    uint32_t random = 1;
    void *host = malloc(bytes);
    int ret;

    for (size_t i = 0; host && i < n; i++) {
        float x = (float)((random = random * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
        if (t->dtype == LV_F32)
            ((float *)host)[i] = x;
        else if (t->dtype == LV_I32)
            ((int32_t *)host)[i] = (int32_t)(random >> 20);
        else
            ((uint16_t *)host)[i] = lv_f32_bf16(x - 0.5f);
    }
    ret = host ? lv_device_upload(dev, t->data, host, bytes) : LV_ERR(ENOMEM);
    free(host);
    return ret;
}

static int make_tensors(LvDevice *dev, int op, LvOpArgs *a)
{
    const LvOpInfo *info = lv_op_info(op);
    int ret = 0;

    for (int t = 0; t < info->in + info->out && ret >= 0; t++)
        if (lv_has(&a->t[t])) {
            a->t[t].data = lv_device_try_alloc(dev, lv_tensor_bytes(&a->t[t]));
            ret = a->t[t].data ? fill(dev, &a->t[t]) : LV_ERR(ENOMEM);
            if (a->t[t].w) {
                a->t[t].w       = calloc(1, sizeof(*a->t[t].w));
                a->t[t].w->data = a->t[t].data;
            }
        }
    return ret;
}

static double seconds_of(LvDevice *dev, int op, const LvOpArgs *a, LvCall *call, int runs)
{
    double start = lv_seconds();

    for (int i = 0; i < runs; i++)
        if (lv_device_call(dev->fn->run, dev, op, a, call) < 0)
            return -1;
    if (lv_device_sync(dev) < 0)
        return -1;
    return (lv_seconds() - start) / runs;
}

static double measure(LvDevice *dev, int op, const LvOpArgs *a, LvCall *call)
{
    double once = seconds_of(dev, op, a, call, 2), best = 1e9;
    int runs;

    if (once < 0)
        return -1;
    once = seconds_of(dev, op, a, call, 1);
    runs = (int)LV_CLAMP(0.02 / LV_MAX(once, 1e-9), 1, 1000);
    for (int i = 0; i < ROUNDS; i++)
        best = LV_MIN(best, seconds_of(dev, op, a, call, runs));
    return best;
}

static void report(int op, const LvOpArgs *a, const OpsCase *c, double s)
{
    char text[512];

    ops_case_text(text, sizeof(text), c);
    printf("%9.1f us %8.0f GB/s %7.1f TFLOP/s  %s\n", 1e6 * s,
           lv_op_bytes(op, a) / s * 1e-9, lv_op_flops(op, a) / s * 1e-12, text);
    fflush(stdout);
}

static int bench(LvDevice *dev, int row)
{
    OpsCase c = { .op = rows[row].op, .flags = rows[row].flags, .type = rows[row].type,
                  .kind = 'n' };
    const LvOpInfo *info = lv_op_info(c.op);
    LvCall call = { 0 };
    LvOpArgs a;
    int ret;

    set_numbers(c.n, c.op, rows[row].n);
    ops_case_args(&c, &a);
    if ((ret = make_tensors(dev, c.op, &a)) >= 0 &&
        (ret = lv_device_call(dev->fn->plan, dev, c.op, &a, &call)) >= 0 &&
        (ret = lv_device_reserve(dev, call.thread_bytes)) >= 0) {
        call.scratch = lv_device_try_alloc(dev, call.scratch_bytes);
        ret = call.scratch ? lv_device_call(dev->fn->build, dev, c.op, &a, &call)
                           : LV_ERR(ENOMEM);
    }
    if (ret >= 0)
        report(c.op, &a, &c, measure(dev, c.op, &a, &call));
    if (call.priv)
        lv_device_release(dev, c.op, &call);
    lv_device_free(dev, call.scratch);
    for (int t = 0; t < info->in + info->out; t++)
        if (lv_has(&a.t[t])) {
            if (a.t[t].w)
                lv_forms_evict(a.t[t].w);
            free(a.t[t].w);
            lv_device_free(dev, a.t[t].data);
        }
    return ret;
}

int main(int argc, char **argv)
{
    const LvMsg msg = { say, NULL, LV_MSG_WARNING };
    const LvDeviceOptions opt = ops_device_options();
    LvDevice *dev;
    int ret = 0;

    if (argc < 2 || lv_device_open(&dev, argv[1], &opt, &msg) < 0) {
        fprintf(stderr, "usage: bench_ops DEVICE [OP]\n");
        return 1;
    }
    printf("%s\n", dev->about);
    for (int i = 0; i < LV_COUNT(rows) && ret >= 0; i++)
        if (argc < 3 || !strcmp(argv[2], lv_op_info(rows[i].op)->name))
            ret = bench(dev, i);
    lv_device_close(&dev);
    return ret < 0;
}
