/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of models in separate files: the same weights give the same bits in every layout
 * and however they are stored; LoRAs; what is not understood is refused.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "linvideo/linvideo.h"
#include "model/dit.h"
#include "model/files.h"
#include "model/spm_gguf.h"
#include "model/tokenizer.h"
#include "tests/loras_add.h"
#include "tests/wan_kit.h"

enum { WIDTH = 32, HEIGHT = 32, FRAMES = 5, BYTES = WIDTH * HEIGHT * 3 * FRAMES };

static WanModel model;

static void print_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "%s\n", line);
}

static const LvMsg loud = { print_line, NULL, LV_MSG_WARNING };

static void write_text(const char *name, const char *fmt, ...)
{
    FILE *f = fopen(wan_path(name), "w");
    va_list args;

    ck_assert_ptr_nonnull(f);
    va_start(args, fmt);
    vfprintf(f, fmt, args);
    va_end(args);
    fclose(f);
}

#define REST ", \"video\": {\"width\": 32, \"height\": 32, \"frames\": 5}, "          \
             "\"sampler\": {\"solver\": \"euler\", \"steps\": 2, \"guidance\": 1}"

static void write_manifest(const char *dit, const char *text, const char *vae,
                           const char *more)
{
    write_text("m.json", "{\"dit\": \"%s\", \"text\": \"%s\", \"vae\": \"%s\"%s" REST "}",
               dit, text, vae, more);
}

static LinvideoParams params(enum LinvideoPrecision precision)
{
    static char path[160];
    LinvideoParams p;

    snprintf(path, sizeof(path), "%s/m.json", wan_folder);
    linvideo_params_default(&p);
    p.model     = path;
    p.prompt    = "a red circle";
    p.seed      = 3;
    p.format    = LINVIDEO_RGB24;
    p.precision = precision;
    p.log       = wan_catch_line;
    p.threads   = 2;
    return p;
}

/* All frames of m.json. */
static void run_params(const LinvideoParams *p, uint8_t *rgb)
{
    LinvideoContext *c;
    LinvideoFrame f = { .stride = { WIDTH * 3 } };

    wan_errors = 0;
    ck_assert_msg(linvideo_open(&c, p) == 0, "%s", wan_message);
    for (int i = 0; i < FRAMES; i++) {
        f.data[0] = rgb + (size_t)i * WIDTH * HEIGHT * 3;
        ck_assert_msg(linvideo_next_frame(c, &f) == 0, "%s", wan_message);
    }
    linvideo_close(&c);
    ck_assert_int_eq(wan_errors, 0);
}

static void run_model(uint8_t *rgb, enum LinvideoPrecision precision)
{
    LinvideoParams p = params(precision);

    run_params(&p, rgb);
}

static void expect_error(int code, const char *part)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoContext *c;
    int ret;

    wan_errors = 0;
    ret = linvideo_open(&c, &p);
    ck_assert_msg(ret == code && wan_errors == 1 && strstr(wan_message, part), "%d, %d errors: %s; "
                  "expected: %s", ret, wan_errors, wan_message, part);
}

static void write_part(const WanPart *p, const char *name, int layout, const char *prefix)
{
    const WanFile f = { .path = wan_path(name), .layout = layout, .prefix = prefix };

    wan_kit_write(&model, p, &f);
}

static void write_form(const WanPart *p, const char *name, int form, int exact)
{
    const WanFile f = { .path = wan_path(name), .prefix = "", .form = form,
                        .exact = exact };

    wan_kit_write(&model, p, &f);
}

static void copy_file(const char *from, const char *to)
{
    char command[256];

    snprintf(command, sizeof(command), "cp %s %s", from, wan_path(to));
    ck_assert_int_eq(system(command), 0);
}

