/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The driver library: libcuda's entries as backend/cuda/driver.h lists them.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <deque>
#include <mutex>
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
enum { MAX_GRID = 65535, MAX_BLOCK_BYTES = 227 << 10, MAX_DEVICES = 64 };

/* What the driver gives out; a handle is its address. */
struct Context { int retained, device; };
struct Module { int loaded; };
struct Event { double time; EmuStream *stream; long at; };

static Context primary[MAX_DEVICES];
static thread_local Context *current;
static thread_local std::vector<Context *> below; /* it, on the thread's stack */
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

/* One thread at a time: kernels and streams of all devices are run by the thread that calls. */
static std::recursive_mutex turns;

typedef std::lock_guard<std::recursive_mutex> Turn;

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

static EmuStream default_stream;

static EmuStream *stream_of(void *handle)
{
    return handle ? (EmuStream *)handle : &default_stream;
}

void emu_submit(EmuStream *s, void (*run)(const void *data), const void *data, size_t size)
{
    Turn turn(turns);
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
    Turn turn(turns);
    if (emu_setting("EMU_DEVICES", 1) == 0)
        return EMU_NO_DEVICE;
    return emu_fault("cuInit") ? EMU_FAULT : 0;
}

int cuDriverGetVersion(int *version)
{
    Turn turn(turns);
    return *version = (int)emu_setting("EMU_DRIVER", 13000), 0;
}

int cuDeviceGetCount(int *count)
{
    Turn turn(turns);
    return *count = (int)emu_setting("EMU_DEVICES", 1), 0;
}

int cuDeviceGet(int *device, int ordinal)
{
    Turn turn(turns);
    if (ordinal >= emu_setting("EMU_DEVICES", 1))
        return EMU_INVALID_DEVICE;
    return *device = ordinal, emu_fault("cuDeviceGet") ? EMU_FAULT : 0;
}

int cuDeviceGetName(char *name, int size, int)
{
    Turn turn(turns);
    snprintf(name, (size_t)size, "emulated");
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int)
{
    Turn turn(turns);
    return *bytes = (size_t)emu_setting("EMU_MEMORY", (long long)4 << 30), 0;
}

int cuDeviceGetAttribute(int *v, int attr, int)
{
    Turn turn(turns);
    int arch = (int)emu_setting("EMU_ARCH", 90);

    *v = attr == 14 ? 32 : attr == 16 ? 16 : attr == 75 ? arch / 10 : attr == 76 ? arch % 10 :
         attr == 97 ? MAX_BLOCK_BYTES : 0;
    return 0;
}

/* Context */

int cuDevicePrimaryCtxRetain(void **ctx, int device)
{
    Turn turn(turns);
    if (emu_fault("cuDevicePrimaryCtxRetain"))
        return EMU_FAULT;
    primary[device].retained++;
    primary[device].device = device;
    emu_made(EMU_CONTEXT);
    return *ctx = &primary[device], 0;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    Turn turn(turns);
    primary[device].retained--;
    return emu_gone(EMU_CONTEXT), 0;
}

int cuCtxSetCurrent(void *ctx) { return current = (Context *)ctx, 0; }

int cuCtxGetDevice(int *device)
{
    Turn turn(turns);
    ENTER("cuCtxGetDevice");
    return *device = current->device, 0;
}

/* Memory */

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    Turn turn(turns);
    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    cuDeviceTotalMem_v2(total, 0);
    *free_bytes = *total > emu_memory_used() ? *total - emu_memory_used() : 0;
    return 0;
}

int cuMemAlloc_v2(Address *p, size_t bytes)
{
    Turn turn(turns);
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
    Turn turn(turns);
    if (!current || !current->retained)
        return EMU_NO_CONTEXT;
    flush_all();
    emu_memory_free((void *)(uintptr_t)p);
    return emu_gone(EMU_MEMORY), 0;
}

