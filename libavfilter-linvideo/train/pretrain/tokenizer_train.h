/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A tokenizer for the captions of the training clips.
 * Floor train/pretrain.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_TOKENIZER_TRAIN_H
#define LINVIDEO_TRAIN_PRETRAIN_TOKENIZER_TRAIN_H

#include "base/msg.h"
#include "train/reel/stock.h"

/**
 * Train it by lv_spm_train() on the captions of clips 0 to captions - 1, and write the file.
 *
 * @return 0, -ENOMEM, -EINVAL, -errno of the file
 */
int lv_tokenizer_train(const char *path, int vocab, const LvStock *stock, int captions,
                       const LvMsg *msg);

#endif /* LINVIDEO_TRAIN_PRETRAIN_TOKENIZER_TRAIN_H */