static void start(void)
{
    wan_kit_start(&model);
    write_part(&model.dit, "dit.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_part(&model.text, "text.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_part(&model.vae, "vae.safetensors", LV_LAYOUT_ORIGINAL, "");
}

static void end(void)
{
    wan_kit_end(&model);
}

static int varies(const uint8_t *rgb)
{
    int low = 255, high = 0;

    for (int i = 0; i < BYTES; i++) {
        low  = LV_MIN(low, rgb[i]);
        high = LV_MAX(high, rgb[i]);
    }
    return high - low;
}

/* --- layouts --- */

static const struct {
    const char *dit, *text, *vae;
    int dit_layout, text_layout, vae_layout;
    const char *prefix;
} layouts[] = {
    { "a.safetensors", "b.safetensors", "c.safetensors", LV_LAYOUT_ORIGINAL,
      LV_LAYOUT_HF, LV_LAYOUT_ORIGINAL, "model.diffusion_model." },
    { "a.json", "b.json", "c.safetensors", LV_LAYOUT_HF, LV_LAYOUT_HF, LV_LAYOUT_HF, "" },
    { "a.gguf", "b.gguf", "c.gguf", LV_LAYOUT_ORIGINAL, LV_LAYOUT_LLAMA,
      LV_LAYOUT_ORIGINAL, "" },
    { "a.gguf", "b.safetensors", "c.json", LV_LAYOUT_HF, LV_LAYOUT_ORIGINAL, LV_LAYOUT_HF,
      "net." },
};

START_TEST(test_layouts)
{
    static uint8_t want[BYTES], got[BYTES];
    enum LinvideoPrecision precision = _i % 2 ? LINVIDEO_PRECISION_BF16
                                              : LINVIDEO_PRECISION_F32;
    int i = _i / 2;

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(want, precision);
    ck_assert_int_gt(varies(want), 50);
    write_part(&model.dit, layouts[i].dit, layouts[i].dit_layout, layouts[i].prefix);
    write_part(&model.text, layouts[i].text, layouts[i].text_layout, "");
    write_part(&model.vae, layouts[i].vae, layouts[i].vae_layout, "");
    write_manifest(layouts[i].dit, layouts[i].text, layouts[i].vae,
                   ", \"tokenizer\": \"tokenizer.spm\"");
    run_model(got, precision);
    ck_assert_mem_eq(want, got, BYTES);
}
END_TEST

/* --- networks of Wan2.2 and of image to video, by their tensors --- */

static const LvDitConfig networks[] = {
    { .channels = 48 },
    { .channels = 16, .cond_channels = 20 },
    { .channels = 16, .cond_channels = 20, .clip_dim = 32, .clip_images = 1 },
    { .channels = 16, .cond_channels = 20, .clip_dim = 32, .clip_images = 2 },
};

/* What a file holds is found, and bound whole. */
static void find_network(const char *path, const LvDitConfig *want)
{
    LvWeightsFrom from = { .wide = LV_F32, .described = 1 };
    LvDitConfig got;
    LvWeights *w;
    LvPart part;
    LvSource *src;
    LvDit m = { 0 };

    ck_assert_int_eq(lv_source_open(&src, path, &loud), 0);
    part = lv_part_find(src);
    ck_assert_int_eq(part.kind, LV_PART_DIT);
    ck_assert_int_eq(lv_part_dit(&got, &part, &loud), 0);
    ck_assert_int_eq(got.channels, want->channels);
    ck_assert_int_eq(got.cond_channels, want->cond_channels);
    ck_assert_int_eq(got.clip_dim, want->clip_dim);
    ck_assert_int_eq(got.clip_images, want->clip_images);
    ck_assert_int_eq(got.dim, want->dim);
    ck_assert_int_eq(got.layers, want->layers);
    from.src    = src;
    from.layout = part.layout;
    ck_assert_int_eq(lv_weights_new_from(&w, &from, model.dev, &loud), 0);
    ck_assert_int_eq(lv_dit_bind(&m, &got, w, part.prefix), 0);
    ck_assert_int_eq(lv_weights_finish(w), 0);
    lv_dit_free(&m);
    lv_weights_free(&w);
    lv_source_close(&src);
}

START_TEST(test_networks)
{
    const LvDitConfig *kind = &networks[_i / LV_COUNT(layouts)];
    int i = _i % LV_COUNT(layouts);

    wan_kit_change(&model, kind);
    write_part(&model.dit, layouts[i].dit, layouts[i].dit_layout, layouts[i].prefix);
    find_network(wan_path(layouts[i].dit), &model.cfg.dit);
}
END_TEST

/* The 5B's network and autoencoder, in every layout, give the same frames. */
START_TEST(test_wan22)
{
    static const LvDitConfig kind = { .channels = 48 };
    static uint8_t want[BYTES], got[BYTES];

    wan_kit_change(&model, &kind);
    write_part(&model.dit, "d48.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_manifest("d48.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(LINVIDEO_ERR_MODEL, "48 channels, the decoder takes 16");
    wan_kit_change_vae(&model);
    write_part(&model.vae, "v48.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_manifest("d48.safetensors", "text.safetensors", "v48.safetensors", "");
    run_model(want, LINVIDEO_PRECISION_F32);
    ck_assert_int_gt(varies(want), 50);
    write_part(&model.dit, layouts[_i].dit, layouts[_i].dit_layout, layouts[_i].prefix);
    write_part(&model.vae, layouts[_i].vae, layouts[_i].vae_layout, "");
    write_manifest(layouts[_i].dit, "text.safetensors", layouts[_i].vae, "");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert_mem_eq(want, got, BYTES);
}
END_TEST

/* The tiny decoder of the 5B, taew2_2, is one of 16 pixels a latent too. */
START_TEST(test_wan22_tae)
{
    static const LvDitConfig kind = { .channels = 48 };
    static uint8_t got[BYTES];

    wan_kit_change(&model, &kind);
    wan_kit_change_vae(&model);
    write_part(&model.dit, "d48.safetensors", LV_LAYOUT_ORIGINAL, "");
    wan_kit_write_tae(&model, wan_path("taew2_2.safetensors"));
    write_manifest("d48.safetensors", "text.safetensors", "taew2_2.safetensors", "");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert_int_gt(varies(got), 20);
    write_manifest("dit.safetensors", "text.safetensors", "taew2_2.safetensors", "");
    expect_error(LINVIDEO_ERR_MODEL, "16 channels, the decoder takes 48");
}
END_TEST

/* Tensors that are missing are named. */
START_TEST(test_wan22_files)
{
    static const LvDitConfig kind = { .channels = 48 };
    static const char missing[] = "decoder.upsamples.1.upsamples.3.time_conv.weight";
    WanFile f = { .path = wan_path("v48.safetensors"), .prefix = "" };

    wan_kit_change(&model, &kind);
    wan_kit_change_vae(&model);
    write_part(&model.dit, "d48.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_manifest("d48.safetensors", "text.safetensors", "v48.safetensors", "");
    f.drop = missing;
    wan_kit_write(&model, &model.vae, &f);
    expect_error(LINVIDEO_ERR_MODEL, "decoder.upsamples.1.upsamples.3.time_conv.weight is missing");
    f.drop = "decoder.head.2.bias";
    wan_kit_write(&model, &model.vae, &f);
    expect_error(LINVIDEO_ERR_MODEL, "decoder.head.2.bias is missing");
}
END_TEST

/* --- pairs of networks --- */

/* low.safetensors: the network with other numbers. */
static void write_low(void)
{
    const LvParam *t;
    float *x = wan_kit_tensor(&model.dit, "blocks.1.ffn.0.weight", &t);

    for (size_t i = 0; i < t->numel; i++)
        x[i] = -x[i];
    write_part(&model.dit, "low.safetensors", LV_LAYOUT_ORIGINAL, "");
    for (size_t i = 0; i < t->numel; i++)
        x[i] = -x[i];
}

static void write_pair(const char *dit, const char *low, const char *sampler, const char *more)
{
    write_text("m.json", "{\"dit\": \"%s\", \"dit_low\": \"%s\", \"text\": "
               "\"text.safetensors\", \"vae\": \"vae.safetensors\", \"video\": {\"width\": 32, "
               "\"height\": 32, \"frames\": 5}, \"sampler\": {\"steps\": 4, \"shift\": 5%s}%s}",
               dit, low, sampler, more);
}

/* Bytes with which both networks fit. */
static int64_t memory_of_both(void)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoContext *c;
    LinvideoInfo info;

    p.memory_limit = (int64_t)1 << 40;
    ck_assert_msg(linvideo_open(&c, &p) == 0, "%s", wan_message);
    linvideo_info(c, &info);
    linvideo_close(&c);
    return info.memory_weights + info.memory_work;
}

static void run_limited(uint8_t *rgb, int64_t limit)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);

    p.memory_limit = limit;
    run_params(&p, rgb);
}

/* Steps are the high network's, or the low one's, or both's: the same with both in memory and
 * with one at a time. */
START_TEST(test_pair)
{
    static uint8_t both[BYTES], turns[BYTES], high[BYTES];
    static const char *const sampler[] = {
        ", \"boundary\": 0.875, \"guidance\": 4, \"guidance_low\": 3",
        ", \"boundary\": 0.875, \"guidance\": 1, \"guidance_low\": 3",
        ", \"boundary\": 0.875, \"guidance\": 1, \"guidance_low\": 1",
    };

    write_low();
    write_pair("dit.safetensors", "low.safetensors", sampler[_i], "");
    run_limited(both, 0);
    run_limited(turns, memory_of_both() - 1);
    ck_assert_mem_eq(both, turns, BYTES);
    copy_file(wan_path("dit.safetensors"), "same.safetensors");
    write_pair("dit.safetensors", "same.safetensors", sampler[_i], "");
    run_limited(high, 0);
    ck_assert(memcmp(both, high, BYTES));
}
END_TEST

/* 1 for steps that the networks were run at. */
static void see_runs(void *opaque, const LinvideoProgress *p)
{
    if (p->stage == LINVIDEO_STAGE_DENOISE && p->layer)
        ((char *)opaque)[p->step] = '1';
}

/* The second network, from step 25 of 80 on, takes nothing of what the first one left. */
START_TEST(test_pair_cache)
{
    static uint8_t rgb[2][BYTES];
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    char runs[81];

    write_low();
    write_pair("dit.safetensors", "low.safetensors", ", \"boundary\": 0.875, \"guidance\": 4", "");
    memset(runs, '0', 80);
    runs[80]   = 0;
    p.steps    = 80;
    p.shift    = 3;
    p.sampler  = LINVIDEO_SAMPLER_EULER;
    p.cache    = 1;
    p.progress = see_runs;
    p.opaque   = runs;
    run_params(&p, rgb[0]);
    ck_assert_msg(runs[25] == '1' && runs[26] == '1', "%s", runs);
    ck_assert_msg(memchr(runs, '0', 25) && strchr(runs + 27, '0'), "%s", runs);
    p.memory_limit = memory_of_both() - 1;
    run_params(&p, rgb[1]);
    ck_assert_mem_eq(rgb[0], rgb[1], BYTES);
}
END_TEST

static const struct {
    const char *dit, *low, *sampler, *more, *part;
    int code;
} bad_pairs[] = {
    { "dit.safetensors", "dit.safetensors", "", "", "dit_low is the same file as dit",
      LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "low.safetensors", "", ", \"preset\": \"lightx2v\"",
      "expected a preset of Wan2.2 A14B", LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "vae.safetensors", "", "", "holds no dit_low network",
      LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "wide.safetensors", "", "", "wide.safetensors: expected in_channels 16 as in dit, got 48",
      LINVIDEO_ERR_MODEL },
    { "wan2.2_low_noise.safetensors", "dit.safetensors", "", "", "expected the one for high noise",
      LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "wan2.2_high_noise.safetensors", "", "", "expected the one for low noise",
      LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "low.safetensors", ", \"boundary\": 2", "", "sampler.boundary is 2",
      LINVIDEO_ERR_MODEL },
    { "dit.safetensors", "low.safetensors", "", ", \"loras_low\": 1", "loras_low is not a list",
      LINVIDEO_ERR_MODEL },
};

START_TEST(test_bad_pairs)
{
    write_low();
    copy_file(wan_path("low.safetensors"), "wan2.2_low_noise.safetensors");
    copy_file(wan_path("dit.safetensors"), "wan2.2_high_noise.safetensors");
    wan_kit_change(&model, &(LvDitConfig) { .channels = 48 });
    write_part(&model.dit, "wide.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_pair(bad_pairs[_i].dit, bad_pairs[_i].low, bad_pairs[_i].sampler, bad_pairs[_i].more);
    expect_error(bad_pairs[_i].code, bad_pairs[_i].part);
}
END_TEST

/* Those that have what is none of theirs. */
static const struct {
    LvDitConfig kind;
    const char *part;
} no_networks[] = {
    { { .channels = 48, .clip_dim = 32, .clip_images = 1 }, "48 channels in and 48 out, of width "
      "256, with CLIP" },
    { { .channels = 48, .cond_channels = 52 }, "100 channels in and 48 out" },
    { { .channels = 16, .cond_channels = 4 }, "20 channels in and 16 out" },
};

START_TEST(test_no_networks)
{
    wan_kit_change(&model, &no_networks[_i].kind);
    write_part(&model.dit, "a.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_manifest("a.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(LINVIDEO_ERR_UNSUPPORTED, no_networks[_i].part);
}
END_TEST

/* --- forms: what is stored is as good as the numbers that it stands for --- */

START_TEST(test_forms)
{
    static uint8_t want[BYTES], got[BYTES], plain[BYTES];
    enum LinvideoPrecision precision = _i % 2 ? LINVIDEO_PRECISION_BF16
                                              : LINVIDEO_PRECISION_F32;
    int form = _i / 2, dit_only = form >= WAN_TURBO;
    const char *dit = form >= WAN_Q8_0 ? "q.gguf" : "q.safetensors";

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(plain, precision);
    write_form(&model.dit, "e.safetensors", form, 1);
    write_form(&model.text, "u.safetensors", dit_only ? WAN_F32 : form, 1);
    write_form(&model.dit, dit, form, 0);
    write_form(&model.text, "t.safetensors", dit_only ? WAN_F32 : form, 0);
    write_manifest("e.safetensors", "u.safetensors", "vae.safetensors", "");
    run_model(want, precision);
    write_manifest(dit, "t.safetensors", "vae.safetensors", "");
    run_model(got, precision);
    ck_assert_mem_eq(want, got, BYTES);
    ck_assert(form == WAN_F32 || form == WAN_F16 || memcmp(plain, got, BYTES));
}
END_TEST

/* --- the tokenizer of a GGUF file --- */

static void open_pieces(LvTokenizer **t, const char *path)
{
    LvSource *src;
    size_t size;
    void *spm;

    ck_assert_int_eq(lv_source_open(&src, path, NULL), 0);
    spm = lv_files_spm_of_gguf(lv_source_gguf(src), &size);
    ck_assert_ptr_nonnull(spm);
    ck_assert_int_eq(lv_tokenizer_open(t, spm, size, &loud), 0);
    free(spm);
    lv_source_close(&src);
}

static void same_ids(const LvTokenizer *a, const LvTokenizer *b)
{
    static const char *const texts[] = {
        "a red circle", "", " ", "  two  blanks ", "\xEF\xBC\xA1 wide letter", "caf\xC3\xA9",
        "&amp; 123 <pad> </s>", "\xE4\xB8\xAD\xE6\x96\x87", "\xF0\x9F\x98\x80",
    };
    int32_t x[512], y[512];

    for (int i = 0; i < LV_COUNT(texts); i++) {
        int nb = lv_tokenizer_encode(a, texts[i], x, 512, NULL);
        ck_assert_int_gt(nb, 0);
        ck_assert_int_eq(lv_tokenizer_encode(b, texts[i], y, 512, NULL), nb);
        ck_assert_mem_eq(x, y, (size_t)nb * sizeof(*x));
    }
}

static const WanPieces pieces[] = {
    { .kind_type = LV_GGUF_I32 }, { .kind_type = LV_GGUF_I32, .flags = 1 },
    { .kind_type = LV_GGUF_U8 }, { .kind_type = LV_GGUF_F32, .flags = 1 },
};

START_TEST(test_pieces)
{
    static uint8_t want[BYTES], got[BYTES];
    LvTokenizer *a, *b;
    LvMap spm;

    write_part(&model.text, "b.gguf", LV_LAYOUT_LLAMA, "");
    wan_kit_add_pieces(wan_path("b.gguf"), &pieces[_i]);
    ck_assert_int_eq(lv_map_open(&spm, wan_path("tokenizer.spm"), NULL), 0);
    ck_assert_int_eq(lv_tokenizer_open(&a, spm.data, spm.size, NULL), 0);
    open_pieces(&b, wan_path("b.gguf"));
    ck_assert_int_eq(lv_tokenizer_size(a), lv_tokenizer_size(b));
    same_ids(a, b);
    lv_tokenizer_close(&a);
    lv_tokenizer_close(&b);
    lv_map_close(&spm);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(want, LINVIDEO_PRECISION_F32);
    write_manifest("dit.safetensors", "b.gguf", "vae.safetensors", "");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert_mem_eq(want, got, BYTES);
}
END_TEST

static const struct {
    WanPieces w;
    const char *part;
} bad_pieces[] = {
    { { .kind_type = LV_GGUF_I32, .fewer = 1 }, "tokenizer is missing" },
    { { .kind_type = LV_GGUF_I32, .first_kind = 7 }, "has an unknown type" },
    { { .kind_type = LV_GGUF_I32, .first_kind = -1 }, "has an unknown type" },
    { { .kind_type = LV_GGUF_F32, .first_kind = -1 }, "has an unknown type" },
    { { .kind_type = LV_GGUF_F32, .first_kind = 1e30 }, "has an unknown type" },
    { { .kind_type = LV_GGUF_F32, .first_kind = NAN }, "has an unknown type" },
    { { .kind_type = LV_GGUF_I32, .first_kind = 2 }, "unknown piece" },
};

START_TEST(test_bad_pieces)
{
    write_part(&model.text, "b.gguf", LV_LAYOUT_LLAMA, "");
    if (_i < LV_COUNT(bad_pieces))
        wan_kit_add_pieces(wan_path("b.gguf"), &bad_pieces[_i].w);
    write_manifest("dit.safetensors", "b.gguf", "vae.safetensors", "");
    expect_error(LINVIDEO_ERR_MODEL, _i < LV_COUNT(bad_pieces) ? bad_pieces[_i].part
                                                               : "tokenizer is missing");
}
END_TEST

/* --- what is not understood --- */

static const struct {
    int form;
    const char *drop, *add, *part;
    int code;
} refused[] = {
    { WAN_F32, "blocks.1.norm3.bias", NULL, "blocks.1.norm3.bias is missing",
      LINVIDEO_ERR_MODEL },
    { WAN_F32, NULL, "blocks.1.other", "does not know, the first is blocks.1.other",
      LINVIDEO_ERR_MODEL },
    { WAN_F32, NULL, "img_emb.proj.0.bias", "16 channels in and 16 out, of width 256, with CLIP",
      LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "vace_blocks.0.proj.weight", "a model of VACE", LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "face_adapter.x", "a model of Wan2.2 Animate", LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "frame_packer.x", "a model of Wan2.2 S2V", LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "ref_conv.weight", "a model of Wan-Fun", LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "blocks.0.self_attn.attn_op.local_attn.proj_l.weight", "SLA",
      LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "blocks.0.to_gate_compress.weight", "VSA",
      LINVIDEO_ERR_UNSUPPORTED },
    { WAN_F32, NULL, "blocks.0.ffn.0.scale_weight", "not quantised", LINVIDEO_ERR_MODEL },
    { WAN_FP8, NULL, "blocks.0.ffn.0.weight_scale_2", "does not know, the first is "
      "blocks.0.ffn.0.weight_scale_2", LINVIDEO_ERR_MODEL },
    { WAN_OLD_SCALE, "blocks.1.ffn.2.scale_weight", NULL, "blocks.1.ffn.2.weight has no "
      "scale", LINVIDEO_ERR_MODEL },
    { WAN_OLD_SCALE, NULL, "blocks.1.ffn.9.scale_weight", "does not know, the first is "
      "blocks.1.ffn.9.scale_weight", LINVIDEO_ERR_MODEL },
    { WAN_OLD_SCALE, NULL, "blocks.1.ffn.2.weight_scale", "has two scales",
      LINVIDEO_ERR_MODEL },
    { WAN_NEW_SCALE, "blocks.1.ffn.2.weight_scale", NULL, "has no scale",
      LINVIDEO_ERR_MODEL },
    { WAN_NEW_SCALE, "blocks.1.ffn.2.comfy_quant", "blocks.1.ffn.2.comfy_quant",
      "is not JSON", LINVIDEO_ERR_MODEL },
    { WAN_INT8, "blocks.0.self_attn.q.weight_scale", NULL, "I8 without a scale",
      LINVIDEO_ERR_MODEL },
    { WAN_TURBO, "blocks.0.self_attn.q.scale", NULL, "lacks the scale of",
      LINVIDEO_ERR_MODEL },
    { WAN_TURBO, "blocks.0.self_attn.q.scale", "blocks.0.self_attn.q.scale",
      "128 x 128", LINVIDEO_ERR_MODEL },
    { WAN_F32, "patch_embedding.weight", NULL, "patch_embedding.weight is missing",
      LINVIDEO_ERR_MODEL },
};

#define LAYER(text) "{\"layers\": {\"blocks.0.ffn.0\": " text "}}"

/* Metadata of a file with scales, and a tensor that is left out. */
static const struct {
    const char *note, *drop, *part;
} notes[] = {
    { "{\"layers\"", NULL, "_quantization_metadata is not JSON" },
    { "{\"layers\": {}, \"layers\": {}}", NULL, "_quantization_metadata is not JSON" },
    { "{\"layer\": {}}", NULL, "_quantization_metadata does not list layers" },
    { "{\"layers\": []}", NULL, "_quantization_metadata does not list layers" },
    { "[]", NULL, "_quantization_metadata does not list layers" },
    { LAYER("{\"format\": \"nvfp4\"}"), NULL, "blocks.0.ffn.0 is quantised as nvfp4" },
    { LAYER("{\"format\": \"mxfp8\"}"), NULL, "blocks.0.ffn.0 is quantised as mxfp8" },
    { LAYER("{\"format\": \"int8\", \"convrot\": true}"), NULL,
      "blocks.0.ffn.0 is quantised as rotated int8" },
    { LAYER("{\"format\": 8}"), NULL, "blocks.0.ffn.0 is quantised as an unnamed format" },
    { LAYER("\"float8_e4m3fn\""), NULL,
      "blocks.0.ffn.0 is quantised as an unnamed format" },
    { NULL, "blocks.1.ffn.2.weight_scale", "blocks.1.ffn.2.weight has no scale, but its "
      "file is one with scales" },
};

START_TEST(test_notes)
{
    const WanFile f = { .path = wan_path("x.safetensors"), .prefix = "",
                        .form = WAN_META_SCALE, .note = notes[_i].note,
                        .drop = notes[_i].drop };

    wan_kit_write(&model, &model.dit, &f);
    write_manifest("x.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(LINVIDEO_ERR_MODEL, notes[_i].part);
}
END_TEST

START_TEST(test_refused)
{
    const WanFile f = { .path = wan_path("x.safetensors"), .prefix = "",
                        .form = refused[_i].form, .drop = refused[_i].drop,
                        .add = refused[_i].add };

    wan_kit_write(&model, &model.dit, &f);
    write_manifest("x.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(refused[_i].code, refused[_i].part);
}
END_TEST

static const struct {
    const char *json, *part;
    int code;
} manifests[] = {
    { "[]", "no object", LINVIDEO_ERR_MODEL },
    { "{\"dit\": 1}", "dit is not a file name", LINVIDEO_ERR_MODEL },
    { "{}", "dit is missing", LINVIDEO_ERR_MODEL },
    { "{\"dti\": \"x\"}", "dti is not a key of a manifest", LINVIDEO_ERR_MODEL },
    { "{\"dit\": \"none\"}", "No such file", -2 },
    { "{\"dit\": \"vae.safetensors\"}", "holds no dit network", LINVIDEO_ERR_MODEL },
    { "{\"dit\": \"dit.safetensors\", \"text\": \"text.safetensors\"}", "vae is missing",
      LINVIDEO_ERR_MODEL },
    { "{\"preset\": \"fast\"}", "preset: expected one of none, wan", LINVIDEO_ERR_MODEL },
    { "{\"preset\": 3}", ", got 3", LINVIDEO_ERR_MODEL },
    { "{\"video\": {\"width\": 7}}", "video.width is 7", LINVIDEO_ERR_MODEL },
    { "{\"video\": {\"size\": 7}}", "size is not a key", LINVIDEO_ERR_MODEL },
    { "{\"sampler\": 3}", "sampler is not an object", LINVIDEO_ERR_MODEL },
    { "{\"negative_prompt\": 3}", "negative_prompt is not a string", LINVIDEO_ERR_MODEL },
    { "{\"dit\": \"dit.safetensors\", \"text\": \"text.safetensors\", \"vae\": "
      "\"vae.safetensors\", \"latents\": \"plain\"}", "TAEHV decoders only",
      LINVIDEO_ERR_MODEL },
    { "{\"dit\": ", "line 1", LINVIDEO_ERR_MODEL },
};

START_TEST(test_manifests)
{
    write_text("m.json", "%s", manifests[_i].json);
    expect_error(manifests[_i].code, manifests[_i].part);
}
END_TEST

/* --- LoRAs --- */

enum { RANK = 4 };

/* down [RANK,in] and up [out,RANK] under names of a spelling. */
typedef struct Pair {
    float down[RANK * 512], up[512 * RANK];
} Pair;

static const struct {
    const char *down, *up, *alpha, *bias;
} spellings[] = {
    { "diffusion_model.blocks.1.self_attn.q.lora_A.weight",
      "diffusion_model.blocks.1.self_attn.q.lora_B.weight", NULL,
      "diffusion_model.blocks.1.self_attn.q.diff_b" },
    { "diffusion_model.blocks.1.self_attn.q.lora_down.weight",
      "diffusion_model.blocks.1.self_attn.q.lora_up.weight",
      "diffusion_model.blocks.1.self_attn.q.alpha",
      "blocks.1.self_attn.q.diff_b" },
    { "blocks.1.attn1.to_q.lora_A.weight", "blocks.1.attn1.to_q.lora_B.weight", NULL,
      "blocks.1.attn1.to_q.diff_b" },
    { "transformer.blocks.1.attn1.to_q.lora_A.weight",
      "transformer.blocks.1.attn1.to_q.lora_B.weight", NULL,
      "transformer.blocks.1.attn1.to_q.diff_b" },
    { "lora_unet_blocks_1_self_attn_q.lora_down.weight",
      "lora_unet_blocks_1_self_attn_q.lora_up.weight",
      "lora_unet_blocks_1_self_attn_q.alpha", "lora_unet_blocks_1_self_attn_q.diff_b" },
    { "lycoris_blocks_1_self_attn_q.lora_down.weight",
      "lycoris_blocks_1_self_attn_q.lora_up.weight",
      "lycoris_blocks_1_self_attn_q.alpha", "lycoris_blocks_1_self_attn_q.diff_b" },
    { "lora_unet__blocks_1_self_attn_q.lora_down.weight",
      "lora_unet__blocks_1_self_attn_q.lora_up.weight",
      "lora_unet__blocks_1_self_attn_q.alpha", "lora_unet__blocks_1_self_attn_q.diff_b" },
    { "base_model.model.diffusion_model.blocks.1.self_attn.q.lora_A.default.weight",
      "base_model.model.diffusion_model.blocks.1.self_attn.q.lora_B.default.weight", NULL,
      "model.blocks.1.self_attn.q.diff_b" },
    { "pipe.dit.blocks.1.self_attn.q.lora.down.weight",
      "transformer.blocks.1.self_attn.q.lora.up.weight", NULL,
      "blocks.1._orig_mod.self_attn.q.diff_b" },
};

static LvFileTensor file_tensor(const char *name, const float *x, int64_t rows, int64_t cols)
{
    return (LvFileTensor) { .name = name, .dtype = LV_F32, .rank = 2,
                            .dim = { rows, cols }, .numel = (size_t)(rows * cols),
                            .data = x, .size = (size_t)(rows * cols) * 4 };
}

static void fill_pair(Pair *p)
{
    for (int i = 0; i < RANK * 512; i++) {
        p->down[i] = sinf((float)i) / 4;
        p->up[i]   = cosf(1.7f * (float)i) / 4;
    }
}

/* The matrix and bias changed by hand: weight (alpha / rank) up down, weight diff. */
static void write_merged(const Pair *p, float weight, float alpha)
{
    const LvParam *t, *tb;
    float *w = wan_kit_tensor(&model.dit, "blocks.1.self_attn.q.weight", &t);
    float *b = wan_kit_tensor(&model.dit, "blocks.1.self_attn.q.bias", &tb);
    size_t in = (size_t)t->dim[1], out = (size_t)t->dim[0];
    float *keep = malloc((t->numel + tb->numel) * sizeof(*keep));

    memcpy(keep, w, t->numel * sizeof(*w));
    memcpy(keep + t->numel, b, tb->numel * sizeof(*b));
    for (size_t i = 0; i < out; i++) {
        for (size_t k = 0; k < in; k++) {
            float sum = 0;
            for (size_t r = 0; r < RANK; r++)
                sum += p->up[i * RANK + r] * p->down[r * in + k];
            w[i * in + k] += weight * alpha / RANK * sum;
        }
        b[i] += weight * p->up[i];
    }
    write_part(&model.dit, "merged.safetensors", LV_LAYOUT_ORIGINAL, "");
    memcpy(w, keep, t->numel * sizeof(*w));
    memcpy(b, keep + t->numel, tb->numel * sizeof(*b));
    free(keep);
}

static void write_lora(const Pair *p, int i, float alpha)
{
    LvFileTensor t[4] = { file_tensor(spellings[i].down, p->down, RANK, 256),
                          file_tensor(spellings[i].up, p->up, 256, RANK),
                          file_tensor(spellings[i].bias, p->up, 1, 256),
                          file_tensor(spellings[i].alpha, &alpha, 1, 1) };

    ck_assert_int_eq(lv_safetensors_write(wan_path("lora.safetensors"), t,
                                          spellings[i].alpha ? 4 : 3, NULL, NULL), 0);
}

START_TEST(test_lora)
{
    static uint8_t want[BYTES], got[BYTES];
    static Pair p;
    float alpha = spellings[_i].alpha ? 2 : RANK;
    LinvideoParams p_ = params(LINVIDEO_PRECISION_F32);
    char option[512];

    fill_pair(&p);
    write_merged(&p, 0.5f, alpha);
    write_lora(&p, _i, alpha);
    write_manifest("merged.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(want, LINVIDEO_PRECISION_F32);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors",
                   ", \"loras\": [{\"file\": \"lora.safetensors\", \"weight\": 0.5}]");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert_mem_eq(want, got, BYTES);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    snprintf(option, sizeof(option), "%s@0.5", wan_path("lora.safetensors"));
    p_.lora = option;
    run_params(&p_, got);
    ck_assert_mem_eq(want, got, BYTES);
    snprintf(option, sizeof(option), "%s@0.25|%s@0.125", wan_path("lora.safetensors"),
             wan_path("lora.safetensors"));
    run_params(&p_, got);
    ck_assert(memcmp(want, got, BYTES));
}
END_TEST

static const struct {
    const char *name, *part;
} bad_loras[] = {
    { "diffusion_model.blocks.7.self_attn.q", "1 layer the model does not have" },
    { "diffusion_model.blocks.1.self_attn.z", "1 layer the model does not have" },
    { "diffusion_model.blocks.1.self_attn.q.lora_mid", "not a known key of a LoRA" },
};

START_TEST(test_lora_refused)
{
    static Pair p;
    char down[256], up[256];
    LvFileTensor t[2];

    fill_pair(&p);
    snprintf(down, sizeof(down), "%s%s", bad_loras[_i].name, _i == 2 ? ".weight"
                                                            : ".lora_A.weight");
    snprintf(up, sizeof(up), "%s.lora_B.weight", bad_loras[_i].name);
    t[0] = file_tensor(down, p.down, RANK, 256);
    t[1] = file_tensor(up, p.up, 256, RANK);
    lv_safetensors_write(wan_path("bad.safetensors"), t, 2, NULL, NULL);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors",
                   ", \"loras\": [{\"file\": \"bad.safetensors\"}]");
    expect_error(LINVIDEO_ERR_MODEL, bad_loras[_i].part);
}
END_TEST

/* --- LoRAs of pairs of networks: as two files are, each of its network --- */

/* Stem of a layer in each half of a file; NULL: it has none. */
static const struct {
    const char *high, *low;
} paired[] = {
    { "transformer.blocks.1.attn1.to_q", "transformer_2.blocks.1.attn1.to_q" },
    { "lora_unet_blocks_1_self_attn_q", "lora_unet_2_blocks_1_self_attn_q" },
    { "base_model.model.transformer.blocks.1.self_attn.q",
      "base_model.model.transformer_2.blocks.1.self_attn.q" },
    { "diffusion_model.blocks.1.self_attn.q", "transformer_2.diffusion_model.blocks.1.attn1.to_q" },
    { "transformer.blocks.1.attn1.to_q", NULL },
    { NULL, "transformer_2.blocks.1.attn1.to_q" },
};

#define PLAIN "blocks.1.self_attn.q"

static void write_halves(const char *file, const char *high, const char *low)
{
    static Pair p[LV_EXPERTS];
    const char *stem[LV_EXPERTS] = { high, low };
    char name[2 * LV_EXPERTS][128];
    LvFileTensor t[2 * LV_EXPERTS];
    int nb = 0;

    for (int i = 0; i < LV_EXPERTS; i++) {
        fill_pair(&p[i]);
        for (int k = 0; i == LV_LOW && k < RANK * 256; k += 3)
            p[i].down[k] *= -2;
        if (!stem[i])
            continue;
        snprintf(name[nb], sizeof(name[nb]), "%s.lora_down.weight", stem[i]);
        snprintf(name[nb + 1], sizeof(name[nb]), "%s.lora_up.weight", stem[i]);
        t[nb]     = file_tensor(name[nb], p[i].down, RANK, 256);
        t[nb + 1] = file_tensor(name[nb + 1], p[i].up, 256, RANK);
        nb += 2;
    }
    ck_assert_int_eq(lv_safetensors_write(wan_path(file), t, nb, NULL, &loud), 0);
}

static void write_pair_with(const char *loras, const char *low)
{
    char more[256];

    snprintf(more, sizeof(more), ", \"loras\": [%s], \"loras_low\": [%s]", loras, low);
    write_pair("dit.safetensors", "low.safetensors",
               ", \"boundary\": 0.875, \"guidance\": 1, \"guidance_low\": 1", more);
}

static int told_both, told_none;

static void catch_both(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    told_both += strstr(line, "added to both networks: its name says neither") != NULL;
    told_none += strstr(line, "changes nothing of the network for") != NULL;
    wan_catch_line(opaque, level, line);
}

/* A file as an option. Skipping anything is an error. */
static void run_option(uint8_t *rgb, const char *file)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);

    told_both = told_none = 0;
    p.lora   = file;
    p.strict = 1;
    p.log    = catch_both;
    run_params(&p, rgb);
}

START_TEST(test_pair_loras)
{
    static uint8_t want[BYTES], got[BYTES];
    const char *high = paired[_i].high, *low = paired[_i].low, *path;

    write_low();
    write_halves("a.safetensors", PLAIN, NULL);
    write_halves("b.safetensors", NULL, PLAIN);
    write_halves("both.safetensors", high, low);
    path = wan_path("both.safetensors");
    write_pair_with(high ? "{\"file\": \"a.safetensors\"}" : "",
                    low ? "{\"file\": \"b.safetensors\"}"
                        : "{\"file\": \"a.safetensors\"}");
    run_option(want, NULL);
    write_pair_with("{\"file\": \"both.safetensors\"}", "{\"file\": \"both.safetensors\"}");
    run_option(got, NULL);
    ck_assert_mem_eq(want, got, BYTES);
    ck_assert(!told_both && told_none == !high);
    write_pair_with("", "");
    run_option(got, path);
    ck_assert_mem_eq(want, got, BYTES);
    ck_assert(told_both == !low && told_none == !high);
    run_option(got, NULL);
    ck_assert(memcmp(want, got, BYTES));
}
END_TEST

#define NAMES(file) "{\"file\": \"" file "\"}"
#define FOUR "{}, {}, {}, {}, "
#define ENTRIES_33 FOUR FOUR FOUR FOUR FOUR FOUR FOUR FOUR "{}"

static const struct {
    const char *loras, *low, *part;
} bad_pair_loras[] = {
    { NAMES("second.safetensors"), "", "changes nothing here: all its 2 keys are of other parts, "
      "2 of the second network of Wan2.2 (the first is transformer_2." },
    { NAMES("both.safetensors"), "", "2 of 4 keys are of other parts: 2 of the second network" },
    { "", NAMES("both.safetensors"), "2 of 4 keys are of other parts: 2 of the first network" },
    { NAMES("image.safetensors"), NAMES("image.safetensors"), "changes nothing here: all its 2 "
      "keys are of other parts, 2 of image to video" },
    { "1", "", "loras holds an entry" },
    { "", "1", "loras_low holds an entry" },
    { "", "{}", "loras_low is missing" },
    { "", ENTRIES_33, "loras_low is not a list, or too long" },
};

START_TEST(test_bad_pair_loras)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoContext *c;

    write_low();
    write_halves("both.safetensors", paired[0].high, paired[0].low);
    write_halves("second.safetensors", NULL, paired[0].low);
    write_halves("image.safetensors", NULL, "transformer_2.blocks.1.attn2.add_k_proj");
    write_pair_with(bad_pair_loras[_i].loras, bad_pair_loras[_i].low);
    wan_errors = 0;
    p.strict   = 1;
    ck_assert_int_eq(linvideo_open(&c, &p), LINVIDEO_ERR_MODEL);
    ck_assert_msg(wan_errors == 1 && strstr(wan_message, bad_pair_loras[_i].part), "%d: %s",
                  wan_errors, wan_message);
}
END_TEST

/* --- kinds of changes: each element by the formula of its kind --- */

enum { OUT = 6, IN = 4, PLACES = 2, COLS = IN * PLACES, R = 3 };

/* Values of a tensor: by its number and place, small and of both signs. */
static float value_of(int tensor, int i)
{
    return sinf(1.3f * (float)i + 7 * (float)tensor) / 2;
}

/* Tensors of a layer "blocks.1.x", as they are put into a file. */
typedef struct Layer {
    LvFileTensor t[8];
    char name[8][64];
    float x[8][256];
    int nb;
} Layer;

static const float *put_part(Layer *l, const char *end, int rank, int a, int b, int c)
{
    LvFileTensor *t = &l->t[l->nb];
    int n = a * b * (rank > 2 ? c : 1);

    snprintf(l->name[l->nb], sizeof(l->name[0]), "lycoris_blocks_1_x.%s", end);
    *t = (LvFileTensor) { .name = l->name[l->nb], .dtype = LV_F32, .rank = rank,
                          .dim = { a, b, c }, .numel = (size_t)n, .data = l->x[l->nb],
                          .size = (size_t)n * 4 };
    for (int i = 0; i < n; i++)
        l->x[l->nb][i] = value_of(l->nb, i);
    return l->x[l->nb++];
}

static double dot(const float *a, const float *b, int i, int c, int r, int cols)
{
    double sum = 0;

    for (int k = 0; k < r; k++)
        sum += (double)a[i * r + k] * b[k * cols + c];
    return sum;
}

/* sum t[i,j,x] a[i,p] b[j,q] */
static double tucker(const float *t, const float *a, const float *b, int p, int q, int x,
                     int rows, int cols, int places)
{
    double sum = 0;

    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++)
            sum += (double)t[(i * R + j) * places + x] * a[i * rows + p] * b[j * cols + q];
    return sum;
}

