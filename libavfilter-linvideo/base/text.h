/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Text from files and users: UTF-8 checked step by step, and names made fit to
 * print.
 * Floor F1 (base): knows bytes and code points, not what a text means.
 */

#ifndef LINVIDEO_BASE_TEXT_H
#define LINVIDEO_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/** Size of the buffer that lv_text_show() fills at most. */
#define LV_SHOW_SIZE 160

/**
 * Decode one code point of n > 0 bytes.
 *
 * @param[out] cp the code point; untouched on error
 * @return bytes taken (1 to 4), or 0: cut off, overlong, a surrogate, above
 *         U+10FFFF or a stray byte
 */
int lv_utf8_get(uint32_t *cp, const char *s, size_t n);

/** Encode cp (at most U+10FFFF, no surrogate); returns bytes put, 1 to 4. */
int lv_utf8_put(char dst[4], uint32_t cp);

/** Whether the n bytes are valid UTF-8 without control characters (C0 with NUL,
 *  DEL, C1). */
int lv_text_is_plain(const char *s, size_t n);

/**
 * Copy text into dst[size], size > 0, as one line for a terminal: each byte of control
 * characters, of invalid UTF-8, and of signs that end a line or turn the direction of
 * writing, becomes \xHH. Cut where dst is full.
 *
 * @return dst
 */
const char *lv_text_line(char *dst, size_t size, const char *s);

/**
 * Copy n bytes of untrusted text into dst for a message: whatever is not
 * printable ASCII becomes \xHH, a long text ends in "...".
 *
 * @return dst
 */
const char *lv_text_show(char dst[LV_SHOW_SIZE], const char *s, size_t n);

#endif /* LINVIDEO_BASE_TEXT_H */
