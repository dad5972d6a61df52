/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/delta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "model/files.h"
#include "model/list.h"
#include "train/post/lora_fit.h"

enum { NAME = LV_PARAM_NAME, ENDING = 16 };

/* One of the two networks. */
typedef struct Net {
    const char *path;
    LvFiles files;   /* of a bundle or a manifest */
    LvSource *src;   /* of a file of its own */
    LvPart part;
    LvModelConfig cfg;
    LvWeights *w;
    LvParams *list, *plain; /* tensors by their names in the file, and in Wan's own layout */
} Net;

typedef struct Work {
    const LvDelta *d;
    LvDeltaReport *r;
    const LvMsg *msg;
    Net base, to;
    LvFileTensor *tensor;
    char (*name)[NAME + ENDING];
    void **data;
    int nb;
    float *x[3];     /* of the matrix at hand: the base's, the other's, their difference */
} Work;

static int out_of_memory(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(ENOMEM), "delta: out of memory");
}

/* Networks */

static int open_model(Net *n, const LvMsg *msg)
{
    int ret = lv_files_open(&n->files, n->path, NULL, 0, 0, msg);

    if (ret < 0)
        return ret;
    if (n->files.low.kind || n->files.loras)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: names %s; expected one network: name its file",
                       n->path, n->files.loras ? "LoRAs" : "two networks");
    n->part = n->files.dit;
    n->cfg  = n->files.cfg;
    return 0;
}

static int open_file(Net *n, const LvMsg *msg)
{
    int ret = lv_source_open(&n->src, n->path, msg);

    if (ret < 0)
        return ret;
    n->part = lv_part_find_kind(n->src, LV_PART_DIT);
    return n->part.kind ? lv_part_dit(&n->cfg.dit, &n->part, msg)
                        : lv_fail(msg, LV_ERR_MODEL, "%s: holds no network for text to video that "
                                  "is known", n->path);
}

static int open_net(Net *n, LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_files_is_model(n->path) ? open_model(n, msg) : open_file(n, msg);
    const LvWeightsFrom from = { .src = n->part.src, .layout = n->part.layout, .wide = LV_F32,
                                 .described = 1 };

    if (ret < 0 || (ret = lv_weights_new_from(&n->w, &from, dev, msg)) < 0 ||
        (ret = lv_part_list(&n->list, LV_PART_DIT, &n->cfg, n->part.layout, n->part.prefix, dev,
                            msg)) < 0)
        return ret;
    return lv_part_list(&n->plain, LV_PART_DIT, &n->cfg, LV_LAYOUT_ORIGINAL, "", dev, msg);
}

static void close_net(Net *n)
{
    lv_params_free(&n->list);
    lv_params_free(&n->plain);
    lv_weights_free(&n->w);
    lv_source_close(&n->src);
    lv_files_close(&n->files);
}

/* Tensor i as numbers. */
static int read_tensor(float *x, const Net *n, int i, const LvMsg *msg)
{
    const LvParam *p = &n->list->list[i];
    LvStored s;
    int ret = lv_weights_find(n->w, &s, p->name);

    if (ret < 0)
        return ret;
    if (!s.t || s.t->numel != p->numel || !lv_stored_has_type(s.t))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is missing, or of another size or type",
                       n->path, p->name);
    ret = lv_stored_read(x, &s, n->part.src, msg);
    lv_source_drop(n->part.src, s.t);
    return ret;
}

/* The base is the other but for its linear layers. */
static int check_nets(const Work *k)
{
    LvDitConfig soft = k->to.cfg.dit;

    if (lv_config_layers(&k->base.cfg.dit, LV_ATTN_SOFTMAX) != k->base.cfg.dit.layers)
        return lv_fail(k->msg, LV_ERR_MODEL, "%s: has linear layers; expected a base of softmax "
                       "layers only", k->base.path);
    memcpy(soft.attention, k->base.cfg.dit.attention, sizeof(soft.attention));
    soft.map     = k->base.cfg.dit.map;
    soft.map_dim = k->base.cfg.dit.map_dim;
    soft.map_eps = k->base.cfg.dit.map_eps;
    return lv_config_same(&k->base.cfg.dit, &soft, k->base.path, k->to.path, k->msg);
}

