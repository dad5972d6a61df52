/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Causal networks: what is made block after block, from what is kept of those before, is what a
 * run over the whole clip makes in which each block sees what it should. That run is the usual
 * network on the device of definitions, whose self-attention is replaced by loops over lists of
 * latents: plain, and without anything that is kept. LV_TEST_DEVICE=cuda makes the blocks there.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "pipeline/block_cache.h"
#include "pipeline/network.h"
#include "tests/keep.h"
#include "tests/linear_kit.h"
#include "tests/nets.h"
#include "tests/ops_ref.h"
#include "tests/ops_ref_grad.h"
#include "tests/ref_device.h"

enum { ROWS = 4, COLS = 6, PLACES = ROWS / 2 * COLS / 2, MOST = 12, TEXT = 5 };

#define TIME 400.0f
#define BOUND 2e-5

static const LvMsg keep = { keep_line, NULL, LV_MSG_DEBUG };

/* What a block sees, worked out latent by latent. */

typedef struct Seen {
    int latent[MOST], nb; /* in their order; places in the list are positions */
} Seen;

/* The sink, and the last ones before the block that there is room for, and the block. */
static Seen seen_by(const LvCausal *c, int block)
{
    int end = (block + 1) * c->block, room = c->window - c->sink;
    Seen s  = { .nb = 0 };

    for (int i = 0; i < end; i++)
        if (i < c->sink || i >= end - room)
            s.latent[s.nb++] = i;
    return s;
}

START_TEST(hand_made)
{
    static const struct {
        LvCausal c;
        int block;
        const char *list;
    } lists[] = {
        { { 3, 12, 3 }, 0, "0 1 2" },
        { { 3, 12, 3 }, 3, "0 1 2 3 4 5 6 7 8 9 10 11" },
        { { 1, 4, 1 }, 5, "0 3 4 5" },
        { { 2, 6, 0 }, 4, "4 5 6 7 8 9" },
        { { 2, 2, 0 }, 2, "4 5" },
        { { 1, 2, 1 }, 3, "0 3" },
    };
    char text[64] = "";
    Seen s = seen_by(&lists[_i].c, lists[_i].block);

    for (int k = 0; k < s.nb; k++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", k ? " " : "",
                 s.latent[k]);
    ck_assert_str_eq(text, lists[_i].list);
}
END_TEST

/* Slots and positions of blocks against those lists. */
static void check_slots(const LvCausal *c)
{
    enum { BLOCKS = 40 };
    int64_t in_slot[64];
    int slots = lv_blocks_slots(c);

    memset(in_slot, -1, sizeof(in_slot));
    for (int now = 0; now < BLOCKS; now++) {
        int end = (now + 1) * c->block, room = c->window - c->sink, at = 0, kept = 0;

        for (int i = 0; i < end; i += c->block) {
            int64_t n = i / c->block;
            if (i >= c->sink && i < end - room)
                continue;
            ck_assert_int_eq(lv_blocks_position(c, n, now), at);
            at += c->block;
            if (n == now)
                continue;
            ck_assert_int_eq(in_slot[lv_blocks_slot(c, n)], n);
            kept++;
        }
        ck_assert_int_le(kept, slots);
        if (lv_blocks_slot(c, now) >= 0)
            in_slot[lv_blocks_slot(c, now)] = now;
    }
}

START_TEST(slots)
{
    for (int block = 1; block <= 4; block++)
        for (int window = block; window <= 8 * block; window += block)
            for (int sink = 0; sink <= window - block; sink += block)
                check_slots(&(LvCausal) { block, window, sink });
}
END_TEST

/* The device of loops */

static struct {
    LvCausal causal;
    LvDeviceFns fns;
    LvOpTable run;
    const LvOpTable *plain;
    const float *rope; /* of the whole clip */
} whole;

/* Queries and keys of self-attention are left as they are: the loops turn them. */
static int loop_qknorm(LvDevice *dev, const LvQknormArgs *a, LvCall *call)
{
    LvQknormArgs u = *a;

    if (lv_has(&a->rope))
        whole.rope = a->rope.data;
    u.rope = LV_NO_TENSOR;
    return whole.plain->qknorm(dev, &u, call);
}

