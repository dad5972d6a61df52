/*
 * linvideo: the options of LinvideoParams as a table
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
 * The one table of options. The library, the filter, the command and the tables in the
 * documents are made from it ("make docs"); other programs may do the same.
 *
 * LINVIDEO_OPTIONS(X) and LINVIDEO_OPTIONS_HOST(X) expand to a row
 *
 *     X(KIND, name, alias, member, min, max, value, ARGUMENT, default, help, more)
 *
 * for each option, without anything between rows:
 *
 * KIND      how text becomes the member
 *     PROMPT   string; may change from clip to clip
 *     FILE     string: the path of a file or pipe
 *     STRING   string
 *     BOOL     int, 0 or 1; help says what 1 does
 *     INT      int
 *     INT64    int64_t
 *     FLOAT    float
 *     ENUM     enum: LINVIDEO_VALUES_<name>
 *     FORMAT   as ENUM; a filter has pixel formats of its own
 *     SIZE     two ints, from 832x480
 *     RATE     two ints, from 24, 24000/1001 or 23.976
 *     DURATION int64_t, microseconds, from seconds, hh:mm:ss, or with ms or us
 *     BYTES    int64_t, with K, M or G
 * name      of linvideo_params_set(), of the filter and, with --, of the command
 * alias     second name in the filter, after FFmpeg's own sources; "" for none
 * member    of LinvideoParams; of two ints the first
 * min, max  range of the number, both allowed; 0, 0 for strings
 * value     default as a number, always allowed: 0 or -1 mostly stand for "not given"
 * ARGUMENT  what help shows for a value
 * default   the default value as text; "" if there is none
 * help      a line, without range, values and default
 * more      sentences for documents, names in `backquotes`; "" for none
 *
 * LINVIDEO_VALUES_<name>(V) expands to V(name, constant, text, help) for each value of
 * an ENUM, in their order.
 */

#ifndef LINVIDEO_OPTION_TABLE_H
#define LINVIDEO_OPTION_TABLE_H

#include "linvideo.h"

