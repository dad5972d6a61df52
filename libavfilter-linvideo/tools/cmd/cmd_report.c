/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo report`: charts and numbers from the logs of `linvideo linearize`: gates of
 * softmax over steps, chosen layers, errors by time.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/text.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/plot.h"
#include "train/post/steplog.h"

enum { MAX_LOGS = 16, NAME_SIZE = 64 };

typedef struct Log {
    const char *path;
    char name[NAME_SIZE];     ///< its folder, or the file without its ending; letters,
                              ///< digits, '.', '-' and '_' only, as it goes into scripts
    LvStepLog s;
} Log;

typedef struct Report {
    const char *folder, *json;
    int json_only, overwrite;
    Log log[MAX_LOGS];
    int nb;
} Report;

/* Names */

static void name_of_path(Log *l)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789.-_";
    const char *slash = strrchr(l->path, '/'), *from = slash;
    size_t n;

    while (from && from > l->path && from[-1] != '/')
        from--;
    if (!slash || !from)
        from = l->path;
    n = slash ? (size_t)(slash - from) : strcspn(from, ".");
    snprintf(l->name, sizeof(l->name), "%.*s", (int)LV_MIN(n, NAME_SIZE - 1u), from);
    for (char *c = l->name; *c; c++)
        if (!strchr(plain, *c))
            *c = '_';
}

/* Logs whose names are the same are told apart by their numbers. */
static void name_log(Report *p, int i)
{
    char number[16];
    int twice = 0;

    name_of_path(&p->log[i]);
    for (int k = 0; k < i; k++)
        twice = twice || !strcmp(p->log[k].name, p->log[i].name);
    if (!twice)
        return;
    snprintf(number, sizeof(number), "-%d", i + 1);
    p->log[i].name[LV_MIN(strlen(p->log[i].name), NAME_SIZE - 1 - strlen(number))] = '\0';
    strcat(p->log[i].name, number);
}

/* Charts */

static int draw(const Report *p, const char *name, const LvPlotLines *lines)
{
    int ret = lv_plot_lines(p->folder, name, lines);

    if (ret >= 0)
        lv_plot_run(p->folder, name);
    return ret;
}

static const char *chart_name(const Report *p, const Log *l, const char *what, char *buf)
{
    if (p->nb > 1)
        snprintf(buf, 2 * NAME_SIZE, "%s-%s", what, l->name);
    else
        snprintf(buf, 2 * NAME_SIZE, "%s", what);
    return buf;
}

static int draw_gates(const Report *p, const Log *l)
{
    static char text[LV_MAX_LAYERS][24];
    const char *names[LV_MAX_LAYERS];
    char name[2 * NAME_SIZE];

    for (int i = 0; i < l->s.layers; i++) {
        snprintf(text[i], sizeof(text[i]), "layer %d", i);
        names[i] = text[i];
    }
    return draw(p, chart_name(p, l, "shares", name), &(LvPlotLines) {
        .title = "gate r: share of softmax attention, by layer", .xlabel = "step",
        .ylabel = "r", .names = names, .x = l->s.step, .y = l->s.r, .rows = l->s.rows,
        .nb = l->s.layers });
}

static int draw_errors(const Report *p, const Log *l)
{
    static const char *const names[LV_TIME_BINS] = {
        "t below 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1",
    };
    char name[2 * NAME_SIZE];

    return draw(p, chart_name(p, l, "errors", name), &(LvPlotLines) {
        .title = "squared error of velocities over their square, running mean",
        .xlabel = "step", .ylabel = "relative error", .names = names, .x = l->s.step,
        .y = l->s.bins, .rows = l->s.rows, .nb = LV_TIME_BINS, .logarithmic = 1 });
}

/* Layers of all logs beside each other: per cent of softmax at the last step. */
static int draw_layers(const Report *p)
{
    static char text[LV_MAX_LAYERS][24];
    const char *groups[LV_MAX_LAYERS], *bars[MAX_LOGS];
    int layers = p->log[0].s.layers, ret;
    double *value = calloc((size_t)layers * (size_t)p->nb, sizeof(*value));
    LvPlotBars b = { "softmax attention at the end, by layer", groups, bars, value, layers,
                     p->nb };

    if (!value)
        return lv_tool_fail(-ENOMEM, "out of memory");
    for (int i = 0; i < layers; i++) {
        snprintf(text[i], sizeof(text[i]), "%d", i);
        groups[i] = text[i];
        for (int k = 0; k < p->nb; k++) {
            const Log *l = &p->log[k];
            bars[k] = l->name;
            if (i < l->s.layers)
                value[i * p->nb + k] = 100 * l->s.r[(size_t)(l->s.rows - 1) *
                                                  (size_t)l->s.layers + (size_t)i];
        }
    }
    ret = lv_plot_bars(p->folder, "layers", &b);
    free(value);
    if (ret >= 0)
        lv_plot_run(p->folder, "layers");
    return ret;
}

static int draw_all(const Report *p)
{
    int ret = draw_layers(p);

    for (int i = 0; i < p->nb && ret >= 0; i++)
        if ((ret = draw_gates(p, &p->log[i])) >= 0)
            ret = draw_errors(p, &p->log[i]);
    return ret;
}

/* Numbers */

static int is_linear(const Log *l, int layer)
{
    return l->s.r[(size_t)(l->s.rows - 1) * (size_t)l->s.layers + (size_t)layer] < 0.5;
}

/* Layers whose data term resisted more than a missing layer pushes, at any step. */
static int resisted(const Log *l)
{
    int n = 0;

    for (int i = 0; i < l->s.layers; i++) {
        int any = 0;
        for (int k = 0; k < l->s.rows; k++)
            any = any || l->s.rho[(size_t)k * (size_t)l->s.layers + (size_t)i] > 1;
        n += any;
    }
    return n;
}

static void print_log(const Log *l)
{
    const double *bins = l->s.bins + (l->s.rows - 1) * LV_TIME_BINS;

    lv_tool_line(stdout, "%s: %d steps, %.1f s", l->path, l->s.rows, l->s.seconds);
    printf("  linear layers    ");
    for (int i = 0; i < l->s.layers; i++)
        if (is_linear(l, i))
            printf(" %d", i);
    printf("\n  count changed     %d times; %d layers had rho above 1\n", l->s.flips,
           resisted(l));
    printf("  relative error    %.4g; by time from 0 to 1:", l->s.error[l->s.rows - 1]);
    for (int i = 0; i < LV_TIME_BINS; i++)
        printf(isfinite(bins[i]) ? " %.4g" : " -", bins[i]);
    putchar('\n');
}

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *log_json(const Log *l)
{
    const double *bins = l->s.bins + (l->s.rows - 1) * LV_TIME_BINS;
    json_t *linear = json_array(), *errors = json_array();
    char path[4096];

    lv_text_line(path, sizeof(path), l->path);
    for (int i = 0; i < l->s.layers; i++)
        if (is_linear(l, i))
            json_array_append_new(linear, json_integer(i));
    for (int i = 0; i < LV_TIME_BINS; i++)
        json_array_append_new(errors, real_or_null(bins[i]));
    return json_pack("{s:s, s:i, s:o, s:i, s:o, s:i, s:i, s:o, s:o}", "log", path,
                     "steps", l->s.rows, "seconds", real_or_null(l->s.seconds),
                     "layers", l->s.layers, "linear", linear, "flips", l->s.flips,
                     "resisted", resisted(l),
                     "error", real_or_null(l->s.error[l->s.rows - 1]), "errors", errors);
}

static int write_json(const Report *p)
{
    json_t *root = json_array();

    for (int i = 0; i < p->nb; i++)
        json_array_append_new(root, log_json(&p->log[i]));
    return lv_tool_json(root, p->json);
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo report [options] LOG.jsonl...\n"
         "\n"
         "Prints and draws from logs of linvideo linearize how layers were chosen: the\n"
         "gate (share of softmax) of each layer by step, the layers that stayed softmax,\n"
         "and the error of velocities by time.\n"
         "\n"
         "  --plots DIR   charts by gnuplot, PNG and SVG: gates, errors, layers; with more\n"
         "                than one log, gates and errors of each\n"
         "  --json FILE   write the numbers as JSON; -: to standard output, and nothing\n"
         "                else there\n"
         "  -y, --overwrite\n"
         "                overwrite files that exist");
}

/* -1 to go on, or an exit code. */
static int parse(Report *p, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (!a.name[0] && p->nb == MAX_LOGS)
            return lv_tool_fail(LV_EXIT_USAGE, "more than %d logs", MAX_LOGS);
        if (!a.name[0])
            p->log[p->nb++].path = a.value;
        else if (lv_args_overwrite(&a, &p->overwrite))
            continue;
        else if (strcmp(a.name, "plots") && strcmp(a.name, "json"))
            return lv_tool_fail(LV_EXIT_USAGE, "no option \"%s\"; linvideo report --help "
                                "lists them", a.name);
        else if (!(*(a.name[0] == 'p' ? &p->folder : &p->json) = lv_args_value(&a)))
            return LV_EXIT_USAGE;
    }
    p->json_only = p->json && !strcmp(p->json, "-");
    return p->nb ? -1 : lv_tool_fail(LV_EXIT_USAGE, "expected a log; linvideo report --help "
                                     "lists the options");
}

static int report(Report *p)
{
    int ret = 0;

    for (int i = 0; i < p->nb && ret >= 0 && p->json; i++)
        ret = lv_tool_not_input(p->json, p->log[i].path);
    if (ret >= 0 && p->json)
        ret = lv_tool_may_write(p->json, p->overwrite);
    if (ret >= 0)
        ret = lv_tool_may_fill(p->folder, p->overwrite);
    for (int i = 0; i < p->nb && ret >= 0; i++)
        if ((ret = lv_steplog_read(&p->log[i].s, p->log[i].path, &lv_tool_msg)) >= 0)
            name_log(p, i);
    for (int i = 0; i < p->nb && ret >= 0 && !p->json_only; i++)
        print_log(&p->log[i]);
    if (ret >= 0 && p->json)
        ret = write_json(p);
    return ret < 0 || !p->folder ? ret : draw_all(p);
}

static int cmd_report(int argc, char **argv)
{
    Report p = { 0 };
    int ret = parse(&p, argc, argv);

    if (ret >= 0)
        return ret;
    ret = report(&p);
    for (int i = 0; i < p.nb; i++)
        lv_steplog_free(&p.log[i].s);
    return !ret ? LV_EXIT_OK : ret == -EINVAL || ret == LV_ERR_MODEL ? LV_EXIT_USAGE
         : LV_EXIT_FAILED;
}

const LvCommand lv_cmd_report = {
    .name  = "report",
    .about = "draw how linearize chose its layers",
    .run   = cmd_report,
};
