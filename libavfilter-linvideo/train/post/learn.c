/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/learn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/grad.h"
#include "graph/program.h"
#include "model/weights.h"
#include "train/post/student.h"

/* Tracing */

static void begin(LvLearn *l, const LvNets *n)
{
    *l = (LvLearn) { .batch = n->batch };
    for (int i = 0; i < LV_PORT_NB; i++)
        l->port[i] = LV_NO_TENSOR;
    for (int i = 0; i < LV_RESULT_NB; i++)
        l->result[i] = LV_NO_TENSOR;
}

/* A port, described when it is first asked for. */
static LvTensor port(LvLearn *l, LvGraph *g, const LvNets *n, int which)
{
    const LvDitConfig *c = &n->student->cfg;
    const int *s = n->size, b = n->batch;
    const int latent[] = { b, c->channels, s[0], s[1], s[2] };
    const int rope[]   = { lv_dit_tokens(c, s), c->dim / c->heads / 2, 2 };
    const int text[]   = { b * c->text_len, c->text_dim };
    const int coef[]   = { b * LV_COEFS, s[2] };
    const int tokens[] = { b * rope[0], c->dim };
    const struct { const char *name; int rank; const int *dim; } kind[LV_PORT_NB] = {
        [LV_PORT_X]      = { "states", 5, latent }, [LV_PORT_T] = { "t", 1, &b },
        [LV_PORT_ROPE]   = { "rope", 3, rope },     [LV_PORT_TEXT] = { "text", 2, text },
        [LV_PORT_OTHER]  = { "other text", 2, text },
        [LV_PORT_COEF]   = { "coefficients", 2, coef },
        [LV_PORT_T1]     = { "t1", 1, &b },         [LV_PORT_WEIGHT] = { "weight", 1, &b },
        [LV_PORT_WEIGHT0] = { "weight0", 1, &b },
        [LV_PORT_TARGET] = { "target", 5, latent }, [LV_PORT_NOISE] = { "noise", 5, latent },
        [LV_PORT_ONE]    = { "one", 1, &b },        [LV_PORT_ZERO] = { "zero", 5, latent },
        [LV_PORT_ZERO_TOKENS] = { "zero tokens", 2, tokens },
    };

    if (!lv_has(&l->port[which]))
        l->port[which] = lv_external(g, kind[which].name, LV_F32, kind[which].rank,
                                     kind[which].dim);
    return l->port[which];
}

/* Velocity of a net at states x, times in port t, texts in port text. */
static LvTensor velocity(LvLearn *l, LvGraph *g, const LvNets *n, const LvDit *net,
                         LvTensor x, int t, int text, LvDitWatch *watch)
{
    LvDitInputs in = { .latent = x, .t = port(l, g, n, t),
                       .rope = port(l, g, n, LV_PORT_ROPE) };

    return lv_dit_trace_batch(g, net, port(l, g, n, text), LV_NO_TENSOR, &in, n->dtype, watch);
}

/* Rows of X elements: what coefficients are for. */
static LvTensor lines(LvTensor t)
{
    const int dim[] = { (int)(lv_tensor_numel(&t) / (size_t)t.dim[4]), t.dim[4] };

    return lv_reshape(t, 2, dim);
}

/* r + coefficient x */
static LvTensor blend(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor r, LvTensor x,
                      int coef)
{
    LvTensor y = lv_gate(g, lines(r), lines(x), port(l, g, n, LV_PORT_COEF), coef);

    return lv_reshape(y, 5, r.dim);
}

/* (1 - t) x + t noise */
static LvTensor with_noise(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor x)
{
    x = blend(l, g, n, x, x, LV_COEF_FADE);
    return blend(l, g, n, x, port(l, g, n, LV_PORT_NOISE), LV_COEF_NOISE);
}

static LvTensor result(LvLearn *l, LvGraph *g, int which, LvTensor t, const char *name)
{
    lv_output(g, t, name);
    return l->result[which] = t;
}

/* The gradient that student - teacher makes at the student's velocity, and the numbers
 * to tell. size: what the error is relative to; absent: nothing. */
