/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/upload.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

/* As many threads read as fill the bus: a core reads some 4 GB/s of what is in memory. Slots:
 * half are copied, half are filled. */
enum { THREADS = 16, SLOTS = LV_SENDS, LINE_SIZE = 2048 };

/* Jobs are numbered from 0: given <= sent <= added. */
struct LvUpload {
    LvDevice *dev;
    LvUploadAsk ask;
    void *opaque;
    const LvMsg *msg;
    LvMsg held;               /* of the thread that sends: puts `line` */
    LvRing *ring;             /* NULL before the first part */
    size_t slot;

    pthread_t thread;
    int threaded;             /* 0: the caller sends, as no thread could be started */
    pthread_mutex_t lock;     /* of what follows */
    pthread_cond_t more, came; /* for the thread; for the caller */
    int quit;
    size_t added, sent, given; /* given: of those sent, whose slots are given back */
    int failed;               /* code of the first that failed */
    char line[LINE_SIZE];     /* and what it said */
};

/* LvMsg.put */
static void hold(void *opaque, int level, const char *line)
{
    LvUpload *u = opaque;

    (void)level;
    pthread_mutex_lock(&u->lock);
    if (!u->line[0])
        strncpy(u->line, line, LINE_SIZE - 1);
    pthread_mutex_unlock(&u->lock);
}

int lv_upload_new(LvUpload **out, LvDevice *dev, LvUploadAsk ask, void *opaque,
                  const LvMsg *msg)
{
    LvUpload *u = *out = malloc(sizeof(*u));

    if (!u)
        return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
    *u = (LvUpload) { .dev = dev, .ask = ask, .opaque = opaque, .msg = msg,
                      .held = { hold, u, LV_MSG_ERROR } };
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->more, NULL);
    pthread_cond_init(&u->came, NULL);
    return 0;
}

/* Sending: by one thread */

/* Leave at most so many slots to copies: threads fill the others. */
static int give_back(LvUpload *u, size_t most)
{
    const LvCopyFns *fn = u->dev->fn->copies;
    int ret = 0;

    for (; u->sent - u->given > most && ret >= 0; u->given++) {
        ret = fn ? fn->sent(u->dev, (int)(u->given % SLOTS), &u->held) : 0;
        lv_ring_give(u->ring);
    }
    return ret;
}

static int send(const LvUpload *u, const LvRingJob *job, const void *data)
{
    const LvCopyFns *fn = u->dev->fn->copies;

    return fn ? fn->send(u->dev, (int)(u->sent % SLOTS), job->to, data, job->bytes, &u->held)
              : lv_device_upload(u->dev, job->to, data, job->bytes);
}

/* Send the next job, which was added. */
static int step(LvUpload *u)
{
    LvRingJob job;
    void *data;
    int ret = give_back(u, SLOTS / 2);

    if (ret >= 0)
        ret = lv_ring_take(u->ring, 1, &job, &data);
    return ret < 0 ? ret : send(u, &job, data);
}

/* The same, and tell. The lock is held, but for the time of the job. */
static void step_locked(LvUpload *u)
{
    int ret;

    pthread_mutex_unlock(&u->lock);
    ret = step(u);
    pthread_mutex_lock(&u->lock);
    if (ret < 0)
        u->failed = ret;
    else
        u->sent++;
    pthread_cond_signal(&u->came);
}

static void *work(void *opaque)
{
    LvUpload *u = opaque;

    pthread_mutex_lock(&u->lock);
    while (!u->quit)
        if (u->sent < u->added && !u->failed)
            step_locked(u);
        else
            pthread_cond_wait(&u->more, &u->lock);
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static int start(LvUpload *u)
{
    size_t bytes;
    void *memory = lv_device_staging(u->dev, &bytes);
    int ret;

    if (!memory)
        return lv_fail(u->msg, LV_ERR(ENOMEM), "weights: no memory to read them to");
    ret = lv_ring_new(&u->ring, LV_MIN(lv_cores(), THREADS), memory, bytes / SLOTS, SLOTS,
                      &u->held);
    if (ret < 0)
        return lv_fail(u->msg, ret, "%s", u->line);
    u->slot     = bytes / SLOTS;
    u->threaded = u->dev->fn->copies && !lv_thread_start(&u->thread, work, u);
    return 0;
}

static void stop(LvUpload *u)
{
    pthread_mutex_lock(&u->lock);
    u->quit = 1;
    pthread_cond_signal(&u->more);
    pthread_mutex_unlock(&u->lock);
    if (u->threaded)
        pthread_join(u->thread, NULL);
}

void lv_upload_free(LvUpload **out)
{
    LvUpload *u = *out;

    if (!u)
        return;
    stop(u);
    lv_ring_free(&u->ring);
    if (u->dev->fn->copies && u->sent)
        u->dev->fn->copies->settle(u->dev);
    pthread_cond_destroy(&u->came);
    pthread_cond_destroy(&u->more);
    pthread_mutex_destroy(&u->lock);
    free(u);
    *out = NULL;
}

/* Adding */

int lv_upload_slot(LvUpload *u, size_t *bytes)
{
    int ret = u->ring ? 0 : start(u);

    *bytes = u->slot;
    return ret;
}

static int add_job(LvUpload *u, const LvRingJob *job)
{
    int ret;

    if ((ret = lv_ring_add(u->ring, job)) < 0)
        return lv_fail(u->msg, ret, "weights: out of memory");
    pthread_mutex_lock(&u->lock);
    u->added++;
    pthread_cond_signal(&u->more);
    pthread_mutex_unlock(&u->lock);
    return 0;
}

/* What was started on the memory is done before copies come to it, and copies before what is
 * started from now on. */
static int meet(LvUpload *u)
{
    return u->dev->fn->copies ? u->dev->fn->copies->meet(u->dev) : 0;
}

int lv_upload_add(LvUpload *u, const LvRingJob *part, size_t unit)
{
    size_t most;
    int ret = lv_upload_slot(u, &most);

    if (ret >= 0)
        ret = meet(u);
    most = most / unit * unit;
    for (size_t i = 0, n; i < part->bytes && ret >= 0; i += n) {
        LvRingJob job = *part;
        job.bytes = n = LV_MIN(part->bytes - i, most);
        job.at    = part->at + i;
        job.to    = (char *)part->to + i;
        ret = add_job(u, &job);
    }
    return ret;
}

size_t lv_upload_mark(const LvUpload *u)
{
    return u->added;
}

/* Waiting */

static int ask(LvUpload *u)
{
    int ret;

    pthread_mutex_unlock(&u->lock);
    ret = u->ask ? u->ask(u->opaque) : 0;
    pthread_mutex_lock(&u->lock);
    return ret;
}

static int is_waited_for(const LvUpload *u, size_t mark)
{
    return u->sent < mark && !u->failed;
}

/* With the lock. */
static int wait_for(LvUpload *u, size_t mark)
{
    int ret = ask(u);

    for (; is_waited_for(u, mark) && ret >= 0; ret = ask(u))
        if (u->threaded)
            pthread_cond_wait(&u->came, &u->lock);
        else
            step_locked(u);
    return ret;
}

int lv_upload_run(LvUpload *u, size_t mark)
{
    int ret, failed;

    pthread_mutex_lock(&u->lock);
    ret    = wait_for(u, mark);
    failed = u->sent < mark ? u->failed : 0;
    pthread_mutex_unlock(&u->lock);
    if (ret < 0)
        return ret;
    if (!failed)
        return u->ring ? meet(u) : 0;
    if (u->line[0])
        lv_msg(u->msg, LV_MSG_ERROR, "%s", u->line);
    return failed;
}
