/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/common.h"

enum { PATH_SIZE = LV_RANKS_DIR + 64, WAIT = 300 };

/* Who starts ranks, and the variables that they have. */
static const struct { const char *rank, *size, *local; } starters[] = {
    { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK" },
    { "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID" },
    { "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID" },
    { "RANK", "WORLD_SIZE", "LOCAL_RANK" },
};

/* A variable's number from 0 to most. @return 1, 0: it is not set, or a code */
static int number_of(const char *name, int most, int *to, const LvMsg *msg)
{
    const char *text = getenv(name);
    char *end;
    long n;

    if (!text || !*text)
        return 0;
    n = strtol(text, &end, 10);
    if (*end || n < 0 || n > most)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: expected a number from 0 to %d, got \"%s\"",
                       name, most, text);
    *to = (int)n;
    return 1;
}

/* srun sets its size for a step of tasks alone: a batch script has but SLURM_PROCID. */
static int read_starter(LvRanks *r, int i)
{
    const char *rank = starters[i].rank, *size = starters[i].size;
    int has_rank, has_size, has_local;

    if ((has_size = number_of(size, LV_RANKS_MAX, &r->size, r->msg)) <= 0)
        return has_size;
    if ((has_rank = number_of(rank, r->size - 1, &r->rank, r->msg)) < 0)
        return has_rank;
    if (!has_rank)
        return lv_fail(r->msg, LV_ERR(EINVAL), "%s is set, %s is not", size, rank);
    r->local  = r->rank;
    has_local = number_of(starters[i].local, LV_RANKS_MAX, &r->local, r->msg);
    return has_local < 0 ? has_local : 1;
}

int lv_ranks_read(LvRanks *r, const LvMsg *msg)
{
    int ret = 0;

    *r = (LvRanks) { .size = 1, .file = -1, .msg = msg };
    for (int i = 0; i < LV_COUNT(starters) && !ret; i++)
        ret = read_starter(r, i);
    return LV_MIN(ret, 0);
}

static void path_of(const LvRanks *r, int rank, const char *more, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/rank.%d%s", r->dir, rank, more);
}

/* Open a rank's file when it is there and its process lives. -1 when not. */
static int open_living(const LvRanks *r, int rank)
{
    char path[PATH_SIZE];
    int fd;

    path_of(r, rank, "", path);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return -1;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return fd;
    close(fd);
    return -1;
}

static int lives(const LvRanks *r, int rank)
{
    int fd = open_living(r, rank);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int fail(const LvRanks *r, const char *path)
{
    return lv_fail(r->msg, LV_ERR(errno), "rank %d: %s: %s", r->rank, path, strerror(errno));
}

/* The file gets its name when it is whole and locked. */
static int write_file(LvRanks *r, const char *text)
{
    char path[PATH_SIZE], whole[PATH_SIZE];
    size_t n = strlen(text);

    path_of(r, r->rank, ".new", path);
    path_of(r, r->rank, "", whole);
    unlink(path);
    r->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (r->file < 0 || flock(r->file, LOCK_EX | LOCK_NB) < 0 ||
        write(r->file, text, n) != (ssize_t)n || rename(path, whole) < 0)
        return fail(r, path);
    return 0;
}

int lv_ranks_folder(const LvRanks *r)
{
    return mkdir(r->dir, 0777) < 0 && errno != EEXIST ? fail(r, r->dir) : 0;
}

int lv_ranks_announce(LvRanks *r, const char *text)
{
    if (lives(r, r->rank))
        return lv_fail(r->msg, LV_ERR(EBUSY), "rank %d: %s: another process is this rank",
                       r->rank, r->dir);
    return write_file(r, text);
}

static double seconds_to_wait(void)
{
    const char *text = getenv("LINVIDEO_RANKS_WAIT");

    return text && atof(text) > 0 ? atof(text) : WAIT;
}

int lv_ranks_await(const LvRanks *r, int rank, char text[LV_RANKS_TEXT])
{
    double end = lv_seconds() + seconds_to_wait();
    ssize_t n;
    int fd;

    while ((fd = open_living(r, rank)) < 0 && lv_seconds() < end)
        nanosleep(&(struct timespec) { .tv_nsec = 20 * 1000 * 1000 }, NULL);
    if (fd < 0)
        return lv_fail(r->msg, LV_ERR(ETIMEDOUT), "rank %d: expected %d ranks, rank %d has not "
                       "come to %s within %.0f s", r->rank, r->size, rank, r->dir,
                       seconds_to_wait());
    n = read(fd, text, LV_RANKS_TEXT - 1);
    text[LV_MAX(n, 0)] = 0;
    close(fd);
    return 0;
}

int lv_ranks_gone(const LvRanks *r)
{
    for (int i = 0; i < r->size; i++)
        if (i != r->rank && !lives(r, i))
            return i;
    return -1;
}

void lv_ranks_leave(LvRanks *r)
{
    char path[PATH_SIZE];

    if (r->size < 2 || r->file < 0)
        return;
    path_of(r, r->rank, "", path);
    unlink(path);
    close(r->file);
    r->file = -1;
    rmdir(r->dir); /* the last one, when nothing is left */
}
