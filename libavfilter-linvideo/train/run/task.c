/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/task.h"

#include "graph/program.h"

#include <string.h>

static size_t room(const LvTensor *t)
{
    return LV_ROUND_UP(lv_tensor_bytes(t), LV_ALIGN);
}

static int allocate(LvTask *k, size_t slab, const LvMsg *msg)
{
    LvSizes sizes     = lv_program_sizes(k->prog);
    size_t free_bytes = lv_device_available(k->dev);

    if (sizes.arena + slab <= free_bytes) {
        k->arena = lv_device_try_alloc(k->dev, LV_MAX(sizes.arena, LV_ALIGN));
        k->slab  = lv_device_try_alloc(k->dev, LV_MAX(slab, LV_ALIGN));
    }
    return k->arena && k->slab ? 0 :
           lv_fail(msg, LV_ERR(ENOMEM), "training needs %zu MiB for a step, %s has %zu "
                   "free", (sizes.arena + slab) >> 20, k->dev->about, free_bytes >> 20);
}

int lv_task_new(LvTask *k, LvGraph **g, LvTensor *const *t, int nb, LvDevice *dev,
                const LvMsg *msg)
{
    size_t bytes = 0, at = 0;
    int ret;

    *k  = (LvTask) { .dev = dev };
    ret = lv_program_new(&k->prog, *g, dev);
    lv_graph_free(g);
    if (ret < 0)
        return ret;
    for (int i = 0; i < nb; i++)
        bytes += room(t[i]);
    if ((ret = allocate(k, bytes, msg)) < 0)
        return ret;
    for (int i = 0; i < nb; i++) {
        t[i]->data = (char *)k->slab + at;
        lv_program_bind(k->prog, *t[i], t[i]->data);
        at += room(t[i]);
    }
    return lv_program_build(k->prog, k->arena);
}

void lv_task_free(LvTask *k)
{
    if (!k->dev)
        return;
    lv_program_free(&k->prog);
    lv_device_free(k->dev, k->arena);
    lv_device_free(k->dev, k->slab);
    memset(k, 0, sizeof(*k));
}

int lv_task_put(const LvTask *k, const LvTensor *t, const void *data)
{
    return lv_device_upload(k->dev, t->data, data, lv_tensor_bytes(t));
}

int lv_task_get(const LvTask *k, const LvTensor *t, void *data)
{
    return lv_device_download(k->dev, data, t->data, lv_tensor_bytes(t));
}

int lv_task_run(const LvTask *k)
{
    return lv_program_run(k->prog, NULL, NULL);
}
