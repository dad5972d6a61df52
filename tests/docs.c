/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Prints the table of options as a part of a document, see docs.sh:
 *
 *     docs readme|markdown|man|texinfo    that document's part
 *     docs ranges                         member and range, a line each
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "linvideo/linvideo.h"
#include "linvideo/option_table.h"

typedef struct Value {
    const char *option, *name, *meaning;
} Value;

typedef struct Option {
    const char *kind, *name, *alias, *member, *min, *max, *argument, *preset, *help, *more;
    int of_host; ///< the filter has none of it
} Option;

#define VALUE(of, constant, text, meaning) { #of, text, meaning },

static const Value values[] = {
    LINVIDEO_VALUES_mode(VALUE) LINVIDEO_VALUES_join(VALUE)
    LINVIDEO_VALUES_sampler(VALUE) LINVIDEO_VALUES_precision(VALUE)
    LINVIDEO_VALUES_format(VALUE) LINVIDEO_VALUES_matrix(VALUE)
    LINVIDEO_VALUES_prompt_cache(VALUE) LINVIDEO_VALUES_log_level(VALUE)
};

#define ROW(host, kind, name, alias, member, min, max, argument, preset, help, more) \
    { #kind, #name, alias, #member, #min, #max, argument, preset, help, more, host },
#define OF_ALL(kind, name, alias, member, min, max, value, argument, preset, help, more) \
    ROW(0, kind, name, alias, member, min, max, argument, preset, help, more)
#define OF_HOST(kind, name, alias, member, min, max, value, argument, preset, help, more) \
    ROW(1, kind, name, alias, member, min, max, argument, preset, help, more)

static const Option options[] = { LINVIDEO_OPTIONS(OF_ALL) LINVIDEO_OPTIONS_HOST(OF_HOST) };

enum { NB_OPTIONS = sizeof(options) / sizeof(*options) };

/* The README shows these; all are in filter.md. */
static const char *const in_readme[] = {
    "prompt", "prompt_file", "model", "size", "duration", "seed", "steps", "guidance",
    "precision", "format", "device", "memory_limit", NULL
};

/** How a document writes text. */
typedef struct Style {
    const char *name[2];   ///< before and after a name
    const char *dash;      ///< of an option's name and a range
    const char *bar;       ///< |, which ends a cell of a table
    const char *newline;   ///< between lines of a paragraph; "": one long line
    int width;             ///< columns of a line
} Style;

static const Style markdown = { { "`", "`" }, "-", "\\|", "", 0 };
static const Style man      = { { "\\fB", "\\fR" }, "\\-", "|", "\n", 95 };
static const Style texinfo  = { { "@code{", "}" }, "-", "|", "\n+", 82 };
static const Style readme   = { { "", "" }, "-", "|", "\n                      ", 88 };

/* A text of names in `backquotes`, as a paragraph. */
static void put_paragraph(const Style *s, const char *text)
{
    int column = 0, inside = 0;

    for (const char *word = text; *word; word += strspn(word, " ")) {
        int n = strcspn(word, " ");

        if (*s->newline && column && column + 1 + n > s->width)
            column = (fputs(s->newline, stdout), 0);
        if (column)
            putchar(' ');
        column += n + !!column;
        for (; n--; word++)
            if (*word == '`')
                fputs(s->name[inside], stdout), inside ^= 1;
            else if (*word == '-')
                fputs(s->dash, stdout);
            else if (*word == '|')
                fputs(s->bar, stdout);
            else
                putchar(*word);
    }
}

static int is(const Option *o, const char *kind)
{
    return !strcmp(o->kind, kind);
}

static int has_range(const Option *o)
{
    return is(o, "INT") || is(o, "INT64") || is(o, "FLOAT") || is(o, "SIZE");
}

static int list_values(const Option *o, char *text, size_t size, int meanings)
{
    const char *comma = "";
    int n = 0;

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        if (strcmp(values[i].option, o->name))
            continue;
        n += snprintf(text + n, size - n, meanings ? "%s`%s` (%s)" : "%s%s", comma,
                      values[i].name, values[i].meaning);
        comma = ", ";
    }
    return n;
}

