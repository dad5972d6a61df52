/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/upload.h"

#include <stdlib.h>

/* As many threads read as fill the bus: a core reads some 6 GB/s of what is in memory. */
enum { THREADS = 8, SLOTS = LV_SENDS };

struct LvUpload {
    LvDevice *dev;
    LvUploadAsk ask;
    void *opaque;
    const LvMsg *msg;
    LvRing *ring;        /* NULL before the first part */
    size_t slot;
    size_t added, sent, given; /* jobs; of those sent, whose slots are given back */
    int unmet;           /* memory was made, or work started, since copies met it */
};

int lv_upload_new(LvUpload **out, LvDevice *dev, LvUploadAsk ask, void *opaque,
                  const LvMsg *msg)
{
    LvUpload *u = *out = malloc(sizeof(*u));

    if (!u)
        return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
    *u = (LvUpload) { .dev = dev, .ask = ask, .opaque = opaque, .msg = msg };
    return 0;
}

void lv_upload_free(LvUpload **out)
{
    LvUpload *u = *out;

    if (!u)
        return;
    lv_ring_free(&u->ring);
    if (u->dev->fn->copies && u->sent)
        u->dev->fn->copies->settle(u->dev);
    free(u);
    *out = NULL;
}

static int start(LvUpload *u)
{
    size_t bytes;
    void *memory = lv_device_staging(u->dev, &bytes);
    int ret;

    if (!memory)
        return lv_fail(u->msg, LV_ERR(ENOMEM), "weights: no memory to read them to");
    ret = lv_ring_new(&u->ring, LV_MIN(lv_cores(), THREADS), memory, bytes / SLOTS, SLOTS,
                      u->msg);
    if (ret >= 0)
        u->slot = bytes / SLOTS;
    return ret;
}

int lv_upload_slot(LvUpload *u, size_t *bytes)
{
    int ret = u->ring ? 0 : start(u);

    *bytes = u->slot;
    return ret;
}

int lv_upload_add(LvUpload *u, const LvRingJob *part, size_t unit)
{
    size_t most;
    int ret = lv_upload_slot(u, &most);

    most = most / unit * unit;
    for (size_t i = 0, n; i < part->bytes && ret >= 0; i += n) {
        LvRingJob job = *part;
        job.bytes = n = LV_MIN(part->bytes - i, most);
        job.at    = part->at + i;
        job.to    = (char *)part->to + i;
        ret = lv_ring_add(u->ring, &job);
        u->added += ret >= 0;
    }
    u->unmet = 1;
    return ret;
}

size_t lv_upload_mark(const LvUpload *u)
{
    return u->added;
}

static int send(LvUpload *u, const LvRingJob *job, const void *data)
{
    const LvCopyFns *fn = u->dev->fn->copies;
    int ret;

    if (!fn)
        ret = lv_device_upload(u->dev, job->to, data, job->bytes);
    else if (u->unmet && (ret = fn->meet(u->dev)) < 0)
        return ret;
    else
        ret = fn->send(u->dev, (int)(u->sent % SLOTS), job->to, data, job->bytes);
    u->unmet = 0;
    u->sent++;
    return ret;
}

/* Leave at most so many slots to copies: threads fill the others. */
static int give_back(LvUpload *u, size_t most)
{
    const LvCopyFns *fn = u->dev->fn->copies;
    int ret = 0;

    for (; u->sent - u->given > most && ret >= 0; u->given++) {
        ret = fn ? fn->sent(u->dev, (int)(u->given % SLOTS)) : 0;
        lv_ring_give(u->ring);
    }
    return ret;
}

/* Send the next job. @return 1; 0: it is not done; a code */
static int step(LvUpload *u, int wait)
{
    LvRingJob job;
    void *data;
    int ret = u->ring ? lv_ring_take(u->ring, wait, &job, &data) : 0;

    if (ret <= 0)
        return ret;
    ret = send(u, &job, data);
    return ret < 0 ? ret : 1;
}

int lv_upload_run(LvUpload *u, size_t mark)
{
    const LvCopyFns *fn = u->dev->fn->copies;
    int ret = 0;

    while (u->sent < mark && ret >= 0)
        if ((ret = u->ask ? u->ask(u->opaque) : 0) >= 0 &&
            (ret = give_back(u, SLOTS / 2)) >= 0)
            ret = step(u, 1);
    return ret < 0 || !fn || !u->sent ? LV_MIN(ret, 0) : fn->meet(u->dev);
}

int lv_upload_pump(LvUpload *u)
{
    int ret;

    do
        ret = step(u, 0);
    while (ret > 0);
    return ret;
}
