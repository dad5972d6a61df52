/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/export.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/map.h"

typedef struct Bundle {
    LvFileTensor *list;
    int nb;
    char *data; /* of all tensors, one behind the other */
    size_t at;
} Bundle;

/* Tensor t of a slab, as the bundle keeps it. */
static void add(Bundle *b, const LvParam *t, const float *slab)
{
    int half = t->flags & LV_W_MATRIX;
    LvFileTensor *f = &b->list[b->nb++];
    const float *src = slab + t->at;

    *f = (LvFileTensor) { .name = t->name, .dtype = half ? LV_F16 : LV_F32,
                          .rank = t->rank, .numel = t->numel, .data = b->data + b->at,
                          .size = t->numel * (half ? 2 : 4) };
    memcpy(f->dim, t->dim, sizeof(t->dim));
    if (half)
        for (size_t i = 0; i < t->numel; i++)
            ((uint16_t *)(void *)(b->data + b->at))[i] = lv_f32_f16(src[i]);
    else
        memcpy(b->data + b->at, src, f->size);
    b->at += LV_ROUND_UP(f->size, LV_ALIGN);
}

static int add_all(Bundle *b, const LvParams *p)
{
    float *slab = lv_alloc(p->size * sizeof(*slab));
    int ret     = slab ? lv_params_download(p, LV_SLAB_VALUE, slab) : LV_ERR(ENOMEM);

    for (int i = 0; i < p->nb && ret >= 0; i++)
        add(b, &p->list[i], slab);
    lv_free(slab);
    return ret;
}

static int write_bundle(const char *path, Bundle *b, const char *config,
                        const char *tokenizer, const LvMsg *msg)
{
    const char *meta[] = { LV_CONFIG_KEY, config, NULL };
    LvMap map;
    int ret = lv_map_open(&map, tokenizer, msg);

    if (ret < 0)
        return ret;
    b->list[b->nb++] = (LvFileTensor) {
        .name = "tokenizer.spm", .dtype = LV_U8, .rank = 1, .numel = map.size,
        .dim = { (int64_t)map.size }, .data = map.data, .size = map.size };
    ret = lv_safetensors_write(path, b->list, b->nb, meta, msg);
    lv_map_close(&map);
    return ret;
}

int lv_export(const char *path, const LvAutoencoder *a, const LvFlow *f,
              const LvLatents *latents, const char *tokenizer, const LvMsg *msg)
{
    const LvParams *pa = a->trainer->params, *pf = f->trainer->params;
    char *config = lv_train_config_text(a->cfg, latents->mean, latents->std);
    Bundle b = { .list = calloc((size_t)(pa->nb + pf->nb) + 1, sizeof(*b.list)),
                 .data = lv_alloc((pa->size + pf->size) * sizeof(float) +
                                  (size_t)(pa->nb + pf->nb) * LV_ALIGN) };
    int ret = LV_ERR(ENOMEM);

    if (config && b.list && b.data && (ret = add_all(&b, pf)) >= 0 &&
        (ret = add_all(&b, pa)) >= 0)
        ret = write_bundle(path, &b, config, tokenizer, msg);
    if (ret == LV_ERR(ENOMEM))
        lv_msg(msg, LV_MSG_ERROR, "export: out of memory");
    lv_free(b.data);
    free(b.list);
    free(config);
    return ret;
}
