/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/safetensors.h"
#include "train/clips/render.h"
#include "train/measure/frechet.h"
#include "train/run/codec.h"

struct LvEvaluation {
    const LvMsg *msg;
    LvSafetensors *file;
    LvWeights *weights;
    LvModelConfig cfg;
    LvTae tae;
    LvCodec codec;
    LvMeasure *measure;
    LvFeatureNet *net;
    uint64_t seed;
    int clips, taken;
    int before;        /* frames in front of a clip, as the codec takes it */
    size_t frame;    /* values of a frame */
    float *data, *again; /* a clip for the codec, and what comes out */
    float *features[LV_EVAL_SOURCES + 1]; /* [clips][LV_FEATURES]; last the reference */
    LvEvalResult result[LV_EVAL_SOURCES];
    double error;      /* of the codec, sum */
};

int lv_score_add(LvScore *score, const LvMeasured *found, const LvScene *s)
{
    int material = s->kind != LV_SCENE_OBJECT, bits = lv_measure_matches(found, s);

    score->clips[material]++;
    for (int i = 0; i < 4; i++)
        score->right[material][i] += bits >> i & 1;
    score->all[material] += bits == LV_MATCH_ALL;
    return bits;
}

void lv_measured_text(char *buf, size_t size, const LvMeasured *found)
{
    static const char *const sides[] = { "from left", "from right", "from top",
                                         "from bottom" };
    const char *what = lv_scene_kind_name(found->kind), *how = "", *between = "";

    if (found->kind == LV_SCENE_OBJECT) {
        what = lv_shape_name(found->shape);
        how  = lv_motion_name(found->motion);
    } else if (found->kind == LV_SCENE_WIPE) {
        how  = sides[found->side];
    }
    if (*how)
        between = " ";
    snprintf(buf, size, "%s %s%s%s on %s %s", lv_color_name(found->color), what,
             between, how, lv_pattern_name(found->pattern), lv_color_name(found->back));
    if (found->pattern == LV_BLEND)
        snprintf(buf + strlen(buf), size - strlen(buf), " to %s",
                 lv_color_name(found->back2));
}

/* Opening */

static int bind_autoencoder(LvEvaluation *e, LvDevice *dev)
{
    int ret = lv_weights_new(&e->weights, e->file, dev, e->msg);

    if (ret < 0 || (ret = lv_tae_bind(&e->tae, &e->cfg.vae, 1, e->weights,
                                      "vae.encoder.")) < 0)
        return ret;
    return lv_tae_bind(&e->tae, &e->cfg.vae, 0, e->weights, "vae.decoder.");
}

static int check_size(const LvEvaluation *e)
{
    const LvVideoConfig *v = &e->cfg.video;
    int scale = e->tae.encoder.scale * e->cfg.vae.patch, n = e->tae.encoder.frames;

    if (v->width % scale || v->height % scale || (v->frames - 1) % n ||
        LV_MIN(v->width, v->height) < 32 || v->frames < 5)
        return lv_fail(e->msg, LV_ERR_UNSUPPORTED, "evaluation: %dx%d, %d frames; "
                       "expected multiples of %d from 32 on, and 1 + %d n frames, 5 or more",
                       v->width, v->height, v->frames, scale, n);
    return 0;
}

static int allocate(LvEvaluation *e)
{
    const LvVideoConfig *v = &e->cfg.video;
    size_t all = (size_t)(e->before + v->frames) * e->frame;
    double rate = (double)v->rate_num / v->rate_den;
    int missing = 0;

    e->data  = lv_alloc(2 * all * sizeof(*e->data));
    e->again = e->data + all;
    for (int i = 0; i <= LV_EVAL_SOURCES; i++) {
        e->features[i] = lv_alloc((size_t)e->clips * LV_FEATURES * sizeof(float));
        missing |= !e->features[i];
    }
    if (!e->data || missing ||
        lv_measure_new(&e->measure, v->width, v->height, v->frames, rate) < 0 ||
        lv_features_new(&e->net, 0, v->width, v->height, v->frames) < 0)
        return lv_fail(e->msg, LV_ERR(ENOMEM), "evaluation: out of memory");
    return 0;
}

static int open_all(LvEvaluation *e, const char *model, LvDtype dtype, LvDevice *dev)
{
    const LvVideoConfig *v = &e->cfg.video;
    int ret;

    if ((ret = lv_safetensors_open(&e->file, model, e->msg)) < 0 ||
        (ret = lv_config_read(&e->cfg, e->file, e->msg)) < 0 ||
        (ret = bind_autoencoder(e, dev)) < 0 || (ret = check_size(e)) < 0)
        return ret;
    if (!dtype)
        dtype = dev->bf16 ? LV_BF16 : LV_F32;
    e->before  = e->tae.encoder.frames - 1;
    e->frame = 3 * (size_t)v->width * v->height;
    ret = lv_codec_new(&e->codec, &e->tae, (int[]) { e->before + v->frames, v->height,
                       v->width }, dtype, 1, dev, e->msg);
    return ret < 0 ? ret : allocate(e);
}

