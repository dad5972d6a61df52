/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures as PNG.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_PNG_H
#define LINVIDEO_TOOLS_SHARE_PNG_H

#include "base/file.h"
#include "tools/share/canvas.h"

/** A note kept in a PNG. */
typedef struct LvPngText {
    const char *key;  ///< 1 to 79 letters, as "Description"
    const char *text; ///< UTF-8
} LvPngText;

/**
 * Write a picture in LINVIDEO_RGB24 as a PNG, 8 bits a channel.
 *
 * @param text notes, ended by a key of NULL; may be NULL
 * @return 0 or -errno: -ENOMEM, or out->error
 */
int lv_png_write(LvFile *out, const LvCanvas *p, const LvPngText *text);

#endif /* LINVIDEO_TOOLS_SHARE_PNG_H */
