/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Files of reference numbers of pictures: how they are prepared, and what CLIP sees in them.
 */

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/clip.h"
#include "pipeline/prepare.h"
#include "tests/nets_kit.h"

/* Numbers that must be equal: where they are not, ours are no numbers. */
static void put_exact(const NetsOptions *opt, const LvSafetensors *st, const char *name,
                      float *ours)
{
    const LvFileTensor *ref = lv_safetensors_find(st, name);
    const int32_t *whole    = ref ? ref->data : NULL;
    const uint8_t *bytes    = ref ? ref->data : NULL;
    const float *floats     = ref ? ref->data : NULL;

    for (size_t i = 0; ref && i < ref->numel; i++) {
        float r = ref->dtype == LV_U8 ? bytes[i]
                : ref->dtype == LV_I32 ? (float)whole[i] : floats[i];
        ours[i] = ours[i] == r ? r : NAN;
    }
    put(opt, st, name, ours);
}

/* CLIP's image tower */

typedef struct ClipRun {
    Run run;
    LvTensor x, ids, y;
    LvClipWatch watch;
    float *in, *ids_dev, *out, *act[2]; /* device */
} ClipRun;

static int open_clip(ClipRun *c, const LvClip *m, const NetsOptions *opt)
{
    LvGraph *g = lv_graph_new(opt->msg);
    int ret;

    c->x   = lv_external(g, "patches", LV_F32, 2, (const int[]) { LV_CLIP_ROWS, LV_CLIP_IN });
    c->ids = lv_external(g, "ids", LV_I32, 1, (const int[]) { LV_CLIP_ROWS });
    c->y   = lv_clip_trace(g, m, c->x, c->ids, (LvDtype)opt->dtype, &c->watch);
    lv_output(g, c->y, "features");
    lv_watch(g, c->watch.in, "activation");
    if (c->watch.block0.id != c->y.id)
        lv_watch(g, c->watch.block0, "activation");
    if ((ret = run_new(&c->run, g, opt->dev)) < 0)
        return ret;
    c->in      = run_bind(&c->run, c->x);
    c->ids_dev = run_bind(&c->run, c->ids);
    c->out     = run_bind(&c->run, c->y);
    c->act[0]  = run_bind(&c->run, c->watch.in);
    c->act[1]  = c->watch.block0.id != c->y.id ? run_bind(&c->run, c->watch.block0) : c->out;
    return c->in && c->ids_dev && c->out && c->act[0] && c->act[1] ? 0 : LV_ERR(ENOMEM);
}

static void put_clip_tensor(const ClipRun *c, const LvSafetensors *st, const NetsOptions *opt,
                            LvTensor t, const float *data, const char *name, int image)
{
    float *v = new_floats(lv_tensor_numel(&t));
    char full[64];

    snprintf(full, sizeof(full), "%s%d", name, image);
    if (v && fetch(c->run.dev, t, data, v) >= 0)
        put(opt, st, full, v);
    free(v);
}

/* Pixels of the picture, which are compared: [224,224,3]. */
static float *clip_pixels(const LvSafetensors *st, const NetsOptions *opt, int image)
{
    enum { AREA = LV_CLIP_SIDE * LV_CLIP_SIDE };
    char name[32];
    const LvFileTensor *t;
    LvPixels p = { 0 };
    float *rgb = new_floats(3 * AREA), *planes = new_floats(3 * AREA);
    int ret    = LV_ERR_MODEL;

    snprintf(name, sizeof(name), "in.image%d", image);
    t = lv_safetensors_find(st, name);
    if (rgb && planes && t && t->dtype == LV_U8 && t->rank == 3 &&
        (ret = lv_pixels_from(&p, &(LvImage) { (uint8_t *)t->data, (int)t->dim[1],
                                               (int)t->dim[0] })) >= 0 &&
        (ret = lv_prepare_clip(rgb, &p)) >= 0) {
        for (int i = 0; i < 3 * AREA; i++)
            planes[i % 3 * AREA + i / 3] = rgb[i];
        snprintf(name, sizeof(name), "out.pixels%d", image);
        put(opt, st, name, planes);
    }
    lv_pixels_free(&p);
    free(planes);
    if (ret < 0) {
        free(rgb);
        rgb = NULL;
    }
    return rgb;
}

