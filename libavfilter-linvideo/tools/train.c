/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo train`: a model from a recipe, stage by stage, each in a file of the run's
 * folder, each of which goes on where it stopped.
 */

#include "tools/tools.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "train/autoencoder.h"
#include "train/export.h"
#include "train/flow.h"
#include "train/log.h"
#include "train/tokenizer.h"

enum { PATH_SIZE = 4096, PSNR_CLIPS = 32, CAPTIONS = 20000 };

/* Seconds between two checkpoints, and between two lines. */
#define SAVE_EVERY 300
#define LINE_EVERY 10

typedef struct Train {
    LvMsg msg;
    LvTrainConfig cfg;
    const char *recipe, *dir, *out, *stage, *device;
    int threads, precision, checkpoint;
    int minutes;           ///< 0: no limit
    int until;             ///< step to stop at; 0: the recipe's last
    double start;
    LvDevice *dev;
    LvDtype dtype;
} Train;

/* The first signal that came, or 0: what is being done is finished, then saved. */
static volatile sig_atomic_t caught;

/* A second one ends at once. */
static void on_signal(int number)
{
    caught = number;
    signal(number, SIG_DFL);
}

static int out_of_time(const Train *t)
{
    return t->minutes && lv_seconds() - t->start > 60.0 * t->minutes;
}

static const char *path(const Train *t, const char *name, char *buf)
{
    snprintf(buf, PATH_SIZE, "%s/%s", t->dir, name);
    return buf;
}

static int exists(const char *file)
{
    return !access(file, F_OK);
}

static int is_done(const LvTrainer *t)
{
    return t->step >= t->optim.steps;
}

/* Steps of a stage */

/* What the loop needs to know of a stage. */
typedef struct Stage {
    const char *name;
    LvTrainer *trainer;
    int (*step)(void *stage);
    int (*fields)(void *stage, LvLogField *f); ///< of the last step: 1 or 2 of them
    void *opaque;
    double flops;          ///< of a step; 0: unknown
} Stage;

static void show(const Stage *s, int steps, double seconds)
{
    int left = s->trainer->optim.steps - s->trainer->step;
    double rate = steps / seconds;
    LvLogField f[2];
    int nb = s->fields(s->opaque, f);

    fprintf(stderr, "linvideo: %s %d/%d: ", s->name, s->trainer->step,
            s->trainer->optim.steps);
    for (int i = 0; i < nb; i++)
        fprintf(stderr, "%s %.5g, ", f[i].name, f[i].value);
    fprintf(stderr, "%.3g steps/s", rate);
    if (s->flops > 0)
        fprintf(stderr, " (%.0f GFLOP/s)", rate * s->flops * 1e-9);
    fprintf(stderr, ", %.0f min left\n", left / rate / 60);
}

static int take_step(const Stage *s, FILE *log)
{
    double start = lv_seconds();
    int ret = s->step(s->opaque), nb;
    LvLogField f[5];

    if (ret < 0)
        return ret;
    nb      = s->fields(s->opaque, f);
    f[nb++] = (LvLogField) { "lr", lv_optim_rate(&s->trainer->optim,
                                                 s->trainer->step - 1) };
    f[nb++] = (LvLogField) { "grad_norm", s->trainer->grad_norm };
    f[nb++] = (LvLogField) { "seconds", lv_seconds() - start };
    lv_log_line(log, s->trainer->step, f, nb);
    return 0;
}

/* 1 when the stage is at its end, 0 when it was stopped before. */
static int loop(Train *t, const Stage *s, const char *run, FILE *log)
{
    int end = t->until ? LV_MIN(t->until, s->trainer->optim.steps) : s->trainer->optim.steps;
    double saved = lv_seconds(), shown = saved;
    int shown_step = s->trainer->step, ret = 0;

    while (ret >= 0 && s->trainer->step < end && !caught && !out_of_time(t)) {
        double now;
        if ((ret = take_step(s, log)) < 0)
            break;
        now = lv_seconds();
        if (now - shown >= LINE_EVERY || s->trainer->step == end) {
            show(s, s->trainer->step - shown_step, now - shown);
            shown      = now;
            shown_step = s->trainer->step;
        }
        if (now - saved >= SAVE_EVERY) {
            ret   = lv_trainer_save(s->trainer, run);
            saved = lv_seconds();
        }
    }
    if (ret >= 0)
        ret = lv_trainer_save(s->trainer, run);
    return ret < 0 ? ret : is_done(s->trainer);
}

static int run_stage(Train *t, const Stage *s, const char *run)
{
    char log_path[PATH_SIZE], name[64];
    FILE *log;
    int ret;

    snprintf(name, sizeof(name), "%s.jsonl", s->name);
    if (!(log = lv_log_open(path(t, name, log_path), s->trainer->step, &t->msg)))
        return LV_ERR(EIO);
    ret = loop(t, s, run, log);
    fclose(log);
    return ret;
}

/* Stages */

static int tokenizer_stage(Train *t)
{
    char file[PATH_SIZE];

    if (exists(path(t, "tokenizer.spm", file)))
        return 1;
    fprintf(stderr, "linvideo: tokenizer of %d pieces from %d captions\n",
            t->cfg.model.text.vocab, CAPTIONS);
    return lv_tokenizer_train(file, t->cfg.model.text.vocab, (uint64_t)t->cfg.seed,
                              CAPTIONS, &t->msg) < 0 ? -1 : 1;
}

static int autoencoder_step(void *stage)
{
    return lv_autoencoder_step(stage);
}

static int autoencoder_fields(void *stage, LvLogField *f)
{
    const LvAutoencoder *a = stage;

    f[0] = (LvLogField) { "psnr", -10 * log10(a->mse) };
    f[1] = (LvLogField) { "latent_square", a->z_square };
    return 2;
}

static int open_autoencoder(Train *t, LvAutoencoder **a, int train)
{
    char run[PATH_SIZE];

    return lv_autoencoder_open(a, &t->cfg, path(t, "autoencoder.safetensors", run), train,
                               t->dtype, t->threads, t->dev, &t->msg);
}

static int show_psnr(Train *t)
{
    LvAutoencoder *a;
    double psnr;
    int ret = open_autoencoder(t, &a, 0);

    if (ret >= 0 && (ret = lv_autoencoder_psnr(a, PSNR_CLIPS, &psnr)) >= 0)
        fprintf(stderr, "linvideo: autoencoder: PSNR %.2f dB over %d held-out clips\n",
                psnr, PSNR_CLIPS);
    lv_autoencoder_close(&a);
    return ret;
}

static int autoencoder_stage(Train *t)
{
    char run[PATH_SIZE];
    LvAutoencoder *a = NULL;
    Stage s = { .name = "autoencoder", .step = autoencoder_step,
                .fields = autoencoder_fields };
    int ret = 0;

    if (!exists(path(t, "autoencoder.safetensors", run)))
        ret = lv_autoencoder_create(&t->cfg, run, t->dev, &t->msg);
    if (ret < 0 || (ret = open_autoencoder(t, &a, 1)) < 0)
        return ret;
    s.trainer = a->trainer;
    s.opaque  = a;
    s.flops   = lv_program_sizes(a->task.prog).flops * t->cfg.autoencoder.batch;
    if (!is_done(a->trainer)) {
        ret = run_stage(t, &s, run);
        lv_autoencoder_close(&a);
        return ret < 0 || show_psnr(t) < 0 ? -1 : ret;
    }
    lv_autoencoder_close(&a);
    return 1;
}

static int latents_progress(void *opaque, int done, int all)
{
    Train *t = opaque;

    if (done % 512 == 0)
        fprintf(stderr, "linvideo: latents %d/%d\n", done, all);
    return caught || out_of_time(t) ? LV_ERR_CANCELLED : 0;
}

static int latents_stage(Train *t)
{
    char file[PATH_SIZE];
    LvAutoencoder *a;
    int ret;

    if (exists(path(t, "latents.safetensors", file)))
        return 1;
    if ((ret = open_autoencoder(t, &a, 0)) >= 0 && !is_done(a->trainer))
        ret = lv_fail(&t->msg, LV_ERR(EINVAL), "latents want an autoencoder that is done, "
                      "not one of step %d/%d", a->trainer->step, a->trainer->optim.steps);
    if (ret >= 0)
        ret = lv_latents_create(a, file, t->threads, latents_progress, t);
    lv_autoencoder_close(&a);
    return ret == LV_ERR_CANCELLED ? 0 : ret < 0 ? ret : 1;
}

static int flow_step(void *stage)
{
    return lv_flow_step(stage);
}

static int flow_fields(void *stage, LvLogField *f)
{
    const LvFlow *flow = stage;

    f[0] = (LvLogField) { "loss", flow->mse };
    return 1;
}

static int open_flow(Train *t, LvFlow **f, int train)
{
    char run[PATH_SIZE], latents[PATH_SIZE], tokenizer[PATH_SIZE];
    LvFlowFiles files = { path(t, "flow.safetensors", run),
                          path(t, "latents.safetensors", latents),
                          path(t, "tokenizer.spm", tokenizer) };

    return lv_flow_open(f, &t->cfg, &files, train, t->checkpoint, t->dtype, t->threads,
                        t->dev, &t->msg);
}

static int flow_stage(Train *t)
{
    char run[PATH_SIZE];
    LvFlow *f = NULL;
    Stage s = { .name = "flow", .step = flow_step, .fields = flow_fields };
    int ret = 0;

    if (!exists(path(t, "flow.safetensors", run)))
        ret = lv_flow_create(&t->cfg, run, t->dev, &t->msg);
    if (ret < 0 || (ret = open_flow(t, &f, 1)) < 0)
        return ret;
    s.trainer = f->trainer;
    s.opaque  = f;
    s.flops   = lv_flow_flops(f);
    ret = is_done(f->trainer) ? 1 : run_stage(t, &s, run);
    lv_flow_close(&f);
    return ret;
}

static int export_stage(Train *t)
{
    char latents[PATH_SIZE], tokenizer[PATH_SIZE], out[PATH_SIZE];
    LvAutoencoder *a = NULL;
    LvLatents l = { 0 };
    LvFlow *f = NULL;
    const char *to = t->out ? t->out : path(t, "model.safetensors", out);
    int ret;

    if ((ret = open_autoencoder(t, &a, 0)) >= 0 && (ret = open_flow(t, &f, 0)) >= 0 &&
        (ret = lv_latents_open(&l, &t->cfg, path(t, "latents.safetensors", latents),
                               &t->msg)) >= 0)
        ret = lv_export(to, a, f, &l, path(t, "tokenizer.spm", tokenizer), &t->msg);
    lv_latents_close(&l);
    lv_flow_close(&f);
    lv_autoencoder_close(&a);
    if (ret >= 0)
        fprintf(stderr, "linvideo: wrote %s\n", to);
    return ret < 0 ? ret : 1;
}

static const struct {
    const char *name;
    int (*run)(Train *t); ///< 1: done, 0: stopped before the end, negative: failed
} stages[] = {
    { "tokenizer", tokenizer_stage },
    { "autoencoder", autoencoder_stage },
    { "latents", latents_stage },
    { "flow", flow_stage },
    { "export", export_stage },
};

/* Command line */

static void help(void)
{
    puts("Usage: linvideo train [options] RECIPE\n"
         "\n"
         "Make a model from a recipe (JSON, see samples/configs): a tokenizer, an\n"
         "autoencoder, latents of many clips, text encoder and network, and a bundle of\n"
         "them all. Each stage goes on where it stopped; Ctrl-C saves and stops.\n"
         "\n"
         "  --dir DIR         folder of the run: RECIPE's name without .json\n"
         "  --stage NAME      only tokenizer, autoencoder, latents, flow or export; all\n"
         "  -o, --output FILE the bundle: DIR/model.safetensors\n"
         "  --minutes N       save and stop after so long\n"
         "  --until STEP      save and stop at a step of each stage\n"
         "  --checkpoint      compute blocks again on the way back, in less memory\n"
         "  --device NAME     auto, cpu, cuda, cuda:N\n"
         "  --threads N       of the CPU; as many as there are\n"
         "  --precision NAME  products in f32 or bf16; auto is bf16 where that is fast\n"
         "\n"
         "A run and its results depend on the recipe alone, for one device, precision and\n"
         "version. DIR/autoencoder.jsonl and flow.jsonl hold a line for each step.\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 wrong use, 3 stopped before the end (time or\n"
         "step), 128 + n stopped by signal n.");
}

static int set_precision(Train *t, LvArgs *a)
{
    static const char *const names[] = { "auto", "f32", "bf16" };
    static const int types[] = { LV_NONE, LV_F32, LV_BF16 };
    const char *value = lv_args_value(a);

    for (int i = 0; i < LV_COUNT(names) && value; i++)
        if (!strcmp(value, names[i]))
            return t->precision = types[i], 0;
    return value ? lv_tool_fail(-1, "option precision: \"%s\" is none of auto, f32, bf16",
                                value) : -1;
}

static int set_option(Train *t, LvArgs *a)
{
    const struct { const char *name; const char **to; } texts[] = {
        { "dir", &t->dir }, { "stage", &t->stage }, { "o", &t->out },
        { "output", &t->out }, { "device", &t->device },
    };
    const struct { const char *name; int *to; } numbers[] = {
        { "minutes", &t->minutes }, { "until", &t->until }, { "threads", &t->threads },
    };

    for (int i = 0; i < LV_COUNT(texts); i++)
        if (!strcmp(a->name, texts[i].name))
            return (*texts[i].to = lv_args_value(a)) ? 0 : -1;
    for (int i = 0; i < LV_COUNT(numbers); i++)
        if (!strcmp(a->name, numbers[i].name))
            return lv_args_int(a, 1, 1 << 30, numbers[i].to);
    if (!strcmp(a->name, "precision"))
        return set_precision(t, a);
    if (!strcmp(a->name, "checkpoint"))
        return t->checkpoint = 1, 0;
    return lv_tool_fail(-1, "no option \"%s\"; linvideo train --help lists them", a->name);
}

static int is_stage(const char *name)
{
    for (int i = 0; i < LV_COUNT(stages); i++)
        if (!strcmp(name, stages[i].name))
            return 1;
    return 0;
}

/* -1 to go on, or an exit code. */
static int parse(Train *t, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && set_option(t, &a) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && t->recipe)
            return lv_tool_fail(LV_EXIT_USAGE, "one recipe at a time, not \"%s\" too",
                                a.value);
        if (!a.name[0])
            t->recipe = a.value;
    }
    if (!t->recipe)
        return lv_tool_fail(LV_EXIT_USAGE, "which recipe? linvideo train --help tells");
    if (t->stage && !is_stage(t->stage))
        return lv_tool_fail(LV_EXIT_USAGE, "no stage \"%s\"; linvideo train --help lists "
                            "them", t->stage);
    return -1;
}

static int make_folder(Train *t, char *buf)
{
    const char *name = strrchr(t->recipe, '/');
    size_t n;

    if (!t->dir) {
        snprintf(buf, PATH_SIZE, "%s", name ? name + 1 : t->recipe);
        n = strlen(buf);
        if (n > 5 && !strcmp(buf + n - 5, ".json"))
            buf[n - 5] = '\0';
        t->dir = buf;
    }
    if (mkdir(t->dir, 0777) < 0 && errno != EEXIST)
        return lv_tool_fail(-1, "%s: %s", t->dir, strerror(errno));
    return 0;
}

static void put_message(void *opaque, int level, const char *line)
{
    (void)opaque;
    lv_tool_log(NULL, level, line);
}

static int open_device(Train *t)
{
    LvDeviceOptions options = { .threads = t->threads };
    int ret = lv_device_open(&t->dev, t->device, &options, &t->msg);

    if (ret < 0)
        return ret;
    t->dtype = (LvDtype)t->precision;
    if (!t->dtype)
        t->dtype = t->dev->bf16 ? LV_BF16 : LV_F32;
    if (!t->threads)
        t->threads = LV_MAX((int)sysconf(_SC_NPROCESSORS_ONLN), 1);
    fprintf(stderr, "linvideo: training on %s, products in %s\n", t->dev->about,
            t->dtype == LV_BF16 ? "bf16" : "f32");
    return 0;
}

static int run_stages(Train *t)
{
    int ret = 1;

    for (int i = 0; i < LV_COUNT(stages) && ret > 0; i++)
        if (!t->stage || !strcmp(t->stage, stages[i].name))
            ret = stages[i].run(t);
    if (caught)
        return 128 + caught;
    return ret < 0 ? LV_EXIT_FAILED : ret ? LV_EXIT_OK : LV_EXIT_STOPPED;
}

int lv_cmd_train(int argc, char **argv)
{
    Train t = { .start = lv_seconds() };
    char dir[PATH_SIZE];
    int ret = parse(&t, argc, argv);

    if (ret >= 0)
        return ret;
    t.msg = (LvMsg) { .put = put_message, .level = LV_MSG_WARNING };
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (lv_train_config_read(&t.cfg, t.recipe, &t.msg) < 0 || make_folder(&t, dir) < 0 ||
        open_device(&t) < 0)
        ret = LV_EXIT_FAILED;
    else
        ret = run_stages(&t);
    lv_device_close(&t.dev);
    lv_train_config_free(&t.cfg);
    return ret;
}
