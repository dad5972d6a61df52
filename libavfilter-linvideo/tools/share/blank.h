/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Black images, for commands that open a model to tell of it.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_BLANK_H
#define LINVIDEO_TOOLS_SHARE_BLANK_H

#include <linvideo/linvideo.h>

/** Give p so many images of 16:9: 0, the first one, or the last one too. */
void lv_tool_blank(LinvideoParams *p, int nb);

#endif /* LINVIDEO_TOOLS_SHARE_BLANK_H */
