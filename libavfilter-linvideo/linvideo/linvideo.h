/*
 * linvideo: text to video as a library
 *
 * This library is free software; you can redistribute it and/or
 * modify it under the terms of the GNU Lesser General Public
 * License as published by the Free Software Foundation; either
 * version 2.1 of the License, or (at your option) any later version.
 *
 * It is distributed in the hope that it will be useful, but WITHOUT ANY
 * WARRANTY; see the file LICENSE for the terms.
 */

/**
 * @file
 * The whole public API of liblinvideo.
 *
 * A context turns one prompt into a stream of frames. Opening is cheap (the
 * model file's header is read and checked, memory is planned); the weights are
 * loaded by the first linvideo_next_frame(). Frames come as they are decoded.
 *
 * @code
 * LinvideoParams p;
 * LinvideoContext *c = NULL;
 * LinvideoInfo info;
 * LinvideoFrame f = { 0 };
 * int ret;
 *
 * linvideo_params_default(&p);
 * p.prompt = "a red circle bouncing on a blue background";
 * p.log    = my_log;                          // optional
 * if ((ret = linvideo_open(&c, &p)) < 0)      // one line went to my_log
 *     return ret;
 * linvideo_info(c, &info);                    // size, rate, frames, seed
 * my_allocate(f.data, f.stride, info.width, info.height);   // yuv420p
 * while (!(ret = linvideo_next_frame(c, &f)))
 *     my_write(&f);
 * linvideo_close(&c);
 * return ret == LINVIDEO_EOF ? 0 : ret;
 * @endcode
 *
 * Threads: a context is used by one thread at a time; only linvideo_cancel()
 * may be called from another. Different contexts are independent of each other.
 * The library has no global state, never exits, aborts or prints.
 *
 * fork(): a child may use a context that computes on the CPU; it then has one thread and
 * gives the same frames. A context of a GPU it may only close.
 *
 * Locale: numbers are read and printed with a decimal point in every locale. Callbacks
 * are called in the locale of the function's caller.
 *
 * Errors: every function that can fail returns 0 or a negative code, after
 * exactly one message of level LINVIDEO_LOG_ERROR to the log callback. The end of
 * the video, a cancelled call, -EAGAIN, and calls after an error that ended the
 * context give no message. NULL for an argument gives -EINVAL, silently if there is
 * neither a context nor a callback; void functions ignore NULL.
 */

#ifndef LINVIDEO_LINVIDEO_H
#define LINVIDEO_LINVIDEO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LINVIDEO_VERSION_MAJOR 0
#define LINVIDEO_VERSION_MINOR 1
#define LINVIDEO_VERSION_MICRO 0
#define LINVIDEO_VERSION_INT                                                   \
    (LINVIDEO_VERSION_MAJOR << 16 | LINVIDEO_VERSION_MINOR << 8 |              \
     LINVIDEO_VERSION_MICRO)

#ifndef LINVIDEO_API
#if defined(__GNUC__)
#define LINVIDEO_API __attribute__((visibility("default")))
#else
#define LINVIDEO_API
#endif
#endif

/**
 * Return codes below zero. System causes are -errno, unchanged: -ENOMEM (too
 * little memory), -EINVAL (bad option or prompt), -ENOENT (no such model).
 */
enum {
    LINVIDEO_EOF             = -0x4C560001, ///< all frames were delivered
    LINVIDEO_ERR_MODEL       = -0x4C560002, ///< model file malformed or wrong
    LINVIDEO_ERR_DEVICE      = -0x4C560003, ///< device missing or failed
    LINVIDEO_ERR_UNSUPPORTED = -0x4C560004, ///< valid, but not supported here
    LINVIDEO_ERR_CANCELLED   = -0x4C560005, ///< stopped by linvideo_cancel()
};

enum LinvideoLogLevel {
    LINVIDEO_LOG_ERROR,   ///< the call fails
    LINVIDEO_LOG_WARNING, ///< something is ignored or guessed; work continues
    LINVIDEO_LOG_INFO,    ///< what a user should see
    LINVIDEO_LOG_VERBOSE, ///< plans, sizes, times of every stage
    LINVIDEO_LOG_DEBUG,   ///< the rest
};

enum LinvideoFormat {
    LINVIDEO_YUV420P, ///< 3 planes, limited range, centre-left chroma
    LINVIDEO_YUV444P, ///< 3 planes, limited range
    LINVIDEO_GBRP,    ///< 3 planes, full range, in the order G, B, R
    LINVIDEO_RGB24,   ///< 1 plane, full range, R G B interleaved
    LINVIDEO_NV12,    ///< 2 planes, as YUV420P, with Cb Cr interleaved
};

