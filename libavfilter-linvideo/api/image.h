/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Images that are given: files, or rows of the caller.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_IMAGE_H
#define LINVIDEO_API_IMAGE_H

#include "base/msg.h"
#include "linvideo/linvideo.h"
#include "pipeline/prepare.h"

/**
 * Read an image: PNG, PPM, or the first frame of YUV4MPEG2, told apart by what they hold.
 *
 * @param option name for messages
 * @param path   NULL or "": data
 * @param data   NULL: none; its data NULL: the size alone is taken
 * @param[out] image rgb is freed by the caller; NULL on error, and where none is given
 * @return 0; -errno of the file; -EINVAL: no such image, broken, too large, or both are given;
 *         -ENOMEM; LV_ERR_UNSUPPORTED: PNG, and the library was built without libpng
 */
int lv_image_read(LvImage *image, const char *option, const char *path,
                  const LinvideoImage *data, const LvMsg *msg);

/** Copy rows of the caller. @return 0; -EINVAL: a size or stride that cannot be; -ENOMEM */
int lv_image_copy(LvImage *image, const char *option, const LinvideoImage *from,
                  const LvMsg *msg);

#endif /* LINVIDEO_API_IMAGE_H */
