/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What steers sampling, and what makes it cheaper: guidance for a part of the steps, step
 * caching.
 */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api_kit.h"

enum { MAX_STEPS = 24 };

/* Layers that each step ran, of all branches; of those it did not, 0. */
static void count_layers(const Watch *w, int layers[MAX_STEPS])
{
    memset(layers, 0, MAX_STEPS * sizeof(*layers));
    ck_assert_int_le(w->steps, KIT_STEPS);
    for (int i = 0; i < w->steps; i++)
        if (w->step[i].stage == LINVIDEO_STAGE_DENOISE && w->step[i].layer)
            layers[w->step[i].step]++;
}

static int count(const char *text, const char *part)
{
    int n = 0;

    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

/* Guidance */

static LinvideoParams guided(Watch *w, int steps, float start, float end)
{
    LinvideoParams p = kit_params(w);

    p.steps          = steps;
    p.guidance       = 3;
    p.guidance_start = start;
    p.guidance_end   = end;
    return p;
}

static const struct {
    int steps;
    float start, end;
    const char *runs; ///< of the network, at each step
} ranges[] = {
    { 4, 0, 0, "2222" },
    { 4, 0, 1, "2222" },
    { 4, 0, 0.5f, "2211" },
    { 4, 0.5f, 0, "1122" },
    { 5, 0.2f, 0.6f, "12211" },
    { 3, 0, 0.01f, NULL },
    { 4, 0.5f, 0.5f, NULL },
    { 4, 1, 0, NULL },
    { 2, 0.75f, 0.3f, NULL },
};

START_TEST(guidance_in_a_range)
{
    const char *const parts[] = { "no step of", "guidance_start", NULL };
    Watch w;
    LinvideoParams p = guided(&w, ranges[_i].steps, ranges[_i].start, ranges[_i].end);
    int layers[MAX_STEPS];
    Video v;

    if (!ranges[_i].runs) {
        kit_refused(&p, &w, -EINVAL, parts);
        return;
    }
    v = kit_make(&p);
    count_layers(&w, layers);
    for (int i = 0; i < p.steps; i++)
        ck_assert_msg(layers[i] == v.info.layers * (ranges[_i].runs[i] - '0'),
                      "step %d: %d layers", i, layers[i]);
    ck_assert_int_eq(w.lines[LINVIDEO_LOG_WARNING], 0);
    kit_free(&v);
}
END_TEST

/* Steps outside are those of guidance off, steps inside those of guidance on. */
START_TEST(guidance_by_halves)
{
    Video v[4];
    Watch w;

    for (int i = 0; i < 4; i++) {
        LinvideoParams p = guided(&w, 4, i == 2 ? 0.5f : 0, i == 1 ? 0.5f : 0);

        if (i == 3)
            p.guidance = 1;
        v[i] = kit_make(&p);
        for (int k = 0; k < i; k++)
            ck_assert(!kit_equal(&v[k], &v[i]));
    }
    for (int i = 0; i < 4; i++)
        kit_free(&v[i]);
}
END_TEST

/* Normalised attention guidance */

static LinvideoParams away(Watch *w, float nag, const char *negative)
{
    LinvideoParams p = kit_params(w);

    p.nag             = nag;
    p.negative_prompt = negative;
    p.precision       = LINVIDEO_PRECISION_F32;
    return p;
}

/* A scale of 1, or the prompt itself as the negative one, changes nothing; another one does, each
 * in its own way, and only that of nag. */
START_TEST(nag_guides)
{
    static const struct {
        float nag;
        const char *negative;
        int as; ///< which of those before it is the same as; -1: none
    } runs[] = {
        { 0, "a small red square", -1 },
        { 1, "a small red square", 0 },
        { 11, KIT_PROMPT, 0 },
        { 11, "a small red square", -1 },
        { 11, "a yellow star", -1 },
        { 5, "a yellow star", -1 },
    };
    Video v[LV_COUNT(runs)];
    Watch w;

    for (int i = 0; i < LV_COUNT(runs); i++) {
        LinvideoParams p = away(&w, runs[i].nag, runs[i].negative);

        v[i] = kit_make(&p);
        ck_assert_int_eq(w.lines[LINVIDEO_LOG_WARNING], !i);
        for (int k = 0; k < i; k++)
            ck_assert_msg(kit_equal(&v[k], &v[i]) ==
                          (k == runs[i].as || (runs[i].as >= 0 && runs[k].as == runs[i].as)),
                          "%d and %d", k, i);
    }
    for (int i = 0; i < LV_COUNT(runs); i++)
        kit_free(&v[i]);
}
END_TEST

/* A context that goes on with other prompts is as a new one; tau and alpha count. */
START_TEST(nag_restarts)
{
    Watch w;
    LinvideoParams p = away(&w, 11, "a yellow star");
    LinvideoContext *c = kit_open(&p);
    Video a = kit_video(c, (int)p.format), b;

    while (!kit_next(&a, c))
        ;
    kit_free(&a);
    p.negative_prompt = "a small red square";
    p.prompt          = "a large blue ring";
    ck_assert_int_eq(linvideo_restart(c, &p), 0);
    a = kit_video(c, (int)p.format);
    while (!kit_next(&a, c))
        ;
    linvideo_close(&c);
    b = kit_make(&p);
    ck_assert(kit_equal(&a, &b));
    kit_free(&b);
    p.nag_tau = 1.1f;
    b = kit_make(&p);
    ck_assert(!kit_equal(&a, &b));
    kit_free(&b);
    p.nag_tau   = 0;
    p.nag_alpha = 0.5f;
    b = kit_make(&p);
    ck_assert(!kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

START_TEST(nag_without_effect)
{
    static const char *const said[] = {
        "nag: it is not used with guidance above 1", "nag_tau, nag_alpha: they are not used",
    };
    Watch w;
    LinvideoParams p = away(&w, _i ? 0 : 11, NULL);
    LinvideoContext *c;

    p.log_level = LINVIDEO_LOG_WARNING;
    p.guidance  = _i ? 1 : 3;
    p.nag_tau   = _i ? 2 : 0;
    c = kit_open(&p);
    ck_assert_msg(w.lines[LINVIDEO_LOG_WARNING] == 1 && strstr(w.all, said[_i]), "%s", w.all);
    linvideo_close(&c);
}
END_TEST

/* Step caching */

static LinvideoParams cached(Watch *w, float limit)
{
    LinvideoParams p = kit_params(w);

    p.steps    = 20;
    p.guidance = 3;
    p.cache    = limit;
    return p;
}

/* Steps that ran nothing are those that the log counts: neither the first four nor the last. */
START_TEST(cache_saves)
{
    static const int samplers[] = { LINVIDEO_SAMPLER_EULER, LINVIDEO_SAMPLER_UNIPC,
                                    LINVIDEO_SAMPLER_DPMPP };
    int layers[MAX_STEPS], skipped = 0;
    char line[128];
    Watch w;
    LinvideoParams p = cached(&w, 0.2f);
    Video v;

    p.sampler = (enum LinvideoSampler)samplers[_i];
    v = kit_make(&p);
    count_layers(&w, layers);
    for (int i = 0; i < p.steps; i++) {
        ck_assert(layers[i] == 0 || layers[i] == 2 * v.info.layers);
        ck_assert(layers[i] || (i >= 4 && i < p.steps - 1));
        skipped += !layers[i];
    }
    ck_assert_int_ge(skipped, 4);
    snprintf(line, sizeof(line), "cache: %d of 20 steps were taken without the network: %d of 40 "
             "runs of it were saved\n", skipped, 2 * skipped);
    ck_assert_msg(count(w.all, line) == 1, "no %s in: %s", line, w.all);
    kit_free(&v);
}
END_TEST

/* One branch, outside of the range of guidance: there is less to save. */
START_TEST(cache_with_a_range)
{
    int layers[MAX_STEPS], runs = 0;
    char line[64];
    Watch w;
    LinvideoParams p = cached(&w, 0.2f);
    Video v;

    p.guidance_end = 0.5f;
    v = kit_make(&p);
    count_layers(&w, layers);
    for (int i = 0; i < p.steps; i++) {
        ck_assert(layers[i] == 0 || layers[i] == (i < 10 ? 2 : 1) * v.info.layers);
        runs += layers[i] / v.info.layers;
    }
    snprintf(line, sizeof(line), "%d of 30 runs of it were saved\n", 30 - runs);
    ck_assert_msg(strstr(w.all, line), "no %s in: %s", line, w.all);
    kit_free(&v);
}
END_TEST

/* Frames are the same for any number of threads, in a context that goes on and in a new one;
 * they are not those without it, but for a limit that nothing stays below. */
START_TEST(cache_is_the_same)
{
    Watch w;
    LinvideoParams p = cached(&w, 0.2f);
    LinvideoContext *c;
    Video a, b;

    p.clip_frames = 5;
    p.frames      = 10;
    p.threads     = 1;
    a = kit_make(&p);
    ck_assert_int_eq(count(w.all, "cache: "), 2);
    p.threads = 3;
    c = kit_open(&p);
    for (int i = 0; i < 2; i++) {
        b = kit_video(c, (int)p.format);
        while (!kit_next(&b, c))
            ;
        ck_assert(kit_equal(&a, &b));
        kit_free(&b);
        ck_assert_int_eq(linvideo_restart(c, &p), 0);
    }
    linvideo_close(&c);
    p.cache = 0;
    b = kit_make(&p);
    ck_assert(!kit_equal(&a, &b));
    kit_free(&a);
    p.cache = 0.001f;
    a = kit_make(&p);
    ck_assert(kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Windows of a long video are skipped together: one decision for the whole. */
START_TEST(cache_over_windows)
{
    Watch w;
    LinvideoParams p = cached(&w, 0.2f);
    Video a, b;

    p.join        = LINVIDEO_JOIN_WINDOW;
    p.clip_frames = 9;
    p.frames      = 17;
    p.guidance    = 1;
    p.threads     = 1;
    a = kit_make(&p);
    ck_assert_int_eq(count(w.all, "cache: "), 1);
    ck_assert_int_eq(count(w.all, "cache: 0 of"), 0);
    p.threads = 3;
    b = kit_make(&p);
    ck_assert(kit_equal(&a, &b));
    kit_free(&b);
    p.cache = 0;
    b = kit_make(&p);
    ck_assert(!kit_equal(&a, &b));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Previews */

enum { MAX_PREVIEW = 5 * 8 * 8 * 3 };

typedef struct Seen {
    Watch w;        ///< first: the kit's callbacks take it
    int calls, last_step, clip;
    int width, height, frames, steps;
    uint8_t data[MAX_PREVIEW]; ///< of the last step of the first clip
} Seen;

static void see_preview(void *opaque, const LinvideoPreview *p)
{
    Seen *s = opaque;

    s->calls++;
    s->last_step = p->step;
    s->clip      = (int)p->clip;
    s->width     = p->width;
    s->height    = p->height;
    s->frames    = p->frames;
    s->steps     = p->steps;
    if (!p->clip && p->frames * p->height * p->width * 3 <= MAX_PREVIEW)
        memcpy(s->data, p->data, (size_t)(p->frames * p->height * p->width * 3));
}

/* Mean of 8 x 8 pixels of the frames that a latent frame stands for, channel k. */
static double decoded(const Video *v, int f, int row, int col, int k)
{
    int first = f ? 4 * f - 3 : 0, nb = f ? 4 : 1;
    double sum = 0;

    for (int i = first; i < first + nb; i++)
        for (int y = 8 * row; y < 8 * row + 8; y++)
            for (int x = 8 * col; x < 8 * col + 8; x++)
                sum += kit_plane(v, i, 0)[(y * 64 + x) * 3 + k];
    return sum / (64 * nb);
}

/* The last step's preview is near what is decoded then; exchange: red for blue, which is not. */
static double distance(const Seen *s, const Video *v, int exchange)
{
    double sum = 0;
    int n = s->frames * s->height * s->width * 3;

    for (int i = 0; i < n; i++) {
        int place = i / 3, k = exchange ? 2 - i % 3 : i % 3;
        sum += fabs(s->data[i] - decoded(v, place / 64, place / 8 % 8, place % 8, k));
    }
    return sum / n;
}

START_TEST(previews)
{
    Seen s = { .calls = 0 };
    LinvideoParams p = kit_params(&s.w);
    Video plain, seen;

    p.steps    = 8;
    p.guidance = 3;
    p.frames   = 34;
    p.format   = LINVIDEO_RGB24;
    plain      = kit_make(&p);
    p.preview  = see_preview;
    s.w.steps  = 0;
    seen       = kit_make(&p);
    ck_assert(kit_equal(&plain, &seen));
    for (int i = 0; i < s.w.steps && s.w.step[i].stage != LINVIDEO_STAGE_DENOISE; i++)
        ck_assert(s.w.step[i].stage < LINVIDEO_STAGE_DENOISE);
    ck_assert(s.calls == 16 && s.last_step == 8 && s.steps == 8 && s.clip == 1);
    ck_assert(s.width == 8 && s.height == 8 && s.frames == 5);
    ck_assert_msg(distance(&s, &seen, 0) < 25, "%g", distance(&s, &seen, 0));
    ck_assert_msg(distance(&s, &seen, 1) > 50, "%g", distance(&s, &seen, 1));
    kit_free(&plain);
    kit_free(&seen);
}
END_TEST

/* What has no effect */

static const struct {
    int steps;
    enum LinvideoSampler sampler;
    float guidance, end, cache;
    const char *said;
} unused[] = {
    { 9, LINVIDEO_SAMPLER_RENOISE, 3, 0, 0.05f, "cache: it is not used with sampler renoise" },
    { 9, LINVIDEO_SAMPLER_CAUSVID, 3, 0, 0.05f, "cache: it is not used with sampler causvid" },
    { 4, LINVIDEO_SAMPLER_RCM, 3, 0, 0.05f, "cache: it is not used with sampler rcm" },
    { 7, LINVIDEO_SAMPLER_EULER, 3, 0, 0.05f, "expected at least 8 steps, got 7" },
    { 8, LINVIDEO_SAMPLER_EULER, 3, 0, 0.05f, NULL },
    { 2, LINVIDEO_SAMPLER_EULER, 1, 0.5f, 0, "guidance_end: they are not used with guidance 1" },
};

START_TEST(without_effect)
{
    Watch w;
    LinvideoParams p = guided(&w, unused[_i].steps, 0, unused[_i].end);
    LinvideoContext *c;

    p.log_level = LINVIDEO_LOG_WARNING;
    p.sampler   = unused[_i].sampler;
    p.guidance  = unused[_i].guidance;
    p.cache     = unused[_i].cache;
    c = kit_open(&p);
    ck_assert_msg(w.lines[LINVIDEO_LOG_WARNING] == (unused[_i].said != NULL), "%s", w.all);
    ck_assert_msg(!unused[_i].said || strstr(w.all, unused[_i].said), "%s", w.all);
    linvideo_close(&c);
}
END_TEST

void api_add_steer(Suite *suite)
{
    TCase *t = tcase_create("steer");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, guidance_in_a_range, 0, LV_COUNT(ranges));
    tcase_add_test(t, guidance_by_halves);
    tcase_add_test(t, nag_guides);
    tcase_add_test(t, nag_restarts);
    tcase_add_loop_test(t, nag_without_effect, 0, 2);
    tcase_add_loop_test(t, cache_saves, 0, 3);
    tcase_add_test(t, cache_with_a_range);
    tcase_add_test(t, cache_is_the_same);
    tcase_add_test(t, cache_over_windows);
    tcase_add_test(t, previews);
    tcase_add_loop_test(t, without_effect, 0, LV_COUNT(unused));
    suite_add_tcase(suite, t);
}
