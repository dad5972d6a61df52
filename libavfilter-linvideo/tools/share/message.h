/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What commands say on stderr, amounts as text, and how they end.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_MESSAGE_H
#define LINVIDEO_TOOLS_SHARE_MESSAGE_H

#include <stdio.h>

#include <linvideo/linvideo.h>

#include "base/msg.h"

/** Exit codes; a run stopped by signal n ends with 128 + n. */
enum { LV_EXIT_OK, LV_EXIT_FAILED, LV_EXIT_USAGE, LV_EXIT_STOPPED };

/** Print "linvideo: ..." and a newline to stderr. Returns code. */
int lv_tool_fail(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** The last error that the calling thread printed, without "linvideo: "; "": none since the
 *  last call.
 *  @param[out] line of at least 4096 bytes */
void lv_tool_last_error(char *line);

/** Print a line, made fit for a terminal as lv_text_line() does, and its end. */
void lv_tool_line(FILE *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** A word of a command that the user may run: in quotes where a shell would take it apart,
 *  without control characters, as lv_text_line(). Cut where buf is full. Returns buf. */
const char *lv_tool_word(char *buf, size_t size, const char *word);

/** A log callback: one line to stderr; opaque is an LvBar or NULL. */
void lv_tool_log(void *opaque, enum LinvideoLogLevel level, const char *message);

/** Errors and warnings to stderr. */
extern const LvMsg lv_tool_msg;

/** Bytes as text, "12.3 MiB", in buf. Returns buf. */
const char *lv_bytes_text(char *buf, size_t size, double bytes);

/** Frames per second as text, "24" or "24000/1001", in buf. Returns buf. */
const char *lv_rate_text(char *buf, size_t size, int num, int den);

#endif /* LINVIDEO_TOOLS_SHARE_MESSAGE_H */
