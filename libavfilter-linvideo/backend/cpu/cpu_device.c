/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/cpu_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_group.h"
#include "backend/cpu/rows.h"

static void cpu_close(LvDevice *dev)
{
    LvCpu *cpu = lv_cpu(dev);

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
    .linattn_run = lv_cpu_plan_linattn_run,
    .linattn = lv_cpu_plan_linattn, .conv = lv_cpu_plan_conv, .conv3 = lv_cpu_plan_conv3,
    .norm = lv_cpu_plan_norm, .gate = lv_cpu_plan_gate,
    .gate_norm = lv_cpu_plan_gate_norm, .qknorm = lv_cpu_plan_qknorm,
    .mix = lv_cpu_plan_mix, .nag = lv_cpu_plan_nag, .add = lv_cpu_plan_add,
    .act = lv_cpu_plan_act, .glu = lv_cpu_plan_glu, .embed = lv_cpu_plan_embed,
    .patchify = lv_cpu_plan_patchify, .unpatchify = lv_cpu_plan_unpatchify,
    .shuffle = lv_cpu_plan_shuffle, .unshuffle = lv_cpu_plan_unshuffle,
    .avg_down = lv_cpu_plan_avg_down, .dup_up = lv_cpu_plan_dup_up,
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
    .linattn_run = lv_cpu_build_linattn_run,
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
    .available = cpu_available, .reserve = cpu_reserve, .release = cpu_release,
    .group = &lv_cpu_group, .plan = &plan, .build = &build, .run = &run,
};

int lv_cpu_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    LvCpu *cpu = calloc(1, sizeof(*cpu));
    int ret;

    *dev = NULL;
    if (!cpu)
        return lv_fail(msg, LV_ERR(ENOMEM), "cpu: out of memory");
    cpu->dev = (LvDevice) { .fn = &fns, .msg = msg, .host = 1, .packs = 1,
                            .threads = opt->threads ? opt->threads : lv_cores() };
    cpu->dsp = lv_dsp_get(opt->isa);
    if (!cpu->dsp) {
        free(cpu);
        return lv_fail(msg, LV_ERR_DEVICE, "cpu: instruction set '%s' is not "
                       "supported by this CPU or build", opt->isa);
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
