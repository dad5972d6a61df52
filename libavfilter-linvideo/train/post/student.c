/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"

typedef struct Named {
    char *name;
    const LvTensor *t;
} Named;

typedef struct Work {
    const LvStudent *s;
    LvDit dit;
    Named *named; /* tensors of s->from */
    int nb_named;
} Work;

static int describe(void *opaque, LvWeights *w)
{
    Work *k = opaque;

    return lv_dit_bind(&k->dit, k->s->cfg, w, "dit.");
}

/* [heads,head_dim,map_dim]: the identity of each head, cut when maps are narrower. Wider
 * ones have it again, at twice the scale, three times..: columns that were alike would
 * stay so. */
static void fill_map(const LvParam *p, float *w, float scale)
{
    size_t d = (size_t)p->dim[1], width = (size_t)p->dim[2];

    if (scale <= 0)
        scale = powf((float)d, -0.25f);
    memset(w, 0, p->numel * sizeof(*w));
    for (size_t h = 0; h < (size_t)p->dim[0]; h++)
        for (size_t i = 0; i < width; i++)
            w[(h * d + i % d) * width + i] = scale * (float)(1 + i / d);
}

/* Tensors of the network that a student begins with, in order of their names. */

static int add_name(void *opaque, const char *name, const LvTensor *t)
{
    Work *k = opaque;
    Named *list = realloc(k->named, (size_t)(k->nb_named + 1) * sizeof(*list));

    if (!list)
        return LV_ERR(ENOMEM);
    k->named = list;
    list[k->nb_named] = (Named) { strdup(name), t };
    return list[k->nb_named++].name ? 0 : LV_ERR(ENOMEM);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Named *)a)->name, ((const Named *)b)->name);
}

static int list_names(Work *k, const LvMsg *msg)
{
    int ret = lv_dit_each(k->s->from, add_name, k);

    if (ret < 0)
        return lv_fail(msg, ret, "training: out of memory");
    qsort(k->named, (size_t)k->nb_named, sizeof(*k->named), by_name);
    return 0;
}

static void free_names(Work *k)
{
    for (int i = 0; i < k->nb_named; i++)
        free(k->named[i].name);
    free(k->named);
}

/* A parameter's name begins with "dit.". 1: it was there and is taken; 0: it was not; or a
 * code. */
static int take_named(const Work *k, const LvParam *t, LvDevice *dev, float *value)
{
    const Named wanted = { (char *)(uintptr_t)t->name + strlen("dit."), NULL };
    const Named *found = bsearch(&wanted, k->named, (size_t)k->nb_named, sizeof(*found),
                                 by_name);
    int ret;

    if (!found || lv_tensor_numel(found->t) != t->numel)
        return 0;
    ret = lv_device_download(dev, value, found->t->data, t->numel * sizeof(*value));
    return ret < 0 ? ret : 1;
}

static int fill_param(const Work *k, const LvParams *p, const LvParam *t, float *value)
{
    const LvFileTensor *f = k->s->maps ? lv_safetensors_find(k->s->maps, t->name) : NULL;
    int ret = 1;

    if (t->flags & LV_W_GATE)
        *value = k->s->mix;
    else if (f && f->numel == t->numel)
        lv_to_f32(value, f->data, f->dtype, f->numel);
    else if (!(ret = take_named(k, t, p->dev, value)) && t->flags & LV_W_MAP)
        fill_map(t, value, k->s->map_scale);
    else if (!ret)
        return lv_fail(p->msg, LV_ERR_MODEL, "%s: the model has no tensor of that size", t->name);
    return LV_MIN(ret, 0);
}

static int fill(void *opaque, const LvParams *p, float *values)
{
    int ret = 0;

    memset(values, 0, p->size * sizeof(*values));
    for (int i = 0; i < p->nb && ret >= 0; i++)
        ret = fill_param(opaque, p, &p->list[i], values + p->list[i].at);
    return ret;
}

int lv_student_create(const char *path, const LvStudent *s, const LvFrozen *teacher,
                      const LvMsg *msg)
{
    Work k  = { .s = s };
    int ret = list_names(&k, msg);

    if (ret >= 0)
        ret = lv_trainer_create(path, &(LvNewRun) {
            .describe = describe, .fill = fill, .opaque = &k, .config = teacher->config },
            teacher->dev, msg);
    free_names(&k);
    lv_dit_free(&k.dit);
    return ret;
}

int lv_student_open(LvTrainer **t, LvDit *dit, const char *path, const LvDitConfig *cfg,
                    const LvOptim *optim, LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_trainer_open(t, path, optim, dev, msg);

    return ret < 0 ? ret : lv_dit_bind(dit, cfg, (*t)->weights, "dit.");
}

int lv_student_learns(const LvParam *p, int only)
{
    int is_map = (p->flags & (LV_W_MAP | LV_W_GATE)) != 0;

    return only == LV_ONLY_MAPS ? is_map :
           only == LV_ONLY_ATTENTION ? strstr(p->name, ".self_attn.") != NULL : 1;
}

void lv_student_freeze(LvTrainer *t, int only)
{
    for (int i = 0; i < t->params->nb; i++)
        if (!lv_student_learns(&t->params->list[i], only))
            t->params->list[i].flags &= ~(unsigned)LV_W_DECAY;
}
