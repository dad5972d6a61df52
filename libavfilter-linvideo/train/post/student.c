/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/student.h"
#include "base/convert.h"

#include <math.h>
#include <string.h>

typedef struct Work {
    const LvStudent *s;
    LvDit dit;
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

/* The tensor of a network that has the name of a parameter, which begins with "dit.". */
typedef struct Search {
    const char *name;
    const LvTensor *found;
} Search;

static int compare(void *opaque, const char *name, const LvTensor *t)
{
    Search *s = opaque;

    if (!strcmp(s->name, name))
        s->found = t;
    return 0;
}

/* 1: it was there and is taken; 0: it was not; or a code. */
static int take_from(const LvDit *m, const LvParam *t, LvDevice *dev, float *value)
{
    Search s = { t->name + strlen("dit."), NULL };
    int ret;

    lv_dit_each(m, compare, &s);
    if (!s.found || lv_tensor_numel(s.found) != t->numel)
        return 0;
    ret = dev->fn->download(dev, value, s.found->data, t->numel * sizeof(*value));
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
    else if (!(ret = take_from(k->s->from, t, p->dev, value)) && t->flags & LV_W_MAP)
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
    int ret = lv_trainer_create(path, &(LvNewRun) {
        .describe = describe, .fill = fill, .opaque = &k, .config = teacher->config },
        teacher->dev, msg);

    lv_dit_free(&k.dit);
    return ret;
}

int lv_student_open(LvTrainer **t, LvDit *dit, const char *path, const LvDitConfig *cfg,
                    const LvOptim *optim, LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_trainer_open(t, path, optim, dev, msg);

    return ret < 0 ? ret : lv_dit_bind(dit, cfg, (*t)->weights, "dit.");
}
