/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/steplog.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

enum { LINE_BYTES = 1 << 20 };

/* Share of the average of an error that a step leaves. */
#define KEPT 0.98

typedef struct Reader {
    LvStepLog *l;
    const char *path;
    const LvMsg *msg;
    int room;      ///< rows
    int lines, passed;
} Reader;

static int out_of_memory(const Reader *rd)
{
    return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: out of memory", rd->path);
}

/* Room for a row more. */
static int grow(Reader *rd)
{
    LvStepLog *l = rd->l;
    size_t wide  = (size_t)l->layers;
    const struct { double **at; size_t width; } columns[] = {
        { &l->step, 1 }, { &l->error, 1 }, { &l->bins, LV_TIME_BINS },
        { &l->r, wide }, { &l->kind, wide }, { &l->rho, wide },
    };
    size_t room = 2 * (size_t)rd->room + 64;

    if (l->rows < rd->room)
        return 0;
    for (int i = 0; i < LV_COUNT(columns) && room < INT32_MAX; i++) {
        double *more = realloc(*columns[i].at, room * columns[i].width * sizeof(*more));
        if (!more)
            return out_of_memory(rd);
        *columns[i].at = more;
    }
    if (room >= INT32_MAX)
        return out_of_memory(rd);
    rd->room = (int)room;
    return 0;
}

static double number(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);

    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void numbers(const json_t *line, const char *key, double *to, int nb)
{
    const json_t *list = json_object_get(line, key);

    for (int i = 0; i < nb; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        to[i] = json_is_number(v) ? json_number_value(v) : NAN;
    }
}

/* A running mean, which numbers that are missing leave as it is. */
static double mean_with(double before, double now)
{
    return !isfinite(before) ? now : !isfinite(now) ? before
         : KEPT * before + (1 - KEPT) * now;
}

static void average(LvStepLog *l, size_t row)
{
    double *to = l->bins + row * LV_TIME_BINS;

    for (int i = 0; i < LV_TIME_BINS && row; i++)
        to[i] = mean_with(to[i - LV_TIME_BINS], to[i]);
    if (row)
        l->error[row] = mean_with(l->error[row - 1], l->error[row]);
}

/* Whether the count of softmax layers of a row is not that of the row before. */
static int flipped(const LvStepLog *l, size_t row)
{
    int changed = 0;

    for (int i = 0; i < l->layers && row; i++) {
        const double *r = l->r + row * (size_t)l->layers + i;
        changed += (r[0] >= 0.5) - (r[-l->layers] >= 0.5);
    }
    return changed != 0;
}

static void take_row(LvStepLog *l, const json_t *line)
{
    size_t row = (size_t)l->rows++, wide = row * (size_t)l->layers;
    double seconds = number(line, "seconds");

    l->step[row]  = number(line, "step");
    l->error[row] = number(line, "error");
    l->seconds   += isfinite(seconds) ? seconds : 0;
    numbers(line, "r", l->r + wide, l->layers);
    numbers(line, "kind", l->kind + wide, l->layers);
    numbers(line, "rho", l->rho + wide, l->layers);
    numbers(line, "errors", l->bins + row * LV_TIME_BINS, LV_TIME_BINS);
    average(l, row);
    l->flips += flipped(l, row);
}

static int take_line(Reader *rd, const char *text, size_t n)
{
    json_t *line  = json_loadb(text, n, 0, NULL);
    size_t layers = json_array_size(json_object_get(line, "r"));
    int ret = 0;

    if (!layers) {
        rd->passed++;
    } else if (!rd->l->layers && layers > LV_MAX_LAYERS) {
        ret = lv_fail(rd->msg, LV_ERR_MODEL, "%s: a log of too many layers, expected at most "
                      "%d, got %zu", rd->path, LV_MAX_LAYERS, layers);
    } else {
        rd->l->layers = rd->l->layers ? rd->l->layers : (int)layers;
        if ((ret = grow(rd)) >= 0)
            take_row(rd->l, line);
    }
    json_decref(line);
    return ret;
}

/* text: LINE_BYTES and 2 more for the end. */
static int read_lines(Reader *rd, FILE *f, char *text)
{
    int ret = 0;

    while (ret >= 0 && fgets(text, LINE_BYTES + 2, f)) {
        size_t n = strlen(text);
        rd->lines++;
        ret = n > LINE_BYTES ?
              lv_fail(rd->msg, LV_ERR_MODEL, "%s: line %d is too long, expected at most %d "
                      "bytes", rd->path, rd->lines, LINE_BYTES) : take_line(rd, text, n);
    }
    return ret >= 0 && ferror(f) ? lv_fail(rd->msg, LV_ERR(EIO), "%s: it cannot be read",
                                           rd->path) : ret;
}

static int check(const Reader *rd)
{
    if (!rd->l->rows)
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: not a log of linvideo linearize", rd->path);
    if (rd->passed)
        lv_msg(rd->msg, LV_MSG_WARNING, "%s: %d of %d lines are not steps and are skipped",
               rd->path, rd->passed, rd->lines);
    return 0;
}

int lv_steplog_read(LvStepLog *l, const char *path, const LvMsg *msg)
{
    Reader rd  = { .l = l, .path = path, .msg = msg };
    FILE *f    = fopen(path, "r");
    char *text = NULL;
    int ret    = 0;

    *l = (LvStepLog) { 0 };
    if (!f)
        ret = lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    else
        ret = (text = malloc(LINE_BYTES + 2)) ? read_lines(&rd, f, text) : out_of_memory(&rd);
    if (ret >= 0)
        ret = check(&rd);
    free(text);
    if (f)
        fclose(f);
    return ret;
}

void lv_steplog_free(LvStepLog *l)
{
    free(l->step);
    free(l->error);
    free(l->bins);
    free(l->r);
    free(l->kind);
    free(l->rho);
    *l = (LvStepLog) { 0 };
}
