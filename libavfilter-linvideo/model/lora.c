/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/lora.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/convert.h"
#include "base/text.h"
#include "model/lora_change.h"
#include "model/stored.h"

enum { STEM_SIZE = LV_PARAM_NAME, SKIPPED_TEXT = 512 };

/* How keys end. */
static const struct {
    const char *end;
    int part;
} ends[] = {
    { ".lora_A.weight", LV_LORA_DOWN },  { ".lora_B.weight", LV_LORA_UP },
    { ".lora_A.default.weight", LV_LORA_DOWN }, { ".lora_B.default.weight", LV_LORA_UP },
    { ".lora_down.weight", LV_LORA_DOWN }, { ".lora_up.weight", LV_LORA_UP },
    { ".lora.down.weight", LV_LORA_DOWN }, { ".lora.up.weight", LV_LORA_UP },
    { ".lora_A", LV_LORA_DOWN },         { ".lora_B", LV_LORA_UP },
    { ".alpha", LV_LORA_ALPHA },         { ".diff", LV_LORA_DIFF },
    { ".diff_b", LV_LORA_DIFF_BIAS },    { ".w_norm", LV_LORA_DIFF },
    { ".b_norm", LV_LORA_DIFF_BIAS },    { ".dora_scale", LV_LORA_DORA },
    { ".lora_magnitude_vector", LV_LORA_DORA },
    { ".lora_magnitude_vector.weight", LV_LORA_DORA },
    { ".lora_magnitude_vector.default.weight", LV_LORA_DORA },
    { ".hada_w1_a", LV_LORA_HADA_1A },   { ".hada_w1_b", LV_LORA_HADA_1B },
    { ".hada_w2_a", LV_LORA_HADA_2A },   { ".hada_w2_b", LV_LORA_HADA_2B },
    { ".hada_t1", LV_LORA_HADA_T1 },     { ".hada_t2", LV_LORA_HADA_T2 },
    { ".lokr_w1", LV_LORA_KRON_1 },      { ".lokr_w2", LV_LORA_KRON_2 },
    { ".lokr_w1_a", LV_LORA_KRON_1A },   { ".lokr_w1_b", LV_LORA_KRON_1B },
    { ".lokr_w2_a", LV_LORA_KRON_2A },   { ".lokr_w2_b", LV_LORA_KRON_2B },
    { ".lokr_t2", LV_LORA_KRON_T2 },
};

/* What may stand before the name of a layer, in any number. */
static const struct {
    const char *text;
    int second;      /* 1: before layers of a pair's network for low noise */
} prefixes[] = {
    { "base_model.model.", 0 }, { "model.diffusion_model.", 0 }, { "diffusion_model.", 0 },
    { "transformer.", 0 }, { "transformer_2.", 1 }, { "model.", 0 }, { "pipe.dit.", 0 },
    { "dit.", 0 }, { "generator.", 0 }, { "unet.", 0 }, { "lora_unet__", 0 },
    { "lora_unet_2_", 1 }, { "lora_unet_", 0 }, { "lora_transformer_", 0 }, { "lycoris_", 0 },
};

/* Parts that this network does not have. */
enum Where { OF_PAIR, BEGINS, WITHIN, ENDS };

#define IMAGES "image to video"

