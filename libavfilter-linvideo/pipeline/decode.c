/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/decode.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/dump.h"
#include "pipeline/net.h"
#include "pipeline/tiles.h"
#include "pipeline/vae.h"

/* A decoder traced for a frame: for the first of a clip, or for any other. */
typedef struct Program {
    LvNet net;
    LvTensor z, rgb;         /* of a tile */
    LvTensor energy;         /* sum of squares of rgb, where that stays on the device */
    LvVaeState state;
} Program;

enum { FIRST, REST, PROGRAMS };

struct LvDecode {
    const LvEnv *env;
    LvDecodeShape shape;
    LvVaeHalf half;          /* a TAE has but REST */
    Program program[PROGRAMS];
    LvTiles tiles[2];        /* of rows, of columns */
    int rows, cols;          /* of pictures */
    size_t memory_bytes;     /* state of one tile */

    LvMemory memory;
    float *z, *rgb_dev;      /* device, of a tile */
    float *energy;           /* device; see Program */
    char *memory_dev;        /* device: state, for each tile */
    float *weight_dev[2];    /* device: the tiles' weights, where the device pastes */
    float *z_host;           /* host */
    float *rgb_tile;         /* of a tile: host; NULL where the device pastes */
    float *rgb_whole;        /* pasted: device, where that pastes */
    float *rgb;              /* to be delivered: host, or rgb_whole */

    const float *x;          /* latents of the clip */
    int at;                  /* next latent frame */
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
    for (int i = 0; i < PROGRAMS; i++)
        lv_net_free(&d->program[i].net);
    for (int i = 0; i < LV_COUNT(d->tiles); i++)
        lv_tiles_free(&d->tiles[i]);
    lv_vae_free(&d->half);
    lv_memory_free(&d->memory, d->env->dev);
    free(d);
    *out = NULL;
}

int lv_decode_scale(const LvDecode *d)
{
    return lv_vae_scale(&d->half);
}

int lv_decode_pictures(const LvDecode *d)
{
    return lv_vae_frames(&d->half);
}

/* Planning */

/* Latents of a tile; a negative code where the decoder takes none so small. */
static int tile_size(const LvDecode *d)
{
    const LvMsg *msg = d->env->msg;
    int scale = lv_decode_scale(d), least = lv_vae_least_tile(&d->half), tile = d->shape.tile;

    if (!tile)
        return INT_MAX / 2;
    if (tile / scale >= least)
        return tile / scale;
    if (!d->half.wan)
        return lv_fail(msg, LV_ERR(EINVAL), "tile is %d, this decoder takes %d or more", tile,
                       least * scale);
    lv_msg(msg, LV_MSG_WARNING, "tile: %d shows seams with this decoder; %d is used", tile,
           least * scale);
    return least;
}

static int lay_out_tiles(LvDecode *d)
{
    int size = tile_size(d);

    for (int i = 0; i < 2 && size > 0; i++) {
        lv_tiles_free(&d->tiles[i]);
        if (lv_tiles_new(&d->tiles[i], d->shape.size[1 + i], size, lv_decode_scale(d)) < 0)
            return lv_fail(d->env->msg, LV_ERR(ENOMEM), "decode: out of memory");
    }
    return LV_MIN(size, 0);
}

static int plan(LvDecode *d, Program *p, int first)
{
    const LvEnv *env  = d->env;
    const int shape[] = { 1, d->tiles[0].size, d->tiles[1].size, env->cfg->vae.channels };
    LvGraph *g = lv_graph_new(env->msg);

    if (!g)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "decode: out of memory");
    p->z   = lv_external(g, "z", LV_F32, 4, shape);
    p->rgb = lv_vae_trace(g, &d->half, p->z, first, &p->state);
    lv_output(g, p->rgb, "rgb");
    p->energy = lv_external(g, "energy", LV_F32, 1, (const int[]) { 1 });
    if (d->shape.on_device)
        lv_sqsum(g, p->rgb, p->energy, 0);
    return lv_net_plan(&p->net, &g, env->dev);
}

