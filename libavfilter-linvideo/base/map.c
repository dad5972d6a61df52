/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/map.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "base/ring.h"

enum { READ_MAX = 1 << 30, /* of one call */ PIECE = 1 << 20 /* of a thread */ };

struct LvMapFile {
    int fd;             /* -1: all is there */
    struct stat st;     /* when it was opened */
    size_t page;
    uint8_t *there;     /* a bit for each page */
    char path[];
};

/* Opening */

static int check_file(const struct stat *st, const char *path, size_t max,
                      const LvMsg *msg)
{
    if (!S_ISREG(st->st_mode))
        return lv_fail(msg, LV_ERR(EINVAL), "%s: not a regular file", path);
    if ((uintmax_t)st->st_size > max)
        return lv_fail(msg, LV_ERR(EFBIG), "%s: too large, expected at most %zu bytes, "
                       "got %jd", path, max, (intmax_t)st->st_size);
    return 0;
}

static int make_room(LvMap *map, const struct stat *st, const char *path)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)st->st_size;
    LvMapFile *f = map->file = malloc(sizeof(*f) + strlen(path) + 1);
    void *p;

    if (!f)
        return LV_ERR(ENOMEM);
    *f = (LvMapFile) { .fd = -1, .st = *st, .page = page };
    strcpy(f->path, path);
    f->there = calloc(size / page / 8 + 1, 1);
    p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return LV_ERR(ENOMEM);
    map->data = p;
    map->size = size;
    return f->there ? 0 : LV_ERR(ENOMEM);
}

static int open_fd(LvMap *map, int fd, const char *path, size_t max, const LvMsg *msg)
{
    struct stat st;
    int ret;

    if (fstat(fd, &st) < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    if ((ret = check_file(&st, path, max, msg)) < 0 || !st.st_size)
        return ret;
    if (make_room(map, &st, path) < 0)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: no addresses for %jd bytes", path,
                       (intmax_t)st.st_size);
    map->file->fd = fd;
    return 0;
}

static int open_late(LvMap *map, const char *path, size_t max, const LvMsg *msg)
{
    /* O_NONBLOCK: opening a pipe must fail, not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;

    memset(map, 0, sizeof(*map));
    if (fd < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    ret = open_fd(map, fd, path, max, msg);
    if (!map->file || map->file->fd < 0)
        close(fd);
    if (ret < 0)
        lv_map_close(map);
    return ret;
}

int lv_map_open_late(LvMap *map, const char *path, const LvMsg *msg)
{
    return open_late(map, path, PTRDIFF_MAX, msg);
}

int lv_map_open_upto(LvMap *map, const char *path, size_t max, const LvMsg *msg)
{
    int ret = open_late(map, path, max, msg);

    if (ret < 0 || !map->file)
        return ret;
    if ((ret = lv_map_finish(map, msg)) < 0)
        lv_map_close(map);
    return ret;
}

int lv_map_open(LvMap *map, const char *path, const LvMsg *msg)
{
    return lv_map_open_upto(map, path, LV_MAP_OPEN_MAX, msg);
}

void lv_map_close(LvMap *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    if (map->file) {
        if (map->file->fd >= 0)
            close(map->file->fd);
        free(map->file->there);
        free(map->file);
    }
    memset(map, 0, sizeof(*map));
}

int lv_map_has(const LvMap *map, const void *data, size_t size)
{
    uintptr_t base = (uintptr_t)map->data, from = (uintptr_t)data;

    return map->data && from >= base && size <= map->size &&
           from - base <= map->size - size;
}

/* Reading */

static int fail(const LvMapFile *f, size_t at, int error, const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(error), "%s: cannot be read at byte %zu: %s", f->path, at,
                   strerror(error));
}

/* Whoever changed what was just read has changed the time before. */
static int check_same(const LvMapFile *f, const LvMsg *msg)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: %s", f->path, strerror(errno));
    if (st.st_size != f->st.st_size)
        return lv_fail(msg, LV_ERR(ESTALE), "%s: changed since it was opened, expected "
                       "%jd bytes, got %jd", f->path, (intmax_t)f->st.st_size,
                       (intmax_t)st.st_size);
    if (st.st_mtim.tv_sec != f->st.st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != f->st.st_mtim.tv_nsec)
        return lv_fail(msg, LV_ERR(ESTALE), "%s: changed since it was opened: it was "
                       "written to", f->path);
    return 0;
}

