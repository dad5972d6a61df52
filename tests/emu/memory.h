/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where the emulated device's memory lies, for checks of every access.
 */

#ifndef LINVIDEO_TESTS_EMU_MEMORY_H
#define LINVIDEO_TESTS_EMU_MEMORY_H

#include <stdint.h>

#include "tests/emu/standin.h"

/** Addresses there are, and bytes that share an entry of the map of them. */
#define EMU_MEMORY_SIZE ((size_t)1 << 38)
enum { EMU_GRANULE = 16 };

/** Begin of the memory, NULL before the first of it is taken; for each granule, how
 *  many bytes from its first on are there. */
extern unsigned char *emu_memory, *emu_memory_there;

/** Whether p lies where memory of the device does. */
static inline int emu_memory_spans(const void *p)
{
    return (uintptr_t)p - (uintptr_t)emu_memory < EMU_MEMORY_SIZE && emu_memory;
}

/** Whether n <= 16 bytes at p, which does, are there. */
static inline int emu_memory_there_at(const void *p, size_t n)
{
    size_t at = (uintptr_t)p - (uintptr_t)emu_memory, in = at % EMU_GRANULE;
    const unsigned char *m = emu_memory_there + at / EMU_GRANULE;

    if (in + n <= EMU_GRANULE)
        return in + n <= m[0];
    return m[0] == EMU_GRANULE && in + n - EMU_GRANULE <= m[1];
}

#endif /* LINVIDEO_TESTS_EMU_MEMORY_H */
