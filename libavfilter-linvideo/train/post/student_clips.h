/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Clips of a student while it learns.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_STUDENT_CLIPS_H
#define LINVIDEO_TRAIN_POST_STUDENT_CLIPS_H

#include "train/post/learn.h"
#include "train/post/trajectory.h"

/** How a student's clips are sampled. */
typedef struct LvSampling {
    const LvNets *nets;      ///< whose student it is
    const LvTrajectories *t; ///< texts
    const LvFrozen *model;   ///< decoder and size of clips
    const float *sigma;      ///< [steps]; behind the last is a 0
    int steps;
    float guidance;          ///< of Euler steps; 0: each step but the last ends in new noise,
                             ///< without guidance, as few-step models sample
    uint64_t seed;           ///< of noise, which is that of `generate` with this seed
} LvSampling;

/** Pixels and frames of a clip. */
typedef struct LvSampleSize {
    int width, height, frames;
} LvSampleSize;

/** Size of the clips. 0; -ENOMEM; as lv_decode_new() */
int lv_sample_size(LvSampleSize *size, const LvSampling *s);

/**
 * Sample clips of the first prompts, by the weights as they are, not their average.
 *
 * @param nb   of them, not above the prompts
 * @param put  called for each in order with [frames,height,width,3], 0 to 1 when in range
 * @return 0; -ENOMEM; LV_ERR_MODEL (values that are not finite)
 */
int lv_sample_clips(const LvSampling *s, int nb,
                    void (*put)(void *opaque, int clip, const float *rgb), void *opaque);

#endif /* LINVIDEO_TRAIN_POST_STUDENT_CLIPS_H */