static void loha(Layer *l, double *d)
{
    const float *a1 = put_part(l, "hada_w1_a", 2, OUT, R, 0);
    const float *b1 = put_part(l, "hada_w1_b", 2, R, COLS, 0);
    const float *a2 = put_part(l, "hada_w2_a", 2, OUT, R, 0);
    const float *b2 = put_part(l, "hada_w2_b", 2, R, COLS, 0);

    for (int i = 0; i < OUT * COLS; i++)
        d[i] = dot(a1, b1, i / COLS, i % COLS, R, COLS) *
               dot(a2, b2, i / COLS, i % COLS, R, COLS);
}

static void loha_kernel(Layer *l, double *d)
{
    const float *a1 = put_part(l, "hada_w1_a", 2, R, OUT, 0);
    const float *b1 = put_part(l, "hada_w1_b", 2, R, IN, 0);
    const float *a2 = put_part(l, "hada_w2_a", 2, R, OUT, 0);
    const float *b2 = put_part(l, "hada_w2_b", 2, R, IN, 0);
    const float *t1 = put_part(l, "hada_t1", 3, R, R, PLACES);
    const float *t2 = put_part(l, "hada_t2", 3, R, R, PLACES);

    for (int i = 0; i < OUT * COLS; i++) {
        int q = i % COLS / PLACES, x = i % PLACES;
        d[i] = tucker(t1, a1, b1, i / COLS, q, x, OUT, IN, PLACES) *
               tucker(t2, a2, b2, i / COLS, q, x, OUT, IN, PLACES);
    }
}

