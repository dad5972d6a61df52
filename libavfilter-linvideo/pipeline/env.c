/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/env.h"

static int is_cancelled(const LvEnv *env)
{
    return env->cancelled && atomic_load(env->cancelled);
}

int lv_env_tell(const LvEnv *env, LvAt at)
{
    if (env->tell)
        env->tell(env->opaque, &at);
    return is_cancelled(env) ? LV_ERR_CANCELLED : 0;
}

int lv_env_hook(void *env, const LvRecord *next, int index, int count)
{
    (void)next, (void)index, (void)count;
    return is_cancelled(env) ? LV_ERR_CANCELLED : 0;
}

const char *lv_env_hint(const LvEnv *env)
{
    return env->dtype == LV_F32 ? "" : "; precision f32 may keep them finite";
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
