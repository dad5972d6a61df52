/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/map.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"

static int map_fd(LvMap *map, int fd, const char *path, const LvMsg *msg)
{
    struct stat st;
    void *p;

    if (fstat(fd, &st) < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return lv_fail(msg, LV_ERR(EINVAL), "%s: not a regular file", path);
    if ((uintmax_t)st.st_size > PTRDIFF_MAX)
        return lv_fail(msg, LV_ERR(EFBIG), "%s: %jd bytes, this machine can map %jd",
                       path, (intmax_t)st.st_size, (intmax_t)PTRDIFF_MAX);
    if (!st.st_size)
        return 0;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    map->data = p;
    map->size = (size_t)st.st_size;
    return 0;
}

int lv_map_open(LvMap *map, const char *path, const LvMsg *msg)
{
    /* O_NONBLOCK: opening a pipe must fail, not wait for its writer. */
    int fd, ret;

    memset(map, 0, sizeof(*map));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    ret = map_fd(map, fd, path, msg);
    close(fd);
    return ret;
}

void lv_map_close(LvMap *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    memset(map, 0, sizeof(*map));
}

int lv_map_has(const LvMap *map, const void *data, size_t size)
{
    uintptr_t base = (uintptr_t)map->data, from = (uintptr_t)data;

    return map->data && from >= base && from + size <= base + map->size;
}

void lv_map_drop(const void *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = LV_ROUND_UP((uintptr_t)data, page);
    uintptr_t to   = ((uintptr_t)data + size) / page * page;

    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

void *lv_pages_new(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

void lv_pages_free(void *pages, size_t bytes)
{
    if (pages)
        munmap(pages, bytes);
}
