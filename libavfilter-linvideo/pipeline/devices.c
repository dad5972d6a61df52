/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/devices.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 64 };

/* Number i of "KIND:N+M", as "KIND:N". @return 0, or -1: there is none, or it is too long */
static int name_of(char out[NAME], const char *name, int i)
{
    const char *colon = strchr(name, ':'), *at = colon ? colon + 1 : name;
    int kind = colon ? (int)(colon - name) : 0;

    for (; i > 0; i--, at++)
        if (!(at = strchr(at, '+')))
            return -1;
    return snprintf(out, NAME, "%.*s:%.*s", kind, name, (int)strcspn(at, "+"), at) < NAME ? 0 : -1;
}

static int fail(const LvMsg *msg, const char *name, const char *what)
{
    return lv_fail(msg, LV_ERR(EINVAL), "device '%s': %s", name, what);
}

static int check(const char *name, int nb, const LvDeviceOptions *opt, const LvMsg *msg)
{
    char one[NAME], other[NAME];

    if (!strchr(name, ':'))
        return fail(msg, name, "expected numbers, as cuda:0+1");
    if (opt->context)
        return fail(msg, name, "expected one device, that of the context given");
    if (nb > LV_DEVICES)
        return fail(msg, name, "expected at most two devices, one for each branch of guidance");
    if (name_of(one, name, 0) < 0 || name_of(other, name, 1) < 0 || !strcmp(one, other))
        return fail(msg, name, "expected two different devices");
    return 0;
}

static void describe(LvDevices *d)
{
    if (d->nb == 1)
        snprintf(d->about, sizeof(d->about), "%s", d->dev[0]->about);
    else
        snprintf(d->about, sizeof(d->about), "%s and %s", d->dev[0]->about, d->dev[1]->about);
}

static int open_many(LvDevices *d, const char *name, const LvDeviceOptions *opt,
                     const LvMsg *msg)
{
    char one[NAME];
    int nb = 1, ret;

    for (const char *p = name; (p = strchr(p, '+')); p++)
        nb++;
    if ((ret = check(name, nb, opt, msg)) < 0)
        return ret;
    for (; d->nb < nb && ret >= 0; d->nb += ret >= 0)
        ret = name_of(one, name, d->nb) < 0 ? fail(msg, name, "expected numbers, as cuda:0+1")
            : lv_device_open(&d->dev[d->nb], one, opt, msg);
    return ret;
}

int lv_devices_open(LvDevices *d, const char *name, const LvDeviceOptions *opt,
                    const LvMsg *msg)
{
    int ret;

    *d = (LvDevices) { .nb = 0 };
    if (name && strchr(name, '+'))
        ret = open_many(d, name, opt, msg);
    else
        d->nb = (ret = lv_device_open(&d->dev[0], name, opt, msg)) >= 0;
    if (ret >= 0)
        describe(d);
    return ret;
}

void lv_devices_close(LvDevices *d)
{
    for (int i = LV_DEVICES - 1; i >= 0; i--)
        lv_device_close(&d->dev[i]);
    d->nb = 0;
}
