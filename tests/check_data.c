/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of what models are trained on: scenes, captions, pictures; of what is measured
 * in clips; of tokenizer training. Run from the top folder.
 */

#include <check.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"
#include "model/config.h"
#include "model/tokenizer.h"
#include "train/clips/caption.h"
#include "train/clips/render.h"
#include "train/clips/shape.h"
#include "train/measure/evaluate.h"
#include "train/measure/frechet.h"
#include "train/measure/measure.h"
#include "train/pretrain/spm_train.h"
#include "train/run/codec.h"

#define PROMPTS "samples/prompts.txt"

enum { WIDTH = 192, HEIGHT = 112, FRAMES = 17, RATE = 8, DRAWS = 6000 };
enum { FRAME = 3 * WIDTH * HEIGHT, CLIP = FRAME * FRAMES };

static float *new_clip(void)
{
    float *rgb = malloc(sizeof(*rgb) * CLIP);

    ck_assert_ptr_nonnull(rgb);
    return rgb;
}

/* Scenes */

START_TEST(test_same_scene)
{
    float *a = new_clip(), *b = new_clip();
    LvScene s, t;

    for (uint64_t i = 0; i < 40; i++) {
        lv_scene_draw(&s, 5, i, 0);
        lv_scene_draw(&t, 5, i, 0);
        ck_assert_int_eq(memcmp(&s, &t, sizeof(s)), 0);
        lv_render(&s, WIDTH, HEIGHT, FRAMES, RATE, a);
        lv_render(&t, WIDTH, HEIGHT, FRAMES, RATE, b);
        ck_assert_int_eq(memcmp(a, b, sizeof(*a) * CLIP), 0);
        lv_scene_draw(&t, 5, i + 1, 0);
        ck_assert_int_ne(memcmp(&s, &t, sizeof(s)), 0);
        lv_scene_draw(&t, 6 + ((uint64_t)1 << 40), i, 0);
        ck_assert_int_ne(memcmp(&s, &t, sizeof(s)), 0);
    }
    free(a);
    free(b);
}
END_TEST

/* Every value occurs, in training and in what is held out; nothing occurs in both. */
START_TEST(test_draws)
{
    int kinds[LV_SCENE_NB] = { 0 }, shapes[LV_SHAPE_NB] = { 0 };
    int motions[LV_MOTION_NB] = { 0 }, sizes[LV_SIZE_NB] = { 0 };
    int colors[LV_COLOR_NB] = { 0 }, backs[LV_COLOR_NB] = { 0 };
    int patterns[LV_PATTERN_NB] = { 0 }, sides[LV_SIDE_NB] = { 0 };

    for (int i = 0; i < DRAWS; i++) {
        LvScene s;

        lv_scene_draw(&s, 1, i, _i);
        ck_assert_int_eq(lv_scene_held_out(&s), _i);
        ck_assert(s.kind == LV_SCENE_CONFETTI ||
                  lv_scene_contrasts(s.color, s.pattern, s.back, s.back2));
        kinds[s.kind]++;
        shapes[s.shape]    += s.kind == LV_SCENE_OBJECT;
        motions[s.motion]  += s.kind == LV_SCENE_OBJECT;
        sizes[s.size]      += s.kind == LV_SCENE_OBJECT;
        sides[s.side]      += s.kind == LV_SCENE_WIPE;
        colors[s.color]    += s.kind != LV_SCENE_CONFETTI;
        backs[s.back]++;
        patterns[s.pattern]++;
    }
    ck_assert_int_gt(kinds[LV_SCENE_OBJECT], DRAWS * 70 / 100);
    ck_assert_int_lt(kinds[LV_SCENE_OBJECT], DRAWS * 80 / 100);
    for (int i = 1; i < LV_SCENE_NB; i++)
        ck_assert_int_gt(kinds[i], DRAWS / 100);
    for (int i = 0; i < LV_SHAPE_NB; i++)
        ck_assert_int_gt(shapes[i], DRAWS / 20);
    for (int i = 0; i < LV_MOTION_NB; i++)
        ck_assert_int_gt(motions[i], DRAWS / 30);
    for (int i = 0; i < LV_SIZE_NB; i++)
        ck_assert_int_gt(sizes[i], DRAWS / 6);
    for (int i = 0; i < LV_COLOR_NB; i++)
        ck_assert(colors[i] > DRAWS / 40 && backs[i] > DRAWS / 40);
    for (int i = 0; i < LV_PATTERN_NB; i++)
        ck_assert_int_gt(patterns[i], DRAWS / 30);
    for (int i = 0; i < LV_SIDE_NB; i++)
        ck_assert_int_gt(sides[i], 0);
}
END_TEST

