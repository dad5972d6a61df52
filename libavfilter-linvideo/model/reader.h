/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Contents of a bound tensor, a part at a time: read, decoded, scaled, LoRAs added, put in the
 * order that it is bound in, rounded to its type, looked at. Any number of threads read parts of
 * one tensor; nothing of it is kept between them but what all rows need (scales, factors of
 * LoRAs), which is there from the first part to the last.
 * Floor F4 (model): knows files and rows, not devices.
 */

#ifndef LINVIDEO_MODEL_READER_H
#define LINVIDEO_MODEL_READER_H

#include <pthread.h>

#include "base/source.h"
#include "model/lora.h"
#include "model/row.h"
#include "model/stored.h"

/** What a tensor is made from. */
typedef struct LvReaderFrom {
    const LvSource *src; ///< outlives the reader
    LvLoras *loras;      ///< likewise; NULL: none
    LvStored t;
    LvWeightRow row;
    int index;           ///< for "%d" in the row's name
    LvTensor to;         ///< as it is bound
    int plain;           ///< 1: elements stay as they are stored
    LvDtype as;          ///< plain: type that elements have to be finite in
} LvReaderFrom;

/** Points into itself: it stays where it was made, and is neither moved nor copied. */
typedef struct LvReader {
    LvReaderFrom from;  ///< its t.t is `grid`
    const LvFileTensor *file; ///< what LoRAs count rows of: t as the file has it, or the grid
    LvFileTensor grid;  ///< t, as it is read by rows
    LvFileTensor scale; ///< its scale, in `scales`
    size_t units;       ///< rows of the file that rows of `to` are made of one by one
    size_t cols;        ///< elements of such a row
    int is_whole;       ///< 1: rows of the grid are not those of `to`, or not those that LoRAs
                        ///< count: `whole` is made
    int shares;         ///< 1: rows need what is below
    pthread_mutex_t lock;
    int open, users;
    size_t done;        ///< rows of `to` since it is open
    pthread_cond_t made_rows;
    size_t made, unmade; ///< rows of `to` since their scales were read; those that failed
    float *row_scales;  ///< of rows of `to`, where it has them
    void *scales;
    LvLoraRows *changes;
    float *whole;       ///< all elements, LoRAs added
    int failed;         ///< code of what could not be made of these; 0
    char *line;         ///< what was said of it; NULL: nothing
} LvReader;

/** Make a reader, without reading. */
void lv_reader_new(LvReader *r, const LvReaderFrom *from);

/** Free what it holds. A zeroed one is fine. */
void lv_reader_free(LvReader *r);

/** Bytes that parts have to be multiples of. */
size_t lv_reader_unit(const LvReader *r);

/** Bytes of the scales, which follow the rows. They are a part of their own, to be read after all
 *  rows; 0 where the tensor has no scales. */
size_t lv_reader_tail(const LvReader *r);

/**
 * Write bytes `at` to at + bytes - 1 of the tensor to dst. From any thread. Where that fails of
 * what all rows need, so does every part, with the same message, until lv_reader_retry().
 *
 * @return 0; LV_ERR_MODEL: a value is not finite, or too large for the type; -ENOMEM; as
 *         lv_map_read()
 */
int lv_reader_read(LvReader *r, size_t at, size_t bytes, void *dst, const LvMsg *msg);

/** Forget that what all rows need could not be made: the next part tries it again. */
void lv_reader_retry(LvReader *r);

#endif /* LINVIDEO_MODEL_READER_H */
