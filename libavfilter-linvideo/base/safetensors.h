/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The safetensors container: a reader that trusts nothing, and a writer.
 * Floor F1 (base): knows names, types, shapes and bytes, not what they mean.
 *
 * Layout: u64 little-endian header length N <= 100 000 000; N bytes of JSON, an
 * object of name -> {"dtype", "shape", "data_offsets": [begin, end]}, optionally
 * "__metadata__": object of string -> string; then the data, which the tensors
 * tile without gap or overlap. Data may be unaligned for its type.
 */

#ifndef LINVIDEO_BASE_SAFETENSORS_H
#define LINVIDEO_BASE_SAFETENSORS_H

#include "base/common.h"
#include "base/map.h"
#include "base/msg.h"

#define LV_FILE_MAX_RANK 8

/** One tensor of a file. Pointers belong to the LvSafetensors. */
typedef struct LvFileTensor {
    const char *name;   ///< UTF-8, no control characters, at most 256 bytes
    LvDtype dtype;
    int rank;           ///< 0 (a scalar) to LV_FILE_MAX_RANK
    int64_t dim[LV_FILE_MAX_RANK]; ///< each >= 0
    size_t numel;       ///< product of dims
    const void *data;   ///< unaligned; of a file opened late there once it is loaded. To
                        ///< be written: NULL stands for zeros, which take no room where
                        ///< files may have holes
    size_t size;        ///< bytes
} LvFileTensor;

/** Size of the buffer that lv_shape_text() fills at most. */
#define LV_SHAPE_SIZE 192

/** "[2,3]". @return buf */
const char *lv_shape_text(char buf[LV_SHAPE_SIZE], int rank, const int64_t *dim);

typedef struct LvSafetensors LvSafetensors;

/**
 * Read and check a file: all of the rules at the top, further valid UTF-8,
 * nesting depth, no duplicate names or keys, plain non-negative integers, no
 * overflow, known dtypes (the names LvDtype has).
 *
 * @param[out] out freed with lv_safetensors_close(); NULL on error
 * @return 0; -ENOENT and other -errno; -ENOMEM; LV_ERR_MODEL with a message that
 *         names the file, the tensor and both numbers
 */
int lv_safetensors_open(LvSafetensors **out, const char *path, const LvMsg *msg);

/** The same, but data of tensors are not read before lv_safetensors_load(). */
int lv_safetensors_open_late(LvSafetensors **out, const char *path, const LvMsg *msg);

/** Read the data of a tensor of st, if they are not there. As lv_map_load(). */
int lv_safetensors_load(const LvSafetensors *st, const LvFileTensor *t, const LvMsg *msg);

/** The file, for lv_map_read() and lv_map_drop(); empty when the bytes are the caller's. */
const LvMap *lv_safetensors_map(const LvSafetensors *st);

/** The same over bytes in memory, which must outlive the reader (for fuzzing
 *  and tests); name stands in messages for the path. */
int lv_safetensors_parse(LvSafetensors **out, const void *data, size_t size,
                         const char *name, const LvMsg *msg);

/** Free *st (and the data) and set it to NULL. NULL is fine. */
void lv_safetensors_close(LvSafetensors **st);

/** Number of tensors. */
int lv_safetensors_count(const LvSafetensors *st);

/** Tensor i in order of its name, 0 <= i < count. */
const LvFileTensor *lv_safetensors_at(const LvSafetensors *st, int i);

/** Tensor by name (binary search), NULL when absent. */
const LvFileTensor *lv_safetensors_find(const LvSafetensors *st, const char *name);

/** Value of a metadata key, NULL when absent. Lives as long as st. */
const char *lv_safetensors_meta(const LvSafetensors *st, const char *key);

/** Where the data of tensor t of st, a file, begin: bytes from its start. */
size_t lv_safetensors_place(const LvSafetensors *st, const LvFileTensor *t);

/** Path (or name) it was opened by. */
const char *lv_safetensors_path(const LvSafetensors *st);

/**
 * Write a file: tensors ordered by element size (largest first), then name, the
 * header padded so that data starts at a multiple of 8. Written to path with
 * ".tmp" appended, synced, then renamed, so that a reader never sees half a file.
 *
 * @param meta pairs key, value, key, value... ended by NULL; NULL for none
 * @return 0 or -errno
 */
int lv_safetensors_write(const char *path, const LvFileTensor *tensors, int n,
                         const char *const *meta, const LvMsg *msg);

/** Gives data of tensors whose data is NULL, so that not all have to be there at once. */
typedef struct LvFeed {
    /** Data of tensor i, until the next call. 0, or a code after a message. */
    int (*get)(void *opaque, int i, const void **data);
    void *opaque;
    /** NULL, or a look at the whole file, by the path of its part, before it gets its name:
     *  0, or a code after a message, and nothing is written. */
    int (*check)(void *opaque, const char *part);
} LvFeed;

/** lv_safetensors_write(), data coming from a feed. */
int lv_safetensors_write_from(const char *path, const LvFileTensor *tensors, int n,
                              const char *const *meta, const LvFeed *feed,
                              const LvMsg *msg);

#endif /* LINVIDEO_BASE_SAFETENSORS_H */
