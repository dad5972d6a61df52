/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/recognise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ops.h"
#include "model/weights.h"

enum { HEAD_DIM = 128, CLIP_HEAD_DIM = 80, TEXT_LEN = 512, NAME_SIZE = 256, CHANNELS = 16,
       MAX_MAP = 4096 };

/* Kinds */

/* A tensor that only one network has, in one layout. */
static const struct {
    const char *name;
    int rank; ///< 0: any
    int kind, layout;
} signs[] = {
    { "text_embedding.0.weight", 0, LV_PART_DIT, LV_LAYOUT_ORIGINAL },
    { "condition_embedder.text_embedder.linear_1.weight", 0, LV_PART_DIT, LV_LAYOUT_HF },
    { "blocks.0.pos_embedding.embedding.weight", 0, LV_PART_TEXT, LV_LAYOUT_ORIGINAL },
    { "shared.weight", 0, LV_PART_TEXT, LV_LAYOUT_HF },
    { "encoder.embed_tokens.weight", 0, LV_PART_TEXT, LV_LAYOUT_HF },
    { "token_embd.weight", 0, LV_PART_TEXT, LV_LAYOUT_LLAMA },
    { "decoder.middle.0.residual.0.gamma", 0, LV_PART_WAN_VAE, LV_LAYOUT_ORIGINAL },
    { "decoder.mid_block.resnets.0.norm1.gamma", 0, LV_PART_WAN_VAE, LV_LAYOUT_HF },
    { "decoder.1.weight", 4, LV_PART_TAE, LV_LAYOUT_ORIGINAL },
    { "visual.cls_embedding", 0, LV_PART_CLIP, LV_LAYOUT_ORIGINAL },
    { "vision_model.embeddings.class_embedding", 0, LV_PART_CLIP, LV_LAYOUT_HF },
    { ".lora_down.weight", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".lora_A.weight", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".lora_A.default.weight", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".lora.down.weight", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".hada_w1_a", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".lokr_w1", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { ".lokr_w1_a", 2, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
    { "self_attn.map_q.weight", 3, LV_PART_LORA, LV_LAYOUT_ORIGINAL },
};

/* Whether t's name is a prefix and then the sign; its length in *prefix. */
static int has_sign(const LvFileTensor *t, int sign, size_t *prefix)
{
    size_t n = strlen(t->name), k = strlen(signs[sign].name);

    if (n < k || strcmp(t->name + n - k, signs[sign].name) ||
        (signs[sign].rank && t->rank != signs[sign].rank))
        return 0;
    *prefix = n - k;
    return signs[sign].kind == LV_PART_LORA ||
           (*prefix < LV_PREFIX_SIZE && (!*prefix || t->name[*prefix - 1] == '.'));
}

/* The part of a kind (LV_PART_NONE: of any), without what is within it. */
static LvPart find_sign(const LvSource *src, int kind)
{
    LvPart part = { .src = src };
    size_t n;

    for (int k = 0; k < LV_COUNT(signs); k++)
        for (int i = 0; i < lv_source_count(src); i++) {
            const LvFileTensor *t = lv_source_at(src, i);

            if ((kind && signs[k].kind != kind) || !has_sign(t, k, &n))
                continue;
            part.kind   = signs[k].kind;
            part.layout = signs[k].layout;
            if (part.kind != LV_PART_LORA)
                memcpy(part.prefix, t->name, n);
            return part;
        }
    return part;
}

static void find_within(LvPart *part)
{
    static const enum LvPartKind kinds[] = { LV_PART_DIT, LV_PART_TEXT, LV_PART_WAN_VAE,
                                             LV_PART_TAE, LV_PART_CLIP };
    size_t n = strlen(part->prefix);
    int nb = 0;

    for (int i = 0; i < LV_COUNT(kinds) && part->kind && part->kind != LV_PART_LORA; i++) {
        LvPart other = { 0 };

        if (kinds[i] != part->kind)
            other = find_sign(part->src, kinds[i]);
        if (other.kind && strlen(other.prefix) > n && !strncmp(other.prefix, part->prefix, n))
            memcpy(part->within[nb++], other.prefix, LV_PREFIX_SIZE);
    }
}

LvPart lv_part_find_kind(const LvSource *src, int kind)
{
    LvPart part = find_sign(src, kind);

    find_within(&part);
    return part;
}

LvPart lv_part_find(const LvSource *src)
{
    return lv_part_find_kind(src, LV_PART_NONE);
}

int lv_part_owns(const LvPart *p, const char *name)
{
    if (strncmp(name, p->prefix, strlen(p->prefix)))
        return 0;
    for (int i = 0; i < LV_COUNT(p->within); i++)
        if (p->within[i][0] && !strncmp(name, p->within[i], strlen(p->within[i])))
            return 0;
    return 1;
}

/* What is refused */

/* Ends of tensors' names that tell of ways to quantise, the most telling first. */
static const struct {
    const char *end, *what;
} foreign[] = {
    { ".weight._data", "quanto" },
    { ".bitsandbytes__nf4", "bitsandbytes (NF4)" },
    { ".bitsandbytes__fp4", "bitsandbytes (FP4)" },
    { ".weight.absmax", "bitsandbytes (4 bits)" },
    { ".weight.quant_map", "bitsandbytes (4 bits)" },
    { ".SCB", "bitsandbytes (8 bits)" },
    { ".smooth_factor", "SVDQuant" }, { ".smooth", "SVDQuant" },
    { ".wscales", "SVDQuant" },
    { ".g_idx", "GPTQ" }, { ".qzeros", "AWQ or GPTQ" },
    { ".qweight", "AWQ, GPTQ or SVDQuant" },
    { ".W_q", "HQQ" },
    { ".weight_packed", "compressed-tensors" },
};

static int refuse_foreign(const LvSource *src, const LvMsg *msg)
{
    for (int k = 0; k < LV_COUNT(foreign); k++)
        for (int i = 0; i < lv_source_count(src); i++) {
            const char *name = lv_source_at(src, i)->name;
            size_t n = strlen(name), end = strlen(foreign[k].end);

            if (n > end && !strcmp(name + n - end, foreign[k].end))
                return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: %s: quantised by %s, which is not "
                               "supported; use a BF16, FP8 or GGUF file of the model",
                               lv_source_path(src), name, foreign[k].what);
        }
    return 0;
}

/* The prefix of another network that has sign k; NULL when there is none. */
static const LvFileTensor *second_of(const LvPart *part, int k)
{
    size_t n;

    for (int i = 0; i < lv_source_count(part->src); i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (has_sign(t, k, &n) && (n != strlen(part->prefix) ||
                                   strncmp(t->name, part->prefix, n)))
            return t;
    }
    return NULL;
}

int lv_part_check(const LvSource *src, const LvMsg *msg)
{
    int ret = refuse_foreign(src, msg);

    for (int k = 0; k < LV_COUNT(signs) && ret >= 0; k++) {
        const LvPart part     = find_sign(src, signs[k].kind);
        const LvFileTensor *t = part.kind == LV_PART_LORA ? NULL : second_of(&part, k);
        if (part.kind && t)
            return lv_fail(msg, LV_ERR_MODEL, "%s: holds two networks of one kind (%s): one has "
                           "the prefix \"%s\", the other %s; take them apart",
                           lv_source_path(src), lv_part_name(part.kind), part.prefix, t->name);
    }
    return ret;
}

const char *lv_part_name(int kind)
{
    static const char *const names[LV_PART_NB] = { "none", "dit", "text", "vae", "tae",
                                                   "lora", "clip" };

    return names[kind];
}

/* Sizes */

static const LvFileTensor *find(const LvPart *p, const char *name)
{
    char full[NAME_SIZE];

    if (snprintf(full, sizeof(full), "%s%s", p->prefix, name) >= NAME_SIZE)
        return NULL;
    return lv_source_find(p->src, full);
}

static int fail(const LvPart *p, const LvMsg *msg, int code, const char *name,
                const char *what)
{
    return lv_fail(msg, code, "%s: %s%s %s", lv_source_path(p->src), p->prefix, name, what);
}

/* A size that a tensor tells: dimension i (-1: elements, -2: elements over the first). */
typedef struct SizeRow {
    const char *name[LV_LAYOUT_NB];
    int dim;
    size_t offset;  ///< of an int
    int max;
} SizeRow;

static int64_t size_of(const LvFileTensor *t, int dim)
{
    if (dim == -2)
        return t->rank && t->dim[0] ? (int64_t)t->numel / t->dim[0] : 0;
    return dim < 0 ? (int64_t)t->numel : dim < t->rank ? t->dim[dim] : 0;
}

static int read_sizes(void *to, const LvPart *p, const SizeRow *rows, int nb,
                      const LvMsg *msg)
{
    for (int i = 0; i < nb; i++) {
        const char *name = rows[i].name[p->layout];
        const LvFileTensor *t = find(p, name);
        int64_t n;

        if (!t)
            return fail(p, msg, LV_ERR_MODEL, name, "is missing");
        n = size_of(t, rows[i].dim);
        if (n < 1 || n > rows[i].max)
            return fail(p, msg, LV_ERR_MODEL, name, "has a size that is out of range");
        *(int *)(void *)((char *)to + rows[i].offset) = (int)n;
    }
    return 0;
}

/* Layers: 1 + the highest number in names PREFIX BEGIN N ".". */
static int count_layers(const LvPart *p, const char *begin)
{
    size_t n = strlen(p->prefix), k = strlen(begin);
    int layers = 0, i;

    for (int c = 0; c < lv_source_count(p->src); c++) {
        const char *name = lv_source_at(p->src, c)->name;
        if (lv_part_owns(p, name) && !strncmp(name + n, begin, k) &&
            sscanf(name + n + k, "%6d.", &i) == 1 && i >= 0)
            layers = LV_MAX(layers, i + 1);
    }
    return layers;
}

static int set_layers(int *layers, const LvPart *p, const char *begin, const LvMsg *msg)
{
    *layers = count_layers(p, begin);
    return *layers >= 1 && *layers <= LV_MAX_LAYERS ? 0 :
           fail(p, msg, LV_ERR_MODEL, begin, "N: no usable number of layers");
}

#define DIT(member)  offsetof(LvDitConfig, member)
#define TEXT(member) offsetof(LvUmt5Config, member)
#define VAE(member)  offsetof(LvTaeConfig, member)

static const SizeRow dit_sizes[] = {
    { { "patch_embedding.bias", "patch_embedding.bias", NULL }, -1, DIT(dim), 1 << 16 },
    { { "blocks.0.ffn.0.bias", "blocks.0.ffn.net.0.proj.bias", NULL }, -1, DIT(ffn_dim),
      1 << 18 },
    { { "text_embedding.0.weight", "condition_embedder.text_embedder.linear_1.weight",
        NULL }, 1, DIT(text_dim), 1 << 16 },
    { { "time_embedding.0.weight", "condition_embedder.time_embedder.linear_1.weight",
        NULL }, 1, DIT(freq_dim), 4096 },
    { { "head.head.bias", "proj_out.bias", NULL }, -1, DIT(channels), 4 << 10 },
};

/* Parts of names of networks that are like Wan's. */
static const char *const others[][2] = {
    { "vace_", "VACE" },
    { "face_adapter.", "Wan2.2 Animate" },
    { "motion_encoder.", "Wan2.2 Animate" },
    { "pose_patch_embedding.", "Wan2.2 Animate" },
    { "casual_audio_encoder.", "Wan2.2 S2V" },
    { "audio_injector.", "Wan2.2 S2V" },
    { "frame_packer.", "Wan2.2 S2V" },
    { "trainable_cond_mask.", "Wan2.2 S2V" },
    { "control_adapter.", "Wan-Fun" },
    { "ref_conv.", "Wan-Fun" },
    { "local_attn.proj_l.", "sparse-linear attention (SLA)" },
    { "attn_impl.proj_l.", "sparse-linear attention (SLA)" },
    { "to_gate_compress.", "sparse attention (VSA)" },
};

static int refuse_others(const LvPart *p, const LvMsg *msg)
{
    for (int i = 0; i < lv_source_count(p->src); i++)
        for (int k = 0; k < LV_COUNT(others); k++) {
            const char *name = lv_source_at(p->src, i)->name;
            if (lv_part_owns(p, name) && strstr(name, others[k][0]))
                return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: %s: this is a model of %s, "
                               "expected text or image to video of Wan2.1 or Wan2.2",
                               lv_source_path(p->src), name, others[k][1]);
        }
    return 0;
}

