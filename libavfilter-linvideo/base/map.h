/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The bytes of a regular file, in memory of our own: read at once, or page by page when
 * they are asked for. Nothing is mapped, as a file that another process cuts, or a disk
 * that fails, would end the process with SIGBUS; here each of them is an error.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_MAP_H
#define LINVIDEO_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

/** Largest file that lv_map_open() takes: 256 MiB. */
#define LV_MAP_OPEN_MAX ((size_t)256 << 20)

typedef struct LvMapFile LvMapFile;

typedef struct LvMap {
    const uint8_t *data; ///< of byte 0; NULL for an empty file
    size_t size;         ///< bytes of the file
    LvMapFile *file;     ///< which it comes from; NULL for an empty file
} LvMap;

/**
 * Read the regular file path as a whole, then close it.
 *
 * @return 0, -errno (-ENOENT, -EIO...), -EINVAL when it is not a regular file, -EFBIG
 *         when it is larger than LV_MAP_OPEN_MAX; the message names the path
 */
int lv_map_open(LvMap *map, const char *path, const LvMsg *msg);

/** The same for a file of at most max bytes; nothing is read of a larger one. */
int lv_map_open_upto(LvMap *map, const char *path, size_t max, const LvMsg *msg);

/**
 * Open a file of any size, and keep it open. All of data has addresses, but nothing may
 * be read there before lv_map_load().
 *
 * @return as lv_map_open(); -ENOMEM
 */
int lv_map_open_late(LvMap *map, const char *path, const LvMsg *msg);

/** Free it; a zeroed map is fine. Pointers into it die. */
void lv_map_close(LvMap *map);

/** Whether [data, data + size) is a part of the map. */
int lv_map_has(const LvMap *map, const void *data, size_t size);

/**
 * Read the pages that [data, data + size), a part of the map, lies in; those that are
 * there stay as they are. Never at the same time as another load or drop of the map.
 *
 * @return 0; -errno of the read; -ESTALE when size or time of the file are no longer
 *         those that it was opened with. The message names the path.
 */
int lv_map_load(const LvMap *map, const void *data, size_t size, const LvMsg *msg);

/** The same by several threads. */
int lv_map_load_by(int threads, const LvMap *map, const void *data, size_t size,
                   const LvMsg *msg);

/** Read all that is not there, and close the file: what is there stays. As
 *  lv_map_load(). */
int lv_map_finish(LvMap *map, const LvMsg *msg);

/** Read size bytes from byte at on, all in the file, to dst, from any thread. As
 *  lv_map_load(), but dst may hold a part. */
int lv_map_read(const LvMap *map, size_t at, void *dst, size_t size, const LvMsg *msg);

/** Let go of the pages that lie within [data, data + size), a part of the map, which may
 *  be loaded again. Nothing is done once the file is closed. */
void lv_map_drop(const LvMap *map, const void *data, size_t size);

/**
 * Zeroed pages that no file stands behind, for bytes > 0; they take memory once they are
 * written.
 *
 * @return NULL when out of memory; freed with lv_pages_free()
 */
void *lv_pages_new(size_t bytes);

/** Free pages made for so many bytes. NULL is fine. */
void lv_pages_free(void *pages, size_t bytes);

#endif /* LINVIDEO_BASE_MAP_H */
