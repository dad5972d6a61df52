/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/encode.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/dump.h"
#include "model/tokenizer.h"
#include "model/umt5.h"
#include "pipeline/net.h"

enum { MAX_IDS = 4096, GROUP = 64, GROUP_BYTES = 256 << 20 };

/* A layer whose weights stay on the device, as it was bound. */
typedef struct Kept {
    LvWeights *weights;
    void *room;
    LvUmt5Block block;
    LvTensor norm; /* of the layer behind the last one */
} Kept;

struct LvEncode {
    const LvEnv *env;
    enum LvCacheMode cache;
    LvTokenizer *tokenizer;
    LvUmt5 net; /* described; its data are there while it runs */
    size_t *room;     /* [layers + 1]: of weights; NULL: they were not measured yet */
    size_t most, all; /* the most of these; all, with what the device makes of them */
    size_t spare, keep;
    Kept *kept; /* [layers + 1]; NULL: nothing stays */
};

/* Opening */

static int check_tokenizer(const LvEncode *t)
{
    const LvEnv *env = t->env;
    const LvFiles *f = env->files;
    int pieces = lv_tokenizer_size(t->tokenizer), rows = env->cfg->text.vocab;

    return pieces <= rows ? 0 :
           lv_fail(env->msg, LV_ERR_MODEL, "%s: tokenizer.spm has %d pieces, "
                   "text.token_embedding.weight %d rows", f->path, pieces, rows);
}

static int open_tokenizer(LvEncode *t)
{
    const LvMsg *msg = t->env->msg;
    const LvFiles *f = t->env->files;
    int ret;

    if (!f->spm)
        return lv_fail(msg, LV_ERR_MODEL, "%s: tokenizer.spm is missing", f->path);
    if (f->spm_type != LV_U8)
        return lv_fail(msg, LV_ERR_MODEL, "%s: tokenizer.spm: file has type %s, "
                       "expected U8", f->path, lv_dtype_name(f->spm_type));
    ret = lv_tokenizer_open(&t->tokenizer, f->spm, f->spm_size, msg);
    return ret < 0 ? ret : check_tokenizer(t);
}

static int new_weights(const LvEncode *t, LvWeightsFrom from, LvWeights **w)
{
    from.stored = 1;
    return lv_env_weights(t->env, &t->env->files->text, from, w);
}

static int new_described(const LvEncode *t, LvWeights **w)
{
    return new_weights(t, (LvWeightsFrom) { .described = 1 }, w);
}

/* All weights, described; w is freed by the caller, behind whoever reads t->net. */
static int bind_described(LvEncode *t, LvWeights **w)
{
    const char *prefix = t->env->files->text.prefix;
    int ret = new_described(t, w);

    lv_umt5_free(&t->net);
    return ret < 0 ? ret : lv_umt5_bind(&t->net, &t->env->cfg->text, *w, prefix);
}

static int describe(LvEncode *t)
{
    LvWeights *w = NULL;
    int ret = bind_described(t, &w);

    if (ret >= 0)
        ret = lv_weights_finish(w);
    lv_weights_free(&w);
    return ret;
}

int lv_encode_new(LvEncode **out, const LvEnv *env, enum LvCacheMode cache)
{
    LvEncode *t = *out = calloc(1, sizeof(*t));
    int ret;

    if (!t)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "text: out of memory");
    t->env   = env;
    t->cache = lv_cache_is_on(env, cache) ? LV_CACHE_ON : LV_CACHE_OFF;
    if ((ret = open_tokenizer(t)) < 0 || (ret = describe(t)) < 0)
        lv_encode_free(out);
    return ret;
}

void lv_encode_free(LvEncode **out)
{
    LvEncode *t = *out;

    if (!t)
        return;
    lv_encode_drop(t);
    free(t->room);
    lv_umt5_free(&t->net);
    lv_tokenizer_close(&t->tokenizer);
    free(t);
    *out = NULL;
}

void lv_encode_spare(LvEncode *t, size_t bytes)
{
    t->spare = bytes;
}