static LvTensor compare(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor student,
                        LvTensor teacher, LvTensor size, int weight)
{
    LvTensor one = port(l, g, n, LV_PORT_ONE), zero = port(l, g, n, LV_PORT_ZERO), dx;
    LvTensor loss = lv_loss_by(g, student, teacher, port(l, g, n, weight), size,
                               LV_LOSS_MSE, LV_F32, &dx);

    if (lv_has(&l->result[LV_RESULT_LOSS]))
        return dx;
    result(l, g, LV_RESULT_LOSS, loss, "loss");
    result(l, g, LV_RESULT_ERROR, lv_loss(g, student, teacher, one, LV_LOSS_MSE, LV_NONE,
                                          NULL), "error");
    result(l, g, LV_RESULT_POWER, lv_loss(g, teacher, zero, one, LV_LOSS_MSE, LV_NONE,
                                          NULL), "power");
    return dx;
}

/* Mean absolute difference of each sample. */
static LvTensor mean_size(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor a, LvTensor b)
{
    return lv_loss(g, a, b, port(l, g, n, LV_PORT_ONE), LV_LOSS_ABS, LV_NONE, NULL);
}

static LvTensor size_of(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor teacher,
                        int relative)
{
    return relative ? mean_size(l, g, n, teacher, port(l, g, n, LV_PORT_ZERO))
                    : LV_NO_TENSOR;
}

/* Making */

/* Whether a parameter is a map of a layer that is mixed. */
static int is_mixed_map(const LvNets *n, const LvParam *p)
{
    int layer;

    return p->flags & LV_W_MAP && sscanf(p->name, "dit.blocks.%d.", &layer) == 1 &&
           n->student->cfg.attention[layer] == LV_ATTN_MIXED;
}

/* The gradient begins at velocities of n->student and goes to nothing else, so that the
 * ids of weights, which each network counts from the first, may be the same in another.
 * maps: 1: only maps of mixed layers learn. */
static int back(LvGraph *g, const LvNets *n, const LvGradSeed *seed, int nb, int maps)
{
    LvGradTarget *target = calloc((size_t)n->params->nb + 1, sizeof(*target));
    int used = 0, ret;

    if (!target)
        return lv_fail(n->msg, LV_ERR(ENOMEM), "training: out of memory");
    lv_params_targets(n->params, target);
    for (int i = 0; i < n->params->nb; i++)
        if (maps ? is_mixed_map(n, &n->params->list[i])
                 : lv_student_learns(&n->params->list[i], n->only))
            target[used++] = target[i];
    ret = lv_grad(g, seed, nb, target, used);
    free(target);
    return ret;
}

/* When the program has such a port. */
static int put(const LvLearn *l, int which, const void *data)
{
    return lv_has(&l->port[which]) ? lv_task_put(&l->task, &l->port[which], data) : 0;
}

static int put_fixed(const LvLearn *l, const LvNets *n)
{
    size_t bytes = 0;
    float *data;
    int ret;

    for (int i = 0; i < LV_PORT_NB; i++)
        bytes = LV_MAX(bytes, lv_tensor_bytes(&l->port[i]));
    if (!(data = lv_alloc(bytes)))
        return lv_fail(n->msg, LV_ERR(ENOMEM), "training: out of memory");
    for (int i = 0; i < n->batch; i++)
        data[i] = 1;
    ret = put(l, LV_PORT_ONE, data);
    lv_dit_rope(data, &n->student->cfg, n->size);
    if (ret >= 0)
        ret = put(l, LV_PORT_ROPE, data);
    lv_free(data);
    return ret;
}

/* Plan what was traced; states lie at x when that is given. more: further results. */
static int finish(LvLearn *l, LvGraph *g, const LvNets *n, void *x, LvTensor *more,
                  int nb_more)
{
    LvTensor *list[LV_PORT_NB + LV_RESULT_NB + 2 * LV_MAX_LAYERS];
    int nb = 0, ret;

    for (int i = 0; i < LV_PORT_NB; i++)
        if (lv_has(&l->port[i]) && !(i == LV_PORT_X && x))
            list[nb++] = &l->port[i];
    for (int i = 0; i < LV_RESULT_NB; i++)
        if (lv_has(&l->result[i]))
            list[nb++] = &l->result[i];
    for (int i = 0; i < nb_more; i++)
        list[nb++] = &more[i];
    if ((ret = lv_task_new(&l->task, &g, list, nb, n->dev, n->msg)) < 0)
        return ret;
    if (x) {
        l->port[LV_PORT_X].data = x;
        lv_program_bind(l->task.prog, l->port[LV_PORT_X], x);
    }
    return put_fixed(l, n);
}

