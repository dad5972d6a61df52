/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a session is opened with.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_OPTIONS_H
#define LINVIDEO_PIPELINE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "model/lora.h"
#include "pipeline/cache.h"
#include "pipeline/prepare.h"
#include "pipeline/sample.h"

/** State of the work; as LinvideoProgress. */
typedef struct LvProgress {
    enum LvStage stage;
    int64_t clip;
    int step, steps, layer, layers;
    double fraction; ///< of the clip's work, 0 to 1
    double elapsed;  ///< seconds since the clip was begun
} LvProgress;

/** Small frames of a clip that is sampled; as LinvideoPreview. */
typedef struct LvPreview {
    int64_t clip;
    int step, steps; ///< step: done
    int size[3];     ///< of the latents: F, Y, X
    const uint8_t *rgb; ///< [F,Y,X,3]
} LvPreview;

/** The same values as enum LinvideoJoin. */
enum LvJoin { LV_JOIN_CUT, LV_JOIN_WINDOW, LV_JOIN_CONTINUE, LV_JOIN_AUTO };

/** Frames and duration of a video that has no end; the same as LINVIDEO_ENDLESS. */
enum { LV_ENDLESS = -2 };

/** All values are in range already. Strings, images and this struct need to live during
 *  lv_session_open() only. */
typedef struct LvSessionOptions {
    const char *model;   ///< path of a bundle or a manifest
    const char *prompt;  ///< not empty
    const char *negative; ///< NULL: the model's own
    LvImage image, last_image; ///< first and last frame; width 0: not given; rgb NULL: sent by
                         ///< lv_session_send_image(), in this size
    int video;           ///< 1: clips are made from frames that are sent
    int video_size[2];   ///< width and height of these; frames have their shape
    float strength;      ///< of noise, above 0, at most 1; with video
    int width, height;   ///< to be delivered; 0: the model's own, in the shape of image or video
    int clip_frames;     ///< 0: the model's own
    enum LvJoin join;    ///< WINDOW: the whole video is one clip, which the network sees in windows
                         ///< of clip_frames
    int causal, causal_window; ///< block and window of LvCausal; 0: the model's own
    int causal_sink;     ///< sink of LvCausal; -1: the model's own
    int loop;            ///< 1: as WINDOW, and its first frame follows the last
    int64_t frames, duration; ///< of the whole, duration in microseconds; -1: not given; duration
                         ///< LV_ENDLESS: the video has no end
    int rate_num, rate_den; ///< 0: the model's
    int native;          ///< 1: made as asked, whatever the model was made for
    uint64_t seed;
    int steps;           ///< 0: the model's
    float guidance, shift; ///< 0: the model's
    enum LvSamplerKind sampler; ///< AUTO: the model's
    float guidance_start, guidance_end; ///< shares of the steps that guidance is used from, and
                         ///< to; end 0: 1
    float step_cache;    ///< limit of LvStepCache; 0: off
    float nag, nag_tau, nag_alpha; ///< of LvNag; tau, alpha 0: the usual ones
    int precision;       ///< LV_F32, LV_BF16; LV_I8: that in the network's blocks; LV_NONE:
                         ///< what is fast here
    const char *device;
    int on_device;       ///< 1: frames stay in memory of the device
    void *context, *stream; ///< see LvDeviceOptions
    const char *isa;     ///< ISA kernels of the CPU; NULL: the best
    int threads;
    size_t memory_limit; ///< bytes of the device; 0: what it has free
    int tile;            ///< pixels; 0: frames are decoded whole, where they fit
    enum LvCacheMode cache;
    const LvLoraFile *loras; ///< [nb_loras]
    int nb_loras;
    int strict;              ///< as of lv_files_open()
    void (*progress)(void *opaque, const LvProgress *p); ///< may be NULL
    void (*preview)(void *opaque, const LvPreview *p); ///< of every step; may be NULL
    void *opaque;
} LvSessionOptions;

#endif /* LINVIDEO_PIPELINE_OPTIONS_H */
