/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/dump.h"
#include "model/tokenizer.h"
#include "model/umt5.h"
#include "pipeline/net.h"

enum { MAX_IDS = 4096, GROUP = 64, GROUP_BYTES = 256 << 20 };

struct LvEncode {
    const LvEnv *env;
    enum LvCacheMode cache;
    LvTokenizer *tokenizer;
    LvUmt5 net; /* described; its data are there while it runs */
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
                       "model wants U8", f->path, lv_dtype_name(f->spm_type));
    ret = lv_tokenizer_open(&t->tokenizer, f->spm, f->spm_size, msg);
    return ret < 0 ? ret : check_tokenizer(t);
}

static int new_weights(const LvEncode *t, int described, LvWeights **w)
{
    const LvEnv *env = t->env;

    return lv_env_weights(env, &env->files->text, (LvWeightsFrom) { .described = described }, w);
}

static int describe(LvEncode *t)
{
    const char *prefix = t->env->files->text.prefix;
    LvWeights *w = NULL;
    int ret = new_weights(t, 1, &w);

    if (ret >= 0 && (ret = lv_umt5_bind(&t->net, &t->env->cfg->text, w, prefix)) >= 0)
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
    lv_umt5_free(&t->net);
    lv_tokenizer_close(&t->tokenizer);
    free(t);
    *out = NULL;
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

/* x [nb,dim] through a layer that is bound, to y. */
static int run_bound(LvEncode *t, int layer, int nb, void *x_dev, void *y_dev)
{
    const LvEnv *env = t->env;
    LvNet net   = { 0 };
    void *arena = NULL;
    LvTensor x, y;
    int ret = plan_layer(t, layer, nb, &net, &x, &y);

    if (ret >= 0)
        ret = lv_device_alloc(env->dev, &arena, net.sizes.arena, "text");
    if (ret >= 0) {
        lv_program_bind(net.prog, x, x_dev);
        lv_program_bind(net.prog, y, y_dev);
        if ((ret = lv_program_build(net.prog, arena)) >= 0)
            ret = lv_program_run(net.prog, lv_env_hook, (void *)env);
    }
    lv_net_free(&net);
    env->dev->fn->free(env->dev, arena);
    return ret;
}

static int bind_layer(LvEncode *t, int layer, LvWeights *w)
{
    const char *prefix = t->env->files->text.prefix;

    return layer == t->env->cfg->text.layers ? lv_umt5_bind_norm(&t->net, w, prefix)
                                             : lv_umt5_bind_block(&t->net, layer, w, prefix);
}

static int run_layer(LvEncode *t, int layer, const Group *g)
{
    LvWeights *w = NULL;
    int ret = new_weights(t, 0, &w), from = layer % 2;

    if (ret >= 0)
        ret = bind_layer(t, layer, w);
    for (int i = 0; i < g->nb && ret >= 0; i++)
        ret = run_bound(t, layer, g->ids[i]->nb, g->x[from][i], g->x[!from][i]);
    if (ret >= 0)
        ret = lv_weights_check(w);
    if (w)
        lv_weights_drop(w);
    lv_weights_free(&w);
    return ret;
}

/* Rows of the embedding to x[0] of the device. */
static int embed(LvEncode *t, const Group *g)
{
    LvDevice *dev = t->env->dev;
    LvWeights *w  = NULL;
    int ret = new_weights(t, 1, &w);

    for (int i = 0; i < g->nb && ret >= 0; i++) {
        const LvIds *p = g->ids[i];

        ret = lv_umt5_embed(&t->net, w, t->env->files->text.prefix, p->id, p->nb,
                            g->features[i]);
        if (ret >= 0)
            ret = dev->fn->upload(dev, g->x[0][i], g->features[i], bytes_of(t, p->nb));
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
                   p->what ? p->what : "prompt", lv_env_hint(t->env));
}

static int run_layers(LvEncode *t, const Group *g)
{
    LvDevice *dev = t->env->dev;
    int layers = t->env->cfg->text.layers, last = (layers + 1) % 2, ret = embed(t, g);

    for (int i = 0; i <= layers && ret >= 0; i++) {
        ret = lv_env_tell(t->env, (LvAt) { LV_STAGE_TEXT, i, layers + 1, 0, 0 });
        if (ret >= 0)
            ret = run_layer(t, i, g);
    }
    for (int i = 0; i < g->nb && ret >= 0; i++) {
        ret = dev->fn->download(dev, g->features[i], g->x[last][i], bytes_of(t, g->ids[i]->nb));
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

static int run_group(LvEncode *t, Group *g)
{
    LvDevice *dev = t->env->dev;
    void *base    = NULL;
    int ret;

    if (!g->nb)
        return 0;
    if ((ret = lv_device_alloc(dev, &base, g->bytes, "text")) < 0)
        return ret;
    lay_out(t, g, base);
    ret = run_layers(t, g);
    dev->fn->free(dev, base);
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
    int ret = new_weights(t, 1, &w);

    if (ret >= 0 && (ret = plan_full(t, w, &net)) >= 0) {
        *need = lv_need_of(&net.sizes);
        need->weights += lv_weights_bytes(w);
        need->state    = 2 * bytes;
        need->host     = bytes;
    }
    lv_net_free(&net);
    lv_weights_free(&w);
    return ret;
}

int lv_encode_dump(LvEncode *t, FILE *to)
{
    const LvEnv *env = t->env;
    LvGraph *g = lv_graph_new(env->msg);
    LvNet net  = { 0 };
    LvTensor ids;
    int ret;

    if (!g)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "text: out of memory");
    ids = lv_external(g, "ids", LV_I32, 1, &env->cfg->dit.text_len);
    lv_output(g, lv_umt5_trace(g, &t->net, ids, env->dtype), "features");
    if ((ret = lv_net_plan(&net, &g, env->dev)) >= 0)
        lv_program_dump(net.prog, to);
    lv_net_free(&net);
    return ret;
}