/* Linear layers (LinVideo) */

/* Text of a metadata key, of either container. 0: there is none. */
static int read_meta(char *text, size_t size, const LvPart *p, const char *key)
{
    const char *meta      = lv_source_meta(p->src, key);
    const LvGguf *g       = lv_source_gguf(p->src);
    const LvGgufValue *v  = g ? lv_gguf_value(g, key) : NULL;
    const uint8_t *at     = v && v->type == LV_GGUF_STRING && !v->is_array ? v->at : NULL;
    const LvGgufString s  = at ? lv_gguf_string(&at) : (LvGgufString) { 0 };

    if (meta)
        snprintf(text, size, "%s", meta);
    else
        snprintf(text, size, "%.*s", (int)LV_MIN(s.n, size), s.n ? s.s : "");
    return meta || at;
}

/* The kind of the maps, and the number in their denominators. */
static int read_map_kind(LvDitConfig *c, const LvPart *p, const LvMsg *msg)
{
    char text[32], *end;
    int named = read_meta(text, sizeof(text), p, LV_MAP_KEY), kind = LV_MAP_HEDGEHOG;

    for (kind = named ? 0 : kind; named && kind < LV_MAP_NB; kind++)
        if (!strcmp(text, lv_map_name(kind)))
            break;
    if (kind == LV_MAP_NB)
        return lv_fail(msg, LV_ERR_MODEL, "%s: metadata " LV_MAP_KEY " is '%s', expected "
                       "hedgehog, relu or taylor", lv_source_path(p->src), text);
    c->map     = kind;
    c->map_eps = 1e-6f;
    if (!read_meta(text, sizeof(text), p, LV_MAP_EPS_KEY))
        return 0;
    c->map_eps = strtof(text, &end);
    return end > text && !*end && c->map_eps >= 0 && c->map_eps <= 0.1f ? 0 :
           lv_fail(msg, LV_ERR_MODEL, "%s: metadata " LV_MAP_EPS_KEY " is '%s', expected a "
                   "number from 0 to 0.1", lv_source_path(p->src), text);
}

