/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/files.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "model/names.h"
#include "model/presets.h"
#include "model/range.h"
#include "model/spm_gguf.h"
#include "model/stored.h"

enum { PATH_SIZE = 4096, LORAS_MAX = 32, MANIFEST_MAX = 1 << 20, SPM_MAX = 64 << 20 };

#define TOO_MANY "is not a list, or too long"

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
    const LvPart *parts[] = { &f->dit, &f->text, &f->vae, &f->low };

    if (!f->bundle) {
        lv_files_skip_others(w, part);
        return;
    }
    for (int i = 0; i < LV_COUNT(parts); i++)
        if (parts[i] != part && parts[i]->kind)
            lv_weights_skip(w, parts[i]->prefix);
    lv_weights_skip(w, "tokenizer.");
}

/* Parts that do not fit each other, or can't be run. */
static int check_parts(const LvFiles *f, const LvMsg *msg)
{
    const LvModelConfig *c = &f->cfg;

    if (c->dit.channels != c->vae.channels)
        return lv_fail(msg, LV_ERR_MODEL, "%s: the network makes latents of %d channels, the "
                       "decoder takes %d", f->path, c->dit.channels, c->vae.channels);
    if (!f->low.kind && c->video.boundary > 0)
        return lv_fail(msg, LV_ERR_MODEL, "%s: one network, and settings of two (\"boundary\"): "
                       "expected \"dit_low\" too, or another preset", f->path);
    if (c->dit.cond_channels && c->dit.cond_channels != LV_MASK_CHANNELS + c->vae.channels)
        return lv_fail(msg, LV_ERR_MODEL, "%s: the network takes %d channels beside the latents, "
                       "expected %d: a mask of %d and the image's latents", f->path,
                       c->dit.cond_channels, LV_MASK_CHANNELS + c->vae.channels,
                       LV_MASK_CHANNELS);
    if (f->low.kind && c->video.boundary <= 0)
        return lv_fail(msg, LV_ERR_MODEL, "%s: two networks, and nothing says which steps are the "
                       "second's: expected a preset of Wan2.2 A14B, or \"boundary\" in "
                       "\"sampler\"", f->path);
    return 0;
}

/* Linear layers of a LoRA's file */

/* Where a file of LoRAs holds maps, they join the network's tensors. */
static int join_maps(LvFiles *f, LvPart *part, const char *path, float weight, const LvMsg *msg)
{
    LvSource **maps = &f->maps[part == &f->low], *src;
    int ret = lv_source_open(&src, path, msg), nb = 0;

    for (int i = 0; ret >= 0 && i < lv_source_count(src); i++)
        nb += lv_lora_is_map(lv_source_at(src, i));
    if (ret < 0 || !nb) {
        lv_source_close(&src);
        return ret;
    }
    if (*maps || weight != 1) {
        ret = *maps ? lv_fail(msg, LV_ERR_MODEL, "%s: holds maps of linear layers, as %s does: "
                              "expected one such file", path, lv_source_path(*maps))
                    : lv_fail(msg, LV_ERR_MODEL, "%s: holds maps of linear layers: expected "
                              "weight 1, got %g", path, (double)weight);
        lv_source_close(&src);
        return ret;
    }
    *maps = src;
    for (int i = 0; i < f->nb_src; i++)
        if (f->src[i] == part->src)
            return lv_source_join(f->src[i], src, lv_lora_is_map, part->prefix, NULL, msg);
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
    if (f->cfg.dit.clip_dim)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: the network attends to CLIP's features, "
                       "and bundles hold no image tower: expected a manifest", f->path);
    f->bundle = 1;
    f->dit    = part_of(src, LV_PART_DIT, "dit.");
    f->text   = part_of(src, LV_PART_TEXT, "text.");
    f->vae    = part_of(src, f->cfg.vae.kind == LV_VAE_WAN ? LV_PART_WAN_VAE : LV_PART_TAE,
                        "vae.");
    for (int i = 0; i < nb_loras; i++)
        if ((ret = join_maps(f, &f->dit, loras[i].path, loras[i].weight, msg)) < 0)
            return ret;
    if ((f->maps[0] && (ret = lv_part_maps(&f->cfg.dit, &f->dit, msg)) < 0) ||
        (ret = take_spm(f, src, lv_source_find(src, "tokenizer.spm"), msg)) < 0)
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
    { NULL, "negative_prompt" }, { NULL, "latents" }, { NULL, "dit_low" },
    { NULL, "loras_low" }, { NULL, "clip" }, { "sampler", "guidance_low" }, { "sampler", "boundary" },
    { "video", "width" },
    { "video", "height" }, { "video", "frames" }, { "video", "fps" },
    { "video", "fps_den" }, { "sampler", "solver" }, { "sampler", "steps" },
    { "sampler", "shift" }, { "sampler", "guidance" }, { NULL, "causal" },
    { "causal", "block" }, { "causal", "window" }, { "causal", "sink" },
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

