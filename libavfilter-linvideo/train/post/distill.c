/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/distill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/program.h"
#include "pipeline/sample.h"
#include "train/post/publish.h"
#include "train/post/student.h"
#include "train/run/streams.h"

enum { ABOUT = 1600, PATH_SIZE = 4096 };

/* Data of a micro-batch, in memory of the host. */
typedef struct Batch {
    float *x;       /* [B,numel] noise that clips begin as */
    float *text, *other;
    float *renoise; /* [steps - 1,B,numel] */
    float *score;   /* [B,numel] noise that clips are compared with */
    float *tau;     /* [B] its times */
} Batch;

static int out_of_memory(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
}

/* Data: group 0 of a step is the student's, the others are the critic's */

static size_t lay_out(const LvDistill *d, float *p, Batch *b)
{
    size_t n = (size_t)d->cfg->micro, x = n * d->numel, text = n * d->t->text;
    size_t again = (size_t)(d->steps - 1) * x;

    if (p)
        *b = (Batch) { .x = p, .text = p + x, .other = p + x + text,
                       .renoise = p + x + 2 * text, .score = p + x + 2 * text + again,
                       .tau = p + 2 * x + 2 * text + again };
    return 2 * x + 2 * text + again + n;
}

static Batch batch_at(const LvDistill *d, float *data, int item)
{
    Batch b;

    lay_out(d, data + (size_t)(item / d->cfg->micro) * lay_out(d, NULL, NULL), &b);
    return b;
}

/* Whether a sample's micro-batch is of this rank. */
static int is_mine(const LvDistill *d, int item)
{
    return lv_group_has(d->trainer->dev, item % d->cfg->batch / d->cfg->micro);
}

/* Steps of the sampler that a group goes through: the same for all of its samples. */
static int stop_of(const LvDistill *d, int step, int group)
{
    double u[4];

    lv_uniform4(u, d->optim.seed, lv_stream(LV_STREAM_ORDER, step, group));
    return 1 + LV_MIN((int)(u[0] * d->steps), d->steps - 1);
}

static void put_text(const LvDistill *d, float *to, int at, int prompt)
{
    memcpy(to + (size_t)at * d->t->text, lv_trajectories_text(d->t, prompt),
           d->t->text * sizeof(*to));
}

static int make_item(void *opaque, int step, int item, void *data, int thread)
{
    const LvDistill *d = opaque;
    const LvDistillConfig *c = d->cfg;
    int at = item % c->micro, stop = stop_of(d, step, item / c->batch);
    size_t n = d->numel, place = (size_t)at * n;
    double u[4], shift = (double)c->shift, tau;
    uint64_t seed = d->optim.seed;
    Batch b = batch_at(d, data, item);

    (void)thread;
    if (!is_mine(d, item))
        return 0;
    lv_uniform4(u, seed, lv_stream(LV_STREAM_SCORE, step, item));
    tau = shift * u[0] / (1 + (shift - 1) * u[0]);
    b.tau[at] = (float)LV_CLAMP(tau, (double)c->t_min, (double)c->t_max);
    put_text(d, b.text, at, LV_MIN((int)(u[1] * d->t->prompts), d->t->prompts - 1));
    put_text(d, b.other, at, -1);
    lv_philox_normal(b.x + place, n, seed, lv_stream(LV_STREAM_STATE, step, item));
    lv_philox_normal(b.score + place, n, seed, lv_stream(LV_STREAM_NOISE, step, item));
    for (int j = 0; j + 1 < stop; j++)
        lv_philox_normal(b.renoise + (size_t)j * (size_t)c->micro * n + place, n,
                         seed + 1 + (uint64_t)j, lv_stream(LV_STREAM_RENOISE, step, item));
    return 0;
}

/* Running */

/* One coefficient of all samples, or each sample its own. */
static void put_coef(const LvDistill *d, int coef, double value, const float *own)
{
    int width = d->nets.size[2];

    for (int i = 0; i < d->cfg->micro; i++) {
        float *row = d->coef + (size_t)(i * LV_COEFS + coef) * (size_t)width;
        for (int k = 0; k < width; k++)
            row[k] = (float)(own ? value * (double)own[i] : value);
    }
}

enum { TIME, TIME1, WEIGHT, NUMBERS };

static float *number(const LvDistill *d, int which)
{
    return d->one + (size_t)which * (size_t)d->cfg->micro;
}

static void fill_number(const LvDistill *d, int which, double value)
{
    for (int i = 0; i < d->cfg->micro; i++)
        number(d, which)[i] = (float)value;
}

