/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo train`: a model from a recipe, stage by stage, each in a file of the run's
 * folder, each of which goes on where it stopped.
 */

#include "tools/cmd/commands.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/common.h"
#include "base/file.h"
#include "base/hash.h"
#include "graph/program.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/run.h"
#include "train/pretrain/autoencoder.h"
#include "train/pretrain/export.h"
#include "train/pretrain/flow.h"
#include "train/pretrain/tokenizer_train.h"

enum { PSNR_CLIPS = 32, CAPTIONS = 20000 };

typedef struct Train {
    LvRun run;
    LvTrainConfig cfg;
    const char *recipe, *out, *stage, *from;
} Train;

/* Stages */

/* Write the tokenizer of the model to begin with. 1, or 0 when there is none. */
static int take_tokenizer(Train *t, const char *file)
{
    const LvMsg *msg = &t->run.msg;
    const LvFileTensor *f;
    LvSafetensors *st;
    int ret = t->from ? lv_safetensors_open(&st, t->from, msg) : 0;

    if (ret < 0 || !t->from)
        return ret;
    if ((f = lv_safetensors_find(st, "tokenizer.spm")))
        ret = lv_file_write(file, f->data, f->size, msg);
    lv_safetensors_close(&st);
    return ret < 0 ? ret : f != NULL;
}

static int tokenizer_stage(Train *t)
{
    const LvTrainConfig *c = &t->cfg;
    char file[LV_RUN_PATH];
    LvStock stock;
    int ret;

    if (lv_run_exists(lv_run_path(&t->run, "tokenizer.spm", file)))
        return 1;
    if ((ret = take_tokenizer(t, file)))
        return ret;
    fprintf(stderr, "linvideo: tokenizer of %d pieces from %d captions\n",
            c->model.text.vocab, CAPTIONS);
    ret = lv_stock_open(&stock, c->data.clips, c->data.art, 0, (uint64_t)c->seed,
                        &t->run.msg);
    if (ret >= 0)
        ret = lv_tokenizer_train(file, c->model.text.vocab, &stock, CAPTIONS, &t->run.msg);
    lv_stock_close(&stock);
    return ret < 0 ? -1 : 1;
}

static int autoencoder_step(void *stage)
{
    return lv_autoencoder_step(stage);
}

static int autoencoder_fields(void *stage, LvLogField *f)
{
    const LvAutoencoder *a = stage;

    f[0] = lv_log_number("psnr", -10 * log10(a->mse));
    f[1] = lv_log_number("latent_square", a->z_square);
    return 2;
}

static int open_autoencoder(Train *t, LvAutoencoder **a, int train)
{
    const LvRun *r = &t->run;
    char run[LV_RUN_PATH];

    return lv_autoencoder_open(a, &t->cfg, lv_run_path(r, "autoencoder.safetensors", run),
                               train, r->dtype, r->threads, r->dev, &r->msg);
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
    char run[LV_RUN_PATH];
    LvAutoencoder *a = NULL;
    LvTrainStage s = { .name = "autoencoder", .step = autoencoder_step,
                  .fields = autoencoder_fields, .shown = 2 };
    int ret = 0;

    if (!lv_run_exists(lv_run_path(&t->run, "autoencoder.safetensors", run)))
        ret = lv_autoencoder_create(&t->cfg, run, t->from, t->run.dev, &t->run.msg);
    if (ret < 0 || (ret = open_autoencoder(t, &a, 1)) < 0)
        return ret;
    s.trainer = a->trainer;
    s.opaque  = a;
    s.flops   = lv_program_sizes(a->task.prog).flops * t->cfg.autoencoder.batch;
    if (!lv_run_is_done(a->trainer)) {
        ret = lv_run_stage(&t->run, &s, run);
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
    return lv_run_is_over(&t->run) ? LV_ERR_CANCELLED : 0;
}

/* Path of the set of latents of a shape. */
static const char *latents_path(const Train *t, int shape, char buf[LV_RUN_PATH])
{
    char name[32] = "latents.safetensors";

    if (shape)
        snprintf(name, sizeof(name), "latents-%d.safetensors", shape + 1);
    return lv_run_path(&t->run, name, buf);
}

static int make_latents(Train *t, const LvAutoencoder *a, int shape)
{
    char file[LV_RUN_PATH], before[LV_RUN_PATH];
    LvLatents first = { 0 };
    int ret = 0;

    if (lv_run_exists(latents_path(t, shape, file)))
        return 0;
    if (shape)
        ret = lv_latents_open(&first, &t->cfg, 0, latents_path(t, 0, before), &t->run.msg);
    if (ret >= 0)
        ret = lv_latents_create(a, shape, shape ? &first : NULL, file, t->run.threads,
                                latents_progress, t);
    lv_latents_close(&first);
    return ret;
}

static int latents_stage(Train *t)
{
    char file[LV_RUN_PATH];
    LvAutoencoder *a;
    int ret;

    if (lv_run_exists(latents_path(t, t->cfg.flow.shapes - 1, file)))
        return 1;
    if ((ret = open_autoencoder(t, &a, 0)) >= 0 && !lv_run_is_done(a->trainer))
        ret = lv_fail(&t->run.msg, LV_ERR(EINVAL), "latents need an autoencoder that is done, "
                      "not one of step %d/%d", a->trainer->step, a->trainer->optim.steps);
    for (int i = 0; i < t->cfg.flow.shapes && ret >= 0; i++)
        ret = make_latents(t, a, i);
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

    f[0] = lv_log_number("loss", flow->mse);
    return 1;
}

static int open_flow(Train *t, LvFlow **f, int train)
{
    char run[LV_RUN_PATH], tokenizer[LV_RUN_PATH], latents[LV_FLOW_SHAPES][LV_RUN_PATH];
    const LvRun *r    = &t->run;
    LvFlowFiles files = { .run = lv_run_path(r, "flow.safetensors", run),
                          .tokenizer = lv_run_path(r, "tokenizer.spm", tokenizer) };

    for (int i = 0; i < t->cfg.flow.shapes; i++)
        files.latents[i] = latents_path(t, i, latents[i]);
    return lv_flow_open(f, &t->cfg, &files, train, r->checkpoint, r->dtype, r->threads,
                        r->dev, &r->msg);
}

static int flow_stage(Train *t)
{
    char run[LV_RUN_PATH];
    LvFlow *f = NULL;
    LvTrainStage s = { .name = "flow", .step = flow_step, .fields = flow_fields, .shown = 1 };
    int ret = 0;

    lv_run_path(&t->run, "flow.safetensors", run);
    if (lv_group_apart(t->run.dev) && !lv_run_exists(run))
        ret = lv_flow_create(&t->cfg, run, t->from, t->run.dev, &t->run.msg);
    if ((ret = lv_group_rejoin(t->run.dev, ret)) < 0 || (ret = open_flow(t, &f, 1)) < 0)
        return ret;
    s.trainer = f->trainer;
    s.opaque  = f;
    s.flops   = lv_flow_flops(f);
    ret = lv_run_is_done(f->trainer) ? 1 : lv_run_stage(&t->run, &s, run);
    lv_flow_close(&f);
    return ret;
}

static int export_stage(Train *t)
{
    char latents[LV_RUN_PATH], tokenizer[LV_RUN_PATH], out[LV_RUN_PATH];
    LvAutoencoder *a = NULL;
    LvLatents l = { 0 };
    LvFlow *f = NULL;
    const LvRun *r = &t->run;
    const char *to = t->out ? t->out : lv_run_path(r, "model.safetensors", out);
    int ret;

    lv_run_path(r, "latents.safetensors", latents);
    lv_run_path(r, "tokenizer.spm", tokenizer);
    if ((ret = open_autoencoder(t, &a, 0)) >= 0 && (ret = open_flow(t, &f, 0)) >= 0 &&
        (ret = lv_latents_open(&l, &t->cfg, 0, latents, &r->msg)) >= 0)
        ret = lv_export(to, a, f, &l, tokenizer, &r->msg);
    lv_latents_close(&l);
    lv_flow_close(&f);
    lv_autoencoder_close(&a);
    if (ret >= 0)
        lv_tool_line(stderr, "linvideo: wrote %s", to);
    return ret < 0 ? ret : 1;
}

static const struct {
    const char *name;
    int (*run)(Train *t); ///< 1: done, 0: stopped before the end, negative: failed
    int apart;            ///< 1: of several ranks the first alone runs it
} stages[] = {
    { "tokenizer", tokenizer_stage, 1 },
    { "autoencoder", autoencoder_stage, 1 },
    { "latents", latents_stage, 1 },
    { "flow", flow_stage, 0 },
    { "export", export_stage, 1 },
};

/* Command line */

static void help(void)
{
    puts("Usage: linvideo train [options] RECIPE\n"
         "\n"
         "Makes a model from a recipe (JSON, see samples/configs). The stages are\n"
         "tokenizer, autoencoder, latents, flow (text encoder and network) and export,\n"
         "which writes a bundle. A stage resumes where it stopped; Ctrl-C saves and stops.\n"
         "Defaults are shown in brackets.\n"
         "\n"
         "  --dir DIR         folder of the run [name of RECIPE without .json]\n"
         "  --stage NAME      run only this stage [all]\n"
         "  --from FILE       begin with the weights of a bundle or a run of the same sizes\n"
         "  -o, --output FILE the bundle [DIR/model.safetensors]\n"
         LV_RUN_HELP
         "\n"
         "The result depends on the recipe alone, given device, precision and version.\n"
         "DIR/autoencoder.jsonl and DIR/flow.jsonl have a line for each step.\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 wrong use, 3 stopped by a limit of time or step,\n"
         "128 + n stopped by signal n.");
}

static int set_option(Train *t, LvArgs *a)
{
    const struct { const char *name; const char **to; } texts[] = {
        { "stage", &t->stage }, { "from", &t->from }, { "o", &t->out }, { "output", &t->out },
    };
    int taken = lv_run_option(&t->run, a);

    if (taken)
        return LV_MIN(taken, 0);
    for (int i = 0; i < LV_COUNT(texts); i++)
        if (!strcmp(a->name, texts[i].name))
            return (*texts[i].to = lv_args_value(a)) ? 0 : -1;
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
        return lv_tool_fail(LV_EXIT_USAGE, "expected a recipe; linvideo train --help lists "
                            "the options");
    if (t->stage && !is_stage(t->stage))
        return lv_tool_fail(LV_EXIT_USAGE, "no stage \"%s\"; linvideo train --help lists "
                            "them", t->stage);
    return -1;
}

static int run_stage(Train *t, int i)
{
    LvDevice *dev = t->run.dev;

    if (!stages[i].apart)
        return stages[i].run(t);
    return lv_group_rejoin(dev, lv_group_apart(dev) ? stages[i].run(t) : 1);
}

static int run_stages(Train *t)
{
    int ret = lv_group_same(t->run.dev, lv_hash_text(0, t->cfg.text), "recipe");

    ret = ret < 0 ? ret : 1;

    for (int i = 0; i < LV_COUNT(stages) && ret > 0; i++)
        if (!t->stage || !strcmp(t->stage, stages[i].name))
            ret = run_stage(t, i);
    return lv_run_exit(&t->run, ret);
}

static int cmd_train(int argc, char **argv)
{
    Train t = { 0 };
    int ret;

    lv_run_init(&t.run, "train");
    if ((ret = parse(&t, argc, argv)) >= 0)
        return ret;
    if (lv_train_config_read(&t.cfg, t.recipe, &t.run.msg) < 0 ||
        lv_run_folder(&t.run, t.recipe, ".json", "") < 0 ||
        lv_run_output(&t.run, t.out, (const char *[]) { t.recipe, NULL }) < 0 ||
        lv_run_open(&t.run) < 0)
        ret = LV_EXIT_FAILED;
    else
        ret = run_stages(&t);
    lv_run_close(&t.run);
    lv_train_config_free(&t.cfg);
    return ret;
}

const LvCommand lv_cmd_train = {
    .name  = "train",
    .about = "make a model from a recipe",
    .run   = cmd_train,
};
