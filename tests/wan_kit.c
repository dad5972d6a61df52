/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/wan_kit.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/gguf.h"
#include "base/half.h"
#include "base/map.h"
#include "base/philox.h"
#include "base/quant.h"
#include "model/tae.h"

#define SPM_FILE "tests/ref/tokenizer.spm"

enum { NAME = LV_PARAM_NAME + 16, TURBO_BLOCK = 128 };

/* Making */

static void put_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "%s\n", line);
}

static const LvMsg loud = { put_line, NULL, LV_MSG_WARNING };

/* Matrices keep the size of what they multiply; norms are near 1, all else is small. */
static float *values(const LvParam *t, uint64_t stream)
{
    float *x  = malloc(t->numel * sizeof(*x));
    size_t fan = t->rank > 1 ? t->numel / (size_t)t->dim[0] : 1;
    int norm  = strstr(t->name, "norm") || strstr(t->name, "gamma");
    float scale = t->rank > 1 && !norm ? 1 / sqrtf((float)fan) : 0.2f;

    ck_assert_ptr_nonnull(x);
    lv_philox_normal(x, t->numel, 11, stream);
    for (size_t i = 0; i < t->numel; i++)
        x[i] = scale * x[i] + (norm && !strstr(t->name, "bias") ? 1 : 0);
    return x;
}

static void new_part(WanModel *m, WanPart *p, int kind)
{
    p->kind = kind;
    ck_assert_int_eq(lv_part_list(&p->list, kind, &m->cfg, LV_LAYOUT_ORIGINAL, "", m->dev,
                                  &loud), 0);
    p->data = calloc((size_t)p->list->nb, sizeof(*p->data));
    for (int i = 0; i < p->list->nb; i++)
        p->data[i] = values(&p->list->list[i], (uint64_t)(kind * 10000 + i));
}

void wan_kit_new(WanModel *m)
{
    *m = (WanModel) { 0 };
    m->cfg.dit  = (LvDitConfig) { .dim = 256, .ffn_dim = 512, .heads = 2, .layers = 2,
                                  .text_dim = 64, .text_len = 512, .freq_dim = 256,
                                  .channels = 16, .patch = { 1, 2, 2 }, .eps = 1e-6f };
    m->cfg.text = (LvUmt5Config) { .vocab = 8192, .dim = 64, .dim_attn = 64, .dim_ffn = 96,
                                   .heads = 4, .layers = 2, .buckets = 32,
                                   .max_distance = 128, .eps = 1e-6f };
    m->cfg.vae  = (LvTaeConfig) { .kind = LV_VAE_WAN, .channels = 16, .patch = 1,
                                  .width = 8 };
    ck_assert_int_eq(lv_device_open(&m->dev, "null", &(LvDeviceOptions) { 0 }, &loud), 0);
    new_part(m, &m->dit, LV_PART_DIT);
    new_part(m, &m->text, LV_PART_TEXT);
    new_part(m, &m->vae, LV_PART_WAN_VAE);
}

static void free_part(WanPart *p)
{
    for (int i = 0; p->list && i < p->list->nb; i++)
        free(p->data[i]);
    free(p->data);
    lv_params_free(&p->list);
}

void wan_kit_free(WanModel *m)
{
    free_part(&m->dit);
    free_part(&m->text);
    free_part(&m->vae);
    lv_device_close(&m->dev);
}

void wan_kit_change_vae(WanModel *m)
{
    m->cfg.vae = (LvTaeConfig) { .kind = LV_VAE_WAN, .channels = 48, .patch = 2, .width = 8,
                                 .encoder_width = 4 };
    free_part(&m->vae);
    new_part(m, &m->vae, LV_PART_WAN_VAE);
}

void wan_kit_change(WanModel *m, const LvDitConfig *kind)
{
    LvDitConfig *c = &m->cfg.dit;

    c->channels      = kind->channels;
    c->cond_channels = kind->cond_channels;
    c->clip_dim      = kind->clip_dim;
    c->clip_images   = kind->clip_images;
    free_part(&m->dit);
    new_part(m, &m->dit, LV_PART_DIT);
}

float *wan_kit_tensor(const WanPart *p, const char *name, const LvParam **param)
{
    for (int i = 0; i < p->list->nb; i++)
        if (!strcmp(p->list->list[i].name, name))
            return *param = &p->list->list[i], p->data[i];
    return NULL;
}