/* Step j of the sampler: to the clip that it sees, noise put in again for the next. */
static int run_move(const LvDistill *d, const Batch *b, int j, int last)
{
    double next = last ? 0 : (double)d->sigma[j + 1];
    float *const port[LV_PORT_NB] = {
        [LV_PORT_X] = b->x, [LV_PORT_T] = number(d, TIME), [LV_PORT_TEXT] = b->text,
        [LV_PORT_COEF] = d->coef,
        [LV_PORT_NOISE] = last ? NULL : b->renoise + (size_t)j * (size_t)d->cfg->micro *
                                        d->numel,
    };

    fill_number(d, TIME, 1000 * (double)d->sigma[j]);
    put_coef(d, LV_COEF_STEP, -(double)d->sigma[j], NULL);
    put_coef(d, LV_COEF_FADE, -next, NULL);
    put_coef(d, LV_COEF_NOISE, next, NULL);
    return lv_learn_run(&d->move, port, j ? LV_PORT_X : LV_PORT_NB);
}

/* What stands in the ports where distributions are compared; t: time of the state. */
static void put_score(const LvDistill *d, const Batch *b, double t,
                      float *port[LV_PORT_NB])
{
    for (int i = 0; i < d->cfg->micro; i++) {
        number(d, TIME1)[i]  = 1000 * b->tau[i];
        number(d, WEIGHT)[i] = (float)((t > 0 ? t * (double)b->tau[i] / 2 : 1) /
                                       d->cfg->batch);
    }
    fill_number(d, TIME, 1000 * t);
    put_coef(d, LV_COEF_STEP, -t, NULL);
    put_coef(d, LV_COEF_OTHER, -1, NULL);
    put_coef(d, LV_COEF_FADE, -1, b->tau);
    put_coef(d, LV_COEF_NOISE, 1, b->tau);
    put_coef(d, LV_COEF_GUIDE, (double)d->cfg->guidance, NULL);
    put_coef(d, LV_COEF_UNGUIDE, -(double)d->cfg->guidance, NULL);
    memset(port, 0, LV_PORT_NB * sizeof(*port));
    port[LV_PORT_X]      = b->x;
    port[LV_PORT_T]      = number(d, TIME);
    port[LV_PORT_T1]     = number(d, TIME1);
    port[LV_PORT_TEXT]   = b->text;
    port[LV_PORT_OTHER]  = b->other;
    port[LV_PORT_COEF]   = d->coef;
    port[LV_PORT_NOISE]  = b->score;
    port[LV_PORT_WEIGHT] = number(d, WEIGHT);
}

static int learn_micro(LvDistill *d, const Batch *b, double *error, double *power)
{
    float *port[LV_PORT_NB], v[3][1024];
    int ret = 0;

    for (int j = 0; j + 1 < d->stop && ret >= 0; j++)
        ret = run_move(d, b, j, 0);
    if (ret < 0)
        return ret;
    put_score(d, b, (double)d->sigma[d->stop - 1], port);
    ret = lv_learn_run(&d->learn, port, d->stop > 1 ? LV_PORT_X : LV_PORT_NB);
    for (int i = 0; i < 3 && ret >= 0; i++)
        ret = lv_learn_get(&d->learn, LV_RESULT_LOSS + i, v[i]);
    for (int i = 0; i < d->cfg->micro && ret >= 0; i++) {
        d->loss += (double)v[0][i];
        *error  += (double)v[1][i];
        *power  += (double)v[2][i];
    }
    return ret;
}

static int critic_micro(LvDistill *d, const Batch *b, int stop)
{
    float *port[LV_PORT_NB];
    int ret = 0;

    for (int j = 0; j < stop && ret >= 0; j++)
        ret = run_move(d, b, j, j + 1 == stop);
    if (ret < 0)
        return ret;
    put_score(d, b, 0, port);
    return lv_critic_learn(d->critic, port, &d->critic_loss);
}

static int train_critic(LvDistill *d, float *data)
{
    const LvDistillConfig *c = d->cfg;
    int ret = 0;

    d->critic_loss = 0;
    for (int k = 1; k <= d->recipe->critic.ratio && ret >= 0; k++) {
        int stop = stop_of(d, d->trainer->step, k);
        ret = lv_trainer_begin(d->critic->trainer);
        for (int i = 0; i < c->batch && ret >= 0; i += c->micro) {
            Batch b = batch_at(d, data, k * c->batch + i);
            ret = is_mine(d, i) ? critic_micro(d, &b, stop) : 0;
        }
        if (ret >= 0)
            ret = lv_trainer_update(d->critic->trainer);
    }
    d->critic_loss /= d->recipe->critic.ratio;
    return ret;
}

/* Gradients and numbers of all ranks. */
static int sum_ranks(LvDistill *d, double error, double power)
{
    double v[] = { d->loss, d->critic_loss, error, power };
    int ret = lv_trainer_sum(d->trainer, v, LV_COUNT(v));

    d->loss        = v[0];
    d->critic_loss = v[1];
    d->error       = v[2] / LV_MAX(v[3], 1e-30);
    return ret;
}

