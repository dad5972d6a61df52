/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/hash.h"
#include "base/sealed.h"
#include "model/config.h"
#include "train/run/init.h"

#define TRAIN_KEY  "linvideo.train"
#define STATE      "state."

enum { SETTINGS = 2048 };

/* Slabs that a run keeps beside the values. */
static const struct { const char *name; int slab; } kept[] = {
    { "adam.m", LV_SLAB_M }, { "adam.v", LV_SLAB_V }, { "ema", LV_SLAB_EMA },
};

double lv_optim_rate(const LvOptim *o, int step)
{
    double part = (double)(step - o->warmup) / LV_MAX(o->steps - o->warmup, 1);

    if (step < o->warmup)
        return o->lr * (step + 1.0) / o->warmup;
    return o->lr * (o->lr_end + (1 - o->lr_end) * 0.5 * (1 + cos(M_PI * LV_MIN(part, 1))));
}

/* The run's settings as text; two runs with the same text go on alike. What only some
 * runs have is told by those. */
static void settings_text(char buf[SETTINGS], const LvOptim *o)
{
    int n = snprintf(buf, SETTINGS, "steps=%d warmup=%d lr=%.9g lr_end=%.9g beta1=%.9g "
                     "beta2=%.9g eps=%.9g decay=%.9g clip=%.9g ema=%.9g seed=%llu",
                     o->steps, o->warmup, o->lr, o->lr_end, o->beta1, o->beta2, o->eps,
                     o->decay, o->clip, o->ema, (unsigned long long)o->seed);

    if (o->lr_map > 0)
        n += snprintf(buf + n, (size_t)(SETTINGS - n), " lr_map=%.9g", o->lr_map);
    if (o->ema_from)
        n += snprintf(buf + n, (size_t)(SETTINGS - n), " ema_from=%d", o->ema_from);
    if (o->more)
        snprintf(buf + n, (size_t)(SETTINGS - n), " %s", o->more);
}

/* "step=12 steps=..."; a run of step 0 has no settings yet. */
static int read_state(LvTrainer *t, const char *path)
{
    const char *text = lv_safetensors_meta(t->file, TRAIN_KEY), *rest;
    char want[SETTINGS], *end;
    long step;

    if (!text || strncmp(text, "step=", 5))
        return lv_fail(t->msg, LV_ERR_MODEL, "%s: not a training run: its metadata has no "
                       "'" TRAIN_KEY "'", path);
    step = strtol(text + 5, &end, 10);
    settings_text(want, &t->optim);
    rest = strchr(text, ' ');
    if (!rest && step)
        return lv_fail(t->msg, LV_ERR_MODEL, "%s: is of step %ld without the settings that "
                       "it was made with", path, step);
    if (rest && strcmp(rest + 1, want))
        return lv_fail(t->msg, LV_ERR_MODEL, "%s: was made with other settings: %s; "
                       "expected %s", path, rest + 1, want);
    if (end == text + 5 || step < 0 || step > t->optim.steps || (*end && *end != ' '))
        return lv_fail(t->msg, LV_ERR_MODEL, "%s: is of step %.*s, expected 0 to %d", path,
                       (int)strcspn(text + 5, " "), text + 5, t->optim.steps);
    t->step = (int)step;
    return 0;
}

/* What was written is what is read. */
static int check_file(const LvTrainer *t)
{
    static const char *const keys[] = { LV_CONFIG_KEY, TRAIN_KEY, NULL };

    return lv_sealed_check(t->file, keys, NULL, t->msg);
}

static size_t room_of(const LvSafetensors *st)
{
    size_t room = 0;

    for (int i = 0; i < lv_safetensors_count(st); i++) {
        const LvFileTensor *t = lv_safetensors_at(st, i);
        int is_kept = !strncmp(t->name, STATE, strlen(STATE));
        for (int k = 0; k < LV_COUNT(kept); k++)
            is_kept = is_kept || !strcmp(t->name, kept[k].name);
        room += is_kept ? 0 : lv_param_room(t->numel);
    }
    return room;
}

