/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/share/encoder.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/png.h"
#include "tools/share/signals.h"
#include "tools/share/y4m.h"

/* Names */

/* The pattern with its %d or %0Nd replaced; malloc'ed. NULL with errno EINVAL
 * unless there is exactly one, and a % only as %%. */
static char *expand(const char *pattern, int64_t number)
{
    char *out = malloc(strlen(pattern) + 64), *to = out;
    int found = 0;

    for (const char *p = pattern; out && *p;) {
        char *end = (char *)p + 1;
        long width = 0;

        if (*p != '%' || p[1] == '%') {
            *to++ = *p;
            p += 1 + (*p == '%');
            continue;
        }
        if (*end == '0')
            width = strtol(end, &end, 10);
        if (*end != 'd' || width < 0 || width > 20 || found++) {
            free(out);
            errno = EINVAL;
            return NULL;
        }
        to += sprintf(to, "%0*lld", (int)width, (long long)number);
        p   = end + 1;
    }
    if (out)
        *to = '\0';
    return out;
}

static int check_pattern(const char *path)
{
    char *name = expand(path, 0);

    free(name);
    return name ? 0 : lv_tool_fail(-1, "%s: a name for many files has one %%d or %%04d, and "
                                   "%%%% for a percent sign", path);
}

static char *name_of(const LvSink *s, int64_t index)
{
    return s->kind == LV_SINK_PNGS ? expand(s->path, index) : strdup(s->path);
}

/* Choosing */

static LvSinkKind kind_of(const char *path)
{
    if (lv_tool_ends_with(path, ".png"))
        return strchr(path, '%') ? LV_SINK_PNGS : LV_SINK_PNG;
    if (lv_tool_ends_with(path, ".y4m"))
        return LV_SINK_Y4M;
    return lv_encoder_format(path) ? LV_SINK_FFMPEG : LV_SINK_NONE;
}

int lv_sink_choose(LvSink *s)
{
    struct stat st;

    s->kind = LV_SINK_Y4M;
    if (!strcmp(s->path, "-"))
        return !isatty(STDOUT_FILENO) ? 0 :
               lv_tool_fail(-1, "video is not written to a terminal; pipe it: linvideo "
                            "generate -o - ... | ffmpeg -i - out.mp4");
    if (!stat(s->path, &st) && S_ISDIR(st.st_mode))
        return lv_tool_fail(-1, "%s is a folder", s->path);
    if (!stat(s->path, &st) && !S_ISREG(st.st_mode))
        return 0;
    s->kind = kind_of(s->path);
    if (s->kind == LV_SINK_FFMPEG && !lv_encoder_is_here())
        return lv_tool_fail(-1, "%s: there is no ffmpeg on the PATH, which writes it; "
                            "NAME.y4m and NAME.png need none", s->path);
    return s->kind == LV_SINK_PNGS ? check_pattern(s->path) : 0;
}

int lv_sink_format(LvSink *s, LinvideoParams *p)
{
    int png = s->kind == LV_SINK_PNG || s->kind == LV_SINK_PNGS;
    enum LinvideoFormat f = p->format;

    if (!png && f != LINVIDEO_YUV420P && f != LINVIDEO_YUV444P)
        return lv_tool_fail(-1, "%s: y4m holds no %s; the format may be yuv420p or yuv444p",
                            s->path, f == LINVIDEO_NV12 ? "nv12" : "RGB");
    if (png && s->format_given && f != LINVIDEO_RGB24)
        return lv_tool_fail(-1, "%s: a PNG holds rgb24 only; leave the option format out",
                            s->path);
    if (s->kind != LV_SINK_PNG && s->frame >= 0)
        return lv_tool_fail(-1, "option frame goes with a single PNG, not with %s", s->path);
    if (png)
        p->format = LINVIDEO_RGB24;
    /* y4m carries no tag, and ffmpeg takes YUV without one for BT.601 in any size. */
    if (p->matrix == LINVIDEO_MATRIX_AUTO)
        p->matrix = s->kind == LV_SINK_FFMPEG ? LINVIDEO_MATRIX_BT709
                                              : LINVIDEO_MATRIX_BT601;
    s->canvas.format = p->format;
    s->matrix        = p->matrix;
    return 0;
}

/* Opening */

static int file_error(const char *name, int error)
{
    if (error == ECANCELED)
        return LINVIDEO_ERR_CANCELLED;
    /* A reader that has gone is the end of a pipeline, not a fault. */
    if (error != EPIPE)
        lv_tool_fail(0, "%s: %s", name, strerror(error));
    return -error;
}

