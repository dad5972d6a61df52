/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Files of images and of videos, byte after byte; YUV4MPEG2.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_YUV_FILE_H
#define LINVIDEO_API_YUV_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"
#include "pipeline/prepare.h"

/** A file that is read. */
typedef struct LvReader {
    const char *option, *path; ///< for messages
    const uint8_t *data;       ///< what is left of it
    size_t size;
    const LvMsg *msg;
} LvReader;

/** Say what is wrong with it. @return -EINVAL */
int lv_reader_fail(const LvReader *r, const char *what);

/** Whether an image may have this size. @return 0; -EINVAL with a message */
int lv_image_check(const LvReader *r, int64_t width, int64_t height);

/** The pixels of an image, not set; freed by the caller. @return 0; -EINVAL (size), -ENOMEM */
int lv_image_new(LvImage *image, const LvReader *r, int64_t width, int64_t height);

/** Where samples of colour lie, of 8 bits. */
typedef struct LvChroma LvChroma;

/** What a file says at its beginning. */
typedef struct LvY4m {
    int64_t width, height;
    int rate_num, rate_den; ///< frames a second, in lowest terms; 0: it says none that can be
    int odd_rate;           ///< 1: it says one that cannot be
    int aspect[2];          ///< width and height of a pixel, where it is not square; 0: it is,
                            ///< or it is not known
    const LvChroma *chroma;
    int full;               ///< 1: values are 0 to 255; else luma is 16 to 235
} LvY4m;

/** Read it. @return 0; -EINVAL with a message */
int lv_y4m_open(LvY4m *y, LvReader *r);

/** Read the next frame, by BT.601, which readers of such files assume.
 *  @param image pixels of y's size @return 0; -EINVAL: there is none, or not all of it */
int lv_y4m_read(LvImage *image, const LvY4m *y, LvReader *r);

/** Go past the next frame. @return as lv_y4m_read() */
int lv_y4m_skip(const LvY4m *y, LvReader *r);

#endif /* LINVIDEO_API_YUV_FILE_H */
