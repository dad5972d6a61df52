/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "linvideo/linvideo.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/signals.h"

/* Seconds between two checkpoints, and between two lines. */
#define SAVE_EVERY 300
#define LINE_EVERY 10

void lv_run_init(LvRun *r, const char *command)
{
    *r = (LvRun) { .command = command, .start = lv_seconds(), .lock = -1,
                   .msg = lv_tool_msg };
    lv_signals_catch(1);
}

/* Options */

static int set_precision(LvRun *r, LvArgs *a)
{
    static const char *const names[] = { "auto", "f32", "bf16" };
    static const int types[] = { LV_NONE, LV_F32, LV_BF16 };
    const char *value = lv_args_value(a);

    for (int i = 0; i < LV_COUNT(names) && value; i++)
        if (!strcmp(value, names[i]))
            return r->precision = types[i], 0;
    return value ? lv_tool_fail(-1, "option precision: \"%s\" is not one of auto, f32, bf16",
                                value) : -1;
}

int lv_run_option(LvRun *r, LvArgs *a)
{
    const struct { const char *name; int *to; } numbers[] = {
        { "minutes", &r->minutes }, { "until", &r->until }, { "threads", &r->threads },
    };

    for (int i = 0; i < LV_COUNT(numbers); i++)
        if (!strcmp(a->name, numbers[i].name))
            return lv_args_int(a, 1, 1 << 30, numbers[i].to) < 0 ? -1 : 1;
    if (!strcmp(a->name, "dir"))
        return (r->dir = lv_args_value(a)) ? 1 : -1;
    if (!strcmp(a->name, "device"))
        return (r->device = lv_args_value(a)) ? 1 : -1;
    if (!strcmp(a->name, "precision"))
        return set_precision(r, a) < 0 ? -1 : 1;
    if (!strcmp(a->name, "checkpoint"))
        return r->checkpoint = 1;
    if (lv_args_overwrite(a, &r->overwrite))
        return 1;
    return 0;
}

/* Length of the ending of a name, which is `ending` or that of a manifest. */
static size_t ending_of(const char *name, const char *ending)
{
    const char *const known[] = { ending, ".json" };
    size_t n = strlen(name);

    for (int i = 0; i < LV_COUNT(known); i++) {
        size_t end = strlen(known[i]);
        if (n > end && !strcmp(name + n - end, known[i]))
            return end;
    }
    return 0;
}

int lv_run_folder(LvRun *r, const char *file, const char *ending, const char *more)
{
    const char *name = strrchr(file, '/');
    size_t n;

    if (!r->dir) {
        snprintf(r->folder, sizeof(r->folder), "%s", name ? name + 1 : file);
        n = strlen(r->folder) - ending_of(r->folder, ending);
        snprintf(r->folder + n, sizeof(r->folder) - n, "%s", more);
        r->dir = r->folder;
    }
    if (mkdir(r->dir, 0777) < 0 && errno != EEXIST)
        return lv_tool_fail(-1, "%s: %s", r->dir, strerror(errno));
    if (lv_ranks_read(&r->ranks, &r->msg) < 0)
        return -1;
    snprintf(r->ranks.dir, sizeof(r->ranks.dir), "%.4000s/ranks", r->dir);
    return !lv_run_leads(r) ? 0 : lv_lock_folder(&r->lock, r->dir, &r->msg) < 0 ? -1 : 0;
}

int lv_run_output(const LvRun *r, const char *out, const char *const *inputs)
{
    char buf[LV_RUN_PATH];
    int ret = 0;

    for (int i = 0; inputs[i] && ret >= 0; i++)
        ret = lv_tool_not_input(out ? out : lv_run_path(r, "model.safetensors", buf),
                                inputs[i]);
    return ret < 0 || !out ? ret : lv_tool_may_write(out, r->overwrite);
}

/* Each rank of a host takes a GPU: the one of its number, but where it sees one alone. */
static int open_own(LvRun *r, const LvDeviceOptions *options)
{
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    int own = seen && *seen && !strchr(seen, ',') ? 0 : r->ranks.local;
    char name[32];

    if (r->ranks.size < 2 || !own || strcmp(r->dev->fn->name, "cuda") ||
        (r->device && strchr(r->device, ':')))
        return 0;
    snprintf(name, sizeof(name), "cuda:%d", own);
    lv_device_close(&r->dev);
    return lv_device_open(&r->dev, name, options, &r->msg);
}

/* What has to be the same in all ranks. */
static int join_ranks(LvRun *r)
{
    char build[160];

    snprintf(build, sizeof(build), "linvideo %d.%d.%d %s %s %s", LINVIDEO_VERSION_MAJOR,
             LINVIDEO_VERSION_MINOR, LINVIDEO_VERSION_MICRO, r->command, r->dev->fn->name,
             r->dtype == LV_BF16 ? "bf16" : "f32");
    return lv_group_join(r->dev, &r->ranks, build);
}

static void tell_device(const LvRun *r)
{
    char ranks[32] = "";

    if (r->ranks.size > 1)
        snprintf(ranks, sizeof(ranks), ", %d ranks", r->ranks.size);
    if (lv_run_leads(r))
        fprintf(stderr, "linvideo: training on %s, matmuls in %s%s\n", r->dev->about,
                r->dtype == LV_BF16 ? "bf16" : "f32", ranks);
}

int lv_run_open(LvRun *r)
{
    LvDeviceOptions options = { .threads = r->threads };
    int ret = lv_device_open(&r->dev, r->device, &options, &r->msg);

    if (ret < 0 || (ret = open_own(r, &options)) < 0)
        return ret;
    r->dtype = (LvDtype)r->precision;
    if (!r->dtype)
        r->dtype = r->dev->bf16 ? LV_BF16 : LV_F32;
    if (!r->threads)
        r->threads = LV_MAX((int)sysconf(_SC_NPROCESSORS_ONLN), 1);
    tell_device(r);
    return join_ranks(r);
}

