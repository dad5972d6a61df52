/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/linearize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/program.h"
#include "train/post/publish.h"
#include "train/post/student.h"
#include "train/run/streams.h"

enum { SENSITIVITY_ITEMS = 64, ABOUT = 1600, PATH_SIZE = 4096 };

/* Bundles are f16, their velocities may differ from the run's by so much. */
#define VERIFY_BOUND 1e-3

static int out_of_memory(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
}

/* New runs */

static const LvFrozen *begin_of(const LvLinearizeFiles *f)
{
    return f->begin ? f->begin : f->teacher;
}

/* Maps of a network that has some are as they are. */
static int keep_maps(const LvDitConfig *cfg, const LvLinearizeConfig *c, const LvFrozen *b)
{
    if (strcmp(lv_map_name(cfg->map), c->map_name) || (c->map_dim && c->map_dim != cfg->map_dim))
        return lv_fail(b->msg, LV_ERR_MODEL, "%s: its linear layers have maps %s of %d columns; "
                       "expected the same of linearize.feature_map and feature_dim, got %s of %d",
                       b->files.path, lv_map_name(cfg->map), cfg->map_dim, c->map_name,
                       c->map_dim);
    return 0;
}

/* Linear layers of the run, those that it begins with included. */
static int nb_linear(const LvLinearizeConfig *c, const LvDitConfig *cfg)
{
    return c->layers ? c->layers : LV_MAX(cfg->layers / 2, lv_config_layers(cfg, LV_ATTN_LINEAR));
}

static int check_layers(const LvLinearizeFiles *f, const LvDitConfig *cfg, int linear)
{
    const LvLinearizeConfig *c = &f->recipe->linearize;
    const LvFrozen *b = begin_of(f);

    if (linear && b == f->teacher)
        return lv_fail(b->msg, LV_ERR_MODEL, "%s: has linear layers already; expected --teacher, a "
                       "model of softmax layers only that it learns from", b->files.path);
    if (c->layers > cfg->layers)
        return lv_fail(b->msg, LV_ERR_MODEL, "linearize.layers is %d, the model has %d",
                       c->layers, cfg->layers);
    if (nb_linear(c, cfg) < linear)
        return lv_fail(b->msg, LV_ERR_MODEL, "linearize.layers is %d, the model has %d linear "
                       "layers already, which stay so", c->layers, linear);
    return linear ? keep_maps(cfg, c, b) : 0;
}

int lv_linearize_config(LvDitConfig *cfg, const LvLinearizeFiles *f)
{
    const LvLinearizeConfig *c = &f->recipe->linearize;
    int head, linear, ret;

    *cfg   = begin_of(f)->cfg.dit;
    head   = cfg->dim / cfg->heads;
    linear = lv_config_layers(cfg, LV_ATTN_LINEAR);
    if ((ret = check_layers(f, cfg, linear)) < 0)
        return ret;
    for (int i = 0; i < cfg->layers; i++)
        if (cfg->attention[i] != LV_ATTN_LINEAR)
            cfg->attention[i] = LV_ATTN_MIXED;
    if (linear)
        return 0;
    cfg->map     = c->map;
    cfg->map_eps = c->map_eps;
    cfg->map_dim = c->map_dim ? c->map_dim : c->map == LV_MAP_TAYLOR ? LV_MIN(16, head) :
                   head;
    return 0;
}

int lv_linearize_create(const LvLinearizeFiles *f)
{
    LvSafetensors *maps = NULL;
    LvDitConfig cfg;
    LvStudent s = { .cfg = &cfg, .map_scale = f->recipe->linearize.map_scale,
                    .mix = f->recipe->linearize.gates.r0 };
    int ret = lv_linearize_config(&cfg, f);

    if (ret < 0 ||
        (f->maps && (ret = lv_safetensors_open(&maps, f->maps, f->teacher->msg)) < 0))
        return ret;
    s.maps = maps;
    s.from = &begin_of(f)->dit;
    ret    = lv_student_create(f->run, &s, begin_of(f), f->teacher->msg);
    lv_safetensors_close(&maps);
    return ret;
}

/* Programs */

/* Whether an item's micro-batch is of this rank. */
static int is_mine(const LvLinearize *l, int item)
{
    return lv_group_has(l->trainer->dev, item % l->cfg->batch / l->cfg->micro);
}

/* Networks run with each layer's kind as it is now. */
static void set_kinds(LvLinearize *l)
{
    for (int i = 0; i < l->dit.cfg.layers; i++)
        l->dit.cfg.attention[i] = (uint8_t)l->gates.gate[i].kind;
}

