/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "model/stored.h"

enum { STEM_SIZE = LV_PARAM_NAME };

/* What a key holds. */
enum { DOWN, UP, ALPHA, DIFF, DIFF_BIAS, NB_PARTS };

static const struct {
    const char *end;
    int part;
} ends[] = {
    { ".lora_A.weight", DOWN },  { ".lora_B.weight", UP },
    { ".lora_A.default.weight", DOWN }, { ".lora_B.default.weight", UP },
    { ".lora_down.weight", DOWN }, { ".lora_up.weight", UP },
    { ".alpha", ALPHA },         { ".diff", DIFF },   { ".diff_b", DIFF_BIAS },
};

static const char *const prefixes[] = {
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.",
    "lora_unet_", "lycoris_",
};

/* All that one file holds for a layer. */
typedef struct Entry {
    char stem[STEM_SIZE]; /* name of the layer with _ for dots */
    const LvFileTensor *part[NB_PARTS];
    int file;
    int matrix, bias;     /* were they used */
} Entry;

struct LvLoras {
    LvSource **src;
    float *weight;
    int files;
    Entry *entry;
    int nb;
};

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

static const char *without_prefix(const char *key)
{
    for (int i = 0; i < LV_COUNT(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (!strncmp(key, prefixes[i], n))
            return key + n;
    }
    return key;
}

static Entry *entry_of(LvLoras *l, const char *stem, int file)
{
    for (int i = l->nb - 1; i >= 0 && l->entry[i].file == file; i--)
        if (!strcmp(l->entry[i].stem, stem))
            return &l->entry[i];
    strcpy(l->entry[l->nb].stem, stem);
    l->entry[l->nb].file = file;
    return &l->entry[l->nb++];
}

static int sort_key(LvLoras *l, int file, const LvFileTensor *t, const LvMsg *msg)
{
    const char *path = lv_source_path(l->src[file]), *name = without_prefix(t->name);
    char stem[STEM_SIZE];
    size_t n;
    int part = part_of(t->name, &n);
    Entry *e;

    if (part < 0)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is no key of a LoRA that is known", path,
                       t->name);
    n -= (size_t)(name - t->name);
    if (n >= STEM_SIZE || !lv_stored_has_type(t))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is of no float type", path, t->name);
    memcpy(stem, name, n);
    stem[n] = 0;
    dots_to_bars(stem);
    e = entry_of(l, stem, file);
    if (e->part[part])
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s stands for the same as %s", path, t->name,
                       e->part[part]->name);
    e->part[part] = t;
    return 0;
}

/* Both of DOWN and UP or none; ALPHA only with them. */
static int check_entry(const LvLoras *l, const Entry *e, const LvMsg *msg)
{
    const LvFileTensor *down = e->part[DOWN], *up = e->part[UP], *alpha = e->part[ALPHA];
    const char *path = lv_source_path(l->src[e->file]);

    if (!down != !up || (alpha && !down))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s stands without its other half", path,
                       (down ? down : up ? up : alpha)->name);
    if (down && (down->rank < 2 || up->rank < 2 || down->dim[0] != up->dim[1]))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s and %s have different ranks", path,
                       down->name, up->name);
    if (alpha && alpha->numel != 1)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is not one number", path, alpha->name);
    return 0;
}

static int open_file(LvLoras *l, int i, const char *path, const LvMsg *msg)
{
    int ret = lv_source_open(&l->src[i], path, msg), n;
    Entry *more;

    if (ret < 0)
        return ret;
    n    = lv_source_count(l->src[i]);
    more = realloc(l->entry, (size_t)(l->nb + n + 1) * sizeof(*more));
    if (!more)
        return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    l->entry = more;
    memset(more + l->nb, 0, (size_t)(n + 1) * sizeof(*more));
    for (int k = 0; k < n && ret >= 0; k++)
        ret = sort_key(l, i, lv_source_at(l->src[i], k), msg);
    return ret;
}

int lv_loras_open(LvLoras **out, const LvLoraFile *files, int nb, const LvMsg *msg)
{
    LvLoras *l = *out = calloc(1, sizeof(*l));
    int ret = 0;

    if (l) {
        l->src    = calloc((size_t)nb + 1, sizeof(*l->src));
        l->weight = calloc((size_t)nb + 1, sizeof(*l->weight));
    }
    if (!l || !l->src || !l->weight) {
        lv_loras_close(out);
        return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    }
    l->files = nb;
    for (int i = 0; i < nb && ret >= 0; i++) {
        l->weight[i] = files[i].weight;
        ret = open_file(l, i, files[i].path, msg);
    }
    for (int i = 0; i < l->nb && ret >= 0; i++)
        ret = check_entry(l, &l->entry[i], msg);
    if (ret < 0)
        lv_loras_close(out);
    return ret;
}

void lv_loras_close(LvLoras **out)
{
    LvLoras *l = *out;

    if (!l)
        return;
    for (int i = 0; l->src && i < l->files; i++)
        lv_source_close(&l->src[i]);
    free(l->src);
    free(l->weight);
    free(l->entry);
    free(l);
    *out = NULL;
}

/* Rows */

/* Stem of a row in a layout, as entries have it; whether it is a bias. */
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

static int holds(const Entry *e, int bias)
{
    return bias ? e->part[DIFF_BIAS] != NULL : e->part[DOWN] || e->part[DIFF];
}

