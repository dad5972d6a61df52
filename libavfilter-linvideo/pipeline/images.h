/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "images": what a clip begins with, and may end with, as networks take it. Images are
 * prepared when a session is opened; they are encoded, and seen by CLIP, once, before the
 * networks are there, and leave the device.
 * Floor F5 (pipeline).
 *
 * Networks of image to video are given a condition beside the noise, Wan2.1's also CLIP's
 * features; TI2V is given the first latent frame, if there is an image.
 */

#ifndef LINVIDEO_PIPELINE_IMAGES_H
#define LINVIDEO_PIPELINE_IMAGES_H

#include "pipeline/choices.h"

typedef struct LvImages LvImages;

/** Images of a clip. */
enum { LV_IMAGE_FIRST, LV_IMAGE_LAST, LV_CLIP_IMAGES };

/** Whether a model takes the images that are given, and has those that it needs.
 *  @return 0; -EINVAL, LV_ERR_UNSUPPORTED with a message */
int lv_images_check(const LvFiles *files, const LvSessionOptions *opt, const LvMsg *msg);

/**
 * Prepare the images that have pixels and describe what encodes them: all tensors are checked,
 * none is read.
 *
 * @param env   outlives the stage
 * @param opt   checked; images are not needed afterwards
 * @param shape of the clip
 * @param[out] g freed with lv_images_free(); NULL on error, and where no image is given and clips
 *             do not continue
 * @return 0; -ENOMEM; as lv_vae_encode_new(), lv_clip_vision_new()
 */
int lv_images_new(LvImages **g, const LvEnv *env, const LvSessionOptions *opt,
                  const LvClipShape *shape);

/** NULL is fine. */
void lv_images_free(LvImages **g);

/** Prepare an image, LV_IMAGE_FIRST or LV_IMAGE_LAST, whose size alone was known; it is not
 *  needed afterwards. @return 0; -ENOMEM */
int lv_images_send(LvImages *g, int which, const LvImage *image);

/** What lv_images_run() needs at most; NULL: nothing. Nothing of it stays. */
LvNeed lv_images_need(const LvImages *g);

/** The same of lv_images_continue(), beside the networks; nothing where clips do not continue. */
LvNeed lv_images_need_beside(const LvImages *g);

/** Bytes of the host that stay. NULL: 0. */
size_t lv_images_kept(const LvImages *g);

/** Encode the images. NULL is fine. @return 0; LV_ERR_CANCELLED; -ENOMEM; errors of files and
 *  device */
int lv_images_run(LvImages *g);

/** Encode the last frame of a clip, in the size that clips are made in: the next one begins with
 *  it. What lv_images_show() and lv_images_first() give is that from then on.
 *  @param arena device, that of the networks, which do not run meanwhile @return as
 *  lv_images_run() */
int lv_images_continue(LvImages *g, const LvImage *frame, void *arena);

/** Have again what the first clip began with. NULL is fine. */
void lv_images_again(LvImages *g);

/** Give a network, which is built, what it takes beside the noise. NULL is fine. */
int lv_images_show(const LvImages *g, LvNetwork *n);

/** The first latent frame [channels,Y,X] of TI2V; NULL: none is given. The stage's. */
const float *lv_images_first(const LvImages *g);

/** 1: the networks' first latent frame is given, in some clips at least. */
int lv_images_gives_first(const LvImages *g);

#endif /* LINVIDEO_PIPELINE_IMAGES_H */