static int is_moved(const LvLinearize *l)
{
    return l->cfg->objective == LV_LEARN_ONPOLICY;
}

static void free_programs(LvLinearize *l)
{
    lv_learn_free(&l->learn);
    lv_learn_free(&l->move);
}

static int plan(LvLinearize *l)
{
    int stream = l->cfg->states == LV_STATES_STREAM, ret = 0;
    int joint = l->cfg->compare == LV_COMPARE_JOINT;
    int dmd = l->cfg->objective == LV_LEARN_DMD;

    free_programs(l);
    set_kinds(l);
    if (is_moved(l) || dmd)
        ret = lv_learn_move(&l->move, &l->nets, stream || joint ? LV_MOVE_OTHER : 0, l->x);
    if (ret < 0)
        return ret;
    return lv_learn_new(&l->learn, &l->nets, l->cfg->objective,
                        l->cfg->weight == LV_WEIGHT_NORM, (stream ? LV_GUIDED_STEPS : 0) |
                        (joint ? LV_GUIDED_ERRORS : 0), l->x);
}

/* Shares as networks see them. */
static int put_gates(const LvLinearize *l)
{
    int ret = 0;

    for (int i = 0; i < l->gates.layers && ret >= 0; i++) {
        float r = (float)l->gates.gate[i].r;
        if (l->mix[i])
            ret = lv_param_put(l->trainer->params, LV_SLAB_VALUE, l->mix[i], &r);
    }
    return ret;
}

/* Running: the parts of a micro-batch */

/* Behind a move, states and times are those that it led to. */
static int learn_here(const LvLinearize *l, const LvBatch *b)
{
    LvBatch moved = *b;

    if (l->cfg->objective == LV_LEARN_DMD)
        return lv_learn_run(&l->learn, b->port, LV_PORT_NB);
    moved.port[LV_PORT_T] = b->port[LV_PORT_T1];
    return lv_learn_run(&l->learn, moved.port, is_moved(l) ? LV_PORT_X : LV_PORT_NB);
}

static int run_micro(const LvLinearize *l, const LvBatch *b)
{
    int here = l->cfg->objective != LV_LEARN_STEP && l->cfg->objective != LV_LEARN_ANCHORED;
    int ret  = is_moved(l) ? lv_learn_run(&l->move, b->port, LV_PORT_NB) : 0;

    if (ret < 0)
        return ret;
    return here ? learn_here(l, b) : lv_learn_run(&l->learn, b->port, LV_PORT_NB);
}

static int take_numbers(LvLinearize *l, const LvBatch *b)
{
    float v[3][1024];
    int ret = 0;

    for (int i = 0; i < 3 && ret >= 0; i++)
        ret = lv_learn_get(&l->learn, LV_RESULT_LOSS + i, v[i]);
    for (int i = 0; i < l->learn.batch && ret >= 0; i++) {
        int bin = lv_states_bin(&l->states, b->to[i]);
        l->loss       += (double)v[0][i];
        l->error[bin] += (double)v[1][i];
        l->power[bin] += (double)v[2][i];
    }
    return ret;
}

/* Where streams were moved to. */
static int take_slots(LvLinearize *l, int first)
{
    float *to = l->moved + (size_t)first * l->states.t->numel;

    return is_moved(l) ? lv_learn_states(&l->move, to) :
           lv_learn_get(&l->learn, LV_RESULT_MOVED, to);
}

/* The same of all ranks, by way of the memory of a micro-batch's states. */
static int share_slots(LvLinearize *l)
{
    size_t n = (size_t)l->cfg->micro * l->states.t->numel, bytes = n * sizeof(float);
    LvDevice *dev = l->nets.dev;
    int ret = 0;

    for (int i = 0; i < l->cfg->batch && ret >= 0 && lv_group_size(dev) > 1;
         i += l->cfg->micro) {
        float *moved = l->moved + (size_t)i * l->states.t->numel;
        if (!is_mine(l, i))
            memset(moved, 0, bytes);
        if ((ret = lv_device_upload(dev, l->x, moved, bytes)) >= 0 &&
            (ret = lv_group_sum(dev, l->x, n, LV_F32)) >= 0)
            ret = lv_device_download(dev, moved, l->x, bytes);
    }
    for (int i = 0; i < l->cfg->batch && ret >= 0; i++)
        lv_states_moved(&l->states, l->trainer->step, i,
                        l->moved + (size_t)i * l->states.t->numel);
    return ret;
}