/* Tensors of a file */

typedef struct Out {
    const WanFile *f;
    LvFileTensor *t;
    int nb, room;
    int ended; /* nothing is left out any more */
} Out;

/* A tensor whose name and data are copied. */
static LvFileTensor *add(Out *o, const char *name, LvDtype dtype, int rank,
                         const int64_t *dim, const void *data)
{
    LvFileTensor *t;
    void *copy;

    if (o->f->drop && !strcmp(name, o->f->drop) && !o->ended)
        return NULL;
    if (o->nb == o->room)
        o->t = realloc(o->t, (size_t)(o->room = 2 * o->room + 16) * sizeof(*o->t));
    t  = &o->t[o->nb++];
    *t = (LvFileTensor) { .name = strdup(name), .dtype = dtype, .rank = rank, .numel = 1 };
    for (int i = 0; i < rank; i++) {
        t->dim[i] = dim[i];
        t->numel *= (size_t)dim[i];
    }
    ck_assert_int_eq(lv_dtype_bytes(&t->size, dtype, t->numel), 0);
    copy = malloc(t->size + 1);
    memcpy(copy, data, t->size);
    t->data = copy;
    return t;
}

static void free_out(Out *o)
{
    for (int i = 0; i < o->nb; i++) {
        free((void *)(uintptr_t)o->t[i].name);
        free((void *)(uintptr_t)o->t[i].data);
    }
    free(o->t);
}

/* "<layer>.weight" with another end. */
static const char *beside(char *buf, const char *name, const char *end)
{
    snprintf(buf, NAME, "%.*s%s", (int)(strlen(name) - strlen("weight")), name, end);
    return buf;
}


/* One number: its small form, and what that is worth. */
static uint8_t small(int form, float x, float *back)
{
    uint8_t byte;

    if (form == WAN_INT8 || form == WAN_TURBO) {
        byte  = (uint8_t)(int8_t)LV_CLAMP(lrintf(x), -127, 127);
        *back = (int8_t)byte;
    } else if (form == WAN_FP8_E5M2) {
        byte  = (uint8_t)(lv_f32_f16(x) >> 8);
        *back = lv_f16_f32((uint16_t)(byte << 8));
    } else {
        byte  = lv_f32_e4m3(x);
        *back = lv_e4m3_f32(byte);
    }
    return byte;
}

/* Which scale element (i, k) has. */
static size_t scale_at(int form, size_t i, size_t k, size_t cols)
{
    size_t per_row = (cols + TURBO_BLOCK - 1) / TURBO_BLOCK;

    return form == WAN_TURBO ? i / TURBO_BLOCK * per_row + k / TURBO_BLOCK :
           form == WAN_ROW_SCALE || form == WAN_INT8 ? i : 0;
}

static int has_scales(int form)
{
    return form >= WAN_OLD_SCALE && form <= WAN_TURBO;
}

/* Quantise x to bytes with scales; x becomes what they are worth. */
static void quantise(int form, float *x, size_t rows, size_t cols, uint8_t *bytes,
                     float *scales)
{
    float top = form == WAN_INT8 || form == WAN_TURBO ? 127 : 448;

    for (size_t i = 0; i < rows && has_scales(form); i++)
        for (size_t k = 0; k < cols; k++) {
            float *s = &scales[scale_at(form, i, k, cols)];
            *s = fmaxf(*s, fabsf(x[i * cols + k]) / top);
        }
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) {
            float s = has_scales(form) ? scales[scale_at(form, i, k, cols)] : 1, back;
            bytes[i * cols + k] = small(form, s ? x[i * cols + k] / s : 0, &back);
            x[i * cols + k]     = back * s;
        }
}

