/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * LoRAs and their kin: changes of weights, added when they are bound. What a change is
 * worth: lora_change.h.
 * Floor F4 (model): knows names of rows in files of LoRAs, not networks.
 *
 * Keys: [PREFIX...]LAYER.END; LAYER as in any layout of the rows, or with _ for each dot
 * (kohya, lycoris).
 *   LoRA  .lora_A.weight .lora_B.weight, .lora_A.default.weight..., .lora_down.weight
 *         .lora_up.weight, .lora.down.weight .lora.up.weight; .alpha
 *   LoHa  .hada_w1_a .hada_w1_b .hada_w2_a .hada_w2_b, .hada_t1 .hada_t2; .alpha
 *   LoKr  .lokr_w1 or .lokr_w1_a .lokr_w1_b, the same for w2, .lokr_t2; .alpha
 *   DoRA  .dora_scale or .lora_magnitude_vector, beside one of these
 *   full  .diff of weights, .diff_b of biases (.w_norm and .b_norm of norms)
 *   maps  .self_attn.map_q.weight, .self_attn.map_k.weight, whole: the layer becomes linear, which
 *         lv_files_open() sees to
 * Keys of other parts (image to video, text encoders...) are skipped with a warning.
 *
 * A file may hold changes of both networks of Wan2.2 A14B: PREFIX transformer_2. (diffusers) or
 * lora_unet_2_ (kohya) stands before layers of the one for low noise, any other before those of
 * the one for high noise. A file without these has no halves: each network takes it whole.
 */

#ifndef LINVIDEO_MODEL_LORA_H
#define LINVIDEO_MODEL_LORA_H

#include "base/source.h"
#include "model/row.h"

typedef struct LvLoras LvLoras;

/** A file of them, and how much of it is added. */
typedef struct LvLoraFile {
    const char *path;
    float weight; ///< usually 1
    int strict;   ///< 1: keys of other parts are an error
    int low;      ///< 1: it is added to the network of LV_LOW of a pair
    int shared;   ///< 1: the other network of a pair is given the file too; keys of that are not
                  ///< told as skipped, and may be all
    int images;   ///< 1: keys of what attends to CLIP's features are the network's own
} LvLoraFile;

/** Bounds of weights. */
#define LV_LORA_WEIGHT_MAX 100

/**
 * Cut "FILE[@WEIGHT]" in two, in place; the weight is 1 where there is none.
 *
 * @return 0; -EINVAL: what stands behind the last @ is no number, or out of range, and
 *         there is no file of the whole name
 */
int lv_lora_split(LvLoraFile *l, char *text, const LvMsg *msg);

/** Whether a tensor is a map of a linear layer, by how its name ends. */
int lv_lora_is_map(const LvFileTensor *t);

/** Whether a file of them says by its keys which of a pair's networks each is of. */
int lv_lora_is_paired(const LvSource *src);

/**
 * Open files and sort out their keys. One warning a file tells of what is skipped.
 *
 * @param[out] loras freed with lv_loras_close(); NULL on error
 * @return as lv_source_open(); LV_ERR_MODEL names a key of no known kind, or says that
 *         nothing would be changed
 */
int lv_loras_open(LvLoras **loras, const LvLoraFile *files, int nb, const LvMsg *msg);

/** Free *loras and set it to NULL. NULL is fine. */
void lv_loras_close(LvLoras **loras);

/** What file number i, from 0, was opened from; NULL after the last. */
const LvSource *lv_loras_source(const LvLoras *loras, int i);

/** Whether a row's tensor is changed. */
int lv_loras_has(const LvLoras *loras, const LvWeightRow *row, int index);

/** Count a row's changes as used and check their shapes, without making them.
 *
 *  @return 0; LV_ERR_MODEL names tensors and shapes that do not fit */
int lv_loras_note(LvLoras *loras, const LvWeightRow *row, int index, const LvFileTensor *t,
                  const LvMsg *msg);

/** The changes of a row's tensor, as numbers. */
typedef struct LvLoraRows LvLoraRows;

/** Rows of a tensor as they are without any change. @return 0 or a code, after a message */
typedef struct LvLoraBase {
    int (*rows)(void *opaque, size_t first, size_t rows, float *dst, const LvMsg *msg);
    void *opaque;
} LvLoraBase;

/**
 * Read all changes of a row's tensor, which was noted. From any thread.
 *
 * @param t    outlives *rows
 * @param base asked, in order, where a change needs all rows before it changes any
 * @param[out] rows freed with lv_loras_unready(); NULL on error, or if no LoRA changes the row
 * @return 0; what base says; -ENOMEM; as lv_source_load()
 */
int lv_loras_ready(LvLoraRows **rows, LvLoras *loras, const LvWeightRow *row, int index,
                   const LvFileTensor *t, const LvLoraBase *base, const LvMsg *msg);

/** Free *rows and set it to NULL. NULL is fine. */
void lv_loras_unready(LvLoraRows **rows);

/** Change rows of the tensor, from number `first` on, which lie at data. From any thread.
 *  @return 0; LV_ERR_MODEL: values became infinite; -ENOMEM */
int lv_loras_change(const LvLoraRows *rows, size_t first, size_t nb, float *data,
                    const LvMsg *msg);

/** Check that every key changed something: LV_ERR_MODEL names the first that did not,
 *  and how many there are. */
int lv_loras_finish(const LvLoras *loras, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_LORA_H */
