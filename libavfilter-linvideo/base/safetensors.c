/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define HEADER_MAX 100000000
#define DEPTH_MAX  8
#define NAME_BYTES_MAX 256
#define META_KEY "__metadata__"

struct LvSafetensors {
    char *path;
    LvMap map;     ///< empty when the bytes are the caller's
    json_t *root;  ///< owns names and metadata
    json_t *meta;  ///< borrowed from root; NULL when absent
    LvFileTensor *tensors; ///< by name
    int count;
};

/* What reading needs besides the result. */
typedef struct Reader {
    LvSafetensors *st;
    const LvMsg *msg;
    const uint8_t *data; ///< of the tensors
    size_t size;
} Reader;

static int bad(const LvSafetensors *st, const LvMsg *msg, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: header: %s", st->path, what);
}

/*
 * What the JSON parser lets pass and must not: deep nesting, signs (-0 is an
 * integer to it), white space other than blanks after the object.
 */
static int scan_header(const Reader *rd, const char *s, size_t n)
{
    int depth = 0, in_string = 0;

    while (n && s[n - 1] == ' ')
        n--;
    if (!n || s[0] != '{')
        return bad(rd->st, rd->msg, "does not begin with '{'");
    if (s[n - 1] != '}')
        return bad(rd->st, rd->msg, "does not end with '}' and blanks");
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = 0;
            continue;
        }
        in_string = s[i] == '"';
        depth += s[i] == '{' || s[i] == '[';
        depth -= s[i] == '}' || s[i] == ']';
        if (depth > DEPTH_MAX)
            return bad(rd->st, rd->msg, "nested too deep");
        if (s[i] == '-')
            return bad(rd->st, rd->msg, "a negative number");
    }
    return 0;
}

static int load_header(Reader *rd, const char *s, size_t n)
{
    json_error_t error;
    char shown[LV_SHOW_SIZE];
    int ret = scan_header(rd, s, n);

    if (ret < 0)
        return ret;
    rd->st->root = json_loadb(s, n, JSON_REJECT_DUPLICATES, &error);
    if (rd->st->root)
        return 0;
    if (json_error_code(&error) == json_error_out_of_memory)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for the header",
                       rd->st->path);
    /* The text quotes the file. */
    return bad(rd->st, rd->msg, lv_text_show(shown, error.text, strlen(error.text)));
}

static int load_meta(Reader *rd)
{
    json_t *meta = json_object_get(rd->st->root, META_KEY), *value;
    const char *key;

    if (!meta)
        return 0;
    if (!json_is_object(meta))
        return bad(rd->st, rd->msg, META_KEY " is not an object");
    json_object_foreach(meta, key, value) {
        char shown[LV_SHOW_SIZE];

        if (!json_is_string(value))
            return lv_fail(rd->msg, LV_ERR_MODEL,
                           "%s: header: " META_KEY ": value of %s is not a string",
                           rd->st->path, lv_text_show(shown, key, strlen(key)));
    }
    rd->st->meta = meta;
    return 0;
}

static int tensor_fail(const Reader *rd, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int tensor_fail(const Reader *rd, const char *name, const char *fmt, ...)
{
    char shown[LV_SHOW_SIZE], text[2 * LV_SHOW_SIZE];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return lv_fail(rd->msg, LV_ERR_MODEL, "%s: tensor %s: %s", rd->st->path,
                   lv_text_show(shown, name, strlen(name)), text);
}

static int load_dtype(const Reader *rd, LvFileTensor *t, const json_t *v)
{
    const char *s = json_string_value(v);
    char shown[LV_SHOW_SIZE];

    if (!s)
        return tensor_fail(rd, t->name, "dtype is missing or not a string");
    t->dtype = lv_dtype_by_name(s);
    if (t->dtype == LV_NONE)
        return tensor_fail(rd, t->name, "unknown dtype %s",
                           lv_text_show(shown, s, strlen(s)));
    return 0;
}

static int load_shape(const Reader *rd, LvFileTensor *t, const json_t *v)
{
    size_t rank = json_array_size(v), bytes;

    if (!json_is_array(v))
        return tensor_fail(rd, t->name, "shape is missing or not an array");
    if (rank > LV_FILE_MAX_RANK)
        return tensor_fail(rd, t->name, "rank %zu, at most %d", rank, LV_FILE_MAX_RANK);
    t->rank  = (int)rank;
    t->numel = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(v, i);

        if (!json_is_integer(dim))
            return tensor_fail(rd, t->name, "shape[%zu] is not an integer", i);
        t->dim[i] = json_integer_value(dim);
        if (t->dim[i] < 0 || (uint64_t)t->dim[i] > SIZE_MAX ||
            lv_mul(&t->numel, t->numel, (size_t)t->dim[i]) < 0)
            return tensor_fail(rd, t->name, "shape[%zu] = %" PRId64
                               ": the number of elements overflows", i, t->dim[i]);
    }
    if (lv_mul(&bytes, t->numel, lv_dtype_size(t->dtype)) < 0)
        return tensor_fail(rd, t->name, "%zu elements of %s: the size overflows",
                           t->numel, lv_dtype_name(t->dtype));
    t->size = bytes;
    return 0;
}

