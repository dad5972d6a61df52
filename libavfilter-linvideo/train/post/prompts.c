/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/prompts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "model/tokenizer.h"
#include "model/umt5.h"
#include "train/clips/caption.h"
#include "train/run/streams.h"
#include "train/run/task.h"

enum { AT_ONCE = 16, FILE_MAX = 64 << 20, LINE_MAX_BYTES = 1 << 16 };

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

static int open_tokenizer(LvTokenizer **t, const LvBundle *b)
{
    const LvFileTensor *f = lv_safetensors_find(b->file, "tokenizer.spm");

    if (!f || f->dtype != LV_U8)
        return lv_fail(b->msg, LV_ERR_MODEL, "%s: no tokenizer.spm",
                       lv_safetensors_path(b->file));
    return lv_tokenizer_open(t, f->data, f->size, b->msg);
}

/* Captions that are too long are passed over. */
static int draw(LvPrompts *p, int nb, uint64_t seed, const LvBundle *b,
                const LvTokenizer *t)
{
    int32_t ids[4096];
    size_t at = 0;

    for (int i = 0; p->nb < nb && i < 16 * nb; i++) {
        char *text = p->text + at;
        LvScene s;
        lv_scene_draw(&s, seed, (uint64_t)i, 0);
        lv_caption_write(text, LV_CAPTION_SIZE, &s, seed,
                         lv_stream(LV_STREAM_PROMPT, 0, i));
        if (lv_tokenizer_encode(t, text, ids, b->cfg.dit.text_len, NULL) < 0)
            continue;
        at += strlen(text);
        p->text[at++] = '\n';
        p->nb++;
    }
    p->text[at] = '\0';
    return p->nb == nb ? 0 : lv_fail(b->msg, LV_ERR_MODEL, "%s: takes %d of %d captions",
                                     lv_safetensors_path(b->file), p->nb, 16 * nb);
}

int lv_prompts_draw(LvPrompts *p, int nb, uint64_t seed, const LvBundle *b)
{
    LvTokenizer *t = NULL;
    int ret;

    *p = (LvPrompts) { .text = malloc(((size_t)nb + 1) * LV_CAPTION_SIZE) };
    if (!p->text)
        return lv_fail(b->msg, LV_ERR(ENOMEM), "prompts: out of memory");
    if ((ret = open_tokenizer(&t, b)) >= 0)
        ret = draw(p, nb, seed, b, t);
    lv_tokenizer_close(&t);
    return ret;
}

void lv_prompts_free(LvPrompts *p)
{
    free(p->text);
    *p = (LvPrompts) { 0 };
}

/* Encoding: AT_ONCE prompts to a run */

typedef struct Encoder {
    const LvBundle *b;
    LvWeights *weights;
    LvUmt5 net;
    LvTokenizer *tokenizer;
    LvTask task;
    LvTensor ids, rows, key_bias, out;
    int32_t *host_ids, *host_rows;
    float *host_bias;
} Encoder;

static int plan(Encoder *e, LvDtype dtype)
{
    LvTensor *const list[] = { &e->ids, &e->rows, &e->key_bias, &e->out };
    const int n  = AT_ONCE * e->b->cfg.dit.text_len;
    LvGraph *g   = lv_graph_new(e->b->msg);
    LvTensor x;

    if (!g)
        return lv_fail(e->b->msg, LV_ERR(ENOMEM), "prompts: out of memory");
    e->ids      = lv_external(g, "ids", LV_I32, 1, &n);
    e->rows     = lv_external(g, "rows", LV_I32, 1, &n);
    e->key_bias = lv_external(g, "key bias", LV_F32, 1, &n);
    x           = lv_umt5_trace_batch(g, &e->net, e->ids, e->key_bias, AT_ONCE, dtype);
    e->out      = lv_embed(g, e->rows, x, LV_F32);
    lv_output(g, e->out, "features");
    return lv_task_new(&e->task, &g, list, LV_COUNT(list), e->b->dev, e->b->msg);
}

