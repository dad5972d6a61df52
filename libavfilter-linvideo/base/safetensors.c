/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/json.h"
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

enum {
    ENTRY_MIN = 49,      ///< bytes of the shortest entry of a tensor
    ENTRY_MAX = 1 << 14, ///< of one that is read
    META_MAX = 1 << 16, META_VALUE_MAX = 32 << 20,
};

const char *lv_shape_text(char buf[LV_SHAPE_SIZE], int rank, const int64_t *dim)
{
    size_t n = (size_t)snprintf(buf, LV_SHAPE_SIZE, "[");

    for (int i = 0; i < rank && n < LV_SHAPE_SIZE; i++)
        n += (size_t)snprintf(buf + n, LV_SHAPE_SIZE - n, "%s%lld", i ? "," : "",
                              (long long)dim[i]);
    if (n < LV_SHAPE_SIZE)
        snprintf(buf + n, LV_SHAPE_SIZE - n, "]");
    return buf;
}

/* A pair of the metadata. */
typedef struct Pair {
    const char *key, *value;
} Pair;

struct LvSafetensors {
    char *path;
    LvMap map;     ///< empty when the bytes are the caller's
    char *text;    ///< names, keys and values, each ended by a NUL
    Pair *meta;    ///< by key
    int nb_meta;
    LvFileTensor *tensors; ///< by name
    int count;
};

/* A part of the header: "name": value. */
typedef struct Piece {
    const char *s;
    size_t n;
} Piece;

/* What reading needs besides the result. */
typedef struct Reader {
    LvSafetensors *st;
    const LvMsg *msg;
    const uint8_t *data; ///< of the tensors
    size_t size;
    char *text;          ///< room left in st->text
    Piece *entry;        ///< of each tensor, while it is looked at
    Piece meta;          ///< the metadata object; s is NULL when absent
} Reader;

static int bad(const LvSafetensors *st, const LvMsg *msg, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: header: %s", st->path, what);
}

/*
 * The header is cut into pieces, and the JSON parser sees one at a time: its memory is
 * that of one entry, not of the header.
 */

/* A step over one character, outside and within strings. */
typedef struct Scan {
    int depth, in_string, escaped;
} Scan;

static void step(Scan *s, char c)
{
    if (s->escaped) {
        s->escaped = 0;
    } else if (s->in_string) {
        s->escaped   = c == '\\';
        s->in_string = c != '"';
    } else {
        s->in_string = c == '"';
        s->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
}

/*
 * What the pieces do not show, and what the JSON parser lets pass and must not: deep
 * nesting, signs (-0 is an integer to it), white space other than blanks after the object.
 */
static int scan_header(const Reader *rd, const char *s, size_t n, size_t *entries)
{
    Scan scan = { 0 };

    while (n && s[n - 1] == ' ')
        n--;
    if (!n || s[0] != '{')
        return bad(rd->st, rd->msg, "does not begin with '{'");
    if (s[n - 1] != '}')
        return bad(rd->st, rd->msg, "does not end with '}' and blanks");
    *entries = 1;
    for (size_t i = 0; i < n; i++) {
        int inside = scan.in_string;

        step(&scan, s[i]);
        if (scan.depth > DEPTH_MAX)
            return bad(rd->st, rd->msg, "nested too deep");
        if (!inside && s[i] == '-')
            return bad(rd->st, rd->msg, "a negative number");
        if (scan.depth < 1 && i < n - 1)
            return bad(rd->st, rd->msg, "end of file expected after the object");
        *entries += !inside && scan.depth == 1 && s[i] == ',';
    }
    return scan.in_string || scan.depth ? bad(rd->st, rd->msg, "is not closed") : 0;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static Piece trim(Piece p)
{
    while (p.n && is_blank(p.s[0]))
        p.s++, p.n--;
    while (p.n && is_blank(p.s[p.n - 1]))
        p.n--;
    return p;
}

/* Cut the next piece off what is within an object, up to a comma. Its end is marked by a
 * rest whose s is NULL. */
static Piece next_piece(Piece *rest)
{
    Piece p = { rest->s, 0 };
    Scan scan = { 0 };

    while (p.n < rest->n && (scan.in_string || scan.depth || p.s[p.n] != ','))
        step(&scan, p.s[p.n++]);
    *rest = p.n < rest->n ? (Piece) { p.s + p.n + 1, rest->n - p.n - 1 } : (Piece) { 0 };
    return trim(p);
}

/* The string that a piece begins with, quotes and all; n is 0 when it begins with none. */
static Piece leading_string(Piece p)
{
    Piece s = { p.s, 0 };
    Scan scan = { 0 };

    if (!p.n || p.s[0] != '"')
        return s;
    do
        step(&scan, p.s[s.n++]);
    while (s.n < p.n && scan.in_string);
    return s;
}

/* What stands behind the string and the colon. */
static Piece value_of(Piece p)
{
    size_t n = leading_string(p).n;
    Piece v  = p.n ? trim((Piece) { p.s + n, p.n - n }) : p; /* no bytes have no address */

    return v.n && v.s[0] == ':' ? trim((Piece) { v.s + 1, v.n - 1 }) : (Piece) { v.s, 0 };
}

static int parse_fail(const Reader *rd, json_error_t *error)
{
    char shown[LV_SHOW_SIZE];

    if (json_error_code(error) == json_error_out_of_memory)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for the header",
                       rd->st->path);
    return bad(rd->st, rd->msg, lv_json_expected(shown, error));
}

/* A piece as an object of one member. */
static int parse_piece(const Reader *rd, Piece p, json_t **object)
{
    char *text = malloc(p.n + 2);
    json_error_t error;

    *object = NULL;
    if (!text)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for the header",
                       rd->st->path);
    text[0] = '{';
    memcpy(text + 1, p.s, p.n);
    text[p.n + 1] = '}';
    *object = json_loadb(text, p.n + 2, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!*object)
        return parse_fail(rd, &error);
    return json_object_size(*object) == 1 ? 0 : bad(rd->st, rd->msg, "an entry is empty");
}