int lv_distill_step(LvDistill *d)
{
    double error = 0, power = 0;
    void *data;
    int ret = lv_feeder_get(d->feeder, d->trainer->step, &data);

    d->loss = 0;
    d->stop = stop_of(d, d->trainer->step, 0);
    if (ret < 0 || (ret = lv_trainer_begin(d->trainer)) < 0)
        return ret;
    for (int i = 0; i < d->cfg->batch && ret >= 0; i += d->cfg->micro) {
        Batch b = batch_at(d, data, i);
        ret = is_mine(d, i) ? learn_micro(d, &b, &error, &power) : 0;
    }
    if (ret < 0 || (ret = train_critic(d, data)) < 0 ||
        (ret = sum_ranks(d, error, power)) < 0)
        return ret;
    return lv_trainer_update(d->trainer);
}

/* Opening */

int lv_distill_create(const LvDistillFiles *f)
{
    const LvStudent s = { .cfg = &f->student->cfg.dit, .from = &f->student->dit };

    return lv_student_create(f->run, &s, f->student, f->student->msg);
}

static int choose_times(LvDistill *d)
{
    LvSampler *s;
    int ret = lv_sampler_new(&s, LV_SAMPLER_RENOISE, d->cfg->sampler_steps,
                             (double)d->cfg->sampler_shift, 1, d->student->msg);

    if (ret < 0)
        return ret;
    d->steps = d->cfg->sampler_steps;
    for (int i = 0; i <= d->steps; i++)
        d->sigma[i] = lv_sampler_sigma(s, i);
    lv_sampler_free(&s);
    return 0;
}

static char *settings(const LvDistillFiles *f)
{
    char *distill = lv_recipe_section(f->recipe, "distill");
    char *critic  = lv_recipe_section(f->recipe, "fake"), *text = malloc(ABOUT);

    if (distill && critic && text)
        snprintf(text, ABOUT, "student=%s teacher=%s distill=%s fake=%s",
                 f->student->hash, f->teacher->hash, distill, critic);
    free(distill);
    free(critic);
    return text;
}

/* Clips and texts that the two are to share. */
static int check_same(const LvFrozen *s, const LvFrozen *t)
{
    const LvDitConfig *a = &s->cfg.dit, *b = &t->cfg.dit;
    const struct { const char *name; int student, teacher; } sizes[] = {
        { "latent channels", a->channels, b->channels },
        { "rows of text", a->text_len, b->text_len },
        { "columns of text", a->text_dim, b->text_dim },
        { "latent frames", s->size[0], t->size[0] },
        { "latent rows", s->size[1], t->size[1] },
        { "latent columns", s->size[2], t->size[2] },
        { "frames of a patch", a->patch[0], b->patch[0] },
        { "rows of a patch", a->patch[1], b->patch[1] },
        { "columns of a patch", a->patch[2], b->patch[2] },
        { "columns of a head", a->dim / a->heads, b->dim / b->heads },
    };

    for (int i = 0; i < LV_COUNT(sizes); i++)
        if (sizes[i].student != sizes[i].teacher)
            return lv_fail(s->msg, LV_ERR_MODEL, "%s: expected %d %s as in %s, got %d",
                           t->files.path, sizes[i].student, sizes[i].name, s->files.path,
                           sizes[i].teacher);
    return 0;
}

int lv_distill_check(const LvDistillFiles *f)
{
    const LvFrozen *s = f->student;

    if (f->recipe->distill.sampler_steps > LV_DISTILL_STEPS)
        return lv_fail(s->msg, LV_ERR_MODEL, "distill.sampler_steps is %d, at most %d are "
                       "known", f->recipe->distill.sampler_steps, LV_DISTILL_STEPS);
    return check_same(s, f->teacher);
}

static int open_run(LvDistill *d, const LvDistillFiles *f)
{
    int ret;

    if (!(d->about = settings(f)))
        return out_of_memory(f->student->msg);
    d->optim      = d->cfg->optim;
    d->optim.more = d->about;
    ret = lv_student_open(&d->trainer, &d->dit, f->run, &f->student->cfg.dit, &d->optim,
                          f->student->dev, f->student->msg);
    if (ret < 0)
        return ret;
    lv_student_freeze(d->trainer, d->cfg->only);
    return lv_trainer_ready(d->trainer);
}

static int allocate(LvDistill *d)
{
    size_t n = (size_t)d->cfg->micro;

    d->x    = lv_device_try_alloc(d->nets.dev, n * d->numel * sizeof(float));
    d->coef = lv_alloc(n * LV_COEFS * (size_t)d->nets.size[2] * sizeof(float));
    d->one  = lv_alloc(n * NUMBERS * sizeof(float));
    return d->x && d->coef && d->one ? 0 : out_of_memory(d->student->msg);
}

