/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/config.h"

#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ops.h"
#include "base/json.h"

static const char *const attn_kinds[LV_ATTN_NB] = { "softmax", "linear", "mixed" };
static const char *const maps[LV_MAP_NB] = { "hedgehog", "relu", "taylor" };

enum { INT = LV_CONFIG_INT, REAL = LV_CONFIG_REAL, NAME = LV_CONFIG_NAME };
enum { RECIPE_MAX = 1 << 20 };

#define AT(member) offsetof(LvModelConfig, member)

static const LvConfigRow rows[] = {
    { "dit",   "dim",          INT,  AT(dit.dim),           2, 1 << 16, NAN },
    { "dit",   "ffn_dim",      INT,  AT(dit.ffn_dim),       1, 1 << 18, NAN },
    { "dit",   "num_heads",    INT,  AT(dit.heads),         1, 1024,    NAN },
    { "dit",   "num_layers",   INT,  AT(dit.layers),        1, LV_MAX_LAYERS, NAN },
    { "dit",   "text_dim",     INT,  AT(dit.text_dim),      1, 1 << 16, NAN },
    { "dit",   "text_len",     INT,  AT(dit.text_len),      1, 4096,    512 },
    { "dit",   "freq_dim",     INT,  AT(dit.freq_dim),      2, 4096,    256 },
    { "dit",   "in_channels",  INT,  AT(dit.channels),      1, LV_MAX_CHANNELS, NAN },
    { "dit",   "cond_channels", INT, AT(dit.cond_channels), 0, LV_MAX_CHANNELS, 0 },
    { "dit",   "clip_dim",     INT,  AT(dit.clip_dim),      0, 1 << 16, 0 },
    { "dit",   "clip_images",  INT,  AT(dit.clip_images),   0, 2,       0 },
    { "dit",   "eps",          REAL, AT(dit.eps),           1e-12, 0.1, 1e-6 },
    { "dit",   "feature_dim",  INT,  AT(dit.map_dim),       0, 4096,    0 },
    { "dit",   "feature_eps",  REAL, AT(dit.map_eps),       0, 0.1,     1e-6 },
    { "text",  "vocab",        INT,  AT(text.vocab),        1, 1 << 22, NAN },
    { "text",  "dim",          INT,  AT(text.dim),          1, 1 << 16, NAN },
    { "text",  "dim_attn",     INT,  AT(text.dim_attn),     1, 1 << 16, NAN },
    { "text",  "dim_ffn",      INT,  AT(text.dim_ffn),      1, 1 << 18, NAN },
    { "text",  "num_heads",    INT,  AT(text.heads),        1, 1024,    NAN },
    { "text",  "num_layers",   INT,  AT(text.layers),       1, LV_MAX_LAYERS, NAN },
    { "text",  "num_buckets",  INT,  AT(text.buckets),      4, 1024,    32 },
    { "text",  "max_distance", INT,  AT(text.max_distance), 2, 4096,    128 },
    { "text",  "eps",          REAL, AT(text.eps),          1e-12, 0.1, 1e-6 },
    { "text",  "words",        NAME, AT(text.words),        0, LV_MAX_WORDS, 0 },
    { "vae",   "latent_channels", INT, AT(vae.channels),    1, LV_MAX_CHANNELS, NAN },
    { "vae",   "kind",         INT,  AT(vae.kind),          0, LV_VAE_WAN, 0 },
    { "vae",   "width",        INT,  AT(vae.width),         0, 4096,    0 },
    { "vae",   "encoder_width", INT, AT(vae.encoder_width), 0, 4096,    0 },
    { "vae",   "patch_size",   INT,  AT(vae.patch),         1, 16,      1 },
    { "video", "width",        INT,  AT(video.width),       16, 8192,   NAN },
    { "video", "height",       INT,  AT(video.height),      16, 8192,   NAN },
    { "video", "frames",       INT,  AT(video.frames),      1, 1021,    NAN },
    { "video", "fps",          INT,  AT(video.rate_num),    1, 1 << 20, NAN },
    { "video", "fps_den",      INT,  AT(video.rate_den),    1, 1 << 20, 1 },
    { "range", "min_width",    INT,  AT(range.min_width),   0, 8192,    0 },
    { "range", "max_width",    INT,  AT(range.max_width),   0, 8192,    0 },
    { "range", "min_height",   INT,  AT(range.min_height),  0, 8192,    0 },
    { "range", "max_height",   INT,  AT(range.max_height),  0, 8192,    0 },
    { "range", "min_pixels",   INT,  AT(range.min_pixels),  0, 1 << 26, 0 },
    { "range", "max_pixels",   INT,  AT(range.max_pixels),  0, 1 << 26, 0 },
    { "range", "min_frames",   INT,  AT(range.min_frames),  0, 1021,    0 },
    { "range", "max_frames",   INT,  AT(range.max_frames),  0, 1021,    0 },
    { "range", "lenient",      INT,  AT(range.lenient),     0, 1,       0 },
    { "sampler", "solver",     NAME, AT(video.sampler),     0, 16,      NAN },
    { "sampler", "steps",      INT,  AT(video.steps),       1, 1000,    NAN },
    { "sampler", "shift",      REAL, AT(video.shift),       0.01, 100,  NAN },
    { "sampler", "guidance",   REAL, AT(video.guidance),    1, 100,     NAN },
    { "sampler", "guidance_low", REAL, AT(video.guidance_low), 0, 100,  0 },
    { "sampler", "boundary",   REAL, AT(video.boundary),    0, 1,       0 },
    { "causal", "block",       INT,  AT(video.causal.block),  0, 64,    0 },
    { "causal", "window",      INT,  AT(video.causal.window), 0, 1024,  0 },
    { "causal", "sink",        INT,  AT(video.causal.sink),   0, 1024,  0 },
};

