/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Video to video: files that are read and refused, frames that are sent, clip after clip.
 */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/video.h"
#include "tests/api_kit.h"

enum { CLIP = 17, LENGTH = CLIP + 3, SIDE = 64, BYTES = 3 * SIDE * SIDE };

static const char head[] = "YUV4MPEG2 W64 H64 F30000:1001 Ip A1:1 C444\n";

/* A video of the model as a file, of LENGTH frames: the first ones follow the last again. */
static const char *write_video(void)
{
    const char *path = kit_path("in.y4m");
    FILE *f = fopen(path, "wb");
    LinvideoParams p;
    Watch w;
    Video v;

    ck_assert_ptr_nonnull(f);
    p        = kit_params(&w);
    p.format = LINVIDEO_YUV444P;
    p.matrix = LINVIDEO_MATRIX_BT601;
    p.steps  = 8;
    v        = kit_make(&p);
    ck_assert_int_eq(v.nb, CLIP);
    fputs(head, f);
    for (int i = 0; i < LENGTH; i++) {
        fputs("FRAME\n", f);
        fwrite(v.data + (size_t)(i % CLIP) * v.bytes, v.bytes, 1, f);
    }
    ck_assert_int_eq(fclose(f), 0);
    kit_free(&v);
    return path;
}

static LinvideoParams params(Watch *w, const char *path)
{
    LinvideoParams p = kit_params(w);

    p.video  = path;
    p.format = LINVIDEO_RGB24;
    p.steps  = 10;
    return p;
}

