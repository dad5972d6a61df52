/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Memory: none is taken after the first frame, none is lost, and there may be too
 * little of it at any time.
 */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api_kit.h"

#if defined(__SANITIZE_ADDRESS__)
#define OWN_MALLOC 1 ///< of the sanitizer, which tells nothing about itself
#else
#define OWN_MALLOC 0
#endif

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return (size_t)info.uordblks + (size_t)info.hblkhd;
}

/* Three clips of 17 frames, of which every frame but the first of all leaves memory
 * as it was, for oneDNN too, which makes and frees small things all the time. */
START_TEST(steady)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    int ret = 0;
    size_t used[51];
    long own = 0;
    Video v;

    p.frames    = 51;
    p.guidance  = 3;
    p.precision = (enum LinvideoPrecision)_i;
    c = kit_open(&p);
    v = kit_video(c, LINVIDEO_YUV420P);
    for (int i = 0; i < 51; i++) {
        kit_arm(0, 0);
        ret |= kit_next(&v, c);
        own += i ? kit_disarm() : 0;
        used[i] = in_use();
    }
    ck_assert_int_eq(ret, 0);
    ck_assert_int_eq(own, 0);
    ck_assert(OWN_MALLOC || used[0] > 1 << 20);
    for (int i = 1; i < 51; i++)
        ck_assert_msg(used[i] == used[0], "frame %d: %zu bytes, then %zu", i, used[0],
                      used[i]);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

/* After everything is closed, nothing is left. */
START_TEST(nothing_left)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    long before = kit_live();
    LinvideoContext *c;
    Video v;

    v = kit_make(&p);
    kit_free(&v);
    c = kit_open(&p);
    ck_assert_int_gt(kit_live(), before + 10);
    linvideo_close(&c);
    ck_assert_int_eq(kit_live(), before);
}
END_TEST

/* Too little */

static LinvideoParams small(Watch *w)
{
    LinvideoParams p = kit_params(w);

    p.steps       = 1;
    p.clip_frames = 1;
    p.frames      = 2;
    p.guidance    = 2;
    p.width       = p.height = 16;
    p.threads     = 2;
    return p;
}

/* Open, read one frame, and once more when it failed, close. The code of what
 * failed; 1 when codes or pointers are not what they must be. */
static int try_all(const LinvideoParams *p)
{
    static uint8_t planes[3][256];
    LinvideoFrame f = { .data = { planes[0], planes[1], planes[2] },
                        .stride = { 16, 16, 16 } };
    LinvideoContext *c;
    int ret = linvideo_open(&c, p);

    if (ret < 0)
        return c ? 1 : ret;
    ret = linvideo_next_frame(c, &f);
    if (ret < 0 && linvideo_next_frame(c, &f) != ret)
        ret = 1;
    linvideo_close(&c);
    return ret;
}

/* Let allocation n fail. Whether it was reached. */
static int check_failing(const LinvideoParams *p, long n, int all)
{
    Watch *w    = p->opaque;
    long before = kit_live(), done;
    int ret;

    memset(w, 0, sizeof(*w));
    kit_arm(n, all);
    ret  = try_all(p);
    done = kit_disarm();
    ck_assert_msg(kit_live() == before, "allocation %ld: %ld are lost", n,
                  kit_live() - before);
    if (done < n) {
        ck_assert_int_eq(ret, 0);
        return 0;
    }
    ck_assert_msg(ret == -ENOMEM, "allocation %ld: %d, %s", n, ret, w->error);
    ck_assert_msg(w->lines[LINVIDEO_LOG_ERROR] == 1, "allocation %ld: %d error lines:\n%s",
                  n, w->lines[LINVIDEO_LOG_ERROR], w->all);
    return 1;
}

/* A video of two frames of 16x16, grey. */
static const char *small_video(void)
{
    const char *path = kit_path("small.y4m");
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    fputs("YUV4MPEG2 W16 H16 F8:1\n", f);
    for (int i = 0; i < 2; i++)
        fprintf(f, "FRAME\n%0384d", i);
    ck_assert_int_eq(fclose(f), 0);
    return path;
}

static void see_nothing(void *opaque, const LinvideoPreview *p)
{
    (void)opaque, (void)p;
}

/* Loop: only one allocation fails, or all from it on; only one, of a video, of all that steers,
 * and of a whole in windows. Opening makes some 750, each of its own kind; those of the first
 * frame are for one layer after another. */
START_TEST(failing)
{
    Watch w;
    LinvideoParams p = small(&w);
    long n, stride = 1;

    p.video = _i == 2 ? small_video() : NULL;
    if (_i == 3) {
        p.preview  = see_nothing;
        p.guidance = 1;
        p.nag      = 11;
        p.steps    = 8;
        p.cache    = 0.5f;
    }
    if (_i == 4) {
        p.join     = LINVIDEO_JOIN_WINDOW;
        p.native   = 1;
        p.guidance = 1;
        p.clip_frames = 5;
        p.frames   = 21;
    }
    for (n = 1; check_failing(&p, n, _i == 1); n += stride)
        stride = n < 800 && !_i ? 1 : _i > 2 ? 19 : 7;
    ck_assert_int_gt(n, 800);
}
END_TEST

/* The same for a new prompt; the old one stays in use. */
START_TEST(failing_prompt)
{
    Watch w;
    LinvideoParams p = small(&w);
    LinvideoContext *c = kit_open(&p);
    Video v = kit_video(c, LINVIDEO_YUV420P), b = kit_make(&p);
    int ret = 0, n = 0;

    ck_assert_int_eq(kit_next(&v, c), 0);
    do {
        kit_arm(++n, 0);
        ret = linvideo_set_prompt(c, "a green square");
        if (kit_disarm() < n)
            break;
        ck_assert_msg(ret == -ENOMEM, "allocation %d: %d", n, ret);
        kit_one_error(&w, "memory");
    } while (n < 100);
    ck_assert_int_eq(ret, 0);
    ck_assert_int_gt(n, 3);
    linvideo_close(&c);
    c = kit_open(&p);
    v.nb = 0;
    kit_arm(1, 1);
    ret = linvideo_set_prompt(c, "a green square");
    kit_disarm();
    ck_assert_int_eq(ret, -ENOMEM);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert(kit_equal(&v, &b));
    linvideo_close(&c);
    kit_free(&v);
    kit_free(&b);
}
END_TEST

void api_add_memory(Suite *suite)
{
    TCase *t = tcase_create("memory");

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, steady, LINVIDEO_PRECISION_AUTO, LINVIDEO_PRECISION_F32 + 1);
    tcase_add_test(t, nothing_left);
    tcase_add_loop_test(t, failing, 0, 5);
    tcase_add_test(t, failing_prompt);
}
