/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/common.h"

static void forget(LvFile *f)
{
    free(f->path);
    free(f->tmp);
    f->path = f->tmp = NULL;
}

int lv_file_create(LvFile *f, const char *path, const LvMsg *msg)
{
    int ret = LV_ERR(ENOMEM);

    *f = (LvFile) { .path = strdup(path), .tmp = malloc(strlen(path) + 5), .fd = -1 };
    if (f->path && f->tmp) {
        sprintf(f->tmp, "%s.tmp", path);
        f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        ret   = f->fd < 0 ? LV_ERR(errno) : 0;
    }
    if (ret < 0) {
        lv_fail(msg, ret, "%s: %s", f->tmp ? f->tmp : path, strerror(-ret));
        forget(f);
    }
    return ret;
}

void lv_file_put(LvFile *f, const void *data, size_t size)
{
    const uint8_t *p = data;

    f->size += size;
    while (size && !f->error) {
        ssize_t n = write(f->fd, p, size);

        if (n < 0 && errno != EINTR)
            f->error = LV_ERR(errno);
        if (n > 0) {
            p    += n;
            size -= (size_t)n;
        }
    }
}

void lv_file_hole(LvFile *f, size_t size)
{
    off_t end = f->error ? 0 : lseek(f->fd, (off_t)size, SEEK_CUR);

    f->size += size;
    if (!f->error && (end < 0 || ftruncate(f->fd, end) < 0))
        f->error = LV_ERR(errno);
}

int lv_file_finish(LvFile *f, const LvMsg *msg)
{
    if (!f->error && fsync(f->fd) < 0)
        f->error = LV_ERR(errno);
    if (close(f->fd) < 0 && !f->error)
        f->error = LV_ERR(errno);
    if (!f->error && rename(f->tmp, f->path) < 0)
        f->error = LV_ERR(errno);
    if (f->error) {
        unlink(f->tmp);
        lv_fail(msg, f->error, "%s: %s", f->path, strerror(-f->error));
    }
    forget(f);
    return f->error;
}

void lv_file_abandon(LvFile *f)
{
    close(f->fd);
    unlink(f->tmp);
    forget(f);
}
