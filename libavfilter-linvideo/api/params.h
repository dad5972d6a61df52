/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The one table of options: name, field, range, default, help. Text is parsed by
 * it, values are checked by it, help is printed from it.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_PARAMS_H
#define LINVIDEO_API_PARAMS_H

#include "base/locale.h"
#include "base/msg.h"
#include "linvideo/linvideo.h"

typedef enum LvOptionKind {
    LV_OPT_STRING,
    LV_OPT_INT,
    LV_OPT_INT64,
    LV_OPT_FLOAT,
    LV_OPT_ENUM,     ///< int, by one of names
    LV_OPT_SIZE,     ///< two ints behind each other: 832x480
    LV_OPT_RATE,     ///< two ints behind each other: 24, 24000/1001, 23.976
    LV_OPT_DURATION, ///< int64, microseconds, from seconds or hh:mm:ss
    LV_OPT_BYTES     ///< int64, from a number with K, M or G
} LvOptionKind;

typedef struct LvOption {
    const char *name;
    LvOptionKind kind;
    size_t offset;            ///< in LinvideoParams
    double min, max;
    double unset;             ///< value that means "not given" and is always allowed
    const char *const *names; ///< of ENUM values, ended by NULL
    const char *metavar;      ///< "WxH", for help
    const char *help;         ///< with the default in brackets
} LvOption;

/** Row i of the table; NULL after the last. */
const LvOption *lv_option_at(int i);

/** Check every number of p against its row. 0 or -EINVAL with one message. */
int lv_params_check(const LinvideoParams *p, const LvMsg *msg);

/** Whose callback messages go to, and the locale that it is called in. */
typedef struct LvRelay {
    const LinvideoParams *p;
    locale_t locale;
} LvRelay;

/** Messages to the callback of r->p. */
LvMsg lv_params_msg(const LvRelay *r);

#endif /* LINVIDEO_API_PARAMS_H */
