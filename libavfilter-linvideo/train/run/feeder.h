/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Makes the data of the next step while the device computes this one.
 * Floor train/run: knows steps and items, not what they hold.
 */

#ifndef LINVIDEO_TRAIN_RUN_FEEDER_H
#define LINVIDEO_TRAIN_RUN_FEEDER_H

#include <stddef.h>

#include "backend/device.h"

typedef struct LvFeeder LvFeeder;

/**
 * Fill item number `item` of a step's data.
 *
 * @param data   of the whole step, `bytes` long
 * @param thread 0 to threads - 1; calls with the same one do not overlap
 * @return 0, or an error that lv_feeder_get() then returns
 */
typedef int (*LvFeederMake)(void *opaque, int step, int item, void *data, int thread);

/**
 * @param items   of a step
 * @param threads that make items, >= 1
 * @param dev     where the data go; outlives the feeder
 * @param[out] f  freed with lv_feeder_free(); NULL on error
 * @return 0 or -ENOMEM
 */
int lv_feeder_new(LvFeeder **f, int items, size_t bytes, int threads, LvFeederMake make,
                  void *opaque, LvDevice *dev);

/** Wait for what is being made, free *f and set it to NULL. NULL is fine. */
void lv_feeder_free(LvFeeder **f);

/**
 * Data of a step, until the next call; the following steps are begun, several together
 * where one has too few items for all threads. Steps are meant to be asked for in order:
 * any other is made anew, while the caller waits. Steps that are never asked for may be
 * made.
 *
 * @return 0, or an error of the function that makes it, for this or another step made
 *         together with it
 */
int lv_feeder_get(LvFeeder *f, int step, void **data);

#endif /* LINVIDEO_TRAIN_RUN_FEEDER_H */