START_TEST(test_held_out_share)
{
    LvScene s = { .kind = LV_SCENE_OBJECT };
    int held = 0, all = 0;

    for (int i = 0; i < LV_SHAPE_NB * LV_MOTION_NB * LV_COLOR_NB * LV_COLOR_NB; i++) {
        s.shape  = i % LV_SHAPE_NB;
        s.motion = i / LV_SHAPE_NB % LV_MOTION_NB;
        s.color  = i / LV_SHAPE_NB / LV_MOTION_NB % LV_COLOR_NB;
        s.back   = i / LV_SHAPE_NB / LV_MOTION_NB / LV_COLOR_NB;
        s.back2  = s.back;
        held += lv_scene_held_out(&s);
        all++;
        s.x = 0.5f;
        s.size = LV_LARGE;
        held -= lv_scene_held_out(&s);
        s.x = 0;
        s.size = LV_SMALL;
        held += lv_scene_held_out(&s);
    }
    ck_assert_int_gt(held, all / 16 * 9 / 10);
    ck_assert_int_lt(held, all / 16 * 11 / 10);
}
END_TEST

START_TEST(test_palette)
{
    for (int a = 0; a < LV_COLOR_NB; a++) {
        ck_assert_int_eq(lv_color_nearest(lv_color_rgb(a)), a);
        for (int b = 0; b < a; b++)
            ck_assert_msg(lv_color_distance(lv_color_rgb(a), lv_color_rgb(b)) > 0.169,
                          "%s and %s: %g", lv_color_name(a), lv_color_name(b),
                          lv_color_distance(lv_color_rgb(a), lv_color_rgb(b)));
    }
}
END_TEST

/* Captions */

static int count_words(const char *text)
{
    int n = 0;

    for (int i = 0; text[i]; i++)
        n += text[i] != ' ' && (!i || text[i - 1] == ' ');
    return n;
}

/* A word with "a" before a vowel, or "an" before none, or two blanks. */
static int has_flaw(const char *text)
{
    for (const char *c = text; *c; c++) {
        int starts = c == text || c[-1] == ' ';

        if ((*c == ' ' && c[1] == ' ') || c[0] & 0x80 || (c != text && isupper(*c)))
            return 1;
        if (starts && tolower(*c) == 'a' && c[1] == ' ' && strchr("aeiou", c[2]))
            return 1;
        if (starts && tolower(*c) == 'a' && c[1] == 'n' && c[2] == ' ' &&
            !strchr("aeiou", c[3]))
            return 1;
    }
    return *text == ' ' || !*text || text[strlen(text) - 1] == ' ';
}

START_TEST(test_captions)
{
    int different = 0;

    for (int i = 0; i < DRAWS; i++) {
        char a[LV_CAPTION_SIZE], b[LV_CAPTION_SIZE];
        LvScene s;

        lv_scene_draw(&s, 2, i, 0);
        lv_caption_write(a, sizeof(a), &s, 2, i);
        lv_caption_write(b, sizeof(b), &s, 2, i);
        ck_assert_str_eq(a, b);
        ck_assert_msg(count_words(a) <= LV_CAPTION_WORDS && !has_flaw(a), "%s", a);
        lv_caption_plain(b, sizeof(b), &s);
        ck_assert_msg(count_words(b) <= LV_CAPTION_WORDS && !has_flaw(b), "%s", b);
        different += strcmp(a, b) != 0;
        lv_caption_write(b, 12, &s, 2, i);
        ck_assert_uint_le(strlen(b), 11);
    }
    ck_assert_int_gt(different, DRAWS / 2);
}
END_TEST

