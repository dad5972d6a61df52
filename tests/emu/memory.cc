/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Memory of the emulated device: a range of addresses, and for each 16 bytes of it how
 * many of them are there.
 */

#include "tests/emu/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <deque>
#include <map>

enum { PAGE = 4096, POISON = 0xFF, BIG = 16 << 20 };

unsigned char *emu_memory, *emu_memory_there;

/* Memory that was given back waits so long, by its size, before it is used again: what
 * still goes there is found. Big pieces don't wait. */
enum { WAITING = 64 };

static size_t next_free, used;
static std::map<void *, size_t> pieces;
static std::map<size_t, std::deque<unsigned char *>> given_back;
static int opened;

static unsigned char *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        perror("emulated GPU: no address space");
        abort();
    }
    return (unsigned char *)p;
}

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Slow where there are many pieces, hence not always done. */
static int apart(void)
{
    static const int asked = (int)emu_setting("EMU_APART", 0);

    return asked;
}

static void protect(void)
{
    for (const auto &piece : pieces)
        mprotect(piece.first, pages(piece.second),
                 opened ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/* 16 for each whole granule of the piece, what is left for the last. */
static void mark(size_t at, size_t bytes, int there)
{
    unsigned char *m = emu_memory_there + at / EMU_GRANULE;

    memset(m, there ? EMU_GRANULE : 0, (bytes + EMU_GRANULE - 1) / EMU_GRANULE);
    if (there && bytes % EMU_GRANULE)
        m[bytes / EMU_GRANULE] = (unsigned char)(bytes % EMU_GRANULE);
}

static unsigned char *take(size_t room)
{
    auto &old = given_back[room];
    unsigned char *p = emu_memory + next_free;

    if (old.size() > (room < BIG ? WAITING : 0)) {
        p = old.front();
        old.pop_front();
        return p;
    }
    next_free += room;
    return next_free <= EMU_MEMORY_SIZE ? p : NULL;
}

void *emu_memory_new(size_t bytes)
{
    unsigned char *p;

    if (!emu_memory) {
        emu_memory       = reserve(EMU_MEMORY_SIZE);
        emu_memory_there = reserve(EMU_MEMORY_SIZE / EMU_GRANULE);
    }
    if (used + bytes > (size_t)emu_setting("EMU_MEMORY", (long long)4 << 30) ||
        !(p = take(pages(bytes) + PAGE)))
        return NULL;
    emu_memory_open();
    memset(p, POISON, bytes < BIG ? bytes : (size_t)BIG);
    emu_memory_close();
    mark((size_t)(p - emu_memory), bytes, 1);
    used += bytes;
    pieces[p] = bytes;
    if (apart())
        protect();
    return p;
}

void emu_memory_free(void *p)
{
    auto piece = pieces.find(p);
    size_t bytes;

    if (piece == pieces.end())
        emu_fail("memory is freed that is none", (long long)(intptr_t)p);
    bytes = piece->second;
    pieces.erase(piece);
    mprotect(p, apart() ? pages(bytes) : 0, PROT_READ | PROT_WRITE);
    mark((size_t)((unsigned char *)p - emu_memory), bytes, 0);
    used -= bytes;
    given_back[pages(bytes) + PAGE].push_back((unsigned char *)p);
}

size_t emu_memory_used(void)
{
    return used;
}

int emu_memory_has(const void *p, size_t bytes)
{
    auto piece = pieces.upper_bound((void *)(uintptr_t)p);
    size_t at;

    if (piece == pieces.begin())
        return 0;
    piece--;
    at = (size_t)((const char *)p - (const char *)piece->first);
    return at <= piece->second && bytes <= piece->second - at;
}

void emu_memory_open(void)
{
    if (!opened++ && apart())
        protect();
}

void emu_memory_close(void)
{
    if (!--opened && apart())
        protect();
}
