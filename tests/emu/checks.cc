/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/emu/checks.h"

#include <string.h>

#include "tests/emu/memory.h"

EmuNow emu_now;
size_t emu_shared_bytes;

extern "C" {

/* Kernels call it by these two names. */
alignas(1024) unsigned char shared[EMU_SHARED];
extern unsigned char mem[EMU_SHARED] __attribute__((alias("shared")));

/* Shared memory of a size that the kernel says: emu.h puts it into this section. */
extern unsigned char __start_emu_shared[] __attribute__((visibility("hidden")));
extern unsigned char __stop_emu_shared[] __attribute__((visibility("hidden")));

/* The library itself, for constants. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

}

enum { WORD = 2, WARP_BITS = 22 };

/* When somebody last wrote and read each word of shared memory, and who: time of the
 * block, time of the warp, thread (within 32, 22 and 10 bits). */
typedef uint64_t Stamp;

typedef struct Words {
    Stamp wrote[EMU_SHARED / WORD], read[EMU_SHARED / WORD];
} Words;

static Words dynamic_words, fixed_words;

static size_t fixed_bytes(void)
{
    return (size_t)(__stop_emu_shared - __start_emu_shared);
}

void emu_shared_poison(void)
{
    memset(shared, 0xFF, emu_shared_bytes);
    memset(__start_emu_shared, 0xFF, fixed_bytes());
}

static Stamp stamp(void)
{
    return (Stamp)emu_now.block << 32 |
           (Stamp)(*emu_now.warp & ((1u << WARP_BITS) - 1)) << (32 - WARP_BITS) |
           (Stamp)emu_now.thread;
}

static int thread_of(Stamp s)
{
    return (int)(s & ((1u << (32 - WARP_BITS)) - 1));
}

/* Whether an access of another thread may come at the same time as one now. */
static int at_once(Stamp then, Stamp now)
{
    int other = thread_of(then), own = thread_of(now);

    return then >> 32 == now >> 32 && other != own &&
           (other / EMU_WARP != own / EMU_WARP ||
            then >> (32 - WARP_BITS) == now >> (32 - WARP_BITS));
}

/* What is wrong with an access; nothing, if it comes here for nothing. */
static void judge(Stamp wrote, Stamp read, Stamp now, size_t at, int write)
{
    if (!write && wrote >> 32 < emu_now.first)
        emu_fail("shared memory is read that nobody wrote, at byte", (long long)at);
    if (at_once(wrote, now))
        emu_fail(write ? "two threads write shared memory at once, at byte" :
                 "shared memory is read while it is written, at byte", (long long)at);
    if (write && at_once(read, now))
        emu_fail("shared memory is written while it is read, at byte", (long long)at);
}

/* A stamp of this time stays when it is of a thread of another warp than the one that
 * reads: it says more to the next writer. */
static Stamp later(Stamp read, Stamp now)
{
    return read >> 32 == now >> 32 &&
           thread_of(read) / EMU_WARP != thread_of(now) / EMU_WARP ? read : now;
}

/* Words of [at, at + n) of a part of shared memory. */
template <int write>
static inline void touch(Words *words, size_t at, size_t n, size_t size)
{
    Stamp now = stamp(), begun = (Stamp)emu_now.first << 32, this_time = now >> 32 << 32;

    if (at + n > size)
        emu_fail("access behind shared memory, at byte", (long long)at);
    for (size_t w = at / WORD; w <= (at + n - 1) / WORD; w++) {
        Stamp *wrote = &words->wrote[w], *read = &words->read[w];
        if (*wrote >= this_time || (write ? *read >= this_time : *wrote < begun))
            judge(*wrote, *read, now, w * WORD, write);
        if (write)
            *wrote = now;
        else
            *read = later(*read, now);
    }
}

static void outside(const char *what, size_t n)
{
    emu_fail(what, (long long)n);
}

static void check_memory(const unsigned char *c, size_t n, int write)
{
    const size_t granule = EMU_GRANULE;

    for (size_t i = 0; i < n; i += granule)
        if (!emu_memory_there_at(c + i, n - i < granule ? n - i : granule))
            outside(write ? "write outside of memory of the device, bytes" :
                    "read outside of memory of the device, bytes", n);
}

template <int write> static inline void check(const void *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;

    if ((const char *)p >= emu_now.stack && (const char *)p < emu_now.stack_end)
        return;
    if (emu_memory_spans(p))
        check_memory(c, n, write);
    else if (c >= shared && c < shared + EMU_SHARED)
        touch<write>(&dynamic_words, (size_t)(c - shared), n, emu_shared_bytes);
    else if (c >= __start_emu_shared && c < __stop_emu_shared)
        touch<write>(&fixed_words, (size_t)(c - __start_emu_shared), n, fixed_bytes());
    else if (write || (const char *)p < __ehdr_start || (const char *)p >= _end)
        outside(write ? "write to memory that is not the device's, bytes" :
                "read from memory that is not the device's, bytes", n);
}

void emu_read(const void *p, size_t n)
{
    check<0>(p, n);
}

void emu_write(const void *p, size_t n)
{
    check<1>(p, n);
}

/* What the compiler calls */

#define ACCESS(n)                                                                   \
    void __asan_load##n##_noabort(const void *p);                                   \
    void __asan_store##n##_noabort(const void *p);                                  \
    void __asan_load##n##_noabort(const void *p) { check<0>(p, n); }                \
    void __asan_store##n##_noabort(const void *p) { check<1>(p, n); }

extern "C" {

ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)

void __asan_loadN_noabort(const void *p, size_t n);
void __asan_storeN_noabort(const void *p, size_t n);
void __asan_loadN_noabort(const void *p, size_t n) { check<0>(p, n); }
void __asan_storeN_noabort(const void *p, size_t n) { check<1>(p, n); }

#define NOTHING(name)                                                               \
    void name(void);                                                                \
    void name(void) {}

NOTHING(__asan_handle_no_return)
NOTHING(__asan_before_dynamic_init)
NOTHING(__asan_after_dynamic_init)

void __ubsan_handle_type_mismatch_v1(const void *where, const void *p);
void __ubsan_handle_type_mismatch_v1_abort(const void *where, const void *p);

void __ubsan_handle_type_mismatch_v1(const void *, const void *p)
{
    emu_fail("an access is misaligned, address modulo 16 is", (long long)((uintptr_t)p % 16));
}

void __ubsan_handle_type_mismatch_v1_abort(const void *where, const void *p)
{
    __ubsan_handle_type_mismatch_v1(where, p);
}

} /* extern "C" */