static void add_scales(Out *o, const char *name, const LvParam *t, const float *scales)
{
    static const char note[] = "{\"format\": \"float8_e4m3fn\"}";
    int64_t one[] = { 1 }, rows[] = { t->dim[0], 1 }, len[] = { sizeof(note) - 1 };
    int64_t blocks[] = { (t->dim[0] + 127) / 128, (t->dim[1] + 127) / 128 };
    char buf[NAME];
    int form = o->f->form;

    if (form == WAN_OLD_SCALE)
        add(o, beside(buf, name, "scale_weight"), LV_F32, 0, one, scales);
    if (form == WAN_OLD_SCALE)
        add(o, beside(buf, name, "scale_input"), LV_F32, 1, one, scales);
    if (form == WAN_META_SCALE)
        add(o, beside(buf, name, "weight_scale"), LV_F32, 1, one, scales);
    if (form == WAN_NEW_SCALE) {
        add(o, beside(buf, name, "weight_scale"), LV_F32, 1, one, scales);
        add(o, beside(buf, name, "comfy_quant"), LV_U8, 1, len, note);
    }
    if (form == WAN_ROW_SCALE)
        add(o, beside(buf, name, "weight_scale"), LV_F32, 2, rows, scales);
    if (form == WAN_INT8)
        add(o, beside(buf, name, "weight_scale"), LV_F32, 1, rows, scales);
    if (form == WAN_TURBO)
        add(o, beside(buf, name, "scale"), LV_F32, 2, blocks, scales);
}

static void add_small(Out *o, const char *name, const LvParam *t, float *x)
{
    size_t rows = (size_t)t->dim[0], cols = t->numel / rows;
    uint8_t *bytes = malloc(t->numel);
    float *scales  = calloc(rows + 1, sizeof(*scales));
    LvDtype dtype  = o->f->form == WAN_INT8 || o->f->form == WAN_TURBO ? LV_I8 :
                     o->f->form == WAN_FP8_E5M2 ? LV_F8_E5M2 : LV_F8_E4M3;
    char buf[NAME];

    quantise(o->f->form, x, rows, cols, bytes, scales);
    if (!o->f->exact) {
        add(o, o->f->form == WAN_TURBO ? beside(buf, name, "int8_weight") : name, dtype,
            t->rank, t->dim, bytes);
        add_scales(o, name, t, scales);
    }
    free(bytes);
    free(scales);
}

static LvDtype block_of(int form)
{
    return form == WAN_Q8_0 ? LV_Q8_0 : form == WAN_Q4_K ? LV_Q4_K :
           form == WAN_Q6_K ? LV_Q6_K : LV_NONE;
}

static void add_blocks(Out *o, const char *name, const LvParam *t, float *x)
{
    LvDtype dtype  = block_of(o->f->form);
    uint8_t *bytes = malloc(t->numel * 4);

    ck_assert_int_eq(lv_block_encode(bytes, x, dtype, t->numel), 0);
    ck_assert_int_eq(lv_to_f32(x, bytes, dtype, t->numel), 0);
    if (!o->f->exact)
        add(o, name, dtype, t->rank, t->dim, bytes);
    free(bytes);
}

static void add_half(Out *o, const char *name, const LvParam *t, float *x)
{
    uint16_t *h = malloc(t->numel * sizeof(*h));
    int bf16    = o->f->form == WAN_BF16;

    for (size_t i = 0; i < t->numel; i++) {
        h[i] = bf16 ? lv_f32_bf16(x[i]) : lv_f32_f16(x[i]);
        x[i] = bf16 ? lv_bf16_f32(h[i]) : lv_f16_f32(h[i]);
    }
    if (!o->f->exact)
        add(o, name, bf16 ? LV_BF16 : LV_F16, t->rank, t->dim, h);
    free(h);
}

/* Whether the form changes a tensor. */
static int is_changed(const Out *o, const LvParam *t)
{
    LvDtype block = block_of(o->f->form);

    if (o->f->form == WAN_F32 || !(t->flags & LV_W_MATRIX) || t->rank != 2)
        return 0;
    if (o->f->form == WAN_TURBO && strncmp(t->name, "blocks.", 7))
        return 0;
    return !block || (size_t)t->dim[1] % lv_dtype_block(block) == 0;
}

static void add_tensor(Out *o, const char *name, const LvParam *t, const float *data)
{
    float *x = malloc(t->numel * sizeof(*x));

    memcpy(x, data, t->numel * sizeof(*x));
    if (!is_changed(o, t)) {
        add(o, name, LV_F32, t->rank, t->dim, x);
    } else {
        if (block_of(o->f->form))
            add_blocks(o, name, t, x);
        else if (o->f->form == WAN_F16 || o->f->form == WAN_BF16)
            add_half(o, name, t, x);
        else
            add_small(o, name, t, x);
        if (o->f->exact)
            add(o, name, LV_F32, t->rank, t->dim, x);
    }
    free(x);
}

/* Files */

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && !strcmp(s + n - k, end);
}

