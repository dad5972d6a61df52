/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

/**
 * @file
 * The source "linvideo" for hosts of frei0r: an ffmpeg as it is installed (frei0r_src),
 * MLT, GStreamer, mpv.
 *
 * What a frame shows depends on the parameters and the time alone. Frames that were made
 * are kept, up to MAX_KEPT bytes, so that a host may go back; further back, or after a
 * parameter has changed, the video is made again. After its end the last frame stays.
 *
 * frei0r has no errors: the line that says what is wrong goes to standard error, and the
 * frames are striped in red and black until a parameter changes.
 *
 * Hosts construct instances only to ask for defaults, and set every parameter again for
 * each frame. So the library is opened when a frame is asked for, and a parameter that is
 * set to what it was changes nothing.
 */

#include <frei0r.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linvideo/linvideo.h>
#include <linvideo/option_table.h>

#define MAX_KEPT (512u << 20)    ///< bytes of frames that an instance keeps
#define PROGRESS_INTERVAL 10.    ///< seconds between lines, at least
#define TIME_SLACK 0.0005        ///< seconds that FFmpeg's milliseconds may be rounded by
#define STRIPE 32                ///< pixels

/* What a value may be, by what the table of options calls its kind. */
#define VALUE(of, constant, text, help) text ", "
#define VALUES_ENUM(name, min, max)     LINVIDEO_VALUES_##name(VALUE)
#define VALUES_FORMAT(name, min, max)   LINVIDEO_VALUES_##name(VALUE)
#define VALUES_INT(name, min, max)      #min " to " #max ", "
#define VALUES_INT64(name, min, max)    #min " to " #max ", "
#define VALUES_FLOAT(name, min, max)    #min " to " #max ", "
#define VALUES_BOOL(name, min, max)     "0, 1, "
#define VALUES_PROMPT(name, min, max)
#define VALUES_FILE(name, min, max)
#define VALUES_STRING(name, min, max)
#define VALUES_SIZE(name, min, max)
#define VALUES_RATE(name, min, max)
#define VALUES_DURATION(name, min, max)
#define VALUES_BYTES(name, min, max)

#define ROW(kind, name, alias, member, min, max, value, argument, preset, help, more)   \
    { #name, sizeof(preset) > 1 ? help "; " VALUES_##kind(name, min, max) "empty: " preset \
                                : help },

static const struct {
    const char *name, *help;
} options[] = { LINVIDEO_OPTIONS(ROW) };

/** A parameter, by the name of the library's option. All are texts: numbers of frei0r
 *  lie between 0 and 1. An empty one is left to the library. */
typedef struct Param {
    const char *name, *value;
} Param;

enum { PARAM_PROMPT, PARAM_SEED = 2, PARAM_PROMPT_FILE = 6, NB_PARAMS = 12 };

/* FFmpeg sets them by place: new ones go to the end. A seed is given, so that a host that
 * shows a video and one that renders it make the same. */
static const Param params[NB_PARAMS] = {
    [PARAM_PROMPT] = { "prompt", "a red circle bouncing on a blue background" },
    { "model", "" },
    [PARAM_SEED] = { "seed", "0" },
    { "steps", "" },
    { "guidance", "" },
    { "duration", "" },
    [PARAM_PROMPT_FILE] = { "prompt_file", "" },
    { "negative_prompt", "" },
    { "lora", "" },
    { "device", "" },
    { "precision", "" },
    { "memory_limit", "" },
};

typedef struct Instance {
    unsigned width, height;
    char *value[NB_PARAMS];  ///< as set; NULL: by default

    LinvideoContext *lv;     ///< NULL until a frame is asked for
    LinvideoInfo info;
    uint8_t *kept;           ///< [slots][height][width][3]; frame n is in slot n % slots
    int64_t slots;
    int64_t made;            ///< frames made since it was opened
    int failed;              ///< what the parameters ask for cannot be made
    int ended;               ///< the end of the video was told

    int in_seconds;          ///< the host has given a time with a fraction
    int warned_of_width;
    double progress_time;    ///< of the clip, when the last line was printed
} Instance;

/* What is said */

static void say(const char *line)
{
    fprintf(stderr, "linvideo: %s\n", line);
}

