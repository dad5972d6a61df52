/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/export.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/map.h"

int lv_export_new(LvExport *e, int tensors, size_t numel)
{
    *e = (LvExport) { .list = calloc((size_t)tensors + 1, sizeof(*e->list)),
                      .data = lv_alloc(numel * sizeof(float) +
                                       (size_t)(tensors + 1) * LV_ALIGN) };
    return e->list && e->data ? 0 : LV_ERR(ENOMEM);
}

void lv_export_free(LvExport *e)
{
    lv_free(e->data);
    free(e->list);
}

void lv_export_add(LvExport *e, const LvParam *t, const float *slab)
{
    int half = t->flags & LV_W_MATRIX;
    LvFileTensor *f = &e->list[e->nb++];
    const float *src = slab + t->at;

    *f = (LvFileTensor) { .name = t->name, .dtype = half ? LV_F16 : LV_F32,
                          .rank = t->rank, .numel = t->numel, .data = e->data + e->at,
                          .size = t->numel * (half ? 2 : 4) };
    memcpy(f->dim, t->dim, sizeof(t->dim));
    if (half)
        for (size_t i = 0; i < t->numel; i++)
            ((uint16_t *)(void *)(e->data + e->at))[i] = lv_f32_f16(src[i]);
    else
        memcpy(e->data + e->at, src, f->size);
    e->at += LV_ROUND_UP(f->size, LV_ALIGN);
}

static int add_all(LvExport *b, const LvParams *p)
{
    float *slab = lv_alloc(p->size * sizeof(*slab));
    int ret     = slab ? lv_params_download(p, LV_SLAB_VALUE, slab) : LV_ERR(ENOMEM);

    for (int i = 0; i < p->nb && ret >= 0; i++)
        lv_export_add(b, &p->list[i], slab);
    lv_free(slab);
    return ret;
}

static int write_bundle(const char *path, LvExport *b, const char *config,
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
    LvExport b;
    int ret = lv_export_new(&b, pa->nb + pf->nb, pa->size + pf->size);

    if (!config)
        ret = LV_ERR(ENOMEM);
    if (ret >= 0 && (ret = add_all(&b, pf)) >= 0 && (ret = add_all(&b, pa)) >= 0)
        ret = write_bundle(path, &b, config, tokenizer, msg);
    if (ret == LV_ERR(ENOMEM))
        lv_msg(msg, LV_MSG_ERROR, "export: out of memory");
    lv_export_free(&b);
    free(config);
    return ret;
}
