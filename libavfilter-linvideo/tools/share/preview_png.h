/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * An image of the clip that is sampled, to look at while it is.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_PREVIEW_PNG_H
#define LINVIDEO_TOOLS_SHARE_PREVIEW_PNG_H

#include <linvideo/linvideo.h>

/** Pixels of a side that a latent becomes. */
enum { LV_PREVIEW_ZOOM = 4 };

typedef struct LvPreviewFile {
    const char *path; ///< a PNG; NULL: none is asked for
    int error;        ///< 0, or -errno of the first one that could not be written, after a message;
                      ///< those after it are not tried
} LvPreviewFile;

/** Whether a PNG can be written there, before any work. `output` is that of the video.
 *  @return 0, or -errno after a message: -EINVAL for a name of another kind */
int lv_preview_check(const LvPreviewFile *f, int overwrite, const char *output);

/** Write the frames side by side in rows, as a PNG that takes the place of the last one at
 *  once: who looks at it always finds a whole one. */
void lv_preview_write(LvPreviewFile *f, const LinvideoPreview *p);

#endif /* LINVIDEO_TOOLS_SHARE_PREVIEW_PNG_H */