int lv_trainer_open(LvTrainer **out, const char *path, const LvOptim *optim,
                    LvDevice *dev, const LvMsg *msg)
{
    LvTrainer *t = *out = calloc(1, sizeof(*t));
    int ret;

    if (!t)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    t->dev   = dev;
    t->msg   = msg;
    t->optim = *optim;
    if ((ret = lv_safetensors_open(&t->file, path, msg)) < 0 ||
        (ret = check_file(t)) < 0 || (ret = read_state(t, path)) < 0 ||
        (ret = lv_params_new(&t->params, room_of(t->file), dev, msg)) < 0 ||
        (ret = lv_weights_new_params(&t->weights, t->params, t->file, dev, msg)) < 0) {
        lv_trainer_close(out);
        return ret;
    }
    return 0;
}

/* Step 0 has none: moments are zero, the average is made. */
static int miss(const LvTrainer *t, const char *name)
{
    return !t->step ? 0 :
           lv_fail(t->msg, LV_ERR_MODEL, "%s: %s is missing, which a run of step %d has",
                   lv_safetensors_path(t->file), name, t->step);
}

static int check_values(const LvTrainer *t, const LvFileTensor *f)
{
    size_t i = lv_find_nonfinite(f->data, f->dtype, LV_F32, f->numel);

    return i == f->numel ? 0 :
           lv_fail(t->msg, LV_ERR_MODEL, "%s: %s: element %zu is not finite",
                   lv_safetensors_path(t->file), f->name, i);
}

static int read_kept(LvTrainer *t)
{
    LvParams *p = t->params;

    for (int k = 0; k < LV_COUNT(kept); k++) {
        const LvFileTensor *f = lv_weights_take(t->weights, kept[k].name);
        int ret;
        if (!f) {
            if ((ret = miss(t, kept[k].name)) < 0)
                return ret;
            continue;
        }
        if (f->dtype != LV_F32 || f->numel != p->size)
            return lv_fail(t->msg, LV_ERR_MODEL, "%s: %s has %zu elements of %s, the run "
                           "%zu of F32", lv_safetensors_path(t->file), f->name, f->numel,
                           lv_dtype_name(f->dtype), p->size);
        if ((ret = check_values(t, f)) < 0 ||
            (ret = lv_device_upload(t->dev, p->slab[kept[k].slab], f->data, f->size)) < 0)
            return ret;
    }
    return 0;
}

/* The average begins as the values. */
static int start_average(LvTrainer *t)
{
    float *tmp = lv_alloc(t->params->size * sizeof(*tmp));
    int ret    = tmp ? lv_params_download(t->params, LV_SLAB_VALUE, tmp) : LV_ERR(ENOMEM);

    if (ret >= 0)
        ret = lv_params_upload(t->params, LV_SLAB_EMA, tmp);
    lv_free(tmp);
    return ret;
}

static int cut(const LvTrainer *t, LvParamPiece **piece)
{
    *piece = calloc((size_t)t->params->nb + 1, sizeof(**piece));
    return *piece ? lv_params_pieces(t->params, *piece)
                  : lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
}

static void trace_measure(LvGraph *g, const LvTrainer *t, const LvParamPiece *piece, int nb)
{
    for (int i = 0; i < nb; i++)
        if (piece[i].group != LV_GROUP_GATE)
            lv_sqsum(g, lv_params_piece(t->params, LV_SLAB_GRAD, &piece[i]), t->norm, 1);
}

static void trace_update(LvGraph *g, const LvTrainer *t, const LvParamPiece *piece, int nb)
{
    for (int i = 0; i < nb; i++) {
        LvTensor s[LV_SLAB_NB];
        if (piece[i].group == LV_GROUP_GATE)
            continue;
        for (int k = 0; k < LV_SLAB_NB; k++)
            s[k] = lv_params_piece(t->params, k, &piece[i]);
        lv_adamw(g, s[LV_SLAB_GRAD], t->hyper[piece[i].group], t->norm_in, s[LV_SLAB_VALUE],
                 s[LV_SLAB_M], s[LV_SLAB_V], s[LV_SLAB_EMA]);
    }
}

static int plan_clear(LvTrainer *t)
{
    const LvParamPiece all = { .size = t->params->size };
    LvGraph *g = lv_graph_new(t->msg);

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_fill(g, lv_params_piece(t->params, LV_SLAB_GRAD, &all), 0);
    return lv_task_new(&t->clear, &g, NULL, 0, t->dev, t->msg);
}

