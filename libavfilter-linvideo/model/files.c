/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/files.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/names.h"
#include "model/presets.h"
#include "model/range.h"
#include "model/spm_gguf.h"
#include "model/stored.h"

enum { PATH_SIZE = 4096, LORAS_MAX = 32, MANIFEST_MAX = 1 << 20, SPM_MAX = 64 << 20 };

/* A file is opened once. */
static int open_source(LvFiles *f, const char *path, LvSource **src, const LvMsg *msg)
{
    int ret = 0;

    for (int i = 0; i < f->nb_src; i++)
        if (!strcmp(lv_source_path(f->src[i]), path))
            return *src = f->src[i], 0;
    if ((ret = lv_source_open(&f->src[f->nb_src], path, msg)) >= 0)
        *src = f->src[f->nb_src++];
    return ret;
}

static int is_spm(const char *name)
{
    size_t n = strlen(name), k = strlen("spiece_model");

    return n >= k && !strcmp(name + n - k, "spiece_model") && (n == k || name[n - k - 1] == '.');
}

const LvFileTensor *lv_files_spm_of(const LvSource *src)
{
    for (int i = 0; i < lv_source_count(src); i++)
        if (is_spm(lv_source_at(src, i)->name))
            return lv_source_at(src, i);
    return NULL;
}

void lv_files_skip_others(LvWeights *w, const LvPart *part)
{
    for (int i = 0; i < lv_source_count(part->src); i++) {
        const char *name = lv_source_at(part->src, i)->name;
        if (!lv_part_owns(part, name) || is_spm(name))
            lv_weights_skip_at(w, i);
    }
}

void lv_files_skip_parts(const LvFiles *f, LvWeights *w, const LvPart *part)
{
    const LvPart *parts[] = { &f->dit, &f->text, &f->vae };

    if (!f->bundle) {
        lv_files_skip_others(w, part);
        return;
    }
    for (int i = 0; i < LV_COUNT(parts); i++)
        if (parts[i] != part)
            lv_weights_skip(w, parts[i]->prefix);
    lv_weights_skip(w, "tokenizer.");
}

/* Parts that do not fit each other, or can't be run. */
static int check_parts(const LvFiles *f, const LvMsg *msg)
{
    const LvModelConfig *c = &f->cfg;

    if (c->dit.cond_channels || c->dit.clip_dim)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: the network is one of image to video, and "
                       "pictures are not taken", f->path);
    if (c->dit.channels != c->vae.channels)
        return lv_fail(msg, LV_ERR_MODEL, "%s: the network makes latents of %d channels, the "
                       "decoder takes %d", f->path, c->dit.channels, c->vae.channels);
    return 0;
}

/* Bundles */

static LvPart part_of(const LvSource *src, int kind, const char *prefix)
{
    LvPart p = { .src = src, .kind = kind };

    strcpy(p.prefix, prefix);
    return p;
}

static int take_spm(LvFiles *f, const LvSource *src, const LvFileTensor *t,
                    const LvMsg *msg)
{
    f->spm      = t ? t->data : NULL;
    f->spm_size = t ? t->size : 0;
    f->spm_type = t ? t->dtype : LV_U8;
    return t ? lv_source_load(src, t, msg) : 0;
}

/* A negative prompt, which a bundle of a manifest has. */
static int read_negative(LvFiles *f, const char *config, const LvMsg *msg)
{
    json_t *root = json_loads(config, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "negative_prompt"));

    f->negative = text ? strdup(text) : NULL;
    json_decref(root);
    return f->negative || !text ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory",
                                              f->path);
}

