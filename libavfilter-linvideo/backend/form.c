/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/form.h"

#include <stdlib.h>

#include "base/map.h"

enum { LARGE = 1 << 20 };

/* Zeros. Large ones of the host are there when they are written: by all threads that pack. */
static int get_memory(LvForm *f)
{
    if (!f->pages)
        return lv_device_alloc(f->dev, &f->data, f->bytes, "packed weights");
    if (!(f->data = lv_pages_new(f->bytes)))
        return lv_fail(f->dev->msg, LV_ERR(ENOMEM), "packed weights: no memory for %zu bytes",
                       f->bytes);
    return 0;
}

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
                    .bytes = bytes, .pages = dev->host && bytes >= LARGE };
    if ((ret = get_memory(f)) < 0)
        lv_form_free(out);
    return ret;
}

void lv_form_free(LvForm **out)
{
    LvForm *f = *out;

    if (!f)
        return;
    if (f->pages)
        lv_pages_free(f->data, f->bytes);
    else
        lv_device_free(f->dev, f->data);
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
