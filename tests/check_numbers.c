/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of numbers that are not finite: wherever one is, in a weight of any type or made
 * on the way, the work fails and says where.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linvideo/linvideo.h"
#include "model/files.h"
#include "tests/wan_kit.h"

enum { SIZE = 32, FRAMES = 5 };

static WanModel model;

static void write_manifest(const char *dit, const char *text, const char *vae)
{
    FILE *f = fopen(wan_path("m.json"), "w");

    ck_assert_ptr_nonnull(f);
    fprintf(f, "{\"dit\": \"%s\", \"text\": \"%s\", \"vae\": \"%s\", "
            "\"tokenizer\": \"tokenizer.spm\", "
            "\"video\": {\"width\": 32, \"height\": 32, \"frames\": 5}, "
            "\"sampler\": {\"solver\": \"euler\", \"steps\": 2, \"guidance\": 1}}",
            dit, text, vae);
    fclose(f);
}

static void write_part(const WanPart *p, const char *name, int form)
{
    const WanFile f = { .path = wan_path(name), .prefix = "", .form = form };

    wan_kit_write(&model, p, &f);
}

/* Make all frames of a model; the first code that is not 0. */
static int run(const char *path, enum LinvideoPrecision precision)
{
    static uint8_t rgb[512 * 512 * 3];
    LinvideoFrame f = { .stride = { 512 * 3 }, .data = { rgb } };
    LinvideoContext *c;
    LinvideoParams p;
    int ret;

    linvideo_params_default(&p);
    p.model     = path;
    p.prompt    = "a red circle";
    p.seed      = 3;
    p.format    = LINVIDEO_RGB24;
    p.precision = precision;
    p.log       = wan_catch_line;
    p.threads   = 2;
    p.width     = p.height = SIZE;
    p.clip_frames = FRAMES;
    p.steps     = 2;
    wan_errors      = 0;
    if ((ret = linvideo_open(&c, &p)) < 0)
        return ret;
    for (int i = 0; i < FRAMES && !ret; i++)
        ret = linvideo_next_frame(c, &f);
    linvideo_close(&c);
    return ret;
}

static void expect(int ret, const char *file, const char *what)
{
    ck_assert_msg(ret == LINVIDEO_ERR_MODEL && wan_errors == 1 && strstr(wan_message, file) &&
                  strstr(wan_message, what), "%d, %d errors: %s; expected: %s of %s", ret,
                  wan_errors, wan_message, what, file);
}

static void start(void)
{
    wan_kit_start(&model);
    write_part(&model.dit, "dit.safetensors", WAN_F32);
    write_part(&model.text, "text.safetensors", WAN_F32);
    write_part(&model.vae, "vae.safetensors", WAN_F32);
}

static void end(void)
{
    wan_kit_end(&model);
}

/* --- one element of each tensor in each type --- */

/* A number that is none, as a type stores it, in the first element of a block. */
typedef struct Poison {
    LvDtype dtype;
    size_t at;      /* within the element or block */
    size_t size;
    uint8_t bytes[2][8]; /* NaN, infinity */
} Poison;

static const Poison poisons[] = {
    { LV_F32, 0, 4, { { 0, 0, 0xC0, 0x7F }, { 0, 0, 0x80, 0xFF } } },
    { LV_F16, 0, 2, { { 0, 0x7E }, { 0, 0xFC } } },
    { LV_BF16, 0, 2, { { 0xC0, 0x7F }, { 0x80, 0x7F } } },
    { LV_F8_E4M3, 0, 1, { { 0x7F }, { 0xFF } } },
    { LV_F8_E5M2, 0, 1, { { 0x7E }, { 0x7C } } },
    { LV_Q8_0, 0, 2, { { 0, 0x7E }, { 0, 0x7C } } },
    { LV_Q4_K, 0, 2, { { 0, 0x7E }, { 0, 0x7C } } },
    { LV_Q6_K, 208, 2, { { 0, 0x7E }, { 0, 0x7C } } },
};

static const Poison *poison_of(LvDtype dtype)
{
    for (int i = 0; i < LV_COUNT(poisons); i++)
        if (poisons[i].dtype == dtype)
            return &poisons[i];
    return NULL;
}

