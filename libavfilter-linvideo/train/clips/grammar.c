/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int lv_write_choose(LvWriter *w, int n)
{
    uint32_t r;

    if (w->plain || n < 2)
        return 0;
    r = lv_roll(&w->dice);
    return r % 8 < 2 ? 0 : (int)((uint64_t)(r >> 3) * (uint32_t)n >> 29);
}

static void put(LvWriter *w, char c)
{
    if (w->article && c != ' ') {
        w->article = 0;
        if (strchr("aeiou", c)) {
            w->at--;
            put(w, 'n');
            put(w, ' ');
        }
    }
    if (w->at < w->room)
        w->buf[w->at++] = c;
}

static const char *alternative(const char *rule, int i)
{
    while (i--)
        rule = strchr(rule, '|') + 1;
    return rule;
}

static int alternatives(const char *rule)
{
    int n = 1;

    while ((rule = strchr(rule, '|'))) {
        rule++;
        n++;
    }
    return n;
}

void lv_write_name(LvWriter *w, const char *name, const char *others)
{
    int i = others ? lv_write_choose(w, 1 + alternatives(others)) : 0;

    lv_write(w, i ? alternative(others, i - 1) : name);
}

void lv_write_first(LvWriter *w, const char *rule)
{
    for (; *rule && *rule != '|'; rule++) {
        if (*rule == '$') {
            w->symbol(w, *++rule);
        } else if (*rule == '~') {
            put(w, 'a');
            put(w, ' ');
            w->article = 1;
            rule++;
        } else {
            put(w, *rule);
        }
    }
}

void lv_write(LvWriter *w, const char *rule)
{
    lv_write_first(w, alternative(rule, lv_write_choose(w, alternatives(rule))));
}

/* All words */

static int is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static void add_word(LvWordList *w, const char *s, int n)
{
    for (int i = 0; i < w->nb; i++)
        if (w->list[i].n == n && !memcmp(w->list[i].s, s, (size_t)n))
            return;
    if (w->nb < LV_GRAMMAR_WORDS) {
        w->list[w->nb].s   = s;
        w->list[w->nb++].n = n;
    }
}

void lv_words_add(LvWordList *w, const char *rule)
{
    for (int n; rule && *rule; rule += n) {
        n = *rule == '$' ? 2 : 1;
        if (!is_letter(*rule))
            continue;
        for (n = 1; is_letter(rule[n]);)
            n++;
        add_word(w, rule, n);
    }
}

void lv_words_add_all(LvWordList *w, const char *const *rules, int nb)
{
    for (int i = 0; i < nb; i++)
        lv_words_add(w, rules[i]);
}

static int by_letters(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;

    while (is_letter(*x) && *x == *y) {
        x++;
        y++;
    }
    return (is_letter(*x) ? *x : 0) - (is_letter(*y) ? *y : 0);
}

int lv_words_print(LvWordList *w, char *buf, size_t size)
{
    size_t at = 0;

    qsort(w->list, (size_t)w->nb, sizeof(*w->list), by_letters);
    for (int i = 0; i < w->nb && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%.*s", i ? " " : "", w->list[i].n,
                               w->list[i].s);
    return at < size ? (int)at : -1;
}
