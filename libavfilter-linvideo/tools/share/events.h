/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What programs read of a run: a JSON object a line on standard output. "event" is one of
 *
 *     begin     model, device, precision, width, height, rate, frames, seed, steps
 *     progress  stage, clip, clips, step, steps, fraction (of the clip), elapsed (seconds)
 *     warning   message
 *     done      output, frames, width, height, rate, seed, model, seconds (by stage)
 *     failed    code (the exit code), message (the last error; also on standard error)
 *
 * The last one is done or failed. Programs pass over members that they do not know.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_EVENTS_H
#define LINVIDEO_TOOLS_SHARE_EVENTS_H

#include <linvideo/linvideo.h>

#include "tools/share/sink.h"

struct json_t;

/** State of the callbacks; their opaque pointer. step is -1 at first. */
typedef struct LvEvents {
    int stage, step;  ///< of the last progress
    double last;      ///< when it was said
    int error;        ///< 0, or -errno of the first event that could not be written; those
                      ///< after it are not tried
} LvEvents;

/** Callbacks of a context. Progress is said at each step, and at most ten times a second
 *  within one. */
void lv_events_log(void *opaque, enum LinvideoLogLevel level, const char *message);
void lv_events_progress(void *opaque, const LinvideoProgress *p);

void lv_events_begin(LvEvents *e, const LinvideoContext *c);
void lv_events_done(LvEvents *e, const LinvideoContext *c, const LvSink *s);
void lv_events_failed(LvEvents *e, int code);

/** The exit code of a run of that code: another one, after a message, when events got lost. */
int lv_events_end(const LvEvents *e, int code);

/** What was made, as an object with the members of done. @return new; NULL: no memory */
struct json_t *lv_events_result(const LinvideoContext *c, const LvSink *s);

#endif /* LINVIDEO_TOOLS_SHARE_EVENTS_H */