/* Rows of a latent at `from`, turned as those of position `at`, to `to`. */
static void take(float *to, const LvTensor *x, int latent, int at, int turn)
{
    int dim = x->dim[1], head = dim / B_HEADS;
    const float *from = (const float *)x->data + (size_t)latent * PLACES * (size_t)dim;

    memcpy(to, from, sizeof(*to) * PLACES * (size_t)dim);
    for (int i = 0; i < PLACES && turn; i++)
        for (int p = 0; p < dim / 2; p++) {
            const float *r = whole.rope + ((size_t)at * PLACES + (size_t)i) * (size_t)head +
                             2 * (p % (head / 2));
            float *pair = to + (size_t)i * (size_t)dim + 2 * p, x0 = pair[0], x1 = pair[1];

            pair[0] = x0 * r[0] - x1 * r[1];
            pair[1] = x0 * r[1] + x1 * r[0];
        }
}

static LvTensor rows(int latents, int dim)
{
    return (LvTensor) { .data = calloc((size_t)(latents * PLACES * dim), sizeof(float)),
                        .dtype = LV_F32, .rank = 2, .dim = { latents * PLACES, dim, 1, 1, 1 } };
}

/* Latents of a list, turned by their places in it from `first` on. */
static LvTensor gather(const LvTensor *x, const Seen *s, int first, int turn)
{
    LvTensor t = rows(s->nb - first, x->dim[1]);

    for (int i = first; i < s->nb; i++)
        take((float *)t.data + (size_t)(i - first) * PLACES * (size_t)x->dim[1], x, s->latent[i],
             i, turn);
    return t;
}

static int is_self(const LvTensor *q, const LvTensor *k)
{
    return q->dim[0] == k->dim[0] && q->dim[0] % PLACES == 0;
}

static void put_rows(const LvTensor *o, int block, const LvTensor *part)
{
    size_t n = (size_t)part->dim[0] * (size_t)part->dim[1];

    memcpy((float *)o->data + (size_t)block * n, part->data, n * sizeof(float));
}

static int loop_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    const LvCausal *c = &whole.causal;

    if (!is_self(&a->q, &a->k))
        return whole.plain->attn(dev, a, call);
    for (int b = 0; b < a->q.dim[0] / PLACES / c->block; b++) {
        Seen s = seen_by(c, b);
        LvAttnArgs u = *a;

        u.q = gather(&a->q, &s, s.nb - c->block, 1);
        u.k = gather(&a->k, &s, 0, 1);
        u.v = gather(&a->v, &s, 0, 0);
        u.o = rows(c->block, a->q.dim[1]);
        whole.plain->attn(dev, &u, call);
        put_rows(&a->o, b, &u.o);
        free(u.q.data);
        free(u.k.data);
        free(u.v.data);
        free(u.o.data);
    }
    return 0;
}

/* The state of block b alone; where it is, its keys are turned. */
static void block_state(const LvLinattnArgs *a, int b, double *state)
{
    const Seen s = seen_by(&whole.causal, b);
    int first = s.nb - whole.causal.block, dim = a->k.dim[1], head = dim / B_HEADS;
    size_t nf = (size_t)ops_features((int)a->map, a->wk.dim[2]), d = (size_t)head;
    LvTensor k = gather(&a->k, &s, first, 1), v = gather(&a->v, &s, first, 0);
    double *phi = ref_zeros(nf), *y = ref_zeros(nf), *x = ref_zeros(d);
    double *w = ops_f64(&a->wk);

    for (int i = 0; i < k.dim[0]; i++)
        for (int h = 0; h < B_HEADS; h++) {
            for (size_t e = 0; e < d; e++)
                x[e] = ((float *)k.data)[(size_t)(i * dim + h * head) + e];
            ref_features(phi, y, (int)a->map, x, w + (size_t)(h * head) * (size_t)a->wk.dim[2], d,
                         (size_t)a->wk.dim[2]);
            for (size_t f = 0; f < nf; f++)
                for (size_t e = 0; e <= d; e++)
                    state[((size_t)h * nf + f) * (d + 1) + e] += phi[f] / k.dim[0] *
                        (e < d ? ((float *)v.data)[(size_t)(i * dim + h * head) + e] : 1);
        }
    free(k.data);
    free(v.data);
    free(phi);
    free(y);
    free(x);
    free(w);
}

