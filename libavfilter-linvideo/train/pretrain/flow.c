/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/map.h"
#include "graph/grad.h"
#include "graph/program.h"
#include "train/run/streams.h"

/* Captions tried before a run begins. */
enum { CAPTIONS = 4096 };

/* New runs */

typedef struct Nets {
    const LvModelConfig *cfg;
    LvDit dit;
    LvUmt5 text;
} Nets;

static int bind(LvDit *dit, LvUmt5 *text, const LvModelConfig *cfg, LvWeights *w)
{
    int ret = lv_umt5_bind(text, &cfg->text, w, "text.");

    return ret < 0 ? ret : lv_dit_bind(dit, &cfg->dit, w, "dit.");
}

static int describe(void *opaque, LvWeights *w)
{
    Nets *n = opaque;

    return bind(&n->dit, &n->text, n->cfg, w);
}

int lv_flow_create(const LvTrainConfig *cfg, const char *path, const char *from,
                   LvDevice *dev, const LvMsg *msg)
{
    Nets *n = calloc(1, sizeof(*n));
    int ret;

    if (!n)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    n->cfg = &cfg->model;
    ret    = lv_trainer_create(path, &(LvNewRun) {
        .describe = describe, .opaque = n, .config = cfg->text, .from = from,
        .seed = (uint64_t)cfg->seed + LV_STREAM_INIT_FLOW }, dev, msg);
    lv_dit_free(&n->dit);
    lv_umt5_free(&n->text);
    free(n);
    return ret;
}

int lv_flow_tokenizer(LvTokenizer **t, const char *path, const LvMsg *msg)
{
    LvMap map;
    int ret = lv_map_open(&map, path, msg);

    *t = NULL;
    if (ret < 0)
        return ret;
    ret = lv_tokenizer_open(t, map.data, map.size, msg);
    lv_map_close(&map);
    return ret;
}

/* Data: an item is a sample */

static const LvFlowShape *shape_at(const LvFlow *f, int step)
{
    return &f->cfg->flow.shape[step % f->cfg->flow.shapes];
}

static const LvFlowMicro *micro_at(const LvFlow *f, int step)
{
    return &f->micro[step % f->cfg->flow.shapes];
}

/* Elements of a micro-batch's parts, in the order of LvFlowBatch. */
static size_t lay_out(const LvFlow *f, int step, void *data, LvFlowBatch *b)
{
    size_t n = (size_t)shape_at(f, step)->micro, x = n * micro_at(f, step)->latents.size;
    size_t text = n * (size_t)f->cfg->model.dit.text_len;
    float *p = data;

    b->latent   = p;
    b->target   = p += x;
    b->t        = p += x;
    b->weight   = p += n;
    b->key_bias = p += n;
    b->ids      = (int32_t *)(void *)(p += text);
    b->rows     = (int32_t *)(void *)(p += text);
    return 2 * x + 2 * n + 3 * text;
}

/* Micro-batch number i of a step's data. */
static void part_of(const LvFlow *f, int step, int i, void *data, LvFlowBatch *b)
{
    lay_out(f, step, (float *)data + (size_t)i * lay_out(f, step, data, b), b);
}

/* Logistic of a normal number, then shifted towards noise. */
static float draw_time(const LvFlowConfig *c, uint64_t seed, uint64_t stream)
{
    float z[4];
    double t;

    lv_philox_normal(z, 4, seed, stream);
    t = 1 / (1 + exp(-(c->t_mean + c->t_std * (double)z[0])));
    return (float)(c->shift * t / (1 + (c->shift - 1) * t));
}

static int put_text(const LvFlow *f, const LvFlowBatch *b, int at, const char *caption)
{
    int len = f->cfg->model.dit.text_len, first = at * len;
    int nb  = lv_tokenizer_encode(f->tokenizer, caption, b->ids + first, len,
                                  f->trainer->msg);

    if (nb < 0)
        return nb;
    for (int i = 0; i < len; i++) {
        if (i >= nb)
            b->ids[first + i] = 0;
        b->rows[first + i]     = i < nb ? first + i : -1;
        b->key_bias[first + i] = i < nb ? 0 : -INFINITY;
    }
    return 0;
}