int lv_part_maps(LvDitConfig *c, const LvPart *p, const LvMsg *msg)
{
    for (int i = 0; i < c->layers; i++) {
        char name[2][64];
        const LvFileTensor *t[2];

        for (int k = 0; k < 2; k++) {
            snprintf(name[k], sizeof(name[k]), "blocks.%d.self_attn.map_%c.weight", i,
                     "qk"[k]);
            t[k] = find(p, name[k]);
        }
        if (!t[0] && !t[1])
            continue;
        if (!t[0] || !t[1])
            return fail(p, msg, LV_ERR_MODEL, name[!!t[0]], "is missing, but the layer's other "
                        "map is there");
        if (t[0]->rank != 3 || t[0]->dim[2] < 1 || t[0]->dim[2] > MAX_MAP ||
            (c->map_dim && t[0]->dim[2] != c->map_dim))
            return fail(p, msg, LV_ERR_MODEL, name[0], "is not [heads,head_dim,map_dim] with "
                        "one map_dim for all layers");
        c->map_dim      = (int)t[0]->dim[2];
        c->attention[i] = LV_ATTN_LINEAR;
    }
    return c->map_dim ? read_map_kind(c, p, msg) : 0;
}

/* Channels in and out of the networks that are known. */
static const struct {
    int in, out;
    int clip; ///< 1: may attend to CLIP's features
} channels[] = {
    { 16, 16, 0 }, /* text to video; half of A14B */
    { 36, 16, 1 }, /* image to video; half of A14B without CLIP */
    { LV_WAN22_CHANNELS, LV_WAN22_CHANNELS, 0 }, /* TI2V 5B */
};

