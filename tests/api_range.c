/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Sizes, lengths and rates that a model was not made for.
 */

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/safetensors.h"
#include "tests/api_kit.h"

#define CONFIG "linvideo.config"

/* The model with more in its configuration. */
static const char *model_with(const char *more)
{
    const char *path = kit_path("range.safetensors");
    LvSafetensors *st;
    LvFileTensor *list;
    json_t *root, *add = json_loads(more, 0, NULL);
    int n;

    ck_assert_ptr_nonnull(add);
    ck_assert_int_eq(lv_safetensors_open(&st, kit_model(), NULL), 0);
    n    = lv_safetensors_count(st);
    list = calloc((size_t)n, sizeof(*list));
    for (int i = 0; i < n; i++)
        list[i] = *lv_safetensors_at(st, i);
    root = json_loads(lv_safetensors_meta(st, CONFIG), 0, NULL);
    ck_assert_int_eq(json_object_update_recursive(root, add), 0);
    {
        char *text = json_dumps(root, 0);
        const char *const meta[] = { CONFIG, text, NULL };

        ck_assert_int_eq(lv_safetensors_write(path, list, n, (const char **)meta, NULL), 0);
        free(text);
    }
    json_decref(root);
    json_decref(add);
    free(list);
    lv_safetensors_close(&st);
    return path;
}

/* A model that a recipe made, at 64x64 and 17 frames; one that tells more. */
#define RECIPE "{\"vae\": {\"stages\": []}}"
#define WIDE   "{\"range\": {\"min_width\": 32, \"max_width\": 64, \"min_height\": 32, "         \
               "\"max_height\": 64, \"min_frames\": 5, \"max_frames\": 9}}"
#define AREA   "{\"range\": {\"min_pixels\": 2048, \"max_pixels\": 4096, \"max_frames\": 9, "   \
               "\"lenient\": 1}}"

static const struct {
    const char *config;
    int width, height, clip, native; ///< asked for
    int made[2], scaled, made_clip, frames;
    const char *said; ///< part of the one line
} wishes[] = {
    { "{}",   640, 32, 33, 0, { 640, 32 }, 0, 33, 33, NULL },
    { RECIPE, 0, 0, 0, 0,     { 64, 64 }, 0, 17, 17, NULL },
    { RECIPE, 50, 58, 0, 0,   { 64, 64 }, 0, 17, 17, NULL },
    { RECIPE, 128, 96, 0, 0,  { 64, 64 }, 1, 17, 17,
      "size: the model is made for 64x64: 128x96 is made at 64x64 and scaled" },
    { RECIPE, 16, 40, 0, 0,   { 64, 64 }, 1, 17, 17, "16x40 is made at 64x64 and scaled" },
    { RECIPE, 128, 96, 0, 1,  { 128, 96 }, 0, 17, 17, "size: 128x96 is not what the model" },
    { RECIPE, 0, 0, 81, 0,    { 64, 64 }, 0, 17, 81, "clip_frames: 81; the model is made for "
      "clips of 17 and makes these" },
    { RECIPE, 0, 0, 5, 0,     { 64, 64 }, 0, 17, 5, "clip_frames: 5; the model" },
    { RECIPE, 0, 0, 21, 1,    { 64, 64 }, 0, 21, 21, "clip_frames: 21; the model is made for "
      "17 at most" },
    { WIDE,   96, 48, 9, 0,   { 64, 32 }, 1, 9, 9, "for 32x32 to 64x64: 96x48 is made at "
      "64x32 and scaled" },
    { WIDE,   48, 100, 5, 0,  { 32, 64 }, 1, 5, 5, "48x100 is made at 32x64" },
    { WIDE,   16, 16, 9, 0,   { 32, 32 }, 1, 9, 9, "16x16 is made at 32x32" },
    { WIDE,   48, 64, 3, 0,   { 48, 64 }, 0, 5, 3, "clip_frames: 3; the model" },
    { AREA,   128, 128, 9, 0, { 64, 64 }, 1, 9, 9, "for 2048 to 4096 pixels: 128x128" },
    { AREA,   256, 64, 9, 0,  { 128, 32 }, 1, 9, 9, "256x64 is made at 128x32" },
    { AREA,   32, 32, 9, 0,   { 32, 32 }, 0, 9, 9, "size: 32x32 is below" },
    { AREA,   64, 64, 13, 0,  { 64, 64 }, 0, 13, 13, "clip_frames: 13; the model is made for "
      "9 at most" },
};

START_TEST(outside)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo i;

    p.model       = model_with(wishes[_i].config);
    p.width       = wishes[_i].width;
    p.height      = wishes[_i].height;
    p.clip_frames = wishes[_i].clip;
    p.native      = wishes[_i].native;
    c = kit_open(&p);
    linvideo_info(c, &i);
    if (p.width)
        ck_assert(i.width == p.width && i.height == p.height);
    ck_assert_int_eq(i.model_width, wishes[_i].made[0]);
    ck_assert_int_eq(i.model_height, wishes[_i].made[1]);
    ck_assert_int_eq(i.scaled, wishes[_i].scaled);
    ck_assert_int_eq(i.clip_frames, wishes[_i].made_clip);
    ck_assert_int_eq(i.frames, wishes[_i].frames);
    if (wishes[_i].said)
        ck_assert_msg(strstr(w.all, wishes[_i].said) != NULL, "%s", w.all);
    else
        ck_assert_msg(!strstr(w.all, "made for"), "%s", w.all);
    linvideo_close(&c);
}
END_TEST

/* Twice as large: the mean of four pixels is near the one they come from. */
START_TEST(enlarged)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    double worst = 0, sum = 0;
    Video a, b;

    p.model  = model_with(RECIPE);
    p.frames = 2;
    p.format = LINVIDEO_RGB24;
    a = kit_make(&p);
    p.width = p.height = 128;
    b = kit_make(&p);
    ck_assert_int_eq(b.info.scaled, 1);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 3 * 64; x++) {
            const uint8_t *q = kit_plane(&b, 1, 0) + 2 * y * 384 + x / 3 * 6 + x % 3;
            double d = fabs((q[0] + q[3] + q[384] + q[387]) / 4. -
                            kit_plane(&a, 1, 0)[y * 192 + x]);
            worst = LV_MAX(worst, d);
            sum  += d;
        }
    ck_assert_msg(worst < 30 && sum / (64 * 192) < 2, "%g %g", worst, sum / (64 * 192));
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* Another rate than the model's is another speed of motion; said once. */
START_TEST(rates)
{
    static const struct {
        int num, den, said;
    } rate[] = { { 8, 1, 0 }, { 16, 2, 0 }, { 0, 1, 0 }, { 25, 1, 1 }, { 24000, 1001, 1 },
                 { 4, 1, 1 } };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;

    p.rate_num  = rate[_i].num;
    p.rate_den  = rate[_i].den;
    p.log_level = LINVIDEO_LOG_WARNING;
    c = kit_open(&p);
    ck_assert_int_eq(w.lines[LINVIDEO_LOG_WARNING], rate[_i].said);
    if (rate[_i].said)
        ck_assert_ptr_nonnull(strstr(w.all, "the model makes motion for 8 frames a second"));
    linvideo_close(&c);
}
END_TEST

void api_add_range(Suite *suite)
{
    TCase *t = tcase_create("range");

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, outside, 0, LV_COUNT(wishes));
    tcase_add_test(t, enlarged);
    tcase_add_loop_test(t, rates, 0, 6);
}
