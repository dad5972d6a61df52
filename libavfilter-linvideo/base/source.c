/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/json.h"
#include "base/source.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"

enum { SHARDS_MAX = 1024, INDEX_MAX = 2 << 20, PATH_SIZE = 4096, HEADER_MAX = 100000000,
       LOOK_BYTES = 4096 };

struct LvSource {
    char *path;
    LvFileTensor *tensors;       /* copies, in order of their names */
    int count;
    const LvSafetensors **st;    /* that tensors come from */
    LvSafetensors **own;         /* those of them to close */
    int nb_st;
    LvGguf **gguf;               /* the parts of a GGUF file, in order */
    int nb_gguf;
    char *names;                 /* those of tensors that are called otherwise than in the
                                  * file */
    const LvSource *other;       /* that further tensors are of; NULL: none */
    char *other_names;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const LvFileTensor *)a)->name, ((const LvFileTensor *)b)->name);
}

static int create(LvSource **out, const char *path, int shards, const LvMsg *msg)
{
    LvSource *s = *out = calloc(1, sizeof(*s));

    if (s) {
        s->path = strdup(path);
        s->st   = calloc((size_t)shards + 1, sizeof(*s->st));
        s->own  = calloc((size_t)shards + 1, sizeof(*s->own));
        s->gguf = calloc((size_t)shards + 1, sizeof(*s->gguf));
    }
    if (s && s->path && s->st && s->own && s->gguf)
        return 0;
    lv_source_close(out);
    return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
}

static int room_for(LvSource *s, int n, const LvMsg *msg)
{
    s->tensors = calloc((size_t)n + 1, sizeof(*s->tensors));
    return s->tensors ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", s->path);
}

static int sort_names(LvSource *s, const char *twice, const LvMsg *msg)
{
    qsort(s->tensors, (size_t)s->count, sizeof(*s->tensors), by_name);
    for (int i = 1; i < s->count; i++)
        if (!by_name(&s->tensors[i - 1], &s->tensors[i]))
            return lv_fail(msg, LV_ERR_MODEL, "%s: tensor %s is %s", s->path,
                           s->tensors[i].name, twice);
    return 0;
}

/* Copy the tensors of all shards; a name may be in one only. */
static int gather(LvSource *s, const LvMsg *msg)
{
    int n = 0, ret;

    for (int k = 0; k < s->nb_st; k++)
        n += lv_safetensors_count(s->st[k]);
    for (int k = 0; k < s->nb_gguf; k++)
        n += lv_gguf_count(s->gguf[k]);
    if ((ret = room_for(s, n, msg)) < 0)
        return ret;
    for (int k = 0; k < s->nb_st; k++)
        for (int i = 0; i < lv_safetensors_count(s->st[k]); i++)
            s->tensors[s->count++] = *lv_safetensors_at(s->st[k], i);
    for (int k = 0; k < s->nb_gguf; k++)
        for (int i = 0; i < lv_gguf_count(s->gguf[k]); i++)
            s->tensors[s->count++] = *lv_gguf_at(s->gguf[k], i);
    return sort_names(s, "in two of its files", msg);
}

/* Wrappers */

/* Names of modules that only wrap others: torch.compile, DDP, FSDP, checkpointing. */
static const char *const wrappers[] = {
    "_orig_mod.", "module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.",
};

/* Length of a wrapper's name that begins at s, behind a dot or as the first; or 0. */
static size_t wrapper_at(const char *name, const char *s)
{
    for (int i = 0; i < LV_COUNT(wrappers) && (s == name || s[-1] == '.'); i++)
        if (!strncmp(s, wrappers[i], strlen(wrappers[i])))
            return strlen(wrappers[i]);
    return 0;
}

/* Copy a name without wrappers, where there is a place for it; its length with its end. */
static size_t unwrap(char *to, const char *name)
{
    size_t n = 0;

    for (const char *s = name; *s;) {
        size_t skip = wrapper_at(name, s);
        if (to && !skip)
            to[n] = *s;
        n += !skip;
        s += skip ? skip : 1;
    }
    if (to)
        to[n] = 0;
    return n + 1;
}