void lv_encode_keep(LvEncode *t, size_t bytes)
{
    t->keep = t->env->dev->host ? 0 : bytes;
}

void lv_encode_drop(LvEncode *t)
{
    for (int i = 0; t->kept && i <= t->env->cfg->text.layers; i++) {
        lv_weights_free(&t->kept[i].weights);
        lv_device_free(t->env->dev, t->kept[i].room);
    }
    free(t->kept);
    t->kept = NULL;
}

/* Tokens */

/* Wan's own models: what is too long is cut, as the reference does. */
static int shorten(const LvEncode *t, int32_t *id, int nb)
{
    int max = t->env->cfg->dit.text_len;

    if (nb <= max)
        return nb;
    lv_msg(t->env->msg, LV_MSG_WARNING, "the prompt has %d pieces, the model takes %d: the rest "
           "is left out", nb, max);
    id[max - 1] = id[nb - 1];
    return max;
}

static int check_ids(const LvEncode *t, const int32_t *id, int nb)
{
    int vocab = t->env->cfg->text.vocab;

    for (int i = 0; i < nb; i++)
        if (id[i] < 0 || id[i] >= vocab)
            return lv_fail(t->env->msg, LV_ERR_MODEL, "tokenizer gives id %d, the text "
                           "encoder knows %d", id[i], vocab);
    return 0;
}

int lv_encode_tokenize(const LvEncode *t, LvIds *ids, const char *prompt)
{
    int32_t id[MAX_IDS], *copy;
    int max = t->env->files->bundle ? t->env->cfg->dit.text_len : MAX_IDS, ret;
    int nb  = lv_tokenizer_encode(t->tokenizer, prompt, id, max, t->env->msg);

    if (nb < 0)
        return nb;
    nb = shorten(t, id, nb);
    if ((ret = check_ids(t, id, nb)) < 0)
        return ret;
    if (!(copy = malloc((size_t)nb * sizeof(*copy))))
        return lv_fail(t->env->msg, LV_ERR(ENOMEM), "text: out of memory");
    memcpy(copy, id, (size_t)nb * sizeof(*copy));
    free(ids->id);
    ids->id = copy;
    ids->nb = nb;
    return 0;
}

void lv_ids_free(LvIds *ids)
{
    free(ids->id);
    *ids = (LvIds) { 0 };
}

/* The encoder */

/* Prompts that are encoded together. */
typedef struct Group {
    const LvIds *ids[GROUP];
    float *features[GROUP];
    char *x[2][GROUP]; /* device: what goes into a layer and comes out, in turn */
    int nb;
    size_t bytes;              /* of the device */
} Group;

static size_t bytes_of(const LvEncode *t, int nb)
{
    return (size_t)nb * (size_t)t->env->cfg->text.dim * sizeof(float);
}

static int plan_layer(LvEncode *t, int layer, int nb, LvNet *net, LvTensor *x, LvTensor *y)
{
    const LvUmt5Config *c = &t->env->cfg->text;
    const int shape[] = { nb, c->dim };
    LvGraph *g = lv_graph_new(t->env->msg);

    if (!g)
        return lv_fail(t->env->msg, LV_ERR(ENOMEM), "text: out of memory");
    *x = lv_external(g, "x", LV_F32, 2, shape);
    *y = layer == c->layers ? lv_umt5_trace_norm(g, &t->net, *x)
                            : lv_umt5_trace_block(g, &t->net, layer, *x, t->env->dtype);
    lv_output(g, *y, "y");
    return lv_net_plan(net, &g, t->env->dev);
}

/* Layers that are read ahead where all stay. */
enum { AHEAD = 7 };

/* The way through the layers: weights of one of them, or of two, or those that stay. */
typedef struct Walk {
    const LvEnv *env;
    LvUpload *upload;
    int begun;             /* layers */
    LvWeights *weights[2]; /* of even and odd layers; NULL: not begun */
    size_t mark[AHEAD + 1]; /* of the upload, when a layer is there */
    void *room[2];         /* device: theirs; [1] NULL: no layer is read ahead, [0] NULL:
                            * they are allocated */
    void *arena;           /* device, of all programs in turn */
    size_t arena_bytes;
} Walk;