static int plan_measure(LvTrainer *t, const LvParamPiece *piece, int nb)
{
    LvTensor *list[] = { &t->norm };
    LvGraph *g = lv_graph_new(t->msg);

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    t->norm = lv_external(g, "norm", LV_F32, 1, (const int[]) { 1 });
    trace_measure(g, t, piece, nb);
    return lv_task_new(&t->measure, &g, list, 1, t->dev, t->msg);
}

static int plan_update(LvTrainer *t, const LvParamPiece *piece, int nb)
{
    LvTensor *list[LV_GROUP_GATE + 1] = { &t->norm_in };
    LvGraph *g = lv_graph_new(t->msg);

    if (!g)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    t->norm_in = lv_external(g, "norm", LV_F32, 1, (const int[]) { 1 });
    for (int i = 0; i < LV_GROUP_GATE; i++) {
        t->hyper[i] = lv_external(g, "hyper", LV_F32, 1, (const int[]) { LV_HYPER_NB });
        list[i + 1] = &t->hyper[i];
    }
    trace_update(g, t, piece, nb);
    return lv_task_new(&t->update, &g, list, LV_GROUP_GATE + 1, t->dev, t->msg);
}

static int plan(LvTrainer *t)
{
    LvParamPiece *piece;
    int nb = cut(t, &piece), ret = nb;

    if (ret >= 0 && (ret = plan_clear(t)) >= 0 && (ret = plan_measure(t, piece, nb)) >= 0)
        ret = plan_update(t, piece, nb);
    free(piece);
    return ret;
}

int lv_trainer_keep(LvTrainer *t, const char *name, LvDtype dtype, size_t numel, void *data)
{
    LvFileTensor *s = &t->state[t->nb_states++];
    const LvFileTensor *f = lv_weights_take(t->weights, name);

    *s = (LvFileTensor) { .name = name, .dtype = dtype, .rank = 1, .numel = numel,
                          .dim = { (int64_t)numel }, .data = data,
                          .size = numel * lv_dtype_size(dtype) };
    if (!f)
        return miss(t, name);
    if (f->dtype != dtype || f->numel != numel)
        return lv_fail(t->msg, LV_ERR_MODEL, "%s: %s has %zu elements of %s, the run %zu "
                       "of %s", lv_safetensors_path(t->file), name, f->numel,
                       lv_dtype_name(f->dtype), numel, lv_dtype_name(dtype));
    memcpy(data, f->data, f->size);
    return check_values(t, f);
}

/* All ranks go on from the same step of the same run, and learn alike. */
static int same_run(const LvTrainer *t)
{
    const char *model = t->file ? lv_safetensors_meta(t->file, LV_CONFIG_KEY) : NULL;
    char text[SETTINGS];
    uint64_t hash;

    settings_text(text, &t->optim);
    hash = lv_hash_text((uint64_t)t->step, text);
    hash = lv_hash_text(hash, model ? model : "");
    return lv_group_same(t->dev, hash, "recipe, model or step");
}

int lv_trainer_ready(LvTrainer *t)
{
    int ret = same_run(t);

    if (ret < 0 || (ret = read_kept(t)) < 0 || (!t->step && (ret = start_average(t)) < 0) ||
        (ret = lv_weights_finish(t->weights)) < 0)
        return ret;
    return plan(t);
}

void lv_trainer_close(LvTrainer **out)
{
    LvTrainer *t = *out;

    if (!t)
        return;
    lv_task_free(&t->measure);
    lv_task_free(&t->update);
    lv_task_free(&t->clear);
    lv_weights_free(&t->weights);
    lv_params_free(&t->params);
    lv_safetensors_close(&t->file);
    free(t);
    *out = NULL;
}

int lv_trainer_begin(LvTrainer *t)
{
    const float zero = 0;
    int ret = lv_task_run(&t->clear);

    t->summed = t->measured = 0;
    return ret < 0 ? ret : lv_task_put(&t->measure, &t->norm, &zero);
}

