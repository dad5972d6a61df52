/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ref_device.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "tests/ops_ref.h"

/* Round what an op made to the type of its tensor. */
static void store(const LvTensor *t, const double *v)
{
    size_t n = ops_numel(t);

    for (size_t i = 0; i < n; i++) {
        if (t->dtype == LV_F32)
            ((float *)t->data)[i] = (float)v[i];
        else
            ((uint16_t *)t->data)[i] = lv_f32_bf16((float)v[i]);
    }
}

static int compute(int op, const LvOpArgs *a)
{
    const LvOpInfo *info = lv_op_info(op);
    double *out[OPS_MAX_OUT] = { NULL };

    ops_ref(op, a, out);
    for (int i = 0; i < info->out; i++) {
        if (out[i])
            store(&a->t[info->in + i], out[i]);
        free(out[i]);
    }
    return 0;
}

#define REF_OP(NAME, name, Type, in, out)                                       \
    static int ref_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call) \
    {                                                                           \
        LvOpArgs u = { .name = *a };                                            \
        (void)dev, (void)call;                                                  \
        return compute(LV_OP_##NAME, &u);                                       \
    }
LV_OPS(REF_OP)
#undef REF_OP

static const LvOpTable nothing = { 0 };

static const LvOpTable run = {
#define REF_ROW(NAME, name, Type, in, out) .name = ref_##name,
    LV_OPS(REF_ROW)
#undef REF_ROW
};

static void ref_close(LvDevice *dev)
{
    free(dev);
}

static void *ref_alloc(LvDevice *dev, size_t bytes)
{
    (void)dev;
    return lv_alloc(bytes);
}

static void ref_free(LvDevice *dev, void *p)
{
    (void)dev;
    lv_free(p);
}

static int ref_copy(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(dst, src, bytes);
    return 0;
}

static int ref_sync(LvDevice *dev)
{
    (void)dev;
    return 0;
}

static size_t ref_available(const LvDevice *dev)
{
    (void)dev;
    return SIZE_MAX;
}

static int ref_reserve(LvDevice *dev, size_t bytes)
{
    (void)dev, (void)bytes;
    return 0;
}

static void ref_release(LvDevice *dev, int op, LvCall *call)
{
    (void)dev, (void)op, (void)call;
}

static const LvDeviceFns fns = {
    .name = "ref", .close = ref_close, .alloc = ref_alloc, .free = ref_free,
    .upload = ref_copy, .download = ref_copy, .sync = ref_sync,
    .available = ref_available, .reserve = ref_reserve,
    .release = ref_release, .plan = &nothing, .build = &nothing, .run = &run,
};

int ref_device_open(LvDevice **dev, const LvMsg *msg)
{
    if (!(*dev = calloc(1, sizeof(**dev))))
        return LV_ERR(ENOMEM);
    **dev = (LvDevice) { .fn = &fns, .msg = msg, .host = 1, .threads = 1,
                         .about = "reference (f64)" };
    return 0;
}
