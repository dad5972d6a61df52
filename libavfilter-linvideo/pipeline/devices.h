/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The devices of a session: "cuda:0+1" is two of one kind.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_DEVICES_H
#define LINVIDEO_PIPELINE_DEVICES_H

#include "backend/device.h"

/** Devices that a clip is made on: one for each branch of guidance. */
enum { LV_DEVICES = 2 };

typedef struct LvDevices {
    LvDevice *dev[LV_DEVICES]; ///< the first does all that is not split
    int nb;                    ///< 1 or more
    char about[256];           ///< of all
} LvDevices;

/**
 * Open devices by name: as of lv_device_open(), or KIND:N+M for two of a kind that has many.
 *
 * @return 0; -EINVAL (more than LV_DEVICES, one twice, or with a context of the caller); as
 *         lv_device_open(). Closed with lv_devices_close(), after an error too
 */
int lv_devices_open(LvDevices *d, const char *name, const LvDeviceOptions *opt,
                    const LvMsg *msg);

/** All zero is fine. */
void lv_devices_close(LvDevices *d);

#endif /* LINVIDEO_PIPELINE_DEVICES_H */
