/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NULL: the device works alone. */
static LvGroup *group_of(const LvDevice *dev)
{
    return dev->group && !dev->group->apart ? dev->group : NULL;
}

int lv_group_rank(const LvDevice *dev)
{
    const LvGroup *g = group_of(dev);

    return g ? g->ranks->rank : 0;
}

int lv_group_size(const LvDevice *dev)
{
    const LvGroup *g = group_of(dev);

    return g ? g->ranks->size : 1;
}

/* "SIZE|BUILD|ID", ID of rank 0 alone. */
static void write_line(const LvGroup *g, const char *build, const char *id,
                       char line[LV_RANKS_TEXT])
{
    snprintf(line, LV_RANKS_TEXT, "%d|%.200s|%s", g->ranks->size, build, id);
}

/* Check that all ranks have one build, and take the id that rank 0 made. */
static int read_lines(const LvGroup *g, const char *build, char id[LV_GROUP_ID])
{
    char line[LV_RANKS_TEXT], want[LV_RANKS_TEXT];
    const LvRanks *r = g->ranks;
    int ret = 0;

    write_line(g, build, "", want);
    for (int i = r->size - 1; i >= 0 && ret >= 0; i--) {
        if (i == r->rank && i)
            continue;
        if ((ret = lv_ranks_await(r, i, line)) >= 0 && strncmp(line, want, strlen(want)))
            ret = lv_fail(r->msg, LV_ERR(EINVAL), "rank %d: rank %d is of another start or "
                          "build: expected %s, got %.*s", r->rank, i, want,
                          (int)(strlen(line) - strlen(strrchr(line, '|') ?
                                                      strrchr(line, '|') : "")), line);
    }
    snprintf(id, LV_GROUP_ID, "%s", ret < 0 ? "" : line + strlen(want));
    return ret;
}

static int come_together(LvGroup *g, const char *build)
{
    const LvGroupFns *fn = g->dev->fn->group;
    char id[LV_GROUP_ID] = "", line[LV_RANKS_TEXT];
    int ret = lv_ranks_folder(g->ranks);

    if (ret < 0 || (!g->ranks->rank && (ret = fn->invite(g, id)) < 0))
        return ret;
    write_line(g, build, id, line);
    if ((ret = lv_ranks_announce(g->ranks, line)) < 0 ||
        (ret = read_lines(g, build, id)) < 0)
        return ret;
    return fn->enter(g, id);
}

int lv_group_join(LvDevice *dev, LvRanks *ranks, const char *build)
{
    LvGroup *g;
    int ret;

    if (ranks->size < 2)
        return 0;
    if (!dev->fn->group)
        return lv_fail(ranks->msg, LV_ERR(ENOSYS), "%s: several ranks need cuda or cpu",
                       dev->fn->name);
    if (!(g = dev->group = calloc(1, sizeof(*g))))
        return lv_fail(ranks->msg, LV_ERR(ENOMEM), "ranks: out of memory");
    g->dev   = dev;
    g->ranks = ranks;
    if ((ret = come_together(g, build)) < 0)
        lv_group_leave(dev, 0);
    return ret;
}

void lv_group_leave(LvDevice *dev, int together)
{
    LvGroup *g = dev ? dev->group : NULL;

    if (!g)
        return;
    if (!together)
        g->failed = 1;
    dev->fn->group->leave(g);
    lv_device_free(dev, g->numbers);
    free(g);
    dev->group = NULL;
}

int lv_group_sum(LvDevice *dev, void *data, size_t numel, LvDtype type)
{
    LvGroup *g = group_of(dev);
    int ret;

    assert(type == LV_F32 || type == LV_F64);
    if (!g || !numel)
        return 0;
    if (g->failed)
        return LV_ERR_DEVICE;
    ret       = dev->fn->group->sum(g, data, numel, type);
    g->failed = ret < 0;
    return ret;
}

/* Room of the device for so many numbers. */
static int make_room(LvGroup *g, size_t nb)
{
    if (nb <= g->nb_numbers)
        return 0;
    lv_device_free(g->dev, g->numbers);
    g->nb_numbers = 0;
    g->numbers    = lv_device_try_alloc(g->dev, nb * sizeof(double));
    if (!g->numbers)
        return lv_fail(g->ranks->msg, LV_ERR(ENOMEM), "rank %d: out of memory",
                       g->ranks->rank);
    g->nb_numbers = nb;
    return 0;
}

int lv_group_numbers(LvDevice *dev, double *v, int nb)
{
    size_t bytes = (size_t)nb * sizeof(*v);
    LvGroup *g   = group_of(dev);
    int ret;

    if (!g)
        return 0;
    if ((ret = make_room(g, (size_t)nb)) < 0 ||
        (ret = lv_device_upload(dev, g->numbers, v, bytes)) < 0 ||
        (ret = lv_group_sum(dev, g->numbers, (size_t)nb, LV_F64)) < 0)
        return ret;
    return lv_device_download(dev, v, g->numbers, bytes);
}

int lv_group_apart(LvDevice *dev)
{
    if (lv_group_rank(dev))
        return 0;
    if (dev->group)
        dev->group->apart++;
    return 1;
}

int lv_group_rejoin(LvDevice *dev, int ret)
{
    double v = ret;
    int own;

    if (!dev->group || (dev->group->apart && --dev->group->apart))
        return ret;
    if (lv_group_rank(dev))
        v = 0;
    if ((own = lv_group_numbers(dev, &v, 1)) < 0)
        return own;
    return v < 0 && lv_group_rank(dev) ?
           lv_fail(dev->group->ranks->msg, (int)v, "rank %d: rank 0 has failed: the training "
                   "stops", lv_group_rank(dev)) : (int)v;
}

/* A place for each rank, in which it alone puts its number: whole up to 2^53. */
int lv_group_same(LvDevice *dev, uint64_t hash, const char *what)
{
    int size = lv_group_size(dev), rank = lv_group_rank(dev), ret;
    double *v = calloc((size_t)size, sizeof(*v));

    if (!v)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "ranks: out of memory");
    v[rank] = (double)(hash >> 12);
    ret     = lv_group_numbers(dev, v, size);
    for (int i = 1; i < size && ret >= 0; i++)
        if (v[i] != v[0])
            ret = lv_fail(dev->msg, LV_ERR(EINVAL), "rank %d: rank %d has another %s than rank "
                          "0", rank, i, what);
    free(v);
    return ret;
}
