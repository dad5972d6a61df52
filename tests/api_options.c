/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Options from text and as numbers, versions and texts of codes.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/params.h"
#include "linvideo/option_table.h"
#include "tests/api_kit.h"

START_TEST(defaults)
{
    LinvideoParams p, zero;

    memset(&zero, 0, sizeof(zero));
    memset(&p, 0xAA, sizeof(p));
    linvideo_params_default(&p);
    ck_assert_int_eq(p.frames, -1);
    ck_assert_int_eq(p.duration, -1);
    ck_assert_int_eq(p.seed, -1);
    ck_assert_int_eq(p.rate_den, 1);
    ck_assert_int_eq(p.log_level, LINVIDEO_LOG_INFO);
    ck_assert_int_eq(p.join, LINVIDEO_JOIN_AUTO);
    p.join   = LINVIDEO_JOIN_CUT;
    p.frames = p.duration = p.seed = p.rate_den = p.causal_sink = 0;
    p.log_level = (enum LinvideoLogLevel)0;
    ck_assert_mem_eq(&p, &zero, sizeof(p));
}
END_TEST

START_TEST(version)
{
    ck_assert_uint_eq(linvideo_version(), LINVIDEO_VERSION_INT);
    ck_assert_int_eq(LINVIDEO_VERSION_INT >> 16, LINVIDEO_VERSION_MAJOR);
}
END_TEST

START_TEST(texts_of_codes)
{
    static const int codes[] = {
        0, LINVIDEO_EOF, LINVIDEO_ERR_MODEL, LINVIDEO_ERR_DEVICE,
        LINVIDEO_ERR_UNSUPPORTED, LINVIDEO_ERR_CANCELLED, -ENOMEM, -EINVAL, -ENOENT,
    };

    for (int i = 0; i < LV_COUNT(codes); i++)
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(linvideo_strerror(codes[i]), linvideo_strerror(codes[k]));
    ck_assert_str_eq(linvideo_strerror(12345), "unknown error");
    ck_assert_str_eq(linvideo_strerror(LINVIDEO_EOF), "end of the video");
}
END_TEST

/* Values that are taken */

#define AT(member) offsetof(LinvideoParams, member)

typedef enum Type { INT, INT64, FLOAT } Type;

