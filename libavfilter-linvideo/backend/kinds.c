/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The kinds of devices.
 */

#include <stdio.h>

#include "backend/cpu/cpu_device.h"
#include "backend/cuda/cuda_device.h"
#include "backend/null.h"

enum { LINE = 512 };

static void keep_line(void *opaque, int level, const char *line)
{
    (void)level;
    snprintf(opaque, LINE, "%s", line);
}

/* The error of a GPU that is tried first becomes a part of the log line. */
static int auto_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    char why[LINE] = "";
    const LvMsg tried = { keep_line, why, LV_MSG_ERROR };
    int ret = opt->isa ? LV_ERR_DEVICE : lv_cuda_open(dev, opt, &tried);

    if (ret >= 0)
        (*dev)->msg = msg;
    else if ((ret = lv_cpu_open(dev, opt, msg)) < 0)
        return ret;
    lv_msg(msg, LV_MSG_INFO, "device: %s%s%s", (*dev)->about, *why ? "; " : "", why);
    return 0;
}

const LvDeviceKind lv_device_kinds[] = {
    { "auto", 0, auto_open },
    { "cpu",  0, lv_cpu_open },
    { "cuda", 1, lv_cuda_open },
    { "null", 0, lv_null_open },
    { 0 },
};