static void log_message(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    (void)opaque, (void)level;
    say(message);
}

static void log_progress(void *opaque, const LinvideoProgress *p)
{
    Instance *in = opaque;
    char line[160];

    if (p->elapsed < in->progress_time)
        in->progress_time = 0; /* another clip */
    if (p->elapsed - in->progress_time < PROGRESS_INTERVAL)
        return;
    in->progress_time = p->elapsed;
    snprintf(line, sizeof(line), "%s clip %lld of %lld: step %d of %d, %.0f %%", p->stage_name,
             (long long)p->clip + 1, (long long)p->clips, p->step, p->steps,
             100 * p->fraction);
    say(line);
}

/* The plugin */

int f0r_init(void)
{
    return 1;
}

void f0r_deinit(void)
{
}

void f0r_get_plugin_info(f0r_plugin_info_t *info)
{
    *info = (f0r_plugin_info_t) {
        .name = "linvideo", .author = "linvideo", .plugin_type = F0R_PLUGIN_TYPE_SOURCE,
        .color_model = F0R_COLOR_MODEL_RGBA8888, .frei0r_version = FREI0R_MAJOR_VERSION,
        .major_version = LINVIDEO_VERSION_MAJOR, .minor_version = LINVIDEO_VERSION_MINOR,
        .num_params = NB_PARAMS, .explanation = "Make video from a text",
    };
}

void f0r_get_param_info(f0r_param_info_t *info, int index)
{
    *info = (f0r_param_info_t) { .name = params[index].name, .type = F0R_PARAM_STRING };
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (!strcmp(options[i].name, info->name))
            info->explanation = options[i].help;
}

/* Instances */

f0r_instance_t f0r_construct(unsigned int width, unsigned int height)
{
    Instance *in = calloc(1, sizeof(*in));

    if (!in)
        return NULL;
    in->width  = width;
    in->height = height;
    return in;
}

static void close_video(Instance *in)
{
    linvideo_close(&in->lv);
    free(in->kept);
    in->kept  = NULL;
    in->made  = in->slots = 0;
    in->ended = in->failed = 0;
}

void f0r_destruct(f0r_instance_t instance)
{
    Instance *in = instance;

    close_video(in);
    for (int i = 0; i < NB_PARAMS; i++)
        free(in->value[i]);
    free(in);
}

static const char *value_of(const Instance *in, int index)
{
    return in->value[index] ? in->value[index] : params[index].value;
}

void f0r_set_param_value(f0r_instance_t instance, f0r_param_t param, int index)
{
    Instance *in     = instance;
    const char *text = *(f0r_param_string *)param;
    char *copy;

    if (!text || !strcmp(text, value_of(in, index)))
        return;
    if (!(copy = strdup(text))) {
        say("out of memory: a parameter keeps its value");
        return;
    }
    free(in->value[index]);
    in->value[index] = copy;
    close_video(in);
}

void f0r_get_param_value(f0r_instance_t instance, f0r_param_t param, int index)
{
    *(f0r_param_string *)param = (char *)value_of(instance, index);
}

/* The video */

static int set_params(const Instance *in, LinvideoParams *p)
{
    int from_file = *value_of(in, PARAM_PROMPT_FILE), ret = 0;

    for (int i = 0; i < NB_PARAMS && ret >= 0; i++)
        if (*value_of(in, i) && !(i == PARAM_PROMPT && from_file))
            ret = linvideo_params_set(p, params[i].name, value_of(in, i));
    return ret;
}

static int keep_frames(Instance *in)
{
    size_t frame = (size_t)in->width * in->height * 3;

    in->slots = MAX_KEPT / frame ? (int64_t)(MAX_KEPT / frame) : 1;
    if (in->slots > in->info.frames)
        in->slots = in->info.frames;
    if ((in->kept = malloc((size_t)in->slots * frame)))
        return 0;
    say("out of memory for frames");
    return -1;
}