/* Gradients and numbers of all ranks. */
static int sum_ranks(LvLinearize *l)
{
    double v[2 + 2 * LV_TIME_BINS] = { l->loss, l->critic_loss };
    int ret;

    memcpy(v + 2, l->error, sizeof(l->error));
    memcpy(v + 2 + LV_TIME_BINS, l->power, sizeof(l->power));
    ret = lv_trainer_sum(l->trainer, v, LV_COUNT(v));
    l->loss        = v[0];
    l->critic_loss = v[1];
    memcpy(l->error, v + 2, sizeof(l->error));
    memcpy(l->power, v + 2 + LV_TIME_BINS, sizeof(l->power));
    return ret;
}

/* Data */

static size_t batch_floats(const LvLinearize *l)
{
    LvBatch b;

    return lv_states_lay_out(&l->states, l->cfg->micro, NULL, &b);
}

/* The micro-batch that an item is in. */
static LvBatch batch_at(const LvLinearize *l, float *data, int item)
{
    LvBatch b;

    lv_states_lay_out(&l->states, l->cfg->micro, data + (size_t)(item / l->cfg->micro) *
                      batch_floats(l), &b);
    return b;
}

static int make_item(void *opaque, int step, int item, void *data, int thread)
{
    const LvLinearize *l = opaque;
    LvBatch b = batch_at(l, data, item);

    (void)thread;
    if (is_mine(l, item))
        lv_states_make(&l->states, &b, item % l->cfg->micro, step, item);
    return 0;
}

/* Items of a step: the student's, then the critic's. */
static int items(const LvLinearize *l)
{
    return l->cfg->batch * (l->cfg->objective == LV_LEARN_DMD ? 1 + l->recipe->critic.ratio
                                                              : 1);
}

static int get_data(LvLinearize *l, float **data)
{
    void *made;
    int ret;

    if (l->feeder) {
        ret   = lv_feeder_get(l->feeder, l->trainer->step, &made);
        *data = made;
        return ret;
    }
    *data = l->data;
    for (int i = 0; i < l->cfg->batch; i++)
        make_item(l, l->trainer->step, i, l->data, 0);
    return 0;
}

/* Opening */

static char *settings(const LvLinearizeFiles *f)
{
    char *section = lv_recipe_section(f->recipe, "linearize"), *text = malloc(ABOUT);

    if (section && text && f->begin)
        snprintf(text, ABOUT, "teacher=%s begin=%s linearize=%s", f->teacher->hash,
                 f->begin->hash, section);
    else if (section && text)
        snprintf(text, ABOUT, "teacher=%s linearize=%s", f->teacher->hash, section);
    free(section);
    return text;
}

/* When weights begin to be averaged: when layers are what they will be, or half-way. */
static int average_from(const LvLinearizeConfig *c)
{
    int freeze = lv_gates_freeze_step(&c->gates, c->optim.steps);

    return !strcmp(c->select_by, "learned") && freeze < c->optim.steps ? freeze :
           c->optim.steps / 2;
}

static int by_sensitivity(LvLinearize *l, uint8_t *set)
{
    double error[LV_MAX_LAYERS];
    int ret = lv_linearize_sensitivity(l, error);

    for (int n = lv_config_layers(&l->dit.cfg, LV_ATTN_LINEAR); n < l->gates.linear && ret >= 0;
         n++) {
        int best = -1;
        for (int i = 0; i < l->gates.layers; i++)
            if (!set[i] && (best < 0 || error[i] < error[best]))
                best = i;
        set[best] = 1;
    }
    return ret;
}

static void by_chance(const LvLinearize *l, uint8_t *set)
{
    double u[4];

    for (int n = lv_config_layers(&l->dit.cfg, LV_ATTN_LINEAR), left; n < l->gates.linear; n++) {
        lv_uniform4(u, l->optim.seed, lv_stream(LV_STREAM_ORDER, 0, n));
        left = LV_MIN((int)(u[0] * (l->gates.layers - n)), l->gates.layers - n - 1);
        for (int i = 0; i < l->gates.layers; i++)
            if (!set[i] && !left--)
                set[i] = 1;
    }
}

/* The first ones that are not linear yet. */
static void by_order(const LvLinearize *l, uint8_t *set)
{
    int n = lv_config_layers(&l->dit.cfg, LV_ATTN_LINEAR);

    for (int i = 0; n < l->gates.linear; i++)
        if (!set[i]) {
            set[i] = 1;
            n++;
        }
}

