/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Training of a tokenizer by sentencepiece (C++ behind this C door).
 * Floor train/pretrain.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_SPM_TRAIN_H
#define LINVIDEO_TRAIN_PRETRAIN_SPM_TRAIN_H

#include <stddef.h>

#include "base/msg.h"

/**
 * Train a unigram model: text is normalised by NFKC and case folded, what no piece
 * covers becomes bytes; id 0 is <pad>, 1 </s>, 2 <unk>; nothing starts a text. Letters,
 * digits and common marks are always pieces.
 *
 * The same texts give the same bytes. The library writes of its progress to stderr only
 * when something is wrong.
 *
 * @param texts    n of them, UTF-8
 * @param vocab    number of pieces, bytes (256) and special ones among them; at least
 *                 320; fewer come out when the texts do not give as many
 * @param[out] data the model, malloc'ed; lv_tokenizer_open() reads it
 * @return 0, -ENOMEM or -EINVAL ("tokenizer: ...")
 */
int lv_spm_train(const char *const *texts, int n, int vocab, void **data, size_t *size,
                 const LvMsg *msg);

#endif /* LINVIDEO_TRAIN_PRETRAIN_SPM_TRAIN_H */
