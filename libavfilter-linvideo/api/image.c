/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/map.h"
#include "config.h"

#if HAVE_LIBPNG
#include <png.h>
#endif

enum { SIDE_MAX = 16384, AREA_MAX = 1 << 26, LINE_MAX_SIZE = 1024,
       FILE_MAX = 1 << 30 };

/* A file that is read. */
typedef struct Reader {
    const char *option, *path;
    const uint8_t *data; ///< what is left of it
    size_t size;
    const LvMsg *msg;
} Reader;

static int fail(const Reader *r, const char *what)
{
    return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: %s", r->option, r->path, what);
}

/* The pixels of an image of this size. */
static int new_image(LvImage *image, const Reader *r, int64_t width, int64_t height)
{
    if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX ||
        width * height > AREA_MAX)
        return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: expected 1 to %d pixels each way and at "
                       "most %d, got %lldx%lld", r->option, r->path, SIDE_MAX, AREA_MAX,
                       (long long)width, (long long)height);
    *image = (LvImage) { malloc(3 * (size_t)width * (size_t)height), (int)width, (int)height };
    return image->rgb ? 0 : lv_fail(r->msg, LV_ERR(ENOMEM), "%s: out of memory", r->option);
}

/* Bytes of a header, text, that are space. */
static int is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* PPM */

static void skip_space(Reader *r)
{
    int comment = 0;

    for (; r->size && (comment || is_space(*r->data) || *r->data == '#'); r->data++, r->size--)
        comment = (comment || *r->data == '#') && *r->data != '\n';
}

/* A number of a header; -1: there is none, or it is too large. */
static int64_t number(Reader *r)
{
    int64_t v = -1;

    for (; r->size && *r->data >= '0' && *r->data <= '9' && v < 1 << 24; r->data++, r->size--)
        v = 10 * LV_MAX(v, 0) + (*r->data - '0');
    return v;
}

/* Values of one byte or two, up to `most`, as 0 to 255. */
static int take_values(LvImage *image, const Reader *r, int most)
{
    size_t n = 3 * (size_t)image->width * (size_t)image->height, bytes = most > 255 ? 2 : 1;

    if (r->size < n * bytes)
        return fail(r, "cut off: fewer pixels than its header says");
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = r->data + i * bytes;
        int v = bytes > 1 ? p[0] << 8 | p[1] : p[0];

        image->rgb[i] = (uint8_t)((LV_MIN(v, most) * 255 + most / 2) / most);
    }
    return 0;
}

static int read_ppm(LvImage *image, Reader *r)
{
    int64_t head[3]; /* width, height, largest value */
    int ret;

    r->data += 2;
    r->size -= 2;
    for (int i = 0; i < 3; i++) {
        skip_space(r);
        head[i] = number(r);
    }
    if (head[2] < 1 || head[2] > 65535 || !r->size || !is_space(*r->data))
        return fail(r, "broken: its header is not that of a PPM file");
    r->data++;
    r->size--;
    if ((ret = new_image(image, r, head[0], head[1])) < 0)
        return ret;
    return take_values(image, r, (int)head[2]);
}

/* YUV4MPEG2 */

/* A colour space of 8 bits. */
typedef struct Chroma {
    const char *name;
    int wide, high; ///< luma samples to one of chroma
    int left;       ///< 1: it lies on the first of these; else between them
} Chroma;

static const Chroma chromas[] = {
    { "420jpeg", 2, 2, 0 }, { "420mpeg2", 2, 2, 1 }, { "420paldv", 2, 2, 1 },
    { "420", 2, 2, 0 }, { "422", 2, 1, 1 }, { "444", 1, 1, 0 }, { "mono", 0, 0, 0 },
};

static const Chroma *find_chroma(const char *name)
{
    for (int i = 0; i < LV_COUNT(chromas); i++)
        if (!strcmp(chromas[i].name, name))
            return &chromas[i];
    return NULL;
}

