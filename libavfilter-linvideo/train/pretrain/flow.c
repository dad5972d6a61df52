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
#include "train/clips/caption.h"
#include "train/clips/scene.h"
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

int lv_flow_create(const LvTrainConfig *cfg, const char *path, LvDevice *dev,
                   const LvMsg *msg)
{
    Nets *n = calloc(1, sizeof(*n));
    int ret;

    if (!n)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    n->cfg = &cfg->model;
    ret    = lv_trainer_create(path, &(LvNewRun) {
        .describe = describe, .opaque = n, .config = cfg->text,
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

/* Elements of a micro-batch's parts, in the order of LvFlowBatch. */
static size_t lay_out(const LvFlow *f, void *data, LvFlowBatch *b)
{
    size_t n = (size_t)f->cfg->flow.micro, x = n * f->latents.size;
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
static void put_latents(const LvFlow *f, const LvFlowBatch *b, int at, int clip, float t)
{
    size_t n = f->latents.size;
    const uint16_t *src = f->latents.data + (size_t)clip * n;
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
    uint64_t seed = (uint64_t)f->cfg->seed;
    int at = item % c->micro, clip;
    char caption[LV_CAPTION_SIZE] = "";
    LvFlowBatch b;
    LvScene scene;
    double u[4];

    (void)thread;
    if (!lv_group_has(f->trainer->dev, item / c->micro))
        return 0;
    lay_out(f, (float *)data + (size_t)(item / c->micro) * lay_out(f, data, &b), &b);
    lv_uniform4(u, seed, lv_stream(LV_STREAM_SAMPLE, step, item));
    clip = LV_MIN((int)(u[0] * f->latents.clips), f->latents.clips - 1);
    if (u[1] >= c->dropout) {
        lv_scene_draw(&scene, seed, (uint64_t)clip, 0);
        lv_caption_write(caption, sizeof(caption), &scene, seed,
                         lv_stream(LV_STREAM_CAPTION, step, item));
    }
    b.t[at]      = draw_time(c, seed, lv_stream(LV_STREAM_SAMPLE, step, item) + (1 << 23));
    b.weight[at] = 1 / (float)c->batch;
    lv_philox_normal(b.target + (size_t)at * f->latents.size, f->latents.size, seed,
                     lv_stream(LV_STREAM_NOISE, step, item));
    put_latents(f, &b, at, clip, b.t[at]);
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

static int trace(LvFlow *f, LvGraph *g, int checkpoint)
{
    const int batch = f->cfg->flow.micro, text = batch * f->cfg->model.dit.text_len;
    LvGradTarget *target = calloc((size_t)f->trainer->params->nb + 1, sizeof(*target));
    LvTensor v, dv;
    int size[3], ret;

    if (!target)
        return lv_fail(f->trainer->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_train_latent_size(f->cfg, size);
    lv_graph_train(g, checkpoint);
    lv_dit_batch_inputs(g, &f->dit, size, batch, &f->in);
    f->ids      = lv_external(g, "ids", LV_I32, 1, &text);
    f->rows     = lv_external(g, "rows", LV_I32, 1, &text);
    f->key_bias = lv_external(g, "key bias", LV_F32, 1, &text);
    f->target   = lv_external(g, "target", LV_F32, 5, f->in.latent.dim);
    f->weight   = lv_external(g, "weight", LV_F32, 1, &batch);
    v = lv_flow_trace(g, &f->text, &f->dit, &f->in, f->ids, f->rows, f->key_bias, f->dtype);
    f->loss = lv_loss(g, v, f->target, f->weight, LV_LOSS_MSE, LV_F32, &dv);
    lv_output(g, f->loss, "loss");
    lv_params_targets(f->trainer->params, target);
    ret = lv_grad(g, &(LvGradSeed) { v, dv }, 1, target, f->trainer->params->nb);
    free(target);
    return ret;
}

static int put_rope(LvFlow *f)
{
    float *table = lv_alloc(lv_tensor_bytes(&f->in.rope));
    int size[3], ret;

    if (!table)
        return lv_fail(f->trainer->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_train_latent_size(f->cfg, size);
    lv_dit_rope(table, &f->cfg->model.dit, size);
    ret = lv_task_put(&f->task, &f->in.rope, table);
    lv_free(table);
    return ret;
}

static int plan(LvFlow *f, int checkpoint, int threads)
{
    LvTensor *const list[] = { &f->in.latent, &f->in.t, &f->in.rope, &f->ids, &f->rows,
                               &f->key_bias, &f->target, &f->weight, &f->loss };
    const LvFlowConfig *c = &f->cfg->flow;
    LvTrainer *t = f->trainer;
    LvGraph *g   = lv_graph_new(t->msg);
    LvFlowBatch b;
    int ret;

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = lv_trainer_split(t, c->batch / c->micro, "flow.batch")) < 0 ||
        (ret = trace(f, g, checkpoint)) < 0) {
        lv_graph_free(&g);
        return ret;
    }
    if ((ret = lv_task_new(&f->task, &g, list, LV_COUNT(list), t->dev, t->msg)) < 0 ||
        (ret = put_rope(f)) < 0)
        return ret;
    return lv_feeder_new(&f->feeder, c->batch, (size_t)(c->batch / c->micro) *
                         lay_out(f, NULL, &b) * sizeof(float), threads, make_item, f,
                         t->dev);
}

/* Captions of training, a good part of them, must fit into text_len. */
static int check_captions(const LvFlow *f)
{
    uint64_t seed = (uint64_t)f->cfg->seed;
    int32_t ids[LV_CAPTION_SIZE];
    char caption[LV_CAPTION_SIZE];
    LvScene scene;
    int ret = 0;

    for (int i = 0; i < CAPTIONS && ret >= 0; i++) {
        lv_scene_draw(&scene, seed, (uint64_t)i, 0);
        lv_caption_write(caption, sizeof(caption), &scene, seed,
                         lv_stream(LV_STREAM_CAPTION, 0, i));
        ret = lv_tokenizer_encode(f->tokenizer, caption, ids, f->cfg->model.dit.text_len,
                                  f->trainer->msg);
    }
    return LV_MIN(ret, 0);
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
    if ((ret = lv_trainer_open(&f->trainer, files->run, &cfg->flow.optim, dev, msg)) < 0 ||
        (ret = bind(&f->dit, &f->text, &cfg->model, f->trainer->weights)) < 0 ||
        (ret = lv_trainer_ready(f->trainer)) < 0 ||
        (ret = lv_flow_tokenizer(&f->tokenizer, files->tokenizer, msg)) < 0 ||
        (ret = check_tokenizer(f, files->tokenizer)) < 0 ||
        (train && (ret = check_captions(f)) < 0) ||
        (train && (ret = lv_latents_open(&f->latents, cfg, files->latents, msg)) < 0) ||
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
    lv_task_free(&f->task);
    lv_dit_free(&f->dit);
    lv_umt5_free(&f->text);
    lv_latents_close(&f->latents);
    lv_tokenizer_close(&f->tokenizer);
    lv_trainer_close(&f->trainer);
    free(f);
    *out = NULL;
}

static int run_micro(LvFlow *f, const LvFlowBatch *b)
{
    const struct { const LvTensor *t; const void *data; } given[] = {
        { &f->in.latent, b->latent }, { &f->in.t, b->t }, { &f->ids, b->ids },
        { &f->rows, b->rows }, { &f->key_bias, b->key_bias }, { &f->target, b->target },
        { &f->weight, b->weight },
    };
    float loss[1024];
    int ret = 0;

    for (int i = 0; i < LV_COUNT(given) && ret >= 0; i++)
        ret = lv_task_put(&f->task, given[i].t, given[i].data);
    if (ret < 0 || (ret = lv_task_run(&f->task)) < 0 ||
        (ret = lv_task_get(&f->task, &f->loss, loss)) < 0)
        return ret;
    for (int i = 0; i < f->cfg->flow.micro; i++)
        f->mse += loss[i];
    return 0;
}

int lv_flow_step(LvFlow *f)
{
    const LvFlowConfig *c = &f->cfg->flow;
    LvFlowBatch b;
    void *data;
    int ret = lv_feeder_get(f->feeder, f->trainer->step, &data);

    f->mse = 0;
    if (ret < 0 || (ret = lv_trainer_begin(f->trainer)) < 0)
        return ret;
    for (int i = 0; i < c->batch / c->micro && ret >= 0; i++) {
        if (!lv_group_has(f->trainer->dev, i))
            continue;
        lay_out(f, (float *)data + (size_t)i * lay_out(f, data, &b), &b);
        ret = run_micro(f, &b);
    }
    if (ret < 0 || (ret = lv_trainer_sum(f->trainer, &f->mse, 1)) < 0)
        return ret;
    return lv_trainer_update(f->trainer);
}

double lv_flow_flops(const LvFlow *f)
{
    return lv_program_sizes(f->task.prog).flops * (f->cfg->flow.batch / f->cfg->flow.micro);
}
