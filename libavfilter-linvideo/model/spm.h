/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Sentencepiece model files, checked: the tokenizer library is given only what
 * has passed here, since it trusts its input, prints and exits.
 * Floor F4 (model): knows the file, not how text is cut into pieces.
 */

#ifndef LINVIDEO_MODEL_SPM_H
#define LINVIDEO_MODEL_SPM_H

#include "base/common.h"
#include "base/msg.h"

typedef struct LvSpm {
    uint8_t *data;  ///< the model written anew: just the fields that matter
    size_t size;    ///< bytes
    int pieces;     ///< number of pieces
    int eos;        ///< id of </s>
    int prefix, trim;    ///< a blank before the text, none at its ends and no two
    int escape, suffix;  ///< blanks are written as U+2581; a blank goes behind a word
    const uint8_t *map;  ///< character map, in data
    size_t map_size;
} LvSpm;

/** A piece; the types are those of the format and of GGUF. */
typedef struct LvSpmPiece {
    const char *text; ///< n bytes of UTF-8
    size_t n;
    float score;
    int type;
} LvSpmPiece;

enum { LV_SPM_NORMAL = 1, LV_SPM_UNKNOWN, LV_SPM_CONTROL, LV_SPM_USER_DEFINED, LV_SPM_UNUSED,
       LV_SPM_BYTE };

/**
 * Read a unigram model and write it anew. Checks the protocol buffer framing,
 * sizes, that pieces are UTF-8 of 1 to 1024 bytes (user-defined ones: 64) with
 * finite scores, that there is one unknown piece and a control piece </s>, and
 * that walking the character map stays inside it for any text.
 *
 * @param[out] spm zeroed on error
 * @return 0, -ENOMEM or LV_ERR_MODEL ("tokenizer: ...")
 */
int lv_spm_read(LvSpm *spm, const void *data, size_t size, const LvMsg *msg);

/** Step through the pieces; *at is 0 at first. 1, or 0 after the last. */
int lv_spm_next(const LvSpm *spm, size_t *at, LvSpmPiece *piece);

/** Free what spm owns; a zeroed one is fine. */
void lv_spm_free(LvSpm *spm);

#endif /* LINVIDEO_MODEL_SPM_H */