/* Whether a word, which may be parted by a hyphen, is in a text of words. */
static int has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = text; (at = strstr(at, word)); at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) &&
            !isalnum((unsigned char)at[n]))
            return 1;
    return 0;
}

/* The list of words has all that captions have, each once, and fits into a model. */
START_TEST(test_words_of_captions)
{
    char words[LV_MAX_WORDS] = " ", caption[LV_CAPTION_SIZE], word[64];
    LvScene s;

    ck_assert_int_gt(lv_caption_words(words + 1, sizeof(words) - 2), 0);
    ck_assert_int_eq(lv_caption_words(caption, 10), -1);
    strcat(words, " ");
    for (uint64_t i = 0; i < DRAWS; i++) {
        lv_scene_draw(&s, 3, i, 0);
        lv_caption_write(caption, sizeof(caption), &s, 3, i);
        for (char *c = caption; *c; c++)
            *c = isalpha((unsigned char)*c) ? (char)tolower((unsigned char)*c) : ' ';
        for (char *c = strtok(caption, " "); c; c = strtok(NULL, " ")) {
            snprintf(word, sizeof(word), " %s ", c);
            ck_assert_msg(strstr(words, word), "no '%s' in: %s", word, words);
            ck_assert_ptr_null(strstr(strstr(words, word) + 1, word));
        }
    }
}
END_TEST

/* What people were told to type is made of words that captions have. */
START_TEST(test_prompts)
{
    enum { CAPTIONS = 4000 };
    char *all = calloc(CAPTIONS, LV_CAPTION_SIZE), line[LV_CAPTION_SIZE];
    FILE *in = fopen(PROMPTS, "r");
    size_t used = 0;
    LvScene s;

    ck_assert_ptr_nonnull(in);
    for (int i = 0; i < CAPTIONS; i++) {
        lv_scene_draw(&s, 1, (uint64_t)i, 0);
        lv_caption_write(all + used, LV_CAPTION_SIZE, &s, 1, (uint64_t)i);
        used += strlen(all + used);
        all[used++] = ' ';
    }
    ck_assert(has_word(all, "bouncing") && !has_word(all, "bouncin"));
    while (fgets(line, sizeof(line), in))
        for (char *w = strtok(line, " ,\n"); w; w = strtok(NULL, " ,\n"))
            ck_assert_msg(has_word(all, w), "%s", w);
    fclose(in);
    free(all);
}
END_TEST

/* Pictures */

/* Share of n x n points of a pixel that lie in the shape. */
static double sample(const LvScene *s, const LvPose *o, int x, int y, int n)
{
    int inside = 0;

    for (int i = 0; i < n * n; i++) {
        double px = x + (i % n + 0.5) / n - 0.5 * WIDTH - o->x * HEIGHT;
        double py = y + (i / n + 0.5) / n - 0.5 * HEIGHT - o->y * HEIGHT;
        double c = cos(o->angle), d = sin(o->angle), r = o->radius * HEIGHT;

        inside += lv_shape_distance(s->shape, (c * px + d * py) / o->squash / r,
                                    (c * py - d * px) / r) < 0;
    }
    return (double)inside / (n * n);
}