/* What block b weighs in the state that block `now` reads: the mean of all while there are no
 * more than a window has; from then on the window's share, of what the later ones leave. */
static double weight(int b, int now)
{
    int most = whole.causal.window / whole.causal.block;
    double w = 1.0 / LV_MIN(b + 1, most);

    for (int later = b + 1; later <= now; later++)
        w *= 1 - 1.0 / LV_MIN(later + 1, most);
    return w;
}

/* A block of queries and the weighted states of all blocks up to it. */
static int loop_block(const LvLinattnArgs *a, int b, double *const *state, size_t n)
{
    const LvCausal *c = &whole.causal;
    const int head = a->q.dim[1] / B_HEADS, nf = ops_features((int)a->map, a->wq.dim[2]);
    const int shape[] = { B_HEADS, nf, head + 1 };
    Seen s = seen_by(c, b);
    float zero = 0;
    LvLinattnRunArgs u = { a->q, a->k, a->v, a->wq, a->wk, LV_NO_TENSOR, LV_NO_TENSOR, a->o,
                           LV_NO_TENSOR, a->heads, (int)a->map, a->eps, 1 };
    double *out[OPS_MAX_OUT] = { NULL };

    u.q = gather(&a->q, &s, s.nb - c->block, 1);
    u.k = u.v = u.q;
    u.o = rows(c->block, a->q.dim[1]);
    u.share = (LvTensor) { .data = &zero, .dtype = LV_F32, .rank = 1, .dim = { 1, 1, 1, 1, 1 } };
    u.past  = u.state = (LvTensor) { .data = calloc(n, sizeof(float)), .dtype = LV_F32, .rank = 3,
                                     .dim = { shape[0], shape[1], shape[2], 1, 1 } };
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k <= b; k++)
            sum += weight(k, b) * state[k][i];
        ((float *)u.past.data)[i] = (float)sum;
    }
    ops_ref(LV_OP_LINATTN_RUN, &(LvOpArgs) { .linattn_run = u }, out);
    for (size_t i = 0; i < ops_numel(&u.o); i++)
        ((float *)u.o.data)[i] = (float)out[0][i];
    put_rows(&a->o, b, &u.o);
    free(u.q.data);
    free(u.o.data);
    free(u.past.data);
    free(out[0]);
    free(out[1]);
    return 0;
}

static int loop_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    int blocks = a->q.dim[0] / PLACES / whole.causal.block;
    size_t n = (size_t)B_HEADS * (size_t)ops_features((int)a->map, a->wk.dim[2]) *
               (size_t)(a->q.dim[1] / B_HEADS + 1);
    double *state[MOST];

    (void)dev, (void)call;
    for (int b = 0; b < blocks; b++) {
        block_state(a, b, state[b] = ref_zeros(n));
        loop_block(a, b, state, n);
    }
    for (int b = 0; b < blocks; b++)
        free(state[b]);
    return 0;
}

static LvDevice *loops_open(const LvCausal *c)
{
    LvDevice *dev;

    ck_assert_int_eq(ref_device_open(&dev, &keep), 0);
    whole.causal      = *c;
    whole.plain       = dev->fn->run;
    whole.run         = *dev->fn->run;
    whole.run.attn    = loop_attn;
    whole.run.linattn = loop_linattn;
    whole.run.qknorm  = loop_qknorm;
    whole.fns         = *dev->fn;
    whole.fns.run     = &whole.run;
    dev->fn           = &whole.fns;
    return dev;
}

/* Both ways */

typedef struct Model {
    char path[1024];
    LvDitConfig cfg;
    LvFiles files;
    LvModelConfig all;
    LvSource *src;
    float text[TEXT * 64];
} Model;

static void model_open(Model *m, const int kinds[B_LAYERS], int map)
{
    memset(m, 0, sizeof(*m));
    snprintf(m->path, sizeof(m->path), "%s/linvideo-causal-%ld.safetensors",
             getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir, (long)getpid());
    ck_assert_msg(linear_kit_write(m->path, &m->cfg, kinds, map, 0.4f, &keep) == 0, "%s",
                  last_line);
    ck_assert_int_eq(lv_source_open(&m->src, m->path, &keep), 0);
    ck_assert_int_le(m->cfg.text_dim, 64);
    m->files.path = m->path;
    m->files.dit  = (LvPart) { .src = m->src, .kind = LV_PART_DIT, .prefix = "weights." };
    m->all.dit    = m->files.cfg.dit = m->cfg;
    lv_philox_normal(m->text, (size_t)(TEXT * m->cfg.text_dim), 3, 0);
}

