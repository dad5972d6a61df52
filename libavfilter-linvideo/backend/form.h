/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Forms of weights: what a device makes of a weight for its matmuls (packed, of another type).
 * Floor F2 (backend): knows handles and memory of devices, not what a form looks like.
 *
 * A form is made when a call is built, and is shared by all calls that read the handle. It lies in
 * memory of the device until lv_forms_evict(), which comes before new contents, and before the
 * device is closed. Several devices may have forms of one handle. Forms are made and evicted by
 * one thread at a time.
 */

#ifndef LINVIDEO_BACKEND_FORM_H
#define LINVIDEO_BACKEND_FORM_H

#include "backend/device.h"
#include "backend/weight.h"

typedef struct LvForm {
    LvDevice *dev;  ///< whose memory it is
    size_t at;      ///< byte of the weight that the tensor begins with
    int kind, type; ///< the device's own
    size_t bytes;
    void *data;
    int pages;      ///< 1: of lv_pages_new()
    struct LvForm *next;
} LvForm;

/** The form of a tensor that a device keeps; NULL: none yet. */
const LvForm *lv_form_find(const LvTensor *t, const LvDevice *dev, int kind, int type,
                           size_t bytes);

/**
 * Memory for a form of a tensor, for the caller to fill and to give to lv_form_keep(), or to
 * lv_form_free().
 *
 * @return 0 or -ENOMEM
 */
int lv_form_new(LvForm **f, LvDevice *dev, const LvTensor *t, int kind, int type,
                size_t bytes);

/** Free *f, which is not kept, and set it to NULL. NULL is fine. */
void lv_form_free(LvForm **f);

/** Keep a form: it is w's from now on. */
void lv_form_keep(LvWeight *w, LvForm *f);

/** Free all forms of w. */
void lv_forms_evict(LvWeight *w);

#endif /* LINVIDEO_BACKEND_FORM_H */
