/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The GGUF container (versions 2 and 3): a reader that trusts nothing, and a writer.
 * Floor F1 (base): knows names, types, shapes and bytes, not what they mean.
 *
 * Layout: "GGUF", u32 version, i64 tensors, i64 pairs; the pairs (string key, u32 type,
 * value); for each tensor its name, u32 rank, i64 sizes (fastest first), u32 type, u64
 * offset; then the data at the next multiple of the alignment, tensors one after the
 * other with padding only. All little-endian.
 */

#ifndef LINVIDEO_BASE_GGUF_H
#define LINVIDEO_BASE_GGUF_H

#include "base/file.h"
#include "base/safetensors.h"

/** Data of a tensor begin at a multiple of it in files that are written. */
enum { LV_GGUF_ALIGN = 32 };

/** Types of values. */
enum LvGgufType {
    LV_GGUF_U8, LV_GGUF_I8, LV_GGUF_U16, LV_GGUF_I16, LV_GGUF_U32, LV_GGUF_I32,
    LV_GGUF_F32, LV_GGUF_BOOL, LV_GGUF_STRING, LV_GGUF_ARRAY, LV_GGUF_U64, LV_GGUF_I64,
    LV_GGUF_F64, LV_GGUF_NB
};

/** A string, without a NUL; lives as long as the reader. */
typedef struct LvGgufString {
    const char *s;
    size_t n;
} LvGgufString;

/** A value of the metadata. */
typedef struct LvGgufValue {
    LvGgufString key;
    enum LvGgufType type; ///< of the elements, for an array
    int is_array;
    uint64_t nb;       ///< elements; 1 when it is no array
    const uint8_t *at; ///< the first; checked up to the last
} LvGgufValue;

typedef struct LvGguf LvGguf;

/**
 * Read the head of a file, and check it: counts, sizes, unique names and keys, known
 * types, tensors of whole blocks that lie one after the other, of rank 1 to 5 (the
 * reference allows 4, Wan's patch embedding has 5). Shapes are turned round: slowest first,
 * as in safetensors. Data of tensors are not read before lv_map_load() of lv_gguf_map().
 *
 * @param[out] out freed with lv_gguf_close(); NULL on error
 * @return as lv_safetensors_open()
 */
int lv_gguf_open(LvGguf **out, const char *path, const LvMsg *msg);

/** The same over bytes in memory, which must outlive the reader. */
int lv_gguf_parse(LvGguf **out, const void *data, size_t size, const char *name,
                  const LvMsg *msg);

/** Free *g and set it to NULL. NULL is fine. */
void lv_gguf_close(LvGguf **g);

/** As those of safetensors: tensors in order of their names. */
int lv_gguf_count(const LvGguf *g);
const LvFileTensor *lv_gguf_at(const LvGguf *g, int i);
const char *lv_gguf_path(const LvGguf *g);

/** Value of a key; NULL when absent. */
const LvGgufValue *lv_gguf_value(const LvGguf *g, const char *key);

/** Elements of a value in order: the first is *at = value->at, and *at is moved to the
 *  next. Numbers of any type as f64; strings. */
double lv_gguf_number(const LvGgufValue *v, const uint8_t **at);
LvGgufString lv_gguf_string(const uint8_t **at);

/** As lv_safetensors_map(). */
const LvMap *lv_gguf_map(const LvGguf *g);

/** Metadata in the making; zeroed it is empty. Freed with lv_gguf_meta_free(). */
typedef struct LvGgufMeta {
    uint8_t *p;  ///< pairs as they stand in a file
    size_t n, room;
    int pairs;
    int failed;  ///< out of memory
} LvGgufMeta;

/** Add a pair; an error is kept for lv_gguf_write_meta(). */
void lv_gguf_meta_u32(LvGgufMeta *m, const char *key, uint32_t v);
void lv_gguf_meta_f32(LvGgufMeta *m, const char *key, float v);
void lv_gguf_meta_bool(LvGgufMeta *m, const char *key, int v);
void lv_gguf_meta_text(LvGgufMeta *m, const char *key, const char *text);

/** Begin an array of nb values of a type, which are to be added next: strings by
 *  lv_gguf_meta_string(), others by lv_gguf_meta_bytes(), little-endian. */
void lv_gguf_meta_array(LvGgufMeta *m, const char *key, int type, uint64_t nb);
void lv_gguf_meta_string(LvGgufMeta *m, const char *s, size_t n);
void lv_gguf_meta_bytes(LvGgufMeta *m, const void *data, size_t n);

void lv_gguf_meta_free(LvGgufMeta *m);

/**
 * Write a file of version 3, with "general.architecture" and "general.alignment" as only
 * metadata. As lv_safetensors_write_from(); tensors stand in the order given.
 */
int lv_gguf_write(const char *path, const char *architecture, const LvFileTensor *tensors,
                  int n, const LvFeed *feed, const LvMsg *msg);

/** The same with more metadata behind those. */
int lv_gguf_write_meta(const char *path, const char *architecture, const LvGgufMeta *meta,
                       const LvFileTensor *tensors, int n, const LvFeed *feed,
                       const LvMsg *msg);

/** Put the head of such a file alone, meta may be NULL; data of the tensors, which are not looked
 *  at, are to follow in the order given. */
void lv_gguf_put_head(LvFile *f, const char *architecture, const LvGgufMeta *meta,
                      const LvFileTensor *tensors, int n);

#endif /* LINVIDEO_BASE_GGUF_H */
