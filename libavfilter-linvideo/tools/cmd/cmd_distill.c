/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo distill`: of a model one that samples in a few steps, without guidance.
 */

#include "tools/cmd/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/common.h"
#include "tools/share/message.h"
#include "tools/share/post.h"
#include "tools/share/run.h"
#include "train/post/distill.h"

typedef struct Distill {
    LvPost post;
    LvFrozen *student;
} Distill;

static LvDistillFiles files_of(const Distill *c, const char *run)
{
    return (LvDistillFiles) { .recipe = &c->post.recipe, .student = c->student,
                              .teacher = c->post.teacher, .t = &c->post.t, .run = run };
}

/* Stages */

/* Of trajectories only the prompts are wanted. */
static int prompts_stage(Distill *c)
{
    int ret;

    if (c->post.t.file)
        return 1;
    c->post.recipe.trajectories.clips = 0;
    if (!c->post.trajectories_path)
        return lv_post_trajectories(&c->post);
    ret = lv_trajectories_open(&c->post.t, c->post.teacher, c->post.trajectories_path);
    return ret < 0 ? ret : 1;
}

static int distill_step(void *stage)
{
    return lv_distill_step(stage);
}

static int distill_fields(void *stage, LvLogField *f)
{
    const LvDistill *d = stage;

    f[0] = lv_log_number("error", d->error);
    f[1] = lv_log_number("fake_loss", d->critic_loss);
    f[2] = lv_log_number("loss", d->loss);
    f[3] = lv_log_number("stop", d->stop);
    f[4] = lv_log_number("fake_norm", d->critic->trainer->grad_norm);
    return 5;
}

static int distill_save(void *stage, const char *run)
{
    return lv_distill_save(stage, run);
}

static int distill_sample(void *stage, const char *path)
{
    const LvDistill *d = stage;

    return lv_post_sheet(&(LvSampling) {
        .nets = &d->nets, .t = d->t, .model = d->student, .sigma = d->sigma, .steps = d->steps,
        .seed = d->optim.seed }, path);
}

static int open_distill(Distill *c, LvDistill **d, const char *run, int create)
{
    LvDistillFiles files = files_of(c, run);
    int ret = 0;

    if (create) {
        if (lv_group_apart(c->post.run.dev) && !lv_run_exists(run))
            ret = lv_distill_create(&files);
        ret = lv_group_rejoin(c->post.run.dev, ret);
    }
    return ret < 0 ? ret : lv_distill_open(d, &files, c->post.run.checkpoint,
                                           c->post.run.dtype, c->post.run.threads);
}

static int distill_stage(Distill *c)
{
    char run[LV_RUN_PATH];
    LvTrainStage s = { .name = "distill", .step = distill_step, .fields = distill_fields,
                  .shown = 2, .save = distill_save, .sample = distill_sample };
    LvDistill *d = NULL;
    int ret = open_distill(c, &d, lv_run_path(&c->post.run, "distill.safetensors", run), 1);

    if (ret < 0)
        return ret;
    s.opaque  = d;
    s.trainer = d->trainer;
    s.flops   = lv_distill_flops(d);
    ret = lv_run_is_done(s.trainer) ? 1 : lv_run_stage(&c->post.run, &s, run);
    lv_distill_close(&d);
    return ret;
}

static int export_stage(Distill *c)
{
    char run[LV_RUN_PATH], out[LV_RUN_PATH];
    const char *to = lv_post_output(&c->post, c->student, out);
    LvDistill *d = NULL;
    int ret = open_distill(c, &d, lv_run_path(&c->post.run, "distill.safetensors", run), 0);

    if (ret >= 0 && (ret = lv_post_check_output(&c->post, c->student)) >= 0 &&
        (ret = lv_distill_export(d, to)) >= 0) {
        lv_tool_line(stderr, "linvideo: wrote %s: %d steps, guidance 1", to, d->steps);
        ret = 1;
    }
    lv_distill_close(&d);
    return ret;
}

static const struct {
    const char *name;
    int (*run)(Distill *c); ///< 1: done, 0: stopped before the end, negative: failed
    int apart;              ///< 1: of several ranks the first alone runs it
} stages[] = {
    { "prompts", prompts_stage, 0 },
    { "distill", distill_stage, 0 },
    { "export", export_stage, 1 },
};

/* Command line */

static void help(void)
{
    puts("Usage: linvideo distill [options] MODEL\n"
         "\n"
         "Makes a model sample in a few steps without guidance, by distribution matching\n"
         "with its teacher. It needs no data but noise and prompts. The stages are\n"
         "prompts, distill and export. A stage resumes where it stopped; Ctrl-C saves and\n"
         "stops. Defaults are shown in brackets.\n"
         "\n"
         "  --teacher MODEL   the teacher [MODEL itself]\n"
         "  --sampler-steps N steps of the sampler of the new model [4]\n"
         "  --only NAME       what learns: all, attention (self-attention and its feature\n"
         "                    maps) or maps [all]\n"
         "  --steps N         steps of training [2000]\n"
         LV_POST_HELP
         "  --dir DIR         folder of the run [name of MODEL with -distilled]\n"
         "  --stage NAME      run only this stage\n"
         "  -o, --output FILE the new model with its sampler settings\n"
         "                    [DIR/model.safetensors, of a manifest DIR/model.json]\n"
         "\n"
         "DIR/distill.jsonl has a line for each step.\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 wrong use, 3 stopped by a limit of time or step,\n"
         "128 + n stopped by signal n.");
}

static const LvPostChange changes[] = {
    { "steps", "distill.steps" }, { "sampler_steps", "distill.sampler_steps" },
    { "only", "distill.only" },
};

static int is_stage(const char *name)
{
    for (int i = 0; i < LV_COUNT(stages); i++)
        if (!strcmp(name, stages[i].name))
            return 1;
    return 0;
}

static int run_stage(Distill *c, int i)
{
    LvDevice *dev = c->post.run.dev;

    if (!stages[i].apart)
        return stages[i].run(c);
    return lv_group_rejoin(dev, lv_group_apart(dev) ? stages[i].run(c) : 1);
}

static int run_stages(Distill *c)
{
    const char *only = c->post.stage;
    int ret = 1;

    for (int i = 0; i < LV_COUNT(stages) && ret > 0; i++) {
        if (only && strcmp(only, stages[i].name))
            continue;
        if ((ret = prompts_stage(c)) > 0)
            ret = run_stage(c, i);
    }
    return lv_run_exit(&c->post.run, ret);
}

static int open_all(Distill *c)
{
    char path[LV_PATH_SIZE];
    const LvPost *p = &c->post;
    LvFrozenClip clip;
    int ret = lv_post_open(&c->post, p->teacher_name ? p->teacher_name : p->model,
                           "-distilled");

    if (ret < 0 || (ret = lv_model_find(path, p->model, &p->run.msg)) < 0)
        return ret;
    clip = lv_post_clip(p);
    ret  = lv_frozen_open(&c->student, path, &clip, p->run.dev, &p->run.msg);
    if (ret < 0 || (ret = lv_post_check_output(p, c->student)) < 0)
        return ret;
    return lv_distill_check(&(LvDistillFiles) {
        .recipe = &p->recipe, .student = c->student, .teacher = p->teacher });
}

static int cmd_distill(int argc, char **argv)
{
    Distill c = { 0 };
    int ret;

    lv_run_init(&c.post.run, "distill");
    ret = lv_post_parse(&c.post, argc, argv, help, changes, LV_COUNT(changes));
    if (ret < 0 && c.post.stage && !is_stage(c.post.stage))
        ret = lv_tool_fail(LV_EXIT_USAGE, "no stage \"%s\"; linvideo distill --help lists "
                           "them", c.post.stage);
    if (ret < 0)
        ret = open_all(&c) < 0 ? LV_EXIT_FAILED : run_stages(&c);
    lv_frozen_close(&c.student);
    lv_post_close(&c.post);
    return ret;
}

const LvCommand lv_cmd_distill = {
    .name  = "distill",
    .about = "make a model that samples in a few steps",
    .run   = cmd_distill,
};
