/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/video.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/common.h"
#include "base/map.h"

enum { LINE = 1024, BEHIND = 1 << 16 }; /* bytes of a line; more than a page */

struct LvVideoFile {
    char *path;
    LvMap map;
    LvY4m y4m;
    LvReader first, next; /* what is left at the first frame, and now */
    int64_t frames;
    LvImage image;
};

/* Read the next bytes of the file, or all that is left. */
static int load(const LvVideoFile *f, size_t bytes)
{
    return lv_map_load(&f->map, f->next.data, LV_MIN(bytes, f->next.size), f->next.msg);
}

/* Bytes of a frame's samples, at most. */
static size_t frame_bytes(const LvY4m *y)
{
    return 3 * (size_t)y->width * (size_t)y->height;
}

static int read_head(LvVideoFile *f)
{
    static const char begin[] = "YUV4MPEG2 ";
    LvReader *r = &f->next;
    int ret = load(f, LINE);

    if (ret < 0)
        return ret;
    if (r->size < sizeof(begin) || memcmp(r->data, begin, sizeof(begin) - 1))
        return lv_reader_fail(r, "expected a YUV4MPEG2 file (ffmpeg -i FILE video.y4m makes one)");
    return lv_y4m_open(&f->y4m, r);
}

/* Let go of pages behind, the one that a frame begins in too. */
static void drop(LvVideoFile *f, const uint8_t *from)
{
    size_t back = LV_MIN((size_t)(from - (const uint8_t *)f->map.data), (size_t)BEHIND);

    lv_map_drop(&f->map, from - back, (size_t)(f->next.data - from) + back);
}

static int count(LvVideoFile *f)
{
    const uint8_t *from;
    int ret = 0;

    f->first = f->next;
    for (; f->next.size && ret >= 0; f->frames++) {
        from = f->next.data;
        if ((ret = load(f, LINE)) >= 0)
            ret = lv_y4m_skip(&f->y4m, &f->next);
        drop(f, from);
    }
    f->next = f->first;
    return ret < 0 || f->frames ? ret : lv_reader_fail(&f->next, "has no frames");
}

static int open_file(LvVideoFile *f, const char *option, const char *path, const LvMsg *msg)
{
    int ret = lv_map_open_late(&f->map, path, msg);

    if (ret < 0)
        return ret;
    if (!(f->path = strdup(path)))
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", option);
    f->next = (LvReader) { option, f->path, f->map.data, f->map.size, msg };
    if (!f->map.size)
        return lv_reader_fail(&f->next, "an empty file");
    if ((ret = read_head(f)) < 0 || (ret = count(f)) < 0)
        return ret;
    return lv_image_new(&f->image, &f->next, f->y4m.width, f->y4m.height);
}

int lv_video_file_is(const char *path)
{
    char begin[10] = "";
    struct stat st;
    FILE *f = !stat(path, &st) && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    int is  = f && fread(begin, 1, sizeof(begin), f) == sizeof(begin) &&
              !memcmp(begin, "YUV4MPEG2 ", sizeof(begin));

    if (f)
        fclose(f);
    return is;
}

int lv_video_file_open(LvVideoFile **out, const char *option, const char *path, const LvMsg *msg)
{
    LvVideoFile *f = *out = calloc(1, sizeof(*f));
    int ret;

    if (!f)
        return lv_fail(msg, LV_ERR(ENOMEM), "%s: out of memory", option);
    if ((ret = open_file(f, option, path, msg)) < 0)
        lv_video_file_close(out);
    return ret;
}

void lv_video_file_close(LvVideoFile **out)
{
    LvVideoFile *f = *out;

    *out = NULL;
    if (!f)
        return;
    lv_map_close(&f->map);
    free(f->image.rgb);
    free(f->path);
    free(f);
}

const LvY4m *lv_video_file_head(const LvVideoFile *f)
{
    return &f->y4m;
}

int64_t lv_video_file_frames(const LvVideoFile *f)
{
    return f->frames;
}

int lv_video_file_next(LvVideoFile *f, const LvImage **image)
{
    const uint8_t *from = f->next.data;
    int ret = load(f, LINE + frame_bytes(&f->y4m));

    if (ret < 0 || (ret = lv_y4m_read(&f->image, &f->y4m, &f->next)) < 0)
        return ret;
    drop(f, from);
    *image = &f->image;
    return 0;
}

void lv_video_file_rewind(LvVideoFile *f)
{
    f->next = f->first;
}
