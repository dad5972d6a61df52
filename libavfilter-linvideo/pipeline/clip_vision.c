/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/clip_vision.h"

#include <stdlib.h>

#include "base/convert.h"
#include "model/clip.h"
#include "pipeline/net.h"

struct LvClipVision {
    const LvEnv *env;
    const LvPart *part;
    LvClipConfig cfg;
    LvWeights *weights;
    void *room;          /* device: the weights' */
    LvClip net;
    LvNet program;
    LvTensor x, ids, y;  /* of a picture */
    LvMemory memory;
    void *arena;
    float *x_dev, *y_dev, *x_host;
    int32_t *ids_dev, *ids_host;
};

/* Weights */

static void free_weights(LvClipVision *c)
{
    lv_clip_free(&c->net);
    lv_weights_free(&c->weights);
    if (c->room)
        lv_device_free(c->env->dev, c->room);
    c->room = NULL;
}

static int describe(LvClipVision *c)
{
    const LvEnv *env   = c->env;
    LvWeightsFrom from = { .src = c->part->src, .layout = c->part->layout,
                           .wide = env->dtype, .described = 1 };
    int ret;

    free_weights(c);
    if ((ret = lv_weights_new_from(&c->weights, &from, env->dev, env->msg)) < 0)
        return ret;
    lv_files_skip_others(c->weights, c->part);
    if ((ret = lv_clip_bind(&c->net, &c->cfg, c->weights, c->part->prefix)) < 0)
        return ret;
    return lv_weights_finish(c->weights);
}

/* Planning */

static int plan(LvClipVision *c)
{
    LvGraph *g = lv_graph_new(c->env->msg);

    if (!g)
        return lv_fail(c->env->msg, LV_ERR(ENOMEM), "CLIP: out of memory");
    c->x   = lv_external(g, "patches", LV_F32, 2, (const int[]) { LV_CLIP_ROWS, LV_CLIP_IN });
    c->ids = lv_external(g, "ids", LV_I32, 1, (const int[]) { LV_CLIP_ROWS });
    c->y   = lv_clip_trace(g, &c->net, c->x, c->ids, c->env->dtype, NULL);
    lv_output(g, c->y, "features");
    return lv_net_plan(&c->program, &g, c->env->dev);
}

int lv_clip_vision_new(LvClipVision **out, const LvEnv *env, const LvPart *part,
                       const LvClipConfig *cfg)
{
    LvClipVision *c = *out = calloc(1, sizeof(*c));
    int ret;

    if (!c)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "CLIP: out of memory");
    c->env  = env;
    c->part = part;
    c->cfg  = *cfg;
    if ((ret = describe(c)) < 0 || (ret = plan(c)) < 0)
        lv_clip_vision_free(out);
    return ret;
}

static void free_work(LvClipVision *c)
{
    lv_net_free(&c->program);
    lv_memory_free(&c->memory, c->env->dev);
    if (c->arena)
        lv_device_free(c->env->dev, c->arena);
    c->arena = NULL;
}

void lv_clip_vision_free(LvClipVision **out)
{
    LvClipVision *c = *out;

    if (!c)
        return;
    free_work(c);
    free_weights(c);
    free(c);
    *out = NULL;
}

/* Memory */

static size_t lay_out_device(LvClipVision *c, char *base)
{
    LvRegion region = { .base = base };

    c->x_dev   = lv_region_take(&region, lv_tensor_bytes(&c->x));
    c->y_dev   = lv_region_take(&region, lv_tensor_bytes(&c->y));
    c->ids_dev = lv_region_take(&region, lv_tensor_bytes(&c->ids));
    return region.at;
}

static size_t lay_out_host(LvClipVision *c, char *base)
{
    LvRegion region = { .base = base };

    c->x_host   = lv_region_take(&region, lv_tensor_bytes(&c->x));
    c->ids_host = lv_region_take(&region, lv_tensor_bytes(&c->ids));
    return region.at;
}

LvNeed lv_clip_vision_need(const LvClipVision *c)
{
    LvClipVision sizes = *c;
    LvNeed need = lv_need_of(&c->program.sizes);

    need.weights += lv_weights_bytes(c->weights);
    need.state    = lay_out_device(&sizes, NULL);
    need.host     = lay_out_host(&sizes, NULL);
    return need;
}

/* Running */

static int build(LvClipVision *c)
{
    const LvNeed need = lv_clip_vision_need(c);
    LvProgram *p;
    int ret;

    if ((ret = lv_memory_new(&c->memory, c->env->dev, &need)) < 0 ||
        (ret = lv_env_load(c->env, c->weights, &c->room, &c->program.prog, 1)) < 0 ||
        (ret = lv_device_alloc(c->env->dev, &c->arena, c->program.sizes.arena, "CLIP")) < 0)
        return ret;
    lay_out_device(c, c->memory.device);
    lay_out_host(c, c->memory.host);
    p = c->program.prog;
    if ((ret = lv_program_build(p, c->arena)) < 0)
        return ret;
    lv_program_bind(p, c->x, c->x_dev);
    lv_program_bind(p, c->ids, c->ids_dev);
    lv_program_bind(p, c->y, c->y_dev);
    return lv_weights_check(c->weights);
}

static int run_picture(LvClipVision *c, const float *pixels, int number, float *features)
{
    LvDevice *dev = c->env->dev;
    size_t n = lv_tensor_numel(&c->y);
    int ret;

    lv_clip_patches(c->x_host, c->ids_host, pixels);
    if ((ret = lv_device_upload(dev, c->x_dev, c->x_host, lv_tensor_bytes(&c->x))) < 0 ||
        (ret = lv_device_upload(dev, c->ids_dev, c->ids_host, lv_tensor_bytes(&c->ids))) < 0 ||
        (ret = lv_program_run(c->program.prog, lv_env_hook, (void *)c->env)) < 0 ||
        (ret = lv_device_download(dev, features, c->y_dev, lv_tensor_bytes(&c->y))) < 0)
        return ret;
    return lv_find_nonfinite(features, LV_F32, LV_F32, n) == n ? 0 :
           lv_fail(c->env->msg, LV_ERR_MODEL, "%s: CLIP: values of image %d are not finite%s",
                   lv_source_path(c->part->src), number, lv_env_hint(c->env, 1));
}

int lv_clip_vision_run(LvClipVision *c, const float *const *pixels, int nb, float *features)
{
    int ret = build(c), end;

    for (int i = 0; i < nb && ret >= 0; i++)
        ret = run_picture(c, pixels[i], i, features + (size_t)i * lv_tensor_numel(&c->y));
    free_work(c);
    /* as it was before: described and planned */
    end = describe(c);
    if (end >= 0)
        end = plan(c);
    return ret < 0 ? ret : end;
}
