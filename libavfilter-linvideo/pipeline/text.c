/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "text": prompt to ids to features to keys and values of every layer.
 */

#include <string.h>

#include "pipeline/session.h"

int lv_text_tokenize(LvSession *s, LvPrompt *p, const char *text)
{
    int max = s->cfg.dit.text_len, nb;
    int32_t ids[4096];

    nb = lv_tokenizer_encode(s->tokenizer, text, ids, max, s->msg);
    if (nb < 0)
        return nb;
    for (int i = 0; i < nb; i++)
        if (ids[i] < 0 || ids[i] >= s->cfg.text.vocab)
            return lv_fail(s->msg, LV_ERR_MODEL, "tokenizer gives id %d, the text "
                           "encoder knows %d", ids[i], s->cfg.text.vocab);
    memcpy(p->ids, ids, (size_t)nb * sizeof(*ids));
    p->nb    = nb;
    p->stale = 1;
    return 0;
}

int lv_text_plan(LvSession *s)
{
    const int shape[] = { s->cfg.dit.text_len, s->cfg.dit.text_dim };
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "text: out of memory");
    s->context_in = lv_external(g, "context", LV_F32, 2, shape);
    lv_dit_trace_text(g, &s->dit, s->context_in, s->dtype, &s->side_out);
    return lv_net_plan(&s->side, &g, s->dev);
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

/* The encoder, which is traced for the prompt's own length. */
static int plan_encoder(LvSession *s, const LvPrompt *p, LvNet *net, LvTensor *ids,
                        LvTensor *features)
{
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "text: out of memory");
    *ids      = lv_external(g, "ids", LV_I32, 1, &p->nb);
    *features = lv_umt5_trace(g, &s->text, *ids, s->dtype);
    lv_output(g, *features, "features");
    return lv_net_plan(net, &g, s->dev);
}

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    LvSession *s = opaque;

    (void)next;
    return lv_session_step(s, LV_STAGE_TEXT, index, count, 0, 0);
}

static int run_net(LvSession *s, LvNet *net, void *arena)
{
    int ret = lv_program_build(net->prog, arena);

    return ret < 0 ? ret : lv_program_run(net->prog, hook, s);
}

/* ids to context; zero rows stay behind the features. */
static int encode(LvSession *s, LvPrompt *p)
{
    size_t ids_bytes = (size_t)p->nb * sizeof(*p->ids);
    const LvDeviceFns *fn = s->dev->fn;
    LvTensor ids, features;
    LvNet net = { 0 };
    void *arena = NULL, *dev_ids = NULL;
    int ret = plan_encoder(s, p, &net, &ids, &features);

    if (ret < 0)
        return ret;
    if ((ret = lv_device_alloc(s->dev, &arena, net.sizes.arena, "text")) >= 0 &&
        (ret = lv_device_alloc(s->dev, &dev_ids, ids_bytes, "text")) >= 0)
        ret = fn->upload(s->dev, dev_ids, p->ids, ids_bytes);
    if (ret >= 0) {
        lv_program_bind(net.prog, ids, dev_ids);
        lv_program_bind(net.prog, features, p->context);
        ret = run_net(s, &net, arena);
    }
    lv_program_free(&net.prog);
    fn->free(s->dev, dev_ids);
    fn->free(s->dev, arena);
    return ret;
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

static int run_side(LvSession *s, LvPrompt *p)
{
    void *arena;
    int ret = lv_device_alloc(s->dev, &arena, s->side.sizes.arena, "text");

    if (ret < 0)
        return ret;
    lv_program_bind(s->side.prog, s->context_in, p->context);
    bind_kv(s, s->side.prog, &s->side_out, p);
    ret = run_net(s, &s->side, arena);
    s->dev->fn->free(s->dev, arena);
    return ret;
}

static int clear_context(LvSession *s, LvPrompt *p)
{
    size_t n = (size_t)s->cfg.dit.text_len * s->cfg.dit.text_dim * sizeof(float);
    void *zero = lv_alloc(n);
    int ret    = zero ? s->dev->fn->upload(s->dev, p->context, zero, n)
                      : lv_fail(s->msg, LV_ERR(ENOMEM), "text: out of memory");

    lv_free(zero);
    return ret;
}

int lv_text_run(LvSession *s)
{
    double start = lv_seconds();
    int ret = 0;

    for (int i = 0; i < s->branches && ret >= 0; i++) {
        LvPrompt *p = &s->prompt[i];
        if (!p->stale)
            continue;
        if ((ret = clear_context(s, p)) < 0 || (ret = encode(s, p)) < 0 ||
            (ret = run_side(s, p)) < 0)
            break;
        p->stale = 0;
    }
    lv_weights_forget(s->text_weights);
    s->seconds[LV_STAGE_TEXT] += lv_seconds() - start;
    return ret;
}