static int open_bundle(LvFiles *f, const LvLoraFile *loras, int nb_loras,
                       const LvMsg *msg)
{
    const LvSource *src = f->src[0];
    const char *text    = lv_source_meta(src, LV_CONFIG_KEY);
    char file[512];
    int ret;

    if (!text)
        return lv_fail(msg, LV_ERR_MODEL, "%s: not a linvideo bundle: its metadata has no '"
                       LV_CONFIG_KEY "' (separate files need a manifest: linvideo setup "
                       "writes one)", f->path);
    snprintf(file, sizeof(file), "%s: " LV_CONFIG_KEY, f->path);
    if ((ret = lv_config_parse(&f->cfg, text, file, msg)) < 0 ||
        (ret = read_negative(f, text, msg)) < 0 || (ret = check_parts(f, msg)) < 0)
        return ret;
    f->bundle = 1;
    f->dit    = part_of(src, LV_PART_DIT, "dit.");
    f->text   = part_of(src, LV_PART_TEXT, "text.");
    f->vae    = part_of(src, f->cfg.vae.kind == LV_VAE_WAN ? LV_PART_WAN_VAE : LV_PART_TAE,
                        "vae.");
    if ((ret = take_spm(f, src, lv_source_find(src, "tokenizer.spm"), msg)) < 0)
        return ret;
    return nb_loras ? lv_loras_open(&f->loras, loras, nb_loras, msg) : 0;
}

/* Manifests */

typedef struct Manifest {
    LvFiles *f;
    const json_t *root;
    const LvMsg *msg;
} Manifest;

static int fail(const Manifest *m, const char *key, const char *what)
{
    char shown[LV_SHOW_SIZE];

    return lv_fail(m->msg, LV_ERR_MODEL, "%s: %s %s", m->f->path,
                   lv_text_show(shown, key, strlen(key)), what);
}

/* What a manifest may hold. */
static const struct {
    const char *section, *key; ///< section NULL: at the top
} known[] = {
    { NULL, "dit" }, { NULL, "text" }, { NULL, "vae" }, { NULL, "tokenizer" },
    { NULL, "loras" }, { NULL, "preset" }, { NULL, "video" }, { NULL, "sampler" },
    { NULL, "negative_prompt" }, { NULL, "latents" }, { "video", "width" },
    { "video", "height" }, { "video", "frames" }, { "video", "fps" },
    { "video", "fps_den" }, { "sampler", "solver" }, { "sampler", "steps" },
    { "sampler", "shift" }, { "sampler", "guidance" },
};

static int is_known(const char *section, const char *key)
{
    for (int i = 0; i < LV_COUNT(known); i++)
        if (!strcmp(known[i].key, key) &&
            (section ? known[i].section && !strcmp(known[i].section, section)
                     : !known[i].section))
            return 1;
    return 0;
}

