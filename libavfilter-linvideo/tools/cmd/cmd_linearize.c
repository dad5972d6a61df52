/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo linearize`: of a model one of whose self-attention layers some are linear,
 * from nothing but noise and prompts; stage by stage, each in a file of the run's folder,
 * each of which goes on where it stopped.
 */

#include "tools/cmd/commands.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/common.h"
#include "graph/program.h"
#include "tools/share/message.h"
#include "tools/share/post.h"
#include "tools/share/run.h"
#include "train/post/linearize.h"
#include "train/post/maps.h"

typedef struct Linearize {
    LvPost post;
    LvFrozen *begin;               ///< NULL: the teacher
    double list[4][LV_MAX_LAYERS]; ///< for the log
    double bins[LV_TIME_BINS];
} Linearize;

/* What is published anew. */
static const LvFrozen *model_of(const Linearize *c)
{
    return c->begin ? c->begin : c->post.teacher;
}

static LvLinearizeFiles files_of(const Linearize *c, const char *run, const char *maps)
{
    return (LvLinearizeFiles) { .recipe = &c->post.recipe, .teacher = c->post.teacher,
                                .begin = c->begin, .t = &c->post.t, .run = run,
                                .maps = maps };
}

/* Stages */

static int trajectories_stage(Linearize *c)
{
    return c->post.t.file ? 1 : lv_post_trajectories(&c->post);
}

static int maps_step(void *stage)
{
    return lv_maps_step(stage);
}

static int maps_fields(void *stage, LvLogField *f)
{
    const LvMaps *m = stage;

    f[0] = lv_log_number("error", m->mean);
    f[1] = lv_log_list("errors", m->error, m->dit.cfg.layers);
    return 2;
}

/* Path of the run of maps, NULL when the recipe has no such stage. */
static const char *maps_path(const Linearize *c, char *buf)
{
    const LvLinearizeFiles files = files_of(c, NULL, NULL);
    LvDitConfig cfg;

    if (c->post.maps)
        return c->post.maps;
    if (lv_linearize_config(&cfg, &files) >= 0 && !lv_config_layers(&cfg, LV_ATTN_MIXED))
        return NULL;
    return c->post.recipe.maps.optim.steps ?
           lv_run_path(&c->post.run, "maps.safetensors", buf) : NULL;
}

static int maps_stage(Linearize *c)
{
    char buf[LV_RUN_PATH];
    const char *run = maps_path(c, buf);
    LvLinearizeFiles files = files_of(c, run, NULL);
    LvTrainStage s = { .name = "maps", .step = maps_step, .fields = maps_fields, .shown = 1 };
    LvMaps *m = NULL;
    int ret = 0;

    if (!run || (c->post.maps && lv_run_exists(run)))
        return 1;
    if (!lv_run_exists(run))
        ret = lv_linearize_create(&files);
    if (ret < 0 || (ret = lv_maps_open(&m, &files, c->post.run.checkpoint,
                                       c->post.run.dtype)) < 0)
        return ret;
    s.trainer = m->trainer;
    s.opaque  = m;
    s.flops   = lv_program_sizes(m->learn.task.prog).flops;
    ret = lv_run_is_done(m->trainer) ? 1 : lv_run_stage(&c->post.run, &s, run);
    lv_maps_close(&m);
    return ret;
}

/* A stage's opaque: the run, and room for lists of the log. */
typedef struct Job {
    Linearize *c;
    LvLinearize *l;
} Job;

static int linearize_step(void *stage)
{
    return lv_linearize_step(((Job *)stage)->l);
}

static int linearize_save(void *stage, const char *run)
{
    return lv_linearize_save(((Job *)stage)->l, run);
}

static int linearize_sample(void *stage, const char *path)
{
    const Job *job = stage;
    const LvTrajectories *t = &job->c->post.t;

    return lv_post_sheet(&(LvSampling) {
        .nets = &job->l->nets, .t = t, .model = job->c->post.teacher, .sigma = t->sigma,
        .steps = t->steps, .guidance = t->guidance, .seed = job->l->optim.seed }, path);
}

/* By layer: r, dL/dr, rho, kind; all of the step that was taken last. */
static void fill_lists(Linearize *c, const LvLinearize *l)
{
    int step = l->trainer->step - 1;

    for (int i = 0; i < l->gates.layers; i++) {
        c->list[0][i] = l->gates.gate[i].r;
        c->list[1][i] = l->gates.gate[i].data;
        c->list[2][i] = lv_gates_rho(&l->gates, i, step);
        c->list[3][i] = l->gates.gate[i].kind;
    }
    for (int i = 0; i < LV_TIME_BINS; i++)
        c->bins[i] = l->power[i] > 0 ? l->error[i] / l->power[i] : NAN;
}

static double whole_error(const LvLinearize *l)
{
    double error = 0, power = 0;

    for (int i = 0; i < LV_TIME_BINS; i++) {
        error += l->error[i];
        power += l->power[i];
    }
    return error / LV_MAX(power, 1e-30);
}

static int linearize_fields(void *stage, LvLogField *f)
{
    const Job *job = stage;
    Linearize *c = job->c;
    const LvLinearize *l = job->l;
    int n = l->gates.layers, step = l->trainer->step - 1, nb = 0;
    double alpha = lv_gates_alpha(&l->gates, step);

    fill_lists(c, l);
    f[nb++] = lv_log_number("error", whole_error(l));
    f[nb++] = lv_log_number("count", lv_gates_count(&l->gates));
    f[nb++] = lv_log_number("loss", l->loss);
    f[nb++] = lv_log_list("errors", c->bins, LV_TIME_BINS);
    f[nb++] = lv_log_number("alpha", alpha);
    f[nb++] = lv_log_number("eta", lv_gates_eta(&l->gates, step));
    f[nb++] = lv_log_number("con", lv_gates_con(&l->gates));
    f[nb++] = lv_log_number("reg", lv_gates_reg(&l->gates, alpha));
    f[nb++] = lv_log_list("r", c->list[0], n);
    f[nb++] = lv_log_list("dr", c->list[1], n);
    f[nb++] = lv_log_list("rho", c->list[2], n);
    f[nb++] = lv_log_list("kind", c->list[3], n);
    if (l->critic)
        f[nb++] = lv_log_number("fake_loss", l->critic_loss);
    return nb;
}

static int open_linearize(Linearize *c, LvLinearize **l, const char *run, int create)
{
    char maps[LV_RUN_PATH];
    LvLinearizeFiles files = files_of(c, run, maps_path(c, maps));
    int ret = 0;

    if (create) {
        if (lv_group_apart(c->post.run.dev) && !lv_run_exists(run))
            ret = lv_linearize_create(&files);
        ret = lv_group_rejoin(c->post.run.dev, ret);
    }
    return ret < 0 ? ret : lv_linearize_open(l, &files, c->post.run.checkpoint,
                                             c->post.run.dtype, c->post.run.threads);
}

static int linearize_stage(Linearize *c)
{
    char run[LV_RUN_PATH];
    Job job = { .c = c };
    LvTrainStage s = { .name = "linearize", .step = linearize_step, .opaque = &job,
                  .fields = linearize_fields, .shown = 2, .save = linearize_save,
                  .sample = linearize_sample };
    int ret = open_linearize(c, &job.l, lv_run_path(&c->post.run, "linearize.safetensors",
                                                    run), 1);

    if (ret < 0)
        return ret;
    s.trainer = job.l->trainer;
    s.flops   = lv_linearize_flops(job.l);
    ret = lv_run_is_done(s.trainer) ? 1 : lv_run_stage(&c->post.run, &s, run);
    lv_linearize_close(&job.l);
    return ret;
}

static void say_layers(const LvLinearize *l)
{
    fputs("linvideo: linear layers", stderr);
    for (int i = 0; i < l->gates.layers; i++)
        if (l->dit.cfg.attention[i] == LV_ATTN_LINEAR)
            fprintf(stderr, " %d", i);
    fputc('\n', stderr);
}

static int export_stage(Linearize *c)
{
    char run[LV_RUN_PATH], out[LV_RUN_PATH];
    const char *to = lv_post_output(&c->post, model_of(c), out);
    LvLinearize *l = NULL;
    double error;
    int ret = open_linearize(c, &l, lv_run_path(&c->post.run, "linearize.safetensors",
                                                run), 0);

    if (ret >= 0 && (ret = lv_post_check_output(&c->post, model_of(c))) >= 0 &&
        (ret = lv_linearize_export(l, to)) >= 0 &&
        (ret = lv_linearize_verify(l, to, &error)) >= 0) {
        say_layers(l);
        lv_tool_line(stderr, "linvideo: wrote %s; its velocities differ from the run's by %.2g "
                     "of their square", to, error);
        ret = 1;
    }
    lv_linearize_close(&l);
    return ret;
}

/* Not a part of the way: what each layer alone costs. */
static int sensitivity_stage(Linearize *c)
{
    char run[LV_RUN_PATH], maps[LV_RUN_PATH];
    LvLinearizeFiles files = files_of(c, lv_run_path(&c->post.run, "probe.safetensors", run),
                                      maps_path(c, maps));
    double error[LV_MAX_LAYERS];
    LvLinearize *l = NULL;
    int ret = lv_linearize_create(&files);

    if (ret >= 0 && (ret = lv_linearize_open(&l, &files, 0, c->post.run.dtype,
                                             c->post.run.threads)) >= 0 &&
        (ret = lv_linearize_sensitivity(l, error)) >= 0) {
        for (int i = 0; i < l->gates.layers; i++)
            printf("%d %.6g\n", i, error[i]);
        ret = 1;
    }
    lv_linearize_close(&l);
    remove(run);
    return ret;
}

static const struct {
    const char *name;
    int (*run)(Linearize *c); ///< 1: done, 0: stopped before the end, negative: failed
    int aside;                ///< 1: only when asked for
    int apart;                ///< 1: of several ranks the first alone runs it
} stages[] = {
    { "trajectories", trajectories_stage, 0, 0 },
    { "maps", maps_stage, 0, 1 },
    { "sensitivity", sensitivity_stage, 1, 1 },
    { "linearize", linearize_stage, 0, 0 },
    { "export", export_stage, 0, 1 },
};

/* Command line */

static void help(void)
{
    puts("Usage: linvideo linearize [options] MODEL\n"
         "\n"
         "Converts some self-attention layers of a model to linear attention, whose cost\n"
         "grows linearly with the length of a clip, not with its square. The model is its\n"
         "own teacher: this needs no data but noise and prompts. The stages are\n"
         "trajectories (the teacher samples), maps (a warm-up of feature maps, if the\n"
         "recipe has one), linearize and export. A stage resumes where it stopped; Ctrl-C\n"
         "saves and stops. Defaults are shown in brackets.\n"
         "\n"
         "  --teacher MODEL   what MODEL learns from, when MODEL has linear layers: these stay\n"
         "                    so, --layers counts them too; as many as there are: they only\n"
         "                    learn further [MODEL itself]\n"
         "  --layers T        number of linear layers at the end [half]\n"
         "  --select NAME     which layers: learned (by selective transfer), or from the\n"
         "                    start first, random, greedy (those with the least error\n"
         "                    alone) or numbers as 0,3,5 [learned]\n"
         "  --objective NAME  onpolicy (matching where the student's own step led), step (the\n"
         "                    paper's ADM as printed: that error moves the velocity before),\n"
         "                    anchored (ADM with half of the error before the step), mse,\n"
         "                    mse-online or dmd [onpolicy]\n"
         "  --states NAME     states to train on: step, from the teacher's clips; stream,\n"
         "                    the student's own [step]\n"
         "  --weight NAME     weight of errors: norm, unit, literal or sqrt [norm]\n"
         "  --compare NAME    branch: velocities of a prompt; joint: guided ones [branch]\n"
         "  --map NAME        feature map: hedgehog, relu or taylor [hedgehog]\n"
         "  --only NAME       what learns: all, attention (self-attention and its feature\n"
         "                    maps) or maps [all]\n"
         "  --steps N         steps of training [3000]\n"
         LV_POST_HELP
         "  --maps FILE       feature maps to start from [DIR/maps.safetensors]\n"
         "  --dir DIR         folder of the run [name of MODEL with -linear]\n"
         "  --stage NAME      run only this stage; sensitivity prints the error of each\n"
         "                    layer when it alone is linear\n"
         "  -o, --output FILE the new model [DIR/model.safetensors; when MODEL is a\n"
         "                    manifest, DIR/model.json with the network beside it]\n"
         "\n"
         "DIR/linearize.jsonl has a line for each step; linvideo report draws it.\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 wrong use, 3 stopped by a limit of time or step,\n"
         "128 + n stopped by signal n.");
}

static const LvPostChange changes[] = {
    { "layers", "linearize.layers" }, { "select", "linearize.select" },
    { "objective", "linearize.objective" }, { "states", "linearize.states" },
    { "weight", "linearize.weight" }, { "compare", "linearize.compare" },
    { "map", "linearize.feature_map" }, { "steps", "linearize.steps" },
    { "only", "linearize.only" },
};

static int is_stage(const char *name)
{
    for (int i = 0; i < LV_COUNT(stages); i++)
        if (!strcmp(name, stages[i].name))
            return 1;
    return 0;
}

static int run_stage(Linearize *c, int i)
{
    LvDevice *dev = c->post.run.dev;

    if (!stages[i].apart)
        return stages[i].run(c);
    return lv_group_rejoin(dev, lv_group_apart(dev) ? stages[i].run(c) : 1);
}

static int run_stages(Linearize *c)
{
    const char *only = c->post.stage;
    int ret = 1;

    for (int i = 0; i < LV_COUNT(stages) && ret > 0; i++) {
        int wanted = only ? !strcmp(only, stages[i].name) : !stages[i].aside;
        if (wanted && i && !c->post.t.file)
            ret = trajectories_stage(c);
        if (wanted && ret > 0)
            ret = run_stage(c, i);
    }
    return lv_run_exit(&c->post.run, ret);
}

/* The teacher, and the model where that is another one. */
static int open_models(Linearize *c)
{
    const LvPost *p = &c->post;
    char path[LV_PATH_SIZE];
    LvFrozenClip clip;
    int ret = lv_post_open(&c->post, p->teacher_name ? p->teacher_name : p->model, "-linear");

    if (ret < 0 || !p->teacher_name ||
        (ret = lv_model_find(path, p->model, &p->run.msg)) < 0)
        return ret;
    clip = lv_post_clip(p);
    return lv_frozen_open(&c->begin, path, &clip, p->run.dev, &p->run.msg);
}

/* Before minutes are spent on trajectories. */
static int check(const Linearize *c)
{
    char buf[LV_RUN_PATH];
    const char *stage = c->post.stage, *maps;
    const LvLinearizeFiles files = files_of(c, NULL, NULL);
    int ret = lv_post_check_output(&c->post, model_of(c));

    if (ret < 0 || (ret = lv_linearize_check(&files)) < 0 ||
        c->post.recipe.trajectories.clips)
        return ret;
    if (stage && !strcmp(stage, "sensitivity"))
        return lv_tool_fail(-1, "sensitivity needs stored states: trajectories.clips is 0");
    if ((maps = maps_path(c, buf)) && !lv_run_exists(maps))
        return lv_tool_fail(-1, "maps need stored states: trajectories.clips is 0");
    return 0;
}

static int cmd_linearize(int argc, char **argv)
{
    Linearize c = { 0 };
    int ret;

    lv_run_init(&c.post.run, "linearize");
    ret = lv_post_parse(&c.post, argc, argv, help, changes, LV_COUNT(changes));
    if (ret < 0 && c.post.stage && !is_stage(c.post.stage))
        ret = lv_tool_fail(LV_EXIT_USAGE, "no stage \"%s\"; linvideo linearize --help lists "
                           "them", c.post.stage);
    if (ret < 0)
        ret = open_models(&c) < 0 || check(&c) < 0 ? LV_EXIT_FAILED : run_stages(&c);
    lv_frozen_close(&c.begin);
    lv_post_close(&c.post);
    return ret;
}

const LvCommand lv_cmd_linearize = {
    .name  = "linearize",
    .about = "convert some layers of a model to linear attention",
    .run   = cmd_linearize,
};
