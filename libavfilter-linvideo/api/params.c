/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/params.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

static const char *const samplers[] = { "auto", "euler", "unipc", "renoise", "dpm++",
                                        "causvid", "rcm", NULL };
static const char *const caches[] = { "auto", "off", "on", NULL };
static const char *const precisions[] = { "auto", "f32", "bf16", "int8", NULL };
static const char *const formats[] = { "yuv420p", "yuv444p", "gbrp", "rgb24",
                                       "nv12", NULL };
static const char *const matrices[] = { "auto", "bt709", "bt601", NULL };
static const char *const levels[] = { "error", "warning", "info", "verbose", "debug",
                                      NULL };

#define AT(member) offsetof(LinvideoParams, member)
#define NEVER NAN

static const LvOption options[] = {
    { "model", LV_OPT_STRING, AT(model), 0, 0, NEVER, NULL, "NAME|FILE",
      "bundle or manifest, by name or path [motion]" },
    { "prompt", LV_OPT_STRING, AT(prompt), 0, 0, NEVER, NULL, "TEXT",
      "what to show" },
    { "prompt_file", LV_OPT_STRING, AT(prompt_file), 0, 0, NEVER, NULL, "FILE",
      "file with the prompt, or a pipe; in the command - is standard input" },
    { "negative_prompt", LV_OPT_STRING, AT(negative_prompt), 0, 0, NEVER, NULL, "TEXT",
      "what not to show [the model's]" },
    { "lora", LV_OPT_STRING, AT(lora), 0, 0, NEVER, NULL, "FILE[@W]|...",
      "LoRA files, each with its weight [none]" },
    { "size", LV_OPT_SIZE, AT(width), 16, 8192, 0, NULL, "WxH",
      "size of the frames [the model's]" },
    { "native", LV_OPT_INT, AT(native), 0, 1, NEVER, NULL, "0|1",
      "1: make size and clip_frames as asked, also where the model is not made for them, "
      "without scaling [0]" },
    { "rate", LV_OPT_RATE, AT(rate_num), 1, 1 << 20, 0, NULL, "N[/D]",
      "frames a second [the model's]" },
    { "duration", LV_OPT_DURATION, AT(duration), 1, 1e13, -1, NULL, "TIME",
      "seconds, or hh:mm:ss [one clip]" },
    { "frames", LV_OPT_INT64, AT(frames), 1, 1e9, -1, NULL, "N",
      "number of frames, instead of duration [one clip]" },
    { "clip_frames", LV_OPT_INT, AT(clip_frames), 1, 1021, 0, NULL, "N",
      "frames made at once; longer videos are clips joined by cuts [the model's]" },
    { "seed", LV_OPT_INT64, AT(seed), 0, 4294967295.0, -1, NULL, "N",
      "0 to 4294967295; -1 draws one [-1]" },
    { "steps", LV_OPT_INT, AT(steps), 1, 1000, 0, NULL, "N",
      "sampler steps [the model's]" },
    { "guidance", LV_OPT_FLOAT, AT(guidance), 1, 100, 0, NULL, "X",
      "guidance scale, 1 is off [the model's]" },
    { "shift", LV_OPT_FLOAT, AT(shift), 0.01, 100, 0, NULL, "X",
      "flow shift [the model's]" },
    { "sampler", LV_OPT_ENUM, AT(sampler), 0, 6, NEVER, samplers, "NAME",
      "auto, euler, unipc, renoise, dpm++, causvid, rcm [auto: the model's]" },
    { "precision", LV_OPT_ENUM, AT(precision), 0, 3, NEVER, precisions, "NAME",
      "auto, f32, bf16, int8 [auto: bf16 where the CPU has it]" },
    { "format", LV_OPT_ENUM, AT(format), 0, 4, NEVER, formats, "NAME",
      "yuv420p, yuv444p, gbrp, rgb24, nv12 [yuv420p]" },
    { "matrix", LV_OPT_ENUM, AT(matrix), 0, 2, NEVER, matrices, "NAME",
      "auto, bt709, bt601: how RGB becomes YUV [auto: what readers of untagged y4m "
      "assume, bt601]" },
    { "device", LV_OPT_STRING, AT(device), 0, 0, NEVER, NULL, "NAME",
      "auto, cpu, cuda, cuda:N for another GPU than the first, cuda:N+M for two, each with a "
      "branch of guidance [auto: a GPU if it can]" },
    { "threads", LV_OPT_INT, AT(threads), 1, 1024, 0, NULL, "N",
      "threads; frames are the same for any number [one for each core]" },
    { "memory_limit", LV_OPT_BYTES, AT(memory_limit), 1, 1e18, 0, NULL, "BYTES",
      "use no more: weights stream to a GPU, or refuse; K, M, G allowed [what is free]" },
    { "tile", LV_OPT_INT, AT(tile), 64, 8192, 0, NULL, "N",
      "decode in tiles of N pixels, which takes less memory [whole]" },
    { "prompt_cache", LV_OPT_ENUM, AT(prompt_cache), 0, 2, NEVER, caches, "NAME",
      "auto, off, on: keep features of prompts on disk [auto: of large encoders]" },
    { "strict", LV_OPT_INT, AT(strict), 0, 1, NEVER, NULL, "0|1",
      "1: refuse files that hold more than is used, as LoRAs for other parts [0]" },
    { "log_level", LV_OPT_ENUM, AT(log_level), 0, 4, NEVER, levels, "NAME",
      "error, warning, info, verbose, debug [info]" },
};

