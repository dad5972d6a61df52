/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The tokenizer of a text encoder in GGUF files, as a sentencepiece model and back.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_SPM_GGUF_H
#define LINVIDEO_MODEL_SPM_GGUF_H

#include "base/gguf.h"
#include "model/config.h"

/** general.architecture of a text encoder. */
#define LV_GGUF_TEXT "t5encoder"

/** "tokenizer.ggml.*" of a GGUF file as a sentencepiece model, malloc'ed. NULL when it
 *  has none, or *size is 0: out of memory. */
void *lv_files_spm_of_gguf(const LvGguf *g, size_t *size);

/**
 * Metadata of a text encoder as llama.cpp has it, architecture LV_GGUF_TEXT: "t5encoder.*"
 * of its sizes, and "tokenizer.ggml.*" of a sentencepiece model (NULL: without). Where that
 * has fewer pieces than the encoder has rows, unused ones follow.
 *
 * @param m freed by the caller, after an error too
 * @return 0, -ENOMEM; LV_ERR_MODEL, LV_ERR_UNSUPPORTED: the tokenizer
 */
int lv_files_gguf_of_text(LvGgufMeta *m, const LvUmt5Config *c, const void *spm,
                          size_t size, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_SPM_GGUF_H */