/* How much of the average is kept at this step. */
static float ema_share(const LvTrainer *t)
{
    int n = t->step - t->optim.ema_from;

    return n < 0 ? 0 : LV_MIN(t->optim.ema, (float)(1 + n) / (float)(10 + n));
}

static void fill_hyper(const LvTrainer *t, float *h, int group)
{
    const LvOptim *o = &t->optim;
    double share = group == LV_GROUP_MAP && o->lr_map > 0 ? (double)o->lr_map / o->lr : 1;
    int n = t->step + 1;

    h[LV_HYPER_LR]    = (float)(share * lv_optim_rate(o, t->step));
    h[LV_HYPER_BETA1] = o->beta1;
    h[LV_HYPER_BETA2] = o->beta2;
    h[LV_HYPER_EPS]   = o->eps;
    h[LV_HYPER_DECAY] = group == LV_GROUP_DECAY ? o->decay : 0;
    h[LV_HYPER_BIAS1] = (float)(1 - pow(o->beta1, n));
    h[LV_HYPER_BIAS2] = (float)(1 - pow(o->beta2, n));
    h[LV_HYPER_CLIP]  = o->clip;
    h[LV_HYPER_EMA]   = ema_share(t);
}

int lv_trainer_split(const LvTrainer *t, int parts, const char *name)
{
    int size = lv_group_size(t->dev);

    return parts >= size ? 0 :
           lv_fail(t->msg, LV_ERR(EINVAL), "rank %d: %s: expected at least %d micro-batches in a "
                   "step for as many ranks, got %d", lv_group_rank(t->dev), name, size, parts);
}

int lv_trainer_sum(LvTrainer *t, double *v, int nb)
{
    int ret = lv_group_sum(t->dev, t->params->slab[LV_SLAB_GRAD], t->params->size, LV_F32);

    t->summed = 1;
    return ret < 0 || !nb ? ret : lv_group_numbers(t->dev, v, nb);
}

int lv_trainer_measure(LvTrainer *t)
{
    int ret = t->summed ? 0 : lv_trainer_sum(t, NULL, 0);
    float norm;

    if (ret < 0 || t->measured)
        return ret < 0 ? ret : isfinite(t->grad_norm) != 0;
    if ((ret = lv_task_run(&t->measure)) < 0 ||
        (ret = lv_task_get(&t->measure, &t->norm, &norm)) < 0 ||
        (ret = lv_task_put(&t->update, &t->norm_in, &norm)) < 0)
        return ret;
    t->grad_norm = sqrt(norm);
    t->measured  = 1;
    return isfinite(norm) != 0;
}

void lv_trainer_drop(LvTrainer *t)
{
    t->grad_norm = NAN;
}

/* Nothing is changed but the count. */
static int drop(LvTrainer *t)
{
    t->step++;
    if (++t->dropped >= LV_TRAINER_DROPS)
        return lv_fail(t->msg, LV_ERR(ERANGE), "training: the gradient of step %d is not finite, "
                       "the %dth in a row: the run stops", t->step, t->dropped);
    lv_msg(t->msg, LV_MSG_WARNING, "training: the gradient of step %d is not finite: the step is "
           "dropped", t->step);
    return 0;
}

int lv_trainer_update(LvTrainer *t)
{
    float hyper[LV_HYPER_NB];
    int ret = lv_trainer_measure(t);

    if (ret <= 0)
        return ret < 0 ? ret : drop(t);
    for (int i = 0; i < LV_GROUP_GATE && ret >= 0; i++) {
        fill_hyper(t, hyper, i);
        ret = lv_task_put(&t->update, &t->hyper[i], hyper);
    }
    if (ret < 0 || (ret = lv_task_run(&t->update)) < 0)
        return ret;
    t->dropped = 0;
    t->step++;
    return 0;
}

int lv_trainer_swap(LvTrainer *t)
{
    size_t n     = t->params->size;
    float *value = lv_alloc(2 * n * sizeof(*value)), *ema = value + n;
    int ret;

    if (!value)
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = lv_params_download(t->params, LV_SLAB_VALUE, value)) >= 0 &&
        (ret = lv_params_download(t->params, LV_SLAB_EMA, ema)) >= 0 &&
        (ret = lv_params_upload(t->params, LV_SLAB_VALUE, ema)) >= 0)
        ret = lv_params_upload(t->params, LV_SLAB_EMA, value);
    lv_free(value);
    return ret;
}