int cuMemHostRegister_v2(void *p, size_t, unsigned)
{
    Turn turn(turns);
    ENTER("cuMemHostRegister");
    if (!pinned.insert(p).second)
        return EMU_PINNED_BEFORE;
    return emu_made(EMU_PINNED), 0;
}

int cuMemHostUnregister(void *p)
{
    Turn turn(turns);
    if (!pinned.erase(p))
        return EMU_NOT_PINNED;
    return emu_gone(EMU_PINNED), 0;
}

int cuMemsetD8Async(Address p, unsigned char byte, size_t bytes, void *stream)
{
    Turn turn(turns);
    Set set = { (void *)(uintptr_t)p, byte, bytes };

    ENTER("cuMemsetD8Async");
    if (!emu_memory_has(set.at, bytes))
        return EMU_INVALID;
    return emu_submit(stream_of(stream), run_set, &set, sizeof(set)), 0;
}

int cuMemcpyHtoDAsync_v2(Address dst, const void *src, size_t bytes, void *stream)
{
    Turn turn(turns);
    void *d = (void *)(uintptr_t)dst;

    ENTER("cuMemcpyHtoDAsync");
    return copy(stream_of(stream), d, src, bytes, d);
}

int cuMemcpyDtoHAsync_v2(void *dst, Address src, size_t bytes, void *stream)
{
    Turn turn(turns);
    const void *s = (const void *)(uintptr_t)src;

    ENTER("cuMemcpyDtoHAsync");
    return copy(stream_of(stream), dst, s, bytes, s);
}

/* Streams and events */

int cuStreamCreate(void **stream, unsigned)
{
    Turn turn(turns);
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
    Turn turn(turns);
    flush_all();
    streams.erase((EmuStream *)stream);
    delete (EmuStream *)stream;
    return emu_gone(EMU_STREAM), 0;
}

int cuStreamSynchronize(void *stream)
{
    Turn turn(turns);
    EmuStream *s = stream_of(stream);

    ENTER("cuStreamSynchronize");
    flush(s, s->submitted);
    return s->capturing ? spoil(s) : 0;
}

int cuStreamQuery(void *stream)
{
    return cuStreamSynchronize(stream);
}

int cuEventCreate(void **event, unsigned)
{
    Turn turn(turns);
    ENTER("cuEventCreate");
    emu_made(EMU_EVENT);
    return *event = new Event {}, 0;
}

int cuEventDestroy_v2(void *event)
{
    Turn turn(turns);
    flush_all();
    delete (Event *)event;
    return emu_gone(EMU_EVENT), 0;
}

int cuEventRecord(void *event, void *stream)
{
    Turn turn(turns);
    EmuStream *s = stream_of(stream);
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
    Turn turn(turns);
    EmuStream *s = stream_of(stream);

    ENTER("cuStreamWaitEvent");
    if (s->capturing)
        return spoil(s);
    if (((Event *)event)->stream)
        emu_submit(s, run_wait, event, sizeof(Event));
    return 0;
}

int cuEventSynchronize(void *event)
{
    const Event *e = (const Event *)event;

    ENTER("cuEventSynchronize");
    if (e->stream)
        flush(e->stream, e->at);
    return 0;
}

int cuEventElapsedTime(float *ms, void *from, void *to)
{
    Turn turn(turns);
    ENTER("cuEventElapsedTime");
    flush_all();
    *ms = (float)(1e3 * (((Event *)to)->time - ((Event *)from)->time));
    return 0;
}

/* Kernels */

int cuModuleLoadData(void **module, const void *)
{
    Turn turn(turns);
    ENTER("cuModuleLoadData");
    if (emu_setting("EMU_NO_IMAGE", 0))
        return EMU_NO_IMAGE;
    emu_made(EMU_MODULE);
    return *module = new Module { 1 }, 0;
}

int cuModuleUnload(void *module)
{
    Turn turn(turns);
    delete (Module *)module;
    return emu_gone(EMU_MODULE), 0;
}

