/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Features of prompts on disk, so that a large text encoder is read once for each prompt:
 * $XDG_CACHE_HOME/linvideo/prompts/KEY.safetensors, KEY being made of the ids, of the
 * precision, and of the encoder's file: names, types and places of its tensors and a
 * sample of their bytes. What can't be read or written is passed over; what is damaged is
 * made again, with a warning.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/convert.h"
#include "base/hash.h"
#include "base/sealed.h"
#include "pipeline/session.h"

enum { PATH_SIZE = 1024, SAMPLE = 64 };

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

static size_t encoder_bytes(const LvSession *s)
{
    const LvPart *part = &s->files.text;
    size_t bytes = 0;

    for (int i = 0; i < lv_source_count(part->src); i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (lv_part_owns(part, t->name))
            bytes += t->size;
    }
    return bytes;
}

static int is_on(const LvSession *s)
{
    return s->opt.cache == LV_CACHE_ON ||
           (s->opt.cache == LV_CACHE_AUTO && encoder_bytes(s) >= LARGE_BYTES);
}

static int make_key(Hash *h, const LvSession *s, const int32_t *ids, int nb)
{
    const LvPart *part = &s->files.text;
    int ret = 0;

    *h = (Hash) { { 1, 2 } };
    for (int i = 0; i < lv_source_count(part->src) && ret >= 0; i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (lv_part_owns(part, t->name))
            ret = mix_tensor(h, part->src, t, NULL);
    }
    mix(h, &s->dtype, sizeof(s->dtype));
    mix(h, s->dev->fn->name, strlen(s->dev->fn->name));
    mix(h, ids, (size_t)nb * sizeof(*ids));
    return ret;
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

/* 1: it is what was asked for; 0: it is not; -1: it is damaged. */
static int take(const LvSession *s, const LvSafetensors *st, const int32_t *ids, int nb,
                float *features)
{
    static const char *const no_keys[] = { NULL };
    const LvFileTensor *f = lv_safetensors_find(st, "features");
    const LvFileTensor *i = lv_safetensors_find(st, "ids");
    size_t n = (size_t)nb * (size_t)s->cfg.text.dim;

    if (!f || !i || f->dtype != LV_F32 || f->numel != n || i->dtype != LV_I32 ||
        i->numel != (size_t)nb || memcmp(i->data, ids, i->size))
        return 0;
    lv_to_f32(features, f->data, LV_F32, n);
    return lv_sealed_check(st, no_keys, NULL, NULL) ||
           lv_find_nonfinite(features, LV_F32, LV_F32, n) < n ? -1 : 1;
}

int lv_cache_load(const LvSession *s, const int32_t *ids, int nb, float *features)
{
    char path[PATH_SIZE];
    LvSafetensors *st;
    int there, ret;
    Hash key;

    if (!is_on(s) || make_key(&key, s, ids, nb) < 0 || path_of(path, key, 0) < 0)
        return 0;
    ret   = lv_safetensors_open(&st, path, NULL);
    there = ret >= 0 ? take(s, st, ids, nb, features) : ret == LV_ERR_MODEL ? -1 : 0;
    lv_safetensors_close(&st);
    if (there < 0)
        lv_msg(s->msg, LV_MSG_WARNING, "%s: is damaged: the prompt is encoded again", path);
    if (there > 0)
        lv_msg(s->msg, LV_MSG_VERBOSE, "text: features are from %s", path);
    return there > 0;
}

void lv_cache_store(const LvSession *s, const int32_t *ids, int nb, const float *features)
{
    size_t n = (size_t)nb * (size_t)s->cfg.text.dim;
    const LvFileTensor t[] = {
        { "features", LV_F32, 2, { nb, s->cfg.text.dim }, n, features, n * sizeof(float) },
        { "ids", LV_I32, 1, { nb }, (size_t)nb, ids, (size_t)nb * sizeof(*ids) },
    };
    char path[PATH_SIZE];
    Hash key;

    if (!is_on(s) || make_key(&key, s, ids, nb) < 0 || path_of(path, key, 1) < 0)
        return;
    if (lv_sealed_write(path, t, LV_COUNT(t), NULL, NULL) < 0)
        lv_msg(s->msg, LV_MSG_VERBOSE, "text: %s can't be written", path);
}