enum { FUN_DIM = 1536 }; /* no other with CLIP is as small */

/* What Wan-Fun is told from image to video by. */
static int check_channels(const LvDitConfig *c, const LvPart *p, const LvMsg *msg)
{
    int in = c->channels + c->cond_channels;

    for (int i = 0; i < LV_COUNT(channels); i++)
        if (in == channels[i].in && c->channels == channels[i].out &&
            (!c->clip_dim || (channels[i].clip && c->dim != FUN_DIM)))
            return 0;
    return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: %d channels in and %d out, of width %d, %s CLIP's "
                   "features: expected text or image to video of Wan2.1 or Wan2.2 (Wan-Fun and "
                   "others are not known)", lv_source_path(p->src), in, c->channels, c->dim,
                   c->clip_dim ? "with" : "without");
}

/* The image side, where there is one. */
static void read_clip(LvDitConfig *c, const LvPart *p)
{
    static const char *const norms[] = {
        "img_emb.proj.0.bias", "condition_embedder.image_embedder.norm1.bias",
    };
    static const char *const places[] = {
        "img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed",
    };
    int hf = p->layout == LV_LAYOUT_HF;
    const LvFileTensor *norm = find(p, norms[hf]);

    if (!norm || norm->numel < 1 || norm->numel > 1 << 16)
        return;
    c->clip_dim    = (int)norm->numel;
    c->clip_images = find(p, places[hf]) ? 2 : 1;
}