static int fail(const char *file, const LvMsg *msg, const char *section,
                const char *key, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s.%s %s", file, section, key, what);
}

/* A field at its bound, once written and read again, is there still: as a float. */
static int is_allowed(const LvConfigRow *r, double x)
{
    return (x >= r->min && x <= r->max) ||
           (r->kind == REAL && fabs(x) <= FLT_MAX && (float)x >= (float)r->min &&
            (float)x <= (float)r->max);
}

static int read_row(void *c, const LvConfigRow *r, const json_t *root,
                    const char *file, const LvMsg *msg)
{
    const json_t *v = json_object_get(json_object_get(root, r->section), r->key);
    void *field     = (char *)c + r->offset;
    double x        = v ? json_number_value(v) : r->fallback;
    char what[96];

    if (!v && isnan(r->fallback))
        return fail(file, msg, r->section, r->key, "is missing");
    if (r->kind == NAME && !v)
        return 0;
    if (r->kind == NAME) {
        if (!json_is_string(v) || json_string_length(v) >= (size_t)r->max)
            return fail(file, msg, r->section, r->key, "is not a short name");
        strcpy(field, json_string_value(v));
        return 0;
    }
    if (v && !(r->kind == INT ? json_is_integer(v) : json_is_number(v)))
        return fail(file, msg, r->section, r->key, r->kind == INT ?
                    "is not an integer" : "is not a number");
    if (!is_allowed(r, x)) {
        snprintf(what, sizeof(what), "is %g, allowed is %g to %g", x, r->min, r->max);
        return fail(file, msg, r->section, r->key, what);
    }
    if (r->kind == INT)
        *(int *)field = (int)x;
    else
        *(float *)field = (float)x;
    return 0;
}

int lv_config_rows(void *to, const LvConfigRow *rows, int nb, const struct json_t *root,
                   const char *file, const LvMsg *msg)
{
    int ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++)
        ret = read_row(to, &rows[i], root, file, msg);
    return ret;
}

int lv_config_video(LvVideoConfig *v, const struct json_t *root, const char *file,
                    const LvMsg *msg)
{
    LvModelConfig c = { .video = *v };
    int ret = 0;

    for (int i = 0; i < LV_COUNT(rows) && ret >= 0; i++) {
        int wanted = !strcmp(rows[i].section, "video") ||
                     !strcmp(rows[i].section, "sampler") ||
                     !strcmp(rows[i].section, "causal");
        if (wanted && json_object_get(json_object_get(root, rows[i].section), rows[i].key))
            ret = read_row(&c, &rows[i], root, file, msg);
    }
    *v = c.video;
    return ret;
}

