/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/pool.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/locale.h"
#include "base/thread.h"

/* Looks at the batch number before a thread goes to sleep: some 50 microseconds,
 * longer than the gap between two operations. */
enum { SPINS = 4000 };

typedef struct Worker {
    struct LvPool *pool;
    pthread_t id;
    int number;
} Worker;

struct LvPool {
    Worker *worker;
    int workers;            /* threads besides the caller */
    pid_t process;          /* that has them: a child of fork() has none */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int sleepers, quit;
    atomic_uint batch;      /* number of the batch; changes wake the threads */
    atomic_int open;        /* the batch may be entered */
    atomic_int inside;      /* threads that may be running its jobs */
    int (*fn)(void *arg, int job, int thread);
    void *arg;
    int jobs;
    atomic_int next, error;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void take_jobs(LvPool *p, int thread)
{
    for (;;) {
        int job = atomic_fetch_add(&p->next, 1), ret;
        if (job >= p->jobs)
            return;
        if ((ret = p->fn(p->arg, job, thread)) < 0)
            atomic_store(&p->error, ret);
    }
}

/* A batch is closed before the caller looks whether anyone is inside; a thread is
 * inside before it looks whether the batch is open. So one of them sees the other. */
static void join_batch(LvPool *p, int thread)
{
    atomic_fetch_add(&p->inside, 1);
    if (atomic_load(&p->open))
        take_jobs(p, thread);
    atomic_fetch_sub(&p->inside, 1);
}

static void sleep_until(LvPool *p, unsigned seen)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->batch) == seen && !atomic_load(&p->quit))
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void wake_all(LvPool *p)
{
    if (!atomic_load(&p->sleepers))
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
    const Worker *w = arg;
    LvPool *p = w->pool;
    unsigned seen = 0;
    LvLocale locale;

    lv_locale_enter(&locale);
    /* oneDNN must not start threads of its own under ours. */
    omp_set_num_threads(1);
    while (!atomic_load(&p->quit)) {
        for (int i = 0; i < SPINS && atomic_load(&p->batch) == seen; i++)
            relax();
        if (atomic_load(&p->batch) == seen)
            sleep_until(p, seen);
        seen = atomic_load(&p->batch);
        join_batch(p, w->number);
    }
    lv_locale_leave(&locale);
    return NULL;
}

static int start(LvPool *p, int i)
{
    int failed;

    p->worker[i] = (Worker) { .pool = p, .number = i + 1 };
    failed = lv_thread_start(&p->worker[i].id, work, &p->worker[i]);
    p->workers += !failed;
    return failed ? -1 : 0;
}

LvPool *lv_pool_new(int threads)
{
    LvPool *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->process = getpid();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->worker = calloc((size_t)threads, sizeof(*p->worker));
    for (int i = 0; p && i < threads - 1; i++)
        if (!p->worker || start(p, i) < 0)
            lv_pool_free(&p);
    return p;
}

/* Lock and threads; in a child of fork() they are of the parent. */
static void stop(LvPool *p)
{
    atomic_store(&p->quit, 1);
    atomic_fetch_add(&p->batch, 1);
    wake_all(p);
    for (int i = 0; i < p->workers; i++)
        pthread_join(p->worker[i].id, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
}

void lv_pool_free(LvPool **pool)
{
    LvPool *p = *pool;

    if (!p)
        return;
    if (p->process == getpid())
        stop(p);
    free(p->worker);
    free(p);
    *pool = NULL;
}

static void open_batch(LvPool *p)
{
    atomic_store(&p->open, 1);
    atomic_fetch_add(&p->batch, 1);
    wake_all(p);
}

static void close_batch(LvPool *p)
{
    atomic_store(&p->open, 0);
    for (int i = 0; atomic_load(&p->inside); i++)
        if (i < SPINS)
            relax();
        else
            sched_yield();
}

int lv_pool_run(LvPool *p, int (*fn)(void *arg, int job, int thread), void *arg,
                int jobs)
{
    int threads = omp_get_max_threads();
    int alone   = jobs < 2 || !p->workers || p->process != getpid();

    p->fn   = fn;
    p->arg  = arg;
    p->jobs = jobs;
    atomic_store(&p->next, 0);
    atomic_store(&p->error, 0);
    omp_set_num_threads(1);
    if (!alone)
        open_batch(p);
    take_jobs(p, 0);
    if (!alone)
        close_batch(p);
    omp_set_num_threads(threads);
    return atomic_load(&p->error);
}
