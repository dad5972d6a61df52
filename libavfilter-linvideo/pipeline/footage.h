/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "video": frames of an input video to the latents that clips begin with. Frames are
 * encoded as they come, those of one latent frame at a time, so that memory does not depend on
 * the length of clips or of the video.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_FOOTAGE_H
#define LINVIDEO_PIPELINE_FOOTAGE_H

#include "pipeline/choices.h"

typedef struct LvVideo LvVideo;

/** Whether a model makes video of video. @return 0; -EINVAL with a message */
int lv_video_check(const LvFiles *files, const LvSessionOptions *opt, const LvMsg *msg);

/**
 * Describe and plan what encodes frames: all tensors are checked, none is read.
 *
 * @param env   outlives the stage; cfg->video has the size of frames that are delivered
 * @param tile  pixels; 0: frames are encoded whole
 * @param[out] v freed with lv_video_free(); NULL on error
 * @return 0; -ENOMEM; as lv_vae_encode_new()
 */
int lv_video_new(LvVideo **v, const LvEnv *env, const LvClipShape *shape, int tile);

/** NULL is fine. */
void lv_video_free(LvVideo **v);

/** What it needs as planned. NULL: nothing. */
LvNeed lv_video_need(const LvVideo *v);

/** Read the weights, allocate. NULL is fine. @param arena device, of the caller */
int lv_video_build(LvVideo *v, void *arena);

/** Begin a clip, in place of the one that is there. NULL is fine. */
void lv_video_begin(LvVideo *v);

/**
 * Take the next frame of the clip, which is not whole: scaled to cover what is delivered of
 * frames, cut about the middle, edges repeated around it.
 *
 * @return 0; -ENOMEM; as lv_vae_encode_run()
 */
int lv_video_send(LvVideo *v, const LvImage *frame);

/** Keep what is white in a mask of frames to come, which lies as they do; NULL: keep nothing. It
 *  stays until another one comes. @return 0; -ENOMEM; -EINVAL (too narrow) */
int lv_video_mask(LvVideo *v, const LvImage *mask);

/** The video is over: repeat the last frame, of which there is one, to the clip's end. */
int lv_video_end(LvVideo *v);

/** Frames of the clip that were sent. */
int lv_video_sent(const LvVideo *v);

/** Latents [channels,F,Y,X] of the clip, once it is whole; else NULL. The stage's. */
const float *lv_video_latents(const LvVideo *v);

/** How much of them is kept: [F,Y,X], 0 to 1, the mean of what each stands for; NULL: nothing. The
 *  stage's. */
const float *lv_video_kept(const LvVideo *v);

#endif /* LINVIDEO_PIPELINE_FOOTAGE_H */
