/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/tools.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

typedef struct Command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} Command;

static const Command commands[] = {
    { "generate", lv_cmd_generate, "make a video from a text" },
    { "inspect",  lv_cmd_inspect,  "tell what a model file holds and needs" },
    { "setup",    lv_cmd_setup,    "make a model of downloaded files" },
    { "convert",  lv_cmd_convert,  "write weights in another form" },
    { "train",    lv_cmd_train,    "make a model from a recipe" },
    { "linearize", lv_cmd_linearize, "make attention of a model linear, in some layers" },
    { "distill",  lv_cmd_distill,  "make a model sample in a few steps" },
    { "compare",  lv_cmd_compare,  "measure how near a model is to its teacher" },
    { "report",   lv_cmd_report,   "draw how layers were chosen and what they cost" },
    { "bench",    lv_cmd_bench,    "measure the speed of networks and their parts" },
    { "dataset",  lv_cmd_dataset,  "show the clips and captions models are trained on" },
    { "eval",     lv_cmd_eval,     "measure how well a model does what prompts say" },
    { "devices",  lv_cmd_devices,  "list the devices there are here" },
};

enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

int lv_tool_fail(int code, const char *fmt, ...)
{
    char text[4096], line[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "linvideo: %s\n", lv_text_line(line, sizeof(line), text));
    return code;
}

void lv_tool_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    flockfile(stderr);
    if (opaque)
        lv_bar_clear(opaque);
    fprintf(stderr, "linvideo: %s%s\n",
            level == LINVIDEO_LOG_WARNING ? "warning: " : "", message);
    funlockfile(stderr);
}

/* Arguments */

static void take_name(LvArgs *a, const char *arg)
{
    const char *end;
    size_t n;

    arg += 1 + (arg[1] == '-');
    end = strchr(arg, '=');
    n   = end ? (size_t)(end - arg) : strlen(arg);
    if (n >= sizeof(a->name))
        n = sizeof(a->name) - 1;
    memcpy(a->name, arg, n);
    a->name[n] = '\0';
    for (char *c = a->name; (c = strchr(c, '-'));)
        *c = '_';
    a->value = end ? end + 1 : NULL;
}

int lv_args_next(LvArgs *a)
{
    const char *arg;

    if (a->at >= a->argc)
        return 0;
    arg = a->argv[a->at++];
    if (!a->words_only && !strcmp(arg, "--")) {
        a->words_only = 1;
        return lv_args_next(a);
    }
    a->name[0] = '\0';
    a->value   = arg;
    if (!a->words_only && arg[0] == '-' && arg[1])
        take_name(a, arg);
    return 1;
}

const char *lv_args_value(LvArgs *a)
{
    if (!a->value && a->at < a->argc)
        a->value = a->argv[a->at++];
    if (!a->value)
        lv_tool_fail(0, "option %s wants a value", a->name);
    return a->value;
}

int lv_args_overwrite(const LvArgs *a, int *overwrite)
{
    if (strcmp(a->name, "y") && strcmp(a->name, "overwrite"))
        return 0;
    return *overwrite = 1;
}

int lv_args_int(LvArgs *a, int low, int high, int *out)
{
    const char *text = lv_args_value(a);
    char *end;
    long n;

    if (!text)
        return -1;
    errno = 0;
    n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < low || n > high)
        return lv_tool_fail(-1, "option %s: \"%s\" is no whole number of %d to %d",
                            a->name, text, low, high);
    *out = n;
    return 0;
}

/* Texts */

const char *lv_bytes_text(char *buf, size_t size, double bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    int i = 0;

    while (bytes >= 1024 && i < 4) {
        bytes /= 1024;
        i++;
    }
    snprintf(buf, size, "%.*f %s", i > 0 && bytes < 100, bytes, units[i]);
    return buf;
}

const char *lv_rate_text(char *buf, size_t size, int num, int den)
{
    if (den == 1)
        snprintf(buf, size, "%d", num);
    else
        snprintf(buf, size, "%d/%d", num, den);
    return buf;
}

/* Command line */

static const Command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static void usage(FILE *out)
{
    fputs("Usage: linvideo COMMAND [options]\n\nCommands:\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].about);
    fputs("\n"
          "  linvideo COMMAND --help   options of a command\n"
          "  linvideo --version        versions of command and library\n",
          out);
}

static int version(void)
{
    unsigned v = linvideo_version();

    printf("linvideo %d.%d.%d\nliblinvideo %u.%u.%u\n", LINVIDEO_VERSION_MAJOR,
           LINVIDEO_VERSION_MINOR, LINVIDEO_VERSION_MICRO, v >> 16, v >> 8 & 255,
           v & 255);
    return LV_EXIT_OK;
}

static int is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return !strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c);
}

/* What was printed must have arrived: a full disk is an error. */
static int finish(int code)
{
    if (fflush(stdout) && errno != EPIPE && code == LV_EXIT_OK)
        return lv_tool_fail(LV_EXIT_FAILED, "standard output: %s",
                            strerror(errno));
    return code;
}

int main(int argc, char **argv)
{
    const Command *command;

    signal(SIGXFSZ, SIG_IGN); /* too large a file is an error like a full disk */
    if (argc < 2) {
        usage(stderr);
        return LV_EXIT_USAGE;
    }
    if (is_one_of(argv[1], "-h", "--help", "help")) {
        usage(stdout);
        return finish(LV_EXIT_OK);
    }
    if (is_one_of(argv[1], "-V", "--version", "version"))
        return finish(version());
    command = find_command(argv[1]);
    if (!command)
        return lv_tool_fail(LV_EXIT_USAGE, "no command \"%s\"; linvideo --help "
                            "lists them", argv[1]);
    return finish(command->run(argc - 1, argv + 1));
}
