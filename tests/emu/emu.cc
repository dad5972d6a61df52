/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fibres for the threads of a block, what they do together, and blocks one by one.
 */

#include "tests/emu/emu.h"

#include <stdio.h>
#include <sys/mman.h>

#include <vector>

#include "tests/emu/checks.h"
#include "tests/emu/launch.h"
#include "tests/emu/standin.h"

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

enum { STACK = 256 << 10, SLOT = 32 };

uint3 emu_thread, emu_block, emu_block_size, emu_grid_size;

static const EmuKernel *running;

void emu_fail(const char *what, long long value)
{
    fprintf(stderr, "emulated GPU: %s (%lld), %s, block %u,%u,%u, thread %u\n", what,
            value, running ? running->name : "no kernel", emu_block.x, emu_block.y,
            emu_block.z, emu_thread.x);
    abort();
}

typedef struct Copy {
    void *dst;
    const void *src;
    int there;
} Copy;

enum State { READY, AT_BLOCK, AT_WARP, AT_EVENT, DONE };

typedef struct Fiber {
    void *sp;      /* where it was left */
    char *stack;
    State state;
    int op;        /* of the warp */
    int ops;       /* made so far; tells which half of slot is in use */
    int line;      /* of the source, of the block's barrier it waits at */
    int (*ready)(const void *of); /* what it waits for AT_EVENT */
    const void *of;
    std::vector<std::vector<Copy>> groups; /* committed copies, and the open group */
} Fiber;

static Fiber fiber[EMU_MAX_THREADS];
static unsigned char slot[EMU_MAX_THREADS][2][SLOT];
static uint32_t warp_time[EMU_MAX_THREADS / EMU_WARP];
static void *scheduler;
static int threads, all_brought, barrier_value;
static void **running_args;

static void pause_fiber(State state)
{
    Fiber *f = &fiber[emu_thread.x];

    f->state = state;
    emu_switch(&f->sp, scheduler);
}

int emu_block_barrier(int value, int line)
{
    fiber[emu_thread.x].line = line;
    all_brought |= value;
    pause_fiber(AT_BLOCK);
    return barrier_value;
}

void emu_wait_until(int (*ready)(const void *of), const void *of)
{
    Fiber *f = &fiber[emu_thread.x];

    f->ready = ready;
    f->of    = of;
    if (!ready(of))
        pause_fiber(AT_EVENT);
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
    unsigned at = emu_thread.x / EMU_WARP * EMU_WARP + (unsigned)lane;

    if (at >= (unsigned)threads || fiber[at].ops < fiber[emu_thread.x].ops)
        emu_fail("a lane that is not there", lane);
    return slot[at][fiber[emu_thread.x].ops % 2];
}

void emu_copy(void *dst, const void *src, int there)
{
    if ((uintptr_t)dst % 16 || (there && (uintptr_t)src % 16))
        emu_fail("a copy is misaligned", (long long)((uintptr_t)dst % 16));
    if (there)
        emu_read(src, 16);
    emu_write(dst, 16);
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
        for (const Copy &c : groups.front()) {
            emu_write(c.dst, 16);
            c.there ? (void)memcpy(c.dst, c.src, 16) : (void)memset(c.dst, 0, 16);
        }
        groups.erase(groups.begin());
    }
}

/* Tensor cores */

typedef struct Operands {
    uint32_t a[4], b[2];
} Operands;

typedef struct Products {
    double sum[16][8];
    int ops; /* of the warp's lanes, when they were made */
} Products;

static Products products[EMU_MAX_THREADS / EMU_WARP];

static void unpack(uint32_t pair, double *lo, double *hi)
{
    *lo = __uint_as_float(pair << 16);
    *hi = __uint_as_float(pair & 0xFFFF0000u);
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static void multiply(double sum[16][8], const double a[16][16], const double b[16][8])
{
    memset(sum, 0, 16 * 8 * sizeof(double));
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int col = 0; col < 8; col++)
                sum[row][col] += a[row][k] * b[k][col];
}

/* The product of a warp, made by the lane that comes first. */
static void make_products(Products *p)
{
    double a[16][16], b[16][8];

    for (int lane = 0; lane < EMU_WARP; lane++) {
        const Operands *o = (const Operands *)emu_lane(lane);
        int g = lane / 4, t = lane % 4 * 2;
        for (int i = 0; i < 4; i++)
            unpack(o->a[i], &a[g + i % 2 * 8][t + i / 2 * 8],
                   &a[g + i % 2 * 8][t + i / 2 * 8 + 1]);
        for (int i = 0; i < 2; i++)
            unpack(o->b[i], &b[t + i * 8][g], &b[t + i * 8 + 1][g]);
    }
    multiply(p->sum, a, b);
    p->ops = fiber[emu_thread.x].ops;
}