static void model_close(Model *m)
{
    lv_source_close(&m->src);
    unlink(m->path);
}

/* x and v: [channels,latents,ROWS,COLS] */
static void run_whole(const Model *m, const LvCausal *c, int latents, const float *x, float *v)
{
    NetsOptions opt = { .dev = loops_open(c), .dtype = LV_F32, .msg = &keep };
    const int size[3] = { latents, ROWS, COLS };
    LvSafetensors *st;
    NetsDit *d;

    ck_assert_int_eq(lv_safetensors_open(&st, m->path, &keep), 0);
    ck_assert_msg(nets_dit_open(&d, st, "weights.", &m->cfg, size, &opt) == 0, "%s", last_line);
    ck_assert_int_eq(nets_dit_text(d, m->text, TEXT), 0);
    ck_assert_int_eq(nets_dit_run(d, x, TIME, v), 0);
    nets_dit_close(&d);
    lv_safetensors_close(&st);
    lv_device_close(&opt.dev);
}

/* A block of latents, out of the whole or into it. */
static void move_block(float *part, float *all, int channels, int latents, const LvCausal *c,
                       int block, int into)
{
    size_t plane = ROWS * COLS, n = (size_t)c->block * plane;

    for (int k = 0; k < channels; k++) {
        float *a = all + ((size_t)k * (size_t)latents + (size_t)(block * c->block)) * plane;
        float *p = part + (size_t)k * n;
        memcpy(into ? a : p, into ? p : a, n * sizeof(*a));
    }
}

typedef struct Blocks {
    LvDevice *dev;
    LvEnv env;
    LvNetwork *n;
    void *arena;
} Blocks;

static void blocks_open(Blocks *b, const Model *m, const LvCausal *c, LvDtype dtype)
{
    const LvNetworkShape shape = { .size = { c->block, ROWS, COLS }, .prompts = 2, .causal = *c };
    const char *name = getenv("LV_TEST_DEVICE");
    float *text = calloc((size_t)(m->cfg.text_len * m->cfg.text_dim), sizeof(*text));
    LvNeed need;

    ck_assert_int_eq(lv_device_open(&b->dev, name ? name : "cpu",
                                    &(LvDeviceOptions) { .threads = 2 }, &keep), 0);
    b->env = (LvEnv) { .msg = &keep, .dev = b->dev, .files = &m->files, .cfg = &m->all,
                       .dtype = dtype };
    ck_assert_msg(lv_network_new(&b->n, &b->env, LV_HIGH) == 0, "%s", last_line);
    ck_assert_msg(lv_network_plan(b->n, &shape, NULL) == 0, "%s", last_line);
    need     = lv_network_need(b->n);
    ck_assert_int_eq(lv_device_alloc(b->dev, &b->arena, need.arena, "work"), 0);
    ck_assert_int_eq(lv_device_reserve(b->dev, need.thread), 0);
    ck_assert_msg(lv_network_build(b->n, b->arena) == 0, "%s", last_line);
    memcpy(text, m->text, sizeof(float) * (size_t)(TEXT * m->cfg.text_dim));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(lv_network_prompt(b->n, i, text), 0);
    free(text);
}

static void blocks_close(Blocks *b)
{
    lv_network_free(&b->n);
    lv_device_free(b->dev, b->arena);
    lv_device_close(&b->dev);
}

/* Block after block, with a first run of each of other latents, which leaves nothing behind; the
 * branch of prompt 1 sees other latents at all times. */
