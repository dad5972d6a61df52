/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * An ffmpeg that is on the PATH, as a process that makes a file of a YUV4MPEG2 stream.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_ENCODER_H
#define LINVIDEO_TOOLS_SHARE_ENCODER_H

#include <sys/types.h>

#include <linvideo/linvideo.h>

#include "base/file.h"

/** FFmpeg's name of the format of a file; NULL for an ending that is not handed to it. */
const char *lv_encoder_format(const char *path);

/** Whether there is an ffmpeg. */
int lv_encoder_is_here(void);

/**
 * Start one. It chooses the codec; colours are tagged, a seed is noted in the file. Writing
 * to one that has ended gives -EPIPE from then on, in the whole process, not a signal.
 *
 * @param path      whose ending tells the format
 * @param part      what is written, and replaced
 * @param matrix    BT709 or BT601
 * @param[out] to   the stream, to be ended before lv_encoder_end()
 * @param[out] child for lv_encoder_end()
 * @return 0 or -errno after a message
 */
int lv_encoder_start(const char *path, const char *part, enum LinvideoMatrix matrix,
                     int64_t seed, LvFile *to, pid_t *child);

/** Wait until it ends, or stop it. @return its status, 0 where all went well; of one that a
 *  signal ended, 128 and the signal's number */
int lv_encoder_end(pid_t child, int wait);

#endif /* LINVIDEO_TOOLS_SHARE_ENCODER_H */
