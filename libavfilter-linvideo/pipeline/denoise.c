/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "denoise": the sampler's steps, each with one run of the network for every
 * branch of guidance. Latents and solver stay on the host.
 */

#include "base/convert.h"
#include "graph/program.h"
#include "pipeline/session.h"

int lv_denoise_plan(LvSession *s)
{
    LvGraph *g = lv_graph_new(s->msg);

    if (!g)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "denoise: out of memory");
    lv_dit_inputs(g, &s->dit, s->size, s->dtype, &s->in);
    s->velocity = lv_dit_trace(g, &s->dit, &s->in, s->dtype, NULL);
    lv_output(g, s->velocity, "velocity");
    return lv_net_plan(&s->net, &g, s->dev);
}

typedef struct Position {
    LvSession *s;
    int step, branch, layer;
} Position;

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    Position *p = opaque;
    LvSession *s = p->s;
    int layers = s->cfg.dit.layers;

    (void)index, (void)count;
    if (next->layer == p->layer)
        return atomic_load(&s->cancelled) ? LV_ERR_CANCELLED : 0;
    p->layer = next->layer;
    if (!p->layer)
        return 0;
    return lv_session_step(s, LV_STAGE_DENOISE, p->step, s->cfg.video.steps,
                           p->branch * layers + p->layer, s->branches * layers);
}

/* Whether all values of a step are finite. */
static int check_step(const LvSession *s, int step, const float *x, const char *what)
{
    size_t n = lv_tensor_numel(&s->velocity);
    const char *hint = s->dtype == LV_F32 ? "" : "; precision f32 may keep them finite";

    return lv_find_nonfinite(x, LV_F32, LV_F32, n) == n ? 0 :
           lv_fail(s->msg, LV_ERR_MODEL, "%s: step %d of %d: %s are not finite%s",
                   s->files.path, step + 1, s->cfg.video.steps, what, hint);
}

static int run_branch(LvSession *s, int step, int branch)
{
    static const char *const what[LV_BRANCHES] = {
        "values of the network", "values of the network for the negative prompt",
    };
    const LvDeviceFns *fn = s->dev->fn;
    size_t bytes = lv_tensor_bytes(&s->velocity);
    Position p = { s, step, branch, 0 };
    int ret;

    lv_text_bind(s, branch);
    if ((ret = lv_program_run(s->net.prog, hook, &p)) < 0 ||
        (ret = fn->download(s->dev, s->v[branch], s->velocity_dev, bytes)) < 0)
        return ret;
    return check_step(s, step, s->v[branch], what[branch]);
}

static int run_step(LvSession *s, int step)
{
    const LvDeviceFns *fn = s->dev->fn;
    size_t n = lv_tensor_numel(&s->velocity);
    float t = lv_sampler_time(s->sampler, step);
    int ret;

    if ((ret = fn->upload(s->dev, s->latent, s->x, n * sizeof(*s->x))) < 0 ||
        (ret = fn->upload(s->dev, s->t, &t, sizeof(t))) < 0)
        return ret;
    for (int b = 0; b < s->branches; b++)
        if ((ret = run_branch(s, step, b)) < 0)
            return ret;
    if (s->branches > 1)
        lv_guide(s->v[LV_COND], s->v[LV_UNCOND], n, s->cfg.video.guidance);
    lv_sampler_step(s->sampler, step, s->x, s->v[LV_COND]);
    return check_step(s, step, s->x, "latents");
}

int lv_denoise_run(LvSession *s)
{
    double start = lv_seconds();
    int ret = 0;

    for (int i = 0; i < s->cfg.video.steps && ret >= 0; i++)
        ret = run_step(s, i);
    s->seconds[LV_STAGE_DENOISE] += lv_seconds() - start;
    return ret;
}
