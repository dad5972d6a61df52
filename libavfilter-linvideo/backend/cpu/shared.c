/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cpu/shared.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Bytes of a rank's part, and of the line in front of all parts. */
enum { PART = 1 << 20, HEAD = 4096 };

/* Waits of 50 us between two looks at whether the others live; looks after which a rank that
 * seems gone is. */
enum { SPINS = 2000, WAITS = 4000, LOOKS = 5 };

typedef struct Head {
    atomic_uint arrived, round;
} Head;

static size_t bytes_of(int size)
{
    return HEAD + (size_t)size * PART;
}

int lv_shared_create(const char *path, int size)
{
    int fd, ret;

    unlink(path);
    if ((fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
        return -1;
    ret = ftruncate(fd, (off_t)bytes_of(size));
    close(fd);
    return ret;
}

int lv_shared_open(LvShared *s, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    void *map;

    if (fd < 0)
        return -1;
    s->bytes = bytes_of(s->size);
    map      = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    s->map = map == MAP_FAILED ? NULL : map;
    return s->map ? 0 : -1;
}

void lv_shared_close(LvShared *s)
{
    if (s->map)
        munmap(s->map, s->bytes);
    s->map = NULL;
}

/* Wait until the round is another. */
static int wait_for(LvShared *s, unsigned round)
{
    Head *h  = s->map;
    int gone = 0;

    for (int i = 0; atomic_load(&h->round) == round; i++) {
        if (i >= SPINS)
            nanosleep(&(struct timespec) { .tv_nsec = 50 * 1000 }, NULL);
        if (i % WAITS != WAITS - 1 || !s->gone(s->opaque))
            continue;
        if (++gone == LOOKS)
            return -1;
    }
    return 0;
}

/* All ranks have come here. */
static int meet(LvShared *s)
{
    Head *h = s->map;
    unsigned round = atomic_load(&h->round);

    if (atomic_fetch_add(&h->arrived, 1) + 1 < (unsigned)s->size)
        return wait_for(s, round);
    atomic_store(&h->arrived, 0);
    atomic_store(&h->round, round + 1);
    return 0;
}

#define ADD_PARTS(Type)                                                             \
    do {                                                                            \
        for (size_t i = 0; i < n; i++) {                                            \
            Type sum = ((const Type *)parts)[i];                                    \
            for (int k = 1; k < s->size; k++)                                       \
                sum += ((const Type *)(parts + (size_t)k * PART))[i];               \
            ((Type *)to)[i] = sum;                                                  \
        }                                                                           \
    } while (0)

/* The first n elements of all parts. */
static void add_parts(const LvShared *s, void *to, size_t n, int wide)
{
    const char *parts = (const char *)s->map + HEAD;

    if (wide)
        ADD_PARTS(double);
    else
        ADD_PARTS(float);
}

int lv_shared_sum(LvShared *s, void *data, size_t n, int wide)
{
    size_t size = wide ? sizeof(double) : sizeof(float), most = PART / size;
    char *own   = (char *)s->map + HEAD + (size_t)s->rank * PART, *at = data;

    for (size_t i = 0; i < n; i += most, at += PART) {
        size_t now = n - i < most ? n - i : most;
        memcpy(own, at, now * size);
        if (meet(s) < 0)
            return -1;
        add_parts(s, at, now, wide);
        if (meet(s) < 0)
            return -1;
    }
    return 0;
}