/* w1 [2,2] and w2 [3,4], each whole or in two. */
static void lokr(Layer *l, double *d, int factors)
{
    const float *w1 = put_part(l, factors & 1 ? "lokr_w1_a" : "lokr_w1", 2, 2,
                               factors & 1 ? R : 2, 0);
    const float *b1 = factors & 1 ? put_part(l, "lokr_w1_b", 2, R, 2, 0) : NULL;
    const float *w2 = put_part(l, factors & 2 ? "lokr_w2_a" : "lokr_w2", 2, 3,
                               factors & 2 ? R : 4, 0);
    const float *b2 = factors & 2 ? put_part(l, "lokr_w2_b", 2, R, 4, 0) : NULL;

    for (int i = 0; i < OUT * COLS; i++) {
        int r = i / COLS, c = i % COLS;
        d[i] = (b1 ? dot(w1, b1, r / 3, c / 4, R, 2) : w1[r / 3 * 2 + c / 4]) *
               (b2 ? dot(w2, b2, r % 3, c % 4, R, 4) : w2[r % 3 * 4 + c % 4]);
    }
}

static void lokr_whole(Layer *l, double *d) { lokr(l, d, 0); }
static void lokr_first(Layer *l, double *d) { lokr(l, d, 1); }
static void lokr_second(Layer *l, double *d) { lokr(l, d, 2); }
static void lokr_both(Layer *l, double *d) { lokr(l, d, 3); }

