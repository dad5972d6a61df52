/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Bytes made by threads ahead of the one that takes them: jobs fill the slots of a ring in
 * any order, and are taken in the order in which they were added.
 * Floor F1 (base): knows bytes, not what they are.
 */

#ifndef LINVIDEO_BASE_RING_H
#define LINVIDEO_BASE_RING_H

#include <stddef.h>

#include "base/msg.h"

typedef struct LvRing LvRing;

typedef struct LvRingJob {
    /** Write the job's bytes to a slot, from any thread. @return 0 or a code, after a
     *  message to msg, which is that of the job */
    int (*fill)(const struct LvRingJob *job, void *slot, const LvMsg *msg);
    const void *what; ///< fill()'s own; outlives the ring
    size_t at, bytes; ///< at most the bytes of a slot
    void *to;         ///< of the one that takes it
} LvRingJob;

/**
 * Make a ring and its threads. With fewer threads than were asked for, or none, it does the
 * same, slower.
 *
 * @param memory `slots` slots of `slot` bytes, which outlive the ring
 * @param[out] r freed with lv_ring_free(); NULL on error
 * @return 0 or -ENOMEM
 */
int lv_ring_new(LvRing **r, int threads, void *memory, size_t slot, int slots,
                const LvMsg *msg);

/** End the threads, each after the job that it is at, and free *r. NULL is fine. */
void lv_ring_free(LvRing **r);

/** Add a job; threads begin with it when there is a slot. 0 or -ENOMEM */
int lv_ring_add(LvRing *r, const LvRingJob *job);

/**
 * Take the next job when it is done, and its bytes, which stay until they are given back.
 *
 * @param wait 1: wait for it; of the slots that were taken at least one was given back, so
 *             that it has one. 0: take it only if it is done
 * @return 1; 0: no job is left, or it is not done yet; the job's code, after its message:
 *         that of the first job in order which failed. Then nothing more can be taken
 */
int lv_ring_take(LvRing *r, int wait, LvRingJob *job, void **data);

/** Give back the slot that was taken first. */
void lv_ring_give(LvRing *r);

/**
 * Have threads fill memory where it lies, in pieces.
 *
 * @param threads less than 2: the caller does it
 * @param job     of all pieces: its `at` is that of the first, its `bytes` are all
 * @return 0, or as lv_ring_take()
 */
int lv_ring_fill(int threads, void *memory, size_t piece, const LvRingJob *job,
                 const LvMsg *msg);

#endif /* LINVIDEO_BASE_RING_H */
