/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A model with another network, as users take it.
 * Floor "train/post".
 */

#ifndef LINVIDEO_TRAIN_POST_PUBLISH_H
#define LINVIDEO_TRAIN_POST_PUBLISH_H

#include "model/params.h"
#include "train/post/frozen.h"

/** What a published model has of its own. */
typedef struct LvNewNetwork {
    const LvDitConfig *dit;  ///< kinds of layers, and maps
    const LvParams *params;  ///< "dit.*"
    int only;                ///< enum LvOnly: all else is as it began
    const char *sampler;     ///< JSON of its section; NULL: the old one's
    const char *about;       ///< how it was made, JSON; goes to...
    const char *section;     ///< ...this section, or "linvideo.SECTION" of the network's file
} LvNewNetwork;

enum { LV_PUBLISH_PATH = 4096 };

/** Whether a model of this kind can be published as `path`, and the path of the network's file
 *  that is written beside it; "" of a bundle. 0 or -EINVAL: a manifest's ends
 *  in .json, and names files in UTF-8 */
int lv_publish_network(char network[LV_PUBLISH_PATH], const LvFrozen *b, const char *path);

/**
 * Publish b with another network, whose average (LV_SLAB_EMA) is taken. Matrices become f16;
 * of MIXED layers nothing is written but softmax, and maps only of LINEAR ones.
 *
 * Of a bundle a bundle is made. Of a manifest NAME.json a manifest, which names b's other
 * files by whole paths, and NAME.safetensors, the network alone in Wan's own layout.
 *
 * @return 0, -errno, -ENOMEM, as lv_publish_network()
 */
int lv_publish(const LvFrozen *b, const char *path, const LvNewNetwork *n);

#endif /* LINVIDEO_TRAIN_POST_PUBLISH_H */
