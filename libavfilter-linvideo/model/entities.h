/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The named character references of HTML.
 * Floor F4 (model): knows names and code points, not where they occur.
 */

#ifndef LINVIDEO_MODEL_ENTITIES_H
#define LINVIDEO_MODEL_ENTITIES_H

#include <stddef.h>
#include <stdint.h>

/** Longest name. */
#define LV_ENTITY_MAX 31

typedef struct LvEntity {
    char name[LV_ENTITY_MAX + 1]; ///< without '&' and ';'
    uint32_t first;               ///< code point
    uint16_t second;              ///< a second code point, or 0
    uint8_t bare;                 ///< may stand without the closing ';'
} LvEntity;

/** Entity whose name is these n bytes (case matters), NULL when there is none. */
const LvEntity *lv_entity_find(const char *name, size_t n);

#endif /* LINVIDEO_MODEL_ENTITIES_H */