/* Next entry from i on that changes the row's tensor; nb when there is none. */
static int next_entry(const LvLoras *l, const LvWeightRow *row, int index, int i,
                      int *bias)
{
    char stem[LV_LAYOUT_NB][STEM_SIZE];

    for (int k = 0; k < LV_LAYOUT_NB; k++)
        *bias = row_stem(stem[k], row, k, index);
    for (; i < l->nb; i++)
        for (int k = 0; k < LV_LAYOUT_NB; k++)
            if (!strcmp(l->entry[i].stem, stem[k]) && holds(&l->entry[i], *bias))
                return i;
    return i;
}

int lv_loras_has(const LvLoras *l, const LvWeightRow *row, int index)
{
    int bias;

    return next_entry(l, row, index, 0, &bias) < l->nb;
}

void lv_loras_note(LvLoras *l, const LvWeightRow *row, int index)
{
    int bias;

    for (int i = next_entry(l, row, index, 0, &bias); i < l->nb;
         i = next_entry(l, row, index, i + 1, &bias))
        *(bias ? &l->entry[i].bias : &l->entry[i].matrix) = 1;
}

static int misfit(const LvFileTensor *part, const LvFileTensor *t, const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR_MODEL, "LoRA: %s, of %zu values, does not fit %s", part->name,
                   part->numel, t->name);
}

static int add_diff(float *data, const LvFileTensor *diff, float scale,
                    const LvFileTensor *t, const LvMsg *msg)
{
    float *x;

    if (diff->numel != t->numel)
        return misfit(diff, t, msg);
    if (!(x = lv_alloc(diff->numel * sizeof(*x))))
        return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    lv_to_f32(x, diff->data, diff->dtype, diff->numel);
    for (size_t i = 0; i < diff->numel; i++)
        data[i] += scale * x[i];
    lv_free(x);
    return 0;
}

/* data[rows,cols] += scale up[rows,rank] down[rank,cols], each sum made before it is
 * added. */
static void add_product(float *data, const float *up, const float *down, size_t rows,
                        size_t rank, size_t cols, float scale, float *sum)
{
    for (size_t i = 0; i < rows; i++, data += cols) {
        memset(sum, 0, cols * sizeof(*sum));
        for (size_t k = 0; k < rank; k++) {
            float a = up[i * rank + k];
            const float *row = down + k * cols;
            for (size_t c = 0; c < cols; c++)
                sum[c] += a * row[c];
        }
        for (size_t c = 0; c < cols; c++)
            data[c] += scale * sum[c];
    }
}

static int add_pair(float *data, const Entry *e, float weight, const LvFileTensor *t,
                    const LvMsg *msg)
{
    const LvFileTensor *down = e->part[DOWN], *up = e->part[UP];
    size_t rank = (size_t)down->dim[0], rows = (size_t)up->dim[0], cols;
    float *x, alpha = (float)rank;

    if (!rank || !rows || up->numel != rows * rank || t->numel % rows ||
        down->numel != rank * (t->numel / rows) || (size_t)t->dim[0] != rows)
        return misfit(down, t, msg);
    cols = t->numel / rows;
    if (!(x = lv_alloc((up->numel + down->numel + cols) * sizeof(*x))))
        return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
    lv_to_f32(x, up->data, up->dtype, up->numel);
    lv_to_f32(x + up->numel, down->data, down->dtype, down->numel);
    if (e->part[ALPHA])
        lv_to_f32(&alpha, e->part[ALPHA]->data, e->part[ALPHA]->dtype, 1);
    add_product(data, x, x + up->numel, rows, rank, cols, weight * alpha / (float)rank,
                x + up->numel + down->numel);
    lv_free(x);
    return 0;
}

static int add_entry(const LvLoras *l, Entry *e, int bias, float *data,
                     const LvFileTensor *t, const LvMsg *msg)
{
    float weight = l->weight[e->file];
    int ret = 0;

    *(bias ? &e->bias : &e->matrix) = 1;
    if (bias)
        return add_diff(data, e->part[DIFF_BIAS], weight, t, msg);
    if (e->part[DOWN])
        ret = add_pair(data, e, weight, t, msg);
    return ret < 0 || !e->part[DIFF] ? ret : add_diff(data, e->part[DIFF], weight, t, msg);
}

int lv_loras_add(LvLoras *l, const LvWeightRow *row, int index, float *data,
                 const LvFileTensor *t, const LvMsg *msg)
{
    int bias, ret = 0;

    for (int i = 0; i < l->nb && ret >= 0; i++) {
        i = next_entry(l, row, index, i, &bias);
        if (i < l->nb)
            ret = add_entry(l, &l->entry[i], bias, data, t, msg);
    }
    if (ret >= 0)
        for (size_t i = 0; i < t->numel; i++)
            if (!isfinite(data[i]))
                return lv_fail(msg, LV_ERR_MODEL, "LoRA: makes %s infinite", t->name);
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
    for (int k = 0; first && k < NB_PARTS; k++)
        if (first->part[k])
            return lv_fail(msg, LV_ERR_MODEL, "%s: %d layer%s the model does not have, the "
                           "first by %s", lv_source_path(l->src[first->file]), nb,
                           nb > 1 ? "s" : "", first->part[k]->name);
    return 0;
}