/* w2 [3,2,PLACES] from a kernel. */
static void lokr_kernel(Layer *l, double *d)
{
    const float *w1 = put_part(l, "lokr_w1", 2, 2, 2, 0);
    const float *a = put_part(l, "lokr_w2_a", 2, R, 3, 0);
    const float *b = put_part(l, "lokr_w2_b", 2, R, 2, 0);
    const float *t = put_part(l, "lokr_t2", 3, R, R, PLACES);

    for (int i = 0; i < OUT * COLS; i++) {
        int r = i / COLS, c = i % COLS, inner = c % (2 * PLACES);
        d[i] = w1[r / 3 * 2 + c / (2 * PLACES)] *
               tucker(t, a, b, r % 3, inner / PLACES, inner % PLACES, 3, 2, PLACES);
    }
}

static void pair(Layer *l, double *d)
{
    const float *up   = put_part(l, "lora_up.weight", 2, OUT, R, 0);
    const float *down = put_part(l, "lora_down.weight", 2, R, COLS, 0);

    for (int i = 0; i < OUT * COLS; i++)
        d[i] = dot(up, down, i / COLS, i % COLS, R, COLS);
}

static void full(Layer *l, double *d)
{
    const float *diff = put_part(l, "diff", 2, OUT, COLS, 0);

    for (int i = 0; i < OUT * COLS; i++)
        d[i] = diff[i];
}

static const struct {
    void (*make)(Layer *l, double *d);
    int rank;      /* alpha is over it; 0: it has none, and alpha does nothing */
    int dora;      /* 1: of rows, 2: of columns */
    LvDtype alpha; /* LV_NONE: there is none */
} kinds[] = {
    { pair, R, 0, LV_F32 }, { pair, R, 0, LV_I64 }, { pair, R, 0, LV_F64 },
    { pair, R, 0, LV_F16 }, { pair, R, 0, LV_I32 }, { pair, R, 1, LV_NONE },
    { pair, R, 2, LV_F32 }, { loha, R, 0, LV_NONE }, { loha, R, 1, LV_F64 },
    { loha_kernel, R, 0, LV_F32 }, { lokr_whole, 0, 0, LV_F32 },
    { lokr_whole, 0, 1, LV_NONE }, { lokr_first, R, 0, LV_F32 },
    { lokr_second, R, 0, LV_I64 }, { lokr_both, R, 2, LV_F32 },
    { lokr_kernel, R, 0, LV_F32 }, { full, 0, 0, LV_NONE },
};

enum { ALPHA = 2 };
#define WEIGHT 0.75

static void put_alpha(Layer *l, LvDtype dtype)
{
    const double f64 = ALPHA;
    const float f32  = ALPHA;
    const int64_t i64 = ALPHA;
    const uint16_t f16 = 0x4000; /* 2 */
    LvFileTensor *t;

    if (dtype == LV_NONE)
        return;
    put_part(l, "alpha", 1, 1, 1, 0);
    t = &l->t[l->nb - 1];
    t->rank  = 0;
    t->dtype = dtype;
    t->size  = lv_dtype_size(dtype);
    memcpy(l->x[l->nb - 1], dtype == LV_F64 ? (const void *)&f64 : dtype == LV_F16 ?
           (const void *)&f16 : dtype == LV_F32 ? (const void *)&f32 : &i64, t->size);
}

/* W += weight s D; or with magnitudes m: W += weight (m V / |V| - W), V = W + s D. */
static void merge(double *w, const double *d, double s, int dora, const float *m)
{
    double v[OUT * COLS], sum[OUT + IN] = { 0 };

    for (int i = 0; i < OUT * COLS; i++) {
        v[i] = w[i] + s * d[i];
        sum[dora == 2 ? OUT + i % COLS / PLACES : i / COLS] += v[i] * v[i];
    }
    for (int i = 0; i < OUT * COLS; i++) {
        int by = dora == 2 ? i % COLS / PLACES : i / COLS;
        double to = dora ? m[by] * v[i] / sqrt(sum[dora == 2 ? OUT + by : by]) : v[i];
        w[i] += WEIGHT * (to - w[i]);
    }
}

START_TEST(test_lora_kinds)
{
    static const LvWeightRow row = { .name = "blocks.%d.x.weight" };
    LvFileTensor t = { .name = "blocks.1.x.weight", .dtype = LV_F32, .rank = 3,
                       .dim = { OUT, IN, PLACES }, .numel = OUT * COLS };
    const LvLoraFile file = { .path = wan_path("kind"), .weight = (float)WEIGHT };
    static Layer l;
    double d[OUT * COLS], w[OUT * COLS];
    float x[OUT * COLS];
    const float *m = NULL;
    LvLoras *loras;

    l.nb = 0;
    kinds[_i].make(&l, d);
    put_alpha(&l, kinds[_i].alpha);
    if (kinds[_i].dora)
        m = kinds[_i].dora == 1 ? put_part(&l, "dora_scale", 2, OUT, 1, 0)
                                : put_part(&l, "dora_scale", 2, 1, IN, 0);
    ck_assert_int_eq(lv_safetensors_write(file.path, l.t, l.nb, NULL, &loud), 0);
    for (int i = 0; i < OUT * COLS; i++)
        w[i] = x[i] = value_of(9, i);
    merge(w, d, kinds[_i].alpha && kinds[_i].rank ? ALPHA / (double)R : 1, kinds[_i].dora, m);
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &loud), 0);
    ck_assert(lv_loras_has(loras, &row, 1) && !lv_loras_has(loras, &row, 0));
    ck_assert_int_eq(lv_loras_note(loras, &row, 1, &t, &loud), 0);
    ck_assert_int_eq(loras_add(loras, &row, 1, x, &t, &loud), 0);
    for (int i = 0; i < OUT * COLS; i++)
        ck_assert_msg(fabs(x[i] - w[i]) < 1e-5, "element %d is %g, expected %g", i, x[i], w[i]);
    ck_assert_int_eq(lv_loras_finish(loras, &loud), 0);
    t.dim[1] = 2 * IN;
    t.numel *= 2;
    ck_assert_int_eq(lv_loras_note(loras, &row, 1, &t, NULL), LV_ERR_MODEL);
    lv_loras_close(&loras);
}
END_TEST

/* --- keys of other parts --- */

static int warnings;

static void catch_all(void *opaque, int level, const char *line)
{
    (void)opaque;
    snprintf(wan_message, sizeof(wan_message), "%s", line);
    *(level == LV_MSG_ERROR ? &wan_errors : &warnings) += 1;
}

static const LvMsg all = { catch_all, NULL, LV_MSG_WARNING };

