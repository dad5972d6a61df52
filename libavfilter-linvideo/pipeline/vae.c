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

void lv_vae_free(LvVaeHalf *h)
{
    for (int i = 0; i < LV_VAE_PROGRAMS; i++)
        lv_net_free(&h->program[i].net);
    for (int i = 0; i < LV_COUNT(h->tiles); i++)
        lv_tiles_free(&h->tiles[i]);
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

static const char *name_of(const LvVaeHalf *h)
{
    return h->encoder ? "encode frames" : "decode";
}

static int lay_out_tiles(LvVaeHalf *h, const int *size, int tile, int scale)
{
    int n = tile_size(h, tile);

    for (int i = 0; i < 2 && n > 0; i++) {
        lv_tiles_free(&h->tiles[i]);
        if (lv_tiles_new(&h->tiles[i], size[i], n, scale) < 0)
            return lv_fail(h->env->msg, LV_ERR(ENOMEM), "%s: out of memory", name_of(h));
    }
    return LV_MIN(n, 0);
}

size_t lv_vae_nb_tiles(const LvVaeHalf *h)
{
    return (size_t)h->tiles[0].nb * (size_t)h->tiles[1].nb;
}

size_t lv_vae_states_bytes(const LvVaeHalf *h)
{
    return h->state_bytes * (h->in_turn ? 1 : lv_vae_nb_tiles(h));
}

double lv_vae_flops(const LvVaeHalf *h, int frames)
{
    const LvVaeProgram *first = &h->program[h->wan ? LV_VAE_FIRST : LV_VAE_REST];

    return (double)lv_vae_nb_tiles(h) * (first->net.sizes.flops +
           h->program[LV_VAE_REST].net.sizes.flops * (frames - 1));
}

void lv_vae_cost(const LvVaeHalf *h, const LvRates *rates, int frames, LvCost *cost)
{
    const LvProgram *first = h->program[LV_VAE_FIRST].net.prog;
    double tiles = (double)lv_vae_nb_tiles(h);

    lv_program_cost(h->program[LV_VAE_REST].net.prog, rates, tiles * (frames - !!first), cost);
    if (first)
        lv_program_cost(first, rates, tiles, cost);
}

LvNeed lv_vae_need(const LvVaeHalf *h)
{
    const LvSizes *first = &h->program[LV_VAE_FIRST].net.sizes;
    const LvSizes *rest  = &h->program[LV_VAE_REST].net.sizes;
    LvNeed need = lv_need_join(lv_need_of(first), lv_need_of(rest));

    need.weights = LV_MAX(first->weights, rest->weights) + lv_weights_bytes(h->weights);
    return need;
}

/* Programs */

/* first: of a clip */
static LvTensor trace(LvGraph *g, const LvVaeHalf *h, LvTensor x, int first, LvVaeState *s)
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

static size_t bytes_of_state(const LvVaeState *s)
{
    size_t n = 0;

    for (int i = 0; i < s->nb; i++)
        n += bytes_of(&s->t[i]);
    return n;
}

/* What goes in for a tile of a latent frame. */
static LvTensor input(LvGraph *g, const LvVaeHalf *h, int first)
{
    int scale = lv_vae_scale(h), rows = h->tiles[0].size, cols = h->tiles[1].size;
    const int z[]   = { 1, rows, cols, h->env->cfg->vae.channels };
    const int rgb[] = { first ? 1 : lv_vae_frames(h), rows * scale, cols * scale, 3 };

    return lv_external(g, h->encoder ? "rgb" : "z", LV_F32, 4, h->encoder ? rgb : z);
}

static int plan_program(LvVaeHalf *h, enum LvVaeWhich which, int energy)
{
    LvVaeProgram *p = &h->program[which];
    int first  = which == LV_VAE_FIRST;
    LvGraph *g = lv_graph_new(h->env->msg);

    if (!g)
        return lv_fail(h->env->msg, LV_ERR(ENOMEM), "%s: out of memory", name_of(h));
    p->in  = input(g, h, first);
    p->out = trace(g, h, p->in, first, &p->state);
    lv_output(g, p->out, h->encoder ? "z" : "rgb");
    p->energy = lv_external(g, "energy", LV_F32, 1, (const int[]) { 1 });
    if (energy)
        lv_sqsum(g, p->out, p->energy, 0);
    return lv_net_plan(&p->net, &g, h->env->dev);
}

int lv_vae_plan(LvVaeHalf *h, const int *size, int tile, int scale, int energy)
{
    int ret = lay_out_tiles(h, size, tile, scale);

    if (ret >= 0)
        ret = plan_program(h, LV_VAE_REST, energy);
    if (ret >= 0 && h->wan)
        ret = plan_program(h, LV_VAE_FIRST, energy);
    h->state_bytes = bytes_of_state(&h->program[LV_VAE_REST].state);
    return ret;
}

static int build_programs(LvVaeHalf *h, void *arena, const LvVaePorts *ports)
{
    int ret = 0;

    for (int i = 0; i < LV_VAE_PROGRAMS && ret >= 0; i++) {
        LvVaeProgram *p = &h->program[i];
        if (!p->net.prog || (ret = lv_program_build(p->net.prog, arena)) < 0)
            continue;
        lv_program_bind(p->net.prog, p->in, ports->in);
        lv_program_bind(p->net.prog, p->out, ports->out);
        if (ports->energy)
            lv_program_bind(p->net.prog, p->energy, ports->energy);
    }
    return ret;
}

int lv_vae_build(LvVaeHalf *h, void *arena, const LvVaePorts *ports)
{
    LvProgram *progs[LV_VAE_PROGRAMS];
    int ret;

    for (int i = 0; i < LV_VAE_PROGRAMS; i++)
        progs[i] = h->program[i].net.prog;
    ret = lv_env_load(h->env, h->weights, &h->room, progs, LV_VAE_PROGRAMS);
    if (ret < 0 || (ret = build_programs(h, arena, ports)) < 0 ||
        (ret = lv_weights_check(h->weights)) < 0)
        return ret;
    lv_weights_drop(h->weights);
    return 0;
}

/* Running */

int lv_vae_begin(LvVaeHalf *h)
{
    enum { UNIT = LV_ALIGN / sizeof(float) };
    size_t bytes = lv_vae_states_bytes(h);
    const LvOpArgs a = { .fill = { .y = {
        .data = h->state, .dtype = LV_F32, .rank = 2,
        .dim = { (int32_t)(bytes / LV_ALIGN), UNIT, 1, 1, 1 },
    } } };

    h->at = 0;
    return bytes ? lv_device_run(h->env->dev, LV_OP_FILL, &a) : 0;
}

LvVaeProgram *lv_vae_next(LvVaeHalf *h)
{
    return &h->program[h->wan && !h->at ? LV_VAE_FIRST : LV_VAE_REST];
}

int lv_vae_walk(LvVaeHalf *h, LvVaeTile *tile, void *opaque)
{
    LvVaeProgram *p = lv_vae_next(h);
    int ret = 0;

    for (int ty = 0; ty < h->tiles[0].nb; ty++)
        for (int tx = 0; tx < h->tiles[1].nb && ret >= 0; tx++)
            ret = tile(opaque, p, ty, tx);
    return LV_MIN(ret, 0);
}

static void bind_state(LvProgram *p, const LvVaeState *s, char *at)
{
    for (int i = 0; i < s->nb; i++) {
        if (lv_has(&s->t[i]))
            lv_program_bind(p, s->t[i], at);
        at += bytes_of(&s->t[i]);
    }
}

int lv_vae_run(LvVaeHalf *h, LvVaeProgram *p, int ty, int tx, void *in, const void *host)
{
    size_t tile = h->in_turn ? 0 : (size_t)(ty * h->tiles[1].nb + tx);
    int ret = lv_device_upload(h->env->dev, in, host, lv_tensor_bytes(&p->in));

    if (ret < 0)
        return ret;
    bind_state(p->net.prog, &p->state, h->state + tile * h->state_bytes);
    return lv_program_run(p->net.prog, lv_env_hook, (void *)(uintptr_t)h->env);
}
