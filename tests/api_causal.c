/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Videos that are made in blocks: what comes out, when prompts change, and for how long. The
 * embedded model is not made for it, which changes what frames show and nothing else.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/api_kit.h"

#define OTHER "a blue square moving right on a white background"

static LinvideoParams blocks(Watch *w, int frames)
{
    LinvideoParams p = kit_params(w);

    p.causal        = 2;
    p.causal_window = 6;
    p.causal_sink   = 2;
    p.frames = frames;
    p.format = LINVIDEO_RGB24;
    return p;
}

/* How long a video becomes changes none of its frames; nor do threads, and blocks go on from each
 * other: the same block of another video is not the same. */
START_TEST(of_any_length)
{
    Watch w[3];
    LinvideoParams p = blocks(&w[0], 70), q = blocks(&w[1], 10), r = blocks(&w[2], 70);
    Video a, b, c;

    q.threads = 1;
    p.threads = 3;
    r.causal_window = 4;
    a = kit_make(&p);
    b = kit_make(&q);
    c = kit_make(&r);
    ck_assert_int_eq(a.nb, 70);
    ck_assert_int_eq(b.nb, 10);
    for (int i = 0; i < 10; i++)
        ck_assert(kit_same(&a, i, &b, i));
    ck_assert(kit_same(&a, 12, &c, 12));  /* of the first 2 blocks, which see the same */
    ck_assert(!kit_same(&a, 30, &c, 30));
    ck_assert_int_eq(a.shot[0].clip, 0);
    ck_assert_int_eq(a.shot[4].clip, 0);  /* 1 + 4 frames */
    ck_assert_int_eq(a.shot[5].clip, 1);
    ck_assert_int_eq(a.shot[12].clip, 1);
    ck_assert_int_eq(a.shot[13].clip, 2);
    ck_assert_int_eq(w[0].step[0].clips, 10);
    ck_assert_msg(strstr(w[0].all, "in blocks of 2 latents, which see 6: the first 2"), "%s",
                  w[0].all);
    ck_assert_ptr_null(strstr(w[0].all, "clip after clip"));
    kit_free(&a);
    kit_free(&b);
    kit_free(&c);
}
END_TEST

/* Progress goes on, through the run that keeps a block too. */
START_TEST(progress)
{
    Watch w;
    LinvideoParams p = blocks(&w, 13);
    Video v;

    p.steps = 2;
    v = kit_make(&p);
    for (int i = 1; i < w.steps && i < KIT_STEPS; i++) {
        const LinvideoProgress *a = &w.step[i - 1], *b = &w.step[i];
        ck_assert(b->clip > a->clip || b->stage > a->stage || b->fraction >= a->fraction);
        ck_assert(b->stage != LINVIDEO_STAGE_DENOISE || b->steps == 3);
    }
    kit_free(&v);
}
END_TEST

