/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/yuv_file.h"
#include "base/common.h"
#include "base/map.h"
#include "config.h"

#if HAVE_LIBPNG
#include <png.h>
#endif

/* Bytes of a file; of a frame of a video with its lines, at most. */
enum { FILE_MAX = 1 << 30, FRAME_MAX = (3 << 26) + 4096 };

/* Bytes of a header, text, that are space. */
static int is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* PPM */

static void skip_space(LvReader *r)
{
    int comment = 0;

    for (; r->size && (comment || is_space(*r->data) || *r->data == '#'); r->data++, r->size--)
        comment = (comment || *r->data == '#') && *r->data != '\n';
}

/* A number of a header; -1: there is none, or it is too large. */
static int64_t number(LvReader *r)
{
    int64_t v = -1;

    for (; r->size && *r->data >= '0' && *r->data <= '9' && v < 1 << 24; r->data++, r->size--)
        v = 10 * LV_MAX(v, 0) + (*r->data - '0');
    return v;
}

/* Values of one byte or two, up to `most`, as 0 to 255. */
static int take_values(LvImage *image, const LvReader *r, int most)
{
    size_t n = 3 * (size_t)image->width * (size_t)image->height, bytes = most > 255 ? 2 : 1;

    if (r->size < n * bytes)
        return lv_reader_fail(r, "cut off: fewer pixels than its header says");
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = r->data + i * bytes;
        int v = bytes > 1 ? p[0] << 8 | p[1] : p[0];

        image->rgb[i] = (uint8_t)((LV_MIN(v, most) * 255 + most / 2) / most);
    }
    return 0;
}

static int read_ppm(LvImage *image, LvReader *r)
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
        return lv_reader_fail(r, "broken: its header is not that of a PPM file");
    r->data++;
    r->size--;
    if ((ret = lv_image_new(image, r, head[0], head[1])) < 0)
        return ret;
    return take_values(image, r, (int)head[2]);
}

/* PNG */

#if HAVE_LIBPNG
/* What is transparent is black. */
static int take_png(LvImage *image, const LvReader *r, png_image *png)
{
    static const png_color black = { 0, 0, 0 };
    int ret = lv_image_new(image, r, png->width, png->height);

    if (ret < 0)
        return ret;
    if (png->format & PNG_FORMAT_FLAG_ALPHA)
        lv_msg(r->msg, LV_MSG_WARNING, "%s %s: what is transparent in it becomes black",
               r->option, r->path);
    png->format = PNG_FORMAT_RGB;
    return png_image_finish_read(png, &black, image->rgb, 0, NULL)
         ? 0 : lv_reader_fail(r, png->message);
}

static int read_png(LvImage *image, LvReader *r)
{
    png_image png = { .version = PNG_IMAGE_VERSION };
    int ret;

    if (!png_image_begin_read_from_memory(&png, r->data, r->size))
        return lv_reader_fail(r, png.message);
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    ret = take_png(image, r, &png);
    png_image_free(&png);
    return ret;
}
#else
static int read_png(LvImage *image, LvReader *r)
{
    (void)image;
    return lv_fail(r->msg, LV_ERR_UNSUPPORTED, "%s %s: a PNG file, and this library was built "
                   "without libpng: expected PPM or y4m", r->option, r->path);
}
#endif

static int read_y4m(LvImage *image, LvReader *r)
{
    LvY4m y;
    int ret;

    if ((ret = lv_y4m_open(&y, r)) < 0 ||
        (ret = lv_image_new(image, r, y.width, y.height)) < 0)
        return ret;
    return lv_y4m_read(image, &y, r);
}

/* What files are told by. */
static const struct {
    const char *begin;
    int (*read)(LvImage *image, LvReader *r); ///< NULL: it is not read
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

static int read_form(LvImage *image, LvReader *r)
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
    return lv_reader_fail(r, r->size ? "not an image: expected PNG, PPM (P6) or y4m"
                                     : "an empty file");
}

/* Read as much of a file as an image can need: of a video of any size its first frame, all of
 * others, which have a limit. */
static int load(const LvMap *map, LvReader *r)
{
    static const char y4m[] = "YUV4MPEG2 ";
    size_t begin = LV_MIN(map->size, sizeof(y4m) - 1);
    int ret = lv_map_load(map, map->data, begin, r->msg);

    if (ret < 0)
        return ret;
    if (begin == sizeof(y4m) - 1 && !memcmp(map->data, y4m, begin))
        r->size = LV_MIN(map->size, FRAME_MAX);
    else if (map->size > FILE_MAX)
        return lv_fail(r->msg, LV_ERR(EFBIG), "%s %s: too large, expected at most %d bytes, got "
                       "%zu", r->option, r->path, FILE_MAX, map->size);
    return lv_map_load(map, map->data, r->size, r->msg);
}

static int read_file(LvImage *image, const char *option, const char *path, const LvMsg *msg)
{
    LvMap map;
    int ret = lv_map_open_late(&map, path, msg);
    LvReader r = { option, path, map.data, map.size, msg };

    if (ret < 0)
        return ret;
    if (!map.size || (ret = load(&map, &r)) >= 0)
        ret = read_form(image, &r);
    lv_map_close(&map);
    return ret;
}

int lv_image_copy(LvImage *image, const char *option, const LinvideoImage *from,
                  const LvMsg *msg)
{
    const LvReader r  = { option, "of the caller", NULL, 0, msg };
    ptrdiff_t bytes = 3 * (ptrdiff_t)from->width;
    int ret;

    if (from->stride < bytes && from->stride > -bytes)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: stride is %td, expected at least %td", option,
                       from->stride, bytes);
    if ((ret = lv_image_new(image, &r, from->width, from->height)) < 0)
        return ret;
    for (int i = 0; i < image->height; i++)
        memcpy(image->rgb + (size_t)i * (size_t)bytes, from->data + i * from->stride,
               (size_t)bytes);
    return 0;
}

/* Pixels are to come. */
static int take_size(LvImage *image, const char *option, const LinvideoImage *data,
                     const LvMsg *msg)
{
    const LvReader r = { option, "of the caller", NULL, 0, msg };
    int ret = lv_image_check(&r, data->width, data->height);

    *image = (LvImage) { NULL, data->width, data->height };
    return ret;
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
    ret = named      ? read_file(image, option, path, msg)
        : data->data ? lv_image_copy(image, option, data, msg)
                     : take_size(image, option, data, msg);
    if (ret < 0) {
        free(image->rgb);
        *image = (LvImage) { NULL, 0, 0 };
    }
    return ret;
}