/* A frame. */
typedef struct Yuv {
    int64_t width, height;
    const Chroma *chroma;
    int full; ///< 1: values are 0 to 255; else luma is 16 to 235
    const uint8_t *plane[3];
    int wide, high; ///< of chroma planes
} Yuv;

/* The line that begins here, without its end; 0: there is none so short. */
static int take_line(Reader *r, char line[LINE_MAX_SIZE])
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

static int read_y4m_header(Yuv *y, Reader *r)
{
    char line[LINE_MAX_SIZE], *at, *word;
    int mixed = 0;

    *y = (Yuv) { .chroma = &chromas[0] };
    if (!take_line(r, line))
        return fail(r, "broken: its header is not that of a YUV4MPEG2 file");
    for (word = strtok_r(line, " ", &at); word; word = strtok_r(NULL, " ", &at))
        switch (*word) {
        case 'W': y->width  = strtol(word + 1, NULL, 10); break;
        case 'H': y->height = strtol(word + 1, NULL, 10); break;
        case 'C': y->chroma = find_chroma(word + 1); break;
        case 'I': mixed = word[1] && strchr("tbm", word[1]); break;
        case 'X': y->full  |= !strcmp(word, "XCOLORRANGE=FULL"); break;
        }
    if (mixed)
        lv_msg(r->msg, LV_MSG_WARNING, "%s %s: interlaced: both fields are taken as one frame",
               r->option, r->path);
    if (!y->chroma)
        return fail(r, "expected 4:2:0, 4:2:2 or 4:4:4 of 8 bits");
    return take_line(r, line) && !strncmp(line, "FRAME", 5) ? 0 : fail(r, "cut off: no frame");
}

static int find_planes(Yuv *y, const Reader *r)
{
    const Chroma *c = y->chroma;
    size_t luma     = (size_t)y->width * (size_t)y->height, chroma;

    y->wide  = c->wide ? ((int)y->width + c->wide - 1) / c->wide : 0;
    y->high  = c->high ? ((int)y->height + c->high - 1) / c->high : 0;
    chroma   = (size_t)y->wide * (size_t)y->high;
    y->plane[0] = r->data;
    y->plane[1] = r->data + luma;
    y->plane[2] = r->data + luma + chroma;
    return r->size >= luma + 2 * chroma ? 0 : fail(r, "cut off: the frame is not whole");
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
    const Chroma *c = y->chroma;
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
    double luma = y->full ? 1 : 255 / 219.0, chroma = y->full ? 1 : 255 / 224.0;

    for (int col = 0; col < y->width; col++, rgb += 3) {
        double v = luma * (y->plane[0][(size_t)row * (size_t)y->width + (size_t)col] -
                           (y->full ? 0 : 16));
        double b = chroma * chroma_at(y, 1, row, col), r = chroma * chroma_at(y, 2, row, col);

        rgb[0] = clip(v + 1.402 * r);
        rgb[1] = clip(v - (0.114 * 1.772 * b + 0.299 * 1.402 * r) / 0.587);
        rgb[2] = clip(v + 1.772 * b);
    }
}

static int read_y4m(LvImage *image, Reader *r)
{
    Yuv y;
    int ret;

    if ((ret = read_y4m_header(&y, r)) < 0 ||
        (ret = new_image(image, r, y.width, y.height)) < 0 || (ret = find_planes(&y, r)) < 0)
        return ret;
    for (int i = 0; i < image->height; i++)
        convert_row(image->rgb + 3 * (size_t)i * (size_t)image->width, &y, i);
    return 0;
}

/* PNG */

#if HAVE_LIBPNG
/* What is transparent is black. */
static int take_png(LvImage *image, const Reader *r, png_image *png)
{
    static const png_color black = { 0, 0, 0 };
    int ret = new_image(image, r, png->width, png->height);

    if (ret < 0)
        return ret;
    if (png->format & PNG_FORMAT_FLAG_ALPHA)
        lv_msg(r->msg, LV_MSG_WARNING, "%s %s: what is transparent in it becomes black",
               r->option, r->path);
    png->format = PNG_FORMAT_RGB;
    return png_image_finish_read(png, &black, image->rgb, 0, NULL) ? 0 : fail(r, png->message);
}

