/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The command `linvideo`: finds the subcommand and runs it.
 * Floor tools.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <linvideo/linvideo.h>

#include "tools/cmd/commands.h"
#include "tools/complete.h"
#include "tools/share/message.h"

static const LvCommand *const commands[] = {
    &lv_cmd_generate,
    &lv_cmd_serve,
    &lv_cmd_inspect,
    &lv_cmd_setup,
    &lv_cmd_convert,
    &lv_cmd_train,
    &lv_cmd_linearize,
    &lv_cmd_distill,
    &lv_cmd_compare,
    &lv_cmd_report,
    &lv_cmd_bench,
    &lv_cmd_dataset,
    &lv_cmd_eval,
    &lv_cmd_devices,
};

enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static const LvCommand *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static void usage(FILE *out)
{
    fputs("Usage: linvideo COMMAND [options]\n\nCommands:\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->about);
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
    const LvCommand *command;

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
    if (!strcmp(argv[1], "complete"))
        return finish(lv_complete(commands, COMMANDS, argc - 1, argv + 1));
    command = find_command(argv[1]);
    if (!command)
        return lv_tool_fail(LV_EXIT_USAGE, "no command \"%s\"; linvideo --help "
                            "lists them", argv[1]);
    return finish(command->run(argc - 1, argv + 1));
}
