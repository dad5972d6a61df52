/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/stored.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/text.h"

#define META_KEY "_quantization_metadata"
#define MARKER   "scaled_fp8"

enum { NAME_SIZE = LV_PARAM_NAME, TURBO_BLOCK = 128, JSON_MAX = 2 << 20,
       NOTE_MAX = 4096 };

/* Formats that a file may name. */
static const char *const formats[] = { "float8_e4m3fn", "float8_e5m2", "int8",
                                       "int8_tensorwise", "int8_rowwise" };

const LvFileTensor *lv_stored_take(LvStoredFile *f, const char *name)
{
    const LvFileTensor *t = lv_source_find(f->src, name);

    if (t)
        f->used[lv_source_index(f->src, t)] = LV_TAKEN_BOUND;
    return t;
}

static int fail(LvStoredFile *f, const char *name, const char *what)
{
    return lv_fail(f->msg, LV_ERR_MODEL, "%s: %s %s",
                   lv_source_path(f->src), name, what);
}

static int ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n >= k && !strcmp(name + n - k, end);
}

/* "<layer>." of "<layer>.weight" with another end. */
static const LvFileTensor *beside(LvStoredFile *f, const char *name, const char *end)
{
    char other[NAME_SIZE];
    int stem = (int)(strlen(name) - strlen("weight"));

    if (snprintf(other, sizeof(other), "%.*s%s", stem, name, end) >= NAME_SIZE)
        return NULL;
    return lv_stored_take(f, other);
}

/* What a layer is said to be */

static int check_format(LvStoredFile *f, const char *name, const json_t *layer)
{
    const char *format = json_string_value(json_object_get(layer, "format"));
    char shown[LV_SHOW_SIZE], what[2 * LV_SHOW_SIZE];
    const json_t *rotated = json_object_get(layer, "convrot");

    for (int i = 0; format && i < LV_COUNT(formats); i++)
        if (!strcmp(formats[i], format) && (!rotated || json_is_false(rotated)))
            return 0;
    snprintf(what, sizeof(what), "is quantised as %s, which is not supported",
             rotated && !json_is_false(rotated) ? "rotated int8" :
             format ? lv_text_show(shown, format, strlen(format)) : "an unnamed format");
    return fail(f, name, what);
}

static int check_note(LvStoredFile *f, const char *name, const LvFileTensor *note)
{
    int fits = note->dtype == LV_U8 && note->size <= NOTE_MAX;
    int ret  = lv_source_load(f->src, note, f->msg);
    json_error_t error;
    json_t *root;

    if (ret < 0)
        return ret;
    root = fits ? json_loadb(note->data, note->size, JSON_REJECT_DUPLICATES, &error) : NULL;
    ret  = root ? check_format(f, name, root)
                : fail(f, note->name, "is not JSON that names a format");
    json_decref(root);
    return ret;
}

static int check_metadata(LvStoredFile *f, const char *text)
{
    json_error_t error;
    json_t *root   = strlen(text) > JSON_MAX ? NULL
                   : json_loads(text, JSON_REJECT_DUPLICATES, &error), *layer;
    json_t *layers = json_object_get(root, "layers");
    const char *name;
    int ret = !root ? fail(f, META_KEY, "is not JSON")
            : !json_is_object(layers) ? fail(f, META_KEY, "does not list layers") : 0;
    char shown[LV_SHOW_SIZE];

    json_object_foreach(layers, name, layer)
        if (ret >= 0)
            ret = check_format(f, lv_text_show(shown, name, strlen(name)), layer);
    json_decref(root);
    return ret;
}

int lv_stored_is_marker(const LvFileTensor *t)
{
    return ends_with(t->name, MARKER) && t->numel <= 2;
}

int lv_stored_check_file(LvStoredFile *f)
{
    const LvSource *src = f->src;
    const char *text    = lv_source_meta(src, META_KEY);
    int scaled = text != NULL;

    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        scaled = scaled || ends_with(t->name, MARKER);
        if (lv_stored_is_marker(t))
            lv_stored_take(f, t->name);
    }
    f->scaled = scaled;
    return text ? check_metadata(f, text) : 0;
}

/* Scales */

static int is_small(LvDtype dtype)
{
    return dtype == LV_F8_E4M3 || dtype == LV_F8_E5M2 || dtype == LV_I8;
}

static int64_t rows_of(const LvFileTensor *t)
{
    return t->rank ? t->dim[0] : 1;
}

