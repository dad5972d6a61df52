/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/prompts.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "pipeline/encode.h"
#include "train/reel/stock.h"
#include "train/run/streams.h"

enum { FILE_MAX = 64 << 20, LINE_MAX_BYTES = 1 << 16 };

int lv_prompts_read(LvPrompts *p, const char *path, const LvMsg *msg)
{
    LvMap map;
    size_t at = 0;
    int ret = lv_map_open_upto(&map, path, FILE_MAX, msg), number = 1;

    *p = (LvPrompts) { 0 };
    if (ret < 0)
        return ret;
    if (!(p->text = malloc(map.size + 2)))
        ret = lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
    for (size_t i = 0, n; i < map.size && ret >= 0; i += n + 1, number++) {
        const char *line = (const char *)map.data + i, *end = memchr(line, '\n',
                                                                     map.size - i);
        n = end ? (size_t)(end - line) : map.size - i;
        if (n > LINE_MAX_BYTES)
            ret = lv_fail(msg, LV_ERR_MODEL, "%s: line %d is too long, expected at most %d "
                          "bytes, got %zu", path, number, LINE_MAX_BYTES, n);
        if (!n || ret < 0 || memchr(line, '\0', n))
            continue;
        memcpy(p->text + at, line, n);
        p->text[at += n] = '\n';
        at++;
        p->nb++;
    }
    lv_map_close(&map);
    if (p->text)
        p->text[at] = '\0';
    return ret < 0 || p->nb ? ret : lv_fail(msg, LV_ERR_MODEL, "%s: no prompts", path);
}

/* Open captions of the clips that the model learned from, as the recipe in its bundle says. */
static int open_stock(LvStock *stock, const LvFrozen *b, uint64_t seed)
{
    json_t *root = json_loads(b->config, 0, NULL);
    const json_t *data = json_object_get(root, "data");
    const char *clips  = json_string_value(json_object_get(data, "clips"));
    const char *art    = json_string_value(json_object_get(data, "art"));
    int ret = lv_stock_open(stock, clips ? clips : "", art ? art : "", 0, seed, b->msg);

    json_decref(root);
    return ret;
}

/* Captions that are too long are passed over. */
static int draw(LvPrompts *p, int nb, const LvStock *stock, const LvEncode *e)
{
    LvIds ids = { 0 };
    size_t at = 0;

    for (int i = 0; p->nb < nb && i < 16 * nb; i++) {
        char *text = p->text + at;
        lv_stock_caption(stock, (uint64_t)i, 0, lv_stream(LV_STREAM_PROMPT, 0, i), text,
                         LV_STOCK_CAPTION_SIZE);
        if (lv_encode_tokenize(e, &ids, text) < 0)
            continue;
        at += strlen(text);
        p->text[at++] = '\n';
        p->nb++;
    }
    p->text[at] = '\0';
    lv_ids_free(&ids);
    return p->nb == nb ? 0 : LV_ERR_MODEL;
}

int lv_prompts_draw(LvPrompts *p, int nb, uint64_t seed, const LvFrozen *b)
{
    LvEnv env = b->env;
    LvStock stock;
    LvEncode *e;
    int ret;

    *p = (LvPrompts) { 0 };
    if (!b->files.bundle)
        return lv_fail(b->msg, LV_ERR_MODEL, "%s: was not made on the captions that are drawn "
                       "where there are no prompts; give some (--prompts FILE)",
                       b->files.path);
    if ((ret = open_stock(&stock, b, seed)) < 0)
        return ret;
    if (!(p->text = malloc(((size_t)nb + 1) * LV_STOCK_CAPTION_SIZE)))
        return lv_fail(b->msg, LV_ERR(ENOMEM), "prompts: out of memory");
    if ((ret = lv_encode_new(&e, &env, LV_CACHE_OFF)) < 0)
        return ret;
    env.msg = NULL; /* of what is too long */
    if ((ret = draw(p, nb, &stock, e)) == LV_ERR_MODEL)
        lv_msg(b->msg, LV_MSG_ERROR, "%s: takes %d of %d captions", b->files.path, p->nb,
               16 * nb);
    lv_encode_free(&e);
    return ret;
}

void lv_prompts_free(LvPrompts *p)
{
    free(p->text);
    *p = (LvPrompts) { 0 };
}

/* Encoding */

/* Ids of a prompt of which `size` bytes count. */
static int tokenize(const LvEncode *e, LvIds *ids, const char *text, size_t size,
                    const LvMsg *msg)
{
    char *copy = strndup(text, size);
    int ret    = copy ? lv_encode_tokenize(e, ids, copy)
                      : lv_fail(msg, LV_ERR(ENOMEM), "prompts: out of memory");

    free(copy);
    return ret;
}

static int tokenize_all(const LvEncode *e, LvIds *ids, const LvPrompts *p, const LvFrozen *b)
{
    const char *text = p->text, *end, *negative = lv_frozen_negative(b);
    int ret = tokenize(e, &ids[0], negative, strlen(negative), b->msg);

    ids[0].what = "unconditional prompt";
    for (int i = 0; i < p->nb && ret >= 0; i++, text = end + 1) {
        end = strchr(text, '\n');
        ret = tokenize(e, &ids[1 + i], text, (size_t)(end - text), b->msg);
    }
    return ret;
}

static int encode_all(LvEncode *e, const LvPrompts *p, const LvFrozen *b, float *features)
{
    const LvDitConfig *c = &b->cfg.dit;
    size_t n    = (size_t)p->nb + 1, each = (size_t)c->text_len * (size_t)c->text_dim;
    LvIds *ids  = calloc(n, sizeof(*ids));
    float **row = calloc(n, sizeof(*row));
    int ret = ids && row ? tokenize_all(e, ids, p, b)
                         : lv_fail(b->msg, LV_ERR(ENOMEM), "prompts: out of memory");

    for (size_t i = 0; i < n && ret >= 0; i++)
        row[i] = features + i * each;
    if (ret >= 0)
        ret = lv_encode_run(e, ids, (int)n, row);
    for (size_t i = 0; i < n && ids; i++)
        lv_ids_free(&ids[i]);
    free(ids);
    free(row);
    return ret;
}

int lv_prompts_encode(const LvPrompts *p, const LvFrozen *b, LvDtype dtype,
                      float *features)
{
    LvEnv env = b->env;
    LvEncode *e;
    int ret;

    env.dtype = dtype;
    if ((ret = lv_encode_new(&e, &env, LV_CACHE_OFF)) >= 0)
        ret = encode_all(e, p, b, features);
    lv_encode_free(&e);
    return ret;
}
