/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/bundle.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/tae.h"
#include "train/pretrain/export.h"

/* Opening */

static int is_of(const char *name, const char *prefix)
{
    return !strncmp(name, prefix, strlen(prefix));
}

/* Over names and bytes. */
static void make_hash(LvBundle *b)
{
    uint64_t h = 0;

    for (int i = 0; i < lv_safetensors_count(b->file); i++) {
        const LvFileTensor *t = lv_safetensors_at(b->file, i);
        if (!is_of(t->name, "dit.") && !is_of(t->name, "text."))
            continue;
        h = lv_hash_text(h, t->name);
        h = lv_hash(h, t->data, t->size);
    }
    snprintf(b->hash, sizeof(b->hash), "%016llx", (unsigned long long)h);
}

/* Sizes of latents follow from the decoder. */
static int find_size(LvBundle *b)
{
    LvWeights *w = NULL;
    LvTae tae = { 0 };
    int ret = lv_weights_new(&w, b->file, b->dev, b->msg);

    if (ret >= 0)
        ret = lv_tae_bind(&tae, &b->cfg.vae, 0, w, "vae.decoder.");
    lv_weights_free(&w);
    if (ret < 0)
        return ret;
    lv_tae_latent_size(&tae, &b->cfg, b->size);
    b->numel = (size_t)b->cfg.vae.channels * (size_t)b->size[0] * (size_t)b->size[1] *
               (size_t)b->size[2];
    return 0;
}

int lv_bundle_open(LvBundle **out, const char *path, LvDevice *dev, const LvMsg *msg)
{
    static const char *const others[] = { "text.", "vae.", "tokenizer." };
    LvBundle *b = *out = calloc(1, sizeof(*b));
    int ret;

    if (!b)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    b->msg = msg;
    b->dev = dev;
    if ((ret = lv_safetensors_open(&b->file, path, msg)) >= 0 &&
        (ret = lv_config_read(&b->cfg, b->file, msg)) >= 0 &&
        (ret = find_size(b)) >= 0 &&
        (ret = lv_weights_new_plain(&b->weights, b->file, dev, msg)) >= 0) {
        for (int i = 0; i < LV_COUNT(others); i++)
            lv_weights_skip(b->weights, others[i]);
        ret = lv_dit_bind(&b->dit, &b->cfg.dit, b->weights, "dit.");
    }
    if (ret < 0 || (ret = lv_weights_finish(b->weights)) < 0)
        lv_bundle_close(out);
    else
        make_hash(b);
    return ret;
}

void lv_bundle_close(LvBundle **out)
{
    LvBundle *b = *out;

    if (!b)
        return;
    lv_dit_free(&b->dit);
    lv_weights_free(&b->weights);
    lv_safetensors_close(&b->file);
    free(b);
    *out = NULL;
}

/* Writing */

static int is_written(const LvParam *t, const LvDitConfig *cfg)
{
    int layer;

    if (!(t->flags & (LV_W_MAP | LV_W_GATE)))
        return 1;
    return t->flags & LV_W_MAP && sscanf(t->name, "dit.blocks.%d.", &layer) == 1 &&
           cfg->attention[layer] == LV_ATTN_LINEAR;
}

static void put_dit(json_t *dit, const LvDitConfig *cfg)
{
    json_t *kinds = json_array();
    int linear = lv_config_layers(cfg, LV_ATTN_LINEAR);

    for (int i = 0; i < cfg->layers; i++)
        json_array_append_new(kinds, json_string(lv_attn_kind_name(
            cfg->attention[i] == LV_ATTN_LINEAR ? LV_ATTN_LINEAR : LV_ATTN_SOFTMAX)));
    json_object_set_new(dit, "attention", kinds);
    if (!linear)
        return;
    json_object_set_new(dit, "feature_map", json_string(lv_map_name(cfg->map)));
    json_object_set_new(dit, "feature_dim", json_integer(cfg->map_dim));
    json_object_set_new(dit, "feature_eps", json_real((double)cfg->map_eps));
}

/* The old configuration with what is new; NULL when out of memory. */
static char *config_text(const LvBundle *b, const LvNewBundle *n)
{
    json_t *root = json_loads(lv_safetensors_meta(b->file, LV_CONFIG_KEY), 0, NULL);
    char *text;

    put_dit(json_object_get(root, "dit"), n->dit);
    if (n->sampler)
        json_object_set_new(root, "sampler", json_loads(n->sampler, 0, NULL));
    if (n->about)
        json_object_set_new(root, n->section, json_loads(n->about, 0, NULL));
    text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return text;
}

static int write_all(const LvBundle *b, const char *path, const LvNewBundle *n,
                     LvExport *e, const float *slab, const char *config)
{
    const char *meta[] = { LV_CONFIG_KEY, config, NULL };

    for (int i = 0; i < n->params->nb; i++)
        if (is_written(&n->params->list[i], n->dit))
            lv_export_add(e, &n->params->list[i], slab);
    for (int i = 0; i < lv_safetensors_count(b->file); i++) {
        const LvFileTensor *t = lv_safetensors_at(b->file, i);
        if (!is_of(t->name, "dit."))
            e->list[e->nb++] = *t;
    }
    return lv_safetensors_write(path, e->list, e->nb, meta, b->msg);
}

int lv_bundle_write(const LvBundle *b, const char *path, const LvNewBundle *n)
{
    const LvParams *p = n->params;
    float *slab  = lv_alloc(p->size * sizeof(*slab));
    char *config = config_text(b, n);
    LvExport e;
    int ret = lv_export_new(&e, p->nb + lv_safetensors_count(b->file), p->size);

    if (!slab || !config)
        ret = LV_ERR(ENOMEM);
    if (ret >= 0 && (ret = lv_params_download(p, LV_SLAB_EMA, slab)) >= 0)
        ret = write_all(b, path, n, &e, slab, config);
    if (ret == LV_ERR(ENOMEM))
        lv_msg(b->msg, LV_MSG_ERROR, "export: out of memory");
    lv_export_free(&e);
    free(config);
    lv_free(slab);
    return ret;
}
