/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "text": prompt to ids to features to keys and values of every layer.
 */

#include <string.h>

#include "base/convert.h"
#include "graph/program.h"
#include "pipeline/session.h"

enum { MAX_IDS = 4096 };

/* Wan's own models: what is too long is cut, as the reference does. */
static int shorten(LvSession *s, int32_t *ids, int nb)
{
    int max = s->cfg.dit.text_len;

    if (nb <= max)
        return nb;
    lv_msg(s->msg, LV_MSG_WARNING, "the prompt has %d pieces, the model takes %d: the rest "
           "is left out", nb, max);
    ids[max - 1] = ids[nb - 1];
    return max;
}

int lv_text_tokenize(LvSession *s, LvPrompt *p, const char *text)
{
    int32_t ids[MAX_IDS];
    int max = s->files.bundle ? s->cfg.dit.text_len : MAX_IDS, nb;

    nb = lv_tokenizer_encode(s->tokenizer, text, ids, max, s->msg);
    if (nb < 0)
        return nb;
    nb = shorten(s, ids, nb);
    for (int i = 0; i < nb; i++)
        if (ids[i] < 0 || ids[i] >= s->cfg.text.vocab)
            return lv_fail(s->msg, LV_ERR_MODEL, "tokenizer gives id %d, the text "
                           "encoder knows %d", ids[i], s->cfg.text.vocab);
    memcpy(p->ids, ids, (size_t)nb * sizeof(*ids));
    p->nb    = nb;
    p->stale = 1;
    return 0;
}

/* The encoder runs layer by layer, over the prompt's own length. The weights of a layer
 * are bound for it, and let go behind it. */

static int plan_layer(LvSession *s, int layer, int nb, LvNet *net, LvTensor *x, LvTensor *y)
{
    const int shape[] = { nb, s->cfg.text.dim };
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "text: out of memory");
    *x = lv_external(g, "x", LV_F32, 2, shape);
    *y = layer == s->cfg.text.layers ? lv_umt5_trace_norm(g, &s->text, *x)
       : lv_umt5_trace_block(g, &s->text, layer, *x, s->dtype);
    lv_output(g, *y, "y");
    return lv_net_plan(net, &g, s->dev);
}

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    LvSession *s = opaque;

    (void)next, (void)index, (void)count;
    return atomic_load(&s->cancelled) ? LV_ERR_CANCELLED : 0;
}

static int run_net(LvSession *s, LvNet *net, void *arena)
{
    int ret = lv_program_build(net->prog, arena);

    return ret < 0 ? ret : lv_program_run(net->prog, hook, s);
}

/* x [nb,dim] through a layer, in place, the layer being bound. */
static int run_bound(LvSession *s, int layer, int nb, void *x_dev, void *y_dev)
{
    const LvDeviceFns *fn = s->dev->fn;
    LvNet net   = { 0 };
    void *arena = NULL;
    LvTensor x, y;
    int ret = plan_layer(s, layer, nb, &net, &x, &y);

    if (ret >= 0)
        ret = lv_device_alloc(s->dev, &arena, net.sizes.arena, "text");
    if (ret >= 0) {
        lv_program_bind(net.prog, x, x_dev);
        lv_program_bind(net.prog, y, y_dev);
        ret = run_net(s, &net, arena);
    }
    lv_program_free(&net.prog);
    fn->free(s->dev, arena);
    return ret;
}

static int run_layer(LvSession *s, int layer, int nb, void *x_dev, void *y_dev)
{
    const char *prefix = s->files.text.prefix;
    LvWeights *w = NULL;
    int ret = lv_text_weights(s, 0, &w);

    if (ret >= 0)
        ret = layer == s->cfg.text.layers ? lv_umt5_bind_norm(&s->text, w, prefix)
                                          : lv_umt5_bind_block(&s->text, layer, w, prefix);
    if (ret >= 0)
        ret = run_bound(s, layer, nb, x_dev, y_dev);
    if (ret >= 0)
        ret = lv_weights_check(w);
    if (w)
        lv_weights_drop(w);
    lv_weights_free(&w);
    return ret;
}

/* Rows of the embedding to x on the device. */
static int embed(LvSession *s, const LvPrompt *p, float *x, void *x_dev)
{
    LvWeights *w = NULL;
    size_t bytes = sizeof(*x) * (size_t)p->nb * (size_t)s->cfg.text.dim;
    int ret = lv_text_weights(s, 1, &w);

    if (ret >= 0)
        ret = lv_umt5_embed(&s->text, w, s->files.text.prefix, p->ids, p->nb, x);
    if (ret >= 0)
        ret = s->dev->fn->upload(s->dev, x_dev, x, bytes);
    lv_weights_free(&w);
    return ret;
}

/* All layers; the features come to x. */
static int run_encoder(LvSession *s, const LvPrompt *p, float *x, void *dev[2])
{
    int layers   = s->cfg.text.layers, ret = embed(s, p, x, dev[0]);
    size_t bytes = sizeof(*x) * (size_t)p->nb * (size_t)s->cfg.text.dim;

    for (int i = 0; i <= layers && ret >= 0; i++) {
        if ((ret = lv_session_step(s, LV_STAGE_TEXT, i, layers + 1, 0, 0)) >= 0)
            ret = run_layer(s, i, p->nb, dev[i % 2], dev[(i + 1) % 2]);
    }
    return ret < 0 ? ret : s->dev->fn->download(s->dev, x, dev[(layers + 1) % 2], bytes);
}

