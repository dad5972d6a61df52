/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "graph/program.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backend/weight.h"
#include "graph/fuse.h"
#include "graph/internal.h"
#include "graph/plan.h"
#include "graph/slots.h"

static void *copy_array(const void *src, int nb, size_t size)
{
    void *dst = calloc((size_t)nb + 1, size);

    return dst && nb ? memcpy(dst, src, (size_t)nb * size) : dst;
}

static int fail_unsupported(const LvProgram *p, const LvRecord *r)
{
    return lv_fail(p->dev->msg, LV_ERR_UNSUPPORTED,
                   "%s:%d: device %s does not run the op '%s'", r->file, r->line,
                   p->dev->fn->name, lv_op_info(r->op)->name);
}

/* Whether record a keeps the same forms of the same weights as record b. Parts of a weight have
 * its handle or one of their own, and begin elsewhere. */
static int same_weights(const LvRecord *a, const LvRecord *b)
{
    int same = a->op == b->op && a->u.t[0].dtype == b->u.t[0].dtype;

    for (int i = 0; i < lv_op_info(a->op)->in && same; i++) {
        const LvTensor *s = &a->u.t[i], *t = &b->u.t[i];

        same = s->w == t->w && (!s->w || (s->data == t->data && s->dim[0] == t->dim[0]));
    }
    return same;
}

static size_t new_weight_bytes(const LvProgram *p, int i)
{
    for (int k = 0; k < i && p->call[i].weight_bytes; k++)
        if (p->call[k].weight_bytes == p->call[i].weight_bytes &&
            same_weights(&p->rec[i], &p->rec[k]))
            return 0;
    return p->call[i].weight_bytes;
}

static int plan_calls(LvProgram *p)
{
    size_t scratch = 0;

    for (int i = 0; i < p->nb_rec; i++) {
        const LvRecord *r = &p->rec[i];
        LvCall *c = &p->call[i];
        int ret;

        if (!lv_device_has(p->dev, r->op))
            return fail_unsupported(p, r);
        if ((ret = lv_device_call(p->dev->fn->plan, p->dev, r->op, &r->u, c)) < 0)
            return ret;
        scratch          = LV_MAX(scratch, c->scratch_bytes);
        p->sizes.thread  = LV_MAX(p->sizes.thread, c->thread_bytes);
        p->sizes.weights += new_weight_bytes(p, i);
        p->sizes.flops   += lv_op_flops(r->op, &r->u);
    }
    p->scratch      = LV_ROUND_UP(p->sizes.arena, LV_ALIGN);
    p->sizes.arena  = p->scratch + scratch;
    return 0;
}

static int plan(LvProgram *p)
{
    int ret;

    if (!p->rec || !p->info || !p->call)
        return LV_ERR(ENOMEM);
    lv_fuse(p);
    if ((ret = lv_plan_place(p)) < 0 || (ret = lv_slots_plan(p)) < 0)
        return ret;
    return plan_calls(p);
}

int lv_program_new(LvProgram **out, const LvGraph *g, LvDevice *dev)
{
    LvProgram *p;
    int ret;

    *out = NULL;
    if (g->error)
        return g->error;
    if (!(p = calloc(1, sizeof(*p))))
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "graph: out of memory");
    p->dev     = dev;
    p->nb_rec  = g->nb_rec;
    p->nb_info = g->nb_info;
    p->rec     = copy_array(g->rec, g->nb_rec, sizeof(*p->rec));
    p->info    = copy_array(g->info, g->nb_info, sizeof(*p->info));
    p->call    = calloc((size_t)g->nb_rec + 1, sizeof(*p->call));
    if ((ret = plan(p)) < 0) {
        if (ret == LV_ERR(ENOMEM))
            lv_msg(dev->msg, LV_MSG_ERROR, "graph: out of memory");
        lv_program_free(&p);
        return ret;
    }
    *out = p;
    return 0;
}

static void release_calls(LvProgram *p)
{
    for (int i = 0; i < p->nb_rec && p->call; i++)
        if (p->call[i].priv)
            lv_device_release(p->dev, p->rec[i].op, &p->call[i]);
}

