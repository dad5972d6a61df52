/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The driver library: libcuda's entries as backend/cuda/driver.h lists them.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/emu/checks.h"
#include "tests/emu/launch.h"
#include "tests/emu/memory.h"
#include "tests/emu/standin.h"

typedef unsigned long long Address;

enum { MAX_ARGS = 32, MAX_GRID = 65535, MAX_BLOCK_BYTES = 227 << 10 };

/* What the driver gives out; a handle is its address. */
struct Context { int retained; };
struct Module { int loaded; };
struct Event { double time; EmuStream *stream; long at; };

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
    int late;
    std::deque<Kept> queue;
    long submitted, done;
};

static std::set<EmuStream *> streams;

/* Do the work of a stream up to a number of what was submitted. */
static void flush(EmuStream *s, long until)
{
    while (s->done < until) {
        Kept k = s->queue.front();
        s->queue.pop_front();
        s->done++;
        emu_memory_open();
        k.run(k.data.data());
        emu_memory_close();
    }
}

static void flush_all(void)
{
    for (EmuStream *s : streams)
        flush(s, s->submitted);
}

void emu_submit(EmuStream *s, void (*run)(const void *data), const void *data, size_t size)
{
    const char *bytes = (const char *)data;

    if (s->capturing) {
        s->captured->work.push_back({ run, std::vector<char>(bytes, bytes + size) });
        return;
    }
    s->queue.push_back({ run, std::vector<char>(bytes, bytes + size) });
    s->submitted++;
    if (!s->late)
        flush(s, s->submitted);
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
    return (bytes + 15) & ~(size_t)15;
}

static void run_launch(const void *data)
{
    const Launch *l = (const Launch *)data;
    char *at = (char *)data + padded(sizeof(*l));
    void *args[MAX_ARGS];

    for (int i = 0; l->kernel->sizes[i]; at += padded(l->kernel->sizes[i++]))
        args[i] = at;
    emu_launch(l->kernel, l->grid, l->threads, l->shared, args);
}

struct Copy {
    void *dst;
    const void *src;
    size_t bytes;
};

static void run_copy(const void *data)
{
    const Copy *c = (const Copy *)data;

    memcpy(c->dst, c->src, c->bytes);
}

static int copy(EmuStream *s, void *dst, const void *src, size_t bytes, const void *there)
{
    Copy c = { dst, src, bytes };

    if (s->capturing)
        return spoil(s);
    if (!emu_memory_has(there, bytes))
        return EMU_INVALID;
    return emu_submit(s, run_copy, &c, sizeof(c)), 0;
}

static void run_wait(const void *data)
{
    const Event *e = (const Event *)data;

    flush(e->stream, e->at);
}

static void run_mark(const void *data)
{
    timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    (*(Event *const *)data)->time = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_graph(const void *data)
{
    for (const Kept &k : (*(Graph *const *)data)->work)
        k.run(k.data.data());
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
    flush_all();
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
    EmuStream *s;

    ENTER("cuStreamCreate");
    emu_made(EMU_STREAM);
    s = new EmuStream {};
    s->late = (int)emu_setting("EMU_LATE", 0) == (streams.empty() ? 1 : 2);
    streams.insert(s);
    return *stream = s, 0;
}

int cuStreamDestroy_v2(void *stream)
{
    flush_all();
    streams.erase((EmuStream *)stream);
    delete (EmuStream *)stream;
    return emu_gone(EMU_STREAM), 0;
}

int cuStreamSynchronize(void *stream)
{
    EmuStream *s = (EmuStream *)stream;

    ENTER("cuStreamSynchronize");
    flush(s, s->submitted);
    return s->capturing ? spoil(s) : 0;
}

int cuEventCreate(void **event, unsigned)
{
    ENTER("cuEventCreate");
    emu_made(EMU_EVENT);
    return *event = new Event {}, 0;
}

int cuEventDestroy_v2(void *event)
{
    flush_all();
    delete (Event *)event;
    return emu_gone(EMU_EVENT), 0;
}

int cuEventRecord(void *event, void *stream)
{
    EmuStream *s = (EmuStream *)stream;
    Event *e     = (Event *)event;

    ENTER("cuEventRecord");
    emu_submit(s, run_mark, &e, sizeof(e));
    e->stream = s;
    e->at     = s->submitted;
    return 0;
}

/* Waits for what the event stands for now; nothing when it was never recorded. */
int cuStreamWaitEvent(void *stream, void *event, unsigned)
{
    EmuStream *s = (EmuStream *)stream;

    ENTER("cuStreamWaitEvent");
    if (s->capturing)
        return spoil(s);
    if (((Event *)event)->stream)
        emu_submit(s, run_wait, event, sizeof(Event));
    return 0;
}

int cuEventElapsedTime(float *ms, void *from, void *to)
{
    ENTER("cuEventElapsedTime");
    flush_all();
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

/* Graphs */

int cuStreamBeginCapture_v2(void *stream, int)
{
    EmuStream *s = (EmuStream *)stream;

    ENTER("cuStreamBeginCapture");
    if (s->capturing)
        return EMU_CAPTURE_BROKEN;
    s->capturing = 1;
    s->broken    = 0;
    s->captured  = new Graph;
    return 0;
}

int cuStreamEndCapture(void *stream, void **graph)
{
    EmuStream *s = (EmuStream *)stream;
    Graph *g     = s->captured;
    int bad      = s->broken || emu_fault("cuStreamEndCapture");

    s->capturing = s->broken = 0;
    s->captured  = NULL;
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

int cuGraphLaunch(void *exec, void *stream)
{
    ENTER("cuGraphLaunch");
    return emu_submit((EmuStream *)stream, run_graph, &exec, sizeof(exec)), 0;
}

int cuGraphExecDestroy(void *exec)
{
    flush_all();
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
