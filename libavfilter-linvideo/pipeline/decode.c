/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "decode": one latent frame after another, so that pictures leave early and
 * memory does not depend on the clip's length. In tiles, when asked: each has its own
 * state and is decoded by the same programs; where tiles overlap, they fade into each
 * other.
 */

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/program.h"
#include "pipeline/session.h"

/* Latents of the smallest tile, of which the picture is the whole one's at 45 dB or more. Half
 * of a tile is shared with the next one, of which the quarters at both ends do not count. */
enum { LEAST = 8, LEAST_WAN = 16 };

/* Tiles */

static int scale_of(const LvSession *s)
{
    return s->rows / s->size[1];
}

/* From 0 to 1 over the middle of the pixels shared: what is near the edge of a tile lacks the
 * latents beyond it. */
static float fade(float at, float shared)
{
    float x = 2 * at / shared - 0.5f;

    return LV_MIN(LV_MAX(x, 0), 1);
}

/* How much the pixels of a tile count: rising over the pixels shared with the one before,
 * falling over those shared with the one behind. */
static void fill_weights(LvTiles *t, int scale, float *sum)
{
    int n = t->size * scale;

    for (int i = 0; i < t->nb; i++)
        for (int k = 0; k < n; k++) {
            float left  = i ? (float)(t->start[i - 1] + t->size - t->start[i]) : 0;
            float right = i + 1 < t->nb ? (float)(t->start[i] + t->size - t->start[i + 1])
                                        : 0;
            float rise  = left ? fade((float)k + 0.5f, left * (float)scale) : 1;
            float fall  = right ? fade((float)(n - k) - 0.5f, right * (float)scale) : 1;
            float w     = LV_MIN(rise, fall);

            t->weight[i * n + k]       = w;
            sum[t->start[i] * scale + k] += w;
        }
    for (int i = 0; i < t->nb; i++)
        for (int k = 0; k < n; k++)
            t->weight[i * n + k] /= sum[t->start[i] * scale + k];
}

/* Tiles of `size` latents over an axis of n. */
static int lay_out(LvTiles *t, int n, int size, int scale)
{
    int step = size - size / 2;
    float *sum;

    t->size   = LV_MIN(size, n);
    t->nb     = t->size == n ? 1 : (n - size + step - 1) / step + 1;
    t->start  = calloc((size_t)t->nb, sizeof(*t->start));
    t->weight = calloc((size_t)t->nb * (size_t)(t->size * scale), sizeof(*t->weight));
    sum       = calloc((size_t)(n * scale), sizeof(*sum));
    if (t->start && t->weight && sum) {
        for (int i = 0; i < t->nb; i++)
            t->start[i] = LV_MIN(i * step, n - t->size);
        fill_weights(t, scale, sum);
    }
    free(sum);
    return t->start && t->weight && sum ? 0 : LV_ERR(ENOMEM);
}

size_t lv_decode_weight_bytes(const LvSession *s, int i)
{
    const LvTiles *t = &s->tiles[i];

    return (size_t)t->nb * (size_t)(t->size * scale_of(s)) * sizeof(*t->weight);
}

/* Latents of a tile; a negative code where the decoder takes none so small. */
static int tile_size(const LvSession *s, int scale)
{
    int least = s->wan ? LEAST_WAN : LEAST, size = s->opt.tile / scale;

    if (!s->opt.tile)
        return INT_MAX / 2;
    if (size >= least)
        return size;
    if (!s->wan)
        return lv_fail(s->msg, LV_ERR(EINVAL), "tile is %d, this decoder takes %d or more",
                       s->opt.tile, least * scale);
    lv_msg(s->msg, LV_MSG_WARNING, "tile: %d shows seams with this decoder; %d is used",
           s->opt.tile, least * scale);
    return least;
}

int lv_decode_tiles(LvSession *s)
{
    int scale = scale_of(s), size = tile_size(s, scale);

    for (int i = 0; i < 2 && size > 0; i++)
        if (lay_out(&s->tiles[i], s->size[1 + i], size, scale) < 0)
            return lv_fail(s->msg, LV_ERR(ENOMEM), "decode: out of memory");
    return size < 0 ? size : 0;
}

void lv_decode_free_tiles(LvSession *s)
{
    for (int i = 0; i < 2; i++) {
        free(s->tiles[i].start);
        free(s->tiles[i].weight);
        s->tiles[i] = (LvTiles) { 0 };
    }
}

/* Programs */

static LvTensor trace(LvSession *s, LvDecoder *d, LvGraph *g, int first)
{
    LvWanState wan = { .nb = 0 };
    LvTaeState tae = { .nb = 0 };
    LvTensor rgb   = s->wan
        ? lv_wan_vae_trace_decoder(g, s->wan, d->z, first, s->dtype, &wan)
        : lv_tae_trace_decoder(g, &s->tae, d->z, s->dtype, &tae);

    d->nb = s->wan ? wan.nb : tae.nb;
    memcpy(d->memory, s->wan ? wan.t : tae.t, (size_t)d->nb * sizeof(*d->memory));
    return rgb;
}

