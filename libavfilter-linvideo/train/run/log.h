/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A log of steps: one line of JSON each.
 * Floor train/run.
 */

#ifndef LINVIDEO_TRAIN_RUN_LOG_H
#define LINVIDEO_TRAIN_RUN_LOG_H

#include <stdio.h>

#include "base/msg.h"

/** A number of a line, or a list of them. */
typedef struct LvLogField {
    const char *name;
    double value;
    const double *list; ///< NULL: none
    int nb;
} LvLogField;

static inline LvLogField lv_log_number(const char *name, double value)
{
    return (LvLogField) { .name = name, .value = value };
}

static inline LvLogField lv_log_list(const char *name, const double *list, int nb)
{
    return (LvLogField) { .name = name, .list = list, .nb = nb };
}

/**
 * Open a log to append to; lines of steps beyond `step`, which a run that is resumed
 * takes once more, are cut off. Each line begins {"step": N.
 *
 * @return NULL after a message. Close with fclose()
 */
FILE *lv_log_open(const char *path, int step, const LvMsg *msg);

/** Write a line; values that are not finite become null. 0, or -errno without a
 *  message. */
int lv_log_line(FILE *log, int step, const LvLogField *field, int nb);

#endif /* LINVIDEO_TRAIN_RUN_LOG_H */