static const struct {
    const char *name, *text;
    Type type;
    size_t offset;
    double value;
    size_t offset2; ///< of another int; 0: none
    double value2;
} good[] = {
    { "size", "832x480", INT, AT(width), 832, AT(height), 480 },
    { "size", "16x8192", INT, AT(width), 16, AT(height), 8192 },
    { "size", "17x33",   INT, AT(width), 17, AT(height), 33 },
    { "size", "0x0",     INT, AT(width), 0, AT(height), 0 },
    { "rate", "24",         INT, AT(rate_num), 24, AT(rate_den), 1 },
    { "rate", "24000/1001", INT, AT(rate_num), 24000, AT(rate_den), 1001 },
    { "rate", "1/3",        INT, AT(rate_num), 1, AT(rate_den), 3 },
    { "rate", "23.976",     INT, AT(rate_num), 24000, AT(rate_den), 1001 },
    { "rate", "23.98",      INT, AT(rate_num), 24000, AT(rate_den), 1001 },
    { "rate", "29.97",      INT, AT(rate_num), 30000, AT(rate_den), 1001 },
    { "rate", "59.94",      INT, AT(rate_num), 60000, AT(rate_den), 1001 },
    { "rate", "24.0",       INT, AT(rate_num), 24, AT(rate_den), 1 },
    { "rate", "12.5",       INT, AT(rate_num), 25, AT(rate_den), 2 },
    { "rate", "0.5",        INT, AT(rate_num), 1, AT(rate_den), 2 },
    { "rate", "0.001",      INT, AT(rate_num), 1, AT(rate_den), 1000 },
    { "rate", "14.985",     INT, AT(rate_num), 15000, AT(rate_den), 1001 },
    { "duration", "1.5",     INT64, AT(duration), 1500000, 0, 0 },
    { "duration", "0:02",    INT64, AT(duration), 2000000, 0, 0 },
    { "duration", "1:02:03", INT64, AT(duration), 3723000000, 0, 0 },
    { "duration", "0:0:1.25", INT64, AT(duration), 1250000, 0, 0 },
    { "duration", "1.001",   INT64, AT(duration), 1001000, 0, 0 },
    { "duration", "0.000001", INT64, AT(duration), 1, 0, 0 },
    { "duration", "-1",      INT64, AT(duration), -1, 0, 0 },
    { "frames", "1",          INT64, AT(frames), 1, 0, 0 },
    { "frames", "1000000000", INT64, AT(frames), 1e9, 0, 0 },
    { "frames", "-1",         INT64, AT(frames), -1, 0, 0 },
    { "clip_frames", "1",    INT, AT(clip_frames), 1, 0, 0 },
    { "clip_frames", "1021", INT, AT(clip_frames), 1021, 0, 0 },
    { "clip_frames", "0",    INT, AT(clip_frames), 0, 0, 0 },
    { "seed", "0",          INT64, AT(seed), 0, 0, 0 },
    { "seed", "4294967295", INT64, AT(seed), 4294967295.0, 0, 0 },
    { "seed", "-1",         INT64, AT(seed), -1, 0, 0 },
    { "steps", "1000", INT, AT(steps), 1000, 0, 0 },
    { "steps", "0",    INT, AT(steps), 0, 0, 0 },
    { "guidance", "7.5", FLOAT, AT(guidance), 7.5, 0, 0 },
    { "guidance", "1",   FLOAT, AT(guidance), 1, 0, 0 },
    { "guidance", "100", FLOAT, AT(guidance), 100, 0, 0 },
    { "shift", "0.25", FLOAT, AT(shift), 0.25, 0, 0 },
    { "duration", "500ms",   INT64, AT(duration), 500000, 0, 0 },
    { "duration", "20us",    INT64, AT(duration), 20, 0, 0 },
    { "duration", "2s",      INT64, AT(duration), 2000000, 0, 0 },
    { "rate", "1001",        INT, AT(rate_num), 1001, AT(rate_den), 1 },
    { "shift", "0.01", FLOAT, AT(shift), 0.01f, 0, 0 },
    { "sampler", "auto",    INT, AT(sampler), LINVIDEO_SAMPLER_AUTO, 0, 0 },
    { "sampler", "euler",   INT, AT(sampler), LINVIDEO_SAMPLER_EULER, 0, 0 },
    { "sampler", "unipc",   INT, AT(sampler), LINVIDEO_SAMPLER_UNIPC, 0, 0 },
    { "sampler", "renoise", INT, AT(sampler), LINVIDEO_SAMPLER_RENOISE, 0, 0 },
    { "sampler", "dpm++",   INT, AT(sampler), LINVIDEO_SAMPLER_DPMPP, 0, 0 },
    { "sampler", "rcm",     INT, AT(sampler), LINVIDEO_SAMPLER_RCM, 0, 0 },
    { "tile", "256",        INT, AT(tile), 256, 0, 0 },
    { "prompt_cache", "off", INT, AT(prompt_cache), LINVIDEO_CACHE_OFF, 0, 0 },
    { "mode", "text",  INT, AT(mode), LINVIDEO_MODE_TEXT, 0, 0 },
    { "mode", "video", INT, AT(mode), LINVIDEO_MODE_VIDEO, 0, 0 },
    { "strength", "0.01", FLOAT, AT(strength), 0.01f, 0, 0 },
    { "strength", "1",    FLOAT, AT(strength), 1, 0, 0 },
    { "guidance_start", "0", FLOAT, AT(guidance_start), 0, 0, 0 },
    { "guidance_start", "1", FLOAT, AT(guidance_start), 1, 0, 0 },
    { "guidance_end", "0.01", FLOAT, AT(guidance_end), 0.01f, 0, 0 },
    { "guidance_end", "1",    FLOAT, AT(guidance_end), 1, 0, 0 },
    { "join", "cut",    INT, AT(join), LINVIDEO_JOIN_CUT, 0, 0 },
    { "join", "window", INT, AT(join), LINVIDEO_JOIN_WINDOW, 0, 0 },
    { "join", "continue", INT, AT(join), LINVIDEO_JOIN_CONTINUE, 0, 0 },
    { "join", "auto", INT, AT(join), LINVIDEO_JOIN_AUTO, 0, 0 },
    { "loop", "0", INT, AT(loop), 0, 0, 0 },
    { "causal", "1", INT, AT(causal), 1, 0, 0 },
    { "causal", "64", INT, AT(causal), 64, 0, 0 },
    { "causal_window", "1", INT, AT(causal_window), 1, 0, 0 },
    { "causal_window", "1024", INT, AT(causal_window), 1024, 0, 0 },
    { "causal_sink", "0", INT, AT(causal_sink), 0, 0, 0 },
    { "causal_sink", "1023", INT, AT(causal_sink), 1023, 0, 0 },
    { "sampler", "causvid-causal", INT, AT(sampler), LINVIDEO_SAMPLER_CAUSVID_CAUSAL, 0, 0 },
    { "loop", "1", INT, AT(loop), 1, 0, 0 },
    { "nag", "1",   FLOAT, AT(nag), 1, 0, 0 },
    { "nag", "100", FLOAT, AT(nag), 100, 0, 0 },
    { "nag_tau", "0.1", FLOAT, AT(nag_tau), 0.1f, 0, 0 },
    { "nag_tau", "100", FLOAT, AT(nag_tau), 100, 0, 0 },
    { "nag_alpha", "0.01", FLOAT, AT(nag_alpha), 0.01f, 0, 0 },
    { "nag_alpha", "1",    FLOAT, AT(nag_alpha), 1, 0, 0 },
    { "cache", "0.001", FLOAT, AT(cache), 0.001f, 0, 0 },
    { "cache", "1",     FLOAT, AT(cache), 1, 0, 0 },
    { "cache", "0",     FLOAT, AT(cache), 0, 0, 0 },
    { "precision", "auto", INT, AT(precision), LINVIDEO_PRECISION_AUTO, 0, 0 },
    { "precision", "f32",  INT, AT(precision), LINVIDEO_PRECISION_F32, 0, 0 },
    { "precision", "bf16", INT, AT(precision), LINVIDEO_PRECISION_BF16, 0, 0 },
    { "precision", "int8", INT, AT(precision), LINVIDEO_PRECISION_INT8, 0, 0 },
    { "precision", "fp8",  INT, AT(precision), LINVIDEO_PRECISION_FP8, 0, 0 },
    { "format", "yuv420p", INT, AT(format), LINVIDEO_YUV420P, 0, 0 },
    { "format", "yuv444p", INT, AT(format), LINVIDEO_YUV444P, 0, 0 },
    { "format", "gbrp",    INT, AT(format), LINVIDEO_GBRP, 0, 0 },
    { "format", "rgb24",   INT, AT(format), LINVIDEO_RGB24, 0, 0 },
    { "format", "nv12",    INT, AT(format), LINVIDEO_NV12, 0, 0 },
    { "matrix", "auto",    INT, AT(matrix), LINVIDEO_MATRIX_AUTO, 0, 0 },
    { "matrix", "bt709",   INT, AT(matrix), LINVIDEO_MATRIX_BT709, 0, 0 },
    { "matrix", "bt601",   INT, AT(matrix), LINVIDEO_MATRIX_BT601, 0, 0 },
    { "native", "0",       INT, AT(native), 0, 0, 0 },
    { "native", "1",       INT, AT(native), 1, 0, 0 },
    { "threads", "1024", INT, AT(threads), 1024, 0, 0 },
    { "threads", "0",    INT, AT(threads), 0, 0, 0 },
    { "memory_limit", "12345", INT64, AT(memory_limit), 12345, 0, 0 },
    { "memory_limit", "1K",    INT64, AT(memory_limit), 1024, 0, 0 },
    { "memory_limit", "1.5M",  INT64, AT(memory_limit), 1572864, 0, 0 },
    { "memory_limit", "8G",    INT64, AT(memory_limit), 8589934592.0, 0, 0 },
    { "memory_limit", "0",     INT64, AT(memory_limit), 0, 0, 0 },
    { "strict", "0", INT, AT(strict), 0, 0, 0 },
    { "strict", "1", INT, AT(strict), 1, 0, 0 },
    { "log_level", "error",   INT, AT(log_level), LINVIDEO_LOG_ERROR, 0, 0 },
    { "log_level", "warning", INT, AT(log_level), LINVIDEO_LOG_WARNING, 0, 0 },
    { "log_level", "info",    INT, AT(log_level), LINVIDEO_LOG_INFO, 0, 0 },
    { "log_level", "verbose", INT, AT(log_level), LINVIDEO_LOG_VERBOSE, 0, 0 },
    { "log_level", "debug",   INT, AT(log_level), LINVIDEO_LOG_DEBUG, 0, 0 },
};

