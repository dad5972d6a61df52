/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights on their way to another device's memory: threads read and check them into a ring
 * of pinned memory, from where one more thread has them copied, in the order in which parts
 * were added, while the next are read and the caller does something else.
 * Floor F4 (model): knows jobs and memory, not tensors.
 */

#ifndef LINVIDEO_MODEL_UPLOAD_H
#define LINVIDEO_MODEL_UPLOAD_H

#include "backend/device.h"
#include "base/ring.h"

typedef struct LvUpload LvUpload;

/** Asked now and then, by the caller's thread, while parts are waited for. @return 0, or the
 *  code to end with */
typedef int (*LvUploadAsk)(void *opaque);

/**
 * Nothing is started before the first part. One upload of a device at a time.
 *
 * @param ask NULL: nobody is asked
 * @param[out] u freed with lv_upload_free(); NULL on error
 * @return 0 or -ENOMEM
 */
int lv_upload_new(LvUpload **u, LvDevice *dev, LvUploadAsk ask, void *opaque,
                  const LvMsg *msg);

/** End it, wait for the copies that were started, and free *u: what parts are made from,
 *  and where they go, have to be there until then. NULL is fine. */
void lv_upload_free(LvUpload **u);

/** The most bytes that a job may have. 0 or -ENOMEM */
int lv_upload_slot(LvUpload *u, size_t *bytes);

/**
 * Add a part: bytes that job->fill makes, to go to job->to of the device, once what uses that
 * memory now is done. It is cut into jobs of whole units, of `unit` bytes, which
 * lv_upload_slot() holds.
 *
 * @return 0, -ENOMEM or LV_ERR_DEVICE
 */
int lv_upload_add(LvUpload *u, const LvRingJob *part, size_t unit);

/** Parts so far, for lv_upload_run(). */
size_t lv_upload_mark(const LvUpload *u);

/**
 * Wait until parts up to a mark were read, and their copies started: work that is started
 * after it finds them.
 *
 * @return 0; the code of the first part in order that failed, after its message; that of
 *         ask(); LV_ERR_DEVICE
 */
int lv_upload_run(LvUpload *u, size_t mark);

#endif /* LINVIDEO_MODEL_UPLOAD_H */