int lv_part_dit(LvDitConfig *c, const LvPart *p, const LvMsg *msg)
{
    const LvFileTensor *patch;
    int in, ret;

    *c = (LvDitConfig) { .patch = { 1, 2, 2 }, .eps = 1e-6f, .text_len = TEXT_LEN };
    if ((ret = refuse_others(p, msg)) < 0 ||
        (ret = read_sizes(c, p, dit_sizes, LV_COUNT(dit_sizes), msg)) < 0 ||
        (ret = set_layers(&c->layers, p, "blocks.", msg)) < 0)
        return ret;
    if (!(patch = find(p, "patch_embedding.weight")))
        return fail(p, msg, LV_ERR_MODEL, "patch_embedding.weight", "is missing (some GGUF "
                    "files are without it: make them again)");
    in           = (int)(patch->numel / 4 / (size_t)c->dim);
    c->channels /= 4;
    c->heads     = c->dim / HEAD_DIM;
    c->cond_channels = in - c->channels;
    read_clip(c, p);
    if ((ret = check_channels(c, p, msg)) < 0)
        return ret;
    if (c->dim % HEAD_DIM || c->freq_dim % 2)
        return fail(p, msg, LV_ERR_MODEL, "patch_embedding.bias", "has a size that is not "
                    "a multiple of 128");
    return lv_part_maps(c, p, msg);
}

