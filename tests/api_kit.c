/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/api_kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256], model[4096];

/* Callbacks */

static void keep_line(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    Watch *w   = opaque;
    size_t len = strlen(w->all);

    w->lines[level]++;
    if (level == LINVIDEO_LOG_ERROR)
        snprintf(w->error, sizeof(w->error), "%s", line);
    snprintf(w->all + len, sizeof(w->all) - len, "%s\n", line);
}

static void keep_step(void *opaque, const LinvideoProgress *p)
{
    Watch *w = opaque;

    if (w->steps < KIT_STEPS)
        w->step[w->steps] = *p;
    if (w->cancel && w->steps == w->cancel_at)
        linvideo_cancel(w->cancel);
    w->steps++;
}

LinvideoParams kit_params(Watch *w)
{
    LinvideoParams p;

    memset(w, 0, sizeof(*w));
    linvideo_params_default(&p);
    p.prompt   = KIT_PROMPT;
    p.seed     = 1;
    p.steps    = 2;
    p.guidance = 1;
    p.device   = "cpu";
    p.log      = keep_line;
    p.progress = keep_step;
    p.opaque   = w;
    return p;
}

void kit_one_error(Watch *w, const char *part)
{
    ck_assert_msg(w->lines[LINVIDEO_LOG_ERROR] == 1, "%d error lines:\n%s",
                  w->lines[LINVIDEO_LOG_ERROR], w->all);
    ck_assert_msg(strstr(w->error, part) && !strchr(w->error, '\n'),
                  "no '%s' in: %s", part, w->error);
    memset(w, 0, sizeof(*w));
}

LinvideoContext *kit_open(const LinvideoParams *p)
{
    Watch *w = p->opaque;
    LinvideoContext *c;
    int ret = linvideo_open(&c, p);

    ck_assert_msg(!ret, "%d: %s", ret, w->error);
    ck_assert_int_eq(w->lines[LINVIDEO_LOG_ERROR], 0);
    ck_assert_ptr_nonnull(c);
    return c;
}

void kit_refused(const LinvideoParams *p, Watch *w, int code, const char *const *parts)
{
    LinvideoContext *c = (LinvideoContext *)w;
    int ret;

    memset(w, 0, sizeof(*w));
    ret = linvideo_open(&c, p);
    ck_assert_msg(ret == code, "%d, not %d: %s", ret, code, w->error);
    ck_assert_ptr_null(c);
    for (int i = 0; i < KIT_PARTS && parts[i]; i++)
        ck_assert_msg(strstr(w->error, parts[i]), "no '%s' in: %s", parts[i], w->error);
    kit_one_error(w, "");
}

/* Files */

const char *kit_folder(void)
{
    return folder;
}

const char *kit_path(const char *name)
{
    static char path[8][sizeof(folder) + 256 + 1];
    static unsigned next;
    char *p = path[next++ % 8];

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

const char *kit_model(void)
{
    return model;
}

static void find_model(void)
{
    static Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo info;

    if (linvideo_open(&c, &p) < 0) {
        fprintf(stderr, "%s\n", w.error);
        exit(1);
    }
    linvideo_info(c, &info);
    snprintf(model, sizeof(model), "%s", info.model_path);
    linvideo_close(&c);
}

void kit_start(void)
{
    const char *tmp = getenv("TMPDIR");

    setenv("LINVIDEO_MODEL_PATH", LV_TEST_MADE "/model", 0);
    snprintf(folder, sizeof(folder), "%s/linvideo-api-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    find_model();
}

void kit_end(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *e;

    while (dir && (e = readdir(dir)))
        if (e->d_name[0] != '.')
            remove(kit_path(e->d_name));
    if (dir)
        closedir(dir);
    rmdir(folder);
}

void kit_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

char *kit_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *data;

    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    data = malloc(*size);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

/* Frames */

int kit_planes(int format)
{
    return format == LINVIDEO_RGB24 ? 1 : format == LINVIDEO_NV12 ? 2 : 3;
}

static int halved(int format, int plane)
{
    return plane && (format == LINVIDEO_YUV420P || format == LINVIDEO_NV12);
}

int kit_cols(int format, int plane, int width)
{
    if (format == LINVIDEO_RGB24)
        return 3 * width;
    if (halved(format, plane))
        width = format == LINVIDEO_NV12 ? LV_ROUND_UP(width, 2) : (width + 1) / 2;
    return width;
}

int kit_rows(int format, int plane, int height)
{
    return halved(format, plane) ? (height + 1) / 2 : height;
}

static size_t plane_bytes(const Video *v, int plane)
{
    return (size_t)kit_cols(v->format, plane, v->info.width) *
           (size_t)kit_rows(v->format, plane, v->info.height);
}

Video kit_video(const LinvideoContext *c, int format)
{
    Video v = { .format = format };

    linvideo_info(c, &v.info);
    for (int i = 0; i < kit_planes(format); i++)
        v.bytes += plane_bytes(&v, i);
    v.room = v.info.frames < 0 ? 20 : v.info.frames;
    v.data = calloc((size_t)v.room, v.bytes);
    v.shot = calloc((size_t)v.room, sizeof(*v.shot));
    ck_assert(v.data && v.shot);
    return v;
}

const uint8_t *kit_plane(const Video *v, int64_t i, int plane)
{
    const uint8_t *p = v->data + (size_t)i * v->bytes;

    for (int k = 0; k < plane; k++)
        p += plane_bytes(v, k);
    return p;
}

int kit_next(Video *v, LinvideoContext *c)
{
    LinvideoFrame f = { .index = -1 };
    int64_t at = LV_MIN(v->nb, v->room - 1);
    int ret;

    for (int i = 0; i < kit_planes(v->format); i++) {
        f.data[i]   = (uint8_t *)(uintptr_t)kit_plane(v, at, i);
        f.stride[i] = kit_cols(v->format, i, v->info.width);
    }
    ret = linvideo_next_frame(c, &f);
    if (ret)
        return ret;
    if (v->nb == v->room)
        ck_abort_msg("more than %d frames", (int)v->room);
    v->shot[v->nb] = (Shot) { .index = f.index, .clip = f.clip, .seed = f.seed };
    snprintf(v->shot[v->nb++].prompt, sizeof(v->shot->prompt), "%s", f.prompt);
    return 0;
}

Video kit_make(const LinvideoParams *p)
{
    Watch *w = p->opaque;
    LinvideoContext *c = kit_open(p);
    Video v = kit_video(c, (int)p->format);
    int ret;

    while (!(ret = kit_next(&v, c)))
        ;
    ck_assert_msg(ret == LINVIDEO_EOF, "%d: %s", ret, w->error);
    ck_assert_int_eq(v.nb, v.room);
    ck_assert_int_eq(w->lines[LINVIDEO_LOG_ERROR], 0);
    linvideo_close(&c);
    return v;
}

void kit_free(Video *v)
{
    free(v->data);
    free(v->shot);
}

int kit_same(const Video *a, int64_t i, const Video *b, int64_t j)
{
    return a->bytes == b->bytes && !memcmp(a->data + (size_t)i * a->bytes,
                                           b->data + (size_t)j * b->bytes, a->bytes);
}

int kit_equal(const Video *a, const Video *b)
{
    int same = a->nb == b->nb;

    for (int64_t i = 0; i < a->nb && same; i++)
        same = kit_same(a, i, b, i);
    return same;
}
