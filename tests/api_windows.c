/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Videos that are longer than a clip and made as a whole, and loops: places and weights of
 * windows, and what comes out.
 */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/prompt_times.h"
#include "pipeline/windows.h"
#include "tests/api_kit.h"

/* Places */

static const struct {
    int length, size, circular, step;
    const char *starts; ///< worked out by hand: a third of size - 1 is shared
} places[] = {
    { 5, 5, 0, 0, "0" },
    { 4, 5, 0, 3, "0" },
    { 6, 5, 0, 0, "0 1" },
    { 13, 5, 0, 0, "0 3 6 8" },
    { 13, 5, 0, 1, "0 2 5 8" },
    { 13, 5, 0, 2, "0 3 6 8" },
    { 13, 5, 0, 3, "0 1 4 7 8" },
    { 41, 21, 0, 0, "0 13 20" },
    { 41, 21, 0, 1, "0 7 20" },
    { 41, 21, 0, 3, "0 4 17 20" },
    { 4, 5, 1, 0, "0 3" },
    { 4, 5, 1, 1, "1 0" },
    { 20, 21, 1, 0, "0 13" },
    { 20, 21, 1, 1, "6 19" },
    { 1, 5, 1, 2, "0" },
};

START_TEST(begin)
{
    const LvWindows w = { .length = places[_i].length, .size = places[_i].size,
                          .circular = places[_i].circular, .channels = 1, .plane = 1 };
    char text[64] = "";

    for (int k = 0; k < lv_windows_count(&w, places[_i].step); k++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", k ? " " : "",
                 lv_windows_start(&w, places[_i].step, k));
    ck_assert_str_eq(text, places[_i].starts);
}
END_TEST

enum { CHANNELS = 2, PLANE = 3, LONGEST = 70 };

/* Every latent is seen, and windows of it averaged are it again. */
static void check_cover(const LvWindows *w, int step)
{
    static float x[CHANNELS * LONGEST * PLANE], in[CHANNELS * LONGEST * PLANE],
                 sum[CHANNELS * LONGEST * PLANE];
    size_t n = (size_t)(CHANNELS * w->length * PLANE);

    for (size_t i = 0; i < n; i++)
        x[i] = sinf((float)i);
    memset(sum, 0, sizeof(sum));
    ck_assert_int_le(lv_windows_count(w, step), lv_windows_most(w));
    for (int k = 0; k < lv_windows_count(w, step); k++) {
        int start = lv_windows_start(w, step, k);

        ck_assert(start >= 0 && start < w->length);
        ck_assert(w->circular || start + w->size <= LV_MAX(w->length, w->size));
        lv_windows_take(w, start, x, in);
        lv_windows_add(w, start, in, sum);
    }
    lv_windows_divide(w, step, sum);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabsf(sum[i] - x[i]) < 1e-6f, "%zu of %zu: %g, not %g", i, n,
                      (double)sum[i], (double)x[i]);
}

START_TEST(cover)
{
    for (int size = 1; size <= 22; size++)
        for (int length = 1; length <= LONGEST; length += length < 12 ? 1 : 7)
            for (int step = 0; step < 9; step++)
                for (int circular = length < size; circular < 2; circular++)
                    check_cover(&(LvWindows) { length, size, circular, CHANNELS, PLANE }, step);
}
END_TEST

/* The first latent of a window counts where it is the first of all, and nowhere else. */
START_TEST(weights)
{
    const LvWindows line = { 40, 6, 0, 1, 1 }, circle = { 40, 6, 1, 1, 1 };
    const float want[] = { 0, 1, 2, 3, 2, 1 };

    for (int i = 0; i < 6; i++) {
        ck_assert_float_eq(lv_windows_weight(&line, 7, i), want[i]);
        ck_assert_float_eq(lv_windows_weight(&circle, 0, i), want[i]);
    }
    ck_assert_float_eq(lv_windows_weight(&line, 0, 0), 1);
}
END_TEST

