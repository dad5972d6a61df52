/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of reels: what is drawn, its captions, its pixels. Without the font of things,
 * which is not there everywhere: those reels show shapes and effects.
 */

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "tests/keep.h"
#include "train/reel/effect.h"
#include "train/reel/field.h"
#include "train/reel/stock.h"
#include "train/reel/things.h"
#include "train/reel/tint.h"
#include "train/reel/words.h"

enum { WIDTH = 96, HEIGHT = 56, FRAMES = 5, ALL = 17, DRAWS = 4000 };
enum { FRAME = 3 * WIDTH * HEIGHT };

static float *new_clip(void)
{
    float *rgb = malloc(sizeof(*rgb) * FRAME * ALL);

    ck_assert_ptr_nonnull(rgb);
    return rgb;
}

static LvSpan span_of(int first, int frames)
{
    return (LvSpan) { WIDTH, HEIGHT, first, frames, ALL, 16 };
}

/* Drawing */

START_TEST(same_reel)
{
    LvReel a, b;

    for (uint64_t i = 0; i < 200; i++) {
        lv_reel_draw(&a, 3, i, lv_things());
        lv_reel_draw(&b, 3, i, lv_things());
        ck_assert_mem_eq(&a, &b, sizeof(a));
        lv_reel_draw(&b, 3, i + 1, lv_things());
        ck_assert_mem_ne(&a, &b, sizeof(a));
        lv_reel_draw(&b, 4, i, lv_things());
        ck_assert_mem_ne(&a, &b, sizeof(a));
    }
}
END_TEST

/* All that reels can show does occur, and no thing where none may. */
START_TEST(draws)
{
    int effects[LV_FX_NB] = { 0 }, moves[LV_MOVE_NB] = { 0 }, grounds[LV_GROUND_NB] = { 0 };
    int counts[LV_MAX_COUNT] = { 0 }, tints = 0, hex = 0, cameras = 0, things = 0;
    LvReel r;

    for (int i = 0; i < DRAWS; i++) {
        lv_reel_draw(&r, 1, (uint64_t)i, i % 2 ? lv_things() : 0);
        grounds[r.ground]++;
        cameras += r.camera != LV_CAMERA_STILL;
        if (r.ground == LV_GROUND_EFFECT)
            effects[r.effect.effect]++;
        if (r.has_over)
            effects[r.over.effect]++;
        tints += r.back.tint >= 0;
        hex   += r.back.tint < 0;
        for (int k = 0; k < r.actors; k++) {
            moves[r.actor[k].move]++;
            counts[r.actor[k].count - 1]++;
            things += r.actor[k].thing >= 0;
            ck_assert_int_lt(r.actor[k].thing, i % 2 ? lv_things() : 0);
        }
    }
    for (int i = 0; i < LV_FX_NB; i++)
        ck_assert_msg(effects[i] > 5, "%s", lv_effect_name((LvEffect)i));
    for (int i = 0; i < LV_MOVE_NB; i++)
        ck_assert_int_gt(moves[i], 10);
    for (int i = 0; i < LV_GROUND_NB; i++)
        ck_assert_int_gt(grounds[i], 10);
    for (int i = 0; i < LV_MAX_COUNT; i++)
        ck_assert_int_gt(counts[i], 10);
    ck_assert(tints > 100 && hex > 10 && cameras > 50 && things > 100);
}
END_TEST

/* Pixels */

/* Frames of a part are those of the whole; all values are in range. */
START_TEST(parts)
{
    float *whole = new_clip(), *part = new_clip();
    LvStock stock;

    ck_assert_int_eq(lv_stock_open(&stock, "reel", "", 1, 7, NULL), 0);
    for (uint64_t i = 0; i < 60; i++) {
        LvSpan all = span_of(0, ALL), some = span_of(9, FRAMES);
        lv_stock_clip(&stock, i, 0, &all, whole);
        lv_stock_clip(&stock, i, 0, &some, part);
        ck_assert_mem_eq(whole + 9 * FRAME, part, sizeof(*part) * FRAME * FRAMES);
        for (int k = 0; k < FRAME * ALL; k++)
            ck_assert_msg(whole[k] >= 0 && whole[k] <= 1, "clip %d: %g", (int)i,
                          (double)whole[k]);
        lv_stock_clip(&stock, i, 1, &some, part);
        ck_assert_mem_ne(whole + 9 * FRAME, part, sizeof(*part) * FRAME * FRAMES);
    }
    lv_stock_close(&stock);
    free(whole);
    free(part);
}
END_TEST

