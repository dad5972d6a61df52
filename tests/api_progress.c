/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Progress as it is told, and stopping in the middle of it.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/api_kit.h"

/* Two clips of 5 frames, 3 steps. */
static LinvideoParams short_clips(Watch *w, float guidance)
{
    LinvideoParams p = kit_params(w);

    p.clip_frames = 5;
    p.frames      = 10;
    p.steps       = 3;
    p.guidance    = guidance;
    return p;
}

static void check_step(const LinvideoProgress *s, const LinvideoProgress *last)
{
    static const char *const names[] = { "loading", "text", "denoising", "decoding" };

    ck_assert_str_eq(s->stage_name, names[s->stage]);
    ck_assert_int_eq(s->clips, 2);
    ck_assert(s->fraction >= 0 && s->fraction <= 1 && s->elapsed >= 0);
    ck_assert(s->step >= 0 && s->step < s->steps);
    ck_assert(s->clip >= 0 && s->clip < s->clips);
    ck_assert(s->layer <= s->layers);
    ck_assert_int_eq(s->layers > 0, s->stage == LINVIDEO_STAGE_DENOISE);
    if (!last || last->clip != s->clip) {
        ck_assert_int_eq(s->clip, last ? last->clip + 1 : 0);
        return;
    }
    ck_assert_int_ge(s->stage, last->stage);
    ck_assert(s->fraction >= last->fraction && s->elapsed >= last->elapsed);
}

/* Every step of every clip calls for every layer of every branch, in order. */
static void check_layers(const Watch *w, int layers, int branches)
{
    int nb = 0;

    for (int i = 0; i < w->steps; i++) {
        const LinvideoProgress *s = &w->step[i];
        if (s->stage != LINVIDEO_STAGE_DENOISE)
            continue;
        ck_assert_int_eq(s->layers, layers * branches);
        ck_assert_int_eq(s->layer, nb % s->layers + 1);
        ck_assert_int_eq(s->step, nb / s->layers % 3);
        ck_assert_int_eq(s->steps, 3);
        nb++;
    }
    ck_assert_int_eq(nb, 2 * 3 * layers * branches);
}

static int calls(const Watch *w, enum LinvideoStage stage, int64_t clip)
{
    int nb = 0;

    for (int i = 0; i < w->steps; i++)
        nb += w->step[i].stage == stage && w->step[i].clip == clip;
    return nb;
}

/* Loop: guidance off (one branch) and on (two). */
START_TEST(told)
{
    Watch w;
    LinvideoParams p = short_clips(&w, _i ? 3 : 1);
    Video v = kit_make(&p);

    ck_assert(w.steps > 60 && w.steps < KIT_STEPS);
    for (int i = 0; i < w.steps; i++)
        check_step(&w.step[i], i ? &w.step[i - 1] : NULL);
    check_layers(&w, v.info.layers, _i + 1);
    ck_assert_int_eq(w.step[0].stage, LINVIDEO_STAGE_LOAD);
    ck_assert_int_eq(calls(&w, LINVIDEO_STAGE_LOAD, 0), 1);
    ck_assert_int_gt(calls(&w, LINVIDEO_STAGE_TEXT, 0), 1);
    ck_assert_int_eq(calls(&w, LINVIDEO_STAGE_LOAD, 1), 0);
    ck_assert_int_eq(calls(&w, LINVIDEO_STAGE_TEXT, 1), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(calls(&w, LINVIDEO_STAGE_DECODE, i), 2);
    kit_free(&v);
}
END_TEST

/* Frames are the same without a callback. */
START_TEST(not_told)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 1);
    Video a = kit_make(&p), b;

    p.progress = NULL;
    b = kit_make(&p);
    ck_assert(kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Stopping */

/* c stays stopped, without a word, and can be closed. */
static void check_stopped(LinvideoContext *c, Video *v, const Watch *w)
{
    int before = w->steps;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kit_next(v, c), LINVIDEO_ERR_CANCELLED);
    ck_assert_int_eq(w->steps, before);
    ck_assert_int_eq(w->lines[LINVIDEO_LOG_ERROR], 0);
    linvideo_close(&c);
    ck_assert_ptr_null(c);
    kit_free(v);
}