static int kind_of(const char *key)
{
    return !strncmp(key, "dit", 3) ? LV_PART_DIT : !strcmp(key, "text") ? LV_PART_TEXT
         : !strcmp(key, "clip") ? LV_PART_CLIP : LV_PART_WAN_VAE;
}

static int open_part(const Manifest *m, const char *key, LvPart *part)
{
    char path[PATH_SIZE];
    int ret = path_of(path, m, key, json_object_get(m->root, key));
    LvSource *src;

    if (ret < 0 || (ret = open_source(m->f, path, &src, m->msg)) < 0 ||
        (ret = lv_part_check(src, m->msg)) < 0)
        return ret;
    *part = lv_part_find_kind(src, kind_of(key));
    if (!part->kind && !strcmp(key, "vae"))
        *part = lv_part_find_kind(src, LV_PART_TAE);
    return part->kind ? 0 : lv_fail(m->msg, LV_ERR_MODEL, "%s: holds no %s network that is known",
                              path, key);
}

/* LvChosen of the manifest, whose settings are read. */
static int chosen(const Manifest *m)
{
    int named = json_object_get(m->root, "preset") || json_object_get(m->root, "causal");

    return named ? lv_chosen(&m->f->cfg.video.causal) : LV_CHOSEN_NONE;
}

/* The network is one that can be run in its place. */
static int check_dit(const Manifest *m, const LvPart *part)
{
    const LvFiles *f    = m->f;
    const LvSource *src = part->src;
    int place = !f->low.kind ? LV_AS_ALONE : part == &f->low ? LV_AS_LOW : LV_AS_HIGH;
    LvHint h;

    lv_hint(&h, src, lv_source_path(src), 0);
    if (!lv_has_halves(&f->cfg.dit))
        lv_hint_whole(&h);
    return lv_hint_check(&h, lv_source_path(src), place, chosen(m), m->msg);
}

static int check_loras(const Manifest *m, const LvLoraFile *lora, int nb, int place)
{
    int ret = 0;
    LvHint h;

    for (int i = 0; i < nb && ret >= 0; i++) {
        lv_hint(&h, NULL, lora[i].path, 1);
        if (!lv_has_halves(&m->f->cfg.dit))
            lv_hint_whole(&h);
        ret = lv_hint_check(&h, lora[i].path, place, LV_CHOSEN_CAUSAL, m->msg);
    }
    return ret;
}

static int read_lora(const Manifest *m, const char *key, const json_t *v, char *path,
                     LvLoraFile *lora)
{
    const json_t *weight = json_object_get(v, "weight");
    double w = weight ? json_number_value(weight) : 1;

    if (!json_is_object(v) || (weight && !json_is_number(weight)) || !isfinite(w) ||
        fabs(w) > LV_LORA_WEIGHT_MAX)
        return fail(m, key, "holds an entry that is not {\"file\", \"weight\"}");
    *lora = (LvLoraFile) { .path = path, .weight = (float)w, .strict = m->f->strict };
    return path_of(path, m, key, json_object_get(v, "file"));
}

/* Those of `more` that are for a place: of two networks that which the name tells, or both. */
static int pick_loras(LvLoraFile *to, const LvLoraFile *more, int nb_more, int place)
{
    int nb = 0;

    for (int i = 0; i < nb_more; i++) {
        LvHint h;

        lv_hint(&h, NULL, more[i].path, 1);
        if (place == LV_AS_ALONE || lv_hint_fits(&h, place))
            to[nb++] = more[i];
    }
    return nb;
}

