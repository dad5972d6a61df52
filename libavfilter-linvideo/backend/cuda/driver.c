/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

typedef struct Symbol {
    const char *name;
    size_t offset; /* of the entry in LvDriver */
} Symbol;

#define CU_ROW(member, symbol, args) { #symbol, offsetof(LvDriver, member) },
#define LT_ROW(member, symbol, args) { #symbol, offsetof(LvDriver, lt.member) },

static const Symbol cu_symbols[] = { LV_CU_ENTRIES(CU_ROW) };
static const Symbol lt_symbols[] = { LV_LT_ENTRIES(LT_ROW) };

static const char *const cu_files[] = { "libcuda.so.1", "libcuda.so", NULL };
static const char *const lt_files[] = {
    "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
    "/usr/local/cuda/lib64/libcublasLt.so.13",
    "/usr/local/cuda/lib64/libcublasLt.so.12", NULL
};

/* The file a variable names, or the first of a list that opens. */
static int open_file(void **handle, const char *variable, const char *const *names,
                     const char *none, const LvMsg *msg)
{
    const char *file = getenv(variable);

    if (file && *file) {
        *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        return *handle ? 0 : lv_fail(msg, LV_ERR_DEVICE, "cuda: %s: %s", variable, dlerror());
    }
    while (*names && !*handle)
        *handle = dlopen(*names++, RTLD_NOW | RTLD_LOCAL);
    return *handle ? 0 : lv_fail(msg, LV_ERR_DEVICE, "cuda: no %s", none);
}

static int take_symbols(LvDriver *d, void *file, const Symbol *s, int nb,
                        const char *what, const LvMsg *msg)
{
    for (int i = 0; i < nb; i++) {
        void *entry = dlsym(file, s[i].name);
        if (!entry)
            return lv_fail(msg, LV_ERR_DEVICE, "cuda: %s is too old: it lacks %s",
                           what, s[i].name);
        memcpy((char *)d + s[i].offset, &entry, sizeof(entry));
    }
    return 0;
}

int lv_driver_open(LvDriver *d, const LvMsg *msg)
{
    int ret;

    memset(d, 0, sizeof(*d));
    if ((ret = open_file(&d->cuda_file, "LINVIDEO_LIBCUDA", cu_files,
                         "NVIDIA driver here (libcuda.so.1)", msg)) < 0 ||
        (ret = open_file(&d->lt_file, "LINVIDEO_LIBCUBLASLT", lt_files,
                         "cuBLASLt 12 or 13 here (libcublasLt.so; LINVIDEO_LIBCUBLASLT "
                         "names another place)", msg)) < 0)
        return ret;
    ret = take_symbols(d, d->cuda_file, cu_symbols, LV_COUNT(cu_symbols), "the driver",
                       msg);
    return ret < 0 ? ret : take_symbols(d, d->lt_file, lt_symbols, LV_COUNT(lt_symbols),
                                        "cuBLASLt", msg);
}

void lv_driver_close(LvDriver *d)
{
    if (d->lt_file)
        dlclose(d->lt_file);
    if (d->cuda_file)
        dlclose(d->cuda_file);
    memset(d, 0, sizeof(*d));
}
