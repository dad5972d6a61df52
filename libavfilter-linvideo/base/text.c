/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/text.h"

#include <string.h>

int lv_utf8_get(uint32_t *cp, const char *s, size_t n)
{
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t *p = (const uint8_t *)s;
    uint32_t c = p[0];
    int len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    if ((c >= 0x80 && c < 0xC2) || c > 0xF4 || (size_t)len > n)
        return 0;
    if (len > 1)
        c &= 0x7Fu >> len;
    for (int i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *cp = c;
    return len;
}

int lv_utf8_put(char dst[4], uint32_t cp)
{
    static const uint8_t lead[5] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    int len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;

    for (int i = len - 1; i > 0; i--, cp >>= 6)
        dst[i] = (char)(0x80 | (cp & 0x3F));
    dst[0] = (char)(lead[len] | cp);
    return len;
}

int lv_text_is_plain(const char *s, size_t n)
{
    uint32_t cp;
    int len;

    for (size_t i = 0; i < n; i += (size_t)len) {
        len = lv_utf8_get(&cp, s + i, n - i);
        if (!len || cp < 0x20 || (cp >= 0x7F && cp <= 0x9F))
            return 0;
    }
    return 1;
}

/* Line and paragraph ends of Unicode, and what turns the direction of writing. */
static int is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp <= 0x9F) || (cp >= 0x2028 && cp <= 0x202E) ||
           cp == 0x200E || cp == 0x200F || cp == 0x61C || (cp >= 0x2066 && cp <= 0x2069);
}

const char *lv_text_line(char *dst, size_t size, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = strlen(s), at = 0;
    uint32_t cp;

    for (size_t i = 0, len; i < n; i += len) {
        int plain = (len = (size_t)lv_utf8_get(&cp, s + i, n - i)) && !is_control(cp);
        len = len ? len : 1;
        if (at + (plain ? len : 4 * len) >= size)
            break;
        for (size_t k = i; k < i + len; k++) {
            uint8_t c = (uint8_t)s[k];
            if (plain) {
                dst[at++] = (char)c;
                continue;
            }
            memcpy(dst + at, (const char[4]) { '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
            at += 4;
        }
    }
    dst[at] = 0;
    return dst;
}

const char *lv_text_show(char dst[LV_SHOW_SIZE], const char *s, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    char *p = dst;

    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];

        if (p - dst > LV_SHOW_SIZE - 8) {
            memcpy(p, "...", 3);
            p += 3;
            break;
        }
        if (c >= 0x20 && c < 0x7F) {
            *p++ = (char)c;
        } else {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p = 0;
    return dst;
}