static int run_clip_image(ClipRun *c, const LvSafetensors *st, const NetsOptions *opt, int image)
{
    float *rgb   = clip_pixels(st, opt, image);
    float *x     = new_floats(LV_CLIP_ROWS * LV_CLIP_IN);
    int32_t *ids = malloc(LV_CLIP_ROWS * sizeof(*ids));
    int ret      = rgb && x && ids ? 0 : LV_ERR(ENOMEM);

    if (ret >= 0) {
        lv_clip_patches(x, ids, rgb);
        lv_device_upload(opt->dev, c->in, x, lv_tensor_bytes(&c->x));
        lv_device_upload(opt->dev, c->ids_dev, ids, lv_tensor_bytes(&c->ids));
        ret = lv_program_run(c->run.p, NULL, NULL);
    }
    if (ret >= 0) {
        put_clip_tensor(c, st, opt, c->watch.in, c->act[0], "act.pre_norm", image);
        put_clip_tensor(c, st, opt, c->watch.block0, c->act[1], "act.block0_", image);
        put_clip_tensor(c, st, opt, c->y, c->out, "out.features", image);
    }
    free(rgb);
    free(x);
    free(ids);
    return ret;
}

static int number(const LvSafetensors *st, const char *key)
{
    const char *text = lv_safetensors_meta(st, key);

    return text ? atoi(text) : 0;
}

int run_clip_file(const LvSafetensors *st, const NetsOptions *opt)
{
    const LvClipConfig cfg = {
        .dim = size_of(st, "weights.visual.pre_norm.bias", 0),
        .ffn_dim = size_of(st, "weights.visual.transformer.0.mlp.0.bias", 0),
        .heads = number(st, "clip_heads"), .layers = number(st, "clip_layers"),
    };
    LvWeights *w = NULL;
    LvClip m     = { .block = NULL };
    ClipRun c    = { .run = { .dev = opt->dev } };
    char name[32];
    int ret;

    if (cfg.dim < 1 || cfg.heads < 1 || cfg.layers < 2 || cfg.layers > LV_MAX_LAYERS)
        return lv_fail(opt->msg, LV_ERR_MODEL, "%s: metadata do not describe CLIP's image tower",
                       lv_safetensors_path(st));
    if ((ret = open_weights(&w, st, "weights.", opt)) >= 0 &&
        (ret = lv_clip_bind(&m, &cfg, w, "weights.")) >= 0 &&
        (ret = lv_weights_finish(w)) >= 0)
        ret = open_clip(&c, &m, opt);
    for (int i = 0; ret >= 0; i++) {
        snprintf(name, sizeof(name), "in.image%d", i);
        if (!lv_safetensors_find(st, name))
            break;
        ret = run_clip_image(&c, st, opt, i);
    }
    run_free(&c.run);
    lv_clip_free(&m);
    lv_weights_free(&w);
    return ret;
}

/* Sizes of clips */

static int size_for(const char *name, int size[2], const int image[2], const LvMsg *msg)
{
    return strstr(name, "ti2v") ? lv_prepare_size_ti2v(size, image, 704 * 1280, msg)
         : lv_prepare_size(size, image, strstr(name, "480p") ? 480 * 832 : 720 * 1280, msg);
}

static int run_table(const LvSafetensors *st, const NetsOptions *opt)
{
    static const char *const names[] = { "out.table.i2v_720p_wh", "out.table.i2v_480p_wh",
                                         "out.table.ti2v_wh" };
    const LvFileTensor *t = lv_safetensors_find(st, "in.table.image_wh");
    const int32_t *wh     = t ? t->data : NULL;
    float *ours           = t ? new_floats(t->numel) : NULL;
    int ret = 0;

    for (int k = 0; k < LV_COUNT(names) && ours && t->dtype == LV_I32 && ret >= 0; k++) {
        for (size_t i = 0; i + 1 < t->numel && ret >= 0; i += 2) {
            int size[2];
            ret = size_for(names[k], size, (const int[]) { wh[i], wh[i + 1] }, opt->msg);
            ours[i]     = (float)size[0];
            ours[i + 1] = (float)size[1];
        }
        if (ret >= 0)
            put_exact(opt, st, names[k], ours);
    }
    free(ours);
    return ret;
}

/* Cases */

typedef struct Case {
    const LvSafetensors *st;
    const NetsOptions *opt;
    char name[64];
    int ti2v;
    double area;
    int size[2];
} Case;

static const char *name_of(const Case *c, const char *side, const char *what)
{
    static char name[2][128];
    static int next;

    next = !next;
    snprintf(name[next], sizeof(name[next]), "%s.%s.%s", side, c->name, what);
    return name[next];
}

static LvImage image_of(const Case *c, const char *what)
{
    const LvFileTensor *t = lv_safetensors_find(c->st, name_of(c, "in", what));

    if (!t || t->dtype != LV_U8 || t->rank != 3 || t->dim[2] != 3)
        return (LvImage) { NULL, 0, 0 };
    return (LvImage) { (uint8_t *)t->data, (int)t->dim[1], (int)t->dim[0] };
}

