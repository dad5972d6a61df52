/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/footage.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/presets.h"
#include "pipeline/vae_encode.h"

enum { GROUP_MAX = 64 };

struct LvVideo {
    const LvEnv *env;
    LvClipShape shape;
    LvVaeEncode *encode;
    LvMemory memory;
    LvImage seen;       /* part of a frame that is delivered: its size; host */
    float *group;       /* host: frames of a latent frame, each [rows,cols,3] */
    float *z;           /* host: latents */
    uint8_t *mask;      /* host: what is white of a mask in seen's size */
    float *kept;        /* host: [F,Y,X] */
    int masked, keeps;  /* 1: there is a mask; some frame of the clip had one */
    int waiting;        /* frames of the group */
    int sent, encoded;  /* frames; latent frames */
};

int lv_video_check(const LvFiles *files, const LvSessionOptions *opt, const LvMsg *msg)
{
    if (!opt->video)
        return 0;
    if (opt->image.width || opt->last_image.width)
        return lv_fail(msg, LV_ERR(EINVAL), "mode video: expected no image beside the video");
    if (files->cfg.dit.cond_channels)
        return lv_fail(msg, LV_ERR(EINVAL), "mode video: %s is a model of image to video: "
                       "expected one of text to video", files->path);
    return 0;
}

/* The part of frames, in the middle, that the delivery shows. */
static void find_seen(LvVideo *v)
{
    const LvVideoConfig *out = &v->env->cfg->video;
    int rows = v->shape.rows, cols = v->shape.cols;
    double scale = v->shape.scaled ? fmax((double)out->height / rows, (double)out->width / cols)
                                   : 1;

    v->seen.width  = LV_MIN(LV_MAX((int)rint(out->width / scale), 1), cols);
    v->seen.height = LV_MIN(LV_MAX((int)rint(out->height / scale), 1), rows);
}

int lv_video_new(LvVideo **out, const LvEnv *env, const LvClipShape *shape, int tile)
{
    const LvVaeEncodeShape encode = { { shape->size[0], shape->size[1], shape->size[2] }, tile };
    LvVideo *v = *out = calloc(1, sizeof(*v));
    int ret;

    if (!v)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "video: out of memory");
    v->env   = env;
    v->shape = *shape;
    find_seen(v);
    if ((ret = lv_vae_encode_new(&v->encode, env)) < 0 ||
        (ret = lv_vae_encode_plan(v->encode, &encode)) < 0)
        lv_video_free(out);
    return ret;
}

void lv_video_free(LvVideo **out)
{
    LvVideo *v = *out;

    *out = NULL;
    if (!v)
        return;
    lv_vae_encode_free(&v->encode);
    lv_memory_free(&v->memory, v->env->dev);
    free(v);
}

/* Memory */

static size_t frame_values(const LvVideo *v)
{
    return 3 * (size_t)v->shape.rows * (size_t)v->shape.cols;
}

static size_t latent_values(const LvVideo *v)
{
    const int *size = v->shape.size;

    return (size_t)v->env->cfg->dit.channels * (size_t)size[0] * (size_t)size[1] *
           (size_t)size[2];
}

static size_t lay_out(LvVideo *v, char *base)
{
    size_t group = (size_t)lv_vae_encode_frames(v->encode);
    LvRegion region = { .base = base };

    v->group    = lv_region_take(&region, group * frame_values(v) * sizeof(*v->group));
    v->z        = lv_region_take(&region, latent_values(v) * sizeof(*v->z));
    v->seen.rgb = lv_region_take(&region, 3 * (size_t)v->seen.width * (size_t)v->seen.height);
    v->mask     = lv_region_take(&region, (size_t)v->seen.width * (size_t)v->seen.height);
    v->kept     = lv_region_take(&region, latent_values(v) / (size_t)v->env->cfg->dit.channels *
                                          sizeof(*v->kept));
    return region.at;
}

LvNeed lv_video_need(const LvVideo *v)
{
    LvNeed need = { 0 };
    LvVideo sizes;

    if (!v)
        return need;
    sizes      = *v;
    need       = lv_vae_encode_need(v->encode);
    need.host += lay_out(&sizes, NULL);
    return need;
}

int lv_video_build(LvVideo *v, void *arena)
{
    LvVideo sizes;
    LvNeed need;
    int ret;

    if (!v)
        return 0;
    sizes = *v;
    need  = (LvNeed) { .host = lay_out(&sizes, NULL) };
    if ((ret = lv_memory_new(&v->memory, v->env->dev, &need)) < 0)
        return ret;
    lay_out(v, v->memory.host);
    return lv_vae_encode_build(v->encode, arena);
}

/* Frames */

void lv_video_begin(LvVideo *v)
{
    if (v)
        v->waiting = v->sent = v->encoded = v->keeps = 0;
}

int lv_video_sent(const LvVideo *v)
{
    return v->sent;
}

const float *lv_video_latents(const LvVideo *v)
{
    return v->encoded == v->shape.size[0] ? v->z : NULL;
}