/* Tensors are called what they are called without wrappers. */
static int unwrap_names(LvSource *s, const LvMsg *msg)
{
    size_t room = 0;
    char *at;

    for (int i = 0; i < s->count; i++)
        room += unwrap(NULL, s->tensors[i].name) <= strlen(s->tensors[i].name)
              ? unwrap(NULL, s->tensors[i].name) : 0;
    if (!room)
        return 0;
    if (!(at = s->names = malloc(room)))
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", s->path);
    for (int i = 0; i < s->count; i++) {
        LvFileTensor *t = &s->tensors[i];
        if (unwrap(NULL, t->name) > strlen(t->name))
            continue;
        room    = unwrap(at, t->name);
        t->name = at;
        at     += room;
    }
    return sort_names(s, "duplicated, once within a wrapper as \"_orig_mod.\"", msg);
}

int lv_source_view(LvSource **out, const LvSafetensors *st, const LvMsg *msg)
{
    int ret = create(out, lv_safetensors_path(st), 1, msg);

    if (ret < 0)
        return ret;
    (*out)->st[0] = st;
    (*out)->nb_st = 1;
    if ((ret = gather(*out, msg)) < 0)
        lv_source_close(out);
    return ret;
}

static int open_one(LvSource *s, const char *path, const LvMsg *msg)
{
    int i = s->nb_st, ret = lv_safetensors_open_late(&s->own[i], path, msg);

    if (ret < 0)
        return ret;
    s->st[i] = s->own[i];
    s->nb_st++;
    return 0;
}

static int open_gguf(LvSource *s, const char *path, const LvMsg *msg)
{
    int ret = lv_gguf_open(&s->gguf[s->nb_gguf], path, msg);

    s->nb_gguf += ret >= 0;
    return ret;
}

/* Files in parts: NAME-00001-of-00003.END beside each other */

typedef struct Parts {
    char stem[PATH_SIZE]; /* up to the first number */
    int no, count;        /* from 1 */
    int digits[2];        /* of either number */
    const char *end;      /* behind the second, in the path */
} Parts;

/* The number that ends at *end, of at most 5 digits, and how many it has. */
static int number_before(const char *path, size_t *end, int *digits)
{
    size_t at = *end;
    int value = 0;

    while (at && path[at - 1] >= '0' && path[at - 1] <= '9' && *end - at < 5)
        at--;
    for (size_t i = at; i < *end; i++)
        value = 10 * value + (path[i] - '0');
    *digits = (int)(*end - at);
    *end    = at;
    return value;
}

/* Whether a path is one of a file's parts. */
static int read_parts(Parts *p, const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t at = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);

    p->end   = path + at;
    p->count = number_before(path, &at, &p->digits[1]);
    if (!p->digits[1] || at < 4 || strncmp(path + at - 4, "-of-", 4))
        return 0;
    at   -= 4;
    p->no = number_before(path, &at, &p->digits[0]);
    if (!p->digits[0] || !at || path[at - 1] != '-' || at >= PATH_SIZE || p->no < 1 ||
        p->count < p->no)
        return 0;
    snprintf(p->stem, PATH_SIZE, "%.*s", (int)at, path);
    return 1;
}

static int part_path(char path[PATH_SIZE], const Parts *p, int no)
{
    return snprintf(path, PATH_SIZE, "%s%0*d-of-%0*d%s", p->stem, p->digits[0], no,
                    p->digits[1], p->count, p->end) < PATH_SIZE;
}

/* Where a path is one of several parts: open them all. */
static int open_parts(LvSource *s, const Parts *p,
                      int (*open)(LvSource *, const char *, const LvMsg *),
                      const LvMsg *msg)
{
    char path[PATH_SIZE];
    int ret = 0;

    for (int i = 1; i <= p->count && ret >= 0; i++) {
        if (!part_path(path, p, i))
            return lv_fail(msg, LV_ERR(ENAMETOOLONG), "%s: path too long", s->path);
        if (access(path, F_OK) < 0)
            return lv_fail(msg, LV_ERR(ENOENT), "%s: part %d of %d is missing: expected it "
                           "at %s", s->path, i, p->count, path);
        ret = open(s, path, msg);
    }
    return ret;
}

static int open_all(LvSource **out, const char *path,
                    int (*open)(LvSource *, const char *, const LvMsg *), const LvMsg *msg)
{
    Parts *p = calloc(1, sizeof(*p));
    int ret  = p ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
    int many = ret >= 0 && read_parts(p, path);

    if (many && p->count > SHARDS_MAX)
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: more than %d parts", path, SHARDS_MAX);
    if (ret >= 0 && (ret = create(out, path, many ? p->count : 1, msg)) >= 0)
        ret = many ? open_parts(*out, p, open, msg) : open(*out, path, msg);
    free(p);
    return ret < 0 ? ret : gather(*out, msg);
}

