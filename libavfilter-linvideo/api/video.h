/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Videos that are given: YUV4MPEG2 files, a frame at a time.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_VIDEO_H
#define LINVIDEO_API_VIDEO_H

#include "api/yuv_file.h"

typedef struct LvVideoFile LvVideoFile;

/**
 * Open a regular file, check its header and count its frames.
 *
 * @param option name for messages; static
 * @param msg outlives the file
 * @param[out] f freed with lv_video_file_close(); NULL on error
 * @return 0; -errno of the file; -EINVAL: no such video, broken, cut off, or without a frame;
 *         -ENOMEM
 */
int lv_video_file_open(LvVideoFile **f, const char *option, const char *path, const LvMsg *msg);

/** Whether a regular file begins as YUV4MPEG2 does; 0 where it cannot be read. */
int lv_video_file_is(const char *path);

/** NULL is fine. */
void lv_video_file_close(LvVideoFile **f);

/** What its header says. */
const LvY4m *lv_video_file_head(const LvVideoFile *f);

/** Frames in it, 1 or more. */
int64_t lv_video_file_frames(const LvVideoFile *f);

/** Read the next frame, of which there is one. @param[out] image the file's, until the next
 *  call @return 0; -errno of the read; -EINVAL */
int lv_video_file_next(LvVideoFile *f, const LvImage **image);

/** Go back to the first frame. */
void lv_video_file_rewind(LvVideoFile *f);

#endif /* LINVIDEO_API_VIDEO_H */