static int index_of(const char *const *names, int nb, const char *name)
{
    for (int i = 0; i < nb && name; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static int read_patch(LvDitConfig *c, const json_t *dit, const char *file,
                      const LvMsg *msg)
{
    const json_t *v = json_object_get(dit, "patch");

    c->patch[0] = 1;
    c->patch[1] = c->patch[2] = 2;
    if (v && json_array_size(v) != 3)
        return fail(file, msg, "dit", "patch", "is not a list of 3 numbers");
    for (size_t i = 0; v && i < 3; i++) {
        json_int_t n = json_integer_value(json_array_get(v, i));
        if (n < 1 || n > 16)
            return fail(file, msg, "dit", "patch", "holds a number outside 1 to 16");
        c->patch[i] = (int)n;
    }
    return 0;
}

static int read_attention(LvDitConfig *c, const json_t *dit, const char *file,
                          const LvMsg *msg)
{
    const json_t *v = json_object_get(dit, "attention");
    const json_t *m = json_object_get(dit, "feature_map");
    int kind;

    if (v && json_array_size(v) != (size_t)c->layers)
        return fail(file, msg, "dit", "attention", "does not have one name for each layer");
    for (int i = 0; v && i < c->layers; i++) {
        kind = index_of(attn_kinds, LV_ATTN_NB,
                        json_string_value(json_array_get(v, (size_t)i)));
        if (kind < 0)
            return fail(file, msg, "dit", "attention",
                        "holds a name other than softmax, linear, mixed");
        c->attention[i] = (uint8_t)kind;
    }
    kind = m ? index_of(maps, LV_MAP_NB, json_string_value(m)) : LV_MAP_HEDGEHOG;
    if (kind < 0)
        return fail(file, msg, "dit", "feature_map", "is not hedgehog, relu or taylor");
    c->map = (enum LvMapKind)kind;
    if (!c->map_dim && lv_config_layers(c, LV_ATTN_SOFTMAX) < c->layers)
        return fail(file, msg, "dit", "feature_dim", "is missing for the linear layers");
    return 0;
}

static int read_floats(float *dst, int n, float fallback, const json_t *vae,
                       const char *key, const char *file, const LvMsg *msg)
{
    const json_t *v = json_object_get(vae, key);

    if (v && json_array_size(v) != (size_t)n)
        return fail(file, msg, "vae", key, "does not have one number for each latent channel");
    for (int i = 0; i < n; i++) {
        const json_t *x = json_array_get(v, (size_t)i);
        dst[i] = v ? (float)json_number_value(x) : fallback;
        if ((v && !json_is_number(x)) || !isfinite(dst[i]) || (fallback && dst[i] <= 0))
            return fail(file, msg, "vae", key, "holds a value that is not a usable number");
    }
    return 0;
}

/* Stages are what recipes have, and what their trainer leaves in the bundle. */
static void default_range(LvModelConfig *c, const json_t *root, const json_t *vae)
{
    const LvVideoConfig *v = &c->video;

    if (!json_object_get(root, "range") && json_object_get(vae, "stages"))
        c->range = (LvRange) { v->width, v->width, v->height, v->height, 0, 0, v->frames,
                               v->frames, 0 };
}

static int above(int min, int max)
{
    return max && min > max;
}

static int check_range(const LvRange *r, const char *file, const LvMsg *msg)
{
    if (above(r->min_width, r->max_width) || above(r->min_height, r->max_height) ||
        above(r->min_pixels, r->max_pixels) || above(r->min_frames, r->max_frames))
        return lv_fail(msg, LV_ERR_MODEL, "%s: range: a minimum is above its maximum",
                       file);
    return 0;
}

static int check_sizes(const LvModelConfig *c, const char *file,
                       const LvMsg *msg)
{
    if (c->dit.dim % c->dit.heads || c->dit.dim / c->dit.heads % 2)
        return fail(file, msg, "dit", "num_heads", "does not divide dim into an even head size");
    if (c->dit.freq_dim % 2)
        return fail(file, msg, "dit", "freq_dim", "is odd");
    if (!c->dit.clip_dim != !c->dit.clip_images)
        return fail(file, msg, "dit", "clip_images", "does not fit clip_dim");
    if (c->dit.text_dim != c->text.dim)
        return fail(file, msg, "dit", "text_dim", "differs from text.dim");
    if (c->dit.channels != c->vae.channels)
        return fail(file, msg, "dit", "in_channels", "differs from vae.latent_channels");
    if (c->vae.kind == LV_VAE_WAN && c->vae.patch > 2)
        return fail(file, msg, "vae", "patch_size", "is neither 1 (Wan2.1) nor 2 (Wan2.2)");
    if (c->text.dim_attn % c->text.heads)
        return fail(file, msg, "text", "num_heads", "does not divide dim_attn");
    if (c->text.buckets % 4 || c->text.max_distance <= c->text.buckets / 4)
        return fail(file, msg, "text", "num_buckets", "does not fit max_distance");
    return 0;
}

static int read_all(LvModelConfig *c, const json_t *root, const char *file,
                    const LvMsg *msg)
{
    const json_t *dit = json_object_get(root, "dit"), *vae = json_object_get(root, "vae");
    int ret = lv_config_rows(c, rows, LV_COUNT(rows), root, file, msg);

    if (ret < 0 || (ret = read_patch(&c->dit, dit, file, msg)) < 0 ||
        (ret = read_attention(&c->dit, dit, file, msg)) < 0 ||
        (ret = read_floats(c->vae.mean, c->vae.channels, 0, vae, "latent_mean", file,
                           msg)) < 0 ||
        (ret = read_floats(c->vae.std, c->vae.channels, 1, vae, "latent_std", file,
                           msg)) < 0)
        return ret;
    default_range(c, root, vae);
    if ((ret = check_range(&c->range, file, msg)) < 0)
        return ret;
    return check_sizes(c, file, msg);
}

int lv_config_parse(LvModelConfig *c, const char *text, const char *file,
                    const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    int ret;

    memset(c, 0, sizeof(*c));
    if (!root)
        return lv_fail(msg, LV_ERR_MODEL, "%s: line %d: %s", file, error.line,
                       lv_json_expected(shown, &error));
    ret = read_all(c, root, file, msg);
    json_decref(root);
    return ret;
}

int lv_config_load(json_t **root, const char *path, const LvMsg *msg)
{
    char *text = malloc(RECIPE_MAX + 1);
    FILE *f    = text ? fopen(path, "r") : NULL;
    size_t n   = f ? fread(text, 1, RECIPE_MAX + 1, f) : 0;
    char shown[LV_SHOW_SIZE];
    json_error_t error;
    int ret = 0;

    *root = NULL;
    if (!text)
        ret = lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", path);
    else if (!f || ferror(f))
        ret = lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    else if (n > RECIPE_MAX)
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: too large for a recipe, expected at most %d "
                      "bytes", path, RECIPE_MAX);
    else if (!(*root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error)))
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: line %d: %s", path, error.line,
                      lv_json_expected(shown, &error));
    if (f)
        fclose(f);
    free(text);
    return ret;
}