/* A copy of s in the text of the file: no longer than it is in the header. */
static const char *keep(Reader *rd, const char *s)
{
    char *at = rd->text;
    size_t n = strlen(s) + 1;

    memcpy(at, s, n);
    rd->text += n;
    return at;
}

/* The name that a piece begins with. NULL, and *ret, when there is none. */
static const char *read_name(Reader *rd, Piece p, int *ret)
{
    Piece raw = leading_string(p);
    json_error_t error;
    const char *name = NULL;
    json_t *s;

    *ret = 0;
    if (raw.n > 6 * NAME_BYTES_MAX + 2)
        *ret = lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: name of %zu bytes, at most %d",
                       rd->st->path, raw.n, NAME_BYTES_MAX);
    else if (!raw.n)
        *ret = bad(rd->st, rd->msg, "an entry does not begin with a name in quotes");
    if (*ret < 0)
        return NULL;
    if (!(s = json_loadb(raw.s, raw.n, JSON_DECODE_ANY, &error)))
        *ret = parse_fail(rd, &error);
    else
        name = keep(rd, json_string_value(s));
    json_decref(s);
    return name;
}

/* Metadata */

static int by_pair(const void *a, const void *b)
{
    return strcmp(((const Pair *)a)->key, ((const Pair *)b)->key);
}

static int load_pair(Reader *rd, Piece p)
{
    Piece value = value_of(p);
    Pair *pair  = &rd->st->meta[rd->st->nb_meta];
    char shown[LV_SHOW_SIZE];
    json_t *object, *v;
    const char *key;
    int ret;

    if (p.n > META_VALUE_MAX)
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: " META_KEY " holds an entry of "
                       "%zu bytes, at most %d", rd->st->path, p.n, META_VALUE_MAX);
    if (value.n && value.s[0] != '"') {
        Piece raw = leading_string(p);
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: " META_KEY ": value of %s is "
                       "not a string", rd->st->path,
                       lv_text_show(shown, raw.s + 1, raw.n > 2 ? raw.n - 2 : 0));
    }
    if ((ret = parse_piece(rd, p, &object)) >= 0) {
        json_object_foreach(object, key, v)
            *pair = (Pair) { keep(rd, key), keep(rd, json_string_value(v)) };
        rd->st->nb_meta++;
    }
    json_decref(object);
    return ret;
}

static int count_pieces(Piece rest)
{
    int nb = 0;

    for (; rest.s && nb <= META_MAX; nb++)
        next_piece(&rest);
    return nb;
}