static size_t *mark_of(Walk *w, int layer)
{
    return &w->mark[layer % (AHEAD + 1)];
}

static int reserve_arena(Walk *w, size_t bytes)
{
    LvDevice *dev = w->env->dev;
    int ret;

    if (bytes <= w->arena_bytes)
        return 0;
    lv_device_free(dev, w->arena);
    ret = lv_device_alloc(dev, &w->arena, bytes, "text");
    w->arena_bytes = ret < 0 ? 0 : bytes;
    return ret;
}

/* x [nb,dim] through a layer that is bound, to y. Its weights may still be on their way. */
static int run_bound(LvEncode *t, Walk *w, int layer, int nb, void *x_dev, void *y_dev)
{
    LvNet net = { 0 };
    LvTensor x, y;
    int ret = plan_layer(t, layer, nb, &net, &x, &y);

    if (ret >= 0 && (ret = reserve_arena(w, net.sizes.arena)) >= 0) {
        lv_program_bind(net.prog, x, x_dev);
        lv_program_bind(net.prog, y, y_dev);
        if ((ret = lv_program_ready(net.prog)) >= 0 &&
            (ret = lv_upload_run(w->upload, *mark_of(w, layer))) >= 0 &&
            (ret = lv_program_build(net.prog, w->arena)) >= 0)
            ret = lv_program_run(net.prog, lv_env_hook, (void *)(uintptr_t)t->env);
    }
    lv_net_free(&net);
    return ret;
}

static int bind_layer(LvEncode *t, int layer, LvWeights *w)
{
    const char *prefix = t->env->files->text.prefix;

    return layer == t->env->cfg->text.layers ? lv_umt5_bind_norm(&t->net, w, prefix)
                                             : lv_umt5_bind_block(&t->net, layer, w, prefix);
}

static LvWeights **weights_of(const LvEncode *t, Walk *w, int layer)
{
    return t->kept ? &t->kept[layer].weights : &w->weights[layer % 2];
}

static void *room_of(const LvEncode *t, const Walk *w, int layer)
{
    return t->kept ? t->kept[layer].room : w->room[1] ? w->room[layer % 2] : w->room[0];
}

/* A layer that stayed is what it was when it was bound. */
static void recall_layer(LvEncode *t, int layer)
{
    if (layer == t->env->cfg->text.layers)
        t->net.norm = t->kept[layer].norm;
    else
        t->net.block[layer] = t->kept[layer].block;
}

static void note_layer(LvEncode *t, int layer)
{
    if (layer == t->env->cfg->text.layers)
        t->kept[layer].norm = t->net.norm;
    else
        t->kept[layer].block = t->net.block[layer];
}

static int read_layer(LvEncode *t, Walk *w, int layer, LvWeights **weights)
{
    LvWeightsFrom from = { .place = {
        .upload = w->upload, .room_bytes = t->env->dev->host ? 0 : t->room[layer] } };
    int ret = 0;

    if (t->kept &&
        !(t->kept[layer].room = lv_device_try_alloc(t->env->dev, t->room[layer])))
        return LV_ERR(ENOMEM);
    from.place.room = room_of(t, w, layer);
    if (ret >= 0 && (ret = new_weights(t, from, weights)) >= 0)
        ret = bind_layer(t, layer, *weights);
    if (t->kept)
        note_layer(t, layer);
    return ret;
}

static int begin_layer(LvEncode *t, Walk *w, int layer)
{
    LvWeights **weights = weights_of(t, w, layer);
    int ret = 0;

    if (*weights)
        recall_layer(t, layer);
    else
        ret = read_layer(t, w, layer, weights);
    *mark_of(w, layer) = lv_upload_mark(w->upload);
    return ret;
}

/* Begin a layer, and those that are read ahead of its end. */
static int begin_layers(LvEncode *t, Walk *w, int layer)
{
    int last = layer + (t->kept ? AHEAD : w->room[1] ? 1 : 0), ret = 0;

    for (; w->begun <= LV_MIN(last, t->env->cfg->text.layers) && ret >= 0; w->begun++)
        ret = begin_layer(t, w, w->begun);
    return ret;
}

