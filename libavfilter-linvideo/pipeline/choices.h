/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What is made, of what was asked and what the model was made for. Differences between the
 * two are told of, each by one line.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_CHOICES_H
#define LINVIDEO_PIPELINE_CHOICES_H

#include "pipeline/denoise.h"
#include "pipeline/options.h"

/** Sizes of a clip. */
typedef struct LvClipShape {
    int size[3];    ///< of the latents that a network sees: F, Y, X
    int length;     ///< latents of a clip: size[0], or more that it sees in windows
    int history;    ///< of LvDecodeShape
    LvCausal causal; ///< block: that of size[0], which follows others; 0: clips stand alone
    int rows, cols; ///< of frames made
    int scaled;     ///< 1: delivered through a scaler; 0: cut
    int continues;  ///< 1: a clip begins with the last frame of the one before, which it does not
                    ///< give again
} LvClipShape;

/** What a latent stands for, of the decoder. */
typedef struct LvLatentShape {
    int scale;    ///< pixels along an axis
    int frames; ///< of one that is not a clip's first
} LvLatentShape;

/** What lv_choose_precision() takes, of a value of enum LinvideoPrecision. */
int lv_precision_type(int precision);

/** Frames of a duration in microseconds, rounded up, at num / den a second; the products fit within
 *  what options allow. */
uint64_t lv_frames_of(int64_t duration, int num, int den);

/** Types that matmuls are of: sets env->dtype and matmul. @return 0; LV_ERR_UNSUPPORTED: the
 *  device has none of these */
int lv_choose_precision(LvEnv *env, int precision);

/** What was chosen: "f32", "bf16", "int8" or "fp8". */
const char *lv_precision_name(const LvEnv *env);

/** The schedule; steps, shift and guidance of cfg->video become those chosen.
 *  @return 0; LV_ERR_MODEL: the model names an unknown sampler; -EINVAL: guidance is for no step */
int lv_choose_schedule(LvSchedule *s, LvModelConfig *cfg, const LvSessionOptions *opt,
                       const LvFiles *files, const LvMsg *msg);

/** The sizes: those asked for, else of the shape of the image or video that is
 *  given; width, height and
 *  frames of cfg->video become those delivered. @return 0; -EINVAL: too many tokens, an image
 *  that is too narrow, a video that is too long for windows; LV_ERR_UNSUPPORTED: scaled in memory
 *  of a device, windows of what has none */
int lv_choose_shape(LvClipShape *shape, LvModelConfig *cfg, const LvSessionOptions *opt,
                    LvLatentShape latent, const LvMsg *msg);

#endif /* LINVIDEO_PIPELINE_CHOICES_H */
