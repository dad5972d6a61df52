/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/vae_encode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/vae.h"

struct LvVaeEncode {
    const LvEnv *env;
    LvVaeEncodeShape shape;
    LvVaeHalf half;       /* a TAE takes a clip's first frame repeated; weights of tiles are of
                           * latents */

    LvMemory memory;
    float *rgb, *z;       /* device, of a tile */
    float *rgb_host, *z_host; /* host, of a tile */
    float *whole;         /* host, [Y,X,channels]: latents of all tiles */

    float *x;             /* latents of the clip */
    const float *const *frames; /* of the latent frame that is encoded */
};

int lv_vae_encode_new(LvVaeEncode **out, const LvEnv *env)
{
    LvVaeEncode *e = *out = calloc(1, sizeof(*e));
    int ret;

    if (!e)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "encode frames: out of memory");
    e->env = env;
    if ((ret = lv_vae_describe(&e->half, env, 1)) < 0)
        lv_vae_encode_free(out);
    return ret;
}

void lv_vae_encode_free(LvVaeEncode **out)
{
    LvVaeEncode *e = *out;

    if (!e)
        return;
    lv_vae_free(&e->half);
    lv_memory_free(&e->memory, e->env->dev);
    free(e);
    *out = NULL;
}

int lv_vae_encode_scale(const LvVaeEncode *e)
{
    return lv_vae_scale(&e->half);
}

int lv_vae_encode_frames(const LvVaeEncode *e)
{
    return lv_vae_frames(&e->half);
}

/* Planning */

int lv_vae_encode_plan(LvVaeEncode *e, const LvVaeEncodeShape *shape)
{
    e->shape = *shape;
    return lv_vae_plan(&e->half, shape->size + 1, shape->tile, 1, 0);
}

double lv_vae_encode_flops(const LvVaeEncode *e)
{
    return lv_vae_flops(&e->half, e->shape.size[0]);
}

/* Memory */

static size_t whole_bytes(const LvVaeEncode *e)
{
    return sizeof(float) * (size_t)e->shape.size[1] * (size_t)e->shape.size[2] *
           (size_t)e->env->cfg->vae.channels;
}

static size_t lay_out_host(LvVaeEncode *e, char *base)
{
    const LvVaeProgram *p = &e->half.program[LV_VAE_REST];
    LvRegion region = { .base = base };

    e->rgb_host = lv_region_take(&region, lv_tensor_bytes(&p->in));
    e->z_host   = lv_region_take(&region, lv_tensor_bytes(&p->out));
    e->whole    = lv_region_take(&region, whole_bytes(e));
    return region.at;
}

static size_t lay_out_device(LvVaeEncode *e, char *base)
{
    const LvVaeProgram *p = &e->half.program[LV_VAE_REST];
    LvRegion region = { .base = base };

    e->rgb = lv_region_take(&region, lv_tensor_bytes(&p->in));
    e->z   = lv_region_take(&region, lv_tensor_bytes(&p->out));
    e->half.state = lv_region_take(&region, lv_vae_states_bytes(&e->half));
    return region.at;
}

LvNeed lv_vae_encode_need(const LvVaeEncode *e)
{
    LvVaeEncode sizes = *e;
    LvNeed need       = lv_vae_need(&e->half);

    need.state = lay_out_device(&sizes, NULL);
    need.host  = lay_out_host(&sizes, NULL);
    return need;
}

int lv_vae_encode_build(LvVaeEncode *e, void *arena)
{
    const LvNeed need = lv_vae_encode_need(e);
    int ret = lv_memory_new(&e->memory, e->env->dev, &need);

    if (ret < 0)
        return ret;
    lay_out_host(e, e->memory.host);
    lay_out_device(e, e->memory.device);
    return lv_vae_build(&e->half, arena, &(LvVaePorts) { .in = e->rgb, .out = e->z });
}

/* Running */

int lv_vae_encode_begin(LvVaeEncode *e, float *x)
{
    e->x = x;
    return lv_vae_begin(&e->half);
}