/* What is linear stays so. */
static int has_linear(const LvDitConfig *now, const uint8_t *set, const LvMsg *msg)
{
    for (int i = 0; i < now->layers; i++)
        if (now->attention[i] == LV_ATTN_LINEAR && !set[i])
            return lv_fail(msg, LV_ERR_MODEL, "linearize.select lacks layer %d, which is linear "
                           "already", i);
    return 0;
}

/* Numbers of layers, `linear` of them, those that are linear now among them. */
static int by_list(const char *list, const LvDitConfig *now, int linear, uint8_t *set,
                   const LvMsg *msg)
{
    const int layers = now->layers;
    const char *p = list;
    char *end;

    for (int n = 0;; n++, p = end + 1) {
        long i = strtol(p, &end, 10);
        if (end == p || i < 0 || i >= layers || set[i] || (*end && *end != ','))
            break;
        set[i] = 1;
        if (!*end)
            return n + 1 != linear ?
                   lv_fail(msg, LV_ERR_MODEL, "linearize.select lists %d layers, "
                           "linearize.layers is %d", n + 1, linear) : has_linear(now, set, msg);
    }
    return lv_fail(msg, LV_ERR_MODEL, "linearize.select is \"%s\", neither learned, first, "
                   "random or greedy nor numbers of layers below %d, as 0,3,5", list, layers);
}

static int is_rule(const char *by)
{
    return !strcmp(by, "learned") || !strcmp(by, "first") || !strcmp(by, "random") ||
           !strcmp(by, "greedy");
}

static int check_stored(const LvLinearizeConfig *c, int clips, int velocities,
                        const LvMsg *msg)
{
    if (c->objective == LV_LEARN_MSE && !velocities)
        return lv_fail(msg, LV_ERR_MODEL, "objective mse needs trajectories with velocities "
                       "(trajectories.velocities)");
    if (!clips && (c->states == LV_STATES_STEP || !strcmp(c->select_by, "greedy")))
        return lv_fail(msg, LV_ERR_MODEL, "there are no stored states: trajectories.clips is "
                       "0");
    return 0;
}

static int check_times(const LvRecipe *r, const LvFrozen *teacher)
{
    float sigma[LV_TIMES];
    int ret = lv_trajectories_times(sigma, teacher, &r->trajectories);

    if (ret >= 0)
        ret = lv_states_last(&r->linearize, r->linearize.objective, sigma, ret, teacher->msg);
    return ret < 0 ? ret : 0;
}

/* A student's clips are its teacher's. */
static int check_begin(const LvFrozen *begin, const LvFrozen *teacher)
{
    LvDitConfig soft = begin->cfg.dit;

    memcpy(soft.attention, teacher->cfg.dit.attention, sizeof(soft.attention));
    soft.map     = teacher->cfg.dit.map;
    soft.map_dim = teacher->cfg.dit.map_dim;
    soft.map_eps = teacher->cfg.dit.map_eps;
    return lv_config_same(&teacher->cfg.dit, &soft, teacher->files.path, begin->files.path,
                          teacher->msg);
}

int lv_linearize_check(const LvLinearizeFiles *f)
{
    const LvRecipe *r = f->recipe;
    const LvFrozen *teacher = f->teacher;
    const LvLinearizeConfig *c = &r->linearize;
    uint8_t set[LV_MAX_LAYERS] = { 0 };
    LvDitConfig cfg;
    int ret = f->begin ? check_begin(f->begin, teacher) : 0;

    if (ret >= 0)
        ret = lv_linearize_config(&cfg, f);
    if (ret < 0 || (ret = check_stored(c, r->trajectories.clips, r->trajectories.velocities,
                                       teacher->msg)) < 0 ||
        (ret = check_times(r, teacher)) < 0 || is_rule(c->select_by))
        return ret;
    return by_list(c->select_by, &cfg, nb_linear(c, &cfg), set, teacher->msg);
}

/* Layers that are linear from the start. */
static int choose_layers(LvLinearize *l)
{
    const char *by = l->cfg->select_by;
    uint8_t set[LV_MAX_LAYERS] = { 0 };
    int ret = 0;

    if (!strcmp(by, "learned"))
        return 0;
    for (int i = 0; i < l->gates.layers && is_rule(by); i++)
        set[i] = l->dit.cfg.attention[i] == LV_ATTN_LINEAR;
    if (!strcmp(by, "first"))
        by_order(l, set);
    else if (!strcmp(by, "random"))
        by_chance(l, set);
    else
        ret = !strcmp(by, "greedy") ? by_sensitivity(l, set) :
              by_list(by, &l->dit.cfg, l->gates.linear, set, l->teacher->msg);
    if (ret >= 0)
        lv_gates_set(&l->gates, set);
    return ret;
}

