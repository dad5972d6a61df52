/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Devices of several ranks as a group: the table of collectives, beside that of the device.
 * Floor F2 (backend): knows memory and ranks, not what is summed.
 *
 * Engines: NCCL between CUDA devices of any hosts, memory that processes share between CPUs
 * of one host. A sum has the same bits in all ranks, and the same from run to run with the
 * same number of ranks.
 *
 * All ranks make the same calls in the same order. When one is gone, each of the others says
 * so in one line and gets LV_ERR_DEVICE: nothing waits forever.
 */

#ifndef LINVIDEO_BACKEND_GROUP_H
#define LINVIDEO_BACKEND_GROUP_H

#include "backend/device.h"
#include "backend/ranks.h"

enum { LV_GROUP_ID = 512 };

struct LvGroup {
    LvDevice *dev;
    LvRanks *ranks;    ///< the caller's
    void *engine;      ///< its own, from enter to leave
    void *numbers;     ///< of the device, for lv_group_numbers()
    size_t nb_numbers;
    int failed;        ///< 1: a collective failed; no other is begun
    int apart;         ///< not 0: rank 0 works alone for a while; how many times it said so
};

/** Collectives of a device. Entries put the message of what fails. */
typedef struct LvGroupFns {
    const char *name;
    /** Rank 0: make what the others come to, and tell it in a word. */
    int (*invite)(LvGroup *g, char id[LV_GROUP_ID]);
    /** All ranks: come together. */
    int (*enter)(LvGroup *g, const char *id);
    /** Sum of data[numel], of LV_F32 or LV_F64 in the device's memory, over the ranks, in
     *  place, once all work started before is done; done when it returns. */
    int (*sum)(LvGroup *g, void *data, size_t numel, LvDtype type);
    /** Free the engine; it may be NULL, or have failed. */
    void (*leave)(LvGroup *g);
} LvGroupFns;

/**
 * Join the ranks' devices; with one rank nothing is done.
 *
 * @param ranks read; outlives the group
 * @param build what has to be the same in all ranks from the start, as one line
 * @return 0; -ENOSYS (no collectives on this device); -EINVAL (another build);
 *         -ETIMEDOUT (too few came); LV_ERR_DEVICE; after a message
 */
int lv_group_join(LvDevice *dev, LvRanks *ranks, const char *build);

/** Leave the group, if there is one, before the device is closed.
 *  @param together 1: all ranks do so now; 0: this one fails, and waits for no other */
void lv_group_leave(LvDevice *dev, int together);

/** Rank and number of ranks of a device; 0 and 1 when it is alone. */
int lv_group_rank(const LvDevice *dev);
int lv_group_size(const LvDevice *dev);

/** Whether part n of work that is split over the ranks is this one's. */
static inline int lv_group_has(const LvDevice *dev, int n)
{
    return n % lv_group_size(dev) == lv_group_rank(dev);
}

/** Whether this is rank 0, or alone: it then does by itself what comes before
 *  lv_group_rejoin(), as if there were no group. Such pairs may be nested. */
int lv_group_apart(LvDevice *dev);

/** Wait for rank 0. @return what it gives as ret; a code also when it is gone */
int lv_group_rejoin(LvDevice *dev, int ret);

/** Sum as in the table; alone nothing is done. */
int lv_group_sum(LvDevice *dev, void *data, size_t numel, LvDtype type);

/** The same of numbers of the host. */
int lv_group_numbers(LvDevice *dev, double *v, int nb);

/** Whether all ranks give the same hash. 0; -EINVAL in all of them when not, after a message
 *  "rank 1 has another WHAT than rank 0". */
int lv_group_same(LvDevice *dev, uint64_t hash, const char *what);

#endif /* LINVIDEO_BACKEND_GROUP_H */