/* A row of a frame, or of mid grey, as the encoder takes it: a TAE 0 to 1. */
static void copy_row(const LvVaeEncode *e, float *to, const float *from, size_t n)
{
    if (from)
        memcpy(to, from, n * sizeof(*to));
    else
        memset(to, 0, n * sizeof(*to));
    for (size_t i = 0; i < n && !e->half.wan; i++)
        to[i] = 0.5f * to[i] + 0.5f;
}

/* The part of each frame that a tile is of. */
static void cut(LvVaeEncode *e, const LvVaeProgram *p, int ty, int tx)
{
    int scale = lv_vae_scale(&e->half), rows = p->in.dim[1];
    size_t line = 3 * (size_t)p->in.dim[2];
    size_t stride = 3 * (size_t)e->shape.size[2] * (size_t)scale;
    size_t from = (size_t)(e->half.tiles[0].start[ty] * scale) * stride +
                  3 * (size_t)(e->half.tiles[1].start[tx] * scale);

    for (int f = 0; f < p->in.dim[0]; f++) {
        const float *frame = e->frames[e->half.at ? f : 0];
        for (int i = 0; i < rows; i++)
            copy_row(e, e->rgb_host + ((size_t)f * (size_t)rows + (size_t)i) * line,
                     frame ? frame + from + (size_t)i * stride : NULL, line);
    }
}

/* Add a tile's latents to those of all. */
static void blend(LvVaeEncode *e, int ty, int tx)
{
    const LvTiles *y = &e->half.tiles[0], *x = &e->half.tiles[1];
    size_t nb = (size_t)e->env->cfg->vae.channels;

    for (int i = 0; i < y->size; i++)
        for (int j = 0; j < x->size; j++) {
            float w = y->weight[ty * y->size + i] * x->weight[tx * x->size + j];
            const float *z = e->z_host + (size_t)(i * x->size + j) * nb;
            float *to = e->whole + (size_t)((y->start[ty] + i) * e->shape.size[2] +
                                            x->start[tx] + j) * nb;
            for (size_t k = 0; k < nb; k++)
                to[k] += w * z[k];
        }
}

static int run_tile(void *opaque, LvVaeProgram *p, int ty, int tx)
{
    LvVaeEncode *e = opaque;
    int ret;

    cut(e, p, ty, tx);
    if ((ret = lv_vae_run(&e->half, p, ty, tx, e->rgb, e->rgb_host)) < 0 ||
        (ret = lv_device_download(e->env->dev, e->z_host, e->z, lv_tensor_bytes(&p->out))) < 0)
        return ret;
    blend(e, ty, tx);
    return 0;
}

/* x = (z - mean) / std, planes of channels. */
static int normalise(LvVaeEncode *e)
{
    const LvTaeConfig *c = &e->env->cfg->vae;
    size_t plane = (size_t)e->shape.size[1] * (size_t)e->shape.size[2];
    int nb = c->channels;

    for (int k = 0; k < nb; k++) {
        float *x = e->x + ((size_t)k * (size_t)e->shape.size[0] + (size_t)e->half.at) * plane;
        for (size_t i = 0; i < plane; i++) {
            x[i] = (e->whole[i * (size_t)nb + (size_t)k] - c->mean[k]) / c->std[k];
            if (!isfinite(x[i]))
                return lv_fail(e->env->msg, LV_ERR_MODEL, "%s: encoder: latent frame %d is not "
                               "finite%s", e->env->files->path, e->half.at,
                               lv_env_hint(e->env, 0));
        }
    }
    return 0;
}

int lv_vae_encode_run(LvVaeEncode *e, const float *const *frames)
{
    int ret;

    assert(e->half.at < e->shape.size[0]);
    memset(e->whole, 0, whole_bytes(e));
    e->frames = frames;
    if ((ret = lv_vae_walk(&e->half, run_tile, e)) < 0 || (ret = normalise(e)) < 0)
        return ret;
    e->half.at++;
    return 0;
}