static int plan_programs(LvDecode *d)
{
    Program *rest = &d->program[REST];
    int ret = plan(d, rest, 0);

    if (ret >= 0 && d->half.wan)
        ret = plan(d, &d->program[FIRST], 1);
    d->memory_bytes = lv_vae_state_bytes(&rest->state);
    return ret;
}

int lv_decode_plan(LvDecode *d, const LvDecodeShape *shape)
{
    int ret;

    d->shape = *shape;
    d->rows  = shape->size[1] * lv_decode_scale(d);
    d->cols  = shape->size[2] * lv_decode_scale(d);
    ret = lay_out_tiles(d);
    return ret < 0 ? ret : plan_programs(d);
}

static size_t nb_tiles(const LvDecode *d)
{
    return (size_t)d->tiles[0].nb * (size_t)d->tiles[1].nb;
}

double lv_decode_flops(const LvDecode *d)
{
    return d->program[REST].net.sizes.flops * d->shape.size[0] * (double)nb_tiles(d);
}

void lv_decode_dump(const LvDecode *d, FILE *to)
{
    lv_program_dump(d->program[REST].net.prog, to);
}

/* Memory */

/* Whether the device puts the tiles' pictures together, not the host. */
static int pastes(const LvDecode *d)
{
    return d->env->dev->fn->paste != NULL;
}

/* Of the whole pictures that a latent frame gives. */
static size_t picture_bytes(const LvDecode *d, const Program *p)
{
    return 3 * sizeof(float) * (size_t)p->rgb.dim[0] * (size_t)d->rows * (size_t)d->cols;
}

static size_t lay_out_host(LvDecode *d, char *base)
{
    const Program *p = &d->program[REST];
    LvRegion region = { .base = base };

    d->z_host = lv_region_take(&region, lv_tensor_bytes(&p->z));
    if (!d->shape.on_device)
        d->rgb = lv_region_take(&region, picture_bytes(d, p));
    if (!pastes(d))
        d->rgb_tile = lv_region_take(&region, lv_tensor_bytes(&p->rgb));
    return region.at;
}

static void lay_out_pictures(LvDecode *d, LvRegion *region)
{
    d->rgb_whole = lv_region_take(region, picture_bytes(d, &d->program[REST]));
    if (d->shape.on_device)
        d->rgb = d->rgb_whole;
    for (int i = 0; i < 2; i++)
        d->weight_dev[i] = lv_region_take(region, lv_tiles_weight_bytes(&d->tiles[i],
                                                                    lv_decode_scale(d)));
}

static size_t lay_out_device(LvDecode *d, char *base)
{
    const Program *p = &d->program[REST];
    LvRegion region = { .base = base };

    d->z          = lv_region_take(&region, lv_tensor_bytes(&p->z));
    d->rgb_dev    = lv_region_take(&region, lv_tensor_bytes(&p->rgb));
    d->energy     = lv_region_take(&region, sizeof(*d->energy));
    d->memory_dev = lv_region_take(&region, d->memory_bytes * nb_tiles(d));
    if (pastes(d))
        lay_out_pictures(d, &region);
    return region.at;
}

/* Both programs pack the same weights. */
LvNeed lv_decode_need(const LvDecode *d)
{
    const LvSizes *first = &d->program[FIRST].net.sizes, *rest = &d->program[REST].net.sizes;
    LvDecode sizes = *d;
    LvNeed need = lv_need_join(lv_need_of(first), lv_need_of(rest));

    need.weights = LV_MAX(first->weights, rest->weights) + lv_weights_bytes(d->half.weights);
    need.state   = lay_out_device(&sizes, NULL);
    need.host    = lay_out_host(&sizes, NULL);
    return need;
}

/* Building */

static int build_programs(LvDecode *d, void *arena)
{
    int ret = 0;

    for (int i = 0; i < PROGRAMS && ret >= 0; i++) {
        Program *p = &d->program[i];
        if (!p->net.prog || (ret = lv_program_build(p->net.prog, arena)) < 0)
            continue;
        lv_program_bind(p->net.prog, p->z, d->z);
        lv_program_bind(p->net.prog, p->rgb, d->rgb_dev);
        lv_program_bind(p->net.prog, p->energy, d->energy);
    }
    return ret;
}