static int open_encoder(Encoder *e, LvDtype dtype)
{
    size_t n = AT_ONCE * (size_t)e->b->cfg.dit.text_len;
    int ret;

    e->host_ids  = lv_alloc(n * sizeof(*e->host_ids));
    e->host_rows = lv_alloc(n * sizeof(*e->host_rows));
    e->host_bias = lv_alloc(n * sizeof(*e->host_bias));
    if (!e->host_ids || !e->host_rows || !e->host_bias)
        return lv_fail(e->b->msg, LV_ERR(ENOMEM), "prompts: out of memory");
    if ((ret = open_tokenizer(&e->tokenizer, e->b)) < 0 ||
        (ret = lv_weights_new(&e->weights, e->b->file, e->b->dev, e->b->msg)) < 0 ||
        (ret = lv_umt5_bind(&e->net, &e->b->cfg.text, e->weights, "text.")) < 0)
        return ret;
    return plan(e, dtype);
}

static void close_encoder(Encoder *e)
{
    lv_task_free(&e->task);
    lv_umt5_free(&e->net);
    lv_weights_free(&e->weights);
    lv_tokenizer_close(&e->tokenizer);
    lv_free(e->host_ids);
    lv_free(e->host_rows);
    lv_free(e->host_bias);
}

/* Ids of a prompt, of which `size` bytes count, into place `at`. */
static int put(Encoder *e, int at, const char *text, size_t size)
{
    int len = e->b->cfg.dit.text_len, first = at * len, nb;
    char *copy = strndup(text, size);

    if (!copy)
        return lv_fail(e->b->msg, LV_ERR(ENOMEM), "prompts: out of memory");
    nb = lv_tokenizer_encode(e->tokenizer, copy, e->host_ids + first, len, e->b->msg);
    free(copy);
    for (int i = 0; i < len && nb >= 0; i++) {
        if (i >= nb)
            e->host_ids[first + i] = 0;
        e->host_rows[first + i] = i < nb ? first + i : -1;
        e->host_bias[first + i] = i < nb ? 0 : -INFINITY;
    }
    return LV_MIN(nb, 0);
}

static int run(Encoder *e, int nb, float *features)
{
    size_t n   = lv_tensor_numel(&e->out);
    float *all = lv_alloc(n * sizeof(*all));
    int ret    = all ? 0 : lv_fail(e->b->msg, LV_ERR(ENOMEM), "prompts: out of memory");

    if (ret >= 0 && (ret = lv_task_put(&e->task, &e->ids, e->host_ids)) >= 0 &&
        (ret = lv_task_put(&e->task, &e->rows, e->host_rows)) >= 0 &&
        (ret = lv_task_put(&e->task, &e->key_bias, e->host_bias)) >= 0 &&
        (ret = lv_task_run(&e->task)) >= 0 &&
        (ret = lv_task_get(&e->task, &e->out, all)) >= 0)
        memcpy(features, all, n / AT_ONCE * (size_t)nb * sizeof(*all));
    lv_free(all);
    return ret;
}

static int encode_all(Encoder *e, const LvPrompts *p, float *features)
{
    const LvDitConfig *c = &e->b->cfg.dit;
    const char *text = p->text, *end;
    int used = 0, ret;

    ret = put(e, used++, "", 0);
    for (int i = 0; i < p->nb && ret >= 0; i++, text = end + 1) {
        end = strchr(text, '\n');
        if (used == AT_ONCE) {
            ret = run(e, used, features);
            features += (size_t)used * (size_t)c->text_len * (size_t)c->text_dim;
            used = 0;
        }
        if (ret >= 0)
            ret = put(e, used++, text, (size_t)(end - text));
    }
    for (int i = used; i < AT_ONCE && ret >= 0; i++)
        ret = put(e, i, "", 0);
    return ret < 0 ? ret : run(e, used, features);
}

int lv_prompts_encode(const LvPrompts *p, const LvBundle *b, LvDtype dtype,
                      float *features)
{
    Encoder e = { .b = b };
    int ret = open_encoder(&e, dtype);

    if (ret >= 0)
        ret = encode_all(&e, p, features);
    close_encoder(&e);
    return ret;
}
