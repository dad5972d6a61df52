/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fibres, and the driver library that runs kernels with them: libcuda's entries as
 * backend/cuda/driver.h lists them.
 */

#include "tests/emu/emu.h"
#include "tests/emu/stream.h"

#include <stdio.h>
#include <sys/mman.h>

#include <string>
#include <unordered_map>
#include <vector>

/* Save the registers a call keeps, go on where another stack was left. */
extern "C" void emu_switch(void **from, void *to);

#if defined(__x86_64__)
asm(".text\n"
    ".globl emu_switch\n"
    ".hidden emu_switch\n"
    "emu_switch:\n"
    "    pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
    "    ret\n");
enum { SAVED = 6 };
#elif defined(__aarch64__)
asm(".text\n"
    ".globl emu_switch\n"
    ".hidden emu_switch\n"
    "emu_switch:\n"
    "    sub sp, sp, #160\n"
    "    stp x30, x29, [sp]; stp x19, x20, [sp, #16]; stp x21, x22, [sp, #32]\n"
    "    stp x23, x24, [sp, #48]; stp x25, x26, [sp, #64]; stp x27, x28, [sp, #80]\n"
    "    stp d8, d9, [sp, #96]; stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]\n"
    "    mov x9, sp; str x9, [x0]; mov sp, x1\n"
    "    ldp x30, x29, [sp]; ldp x19, x20, [sp, #16]; ldp x21, x22, [sp, #32]\n"
    "    ldp x23, x24, [sp, #48]; ldp x25, x26, [sp, #64]; ldp x27, x28, [sp, #80]\n"
    "    ldp d8, d9, [sp, #96]; ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n"
    "    ret\n");
enum { SAVED = 20 };
#endif

enum { MAX_THREADS = 1024, STACK = 256 << 10, SLOT = 32, WARP_SIZE = 32,
       SHARED = 228 << 10, MAX_ARGS = 32, IN_CAPTURE = 901 };

uint3 emu_thread, emu_block, emu_block_size, emu_grid_size;

/* Memory of a block that the launch sizes; kernels call it by these two names. */
extern "C" {
alignas(64) unsigned char shared[SHARED];
alignas(64) unsigned char mem[SHARED];
}

static void fail(const char *what, int value)
{
    fprintf(stderr, "emulated GPU: %s (%d), block %u,%u,%u, thread %u\n", what, value,
            emu_block.x, emu_block.y, emu_block.z, emu_thread.x);
    abort();
}

typedef struct Copy {
    void *dst;
    const void *src;
    int there;
} Copy;

enum State { READY, AT_BLOCK, AT_WARP, DONE };

typedef struct Fiber {
    void *sp;      /* where it was left */
    char *stack;
    State state;
    int op;        /* of the warp */
    int ops;       /* made so far; tells which half of slot is in use */
    int brought;   /* to the barrier */
    std::vector<std::vector<Copy>> groups; /* committed copies, and the open group */
} Fiber;

static Fiber fiber[MAX_THREADS];
static unsigned char slot[MAX_THREADS][2][SLOT];
static void *scheduler;
static size_t shared_bytes;
static int threads, at_block, all_brought, barrier_value;
static const EmuKernel *running;
static void **running_args;

static void pause_fiber(State state)
{
    Fiber *f = &fiber[emu_thread.x];

    f->state = state;
    emu_switch(&f->sp, scheduler);
}

int emu_block_barrier(int value)
{
    at_block++;
    all_brought |= value;
    pause_fiber(AT_BLOCK);
    return barrier_value;
}

void emu_warp_barrier(int op, const void *bring, size_t size)
{
    Fiber *f = &fiber[emu_thread.x];

    f->op = op;
    f->ops++;
    memcpy(slot[emu_thread.x][f->ops % 2], bring, size);
    pause_fiber(AT_WARP);
}

const void *emu_lane(int lane)
{
    unsigned at = emu_thread.x / WARP_SIZE * WARP_SIZE + (unsigned)lane;

    if (at >= (unsigned)threads || fiber[at].ops < fiber[emu_thread.x].ops)
        fail("a lane that is not there", lane);
    return slot[at][fiber[emu_thread.x].ops % 2];
}

void emu_copy(void *dst, const void *src, int there)
{
    if ((uintptr_t)dst % 16 || (there && (uintptr_t)src % 16))
        fail("a copy is misaligned", (int)((uintptr_t)dst % 16));
    fiber[emu_thread.x].groups.back().push_back({ dst, src, there });
}

void emu_commit(void)
{
    fiber[emu_thread.x].groups.push_back({});
}

void emu_wait(int keep)
{
    auto &groups = fiber[emu_thread.x].groups;

    while ((int)groups.size() - 1 > keep) {
        for (const Copy &c : groups.front())
            c.there ? (void)memcpy(c.dst, c.src, 16) : (void)memset(c.dst, 0, 16);
        groups.erase(groups.begin());
    }
}

/* Tensor cores */

typedef struct Operands {
    uint32_t a[4], b[2];
} Operands;

static float half_of(uint32_t pair, int odd)
{
    return __uint_as_float(odd ? pair & 0xFFFF0000u : pair << 16);
}

