/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Frames in memory of a CUDA device: the same bytes as in the host's, in the caller's
 * context or in none; and who asks for them in vain. Those that need a device run where
 * LV_TEST_DEVICE names one.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cuda/cuda.h"
#include "tests/api_kit.h"

enum { MARK = 0x5A, GAP = 11 };

/* Refused */

START_TEST(no_device)
{
    static const char *const parts[] = { "CUDA", "cpu (", NULL };
    const LinvideoCuda cuda = { NULL, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.cuda = &cuda;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

/* With "auto" a video in the host's memory would be made by the CPU then. */
START_TEST(no_driver)
{
    static const char *const parts[] = { "cuda: ", NULL };
    static const char *const names[] = { NULL, "", "auto", "cuda", "cuda:1" };
    const char *had = getenv("LINVIDEO_LIBCUDA");
    char *kept = had ? strdup(had) : NULL;
    const LinvideoCuda cuda = { NULL, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    setenv("LINVIDEO_LIBCUDA", "/none/libcuda.so", 1);
    p.cuda   = &cuda;
    p.device = names[_i];
    kit_refused(&p, &w, LINVIDEO_ERR_DEVICE, parts);
    if (kept)
        setenv("LINVIDEO_LIBCUDA", kept, 1);
    else
        unsetenv("LINVIDEO_LIBCUDA");
    free(kept);
}
END_TEST

/* The caller, who has a device of his own. */
static LvDevice *mine;
static LinvideoCuda his; ///< its context and stream

static void open_mine(void)
{
    const char *name = getenv("LV_TEST_DEVICE");

    if (!name || strncmp(name, "cuda", 4))
        return;
    ck_assert_int_eq(lv_device_open(&mine, name, NULL, NULL), 0);
    his = (LinvideoCuda) { lv_cuda(mine)->ctx, lv_cuda(mine)->stream };
}

static void close_mine(void)
{
    lv_device_close(&mine);
}

/* A frame of c in memory of the device, its rows apart; it is frame i of v, and nothing
 * was written beside it. */
static void check_frame(LinvideoContext *c, const Video *v, int64_t i)
{
    LinvideoFrame f = { .index = -1 };
    int planes = kit_planes(v->format);
    uint8_t *memory[3], *got;

    for (int k = 0; k < planes; k++) {
        size_t bytes = (size_t)kit_rows(v->format, k, v->info.height) *
                       (size_t)(f.stride[k] = kit_cols(v->format, k, v->info.width) + GAP);
        ck_assert_int_eq(lv_device_alloc(mine, (void **)&memory[k], bytes, "a test"), 0);
        got = memset(malloc(bytes), MARK, bytes);
        ck_assert_int_eq(lv_device_upload(mine, memory[k], got, bytes), 0);
        free(got);
        f.data[k] = memory[k];
    }
    ck_assert_int_eq(linvideo_next_frame(c, &f), 0);
    ck_assert_int_eq(f.index, i);
    for (int k = 0; k < planes; k++) {
        int rows = kit_rows(v->format, k, v->info.height), cols = (int)f.stride[k];
        const uint8_t *want = kit_plane(v, i, k);

        got = malloc((size_t)(rows * cols));
        ck_assert_int_eq(lv_device_download(mine, got, memory[k], (size_t)(rows * cols)), 0);
        for (int y = 0; y < rows; y++) {
            ck_assert_mem_eq(got + y * cols, want + y * (cols - GAP), (size_t)(cols - GAP));
            for (int x = cols - GAP; x < cols; x++)
                ck_assert_int_eq(got[y * cols + x], MARK);
        }
        free(got);
        lv_device_free(mine, memory[k]);
    }
}

static void check_same(LinvideoParams *p, const LinvideoCuda *cuda)
{
    LinvideoContext *c;
    Video v;

    p->device = "cuda";
    p->cuda   = NULL;
    v = kit_make(p);
    p->cuda   = cuda;
    p->device = NULL;
    c = kit_open(p);
    for (int64_t i = 0; i < v.nb; i++)
        check_frame(c, &v, i);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    linvideo_close(&c);
    kit_free(&v);
}

/* What is made, each in another format; the model makes multiples of 16. */
static const struct {
    int width, height, frames, tile, format;
} shapes[] = {
    { 17, 21, 3, 0, LINVIDEO_YUV420P }, { 33, 16, 1, 0, LINVIDEO_NV12 },
    { 16, 16, 1, 0, LINVIDEO_GBRP }, { 31, 17, 1, 0, LINVIDEO_RGB24 },
    { 75, 66, 1, 64, LINVIDEO_YUV444P },
};

START_TEST(same_frames)
{
    const LinvideoCuda none = { NULL, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    if (!mine)
        return;
    p.format = (enum LinvideoFormat)shapes[_i].format;
    p.width  = shapes[_i].width;
    p.height = shapes[_i].height;
    p.tile   = shapes[_i].tile;
    p.frames = shapes[_i].frames;
    p.steps  = 1;
    p.clip_frames = (p.frames + 1) / 2;
    check_same(&p, _i % 2 ? &none : &his);
}
END_TEST

/* What is the caller's stays: his context, and what he has there. */
START_TEST(stays_his)
{
    uint8_t data[64] = { 1, 2, 3 }, got[64];
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    void *memory;

    if (!mine)
        return;
    ck_assert_int_eq(lv_device_alloc(mine, &memory, sizeof(data), "a test"), 0);
    ck_assert_int_eq(lv_device_upload(mine, memory, data, sizeof(data)), 0);
    p.device = NULL;
    p.cuda   = &his;
    c = kit_open(&p);
    linvideo_close(&c);
    ck_assert_int_eq(lv_device_download(mine, got, memory, sizeof(got)), 0);
    ck_assert_mem_eq(got, data, sizeof(got));
    lv_device_free(mine, memory);
}
END_TEST

START_TEST(another_device)
{
    static const char *const parts[] = { "device is cuda:7", "cuda:0", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    if (!mine)
        return;
    p.device = "cuda:7";
    p.cuda   = &his;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

/* A child of fork() is told that it has no GPU, and can close the context; the parent
 * goes on. */
START_TEST(children)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    Video v;
    pid_t child;
    int status;

    if (!mine)
        return;
    p.device = getenv("LV_TEST_DEVICE");
    p.frames = 2;
    c = kit_open(&p);
    v = kit_video(c, LINVIDEO_YUV420P);
    ck_assert_int_eq(kit_next(&v, c), 0);
    if (!(child = fork())) {
        int ret = kit_next(&v, c);

        alarm(60);
        linvideo_close(&c);
        _exit(ret == LINVIDEO_ERR_DEVICE && !c && w.lines[LINVIDEO_LOG_ERROR] == 1 &&
              strstr(w.error, "a child of fork()") ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
    ck_assert_int_eq(kit_next(&v, c), 0);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

void api_add_device(Suite *suite)
{
    TCase *t = tcase_create("no device");

    suite_add_tcase(suite, t);
    tcase_add_test(t, no_device);
    tcase_add_loop_test(t, no_driver, 0, 5);
    t = tcase_create("device");
    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_checked_fixture(t, open_mine, close_mine);
    tcase_add_loop_test(t, same_frames, 0, LV_COUNT(shapes));
    tcase_add_test(t, stays_his);
    tcase_add_test(t, another_device);
    tcase_add_test(t, children);
}
