/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights that do not fit the device stay on the host (LvWeight.streamed) and come when
 * they are needed: while the records of one layer run, those of the layer after it are
 * copied. There are two slots for them on the device, taken in turn, so that addresses
 * never change. Programs with streamed weights are not kept by the device
 * (LvDeviceFns.record); their results are the same bits as with weights that are there.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_SLOTS_H
#define LINVIDEO_GRAPH_SLOTS_H

#include "graph/graph.h"

/**
 * Make slots for programs that do not run at the same time.
 *
 * @param slot     bytes: the largest LvSizes.slot of the programs
 * @param[out] st  freed with lv_slots_free() after the programs and before the weights;
 *                 NULL on error
 * @return 0 or -ENOMEM
 */
int lv_slots_new(LvSlots **st, LvDevice *dev, size_t slot);

/** Wait for copies, free *st and set it to NULL. NULL is fine. */
void lv_slots_free(LvSlots **st);

/** Let p's streamed weights come to st. Before lv_program_build(); a program that has
 *  some does not run without. */
void lv_slots_attach(LvProgram *p, LvSlots *st);

/* For program.c */

/** Find p's groups and their copies; sets sizes.slot. @return 0, -ENOMEM (no message),
 *  LV_ERR_UNSUPPORTED */
int lv_slots_plan(LvProgram *p);

/** Copies come from where the handles of weights say that they lie now. */
void lv_slots_take_weights(LvProgram *p);

/** Let what runs from record i on have its weights; let weights come to the slot that
 *  record i was the last to read. Nothing for other records. */
int lv_slots_before(LvProgram *p, int i);
int lv_slots_after(LvProgram *p, int i);

/** Forget that p's weights are in its slots. */
void lv_slots_leave(LvProgram *p);

#endif /* LINVIDEO_GRAPH_SLOTS_H */