/* Bytes of a file, found again by what a tensor holds: where it begins. */
static size_t place_of(const LvFileTensor *t, const uint8_t *file, size_t size,
                       const LvSource *src)
{
    const uint8_t *last = NULL;

    ck_assert_int_eq(lv_source_load(src, t, NULL), 0);
    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *o = lv_source_at(src, i);
        const uint8_t *end = (const uint8_t *)o->data + o->size;
        last = !last || end > last ? end : last;
    }
    for (size_t pad = 0; pad < 256; pad++) {
        size_t at = size - pad - (size_t)(last - (const uint8_t *)t->data);
        if (at <= size - t->size && !memcmp(file + at, t->data, t->size))
            return at;
    }
    ck_abort_msg("%s is not found", t->name);
    return 0;
}

static void overwrite(const char *path, size_t at, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, (long)at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p;

    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    p = malloc(*size + 1);
    ck_assert_uint_eq(fread(p, 1, *size, f), *size);
    fclose(f);
    return p;
}

/* What is not read when a clip is made: encoders of decoders, scales of inputs, notes. */
static int is_idle(const char *name)
{
    static const char *const parts[] = { "scale_input", "input_scale", "scaled_fp8",
                                         "comfy_quant", "spiece_model" };
    static const char *const encoders[] = { "encoder.", "conv1.", "vae.encoder." };

    for (int i = 0; i < LV_COUNT(parts); i++)
        if (strstr(name, parts[i]))
            return 1;
    for (int i = 0; i < LV_COUNT(encoders); i++)
        if (!strncmp(name, encoders[i], strlen(encoders[i])))
            return 1;
    return 0;
}

/* In a table of pieces only rows of the prompt are read: all are poisoned. */
static void poison(uint8_t *file, size_t at, const LvFileTensor *t, int kind)
{
    const Poison *p = poison_of(t->dtype);
    size_t block = lv_dtype_block(t->dtype), nb = t->numel / block, unit = t->size / nb;
    size_t rows  = strstr(t->name, "token_embedding") ? (size_t)t->dim[0] : 0, i = nb * 7 / 11;

    for (size_t k = 0; k < LV_MAX(rows, 1); k++) {
        i = rows ? k * (nb / rows) : i;
        memcpy(file + at + i * unit + p->at, p->bytes[kind], p->size);
    }
}

/* Poison tensors of a file, all or those that are no vectors of F32, with NaN and
 * infinities in turn: the model must fail and name them. How many there were. */
static int try_file(const char *name, const char *model_name, int only_small, int turn)
{
    char command[400];
    size_t size, at;
    uint8_t *file;
    LvSource *src;
    int nb = 0;

    snprintf(command, sizeof(command), "cp %s/%s %s/copy-%s", wan_folder, name, wan_folder, name);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof(command), "%s/copy-%s", wan_folder, name);
    ck_assert_int_eq(lv_source_open(&src, command, NULL), 0);
    file = read_file(command, &size);
    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        if (!poison_of(t->dtype) || is_idle(t->name) || !t->numel ||
            (only_small && t->dtype == LV_F32 && !strstr(t->name, "scale")))
            continue;
        at = place_of(t, file, size, src);
        poison(file, at, t, (i + turn) % 2);
        overwrite(wan_path(name), at, file + at, t->size);
        expect(run(wan_path(model_name), i % 3 ? LINVIDEO_PRECISION_F32
                                              : LINVIDEO_PRECISION_AUTO), name, t->name);
        overwrite(wan_path(name), at, t->data, t->size);
        memcpy(file + at, t->data, t->size);
        nb++;
    }
    lv_source_close(&src);
    free(file);
    return nb;
}

START_TEST(test_weights)
{
    static const int forms[] = { WAN_F32, WAN_F16, WAN_BF16 };
    const WanPart *part[] = { &model.dit, &model.text, &model.vae };
    const char *name[] = { "dit.safetensors", "text.safetensors", "vae.safetensors" };
    int k = _i / LV_COUNT(forms), form = forms[_i % LV_COUNT(forms)];
    const char *used[3] = { name[0], name[1], name[2] };

    write_part(part[k], "p.safetensors", form);
    used[k] = "p.safetensors";
    write_manifest(used[0], used[1], used[2]);
    ck_assert_msg(run(wan_path("m.json"), LINVIDEO_PRECISION_F32) == 0, "%s", wan_message);
    ck_assert_int_gt(try_file("p.safetensors", "m.json", form != WAN_F32, _i), 3);
}
END_TEST

