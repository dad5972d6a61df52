/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of floor F3: tracing, planning, running and printing, on a small network that
 * has most ops in it.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/form.h"
#include "base/common.h"
#include "base/half.h"
#include "graph/dump.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "graph/program.h"
#include "graph/slots.h"

#define MAX_TENSORS 512
#define NONE LV_NO_TENSOR

/* Messages */

static char last_line[2048];
static int lines;

static void keep_line(void *opaque, int level, const char *line)
{
    (void)opaque;
    lines += level == LV_MSG_ERROR;
    snprintf(last_line, sizeof(last_line), "%s", line);
}

static const LvMsg keep = { keep_line, NULL, LV_MSG_WARNING };

/* Whether the last message names this file and line. */
static int names_line(int line)
{
    char place[64];

    snprintf(place, sizeof(place), "check_graph.c:%d", line);
    return strstr(last_line, place) != NULL;
}

/* Tensors */

#define DIMS(...) ((const int[LV_MAX_RANK]) { __VA_ARGS__ })

static LvTensor input(LvGraph *g, const char *name, LvDtype dtype, int rows, int cols)
{
    return lv_external(g, name, dtype, 2, DIMS(rows, cols));
}

/* A stream of numbers in -1 to 1. */
static float draw(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) * 0x1p-23f - 1;
}

static void fill(void *data, const LvTensor *t, uint32_t seed, float scale)
{
    for (size_t i = 0; i < lv_tensor_numel(t); i++) {
        float x = scale * draw(&seed);
        if (t->dtype == LV_F32)
            ((float *)data)[i] = x;
        else
            ((uint16_t *)data)[i] = lv_f32_bf16(x);
    }
}

/* Weights of a test: made on demand, freed together. */
typedef struct Weights {
    LvWeight *w[MAX_TENSORS];
    int nb;
} Weights;

static LvTensor weight(Weights *w, LvDtype dtype, int rank, const int *dim)
{
    LvTensor t = { .id = LV_ID_WEIGHT - w->nb, .dtype = (uint8_t)dtype,
                   .rank = (uint8_t)rank, .w = calloc(1, sizeof(*t.w)) };

    ck_assert_int_lt(w->nb, MAX_TENSORS);
    for (int i = 0; i < LV_MAX_RANK; i++)
        t.dim[i] = i < rank ? dim[i] : 1;
    t.data = lv_alloc(lv_tensor_bytes(&t));
    fill(t.data, &t, (uint32_t)w->nb + 7, rank > 1 ? 0.15f : 0.5f);
    t.w->data     = t.data;
    w->w[w->nb++] = t.w;
    return t;
}

static void free_weights(Weights *w)
{
    for (int i = 0; i < w->nb; i++) {
        lv_forms_evict(w->w[i]);
        lv_free(w->w[i]->data);
        free(w->w[i]);
    }
    w->nb = 0;
}

/* The network: blocks of a transformer, as the builders are meant to be used */

typedef struct Net {
    LvGraph *g;
    Weights w;
    LvTensor x, text, mod, rope, ratio; ///< inputs
    LvTensor y;                         ///< output
    int tokens, dim, heads, ffn;
} Net;

/* Type of products: bf16 where the CPU has it. */
static LvDtype half(void)
{
    static LvDtype type;
    LvDevice *dev;

    if (!type && lv_device_open(&dev, "cpu", NULL, NULL) >= 0) {
        type = dev->bf16 ? LV_BF16 : LV_F32;
        lv_device_close(&dev);
    }
    return type;
}

static LvTensor product(Net *n, LvTensor x, int out, int act, LvDtype dtype)
{
    LvTensor w = weight(&n->w, half(), 2, DIMS(out, x.dim[1]));
    LvTensor b = weight(&n->w, LV_F32, 1, DIMS(out));

    return lv_linear(n->g, x, w, b, act, dtype);
}

static LvTensor normed(Net *n, LvTensor x, int shift)
{
    return lv_norm(n->g, x, NONE, NONE, n->mod, LV_NORM_LAYER, shift, shift + 1, 1e-6f,
                   half());
}

static LvTensor rotated(Net *n, LvTensor x, LvTensor rope)
{
    LvTensor w = weight(&n->w, LV_F32, 1, DIMS(n->dim));

    return lv_qknorm(n->g, product(n, x, n->dim, LV_ACT_NONE, half()), w, rope, n->heads,
                     1e-6f, half());
}

/* Both kinds of attention, mixed. */
static LvTensor self_attention(Net *n, LvTensor x)
{
    int d = n->dim / n->heads;
    LvTensor q = rotated(n, x, n->rope), k = rotated(n, x, n->rope);
    LvTensor v = product(n, x, n->dim, LV_ACT_NONE, half());
    LvTensor wq = weight(&n->w, half(), 3, DIMS(n->heads, d, d));
    LvTensor wk = weight(&n->w, half(), 3, DIMS(n->heads, d, d));
    LvTensor a = lv_attn(n->g, q, k, v, NONE, NONE, n->heads, 0, 1 / sqrtf((float)d));
    LvTensor b = lv_linattn(n->g, q, k, v, wq, wk, n->heads, LV_MAP_HEDGEHOG, 1e-6f);

    return product(n, lv_mix(n->g, a, b, n->ratio), n->dim, LV_ACT_NONE, half());
}

static LvTensor cross_attention(Net *n, LvTensor x)
{
    LvTensor w = weight(&n->w, LV_F32, 1, DIMS(n->dim));
    LvTensor b = weight(&n->w, LV_F32, 1, DIMS(n->dim));
    LvTensor y = lv_norm(n->g, x, w, b, NONE, LV_NORM_LAYER, 0, 0, 1e-6f, half());
    LvTensor q = rotated(n, y, NONE), k = rotated(n, n->text, NONE);
    LvTensor v = product(n, n->text, n->dim, LV_ACT_NONE, half());

    y = lv_attn(n->g, q, k, v, NONE, NONE, n->heads, 0,
                1 / sqrtf((float)n->dim / (float)n->heads));
    return product(n, y, n->dim, LV_ACT_NONE, half());
}

static LvTensor block(Net *n, LvTensor x)
{
    LvTensor y;

    x = lv_gate(n->g, x, self_attention(n, normed(n, x, 0)), n->mod, 2);
    x = lv_gate(n->g, x, cross_attention(n, x), NONE, 0);
    y = product(n, normed(n, x, 3), n->ffn, LV_ACT_GELU, LV_NONE);
    y = product(n, y, n->dim, LV_ACT_NONE, LV_NONE);
    return lv_gate(n->g, x, y, n->mod, 5);
}

