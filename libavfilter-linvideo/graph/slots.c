/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights that come to the device while a program runs.
 */

#include "graph/slots.h"

#include <assert.h>
#include <stdlib.h>

#include "backend/weight.h"
#include "graph/internal.h"

struct LvSlots {
    LvDevice *dev;
    char *base; /* of LV_SLOTS slots */
    size_t bytes;
    const LvProgram *owner[LV_SLOTS]; /* whose weights are there, or on their way */
    int group[LV_SLOTS];
};

/* Planning */

static int count_streamed(const LvProgram *p)
{
    int nb = 0;

    for (int r = 0; r < p->nb_rec; r++)
        for (int k = 0; k < lv_op_info(p->rec[r].op)->in; k++)
            nb += lv_is_streamed(&p->rec[r].u.t[k]);
    return nb;
}

static int find_copy(const LvProgram *p, const LvGroup *g, const LvWeight *w)
{
    for (int i = g->copy; i < g->copy + g->nb; i++)
        if (p->copy_of[i] == w)
            return i;
    return -1;
}

static void add_copy(LvProgram *p, LvGroup *g, const LvTensor *t)
{
    const LvCopy *prev = g->nb ? &p->copy[g->copy + g->nb - 1] : NULL;
    LvCopy c = { NULL, prev ? LV_ROUND_UP(prev->at + prev->bytes, LV_ALIGN) : 0,
                 lv_tensor_bytes(t) };

    if (find_copy(p, g, t->w) >= 0)
        return;
    p->copy[g->copy + g->nb]    = c;
    p->copy_of[g->copy + g->nb] = t->w;
    g->nb++;
    p->sizes.slot = LV_MAX(p->sizes.slot, LV_ROUND_UP(c.at + c.bytes, LV_ALIGN));
}

/* The group of record r, which reads streamed weights. */
static LvGroup *group_of(LvProgram *p, int r)
{
    LvGroup *last = p->nb_groups ? &p->group[p->nb_groups - 1] : NULL;

    if (!last || p->rec[last->last].layer != p->rec[r].layer) {
        LvGroup next = { .first = r, .copy = last ? last->copy + last->nb : 0 };
        p->group[p->nb_groups++] = next;
        last = &p->group[p->nb_groups - 1];
    }
    last->last = r;
    return last;
}

int lv_slots_plan(LvProgram *p)
{
    size_t nb = (size_t)count_streamed(p);

    if (!nb)
        return 0;
    if (!p->dev->fn->copies)
        return lv_fail(p->dev->msg, LV_ERR_UNSUPPORTED, "device %s does not offload weights",
                       p->dev->fn->name);
    p->group   = calloc(nb, sizeof(*p->group));
    p->copy    = calloc(nb, sizeof(*p->copy));
    p->copy_of = calloc(nb, sizeof(*p->copy_of));
    if (!p->group || !p->copy || !p->copy_of)
        return LV_ERR(ENOMEM);
    for (int r = 0; r < p->nb_rec; r++)
        for (int k = 0; k < lv_op_info(p->rec[r].op)->in; k++)
            if (lv_is_streamed(&p->rec[r].u.t[k]))
                add_copy(p, group_of(p, r), &p->rec[r].u.t[k]);
    p->runs_alone = 1;
    return 0;
}

/* The slots */

int lv_slots_new(LvSlots **out, LvDevice *dev, size_t slot)
{
    LvSlots *st = *out = calloc(1, sizeof(*st));
    void *base;
    int ret;

    if (!st)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "graph: out of memory");
    st->dev   = dev;
    st->bytes = LV_ROUND_UP(slot, LV_ALIGN);
    if ((ret = lv_device_alloc(dev, &base, LV_SLOTS * st->bytes, "streamed weights")) < 0) {
        free(st);
        *out = NULL;
        return ret;
    }
    st->base = base;
    return 0;
}

void lv_slots_free(LvSlots **out)
{
    LvSlots *st = *out;

    if (!st)
        return;
    st->dev->fn->copies->settle(st->dev);
    lv_device_free(st->dev, st->base);
    free(st);
    *out = NULL;
}

static char *slot_of(const LvSlots *st, int group)
{
    return st->base + (size_t)(group % LV_SLOTS) * st->bytes;
}

void lv_slots_leave(LvProgram *p)
{
    for (int i = 0; i < LV_SLOTS && p->slots; i++)
        if (p->slots->owner[i] == p)
            p->slots->owner[i] = NULL;
    p->slots = NULL;
}

void lv_slots_attach(LvProgram *p, LvSlots *st)
{
    lv_slots_leave(p);
    for (int g = 0; g < p->nb_groups; g++)
        for (int r = p->group[g].first; r <= p->group[g].last; r++)
            for (int k = 0; k < lv_op_info(p->rec[r].op)->in; k++) {
                LvTensor *t = &p->rec[r].u.t[k];
                if (lv_is_streamed(t))
                    t->data = slot_of(st, g) + p->copy[find_copy(p, &p->group[g], t->w)].at;
            }
    p->slots = p->nb_groups ? st : NULL;
}

void lv_slots_take_weights(LvProgram *p)
{
    const LvGroup *last = p->nb_groups ? &p->group[p->nb_groups - 1] : NULL;

    for (int i = 0; last && i < last->copy + last->nb; i++)
        p->copy[i].src = p->copy_of[i]->data;
}

/* Running */

static int fetch(LvProgram *p, int g)
{
    LvSlots *st = p->slots;
    int slot    = g % LV_SLOTS, ret;

    if (g >= p->nb_groups || (st->owner[slot] == p && st->group[slot] == g))
        return 0;
    st->owner[slot] = NULL;
    ret = st->dev->fn->copies->fetch(st->dev, slot, slot_of(st, g), &p->copy[p->group[g].copy],
                             p->group[g].nb);
    if (ret < 0)
        return ret;
    st->owner[slot] = p;
    st->group[slot] = g;
    return 0;
}

int lv_slots_before(LvProgram *p, int i)
{
    int ret = 0;

    assert(i >= 0 && i < p->nb_rec);
    for (int g = 0; g < LV_SLOTS && !i && ret >= 0; g++)
        ret = fetch(p, g);
    for (int g = 0; g < p->nb_groups && ret >= 0; g++)
        if (p->group[g].first == i)
            ret = p->dev->fn->copies->fetched(p->dev, g % LV_SLOTS);
    return ret;
}

int lv_slots_after(LvProgram *p, int i)
{
    int ret = 0;

    assert(i >= 0 && i < p->nb_rec);
    /* Behind the last group of a slot comes its first one again, for the next run. */
    for (int g = 0; g < p->nb_groups && ret >= 0; g++)
        if (p->group[g].last == i)
            ret = fetch(p, g + LV_SLOTS < p->nb_groups ? g + LV_SLOTS : g % LV_SLOTS);
    return ret;
}
