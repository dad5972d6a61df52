/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A traced graph made ready to run, with memory for all that goes in and comes out.
 * Floor train/run: knows tensors, not what they mean.
 */

#ifndef LINVIDEO_TRAIN_RUN_TASK_H
#define LINVIDEO_TRAIN_RUN_TASK_H

#include "graph/graph.h"

/** A program with its own arena and a slab for all that it is given and gives. */
typedef struct LvTask {
    LvDevice *dev;
    LvProgram *prog;
    void *arena, *slab;
} LvTask;

/**
 * Plan and build a traced graph, which is freed, and give memory (zeroed) to its
 * external tensors and outputs: t[i]->data is set.
 *
 * @return 0, the graph's error, -ENOMEM with "training needs ..."
 */
int lv_task_new(LvTask *k, LvGraph **g, LvTensor *const *t, int nb, LvDevice *dev,
                const LvMsg *msg);

/** Free what it holds. */
void lv_task_free(LvTask *k);

/** Host to tensor t of a task, all of it, and back. */
int lv_task_put(const LvTask *k, const LvTensor *t, const void *data);
int lv_task_get(const LvTask *k, const LvTensor *t, void *data);

/** Run it and wait. */
int lv_task_run(const LvTask *k);

#endif /* LINVIDEO_TRAIN_RUN_TASK_H */
