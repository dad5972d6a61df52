/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/decode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/dump.h"
#include "pipeline/vae.h"

struct LvDecode {
    const LvEnv *env;
    LvDecodeShape shape;
    LvVaeHalf half;
    int rows, cols;          /* of frames */

    LvMemory memory;
    float *z;                /* device, of a tile */
    LvTensor tile, whole;    /* device: frames of a tile, which are the whole ones where
                              * nothing is to be blended; whole frames */
    float *energy;           /* device: sum of squares of a tile that stays there */
    float *weight_dev[2];    /* device: the tiles' weights */
    float *z_host;           /* host */
    char *clip;              /* host: whole frames of all latent frames, where tiles come in
                              * turn */
    float *rgb;              /* whole frames where they are delivered from */

    const float *x;          /* latents of the clip */
    int before;              /* latents before these */
};

int lv_decode_new(LvDecode **out, const LvEnv *env)
{
    LvDecode *d = *out = calloc(1, sizeof(*d));
    int ret;

    if (!d)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "decode: out of memory");
    d->env = env;
    if ((ret = lv_vae_describe(&d->half, env, 0)) < 0)
        lv_decode_free(out);
    return ret;
}

void lv_decode_free(LvDecode **out)
{
    LvDecode *d = *out;

    if (!d)
        return;
    lv_vae_free(&d->half);
    lv_memory_free(&d->memory, d->env->dev);
    free(d);
    *out = NULL;
}

int lv_decode_scale(const LvDecode *d)
{
    return lv_vae_scale(&d->half);
}

int lv_decode_frames(const LvDecode *d)
{
    return lv_vae_frames(&d->half);
}

/* Planning */

int lv_decode_plan(LvDecode *d, const LvDecodeShape *shape)
{
    int scale = lv_decode_scale(d), ret;

    d->shape = *shape;
    d->rows  = shape->size[1] * scale;
    d->cols  = shape->size[2] * scale;
    ret = lv_vae_plan(&d->half, shape->size + 1, shape->tile, scale, shape->on_device);
    d->half.in_turn = d->half.wan && lv_vae_nb_tiles(&d->half) > 1 && !shape->endless;
    return ret;
}

int lv_decode_least_tile(const LvDecode *d)
{
    return lv_vae_least_tile(&d->half);
}

int lv_decode_tile(const LvDecode *d)
{
    int side = LV_MAX(d->half.tiles[0].size, d->half.tiles[1].size);

    return lv_vae_nb_tiles(&d->half) > 1 ? side * lv_decode_scale(d) : 0;
}

/* Latents that are decoded. */
static int all_latents(const LvDecode *d)
{
    return d->shape.history + d->shape.size[0];
}

double lv_decode_flops(const LvDecode *d)
{
    return lv_vae_flops(&d->half, all_latents(d));
}

void lv_decode_cost(const LvDecode *d, const LvRates *rates, LvCost *cost)
{
    lv_vae_cost(&d->half, rates, all_latents(d), cost);
}

void lv_decode_cost_load(const LvDecode *d, const LvRates *rates, LvCost *cost)
{
    lv_cost_send(cost, (double)lv_decode_need(d).weights, rates);
}

void lv_decode_dump(const LvDecode *d, FILE *to)
{
    lv_program_dump(d->half.program[LV_VAE_REST].net.prog, to);
}

/* Memory */

/* Whether frames of tiles have to be blended, or brought to 0 to 1: Wan's decoder makes -1
 * to 1. */
static int blends(const LvDecode *d)
{
    return d->half.wan || lv_vae_nb_tiles(&d->half) > 1;
}

/* Whether frames are delivered from memory of the device. */
static int stays(const LvDecode *d)
{
    return d->shape.on_device || d->env->dev->host;
}

static LvTensor frames(int nb, int rows, int cols)
{
    return (LvTensor) { .dtype = LV_F32, .rank = 4, .dim = { nb, rows, cols, 3, 1 } };
}