/* seed: that of a video that is made again, or -1 */
static int open_video(Instance *in, int64_t seed)
{
    LinvideoParams p;
    int ret;

    linvideo_params_default(&p);
    p.width     = (int)in->width;
    p.height    = (int)in->height;
    p.format    = LINVIDEO_RGB24;
    p.log       = log_message;
    p.log_level = LINVIDEO_LOG_WARNING;
    p.progress  = log_progress;
    p.opaque    = in;
    if ((ret = set_params(in, &p)) < 0)
        return ret;
    if (seed >= 0)
        p.seed = seed;
    if ((ret = linvideo_open(&in->lv, &p)) < 0)
        return ret;
    linvideo_info(in->lv, &in->info);
    if (p.seed < 0)
        fprintf(stderr, "linvideo: seed %lld\n", (long long)in->info.seed);
    return keep_frames(in);
}

static uint8_t *slot(const Instance *in, int64_t number)
{
    return in->kept + (size_t)(number % in->slots) * in->width * in->height * 3;
}

/* Make frames up to the one of that number. */
static int make_frames(Instance *in, int64_t number)
{
    LinvideoFrame f = { .stride = { (ptrdiff_t)in->width * 3 } };
    int ret = 0;

    for (; in->made <= number && ret >= 0; in->made += ret >= 0) {
        f.data[0] = slot(in, in->made);
        ret       = linvideo_next_frame(in->lv, &f);
    }
    return ret;
}

/* Seconds of a time. FFmpeg counts whole milliseconds, where frei0r says seconds: until
 * there is a fraction, it is taken for FFmpeg. */
static double seconds_of(Instance *in, double time)
{
    if (time != floor(time))
        in->in_seconds = 1;
    if (in->in_seconds || !(time > 0))
        return time;
    if (in->width % 16 && !in->warned_of_width) {
        in->warned_of_width = 1;
        fprintf(stderr, "linvideo: width %u: FFmpeg may show it slanted, as of all of frei0r; "
                "expected a multiple of 16\n", in->width);
    }
    return time / 1000;
}

/* Number of the frame that is shown at a time in seconds; the last one stays. */
static int64_t number_of(Instance *in, double time)
{
    int64_t last  = in->info.frames - 1;
    double number = floor((time + TIME_SLACK) * in->info.rate_num / in->info.rate_den);

    if (!(number > 0))
        return 0;
    if (number <= (double)last)
        return (int64_t)number;
    if (!in->ended)
        fprintf(stderr, "linvideo: the video has %lld frames, %.4g s; the last one stays "
                "(duration makes it longer)\n", (long long)in->info.frames,
                (double)in->info.frames * in->info.rate_den / in->info.rate_num);
    in->ended = 1;
    return last;
}

/* The frame at a time in seconds, RGB; NULL after a message. */
static const uint8_t *frame_at(Instance *in, double time)
{
    int64_t number, seed;

    if (!in->lv && open_video(in, -1) < 0)
        return NULL;
    number = number_of(in, time);
    if (number < in->made - in->slots) {
        seed = in->info.seed;
        close_video(in);
        if (open_video(in, seed) < 0)
            return NULL;
    }
    return make_frames(in, number) < 0 ? NULL : slot(in, number);
}

static void put_frame(const Instance *in, const uint8_t *rgb, uint8_t *out)
{
    size_t pixels = (size_t)in->width * in->height;

    for (size_t i = 0; i < pixels; i++) {
        memcpy(out + 4 * i, rgb + 3 * i, 3);
        out[4 * i + 3] = 255;
    }
}

static void put_stripes(const Instance *in, uint8_t *out)
{
    for (unsigned y = 0; y < in->height; y++)
        for (unsigned x = 0; x < in->width; x++, out += 4) {
            out[0] = (x + y) / STRIPE % 2 ? 192 : 0;
            out[1] = out[2] = 0;
            out[3] = 255;
        }
}

void f0r_update(f0r_instance_t instance, double time, const uint32_t *inframe,
                uint32_t *outframe)
{
    Instance *in       = instance;
    double seconds     = seconds_of(in, time);
    const uint8_t *rgb = in->failed ? NULL : frame_at(in, seconds);

    (void)inframe;
    if (rgb) {
        put_frame(in, rgb, (uint8_t *)outframe);
        return;
    }
    if (!in->failed)
        close_video(in);
    in->failed = 1;
    put_stripes(in, (uint8_t *)outframe);
}