/** What to make, and how. */
#define LINVIDEO_OPTIONS(X)                                                               \
    X(PROMPT, prompt, "", prompt, 0, 0, 0, "TEXT", "",                                    \
      "what the video shows",                                                             \
      "Its name may be left out. In the filter it may change while it runs (`sendcmd`, "  \
      "`zmq`), from the next clip on. `0: a calm sea|5: a storm` is a prompt from each "  \
      "second on: clips and blocks have that of their first frame; with `join=window` "  \
      "prompts melt into each other.")                                                    \
    X(FILE, prompt_file, "textfile", prompt_file, 0, 0, 0, "FILE", "",                    \
      "file or pipe with the prompt, instead of prompt",                                  \
      "UTF-8, at most 64 KiB, without any quoting. For the command `-` is standard "      \
      "input.")                                                                           \
    X(STRING, negative_prompt, "", negative_prompt, 0, 0, 0, "TEXT", "the model's",       \
      "what the video does not show; counts with guidance above 1, or with nag", "")      \
    X(STRING, model, "", model, 0, 0, 0, "NAME|FILE", "motion",                           \
      "bundle or manifest, by name or path",                                              \
      "`motion` is the embedded model.")                                                  \
    X(STRING, lora, "", lora, 0, 0, 0, "FILE[@W]|...", "none",                            \
      "LoRA files, each with its weight",                                                 \
      "They are added to those of the manifest.")                                         \
    X(STRING, image, "", image, 0, 0, 0, "FILE", "none",                                  \
      "image that clips begin with: PNG, PPM or y4m",                                     \
      "For models of image to video, which need one, and Wan2.2 TI2V 5B, which may have " \
      "one. Without `size` frames have its shape, and the area of the model's size; "     \
      "with it the image is cut to that shape. ffmpeg turns other files into PNG.")       \
    X(STRING, last_image, "", last_image, 0, 0, 0, "FILE", "none",                        \
      "image that clips end with, beside image",                                          \
      "Wan2.1 FLF2V needs one, Wan2.2 I2V A14B may have one.")                            \
    X(ENUM, mode, "", mode, LINVIDEO_MODE_TEXT, LINVIDEO_MODE_VIDEO, LINVIDEO_MODE_TEXT,  \
      "NAME", "text",                                                                     \
      "what clips begin with",                                                            \
      "In mode `video` each clip of a video is encoded, noised and denoised, and each of " \
      "its frames gives one, at its time. `video` needs no mode.")                        \
    X(STRING, video, "", video, 0, 0, 0, "FILE", "none",                                  \
      "video that clips are made of: y4m of 8 bits",                                      \
      "For models of text to video that have an encoder, as the embedded one. Without "   \
      "`size` frames have its shape, and the area of the model's size.")                  \
    X(FLOAT, strength, "", strength, 0.01, 1, 0, "X", "0.6",                              \
      "how much of a video changes: share of the steps that are run", "")                 \
    X(STRING, mask, "", mask, 0, 0, 0, "FILE", "none",                                    \
      "what of a video is kept: white in an image, or in y4m with a frame for each",      \
      "In the shape of the video. Kept is what the autoencoder gives back, in blocks of " \
      "its pixels. In the filter a second input is the mask of the first "                \
      "(`inputs=2:mode=video`), or with `alpha=1` what is opaque in it.")                 \
    X(SIZE, size, "s", width, 16, 8192, 0, "WxH", "the model's",                          \
      "size of the frames",                                                               \
      "Any size is made at the next legal one and cropped. One that the model was not "   \
      "made for is made at the nearest that it was made for, and scaled; a line says "    \
      "so, see `native`.")                                                                \
    X(BOOL, native, "", native, 0, 1, 0, "0|1", "0",                                      \
      "make size and clip_frames as asked, also where the model is not made for them",    \
      "Nothing is scaled then.")                                                          \
    X(RATE, rate, "r", rate_num, 1, 1048576, 0, "N[/D]", "the model's",                   \
      "frames a second",                                                                  \
      "As 24, 24000/1001 or 23.976. At another rate than the model's motion is faster "   \
      "or slower, which a line says.")                                                    \
    X(DURATION, duration, "d", duration, 1, 10000000000000, -1, "TIME", "one clip",       \
      "length in seconds, or as hh:mm:ss; -1: without end",                               \
      "The number of frames is exact. Of videos longer than a clip see `join`. Without "  \
      "end (in the filter, and for the command into a pipe) `-t` or the reader ends it.") \
    X(INT64, frames, "", frames, 1, 1000000000, -1, "N", "one clip",                      \
      "number of frames, instead of duration", "")                                        \
    X(ENUM, join, "", join, LINVIDEO_JOIN_CUT, LINVIDEO_JOIN_AUTO, LINVIDEO_JOIN_AUTO,    \
      "NAME", "auto",                                                                     \
      "how a video becomes longer than a clip",                                           \
      "With `window` its length has to be known, and takes memory of the host. It suits " \
      "scenes that go on as they are: what is far apart knows little of each other. "     \
      "`continue` is for models that take an image, and may wander after some clips. "    \
      "`auto` is `continue` with an image, `window` for up to four clips of a model "     \
      "whose clips are as long as Wan's, else `cut`; a line says which.")                 \
    X(BOOL, loop, "", loop, 0, 1, 0, "0|1", "0",                                          \
      "make a video whose last frame leads into its first",                               \
      "The whole is a loop, of the frames of whole latents: 16 or 80 in place of 17 or 81.") \
    X(INT, clip_frames, "", clip_frames, 1, 1021, 0, "N", "the model's",                  \
      "frames made at once; of longer videos see join",                                   \
      "Where the model was not made for so many, clips have the nearest number that it "  \
      "was made for; see `native`.")                                                      \
    X(INT, causal, "", causal, 1, 64, 0, "N", "the model's",                              \
      "make the video in blocks of N latents, each from those before it",                 \
      "For causal networks, such as Self-Forcing: one video without cuts or end, in "     \
      "memory and time that do not grow. `prompt` may change from block to block.")       \
    X(INT, causal_window, "", causal_window, 1, 1024, 0, "N", "the model's",              \
      "latents that a block sees, itself among them",                                     \
      "Without the model's it is its clip. Linear layers see all, older ones less.")      \
    X(INT, causal_sink, "", causal_sink, 0, 1023, -1, "N", "the model's",                 \
      "first latents of the video that blocks always see", "")                            \
    X(INT64, seed, "", seed, 0, 4294967295, -1, "N", "-1",                                \
      "which of the many videos of a prompt; -1 draws one and says which",                \
      "The same seed gives the same frames. A filter with the same options that ffmpeg "  \
      "builds again keeps the seed that was drawn.")                                      \
    X(INT, steps, "", steps, 1, 1000, 0, "N", "the model's",                              \
      "steps of the sampler; fewer are faster", "")                                       \
    X(FLOAT, guidance, "", guidance, 1, 100, 0, "X", "the model's",                       \
      "guidance scale: how close to the prompt; 1 is off and twice as fast",              \
      "Few-step models are made for 1; a larger one gives a warning.")                    \
    X(FLOAT, guidance_start, "", guidance_start, 0, 1, 0, "X", "0",                       \
      "share of the steps before the first one with guidance",                            \
      "Steps without guidance run the network once, not twice.")                          \
    X(FLOAT, guidance_end, "", guidance_end, 0.01, 1, 0, "X", "1",                        \
      "share of the steps behind which guidance is not used",                             \
      "With 0.5 of 50 steps the last 25 run the network once.")                           \
    X(FLOAT, nag, "", nag, 1, 100, 0, "X", "off",                                         \
      "normalised attention guidance: how far away from the negative prompt",             \
      "Negative prompts for guidance 1, and so for few-step models; 11 is usual. Each "   \
      "block attends to the negative prompt too, which takes a few percent.")             \
    X(FLOAT, nag_tau, "", nag_tau, 0.1, 100, 0, "X", "2.5",                               \
      "bound of nag: how many times larger attention may become", "")                     \
    X(FLOAT, nag_alpha, "", nag_alpha, 0.01, 1, 0, "X", "0.25",                           \
      "share of nag in what attention gives", "")                                         \
    X(FLOAT, shift, "", shift, 0.01, 100, 0, "X", "the model's",                          \
      "flow shift of the time schedule", "")                                              \
    X(ENUM, sampler, "", sampler, LINVIDEO_SAMPLER_AUTO, LINVIDEO_SAMPLER_CAUSVID_CAUSAL, \
      LINVIDEO_SAMPLER_AUTO, "NAME", "auto",                                              \
      "how noise becomes video", "")                                                      \
    X(FLOAT, cache, "", cache, 0.001, 1, 0, "X", "off",                                   \
      "step caching: how far the velocity may change before the network is run again",    \
      "0.05 saves a third of the runs at 20 steps, half at 50. A line says how many were " \
      "saved. "                                                                           \
      "It is not used with few-step models, nor with samplers that add noise at every "   \
      "step: a warning says so.")                                                         \
    X(ENUM, precision, "", precision, LINVIDEO_PRECISION_AUTO, LINVIDEO_PRECISION_FP8,    \
      LINVIDEO_PRECISION_AUTO, "NAME", "auto",                                            \
      "number format of the large matmuls",                                               \
      "`int8` and `fp8` are faster, take half the memory and are a little less exact.")   \
    X(FORMAT, format, "pixel_format", format, LINVIDEO_YUV420P, LINVIDEO_NV12,            \
      LINVIDEO_YUV420P, "NAME", "yuv420p",                                                \
      "pixel format",                                                                     \
      "The filter takes the first that the next filter takes, and has `cuda`: frames in " \
      "GPU memory.")                                                                      \
    X(ENUM, matrix, "", matrix, LINVIDEO_MATRIX_AUTO, LINVIDEO_MATRIX_BT601,              \
      LINVIDEO_MATRIX_AUTO, "NAME", "auto",                                               \
      "how RGB becomes YUV",                                                              \
      "y4m has no tag for it, and `-f lavfi` of FFmpeg before 6.1 drops it.")             \
    X(STRING, device, "", device, 0, 0, 0, "NAME", "auto (a GPU if it can)",             \
      "where to compute: auto, cpu, cuda, cuda:N (another GPU than the first) or "        \
      "cuda:N+M (two, each with a branch of guidance)",                                   \
      "Two GPUs give the frames of one. `linvideo devices` lists what there is.")         \
    X(BYTES, memory_limit, "", memory_limit, 1, 1000000000000000000, 0, "BYTES",          \
      "what is free",                                                                     \
      "bytes to stay within, K, M, G allowed; a GPU offloads weights beyond it",          \
      "Weights of some blocks then wait in the host's memory and are copied when "        \
      "needed: the same frames, slower; a line says how many. Where even that does not "  \
      "fit, it is refused.")                                                              \
    X(INT, tile, "", tile, 64, 8192, 0, "N", "whole frames, where they fit",               \
      "decode in tiles of N pixels, which takes less memory and more time",               \
      "Wan's own decoder takes 128 for less.")                                            \
    X(ENUM, prompt_cache, "", prompt_cache, LINVIDEO_CACHE_AUTO, LINVIDEO_CACHE_ON,       \
      LINVIDEO_CACHE_AUTO, "NAME", "auto",                                                \
      "keep text features of prompts on disk",                                            \
      "They are in `$XDG_CACHE_HOME/linvideo`, by default `~/.cache/linvideo`.")          \
    X(BOOL, strict, "", strict, 0, 1, 0, "0|1", "0",                                      \
      "refuse files that hold more than is used, such as LoRAs for other parts",          \
      "Otherwise that is skipped with a warning.")

