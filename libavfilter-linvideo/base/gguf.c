/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/gguf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define MAGIC "GGUF"
#define ALIGNMENT_KEY "general.alignment"

enum { LOAD_BYTES = 1 << 20 }; /* of the head, at once */
enum { COUNT_MAX = 1 << 16, NAME_MAX_BYTES = 256, RANK_MAX = 5 };
#define SIZE_MAX_BYTES ((uint64_t)1 << 30) /* of strings and arrays */

struct LvGguf {
    char *path;
    LvMap map;
    char *names;          /* NUL-terminated copies */
    LvFileTensor *tensors;
    LvGgufValue *values;
    int nb_tensors, nb_values;
};

typedef struct Reader {
    LvGguf *g;
    const LvMsg *msg;
    const uint8_t *base, *p, *end;
    const uint8_t *loaded; /* end of what is there, of a file */
} Reader;

/* Types of tensors by the file's number; a name alone is one that is refused. */
static const struct {
    LvDtype dtype;
    const char *name;
} types[] = {
    [0] = { LV_F32, NULL },   [1] = { LV_F16, NULL },   [2] = { LV_Q4_0, NULL },
    [3] = { LV_Q4_1, NULL },  [6] = { LV_Q5_0, NULL },  [7] = { LV_Q5_1, NULL },
    [8] = { LV_Q8_0, NULL },  [9] = { LV_NONE, "Q8_1" },
    [10] = { LV_Q2_K, NULL }, [11] = { LV_Q3_K, NULL }, [12] = { LV_Q4_K, NULL },
    [13] = { LV_Q5_K, NULL }, [14] = { LV_Q6_K, NULL }, [15] = { LV_NONE, "Q8_K" },
    [16] = { LV_NONE, "IQ2_XXS" }, [17] = { LV_NONE, "IQ2_XS" },
    [18] = { LV_NONE, "IQ3_XXS" }, [19] = { LV_NONE, "IQ1_S" },
    [20] = { LV_NONE, "IQ4_NL" },  [21] = { LV_NONE, "IQ3_S" },
    [22] = { LV_NONE, "IQ2_S" },   [23] = { LV_NONE, "IQ4_XS" },
    [24] = { LV_I8, NULL },   [25] = { LV_I16, NULL },  [26] = { LV_I32, NULL },
    [27] = { LV_I64, NULL },  [28] = { LV_F64, NULL },  [29] = { LV_NONE, "IQ1_M" },
    [30] = { LV_BF16, NULL }, [34] = { LV_NONE, "TQ1_0" }, [35] = { LV_NONE, "TQ2_0" },
    [39] = { LV_NONE, "MXFP4" },   [40] = { LV_NONE, "NVFP4" },
    [41] = { LV_NONE, "Q1_0" },    [42] = { LV_NONE, "Q2_0" },
};

static const uint8_t value_sizes[LV_GGUF_NB] = {
    [LV_GGUF_U8] = 1, [LV_GGUF_I8] = 1, [LV_GGUF_U16] = 2, [LV_GGUF_I16] = 2,
    [LV_GGUF_U32] = 4, [LV_GGUF_I32] = 4, [LV_GGUF_F32] = 4, [LV_GGUF_BOOL] = 1,
    [LV_GGUF_U64] = 8, [LV_GGUF_I64] = 8, [LV_GGUF_F64] = 8,
};

/* Bytes */

