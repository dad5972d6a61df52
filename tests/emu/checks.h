/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Checks of what kernels read and write. The compiler puts a call before every access
 * of theirs (-fsanitize=kernel-address, with calls only), and one where a pointer is
 * not aligned as its type has to be (-fsanitize=alignment).
 *
 * An access may go to memory of the device, within a piece of it; to shared memory of
 * the block, where somebody wrote before and no thread writes or reads at the same
 * time (between the same barriers, unless the barriers of one warp lie between); to
 * the thread's own stack; and, to read, to constants.
 */

#ifndef LINVIDEO_TESTS_EMU_CHECKS_H
#define LINVIDEO_TESTS_EMU_CHECKS_H

#include <stddef.h>
#include <stdint.h>

enum { EMU_SHARED = 228 << 10, EMU_WARP = 32 };

/** The thread that runs, and the times it is at. */
typedef struct EmuNow {
    const char *stack, *stack_end;
    int thread;
    uint32_t block;           ///< grows at every barrier of the block, and block
    uint32_t first;           ///< of the block that runs
    const uint32_t *warp;     ///< grows at every barrier of the thread's warp
} EmuNow;

extern EmuNow emu_now;

/** Memory of a block that the launch sizes, and its size. */
extern "C" unsigned char shared[EMU_SHARED];
extern size_t emu_shared_bytes;

/** Fill all shared memory with NaNs: a block begins. */
void emu_shared_poison(void);

/** Check that n bytes at p may be read, or written, by the thread that runs. */
void emu_read(const void *p, size_t n);
void emu_write(const void *p, size_t n);

#endif /* LINVIDEO_TESTS_EMU_CHECKS_H */