static void free_captures(LvProgram *p)
{
    for (int i = 0; i < p->nb_captures; i++) {
        p->dev->fn->capture->free(p->dev, p->capture[i].kept);
        free(p->capture[i].bound);
    }
    p->nb_captures = p->has_run = 0;
}

void lv_program_free(LvProgram **prog)
{
    LvProgram *p = *prog;

    if (!p)
        return;
    free_captures(p);
    release_calls(p);
    lv_slots_leave(p);
    free(p->group);
    free(p->copy);
    free(p->copy_of);
    free(p->rec);
    free(p->info);
    free(p->call);
    free(p);
    *prog = NULL;
}

LvSizes lv_program_sizes(const LvProgram *p)
{
    return p->sizes;
}

static void set_address(LvProgram *p, int id, void *data)
{
    p->info[id].data = data;
    for (int r = LV_MAX(p->info[id].first, 0); r <= p->info[id].last; r++) {
        const LvOpInfo *op = lv_op_info(p->rec[r].op);
        for (int k = 0; k < op->in + op->out; k++)
            if (p->rec[r].u.t[k].id == id)
                p->rec[r].u.t[k].data = data;
    }
}

/* Weights lie where their handles say now. */
static void take_weights(LvProgram *p)
{
    for (int r = 0; r < p->nb_rec; r++)
        for (int k = 0; k < lv_op_info(p->rec[r].op)->in; k++) {
            LvTensor *t = &p->rec[r].u.t[k];
            if (lv_is_fixed(t))
                t->data = t->w->data;
        }
    lv_slots_take_weights(p);
}

int lv_program_ready(LvProgram *p)
{
    const LvOpTable *ready = p->dev->fn->ready;
    int ret = 0;

    for (int i = 0; i < p->nb_rec && ready && ret >= 0; i++)
        ret = lv_device_call(ready, p->dev, p->rec[i].op, &p->rec[i].u, &p->call[i]);
    return LV_MIN(ret, 0);
}

int lv_program_build(LvProgram *p, void *arena)
{
    int ret = lv_program_ready(p);

    if (ret >= 0)
        ret = lv_device_reserve(p->dev, p->sizes.thread);
    assert((uintptr_t)arena % LV_ALIGN == 0);
    take_weights(p);
    for (int i = 0; i < p->nb_info && ret >= 0; i++)
        if (!p->info[i].external && p->info[i].first >= 0)
            set_address(p, i, (char *)arena + p->info[i].offset);
    free_captures(p);
    release_calls(p);
    for (int i = 0; i < p->nb_rec && ret >= 0; i++) {
        p->call[i].scratch = (char *)arena + p->scratch;
        ret = lv_device_call(p->dev->fn->build, p->dev, p->rec[i].op, &p->rec[i].u,
                             &p->call[i]);
    }
    p->built = ret >= 0;
    return LV_MIN(ret, 0);
}

void lv_program_bind(LvProgram *p, LvTensor t, void *data)
{
    if (t.id >= 0 && t.id < p->nb_info && p->info[t.id].external)
        set_address(p, t.id, data);
}

static int check_bound(const LvProgram *p)
{
    for (int i = 0; i < p->nb_info; i++)
        if (p->info[i].external && p->info[i].first >= 0 && !p->info[i].data)
            return lv_fail(p->dev->msg, LV_ERR(EINVAL),
                           "graph: tensor '%s' has no memory", p->info[i].name);
    if (p->nb_groups && !p->slots)
        return lv_fail(p->dev->msg, LV_ERR(EINVAL), "graph: offloaded weights have no slots");
    return p->built ? 0 : lv_fail(p->dev->msg, LV_ERR(EINVAL),
                                  "graph: program is not built");
}

/* Time of a device that works while the host goes on is known to itself. */
static int has_marks(const LvProgram *p)
{
    return p->seconds && p->dev->fn->timer;
}

static int run_record(LvProgram *p, int i)
{
    const LvRecord *r = &p->rec[i];

    return lv_device_call(p->dev->fn->run, p->dev, r->op, &r->u, &p->call[i]);
}

