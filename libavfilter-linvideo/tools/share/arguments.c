/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/share/message.h"

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
        lv_tool_fail(0, "option %s: expected a value", a->name);
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
        return lv_tool_fail(-1, "option %s: expected an integer from %d to %d, got "
                            "\"%s\"", a->name, low, high, text);
    *out = n;
    return 0;
}
