/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights by table: a row names a tensor of the file, the field it goes to and its
 * shape in symbols. The same rows serve loading, checking, counting and (in
 * training) saving, initialising and grouping.
 * Floor F4 (model): knows names and shapes, not files.
 */

#ifndef LINVIDEO_MODEL_ROW_H
#define LINVIDEO_MODEL_ROW_H

#include "backend/ops.h"

/** Bytes of a tensor's name. */
enum { LV_PARAM_NAME = 320 };

/** What a weight is, for those who walk the rows. */
enum {
    LV_W_MATRIX = 1, ///< stays in the file's type: f32, bf16 or f16. All others are kept
                     ///< as f32
    LV_W_DECAY  = 2, ///< the optimizer's weight decay applies
    LV_W_FLAT   = 4, ///< bound as [first, product of the others]
    LV_W_INNER  = 8, ///< bound without its first dimension, which is 1
    LV_W_MAP    = 16, ///< a feature map: trained at a rate of its own
    LV_W_GATE   = 32, ///< the gate of a mixture: no optimizer's matter
    LV_W_FRAMES = 64, ///< [O,C,T,kh,kw] in the file, bound as [T,O,C,kh,kw]
    LV_W_EXACT  = 128, ///< multiplied in f32: f32 in place of LvWeightsFrom.wide
    LV_W_EDGE   = 256, ///< [O,C,3,3] in the file, bound as [O,C,4,4] behind a row and a
                      ///< column of zeros: padding right and below only becomes padding
                      ///< on all sides
    LV_W_TABLE  = 512, ///< rows are looked up: read as it is bound, never packed
    LV_W_REORDERED = LV_W_FRAMES | LV_W_EDGE ///< bound in another order than the file's
};

/** Ways in which files name the tensors of a network. */
enum LvLayout {
    LV_LAYOUT_ORIGINAL, ///< of Wan's reference, and of bundles
    LV_LAYOUT_HF,       ///< of diffusers and transformers
    LV_LAYOUT_LLAMA,    ///< of llama.cpp (text encoders in GGUF)
    LV_LAYOUT_NB
};

/** A size in a row: a number above 0, or LV_DIM(i), the i-th symbol. */
#define LV_DIM(i) (-(i) - 1)

typedef struct LvWeightRow {
    const char *name;        ///< after the prefix; "%d" stands for the index
    size_t offset;           ///< of the LvTensor in the bound struct
    int dim[LV_MAX_RANK];    ///< as in the file; ends at the first 0
    unsigned flags;          ///< LV_W_*
    const char *other[LV_LAYOUT_NB - 1]; ///< name in layout i + 1; NULL: the same
} LvWeightRow;

/** Name of a row in a layout: prefix, then the row's with the index put in for "%d".
 *  name has room for LV_PARAM_NAME bytes. */
void lv_row_name(char *name, const char *prefix, const LvWeightRow *row, int layout,
                 int index);

#endif /* LINVIDEO_MODEL_ROW_H */