static int upload_weights(LvDecode *d)
{
    LvDevice *dev = d->env->dev;
    int ret = 0;

    for (int i = 0; i < 2 && ret >= 0 && pastes(d); i++)
        ret = dev->fn->upload(dev, d->weight_dev[i], d->tiles[i].weight,
                              lv_tiles_weight_bytes(&d->tiles[i], lv_decode_scale(d)));
    return ret;
}

int lv_decode_build(LvDecode *d, void *arena)
{
    const LvNeed need = lv_decode_need(d);
    int ret = lv_memory_new(&d->memory, d->env->dev, &need);

    if (ret < 0)
        return ret;
    lay_out_host(d, d->memory.host);
    lay_out_device(d, d->memory.device);
    if ((ret = lv_vae_load(&d->half)) < 0 || (ret = plan_programs(d)) < 0 ||
        (ret = build_programs(d, arena)) < 0 || (ret = lv_weights_check(d->half.weights)) < 0 ||
        (ret = upload_weights(d)) < 0)
        return ret;
    lv_weights_drop(d->half.weights);
    return 0;
}

/* Running */

int lv_decode_begin(LvDecode *d, const float *x)
{
    d->x  = x;
    d->at = 0;
    return lv_vae_clear(d->env->dev, d->memory_dev, nb_tiles(d) * d->memory_bytes);
}

/* z = x std + mean of a tile of one frame of the latents, channels last. */
static void denormalise(LvDecode *d, int y0, int x0)
{
    const LvTaeConfig *c = &d->env->cfg->vae;
    const int *size = d->shape.size;
    int rows = d->tiles[0].size, cols = d->tiles[1].size, nb = c->channels;
    size_t plane = (size_t)size[1] * (size_t)size[2];

    for (int k = 0; k < nb; k++) {
        const float *x = d->x + ((size_t)k * (size_t)size[0] + (size_t)d->at) * plane;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < cols; j++)
                d->z_host[(i * cols + j) * nb + k] =
                    x[(y0 + i) * size[2] + x0 + j] * c->std[k] + c->mean[k];
    }
}

/* Where a tile's pictures go in the whole ones, which Wan's decoder makes in -1 to 1. */
static LvPaste place(const LvDecode *d, int ty, int tx, int frames)
{
    const LvTiles *y = &d->tiles[0], *x = &d->tiles[1];
    int scale   = lv_decode_scale(d), rows = y->size * scale, cols = x->size * scale;
    int there   = pastes(d);
    int64_t row = 3 * (int64_t)d->cols;

    return (LvPaste) {
        .to = (there ? d->rgb_whole : d->rgb) + y->start[ty] * scale * row +
              3 * (x->start[tx] * scale),
        .from = there ? d->rgb_dev : d->rgb_tile,
        .wy = (there ? d->weight_dev[0] : y->weight) + ty * rows,
        .wx = (there ? d->weight_dev[1] : x->weight) + tx * cols,
        .frames = frames, .rows = rows, .cols = cols,
        .old_rows = lv_tiles_shared(y, ty, scale), .old_cols = lv_tiles_shared(x, tx, scale),
        .to_frame = row * d->rows, .to_row = row,
        .scale = d->half.wan ? 0.5f : 1, .offset = d->half.wan ? 0.5f : 0,
    };
}

/* LvDeviceFns.paste on the host. */
static void paste(const LvPaste *p)
{
    const float *from = p->from;

    for (int f = 0; f < p->frames; f++)
        for (int i = 0; i < p->rows; i++) {
            float *to = p->to + f * p->to_frame + i * p->to_row;
            for (int j = 0; j < p->cols; j++)
                for (int c = 0; c < 3; c++, to++, from++)
                    *to = (i < p->old_rows || j < p->old_cols ? *to : 0) +
                          p->wy[i] * p->wx[j] * (p->scale * *from + p->offset);
        }
}

/* Of the first latent frame only the last picture counts. */
static int first_picture(const LvDecode *d, const Program *p)
{
    return d->at ? 0 : p->rgb.dim[0] - 1;
}

