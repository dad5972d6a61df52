/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/post_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/philox.h"
#include "model/umt5.h"
#include "train/pretrain/tokenizer_train.h"
#include "train/pretrain/train_config.h"
#include "train/run/init.h"

#ifndef REF_DIR
#define REF_DIR "tests/ref"
#endif

char post_said[2048];

static void keep_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    snprintf(post_said, sizeof(post_said), "%s", line);
}

const LvMsg post_msg = { keep_line, NULL, LV_MSG_WARNING };

LvDevice *post_open_device(void)
{
    const LvDeviceOptions o = { .threads = 1 };
    LvDevice *dev;

    SUCCEEDS(lv_device_open(&dev, getenv("LV_TEST_DEVICE"), &o, &post_msg));
    return dev;
}

/* A tiny bundle of random weights, and what its post-training needs */

static char folder[64];

const char *post_in_folder(const char *name)
{
    static char buf[8][256];
    static int at;

    at = (at + 1) % 8;
    snprintf(buf[at], sizeof(buf[at]), "%s/%s", folder, name);
    return buf[at];
}

/* All networks of a bundle, as init begins them; the head is not left at zero. */
static void describe_bundle(const LvTrainConfig *cfg, LvWeights *w)
{
    LvUmt5 text = { 0 };
    LvDit dit = { 0 };
    LvTae tae = { 0 };

    SUCCEEDS(lv_umt5_bind(&text, &cfg->model.text, w, "text."));
    SUCCEEDS(lv_dit_bind(&dit, &cfg->model.dit, w, "dit."));
    SUCCEEDS(lv_tae_design(&tae, &cfg->model.vae, &cfg->design, 1, w, "vae.encoder."));
    SUCCEEDS(lv_tae_design(&tae, &cfg->model.vae, &cfg->design, 0, w, "vae.decoder."));
    lv_umt5_free(&text);
    lv_dit_free(&dit);
}

static void randomise(float *values, const LvParam *t, float scale)
{
    lv_philox_normal(values + t->at, t->numel, 5, 99);
    for (size_t k = 0; k < t->numel; k++)
        values[t->at + k] *= scale;
}

static void write_bundle(const LvTrainConfig *cfg, LvDevice *dev, const char *path,
                         float time)
{
    LvFileTensor *list;
    LvWeights *w;
    LvParams *p;
    float *values;
    LvMap spm;
    const char *meta[] = { LV_CONFIG_KEY, cfg->text, NULL };
    int nb = 0;

    SUCCEEDS(lv_tokenizer_train(post_in_folder("spm"), cfg->model.text.vocab,
                                &(LvStock) { .seed = 1 }, 2000, &post_msg));
    SUCCEEDS(lv_map_open(&spm, post_in_folder("spm"), &post_msg));
    SUCCEEDS(lv_params_new(&p, 0, dev, &post_msg));
    SUCCEEDS(lv_weights_new_params(&w, p, NULL, dev, &post_msg));
    describe_bundle(cfg, w);
    values = malloc(p->size * sizeof(*values));
    list   = calloc((size_t)p->nb + 1, sizeof(*list));
    SUCCEEDS(lv_init_params(p, values, 5, &post_msg));
    for (int i = 0; i < p->nb; i++) {
        const LvParam *t = &p->list[i];
        if (!strcmp(t->name, "dit.head.head.weight"))
            randomise(values, t, 0.15f);
        if (time > 0 && !strcmp(t->name, "dit.time_projection.1.weight"))
            randomise(values, t, time);
        list[nb] = (LvFileTensor) { .name = t->name, .dtype = LV_F32, .rank = t->rank,
                                    .numel = t->numel, .data = values + t->at,
                                    .size = t->numel * sizeof(float) };
        memcpy(list[nb++].dim, t->dim, sizeof(t->dim));
    }
    list[nb++] = (LvFileTensor) { .name = "tokenizer.spm", .dtype = LV_U8, .rank = 1,
                                  .numel = spm.size, .dim = { (int64_t)spm.size },
                                  .data = spm.data, .size = spm.size };
    SUCCEEDS(lv_safetensors_write(path, list, nb, meta, &post_msg));
    free(list);
    free(values);
    lv_weights_free(&w);
    lv_params_free(&p);
    lv_map_close(&spm);
}


static const char *const usual[] = {
    "trajectories.prompts=6", "trajectories.clips=6",
    "trajectories.velocities=1", "linearize.layers=1", "linearize.steps=8",
    "linearize.batch=8", "linearize.micro=4", "linearize.r0=0.9", "linearize.lr=1e-3",
    "linearize.r_lr=0.05", "maps.batch=4", "distill.steps=6", "distill.batch=4",
    "distill.micro=2", "distill.ema_from=1", "fake.ratio=2", "fake.lr=1e-3",
};