int lv_map_read(const LvMap *map, size_t at, void *dst, size_t size, const LvMsg *msg)
{
    const LvMapFile *f = map->file;
    size_t done = 0;

    if (!size)
        return 0;
    if (f->fd < 0) {
        memcpy(dst, map->data + at, size);
        return 0;
    }
    while (done < size) {
        ssize_t n = pread(f->fd, (char *)dst + done, LV_MIN(size - done, READ_MAX),
                          (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(f, at + done, errno, msg);
        if (!n) {
            int ret = check_same(f, msg);
            return ret < 0 ? ret : fail(f, at + done, EIO, msg);
        }
        done += (size_t)n;
    }
    return check_same(f, msg);
}

static int is_there(const LvMapFile *f, size_t page)
{
    return f->there[page / 8] >> page % 8 & 1;
}

static void mark(const LvMapFile *f, size_t first, size_t end, int there)
{
    for (size_t i = first; i < end; i++) {
        uint8_t bit = (uint8_t)(1 << i % 8);
        f->there[i / 8] = (uint8_t)(there ? f->there[i / 8] | bit : f->there[i / 8] & ~bit);
    }
}

static void drop_pages(const LvMap *map, size_t first, size_t end)
{
    size_t page = map->file->page, at = first * page;
    char *p = (char *)(uintptr_t)map->data + at;
    size_t size = LV_MIN(end * page, map->size) - at;

    madvise(p, size, MADV_DONTNEED);
    mprotect(p, size, PROT_NONE);
    mark(map->file, first, end, 0);
}

static int read_piece(const LvRingJob *job, void *to, const LvMsg *msg)
{
    return lv_map_read(job->what, job->at, to, job->bytes, msg);
}

static int read_pages(int threads, const LvMap *map, size_t at, void *dst, size_t size,
                      const LvMsg *msg)
{
    const LvRingJob all = { .fill = read_piece, .what = map, .at = at, .bytes = size };

    return threads < 2 || size <= PIECE ? lv_map_read(map, at, dst, size, msg)
                                        : lv_ring_fill(threads, dst, PIECE, &all, msg);
}

static int load_pages(int threads, const LvMap *map, size_t first, size_t end,
                      const LvMsg *msg)
{
    const LvMapFile *f = map->file;
    size_t at   = first * f->page, size = LV_MIN(end * f->page, map->size) - at;
    char *p     = (char *)(uintptr_t)map->data + at;
    int ret;

    if (mprotect(p, size, PROT_READ | PROT_WRITE) < 0)
        return lv_fail(msg, LV_ERR(errno), "%s: no memory for %zu bytes of it", f->path,
                       size);
    lv_huge_pages(p, size);
    if ((ret = read_pages(threads, map, at, p, size, msg)) < 0)
        drop_pages(map, first, end);
    else
        mark(f, first, end, 1);
    return ret;
}

int lv_map_load_by(int threads, const LvMap *map, const void *data, size_t size,
                   const LvMsg *msg)
{
    const LvMapFile *f = map->file;
    size_t at, end;
    int ret = 0;

    if (!f || f->fd < 0 || !size)
        return 0;
    at  = (size_t)((const uint8_t *)data - map->data);
    end = (at + size + f->page - 1) / f->page;
    for (size_t i = at / f->page, next; i < end && ret >= 0; i = next) {
        for (next = i + 1; next < end && is_there(f, next) == is_there(f, i); next++)
            ;
        if (!is_there(f, i))
            ret = load_pages(threads, map, i, next, msg);
    }
    return ret;
}

int lv_map_load(const LvMap *map, const void *data, size_t size, const LvMsg *msg)
{
    return lv_map_load_by(1, map, data, size, msg);
}

int lv_map_finish(LvMap *map, const LvMsg *msg)
{
    int ret = lv_map_load(map, map->data, map->size, msg);

    if (ret < 0 || !map->file)
        return ret;
    if (map->file->fd >= 0)
        close(map->file->fd);
    map->file->fd = -1;
    return 0;
}

void lv_map_drop(const LvMap *map, const void *data, size_t size)
{
    const LvMapFile *f = map->file;
    size_t at, first, end;

    if (!f || f->fd < 0)
        return;
    at    = (size_t)((const uint8_t *)data - map->data);
    first = (at + f->page - 1) / f->page;
    end   = at + size == map->size ? (at + size + f->page - 1) / f->page
                                   : (at + size) / f->page;
    if (first < end)
        drop_pages(map, first, end);
}

/* Pages alone */

void *lv_pages_new(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (pages == MAP_FAILED)
        return NULL;
    lv_huge_pages(pages, bytes);
    return pages;
}

void lv_pages_free(void *pages, size_t bytes)
{
    if (pages)
        munmap(pages, bytes);
}
