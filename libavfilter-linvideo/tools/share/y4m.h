/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Uncompressed video: YUV4MPEG2.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_Y4M_H
#define LINVIDEO_TOOLS_SHARE_Y4M_H

#include "base/file.h"
#include "tools/share/canvas.h"

/** Write the header of a YUV4MPEG2 stream (yuv420p or yuv444p). 0 or -errno. */
int lv_y4m_header(LvFile *out, const LvCanvas *p, int rate_num, int rate_den);

/** Write and flush one frame. 0 or -errno. */
int lv_y4m_frame(LvFile *out, const LvCanvas *p);

#endif /* LINVIDEO_TOOLS_SHARE_Y4M_H */
