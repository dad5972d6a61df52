/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The one writer of files: a file appears whole or not at all. It is written beside its
 * place, as ".part-RANDOM-NAME" of the same folder, synced, and renamed. Also the lock of
 * a folder.
 * Floor F1 (base).
 *
 * A link at the path is followed: what it points at is replaced, the link stays. Another
 * hard link of a file that is replaced keeps the old one. The mode is by the umask, that of
 * a file which is replaced stays. A part that a killed process left is removed when the
 * same file is written again; that of a process which lives is locked and stays.
 */

#ifndef LINVIDEO_BASE_FILE_H
#define LINVIDEO_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

typedef struct LvFile {
    char *path;   ///< as it was named, for messages
    char *target; ///< what is replaced: path with its links followed
    char *tmp;    ///< path of the part; NULL: a stream, which is written directly
    int fd;
    int folder;   ///< descriptor of the folder; -1: a stream
    int error;    ///< 0, or -errno of the first write that failed
    int (*stop)(void); ///< may be set: whether to wait no longer for one who reads a stream;
                       ///< then the error is -ECANCELED
    size_t size;  ///< bytes put so far
    uint8_t *buffer;
    size_t held;  ///< bytes in the buffer
} LvFile;

/**
 * Begin to write the regular file path.
 *
 * @return 0; -ENOMEM, -EISDIR, -EINVAL (a pipe, a device), -EACCES (the file that is there
 *         is read-only) or another -errno after a message; f needs nothing then
 */
int lv_file_create(LvFile *f, const char *path, const LvMsg *msg);

/** The same for an output that a user names, where a pipe, a device or "-" for standard
 *  output is written directly. Opening a pipe waits for its reader. */
int lv_file_output(LvFile *f, const char *path, const LvMsg *msg);

/** The same for a stream that is open: the file takes fd over, also when it fails. */
int lv_file_stream(LvFile *f, int fd, const char *name, const LvMsg *msg);

/** Bytes that a pipe takes at once when it takes any. */
#define LV_FILE_PIECE 4096

/** Wait until a pipe, a socket or a terminal takes LV_FILE_PIECE bytes.
 *  @param seconds how long at most
 *  @param stop    asked ten times a second whether to wait no longer; NULL: never
 *  @return 0, -ETIMEDOUT or -ECANCELED */
int lv_file_wait(int fd, double seconds, int (*stop)(void));

/** Whether lv_file_output() would write directly. */
int lv_file_is_stream(const char *path);

/** Append bytes; an error is kept for lv_file_finish(). */
void lv_file_put(LvFile *f, const void *data, size_t size);

/** Append formatted text. */
void lv_file_print(LvFile *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Append zeros, which take no room where files may have holes. */
void lv_file_hole(LvFile *f, size_t size);

/** Hand all to the system: a reader of a pipe gets it. Returns f->error. */
int lv_file_flush(LvFile *f);

/** Hand all to the disk, after which `tmp` may be read to check it. Returns f->error. */
int lv_file_sync(LvFile *f);

/** End: the file is at its place, or nothing is left of it. 0, or -errno after a
 *  message. */
int lv_file_finish(LvFile *f, const LvMsg *msg);

/** End without a file: nothing is left, a file that was there stays. */
void lv_file_abandon(LvFile *f);

/**
 * End as lv_file_finish(), or without a file when ret, the result of what was to fill it,
 * is an error; or when check (NULL: none), which is given the path of the synced part,
 * returns one. @return that error, or that of lv_file_finish()
 */
int lv_file_end(LvFile *f, int ret, int (*check)(void *opaque, const char *part),
                void *opaque, const LvMsg *msg);

/** Write a file of size bytes, whole or not at all. 0, or -errno after a message. */
int lv_file_write(const char *path, const void *data, size_t size, const LvMsg *msg);

/** Whether two paths are the same file that is there, through links too. */
int lv_file_same(const char *a, const char *b);

/**
 * Lock a folder for this process, by the file ".lock" in it.
 *
 * @param[out] lock for lv_lock_free(); -1 on error
 * @return 0; -EBUSY: another process has it; another -errno; after a message. Where the
 *         file system knows no locks: 0 after a warning
 */
int lv_lock_folder(int *lock, const char *folder, const LvMsg *msg);

/** Give a lock back; -1 is fine. */
void lv_lock_free(int *lock);

#endif /* LINVIDEO_BASE_FILE_H */