static const struct {
    const char *name, *what;
} other_keys[] = {
    { "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight", "image to video" },
    { "lora_unet_blocks_0_cross_attn_v_img.lora_down.weight", "image to video" },
    { "diffusion_model.img_emb.proj.1.diff_b", "image to video" },
    { "transformer.blocks.0.attn2.add_k_proj.lora_A.weight", "image to video" },
    { "blocks.0.diff_m", "modulation (diff_m)" },
    { "transformer_2.blocks.0.attn1.to_q.lora_A.weight", "the second network of Wan2.2" },
    { "lora_te_encoder_block_0.lora_down.weight", "a text encoder" },
    { "lora_te1_text_model_q.alpha", "a text encoder" },
    { "text_encoder.encoder.block.0.lora_A.weight", "a text encoder" },
    { "base_model.model.text_encoder.q.lora_A.weight", "a text encoder" },
    { "vace_blocks.0.q.lora_A.weight", "VACE" },
    { "vae.decoder.conv1.lora_A.weight", "a decoder" },
};

START_TEST(test_lora_others)
{
    static float x[16];
    LvFileTensor t[3] = { file_tensor(other_keys[_i].name, x, 4, 4),
                          file_tensor("blocks.1.x.lora_A.weight", x, 4, 4),
                          file_tensor("blocks.1.x.lora_B.weight", x, 4, 4) };
    LvLoraFile file = { .path = wan_path("others"), .weight = 1 };
    char part[256];
    LvLoras *loras;

    wan_errors = warnings = 0;
    lv_safetensors_write(file.path, t, 3, NULL, NULL);
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &all), 0);
    snprintf(part, sizeof(part), "skipped: 1 of 3 keys are of other parts: 1 of %s (the first "
             "is %s)", other_keys[_i].what, other_keys[_i].name);
    ck_assert_msg(warnings == 1 && !wan_errors && strstr(wan_message, part),
                  "%d, %d: %s; expected: %s",
                  warnings, wan_errors, wan_message, part);
    lv_loras_close(&loras);
    file.strict = 1;
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &all), LV_ERR_MODEL);
    ck_assert_msg(wan_errors == 1 && strstr(wan_message, "1 of 3 keys are of other parts"), "%s",
                  wan_message);
    lv_safetensors_write(file.path, t, 1, NULL, NULL);
    file.strict = 0;
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &all), LV_ERR_MODEL);
    ck_assert_msg(wan_errors == 2 &&
                  strstr(wan_message, "changes nothing here: all its 1 keys"), "%s",
                  wan_message);
    ck_assert_int_eq(warnings, 1);
}
END_TEST

/* Of a network that attends to CLIP's features they are no other parts. */
START_TEST(test_lora_images)
{
    static float x[16];
    static const char *const begin = "diffusion_model.blocks.0.cross_attn.k_img.lora_";
    static const LvWeightRow row = { .name = "blocks.%d.cross_attn.k_img.weight" };
    LvLoraFile file = { .path = wan_path("images"), .weight = 1, .strict = 1, .images = 1 };
    char names[2][128];
    LvFileTensor t[2];
    LvLoras *loras;

    for (int i = 0; i < 2; i++) {
        snprintf(names[i], sizeof(names[i]), "%s%c.weight", begin, "AB"[i]);
        t[i] = file_tensor(names[i], x, 4, 4);
    }
    wan_errors = warnings = 0;
    lv_safetensors_write(file.path, t, 2, NULL, NULL);
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &all), 0);
    ck_assert_int_eq(warnings + wan_errors, 0);
    ck_assert(lv_loras_has(loras, &row, 0));
    lv_loras_close(&loras);
}
END_TEST

/* --- what a LoRA can't be --- */

static const char *said_of(const LvFileTensor *t, int nb, const LvFileTensor *base)
{
    static const LvWeightRow row = { .name = "blocks.%d.x.weight" };
    const LvLoraFile file = { .path = wan_path("cannot"), .weight = 1 };
    LvLoras *loras;
    float x[OUT * COLS] = { 0 };

    wan_message[0] = '\0';
    lv_safetensors_write(file.path, t, nb, NULL, NULL);
    if (lv_loras_open(&loras, &file, 1, &all) < 0)
        return wan_message;
    ck_assert_int_eq(loras_add(loras, &row, 1, x, base, &all), LV_ERR_MODEL);
    lv_loras_close(&loras);
    return wan_message;
}

START_TEST(test_lora_cannot)
{
    static const int8_t small[OUT * COLS];
    static float x[OUT * COLS];
    const LvFileTensor base = { .name = "blocks.1.x.weight", .dtype = LV_F32, .rank = 2,
                                .dim = { OUT, COLS }, .numel = OUT * COLS };
    LvFileTensor t = file_tensor("blocks.1.x.diff", x, COLS, OUT);

    ck_assert_msg(strstr(said_of(&t, 1, &base), "does not fit blocks.1.x.weight"), "%s",
                  wan_message);
    t = file_tensor("blocks.1.x.diff", x, OUT, COLS);
    x[3] = NAN;
    ck_assert_msg(strstr(said_of(&t, 1, &base), "cannot: makes values of blocks.1.x.weight"),
                  "%s", wan_message);
    t.dtype = LV_I8;
    t.data  = small;
    t.size  = sizeof(small);
    ck_assert_msg(strstr(said_of(&t, 1, &base), "expected a float type, got I8"), "%s",
                  wan_message);
}
END_TEST

/* Halves that stand alone, ranks that differ. */
static const struct {
    const char *end[3];
    int rows[3], cols[3];
    const char *part;
} halves[] = {
    { { "lora_A.weight" }, { 4 }, { 4 }, "lora_A.weight lacks its other half" },
    { { "lora_A.weight", "lora_B.weight" }, { 4, 4 }, { 4, 3 }, "have different ranks" },
    { { "hada_w1_a", "hada_w1_b" }, { 4, 4 }, { 4, 4 }, "LoHa has hada_w1_a" },
    { { "lokr_w1" }, { 2 }, { 2 }, "LoKr has lokr_w1 and lokr_w2" },
    { { "lokr_w1", "lokr_w2_a" }, { 2, 2 }, { 2, 2 }, "lacks its other half" },
    { { "lokr_w1", "lokr_w2", "lokr_w1_a" }, { 2, 2, 2 }, { 2, 2, 2 }, "other half" },
    { { "dora_scale" }, { 4 }, { 1 }, "dora_scale lacks its other half" },
    { { "lora_A.weight", "lora_B.weight", "alpha" }, { 4, 4, 1 }, { 4, 4, 2 },
      "is not one number" },
    { { "lora_A.weight", "lora_B.weight", "lora_down.weight" }, { 4, 4, 4 }, { 4, 4, 4 },
      "duplicates" },
    { { "oft_blocks" }, { 4 }, { 4 }, "not a known key of a LoRA" },
};

START_TEST(test_lora_halves)
{
    static float x[16];
    const LvLoraFile file = { .path = wan_path("halves"), .weight = 1 };
    char name[3][64];
    LvFileTensor t[3];
    LvLoras *loras;
    int nb = 0;

    for (; nb < 3 && halves[_i].end[nb]; nb++) {
        snprintf(name[nb], sizeof(name[nb]), "blocks.1.x.%s", halves[_i].end[nb]);
        t[nb] = file_tensor(name[nb], x, halves[_i].rows[nb], halves[_i].cols[nb]);
    }
    lv_safetensors_write(file.path, t, nb, NULL, NULL);
    wan_errors = 0;
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &all), LV_ERR_MODEL);
    ck_assert_msg(wan_errors == 1 && strstr(wan_message, halves[_i].part), "%s", wan_message);
}
END_TEST

/* Many layers are found, each by its name. */
START_TEST(test_lora_many)
{
    enum { MANY = 20000 };
    static char name[MANY][32];
    static const LvWeightRow row = { .name = "%d.x.bias" };
    const LvLoraFile file = { .path = wan_path("many"), .weight = 1 };
    LvFileTensor *t = calloc(MANY, sizeof(*t));
    float x = 0.5f, y = 1;
    LvLoras *loras;

    for (int i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof(name[i]), "%d.x.diff_b", i);
        t[i] = file_tensor(name[i], &x, 1, 1);
    }
    ck_assert_int_eq(lv_safetensors_write(file.path, t, MANY, NULL, &loud), 0);
    ck_assert_int_eq(lv_loras_open(&loras, &file, 1, &loud), 0);
    ck_assert_int_eq(loras_add(loras, &row, MANY - 1, &y, t, &loud), 0);
    ck_assert(y == 1.5f);
    wan_errors = 0;
    ck_assert_int_eq(lv_loras_finish(loras, &all), LV_ERR_MODEL);
    ck_assert_msg(strstr(wan_message, "19999 layers the model does not have"), "%s", wan_message);
    lv_loras_close(&loras);
    free(t);
}
END_TEST

/* --- weights of LoRAs --- */

static const struct {
    const char *text;
    double weight; /* NAN: refused */
} lora_weights[] = {
    { "a.safetensors", 1 }, { "a.safetensors@0.5", 0.5 }, { "a@-2", -2 }, { "a@1e1", 10 },
    { "at@home/a", 1 }, { "a@", NAN }, { "a@0,5", NAN }, { "a@abc", NAN },
    { "a@nan", NAN }, { "a@inf", NAN }, { "a@101", NAN }, { "a@0.5x", NAN },
    { "a@0.5 ", NAN },
};

START_TEST(test_lora_weights)
{
    char text[64];
    LvLoraFile l;
    int ret;

    wan_errors = 0;
    snprintf(text, sizeof(text), "%s", lora_weights[_i].text);
    ret = lv_lora_split(&l, text, &all);
    if (isnan(lora_weights[_i].weight)) {
        ck_assert(ret == LV_ERR(EINVAL) && wan_errors == 1 &&
                  strstr(wan_message, "expected a number"));
        return;
    }
    ck_assert(ret == 0 && !wan_errors && l.weight == (float)lora_weights[_i].weight);
    ck_assert(strchr(lora_weights[_i].text, '/') || !strchr(l.path, '@'));
}
END_TEST

/* --- several networks in one file, and what is beside them --- */

/* Tensors of files, gathered under prefixes. */
typedef struct Joined {
    LvSource *src[3];
    LvFileTensor *t;
    int nb;
} Joined;

static void join_part(Joined *j, int i, const char *file, const char *prefix, int gguf)
{
    int n;

    ck_assert_int_eq(lv_source_open(&j->src[i], wan_path(file), &loud), 0);
    n    = lv_source_count(j->src[i]);
    j->t = realloc(j->t, (size_t)(j->nb + n + 2) * sizeof(*j->t));
    for (int k = 0; k < n; k++) {
        const LvFileTensor *t = lv_source_at(j->src[i], k);
        char *name = malloc(strlen(prefix) + strlen(t->name) + 1);

        if (gguf && t->dtype == LV_U8) {
            free(name);
            continue;
        }
        sprintf(name, "%s%s", prefix, t->name);
        ck_assert_int_eq(lv_source_load(j->src[i], t, &loud), 0);
        j->t[j->nb] = *t;
        j->t[j->nb++].name = name;
    }
}

