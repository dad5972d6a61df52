/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The table of linvideo/option_table.h as data. Text is parsed by it, values are checked by
 * it, help is printed from it.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_PARAMS_H
#define LINVIDEO_API_PARAMS_H

#include "base/locale.h"
#include "base/msg.h"
#include "linvideo/linvideo.h"

typedef enum LvOptionKind {
    LV_OPT_STRING,
    LV_OPT_BOOL,     ///< int, 0 or 1
    LV_OPT_INT,
    LV_OPT_INT64,
    LV_OPT_FLOAT,
    LV_OPT_ENUM,     ///< int, by one of choices
    LV_OPT_SIZE,     ///< two ints, one after the other: 832x480
    LV_OPT_RATE,     ///< two ints, one after the other: 24, 24000/1001, 23.976
    LV_OPT_DURATION, ///< int64, microseconds, from seconds or hh:mm:ss
    LV_OPT_BYTES     ///< int64, from a number with K, M or G
} LvOptionKind;

/** A value of an ENUM, which is its place in the list. */
typedef struct LvChoice {
    const char *name, *meaning;
} LvChoice;

typedef struct LvOption {
    const char *name;
    LvOptionKind kind;
    const LvChoice *choices;  ///< of an ENUM, ended by a name of NULL; else NULL
    size_t offset;            ///< in LinvideoParams
    double min, max;
    double value;             ///< default; always allowed
    const char *argument;     ///< "WxH", for help
    const char *preset;       ///< the default in words; "": none
    const char *help;
} LvOption;

/** Bytes of the longest text of lv_option_text(). */
#define LV_OPTION_TEXT 512

/** What an option may be, what it does, and its default in brackets, as one line:
 *  "1 to 1000: steps of the sampler; fewer are faster [the model's]". */
void lv_option_text(const LvOption *o, char text[LV_OPTION_TEXT]);

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