static LvLook look_of(LvEffect effect)
{
    LvLook l = { .effect = effect, .front = { { 1, 0.5f, 0.1f }, { 0.2f, 0.7f, 1 }, { 1, 1, 1 } },
                 .colors = 3, .back = { { 0.1f, 0.1f, 0.3f }, { 0.3f, 0.1f, 0.1f } },
                 .speed = 1, .amount = 0.7f, .free = { 0.3f, 0.4f, 0.6f, 0.8f }, .key = { 5, 6 } };

    return l;
}

static void paint(float *rgb, const LvLook *l, float ground, float seconds)
{
    LvPaint p = { rgb, WIDTH, HEIGHT, HEIGHT };

    for (int i = 0; i < FRAME; i++)
        rgb[i] = ground;
    lv_effect_paint(&p, l, (LvClock) { seconds, seconds / 4 });
}

static double change(const float *a, const float *b)
{
    double sum = 0;

    for (int i = 0; i < FRAME; i++)
        sum += fabs((double)a[i] - b[i]) / FRAME;
    return sum;
}

/* A whole picture covers what was there, another effect leaves some of it. Each shows
 * something, moves, and does not jump from a frame to the next. Test number: the effect. */
START_TEST(effects)
{
    LvLook l = look_of((LvEffect)_i);
    float *dark = new_clip(), *light = new_clip(), *later = new_clip();
    double seen = 0, moved = 0;

    for (int k = 0; k < 16; k++) {
        float at = 0.25f * (float)k;
        paint(dark, &l, 0, at);
        paint(light, &l, 1, at);
        paint(later, &l, 0, at + 0.0625f);
        if (lv_effect_is_whole(l.effect))
            ck_assert(change(dark, light) < 1e-6);
        else
            ck_assert(change(dark, light) > 0.02);
        for (int i = 0; i < FRAME; i++)
            seen = LV_MAX(seen, fabs((double)dark[i] - dark[i % 3]));
        ck_assert_msg(change(dark, later) < 0.16, "at %g: %g", (double)at, change(dark, later));
        moved = LV_MAX(moved, change(dark, later));
    }
    ck_assert(seen > 0.02 && moved > 1e-4);
    free(dark);
    free(light);
    free(later);
}
END_TEST

/* Fields have no seams at whole numbers. */
START_TEST(fields)
{
    double least = 9, most = -9, sum = 0;

    for (int i = -400; i < 400; i++) {
        float x = 0.05f * (float)i, near[2];
        double a = lv_fbm(x, 0.3f, 0.1f, 4, 9), b = lv_fbm(x + 1e-3f, 0.3f, 0.1f, 4, 9);
        ck_assert(fabs(a - b) < 0.02);
        lv_cells(near, x, 1.5f, 0, 9);
        ck_assert(near[0] >= 0 && near[0] <= near[1] && near[0] < 1.5f);
        least = LV_MIN(least, a);
        most  = LV_MAX(most, a);
        sum  += a / 800;
    }
    ck_assert(least < -0.2 && most > 0.2 && least > -2 && most < 2 && fabs(sum) < 0.2);
}
END_TEST

/* Words */

START_TEST(captions)
{
    char a[LV_REEL_CAPTION_SIZE], b[LV_REEL_CAPTION_SIZE];
    int differ = 0;
    LvReel r;

    for (uint64_t i = 0; i < 3000; i++) {
        lv_reel_draw(&r, 2, i, lv_things());
        lv_reel_caption(a, sizeof(a), &r, 2, i);
        lv_reel_caption(b, sizeof(b), &r, 2, i);
        ck_assert_str_eq(a, b);
        ck_assert_msg(*a && strlen(a) < sizeof(a) - 8 && !strstr(a, "  ") && !strpbrk(a, "$~|"),
                      "%s", a);
        lv_reel_caption(b, sizeof(b), &r, 2, i + 50000);
        differ += strcmp(a, b) != 0;
    }
    ck_assert_int_gt(differ, 2500);
    lv_reel_caption(b, 12, &r, 2, 2999);
    ck_assert_uint_le(strlen(b), 11);
}
END_TEST