/* x_t and the velocity, of clip number `clip` and the noise in target. */
static void put_latents(const LvLatents *l, const LvFlowBatch *b, int at, int clip, float t)
{
    size_t n = l->size;
    const uint16_t *src = l->data + (size_t)clip * n;
    float *x = b->latent + (size_t)at * n, *v = b->target + (size_t)at * n;

    for (size_t i = 0; i < n; i++) {
        float x0 = lv_f16_f32(src[i]);
        x[i] = (1 - t) * x0 + t * v[i];
        v[i] = v[i] - x0;
    }
}

static int make_item(void *opaque, int step, int item, void *data, int thread)
{
    const LvFlow *f = opaque;
    const LvFlowConfig *c = &f->cfg->flow;
    const LvLatents *l = &micro_at(f, step)->latents;
    uint64_t seed = (uint64_t)f->cfg->seed, stream = lv_stream(LV_STREAM_SAMPLE, step, item);
    int micro = shape_at(f, step)->micro, at = item % micro, clip;
    char caption[LV_STOCK_CAPTION_SIZE] = "";
    LvFlowBatch b;
    double u[4];

    (void)thread;
    if (item / micro >= c->batch / c->micro || !lv_group_has(f->trainer->dev, item / micro))
        return 0;
    part_of(f, step, item / micro, data, &b);
    lv_uniform4(u, seed, stream);
    clip = LV_MIN((int)(u[0] * l->clips), l->clips - 1);
    if (u[1] >= c->dropout)
        lv_stock_caption(&f->stock, (uint64_t)clip, 0,
                         lv_stream(LV_STREAM_CAPTION, step, item), caption, sizeof(caption));
    b.t[at]      = draw_time(c, seed, stream + (1 << 23));
    b.weight[at] = 1 / (float)(micro * (c->batch / c->micro));
    lv_philox_normal(b.target + (size_t)at * l->size, l->size, seed,
                     lv_stream(LV_STREAM_NOISE, step, item));
    put_latents(l, &b, at, clip, b.t[at]);
    b.t[at] *= 1000;
    return put_text(f, &b, at, caption);
}

/* A micro-batch, forward and back */

LvTensor lv_flow_trace(LvGraph *g, const LvUmt5 *text, const LvDit *dit, LvDitInputs *in,
                       LvTensor ids, LvTensor rows, LvTensor key_bias, LvDtype dtype)
{
    LvTensor x = lv_umt5_trace_batch(g, text, ids, key_bias, in->t.dim[0], dtype);

    x = lv_embed(g, rows, x, LV_F32);
    return lv_dit_trace_batch(g, dit, x, LV_NO_TENSOR, in, dtype, NULL);
}