static int load_offsets(const Reader *rd, LvFileTensor *t, const json_t *v)
{
    const json_t *first = json_array_get(v, 0), *second = json_array_get(v, 1);
    int64_t begin, end;

    if (json_array_size(v) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return tensor_fail(rd, t->name, "data_offsets are not two integers");
    begin = json_integer_value(first);
    end   = json_integer_value(second);
    if (begin < 0 || end < begin)
        return tensor_fail(rd, t->name, "data_offsets [%" PRId64 ", %" PRId64
                           "] run backwards", begin, end);
    if ((uint64_t)end > rd->size)
        return tensor_fail(rd, t->name, "data ends at byte %" PRId64
                           ", the file has %zu bytes of data", end, rd->size);
    if ((uint64_t)(end - begin) != t->size)
        return tensor_fail(rd, t->name, "data_offsets span %" PRId64
                           " bytes, dtype and shape need %zu", end - begin, t->size);
    t->data = rd->data + begin;
    return 0;
}

static int load_tensor(const Reader *rd, LvFileTensor *t, const json_t *entry)
{
    int ret;

    if (strlen(t->name) > NAME_BYTES_MAX)
        return tensor_fail(rd, t->name, "name of %zu bytes, at most %d",
                           strlen(t->name), NAME_BYTES_MAX);
    if (!lv_text_is_plain(t->name, strlen(t->name)))
        return tensor_fail(rd, t->name, "control character in the name");
    if (!json_is_object(entry))
        return tensor_fail(rd, t->name, "entry is not an object");
    if ((ret = load_dtype(rd, t, json_object_get(entry, "dtype"))) < 0 ||
        (ret = load_shape(rd, t, json_object_get(entry, "shape"))) < 0 ||
        (ret = load_offsets(rd, t, json_object_get(entry, "data_offsets"))) < 0)
        return ret;
    if (json_object_size(entry) != 3)
        return tensor_fail(rd, t->name, "%zu keys, expected dtype, shape, data_offsets",
                           json_object_size(entry));
    return 0;
}

static int load_tensors(Reader *rd)
{
    LvSafetensors *st = rd->st;
    size_t n = json_object_size(st->root) - !!st->meta;
    const char *name;
    json_t *entry;
    int ret;

    st->tensors = calloc(LV_MAX(n, 1), sizeof(*st->tensors));
    if (!st->tensors)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for %zu tensors",
                       st->path, n);
    json_object_foreach(st->root, name, entry) {
        LvFileTensor *t = &st->tensors[st->count];

        if (entry == st->meta)
            continue;
        t->name = name;
        if ((ret = load_tensor(rd, t, entry)) < 0)
            return ret;
        st->count++;
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const LvFileTensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;

    return p != q ? (p > q) - (p < q) : (x->size > y->size) - (x->size < y->size);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const LvFileTensor *)a)->name, ((const LvFileTensor *)b)->name);
}

/* The tensors must tile the data exactly. Leaves them ordered by name. */
static int check_tiling(const Reader *rd)
{
    LvSafetensors *st = rd->st;
    size_t at = 0;

    qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_place);
    for (int i = 0; i < st->count; i++) {
        const LvFileTensor *t = &st->tensors[i];
        size_t begin = (size_t)((const uint8_t *)t->data - rd->data);

        if (begin != at)
            return tensor_fail(rd, t->name, "data begins at byte %zu, %s %zu", begin,
                               begin < at ? "overlapping the tensor that ends at"
                                          : "leaving a hole after byte", at);
        at = begin + t->size;
    }
    if (at != rd->size)
        return lv_fail(rd->msg, LV_ERR_MODEL,
                       "%s: %zu bytes of data, the tensors cover %zu",
                       st->path, rd->size, at);
    qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_name);
    return 0;
}