int lv_source_first_part(const char *path)
{
    Parts *p = calloc(1, sizeof(*p));
    char other[PATH_SIZE];
    int first = 1;

    for (int i = 1; p && read_parts(p, path) && i < p->no && first; i++)
        first = !part_path(other, p, i) || access(other, F_OK) < 0;
    free(p);
    return first;
}

/* What the parts of a GGUF file say of themselves. */
static int split_value(const LvGguf *g, const char *key, int fallback)
{
    const LvGgufValue *v = lv_gguf_value(g, key);
    const uint8_t *at    = v ? v->at : NULL;
    double x = v && !v->is_array && v->type != LV_GGUF_STRING ? lv_gguf_number(v, &at)
                                                              : fallback;

    return x >= 0 && x <= INT32_MAX ? (int)x : fallback;
}

static int check_split(const LvSource *s, const LvMsg *msg)
{
    int nb = split_value(s->gguf[0], "split.tensors.count", s->count);

    for (int i = 0; i < s->nb_gguf; i++) {
        int count = split_value(s->gguf[i], "split.count", s->nb_gguf);
        int no    = split_value(s->gguf[i], "split.no", i);
        /* A whole file may say 0, or 1. */
        if (LV_MAX(count, 1) != s->nb_gguf)
            return lv_fail(msg, LV_ERR_MODEL, "%s: part %d of %d of a split GGUF file, but "
                           "its name says otherwise: names of parts end in "
                           "-00001-of-%05d.gguf", lv_gguf_path(s->gguf[i]), no + 1, count,
                           count);
        if (no != i)
            return lv_fail(msg, LV_ERR_MODEL, "%s: holds part %d by what it says, expected "
                           "part %d by its name", lv_gguf_path(s->gguf[i]), no + 1, i + 1);
    }
    return nb == s->count ? 0 :
           lv_fail(msg, LV_ERR_MODEL, "%s: expected %d tensors in all its parts, got %d",
                   s->path, nb, s->count);
}

static int open_gguf_parts(LvSource **out, const char *path, const LvMsg *msg)
{
    int ret = open_all(out, path, open_gguf, msg);

    return ret < 0 ? ret : check_split(*out, msg);
}

/* Shards */

static int is_plain_name(const char *name)
{
    size_t n = strlen(name);

    return n && n < 256 && name[0] != '.' && !strpbrk(name, "/\\") &&
           lv_text_is_plain(name, n);
}

/* Open the file called name in the folder of the index. */
static int open_shard(LvSource *s, const char *name, const LvMsg *msg)
{
    const char *slash = strrchr(s->path, '/');
    int folder = slash ? (int)(slash - s->path) + 1 : 0;
    char path[4096], shown[LV_SHOW_SIZE];

    if (!is_plain_name(name))
        return lv_fail(msg, LV_ERR_MODEL, "%s: shard %s is not the name of a file beside "
                       "it", s->path, lv_text_show(shown, name, strlen(name)));
    if (s->nb_st == SHARDS_MAX)
        return lv_fail(msg, LV_ERR_MODEL, "%s: more than %d shards", s->path, SHARDS_MAX);
    if (snprintf(path, sizeof(path), "%.*s%s", folder, s->path, name) >=
        (int)sizeof(path))
        return lv_fail(msg, LV_ERR(ENAMETOOLONG), "%s: path too long", s->path);
    return open_one(s, path, msg);
}

static const LvSafetensors *shard_of(const LvSource *s, const char *name)
{
    for (int k = 0; k < s->nb_st; k++) {
        const char *path = lv_safetensors_path(s->st[k]), *slash = strrchr(path, '/');
        if (!strcmp(slash ? slash + 1 : path, name))
            return s->st[k];
    }
    return NULL;
}

/* Every tensor stands in the shard that the index says, and none beside. */
static int check_index(const LvSource *s, json_t *map, const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];
    const char *name;
    json_t *file;

    json_object_foreach(map, name, file)
        if (!lv_safetensors_find(shard_of(s, json_string_value(file)), name))
            return lv_fail(msg, LV_ERR_MODEL, "%s: tensor %s is not in %s", s->path,
                           lv_text_show(shown, name, strlen(name)),
                           json_string_value(file));
    for (int i = 0; i < s->count; i++)
        if (!json_object_get(map, s->tensors[i].name))
            return lv_fail(msg, LV_ERR_MODEL, "%s: does not list tensor %s", s->path,
                           s->tensors[i].name);
    return 0;
}