int lv_config_read(LvModelConfig *c, const LvSafetensors *st, const LvMsg *msg)
{
    const char *text = lv_safetensors_meta(st, LV_CONFIG_KEY);
    char file[512];

    if (!text)
        return lv_fail(msg, LV_ERR_MODEL, "%s: not a linvideo bundle: its metadata has no "
                       "'" LV_CONFIG_KEY "'", lv_safetensors_path(st));
    snprintf(file, sizeof(file), "%s: " LV_CONFIG_KEY, lv_safetensors_path(st));
    return lv_config_parse(c, text, file, msg);
}

static json_t *row_json(const LvModelConfig *c, const LvConfigRow *r)
{
    const void *field = (const char *)c + r->offset;

    return r->kind == NAME ? json_string(field)
         : r->kind == INT ? json_integer(*(const int *)field)
         : json_real(*(const float *)field);
}

static json_t *floats_json(const float *x, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

static void put_dit(json_t *dit, const LvDitConfig *c)
{
    json_t *kinds = json_array();

    for (int i = 0; i < c->layers; i++)
        json_array_append_new(kinds, json_string(attn_kinds[c->attention[i]]));
    json_object_set_new(dit, "attention", kinds);
    json_object_set_new(dit, "feature_map", json_string(maps[c->map]));
    json_object_set_new(dit, "patch", json_pack("[i,i,i]", c->patch[0], c->patch[1],
                                                c->patch[2]));
}

char *lv_config_text(const LvModelConfig *c)
{
    json_t *root = json_object(), *section;
    char *text;

    for (int i = 0; i < LV_COUNT(rows); i++) {
        if (!c->video.causal.block && !strcmp(rows[i].section, "causal"))
            continue;
        if (!json_object_get(root, rows[i].section))
            json_object_set_new(root, rows[i].section, json_object());
        section = json_object_get(root, rows[i].section);
        json_object_set_new(section, rows[i].key, row_json(c, &rows[i]));
    }
    put_dit(json_object_get(root, "dit"), &c->dit);
    section = json_object_get(root, "vae");
    json_object_set_new(section, "latent_mean", floats_json(c->vae.mean, c->vae.channels));
    json_object_set_new(section, "latent_std", floats_json(c->vae.std, c->vae.channels));
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

void lv_config_latents(const LvModelConfig *c, const int frame[2], int frames, int scale,
                       int size[3])
{
    const LvVideoConfig *v = &c->video;
    const int *patch = c->dit.patch;

    size[0] = LV_ROUND_UP((v->frames + frames - 2) / frames + 1, patch[0]);
    size[1] = LV_ROUND_UP((frame[1] + scale - 1) / scale, patch[1]);
    size[2] = LV_ROUND_UP((frame[0] + scale - 1) / scale, patch[2]);
}

static double row_value(const LvDitConfig *c, const LvConfigRow *r)
{
    const void *field = (const char *)c + r->offset - AT(dit);

    return r->kind == INT ? *(const int *)field : (double)*(const float *)field;
}

/* The first value that is not the same; NULL: all numbers are. */
static const LvConfigRow *first_other(const LvDitConfig *a, const LvDitConfig *b)
{
    for (int i = 0; i < LV_COUNT(rows); i++)
        if (!strcmp(rows[i].section, "dit") && row_value(a, &rows[i]) != row_value(b, &rows[i]))
            return &rows[i];
    return NULL;
}

int lv_config_same(const LvDitConfig *expected, const LvDitConfig *got, const char *name,
                   const char *file, const LvMsg *msg)
{
    const LvConfigRow *r = first_other(expected, got);

    if (r)
        return lv_fail(msg, LV_ERR_MODEL, "%s: expected %s %g as in %s, got %g", file, r->key,
                       row_value(expected, r), name, row_value(got, r));
    for (int i = 0; i < 3; i++)
        if (expected->patch[i] != got->patch[i])
            return lv_fail(msg, LV_ERR_MODEL, "%s: expected patch %dx%dx%d as in %s, got "
                           "%dx%dx%d", file, expected->patch[0], expected->patch[1],
                           expected->patch[2], name, got->patch[0], got->patch[1],
                           got->patch[2]);
    if (expected->map != got->map)
        return lv_fail(msg, LV_ERR_MODEL, "%s: expected the feature map %s as in %s, got %s",
                       file, lv_map_name(expected->map), name, lv_map_name(got->map));
    for (int i = 0; i < got->layers; i++)
        if (expected->attention[i] != got->attention[i])
            return lv_fail(msg, LV_ERR_MODEL, "%s: layer %d: expected %s attention as in %s, "
                           "got %s", file, i, lv_attn_kind_name(expected->attention[i]), name,
                           lv_attn_kind_name(got->attention[i]));
    return 0;
}

int lv_config_layers(const LvDitConfig *c, int kind)
{
    int n = 0;

    for (int i = 0; i < c->layers; i++)
        n += c->attention[i] == kind;
    return n;
}

const char *lv_attn_kind_name(int kind)
{
    return attn_kinds[kind];
}

const char *lv_map_name(int map)
{
    return maps[map];
}