static const struct {
    const char *text, *what;
    int where;       /* within: in the name of a layer with _ for dots and around it */
} others[] = {
    { "", "the first network of Wan2.2", OF_PAIR },
    { "", "the second network of Wan2.2", OF_PAIR },
    { "lora_te", "a text encoder", BEGINS }, { "text_encoder", "a text encoder", BEGINS },
    { "te_", "a text encoder", BEGINS },     { "te.", "a text encoder", BEGINS },
    { "te1", "a text encoder", BEGINS },     { "te2", "a text encoder", BEGINS },
    { "cond_stage_model.", "a text encoder", BEGINS },
    { "conditioner.", "a text encoder", BEGINS },
    { "clip.", "a text encoder", BEGINS },
    { "vae.", "a decoder", BEGINS },         { "first_stage_model.", "a decoder", BEGINS },
    { "image_encoder.", IMAGES, BEGINS },
    { "_k_img_", IMAGES, WITHIN }, { "_v_img_", IMAGES, WITHIN },
    { "_norm_k_img_", IMAGES, WITHIN }, { "_img_emb_", IMAGES, WITHIN },
    { "_image_embedder_", IMAGES, WITHIN },
    { "_add_k_proj_", IMAGES, WITHIN },
    { "_add_v_proj_", IMAGES, WITHIN },
    { "_norm_added_k_", IMAGES, WITHIN },
    { "_norm_added_q_", IMAGES, WITHIN },
    { "_vace_", "VACE", WITHIN },            { "_vace_blocks_", "VACE", WITHIN },
    { "_vace_patch_embedding_", "VACE", WITHIN },
    { "_motion_encoder_", "animation", WITHIN }, { "_face_adapter_", "animation", WITHIN },
    { "_face_encoder_", "animation", WITHIN },
    { "_pose_patch_embedding_", "animation", WITHIN },
    { "_control_adapter_", "control of a camera", WITHIN },
    { "_cam_encoder_", "control of a camera", WITHIN },
    { "_ref_conv_", "reference images", WITHIN },
    { "_audio_proj_", "speech to video", WITHIN },
    { ".diff_m", "modulation (diff_m)", ENDS },
};

/* All that one file holds for a layer. */
typedef struct Entry {
    const char *stem;     /* name of the layer with _ for dots */
    LvLoraParts part;
    int file;
    int matrix, bias;     /* were they used */
} Entry;

/* A key, while a file is sorted out. */
typedef struct Key {
    const char *stem;
    const LvFileTensor *t;
    int part;
} Key;

struct LvLoras {
    LvSource **src;
    char **stems;         /* of each file, one after the other */
    float *weight;
    int files;
    Entry *entry;         /* in order of stem, then file */
    int nb;
    pthread_mutex_t lock; /* of the files' pages */
};

/* Weights */

static int weight_fail(const char *text, const char *weight, const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(EINVAL), "lora: weight '%s' of '%s', expected a number from "
                   "-%d to %d after the @, with a point as in 0.5", weight, text,
                   LV_LORA_WEIGHT_MAX, LV_LORA_WEIGHT_MAX);
}

int lv_lora_split(LvLoraFile *l, char *text, const LvMsg *msg)
{
    char *at = strrchr(text, '@'), *end;
    float weight;

    *l = (LvLoraFile) { .path = text, .weight = 1 };
    if (!at)
        return 0;
    weight = strtof(at + 1, &end);
    if (end == at + 1 || *end || !(fabsf(weight) <= LV_LORA_WEIGHT_MAX)) {
        if (strchr(at, '/') || !access(text, F_OK))
            return 0; /* the @ is of the name */
        return weight_fail(text, at + 1, msg);
    }
    *at = 0;
    l->weight = weight;
    return 0;
}

/* Keys */

static void dots_to_bars(char *s)
{
    for (; *s; s++)
        if (*s == '.')
            *s = '_';
}

/* Which part a key is; its length without the end in *stem, -1 when unknown. */
static int part_of(const char *key, size_t *stem)
{
    size_t n = strlen(key);

    for (int i = 0; i < LV_COUNT(ends); i++) {
        size_t k = strlen(ends[i].end);
        if (n > k && !strcmp(key + n - k, ends[i].end))
            return *stem = n - k, ends[i].part;
    }
    return -1;
}

static int begins_with(const char *s, const char *begin)
{
    return !strncmp(s, begin, strlen(begin));
}

/* Row of others[] that a name begins as; -1 when there is none. */
static int other_beginning(const char *name)
{
    for (int i = 0; i < LV_COUNT(others); i++)
        if (others[i].where == BEGINS && begins_with(name, others[i].text))
            return i;
    return -1;
}

