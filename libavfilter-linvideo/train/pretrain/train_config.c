/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/train_config.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "train/reel/stock.h"
#include "train/run/optimrows.h"

#define AT(member) offsetof(LvTrainConfig, member)
static const LvConfigRow rows[] = {
    ROW("train", "seed", INT, seed, 0, 1 << 30, 1),
    ROW("data", "clips", NAME, data.clips, 0, 16, 0),
    ROW("data", "art",   NAME, data.art,   0, 512, 0),
    OPTIM("autoencoder", autoencoder, NAN, NAN),
    ROW("autoencoder", "batch",   INT,  autoencoder.batch, 1, 4096, NAN),
    ROW("autoencoder", "frames",  INT,  autoencoder.frames, 0, 8192, 0),
    ROW("autoencoder", "crop_width",  INT, autoencoder.crop_width, 0, 8192, 0),
    ROW("autoencoder", "crop_height", INT, autoencoder.crop_height, 0, 8192, 0),
    ROW("autoencoder", "noise",   REAL, autoencoder.noise, 0, 10, 0),
    ROW("autoencoder", "penalty", REAL, autoencoder.penalty, 0, 10, 0),
    OPTIM("flow", flow, NAN, NAN),
    ROW("flow", "clips",   INT,  flow.clips,   1, 1 << 24, NAN),
    ROW("flow", "batch",   INT,  flow.batch,   1, 65536, NAN),
    ROW("flow", "micro",   INT,  flow.micro,   1, 1024, NAN),
    ROW("flow", "dropout", REAL, flow.dropout, 0, 1, 0.1),
    ROW("flow", "t_mean",  REAL, flow.t_mean,  -10, 10, 0),
    ROW("flow", "t_std",   REAL, flow.t_std,   0.01, 10, 1),
    ROW("flow", "shift",   REAL, flow.shift,   0.01, 100, 1),
};

static int fail(const char *path, const LvMsg *msg, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s", path, what);
}

static int number(const json_t *object, const char *key, int fallback)
{
    const json_t *v = json_object_get(object, key);
    json_int_t n = json_integer_value(v);

    return v ? (int)LV_CLAMP(n, -1, INT_MAX) : fallback;
}

static int read_design(LvTaeDesign *d, const json_t *root, const char *path,
                       const LvMsg *msg)
{
    const json_t *list = json_object_get(json_object_get(root, "vae"), "stages"), *v;
    size_t i;

    if (json_array_size(list) < 1 || json_array_size(list) > LV_TAE_MAX_STAGES)
        return fail(path, msg, "vae.stages is not a list of 1 to 4 stages");
    json_array_foreach((json_t *)list, i, v) {
        d->stage[i].width  = number(v, "width", 0);
        d->stage[i].blocks = number(v, "blocks", 1);
        d->stage[i].frames = number(v, "frames", 1);
        if (d->stage[i].width < 1 || d->stage[i].width > 1024 || d->stage[i].blocks < 0 ||
            d->stage[i].blocks > 16 || d->stage[i].frames < 1 || d->stage[i].frames > 8)
            return fail(path, msg, "vae.stages: allowed are width 1 to 1024, blocks 0 to "
                        "16, frames 1 to 8");
    }
    d->stages = (int)json_array_size(list);
    return 0;
}

int lv_train_latent_scale(const LvTrainConfig *c)
{
    return c->model.vae.patch << (c->design.stages - 1);
}

int lv_train_latent_frames(const LvTrainConfig *c)
{
    int n = 1;

    for (int i = 1; i < c->design.stages; i++)
        n *= c->design.stage[i].frames;
    return n;
}

void lv_train_shape_size(const LvTrainConfig *c, const LvFlowShape *shape, int size[3])
{
    size[0] = (shape->frames - 1) / lv_train_latent_frames(c) + 1;
    size[1] = shape->height / lv_train_latent_scale(c);
    size[2] = shape->width / lv_train_latent_scale(c);
}

LvFlowShape lv_train_video_shape(const LvTrainConfig *c)
{
    const LvVideoConfig *v = &c->model.video;

    return (LvFlowShape) { v->width, v->height, v->frames, c->flow.micro, c->flow.clips };
}

void lv_train_latent_size(const LvTrainConfig *c, int size[3])
{
    LvFlowShape video = lv_train_video_shape(c);

    lv_train_shape_size(c, &video, size);
}

