/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where tensors come from: a safetensors file, one cut into shards, or a GGUF file,
 * seen alike.
 * Floor F1 (base): knows containers, not what their tensors mean.
 */

#ifndef LINVIDEO_BASE_SOURCE_H
#define LINVIDEO_BASE_SOURCE_H

#include "base/gguf.h"
#include "base/safetensors.h"

typedef struct LvSource LvSource;

/** What a file is, by its first bytes. */
enum LvSourceForm {
    LV_SOURCE_UNKNOWN,
    LV_SOURCE_SAFETENSORS, LV_SOURCE_GGUF,
    LV_SOURCE_JSON,  ///< an index of shards, or a manifest
    LV_SOURCE_PICKLE, ///< of PyTorch, or a ZIP archive: refused by name
    LV_SOURCE_OTHER, ///< known, and refused by name: empty, a git-lfs pointer...
};

/** Look at the first bytes of a file. @return as lv_map_open_late() and lv_map_load() */
int lv_source_look(enum LvSourceForm *form, const char *path, const LvMsg *msg);

/**
 * Open a file by what it holds, whatever its name: GGUF, safetensors, or the index of
 * shards (JSON with "weight_map": name of tensor -> plain name of a file beside it). A name
 * that ends in -00001-of-00003.END, any number, opens all of these parts.
 *
 * Names of modules that only wrap others ("_orig_mod.", "module."...) are left out of the
 * names of tensors.
 *
 * @param[out] src freed with lv_source_close(); NULL on error
 * @return as lv_safetensors_open(); -ENOENT: a part is missing; LV_ERR_MODEL for an index
 *         that leaves its folder or does not agree with its shards, and for what is no
 *         model: the message says what it is, and what to do
 */
int lv_source_open(LvSource **src, const char *path, const LvMsg *msg);

/** Whether a path is the first part there is of its file, or no part: opening the others
 *  would open the same again. */
int lv_source_first_part(const char *path);

/** See a file that is open, and outlives the source. 0 or -ENOMEM. */
int lv_source_view(LvSource **src, const LvSafetensors *st, const LvMsg *msg);

/**
 * See the tensors of another source too that `is` takes, as if they were of this one's files, with
 * `prefix` before their names. At most one other, which outlives src. Metadata that only the
 * other has are found too.
 *
 * @param count how many there are, may be NULL
 * @return 0; LV_ERR_MODEL: src has a tensor of such a name; -ENOMEM
 */
int lv_source_join(LvSource *src, const LvSource *other, int (*is)(const LvFileTensor *t),
                   const char *prefix, int *count, const LvMsg *msg);

/** Free *src (with the files it opened) and set it to NULL. NULL is fine. */
void lv_source_close(LvSource **src);

/** As those of safetensors: tensors in order of their names. */
int lv_source_count(const LvSource *src);
const LvFileTensor *lv_source_at(const LvSource *src, int i);
const LvFileTensor *lv_source_find(const LvSource *src, const char *name);

/** Number of a tensor that source gave, for lv_source_at(). */
int lv_source_index(const LvSource *src, const LvFileTensor *t);

/** Read a tensor's data, if they are not there: nothing may look at them before. t may be
 *  a copy that stands for a part of the data. As lv_map_load(). */
int lv_source_load(const LvSource *src, const LvFileTensor *t, const LvMsg *msg);

/** The same by several threads. */
int lv_source_load_by(int threads, const LvSource *src, const LvFileTensor *t,
                      const LvMsg *msg);

/** Read size bytes from byte at of a tensor's data to dst. As lv_map_read(). */
int lv_source_read(const LvSource *src, const LvFileTensor *t, size_t at, void *dst,
                   size_t size, const LvMsg *msg);

/** Let go of a tensor's data, unless all of the file was read at once; they may be loaded
 *  again. */
void lv_source_drop(const LvSource *src, const LvFileTensor *t);

/** Value of a metadata key of a safetensors file, of the first shard that has it; NULL
 *  when absent. */
const char *lv_source_meta(const LvSource *src, const char *key);

/** The GGUF file that it is, the first where it is in parts; or NULL. */
const LvGguf *lv_source_gguf(const LvSource *src);

/** Path of file number i, from 0: an index comes after its shards. NULL after the last. */
const char *lv_source_file(const LvSource *src, int i);

/** Path it was opened by. */
const char *lv_source_path(const LvSource *src);

#endif /* LINVIDEO_BASE_SOURCE_H */