/** What a program that has threads and a log of its own, as FFmpeg, decides itself. */
#define LINVIDEO_OPTIONS_HOST(X)                                                          \
    X(INT, threads, "", threads, 1, 1024, 0, "N", "one for each core",                    \
      "threads; frames are the same for any number", "")                                  \
    X(ENUM, log_level, "", log_level, LINVIDEO_LOG_ERROR, LINVIDEO_LOG_DEBUG,             \
      LINVIDEO_LOG_INFO, "NAME", "info",                                                  \
      "most detailed messages that are given", "")

#define LINVIDEO_VALUES_sampler(V)                                                        \
    V(sampler, LINVIDEO_SAMPLER_AUTO, "auto", "the model's")                              \
    V(sampler, LINVIDEO_SAMPLER_EULER, "euler", "first order")                            \
    V(sampler, LINVIDEO_SAMPLER_UNIPC, "unipc", "second order, Wan's own")                \
    V(sampler, LINVIDEO_SAMPLER_RENOISE, "renoise",                                       \
      "fresh noise at every step, for few-step models")                                   \
    V(sampler, LINVIDEO_SAMPLER_DPMPP, "dpm++", "second order")                           \
    V(sampler, LINVIDEO_SAMPLER_CAUSVID, "causvid", "renoise at CausVid's nine levels")   \
    V(sampler, LINVIDEO_SAMPLER_RCM, "rcm", "renoise at rCM's one to four levels")        \
    V(sampler, LINVIDEO_SAMPLER_CAUSVID_CAUSAL, "causvid-causal",                         \
      "renoise at three levels, those of CausVid's causal network")