/* A key without what stands before the layer; in *other, a row of others[], or -1; in *second
 * whether it is of a pair's network for low noise. */
static const char *without_prefix(const char *key, int *other, int *second)
{
    int found = 1;

    *second = 0;
    while ((*other = other_beginning(key)) < 0 && found) {
        found = 0;
        for (int i = 0; i < LV_COUNT(prefixes) && !found; i++)
            if (begins_with(key, prefixes[i].text)) {
                key     += strlen(prefixes[i].text);
                *second |= prefixes[i].second;
                found    = 1;
            }
    }
    return key;
}

int lv_lora_is_map(const LvFileTensor *t)
{
    static const char *const ends[] = { ".self_attn.map_q.weight", ".self_attn.map_k.weight" };
    size_t n = strlen(t->name);

    for (int i = 0; i < LV_COUNT(ends); i++)
        if (n > strlen(ends[i]) && !strcmp(t->name + n - strlen(ends[i]), ends[i]))
            return 1;
    return 0;
}

int lv_lora_is_paired(const LvSource *src)
{
    int other, second = 0;

    for (int i = 0; i < lv_source_count(src) && !second; i++)
        without_prefix(lv_source_at(src, i)->name, &other, &second);
    return second;
}

/* Row of others[] that a key belongs to, behind its prefixes; -1 when there is none. */
static int other_of(const char *name, int images)
{
    size_t n = strlen(name);
    char bars[STEM_SIZE + 8];

    snprintf(bars, sizeof(bars), "_%.*s_", STEM_SIZE, name);
    dots_to_bars(bars);
    for (int i = 0; i < LV_COUNT(others); i++) {
        size_t k = strlen(others[i].text);
        if (images && !strcmp(others[i].what, IMAGES))
            continue;
        if ((others[i].where == WITHIN && strstr(bars, others[i].text)) ||
            (others[i].where == ENDS && n > k && !strcmp(name + n - k, others[i].text)))
            return i;
    }
    return -1;
}

/* What is skipped of a file. */
typedef struct Skipped {
    int images;           /* of LvLoraFile */
    int nb[LV_COUNT(others)];
    const char *first[LV_COUNT(others)];
    int all;
} Skipped;

/* A file that is sorted out. */
typedef struct Sorting {
    const char *path;
    int second;      /* 1: keys of a pair's network for low noise are taken, 0: all others */
    int shared;      /* LvLoraFile's */
    int elsewhere;   /* keys that the other network takes */
    int maps;        /* of linear layers, which are of the network's own rows */
    char *at;        /* of the next stem */
    Skipped skipped;
} Sorting;

/* Whether a row before says the same. */
static int is_told(int i)
{
    for (int k = 0; k < i; k++)
        if (!strcmp(others[k].what, others[i].what))
            return 1;
    return 0;
}

/* "2 of image to video (the first is NAME), 1 of ..." */
static void skipped_text(char *text, const Skipped *s)
{
    size_t n = 0;

    text[0] = 0;
    for (int i = 0; i < LV_COUNT(others) && n < SKIPPED_TEXT; i++) {
        const char *first = NULL;
        int nb = 0;
        for (int k = i; k < LV_COUNT(others) && !is_told(i); k++)
            if (!strcmp(others[k].what, others[i].what)) {
                nb   += s->nb[k];
                first = first ? first : s->first[k];
            }
        if (nb)
            n += (size_t)snprintf(text + n, SKIPPED_TEXT - n, "%s%d of %s (the first is %s)",
                                  n ? ", " : "", nb, others[i].what, first);
    }
}

