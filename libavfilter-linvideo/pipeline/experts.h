/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The networks of a model: one, or two experts, each for a range of steps. They run on one device,
 * or on two, each with a branch of guidance. Both experts are in memory, or one at a time where
 * both do not fit.
 * Floor F5 (pipeline): knows where networks run, not what they are run for.
 */

#ifndef LINVIDEO_PIPELINE_EXPERTS_H
#define LINVIDEO_PIPELINE_EXPERTS_H

#include "pipeline/denoise.h"
#include "pipeline/devices.h"
#include "pipeline/images.h"
#include "pipeline/place.h"

/** All zero is fine for lv_experts_free(). It stays where it is: branches point into it. */
typedef struct LvExperts {
    const LvEnv *env;        ///< of the first device
    LvAside aside;           ///< of the second, where a branch has it
    LvNetwork *network[LV_DEVICES][LV_EXPERTS]; ///< NULL where there is none
    LvBranch branch[LV_BRANCHES]; ///< for lv_denoise_new()
    const LvImages *images;  ///< given to each network that is built; may be NULL
    int nb;                  ///< networks of the model
    int split;               ///< 1: each branch has a device
    int in_turn;             ///< 1: one of them is in memory at a time
    int built;               ///< which, then; negative: neither
    LvNeed need[LV_DEVICES]; ///< with all else that is placed there
    void *arena[LV_DEVICES]; ///< of networks and of what runs in turn with them
} LvExperts;

/** Describe the networks on env's device; as lv_network_new(). */
int lv_experts_new(LvExperts *e, const LvEnv *env);

/** Assign networks to branches. With guidance the second of two devices runs the unconditional
 *  branch; without, a warning says that the second device is not used. @return as
 *  lv_network_new() */
int lv_experts_split(LvExperts *e, const LvDevices *devices, int branches);

/** Plan them all; as lv_network_plan(). */
int lv_experts_plan(LvExperts *e, const LvNetworkShape *shape);

/**
 * Place them, in turn where a device has no room for both.
 *
 * @param p all else of the first device; network is not looked at
 * @param[out] left on the first device
 * @return 0; -ENOMEM after a message; as lv_place()
 */
int lv_experts_place(LvExperts *e, const LvPlace *p, LvLeft *left);

/** Take memory, and build them: all, or the first of those that come in turn. images: may be
 *  NULL. @return 0; as lv_device_alloc(), lv_network_build(), lv_images_show() */
int lv_experts_build(LvExperts *e, const LvImages *images);

/** Give the networks that are there what they take beside the noise, which changed. @return as
 *  lv_images_show() */
int lv_experts_show(LvExperts *e);

/** Of networks in turn: have that one built, in the place of the other one. @return 1: it is new
 *  and has to see its prompts; 0: it was there; as lv_experts_build() */
int lv_experts_enter(LvExperts *e, int expert);

/** Bytes of the host for weights that stream. */
size_t lv_experts_streamed(const LvExperts *e);

void lv_experts_free(LvExperts *e);

#endif /* LINVIDEO_PIPELINE_EXPERTS_H */