/* Slots of a file are within the trajectories. */
static int check_slots(const LvLinearize *l, int nb)
{
    for (int i = 0; i < nb; i++) {
        const LvSlot *s = &l->states.slot[i];
        if (s->at < -1 || s->at > l->states.last || s->end < 0 || s->end > l->states.last ||
            s->prompt < 0 || s->prompt >= l->states.t->prompts)
            return lv_fail(l->teacher->msg, LV_ERR_MODEL, "%s: state.slot: slot %d is out of "
                           "range", lv_safetensors_path(l->trainer->file), i);
    }
    return 0;
}

static int keep_slots(LvLinearize *l)
{
    size_t n = (size_t)l->cfg->batch, x = n * l->states.t->numel;
    int ret;

    if (l->cfg->states != LV_STATES_STREAM)
        return 0;
    l->states.x    = lv_alloc(x * sizeof(float));
    l->states.slot = lv_alloc(n * sizeof(LvSlot));
    if (!l->states.x || !l->states.slot)
        return out_of_memory(l->teacher->msg);
    if (!l->trainer->step)
        lv_states_begin(&l->states);
    if ((ret = lv_trainer_keep(l->trainer, "state.slots", LV_F32, x, l->states.x)) < 0 ||
        (ret = lv_trainer_keep(l->trainer, "state.slot", LV_I32,
                               n * sizeof(LvSlot) / sizeof(int32_t), l->states.slot)) < 0)
        return ret;
    return check_slots(l, (int)n);
}

static int keep_state(LvLinearize *l)
{
    const LvGatesConfig *c = &l->cfg->gates;
    int layers = l->dit.cfg.layers, ret;

    lv_gates_init(&l->gates, c, layers, nb_linear(l->cfg, &l->dit.cfg), l->optim.steps);
    for (int i = 0; i < layers; i++)
        if (l->dit.cfg.attention[i] == LV_ATTN_LINEAR)
            lv_gates_close(&l->gates, i, 1);
    ret = lv_trainer_keep(l->trainer, "state.gates", LV_F64,
                          (size_t)(LV_GATE_NUMBERS * l->gates.layers), l->gates.gate);
    return ret < 0 ? ret : keep_slots(l);
}

static int find_gates(LvLinearize *l)
{
    char name[64];

    for (int i = 0; i < l->gates.layers; i++) {
        snprintf(name, sizeof(name), "dit.blocks.%d.self_attn.mix", i);
        if (!(l->mix[i] = lv_params_find(l->trainer->params, name)) &&
            l->dit.cfg.attention[i] == LV_ATTN_MIXED)
            return lv_fail(l->teacher->msg, LV_ERR_MODEL, "%s is missing", name);
    }
    return put_gates(l);
}

static int open_run(LvLinearize *l, const LvLinearizeFiles *f)
{
    LvDitConfig cfg;
    int ret = lv_linearize_config(&cfg, f);

    if (ret < 0)
        return ret;
    if (!(l->about = settings(f)))
        return out_of_memory(f->teacher->msg);
    l->optim          = l->cfg->optim;
    l->optim.more     = l->about;
    l->optim.ema_from = average_from(l->cfg);
    if ((ret = lv_student_open(&l->trainer, &l->dit, f->run, &cfg, &l->optim,
                               f->teacher->dev, f->teacher->msg)) < 0 ||
        (ret = lv_states_init(&l->states, f->recipe, f->t, f->teacher)) < 0 ||
        (ret = keep_state(l)) < 0)
        return ret;
    lv_student_freeze(l->trainer, l->cfg->only);
    if ((ret = lv_trainer_ready(l->trainer)) < 0)
        return ret;
    return find_gates(l);
}

static int open_critic(LvLinearize *l, const LvLinearizeFiles *f)
{
    char path[PATH_SIZE];
    int ret = 0;

    if (l->cfg->objective != LV_LEARN_DMD)
        return 0;
    lv_critic_path(path, sizeof(path), f->run, l->trainer->step);
    if (!l->trainer->step)
        ret = lv_critic_create(path, l->teacher, l->teacher->msg);
    if (ret >= 0)
        ret = lv_critic_open(&l->critic, path, &f->recipe->critic, l->trainer->step,
                           l->optim.steps, l->teacher);
    if (ret >= 0)
        l->nets.critic = &l->critic->dit;
    return ret;
}