static void run_blocks(const Blocks *b, const LvCausal *c, int latents, int channels,
                       const float *x, float *v)
{
    const LvAt at = { LV_STAGE_DENOISE, 0, 1, 0, B_LAYERS };
    size_t n = (size_t)(channels * c->block * ROWS * COLS);
    float *part = calloc(n, sizeof(*part)), *other = calloc(n, sizeof(*part));

    lv_philox_normal(other, n, 9, 9);
    for (int i = 0; i < latents / c->block; i++) {
        ck_assert_int_eq(lv_network_at(b->n, other, 900, 0), 0);
        ck_assert_int_eq(lv_network_run(b->n, 0, &at, part), 0);
        ck_assert_int_eq(lv_network_run(b->n, 1, &at, part), 0);
        move_block(part, (float *)x, channels, latents, c, i, 0);
        ck_assert_int_eq(lv_network_at(b->n, part, TIME, 0), 0);
        ck_assert_int_eq(lv_network_run(b->n, 0, &at, part), 0);
        move_block(part, v, channels, latents, c, i, 1);
        ck_assert_int_eq(lv_network_at(b->n, other, TIME, 0), 0);
        ck_assert_int_eq(lv_network_run(b->n, 1, &at, part), 0);
        ck_assert_int_eq(lv_network_keep(b->n), 0);
    }
    free(part);
    free(other);
}

static double distance(const float *a, const float *b, size_t n)
{
    double d = 0, r = 0;

    for (size_t i = 0; i < n; i++) {
        d += pow((double)a[i] - (double)b[i], 2);
        r += pow((double)b[i], 2);
    }
    return sqrt(d / r);
}

enum { SOFTMAX = LV_ATTN_SOFTMAX, LINEAR = LV_ATTN_LINEAR, MIXED = LV_ATTN_MIXED };

static const struct {
    int kinds[B_LAYERS], map, latents;
    LvCausal c;
} runs[] = {
    { { SOFTMAX, SOFTMAX, SOFTMAX }, LV_MAP_HEDGEHOG, 9, { 3, 9, 0 } }, /* all is seen */
    { { LINEAR, LINEAR, LINEAR }, LV_MAP_HEDGEHOG, 9, { 3, 9, 0 } },
    { { SOFTMAX, MIXED, LINEAR }, LV_MAP_RELU, 8, { 2, 8, 2 } },
    { { SOFTMAX, SOFTMAX, SOFTMAX }, LV_MAP_HEDGEHOG, 9, { 1, 4, 0 } }, /* a window that moves */
    { { SOFTMAX, SOFTMAX, SOFTMAX }, LV_MAP_HEDGEHOG, 9, { 1, 4, 1 } }, /* with a sink */
    { { MIXED, LINEAR, SOFTMAX }, LV_MAP_TAYLOR, 12, { 2, 6, 2 } },
    { { MIXED, SOFTMAX, MIXED }, LV_MAP_HEDGEHOG, 6, { 1, 1, 0 } },     /* no room for others */
    { { SOFTMAX, SOFTMAX, MIXED }, LV_MAP_HEDGEHOG, 6, { 1, 2, 1 } },   /* for the sink alone */
};

START_TEST(as_a_whole)
{
    const LvCausal *c = &runs[_i].c;
    int latents = runs[_i].latents;
    size_t n;
    float *x, *want, *v;
    Model m;
    Blocks b;

    model_open(&m, runs[_i].kinds, runs[_i].map);
    n    = (size_t)(m.cfg.channels * latents * ROWS * COLS);
    x    = calloc(n, sizeof(*x));
    want = calloc(n, sizeof(*x));
    v    = calloc(n, sizeof(*x));
    lv_philox_normal(x, n, 5, 0);
    run_whole(&m, c, latents, x, want);
    blocks_open(&b, &m, c, LV_F32);
    for (int again = 0; again < 2; again++) {
        run_blocks(&b, c, latents, m.cfg.channels, x, v);
        ck_assert_msg(distance(v, want, n) < BOUND, "%s, relative error %.2e",
                      again ? "again" : "once", distance(v, want, n));
        ck_assert_int_eq(lv_network_clear(b.n), 0);
    }
    blocks_close(&b);
    model_close(&m);
    free(x);
    free(want);
    free(v);
}
END_TEST

static Suite *causal_suite(void)
{
    Suite *suite = suite_create("causal");
    TCase *t = tcase_create("blocks");

    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, hand_made, 0, 6);
    tcase_add_test(t, slots);
    t = tcase_create("network");
    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 120);
    if (getenv("LV_TEST_DEVICE"))
        tcase_add_loop_test(t, as_a_whole, 4, 6);
    else
        tcase_add_loop_test(t, as_a_whole, 0, LV_COUNT(runs));
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(causal_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