int cuModuleGetFunction(void **f, void *, const char *name)
{
    Turn turn(turns);
    auto found = kernels().find(name);

    ENTER("cuModuleGetFunction");
    *f = found == kernels().end() ? NULL : found->second;
    return *f ? 0 : EMU_NOT_FOUND;
}

int cuFuncSetAttribute(void *, int, int value)
{
    Turn turn(turns);
    ENTER("cuFuncSetAttribute");
    return value > MAX_BLOCK_BYTES ? EMU_INVALID : 0;
}

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned, unsigned, unsigned bytes, void *stream, void **args, void **)
{
    Turn turn(turns);
    Launch l = { (const EmuKernel *)f, { gx, gy, gz }, bx, bytes };
    std::vector<char> data(padded(sizeof(l)));
    EmuStream *s = stream_of(stream);

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

/* Maps of bf16 tensors of three or four dimensions, for boxes of rows of 128 bytes that fit
 * into shared memory: all that the kernels take. */
int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *data,
                           const uint64_t *dim, const uint64_t *stride,
                           const uint32_t *box, const uint32_t *step, int interleave,
                           int swizzle, int, int fill)
{
    Turn turn(turns);
    const int size = type ? 2 : 1; /* bf16, bytes */
    EmuTileMap m = { EMU_TILE_MAP, data, (int)rank, size, { 1, 1, 1, 1 }, {}, { 1, 1, 1, 1 } };

    ENTER("cuTensorMapEncodeTiled");
    if ((uintptr_t)map % 64 || (uintptr_t)data % 16 || (type && type != 9) || rank < 3 ||
        rank > 4 || interleave || swizzle != 3 || fill || box[0] * (uint32_t)size != 128)
        return EMU_INVALID;
    for (unsigned i = 0; i < rank; i++) {
        if (!dim[i] || dim[i] >> 32 || !box[i] || box[i] > 256 || step[i] != 1)
            return EMU_INVALID;
        m.dim[i] = (int64_t)dim[i], m.box[i] = (int)box[i];
    }
    for (unsigned i = 0; i < rank - 1; i++) {
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
    Turn turn(turns);
    EmuStream *s = stream_of(stream);

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
    Turn turn(turns);
    EmuStream *s = stream_of(stream);
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
    Turn turn(turns);
    ENTER("cuGraphInstantiate");
    emu_made(EMU_EXEC);
    return *exec = new Graph(*(Graph *)graph), 0;
}

int cuGraphLaunch(void *exec, void *stream)
{
    Turn turn(turns);
    ENTER("cuGraphLaunch");
    return emu_submit(stream_of(stream), run_graph, &exec, sizeof(exec)), 0;
}

int cuGraphExecDestroy(void *exec)
{
    Turn turn(turns);
    flush_all();
    delete (Graph *)exec;
    return emu_gone(EMU_EXEC), 0;
}

int cuGraphDestroy(void *graph)
{
    Turn turn(turns);
    delete (Graph *)graph;
    return emu_gone(EMU_GRAPH), 0;
}

/* What FFmpeg's CUDA device takes besides */

int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
int cuDevicePrimaryCtxSetFlags(int, unsigned) { return 0; }

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
    Turn turn(turns);
    *flags  = 4; /* wait without spinning, which FFmpeg asks for */
    *active = primary[device].retained > 0;
    return 0;
}

int cuCtxPushCurrent_v2(void *ctx)
{
    Turn turn(turns);
    below.push_back(current);
    return current = (Context *)ctx, 0;
}

int cuCtxPopCurrent_v2(void **ctx)
{
    Turn turn(turns);
    if (below.empty())
        return EMU_NO_CONTEXT;
    *ctx    = current;
    current = below.back();
    return below.pop_back(), 0;
}

int cuCtxCreate_v2(void **ctx, unsigned, int device)
{
    Turn turn(turns);
    emu_made(EMU_CONTEXT);
    return *ctx = new Context { 1, device }, cuCtxPushCurrent_v2(*ctx);
}

