/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Messages to the caller: per context, with a level, never process-wide.
 * Floor F1 (base): does not know who reads them.
 */

#ifndef LINVIDEO_BASE_MSG_H
#define LINVIDEO_BASE_MSG_H

/** Levels; the same values as enum LinvideoLogLevel. */
enum { LV_MSG_ERROR, LV_MSG_WARNING, LV_MSG_INFO, LV_MSG_VERBOSE, LV_MSG_DEBUG };

/** Where messages go. A zeroed one is silent. */
typedef struct LvMsg {
    void (*put)(void *opaque, int level, const char *line); ///< NULL: silent
    void *opaque;
    int level; ///< most detailed level that is put
} LvMsg;

/**
 * Put one line (no newline at its end; cut at 2047 bytes), made fit for a terminal by
 * lv_text_line(): names and texts of files and users may be given as they are.
 * msg may be NULL (silent).
 */
void lv_msg(const LvMsg *msg, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Put an error line and return code, so that `return lv_fail(...)` reads well. */
int lv_fail(const LvMsg *msg, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif /* LINVIDEO_BASE_MSG_H */