static size_t lay_out_host(LvDecode *d, char *base)
{
    LvRegion region = { .base = base };

    d->z_host = lv_region_take(&region, lv_tensor_bytes(&d->half.program[LV_VAE_REST].in));
    if (d->half.in_turn)
        d->clip = lv_region_take(&region, lv_tensor_bytes(&d->whole) * (size_t)all_latents(d));
    else if (!stays(d))
        d->rgb = lv_region_take(&region, lv_tensor_bytes(&d->whole));
    return region.at;
}

static void lay_out_frames(LvDecode *d, LvRegion *region)
{
    const int *tile = d->half.program[LV_VAE_REST].out.dim;
    int scale = lv_decode_scale(d);

    d->tile       = frames(tile[0], tile[1], tile[2]);
    d->whole      = frames(tile[0], d->rows, d->cols);
    d->whole.data = lv_region_take(region, lv_tensor_bytes(&d->whole));
    d->tile.data  = blends(d) ? lv_region_take(region, lv_tensor_bytes(&d->tile))
                              : d->whole.data;
    for (int i = 0; i < 2 && blends(d); i++)
        d->weight_dev[i] = lv_region_take(region, lv_tiles_weight_bytes(&d->half.tiles[i], scale));
    if (stays(d))
        d->rgb = d->whole.data;
}

static size_t lay_out_device(LvDecode *d, char *base)
{
    LvRegion region = { .base = base };

    d->z          = lv_region_take(&region, lv_tensor_bytes(&d->half.program[LV_VAE_REST].in));
    d->energy     = lv_region_take(&region, sizeof(*d->energy));
    d->half.state = lv_region_take(&region, lv_vae_states_bytes(&d->half));
    lay_out_frames(d, &region);
    return region.at;
}

LvNeed lv_decode_need(const LvDecode *d)
{
    LvDecode sizes = *d;
    LvNeed need    = lv_vae_need(&d->half);

    need.state = lay_out_device(&sizes, NULL);
    need.host  = lay_out_host(&sizes, NULL);
    return need;
}

/* Building */

static int upload_weights(LvDecode *d)
{
    LvDevice *dev = d->env->dev;
    int ret = 0;

    for (int i = 0; i < 2 && ret >= 0 && blends(d); i++)
        ret = lv_device_upload(dev, d->weight_dev[i], d->half.tiles[i].weight,
                              lv_tiles_weight_bytes(&d->half.tiles[i], lv_decode_scale(d)));
    return ret;
}

int lv_decode_build(LvDecode *d, void *arena)
{
    const LvNeed need = lv_decode_need(d);
    int ret = lv_memory_new(&d->memory, d->env->dev, &need);

    assert(d->half.program[LV_VAE_REST].net.prog);
    if (ret < 0)
        return ret;
    lay_out_device(d, d->memory.device);
    lay_out_host(d, d->memory.host);
    ret = lv_vae_build(&d->half, arena, &(LvVaePorts) { d->z, d->tile.data, d->energy });
    return ret < 0 ? ret : upload_weights(d);
}

/* Running */

int lv_decode_begin(LvDecode *d, const float *x)
{
    assert(x);
    d->x      = x;
    d->before = 0;
    return lv_vae_begin(&d->half);
}

void lv_decode_continue(LvDecode *d, const float *x)
{
    assert(d->shape.endless && d->half.at == d->before + d->shape.size[0]);
    d->x      = x;
    d->before = d->half.at;
}

/* Number of the latent that is next. */
static int latent_at(const LvDecode *d)
{
    int nb = d->shape.size[0], behind = d->shape.history % nb;

    return (d->half.at - d->before + nb - behind) % nb;
}

/* z = x std + mean of a tile of one frame of the latents, channels last. */
static void denormalise(LvDecode *d, int y0, int x0)
{
    const LvTaeConfig *c = &d->env->cfg->vae;
    const int *size = d->shape.size;
    int rows = d->half.tiles[0].size, cols = d->half.tiles[1].size, nb = c->channels;
    size_t plane = (size_t)size[1] * (size_t)size[2];

    for (int k = 0; k < nb; k++) {
        const float *x = d->x + ((size_t)k * (size_t)size[0] + (size_t)latent_at(d)) * plane;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < cols; j++)
                d->z_host[(i * cols + j) * nb + k] =
                    x[(y0 + i) * size[2] + x0 + j] * c->std[k] + c->mean[k];
    }
}

