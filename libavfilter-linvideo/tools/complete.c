/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/complete.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/params.h"
#include "tools/share/message.h"

/* The head of a line of help, "  -o, --output FILE   what it does": its long options. */
static void print_options(const char *line)
{
    const char *end = strstr(line + strspn(line, " "), "  "), *at = line;

    if (line[strspn(line, " ")] != '-')
        return;
    while ((at = strstr(at, "--")) && (!end || at < end)) {
        int n = (int)strspn(at, "-_abcdefghijklmnopqrstuvwxyz0123456789");

        if (n > 2)
            printf("%.*s\n", n, at);
        at += n;
    }
}

/* Let the command print its help to a file. */
static FILE *help_of(const LvCommand *c)
{
    char *argv[] = { (char *)c->name, "--help", NULL };
    FILE *help = tmpfile();
    int out    = dup(STDOUT_FILENO);

    fflush(stdout);
    if (!help || out < 0 || dup2(fileno(help), STDOUT_FILENO) < 0)
        return help;
    c->run(2, argv);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    rewind(help);
    return help;
}

static void complete_options(const LvCommand *c)
{
    FILE *help = help_of(c);
    char line[1024];

    while (help && fgets(line, sizeof(line), help))
        print_options(line);
    if (help)
        fclose(help);
    puts("--help");
}

static void complete_values(const char *option)
{
    char name[64];
    const LvOption *o;

    snprintf(name, sizeof(name), "%s", option + strspn(option, "-"));
    for (char *c = name; (c = strchr(c, '-'));)
        *c = '_';
    for (int i = 0; (o = lv_option_at(i)); i++) {
        if (strcmp(o->name, name))
            continue;
        if (o->kind == LV_OPT_BOOL)
            puts("0\n1");
        for (const LvChoice *c = o->choices; c && c->name; c++)
            puts(c->name);
    }
}

int lv_complete(const LvCommand *const *commands, int nb, int argc, char **argv)
{
    const LvCommand *c = NULL;

    for (int i = 0; i < nb; i++)
        if (argc < 2)
            puts(commands[i]->name);
        else if (!strcmp(commands[i]->name, argv[1]))
            c = commands[i];
    if (c && argc == 2)
        complete_options(c);
    if (c && argc > 2)
        complete_values(argv[2]);
    return LV_EXIT_OK;
}
