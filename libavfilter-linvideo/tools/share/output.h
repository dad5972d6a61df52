/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Outputs that a user names.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_OUTPUT_H
#define LINVIDEO_TOOLS_SHARE_OUTPUT_H

#include "base/file.h"

/**
 * What all commands keep to with an output that a user names, before the work whose result
 * it is to hold: a file that is there is refused without -y (`overwrite`), a folder and a
 * place where nothing can be written always. Standard output, pipes and devices pass.
 *
 * @return 0, -EEXIST, -EISDIR or another -errno after a message
 */
int lv_tool_may_write(const char *path, int overwrite);

/** The first half of it: -EEXIST after a message, or 0. */
int lv_tool_is_free(const char *path, int overwrite);

/** Refuse an output that is the same file as an input (NULL: none), -y or not. 0 or
 *  -EINVAL after a message. */
int lv_tool_not_input(const char *path, const char *input);

/** lv_tool_may_write() for a folder of charts (NULL: none), which may be made: one that is
 *  there has to be empty without -y. */
int lv_tool_may_fill(const char *folder, int overwrite);

/** lv_file_finish(), silent when the reader of a pipe has gone. */
int lv_tool_finish(LvFile *f);

struct json_t;

/** Write numbers as JSON to a file, or to standard output when path is "-", and free them.
 *  @param root NULL: it could not be made @return 0 or -errno after a message */
int lv_tool_json(struct json_t *root, const char *path);

/** Whether a name of a file has an ending, in capitals or not. */
int lv_tool_ends_with(const char *name, const char *end);

#endif /* LINVIDEO_TOOLS_SHARE_OUTPUT_H */