/** How RGB becomes YUV; not used for GBRP and RGB24. Colours are right only if the reader
 *  assumes the same matrix: tag the frames, or choose what most programs assume for
 *  untagged ones, BT.601. */
enum LinvideoMatrix {
    LINVIDEO_MATRIX_AUTO,  ///< BT.709
    LINVIDEO_MATRIX_BT709,
    LINVIDEO_MATRIX_BT601, ///< SMPTE 170M in the terms of FFmpeg
};

enum LinvideoSampler {
    LINVIDEO_SAMPLER_AUTO,    ///< the model's
    LINVIDEO_SAMPLER_EULER,   ///< deterministic, first order
    LINVIDEO_SAMPLER_UNIPC,   ///< deterministic, second order (Wan's own)
    LINVIDEO_SAMPLER_RENOISE, ///< few-step models: fresh noise at every step
    LINVIDEO_SAMPLER_DPMPP,   ///< deterministic, second order
    LINVIDEO_SAMPLER_CAUSVID, ///< as RENOISE, at CausVid's nine levels
    LINVIDEO_SAMPLER_RCM,     ///< as RENOISE, at rCM's one to four levels
    LINVIDEO_SAMPLER_CAUSVID_CAUSAL, ///< as RENOISE, at the three levels of CausVid's
                              ///< causal network
};

enum LinvideoPrecision {
    LINVIDEO_PRECISION_AUTO, ///< bf16 where the CPU has it, f32 elsewhere
    LINVIDEO_PRECISION_F32,
    LINVIDEO_PRECISION_BF16, ///< bf16 matmuls, f32 accumulation and residual
    LINVIDEO_PRECISION_INT8, ///< as AUTO, but int8 matmuls in the network's blocks: faster,
                             ///< half the memory, an error of about 1 % in each. CPUs with
                             ///< AVX-512 VNNI
    LINVIDEO_PRECISION_FP8,  ///< as INT8 with matmuls of e4m3: an error of about 4 % in each.
                             ///< GPUs of compute capability 8.9 or more; on 9.0 softmax
                             ///< attention with heads of 128 too
};

/** What clips begin with. */
enum LinvideoMode {
    LINVIDEO_MODE_TEXT,  ///< noise; and images, where they are given
    LINVIDEO_MODE_VIDEO, ///< frames of a video, with noise
};

/** How a video becomes longer than a clip. */
enum LinvideoJoin {
    LINVIDEO_JOIN_CUT,    ///< clips follow one another
    LINVIDEO_JOIN_WINDOW, ///< it is sampled as a whole, which the network sees in windows of
                          ///< a clip's length that overlap and move from step to step
    LINVIDEO_JOIN_CONTINUE, ///< each clip begins with the last frame of the one before, which
                          ///< it does not show again; for models that take an image
    LINVIDEO_JOIN_AUTO,   ///< what suits the model and the length when it is opened, which
                          ///< the log says: CONTINUE with an image; WINDOW for up to four
                          ///< clips of a model whose clips are as long as Wan's; else CUT
};

/** LinvideoParams.duration of a video without an end: frames come until the caller stops. In
 *  memory that does not grow. */
#define LINVIDEO_ENDLESS (-2)

enum LinvideoStage {
    LINVIDEO_STAGE_LOAD,    ///< weights are read and packed
    LINVIDEO_STAGE_TEXT,    ///< the prompt is encoded, images and frames of a video are
    LINVIDEO_STAGE_DENOISE, ///< sampling; step and layer count
    LINVIDEO_STAGE_DECODE,  ///< latents to frames; step counts latent frames
};

/** State of the work, as handed to the progress callback. */
typedef struct LinvideoProgress {
    enum LinvideoStage stage;
    const char *stage_name; ///< "loading", "text", "denoising", "decoding"
    int64_t clip, clips;    ///< current clip (from 0), number of clips; 0: not known
    int step, steps;        ///< done and all in this stage
    int layer, layers;      ///< DiT layer within the step; 0, 0 elsewhere
    double fraction;        ///< of this clip's work that is done, 0 to 1
    double elapsed;         ///< seconds since the clip began
} LinvideoProgress;