static int load_meta(Reader *rd)
{
    LvSafetensors *st = rd->st;
    Piece rest = value_of(rd->meta);
    int nb, ret = 0;

    if (!rd->meta.s)
        return 0;
    if (rest.n < 2 || rest.s[0] != '{' || rest.s[rest.n - 1] != '}')
        return bad(st, rd->msg, META_KEY " is not an object");
    rest = trim((Piece) { rest.s + 1, rest.n - 2 });
    if ((nb = count_pieces(rest)) > META_MAX)
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: " META_KEY " has more than %d "
                       "keys", st->path, META_MAX);
    if (!(st->meta = calloc((size_t)nb, sizeof(*st->meta))))
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for the header", st->path);
    while (rest.n && ret >= 0)
        ret = load_pair(rd, next_piece(&rest));
    if (ret < 0)
        return ret;
    if (rest.s && st->nb_meta)
        return bad(st, rd->msg, META_KEY " ends in a comma");
    qsort(st->meta, (size_t)st->nb_meta, sizeof(*st->meta), by_pair);
    for (int i = 1; i < st->nb_meta; i++)
        if (!by_pair(&st->meta[i - 1], &st->meta[i]))
            return bad(st, rd->msg, META_KEY ": expected each name once");
    return 0;
}

/* Tensors */

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
    if ((uint64_t)(end - begin) != t->size)
        return tensor_fail(rd, t->name, "data_offsets span %" PRId64
                           " bytes, dtype and shape need %zu", end - begin, t->size);
    t->data = (const void *)(uintptr_t)begin; /* until all are known */
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

/* An entry of the header, without what it holds. */
static int add_entry(Reader *rd, Piece p)
{
    LvSafetensors *st = rd->st;
    int ret;
    const char *name = read_name(rd, p, &ret);

    if (!name)
        return ret;
    if (strcmp(name, META_KEY)) {
        /* Its piece is found by the number in size, however the names are ordered. */
        st->tensors[st->count] = (LvFileTensor) { .name = name,
                                                  .size = (size_t)st->count };
        rd->entry[st->count++] = p;
        return 0;
    }
    if (rd->meta.s)
        return bad(st, rd->msg, "expected each name once, got " META_KEY);
    rd->meta = p;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const LvFileTensor *)a)->name, ((const LvFileTensor *)b)->name);
}

static int load_names(Reader *rd, Piece rest)
{
    LvSafetensors *st = rd->st;
    int ret = 0;

    rest = trim(rest);
    while (rest.n && ret >= 0)
        ret = add_entry(rd, next_piece(&rest));
    if (ret < 0)
        return ret;
    if (rest.s && (st->count || rd->meta.s))
        return bad(st, rd->msg, "ends in a comma");
    qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_name);
    for (int i = 1; i < st->count; i++)
        if (!by_name(&st->tensors[i - 1], &st->tensors[i])) {
            char shown[LV_SHOW_SIZE];
            const char *name = st->tensors[i].name;
            return lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: expected each name once, got %s",
                           st->path, lv_text_show(shown, name, strlen(name)));
        }
    return 0;
}

static int load_entry(Reader *rd, LvFileTensor *t)
{
    Piece p = rd->entry[t->size];
    json_t *object;
    int ret;

    if (p.n > ENTRY_MAX)
        return tensor_fail(rd, t->name, "entry of %zu bytes, at most %d", p.n, ENTRY_MAX);
    if ((ret = parse_piece(rd, p, &object)) >= 0)
        ret = load_tensor(rd, t, json_object_get(object, t->name));
    json_decref(object);
    return ret;
}

static int load_tensors(Reader *rd, const char *s, size_t n)
{
    LvSafetensors *st = rd->st;
    size_t nb = 0;
    int ret = scan_header(rd, s, n, &nb);

    if (ret < 0)
        return ret;
    if (nb > n / ENTRY_MIN + 16)
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: header: %zu entries do not fit %zu "
                       "bytes", st->path, nb, n);
    st->tensors = calloc(nb, sizeof(*st->tensors));
    rd->entry   = calloc(nb, sizeof(*rd->entry));
    rd->text    = st->text = malloc(n);
    if (!st->tensors || !rd->entry || !st->text)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "%s: no memory for %zu tensors",
                       st->path, nb);
    while (s[n - 1] == ' ')
        n--;
    if ((ret = load_names(rd, (Piece) { s + 1, n - 2 })) < 0)
        return ret;
    for (int i = 0; i < st->count && ret >= 0; i++)
        ret = load_entry(rd, &st->tensors[i]);
    return ret < 0 ? ret : load_meta(rd);
}

static int by_place(const void *a, const void *b)
{
    const LvFileTensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;

    return p != q ? (p > q) - (p < q) : (x->size > y->size) - (x->size < y->size);
}

