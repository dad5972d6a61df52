/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/random_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

/* Data begin at a multiple of this. */
enum { DATA_ALIGN = 64, ENTRY = LV_PARAM_NAME + 256 };

LvDtype lv_random_type(const LvParam *t, LvDtype matrices)
{
    size_t block = lv_dtype_block(matrices);
    int wide     = lv_dtype_size(matrices) > 1;
    int takes    = wide || (t->rank == 2 && (size_t)t->dim[1] % block == 0);

    return !(t->flags & LV_W_MATRIX) ? LV_F32 : takes ? matrices : LV_BF16;
}

/* One entry of the header; the first has no comma before it. */
static int put_entry(char *to, const LvParam *t, LvDtype type, size_t at, int first)
{
    int n = sprintf(to, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", first ? "{" : ",",
                    t->name, lv_dtype_name(type));

    for (int i = 0; i < t->rank; i++)
        n += sprintf(to + n, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    return n + sprintf(to + n, "],\"data_offsets\":[%zu,%zu]}", at,
                       at + t->numel * lv_dtype_size(type));
}

static size_t data_bytes(const LvParams *list, LvDtype matrices)
{
    size_t n = 0;

    for (int i = 0; i < list->nb; i++)
        n += list->list[i].numel * lv_dtype_size(lv_random_type(&list->list[i], matrices));
    return n;
}

size_t lv_random_head_room(const LvParams *list)
{
    return (size_t)(list->nb + 1) * ENTRY;
}

/* Length and JSON, filled up with blanks. */
size_t lv_random_head(const LvParams *list, LvDtype matrices, char *to)
{
    char *json  = to + sizeof(uint64_t);
    size_t data = 0, n = 0;
    uint64_t length;

    for (int i = 0; i < list->nb; i++) {
        LvDtype type = lv_random_type(&list->list[i], matrices);

        n    += (size_t)put_entry(json + n, &list->list[i], type, data, !i);
        data += list->list[i].numel * lv_dtype_size(type);
    }
    json[n++] = '}';
    length    = LV_ROUND_UP(n + sizeof(length), DATA_ALIGN) - sizeof(length);
    memset(json + n, ' ', length - n);
    for (int i = 0; i < 8; i++)
        to[i] = (char)(length >> 8 * i);
    return length + sizeof(length);
}

/* Matrices get smaller values than scales and biases. Returns bytes. */
static size_t put_values(LvBench *b, const LvParam *t, LvDtype type, char *to)
{
    float scale = t->rank > 1 ? 0.03f : 1;

    for (size_t i = 0; i < t->numel; i++) {
        float x = scale * lv_bench_random(b);

        if (type == LV_F32)
            ((float *)(void *)to)[i] = x;
        else
            ((uint16_t *)(void *)to)[i] = lv_f32_bf16(x);
    }
    return t->numel * lv_dtype_size(type);
}

static int write_file(LvBench *b, const LvParams *list, LvDtype matrices)
{
    size_t head = lv_random_head_room(list), data = data_bytes(list, matrices), at;

    if (!(b->bytes = lv_alloc(head + data)))
        return lv_fail(&b->msg, LV_ERR(ENOMEM), "no %zu MiB for random weights", data >> 20);
    at = lv_random_head(list, matrices, b->bytes);
    for (int i = 0; i < list->nb; i++)
        at += put_values(b, &list->list[i], lv_random_type(&list->list[i], matrices),
                         (char *)b->bytes + at);
    return lv_safetensors_parse(&b->file, b->bytes, at, "random weights", &b->msg);
}

/* Room for all of them in the slabs of training. */
static int new_params(LvBench *b, const LvParams *list)
{
    size_t room = 0;

    for (int i = 0; i < list->nb; i++)
        room += lv_param_room(list->list[i].numel);
    return lv_params_new(&b->params, room, b->dev, &b->msg);
}

int lv_random_file(LvBench *b, LvParams **list, int train)
{
    LvWeightsFrom from = { .wide = train ? LV_F32 : b->act };
    int ret = write_file(b, *list, train ? LV_F32 : b->act);

    if (ret >= 0 && train)
        ret = new_params(b, *list);
    if (ret >= 0)
        ret = lv_source_view(&b->source, b->file, &b->msg);
    from.src    = b->source;
    from.params = b->params;
    if (ret >= 0)
        ret = lv_weights_new_from(&b->weights, &from, b->dev, &b->msg);
    lv_params_free(list);
    return ret;
}