static int64_t cols_of(const LvFileTensor *t)
{
    return t->numel ? (int64_t)t->numel / rows_of(t) : 0;
}

/* One scale, or one for each row. */
static int place_scale(LvStoredFile *f, LvStored *s)
{
    int64_t rows = rows_of(s->t), n = (int64_t)s->scale->numel;

    if (!is_small(s->t->dtype))
        return fail(f, s->scale->name, "is a scale of a tensor that is not quantised");
    if (s->scale->dtype != LV_F32 && s->scale->dtype != LV_BF16 &&
        s->scale->dtype != LV_F16 && s->scale->dtype != LV_F64)
        return fail(f, s->scale->name, "is a scale, but not of a float type");
    if (n != 1 && (n != rows || rows_of(s->scale) != rows))
        return fail(f, s->scale->name, "has neither one scale nor one for each row");
    s->rows = n == 1 ? (int)LV_MAX(rows, 1) : 1;
    s->cols = (int)LV_MAX(cols_of(s->t), 1);
    return 0;
}

static int place_blocks(LvStoredFile *f, LvStored *s, const char *name)
{
    int64_t rows = rows_of(s->t), cols = cols_of(s->t);

    if (s->t->dtype != LV_I8 || s->t->rank != 2)
        return fail(f, s->t->name, "is not a matrix of I8");
    if (!s->scale)
        return fail(f, name, "lacks the scale of its int8_weight");
    if (s->scale->dtype != LV_F32 || s->scale->rank != 2 ||
        s->scale->dim[0] != (rows + TURBO_BLOCK - 1) / TURBO_BLOCK ||
        s->scale->dim[1] != (cols + TURBO_BLOCK - 1) / TURBO_BLOCK)
        return fail(f, s->scale->name, "is not one F32 for every 128 x 128 elements");
    s->rows = s->cols = TURBO_BLOCK;
    return 0;
}

/* The largest number that a type of small numbers has. */
static float largest(LvDtype dtype)
{
    return dtype == LV_F8_E4M3 ? 448 : dtype == LV_F8_E5M2 ? 57344 : 128;
}

/* Whether all that scale number i is for are zeros, of either sign. */
static int are_zeros(const LvStored *s, size_t i)
{
    size_t rows = (size_t)rows_of(s->t), cols = (size_t)cols_of(s->t);
    size_t per_row = (cols + (size_t)s->cols - 1) / (size_t)s->cols;
    size_t top = i / per_row * (size_t)s->rows, left = i % per_row * (size_t)s->cols;
    const uint8_t *p = s->t->data, mask = s->t->dtype == LV_I8 ? 0xFF : 0x7F;

    for (size_t y = top; y < LV_MIN(rows, top + (size_t)s->rows); y++)
        for (size_t x = left; x < LV_MIN(cols, left + (size_t)s->cols); x++)
            if (p[y * cols + x] & mask)
                return 0;
    return 1;
}

static int check_scales(LvStoredFile *f, const LvStored *s)
{
    int ret = lv_source_load(f->src, s->scale, f->msg);
    size_t size = lv_dtype_size(s->scale->dtype);
    float x;

    if (ret < 0)
        return ret;
    for (size_t i = 0; i < s->scale->numel; i++) {
        lv_to_f32(&x, (const char *)s->scale->data + i * size, s->scale->dtype, 1);
        if (!isfinite(x))
            return fail(f, s->scale->name, "is not finite");
        if (!isfinite(x * largest(s->t->dtype)))
            return fail(f, s->scale->name, "is so large that scaled values overflow");
        if (x == 0 &&
            (ret = lv_source_load(f->src, s->t, f->msg)) < 0)
            return ret;
        if (x == 0 && !are_zeros(s, i))
            return fail(f, s->scale->name, "is 0 where its tensor holds values");
    }
    return 0;
}

static int find_scale(LvStoredFile *f, LvStored *s, const char *name)
{
    const LvFileTensor *old = beside(f, name, "scale_weight");
    const LvFileTensor *new = beside(f, name, "weight_scale");
    const LvFileTensor *note = beside(f, name, "comfy_quant");
    int ret = note ? check_note(f, name, note) : 0;

    beside(f, name, "scale_input");
    beside(f, name, "input_scale");
    if (ret < 0)
        return ret;
    if (old && new)
        return fail(f, name, "has two scales");
    s->scale = old ? old : new;
    if (s->scale)
        return (ret = place_scale(f, s)) < 0 ? ret : check_scales(f, s);
    if (s->t->dtype == LV_I8)
        return fail(f, name, "is I8 without a scale");
    if (is_small(s->t->dtype) && s->t->rank > 1 && (note || f->scaled))
        return fail(f, name, "has no scale, but its file is one with scales");
    return 0;
}