/* Antialiasing is no worse than 4x4 samples a pixel, the truth being 24x24. */
START_TEST(test_antialiasing)
{
    float *rgb = new_clip(), black = lv_color_rgb(LV_BLACK)[0];
    double range = lv_color_rgb(LV_WHITE)[0] - black, ours = 0, theirs = 0, worst = 0;

    for (int k = 0; k < 6; k++) {
        LvScene s = { .shape = _i, .size = k % LV_SIZE_NB, .color = LV_WHITE,
                      .motion = k < 3 ? LV_STILL : LV_SPINNING, .back = LV_BLACK,
                      .back2 = LV_BLACK, .x = 0.31f, .y = 0.17f, .phase = 0.13f,
                      .turn = 1 };
        LvPose o = lv_scene_pose(&s, WIDTH, HEIGHT, (LvClock) { 0, 0 });

        lv_render(&s, WIDTH, HEIGHT, 1, RATE, rgb);
        for (int i = 0; i < WIDTH * HEIGHT; i++) {
            double got = (rgb[3 * i] - black) / range, want;

            want = sample(&s, &o, i % WIDTH, i / WIDTH, 6);
            if (want > 0 && want < 1) {
                double coarse = sample(&s, &o, i % WIDTH, i / WIDTH, 4);

                want = sample(&s, &o, i % WIDTH, i / WIDTH, 24);
                ours   += (got - want) * (got - want);
                theirs += (coarse - want) * (coarse - want);
            }
            worst = LV_MAX(worst, fabs(got - want));
        }
    }
    ck_assert_double_lt(worst, 0.25);
    ck_assert_msg(ours <= theirs, "%s: %g and %g", lv_shape_name(_i), ours, theirs);
    free(rgb);
}
END_TEST

/* Outlines lie within their extent, and reach it. */
START_TEST(test_extent)
{
    for (int s = 0; s < LV_SHAPE_NB; s++) {
        double farthest = 0;

        for (int i = 0; i < 400 * 400; i++) {
            float x = (i % 400 - 199.5f) / 125, y = (i / 400 - 199.5f) / 125;

            if (lv_shape_distance(s, x, y) < 0)
                farthest = LV_MAX(farthest, hypot(x, y));
        }
        ck_assert_double_le(farthest, lv_shape_extent(s) + 1e-4);
        ck_assert_double_gt(farthest, lv_shape_extent(s) - 0.04);
    }
}
END_TEST

/* Objects stay in the picture and below a twelfth of its width a frame. */
START_TEST(test_motion_limits)
{
    for (int i = 0; i < 3000; i++) {
        LvPose last = { 0 };
        LvScene s;

        lv_scene_draw(&s, 4, i, 0);
        for (int f = 0; f < FRAMES && s.kind == LV_SCENE_OBJECT; f++) {
            LvClock at = { f / (float)RATE, f / (FRAMES - 1.0f) };
            LvPose o = lv_scene_pose(&s, WIDTH, HEIGHT, at);
            double reach = 0.8 * o.radius * lv_shape_extent(s.shape);

            ck_assert_double_le(fabs(o.x) + reach, 0.5 * WIDTH / HEIGHT + 0.02);
            ck_assert_double_le(fabs(o.y) + reach, 0.5 + 0.02);
            if (f)
                ck_assert_double_le(hypot(o.x - last.x, o.y - last.y) * HEIGHT,
                                    WIDTH / 12.0);
            last = o;
        }
    }
}
END_TEST

/* Any size and length, values in range. */
START_TEST(test_sizes)
{
    static const int size[][3] = {
        { 1, 1, 1 }, { 16, 64, 3 }, { 37, 23, 2 }, { 64, 64, 5 },
    };
    const int *n = size[_i];
    float *rgb = new_clip();
    int bad = 0;

    for (int i = 0; i < 300; i++) {
        LvScene s;

        lv_scene_draw(&s, 9, i, 0);
        lv_render(&s, n[0], n[1], n[2], 24, rgb);
        for (int k = 0; k < 3 * n[0] * n[1] * n[2]; k++)
            bad += !(rgb[k] >= -1e-6f && rgb[k] <= 1 + 1e-6f);
    }
    ck_assert_int_eq(bad, 0);
    free(rgb);
}
END_TEST

/* Measurement */

