/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/common.h"

/* Where the first line of a later step, or a broken one, begins. */
static long end_of(FILE *f, int step)
{
    char *line  = NULL;
    size_t room = 0;
    long at = 0;
    int n;

    while (getline(&line, &room, f) > 0) {
        if (sscanf(line, "{\"step\": %d", &n) != 1 || n > step || !strchr(line, '\n'))
            break;
        at = ftell(f);
    }
    free(line);
    return at;
}

FILE *lv_log_open(const char *path, int step, const LvMsg *msg)
{
    FILE *f = fopen(path, "a+");
    long at;

    if (f) {
        rewind(f);
        at = end_of(f, step);
        if (ftruncate(fileno(f), at) < 0 || fseek(f, 0, SEEK_END) < 0) {
            fclose(f);
            f = NULL;
        }
    }
    if (!f)
        lv_msg(msg, LV_MSG_ERROR, "%s: %s", path, strerror(errno));
    return f;
}

static void put_number(FILE *log, double x)
{
    if (isfinite(x))
        fprintf(log, "%.7g", x);
    else
        fputs("null", log);
}

static void put_list(FILE *log, const double *x, int nb)
{
    for (int i = 0; i < nb; i++) {
        fputs(i ? ", " : "[", log);
        put_number(log, x[i]);
    }
    fputc(']', log);
}

int lv_log_line(FILE *log, int step, const LvLogField *field, int nb)
{
    fprintf(log, "{\"step\": %d", step);
    for (int i = 0; i < nb; i++) {
        fprintf(log, ", \"%s\": ", field[i].name);
        if (field[i].list)
            put_list(log, field[i].list, field[i].nb);
        else
            put_number(log, field[i].value);
    }
    fputs("}\n", log);
    return fflush(log) || ferror(log) ? LV_ERR(errno ? errno : EIO) : 0;
}
