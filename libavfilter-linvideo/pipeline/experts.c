/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/experts.h"

#include <string.h>

#include "base/common.h"

enum { NONE_BUILT = -1 };

static const LvEnv *env_of(const LvExperts *e, int device)
{
    return device ? &e->aside.env : e->env;
}

/* The networks of a device. */
static int make_networks(LvExperts *e, int device)
{
    int ret = 0;

    for (int i = 0; i < e->nb && ret >= 0; i++)
        ret = lv_network_new(&e->network[device][i], env_of(e, device), i);
    return ret;
}

int lv_experts_new(LvExperts *e, const LvEnv *env)
{
    *e = (LvExperts) { .env = env, .nb = env->files->low.kind ? LV_EXPERTS : 1 };
    return make_networks(e, 0);
}

static LvBranch branch_on(const LvExperts *e, int device, int prompt)
{
    LvBranch b = { .prompt = prompt };

    memcpy(b.net, e->network[device], sizeof(b.net));
    return b;
}

int lv_experts_split(LvExperts *e, const LvDevices *devices, int branches)
{
    int ret;

    e->split             = devices->nb > 1 && branches > 1;
    e->branch[LV_COND]   = branch_on(e, 0, 0);
    e->branch[LV_UNCOND] = branch_on(e, 0, 1);
    if (devices->nb > 1 && !e->split)
        lv_msg(e->env->msg, LV_MSG_WARNING, "device: %s is not used: a second device takes the "
               "unconditional branch, and guidance is off", devices->dev[1]->about);
    if (!e->split)
        return 0;
    lv_aside_new(&e->aside, e->env, devices->dev[1]);
    ret = make_networks(e, 1);
    e->branch[LV_UNCOND] = branch_on(e, 1, 0);
    e->branch[LV_UNCOND].aside = &e->aside;
    return ret;
}

int lv_experts_plan(LvExperts *e, const LvNetworkShape *shape)
{
    int ret = 0;

    for (int i = 0; i < e->nb * (1 + e->split) && ret >= 0; i++)
        ret = lv_network_plan(e->network[i / e->nb][i % e->nb], shape, NULL);
    return ret;
}

/* Placing */

static int place(const LvEnv *env, const LvPlace *p, LvNeed *need, LvLeft *left)
{
    LvPlaced placed;
    int ret = lv_place(env, p, &placed);

    if (ret < 0 && ret != LV_ERR(ENOMEM))
        return ret;
    *need  = placed.need;
    *left  = lv_place_left(env, p, &placed);
    return lv_place_tell(env, p, &placed);
}

/* Whether a device holds both networks whole; p is of the first. */
static int holds_both(const LvEnv *env, const LvPlace *p, const LvNetwork *low)
{
    LvPlace both = *p;

    both.others = lv_need_join(p->others, lv_network_need(low));
    return lv_place_whole(env, &both);
}

/* Of two networks that are there in turn. */
static LvNeed larger(LvNeed a, LvNeed b)
{
    return (LvNeed) {
        LV_MAX(a.weights, b.weights), LV_MAX(a.state, b.state), LV_MAX(a.host, b.host),
        LV_MAX(a.arena, b.arena), LV_MAX(a.lower, b.lower), LV_MAX(a.thread, b.thread),
        LV_MAX(a.slot, b.slot),
    };
}

/* Place the networks of a device, with all else that p says. */
static int place_device(LvExperts *e, int device, LvPlace p, LvLeft *left)
{
    const LvEnv *env    = env_of(e, device);
    LvNetwork *const *n = e->network[device];
    LvLeft other;
    LvNeed low;
    int ret;

    p.network = n[LV_HIGH];
    if (e->nb > 1 && !e->in_turn)
        p.others = lv_need_join(p.others, lv_network_need(n[LV_LOW]));
    if ((ret = place(env, &p, &e->need[device], left)) < 0 || !e->in_turn)
        return ret;
    p.network = n[LV_LOW];
    if ((ret = place(env, &p, &low, &other)) < 0)
        return ret;
    e->need[device] = larger(e->need[device], low);
    *left           = (LvLeft) { LV_MIN(left->spare, other.spare), LV_MIN(left->all, other.all) };
    return 0;
}

