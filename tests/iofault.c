/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Loaded before a program (LD_PRELOAD), it fails calls that write below a folder:
 *
 *     IOFAULT_DIR    the folder, a whole path
 *     IOFAULT_AT     number of the call that fails with ENOSPC, from 1
 *     IOFAULT_KILL   set: the process is killed there instead
 *     IOFAULT_COUNT  descriptor that gets a byte for each call
 *     IOFAULT_WAIT   milliseconds that each call takes
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long calls;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* Declares f, the function that is stood in for. */
#define REAL(name)                                                                       \
    static __typeof__(&name) f;                                                          \
    if (!f)                                                                              \
        *(void **)&f = next(#name)

static int is_below(const char *path)
{
    const char *dir = getenv("IOFAULT_DIR");

    return dir && !strncmp(path, dir, strlen(dir));
}

static int is_fd_below(int fd)
{
    char link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    return is_below(path);
}

static int is_path_below(int folder, const char *path)
{
    char whole[8192], cwd[4096];

    if (path[0] == '/')
        return is_below(path);
    if (folder != AT_FDCWD)
        return is_fd_below(folder);
    if (!getcwd(cwd, sizeof(cwd)))
        return 0;
    snprintf(whole, sizeof(whole), "%s/%s", cwd, path);
    return is_below(whole);
}

/* Whole milliseconds, whatever signals come. */
static void sleep_for(long ms)
{
    struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

    while (nanosleep(&left, &left) < 0)
        ;
}

/* Count a call: 1 when it is to fail. */
static int fails(void)
{
    const char *at = getenv("IOFAULT_AT"), *count = getenv("IOFAULT_COUNT");
    const char *wait = getenv("IOFAULT_WAIT");
    REAL(write);

    if (wait)
        sleep_for(atol(wait));
    calls++;
    if (count && f(atoi(count), ".", 1) < 0)
        return 0;
    if (!at || calls != atol(at))
        return 0;
    if (getenv("IOFAULT_KILL"))
        raise(SIGKILL);
    errno = ENOSPC;
    return 1;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT ? (mode_t)va_arg(args, int) : 0;
}

static int writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;
    REAL(open);

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return writes(flags) && is_path_below(AT_FDCWD, path) && fails() ? -1
         : f(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;
    REAL(openat);

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return writes(flags) && is_path_below(folder, path) && fails() ? -1
         : f(folder, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);

    return mode[0] != 'r' && is_path_below(AT_FDCWD, path) && fails() ? NULL : f(path, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);

    return is_fd_below(fd) && fails() ? -1 : f(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(pwrite);

    return is_fd_below(fd) && fails() ? -1 : f(fd, data, size, at);
}

int fsync(int fd)
{
    REAL(fsync);

    return is_fd_below(fd) && fails() ? -1 : f(fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);

    return is_fd_below(fd) && fails() ? -1 : f(fd, size);
}

int close(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    REAL(close);

    if (flags >= 0 && writes(flags) && is_fd_below(fd) && fails()) {
        f(fd);
        errno = ENOSPC;
        return -1;
    }
    return f(fd);
}

int rename(const char *from, const char *to)
{
    REAL(rename);

    return is_path_below(AT_FDCWD, to) && fails() ? -1 : f(from, to);
}

int renameat(int folder, const char *from, int other, const char *to)
{
    REAL(renameat);

    return is_path_below(other, to) && fails() ? -1 : f(folder, from, other, to);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);

    return is_path_below(AT_FDCWD, path) && fails() ? -1 : f(path, mode);
}