/* Every second tensor is in the second shard. */
static void write_shards(const Out *o)
{
    LvFileTensor *half = calloc((size_t)o->nb + 1, sizeof(*half));
    const char *slash = strrchr(o->f->path, '/');
    FILE *f = fopen(o->f->path, "w");
    char path[512];
    int n;

    fprintf(f, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\n");
    for (int k = 0; k < 2; k++) {
        n = 0;
        for (int i = k; i < o->nb; i += 2)
            half[n++] = o->t[i];
        snprintf(path, sizeof(path), "%s-%d.safetensors", o->f->path, k);
        ck_assert_int_eq(lv_safetensors_write(path, half, n, NULL, &loud), 0);
    }
    for (int i = 0; i < o->nb; i++)
        fprintf(f, "\"%s\": \"%s-%d.safetensors\"%s\n", o->t[i].name, slash + 1, i % 2,
                i + 1 < o->nb ? "," : "");
    fprintf(f, "}}\n");
    fclose(f);
    free(half);
}

static void add_spm(Out *o)
{
    LvMap map;
    int64_t dim[1];

    ck_assert_int_eq(lv_map_open(&map, SPM_FILE, &loud), 0);
    dim[0] = (int64_t)map.size;
    add(o, "spiece_model", LV_U8, 1, dim, map.data);
    lv_map_close(&map);
}

/* {"layers": {NAME: {"format": ...}, ...}} of all quantised layers, malloc'ed. */
static char *quantisation_of(const Out *o)
{
    size_t room = 64 + (size_t)o->nb * (NAME + 64), n;
    char *text  = malloc(room);
    const char *comma = "";

    n = (size_t)snprintf(text, room, "{\"format_version\": \"1.0\", \"layers\": {");
    for (int i = 0; i < o->nb; i++) {
        if (o->t[i].dtype != LV_F8_E4M3)
            continue;
        n += (size_t)snprintf(text + n, room - n, "%s\"%.*s\": {\"format\": "
                              "\"float8_e4m3fn\"}", comma,
                              (int)(strlen(o->t[i].name) - strlen(".weight")), o->t[i].name);
        comma = ", ";
    }
    snprintf(text + n, room - n, "}}");
    return text;
}

static void write_tensors(const Out *o)
{
    char *made = o->f->form == WAN_META_SCALE ? quantisation_of(o) : NULL;
    const char *meta[] = { "_quantization_metadata", o->f->note ? o->f->note : made, NULL };

    ck_assert_int_eq(lv_safetensors_write(o->f->path, o->t, o->nb,
                                          made && !o->f->exact ? meta : NULL, &loud), 0);
    free(made);
}

void wan_kit_write(const WanModel *m, const WanPart *p, const WanFile *f)
{
    static const float zero[2];
    Out o = { .f = f };
    LvParams *names;
    int gguf = ends_with(f->path, ".gguf");

    ck_assert_int_eq(lv_part_list(&names, p->kind, &m->cfg, f->layout, f->prefix, m->dev,
                                  &loud), 0);
    ck_assert_int_eq(names->nb, p->list->nb);
    for (int i = 0; i < names->nb; i++)
        add_tensor(&o, names->list[i].name, &p->list->list[i], p->data[i]);
    if (f->form == WAN_OLD_SCALE && !f->exact)
        add(&o, "scaled_fp8", LV_F8_E4M3, 1, (const int64_t[]) { 0 }, zero);
    o.ended = 1;
    if (f->add)
        add(&o, f->add, LV_F32, 1, (const int64_t[]) { 1 }, zero);
    if (p->kind == LV_PART_TEXT && !gguf)
        add_spm(&o);
    if (gguf)
        ck_assert_int_eq(lv_gguf_write(f->path, "wan", o.t, o.nb, NULL, &loud), 0);
    else if (ends_with(f->path, ".json"))
        write_shards(&o);
    else
        write_tensors(&o);
    lv_params_free(&names);
    free_out(&o);
}

/* The tokenizer of a GGUF file */

/* Metadata that grow. */
typedef struct Meta {
    uint8_t *p;
    size_t n, room;
    int values;
} Meta;

static void put(Meta *m, const void *data, size_t n)
{
    if (m->n + n > m->room)
        m->p = realloc(m->p, m->room = 2 * m->room + n);
    ck_assert_ptr_nonnull(m->p);
    memcpy(m->p + m->n, data, n);
    m->n += n;
}

static void put_u32(Meta *m, uint32_t v) { put(m, &v, sizeof(v)); }

static void put_u64(Meta *m, uint64_t v) { put(m, &v, sizeof(v)); }

static void put_text(Meta *m, const void *s, size_t n)
{
    put_u64(m, n);
    put(m, s, n);
}

static void put_key(Meta *m, const char *key, uint32_t type)
{
    put_text(m, key, strlen(key));
    put_u32(m, type);
    m->values++;
}

static void put_array(Meta *m, const char *key, uint32_t type, uint64_t nb)
{
    put_key(m, key, LV_GGUF_ARRAY);
    put_u32(m, type);
    put_u64(m, nb);
}

/* A field of a protocol buffer: bytes, or a number at p. */
typedef struct Field {
    uint64_t number, n;
    const uint8_t *p;
} Field;

static uint64_t varint(const uint8_t **p)
{
    uint64_t v = 0;
    int shift  = 0;

    do
        v |= (uint64_t)(**p & 127) << shift;
    while (shift += 7, *(*p)++ & 128);
    return v;
}

static Field next_field(const uint8_t **p)
{
    uint64_t tag = varint(p);
    Field f = { .number = tag >> 3, .n = (tag & 7) == 5 ? 4 : (tag & 7) == 1 ? 8 : 0 };

    if ((tag & 7) == 2)
        f.n = varint(p);
    f.p = *p;
    if ((tag & 7) == 0)
        varint(p);
    *p += f.n;
    return f;
}

/* Field `number` of a message; p is NULL when there is none. */
static Field find_field(const uint8_t *p, const uint8_t *end, uint64_t number)
{
    while (p < end) {
        Field f = next_field(&p);
        if (f.number == number)
            return f;
    }
    return (Field) { 0 };
}

static void put_number(Meta *m, int type, double v)
{
    const float f = (float)v;
    const int64_t i = type == LV_GGUF_F32 ? 0 : (int64_t)v;

    put(m, type == LV_GGUF_F32 ? (const void *)&f : &i, type == LV_GGUF_U8 ? 1 : 4);
}

/* What field `what` of every piece is worth: 1 text, 2 score, 3 kind. */
static void put_pieces(Meta *m, const LvMap *spm, int what, const WanPieces *w)
{
    const uint8_t *p = spm->data, *end = p + spm->size;
    int seen = 0;

    while (p < end) {
        Field piece = next_field(&p), f = find_field(piece.p, piece.p + piece.n,
                                                     (uint64_t)what);
        if (piece.number != 1)
            continue;
        if (what == 1)
            put_text(m, f.p, f.n);
        else if (what == 2)
            put(m, f.p ? (const void *)f.p : &(float) { 0 }, 4);
        else if (what == 3)
            put_number(m, w->kind_type, !seen && w->first_kind ? w->first_kind
                                        : f.p ? (double)varint(&f.p) : 1);
        seen++;
    }
}

static uint64_t count_pieces(const LvMap *spm)
{
    const uint8_t *p = spm->data, *end = p + spm->size;
    uint64_t nb = 0;

    while (p < end)
        nb += next_field(&p).number == 1;
    return nb;
}

/* What a file has beside the pieces. */
static void put_settings(Meta *m, const LvMap *spm, const WanPieces *w)
{
    static const char *const flags[] = { "tokenizer.ggml.add_space_prefix",
                                         "tokenizer.ggml.remove_extra_whitespaces" };
    const uint8_t *end = spm->data + spm->size;
    Field norm = find_field(spm->data, end, 3);
    Field map  = find_field(norm.p, norm.p + norm.n, 2);

    put_key(m, "tokenizer.ggml.model", LV_GGUF_STRING);
    put_text(m, "t5", 2);
    if (map.n) {
        put_array(m, "tokenizer.ggml.precompiled_charsmap", LV_GGUF_U8, map.n);
        put(m, map.p, map.n);
    }
    for (int i = 0; i < 2 && w->flags; i++) {
        Field f = find_field(norm.p, norm.p + norm.n, (uint64_t)(3 + i));
        put_key(m, flags[i], LV_GGUF_BOOL);
        put(m, f.p ? f.p : (const uint8_t[]) { 1 }, 1);
    }
}

static void put_tokenizer(Meta *m, const LvMap *spm, const WanPieces *w)
{
    uint64_t nb = count_pieces(spm);

    put_array(m, "tokenizer.ggml.tokens", LV_GGUF_STRING, nb);
    put_pieces(m, spm, 1, w);
    put_array(m, "tokenizer.ggml.scores", LV_GGUF_F32, nb - (uint64_t)w->fewer);
    put_pieces(m, spm, 2, w);
    m->n -= 4 * (size_t)w->fewer;
    put_array(m, "tokenizer.ggml.token_type", (uint32_t)w->kind_type, nb);
    put_pieces(m, spm, 3, w);
    put_settings(m, spm, w);
}

/* Values as many bytes long as keeps what follows them where it has to be. */
static void align(Meta *m)
{
    static const char blank[64];

    put_key(m, "blank", LV_GGUF_STRING);
    put_text(m, blank, (64 - (m->n + 8) % 64) % 64);
}

void wan_kit_add_pieces(const char *path, const WanPieces *w)
{
    enum { HEAD = 24, VALUES = 16 };
    Meta m = { 0 };
    LvMap spm, old;
    uint8_t head[HEAD];
    uint64_t values;
    char to[512];
    FILE *f;

    snprintf(to, sizeof(to), "%s.tmp", path);
    ck_assert_int_eq(lv_map_open(&spm, SPM_FILE, &loud), 0);
    ck_assert_int_eq(lv_map_open(&old, path, &loud), 0);
    put_tokenizer(&m, &spm, w);
    align(&m);
    memcpy(head, old.data, HEAD);
    memcpy(&values, head + VALUES, sizeof(values));
    values += (uint64_t)m.values;
    memcpy(head + VALUES, &values, sizeof(values));
    f = fopen(to, "wb");
    fwrite(head, 1, HEAD, f);
    fwrite(m.p, 1, m.n, f);
    fwrite(old.data + HEAD, 1, old.size - HEAD, f);
    ck_assert_int_eq(fclose(f) | rename(to, path), 0);
    lv_map_close(&spm);
    lv_map_close(&old);
    free(m.p);
}

void wan_kit_write_tae(const WanModel *m, const char *path)
{
    const LvTaeDesign design = {
        4, { { 64, 0, 1 }, { 64, 3, 2 }, { 128, 3, 2 }, { 256, 3, 1 } }
    };
    const WanFile f = { .path = path, .prefix = "" };
    const LvTaeConfig cfg = { .channels = m->cfg.vae.channels,
                              .patch = m->cfg.vae.channels == 48 ? 2 : 1 };
    LvTae *tae   = calloc(1, sizeof(*tae));
    LvWeights *w = NULL;
    LvParams *list;
    Out o = { .f = &f };

    ck_assert_int_eq(lv_params_new(&list, 0, m->dev, &loud), 0);
    ck_assert_int_eq(lv_weights_new_params(&w, list, NULL, m->dev, &loud), 0);
    ck_assert_int_eq(lv_tae_design(tae, &cfg, &design, 0, w, "decoder."), 0);
    for (int i = 0; i < list->nb; i++) {
        float *x = values(&list->list[i], (uint64_t)(50000 + i));
        add(&o, list->list[i].name, LV_F32, list->list[i].rank, list->list[i].dim, x);
        free(x);
    }
    ck_assert_int_eq(o.nb, 64); /* as published */
    ck_assert_int_eq(lv_safetensors_write(path, o.t, o.nb, NULL, &loud), 0);
    lv_weights_free(&w);
    lv_params_free(&list);
    free_out(&o);
    free(tae);
}

/* Tests of a program */

char wan_folder[64];
char wan_message[2048];
int wan_errors;

const char *wan_path(const char *name)
{
    static char path[8][160];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", wan_folder, name);
    return path[turn];
}

void wan_catch_line(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    (void)opaque;
    if (level != LINVIDEO_LOG_ERROR)
        return;
    snprintf(wan_message, sizeof(wan_message), "%s", line);
    wan_errors++;
}

void wan_kit_start(WanModel *m)
{
    char command[256];

    strcpy(wan_folder, "/tmp/linvideo-wan-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(wan_folder));
    wan_kit_new(m);
    snprintf(command, sizeof(command), "cp tests/ref/tokenizer.spm %s/", wan_folder);
    ck_assert_int_eq(system(command), 0);
}

void wan_kit_end(WanModel *m)
{
    char command[128];

    wan_kit_free(m);
    snprintf(command, sizeof(command), "rm -r %s", wan_folder);
    ck_assert_int_eq(system(command), 0);
}