static const struct {
    const char *name;
    size_t offset;
} strings[] = {
    { "model", AT(model) }, { "prompt", AT(prompt) },
    { "prompt_file", AT(prompt_file) }, { "negative_prompt", AT(negative_prompt) },
    { "device", AT(device) }, { "lora", AT(lora) }, { "image", AT(image) },
    { "last_image", AT(last_image) }, { "video", AT(video) }, { "mask", AT(mask) },
};

static double number(const LinvideoParams *p, Type type, size_t offset)
{
    const void *at = (const char *)p + offset;

    return type == INT   ? *(const int *)at :
           type == INT64 ? (double)*(const int64_t *)at : *(const float *)at;
}

START_TEST(takes)
{
    Watch w;
    LinvideoParams p = kit_params(&w), before = p;
    size_t most = sizeof(p) - good[_i].offset;
    double x, y;

    ck_assert_int_eq(linvideo_params_set(&p, good[_i].name, good[_i].text), 0);
    x = number(&p, good[_i].type, good[_i].offset);
    ck_assert_msg(x == good[_i].value, "%s=%s: %.9g", good[_i].name, good[_i].text, x);
    y = good[_i].offset2 ? number(&p, INT, good[_i].offset2) : 0;
    ck_assert_msg(y == good[_i].value2, "%s=%s: / %.9g", good[_i].name, good[_i].text, y);
    memcpy((char *)&before + good[_i].offset, (char *)&p + good[_i].offset, LV_MIN(most, 8));
    ck_assert_msg(!memcmp(&p, &before, sizeof(p)), "%s changes more", good[_i].name);
    ck_assert_str_eq(w.all, "");
}
END_TEST