static uint64_t load(const uint8_t *p, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int bad(const Reader *rd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int bad(const Reader *rd, const char *fmt, ...)
{
    char text[3 * LV_SHOW_SIZE];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return lv_fail(rd->msg, LV_ERR_MODEL, "%s: %s", rd->g->path, text);
}

static size_t left(const Reader *rd)
{
    return (size_t)(rd->end - rd->p);
}

/* Have the next n bytes, which are left, there. */
static int load_next(Reader *rd, size_t n)
{
    size_t more = LV_MIN(LV_MAX(n, LOAD_BYTES), left(rd));
    int ret;

    if (rd->p + n <= rd->loaded)
        return 0;
    if ((ret = lv_map_load(&rd->g->map, rd->p, more, rd->msg)) >= 0)
        rd->loaded = rd->p + more;
    return ret;
}

/* *v is 0 after an error. */
static int get(Reader *rd, uint64_t *v, int bytes)
{
    int ret;

    *v = 0;
    if (left(rd) < (size_t)bytes)
        return bad(rd, "cut off at byte %zu; download it again",
                   (size_t)(rd->p - rd->base));
    if ((ret = load_next(rd, (size_t)bytes)) < 0)
        return ret;
    *v = load(rd->p, bytes);
    rd->p += bytes;
    return 0;
}

static int get_string(Reader *rd, LvGgufString *s)
{
    uint64_t n;
    int ret = get(rd, &n, 8);

    if (ret < 0)
        return ret;
    if (n > SIZE_MAX_BYTES || n > left(rd))
        return bad(rd, "a string of %" PRIu64 " bytes, %zu are left", n, left(rd));
    if ((ret = load_next(rd, (size_t)n)) < 0)
        return ret;
    *s = (LvGgufString) { (const char *)rd->p, (size_t)n };
    rd->p += n;
    return 0;
}

/* Metadata */

static int skip_values(Reader *rd, const LvGgufValue *v)
{
    LvGgufString s;
    int ret = 0;

    if (v->type != LV_GGUF_STRING) {
        uint64_t size = value_sizes[v->type];
        if (v->nb > left(rd) / size)
            return bad(rd, "%" PRIu64 " values of %d bytes, %zu bytes are left", v->nb,
                       (int)size, left(rd));
        if ((ret = load_next(rd, v->nb * size)) < 0)
            return ret;
        rd->p += v->nb * size;
    }
    for (uint64_t i = 0; i < v->nb && v->type == LV_GGUF_STRING && ret >= 0; i++)
        ret = get_string(rd, &s);
    return ret;
}

static int read_value(Reader *rd, LvGgufValue *v)
{
    char shown[LV_SHOW_SIZE];
    uint64_t type, nb = 1;
    int ret;

    if ((ret = get_string(rd, &v->key)) < 0 || (ret = get(rd, &type, 4)) < 0)
        return ret;
    if (!v->key.n || !lv_text_is_plain(v->key.s, v->key.n))
        return bad(rd, "a key is empty or no plain text");
    v->is_array = type == LV_GGUF_ARRAY;
    if (v->is_array && ((ret = get(rd, &type, 4)) < 0 || (ret = get(rd, &nb, 8)) < 0))
        return ret;
    if (type >= LV_GGUF_NB || type == LV_GGUF_ARRAY || nb > SIZE_MAX_BYTES)
        return bad(rd, "key %s: type %" PRIu64 " or its length is unknown",
                   lv_text_show(shown, v->key.s, v->key.n), type);
    v->type = (int)type;
    v->nb   = nb;
    v->at   = rd->p;
    return skip_values(rd, v);
}

static int compare(LvGgufString a, LvGgufString b)
{
    int d = memcmp(a.s, b.s, LV_MIN(a.n, b.n));

    return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    return compare(((const LvGgufValue *)a)->key, ((const LvGgufValue *)b)->key);
}

static int read_values(Reader *rd)
{
    LvGguf *g = rd->g;
    char shown[LV_SHOW_SIZE];
    int ret = 0;

    for (int i = 0; i < g->nb_values && ret >= 0; i++)
        ret = read_value(rd, &g->values[i]);
    if (ret < 0)
        return ret;
    qsort(g->values, (size_t)g->nb_values, sizeof(*g->values), by_key);
    for (int i = 1; i < g->nb_values; i++)
        if (!by_key(&g->values[i - 1], &g->values[i]))
            return bad(rd, "key %s is duplicated",
                       lv_text_show(shown, g->values[i].key.s, g->values[i].key.n));
    return 0;
}

/* Tensors */

static int read_type(Reader *rd, LvFileTensor *t)
{
    uint64_t type;
    int ret = get(rd, &type, 4);

    if (ret < 0)
        return ret;
    if (type >= (uint64_t)LV_COUNT(types) || (!types[type].dtype && !types[type].name))
        return bad(rd, "tensor %s: unknown type %" PRIu64, t->name, type);
    if (!types[type].dtype)
        return bad(rd, "tensor %s: type %s is not supported", t->name, types[type].name);
    t->dtype = types[type].dtype;
    return 0;
}

static int read_shape(Reader *rd, LvFileTensor *t)
{
    uint64_t rank, dim;
    int ret = get(rd, &rank, 4);

    if (ret < 0)
        return ret;
    if (rank < 1 || rank > RANK_MAX)
        return bad(rd, "tensor %s: rank %" PRIu64 ", allowed is 1 to %d", t->name, rank,
                   RANK_MAX);
    t->rank  = (int)rank;
    t->numel = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if ((ret = get(rd, &dim, 8)) < 0)
            return ret;
        t->dim[i] = (int64_t)dim;
        if (dim > INT64_MAX || lv_mul(&t->numel, t->numel, (size_t)dim) < 0)
            return bad(rd, "tensor %s: the number of elements overflows", t->name);
    }
    return 0;
}

/* Its offset is kept in size until the data section is known. */
static int read_tensor(Reader *rd, LvFileTensor *t, char **names)
{
    char shown[LV_SHOW_SIZE];
    LvGgufString name;
    uint64_t offset;
    int ret = get_string(rd, &name);

    if (ret < 0)
        return ret;
    if (!name.n || name.n > NAME_MAX_BYTES || !lv_text_is_plain(name.s, name.n))
        return bad(rd, "tensor name %s is empty, too long or no plain text",
                   lv_text_show(shown, name.s, name.n));
    memcpy(*names, name.s, name.n);
    t->name = *names;
    *names += name.n + 1;
    if ((ret = read_shape(rd, t)) < 0 || (ret = read_type(rd, t)) < 0 ||
        (ret = get(rd, &offset, 8)) < 0)
        return ret;
    if (t->numel && (size_t)t->dim[t->rank - 1] % lv_dtype_block(t->dtype))
        return bad(rd, "tensor %s: rows of %" PRId64 " are not whole blocks of %s",
                   t->name, t->dim[t->rank - 1], lv_dtype_name(t->dtype));
    t->data = rd->base;
    if (offset > SIZE_MAX)
        return bad(rd, "tensor %s: offset overflows", t->name);
    t->size = (size_t)offset;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const LvFileTensor *)a)->name, ((const LvFileTensor *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const LvFileTensor *x = a, *y = b;

    return x->size != y->size ? (x->size > y->size) - (x->size < y->size)
                              : (x->numel > y->numel) - (x->numel < y->numel);
}

static void place_data(LvGguf *g, const uint8_t *at, size_t alignment)
{
    for (int i = 0; i < g->nb_tensors; i++) {
        g->tensors[i].data = at;
        at += LV_ROUND_UP(g->tensors[i].size, alignment);
    }
}

/* Tensors lie one after the other, with padding only between them. */
static int place_tensors(Reader *rd, size_t alignment)
{
    LvGguf *g = rd->g;
    size_t at = 0, end = 0, bytes, begin = (size_t)(rd->p - rd->base), room;

    begin = LV_ROUND_UP(begin, alignment);
    if (g->nb_tensors && begin > (size_t)(rd->end - rd->base))
        return bad(rd, "cut off: data begin at byte %zu, the file has %zu; download it "
                   "again", begin, (size_t)(rd->end - rd->base));
    room = g->nb_tensors ? (size_t)(rd->end - rd->base) - begin : 0;
    qsort(g->tensors, (size_t)g->nb_tensors, sizeof(*g->tensors), by_offset);
    for (int i = 0; i < g->nb_tensors; i++) {
        LvFileTensor *t = &g->tensors[i];

        if (lv_dtype_bytes(&bytes, t->dtype, t->numel) < 0 ||
            bytes > SIZE_MAX - alignment)
            return bad(rd, "tensor %s: its size overflows", t->name);
        if (t->size != at)
            return bad(rd, "tensor %s: data begin at %zu, expected is %zu", t->name,
                       t->size, at);
        if (bytes > SIZE_MAX - alignment - at)
            return bad(rd, "tensor %s: its size overflows", t->name);
        t->size = bytes;
        end     = at + bytes;
        at     += LV_ROUND_UP(bytes, alignment);
    }
    if (end > room)
        return bad(rd, "cut off: expected %zu bytes, got %zu; download it again",
                   begin + end, (size_t)(rd->end - rd->base));
    place_data(g, rd->base + begin, alignment);
    if (at < room)
        return bad(rd, "%zu bytes of data, the tensors cover %zu", room, at);
    return 0;
}

static int check_names(Reader *rd)
{
    LvGguf *g = rd->g;

    qsort(g->tensors, (size_t)g->nb_tensors, sizeof(*g->tensors), by_name);
    for (int i = 1; i < g->nb_tensors; i++)
        if (!by_name(&g->tensors[i - 1], &g->tensors[i]))
            return bad(rd, "tensor %s is duplicated", g->tensors[i].name);
    return 0;
}

static int read_tensors(Reader *rd)
{
    LvGguf *g = rd->g;
    char *names = g->names;
    const LvGgufValue *v = lv_gguf_value(g, ALIGNMENT_KEY);
    uint64_t alignment   = v && v->type == LV_GGUF_U32 && !v->is_array ? load(v->at, 4)
                                                                       : LV_GGUF_ALIGN;
    int ret = 0;

    if ((v && (v->type != LV_GGUF_U32 || v->is_array)) || !alignment ||
        alignment & (alignment - 1) || alignment > 1 << 20)
        return bad(rd, ALIGNMENT_KEY " is not a power of two");
    for (int i = 0; i < g->nb_tensors && ret >= 0; i++)
        ret = read_tensor(rd, &g->tensors[i], &names);
    if (ret < 0 || (ret = place_tensors(rd, (size_t)alignment)) < 0)
        return ret;
    return check_names(rd);
}

static int read_head(Reader *rd)
{
    uint64_t version, tensors, values;
    int ret;

    if (left(rd) >= 24 && (ret = load_next(rd, 24)) < 0)
        return ret;
    if (left(rd) < 24 || memcmp(rd->p, MAGIC, 4))
        return bad(rd, "%zu bytes that do not begin with " MAGIC, left(rd));
    rd->p += 4;
    if ((ret = get(rd, &version, 4)) < 0 || (ret = get(rd, &tensors, 8)) < 0 ||
        (ret = get(rd, &values, 8)) < 0)
        return ret;
    if (version != 2 && version != 3)
        return bad(rd, "version %" PRIu64 " is not supported (2 and 3 are; big-endian "
                   "files are not)", version);
    /* The shortest tensor takes 33 bytes, the shortest pair 13. */
    if (tensors > COUNT_MAX || values > COUNT_MAX || tensors > left(rd) / 33 ||
        values > left(rd) / 13)
        return bad(rd, "%" PRIu64 " tensors and %" PRIu64 " values do not fit", tensors,
                   values);
    rd->g->nb_tensors = (int)tensors;
    rd->g->nb_values  = (int)values;
    return 0;
}

static int read_file(LvGguf *g, const uint8_t *p, size_t size, const LvMsg *msg)
{
    Reader rd = { .g = g, .msg = msg, .base = p, .p = p, .end = p + size, .loaded = p };
    int ret = read_head(&rd);

    if (ret < 0)
        return ret;
    g->tensors = calloc((size_t)g->nb_tensors + 1, sizeof(*g->tensors));
    g->values  = calloc((size_t)g->nb_values + 1, sizeof(*g->values));
    g->names   = calloc((size_t)g->nb_tensors + 1, NAME_MAX_BYTES + 1);
    if (!g->tensors || !g->values || !g->names)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", g->path);
    if ((ret = read_values(&rd)) < 0)
        return ret;
    return read_tensors(&rd);
}

static int create(LvGguf **out, const char *path, const LvMsg *msg)
{
    LvGguf *g = *out = calloc(1, sizeof(*g));

    if (g && (g->path = strdup(path)))
        return 0;
    lv_gguf_close(out);
    return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
}

int lv_gguf_parse(LvGguf **out, const void *data, size_t size, const char *name,
                  const LvMsg *msg)
{
    int ret = create(out, name, msg);

    if (ret < 0 || (ret = read_file(*out, data, size, msg)) < 0)
        lv_gguf_close(out);
    return ret;
}

int lv_gguf_open(LvGguf **out, const char *path, const LvMsg *msg)
{
    int ret = create(out, path, msg);

    if (ret < 0 || (ret = lv_map_open_late(&(*out)->map, path, msg)) < 0 ||
        (ret = read_file(*out, (*out)->map.data, (*out)->map.size, msg)) < 0)
        lv_gguf_close(out);
    return ret;
}

void lv_gguf_close(LvGguf **out)
{
    LvGguf *g = *out;

    if (!g)
        return;
    lv_map_close(&g->map);
    free(g->tensors);
    free(g->values);
    free(g->names);
    free(g->path);
    free(g);
    *out = NULL;
}

int lv_gguf_count(const LvGguf *g)
{
    return g->nb_tensors;
}

const LvFileTensor *lv_gguf_at(const LvGguf *g, int i)
{
    return &g->tensors[i];
}

const LvMap *lv_gguf_map(const LvGguf *g)
{
    return &g->map;
}

const char *lv_gguf_path(const LvGguf *g)
{
    return g->path;
}

const LvGgufValue *lv_gguf_value(const LvGguf *g, const char *key)
{
    const LvGgufValue wanted = { .key = { key, strlen(key) } };

    return bsearch(&wanted, g->values, (size_t)g->nb_values, sizeof(wanted), by_key);
}

double lv_gguf_number(const LvGgufValue *v, const uint8_t **at)
{
    int bytes = value_sizes[v->type];
    uint64_t bits = load(*at, bytes);
    uint32_t low  = (uint32_t)bits;
    float f;
    double d;

    *at += bytes;
    switch (v->type) {
    case LV_GGUF_I8:  return (int8_t)bits;
    case LV_GGUF_I16: return (int16_t)bits;
    case LV_GGUF_I32: return (int32_t)low;
    case LV_GGUF_I64: return (double)(int64_t)bits;
    case LV_GGUF_F32: return memcpy(&f, &low, sizeof(f)), f;
    case LV_GGUF_F64: return memcpy(&d, &bits, sizeof(d)), d;
    default:          return (double)bits;
    }
}

LvGgufString lv_gguf_string(const uint8_t **at)
{
    LvGgufString s = { (const char *)*at + 8, (size_t)load(*at, 8) };

    *at += 8 + s.n;
    return s;
}

/* Metadata to be written */

void lv_gguf_meta_bytes(LvGgufMeta *m, const void *data, size_t n)
{
    if (!m->failed && m->room - m->n < n) {
        size_t room = 2 * m->room + n;
        uint8_t *p  = realloc(m->p, room);
        m->failed = !p;
        m->p      = p ? p : m->p;
        m->room   = p ? room : m->room;
    }
    if (m->failed || !n)
        return;
    memcpy(m->p + m->n, data, n);
    m->n += n;
}

static void meta_number(LvGgufMeta *m, uint64_t v, int bytes)
{
    uint8_t p[8];

    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    lv_gguf_meta_bytes(m, p, (size_t)bytes);
}

void lv_gguf_meta_string(LvGgufMeta *m, const char *s, size_t n)
{
    meta_number(m, n, 8);
    lv_gguf_meta_bytes(m, s, n);
}

static void meta_key(LvGgufMeta *m, const char *key, int type)
{
    lv_gguf_meta_string(m, key, strlen(key));
    meta_number(m, (uint64_t)type, 4);
    m->pairs++;
}

void lv_gguf_meta_u32(LvGgufMeta *m, const char *key, uint32_t v)
{
    meta_key(m, key, LV_GGUF_U32);
    meta_number(m, v, 4);
}

void lv_gguf_meta_f32(LvGgufMeta *m, const char *key, float v)
{
    meta_key(m, key, LV_GGUF_F32);
    lv_gguf_meta_bytes(m, &v, sizeof(v));
}

void lv_gguf_meta_bool(LvGgufMeta *m, const char *key, int v)
{
    meta_key(m, key, LV_GGUF_BOOL);
    meta_number(m, v != 0, 1);
}

void lv_gguf_meta_text(LvGgufMeta *m, const char *key, const char *text)
{
    meta_key(m, key, LV_GGUF_STRING);
    lv_gguf_meta_string(m, text, strlen(text));
}

void lv_gguf_meta_array(LvGgufMeta *m, const char *key, int type, uint64_t nb)
{
    meta_key(m, key, LV_GGUF_ARRAY);
    meta_number(m, (uint64_t)type, 4);
    meta_number(m, nb, 8);
}

void lv_gguf_meta_free(LvGgufMeta *m)
{
    free(m->p);
    *m = (LvGgufMeta) { 0 };
}

/* Writing */

static int type_number(LvDtype dtype)
{
    for (int i = 0; i < LV_COUNT(types); i++)
        if (types[i].dtype == dtype && dtype != LV_NONE)
            return i;
    return -1;
}

static void put(LvFile *f, uint64_t v, int bytes)
{
    uint8_t p[8];

    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    lv_file_put(f, p, (size_t)bytes);
}

static void put_text(LvFile *f, const char *s)
{
    put(f, strlen(s), 8);
    lv_file_put(f, s, strlen(s));
}

static const uint8_t zero[LV_GGUF_ALIGN];

static void align(LvFile *f)
{
    lv_file_put(f, zero, LV_ROUND_UP(f->size, LV_GGUF_ALIGN) - f->size);
}

void lv_gguf_put_head(LvFile *f, const char *architecture, const LvGgufMeta *meta,
                      const LvFileTensor *tensors, int n)
{
    size_t at = 0;

    lv_file_put(f, MAGIC, 4);
    put(f, 3, 4);
    put(f, (uint64_t)n, 8);
    put(f, 2 + (uint64_t)(meta ? meta->pairs : 0), 8);
    put_text(f, "general.architecture");
    put(f, LV_GGUF_STRING, 4);
    put_text(f, architecture);
    put_text(f, ALIGNMENT_KEY);
    put(f, LV_GGUF_U32, 4);
    put(f, LV_GGUF_ALIGN, 4);
    if (meta)
        lv_file_put(f, meta->p, meta->n);
    for (int i = 0; i < n; i++) {
        const LvFileTensor *t = &tensors[i];

        put_text(f, t->name);
        put(f, (uint64_t)LV_MAX(t->rank, 1), 4);
        for (int k = t->rank - 1; k >= 0; k--)
            put(f, (uint64_t)t->dim[k], 8);
        if (!t->rank)
            put(f, 1, 8);
        put(f, (uint64_t)type_number(t->dtype), 4);
        put(f, at, 8);
        at += LV_ROUND_UP(t->size, LV_GGUF_ALIGN);
    }
    align(f);
}

static int put_data(LvFile *f, const LvFileTensor *tensors, int n, const LvFeed *feed)
{
    int ret = 0;

    for (int i = 0; i < n && ret >= 0; i++) {
        const void *data = tensors[i].data;
        if (!data && feed)
            ret = feed->get(feed->opaque, i, &data);
        if (ret < 0)
            continue;
        lv_file_put(f, data, tensors[i].size);
        align(f);
    }
    return ret;
}

int lv_gguf_write(const char *path, const char *architecture, const LvFileTensor *tensors,
                  int n, const LvFeed *feed, const LvMsg *msg)
{
    return lv_gguf_write_meta(path, architecture, NULL, tensors, n, feed, msg);
}

int lv_gguf_write_meta(const char *path, const char *architecture, const LvGgufMeta *meta,
                       const LvFileTensor *tensors, int n, const LvFeed *feed,
                       const LvMsg *msg)
{
    LvFile f;
    int ret;

    if (meta && meta->failed)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
    for (int i = 0; i < n; i++)
        if (type_number(tensors[i].dtype) < 0 || tensors[i].rank > RANK_MAX)
            return lv_fail(msg, LV_ERR(EINVAL), "%s: tensor %s: GGUF holds no %s of rank "
                           "%d", path, tensors[i].name, lv_dtype_name(tensors[i].dtype),
                           tensors[i].rank);
    if ((ret = lv_file_create(&f, path, msg)) < 0)
        return ret;
    lv_gguf_put_head(&f, architecture, meta, tensors, n);
    ret = put_data(&f, tensors, n, feed);
    return lv_file_end(&f, ret, feed ? feed->check : NULL, feed ? feed->opaque : NULL, msg);
}