/* Say what is skipped. 0; LV_ERR_MODEL: it is all, or it may not be. */
static int tell_skipped(const Skipped *s, int keys, const char *path, int strict,
                        const LvMsg *msg)
{
    char text[SKIPPED_TEXT];

    if (!s->all)
        return 0;
    skipped_text(text, s);
    if (s->all == keys)
        return lv_fail(msg, LV_ERR_MODEL, "%s: changes nothing here: all its %d keys are of "
                       "other parts, %s", path, keys, text);
    if (strict)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %d of %d keys are of other parts: %s "
                       "(strict=0 skips them)", path, s->all, keys, text);
    lv_msg(msg, LV_MSG_WARNING, "%s: skipped: %d of %d keys are of other parts: %s", path,
           s->all, keys, text);
    return 0;
}

static int skip(Skipped *s, int other, const LvFileTensor *t)
{
    if (!s->nb[other]++)
        s->first[other] = t->name;
    s->all++;
    return 0;
}

/* One key of a file: to be skipped, or *key; its stem is put at s->at. */
static int sort_key(Key *key, const LvFileTensor *t, Sorting *s, const LvMsg *msg)
{
    int other, second, part;
    const char *name = without_prefix(t->name, &other, &second), *path = s->path;
    char shown[LV_SHOW_SIZE];
    size_t n;

    if (lv_lora_is_map(t))
        return s->maps++, 0;
    if (other < 0 && second != s->second) {
        s->elsewhere += s->shared;
        return s->shared ? 0 : skip(&s->skipped, second, t);
    }
    if (other >= 0 || (other = other_of(name, s->skipped.images)) >= 0)
        return skip(&s->skipped, other, t);
    if ((part = part_of(t->name, &n)) < 0 || t->name + n < name)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is not a known key of a LoRA", path,
                       t->name);
    n -= (size_t)(name - t->name);
    if (n >= STEM_SIZE)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s: the name of a layer is too long, expected "
                       "at most %d bytes, got %zu", path,
                       lv_text_show(shown, t->name, strlen(t->name)), STEM_SIZE - 1, n);
    /* Small integers need a scale, which keys of LoRAs have no place for. */
    if (part != LV_LORA_ALPHA && (!lv_stored_has_type(t) || t->dtype == LV_I8))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s: expected a float type, got %s", path, t->name,
                       lv_dtype_name(t->dtype));
    *key = (Key) { s->at, t, part };
    memcpy(s->at, name, n);
    s->at[n] = 0;
    dots_to_bars(s->at);
    s->at += n + 1;
    return 1;
}

static int by_stem(const void *a, const void *b)
{
    const Key *x = a, *y = b;
    int d = strcmp(x->stem, y->stem);

    return d ? d : x->part != y->part ? x->part - y->part : strcmp(x->t->name, y->t->name);
}

/* Keys in order of their stems become entries. */
static int add_entries(LvLoras *l, int file, const Key *key, int nb, const LvMsg *msg)
{
    const char *path = lv_source_path(l->src[file]);
    Entry *e = NULL;
    int ret  = 0, first = l->nb;

    for (int i = 0; i < nb; i++) {
        if (!i || strcmp(key[i].stem, key[i - 1].stem)) {
            e  = &l->entry[l->nb++];
            *e = (Entry) { .stem = key[i].stem, .file = file };
        }
        if (e->part[key[i].part])
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s duplicates %s", path, key[i].t->name,
                           e->part[key[i].part]->name);
        e->part[key[i].part] = key[i].t;
    }
    for (int i = first; i < l->nb && ret >= 0; i++)
        ret = lv_lora_check_parts(l->entry[i].part, path, msg);
    return ret;
}

/* No key of a file is this network's. */
static int tell_none(const Sorting *s, int low, const LvMsg *msg)
{
    if (s->maps)
        return 0;
    if (!s->elsewhere)
        return lv_fail(msg, LV_ERR_MODEL, "%s: has no keys: not a LoRA", s->path);
    lv_msg(msg, LV_MSG_INFO, "%s: changes nothing of the network for %s noise: all %d keys are of "
           "the other one", s->path, low ? "low" : "high", s->elsewhere);
    return 0;
}

