/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/params.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "linvideo/option_table.h"

#define CHOICE(of, constant, text, meaning) [constant] = { text, meaning },
#define CHOICES(name) \
    static const LvChoice name##_choices[] = { LINVIDEO_VALUES_##name(CHOICE) { NULL, NULL } }

CHOICES(mode);
CHOICES(join);
CHOICES(sampler);
CHOICES(precision);
CHOICES(format);
CHOICES(matrix);
CHOICES(prompt_cache);
CHOICES(log_level);

/* Kind and choices of a row, by what the table calls its kind. */
#define IS_PROMPT(name)   LV_OPT_STRING, NULL
#define IS_FILE(name)     LV_OPT_STRING, NULL
#define IS_STRING(name)   LV_OPT_STRING, NULL
#define IS_BOOL(name)     LV_OPT_BOOL, NULL
#define IS_INT(name)      LV_OPT_INT, NULL
#define IS_INT64(name)    LV_OPT_INT64, NULL
#define IS_FLOAT(name)    LV_OPT_FLOAT, NULL
#define IS_ENUM(name)     LV_OPT_ENUM, name##_choices
#define IS_FORMAT(name)   LV_OPT_ENUM, name##_choices
#define IS_SIZE(name)     LV_OPT_SIZE, NULL
#define IS_RATE(name)     LV_OPT_RATE, NULL
#define IS_DURATION(name) LV_OPT_DURATION, NULL
#define IS_BYTES(name)    LV_OPT_BYTES, NULL

#define ROW(kind, name, alias, member, min, max, value, argument, preset, help, more) \
    { #name, IS_##kind(name), offsetof(LinvideoParams, member), min, max, value, \
      argument, preset, help },

static const LvOption options[] = { LINVIDEO_OPTIONS(ROW) LINVIDEO_OPTIONS_HOST(ROW) };

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

/* Checking */

static int out_of_range(const LvOption *o, double v, const LvMsg *msg)
{
    int time    = o->kind == LV_OPT_DURATION;
    double unit = time ? 1e-6 : 1;

    return lv_fail(msg, LV_ERR(EINVAL), "%s is %.12g, allowed is %.12g to %.12g%s%s",
                   o->name, v * unit, o->min * unit, o->max * unit,
                   time ? " seconds" : "", o->value == -1 ? " (-1: not given)" : "");
}

static int in_range(const LvOption *o, double v)
{
    if (o->kind == LV_OPT_DURATION && v == LINVIDEO_ENDLESS)
        return 1;
    /* the end of a range, as a float holds it, is in the range */
    double min = o->kind == LV_OPT_FLOAT ? LV_MIN(o->min, (double)(float)o->min) : o->min;

    return v == o->value || (v >= min && v <= o->max);
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
    case LV_OPT_BOOL:
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

/* What a value may be: its names, or the range of a plain number. */
static int values_text(const LvOption *o, char *text, size_t size)
{
    int n = 0;

    if (o->kind == LV_OPT_BOOL)
        return snprintf(text, size, "1: ");
    if (o->kind == LV_OPT_INT || o->kind == LV_OPT_INT64 || o->kind == LV_OPT_FLOAT)
        return snprintf(text, size, "%.12g to %.12g: ", o->min, o->max);
    if (o->kind == LV_OPT_SIZE)
        return snprintf(text, size, "%.12g to %.12g each: ", o->min, o->max);
    for (const LvChoice *c = o->choices; c && c->name; c++)
        n += snprintf(text + n, size - n, "%s%s", c->name, c[1].name ? ", " : ": ");
    return n;
}

/* What the default is that is called auto; else "". */
static const char *meaning_of_auto(const LvOption *o)
{
    for (const LvChoice *c = o->choices; c && c->name && !strcmp(o->preset, "auto"); c++)
        if (!strcmp(c->name, "auto"))
            return c->meaning;
    return "";
}

void lv_option_text(const LvOption *o, char text[LV_OPTION_TEXT])
{
    const char *chosen = meaning_of_auto(o);
    int n = values_text(o, text, LV_OPTION_TEXT);

    n += snprintf(text + n, LV_OPTION_TEXT - n, "%s", o->help);
    assert(n < LV_OPTION_TEXT);
    if (*o->preset)
        snprintf(text + n, LV_OPTION_TEXT - n, " [%s%s%s]", o->preset, *chosen ? ": " : "", chosen);
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
    common = (int)lv_gcd(lrint(v * 1000), 1000);
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

static int parse_name(int *v, const LvChoice *choices, const char *text)
{
    for (int i = 0; choices[i].name; i++)
        if (!strcmp(choices[i].name, text))
            return (*v = i, 0);
    return -1;
}

static int bad_value(const LvOption *o, const char *value, const LvMsg *msg)
{
    char text[LV_OPTION_TEXT];

    lv_option_text(o, text);
    return lv_fail(msg, LV_ERR(EINVAL), "%s: '%s' is not understood; expected %s, %s",
                   o->name, value, o->argument, text);
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
    case LV_OPT_STRING: break;
    case LV_OPT_SIZE:
    case LV_OPT_RATE:
    case LV_OPT_BOOL:
    case LV_OPT_ENUM:
    case LV_OPT_INT:    *(int *)field = (int)v; break;
    case LV_OPT_FLOAT:  *(float *)field = (float)v; break;
    default:            *(int64_t *)field = (int64_t)v;
    }
}

void linvideo_params_default(LinvideoParams *p)
{
    if (!p)
        return;
    memset(p, 0, sizeof(*p));
    p->rate_den = 1;
    for (int i = 0; i < LV_COUNT(options); i++)
        store(&options[i], (char *)p + options[i].offset, options[i].value);
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
    if (!strcmp(o->name, "guidance") && v == o->value)
        lv_msg(msg, LV_MSG_WARNING, "guidance: 0 means the model's own; 1 turns "
               "guidance off");
    if (!strcmp(o->name, "strength") && v == o->value)
        lv_msg(msg, LV_MSG_WARNING, "strength: 0 means the usual one; the least is %g", o->min);
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
        return parse_name(field, o->choices, value) < 0 ? bad_value(o, value, msg) : 0;
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