/* In call number `at` of progress; returns which stage that was. */
static int stop_at(int at)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 3);
    LinvideoContext *c = kit_open(&p);
    Video v = kit_video(c, LINVIDEO_YUV420P);
    int ret;

    w.cancel    = c;
    w.cancel_at = at;
    while (!(ret = kit_next(&v, c)))
        ck_assert_int_le(w.steps, at + 1);
    ck_assert_int_eq(ret, LINVIDEO_ERR_CANCELLED);
    ck_assert_int_le(w.steps, at + 2);
    ret = (int)w.step[at].stage;
    check_stopped(c, &v, &w);
    return ret;
}

START_TEST(stopped_by_callback)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 3);
    int seen = 0;
    Video v;

    v = kit_make(&p);
    for (int at = 0; at < w.steps; at++)
        if (at < 20 || at % 9 == 0 || w.step[at].stage == LINVIDEO_STAGE_DECODE)
            seen |= 1 << stop_at(at);
    ck_assert_int_eq(seen, 15);
    kit_free(&v);
}
END_TEST

/* After frame n, before the next one. */
START_TEST(stopped_between)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 1);
    LinvideoContext *c = kit_open(&p);
    Video v = kit_video(c, LINVIDEO_YUV420P);

    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(kit_next(&v, c), 0);
    linvideo_cancel(c);
    check_stopped(c, &v, &w);
}
END_TEST

START_TEST(stopped_at_the_end)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 1);
    LinvideoContext *c = kit_open(&p);
    Video v = kit_video(c, LINVIDEO_YUV420P);

    while (!kit_next(&v, c))
        ;
    linvideo_cancel(c);
    ck_assert_int_eq(kit_next(&v, c), LINVIDEO_EOF);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

typedef struct Stopper {
    LinvideoContext *c;
    unsigned wait; ///< microseconds
} Stopper;

static void *stop_later(void *arg)
{
    const Stopper *s = arg;

    usleep(s->wait);
    linvideo_cancel(s->c);
    return NULL;
}

/* From another thread, while a clip of 1000 steps (many seconds) is made. */
START_TEST(stopped_by_thread)
{
    Watch w;
    LinvideoParams p = short_clips(&w, 3);
    Stopper s = { NULL, _i ? 200000 : 20000 };
    pthread_t thread;
    double start;
    Video v;

    p.steps = 1000;
    s.c     = kit_open(&p);
    v       = kit_video(s.c, LINVIDEO_YUV420P);
    start   = lv_seconds();
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_later, &s), 0);
    ck_assert_int_eq(kit_next(&v, s.c), LINVIDEO_ERR_CANCELLED);
    ck_assert_double_ge(lv_seconds() - start, s.wait / 1e6);
    ck_assert_int_lt(w.steps, 1000 * v.info.layers * 2);
    pthread_join(thread, NULL);
    check_stopped(s.c, &v, &w);
}
END_TEST

/* Stopping one context does not stop another. */
START_TEST(others_go_on)
{
    Watch w[2];
    LinvideoParams p[2] = { short_clips(&w[0], 1), short_clips(&w[1], 1) };
    LinvideoContext *c[2] = { kit_open(&p[0]), kit_open(&p[1]) };
    Video v[2] = { kit_video(c[0], LINVIDEO_YUV420P), kit_video(c[1], LINVIDEO_YUV420P) };

    linvideo_cancel(c[0]);
    ck_assert_int_eq(kit_next(&v[1], c[1]), 0);
    check_stopped(c[0], &v[0], &w[0]);
    while (!kit_next(&v[1], c[1]))
        ;
    ck_assert_int_eq(v[1].nb, 10);
    linvideo_close(&c[1]);
    kit_free(&v[1]);
}
END_TEST

void api_add_progress(Suite *suite)
{
    TCase *t = tcase_create("progress");

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, told, 0, 2);
    tcase_add_test(t, not_told);
    tcase_add_test(t, stopped_by_callback);
    tcase_add_loop_test(t, stopped_between, 0, 10);
    tcase_add_test(t, stopped_at_the_end);
    tcase_add_test(t, others_go_on);
    t = tcase_create("stopped by a thread");
    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, stopped_by_thread, 0, 2);
}