static int open_data(LvLinearize *l, int threads)
{
    size_t bytes = (size_t)(items(l) / l->cfg->micro) * batch_floats(l) * sizeof(float);

    if (l->cfg->states == LV_STATES_STEP)
        return lv_feeder_new(&l->feeder, items(l), bytes, threads, make_item, l,
                             l->teacher->dev);
    l->data  = lv_alloc(bytes);
    l->moved = lv_alloc((size_t)l->cfg->batch * l->states.t->numel * sizeof(float));
    return l->data && l->moved ? 0 : out_of_memory(l->teacher->msg);
}

static int open_all(LvLinearize *l, const LvLinearizeFiles *f, int checkpoint,
                    LvDtype dtype, int threads)
{
    int ret;

    if ((ret = check_stored(&f->recipe->linearize, f->t->clips, f->t->velocities != NULL,
                            f->teacher->msg)) < 0 || (ret = open_run(l, f)) < 0 ||
        (ret = lv_trainer_split(l->trainer, l->cfg->batch / l->cfg->micro,
                                "linearize.batch")) < 0)
        return ret;
    l->nets = (LvNets) { .student = &l->dit, .teacher = &l->teacher->dit,
                         .params = l->trainer->params, .size = l->teacher->size,
                         .dtype = dtype, .batch = l->cfg->micro, .only = l->cfg->only,
                         .checkpoint = checkpoint,
                         .dev = l->teacher->dev, .msg = l->teacher->msg };
    l->x = lv_device_try_alloc(l->nets.dev, (size_t)l->cfg->micro *
                                  l->states.t->numel * sizeof(float));
    if (!l->x)
        return out_of_memory(l->teacher->msg);
    if ((!l->trainer->step && (ret = choose_layers(l)) < 0) ||
        (ret = put_gates(l)) < 0 || (ret = open_critic(l, f)) < 0 || (ret = plan(l)) < 0 ||
        (l->critic && (ret = lv_critic_plan(l->critic, &l->nets, l->x)) < 0))
        return ret;
    return open_data(l, threads);
}

int lv_linearize_open(LvLinearize **out, const LvLinearizeFiles *f, int checkpoint,
                      LvDtype dtype, int threads)
{
    LvLinearize *l = *out = calloc(1, sizeof(*l));
    int ret;

    if (!l)
        return out_of_memory(f->teacher->msg);
    l->recipe  = f->recipe;
    l->cfg     = &f->recipe->linearize;
    l->teacher = f->teacher;
    l->begin   = begin_of(f);
    if ((ret = open_all(l, f, checkpoint, dtype, threads)) < 0)
        lv_linearize_close(out);
    return ret;
}

void lv_linearize_close(LvLinearize **out)
{
    LvLinearize *l = *out;

    if (!l)
        return;
    lv_feeder_free(&l->feeder);
    lv_critic_close(&l->critic);
    free_programs(l);
    lv_dit_free(&l->dit);
    lv_trainer_close(&l->trainer);
    if (l->x)
        lv_device_free(l->nets.dev, l->x);
    lv_free(l->states.x);
    lv_free(l->states.slot);
    lv_free(l->data);
    lv_free(l->moved);
    free(l->about);
    free(l);
    *out = NULL;
}

/* Steps */

/* The gradients of gates, which are only there for layers that are mixed. */
static int move_gates(LvLinearize *l, int *changed)
{
    float data[LV_MAX_LAYERS] = { 0 };
    int ret = 0;

    for (int i = 0; i < l->gates.layers && ret >= 0; i++)
        if (l->dit.cfg.attention[i] == LV_ATTN_MIXED)
            ret = lv_param_get(l->trainer->params, LV_SLAB_GRAD, l->mix[i], &data[i]);
    if (ret < 0)
        return ret;
    for (int i = 0; i < l->gates.layers; i++)
        if (!isfinite(data[i]))
            return lv_trainer_drop(l->trainer), 0;
    *changed = lv_gates_update(&l->gates, l->trainer->step, data);
    return put_gates(l);
}

