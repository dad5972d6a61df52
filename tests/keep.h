/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The last message, kept for a test to read. For test programs of one file.
 */

#ifndef LINVIDEO_TESTS_KEEP_H
#define LINVIDEO_TESTS_KEEP_H

#include <stdio.h>

#include "base/msg.h"

static char last_line[2048];

/** Put function of an LvMsg. */
static void keep_line(void *opaque, int level, const char *line)
{
    (void)opaque;
    (void)level;
    snprintf(last_line, sizeof(last_line), "%s", line);
}

#endif /* LINVIDEO_TESTS_KEEP_H */