/* Maps of a network's LoRAs: of those that the manifest lists, and of `more`. */
static int find_maps(const Manifest *m, LvPart *part, const LvLoraFile *more, int nb_more)
{
    LvFiles *f = m->f;
    int low = part == &f->low, place = !f->low.kind ? LV_AS_ALONE : low ? LV_AS_LOW : LV_AS_HIGH;
    const char *key    = low ? "loras_low" : "loras";
    const json_t *list = json_object_get(m->root, key);
    LvLoraFile *picked = calloc((size_t)nb_more + 1, sizeof(*picked)), lora;
    char path[PATH_SIZE];
    int ret = picked ? 0 : lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", f->path);

    if (json_array_size(list) > LORAS_MAX)
        ret = fail(m, key, TOO_MANY);
    for (size_t i = 0; i < json_array_size(list) && ret >= 0; i++)
        if ((ret = read_lora(m, key, json_array_get(list, i), path, &lora)) >= 0)
            ret = join_maps(f, part, path, lora.weight, m->msg);
    for (int i = 0, nb = ret < 0 ? 0 : pick_loras(picked, more, nb_more, place);
         i < nb && ret >= 0; i++)
        ret = join_maps(f, part, picked[i].path, picked[i].weight, m->msg);
    free(picked);
    return ret;
}

/* The network that parts beside are of: dit_low needs dit. */
static int open_networks(const Manifest *m, const LvLoraFile *loras, int nb_loras)
{
    LvFiles *f = m->f;
    LvDitConfig low;
    int ret;

    if ((ret = open_part(m, "dit", &f->dit)) < 0 ||
        (json_object_get(m->root, "dit_low") && (ret = open_part(m, "dit_low", &f->low)) < 0) ||
        (ret = find_maps(m, &f->dit, loras, nb_loras)) < 0 ||
        (f->low.kind && (ret = find_maps(m, &f->low, loras, nb_loras)) < 0) ||
        (ret = lv_part_dit(&f->cfg.dit, &f->dit, m->msg)) < 0 ||
        (ret = check_dit(m, &f->dit)) < 0 || !f->low.kind)
        return ret;
    if ((ret = check_dit(m, &f->low)) < 0 || (ret = lv_part_dit(&low, &f->low, m->msg)) < 0)
        return ret;
    if (f->low.src == f->dit.src)
        return fail(m, "dit_low", "is the same file as dit");
    return lv_config_same(&f->cfg.dit, &low, "dit", lv_source_path(f->low.src), m->msg);
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

/* LoRAs of a network. */
typedef struct LoraList {
    char (*path)[PATH_SIZE];
    LvLoraFile *file;
    int nb, listed;  /* those that the manifest lists are the first */
} LoraList;

static int read_loras(LoraList *l, const Manifest *m, const char *key, int place,
                      const LvLoraFile *more, int nb_more)
{
    const json_t *list = json_object_get(m->root, key);
    size_t nb = json_array_size(list);
    int ret   = 0;

    if ((list && !json_is_array(list)) || nb > LORAS_MAX)
        return fail(m, key, TOO_MANY);
    l->path = calloc(nb + 1, sizeof(*l->path));
    l->file = calloc(nb + (size_t)nb_more + 1, sizeof(*l->file));
    if (!l->path || !l->file)
        return lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", m->f->path);
    l->listed = (int)nb;
    for (size_t i = 0; i < nb && ret >= 0; i++)
        ret = read_lora(m, key, json_array_get(list, i), l->path[i], &l->file[i]);
    if (ret < 0)
        return ret;
    l->nb = l->listed + pick_loras(l->file + nb, more, nb_more, place);
    for (int i = 0; i < l->nb; i++) {
        l->file[i].low    = place == LV_AS_LOW;
        l->file[i].images = m->f->cfg.dit.clip_dim > 0;
    }
    return check_loras(m, l->file, l->nb, place);
}

/* Note the files that both networks are given. */
static void note_shared(LoraList *high, LoraList *low)
{
    for (int i = 0; i < high->nb; i++)
        for (int k = 0; k < low->nb; k++)
            if (!strcmp(high->file[i].path, low->file[k].path))
                high->file[i].shared = low->file[k].shared = 1;
}

/* Warn of each file that is added whole to both networks because its name tells neither. */
static void tell_shared(const Manifest *m, const LoraList *low)
{
    for (int i = low->listed; i < low->nb; i++)
        if (low->file[i].shared && !lv_lora_is_paired(lv_loras_source(m->f->low_loras, i)))
            lv_msg(m->msg, LV_MSG_INFO, "%s: added to both networks: its name says neither high "
                   "noise nor low noise", low->file[i].path);
}

static int open_loras(const Manifest *m, const LvLoraFile *more, int nb_more)
{
    static const char *const keys[LV_EXPERTS] = { "loras", "loras_low" };
    LvLoras **to[LV_EXPERTS]  = { &m->f->loras, &m->f->low_loras };
    LoraList list[LV_EXPERTS] = { 0 };
    int nb = m->f->low.kind ? LV_EXPERTS : 1, ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++)
        ret = read_loras(&list[i], m, keys[i], nb == 1 ? LV_AS_ALONE : i == LV_LOW ? LV_AS_LOW
                                               : LV_AS_HIGH, more, nb_more);
    note_shared(&list[LV_HIGH], &list[LV_LOW]);
    for (int i = 0; i < nb && ret >= 0; i++)
        if (list[i].nb)
            ret = lv_loras_open(to[i], list[i].file, list[i].nb, m->msg);
    if (ret >= 0)
        tell_shared(m, &list[LV_LOW]);
    for (int i = 0; i < nb; i++) {
        free(list[i].path);
        free(list[i].file);
    }
    return ret;
}

