/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The driver library: libcuda's entries as backend/cuda/driver.h lists them.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/emu/checks.h"
#include "tests/emu/launch.h"
#include "tests/emu/memory.h"
#include "tests/emu/standin.h"
#include "tests/emu/tilemap.h"

typedef unsigned long long Address;

enum { MAX_ARGS = 32, ARG_ALIGN = 64, ARG_BYTES = 4096 };
enum { MAX_GRID = 65535, MAX_BLOCK_BYTES = 227 << 10 };

/* What the driver gives out; a handle is its address. */
struct Context { int retained; };
struct Module { int loaded; };
struct Event { double time; };

static Context context;
static thread_local Context *current;
static std::set<void *> pinned;

static std::unordered_map<std::string, EmuKernel *> &kernels(void)
{
    static std::unordered_map<std::string, EmuKernel *> all;

    return all;
}

void emu_register(const char *name, void (*run)(void **args), const size_t *sizes)
{
    kernels()[name] = new EmuKernel { name, run, sizes };
}

/* Entries that can fail begin so: they need the context, and may be told to fail. */
#define ENTER(entry)                                                                \
    do {                                                                            \
        if (!current || !current->retained)                                         \
            return EMU_NO_CONTEXT;                                                  \
        if (emu_fault(entry))                                                       \
            return EMU_FAULT;                                                       \
    } while (0)

/* The stream */

struct Kept {
    void (*run)(const void *data);
    std::vector<char> data;
};

struct Graph {
    std::vector<Kept> work;
};

struct EmuStream {
    int capturing, broken;
    Graph *captured;
};

void emu_submit(EmuStream *s, void (*run)(const void *data), const void *data, size_t size)
{
    const char *bytes = (const char *)data;

    if (s->capturing) {
        s->captured->work.push_back({ run, std::vector<char>(bytes, bytes + size) });
        return;
    }
    emu_memory_open();
    run(data);
    emu_memory_close();
}

/* A call that a stream can't capture spoils what is captured. */
static int spoil(EmuStream *s)
{
    s->broken = 1;
    return EMU_UNSUPPORTED_CAPTURE;
}

struct Set {
    void *at;
    int byte;
    size_t bytes;
};

static void run_set(const void *data)
{
    const Set *s = (const Set *)data;

    memset(s->at, s->byte, s->bytes);
}

/* A launch; its arguments lie behind it. */
struct Launch {
    const EmuKernel *kernel;
    unsigned grid[3], threads;
    size_t shared;
};

static size_t padded(size_t bytes)
{
    return (bytes + ARG_ALIGN - 1) & ~(size_t)(ARG_ALIGN - 1);
}

static void run_launch(const void *data)
{
    const Launch *l = (const Launch *)data;
    const char *from = (const char *)data + padded(sizeof(*l));
    alignas(ARG_ALIGN) char room[ARG_BYTES];
    void *args[MAX_ARGS];
    size_t at = 0;

    for (int i = 0; l->kernel->sizes[i]; at += padded(l->kernel->sizes[i++]))
        args[i] = memcpy(room + at, from + at, l->kernel->sizes[i]);
    emu_launch(l->kernel, l->grid, l->threads, l->shared, args);
}

static int copy(EmuStream *s, void *dst, const void *src, size_t bytes, const void *there)
{
    if (s->capturing)
        return spoil(s);
    if (!emu_memory_has(there, bytes))
        return EMU_INVALID;
    emu_memory_open();
    memcpy(dst, src, bytes);
    emu_memory_close();
    return 0;
}

extern "C" {

/* Machine */

int cuInit(unsigned)
{
    if (emu_setting("EMU_DEVICES", 1) == 0)
        return EMU_NO_DEVICE;
    return emu_fault("cuInit") ? EMU_FAULT : 0;
}

int cuDriverGetVersion(int *version)
{
    return *version = (int)emu_setting("EMU_DRIVER", 13000), 0;
}

int cuDeviceGetCount(int *count)
{
    return *count = (int)emu_setting("EMU_DEVICES", 1), 0;
}

int cuDeviceGet(int *device, int ordinal)
{
    return *device = ordinal, emu_fault("cuDeviceGet") ? EMU_FAULT : 0;
}

int cuDeviceGetName(char *name, int size, int)
{
    snprintf(name, (size_t)size, "emulated");
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int)
{
    return *bytes = (size_t)emu_setting("EMU_MEMORY", (long long)4 << 30), 0;
}

int cuDeviceGetAttribute(int *v, int attr, int)
{
    int arch = (int)emu_setting("EMU_ARCH", 90);

    *v = attr == 16 ? 16 : attr == 75 ? arch / 10 : attr == 76 ? arch % 10 :
         attr == 97 ? MAX_BLOCK_BYTES : 0;
    return 0;
}

/* Context */

int cuDevicePrimaryCtxRetain(void **ctx, int)
{
    if (emu_fault("cuDevicePrimaryCtxRetain"))
        return EMU_FAULT;
    context.retained++;
    emu_made(EMU_CONTEXT);
    return *ctx = &context, 0;
}

int cuDevicePrimaryCtxRelease_v2(int)
{
    context.retained--;
    return emu_gone(EMU_CONTEXT), 0;
}

int cuCtxSetCurrent(void *ctx) { return current = (Context *)ctx, 0; }

/* Memory */

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    cuDeviceTotalMem_v2(total, 0);
    *free_bytes = *total > emu_memory_used() ? *total - emu_memory_used() : 0;
    return 0;
}

