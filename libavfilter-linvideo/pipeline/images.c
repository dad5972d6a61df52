/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/images.h"

#include <stdlib.h>
#include <string.h>

#include "model/presets.h"
#include "model/wan_vae.h"
#include "pipeline/clip_vision.h"
#include "pipeline/prepare.h"
#include "pipeline/vae_encode.h"

/* What networks are given. */
typedef struct Given {
    float *latents;               /* TI2V: [C,1,Y,X]; else the condition [4 + C,F,Y,X] */
    float *features;              /* CLIP's */
} Given;

struct LvImages {
    const LvEnv *env;
    int size[3];                  /* of the clip's latents */
    int rows, cols, tile;         /* of its frames; of encoding */
    int first;                    /* 1: the first clip begins with an image */
    int continues;                /* 1: each other one does, with the frame before */
    LvPixels frame[LV_CLIP_IMAGES]; /* at the clip's size; rgb NULL: not given, or encoded */
    float *seen[LV_CLIP_IMAGES];  /* the same, for CLIP */
    LvVaeEncode *encode;          /* until it has run */
    LvClipVision *clip;           /* the same; NULL: the network attends to no features */
    int last;                     /* 1: the last frame is given */
    int cut[LV_CLIP_IMAGES];      /* 1: to the shape of frames; 0: it is stretched to that */
    Given given[2];               /* of the first clip; of the one that continues another */
    int clip_now;                 /* which of these is given */
};

/* What a model takes */

static int is_ti2v(const LvDitConfig *c)
{
    return !c->cond_channels;
}

/* Clips that begin with the last frame of another. */
static int check_continue(const LvFiles *files, const LvSessionOptions *opt, const LvMsg *msg)
{
    if (opt->video)
        return lv_fail(msg, LV_ERR(EINVAL), "join continue: expected mode text; clips of a video "
                       "go on as it does");
    if (!lv_preset_takes_image(&files->cfg.dit))
        return lv_fail(msg, LV_ERR(EINVAL), "join continue: %s is a model of text to video: it "
                       "takes no image that a clip could go on from; expected join window or cut",
                       files->path);
    if (opt->last_image.width)
        return lv_fail(msg, LV_ERR(EINVAL), "join continue: expected no last_image, with which "
                       "every clip would end");
    return 0;
}

int lv_images_check(const LvFiles *files, const LvSessionOptions *opt, const LvMsg *msg)
{
    const LvDitConfig *c = &files->cfg.dit;
    int first = opt->image.width > 0, last = opt->last_image.width > 0;

    if (last && !first)
        return lv_fail(msg, LV_ERR(EINVAL), "last_image: expected an image beside it, which the "
                       "clip begins with");
    if (first && !lv_preset_takes_image(c))
        return lv_fail(msg, LV_ERR(EINVAL), "image: %s is a model of text to video: it takes no "
                       "image", files->path);
    if (!first && lv_preset_images(c) > 0)
        return lv_fail(msg, LV_ERR(EINVAL), "%s is a model of image to video: expected an image, "
                       "got none", files->path);
    if (last && (is_ti2v(c) || c->clip_images == 1))
        return lv_fail(msg, LV_ERR(EINVAL), "last_image: %s takes the first frame alone",
                       files->path);
    if (!last && lv_preset_images(c) > 1)
        return lv_fail(msg, LV_ERR(EINVAL), "%s goes from a first frame to a last one: expected "
                       "last_image, got none", files->path);
    return opt->join == LV_JOIN_CONTINUE && !opt->loop ? check_continue(files, opt, msg) : 0;
}

/* Preparing */

static int no_memory(const LvImages *g)
{
    return lv_fail(g->env->msg, LV_ERR(ENOMEM), "image: out of memory");
}

static int new_frame(const LvImages *g, LvPixels *p)
{
    *p = (LvPixels) { calloc((size_t)g->rows * (size_t)g->cols * 3, sizeof(float)), g->cols,
                      g->rows };
    return p->rgb ? 0 : LV_ERR(ENOMEM);
}

