/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/grad.h"

/* Elements of a line of memory. */
enum { LINE = LV_ALIGN / sizeof(float) };

/* Ids of gradients and pieces: as of weights, beyond all that are bound. */
enum { ID_GRAD = LV_ID_WEIGHT - (1 << 20), ID_PIECE = LV_ID_WEIGHT - (1 << 21) };

size_t lv_param_room(size_t numel)
{
    return LV_ROUND_UP(numel, LINE);
}

int lv_params_new(LvParams **out, size_t room, LvDevice *dev, const LvMsg *msg)
{
    LvParams *p = *out = calloc(1, sizeof(*p));

    if (!p)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    p->dev  = dev;
    p->msg  = msg;
    p->size = room;
    for (int i = 0; i < LV_SLAB_NB && room; i++)
        if (!(p->slab[i] = lv_device_try_alloc(dev, room * sizeof(float)))) {
            size_t free_bytes;
            lv_params_free(out);
            free_bytes = lv_device_available(dev);
            return lv_fail(msg, LV_ERR(ENOMEM), "training needs %zu MiB for weights and "
                           "their moments, %s has %zu free",
                           LV_SLAB_NB * room * sizeof(float) >> 20, dev->about,
                           free_bytes >> 20);
        }
    return 0;
}

void lv_params_free(LvParams **out)
{
    LvParams *p = *out;

    if (!p)
        return;
    for (int i = 0; i < LV_SLAB_NB; i++)
        if (p->slab[i])
            lv_device_free(p->dev, p->slab[i]);
    free(p->list);
    free(p);
    *out = NULL;
}

/* Decayed tensors grow from the front, the others from the back: they meet. */
static size_t place(LvParams *p, const LvParam *t)
{
    size_t room = lv_param_room(t->numel), used = 0;

    for (int i = 0; i < p->nb; i++)
        if (!p->slab[0] || (p->list[i].flags & LV_W_DECAY) == (t->flags & LV_W_DECAY))
            used += lv_param_room(p->list[i].numel);
    if (!p->slab[0])
        return used;
    return t->flags & LV_W_DECAY ? used : p->size - used - room;
}

LvParam *lv_params_add(LvParams *p, const char *name, int rank, const int64_t *dim,
                       unsigned flags)
{
    LvParam *list = realloc(p->list, (size_t)(p->nb + 1) * sizeof(*list)), *t;
    size_t used = 0;

    if (!list) {
        lv_msg(p->msg, LV_MSG_ERROR, "training: out of memory");
        return NULL;
    }
    p->list = list;
    t  = &list[p->nb];
    *t = (LvParam) { .rank = rank, .flags = flags, .numel = 1 };
    snprintf(t->name, sizeof(t->name), "%s", name);
    for (int i = 0; i < rank; i++) {
        t->dim[i] = dim[i];
        t->numel *= (size_t)dim[i];
    }
    for (int i = 0; i <= p->nb; i++)
        used += lv_param_room(list[i].numel);
    if (p->slab[0] && used > p->size) {
        lv_msg(p->msg, LV_MSG_ERROR, "training: no room for %s", name);
        return NULL;
    }
    t->at = place(p, t);
    if (!p->slab[0])
        p->size = used;
    p->nb++;
    return t;
}

const LvParam *lv_params_find(const LvParams *p, const char *name)
{
    for (int i = 0; i < p->nb; i++)
        if (!strcmp(p->list[i].name, name))
            return &p->list[i];
    return NULL;
}

void lv_params_targets(const LvParams *p, LvGradTarget *target)
{
    for (int i = 0; i < p->nb; i++) {
        target[i] = (LvGradTarget) { p->list[i].value, p->list[i].value };
        target[i].grad.id   = ID_GRAD - i;
        target[i].grad.data = p->slab[LV_SLAB_GRAD] + p->list[i].at;
    }
}

static int group_of(unsigned flags)
{
    return flags & LV_W_GATE  ? LV_GROUP_GATE  : flags & LV_W_MAP ? LV_GROUP_MAP :
           flags & LV_W_DECAY ? LV_GROUP_DECAY : LV_GROUP_PLAIN;
}

static int by_place(const void *a, const void *b)
{
    const LvParamPiece *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

int lv_params_pieces(const LvParams *p, LvParamPiece *piece)
{
    int nb = 0;

    for (int i = 0; i < p->nb; i++)
        piece[i] = (LvParamPiece) { p->list[i].at, lv_param_room(p->list[i].numel),
                                    group_of(p->list[i].flags) };
    qsort(piece, (size_t)p->nb, sizeof(*piece), by_place);
    for (int i = 0; i < p->nb; i++)
        if (nb && piece[nb - 1].group == piece[i].group)
            piece[nb - 1].size += piece[i].size;
        else
            piece[nb++] = piece[i];
    return nb;
}

LvTensor lv_params_piece(const LvParams *p, int slab, const LvParamPiece *piece)
{
    int number = (int)(piece->at / LINE);

    return (LvTensor) { .data = p->slab[slab] + piece->at,
                        .id = ID_PIECE - LV_SLAB_NB * number - slab, .dtype = LV_F32,
                        .rank = 1, .dim = { (int)piece->size, 1, 1, 1, 1 } };
}

int lv_param_put(const LvParams *p, int slab, const LvParam *t, const float *data)
{
    return lv_device_upload(p->dev, p->slab[slab] + t->at, data,
                              t->numel * sizeof(*data));
}

int lv_param_get(const LvParams *p, int slab, const LvParam *t, float *data)
{
    return lv_device_download(p->dev, data, p->slab[slab] + t->at,
                                t->numel * sizeof(*data));
}

int lv_params_upload(LvParams *p, int slab, const float *data)
{
    return lv_device_upload(p->dev, p->slab[slab], data, p->size * sizeof(*data));
}

int lv_params_download(const LvParams *p, int slab, float *data)
{
    return lv_device_download(p->dev, data, p->slab[slab], p->size * sizeof(*data));
}
