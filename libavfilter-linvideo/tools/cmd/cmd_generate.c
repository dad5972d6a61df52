/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo generate`: what a program does with the public API. The table of options
 * behind it is read for the help alone.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linvideo/linvideo.h>

#include "api/params.h"
#include "base/file.h"
#include "base/text.h"
#include "tools/share/arguments.h"
#include "tools/share/canvas.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/png.h"
#include "tools/share/progress.h"
#include "tools/share/y4m.h"

typedef struct Options {
    LinvideoParams params;
    const char *output;
    int output_from, output_to; ///< its arguments, [from, to)
    int overwrite;
    int frame;        ///< number of the frame for a PNG; -1: the middle one
    int format_given;
    int words;
} Options;

enum OutputKind { OUT_Y4M, OUT_PNG, OUT_PNGS };

/** Where frames go. */
typedef struct Output {
    enum OutputKind kind;
    const char *path; ///< as asked for; "-" is standard output
    int64_t wanted;   ///< OUT_PNG: number of the frame
    LvFile file;      ///< of OUT_PNGS that of one frame
    int is_open;
} Output;

/* Options */

typedef struct Own {
    const char *names[2]; ///< short form first, or NULL
    int (*set)(Options *o, LvArgs *a); ///< 0, or -1 after a message
    const char *value;    ///< what to call it in the help; NULL: takes none
    const char *help;
} Own;

static int set_output(Options *o, LvArgs *a)
{
    o->output_from = a->at - 1;
    o->output      = lv_args_value(a);
    o->output_to   = a->at;
    return o->output ? 0 : -1;
}

static int set_frame(Options *o, LvArgs *a)
{
    return lv_args_int(a, 0, INT32_MAX, &o->frame);
}

static int set_overwrite(Options *o, LvArgs *a)
{
    (void)a;
    return o->overwrite = 1, 0;
}

static int set_verbose(Options *o, LvArgs *a)
{
    (void)a;
    o->params.log_level = LINVIDEO_LOG_VERBOSE;
    return 0;
}

static int set_debug(Options *o, LvArgs *a)
{
    (void)a;
    o->params.log_level = LINVIDEO_LOG_DEBUG;
    return 0;
}

static int set_quiet(Options *o, LvArgs *a)
{
    (void)a;
    o->params.log_level = LINVIDEO_LOG_ERROR;
    o->params.progress  = NULL;
    return 0;
}

static const Own own_options[] = {
    { { "o", "output" }, set_output, "FILE",
      "NAME.y4m: a YUV4MPEG2 video; -: the same to standard output; NAME.png: one "
      "frame; NAME%d.png or NAME%04d.png: every frame, numbered from 0 [out.y4m]" },
    { { NULL, "frame" }, set_frame, "N",
      "number of the frame for a single PNG, from 0 [the middle one]" },
    { { "y", "overwrite" }, set_overwrite, NULL, "overwrite files that exist" },
    { { "v", "verbose" }, set_verbose, NULL, "say more: plans, sizes, times" },
    { { "vv", "debug" }, set_debug, NULL, "say everything" },
    { { "q", "quiet" }, set_quiet, NULL, "no progress and no messages but errors" },
};

enum { OWN_OPTIONS = sizeof(own_options) / sizeof(*own_options) };

static const Own *find_own(const char *name)
{
    for (int i = 0; i < OWN_OPTIONS; i++)
        for (int k = 0; k < 2; k++)
            if (own_options[i].names[k] && !strcmp(own_options[i].names[k], name))
                return &own_options[i];
    return NULL;
}

/* Print text from the given column on, broken at spaces before column 79. */
static void print_wrapped(const char *text, int column)
{
    int at = column;

    while (*text) {
        int n = strcspn(text, " ");

        if (at > column && at + 1 + n > 79) {
            printf("\n%*s", column, "");
            at = column;
        } else if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, text);
        at   += n;
        text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

enum { HELP_COLUMN = 26 };

static void print_option(const char *head, const char *help)
{
    int n = printf("  %s", head);

    if (n > HELP_COLUMN - 2) {
        putchar('\n');
        n = 0;
    }
    printf("%*s", HELP_COLUMN - n, "");
    print_wrapped(help, HELP_COLUMN);
}

static void print_parameters(void)
{
    char head[64], text[LV_OPTION_TEXT];
    const LvOption *o;

    for (int i = 0; (o = lv_option_at(i)); i++) {
        snprintf(head, sizeof(head), "--%s %s", o->name, o->argument);
        lv_option_text(o, text);
        print_option(head, text);
    }
}

static int is_parameter(const char *name)
{
    const LvOption *o;

    for (int i = 0; (o = lv_option_at(i)); i++)
        if (!strcmp(o->name, name))
            return 1;
    return 0;
}

static void help(void)
{
    char head[64];

    puts("Usage: linvideo generate [options] [prompt]\n\n"
         "Makes a video of what the prompt says.\n\n"
         "Options are written --name value or --name=value, with - or _ between words.\n"
         "Defaults are shown in brackets.\n\n"
         "Output:");
    for (int i = 0; i < OWN_OPTIONS; i++) {
        const Own *o = &own_options[i];

        snprintf(head, sizeof(head), "%s%s%s--%s %s", o->names[0] ? "-" : "",
                 o->names[0] ? o->names[0] : "", o->names[0] ? ", " : "",
                 o->names[1], o->value ? o->value : "");
        print_option(head, o->help);
    }
    puts("\nVideo:");
    print_parameters();
    puts("\nExamples:\n"
         "  linvideo generate \"a red circle bouncing on a blue background\"\n"
         "  linvideo generate -o - \"green waves\" | ffmpeg -i - waves.mp4\n"
         "  linvideo generate --seed 7 -o still.png --frame 0 \"white snow falling\"\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 wrong use, 128 + n stopped by signal n.");
}

static int set_word(Options *o, const char *word)
{
    if (o->words++)
        return lv_tool_fail(-1, "two prompts, the second is \"%s\"; put a prompt "
                            "of several words in quotes", word);
    return linvideo_params_set(&o->params, "prompt", word);
}

static int set_option(Options *o, LvArgs *a)
{
    const Own *own = find_own(a->name);
    const char *value;

    if (own && !own->value && a->value)
        return lv_tool_fail(-1, "option %s takes no value", a->name);
    if (own)
        return own->set(o, a);
    if (!is_parameter(a->name))
        return lv_tool_fail(-1, "no option \"%s\"; linvideo generate --help lists "
                            "them", a->name);
    value = lv_args_value(a);
    if (!value)
        return -1;
    if (!strcmp(a->name, "format"))
        o->format_given = 1;
    if (!strcmp(a->name, "prompt_file") && !strcmp(value, "-"))
        value = "/dev/stdin";
    return linvideo_params_set(&o->params, a->name, value);
}

/* -1 to go on, or an exit code. */
static int parse(Options *o, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help")) {
            help();
            return LV_EXIT_OK;
        }
        if ((a.name[0] ? set_option(o, &a) : set_word(o, a.value)) < 0)
            return LV_EXIT_USAGE;
    }
    return -1;
}

/* Output */

static void print_quoted(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_=./:,+@%";
    char line[4096];
    const char *s = lv_text_line(line, sizeof(line), text);

    if (*s && !s[strspn(s, plain)]) {
        fprintf(stderr, " %s", s);
        return;
    }
    fputs(" '", stderr);
    for (; *s; s++) {
        if (*s == '\'')
            fputs("'\\''", stderr);
        else
            fputc(*s, stderr);
    }
    fputc('\'', stderr);
}

/* The user's own command, with ffmpeg behind it. */
static int refuse_ending(const Options *o, int argc, char **argv)
{
    lv_tool_fail(0, "%s: the endings known here are .y4m and .png; ffmpeg writes "
                 "all others:", o->output);
    fputs("    linvideo generate -o -", stderr);
    for (int i = 1; i < argc; i++)
        if (i < o->output_from || i >= o->output_to)
            print_quoted(argv[i]);
    fprintf(stderr, " | ffmpeg%s -i -", o->overwrite ? " -y" : "");
    print_quoted(o->output);
    fputc('\n', stderr);
    return LV_EXIT_USAGE;
}

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
    return name ? 0 : lv_tool_fail(LV_EXIT_USAGE, "%s: a name for many files has "
                                   "one %%d or %%04d, and %%%% for a percent sign",
                                   path);
}

static int choose_format(Options *o, enum OutputKind kind)
{
    enum LinvideoFormat f = o->params.format;

    if (kind == OUT_Y4M && f != LINVIDEO_YUV420P && f != LINVIDEO_YUV444P)
        return lv_tool_fail(LV_EXIT_USAGE, "%s: y4m holds no %s; the format may be "
                            "yuv420p or yuv444p", o->output,
                            f == LINVIDEO_NV12 ? "nv12" : "RGB");
    if (kind != OUT_Y4M && o->format_given && f != LINVIDEO_RGB24)
        return lv_tool_fail(LV_EXIT_USAGE, "%s: a PNG holds rgb24 only; leave the "
                            "option format out", o->output);
    if (kind != OUT_Y4M)
        o->params.format = LINVIDEO_RGB24;
    /* y4m carries no tag, and ffmpeg takes YUV without one for BT.601 in any size. */
    if (o->params.matrix == LINVIDEO_MATRIX_AUTO)
        o->params.matrix = LINVIDEO_MATRIX_BT601;
    if (kind != OUT_PNG && o->frame >= 0)
        return lv_tool_fail(LV_EXIT_USAGE, "option frame goes with a single PNG, "
                            "not with %s", o->output);
    return 0;
}

/* Decide what o->output means: 0, or an exit code. */
static int choose_output(Output *out, Options *o, int argc, char **argv)
{
    struct stat st;
    int ret;

    *out = (Output) { .path = o->output };
    if (!strcmp(o->output, "-")) {
        if (isatty(STDOUT_FILENO))
            return lv_tool_fail(LV_EXIT_USAGE, "video is not written to a terminal; "
                                "pipe it: linvideo generate -o - ... | ffmpeg -i - "
                                "out.mp4");
    } else if (!stat(o->output, &st) && S_ISDIR(st.st_mode)) {
        return lv_tool_fail(LV_EXIT_USAGE, "%s is a folder", o->output);
    } else if (!stat(o->output, &st) && !S_ISREG(st.st_mode)) {
        out->kind = OUT_Y4M;
    } else if (lv_tool_ends_with(o->output, ".png")) {
        out->kind = strchr(o->output, '%') ? OUT_PNGS : OUT_PNG;
        if (out->kind == OUT_PNGS && (ret = check_pattern(o->output)))
            return ret;
    } else if (!lv_tool_ends_with(o->output, ".y4m")) {
        return refuse_ending(o, argc, argv);
    }
    return choose_format(o, out->kind);
}

static int file_error(const char *name, int error)
{
    /* A reader that has gone is the end of a pipeline, not a fault. */
    if (error != EPIPE)
        lv_tool_fail(0, "%s: %s", name, strerror(error));
    return -error;
}

/* All names that would be written, before the work begins. */
static int check_names(const Output *out, const Options *o, const LinvideoInfo *info)
{
    int64_t nb = out->kind == OUT_PNGS ? info->frames : 1;
    int ret = 0;

    for (int64_t i = 0; i < nb && !ret; i++) {
        char *name = out->kind == OUT_PNGS ? expand(out->path, i) : strdup(out->path);

        if (!name)
            return file_error(out->path, ENOMEM);
        if (!(ret = lv_tool_not_input(name, info->model_path)) &&
            !(ret = lv_tool_not_input(name, o->params.prompt_file)))
            ret = i ? lv_tool_is_free(name, o->overwrite) : lv_tool_may_write(name, o->overwrite);
        free(name);
    }
    return ret;
}

/* Open the file for frame number `index`. */
static int output_open(Output *out, int64_t index)
{
    char *name = out->kind == OUT_PNGS ? expand(out->path, index) : strdup(out->path);
    int ret = name ? lv_file_output(&out->file, name, &lv_tool_msg)
                   : file_error(out->path, ENOMEM);

    free(name);
    out->is_open = !ret;
    return ret;
}

/* Close the file: keep it under its name, or drop it. */
static int output_close(Output *out, int keep)
{
    if (!out->is_open)
        return 0;
    out->is_open = 0;
    if (keep)
        return lv_tool_finish(&out->file);
    lv_file_abandon(&out->file);
    return 0;
}

static int write_png(Output *out, const LvCanvas *p)
{
    char note[64];
    LvPngText text[] = {
        { "Description", p->frame.prompt ? p->frame.prompt : "" },
        { "Software", "linvideo" }, { "Comment", note }, { NULL, NULL },
    };

    snprintf(note, sizeof(note), "seed %lld, frame %lld", (long long)p->frame.seed,
             (long long)p->frame.index);
    return lv_png_write(&out->file, p, text);
}

/* 0 to go on, 1 when nothing more is wanted, or negative after a message. */
static int output_frame(Output *out, const LvCanvas *p)
{
    int ret;

    if (out->kind == OUT_PNG && p->frame.index != out->wanted)
        return 0;
    if (!out->is_open && (ret = output_open(out, p->frame.index)) < 0)
        return ret;
    ret = out->kind == OUT_Y4M ? lv_y4m_frame(&out->file, p) : write_png(out, p);
    if (ret < 0)
        return file_error(out->file.path, -ret);
    if (out->kind == OUT_PNGS && (ret = output_close(out, 1)) < 0)
        return ret;
    return out->kind == OUT_PNG;
}

/* Signals. They are blocked in every thread and taken by one of ours, so that no
 * code runs inside a handler. */

typedef struct Watch {
    _Atomic(LinvideoContext *) context; ///< NULL while it is opened
    sigset_t set, before;
    pthread_t thread;
    int running;
    volatile sig_atomic_t caught; ///< the first signal that came, or 0
} Watch;

static void block_signals(Watch *w)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction old;

    memset(w, 0, sizeof(*w));
    sigemptyset(&w->set);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        sigaction(signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)
            sigaddset(&w->set, signals[i]);
    }
    pthread_sigmask(SIG_BLOCK, &w->set, &w->before);
}

/* timeout(1) and some terminals send a signal twice at once: within half a second they
 * are one. */
static void take_repeats(const Watch *w)
{
    const struct timespec half = { .tv_nsec = 500000000 }, none = { 0 };

    nanosleep(&half, NULL);
    while (sigtimedwait(&w->set, NULL, &none) > 0)
        ;
}

static void *wait_signal(void *opaque)
{
    Watch *w = opaque;
    int n;

    if (sigwait(&w->set, &n))
        return NULL;
    w->caught = n;
    linvideo_cancel(w->context);
    if (w->context)
        take_repeats(w);
    pthread_sigmask(SIG_SETMASK, &w->before, NULL); /* the next one kills */
    if (!w->context)
        raise(n); /* nothing is written yet */
    for (;;)
        pause();
}

static void start_watch(Watch *w)
{
    w->running = !pthread_create(&w->thread, NULL, wait_signal, w);
    if (!w->running)
        pthread_sigmask(SIG_SETMASK, &w->before, NULL);
}

static void stop_watch(Watch *w)
{
    if (!w->running)
        return;
    pthread_cancel(w->thread);
    pthread_join(w->thread, NULL);
    w->running = 0;
}

/* The run */

static void print_summary(const LinvideoContext *c, const Output *out, int64_t frames)
{
    static const char *const stages[] = { "loading", "text", "denoising", "decoding" };
    LinvideoInfo info;
    struct rusage usage;
    char rate[32], memory[32], path[4096];

    linvideo_info(c, &info);
    lv_text_line(path, sizeof(path), out->path);
    getrusage(RUSAGE_SELF, &usage);
    flockfile(stderr);
    fputs("linvideo: ", stderr);
    if (out->kind == OUT_PNG)
        fprintf(stderr, "frame %lld", (long long)out->wanted);
    else
        fprintf(stderr, "%lld frames", (long long)frames);
    fprintf(stderr, " of %dx%d at %s/s to %s, seed %lld\nlinvideo: ", info.width,
            info.height, lv_rate_text(rate, sizeof(rate), info.rate_num,
                                      info.rate_den),
            strcmp(out->path, "-") ? path : "standard output",
            (long long)info.seed);
    for (int i = 0; i < 4; i++)
        fprintf(stderr, "%s %.2f s, ", stages[i], info.seconds[i]);
    fprintf(stderr, "peak memory %s\n",
            lv_bytes_text(memory, sizeof(memory), usage.ru_maxrss * 1024.0));
    funlockfile(stderr);
}

static int begin_output(const LinvideoContext *c, const Options *o, Output *out,
                        LvCanvas *p)
{
    LinvideoInfo info;
    int ret;

    linvideo_info(c, &info);
    out->wanted = o->frame >= 0 ? o->frame : info.frames / 2;
    if (out->kind == OUT_PNG && out->wanted >= info.frames) {
        lv_tool_fail(0, "option frame: %d asked for, the video has %lld, numbered "
                     "from 0", o->frame, (long long)info.frames);
        return -EINVAL;
    }
    if (lv_canvas_alloc(p, o->params.format, info.width, info.height) < 0)
        return file_error(out->path, ENOMEM);
    ret = check_names(out, o, &info);
    if (!ret && out->kind == OUT_Y4M)
        ret = output_open(out, 0);
    if (ret < 0 || out->kind != OUT_Y4M)
        return ret;
    ret = lv_y4m_header(&out->file, p, info.rate_num, info.rate_den);
    return ret < 0 ? file_error(out->path, -ret) : 0;
}

/* All frames: 0 or a negative code, after a message. */
static int make_frames(LinvideoContext *c, Output *out, LvCanvas *p, int64_t *frames)
{
    int ret;

    while (!(ret = linvideo_next_frame(c, &p->frame))) {
        ret = output_frame(out, p);
        if (ret)
            break;
        ++*frames;
    }
    return ret == 1 || ret == LINVIDEO_EOF ? 0 : ret;
}

static int exit_code(int ret)
{
    if (ret == -EPIPE)
        return 128 + SIGPIPE;
    return !ret ? LV_EXIT_OK : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
}

static int run(LinvideoContext *c, const Options *o, Output *out, LvBar *progress)
{
    LvCanvas p = { 0 };
    int64_t frames = 0;
    int ret = begin_output(c, o, out, &p), closed;

    if (!ret)
        ret = make_frames(c, out, &p, &frames);
    lv_bar_clear(progress);
    closed = output_close(out, !ret);
    if (!ret)
        ret = closed;
    if (!ret && o->params.log_level >= LINVIDEO_LOG_INFO)
        print_summary(c, out, frames);
    lv_canvas_free(&p);
    return ret;
}

static int cmd_generate(int argc, char **argv)
{
    Options o = { .output = "out.y4m", .frame = -1 };
    LvBar progress;
    LinvideoContext *c = NULL;
    Output out;
    Watch watch;
    int ret;

    lv_bar_init(&progress);
    linvideo_params_default(&o.params);
    o.params.log      = lv_tool_log;
    o.params.progress = lv_bar_show;
    o.params.opaque   = &progress;
    ret = parse(&o, argc, argv);
    if (ret >= 0 || (ret = choose_output(&out, &o, argc, argv)))
        return ret;

    block_signals(&watch);
    start_watch(&watch);
    ret = linvideo_open(&c, &o.params);
    watch.context = c;
    if (ret < 0)
        return exit_code(ret);
    ret = run(c, &o, &out, &progress);
    stop_watch(&watch);
    linvideo_close(&c);
    if (ret == LINVIDEO_ERR_CANCELLED)
        return lv_tool_fail(128 + watch.caught, "stopped");
    return exit_code(ret);
}

const LvCommand lv_cmd_generate = {
    .name  = "generate",
    .about = "make a video from a text",
    .run   = cmd_generate,
};
