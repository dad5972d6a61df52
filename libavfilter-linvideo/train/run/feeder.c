/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/feeder.h"

#include <stdlib.h>

#include "backend/cpu/pool.h"
#include "base/common.h"
#include "base/thread.h"

struct LvFeeder {
    LvFeederMake make;
    void *opaque;
    int items;
    LvPool *pool;
    LvDevice *dev;
    void *data[2];   /* of even and of odd steps */
    pthread_t thread;
    int started;     /* a thread makes `step` */
    int step;
    int result;      /* of that thread */
};

int lv_feeder_new(LvFeeder **out, int items, size_t bytes, int threads, LvFeederMake make,
                  void *opaque, LvDevice *dev)
{
    LvFeeder *f = *out = calloc(1, sizeof(*f));

    if (f) {
        f->make    = make;
        f->opaque  = opaque;
        f->items   = items;
        f->pool    = lv_pool_new(threads);
        f->data[0] = lv_alloc(bytes);
        f->data[1] = lv_alloc(bytes);
    }
    if (f && f->pool && f->data[0] && f->data[1]) {
        f->dev = dev;
        for (int i = 0; i < 2; i++)
            lv_device_pin(dev, f->data[i], bytes);
        return 0;
    }
    lv_feeder_free(out);
    return lv_fail(dev->msg, LV_ERR(ENOMEM), "training: out of memory");
}

static void finish(LvFeeder *f)
{
    if (f->started)
        pthread_join(f->thread, NULL);
    f->started = 0;
}

void lv_feeder_free(LvFeeder **out)
{
    LvFeeder *f = *out;

    if (!f)
        return;
    finish(f);
    lv_pool_free(&f->pool);
    for (int i = 0; i < 2 && f->dev; i++)
        lv_device_unpin(f->dev, f->data[i]);
    lv_free(f->data[0]);
    lv_free(f->data[1]);
    free(f);
    *out = NULL;
}

static int make_item(void *arg, int item, int thread)
{
    LvFeeder *f = arg;

    return f->make(f->opaque, f->step, item, f->data[f->step & 1], thread);
}

static void *make_step(void *arg)
{
    LvFeeder *f = arg;

    f->result = lv_pool_run(f->pool, make_item, f, f->items);
    return NULL;
}

int lv_feeder_get(LvFeeder *f, int step, void **data)
{
    int had = f->started && f->step == step, ret;

    finish(f);
    f->step = step;
    if (!had)
        make_step(f);
    ret   = f->result;
    *data = f->data[step & 1];
    if (ret < 0)
        return ret;
    f->step    = step + 1;
    f->started = !lv_thread_start(&f->thread, make_step, f);
    return 0;
}
