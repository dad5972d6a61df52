/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/env.h"

#include <stdio.h>

static int is_cancelled(const LvEnv *env)
{
    return env->cancelled && atomic_load(env->cancelled);
}

/* LvMsg.put */
static void put_aside(void *opaque, int level, const char *line)
{
    LvAside *a = opaque;

    if (!a->apart) {
        lv_msg(a->to, level, "%s", line);
        return;
    }
    a->level = level;
    snprintf(a->line, sizeof(a->line), "%s", line);
}

void lv_aside_new(LvAside *a, const LvEnv *env, LvDevice *dev)
{
    *a = (LvAside) { .env = *env, .to = env->msg };
    a->msg      = (LvMsg) { put_aside, a, env->msg ? env->msg->level : LV_MSG_ERROR };
    a->env.msg  = &a->msg;
    a->env.dev  = dev;
    a->env.tell = NULL;
    dev->msg    = &a->msg;
}

void lv_aside_begin(LvAside *a)
{
    a->apart = 1;
}

void lv_aside_end(LvAside *a)
{
    a->apart = 0;
    if (a->line[0])
        lv_msg(a->to, a->level, "%s", a->line);
    a->line[0] = '\0';
}

int lv_env_tell(const LvEnv *env, LvAt at)
{
    if (env->tell)
        env->tell(env->opaque, &at);
    return is_cancelled(env) ? LV_ERR_CANCELLED : 0;
}

int lv_env_ask(void *env)
{
    return is_cancelled(env) ? LV_ERR_CANCELLED : 0;
}

int lv_env_hook(void *env, const LvRecord *next, int index, int count)
{
    (void)next, (void)index, (void)count;
    return lv_env_ask(env);
}

const char *lv_env_hint(const LvEnv *env, int many)
{
    if (env->dtype == LV_F32)
        return "";
    return many ? "; precision f32 may keep them finite" : "; precision f32 may keep it finite";
}

int lv_env_weights(const LvEnv *env, const LvPart *part, LvWeightsFrom from, LvWeights **w)
{
    int ret;

    from.src    = part->src;
    from.layout = part->layout;
    from.wide   = env->dtype;
    ret = lv_weights_new_from(w, &from, env->dev, env->msg);
    if (ret >= 0)
        lv_files_skip_parts(env->files, *w, part);
    return ret;
}

static int ready_programs(LvProgram *const *p, int nb)
{
    int ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++)
        ret = p[i] ? lv_program_ready(p[i]) : 0;
    return ret;
}

int lv_env_load(const LvEnv *env, LvWeights *w, void **room, LvProgram *const *progs, int nb)
{
    LvWeightsPlace place = { .room_bytes = env->dev->host ? 0 : lv_weights_bytes(w) };
    int ret = place.room_bytes
            ? lv_device_alloc(env->dev, room, place.room_bytes, "weights") : 0;

    if (ret < 0 ||
        (ret = lv_upload_new(&place.upload, env->dev, lv_env_ask, (void *)env, env->msg)) < 0)
        return ret;
    place.room = *room;
    if ((ret = lv_weights_load(w, &place)) >= 0 && (ret = ready_programs(progs, nb)) >= 0)
        ret = lv_upload_run(place.upload, lv_upload_mark(place.upload));
    lv_upload_free(&place.upload);
    return ret;
}
