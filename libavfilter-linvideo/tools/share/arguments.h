/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Arguments of commands.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_ARGUMENTS_H
#define LINVIDEO_TOOLS_SHARE_ARGUMENTS_H

/** A walk over arguments: words, and options written "--name value",
 *  "--name=value" or with one dash. "--" makes words of all that follow. */
typedef struct LvArgs {
    int argc;
    char **argv;
    int at;             ///< next argument
    int words_only;     ///< "--" was seen
    const char *value;  ///< the word; or what followed "="; or NULL
    char name[64];      ///< of the option, with _ for -; "" for a word
} LvArgs;

/** Step to the next word or option: 1, or 0 after the last. */
int lv_args_next(LvArgs *a);

/** Value of the option: after "=", else the next argument, which is taken.
 *  NULL, after a message, when there is none. */
const char *lv_args_value(LvArgs *a);

/** Whether the option is -y, which sets *overwrite. */
int lv_args_overwrite(const LvArgs *a, int *overwrite);

/** Value of the option as a whole number of [low, high]: 0, or -1 after a
 *  message. */
int lv_args_int(LvArgs *a, int low, int high, int *out);

/** Help on it. */
#define LV_OVERWRITE_HELP "  -y, --overwrite       overwrite files that exist\n"

#endif /* LINVIDEO_TOOLS_SHARE_ARGUMENTS_H */