static int run_layer(LvEncode *t, Walk *w, int layer, const Group *g)
{
    int from = layer % 2, ret = begin_layers(t, w, layer);

    for (int i = 0; i < g->nb && ret >= 0; i++)
        ret = run_bound(t, w, layer, g->ids[i]->nb, g->x[from][i], g->x[!from][i]);
    if (ret < 0 || (ret = lv_weights_check(*weights_of(t, w, layer))) < 0)
        return ret;
    lv_weights_drop(*weights_of(t, w, layer));
    if (!t->kept)
        lv_weights_free(&w->weights[from]);
    return 0;
}

/* Of each layer, and of all: files may store each in another form. Once. */
static int measure(LvEncode *t)
{
    int layers   = t->env->cfg->text.layers, ret;
    LvWeights *w = NULL;
    LvTensor x, y;

    if (t->room)
        return 0;
    if (!(t->room = calloc((size_t)layers + 1, sizeof(*t->room))))
        return lv_fail(t->env->msg, LV_ERR(ENOMEM), "text: out of memory");
    ret = new_described(t, &w);
    for (int i = 0; i <= layers && ret >= 0; i++) {
        size_t before = lv_weights_bytes(w);
        LvNet net     = { 0 };

        if ((ret = bind_layer(t, i, w)) >= 0 && (ret = plan_layer(t, i, 1, &net, &x, &y)) >= 0) {
            t->room[i] = lv_weights_bytes(w) - before;
            t->most    = LV_MAX(t->most, t->room[i]);
            t->all    += LV_ROUND_UP(t->room[i], LV_ALIGN) + net.sizes.weights;
        }
        lv_net_free(&net);
    }
    lv_weights_free(&w);
    return ret;
}

/* Let all layers stay, if there is memory for it. */
static void try_keep(LvEncode *t)
{
    if (t->kept || t->all > LV_MIN(t->keep, lv_device_available(t->env->dev)))
        return;
    t->kept = calloc((size_t)t->env->cfg->text.layers + 1, sizeof(*t->kept));
    if (t->kept)
        lv_msg(t->env->msg, LV_MSG_VERBOSE, "memory: the text encoder stays on the device for the "
               "next prompt, %.1f MiB", (double)t->all / (1024 * 1024));
}

static int begin_walk(LvEncode *t, Walk *w)
{
    const LvEnv *env = t->env;
    LvDevice *dev    = env->dev;
    int ret;

    *w = (Walk) { .env = env };
    if ((ret = lv_upload_new(&w->upload, dev, lv_env_ask, (void *)env, env->msg)) < 0 ||
        dev->host || (ret = measure(t)) < 0)
        return ret;
    try_keep(t);
    if (t->kept)
        return 0;
    if ((ret = lv_device_alloc(dev, &w->room[0], t->most, "text")) < 0)
        return ret;
    if (t->most <= t->spare)
        w->room[1] = lv_device_try_alloc(dev, t->most);
    return 0;
}

static void end_walk(Walk *w)
{
    LvDevice *dev = w->env->dev;

    lv_upload_free(&w->upload);
    for (int i = 0; i < 2; i++) {
        if (w->weights[i])
            lv_weights_drop(w->weights[i]);
        lv_weights_free(&w->weights[i]);
        lv_device_free(dev, w->room[i]);
    }
    lv_device_free(dev, w->arena);
}

/* Rows of the embedding to x[0] of the device. */
static int embed(LvEncode *t, const Group *g)
{
    LvDevice *dev = t->env->dev;
    LvWeights *w  = NULL;
    int ret = new_described(t, &w);

    for (int i = 0; i < g->nb && ret >= 0; i++) {
        const LvIds *p = g->ids[i];

        ret = lv_umt5_embed(&t->net, w, t->env->files->text.prefix, p->id, p->nb,
                            g->features[i]);
        if (ret >= 0)
            ret = lv_device_upload(dev, g->x[0][i], g->features[i], bytes_of(t, p->nb));
    }
    lv_weights_free(&w);
    return ret;
}

