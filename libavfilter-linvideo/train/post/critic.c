/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/critic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/post/student.h"

enum { PATH_SIZE = 4096 };

void lv_critic_path(char *buf, size_t size, const char *run, int step)
{
    snprintf(buf, size, "%s.fake-%d", run, step);
}

static int create(const char *path, const LvFrozen *teacher, const LvMsg *msg)
{
    const LvStudent s = { .cfg = &teacher->cfg.dit, .from = &teacher->dit };

    return lv_student_create(path, &s, teacher, msg);
}

int lv_critic_create(const char *path, const LvFrozen *teacher, const LvMsg *msg)
{
    int ret = lv_group_apart(teacher->dev) ? create(path, teacher, msg) : 0;

    return lv_group_rejoin(teacher->dev, ret);
}

int lv_critic_open(LvCritic **out, const char *path, const LvCriticConfig *cfg, int step,
                 int steps, const LvFrozen *teacher)
{
    LvCritic *f = *out = calloc(1, sizeof(*f));
    int ret;

    if (!f || !(f->about = malloc(64))) {
        lv_critic_close(out);
        return lv_fail(teacher->msg, LV_ERR(ENOMEM), "training: out of memory");
    }
    snprintf(f->about, 64, "teacher=%s", teacher->hash);
    f->saved       = step;
    f->optim       = cfg->optim;
    f->optim.steps = cfg->ratio * steps;
    f->optim.more  = f->about;
    if ((ret = lv_student_open(&f->trainer, &f->dit, path, &teacher->cfg.dit, &f->optim,
                               teacher->dev, teacher->msg)) < 0 ||
        (ret = lv_trainer_ready(f->trainer)) < 0)
        lv_critic_close(out);
    return ret;
}

int lv_critic_plan(LvCritic *f, const LvNets *n, void *x)
{
    LvNets own = *n;

    own.student = &f->dit;
    own.params  = f->trainer->params;
    own.only    = LV_ONLY_NOT;
    return lv_learn_critic(&f->learn, &own, x);
}

void lv_critic_close(LvCritic **out)
{
    LvCritic *f = *out;

    if (!f)
        return;
    lv_learn_free(&f->learn);
    lv_dit_free(&f->dit);
    lv_trainer_close(&f->trainer);
    free(f->about);
    free(f);
    *out = NULL;
}

int lv_critic_learn(const LvCritic *f, float *const port[LV_PORT_NB], double *loss)
{
    float *own[LV_PORT_NB], v[1024];
    int ret;

    memcpy(own, port, sizeof(own));
    own[LV_PORT_T] = port[LV_PORT_T1];
    if ((ret = lv_learn_run(&f->learn, own, LV_PORT_X)) < 0 ||
        (ret = lv_learn_get(&f->learn, LV_RESULT_LOSS, v)) < 0)
        return ret;
    for (int i = 0; i < f->learn.batch; i++)
        *loss += (double)v[i];
    return 0;
}

int lv_critic_save(LvCritic *f, const LvTrainer *student, const char *run)
{
    char path[PATH_SIZE];
    int ret = 0;

    if (f) {
        lv_critic_path(path, sizeof(path), run, student->step);
        ret = lv_trainer_save(f->trainer, path);
    }
    if (ret < 0 || (ret = lv_trainer_save(student, run)) < 0 || !f ||
        f->saved == student->step)
        return ret;
    lv_critic_path(path, sizeof(path), run, f->saved);
    unlink(path);
    f->saved = student->step;
    return 0;
}