/* Floats of an image, at the frame's size and as CLIP sees it. */
static int stretch(LvImages *g, int i, const LvImage *image)
{
    const int size[2] = { g->frame[i].width, g->frame[i].height };
    LvPixels pixels   = { 0 };
    int ret = lv_pixels_from(&pixels, image);

    if (ret >= 0)
        ret = lv_prepare_stretch(g->frame[i].rgb, size, &pixels);
    if (ret >= 0 && g->seen[i])
        ret = lv_prepare_clip(g->seen[i], &pixels);
    lv_pixels_free(&pixels);
    return ret;
}

static int new_seen(LvImages *g, int i)
{
    if (!g->env->cfg->dit.clip_dim)
        return 0;
    g->seen[i] = malloc(3 * LV_CLIP_SIDE * LV_CLIP_SIDE * sizeof(float));
    return g->seen[i] ? 0 : LV_ERR(ENOMEM);
}

static int prepare_condition(LvImages *g, int i, const LvImage *image)
{
    const int size[2] = { g->frame[i].width, g->frame[i].height };
    LvImage part = { NULL, 0, 0 };
    int ret = g->cut[i] ? lv_prepare_shape(&part, image, size) : 0;

    if (ret >= 0)
        ret = stretch(g, i, g->cut[i] ? &part : image);
    free(part.rgb);
    return ret;
}

static int prepare_first(LvImages *g, const LvImage *image)
{
    LvPixels *to  = &g->frame[LV_IMAGE_FIRST];
    LvImage cover = { malloc((size_t)to->width * (size_t)to->height * 3), to->width,
                      to->height };
    int ret = cover.rgb ? lv_prepare_cover(&cover, image, g->env->msg) : LV_ERR(ENOMEM);

    if (ret >= 0) {
        lv_pixels_free(to);
        ret = lv_pixels_from(to, &cover);
    }
    free(cover.rgb);
    return ret;
}

static int prepare(LvImages *g, int i, const LvImage *image)
{
    return is_ti2v(&g->env->cfg->dit) ? prepare_first(g, image) : prepare_condition(g, i, image);
}

/* A clip that follows its first image has its shape, but for rounding. */
static int open_frames(LvImages *g, const LvSessionOptions *opt)
{
    const LvImage *image[LV_CLIP_IMAGES] = { &opt->image, &opt->last_image };
    int ret = 0;

    for (int i = 0; i < g->first + g->last && ret >= 0; i++) {
        g->cut[i] = opt->width > 0 || image[i]->width != image[0]->width ||
                    image[i]->height != image[0]->height;
        if ((ret = new_frame(g, &g->frame[i])) >= 0 && (ret = new_seen(g, i)) >= 0 &&
            image[i]->rgb)
            ret = prepare(g, i, image[i]);
    }
    return ret;
}

int lv_images_send(LvImages *g, int which, const LvImage *image)
{
    int ret = prepare(g, which, image);

    return ret == LV_ERR(ENOMEM) ? no_memory(g) : ret;
}

/* Opening */

static int encoded_frames(const LvImages *g)
{
    return is_ti2v(&g->env->cfg->dit) ? 1 : g->size[0];
}

static int make_encoder(LvImages *g)
{
    const LvVaeEncodeShape shape = { { encoded_frames(g), g->size[1], g->size[2] }, g->tile };
    int ret = lv_vae_encode_new(&g->encode, g->env);

    return ret < 0 ? ret : lv_vae_encode_plan(g->encode, &shape);
}

static int make_stages(LvImages *g)
{
    const LvEnv *env = g->env;
    int ret = make_encoder(g);

    if (ret < 0 || !env->cfg->dit.clip_dim)
        return ret;
    return lv_clip_vision_new(&g->clip, env, &env->files->clip, &env->files->clip_cfg);
}

static int open_all(LvImages *g, const LvSessionOptions *opt)
{
    int ret = open_frames(g, opt);

    if (ret == LV_ERR(ENOMEM))
        return no_memory(g);
    return ret < 0 ? ret : make_stages(g);
}