/* [Y,X,3] as [3,Y,X]; exact: see put_exact() */
static void put_picture(const Case *c, const char *what, const float *rgb, int exact)
{
    size_t area = (size_t)c->size[0] * (size_t)c->size[1];
    const LvFileTensor *ref = lv_safetensors_find(c->st, name_of(c, "out", what));
    float *planes = ref && ref->numel == 3 * area ? new_floats(3 * area) : NULL;

    for (size_t i = 0; planes && i < 3 * area; i++)
        planes[exact ? i : i % 3 * area + i / 3] = rgb[i];
    if (planes && exact)
        put_exact(c->opt, c->st, name_of(c, "out", what), planes);
    else if (planes)
        put(c->opt, c->st, name_of(c, "out", what), planes);
    free(planes);
}

static int run_stretch(const Case *c, const char *what, const LvPixels *p)
{
    float *rgb = new_floats(3 * (size_t)c->size[0] * (size_t)c->size[1]);
    int ret    = rgb ? lv_prepare_stretch(rgb, c->size, p) : LV_ERR(ENOMEM);

    if (ret >= 0)
        put_picture(c, what, rgb, 0);
    free(rgb);
    return ret;
}

static int run_last(const Case *c, const LvImage *first)
{
    const LvImage image = image_of(c, "last_image");
    LvPixels last = { 0 }, cut = { 0 };
    int ret = 0;

    if (image.rgb && (ret = lv_pixels_from(&last, &image)) >= 0 &&
        (ret = lv_prepare_last(&cut, &last, (const int[]) { first->width, first->height },
                               c->opt->msg)) >= 0)
        ret = run_stretch(c, "last", &cut);
    lv_pixels_free(&cut);
    lv_pixels_free(&last);
    return ret;
}

/* The mask, and the tokens of as many latent frames. */
static int run_mask(const Case *c, int last)
{
    const char *name = name_of(c, "out", "mask");
    int frames  = size_of(c->st, name, 1);
    float *mask = new_floats((size_t)LV_MASK_CHANNELS * (size_t)frames);
    float tokens = (float)frames * (float)(c->size[0] / 16) * (float)(c->size[1] / 16);

    if (!mask)
        return LV_ERR(ENOMEM);
    if (frames) {
        lv_prepare_mask(mask, frames, last);
        put_exact(c->opt, c->st, name, mask);
        put_exact(c->opt, c->st, name_of(c, "out", "seq_len"), &tokens);
    }
    free(mask);
    return 0;
}

static int run_wide(const Case *c, const LvImage *image)
{
    LvPixels p = { 0 };
    int ret    = lv_pixels_from(&p, image);

    if (ret >= 0 && (ret = run_stretch(c, "first", &p)) >= 0 &&
        (ret = run_last(c, image)) >= 0)
        ret = run_mask(c, image_of(c, "last_image").rgb != NULL);
    lv_pixels_free(&p);
    return ret;
}

static int run_cover(const Case *c, const LvImage *image)
{
    size_t n   = 3 * (size_t)c->size[0] * (size_t)c->size[1];
    LvImage to = { malloc(n), c->size[0], c->size[1] };
    LvPixels p = { 0 };
    float *bytes = new_floats(n);
    int ret = to.rgb && bytes ? lv_prepare_cover(&to, image, c->opt->msg) : LV_ERR(ENOMEM);

    if (ret >= 0 && (ret = lv_pixels_from(&p, &to)) >= 0) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = to.rgb[i];
        put_picture(c, "first_u8", bytes, 1);
        put_picture(c, "first", p.rgb, 0);
    }
    lv_pixels_free(&p);
    free(bytes);
    free(to.rgb);
    return ret;
}

static int run_case(Case *c)
{
    const LvImage image = image_of(c, "image");
    const int wh[]      = { image.width, image.height };
    int ret;

    if (!image.rgb)
        return lv_fail(c->opt->msg, LV_ERR_MODEL, "%s: no picture %s", lv_safetensors_path(c->st),
                       name_of(c, "in", "image"));
    ret = c->ti2v ? lv_prepare_size_ti2v(c->size, wh, c->area, c->opt->msg)
                  : lv_prepare_size(c->size, wh, c->area, c->opt->msg);
    if (ret < 0)
        return ret;
    return c->ti2v ? run_cover(c, &image) : run_wide(c, &image);
}

int run_prepare_file(const LvSafetensors *st, const NetsOptions *opt)
{
    const char *text = lv_safetensors_meta(st, "cfg"), *key;
    json_t *root     = text ? json_loads(text, 0, NULL) : NULL, *v;
    int ret = root ? run_table(st, opt) : LV_ERR_MODEL;

    json_object_foreach(json_object_get(root, "cases"), key, v) {
        const char *pipe = json_string_value(json_object_get(v, "pipe"));
        Case c = { .st = st, .opt = opt, .ti2v = pipe && strstr(pipe, "ti2v"),
                   .area = json_number_value(json_object_get(v, "max_area")) };
        snprintf(c.name, sizeof(c.name), "%.60s", key);
        if (ret >= 0)
            ret = run_case(&c);
    }
    json_decref(root);
    return ret;
}