static const SizeRow text_sizes[] = {
    { { "norm.weight", "encoder.final_layer_norm.weight", "enc.output_norm.weight" }, -1,
      TEXT(dim), 1 << 16 },
    { { "blocks.0.attn.q.weight", "encoder.block.0.layer.0.SelfAttention.q.weight",
        "enc.blk.0.attn_q.weight" }, 0, TEXT(dim_attn), 1 << 16 },
    { { "blocks.0.ffn.fc1.weight", "encoder.block.0.layer.1.DenseReluDense.wi_1.weight",
        "enc.blk.0.ffn_up.weight" }, 0, TEXT(dim_ffn), 1 << 18 },
    { { "blocks.0.pos_embedding.embedding.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "enc.blk.0.attn_rel_b.weight" }, 1, TEXT(heads), 1024 },
    { { "blocks.0.pos_embedding.embedding.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "enc.blk.0.attn_rel_b.weight" }, 0, TEXT(buckets), 1024 },
};

int lv_part_text(LvUmt5Config *c, const LvPart *p, const LvMsg *msg)
{
    static const char *const layers[] = { "blocks.", "encoder.block.", "enc.blk." };
    static const char *const tables[] = { "token_embedding.weight", "shared.weight",
                                          "token_embd.weight" };
    const LvFileTensor *table = find(p, tables[p->layout]);
    int ret;

    *c = (LvUmt5Config) { .max_distance = 128, .eps = 1e-6f };
    if ((ret = read_sizes(c, p, text_sizes, LV_COUNT(text_sizes), msg)) < 0 ||
        (ret = set_layers(&c->layers, p, layers[p->layout], msg)) < 0)
        return ret;
    if (!table && p->layout == LV_LAYOUT_HF)
        table = find(p, "encoder.embed_tokens.weight");
    if (!table || table->rank != 2 || table->dim[0] < 1 || table->dim[0] > 1 << 22)
        return fail(p, msg, LV_ERR_MODEL, tables[p->layout], "is missing or of a size that "
                    "is out of range");
    c->vocab = (int)table->dim[0];
    if (c->dim_attn % c->heads || c->buckets % 4 || c->max_distance <= c->buckets / 4)
        return fail(p, msg, LV_ERR_MODEL, text_sizes[3].name[p->layout], "does not fit the "
                    "other sizes");
    return 0;
}

static const SizeRow vae_sizes[] = {
    { { "conv2.bias", "post_quant_conv.bias", NULL }, -1, VAE(channels), LV_MAX_CHANNELS },
    { { "decoder.head.0.gamma", "decoder.norm_out.gamma", NULL }, -1, VAE(width), 4096 },
    { { "decoder.head.2.bias", "decoder.conv_out.bias", NULL }, -1, VAE(patch), 4096 },
};

static const SizeRow encoder_sizes[] = {
    { { "encoder.conv1.bias", "encoder.conv_in.bias", NULL }, -1, VAE(encoder_width), 4096 },
};

static const SizeRow tae_sizes[] = {
    { { "decoder.1.weight", NULL, NULL }, 1, VAE(channels), LV_MAX_CHANNELS },
};

/* Statistics of latents, which are stored as (z - mean) / std: Wan2.1's, Wan2.2's. */
static const struct {
    int channels;
    float mean[LV_MAX_CHANNELS], std[LV_MAX_CHANNELS];
} latents[] = {
    { CHANNELS,
    { -0.7571f, -0.7089f, -0.9113f, 0.1075f, -0.1745f, 0.9653f, -0.1517f, 1.5508f,
      0.4134f, -0.0715f, 0.5517f, -0.3632f, -0.1922f, -0.9497f, 0.2503f, -0.2921f },
    { 2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
      3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f } },
    { LV_WAN22_CHANNELS,
    { -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f, 0.1838f, 0.1557f,
      -0.1382f, 0.0542f, 0.2813f, 0.0891f, 0.1570f, -0.0098f, 0.0375f, -0.1825f,
      -0.2246f, -0.1207f, -0.0698f, 0.5109f, 0.2665f, -0.2108f, -0.2158f, 0.2502f,
      -0.2055f, -0.0322f, 0.1109f, 0.1567f, -0.0729f, 0.0899f, -0.2799f, -0.1230f,
      -0.0313f, -0.1649f, 0.0117f, 0.0723f, -0.2839f, -0.2083f, -0.0520f, 0.3748f,
      0.0152f, 0.1957f, 0.1433f, -0.2944f, 0.3573f, -0.0548f, -0.1681f, -0.0667f },
    { 0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f,
      0.8158f, 1.0344f, 0.5894f, 1.0901f, 0.6885f, 0.6165f, 0.8454f, 0.4978f,
      0.5759f, 0.3523f, 0.7135f, 0.6804f, 0.5833f, 1.4146f, 0.8986f, 0.5659f,
      0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f, 0.6866f, 0.4093f,
      0.5709f, 0.6065f, 0.6415f, 0.4944f, 0.5726f, 1.2042f, 0.5458f, 1.6887f,
      0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f } },
};

static void set_statistics(LvTaeConfig *c)
{
    int k = c->channels == LV_WAN22_CHANNELS;

    memcpy(c->mean, latents[k].mean, sizeof(c->mean));
    memcpy(c->std, latents[k].std, sizeof(c->std));
}

/* Pixels that its last convolution makes of each place: one, or 2 x 2. */
static int set_patch(LvTaeConfig *c, const LvPart *p, const LvMsg *msg)
{
    int made = c->patch;

    if (made != 3 && made != 12)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: a decoder of %d channels of pixels, "
                       "expected 3 (Wan2.1) or 12 (Wan2.2)", lv_source_path(p->src), made);
    c->patch = made == 3 ? 1 : 2;
    return c->patch == 2 && find(p, encoder_sizes[0].name[p->layout])
         ? read_sizes(c, p, encoder_sizes, LV_COUNT(encoder_sizes), msg) : 0;
}

int lv_part_vae(LvTaeConfig *c, const LvPart *p, const LvMsg *msg)
{
    int wan = p->kind == LV_PART_WAN_VAE, wanted, ret;

    *c  = (LvTaeConfig) { .kind = wan ? LV_VAE_WAN : LV_VAE_TAE, .patch = 1 };
    ret = wan ? read_sizes(c, p, vae_sizes, LV_COUNT(vae_sizes), msg)
              : read_sizes(c, p, tae_sizes, LV_COUNT(tae_sizes), msg);
    if (ret < 0 || (wan && (ret = set_patch(c, p, msg)) < 0))
        return ret;
    if (!wan && c->channels == LV_WAN22_CHANNELS)
        c->patch = 2;
    wanted = c->patch == 2 ? LV_WAN22_CHANNELS : CHANNELS;
    if (c->channels != wanted)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: a decoder of %d latent channels, expected "
                       "%d (%s)", lv_source_path(p->src), c->channels, wanted,
                       wanted == CHANNELS ? "Wan2.1" : "Wan2.2 5B");
    set_statistics(c);
    return 0;
}

#define CLIP(member) offsetof(LvClipConfig, member)

static const SizeRow clip_sizes[] = {
    { { "visual.pre_norm.bias", "vision_model.pre_layrnorm.bias", NULL }, -1, CLIP(dim), 1 << 16 },
    { { "visual.transformer.0.mlp.0.bias", "vision_model.encoder.layers.0.mlp.fc1.bias", NULL }, -1,
      CLIP(ffn_dim), 1 << 18 },
};

int lv_part_clip(LvClipConfig *c, const LvPart *p, const LvMsg *msg)
{
    static const char *const layers[] = { "visual.transformer.", "vision_model.encoder.layers." };
    int ret;

    *c = (LvClipConfig) { .heads = 0 };
    if ((ret = read_sizes(c, p, clip_sizes, LV_COUNT(clip_sizes), msg)) < 0 ||
        (ret = set_layers(&c->layers, p, layers[p->layout], msg)) < 0)
        return ret;
    c->heads = c->dim / CLIP_HEAD_DIM;
    return c->dim % CLIP_HEAD_DIM == 0 && c->layers > 1 ? 0 :
           lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: CLIP's image tower of width %d with %d layers: "
                   "expected ViT-H/14, of width 1280 with 32", lv_source_path(p->src), c->dim,
                   c->layers);
}