START_TEST(plain_captions)
{
    char text[LV_REEL_CAPTION_SIZE];
    LvReel r = { .ground = LV_GROUND_PLAIN, .back = { 0, 0xFF0000 }, .actors = 1,
                 .actor = { { .thing = 0, .size = LV_LARGE, .count = 2, .move = LV_BOUNCING } } };

    lv_reel_caption_plain(text, sizeof(text), &r);
    ck_assert_str_eq(text, "two large dogs bouncing on a red background");
    r.actor[0] = (LvActor) { .thing = -1, .shape = LV_STAR, .fill = LV_FILL_OUTLINE, .count = 1,
                             .tinted = 1, .hue = { -1, 0x00FF80 }, .size = LV_MEDIUM,
                             .move = LV_LEFT };
    r.camera = LV_CAMERA_ZOOM_IN;
    lv_reel_caption_plain(text, sizeof(text), &r);
    ck_assert_str_eq(text, "an outlined #00ff80 star moving left on a red background, "
                           "camera zooming in");
}
END_TEST

static const char *const plurals[][2] = {
    { "dog", "dogs" }, { "slice of pizza", "slices of pizza" }, { "mouse", "mice" },
    { "box", "boxes" }, { "cherry", "cherries" }, { "key", "keys" }, { "wolf", "wolves" },
    { "fish", "fish" }, { "jeans", "jeans" }, { "house with a garden", "houses with a garden" },
    { "church", "churches" }, { "octopus", "octopuses" }, { "computer mouse", "computer mice" },
};

START_TEST(plural)
{
    char text[LV_THING_NAME_SIZE];

    lv_thing_plural(text, sizeof(text), plurals[_i][0]);
    ck_assert_str_eq(text, plurals[_i][1]);
}
END_TEST

/* 400 things and 40 colours at least, with names that none other has. */
START_TEST(names)
{
    ck_assert_int_ge(lv_things(), 400);
    ck_assert_int_ge(lv_tints(), 40);
    for (int i = 0; i < lv_things(); i++) {
        ck_assert_uint_lt(strcspn(lv_thing(i)->names, "|"), LV_THING_NAME_SIZE - 4);
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(lv_thing(i)->names, lv_thing(k)->names);
            ck_assert_uint_ne(lv_thing(i)->character, lv_thing(k)->character);
        }
    }
}
END_TEST

START_TEST(words)
{
    static char text[32768];
    static const char *const expected[] = { "aurora", "crimson", "dog", "swinging", "unicorn" };
    LvStock stock = { .reel = 1 };

    ck_assert_int_gt(lv_stock_words(&stock, text, sizeof(text)), 4000);
    for (int i = 0; i < LV_COUNT(expected); i++)
        ck_assert_ptr_nonnull(strstr(text, expected[i]));
    ck_assert_int_eq(lv_stock_words(&stock, text, 100), -1);
}
END_TEST

/* Names and files that are none. */
START_TEST(refused)
{
    LvMsg msg = { keep_line, NULL, LV_MSG_ERROR };
    LvStock stock;

    ck_assert_int_eq(lv_stock_open(&stock, "films", "", 1, 1, &msg), -EINVAL);
    ck_assert_ptr_nonnull(strstr(last_line, "expected \"shapes\" or \"reel\""));
    lv_stock_close(&stock);
    ck_assert_int_lt(lv_stock_open(&stock, "reel", "none.ttf", 1, 1, &msg), 0);
    ck_assert_ptr_nonnull(strstr(last_line, "none.ttf: "));
    lv_stock_close(&stock);
    ck_assert_int_eq(lv_stock_open(&stock, "reel", "none.ttf", 0, 1, &msg), 0);
    ck_assert_int_eq(stock.things, lv_things());
    lv_stock_close(&stock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reel");
    TCase *tc = tcase_create("reel");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, same_reel);
    tcase_add_test(tc, draws);
    tcase_add_test(tc, parts);
    tcase_add_loop_test(tc, effects, 0, LV_FX_NB);
    tcase_add_test(tc, fields);
    tcase_add_test(tc, captions);
    tcase_add_test(tc, plain_captions);
    tcase_add_loop_test(tc, plural, 0, LV_COUNT(plurals));
    tcase_add_test(tc, names);
    tcase_add_test(tc, words);
    tcase_add_test(tc, refused);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
