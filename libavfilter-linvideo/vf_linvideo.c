/*
 * This file is part of FFmpeg.
 *
 * FFmpeg is free software; you can redistribute it and/or
 * modify it under the terms of the GNU Lesser General Public
 * License as published by the Free Software Foundation; either
 * version 2.1 of the License, or (at your option) any later version.
 *
 * FFmpeg is distributed in the hope that it will be useful,
 * but WITHOUT ANY WARRANTY; without even the implied warranty of
 * MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU
 * Lesser General Public License for more details.
 *
 * You should have received a copy of the GNU Lesser General Public
 * License along with FFmpeg; if not, write to the Free Software
 * Foundation, Inc., 51 Franklin Street, Fifth Floor, Boston, MA 02110-1301 USA
 */

/**
 * @file
 * Video source that makes video from a text, by liblinvideo; with inputs from images or a
 * video too.
 *
 * The library decides what a legal value is and says what is wrong; this file
 * hands it the options, which are made from the library's own table, the planes of each
 * frame and FFmpeg's log. It compiles against FFmpeg 4.4, 5.1, 6.1, 7.1, 8.1 and 9.0.
 *
 * With format=cuda the planes are memory of a GPU: of the device that the filter
 * was given, or one that it opens itself, where the library then works too.
 */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <linvideo/linvideo.h>
#include <linvideo/option_table.h>

#include "libavutil/avutil.h"
#include "libavutil/buffer.h"
#include "libavutil/cpu.h"
#include "libavutil/dict.h"
#include "libavutil/error.h"
#include "libavutil/frame.h"
#include "libavutil/hwcontext.h"
#include "libavutil/internal.h"
#include "libavutil/log.h"
#include "libavutil/macros.h"
#include "libavutil/mathematics.h"
#include "libavutil/mem.h"
#include "libavutil/opt.h"
#include "libavutil/parseutils.h"
#include "libavutil/pixdesc.h"
#include "libavutil/thread.h"
#include "libavutil/time.h"

/* Where filter movie is built, libavfilter is linked with what reads files. */
#include "config.h"
#if defined(__has_include)
#if __has_include("config_components.h")
#include "config_components.h"
#endif
#endif
#if CONFIG_MOVIE_FILTER && CONFIG_SCALE_FILTER
#define READS_FILES 1
#include "libavcodec/avcodec.h"
#include "libavformat/avformat.h"
#include "libswscale/swscale.h"
#else
#define READS_FILES 0
#endif

/* All that hwcontext_cuda.h wants of the driver's own header, which need not be
 * here, nor FFmpeg be built with it: whether it was, is asked when it runs. */
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
#define CUDA_VERSION 0
#include "libavutil/hwcontext_cuda.h"

#include "avfilter.h"
#include "filters.h"
#include "formats.h"
#include "version.h"
#include "video.h"

#if LIBAVFILTER_VERSION_INT < AV_VERSION_INT(10, 4, 100)
#include "internal.h"
#define LINK(outlink) (outlink)
#else
#define LINK(outlink) ff_filter_link(outlink)
#endif

/* From FFmpeg 8 on, the public half of a filter is a member of its own. */
#if LIBAVFILTER_VERSION_MAJOR >= 11
#define FILTER_TYPE FFFilter
#define PUBLIC(field) .p.field
#else
#define FILTER_TYPE AVFilter
#define PUBLIC(field) .field
#endif

/* FFmpeg 4.4 ends lists of pads by an empty one, and keeps filters in memory that it writes
 * to. */
#if LIBAVFILTER_VERSION_MAJOR < 8
#define FILTER_CONST
#define FILTER_OUTPUTS(array) .outputs = array
#define FILTER_QUERY_FUNC(func) .query_formats = func
#define LAST_PAD { NULL }
#define ff_append_inpad(ctx, pad) ff_insert_inpad(ctx, (ctx)->nb_inputs, pad)
#else
#define FILTER_CONST const
#define LAST_PAD
#endif

#ifdef AVFILTER_FLAG_HWDEVICE
#define FILTER_FLAGS (AVFILTER_FLAG_DYNAMIC_INPUTS | AVFILTER_FLAG_HWDEVICE)
#else
#define FILTER_FLAGS AVFILTER_FLAG_DYNAMIC_INPUTS
#endif

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
#define DURATION(frame) ((frame)->duration)
#else
#define DURATION(frame) ((frame)->pkt_duration)
#endif

#ifdef AV_FRAME_FLAG_INTERLACED
#define IS_INTERLACED(frame) ((frame)->flags & AV_FRAME_FLAG_INTERLACED)
#else
#define IS_INTERLACED(frame) ((frame)->interlaced_frame)
#endif

#define PROGRESS_INTERVAL 1000000 ///< microseconds between lines, at least
#define MAX_INPUTS 2
#define MAX_PIXELS 67108864       ///< of an image, as the library has it

/* Every option by its number. Most numbers are handed on as text: their default is the
 * model's own, where FFmpeg would show a number. */
#define NUMBER(kind, name, ...) OPTION_##name,
#define NAME(kind, name, ...)   [OPTION_##name] = #name,

enum { LINVIDEO_OPTIONS(NUMBER) NB_OPTIONS };

static const char *const option_names[NB_OPTIONS] = { LINVIDEO_OPTIONS(NAME) };

/** When a frame of a video is shown, in the input's time base. */
typedef struct FrameTime {
    int64_t pts, duration;
} FrameTime;

typedef struct LinvideoSource {
    const AVClass *class;

    /** Most options are members of the library's own parameters. */
    LinvideoParams params;
    char *text[NB_OPTIONS];     ///< what the library reads itself; of others NULL
    const char *unnamed;        ///< the prompt without its name
    char *rate;
    int format;                 ///< AVPixelFormat, AV_PIX_FMT_NONE: any of ours
    int sw_format;              ///< AVPixelFormat within AV_PIX_FMT_CUDA
    AVBufferRef *device;        ///< that frames of AV_PIX_FMT_CUDA are on

    int nb_inputs;              ///< images, the first and the last one; or a video
    int has_image[MAX_INPUTS];  ///< 1: the library has it
    int warned[MAX_INPUTS];     ///< of what an input is
    int untimed;                ///< 1: it was said that frames have no timestamps
    int alpha;                  ///< 1: of a video what is opaque is kept
    AVFrame *video, *mask;      ///< frames of the inputs that wait for each other
    FrameTime video_time;       ///< of the former
    int timed;                  ///< 1: it is set
    int has_mask, masks_over;   ///< a mask was sent; its input has ended
    FrameTime *times;           ///< of frames of a clip that are sent, in their order
    int nb_times, next_time;
    int64_t sent_until;         ///< when the last frame that was sent ends

    uint64_t seed_key;          ///< see SeedDrawn; 0: the seed was given

    LinvideoContext *lv;        ///< NULL until the output is configured
    LinvideoInfo info;
    enum LinvideoMatrix matrix; ///< chosen
    int64_t next;               ///< number of the next frame; and its timestamp, but of a
                                ///< video, which says when it would end
    int64_t progress_time;      ///< when the last line of progress was logged
} LinvideoSource;

