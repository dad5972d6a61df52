/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * PNG, second edition: signature, IHDR, iTXt notes, one IDAT, IEND.
 */

#include "tools/share/png.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tools/share/canvas.h"

enum { BPP = 3 }; /* bytes of a pixel */

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = v >> (24 - 8 * i);
}

static void write_chunk(LvFile *out, const char *type, const void *data, size_t size)
{
    uint8_t head[8], tail[4];
    uLong crc = crc32(0, (const Bytef *)type, 4);

    if (size)
        crc = crc32_z(crc, data, size);
    put32(head, size);
    memcpy(head + 4, type, 4);
    put32(tail, crc);
    lv_file_put(out, head, sizeof(head));
    lv_file_put(out, data, size);
    lv_file_put(out, tail, sizeof(tail));
}

/* Keyword, NUL, not compressed, no language, no translated keyword, text. */
static int write_text(LvFile *out, const LvPngText *t)
{
    size_t key = strlen(t->key), text = strlen(t->text);
    char *data = calloc(1, key + 5 + text);

    if (!data)
        return -ENOMEM;
    memcpy(data, t->key, key);
    memcpy(data + key + 5, t->text, text);
    write_chunk(out, "iTXt", data, key + 5 + text);
    free(data);
    return 0;
}

static int paeth(int a, int b, int c)
{
    int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);

    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* dst[0] is the filter's number, then the row less what the filter predicts of
 * left (a), above (b) and both (c). Returns the sum of the differences. */
static long filter_row(uint8_t *dst, int kind, const uint8_t *row,
                       const uint8_t *above, int n)
{
    long sum = 0;

    dst[0] = kind;
    for (int i = 0; i < n; i++) {
        int a = i < BPP ? 0 : row[i - BPP];
        int b = above ? above[i] : 0;
        int c = i < BPP || !above ? 0 : above[i - BPP];
        int guess = kind == 1 ? a : kind == 2 ? b : kind == 3 ? (a + b) / 2 :
                    kind == 4 ? paeth(a, b, c) : 0;

        dst[1 + i] = row[i] - guess;
        sum += abs((int8_t)dst[1 + i]);
    }
    return sum;
}

/* Of each row, the filter with the smallest differences. */
static void filter_picture(uint8_t *dst, const LvCanvas *p, uint8_t *trial)
{
    int n = BPP * p->width;

    for (int y = 0; y < p->height; y++, dst += 1 + n) {
        const uint8_t *row = p->frame.data[0] + y * p->frame.stride[0];
        const uint8_t *above = y ? row - p->frame.stride[0] : NULL;
        long best = filter_row(dst, 0, row, above, n);

        for (int kind = 1; kind <= 4; kind++) {
            long sum = filter_row(trial, kind, row, above, n);

            if (sum < best) {
                best = sum;
                memcpy(dst, trial, 1 + n);
            }
        }
    }
}

static int write_pixels(LvFile *out, const LvCanvas *p)
{
    size_t line = 1 + BPP * (size_t)p->width, raw = line * p->height;
    uLongf packed = compressBound(raw);
    uint8_t *rows = malloc(raw + line), *data = malloc(packed);
    int ret = -ENOMEM;

    if (rows && data) {
        filter_picture(rows, p, rows + raw);
        ret = compress2(data, &packed, rows, raw, 6) == Z_OK ? 0 : -ENOMEM;
    }
    if (!ret)
        write_chunk(out, "IDAT", data, packed);
    free(rows);
    free(data);
    return ret;
}

int lv_png_write(LvFile *out, const LvCanvas *p, const LvPngText *text)
{
    /* 8 bits, RGB, deflate, the five filters, not interlaced */
    uint8_t head[13] = { [8] = 8, [9] = 2 };
    int ret = 0;

    put32(head, p->width);
    put32(head + 4, p->height);
    lv_file_put(out, "\x89PNG\r\n\x1a\n", 8);
    write_chunk(out, "IHDR", head, sizeof(head));
    for (; !ret && text && text->key; text++)
        ret = write_text(out, text);
    if (!ret)
        ret = write_pixels(out, p);
    if (ret < 0)
        return ret;
    write_chunk(out, "IEND", NULL, 0);
    return lv_file_flush(out);
}