static int open_shards(LvSource *s, json_t *map, const LvMsg *msg)
{
    const char *name;
    json_t *file;
    int ret;

    if (!json_object_size(map))
        return lv_fail(msg, LV_ERR_MODEL, "%s: not an index of shards: weight_map is missing",
                       s->path);
    json_object_foreach(map, name, file) {
        if (!json_is_string(file))
            return lv_fail(msg, LV_ERR_MODEL, "%s: weight_map holds an entry that is not a "
                           "name", s->path);
        if (!shard_of(s, json_string_value(file)) &&
            (ret = open_shard(s, json_string_value(file), msg)) < 0)
            return ret;
    }
    if ((ret = gather(s, msg)) < 0)
        return ret;
    return check_index(s, map, msg);
}

static int open_index(LvSource **out, const char *path, const LvMap *map,
                      const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];
    json_error_t error;
    json_t *root;
    int ret;

    if (map->size > INDEX_MAX)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %zu bytes of JSON, at most %d", path,
                       map->size, INDEX_MAX);
    if ((ret = lv_map_load(map, map->data, map->size, msg)) < 0)
        return ret;
    root = json_loadb((const char *)map->data, map->size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return lv_fail(msg, LV_ERR_MODEL, "%s: line %d: %s", path, error.line,
                       lv_json_expected(shown, &error));
    ret = create(out, path, SHARDS_MAX, msg);
    if (ret >= 0)
        ret = open_shards(*out, json_object_get(root, "weight_map"), msg);
    json_decref(root);
    return ret;
}

/* By the first bytes */

/* What is no model of ours, by what it begins with. */
static const struct {
    const char *begin;
    size_t n;
    const char *what;
} others[] = {
#define BEGINS(text) text, sizeof(text) - 1
#define CODE ", which may run code when it is read; use a safetensors or GGUF file of it"
#define POINTER "a git-lfs pointer in place of the file; fetch the file itself with \"git " \
                "lfs pull\", or download it again"
    { BEGINS("PK\3\4"), "a PyTorch file (.pth, .pt, .ckpt, .bin) or other ZIP archive" CODE },
    { BEGINS("\x80\2"), "a PyTorch file (pickle)" CODE },
    { BEGINS("\x80\3"), "a pickle of Python" CODE },
    { BEGINS("\x80\4"), "a pickle of Python" CODE },
    { BEGINS("\x80\5"), "a pickle of Python" CODE },
    { BEGINS("version https://git-lfs.github.com/"), POINTER },
    { BEGINS("version https://hawser.github.com/"), POINTER },
    { BEGINS("lmgg"), "an old GGML file; use a GGUF file" },
    { BEGINS("fmgg"), "an old GGML file; use a GGUF file" },
    { BEGINS("tjgg"), "an old GGML file; use a GGUF file" },
    { BEGINS("FUGG"), "a GGUF file in big-endian order; use one in little-endian order" },
    { BEGINS("\x1F\x8B"), "a gzip archive; unpack it" },
    { BEGINS("\xFD" "7zXZ"), "an xz archive; unpack it" },
    { BEGINS("\x28\xB5\x2F\xFD"), "a zstd archive; unpack it" },
    { BEGINS("7z\xBC\xAF\x27\x1C"), "a 7z archive; unpack it" },
    { BEGINS("Rar!"), "a RAR archive; unpack it" },
    { BEGINS("\x89HDF"), "an HDF5 file; use a safetensors or GGUF file" },
    { BEGINS("\x93NUMPY"), "a NumPy file; use a safetensors or GGUF file" },
};

static const char *const pages[] = { "<!doctype", "<html", "<?xml", "<head", "<body" };

/* Whether text begins as a page of the web does, after blanks and a mark of order. */
static int is_page(const LvMap *map)
{
    size_t at = map->size > 3 && !memcmp(map->data, "\xEF\xBB\xBF", 3) ? 3 : 0;

    while (at < map->size && strchr(" \t\r\n", map->data[at]) && map->data[at])
        at++;
    for (int i = 0; i < LV_COUNT(pages); i++) {
        size_t n = strlen(pages[i]);
        if (map->size - at >= n &&
            !strncasecmp((const char *)map->data + at, pages[i], n))
            return 1;
    }
    return 0;
}