static int check_keys(const Manifest *m, const char *section)
{
    const json_t *object = section ? json_object_get(m->root, section) : m->root;
    const char *key;
    json_t *value;

    if (section && object && !json_is_object(object))
        return fail(m, section, "is not an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        if (!is_known(section, key))
            return fail(m, key, "is not a key of a manifest");
    return 0;
}

/* Path of a file that a manifest names. */
static int path_of(char *path, const Manifest *m, const char *key, const json_t *name)
{
    const char *text = json_string_value(name), *slash = strrchr(m->f->path, '/');
    int folder = slash && text && text[0] != '/' ? (int)(slash - m->f->path) + 1 : 0;

    if (!text || !*text)
        return fail(m, key, name ? "is not a file name" : "is missing");
    return snprintf(path, PATH_SIZE, "%.*s%s", folder, m->f->path, text) < PATH_SIZE ? 0 :
           fail(m, key, "is too long");
}

static int open_part(const Manifest *m, const char *key, LvPart *part)
{
    char path[PATH_SIZE];
    int ret = path_of(path, m, key, json_object_get(m->root, key));
    LvSource *src;

    if (ret < 0 || (ret = open_source(m->f, path, &src, m->msg)) < 0 ||
        (ret = lv_part_check(src, m->msg)) < 0)
        return ret;
    *part = lv_part_find_kind(src, !strcmp(key, "dit") ? LV_PART_DIT
                                 : !strcmp(key, "text") ? LV_PART_TEXT : LV_PART_WAN_VAE);
    if (!part->kind && !strcmp(key, "vae"))
        *part = lv_part_find_kind(src, LV_PART_TAE);
    return part->kind ? 0 : lv_fail(m->msg, LV_ERR_MODEL, "%s: holds no %s network that is known",
                              path, key);
}

/* The network is one that can be run as Wan2.1 is. */
static int check_dit(const Manifest *m)
{
    const LvSource *src = m->f->dit.src;
    LvHint h;

    lv_hint(&h, src, lv_source_path(src), 0);
    return lv_hint_check(&h, lv_source_path(src), json_object_get(m->root, "preset") != NULL,
                         m->msg);
}

static int check_loras(const LvLoraFile *lora, int nb, const LvMsg *msg)
{
    int ret = 0;
    LvHint h;

    for (int i = 0; i < nb && ret >= 0; i++) {
        lv_hint(&h, NULL, lora[i].path, 1);
        ret = lv_hint_check(&h, lora[i].path, 1, msg);
    }
    return ret;
}

static int open_tokenizer(const Manifest *m)
{
    const json_t *name = json_object_get(m->root, "tokenizer");
    LvFiles *f = m->f;
    char path[PATH_SIZE];
    int ret;

    if (name) {
        if ((ret = path_of(path, m, "tokenizer", name)) < 0 ||
            (ret = lv_map_open_upto(&f->spm_map, path, SPM_MAX, m->msg)) < 0)
            return ret;
        f->spm      = f->spm_map.data;
        f->spm_size = f->spm_map.size;
        f->spm_type = LV_U8;
        f->spm_path = strdup(path);
        return f->spm_path ? 0 : lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", f->path);
    }
    if ((ret = take_spm(f, f->text.src, lv_files_spm_of(f->text.src), m->msg)) < 0)
        return ret;
    if (!f->spm && lv_source_gguf(f->text.src)) {
        f->spm_made = lv_files_spm_of_gguf(lv_source_gguf(f->text.src), &f->spm_size);
        f->spm      = f->spm_made;
    }
    return f->spm ? 0 : fail(m, "tokenizer", "is missing, and the text encoder's file holds "
                             "none: it is the file spiece.model");
}

static int read_lora(const Manifest *m, const json_t *v, char *path, LvLoraFile *lora)
{
    const json_t *weight = json_object_get(v, "weight");
    double w = weight ? json_number_value(weight) : 1;

    if (!json_is_object(v) || (weight && !json_is_number(weight)) || !isfinite(w) ||
        fabs(w) > LV_LORA_WEIGHT_MAX)
        return fail(m, "loras", "holds an entry that is not {\"file\", \"weight\"}");
    *lora = (LvLoraFile) { path, (float)w, m->f->strict };
    return path_of(path, m, "loras", json_object_get(v, "file"));
}

static int open_loras(const Manifest *m, const LvLoraFile *more, int nb_more)
{
    const json_t *list = json_object_get(m->root, "loras");
    size_t nb    = json_array_size(list);
    char (*path)[PATH_SIZE] = calloc(nb + 1, sizeof(*path));
    LvLoraFile *all = calloc(nb + (size_t)nb_more + 1, sizeof(*all));
    int ret = path && all ? 0 : lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", m->f->path);

    if (ret >= 0 && ((list && !json_is_array(list)) || nb > LORAS_MAX))
        ret = fail(m, "loras", "is not a list, or too long");
    for (size_t i = 0; i < nb && ret >= 0; i++)
        ret = read_lora(m, json_array_get(list, i), path[i], &all[i]);
    if (ret >= 0) {
        if (nb_more)
            memcpy(all + nb, more, (size_t)nb_more * sizeof(*all));
        ret = check_loras(all, (int)nb + nb_more, m->msg);
        if (ret >= 0 && nb + (size_t)nb_more)
            ret = lv_loras_open(&m->f->loras, all, (int)nb + nb_more, m->msg);
    }
    free(path);
    free(all);
    return ret;
}

/* Tensors of a file that no part of the model has, told once. */
static int tell_others(const LvFiles *f, const LvSource *src, const LvMsg *msg)
{
    const LvPart *parts[] = { &f->dit, &f->text, &f->vae };
    const char *first = NULL;
    int nb = 0;

    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        const char *name = t->name;
        int used = is_spm(name) || !t->numel || lv_stored_is_marker(t);
        for (int k = 0; k < LV_COUNT(parts); k++)
            used |= parts[k]->src == src && lv_part_owns(parts[k], name);
        first = used || nb ? first : name;
        nb   += !used;
    }
    if (nb && f->strict)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %d tensors that no part of this model uses, the "
                       "first is %s (strict=0 skips them)", lv_source_path(src), nb, first);
    if (nb)
        lv_msg(msg, LV_MSG_WARNING, "%s: skipped: %d tensors that no part of this model uses, "
               "the first is %s", lv_source_path(src), nb, first);
    return 0;
}

