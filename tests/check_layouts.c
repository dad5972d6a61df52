/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of models in separate files: the same weights give the same bits in every layout
 * and however they are stored; LoRAs; what is not understood is refused.
 */

#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linvideo/linvideo.h"
#include "model/files.h"
#include "model/tokenizer.h"
#include "tests/wan_kit.h"

enum { WIDTH = 32, HEIGHT = 32, FRAMES = 5, BYTES = WIDTH * HEIGHT * 3 * FRAMES };

static char folder[] = "/tmp/linvideo-layouts-XXXXXX";
static WanModel model;
static char message[2048];
static int errors;

static void catch_line(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    (void)opaque;
    if (level != LINVIDEO_LOG_ERROR)
        return;
    snprintf(message, sizeof(message), "%s", line);
    errors++;
}

static const char *path_of(const char *name)
{
    static char path[8][160];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void write_text(const char *name, const char *fmt, ...)
{
    FILE *f = fopen(path_of(name), "w");
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

    snprintf(path, sizeof(path), "%s/m.json", folder);
    linvideo_params_default(&p);
    p.model     = path;
    p.prompt    = "a red circle";
    p.seed      = 3;
    p.format    = LINVIDEO_RGB24;
    p.precision = precision;
    p.log       = catch_line;
    p.threads   = 2;
    return p;
}

/* All frames of m.json. */
static void run_params(const LinvideoParams *p, uint8_t *rgb)
{
    LinvideoContext *c;
    LinvideoFrame f = { .stride = { WIDTH * 3 } };

    errors = 0;
    ck_assert_msg(linvideo_open(&c, p) == 0, "%s", message);
    for (int i = 0; i < FRAMES; i++) {
        f.data[0] = rgb + (size_t)i * WIDTH * HEIGHT * 3;
        ck_assert_msg(linvideo_next_frame(c, &f) == 0, "%s", message);
    }
    linvideo_close(&c);
    ck_assert_int_eq(errors, 0);
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

    errors = 0;
    ret = linvideo_open(&c, &p);
    ck_assert_msg(ret == code && errors == 1 && strstr(message, part), "%d, %d errors: %s; "
                  "expected: %s", ret, errors, message, part);
}

static void write_part(const WanPart *p, const char *name, int layout, const char *prefix)
{
    const WanFile f = { .path = path_of(name), .layout = layout, .prefix = prefix };

    wan_kit_write(&model, p, &f);
}

static void write_form(const WanPart *p, const char *name, int form, int exact)
{
    const WanFile f = { .path = path_of(name), .prefix = "", .form = form,
                        .exact = exact };

    wan_kit_write(&model, p, &f);
}

static void copy_file(const char *from, const char *to)
{
    char command[256];

    snprintf(command, sizeof(command), "cp %s %s", from, path_of(to));
    ck_assert_int_eq(system(command), 0);
}

static void start(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    wan_kit_new(&model);
    copy_file("tests/ref/tokenizer.spm", "tokenizer.spm");
    write_part(&model.dit, "dit.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_part(&model.text, "text.safetensors", LV_LAYOUT_ORIGINAL, "");
    write_part(&model.vae, "vae.safetensors", LV_LAYOUT_ORIGINAL, "");
}

static void end(void)
{
    char command[64];

    wan_kit_free(&model);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
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

static void put_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "%s\n", line);
}

static const LvMsg loud = { put_line, NULL, LV_MSG_WARNING };

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
    wan_kit_add_pieces(path_of("b.gguf"), &pieces[_i]);
    ck_assert_int_eq(lv_map_open(&spm, path_of("tokenizer.spm"), NULL), 0);
    ck_assert_int_eq(lv_tokenizer_open(&a, spm.data, spm.size, NULL), 0);
    open_pieces(&b, path_of("b.gguf"));
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
        wan_kit_add_pieces(path_of("b.gguf"), &bad_pieces[_i].w);
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
    { WAN_F32, NULL, "img_emb.proj.0.weight", "image to video",
      LINVIDEO_ERR_UNSUPPORTED },
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
      "is no JSON", LINVIDEO_ERR_MODEL },
    { WAN_INT8, "blocks.0.self_attn.q.weight_scale", NULL, "I8 without a scale",
      LINVIDEO_ERR_MODEL },
    { WAN_TURBO, "blocks.0.self_attn.q.scale", NULL, "has no scale beside",
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
    { "{\"layers\"", NULL, "_quantization_metadata is no JSON" },
    { "{\"layers\": {}, \"layers\": {}}", NULL, "_quantization_metadata is no JSON" },
    { "{\"layer\": {}}", NULL, "_quantization_metadata does not tell of layers" },
    { "{\"layers\": []}", NULL, "_quantization_metadata does not tell of layers" },
    { "[]", NULL, "_quantization_metadata does not tell of layers" },
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
    const WanFile f = { .path = path_of("x.safetensors"), .prefix = "",
                        .form = WAN_META_SCALE, .note = notes[_i].note,
                        .drop = notes[_i].drop };

    wan_kit_write(&model, &model.dit, &f);
    write_manifest("x.safetensors", "text.safetensors", "vae.safetensors", "");
    expect_error(LINVIDEO_ERR_MODEL, notes[_i].part);
}
END_TEST

