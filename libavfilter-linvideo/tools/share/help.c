/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/help.h"

#include <stdio.h>
#include <string.h>

#include "api/params.h"

/* Print text from the given column on, broken at spaces before column 79. */
static void print_wrapped(const char *text, int column)
{
    int at = column;

    while (*text) {
        int n = strcspn(text, " ");

        if (at > column && at + 1 + n > 79) {
            printf("\n%*s", column, "");
            at = column;
        } else if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, text);
        at   += n;
        text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

enum { HELP_COLUMN = 26 };

void lv_help_option(const char *head, const char *help)
{
    int n = printf("  %s", head);

    if (n > HELP_COLUMN - 2) {
        putchar('\n');
        n = 0;
    }
    printf("%*s", HELP_COLUMN - n, "");
    print_wrapped(help, HELP_COLUMN);
}

void lv_help_parameters(void)
{
    char head[64], text[LV_OPTION_TEXT];
    const LvOption *o;

    for (int i = 0; (o = lv_option_at(i)); i++) {
        snprintf(head, sizeof(head), "--%s %s", o->name, o->argument);
        for (char *c = head; *c && *c != ' '; c++)
            *c = *c == '_' ? '-' : *c;
        lv_option_text(o, text);
        lv_help_option(head, text);
    }
}

int lv_help_has_parameter(const char *name)
{
    const LvOption *o;

    for (int i = 0; (o = lv_option_at(i)); i++)
        if (!strcmp(o->name, name))
            return 1;
    return 0;
}