/* Signal to noise of n bytes, in dB. */
static double psnr(const uint8_t *a, const uint8_t *b, size_t n)
{
    double sum = 1e-9;

    for (size_t i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return 10 * log10(255.0 * 255 * (double)n / sum);
}

/* The least over all frames of a video and its file, which covers them. */
static double nearness(const Video *v, const char *path)
{
    LvImage cover = { malloc(v->bytes), v->info.width, v->info.height };
    LvMsg quiet   = { .put = NULL };
    const LvImage *image;
    LvVideoFile *file;
    double least = INFINITY;

    ck_assert_int_eq(lv_video_file_open(&file, "video", path, &quiet), 0);
    for (int64_t i = 0; i < v->nb; i++) {
        ck_assert_int_eq(lv_video_file_next(file, &image), 0);
        ck_assert_int_eq(lv_prepare_cover(&cover, image, &quiet), 0);
        least = fmin(least, psnr(kit_plane(v, i, 0), cover.rgb, v->bytes));
    }
    free(cover.rgb);
    lv_video_file_close(&file);
    return least;
}

/* With little noise all frames come back from the autoencoder; with more they change. */
START_TEST(strengths)
{
    const char *path = write_video();
    double near[3];

    for (int i = 0; i < 3; i++) {
        Watch w;
        LinvideoParams p = params(&w, path);
        Video v;

        p.prompt   = "a small green square on a white background";
        p.seed     = 5;
        p.strength = (const float[]) { 0.01f, 0.5f, 1 }[i];
        v          = kit_make(&p);
        ck_assert_int_eq(v.nb, LENGTH);
        ck_assert_int_eq(v.info.frames, LENGTH);
        ck_assert_int_eq(v.info.width * 100 + v.info.height, SIDE * 100 + SIDE);
        ck_assert_int_eq(v.info.rate_num, 30000);
        ck_assert_int_eq(v.info.rate_den, 1001);
        near[i] = nearness(&v, path);
        kit_free(&v);
    }
    ck_assert_msg(near[0] > 27 && near[1] < near[0] - 4 && near[2] < near[1], "%g %g %g", near[0],
                  near[1], near[2]);
}
END_TEST

/* Frames lie where those of the video do, also where they are cut. */
START_TEST(geometry)
{
    static const int sizes[][2] = { { 50, 38 }, { 72, 56 }, { 33, 61 }, { 130, 70 } };
    const char *path = write_video();
    Watch w;
    LinvideoParams p = params(&w, path);
    double near;
    Video v;

    p.width    = sizes[_i][0];
    p.height   = sizes[_i][1];
    p.strength = 0.01f;
    p.frames   = CLIP;
    v          = kit_make(&p);
    near       = nearness(&v, path);
    ck_assert_msg(near > 29, "%g dB", near);
    kit_free(&v);
}
END_TEST

/* Read `nb` frames of c, which must be there, behind those that v has. */
static void read_frames(Video *v, LinvideoContext *c, int nb)
{
    for (int i = 0; i < nb; i++)
        ck_assert_int_eq(kit_next(v, c), 0);
}

static LinvideoContext *open_sent(LinvideoParams *p, const LinvideoImage *size)
{
    p->video       = NULL;
    p->mode        = LINVIDEO_MODE_VIDEO;
    p->video_frame = size;
    return kit_open(p);
}

static Video room_for(const LinvideoContext *c, int nb)
{
    Video v = { .format = LINVIDEO_RGB24, .room = nb };

    linvideo_info(c, &v.info);
    v.bytes = 3 * (size_t)v.info.width * (size_t)v.info.height;
    v.data  = malloc((size_t)nb * v.bytes);
    v.shot  = calloc((size_t)nb, sizeof(*v.shot));
    ck_assert(v.data && v.shot);
    return v;
}

/* Masks */

static uint8_t white(int mask, int x)
{
    return mask == 0 || (mask == 2 && x < SIDE / 2) ? 255 : 0;
}

/* A mask as an image: 0: white, 1: black, 2: its left half is white. */
static const char *write_mask(int mask)
{
    static const char ppm[] = "P6\n64 64\n255\n";
    const char *path = kit_path("mask.ppm");
    char file[sizeof(ppm) + BYTES];
    char *to = file + sizeof(ppm) - 1;

    memcpy(file, ppm, sizeof(ppm) - 1);
    for (int i = 0; i < BYTES; i++)
        to[i] = (char)white(mask, i / 3 % SIDE);
    kit_write(path, file, sizeof(ppm) - 1 + BYTES);
    return path;
}

/* Signal to noise of columns of all frames of two videos. */
static double likeness(const Video *a, const Video *b, int from, int to)
{
    double least = INFINITY;

    for (int64_t i = 0; i < a->nb; i++)
        for (int y = 0; y < SIDE; y++) {
            size_t at = 3 * (size_t)(y * SIDE + from);

            least = fmin(least, psnr(kit_plane(a, i, 0) + at, kit_plane(b, i, 0) + at,
                                     3 * (size_t)(to - from)));
        }
    return least;
}

/* What is white is as if nothing had changed, what is black as if there were no mask. */
START_TEST(masks)
{
    const char *path = write_video();
    Video v[5];
    double kept, changed, other;

    for (int i = 0; i < 5; i++) {
        Watch w;
        LinvideoParams p = params(&w, path);

        p.prompt   = "a small green square on a white background";
        p.mask     = i < 3 ? write_mask(i) : NULL;
        p.strength = i == 4 ? 0.01f : 1;
        p.sampler  = (enum LinvideoSampler)(LINVIDEO_SAMPLER_EULER + _i);
        p.steps    = 5;
        v[i]       = kit_make(&p);
        ck_assert_int_eq(v[i].nb, LENGTH);
    }
    kept    = likeness(&v[2], &v[4], 0, 16);
    changed = likeness(&v[2], &v[4], 48, 64);
    other   = likeness(&v[3], &v[4], 0, 16);
    ck_assert(kit_equal(&v[1], &v[3]));
    ck_assert_msg(likeness(&v[0], &v[4], 0, 64) > 30, "%g dB", likeness(&v[0], &v[4], 0, 64));
    ck_assert_msg(kept > 22 && kept > changed + 6 && kept > other + 6, "%g, %g, %g dB", kept,
                  changed, other);
    for (int i = 0; i < 5; i++)
        kit_free(&v[i]);
}
END_TEST

/* A mask for each frame, of a file: kept from frame 9 on, which begins a latent. */
static const char *write_masks(int frames)
{
    const char *path = kit_path("masks.y4m");
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    fputs("YUV4MPEG2 W32 H32 Cmono XCOLORRANGE=FULL\n", f);
    for (int i = 0; i < frames; i++) {
        fputs("FRAME\n", f);
        for (int k = 0; k < 32 * 32; k++)
            fputc(i >= 9 ? 255 : 0, f);
    }
    ck_assert_int_eq(fclose(f), 0);
    return path;
}

/* Signal to noise of a frame of two videos. */
static double alike(const Video *a, const Video *b, int64_t frame)
{
    return psnr(kit_plane(a, frame, 0), kit_plane(b, frame, 0), a->bytes);
}

START_TEST(masks_of_frames)
{
    const char *path = write_video();
    LinvideoContext *c;
    Video v[3], again;
    Watch w;

    for (int i = 0; i < 3; i++) {
        LinvideoParams p = params(&w, path);

        p.prompt   = "a small green square on a white background";
        p.mask     = i == 0 ? write_masks(LENGTH) : NULL;
        p.frames   = CLIP;
        p.strength = i == 2 ? 0.01f : 1;
        v[i]       = kit_make(&p);
        if (i)
            continue;
        c     = kit_open(&p);
        again = room_for(c, CLIP);
        ck_assert_int_eq(kit_next(&again, c), 0);
        ck_assert_int_eq(linvideo_restart(c, &p), 0);
        again.nb = 0;
        read_frames(&again, c, CLIP);
        ck_assert(kit_equal(&again, &v[0]));
        kit_free(&again);
        linvideo_close(&c);
    }
    ck_assert_msg(alike(&v[0], &v[2], 14) > alike(&v[1], &v[2], 14) + 8, "kept");
    ck_assert_msg(alike(&v[0], &v[2], 2) < alike(&v[0], &v[2], 14) - 6, "changed");
    for (int i = 0; i < 3; i++)
        kit_free(&v[i]);
}
END_TEST

/* Masks that are sent are those of a file. */
START_TEST(sent_masks)
{
    static const LinvideoImage size = { NULL, 0, SIDE, SIDE };
    const char *path = write_video();
    static uint8_t rgb[BYTES];
    const LinvideoImage mask = { rgb, 3 * SIDE, SIDE, SIDE }, wide = { rgb, 3 * SIDE, 64, 20 };
    const LvImage *image;
    LvVideoFile *file;
    LvMsg quiet = { .put = NULL };
    LinvideoContext *c;
    LinvideoParams p;
    Watch w;
    Video want, v;

    for (int i = 0; i < BYTES; i++)
        rgb[i] = white(2, i / 3 % SIDE);
    p        = params(&w, path);
    p.frames = CLIP;
    p.mask   = write_mask(2);
    want     = kit_make(&p);
    p.mask   = NULL;
    c        = open_sent(&p, &size);
    v        = room_for(c, CLIP);
    ck_assert_int_eq(lv_video_file_open(&file, "video", path, &quiet), 0);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_MASK, &wide), -EINVAL);
    kit_one_error(&w, "mask: expected the shape of the video, 64x64, got 64x20");
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_MASK, &size), -EINVAL);
    kit_one_error(&w, "mask: its data is NULL");
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_MASK, &mask), 0);
    for (int i = 0; i < CLIP; i++) {
        ck_assert_int_eq(lv_video_file_next(file, &image), 0);
        ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO,
                                       &(LinvideoImage) { image->rgb, 3 * SIDE, SIDE, SIDE }), 0);
    }
    read_frames(&v, c, CLIP);
    ck_assert(kit_equal(&v, &want));
    lv_video_file_close(&file);
    linvideo_close(&c);
    kit_free(&v);
    kit_free(&want);
}
END_TEST