/* One more tensor of two values. */
static void join_more(Joined *j, const char *name)
{
    static const float x[2] = { 1, 2 };

    j->t[j->nb] = file_tensor(name, x, 1, 2);
    j->t[j->nb++].name = strdup(name);
}

static void write_joined(Joined *j, const char *file)
{
    size_t n = strlen(file);

    if (n > 5 && !strcmp(file + n - 5, ".gguf"))
        ck_assert_int_eq(lv_gguf_write(wan_path(file), "wan", j->t, j->nb, NULL, &loud), 0);
    else
        ck_assert_int_eq(lv_safetensors_write(wan_path(file), j->t, j->nb, NULL, &loud), 0);
    for (int i = 0; i < j->nb; i++)
        free((void *)(uintptr_t)j->t[i].name);
    free(j->t);
    for (int i = 0; i < 3; i++)
        lv_source_close(&j->src[i]);
}

static const struct {
    const char *file;
    const char *dit, *text, *vae; /* prefixes; NULL: the part is a file of its own */
    const char *more;             /* a tensor of no part, or NULL */
    int warns;
} joined[] = {
    { "all.safetensors", "model.diffusion_model.", "text_encoders.umt5xxl.transformer.",
      "vae.", NULL, 0 },
    { "all.gguf", "model.diffusion_model.", "text_encoders.umt5xxl.transformer.",
      "first_stage_model.", NULL, 0 },
    { "all.sft", "", "text_encoder.", "first_stage_model.", NULL, 0 },
    { "all", "model.diffusion_model.", NULL, "vae.", "clip_vision.x.weight", 1 },
    { "all.bin", "model.diffusion_model.", NULL, "model.diffusion_model.vae.", NULL, 0 },
    { "all.safetensors", "dit.", NULL, "vae.", "scaled_fp8", 0 },
};

static int count_warnings;

static void catch_warning(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    count_warnings += level == LINVIDEO_LOG_WARNING && strstr(line, ": skipped: ");
    wan_catch_line(opaque, level, line);
}

START_TEST(test_joined)
{
    static uint8_t want[BYTES], got[BYTES];
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    const char *file = joined[_i].file;
    int gguf = strstr(file, ".gguf") != NULL;
    LinvideoContext *c;
    Joined j = { .nb = 0 };

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(want, LINVIDEO_PRECISION_F32);
    join_part(&j, 0, "dit.safetensors", joined[_i].dit, gguf);
    if (joined[_i].text)
        join_part(&j, 1, "text.safetensors", joined[_i].text, gguf);
    join_part(&j, 2, "vae.safetensors", joined[_i].vae, gguf);
    if (joined[_i].more)
        join_more(&j, joined[_i].more);
    write_joined(&j, file);
    write_manifest(file, joined[_i].text ? file : "text.safetensors", file,
                   gguf ? ", \"tokenizer\": \"tokenizer.spm\"" : "");
    p.log = catch_warning;
    count_warnings = 0;
    run_params(&p, got);
    ck_assert_mem_eq(want, got, BYTES);
    ck_assert_int_eq(count_warnings, joined[_i].warns);
    if (!joined[_i].warns)
        return;
    p.strict = 1;
    wan_errors   = 0;
    ck_assert_int_eq(linvideo_open(&c, &p), LINVIDEO_ERR_MODEL);
    ck_assert_msg(strstr(wan_message, "1 tensors that no part of this model uses"), "%s",
                  wan_message);
}
END_TEST

/* A kernel that is stored as four dimensions is changed as the same in five. */
START_TEST(test_folded)
{
    static uint8_t want[BYTES], got[BYTES];
    static float x[256 * 64];
    const LvParam *param;
    Joined j = { 0 };
    LvFileTensor t[2];
    const char *const end[2][2] = { { "patch_embedding.diff" },
                                    { "patch_embedding.lora_down.weight",
                                      "patch_embedding.lora_up.weight" } };
    int64_t channels;

    wan_kit_tensor(&model.dit, "patch_embedding.weight", &param);
    channels = param->dim[1];
    for (int i = 0; i < LV_COUNT(x); i++)
        x[i] = sinf((float)i) / 4;
    t[0] = file_tensor(end[_i][0], x, _i ? RANK : param->dim[0], (int64_t)param->numel /
                       param->dim[0]);
    t[1] = file_tensor(end[_i][1], x, param->dim[0], RANK);
    t[0].rank = 5;
    memcpy(t[0].dim + 1, param->dim + 1, 4 * sizeof(*t[0].dim));
    ck_assert_int_eq(lv_safetensors_write(wan_path("patch.safetensors"), t, 1 + _i, NULL, &loud),
                     0);
    join_part(&j, 0, "dit.safetensors", "", 0);
    for (int i = 0; i < j.nb; i++)
        if (!strcmp(j.t[i].name, "patch_embedding.weight")) {
            j.t[i].rank   = 4;
            j.t[i].dim[0] = param->dim[0] * channels;
            memmove(j.t[i].dim + 1, j.t[i].dim + 2, 3 * sizeof(*j.t[i].dim));
        }
    write_joined(&j, "folded.safetensors");
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors",
                   ", \"loras\": [{\"file\": \"patch.safetensors\"}]");
    run_model(want, LINVIDEO_PRECISION_F32);
    write_manifest("folded.safetensors", "text.safetensors", "vae.safetensors",
                   ", \"loras\": [{\"file\": \"patch.safetensors\"}]");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert_mem_eq(want, got, BYTES);
    write_manifest("folded.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(got, LINVIDEO_PRECISION_F32);
    ck_assert(memcmp(want, got, BYTES));
}
END_TEST

/* What no reader here knows is named. */
static const struct {
    const char *add, *part;
    int code;
} foreign[] = {
    { "blocks.0.self_attn.q.weight._data", "quantised by quanto", LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.weight.quant_state.bitsandbytes__nf4", "bitsandbytes (NF4)",
      LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.weight.absmax", "bitsandbytes (4 bits)", LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.SCB", "bitsandbytes (8 bits)", LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.smooth_factor", "quantised by SVDQuant", LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.qzeros", "quantised by AWQ or GPTQ", LINVIDEO_ERR_UNSUPPORTED },
    { "blocks.0.ffn.0.qweight", "AWQ, GPTQ or SVDQuant", LINVIDEO_ERR_UNSUPPORTED },
    { "ema.text_embedding.0.weight", "holds two networks of one kind (dit)",
      LINVIDEO_ERR_MODEL },
};

START_TEST(test_foreign)
{
    const WanFile f = { .path = wan_path("x.safetensors"), .prefix = "",
                        .add = foreign[_i].add };

    wan_kit_write(&model, &model.dit, &f);
    write_manifest("x.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(foreign[_i].code, foreign[_i].part);
}
END_TEST

/* F64 is narrowed; a tensor of no elements says nothing; wrappers are left out; a manifest
 * may be called anything. */
START_TEST(test_odd)
{
    static uint8_t want[BYTES], got[BYTES];
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    Joined j = { .nb = 0 };
    double **wide;
    int nb;

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_model(want, LINVIDEO_PRECISION_F32);
    join_part(&j, 0, "dit.safetensors", "module._orig_mod.", 0);
    nb   = j.nb;
    wide = calloc((size_t)nb, sizeof(*wide));
    for (int i = 0; i < nb; i++) {
        LvFileTensor *t = &j.t[i];
        wide[i] = malloc(t->numel * sizeof(**wide));
        for (size_t k = 0; k < t->numel; k++)
            wide[i][k] = ((const float *)t->data)[k];
        t->dtype = LV_F64;
        t->data  = wide[i];
        t->size  = t->numel * sizeof(**wide);
    }
    join_more(&j, "blocks.0.nothing");
    j.t[nb].dim[0] = 0;
    j.t[nb].numel  = j.t[nb].size = 0;
    write_joined(&j, "odd.x");
    for (int i = 0; i < nb; i++)
        free(wide[i]);
    free(wide);
    write_manifest("odd.x", "text.safetensors", "vae.safetensors", "");
    copy_file(wan_path("m.json"), "manifest.odd");
    p.model = wan_path("manifest.odd");
    run_params(&p, got);
    ck_assert_mem_eq(want, got, BYTES);
}
END_TEST

/* --- files that change under an open model --- */

enum { EMPTY, CUT, WRITTEN, REPLACED, DAMAGES };
enum { IDLE, FIRST, NEXT }; /* which read of a file fails: none, the first clip's, a new
                             * prompt's */

static const struct {
    const char *text, *dit, *file; /* the file that changes */
    int fails;
} changes[] = {
    { "text.safetensors", "dit.safetensors", "text.safetensors", NEXT },
    { "late.gguf", "dit.safetensors", "late.gguf", NEXT },
    { "late.json", "dit.safetensors", "late.json-1.safetensors", NEXT },
    { "text.safetensors", "dit.safetensors", "dit.safetensors", FIRST },
    { "text.safetensors", "half.safetensors", "half.safetensors", FIRST },
    { "text.safetensors", "late.dit.gguf", "late.dit.gguf", FIRST },
    { "text.safetensors", "dit.safetensors", "vae.safetensors", FIRST },
    { "text.safetensors", "dit.safetensors", "lora.safetensors", FIRST },
    { "text.safetensors", "dit.safetensors", "tokenizer.spm", IDLE },
    { "text.safetensors", "dit.safetensors", "m.json", IDLE },
};

/* As it was long ago, so that a later write is seen. */
static void make_old(const char *name)
{
    const struct timespec old[2] = { { 1, 0 }, { 1, 0 } };

    ck_assert_int_eq(utimensat(AT_FDCWD, wan_path(name), old, 0), 0);
}

static void damage(const char *name, int how)
{
    char command[512];

    if (how == EMPTY || how == CUT)
        snprintf(command, sizeof(command), "truncate -s %d %s", how == CUT ? 4096 : 0,
                 wan_path(name));
    else
        snprintf(command, sizeof(command), how == WRITTEN
                 ? "head -c $(stat -c %%s %s) /dev/zero | dd of=%s conv=notrunc 2>/dev/null"
                 : "cp %s %s.new; mv %s.new %s", wan_path(name), wan_path(name),
                 wan_path(name), wan_path(name));
    ck_assert_int_eq(system(command), 0);
}

static void write_changes(int i)
{
    static Pair p;

    fill_pair(&p);
    write_lora(&p, 0, 2);
    write_part(&model.text, "text.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_part(&model.text, "late.gguf", LV_LAYOUT_LLAMA, "");
    write_part(&model.text, "late.json", LV_LAYOUT_HF, "");
    write_part(&model.dit, "dit.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_form(&model.dit, "half.safetensors", WAN_BF16, 0);
    write_form(&model.dit, "late.dit.gguf", WAN_Q8_0, 0);
    write_part(&model.vae, "vae.safetensors", LV_LAYOUT_ORIGINAL, "");
    copy_file("tests/ref/tokenizer.spm", "tokenizer.spm");
    write_manifest(changes[i].dit, changes[i].text, "vae.safetensors",
                   ", \"tokenizer\": \"tokenizer.spm\", \"loras\": [{\"file\": "
                   "\"lora.safetensors\", \"weight\": 0.5}]");
    make_old(changes[i].file);
}

static int next_frame(LinvideoContext *c)
{
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    LinvideoFrame f = { .data = { rgb }, .stride = { WIDTH * 3 } };

    return linvideo_next_frame(c, &f);
}

/* when: how many clips are made before the file changes; then two are asked for, with
 * another prompt each. */
static void try_change(int i, int how, int when)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    int fails = how != REPLACED && changes[i].fails > when, ret = 0;
    LinvideoContext *c;

    write_changes(i);
    wan_errors   = 0;
    p.frames = 4 * FRAMES;
    ck_assert_msg(linvideo_open(&c, &p) == 0, "%s", wan_message);
    for (int k = 0; k < when * FRAMES; k++)
        ck_assert_msg(next_frame(c) == 0, "%s", wan_message);
    damage(changes[i].file, how);
    for (int clip = 0; clip < 2 && ret >= 0; clip++) {
        ck_assert_int_eq(linvideo_set_prompt(c, clip ? "rain" : "a blue star"), 0);
        for (int k = 0; k < FRAMES && ret >= 0; k++)
            ret = next_frame(c);
    }
    ck_assert_msg(fails ? ret == -ESTALE && wan_errors == 1 : !ret && !wan_errors,
                  "%s, damage %d after %d clips: %d, %d errors: %s", changes[i].file, how,
                  when, ret, wan_errors, wan_message);
    ck_assert(!fails || strstr(wan_message, changes[i].file));
    ck_assert(!fails || strstr(wan_message, "changed since it was opened"));
    linvideo_close(&c);
}

START_TEST(test_changes)
{
    for (int how = 0; how < DAMAGES; how++)
        for (int when = 0; when < 2; when++)
            try_change(_i, how, when);
}
END_TEST

/* Before it is opened, a file that was cut or overwritten is no model. */
START_TEST(test_changed_before)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoContext *c;

    for (int how = 0; how < REPLACED; how++) {
        write_changes(_i);
        damage(changes[_i].file, how);
        wan_errors = 0;
        ck_assert_int_lt(linvideo_open(&c, &p), 0);
        ck_assert_int_eq(wan_errors, 1);
        ck_assert_msg(strstr(wan_message, changes[_i].file) || strstr(wan_message, "tokenizer: "),
                      "%s: %s", changes[_i].file, wan_message);
    }
}
END_TEST

/* --- tiles, and the cache of features --- */

enum { SIDE = 192 };

static void note_warning(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    catch_all(opaque, (int)level, line);
}

/* The first picture of a clip of SIDE x SIDE, decoded in tiles. */
static void run_tiles(int tile, uint8_t *rgb)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoFrame f  = { .data = { rgb }, .stride = { SIDE * 3 } };
    LinvideoContext *c;

    p.log       = note_warning;
    p.log_level = LINVIDEO_LOG_WARNING;
    p.width  = p.height = SIDE;
    p.tile   = tile;
    p.frames = 1;
    ck_assert_msg(!linvideo_open(&c, &p), "%s", wan_message);
    ck_assert_int_eq(linvideo_next_frame(c, &f), 0);
    linvideo_close(&c);
}

