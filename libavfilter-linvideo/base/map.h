/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A regular file mapped read-only, and pages that come and go.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_MAP_H
#define LINVIDEO_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

typedef struct LvMap {
    const uint8_t *data; ///< NULL for an empty file
    size_t size;         ///< bytes
} LvMap;

/**
 * Map the regular file path. The descriptor is closed again.
 *
 * @return 0, -errno (-ENOENT...), -EINVAL when it is not a regular file; the
 *         message names the path
 */
int lv_map_open(LvMap *map, const char *path, const LvMsg *msg);

/** Unmap; a zeroed map is fine. Pointers into it die. */
void lv_map_close(LvMap *map);

/** Whether [data, data + size) is a part of the map. */
int lv_map_has(const LvMap *map, const void *data, size_t size);

/** Let go of the pages that lie within [data, data + size), which must be a part of a map:
 *  they are read from the file again when they are needed. Or of lv_pages_new(). */
void lv_map_drop(const void *data, size_t size);

/**
 * Zeroed pages that no file stands behind, for bytes > 0; they take memory once they are
 * written, until lv_map_drop(), after which they are zero.
 *
 * @return NULL when out of memory; freed with lv_pages_free()
 */
void *lv_pages_new(size_t bytes);

/** Free pages made for so many bytes. NULL is fine. */
void lv_pages_free(void *pages, size_t bytes);

#endif /* LINVIDEO_BASE_MAP_H */
