/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/yuv_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

enum { SIDE_MAX = 16384, AREA_MAX = 1 << 26, LINE_MAX_SIZE = 1024, RATE_MAX = 1 << 20 };

int lv_reader_fail(const LvReader *r, const char *what)
{
    return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: %s", r->option, r->path, what);
}

int lv_image_check(const LvReader *r, int64_t width, int64_t height)
{
    if (width > 0 && height > 0 && width <= SIDE_MAX && height <= SIDE_MAX &&
        width * height <= AREA_MAX)
        return 0;
    return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: expected 1 to %d pixels each way and at "
                   "most %d, got %lldx%lld", r->option, r->path, SIDE_MAX, AREA_MAX,
                   (long long)width, (long long)height);
}

int lv_image_new(LvImage *image, const LvReader *r, int64_t width, int64_t height)
{
    int ret = lv_image_check(r, width, height);

    if (ret < 0)
        return ret;
    *image = (LvImage) { malloc(3 * (size_t)width * (size_t)height), (int)width, (int)height };
    return image->rgb ? 0 : lv_fail(r->msg, LV_ERR(ENOMEM), "%s: out of memory", r->option);
}

struct LvChroma {
    const char *name;
    int wide, high; ///< luma samples to one of chroma
    int left;       ///< 1: it lies on the first of these; else between them
};

static const LvChroma chromas[] = {
    { "420jpeg", 2, 2, 0 }, { "420mpeg2", 2, 2, 1 }, { "420paldv", 2, 2, 1 },
    { "420", 2, 2, 0 }, { "422", 2, 1, 1 }, { "444", 1, 1, 0 }, { "mono", 0, 0, 0 },
};

static const LvChroma *find_chroma(const char *name)
{
    for (int i = 0; i < LV_COUNT(chromas); i++)
        if (!strcmp(chromas[i].name, name))
            return &chromas[i];
    return NULL;
}

/* A frame. */
typedef struct Yuv {
    const LvY4m *file;
    const uint8_t *plane[3];
    int wide, high; ///< of chroma planes
} Yuv;

/* The line that begins here, without its end; 0: there is none so short. */
static int take_line(LvReader *r, char line[LINE_MAX_SIZE])
{
    const uint8_t *end = memchr(r->data, '\n', LV_MIN(r->size, LINE_MAX_SIZE));
    size_t n = end ? (size_t)(end - r->data) : 0;

    if (!end)
        return 0;
    memcpy(line, r->data, n);
    line[n]  = 0;
    r->data += n + 1;
    r->size -= n + 1;
    return 1;
}

/* Two numbers above 0, in lowest terms. 0; 1: they are not known; -1: no such numbers */
static int take_ratio(int ratio[2], const char *text)
{
    long long a, b, common;

    if (sscanf(text, "%18lld:%18lld", &a, &b) != 2 || a < 0 || b < 0)
        return -1;
    if (!a || !b)
        return 1;
    common   = lv_gcd(a, b);
    ratio[0] = (int)LV_MIN(a / common, INT32_MAX);
    ratio[1] = (int)LV_MIN(b / common, INT32_MAX);
    return 0;
}

static void take_rate(LvY4m *y, const char *text)
{
    int rate[2], kind = take_ratio(rate, text);

    y->odd_rate = kind < 0 || (!kind && (rate[0] > RATE_MAX || rate[1] > RATE_MAX));
    if (kind || y->odd_rate)
        return;
    y->rate_num = rate[0];
    y->rate_den = rate[1];
}

static void take_aspect(LvY4m *y, const char *text)
{
    int aspect[2];

    if (!take_ratio(aspect, text) && aspect[0] != aspect[1])
        memcpy(y->aspect, aspect, sizeof(aspect));
}

/* What is in the file and has no effect. */
static void warn_of_y4m(const LvY4m *y, int mixed, const LvReader *r)
{
    if (mixed)
        lv_msg(r->msg, LV_MSG_WARNING, "%s %s: interlaced: both fields are taken as one frame",
               r->option, r->path);
    if (*y->aspect)
        lv_msg(r->msg, LV_MSG_WARNING, "%s %s: pixels of %d:%d are taken as square ones; ffmpeg "
               "with -vf scale=iw*sar:ih,setsar=1 makes them so", r->option, r->path,
               y->aspect[0], y->aspect[1]);
}