START_TEST(test_measure)
{
    enum { CLIPS = 60 };
    float *rgb = new_clip(), *room = new_clip(), *clean = new_clip();
    int right[2][4] = { { 0 } };
    LvMeasure *m;

    ck_assert_int_eq(lv_measure_new(&m, WIDTH, HEIGHT, FRAMES, RATE), 0);
    for (int i = 0; i < CLIPS; i++) {
        LvMeasured found;
        double psnr;
        LvScene s;

        lv_scene_draw(&s, 11, i, 1);
        lv_render(&s, WIDTH, HEIGHT, FRAMES, RATE, clean);
        memcpy(rgb, clean, sizeof(*rgb) * CLIP);
        for (int k = 0; k < 2; k++) {
            lv_measure_clip(m, rgb, &found);
            for (int b = 0; b < 4; b++)
                right[k][b] += lv_measure_matches(&found, &s) >> b & 1;
            if (!k)
                lv_measure_degrade(rgb, room, WIDTH, HEIGHT, FRAMES, i);
        }
        psnr = lv_measure_psnr(clean, rgb, CLIP);
        ck_assert(psnr > 22 && psnr < 29);
    }
    for (int b = 0; b < 4; b++) {
        ck_assert_int_ge(right[0][b], CLIPS - 1);
        ck_assert_int_ge(right[1][b], CLIPS * 95 / 100);
    }
    lv_measure_free(&m);
    ck_assert_ptr_null(m);
    free(rgb);
    free(room);
    free(clean);
}
END_TEST

/* Noise and nothing at all are measured as well. */
START_TEST(test_measure_odd)
{
    enum { N = 3 * 33 * 40 * 5 };
    static float rgb[N];
    LvMeasured found;
    LvMeasure *m;

    ck_assert_int_eq(lv_measure_new(&m, 33, 40, 5, 24), 0);
    lv_measure_clip(m, rgb, &found);
    ck_assert_int_eq(found.back, LV_BLACK);
    lv_philox_normal(rgb, N, 1, 0);
    lv_measure_clip(m, rgb, &found);
    ck_assert(found.kind >= 0 && found.kind < LV_SCENE_NB);
    lv_measure_free(&m);
}
END_TEST

START_TEST(test_flicker)
{
    const float clip[] = { 0, 0, 0.5f, 0, 0.5f, 1 };
    const float other[] = { 0, 0, 0.4f, 0, 0.5f, 1 };
    const unsigned char bytes[] = { 0, 51, 255 };
    LvFlicker f = lv_measure_flicker(clip, 3, 2);
    float values[3];

    ck_assert_double_eq_tol(f.d1, sqrt((0.25 + 1) / 4), 1e-7);
    ck_assert_double_eq_tol(f.d2, sqrt((0.25 + 1) / 2), 1e-7);
    ck_assert_double_eq_tol(f.index, 2, 1e-7);
    f = lv_measure_flicker(clip, 1, 6);
    ck_assert(f.d1 == 0 && f.d2 == 0 && f.index == 0);
    ck_assert_double_eq_tol(lv_measure_psnr(clip, other, 6), 10 * log10(600), 1e-4);
    ck_assert(isinf(lv_measure_psnr(clip, clip, 6)));
    lv_measure_from_u8(values, bytes, 3);
    ck_assert(values[0] == 0 && fabsf(values[1] - 0.2f) < 1e-6f && values[2] == 1);
}
END_TEST

/* Evaluation */

#define MODEL "samples/motion.safetensors"

START_TEST(test_codec_clip)
{
    const float want[] = { 1, 2, 1, 2, 1, 2, 3, 4 }, y[] = { -1, 0.5f, 2 };
    const float x[] = { 0, 0, 1 };
    float rgb[] = { 0, 0, 0, 0, 1, 2, 3, 4 };

    lv_codec_repeat(rgb, 2, 2);
    ck_assert_int_eq(memcmp(rgb, want, sizeof(rgb)), 0);
    ck_assert_double_eq_tol(lv_codec_error(x, y, 3), 0.25 / 3, 1e-9);
}
END_TEST

