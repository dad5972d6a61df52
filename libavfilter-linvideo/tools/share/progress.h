/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Progress of a clip on stderr.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_PROGRESS_H
#define LINVIDEO_TOOLS_SHARE_PROGRESS_H

#include <linvideo/linvideo.h>

/** Progress on stderr: a bar on a terminal, else a line a second at most. */
typedef struct LvBar {
    int terminal;  ///< stderr is one
    int shown;     ///< a bar stands on the last line
    double start;  ///< seconds, when the first report came; 0 before
    double last;   ///< when something was printed
} LvBar;

void lv_bar_init(LvBar *p);

/** Show what s says; opaque is an LvBar. A progress callback. */
void lv_bar_show(void *opaque, const LinvideoProgress *s);

/** Take the bar away. */
void lv_bar_clear(LvBar *p);

#endif /* LINVIDEO_TOOLS_SHARE_PROGRESS_H */
