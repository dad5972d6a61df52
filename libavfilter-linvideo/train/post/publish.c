/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/publish.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/post/student.h"
#include "train/pretrain/export.h"

#define ENDING ".json"

static int is_written(const LvParam *t, const LvDitConfig *cfg)
{
    int layer;

    if (!(t->flags & (LV_W_MAP | LV_W_GATE)))
        return 1;
    return t->flags & LV_W_MAP && sscanf(t->name, "dit.blocks.%d.", &layer) == 1 &&
           cfg->attention[layer] == LV_ATTN_LINEAR;
}

/* The network's tensors; names begin behind the first `skip` bytes. */
static void add_network(LvExport *e, const LvNewNetwork *n, const float *slab, size_t skip)
{
    for (int i = 0; i < n->params->nb; i++) {
        if (!is_written(&n->params->list[i], n->dit))
            continue;
        lv_export_add(e, &n->params->list[i], slab);
        e->list[e->nb - 1].name += skip;
    }
}

/* Bundles */

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

/* Clips of the size that was learned on. */
static void put_clip(json_t *video, const LvVideoConfig *v)
{
    json_object_set_new(video, "width", json_integer(v->width));
    json_object_set_new(video, "height", json_integer(v->height));
    json_object_set_new(video, "frames", json_integer(v->frames));
}

/* The old configuration with what is new; NULL when out of memory. */
static char *config_text(const LvFrozen *b, const LvNewNetwork *n)
{
    json_t *root = json_loads(b->config, 0, NULL);
    char *text;

    put_dit(json_object_get(root, "dit"), n->dit);
    put_clip(json_object_get(root, "video"), &b->cfg.video);
    if (n->sampler)
        json_object_set_new(root, "sampler", json_loads(n->sampler, 0, NULL));
    if (n->about)
        json_object_set_new(root, n->section, json_loads(n->about, 0, NULL));
    text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return text;
}

/* Tensors of the bundle's other parts. */
static int add_others(LvExport *e, const LvFrozen *b)
{
    const LvSource *src = b->files.src[0];
    int ret = 0;

    for (int i = 0; i < lv_source_count(src) && ret >= 0; i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        if (lv_part_owns(&b->files.dit, t->name))
            continue;
        if ((ret = lv_source_load(src, t, b->msg)) >= 0)
            e->list[e->nb++] = *t;
    }
    return ret;
}

static int write_bundle(const LvFrozen *b, const char *path, const LvNewNetwork *n,
                        LvExport *e, const float *slab)
{
    char *config       = config_text(b, n);
    const char *meta[] = { LV_CONFIG_KEY, config, NULL };
    int ret;

    add_network(e, n, slab, 0);
    ret = config ? add_others(e, b) : LV_ERR(ENOMEM);
    if (ret >= 0)
        ret = lv_safetensors_write(path, e->list, e->nb, meta, b->msg);
    free(config);
    return ret;
}

/* Manifests */

static int check_name(const LvFrozen *b, const char *path)
{
    size_t len = strlen(path), end = strlen(ENDING);

    if (b->files.bundle || (len > end && !strcmp(path + len - end, ENDING)))
        return 0;
    return lv_fail(b->msg, LV_ERR(EINVAL), "%s: %s is a manifest, and so is its output: "
                   "expected a name that ends in " ENDING "; the network is written beside it",
                   path, b->files.path);
}

/* The same file from anywhere. A link at its end is kept, as what shards lie beside. */
static char *whole_path(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    char *real   = folder ? realpath(folder, NULL) : NULL, *whole = NULL;
    size_t n     = real ? strlen(real) + strlen(name) + 2 : 0;

    if (real && (whole = malloc(n)))
        snprintf(whole, n, "%s/%s", strcmp(real, "/") ? real : "", name);
    free(folder);
    free(real);
    return whole;
}

/* Name a file of the old manifest, from wherever the new one lies. */
static int name_file(json_t *root, const char *key, const char *path, const LvMsg *msg)
{
    char *whole = path ? whole_path(path) : NULL;
    int ret = 0;

    if (path && (!whole || json_object_set_new(root, key, json_string(whole)) < 0))
        ret = lv_fail(msg, LV_ERR(EINVAL), "%s: no path that a manifest can hold, expected "
                      "UTF-8", path);
    free(whole);
    return ret;
}

/* The files of a new manifest, whose network lies beside it. */
static int name_files(json_t *root, const LvFrozen *b, const char *network)
{
    const LvFiles *f = &b->files;
    const char *name = strrchr(network, '/');
    int ret;

    if (json_object_set_new(root, "dit", json_string(name ? name + 1 : network)) < 0)
        return lv_fail(b->msg, LV_ERR(EINVAL), "%s: no name that a manifest can hold, expected "
                       "UTF-8", network);
    if ((ret = name_file(root, "text", lv_source_path(f->text.src), b->msg)) < 0 ||
        (ret = name_file(root, "vae", lv_source_path(f->vae.src), b->msg)) < 0)
        return ret;
    return name_file(root, "tokenizer", f->spm_path, b->msg);
}