START_TEST(test_measured_text)
{
    static const LvMeasured found[] = {
        { .shape = LV_STAR, .motion = LV_UP, .color = LV_BLACK, .pattern = LV_SHADED },
        { .kind = LV_SCENE_WIPE, .side = LV_FROM_TOP, .pattern = LV_BLEND },
    };
    char text[LV_CAPTION_SIZE], want[LV_CAPTION_SIZE];

    snprintf(want, sizeof(want), "black star %s on %s %s", lv_motion_name(LV_UP),
             lv_pattern_name(LV_SHADED), lv_color_name(0));
    lv_measured_text(text, sizeof(text), &found[0]);
    ck_assert_str_eq(text, want);
    lv_measured_text(text, sizeof(text), &found[1]);
    ck_assert_ptr_nonnull(strstr(text, " wipe from top on "));
    ck_assert_ptr_nonnull(strstr(text, " to "));
}
END_TEST

/* A model that makes what is asked for does as well as the data. */
START_TEST(test_evaluation)
{
    enum { N = 4 };
    LvEvalResult r[LV_EVAL_SOURCES];
    const LvVideoConfig *v;
    LvEvaluation *e;
    LvDevice *dev;
    float *rgb;

    ck_assert_int_eq(lv_device_open(&dev, "cpu", &(LvDeviceOptions) { 0 }, NULL), 0);
    ck_assert_int_eq(lv_evaluation_new(&e, MODEL, 1, N, LV_F32, dev, NULL), 0);
    v   = lv_evaluation_video(e);
    rgb = malloc(sizeof(*rgb) * 3 * v->frames * v->height * v->width);
    for (int i = 0; i < N; i++) {
        LvMeasured found;
        LvScene s, given;
        int bits;

        lv_scene_draw(&s, 1, i, 1);
        lv_render(&s, v->width, v->height, v->frames, (double)v->rate_num / v->rate_den,
                  rgb);
        bits = lv_evaluation_clip(e, rgb, &given, &found);
        ck_assert_int_eq(bits, lv_measure_matches(&found, &s));
        ck_assert_int_eq(memcmp(&s, &given, sizeof(s)), 0);
    }
    ck_assert_int_eq(lv_evaluation_finish(e, r), 0);
    ck_assert_int_eq(memcmp(&r[LV_EVAL_MADE], &r[LV_EVAL_DATA], sizeof(*r)), 0);
    ck_assert_int_eq(r[LV_EVAL_DATA].score.clips[0] + r[LV_EVAL_DATA].score.clips[1], N);
    ck_assert(r[LV_EVAL_CODEC].psnr > 15 && isfinite(r[LV_EVAL_CODEC].psnr));
    ck_assert(r[LV_EVAL_DATA].frechet > 0 && r[LV_EVAL_DATA].flicker > 0);
    lv_evaluation_free(&e);
    ck_assert_ptr_null(e);
    ck_assert_int_lt(lv_evaluation_new(&e, PROMPTS, 1, N, LV_F32, dev, NULL), 0);
    ck_assert_ptr_null(e);
    lv_device_close(&dev);
    free(rgb);
}
END_TEST

/* Frechet distance */

/* Correlated normal vectors. */
static void fill(float *x, int n, int dim, uint64_t stream)
{
    lv_philox_normal(x, (size_t)n * dim, 3, stream);
    for (int i = 0; i < n; i++, x += dim)
        for (int k = 1; k < dim; k++)
            x[k] = 0.6f * x[k - 1] + x[k] * (1 + 0.1f * k);
}

