/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo convert`: weights from any file that is known into another. Names are those
 * of the rows of the networks' tables, in the layout that the container usually has.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/model.h"
#include "base/convert.h"
#include "base/half.h"
#include "base/quant.h"
#include "model/files.h"
#include "model/list.h"
#include "model/names.h"
#include "model/spm.h"
#include "model/spm_gguf.h"
#include "model/stored.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/signals.h"
#include "train/post/delta.h"

enum { PARTS = 3, NAME_SIZE = LV_PARAM_NAME };

static const struct Type {
    const char *name;
    LvDtype dtype;   ///< of matrices
    enum { ANY, SAFETENSORS, GGUF } container; ///< the only one that has it
    const char *scale; ///< the end of the name of its scales; NULL: none
    int rows;          ///< 1: a scale for each row, 0: one for the matrix
} types[] = {
    { "f32",  LV_F32,     ANY,         NULL,           0 },
    { "bf16", LV_BF16,    ANY,         NULL,           0 },
    { "f16",  LV_F16,     ANY,         NULL,           0 },
    { "fp8",  LV_F8_E4M3, SAFETENSORS, "scale_weight", 0 },
    { "int8", LV_I8,      SAFETENSORS, "weight_scale", 1 },
    { "q8_0", LV_Q8_0,    GGUF,        NULL,           0 },
    { "q4_k", LV_Q4_K,    GGUF,        NULL,           0 },
    { "q6_k", LV_Q6_K,    GGUF,        NULL,           0 },
};

/* Where a tensor that is written comes from. */
typedef struct Item {
    LvStored from;
    const LvWeights *w;  ///< NULL: the bytes are as they are to be
    int is_scale;        ///< it holds the scales of the tensor before
    char name[NAME_SIZE];
} Item;

typedef struct Convert {
    LvMsg msg;
    const char *in, *out, *part, *tokenizer;
    LvDelta delta;       ///< base NULL: weights are converted
    int overwrite;
    const struct Type *type;
    int gguf, bundle;
    int kind;            ///< LvPartKind of a network that is written alone
    LvFiles files;       ///< of a bundle or manifest
    LvSource *src;       ///< of a single network
    LvModelConfig cfg;
    LvDevice *dev;
    LvWeights *weights[PARTS];
    int nb_weights;
    const void *spm;     ///< tokenizer, a sentencepiece model; NULL: none
    size_t spm_size;
    LvMap spm_map;
    void *spm_made;
    LvFileTensor *tensor;
    Item *item;
    int nb, room;
    float *values;       ///< of the tensor at hand
    void *bytes;
    float *scales;       ///< of its rows, or one
} Convert;

enum { RANK = 128, RANK_MAX = 4096 };

#define ERROR 1e-3f /* less than rounding to bf16 makes */

/* Gathering */

static LvFileTensor *new_item(Convert *c, const char *name, Item **item)
{
    if (c->nb == c->room) {
        int room = 2 * c->room + 256;
        LvFileTensor *t = realloc(c->tensor, (size_t)room * sizeof(*t));
        Item *i = t ? realloc(c->item, (size_t)room * sizeof(*i)) : NULL;
        c->tensor = t ? t : c->tensor;
        c->item   = i ? i : c->item;
        if (!i) {
            lv_tool_fail(0, "out of memory");
            return NULL;
        }
        c->room = room;
    }
    *item  = &c->item[c->nb];
    **item = (Item) { .w = NULL };
    snprintf((*item)->name, NAME_SIZE, "%s", name);
    c->tensor[c->nb] = (LvFileTensor) { .numel = 1 };
    return &c->tensor[c->nb++];
}

/* Matrices of layers are quantised, and in GGUF the embedding table of a text encoder; the
 * rest is small. */
static int is_large(const Convert *c, const LvParam *p)
{
    unsigned what = p->flags & (LV_W_MATRIX | LV_W_DECAY | LV_W_EXACT);

    return p->rank == 2 && (what == (LV_W_MATRIX | LV_W_DECAY) ||
                            (c->gguf && what == LV_W_MATRIX && p->dim[0] > 1 << 16));
}

/* from: the type in the file; what is not quantised stays f16 where it is. */
static LvDtype type_of(const Convert *c, const LvParam *p, LvDtype from)
{
    LvDtype dtype = c->type->dtype;
    int quantised = c->type->scale || lv_dtype_block(dtype) > 1;

    if (!(p->flags & LV_W_MATRIX) || p->rank == 1 || (c->gguf && p->numel <= 1024))
        return LV_F32;
    if (!quantised)
        return dtype;
    return is_large(c, p) && (size_t)p->dim[1] % lv_dtype_block(dtype) == 0 ? dtype :
           from == LV_F16 ? LV_F16 : LV_BF16;
}

static int64_t nb_scales(const Convert *c, const LvFileTensor *t)
{
    return c->type->rows ? t->dim[0] : 1;
}

/* The scales of the tensor that was added last: F32 [rows,1], or one of rank 0. */
static int add_scale(Convert *c, const char *name)
{
    char other[NAME_SIZE];
    int stem  = (int)(strlen(name) - strlen("weight"));
    int64_t n = nb_scales(c, &c->tensor[c->nb - 1]);
    LvFileTensor *t;
    Item *item;

    if (snprintf(other, sizeof(other), "%.*s%s", stem, name, c->type->scale) >= NAME_SIZE ||
        !(t = new_item(c, other, &item)))
        return -ENOMEM;
    item->is_scale = 1;
    *t = (LvFileTensor) { .dtype = LV_F32, .rank = c->type->rows ? 2 : 0, .dim = { n, 1 },
                          .numel = (size_t)n, .size = sizeof(float) * (size_t)n };
    return 0;
}

/* from: in the file; to: as it is to be called. */
static int add_row(Convert *c, LvWeights *w, const LvParam *from, const LvParam *to)
{
    LvStored stored;
    LvFileTensor *t;
    Item *item;
    int ret = lv_weights_find(w, &stored, from->name);

    if (ret < 0)
        return ret;
    if (!stored.t || stored.t->numel != from->numel || !lv_stored_has_type(stored.t))
        return lv_fail(&c->msg, LV_ERR_MODEL, "%s: %s is missing, or of another size or type",
                       c->in, from->name);
    if (!(t = new_item(c, to->name, &item)))
        return -ENOMEM;
    item->from = stored;
    item->w    = w;
    t->dtype   = type_of(c, from, stored.t->dtype);
    t->rank    = to->rank;
    for (int i = 0; i < to->rank; i++) {
        t->dim[i] = to->dim[i];
        t->numel *= (size_t)to->dim[i];
    }
    if (lv_dtype_bytes(&t->size, t->dtype, t->numel) < 0)
        return lv_fail(&c->msg, LV_ERR_MODEL, "%s: %s is too large", c->in, from->name);
    return c->type->scale && t->dtype == c->type->dtype ? add_scale(c, to->name) : 0;
}

/* Bytes that are taken over, as the tokenizer's. */
static int add_bytes(Convert *c, const char *name, const void *data, size_t size)
{
    Item *item;
    LvFileTensor *t = new_item(c, name, &item);

    if (!t)
        return -ENOMEM;
    *t = (LvFileTensor) { .dtype = LV_U8, .rank = 1, .dim = { (int64_t)size },
                          .numel = size, .data = data, .size = size };
    return 0;
}

static int open_weights(Convert *c, const LvPart *part, LvWeights **w)
{
    const LvWeightsFrom from = { .src = part->src, .layout = part->layout, .wide = LV_F32,
                                 .described = 1 };
    int ret = lv_weights_new_from(w, &from, c->dev, &c->msg);

    if (ret >= 0)
        c->weights[c->nb_weights++] = *w;
    return ret;
}

/* TAEHV: one layout, and every tensor is taken over. */
static int add_tae(Convert *c, LvWeights *w, const LvPart *part, const char *prefix)
{
    size_t n = strlen(part->prefix);
    int ret  = 0;

    for (int i = 0; i < lv_source_count(part->src) && ret >= 0; i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        LvParam p = { .rank = t->rank, .numel = t->numel,
                      .flags = t->rank > 1 ? LV_W_MATRIX : 0 }, to;
        if (!lv_part_owns(part, t->name) || t->rank > LV_MAX_RANK)
            continue;
        snprintf(p.name, sizeof(p.name), "%s", t->name);
        memcpy(p.dim, t->dim, (size_t)t->rank * sizeof(*p.dim));
        to = p;
        snprintf(to.name, sizeof(to.name), "%s%s", prefix, t->name + n);
        ret = add_row(c, w, &p, &to);
    }
    return ret;
}

/* The layout that a container usually has a network in. */
static int layout_for(const Convert *c, int kind)
{
    return c->gguf && kind == LV_PART_TEXT ? LV_LAYOUT_LLAMA : LV_LAYOUT_ORIGINAL;
}

static int add_lists(Convert *c, LvWeights *w, const LvPart *part, const char *prefix)
{
    LvParams *from = NULL, *to = NULL;
    int ret;

    if ((ret = lv_part_list(&from, part->kind, &c->cfg, part->layout, part->prefix, c->dev,
                            &c->msg)) >= 0 &&
        (ret = lv_part_list(&to, part->kind, &c->cfg, layout_for(c, part->kind), prefix,
                            c->dev, &c->msg)) >= 0)
        for (int i = 0; i < from->nb && ret >= 0; i++)
            ret = add_row(c, w, &from->list[i], &to->list[i]);
    lv_params_free(&from);
    lv_params_free(&to);
    return ret;
}

static int add_part(Convert *c, const LvPart *part, const char *prefix)
{
    static const char *const others[] = { "dit.", "text.", "vae.", "tokenizer." };
    LvWeights *w = NULL;
    int ret = open_weights(c, part, &w);

    if (ret >= 0)
        ret = part->kind == LV_PART_TAE ? add_tae(c, w, part, prefix)
                                        : add_lists(c, w, part, prefix);
    if (ret < 0)
        return ret;
    for (int i = 0; i < LV_COUNT(others) && c->files.bundle; i++)
        if (strcmp(others[i], part->prefix))
            lv_weights_skip(w, others[i]);
    if (!c->files.bundle)
        lv_files_skip_others(w, part);
    lv_weights_skip(w, "encoder.embed_tokens.weight");
    return lv_weights_finish(w);
}

/* Writing */

static float scale_of(const float *x, size_t n, float largest)
{
    float top = 0;

    for (size_t i = 0; i < n; i++)
        top = fmaxf(top, fabsf(x[i]));
    return top > 0 ? fmaxf(top / largest, FLT_MIN) : 1;
}

static void encode_fp8(Convert *c, size_t n)
{
    uint8_t *to = c->bytes;

    c->scales[0] = scale_of(c->values, n, 448);
    for (size_t i = 0; i < n; i++)
        to[i] = lv_f32_e4m3(c->values[i] / c->scales[0]);
}

static void encode_int8(Convert *c, size_t rows, size_t cols)
{
    int8_t *to = c->bytes;

    for (size_t r = 0; r < rows; r++) {
        const float *x = c->values + r * cols;
        c->scales[r]   = scale_of(x, cols, 127);
        for (size_t i = 0; i < cols; i++)
            to[r * cols + i] = (int8_t)lrintf(x[i] / c->scales[r]);
    }
}

static void encode_half(Convert *c, size_t n, int bf16)
{
    uint16_t *to = c->bytes;

    for (size_t i = 0; i < n; i++)
        to[i] = bf16 ? lv_f32_bf16(c->values[i]) : lv_f32_f16(c->values[i]);
}

static int encode(Convert *c, const LvFileTensor *t)
{
    switch (t->dtype) {
    case LV_F32:
        memcpy(c->bytes, c->values, t->size);
        return 0;
    case LV_BF16:
    case LV_F16:
        encode_half(c, t->numel, t->dtype == LV_BF16);
        return 0;
    case LV_F8_E4M3:
        encode_fp8(c, t->numel);
        return 0;
    case LV_I8:
        encode_int8(c, (size_t)t->dim[0], t->numel / (size_t)t->dim[0]);
        return 0;
    default:
        return lv_block_encode(c->bytes, c->values, t->dtype, t->numel);
    }
}

/* What was encoded is finite again when it is decoded. */
static int check_encoded(Convert *c, const LvFileTensor *t)
{
    size_t n = t->numel, rows = (size_t)nb_scales(c, t);
    int scaled = c->type->scale && t->dtype == c->type->dtype;
    float most = t->dtype == LV_I8 ? 128 : 448;

    lv_to_f32(c->values, c->bytes, t->dtype, n);
    for (size_t i = 0; scaled && i < rows; i++)
        if (!isfinite(c->scales[i] * most))
            c->values[i * (n / rows)] = INFINITY;
    return lv_find_nonfinite(c->values, LV_F32, LV_F32, n) == n ? 0 :
           lv_fail(&c->msg, LV_ERR_MODEL, "%s: %s holds a value that is too large for %s; "
                   "choose another --type", c->in, t->name, lv_dtype_name(t->dtype));
}

static int read_item(Convert *c, int i)
{
    const LvFileTensor *t = &c->tensor[i];
    Item *item   = &c->item[i];
    float *again  = realloc(c->values, t->numel * sizeof(*again) + 1);
    void *more    = realloc(c->bytes, t->size + 1);
    float *scales = realloc(c->scales, sizeof(*scales) * (size_t)nb_scales(c, t) + 1);
    int ret;

    c->values = again ? again : c->values;
    c->bytes  = more ? more : c->bytes;
    c->scales = scales ? scales : c->scales;
    if (!again || !more || !scales)
        return lv_tool_fail(-ENOMEM, "out of memory");
    if ((ret = lv_stored_read(c->values, &item->from, lv_weights_file(item->w), &c->msg)) < 0)
        return ret;
    lv_source_drop(lv_weights_file(item->w), item->from.t);
    return (ret = encode(c, t)) < 0 ? ret : check_encoded(c, t);
}

static int get(void *opaque, int i, const void **data)
{
    Convert *c = opaque;
    int ret = lv_signals_caught() ? lv_tool_fail(LV_ERR_CANCELLED, "stopped")
                     : read_item(c, c->item[i].is_scale ? i - 1 : i);

    *data = c->item[i].is_scale ? (const void *)c->scales : c->bytes;
    return ret;
}

/* What was written opens again as what it is to be. */
static int check(void *opaque, const char *path)
{
    Convert *c = opaque;
    LvFiles files = { 0 };
    LvSource *src = NULL;
    int ret = c->bundle ? lv_files_open(&files, path, NULL, 0, 0, &c->msg)
                        : lv_source_open(&src, path, &c->msg);

    if (ret >= 0 && !c->bundle && (int)lv_part_find(src).kind != c->kind)
        ret = lv_fail(&c->msg, LV_ERR_MODEL, "%s: what was written is not read back as the "
                      "same network", c->out);
    lv_files_close(&files);
    lv_source_close(&src);
    return ret;
}

/* Keys of a manifest that name files, or stand in the configuration already. */
static int is_settled(const char *key)
{
    static const char *const keys[] = { "dit", "text", "vae", "tokenizer", "loras", "preset",
                                        "latents" };

    for (int i = 0; i < LV_COUNT(keys); i++)
        if (!strcmp(keys[i], key))
            return 1;
    return 0;
}

/* All other settings of a manifest go into the configuration of the bundle. */
static char *merge_manifest(const Convert *c, json_t *config)
{
    json_t *manifest = json_load_file(c->in, 0, NULL), *value;
    const char *key, *inner;
    char *text;

    json_object_foreach(manifest, key, value) {
        json_t *section = json_object_get(config, key), *v;
        if (is_settled(key))
            continue;
        if (!section || !json_is_object(section))
            json_object_set(config, key, value);
        else
            json_object_foreach(value, inner, v)
                if (!json_object_get(section, inner))
                    json_object_set(section, inner, v);
    }
    if (c->files.negative)
        json_object_set_new(config, "negative_prompt", json_string(c->files.negative));
    text = json_dumps(config, JSON_COMPACT);
    json_decref(manifest);
    json_decref(config);
    return text;
}

/* A bundle's configuration stays as it is. */
static char *config_text(const Convert *c)
{
    const char *own = lv_source_meta(c->files.dit.src, LV_CONFIG_KEY);
    char *text;
    json_t *config;

    if (c->files.bundle)
        return strdup(own);
    if (!(text = lv_config_text(&c->cfg)))
        return NULL;
    config = json_loads(text, 0, NULL);
    free(text);
    return config ? merge_manifest(c, config) : NULL;
}

/* A network alone, with linear layers, whose maps its metadata tell of. */
static int has_maps(const Convert *c)
{
    return c->kind == LV_PART_DIT && !c->bundle && c->cfg.dit.map_dim;
}

static char *eps_text(char text[32], const Convert *c)
{
    snprintf(text, 32, "%.9g", (double)c->cfg.dit.map_eps);
    return text;
}

static int write_gguf(Convert *c, const LvFeed *feed)
{
    int is_text = c->kind == LV_PART_TEXT;
    LvGgufMeta meta = { 0 };
    char eps[32];
    int ret = is_text ? lv_files_gguf_of_text(&meta, &c->cfg.text, c->spm, c->spm_size,
                                              &c->msg) : 0;

    if (ret >= 0 && has_maps(c)) {
        lv_gguf_meta_text(&meta, LV_MAP_KEY, lv_map_name(c->cfg.dit.map));
        lv_gguf_meta_text(&meta, LV_MAP_EPS_KEY, eps_text(eps, c));
    }
    if (ret >= 0)
        ret = lv_gguf_write_meta(c->out, is_text ? LV_GGUF_TEXT : "wan", &meta, c->tensor,
                                 c->nb, feed, &c->msg);
    lv_gguf_meta_free(&meta);
    return ret;
}

static int write_out(Convert *c)
{
    const LvFeed feed = { .get = get, .opaque = c, .check = check };
    char *config = c->bundle ? config_text(c) : NULL;
    char eps[32];
    const char *meta[] = { LV_CONFIG_KEY, config, NULL };
    const char *maps[] = { LV_MAP_KEY, lv_map_name(c->cfg.dit.map), LV_MAP_EPS_KEY,
                           eps_text(eps, c), NULL };
    int ret = c->bundle && !config ? lv_tool_fail(-ENOMEM, "out of memory") : 0;

    for (int i = 0; i < c->nb; i++)
        c->tensor[i].name = c->item[i].name;
    if (ret >= 0)
        ret = c->gguf ? write_gguf(c, &feed)
                      : lv_safetensors_write_from(c->out, c->tensor, c->nb,
                                                  c->bundle ? meta : has_maps(c) ? maps : NULL,
                                                  &feed, &c->msg);
    free(config);
    return ret;
}

/* What is converted */

/* What only names tell has to stay in the name. */
static void warn_of_name(const Convert *c)
{
    LvHint in, out;

    lv_hint(&in, c->src, c->in, 0);
    lv_hint(&out, NULL, c->out, 0);
    if (in.use == LV_USE_HALF && (out.use != LV_USE_HALF || in.half != out.half))
        lv_msg(&c->msg, LV_MSG_WARNING, "%s is %s; nothing in %s says so: put high_noise or "
               "low_noise in its name", c->in, in.what, c->out);
}

/* The tokenizer that belongs to a text encoder: of a file that was named, or its own. */
static int find_tokenizer(Convert *c, const LvSource *src)
{
    const LvFileTensor *own = lv_files_spm_of(src);
    int ret;

    if (c->tokenizer) {
        if ((ret = lv_map_open(&c->spm_map, c->tokenizer, &c->msg)) < 0)
            return ret;
        c->spm      = c->spm_map.data;
        c->spm_size = c->spm_map.size;
    } else if (own) {
        if ((ret = lv_source_load(src, own, &c->msg)) < 0)
            return ret;
        c->spm      = own->data;
        c->spm_size = own->size;
    } else if (lv_source_gguf(src)) {
        c->spm = c->spm_made = lv_files_spm_of_gguf(lv_source_gguf(src), &c->spm_size);
    }
    if (!c->spm)
        lv_msg(&c->msg, LV_MSG_WARNING, "%s: holds no tokenizer, so %s will hold none; "
               "--tokenizer spiece.model puts one in", c->in, c->out);
    return 0;
}

/* Of a text encoder alone; GGUF has it in metadata. */
static int add_tokenizer(Convert *c)
{
    LvSpm spm;
    int ret;

    if (!c->spm)
        return 0;
    if ((ret = lv_spm_read(&spm, c->spm, c->spm_size, &c->msg)) < 0)
        return ret;
    lv_spm_free(&spm);
    return c->gguf ? 0 : add_bytes(c, c->bundle ? "tokenizer.spm" : "spiece_model", c->spm,
                                   c->spm_size);
}

static int open_single(Convert *c)
{
    int ret = lv_source_open(&c->src, c->in, &c->msg);
    LvPart part;

    if (ret < 0)
        return ret;
    part    = lv_part_find(c->src);
    c->kind = part.kind;
    if (part.kind == LV_PART_DIT)
        warn_of_name(c);
    ret     = part.kind == LV_PART_DIT ? lv_part_dit(&c->cfg.dit, &part, &c->msg)
            : part.kind == LV_PART_TEXT ? lv_part_text(&c->cfg.text, &part, &c->msg)
            : part.kind == LV_PART_WAN_VAE || part.kind == LV_PART_TAE
            ? lv_part_vae(&c->cfg.vae, &part, &c->msg)
            : part.kind == LV_PART_CLIP
            ? lv_fail(&c->msg, LV_ERR_UNSUPPORTED, "%s: CLIP's image tower is not converted: it is "
                      "taken as its files have it", c->in)
            : lv_fail(&c->msg, LV_ERR_MODEL, "%s: holds no network that is known", c->in);
    if (ret < 0 || (ret = add_part(c, &part, "")) < 0 || part.kind != LV_PART_TEXT)
        return ret;
    ret = find_tokenizer(c, c->src);
    return ret < 0 ? ret : add_tokenizer(c);
}

static int add_model(Convert *c)
{
    const LvPart *parts[PARTS] = { &c->files.dit, &c->files.text, &c->files.vae };
    static const char *const names[PARTS] = { "dit", "text", "vae" };
    char prefix[16];
    int ret = 0;

    for (int i = 0; i < PARTS && ret >= 0; i++) {
        snprintf(prefix, sizeof(prefix), "%s%s", c->part ? "" : names[i],
                 c->part ? "" : ".");
        if (c->part && strcmp(c->part, names[i]))
            continue;
        c->kind = parts[i]->kind;
        ret     = add_part(c, parts[i], prefix);
    }
    if (ret < 0 || (c->part && strcmp(c->part, "text")))
        return ret;
    c->spm      = c->files.spm;
    c->spm_size = c->files.spm_size;
    return add_tokenizer(c);
}

static int open_model(Convert *c)
{
    int ret = lv_files_open(&c->files, c->in, NULL, 0, 0, &c->msg);

    if (ret < 0)
        return ret;
    c->cfg    = c->files.cfg;
    c->bundle = !c->part;
    if (c->files.low.kind != LV_PART_NONE && (c->bundle || !strcmp(c->part, "dit")))
        return lv_fail(&c->msg, LV_ERR_UNSUPPORTED, "%s: two networks; expected one: convert "
                       "the file of each, which keeps its place in a manifest", c->in);
    if (c->files.loras || c->files.low_loras)
        return lv_fail(&c->msg, LV_ERR_UNSUPPORTED, "%s: names LoRAs, which are merged when "
                       "a model runs, not here", c->in);
    if (c->bundle && c->cfg.dit.clip_dim)
        return lv_fail(&c->msg, LV_ERR_UNSUPPORTED, "%s: the network attends to CLIP's features, "
                       "and bundles hold no image tower; give --part to write a network alone",
                       c->in);
    if (c->bundle && c->gguf)
        return lv_fail(&c->msg, LV_ERR_UNSUPPORTED, "%s: a bundle is a .safetensors file; "
                       "give --part to write a network alone", c->out);
    return add_model(c);
}

/* The output is none of the files that are read. */
static int check_inputs(const Convert *c)
{
    const char *path;
    int ret = lv_tool_not_input(c->out, c->in);

    for (int i = 0; i < c->files.nb_src && ret >= 0; i++)
        for (int k = 0; (path = lv_source_file(c->files.src[i], k)) && ret >= 0; k++)
            ret = lv_tool_not_input(c->out, path);
    for (int k = 0; c->src && (path = lv_source_file(c->src, k)) && ret >= 0; k++)
        ret = lv_tool_not_input(c->out, path);
    return ret < 0 ? ret : lv_tool_not_input(c->out, c->tokenizer);
}

static int convert(Convert *c)
{
    size_t n = strlen(c->out);
    int ret = lv_tool_not_input(c->out, c->in);

    if (ret < 0 || (ret = lv_tool_may_write(c->out, c->overwrite)) < 0)
        return ret;

    c->gguf = n > 5 && !strcmp(c->out + n - 5, ".gguf");
    if (c->type->container == (c->gguf ? SAFETENSORS : GGUF))
        return lv_tool_fail(-EINVAL, "type %s is for %s files", c->type->name,
                            c->gguf ? ".safetensors" : ".gguf");
    if ((ret = lv_device_open(&c->dev, "null", &(LvDeviceOptions) { 0 }, &c->msg)) < 0 ||
        (ret = lv_files_is_model(c->in) ? open_model(c) : open_single(c)) < 0 ||
        (ret = check_inputs(c)) < 0)
        return ret;
    if (c->type->dtype == LV_F8_E4M3) {
        Item *item;
        LvFileTensor *t = new_item(c, "scaled_fp8", &item);
        if (!t)
            return -ENOMEM;
        *t = (LvFileTensor) { .dtype = LV_F8_E4M3, .rank = 1, .data = "" };
    }
    return write_out(c);
}

/* Deltas */

static void say_delta(const LvDelta *d, const LvDeltaReport *r)
{
    char bytes[32], network[32];

    lv_tool_line(stderr, "linvideo: wrote %s, %s (the network has %s in 16 bits): maps of %d "
                 "linear layers; %d matrices as factors of rank %d to %d, %d whole, %d within "
                 "%g of themselves; %d vectors", d->out,
                 lv_bytes_text(bytes, sizeof(bytes), (double)r->bytes),
                 lv_bytes_text(network, sizeof(network), (double)r->network), r->linear,
                 r->factors, r->lowest, r->highest, r->whole, r->within, (double)d->error,
                 r->others);
}

static int write_delta(Convert *c)
{
    LvDeltaReport r;
    int ret;

    c->delta.to  = c->in;
    c->delta.out = c->out;
    if (c->part || c->tokenizer)
        return lv_tool_fail(-EINVAL, "option delta: expected no --part and no --tokenizer");
    if (!lv_tool_ends_with(c->out, ".safetensors"))
        return lv_tool_fail(-EINVAL, "%s: a delta is a .safetensors file", c->out);
    if ((ret = lv_tool_not_input(c->out, c->in)) < 0 ||
        (ret = lv_tool_not_input(c->out, c->delta.base)) < 0 ||
        (ret = lv_tool_may_write(c->out, c->overwrite)) < 0 ||
        (ret = lv_device_open(&c->dev, "null", &(LvDeviceOptions) { 0 }, &c->msg)) < 0 ||
        (ret = lv_delta_write(&c->delta, &r, c->dev, &c->msg)) < 0)
        return ret;
    say_delta(&c->delta, &r);
    return 0;
}

static void close_all(Convert *c)
{
    for (int i = 0; i < c->nb_weights; i++)
        lv_weights_free(&c->weights[i]);
    lv_device_close(&c->dev);
    lv_files_close(&c->files);
    lv_source_close(&c->src);
    lv_map_close(&c->spm_map);
    free(c->spm_made);
    free(c->tensor);
    free(c->item);
    free(c->values);
    free(c->bytes);
    free(c->scales);
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo convert [options] IN OUT\n"
         "\n"
         "Writes the weights of IN to OUT, a .safetensors or a .gguf file. IN is the file\n"
         "of a network of any known kind, a bundle or a manifest. A bundle or a manifest\n"
         "is written whole, as a bundle, unless --part names one network. Defaults are\n"
         "shown in brackets.\n"
         "\n"
         "  --type NAME           how the matrices of layers are stored: f32, bf16 or f16;\n"
         "                        fp8 with a scale or int8 with a scale for each row\n"
         "                        (.safetensors); q8_0, q6_k or q4_k (.gguf) [bf16]\n"
         "  --part NAME           one network of a bundle or manifest: dit, text or vae\n"
         "  --tokenizer FILE      spiece.model, for a text encoder whose file holds none\n"
         "  --delta BASE          write what makes the network IN of the network BASE, as a\n"
         "                        LoRA: maps of linear layers, and changes of weights, by\n"
         "                        factors of low rank where these are near enough\n"
         "  --rank R              highest rank of factors; else a matrix is whole [128]\n"
         "  --error E             how far a matrix may be off, as a share of itself [0.001]\n"
         LV_OVERWRITE_HELP);
}

static int set_type(Convert *c, const char *name)
{
    for (int i = 0; name && i < LV_COUNT(types); i++)
        if (!strcmp(types[i].name, name))
            return c->type = &types[i], 0;
    return name ? lv_tool_fail(-1, "option type: \"%s\" is not one of f32, bf16, f16, fp8, "
                               "int8, q8_0, q6_k, q4_k", name) : -1;
}

static int set_part(Convert *c, const char *name)
{
    c->part = name;
    if (name && strcmp(name, "dit") && strcmp(name, "text") && strcmp(name, "vae"))
        return lv_tool_fail(-1, "option part: \"%s\" is not one of dit, text, vae", name);
    return name ? 0 : -1;
}

static int set_error(Convert *c, const char *text)
{
    char *end;

    if (!text)
        return -1;
    c->delta.error = strtof(text, &end);
    return end > text && !*end && c->delta.error >= 0 && c->delta.error <= 1 ? 0 :
           lv_tool_fail(-1, "option error: expected a number from 0 to 1, got '%s'", text);
}

/* Options of deltas. 1: it is one, 0: it is none, or -1 after a message. */
static int parse_delta(Convert *c, LvArgs *a)
{
    int ret = !strcmp(a->name, "delta") ? ((c->delta.base = lv_args_value(a)) ? 0 : -1)
            : !strcmp(a->name, "rank") ? lv_args_int(a, 1, RANK_MAX, &c->delta.rank)
            : !strcmp(a->name, "error") ? set_error(c, lv_args_value(a)) : 1;

    return ret < 0 ? ret : !ret;
}

/* -1 to go on, or an exit code. */
static int parse(Convert *c, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };
    int ret  = 0;

    while (lv_args_next(&a) && ret >= 0) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (!strcmp(a.name, "type"))
            ret = set_type(c, lv_args_value(&a));
        else if (!strcmp(a.name, "part"))
            ret = set_part(c, lv_args_value(&a));
        else if (!strcmp(a.name, "tokenizer"))
            ret = (c->tokenizer = lv_args_value(&a)) ? 0 : -1;
        else if (lv_args_overwrite(&a, &c->overwrite) || (ret = parse_delta(c, &a)))
            continue;
        else if (a.name[0])
            ret = lv_tool_fail(-1, "no option \"%s\"; linvideo convert --help lists them",
                               a.name);
        else if (!c->in)
            c->in = a.value;
        else if (!c->out)
            c->out = a.value;
        else
            ret = lv_tool_fail(-1, "three files, the third is \"%s\"", a.value);
    }
    if (ret >= 0 && !c->out)
        ret = lv_tool_fail(-1, "convert: expected two files, from which and to which");
    return ret < 0 ? LV_EXIT_USAGE : -1;
}

static int cmd_convert(int argc, char **argv)
{
    Convert *c = calloc(1, sizeof(*c));
    int ret;

    if (!c)
        return lv_tool_fail(LV_EXIT_FAILED, "out of memory");
    c->msg  = lv_tool_msg;
    c->type = &types[1];
    c->delta = (LvDelta) { .rank = RANK, .error = ERROR };
    ret     = parse(c, argc, argv);
    if (ret < 0) {
        lv_signals_catch(0);
        ret = c->delta.base ? write_delta(c) : convert(c);
        ret = ret >= 0 ? LV_EXIT_OK : lv_signals_caught() ? 128 + lv_signals_caught()
            : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
    }
    close_all(c);
    free(c);
    return ret;
}

const LvCommand lv_cmd_convert = {
    .name  = "convert",
    .about = "write weights in another format",
    .run   = cmd_convert,
};