static int find_turbo(LvStoredFile *f, LvStored *s, const char *name)
{
    int ret;

    if (!(s->t = beside(f, name, "int8_weight")))
        return 0;
    s->scale = beside(f, name, "scale");
    return (ret = place_blocks(f, s, name)) < 0 ? ret : check_scales(f, s);
}

int lv_stored_find(LvStored *s, LvStoredFile *f, const char *name)
{
    *s   = (LvStored) { .t = lv_stored_take(f, name) };
    if (!ends_with(name, ".weight"))
        return 0;
    return s->t ? find_scale(f, s, name) : find_turbo(f, s, name);
}

/* Reading */

int lv_stored_has_type(const LvFileTensor *t)
{
    return t->dtype == LV_F32 || t->dtype == LV_BF16 || t->dtype == LV_F16 ||
           t->dtype == LV_F64 || is_small(t->dtype) || lv_dtype_block(t->dtype) > 1;
}

int lv_stored_is_plain(const LvStored *s)
{
    return s->t->dtype == LV_F32 || s->t->dtype == LV_BF16 || s->t->dtype == LV_F16;
}

/* By their scales: rows from number `first` on, which lie at dst. */
static void multiply(float *dst, const LvStored *s, size_t first, size_t rows)
{
    size_t cols    = (size_t)cols_of(s->t);
    size_t per_row = (cols + (size_t)s->cols - 1) / (size_t)s->cols;
    const char *scales = s->scale->data;
    size_t size = lv_dtype_size(s->scale->dtype);
    float x;

    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < per_row; k++) {
            size_t at = (first + i) / (size_t)s->rows * per_row + k;
            size_t begin = k * (size_t)s->cols, n = LV_MIN((size_t)s->cols, cols - begin);
            float *p = dst + i * cols + begin;

            lv_to_f32(&x, scales + at * size, s->scale->dtype, 1);
            for (size_t c = 0; c < n; c++)
                p[c] *= x;
        }
}

int lv_stored_fail(const LvFileTensor *t, size_t i, const char *file, const LvMsg *msg)
{
    size_t cols = (size_t)LV_MAX(cols_of(t), 1);

    if (t->rank < 2)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s: element %zu is not finite, or too large",
                       file, t->name, i);
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s: row %zu holds a value that is not finite, or "
                   "too large", file, t->name, i / cols);
}

/* Rows from number `first` on, of data, to dst. */
static int decode_rows(float *dst, const LvStored *s, const void *data, size_t first,
                       size_t rows, const LvSource *src, const LvMsg *msg)
{
    size_t cols = (size_t)cols_of(s->t), n = rows * cols, i;

    lv_to_f32(dst, data, s->t->dtype, n);
    if (s->scale)
        multiply(dst, s, first, rows);
    i = lv_find_nonfinite(dst, LV_F32, LV_F32, n);
    return i == n ? 0 : lv_stored_fail(s->t, i + ((size_t)s->first + first) * cols,
                                       lv_source_path(src), msg);
}

int lv_stored_read(float *dst, const LvStored *s, const LvSource *src, const LvMsg *msg)
{
    int ret;

    if ((ret = lv_source_load(src, s->t, msg)) < 0 ||
        (s->scale && (ret = lv_source_load(src, s->scale, msg)) < 0))
        return ret;
    return decode_rows(dst, s, s->t->data, 0, (size_t)rows_of(s->t), src, msg);
}

int lv_stored_read_rows(float *dst, const LvStored *s, size_t first, size_t rows,
                        const LvSource *src, const LvMsg *msg)
{
    size_t bytes = s->t->size / (size_t)rows_of(s->t);
    void *data   = malloc(rows * bytes);
    int ret = data ? lv_source_read(src, s->t, first * bytes, data, rows * bytes, msg)
                   : lv_fail(msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes",
                             rows * bytes);

    assert(rows >= 1);
    if (ret >= 0)
        ret = decode_rows(dst, s, data, first, rows, src, msg);
    free(data);
    return ret;
}