/* Both branches of guidance have a past of their own; nag has one. */
START_TEST(with_guidance)
{
    Watch w[2];
    LinvideoParams p = blocks(&w[0], 30), q = blocks(&w[1], 30);
    Video a, b;

    p.guidance = _i ? 1 : 3;
    p.nag      = _i ? 5 : 0;
    p.negative_prompt = "a red circle";
    a = kit_make(&p);
    b = kit_make(&q);
    ck_assert(!kit_same(&a, 20, &b, 20));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Another prompt is that of the next block, and what was made before stays. */
START_TEST(another_prompt)
{
    Watch w[2];
    LinvideoParams p = blocks(&w[0], 40), q = blocks(&w[1], 40);
    LinvideoContext *c = kit_open(&p);
    Video a = kit_video(c, LINVIDEO_RGB24), b = kit_make(&q);

    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(kit_next(&a, c), 0);
    ck_assert_int_eq(linvideo_set_prompt(c, OTHER), 0);
    while (!kit_next(&a, c))
        ;
    ck_assert_int_eq(a.nb, 40);
    for (int i = 0; i < 13; i++)
        ck_assert(kit_same(&a, i, &b, i));
    ck_assert(!kit_same(&a, 13, &b, 13));
    ck_assert_str_eq(a.shot[12].prompt, KIT_PROMPT);
    ck_assert_str_eq(a.shot[13].prompt, OTHER);
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    a.nb = 0;
    while (!kit_next(&a, c))
        ;
    ck_assert(kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
    linvideo_close(&c);
}
END_TEST

/* Of prompts over time a block has that of its first frame. */
START_TEST(times)
{
    Watch w[2];
    LinvideoParams p = blocks(&w[0], 40), q = blocks(&w[1], 40);
    Video a, b;

    p.prompt   = "0: " KIT_PROMPT "|2.5: " OTHER;
    p.rate_num = 8;
    p.rate_den = 1;
    a = kit_make(&p);
    b = kit_make(&q);
    ck_assert_str_eq(a.shot[20].prompt, KIT_PROMPT); /* block 2, of frames 13 to 20 */
    ck_assert_str_eq(a.shot[21].prompt, OTHER);
    ck_assert(kit_same(&a, 20, &b, 20));
    ck_assert(!kit_same(&a, 21, &b, 21));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Nothing grows: no allocation stays from one block to the next. */
START_TEST(without_end)
{
    Watch w;
    LinvideoParams p = blocks(&w, 100000);
    LinvideoContext *c;
    Video v;
    long live = 0;

    p.steps = 1;
    c = kit_open(&p);
    v = kit_video(c, LINVIDEO_RGB24);
    for (int i = 0; i < 400; i++) {
        v.nb = 0;
        ck_assert_int_eq(kit_next(&v, c), 0);
        if (i == 60)
            live = kit_live();
        ck_assert(i <= 60 || kit_live() == live);
    }
    kit_free(&v);
    linvideo_close(&c);
}
END_TEST

static const struct {
    int block, window, sink, join, loop;
    const char *part;
} misfits[] = {
    { 2, 5, 0, LINVIDEO_JOIN_AUTO, 0, "whole blocks of 2 latents, got 5 and 0" },
    { 2, 6, 1, LINVIDEO_JOIN_AUTO, 0, "whole blocks of 2 latents, got 6 and 1" },
    { 2, 6, 6, LINVIDEO_JOIN_AUTO, 0, "got window 6, sink 6, block 2" },
    { 3, 0, 3, LINVIDEO_JOIN_AUTO, 0, "got window 3, sink 3, block 3" },
    { 2, 6, 2, LINVIDEO_JOIN_WINDOW, 0, "join: it is for clips" },
    { 2, 6, 2, LINVIDEO_JOIN_CUT, 0, "join: it is for clips" },
    { 2, 6, 2, LINVIDEO_JOIN_AUTO, 1, "loop: it is for clips" },
};

START_TEST(refused)
{
    const char *const parts[] = { misfits[_i].part, NULL };
    Watch w;
    LinvideoParams p = blocks(&w, 40);

    p.causal        = misfits[_i].block;
    p.causal_window = misfits[_i].window;
    p.causal_sink   = misfits[_i].sink;
    p.join          = (enum LinvideoJoin)misfits[_i].join;
    p.loop          = misfits[_i].loop;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

/* What nobody tells is said, and a window that nobody tells is the clip. */
START_TEST(said)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;

    p.causal = _i ? 1 : 0;
    p.causal_window = _i ? 0 : 4;
    c = kit_open(&p);
    ck_assert_msg(strstr(w.all, _i ? "the model is not made for it" :
                                     "causal_sink: they are not used without causal"), "%s", w.all);
    ck_assert(!_i || strstr(w.all, "in blocks of 1 latents, which see 5: the first 1"));
    linvideo_close(&c);
}
END_TEST

void api_add_causal(Suite *suite)
{
    TCase *t = tcase_create("causal");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, of_any_length);
    tcase_add_test(t, progress);
    tcase_add_loop_test(t, with_guidance, 0, 2);
    tcase_add_test(t, another_prompt);
    tcase_add_test(t, times);
    tcase_add_test(t, without_end);
    tcase_add_loop_test(t, refused, 0, LV_COUNT(misfits));
    tcase_add_loop_test(t, said, 0, 2);
    suite_add_tcase(suite, t);
}
