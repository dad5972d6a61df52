/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/log.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* Where the first line of a later step, or a broken one, begins. */
static long end_of(FILE *f, int step)
{
    char line[4096];
    long at = 0;
    int n;

    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "{\"step\": %d", &n) != 1 || n > step || !strchr(line, '\n'))
            break;
        at = ftell(f);
    }
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

void lv_log_line(FILE *log, int step, const LvLogField *field, int nb)
{
    fprintf(log, "{\"step\": %d", step);
    for (int i = 0; i < nb; i++)
        if (isfinite(field[i].value))
            fprintf(log, ", \"%s\": %.7g", field[i].name, field[i].value);
        else
            fprintf(log, ", \"%s\": null", field[i].name);
    fputs("}\n", log);
    fflush(log);
}
