/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/feeder.h"

#include <stdlib.h>

#include "backend/cpu/pool.h"
#include "base/common.h"
#include "base/thread.h"

/* Memory that two groups of steps take at most, where more than one step each is held. */
#define ROOM ((size_t)4 << 30)

/* Items for each thread in a group: some take far longer than others. */
enum { ITEMS = 3 };

/* Steps that are made together. */
typedef struct Group {
    char *data;      /* [steps][bytes] */
    int first;       /* step; -1: none is there */
    int result;
} Group;

struct LvFeeder {
    LvFeederMake make;
    void *opaque;
    int items, steps; /* of a step; of a group */
    size_t bytes;
    LvPool *pool;
    LvDevice *dev;
    Group group[2], *used, *next; /* used is the caller's, next is being made */
    pthread_t thread;
    int started;     /* that thread */
};

/* Steps of a group: enough to keep all threads busy, and as memory allows. */
static int steps_of(int items, size_t bytes, int threads)
{
    size_t most = ROOM / 2 / LV_MAX(bytes, 1);
    int want    = (ITEMS * threads + items - 1) / items;

    return LV_MAX((int)LV_MIN((size_t)want, most), 1);
}

int lv_feeder_new(LvFeeder **out, int items, size_t bytes, int threads, LvFeederMake make,
                  void *opaque, LvDevice *dev)
{
    LvFeeder *f = *out = calloc(1, sizeof(*f));

    if (f) {
        *f = (LvFeeder) { .make = make, .opaque = opaque, .items = items, .bytes = bytes,
                          .steps = steps_of(items, bytes, threads),
                          .pool = lv_pool_new(threads), .used = f->group,
                          .next = f->group + 1 };
        for (int i = 0; i < 2; i++)
            f->group[i] = (Group) { lv_alloc((size_t)f->steps * bytes), -1, 0 };
    }
    if (f && f->pool && f->group[0].data && f->group[1].data) {
        f->dev = dev;
        for (int i = 0; i < 2; i++)
            lv_device_pin(dev, f->group[i].data, (size_t)f->steps * bytes);
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
    for (int i = 0; i < 2; i++) {
        if (f->dev)
            lv_device_unpin(f->dev, f->group[i].data);
        lv_free(f->group[i].data);
    }
    free(f);
    *out = NULL;
}

static int make_item(void *arg, int n, int thread)
{
    LvFeeder *f = arg;
    int step = n / f->items;

    return f->make(f->opaque, f->next->first + step, n % f->items,
                   f->next->data + (size_t)step * f->bytes, thread);
}

static void *make_group(void *arg)
{
    LvFeeder *f = arg;

    f->next->result = lv_pool_run(f->pool, make_item, f, f->steps * f->items);
    return NULL;
}

static int has(const LvFeeder *f, const Group *g, int step)
{
    return g->first >= 0 && step >= g->first && step < g->first + f->steps;
}

/* The group that has the step becomes the caller's, and the one behind it is begun. */
static void turn(LvFeeder *f, int step)
{
    Group *g;

    finish(f);
    if (!has(f, f->next, step)) {
        f->next->first = step;
        make_group(f);
    }
    g       = f->used;
    f->used = f->next;
    f->next = g;
    f->next->first = f->used->first + f->steps;
    f->started = !lv_thread_start(&f->thread, make_group, f);
    if (!f->started)
        f->next->first = -1;
}

int lv_feeder_get(LvFeeder *f, int step, void **data)
{
    if (!has(f, f->used, step))
        turn(f, step);
    *data = f->used->data + (size_t)(step - f->used->first) * f->bytes;
    return f->used->result;
}