void lv_sink_inputs(const char *inputs[LV_SINK_INPUTS], const LinvideoParams *p,
                    const LinvideoInfo *info)
{
    const char *const files[] = { info->model_path, p->prompt_file, p->image, p->last_image,
                                  p->video };

    for (int i = 0; i < LV_SINK_INPUTS - 1; i++)
        if (files[i] && *files[i])
            *inputs++ = files[i];
    *inputs = NULL;
}

static int is_input(const char *name, const char *const *inputs)
{
    int ret = 0;

    for (; *inputs && !ret; inputs++)
        ret = lv_tool_not_input(name, *inputs);
    return ret;
}

static int is_pipe(const char *name)
{
    struct stat st;

    return !stat(name, &st) && S_ISFIFO(st.st_mode);
}

/* Whether somebody reads frames as they come. */
static int has_reader(const LvSink *s)
{
    struct stat st;

    if (s->kind != LV_SINK_Y4M || strcmp(s->path, "-"))
        return s->kind == LV_SINK_Y4M && is_pipe(s->path);
    return !fstat(STDOUT_FILENO, &st) && !S_ISREG(st.st_mode);
}

/* All names that would be written, before the work begins. */
static int check_names(const LvSink *s, int64_t frames, const char *const *inputs)
{
    int64_t nb = s->kind == LV_SINK_PNGS ? frames : 1;
    int ret = 0;

    for (int64_t i = 0; i < nb && !ret; i++) {
        char *name = name_of(s, i);

        if (!name)
            return file_error(s->path, ENOMEM);
        if (s->no_pipes && is_pipe(name))
            ret = lv_tool_fail(-EINVAL, "%s: expected a file, got a pipe", name);
        else if (!(ret = is_input(name, inputs)))
            ret = i ? lv_tool_is_free(name, s->overwrite) : lv_tool_may_write(name, s->overwrite);
        free(name);
    }
    return ret;
}