/* Whether a manifest can name them. */
static int check_files(const LvFrozen *b, const char *network)
{
    json_t *root = json_object();
    int ret      = name_files(root, b, network);

    json_decref(root);
    return ret;
}

/* NAME.safetensors of NAME.json. */
int lv_publish_network(char network[LV_PUBLISH_PATH], const LvFrozen *b, const char *path)
{
    int stem, ret = check_name(b, path);

    *network = '\0';
    if (ret < 0 || b->files.bundle)
        return ret;
    stem = (int)(strlen(path) - strlen(ENDING));
    if (snprintf(network, LV_PUBLISH_PATH, "%.*s.safetensors", stem, path) >= LV_PUBLISH_PATH)
        return lv_fail(b->msg, LV_ERR(EINVAL), "%s: the name is too long", path);
    return check_files(b, network);
}

static int write_network(const LvFrozen *b, const char *path, const LvNewNetwork *n,
                         LvExport *e, const float *slab)
{
    char section[64], eps[32];
    const char *meta[] = { "format", "pt", LV_MAP_KEY, lv_map_name(n->dit->map),
                           LV_MAP_EPS_KEY, eps, section, n->about, NULL };

    snprintf(eps, sizeof(eps), "%.9g", (double)n->dit->map_eps);
    snprintf(section, sizeof(section), "linvideo.%s", n->section);
    if (!n->about)
        meta[6] = NULL;
    add_network(e, n, slab, strlen("dit."));
    return lv_safetensors_write(path, e->list, e->nb, meta, b->msg);
}

static void set_video(json_t *root, const LvVideoConfig *v)
{
    json_t *video = json_object();

    put_clip(video, v);
    json_object_set_new(video, "fps", json_integer(v->rate_num));
    json_object_set_new(video, "fps_den", json_integer(v->rate_den));
    json_object_set_new(root, "video", video);
}

/* The old manifest with the new network, whose weights hold the LoRAs. @return 0 or an error;
 * *text is freed by the caller */
static int manifest_text(char **text, const LvFrozen *b, const LvNewNetwork *n,
                         const char *network)
{
    json_t *root = json_load_file(b->files.path, 0, NULL);
    int ret;

    *text = NULL;
    if (!json_is_object(root)) {
        json_decref(root);
        return lv_fail(b->msg, LV_ERR_MODEL, "%s: is not a manifest any more", b->files.path);
    }
    ret = name_files(root, b, network);
    json_object_del(root, "loras");
    set_video(root, &b->cfg.video);
    if (n->sampler)
        json_object_set_new(root, "sampler", json_loads(n->sampler, 0, NULL));
    if (ret >= 0 && !(*text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9))))
        ret = LV_ERR(ENOMEM);
    json_decref(root);
    return ret;
}

static int write_manifest(const LvFrozen *b, const char *path, const LvNewNetwork *n,
                          LvExport *e, const float *slab)
{
    char network[LV_PUBLISH_PATH], *text = NULL;
    int ret;

    if ((ret = lv_publish_network(network, b, path)) >= 0 &&
        (ret = manifest_text(&text, b, n, network)) >= 0 &&
        (ret = write_network(b, network, n, e, slab)) >= 0)
        ret = lv_file_write(path, text, strlen(text), b->msg);
    free(text);
    return ret;
}

/* Averages; of what did not learn, whose average is rounded, the values. */
static int read_weights(const LvNewNetwork *n, float *slab)
{
    const LvParams *p = n->params;
    int ret = lv_params_download(p, LV_SLAB_EMA, slab);

    for (int i = 0; i < p->nb && ret >= 0; i++)
        if (!lv_student_learns(&p->list[i], n->only))
            ret = lv_param_get(p, LV_SLAB_VALUE, &p->list[i], slab + p->list[i].at);
    return ret;
}

int lv_publish(const LvFrozen *b, const char *path, const LvNewNetwork *n)
{
    const LvParams *p = n->params;
    int others  = b->files.bundle ? lv_source_count(b->files.src[0]) : 0;
    float *slab = lv_alloc(p->size * sizeof(*slab));
    LvExport e;
    int ret = lv_export_new(&e, p->nb + others, p->size);

    if (!slab)
        ret = LV_ERR(ENOMEM);
    if (ret >= 0 && (ret = read_weights(n, slab)) >= 0)
        ret = b->files.bundle ? write_bundle(b, path, n, &e, slab)
                              : write_manifest(b, path, n, &e, slab);
    if (ret == LV_ERR(ENOMEM))
        lv_msg(b->msg, LV_MSG_ERROR, "export: out of memory");
    lv_export_free(&e);
    lv_free(slab);
    return ret;
}