static int open_critic(LvDistill *d, const LvDistillFiles *f)
{
    char path[PATH_SIZE];
    int ret = 0;

    lv_critic_path(path, sizeof(path), f->run, d->trainer->step);
    if (!d->trainer->step)
        ret = lv_critic_create(path, d->teacher, d->student->msg);
    if (ret >= 0)
        ret = lv_critic_open(&d->critic, path, &f->recipe->critic, d->trainer->step,
                           d->optim.steps, d->teacher);
    if (ret >= 0)
        d->nets.critic = &d->critic->dit;
    return ret;
}

static int open_feeder(LvDistill *d, int threads)
{
    int items    = d->cfg->batch * (1 + d->recipe->critic.ratio);
    size_t bytes = (size_t)(items / d->cfg->micro) * lay_out(d, NULL, NULL) *
                   sizeof(float);

    return lv_feeder_new(&d->feeder, items, bytes, threads, make_item, d, d->nets.dev);
}

static int open_all(LvDistill *d, const LvDistillFiles *f, int checkpoint, LvDtype dtype,
                    int threads)
{
    int ret;

    if ((ret = lv_distill_check(f)) < 0 || (ret = choose_times(d)) < 0 ||
        (ret = open_run(d, f)) < 0)
        return ret;
    d->nets = (LvNets) { .student = &d->dit, .teacher = &d->teacher->dit,
                         .params = d->trainer->params, .size = d->student->size,
                         .dtype = dtype, .batch = d->cfg->micro, .only = d->cfg->only,
                         .checkpoint = checkpoint, .dev = d->student->dev, .msg = d->student->msg };
    if ((ret = lv_trainer_split(d->trainer, d->cfg->batch / d->cfg->micro,
                                "distill.batch")) < 0 ||
        (ret = allocate(d)) < 0 || (ret = open_critic(d, f)) < 0 ||
        (ret = lv_learn_move(&d->move, &d->nets, LV_MOVE_NOISE, d->x)) < 0 ||
        (ret = lv_learn_new(&d->learn, &d->nets, LV_LEARN_DMD, 1, 0, d->x)) < 0 ||
        (ret = lv_critic_plan(d->critic, &d->nets, d->x)) < 0)
        return ret;
    return open_feeder(d, threads);
}

int lv_distill_open(LvDistill **out, const LvDistillFiles *f, int checkpoint,
                    LvDtype dtype, int threads)
{
    LvDistill *d = *out = calloc(1, sizeof(*d));
    int ret;

    if (!d)
        return out_of_memory(f->student->msg);
    d->recipe  = f->recipe;
    d->cfg     = &f->recipe->distill;
    d->student = f->student;
    d->teacher = f->teacher;
    d->t       = f->t;
    d->numel   = f->student->numel;
    if ((ret = open_all(d, f, checkpoint, dtype, threads)) < 0)
        lv_distill_close(out);
    return ret;
}

void lv_distill_close(LvDistill **out)
{
    LvDistill *d = *out;

    if (!d)
        return;
    lv_feeder_free(&d->feeder);
    lv_critic_close(&d->critic);
    lv_learn_free(&d->move);
    lv_learn_free(&d->learn);
    lv_dit_free(&d->dit);
    lv_trainer_close(&d->trainer);
    if (d->x)
        lv_device_free(d->nets.dev, d->x);
    lv_free(d->coef);
    lv_free(d->one);
    free(d->about);
    free(d);
    *out = NULL;
}

int lv_distill_save(LvDistill *d, const char *run)
{
    return lv_critic_save(d->critic, d->trainer, run);
}

double lv_distill_flops(const LvDistill *d)
{
    double move = lv_program_sizes(d->move.task.prog).flops * (d->steps + 1) / 2;
    double critic = lv_program_sizes(d->critic->learn.task.prog).flops;
    double learn = lv_program_sizes(d->learn.task.prog).flops;

    return (learn + move + d->recipe->critic.ratio * (move + critic)) *
           (d->cfg->batch / d->cfg->micro);
}

int lv_distill_export(const LvDistill *d, const char *path)
{
    LvNewNetwork n = { .dit = &d->dit.cfg, .params = d->trainer->params, .only = d->cfg->only,
                      .section = "distill" };
    char *about = lv_recipe_section(d->recipe, "distill"), sampler[160];
    int ret;

    snprintf(sampler, sizeof(sampler), "{\"solver\": \"%s\", \"steps\": %d, "
             "\"shift\": %.9g, \"guidance\": 1.0}", lv_sampler_name(LV_SAMPLER_RENOISE),
             d->steps, (double)d->cfg->sampler_shift);
    n.about   = about;
    n.sampler = sampler;
    ret = about ? lv_publish(d->student, path, &n) : out_of_memory(d->student->msg);
    free(about);
    return ret;
}