int lv_images_new(LvImages **out, const LvEnv *env, const LvSessionOptions *opt,
                  const LvClipShape *shape)
{
    int first = opt->image.width > 0, ret;
    LvImages *g = *out = first || shape->continues ? calloc(1, sizeof(*g)) : NULL;

    if (!first && !shape->continues)
        return 0;
    if (!g)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "image: out of memory");
    *g = (LvImages) { .env = env, .rows = shape->rows, .cols = shape->cols, .tile = opt->tile,
                      .first = first, .last = opt->last_image.width > 0,
                      .continues = shape->continues };
    memcpy(g->size, shape->size, sizeof(g->size));
    if ((ret = open_all(g, opt)) < 0)
        lv_images_free(out);
    return ret;
}

/* Images, which are needed until they are encoded. */
static void free_frames(LvImages *g)
{
    for (int i = 0; i < LV_CLIP_IMAGES; i++) {
        lv_pixels_free(&g->frame[i]);
        free(g->seen[i]);
        g->seen[i] = NULL;
    }
}

static void free_stages(LvImages *g)
{
    lv_vae_encode_free(&g->encode);
    lv_clip_vision_free(&g->clip);
    free_frames(g);
}

void lv_images_free(LvImages **out)
{
    LvImages *g = *out;

    *out = NULL;
    if (!g)
        return;
    free_stages(g);
    for (int i = 0; i < LV_COUNT(g->given); i++) {
        free(g->given[i].latents);
        free(g->given[i].features);
    }
    free(g);
}

/* Memory */

static size_t latents(const LvImages *g)
{
    return (size_t)encoded_frames(g) * (size_t)g->size[1] * (size_t)g->size[2];
}

/* Values that are encoded, and that are given. */
static size_t encoded_values(const LvImages *g)
{
    return (size_t)g->env->cfg->dit.channels * latents(g);
}

static size_t given_values(const LvImages *g)
{
    const LvDitConfig *c = &g->env->cfg->dit;

    return (size_t)(is_ti2v(c) ? c->channels : c->cond_channels) * latents(g);
}

static size_t feature_values(const LvImages *g)
{
    const LvDitConfig *c = &g->env->cfg->dit;

    return (size_t)c->clip_images * LV_CLIP_ROWS * (size_t)c->clip_dim;
}

static size_t bytes_of(const LvEnv *env, const LvNeed *n)
{
    return lv_need_weights(n) + lv_need_work(n, env->dev);
}

/* Values that are there beside the stages: the frames, what CLIP sees, latents. */
static size_t prepared_values(const LvImages *g)
{
    size_t n = encoded_values(g);

    for (int i = 0; i < LV_CLIP_IMAGES; i++) {
        const LvPixels *p = &g->frame[i];
        n += 3 * (size_t)p->width * (size_t)p->height;
        n += g->seen[i] ? 3 * LV_CLIP_SIDE * LV_CLIP_SIDE : 0;
    }
    return n;
}

/* The encoder and CLIP run one after the other. */
LvNeed lv_images_need(const LvImages *g)
{
    LvNeed need = { 0 }, clip;

    if (!g || !g->encode)
        return need;
    need = lv_vae_encode_need(g->encode);
    if (g->clip) {
        clip = lv_clip_vision_need(g->clip);
        need = bytes_of(g->env, &clip) > bytes_of(g->env, &need) ? clip : need;
    }
    need.host += prepared_values(g) * sizeof(float);
    return need;
}

/* The arena is the networks', which is there meanwhile; CLIP has its own. */
LvNeed lv_images_need_beside(const LvImages *g)
{
    LvNeed need = { 0 };
    size_t arena;

    if (!g || !g->continues)
        return need;
    need  = lv_images_need(g);
    arena = lv_vae_encode_need(g->encode).arena;
    need.state += need.arena > arena ? need.arena : 0;
    need.arena  = LV_MAX(need.arena, arena);
    need.host  += 3 * (size_t)g->rows * (size_t)g->cols * (1 + sizeof(float));
    return need;
}

size_t lv_images_kept(const LvImages *g)
{
    return g ? (given_values(g) + feature_values(g)) * sizeof(float) *
               (size_t)(g->first + g->continues) : 0;
}

/* Running */

/* The frames of latent frame i of the clip. */
static int encode_frame(LvImages *g, int i)
{
    const float *frames[LV_WAN_FRAMES] = { i ? NULL : g->frame[LV_IMAGE_FIRST].rgb };

    if (i && i == encoded_frames(g) - 1)
        frames[LV_WAN_FRAMES - 1] = g->frame[LV_IMAGE_LAST].rgb;
    return lv_vae_encode_run(g->encode, frames);
}