int cuMemAlloc_v2(Address *p, size_t bytes)
{
    void *m;

    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    if (!bytes)
        return EMU_INVALID;
    if (emu_fault("cuMemAlloc") || !(m = emu_memory_new(bytes)))
        return EMU_NO_MEMORY;
    emu_made(EMU_MEMORY);
    return *p = (Address)(uintptr_t)m, 0;
}

int cuMemFree_v2(Address p)
{
    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    emu_memory_free((void *)(uintptr_t)p);
    return emu_gone(EMU_MEMORY), 0;
}

int cuMemHostRegister_v2(void *p, size_t, unsigned)
{
    ENTER("cuMemHostRegister");
    if (!pinned.insert(p).second)
        return EMU_PINNED_BEFORE;
    return emu_made(EMU_PINNED), 0;
}

int cuMemHostUnregister(void *p)
{
    if (!pinned.erase(p))
        return EMU_NOT_PINNED;
    return emu_gone(EMU_PINNED), 0;
}

int cuMemsetD8Async(Address p, unsigned char byte, size_t bytes, void *stream)
{
    Set set = { (void *)(uintptr_t)p, byte, bytes };

    ENTER("cuMemsetD8Async");
    if (!emu_memory_has(set.at, bytes))
        return EMU_INVALID;
    return emu_submit((EmuStream *)stream, run_set, &set, sizeof(set)), 0;
}

int cuMemcpyHtoDAsync_v2(Address dst, const void *src, size_t bytes, void *stream)
{
    void *d = (void *)(uintptr_t)dst;

    ENTER("cuMemcpyHtoDAsync");
    return copy((EmuStream *)stream, d, src, bytes, d);
}

int cuMemcpyDtoHAsync_v2(void *dst, Address src, size_t bytes, void *stream)
{
    const void *s = (const void *)(uintptr_t)src;

    ENTER("cuMemcpyDtoHAsync");
    return copy((EmuStream *)stream, dst, s, bytes, s);
}

/* Streams and events */

int cuStreamCreate(void **stream, unsigned)
{
    ENTER("cuStreamCreate");
    emu_made(EMU_STREAM);
    return *stream = new EmuStream { 0, 0, NULL }, 0;
}

int cuStreamDestroy_v2(void *stream)
{
    delete (EmuStream *)stream;
    return emu_gone(EMU_STREAM), 0;
}

int cuStreamSynchronize(void *stream)
{
    EmuStream *s = (EmuStream *)stream;

    ENTER("cuStreamSynchronize");
    return s->capturing ? spoil(s) : 0;
}

int cuEventCreate(void **event, unsigned)
{
    ENTER("cuEventCreate");
    emu_made(EMU_EVENT);
    return *event = new Event { 0 }, 0;
}

int cuEventDestroy_v2(void *event)
{
    delete (Event *)event;
    return emu_gone(EMU_EVENT), 0;
}

int cuEventRecord(void *event, void *)
{
    timespec t;

    ENTER("cuEventRecord");
    clock_gettime(CLOCK_MONOTONIC, &t);
    ((Event *)event)->time = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    return 0;
}

int cuEventElapsedTime(float *ms, void *from, void *to)
{
    ENTER("cuEventElapsedTime");
    *ms = (float)(1e3 * (((Event *)to)->time - ((Event *)from)->time));
    return 0;
}

/* Kernels */

int cuModuleLoadData(void **module, const void *)
{
    ENTER("cuModuleLoadData");
    if (emu_setting("EMU_NO_IMAGE", 0))
        return EMU_NO_IMAGE;
    emu_made(EMU_MODULE);
    return *module = new Module { 1 }, 0;
}

