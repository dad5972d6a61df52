/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/prompt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/text.h"
#include "model/entities.h"

/* A text that grows. */
typedef struct Text {
    char *s;
    size_t n, room;
    int failed; ///< out of memory; s is NULL then
} Text;

static void put(Text *t, const char *s, size_t n)
{
    if (!t->failed && t->room - t->n < n) {
        size_t room = 2 * t->room + n;
        char *p = room > t->room ? realloc(t->s, room) : NULL;

        if (!p)
            free(t->s);
        t->failed = !p;
        t->s    = p;
        t->room = room;
    }
    if (t->failed || !n)
        return;
    memcpy(t->s + t->n, s, n);
    t->n += n;
}

static void put_code(Text *t, uint32_t cp)
{
    char s[4];

    put(t, s, (size_t)lv_utf8_put(s, cp));
}

/* --- characters --- */

/* Code points first to last become this text. In order, without overlap. */
static const struct {
    uint16_t first, last;
    char text[6];
} replaced[] = {
    { 0x0001, 0x0008, "" },   { 0x000B, 0x000B, "" },   { 0x000E, 0x001F, "" },
    { 0x007F, 0x0084, "" },   { 0x0086, 0x009F, "" },
    { 0x0132, 0x0132, "IJ" }, { 0x0133, 0x0133, "ij" }, { 0x0149, 0x0149, "'n" },
    { 0x01C4, 0x01C4, "D\u017D" }, { 0x01C5, 0x01C5, "D\u017E" },
    { 0x01C6, 0x01C6, "d\u017E" },
    { 0x01C7, 0x01C7, "LJ" }, { 0x01C8, 0x01C8, "Lj" }, { 0x01C9, 0x01C9, "lj" },
    { 0x01CA, 0x01CA, "NJ" }, { 0x01CB, 0x01CB, "Nj" }, { 0x01CC, 0x01CC, "nj" },
    { 0x01F1, 0x01F1, "DZ" }, { 0x01F2, 0x01F2, "Dz" }, { 0x01F3, 0x01F3, "dz" },
    { 0x02BC, 0x02BC, "'" },  { 0x2018, 0x201B, "'" },  { 0x201C, 0x201F, "\"" },
    { 0x206A, 0x206F, "" },   { 0x3000, 0x3000, " " },
    { 0xFB00, 0xFB00, "ff" }, { 0xFB01, 0xFB01, "fi" }, { 0xFB02, 0xFB02, "fl" },
    { 0xFB03, 0xFB03, "ffi" }, { 0xFB04, 0xFB04, "ffl" },
    { 0xFB05, 0xFB05, "\u017Ft" }, { 0xFB06, 0xFB06, "st" },
    { 0xFEFF, 0xFEFF, "" },   { 0xFFE3, 0xFFE3, " \u0304" },
    { 0xFFF9, 0xFFFC, "" },
};

#define WIDE_FIRST  0xFF01 ///< to 0xFF5E: ASCII, wide
#define WIDTH_FIRST 0xFF5F