static int trace(LvFlow *f, int i, LvGraph *g, int checkpoint)
{
    const LvFlowShape *shape = &f->cfg->flow.shape[i];
    const int batch = shape->micro, text = batch * f->cfg->model.dit.text_len;
    LvGradTarget *target = calloc((size_t)f->trainer->params->nb + 1, sizeof(*target));
    LvFlowMicro *m = &f->micro[i];
    LvTensor v, dv;
    int size[3], ret;

    if (!target)
        return lv_fail(f->trainer->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_train_shape_size(f->cfg, shape, size);
    lv_graph_train(g, checkpoint);
    lv_dit_batch_inputs(g, &f->dit, size, batch, &m->in);
    m->ids      = lv_external(g, "ids", LV_I32, 1, &text);
    m->rows     = lv_external(g, "rows", LV_I32, 1, &text);
    m->key_bias = lv_external(g, "key bias", LV_F32, 1, &text);
    m->target   = lv_external(g, "target", LV_F32, 5, m->in.latent.dim);
    m->weight   = lv_external(g, "weight", LV_F32, 1, &batch);
    v = lv_flow_trace(g, &f->text, &f->dit, &m->in, m->ids, m->rows, m->key_bias, f->dtype);
    m->loss = lv_loss(g, v, m->target, m->weight, LV_LOSS_MSE, LV_F32, &dv);
    lv_output(g, m->loss, "loss");
    lv_params_targets(f->trainer->params, target);
    ret = lv_grad(g, &(LvGradSeed) { v, dv }, 1, target, f->trainer->params->nb);
    free(target);
    return ret;
}

static int put_rope(LvFlow *f, int i)
{
    LvFlowMicro *m = &f->micro[i];
    float *table = lv_alloc(lv_tensor_bytes(&m->in.rope));
    int size[3], ret;

    if (!table)
        return lv_fail(f->trainer->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_train_shape_size(f->cfg, &f->cfg->flow.shape[i], size);
    lv_dit_rope(table, &f->cfg->model.dit, size);
    ret = lv_task_put(&m->task, &m->in.rope, table);
    lv_free(table);
    return ret;
}

static int plan_shape(LvFlow *f, int i, int checkpoint)
{
    LvFlowMicro *m = &f->micro[i];
    LvTensor *const list[] = { &m->in.latent, &m->in.t, &m->in.rope, &m->ids, &m->rows,
                               &m->key_bias, &m->target, &m->weight, &m->loss };
    LvTrainer *t = f->trainer;
    LvGraph *g   = lv_graph_new(t->msg);
    int ret;

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = trace(f, i, g, checkpoint)) < 0) {
        lv_graph_free(&g);
        return ret;
    }
    ret = lv_task_new(&m->task, &g, list, LV_COUNT(list), t->dev, t->msg);
    return ret < 0 ? ret : put_rope(f, i);
}

static int plan(LvFlow *f, int checkpoint, int threads)
{
    const LvFlowConfig *c = &f->cfg->flow;
    int parts = c->batch / c->micro, items = 0;
    int ret = lv_trainer_split(f->trainer, parts, "flow.batch");
    size_t elements = 0;
    LvFlowBatch b;

    for (int i = 0; i < c->shapes && ret >= 0; i++) {
        ret      = plan_shape(f, i, checkpoint);
        items    = LV_MAX(items, parts * c->shape[i].micro);
        elements = LV_MAX(elements, (size_t)parts * lay_out(f, i, NULL, &b));
    }
    return ret < 0 ? ret : lv_feeder_new(&f->feeder, items, elements * sizeof(float), threads,
                                         make_item, f, f->trainer->dev);
}

/* Captions of training, a good part of them, must fit into text_len. */
static int check_captions(const LvFlow *f)
{
    int32_t ids[LV_STOCK_CAPTION_SIZE];
    char caption[LV_STOCK_CAPTION_SIZE];
    int ret = 0;

    for (int i = 0; i < CAPTIONS && ret >= 0; i++) {
        lv_stock_caption(&f->stock, (uint64_t)i, 0, lv_stream(LV_STREAM_CAPTION, 0, i),
                         caption, sizeof(caption));
        ret = lv_tokenizer_encode(f->tokenizer, caption, ids, f->cfg->model.dit.text_len,
                                  f->trainer->msg);
    }
    return LV_MIN(ret, 0);
}

static int open_latents(LvFlow *f, const LvFlowFiles *files)
{
    int ret = 0;

    for (int i = 0; i < f->cfg->flow.shapes && ret >= 0; i++)
        ret = lv_latents_open(&f->micro[i].latents, f->cfg, i, files->latents[i],
                              f->trainer->msg);
    return ret;
}

static int check_tokenizer(const LvFlow *f, const char *path)
{
    int has = lv_tokenizer_size(f->tokenizer), want = f->cfg->model.text.vocab;

    return has <= want ? 0 : lv_fail(f->trainer->msg, LV_ERR_MODEL, "%s: %d pieces, the "
                                     "recipe's text.vocab is %d", path, has, want);
}

