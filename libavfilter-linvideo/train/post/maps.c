/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/maps.h"

#include <stdio.h>
#include <stdlib.h>

#include "train/post/student.h"

enum { ABOUT = 256 };

static int open_run(LvMaps *m, const LvLinearizeFiles *f)
{
    LvDitConfig cfg;
    int ret = lv_linearize_config(&cfg, f);

    if (ret < 0)
        return ret;
    snprintf(m->about, ABOUT, "teacher=%s batch=%d map=%s:%d", f->teacher->hash,
             f->recipe->maps.batch, lv_map_name(cfg.map), cfg.map_dim);
    m->optim      = f->recipe->maps.optim;
    m->optim.more = m->about;
    if ((ret = lv_student_open(&m->trainer, &m->dit, f->run, &cfg, &m->optim,
                               f->teacher->dev, f->teacher->msg)) < 0 ||
        (ret = lv_trainer_ready(m->trainer)) < 0)
        return ret;
    m->dit.apart = 1;
    return lv_states_init(&m->states, &m->recipe, f->t, f->teacher);
}

static int plan(LvMaps *m, const LvLinearizeFiles *f, int checkpoint, LvDtype dtype)
{
    LvNets n = { .student = &m->dit, .teacher = &f->teacher->dit,
                 .params = m->trainer->params, .size = f->teacher->size,
                 .dtype = dtype, .batch = f->recipe->maps.batch,
                 .checkpoint = checkpoint,
                 .dev = f->teacher->dev, .msg = f->teacher->msg };
    LvBatch b;
    size_t floats = lv_states_lay_out(&m->states, n.batch, NULL, &b);

    if (!(m->data = lv_alloc(floats * sizeof(*m->data))))
        return lv_fail(n.msg, LV_ERR(ENOMEM), "training: out of memory");
    return lv_learn_maps(&m->learn, &n, m->errors, m->sizes);
}

int lv_maps_open(LvMaps **out, const LvLinearizeFiles *f, int checkpoint, LvDtype dtype)
{
    LvMaps *m = *out = calloc(1, sizeof(*m));
    int ret;

    if (!m || !(m->about = malloc(ABOUT))) {
        lv_maps_close(out);
        return lv_fail(f->teacher->msg, LV_ERR(ENOMEM), "training: out of memory");
    }
    m->recipe = *f->recipe;
    m->recipe.linearize.batch     = f->recipe->maps.batch;
    m->recipe.linearize.objective = LV_LEARN_ONLINE;
    if (!f->t->clips)
        ret = lv_fail(f->teacher->msg, LV_ERR_MODEL, "maps need stored states: "
                      "trajectories.clips is 0");
    else if ((ret = open_run(m, f)) >= 0)
        ret = plan(m, f, checkpoint, dtype);
    if (ret < 0)
        lv_maps_close(out);
    return ret;
}

void lv_maps_close(LvMaps **out)
{
    LvMaps *m = *out;

    if (!m)
        return;
    lv_learn_free(&m->learn);
    lv_dit_free(&m->dit);
    lv_trainer_close(&m->trainer);
    lv_free(m->data);
    free(m->about);
    free(m);
    *out = NULL;
}

static double sum_of(const LvMaps *m, const LvTensor *t, int *ret)
{
    float v[1024];
    double s = 0;

    if (*ret >= 0)
        *ret = lv_task_get(&m->learn.task, t, v);
    for (int i = 0; i < m->learn.batch && *ret >= 0; i++)
        s += (double)v[i];
    return s;
}

int lv_maps_step(LvMaps *m)
{
    int batch = m->recipe.linearize.batch, layers = m->dit.cfg.layers, ret;
    LvBatch b;

    lv_states_lay_out(&m->states, batch, m->data, &b);
    for (int i = 0; i < batch; i++)
        lv_states_make(&m->states, &b, i, m->trainer->step, i);
    if ((ret = lv_trainer_begin(m->trainer)) < 0 ||
        (ret = lv_learn_run(&m->learn, b.port, LV_PORT_NB)) < 0)
        return ret;
    m->mean = 0;
    for (int i = 0; i < layers; i++) {
        double error;
        if (!lv_has(&m->errors[i]))
            continue;
        error       = sum_of(m, &m->errors[i], &ret);
        m->error[i] = error / LV_MAX(sum_of(m, &m->sizes[i], &ret), 1e-30);
        m->mean    += m->error[i] / lv_config_layers(&m->dit.cfg, LV_ATTN_MIXED);
    }
    return ret < 0 ? ret : lv_trainer_update(m->trainer);
}
