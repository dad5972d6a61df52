/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/vae_encode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/net.h"
#include "pipeline/vae.h"

enum { FIRST, REST, PROGRAMS };

/* The encoder traced for the frames of a latent frame: the first of a clip, or any other. */
typedef struct Program {
    LvNet net;
    LvTensor rgb, z; /* of a tile */
    LvVaeState state;
} Program;

struct LvVaeEncode {
    const LvEnv *env;
    LvVaeEncodeShape shape;
    LvVaeHalf half;          /* a TAE has but REST, which takes a clip's first frame repeated */
    Program program[PROGRAMS];
    LvTiles tiles[2];     /* of rows, of columns; their weights are of latents */
    size_t state_bytes;   /* of one tile */

    LvMemory memory;
    float *rgb, *z;       /* device, of a tile */
    char *state;          /* device: for each tile */
    float *rgb_host, *z_host; /* host, of a tile */
    float *whole;         /* host, [Y,X,channels]: latents of all tiles */

    float *x;             /* latents of the clip */
    int at;               /* next latent frame */
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
    for (int i = 0; i < PROGRAMS; i++)
        lv_net_free(&e->program[i].net);
    for (int i = 0; i < LV_COUNT(e->tiles); i++)
        lv_tiles_free(&e->tiles[i]);
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

static int plan(LvVaeEncode *e, Program *p, int first)
{
    int scale         = lv_vae_scale(&e->half);
    const int shape[] = { first ? 1 : lv_vae_frames(&e->half), e->tiles[0].size * scale,
                          e->tiles[1].size * scale, 3 };
    LvGraph *g = lv_graph_new(e->env->msg);

    if (!g)
        return lv_fail(e->env->msg, LV_ERR(ENOMEM), "encode frames: out of memory");
    p->rgb = lv_external(g, "rgb", LV_F32, 4, shape);
    p->z   = lv_vae_trace(g, &e->half, p->rgb, first, &p->state);
    lv_output(g, p->z, "z");
    return lv_net_plan(&p->net, &g, e->env->dev);
}

static int plan_programs(LvVaeEncode *e)
{
    int ret = plan(e, &e->program[REST], 0);

    e->state_bytes = lv_vae_state_bytes(&e->program[REST].state);
    return ret < 0 || !e->half.wan ? ret : plan(e, &e->program[FIRST], 1);
}

int lv_vae_encode_plan(LvVaeEncode *e, const LvVaeEncodeShape *shape)
{
    int ret;

    e->shape = *shape;
    ret = lv_vae_tiles(&e->half, e->tiles, shape->size + 1, shape->tile, 1);
    return ret < 0 ? ret : plan_programs(e);
}

static size_t nb_tiles(const LvVaeEncode *e)
{
    return (size_t)e->tiles[0].nb * (size_t)e->tiles[1].nb;
}

double lv_vae_encode_flops(const LvVaeEncode *e)
{
    const Program *first = &e->program[e->half.wan ? FIRST : REST], *rest = &e->program[REST];

    return (double)nb_tiles(e) * (first->net.sizes.flops +
                                  rest->net.sizes.flops * (e->shape.size[0] - 1));
}

/* Memory */

static size_t whole_bytes(const LvVaeEncode *e)
{
    return sizeof(float) * (size_t)e->shape.size[1] * (size_t)e->shape.size[2] *
           (size_t)e->env->cfg->vae.channels;
}

static size_t lay_out_host(LvVaeEncode *e, char *base)
{
    const Program *p = &e->program[REST];
    LvRegion region = { .base = base };

    e->rgb_host = lv_region_take(&region, lv_tensor_bytes(&p->rgb));
    e->z_host   = lv_region_take(&region, lv_tensor_bytes(&p->z));
    e->whole    = lv_region_take(&region, whole_bytes(e));
    return region.at;
}

static size_t lay_out_device(LvVaeEncode *e, char *base)
{
    const Program *p = &e->program[REST];
    LvRegion region = { .base = base };

    e->rgb   = lv_region_take(&region, lv_tensor_bytes(&p->rgb));
    e->z     = lv_region_take(&region, lv_tensor_bytes(&p->z));
    e->state = lv_region_take(&region, e->state_bytes * nb_tiles(e));
    return region.at;
}

LvNeed lv_vae_encode_need(const LvVaeEncode *e)
{
    const LvSizes *first = &e->program[FIRST].net.sizes, *rest = &e->program[REST].net.sizes;
    LvVaeEncode sizes = *e;
    LvNeed need = lv_vae_need(&e->half, first, rest);

    need.state = lay_out_device(&sizes, NULL);
    need.host  = lay_out_host(&sizes, NULL);
    return need;
}

static int build_programs(LvVaeEncode *e, void *arena)
{
    int ret = 0;

    for (int i = 0; i < PROGRAMS && ret >= 0; i++) {
        Program *p = &e->program[i];
        if (!p->net.prog || (ret = lv_program_build(p->net.prog, arena)) < 0)
            continue;
        lv_program_bind(p->net.prog, p->rgb, e->rgb);
        lv_program_bind(p->net.prog, p->z, e->z);
    }
    return ret;
}

int lv_vae_encode_build(LvVaeEncode *e, void *arena)
{
    const LvNeed need = lv_vae_encode_need(e);
    int ret = lv_memory_new(&e->memory, e->env->dev, &need);

    if (ret < 0)
        return ret;
    lay_out_host(e, e->memory.host);
    lay_out_device(e, e->memory.device);
    if ((ret = lv_vae_load(&e->half)) < 0 || (ret = build_programs(e, arena)) < 0 ||
        (ret = lv_weights_check(e->half.weights)) < 0)
        return ret;
    lv_weights_drop(e->half.weights);
    return 0;
}

/* Running */

int lv_vae_encode_begin(LvVaeEncode *e, float *x)
{
    e->x  = x;
    e->at = 0;
    return lv_vae_clear(e->env->dev, e->state, nb_tiles(e) * e->state_bytes);
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
static void cut(LvVaeEncode *e, const Program *p, const float *const *frames, int ty, int tx)
{
    int scale = lv_vae_scale(&e->half), rows = p->rgb.dim[1];
    size_t line = 3 * (size_t)p->rgb.dim[2];
    size_t stride = 3 * (size_t)e->shape.size[2] * (size_t)scale;
    size_t from = (size_t)(e->tiles[0].start[ty] * scale) * stride +
                  3 * (size_t)(e->tiles[1].start[tx] * scale);

    for (int f = 0; f < p->rgb.dim[0]; f++) {
        const float *frame = frames[e->at ? f : 0];
        for (int i = 0; i < rows; i++)
            copy_row(e, e->rgb_host + ((size_t)f * (size_t)rows + (size_t)i) * line,
                     frame ? frame + from + (size_t)i * stride : NULL, line);
    }
}

/* Add a tile's latents to those of all. */
static void blend(LvVaeEncode *e, int ty, int tx)
{
    const LvTiles *y = &e->tiles[0], *x = &e->tiles[1];
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

static int run_tile(LvVaeEncode *e, Program *p, const float *const *frames, int ty, int tx)
{
    LvDevice *dev = e->env->dev;
    char *state   = e->state + (size_t)(ty * e->tiles[1].nb + tx) * e->state_bytes;
    int ret;

    cut(e, p, frames, ty, tx);
    lv_vae_bind_state(p->net.prog, &p->state, state);
    if ((ret = lv_device_upload(dev, e->rgb, e->rgb_host, lv_tensor_bytes(&p->rgb))) < 0 ||
        (ret = lv_program_run(p->net.prog, lv_env_hook, (void *)e->env)) < 0 ||
        (ret = lv_device_download(dev, e->z_host, e->z, lv_tensor_bytes(&p->z))) < 0)
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
        float *x = e->x + ((size_t)k * (size_t)e->shape.size[0] + (size_t)e->at) * plane;
        for (size_t i = 0; i < plane; i++) {
            x[i] = (e->whole[i * (size_t)nb + (size_t)k] - c->mean[k]) / c->std[k];
            if (!isfinite(x[i]))
                return lv_fail(e->env->msg, LV_ERR_MODEL, "%s: encoder: latent frame %d is not "
                               "finite%s", e->env->files->path, e->at,
                               lv_env_hint(e->env, 0));
        }
    }
    return 0;
}

int lv_vae_encode_run(LvVaeEncode *e, const float *const *frames)
{
    Program *p = &e->program[e->half.wan && !e->at ? FIRST : REST];
    int ret    = 0;

    assert(e->at < e->shape.size[0]);
    memset(e->whole, 0, whole_bytes(e));
    for (int ty = 0; ty < e->tiles[0].nb; ty++)
        for (int tx = 0; tx < e->tiles[1].nb && ret >= 0; tx++)
            ret = run_tile(e, p, frames, ty, tx);
    if (ret < 0 || (ret = normalise(e)) < 0)
        return ret;
    e->at++;
    return 0;
}