/* How much each of n pixels of a tile counts. */
static LvTensor weights(float *data, int n)
{
    return (LvTensor) { .data = data, .dtype = LV_F32, .rank = 1, .dim = { n, 1, 1, 1, 1 } };
}

/* Frames of a tile go to their place in the whole ones. */
static int blend(LvDecode *d, int ty, int tx)
{
    const LvTiles *y = &d->half.tiles[0], *x = &d->half.tiles[1];
    int scale = lv_decode_scale(d), rows = y->size * scale, cols = x->size * scale;
    const LvOpArgs a = { .blend = {
        .x  = d->tile,
        .wy = weights(d->weight_dev[0] + ty * rows, rows),
        .wx = weights(d->weight_dev[1] + tx * cols, cols),
        .y  = d->whole,
        .top = y->start[ty] * scale, .left = x->start[tx] * scale,
        .old_rows = lv_tiles_shared(y, ty, scale), .old_cols = lv_tiles_shared(x, tx, scale),
        .scale = d->half.wan ? 0.5f : 1, .offset = d->half.wan ? 0.5f : 0,
    } };

    return lv_device_run(d->env->dev, LV_OP_BLEND, &a);
}

/* Of the first latent frame only the last frame counts. */
static int first_frame(const LvDecode *d, const LvVaeProgram *p)
{
    return d->half.at ? 0 : p->out.dim[0] - 1;
}

/* Frames before those of the next latent; below 0: it is of the history. */
static int frames_before(const LvDecode *d)
{
    int nb = d->half.program[LV_VAE_REST].out.dim[0], at = d->half.at - d->shape.history;

    return d->shape.history ? at * nb : at ? 1 + (at - 1) * nb : 0;
}

/* Frame i of those that the next latent frame gives is not finite. */
static int fail_frame(const LvDecode *d, const LvVaeProgram *p, int i)
{
    int number = LV_MAX(frames_before(d), 0);

    return lv_fail(d->env->msg, LV_ERR_MODEL, "%s: decoder: frame %d is not finite%s",
                   d->env->files->path, number + i - first_frame(d, p),
                   lv_env_hint(d->env, 0));
}

/* Check frames of `pixels` pixels each. Frames after the end of the clip are not checked. */
static int check_frames(const LvDecode *d, const LvVaeProgram *p, const float *rgb, size_t pixels)
{
    size_t n   = 3 * pixels;
    int left   = d->env->cfg->video.frames - frames_before(d);
    int nb     = d->shape.endless ? p->out.dim[0] : LV_MIN(p->out.dim[0], left + first_frame(d, p));

    for (int i = first_frame(d, p); i < nb; i++)
        if (lv_find_nonfinite(rgb + (size_t)i * n, LV_F32, LV_F32, n) < n)
            return fail_frame(d, p, i);
    return 0;
}

/* Of a tile on the device, which is not finite. */
static int check_tile(const LvDecode *d, const LvVaeProgram *p)
{
    size_t bytes = lv_tensor_bytes(&d->tile);
    float *tile  = lv_alloc(bytes);
    int ret = tile ? lv_device_download(d->env->dev, tile, d->tile.data, bytes)
                   : lv_fail(d->env->msg, LV_ERR(ENOMEM), "decode: out of memory");

    if (ret >= 0)
        ret = check_frames(d, p, tile, (size_t)d->tile.dim[1] * (size_t)d->tile.dim[2]);
    lv_free(tile);
    return ret;
}

/* The same of frames that stay on the device: their sum of squares tells. */
static int check_energy(const LvDecode *d, const LvVaeProgram *p)
{
    LvDevice *dev = d->env->dev;
    float sum = 0;
    int ret = lv_device_download(dev, &sum, d->energy, sizeof(sum));

    return ret < 0 || isfinite(sum) ? ret : check_tile(d, p);
}

