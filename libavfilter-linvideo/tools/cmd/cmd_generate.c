/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo generate`: what a program does with the public API.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <linvideo/linvideo.h>

#include "base/text.h"
#include "tools/share/arguments.h"
#include "tools/share/events.h"
#include "tools/share/help.h"
#include "tools/share/message.h"
#include "tools/share/preview_png.h"
#include "tools/share/progress.h"
#include "tools/share/signals.h"
#include "tools/share/sink.h"

typedef struct Options {
    LinvideoParams params;
    LvSink sink;
    int output_from, output_to; ///< arguments of the output, [from, to)
    int json;
    LvBar bar;                  ///< of progress, without json
    LvEvents events;            ///< with it
    LvPreviewFile preview;
    int words;
} Options;

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
    o->sink.path   = lv_args_value(a);
    o->output_to   = a->at;
    return o->sink.path ? 0 : -1;
}

static int set_frame(Options *o, LvArgs *a)
{
    return lv_args_int(a, 0, INT32_MAX, &o->sink.frame);
}

static int set_preview(Options *o, LvArgs *a)
{
    o->preview.path = lv_args_value(a);
    return o->preview.path ? 0 : -1;
}

static int set_overwrite(Options *o, LvArgs *a)
{
    (void)a;
    return o->sink.overwrite = 1, 0;
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

static int set_json(Options *o, LvArgs *a)
{
    (void)a;
    return o->json = 1, 0;
}

static const Own own_options[] = {
    { { "o", "output" }, set_output, "FILE",
      "NAME.y4m: a YUV4MPEG2 video; -: the same to standard output; NAME.mp4, .webm, .mkv: "
      "by the ffmpeg on the PATH; NAME.png: one "
      "frame; NAME%d.png or NAME%04d.png: every frame, numbered from 0 [out.y4m]" },
    { { NULL, "frame" }, set_frame, "N",
      "number of the frame for a single PNG, from 0 [the middle one]" },
    { { NULL, "preview" }, set_preview, "NAME.png",
      "an image of the clip while it is sampled, written again at each step: small frames, by "
      "a linear map from latents" },
    { { NULL, "json" }, set_json, NULL,
      "for programs: progress and result as JSON on standard output, an object a line" },
    { { "y", "overwrite" }, set_overwrite, NULL, "overwrite files that exist" },
    { { "v", "verbose" }, set_verbose, NULL, "print plans, sizes and times too" },
    { { "vv", "debug" }, set_debug, NULL, "print everything" },
    { { "q", "quiet" }, set_quiet, NULL, "no progress, only errors" },
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

static void help(void)
{
    char head[64];

    puts("Usage: linvideo generate [options] [prompt]\n\n"
         "Makes a video from a prompt.\n\n"
         "Options are written --name value or --name=value, with - or _ between words.\n"
         "Defaults are shown in brackets.\n\n"
         "Output:");
    for (int i = 0; i < OWN_OPTIONS; i++) {
        const Own *o = &own_options[i];

        snprintf(head, sizeof(head), "%s%s%s--%s %s", o->names[0] ? "-" : "",
                 o->names[0] ? o->names[0] : "", o->names[0] ? ", " : "",
                 o->names[1], o->value ? o->value : "");
        lv_help_option(head, o->help);
    }
    puts("\nVideo:");
    lv_help_parameters();
    puts("\nExamples:\n"
         "  linvideo generate \"a red circle bouncing on a blue background\"\n"
         "  linvideo generate -o waves.mp4 \"green waves\"\n"
         "  linvideo generate -o - \"green waves\" | ffplay -\n"
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
    if (!lv_help_has_parameter(a->name))
        return lv_tool_fail(-1, "no option \"%s\"; linvideo generate --help lists "
                            "them", a->name);
    value = lv_args_value(a);
    if (!value)
        return -1;
    if (!strcmp(a->name, "format"))
        o->sink.format_given = 1;
    if (!strcmp(a->name, "prompt_file") && !strcmp(value, "-"))
        value = "/dev/stdin";
    if (!strcmp(a->name, "duration") && !strcmp(value, "-1"))
        return o->params.duration = LINVIDEO_ENDLESS, 0;
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

static void print_word(const char *text)
{
    char word[8192];

    fprintf(stderr, " %s", lv_tool_word(word, sizeof(word), text));
}

/* The user's own command, with ffmpeg behind it. */
static int refuse_ending(const Options *o, int argc, char **argv)
{
    lv_tool_fail(0, "%s: the endings known here are .y4m, .mp4, .webm, .mkv and .png; ffmpeg "
                 "writes all others:", o->sink.path);
    fputs("    linvideo generate -o -", stderr);
    for (int i = 1; i < argc; i++)
        if (i < o->output_from || i >= o->output_to)
            print_word(argv[i]);
    fprintf(stderr, " | ffmpeg%s -i -", o->sink.overwrite ? " -y" : "");
    print_word(o->sink.path);
    fputc('\n', stderr);
    return LV_EXIT_USAGE;
}

/* 0, or an exit code */
static int choose_output(Options *o, int argc, char **argv)
{
    if (o->json && !strcmp(o->sink.path, "-"))
        return lv_tool_fail(LV_EXIT_USAGE, "json: standard output takes the video; give "
                            "output a name");
    if (lv_sink_choose(&o->sink) < 0)
        return LV_EXIT_USAGE;
    if (o->sink.kind == LV_SINK_NONE)
        return refuse_ending(o, argc, argv);
    return lv_sink_format(&o->sink, &o->params) < 0 ? LV_EXIT_USAGE : 0;
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
    lv_signals_note(n);
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

static void print_summary(const LinvideoContext *c, const LvSink *sink)
{
    static const char *const stages[] = { "loading", "text", "denoising", "decoding" };
    LinvideoInfo info;
    struct rusage usage;
    char rate[32], memory[32], path[4096];

    linvideo_info(c, &info);
    lv_text_line(path, sizeof(path), sink->path);
    getrusage(RUSAGE_SELF, &usage);
    flockfile(stderr);
    fputs("linvideo: ", stderr);
    if (sink->kind == LV_SINK_PNG)
        fprintf(stderr, "frame %lld", (long long)sink->wanted);
    else
        fprintf(stderr, "%lld frames", (long long)sink->frames);
    fprintf(stderr, " of %dx%d at %s/s to %s, seed %lld\nlinvideo: ", info.width,
            info.height, lv_rate_text(rate, sizeof(rate), info.rate_num,
                                      info.rate_den),
            strcmp(sink->path, "-") ? path : "standard output",
            (long long)info.seed);
    for (int i = 0; i < 4; i++)
        fprintf(stderr, "%s %.2f s, ", stages[i], info.seconds[i]);
    fprintf(stderr, "peak memory %s\n",
            lv_bytes_text(memory, sizeof(memory), usage.ru_maxrss * 1024.0));
    funlockfile(stderr);
}

static int exit_code(int ret)
{
    if (ret == -EPIPE)
        return 128 + SIGPIPE;
    return !ret ? LV_EXIT_OK : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
}

static int run(LinvideoContext *c, Options *o)
{
    LinvideoInfo info;
    const char *inputs[LV_SINK_INPUTS];
    int ret;

    linvideo_info(c, &info);
    lv_sink_inputs(inputs, &o->params, &info);
    if (o->json)
        lv_events_begin(&o->events, c);
    ret = lv_sink_run(&o->sink, c, inputs);
    lv_bar_clear(&o->bar);
    if (!ret && o->json)
        lv_events_done(&o->events, c, &o->sink);
    else if (!ret && o->params.log_level >= LINVIDEO_LOG_INFO)
        print_summary(c, &o->sink);
    return ret;
}

/* Open, run, close: an exit code. */
static int make_video(Options *o)
{
    LinvideoContext *c = NULL;
    Watch watch;
    int ret = lv_preview_check(&o->preview, o->sink.overwrite, o->sink.path);

    if (ret < 0)
        return exit_code(ret);
    block_signals(&watch);
    start_watch(&watch);
    ret = linvideo_open(&c, &o->params);
    watch.context = c;
    if (ret < 0)
        return exit_code(ret);
    ret = run(c, o);
    stop_watch(&watch);
    linvideo_close(&c);
    if (ret == LINVIDEO_ERR_CANCELLED)
        return lv_tool_fail(128 + watch.caught, "stopped");
    return !ret && o->preview.error ? LV_EXIT_FAILED : exit_code(ret);
}

/* Callbacks */

static void see_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    lv_tool_log(&((Options *)opaque)->bar, level, message);
}

static void see_progress(void *opaque, const LinvideoProgress *p)
{
    lv_bar_show(&((Options *)opaque)->bar, p);
}

static void say_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    lv_events_log(&((Options *)opaque)->events, level, message);
}

static void say_progress(void *opaque, const LinvideoProgress *p)
{
    lv_events_progress(&((Options *)opaque)->events, p);
}

static void see_preview(void *opaque, const LinvideoPreview *p)
{
    lv_preview_write(&((Options *)opaque)->preview, p);
}

static void init(Options *o)
{
    lv_bar_init(&o->bar);
    linvideo_params_default(&o->params);
    o->params.log      = see_log;
    o->params.progress = see_progress;
    o->params.opaque   = o;
}

static void tell_programs(Options *o)
{
    signal(SIGPIPE, SIG_IGN);
    o->events.step     = -1;
    o->params.log      = say_log;
    o->params.progress = say_progress;
}

static int cmd_generate(int argc, char **argv)
{
    Options o = { .sink = { .path = "out.y4m", .frame = -1 } };
    int code;

    init(&o);
    code = parse(&o, argc, argv);
    if (code == LV_EXIT_OK)
        return code;
    if (o.json)
        tell_programs(&o);
    if (o.preview.path)
        o.params.preview = see_preview;
    if (code < 0 && !(code = choose_output(&o, argc, argv)))
        code = make_video(&o);
    if (o.json && code)
        lv_events_failed(&o.events, code);
    return o.json ? lv_events_end(&o.events, code) : code;
}

const LvCommand lv_cmd_generate = {
    .name  = "generate",
    .about = "make a video from a text",
    .run   = cmd_generate,
};