/* Tensors of a file that no part of the model has, told once. */
static int tell_others(const LvFiles *f, const LvSource *src, const LvMsg *msg)
{
    const LvPart *parts[] = { &f->dit, &f->text, &f->vae, &f->low };
    const char *first = NULL;
    int nb = 0;

    if (src == f->clip.src) /* its text half comes with it */
        return 0;
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

/* CLIP's image tower, of a network that attends to its features. */
static int open_clip(const Manifest *m)
{
    LvFiles *f = m->f;
    int dim = f->cfg.dit.clip_dim, named = json_object_get(m->root, "clip") != NULL, ret;

    if (!dim)
        return named ? fail(m, "clip", "is there, and the network attends to no features of "
                            "images") : 0;
    if (!named)
        return fail(m, "clip", "is missing: the network attends to features of CLIP's image "
                    "tower (clip_vision_h.safetensors)");
    if ((ret = open_part(m, "clip", &f->clip)) < 0 ||
        (ret = lv_part_clip(&f->clip_cfg, &f->clip, m->msg)) < 0)
        return ret;
    return f->clip_cfg.dim == dim ? 0 :
           lv_fail(m->msg, LV_ERR_MODEL, "%s: clip: expected features of %d, got %d", f->path,
                   dim, f->clip_cfg.dim);
}

static int read_latents(const Manifest *m)
{
    LvTaeConfig *c   = &m->f->cfg.vae;
    const json_t *v  = json_object_get(m->root, "latents");
    const char *text = json_string_value(v);
    int plain = text && !strcmp(text, "plain");
    char shown[LV_SHOW_SIZE];

    if (v && !plain && (!text || strcmp(text, "normalised")))
        return lv_fail(m->msg, LV_ERR_MODEL, "%s: latents: expected \"normalised\" or "
                       "\"plain\", got %s", m->f->path, lv_json_value(shown, v));
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

    if ((ret = lv_part_text(&f->cfg.text, &f->text, m->msg)) < 0 ||
        (ret = lv_part_vae(&f->cfg.vae, &f->vae, m->msg)) < 0)
        return ret;
    if (f->cfg.text.dim != f->cfg.dit.text_dim)
        return lv_fail(m->msg, LV_ERR_MODEL, "%s: the network expects features of %d, the "
                       "text encoder makes %d", f->path, f->cfg.dit.text_dim,
                       f->cfg.text.dim);
    return check_parts(f, m->msg);
}

static int fail_preset(const Manifest *m, const json_t *got)
{
    char names[512] = "none", shown[LV_SHOW_SIZE];
    size_t n = strlen(names);

    for (int i = 0; lv_preset_at(i) && n < sizeof(names); i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, ", %s",
                              lv_preset_at(i)->name);
    return lv_fail(m->msg, LV_ERR_MODEL, "%s: preset: expected one of %s, got %s", m->f->path,
                   names, lv_json_value(shown, got));
}

/* By the networks as far as they are known. */
static int read_settings(const Manifest *m)
{
    const json_t *preset   = json_object_get(m->root, "preset");
    const json_t *negative = json_object_get(m->root, "negative_prompt");
    LvFiles *f = m->f;
    const LvPreset *p = preset ? lv_preset_find(json_string_value(preset))
                               : lv_preset_of(&f->cfg.dit, f->low.kind);

    if (!p)
        return fail_preset(m, preset);
    lv_preset_apply(&f->cfg.video, p);
    if (negative && !json_is_string(negative))
        return fail(m, "negative_prompt", "is not a string");
    free(f->negative);
    f->negative = strdup(negative ? json_string_value(negative)
                                  : lv_preset_negative(&f->cfg.dit));
    if (!f->negative)
        return lv_fail(m->msg, LV_ERR(ENOMEM), "%s: out of memory", f->path);
    return lv_config_video(&f->cfg.video, m->root, f->path, m->msg);
}

static int open_manifest(const Manifest *m, const LvLoraFile *loras, int nb_loras)
{
    LvFiles *f = m->f;
    int ret;

    if ((ret = check_keys(m, NULL)) < 0 || (ret = check_keys(m, "video")) < 0 ||
        (ret = check_keys(m, "sampler")) < 0 || (ret = check_keys(m, "causal")) < 0 ||
        (ret = read_settings(m)) < 0 ||
        (ret = open_networks(m, loras, nb_loras)) < 0 || (ret = read_settings(m)) < 0 ||
        (ret = open_part(m, "text", &f->text)) < 0 ||
        (ret = open_part(m, "vae", &f->vae)) < 0 || (ret = open_clip(m)) < 0 ||
        (ret = open_tokenizer(m)) < 0 || (ret = read_sizes(m)) < 0 ||
        (ret = read_latents(m)) < 0)
        return ret;
    for (int i = 0; i < f->nb_src; i++)
        if ((ret = tell_others(f, f->src[i], m->msg)) < 0)
            return ret;
    f->cfg.range = lv_range_wan(&f->cfg.dit, &f->cfg.video);
    if (!f->low.kind && json_object_get(m->root, "loras_low"))
        return fail(m, "loras_low", "is there, and dit_low is not");
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
                      lv_json_expected(shown, &error));
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

int lv_files_is_model(const char *path)
{
    LvSource *src = NULL;
    int is = lv_files_is_manifest(path, NULL) > 0;

    if (!is && lv_source_open(&src, path, NULL) >= 0)
        is = lv_source_meta(src, LV_CONFIG_KEY) != NULL;
    lv_source_close(&src);
    return is;
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
    lv_loras_close(&f->low_loras);
    for (int i = 0; i < f->nb_src; i++)
        lv_source_close(&f->src[i]);
    for (int i = 0; i < LV_EXPERTS; i++)
        lv_source_close(&f->maps[i]);
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

/* The same of LoRAs. */
static const char *file_of_loras(const LvLoras *l, int *i)
{
    const char *path = NULL;
    const LvSource *lora;

    for (int k = 0; l && !path && (lora = lv_loras_source(l, k)); k++)
        path = file_of(lora, i);
    return path;
}

const char *lv_files_at(const LvFiles *f, int i)
{
    const char *path = NULL;

    if (!i--)
        return f->path;
    if (f->spm_path && !i--)
        return f->spm_path;
    for (int k = 0; k < f->nb_src && !path; k++)
        path = file_of(f->src[k], &i);
    if (!path)
        path = file_of_loras(f->loras, &i);
    return path ? path : file_of_loras(f->low_loras, &i);
}