/* Frames of the next latent frame. */
static int group_size(const LvVideo *v)
{
    return v->encoded ? lv_vae_encode_frames(v->encode) : 1;
}

const float *lv_video_kept(const LvVideo *v)
{
    return v->keeps ? v->kept : NULL;
}

/* What is seen at a row or column of frames: its edges lie around it. */
static int seen_at(int at, int frame, int seen)
{
    return LV_CLAMP(at - (frame - seen) / 2, 0, seen - 1);
}

/* White of a mask, by BT.601. */
static void take_white(LvVideo *v)
{
    const uint8_t *p = v->seen.rgb;

    for (size_t i = 0; i < (size_t)v->seen.width * (size_t)v->seen.height; i++, p += 3)
        v->mask[i] = (uint8_t)((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
}

int lv_video_mask(LvVideo *v, const LvImage *mask)
{
    int ret = mask ? lv_prepare_cover(&v->seen, mask, v->env->msg) : 0;

    if (ret == LV_ERR(ENOMEM))
        lv_msg(v->env->msg, LV_MSG_ERROR, "mask: out of memory");
    if (ret < 0)
        return ret;
    v->masked = mask != NULL;
    if (mask)
        take_white(v);
    return 0;
}

/* Mean of the mask over the pixels of a latent, in row i and column j. */
static float white_at(const LvVideo *v, int i, int j)
{
    int side = v->shape.rows / v->shape.size[1], sum = 0;

    for (int y = i * side; y < (i + 1) * side; y++)
        for (int x = j * side; x < (j + 1) * side; x++)
            sum += v->mask[seen_at(y, v->shape.rows, v->seen.height) * v->seen.width +
                           seen_at(x, v->shape.cols, v->seen.width)];
    return (float)sum / (float)(255 * side * side);
}

/* The mask of a frame counts for as much of its latent as the frame is of the group. */
static void add_mask(LvVideo *v)
{
    const int *size = v->shape.size;
    float *to = v->kept + (size_t)v->encoded * (size_t)size[1] * (size_t)size[2];

    if (!v->keeps)
        memset(v->kept, 0, (size_t)size[0] * (size_t)size[1] * (size_t)size[2] * sizeof(*to));
    v->keeps |= v->masked;
    for (int i = 0; i < size[1] && v->masked; i++)
        for (int j = 0; j < size[2]; j++)
            to[i * size[2] + j] += white_at(v, i, j) / (float)group_size(v);
}

/* Floats of what is seen, -1 to 1, and its edges around it. */
static void spread(const LvVideo *v, float *to)
{
    for (int i = 0; i < v->shape.rows; i++) {
        int row = seen_at(i, v->shape.rows, v->seen.height);
        const uint8_t *line = v->seen.rgb + 3 * (size_t)row * (size_t)v->seen.width;
        for (int j = 0; j < v->shape.cols; j++) {
            const uint8_t *p = line + 3 * seen_at(j, v->shape.cols, v->seen.width);
            for (int c = 0; c < 3; c++)
                *to++ = ((float)p[c] / 255 - 0.5f) / 0.5f;
        }
    }
}

/* Encode the group that waits; begin the clip with the first one. */
static int encode(LvVideo *v)
{
    const LvAt at = { LV_STAGE_TEXT, v->encoded, v->shape.size[0], 0, 0 };
    const float *frames[GROUP_MAX];
    int ret = lv_env_tell(v->env, at);

    assert(v->waiting <= GROUP_MAX);
    for (int i = 0; i < v->waiting; i++)
        frames[i] = v->group + (size_t)i * frame_values(v);
    if (ret >= 0 && !v->encoded)
        ret = lv_vae_encode_begin(v->encode, v->z);
    if (ret < 0 || (ret = lv_vae_encode_run(v->encode, frames)) < 0)
        return ret;
    v->waiting = 0;
    v->encoded++;
    return 0;
}

/* The frame that is seen goes into the group. */
static int put(LvVideo *v)
{
    add_mask(v);
    spread(v, v->group + (size_t)v->waiting * frame_values(v));
    return ++v->waiting < group_size(v) ? 0 : encode(v);
}

int lv_video_send(LvVideo *v, const LvImage *frame)
{
    int ret = lv_prepare_cover(&v->seen, frame, v->env->msg);

    assert(!lv_video_latents(v) && v->sent < v->env->cfg->video.frames);
    if (ret == LV_ERR(ENOMEM))
        lv_msg(v->env->msg, LV_MSG_ERROR, "video: out of memory");
    if (ret < 0)
        return ret;
    v->sent++;
    ret = put(v);
    return ret < 0 || v->sent < v->env->cfg->video.frames ? ret : lv_video_end(v);
}

int lv_video_end(LvVideo *v)
{
    int ret = 0;

    assert(v->sent);
    while (!lv_video_latents(v) && ret >= 0)
        ret = put(v);
    return ret;
}