static int read_file(LvSafetensors *st, const uint8_t *p, size_t size, const LvMsg *msg)
{
    Reader rd = { .st = st, .msg = msg };
    uint64_t n = 0;
    int ret;

    if (size < 8)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %zu bytes, a header takes at least 8",
                       st->path, size);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | p[i];
    if (n > HEADER_MAX)
        return lv_fail(msg, LV_ERR_MODEL, "%s: header of %" PRIu64
                       " bytes, at most %d (no safetensors file?)",
                       st->path, n, HEADER_MAX);
    if (n > size - 8)
        return lv_fail(msg, LV_ERR_MODEL, "%s: header of %" PRIu64
                       " bytes, the file has %zu left", st->path, n, size - 8);
    rd.data = p + 8 + n;
    rd.size = size - 8 - (size_t)n;
    if ((ret = load_header(&rd, (const char *)p + 8, (size_t)n)) < 0 ||
        (ret = load_meta(&rd)) < 0 ||
        (ret = load_tensors(&rd)) < 0)
        return ret;
    return check_tiling(&rd);
}

static int create(LvSafetensors **out, const char *path, const LvMsg *msg)
{
    LvSafetensors *st = calloc(1, sizeof(*st));

    *out = st;
    if (st && (st->path = strdup(path)))
        return 0;
    lv_safetensors_close(out);
    return lv_fail(msg, LV_ERR(ENOMEM), "%s: no memory", path);
}

int lv_safetensors_parse(LvSafetensors **out, const void *data, size_t size,
                         const char *name, const LvMsg *msg)
{
    int ret = create(out, name, msg);

    if (ret < 0 || (ret = read_file(*out, data, size, msg)) < 0)
        lv_safetensors_close(out);
    return ret;
}

int lv_safetensors_open(LvSafetensors **out, const char *path, const LvMsg *msg)
{
    int ret = create(out, path, msg);

    if (ret < 0 ||
        (ret = lv_map_open(&(*out)->map, path, msg)) < 0 ||
        (ret = read_file(*out, (*out)->map.data, (*out)->map.size, msg)) < 0)
        lv_safetensors_close(out);
    return ret;
}

void lv_safetensors_close(LvSafetensors **st)
{
    if (!st || !*st)
        return;
    json_decref((*st)->root);
    lv_map_close(&(*st)->map);
    free((*st)->tensors);
    free((*st)->path);
    free(*st);
    *st = NULL;
}

int lv_safetensors_count(const LvSafetensors *st)
{
    return st->count;
}

const LvFileTensor *lv_safetensors_at(const LvSafetensors *st, int i)
{
    return &st->tensors[i];
}

const LvFileTensor *lv_safetensors_find(const LvSafetensors *st, const char *name)
{
    const LvFileTensor key = { .name = name };

    return bsearch(&key, st->tensors, (size_t)st->count, sizeof(key), by_name);
}

const char *lv_safetensors_meta(const LvSafetensors *st, const char *key)
{
    return json_string_value(json_object_get(st->meta, key));
}

int lv_safetensors_mapped(const LvSafetensors *st, const LvFileTensor *t)
{
    return lv_map_has(&st->map, t->data, t->size);
}

size_t lv_safetensors_place(const LvSafetensors *st, const LvFileTensor *t)
{
    return (size_t)((const uint8_t *)t->data - st->map.data);
}

const char *lv_safetensors_path(const LvSafetensors *st)
{
    return st->path;
}

/* --- writing --- */

static int write_order(const void *a, const void *b)
{
    const LvFileTensor *x = *(const LvFileTensor *const *)a;
    const LvFileTensor *y = *(const LvFileTensor *const *)b;
    size_t p = lv_dtype_size(x->dtype), q = lv_dtype_size(y->dtype);

    return p != q ? (p < q) - (p > q) : strcmp(x->name, y->name);
}

/* What a reader would refuse is not written. */
static int check_tensor(const char *path, const LvFileTensor *t, const LvMsg *msg)
{
    size_t n = strlen(t->name), bytes = lv_dtype_size(t->dtype);
    char shown[LV_SHOW_SIZE];
    int fits = t->rank >= 0 && t->rank <= LV_FILE_MAX_RANK;

    lv_text_show(shown, t->name, n);
    if (n > NAME_BYTES_MAX || !lv_text_is_plain(t->name, n) || !strcmp(t->name, META_KEY))
        return lv_fail(msg, LV_ERR(EINVAL), "%s: tensor %s: no valid name", path, shown);
    for (int i = 0; fits && i < t->rank; i++)
        fits = t->dim[i] >= 0 && !lv_mul(&bytes, bytes, (size_t)t->dim[i]);
    if (!fits || !lv_dtype_size(t->dtype) || bytes != t->size)
        return lv_fail(msg, LV_ERR(EINVAL),
                       "%s: tensor %s: %zu bytes do not fit its dtype (%s) and shape",
                       path, shown, t->size, lv_dtype_name(t->dtype));
    return 0;
}