static int read_latents(const Manifest *m)
{
    LvTaeConfig *c   = &m->f->cfg.vae;
    const json_t *v  = json_object_get(m->root, "latents");
    const char *text = json_string_value(v);
    int plain = text && !strcmp(text, "plain");

    if (v && !plain && (!text || strcmp(text, "normalised")))
        return fail(m, "latents", "is neither \"normalised\" nor \"plain\"");
    if (v && c->kind == LV_VAE_WAN)
        return fail(m, "latents", "is for TAEHV decoders only");
    for (int i = 0; i < c->channels && c->kind == LV_VAE_TAE && !plain; i++) {
        c->mean[i] = 0;
        c->std[i]  = 1;
    }
    return 0;
}

static int read_sizes(const Manifest *m)
{
    LvFiles *f = m->f;
    int ret;

    if ((ret = lv_part_dit(&f->cfg.dit, &f->dit, m->msg)) < 0 ||
        (ret = lv_part_text(&f->cfg.text, &f->text, m->msg)) < 0 ||
        (ret = lv_part_vae(&f->cfg.vae, &f->vae, m->msg)) < 0)
        return ret;
    if (f->cfg.text.dim != f->cfg.dit.text_dim)
        return lv_fail(m->msg, LV_ERR_MODEL, "%s: the network expects features of %d, the "
                       "text encoder makes %d", f->path, f->cfg.dit.text_dim,
                       f->cfg.text.dim);
    return check_parts(f, m->msg);
}

static int read_settings(const Manifest *m)
{
    const json_t *preset   = json_object_get(m->root, "preset");
    const json_t *negative = json_object_get(m->root, "negative_prompt");
    const LvPreset *p      = lv_preset_find(preset ? json_string_value(preset) : "wan2.1");
    LvFiles *f = m->f;

    if (!p)
        return fail(m, "preset", "is not a known preset");
    lv_preset_apply(&f->cfg.video, p);
    if (negative && !json_is_string(negative))
        return fail(m, "negative_prompt", "is not a string");
    f->negative = strdup(negative ? json_string_value(negative) : LV_WAN_NEGATIVE);
    if (!f->negative)
        return lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", f->path);
    return lv_config_video(&f->cfg.video, m->root, f->path, m->msg);
}

static int open_manifest(const Manifest *m, const LvLoraFile *loras, int nb_loras)
{
    LvFiles *f = m->f;
    int ret;

    if ((ret = check_keys(m, NULL)) < 0 || (ret = check_keys(m, "video")) < 0 ||
        (ret = check_keys(m, "sampler")) < 0 || (ret = read_settings(m)) < 0 ||
        (ret = open_part(m, "dit", &f->dit)) < 0 || (ret = check_dit(m)) < 0 ||
        (ret = open_part(m, "text", &f->text)) < 0 ||
        (ret = open_part(m, "vae", &f->vae)) < 0 ||
        (ret = open_tokenizer(m)) < 0 || (ret = read_sizes(m)) < 0 ||
        (ret = read_latents(m)) < 0)
        return ret;
    for (int i = 0; i < f->nb_src; i++)
        if ((ret = tell_others(f, f->src[i], m->msg)) < 0)
            return ret;
    f->cfg.range = lv_range_wan(&f->cfg.dit, &f->cfg.video);
    return open_loras(m, loras, nb_loras);
}

