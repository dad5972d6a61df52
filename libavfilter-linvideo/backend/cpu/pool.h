/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Threads that take jobs from a counter.
 * Floor F2 (backend): knows functions to call, nothing else.
 *
 * The caller takes jobs as well and waits only for jobs that a thread has really
 * begun: on a machine whose cores are busy with other things (an encoder, say) a
 * thread that gets no core delays nobody. A barrier of OpenMP waits for all of them,
 * which made small operations a hundred times slower beside such a load.
 */

#ifndef LINVIDEO_BACKEND_CPU_POOL_H
#define LINVIDEO_BACKEND_CPU_POOL_H

typedef struct LvPool LvPool;

/**
 * @param threads in all, the caller's included, >= 1
 * @return NULL when out of memory or threads
 */
LvPool *lv_pool_new(int threads);

/** End the threads and free *pool. NULL is fine. */
void lv_pool_free(LvPool **pool);

/**
 * Call fn(arg, job, thread) once for every job from 0 to jobs - 1, in any order;
 * thread is 0 (the caller) to threads - 1, and no two calls run at once with the
 * same. Returns when all are done.
 *
 * @return 0, or the negative result of one of the calls
 */
int lv_pool_run(LvPool *pool, int (*fn)(void *arg, int job, int thread), void *arg,
                int jobs);

#endif /* LINVIDEO_BACKEND_CPU_POOL_H */
