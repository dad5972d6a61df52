/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The null device: every op is supported and does nothing. For planning memory
 * and counting work with no hardware and no weights.
 */

#include "backend/null.h"

#include <stdlib.h>
#include <string.h>

#define LV_NULL_OP(NAME, name, Type, in, out)                                    \
    static int null_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call) \
    {                                                                            \
        (void)dev, (void)a, (void)call;                                          \
        return 0;                                                                \
    }
LV_OPS(LV_NULL_OP)
#undef LV_NULL_OP

static const LvOpTable nothing = { 0 };

static const LvOpTable run = {
#define LV_NULL_ROW(NAME, name, Type, in, out) .name = null_##name,
    LV_OPS(LV_NULL_ROW)
#undef LV_NULL_ROW
};

static void null_close(LvDevice *dev)
{
    free(dev);
}

static void *null_alloc(LvDevice *dev, size_t bytes)
{
    (void)dev;
    return lv_alloc(bytes);
}

static void null_free(LvDevice *dev, void *p)
{
    (void)dev;
    lv_free(p);
}

static int null_copy(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(dst, src, bytes);
    return 0;
}

static int null_sync(LvDevice *dev)
{
    (void)dev;
    return 0;
}

static size_t null_available(const LvDevice *dev)
{
    (void)dev;
    return SIZE_MAX;
}

static int null_reserve(LvDevice *dev, size_t bytes)
{
    (void)dev, (void)bytes;
    return 0;
}

static void null_release(LvDevice *dev, int op, LvCall *call)
{
    (void)dev, (void)op, (void)call;
}

static const LvDeviceFns fns = {
    .name = "null", .close = null_close, .alloc = null_alloc, .free = null_free,
    .upload = null_copy, .download = null_copy, .sync = null_sync,
    .available = null_available, .reserve = null_reserve,
    .release = null_release, .plan = &nothing, .build = &nothing, .run = &run,
};

int lv_null_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    *dev = calloc(1, sizeof(**dev));
    if (!*dev)
        return lv_fail(msg, LV_ERR(ENOMEM), "null device: out of memory");
    **dev = (LvDevice) { .fn = &fns, .msg = msg, .host = 1, .about = "null",
                         .threads = LV_MAX(opt->threads, 1) };
    return 0;
}