START_TEST(test_refused)
{
    const WanFile f = { .path = path_of("x.safetensors"), .prefix = "",
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
    { "{\"dit\": 1}", "dit is no name of a file", LINVIDEO_ERR_MODEL },
    { "{}", "dit is missing", LINVIDEO_ERR_MODEL },
    { "{\"dti\": \"x\"}", "dti is no key of a manifest", LINVIDEO_ERR_MODEL },
    { "{\"dit\": \"none\"}", "No such file", -2 },
    { "{\"dit\": \"vae.safetensors\"}", "holds no dit network", LINVIDEO_ERR_MODEL },
    { "{\"dit\": \"dit.safetensors\", \"text\": \"text.safetensors\"}", "vae is missing",
      LINVIDEO_ERR_MODEL },
    { "{\"preset\": \"fast\"}", "preset is none", LINVIDEO_ERR_MODEL },
    { "{\"video\": {\"width\": 7}}", "video.width is 7", LINVIDEO_ERR_MODEL },
    { "{\"video\": {\"size\": 7}}", "size is no key", LINVIDEO_ERR_MODEL },
    { "{\"sampler\": 3}", "sampler is no object", LINVIDEO_ERR_MODEL },
    { "{\"negative_prompt\": 3}", "negative_prompt is no text", LINVIDEO_ERR_MODEL },
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

    ck_assert_int_eq(lv_safetensors_write(path_of("lora.safetensors"), t,
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
    snprintf(option, sizeof(option), "%s@0.5", path_of("lora.safetensors"));
    p_.lora = option;
    run_params(&p_, got);
    ck_assert_mem_eq(want, got, BYTES);
    snprintf(option, sizeof(option), "%s@0.25|%s@0.125", path_of("lora.safetensors"),
             path_of("lora.safetensors"));
    run_params(&p_, got);
    ck_assert(memcmp(want, got, BYTES));
}
END_TEST

static const struct {
    const char *name, *part;
} bad_loras[] = {
    { "diffusion_model.blocks.7.self_attn.q", "1 layer the model does not have" },
    { "diffusion_model.blocks.1.self_attn.z", "1 layer the model does not have" },
    { "diffusion_model.blocks.1.self_attn.q.lora_mid", "no key of a LoRA" },
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
    lv_safetensors_write(path_of("bad.safetensors"), t, 2, NULL, NULL);
    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors",
                   ", \"loras\": [{\"file\": \"bad.safetensors\"}]");
    expect_error(LINVIDEO_ERR_MODEL, bad_loras[_i].part);
}
END_TEST

/* --- tiles, and the cache of features --- */

enum { SIDE = 128 };

/* The first picture of a clip of SIDE x SIDE, decoded in tiles. */
static void run_tiles(int tile, uint8_t *rgb)
{
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);
    LinvideoFrame f  = { .data = { rgb }, .stride = { SIDE * 3 } };
    LinvideoContext *c;

    p.width  = p.height = SIDE;
    p.tile   = tile;
    p.frames = 1;
    ck_assert_msg(!linvideo_open(&c, &p), "%s", message);
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

/* Tiles of 64 begin at 0, 48 and 64: where they meet, the picture is no steeper than it is
 * elsewhere, and far from it all is nearly the same. */
START_TEST(test_tiles)
{
    static uint8_t whole[SIDE * SIDE * 3], tiled[SIDE * SIDE * 3];
    double sum = 0;

    write_manifest("dit.safetensors", "text.safetensors", "vae.safetensors", "");
    run_tiles(0, whole);
    run_tiles(SIDE, tiled);
    ck_assert_mem_eq(whole, tiled, sizeof(whole));
    run_tiles(64, tiled);
    ck_assert_int_le(steepest(tiled, 44, 84), 5 * steepest(whole, 0, SIDE - 1) / 4);
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        sum += abs(whole[i] - tiled[i]);
    ck_assert_msg(sum / sizeof(whole) < 20, "mean difference %g", sum / sizeof(whole));
}
END_TEST

/* --- TAEHV in its published size, with latents of both kinds --- */

START_TEST(test_tae)
{
    static uint8_t normalised[BYTES], plain[BYTES], got[BYTES];

    wan_kit_write_tae(&model, path_of("taew2_1.safetensors"));
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
             path_of("cache"));
    f = popen(command, "r");
    ck_assert_int_eq(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

START_TEST(test_cache)
{
    static uint8_t want[BYTES], got[BYTES];
    LinvideoParams p = params(LINVIDEO_PRECISION_F32);

    setenv("XDG_CACHE_HOME", path_of("cache"), 1);
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
    tcase_add_loop_test(tc, test_forms, 0, 2 * WAN_FORMS);
    tcase_add_loop_test(tc, test_pieces, 0, LV_COUNT(pieces));
    tcase_add_loop_test(tc, test_bad_pieces, 0, LV_COUNT(bad_pieces) + 1);
    tcase_add_loop_test(tc, test_notes, 0, LV_COUNT(notes));
    tcase_add_loop_test(tc, test_refused, 0, LV_COUNT(refused));
    tcase_add_loop_test(tc, test_manifests, 0, LV_COUNT(manifests));
    tcase_add_loop_test(tc, test_lora, 0, LV_COUNT(spellings));
    tcase_add_loop_test(tc, test_lora_refused, 0, LV_COUNT(bad_loras));
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
