/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/frozen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "pipeline/decode.h"

/* A hash */

/* Names and bytes of the tensors of a part. The tokenizer, which may be one, stays there. */
static int hash_part(uint64_t *h, const LvPart *part, const LvFrozen *b)
{
    int ret = 0;

    for (int i = 0; i < lv_source_count(part->src) && ret >= 0; i++) {
        const LvFileTensor *t = lv_source_at(part->src, i);
        if (!lv_part_owns(part, t->name) || (ret = lv_source_load(part->src, t, b->msg)) < 0)
            continue;
        *h = lv_hash_text(*h, t->name);
        *h = lv_hash(*h, t->data, t->size);
        if (t->data != b->files.spm)
            lv_source_drop(part->src, t);
    }
    return ret;
}

/* A network that LoRAs change, by what it became. */
typedef struct Bound {
    LvDevice *dev;
    uint64_t h;
} Bound;

static int hash_tensor(void *opaque, const char *name, const LvTensor *t)
{
    Bound *b   = opaque;
    size_t n   = lv_tensor_bytes(t);
    void *data = lv_alloc(n);
    int ret    = data ? lv_device_download(b->dev, data, t->data, n) : LV_ERR(ENOMEM);

    if (ret >= 0)
        b->h = lv_hash(lv_hash_text(b->h, name), data, n);
    lv_free(data);
    return ret;
}

static int hash_network(uint64_t *h, const LvFrozen *b)
{
    Bound bound = { b->dev, *h };
    int ret;

    if (!b->files.loras)
        return hash_part(h, &b->files.dit, b);
    if ((ret = lv_dit_each(&b->dit, hash_tensor, &bound)) == LV_ERR(ENOMEM))
        lv_msg(b->msg, LV_MSG_ERROR, "training: out of memory");
    *h = bound.h;
    return ret;
}

/* Clips of another size than the model's, and maps that are not the usual ones: what a run
 * or trajectories began with, they go on with. */
static uint64_t hash_choices(uint64_t h, const LvFrozen *b)
{
    const LvVideoConfig *v = &b->cfg.video, *own = &b->files.cfg.video;
    const LvDitConfig *c   = &b->cfg.dit;
    char text[96];

    if (v->width != own->width || v->height != own->height || v->frames != own->frames) {
        snprintf(text, sizeof(text), "%dx%d, %d frames", v->width, v->height, v->frames);
        h = lv_hash_text(h, text);
    }
    if (c->map_dim && (c->map != LV_MAP_HEDGEHOG || c->map_eps != 1e-6f)) {
        snprintf(text, sizeof(text), "%s %.9g", lv_map_name(c->map), (double)c->map_eps);
        h = lv_hash_text(h, text);
    }
    return h;
}

static int make_hash(LvFrozen *b)
{
    uint64_t h = 0;
    int ret;

    if ((ret = hash_network(&h, b)) < 0 || (ret = hash_part(&h, &b->files.text, b)) < 0)
        return ret;
    if (!b->files.bundle)
        h = lv_hash_text(h, lv_frozen_negative(b));
    h = hash_choices(h, b);
    snprintf(b->hash, sizeof(b->hash), "%016llx", (unsigned long long)h);
    return 0;
}

/* Opening */

/* Sizes of latents follow from the decoder. */
static int find_size(LvFrozen *b)
{
    const int frame[2] = { b->cfg.video.width, b->cfg.video.height };
    LvDecode *d;
    int ret = lv_decode_new(&d, &b->env);

    if (ret < 0)
        return ret;
    lv_config_latents(&b->cfg, frame, lv_decode_frames(d), lv_decode_scale(d), b->size);
    b->numel = (size_t)b->cfg.vae.channels * (size_t)b->size[0] * (size_t)b->size[1] *
               (size_t)b->size[2];
    lv_decode_free(&d);
    return 0;
}

static void choose_clip(LvVideoConfig *v, const LvFrozenClip *c)
{
    v->width  = c->width ? c->width : v->width;
    v->height = c->height ? c->height : v->height;
    v->frames = c->frames ? c->frames : v->frames;
}

/* A student is trained on one network's velocities. */
static int check_files(const LvFrozen *b)
{
    if (b->files.cfg.dit.cond_channels)
        return lv_fail(b->msg, LV_ERR_UNSUPPORTED, "%s: the network is one of image to video: "
                       "training is of text to video", b->files.path);
    return !b->files.low.kind ? 0 :
           lv_fail(b->msg, LV_ERR_UNSUPPORTED, "%s: a model of two networks, for much and little "
                   "noise: training is of one", b->files.path);
}

static int copy_config(LvFrozen *b)
{
    const char *own = lv_source_meta(b->files.src[0], LV_CONFIG_KEY);

    b->config = b->files.bundle ? strdup(own) : lv_config_text(&b->cfg);
    return b->config ? 0 : lv_fail(b->msg, LV_ERR(ENOMEM), "training: out of memory");
}

static int bind(LvFrozen *b)
{
    LvWeightsFrom from = { .plain = 1, .loras = b->files.loras };
    int ret = lv_env_weights(&b->env, &b->files.dit, from, &b->weights);

    if (ret < 0 ||
        (ret = lv_dit_bind(&b->dit, &b->cfg.dit, b->weights, b->files.dit.prefix)) < 0 ||
        (ret = lv_weights_finish(b->weights)) < 0)
        return ret;
    return b->files.loras ? lv_loras_finish(b->files.loras, b->msg) : 0;
}

static int open_all(LvFrozen *b, const char *path, const LvFrozenClip *clip)
{
    int ret = lv_files_open(&b->files, path, NULL, 0, 0, b->msg);

    if (ret < 0 || (ret = check_files(b)) < 0)
        return ret;
    b->cfg = b->files.cfg;
    b->env = (LvEnv) { .msg = b->msg, .dev = b->dev, .files = &b->files, .cfg = &b->cfg,
                       .dtype = LV_F32 };
    if (clip)
        choose_clip(&b->cfg.video, clip);
    if ((ret = find_size(b)) < 0 || (ret = copy_config(b)) < 0 || (ret = bind(b)) < 0)
        return ret;
    return make_hash(b);
}

int lv_frozen_open(LvFrozen **out, const char *path, const LvFrozenClip *clip, LvDevice *dev,
                   const LvMsg *msg)
{
    LvFrozen *b = *out = calloc(1, sizeof(*b));
    int ret;

    if (!b)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    b->msg = msg;
    b->dev = dev;
    if ((ret = open_all(b, path, clip)) < 0)
        lv_frozen_close(out);
    return ret;
}

void lv_frozen_close(LvFrozen **out)
{
    LvFrozen *b = *out;

    if (!b)
        return;
    lv_dit_free(&b->dit);
    lv_weights_free(&b->weights);
    lv_files_close(&b->files);
    free(b->config);
    free(b);
    *out = NULL;
}

const char *lv_frozen_negative(const LvFrozen *b)
{
    return b->files.negative ? b->files.negative : "";
}

static int count(void *opaque, const char *name, const LvTensor *t)
{
    size_t *n = opaque;

    (void)name;
    *n += lv_tensor_numel(t);
    return 0;
}

size_t lv_frozen_weights(const LvFrozen *b)
{
    size_t n = 0;

    lv_dit_each(&b->dit, count, &n);
    return n;
}