static Net new_net(int tokens, int dim, int heads, int ffn, int blocks)
{
    Net n = { .g = lv_graph_new(&keep), .tokens = tokens, .dim = dim, .heads = heads,
              .ffn = ffn };

    n.x     = input(n.g, "x", LV_F32, tokens, dim);
    n.text  = input(n.g, "text", half(), 19, dim);
    n.mod   = input(n.g, "mod", LV_F32, 6, dim);
    n.rope  = lv_external(n.g, "rope", LV_F32, 3, DIMS(tokens, dim / heads / 2, 2));
    n.ratio = lv_external(n.g, "ratio", LV_F32, 1, DIMS(1));
    n.y     = n.x;
    for (int i = 0; i < blocks; i++) {
        lv_graph_layer(n.g, i + 1);
        n.y = block(&n, n.y);
    }
    lv_output(n.g, n.y, "y");
    ck_assert_msg(lv_graph_error(n.g) == 0, "%s", last_line);
    return n;
}

static Net small_net(void)
{
    return new_net(37, 96, 2, 200, 2);
}

static void free_net(Net *n)
{
    lv_graph_free(&n->g);
    ck_assert_ptr_null(n->g);
    free_weights(&n->w);
}

static LvDevice *open_device(const char *name)
{
    LvDeviceOptions opt = { .threads = 2 };
    LvDevice *dev;

    ck_assert_msg(lv_device_open(&dev, name, &opt, &keep) == 0, "%s", last_line);
    return dev;
}

static LvProgram *new_program(const LvGraph *g, LvDevice *dev)
{
    LvProgram *p;
    int ret = lv_program_new(&p, g, dev);

    ck_assert_msg(ret == 0, "program: %d, %s", ret, last_line);
    return p;
}

/* Memory for each tensor of its own, found by id; the network's inputs filled. */
typedef struct Memory {
    void *data[MAX_TENSORS];
} Memory;

static void *memory_of(Memory *m, const LvTensor *t)
{
    ck_assert(t->id >= 0 && t->id < MAX_TENSORS);
    if (!m->data[t->id]) {
        m->data[t->id] = lv_alloc(lv_tensor_bytes(t));
        memset(m->data[t->id], 0xFF, lv_tensor_bytes(t));
    }
    return m->data[t->id];
}

static void fill_inputs(Memory *m, const Net *n, uint32_t seed)
{
    const LvTensor in[] = { n->x, n->text, n->mod, n->rope, n->ratio };

    for (int i = 0; i < LV_COUNT(in); i++)
        fill(memory_of(m, &in[i]), &in[i], seed + (uint32_t)i, 1);
}

static void free_memory(Memory *m)
{
    for (int i = 0; i < MAX_TENSORS; i++)
        lv_freep(&m->data[i]);
}

static void bind_net(LvProgram *p, const Net *n, Memory *m)
{
    const LvTensor ext[] = { n->x, n->text, n->mod, n->rope, n->ratio, n->y };

    for (int i = 0; i < LV_COUNT(ext); i++)
        lv_program_bind(p, ext[i], memory_of(m, &ext[i]));
}

static void *new_arena(const LvProgram *p)
{
    size_t bytes = LV_MAX(lv_program_sizes(p).arena, 1);
    void *arena = lv_alloc(bytes);

    memset(arena, 0xFF, bytes);
    return arena;
}

static int is_output_bits(Memory *a, Memory *b, LvTensor t)
{
    return !memcmp(memory_of(a, &t), memory_of(b, &t), lv_tensor_bytes(&t));
}

static int all_finite(Memory *m, LvTensor t)
{
    const float *y = memory_of(m, &t);

    for (size_t i = 0; i < lv_tensor_numel(&t); i++)
        if (!isfinite(y[i]))
            return 0;
    return 1;
}

/* Tracing */

START_TEST(records)
{
    LvGraph *g = lv_graph_new(&keep);
    LvTensor a = input(g, "a", LV_BF16, 5, 8), y, z;
    const LvRecord *r;
    int line;

    lv_graph_layer(g, 3);
    y = lv_act(g, a, LV_ACT_SILU, LV_F32); line = __LINE__;
    lv_graph_layer(g, 0);
    z = lv_add(g, y, y);
    ck_assert_int_eq(lv_graph_count(g), 2);
    r = lv_graph_record(g, 0);
    ck_assert_int_eq(r->op, LV_OP_ACT);
    ck_assert_int_eq(r->layer, 3);
    ck_assert_int_eq(r->line, line);
    ck_assert_ptr_nonnull(strstr(r->file, "check_graph.c"));
    ck_assert_int_eq(r->u.act.x.id, a.id);
    ck_assert_int_eq(r->u.act.y.id, y.id);
    ck_assert_int_eq(y.dtype, LV_F32);
    ck_assert_int_eq(lv_graph_record(g, 1)->layer, 0);
    ck_assert(z.id != y.id && z.id != a.id && y.id != a.id);
    ck_assert_int_eq(lv_graph_error(g), 0);
    lv_graph_free(&g);
    lv_graph_free(&g);
}
END_TEST

/* dtype LV_NONE, and builders without dtype, give the type of the first input. */
START_TEST(types_of_results)
{
    LvGraph *g = lv_graph_new(&keep);
    LvTensor f = input(g, "f", LV_F32, 4, 6), b = input(g, "b", LV_BF16, 4, 6);

    ck_assert_int_eq(lv_add(g, f, b).dtype, LV_F32);
    ck_assert_int_eq(lv_add(g, b, f).dtype, LV_BF16);
    ck_assert_int_eq(lv_gate(g, f, b, NONE, 0).dtype, LV_F32);
    ck_assert_int_eq(lv_glu(g, b, f).dtype, LV_BF16);
    ck_assert_int_eq(lv_act(g, b, LV_ACT_RELU, LV_NONE).dtype, LV_BF16);
    ck_assert_int_eq(lv_act(g, b, LV_ACT_RELU, LV_F32).dtype, LV_F32);
    ck_assert_int_eq(lv_graph_error(g), 0);
    lv_graph_free(&g);
}
END_TEST

/* The first wrong shape is reported once, with its line, and all else is quiet. */
START_TEST(errors_stick)
{
    LvGraph *g = lv_graph_new(&keep);
    LvTensor a = input(g, "a", LV_F32, 5, 8), b = input(g, "b", LV_F32, 7, 9), y;
    LvDevice *dev = open_device("null");
    LvProgram *p = (LvProgram *)&keep;
    int line;

    y = lv_add(g, a, a);
    ck_assert(lv_has(&y));
    y = lv_glu(g, y, b); line = __LINE__;
    ck_assert_int_eq(lv_graph_error(g), LV_ERR(EINVAL));
    ck_assert_int_eq(lines, 1);
    ck_assert_msg(names_line(line), "no line in '%s'", last_line);
    ck_assert_ptr_nonnull(strstr(last_line, "glu"));
    ck_assert_ptr_nonnull(strstr(last_line, "[5,8]"));
    ck_assert_ptr_nonnull(strstr(last_line, "[7,9]"));
    y = lv_glu(g, a, b);
    ck_assert(!lv_has(&y));
    y = lv_norm(g, y, NONE, NONE, NONE, LV_NORM_RMS, 0, 0, 1e-6f, LV_NONE);
    ck_assert(!lv_has(&y));
    y = lv_add(g, a, a);
    ck_assert(!lv_has(&y));
    y = input(g, "late", LV_F32, 2, 2);
    ck_assert(!lv_has(&y));
    lv_output(g, y, "y");
    ck_assert_int_eq(lv_graph_count(g), 1);
    ck_assert_int_eq(lv_program_new(&p, g, dev), LV_ERR(EINVAL));
    ck_assert_ptr_null(p);
    ck_assert_int_eq(lines, 1);
    lv_graph_free(&g);
    lv_device_close(&dev);
}
END_TEST

