/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/autoencoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/grad.h"
#include "train/run/streams.h"

/* Frames with the repeated ones: of a clip no more than 1021, of a latent 512. */
enum { MAX_FRAMES = 1021 + 511 };

int lv_autoencoder_frames(const LvTrainConfig *cfg, int frames)
{
    return frames + lv_train_latent_frames(cfg) - 1;
}

/* Which frames of clip `index`: those in front for whole latents are extra. */
static LvSpan span_of(const LvTrainConfig *cfg, uint64_t index, const LvFlowShape *s)
{
    const LvVideoConfig *v = &cfg->model.video;
    int all = LV_MAX(v->frames, s->frames);
    uint64_t room = (uint64_t)(all - s->frames) + 1;

    return (LvSpan) { .width = s->width, .height = s->height, .frames = s->frames,
                      .first = (int)(index * 2654435761u % room), .all = all,
                      .rate = (double)v->rate_num / v->rate_den };
}

void lv_autoencoder_clip(const LvAutoencoder *a, float *rgb, uint64_t index, int held_out,
                         const LvFlowShape *shape)
{
    size_t frame = 3 * (size_t)shape->width * (size_t)shape->height;
    int before   = lv_train_latent_frames(a->cfg) - 1;
    LvSpan span  = span_of(a->cfg, index, shape);

    lv_stock_clip(&a->stock, index, held_out, &span, rgb + (size_t)before * frame);
    lv_codec_repeat(rgb, before, frame);
}

/* New runs */

typedef struct Design {
    const LvTrainConfig *cfg;
    LvTae tae;
} Design;

static int describe(void *opaque, LvWeights *w)
{
    Design *d = opaque;
    const LvTaeConfig *c = &d->cfg->model.vae;
    int ret = lv_tae_design(&d->tae, c, &d->cfg->design, 1, w, "vae.encoder.");

    return ret < 0 ? ret : lv_tae_design(&d->tae, c, &d->cfg->design, 0, w,
                                         "vae.decoder.");
}

int lv_autoencoder_create(const LvTrainConfig *cfg, const char *path, const char *from,
                          LvDevice *dev, const LvMsg *msg)
{
    Design *d = calloc(1, sizeof(*d));
    int ret   = LV_ERR(ENOMEM);

    if (d) {
        d->cfg = cfg;
        ret    = lv_trainer_create(path, &(LvNewRun) {
            .describe = describe, .opaque = d, .config = cfg->text, .from = from,
            .seed = (uint64_t)cfg->seed + LV_STREAM_INIT_AUTOENCODER }, dev, msg);
    }
    free(d);
    return ret;
}

/* Data: an item is a crop of a clip, then the noise of its latents */

typedef struct Sizes {
    int frames, rows, cols;   /* of a crop */
    size_t crop, latent;      /* elements */
} Sizes;

static Sizes sizes_of(const LvTrainConfig *cfg)
{
    int scale = lv_train_latent_scale(cfg);
    Sizes s = { .frames = lv_autoencoder_frames(cfg, cfg->autoencoder.frames),
                .rows = cfg->autoencoder.crop_height,
                .cols = cfg->autoencoder.crop_width };

    s.crop   = 3 * (size_t)s.frames * s.rows * s.cols;
    s.latent = (size_t)cfg->model.vae.channels *
               (s.frames / lv_train_latent_frames(cfg)) * (s.rows / scale) *
               (s.cols / scale);
    return s;
}

static void cut(float *dst, const float *clip, const LvTrainConfig *cfg, const double u[4])
{
    const LvVideoConfig *v = &cfg->model.video;
    Sizes s = sizes_of(cfg);
    int y0 = (int)(u[0] * (v->height - s.rows + 1)), x0 = (int)(u[1] * (v->width - s.cols + 1));

    for (int f = 0; f < s.frames; f++)
        for (int y = 0; y < s.rows; y++)
            memcpy(dst + 3 * ((size_t)f * s.rows + y) * s.cols,
                   clip + 3 * (((size_t)f * v->height + y0 + y) * v->width + x0),
                   3 * (size_t)s.cols * sizeof(*dst));
}

