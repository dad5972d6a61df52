/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

#include "graph/internal.h"

static void find_ranges(LvProgram *p)
{
    for (int i = 0; i < p->nb_info; i++)
        p->info[i].first = p->info[i].last = -1;
    for (int r = 0; r < p->nb_rec; r++) {
        const LvOpInfo *op = lv_op_info(p->rec[r].op);
        for (int k = 0; k < op->in + op->out; k++) {
            int id = p->rec[r].u.t[k].id;
            if (id < 0)
                continue;
            if (p->info[id].first < 0)
                p->info[id].first = r;
            p->info[id].last = LV_MAX(p->info[id].last, r);
        }
    }
}

static int is_temporary(const LvTensorInfo *t)
{
    return !t->external && t->first >= 0;
}

static size_t padded(const LvTensorInfo *t)
{
    return LV_ROUND_UP(t->bytes, LV_ALIGN);
}

static int overlap_in_time(const LvTensorInfo *a, const LvTensorInfo *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int larger_first(const void *a, const void *b)
{
    const LvTensorInfo *x = *(const LvTensorInfo *const *)a;
    const LvTensorInfo *y = *(const LvTensorInfo *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first - y->first;
}

/* Lowest offset at which t meets none of the placed ones alive with it. Placed
 * ones are kept sorted by offset, so one sweep finds the first gap. */
static size_t lowest_gap(LvTensorInfo *const *placed, int nb, const LvTensorInfo *t)
{
    size_t offset = 0;

    for (int i = 0; i < nb; i++) {
        const LvTensorInfo *o = placed[i];
        if (!overlap_in_time(o, t))
            continue;
        if (offset + padded(t) <= o->offset)
            return offset;
        offset = LV_MAX(offset, o->offset + padded(o));
    }
    return offset;
}

static void insert_sorted(LvTensorInfo **placed, int nb, LvTensorInfo *t)
{
    while (nb > 0 && placed[nb - 1]->offset > t->offset) {
        placed[nb] = placed[nb - 1];
        nb--;
    }
    placed[nb] = t;
}

static size_t lower_bound(const LvProgram *p)
{
    size_t best = 0;

    for (int r = 0; r < p->nb_rec; r++) {
        size_t sum = 0;
        for (int i = 0; i < p->nb_info; i++)
            if (is_temporary(&p->info[i]) && p->info[i].first <= r &&
                p->info[i].last >= r)
                sum += padded(&p->info[i]);
        best = LV_MAX(best, sum);
    }
    return best;
}

int lv_plan_place(LvProgram *p)
{
    LvTensorInfo **order = calloc((size_t)p->nb_info + 1, 2 * sizeof(*order));
    LvTensorInfo **placed = order ? order + p->nb_info + 1 : NULL;
    int nb = 0;

    if (!order)
        return LV_ERR(ENOMEM);
    find_ranges(p);
    for (int i = 0; i < p->nb_info; i++)
        if (is_temporary(&p->info[i]))
            order[nb++] = &p->info[i];
    qsort(order, (size_t)nb, sizeof(*order), larger_first);
    for (int i = 0; i < nb; i++) {
        order[i]->offset = lowest_gap(placed, i, order[i]);
        insert_sorted(placed, i, order[i]);
        p->sizes.arena = LV_MAX(p->sizes.arena, order[i]->offset + padded(order[i]));
    }
    p->sizes.lower = lower_bound(p);
    free(order);
    return 0;
}

int lv_plan_find(const LvProgram *p, LvTensor t, size_t *offset, int *first, int *last)
{
    const LvTensorInfo *info;

    if (t.id < 0 || t.id >= p->nb_info || !is_temporary(&p->info[t.id]))
        return -1;
    info    = &p->info[t.id];
    *offset = info->offset;
    *first  = info->first;
    *last   = info->last;
    return 0;
}