int lv_evaluation_new(LvEvaluation **out, const char *model, uint64_t seed, int clips,
                      LvDtype dtype, LvDevice *dev, const LvMsg *msg)
{
    LvEvaluation *e = *out = calloc(1, sizeof(*e));
    int ret;

    if (!e)
        return lv_fail(msg, LV_ERR(ENOMEM), "evaluation: out of memory");
    e->msg   = msg;
    e->seed  = seed;
    e->clips = clips;
    if ((ret = open_all(e, model, dtype, dev)) < 0)
        lv_evaluation_free(out);
    return ret;
}

void lv_evaluation_free(LvEvaluation **out)
{
    LvEvaluation *e = *out;

    if (!e)
        return;
    lv_codec_free(&e->codec);
    lv_weights_free(&e->weights);
    lv_safetensors_close(&e->file);
    lv_measure_free(&e->measure);
    lv_features_free(&e->net);
    lv_free(e->data);
    for (int i = 0; i <= LV_EVAL_SOURCES; i++)
        lv_free(e->features[i]);
    free(e);
    *out = NULL;
}

const LvVideoConfig *lv_evaluation_video(const LvEvaluation *e)
{
    return &e->cfg.video;
}

/* Clips */

static float *render(LvEvaluation *e, const LvScene *s)
{
    const LvVideoConfig *v = &e->cfg.video;
    double rate = (double)v->rate_num / v->rate_den;
    float *rgb  = e->data + (size_t)e->before * e->frame;

    lv_render(s, v->width, v->height, v->frames, rate, rgb);
    return rgb;
}

static int take(LvEvaluation *e, LvEvalSource source, const float *rgb,
                const LvScene *s, LvMeasured *found)
{
    LvFlicker f = lv_measure_flicker(rgb, e->cfg.video.frames, e->frame);

    lv_measure_clip(e->measure, rgb, found);
    lv_features_clip(e->net, rgb, e->features[source] + (size_t)e->taken * LV_FEATURES);
    e->result[source].flicker += f.index / e->clips;
    return lv_score_add(&e->result[source].score, found, s);
}

static int take_codec(LvEvaluation *e, const float *data, const LvScene *s)
{
    size_t skip = (size_t)e->before * e->frame;
    size_t n    = (size_t)e->cfg.video.frames * e->frame;
    float *y    = e->again + skip;
    LvMeasured found;
    int ret;

    lv_codec_repeat(e->data, e->before, e->frame);
    if ((ret = lv_codec_run(&e->codec, e->data, NULL, e->again)) < 0)
        return ret;
    e->error += lv_codec_error(data, y, n) / e->clips;
    for (size_t i = 0; i < n; i++)
        y[i] = LV_CLAMP(y[i], 0, 1);
    take(e, LV_EVAL_CODEC, y, s, &found);
    return 0;
}

int lv_evaluation_clip(LvEvaluation *e, const float *rgb, LvScene *scene,
                       LvMeasured *found)
{
    float *reference = e->features[LV_EVAL_SOURCES] + (size_t)e->taken * LV_FEATURES;
    LvMeasured floors;
    LvScene other;
    float *data;
    int bits, ret;

    lv_scene_draw(scene, e->seed, (uint64_t)e->taken, 1);
    bits = take(e, LV_EVAL_MADE, rgb, scene, found);
    data = render(e, scene);
    take(e, LV_EVAL_DATA, data, scene, &floors);
    if ((ret = take_codec(e, data, scene)) < 0)
        return ret;
    lv_scene_draw(&other, e->seed, (uint64_t)e->clips + (uint64_t)e->taken, 1);
    lv_features_clip(e->net, render(e, &other), reference);
    e->taken++;
    return bits;
}

int lv_evaluation_finish(LvEvaluation *e, LvEvalResult result[LV_EVAL_SOURCES])
{
    for (int i = 0; i < LV_EVAL_SOURCES; i++) {
        int ret = lv_frechet(e->features[i], e->taken, e->features[LV_EVAL_SOURCES],
                             e->taken, LV_FEATURES, &e->result[i].frechet);

        if (ret < 0)
            return lv_fail(e->msg, ret, "evaluation: out of memory");
        result[i] = e->result[i];
        result[i].psnr = i == LV_EVAL_CODEC ? -10 * log10(LV_MAX(e->error, 1e-30)) :
                         INFINITY;
    }
    return 0;
}
