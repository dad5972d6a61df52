/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Types and entries as NCCL's documentation has them (2.7 and later), renamed.
 */

#include "backend/cuda/nccl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cuda/cuda.h"

typedef struct NcId {
    char data[128];
} NcId;

typedef struct NcCommData *NcComm;

enum { NC_F32 = 7, NC_F64 = 8, NC_SUM = 0, NC_IN_PROGRESS = 7 };

#define NC_ENTRIES(X)                                                               \
    X(get_id, ncclGetUniqueId, int, (NcId *id))                                     \
    X(init, ncclCommInitRank, int, (NcComm *comm, int size, NcId id, int rank))     \
    X(destroy, ncclCommDestroy, int, (NcComm comm))                                 \
    X(abort, ncclCommAbort, int, (NcComm comm))                                     \
    X(async_error, ncclCommGetAsyncError, int, (NcComm comm, int *result))          \
    X(error_string, ncclGetErrorString, const char *, (int result))                 \
    X(sum, ncclAllReduce, int, (const void *from, void *to, size_t n, int type,     \
                                int op, NcComm comm, CuStream stream))

#define NC_MEMBER(member, symbol, Type, args) Type (*member) args;

typedef struct Nccl {
    void *file;
    NcComm comm;
    NC_ENTRIES(NC_MEMBER)
} Nccl;

#define NC_ROW(member, symbol, Type, args) { #symbol, offsetof(Nccl, member) },

static const struct { const char *name; size_t offset; } symbols[] = { NC_ENTRIES(NC_ROW) };

static const char *const files[] = { "libnccl.so.2", "libnccl.so", NULL };

static int fail(const LvGroup *g, const char *what, const char *why)
{
    return lv_fail(g->ranks->msg, LV_ERR_DEVICE, "rank %d: %s%s", g->ranks->rank, what, why);
}

static int open_file(const LvGroup *g, Nccl *n)
{
    const char *file = getenv("LINVIDEO_LIBNCCL");

    if (file && *file) {
        n->file = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        return n->file ? 0 : fail(g, "LINVIDEO_LIBNCCL: ", dlerror());
    }
    for (int i = 0; files[i] && !n->file; i++)
        n->file = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    return n->file ? 0 : fail(g, "no NCCL here, which several GPUs need (libnccl.so.2; "
                              "LINVIDEO_LIBNCCL names another place)", "");
}

static int take_symbols(const LvGroup *g, Nccl *n)
{
    for (int i = 0; i < LV_COUNT(symbols); i++) {
        void *entry = dlsym(n->file, symbols[i].name);
        if (!entry)
            return fail(g, "NCCL is too old: it lacks ", symbols[i].name);
        memcpy((char *)n + symbols[i].offset, &entry, sizeof(entry));
    }
    return 0;
}

/* The library, opened once. */
static int open_nccl(LvGroup *g, Nccl **out)
{
    Nccl *n = *out = g->engine;
    int ret;

    if (n)
        return 0;
    if (!(n = *out = g->engine = calloc(1, sizeof(*n))))
        return lv_fail(g->ranks->msg, LV_ERR(ENOMEM), "ranks: out of memory");
    ret = open_file(g, n);
    return ret < 0 ? ret : take_symbols(g, n);
}

static int check(const LvGroup *g, const Nccl *n, int result, const char *what)
{
    return result ? fail(g, what, n->error_string(result)) : 0;
}

/* The id as hexadecimal digits. */
static int invite(LvGroup *g, char id[LV_GROUP_ID])
{
    NcId own;
    Nccl *n;
    int ret = open_nccl(g, &n);

    if (ret < 0 || (ret = check(g, n, n->get_id(&own), "NCCL: no id: ")) < 0)
        return ret;
    for (size_t i = 0; i < sizeof(own.data); i++)
        snprintf(id + 2 * i, 3, "%02x", (unsigned char)own.data[i]);
    return 0;
}

static int read_id(const LvGroup *g, const char *text, NcId *id)
{
    for (size_t i = 0; i < sizeof(id->data); i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return fail(g, g->ranks->dir, ": rank 0 gave no NCCL id");
        id->data[i] = (char)byte;
    }
    return 0;
}

static int enter(LvGroup *g, const char *text)
{
    LvCuda *cu = lv_cuda(g->dev);
    NcId id = { { 0 } };
    Nccl *n;
    int ret = open_nccl(g, &n);

    if (ret < 0 || strlen(text) < 2 * sizeof(id.data))
        return ret < 0 ? ret : fail(g, g->ranks->dir, ": rank 0 gave no NCCL id");
    if ((ret = read_id(g, text, &id)) < 0 ||
        (ret = lv_cuda_check(cu, cu->drv.context_set(cu->ctx), "the context")) < 0)
        return ret;
    return check(g, n, n->init(&n->comm, g->ranks->size, id, g->ranks->rank),
                 "NCCL: the ranks do not come together (each needs a GPU of its own): ");
}

/* Seconds between two looks at the others, and looks at which a rank is gone before it is. */
#define LOOK_EVERY 0.3
enum { LOOKS = 5 };

/* Whether NCCL or the ranks say that this will not end. 0 or a code */
static int look(const LvGroup *g, const Nccl *n, int *gone)
{
    int result = 0, rank;

    if (!n->async_error(n->comm, &result) && result && result != NC_IN_PROGRESS)
        return check(g, n, result, "NCCL: ");
    rank  = lv_ranks_gone(g->ranks);
    *gone = rank < 0 ? 0 : *gone + 1;
    return *gone < LOOKS ? 0 : lv_fail(g->ranks->msg, LV_ERR_DEVICE, "rank %d: rank %d is "
                                       "gone: the training stops", g->ranks->rank, rank);
}

/* Wait as sync() does, with an eye on the others. */
static int wait_for(const LvGroup *g, const Nccl *n)
{
    LvCuda *cu   = lv_cuda(g->dev);
    double start = lv_seconds(), next = start + LOOK_EVERY;
    int ret = 0, gone = 0, result;

    while ((result = cu->drv.stream_query(cu->stream)) == CU_NOT_READY && ret >= 0) {
        double now = lv_seconds();
        if (now - start > 0.002)
            nanosleep(&(struct timespec) { .tv_nsec = 20 * 1000 }, NULL);
        if (now > next) {
            ret  = look(g, n, &gone);
            next = now + LOOK_EVERY;
        }
    }
    return ret < 0 ? ret : lv_cuda_check(cu, result, "a sum over ranks");
}

static int sum(LvGroup *g, void *data, size_t numel, LvDtype type)
{
    const Nccl *n = g->engine;
    int kind = type == LV_F64 ? NC_F64 : NC_F32, result = 0;
    int ret = check(g, n, n->sum(data, data, numel, kind, NC_SUM, n->comm,
                                 lv_cuda(g->dev)->stream), "NCCL: ");

    if (ret < 0 || (ret = wait_for(g, n)) < 0)
        return ret;
    if (n->async_error(n->comm, &result) || result)
        return check(g, n, result, "NCCL: ");
    return 0;
}

/* What waits for a rank that is gone is only ended by abort. */
static void leave(LvGroup *g)
{
    Nccl *n = g->engine;

    if (n && n->comm)
        (g->failed ? n->abort : n->destroy)(n->comm);
    if (n && n->file)
        dlclose(n->file);
    free(n);
}

const LvGroupFns lv_nccl_group = {
    .name = "NCCL", .invite = invite, .enter = enter, .sum = sum, .leave = leave,
};
