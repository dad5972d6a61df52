/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

static void put(const LvMsg *msg, int level, const char *fmt, va_list args)
{
    char text[2048], line[2048];

    if (!msg || !msg->put || level > msg->level)
        return;
    vsnprintf(text, sizeof(text), fmt, args);
    msg->put(msg->opaque, level, lv_text_line(line, sizeof(line), text));
}

void lv_msg(const LvMsg *msg, int level, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put(msg, level, fmt, args);
    va_end(args);
}

int lv_fail(const LvMsg *msg, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put(msg, LV_MSG_ERROR, fmt, args);
    va_end(args);
    return code;
}
