/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/form.h"

#include <stdlib.h>

static size_t place_of(const LvTensor *t)
{
    return t->data ? (size_t)((const char *)t->data - (const char *)t->w->data) : 0;
}

const LvForm *lv_form_find(const LvTensor *t, const LvDevice *dev, int kind, int type,
                           size_t bytes)
{
    const LvForm *f = t->w->forms;

    while (f && (f->dev != dev || f->at != place_of(t) || f->kind != kind || f->type != type ||
                 f->bytes != bytes))
        f = f->next;
    return f;
}

int lv_form_new(LvForm **out, LvDevice *dev, const LvTensor *t, int kind, int type,
                size_t bytes)
{
    LvForm *f = *out = malloc(sizeof(*f));
    int ret;

    if (!f)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "weights: out of memory");
    *f = (LvForm) { .dev = dev, .at = place_of(t), .kind = kind, .type = type,
                    .bytes = bytes };
    if ((ret = lv_device_alloc(dev, &f->data, bytes, "packed weights")) < 0)
        lv_form_free(out);
    return ret;
}

void lv_form_free(LvForm **out)
{
    LvForm *f = *out;

    if (!f)
        return;
    if (f->data)
        f->dev->fn->free(f->dev, f->data);
    free(f);
    *out = NULL;
}

void lv_form_keep(LvWeight *w, LvForm *f)
{
    f->next  = w->forms;
    w->forms = f;
}

void lv_forms_evict(LvWeight *w)
{
    for (LvForm *f = w->forms, *next; f; f = next) {
        next = f->next;
        lv_form_free(&f);
    }
    w->forms = NULL;
}
