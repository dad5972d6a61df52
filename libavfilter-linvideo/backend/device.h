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

#include "backend/ops.h"
#include "base/common.h"
#include "base/msg.h"

typedef struct LvDevice LvDevice;

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

enum { LV_SLOTS = 2, LV_SENDS = 16 };

/** The table that a device is. Entries marked optional may be NULL. */
typedef struct LvDeviceFns {
    const char *name;
    void (*close)(LvDevice *dev);
    /** Zeroed memory of the device, aligned to LV_ALIGN; NULL (no message) when out of
     *  it. lv_device_alloc() has the message. */
    void *(*alloc)(LvDevice *dev, size_t bytes);
    void (*free)(LvDevice *dev, void *p);
    int (*upload)(LvDevice *dev, void *dst, const void *src, size_t bytes);
    int (*download)(LvDevice *dev, void *dst, const void *src, size_t bytes);
    /** Optional, both or none: keep memory of the host in place, so that upload() and
     *  download() of it are faster; until unpin(). No harm where it fails. */
    void (*pin)(LvDevice *dev, void *host, size_t bytes);
    void (*unpin)(LvDevice *dev, void *host);
    /** Wait for all that was started. */
    int (*sync)(LvDevice *dev);
    /** Optional, all three or none: copies from the host beside the work. fetch() starts
     *  copying to dst, which is slot number 0 to LV_SLOTS - 1, as soon as all work started
     *  before is done; src stays as it is meanwhile. What is started after fetched() waits
     *  until the last fetch for that slot is through. sync() does not wait for copies,
     *  settle() does, and says nothing. */
    int (*fetch)(LvDevice *dev, int slot, void *dst, const LvCopy *copy, int nb);
    int (*fetched)(LvDevice *dev, int slot);
    void (*settle)(LvDevice *dev);
    /** Optional, all three or none, with settle(): copies from the host beside the work.
     *  send() starts one, which is number n, 0 to LV_SENDS - 1; sent() waits until the last
     *  of that number is through, and until then src stays as it is. What is started after
     *  meet(), work and sends, waits for all work and sends that were started before. */
    int (*send)(LvDevice *dev, int n, void *dst, const void *src, size_t bytes);
    int (*sent)(LvDevice *dev, int n);
    int (*meet)(LvDevice *dev);
    /** Optional, both or none: note, as mark number n >= 0, when the device comes to this
     *  point of what was started; after sync() the seconds from one mark to another.
     *  @return of mark(): 0 or a code */
    int (*mark)(LvDevice *dev, int n);
    double (*between)(LvDevice *dev, int from, int to);
    /** Bytes free for alloc() now. */
    size_t (*available)(const LvDevice *dev);
    /** Build memory every thread needs (the largest thread_bytes so far). */
    int (*reserve)(LvDevice *dev, size_t thread_bytes);
    /** Optional, all four or none. From record() to recorded() run entries start nothing:
     *  what they would have started is kept, to be started as a whole by replay(),
     *  cheaply, any number of times, with the same addresses. Kernels have to have run
     *  before.
     *  @return of record(): 0, negative (no message) when that can't be. Of recorded():
     *          what was kept, freed with erase(); NULL (no message) when that can't be,
     *          or when wanted is 0 */
    int (*record)(LvDevice *dev);
    void *(*recorded)(LvDevice *dev, int wanted);
    int (*replay)(LvDevice *dev, void *recording);
    void (*erase)(LvDevice *dev, void *recording);
    /** Free call->priv, which the build entry of op made. */
    void (*release)(LvDevice *dev, int op, LvCall *call);
    const LvOpTable *plan;  ///< set the sizes of call; optional entries (zero)
    const LvOpTable *build; ///< make call->priv, pack weights; optional entries
    const LvOpTable *run;   ///< compute; an absent entry: op unsupported
} LvDeviceFns;

struct LvDevice {
    const LvDeviceFns *fn;
    const LvMsg *msg; ///< of the owner; outlives the device
    int threads;      ///< that ops are split over, >= 1
    int bf16;         ///< 1: bf16 products are fast here
    int i8;           ///< 1: so are those of 8-bit numbers, and there are any
    int host;         ///< 1: its memory is the host's
    int packs;        ///< 1: of fixed weights, matmuls and convolutions only read forms: by
                      ///< rows, while a call is built
    void *staging;         ///< see lv_device_staging()
    size_t staging_bytes;
    char about[96];   ///< "cpu (AVX-512, 2 threads)"
};

/** How to open a device. */
typedef struct LvDeviceOptions {
    int threads;     ///< 0: one for each core this process may use
    const char *isa; ///< leaves of the cpu: NULL (best), "c", "avx2", "avx512"
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
 * Memory as of fn->alloc, to be freed with fn->free.
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

/** Check and run an op that has neither a plan nor a build entry, by itself. 0 or a code,
 *  after a message. */
int lv_device_run(LvDevice *dev, int op, const LvOpArgs *a);

/** Whether the device runs op. */
int lv_device_has(const LvDevice *dev, int op);

#endif /* LINVIDEO_BACKEND_DEVICE_H */
