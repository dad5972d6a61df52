/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What tests of post-training share: a tiny bundle of random weights in a folder of its
 * own, runs on it, velocities of single networks.
 */

#ifndef LINVIDEO_TESTS_POST_KIT_H
#define LINVIDEO_TESTS_POST_KIT_H

#include <check.h>

#include "train/post/distill.h"
#include "train/post/linearize.h"

extern char post_said[2048];  ///< last message
extern const LvMsg post_msg;

#define SUCCEEDS(call)                                            \
    do {                                                          \
        int code = (call);                                        \
        ck_assert_msg(code >= 0, "%d: %s", code, post_said);      \
    } while (0)

/* What a test works on. */
typedef struct PostJob {
    LvDevice *dev;
    LvDtype dtype;
    LvRecipe recipe;
    LvFrozen *teacher;
    LvTrajectories t;
    LvLinearizeFiles files;
    LvLinearize *l;
    LvDistill *d;
} PostJob;

/** The device of LV_TEST_DEVICE, the CPU without it; one thread. */
LvDevice *post_open_device(void);

/** Fixtures: a folder with "bundle". timed: the network's outputs depend strongly on the
 *  time that it is given. */
void post_make_folder(void);
void post_make_timed_folder(void);
void post_remove_folder(void);

/** Path of a file in it; valid for the next seven calls. */
const char *post_in_folder(const char *name);

/** Open the bundle and sample trajectories; more: changes of the recipe, ended by NULL. */
void post_begin(PostJob *j, const char *const *more);
void post_end(PostJob *j);
void post_open_linearize(PostJob *j, const char *run, int create);

/** Velocity of net at x [batch,numel], times t (times 1000), text features; malloc'ed. */
float *post_velocity(PostJob *j, const LvDit *net, const float *x, const float *t,
                     const float *text);

/** The first micro-batch of step 0 for an objective; its memory is returned. */
float *post_make_batch(PostJob *j, int objective, LvBatch *b);

/** Let every mixed layer have this gate. */
void post_set_shares(PostJob *j, float r);

/** Errors [batch] of a micro-batch; returns the gradient slab, malloc'ed. */
float *post_learn(PostJob *j, int objective, int relative, const LvBatch *b, float *error);

/** Move all weights against a gradient. */
void post_descend(PostJob *j, const float *grad, float rate);

#endif /* LINVIDEO_TESTS_POST_KIT_H */
