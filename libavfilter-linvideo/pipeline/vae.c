/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/vae.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST = 8, LEAST_WAN = 16 };

/* Weights */

/* Names in the other half, which is not run. */
static void skip_other(LvVaeHalf *h)
{
    static const char *const names[2][3] = {
        { "encoder.", "conv1.", "quant_conv." }, { "decoder.", "conv2.", "post_quant_conv." },
    };
    char name[LV_PARAM_NAME];

    for (int i = 0; i < (h->wan ? LV_COUNT(names[0]) : 1); i++) {
        snprintf(name, sizeof(name), "%s%s", h->env->files->vae.prefix, names[h->encoder][i]);
        lv_weights_skip(h->weights, name);
    }
}

static int has_names(const LvSource *file, const char *prefix)
{
    int nb = lv_source_count(file), i = 0;

    while (i < nb && strncmp(lv_source_at(file, i)->name, prefix, strlen(prefix)))
        i++;
    return i < nb;
}

static int bind_half(LvVaeHalf *h)
{
    const LvTaeConfig *cfg = &h->env->cfg->vae;
    const LvPart *part     = &h->env->files->vae;
    char prefix[LV_PARAM_NAME];

    if (h->wan)
        return lv_wan_vae_bind(h->wan, cfg, h->encoder, h->weights, part->prefix);
    snprintf(prefix, sizeof(prefix), "%s%s", part->prefix, h->encoder ? "encoder." : "decoder.");
    if (h->encoder && !has_names(lv_weights_file(h->weights), prefix))
        return lv_fail(h->env->msg, LV_ERR_MODEL, "%s: vae: expected an encoder, which takes "
                       "frames; it has a decoder alone", h->env->files->path);
    return lv_tae_bind(&h->tae, cfg, h->encoder, h->weights, prefix);
}

static void free_weights(LvVaeHalf *h)
{
    free(h->wan);
    h->wan = NULL;
    lv_weights_free(&h->weights);
    if (h->room)
        lv_device_free(h->env->dev, h->room);
    h->room = NULL;
}

int lv_vae_describe(LvVaeHalf *h, const LvEnv *env, int encoder)
{
    int ret;

    h->env     = env;
    h->encoder = encoder;
    free_weights(h);
    if (env->cfg->vae.kind == LV_VAE_WAN && !(h->wan = calloc(1, sizeof(*h->wan))))
        return lv_fail(env->msg, LV_ERR(ENOMEM), "out of memory");
    if ((ret = lv_env_weights(env, &env->files->vae, (LvWeightsFrom) { .described = 1 },
                              &h->weights)) < 0)
        return ret;
    skip_other(h);
    if ((ret = bind_half(h)) < 0)
        return ret;
    return lv_weights_finish(h->weights);
}

int lv_vae_load(LvVaeHalf *h)
{
    return lv_env_load(h->env, h->weights, &h->room);
}

void lv_vae_free(LvVaeHalf *h)
{
    free_weights(h);
    *h = (LvVaeHalf) { .env = h->env };
}

/* Sizes */

static const LvTaeHalf *tae_half(const LvVaeHalf *h)
{
    return h->encoder ? &h->tae.encoder : &h->tae.decoder;
}

int lv_vae_scale(const LvVaeHalf *h)
{
    return h->env->cfg->vae.patch * (h->wan ? LV_WAN_SCALE : tae_half(h)->scale);
}

int lv_vae_frames(const LvVaeHalf *h)
{
    return h->wan ? LV_WAN_FRAMES : tae_half(h)->frames;
}

static int least_of(const LvVaeHalf *h)
{
    return h->wan ? LEAST_WAN : LEAST;
}

int lv_vae_least_tile(const LvVaeHalf *h)
{
    return least_of(h) * lv_vae_scale(h);
}

/* Latents of a tile; a negative code where the half takes none so small. */
static int tile_size(const LvVaeHalf *h, int tile)
{
    const LvMsg *msg = h->env->msg;
    int scale = lv_vae_scale(h), least = least_of(h);

    if (!tile)
        return INT_MAX / 2;
    if (tile / scale >= least)
        return tile / scale;
    if (!h->wan)
        return lv_fail(msg, LV_ERR(EINVAL), "tile is %d, this %s takes %d or more", tile,
                       h->encoder ? "encoder" : "decoder", least * scale);
    lv_msg(msg, LV_MSG_WARNING, "tile: %d shows seams with this %s; %d is used", tile,
           h->encoder ? "encoder" : "decoder", least * scale);
    return least;
}

int lv_vae_tiles(const LvVaeHalf *h, LvTiles tiles[2], const int *size, int tile, int scale)
{
    int n = tile_size(h, tile);

    for (int i = 0; i < 2 && n > 0; i++) {
        lv_tiles_free(&tiles[i]);
        if (lv_tiles_new(&tiles[i], size[i], n, scale) < 0)
            return lv_fail(h->env->msg, LV_ERR(ENOMEM), "%s: out of memory",
                           h->encoder ? "encode frames" : "decode");
    }
    return LV_MIN(n, 0);
}

LvNeed lv_vae_need(const LvVaeHalf *h, const LvSizes *first, const LvSizes *rest)
{
    LvNeed need = lv_need_join(lv_need_of(first), lv_need_of(rest));

    need.weights = LV_MAX(first->weights, rest->weights) + lv_weights_bytes(h->weights);
    return need;
}

/* Programs */

LvTensor lv_vae_trace(LvGraph *g, const LvVaeHalf *h, LvTensor x, int first, LvVaeState *s)
{
    LvDtype dtype  = h->env->dtype;
    LvWanState wan = { .nb = 0 };
    LvTaeState tae = { .nb = 0 };
    LvTensor y     = h->wan && h->encoder
                   ? lv_wan_vae_trace_encoder(g, h->wan, x, first, dtype, &wan)
                   : h->wan     ? lv_wan_vae_trace_decoder(g, h->wan, x, first, dtype, &wan)
                   : h->encoder ? lv_tae_trace_encoder(g, &h->tae, x, dtype, &tae)
                                : lv_tae_trace_decoder(g, &h->tae, x, dtype, &tae);

    s->nb = h->wan ? wan.nb : tae.nb;
    memcpy(s->t, h->wan ? wan.t : tae.t, (size_t)s->nb * sizeof(*s->t));
    return y;
}

static size_t bytes_of(const LvTensor *t)
{
    size_t n = lv_dtype_size((LvDtype)t->dtype);

    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->dim[i];
    return LV_ROUND_UP(n, LV_ALIGN);
}

size_t lv_vae_state_bytes(const LvVaeState *s)
{
    size_t n = 0;

    for (int i = 0; i < s->nb; i++)
        n += bytes_of(&s->t[i]);
    return n;
}

void lv_vae_bind_state(LvProgram *p, const LvVaeState *s, void *memory)
{
    char *at = memory;

    for (int i = 0; i < s->nb; i++) {
        if (lv_has(&s->t[i]))
            lv_program_bind(p, s->t[i], at);
        at += bytes_of(&s->t[i]);
    }
}

int lv_vae_clear(LvDevice *dev, void *memory, size_t bytes)
{
    enum { UNIT = LV_ALIGN / sizeof(float) };
    const LvOpArgs a = { .fill = { .y = {
        .data = memory, .dtype = LV_F32, .rank = 2,
        .dim = { (int32_t)(bytes / LV_ALIGN), UNIT, 1, 1, 1 },
    } } };

    return bytes ? lv_device_run(dev, LV_OP_FILL, &a) : 0;
}
