/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/cpu_group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cpu/shared.h"

enum { PATH_SIZE = LV_RANKS_DIR + 64, HOST_SIZE = 256 };

static void path_of(const LvGroup *g, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/memory", g->ranks->dir);
}

static int fail(const LvGroup *g, const char *path)
{
    return lv_fail(g->ranks->msg, LV_ERR(errno), "rank %d: %s: %s", g->ranks->rank, path,
                   strerror(errno));
}

static void host_name(char name[HOST_SIZE])
{
    memset(name, 0, HOST_SIZE);
    gethostname(name, HOST_SIZE - 1);
}

/* The id is the host's name. */
static int invite(LvGroup *g, char id[LV_GROUP_ID])
{
    char path[PATH_SIZE];

    path_of(g, path);
    host_name(id);
    return lv_shared_create(path, g->ranks->size) < 0 ? fail(g, path) : 0;
}

static int is_gone(void *opaque)
{
    return lv_ranks_gone(opaque) >= 0;
}

static int enter(LvGroup *g, const char *id)
{
    char path[PATH_SIZE], host[HOST_SIZE];
    LvShared *s = g->engine = calloc(1, sizeof(*s));

    if (!s)
        return lv_fail(g->ranks->msg, LV_ERR(ENOMEM), "ranks: out of memory");
    host_name(host);
    if (strcmp(host, id))
        return lv_fail(g->ranks->msg, LV_ERR(ENOSYS), "rank %d: ranks on CPUs have to be on one "
                       "host, got %s and %s; on CUDA devices they need not", g->ranks->rank, id,
                       host);
    path_of(g, path);
    *s = (LvShared) { .rank = g->ranks->rank, .size = g->ranks->size, .gone = is_gone,
                      .opaque = g->ranks };
    return lv_shared_open(s, path) < 0 ? fail(g, path) : 0;
}

static int sum(LvGroup *g, void *data, size_t numel, LvDtype type)
{
    if (!lv_shared_sum(g->engine, data, numel, type == LV_F64))
        return 0;
    return lv_fail(g->ranks->msg, LV_ERR_DEVICE, "rank %d: rank %d is gone: the training "
                   "stops", g->ranks->rank, lv_ranks_gone(g->ranks));
}

/* Those who have mapped the file keep it. */
static void leave(LvGroup *g)
{
    char path[PATH_SIZE];

    path_of(g, path);
    if (!g->ranks->rank)
        unlink(path);
    if (g->engine)
        lv_shared_close(g->engine);
    free(g->engine);
}

const LvGroupFns lv_cpu_group = {
    .name = "shared memory", .invite = invite, .enter = enter, .sum = sum, .leave = leave,
};