/* The tensors must tile the data exactly, behind head bytes. Leaves them ordered by name. */
static int check_tiling(const Reader *rd, size_t head)
{
    LvSafetensors *st = rd->st;
    size_t at = 0;

    qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_place);
    for (int i = 0; i < st->count; i++) {
        LvFileTensor *t = &st->tensors[i];
        size_t begin = (uintptr_t)t->data;

        if (begin != at)
            return tensor_fail(rd, t->name, "data begins at byte %zu, %s %zu", begin,
                               begin < at ? "overlapping the tensor that ends at"
                                          : "leaving a hole after byte", at);
        at = begin + t->size;
    }
    if (at > rd->size)
        return lv_fail(rd->msg, LV_ERR_MODEL, "%s: cut off: expected %zu bytes, got %zu; "
                       "download it again", st->path, at + head, rd->size + head);
    for (int i = 0; i < st->count; i++)
        st->tensors[i].data = rd->data + (uintptr_t)st->tensors[i].data;
    if (at != rd->size)
        return lv_fail(rd->msg, LV_ERR_MODEL,
                       "%s: %zu bytes of data, the tensors cover %zu",
                       st->path, rd->size, at);
    qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_name);
    return 0;
}

/* p: whole; of a file what is read is loaded first, so that what is checked is what is
 * used. */
static int read_file(LvSafetensors *st, const uint8_t *p, size_t size, const LvMsg *msg)
{
    Reader rd = { .st = st, .msg = msg };
    uint64_t n = 0;
    int ret;

    if (size < 8)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %zu bytes, a header takes at least 8",
                       st->path, size);
    if ((ret = lv_map_load(&st->map, p, 8, msg)) < 0)
        return ret;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | p[i];
    if (n > HEADER_MAX)
        return lv_fail(msg, LV_ERR_MODEL, "%s: header of %" PRIu64
                       " bytes, at most %d (not a safetensors file?)",
                       st->path, n, HEADER_MAX);
    if (n > size - 8)
        return lv_fail(msg, LV_ERR_MODEL, "%s: cut off: header of %" PRIu64
                       " bytes, the file has %zu left; download it again", st->path, n,
                       size - 8);
    rd.data = p + 8 + n;
    rd.size = size - 8 - (size_t)n;
    if ((ret = lv_map_load(&st->map, p + 8, (size_t)n, msg)) < 0)
        return ret;
    ret = load_tensors(&rd, (const char *)p + 8, (size_t)n);
    free(rd.entry);
    lv_map_drop(&st->map, p, 8 + (size_t)n);
    return ret < 0 ? ret : check_tiling(&rd, 8 + (size_t)n);
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

int lv_safetensors_open_late(LvSafetensors **out, const char *path, const LvMsg *msg)
{
    int ret = create(out, path, msg);

    if (ret < 0 ||
        (ret = lv_map_open_late(&(*out)->map, path, msg)) < 0 ||
        (ret = read_file(*out, (*out)->map.data, (*out)->map.size, msg)) < 0)
        lv_safetensors_close(out);
    return ret;
}

int lv_safetensors_open(LvSafetensors **out, const char *path, const LvMsg *msg)
{
    int ret = lv_safetensors_open_late(out, path, msg);

    if (ret >= 0 &&
        (ret = lv_map_finish(&(*out)->map, msg)) < 0)
        lv_safetensors_close(out);
    return ret;
}

void lv_safetensors_close(LvSafetensors **st)
{
    if (!st || !*st)
        return;
    lv_map_close(&(*st)->map);
    free((*st)->text);
    free((*st)->meta);
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
    const Pair wanted = { key, NULL };
    const Pair *pair  = st->nb_meta ? bsearch(&wanted, st->meta, (size_t)st->nb_meta,
                                              sizeof(wanted), by_pair) : NULL;

    return pair ? pair->value : NULL;
}

const LvMap *lv_safetensors_map(const LvSafetensors *st)
{
    return &st->map;
}

int lv_safetensors_load(const LvSafetensors *st, const LvFileTensor *t, const LvMsg *msg)
{
    return lv_map_load(&st->map, t->data, t->size, msg);
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
            return lv_fail(msg, LV_ERR(EINVAL), "%s: tensor %s is duplicated",
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
    ret = put_data(&f, w);
    return lv_file_end(&f, ret, w->feed ? w->feed->check : NULL,
                       w->feed ? w->feed->opaque : NULL, msg);
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