const LvOption *lv_option_at(int i)
{
    return i >= 0 && i < LV_COUNT(options) ? &options[i] : NULL;
}

static const LvOption *find(const char *name)
{
    for (int i = 0; i < LV_COUNT(options); i++)
        if (!strcmp(options[i].name, name))
            return &options[i];
    return NULL;
}

static void put(void *opaque, int level, const char *line)
{
    const LvRelay *r = opaque;
    locale_t ours    = uselocale(r->locale);

    r->p->log(r->p->opaque, (enum LinvideoLogLevel)level, line);
    uselocale(ours);
}

LvMsg lv_params_msg(const LvRelay *r)
{
    return (LvMsg) { .put = r->p->log ? put : NULL, .opaque = (void *)(uintptr_t)r,
                     .level = LV_MAX((int)r->p->log_level, LV_MSG_ERROR) };
}

void linvideo_params_default(LinvideoParams *p)
{
    if (!p)
        return;
    memset(p, 0, sizeof(*p));
    p->frames    = -1;
    p->duration  = -1;
    p->seed      = -1;
    p->rate_den  = 1;
    p->log_level = LINVIDEO_LOG_INFO;
}

/* Checking */

static int out_of_range(const LvOption *o, double v, const LvMsg *msg)
{
    int time    = o->kind == LV_OPT_DURATION;
    double unit = time ? 1e-6 : 1;

    return lv_fail(msg, LV_ERR(EINVAL), "%s is %.12g, allowed is %.12g to %.12g%s%s",
                   o->name, v * unit, o->min * unit, o->max * unit,
                   time ? " seconds" : "", o->unset == -1 ? " (-1: not given)" : "");
}

static int in_range(const LvOption *o, double v)
{
    /* the end of a range, as a float holds it, is in the range */
    double min = o->kind == LV_OPT_FLOAT ? (float)o->min : o->min;

    return v == o->unset || (v >= min && v <= o->max);
}

static int check_size(const LvOption *o, const int *wh, const LvMsg *msg)
{
    if (wh[0] == 0 && wh[1] == 0)
        return 0;
    for (int i = 0; i < 2; i++)
        if (wh[i] < o->min || wh[i] > o->max)
            return lv_fail(msg, LV_ERR(EINVAL), "size is %dx%d, allowed is %g to %g "
                           "each way", wh[0], wh[1], o->min, o->max);
    return 0;
}

