/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tools/share/progress.h"

static _Thread_local char last_error[4096];

static void print_error(const char *line)
{
    fprintf(stderr, "linvideo: %s\n", line);
    snprintf(last_error, sizeof(last_error), "%s", line);
}

void lv_tool_last_error(char *line)
{
    strcpy(line, last_error);
    *last_error = 0;
}

int lv_tool_fail(int code, const char *fmt, ...)
{
    char text[4096], line[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    print_error(lv_text_line(line, sizeof(line), text));
    return code;
}

void lv_tool_line(FILE *to, const char *fmt, ...)
{
    char text[4096], line[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(to, "%s\n", lv_text_line(line, sizeof(line), text));
}

const char *lv_tool_word(char *buf, size_t size, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_=./:,+@%";
    char line[4096];
    const char *s = lv_text_line(line, sizeof(line), word);
    size_t n = 0;

    if (*s && !s[strspn(s, plain)]) {
        snprintf(buf, size, "%s", s);
        return buf;
    }
    buf[n++] = '\'';
    for (; *s && n + 6 < size; s++) {
        buf[n++] = *s;
        if (*s == '\'')
            n += (size_t)snprintf(buf + n, size - n, "\\''");
    }
    snprintf(buf + n, size - n, "'");
    return buf;
}

void lv_tool_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    flockfile(stderr);
    if (opaque)
        lv_bar_clear(opaque);
    if (level == LINVIDEO_LOG_ERROR)
        print_error(message);
    else
        fprintf(stderr, "linvideo: %s%s\n",
                level == LINVIDEO_LOG_WARNING ? "warning: " : "", message);
    funlockfile(stderr);
}

static void put_message(void *opaque, int level, const char *line)
{
    lv_tool_log(opaque, level, line);
}

const LvMsg lv_tool_msg = { .put = put_message, .level = LV_MSG_WARNING };

const char *lv_bytes_text(char *buf, size_t size, double bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    int i = 0;

    while (bytes >= 1024 && i < 4) {
        bytes /= 1024;
        i++;
    }
    snprintf(buf, size, "%.*f %s", i > 0 && bytes < 100, bytes, units[i]);
    return buf;
}

const char *lv_rate_text(char *buf, size_t size, int num, int den)
{
    if (den == 1)
        snprintf(buf, size, "%d", num);
    else
        snprintf(buf, size, "%d/%d", num, den);
    return buf;
}