/* Usual width of the characters from WIDTH_FIRST on; 0: stays. */
static const uint16_t width[] = {
    0x2985, 0x2986, 0x3002, 0x300C, 0x300D, 0x3001, 0x30FB, 0x30F2, 0x30A1, 0x30A3,
    0x30A5, 0x30A7, 0x30A9, 0x30E3, 0x30E5, 0x30E7, 0x30C3, 0x30FC, 0x30A2, 0x30A4,
    0x30A6, 0x30A8, 0x30AA, 0x30AB, 0x30AD, 0x30AF, 0x30B1, 0x30B3, 0x30B5, 0x30B7,
    0x30B9, 0x30BB, 0x30BD, 0x30BF, 0x30C1, 0x30C4, 0x30C6, 0x30C8, 0x30CA, 0x30CB,
    0x30CC, 0x30CD, 0x30CE, 0x30CF, 0x30D2, 0x30D5, 0x30D8, 0x30DB, 0x30DE, 0x30DF,
    0x30E0, 0x30E1, 0x30E2, 0x30E4, 0x30E6, 0x30E8, 0x30E9, 0x30EA, 0x30EB, 0x30EC,
    0x30ED, 0x30EF, 0x30F3, 0x3099, 0x309A, 0x1160, 0x1100, 0x1101, 0x11AA, 0x1102,
    0x11AC, 0x11AD, 0x1103, 0x1104, 0x1105, 0x11B0, 0x11B1, 0x11B2, 0x11B3, 0x11B4,
    0x11B5, 0x111A, 0x1106, 0x1107, 0x1108, 0x1121, 0x1109, 0x110A, 0x110B, 0x110C,
    0x110D, 0x110E, 0x110F, 0x1110, 0x1111, 0x1112, 0,      0,      0,      0x1161,
    0x1162, 0x1163, 0x1164, 0x1165, 0x1166, 0,      0,      0x1167, 0x1168, 0x1169,
    0x116A, 0x116B, 0x116C, 0,      0,      0x116D, 0x116E, 0x116F, 0x1170, 0x1171,
    0x1172, 0,      0,      0x1173, 0x1174, 0x1175, 0,      0,      0,      0x00A2,
    0x00A3, 0x00AC, 0,      0x00A6, 0x00A5, 0x20A9, 0,      0x2502, 0x2190, 0x2191,
    0x2192, 0x2193, 0x25A0, 0x25CB,
};

static int replace(Text *out, uint32_t cp)
{
    for (int i = 0; i < LV_COUNT(replaced) && replaced[i].first <= cp; i++)
        if (cp <= replaced[i].last) {
            put(out, replaced[i].text, strlen(replaced[i].text));
            return 1;
        }
    return 0;
}

/* Bytes of the terminal control sequence at s (ESC [ digits letter), or 0. */
static size_t terminal_escape(const char *s)
{
    size_t n = 2;

    if (s[0] != 0x1B || s[1] != '[')
        return 0;
    while ((s[n] >= '0' && s[n] <= '9') || s[n] == ';')
        n++;
    return (s[n] | 32) >= 'a' && (s[n] | 32) <= 'z' ? n + 1 : 0;
}

static void repair(Text *out, const char *s, size_t n)
{
    uint32_t cp = 0;
    size_t len;

    for (size_t i = 0; i < n; i += len) {
        if ((len = terminal_escape(s + i)))
            continue;
        len = (size_t)lv_utf8_get(&cp, s + i, n - i);
        if (replace(out, cp))
            continue;
        if (cp >= WIDE_FIRST && cp < WIDTH_FIRST)
            cp -= WIDE_FIRST - '!';
        else if (cp >= WIDTH_FIRST && cp - WIDTH_FIRST < (uint32_t)LV_COUNT(width) &&
                 width[cp - WIDTH_FIRST])
            cp = width[cp - WIDTH_FIRST];
        put_code(out, cp);
    }
}

/* --- HTML character references --- */