static int check_rate(const LvOption *o, const int *r, const LvMsg *msg)
{
    if (r[0] == 0)
        return 0;
    if (r[0] < 0 || r[1] < 1 || r[0] > o->max || r[1] > o->max)
        return lv_fail(msg, LV_ERR(EINVAL), "rate is %d/%d, allowed are numbers from 1 "
                       "to %.0f", r[0], r[1], o->max);
    return 0;
}

static double value_of(const LvOption *o, const void *field)
{
    switch (o->kind) {
    case LV_OPT_INT:
    case LV_OPT_ENUM:  return *(const int *)field;
    case LV_OPT_FLOAT: return *(const float *)field;
    default:           return (double)*(const int64_t *)field;
    }
}

int lv_params_check(const LinvideoParams *p, const LvMsg *msg)
{
    int ret = 0;

    for (int i = 0; i < LV_COUNT(options) && ret >= 0; i++) {
        const LvOption *o = &options[i];
        const void *field = (const char *)p + o->offset;
        if (o->kind == LV_OPT_SIZE)
            ret = check_size(o, field, msg);
        else if (o->kind == LV_OPT_RATE)
            ret = check_rate(o, field, msg);
        else if (o->kind != LV_OPT_STRING && !in_range(o, value_of(o, field)))
            ret = out_of_range(o, value_of(o, field), msg);
    }
    return ret;
}

/* Parsing. Each parser returns 0 when all of the text was taken. */

static int parse_number(double *v, const char *text)
{
    char *end;

    *v = strtod(text, &end);
    return end != text && !*end && isfinite(*v) ? 0 : -1;
}

static int parse_whole(double *v, const char *text)
{
    return parse_number(v, text) < 0 || *v != floor(*v) ? -1 : 0;
}

static int parse_bytes(double *v, const char *text)
{
    static const char units[] = "KMG";
    char *end;

    *v = strtod(text, &end);
    if (end == text || !isfinite(*v))
        return -1;
    for (int i = 0; *end && units[i]; i++)
        if (*end == units[i])
            return end[1] ? -1 : (*v *= pow(1024, i + 1), 0);
    return *end ? -1 : 0;
}

/* Microseconds in the unit that ends a duration; 0: it is none. */
static double time_unit(const char *text)
{
    return !*text || !strcmp(text, "s") ? 1e6 : !strcmp(text, "ms") ? 1e3 :
           !strcmp(text, "us") ? 1 : 0;
}

/* To microseconds; -1 stays what it is. */
static int parse_duration(double *v, const char *text)
{
    double part, unit;
    const char *p = text;
    char *end;

    *v = 0;
    for (int i = 0; i < 3; i++) {
        part = strtod(p, &end);
        unit = i && *end ? 0 : time_unit(end);
        if (end == p || !isfinite(part) || (i && part < 0))
            return -1;
        *v = *v * 60 + part;
        if (unit > 0)
            return (*v = *v == -1 && !*end ? -1 : rint(*v * unit), 0);
        if (*end != ':')
            return -1;
        p = end + 1;
    }
    return -1;
}

static int parse_size(int *wh, const char *text)
{
    char rest;

    return sscanf(text, "%7dx%7d%c", &wh[0], &wh[1], &rest) == 2 ? 0 : -1;
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

/* Decimal rates: 23.976, 29.97 and their like are 1000/1001 of whole ones. */
static void rate_of(int *r, double v)
{
    double whole = rint(v * 1.001);
    int common;

    if (v != floor(v) && fabs(v * 1.001 - whole) < 2e-4 * LV_MIN(whole, 25)) {
        r[0] = 1000 * (int)whole;
        r[1] = 1001;
        return;
    }
    common = gcd((int)lrint(v * 1000), 1000);
    r[0]   = (int)lrint(v * 1000) / common;
    r[1]   = 1000 / common;
}

static int parse_rate(int *r, const char *text)
{
    double v;
    char rest;
    int parts = sscanf(text, "%9d/%9d%c", &r[0], &r[1], &rest);

    if (parts == 1 && sscanf(text, "%9d%c", &r[0], &rest) == 1)
        r[1] = 1, parts = 2;
    if (parts == 2)
        return r[0] > 0 && r[1] > 0 ? 0 : -1;
    if (parse_number(&v, text) < 0 || v < 0.001 || v > 1000)
        return -1;
    return (rate_of(r, v), 0);
}

static int parse_name(int *v, const char *const *names, const char *text)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], text))
            return (*v = i, 0);
    return -1;
}

