/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "decode": one latent frame after another, so that pictures leave early and
 * memory does not depend on the clip's length.
 */

#include <string.h>

#include "pipeline/session.h"

int lv_decode_plan(LvSession *s)
{
    const int shape[] = { 1, s->size[1], s->size[2], s->cfg.vae.channels };
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "decode: out of memory");
    s->z_in    = lv_external(g, "z", LV_F32, 4, shape);
    s->rgb_out = lv_tae_trace_decoder(g, &s->tae, s->z_in, s->dtype, &s->memory);
    lv_output(g, s->rgb_out, "rgb");
    s->memory_bytes = 0;
    for (int i = 0; i < s->memory.nb; i++)
        s->memory_bytes += LV_ROUND_UP(lv_tensor_bytes(&s->memory.t[i]), LV_ALIGN);
    return lv_net_plan(&s->decoder, &g, s->dev);
}

int lv_decode_begin(LvSession *s)
{
    char *p = s->memory_dev;

    s->latent_frame = s->clip_next = s->rgb_next = s->rgb_frames = 0;
    memset(s->memory_zero, 0, s->memory_bytes);
    for (int i = 0; i < s->memory.nb; i++) {
        lv_program_bind(s->decoder.prog, s->memory.t[i], p);
        p += LV_ROUND_UP(lv_tensor_bytes(&s->memory.t[i]), LV_ALIGN);
    }
    return s->dev->fn->upload(s->dev, s->memory_dev, s->memory_zero, s->memory_bytes);
}

/* z = x std + mean of one frame of the latents, channels last. */
static void denormalise(LvSession *s)
{
    size_t plane = (size_t)s->size[1] * s->size[2], c = (size_t)s->cfg.vae.channels;

    for (size_t k = 0; k < c; k++) {
        const float *x = s->x + (k * (size_t)s->size[0] + (size_t)s->latent_frame) *
                         plane;
        for (size_t i = 0; i < plane; i++)
            s->z_host[i * c + k] = x[i] * s->cfg.vae.std[k] + s->cfg.vae.mean[k];
    }
}

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    LvSession *s = opaque;

    (void)next, (void)index, (void)count;
    return atomic_load(&s->cancelled) ? LV_ERR_CANCELLED : 0;
}

int lv_decode_run(LvSession *s)
{
    const LvDeviceFns *fn = s->dev->fn;
    double start = lv_seconds();
    int ret = lv_session_step(s, LV_STAGE_DECODE, s->latent_frame, s->size[0], 0, 0);

    if (ret < 0)
        return ret;
    denormalise(s);
    if ((ret = fn->upload(s->dev, s->z, s->z_host, lv_tensor_bytes(&s->z_in))) < 0 ||
        (ret = lv_program_run(s->decoder.prog, hook, s)) < 0 ||
        (ret = fn->download(s->dev, s->rgb, s->rgb_dev,
                            lv_tensor_bytes(&s->rgb_out))) < 0)
        return ret;
    s->rgb_frames = s->rgb_out.dim[0];
    s->rgb_next   = s->latent_frame ? 0 : s->rgb_frames - 1;
    s->latent_frame++;
    s->seconds[LV_STAGE_DECODE] += lv_seconds() - start;
    return 0;
}
