/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Images that are given: files that are read and refused, rows of the caller.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/image.h"
#include "config.h"
#include "tests/api_kit.h"

#if HAVE_LIBPNG
#include <png.h>
#endif

static int errors;
static char said[512];

static void catch_line(void *opaque, int level, const char *line)
{
    (void)opaque;
    errors += level == LV_MSG_ERROR;
    snprintf(said, sizeof(said), "%.500s", line);
}

static const LvMsg msg = { catch_line, NULL, LV_MSG_WARNING };

/* Read bytes as a file; 0 or the error, of which there is one line. */
static int read_bytes(LvImage *image, const void *data, size_t size)
{
    const char *path = kit_path("image");
    int ret;

    kit_write(path, data, size);
    errors  = 0;
    said[0] = 0;
    ret = lv_image_read(image, "image", path, NULL, &msg);
    ck_assert_int_eq(errors, ret < 0);
    ck_assert(ret >= 0 || !image->rgb);
    return ret;
}

#define BYTES(text) text, sizeof(text) - 1

/* Files that are read */

static const struct {
    const char *data;
    size_t size;
    int width, height;
    const char *rgb; ///< of all pixels
} good[] = {
    { BYTES("P6\n2 1\n255\nABCabc"), 2, 1, "ABCabc" },
    { BYTES("P6 # made\n# by hand\n1 2 255\nABCabc"), 1, 2, "ABCabc" },
    { BYTES("P6\n1 1\n65535\nAABBCC"), 1, 1, "ABC" },
    { BYTES("P6\n1 1\n85\n\x14\x15\x16"), 1, 1, "<?B" },
    { BYTES("YUV4MPEG2 W2 H1 F1:1 C444 XCOLORRANGE=FULL\nFRAME\nAB\x80\x80\x80\x80"), 2, 1,
      "AAABBB" },
    { BYTES("YUV4MPEG2 W1 H1 Cmono\nFRAME I\nB"), 1, 1, ":::" },
    { BYTES("YUV4MPEG2 H1 W1 C420paldv\nFRAME\n\x51\x5a\xf0"), 1, 1, "\xff\x01\x01" },
};

START_TEST(reads)
{
    LvImage image;
    size_t n = 3 * (size_t)good[_i].width * (size_t)good[_i].height;

    ck_assert_msg(!read_bytes(&image, good[_i].data, good[_i].size), "%s", said);
    ck_assert_int_eq(image.width, good[_i].width);
    ck_assert_int_eq(image.height, good[_i].height);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(abs(image.rgb[i] - (uint8_t)good[_i].rgb[i]) <= (_i == 6), "byte %zu is %d",
                      i, image.rgb[i]);
    free(image.rgb);
}
END_TEST

/* A ramp of chroma stays a ramp: samples lie where the header says. */
START_TEST(chroma_is_interpolated)
{
    static const struct {
        const char *name;
        double first; ///< luma samples from the first one to that of chroma
        int rows;     ///< of chroma
    } kinds[] = { { "420jpeg", 0.5, 1 }, { "420mpeg2", 0, 1 }, { "422", 0, 2 } };
    size_t chroma = 4 * (size_t)kinds[_i].rows, n;
    char file[256];
    LvImage image;

    n = (size_t)sprintf(file, "YUV4MPEG2 W8 H2 C%s XCOLORRANGE=FULL\nFRAME\n", kinds[_i].name);
    memset(file + n, 100, 16);
    n += 16;
    for (size_t i = 0; i < chroma; i++)
        file[n++] = (char)(128 + 8 * (i % 4));
    memset(file + n, 128, chroma);
    ck_assert_msg(!read_bytes(&image, file, n + chroma), "%s", said);
    for (int i = 0; i < 16; i++) {
        double blue = 100 + 1.772 * 4 * (i % 8 - kinds[_i].first);
        if (i % 8 > 0 && i % 8 < 7)
            ck_assert_msg(abs((int)(blue + 0.5) - image.rgb[3 * i + 2]) <= 1,
                          "pixel %d is %d, expected %g", i, image.rgb[3 * i + 2], blue);
    }
    free(image.rgb);
}
END_TEST

/* Files that are refused */