/**
 * Small frames of a clip that is sampled, as handed to the preview callback: what the step says
 * that the clip will be, a pixel for each latent and a frame for each latent frame, before
 * frames are cropped or scaled. Their colours are near those of the decoder, their edges are not
 * there: a linear map makes them, for the latents of Wan2.1 and Wan2.2 a published one, for others
 * one that is fitted to the decoder when the weights are loaded.
 */
typedef struct LinvideoPreview {
    int64_t clip;          ///< from 0
    int step, steps;       ///< steps done, from 1, and all of a clip
    int width, height, frames;
    const uint8_t *data;   ///< frames one after another, rows of R G B without gaps; until
                           ///< the callback returns
} LinvideoPreview;

/** Whether the text features of a prompt are kept on disk for the next run, in
 *  $XDG_CACHE_HOME/linvideo (or ~/.cache/linvideo). */
enum LinvideoCache {
    LINVIDEO_CACHE_AUTO, ///< if the text encoder is larger than 256 MiB
    LINVIDEO_CACHE_OFF,
    LINVIDEO_CACHE_ON
};

/**
 * How to deliver frames in CUDA memory; zero-initialise for defaults. Frames are made on
 * the device of the context, which must outlive the LinvideoContext; without one, in the
 * primary context of LinvideoParams.device. On return from a function of this library that
 * context is current in the calling thread.
 */
typedef struct LinvideoCuda {
    void *context; ///< CUcontext; NULL: the primary one
    void *stream;  ///< CUstream of that context; NULL: its default stream. A frame is
                   ///< written after the earlier work on this stream
} LinvideoCuda;

/** An image of the caller's: rows of R G B, 8 bits each, sRGB. */
typedef struct LinvideoImage {
    const uint8_t *data; ///< of the upper left pixel; NULL: pixels of this size are sent by
                         ///< linvideo_send()
    ptrdiff_t stride;    ///< bytes from row to row; may be negative
    int width, height;   ///< 1 to 16384 each, at most 67108864 pixels
} LinvideoImage;

/**
 * What to make. Fill with linvideo_params_default() first. Strings, images, callbacks and
 * cuda are read by linvideo_open() only (strings are copied there); callbacks and
 * their opaque pointer must live as long as the context.
 */
