/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The log of a run of `linvideo linearize`, read back: of each step, how layers stand and how
 * large the errors are. Written by log.h.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_STEPLOG_H
#define LINVIDEO_TRAIN_POST_STEPLOG_H

#include "base/msg.h"
#include "train/post/states.h"

/** A row is a step; numbers that a line lacks are NaN. */
typedef struct LvStepLog {
    int rows, layers;
    double *step;             ///< [rows]
    double *error;            ///< [rows] running mean: the error of a step is of few samples
    double *bins;             ///< [rows,LV_TIME_BINS] errors by time, running means
    double *r, *kind, *rho;   ///< [rows,layers]
    double seconds;           ///< of all steps
    int flips;                ///< times that the count of softmax layers (r >= 0.5) changed
} LvStepLog;

/**
 * Read a file or a pipe. A step is a line with a JSON object with a list "r", whose length in
 * the first is the count of layers; other lines, as one that was cut off, are passed over with
 * a warning.
 *
 * @param[out] l freed with lv_steplog_free(), after an error too
 * @return 0; -errno of the file; -ENOMEM; LV_ERR_MODEL: no step, too many layers, a line of
 *         more than 1 MiB
 */
int lv_steplog_read(LvStepLog *l, const char *path, const LvMsg *msg);

/** Free what is in *l. */
void lv_steplog_free(LvStepLog *l);

#endif /* LINVIDEO_TRAIN_POST_STEPLOG_H */