static int plan(LvSession *s, LvDecoder *d, int first)
{
    const int shape[] = { 1, s->tiles[0].size, s->tiles[1].size, s->cfg.vae.channels };
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "decode: out of memory");
    d->z   = lv_external(g, "z", LV_F32, 4, shape);
    d->rgb = trace(s, d, g, first);
    lv_output(g, d->rgb, "rgb");
    d->energy = lv_external(g, "energy", LV_F32, 1, (const int[]) { 1 });
    if (s->opt.on_device)
        lv_sqsum(g, d->rgb, d->energy, 0);
    return lv_net_plan(&d->net, &g, s->dev);
}

static size_t memory_bytes(const LvTensor *t)
{
    size_t n = lv_dtype_size((LvDtype)t->dtype);

    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->dim[i];
    return LV_ROUND_UP(n, LV_ALIGN);
}

int lv_decode_plan(LvSession *s)
{
    LvDecoder *rest = &s->decoder[LV_REST];
    int ret = plan(s, rest, 0);

    if (ret >= 0 && s->wan)
        ret = plan(s, &s->decoder[LV_FIRST], 1);
    s->memory_bytes = 0;
    for (int i = 0; i < rest->nb; i++)
        s->memory_bytes += memory_bytes(&rest->memory[i]);
    return ret;
}

int lv_decode_build(LvSession *s)
{
    int ret = 0;

    for (int i = 0; i < LV_DECODERS && ret >= 0; i++) {
        LvDecoder *d = &s->decoder[i];
        if (!d->net.prog || (ret = lv_program_build(d->net.prog, s->arena)) < 0)
            continue;
        lv_program_bind(d->net.prog, d->z, s->z);
        lv_program_bind(d->net.prog, d->rgb, s->rgb_dev);
        lv_program_bind(d->net.prog, d->energy, s->energy_dev);
    }
    return ret;
}

/* Running */

static int upload_weights(LvSession *s)
{
    int ret = 0;

    for (int i = 0; i < 2 && ret >= 0; i++)
        ret = s->dev->fn->upload(s->dev, s->tiles[i].weight_dev, s->tiles[i].weight,
                                 lv_decode_weight_bytes(s, i));
    return ret;
}

/* Memory of all tiles, in whole units of LV_ALIGN, is zeros. */
static int clear_memory(LvSession *s)
{
    enum { UNIT = LV_ALIGN / sizeof(float) };
    size_t tiles = (size_t)s->tiles[0].nb * (size_t)s->tiles[1].nb;
    const LvOpArgs a = { .fill = { .y = {
        .data = s->memory_dev, .dtype = LV_F32, .rank = 2,
        .dim = { (int32_t)(tiles * (s->memory_bytes / LV_ALIGN)), UNIT, 1, 1, 1 },
    } } };
    LvCall call = { 0 };

    return s->memory_bytes ? lv_device_call(s->dev->fn->run, s->dev, LV_OP_FILL, &a, &call) : 0;
}

int lv_decode_begin(LvSession *s)
{
    int ret;

    s->latent_frame = s->clip_next = s->rgb_next = s->rgb_frames = 0;
    ret = clear_memory(s);
    return ret < 0 || !lv_decode_pastes(s) ? ret : upload_weights(s);
}

static void bind_memory(LvSession *s, LvDecoder *d, int tile)
{
    char *p = s->memory_dev + (size_t)tile * s->memory_bytes;

    for (int i = 0; i < d->nb; i++) {
        if (lv_has(&d->memory[i]))
            lv_program_bind(d->net.prog, d->memory[i], p);
        p += memory_bytes(&d->memory[i]);
    }
}

/* z = x std + mean of a tile of one frame of the latents, channels last. */
static void denormalise(LvSession *s, int y0, int x0)
{
    int rows = s->tiles[0].size, cols = s->tiles[1].size, nb = s->cfg.vae.channels;
    size_t plane = (size_t)s->size[1] * (size_t)s->size[2];

    for (int k = 0; k < nb; k++) {
        const float *x = s->x + ((size_t)k * (size_t)s->size[0] +
                                 (size_t)s->latent_frame) * plane;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < cols; j++)
                s->z_host[(i * cols + j) * nb + k] =
                    x[(y0 + i) * s->size[2] + x0 + j] * s->cfg.vae.std[k] +
                    s->cfg.vae.mean[k];
    }
}

/* Pixels at the front of tile i that the one before it has too. */
static int shared(const LvTiles *t, int i, int scale)
{
    return i ? (t->start[i - 1] + t->size - t->start[i]) * scale : 0;
}