/* The encoder is described again where it is wanted again. */
static int encode_in(LvImages *g, float *z, void *arena)
{
    int ret = lv_vae_encode_build(g->encode, arena), end;

    if (ret >= 0)
        ret = lv_vae_encode_begin(g->encode, z);
    for (int i = 0; i < encoded_frames(g) && ret >= 0; i++)
        ret = encode_frame(g, i);
    lv_vae_encode_free(&g->encode);
    end = g->continues ? make_encoder(g) : 0;
    return ret < 0 ? ret : end;
}

/* arena: NULL: there is none yet */
static int encode(LvImages *g, float *z, void *arena)
{
    LvDevice *dev = g->env->dev;
    void *own     = NULL;
    int ret = arena ? 0 : lv_device_alloc(dev, &own, lv_vae_encode_need(g->encode).arena, "image");

    if (ret >= 0)
        ret = encode_in(g, z, arena ? arena : own);
    if (own)
        dev->fn->free(dev, own);
    return ret;
}

/* Latents z become what the networks are given. */
static int give(LvImages *g, Given *to, const float *z)
{
    const LvDitConfig *c = &g->env->cfg->dit;

    if (!to->latents && !(to->latents = malloc(given_values(g) * sizeof(*z))))
        return no_memory(g);
    if (is_ti2v(c))
        memcpy(to->latents, z, given_values(g) * sizeof(*z));
    else
        lv_prepare_condition(to->latents, z, c->channels, g->size, g->last);
    return 0;
}

static int see(LvImages *g, Given *to)
{
    if (!g->clip)
        return 0;
    if (!to->features && !(to->features = malloc(feature_values(g) * sizeof(*to->features))))
        return no_memory(g);
    return lv_clip_vision_run(g->clip, (const float *const *)g->seen,
                              g->env->cfg->dit.clip_images, to->features);
}

/* Images that are prepared become what the networks are given, and leave. */
static int make_given(LvImages *g, Given *to, void *arena)
{
    float *z = malloc(encoded_values(g) * sizeof(*z));
    int ret  = z ? 0 : no_memory(g);

    if (ret >= 0 && (ret = encode(g, z, arena)) >= 0 && (ret = see(g, to)) >= 0)
        ret = give(g, to, z);
    free(z);
    free_frames(g);
    return ret;
}

int lv_images_run(LvImages *g)
{
    int ret;

    if (!g || !g->first || g->given[0].latents)
        return 0;
    ret = make_given(g, &g->given[0], NULL);
    if (!g->continues)
        free_stages(g);
    return ret;
}

static int prepare_frame(LvImages *g, const LvImage *frame)
{
    int ret = new_frame(g, &g->frame[LV_IMAGE_FIRST]);

    if (ret >= 0 && (ret = new_seen(g, LV_IMAGE_FIRST)) >= 0) {
        g->cut[LV_IMAGE_FIRST] = 0;
        ret = prepare(g, LV_IMAGE_FIRST, frame);
    }
    return ret == LV_ERR(ENOMEM) ? no_memory(g) : ret;
}

int lv_images_continue(LvImages *g, const LvImage *frame, void *arena)
{
    int ret = prepare_frame(g, frame);

    if (ret >= 0)
        ret = make_given(g, &g->given[1], arena);
    free_frames(g);
    g->clip_now = 1;
    return ret;
}

void lv_images_again(LvImages *g)
{
    if (g)
        g->clip_now = 0;
}

int lv_images_show(const LvImages *g, LvNetwork *n)
{
    const Given *now = g ? &g->given[g->clip_now] : NULL;
    int ret;

    if (!g || is_ti2v(&g->env->cfg->dit))
        return 0;
    ret = lv_network_condition(n, now->latents);
    return ret < 0 || !now->features ? ret : lv_network_clip(n, now->features);
}

const float *lv_images_first(const LvImages *g)
{
    return lv_images_gives_first(g) ? g->given[g->clip_now].latents : NULL;
}

int lv_images_gives_first(const LvImages *g)
{
    return g && is_ti2v(&g->env->cfg->dit);
}
