/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tools/share/message.h"

/* Begin FOLDER/NAME.ENDING; the folder is made when it is not there. */
static int open_file(LvFile *f, const char *folder, const char *name, const char *ending)
{
    char path[4096];

    if (snprintf(path, sizeof(path), "%s/%s.%s", folder, name, ending) >= (int)sizeof(path))
        return lv_tool_fail(-ENAMETOOLONG, "%s: %s", folder, strerror(ENAMETOOLONG));
    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        return lv_tool_fail(-errno, "%s: %s", folder, strerror(errno));
    return lv_file_create(f, path, &lv_tool_msg);
}

/* A script that runs the lines of `plot` once for each kind of picture. */
static int write_script(const char *folder, const char *name, const char *settings,
                        const char *plot)
{
    LvFile f;
    int ret = open_file(&f, folder, name, "gp");

    if (ret < 0)
        return ret;
    lv_file_print(&f, "# gnuplot %s.gp\n%s"
            "set terminal pngcairo size 1000,600\nset output '%s.png'\n%s\n"
            "set terminal svg size 1000,600\nset output '%s.svg'\nreplot\n",
            name, settings, name, plot, name);
    return lv_file_finish(&f, &lv_tool_msg);
}

static int write_bars(const char *folder, const char *name, const LvPlotBars *b)
{
    LvFile f;
    int ret = open_file(&f, folder, name, "dat");

    if (ret < 0)
        return ret;
    lv_file_print(&f, "\"\"");
    for (int k = 0; k < b->per_group; k++)
        lv_file_print(&f, " \"%s\"", b->bars[k]);
    for (int i = 0; i < b->nb; i++) {
        lv_file_print(&f, "\n\"%s\"", b->groups[i]);
        for (int k = 0; k < b->per_group; k++)
            lv_file_print(&f, " %.2f", b->value[i * b->per_group + k]);
    }
    lv_file_print(&f, "\n");
    return lv_file_finish(&f, &lv_tool_msg);
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
    LvFile f;
    int ret = open_file(&f, folder, name, "dat");

    if (ret < 0)
        return ret;
    lv_file_print(&f, "\"\"");
    for (int k = 0; k < l->nb; k++)
        lv_file_print(&f, " \"%s\"", l->names[k]);
    for (int i = 0; i < l->rows; i++) {
        lv_file_print(&f, "\n%.7g", l->x[i]);
        for (int k = 0; k < l->nb; k++)
            if (isfinite(l->y[i * l->nb + k]))
                lv_file_print(&f, " %.7g", l->y[i * l->nb + k]);
            else
                lv_file_print(&f, " ?");
    }
    lv_file_print(&f, "\n");
    return lv_file_finish(&f, &lv_tool_msg);
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
static int copy_log(LvFile *to, FILE *from, char label[32])
{
    char line[4096];
    const char *form = "{\"step\": %d, \"%31[a-z_]\": %lf";
    double mean = 0, value;
    int step, lines = 0;

    while (fgets(line, sizeof(line), from)) {
        if (sscanf(line, form, &step, label, &value) != 3)
            continue;
        mean = lines++ ? 0.98 * mean + 0.02 * value : value;
        lv_file_print(to, "%d %.7g %.7g\n", step, value, mean);
    }
    return lines;
}

int lv_plot_log(const char *folder, const char *name, const char *log)
{
    FILE *from = fopen(log, "r");
    char label[32] = "", settings[256], plot[512];
    int lines, ret;
    LvFile to;

    if (!from)
        return lv_tool_fail(-errno, "%s: %s", log, strerror(errno));
    if ((ret = open_file(&to, folder, name, "dat")) < 0) {
        fclose(from);
        return ret;
    }
    lines = copy_log(&to, from, label);
    fclose(from);
    ret = lv_file_finish(&to, &lv_tool_msg);
    if (ret < 0 || !lines)
        return ret < 0 ? ret : lv_tool_fail(-EINVAL, "%s: not a log of training", log);
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