static int read_manifest(LvFiles *f, const LvLoraFile *loras, int nb_loras,
                         const LvMsg *msg)
{
    Manifest m = { .f = f, .msg = msg };
    char shown[LV_SHOW_SIZE];
    json_error_t error;
    json_t *root;
    LvMap map;
    int ret = lv_map_open_upto(&map, f->path, MANIFEST_MAX, msg);

    if (ret < 0)
        return ret;
    root = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: line %d: %s", f->path, error.line,
                      lv_text_show(shown, error.text, strlen(error.text)));
    else if (!json_is_object(root))
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: no object", f->path);
    else if (json_object_get(root, "weight_map"))
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: an index of shards, not a model: a manifest "
                      "names it (linvideo setup writes one)", f->path);
    m.root = root;
    if (ret >= 0)
        ret = open_manifest(&m, loras, nb_loras);
    json_decref(root);
    lv_map_close(&map);
    return ret;
}

static int holds_text(const LvMap *map, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i + n <= map->size; i++)
        if (map->data[i] == (uint8_t)text[0] && !memcmp(map->data + i, text, n))
            return 1;
    return 0;
}

int lv_files_is_manifest(const char *path, const LvMsg *msg)
{
    enum LvSourceForm form;
    int ret = lv_source_look(&form, path, NULL);
    LvMap map;

    if (ret >= 0 && form == LV_SOURCE_JSON &&
        (ret = lv_map_open_upto(&map, path, MANIFEST_MAX, NULL)) >= 0) {
        ret = !holds_text(&map, "\"weight_map\"");
        lv_map_close(&map);
    } else if (ret == LV_ERR(ENOMEM)) {
        return lv_fail(msg, ret, "%s: out of memory", path);
    }
    return LV_MAX(ret, 0);
}

int lv_files_open(LvFiles *f, const char *path, const LvLoraFile *loras, int nb_loras,
                  int strict, const LvMsg *msg)
{
    LvSource *src;
    size_t n = strlen(path);
    int ret;

    *f = (LvFiles) { .path = strdup(path), .strict = strict };
    if (!f->path)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
    ret = n > 5 && !strcmp(path + n - 5, ".json") ? 1 : lv_files_is_manifest(path, msg);
    if (ret > 0)
        ret = read_manifest(f, loras, nb_loras, msg);
    else if (!ret && (ret = open_source(f, path, &src, msg)) >= 0)
        ret = open_bundle(f, loras, nb_loras, msg);
    if (ret < 0)
        lv_files_close(f);
    return ret;
}

void lv_files_close(LvFiles *f)
{
    lv_loras_close(&f->loras);
    for (int i = 0; i < f->nb_src; i++)
        lv_source_close(&f->src[i]);
    lv_map_close(&f->spm_map);
    free(f->spm_made);
    free(f->negative);
    free(f->spm_path);
    free(f->path);
    *f = (LvFiles) { 0 };
}

/* File number *i of a source; NULL: it has fewer, which are counted off. */
static const char *file_of(const LvSource *src, int *i)
{
    const char *path;

    for (int k = 0; (path = lv_source_file(src, k)); k++)
        if (!(*i)--)
            return path;
    return NULL;
}

const char *lv_files_at(const LvFiles *f, int i)
{
    const char *path = NULL;
    const LvSource *lora;

    if (!i--)
        return f->path;
    if (f->spm_path && !i--)
        return f->spm_path;
    for (int k = 0; k < f->nb_src && !path; k++)
        path = file_of(f->src[k], &i);
    for (int k = 0; f->loras && !path && (lora = lv_loras_source(f->loras, k)); k++)
        path = file_of(lora, &i);
    return path;
}