/* Behind the first window noise is that of as many latents before, in another order. */
START_TEST(noise)
{
    const LvWindows w = { 33, 9, 0, 1, 1 };
    int source[33], again[33], by = lv_windows_step(&w), moved = 0;

    lv_windows_noise(&w, 5, 1, source);
    lv_windows_noise(&w, 5, 1, again);
    ck_assert_mem_eq(source, again, sizeof(source));
    lv_windows_noise(&w, 6, 1, again);
    ck_assert(memcmp(source, again, sizeof(source)));
    for (int p = 0; p < 33; p++)
        ck_assert(source[p] >= 0 && source[p] < 9 && (p >= 9 || source[p] == p));
    for (int p = 9; p < 33; p += by)
        for (int i = p; i < LV_MIN(p + by, 33); i++) {
            int n = 0;

            for (int k = p; k < LV_MIN(p + by, 33); k++)
                n += source[k - 9] == source[i];
            ck_assert_int_gt(n, 0);
            moved += source[i] != source[i - 9];
        }
    ck_assert_int_gt(moved, 0);
}
END_TEST

/* Videos */

static LinvideoParams windows(Watch *w, int frames)
{
    LinvideoParams p = kit_params(w);

    p.join   = LINVIDEO_JOIN_WINDOW;
    p.frames = frames;
    p.format = LINVIDEO_RGB24;
    return p;
}

/* Mean change from a frame to one of another video. */
static double differ(const Video *v, int64_t i, const Video *w, int64_t j)
{
    const uint8_t *a = kit_plane(v, i, 0), *b = kit_plane(w, j, 0);
    double sum = 0;

    for (size_t k = 0; k < v->bytes; k++)
        sum += abs(a[k] - b[k]);
    return sum / (double)v->bytes;
}

static double change(const Video *v, int64_t i, int64_t j)
{
    return differ(v, i, v, j);
}

static double largest_change(const Video *v)
{
    double most = 0;

    for (int64_t i = 1; i < v->nb; i++)
        most = fmax(most, change(v, i - 1, i));
    return most;
}

static void check_same(const LinvideoParams *p, const LinvideoParams *q)
{
    Video a = kit_make(p), b = kit_make(q);

    ck_assert(kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}

START_TEST(one_window_is_a_clip)
{
    Watch w[2];
    LinvideoParams p = windows(&w[0], 17), q = kit_params(&w[1]);

    q.format = LINVIDEO_RGB24;
    check_same(&p, &q);
}
END_TEST

START_TEST(a_whole)
{
    Watch w[3];
    LinvideoParams p = windows(&w[0], 45), q = windows(&w[1], 45), cut = windows(&w[2], 45);
    Video a, b, c;

    q.threads = 1;
    p.threads = 3;
    cut.join  = LINVIDEO_JOIN_CUT;
    a = kit_make(&p);
    b = kit_make(&q);
    c = kit_make(&cut);
    ck_assert_int_eq(a.nb, 45);
    ck_assert(kit_equal(&a, &b));
    ck_assert_int_eq(a.shot[44].clip, 0);
    ck_assert_int_eq(c.shot[44].clip, 2);
    ck_assert_msg(strstr(w[0].all, "45 frames are made as a whole, in windows of 17"), "%s",
                  w[0].all);
    ck_assert(change(&a, 16, 17) < change(&c, 16, 17) / 2);
    kit_free(&a);
    kit_free(&b);
    kit_free(&c);
}
END_TEST

START_TEST(a_loop)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video v;

    p.prompt = "a purple triangle spinning on a green background";
    p.loop   = 1;
    p.steps  = 4;
    p.format = LINVIDEO_RGB24;
    p.frames = _i ? 41 : -1;
    v = kit_make(&p);
    ck_assert_int_eq(v.nb, _i ? 40 : 16);
    ck_assert_msg(strstr(w.all, _i ? "41 frames are asked, 40 are made" : "16 are made"), "%s",
                  w.all);
    ck_assert_msg(change(&v, v.nb - 1, 0) < 1.2 * largest_change(&v), "the seam is %g, %g",
                  change(&v, v.nb - 1, 0), largest_change(&v));
    kit_free(&v);
}
END_TEST

START_TEST(refused)
{
    const char *const parts[] = { "join window", "1000000 frames", "expected at most 16380", NULL };
    Watch w;
    LinvideoParams p = windows(&w, 1000000);

    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

/* The length of a whole is that which it was opened with. */
START_TEST(again)
{
    Watch w;
    LinvideoParams p = windows(&w, 30);
    LinvideoContext *c = kit_open(&p);
    Video v = kit_video(c, LINVIDEO_RGB24);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kit_next(&v, c), 0);
    p.frames = 31;
    ck_assert_int_eq(linvideo_restart(c, &p), -EINVAL);
    kit_one_error(&w, "made as a whole");
    p.frames = 30;
    p.seed   = 2;
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    v.nb = 0;
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(kit_next(&v, c), 0);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    kit_free(&v);
    linvideo_close(&c);
}
END_TEST