#define LINVIDEO_VALUES_mode(V)                                                           \
    V(mode, LINVIDEO_MODE_TEXT, "text", "noise, and images where they are given")         \
    V(mode, LINVIDEO_MODE_VIDEO, "video", "frames of a video, with noise")

#define LINVIDEO_VALUES_join(V)                                                           \
    V(join, LINVIDEO_JOIN_CUT, "cut", "one clip after another, each of its own")          \
    V(join, LINVIDEO_JOIN_WINDOW, "window", "as a whole, in windows that overlap")        \
    V(join, LINVIDEO_JOIN_CONTINUE, "continue",                                           \
      "each clip from the last frame of the one before")                                  \
    V(join, LINVIDEO_JOIN_AUTO, "auto", "what suits the model")

#define LINVIDEO_VALUES_precision(V)                                                      \
    V(precision, LINVIDEO_PRECISION_AUTO, "auto", "bf16 where the device has it")         \
    V(precision, LINVIDEO_PRECISION_F32, "f32", "32 bits")                                \
    V(precision, LINVIDEO_PRECISION_BF16, "bf16", "16 bits, summed in 32")                \
    V(precision, LINVIDEO_PRECISION_INT8, "int8",                                         \
      "8 bits in the network's blocks; CPUs with AVX-512 VNNI")                           \
    V(precision, LINVIDEO_PRECISION_FP8, "fp8",                                           \
      "8 bits in the network's blocks; GPUs of compute capability 8.9 or more")

#define LINVIDEO_VALUES_format(V)                                                         \
    V(format, LINVIDEO_YUV420P, "yuv420p", "limited range")                               \
    V(format, LINVIDEO_YUV444P, "yuv444p", "limited range")                               \
    V(format, LINVIDEO_GBRP, "gbrp", "full range")                                        \
    V(format, LINVIDEO_RGB24, "rgb24", "full range")                                      \
    V(format, LINVIDEO_NV12, "nv12", "limited range")

#define LINVIDEO_VALUES_matrix(V)                                                         \
    V(matrix, LINVIDEO_MATRIX_AUTO, "auto",                                               \
      "bt709; bt601 where readers get no tag, as from y4m")                               \
    V(matrix, LINVIDEO_MATRIX_BT709, "bt709", "that of HD")                               \
    V(matrix, LINVIDEO_MATRIX_BT601, "bt601", "that of SD")

#define LINVIDEO_VALUES_prompt_cache(V)                                                   \
    V(prompt_cache, LINVIDEO_CACHE_AUTO, "auto",                                          \
      "where the text encoder is larger than 256 MiB")                                    \
    V(prompt_cache, LINVIDEO_CACHE_OFF, "off", "never")                                   \
    V(prompt_cache, LINVIDEO_CACHE_ON, "on", "always")

#define LINVIDEO_VALUES_log_level(V)                                                      \
    V(log_level, LINVIDEO_LOG_ERROR, "error", "errors alone")                             \
    V(log_level, LINVIDEO_LOG_WARNING, "warning", "what is ignored, guessed or cut")      \
    V(log_level, LINVIDEO_LOG_INFO, "info", "what a user should see")                   \
    V(log_level, LINVIDEO_LOG_VERBOSE, "verbose", "plans, sizes, times")                  \
    V(log_level, LINVIDEO_LOG_DEBUG, "debug", "everything")

#endif /* LINVIDEO_OPTION_TABLE_H */
