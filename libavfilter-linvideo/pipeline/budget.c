/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a run needs and what there is. Where a device has no room for the weights of all
 * blocks of the network, as many as must be stay on the host, and stream.
 */

#include "pipeline/session.h"

static const double mib = 1024 * 1024;

/* With fewer of them the two slots would hold all. */
enum { LEAST = LV_SLOTS + 1 };

static void tell_plan(const LvSession *s, const LvSizes *m)
{
    lv_msg(s->msg, LV_MSG_VERBOSE, "memory: weights %.1f MiB, arena %.1f MiB (bound "
           "%.1f), state %.1f MiB, threads %.1f MiB; text encoder, before them, %.1f MiB",
           s->weight_bytes / mib, s->arena_bytes / mib, m->lower / mib,
           (s->state_bytes + s->host_bytes) / mib,
           m->thread * (size_t)s->dev->threads / mib, s->text_bytes / mib);
}

static int fail(const LvSession *s, const char *how, size_t need, size_t have)
{
    return lv_fail(s->msg, LV_ERR(ENOMEM), "%dx%d, %d frames need %.1f MiB (weights "
                   "%.1f%s, work %.1f), %.1f are available", s->cfg.video.width,
                   s->cfg.video.height, s->cfg.video.frames, need / mib,
                   s->weight_bytes / mib, how, s->work_bytes / mib, have / mib);
}

/* What is needed when nb blocks stream. They lie apart, so that while one is copied those
 * that stay are computed as well. */
static int plan_with(LvSession *s, int nb, size_t *need, LvSizes *m)
{
    int layers = s->cfg.dit.layers, ret;

    for (int i = 0; i < layers; i++)
        s->streamed[i] = (i + 1) * nb / layers > i * nb / layers;
    s->streams = 1;
    ret   = lv_session_plan(s);
    *need = ret < 0 ? 0 : lv_session_need(s, m);
    return ret;
}

/* Fewest blocks with which it fits, when the slots and they are all that changes. */
static int guess(int layers, size_t all, size_t none, size_t slots, size_t have)
{
    size_t each = (none + slots - LV_MIN(none + slots, all)) / (size_t)layers;
    size_t stay = each ? (have - all) / each : 0;

    return LV_MAX(layers - (int)LV_MIN(stay, (size_t)layers), LEAST);
}

/* all: what is needed when all stream, which fits. Where it can be, room is left for the
 * text encoder, so that the prompt may change. */
static int choose(LvSession *s, size_t all, size_t have, int *nb, LvSizes *m)
{
    int layers   = s->cfg.dit.layers, ret;
    size_t slots = LV_SLOTS * m->slot, need;

    have -= LV_MIN(s->text_bytes, have - all);
    *nb = 0;
    if ((ret = plan_with(s, 0, &need, m)) < 0 || need <= have)
        return ret;
    *nb = guess(layers, all, need, slots, have);
    do
        ret = plan_with(s, *nb, &need, m);
    while (ret >= 0 && need > have && ++*nb <= layers);
    return ret;
}

static int check_host(const LvSession *s)
{
    size_t need = lv_weights_streamed(s->dit_weights), have = lv_host_available();

    if (need <= have)
        return 0;
    return lv_fail(s->msg, LV_ERR(ENOMEM), "weights that stream need %.1f MiB of the host, "
                   "%.1f are available", need / mib, have / mib);
}

/* need: without streaming. */
static int stream(LvSession *s, size_t need, size_t have)
{
    int layers = s->cfg.dit.layers, nb = 0, ret;
    size_t all;
    LvSizes m;

    if ((ret = plan_with(s, layers, &all, &m)) < 0)
        return ret;
    if (all <= have && (ret = choose(s, all, have, &nb, &m)) < 0)
        return ret;
    tell_plan(s, &m);
    if (all > have)
        return fail(s, " with two blocks at a time", all, have);
    if ((ret = check_host(s)) < 0)
        return ret;
    if (nb)
        lv_msg(s->msg, LV_MSG_INFO, "memory: %d of %d blocks stay on the device, %d stream "
               "from %.1f MiB of the host: all need %.1f MiB, %.1f are available",
               layers - nb, layers, nb, lv_weights_streamed(s->dit_weights) / mib,
               need / mib, have / mib);
    return 0;
}

int lv_budget_check(LvSession *s)
{
    LvSizes m;
    size_t need = lv_session_need(s, &m);
    size_t have = s->opt.memory_limit ? s->opt.memory_limit
                                      : s->dev->fn->available(s->dev);

    if (need > have && s->dev->fn->fetch && s->cfg.dit.layers >= LEAST)
        return stream(s, need, have);
    tell_plan(s, &m);
    return need <= have ? 0 : fail(s, "", need, have);
}
