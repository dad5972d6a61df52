/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/check.h"

/* Whether name is that of kind k; its number in *index, -1 when it has none. */
static int is_named(const char *name, const LvDeviceKind *k, int *index)
{
    size_t n = strlen(k->name);
    char *end;
    long v;

    *index = -1;
    if (strncmp(name, k->name, n))
        return 0;
    if (!name[n] || !k->many)
        return !name[n];
    v = strtol(name + n + 1, &end, 10);
    if (name[n] != ':' || end == name + n + 1 || *end || v < 0 || v > 1023)
        return 0;
    *index = (int)v;
    return 1;
}

int lv_device_open(LvDevice **dev, const char *name, const LvDeviceOptions *opt,
                   const LvMsg *msg)
{
    LvDeviceOptions o = opt ? *opt : (LvDeviceOptions) { 0 };

    *dev = NULL;
    if (!name || !*name)
        name = "auto";
    for (const LvDeviceKind *k = lv_device_kinds; k->name; k++)
        if (is_named(name, k, &o.index))
            return k->open(dev, &o, msg);
    return lv_fail(msg, LV_ERR(EINVAL),
                   "unknown device '%s'; known are auto, cpu, cuda and cuda:N", name);
}

/* Staging */

enum { STAGING = 64 << 20, STAGING_LEAST = 64 << 10, HUGE_PAGE = 2 << 20 };

/* In huge pages, which are quickly there and quickly pinned. */
static void *new_staging(size_t bytes)
{
    void *p = aligned_alloc((size_t)LV_MIN(bytes, HUGE_PAGE), bytes);

    if (p)
        lv_huge_pages(p, bytes);
    return p;
}

void *lv_device_staging(LvDevice *dev, size_t *bytes)
{
    size_t n = STAGING;

    while (!dev->staging && n >= STAGING_LEAST) {
        dev->staging       = new_staging(n);
        dev->staging_bytes = n;
        n /= 2;
        lv_device_pin(dev, dev->staging, dev->staging_bytes);
    }
    *bytes = dev->staging_bytes;
    return dev->staging;
}

static void free_staging(LvDevice *dev)
{
    lv_device_unpin(dev, dev->staging);
    free(dev->staging);
}

void lv_device_close(LvDevice **dev)
{
    if (*dev)
        free_staging(*dev);
    if (*dev)
        (*dev)->fn->close(*dev);
    *dev = NULL;
}

int lv_device_alloc(LvDevice *dev, void **p, size_t bytes, const char *what)
{
    const double mib = 1024 * 1024;

    if ((*p = lv_device_try_alloc(dev, bytes)))
        return 0;
    return lv_fail(dev->msg, LV_ERR(ENOMEM), "%s: needs %.1f MiB, %s has %.1f free", what,
                   bytes / mib, dev->about, lv_device_available(dev) / mib);
}

static size_t read_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[256];
    unsigned long long v = 0;
    size_t len = strlen(key), found = SIZE_MAX;

    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, key, len) && sscanf(line + len, "%llu", &v) == 1)
            found = (size_t)v;
    if (f)
        fclose(f);
    return found;
}

size_t lv_host_available(void)
{
    size_t kib   = read_number("/proc/meminfo", "MemAvailable:");
    size_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    size_t used  = read_number("/sys/fs/cgroup/memory.current", "");
    size_t free_bytes = kib > SIZE_MAX / 1024 ? SIZE_MAX : kib * 1024;

    if (limit != SIZE_MAX && used != SIZE_MAX)
        free_bytes = LV_MIN(free_bytes, limit > used ? limit - used : 0);
    return free_bytes;
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

int lv_device_run(LvDevice *dev, int op, const LvOpArgs *a)
{
    LvCall call = { 0 };
    const char *why;
    int ret;

    if (lv_op_check(op, a, &why) < 0)
        return lv_fail(dev->msg, LV_ERR(EINVAL), "%s: %s", lv_op_info(op)->name, why);
    if ((ret = lv_device_call(dev->fn->plan, dev, op, a, &call)) < 0 ||
        (ret = lv_device_reserve(dev, call.thread_bytes)) < 0)
        return ret;
    assert(!call.scratch_bytes);
    return lv_device_call(dev->fn->run, dev, op, a, &call);
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