/* Prompts of a whole may come until its first frame. */
START_TEST(one_prompt)
{
    const char *const other = "a blue square moving right on a white background";
    Watch w[2];
    LinvideoParams p = windows(&w[0], 30), q = windows(&w[1], 30);
    LinvideoContext *c = kit_open(&p);
    Video a = kit_video(c, LINVIDEO_RGB24), b;

    ck_assert_int_eq(linvideo_set_prompt(c, other), 0);
    ck_assert_int_eq(kit_next(&a, c), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, KIT_PROMPT), -EINVAL);
    kit_one_error(&w[0], "prompt: this video is made as a whole");
    while (!kit_next(&a, c))
        ;
    q.prompt = other;
    b = kit_make(&q);
    ck_assert(kit_equal(&a, &b));
    ck_assert_str_eq(a.shot[29].prompt, other);
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, other), 0);
    linvideo_close(&c);
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Prompts over time */

static const struct {
    const char *text;
    int nb;           ///< prompts; 0: refused
    const char *said; ///< "from text;..."
} times[] = {
    { "0: a red ball|5: a blue ball", 2, "0 a red ball;5 a blue ball;" },
    { " 0: sea |\t2.5:  storm at 12:30| 10: calm", 3, "0 sea ;2.5 storm at 12:30;10 calm;" },
    { "a red ball", 1, "0 a red ball;" },
    { "0: a red ball", 1, "0 0: a red ball;" },
    { "a red ball|a blue ball", 1, "0 a red ball|a blue ball;" },
    { "0: a|b", 1, "0 0: a|b;" },
    { "0: a|5:b", 1, "0 0: a|5:b;" },
    { "0: a|5: ", 1, "0 0: a|5: ;" },
    { "0: |5: b", 1, "0 0: |5: b;" },
    { "0: a||5: b", 1, "0 0: a||5: b;" },
    { "0: a|5.: b", 1, "0 0: a|5.: b;" },
    { "0: a|-5: b", 1, "0 0: a|-5: b;" },
    { "16:9|4:3", 1, "0 16:9|4:3;" },
    { "1: a|5: b", 0, "the first time expected to be 0, got 1" },
    { "0: a|5: b|5: c", 0, "times expected to rise, got 5 behind 5" },
    { "0: a|5: b|4.5: c", 0, "times expected to rise, got 4.5 behind 5" },
};

START_TEST(read_times)
{
    char said[256] = "";
    Watch w = { 0 };
    LinvideoParams p = windows(&w, 45);
    LvPromptTimes t  = { 0 };
    const char *const parts[] = { "prompt: ", times[_i].said, NULL };

    if (!times[_i].nb) {
        p.prompt = times[_i].text;
        kit_refused(&p, &w, -EINVAL, parts);
        return;
    }
    ck_assert_int_eq(lv_prompt_times_read(&t, times[_i].text, NULL), 0);
    ck_assert_int_eq(t.nb, times[_i].nb);
    for (int i = 0; i < t.nb; i++)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%g %s;", t.from[i], t.text[i]);
    ck_assert_str_eq(said, times[_i].said);
    lv_prompt_times_free(&t);
}
END_TEST

START_TEST(find_time)
{
    LvPromptTimes t = { .nb = 3, .from = { 0, 1.5, 4 } };

    ck_assert_int_eq(lv_prompt_times_at(&t, 0), 0);
    ck_assert_int_eq(lv_prompt_times_at(&t, 1.49), 0);
    ck_assert_int_eq(lv_prompt_times_at(&t, 1.5), 1);
    ck_assert_int_eq(lv_prompt_times_at(&t, 1000), 2);
}
END_TEST