/* The critic's steps on what the student makes now. */
static int train_critic(LvLinearize *l, float *data)
{
    int ret = 0;

    l->critic_loss = 0;
    for (int k = 1; k <= l->recipe->critic.ratio && ret >= 0; k++) {
        ret = lv_trainer_begin(l->critic->trainer);
        for (int i = 0; i < l->cfg->batch && ret >= 0; i += l->cfg->micro) {
            LvBatch b = batch_at(l, data, k * l->cfg->batch + i);
            if (!is_mine(l, i))
                continue;
            ret = lv_learn_run(&l->move, b.port, LV_PORT_NB);
            if (ret >= 0)
                ret = lv_critic_learn(l->critic, b.port, &l->critic_loss);
        }
        if (ret >= 0)
            ret = lv_trainer_update(l->critic->trainer);
    }
    l->critic_loss /= l->recipe->critic.ratio;
    return ret;
}

int lv_linearize_step(LvLinearize *l)
{
    float *data;
    int ret = get_data(l, &data), changed = 0;

    l->loss = 0;
    memset(l->error, 0, sizeof(l->error));
    memset(l->power, 0, sizeof(l->power));
    if (ret < 0 || (ret = lv_trainer_begin(l->trainer)) < 0)
        return ret;
    for (int i = 0; i < l->cfg->batch && ret >= 0; i += l->cfg->micro) {
        LvBatch b = batch_at(l, data, i);
        if (!is_mine(l, i))
            continue;
        if ((ret = run_micro(l, &b)) >= 0)
            ret = take_numbers(l, &b);
        if (ret >= 0 && l->states.slot)
            ret = take_slots(l, i);
    }
    if (ret >= 0 && l->states.slot)
        ret = share_slots(l);
    if (ret >= 0 && l->critic)
        ret = train_critic(l, data);
    if (ret < 0 || (ret = sum_ranks(l)) < 0 || (ret = lv_trainer_measure(l->trainer)) < 0 ||
        (ret && (ret = move_gates(l, &changed)) < 0) || (ret = lv_trainer_update(l->trainer)) < 0)
        return ret;
    return changed ? plan(l) : 0;
}

int lv_linearize_save(LvLinearize *l, const char *run)
{
    return lv_critic_save(l->critic, l->trainer, run);
}

double lv_linearize_flops(const LvLinearize *l)
{
    double f = lv_program_sizes(l->learn.task.prog).flops;

    if (is_moved(l))
        f += lv_program_sizes(l->move.task.prog).flops;
    return f * (l->cfg->batch / l->cfg->micro);
}

/* Sensitivity and bundles */

/* Errors of student against teacher over some items of step 0, at stored states. */
static int look(LvLinearize *l, const LvLearn *learn, float *data, int nb, double *error)
{
    double sum[2] = { 0 };
    LvStates s = l->states;
    int ret = 0;

    s.objective = LV_LEARN_ONLINE;
    s.slot      = NULL;
    for (int i = 0; i < nb && ret >= 0; i += l->cfg->micro) {
        float v[2][1024];
        LvBatch b;
        lv_states_lay_out(&l->states, l->cfg->micro, data, &b);
        for (int k = 0; k < l->cfg->micro; k++)
            lv_states_make(&s, &b, k, 0, i + k);
        if ((ret = lv_learn_run(learn, b.port, LV_PORT_NB)) < 0)
            break;
        for (int k = 0; k < 2 && ret >= 0; k++)
            ret = lv_learn_get(learn, LV_RESULT_ERROR + k, v[k]);
        for (int k = 0; k < l->cfg->micro; k++) {
            sum[0] += (double)v[0][k];
            sum[1] += (double)v[1][k];
        }
    }
    *error = sum[0] / LV_MAX(sum[1], 1e-30);
    return ret;
}

/* Items that are looked at: whole micro-batches. */
static int items_to_look_at(const LvLinearize *l)
{
    return LV_ROUND_UP(SENSITIVITY_ITEMS, l->cfg->micro);
}

static int look_at_layers(LvLinearize *l, const LvLearn *learn, float *data, double *out)
{
    int ret = 0;

    for (int i = 0; i < l->gates.layers && ret >= 0; i++) {
        for (int k = 0; k < l->gates.layers && ret >= 0; k++) {
            float r = k != i;
            if (l->mix[k])
                ret = lv_param_put(l->trainer->params, LV_SLAB_VALUE, l->mix[k], &r);
        }
        if (ret >= 0)
            ret = look(l, learn, data, items_to_look_at(l), &out[i]);
    }
    return ret < 0 ? ret : put_gates(l);
}