/* Numbers 0x80 to 0x9F mean the characters of Windows-1252. */
static const uint16_t cp1252[32] = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
    0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D, 0x017D, 0x008F,
    0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
    0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
};

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_alpha(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static int digit_value(char c, int base)
{
    if (is_digit(c))
        return c - '0';
    return base == 16 && (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Code points that stand for nothing. */
static int is_void(uint32_t cp)
{
    return (cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\f' && cp != '\r') ||
           (cp >= 0x7F && cp <= 0x9F) || (cp >= 0xFDD0 && cp <= 0xFDEF) ||
           (cp & 0xFFFE) == 0xFFFE;
}

static void put_number(Text *out, uint32_t cp)
{
    if (cp >= 0x80 && cp <= 0x9F)
        put_code(out, cp1252[cp - 0x80]);
    else if (!cp || (cp >= 0xD800 && cp <= 0xDFFF) || cp > 0x10FFFF)
        put_code(out, 0xFFFD);
    else if (!is_void(cp))
        put_code(out, cp);
}

/* &#65; &#x41; at s, the ';' may be missing. Bytes taken, 0: none is here. */
static size_t numeric_reference(Text *out, const char *s)
{
    int base = (s[2] | 32) == 'x' ? 16 : 10, value;
    size_t start = base == 16 ? 3 : 2, n = start;
    uint32_t cp = 0;

    for (; (value = digit_value(s[n], base)) >= 0; n++)
        cp = LV_MIN(cp * (uint32_t)base + (uint32_t)value, 0x110000);
    if (n == start)
        return 0;
    put_number(out, cp);
    return n + (s[n] == ';');
}

/* &name; or the longest start of it that may stand without ';'. */
static size_t named_reference(Text *out, const char *s)
{
    const LvEntity *e = NULL;
    size_t n = 0, closed = 0;

    while (n <= LV_ENTITY_MAX && (is_digit(s[1 + n]) || is_alpha(s[1 + n])))
        n++;
    if (s[1 + n] == ';' && (e = lv_entity_find(s + 1, n)))
        closed = 1;
    for (; !e && n >= 2; n -= !e)
        if ((e = lv_entity_find(s + 1, n)) && !e->bare)
            e = NULL;
    if (!e)
        return 0;
    put_code(out, e->first);
    if (e->second)
        put_code(out, e->second);
    return 1 + n + closed;
}

static void decode_references(Text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = 0;

        if (s[i] == '&')
            len = s[i + 1] == '#' ? numeric_reference(out, s + i)
                                  : named_reference(out, s + i);
        if (!len) {
            put(out, s + i, 1);
            len = 1;
        }
        i += len;
    }
}

/* --- white space --- */

static int is_space(uint32_t cp)
{
    static const struct {
        uint16_t first, last;
    } space[] = {
        { 0x0009, 0x000D }, { 0x001C, 0x0020 }, { 0x0085, 0x0085 }, { 0x00A0, 0x00A0 },
        { 0x1680, 0x1680 }, { 0x2000, 0x200A }, { 0x2028, 0x2029 }, { 0x202F, 0x202F },
        { 0x205F, 0x205F }, { 0x3000, 0x3000 },
    };

    for (int i = 0; i < LV_COUNT(space); i++)
        if (cp >= space[i].first && cp <= space[i].last)
            return 1;
    return 0;
}

static void join_spaces(Text *out, const char *s, size_t n)
{
    uint32_t cp = 0;
    size_t len;
    int gap = 0;

    for (size_t i = 0; i < n; i += len) {
        len = (size_t)lv_utf8_get(&cp, s + i, n - i);
        if (is_space(cp)) {
            gap = out->n > 0;
            continue;
        }
        put(out, " ", (size_t)gap);
        put(out, s + i, len);
        gap = 0;
    }
}

/* --- all of it --- */

typedef void Pass(Text *out, const char *s, size_t n);

/* Replace t by what the pass makes of it; its text ends in NUL. */
static void run(Text *t, Pass *pass)
{
    Text out = { NULL, 0, 0, t->failed };

    if (!t->failed)
        pass(&out, t->s, t->n);
    put(&out, "", 1);
    out.n -= !out.failed;
    free(t->s);
    *t = out;
}

static int check_utf8(const char *text, const LvMsg *msg)
{
    size_t n = strlen(text);
    uint32_t cp;
    int len;

    for (size_t i = 0; i < n; i += (size_t)len)
        if (!(len = lv_utf8_get(&cp, text + i, n - i)))
            return lv_fail(msg, LV_ERR(EINVAL),
                           "the prompt is not valid UTF-8 at byte %zu of %zu", i, n);
    return 0;
}

char *lv_prompt_clean(const char *text, const LvMsg *msg)
{
    Text t = { NULL, 0, 0, 0 };

    if (check_utf8(text, msg) < 0) {
        errno = EINVAL;
        return NULL;
    }
    put(&t, text, strlen(text) + 1);
    t.n -= !t.failed;
    /* The reference's repair decodes references itself unless it sees markup. */
    if (!strchr(text, '<'))
        run(&t, decode_references);
    run(&t, repair);
    run(&t, decode_references);
    run(&t, decode_references);
    run(&t, join_spaces);
    if (t.failed) {
        lv_fail(msg, LV_ERR(ENOMEM), "no memory to clean a prompt of %zu bytes",
                strlen(text));
        errno = ENOMEM;
    }
    return t.s;
}