/* Begin anew. @param train whether a gradient is wanted @return NULL after a message */
static LvGraph *new_graph(LvLearn *l, const LvNets *n, int train)
{
    LvGraph *g = lv_graph_new(n->msg);

    begin(l, n);
    if (!g)
        return lv_msg(n->msg, LV_MSG_ERROR, "training: out of memory"), NULL;
    if (train)
        lv_graph_train(g, n->checkpoint);
    lv_graph_batch(g, n->batch);
    return g;
}

int lv_learn_move(LvLearn *l, const LvNets *n, int parts, void *memory)
{
    LvGraph *g = new_graph(l, n, 0);
    LvTensor x, y, coef, last;
    int row = LV_COEF_STEP;

    if (!g)
        return LV_ERR(ENOMEM);
    x    = port(l, g, n, LV_PORT_X);
    coef = port(l, g, n, LV_PORT_COEF);
    last = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    y    = x;
    if (parts & LV_MOVE_OTHER) {
        y    = blend(l, g, n, y, last, row);
        last = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_OTHER, NULL);
        row  = LV_COEF_OTHER;
    }
    if (parts & LV_MOVE_NOISE) {
        y    = blend(l, g, n, y, last, row);
        y    = blend(l, g, n, y, y, LV_COEF_FADE);
        last = port(l, g, n, LV_PORT_NOISE);
        row  = LV_COEF_NOISE;
    }
    lv_gate_to(g, lines(y), lines(last), coef, row, lines(x));
    return finish(l, g, n, memory, NULL, 0);
}

/* Of both branches: other + guidance (this - other). */
static LvTensor guide(LvLearn *l, LvGraph *g, const LvNets *n, LvTensor this,
                      LvTensor other)
{
    return blend(l, g, n, blend(l, g, n, other, this, LV_COEF_GUIDE), other,
                 LV_COEF_UNGUIDE);
}

static LvTensor guided_velocity(LvLearn *l, LvGraph *g, const LvNets *n, const LvDit *net,
                                LvTensor x, int t)
{
    return guide(l, g, n, velocity(l, g, n, net, x, t, LV_PORT_TEXT, NULL),
                 velocity(l, g, n, net, x, t, LV_PORT_OTHER, NULL));
}

/* The same of guided velocities, whose error goes to both branches. */
static int trace_joint(LvLearn *l, LvGraph *g, const LvNets *n, int relative)
{
    LvTensor x = port(l, g, n, LV_PORT_X), zero = port(l, g, n, LV_PORT_ZERO), a, o, b, dx;

    a  = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    o  = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_OTHER, NULL);
    b  = guided_velocity(l, g, n, n->teacher, x, LV_PORT_T);
    dx = compare(l, g, n, guide(l, g, n, a, o), b, size_of(l, g, n, b, relative),
                 LV_PORT_WEIGHT);
    return back(g, n, (LvGradSeed[]) { { a, blend(l, g, n, zero, dx, LV_COEF_GUIDE) },
                                       { o, blend(l, g, n, dx, dx, LV_COEF_UNGUIDE) } },
                2, 0);
}