static int bad_value(const LvOption *o, const char *value, const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(EINVAL), "%s: '%s' is not understood; expected %s, %s",
                   o->name, value, o->metavar, o->help);
}

static int parse_scalar(const LvOption *o, double *v, const char *value)
{
    switch (o->kind) {
    case LV_OPT_FLOAT:    return parse_number(v, value);
    case LV_OPT_DURATION: return parse_duration(v, value);
    case LV_OPT_BYTES:    return parse_bytes(v, value);
    default:              return parse_whole(v, value);
    }
}

static void store(const LvOption *o, void *field, double v)
{
    switch (o->kind) {
    case LV_OPT_INT:   *(int *)field = (int)v; break;
    case LV_OPT_FLOAT: *(float *)field = (float)v; break;
    default:           *(int64_t *)field = (int64_t)v;
    }
}

static int set_pair(const LvOption *o, int *field, const char *value, const LvMsg *msg)
{
    int size = o->kind == LV_OPT_SIZE, v[2], ret;

    if ((size ? parse_size : parse_rate)(v, value) < 0)
        return bad_value(o, value, msg);
    if ((ret = (size ? check_size : check_rate)(o, v, msg)) >= 0)
        memcpy(field, v, sizeof(v));
    return ret;
}

static int set_scalar(const LvOption *o, void *field, const char *value,
                      const LvMsg *msg)
{
    double v;

    if (parse_scalar(o, &v, value) < 0)
        return bad_value(o, value, msg);
    if (!in_range(o, v))
        return out_of_range(o, v, msg);
    if (!strcmp(o->name, "guidance") && v == o->unset)
        lv_msg(msg, LV_MSG_WARNING, "guidance: 0 means the model's own; 1 turns "
               "guidance off");
    store(o, field, v);
    return 0;
}

/* The field keeps its value when the new one is refused. */
static int set(const LvOption *o, void *field, const char *value, const LvMsg *msg)
{
    switch (o->kind) {
    case LV_OPT_STRING:
        *(const char **)field = value;
        return 0;
    case LV_OPT_SIZE:
    case LV_OPT_RATE:
        return set_pair(o, field, value, msg);
    case LV_OPT_ENUM:
        return parse_name(field, o->names, value) < 0 ? bad_value(o, value, msg) : 0;
    default:
        return set_scalar(o, field, value, msg);
    }
}

static int set_option(LinvideoParams *p, const char *name, const char *value,
                      const LvMsg *msg)
{
    const LvOption *o;

    if (!name || !value)
        return lv_fail(msg, LV_ERR(EINVAL), "an option needs a name and a value");
    if (!(o = find(name)))
        return lv_fail(msg, LV_ERR(EINVAL), "unknown option '%s'", name);
    return set(o, (char *)p + o->offset, value, msg);
}

int linvideo_params_set(LinvideoParams *p, const char *name, const char *value)
{
    LvLocale l;
    LvMsg msg;
    int ret;

    if (!p)
        return LV_ERR(EINVAL);
    lv_locale_enter(&l);
    msg = lv_params_msg(&(LvRelay) { p, l.before });
    ret = set_option(p, name, value, &msg);
    lv_locale_leave(&l);
    return ret;
}
