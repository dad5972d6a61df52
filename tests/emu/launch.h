/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Between the emulated driver and what runs kernels.
 */

#ifndef LINVIDEO_TESTS_EMU_LAUNCH_H
#define LINVIDEO_TESTS_EMU_LAUNCH_H

#include "tests/emu/emu.h"

enum { EMU_MAX_THREADS = 1024 };

/** Run a kernel over a grid, with blocks of `block` threads and so many bytes of
 *  dynamic shared memory. */
void emu_launch(const EmuKernel *kernel, const unsigned grid[3], unsigned block,
                size_t bytes, void **args);

#endif /* LINVIDEO_TESTS_EMU_LAUNCH_H */
