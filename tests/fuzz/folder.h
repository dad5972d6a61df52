/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * For targets whose reader takes the path of a file: a folder of the process, removed when
 * it exits, and the bytes as a file in it. Also the count of lines that are errors.
 * Tests: knows nothing of the format.
 */

#ifndef LINVIDEO_FUZZ_FOLDER_H
#define LINVIDEO_FUZZ_FOLDER_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FUZZ_PATH = 256 };

static char fuzz_folder[FUZZ_PATH / 2];

static void fuzz_remove(void)
{
    DIR *d = opendir(fuzz_folder);
    char path[2 * FUZZ_PATH];

    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof(path), "%s/%.255s", fuzz_folder, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(fuzz_folder);
}

/* Path of a file in the folder. */
static inline const char *fuzz_path(char path[FUZZ_PATH], const char *name)
{
    const char *tmp = getenv("TMPDIR"), *memory = "/dev/shm";

    if (!fuzz_folder[0]) {
        tmp = tmp ? tmp : access(memory, W_OK) ? "/tmp" : memory;
        snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/fuzz-XXXXXX", tmp);
        if (!mkdtemp(fuzz_folder))
            abort();
        atexit(fuzz_remove);
    }
    snprintf(path, FUZZ_PATH, "%s/%s", fuzz_folder, name);
    return path;
}

/* Write a file of the folder. */
static inline const char *fuzz_write(char path[FUZZ_PATH], const char *name,
                                     const uint8_t *data, size_t size)
{
    FILE *f = fopen(fuzz_path(path, name), "wb");

    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        abort();
    return path;
}

/* Put of an LvMsg: counts errors, of which a failure tells exactly one. */
static inline void fuzz_count(void *opaque, int level, const char *line)
{
    *(int *)opaque += !level && *line;
}

#endif /* LINVIDEO_FUZZ_FOLDER_H */