/* Student and teacher at the same states. */
static int trace_here(LvLearn *l, LvGraph *g, const LvNets *n, int objective, int relative)
{
    LvTensor x = port(l, g, n, LV_PORT_X), a, b, dx;

    a  = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    b  = objective == LV_LEARN_MSE ? port(l, g, n, LV_PORT_TARGET) :
         velocity(l, g, n, n->teacher, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    dx = compare(l, g, n, a, b, size_of(l, g, n, b, relative), LV_PORT_WEIGHT);
    return back(g, n, &(LvGradSeed) { a, dx }, 1, 0);
}

/* What is wrong behind a step moves the velocity that made it; `anchored` also what
 * is wrong there. The gradient goes through neither the states behind the step nor what
 * is seen at them: no seed stands on those. */
static int trace_step(LvLearn *l, LvGraph *g, const LvNets *n, int anchored, int relative,
                      int guided)
{
    LvTensor x = port(l, g, n, LV_PORT_X), u, y, a, b;
    LvGradSeed seed[2];

    u = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    y = blend(l, g, n, x, u, LV_COEF_STEP);
    if (guided)
        y = blend(l, g, n, y, velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_OTHER,
                                       NULL), LV_COEF_OTHER);
    result(l, g, LV_RESULT_MOVED, y, "moved");
    a = velocity(l, g, n, n->student, y, LV_PORT_T1, LV_PORT_TEXT, NULL);
    b = velocity(l, g, n, n->teacher, y, LV_PORT_T1, LV_PORT_TEXT, NULL);
    seed[0] = (LvGradSeed) { u, compare(l, g, n, a, b, size_of(l, g, n, b, relative),
                                        LV_PORT_WEIGHT) };
    if (!anchored)
        return back(g, n, seed, 1, 0);
    b = velocity(l, g, n, n->teacher, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    seed[1] = (LvGradSeed) { u, compare(l, g, n, u, b, size_of(l, g, n, b, relative),
                                        LV_PORT_WEIGHT0) };
    return back(g, n, seed, 2, 0);
}

/* The student update of DMD2: clips of one step, noise put in, what the critic takes for
 * their velocity against the teacher's guided one. */
static int trace_dmd(LvLearn *l, LvGraph *g, const LvNets *n)
{
    LvTensor x = port(l, g, n, LV_PORT_X), u, x0, z, f, c, y, size;

    u  = velocity(l, g, n, n->student, x, LV_PORT_T, LV_PORT_TEXT, NULL);
    x0 = blend(l, g, n, x, u, LV_COEF_STEP);
    z  = with_noise(l, g, n, x0);
    f  = velocity(l, g, n, n->critic, z, LV_PORT_T1, LV_PORT_TEXT, NULL);
    c  = guided_velocity(l, g, n, n->teacher, z, LV_PORT_T1);
    y  = blend(l, g, n, z, c, LV_COEF_FADE);
    size = mean_size(l, g, n, x0, y);
    return back(g, n, &(LvGradSeed) { u, compare(l, g, n, f, c, size, LV_PORT_WEIGHT) }, 1,
                0);
}

/* What a program with a gradient is to be. */
typedef struct Wanted {
    int objective, relative, guided;
    void *x;
    LvTensor *errors, *sizes; /* of maps */
} Wanted;

typedef int (*Make)(LvLearn *l, const LvNets *n, const Wanted *w);

/* Make a program; with activation checkpointing where it does not fit without. */
static int make_in_room(LvLearn *l, LvNets *n, Make make, const Wanted *w)
{
    const LvMsg *told = n->dev->msg;
    LvNets quiet = *n;
    int ret;

    if (n->checkpoint)
        return make(l, n, w);
    quiet.msg   = NULL;
    n->dev->msg = NULL;
    ret         = make(l, &quiet, w);
    n->dev->msg = told;
    if (ret >= 0)
        return ret;
    lv_learn_free(l);
    n->checkpoint = ret == LV_ERR(ENOMEM);
    if (n->checkpoint)
        lv_msg(n->msg, LV_MSG_INFO, "training: a step does not fit %s with all activations kept: "
               "activation checkpointing is used (--checkpoint)", n->dev->about);
    return make(l, n, w);
}

static int make_learn(LvLearn *l, const LvNets *n, const Wanted *w)
{
    LvGraph *g = new_graph(l, n, 1);
    int ret;

    if (!g)
        return LV_ERR(ENOMEM);
    switch (w->objective) {
    case LV_LEARN_ANCHORED:
    case LV_LEARN_STEP:
        ret = trace_step(l, g, n, w->objective == LV_LEARN_ANCHORED, w->relative,
                         w->guided & LV_GUIDED_STEPS);
        break;
    case LV_LEARN_DMD:
        ret = trace_dmd(l, g, n);
        break;
    default:
        ret = w->guided & LV_GUIDED_ERRORS ? trace_joint(l, g, n, w->relative) :
              trace_here(l, g, n, w->objective, w->relative);
    }
    if (ret < 0)
        lv_graph_free(&g);
    return ret < 0 ? ret : finish(l, g, n, w->x, NULL, 0);
}

int lv_learn_new(LvLearn *l, LvNets *n, int objective, int relative, int guided, void *x)
{
    const Wanted w = { .objective = objective, .relative = relative, .guided = guided, .x = x };

    return make_in_room(l, n, make_learn, &w);
}

static int make_critic(LvLearn *l, const LvNets *n, const Wanted *w)
{
    LvGraph *g = new_graph(l, n, 1);
    LvTensor x0, noise, z, u, v, dx;
    int ret;

    if (!g)
        return LV_ERR(ENOMEM);
    x0    = port(l, g, n, LV_PORT_X);
    noise = port(l, g, n, LV_PORT_NOISE);
    z     = with_noise(l, g, n, x0);
    v     = blend(l, g, n, noise, x0, LV_COEF_OTHER); /* noise - x0 */
    u     = velocity(l, g, n, n->student, z, LV_PORT_T, LV_PORT_TEXT, NULL);
    dx    = compare(l, g, n, u, v, LV_NO_TENSOR, LV_PORT_WEIGHT);
    if ((ret = back(g, n, &(LvGradSeed) { u, dx }, 1, 0)) < 0) {
        lv_graph_free(&g);
        return ret;
    }
    return finish(l, g, n, w->x, NULL, 0);
}

int lv_learn_critic(LvLearn *l, LvNets *n, void *x)
{
    return make_in_room(l, n, make_critic, &(Wanted) { .x = x });
}

static int make_maps(LvLearn *l, const LvNets *n, const Wanted *w)
{
    const int layers = n->student->cfg.layers;
    LvDitWatch watch[LV_MAX_LAYERS];
    LvGradSeed seed[LV_MAX_LAYERS];
    LvTensor more[2 * LV_MAX_LAYERS], one, zero;
    LvGraph *g = new_graph(l, n, 1);
    int nb = 0, ret;

    if (!g)
        return LV_ERR(ENOMEM);
    velocity(l, g, n, n->student, port(l, g, n, LV_PORT_X), LV_PORT_T, LV_PORT_TEXT, watch);
    one  = port(l, g, n, LV_PORT_ONE);
    zero = port(l, g, n, LV_PORT_ZERO_TOKENS);
    for (int i = 0; i < layers; i++) {
        LvTensor s = watch[i].softmax, *out = &more[2 * nb];
        if (n->student->cfg.attention[i] != LV_ATTN_MIXED)
            continue;
        seed[nb].y = watch[i].linear;
        out[0]     = lv_loss(g, watch[i].linear, s, one, LV_LOSS_MSE, (LvDtype)s.dtype,
                             &seed[nb].dy);
        out[1]     = lv_loss(g, s, zero, one, LV_LOSS_MSE, LV_NONE, NULL);
        lv_output(g, out[0], "error");
        lv_output(g, out[1], "size");
        nb++;
    }
    if ((ret = back(g, n, seed, nb, 1)) < 0) {
        lv_graph_free(&g);
        return ret;
    }
    ret = finish(l, g, n, NULL, more, 2 * nb);
    for (int i = 0, k = 0; i < layers; i++) {
        int mixed = n->student->cfg.attention[i] == LV_ATTN_MIXED;
        w->errors[i] = mixed ? more[2 * k] : LV_NO_TENSOR;
        w->sizes[i]  = mixed ? more[2 * k + 1] : LV_NO_TENSOR;
        k += mixed;
    }
    return ret;
}

int lv_learn_maps(LvLearn *l, LvNets *n, LvTensor *errors, LvTensor *sizes)
{
    return make_in_room(l, n, make_maps, &(Wanted) { .errors = errors, .sizes = sizes });
}

void lv_learn_free(LvLearn *l)
{
    lv_task_free(&l->task);
}

int lv_learn_run(const LvLearn *l, float *const which[LV_PORT_NB], int but)
{
    int ret = 0;

    for (int i = 0; i < LV_PORT_NB && ret >= 0; i++)
        if (which[i] && i != but)
            ret = put(l, i, which[i]);
    return ret < 0 ? ret : lv_task_run(&l->task);
}

int lv_learn_get(const LvLearn *l, int which, float *data)
{
    return lv_task_get(&l->task, &l->result[which], data);
}

int lv_learn_states(const LvLearn *l, float *x)
{
    return lv_task_get(&l->task, &l->port[LV_PORT_X], x);
}
