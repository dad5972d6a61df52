/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"

#define PART ".part-"

enum { PART_SIZE = sizeof(PART) - 1, HEX = 12, HEAD = PART_SIZE + HEX + 1, TAIL = 200,
       BUFFER = 1 << 16, LINK_SIZE = 4096, LINKS = 40, TRIES = 100, MODE = 0777,
       SLICE = 100 /* milliseconds */ };

/* Paths */

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The folder of `path`, slash included, and `name` behind it; NULL: out of memory. */
static char *beside(const char *path, const char *name)
{
    size_t folder = (size_t)(name_of(path) - path), n = strlen(name);
    char *all = malloc(folder + n + 1);

    if (all) {
        memcpy(all, path, folder);
        memcpy(all + folder, name, n + 1);
    }
    return all;
}

/* What the links at a path point at, whether it is there or not. */
static int follow(char **target, const char *path)
{
    char to[LINK_SIZE];

    *target = strdup(path);
    for (int i = 0; *target; i++) {
        ssize_t n = readlink(*target, to, sizeof(to) - 1);
        char *next;

        if (n < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : LV_ERR(errno);
        if (i == LINKS)
            return LV_ERR(ELOOP);
        to[n] = '\0';
        next  = to[0] == '/' ? strdup(to) : beside(*target, to);
        free(*target);
        *target = next;
    }
    return LV_ERR(ENOMEM);
}

int lv_file_same(const char *a, const char *b)
{
    struct stat s, t;

    return !stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

/* Parts */

/* The end of a name, so that a part's name is not too long. */
static const char *tail_of(const char *target)
{
    const char *name = name_of(target);
    size_t n = strlen(name);

    return n > TAIL ? name + n - TAIL : name;
}

static int is_part_of(const char *name, const char *tail)
{
    return !strncmp(name, PART, PART_SIZE) &&
           strspn(name + PART_SIZE, "0123456789abcdef") == HEX && name[HEAD - 1] == '-' &&
           !strcmp(name + HEAD, tail);
}

/* Remove a part, unless one who lives has it locked. */
static void remove_stray(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && !flock(fd, LOCK_EX | LOCK_NB))
        unlinkat(folder, name, 0);
    close(fd);
}

static void sweep(const LvFile *f)
{
    int fd = openat(f->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (is_part_of(e->d_name, tail_of(f->target)))
            remove_stray(f->folder, e->d_name);
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

static uint64_t draw(int attempt)
{
    uint64_t bits;

    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        bits = (uint64_t)(lv_seconds() * 1e9) ^ (uint64_t)getpid() << 32 ^ (uint64_t)attempt;
    return bits & 0xFFFFFFFFFFFFu;
}

/* A new part that is locked. One who swept may have removed it before the lock: its links
 * tell. */
static int open_part(LvFile *f, int attempt)
{
    char name[HEAD + TAIL + 1];
    struct stat st;

    snprintf(name, sizeof(name), PART "%012llx-%s", (unsigned long long)draw(attempt),
             tail_of(f->target));
    free(f->tmp);
    if (!(f->tmp = beside(f->target, name)))
        return LV_ERR(ENOMEM);
    f->fd = openat(f->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   0666);
    if (f->fd < 0)
        return LV_ERR(errno);
    flock(f->fd, LOCK_EX);
    if (!fstat(f->fd, &st) && st.st_nlink)
        return 0;
    close(f->fd);
    return LV_ERR(EEXIST);
}

static int create_part(LvFile *f, const struct stat *old)
{
    int ret = LV_ERR(EEXIST);

    sweep(f);
    for (int i = 0; i < TRIES && ret == LV_ERR(EEXIST); i++)
        ret = open_part(f, i);
    if (!ret && old)
        (void)!fchmod(f->fd, old->st_mode & MODE);
    return ret;
}

static int open_folder(LvFile *f)
{
    char *path = beside(f->target, ".");

    if (!path)
        return LV_ERR(ENOMEM);
    f->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder < 0 && errno == EACCES)
        f->folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(path);
    return f->folder < 0 ? LV_ERR(errno) : 0;
}

/* Beginning */

static void forget(LvFile *f)
{
    if (f->folder >= 0)
        close(f->folder);
    free(f->path);
    free(f->target);
    free(f->tmp);
    free(f->buffer);
    *f = (LvFile) { .fd = -1, .folder = -1, .error = f->error, .size = f->size };
}

static int open_regular(LvFile *f)
{
    struct stat st;
    int ret = follow(&f->target, f->path), there;

    if (ret < 0)
        return ret;
    there = !lstat(f->target, &st);
    if ((there && S_ISDIR(st.st_mode)) || !*name_of(f->target))
        return LV_ERR(EISDIR);
    if (there && !S_ISREG(st.st_mode))
        return LV_ERR(EINVAL);
    if (there && access(f->target, W_OK) < 0)
        return LV_ERR(errno);
    ret = open_folder(f);
    return ret < 0 ? ret : create_part(f, there ? &st : NULL);
}

static int open_stream(LvFile *f)
{
    int is_out = !strcmp(f->path, "-");

    if (is_out)
        fflush(stdout);
    f->fd = is_out ? dup(STDOUT_FILENO) : open(f->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    return f->fd < 0 ? LV_ERR(errno) : 0;
}

int lv_file_is_stream(const char *path)
{
    struct stat st;

    return !strcmp(path, "-") ||
           (!stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
}

static int begin(LvFile *f, const char *path, int streams, const LvMsg *msg)
{
    int ret = LV_ERR(ENOMEM);

    *f = (LvFile) { .path = strdup(path), .buffer = malloc(BUFFER), .fd = -1, .folder = -1 };
    if (f->path && f->buffer)
        ret = streams && lv_file_is_stream(path) ? open_stream(f) : open_regular(f);
    if (ret == LV_ERR(EINVAL))
        lv_fail(msg, ret, "%s: expected a regular file, got a pipe or a device", path);
    else if (ret < 0)
        lv_fail(msg, ret, "%s: %s", path, strerror(-ret));
    if (ret < 0)
        forget(f);
    return ret;
}

int lv_file_create(LvFile *f, const char *path, const LvMsg *msg)
{
    return begin(f, path, 0, msg);
}

int lv_file_output(LvFile *f, const char *path, const LvMsg *msg)
{
    return begin(f, path, 1, msg);
}

int lv_file_stream(LvFile *f, int fd, const char *name, const LvMsg *msg)
{
    *f = (LvFile) { .path = strdup(name), .buffer = malloc(BUFFER), .fd = fd, .folder = -1 };
    if (f->path && f->buffer)
        return 0;
    close(fd);
    forget(f);
    return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", name);
}

/* Bytes */

static void keep_error(LvFile *f, int failed)
{
    if (failed && !f->error)
        f->error = LV_ERR(errno);
}

int lv_file_wait(int fd, double seconds, int (*stop)(void))
{
    struct pollfd at = { .fd = fd, .events = POLLOUT };
    double end = lv_seconds() + seconds;

    while (poll(&at, 1, SLICE) <= 0)
        if (stop && stop())
            return LV_ERR(ECANCELED);
        else if (lv_seconds() > end)
            return LV_ERR(ETIMEDOUT);
    return 0;
}

static void put_now(LvFile *f, const uint8_t *p, size_t size)
{
    while (size && !f->error) {
        size_t piece = f->stop ? LV_MIN(size, LV_FILE_PIECE) : size;
        ssize_t n;

        if (f->stop && (f->error = lv_file_wait(f->fd, INFINITY, f->stop)) < 0)
            return;
        n = write(f->fd, p, piece);
        if (n < 0 && errno != EINTR)
            f->error = LV_ERR(errno);
        if (n > 0) {
            p    += n;
            size -= (size_t)n;
        }
    }
}

int lv_file_flush(LvFile *f)
{
    put_now(f, f->buffer, f->held);
    f->held = 0;
    return f->error;
}

void lv_file_put(LvFile *f, const void *data, size_t size)
{
    f->size += size;
    if (size > BUFFER - f->held)
        lv_file_flush(f);
    if (size >= BUFFER) {
        put_now(f, data, size);
    } else if (size) {
        memcpy(f->buffer + f->held, data, size);
        f->held += size;
    }
}

void lv_file_print(LvFile *f, const char *fmt, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) {
        f->error = f->error ? f->error : LV_ERR(ENOMEM);
        return;
    }
    lv_file_put(f, text, (size_t)n);
    free(text);
}

static void put_zeros(LvFile *f, size_t size)
{
    static const uint8_t zeros[1024];

    for (size_t n; size && !f->error; size -= n) {
        n = LV_MIN(size, sizeof(zeros));
        lv_file_put(f, zeros, n);
    }
}

void lv_file_hole(LvFile *f, size_t size)
{
    off_t end;

    if (!f->tmp) {
        put_zeros(f, size);
        return;
    }
    lv_file_flush(f);
    end = f->error ? 0 : lseek(f->fd, (off_t)size, SEEK_CUR);
    keep_error(f, !f->error && (end < 0 || ftruncate(f->fd, end) < 0));
    f->size += size;
}

/* Ending */

/* Some file systems, and some folders, can't be synced. */
static int sync_fd(int fd)
{
    return fsync(fd) < 0 && errno != EINVAL && errno != EBADF && errno != ENOTSUP;
}

int lv_file_sync(LvFile *f)
{
    lv_file_flush(f);
    keep_error(f, !f->error && f->tmp && sync_fd(f->fd));
    return f->error;
}

/* The lock of the part, which is f->fd, is kept until it has its name. */
static void place(LvFile *f)
{
    int failed = renameat(f->folder, name_of(f->tmp), f->folder, name_of(f->target)) < 0;

    keep_error(f, failed);
    if (failed)
        unlinkat(f->folder, name_of(f->tmp), 0);
    else
        keep_error(f, sync_fd(f->folder));
}

int lv_file_finish(LvFile *f, const LvMsg *msg)
{
    if (lv_file_sync(f) < 0 && f->tmp)
        unlinkat(f->folder, name_of(f->tmp), 0);
    else if (f->tmp)
        place(f);
    keep_error(f, close(f->fd) < 0);
    if (f->error)
        lv_fail(msg, f->error, "%s: %s", f->path, strerror(-f->error));
    forget(f);
    return f->error;
}

void lv_file_abandon(LvFile *f)
{
    if (f->tmp)
        unlinkat(f->folder, name_of(f->tmp), 0);
    close(f->fd);
    forget(f);
}

int lv_file_end(LvFile *f, int ret, int (*check)(void *opaque, const char *part),
                void *opaque, const LvMsg *msg)
{
    if (ret >= 0 && check && f->tmp && lv_file_sync(f) >= 0)
        ret = check(opaque, f->tmp);
    if (ret >= 0)
        return lv_file_finish(f, msg);
    lv_file_abandon(f);
    return ret;
}

int lv_file_write(const char *path, const void *data, size_t size, const LvMsg *msg)
{
    LvFile f;
    int ret = lv_file_create(&f, path, msg);

    if (ret < 0)
        return ret;
    lv_file_put(&f, data, size);
    return lv_file_finish(&f, msg);
}

/* Locks */

static int refuse_busy(int fd, const char *folder, const LvMsg *msg)
{
    struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    fcntl(fd, F_GETLK, &held);
    return lv_fail(msg, LV_ERR(EBUSY), "%s: process %d uses this folder; wait for it, or "
                   "choose another folder", folder, (int)held.l_pid);
}

static int lock_fd(int fd, const char *folder, const LvMsg *msg)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (!fcntl(fd, F_SETLK, &whole))
        return 0;
    if (errno == EACCES || errno == EAGAIN)
        return refuse_busy(fd, folder, msg);
    lv_msg(msg, LV_MSG_WARNING, "%s: the folder can't be locked (%s); let no second run use "
           "it", folder, strerror(errno));
    return 0;
}

int lv_lock_folder(int *lock, const char *folder, const LvMsg *msg)
{
    char *path = malloc(strlen(folder) + 7);
    struct stat st;
    int ret;

    *lock = -1;
    if (!path)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", folder);
    sprintf(path, "%s/.lock", folder);
    *lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (*lock < 0)
        ret = lv_fail(msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    else if (fstat(*lock, &st) < 0 || !S_ISREG(st.st_mode))
        ret = lv_fail(msg, LV_ERR(EINVAL), "%s: expected a regular file", path);
    else
        ret = lock_fd(*lock, folder, msg);
    if (ret < 0)
        lv_lock_free(lock);
    free(path);
    return ret;
}

void lv_lock_free(int *lock)
{
    if (*lock >= 0)
        close(*lock);
    *lock = -1;
}