/* Tensors of the file */

/* The name of a weight's change: LAYER.END. */
static void change_name(char name[NAME + ENDING], const LvParam *p, const char *end)
{
    static const char *const ends[] = { ".weight", ".bias" };
    size_t n = strlen(p->name);

    for (int i = 0; i < LV_COUNT(ends); i++)
        if (n > strlen(ends[i]) && !strcmp(p->name + n - strlen(ends[i]), ends[i])) {
            n -= strlen(ends[i]);
            break;
        }
    snprintf(name, NAME + ENDING, "%.*s%s", (int)n, p->name, end);
}

/* A tensor of f16, or of f32 when it is small. */
static int add(Work *k, const char *name, int rank, const int64_t *dim, const float *x, int half)
{
    LvFileTensor *t = &k->tensor[k->nb];
    size_t n = 1;
    void *data;

    for (int i = 0; i < rank; i++)
        n *= (size_t)dim[i];
    *t = (LvFileTensor) { .dtype = half ? LV_F16 : LV_F32, .rank = rank, .numel = n,
                          .size = n * (half ? 2 : 4) };
    if (!(data = k->data[k->nb] = malloc(t->size)))
        return out_of_memory(k->msg);
    for (size_t i = 0; i < n && half; i++)
        ((uint16_t *)data)[i] = lv_f32_f16(x[i]);
    if (!half)
        memcpy(data, x, t->size);
    memcpy(t->dim, dim, (size_t)rank * sizeof(*dim));
    snprintf(k->name[k->nb], sizeof(*k->name), "%s", name);
    t->name = k->name[k->nb++];
    t->data = data;
    k->r->bytes += t->size;
    return 0;
}

static int add_factors(Work *k, const LvParam *p, const LvLoraFit *fit)
{
    const int64_t rows = p->dim[0], cols = (int64_t)p->numel / rows;
    char name[NAME + ENDING];
    int ret;

    change_name(name, p, ".lora_A.weight");
    ret = add(k, name, 2, (const int64_t[]) { fit->rank, cols }, fit->down, 1);
    change_name(name, p, ".lora_B.weight");
    if (ret >= 0)
        ret = add(k, name, 2, (const int64_t[]) { rows, fit->rank }, fit->up, 1);
    k->r->factors++;
    k->r->lowest  = k->r->lowest ? LV_MIN(k->r->lowest, fit->rank) : fit->rank;
    k->r->highest = LV_MAX(k->r->highest, fit->rank);
    return ret;
}

static void subtract(float *d, const float *to, const float *base, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = to[i] - base[i];
}

/* Largest rank at which factors are smaller than the matrix. */
static int useful_rank(const LvParam *p, int most)
{
    size_t rows = (size_t)p->dim[0], cols = p->numel / rows;

    return (int)LV_MIN((size_t)most, (rows * cols - 1) / (rows + cols));
}

/* A matrix, as factors if they are near enough and smaller than it. */
static int add_matrix(Work *k, const LvParam *p)
{
    size_t rows  = (size_t)p->dim[0], n = p->numel;
    double bound = (double)k->d->error * lv_lora_norm(k->x[1], n);
    int most     = useful_rank(p, k->d->rank), ret = 0;
    char name[NAME + ENDING];
    LvLoraFit fit = { 0 };

    if (lv_lora_norm(k->x[2], n) <= bound)
        return k->r->within++, 0;
    if (most > 0 && (ret = lv_lora_fit(&fit, k->x[2], rows, n / rows, most, bound)) < 0)
        ret = out_of_memory(k->msg);
    if (ret >= 0 && fit.rank && fit.error <= bound) {
        ret = add_factors(k, p, &fit);
    } else if (ret >= 0) {
        subtract(k->x[2], k->x[1], k->x[0], n);
        change_name(name, p, ".diff");
        ret = add(k, name, p->rank, p->dim, k->x[2], 1);
        k->r->whole++;
    }
    lv_lora_fit_free(&fit);
    return ret;
}