static float a_at(int row, int k)
{
    const Operands *o = (const Operands *)emu_lane(row % 8 * 4 + k % 8 / 2);

    return half_of(o->a[row / 8 + k / 8 * 2], k % 2);
}

static float b_at(int col, int k)
{
    const Operands *o = (const Operands *)emu_lane(col * 4 + k % 8 / 2);

    return half_of(o->b[k / 8], k % 2);
}

void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    Operands o = { { a[0], a[1], a[2], a[3] }, { b0, b1 } };
    int lane = (int)emu_thread.x % WARP_SIZE;

    emu_warp_barrier(4, &o, sizeof(o));
    for (int e = 0; e < 4; e++) {
        double sum = c[e];
        for (int k = 0; k < 16; k++)
            sum += (double)a_at(lane / 4 + e / 2 * 8, k) *
                   (double)b_at(lane % 4 * 2 + e % 2, k);
        c[e] = (float)sum;
    }
}

static const uint16_t *matrix_row(int matrix, int row)
{
    return *(const uint16_t *const *)emu_lane(matrix * 8 + row);
}

void load_matrices(uint32_t r[4], const void *row)
{
    int lane = (int)emu_thread.x % WARP_SIZE;

    if ((uintptr_t)row % 16)
        fail("a matrix is misaligned", (int)((uintptr_t)row % 16));
    emu_warp_barrier(5, &row, sizeof(row));
    for (int m = 0; m < 4; m++)
        memcpy(&r[m], matrix_row(m, lane / 4) + lane % 4 * 2, 4);
}

void load_matrices_t(uint32_t r[4], const void *row)
{
    int lane = (int)emu_thread.x % WARP_SIZE, i = lane % 4 * 2;

    if ((uintptr_t)row % 16)
        fail("a matrix is misaligned", (int)((uintptr_t)row % 16));
    emu_warp_barrier(6, &row, sizeof(row));
    for (int m = 0; m < 4; m++)
        r[m] = matrix_row(m, i)[lane / 4] | (uint32_t)matrix_row(m, i + 1)[lane / 4] << 16;
}

/* Running a block */

static void fiber_main(void)
{
    running->run(running_args);
    emu_wait(0);
    pause_fiber(DONE);
}

/* A stack that emu_switch() can go to: it returns into fiber_main(). */
static void *first_frame(char *stack)
{
    void **top = (void **)(stack + STACK) - SAVED - 4;

    memset(top, 0, (SAVED + 4) * sizeof(*top));
#if defined(__x86_64__)
    top[SAVED] = (void *)fiber_main;
#else
    top[0] = (void *)fiber_main;
#endif
    return top;
}

static void start_fiber(int i)
{
    Fiber *f = &fiber[i];

    if (!f->stack)
        f->stack = (char *)mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    f->state = READY;
    f->ops   = 0;
    f->groups.resize(1);
    f->groups[0].clear();
    f->sp = first_frame(f->stack);
}

/* Let a warp go on whose lanes are all at one operation; 0 when it is not so. */
static int release_warp(int first)
{
    int end = first + WARP_SIZE < threads ? first + WARP_SIZE : threads, op = -1;

    for (int i = first; i < end; i++) {
        if (fiber[i].state == DONE)
            continue;
        if (fiber[i].state != AT_WARP)
            return 0;
        if (op >= 0 && fiber[i].op != op)
            fail("lanes of a warp are at different operations", fiber[i].op);
        op = fiber[i].op;
    }
    for (int i = first; i < end && op >= 0; i++)
        if (fiber[i].state == AT_WARP)
            fiber[i].state = READY;
    return op >= 0;
}

static int release_block(void)
{
    int waiting = 0;

    for (int i = 0; i < threads; i++) {
        if (fiber[i].state == AT_WARP || fiber[i].state == READY)
            return 0;
        waiting += fiber[i].state == AT_BLOCK;
    }
    barrier_value = all_brought;
    all_brought   = 0;
    for (int i = 0; i < threads; i++)
        if (fiber[i].state == AT_BLOCK)
            fiber[i].state = READY;
    return waiting > 0;
}

static int run_ready(void)
{
    int done = 0;

    for (int i = 0; i < threads; i++) {
        if (fiber[i].state == READY) {
            emu_thread = { (unsigned)i, 0, 0 };
            emu_switch(&scheduler, fiber[i].sp);
        }
        done += fiber[i].state == DONE;
    }
    return done;
}

static void run_block(void)
{
    memset(shared, 0xFF, shared_bytes);
    memset(mem, 0xFF, shared_bytes);
    for (int i = 0; i < threads; i++)
        start_fiber(i);
    while (run_ready() < threads) {
        int any = 0;
        for (int i = 0; i < threads; i += WARP_SIZE)
            any |= release_warp(i);
        if (!any && !release_block())
            fail("threads wait for each other", threads);
    }
}

/* The driver */

static std::unordered_map<std::string, EmuKernel *> &kernels(void)
{
    static std::unordered_map<std::string, EmuKernel *> all;

    return all;
}

void emu_register(const char *name, void (*run)(void **args), const size_t *sizes)
{
    kernels()[name] = new EmuKernel { name, run, sizes };
}