typedef struct LinvideoParams {
    const char *model;           ///< name or path of a bundle or a manifest
                                 ///< (JSON that names separate files, see
                                 ///< linvideo setup); NULL or "": the embedded
                                 ///< model. A name NAME is looked up as
                                 ///< NAME.safetensors and NAME.json in the
                                 ///< folders of
                                 ///< $LINVIDEO_MODEL_PATH (colon-separated),
                                 ///< $XDG_DATA_HOME/linvideo (or
                                 ///< ~/.local/share/linvideo), samples/ of the tree
                                 ///< that the library was built in, share/linvideo
                                 ///< beside the folder of the library, and the
                                 ///< installed data folder
    const char *prompt;          ///< UTF-8; this or prompt_file is required. Two to 32 parts
                                 ///< "SECONDS: words" between |, such as "0: a sea|5: a
                                 ///< storm", with times that rise from 0, are prompts over
                                 ///< time: a clip has that of its first frame, and in a
                                 ///< whole (see join) they melt into each other
    const char *prompt_file;     ///< file with the prompt, UTF-8, at most 64 KiB
    const char *negative_prompt; ///< UTF-8; NULL: the model's, which for most is
                                 ///< "". Used with guidance > 1, or nag
    const char *lora;            ///< LoRA files, "FILE[@WEIGHT]|FILE[@WEIGHT]...",
                                 ///< added to those of the manifest; NULL: none
    const char *image;           ///< file of the image that every clip begins with:
                                 ///< PNG (where the library was built with libpng),
                                 ///< PPM, or the first frame of YUV4MPEG2. NULL or "":
                                 ///< none. For models of image to video, which need
                                 ///< one, and TI2V, which may have one; others refuse it
    const char *last_image;      ///< the same of the frame that a clip ends with, beside
                                 ///< image: FLF2V needs one, Wan2.2 I2V may have one
    const LinvideoImage *image_data, *last_image_data; ///< pixels in place of these files,
                                 ///< which are read (and copied) by linvideo_open()
                                 ///< only; NULL: none
    enum LinvideoMode mode;      ///< with video it is VIDEO
    const char *video;           ///< file of the video that clips are made of, YUV4MPEG2 of
                                 ///< 8 bits, regular; rate and frames are its own. NULL or
                                 ///< "": none, or frames are sent. For models of text to
                                 ///< video that have an encoder; not beside images
    const LinvideoImage *video_frame; ///< mode VIDEO without a file: the size of the frames
                                 ///< that are sent by linvideo_send(); data is NULL
    float strength;              ///< mode VIDEO: share of the schedule that is run, 0.01
                                 ///< to 1: little changes, or all; 0: 0.6
    int width, height;           ///< pixels, 16 to 8192; 0: the model's own; with an
                                 ///< image or video the area of that, in their shape. One
                                 ///< of another shape than the size is cut to it.
                                 ///< Any size: made at the next legal size and
                                 ///< cropped (centred); outside of the model's
                                 ///< range made at its nearest size and scaled, see
                                 ///< native
    int native;                  ///< 1: make size and clip_frames as asked, also
                                 ///< outside of the model's range; 0: do not
    int rate_num, rate_den;      ///< frames a second; 0/1: the model's own
    int64_t frames;              ///< frames to deliver, 1 to 1000000000; -1: see
                                 ///< duration. Of a video: at most
    int64_t duration;            ///< microseconds, > 0: frames = ceil(duration *
                                 ///< rate); -1: one clip of the model, or all of a
                                 ///< video; LINVIDEO_ENDLESS. Not together with frames
    int clip_frames;             ///< frames made at once, 1 to 1021; of longer
                                 ///< videos see join; 0: the model's own. Outside of
                                 ///< the model's range: the nearest number in it,
                                 ///< see native
    int64_t seed;                ///< 0 to 4294967295; -1: drawn at random
    int steps;                   ///< sampler steps, 1 to 1000; 0: the model's
    float guidance;              ///< guidance scale, 1 to 100; 1 is off;
                                 ///< 0: the model's
    float shift;                 ///< flow shift, 0.01 to 100; 0: the model's
    enum LinvideoSampler sampler;
    enum LinvideoPrecision precision;
    enum LinvideoFormat format;
    enum LinvideoMatrix matrix;
    const char *device;          ///< "auto" (NULL), "cpu", "cuda", "cuda:N", or
                                 ///< "cuda:N+M": two GPUs, with guidance a branch on
                                 ///< each; same frames. auto: the first GPU if
                                 ///< driver, cuBLASLt and GPU fit, else the CPU; the
                                 ///< log says which
    const LinvideoCuda *cuda;    ///< not NULL: the planes of frames are in memory of
                                 ///< the CUDA device; auto then is that device or an
                                 ///< error, "cpu" is refused. NULL: host memory
    int threads;                 ///< 1 to 1024; 0: one for each core. Frames
                                 ///< are bitwise the same for any count
    int64_t memory_limit;        ///< bytes of the device; 0: what it has free. If a
                                 ///< GPU has no room for all weights of the network,
                                 ///< those of some blocks are offloaded to the host
                                 ///< and copied when needed: the same frames,
                                 ///< slower; the log says so. -ENOMEM if even that
                                 ///< does not fit
    int tile;                    ///< pixels, 64 to 8192: decode frames in tiles of
                                 ///< this size, which takes less memory and more
                                 ///< time; 0: whole frames, and where these do
                                 ///< not fit tiles that do. Wan's decoder does a
                                 ///< tile of all of a clip's frames after another,
                                 ///< so that the first frame comes with the last
    enum LinvideoCache prompt_cache;
    int strict;                  ///< 1: refuse files that hold more than is used (keys
                                 ///< of LoRAs for other parts, tensors of no part);
                                 ///< 0: skip them with a warning
    enum LinvideoLogLevel log_level; ///< most detailed level handed to log
    void (*log)(void *opaque, enum LinvideoLogLevel level, const char *message);
                                 ///< one line, no newline; NULL: silent. May be
                                 ///< called from worker threads, one at a time
    void (*progress)(void *opaque, const LinvideoProgress *progress);
                                 ///< called at every layer; NULL: none
    void *opaque;                ///< handed to all callbacks
    float guidance_start, guidance_end; ///< shares of the steps, 0 to 1 and 0.01 to 1:
                                 ///< guidance is used from the one to the other, and
                                 ///< steps outside run the network once; end 0: 1
    float cache;                 ///< step caching: 0.001 to 1, how far the velocity may
                                 ///< change, as a share of its size, before the network
                                 ///< is run again; 0: it is run at every step. Not used
                                 ///< with few-step models, with samplers that add noise
                                 ///< at every step, and below 8 steps: a warning says so
    float nag;                   ///< normalised attention guidance, 1 to 100: how far
                                 ///< away from the negative prompt, with guidance 1;
                                 ///< 0: off. With guidance above 1 a warning says that
                                 ///< it is not used
    float nag_tau;               ///< its bound, 0.1 to 100: largest growth of attention;
                                 ///< 0: 2.5
    float nag_alpha;             ///< its share, 0.01 to 1; 0: 0.25
    void (*preview)(void *opaque, const LinvideoPreview *preview);
                                 ///< called at every step; NULL: none
    enum LinvideoJoin join;      ///< default AUTO. WINDOW: for models of text to video;
                                 ///< frames or duration say the length, at most some
                                 ///< 16,000 frames. The whole is one clip then: latents and
                                 ///< velocities of all of it are in the host's memory, the
                                 ///< network's does not grow
    int loop;                    ///< 1: the last frame leads into the first. The video is
                                 ///< made as with WINDOW; its number of frames is the next
                                 ///< multiple of the frames of a latent, 4 for most models
    int causal;                  ///< latents of a block, 1 to 64, for networks that have learned
                                 ///< to make a video block after block, each going on from those
                                 ///< before it, without end, in the same memory and time; 0: as
                                 ///< the model's files say. Clips of progress, previews and
                                 ///< frames are blocks then
    int causal_window;           ///< latents that softmax layers attend to, 1 to 1024, the block
                                 ///< among them; 0: the model's, or those of its clip
    int causal_sink;             ///< first latents of the video that stay in the window, 0 to
                                 ///< 1023; -1: the model's, or a block
    const char *mask;            ///< mode VIDEO: file of what is kept of the frames: white all,
                                 ///< black nothing, grey a part. An image (see image) for all
                                 ///< frames, or YUV4MPEG2 with one for each, in their shape.
                                 ///< Latents of what is kept are blended in at every step: as
                                 ///< exact as the encoder, in blocks of its pixels. NULL or
                                 ///< "": none, or masks are sent
} LinvideoParams;