static int make_item(void *opaque, int step, int item, void *data, int thread)
{
    const LvAutoencoder *a = opaque;
    const LvTrainConfig *cfg = a->cfg;
    LvFlowShape shape = lv_train_video_shape(cfg);
    Sizes s     = sizes_of(cfg);
    float *dst  = (float *)data + (size_t)item * (s.crop + s.latent);
    float *clip = lv_alloc(3 * (size_t)s.frames * cfg->model.video.width *
                           cfg->model.video.height * sizeof(*clip));
    uint64_t seed = (uint64_t)cfg->seed;
    double u[4];

    (void)thread;
    shape.frames = cfg->autoencoder.frames;
    if (!clip)
        return LV_ERR(ENOMEM);
    lv_uniform4(u, seed, lv_stream(LV_STREAM_CROP, step, item));
    lv_autoencoder_clip(a, clip, (uint64_t)step * cfg->autoencoder.batch + (uint64_t)item, 0,
                        &shape);
    cut(dst, clip, cfg, u);
    lv_free(clip);
    lv_philox_normal(dst + s.crop, s.latent, seed,
                     lv_stream(LV_STREAM_LATENT_NOISE, step, item));
    for (size_t i = 0; i < s.latent; i++)
        dst[s.crop + i] *= cfg->autoencoder.noise;
    return 0;
}

/* One crop, forward and back */

static int trace(LvAutoencoder *a, LvGraph *g)
{
    const LvTrainConfig *cfg = a->cfg;
    Sizes s = sizes_of(cfg);
    const int shape[] = { s.frames, s.rows, s.cols, 3 };
    LvGradTarget *target = calloc((size_t)a->trainer->params->nb + 1, sizeof(*target));
    LvTensor z, y, dy, dz;
    int ret;

    if (!target)
        return lv_fail(a->trainer->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_graph_train(g, 0);
    a->x        = lv_external(g, "frames", LV_F32, 4, shape);
    a->weight   = lv_external(g, "weight", LV_F32, 1, shape);
    a->z_weight = lv_external(g, "penalty", LV_F32, 1, (const int[]) { 1 });
    z           = lv_tae_trace_encoder(g, &a->tae, a->x, a->dtype, &a->memory[0]);
    a->noise    = lv_external(g, "noise", LV_F32, 4, z.dim);
    a->zero     = lv_external(g, "zero", LV_F32, 4, z.dim);
    y           = lv_add(g, z, a->noise);
    y           = lv_tae_trace_decoder(g, &a->tae, y, a->dtype, &a->memory[1]);
    a->loss     = lv_loss(g, y, a->x, a->weight, LV_LOSS_MSE, LV_F32, &dy);
    a->z_loss   = lv_loss(g, z, a->zero, a->z_weight, LV_LOSS_MSE, LV_F32, &dz);
    lv_output(g, a->loss, "loss");
    lv_output(g, a->z_loss, "latent loss");
    lv_params_targets(a->trainer->params, target);
    ret = lv_grad(g, (LvGradSeed[]) { { y, dy }, { z, dz } }, 2, target,
                  a->trainer->params->nb);
    free(target);
    return ret;
}

static int list_memory(LvTensor **list, int nb, LvTaeState memory[2])
{
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < memory[k].nb; i++)
            list[nb++] = &memory[k].t[i];
    return nb;
}

/* Weights of the losses: frames in front that are repeated count for nothing. */
static int put_weights(LvAutoencoder *a)
{
    const LvAutoencoderConfig *c = &a->cfg->autoencoder;
    int frames = a->x.dim[0], before = lv_train_latent_frames(a->cfg) - 1;
    float weight[MAX_FRAMES] = { 0 }, penalty = c->penalty / (float)c->batch;
    int ret;

    for (int i = before; i < frames; i++)
        weight[i] = 1 / (float)((frames - before) * c->batch);
    ret = lv_task_put(&a->task, &a->weight, weight);
    return ret < 0 ? ret : lv_task_put(&a->task, &a->z_weight, &penalty);
}

static int plan(LvAutoencoder *a, int threads)
{
    LvTensor *list[7 + 2 * LV_TAE_MAX_LAYERS] = {
        &a->x, &a->noise, &a->zero, &a->weight, &a->z_weight, &a->loss, &a->z_loss };
    LvTrainer *t = a->trainer;
    LvGraph *g   = lv_graph_new(t->msg);
    Sizes s      = sizes_of(a->cfg);
    int batch    = a->cfg->autoencoder.batch, ret;

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = trace(a, g)) < 0) {
        lv_graph_free(&g);
        return ret;
    }
    if ((ret = lv_task_new(&a->task, &g, list, list_memory(list, 7, a->memory), t->dev,
                           t->msg)) < 0 ||
        (ret = put_weights(a)) < 0)
        return ret;
    return lv_feeder_new(&a->feeder, batch, (size_t)batch * (s.crop + s.latent) *
                         sizeof(float), threads, make_item, a, t->dev);
}