static uint64_t header_length(const LvMap *map)
{
    uint64_t n = 0;

    for (int i = 7; i >= 0 && map->size >= 9; i--)
        n = n << 8 | map->data[i];
    return n;
}

/* A header of at most 100 MB, and where it begins a brace: chance does not make it. */
static int is_safetensors(const LvMap *map)
{
    uint64_t n = header_length(map);

    return n >= 2 && n <= HEADER_MAX && map->data[8] == '{';
}

static int is_gguf(const LvMap *map)
{
    return map->size >= 4 && !memcmp(map->data, "GGUF", 4);
}

static int is_json(const LvMap *map)
{
    size_t at = 0;

    while (at < map->size && at < 64 && map->data[at] && strchr(" \t\r\n", map->data[at]))
        at++;
    return at < map->size && (map->data[at] == '{' || map->data[at] == '[') &&
           !is_safetensors(map);
}

static const char *what_else(const LvMap *map)
{
    for (int i = 0; i < LV_COUNT(others); i++)
        if (map->size >= others[i].n && !memcmp(map->data, others[i].begin, others[i].n))
            return others[i].what;
    return !map->size ? "an empty file; download it again"
         : is_page(map) ? "a page of the web (HTML), not a model; download the file itself, "
                          "which may take a login or a licence to accept" : NULL;
}

static int is_pickle(const LvMap *map)
{
    return map->size >= 4 && (map->data[0] == 0x80 || !memcmp(map->data, "PK\3\4", 4));
}

static enum LvSourceForm form_of(const LvMap *map)
{
    return is_gguf(map) ? LV_SOURCE_GGUF : is_safetensors(map) ? LV_SOURCE_SAFETENSORS
         : is_json(map) ? LV_SOURCE_JSON : !what_else(map) ? LV_SOURCE_UNKNOWN
         : is_pickle(map) ? LV_SOURCE_PICKLE : LV_SOURCE_OTHER;
}

/* The first bytes of a map that is open. */
static int load_head(LvMap *head, const LvMap *map, const LvMsg *msg)
{
    *head = (LvMap) { map->data, LV_MIN(map->size, (size_t)LOOK_BYTES), map->file };
    return lv_map_load(map, head->data, head->size, msg);
}

int lv_source_look(enum LvSourceForm *form, const char *path, const LvMsg *msg)
{
    LvMap map, head;
    int ret = lv_map_open_late(&map, path, msg);

    *form = LV_SOURCE_UNKNOWN;
    if (ret < 0)
        return ret;
    if ((ret = load_head(&head, &map, msg)) >= 0)
        *form = form_of(&head);
    lv_map_close(&map);
    return ret;
}

static int open_map(LvSource **out, const char *path, const LvMap *map, const LvMsg *msg)
{
    enum LvSourceForm form;
    LvMap head;
    int ret = load_head(&head, map, msg);

    if (ret < 0)
        return ret;
    form = form_of(&head);
    if (form == LV_SOURCE_PICKLE || form == LV_SOURCE_OTHER)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s", path, what_else(&head));
    if (form == LV_SOURCE_UNKNOWN && map->size >= 9 && header_length(&head) > HEADER_MAX)
        return lv_fail(msg, LV_ERR_MODEL, "%s: not a safetensors or GGUF file, nor an index of "
                       "shards: its first bytes are unknown", path);
    ret = form == LV_SOURCE_GGUF ? open_gguf_parts(out, path, msg)
        : form == LV_SOURCE_JSON ? open_index(out, path, map, msg)
        : open_all(out, path, open_one, msg);
    return ret < 0 ? ret : unwrap_names(*out, msg);
}

int lv_source_open(LvSource **out, const char *path, const LvMsg *msg)
{
    LvMap map;
    int ret;

    *out = NULL;
    if ((ret = lv_map_open_late(&map, path, msg)) < 0)
        return ret;
    ret = open_map(out, path, &map, msg);
    lv_map_close(&map);
    if (ret < 0)
        lv_source_close(out);
    return ret;
}

void lv_source_close(LvSource **out)
{
    LvSource *s = *out;

    if (!s)
        return;
    for (int i = 0; s->own && i < s->nb_st; i++)
        lv_safetensors_close(&s->own[i]);
    for (int i = 0; s->gguf && i < s->nb_gguf; i++)
        lv_gguf_close(&s->gguf[i]);
    free(s->gguf);
    free(s->names);
    free(s->other_names);
    free(s->tensors);
    free(s->st);
    free(s->own);
    free(s->path);
    free(s);
    *out = NULL;
}