typedef unsigned long long Address;

/* The stream: work is done as it comes, or kept while a graph is captured. */

struct Kept {
    void (*run)(const void *data);
    std::vector<char> data;
};

struct Graph {
    std::vector<Kept> work;
};

static Graph *captured;

static void keep(EmuStream *, void (*run)(const void *data), const void *data, size_t size)
{
    captured->work.push_back({ run, std::vector<char>((const char *)data,
                                                      (const char *)data + size) });
}

static EmuStream the_stream = { 0, keep };

static void submit(void (*run)(const void *data), const void *data, size_t size)
{
    if (the_stream.capturing)
        keep(&the_stream, run, data, size);
    else
        run(data);
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
    running        = l->kernel;
    running_args   = args;
    threads        = (int)l->threads;
    shared_bytes   = l->shared;
    emu_block_size = { l->threads, 1, 1 };
    emu_grid_size  = { l->grid[0], l->grid[1], l->grid[2] };
    for (unsigned z = 0; z < l->grid[2]; z++)
        for (unsigned y = 0; y < l->grid[1]; y++)
            for (unsigned x = 0; x < l->grid[0]; x++) {
                emu_block = { x, y, z };
                run_block();
            }
}

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int) { return *device = 0, 0; }

int cuDeviceGetName(char *name, int size, int)
{
    snprintf(name, (size_t)size, "emulated");
    return 0;
}

int cuDeviceGetAttribute(int *v, int attr, int)
{
    *v = attr == 16 ? 16 : attr == 75 ? 9 : attr == 97 ? 227 << 10 : 0;
    return 0;
}

int cuDevicePrimaryCtxRetain(void **ctx, int) { return *ctx = &scheduler, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void *) { return 0; }

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    *free_bytes = *total = (size_t)4 << 30;
    return 0;
}

int cuMemAlloc_v2(Address *p, size_t bytes)
{
    void *m = NULL;

    if (posix_memalign(&m, 256, bytes))
        return 2;
    *p = (Address)(uintptr_t)m;
    return 0;
}

int cuMemFree_v2(Address p) { return free((void *)(uintptr_t)p), 0; }

int cuMemHostRegister_v2(void *, size_t, unsigned) { return 0; }
int cuMemHostUnregister(void *) { return 0; }

int cuMemsetD8Async(Address p, unsigned char byte, size_t bytes, void *)
{
    Set set = { (void *)(uintptr_t)p, byte, bytes };

    submit(run_set, &set, sizeof(set));
    return 0;
}

int cuMemcpyHtoDAsync_v2(Address dst, const void *src, size_t bytes, void *)
{
    memcpy((void *)(uintptr_t)dst, src, bytes);
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *dst, Address src, size_t bytes, void *)
{
    memcpy(dst, (void *)(uintptr_t)src, bytes);
    return 0;
}

int cuStreamCreate(void **stream, unsigned) { return *stream = &the_stream, 0; }
int cuStreamDestroy_v2(void *) { return 0; }
int cuStreamSynchronize(void *) { return the_stream.capturing ? IN_CAPTURE : 0; }
int cuModuleLoadData(void **module, const void *) { return *module = &scheduler, 0; }
int cuModuleUnload(void *) { return 0; }

int cuModuleGetFunction(void **f, void *, const char *name)
{
    auto found = kernels().find(name);

    *f = found == kernels().end() ? NULL : found->second;
    return *f ? 0 : 500;
}

int cuFuncSetAttribute(void *, int, int value) { return value > 227 << 10; }

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned, unsigned, unsigned bytes, void *, void **args, void **)
{
    Launch l = { (const EmuKernel *)f, { gx, gy, gz }, bx, bytes };
    std::vector<char> data(padded(sizeof(l)));

    if (bytes > SHARED || bx > MAX_THREADS || gy > 65535 || gz > 65535)
        return 1;
    memcpy(data.data(), &l, sizeof(l));
    for (int i = 0; l.kernel->sizes[i]; i++) {
        size_t at = data.size();
        data.resize(at + padded(l.kernel->sizes[i]));
        memcpy(data.data() + at, args[i], l.kernel->sizes[i]);
    }
    submit(run_launch, data.data(), data.size());
    return 0;
}

int cuStreamBeginCapture_v2(void *, int)
{
    if (the_stream.capturing)
        return IN_CAPTURE;
    captured = new Graph;
    return the_stream.capturing = 1, 0;
}

int cuStreamEndCapture(void *, void **graph)
{
    the_stream.capturing = 0;
    return *graph = captured, 0;
}

int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long)
{
    return *exec = new Graph(*(Graph *)graph), 0;
}

int cuGraphLaunch(void *exec, void *)
{
    for (const Kept &k : ((Graph *)exec)->work)
        k.run(k.data.data());
    return 0;
}

int cuGraphExecDestroy(void *exec) { return delete (Graph *)exec, 0; }
int cuGraphDestroy(void *graph) { return delete (Graph *)graph, 0; }
int cuGetErrorString(int, const char **text) { return *text = "emulated", 0; }

} /* extern "C" */