/* The list flow.shapes; without it the video's size. */
static int read_shapes(LvTrainConfig *c, const json_t *root, const char *path,
                       const LvMsg *msg)
{
    const json_t *list = json_object_get(json_object_get(root, "flow"), "shapes"), *v;
    LvFlowConfig *f = &c->flow;
    size_t i;

    f->shapes   = 1;
    f->shape[0] = lv_train_video_shape(c);
    if (!list)
        return 0;
    if (json_array_size(list) < 1 || json_array_size(list) > LV_FLOW_SHAPES)
        return fail(path, msg, "flow.shapes is not a list of 1 to 8 sizes");
    json_array_foreach((json_t *)list, i, v)
        f->shape[i] = (LvFlowShape) { number(v, "width", -1), number(v, "height", -1),
                                      number(v, "frames", -1), number(v, "micro", f->micro),
                                      number(v, "clips", f->clips) };
    f->shapes = (int)json_array_size(list);
    return 0;
}

/* Whether the network takes clips of a shape, and its numbers are in range. */
static int check_shape(const LvTrainConfig *c, const LvFlowShape *s, const char *path,
                       const LvMsg *msg)
{
    int scale = lv_train_latent_scale(c), size[3];
    const int *patch = c->model.dit.patch;

    if (s->width < 1 || s->width > 8192 || s->height < 1 || s->height > 8192 ||
        s->frames < 1 || s->frames > 1021 || s->micro < 1 || s->micro > 1024 ||
        s->clips < 1 || s->clips > 1 << 24)
        return fail(path, msg, "flow.shapes: allowed are width and height 1 to 8192, frames "
                    "1 to 1021, micro 1 to 1024, clips 1 to 16777216");
    if (s->width % scale || s->height % scale ||
        (s->frames - 1) % lv_train_latent_frames(c))
        return fail(path, msg, "video or flow.shapes: the autoencoder does not cut width, "
                    "height and frames - 1 into whole latents");
    lv_train_shape_size(c, s, size);
    return size[0] % patch[0] || size[1] % patch[1] || size[2] % patch[2] ?
           fail(path, msg, "dit.patch does not cut the latents into whole tokens") : 0;
}

/* Bytes of all sets of latents. */
static double latent_bytes(const LvTrainConfig *c)
{
    double sum = 0;
    int size[3];

    for (int i = 0; i < c->flow.shapes; i++) {
        lv_train_shape_size(c, &c->flow.shape[i], size);
        sum += 2.0 * c->flow.shape[i].clips * c->model.vae.channels * size[0] * size[1] *
               size[2];
    }
    return sum;
}

static int check_autoencoder(const LvTrainConfig *c, const char *path, const LvMsg *msg)
{
    const LvAutoencoderConfig *a = &c->autoencoder;
    const LvVideoConfig *v = &c->model.video;
    int scale = lv_train_latent_scale(c);

    if (a->crop_width % scale || a->crop_height % scale || a->crop_width > v->width ||
        a->crop_height > v->height)
        return fail(path, msg, "autoencoder: crops must be whole latents within the "
                    "picture");
    return (a->frames - 1) % lv_train_latent_frames(c) || a->frames > v->frames ?
           fail(path, msg, "autoencoder.frames must be whole latents within the clip") : 0;
}

static int check(const LvTrainConfig *c, const char *path, const LvMsg *msg)
{
    LvFlowShape video = lv_train_video_shape(c);
    double need = latent_bytes(c);
    const double mib = 1 << 20;
    int ret = check_shape(c, &video, path, msg);

    for (int i = 0; i < c->flow.shapes && ret >= 0; i++)
        ret = check_shape(c, &c->flow.shape[i], path, msg);
    if (ret < 0 || (ret = check_autoencoder(c, path, msg)) < 0)
        return ret;
    if (c->flow.batch % c->flow.micro)
        return fail(path, msg, "flow.micro does not divide flow.batch");
    if (need > (double)lv_host_available())
        return lv_fail(msg, LV_ERR_MODEL, "%s: flow.clips is %d, whose latents take %.0f MiB; "
                       "%.0f are available", path, c->flow.clips, need / mib,
                       (double)lv_host_available() / mib);
    return lv_config_layers(&c->model.dit, LV_ATTN_SOFTMAX) == c->model.dit.layers ? 0 :
           fail(path, msg, "dit.attention: training starts with softmax layers only");
}