/* Help, values or range, and more, as sentences. */
static void describe(const Option *o, char *text, size_t size)
{
    int n = snprintf(text, size, "%s%s", is(o, "BOOL") ? "1: " : "", o->help);

    text[0] = toupper((unsigned char)text[0]);
    if (is(o, "ENUM") || is(o, "FORMAT")) {
        n += snprintf(text + n, size - n, ": ");
        n += list_values(o, text + n, size - n, 1);
    }
    n += snprintf(text + n, size - n, ".");
    if (has_range(o))
        n += snprintf(text + n, size - n, " Range: %s to %s%s.", o->min, o->max,
                      is(o, "SIZE") ? " each" : "");
    if (*o->more)
        snprintf(text + n, size - n, " %s", o->more);
}

/* As the filter has it. */
static const char *preset(const Option *o)
{
    return is(o, "FORMAT") ? "the first that fits" : o->preset;
}

static void put_markdown(const Option *o, const char *text)
{
    if (o->of_host)
        return;
    printf("| `%s`", o->name);
    if (*o->alias)
        printf(", `%s`", o->alias);
    printf(" | %s | ", preset(o));
    put_paragraph(&markdown, text);
    puts(" |");
}

static void put_man(const Option *o, const char *text)
{
    printf(".TP\n.BI ");
    for (const char *c = "--"; *c; c++)
        fputs(man.dash, stdout);
    for (const char *c = o->name; *c; c++)
        fputs(*c == '_' ? man.dash : (char[]){ *c, 0 }, stdout);
    printf(" \" %s\"\n", o->argument);
    put_paragraph(&man, text);
    if (*o->preset)
        printf("\nDefault: %s.", o->preset);
    putchar('\n');
}

static void put_texinfo(const Option *o, const char *text)
{
    if (o->of_host)
        return;
    printf("+@item %s%s%s\n+", o->name, *o->alias ? ", " : "", o->alias);
    put_paragraph(&texinfo, text);
    if (*o->preset)
        printf("\n+Default: %s.", preset(o));
    puts("\n+");
}

static void put_readme(const Option *o, const char *text)
{
    char line[512];
    int n = 0, shown = 0;

    for (const char *const *name = in_readme; *name; name++)
        shown |= !strcmp(*name, o->name);
    if (!shown)
        return;
    (void)text;
    if ((n = list_values(o, line, sizeof(line), 0)))
        n += snprintf(line + n, sizeof(line) - n, ": ");
    n += snprintf(line + n, sizeof(line) - n, "%s", o->help);
    if (*o->preset)
        snprintf(line + n, sizeof(line) - n, " [%s]", preset(o));
    printf("    %-18s", o->name);
    put_paragraph(&readme, line);
    putchar('\n');
}

static void put_range(const Option *o, const char *text)
{
    (void)text;
    if (has_range(o))
        printf("%s %s to %s\n", o->member, o->min, o->max);
}

static const struct {
    const char *name, *head, *foot;
    void (*put)(const Option *o, const char *text);
} documents[] = {
    { "readme", "", "", put_readme },
    { "markdown", "\n| option | default | what it is |\n| --- | --- | --- |\n", "\n", put_markdown },
    { "man", "", "", put_man },
    { "texinfo", "", "", put_texinfo },
    { "ranges", "", "", put_range },
};

int main(int argc, char **argv)
{
    for (size_t k = 0; argc == 2 && k < sizeof(documents) / sizeof(*documents); k++) {
        if (strcmp(documents[k].name, argv[1]))
            continue;
        fputs(documents[k].head, stdout);
        for (int i = 0; i < NB_OPTIONS; i++) {
            char text[2048];

            describe(&options[i], text, sizeof(text));
            documents[k].put(&options[i], text);
        }
        fputs(documents[k].foot, stdout);
        return 0;
    }
    fputs("usage: docs readme|markdown|man|texinfo|ranges\n", stderr);
    return 2;
}