/* Picture i of those that the next latent frame gives is not finite. */
static int fail_picture(const LvDecode *d, const Program *p, int i, const char *which)
{
    int number = d->at ? 1 + (d->at - 1) * d->program[REST].rgb.dim[0] : 0;

    return lv_fail(d->env->msg, LV_ERR_MODEL, "%s: decoder: frame %d%s is not finite%s",
                   d->env->files->path, number + i - first_picture(d, p), which,
                   d->env->dtype == LV_F32 ? "" : "; precision f32 may keep it finite");
}

/* Pictures behind the clip's last one do not count. */
static int check_pictures(const LvDecode *d, const Program *p)
{
    size_t n   = 3 * (size_t)d->rows * (size_t)d->cols;
    int behind = d->at ? 1 + (d->at - 1) * p->rgb.dim[0] : 0;
    int nb     = LV_MIN(p->rgb.dim[0], d->env->cfg->video.frames - behind +
                                       first_picture(d, p));

    for (int i = first_picture(d, p); i < nb; i++)
        if (lv_find_nonfinite(d->rgb + (size_t)i * n, LV_F32, LV_F32, n) < n)
            return fail_picture(d, p, i, "");
    return 0;
}

/* The same of pictures that stay on the device: their sum of squares tells. */
static int check_energy(const LvDecode *d, const Program *p)
{
    LvDevice *dev = d->env->dev;
    float sum = 0;
    int ret = dev->fn->download(dev, &sum, d->energy, sizeof(sum));

    return ret < 0 || isfinite(sum) ? ret :
           fail_picture(d, p, first_picture(d, p), ", or one soon after it,");
}

static int run_tile(LvDecode *d, Program *p, int ty, int tx)
{
    LvDevice *dev = d->env->dev;
    const LvDeviceFns *fn = dev->fn;
    LvPaste to = place(d, ty, tx, p->rgb.dim[0]);
    int ret;

    denormalise(d, d->tiles[0].start[ty], d->tiles[1].start[tx]);
    lv_vae_bind_state(p->net.prog, &p->state, d->memory_dev +
                      (size_t)(ty * d->tiles[1].nb + tx) * d->memory_bytes);
    if ((ret = fn->upload(dev, d->z, d->z_host, lv_tensor_bytes(&p->z))) < 0 ||
        (ret = lv_program_run(p->net.prog, lv_env_hook, (void *)d->env)) < 0)
        return ret;
    if (d->shape.on_device && (ret = check_energy(d, p)) < 0)
        return ret;
    if (pastes(d))
        return fn->paste(dev, &to);
    if ((ret = fn->download(dev, d->rgb_tile, d->rgb_dev, lv_tensor_bytes(&p->rgb))) < 0)
        return ret;
    paste(&to);
    return 0;
}

/* Pictures are whole: have them where they are wanted. */
static int fetch(LvDecode *d, const Program *p)
{
    LvDevice *dev = d->env->dev;
    int ret = 0;

    if (d->shape.on_device)
        return dev->fn->sync(dev);
    if (pastes(d))
        ret = dev->fn->download(dev, d->rgb, d->rgb_whole, picture_bytes(d, p));
    return ret < 0 ? ret : check_pictures(d, p);
}

int lv_decode_run(LvDecode *d, LvFrames *out)
{
    Program *p = &d->program[d->half.wan && !d->at ? FIRST : REST];
    int first = first_picture(d, p);
    int ret = lv_env_tell(d->env, (LvAt) { LV_STAGE_DECODE, d->at, d->shape.size[0], 0, 0 });

    for (int ty = 0; ty < d->tiles[0].nb; ty++)
        for (int tx = 0; tx < d->tiles[1].nb && ret >= 0; tx++)
            ret = run_tile(d, p, ty, tx);
    if (ret < 0 || (ret = fetch(d, p)) < 0)
        return ret;
    out->rgb = d->rgb + (size_t)first * (size_t)d->rows * (size_t)d->cols * 3;
    out->nb  = p->rgb.dim[0] - first;
    d->at++;
    return 0;
}
