/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A device: one typed table of memory entries, and one entry for each op.
 * Floor F2 (backend): knows ops, never graphs or models.
 *
 * Devices: "cpu" and "cuda" compute, "null" does nothing (plans and counts).
 */

#ifndef LINVIDEO_BACKEND_DEVICE_H
#define LINVIDEO_BACKEND_DEVICE_H

#include <assert.h>

#include "backend/ops.h"
#include "base/common.h"
#include "base/msg.h"

typedef struct LvDevice LvDevice;
typedef struct LvGroup LvGroup; ///< see group.h

/**
 * One op of a program on its device. The plan entry sets the sizes, the build
 * entry makes priv, the run entry uses it, and the release entry frees it.
 */
typedef struct LvCall {
    size_t scratch_bytes; ///< plan: memory wanted while the op runs, shared by
                          ///< all ops of a program
    size_t thread_bytes;  ///< plan: memory wanted by each thread
    size_t weight_bytes;  ///< plan: forms that build makes of fixed weights
    void *scratch;        ///< run: scratch_bytes, aligned to LV_ALIGN
    void *priv;           ///< the device's own, from build to release
} LvCall;

/** One function for each op; see LvDeviceFns for what each table does. */
typedef struct LvOpTable {
#define LV_OP_ENTRY(NAME, name, Type, in, out)                                   \
    int (*name)(LvDevice *dev, const Lv##Type##Args *a, LvCall *call);
    LV_OPS(LV_OP_ENTRY)
#undef LV_OP_ENTRY
} LvOpTable;

/** Memory to copy. */
typedef struct LvCopy {
    const void *src;
    size_t at;    ///< where it goes to, in bytes from where the copies go
    size_t bytes;
} LvCopy;

enum { LV_SLOTS = 2, LV_SENDS = 64 };

/** Memory of the host that stays in place, so that copies from and to it are faster. */
typedef struct LvPinFns {
    void (*pin)(LvDevice *dev, void *host, size_t bytes); ///< no harm where it fails
    void (*unpin)(LvDevice *dev, void *host);
} LvPinFns;

/** Copies from the host beside the work; until one is through, src stays as it is. */
typedef struct LvCopyFns {
    /** Start copies to dst, which is slot number 0 to LV_SLOTS - 1, as soon as all work
     *  started before is done. */
    int (*fetch)(LvDevice *dev, int slot, void *dst, const LvCopy *copy, int nb);
    /** What is started from now on waits until the last fetch for that slot is through. */
    int (*fetched)(LvDevice *dev, int slot);
    /** Start a copy, which is number n, 0 to LV_SENDS - 1, after a meet(). This and sent() are
     *  called by one thread at a time, which may be another one than the device's; their messages
     *  go to msg. */
    int (*send)(LvDevice *dev, int n, void *dst, const void *src, size_t bytes,
                const LvMsg *msg);
    /** Wait until the last copy of that number is through. */
    int (*sent)(LvDevice *dev, int n, const LvMsg *msg);
    /** What is started from now on, work and sends, waits for all work and sends that were
     *  started before. */
    int (*meet)(LvDevice *dev);
    /** Wait for all copies, which sync() does not; says nothing. */
    void (*settle)(LvDevice *dev);
} LvCopyFns;

/** Time as the device sees it. */
typedef struct LvTimerFns {
    /** Note, as mark number n >= 0, when the device comes to this point of what was
     *  started. 0 or a code. */
    int (*mark)(LvDevice *dev, int n);
    double (*between)(LvDevice *dev, int from, int to); ///< seconds; after sync()
} LvTimerFns;

/** Runs that are started as a whole: cheaply, any number of times, with the same
 *  addresses. Kernels have to have run before. */
typedef struct LvCaptureFns {
    /** From here to end() run entries start nothing: what they would have started is kept.
     *  @return 0; negative, without a message, when that can't be */
    int (*begin)(LvDevice *dev);
    /** @return what was kept, freed with free(); NULL, without a message, when that can't
     *          be, or when wanted is 0 */
    void *(*end)(LvDevice *dev, int wanted);
    int (*replay)(LvDevice *dev, void *capture);
    void (*free)(LvDevice *dev, void *capture);
} LvCaptureFns;

/** The table that a device is. Callers take the functions below it, lv_device_upload() and so
 *  on. */
typedef struct LvDeviceFns {
    const char *name;
    void (*close)(LvDevice *dev);
    void *(*alloc)(LvDevice *dev, size_t bytes);
    void (*free)(LvDevice *dev, void *p);
    int (*upload)(LvDevice *dev, void *dst, const void *src, size_t bytes);
    int (*download)(LvDevice *dev, void *dst, const void *src, size_t bytes);
    int (*sync)(LvDevice *dev);
    size_t (*available)(const LvDevice *dev);
    int (*reserve)(LvDevice *dev, size_t thread_bytes);
    void (*release)(LvDevice *dev, int op, LvCall *call);
    const LvPinFns *pins;        ///< optional
    const LvCopyFns *copies;     ///< optional
    const LvTimerFns *timer;     ///< optional
    const LvCaptureFns *capture; ///< optional
    const struct LvGroupFns *group; ///< optional: collectives of several ranks
    const LvOpTable *plan;  ///< set the sizes of call; optional entries (zero)
    const LvOpTable *ready; ///< find out, before build, what needs no weights: optional, and
                            ///< so are its entries
    const LvOpTable *build; ///< make call->priv, pack weights; optional entries
    const LvOpTable *run;   ///< compute; an absent entry: op unsupported
} LvDeviceFns;

struct LvDevice {
    const LvDeviceFns *fn;
    const LvMsg *msg; ///< of the owner; outlives the device
    int threads;      ///< that ops are split over, >= 1
    int bf16;         ///< 1: bf16 matmuls are fast here
    int i8;           ///< 1: so are those of 8-bit integers, and there are any
    int f8;           ///< 1: the same of F8_E4M3
    int widens;       ///< 1: weights of LINEAR may be as files store them
    int host;         ///< 1: its memory is the host's
    LvGroup *group;   ///< that it is in; NULL: it works alone
    int packs;        ///< 1: of fixed weights, matmuls and convolutions only read forms: by
                      ///< rows, while a call is built
    void *staging;         ///< see lv_device_staging()
    size_t staging_bytes;
    char about[96];   ///< "cpu (AVX-512, 2 threads)"
};

/** Zeroed memory of the device, aligned to LV_ALIGN; NULL, without a message, when out of it.
 *  Freed with lv_device_free(). */
static inline void *lv_device_try_alloc(LvDevice *dev, size_t bytes)
{
    return dev->fn->alloc(dev, bytes);
}

/** NULL is fine. */
static inline void lv_device_free(LvDevice *dev, void *p)
{
    dev->fn->free(dev, p);
}

/** Copy from and to memory of the host, once what was started before is done. 0 or a code,
 *  after a message. */
static inline int lv_device_upload(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    assert((dst && src) || !bytes);
    return dev->fn->upload(dev, dst, src, bytes);
}

static inline int lv_device_download(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    assert((dst && src) || !bytes);
    return dev->fn->download(dev, dst, src, bytes);
}

/** Wait for all work that was started. 0 or a code, after a message. */
static inline int lv_device_sync(LvDevice *dev)
{
    return dev->fn->sync(dev);
}

/** Bytes free for lv_device_alloc() now. */
static inline size_t lv_device_available(const LvDevice *dev)
{
    return dev->fn->available(dev);
}

/** Have memory that every thread needs (the largest thread_bytes so far). 0 or -ENOMEM. */
static inline int lv_device_reserve(LvDevice *dev, size_t thread_bytes)
{
    return dev->fn->reserve(dev, thread_bytes);
}

/** Free call->priv, which the build entry of op made. */
static inline void lv_device_release(LvDevice *dev, int op, LvCall *call)
{
    assert(op >= 0 && op < LV_OP_NB);
    dev->fn->release(dev, op, call);
}

/** Keep memory of the host in place until lv_device_unpin(), where the device gains from it
 *  and can. */
static inline void lv_device_pin(LvDevice *dev, void *host, size_t bytes)
{
    if (host && dev->fn->pins)
        dev->fn->pins->pin(dev, host, bytes);
}

static inline void lv_device_unpin(LvDevice *dev, void *host)
{
    if (host && dev->fn->pins)
        dev->fn->pins->unpin(dev, host);
}

/** How to open a device. */
typedef struct LvDeviceOptions {
    int threads;     ///< 0: one for each core this process may use
    const char *isa; ///< ISA kernels of the cpu: NULL (best), "c", "avx2", "avx512"
    int index;       ///< of several of a kind; -1: the first, or that of the context.
                     ///< lv_device_open() takes it from the name
    void *context;   ///< CUcontext to work in, which outlives the device; NULL: the
                     ///< primary one. The device then is that of the context
    void *stream;    ///< CUstream of it for FRAME; NULL: the default one
    int newest;      ///< cuda: kernels that need compute capability 9.0 are used where
                     ///< they are faster (0), wherever they can be (90), nowhere (less
                     ///< than 90). For tests and measuring
    size_t scores;   ///< cuda: bytes of scores that attention of heads of more than 256
                     ///< channels holds at once; 0: 128 MiB. For tests
} LvDeviceOptions;

/** A kind of device. */
typedef struct LvDeviceKind {
    const char *name;
    int many; ///< a number may follow the name: "cuda:1"
    /** As lv_device_open(); opt is not NULL, with the number in opt->index. */
    int (*open)(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg);
} LvDeviceKind;

/** All kinds, ended by a name of NULL. Listed in kinds.c, the last file of this floor. */
extern const LvDeviceKind lv_device_kinds[];

/**
 * Open a device by name: "cpu", "cuda" (the first), "cuda:1" (the second), "null",
 * "auto" (NULL): the first cuda device, if driver, cuBLASLt, the device and this build's
 * kernels fit each other, else the cpu; a message at level INFO says which, and why.
 *
 * @param[out] dev freed with lv_device_close(); NULL on error
 * @return 0, -ENOMEM, -EINVAL (unknown name; the message lists the known ones),
 *         LV_ERR_DEVICE
 */
int lv_device_open(LvDevice **dev, const char *name, const LvDeviceOptions *opt,
                   const LvMsg *msg);

/** Close *dev and set it to NULL. NULL is fine. */
void lv_device_close(LvDevice **dev);

/**
 * Memory as of lv_device_try_alloc(), with a message.
 *
 * @param what   what it is for, with which the message begins: "weights"
 * @param[out] p NULL on error
 * @return 0 or -ENOMEM with "... needs X MiB, the device has Y free"
 */
int lv_device_alloc(LvDevice *dev, void **p, size_t bytes, const char *what);

/**
 * Memory of the host that copies to the device come from, pinned where that can be: made at
 * the first call, and kept until the device is closed. One user at a time.
 *
 * @param[out] bytes 32 MiB, or less where the host has no more
 * @return NULL when it has not even 64 KiB
 */
void *lv_device_staging(LvDevice *dev, size_t *bytes);

/** Bytes that the host has free: what the kernel counts as available, within the control
 *  group's limit. SIZE_MAX where that is unknown. */
size_t lv_host_available(void);

/** Call the entry for op of a table; 0 when it is absent. */
int lv_device_call(const LvOpTable *table, LvDevice *dev, int op,
                   const LvOpArgs *a, LvCall *call);

/** Check, plan and run an op that needs no scratch and has no build entry, by itself. 0 or a
 *  code, after a message. */
int lv_device_run(LvDevice *dev, int op, const LvOpArgs *a);

/** Whether the device runs op. */
int lv_device_has(const LvDevice *dev, int op);

#endif /* LINVIDEO_BACKEND_DEVICE_H */