START_TEST(masks_that_are_refused)
{
    static const char *const parts[][2] = {
        { "mask: expected mode video", NULL },
        { "masks.y4m: expected 1 frame, or as many as the video, 20, got 10", NULL },
        { "mask: expected the shape of the video, 64x64, got 2x1", NULL },
        { "not an image", NULL },
    };
    const char *path = write_video();
    Watch w;
    LinvideoParams p = params(&w, path);

    p.mask = kit_path("mask.ppm");
    kit_write(p.mask, _i == 2 ? "P6\n2 1\n255\nABCabc" : "text", _i == 2 ? 17 : 4);
    if (_i == 0)
        p.video = NULL;
    if (_i == 1)
        p.mask = write_masks(10);
    kit_refused(&p, &w, -EINVAL, parts[_i]);
}
END_TEST

/* Frames that are sent make what those of a file make; they are asked for in whole clips. */
START_TEST(sent_frames)
{
    static const LinvideoImage size = { NULL, 0, SIDE, SIDE };
    const char *path = write_video();
    const LvImage *image;
    LvVideoFile *file;
    LinvideoContext *c;
    LvMsg quiet = { .put = NULL };
    LinvideoParams p;
    LinvideoInfo info;
    Watch w;
    Video want, v;

    p    = params(&w, path);
    want = kit_make(&p);
    c    = open_sent(&p, &size);
    v    = room_for(c, LENGTH);
    linvideo_info(c, &info);
    ck_assert_int_eq(info.frames, -1);
    ck_assert_int_eq(lv_video_file_open(&file, "video", path, &quiet), 0);
    for (int i = 0; i < LENGTH; i++) {
        LinvideoImage frame;
        ck_assert_int_eq(kit_next(&v, c), -EAGAIN);
        ck_assert_int_eq(lv_video_file_next(file, &image), 0);
        frame = (LinvideoImage) { image->rgb, 3 * SIDE, SIDE, SIDE };
        ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, &frame), 0);
        if (i != CLIP - 1)
            continue;
        ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, &frame), -EAGAIN);
        read_frames(&v, c, CLIP);
    }
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, NULL), 0);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, NULL), LINVIDEO_EOF);
    read_frames(&v, c, LENGTH - CLIP);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    ck_assert(kit_equal(&v, &want));
    lv_video_file_close(&file);
    linvideo_close(&c);
    kit_free(&v);
    kit_free(&want);
}
END_TEST

