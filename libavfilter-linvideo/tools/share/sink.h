/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where the frames of a video go: a YUV4MPEG2 file or stream, pictures, or an ffmpeg that
 * is on the PATH and makes a file of them.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_SINK_H
#define LINVIDEO_TOOLS_SHARE_SINK_H

#include <sys/types.h>

#include <linvideo/linvideo.h>

#include "base/file.h"
#include "tools/share/canvas.h"

typedef enum LvSinkKind {
    LV_SINK_NONE,   ///< an ending that is not known
    LV_SINK_Y4M,
    LV_SINK_PNG,    ///< one frame
    LV_SINK_PNGS,   ///< every frame, by a name with %d
    LV_SINK_FFMPEG  ///< .mp4, .webm, .mkv
} LvSinkKind;

/** What is asked for is set by the caller, the rest is zero. */
typedef struct LvSink {
    const char *path;  ///< as asked for; "-" is standard output
    int overwrite;
    int frame;         ///< LV_SINK_PNG: number of the frame; -1: the middle one
    int format_given;  ///< the option format was given
    int no_pipes;      ///< a pipe is refused: nothing is to wait for its reader

    LvSinkKind kind;
    enum LinvideoMatrix matrix;
    int64_t wanted;    ///< LV_SINK_PNG: number of the frame
    int64_t frames;    ///< taken
    int made;          ///< what the last linvideo_next_frame() returned
    LvCanvas canvas;
    LvFile file;       ///< of LV_SINK_PNGS that of one frame, of LV_SINK_FFMPEG the pipe
    int is_open;
    LvFile part;       ///< LV_SINK_FFMPEG: what ffmpeg writes
    pid_t ffmpeg;      ///< 0: none runs
} LvSink;

/** What a name stands for. 0; -1 after a message: it stands for nothing that can be
 *  written, or there is no ffmpeg. The kind is LV_SINK_NONE, without a message, for an
 *  ending that is not known. */
int lv_sink_choose(LvSink *s);

/** Check that frames of that format go there, and set format and matrix for it. 0, or -1
 *  after a message. */
int lv_sink_format(LvSink *s, LinvideoParams *p);

/** Files that a video is made from, and a NULL. */
enum { LV_SINK_INPUTS = 6 };

/** Set `inputs` to those that p names, and the model. */
void lv_sink_inputs(const char *inputs[LV_SINK_INPUTS], const LinvideoParams *p,
                    const LinvideoInfo *info);

/**
 * Take all frames that c makes. Names that would be overwritten, or are among `inputs`
 * (ended by NULL), are refused before the work; a file is there whole or not at all.
 *
 * @return 0; a negative code: after a message, but for -EPIPE where who reads the stream has
 *         gone, and LINVIDEO_ERR_CANCELLED
 */
int lv_sink_run(LvSink *s, LinvideoContext *c, const char *const *inputs);

#endif /* LINVIDEO_TOOLS_SHARE_SINK_H */