/* What a builder returns when it is the one that fails. */
START_TEST(failing_builder)
{
    LvGraph *g = lv_graph_new(NULL);
    LvTensor a = input(g, "a", LV_F32, 5, 8), b = input(g, "b", LV_F32, 7, 9);
    LvTensor y = lv_glu(g, a, b), z = lv_act(g, y, LV_ACT_RELU, LV_NONE);

    ck_assert_int_lt(lv_graph_error(g), 0);
    ck_assert_int_eq(lv_graph_count(g), 0);
    ck_assert(!lv_has(&z));
    lv_graph_free(&g);
}
END_TEST

typedef LvTensor (*Wrong)(LvGraph *g, LvTensor m, LvTensor v);

static LvTensor wrong_linear(LvGraph *g, LvTensor m, LvTensor v)
{
    LvTensor w = { .id = LV_ID_WEIGHT, .dtype = LV_F32, .rank = 2,
                   .dim = { 5, 9, 1, 1, 1 } };
    (void)v;
    return lv_linear(g, m, w, NONE, LV_ACT_NONE, LV_NONE);
}

static LvTensor wrong_norm(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_norm(g, m, NONE, NONE, m, LV_NORM_LAYER, 0, 6, 1e-6f, LV_NONE);
}

static LvTensor wrong_gate(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_gate(g, m, v, NONE, 0);
}

static LvTensor wrong_qknorm(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_qknorm(g, m, v, NONE, 3, 1e-6f, LV_NONE);
}

static LvTensor wrong_attn(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_attn(g, m, m, m, NONE, NONE, 0, 0, 1);
}

static LvTensor wrong_linattn(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_linattn(g, m, m, m, v, v, 2, LV_MAP_RELU, 0);
}

static LvTensor wrong_mix(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_mix(g, m, m, v);
}

static LvTensor wrong_add(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_add(g, v, m);
}

static LvTensor wrong_act(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_act(g, m, LV_ACT_NB, LV_NONE);
}

static LvTensor wrong_embed(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_embed(g, v, m, LV_NONE);
}

static LvTensor wrong_sinusoid(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_sinusoid(g, m, 16);
}

static LvTensor wrong_patchify(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_patchify(g, m, DIMS(0, 0, 0), LV_NONE);
}

static LvTensor wrong_unpatchify(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_unpatchify(g, m, DIMS(1, 2, 2), v);
}

static LvTensor wrong_conv(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_conv(g, m, m, NONE, NONE, 0, 0, LV_ACT_NONE, LV_NONE);
}

static LvTensor wrong_recall(LvGraph *g, LvTensor m, LvTensor v)
{
    return lv_recall(g, m, v);
}

static LvTensor wrong_upsample(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_upsample(g, m);
}

static LvTensor wrong_unstack(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_unstack(g, m, 0);
}

static LvTensor wrong_stack(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_stack(g, m, 0);
}

static LvTensor wrong_shuffle(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_shuffle(g, m, 0, 0, LV_NONE);
}

static LvTensor wrong_unshuffle(LvGraph *g, LvTensor m, LvTensor v)
{
    (void)v;
    return lv_unshuffle(g, m, 0, 0, LV_NONE);
}

static const struct {
    const char *name;
    Wrong build;
} wrongs[] = {
    { "linear", wrong_linear }, { "norm", wrong_norm }, { "gate", wrong_gate },
    { "qknorm", wrong_qknorm }, { "attn", wrong_attn }, { "linattn", wrong_linattn },
    { "mix", wrong_mix }, { "add", wrong_add }, { "act", wrong_act },
    { "embed", wrong_embed }, { "sinusoid", wrong_sinusoid },
    { "patchify", wrong_patchify }, { "unpatchify", wrong_unpatchify },
    { "conv", wrong_conv }, { "recall", wrong_recall }, { "upsample", wrong_upsample },
    { "unstack", wrong_unstack }, { "stack", wrong_stack }, { "shuffle", wrong_shuffle },
    { "unshuffle", wrong_unshuffle },
};

/* Every builder refuses nonsense with a message, and survives absent inputs. */
START_TEST(wrong_shapes)
{
    for (int i = 0; i < 2; i++) {
        LvGraph *g = lv_graph_new(&keep);
        LvTensor m = input(g, "m", LV_F32, 5, 8);
        LvTensor v = lv_external(g, "v", LV_F32, 1, DIMS(8));
        LvTensor none = NONE;

        lines = 0;
        if (i)
            wrongs[_i].build(g, none, none);
        else
            wrongs[_i].build(g, m, v);
        ck_assert_msg(lv_graph_error(g) == LV_ERR(EINVAL), "%s is let pass", wrongs[_i].name);
        ck_assert_int_eq(lines, 1);
        ck_assert_msg(strstr(last_line, wrongs[_i].name), "no name in '%s'", last_line);
        ck_assert_int_eq(lv_graph_count(g), 0);
        lv_graph_free(&g);
    }
}
END_TEST

/* Planning */

typedef struct Place {
    LvTensor t;
    size_t offset, bytes;
    int first, last;   ///< as the program says
    int made, used;    ///< as the records say
} Place;

/* All temporaries of the program, from its records. */
static int find_places(const LvProgram *p, Place *place)
{
    int at[MAX_TENSORS], nb = 0;

    memset(at, -1, sizeof(at));
    for (int r = 0; r < lv_program_count(p); r++) {
        const LvRecord *rec = lv_program_record(p, r);
        const LvOpInfo *op  = lv_op_info(rec->op);
        for (int k = 0; k < op->in + op->out; k++) {
            const LvTensor *t = &rec->u.t[k];
            Place q = { .t = *t, .bytes = lv_tensor_bytes(t), .made = r };
            if (t->id < 0 || lv_plan_find(p, *t, &q.offset, &q.first, &q.last) < 0)
                continue;
            ck_assert_int_lt(t->id, MAX_TENSORS);
            if (at[t->id] < 0) {
                ck_assert_msg(k >= op->in, "a temporary is read before it is made");
                at[t->id] = nb;
                place[nb++] = q;
            }
            place[at[t->id]].used = LV_MAX(place[at[t->id]].used, r);
        }
    }
    return nb;
}