/* Fewer frames than are sent; frames of another size; none. */
START_TEST(ends)
{
    static uint8_t rgb[BYTES];
    static const LinvideoImage size = { NULL, 0, 96, 32 };
    const LinvideoImage frame = { rgb, 3 * SIDE, SIDE, SIDE }, part = { rgb, 3 * SIDE, 32, 20 };
    LinvideoContext *c;
    LinvideoParams p;
    Watch w;
    Video v;

    p        = params(&w, NULL);
    p.frames = 2;
    c        = open_sent(&p, &size);
    v        = room_for(c, 2);
    ck_assert_int_eq(v.info.width * 100 + v.info.height, 9632);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, &frame), 0);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, &part), 0);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, &frame), LINVIDEO_EOF);
    read_frames(&v, c, 2);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    ck_assert_str_eq(w.error, "");
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_IMAGE, &frame), -EINVAL);
    kit_one_error(&w, "image: none is to be sent");
    linvideo_close(&c);
    kit_free(&v);
    p = params(&w, NULL);
    c = open_sent(&p, &size);
    ck_assert_int_eq(linvideo_send(c, LINVIDEO_INPUT_VIDEO, NULL), -EINVAL);
    kit_one_error(&w, "video: it ended before its first frame");
    linvideo_close(&c);
}
END_TEST

/* The file is read again; fewer frames are made of it. */
START_TEST(begins_again)
{
    const char *path = write_video();
    LinvideoContext *c;
    LinvideoParams p;
    Watch w;
    Video want, v;

    p        = params(&w, path);
    p.frames = 4;
    want     = kit_make(&p);
    c        = kit_open(&p);
    v        = room_for(c, 4);
    ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    v.nb = 0;
    read_frames(&v, c, 4);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    ck_assert(kit_equal(&v, &want));
    linvideo_close(&c);
    kit_free(&v);
    kit_free(&want);
}
END_TEST

/* What a header says of rate and pixels. */

static const struct {
    const char *words;
    int num, den;     ///< 8/1 is the model's
    const char *said; ///< of the one warning; NULL: there is none
} heads[] = {
    { "F24000:1001", 24000, 1001, NULL },
    { "F30000000:1001000", 30000, 1001, NULL },
    { "F50:2 A1:1", 25, 1, NULL },
    { "F25:1 A0:0", 25, 1, NULL },
    { "F25:1 A7:7", 25, 1, NULL },
    { "F25:1 A4:3", 25, 1, "in.y4m: pixels of 4:3 are taken as square ones" },
    { "F25:1 A128:117", 25, 1, "pixels of 128:117" },
    { "F2097153:2", 8, 1, "says a rate that is not 1/1048576 to 1048576: that of the model" },
    { "F-25:1", 8, 1, "says a rate that is not" },
    { "F0:0", 8, 1, "says no rate: that of the model" },
    { "XNONE", 8, 1, "says no rate" },
};

START_TEST(headers)
{
    const char *path = kit_path("in.y4m");
    FILE *f = fopen(path, "wb");
    Watch w;
    LinvideoParams p = params(&w, path);
    LinvideoContext *c;
    LinvideoInfo info;

    ck_assert_ptr_nonnull(f);
    fprintf(f, "YUV4MPEG2 W64 H64 %s Cmono\nFRAME\n%4096s", heads[_i].words, "");
    ck_assert_int_eq(fclose(f), 0);
    p.log_level = LINVIDEO_LOG_WARNING;
    c = kit_open(&p);
    linvideo_info(c, &info);
    ck_assert_msg(info.rate_num == heads[_i].num && info.rate_den == heads[_i].den, "%s: %d/%d",
                  heads[_i].words, info.rate_num, info.rate_den);
    ck_assert_msg(w.lines[LINVIDEO_LOG_WARNING] == (heads[_i].said != NULL) &&
                  (!heads[_i].said || strstr(w.all, heads[_i].said)), "%s", w.all);
    linvideo_close(&c);
}
END_TEST

