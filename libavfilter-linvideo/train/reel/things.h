/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Things that clips show: animals, food, plants, vehicles, tools, faces... Pictures of
 * them come from a font of colour emoji, by their Unicode character.
 * Floor train/reel: knows names.
 */

#ifndef LINVIDEO_TRAIN_REEL_THINGS_H
#define LINVIDEO_TRAIN_REEL_THINGS_H

#include <stddef.h>
#include <stdint.h>

/** Bytes that hold every plural. */
#define LV_THING_NAME_SIZE 64

typedef struct LvThing {
    uint32_t character;  ///< Unicode
    const char *names;   ///< parted by |, the plainest first, without article; after
                         ///< Unicode's emoji-test.txt, with other words for them
} LvThing;

/** Number of things. */
int lv_things(void);

/** Thing number i, 0 to lv_things() - 1. */
const LvThing *lv_thing(int i);

/** More than one of it: "dog" makes "dogs", "slice of pizza" "slices of pizza". */
void lv_thing_plural(char *buf, size_t size, const char *name);

/** Whether its plainest name is a plural already: "jeans", "green leaves". */
int lv_thing_is_many(int i);

#endif /* LINVIDEO_TRAIN_REEL_THINGS_H */