START_TEST(takes_strings)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    char text[] = "any text, it is looked at when opening";

    for (int i = 0; i < LV_COUNT(strings); i++) {
        ck_assert_int_eq(linvideo_params_set(&p, strings[i].name, text), 0);
        ck_assert_ptr_eq(*(char **)((char *)&p + strings[i].offset), text);
    }
    ck_assert_str_eq(w.all, "");
}
END_TEST

/* Every member has the type that the kind of its row says. */

#define IS_NUMBER(member, type) _Generic(((LinvideoParams *)0)->member, type: 1, default: 0)
#define IS_TEXT(member)         IS_NUMBER(member, const char *)
#define IS_PROMPT(member)       IS_TEXT(member)
#define IS_FILE(member)         IS_TEXT(member)
#define IS_STRING(member)       IS_TEXT(member)
#define IS_BOOL(member)         IS_NUMBER(member, int)
#define IS_INT(member)          IS_NUMBER(member, int)
#define IS_INT64(member)        IS_NUMBER(member, int64_t)
#define IS_FLOAT(member)        IS_NUMBER(member, float)
#define IS_ENUM(member)         (sizeof(((LinvideoParams *)0)->member) == sizeof(int))
#define IS_FORMAT(member)       IS_ENUM(member)
#define IS_SIZE(member)         IS_NUMBER(member, int)
#define IS_RATE(member)         IS_NUMBER(member, int)
#define IS_DURATION(member)     IS_NUMBER(member, int64_t)
#define IS_BYTES(member)        IS_NUMBER(member, int64_t)
#define TYPE_FITS(kind, name, alias, member, ...) \
    _Static_assert(IS_##kind(member), "type of " #name);

LINVIDEO_OPTIONS(TYPE_FITS)
LINVIDEO_OPTIONS_HOST(TYPE_FITS)

/* The last value of each ENUM is the end of its range; no text is cut. */
START_TEST(texts_of_options)
{
    const LvOption *o = lv_option_at(_i);
    char text[LV_OPTION_TEXT];
    int nb = 0;

    lv_option_text(o, text);
    ck_assert_msg(strlen(text) < LV_OPTION_TEXT - 1, "%s", text);
    ck_assert_msg(strstr(text, o->help), "%s", text);
    while (o->choices && o->choices[nb].name)
        ck_assert_ptr_nonnull(strstr(text, o->choices[nb++].name));
    ck_assert(!o->choices || (o->min == 0 && o->max == nb - 1));
}
END_TEST

/* The tables above have every option, and no more. */
START_TEST(every_option)
{
    const LvOption *o;
    int found, nb = 0;

    for (; (o = lv_option_at(nb)); nb++) {
        found = 0;
        for (int k = 0; k < LV_COUNT(good); k++)
            found |= !strcmp(good[k].name, o->name) && good[k].offset == o->offset;
        for (int k = 0; k < LV_COUNT(strings); k++)
            found |= !strcmp(strings[k].name, o->name) && strings[k].offset == o->offset;
        ck_assert_msg(found, "%s", o->name);
    }
    ck_assert_int_eq(nb, 43);
    ck_assert_ptr_null(lv_option_at(-1));
}
END_TEST

/* Values that are refused */

static const struct {
    const char *name, *text;
    const char *part; ///< of the message, beside the name
} bad[] = {
    { "siez", "64x64", "unknown option 'siez'" },
    { "", "1", "unknown option ''" },
    { "width", "64", "unknown option 'width'" },
    { "Size", "64x64", "unknown option 'Size'" },
    { "size", "", "'' is not understood; expected WxH" },
    { "size", "64", "'64' is not understood" },
    { "size", "64x", "'64x' is not understood" },
    { "size", "64x64x3", "is not understood" },
    { "size", "64x64 ", "is not understood" },
    { "size", "wide", "is not understood" },
    { "size", "15x64", "is 15x64, allowed is 16 to 8192" },
    { "size", "64x8193", "is 64x8193, allowed is 16 to 8192" },
    { "size", "0x64", "is 0x64, allowed" },
    { "size", "-64x64", "is -64x64, allowed" },
    { "rate", "", "is not understood; expected N[/D]" },
    { "rate", "0", "is not understood" },
    { "rate", "-24", "is not understood" },
    { "rate", "24/0", "is not understood" },
    { "rate", "24/1x", "is not understood" },
    { "rate", "nan", "is not understood" },
    { "rate", "1048577", "is 1048577/1, allowed are numbers from 1 to 1048576" },
    { "rate", "1000.5", "is not understood" },
    { "rate", "2000000/1", "is 2000000/1, allowed are numbers from 1 to 1048576" },
    { "duration", "", "is not understood; expected TIME" },
    { "duration", "0", "is 0, allowed is 1e-06 to 10000000 seconds" },
    { "duration", "-2", "is -2, allowed" },
    { "duration", "0:00", "is 0, allowed" },
    { "duration", "1:2:3:4", "is not understood" },
    { "duration", "1:", "is not understood" },
    { "duration", "1:-2", "is not understood" },
    { "duration", "2x", "is not understood" },
    { "duration", "1:2s", "is not understood" },
    { "duration", "inf", "is not understood" },
    { "duration", "1e8", "is 100000000, allowed" },
    { "frames", "0", "is 0, allowed is 1 to 1000000000 (-1: not given)" },
    { "frames", "-2", "is -2, allowed" },
    { "frames", "1000000001", "is 1000000001, allowed" },
    { "frames", "1.5", "'1.5' is not understood; expected N" },
    { "frames", "ten", "is not understood" },
    { "clip_frames", "-1", "is -1, allowed is 1 to 1021" },
    { "clip_frames", "1022", "is 1022, allowed is 1 to 1021" },
    { "seed", "-2", "is -2, allowed is 0 to 4294967295" },
    { "seed", "4294967296", "is 4294967296, allowed is 0 to 4294967295" },
    { "seed", "random", "is not understood" },
    { "steps", "-1", "is -1, allowed is 1 to 1000" },
    { "steps", "1001", "is 1001, allowed is 1 to 1000" },
    { "steps", "1e300", "allowed is 1 to 1000" },
    { "guidance", "0.5", "is 0.5, allowed is 1 to 100" },
    { "guidance", "101", "is 101, allowed is 1 to 100" },
    { "guidance", "nan", "is not understood" },
    { "guidance", "3 ", "is not understood" },
    { "guidance_start", "1.01", "is 1.01, allowed is 0 to 1" },
    { "guidance_start", "-0.1", "is -0.1, allowed is 0 to 1" },
    { "guidance_end", "0.001", "is 0.001, allowed is 0.01 to 1" },
    { "guidance_end", "2", "is 2, allowed is 0.01 to 1" },
    { "join", "fade", "'fade' is not understood; expected NAME, cut, window, continue, auto" },
    { "loop", "2", "is 2, allowed is 0 to 1" },
    { "causal", "65", "is 65, allowed is 1 to 64" },
    { "causal_window", "1025", "is 1025, allowed is 1 to 1024" },
    { "causal_sink", "1024", "is 1024, allowed is 0 to 1023" },
    { "nag", "0.5", "is 0.5, allowed is 1 to 100" },
    { "nag_tau", "-1", "is -1, allowed is 0.1 to 100" },
    { "nag_alpha", "1.5", "is 1.5, allowed is 0.01 to 1" },
    { "cache", "auto", "is not understood; expected X, 0.001 to 1" },
    { "cache", "-0.05", "is -0.05, allowed is 0.001 to 1" },
    { "shift", "0.001", "is 0.001, allowed is 0.01 to 100" },
    { "shift", "100.5", "is 100.5, allowed is 0.01 to 100" },
    { "sampler", "heun", "'heun' is not understood; expected NAME, auto, euler" },
    { "sampler", "", "is not understood" },
    { "sampler", "1", "is not understood" },
    { "precision", "fp16", "is not understood; expected NAME, auto, f32, bf16" },
    { "format", "nv21", "is not understood; expected NAME, yuv420p, yuv444p" },
    { "threads", "-1", "is -1, allowed is 1 to 1024" },
    { "threads", "1025", "is 1025, allowed is 1 to 1024" },
    { "memory_limit", "-1", "is -1, allowed" },
    { "memory_limit", "1k", "is not understood; expected BYTES" },
    { "memory_limit", "1GB", "is not understood" },
    { "memory_limit", "G", "is not understood" },
    { "memory_limit", "1e10G", "allowed is 1 to" },
    { "log_level", "loud", "is not understood; expected NAME, error, warning" },
};

START_TEST(refuses)
{
    Watch w;
    LinvideoParams p = kit_params(&w), before = p;
    int ret = linvideo_params_set(&p, bad[_i].name, bad[_i].text);

    ck_assert_msg(ret == -EINVAL, "%s=%s: %d", bad[_i].name, bad[_i].text, ret);
    ck_assert_msg(!memcmp(&p, &before, sizeof(p)), "%s=%s changes it", bad[_i].name,
                  bad[_i].text);
    ck_assert_msg(strstr(w.error, bad[_i].name), "%s", w.error);
    kit_one_error(&w, bad[_i].part);
}
END_TEST

START_TEST(refuses_null)
{
    Watch w;
    LinvideoParams p = kit_params(&w);

    ck_assert_int_eq(linvideo_params_set(&p, NULL, "1"), -EINVAL);
    kit_one_error(&w, "a name and a value");
    ck_assert_int_eq(linvideo_params_set(&p, "steps", NULL), -EINVAL);
    kit_one_error(&w, "a name and a value");
    p.log = NULL;
    ck_assert_int_eq(linvideo_params_set(&p, "steps", "x"), -EINVAL);
    ck_assert_str_eq(w.all, "");
}
END_TEST

/* Numbers out of range that come in the struct itself */

static const struct {
    Type type;
    size_t offset;
    double value;
    const char *part;
} wrong[] = {
    { INT, AT(width), 64, "size is 64x0, allowed is 16 to 8192" },
    { INT, AT(height), 9000, "size is 0x9000, allowed" },
    { INT, AT(rate_num), -24, "rate is -24/1, allowed" },
    { INT, AT(rate_num), 1 << 21, "rate is 2097152/1, allowed" },
    { INT64, AT(frames), 0, "frames is 0, allowed" },
    { INT64, AT(frames), -7, "frames is -7, allowed" },
    { INT64, AT(duration), 0, "duration is 0, allowed is 1e-06 to 10000000 seconds" },
    { INT64, AT(duration), -5000000, "duration is -5, allowed" },
    { INT64, AT(duration), 1e14, "duration is 100000000, allowed" },
    { INT, AT(clip_frames), 1022, "clip_frames is 1022, allowed" },
    { INT64, AT(seed), 4294967296.0, "seed is 4294967296, allowed" },
    { INT64, AT(seed), -2, "seed is -2, allowed" },
    { INT, AT(steps), -1, "steps is -1, allowed" },
    { FLOAT, AT(guidance), 0.5, "guidance is 0.5, allowed" },
    { FLOAT, AT(guidance), NAN, "guidance is nan, allowed" },
    { FLOAT, AT(guidance_end), NAN, "guidance_end is nan, allowed" },
    { FLOAT, AT(nag), NAN, "nag is nan, allowed" },
    { FLOAT, AT(nag_alpha), 1.5, "nag_alpha is 1.5, allowed" },
    { FLOAT, AT(cache), 1.5, "cache is 1.5, allowed" },
    { FLOAT, AT(shift), INFINITY, "shift is inf, allowed" },
    { FLOAT, AT(shift), -1, "shift is -1, allowed" },
    { INT, AT(sampler), 8, "sampler is 8, allowed is 0 to 7" },
    { INT, AT(tile), 63, "tile is 63, allowed is 64 to 8192" },
    { INT, AT(prompt_cache), 3, "prompt_cache is 3, allowed" },
    { INT, AT(strict), 2, "strict is 2, allowed is 0 to 1" },
    { INT, AT(sampler), -1, "sampler is -1, allowed" },
    { INT, AT(precision), 5, "precision is 5, allowed" },
    { INT, AT(format), 5, "format is 5, allowed" },
    { INT, AT(threads), 1025, "threads is 1025, allowed" },
    { INT64, AT(memory_limit), -1, "memory_limit is -1, allowed" },
    { INT, AT(log_level), 5, "log_level is 5, allowed" },
    { INT, AT(log_level), -1, "log_level is -1, allowed" },
};

START_TEST(struct_out_of_range)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    const char *const parts[] = { wrong[_i].part, NULL };
    void *at = (char *)&p + wrong[_i].offset;

    if (wrong[_i].type == INT)
        *(int *)at = (int)wrong[_i].value;
    else if (wrong[_i].type == INT64)
        *(int64_t *)at = (int64_t)wrong[_i].value;
    else
        *(float *)at = (float)wrong[_i].value;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

START_TEST(rate_without_denominator)
{
    static const char *const parts[] = { "rate is 24/0, allowed", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.rate_num = 24;
    p.rate_den = 0;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

void api_add_options(Suite *suite)
{
    TCase *t = tcase_create("options");

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_test(t, defaults);
    tcase_add_test(t, version);
    tcase_add_test(t, texts_of_codes);
    tcase_add_loop_test(t, takes, 0, LV_COUNT(good));
    tcase_add_test(t, takes_strings);
    tcase_add_test(t, every_option);
    tcase_add_loop_test(t, texts_of_options, 0, 26);
    tcase_add_loop_test(t, refuses, 0, LV_COUNT(bad));
    tcase_add_test(t, refuses_null);
    tcase_add_loop_test(t, struct_out_of_range, 0, LV_COUNT(wrong));
    tcase_add_test(t, rate_without_denominator);
}
