/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A session: one model, a prompt, a stream of frames. It opens files and devices, makes the
 * stages (encode.h, denoise.h, decode.h, delivery.h), places them in memory and keeps the clock of
 * clips. Sizes are known after opening, memory is allocated by lv_session_load().
 * Floor F5 (pipeline): knows networks and samplers; not options, names of models, pixel formats.
 */

#ifndef LINVIDEO_PIPELINE_SESSION_H
#define LINVIDEO_PIPELINE_SESSION_H

#include <stdio.h>

#include "base/planes.h"
#include "pipeline/choices.h"

typedef struct LvSession LvSession;

/** What was chosen and measured. Pointers are the session's. */
typedef struct LvSessionInfo {
    const LvModelConfig *cfg;    ///< .video as chosen
    const LvClipShape *shape;
    const LvSchedule *schedule;
    const char *about;           ///< the devices
    LvDtype dtype;               ///< of activations between matmuls
    const char *precision;       ///< of matmuls: "f32", "bf16", "int8", "fp8"
    size_t weight_bytes, work_bytes; ///< planned: weights, and all else
    size_t streamed_bytes;       ///< of the host, for weights that are offloaded
    int tile;                    ///< pixels of a side that decoding is cut to; 0: whole frames
    double seconds[LV_STAGE_NB]; ///< spent so far
} LvSessionInfo;

/** A frame of a clip. */
typedef struct LvShot {
    const float *rgb;   ///< [rows,cols,3], 0 to 1 when in range; until the next one. For
                        ///< lv_session_deliver(), which knows whether it is the host's
    int64_t clip;       ///< number of its clip
    const char *prompt; ///< of its clip, or its time; until the next one
} LvShot;

/** Open the model, check everything, plan; no matrix of the weights is read.
 *  @param[out] s freed with lv_session_close(); NULL on error
 *  @param msg    outlives the session
 *  @return 0; -ENOENT and others of the file; -EINVAL (prompt, size); -ENOMEM with
 *          "needs ..., ... available"; LV_ERR_MODEL, _DEVICE, _UNSUPPORTED */
int lv_session_open(LvSession **s, const LvSessionOptions *opt, const LvMsg *msg);

/** Free *s, set it to NULL; NULL is fine. A child of fork() leaves what a GPU has to its parent. */
void lv_session_close(LvSession **s);

void lv_session_info(const LvSession *s, LvSessionInfo *info);

/** Bytes that the first device has free now. */
size_t lv_session_free_bytes(const LvSession *s);

/** What each stage takes for the first clip of a prompt at rates of the first device: loading
 *  all weights; the text of all branches, as if none were kept; the sampler's steps; decoding.
 *  @param[out] cost by stage @return 0, -ENOMEM, as lv_encode_cost() */
int lv_session_cost(LvSession *s, const LvRates *rates, LvCost cost[LV_STAGE_NB]);

/** Encode the prompt, then read and pack all weights; 0 at once when that is done.
 *  @return 0, LV_ERR_CANCELLED, or an error */
int lv_session_load(LvSession *s);

/** Number of clips that the first `frames` frames take; of a causal network the number of its
 *  blocks. */
int64_t lv_session_clips(const LvSession *s, int64_t frames);

/** Frames a second, num/den, by which prompts over time are placed; before the first frame. */
void lv_session_rate(LvSession *s, int num, int den);

/** Take another prompt from the next clip on. 0, or -EINVAL, -ENOMEM (the old one stays). */
int lv_session_set_prompt(LvSession *s, const char *prompt);

/** Begin the stream again, with another prompt (not empty) and seed, once it is loaded; also after
 *  a cancelled call. A prompt that stays is not encoded again. negative: NULL is the model's own.
 *  @return 0; -EINVAL, -ENOMEM (the stream goes on as it was) */
int lv_session_restart(LvSession *s, const char *prompt, const char *negative, uint64_t seed);

/** Give an image, LV_IMAGE_FIRST or LV_IMAGE_LAST, whose size alone was known when the session
 *  was opened; before it is loaded. @return 0; -ENOMEM */
int lv_session_send_image(LvSession *s, int which, const LvImage *image);

/** Of clips that are made from a video: 1: frames of it are to come before the next frame can
 *  be made. */
int lv_session_wants(const LvSession *s);

/** Give the next frame of the video, which is wanted, once the session is loaded; NULL: it is
 *  over, within a clip. @return 0, LV_ERR_CANCELLED, or an error */
int lv_session_send(LvSession *s, const LvImage *frame);

/** Give what of frames of the video to come is kept, once the session is loaded: see
 *  lv_video_mask(). */
int lv_session_send_mask(LvSession *s, const LvImage *mask);

/** Make the next frame, once it is loaded and wants none. 0, LV_ERR_CANCELLED, or an error. */
int lv_session_frame(LvSession *s, LvShot *shot);

/** Deliver the frame of a shot. @return 0 or an error of the device */
int lv_session_deliver(LvSession *s, const LvPlanes *out, const LvShot *shot);

/** Stop what runs within a layer's time; from any thread. */
void lv_session_cancel(LvSession *s);

/** Print programs by name: "text" (the encoder and the network's text side), "dit", "decode".
 *  @return 0; -EINVAL: there is no such */
int lv_session_dump(LvSession *s, const char *name, FILE *to);

#endif /* LINVIDEO_PIPELINE_SESSION_H */