static int check_features(const LvSession *s, const LvPrompt *p, const float *x)
{
    size_t cols = (size_t)s->cfg.text.dim, n = (size_t)p->nb * cols;
    size_t i    = lv_find_nonfinite(x, LV_F32, LV_F32, n);

    return i == n ? 0 :
           lv_fail(s->msg, LV_ERR_MODEL, "%s: text encoder: features of piece %zu of the "
                   "%sprompt are not finite%s", s->files.path, i / cols,
                   p == &s->prompt[LV_UNCOND] ? "negative " : "",
                   s->dtype == LV_F32 ? "" : "; precision f32 may keep them finite");
}

/* ids to features x[nb,dim]: from the cache, or by the encoder. */
static int features(LvSession *s, const LvPrompt *p, float *x)
{
    const LvDeviceFns *fn = s->dev->fn;
    size_t bytes = sizeof(*x) * (size_t)p->nb * (size_t)s->cfg.text.dim;
    void *dev[2] = { NULL, NULL };
    int ret = 0;

    if (lv_cache_load(s, p->ids, p->nb, x))
        return 0;
    for (int i = 0; i < 2 && ret >= 0; i++)
        ret = lv_device_alloc(s->dev, &dev[i], bytes, "text");
    if (ret >= 0)
        ret = run_encoder(s, p, x, dev);
    if (ret >= 0)
        ret = check_features(s, p, x);
    for (int i = 0; i < 2; i++)
        fn->free(s->dev, dev[i]);
    if (ret >= 0)
        lv_cache_store(s, p->ids, p->nb, x);
    return ret;
}

/* ids to context; zero rows stay behind the features. */
static int encode(LvSession *s, LvPrompt *p)
{
    size_t n = sizeof(float) * (size_t)s->cfg.dit.text_len * (size_t)s->cfg.dit.text_dim;
    float *x = lv_alloc(n);
    int ret  = x ? features(s, p, x) : lv_fail(s->msg, LV_ERR(ENOMEM),
                                               "text: out of memory");

    if (ret >= 0)
        ret = s->dev->fn->upload(s->dev, p->context, x, n);
    lv_free(x);
    return ret;
}

int lv_text_encode(LvSession *s)
{
    double start = lv_seconds();
    int ret = 0;

    for (int i = 0; i < s->branches && ret >= 0; i++) {
        LvPrompt *p = &s->prompt[i];
        if (!p->stale || (ret = encode(s, p)) < 0)
            continue;
        p->stale    = 0;
        p->kv_stale = 1;
    }
    s->seconds[LV_STAGE_TEXT] += lv_seconds() - start;
    return ret;
}

/* The network's text side */

/* What the encoder takes: a layer with its weights, over as long a prompt as there can
 * be. */
static int plan_encoder(LvSession *s)
{
    size_t row = sizeof(float) * (size_t)s->cfg.text.dim, rows = (size_t)s->cfg.dit.text_len;
    LvWeights *w = NULL;
    LvNet net    = { 0 };
    LvTensor x, y;
    int ret = lv_text_weights(s, 1, &w);

    if (ret >= 0)
        ret = lv_umt5_bind_block(&s->text, 0, w, s->files.text.prefix);
    if (ret >= 0)
        ret = plan_layer(s, 0, (int)rows, &net, &x, &y);
    if (ret >= 0)
        s->text_bytes = net.sizes.arena + net.sizes.weights + lv_weights_bytes(w) +
                        net.sizes.thread * (size_t)s->dev->threads + 3 * rows * row;
    lv_program_free(&net.prog);
    lv_weights_free(&w);
    return ret;
}

static int plan_side(LvSession *s)
{
    const int shape[] = { s->cfg.dit.text_len, s->cfg.dit.text_dim };
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "text: out of memory");
    s->context_in = lv_external(g, "context", LV_F32, 2, shape);
    lv_dit_trace_text(g, &s->dit, s->context_in, s->dtype, &s->side_out);
    return lv_net_plan(&s->side, &g, s->dev);
}

int lv_text_plan(LvSession *s)
{
    int ret = plan_encoder(s);

    return ret < 0 ? ret : plan_side(s);
}

static size_t kv_layer_bytes(const LvSession *s)
{
    return LV_ROUND_UP((size_t)s->cfg.dit.text_len * s->cfg.dit.dim *
                       lv_dtype_size(s->dtype), LV_ALIGN);
}

size_t lv_text_kv_bytes(const LvSession *s)
{
    return 2 * kv_layer_bytes(s) * (size_t)s->cfg.dit.layers;
}

static void bind_kv(LvSession *s, LvProgram *prog, const LvDitInputs *to,
                    const LvPrompt *p)
{
    size_t bytes = kv_layer_bytes(s);

    for (int i = 0; i < s->cfg.dit.layers; i++) {
        lv_program_bind(prog, to->k[i], (char *)p->kv + 2 * (size_t)i * bytes);
        lv_program_bind(prog, to->v[i], (char *)p->kv + (2 * (size_t)i + 1) * bytes);
    }
}

void lv_text_bind(LvSession *s, int branch)
{
    bind_kv(s, s->net.prog, &s->in, &s->prompt[branch]);
}

int lv_text_run(LvSession *s)
{
    double start;
    int ret = lv_text_encode(s);

    start = lv_seconds();
    for (int i = 0; i < s->branches && ret >= 0; i++) {
        LvPrompt *p = &s->prompt[i];
        if (!p->kv_stale)
            continue;
        lv_program_bind(s->side.prog, s->context_in, p->context);
        bind_kv(s, s->side.prog, &s->side_out, p);
        ret = lv_program_run(s->side.prog, hook, s);
        p->kv_stale = ret < 0;
    }
    s->seconds[LV_STAGE_TEXT] += lv_seconds() - start;
    return ret;
}
