/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/memory.h"

LvNeed lv_need_of(const LvSizes *s)
{
    return (LvNeed) { .weights = s->weights, .arena = s->arena, .lower = s->lower,
                      .thread = s->thread, .slot = s->slot };
}

LvNeed lv_need_join(LvNeed a, LvNeed b)
{
    return (LvNeed) {
        .weights = a.weights + b.weights, .state = a.state + b.state, .host = a.host + b.host,
        .arena = LV_MAX(a.arena, b.arena), .lower = LV_MAX(a.lower, b.lower),
        .thread = LV_MAX(a.thread, b.thread), .slot = LV_MAX(a.slot, b.slot),
    };
}

size_t lv_need_weights(const LvNeed *n)
{
    return n->weights + LV_SLOTS * n->slot;
}

size_t lv_need_work(const LvNeed *n, const LvDevice *dev)
{
    return n->arena + n->state + n->thread * (size_t)dev->threads + (dev->host ? n->host : 0);
}

void *lv_region_take(LvRegion *s, size_t bytes)
{
    char *p = s->base ? s->base + s->at : NULL;

    s->at += LV_ROUND_UP(bytes, LV_ALIGN);
    return p;
}

int lv_memory_new(LvMemory *m, LvDevice *dev, const LvNeed *need)
{
    void *p = NULL;
    int ret = need->state ? lv_device_alloc(dev, &p, need->state, "state") : 0;

    m->device = p;
    if (ret < 0 || !need->host)
        return ret;
    if (!(m->host = lv_alloc(need->host)))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", need->host);
    lv_device_pin(dev, m->host, need->host);
    return 0;
}

void lv_memory_free(LvMemory *m, LvDevice *dev)
{
    lv_device_unpin(dev, m->host);
    lv_free(m->host);
    if (m->device)
        lv_device_free(dev, m->device);
    *m = (LvMemory) { 0 };
}