int lv_autoencoder_open(LvAutoencoder **out, const LvTrainConfig *cfg, const char *path,
                        int train, LvDtype dtype, int threads, LvDevice *dev,
                        const LvMsg *msg)
{
    LvAutoencoder *a = *out = calloc(1, sizeof(*a));
    int ret;

    if (!a)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    a->cfg   = cfg;
    a->dtype = dtype;
    if ((ret = lv_stock_open(&a->stock, cfg->data.clips, cfg->data.art, 1,
                             (uint64_t)cfg->seed, msg)) < 0 ||
        (ret = lv_trainer_open(&a->trainer, path, &cfg->autoencoder.optim, dev, msg)) < 0 ||
        (ret = lv_tae_bind(&a->tae, &cfg->model.vae, 1, a->trainer->weights,
                           "vae.encoder.")) < 0 ||
        (ret = lv_tae_bind(&a->tae, &cfg->model.vae, 0, a->trainer->weights,
                           "vae.decoder.")) < 0 ||
        (ret = lv_trainer_ready(a->trainer)) < 0 ||
        (ret = train ? plan(a, threads) : lv_trainer_swap(a->trainer)) < 0)
        lv_autoencoder_close(out);
    return ret;
}

void lv_autoencoder_close(LvAutoencoder **out)
{
    LvAutoencoder *a = *out;

    if (!a)
        return;
    lv_feeder_free(&a->feeder);
    lv_task_free(&a->task);
    lv_trainer_close(&a->trainer);
    lv_stock_close(&a->stock);
    free(a);
    *out = NULL;
}

static int run_item(LvAutoencoder *a, const float *data)
{
    Sizes s = sizes_of(a->cfg);
    float loss[MAX_FRAMES], z_loss;
    int ret;

    if ((ret = lv_task_put(&a->task, &a->x, data)) < 0 ||
        (ret = lv_task_put(&a->task, &a->noise, data + s.crop)) < 0 ||
        (ret = lv_task_run(&a->task)) < 0 ||
        (ret = lv_task_get(&a->task, &a->loss, loss)) < 0 ||
        (ret = lv_task_get(&a->task, &a->z_loss, &z_loss)) < 0)
        return ret;
    for (int i = 0; i < s.frames; i++)
        a->mse += loss[i];
    a->z_square += z_loss;
    return 0;
}

int lv_autoencoder_step(LvAutoencoder *a)
{
    const LvAutoencoderConfig *c = &a->cfg->autoencoder;
    Sizes s = sizes_of(a->cfg);
    void *data;
    int ret = lv_feeder_get(a->feeder, a->trainer->step, &data);

    a->mse = a->z_square = 0;
    if (ret < 0 || (ret = lv_trainer_begin(a->trainer)) < 0)
        return ret;
    for (int i = 0; i < c->batch && ret >= 0; i++)
        ret = run_item(a, (float *)data + (size_t)i * (s.crop + s.latent));
    if (c->penalty > 0)
        a->z_square /= c->penalty;
    return ret < 0 ? ret : lv_trainer_update(a->trainer);
}

/* Use */

int lv_autoencoder_codec(LvCodec *c, const LvAutoencoder *a, int decode,
                         const LvFlowShape *shape)
{
    const int size[] = { lv_autoencoder_frames(a->cfg, shape->frames), shape->height,
                         shape->width };

    return lv_codec_new(c, &a->tae, size, a->dtype, decode, a->trainer->dev,
                        a->trainer->msg);
}

int lv_autoencoder_psnr(const LvAutoencoder *a, int clips, double *psnr)
{
    LvFlowShape shape = lv_train_video_shape(a->cfg);
    size_t frame = 3 * (size_t)shape.width * (size_t)shape.height;
    size_t n     = (size_t)lv_autoencoder_frames(a->cfg, shape.frames) * frame;
    size_t skip  = (size_t)(lv_train_latent_frames(a->cfg) - 1) * frame;
    float *x = lv_alloc(2 * n * sizeof(*x)), *y = x + n;
    LvCodec c  = { 0 };
    double sum = 0;
    int ret = x ? lv_autoencoder_codec(&c, a, 1, &shape) : LV_ERR(ENOMEM);

    for (int i = 0; i < clips && ret >= 0; i++) {
        lv_autoencoder_clip(a, x, (uint64_t)i, 1, &shape);
        ret = lv_codec_run(&c, x, NULL, y);
        sum += lv_codec_error(x + skip, y + skip, n - skip) / clips;
    }
    *psnr = -10 * log10(LV_MAX(sum, 1e-30));
    lv_codec_free(&c);
    lv_free(x);
    return ret;
}
