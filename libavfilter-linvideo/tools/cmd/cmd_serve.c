/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo serve`: jobs as JSON, one a line, over standard input or a Unix socket. The
 * weights stay loaded from job to job.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <linvideo/linvideo.h>

#include "base/common.h"
#include "base/json.h"
#include "tools/share/arguments.h"
#include "tools/share/events.h"
#include "tools/share/help.h"
#include "tools/share/message.h"
#include "tools/share/server.h"
#include "tools/share/signals.h"
#include "tools/share/sink.h"

typedef struct Job {
    json_t *asked;
    LvPeer *peer;
    struct Job *next;
} Job;

typedef struct Serve {
    LinvideoParams params; ///< of all jobs, as the command line has them
    int overwrite, format_given;
    const char *where;

    pthread_mutex_t lock;  ///< of what follows
    pthread_cond_t more;
    Job *first;            ///< those that wait
    Job *running;
    int cancelled;         ///< the running one is
    int closed;            ///< no more come
    LinvideoContext *c;

    atomic_int unheard;    ///< answers that could not be said

    /* of the thread that works */
    json_t *kind;          ///< options that c was opened with; NULL: there is no c
    int loaded;            ///< the weights of c
} Serve;

/** Members of a job that another video with the same weights may change. */
static const char *const changes[] = {
    "id", "output", "overwrite", "frame", "prompt", "prompt_file", "negative_prompt", "seed",
    "rate", "frames", "duration", "format", "matrix", NULL
};

/* Answers */

/* The id as it came, and an object of at least one member; freed with free(). */
static char *answer_line(const json_t *id, const json_t *reply)
{
    char *name = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *rest = json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(6)), *line = rest;

    if (id && rest) {
        if (!name || asprintf(&line, "{\"id\":%s,%s", name, rest + 1) < 0)
            line = NULL;
        free(rest);
    }
    free(name);
    return line;
}

/* Send an object to who sent the job, with the job's id, and free it. Without the lock: who
 * does not read holds up nobody else. */
static void answer(Serve *s, LvPeer *to, const json_t *job, json_t *reply)
{
    char *line = answer_line(json_object_get(job, "id"), reply);

    if (line)
        lv_peer_say(to, line);
    else
        lv_tool_fail(0, "out of memory for an answer");
    atomic_fetch_add(&s->unheard, !line || !lv_peer_is_there(to));
    free(line);
    json_decref(reply);
}

/* What was wrong is the last error that was printed. */
static json_t *failed(void)
{
    char line[4096];
    json_t *reply, *text;

    lv_tool_last_error(line);
    reply = json_pack("{ss}", "status", "failed");
    text  = json_string(line);
    json_object_set_new(reply, "error", text ? text : json_string("see standard error"));
    return reply;
}

/* Jobs as they come */

static void free_job(Job *j)
{
    json_decref(j->asked);
    lv_peer_drop(j->peer);
    free(j);
}

static void end_job(Serve *s, Job *j, json_t *reply)
{
    answer(s, j->peer, j->asked, reply);
    free_job(j);
}

static void add_job(Serve *s, LvPeer *from, json_t *asked)
{
    Job *j = calloc(1, sizeof(*j)), **last = &s->first;

    if (!j) {
        lv_tool_fail(0, "out of memory for a job");
        answer(s, from, asked, failed());
        return;
    }
    j->asked = json_incref(asked);
    j->peer  = from;
    lv_peer_keep(from);
    pthread_mutex_lock(&s->lock);
    while (*last)
        last = &(*last)->next;
    *last = j;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

static int is_of(const Job *j, const LvPeer *from, const json_t *id)
{
    return j->peer == from && json_equal(json_object_get(j->asked, "id"), id);
}

/* Of those that wait the first with that id, of that program; NULL: none. */
static Job *take_waiting(Serve *s, const LvPeer *from, const json_t *id)
{
    for (Job **at = &s->first, *j; (j = *at); at = &j->next)
        if (is_of(j, from, id)) {
            *at = j->next;
            return j;
        }
    return NULL;
}

static void cancel_job(Serve *s, LvPeer *from, const json_t *id)
{
    Job *waiting = NULL;
    int runs;

    pthread_mutex_lock(&s->lock);
    runs = s->running && is_of(s->running, from, id);
    if (runs) {
        s->cancelled = 1;
        linvideo_cancel(s->c);
    } else {
        waiting = take_waiting(s, from, id);
    }
    pthread_mutex_unlock(&s->lock);
    if (waiting)
        end_job(s, waiting, json_pack("{ss}", "status", "cancelled"));
    else if (!runs)
        answer(s, from, NULL, json_pack("{sO ss ss}", "cancel", id, "status", "failed", "error",
                                        "no job with this id waits or runs"));
}

/* new, or NULL after a message */
static json_t *parse_line(const char *line, size_t size)
{
    char shown[LV_SHOW_SIZE];
    json_error_t error;
    json_t *asked;

    if (!line)
        return lv_tool_fail(0, "a line is longer than %d bytes", LV_SERVER_LINE - 1), NULL;
    if (strlen(line) < size)
        return lv_tool_fail(0, "column %zu of a line: expected JSON, got a NUL byte",
                            strlen(line) + 1), NULL;
    if (!(asked = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error)))
        return lv_tool_fail(0, "column %d of a line: %s", error.column,
                            lv_json_expected(shown, &error)), NULL;
    if (!json_is_object(asked)) {
        lv_tool_fail(0, "column 1 of a line: expected an object, got a list");
        json_decref(asked);
        return NULL;
    }
    return asked;
}

static void take_line(void *opaque, LvPeer *from, const char *line, size_t size)
{
    Serve *s = opaque;
    json_t *asked;

    if (line && strspn(line, " \t\r") == size)
        return;
    asked = parse_line(line, size);
    if (!asked)
        answer(s, from, NULL, failed());
    else if (json_object_get(asked, "cancel"))
        cancel_job(s, from, json_object_get(asked, "cancel"));
    else
        add_job(s, from, asked);
    json_decref(asked);
}

/* A job's options */

/* Numbers and truth values become texts, as options are written. */
static int make_text(json_t *asked, const char *name, json_t *value)
{
    char text[64];

    if (json_is_string(value))
        return 0;
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, sizeof(text), "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(text, sizeof(text), "%d", json_is_true(value));
    else
        return lv_tool_fail(-1, "%s: expected a text, a number or true or false", name);
    return json_object_set_new(asked, name, json_string(text));
}

/* output, overwrite, frame: 1; 0: none of them; -1 after a message */
static int set_sink(LvSink *sink, const char *name, const json_t *value)
{
    if (!strcmp(name, "output")) {
        sink->path = json_string_value(value);
        return 1;
    }
    if (!strcmp(name, "overwrite")) {
        sink->overwrite = json_is_true(value);
        return json_is_boolean(value) ? 1 :
               lv_tool_fail(-1, "overwrite: expected true or false");
    }
    if (!strcmp(name, "frame")) {
        json_int_t n = json_integer_value(value);
        sink->frame  = n >= 0 && n < INT32_MAX ? (int)n : -1;
        return json_is_integer(value) && sink->frame >= 0 ? 1 :
               lv_tool_fail(-1, "frame: expected an integer from 0 to %d", INT32_MAX - 1);
    }
    return 0;
}

static int set_param(LinvideoParams *p, LvSink *sink, json_t *asked, const char *name)
{
    const char *text;

    if (!lv_help_has_parameter(name))
        return lv_tool_fail(-1, "no option \"%s\"", name);
    if (make_text(asked, name, json_object_get(asked, name)) < 0)
        return -1;
    text = json_string_value(json_object_get(asked, name));
    if (!strcmp(name, "format"))
        sink->format_given = 1;
    return linvideo_params_set(p, name, text);
}

/* What a job says takes the place of what the command line says in another way. */
static void drop_replaced(LinvideoParams *p, const json_t *asked)
{
    if (json_object_get(asked, "prompt") || json_object_get(asked, "prompt_file"))
        p->prompt = p->prompt_file = NULL;
    if (json_object_get(asked, "frames") || json_object_get(asked, "duration"))
        p->frames = p->duration = -1;
}

/* A pipe would keep all jobs that follow waiting for its other end. */
static int check_prompt_file(const char *path)
{
    struct stat st;

    if (!path || stat(path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return 0;
    return lv_tool_fail(-1, "prompt_file: expected a regular file, got a pipe or a device: %s",
                        path);
}

static int read_job(LinvideoParams *p, LvSink *sink, json_t *asked)
{
    const char *name;
    json_t *value;
    void *next;
    int ret;

    drop_replaced(p, asked);
    json_object_foreach_safe(asked, next, name, value) {
        if (!strcmp(name, "id"))
            continue;
        if ((ret = set_sink(sink, name, value)) < 0 ||
            (!ret && set_param(p, sink, asked, name) < 0))
            return -1;
    }
    if (!sink->path || !strcmp(sink->path, "-"))
        return lv_tool_fail(-1, "output: expected the name of a file");
    if (check_prompt_file(p->prompt_file) < 0)
        return -1;
    if (lv_sink_choose(sink) < 0)
        return -1;
    if (sink->kind == LV_SINK_NONE)
        return lv_tool_fail(-1, "%s: expected one of the endings .y4m, .mp4, .webm, .mkv, .png",
                            sink->path);
    return lv_sink_format(sink, p);
}

/* Work */

/* Those options of a job that weights and plans depend on. */
static json_t *kind_of(const json_t *asked)
{
    json_t *kind = json_copy((json_t *)asked);

    for (int i = 0; kind && changes[i]; i++)
        json_object_del(kind, changes[i]);
    return kind;
}

static void close_context(Serve *s)
{
    LinvideoContext *c;

    pthread_mutex_lock(&s->lock);
    c    = s->c;
    s->c = NULL;
    pthread_mutex_unlock(&s->lock);
    linvideo_close(&c);
    json_decref(s->kind);
    s->kind   = NULL;
    s->loaded = 0;
}

/* The file of an image or a video may have changed. */
static int brings_file(const LinvideoParams *p)
{
    const char *const file[] = { p->image, p->last_image, p->video };

    for (int i = 0; i < LV_COUNT(file); i++)
        if (file[i] && *file[i])
            return 1;
    return 0;
}

/* The context that is open, when it can make this video, or another one. */
static int begin_video(Serve *s, const LinvideoParams *p, const json_t *asked)
{
    json_t *kind = kind_of(asked);
    LinvideoContext *c = NULL;
    int same = s->kind && kind && !brings_file(p) && json_equal(s->kind, kind), ret;

    if (same) {
        json_decref(kind);
        ret = linvideo_restart(s->c, p);
    } else {
        close_context(s);
        s->kind = kind;
        ret     = linvideo_open(&c, p);
    }
    pthread_mutex_lock(&s->lock);
    if (!same)
        s->c = c;
    if (s->cancelled)
        linvideo_cancel(s->c);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

/* Whether the context can make another video: it is loaded, and had no error of its own. */
static int can_go_on(Serve *s, const LvSink *sink)
{
    LinvideoInfo info;

    linvideo_info(s->c, &info);
    s->loaded |= info.seconds[LINVIDEO_STAGE_DENOISE] > 0;
    return s->loaded && (!sink->made || sink->made == LINVIDEO_EOF ||
                         sink->made == LINVIDEO_ERR_CANCELLED);
}

static json_t *done(const LinvideoContext *c, const LvSink *sink)
{
    json_t *reply = json_pack("{ss}", "status", "done"), *result = lv_events_result(c, sink);

    if (reply && result)
        json_object_update(reply, result);
    json_decref(result);
    return reply;
}

static json_t *run_job(Serve *s, Job *j)
{
    LinvideoParams p = s->params;
    LvSink sink = { .overwrite = s->overwrite, .no_pipes = 1,
                    .format_given = s->format_given, .frame = -1 };
    const char *inputs[LV_SINK_INPUTS];
    LinvideoInfo info;
    json_t *reply;
    int ret;

    if (read_job(&p, &sink, j->asked) < 0)
        return failed();
    ret = begin_video(s, &p, j->asked);
    if (ret >= 0) {
        linvideo_info(s->c, &info);
        lv_sink_inputs(inputs, &p, &info);
        ret = lv_sink_run(&sink, s->c, inputs);
    }
    if (ret == -EPIPE)
        lv_tool_fail(0, "%s: its reader has gone", sink.path);
    reply = !ret                          ? done(s->c, &sink)
            : ret == LINVIDEO_ERR_CANCELLED ? json_pack("{ss}", "status", "cancelled")
                                            : failed();
    if (!can_go_on(s, &sink))
        close_context(s);
    return reply;
}

/* The next job, which is running from now on; NULL: there will be none. */
static Job *next_job(Serve *s)
{
    Job *j;

    pthread_mutex_lock(&s->lock);
    while (!s->first && !s->closed)
        pthread_cond_wait(&s->more, &s->lock);
    if ((j = s->running = s->first))
        s->first = j->next;
    s->cancelled = 0;
    pthread_mutex_unlock(&s->lock);
    return j;
}

static void *work(void *opaque)
{
    Serve *s = opaque;
    char before[4096];
    json_t *reply;
    Job *j;

    while ((j = next_job(s))) {
        lv_tool_last_error(before);
        reply = run_job(s, j);
        pthread_mutex_lock(&s->lock);
        s->running = NULL;
        pthread_mutex_unlock(&s->lock);
        end_job(s, j, reply);
    }
    close_context(s);
    return NULL;
}

/* The command */

static void help(void)
{
    puts("Usage: linvideo serve [options] -|SOCKET\n\n"
         "Makes videos for other programs. A job is a JSON object on a line of standard\n"
         "input or a Unix socket, and so is its answer. The weights stay loaded while jobs\n"
         "differ only in prompt, seed, length, rate and output.\n\n"
         "  {\"id\": 1, \"prompt\": \"green waves\", \"seed\": 7, \"output\": \"waves.mp4\"}\n"
         "  {\"id\":1,\"status\":\"done\",\"output\":\"waves.mp4\",\"frames\":17,...}\n"
         "  {\"id\":1,\"status\":\"failed\",\"error\":\"waves.mp4 exists; ...\"}\n"
         "  {\"cancel\": 1}      the job's answer then has the status \"cancelled\"\n\n"
         "Members of a job are options of linvideo generate: output, frame, overwrite\n"
         "(true), and those below, which apply to all jobs on the command line.\n\n"
         "Options:");
    lv_help_option("-y, --overwrite", "overwrite files that exist");
    lv_help_option("-q, --quiet", "no messages but errors");
    lv_help_parameters();
    puts("\nExit codes: 0 done, 1 failed, 2 wrong use, 128 + n stopped by signal n. A job that\n"
         "fails does not end the server.");
}

/* 0, or -1 after a message */
static int set_option(Serve *s, LvArgs *a)
{
    const char *value;

    if (lv_args_overwrite(a, &s->overwrite))
        return 0;
    if (!strcmp(a->name, "q") || !strcmp(a->name, "quiet")) {
        s->params.log_level = LINVIDEO_LOG_ERROR;
        return 0;
    }
    if (!lv_help_has_parameter(a->name))
        return lv_tool_fail(-1, "no option \"%s\"; linvideo serve --help lists them", a->name);
    if (!(value = lv_args_value(a)))
        return -1;
    s->format_given |= !strcmp(a->name, "format");
    return linvideo_params_set(&s->params, a->name, value);
}

static int set_word(Serve *s, const char *word)
{
    if (s->where)
        return lv_tool_fail(-1, "expected one of - and the path of a socket, got a second: %s",
                            word);
    s->where = word;
    return 0;
}

/* -1 to go on, or an exit code */
static int parse(Serve *s, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help")) {
            help();
            return LV_EXIT_OK;
        }
        if ((a.name[0] ? set_option(s, &a) : set_word(s, a.value)) < 0)
            return LV_EXIT_USAGE;
    }
    return s->where ? -1 : lv_tool_fail(LV_EXIT_USAGE, "expected - or the path of a socket; "
                                        "linvideo serve --help lists the options");
}

/* Drop the jobs that wait, stop the one that runs. */
static void stop(Serve *s)
{
    Job *waiting;

    pthread_mutex_lock(&s->lock);
    waiting  = s->first;
    s->first = NULL;
    s->cancelled = 1;
    linvideo_cancel(s->c);
    pthread_mutex_unlock(&s->lock);
    for (Job *next; waiting; waiting = next) {
        next = waiting->next;
        end_job(s, waiting, json_pack("{ss}", "status", "cancelled"));
    }
}

/* Until the jobs that came are done, or a signal stops them. */
static void finish_jobs(Serve *s, pthread_t worker)
{
    struct timespec soon;
    int stopped = 0;

    pthread_mutex_lock(&s->lock);
    s->closed = 1;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    do {
        if (lv_signals_caught() && !stopped++)
            stop(s);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 100000000;
        soon.tv_sec  += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(worker, NULL, &soon) == ETIMEDOUT);
}

static int serve(Serve *s)
{
    LvServer *server;
    pthread_t worker;
    sigset_t ours, before;
    int ret = lv_server_open(&server, s->where);

    if (ret < 0)
        return LV_EXIT_FAILED;
    lv_signals_catch(0);
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    if (pthread_create(&worker, NULL, work, s)) {
        lv_server_close(&server);
        return lv_tool_fail(LV_EXIT_FAILED, "cannot start a thread");
    }
    ret = lv_server_run(server, take_line, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    finish_jobs(s, worker);
    lv_server_close(&server);
    if (lv_signals_caught())
        return lv_tool_fail(128 + lv_signals_caught(), "stopped");
    return ret < 0 || s->unheard ? LV_EXIT_FAILED : LV_EXIT_OK;
}

static int cmd_serve(int argc, char **argv)
{
    Serve s = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };
    int code;

    linvideo_params_default(&s.params);
    s.params.log = lv_tool_log;
    code = parse(&s, argc, argv);
    return code >= 0 ? code : serve(&s);
}

const LvCommand lv_cmd_serve = {
    .name  = "serve",
    .about = "make videos for other programs, a job a line",
    .run   = cmd_serve,
};