/* Frames that are sent, of no rate that is known. */
START_TEST(duration_without_rate)
{
    static const LinvideoImage frame = { NULL, 0, 64, 64 };
    Watch w;
    LinvideoParams p = params(&w, NULL);
    LinvideoContext *c;

    p.mode        = LINVIDEO_MODE_VIDEO;
    p.video_frame = &frame;
    p.log_level   = LINVIDEO_LOG_WARNING;
    p.duration    = _i ? 2000000 : -1;
    p.rate_num    = _i == 2 ? 25 : 0;
    c = kit_open(&p);
    ck_assert_msg((_i == 1) == (strstr(w.all, "duration: the video has no rate: it is counted in "
                                       "frames of the model's, 8/1 a second\n") != NULL), "%s",
                  w.all);
    linvideo_close(&c);
}
END_TEST

/* What is wrong with a video is told by one line. */

static const struct {
    const char *data, *part;
} bad[] = {
    { "", "an empty file" },
    { "P6\n2 1\n255\nABCDEF", "expected a YUV4MPEG2 file" },
    { "YUV4MPEG2 W2 H2\n", "has no frames" },
    { "YUV4MPEG2 W2 H2\nFRAME\nABC", "cut off: the frame is not whole" },
    { "YUV4MPEG2 W2 H2\nFRAME\nABCDEFFRA", "cut off" },
    { "YUV4MPEG2 W2 H2 C420p10\nFRAME\nABCDEF", "of 8 bits, got C420p10" },
    { "YUV4MPEG2 W2 H20000\nFRAME\nABCDEF", "got 2x20000" },
};

START_TEST(refuses)
{
    const char *path = kit_path("bad.y4m");
    const char *const parts[] = { "video ", path, bad[_i].part, NULL };
    Watch w;
    LinvideoParams p = params(&w, path);

    kit_write(path, bad[_i].data, strlen(bad[_i].data));
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

START_TEST(refuses_options)
{
    static const uint8_t row[6];
    static const LinvideoImage image = { row, 6, 2, 1 }, large = { NULL, 0, 1, 99999 };
    static const char *const none[]  = { "mode video: expected a video, got none", NULL };
    static const char *const beside[] = { "mode video: expected no image beside", NULL };
    static const char *const rate[]  = { "have its own rate; leave rate out", NULL };
    static const char *const side[]  = { "video that is sent", "got 1x99999", NULL };
    static const char *const file[]  = { "nosuch.y4m", NULL };
    const char *path = kit_path("one.y4m");
    Watch w;
    LinvideoParams p = params(&w, path);

    kit_write(path, "YUV4MPEG2 W2 H2\nFRAME\nABCDEF", 28);
    p.image_data = &image;
    kit_refused(&p, &w, -EINVAL, beside);
    p = params(&w, path);
    p.rate_num = 24;
    kit_refused(&p, &w, -EINVAL, rate);
    p = params(&w, "nosuch.y4m");
    kit_refused(&p, &w, -ENOENT, file);
    p = params(&w, NULL);
    p.mode = LINVIDEO_MODE_VIDEO;
    kit_refused(&p, &w, -EINVAL, none);
    p.video_frame = &large;
    kit_refused(&p, &w, -EINVAL, side);
}
END_TEST

void api_add_video(Suite *suite)
{
    TCase *t = tcase_create("video");

    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, strengths);
    tcase_add_loop_test(t, geometry, 0, 4);
    tcase_add_test(t, sent_frames);
    tcase_add_test(t, ends);
    tcase_add_test(t, begins_again);
    tcase_add_loop_test(t, masks, 0, LINVIDEO_SAMPLER_RENOISE);
    tcase_add_test(t, masks_of_frames);
    tcase_add_test(t, sent_masks);
    tcase_add_loop_test(t, masks_that_are_refused, 0, 4);
    tcase_add_loop_test(t, headers, 0, LV_COUNT(heads));
    tcase_add_loop_test(t, duration_without_rate, 0, 3);
    tcase_add_loop_test(t, refuses, 0, LV_COUNT(bad));
    tcase_add_test(t, refuses_options);
}