START_TEST(test_frechet)
{
    enum { N = 90, DIM = 12 };
    float a[N * DIM], b[N * DIM];
    double same, ab, ba;

    fill(a, N, DIM, 1);
    fill(b, N, DIM, 2);
    ck_assert_int_eq(lv_frechet(a, N, a, N, DIM, &same), 0);
    ck_assert_double_lt(same, 1e-9);
    ck_assert_int_eq(lv_frechet(a, N, b, N, DIM, &ab), 0);
    ck_assert_int_eq(lv_frechet(b, N, a, N, DIM, &ba), 0);
    ck_assert_double_gt(ab, 0.01);
    ck_assert_double_eq_tol(ab, ba, 1e-9 * ab);
    for (int i = 0; i < N * DIM; i++)
        b[i] = a[i] + 0.5f * (i % DIM == 3);
    lv_frechet(a, N, b, N, DIM, &ab);
    ck_assert_double_eq_tol(ab, 0.25, 1e-5);
    for (int i = 0; i < N * DIM; i++)
        b[i] = 2 * a[i];
    lv_frechet(b, N, a, N, DIM, &ab);
    ck_assert_double_gt(ab, 1);
    ck_assert_int_eq(lv_frechet(a, 2, b, 2, DIM, &ab), 0);
    ck_assert(isfinite(ab));
}
END_TEST

/* In one dimension it is (m1 - m2)^2 + (s1 - s2)^2. */
START_TEST(test_frechet_line)
{
    const float a[] = { 1, 2, 3, 4 }, b[] = { 2, 6, 10, 14 };
    double d, s = sqrt(5 / 3.0);

    ck_assert_int_eq(lv_frechet(a, 4, b, 4, 1, &d), 0);
    ck_assert_double_eq_tol(d, 5.5 * 5.5 + 9 * s * s, 1e-9);
}
END_TEST

START_TEST(test_features)
{
    float *rgb = new_clip(), a[LV_FEATURES], b[LV_FEATURES];
    LvFeatureNet *net, *again;
    double d = 0, seconds;
    LvScene s;

    ck_assert_int_eq(lv_features_new(&net, 0, WIDTH, HEIGHT, FRAMES), 0);
    ck_assert_int_eq(lv_features_new(&again, 0, WIDTH, HEIGHT, FRAMES), 0);
    lv_scene_draw(&s, 1, 1, 0);
    lv_render(&s, WIDTH, HEIGHT, FRAMES, RATE, rgb);
    seconds = lv_seconds();
    lv_features_clip(net, rgb, a);
    seconds = lv_seconds() - seconds;
    lv_features_clip(again, rgb, b);
    ck_assert_int_eq(memcmp(a, b, sizeof(a)), 0);
    ck_assert_double_lt(seconds, 1);
    lv_scene_draw(&s, 1, 2, 0);
    lv_render(&s, WIDTH, HEIGHT, FRAMES, RATE, rgb);
    lv_features_clip(net, rgb, b);
    for (int i = 0; i < LV_FEATURES; i++) {
        ck_assert(isfinite(a[i]) && (i < LV_FEATURES / 2 || a[i] >= 0));
        d += fabs(a[i] - b[i]);
    }
    ck_assert_double_gt(d, 0.1);
    lv_features_free(&net);
    lv_features_free(&again);
    free(rgb);
}
END_TEST

/* Tokenizer */

enum { TEXTS = 1500, VOCAB = 400 };

static char texts[TEXTS][LV_CAPTION_SIZE];
static const char *text_list[TEXTS];

static void write_texts(void)
{
    for (int i = 0; i < TEXTS; i++) {
        LvScene s;

        lv_scene_draw(&s, 0, i, 0);
        lv_caption_write(texts[i], sizeof(texts[i]), &s, 0, i);
        text_list[i] = texts[i];
    }
}

