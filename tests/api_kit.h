/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the tests of the public functions share: a log that counts, videos kept in
 * memory, changed copies of the model, allocations that fail on demand.
 * Of the tests.
 */

#ifndef LINVIDEO_TESTS_API_KIT_H
#define LINVIDEO_TESTS_API_KIT_H

#include <check.h>

#include "base/common.h"
#include "linvideo/linvideo.h"

enum { KIT_STEPS = 600, KIT_TEXT = 2048, KIT_PARTS = 4 };

/** Prompt of the tests. */
#define KIT_PROMPT "a large red circle moving left on a blue gradient background"

/** What the callbacks of a context have seen. */
typedef struct Watch {
    int lines[5];               ///< by level
    char error[KIT_TEXT];       ///< last error line
    char all[4 * KIT_TEXT];     ///< every line, as long as there is room
    LinvideoProgress step[KIT_STEPS];
    int steps;                  ///< calls of progress; above KIT_STEPS not kept
    LinvideoContext *cancel;    ///< to cancel
    int cancel_at;              ///< in this call of progress, from 0
} Watch;

/** Defaults, a prompt, seed 1, 2 steps without guidance, callbacks to w (zeroed). */
LinvideoParams kit_params(Watch *w);

/** Open p; it must succeed without an error line. */
LinvideoContext *kit_open(const LinvideoParams *p);

/** Open p; it must fail with code and one error line that has all parts (ended by
 *  NULL or KIT_PARTS). Clears w. */
void kit_refused(const LinvideoParams *p, Watch *w, int code, const char *const *parts);

/** Check that w has one error line with part in it, and clear it. */
void kit_one_error(Watch *w, const char *part);

/** Folder for files, removed at the end; and a path in it (kept for the next 7
 *  calls). */
const char *kit_folder(void);
const char *kit_path(const char *name);

/** Make the folder, remember where the model lies; remove the folder. */
void kit_start(void);
void kit_end(void);

/** Path of the embedded model. */
const char *kit_model(void);

/** Write a file. */
void kit_write(const char *path, const void *data, size_t size);

/** All of a file, to be freed. */
char *kit_read(const char *path, size_t *size);

/* Frames */

/** A delivered frame but its planes. */
typedef struct Shot {
    int64_t index, clip, seed;
    char prompt[128];
} Shot;

/** A video in memory, its planes close together. */
typedef struct Video {
    LinvideoInfo info;     ///< its strings are gone when the context is
    int format;
    int64_t room, nb;      ///< frames
    size_t bytes;          ///< of a frame
    uint8_t *data;
    Shot *shot;            ///< [room]
} Video;

/** Columns and rows of a plane. */
int kit_cols(int format, int plane, int width);
int kit_rows(int format, int plane, int height);

/** Planes of a format. */
int kit_planes(int format);

/** Room for the frames that c makes, 20 of a video without an end, none of them read yet. */
Video kit_video(const LinvideoContext *c, int format);

/** Read one frame, or what linvideo_next_frame() said. Allocates nothing. */
int kit_next(Video *v, LinvideoContext *c);

/** Open, read all frames, close; all must succeed. */
Video kit_make(const LinvideoParams *p);

void kit_free(Video *v);

/** Plane of frame i. */
const uint8_t *kit_plane(const Video *v, int64_t i, int plane);

/** Whether frame i of a is frame j of b. */
int kit_same(const Video *a, int64_t i, const Video *b, int64_t j);

/** Whether all frames are the same. */
int kit_equal(const Video *a, const Video *b);

/* Allocations of the library's own objects, and of these tests with libcheck: no
 * ck_assert while they are counted */

/** Count from 0 on, and let allocation n (from 1) and later ones fail when all is
 *  set; 0: none. */
void kit_arm(long n, int all);

/** Count no more. @return allocations since kit_arm() */
long kit_disarm(void);

/** Allocations that were not freed. */
long kit_live(void);

/* The suite's parts */

void api_add_options(Suite *suite);
void api_add_open(Suite *suite);
void api_add_frames(Suite *suite);
void api_add_progress(Suite *suite);
void api_add_memory(Suite *suite);
void api_add_device(Suite *suite);
void api_add_image(Suite *suite);
void api_add_video(Suite *suite);
void api_add_range(Suite *suite);
void api_add_steer(Suite *suite);
void api_add_windows(Suite *suite);
void api_add_causal(Suite *suite);
void api_add_use(Suite *suite);

#endif /* LINVIDEO_TESTS_API_KIT_H */