static int sort_keys(LvLoras *l, int file, Key *key, const LvLoraFile *f, const LvMsg *msg)
{
    const LvSource *src = l->src[file];
    Sorting s = { .path = lv_source_path(src), .shared = f->shared, .at = l->stems[file],
                  .skipped = { .images = f->images },
                  .second = f->low && lv_lora_is_paired(src) };
    int nb = 0, ret = 0;

    for (int i = 0; i < lv_source_count(src) && ret >= 0; i++)
        nb += (ret = sort_key(&key[nb], lv_source_at(src, i), &s, msg)) > 0;
    if (ret < 0 || (ret = tell_skipped(&s.skipped, lv_source_count(src), s.path, f->strict,
                                       msg)) < 0)
        return ret;
    if (!nb)
        return tell_none(&s, f->low, msg);
    qsort(key, (size_t)nb, sizeof(*key), by_stem);
    return add_entries(l, file, key, nb, msg);
}

static int open_file(LvLoras *l, int i, const LvLoraFile *f, const LvMsg *msg)
{
    int ret = lv_source_open(&l->src[i], f->path, msg), n;
    size_t room = 0;
    Entry *more;
    Key *key;

    if (ret < 0)
        return ret;
    n = lv_source_count(l->src[i]);
    for (int k = 0; k < n; k++)
        room += strlen(lv_source_at(l->src[i], k)->name) + 1;
    l->stems[i] = malloc(room + 1);
    key  = calloc((size_t)n + 1, sizeof(*key));
    more = realloc(l->entry, (size_t)(l->nb + n + 1) * sizeof(*more));
    l->entry = more ? more : l->entry;
    ret = more && key && l->stems[i] ? sort_keys(l, i, key, f, msg)
                                     : lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    free(key);
    return ret;
}

static int by_entry(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    int d = strcmp(x->stem, y->stem);

    return d ? d : x->file - y->file;
}

int lv_loras_open(LvLoras **out, const LvLoraFile *files, int nb, const LvMsg *msg)
{
    LvLoras *l = *out = calloc(1, sizeof(*l));
    int ret = 0;

    if (l) {
        l->src    = calloc((size_t)nb + 1, sizeof(*l->src));
        l->stems  = calloc((size_t)nb + 1, sizeof(*l->stems));
        l->weight = calloc((size_t)nb + 1, sizeof(*l->weight));
    }
    if (l)
        pthread_mutex_init(&l->lock, NULL);
    if (!l || !l->src || !l->stems || !l->weight) {
        lv_loras_close(out);
        return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    }
    l->files = nb;
    for (int i = 0; i < nb && ret >= 0; i++) {
        l->weight[i] = files[i].weight;
        ret = open_file(l, i, &files[i], msg);
    }
    if (ret < 0)
        lv_loras_close(out);
    else
        qsort(l->entry, (size_t)l->nb, sizeof(*l->entry), by_entry);
    return ret;
}

void lv_loras_close(LvLoras **out)
{
    LvLoras *l = *out;

    if (!l)
        return;
    for (int i = 0; i < l->files; i++) {
        lv_source_close(&l->src[i]);
        free(l->stems[i]);
    }
    free(l->src);
    free(l->stems);
    free(l->weight);
    free(l->entry);
    pthread_mutex_destroy(&l->lock);
    free(l);
    *out = NULL;
}

const LvSource *lv_loras_source(const LvLoras *loras, int i)
{
    return i < loras->files ? loras->src[i] : NULL;
}

/* Rows */

/* Names of a row in all layouts, as entries have them. */
typedef struct Stems {
    char name[LV_LAYOUT_NB][STEM_SIZE];
    int nb, bias;
} Stems;

/* Stem of a row in a layout; whether it is a bias. */
static int row_stem(char *stem, const LvWeightRow *row, int layout, int index)
{
    size_t n;
    int bias;

    lv_row_name(stem, "", row, layout, index);
    n    = strlen(stem);
    bias = n > 5 && !strcmp(stem + n - 5, ".bias");
    if (bias)
        stem[n - 5] = 0;
    else if (n > 7 && !strcmp(stem + n - 7, ".weight"))
        stem[n - 7] = 0;
    dots_to_bars(stem);
    return bias;
}