static void check_overlap(const Place *a, const Place *b)
{
    int in_time  = a->first <= b->last && b->first <= a->last;
    int in_space = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;

    ck_assert_msg(!in_time || !in_space, "tensors %d (%zu+%zu, %d-%d) and %d (%zu+%zu, "
                  "%d-%d) overlap", a->t.id, a->offset, a->bytes, a->first, a->last,
                  b->t.id, b->offset, b->bytes, b->first, b->last);
}

/* Most bytes alive at one record. */
static size_t most_alive(const Place *p, int nb, int records, size_t align)
{
    size_t top = 0;

    for (int r = 0; r < records; r++) {
        size_t sum = 0;
        for (int i = 0; i < nb; i++)
            if (p[i].made <= r && r <= p[i].used)
                sum += LV_ROUND_UP(p[i].bytes, align);
        top = LV_MAX(top, sum);
    }
    return top;
}

/* Check a plan; returns its temporaries. */
static int check_plan(const LvProgram *p)
{
    static Place place[MAX_TENSORS];
    LvSizes s = lv_program_sizes(p);
    int nb = find_places(p, place), records = lv_program_count(p);

    for (int i = 0; i < nb; i++) {
        ck_assert_int_eq(place[i].first, place[i].made);
        ck_assert_int_eq(place[i].last, place[i].used);
        ck_assert_uint_eq(place[i].offset % LV_ALIGN, 0);
        ck_assert_uint_le(place[i].offset + place[i].bytes, s.arena);
        for (int j = 0; j < i; j++)
            check_overlap(&place[i], &place[j]);
    }
    ck_assert_uint_ge(s.lower, most_alive(place, nb, records, 1));
    ck_assert_uint_le(s.lower, most_alive(place, nb, records, LV_ALIGN));
    ck_assert_uint_ge(s.arena, s.lower);
    return nb;
}

static const int shapes[][5] = {
    { 37, 96, 2, 200, 2 }, { 1, 96, 2, 200, 1 }, { 80, 192, 4, 768, 4 },
    { 1280, 1536, 12, 8960, 2 }, { 640, 192, 4, 768, 12 },
};