static const struct {
    const char *data;
    size_t size;
    const char *part;
} bad[] = {
    { BYTES(""), "an empty file" },
    { BYTES("P6"), "its header is not that of a PPM file" },
    { BYTES("P6\n2 2\n255\nABC"), "cut off" },
    { BYTES("P6\n2 2\n0\nABC"), "its header" },
    { BYTES("P6\n1 1\n70000\nABCABC"), "its header" },
    { BYTES("P6\n0 2\n255\n"), "expected 1 to 16384 pixels each way" },
    { BYTES("P6\n16385 1\n255\n"), "got 16385x1" },
    { BYTES("P6\n16384 16384\n255\n"), "at most 67108864, got 16384x16384" },
    { BYTES("P6\n99999999999999999999 1\n255\n"), "pixels each way" },
    { BYTES("YUV4MPEG2 W2 H2"), "its header" },
    { BYTES("YUV4MPEG2 W2 H2\n"), "no frame" },
    { BYTES("YUV4MPEG2 W2 H2\nFRAME\nABC"), "cut off" },
    { BYTES("YUV4MPEG2 H2\nFRAME\nABC"), "got 0x2" },
    { BYTES("YUV4MPEG2 W-2 H2\nFRAME\nABC"), "got -2x2" },
    { BYTES("YUV4MPEG2 W2 H2 C420p10\nFRAME\nABC"), "of 8 bits, got C420p10" },
    { BYTES("\xff\xd8\xff\xe0...."), "a JPEG file: expected PNG, PPM or y4m (ffmpeg -i" },
    { BYTES("RIFF....WEBP"), "a WebP or AVI file" },
    { BYTES("a text"), "not an image" },
#if HAVE_LIBPNG
    { BYTES("\x89PNG\r\n\x1a\n"), "image" },
    { BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x8\2\0\0\0\0\0\0\0"), "image" },
#else
    { BYTES("\x89PNG\r\n\x1a\n"), "without libpng" },
#endif
};

START_TEST(refuses)
{
    LvImage image;
    int ret = read_bytes(&image, bad[_i].data, bad[_i].size);

    ck_assert_msg(ret == -EINVAL || ret == LINVIDEO_ERR_UNSUPPORTED, "%d", ret);
    ck_assert_msg(strstr(said, bad[_i].part) && strstr(said, kit_path("image")), "%s", said);
}
END_TEST

START_TEST(files_that_are_none)
{
    LvImage image;

    ck_assert_int_eq(lv_image_read(&image, "image", kit_path("nosuch"), NULL, &msg), -ENOENT);
    ck_assert_int_eq(lv_image_read(&image, "image", kit_folder(), NULL, &msg), -EINVAL);
    ck_assert_int_eq(lv_image_read(&image, "image", "", NULL, &msg), 0);
    ck_assert_ptr_null(image.rgb);
}
END_TEST

/* Of a video of any size the first frame is read; files of other kinds have a limit. The rest
 * of the file has no blocks. */
START_TEST(large_files)
{
    static const struct {
        const char *data;
        size_t size;
        int code;
    } files[] = {
        { BYTES("YUV4MPEG2 W2 H2 Cmono\nFRAME\n\x10\x10\xeb\xeb"), 0 },
        { BYTES("P6\n1 1\n255\nABC"), -EFBIG },
    };
    const char *path = kit_path("image");
    LvImage image;

    kit_write(path, files[_i].data, files[_i].size);
    ck_assert_int_eq(truncate(path, (1 << 30) + 4096L), 0);
    ck_assert_int_eq(lv_image_read(&image, "image", path, NULL, &msg), files[_i].code);
    if (!files[_i].code)
        ck_assert_mem_eq(image.rgb, "\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff", 12);
    else
        ck_assert_msg(strstr(said, "too large, expected at most 1073741824 bytes"), "%s", said);
    free(image.rgb);
    unlink(path);
}
END_TEST

#if HAVE_LIBPNG
static void write_png(const char *path, unsigned format, const uint8_t *pixels)
{
    png_image png = { .version = PNG_IMAGE_VERSION, .width = 2, .height = 1, .format = format };

    ck_assert(png_image_write_to_file(&png, path, 0, pixels, 0, NULL));
}

/* Every kind of PNG comes as RGB; what is transparent becomes black, and is told of. */
START_TEST(png_files)
{
    static const struct {
        unsigned format;
        uint8_t pixels[8], rgb[6];
        int warns;
    } kinds[] = {
        { PNG_FORMAT_RGB, { 1, 2, 3, 4, 5, 6 }, { 1, 2, 3, 4, 5, 6 }, 0 },
        { PNG_FORMAT_GRAY, { 7, 200 }, { 7, 7, 7, 200, 200, 200 }, 0 },
        { PNG_FORMAT_RGBA, { 9, 8, 7, 255, 250, 250, 250, 0 }, { 9, 8, 7, 0, 0, 0 }, 1 },
    };
    const char *path = kit_path("kind.png");
    LvImage image;

    write_png(path, kinds[_i].format, kinds[_i].pixels);
    errors  = 0;
    said[0] = 0;
    ck_assert_int_eq(lv_image_read(&image, "image", path, NULL, &msg), 0);
    ck_assert_mem_eq(image.rgb, kinds[_i].rgb, 6);
    ck_assert_int_eq(strstr(said, "transparent") != NULL, kinds[_i].warns);
    ck_assert_int_eq(errors, 0);
    free(image.rgb);
}
END_TEST

/* Cut anywhere it is refused by one line. */
START_TEST(png_that_is_cut)
{
    static const uint8_t pixels[6] = { 1, 2, 3, 4, 5, 6 };
    const char *path = kit_path("whole.png");
    LvImage image;
    size_t n;
    char *data;

    write_png(path, PNG_FORMAT_RGB, pixels);
    data = kit_read(path, &n);
    for (size_t i = 8; i < n - 12; i++)
        ck_assert_int_eq(read_bytes(&image, data, i), -EINVAL);
    free(data);
}
END_TEST
#endif

/* Rows of the caller */

START_TEST(rows_of_the_caller)
{
    static const uint8_t rows[] = "ABCDEF..abcdef..";
    const LinvideoImage down = { rows, 8, 2, 2 }, up = { rows + 8, -8, 2, 2 };
    LvImage image;

    ck_assert_int_eq(lv_image_read(&image, "image", NULL, &down, &msg), 0);
    ck_assert_mem_eq(image.rgb, "ABCDEFabcdef", 12);
    free(image.rgb);
    ck_assert_int_eq(lv_image_read(&image, "image", NULL, &up, &msg), 0);
    ck_assert_mem_eq(image.rgb, "abcdefABCDEF", 12);
    free(image.rgb);
}
END_TEST

/* Images in a context: what is wrong with them is told before the model is looked for. */
START_TEST(images_of_a_context)
{
    static const uint8_t row[6];
    static const char *const both[]   = { "both image and image_data", NULL };
    static const char *const narrow[] = { "image: stride is 5, expected at least 6", NULL };
    static const char *const none[]   = { "last_image of the caller: expected", "2x0", NULL };
    static const char *const text[]   = { "image: ", "text to video: it takes no image", NULL };
    static const char *const alone[]  = { "last_image: expected an image beside it", NULL };
    LinvideoImage image = { row, 6, 2, 1 };
    LinvideoImage bad_rows = { row, 5, 2, 1 }, no_rows = { NULL, 6, 2, 0 };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.image_data = &image;
    kit_refused(&p, &w, -EINVAL, text);
    p.last_image_data = &no_rows;
    p.model = "nosuch";
    kit_refused(&p, &w, -EINVAL, none);
    p.last_image_data = NULL;
    p.image_data = &bad_rows;
    kit_refused(&p, &w, -EINVAL, narrow);
    p.image = "some.png";
    kit_refused(&p, &w, -EINVAL, both);
    p = kit_params(&w);
    p.last_image_data = &image;
    kit_refused(&p, &w, -EINVAL, alone);
}
END_TEST

void api_add_image(Suite *suite)
{
    TCase *t = tcase_create("image");

    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, reads, 0, LV_COUNT(good));
    tcase_add_loop_test(t, chroma_is_interpolated, 0, 3);
    tcase_add_loop_test(t, refuses, 0, LV_COUNT(bad));
    tcase_add_test(t, files_that_are_none);
    tcase_add_loop_test(t, large_files, 0, 2);
#if HAVE_LIBPNG
    tcase_add_loop_test(t, png_files, 0, 3);
    tcase_add_test(t, png_that_is_cut);
#endif
    tcase_add_test(t, rows_of_the_caller);
    tcase_add_test(t, images_of_a_context);
}