int cuCtxDestroy_v2(void *ctx)
{
    Turn turn(turns);
    delete (Context *)ctx;
    return emu_gone(EMU_CONTEXT), 0;
}

/* As the driver's own header has it. */
struct Side {
    size_t x, y;
    int type; /* 1: memory of the host, 2: of the device */
    const void *host;
    Address device;
    void *array;
    size_t pitch;

    char *row(size_t i) const
    {
        return (char *)(uintptr_t)(type == 1 ? (Address)(uintptr_t)host : device) +
               (y + i) * pitch + x;
    }
};

struct Copy2 {
    Side from, to;
    size_t bytes, rows;
};

static int copy_row(EmuStream *s, const Copy2 *c, size_t i)
{
    const Side *there = c->from.type == 2 ? &c->from : &c->to;

    if (c->from.type == 2 && c->to.type == 2 && !emu_memory_has(c->to.row(i), c->bytes))
        return EMU_INVALID;
    return copy(s, c->to.row(i), c->from.row(i), c->bytes, there->row(i));
}

int cuMemcpy2DAsync_v2(const Copy2 *c, void *stream)
{
    Turn turn(turns);
    int ret = 0;

    ENTER("cuMemcpy2DAsync");
    for (size_t i = 0; i < c->rows && !ret; i++)
        ret = copy_row(stream_of(stream), c, i);
    return ret;
}

int cuGetErrorName(int, const char **text) { return *text = "EMULATED", 0; }

/* Looked for when FFmpeg opens the library, not called here. */
#define ABSENT(entry) int entry(void) { return EMU_NOT_FOUND; }
ABSENT(cuDeviceComputeCapability) ABSENT(cuCtxSetLimit) ABSENT(cuMemAllocPitch_v2)
ABSENT(cuMemAllocManaged) ABSENT(cuMemcpy) ABSENT(cuMemcpyAsync) ABSENT(cuMemcpy2D_v2)
ABSENT(cuMemcpyHtoD_v2) ABSENT(cuMemcpyDtoH_v2) ABSENT(cuMemcpyDtoD_v2)
ABSENT(cuMemcpyDtoDAsync_v2) ABSENT(cuDevicePrimaryCtxReset)
ABSENT(cuStreamAddCallback) ABSENT(cuCtxGetCurrent)
ABSENT(cuEventQuery) ABSENT(cuLinkCreate) ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete) ABSENT(cuLinkDestroy) ABSENT(cuModuleGetGlobal)
ABSENT(cuTexObjectCreate) ABSENT(cuTexObjectDestroy) ABSENT(cuGLGetDevices_v2)
ABSENT(cuGraphicsGLRegisterImage) ABSENT(cuGraphicsUnregisterResource)
ABSENT(cuGraphicsMapResources) ABSENT(cuGraphicsUnmapResources)
ABSENT(cuGraphicsSubResourceGetMappedArray) ABSENT(cuGraphicsResourceGetMappedPointer_v2)
ABSENT(cuArrayCreate_v2) ABSENT(cuArray3DCreate_v2) ABSENT(cuArrayDestroy)
ABSENT(cuMemsetD32Async) ABSENT(cuDeviceGetUuid) ABSENT(cuEGLStreamProducerConnect)
ABSENT(cuEGLStreamProducerDisconnect) ABSENT(cuEGLStreamConsumerDisconnect)
ABSENT(cuEGLStreamProducerPresentFrame) ABSENT(cuEGLStreamProducerReturnFrame)

int cuGetErrorString(int result, const char **text)
{
    Turn turn(turns);
    *text = result == EMU_NO_MEMORY ? "out of memory" :
            result == EMU_NO_CONTEXT ? "invalid device context" :
            result == EMU_FAULT ? "a fault that a test asked for" : "emulated";
    return 0;
}

} /* extern "C" */