static void row_stems(Stems *s, const LvWeightRow *row, int index)
{
    s->nb = 0;
    for (int k = 0; k < LV_LAYOUT_NB; k++) {
        int known = 0;
        s->bias = row_stem(s->name[s->nb], row, k, index);
        for (int i = 0; i < s->nb; i++)
            known |= !strcmp(s->name[i], s->name[s->nb]);
        s->nb += !known;
    }
}

static int holds(const Entry *e, int bias)
{
    if (bias)
        return e->part[LV_LORA_DIFF_BIAS] != NULL;
    for (int i = 0; i < LV_LORA_PARTS; i++)
        if (e->part[i] && i != LV_LORA_DIFF_BIAS && i != LV_LORA_ALPHA)
            return 1;
    return 0;
}

/* What file f changes of a row under its k-th name; NULL: nothing. */
static Entry *entry_of(const LvLoras *l, const Stems *s, int f, int k)
{
    const Entry wanted = { .stem = s->name[k], .file = f };
    Entry *e = l->nb ? bsearch(&wanted, l->entry, (size_t)l->nb, sizeof(*e), by_entry) : NULL;

    return e && holds(e, s->bias) ? e : NULL;
}

int lv_loras_has(const LvLoras *l, const LvWeightRow *row, int index)
{
    Stems s;

    row_stems(&s, row, index);
    for (int f = 0; f < l->files; f++)
        for (int k = 0; k < s.nb; k++)
            if (entry_of(l, &s, f, k))
                return 1;
    return 0;
}

static int note_entry(const LvLoras *l, Entry *e, int bias, const LvFileTensor *t,
                      const LvMsg *msg)
{
    const char *path = lv_source_path(l->src[e->file]);
    LvLoraParts only = { 0 };

    *(bias ? &e->bias : &e->matrix) = 1;
    if (!bias)
        return lv_lora_check_shape(e->part, t, path, msg);
    only[LV_LORA_DIFF] = e->part[LV_LORA_DIFF_BIAS];
    return lv_lora_check_shape(only, t, path, msg);
}

static int load_parts(const LvLoras *l, const Entry *e, const LvMsg *msg)
{
    int ret = 0;

    for (int i = 0; i < LV_LORA_PARTS && ret >= 0; i++)
        if (e->part[i])
            ret = lv_source_load(l->src[e->file], e->part[i], msg);
    return ret;
}

static void drop_parts(const LvLoras *l, const Entry *e)
{
    for (int i = 0; i < LV_LORA_PARTS; i++)
        if (e->part[i])
            lv_source_drop(l->src[e->file], e->part[i]);
}

/* A row's changes */

struct LvLoraRows {
    LvLoraChange *change;
    const char *path;     /* of the file that it comes from */
    const LvFileTensor *t; /* what is changed */
    struct LvLoraRows *next;
};

void lv_loras_unready(LvLoraRows **rows)
{
    for (LvLoraRows *r = *rows, *next; r; r = next) {
        next = r->next;
        lv_lora_change_free(&r->change);
        free(r);
    }
    *rows = NULL;
}

int lv_loras_change(const LvLoraRows *r, size_t first, size_t rows, float *data,
                    const LvMsg *msg)
{
    size_t n = 0;
    int ret  = 0;

    for (; r && ret >= 0; r = r->next) {
        n   = rows * (r->t->rank ? r->t->numel / (size_t)r->t->dim[0] : r->t->numel);
        ret = lv_lora_change_rows(r->change, first, rows, data, msg);
        if (ret >= 0 && lv_find_nonfinite(data, LV_F32, LV_F32, n) < n)
            ret = lv_fail(msg, LV_ERR_MODEL, "%s: makes values of %s that are not finite",
                          r->path, r->t->name);
    }
    return ret;
}

