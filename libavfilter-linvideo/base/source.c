/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/source.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { SHARDS_MAX = 1024, INDEX_MAX = 64 << 20 };

struct LvSource {
    char *path;
    LvFileTensor *tensors;       /* copies, in order of their names */
    int count;
    const LvSafetensors **st;    /* that tensors come from */
    LvSafetensors **own;         /* those of them to close */
    int nb_st;
    LvGguf *gguf;
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
    }
    if (s && s->path && s->st && s->own)
        return 0;
    lv_source_close(out);
    return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
}

static int room_for(LvSource *s, int n, const LvMsg *msg)
{
    s->tensors = calloc((size_t)n + 1, sizeof(*s->tensors));
    return s->tensors ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", s->path);
}

/* Copy the tensors of all shards; a name may be in one only. */
static int gather(LvSource *s, const LvMsg *msg)
{
    int n = 0, ret;

    for (int k = 0; k < s->nb_st; k++)
        n += lv_safetensors_count(s->st[k]);
    if ((ret = room_for(s, n, msg)) < 0)
        return ret;
    for (int k = 0; k < s->nb_st; k++)
        for (int i = 0; i < lv_safetensors_count(s->st[k]); i++)
            s->tensors[s->count++] = *lv_safetensors_at(s->st[k], i);
    qsort(s->tensors, (size_t)n, sizeof(*s->tensors), by_name);
    for (int i = 1; i < n; i++)
        if (!by_name(&s->tensors[i - 1], &s->tensors[i]))
            return lv_fail(msg, LV_ERR_MODEL, "%s: tensor %s is in two of its files",
                           s->path, s->tensors[i].name);
    return 0;
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
    int i = s->nb_st, ret = lv_safetensors_open(&s->own[i], path, msg);

    if (ret < 0)
        return ret;
    s->st[i] = s->own[i];
    s->nb_st++;
    return 0;
}

static int open_safetensors(LvSource **out, const char *path, const LvMsg *msg)
{
    int ret = create(out, path, 1, msg);

    if (ret < 0 || (ret = open_one(*out, path, msg)) < 0)
        return ret;
    return gather(*out, msg);
}

static int open_gguf(LvSource **out, const char *path, const LvMsg *msg)
{
    int ret = create(out, path, 0, msg);
    LvSource *s = *out;

    if (ret < 0 || (ret = lv_gguf_open(&s->gguf, path, msg)) < 0 ||
        (ret = room_for(s, lv_gguf_count(s->gguf), msg)) < 0)
        return ret;
    for (; s->count < lv_gguf_count(s->gguf); s->count++)
        s->tensors[s->count] = *lv_gguf_at(s->gguf, s->count);
    return 0;
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
        return lv_fail(msg, LV_ERR_MODEL, "%s: shard %s is no plain name of a file beside "
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
        return lv_fail(msg, LV_ERR_MODEL, "%s: no index of shards: it has no weight_map",
                       s->path);
    json_object_foreach(map, name, file) {
        if (!json_is_string(file))
            return lv_fail(msg, LV_ERR_MODEL, "%s: weight_map holds something that is no "
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
    root = json_loadb((const char *)map->data, map->size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return lv_fail(msg, LV_ERR_MODEL, "%s: line %d: %s", path, error.line,
                       lv_text_show(shown, error.text, strlen(error.text)));
    ret = create(out, path, SHARDS_MAX, msg);
    if (ret >= 0)
        ret = open_shards(*out, json_object_get(root, "weight_map"), msg);
    json_decref(root);
    return ret;
}

/* By the first bytes */
static int open_map(LvSource **out, const char *path, const LvMap *map, const LvMsg *msg)
{
    const uint8_t *p = map->data;

    if (map->size >= 4 && !memcmp(p, "GGUF", 4))
        return open_gguf(out, path, msg);
    if (map->size >= 4 && !memcmp(p, "PK\3\4", 4))
        return lv_fail(msg, LV_ERR_MODEL, "%s: a PyTorch file (.pth), which may run code "
                       "when it is read; use a safetensors or GGUF file of it", path);
    if (map->size >= 9 && p[0] == '{' && p[8] != '{')
        return open_index(out, path, map, msg);
    return open_safetensors(out, path, msg);
}

int lv_source_open(LvSource **out, const char *path, const LvMsg *msg)
{
    LvMap map;
    int ret;

    *out = NULL;
    if ((ret = lv_map_open(&map, path, msg)) < 0)
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
    lv_gguf_close(&s->gguf);
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

int lv_source_mapped(const LvSource *s, const LvFileTensor *t)
{
    int mapped = s->gguf && lv_gguf_mapped(s->gguf, t);

    for (int k = 0; k < s->nb_st && !mapped; k++)
        mapped = s->own[k] && lv_safetensors_mapped(s->own[k], t);
    return mapped;
}

void lv_source_drop(const LvSource *s, const LvFileTensor *t)
{
    if (lv_source_mapped(s, t))
        lv_map_drop(t->data, t->size);
}

const char *lv_source_meta(const LvSource *s, const char *key)
{
    const char *value = NULL;

    for (int k = 0; k < s->nb_st && !value; k++)
        value = lv_safetensors_meta(s->st[k], key);
    return value;
}

const LvGguf *lv_source_gguf(const LvSource *s)
{
    return s->gguf;
}

const char *lv_source_path(const LvSource *s)
{
    return s->path;
}