START_TEST(test_small_weights)
{
    const char *name = _i >= WAN_Q8_0 ? "q.gguf" : "q.safetensors";

    write_part(&model.dit, name, _i);
    write_manifest(name, "text.safetensors", "vae.safetensors");
    ck_assert_msg(run(wan_path("m.json"), LINVIDEO_PRECISION_F32) == 0, "%s", wan_message);
    ck_assert_int_gt(try_file(name, "m.json", 1, _i), 10);
    ck_assert_int_gt(try_file(name, "m.json", 1, _i + 1), 10);
}
END_TEST

/* --- a model in one file --- */

START_TEST(test_bundle)
{
    char command[256];

    snprintf(command, sizeof(command),
             "cp " LV_TEST_MADE "/model/motion.safetensors %s/m.safetensors", wan_folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_gt(try_file("m.safetensors", "m.safetensors", 0, 0), 50);
}
END_TEST

/* --- finite weights from which something infinite comes --- */

static const struct {
    int part; /* 0: dit, 1: text, 2: vae */
    const char *tensor;
    float factor;
    const char *said;
} overflows[] = {
    { 0, "blocks.1.ffn.2.weight", 1e38f, "step 1 of 2" },
    { 0, "blocks.0.self_attn.o.weight", 1e38f, "step 1 of 2" },
    { 0, "head.head.weight", 1e38f, "step 1 of 2" },
    { 1, "blocks.1.ffn.fc2.weight", 1e38f, "text encoder" },
    { 1, "norm.weight", 3e38f, "text encoder" },
    { 2, "conv2.weight", 3e37f, "frame 0" },
    { 2, "decoder.head.2.weight", 1e38f, "frame 0" },
};

START_TEST(test_overflow)
{
    WanPart *part[] = { &model.dit, &model.text, &model.vae };
    const char *name[] = { "dit.safetensors", "text.safetensors", "vae.safetensors" };
    int k = overflows[_i].part;
    const LvParam *param;
    float *x = wan_kit_tensor(part[k], overflows[_i].tensor, &param);

    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < param->numel; i++)
        x[i] = x[i] < 0 ? -overflows[_i].factor : overflows[_i].factor;
    write_part(part[k], "o.safetensors", WAN_F32);
    name[k] = "o.safetensors";
    write_manifest(name[0], name[1], name[2]);
    expect(run(wan_path("m.json"), LINVIDEO_PRECISION_F32), "m.json", overflows[_i].said);
}
END_TEST

/* --- features of prompts on disk --- */

static char warning[2048];
static uint8_t made[SIZE * SIZE * 3];

static void catch_warning(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    if (level == LINVIDEO_LOG_WARNING)
        snprintf(warning, sizeof(warning), "%s", line);
    wan_catch_line(opaque, level, line);
}

/* The first frame, features being kept. */
static void run_cached(void)
{
    LinvideoFrame f = { .stride = { SIZE * 3 }, .data = { made } };
    LinvideoContext *c;
    LinvideoParams p;

    linvideo_params_default(&p);
    p.model        = wan_path("m.json");
    p.prompt       = "a red circle";
    p.seed         = 3;
    p.format       = LINVIDEO_RGB24;
    p.log          = catch_warning;
    p.log_level    = LINVIDEO_LOG_WARNING;
    p.prompt_cache = LINVIDEO_CACHE_ON;
    warning[0]     = 0;
    ck_assert_msg(linvideo_open(&c, &p) == 0, "%s", wan_message);
    ck_assert_msg(linvideo_next_frame(c, &f) == 0, "%s", wan_message);
    linvideo_close(&c);
}

/* The only file of the cache. */
static void find_cached(char path[256])
{
    char command[256];
    FILE *f;

    snprintf(command, sizeof(command), "ls %s/linvideo/prompts/*.safetensors",
             wan_path("cache"));
    ck_assert_ptr_nonnull(f = popen(command, "r"));
    ck_assert_int_eq(fscanf(f, "%255s", path), 1);
    pclose(f);
}

