/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * LoRAs: small changes of weights, added when they are bound.
 *   W += weight (alpha / rank) up down    alpha / rank is 1 where there is no alpha
 *   W += weight diff, b += weight diff_b
 * Floor F4 (model): knows names of rows in files of LoRAs, not networks.
 *
 * Keys: [PREFIX]LAYER.{lora_A,lora_B}.weight, .{lora_down,lora_up}.weight, .alpha, .diff,
 * .diff_b; LAYER as in any layout of the rows, or with _ for each dot (kohya, lycoris).
 */

#ifndef LINVIDEO_MODEL_LORA_H
#define LINVIDEO_MODEL_LORA_H

#include "model/weights.h"

/** A file of them, and how much of it is added. */
typedef struct LvLoraFile {
    const char *path;
    float weight; ///< usually 1
} LvLoraFile;

/**
 * Open files and sort out their keys.
 *
 * @param[out] loras freed with lv_loras_close(); NULL on error
 * @return as lv_source_open(); LV_ERR_MODEL names a key of no known kind
 */
int lv_loras_open(LvLoras **loras, const LvLoraFile *files, int nb, const LvMsg *msg);

/** Free *loras and set it to NULL. NULL is fine. */
void lv_loras_close(LvLoras **loras);

/** Whether a row's tensor is changed. */
int lv_loras_has(const LvLoras *loras, const LvWeightRow *row, int index);

/** Count a row's changes as used, without making them. */
void lv_loras_note(LvLoras *loras, const LvWeightRow *row, int index);

/**
 * Change a row's tensor.
 *
 * @param data all elements of t, f32
 * @return 0; LV_ERR_MODEL: shapes do not fit; -ENOMEM
 */
int lv_loras_add(LvLoras *loras, const LvWeightRow *row, int index, float *data,
                 const LvFileTensor *t, const LvMsg *msg);

/** Check that every key changed something: LV_ERR_MODEL names the first that did not,
 *  and how many there are. */
int lv_loras_finish(const LvLoras *loras, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_LORA_H */