/* Rows that are looked at together. */
enum { LOOK = 64 };

/* Let a change see all rows, as those before it leave them. */
static int look(const LvLoraRows *before, LvLoraChange *c, const LvFileTensor *t,
                const LvLoraBase *base, const LvMsg *msg)
{
    size_t rows = (size_t)t->dim[0], cols = t->numel / rows;
    float *data = lv_alloc(LOOK * cols * sizeof(*data));
    int ret     = data ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");

    for (size_t i = 0; i < rows && ret >= 0; i += LOOK) {
        size_t n = LV_MIN(rows - i, LOOK);
        if ((ret = base->rows(base->opaque, i, n, data, msg)) >= 0 &&
            (ret = lv_loras_change(before, i, n, data, msg)) >= 0)
            ret = lv_lora_change_look(c, i, n, data, msg);
    }
    lv_free(data);
    return ret;
}

/* Add what an entry changes behind the others. */
static int ready_entry(LvLoraRows **rows, const LvLoras *l, const Entry *e, int bias,
                       const LvFileTensor *t, const LvLoraBase *base, const LvMsg *msg)
{
    LvLoraParts only = { 0 };
    LvLoraRows *r = calloc(1, sizeof(*r)), **last = rows;
    int ret = r ? load_parts(l, e, msg) : lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");

    only[LV_LORA_DIFF] = e->part[LV_LORA_DIFF_BIAS];
    if (ret >= 0)
        ret = lv_lora_change_new(&r->change, bias ? only : e->part, t, l->weight[e->file],
                                 msg);
    drop_parts(l, e);
    if (ret >= 0 && lv_lora_change_looks(r->change))
        ret = look(*rows, r->change, t, base, msg);
    if (ret < 0) {
        lv_loras_unready(&r);
        return ret;
    }
    r->path = lv_source_path(l->src[e->file]);
    r->t    = t;
    while (*last)
        last = &(*last)->next;
    *last = r;
    return 0;
}

int lv_loras_ready(LvLoraRows **rows, LvLoras *l, const LvWeightRow *row, int index,
                   const LvFileTensor *t, const LvLoraBase *base, const LvMsg *msg)
{
    int ret = 0;
    Stems s;

    *rows = NULL;
    row_stems(&s, row, index);
    pthread_mutex_lock(&l->lock);
    for (int f = 0; f < l->files; f++)
        for (int k = 0; k < s.nb && ret >= 0; k++) {
            const Entry *e = entry_of(l, &s, f, k);
            if (e)
                ret = ready_entry(rows, l, e, s.bias, t, base, msg);
        }
    pthread_mutex_unlock(&l->lock);
    if (ret < 0)
        lv_loras_unready(rows);
    return ret;
}

int lv_loras_note(LvLoras *l, const LvWeightRow *row, int index, const LvFileTensor *t,
                  const LvMsg *msg)
{
    int ret = 0;
    Stems s;

    row_stems(&s, row, index);
    for (int f = 0; f < l->files; f++)
        for (int k = 0; k < s.nb && ret >= 0; k++) {
            Entry *e = entry_of(l, &s, f, k);
            if (e)
                ret = note_entry(l, e, s.bias, t, msg);
        }
    return ret;
}

int lv_loras_finish(const LvLoras *l, const LvMsg *msg)
{
    const Entry *first = NULL;
    int nb = 0;

    for (int i = 0; i < l->nb; i++) {
        const Entry *e = &l->entry[i];
        int left = (holds(e, 0) && !e->matrix) || (holds(e, 1) && !e->bias);
        first = left && !nb ? e : first;
        nb   += left;
    }
    for (int k = 0; first && k < LV_LORA_PARTS; k++)
        if (first->part[k])
            return lv_fail(msg, LV_ERR_MODEL, "%s: %d layer%s the model does not have, the "
                           "first by %s", lv_source_path(l->src[first->file]), nb,
                           nb > 1 ? "s" : "", first->part[k]->name);
    return 0;
}
