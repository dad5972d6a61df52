/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/student_clips.h"

#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "pipeline/decode.h"
#include "pipeline/noise.h"

/* A run of samples: memory of the host and programs. */
typedef struct Work {
    const LvSampling *s;
    LvLearn move;
    LvDecode *decode;
    void *arena;                ///< of the decoder, on the device
    size_t numel;
    int width;                  ///< X of latents
    float *x, *noise, *coef;    ///< latents; noise; [LV_COEFS,X]
    float *rgb;                 ///< frames of a clip
} Work;

static LvSampleSize size_of(const LvDecode *d, const int latents[3])
{
    return (LvSampleSize) { latents[2] * lv_decode_scale(d), latents[1] * lv_decode_scale(d),
                            1 + (latents[0] - 1) * lv_decode_frames(d) };
}

int lv_sample_size(LvSampleSize *size, const LvSampling *s)
{
    LvDecode *d = NULL;
    int ret = lv_decode_new(&d, &s->model->env);

    if (ret >= 0)
        *size = size_of(d, s->model->size);
    lv_decode_free(&d);
    return ret;
}

static void put_coef(const Work *k, int which, double value)
{
    for (int i = 0; i < k->width; i++)
        k->coef[which * k->width + i] = (float)value;
}

/* From sigma to next. */
static void fill_step(const Work *k, double sigma, double next)
{
    double d = next - sigma, g = (double)k->s->guidance;

    put_coef(k, LV_COEF_STEP, k->s->guidance > 0 ? g * d : -sigma);
    put_coef(k, LV_COEF_OTHER, (1 - g) * d);
    put_coef(k, LV_COEF_FADE, -next);
    put_coef(k, LV_COEF_NOISE, next);
}

static int sample(Work *k, int clip)
{
    const LvSampling *s = k->s;
    const LvNoise noise   = lv_noise_of(s->seed, 0);
    float time, *port[LV_PORT_NB] = { NULL };
    int ret = 0;

    lv_noise_fill(&noise, k->x, k->numel, 1);
    port[LV_PORT_X]     = k->x;
    port[LV_PORT_T]     = &time;
    port[LV_PORT_TEXT]  = (float *)(uintptr_t)lv_trajectories_text(s->t, clip);
    port[LV_PORT_OTHER] = (float *)(uintptr_t)lv_trajectories_text(s->t, -1);
    port[LV_PORT_COEF]  = k->coef;
    port[LV_PORT_NOISE] = k->noise;
    for (int i = 0; i < s->steps && ret >= 0; i++) {
        time = 1000 * s->sigma[i];
        fill_step(k, (double)s->sigma[i], i + 1 < s->steps ? (double)s->sigma[i + 1] : 0);
        lv_philox_normal(k->noise, k->numel, s->seed, noise.renoise + (uint64_t)i);
        ret = lv_learn_run(&k->move, port, i ? LV_PORT_X : LV_PORT_NB);
    }
    return ret < 0 ? ret : lv_learn_states(&k->move, k->x);
}

static int decode(Work *k)
{
    const int *n = k->s->model->size;
    LvSampleSize size = size_of(k->decode, n);
    size_t frame = 3 * (size_t)size.width * (size_t)size.height, at = 0;
    int ret = lv_decode_begin(k->decode, k->x);

    for (int i = 0; i < n[0] && ret >= 0; i++) {
        LvFrames f;
        if ((ret = lv_decode_run(k->decode, &f)) < 0)
            break;
        memcpy(k->rgb + at * frame, f.rgb, (size_t)f.nb * frame * sizeof(*f.rgb));
        at += (size_t)f.nb;
    }
    return ret;
}

static int plan_decoder(Work *k)
{
    LvDecodeShape shape = { .history = 0 };
    LvNeed need;
    int ret;

    memcpy(shape.size, k->s->model->size, sizeof(shape.size));
    if ((ret = lv_decode_new(&k->decode, &k->s->model->env)) < 0 ||
        (ret = lv_decode_plan(k->decode, &shape)) < 0)
        return ret;
    need     = lv_decode_need(k->decode);
    k->arena = lv_device_try_alloc(k->s->nets->dev, LV_MAX(need.arena, LV_ALIGN));
    if (!k->arena)
        return lv_fail(k->s->nets->msg, LV_ERR(ENOMEM), "samples: no memory for the decoder");
    return lv_decode_build(k->decode, k->arena);
}

static int begin(Work *k)
{
    const LvSampling *s = k->s;
    LvNets one = *s->nets;
    LvSampleSize size;
    int ret;

    one.batch = 1;
    k->numel  = s->t->numel;
    k->width  = s->model->size[2];
    if ((ret = lv_learn_move(&k->move, &one, s->guidance > 0 ? LV_MOVE_OTHER : LV_MOVE_NOISE,
                             NULL)) < 0 || (ret = plan_decoder(k)) < 0)
        return ret;
    size     = size_of(k->decode, s->model->size);
    k->x     = lv_alloc(k->numel * sizeof(float));
    k->noise = lv_alloc(k->numel * sizeof(float));
    k->coef  = lv_alloc(LV_COEFS * (size_t)k->width * sizeof(float));
    k->rgb   = lv_alloc(3 * (size_t)size.width * (size_t)size.height * (size_t)size.frames *
                        sizeof(float));
    return k->x && k->noise && k->coef && k->rgb ? 0 :
           lv_fail(one.msg, LV_ERR(ENOMEM), "samples: out of memory");
}

int lv_sample_clips(const LvSampling *s, int nb,
                    void (*put)(void *opaque, int clip, const float *rgb), void *opaque)
{
    Work k  = { .s = s };
    int ret = begin(&k);

    for (int i = 0; i < nb && ret >= 0; i++)
        if ((ret = sample(&k, i)) >= 0 && (ret = decode(&k)) >= 0)
            put(opaque, i, k.rgb);
    lv_learn_free(&k.move);
    lv_decode_free(&k.decode);
    if (k.arena)
        lv_device_free(s->nets->dev, k.arena);
    lv_free(k.x);
    lv_free(k.noise);
    lv_free(k.coef);
    lv_free(k.rgb);
    return ret;
}
