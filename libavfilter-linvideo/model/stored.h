/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A tensor as files hold it: plain, in blocks, or as small numbers with scales in a
 * tensor beside it.
 * Floor F4 (model): knows spellings of quantised files, not networks.
 *
 * Spellings, for "<layer>.weight" of F8_E4M3, F8_E5M2 or I8, as files have
 * them:
 *   none                          plain fp8
 *   <layer>.scale_weight          ComfyUI, older; marked by a tensor "scaled_fp8"
 *   <layer>.weight_scale          ComfyUI, newer, with <layer>.comfy_quant, or a JSON for
 *                                 all layers in the metadata; LightX2V
 *   <layer>.int8_weight, .scale   TurboDiffusion: a scale for 128 x 128 elements
 * <layer>.scale_input and .input_scale are scales of activations, which are found here for each
 * token: they change nothing. Whatever else is told by a file is an error.
 */

#ifndef LINVIDEO_MODEL_STORED_H
#define LINVIDEO_MODEL_STORED_H

#include "base/source.h"
#include "model/row.h"

/** What became of a tensor of a file. */
enum LvTaken { LV_TAKEN_NOT, LV_TAKEN_BOUND,
               LV_TAKEN_KEPT, ///< bound, and its data stay
               LV_TAKEN_SKIPPED };

/** A file of which tensors are taken. */
typedef struct LvStoredFile {
    const LvSource *src;
    const LvMsg *msg;
    uint8_t *used;  ///< [tensors] LvTaken
    int scaled;     ///< 1: its small numbers have scales, as it says
} LvStoredFile;

/** Tensor by its whole name, marked as used; NULL when absent. */
const LvFileTensor *lv_stored_take(LvStoredFile *f, const char *name);

typedef struct LvStored {
    const LvFileTensor *t;     ///< NULL: absent
    const LvFileTensor *scale; ///< NULL: none. One, or [out / rows, in / cols] of them
    int rows, cols;            ///< elements of t that a scale is for, either way
    int64_t first;             ///< number of the row that t begins with
} LvStored;

/**
 * Find a tensor and what belongs to it, all marked as used.
 *
 * @param name whole name, of the plain spelling
 * @return 0; LV_ERR_MODEL: a scale is missing, of a wrong shape or not finite, or the
 *         format is not known
 */
int lv_stored_find(LvStored *s, LvStoredFile *f, const char *name);

/** Whether a tensor only says that its file is one with scales. */
int lv_stored_is_marker(const LvFileTensor *t);

/** Whether elements of t's type can be read as numbers of a network. */
int lv_stored_has_type(const LvFileTensor *t);

/** Whether its data are elements of a type that matmuls read. */
int lv_stored_is_plain(const LvStored *s);

/** Element i of t is not finite: say so, with its row. @return LV_ERR_MODEL */
int lv_stored_fail(const LvFileTensor *t, size_t i, const char *file, const LvMsg *msg);

/** All elements, scaled; their data, in src, are loaded and stay. 0; LV_ERR_MODEL, after a
 *  message: one is not finite; as lv_source_load(). */
int lv_stored_read(float *dst, const LvStored *s, const LvSource *src, const LvMsg *msg);

/** Rows of t as lv_stored_read() has them, which are read past the pages of src, so from any
 *  thread: the scale's data are loaded. t has whole bytes, and blocks, in each row. */
int lv_stored_read_rows(float *dst, const LvStored *s, size_t first, size_t rows,
                        const LvSource *src, const LvMsg *msg);

/** Check what the file says of all its layers, and mark its markers as used. */
int lv_stored_check_file(LvStoredFile *f);

#endif /* LINVIDEO_MODEL_STORED_H */
