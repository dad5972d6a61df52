/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a LoRA's tensors for one layer are worth: the change of a matrix, row by row.
 * Floor F4 (model): knows shapes and sums, not names of keys.
 *
 * D, the change of a matrix W [out, in] (a kernel is [out, channels k]):
 *   LoRA   D = up down                            up [out,r], down [r,in]
 *   LoHa   D = (w1_a w1_b) * (w2_a w2_b)          element by element; a [out,r], b [r,in]
 *   LoKr   D = w1 (x) w2, of Kronecker            w1 = w1_a w1_b, w2 = w2_a w2_b where they
 *                                                 are in two
 *   t [r,r,k] of a kernel: w[p,q,x] = sum t[i,j,x] a[i,p] b[j,q], for w1 and w2 of LoHa and
 *   w2 of LoKr
 *   full   D = diff
 * W becomes W + weight s D, where s = alpha / r (1 without alpha, without r, for full).
 * With DoRA's magnitudes m, V = W + s D becomes V' = m V / |V|, norms being those of rows
 * (m [out,1]) or of columns (m [1,in]), and W becomes W + weight (V' - W).
 */

#ifndef LINVIDEO_MODEL_LORA_CHANGE_H
#define LINVIDEO_MODEL_LORA_CHANGE_H

#include "base/msg.h"
#include "base/safetensors.h"

/** Tensors that a layer may have. */
enum LvLoraPart {
    LV_LORA_DOWN, LV_LORA_UP, LV_LORA_ALPHA, LV_LORA_DIFF, LV_LORA_DIFF_BIAS,
    LV_LORA_DORA,
    LV_LORA_HADA_1A, LV_LORA_HADA_1B, LV_LORA_HADA_2A, LV_LORA_HADA_2B,
    LV_LORA_HADA_T1, LV_LORA_HADA_T2,
    LV_LORA_KRON_1, LV_LORA_KRON_1A, LV_LORA_KRON_1B,
    LV_LORA_KRON_2, LV_LORA_KRON_2A, LV_LORA_KRON_2B, LV_LORA_KRON_T2,
    LV_LORA_PARTS
};

/** Tensors of a layer by part; NULL: absent. */
typedef const LvFileTensor *LvLoraParts[LV_LORA_PARTS];

/**
 * Check that the parts are whole: both halves of all that is in halves, one kind of change
 * beside a full one, ranks that agree.
 *
 * @return 0; LV_ERR_MODEL after "FILE: NAME ..."
 */
int lv_lora_check_parts(const LvLoraParts part, const char *file, const LvMsg *msg);

/** Check that the matrix's change has the shape of t. 0, or LV_ERR_MODEL after a message
 *  that names tensors and shapes. */
int lv_lora_check_shape(const LvLoraParts part, const LvFileTensor *t, const char *file,
                        const LvMsg *msg);

/** A change of a matrix, as numbers. */
typedef struct LvLoraChange LvLoraChange;

/**
 * Read the parts, whose data are there meanwhile, of a change of t, whose shape fits.
 *
 * @param[out] c freed with lv_lora_change_free(); NULL on error
 * @return 0 or -ENOMEM
 */
int lv_lora_change_new(LvLoraChange **c, const LvLoraParts part, const LvFileTensor *t,
                       float weight, const LvMsg *msg);

/** Free *c and set it to NULL. NULL is fine. */
void lv_lora_change_free(LvLoraChange **c);

/** Change rows, from number `first` on, at data: from any thread. 0 or -ENOMEM. */
int lv_lora_change_rows(const LvLoraChange *c, size_t first, size_t rows, float *data,
                        const LvMsg *msg);

/** Whether rows depend on all others (norms of columns): then each row is looked at, in order,
 *  before any is changed. */
int lv_lora_change_looks(const LvLoraChange *c);

/** Look at rows. 0 or -ENOMEM. */
int lv_lora_change_look(LvLoraChange *c, size_t first, size_t rows, const float *data,
                        const LvMsg *msg);

#endif /* LINVIDEO_MODEL_LORA_CHANGE_H */
