/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of the stand-in for the driver and cuBLASLt share: faults, counts of
 * what is alive, memory of the device, the stream.
 *
 * Variables of the environment, read at every call, make it another machine:
 *
 *   EMU_DEVICES    devices there are (1); with 0 the driver starts with "no device"
 *   EMU_DRIVER     version of the driver, 12040 for CUDA 12.4 (13000)
 *   EMU_ARCH       compute capability, 90 for 9.0 (90)
 *   EMU_MEMORY     bytes of memory (4 GiB)
 *   EMU_NO_IMAGE   not 0: no kernel fits the device
 *   EMU_APART      not 0: the host's code faults at memory of the device (slow)
 *   EMU_LATE       1: work of the first stream is done as late as may be, when something
 *                  waits for it; 2: that of the others is; 0: all is done as it comes (0)
 *   EMU_FAIL_AT    the call of this number fails, counted from 1 (none)
 *
 * Tests find the functions of the last part by name.
 */

#ifndef LINVIDEO_TESTS_EMU_STANDIN_H
#define LINVIDEO_TESTS_EMU_STANDIN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Results as the driver has them. */
enum {
    EMU_INVALID = 1, EMU_NO_MEMORY = 2, EMU_NO_DEVICE = 100, EMU_INVALID_DEVICE = 101,
    EMU_NO_CONTEXT = 201, EMU_NO_IMAGE = 209, EMU_NOT_FOUND = 500,
    EMU_UNSUPPORTED_CAPTURE = 900, EMU_CAPTURE_BROKEN = 901, EMU_PINNED_BEFORE = 712,
    EMU_NOT_PINNED = 713, EMU_FAULT = 999,
};

/** X(KIND, text): what a program must give back. */
#define EMU_KINDS(X)                                                                \
    X(CONTEXT, "context") X(MEMORY, "allocation") X(STREAM, "stream")               \
    X(MODULE, "module") X(GRAPH, "graph") X(EXEC, "graph to run") X(EVENT, "event") \
    X(PINNED, "pinned memory") X(LT, "cuBLASLt handle") X(DESC, "product")          \
    X(LAYOUT, "layout") X(PREF, "preference")

#define EMU_KIND_ENUM(KIND, text) EMU_##KIND,
enum EmuKind { EMU_KINDS(EMU_KIND_ENUM) EMU_KIND_NB };
#undef EMU_KIND_ENUM

/** Value of a variable of the environment. */
long long emu_setting(const char *name, long long otherwise);

/** Count a call of an entry. @return whether it has to fail */
int emu_fault(const char *entry);

/** Count something made, or given back. */
void emu_made(int kind);
void emu_gone(int kind);

/** Say what is wrong with a program, and end it. */
void emu_fail(const char *what, long long value) __attribute__((noreturn));

/** Memory of the device; NULL when there is no more. Poisoned. */
void *emu_memory_new(size_t bytes);

/** Give it back; ends the program when p is none. */
void emu_memory_free(void *p);

/** Whether [p, p + bytes) lies in one piece of memory. */
int emu_memory_has(const void *p, size_t bytes);

/** Bytes that are taken. */
size_t emu_memory_used(void);

/** With EMU_APART: let the host's code at memory of the device, or no longer: what it
 *  does not do through the driver faults, as it does on a real machine. */
void emu_memory_open(void);
void emu_memory_close(void);

/** A stream: work is done as it comes, or late, or kept while a graph is captured. */
typedef struct EmuStream EmuStream;

/** Do run(data), or keep it with a copy of data. */
void emu_submit(EmuStream *s, void (*run)(const void *data), const void *data,
                size_t size);

/* For tests */

/** Let call number n from now fail; 0: none. */
void emu_fail_at(long n);

/** Calls that might have failed, since emu_fail_at(). */
long emu_calls(void);

/** Entry that was made to fail, NULL before. */
const char *emu_failed(void);

/** What is alive, "2 x stream, 1 x module"; "" for nothing. */
const char *emu_alive(void);

#ifdef __cplusplus
}
#endif

#endif /* LINVIDEO_TESTS_EMU_STANDIN_H */