/** Properties of a context. Strings live as long as the context. */
typedef struct LinvideoInfo {
    int width, height;         ///< of delivered frames, pixels
    int model_width, model_height; ///< of frames before crop and scaling
    int scaled;                ///< 1: frames are scaled to width x height
    int rate_num, rate_den;
    int64_t frames;            ///< delivered in all; -1: as many as are sent, or without end
    int clip_frames;           ///< frames of a clip
    int64_t seed;              ///< the one that was drawn if -1 was given
    int steps;
    float guidance, shift;
    const char *sampler;       ///< "euler", "unipc", "renoise", "dpm++"
    const char *precision;     ///< "f32", "bf16", "int8", "fp8"
    const char *device;        ///< "cpu (AVX-512, 2 threads)"
    const char *model;         ///< name without folder and ending
    const char *model_path;
    int layers, linear_layers; ///< of the DiT; with linear self-attention
    int tokens;                ///< of one clip
    int64_t memory_weights, memory_work; ///< bytes planned; of the device if
                               ///< weights are offloaded
    double seconds[4];         ///< spent so far, by LinvideoStage
} LinvideoInfo;

/** One frame: the caller's planes, and what they hold. */
typedef struct LinvideoFrame {
    uint8_t *data[3];     ///< in: planes of the chosen format and size; in device
                          ///< memory with LinvideoParams.cuda
    ptrdiff_t stride[3];  ///< in: bytes from row to row; may be negative
    int64_t index;        ///< out: number of this frame, from 0
    int64_t clip;         ///< out: number of its clip, from 0
    int64_t seed;         ///< out: seed of the whole stream
    const char *prompt;   ///< out: prompt of its clip, or its time; until the next call
} LinvideoFrame;

typedef struct LinvideoContext LinvideoContext;

/** LINVIDEO_VERSION_INT of the library that is loaded. */
LINVIDEO_API unsigned linvideo_version(void);

/** A short English text for a return code. Never NULL; static. */
LINVIDEO_API const char *linvideo_strerror(int code);

/** Fill p with the defaults of option_table.h: all zero, except frames, duration, seed
 *  and causal_sink (-1), rate_den (1), join (LINVIDEO_JOIN_AUTO) and log_level
 *  (LINVIDEO_LOG_INFO). */
LINVIDEO_API void linvideo_params_default(LinvideoParams *p);

/**
 * Set one option from text, as on a command line: every member above except image_data,
 * last_image_data, video_frame, cuda and the callbacks by its name, "size" (WxH) for width and
 * height, "rate" (24, 24000/1001, 23.976) for rate_num and rate_den; "duration" is in seconds
 * (fractions allowed), in ms or us with that after it, or hh:mm:ss, "memory_limit" in bytes,
 * or with K, M, G. Strings are not copied: value must live until linvideo_open() has
 * returned. The log callback in p gets the error.
 *
 * @return 0, or -EINVAL for an unknown name or a value out of range
 */