/** What we offer, the best first, by enum LinvideoFormat. */
static const int pixel_formats[] = {
    [LINVIDEO_YUV420P]   = AV_PIX_FMT_YUV420P,
    [LINVIDEO_YUV444P]   = AV_PIX_FMT_YUV444P,
    [LINVIDEO_GBRP]      = AV_PIX_FMT_GBRP,
    [LINVIDEO_RGB24]     = AV_PIX_FMT_RGB24,
    [LINVIDEO_NV12]      = AV_PIX_FMT_NV12,
    [LINVIDEO_NV12 + 1]  = AV_PIX_FMT_NONE
};

/** Those of them that frames of a GPU may have. */
static const int gpu_formats[] = {
    AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV444P, AV_PIX_FMT_NONE
};

#define OFFSET(x) offsetof(LinvideoSource, x)
#define PARAM(x) OFFSET(params.x)
#define FLAGS AV_OPT_FLAG_FILTERING_PARAM | AV_OPT_FLAG_VIDEO_PARAM
#define RFLAGS FLAGS | AV_OPT_FLAG_RUNTIME_PARAM

#define STRING(name, help, offset, flag)                                       \
    { name, help, offset, AV_OPT_TYPE_STRING, { .str = NULL }, .flags = flag },
#define VALUE(of, constant, text, meaning)                                     \
    { text, meaning, 0, AV_OPT_TYPE_CONST, { .i64 = constant }, .flags = FLAGS, \
        .unit = #of },
#define SIZE(name, help)                                                       \
    { name, help, PARAM(width), AV_OPT_TYPE_IMAGE_SIZE, { .str = NULL },       \
        .flags = FLAGS },
#define PIXEL_FORMAT(name, help, member, value)                                \
    { name, help, OFFSET(member), AV_OPT_TYPE_PIXEL_FMT, { .i64 = value },     \
        AV_PIX_FMT_NONE, INT_MAX, .flags = FLAGS },
#define FORMATS "pixel format: the first of yuv420p, yuv444p, gbrp, rgb24, nv12 " \
    "that fits, or one of them; cuda: in GPU memory"

/* Rows of the library's table, by their kind. Of two with one offset, the second is no
 * place of its own for values without a name. */
#define SAY(help, preset) help " (default: " preset ")"
#define SAY_RANGE(help, min, max, preset)                                      \
    help " (" #min " to " #max "; default: " preset ")"
#define TEXT(name, number, help) STRING(name, help, OFFSET(text[OPTION_##number]), FLAGS)

#define ROW(kind, ...) ROW_##kind(__VA_ARGS__)
#define ROW_PROMPT(name, alias, member, min, max, value, argument, preset, help, more) \
    STRING(#name, help, PARAM(member), RFLAGS)
#define ROW_FILE(name, alias, member, min, max, value, argument, preset, help, more) \
    STRING(#name, help, PARAM(member), FLAGS)                                  \
    STRING(alias, help, PARAM(member), FLAGS)
#define ROW_STRING(name, alias, member, min, max, value, argument, preset, help, more) \
    STRING(#name, SAY(help, preset), PARAM(member), FLAGS)
#define ROW_BOOL(name, alias, member, min, max, value, argument, preset, help, more) \
    { #name, help, PARAM(member), AV_OPT_TYPE_BOOL, { .i64 = value }, min, max, \
        .flags = FLAGS },
#define ROW_INT(name, alias, member, min, max, value, argument, preset, help, more) \
    TEXT(#name, name, SAY_RANGE(help, min, max, preset))
#define ROW_INT64 ROW_INT
#define ROW_FLOAT ROW_INT
#define ROW_ENUM(name, alias, member, min, max, value, argument, preset, help, more) \
    { #name, help, PARAM(member), AV_OPT_TYPE_INT, { .i64 = value }, min, max, \
        .flags = FLAGS, .unit = #name },                                       \
    LINVIDEO_VALUES_##name(VALUE)
#define ROW_FORMAT(name, alias, member, min, max, value, argument, preset, help, more) \
    PIXEL_FORMAT(#name, FORMATS, format, AV_PIX_FMT_NONE)                      \
    PIXEL_FORMAT(alias, FORMATS, format, AV_PIX_FMT_NONE)
#define ROW_SIZE(name, alias, member, min, max, value, argument, preset, help, more) \
    SIZE(#name, SAY_RANGE(help, min, max, preset))                             \
    SIZE(alias, SAY_RANGE(help, min, max, preset))
#define ROW_RATE(name, alias, member, min, max, value, argument, preset, help, more) \
    STRING(#name, SAY(help, preset), OFFSET(rate), FLAGS)                      \
    STRING(alias, SAY(help, preset), OFFSET(rate), FLAGS)
#define ROW_DURATION(name, alias, member, min, max, value, argument, preset, help, more) \
    TEXT(#name, name, SAY(help, preset))                                       \
    TEXT(alias, name, SAY(help, preset))
#define ROW_BYTES(name, alias, member, min, max, value, argument, preset, help, more) \
    TEXT(#name, name, SAY(help, preset))

static const AVOption linvideo_options[] = {
    /* What a colon in a prompt cuts off is a value without a name. FFmpeg gives it to the
     * first or the second option, 5.1 to the one behind prompt: none of them is prompt, whose
     * own value would be lost, and check_prompt() sees it. Help does not show these two. */
    STRING("text", NULL, OFFSET(unnamed), 0)
    STRING("prompt_file", NULL, PARAM(prompt_file), 0)
    LINVIDEO_OPTIONS(ROW)
    PIXEL_FORMAT("sw_format", "pixel format within cuda: nv12, yuv420p, yuv444p",
                 sw_format, AV_PIX_FMT_NV12)
    { "inputs", "input pads: 0, 1 (first image; or video, in mode video), 2 (last image too; "
        "or mask: white is kept of the video)",
        OFFSET(nb_inputs), AV_OPT_TYPE_INT, { .i64 = 0 }, 0, MAX_INPUTS, .flags = FLAGS },
    { "alpha", "1: of a video what is opaque is kept; 0: what is transparent becomes black",
        OFFSET(alpha), AV_OPT_TYPE_BOOL, { .i64 = 0 }, 0, 1, .flags = FLAGS },
    { NULL }
};

AVFILTER_DEFINE_CLASS(linvideo);

static int averror(int code)
{
    switch (code) {
    case LINVIDEO_EOF:             return AVERROR_EOF;
    case LINVIDEO_ERR_MODEL:       return AVERROR_INVALIDDATA;
    case LINVIDEO_ERR_DEVICE:      return AVERROR_EXTERNAL;
    case LINVIDEO_ERR_UNSUPPORTED: return AVERROR(ENOSYS);
    case LINVIDEO_ERR_CANCELLED:   return AVERROR_EXIT;
    }
    return code;
}

static void log_message(void *ctx, enum LinvideoLogLevel level,
                        const char *message)
{
    static const int levels[] = {
        [LINVIDEO_LOG_ERROR]   = AV_LOG_ERROR,
        [LINVIDEO_LOG_WARNING] = AV_LOG_WARNING,
        [LINVIDEO_LOG_INFO]    = AV_LOG_INFO,
        [LINVIDEO_LOG_VERBOSE] = AV_LOG_VERBOSE,
        [LINVIDEO_LOG_DEBUG]   = AV_LOG_DEBUG,
    };

    av_log(ctx, levels[level], "%s\n", message);
}

static enum LinvideoLogLevel log_level(void)
{
    int level = av_log_get_level();

    return level >= AV_LOG_DEBUG   ? LINVIDEO_LOG_DEBUG   :
           level >= AV_LOG_VERBOSE ? LINVIDEO_LOG_VERBOSE :
           level >= AV_LOG_INFO    ? LINVIDEO_LOG_INFO    :
           level >= AV_LOG_WARNING ? LINVIDEO_LOG_WARNING :
                                     LINVIDEO_LOG_ERROR;
}

/* ffmpeg's own status line stands still while a frame is waited for. */
static void log_progress(void *opaque, const LinvideoProgress *p)
{
    AVFilterContext *ctx = opaque;
    LinvideoSource *s = ctx->priv;
    int64_t now = av_gettime_relative();
    char eta[32] = "", clips[32] = "";

    if (s->progress_time && now - s->progress_time < PROGRESS_INTERVAL)
        return;
    s->progress_time = now;

    if (p->fraction > 0)
        snprintf(eta, sizeof(eta), ", ETA %.0f s",
                 p->elapsed * (1 - p->fraction) / p->fraction);
    if (p->clips)
        snprintf(clips, sizeof(clips), "/%"PRId64, p->clips);
    av_log(ctx, AV_LOG_INFO, "%s clip %"PRId64"%s: step %d/%d, %.0f %%%s\n",
           p->stage_name, p->clip + 1, clips, p->step, p->steps, 100 * p->fraction, eta);
}

/* Seeds that were drawn. ffmpeg frees a graph and builds it anew when its input changes
 * (another size in the middle of a file), and tells filters nothing of it. So a filter
 * whose seed is not given takes that of an earlier one of this process that had the same
 * name and options and is gone: the same video goes on, as overlay and others take its
 * frames by their timestamps. */

typedef struct SeedDrawn {
    uint64_t key;               ///< of name and options; 0: none
    int64_t seed;
    int used;                   ///< by a filter that lives
} SeedDrawn;

static SeedDrawn seeds[64];     ///< the oldest goes first
static unsigned next_seed;
static AVMutex seeds_lock = AV_MUTEX_INITIALIZER;

/* FNV-1a of name and options. */
static uint64_t seed_key(AVFilterContext *ctx)
{
    uint64_t key = 0xCBF29CE484222325;
    char *options = NULL;
    const char *parts[] = { ctx->name, NULL };

    if (av_opt_serialize(ctx->priv, 0, AV_OPT_SERIALIZE_SKIP_DEFAULTS, &options, '=',
                         ':') >= 0)
        parts[1] = options;
    for (int i = 0; i < FF_ARRAY_ELEMS(parts); i++)
        for (const char *c = parts[i]; c && *c; c++)
            key = (key ^ (uint8_t)*c) * 0x100000001B3;
    av_free(options);
    return key ? key : 1;
}

/* -1: there is none. */
static int64_t take_seed(uint64_t key)
{
    int64_t seed = -1;

    ff_mutex_lock(&seeds_lock);
    for (int i = 0; i < FF_ARRAY_ELEMS(seeds) && seed < 0; i++)
        if (seeds[i].key == key && !seeds[i].used) {
            seeds[i].used = 1;
            seed = seeds[i].seed;
        }
    ff_mutex_unlock(&seeds_lock);
    return seed;
}

static void keep_seed(uint64_t key, int64_t seed)
{
    ff_mutex_lock(&seeds_lock);
    for (int i = 0; i < FF_ARRAY_ELEMS(seeds); i++) {
        SeedDrawn *d = &seeds[next_seed++ % FF_ARRAY_ELEMS(seeds)];

        if (!d->used) {
            *d = (SeedDrawn){ key, seed, 1 };
            break;
        }
    }
    ff_mutex_unlock(&seeds_lock);
}

static void hand_on_seed(uint64_t key)
{
    ff_mutex_lock(&seeds_lock);
    for (int i = 0; i < FF_ARRAY_ELEMS(seeds) && key; i++)
        if (seeds[i].key == key && seeds[i].used) {
            seeds[i].used = 0;
            break;
        }
    ff_mutex_unlock(&seeds_lock);
}

/* Runs before the options get their values. */
static av_cold int preinit(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;

    linvideo_params_default(&s->params);
    return 0;
}

static av_cold int check_prompt(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    LinvideoParams *p = &s->params;

    if (!p->prompt)
        FFSWAP(const char *, s->unnamed, p->prompt);
    if (!p->prompt || (!p->prompt_file && !s->unnamed))
        return 0;
    av_log(ctx, AV_LOG_ERROR, "prompt is '%s', %s is '%s'; give one of them. A "
           "colon ends an option: within a prompt in single quotes write \\:, or put the "
           "prompt into a file\n", p->prompt, s->unnamed ? "a value without a name" :
           "prompt_file", s->unnamed ? s->unnamed : p->prompt_file);
    return AVERROR(EINVAL);
}

static int is_video(const LinvideoSource *s)
{
    return s->nb_inputs && s->params.mode == LINVIDEO_MODE_VIDEO;
}

static av_cold int append_inputs(AVFilterContext *ctx)
{
    static const char *const names[][MAX_INPUTS] = { { "first", "last" }, { "video", "mask" } };
    LinvideoSource *s = ctx->priv;
    int ret = 0;

    if (s->alpha && (!is_video(s) || s->nb_inputs > 1)) {
        av_log(ctx, AV_LOG_ERROR, "alpha: expected mode=video:inputs=1, whose input has it\n");
        return AVERROR(EINVAL);
    }
    if (is_video(s) && s->rate) {
        av_log(ctx, AV_LOG_ERROR, "rate: in mode video it is that of the input; put filter "
               "fps in front of it for another one\n");
        return AVERROR(EINVAL);
    }
    for (int i = 0; i < s->nb_inputs && ret >= 0; i++) {
        AVFilterPad pad = { .name = names[is_video(s)][i], .type = AVMEDIA_TYPE_VIDEO };

        ret = ff_append_inpad(ctx, &pad);
    }
    return ret;
}

/* Runs once the options have their values. */
static av_cold int init(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    LinvideoParams *p = &s->params;
    int ret;

    p->log_level = log_level();
    p->log       = log_message;
    p->opaque    = ctx;
    if ((ret = check_prompt(ctx)) < 0)
        return ret;
    for (int i = 0; i < NB_OPTIONS; i++)
        if (s->text[i] && (ret = linvideo_params_set(p, option_names[i], s->text[i])) < 0)
            return averror(ret);
    /* As of FFmpeg's own sources; a video that comes in has its own end. */
    if (s->text[OPTION_duration] && p->duration == -1 && !is_video(s))
        p->duration = LINVIDEO_ENDLESS;
    return append_inputs(ctx);
}

static av_cold void uninit(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;

    if (s->nb_times && !s->next_time)
        av_log(ctx, AV_LOG_WARNING, "%d frames of the input are lost: the graph ends before "
               "their clip is whole; where an input changes its size, -reinit_filter 0 keeps "
               "the graph\n", s->nb_times);
    hand_on_seed(s->seed_key);
    av_frame_free(&s->video);
    av_frame_free(&s->mask);
    if (s->lv)
        linvideo_cancel(s->lv);
    linvideo_close(&s->lv);
    av_buffer_unref(&s->device);
    av_freep(&s->times);
}

static int has_format(const int *list, int format)
{
    while (*list != AV_PIX_FMT_NONE && *list != format)
        list++;
    return *list != AV_PIX_FMT_NONE;
}

static int check_formats(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    const char *name = av_get_pix_fmt_name(s->sw_format);

    if (s->format == AV_PIX_FMT_CUDA) {
        if (has_format(gpu_formats, s->sw_format))
            return 0;
        av_log(ctx, AV_LOG_ERROR, "sw_format %s is not one of nv12, yuv420p, "
               "yuv444p\n", name ? name : "none");
        return AVERROR(EINVAL);
    }
    if (s->format == AV_PIX_FMT_NONE || has_format(pixel_formats, s->format))
        return 0;
    av_log(ctx, AV_LOG_ERROR, "Pixel format %s is not one of yuv420p, yuv444p, gbrp, "
           "rgb24, nv12, cuda\n", av_get_pix_fmt_name(s->format));
    return AVERROR(EINVAL);
}

/* The device lavfi names its sinks after the labels of the graph, out, out0 and so on;
 * before FFmpeg 6.1 it hands on their frames without what the frames say of colour. */
static int tags_are_lost(const AVFilterContext *ctx)
{
#if LIBAVFILTER_VERSION_INT < AV_VERSION_INT(9, 12, 100)
    for (unsigned i = 0; i < ctx->graph->nb_filters; i++) {
        const AVFilterContext *f = ctx->graph->filters[i];

        if (!strcmp(f->filter->name, "buffersink") && f->name &&
            !strncmp(f->name, "out", 3) && !f->name[3 + strspn(f->name + 3, "0123456789")])
            return 1;
    }
#endif
    return 0;
}

static enum LinvideoMatrix choose_matrix(const AVFilterContext *ctx)
{
    const LinvideoSource *s = ctx->priv;

    if (s->params.matrix != LINVIDEO_MATRIX_AUTO)
        return s->params.matrix;
    return tags_are_lost(ctx) ? LINVIDEO_MATRIX_BT601 : LINVIDEO_MATRIX_BT709;
}

static enum AVColorSpace colour_space(enum LinvideoMatrix matrix)
{
    return matrix == LINVIDEO_MATRIX_BT601 ? AVCOL_SPC_SMPTE170M : AVCOL_SPC_BT709;
}

/* A reader that has no tag to go by may also take a large frame for BT.709. */
static void warn_of_lost_tags(AVFilterContext *ctx, const LinvideoSource *s, int format)
{
    int rgb = av_pix_fmt_desc_get(format)->flags & AV_PIX_FMT_FLAG_RGB;
    int large = s->info.width >= 1280 || s->info.height > 576;

    if (!rgb && tags_are_lost(ctx) && (large || s->matrix == LINVIDEO_MATRIX_BT709))
        av_log(ctx, AV_LOG_WARNING, "-f lavfi of this FFmpeg drops the tag that colours "
               "are %s, and not all players will guess it: use -filter_complex, or give "
               "-colorspace %s before -i too\n",
               s->matrix == LINVIDEO_MATRIX_BT601 ? "BT.601" : "BT.709",
               av_color_space_name(colour_space(s->matrix)));
}

static int query_output(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    AVFilterFormatsConfig *out = &ctx->outputs[0]->incfg;
    /* Beside inputs FFmpeg would choose what is most like their format. */
    int given = s->format != AV_PIX_FMT_NONE || s->nb_inputs;
    const int asked[] = { s->format != AV_PIX_FMT_NONE ? s->format : pixel_formats[0],
                          AV_PIX_FMT_NONE };
    const int *offered = given ? asked : pixel_formats;

#if LIBAVFILTER_VERSION_INT >= AV_VERSION_INT(9, 16, 100)
    {
        const int spaces[] = { colour_space(choose_matrix(ctx)), -1 };
        static const int ranges[] = { AVCOL_RANGE_MPEG, -1 };
        int ret;

        /* They bind YUV only; a link of RGB always is full range. */
        if ((ret = ff_formats_ref(ff_make_format_list(spaces), &out->color_spaces)) < 0 ||
            (ret = ff_formats_ref(ff_make_format_list(ranges), &out->color_ranges)) < 0)
            return ret;
    }
#endif
    return ff_formats_ref(ff_make_format_list(offered), &out->formats);
}

/* FFmpeg converts inputs to RGB, by the matrix and the range that their frames are tagged
 * with. */
static int query_formats(AVFilterContext *ctx)
{
    static const int taken[]  = { AV_PIX_FMT_RGB24, AV_PIX_FMT_RGBA, AV_PIX_FMT_NONE };
    static const int opaque[] = { AV_PIX_FMT_RGB24, AV_PIX_FMT_NONE };
    static const int alpha[]  = { AV_PIX_FMT_RGBA, AV_PIX_FMT_NONE };
    const LinvideoSource *s   = ctx->priv;
    int ret = check_formats(ctx);

    for (unsigned i = 0; i < ctx->nb_inputs && ret >= 0; i++) {
        int mask = is_video(s) && i;

        ret = ff_formats_ref(ff_make_format_list(mask ? opaque : s->alpha ? alpha : taken),
                             &ctx->inputs[i]->outcfg.formats);
    }
    return ret < 0 ? ret : query_output(ctx);
}

static int has_cuda(void)
{
    enum AVHWDeviceType type = AV_HWDEVICE_TYPE_NONE;

    while ((type = av_hwdevice_iterate_types(type)) != AV_HWDEVICE_TYPE_NONE)
        if (type == AV_HWDEVICE_TYPE_CUDA)
            return 1;
    return 0;
}

/* The GPU of option device. Its primary context is what others in this process
 * most likely work in. */
static av_cold int create_device(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    const char *number = s->params.device ? strchr(s->params.device, ':') : NULL;
    AVDictionary *opts = NULL;
    int ret = av_dict_set(&opts, "primary_ctx", "1", 0);

    if (ret >= 0)
        ret = av_hwdevice_ctx_create(&s->device, AV_HWDEVICE_TYPE_CUDA,
                                     number ? number + 1 : NULL, opts, 0);
    av_dict_free(&opts);
    if (ret < 0)
        av_log(ctx, AV_LOG_ERROR, "format=cuda: FFmpeg opens no CUDA device: "
               "there is no GPU%s%s, or no driver (libcuda.so.1)\n",
               number ? " " : "", number ? number + 1 : "");
    return ret;
}

/* Where frames of format=cuda are made. */
static av_cold int open_device(AVFilterContext *ctx, LinvideoCuda *cuda)
{
    LinvideoSource *s = ctx->priv;
    const AVHWDeviceContext *device;
    const AVCUDADeviceContext *hw;
    int ret;

    av_buffer_unref(&s->device);
    if (s->params.device && !strcmp(s->params.device, "cpu")) {
        av_log(ctx, AV_LOG_ERROR, "format=cuda: expected a GPU, but device is cpu\n");
        return AVERROR(EINVAL);
    }
    if (!has_cuda()) {
        av_log(ctx, AV_LOG_ERROR, "format=cuda: this FFmpeg is built without CUDA "
               "(ffmpeg -hwaccels lists what it has)\n");
        return AVERROR(ENOSYS);
    }
    if (!ctx->hw_device_ctx && (ret = create_device(ctx)) < 0)
        return ret;
    if (ctx->hw_device_ctx && !(s->device = av_buffer_ref(ctx->hw_device_ctx)))
        return AVERROR(ENOMEM);

    device = (const AVHWDeviceContext *)s->device->data;
    if (device->type != AV_HWDEVICE_TYPE_CUDA) {
        av_log(ctx, AV_LOG_ERROR, "format=cuda: the hardware device of filters is "
               "%s; name a cuda one with -filter_hw_device\n",
               av_hwdevice_get_type_name(device->type));
        return AVERROR(EINVAL);
    }
    hw = device->hwctx;
    *cuda = (LinvideoCuda){ hw->cuda_ctx, hw->stream };
    return 0;
}

static av_cold int init_frames(AVFilterLink *outlink)
{
    AVFilterContext *ctx = outlink->src;
    LinvideoSource *s = ctx->priv;
    AVBufferRef **ref = &LINK(outlink)->hw_frames_ctx;
    AVHWFramesContext *frames;

    /* FFmpeg before 9.0 rounds the rows of chroma down: its planes overlap then. */
    if (s->sw_format == AV_PIX_FMT_YUV420P && outlink->h % 2) {
        av_log(ctx, AV_LOG_ERROR, "sw_format yuv420p: expected an even height, got %d; "
               "nv12 takes any\n", outlink->h);
        return AVERROR(EINVAL);
    }
    av_buffer_unref(ref);
    *ref = av_hwframe_ctx_alloc(s->device);
    if (!*ref)
        return AVERROR(ENOMEM);
    frames = (AVHWFramesContext *)(*ref)->data;
    frames->format    = AV_PIX_FMT_CUDA;
    frames->sw_format = s->sw_format;
    frames->width     = outlink->w;
    frames->height    = outlink->h;
    return av_hwframe_ctx_init(*ref);
}

static av_cold int open_library(AVFilterContext *ctx, LinvideoParams *p)
{
    LinvideoSource *s = ctx->priv;
    int draws = p->seed < 0, ret;

    if (draws && s->seed_key)
        p->seed = s->info.seed;
    else if (draws)
        p->seed = take_seed(s->seed_key = seed_key(ctx));
    draws = p->seed < 0;
    if ((ret = linvideo_open(&s->lv, p)) < 0)
        return averror(ret);
    linvideo_info(s->lv, &s->info);
    if (draws)
        keep_seed(s->seed_key, s->info.seed);
    return 0;
}

/* Frames of a video keep their time. */
static int config_times(AVFilterLink *outlink)
{
    AVFilterLink *inlink = outlink->src->inputs[0];
    LinvideoSource *s = outlink->src->priv;

    av_freep(&s->times);
    s->nb_times   = s->next_time = 0;
    s->sent_until = 0;
    s->times      = av_malloc_array(s->info.clip_frames, sizeof(*s->times));
    outlink->time_base        = inlink->time_base;
    LINK(outlink)->frame_rate = LINK(inlink)->frame_rate;
    return s->times ? 0 : AVERROR(ENOMEM);
}

/* What the library is told of inputs before their frames come. */
static void describe_inputs(AVFilterContext *ctx, LinvideoParams *p,
                            LinvideoImage image[MAX_INPUTS])
{
    LinvideoSource *s = ctx->priv;
    AVRational rate = { 0, 1 };

    for (int i = 0; i < s->nb_inputs; i++) {
        const AVFilterLink *inlink = ctx->inputs[i];
        AVRational sar = inlink->sample_aspect_ratio;

        image[i] = (LinvideoImage){ NULL, 0, inlink->w, inlink->h };
        if (sar.num && sar.num != sar.den)
            av_log(ctx, AV_LOG_WARNING, "Input %d: pixels of %d:%d are taken as square ones; "
                   "put scale=iw*sar:ih,setsar=1 in front of it\n", i, sar.num, sar.den);
    }
    if (is_video(s)) {
        rate = LINK(ctx->inputs[0])->frame_rate;
        p->video_frame = image;
    } else {
        p->image_data      = s->nb_inputs > 0 ? image : NULL;
        p->last_image_data = s->nb_inputs > 1 ? image + 1 : NULL;
    }
    if (rate.num > 0 && rate.den > 0) {
        av_reduce(&p->rate_num, &p->rate_den, rate.num, rate.den, 1 << 20);
        p->rate_num = FFMAX(p->rate_num, 1);
    }
}

/* What RGBA becomes: RGB over black, RGB as it is, alpha as grey. */
enum { OVER_BLACK, COLOUR, GREY };

/* Freed by the caller. */
static int flatten(LinvideoImage *image, const AVFrame *frame, int kind)
{
    uint8_t *rgb = av_malloc_array(frame->height, 3 * (size_t)frame->width), *to = rgb;

    if (!rgb)
        return AVERROR(ENOMEM);
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *from = frame->data[0] + y * (ptrdiff_t)frame->linesize[0];

        for (int x = 0; x < frame->width; x++, from += 4)
            for (int i = 0; i < 3; i++)
                *to++ = kind == GREY   ? from[3] :
                        kind == COLOUR ? from[i] : (from[i] * from[3] + 127) / 255;
    }
    *image = (LinvideoImage){ rgb, 3 * (ptrdiff_t)frame->width, frame->width, frame->height };
    return 0;
}

#if READS_FILES
/* A file that an image is read of. */
typedef struct ImageFile {
    AVFormatContext *format;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *coded, *rgb;       ///< as it is stored; RGB24 or RGBA
    int stream;
} ImageFile;

static void close_file(ImageFile *f)
{
    avformat_close_input(&f->format);
    avcodec_free_context(&f->codec);
    av_packet_free(&f->packet);
    av_frame_free(&f->coded);
    av_frame_free(&f->rgb);
}

static int open_decoder(ImageFile *f, const AVCodecParameters *par)
{
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    int ret;

    if (!codec)
        return AVERROR_DECODER_NOT_FOUND;
    f->codec  = avcodec_alloc_context3(codec);
    f->packet = av_packet_alloc();
    f->coded  = av_frame_alloc();
    f->rgb    = av_frame_alloc();
    if (!f->codec || !f->packet || !f->coded || !f->rgb)
        return AVERROR(ENOMEM);
    if ((ret = avcodec_parameters_to_context(f->codec, par)) < 0)
        return ret;
    f->codec->thread_count    = 1;
    f->codec->max_pixels      = MAX_PIXELS;
    f->codec->err_recognition = AV_EF_EXPLODE;
    return avcodec_open2(f->codec, codec, NULL);
}

/* FFmpeg can render a text file as video (tty); we refuse it as an image. */
static int open_file(ImageFile *f, const char *path)
{
    int ret = avformat_open_input(&f->format, path, NULL, NULL);

    if (ret < 0)
        return ret;
    ret = av_find_best_stream(f->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (ret < 0 || !strcmp(f->format->iformat->name, "tty"))
        return AVERROR_INVALIDDATA;
    f->stream = ret;
    return open_decoder(f, f->format->streams[ret]->codecpar);
}

/* Give the decoder more of the file, or its end. */
static int feed_decoder(ImageFile *f)
{
    int ret = av_read_frame(f->format, f->packet);

    if (ret == AVERROR_EOF)
        return avcodec_send_packet(f->codec, NULL);
    if (ret >= 0 && f->packet->stream_index == f->stream)
        ret = avcodec_send_packet(f->codec, f->packet);
    av_packet_unref(f->packet);
    return ret;
}

static int decode_image(ImageFile *f)
{
    int ret;

    while ((ret = avcodec_receive_frame(f->codec, f->coded)) == AVERROR(EAGAIN))
        if ((ret = feed_decoder(f)) < 0)
            break;
    return ret == AVERROR_EOF || (ret >= 0 && f->coded->decode_error_flags) ? AVERROR_INVALIDDATA
                                                                          : ret;
}

/* FFmpeg's older names of full range. */
static int without_range(int format, int *full)
{
    static const int formats[][2] = {
        { AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P }, { AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P },
        { AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P }, { AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P },
    };

    for (int i = 0; i < FF_ARRAY_ELEMS(formats); i++)
        if (formats[i][0] == format) {
            *full = 1;
            return formats[i][1];
        }
    return format;
}

/* By the matrix and the range that the frame is tagged with, as of inputs. */
static int convert_image(ImageFile *f)
{
    const AVFrame *from = f->coded;
    int flags = av_pix_fmt_desc_get(from->format)->flags, ret;
    int alpha  = flags & (AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL);
    int full   = from->color_range == AVCOL_RANGE_JPEG;
    int format = without_range(from->format, &full);
    struct SwsContext *sws;

    f->rgb->format = alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    f->rgb->width  = from->width;
    f->rgb->height = from->height;
    if ((ret = av_frame_get_buffer(f->rgb, 0)) < 0)
        return ret;
    sws = sws_getContext(from->width, from->height, format, from->width, from->height,
                         f->rgb->format, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT,
                         NULL, NULL, NULL);
    if (!sws)
        return AVERROR(ENOSYS);
    sws_setColorspaceDetails(sws, sws_getCoefficients(from->colorspace), full,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    ret = sws_scale(sws, (const uint8_t *const *)from->data, from->linesize, 0, from->height,
                    f->rgb->data, f->rgb->linesize);
    sws_freeContext(sws);
    return ret < 0 ? ret : 0;
}

/* A copy that is freed by the caller. */
static int copy_image(LinvideoImage *image, const AVFrame *frame)
{
    ptrdiff_t bytes = 3 * (ptrdiff_t)frame->width;
    uint8_t *rgb;

    if (frame->format == AV_PIX_FMT_RGBA)
        return flatten(image, frame, OVER_BLACK);
    if (!(rgb = av_malloc_array(frame->height, bytes)))
        return AVERROR(ENOMEM);
    for (int y = 0; y < frame->height; y++)
        memcpy(rgb + y * bytes, frame->data[0] + y * (ptrdiff_t)frame->linesize[0], bytes);
    *image = (LinvideoImage){ rgb, bytes, frame->width, frame->height };
    return 0;
}

static int fail_image(AVFilterContext *ctx, const char *option, const char *path, int ret)
{
    int broken = ret == AVERROR_INVALIDDATA || ret == AVERROR(EINVAL) ||
                 ret == AVERROR_DECODER_NOT_FOUND;
    char cause[AV_ERROR_MAX_STRING_SIZE] = "";

    av_strerror(ret, cause, sizeof(cause));
    if (broken)
        av_log(ctx, AV_LOG_ERROR, "%s %s: not an image that this FFmpeg reads, or broken, or "
               "of more than %d pixels\n", option, path, MAX_PIXELS);
    else
        av_log(ctx, AV_LOG_ERROR, "%s %s: %s\n", option, path, cause);
    return broken ? AVERROR(EINVAL) : ret;
}

/* The first frame of a file of any form that FFmpeg reads. */
static int read_image(AVFilterContext *ctx, const char *option, const char *path,
                      LinvideoImage *image)
{
    ImageFile f = { NULL };
    int ret = open_file(&f, path);

    if (ret >= 0 && (ret = decode_image(&f)) >= 0 && (ret = convert_image(&f)) >= 0)
        ret = copy_image(image, f.rgb);
    if (ret < 0)
        ret = fail_image(ctx, option, path, ret);
    else if (f.rgb->format == AV_PIX_FMT_RGBA)
        av_log(ctx, AV_LOG_WARNING, "%s %s: what is transparent in it becomes black\n", option,
               path);
    close_file(&f);
    return ret;
}

/* Images that options name, in place of their names, where no input gives them. */
static int read_images(AVFilterContext *ctx, LinvideoParams *p, LinvideoImage file[MAX_INPUTS])
{
    int first = p->image && *p->image && !p->image_data;
    int last  = p->last_image && *p->last_image && !p->last_image_data, ret = 0;

    if (first && (ret = read_image(ctx, "image", p->image, &file[0])) >= 0) {
        p->image      = NULL;
        p->image_data = &file[0];
    }
    if (last && ret >= 0 && (ret = read_image(ctx, "last_image", p->last_image, &file[1])) >= 0) {
        p->last_image      = NULL;
        p->last_image_data = &file[1];
    }
    return ret;
}
#else
/* The library reads PNG, PPM and y4m itself. */
static int read_images(AVFilterContext *ctx, LinvideoParams *p, LinvideoImage file[MAX_INPUTS])
{
    return 0;
}
#endif

/* Open it with images of files. */
static av_cold int open_with_images(AVFilterContext *ctx, LinvideoParams *p)
{
    LinvideoImage file[MAX_INPUTS] = { { NULL } };
    int ret = read_images(ctx, p, file);

    if (ret >= 0)
        ret = open_library(ctx, p);
    for (int i = 0; i < MAX_INPUTS; i++)
        av_free((void *)file[i].data);
    return ret;
}

/* A graph may be built and thrown away before one runs, so the library is
 * opened here, when size and rate are needed. It loads the weights when the
 * first frame is asked for. */
static av_cold int config_output(AVFilterLink *outlink)
{
    AVFilterContext *ctx = outlink->src;
    LinvideoSource *s = ctx->priv;
    LinvideoParams p = s->params;
    LinvideoImage image[MAX_INPUTS];
    LinvideoCuda cuda;
    AVRational rate = { 0, 1 };
    char frames[32] = "endless";
    int on_gpu = outlink->format == AV_PIX_FMT_CUDA, ret;

    if (s->rate && (ret = av_parse_video_rate(&rate, s->rate)) < 0) {
        av_log(ctx, AV_LOG_ERROR, "Invalid frame rate '%s'\n", s->rate);
        return ret;
    }
    p.rate_num = rate.num;
    p.rate_den = rate.den;
    describe_inputs(ctx, &p, image);
    p.format   = LINVIDEO_YUV420P;
    while (pixel_formats[p.format] != (on_gpu ? s->sw_format : outlink->format))
        p.format++;
    p.matrix = s->matrix = choose_matrix(ctx);
    /* The graph's own default is one thread more than there are cores. */
    p.threads   = FFMIN(ff_filter_get_nb_threads(ctx), av_cpu_count());
    p.progress  = log_progress;

    linvideo_close(&s->lv);
    if (on_gpu && (ret = open_device(ctx, &cuda)) < 0)
        return ret;
    p.cuda = on_gpu ? &cuda : NULL;
    if ((ret = open_with_images(ctx, &p)) < 0)
        return ret;

    outlink->w                   = s->info.width;
    outlink->h                   = s->info.height;
    outlink->sample_aspect_ratio = (AVRational){ 1, 1 };
    rate = (AVRational){ s->info.rate_num, s->info.rate_den };
    outlink->time_base           = av_inv_q(rate);
    LINK(outlink)->frame_rate    = rate;

    if (s->info.frames >= 0)
        snprintf(frames, sizeof(frames), "%"PRId64, s->info.frames);
    else if (is_video(s))
        snprintf(frames, sizeof(frames), "all");
    av_log(ctx, AV_LOG_INFO, "model:%s size:%dx%d rate:%d/%d frames:%s seed:%"PRId64"\n",
           s->info.model, outlink->w, outlink->h, rate.num, rate.den, frames, s->info.seed);
    warn_of_lost_tags(ctx, s, on_gpu ? s->sw_format : outlink->format);
    if (is_video(s) && (ret = config_times(outlink)) < 0)
        return ret;
    return on_gpu ? init_frames(outlink) : 0;
}

static void set_colour(AVFrame *frame, int format, enum LinvideoMatrix matrix)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);
    int rgb = desc->flags & AV_PIX_FMT_FLAG_RGB;

    frame->color_range     = rgb ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    frame->colorspace      = rgb ? AVCOL_SPC_RGB : colour_space(matrix);
    frame->color_primaries = AVCOL_PRI_BT709;
    frame->color_trc       = AVCOL_TRC_BT709;
    if (desc->log2_chroma_w)
        frame->chroma_location = AVCHROMA_LOC_LEFT;
}

static int set_metadata(AVFrame *frame, const LinvideoSource *s,
                        const LinvideoFrame *made)
{
    AVDictionary **m = &frame->metadata;
    int ret;

    if ((ret = av_dict_set_int(m, "lavfi.linvideo.seed", made->seed, 0)) < 0 ||
        (ret = av_dict_set_int(m, "lavfi.linvideo.clip", made->clip, 0)) < 0 ||
        (ret = av_dict_set(m, "lavfi.linvideo.prompt", made->prompt, 0)) < 0 ||
        (ret = av_dict_set(m, "lavfi.linvideo.model", s->info.model, 0)) < 0)
        return ret;
    return 0;
}

/* When the next frame is shown. */
static void set_time(AVFrame *frame, LinvideoSource *s)
{
    FrameTime t = { s->next, 1 };

    if (is_video(s))
        t = s->times[s->next_time++];
    frame->pts      = t.pts;
    DURATION(frame) = t.duration;
    s->next         = t.pts + t.duration;
}

/* Make one frame into the planes of a new AVFrame. AVERROR(EAGAIN): frames of the input are
 * to be sent first. */
static int make_frame(AVFilterLink *outlink, AVFrame **out)
{
    LinvideoSource *s = outlink->src->priv;
    AVFrame *frame = ff_get_video_buffer(outlink, outlink->w, outlink->h);
    LinvideoFrame made = { .index = 0 };
    int ret;

    if (!frame)
        return AVERROR(ENOMEM);
    for (int i = 0; i < FF_ARRAY_ELEMS(made.data); i++) {
        made.data[i]   = frame->data[i];
        made.stride[i] = frame->linesize[i];
    }
    ret = averror(linvideo_next_frame(s->lv, &made));
    if (ret >= 0)
        ret = set_metadata(frame, s, &made);
    if (ret < 0) {
        av_frame_free(&frame);
        return ret;
    }

    set_colour(frame, frame->format == AV_PIX_FMT_CUDA ? s->sw_format
                                                       : frame->format, s->matrix);
    frame->sample_aspect_ratio = outlink->sample_aspect_ratio;
    set_time(frame, s);
    *out = frame;
    return 0;
}

/* Inputs */

static void warn_of_input(AVFilterContext *ctx, int i, const AVFrame *frame)
{
    LinvideoSource *s = ctx->priv;
    int trc = frame->color_trc;

    if (s->warned[i])
        return;
    s->warned[i] = 1;
    if (IS_INTERLACED(frame))
        av_log(ctx, AV_LOG_WARNING, "Input %d: interlaced: both fields are taken as one frame; "
               "put bwdif in front of it\n", i);
    if (trc == AVCOL_TRC_SMPTE2084 || trc == AVCOL_TRC_ARIB_STD_B67)
        av_log(ctx, AV_LOG_WARNING, "Input %d: high dynamic range (%s): it is taken as BT.709; "
               "put zscale and tonemap in front of it\n", i, av_color_transfer_name(trc));
    if (frame->format == AV_PIX_FMT_RGBA && !s->alpha)
        av_log(ctx, AV_LOG_WARNING, "Input %d: with alpha: what is transparent in it becomes "
               "black\n", i);
}

static int send_pixels(AVFilterContext *ctx, enum LinvideoInput input, const AVFrame *frame,
                       int kind)
{
    LinvideoSource *s = ctx->priv;
    LinvideoImage image = { frame->data[0], frame->linesize[0], frame->width, frame->height };
    int alpha = frame->format == AV_PIX_FMT_RGBA, ret = 0;

    if (alpha && (ret = flatten(&image, frame, kind)) < 0)
        return ret;
    ret = averror(linvideo_send(s->lv, input, &image));
    if (alpha)
        av_free((void *)image.data);
    return ret;
}

static int send_frame(AVFilterContext *ctx, enum LinvideoInput input, const AVFrame *frame)
{
    const LinvideoSource *s = ctx->priv;
    int ret = 0;

    warn_of_input(ctx, input == LINVIDEO_INPUT_LAST_IMAGE || input == LINVIDEO_INPUT_MASK, frame);
    if (s->alpha)
        ret = send_pixels(ctx, LINVIDEO_INPUT_MASK, frame, GREY);
    return ret < 0 ? ret : send_pixels(ctx, input, frame, s->alpha ? COLOUR : OVER_BLACK);
}

/* Ask an input for a frame. 1: there is one, which the caller frees; 0: it comes later;
 * AVERROR_EOF: the input is over. */
static int ask(AVFilterLink *inlink, AVFrame **frame)
{
    int64_t pts;
    int ret = ff_inlink_consume_frame(inlink, frame), status;

    if (ret)
        return ret;
    if (ff_inlink_acknowledge_status(inlink, &status, &pts))
        return status;
    ff_inlink_request_frame(inlink);
    return 0;
}

/* An image is the first frame of an input, of which no more is wanted. @return as ask() */
static int take_image(AVFilterContext *ctx, int i)
{
    LinvideoSource *s = ctx->priv;
    AVFrame *frame;
    int ret = ask(ctx->inputs[i], &frame);

    if (ret == AVERROR_EOF) {
        av_log(ctx, AV_LOG_ERROR, "Input %d ended before its first frame\n", i);
        return AVERROR(EINVAL);
    }
    if (ret <= 0)
        return ret;
    ret = send_frame(ctx, i ? LINVIDEO_INPUT_LAST_IMAGE : LINVIDEO_INPUT_IMAGE, frame);
    av_frame_free(&frame);
    if (ret < 0)
        return ret;
    s->has_image[i] = 1;
    ff_inlink_set_status(ctx->inputs[i], AVERROR_EOF);
    return 1;
}

/* Its own, or that of the input's rate. */
static int64_t duration_of(const AVFrame *frame, AVFilterLink *inlink)
{
    AVRational rate = LINK(inlink)->frame_rate;

    if (DURATION(frame) > 0 || rate.num <= 0 || rate.den <= 0)
        return FFMAX(DURATION(frame), 1);
    return av_rescale_q(1, av_inv_q(rate), inlink->time_base);
}

/* When a frame is shown: where it has no timestamp, behind the one before it. */
static FrameTime time_of(AVFilterContext *ctx, const AVFrame *frame)
{
    LinvideoSource *s = ctx->priv;
    FrameTime t = { frame->pts, duration_of(frame, ctx->inputs[0]) };

    if (t.pts == AV_NOPTS_VALUE) {
        if (!s->untimed)
            av_log(ctx, AV_LOG_WARNING, "Input 0: frames without timestamps: each follows the "
                   "one before it\n");
        s->untimed = 1;
        t.pts      = s->sent_until;
    }
    s->sent_until = t.pts + t.duration;
    return t;
}

/* The next mask, if it is not there. @return as ask(); 1 too when masks are over */
static int ask_mask(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    int ret = s->mask || s->masks_over ? 1 : ask(ctx->inputs[1], &s->mask);

    if (ret != AVERROR_EOF)
        return ret;
    s->masks_over = 1;
    if (s->has_mask)
        return 1;
    av_log(ctx, AV_LOG_ERROR, "Input 1 ended before its first frame, which is a mask\n");
    return AVERROR(EINVAL);
}

/* The mask of a frame is the last one that does not begin behind it; the first one begins with the
 * first frame, and those without timestamps are one for each. @return 1: it was sent; as ask() */
static int take_masks(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    int ret;

    while ((ret = ask_mask(ctx)) > 0 && s->mask) {
        int untimed = s->mask->pts == AV_NOPTS_VALUE, first = !s->has_mask;

        if (!first && !untimed &&
            av_compare_ts(s->mask->pts, ctx->inputs[1]->time_base, s->video_time.pts,
                          ctx->inputs[0]->time_base) > 0)
            return 1;
        ret = send_frame(ctx, LINVIDEO_INPUT_MASK, s->mask);
        av_frame_free(&s->mask);
        if (ret < 0)
            return ret;
        s->has_mask = 1;
        if (untimed)
            return 1;
    }
    return ret;
}

/* The next frame of the video, if it is not there. @return as ask() */
static int ask_video(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    int ret = s->video ? 1 : ask(ctx->inputs[0], &s->video);

    if (ret > 0 && !s->timed)
        s->video_time = time_of(ctx, s->video);
    s->timed = ret > 0;
    return ret;
}

/* Frames of a video go on to the library. @return 1: one was sent, or the end; as ask() */
static int take_frame(AVFilterContext *ctx)
{
    LinvideoSource *s = ctx->priv;
    int ret = ask_video(ctx);

    if (ret == AVERROR_EOF) {
        ret = averror(linvideo_send(s->lv, LINVIDEO_INPUT_VIDEO, NULL));
        return ret < 0 ? ret : 1;
    }
    if (ret > 0 && s->nb_inputs > 1)
        ret = take_masks(ctx);
    if (ret <= 0)
        return ret;
    if (s->next_time == s->nb_times)
        s->nb_times = s->next_time = 0;
    s->times[s->nb_times++] = s->video_time;
    ret = send_frame(ctx, LINVIDEO_INPUT_VIDEO, s->video);
    av_frame_free(&s->video);
    s->timed = 0;
    return ret < 0 ? ret : 1;
}

/* The next frame: 1; 0: an input has to give one first; or an error. */
static int next_frame(AVFilterContext *ctx, AVFrame **frame)
{
    LinvideoSource *s = ctx->priv;
    int ret = 1;

    for (int i = 0; i < s->nb_inputs && !is_video(s) && ret > 0; i++)
        if (!s->has_image[i])
            ret = take_image(ctx, i);
    if (ret <= 0)
        return ret;
    while ((ret = make_frame(ctx->outputs[0], frame)) == AVERROR(EAGAIN) && is_video(s))
        if ((ret = take_frame(ctx)) <= 0)
            return ret;
    return ret == AVERROR(EAGAIN) ? AVERROR_EXTERNAL : ret < 0 ? ret : 1;
}

/* Making a frame blocks: a source that answers "try again" stops the graph. */
static int activate(AVFilterContext *ctx)
{
    AVFilterLink *outlink = ctx->outputs[0];
    LinvideoSource *s = ctx->priv;
    AVFrame *frame;
    int ret;

    FF_FILTER_FORWARD_STATUS_BACK_ALL(outlink, ctx);
    if (!ff_outlink_frame_wanted(outlink))
        return FFERROR_NOT_READY;

    ret = next_frame(ctx, &frame);
    if (ret < 0) {
        /* An error ends the stream too, so that a later request does not block. */
        s->nb_times = 0;
        ff_outlink_set_status(outlink, ret, s->next);
        return ret == AVERROR_EOF ? 0 : ret;
    }
    return ret ? ff_filter_frame(outlink, frame) : 0;
}

/* The library takes the new prompt with the next clip, or keeps the old one. */
static int process_command(AVFilterContext *ctx, const char *cmd,
                           const char *arg, char *res, int res_len, int flags)
{
    LinvideoSource *s = ctx->priv;
    int ret;

    if (s->lv && !strcmp(cmd, "prompt") &&
        (ret = linvideo_set_prompt(s->lv, arg)) < 0)
        return averror(ret);
    return ff_filter_process_command(ctx, cmd, arg, res, res_len, flags);
}

static const AVFilterPad linvideo_outputs[] = {
    {
        .name         = "default",
        .type         = AVMEDIA_TYPE_VIDEO,
        .config_props = config_output,
    },
    LAST_PAD
};

FILTER_CONST FILTER_TYPE ff_vsrc_linvideo = {
    PUBLIC(name)        = "linvideo",
    PUBLIC(description) = NULL_IF_CONFIG_SMALL("Make video from a text, images or a video."),
    PUBLIC(priv_class)  = &linvideo_class,
    PUBLIC(inputs)      = NULL,
    PUBLIC(flags)       = FILTER_FLAGS,
    .flags_internal     = FF_FILTER_FLAG_HWFRAME_AWARE,
    .priv_size          = sizeof(LinvideoSource),
    .preinit            = preinit,
    .init               = init,
    .uninit             = uninit,
    .activate           = activate,
    .process_command    = process_command,
    FILTER_OUTPUTS(linvideo_outputs),
    FILTER_QUERY_FUNC(query_formats),
};