/* The null device wants no scratch, so that the arena is the placement alone. */
START_TEST(plan)
{
    const int *n = shapes[_i];
    Net net = new_net(n[0], n[1], n[2], n[3], n[4]);
    LvDevice *dev = open_device("null");
    LvProgram *p = new_program(net.g, dev);
    LvSizes s = lv_program_sizes(p);
    int nb = check_plan(p);

    ck_assert_int_eq(nb, lv_graph_count(net.g) - 1);
    ck_assert_msg((double)s.arena <= 1.05 * (double)s.lower, "arena %zu, bound %zu",
                  s.arena, s.lower);
    lv_program_free(&p);
    lv_program_free(&p);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

START_TEST(plan_of_cpu)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    LvProgram *p = new_program(net.g, dev);

    check_plan(p);
    ck_assert_uint_gt(lv_program_sizes(p).weights, 0);
    lv_program_free(&p);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* A graph of random sizes and distant uses. */
START_TEST(plan_of_anything)
{
    LvGraph *g = lv_graph_new(&keep);
    LvDevice *dev = open_device("null");
    LvTensor t[60];
    LvProgram *p;
    uint32_t s = (uint32_t)_i + 1;

    t[0] = input(g, "x", LV_F32, 8, 16);
    for (int i = 1; i < 60; i++) {
        uint32_t k;
        draw(&s);
        k = (s >> 16) % (uint32_t)i;
        if ((s >> 8) % 3 == 0 && t[k].dim[1] % 2 == 0)
            t[i] = lv_linear(g, t[k], ((LvTensor) { .id = LV_ID_WEIGHT, .dtype = LV_F32,
                             .rank = 2, .dim = { (int)(s >> 20) % 500 + 1, t[k].dim[1],
                             1, 1, 1 } }), NONE, LV_ACT_NONE, LV_NONE);
        else
            t[i] = lv_act(g, t[k], LV_ACT_SILU, s & 0x1000 ? LV_F32 : LV_BF16);
    }
    lv_output(g, t[59], "y");
    p = new_program(g, dev);
    ck_assert_int_eq(check_plan(p), 58);
    lv_program_free(&p);
    lv_graph_free(&g);
    lv_device_close(&dev);
}
END_TEST

START_TEST(places)
{
    LvGraph *g = lv_graph_new(&keep);
    LvDevice *dev = open_device("null");
    LvTensor a = input(g, "a", LV_F32, 4, 6), unused = input(g, "u", LV_F32, 4, 6);
    LvTensor b = lv_act(g, a, LV_ACT_RELU, LV_NONE), c = lv_act(g, b, LV_ACT_RELU, LV_NONE);
    LvTensor dead = lv_act(g, a, LV_ACT_SILU, LV_NONE), d = lv_add(g, b, c);
    LvProgram *p;
    size_t offset;
    int first, last;

    lv_output(g, d, "d");
    p = new_program(g, dev);
    ck_assert_int_eq(lv_plan_find(p, a, &offset, &first, &last), -1);
    ck_assert_int_eq(lv_plan_find(p, d, &offset, &first, &last), -1);
    ck_assert_int_eq(lv_plan_find(p, unused, &offset, &first, &last), -1);
    ck_assert_int_eq(lv_plan_find(p, NONE, &offset, &first, &last), -1);
    ck_assert_int_eq(lv_plan_find(p, b, &offset, &first, &last), 0);
    ck_assert(first == 0 && last == 3);
    ck_assert_int_eq(lv_plan_find(p, dead, &offset, &first, &last), 0);
    ck_assert(first == 2 && last == 2);
    lv_program_free(&p);
    lv_graph_free(&g);
    lv_device_close(&dev);
}
END_TEST

START_TEST(empty)
{
    LvGraph *g = lv_graph_new(&keep);
    LvDevice *dev = open_device("cpu");
    LvProgram *p = new_program(g, dev);

    ck_assert_int_eq(lv_program_count(p), 0);
    ck_assert_uint_eq(lv_program_sizes(p).arena, 0);
    ck_assert_int_eq(lv_program_build(p, NULL), 0);
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
    lv_program_free(&p);
    lv_graph_free(&g);
    lv_device_close(&dev);
}
END_TEST

/* A device that lacks an op is found out before anything is allocated. */
START_TEST(unsupported)
{
    Net net = small_net();
    LvDevice *dev = open_device("null"), poor = *dev;
    LvDeviceFns fns = *dev->fn;
    LvOpTable run = *fns.run;
    LvProgram *p = (LvProgram *)&net;

    run.linattn = NULL;
    fns.run     = &run;
    poor.fn     = &fns;
    lines = 0;
    ck_assert(!lv_device_has(&poor, LV_OP_LINATTN));
    ck_assert(lv_device_has(&poor, LV_OP_ATTN));
    ck_assert_int_eq(lv_program_new(&p, net.g, &poor), LV_ERR_UNSUPPORTED);
    ck_assert_ptr_null(p);
    ck_assert_int_eq(lines, 1);
    ck_assert_ptr_nonnull(strstr(last_line, "linattn"));
    ck_assert_ptr_nonnull(strstr(last_line, "check_graph.c:"));
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* One weight in two matmuls: its packed copy counts once; a half of it is another one. */
START_TEST(weights_count_once)
{
    LvDevice *dev = open_device("cpu");
    size_t bytes[3];

    for (int twice = 0; twice < 3; twice++) {
        Weights w = { .nb = 0 };
        LvGraph *g = lv_graph_new(&keep);
        LvTensor x = input(g, "x", half(), 40, 128), y;
        LvTensor a = weight(&w, LV_BF16, 2, DIMS(128, 128));
        LvProgram *p;

        y = lv_linear(g, x, a, NONE, LV_ACT_NONE, LV_NONE);
        if (twice == 2) {
            a.id     = LV_ID_WEIGHT - w.nb;
            a.dim[0] = 64;
            a.data   = (char *)a.data + 64 * 128 * sizeof(uint16_t);
        }
        if (twice)
            y = lv_linear(g, y, a, NONE, LV_ACT_NONE, LV_NONE);
        lv_output(g, y, "y");
        p = new_program(g, dev);
        bytes[twice] = lv_program_sizes(p).weights;
        lv_program_free(&p);
        lv_graph_free(&g);
        free_weights(&w);
    }
    ck_assert_uint_gt(bytes[0], 0);
    ck_assert_uint_eq(bytes[0], bytes[1]);
    ck_assert_uint_gt(bytes[2], bytes[0]);
    lv_device_close(&dev);
}
END_TEST

/* Running */

/* Run the records one by one, every tensor in memory of its own. */
static void run_apart(LvDevice *dev, const LvGraph *g, Memory *m)
{
    for (int i = 0; i < lv_graph_count(g); i++) {
        const LvRecord *r  = lv_graph_record(g, i);
        const LvOpInfo *op = lv_op_info(r->op);
        LvOpArgs a = r->u;
        LvCall call = { 0 };

        for (int k = 0; k < op->in + op->out; k++)
            if (a.t[k].id >= 0)
                a.t[k].data = memory_of(m, &a.t[k]);
        ck_assert_int_eq(lv_device_call(dev->fn->plan, dev, r->op, &a, &call), 0);
        ck_assert_int_eq(lv_device_reserve(dev, call.thread_bytes), 0);
        call.scratch = lv_alloc(call.scratch_bytes);
        ck_assert_int_eq(lv_device_call(dev->fn->build, dev, r->op, &a, &call), 0);
        ck_assert_int_eq(lv_device_call(dev->fn->run, dev, r->op, &a, &call), 0);
        ck_assert_int_eq(lv_device_sync(dev), 0);
        if (call.priv)
            lv_device_release(dev, r->op, &call);
        lv_free(call.scratch);
    }
}

/* A built program on a poisoned arena, with its own memory for what is bound. */
typedef struct Run {
    LvProgram *p;
    void *arena;
    Memory m;
} Run;

static void start(Run *r, const Net *n, LvDevice *dev, uint32_t seed)
{
    memset(r, 0, sizeof(*r));
    r->p     = new_program(n->g, dev);
    r->arena = new_arena(r->p);
    ck_assert_msg(lv_program_build(r->p, r->arena) == 0, "%s", last_line);
    fill_inputs(&r->m, n, seed);
    bind_net(r->p, n, &r->m);
}

static void stop(Run *r)
{
    lv_program_free(&r->p);
    ck_assert_ptr_null(r->p);
    lv_free(r->arena);
    free_memory(&r->m);
}

START_TEST(run_equals_ops)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    Memory apart = { { NULL } };
    Run run;

    start(&run, &net, dev, 5);
    fill_inputs(&apart, &net, 5);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    run_apart(dev, net.g, &apart);
    ck_assert(all_finite(&run.m, net.y));
    ck_assert(is_output_bits(&run.m, &apart, net.y));
    memset(run.arena, 0xFF, lv_program_sizes(run.p).arena);
    memset(memory_of(&run.m, &net.y), 0xFF, lv_tensor_bytes(&net.y));
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    ck_assert(is_output_bits(&run.m, &apart, net.y));
    stop(&run);
    free_memory(&apart);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* The records are copied: the graph may go before the program is built. */
START_TEST(graph_may_go)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    Memory apart = { { NULL } };
    Run run;

    fill_inputs(&apart, &net, 6);
    run_apart(dev, net.g, &apart);
    memset(&run, 0, sizeof(run));
    run.p = new_program(net.g, dev);
    lv_graph_free(&net.g);
    run.arena = new_arena(run.p);
    ck_assert_int_eq(lv_program_build(run.p, run.arena), 0);
    fill_inputs(&run.m, &net, 6);
    bind_net(run.p, &net, &run.m);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    ck_assert(is_output_bits(&run.m, &apart, net.y));
    stop(&run);
    free_memory(&apart);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

START_TEST(rebinding)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    Memory other = { { NULL } };
    Run run, fresh;

    start(&run, &net, dev, 1);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    fill_inputs(&other, &net, 2);
    bind_net(run.p, &net, &other);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    start(&fresh, &net, dev, 2);
    ck_assert_int_eq(lv_program_run(fresh.p, NULL, NULL), 0);
    ck_assert(is_output_bits(&other, &fresh.m, net.y));
    ck_assert(!is_output_bits(&run.m, &other, net.y));
    fill_inputs(&fresh.m, &net, 1);
    ck_assert_int_eq(lv_program_run(fresh.p, NULL, NULL), 0);
    ck_assert(is_output_bits(&run.m, &fresh.m, net.y));
    stop(&fresh);
    stop(&run);
    free_memory(&other);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* Two programs that take turns on one arena. */
START_TEST(shared_arena)
{
    Net net[2] = { small_net(), new_net(20, 192, 4, 96, 1) };
    LvDevice *dev = open_device("cpu");
    Run run[2], alone[2];
    void *arena;
    size_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        start(&alone[i], &net[i], dev, (uint32_t)i);
        start(&run[i], &net[i], dev, (uint32_t)i);
        bytes = LV_MAX(bytes, lv_program_sizes(run[i].p).arena);
    }
    arena = lv_alloc(bytes);
    memset(arena, 0xFF, bytes);
    for (int i = 0; i < 2; i++) {
        lv_program_free(&run[i].p);
        run[i].p = new_program(net[i].g, dev);
        ck_assert_int_eq(lv_program_build(run[i].p, arena), 0);
        bind_net(run[i].p, &net[i], &run[i].m);
    }
    for (int turn = 0; turn < 4; turn++) {
        int i = turn % 2;
        ck_assert_int_eq(lv_program_run(run[i].p, NULL, NULL), 0);
        ck_assert_int_eq(lv_program_run(alone[i].p, NULL, NULL), 0);
        ck_assert(is_output_bits(&run[i].m, &alone[i].m, net[i].y));
    }
    for (int i = 0; i < 2; i++) {
        stop(&run[i]);
        stop(&alone[i]);
    }
    lv_free(arena);
    free_net(&net[0]);
    free_net(&net[1]);
    lv_device_close(&dev);
}
END_TEST

/* Tensors inside that are watched keep their values. */
START_TEST(watching)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    Memory apart = { { NULL } };
    LvTensor inner[3];
    Run run;

    for (int i = 0; i < 3; i++) {
        const LvRecord *r = lv_graph_record(net.g, 2 + 5 * i);
        inner[i] = r->u.t[lv_op_info(r->op)->in];
        lv_watch(net.g, inner[i], "inner");
    }
    start(&run, &net, dev, 3);
    for (int i = 0; i < 3; i++)
        lv_program_bind(run.p, inner[i], memory_of(&run.m, &inner[i]));
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    fill_inputs(&apart, &net, 3);
    run_apart(dev, net.g, &apart);
    for (int i = 0; i < 3; i++)
        ck_assert(is_output_bits(&run.m, &apart, inner[i]));
    ck_assert(is_output_bits(&run.m, &apart, net.y));
    stop(&run);
    free_memory(&apart);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* A run that misses memory for something is refused and names it. */
START_TEST(unbound)
{
    Net net = small_net();
    LvDevice *dev = open_device("null");
    LvProgram *p = new_program(net.g, dev);
    Memory m = { { NULL } };
    void *arena = new_arena(p);

    ck_assert_int_eq(lv_program_build(p, arena), 0);
    fill_inputs(&m, &net, 1);
    bind_net(p, &net, &m);
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
    lv_program_bind(p, net.rope, NULL);
    lines = 0;
    ck_assert_int_eq(lv_program_run(p, NULL, NULL), LV_ERR(EINVAL));
    ck_assert_int_eq(lines, 1);
    ck_assert_ptr_nonnull(strstr(last_line, "rope"));
    lv_program_free(&p);
    lv_free(arena);
    free_memory(&m);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* State: lv_recall() over calls is what one call over all frames gives. */
START_TEST(state_in_place)
{
    LvDevice *dev = open_device("cpu");
    LvGraph *g = lv_graph_new(&keep);
    LvTensor x = lv_external(g, "x", LV_F32, 4, DIMS(1, 2, 3, 2));
    LvTensor state = lv_external(g, "state", LV_F32, 4, DIMS(1, 2, 3, 2));
    LvTensor y = lv_recall(g, lv_act(g, x, LV_ACT_NONE, LV_NONE), state);
    float in[4][12], mem[12], out[24];
    LvProgram *p;
    void *arena;
    uint32_t s = 1;

    lv_output(g, y, "y");
    p     = new_program(g, dev);
    arena = new_arena(p);
    ck_assert_int_eq(lv_program_build(p, arena), 0);
    for (int i = 0; i < 48; i++)
        in[i / 12][i % 12] = draw(&s);
    for (int i = 0; i < 12; i++)
        mem[i] = -7;
    lv_program_bind(p, state, mem);
    lv_program_bind(p, y, out);
    for (int f = 0; f < 4; f++) {
        lv_program_bind(p, x, in[f]);
        ck_assert_int_eq(lv_program_run(p, NULL, NULL), 0);
        for (int i = 0; i < 12; i++) {
            float before = f ? in[f - 1][i] : -7;
            ck_assert(out[i / 2 * 4 + i % 2] == in[f][i]);
            ck_assert(out[i / 2 * 4 + 2 + i % 2] == before);
            ck_assert(mem[i] == in[f][i]);
        }
    }
    lv_program_free(&p);
    lv_graph_free(&g);
    lv_free(arena);
    lv_device_close(&dev);
}
END_TEST

typedef struct Hook {
    const LvProgram *p;
    int calls, stop_at;
} Hook;

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    Hook *h = opaque;

    ck_assert_int_eq(index, h->calls);
    ck_assert_int_eq(count, lv_program_count(h->p));
    ck_assert_int_eq(next->op, lv_program_record(h->p, index)->op);
    ck_assert_int_ge(next->layer, 1);
    h->calls++;
    return index == h->stop_at ? LV_ERR_CANCELLED : 0;
}

/* Bytes of poison left in a tensor. */
static int is_poison(Memory *m, LvTensor t)
{
    const uint8_t *p = memory_of(m, &t);

    for (size_t i = 0; i < lv_tensor_bytes(&t); i++)
        if (p[i] != 0xFF)
            return 0;
    return 1;
}

/* A negative result stops before the record that was announced. */
START_TEST(cancelling)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    LvProgram *plain = new_program(net.g, dev);
    int at = lv_program_count(plain) / 2 - 1;
    LvTensor t[2];
    Hook h = { .stop_at = at };
    Run run;

    for (int i = 0; i < 2; i++) {
        const LvRecord *r = lv_program_record(plain, at - 1 + i);
        t[i] = r->u.t[lv_op_info(r->op)->in];
        lv_watch(net.g, t[i], "around");
    }
    lv_program_free(&plain);
    start(&run, &net, dev, 4);
    for (int i = 0; i < 2; i++)
        lv_program_bind(run.p, t[i], memory_of(&run.m, &t[i]));
    h.p   = run.p;
    lines = 0;
    ck_assert_int_eq(lv_program_run(run.p, hook, &h), LV_ERR_CANCELLED);
    ck_assert_int_eq(h.calls, at + 1);
    ck_assert_int_eq(lines, 0);
    ck_assert(!is_poison(&run.m, t[0]));
    ck_assert(is_poison(&run.m, t[1]));
    ck_assert(is_poison(&run.m, net.y));
    h = (Hook) { .p = run.p, .stop_at = -1 };
    ck_assert_int_eq(lv_program_run(run.p, hook, &h), 0);
    ck_assert_int_eq(h.calls, lv_program_count(run.p));
    ck_assert(all_finite(&run.m, net.y));
    stop(&run);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

START_TEST(timing)
{
    Net net = small_net();
    LvDevice *dev = open_device("cpu");
    int n = lv_graph_count(net.g);
    double *seconds = calloc((size_t)n, sizeof(*seconds)), sum = 0;
    Run run;

    start(&run, &net, dev, 1);
    lv_program_time(run.p, seconds);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    lv_program_time(run.p, NULL);
    for (int i = 0; i < n; i++) {
        ck_assert(seconds[i] >= 0);
        sum += seconds[i];
    }
    ck_assert(sum > 0);
    ck_assert_int_eq(lv_program_run(run.p, NULL, NULL), 0);
    for (int i = 0; i < n; i++)
        sum -= seconds[i];
    ck_assert(fabs(sum) < 1e-9);
    free(seconds);
    stop(&run);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

START_TEST(null_counts)
{
    Net net = new_net(1280, 192, 4, 768, 3);
    LvDevice *dev = open_device("null");
    Hook h = { .stop_at = -1 };
    double flops = 0;
    int fused = 0;
    Run run;

    start(&run, &net, dev, 1);
    for (int i = 0; i < lv_graph_count(net.g); i++) {
        const LvRecord *r = lv_graph_record(net.g, i);
        flops += lv_op_flops(r->op, &r->u);
    }
    ck_assert_double_eq(lv_program_sizes(run.p).flops, flops);
    ck_assert_double_gt(flops, 3 * 2.0 * 1280 * 192 * (4 * 192 + 2 * 768));
    ck_assert_uint_eq(lv_program_sizes(run.p).thread, 0);
    ck_assert_uint_eq(lv_program_sizes(run.p).weights, 0);
    h.p = run.p;
    ck_assert_int_eq(lv_program_run(run.p, hook, &h), 0);
    for (int i = 0; i < lv_program_count(run.p); i++)
        fused += lv_program_record(run.p, i)->op == LV_OP_GATE_NORM;
    ck_assert_int_gt(fused, 0);
    ck_assert_int_eq(h.calls, lv_program_count(run.p));
    ck_assert_int_eq(lv_program_count(run.p), lv_graph_count(net.g) - fused);
    ck_assert(is_poison(&run.m, net.y));
    stop(&run);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* Printing: a line for each record, in order, with its op and where it was made. */
START_TEST(dump)
{
    Net net = small_net();
    LvDevice *dev = open_device("null");
    LvProgram *p = new_program(net.g, dev);
    char *text = NULL, *line, *rest;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int i = 0;

    lv_program_dump(p, out);
    fclose(out);
    for (line = strtok_r(text, "\n", &rest); line && i < lv_program_count(p);
         line = strtok_r(NULL, "\n", &rest)) {
        const LvRecord *r = lv_program_record(p, i);
        char place[64], shape[64];
        snprintf(place, sizeof(place), "check_graph.c:%d", r->line);
        lv_tensor_text(shape, sizeof(shape), &r->u.t[lv_op_info(r->op)->in]);
        if (!strstr(line, place))
            continue;
        ck_assert_msg(strstr(line, lv_op_info(r->op)->name), "no op in '%s'", line);
        ck_assert_msg(strstr(line, shape), "no shape in '%s'", line);
        i++;
    }
    ck_assert_int_eq(i, lv_program_count(p));
    free(text);
    lv_program_free(&p);
    free_net(&net);
    lv_device_close(&dev);
}
END_TEST

/* Streamed weights, on a CPU that copies as late as may be: what was in a slot is lost when
 * a fetch begins, what comes is there when something waits for it. */

enum { CHAIN = 7, WIDE = 24 };

static struct {
    LvCopy copy[LV_SLOTS][4];
    char *dst[LV_SLOTS];
    int nb[LV_SLOTS];
    int fetches, fail_at;
} late;

static int late_fetch(LvDevice *dev, int slot, void *dst, const LvCopy *copy, int nb)
{
    (void)dev;
    if (++late.fetches == late.fail_at)
        return LV_ERR_DEVICE;
    ck_assert_int_le(nb, 4);
    for (int i = 0; i < nb; i++) {
        late.copy[slot][i] = copy[i];
        memset((char *)dst + copy[i].at, 0xFF, copy[i].bytes);
    }
    late.dst[slot] = dst;
    late.nb[slot]  = nb;
    return 0;
}

static int late_fetched(LvDevice *dev, int slot)
{
    (void)dev;
    for (int i = 0; i < late.nb[slot]; i++)
        memcpy(late.dst[slot] + late.copy[slot][i].at, late.copy[slot][i].src,
               late.copy[slot][i].bytes);
    late.nb[slot] = 0;
    return 0;
}

static void late_settle(LvDevice *dev)
{
    for (int i = 0; i < LV_SLOTS; i++)
        late_fetched(dev, i);
}

/* A chain of layers, each of two products, a number of which have streamed weights; and the
 * same with all weights there. */
typedef struct Chain {
    Weights w;
    LvTensor x, y;
    LvProgram *p[2];
    void *arena[2];
    float in[5 * WIDE], out[2][5 * WIDE];
    int streamed;
} Chain;

static LvTensor trace_chain(LvGraph *g, Chain *c, int streams)
{
    LvTensor x = c->x;

    for (int i = 0; i < CHAIN; i++) {
        int is = (i + 1) * c->streamed / CHAIN > i * c->streamed / CHAIN;
        lv_graph_layer(g, i + 1);
        for (int k = 0; k < 2; k++) {
            LvTensor w = { .id = LV_ID_WEIGHT - (2 * i + k), .dtype = LV_F32, .rank = 2,
                           .dim = { WIDE, WIDE, 1, 1, 1 }, .data = c->w.w[2 * i + k]->data,
                           .w = streams && is ? c->w.w[2 * i + k] : NULL };
            c->w.w[2 * i + k]->streamed = 1;
            x = lv_linear(g, x, w, NONE, k ? LV_ACT_NONE : LV_ACT_SILU, LV_F32);
        }
    }
    return x;
}

static void new_chain(Chain *c, LvDevice *dev, int streamed, uint32_t seed)
{
    *c = (Chain) { .streamed = streamed };
    for (int i = 0; i < 2 * CHAIN; i++)
        fill(weight(&c->w, LV_F32, 2, DIMS(WIDE, WIDE)).data,
             &(LvTensor) { .dtype = LV_F32, .rank = 2, .dim = { WIDE, WIDE, 1, 1, 1 } },
             seed + (uint32_t)i, 0.5f);
    for (int streams = 0; streams < 2; streams++) {
        LvGraph *g = lv_graph_new(&keep);
        c->x = input(g, "x", LV_F32, 5, WIDE);
        c->y = trace_chain(g, c, streams);
        lv_output(g, c->y, "y");
        ck_assert_int_eq(lv_program_new(&c->p[streams], g, dev), 0);
        lv_graph_free(&g);
    }
    fill(c->in, &c->x, seed + 100, 1);
}

static void build_chain(Chain *c, LvSlots *slots)
{
    for (int i = 0; i < 2; i++) {
        c->arena[i] = lv_alloc(lv_program_sizes(c->p[i]).arena);
        lv_slots_attach(c->p[i], slots);
        ck_assert_int_eq(lv_program_build(c->p[i], c->arena[i]), 0);
        lv_program_bind(c->p[i], c->x, c->in);
        lv_program_bind(c->p[i], c->y, c->out[i]);
    }
}

/* Programs, slots, weights, as copies read these until the slots are gone. */
static void free_chains(Chain *c, int nb, LvSlots **slots)
{
    for (int i = 0; i < 2 * nb; i++) {
        lv_program_free(&c[i / 2].p[i % 2]);
        lv_free(c[i / 2].arena[i % 2]);
    }
    lv_slots_free(slots);
    for (int i = 0; i < nb; i++)
        free_weights(&c[i].w);
}

/* Both give the same bits. @return fetches of the run */
static int run_chain(Chain *c)
{
    int before = late.fetches;

    memset(c->out, 0xFF, sizeof(c->out));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(lv_program_run(c->p[i], NULL, NULL), 0);
    ck_assert(!memcmp(c->out[0], c->out[1], sizeof(c->out[0])));
    ck_assert(c->out[0][0] == c->out[0][0]);
    return late.fetches - before;
}

static const LvCopyFns copies = {
    .fetch = late_fetch, .fetched = late_fetched, .settle = late_settle,
};

static LvDevice *open_late(LvDeviceFns *fns)
{
    LvDevice *dev = open_device("cpu");

    memset(&late, 0, sizeof(late));
    *fns        = *dev->fn;
    fns->copies = &copies;
    dev->fn     = fns;
    return dev;
}

/* Loop: layers that stream; of two programs that run in turn. */
START_TEST(streaming)
{
    static const int turns[] = { 0, 0, 0, 1, 0, 1, 1, 0 };
    static const int alone[CHAIN + 1] = { 0, 0, 0, 2, 4, 5, 6, 7 };
    LvDeviceFns fns;
    LvDevice *dev = open_late(&fns);
    size_t want   = _i ? 2 * WIDE * WIDE * sizeof(float) : 0, bytes;
    LvSlots *slots;
    Chain c[2];
    int nb, last = -1;

    new_chain(&c[0], dev, _i, 1);
    new_chain(&c[1], dev, LV_MIN(_i, 3), 50);
    bytes = lv_program_sizes(c[0].p[1]).slot;
    ck_assert_uint_eq(bytes, want);
    ck_assert_uint_eq(lv_program_sizes(c[0].p[0]).slot, 0);
    ck_assert_int_eq(lv_slots_new(&slots, dev, bytes), 0);
    for (int i = 0; i < 2; i++)
        build_chain(&c[i], slots);
    for (int i = 0; i < LV_COUNT(turns); i++) {
        nb = run_chain(&c[turns[i]]);
        /* One that has its slot for itself stays there; the others come once a run. */
        if (turns[i] == last)
            ck_assert_int_eq(nb, alone[c[turns[i]].streamed]);
        last = turns[i];
    }
    free_chains(c, 2, &slots);
    lv_device_close(&dev);
}
END_TEST

/* Loop: the fetch that fails. The next run is right. */
START_TEST(streaming_fails)
{
    LvDeviceFns fns;
    LvDevice *dev = open_late(&fns);
    LvSlots *slots;
    Chain c;

    new_chain(&c, dev, 5, 1);
    ck_assert_int_eq(lv_slots_new(&slots, dev, lv_program_sizes(c.p[1]).slot), 0);
    build_chain(&c, slots);
    late.fail_at = _i;
    ck_assert_int_eq(lv_program_run(c.p[1], NULL, NULL), LV_ERR_DEVICE);
    for (int i = 0; i < 2; i++)
        run_chain(&c);
    free_chains(&c, 1, &slots);
    lv_device_close(&dev);
}
END_TEST

START_TEST(streaming_refused)
{
    LvDeviceFns fns;
    LvDevice *dev = open_late(&fns);
    LvSlots *none = NULL;
    LvProgram *p;
    LvGraph *g;
    Chain c;

    new_chain(&c, dev, 3, 1);
    ck_assert_int_eq(lv_program_build(c.p[1], c.arena[1] =
                                      lv_alloc(lv_program_sizes(c.p[1]).arena)), 0);
    lv_program_bind(c.p[1], c.x, c.in);
    lv_program_bind(c.p[1], c.y, c.out[1]);
    lines = 0;
    dev->msg = &keep;
    ck_assert_int_eq(lv_program_run(c.p[1], NULL, NULL), LV_ERR(EINVAL));
    ck_assert(lines == 1 && strstr(last_line, "have no slots"));
    fns.copies = NULL;
    g   = lv_graph_new(&keep);
    c.x = input(g, "x", LV_F32, 5, WIDE);
    trace_chain(g, &c, 1);
    ck_assert_int_eq(lv_program_new(&p, g, dev), LV_ERR_UNSUPPORTED);
    ck_assert(lines == 2 && strstr(last_line, "cpu does not offload weights") && !p);
    lv_graph_free(&g);
    free_chains(&c, 1, &none);
    lv_device_close(&dev);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    return t;
}

static Suite *suite(void)
{
    Suite *s = suite_create("graph");
    TCase *tracing = tcase(s, "tracing"), *planning = tcase(s, "planning");
    TCase *running = tcase(s, "running");

    tcase_add_test(tracing, records);
    tcase_add_test(tracing, types_of_results);
    tcase_add_test(tracing, errors_stick);
    tcase_add_test(tracing, failing_builder);
    tcase_add_loop_test(tracing, wrong_shapes, 0, LV_COUNT(wrongs));
    tcase_add_loop_test(planning, plan, 0, LV_COUNT(shapes));
    tcase_add_test(planning, plan_of_cpu);
    tcase_add_loop_test(planning, plan_of_anything, 0, 20);
    tcase_add_test(planning, places);
    tcase_add_test(planning, empty);
    tcase_add_test(planning, unsupported);
    tcase_add_test(planning, weights_count_once);
    tcase_add_test(running, run_equals_ops);
    tcase_add_test(running, graph_may_go);
    tcase_add_test(running, rebinding);
    tcase_add_test(running, shared_arena);
    tcase_add_test(running, watching);
    tcase_add_test(running, unbound);
    tcase_add_test(running, state_in_place);
    tcase_add_test(running, cancelling);
    tcase_add_test(running, timing);
    tcase_add_test(running, null_counts);
    tcase_add_test(running, dump);
    tcase_add_loop_test(running, streaming, 0, CHAIN + 1);
    tcase_add_loop_test(running, streaming_fails, 1, 6);
    tcase_add_test(running, streaming_refused);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    int failed;

    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
