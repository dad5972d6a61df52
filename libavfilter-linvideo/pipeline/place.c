/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/place.h"

#include <stdio.h>

#include "pipeline/budget.h"

static size_t before_bytes(const LvEnv *env, const LvPlace *p)
{
    return lv_need_weights(&p->before) + lv_need_work(&p->before, env->dev);
}

static LvNeed need_of(const LvPlace *p)
{
    return lv_need_join(lv_network_need(p->network), p->others);
}

/* Bytes at the highest point: the encoder runs before weights and arena are there. */
static size_t bytes_of(const LvEnv *env, const LvPlace *p, const LvNeed *n)
{
    return LV_MAX(lv_need_weights(n) + lv_need_work(n, env->dev),
                  before_bytes(env, p) + n->state + (env->dev->host ? n->host : 0));
}

static void look(const LvEnv *env, const LvPlace *p, LvPlaced *at)
{
    at->need  = need_of(p);
    at->bytes = bytes_of(env, p, &at->need);
    at->host  = lv_network_streamed(p->network);
    at->host_all = at->host + (env->dev->host ? 0 : at->need.host);
}

/* Plan the network with nb blocks on the host. */
static int plan_with(const LvEnv *env, const LvPlace *p, int nb, LvPlaced *at)
{
    uint8_t streamed[LV_MAX_LAYERS];
    int ret;

    lv_budget_spread(streamed, env->cfg->dit.layers, nb);
    ret          = lv_network_plan(p->network, p->shape, streamed);
    at->streamed = nb;
    if (ret >= 0)
        look(env, p, at);
    return ret;
}

/* room->all fits. Blocks need not be of one size: more stream until it does fit. */
static int choose(const LvEnv *env, const LvPlace *p, LvRoom *room, LvPlaced *at)
{
    int blocks = env->cfg->dit.layers, nb, ret = plan_with(env, p, 0, at);

    room->none = at->bytes;
    if (ret < 0 || !(nb = lv_budget_streamed(room, blocks)))
        return ret;
    do
        ret = plan_with(env, p, nb, at);
    while (ret >= 0 && at->bytes > lv_budget_left(room) && ++nb <= blocks);
    return ret;
}

static int stream(const LvEnv *env, const LvPlace *p, LvPlaced *at)
{
    LvRoom room = { .have = at->have, .text = before_bytes(env, p) };
    int ret = plan_with(env, p, env->cfg->dit.layers, at);

    at->streams = 1;
    room.all    = at->bytes;
    room.slots  = LV_SLOTS * at->need.slot;
    return ret < 0 || room.all > at->have ? ret : choose(env, p, &room, at);
}

static int fits(const LvPlaced *at)
{
    return at->bytes <= at->have && at->host_all <= at->host_have;
}

LvLeft lv_place_left(const LvEnv *env, const LvPlace *p, const LvPlaced *at)
{
    size_t taken = before_bytes(env, p) + at->need.state + at->need.host;

    return (LvLeft) { !p->limit ? SIZE_MAX : p->limit > taken ? p->limit - taken : 0,
                      at->have > at->bytes ? at->have - at->bytes : 0 };
}

/* What there is, and what all needs. */
static LvPlaced begin(const LvEnv *env, const LvPlace *p)
{
    LvPlaced at = { .have = p->limit ? p->limit : lv_device_available(env->dev),
                    .host_have = lv_host_available() };

    look(env, p, &at);
    at.wanted = at.bytes;
    return at;
}

int lv_place_whole(const LvEnv *env, const LvPlace *p)
{
    const LvPlaced at = begin(env, p);

    return fits(&at);
}

int lv_place(const LvEnv *env, const LvPlace *p, LvPlaced *at)
{
    const LvDevice *dev = env->dev;
    int ret = 0;

    *at = begin(env, p);
    if (at->wanted > at->have && dev->fn->copies && env->cfg->dit.layers >= LV_LEAST_STREAMED)
        ret = stream(env, p, at);
    return ret < 0 ? ret : fits(at) ? 0 : LV_ERR(ENOMEM);
}

/* Messages */

static double in_mib(size_t bytes)
{
    return (double)bytes / (1024 * 1024);
}

static int fail(const LvEnv *env, const LvPlace *p, const LvPlaced *at)
{
    const LvVideoConfig *v = &env->cfg->video;
    const LvNeed *n = &at->need;
    char tiles[32]  = "";

    if (at->bytes <= at->have)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "offloaded weights and frames need %.1f MiB of "
                       "the host, %.1f are available", in_mib(at->host_all), in_mib(at->host_have));
    if (p->tile)
        snprintf(tiles, sizeof(tiles), " in tiles of %d", p->tile);
    return lv_fail(env->msg, LV_ERR(ENOMEM), "%dx%d, %d frames%s need %.1f MiB (weights "
                   "%.1f%s, work %.1f), %.1f are available", v->width, v->height, v->frames, tiles,
                   in_mib(at->bytes), in_mib(lv_need_weights(n)),
                   at->streams ? " with two blocks at a time" : "",
                   in_mib(lv_need_work(n, env->dev)), in_mib(at->have));
}

int lv_place_tell(const LvEnv *env, const LvPlace *p, const LvPlaced *at)
{
    const LvNeed *n = &at->need;
    int blocks = env->cfg->dit.layers;

    lv_msg(env->msg, LV_MSG_VERBOSE, "memory: weights %.1f MiB, arena %.1f MiB (bound "
           "%.1f), state %.1f MiB, threads %.1f MiB; text encoder or images, before them, %.1f MiB",
           in_mib(lv_need_weights(n)), in_mib(n->arena), in_mib(n->lower),
           in_mib(n->state + n->host), in_mib(n->thread * (size_t)env->dev->threads),
           in_mib(before_bytes(env, p)));
    if (!fits(at))
        return fail(env, p, at);
    if (at->streamed)
        lv_msg(env->msg, LV_MSG_INFO, "memory: %d of %d blocks stay on the device, %d are "
               "offloaded to %.1f MiB of the host: all need %.1f MiB, %.1f are available",
               blocks - at->streamed, blocks, at->streamed, in_mib(at->host),
               in_mib(at->wanted), in_mib(at->have));
    return 0;
}