static int is_bias(const LvParam *p)
{
    size_t n = strlen(p->name);

    return n > 5 && !strcmp(p->name + n - 5, ".bias");
}

/* Add a vector or a bias that differs from the base. */
static int add_vector(Work *k, const LvParam *p)
{
    char name[NAME + ENDING];

    if (lv_lora_norm(k->x[2], p->numel) <= 0)
        return 0;
    change_name(name, p, is_bias(p) ? ".diff_b" : ".diff");
    k->r->others++;
    return add(k, name, p->rank, p->dim, k->x[2], 0);
}

static int add_param(Work *k, int i)
{
    const LvParam *p = &k->to.plain->list[i];
    const LvParam *from = lv_params_find(k->base.plain, p->name);
    int ret = read_tensor(k->x[1], &k->to, i, k->msg);

    k->r->network += 2 * p->numel;
    if (ret < 0)
        return ret;
    if (p->flags & LV_W_MAP)
        return add(k, p->name, p->rank, p->dim, k->x[1], 1);
    if ((ret = read_tensor(k->x[0], &k->base, (int)(from - k->base.plain->list), k->msg)) < 0)
        return ret;
    subtract(k->x[2], k->x[1], k->x[0], p->numel);
    return p->flags & LV_W_MATRIX && p->rank > 1 ? add_matrix(k, p) : add_vector(k, p);
}

static int make_room(Work *k)
{
    const LvParams *p = k->to.plain;
    size_t most = 0, nb = 2 * (size_t)p->nb + 1;

    for (int i = 0; i < p->nb; i++)
        most = LV_MAX(most, p->list[i].numel);
    k->tensor = calloc(nb, sizeof(*k->tensor));
    k->name   = calloc(nb, sizeof(*k->name));
    k->data   = calloc(nb, sizeof(*k->data));
    for (int i = 0; i < LV_COUNT(k->x); i++)
        k->x[i] = lv_alloc((most + 1) * sizeof(float));
    return k->tensor && k->name && k->data && k->x[0] && k->x[1] && k->x[2]
         ? 0 : out_of_memory(k->msg);
}

static void free_all(Work *k)
{
    for (int i = 0; k->data && i < k->nb + 1; i++)
        free(k->data[i]);
    for (int i = 0; i < LV_COUNT(k->x); i++)
        lv_free(k->x[i]);
    free(k->data);
    free(k->name);
    free(k->tensor);
    close_net(&k->base);
    close_net(&k->to);
}

static int write_file(const Work *k)
{
    const LvDitConfig *c = &k->to.cfg.dit;
    char eps[32];
    const char *meta[] = { "format", "pt", LV_MAP_KEY, lv_map_name(c->map), LV_MAP_EPS_KEY, eps,
                           NULL };

    snprintf(eps, sizeof(eps), "%.9g", (double)c->map_eps);
    if (!k->r->linear)
        meta[2] = NULL;
    if (!k->nb)
        return lv_fail(k->msg, LV_ERR_MODEL, "%s: is the same network as %s: nothing to write",
                       k->to.path, k->base.path);
    return lv_safetensors_write(k->d->out, k->tensor, k->nb, meta, k->msg);
}

int lv_delta_write(const LvDelta *d, LvDeltaReport *r, LvDevice *dev, const LvMsg *msg)
{
    Work k = { .d = d, .r = r, .msg = msg, .base = { .path = d->base }, .to = { .path = d->to } };
    int ret;

    *r = (LvDeltaReport) { 0 };
    if ((ret = open_net(&k.base, dev, msg)) >= 0 && (ret = open_net(&k.to, dev, msg)) >= 0 &&
        (ret = check_nets(&k)) >= 0)
        ret = make_room(&k);
    r->linear = lv_config_layers(&k.to.cfg.dit, LV_ATTN_LINEAR);
    for (int i = 0; ret >= 0 && i < k.to.plain->nb; i++)
        ret = add_param(&k, i);
    if (ret >= 0)
        ret = write_file(&k);
    free_all(&k);
    return ret;
}
