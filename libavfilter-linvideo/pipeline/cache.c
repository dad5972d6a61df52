/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/convert.h"
#include "base/hash.h"
#include "base/sealed.h"

enum { PATH_SIZE = 1024, SAMPLE = 64, KEY_SIZE = 512 };

#define CACHE_BYTES ((off_t)512 << 20)

/* Encoders of this size are worth it. */
#define LARGE_BYTES ((size_t)256 << 20)

/* Twice, with different beginnings. */
typedef struct Hash {
    uint64_t v[2];
} Hash;

static void mix(Hash *h, const void *data, size_t n)
{
    for (int k = 0; k < 2; k++)
        h->v[k] = lv_hash(h->v[k], data, n);
}

/* n bytes of a tensor, from byte at on. */
static int mix_data(Hash *h, const LvSource *src, const LvFileTensor *t, size_t at, size_t n,
                    const LvMsg *msg)
{
    uint8_t bytes[SAMPLE];
    int ret = lv_source_read(src, t, at, bytes, n, msg);

    if (ret >= 0)
        mix(h, bytes, n);
    return ret;
}

static int mix_tensor(Hash *h, const LvSource *src, const LvFileTensor *t, const LvMsg *msg)
{
    size_t n = LV_MIN(t->size, (size_t)SAMPLE);
    int ret;

    mix(h, t->name, strlen(t->name));
    mix(h, &t->dtype, sizeof(t->dtype));
    mix(h, t->dim, (size_t)t->rank * sizeof(*t->dim));
    if ((ret = mix_data(h, src, t, 0, n, msg)) < 0 ||
        (ret = mix_data(h, src, t, (t->size - n) / 2, n, msg)) < 0)
        return ret;
    return mix_data(h, src, t, t->size - n, n, msg);
}

static size_t encoder_bytes(const LvEnv *env)
{
    const LvPart *part = &env->files->text;
    size_t bytes = 0;

    for (int i = 0; i < lv_source_count(part->src); i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (lv_part_owns(part, t->name))
            bytes += t->size;
    }
    return bytes;
}

int lv_cache_is_on(const LvEnv *env, enum LvCacheMode mode)
{
    return mode == LV_CACHE_ON ||
           (mode == LV_CACHE_AUTO && encoder_bytes(env) >= LARGE_BYTES);
}

static int mix_file(Hash *h, const char *path)
{
    struct stat st;
    int64_t about[3];

    if (stat(path, &st))
        return LV_ERR(errno);
    about[0] = st.st_size;
    about[1] = st.st_mtim.tv_sec;
    about[2] = st.st_mtim.tv_nsec;
    mix(h, about, sizeof(about));
    return 0;
}

static int hash_encoder(Hash *h, const LvEnv *env)
{
    const LvPart *part = &env->files->text;
    const char *path;
    int ret = 0;

    *h = (Hash) { { 1, 2 } };
    for (int i = 0; (path = lv_source_file(part->src, i)) && ret >= 0; i++)
        ret = mix_file(h, path);
    for (int i = 0; i < lv_source_count(part->src) && ret >= 0; i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (lv_part_owns(part, t->name))
            ret = mix_tensor(h, part->src, t, NULL);
    }
    return ret;
}

/* All that features depend on but the ids. */
static int make_key(char key[KEY_SIZE], const LvEnv *env)
{
    const LvUmt5Config *c = &env->cfg->text;
    Hash h;
    int ret = hash_encoder(&h, env);

    if (ret < 0)
        return ret;
    snprintf(key, KEY_SIZE, "vocab=%d dim=%d dim_attn=%d dim_ffn=%d heads=%d layers=%d "
             "buckets=%d max_distance=%d eps=%.9g dtype=%s device=%s file=%016llx%016llx",
             c->vocab, c->dim, c->dim_attn, c->dim_ffn, c->heads, c->layers, c->buckets,
             c->max_distance, (double)c->eps, lv_dtype_name(env->dtype), env->dev->fn->name,
             (unsigned long long)h.v[0], (unsigned long long)h.v[1]);
    return 0;
}

static Hash hash_key(const char *key, const int32_t *ids, int nb)
{
    Hash h = { { 1, 2 } };

    mix(&h, key, strlen(key));
    mix(&h, ids, (size_t)nb * sizeof(*ids));
    return h;
}

/* Path of a key's file; its folders are made when asked for. 0, or -1: there is no
 * place. */
static int path_of(char path[PATH_SIZE], Hash h, int make)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    static const char *const folders[] = { "", "/linvideo", "/linvideo/prompts" };
    char base[PATH_SIZE / 2], folder[PATH_SIZE];
    int n;

    if (cache && cache[0] == '/')
        n = snprintf(base, sizeof(base), "%s", cache);
    else if (home && home[0] == '/')
        n = snprintf(base, sizeof(base), "%s/.cache", home);
    else
        return -1;
    if (n >= (int)sizeof(base))
        return -1;
    for (int i = 0; i < LV_COUNT(folders) && make; i++) {
        snprintf(folder, sizeof(folder), "%s%s", base, folders[i]);
        mkdir(folder, 0700);
    }
    snprintf(path, PATH_SIZE, "%s/linvideo/prompts/%016llx%016llx.safetensors", base,
             (unsigned long long)h.v[0], (unsigned long long)h.v[1]);
    return 0;
}