static int run_tile(void *opaque, LvVaeProgram *p, int ty, int tx)
{
    LvDecode *d = opaque;
    int ret;

    denormalise(d, d->half.tiles[0].start[ty], d->half.tiles[1].start[tx]);
    if ((ret = lv_vae_run(&d->half, p, ty, tx, d->z, d->z_host)) < 0 ||
        (d->shape.on_device && (ret = check_energy(d, p)) < 0))
        return ret;
    return blends(d) ? blend(d, ty, tx) : 0;
}

static int tell(const LvDecode *d, int done, int all)
{
    return lv_env_tell(d->env, (LvAt) { LV_STAGE_DECODE, done, all, 0, 0 });
}

/* All tiles of a latent frame. */
static int run_tiles(LvDecode *d)
{
    int ret = tell(d, d->half.at - d->before, all_latents(d));

    return ret < 0 ? ret : lv_vae_walk(&d->half, run_tile, d);
}

/* Frames of the clip that belong to a latent frame. */
static char *collected(const LvDecode *d)
{
    return d->clip + (size_t)d->half.at * lv_tensor_bytes(&d->whole);
}

/* A tile of a latent frame, blended into what other tiles made of its frames. */
static int add_tile(LvDecode *d, int k)
{
    LvDevice *dev = d->env->dev;
    size_t bytes  = lv_tensor_bytes(&d->whole);
    int nb  = d->half.tiles[1].nb;
    int ret = k ? lv_device_upload(dev, d->whole.data, collected(d), bytes) : 0;

    if (ret >= 0)
        ret = run_tile(d, lv_vae_next(&d->half), k / nb, k % nb);
    return ret < 0 ? ret : lv_device_download(dev, collected(d), d->whole.data, bytes);
}

/* All tiles of the clip, which is at its first latent frame before and after. */
static int run_clip(LvDecode *d)
{
    int frames = all_latents(d), nb = (int)lv_vae_nb_tiles(&d->half), ret = 0;

    for (int k = 0; k < nb && ret >= 0; k++) {
        ret = lv_vae_begin(&d->half);
        for (; d->half.at < frames && ret >= 0; d->half.at++)
            if ((ret = tell(d, k * frames + d->half.at, nb * frames)) >= 0)
                ret = add_tile(d, k);
    }
    d->half.at = 0;
    return ret;
}

/* Frames that were collected: have them where they are delivered from. */
static int fetch_collected(LvDecode *d, const LvVaeProgram *p)
{
    d->rgb = d->shape.on_device ? d->whole.data : (float *)(void *)collected(d);
    return d->shape.on_device
         ? lv_device_upload(d->env->dev, d->rgb, collected(d), lv_tensor_bytes(&d->whole))
         : check_frames(d, p, d->rgb, (size_t)d->rows * (size_t)d->cols);
}

/* The same of frames that are whole on the device. */
static int fetch(LvDecode *d, const LvVaeProgram *p)
{
    LvDevice *dev = d->env->dev;
    int ret = 0;

    if (d->half.in_turn)
        return fetch_collected(d, p);
    if (d->shape.on_device)
        return lv_device_sync(dev);
    if (!stays(d))
        ret = lv_device_download(dev, d->rgb, d->whole.data, lv_tensor_bytes(&d->whole));
    return ret < 0 ? ret
         : check_frames(d, p, d->rgb, (size_t)d->rows * (size_t)d->cols);
}

static int run_latent(LvDecode *d, LvFrames *out)
{
    const LvVaeProgram *p = lv_vae_next(&d->half);
    int first = first_frame(d, p), ret = 0;

    assert(d->x && d->half.at - d->before < all_latents(d));
    if (!d->half.in_turn)
        ret = run_tiles(d);
    else if (!d->half.at)
        ret = run_clip(d);
    if (ret < 0 || (ret = fetch(d, p)) < 0)
        return ret;
    out->rgb = d->rgb + (size_t)first * (size_t)d->rows * (size_t)d->cols * 3;
    out->nb  = p->out.dim[0] - first;
    d->half.at++;
    return 0;
}

int lv_decode_run(LvDecode *d, LvFrames *out)
{
    int ret = 0;

    while (d->half.at < d->shape.history && ret >= 0)
        ret = run_latent(d, out);
    return ret < 0 ? ret : run_latent(d, out);
}
