/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/ring.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/locale.h"
#include "base/thread.h"

enum { LINE_SIZE = 2048 };

typedef struct Entry {
    LvRingJob job;
    int done, ret;
    char *line; /* what a job that failed says; NULL: nothing */
} Entry;

/* Jobs are numbered from 0: given <= taken <= begun <= added. */
struct LvRing {
    const LvMsg *msg;
    pthread_mutex_t lock;
    pthread_cond_t wake, came; /* for threads; for the one that takes */
    pthread_t *thread;
    int threads, quit;
    char *memory;
    size_t slot;
    size_t slots;
    Entry *entry;
    size_t room;               /* of entry */
    size_t added, begun, taken, given;
};

/* The threads */

static void keep_line(void *line, int level, const char *text)
{
    (void)level;
    if (!*(char *)line) {
        strncpy(line, text, LINE_SIZE - 1);
        ((char *)line)[LINE_SIZE - 1] = '\0';
    }
}

static void *slot_of(const LvRing *r, size_t number)
{
    return r->memory + number % r->slots * r->slot;
}

static int may_begin(const LvRing *r)
{
    return r->begun < r->added && r->begun < r->given + r->slots;
}

/* Do the next job. The lock is held, but for the time of the job. */
static void do_job(LvRing *r)
{
    char line[LINE_SIZE] = "";
    const LvMsg msg  = { keep_line, line, LV_MSG_ERROR };
    size_t number    = r->begun++;
    LvRingJob job    = r->entry[number].job;
    int ret;

    pthread_mutex_unlock(&r->lock);
    ret = job.fill(&job, slot_of(r, number), &msg);
    pthread_mutex_lock(&r->lock);
    r->entry[number].ret  = ret;
    r->entry[number].line = *line ? strdup(line) : NULL;
    r->entry[number].done = 1;
    pthread_cond_signal(&r->came);
}

static void *work(void *arg)
{
    LvRing *r = arg;
    LvLocale locale;

    lv_locale_enter(&locale);
    pthread_mutex_lock(&r->lock);
    while (!r->quit)
        if (may_begin(r))
            do_job(r);
        else
            pthread_cond_wait(&r->wake, &r->lock);
    pthread_mutex_unlock(&r->lock);
    lv_locale_leave(&locale);
    return NULL;
}

static void start(LvRing *r, int threads)
{
    while (r->threads < threads && !lv_thread_start(&r->thread[r->threads], work, r))
        r->threads++;
}

int lv_ring_new(LvRing **out, int threads, void *memory, size_t slot, int slots,
                const LvMsg *msg)
{
    LvRing *r = *out = calloc(1, sizeof(*r));

    assert(slots >= 1 && slot >= 1);
    if (!r || !(r->thread = calloc((size_t)threads + 1, sizeof(*r->thread)))) {
        free(r);
        *out = NULL;
        return lv_fail(msg, LV_ERR(ENOMEM), "reading: out of memory");
    }
    r->msg    = msg;
    r->memory = memory;
    r->slot   = slot;
    r->slots  = (size_t)slots;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    pthread_cond_init(&r->came, NULL);
    start(r, threads);
    return 0;
}

void lv_ring_free(LvRing **out)
{
    LvRing *r = *out;

    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->quit = 1;
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->threads; i++)
        pthread_join(r->thread[i], NULL);
    pthread_cond_destroy(&r->wake);
    pthread_cond_destroy(&r->came);
    pthread_mutex_destroy(&r->lock);
    for (size_t i = 0; i < r->added; i++)
        free(r->entry[i].line);
    free(r->entry);
    free(r->thread);
    free(r);
    *out = NULL;
}

/* The one that takes */

static int make_room(LvRing *r)
{
    size_t room = LV_MAX(2 * r->room, 64);
    Entry *more = r->added < r->room ? r->entry : realloc(r->entry, room * sizeof(*more));

    if (!more)
        return lv_fail(r->msg, LV_ERR(ENOMEM), "reading: out of memory");
    r->room  = r->added < r->room ? r->room : room;
    r->entry = more;
    return 0;
}

int lv_ring_add(LvRing *r, const LvRingJob *job)
{
    int ret;

    assert(job->bytes <= r->slot);
    pthread_mutex_lock(&r->lock);
    if ((ret = make_room(r)) >= 0) {
        r->entry[r->added++] = (Entry) { .job = *job };
        pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&r->lock);
    return ret;
}

/* Whether the next job is done. The lock is held. */
static int is_done(LvRing *r, int wait)
{
    while (r->taken < r->added && !r->entry[r->taken].done && wait)
        if (!r->threads)
            do_job(r);
        else
            pthread_cond_wait(&r->came, &r->lock);
    return r->taken < r->added && r->entry[r->taken].done;
}

int lv_ring_take(LvRing *r, int wait, LvRingJob *job, void **data)
{
    Entry e = { .ret = 0 };
    int done;

    pthread_mutex_lock(&r->lock);
    if ((done = is_done(r, wait))) {
        e     = r->entry[r->taken];
        *job  = e.job;
        *data = slot_of(r, r->taken);
        r->taken += e.ret >= 0;
    }
    pthread_mutex_unlock(&r->lock);
    if (e.ret >= 0)
        return done;
    if (e.line)
        lv_msg(r->msg, LV_MSG_ERROR, "%s", e.line);
    return e.ret;
}

void lv_ring_give(LvRing *r)
{
    assert(r->given < r->taken);
    pthread_mutex_lock(&r->lock);
    r->given++;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

/* A ring that does not come around: each piece is a slot. */
int lv_ring_fill(int threads, void *memory, size_t piece, const LvRingJob *job,
                 const LvMsg *msg)
{
    size_t nb = (job->bytes + piece - 1) / piece, end = job->at + job->bytes;
    LvRingJob one = *job;
    LvRing *r;
    void *data;
    int ret = lv_ring_new(&r, threads < 2 ? 0 : (int)LV_MIN((size_t)threads, nb), memory,
                          piece, (int)nb, msg);

    assert(piece >= 1);
    for (; one.at < end && ret >= 0; one.at += piece) {
        one.bytes = LV_MIN(piece, end - one.at);
        ret       = lv_ring_add(r, &one);
    }
    while (ret >= 0 && (ret = lv_ring_take(r, 1, &one, &data)) > 0)
        ;
    lv_ring_free(&r);
    return ret;
}
