/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/place.h"

#include "pipeline/budget.h"

static const double mib = 1024 * 1024;

static size_t text_bytes(const LvEnv *env, const LvPlace *p)
{
    return lv_need_weights(&p->text) + lv_need_work(&p->text, env->dev->threads);
}

static LvNeed need_of(const LvPlace *p)
{
    return lv_need_join(lv_network_need(p->network), p->others);
}

/* Bytes at the highest point: the encoder runs before weights and arena are there. */
static size_t bytes_of(const LvEnv *env, const LvPlace *p, const LvNeed *n)
{
    return LV_MAX(lv_need_weights(n) + lv_need_work(n, env->dev->threads),
                  text_bytes(env, p) + n->state + n->host);
}

static void tell(const LvEnv *env, const LvPlace *p, const LvNeed *n)
{
    lv_msg(env->msg, LV_MSG_VERBOSE, "memory: weights %.1f MiB, arena %.1f MiB (bound "
           "%.1f), state %.1f MiB, threads %.1f MiB; text encoder, before them, %.1f MiB",
           (double)lv_need_weights(n) / mib, (double)n->arena / mib, (double)n->lower / mib,
           (double)(n->state + n->host) / mib,
           (double)(n->thread * (size_t)env->dev->threads) / mib,
           (double)text_bytes(env, p) / mib);
}

static int fail(const LvEnv *env, const LvPlace *p, const LvNeed *n, const char *how,
                size_t have)
{
    const LvVideoConfig *v = &env->cfg->video;

    return lv_fail(env->msg, LV_ERR(ENOMEM), "%dx%d, %d frames need %.1f MiB (weights "
                   "%.1f%s, work %.1f), %.1f are available", v->width, v->height, v->frames,
                   (double)bytes_of(env, p, n) / mib, (double)lv_need_weights(n) / mib, how,
                   (double)lv_need_work(n, env->dev->threads) / mib, (double)have / mib);
}

/* Plan the network with nb blocks on the host. @return 0 or a code */
static int plan_with(const LvEnv *env, const LvPlace *p, int nb, LvNeed *need)
{
    uint8_t streamed[LV_MAX_LAYERS];
    int ret;

    lv_budget_spread(streamed, env->cfg->dit.layers, nb);
    ret   = lv_network_plan(p->network, p->shape, streamed);
    *need = need_of(p);
    return ret;
}

/* room->all fits. Blocks need not be of one size: more stream until it does fit.
 * @return how many stream, or a code */
static int choose(const LvEnv *env, const LvPlace *p, LvRoom *room, LvNeed *need)
{
    int blocks = env->cfg->dit.layers, nb, ret = plan_with(env, p, 0, need);

    room->none = bytes_of(env, p, need);
    if (ret < 0 || !(nb = lv_budget_streamed(room, blocks)))
        return ret;
    do
        ret = plan_with(env, p, nb, need);
    while (ret >= 0 && bytes_of(env, p, need) > lv_budget_left(room) && ++nb <= blocks);
    return ret < 0 ? ret : LV_MIN(nb, blocks);
}

static int check_host(const LvEnv *env, const LvPlace *p)
{
    size_t need = lv_network_streamed(p->network), have = lv_host_available();

    return need <= have ? 0 :
           lv_fail(env->msg, LV_ERR(ENOMEM), "weights that stream need %.1f MiB of the host, "
                   "%.1f are available", (double)need / mib, (double)have / mib);
}

static void tell_streamed(const LvEnv *env, const LvPlace *p, int nb, size_t wanted,
                          size_t have)
{
    int blocks = env->cfg->dit.layers;

    if (nb)
        lv_msg(env->msg, LV_MSG_INFO, "memory: %d of %d blocks stay on the device, %d stream "
               "from %.1f MiB of the host: all need %.1f MiB, %.1f are available",
               blocks - nb, blocks, nb, (double)lv_network_streamed(p->network) / mib,
               (double)wanted / mib, (double)have / mib);
}

/* wanted: bytes without streaming. */
static int stream(const LvEnv *env, const LvPlace *p, size_t wanted, size_t have, LvNeed *need)
{
    LvRoom room = { .have = have, .text = text_bytes(env, p) };
    int nb = 0, ret = plan_with(env, p, env->cfg->dit.layers, need);

    room.all   = bytes_of(env, p, need);
    room.slots = LV_SLOTS * need->slot;
    if (ret >= 0 && room.all <= have)
        ret = nb = choose(env, p, &room, need);
    if (ret < 0)
        return ret;
    tell(env, p, need);
    if (room.all > have)
        return fail(env, p, need, " with two blocks at a time", have);
    if ((ret = check_host(env, p)) < 0)
        return ret;
    tell_streamed(env, p, nb, wanted, have);
    return 0;
}

int lv_place(const LvEnv *env, const LvPlace *p, LvNeed *need)
{
    const LvDevice *dev = env->dev;
    size_t have = p->limit ? p->limit : dev->fn->available(dev), wanted;

    *need  = need_of(p);
    wanted = bytes_of(env, p, need);
    if (wanted > have && dev->fn->fetch && env->cfg->dit.layers >= LV_LEAST_STREAMED)
        return stream(env, p, wanted, have, need);
    tell(env, p, need);
    return wanted <= have ? 0 : fail(env, p, need, "", have);
}