/* Open a named pipe once it has a reader, unless a signal comes before. */
static int open_pipe(LvSink *s, const char *name)
{
    const struct timespec soon = { .tv_nsec = 50000000 };
    int fd;

    while ((fd = open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 && errno == ENXIO) {
        if (lv_signals_came())
            return LINVIDEO_ERR_CANCELLED;
        nanosleep(&soon, NULL);
    }
    if (fd < 0 || fcntl(fd, F_SETFL, O_WRONLY) < 0)
        return file_error(name, errno);
    return lv_file_stream(&s->file, fd, name, &lv_tool_msg);
}

static int open_file(LvSink *s, int64_t index)
{
    char *name = name_of(s, index);
    int ret = !name         ? file_error(s->path, ENOMEM)
            : is_pipe(name) ? open_pipe(s, name)
                            : lv_file_output(&s->file, name, &lv_tool_msg);

    free(name);
    s->is_open = !ret;
    if (!ret)
        s->file.stop = s->file.tmp ? NULL : lv_signals_came;
    return ret;
}

/* Let an ffmpeg read what goes to s->file. */
static int open_encoder(LvSink *s, const LinvideoContext *c)
{
    LinvideoInfo info;
    int ret = lv_file_create(&s->part, s->path, &lv_tool_msg);

    if (ret < 0)
        return ret;
    linvideo_info(c, &info);
    ret = lv_encoder_start(s->path, s->part.tmp, s->matrix, info.seed, &s->file, &s->ffmpeg);
    if (ret < 0)
        lv_file_abandon(&s->part);
    s->is_open = ret >= 0;
    if (s->is_open)
        s->file.stop = lv_signals_came;
    return ret;
}

/* H.264 in 4:2:0, which ffmpeg makes of these, has no odd sizes. */
static int check_size(const LvSink *s, const LinvideoInfo *info)
{
    if (s->kind != LV_SINK_FFMPEG || s->canvas.format != LINVIDEO_YUV420P ||
        lv_tool_ends_with(s->path, ".webm") || !(info->width % 2 || info->height % 2))
        return 0;
    return lv_tool_fail(-EINVAL, "%s: expected an even width and height, got %dx%d; .webm "
                        "takes any, and the format yuv444p", s->path, info->width, info->height);
}

static int begin(LvSink *s, const LinvideoContext *c, const char *const *inputs)
{
    LinvideoInfo info;
    int ret;

    linvideo_info(c, &info);
    if (info.frames < 0 && !has_reader(s))
        return lv_tool_fail(-EINVAL, "%s: expected a pipe, as with -o - | ffplay -, whose reader "
                            "ends a video that has no end", s->path);
    s->wanted = s->frame >= 0 ? s->frame : info.frames / 2;
    if (s->kind == LV_SINK_PNG && s->wanted >= info.frames)
        return lv_tool_fail(-EINVAL, "option frame: %d asked for, the video has %lld, numbered "
                            "from 0", s->frame, (long long)info.frames);
    if (lv_canvas_alloc(&s->canvas, s->canvas.format, info.width, info.height) < 0)
        return file_error(s->path, ENOMEM);
    if ((ret = check_size(s, &info)) < 0 || (ret = check_names(s, info.frames, inputs)) < 0 ||
        s->kind == LV_SINK_PNG || s->kind == LV_SINK_PNGS)
        return ret;
    ret = s->kind == LV_SINK_FFMPEG ? open_encoder(s, c) : open_file(s, 0);
    if (ret < 0)
        return ret;
    ret = lv_y4m_header(&s->file, &s->canvas, info.rate_num, info.rate_den);
    return ret < 0 ? file_error(s->path, -ret) : 0;
}

/* Frames */

static int write_png(LvSink *s)
{
    const LinvideoFrame *f = &s->canvas.frame;
    char note[64];
    LvPngText text[] = {
        { "Description", f->prompt ? f->prompt : "" },
        { "Software", "linvideo" }, { "Comment", note }, { NULL, NULL },
    };

    snprintf(note, sizeof(note), "seed %lld, frame %lld", (long long)f->seed,
             (long long)f->index);
    return lv_png_write(&s->file, &s->canvas, text);
}

static int close_file(LvSink *s, int keep)
{
    if (!s->is_open)
        return 0;
    s->is_open = 0;
    if (keep && lv_file_flush(&s->file) != -ECANCELED)
        return lv_tool_finish(&s->file);
    lv_file_abandon(&s->file);
    return keep ? LINVIDEO_ERR_CANCELLED : 0;
}

/* 0 to go on, 1 when nothing more is wanted, or negative after a message. */
static int take_frame(LvSink *s)
{
    int y4m = s->kind == LV_SINK_Y4M || s->kind == LV_SINK_FFMPEG, ret;

    if (s->kind == LV_SINK_PNG && s->canvas.frame.index != s->wanted)
        return 0;
    if (!s->is_open && (ret = open_file(s, s->canvas.frame.index)) < 0)
        return ret;
    ret = y4m ? lv_y4m_frame(&s->file, &s->canvas) : write_png(s);
    if (ret < 0)
        return file_error(s->file.path, -ret);
    if (s->kind == LV_SINK_PNGS && (ret = close_file(s, 1)) < 0)
        return ret;
    s->frames++;
    return s->kind == LV_SINK_PNG;
}

static int take_frames(LvSink *s, LinvideoContext *c)
{
    int ret;

    while (!(ret = s->made = linvideo_next_frame(c, &s->canvas.frame)))
        if ((ret = take_frame(s)))
            break;
    return ret == 1 || ret == LINVIDEO_EOF ? 0 : ret;
}

/* What ret, of taking the frames, becomes once ffmpeg has ended. */
static int close_encoder(LvSink *s, int ret)
{
    int ended = lv_encoder_end(s->ffmpeg, !ret || ret == -EPIPE);

    s->ffmpeg = 0;
    if ((!ret && ended) || ret == -EPIPE)
        ret = lv_tool_fail(-EIO, "%s: ffmpeg ended with status %d before its work was done",
                           s->path, ended);
    if (lseek(s->part.fd, 0, SEEK_END) <= 0 && !ret)
        ret = lv_tool_fail(-EIO, "%s: ffmpeg wrote nothing", s->path);
    return lv_file_end(&s->part, ret, NULL, NULL, &lv_tool_msg);
}

static int end(LvSink *s, int ret)
{
    int closed = close_file(s, !ret);

    if (!ret)
        ret = closed;
    return s->ffmpeg ? close_encoder(s, ret) : ret;
}

int lv_sink_run(LvSink *s, LinvideoContext *c, const char *const *inputs)
{
    int ret = begin(s, c, inputs);

    if (!ret)
        ret = take_frames(s, c);
    ret = end(s, ret);
    lv_canvas_free(&s->canvas);
    return ret;
}
