/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 *     lockstep MODEL
 *
 * Whole runs on the CUDA device with the CPU device beside it: every op that a model
 * starts, from the text encoder to the decoder, is run on both with the same inputs,
 * and its outputs are compared. The device that goes on is the CUDA one, which keeps
 * what it computed; so errors do not add up, and the op that is wrong is named.
 *
 * Linked so that lv_cuda_open() comes here first (-Wl,--wrap). Meant for the emulated
 * GPU; runs on a real one too. Prints the largest error of each op.
 */

#include <linvideo/linvideo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "base/common.h"
#include "base/convert.h"

enum { TENSORS = LV_OP_MAX_TENSORS, WIDTH = 32, PIXELS = WIDTH * WIDTH * 3 };

/** Largest error of an op, relative to the norm of the output on the CPU: f32 where all
 *  tensors are, bf16 where any is. Ops not here: the first row. */
static const struct {
    int op;
    double f32, bf16;
} tolerances[] = {
    { LV_OP_NB, 1e-5, 8e-3 },        /* a rounding to bf16, and one more */
    { LV_OP_ATTN, 1e-5, 1.2e-2 },    /* the weights of values are rounded too */
    { LV_OP_LINATTN, 2e-5, 1.2e-2 },
};

int __real_lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);
int __wrap_lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);

static LvDevice *cpu;
static const LvDeviceFns *cuda; ///< as it is
static LvDeviceFns both;        ///< its functions, but those that run ops
static LvOpTable run;
static double worst[LV_OP_NB][2];
static long compared, outside;

/* The op on the CPU */

static void fetch(LvDevice *dev, LvTensor *to, const LvTensor *from)
{
    *to = *from;
    if (!lv_has(from) || !from->data)
        return;
    to->w    = NULL;
    to->data = lv_alloc(lv_tensor_bytes(from));
    if (!to->data || cuda->download(dev, to->data, from->data, lv_tensor_bytes(from)) < 0)
        abort();
}

static int run_cpu(int op, const LvOpArgs *a)
{
    LvCall call = { 0 };
    int ret = lv_device_call(cpu->fn->plan, cpu, op, a, &call);

    if (ret >= 0 && (ret = lv_device_reserve(cpu, call.thread_bytes)) >= 0) {
        call.scratch = lv_alloc(LV_MAX(call.scratch_bytes, 1));
        ret = lv_device_call(cpu->fn->build, cpu, op, a, &call);
    }
    if (ret >= 0)
        ret = lv_device_call(cpu->fn->run, cpu, op, a, &call);
    if (call.priv)
        lv_device_release(cpu, op, &call);
    lv_free(call.scratch);
    return ret;
}

static double error_of(const LvTensor *want, const LvTensor *got)
{
    size_t n = lv_tensor_numel(want);
    float *x = lv_alloc(n * sizeof(*x)), *y = lv_alloc(n * sizeof(*y));
    double err2 = 0, ref2 = 0;

    if (!x || !y || lv_to_f32(x, want->data, (LvDtype)want->dtype, n) < 0 ||
        lv_to_f32(y, got->data, (LvDtype)got->dtype, n) < 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        double d = x[i] == y[i] ? 0 : (double)x[i] - y[i];
        err2 += d * d;
        ref2 += isfinite(x[i]) ? (double)x[i] * x[i] : 0;
    }
    lv_free(x);
    lv_free(y);
    return err2 > 0 ? sqrt(err2 / ref2) : err2; /* a NaN stays one */
}

static int has_bf16(int op, const LvOpArgs *a)
{
    const LvOpInfo *info = lv_op_info(op);

    for (int i = 0; i < info->in + info->out; i++)
        if (lv_has(&a->t[i]) && a->t[i].dtype == LV_BF16)
            return 1;
    return 0;
}

static double tolerance(int op, int bf16)
{
    int row = 0;

    for (int i = 1; i < LV_COUNT(tolerances); i++)
        if (tolerances[i].op == op)
            row = i;
    return bf16 ? tolerances[row].bf16 : tolerances[row].f32;
}