void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    Operands o  = { { a[0], a[1], a[2], a[3] }, { b0, b1 } };
    Products *p = &products[emu_thread.x / EMU_WARP];
    int lane = (int)emu_thread.x % EMU_WARP;

    emu_warp_barrier(4, &o, sizeof(o));
    if (p->ops != fiber[emu_thread.x].ops)
        make_products(p);
    for (int e = 0; e < 4; e++)
        c[e] = (float)(c[e] + p->sum[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2]);
}

static const uint16_t *matrix_row(int matrix, int row)
{
    return *(const uint16_t *const *)emu_lane(matrix * 8 + row);
}

void load_matrices(uint32_t r[4], const void *row)
{
    int lane = (int)emu_thread.x % EMU_WARP;

    if ((uintptr_t)row % 16)
        emu_fail("a matrix is misaligned", (long long)((uintptr_t)row % 16));
    emu_read(row, 16);
    emu_warp_barrier(5, &row, sizeof(row));
    for (int m = 0; m < 4; m++)
        memcpy(&r[m], matrix_row(m, lane / 4) + lane % 4 * 2, 4);
}

void load_matrices_t(uint32_t r[4], const void *row)
{
    int lane = (int)emu_thread.x % EMU_WARP, i = lane % 4 * 2;

    if ((uintptr_t)row % 16)
        emu_fail("a matrix is misaligned", (long long)((uintptr_t)row % 16));
    emu_read(row, 16);
    emu_warp_barrier(6, &row, sizeof(row));
    for (int m = 0; m < 4; m++)
        r[m] = matrix_row(m, i)[lane / 4] | (uint32_t)matrix_row(m, i + 1)[lane / 4] << 16;
}

/* Running a block */

static void fiber_main(void)
{
    running->run(running_args);
    emu_wait(0);
    emu_hopper_leave();
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
    int end = first + EMU_WARP < threads ? first + EMU_WARP : threads, op = -1;

    for (int i = first; i < end; i++) {
        if (fiber[i].state == DONE)
            continue;
        if (fiber[i].state != AT_WARP)
            return 0;
        if (op >= 0 && fiber[i].op != op)
            emu_fail("lanes of a warp are at different operations", fiber[i].op);
        op = fiber[i].op;
    }
    for (int i = first; i < end && op >= 0; i++)
        if (fiber[i].state == AT_WARP)
            fiber[i].state = READY;
    warp_time[first / EMU_WARP]++;
    return op >= 0;
}

/* Let those go on for whom what they wait for has come. */
static int release_events(void)
{
    int any = 0;

    for (int i = 0; i < threads; i++)
        if (fiber[i].state == AT_EVENT && fiber[i].ready(fiber[i].of)) {
            fiber[i].state = READY;
            any = 1;
        }
    return any;
}

static int release_block(void)
{
    int waiting = 0, line = 0;

    for (int i = 0; i < threads; i++) {
        if (fiber[i].state == AT_WARP || fiber[i].state == AT_EVENT ||
            fiber[i].state == READY)
            return 0;
        if (fiber[i].state != AT_BLOCK)
            continue;
        if (waiting++ && fiber[i].line != line)
            emu_fail("threads of a block are at different barriers, one in line",
                     fiber[i].line);
        line = fiber[i].line;
    }
    emu_now.block++;
    emu_hopper_meet();
    barrier_value = all_brought;
    all_brought   = 0;
    for (int i = 0; i < threads; i++)
        if (fiber[i].state == AT_BLOCK)
            fiber[i].state = READY;
    return waiting > 0;
}

static void resume(int i)
{
    emu_thread        = { (unsigned)i, 0, 0 };
    emu_now.thread    = i;
    emu_now.stack     = fiber[i].stack;
    emu_now.stack_end = fiber[i].stack + STACK;
    emu_now.warp      = &warp_time[i / EMU_WARP];
    emu_switch(&scheduler, fiber[i].sp);
}

static int run_ready(void)
{
    int done = 0;

    for (int i = 0; i < threads; i++) {
        if (fiber[i].state == READY) {
            resume(i);
        }
        done += fiber[i].state == DONE;
    }
    return done;
}

static void run_block(void)
{
    emu_now.first = ++emu_now.block;
    emu_shared_poison();
    emu_hopper_begin(threads);
    for (int i = 0; i < threads; i += EMU_WARP)
        products[i / EMU_WARP].ops = 0;
    for (int i = 0; i < threads; i++)
        start_fiber(i);
    while (run_ready() < threads) {
        int any = release_events();
        for (int i = 0; i < threads; i += EMU_WARP)
            any |= release_warp(i);
        if (!any && !release_block())
            emu_fail("threads wait for each other", threads);
    }
    emu_hopper_end();
}

void emu_launch(const EmuKernel *kernel, const unsigned grid[3], unsigned block,
                size_t bytes, void **args)
{
    running          = kernel;
    running_args     = args;
    threads          = (int)block;
    emu_shared_bytes = bytes;
    emu_block_size   = { block, 1, 1 };
    emu_grid_size    = { grid[0], grid[1], grid[2] };
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                emu_block = { x, y, z };
                run_block();
            }
    running = NULL;
}