int cuModuleUnload(void *module)
{
    delete (Module *)module;
    return emu_gone(EMU_MODULE), 0;
}

int cuModuleGetFunction(void **f, void *, const char *name)
{
    auto found = kernels().find(name);

    ENTER("cuModuleGetFunction");
    *f = found == kernels().end() ? NULL : found->second;
    return *f ? 0 : EMU_NOT_FOUND;
}

int cuFuncSetAttribute(void *, int, int value)
{
    ENTER("cuFuncSetAttribute");
    return value > MAX_BLOCK_BYTES ? EMU_INVALID : 0;
}

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned, unsigned, unsigned bytes, void *stream, void **args, void **)
{
    Launch l = { (const EmuKernel *)f, { gx, gy, gz }, bx, bytes };
    std::vector<char> data(padded(sizeof(l)));
    EmuStream *s = (EmuStream *)stream;

    if (current && current->retained && emu_fault("cuLaunchKernel"))
        return s->broken = s->capturing, EMU_FAULT;
    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    if (bytes > MAX_BLOCK_BYTES || bx > EMU_MAX_THREADS || !bx || !gx || !gy || !gz ||
        gy > MAX_GRID || gz > MAX_GRID)
        return EMU_INVALID;
    memcpy(data.data(), &l, sizeof(l));
    for (int i = 0; l.kernel->sizes[i]; i++) {
        size_t at = data.size();
        data.resize(at + padded(l.kernel->sizes[i]));
        memcpy(data.data() + at, args[i], l.kernel->sizes[i]);
    }
    return emu_submit(s, run_launch, data.data(), data.size()), 0;
}

/* Maps of bf16 tensors of three dimensions, for boxes of rows of 128 bytes: all that the
 * kernels take. */
int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *data,
                           const uint64_t *dim, const uint64_t *stride,
                           const uint32_t *box, const uint32_t *step, int interleave,
                           int swizzle, int, int fill)
{
    EmuTileMap m = { EMU_TILE_MAP, data, {}, {}, {} };

    ENTER("cuTensorMapEncodeTiled");
    if ((uintptr_t)map % 64 || (uintptr_t)data % 16 || type != 9 || rank != 3 ||
        interleave || swizzle != 3 || fill || box[0] != 64 || box[2] != 1)
        return EMU_INVALID;
    for (int i = 0; i < 3; i++) {
        if (!dim[i] || dim[i] >> 32 || !box[i] || box[i] > 256 || step[i] != 1)
            return EMU_INVALID;
        m.dim[i] = (int64_t)dim[i], m.box[i] = (int)box[i];
    }
    for (int i = 0; i < 2; i++) {
        if (stride[i] % 16 || stride[i] >> 40)
            return EMU_INVALID;
        m.stride[i] = (int64_t)stride[i];
    }
    memcpy(map, &m, sizeof(m));
    return 0;
}

/* Graphs */

int cuStreamBeginCapture_v2(void *stream, int)
{
    EmuStream *s = (EmuStream *)stream;

    ENTER("cuStreamBeginCapture");
    if (s->capturing)
        return EMU_CAPTURE_BROKEN;
    *s = { 1, 0, new Graph };
    return 0;
}

int cuStreamEndCapture(void *stream, void **graph)
{
    EmuStream *s = (EmuStream *)stream;
    Graph *g     = s->captured;
    int bad      = s->broken || emu_fault("cuStreamEndCapture");

    *s = { 0, 0, NULL };
    if (bad) {
        delete g;
        return *graph = NULL, EMU_CAPTURE_BROKEN;
    }
    emu_made(EMU_GRAPH);
    return *graph = g, 0;
}

int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long)
{
    ENTER("cuGraphInstantiate");
    emu_made(EMU_EXEC);
    return *exec = new Graph(*(Graph *)graph), 0;
}

int cuGraphLaunch(void *exec, void *)
{
    ENTER("cuGraphLaunch");
    emu_memory_open();
    for (const Kept &k : ((Graph *)exec)->work)
        k.run(k.data.data());
    emu_memory_close();
    return 0;
}

int cuGraphExecDestroy(void *exec)
{
    delete (Graph *)exec;
    return emu_gone(EMU_EXEC), 0;
}

int cuGraphDestroy(void *graph)
{
    delete (Graph *)graph;
    return emu_gone(EMU_GRAPH), 0;
}

int cuGetErrorString(int result, const char **text)
{
    *text = result == EMU_NO_MEMORY ? "out of memory" :
            result == EMU_NO_CONTEXT ? "invalid device context" :
            result == EMU_FAULT ? "a fault that a test asked for" : "emulated";
    return 0;
}

} /* extern "C" */