START_TEST(too_many_times)
{
    const char *const parts[] = { "33 prompts over time, expected at most 32", NULL };
    char text[33 * 8] = "0: a";
    Watch w;
    LinvideoParams p = windows(&w, 45);

    for (int i = 1; i < 33; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "|%d: a", i);
    p.prompt = text;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

#define RED "a large red circle on a black background"
#define COLD "soft blue lights drifting on a black background"
#define WARM "soft red lights drifting on a black background"
#define BLUE "a large blue square on a white background"

/* Clips show what is their begin's: the same as when each had been told. */
START_TEST(times_of_clips)
{
    Watch w[2];
    LinvideoParams p = kit_params(&w[0]), q = kit_params(&w[1]);
    LinvideoContext *c;
    Video a, b;

    p.rate_num = q.rate_num = 17;
    p.rate_den = q.rate_den = 1;
    p.frames   = q.frames = 51;
    p.prompt   = "0: " RED "|0.9: " BLUE "|60: " RED;
    q.prompt   = RED;
    a = kit_make(&p);
    c = kit_open(&q);
    b = kit_video(c, (int)q.format);
    for (int i = 0; i < 51; i++) {
        if (i == 16)
            ck_assert_int_eq(linvideo_set_prompt(c, BLUE), 0);
        ck_assert_int_eq(kit_next(&b, c), 0);
    }
    ck_assert(kit_equal(&a, &b));
    ck_assert_str_eq(a.shot[16].prompt, RED);
    ck_assert_str_eq(a.shot[17].prompt, BLUE);
    ck_assert_msg(strstr(w[0].all, "what begins at 60 s is not shown"), "%s", w[0].all);
    ck_assert_msg(strstr(w[0].all, "51 frames are made clip after clip, of 17"), "%s", w[0].all);
    linvideo_close(&c);
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* A whole begins as one prompt and ends as the other, without a cut between them. With guidance,
 * and without: numbers of prompts differ. */
START_TEST(times_of_a_whole)
{
    Watch w[3];
    LinvideoParams p = windows(&w[0], 65), q = windows(&w[1], 65), r = windows(&w[2], 65);
    Video a, b, c;
    double far;

    p.guidance = q.guidance = r.guidance = _i ? 2 : 1;
    p.rate_num = q.rate_num = r.rate_num = 16;
    p.rate_den = q.rate_den = r.rate_den = 1;
    p.prompt   = "0: " COLD "|2: " WARM;
    q.prompt   = COLD;
    r.prompt   = WARM;
    a = kit_make(&p);
    b = kit_make(&q);
    c = kit_make(&r);
    far = differ(&b, 32, &c, 32);
    ck_assert_msg(differ(&a, 0, &b, 0) < 0.1 * far, "%g of %g", differ(&a, 0, &b, 0), far);
    ck_assert_msg(differ(&a, 64, &c, 64) < 0.1 * far, "%g of %g", differ(&a, 64, &c, 64), far);
    ck_assert_msg(largest_change(&a) < far / 2, "%g of %g", largest_change(&a), far);
    ck_assert_str_eq(a.shot[31].prompt, COLD);
    ck_assert_str_eq(a.shot[32].prompt, WARM);
    kit_free(&a);
    kit_free(&b);
    kit_free(&c);
}
END_TEST

/* Prompts that are the same are one. */
START_TEST(times_of_one_prompt)
{
    Watch w[2];
    LinvideoParams p = windows(&w[0], 45), q = windows(&w[1], 45);

    p.prompt = "0: " RED "|1: " RED "|2: " RED;
    q.prompt = RED;
    check_same(&p, &q);
}
END_TEST

/* A context has room for as many as it was opened with. */
START_TEST(times_again)
{
    Watch w[2];
    LinvideoParams p = windows(&w[0], 45), q = windows(&w[1], 45);
    LinvideoContext *c;
    Video a, b;

    q.prompt = RED;
    b        = kit_make(&q);
    p.prompt = "0: " BLUE "|1: " RED;
    c = kit_open(&p);
    a = kit_video(c, LINVIDEO_RGB24);
    ck_assert_int_eq(linvideo_set_prompt(c, "0: " RED "|1: " BLUE "|2: " RED), -EINVAL);
    kit_one_error(&w[0], "expected at most 2 prompts over time");
    p.prompt = "0: " RED "|1: " BLUE "|2: " RED;
    ck_assert_int_eq(linvideo_restart(c, &p), -EINVAL);
    w[0] = (Watch) { 0 };
    ck_assert_int_eq(linvideo_set_prompt(c, RED), 0);
    for (int i = 0; i < 45; i++)
        ck_assert_int_eq(kit_next(&a, c), 0);
    ck_assert(kit_equal(&a, &b));
    p.prompt = "0: " RED "|1: " RED;
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    a.nb = 0;
    for (int i = 0; i < 45; i++)
        ck_assert_int_eq(kit_next(&a, c), 0);
    ck_assert(kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
    linvideo_close(&c);
}
END_TEST

/* Allocations of opening fail, one at a time; first none, to count them. */
START_TEST(times_without_memory)
{
    Watch w;
    LinvideoParams p = windows(&w, 30);
    long nb = 0;

    p.prompt = "0: " RED "|1: " BLUE;
    for (long n = 0; n <= nb; n += n < 40 || n > nb - 40 ? 1 : 29) {
        LinvideoContext *c = NULL;
        long live = kit_live();
        int ret;

        kit_arm(n, 0);
        ret = linvideo_open(&c, &p);
        nb  = LV_MAX(kit_disarm(), nb);
        linvideo_close(&c);
        ck_assert_msg(ret == 0 || ret == -ENOMEM, "allocation %ld: %d", n, ret);
        ck_assert_int_eq(kit_live(), live);
    }
    ck_assert_int_gt(nb, 40);
}
END_TEST

/* Videos without an end */

static LinvideoParams endless(Watch *w)
{
    LinvideoParams p = kit_params(w);

    p.format      = LINVIDEO_RGB24;
    p.native      = 1;
    p.clip_frames = 5;
    p.duration    = LINVIDEO_ENDLESS;
    return p;
}

/* Read frames into the first ones of v over and over, and compare the first ones of all. */
static void read_on(Video *v, LinvideoContext *c, const Video *same, int nb)
{
    for (int i = 0; i < nb; i++) {
        if (v->nb == v->room)
            v->nb = 0;
        ck_assert_int_eq(kit_next(v, c), 0);
        ck_assert_int_eq(v->shot[v->nb - 1].index, i);
        ck_assert(i >= same->nb || kit_same(v, v->nb - 1, same, i));
    }
}

/* Frames are those of a video with an end; memory stays what it is. */
START_TEST(without_end)
{
    Watch w[2];
    LinvideoParams p = endless(&w[0]), q = endless(&w[1]);
    LinvideoContext *c;
    LinvideoInfo info;
    Video a, b;
    long live;

    q.duration = -1;
    q.frames   = 14;
    b = kit_make(&q);
    c = kit_open(&p);
    linvideo_info(c, &info);
    ck_assert_int_eq(info.frames, -1);
    ck_assert_msg(strstr(w[0].all, "frames without end are made clip after clip"), "%s", w[0].all);
    a = kit_video(c, LINVIDEO_RGB24);
    read_on(&a, c, &b, 20);
    live = kit_live();
    ck_assert_int_eq(w[0].step[w[0].steps - 1].clips, 0);
    for (int i = 20; i < 400; i++) {
        a.nb = 0;
        ck_assert_int_eq(kit_next(&a, c), 0);
    }
    ck_assert_int_eq(a.shot[0].index, 399);
    ck_assert_int_eq(a.shot[0].clip, 79);
    ck_assert_int_eq(kit_live(), live);
    ck_assert_int_eq(linvideo_restart(c, &q), 0);
    a.nb = 0;
    read_on(&a, c, &b, 14);
    ck_assert_int_eq(kit_next(&a, c), LINVIDEO_EOF);
    kit_free(&a);
    kit_free(&b);
    linvideo_close(&c);
}
END_TEST

START_TEST(without_end_refused)
{
    static const char *const parts[][3] = {
        { "loop: expected a length, got a video without an end", NULL },
        { "both frames and duration", NULL },
    };
    Watch w;
    LinvideoParams p = endless(&w);

    p.loop   = _i == 0;
    p.frames = _i == 1 ? 20 : -1;
    kit_refused(&p, &w, -EINVAL, parts[_i]);
}
END_TEST

void api_add_windows(Suite *suite)
{
    TCase *t = tcase_create("windows");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, begin, 0, LV_COUNT(places));
    tcase_add_test(t, cover);
    tcase_add_test(t, weights);
    tcase_add_test(t, noise);
    tcase_add_test(t, one_window_is_a_clip);
    tcase_add_test(t, a_whole);
    tcase_add_loop_test(t, a_loop, 0, 2);
    tcase_add_test(t, refused);
    tcase_add_test(t, again);
    tcase_add_test(t, one_prompt);
    tcase_add_loop_test(t, read_times, 0, LV_COUNT(times));
    tcase_add_test(t, find_time);
    tcase_add_test(t, too_many_times);
    tcase_add_test(t, times_of_clips);
    tcase_add_loop_test(t, times_of_a_whole, 0, 2);
    tcase_add_test(t, times_of_one_prompt);
    tcase_add_test(t, times_again);
    tcase_add_test(t, times_without_memory);
    tcase_add_test(t, without_end);
    tcase_add_loop_test(t, without_end_refused, 0, 2);
    suite_add_tcase(suite, t);
}
