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

static int fill(void *opaque, const LvParams *p, float *values)
{
    const Work *k = opaque;

    memset(values, 0, p->size * sizeof(*values));
    for (int i = 0; i < p->nb; i++) {
        const LvParam *t = &p->list[i];
        const LvFileTensor *f = lv_safetensors_find(k->s->from, t->name);
        if (t->flags & LV_W_GATE)
            values[t->at] = k->s->mix;
        else if (f && f->numel == t->numel)
            lv_to_f32(values + t->at, f->data, f->dtype, f->numel);
        else if (t->flags & LV_W_MAP)
            fill_map(t, values + t->at, k->s->map_scale);
        else
            return lv_fail(p->msg, LV_ERR_MODEL, "%s: %s is missing",
                           lv_safetensors_path(k->s->from), t->name);
    }
    return 0;
}

int lv_student_create(const char *path, const LvStudent *s, const LvBundle *teacher,
                      const LvMsg *msg)
{
    Work k  = { .s = s };
    int ret = lv_trainer_create(path, &(LvNewRun) {
        .describe = describe, .fill = fill, .opaque = &k,
        .config = lv_safetensors_meta(teacher->file, LV_CONFIG_KEY) }, teacher->dev, msg);

    lv_dit_free(&k.dit);
    return ret;
}

int lv_student_open(LvTrainer **t, LvDit *dit, const char *path, const LvDitConfig *cfg,
                    const LvOptim *optim, LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_trainer_open(t, path, optim, dev, msg);

    return ret < 0 ? ret : lv_dit_bind(dit, cfg, (*t)->weights, "dit.");
}