static int run_records(LvProgram *p, LvRunHook hook, void *opaque)
{
    int ret = has_marks(p) ? p->dev->fn->timer->mark(p->dev, 0) : 0;

    for (int i = 0; i < p->nb_rec && ret >= 0; i++) {
        double start = p->seconds ? lv_seconds() : 0;

        if ((hook && (ret = hook(opaque, &p->rec[i], i, p->nb_rec)) < 0) ||
            (ret = lv_slots_before(p, i)) < 0)
            return ret;
        ret = run_record(p, i);
        ret = ret < 0 ? ret : lv_slots_after(p, i);
        if (has_marks(p))
            ret = ret < 0 ? ret : p->dev->fn->timer->mark(p->dev, i + 1);
        else if (p->seconds)
            p->seconds[i] += lv_seconds() - start;
    }
    return ret;
}

static int is_bound_as(const LvProgram *p, const LvCapture *r)
{
    for (int i = 0; i < p->nb_info; i++)
        if (p->info[i].data != r->bound[i])
            return 0;
    return 1;
}

static void *find_capture(const LvProgram *p)
{
    for (int i = 0; i < p->nb_captures; i++)
        if (is_bound_as(p, &p->capture[i]))
            return p->capture[i].kept;
    return NULL;
}

/* NULL where it can't be done: then records are run one by one, and it is not tried
 * again. */
static void *capture(LvProgram *p)
{
    const LvCaptureFns *fn = p->dev->fn->capture;
    LvCapture *r = &p->capture[p->nb_captures];

    if (!(r->bound = calloc((size_t)p->nb_info + 1, sizeof(*r->bound))))
        return NULL;
    for (int i = 0; i < p->nb_info; i++)
        r->bound[i] = p->info[i].data;
    r->kept = NULL;
    if (fn->begin(p->dev) >= 0)
        r->kept = fn->end(p->dev, run_records(p, NULL, NULL) >= 0);
    p->runs_alone = !r->kept;
    if (r->kept)
        p->nb_captures++;
    else
        free(r->bound);
    return r->kept;
}

/* What is kept of a run with these addresses; made by the second such run. */
static void *captured(LvProgram *p)
{
    void *kept;

    if (!p->dev->fn->capture || !p->has_run || p->seconds || p->runs_alone)
        return NULL;
    kept = find_capture(p);
    return kept || p->nb_captures == LV_CAPTURES ? kept : capture(p);
}

static int replay(LvProgram *p, void *kept, LvRunHook hook, void *opaque)
{
    int ret = 0;

    for (int i = 0; i < p->nb_rec && hook && ret >= 0; i++)
        ret = hook(opaque, &p->rec[i], i, p->nb_rec);
    return ret < 0 ? ret : p->dev->fn->capture->replay(p->dev, kept);
}

int lv_program_run(LvProgram *p, LvRunHook hook, void *opaque)
{
    int ret = check_bound(p);
    void *kept;

    if (ret < 0)
        return ret;
    kept = captured(p);
    ret  = kept ? replay(p, kept, hook, opaque) : run_records(p, hook, opaque);
    if (ret < 0)
        return ret;
    p->has_run = 1;
    if ((ret = lv_device_sync(p->dev)) < 0)
        return ret;
    for (int i = 0; i < p->nb_rec && has_marks(p); i++)
        p->seconds[i] += p->dev->fn->timer->between(p->dev, i, i + 1);
    return 0;
}

void lv_program_time(LvProgram *p, double *seconds)
{
    p->seconds = seconds;
}

int lv_program_count(const LvProgram *p)
{
    return p->nb_rec;
}

const LvRecord *lv_program_record(const LvProgram *p, int i)
{
    assert(i >= 0 && i < p->nb_rec);
    return &p->rec[i];
}

/* Cost */

void lv_program_cost(const LvProgram *p, const LvRates *rates, double times, LvCost *cost)
{
    for (int i = 0; i < p->nb_rec; i++) {
        double flops = lv_op_flops(p->rec[i].op, &p->rec[i].u);
        double bytes = lv_op_bytes(p->rec[i].op, &p->rec[i].u);

        cost->flops   += times * flops;
        cost->bytes   += times * bytes;
        cost->seconds += times * LV_MAX(flops / rates->flops, bytes / rates->bytes);
    }
}

void lv_cost_send(LvCost *cost, double bytes, const LvRates *rates)
{
    cost->sent   += bytes;
    cost->seconds = LV_MAX(cost->seconds, cost->sent / rates->sent);
}