int lv_linearize_sensitivity(LvLinearize *l, double *out)
{
    float *data = lv_alloc(batch_floats(l) * sizeof(*data));
    LvLearn learn = { 0 };
    int ret;

    if (!data)
        return out_of_memory(l->teacher->msg);
    for (int i = 0; i < l->gates.layers; i++)
        l->dit.cfg.attention[i] = l->mix[i] ? LV_ATTN_MIXED : LV_ATTN_LINEAR;
    if (!l->states.t->clips)
        ret = lv_fail(l->teacher->msg, LV_ERR_MODEL, "sensitivity needs stored states: "
                      "trajectories.clips is 0");
    else if ((ret = lv_learn_new(&learn, &l->nets, LV_LEARN_ONLINE, 0, 0, l->x)) >= 0)
        ret = look_at_layers(l, &learn, data, out);
    lv_learn_free(&learn);
    set_kinds(l);
    lv_free(data);
    return ret;
}

int lv_linearize_export(const LvLinearize *l, const char *path)
{
    LvNewNetwork n = { .dit = &l->dit.cfg, .params = l->trainer->params,
                      .only = l->cfg->only, .section = "linearize" };
    char *about = lv_recipe_section(l->recipe, "linearize");
    int ret;

    n.about = about;
    if (lv_gates_open(&l->gates))
        ret = lv_fail(l->teacher->msg, LV_ERR_MODEL, "export: layers are still mixed, at "
                      "step %d of %d", l->trainer->step, l->optim.steps);
    else
        ret = about ? lv_publish(l->begin, path, &n)
                    : out_of_memory(l->teacher->msg);
    free(about);
    return ret;
}

static int count_ops(const LvLearn *l, enum LvOpKind op)
{
    int n = 0;

    for (int i = 0; i < lv_program_count(l->task.prog); i++)
        n += lv_program_record(l->task.prog, i)->op == op;
    return n;
}

/* What runs: softmax attention across in all layers, and in those of its kind. */
static int verify_parts(const LvLinearize *l, const LvFrozen *b)
{
    const LvDitConfig *c = &l->dit.cfg;
    size_t linear = (size_t)lv_config_layers(c, LV_ATTN_LINEAR);
    size_t more   = 2 * linear * (size_t)c->dim * (size_t)c->map_dim;
    const LvDitConfig *own = &l->begin->cfg.dit;
    size_t had = 2 * (size_t)lv_config_layers(own, LV_ATTN_LINEAR) * (size_t)own->dim *
                 (size_t)own->map_dim;
    LvNets n = l->nets;
    LvLearn move;
    int ret, fits;

    n.student = &b->dit;
    if ((ret = lv_learn_move(&move, &n, 0, l->x)) < 0)
        return ret;
    fits = count_ops(&move, LV_OP_LINATTN) == (int)linear &&
           count_ops(&move, LV_OP_ATTN) == 2 * c->layers - (int)linear &&
           lv_frozen_weights(b) + had == lv_frozen_weights(l->begin) + more;
    lv_learn_free(&move);
    return fits ? 0 : lv_fail(l->teacher->msg, LV_ERR_MODEL, "%s: is not the network that "
                              "was trained", b->files.path);
}

static int verify_velocities(LvLinearize *l, const LvFrozen *b, double *error)
{
    float *data = lv_alloc(batch_floats(l) * sizeof(*data));
    LvLearn learn = { 0 };
    LvNets n = l->nets;
    int ret;

    n.teacher    = &b->dit;
    n.checkpoint = 1;
    if (!data)
        return out_of_memory(l->teacher->msg);
    free_programs(l);
    if ((ret = lv_trainer_swap(l->trainer)) >= 0 &&
        (ret = lv_learn_new(&learn, &n, LV_LEARN_ONLINE, 0, 0, l->x)) >= 0 &&
        (ret = look(l, &learn, data, l->cfg->micro, error)) >= 0)
        ret = lv_trainer_swap(l->trainer);
    lv_learn_free(&learn);
    lv_free(data);
    if (ret >= 0 && !(*error <= VERIFY_BOUND))
        ret = lv_fail(l->teacher->msg, LV_ERR_MODEL, "%s: its velocities differ from the "
                      "run's by %g of their square", b->files.path, *error);
    return ret;
}

int lv_linearize_verify(LvLinearize *l, const char *path, double *error)
{
    const LvVideoConfig *v = &l->teacher->cfg.video;
    const LvFrozenClip clip = { v->width, v->height, v->frames };
    LvFrozen *b;
    int ret = lv_frozen_open(&b, path, &clip, l->teacher->dev, l->teacher->msg);

    *error = 0;
    if (ret >= 0 && (ret = verify_parts(l, b)) >= 0 && l->states.t->clips)
        ret = verify_velocities(l, b, error);
    lv_frozen_close(&b);
    return ret;
}