static void compare(int op, const LvOpArgs *a, const LvTensor *want, const LvTensor *got)
{
    int bf16   = has_bf16(op, a);
    double e   = error_of(want, got);
    char text[64];

    compared++;
    worst[op][bf16] = e > worst[op][bf16] || e != e ? e : worst[op][bf16];
    if (e <= tolerance(op, bf16))
        return;
    outside++;
    printf("not ok %s, output %s: error %.2e, allowed %.2e\n", lv_op_info(op)->name,
           lv_tensor_text(text, sizeof(text), want), e, tolerance(op, bf16));
}

/* The op on both */

static int run_both(LvDevice *dev, int op, const LvOpArgs *a, LvCall *call)
{
    const LvOpInfo *info = lv_op_info(op);
    int nb = info->in + info->out, ret;
    LvOpArgs host = *a;
    LvTensor got;

    for (int i = 0; i < nb; i++)
        fetch(dev, &host.t[i], &a->t[i]);
    if ((ret = lv_device_call(cuda->run, dev, op, a, call)) >= 0 &&
        (ret = cuda->sync(dev)) >= 0 && (ret = run_cpu(op, &host)) >= 0)
        for (int i = info->in; i < nb; i++)
            if (lv_has(&a->t[i])) {
                fetch(dev, &got, &a->t[i]);
                compare(op, a, &host.t[i], &got);
                lv_free(got.data);
            }
    for (int i = 0; i < nb; i++)
        lv_free(lv_has(&host.t[i]) ? host.t[i].data : NULL);
    return ret;
}

#define BOTH(NAME, name, Type, in, out)                                             \
    static int both_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)    \
    {                                                                               \
        LvOpArgs all = { .name = *a };                                              \
        return run_both(dev, LV_OP_##NAME, &all, call);                             \
    }
LV_OPS(BOTH)
#undef BOTH

static const LvOpTable table = {
#define ROW(NAME, name, Type, in, out) .name = both_##name,
    LV_OPS(ROW)
#undef ROW
};

int __wrap_lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    int ret = __real_lv_cuda_open(dev, opt, msg);

    if (ret < 0)
        return ret;
    cuda = (*dev)->fn;
    both = *cuda;
    run  = table;
    both.run    = &run;
    both.capture = NULL; /* nothing is started as a whole */
    (*dev)->fn  = &both;
    return 0;
}

/* A short clip */

static void print_line(void *opaque, enum LinvideoLogLevel level, const char *text)
{
    (void)opaque;
    if (level == LINVIDEO_LOG_ERROR)
        printf("%s\n", text);
}

static int make_clip(const char *model, enum LinvideoPrecision precision)
{
    static uint8_t pixels[PIXELS];
    LinvideoFrame f = { .data = { pixels }, .stride = { 3 * WIDTH } };
    LinvideoContext *c = NULL;
    LinvideoParams p;
    int ret;

    linvideo_params_default(&p);
    p.model = model, p.prompt = "a large red circle moving right", p.device = "cuda";
    p.width = p.height = WIDTH, p.clip_frames = 5, p.steps = 1, p.seed = 1;
    p.precision = precision, p.format = LINVIDEO_RGB24, p.log = print_line;
    ret = linvideo_open(&c, &p);
    while (ret >= 0)
        ret = linvideo_next_frame(c, &f);
    linvideo_close(&c);
    return ret == LINVIDEO_EOF ? 0 : ret;
}

static void check(const char *model, enum LinvideoPrecision precision, const char *name)
{
    long before = compared, bad = outside;
    int ret = make_clip(model, precision);

    if (ret < 0 || compared == before)
        printf("not ok a clip in %s: %d\n", name, ret), outside++;
    else if (outside == bad)
        printf("ok a clip in %s: %ld outputs agree\n", name, compared - before);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2 || lv_device_open(&cpu, "cpu", NULL, NULL) < 0) {
        fprintf(stderr, "usage: lockstep MODEL\n");
        return 2;
    }
    check(argv[1], LINVIDEO_PRECISION_F32, "f32");
    if (cpu->bf16)
        check(argv[1], LINVIDEO_PRECISION_BF16, "bf16");
    for (int op = 0; op < LV_OP_NB; op++)
        if (worst[op][0] > 0 || worst[op][1] > 0)
            printf("    %-12s largest error %.1e in f32, %.1e in bf16\n",
                   lv_op_info(op)->name, worst[op][0], worst[op][1]);
    printf("%d passed, %ld failed\n", outside ? 0 : 1 + cpu->bf16, outside);
    lv_device_close(&cpu);
    return outside > 0;
}
