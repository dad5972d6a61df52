/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/sealed.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define KEY "linvideo.hash"

enum { META_MAX = 8, TEXT_SIZE = 32 };

static uint64_t hash_tensor(const LvFileTensor *t)
{
    uint64_t h = lv_hash_text(0, t->name);

    h = lv_hash_text(h, lv_dtype_name(t->dtype));
    h = lv_hash(h, t->dim, (size_t)t->rank * sizeof(*t->dim));
    return lv_hash(h, t->data, t->size);
}

static uint64_t hash_pair(const char *key, const char *value)
{
    return lv_hash_text(lv_hash_text(1, key), value);
}

/* Sums do not depend on the order. */
static void put_text(char text[TEXT_SIZE], uint64_t sum)
{
    snprintf(text, TEXT_SIZE, "xxh64:%016llx", (unsigned long long)sum);
}

int lv_sealed_write(const char *path, const LvFileTensor *tensors, int n,
                    const char *const *meta, const LvMsg *msg)
{
    const char *all[2 * META_MAX + 3] = { KEY };
    char text[TEXT_SIZE];
    uint64_t sum = 0;
    int k = 0;

    for (; meta && k < META_MAX && meta[2 * k]; k++) {
        all[2 * k + 2] = meta[2 * k];
        all[2 * k + 3] = meta[2 * k + 1];
        if (meta[2 * k + 1])
            sum += hash_pair(meta[2 * k], meta[2 * k + 1]);
    }
    for (int i = 0; i < n; i++)
        if (tensors[i].data)
            sum += hash_tensor(&tensors[i]);
    put_text(text, sum);
    all[1] = text;
    return lv_safetensors_write(path, tensors, n, all, msg);
}

static int is_listed(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (!strcmp(name, *list))
            return 1;
    return 0;
}

int lv_sealed_check(const LvSafetensors *st, const char *const *keys,
                    const char *const *later, const LvMsg *msg)
{
    const char *has = lv_safetensors_meta(st, KEY), *value;
    const char *path = lv_safetensors_path(st);
    char want[TEXT_SIZE];
    uint64_t sum = 0;

    if (!has) {
        lv_msg(msg, LV_MSG_WARNING, "%s: has no hash: its contents are not checked", path);
        return 1;
    }
    for (; *keys; keys++)
        if ((value = lv_safetensors_meta(st, *keys)))
            sum += hash_pair(*keys, value);
    for (int i = 0; i < lv_safetensors_count(st); i++) {
        const LvFileTensor *t = lv_safetensors_at(st, i);
        if (!is_listed(t->name, later))
            sum += hash_tensor(t);
    }
    put_text(want, sum);
    return !strcmp(has, want) ? 0 :
           lv_fail(msg, LV_ERR_MODEL, "%s: is damaged or was changed: its contents do not "
                   "have the hash that it was written with", path);
}
