/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Prompt cleaning and tokenizing, by sentencepiece (C++ behind this C door).
 * Floor F4 (model): knows ids, not what a network does with them.
 */

#ifndef LINVIDEO_MODEL_TOKENIZER_H
#define LINVIDEO_MODEL_TOKENIZER_H

#include "base/common.h"
#include "base/msg.h"

typedef struct LvTokenizer LvTokenizer;

/**
 * Read a serialized sentencepiece model (unigram) from memory; the bytes are
 * copied. The id of </s> comes from the model.
 *
 * @return 0, -ENOMEM, or LV_ERR_MODEL ("tokenizer: ...") when it is unreadable
 */
int lv_tokenizer_open(LvTokenizer **out, const void *data, size_t size,
                      const LvMsg *msg);

/** Free *t and set it to NULL. NULL is fine. */
void lv_tokenizer_close(LvTokenizer **t);

/** Number of pieces: ids are 0 to this - 1. */
int lv_tokenizer_size(const LvTokenizer *t);

/**
 * Clean and tokenize; </s> is put at the end, nothing at the start. The empty
 * text gives just </s>.
 *
 * @param text UTF-8, NUL-terminated
 * @param ids  room for max ids
 * @return number of ids (1 to max), or -EINVAL: not valid UTF-8, or more than
 *         max ids (the message gives both numbers)
 */
int lv_tokenizer_encode(const LvTokenizer *t, const char *text, int32_t *ids,
                        int max, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_TOKENIZER_H */