START_TEST(test_tokenizer)
{
    static const char *const free_texts[] = {
        "A giraffe, quickly dancing through Paris at 7 o'clock!", "\xC3\xA9t\xC3\xA9",
        "\xE6\x97\xA5\xE6\x9C\xAC", "#@~ <x> 100%",
    };
    int32_t ids[256], other[256];
    void *data, *again;
    size_t size, size2;
    LvTokenizer *t;

    write_texts();
    ck_assert_int_eq(lv_spm_train(text_list, TEXTS, VOCAB, &data, &size, NULL), 0);
    ck_assert_int_eq(lv_spm_train(text_list, TEXTS, VOCAB, &again, &size2, NULL), 0);
    ck_assert(size == size2 && !memcmp(data, again, size));
    ck_assert_int_eq(lv_tokenizer_open(&t, data, size, NULL), 0);
    ck_assert_int_gt(lv_tokenizer_size(t), 300);
    ck_assert_int_le(lv_tokenizer_size(t), VOCAB);
    for (int i = 0; i < 200; i++) {
        int n = lv_tokenizer_encode(t, texts[i], ids, 256, NULL);

        ck_assert(n > 3 && n < 50 && ids[n - 1] == 1);
        for (int k = 0; k < n; k++)
            ck_assert(ids[k] != 0 && ids[k] != 2 && ids[k] < lv_tokenizer_size(t));
        for (char *c = texts[i]; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        ck_assert_int_eq(lv_tokenizer_encode(t, texts[i], other, 256, NULL), n);
        ck_assert_int_eq(memcmp(ids, other, n * sizeof(*ids)), 0);
    }
    for (int i = 0; i < LV_COUNT(free_texts); i++) {
        int n = lv_tokenizer_encode(t, free_texts[i], ids, 256, NULL);

        ck_assert_int_gt(n, 2);
        for (int k = 0; k < n; k++)
            ck_assert_int_ne(ids[k], 2);
    }
    lv_tokenizer_close(&t);
    free(data);
    free(again);
}
END_TEST

static void keep_line(void *opaque, int level, const char *line)
{
    (void)level;
    snprintf(opaque, 256, "%s", line);
}

START_TEST(test_tokenizer_errors)
{
    char line[256] = "";
    const LvMsg msg = { keep_line, line, LV_MSG_ERROR };
    void *data = line;
    size_t size;

    ck_assert_int_lt(lv_spm_train(text_list, 0, VOCAB, &data, &size, &msg), 0);
    ck_assert_ptr_null(data);
    ck_assert_msg(!strncmp(line, "tokenizer: ", 11), "%s", line);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    return tc;
}

static void add_making(Suite *suite)
{
    TCase *tc = add_case(suite, "scenes");

    tcase_add_test(tc, test_same_scene);
    tcase_add_loop_test(tc, test_draws, 0, 2);
    tcase_add_test(tc, test_held_out_share);
    tcase_add_test(tc, test_palette);
    tc = add_case(suite, "captions");
    tcase_add_test(tc, test_captions);
    tcase_add_test(tc, test_words_of_captions);
    tcase_add_test(tc, test_prompts);
    tc = add_case(suite, "pictures");
    tcase_add_loop_test(tc, test_antialiasing, 0, LV_SHAPE_NB);
    tcase_add_test(tc, test_extent);
    tcase_add_test(tc, test_motion_limits);
    tcase_add_loop_test(tc, test_sizes, 0, 4);
}

static void add_measuring(Suite *suite)
{
    TCase *tc = add_case(suite, "measurement");

    tcase_add_test(tc, test_measure);
    tcase_add_test(tc, test_measure_odd);
    tcase_add_test(tc, test_flicker);
    tc = add_case(suite, "evaluation");
    tcase_add_test(tc, test_codec_clip);
    tcase_add_test(tc, test_measured_text);
    tcase_add_test(tc, test_evaluation);
    tc = add_case(suite, "frechet");
    tcase_add_test(tc, test_frechet);
    tcase_add_test(tc, test_frechet_line);
    tcase_add_test(tc, test_features);
    tc = add_case(suite, "tokenizer");
    tcase_add_test(tc, test_tokenizer);
    tcase_add_test(tc, test_tokenizer_errors);
}

int main(void)
{
    Suite *suite = suite_create("data");
    SRunner *runner = srunner_create(suite);
    int failed;

    add_making(suite);
    add_measuring(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