static int read_png(LvImage *image, Reader *r)
{
    png_image png = { .version = PNG_IMAGE_VERSION };
    int ret;

    if (!png_image_begin_read_from_memory(&png, r->data, r->size))
        return fail(r, png.message);
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    ret = take_png(image, r, &png);
    png_image_free(&png);
    return ret;
}
#else
static int read_png(LvImage *image, Reader *r)
{
    (void)image;
    return lv_fail(r->msg, LV_ERR_UNSUPPORTED, "%s %s: a PNG file, and this library was built "
                   "without libpng: expected PPM or y4m", r->option, r->path);
}
#endif

/* What files are told by. */
static const struct {
    const char *begin;
    int (*read)(LvImage *image, Reader *r); ///< NULL: it is not read
    const char *what;
} forms[] = {
    { "\x89PNG\r\n\x1a\n", read_png, "PNG" },
    { "P6", read_ppm, "PPM" },
    { "YUV4MPEG2 ", read_y4m, "y4m" },
    { "\xff\xd8\xff", NULL, "a JPEG file" },
    { "GIF8", NULL, "a GIF file" },
    { "RIFF", NULL, "a WebP or AVI file" },
    { "BM", NULL, "a BMP file" },
};

static int read_form(LvImage *image, Reader *r)
{
    for (int i = 0; i < LV_COUNT(forms); i++) {
        size_t n = strlen(forms[i].begin);

        if (r->size < n || memcmp(r->data, forms[i].begin, n))
            continue;
        if (forms[i].read)
            return forms[i].read(image, r);
        return lv_fail(r->msg, LV_ERR(EINVAL), "%s %s: %s: expected PNG, PPM or y4m (ffmpeg -i "
                       "FILE image.png makes one)", r->option, r->path, forms[i].what);
    }
    return fail(r, r->size ? "not an image: expected PNG, PPM (P6) or y4m" : "an empty file");
}

static int read_file(LvImage *image, const char *option, const char *path, const LvMsg *msg)
{
    LvMap map;
    int ret = lv_map_open_upto(&map, path, FILE_MAX, msg);
    Reader r = { option, path, map.data, map.size, msg };

    if (ret < 0)
        return ret;
    ret = read_form(image, &r);
    lv_map_close(&map);
    return ret;
}

static int copy_rows(LvImage *image, const char *option, const LinvideoImage *from,
                     const LvMsg *msg)
{
    const Reader r  = { option, "of the caller", NULL, 0, msg };
    ptrdiff_t bytes = 3 * (ptrdiff_t)from->width;
    int ret;

    if (!from->data)
        return fail(&r, "data is NULL");
    if (from->stride < bytes && from->stride > -bytes)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: stride is %td, expected at least %td", option,
                       from->stride, bytes);
    if ((ret = new_image(image, &r, from->width, from->height)) < 0)
        return ret;
    for (int i = 0; i < image->height; i++)
        memcpy(image->rgb + (size_t)i * (size_t)bytes, from->data + i * from->stride,
               (size_t)bytes);
    return 0;
}

int lv_image_read(LvImage *image, const char *option, const char *path,
                  const LinvideoImage *data, const LvMsg *msg)
{
    int named = path && *path, ret;

    *image = (LvImage) { NULL, 0, 0 };
    if (!named && !data)
        return 0;
    if (named && data)
        return lv_fail(msg, LV_ERR(EINVAL), "both %s and %s_data are given; give one of them",
                       option, option);
    ret = named ? read_file(image, option, path, msg) : copy_rows(image, option, data, msg);
    if (ret < 0) {
        free(image->rgb);
        *image = (LvImage) { NULL, 0, 0 };
    }
    return ret;
}