int lv_flow_open(LvFlow **out, const LvTrainConfig *cfg, const LvFlowFiles *files, int train,
                 int checkpoint, LvDtype dtype, int threads, LvDevice *dev,
                 const LvMsg *msg)
{
    LvFlow *f = *out = calloc(1, sizeof(*f));
    int ret;

    if (!f)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    f->cfg   = cfg;
    f->dtype = dtype;
    if ((ret = lv_stock_open(&f->stock, cfg->data.clips, cfg->data.art, 0,
                             (uint64_t)cfg->seed, msg)) < 0 ||
        (ret = lv_trainer_open(&f->trainer, files->run, &cfg->flow.optim, dev, msg)) < 0 ||
        (ret = bind(&f->dit, &f->text, &cfg->model, f->trainer->weights)) < 0 ||
        (ret = lv_trainer_ready(f->trainer)) < 0 ||
        (ret = lv_flow_tokenizer(&f->tokenizer, files->tokenizer, msg)) < 0 ||
        (ret = check_tokenizer(f, files->tokenizer)) < 0 ||
        (train && (ret = check_captions(f)) < 0) ||
        (train && (ret = open_latents(f, files)) < 0) ||
        (ret = train ? plan(f, checkpoint, threads) : lv_trainer_swap(f->trainer)) < 0)
        lv_flow_close(out);
    return ret;
}

void lv_flow_close(LvFlow **out)
{
    LvFlow *f = *out;

    if (!f)
        return;
    lv_feeder_free(&f->feeder);
    for (int i = 0; i < LV_FLOW_SHAPES; i++) {
        lv_task_free(&f->micro[i].task);
        lv_latents_close(&f->micro[i].latents);
    }
    lv_dit_free(&f->dit);
    lv_umt5_free(&f->text);
    lv_stock_close(&f->stock);
    lv_tokenizer_close(&f->tokenizer);
    lv_trainer_close(&f->trainer);
    free(f);
    *out = NULL;
}

static int run_micro(LvFlow *f, const LvFlowBatch *b)
{
    const LvFlowMicro *m = micro_at(f, f->trainer->step);
    const struct { const LvTensor *t; const void *data; } given[] = {
        { &m->in.latent, b->latent }, { &m->in.t, b->t }, { &m->ids, b->ids },
        { &m->rows, b->rows }, { &m->key_bias, b->key_bias }, { &m->target, b->target },
        { &m->weight, b->weight },
    };
    float loss[1024];
    int ret = 0;

    for (int i = 0; i < LV_COUNT(given) && ret >= 0; i++)
        ret = lv_task_put(&m->task, given[i].t, given[i].data);
    if (ret < 0 || (ret = lv_task_run(&m->task)) < 0 ||
        (ret = lv_task_get(&m->task, &m->loss, loss)) < 0)
        return ret;
    for (int i = 0; i < shape_at(f, f->trainer->step)->micro; i++)
        f->mse += loss[i];
    return 0;
}

int lv_flow_step(LvFlow *f)
{
    const LvFlowConfig *c = &f->cfg->flow;
    int step = f->trainer->step;
    LvFlowBatch b;
    void *data;
    int ret = lv_feeder_get(f->feeder, step, &data);

    f->mse = 0;
    if (ret < 0 || (ret = lv_trainer_begin(f->trainer)) < 0)
        return ret;
    for (int i = 0; i < c->batch / c->micro && ret >= 0; i++) {
        if (!lv_group_has(f->trainer->dev, i))
            continue;
        part_of(f, step, i, data, &b);
        ret = run_micro(f, &b);
    }
    if (ret < 0 || (ret = lv_trainer_sum(f->trainer, &f->mse, 1)) < 0)
        return ret;
    return lv_trainer_update(f->trainer);
}

double lv_flow_flops(const LvFlow *f)
{
    return lv_program_sizes(f->micro[0].task.prog).flops *
           (f->cfg->flow.batch / f->cfg->flow.micro);
}