void lv_run_close(LvRun *r)
{
    lv_group_leave(r->dev, r->ended);
    lv_device_close(&r->dev);
    lv_ranks_leave(&r->ranks);
    lv_lock_free(&r->lock);
}

const char *lv_run_path(const LvRun *r, const char *name, char *buf)
{
    snprintf(buf, LV_RUN_PATH, "%s/%s", r->dir, name);
    return buf;
}

int lv_run_exists(const char *file)
{
    return !access(file, F_OK);
}

int lv_run_leads(const LvRun *r)
{
    return !r->ranks.rank;
}

int lv_run_is_over(const LvRun *r)
{
    return lv_signals_caught() || (r->minutes && lv_seconds() - r->start > 60.0 * r->minutes);
}

int lv_run_is_done(const LvTrainer *t)
{
    return t->step >= t->optim.steps;
}

int lv_run_exit(LvRun *r, int ret)
{
    r->ended = ret >= 0;
    if (lv_signals_caught())
        return 128 + lv_signals_caught();
    return ret < 0 ? LV_EXIT_FAILED : ret ? LV_EXIT_OK : LV_EXIT_STOPPED;
}

/* Steps */

static void show(const LvTrainStage *s, int steps, double seconds)
{
    int left = s->trainer->optim.steps - s->trainer->step;
    double rate = steps / seconds;
    LvLogField f[LV_TRAIN_FIELDS];
    int nb = LV_MIN(s->fields(s->opaque, f), s->shown);

    fprintf(stderr, "linvideo: %s %d/%d: ", s->name, s->trainer->step,
            s->trainer->optim.steps);
    for (int i = 0; i < nb; i++)
        fprintf(stderr, "%s %.5g, ", f[i].name, f[i].value);
    fprintf(stderr, "%.3g steps/s", rate);
    if (s->flops > 0)
        fprintf(stderr, " (%.0f GFLOP/s)", rate * s->flops * 1e-9);
    fprintf(stderr, ", %.0f min left\n", left / rate / 60);
}

static int take_step(const LvTrainStage *s, FILE *log)
{
    double start = lv_seconds();
    int ret = s->step(s->opaque), nb;
    LvLogField f[LV_TRAIN_FIELDS];

    if (ret < 0 || !log)
        return LV_MIN(ret, 0);
    nb      = s->fields(s->opaque, f);
    f[nb++] = lv_log_number("lr", lv_optim_rate(&s->trainer->optim,
                                                 s->trainer->step - 1));
    f[nb++] = lv_log_number("grad_norm", s->trainer->grad_norm);
    f[nb++] = lv_log_number("seconds", lv_seconds() - start);
    if (s->trainer->dropped)
        f[nb++] = lv_log_number("dropped", s->trainer->dropped);
    ret = lv_log_line(log, s->trainer->step, f, nb);
    return ret < 0 ? lv_tool_fail(ret, "%s.jsonl: %s", s->name, strerror(-ret)) : 0;
}

static int save(const LvTrainStage *s, const char *run)
{
    return s->save ? s->save(s->opaque, run) : lv_trainer_save(s->trainer, run);
}

/* Whether any rank is to stop: 1, 0 or a code. */
static int is_over(LvRun *r)
{
    double over = lv_run_is_over(r);
    int ret = lv_group_numbers(r->dev, &over, 1);

    return ret < 0 ? ret : over > 0;
}

/* A sheet of clips as the weights are now. */
static int draw_samples(const LvRun *r, const LvTrainStage *s)
{
    char path[LV_RUN_PATH], name[64];

    if (!r->samples || !s->sample || s->trainer->step % r->samples)
        return 0;
    snprintf(name, sizeof(name), "%s-%06d.png", s->name, s->trainer->step);
    return s->sample(s->opaque, lv_run_path(r, name, path));
}

/* 1 when the stage is at its end, 0 when it was stopped before. */
static int loop(LvRun *r, const LvTrainStage *s, const char *run, FILE *log)
{
    int end = r->until ? LV_MIN(r->until, s->trainer->optim.steps) : s->trainer->optim.steps;
    double saved = lv_seconds(), shown = saved;
    int shown_step = s->trainer->step, ret = 0;

    while (ret >= 0 && s->trainer->step < end && !(ret = is_over(r))) {
        double now;
        if ((ret = take_step(s, log)) < 0)
            break;
        now = lv_seconds();
        if (!lv_run_leads(r))
            continue;
        if (now - shown >= LINE_EVERY || s->trainer->step == end) {
            show(s, s->trainer->step - shown_step, now - shown);
            shown      = now;
            shown_step = s->trainer->step;
        }
        if ((ret = draw_samples(r, s)) < 0)
            break;
        if (now - saved >= SAVE_EVERY) {
            ret   = save(s, run);
            saved = lv_seconds();
        }
    }
    if (ret >= 0 && lv_run_leads(r))
        ret = save(s, run);
    return ret < 0 ? ret : lv_run_is_done(s->trainer);
}

int lv_run_stage(LvRun *r, const LvTrainStage *s, const char *run)
{
    char log_path[LV_RUN_PATH], name[64];
    FILE *log;
    int ret;

    if (!lv_run_leads(r))
        return loop(r, s, run, NULL);
    snprintf(name, sizeof(name), "%s.jsonl", s->name);
    if (!(log = lv_log_open(lv_run_path(r, name, log_path), s->trainer->step, &r->msg)))
        return LV_ERR(EIO);
    ret = loop(r, s, run, log);
    fclose(log);
    return ret;
}