static int check_features(const LvEncode *t, const LvIds *p, const float *x)
{
    size_t cols = (size_t)t->env->cfg->text.dim, n = (size_t)p->nb * cols;
    size_t i    = lv_find_nonfinite(x, LV_F32, LV_F32, n);

    return i == n ? 0 :
           lv_fail(t->env->msg, LV_ERR_MODEL, "%s: text encoder: features of piece %zu of the "
                   "%s are not finite%s", t->env->files->path, i / cols,
                   p->what ? p->what : "prompt", lv_env_hint(t->env, 1));
}

static int run_layers(LvEncode *t, const Group *g)
{
    int layers = t->env->cfg->text.layers;
    Walk w;
    int ret = begin_walk(t, &w);

    for (int i = 0; i <= layers && ret >= 0; i++) {
        ret = lv_env_tell(t->env, (LvAt) { LV_STAGE_TEXT, i, layers + 1, 0, 0 });
        if (ret >= 0)
            ret = run_layer(t, &w, i, g);
    }
    end_walk(&w);
    if (ret < 0)
        lv_encode_drop(t);
    return ret;
}

static int take_features(const LvEncode *t, const Group *g)
{
    LvDevice *dev = t->env->dev;
    int last = (t->env->cfg->text.layers + 1) % 2, ret = 0;

    for (int i = 0; i < g->nb && ret >= 0; i++) {
        ret = lv_device_download(dev, g->features[i], g->x[last][i], bytes_of(t, g->ids[i]->nb));
        if (ret >= 0)
            ret = check_features(t, g->ids[i], g->features[i]);
    }
    return ret;
}

/* Where prompts lie in memory of the device; NULL: only the bytes are wanted. */
static void lay_out(const LvEncode *t, Group *g, char *base)
{
    LvRegion region = { .base = base };

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < g->nb; i++)
            g->x[k][i] = lv_region_take(&region, bytes_of(t, g->ids[i]->nb));
    g->bytes = region.at;
}

static int run_once(LvEncode *t, const Group *g)
{
    int ret = embed(t, g);

    return ret < 0 ? ret : run_layers(t, g);
}

/* An error of the device that is held back. */
typedef struct Held {
    const LvMsg *to;
    char line[512];
} Held;

/* LvMsg.put */
static void hold(void *opaque, int level, const char *line)
{
    Held *h = opaque;

    if (level > LV_MSG_ERROR)
        lv_msg(h->to, level, "%s", line);
    else if (!h->line[0])
        snprintf(h->line, sizeof(h->line), "%s", line);
}

/* Once, without a word where memory is missing: it is tried again then. */
static int run_held(LvEncode *t, const Group *g)
{
    LvDevice *dev = t->env->dev;
    Held held     = { .to = dev->msg };
    const LvMsg msg = { hold, &held, dev->msg ? dev->msg->level : LV_MSG_ERROR };
    int ret;

    dev->msg = &msg;
    ret      = run_once(t, g);
    dev->msg = held.to;
    if (held.line[0])
        lv_msg(held.to, ret == LV_ERR(ENOMEM) ? LV_MSG_VERBOSE : LV_MSG_ERROR, "%s", held.line);
    return ret;
}

/* With too little memory for layers that stay, once more without them. */
static int run_group(LvEncode *t, Group *g)
{
    LvDevice *dev = t->env->dev;
    void *base    = NULL;
    int ret;

    if (!g->nb)
        return 0;
    if (t->kept && !(base = lv_device_try_alloc(dev, g->bytes)))
        lv_encode_drop(t);
    if (!base && (ret = lv_device_alloc(dev, &base, g->bytes, "text")) < 0)
        return ret;
    lay_out(t, g, base);
    ret = t->keep ? run_held(t, g) : run_once(t, g);
    if (ret == LV_ERR(ENOMEM) && t->keep) {
        t->keep = 0;
        ret     = run_once(t, g);
    }
    if (ret >= 0)
        ret = take_features(t, g);
    lv_device_free(dev, base);
    for (int i = 0; i < g->nb && ret >= 0 && t->cache == LV_CACHE_ON; i++)
        lv_cache_store(t->env, g->ids[i]->id, g->ids[i]->nb, g->features[i]);
    return ret;
}