/* One network at a time, where a device has no room for both. */
static void choose_turns(LvExperts *e, const LvPlace *all, const LvPlace *second)
{
    LvPlace p = *all;

    if (e->nb < 2)
        return;
    p.network  = e->network[0][LV_HIGH];
    e->in_turn = !holds_both(e->env, &p, e->network[0][LV_LOW]);
    p          = *second;
    p.network  = e->network[1][LV_HIGH];
    if (p.network && !e->in_turn)
        e->in_turn = !holds_both(&e->aside.env, &p, e->network[1][LV_LOW]);
}

static void tell_turns(const LvExperts *e)
{
    if (e->in_turn)
        lv_msg(e->env->msg, LV_MSG_INFO, "memory: there is no room for both networks: each is "
               "loaded before its steps, in every clip");
}

int lv_experts_place(LvExperts *e, const LvPlace *p, LvLeft *left)
{
    const LvPlace second = { .shape = p->shape, .limit = p->limit };
    LvLeft other;
    int ret;

    choose_turns(e, p, &second);
    ret = place_device(e, 0, *p, left);
    if (ret >= 0 && e->split)
        ret = place_device(e, 1, second, &other);
    if (ret >= 0)
        tell_turns(e);
    return ret;
}

/* Building */

/* Build a network, and give it what it takes beside the noise. */
static int build_network(LvExperts *e, int device, int expert)
{
    LvNetwork *n = e->network[device][expert];
    int ret = lv_network_build(n, e->arena[device]);

    return ret < 0 ? ret : lv_images_show(e->images, n);
}

static int build_device(LvExperts *e, int device)
{
    int ret = lv_device_alloc(env_of(e, device)->dev, &e->arena[device],
                              e->need[device].arena, "arena");

    for (int k = 0; k < (e->in_turn ? 1 : e->nb) && ret >= 0; k++)
        ret = build_network(e, device, k);
    return ret;
}

int lv_experts_build(LvExperts *e, const LvImages *images)
{
    int ret = 0;

    e->images = images;
    for (int i = 0; i <= e->split && ret >= 0; i++)
        ret = build_device(e, i);
    return ret;
}

int lv_experts_show(LvExperts *e)
{
    int ret = 0;

    for (int i = 0; i < LV_DEVICES * LV_EXPERTS && ret >= 0; i++) {
        LvNetwork *n = e->network[i / LV_EXPERTS][i % LV_EXPERTS];

        if (n && (!e->in_turn || e->built == i % LV_EXPERTS))
            ret = lv_images_show(e->images, n);
    }
    return ret;
}

/* Put a network in the place of the other one. */
static int change_network(LvExperts *e, int expert)
{
    int ret = 0;

    for (int i = 0; i < LV_DEVICES * LV_EXPERTS && ret >= 0; i++)
        if (e->network[i / LV_EXPERTS][i % LV_EXPERTS])
            ret = lv_network_drop(e->network[i / LV_EXPERTS][i % LV_EXPERTS]);
    for (int i = 0; i < LV_DEVICES && ret >= 0; i++)
        if (e->network[i][expert])
            ret = build_network(e, i, expert);
    e->built = ret < 0 ? NONE_BUILT : expert;
    return ret < 0 ? ret : 1;
}

int lv_experts_enter(LvExperts *e, int expert)
{
    return e->built == expert ? 0 : change_network(e, expert);
}

size_t lv_experts_streamed(const LvExperts *e)
{
    size_t bytes = 0;

    for (int i = 0; i < e->nb * (1 + e->split); i++)
        bytes += lv_network_streamed(e->network[i / e->nb][i % e->nb]);
    return bytes;
}

void lv_experts_free(LvExperts *e)
{
    for (int i = 0; i < LV_DEVICES; i++) {
        for (int k = 0; k < LV_EXPERTS; k++)
            lv_network_free(&e->network[i][k]);
        if (e->arena[i])
            lv_device_free(env_of(e, i)->dev, e->arena[i]);
    }
    *e = (LvExperts) { .env = NULL };
}
