/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * NCCL's entries as backend/cuda/nccl.c lists them, between processes of one host, for tests.
 * The id is the path of the memory that they share.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cpu/shared.h"
#include "standin.h"

enum { F32 = 7, F64 = 8, SYSTEM = 2, INTERNAL = 3, WRONG = 4, REMOTE = 6, MOST = 16 };

typedef struct Id {
    char path[128];
} Id;

typedef struct Comm {
    LvShared shared;
    int lost;
} Comm;

typedef struct Sum {
    Comm *comm;
    void *data;
    size_t n;
    int wide;
} Sum;

int ncclGetUniqueId(Id *id);
int ncclCommInitRank(Comm **comm, int size, Id id, int rank);
int ncclCommDestroy(Comm *comm);
int ncclCommAbort(Comm *comm);
int ncclCommGetAsyncError(Comm *comm, int *result);
const char *ncclGetErrorString(int result);
int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, Comm *comm,
                  void *stream);

int ncclGetUniqueId(Id *id)
{
    const char *dir = getenv("TMPDIR");

    if (emu_fault("ncclGetUniqueId"))
        return INTERNAL;
    memset(id, 0, sizeof(*id));
    snprintf(id->path, sizeof(id->path), "%s/emu-nccl.%ld", dir ? dir : "/tmp", (long)getpid());
    return lv_shared_create(id->path, MOST) < 0 ? SYSTEM : 0;
}

/* Each look of a rank that waits counts as a loss: five of them are a second or more. */
static int is_gone(void *opaque)
{
    (void)opaque;
    return emu_setting("EMU_NCCL_IMPATIENT", 0) != 0;
}

int ncclCommInitRank(Comm **out, int size, Id id, int rank)
{
    Comm *c = *out = NULL;
    double one = 1;

    if (emu_fault("ncclCommInitRank"))
        return INTERNAL;
    if (size < 1 || size > MOST || rank < 0 || rank >= size)
        return WRONG;
    if (!(c = calloc(1, sizeof(*c))))
        return SYSTEM;
    c->shared = (LvShared) { .rank = rank, .size = size, .gone = is_gone };
    if (lv_shared_open(&c->shared, id.path) < 0 || lv_shared_sum(&c->shared, &one, 1, 1) < 0) {
        lv_shared_close(&c->shared);
        free(c);
        return SYSTEM;
    }
    if (!rank)
        unlink(id.path);
    *out = c;
    return one == size ? 0 : INTERNAL;
}

int ncclCommDestroy(Comm *c)
{
    lv_shared_close(&c->shared);
    free(c);
    return 0;
}

int ncclCommAbort(Comm *c)
{
    return ncclCommDestroy(c);
}

int ncclCommGetAsyncError(Comm *c, int *result)
{
    *result = c->lost ? REMOTE : 0;
    return 0;
}

const char *ncclGetErrorString(int result)
{
    return result == REMOTE ? "remote process has exited" : "internal error";
}

static void run_sum(const void *data)
{
    const Sum *s = data;

    if (lv_shared_sum(&s->comm->shared, s->data, s->n, s->wide) < 0)
        s->comm->lost = 1;
}

int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, Comm *comm,
                  void *stream)
{
    Sum s = { comm, to, n, type == F64 };

    if (emu_fault("ncclAllReduce"))
        return INTERNAL;
    if ((type != F32 && type != F64) || op || from != to ||
        !emu_memory_has(to, n * (type == F64 ? 8 : 4)))
        return WRONG;
    emu_submit(stream, run_sum, &s, sizeof(s));
    return 0;
}