static void add(LvEncode *t, Group *g, const LvIds *ids, float *features)
{
    g->ids[g->nb]      = ids;
    g->features[g->nb] = features;
    g->nb++;
    lay_out(t, g, NULL);
}

int lv_encode_run(LvEncode *t, const LvIds *ids, int nb, float *const *features)
{
    const LvDitConfig *c = &t->env->cfg->dit;
    size_t all = (size_t)c->text_len * (size_t)c->text_dim * sizeof(float);
    Group g = { .nb = 0 };
    int ret = 0;

    assert(nb >= 0);
    for (int i = 0; i < nb && ret >= 0; i++) {
        memset(features[i], 0, all);
        if (t->cache == LV_CACHE_ON &&
            lv_cache_load(t->env, ids[i].id, ids[i].nb, features[i]))
            continue;
        add(t, &g, &ids[i], features[i]);
        if (g.nb < GROUP && g.bytes < GROUP_BYTES)
            continue;
        ret = run_group(t, &g);
        g   = (Group) { .nb = 0 };
    }
    return ret < 0 ? ret : run_group(t, &g);
}

/* Planning */

static int plan_full(LvEncode *t, LvWeights *w, LvNet *net)
{
    LvTensor x, y;
    int ret = bind_layer(t, 0, w);

    return ret < 0 ? ret : plan_layer(t, 0, t->env->cfg->dit.text_len, net, &x, &y);
}

int lv_encode_need(LvEncode *t, int nb, LvNeed *need)
{
    size_t bytes = bytes_of(t, t->env->cfg->dit.text_len) * (size_t)nb;
    LvWeights *w = NULL;
    LvNet net    = { 0 };
    int ret = new_described(t, &w);

    assert(nb >= 1);
    if (ret >= 0 && (ret = measure(t)) >= 0 && (ret = plan_full(t, w, &net)) >= 0) {
        *need = lv_need_of(&net.sizes);
        need->weights += t->most;
        need->state    = 2 * bytes;
        need->host     = bytes;
    }
    lv_net_free(&net);
    lv_weights_free(&w);
    return ret;
}

/* Layers are of one size: the first stands for all. */
int lv_encode_cost(LvEncode *t, const LvIds *ids, int nb, const LvRates *rates, LvCost *cost)
{
    double layers = t->env->cfg->text.layers, bytes = 0;
    LvWeights *w  = NULL;
    LvNet net     = { 0 };
    LvTensor x, y;
    int ret = new_described(t, &w);

    if (ret >= 0)
        ret = bind_layer(t, 0, w);
    for (int i = 0; i < nb && ret >= 0; i++) {
        if ((ret = plan_layer(t, 0, ids[i].nb, &net, &x, &y)) < 0)
            continue;
        lv_program_cost(net.prog, rates, layers, cost);
        bytes = (double)(net.sizes.weights + lv_weights_bytes(w));
    }
    lv_cost_send(cost, layers * bytes, rates);
    lv_net_free(&net);
    lv_weights_free(&w);
    return ret;
}

int lv_encode_dump(LvEncode *t, FILE *to)
{
    const LvEnv *env = t->env;
    LvGraph *g   = lv_graph_new(env->msg);
    LvWeights *w = NULL;
    LvNet net    = { 0 };
    LvTensor ids;
    int ret = g ? bind_described(t, &w)
                : lv_fail(env->msg, LV_ERR(ENOMEM), "text: out of memory");

    if (ret >= 0) {
        ids = lv_external(g, "ids", LV_I32, 1, &env->cfg->dit.text_len);
        lv_output(g, lv_umt5_trace(g, &t->net, ids, env->dtype), "features");
        ret = lv_net_plan(&net, &g, env->dev);
    }
    if (ret >= 0)
        lv_program_dump(net.prog, to);
    lv_graph_free(&g);
    lv_net_free(&net);
    lv_weights_free(&w);
    return ret;
}