static int read_json(LvTrainConfig *c, const json_t *root, const char *path,
                     const LvMsg *msg)
{
    LvOptim *optim[] = { &c->autoencoder.optim, &c->flow.optim };
    int ret;

    if (!(c->text = json_dumps(root, JSON_INDENT(1))))
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = lv_config_parse(&c->model, c->text, path, msg)) < 0 ||
        (ret = lv_config_rows(c, rows, LV_COUNT(rows), root, path, msg)) < 0 ||
        (ret = read_design(&c->design, root, path, msg)) < 0 ||
        (ret = read_shapes(c, root, path, msg)) < 0)
        return ret;
    if (!c->autoencoder.frames)
        c->autoencoder.frames = c->model.video.frames;
    if (!c->autoencoder.crop_width)
        c->autoencoder.crop_width = c->model.video.width;
    if (!c->autoencoder.crop_height)
        c->autoencoder.crop_height = c->model.video.height;
    for (int i = 0; i < LV_COUNT(optim); i++)
        optim[i]->seed = (uint64_t)c->seed;
    return check(c, path, msg);
}

int lv_train_config_read(LvTrainConfig *c, const char *path, const LvMsg *msg)
{
    json_t *root;
    int ret;

    memset(c, 0, sizeof(*c));
    if ((ret = lv_config_load(&root, path, msg)) < 0)
        return ret;
    ret = read_json(c, root, path, msg);
    json_decref(root);
    return ret;
}

void lv_train_config_free(LvTrainConfig *c)
{
    free(c->text);
    c->text = NULL;
}

static void put_floats(json_t *object, const char *key, const float *x, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    json_object_set_new(object, key, list);
}

static long long tokens(const LvFlowShape *s)
{
    return (long long)s->width * s->height * s->frames;
}

/* The size that clips have by default: the recipe's where the flow has seen it, else the
 * largest that it has. */
static const LvFlowShape *best_shape(const LvTrainConfig *c)
{
    const LvFlowShape *best = &c->flow.shape[0];
    LvFlowShape video = lv_train_video_shape(c);

    for (int i = 0; i < c->flow.shapes; i++) {
        const LvFlowShape *s = &c->flow.shape[i];
        if (s->width == video.width && s->height == video.height && s->frames == video.frames)
            return s;
        if (tokens(s) > tokens(best))
            best = s;
    }
    return best;
}

static void put_number(json_t *object, const char *key, int value)
{
    json_object_set_new(object, key, json_integer(value));
}

static int side_of(const LvFlowShape *s, size_t at)
{
    return *(const int *)(const void *)((const char *)s + at);
}

/* Section "range", and the video's size: what the flow was trained on. */
static void put_range(json_t *root, const LvTrainConfig *c)
{
    static const struct { const char *least, *most, *name; size_t at; } sides[] = {
        { "min_width", "max_width", "width", offsetof(LvFlowShape, width) },
        { "min_height", "max_height", "height", offsetof(LvFlowShape, height) },
        { "min_frames", "max_frames", "frames", offsetof(LvFlowShape, frames) },
    };
    json_t *video = json_object_get(root, "video"), *range = json_object();

    for (int k = 0; k < LV_COUNT(sides); k++) {
        int least = INT_MAX, most = 0;

        for (int i = 0; i < c->flow.shapes; i++) {
            int side = side_of(&c->flow.shape[i], sides[k].at);
            least = LV_MIN(least, side);
            most  = LV_MAX(most, side);
        }
        put_number(range, sides[k].least, least);
        put_number(range, sides[k].most, most);
        put_number(video, sides[k].name, side_of(best_shape(c), sides[k].at));
    }
    json_object_set_new(root, "range", range);
}

char *lv_train_config_text(const LvTrainConfig *c, const float *mean, const float *std)
{
    json_t *root = json_loads(c->text, 0, NULL), *vae = json_object_get(root, "vae");
    char *text, words[LV_MAX_WORDS];
    LvStock stock;

    put_floats(vae, "latent_mean", mean, c->model.vae.channels);
    put_floats(vae, "latent_std", std, c->model.vae.channels);
    if (json_object_get(json_object_get(root, "flow"), "shapes") &&
        !json_object_get(root, "range"))
        put_range(root, c);
    if (lv_stock_open(&stock, c->data.clips, c->data.art, 0, 0, NULL) >= 0 &&
        lv_stock_words(&stock, words, sizeof(words)) >= 0)
        json_object_set_new(json_object_get(root, "text"), "words", json_string(words));
    text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return text;
}
