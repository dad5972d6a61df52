/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/latents.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/sealed.h"

#define KEY "linvideo.latents"

enum { AT_ONCE = 16 }; /* clips rendered while others are encoded */

typedef struct Work {
    const LvAutoencoder *a;
    const LvFlowShape *shape;
    size_t pixels;          /* of a clip, as the encoder takes it */
    size_t size;            /* elements of a clip's latents */
    LvCodec codec;
    LvFeeder *feeder;
    float *z;
    uint16_t *all;          /* [clips][size] */
    double *sum, *square;   /* [C] */
} Work;

static void describe_set(char *buf, size_t size, const LvTrainConfig *cfg,
                         const LvFlowShape *s)
{
    snprintf(buf, size, "clips=%d seed=%d size=%dx%d frames=%d%s%s", s->clips, cfg->seed,
             s->width, s->height, s->frames, *cfg->data.clips ? " of=" : "",
             cfg->data.clips);
}

static int make_item(void *opaque, int step, int item, void *data, int thread)
{
    const Work *w = opaque;

    (void)thread;
    lv_autoencoder_clip(w->a, (float *)data + (size_t)item * w->pixels,
                        (uint64_t)step * AT_ONCE + (uint64_t)item, 0, w->shape);
    return 0;
}

/* [F,Y,X,C] to [C,F,Y,X] in f16; sums for mean and deviation. */
static void take(Work *w, int clip)
{
    int c = w->codec.z.dim[3];
    size_t places = w->size / (size_t)c;
    uint16_t *out = w->all + (size_t)clip * w->size;

    for (size_t i = 0; i < places; i++)
        for (int k = 0; k < c; k++) {
            double v = w->z[i * (size_t)c + (size_t)k];
            w->sum[k]    += v;
            w->square[k] += v * v;
            out[(size_t)k * places + i] = lv_f32_f16((float)v);
        }
}

static int encode(Work *w, const float *clip, int index)
{
    int ret = lv_codec_run(&w->codec, clip, w->z, NULL);

    if (ret >= 0)
        take(w, index);
    return ret;
}

static int encode_all(Work *w, LvLatentsProgress progress, void *opaque)
{
    int clips = w->shape->clips, ret = 0;

    for (int i = 0; i < clips && ret >= 0; i += AT_ONCE) {
        void *data;
        if ((progress && (ret = progress(opaque, i, clips)) < 0) ||
            (ret = lv_feeder_get(w->feeder, i / AT_ONCE, &data)) < 0)
            break;
        for (int k = 0; k < LV_MIN(AT_ONCE, clips - i) && ret >= 0; k++)
            ret = encode(w, (float *)data + (size_t)k * w->pixels, i + k);
    }
    return ret;
}

static void measure(const Work *w, float *mean, float *std)
{
    double n = (double)(w->size / (size_t)w->codec.z.dim[3]) * w->shape->clips;

    for (int k = 0; k < w->codec.z.dim[3]; k++) {
        mean[k] = (float)(w->sum[k] / n);
        std[k]  = (float)sqrt(LV_MAX(w->square[k] / n - (double)mean[k] * mean[k], 1e-12));
    }
}

static void normalise(Work *w, const float *mean, const float *std)
{
    int c = w->codec.z.dim[3], clips = w->shape->clips;
    size_t places = w->size / (size_t)c;

    for (int i = 0; i < clips * c; i++) {
        uint16_t *z = w->all + (size_t)i * places;
        for (size_t k = 0; k < places; k++)
            z[k] = lv_f32_f16((lv_f16_f32(z[k]) - mean[i % c]) / std[i % c]);
    }
}

static int write_set(const Work *w, const char *path, const float *mean, const float *std)
{
    const LvTensor *z = &w->codec.z;
    int clips = w->shape->clips, c = z->dim[3];
    LvFileTensor list[] = {
        { .name = "latents", .dtype = LV_F16, .rank = 5, .numel = w->size * (size_t)clips,
          .dim = { clips, c, z->dim[0], z->dim[1], z->dim[2] }, .data = w->all,
          .size = 2 * w->size * (size_t)clips },
        { .name = "mean", .dtype = LV_F32, .rank = 1, .dim = { c }, .numel = (size_t)c,
          .data = mean, .size = 4 * (size_t)c },
        { .name = "std", .dtype = LV_F32, .rank = 1, .dim = { c }, .numel = (size_t)c,
          .data = std, .size = 4 * (size_t)c },
    };
    char about[256];
    const char *meta[] = { KEY, about, NULL };

    describe_set(about, sizeof(about), w->a->cfg, w->shape);
    return lv_sealed_write(path, list, LV_COUNT(list), meta, w->a->trainer->msg);
}