/* Where a tile's pictures go in the whole ones, which Wan's decoder makes in -1 to 1. */
static LvPaste place(const LvSession *s, int ty, int tx, int frames)
{
    const LvTiles *y = &s->tiles[0], *x = &s->tiles[1];
    int scale   = scale_of(s), rows = y->size * scale, cols = x->size * scale;
    int there   = lv_decode_pastes(s);
    int64_t row = 3 * (int64_t)s->cols;

    return (LvPaste) {
        .to = (there ? s->rgb_whole : s->rgb) + y->start[ty] * scale * row +
              3 * (x->start[tx] * scale),
        .from = there ? s->rgb_dev : s->rgb_tile,
        .wy = (there ? y->weight_dev : y->weight) + ty * rows,
        .wx = (there ? x->weight_dev : x->weight) + tx * cols,
        .frames = frames, .rows = rows, .cols = cols,
        .old_rows = shared(y, ty, scale), .old_cols = shared(x, tx, scale),
        .to_frame = row * s->rows, .to_row = row,
        .scale = s->wan ? 0.5f : 1, .offset = s->wan ? 0.5f : 0,
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

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    LvSession *s = opaque;

    (void)next, (void)index, (void)count;
    return atomic_load(&s->cancelled) ? LV_ERR_CANCELLED : 0;
}

/* Number within the clip of the first picture that comes next, and of those in rgb the one
 * that it is: of the first latent frame only the last is taken. */
static int first_picture(const LvSession *s, const LvDecoder *d, int *at)
{
    *at = s->latent_frame ? 0 : d->rgb.dim[0] - 1;
    return s->latent_frame ? 1 + (s->latent_frame - 1) * s->decoder[LV_REST].rgb.dim[0] : 0;
}

static int fail_frame(const LvSession *s, const char *which, int frame)
{
    return lv_fail(s->msg, LV_ERR_MODEL, "%s: decoder: frame %d%s is not finite%s",
                   s->files.path, frame, which,
                   s->dtype == LV_F32 ? "" : "; precision f32 may keep it finite");
}

static int check_pictures(const LvSession *s, const LvDecoder *d)
{
    size_t n = 3 * (size_t)s->rows * (size_t)s->cols;
    int at, frame = first_picture(s, d, &at);

    for (; at < d->rgb.dim[0] && frame < s->cfg.video.frames; at++, frame++)
        if (lv_find_nonfinite(s->rgb + (size_t)at * n, LV_F32, LV_F32, n) < n)
            return fail_frame(s, "", frame);
    return 0;
}

/* The same of pictures that stay on the device: their sum of squares tells. */
static int check_energy(const LvSession *s, const LvDecoder *d)
{
    int at, frame = first_picture(s, d, &at);
    float sum = 0;
    int ret = s->dev->fn->download(s->dev, &sum, s->energy_dev, sizeof(sum));

    return ret < 0 || isfinite(sum) ? ret : fail_frame(s, ", or one soon after it,", frame);
}

static int run_tile(LvSession *s, LvDecoder *d, int ty, int tx)
{
    const LvDeviceFns *fn = s->dev->fn;
    LvPaste to = place(s, ty, tx, d->rgb.dim[0]);
    int ret;

    denormalise(s, s->tiles[0].start[ty], s->tiles[1].start[tx]);
    bind_memory(s, d, ty * s->tiles[1].nb + tx);
    if ((ret = fn->upload(s->dev, s->z, s->z_host, lv_tensor_bytes(&d->z))) < 0 ||
        (ret = lv_program_run(d->net.prog, hook, s)) < 0)
        return ret;
    if (s->opt.on_device && (ret = check_energy(s, d)) < 0)
        return ret;
    if (lv_decode_pastes(s))
        return fn->paste(s->dev, &to);
    if ((ret = fn->download(s->dev, s->rgb_tile, s->rgb_dev, lv_tensor_bytes(&d->rgb))) < 0)
        return ret;
    paste(&to);
    return 0;
}

int lv_decode_run(LvSession *s)
{
    LvDecoder *d = &s->decoder[s->wan && !s->latent_frame ? LV_FIRST : LV_REST];
    double start  = lv_seconds();
    int ret = lv_session_step(s, LV_STAGE_DECODE, s->latent_frame, s->size[0], 0, 0);

    for (int ty = 0; ty < s->tiles[0].nb; ty++)
        for (int tx = 0; tx < s->tiles[1].nb && ret >= 0; tx++)
            ret = run_tile(s, d, ty, tx);
    if (ret >= 0 && s->opt.on_device)
        ret = s->dev->fn->sync(s->dev);
    else if (ret >= 0 && lv_decode_pastes(s))
        ret = s->dev->fn->download(s->dev, s->rgb, s->rgb_whole, 3 * sizeof(float) *
                                   (size_t)d->rgb.dim[0] * (size_t)s->rows * (size_t)s->cols);
    if (ret >= 0 && !s->opt.on_device)
        ret = check_pictures(s, d);
    if (ret < 0)
        return ret;
    s->rgb_frames = d->rgb.dim[0];
    s->rgb_next   = s->latent_frame ? 0 : s->rgb_frames - 1;
    s->latent_frame++;
    s->seconds[LV_STAGE_DECODE] += lv_seconds() - start;
    return 0;
}