/* Largest step between neighbours of a row, at columns from to to. */
static int steepest(const uint8_t *rgb, int from, int to)
{
    int top = 0;

    for (int i = 0; i < SIDE; i++)
        for (int j = from; j < to; j++)
            for (int c = 0; c < 3; c++) {
                const uint8_t *p = rgb + (i * SIDE + j) * 3 + c;
                top = LV_MAX(top, abs(p[3] - p[0]));
            }
    return top;
}

/* Tiles of 128 begin at 0 and 64: where they meet, the picture is no steeper than it is
 * elsewhere, and all is nearly the same. Wan's own decoder takes none below, which is said. */
START_TEST(test_tiles)
{
    static const char raised[] = "tile: 64 shows seams with this decoder; 128 is used";
    static uint8_t whole[SIDE * SIDE * 3], tiled[SIDE * SIDE * 3], least[SIDE * SIDE * 3];
    double sum = 0;

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_tiles(0, whole);
    run_tiles(SIDE, tiled);
    ck_assert_mem_eq(whole, tiled, sizeof(whole));
    warnings = 0;
    run_tiles(128, tiled);
    ck_assert_msg(!warnings, "%s", wan_message);
    run_tiles(64, least);
    ck_assert_msg(warnings == 1 && strstr(wan_message, raised), "%d: %s", warnings, wan_message);
    ck_assert_mem_eq(least, tiled, sizeof(tiled));
    ck_assert(memcmp(whole, tiled, sizeof(tiled)));
    ck_assert_int_le(steepest(tiled, 76, 116), 5 * steepest(whole, 0, SIDE - 1) / 4);
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        sum += abs(whole[i] - tiled[i]);
    ck_assert_msg(sum / sizeof(whole) < 20, "mean difference %g", sum / sizeof(whole));
}
END_TEST

/* --- TAEHV in its published size, with latents of both kinds --- */

START_TEST(test_tae)
{
    static uint8_t normalised[BYTES], plain[BYTES], got[BYTES];

    wan_kit_write_tae(&model, wan_path("taew2_1.safetensors"));
    write_manifest("dit.safetensors", "text.safetensors", "taew2_1.safetensors", "");
    run_model(got, LINVIDEO_PRECISION_F32);
    write_manifest("dit.safetensors", "text.safetensors", "taew2_1.safetensors",
                   ", \"latents\": \"normalised\"");
    run_model(normalised, LINVIDEO_PRECISION_F32);
    write_manifest("dit.safetensors", "text.safetensors", "taew2_1.safetensors",
                   ", \"latents\": \"plain\"");
    run_model(plain, LINVIDEO_PRECISION_F32);
    ck_assert_int_gt(varies(normalised), 20);
    ck_assert_mem_eq(normalised, got, BYTES);
    ck_assert(memcmp(normalised, plain, BYTES));
}
END_TEST

/* --- the cache of features --- */

static int cached_files(void)
{
    char command[256];
    FILE *f;
    int n = -1;

    snprintf(command, sizeof(command), "ls %s/linvideo/prompts 2>/dev/null | wc -l",
             wan_path("cache"));
    f = popen(command, "r");
    ck_assert_int_eq(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

START_TEST(test_cache)
{
    static uint8_t want[BYTES], got[BYTES];
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);

    setenv("XDG_CACHE_HOME", wan_path("cache"), 1);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_params(&p, want);
    ck_assert_int_eq(cached_files(), 0);
    p.prompt_cache = LINVIDEO_CACHE_ON;
    for (int i = 0; i < 2; i++) {
        run_params(&p, got);
        ck_assert_mem_eq(want, got, BYTES);
        ck_assert_int_eq(cached_files(), 1);
    }
    p.prompt = "a blue circle";
    run_params(&p, got);
    ck_assert(memcmp(want, got, BYTES));
    ck_assert_int_eq(cached_files(), 2);
    p.precision = LINVIDEO_PRECISION_BF16;
    run_params(&p, got);
    ck_assert_int_eq(cached_files(), 3);
}
END_TEST

static Suite *layouts_suite(void)
{
    Suite *suite = suite_create("layouts");
    TCase *tc    = tcase_create("layouts");

    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, start, end);
    tcase_add_loop_test(tc, test_layouts, 0, 2 * LV_COUNT(layouts));
    tcase_add_loop_test(tc, test_networks, 0, LV_COUNT(networks) * LV_COUNT(layouts));
    tcase_add_loop_test(tc, test_wan22, 0, LV_COUNT(layouts));
    tcase_add_test(tc, test_wan22_tae);
    tcase_add_test(tc, test_wan22_files);
    tcase_add_loop_test(tc, test_pair, 0, 3);
    tcase_add_test(tc, test_pair_cache);
    tcase_add_loop_test(tc, test_bad_pairs, 0, LV_COUNT(bad_pairs));
    tcase_add_loop_test(tc, test_no_networks, 0, LV_COUNT(no_networks));
    tcase_add_loop_test(tc, test_forms, 0, 2 * WAN_FORMS);
    tcase_add_loop_test(tc, test_pieces, 0, LV_COUNT(pieces));
    tcase_add_loop_test(tc, test_bad_pieces, 0, LV_COUNT(bad_pieces) + 1);
    tcase_add_loop_test(tc, test_notes, 0, LV_COUNT(notes));
    tcase_add_loop_test(tc, test_refused, 0, LV_COUNT(refused));
    tcase_add_loop_test(tc, test_manifests, 0, LV_COUNT(manifests));
    tcase_add_loop_test(tc, test_lora, 0, LV_COUNT(spellings));
    tcase_add_loop_test(tc, test_lora_refused, 0, LV_COUNT(bad_loras));
    tcase_add_loop_test(tc, test_pair_loras, 0, LV_COUNT(paired));
    tcase_add_loop_test(tc, test_bad_pair_loras, 0, LV_COUNT(bad_pair_loras));
    tcase_add_loop_test(tc, test_lora_kinds, 0, LV_COUNT(kinds));
    tcase_add_test(tc, test_lora_cannot);
    tcase_add_loop_test(tc, test_lora_others, 0, LV_COUNT(other_keys));
    tcase_add_test(tc, test_lora_images);
    tcase_add_loop_test(tc, test_lora_halves, 0, LV_COUNT(halves));
    tcase_add_test(tc, test_lora_many);
    tcase_add_loop_test(tc, test_lora_weights, 0, LV_COUNT(lora_weights));
    tcase_add_loop_test(tc, test_joined, 0, LV_COUNT(joined));
    tcase_add_loop_test(tc, test_foreign, 0, LV_COUNT(foreign));
    tcase_add_loop_test(tc, test_folded, 0, 2);
    tcase_add_test(tc, test_odd);
    tcase_add_loop_test(tc, test_changes, 0, LV_COUNT(changes));
    tcase_add_loop_test(tc, test_changed_before, 0, LV_COUNT(changes));
    tcase_add_test(tc, test_tiles);
    tcase_add_test(tc, test_tae);
    tcase_add_test(tc, test_cache);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(layouts_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
