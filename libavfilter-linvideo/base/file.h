/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A file that appears whole: written beside its place, synced, renamed.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_FILE_H
#define LINVIDEO_BASE_FILE_H

#include <stddef.h>

#include "base/msg.h"

typedef struct LvFile {
    char *path, *tmp;
    int fd;
    int error;   ///< 0, or -errno of the first write that failed
    size_t size; ///< bytes put so far
} LvFile;

/** Begin to write path, as path with ".tmp" appended. 0, -ENOMEM or -errno after a
 *  message; f needs nothing then. */
int lv_file_create(LvFile *f, const char *path, const LvMsg *msg);

/** Append bytes; an error is kept for lv_file_finish(). */
void lv_file_put(LvFile *f, const void *data, size_t size);

/** Append zeros, which take no room where files may have holes. */
void lv_file_hole(LvFile *f, size_t size);

/** End: the file is at its place, or nothing is left of it. 0, or -errno after a
 *  message. */
int lv_file_finish(LvFile *f, const LvMsg *msg);

/** End without a file: nothing is left. */
void lv_file_abandon(LvFile *f);

#endif /* LINVIDEO_BASE_FILE_H */