int lv_y4m_open(LvY4m *y, LvReader *r)
{
    char line[LINE_MAX_SIZE], *at, *word;
    const char *colour = "";
    int mixed = 0;

    *y = (LvY4m) { .chroma = &chromas[0] };
    if (!take_line(r, line))
        return lv_reader_fail(r, "broken: its header is not that of a YUV4MPEG2 file");
    for (word = strtok_r(line, " ", &at); word; word = strtok_r(NULL, " ", &at))
        switch (*word) {
        case 'W': y->width  = strtol(word + 1, NULL, 10); break;
        case 'H': y->height = strtol(word + 1, NULL, 10); break;
        case 'F': take_rate(y, word + 1); break;
        case 'A': take_aspect(y, word + 1); break;
        case 'C': y->chroma = find_chroma(colour = word + 1); break;
        case 'I': mixed = word[1] && strchr("tbm", word[1]); break;
        case 'X': y->full  |= !strcmp(word, "XCOLORRANGE=FULL"); break;
        }
    warn_of_y4m(y, mixed, r);
    if (!y->chroma)
        return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: expected 4:2:0, 4:2:2 or 4:4:4 of 8 bits, "
                       "got C%s", r->option, r->path, colour);
    return lv_image_check(r, y->width, y->height);
}

/* The planes of the next frame, which is gone past. */
static int take_frame(Yuv *f, const LvY4m *y, LvReader *r)
{
    const LvChroma *c = y->chroma;
    size_t luma       = (size_t)y->width * (size_t)y->height, chroma;
    char line[LINE_MAX_SIZE];

    if (!take_line(r, line) || strncmp(line, "FRAME", 5))
        return lv_reader_fail(r, "cut off: no frame");
    *f = (Yuv) { .file = y, .wide = c->wide ? ((int)y->width + c->wide - 1) / c->wide : 0,
                 .high = c->high ? ((int)y->height + c->high - 1) / c->high : 0 };
    chroma = (size_t)f->wide * (size_t)f->high;
    if (r->size < luma + 2 * chroma)
        return lv_reader_fail(r, "cut off: the frame is not whole");
    f->plane[0] = r->data;
    f->plane[1] = r->data + luma;
    f->plane[2] = r->data + luma + chroma;
    r->data    += luma + 2 * chroma;
    r->size    -= luma + 2 * chroma;
    return 0;
}

int lv_y4m_skip(const LvY4m *y, LvReader *r)
{
    Yuv f;

    return take_frame(&f, y, r);
}

/* Where luma sample i lies among n samples of chroma: the one before it, and how far behind. */
static double place(int i, int step, int left, int n, int *at)
{
    double p = left ? (double)i / step : (i + 0.5) / step - 0.5;

    p   = LV_MIN(LV_MAX(p, 0), n - 1);
    *at = LV_MIN((int)p, LV_MAX(n - 2, 0));
    return p - *at;
}

/* Chroma at a luma sample, between the four around it, less 128. */
static double chroma_at(const Yuv *y, int plane, int row, int col)
{
    const LvChroma *c = y->file->chroma;
    const uint8_t *p = y->plane[plane];
    int i, j, right, down;
    double u, v;

    if (!c->wide)
        return 0;
    u     = place(col, c->wide, c->left, y->wide, &j);
    v     = place(row, c->high, 0, y->high, &i);
    right = y->wide > 1;
    down  = y->high > 1 ? y->wide : 0;
    p    += (size_t)i * (size_t)y->wide + (size_t)j;
    return (1 - v) * ((1 - u) * p[0] + u * p[right]) +
           v * ((1 - u) * p[down] + u * p[down + right]) - 128;
}

static uint8_t clip(double v)
{
    return (uint8_t)LV_MIN(LV_MAX(v + 0.5, 0), 255);
}

/* By BT.601, which readers of such files assume. */
static void convert_row(uint8_t *rgb, const Yuv *y, int row)
{
    const LvY4m *file = y->file;
    double luma = file->full ? 1 : 255 / 219.0, chroma = file->full ? 1 : 255 / 224.0;

    for (int col = 0; col < file->width; col++, rgb += 3) {
        double v = luma * (y->plane[0][(size_t)row * (size_t)file->width + (size_t)col] -
                           (file->full ? 0 : 16));
        double b = chroma * chroma_at(y, 1, row, col), r = chroma * chroma_at(y, 2, row, col);

        rgb[0] = clip(v + 1.402 * r);
        rgb[1] = clip(v - (0.114 * 1.772 * b + 0.299 * 1.402 * r) / 0.587);
        rgb[2] = clip(v + 1.772 * b);
    }
}

int lv_y4m_read(LvImage *image, const LvY4m *y, LvReader *r)
{
    Yuv f;
    int ret = take_frame(&f, y, r);

    for (int i = 0; i < image->height && ret >= 0; i++)
        convert_row(image->rgb + 3 * (size_t)i * (size_t)image->width, &f, i);
    return ret;
}
