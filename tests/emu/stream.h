/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The stream of the emulated driver: what the emulated cuBLASLt has to know of it.
 */

#ifndef LINVIDEO_TESTS_EMU_STREAM_H
#define LINVIDEO_TESTS_EMU_STREAM_H

#include <stddef.h>

typedef struct EmuStream {
    int capturing;
    /** While capturing: keep run(copy of data), instead of running it now. */
    void (*keep)(struct EmuStream *s, void (*run)(const void *data), const void *data,
                 size_t size);
} EmuStream;

#endif /* LINVIDEO_TESTS_EMU_STREAM_H */
