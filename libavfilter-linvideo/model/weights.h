/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Weights bound by tables of rows (row.h), from files of every form, to a device. They own the
 * handles (backend/weight.h) that tensors of networks carry:
 *
 *   bind    a row becomes a tensor with a handle: checked against the file, described
 *   load    its contents come to memory of the device, or of the host for slots, or stay in the
 *           file, where a device that packs reads them by rows (reader.h)
 *   build   programs take addresses from the handles, devices make forms (backend/form.h)
 *   free    forms go, then contents
 *
 * Floor F4 (model): knows rows, not networks.
 */

#ifndef LINVIDEO_MODEL_WEIGHTS_H
#define LINVIDEO_MODEL_WEIGHTS_H

#include "backend/device.h"
#include "backend/weight.h"
#include "base/source.h"
#include "model/params.h"
#include "model/row.h"
#include "model/stored.h"
#include "model/upload.h"

typedef struct LvWeights LvWeights;
typedef struct LvLoras LvLoras;

/** Where weights go to. */
typedef struct LvWeightsPlace {
    LvUpload *upload; ///< tensors that go to another device's memory are added to it; the
                      ///< caller runs it, and frees it before the weights. NULL: they are
                      ///< there at once
    void *room;       ///< memory of another device, of the caller, for tensors, of
    size_t room_bytes; ///< this size; those that do not fit in are allocated. NULL: none
} LvWeightsPlace;

/** What weights are made from. */
typedef struct LvWeightsFrom {
    const LvSource *src; ///< outlives the weights; NULL: tensors are only described
    enum LvLayout layout;
    LvDtype wide;        ///< of matrices that are not stored as a plain float type, or
                         ///< are changed by a LoRA: f32 or bf16
    int stored;          ///< 1: matrices of blocks, which LINEAR alone reads, stay in the form of
                         ///< the file where the device takes it (LvDevice.widens) and no LoRA
                         ///< changes them: F8_E4M3 and I8 with a scale for each row, blocks of GGUF
    int f8;              ///< 1: they become F8_E4M3, which the device has to take
    int described;       ///< 1: tensors are checked and described, without data, until
                         ///< lv_weights_load()
    LvLoras *loras;      ///< added to matrices and biases; they outlive the weights; NULL: none
    LvParams *params;    ///< tensors are listed here, see lv_weights_new_params(); NULL
    int plain;           ///< 1: every tensor is kept as f32 and not fixed, for a network that
                         ///< stands beside one in training: equal weights give equal bits
    const uint8_t *streamed; ///< [blocks]: 1 for those whose matrices stay on the host, for slots
                         ///< (see graph.h); those of plain types become wide, in other blocks
                         ///< too. NULL: no block's do
    LvWeightsPlace place; ///< of tensors that are not only described
} LvWeightsFrom;

/**
 * Bind from a file, which outlives the weights.
 *
 * @return 0 or -ENOMEM
 */
int lv_weights_new(LvWeights **w, const LvSafetensors *st, LvDevice *dev,
                   const LvMsg *msg);

/**
 * The same from any source. Shapes may differ from the row's by dimensions of 1; those
 * of LV_W_FLAT rows may have neighbours multiplied with each other. What is quantised is
 * decoded, with its scale; see stored.h.
 */
int lv_weights_new_from(LvWeights **w, const LvWeightsFrom *from, LvDevice *dev,
                        const LvMsg *msg);

/**
 * The same for training: every tensor is kept as f32 in p, which is filled from the
 * file, and is not fixed. p must have room for all of them and outlive w.
 *
 * @param st NULL: rows are only described in p, with the shapes that they ask for
 */
int lv_weights_new_params(LvWeights **w, LvParams *p, const LvSafetensors *st,
                          LvDevice *dev, const LvMsg *msg);

/** Free *w, its handles, their contents and forms. NULL is fine. */
void lv_weights_free(LvWeights **w);

/**
 * Bind all rows into the struct at `to`: each tensor carries a handle of w's, but those that
 * are trained, or `plain`.
 *
 * @param prefix  put before every name
 * @param index   for "%d" in names
 * @param symbols sizes that LV_DIM refers to
 * @return 0; LV_ERR_MODEL: missing ("dit.head.head.weight is missing"), wrong shape
 *         ("... file has [8960,1536], expected [8960,2048]") or type; -ENOMEM
 */
int lv_weights_bind(LvWeights *w, const LvWeightRow *rows, int nb,
                    const char *prefix, int index, const int *symbols, void *to);

/**
 * Load all that was only described. Handles stay what they are, so that programs which were
 * planned with them are built now. The place is for these tensors: what is bound later goes to
 * memory of its own, and is there at once.
 *
 * @return 0; LV_ERR_MODEL: values are not finite, or too large; -ENOMEM; as
 *         lv_source_load()
 */
int lv_weights_load(LvWeights *w, const LvWeightsPlace *place);

/** Rows of a table [V,C] (a matrix) as f32, without binding it: dst[i] = row ids[i].
 *
 * @return as lv_weights_bind(); -EINVAL when an id is outside */
int lv_weights_read_rows(LvWeights *w, const LvWeightRow *row, const char *prefix,
                         const int *symbols, const int32_t *ids, int nb, float *dst);

/** Bytes of memory that bound tensors take, or will take once they are loaded, each aligned to
 *  LV_ALIGN; streamed ones, and those that are read by rows, take none. */
size_t lv_weights_bytes(const LvWeights *w);

/** Bytes of those on the host, for slots. */
size_t lv_weights_streamed(const LvWeights *w);

/** Rows first to first + rows - 1 of a bound matrix t, as a weight of its own.
 *  @param[out] part may be t @return 0; -ENOMEM after a message */
int lv_weights_slice(LvTensor *part, LvWeights *w, LvTensor t, int first, int rows);

/** Note that tensors whose names begin with prefix are not wanted. */
void lv_weights_skip(LvWeights *w, const char *prefix);

/** The same of tensor i of the file. */
void lv_weights_skip_at(LvWeights *w, int i);

/** Tensor by its whole name, marked as used; NULL when absent. */
const LvFileTensor *lv_weights_take(LvWeights *w, const char *name);

/** A tensor as it is stored, with its scale. @return as lv_stored_find() */
int lv_weights_find(LvWeights *w, LvStored *s, const char *name);

/** Check that every tensor was used once: LV_ERR_MODEL names the first that was
 *  not, and how many there are. */
int lv_weights_finish(const LvWeights *w);

/**
 * Check that bound matrices which are read by rows are finite. Those of which the device has
 * forms were looked at when these were made: this reads all others.
 *
 * Everything else is checked as it is loaded.
 *
 * @return 0; LV_ERR_MODEL, after a message that names file, tensor and row
 */
int lv_weights_check(const LvWeights *w);

/** Let go of the pages of the files that bound tensors lie in; they come back when they
 *  are read again. */
void lv_weights_drop(const LvWeights *w);

/** Messages, file and layout of w, for those who bind. */
const LvMsg *lv_weights_msg(const LvWeights *w);
const LvSource *lv_weights_file(const LvWeights *w);
int lv_weights_layout(const LvWeights *w);

#endif /* LINVIDEO_MODEL_WEIGHTS_H */
