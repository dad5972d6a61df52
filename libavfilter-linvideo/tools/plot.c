/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/tools.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Folder, name and ending as a path, opened to write: NULL after a message. */
static FILE *open_file(const char *folder, const char *name, const char *ending)
{
    char path[4096];
    FILE *f = NULL;

    snprintf(path, sizeof(path), "%s/%s.%s", folder, name, ending);
    if (!mkdir(folder, 0777) || errno == EEXIST)
        f = fopen(path, "w");
    if (!f)
        lv_tool_fail(0, "%s: %s", path, strerror(errno));
    return f;
}

static int close_file(FILE *f, const char *name)
{
    int bad = ferror(f);

    return fclose(f) || bad ? lv_tool_fail(-EIO, "%s: could not be written", name) : 0;
}

/* A script that runs the lines of `plot` once for each kind of picture. */
static int write_script(const char *folder, const char *name, const char *settings,
                        const char *plot)
{
    FILE *f = open_file(folder, name, "gp");

    if (!f)
        return -EIO;
    fprintf(f, "# gnuplot %s.gp\n%s"
            "set terminal pngcairo size 1000,600\nset output '%s.png'\n%s\n"
            "set terminal svg size 1000,600\nset output '%s.svg'\nreplot\n",
            name, settings, name, plot, name);
    return close_file(f, name);
}

static int write_bars(const char *folder, const char *name, const LvPlotBars *b)
{
    FILE *f = open_file(folder, name, "dat");

    if (!f)
        return -EIO;
    fputs("\"\"", f);
    for (int k = 0; k < b->per_group; k++)
        fprintf(f, " \"%s\"", b->bars[k]);
    for (int i = 0; i < b->nb; i++) {
        fprintf(f, "\n\"%s\"", b->groups[i]);
        for (int k = 0; k < b->per_group; k++)
            fprintf(f, " %.2f", b->value[i * b->per_group + k]);
    }
    fputc('\n', f);
    return close_file(f, name);
}

int lv_plot_bars(const char *folder, const char *name, const LvPlotBars *b)
{
    char settings[1024], plot[512];
    int ret = write_bars(folder, name, b);

    snprintf(settings, sizeof(settings), "set title \"%s\"\nset ylabel 'per cent'\n"
             "set yrange [0:100]\nset style data histogram\n"
             "set style histogram clustered gap 1\nset style fill solid 0.8\n"
             "set key outside below\nset grid y\nset xtics nomirror rotate by -30\n",
             b->title);
    snprintf(plot, sizeof(plot), "plot for [i=2:%d] '%s.dat' using i:xtic(1) "
             "title columnheader(i)", b->per_group + 1, name);
    return ret < 0 ? ret : write_script(folder, name, settings, plot);
}

static int write_lines(const char *folder, const char *name, const LvPlotLines *l)
{
    FILE *f = open_file(folder, name, "dat");

    if (!f)
        return -EIO;
    fputs("\"\"", f);
    for (int k = 0; k < l->nb; k++)
        fprintf(f, " \"%s\"", l->names[k]);
    for (int i = 0; i < l->rows; i++) {
        fprintf(f, "\n%.7g", l->x[i]);
        for (int k = 0; k < l->nb; k++)
            if (isfinite(l->y[i * l->nb + k]))
                fprintf(f, " %.7g", l->y[i * l->nb + k]);
            else
                fputs(" ?", f);
    }
    fputc('\n', f);
    return close_file(f, name);
}

int lv_plot_lines(const char *folder, const char *name, const LvPlotLines *l)
{
    char settings[1024], plot[512];
    int ret = write_lines(folder, name, l);

    snprintf(settings, sizeof(settings), "set title \"%s\"\nset xlabel '%s'\n"
             "set ylabel '%s'\nset datafile missing '?'\nset key outside right\n"
             "set grid\n%s", l->title, l->xlabel, l->ylabel,
             l->logarithmic ? "set logscale y\nset format y '%g'\n" : "");
    snprintf(plot, sizeof(plot), "plot for [i=2:%d] '%s.dat' using 1:i with lines lw 2 "
             "title columnheader(i)", l->nb + 1, name);
    return ret < 0 ? ret : write_script(folder, name, settings, plot);
}

/* Step, value and running mean of each line; the value's name goes to label. */
static int copy_log(FILE *to, FILE *from, char label[32])
{
    char line[4096];
    const char *form = "{\"step\": %d, \"%31[a-z_]\": %lf";
    double mean = 0, value;
    int step, lines = 0;

    while (fgets(line, sizeof(line), from)) {
        if (sscanf(line, form, &step, label, &value) != 3)
            continue;
        mean = lines++ ? 0.98 * mean + 0.02 * value : value;
        fprintf(to, "%d %.7g %.7g\n", step, value, mean);
    }
    return lines;
}

int lv_plot_log(const char *folder, const char *name, const char *log)
{
    FILE *from = fopen(log, "r"), *to;
    char label[32] = "", settings[256], plot[512];
    int lines, ret;

    if (!from)
        return lv_tool_fail(-errno, "%s: %s", log, strerror(errno));
    to = open_file(folder, name, "dat");
    if (!to) {
        fclose(from);
        return -EIO;
    }
    lines = copy_log(to, from, label);
    fclose(from);
    ret = close_file(to, name);
    if (ret < 0 || !lines)
        return ret < 0 ? ret : lv_tool_fail(-EINVAL, "%s: no log of training", log);
    snprintf(settings, sizeof(settings), "set xlabel 'step'\nset ylabel '%s'\n"
             "set grid\n%s", label, strcmp(label, "loss") ? "" : "set logscale y\n");
    snprintf(plot, sizeof(plot), "plot '%s.dat' using 1:2 with dots title 'a step', "
             "'' using 1:3 with lines lw 2 title 'running mean'", name);
    return write_script(folder, name, settings, plot);
}

void lv_plot_run(const char *folder, const char *name)
{
    char script[256];
    int status = 0;
    pid_t child;

    snprintf(script, sizeof(script), "%s.gp", name);
    child = fork();
    if (!child) {
        if (!chdir(folder))
            execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        status = 1 << 8;
    if (WEXITSTATUS(status) == 127)
        lv_tool_fail(0, "no gnuplot here: %s/%s is left to be drawn", folder, script);
    else if (status)
        lv_tool_fail(0, "gnuplot could not draw %s/%s", folder, script);
}
