/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/prompt_times.h"

#include <stdlib.h>
#include <string.h>

#include "base/common.h"

static const char digits[] = "0123456789", spaces[] = " \t\r\n\f\v";

/* Of a number at s: what is behind it. NULL: there is none. */
static const char *skip_number(const char *s)
{
    size_t whole = strspn(s, digits), part = 0;

    if (whole && s[whole] == '.')
        part = strspn(s + whole + 1, digits);
    return whole ? s + whole + (part ? part + 1 : 0) : NULL;
}

/* Where the words of a part such as "5: words" begin. NULL: the text has another form. */
static const char *words_of(const char *part)
{
    const char *s = skip_number(part + strspn(part, spaces));

    if (!s || *s != ':' || !s[1] || !strchr(spaces, s[1]))
        return NULL;
    s += 1 + strspn(s + 1, spaces);
    return *s && *s != '|' ? s : NULL;
}

/* Parts of a text that is prompts over time; 1 of any other. */
static int count(const char *text)
{
    int nb = 0;

    for (const char *part = text; part; nb++) {
        if (!words_of(part))
            return 1;
        part = strchr(part, '|');
        part = part ? part + 1 : NULL;
    }
    return nb;
}

/* In the C locale, as all of the library. */
static int read_part(LvPromptTimes *t, int i, char *part, const LvMsg *msg)
{
    double before = i ? t->from[i - 1] : 0;

    t->text[i] = words_of(part);
    t->from[i] = strtod(part, NULL);
    if (i ? t->from[i] > before : !(t->from[i] > 0))
        return 0;
    return i ? lv_fail(msg, LV_ERR(EINVAL), "prompt: times expected to rise, got %g behind %g",
                       t->from[i], before)
             : lv_fail(msg, LV_ERR(EINVAL), "prompt: the first time expected to be 0, got %g",
                       t->from[i]);
}

/* The text is cut up in place. */
static int read_parts(LvPromptTimes *t, const LvMsg *msg)
{
    char *next = t->words;
    int ret = 0;

    for (int i = 0; i < t->nb && ret >= 0; i++) {
        char *part = next;

        if ((next = strchr(part, '|')))
            *next++ = 0;
        ret = read_part(t, i, part, msg);
    }
    return ret;
}

int lv_prompt_times_read(LvPromptTimes *out, const char *text, const LvMsg *msg)
{
    LvPromptTimes t = { .nb = count(text) };
    int ret;

    if (t.nb > LV_PROMPT_TIMES)
        return lv_fail(msg, LV_ERR(EINVAL), "prompt: %d prompts over time, expected at most %d",
                       t.nb, LV_PROMPT_TIMES);
    if (!(t.words = strdup(text)))
        return lv_fail(msg, LV_ERR(ENOMEM), "out of memory");
    t.text[0] = t.words;
    ret       = t.nb > 1 ? read_parts(&t, msg) : 0;
    if (ret < 0)
        lv_prompt_times_free(&t);
    else
        *out = t;
    return ret;
}

int lv_prompt_times_at(const LvPromptTimes *t, double seconds)
{
    int i = t->nb - 1;

    while (i && t->from[i] > seconds)
        i--;
    return i;
}

void lv_prompt_times_free(LvPromptTimes *t)
{
    free(t->words);
    *t = (LvPromptTimes) { 0 };
}