static int start(Work *w, int threads)
{
    const LvFlowShape *s = w->shape;
    const LvMsg *msg = w->a->trainer->msg;
    int ret = lv_autoencoder_codec(&w->codec, w->a, 0, s);

    if (ret < 0)
        return ret;
    w->pixels = 3 * (size_t)lv_autoencoder_frames(w->a->cfg, s->frames) * (size_t)s->width *
                (size_t)s->height;
    w->size   = lv_tensor_numel(&w->codec.z);
    w->z      = lv_alloc(w->size * sizeof(*w->z));
    w->all    = lv_alloc(w->size * (size_t)s->clips * sizeof(*w->all));
    w->sum    = lv_alloc(2 * LV_MAX_CHANNELS * sizeof(*w->sum));
    if (!w->z || !w->all || !w->sum)
        return lv_fail(msg, LV_ERR(ENOMEM), "latents: no memory for %d clips", s->clips);
    w->square = w->sum + LV_MAX_CHANNELS;
    return lv_feeder_new(&w->feeder, AT_ONCE, AT_ONCE * w->pixels * sizeof(float), threads,
                         make_item, w, w->a->trainer->dev);
}

int lv_latents_create(const LvAutoencoder *a, int shape, const LvLatents *first,
                      const char *path, int threads, LvLatentsProgress progress,
                      void *opaque)
{
    Work w = { .a = a, .shape = &a->cfg->flow.shape[shape] };
    float own[2][LV_MAX_CHANNELS];
    const float *mean = first ? first->mean : own[0], *std = first ? first->std : own[1];
    int ret = start(&w, threads);

    if (ret >= 0 && (ret = encode_all(&w, progress, opaque)) >= 0) {
        measure(&w, own[0], own[1]);
        normalise(&w, mean, std);
        ret = write_set(&w, path, mean, std);
    }
    lv_feeder_free(&w.feeder);
    lv_codec_free(&w.codec);
    lv_free(w.z);
    lv_free(w.all);
    lv_free(w.sum);
    return ret;
}

static int fits(const LvFileTensor *t, int dtype, size_t numel)
{
    return t && (int)t->dtype == dtype && t->numel == numel &&
           (uintptr_t)t->data % lv_dtype_size(t->dtype) == 0;
}

int lv_latents_open(LvLatents *l, const LvTrainConfig *cfg, int shape, const char *path,
                    const LvMsg *msg)
{
    const LvFlowShape *s = &cfg->flow.shape[shape];
    static const char *const keys[] = { KEY, NULL };
    const LvFileTensor *data, *mean, *std;
    size_t c = (size_t)cfg->model.vae.channels;
    const char *has;
    char want[256];
    int size[3], ret;

    memset(l, 0, sizeof(*l));
    if ((ret = lv_safetensors_open(&l->file, path, msg)) < 0)
        return ret;
    lv_train_shape_size(cfg, s, size);
    l->clips = s->clips;
    l->size  = c * (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
    describe_set(want, sizeof(want), cfg, s);
    has  = lv_safetensors_meta(l->file, KEY);
    data = lv_safetensors_find(l->file, "latents");
    mean = lv_safetensors_find(l->file, "mean");
    std  = lv_safetensors_find(l->file, "std");
    if (!has || strcmp(has, want) || !fits(data, LV_F16, l->size * (size_t)l->clips) ||
        !fits(mean, LV_F32, c) || !fits(std, LV_F32, c))
        return lv_fail(msg, LV_ERR_MODEL, "%s: latents of %s; the recipe expects %s", path,
                       has ? has : "nothing", want);
    if ((ret = lv_sealed_check(l->file, keys, NULL, msg)) < 0)
        return ret;
    l->data = data->data;
    l->mean = mean->data;
    l->std  = std->data;
    return 0;
}

void lv_latents_close(LvLatents *l)
{
    lv_safetensors_close(&l->file);
}
