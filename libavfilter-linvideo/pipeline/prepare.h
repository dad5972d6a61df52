/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Pictures on their way in, as Wan2.1's and Wan2.2's references prepare them: the size of the
 * clip that a picture asks for, the picture at that size, as CLIP sees it, and the mask of the
 * frames that are given.
 * Floor F5 (pipeline): knows numbers, not files or networks.
 *
 * Image to video (36 channels in): the clip has the picture's aspect ratio, and the picture is
 * stretched by a bicubic kernel that does not average and may overshoot. TI2V (Wan2.2's 5B):
 * sizes are multiples of 32, the picture covers them and is cut, by Pillow's Lanczos on bytes.
 */

#ifndef LINVIDEO_PIPELINE_PREPARE_H
#define LINVIDEO_PIPELINE_PREPARE_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"
#include "model/config.h"

enum { LV_CLIP_SIDE = 224,          ///< of the pictures that CLIP takes
       LV_IMAGE_MAX = 1 << 15,      ///< width and height of a picture
       LV_PREPARE_MAX = 1 << 28 };  ///< pixels of a picture once it is scaled

/** A picture of 8 bits: [height,width,3], red first, sRGB. */
typedef struct LvImage {
    uint8_t *rgb;      ///< NULL: the size alone is known
    int width, height; ///< 1 to LV_IMAGE_MAX; 0: there is none
} LvImage;

/** The same in floats, -1 to 1. All zero: none. */
typedef struct LvPixels {
    float *rgb;
    int width, height;
} LvPixels;

/** Free and clear; all zero is fine. */
void lv_pixels_free(LvPixels *p);

/** Bytes as floats: v / 127.5 - 1. @return 0; -ENOMEM without a message; p is to be freed */
int lv_pixels_from(LvPixels *p, const LvImage *image);

/**
 * Size of a clip of image to video: about `area` pixels with the picture's aspect ratio,
 * multiples of 16.
 *
 * @param image width, height; each 1 to LV_IMAGE_MAX
 * @param[out] size width, height
 * @return 0; -EINVAL: the picture is too narrow for so few pixels (with a message)
 */
int lv_prepare_size(int size[2], const int image[2], double area, const LvMsg *msg);

/** The same of TI2V: multiples of 32. */
int lv_prepare_size_ti2v(int size[2], const int image[2], double area, const LvMsg *msg);

/**
 * Stretch to size (width, height) by the bicubic kernel of a = -0.75, not averaging where it
 * becomes smaller, not clamped.
 *
 * @param rgb [height,width,3]
 * @return 0; -ENOMEM without a message
 */
int lv_prepare_stretch(float *rgb, const int size[2], const LvPixels *p);

/** Pillow's Lanczos to image `to`, whose memory and size are the caller's. @return 0; -ENOMEM
 *  without a message */
int lv_prepare_lanczos(const LvImage *to, const LvImage *from);

/** The middle of a picture that covers `to` when it is scaled by Lanczos, both ways alike, as
 *  TI2V has it. @return 0; -EINVAL after a message: too narrow, that would be more than
 *  LV_PREPARE_MAX pixels; -ENOMEM without a message */
int lv_prepare_cover(const LvImage *to, const LvImage *from, const LvMsg *msg);

/** The middle of a picture in the shape of size (width, height), not scaled.
 *  @param[out] cut memory is the caller's to free() @return 0; -ENOMEM without a message */
int lv_prepare_shape(LvImage *cut, const LvImage *image, const int size[2]);

/**
 * The last picture of a clip, where it has another size than the first (width, height), as the
 * reference cuts it: about its middle, to a size that fits the first, with mid grey where it is
 * smaller. The reference mistakes width for height there, and so does this.
 *
 * @param[out] cut freed by the caller; a copy where the sizes are equal
 * @return 0; -EINVAL after a message: too narrow, that would be more than LV_PREPARE_MAX
 *         pixels; -ENOMEM without a message
 */
int lv_prepare_last(LvPixels *cut, const LvPixels *last, const int first[2], const LvMsg *msg);

/** What CLIP's image tower takes: stretched to LV_CLIP_SIDE, normalised by CLIP's mean and
 *  standard deviation. @param rgb [LV_CLIP_SIDE,LV_CLIP_SIDE,3] @return 0; -ENOMEM */
int lv_prepare_clip(float *rgb, const LvPixels *p);

/**
 * What image to video is given beside the noise: mask and image latents.
 *
 * @param y    [LV_MASK_CHANNELS + channels,F,Y,X]
 * @param z    [channels,F,Y,X], normalised: the clip of the given frames, mid grey elsewhere
 * @param size F, Y, X
 * @param last 1: the last frame is given too
 */
void lv_prepare_condition(float *y, const float *z, int channels, const int size[3], int last);

/** The mask alone: mask[channel,f], the same for all places. */
void lv_prepare_mask(float *mask, int frames, int last);

#endif /* LINVIDEO_PIPELINE_PREPARE_H */
