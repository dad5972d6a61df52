/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ranks: processes that train one model together. What started them (mpirun, srun, torchrun
 * or a script) tells each its number in the environment; they meet by files in a folder that
 * all of them see.
 * Floor F2 (backend): knows processes, not devices.
 *
 * A rank's file is locked as long as it lives: one whose file is not locked is gone, however
 * it ended, and a file that an earlier run left counts for nothing.
 */

#ifndef LINVIDEO_BACKEND_RANKS_H
#define LINVIDEO_BACKEND_RANKS_H

#include "base/msg.h"

enum { LV_RANKS_DIR = 4096, LV_RANKS_TEXT = 1024, LV_RANKS_MAX = 4096 };

typedef struct LvRanks {
    int rank, size;  ///< size 1: alone
    int local;       ///< number of those of this host
    int file;        ///< this rank's, locked; -1: none
    char dir[LV_RANKS_DIR]; ///< where they meet; set by the caller
    const LvMsg *msg;
} LvRanks;

/**
 * Read the environment: OMPI_COMM_WORLD_RANK and _SIZE, PMI_RANK and PMI_SIZE, SLURM_PROCID and
 * SLURM_STEP_NUM_TASKS (which only srun sets), RANK and WORLD_SIZE, the first of these that is
 * there, with the local number that goes with it; without one that is the rank. None: alone.
 *
 * @return 0, -EINVAL after a message (half of a pair, numbers out of range)
 */
int lv_ranks_read(LvRanks *r, const LvMsg *msg);

/** Make the folder where ranks meet, r->dir. 0 or -errno after a message. */
int lv_ranks_folder(const LvRanks *r);

/**
 * Be there: write and lock this rank's file in the folder. Kept until lv_ranks_leave().
 *
 * @param text a line that the others read, less than LV_RANKS_TEXT bytes
 * @return 0, -EBUSY (another process is this rank), -errno, after a message
 */
int lv_ranks_announce(LvRanks *r, const char *text);

/** Wait until a rank is there, and read its line; LINVIDEO_RANKS_WAIT seconds at most (300).
 *  @return 0, -ETIMEDOUT after a message */
int lv_ranks_await(const LvRanks *r, int rank, char text[LV_RANKS_TEXT]);

/** A rank that was there and is gone, or -1. */
int lv_ranks_gone(const LvRanks *r);

/** Be gone. A zeroed one and one that is alone are fine. */
void lv_ranks_leave(LvRanks *r);

#endif /* LINVIDEO_BACKEND_RANKS_H */
