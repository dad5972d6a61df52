/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/device.h"

#include <string.h>

static const struct {
    const char *name;
    int (*open)(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);
} devices[] = {
    { "auto", lv_cpu_open },
    { "cpu", lv_cpu_open },
    { "null", lv_null_open },
};

int lv_device_open(LvDevice **dev, const char *name, const LvDeviceOptions *opt,
                   const LvMsg *msg)
{
    const LvDeviceOptions none = { 0 };

    *dev = NULL;
    if (!name || !*name)
        name = "auto";
    for (int i = 0; i < LV_COUNT(devices); i++)
        if (!strcmp(name, devices[i].name))
            return devices[i].open(dev, opt ? opt : &none, msg);
    return lv_fail(msg, LV_ERR(EINVAL),
                   "unknown device '%s'; known are auto and cpu", name);
}

void lv_device_close(LvDevice **dev)
{
    if (*dev)
        (*dev)->fn->close(*dev);
    *dev = NULL;
}

int lv_device_call(const LvOpTable *table, LvDevice *dev, int op,
                   const LvOpArgs *a, LvCall *call)
{
    switch (op) {
#define LV_OP_CALL(NAME, name, Type, in, out) \
    case LV_OP_##NAME: return table->name ? table->name(dev, &a->name, call) : 0;
    LV_OPS(LV_OP_CALL)
#undef LV_OP_CALL
    default: return LV_ERR(EINVAL);
    }
}

int lv_device_has(const LvDevice *dev, int op)
{
    switch (op) {
#define LV_OP_HAS(NAME, name, Type, in, out) \
    case LV_OP_##NAME: return dev->fn->run->name != NULL;
    LV_OPS(LV_OP_HAS)
#undef LV_OP_HAS
    default: return 0;
    }
}