int lv_source_count(const LvSource *s)
{
    return s->count;
}

const LvFileTensor *lv_source_at(const LvSource *s, int i)
{
    return &s->tensors[i];
}

const LvFileTensor *lv_source_find(const LvSource *s, const char *name)
{
    const LvFileTensor key = { .name = name };

    return bsearch(&key, s->tensors, (size_t)s->count, sizeof(key), by_name);
}

int lv_source_index(const LvSource *s, const LvFileTensor *t)
{
    return (int)(t - s->tensors);
}

/* Bytes of the names of those of other's tensors that are taken, each with its end. */
static size_t names_of(const LvSource *other, int (*is)(const LvFileTensor *), size_t prefix,
                       int *count)
{
    size_t room = 0;

    *count = 0;
    for (int i = 0; i < other->count; i++)
        if (is(&other->tensors[i])) {
            room += prefix + strlen(other->tensors[i].name) + 1;
            ++*count;
        }
    return room;
}

int lv_source_join(LvSource *s, const LvSource *other, int (*is)(const LvFileTensor *t),
                   const char *prefix, int *count, const LvMsg *msg)
{
    int nb;
    size_t room = names_of(other, is, strlen(prefix), &nb);
    LvFileTensor *more = realloc(s->tensors, ((size_t)s->count + (size_t)nb + 1) * sizeof(*more));
    char *at = malloc(room + 1);

    s->tensors     = more ? more : s->tensors;
    s->other_names = at;
    s->other       = other;
    if (!more || !at)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", s->path);
    for (int i = 0; i < other->count; i++) {
        if (!is(&other->tensors[i]))
            continue;
        s->tensors[s->count]        = other->tensors[i];
        s->tensors[s->count++].name = at;
        at += sprintf(at, "%s%s", prefix, other->tensors[i].name) + 1;
    }
    if (count)
        *count = nb;
    return sort_names(s, "there, and in the file that is added to it too", msg);
}

/* The file that data lie in; NULL for bytes of the caller. */
static const LvMap *map_of(const LvSource *s, const LvFileTensor *t)
{
    const LvMap *map;

    for (int k = 0; k < s->nb_gguf; k++) {
        map = lv_gguf_map(s->gguf[k]);
        if (lv_map_has(map, t->data, t->size))
            return map;
    }
    for (int k = 0; k < s->nb_st; k++) {
        map = lv_safetensors_map(s->st[k]);
        if (lv_map_has(map, t->data, t->size))
            return map;
    }
    return s->other ? map_of(s->other, t) : NULL;
}

int lv_source_load_by(int threads, const LvSource *s, const LvFileTensor *t,
                      const LvMsg *msg)
{
    const LvMap *map = map_of(s, t);

    return map ? lv_map_load_by(threads, map, t->data, t->size, msg) : 0;
}

int lv_source_load(const LvSource *s, const LvFileTensor *t, const LvMsg *msg)
{
    return lv_source_load_by(1, s, t, msg);
}

int lv_source_read(const LvSource *s, const LvFileTensor *t, size_t at, void *dst,
                   size_t size, const LvMsg *msg)
{
    const LvMap *map    = map_of(s, t);
    const uint8_t *from = (const uint8_t *)t->data + at;

    if (map)
        return lv_map_read(map, (size_t)(from - map->data), dst, size, msg);
    memcpy(dst, from, size);
    return 0;
}

void lv_source_drop(const LvSource *s, const LvFileTensor *t)
{
    const LvMap *map = map_of(s, t);

    if (map)
        lv_map_drop(map, t->data, t->size);
}

const char *lv_source_meta(const LvSource *s, const char *key)
{
    const char *value = NULL;

    for (int k = 0; k < s->nb_st && !value; k++)
        value = lv_safetensors_meta(s->st[k], key);
    return value || !s->other ? value : lv_source_meta(s->other, key);
}

const LvGguf *lv_source_gguf(const LvSource *s)
{
    return s->gguf[0];
}

const char *lv_source_file(const LvSource *s, int i)
{
    if (i < s->nb_st)
        return lv_safetensors_path(s->st[i]);
    i -= s->nb_st;
    if (i < s->nb_gguf)
        return lv_gguf_path(s->gguf[i]);
    return i == s->nb_gguf ? s->path : NULL;
}

const char *lv_source_path(const LvSource *s)
{
    return s->path;
}
