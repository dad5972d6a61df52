/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

#define NEAR " near '"

/** What a text of jansson begins with, and what it asks for. */
static const struct {
    const char *begin, *expected;
} causes[] = {
    { "'[' or '{' expected", "an object or a list" },
    { "string or '}' expected", "a name in quotes or }" },
    { "':' expected", "a colon" },
    { "'}' expected", "a comma or }" },
    { "']' expected", "a comma or ]" },
    { "end of file expected", "one value and nothing behind it" },
    { "duplicate object key", "each name once" },
    { "invalid token", "a value" },
    { "unexpected token", "a value" },
    { "premature end of input", "a quote at the end of a string" },
    { "unexpected newline", "a quote at the end of a string" },
    { "control character", "a string without control characters" },
    { "invalid escape", "one of \"\\/bfnrtu behind \\" },
    { "invalid Unicode", "a Unicode character" },
    { "\\u0000", "a string without NUL" },
    { "NUL byte", "a name without NUL" },
    { "unable to decode byte", "UTF-8" },
    { "too big", "an integer of 64 bits" },
    { "real number overflow", "a number of double precision" },
    { "maximum parsing depth", "values that are less deeply nested" },
};

static const char *expected_by(const char *text)
{
    for (int i = 0; i < LV_COUNT(causes); i++)
        if (!strncmp(text, causes[i].begin, strlen(causes[i].begin)))
            return causes[i].expected;
    return "JSON";
}

/* What came instead: a byte by its number, what is quoted of the input, or its end. */
static void add_got(char *line, size_t size, const char *text)
{
    const char *byte = strstr(text, " 0x"), *near = strstr(text, NEAR);
    size_t n = strlen(line);

    if (byte)
        snprintf(line + n, size - n, ", got byte%.*s", 1 + (int)strcspn(byte + 1, " "), byte);
    else if (near)
        snprintf(line + n, size - n, ", got %s", near + strlen(NEAR) - 1);
    else if (strstr(text, " near end of file"))
        snprintf(line + n, size - n, ", got its end");
}

const char *lv_json_expected(char dst[LV_SHOW_SIZE], const json_error_t *error)
{
    char line[LV_SHOW_SIZE + sizeof(error->text)];

    snprintf(line, sizeof(line), "expected %s", expected_by(error->text));
    add_got(line, sizeof(line), error->text);
    return lv_text_show(dst, line, strlen(line));
}

const char *lv_json_value(char dst[LV_SHOW_SIZE], const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const char *shown = text ? text : "nothing";

    lv_text_show(dst, shown, strlen(shown));
    free(text);
    return dst;
}