/* Runs as files */

static void file_tensor(LvFileTensor *f, const LvParam *p, const float *slab)
{
    *f = (LvFileTensor) { .name = p->name, .dtype = LV_F32, .rank = p->rank,
                          .numel = p->numel, .data = slab + p->at,
                          .size = p->numel * sizeof(float) };
    memcpy(f->dim, p->dim, sizeof(p->dim));
}

static int write_new(const char *path, const LvParams *p, const float *values,
                     const char *config, const LvMsg *msg)
{
    LvFileTensor *list = calloc((size_t)p->nb + 1, sizeof(*list));
    const char *meta[] = { LV_CONFIG_KEY, config, TRAIN_KEY, "step=0", NULL };
    int ret;

    if (!list)
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    for (int i = 0; i < p->nb; i++)
        file_tensor(&list[i], &p->list[i], values);
    ret = lv_sealed_write(path, list, p->nb, meta, msg);
    free(list);
    return ret;
}

int lv_trainer_create(const char *path, const LvNewRun *n, LvDevice *dev,
                      const LvMsg *msg)
{
    LvParams *p  = NULL;
    LvWeights *w = NULL;
    float *values = NULL;
    int ret;

    if ((ret = lv_params_new(&p, 0, dev, msg)) >= 0 &&
        (ret = lv_weights_new_params(&w, p, NULL, dev, msg)) >= 0 &&
        (ret = n->describe(n->opaque, w)) >= 0) {
        values = lv_alloc(p->size * sizeof(*values));
        ret = !values ? lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory") :
              n->fill ? n->fill(n->opaque, p, values) :
              n->from ? lv_init_from(p, values, n->from, msg) :
                        lv_init_params(p, values, n->seed, msg);
    }
    if (ret >= 0)
        ret = write_new(path, p, values, n->config, msg);
    lv_free(values);
    lv_weights_free(&w);
    lv_params_free(&p);
    return ret;
}

static int download_slabs(const LvTrainer *t, float **values, float *slabs[])
{
    const LvParams *p = t->params;
    int ret;

    if (!(*values = lv_alloc((1 + LV_COUNT(kept)) * p->size * sizeof(float))))
        return lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");
    ret = lv_params_download(p, LV_SLAB_VALUE, *values);
    for (int k = 0; k < LV_COUNT(kept) && ret >= 0; k++) {
        slabs[k] = *values + (size_t)(k + 1) * p->size;
        ret = lv_params_download(p, kept[k].slab, slabs[k]);
    }
    return ret;
}

int lv_trainer_save(const LvTrainer *t, const char *path)
{
    const LvParams *p  = t->params;
    LvFileTensor *list = calloc((size_t)p->nb + LV_COUNT(kept) + LV_TRAINER_STATES,
                                sizeof(*list));
    float *values = NULL, *slabs[LV_COUNT(kept)];
    char settings[SETTINGS], state[SETTINGS + 32];
    const char *meta[] = { LV_CONFIG_KEY, lv_safetensors_meta(t->file, LV_CONFIG_KEY), TRAIN_KEY,
                           state, NULL };
    int ret = list ? download_slabs(t, &values, slabs)
                   : lv_fail(t->msg, LV_ERR(ENOMEM), "training: out of memory");

    if (ret >= 0) {
        int nb = p->nb;
        settings_text(settings, &t->optim);
        snprintf(state, sizeof(state), "step=%d %s", t->step, settings);
        for (int i = 0; i < p->nb; i++)
            file_tensor(&list[i], &p->list[i], values);
        for (int k = 0; k < LV_COUNT(kept); k++)
            list[nb++] = (LvFileTensor) {
                .name = kept[k].name, .dtype = LV_F32, .rank = 1, .numel = p->size,
                .dim = { (int64_t)p->size }, .data = slabs[k],
                .size = p->size * sizeof(float) };
        for (int k = 0; k < t->nb_states; k++)
            list[nb++] = t->state[k];
        ret = lv_sealed_write(path, list, nb, meta, t->msg);
    }
    lv_free(values);
    free(list);
    return ret;
}