static void make_folder(float time)
{
    LvTrainConfig cfg;
    LvDevice *dev;

    strcpy(folder, "/tmp/linvideo-post-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    dev = post_open_device();
    SUCCEEDS(lv_train_config_read(&cfg, REF_DIR "/tiny.json", &post_msg));
    write_bundle(&cfg, dev, post_in_folder("bundle"), time);
    lv_train_config_free(&cfg);
    lv_device_close(&dev);
}

void post_make_folder(void)
{
    make_folder(0);
}

void post_make_timed_folder(void)
{
    make_folder(0.5f);
}

void post_remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* more: changes of the recipe, ended by NULL. */
void post_begin(PostJob *j, const char *const *more)
{
    const char *changes[LV_COUNT(usual) + 16];
    LvPrompts p;
    int nb = LV_COUNT(usual);

    memset(j, 0, sizeof(*j));
    memcpy(changes, usual, sizeof(usual));
    for (; more && *more; more++)
        changes[nb++] = *more;
    j->dev   = post_open_device();
    j->dtype = LV_F32;
    SUCCEEDS(lv_recipe_read(&j->recipe, NULL, changes, nb, &post_msg));
    SUCCEEDS(lv_frozen_open(&j->teacher, post_in_folder("bundle"), NULL, j->dev, &post_msg));
    SUCCEEDS(lv_prompts_draw(&p, j->recipe.trajectories.prompts, 1, j->teacher));
    SUCCEEDS(lv_trajectories_make(j->teacher, &j->recipe.trajectories, &p, 1, LV_F32,
                                  post_in_folder("trajectories"), NULL, NULL));
    SUCCEEDS(lv_trajectories_open(&j->t, j->teacher, post_in_folder("trajectories")));
    lv_prompts_free(&p);
    j->files = (LvLinearizeFiles) { .recipe = &j->recipe, .teacher = j->teacher,
                                    .t = &j->t };
}

void post_end(PostJob *j)
{
    lv_linearize_close(&j->l);
    lv_distill_close(&j->d);
    lv_trajectories_close(&j->t);
    lv_frozen_close(&j->teacher);
    lv_recipe_free(&j->recipe);
    lv_device_close(&j->dev);
}

void post_open_linearize(PostJob *j, const char *run, int create)
{
    j->files.run = post_in_folder(run);
    if (create)
        SUCCEEDS(lv_linearize_create(&j->files));
    SUCCEEDS(lv_linearize_open(&j->l, &j->files, 0, j->dtype, 1));
}

/* Networks side by side: student and teacher at stored states */

float *post_velocity(PostJob *j, const LvDit *net, const float *x, const float *t,
                       const float *text)
{
    LvNets n = j->l->nets;
    size_t numel = (size_t)n.batch * j->t.numel;
    int width    = n.size[2], rows = n.batch * LV_COEFS;
    float *coef  = malloc((size_t)(rows * width) * sizeof(float));
    float *u     = malloc(numel * sizeof(*u)), *port[LV_PORT_NB] = { NULL };
    LvLearn move;

    for (int i = 0; i < rows * width; i++)
        coef[i] = 1;
    n.student = net;
    port[LV_PORT_X]    = (float *)x;
    port[LV_PORT_T]    = (float *)t;
    port[LV_PORT_TEXT] = (float *)text;
    port[LV_PORT_COEF] = coef;
    SUCCEEDS(lv_learn_move(&move, &n, 0, j->l->x));
    SUCCEEDS(lv_learn_run(&move, port, LV_PORT_NB));
    SUCCEEDS(lv_learn_states(&move, u));
    for (size_t i = 0; i < numel; i++)
        u[i] -= x[i];
    lv_learn_free(&move);
    free(coef);
    return u;
}

/* The first micro-batch of step 0, at freely chosen objective. */
float *post_make_batch(PostJob *j, int objective, LvBatch *b)
{
    LvStates *s = &j->l->states;
    int micro   = j->l->cfg->micro;
    float *data;

    s->objective = objective;
    data = calloc(lv_states_lay_out(s, micro, NULL, b), sizeof(*data));
    lv_states_lay_out(s, micro, data, b);
    for (int i = 0; i < micro; i++)
        lv_states_make(s, b, i, 0, i);
    return data;
}

void post_set_shares(PostJob *j, float r)
{
    for (int i = 0; i < j->l->gates.layers; i++)
        SUCCEEDS(lv_param_put(j->l->trainer->params, LV_SLAB_VALUE, j->l->mix[i], &r));
}

/* Errors of a micro-batch, and the gradients in the slab. */
float *post_learn(PostJob *j, int objective, int relative, const LvBatch *b, float *error)
{
    LvParams *p = j->l->trainer->params;
    float *grad = malloc(p->size * sizeof(*grad));
    LvLearn l;

    SUCCEEDS(lv_trainer_begin(j->l->trainer));
    SUCCEEDS(lv_learn_new(&l, &j->l->nets, objective, relative, j->l->cfg->compare ==
                          LV_COMPARE_JOINT ? LV_GUIDED_ERRORS : 0, j->l->x));
    SUCCEEDS(lv_learn_run(&l, b->port, LV_PORT_NB));
    SUCCEEDS(lv_learn_get(&l, LV_RESULT_ERROR, error));
    SUCCEEDS(lv_params_download(p, LV_SLAB_GRAD, grad));
    lv_learn_free(&l);
    return grad;
}

/* Move all weights against a gradient. */
void post_descend(PostJob *j, const float *grad, float rate)
{
    LvParams *p = j->l->trainer->params;
    float *v    = malloc(p->size * sizeof(*v));

    SUCCEEDS(lv_params_download(p, LV_SLAB_VALUE, v));
    for (size_t i = 0; i < p->size; i++)
        v[i] -= rate * grad[i];
    SUCCEEDS(lv_params_upload(p, LV_SLAB_VALUE, v));
    free(v);
}