static int is_of(const LvSafetensors *st, const char *key)
{
    const LvFileTensor *k = lv_safetensors_find(st, "key");

    return k && k->dtype == LV_U8 && k->size == strlen(key) && !memcmp(k->data, key, k->size);
}

/* 1: it is what was asked for; 0: it is not; -1: it is damaged. */
static int take(const LvEnv *env, const LvSafetensors *st, const char *key,
                const int32_t *ids, int nb, float *features)
{
    static const char *const no_keys[] = { NULL };
    const LvFileTensor *f = lv_safetensors_find(st, "features");
    const LvFileTensor *i = lv_safetensors_find(st, "ids");
    size_t n = (size_t)nb * (size_t)env->cfg->text.dim;

    if (!is_of(st, key) || !f || !i || f->dtype != LV_F32 || f->numel != n || i->dtype != LV_I32 ||
        i->numel != (size_t)nb || memcmp(i->data, ids, i->size))
        return 0;
    lv_to_f32(features, f->data, LV_F32, n);
    return lv_sealed_check(st, no_keys, NULL, NULL) ||
           lv_find_nonfinite(features, LV_F32, LV_F32, n) < n ? -1 : 1;
}

int lv_cache_load(const LvEnv *env, const int32_t *ids, int nb, float *features)
{
    char path[PATH_SIZE], key[KEY_SIZE];
    LvSafetensors *st;
    int there, ret;

    if (make_key(key, env) < 0 || path_of(path, hash_key(key, ids, nb), 0) < 0)
        return 0;
    ret   = lv_safetensors_open(&st, path, NULL);
    there = ret >= 0 ? take(env, st, key, ids, nb, features) : ret == LV_ERR_MODEL ? -1 : 0;
    lv_safetensors_close(&st);
    if (there < 0)
        lv_msg(env->msg, LV_MSG_WARNING, "%s: is damaged: the prompt is encoded again", path);
    if (there > 0)
        utimensat(AT_FDCWD, path, NULL, 0); /* it was used now */
    if (there > 0)
        lv_msg(env->msg, LV_MSG_VERBOSE, "text: features are from %s", path);
    return there > 0;
}

/* Bytes of the regular files of a folder; name: the oldest of them. */
static off_t look_at(DIR *d, char name[256])
{
    struct timespec first = { 0 };
    struct dirent *e;
    struct stat st;
    off_t bytes = 0;

    name[0] = '\0';
    for (rewinddir(d); (e = readdir(d));) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        bytes += st.st_size;
        if (!name[0] || st.st_mtim.tv_sec < first.tv_sec ||
            (st.st_mtim.tv_sec == first.tv_sec && st.st_mtim.tv_nsec < first.tv_nsec)) {
            first = st.st_mtim;
            snprintf(name, 256, "%s", e->d_name);
        }
    }
    return bytes;
}

/* Remove what was used least recently, until all is small enough. */
static void shrink(const char *path)
{
    int n = (int)(strrchr(path, '/') - path);
    char folder[PATH_SIZE], name[256];
    DIR *d;

    snprintf(folder, sizeof(folder), "%.*s", n, path);
    if (!(d = opendir(folder)))
        return;
    while (look_at(d, name) > CACHE_BYTES && strcmp(name, path + n + 1))
        if (unlinkat(dirfd(d), name, 0) < 0)
            break;
    closedir(d);
}

void lv_cache_store(const LvEnv *env, const int32_t *ids, int nb, const float *features)
{
    size_t n = (size_t)nb * (size_t)env->cfg->text.dim;
    char path[PATH_SIZE], key[KEY_SIZE] = "";
    LvFileTensor t[] = {
        { "features", LV_F32, 2, { nb, env->cfg->text.dim }, n, features, n * sizeof(float) },
        { "ids", LV_I32, 1, { nb }, (size_t)nb, ids, (size_t)nb * sizeof(*ids) },
        { "key", LV_U8, 1, { 0 }, 0, key, 0 },
    };

    if (lv_find_nonfinite(features, LV_F32, LV_F32, n) < n || make_key(key, env) < 0)
        return;
    t[2].numel = t[2].size = strlen(key);
    t[2].dim[0] = (int64_t)t[2].size;
    if (path_of(path, hash_key(key, ids, nb), 1) < 0)
        return;
    if (lv_sealed_write(path, t, LV_COUNT(t), NULL, NULL) < 0)
        lv_msg(env->msg, LV_MSG_VERBOSE, "text: %s can't be written", path);
    else
        shrink(path);
}