static json_t *tensor_entry(const LvFileTensor *t, size_t begin)
{
    json_t *shape = json_array();

    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", lv_dtype_name(t->dtype),
                     "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + t->size));
}

static int add_meta(json_t *root, const char *path, const char *const *meta,
                    const LvMsg *msg)
{
    json_t *object = json_object();

    if (json_object_set_new(root, META_KEY, object) < 0)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: no memory for the header", path);
    for (; *meta; meta += 2)
        if (json_object_set_new(object, meta[0], json_string(meta[1])) < 0)
            return lv_fail(msg, LV_ERR(EINVAL),
                           "%s: a metadata pair is not valid UTF-8", path);
    return 0;
}

static int build_header(json_t *root, const char *path, const LvFileTensor **order,
                        int n, const char *const *meta, const LvMsg *msg)
{
    size_t at = 0;
    int ret;

    if (meta && *meta && (ret = add_meta(root, path, meta, msg)) < 0)
        return ret;
    for (int i = 0; i < n; i++) {
        const LvFileTensor *t = order[i];

        if ((ret = check_tensor(path, t, msg)) < 0)
            return ret;
        if (json_object_get(root, t->name))
            return lv_fail(msg, LV_ERR(EINVAL), "%s: tensor %s is there twice",
                           path, t->name);
        if (json_object_set_new(root, t->name, tensor_entry(t, at)) < 0)
            return lv_fail(msg, LV_ERR(ENOMEM), "%s: no memory for the header", path);
        at += t->size;
    }
    return 0;
}

typedef struct Writing {
    const LvFileTensor *tensors, **order;
    int n;
    const LvFeed *feed;
} Writing;

static int put_data(LvFile *f, const Writing *w)
{
    int ret = 0;

    for (int i = 0; i < w->n && ret >= 0; i++) {
        const void *data = w->order[i]->data;
        if (!data && w->feed)
            ret = w->feed->get(w->feed->opaque, (int)(w->order[i] - w->tensors), &data);
        if (ret >= 0 && data)
            lv_file_put(f, data, w->order[i]->size);
        else if (ret >= 0)
            lv_file_hole(f, w->order[i]->size);
    }
    return ret;
}

static int write_file(const char *path, const char *header, const Writing *w,
                      const LvMsg *msg)
{
    static const char blanks[8] = "        ";
    size_t length = strlen(header), padded = LV_ROUND_UP(length, 8);
    uint8_t prefix[8];
    LvFile f;
    int ret = lv_file_create(&f, path, msg);

    if (ret < 0)
        return ret;
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    lv_file_put(&f, prefix, sizeof(prefix));
    lv_file_put(&f, header, length);
    lv_file_put(&f, blanks, padded - length);
    if ((ret = put_data(&f, w)) < 0) {
        lv_file_abandon(&f);
        return ret;
    }
    return lv_file_finish(&f, msg);
}

int lv_safetensors_write(const char *path, const LvFileTensor *tensors, int n,
                         const char *const *meta, const LvMsg *msg)
{
    return lv_safetensors_write_from(path, tensors, n, meta, NULL, msg);
}

int lv_safetensors_write_from(const char *path, const LvFileTensor *tensors, int n,
                              const char *const *meta, const LvFeed *feed,
                              const LvMsg *msg)
{
    const LvFileTensor **order = calloc((size_t)LV_MAX(n, 1), sizeof(*order));
    char *header = NULL;
    json_t *root = json_object();
    int ret = LV_ERR(ENOMEM);

    if (!order || !root) {
        lv_fail(msg, ret, "%s: no memory to write %d tensors", path, n);
        goto fail;
    }
    for (int i = 0; i < n; i++)
        order[i] = &tensors[i];
    qsort(order, (size_t)n, sizeof(*order), write_order);
    if ((ret = build_header(root, path, order, n, meta, msg)) < 0)
        goto fail;
    header = json_dumps(root, JSON_COMPACT);
    if (!header) {
        ret = lv_fail(msg, LV_ERR(ENOMEM), "%s: no memory for the header", path);
        goto fail;
    }
    ret = write_file(path, header, &(Writing) { tensors, order, n, feed }, msg);
fail:
    free(header);
    json_decref(root);
    free(order);
    return ret;
}