LINVIDEO_API int linvideo_params_set(LinvideoParams *p, const char *name,
                                     const char *value);

/**
 * Find and check the model, the prompt and all options, plan memory. Quick:
 * no weights are read.
 *
 * @param[out] out the context, to be freed with linvideo_close(); NULL on error
 * @return 0; -ENOENT; -EINVAL; -ENOMEM; LINVIDEO_ERR_MODEL, _DEVICE, _UNSUPPORTED
 */
LINVIDEO_API int linvideo_open(LinvideoContext **out, const LinvideoParams *p);

/** Get the properties of c. Cheap, at any time after opening. All zero if c is NULL. */
LINVIDEO_API void linvideo_info(const LinvideoContext *c, LinvideoInfo *info);

/**
 * Change the prompt, from the next clip on. A video that is made as a whole (join, loop) has no
 * next clip: once a frame of it was made that is -EINVAL.
 *
 * @return 0, or an error as of linvideo_open(); the old prompt is kept then
 */
LINVIDEO_API int linvideo_set_prompt(LinvideoContext *c, const char *prompt);

/**
 * Begin another video with the weights that are loaded, once a frame of c was delivered:
 * at any point of a video, at its end, or after LINVIDEO_ERR_CANCELLED. Of p are taken
 * prompt, prompt_file, negative_prompt, seed, rate, frames, duration, format and matrix;
 * all else is as c was opened; masks that were sent are dropped. Times of LinvideoInfo begin
 * again, and a linvideo_cancel()
 * that stopped nothing yet is dropped. The frames are those of a
 * context that was opened with these options.
 *
 * @return 0; -EINVAL, -ENOMEM or -errno of prompt_file: then the old video goes on; the
 *         error that ended c
 */
LINVIDEO_API int linvideo_restart(LinvideoContext *c, const LinvideoParams *p);

/** What linvideo_send() gives. */
enum LinvideoInput {
    LINVIDEO_INPUT_IMAGE,      ///< LinvideoParams.image_data, whose data was NULL
    LINVIDEO_INPUT_LAST_IMAGE, ///< LinvideoParams.last_image_data, the same
    LINVIDEO_INPUT_VIDEO,      ///< the next frame of a video without a file
    LINVIDEO_INPUT_MASK        ///< what is kept of frames to come of the video, until another
                               ///< one is sent, see LinvideoParams.mask; NULL: nothing
};

/**
 * Send pixels that were not there when c was opened: images before the first frame is made;
 * frames of a video in their order, when linvideo_next_frame() asks for them by -EAGAIN. They
 * are copied, or encoded at once, which takes a part of a clip's time. The first frame loads
 * the weights.
 *
 * @param image an image in the size that was given; frames of a video may have any. NULL: the
 *              video is over, its last clip may be short
 * @return 0; -EAGAIN: frames of the clip are to be taken first; LINVIDEO_EOF: all frames that
 *         were asked for were sent; -EINVAL; else as linvideo_next_frame()
 */
LINVIDEO_API int linvideo_send(LinvideoContext *c, enum LinvideoInput input,
                               const LinvideoImage *image);

/**
 * Make the next frame and write it to frame->data. The first call of a clip
 * samples the clip, the others decode. The frame is complete when this returns, in CUDA
 * memory too; the bytes are the same in either memory.
 *
 * @return 0; LINVIDEO_EOF when all were delivered; LINVIDEO_ERR_CANCELLED; -EAGAIN: frames
 *         of the video are to be sent first; -EINVAL for a plane that is NULL, a stride
 *         shorter than a row or an image that was not sent, before anything is made; another
 *         error, after which only linvideo_close() is of use
 */
LINVIDEO_API int linvideo_next_frame(LinvideoContext *c, LinvideoFrame *frame);

/** Make a running linvideo_next_frame(), or the next one unless linvideo_restart() comes
 *  before it, return LINVIDEO_ERR_CANCELLED within a layer's time. From any thread. */
LINVIDEO_API void linvideo_cancel(LinvideoContext *c);

/** Free *c and set it to NULL. NULL is fine, also *c == NULL. */
LINVIDEO_API void linvideo_close(LinvideoContext **c);

#ifdef __cplusplus
}
#endif

#endif /* LINVIDEO_LINVIDEO_H */
