/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/pretrain/tokenizer_train.h"

#include <stdlib.h>

#include "base/common.h"
#include "base/file.h"
#include "train/pretrain/spm_train.h"

/* A row for each caption; list points to the rows. */
static char *write_captions(const char **list, const LvStock *stock, int captions)
{
    char *rows = malloc((size_t)captions * LV_STOCK_CAPTION_SIZE);

    for (int i = 0; i < captions && rows; i++) {
        char *row = rows + (size_t)i * LV_STOCK_CAPTION_SIZE;
        lv_stock_caption(stock, (uint64_t)i, 0, (uint64_t)i, row, LV_STOCK_CAPTION_SIZE);
        list[i] = row;
    }
    return rows;
}

int lv_tokenizer_train(const char *path, int vocab, const LvStock *stock, int captions,
                       const LvMsg *msg)
{
    const char **list = calloc((size_t)captions, sizeof(*list));
    char *rows = list ? write_captions(list, stock, captions) : NULL;
    void *data = NULL;
    size_t size;
    int ret = rows ? lv_spm_train(list, captions, vocab, &data, &size, msg)
                   : lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: out of memory");

    if (ret >= 0)
        ret = lv_file_write(path, data, size, msg);
    free(data);
    free(rows);
    free(list);
    return ret;
}