/* Features with a number that is none, with another number, or cut: they are made again, and
 * the file is whole after it. */
START_TEST(test_cache)
{
    static const uint8_t bytes[][4] = { { 0, 0, 0xC0, 0x7F }, { 0, 0, 0x80, 0x7F },
                                        { 0, 0, 0xA0, 0x40 } };
    uint8_t want[sizeof(made)], *file;
    char path[256];
    LvSafetensors *st;
    size_t size, at;

    setenv("XDG_CACHE_HOME", wan_path("cache"), 1);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors");
    run_cached();
    memcpy(want, made, sizeof(made));
    find_cached(path);
    ck_assert_int_eq(lv_safetensors_open(&st, path, NULL), 0);
    at = lv_safetensors_place(st, lv_safetensors_find(st, "features"));
    lv_safetensors_close(&st);
    file = read_file(path, &size);
    if (_i < LV_COUNT(bytes))
        overwrite(path, at, bytes[_i], 4);
    else
        ck_assert_int_eq(truncate(path, (off_t)at + 8), 0);
    run_cached();
    ck_assert_msg(strstr(warning, path) && strstr(warning, "is damaged"), "%s", warning);
    ck_assert_mem_eq(want, made, sizeof(made));
    run_cached();
    ck_assert_str_eq(warning, "");
    ck_assert_mem_eq(want, made, sizeof(made));
    free(file);
}
END_TEST

/* --- scales that can't be --- */

static const struct {
    float scale;
    const char *said;
} scales[] = {
    { NAN, "is not finite" }, { INFINITY, "is not finite" }, { -INFINITY, "is not finite" },
    { 0, "is 0 where its tensor holds values" }, { 3e36f, "scaled values overflow" },
    { -3e38f, "scaled values overflow" },
};

START_TEST(test_scales)
{
    static const int forms[] = { WAN_OLD_SCALE, WAN_NEW_SCALE, WAN_META_SCALE, WAN_ROW_SCALE,
                                 WAN_INT8, WAN_TURBO };
    const float scale = scales[_i].scale;

    write_manifest("q.safetensors", "text.safetensors", "vae.safetensors");
    for (int k = 0; k < LV_COUNT(forms); k++) {
        const LvFileTensor *t = NULL;
        LvSource *src;
        size_t size;
        uint8_t *file;
        write_part(&model.dit, "q.safetensors", forms[k]);
        ck_assert_int_eq(lv_source_open(&src, wan_path("q.safetensors"), NULL), 0);
        for (int i = 0; i < lv_source_count(src) && !t; i++)
            if (strstr(lv_source_at(src, i)->name, "ffn.0.") &&
                strstr(lv_source_at(src, i)->name, "scale") &&
                !is_idle(lv_source_at(src, i)->name))
                t = lv_source_at(src, i);
        ck_assert_ptr_nonnull(t);
        file = read_file(wan_path("q.safetensors"), &size);
        overwrite(wan_path("q.safetensors"), place_of(t, file, size, src), &scale, 4);
        ck_assert_int_eq(run(wan_path("m.json"), LINVIDEO_PRECISION_F32), LINVIDEO_ERR_MODEL);
        ck_assert_msg(strstr(wan_message, t->name) &&
                      strstr(wan_message, scales[_i].said), "%s: %s",
                      t->name, wan_message);
        lv_source_close(&src);
        free(file);
    }
}
END_TEST

static Suite *numbers_suite(void)
{
    Suite *suite = suite_create("numbers");
    TCase *tc    = tcase_create("numbers");

    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 300);
    tcase_add_unchecked_fixture(tc, start, end);
    tcase_add_loop_test(tc, test_weights, 0, 9);
    tcase_add_loop_test(tc, test_small_weights, WAN_FP8, WAN_FORMS);
    tcase_add_test(tc, test_bundle);
    tcase_add_loop_test(tc, test_overflow, 0, LV_COUNT(overflows));
    tcase_add_loop_test(tc, test_cache, 0, 4);
    tcase_add_loop_test(tc, test_scales, 0, LV_COUNT(scales));
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(numbers_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
