/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * One file of kernels/, FILE, compiled for the CPU; its list of kernels is LIST.
 */

#include FILE

#include "backend/cuda/kernels.h"

#define EMU_RUN(kernel)                                                             \
    EMU_UNCHECKED static void run_##kernel(void **args)                             \
    {                                                                               \
        emu_call(lv_##kernel, args);                                                \
    }
LIST(EMU_RUN)

namespace {
struct Registration {
    Registration()
    {
#define EMU_REGISTER(kernel)                                                     \
        emu_register("lv_" #kernel, run_##kernel, emu_sizes(lv_##kernel));
        LIST(EMU_REGISTER)
    }
} registration;
}
