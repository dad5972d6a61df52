/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo bench`: networks and ops of named shapes, with random weights, timed and
 * held against what the device does best in the same minute: on the CPU a plain oneDNN
 * product; on a GPU, whose own clock is read around every op, a product and a copy.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linvideo/linvideo.h>

#include "api/model.h"
#include "backend/device.h"
#include "base/common.h"
#include "base/half.h"
#include "base/safetensors.h"
#include "graph/grad.h"
#include "graph/graph.h"
#include "graph/program.h"
#include "model/config.h"
#include "model/dit.h"
#include "model/tae.h"
#include "model/wan_vae.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/probe.h"

enum { MAX_INPUTS = 2 * LV_MAX_LAYERS + 8, MAX_LAYERS = LV_MAX_LAYERS + 1,
       MAX_REPS = 1000, MAX_TARGETS = 512 };

/* A run this long is not repeated more than SLOW_REPS times. */
#define SLOW_SECONDS 8.0
enum { SLOW_REPS = 2 };

/** Memory given to the network: an external tensor. */
typedef struct Input {
    LvTensor tensor;
    void *data;
} Input;

/** Random weights, all freed together. */
typedef struct Block {
    struct Block *next;
    void *data;
    size_t bytes;
} Block;

typedef struct Bench {
    LvDevice *dev;
    LvMsg msg;
    LvDtype act;      ///< of activations, and of the weights of products
    int reps, ops, json;
    int threads, precision, i8;
    int small;        ///< 1: shapes are cut down, to try the command
    const char *device;
    LvProbe probe;    ///< of the CPU
    double ceiling;   ///< GFLOP/s
    double copy;      ///< GB/s read and written; 0: not measured
    int printed;      ///< works reported so far

    /* of the work at hand */
    LvGraph *graph;
    LvProgram *program;
    void *arena;
    Block *weights;
    int nb_weights;
    int train;        ///< weights are made to be trained: f32, each with a gradient
    LvGradTarget target[MAX_TARGETS];
    int nb_targets;
    Input input[MAX_INPUTS];
    int nb_inputs;
    double times[MAX_LAYERS]; ///< how often the records of a layer count
    char note[256];   ///< printed below the result
    uint32_t random;
} Bench;

/** Devices on which a work runs when no name is given. */
enum WorkChoice { NEVER, ON_CPU, ON_GPU, ALWAYS };

typedef struct Work {
    const char *name;
    int (*trace)(Bench *b, const struct Work *w);
    int a, b, c;       ///< what trace makes of them
    int chosen;        ///< WorkChoice: whether it runs when no name is given
    int tokens;        ///< > 0: time per token is of interest
    const char *about;
} Work;

typedef struct Result {
    double seconds[MAX_REPS]; ///< of the runs, sorted
    int reps;
    double flops, bytes;
    double *record;           ///< seconds of each record, mean of the runs
} Result;

/* Random tensors. Values lie in [-1, 1) times a scale: none is denormal. */

static float next_random(Bench *b)
{
    b->random = b->random * 1664525u + 1013904223u;
    return (int32_t)b->random * 0x1p-31f;
}

/** Values made at once: a piece of memory that any device takes. */
enum { PIECE = 1 << 16 };

static int fill_piece(Bench *b, char *to, LvDtype type, size_t n, float scale)
{
    static float values[PIECE];
    uint16_t *half = (uint16_t *)values;

    for (size_t i = 0; i < n; i++) {
        float x = scale * next_random(b);

        if (type == LV_F32)
            values[i] = x;
        else
            half[i] = type == LV_BF16 ? lv_f32_bf16(x) : 0;
    }
    return b->dev->fn->upload(b->dev, to, values, n * lv_dtype_size(type));
}

static int fill(Bench *b, void *data, LvDtype type, size_t n, float scale)
{
    int ret = 0;

    for (size_t i = 0; i < n && ret >= 0; i += PIECE)
        ret = fill_piece(b, (char *)data + i * lv_dtype_size(type), type,
                         LV_MIN(n - i, PIECE), scale);
    return ret;
}

/* A size of a shape: cut down with --small. */
static int cut(const Bench *b, int n)
{
    return b->small ? LV_MIN(n, 128) : n;
}

static LvTensor describe(LvDtype type, int rank, const int *dim)
{
    LvTensor t = { .dtype = type, .rank = rank };

    for (int i = 0; i < LV_MAX_RANK; i++)
        t.dim[i] = i < rank ? dim[i] : 1;
    return t;
}

/* A weight; absent, and the graph fails at its use, when there is no memory. */
static LvTensor take_weight(Bench *b, LvDtype type, int rank, const int *dim)
{
    LvTensor t = describe(type, rank, dim);
    Block *block = calloc(1, sizeof(*block));

    if (!block)
        return LV_NO_TENSOR;
    block->next  = b->weights;
    block->bytes = lv_tensor_bytes(&t);
    b->weights   = block;
    if (lv_device_alloc(b->dev, &block->data, lv_tensor_bytes(&t), "weights") < 0 ||
        fill(b, block->data, type, lv_tensor_numel(&t), rank > 1 ? 0.03f : 1) < 0)
        return LV_NO_TENSOR;
    t.id    = LV_ID_WEIGHT - b->nb_weights++;
    t.data  = block->data;
    t.fixed = 1;
    return t;
}

static LvTensor make_weight(Bench *b, LvDtype type, int rank, const int *dim)
{
    LvTensor t = take_weight(b, b->train ? LV_F32 : type, rank, dim);

    t.fixed = !b->train;
    if (b->train && b->nb_targets < MAX_TARGETS)
        b->target[b->nb_targets++] =
            (LvGradTarget) { t, take_weight(b, LV_F32, rank, dim) };
    return t;
}

#define WEIGHT(b, type, rank, ...) \
    make_weight(b, type, rank, (const int[LV_MAX_RANK]) { __VA_ARGS__ })

/* Note that t is an external tensor of the graph. Returns t. */
static LvTensor keep_input(Bench *b, LvTensor t)
{
    if (t.id >= 0 && b->nb_inputs < MAX_INPUTS)
        b->input[b->nb_inputs++].tensor = t;
    return t;
}

#define INPUT(b, type, rank, ...) \
    keep_input(b, lv_external((b)->graph, "input", type, rank, \
                              (const int[LV_MAX_RANK]) { __VA_ARGS__ }))

/* Single ops, with the shapes they have in the 1.3B model; a is the tokens */

enum { DIM = 1536, FFN = 8960, HEADS = 12, TEXT = 512, MAP = 64 };

static int trace_linear(Bench *b, const Work *w)
{
    int k = cut(b, w->b), n = cut(b, w->c);
    LvTensor x = INPUT(b, b->act, 2, cut(b, w->a), k);

    lv_graph_i8(b->graph, b->i8);
    lv_linear(b->graph, x, WEIGHT(b, b->act, 2, n, k), WEIGHT(b, LV_F32, 1, n),
              w->c == FFN ? LV_ACT_GELU : LV_ACT_NONE, b->act);
    return 0;
}

/* Nothing but a product of a, b and c; nothing but a copy of a rows. */
static int trace_product(Bench *b, const Work *w)
{
    LvTensor x = INPUT(b, b->act, 2, cut(b, w->a), cut(b, w->b));

    lv_linear(b->graph, x, WEIGHT(b, b->act, 2, cut(b, w->c), cut(b, w->b)), LV_NO_TENSOR,
              LV_ACT_NONE, b->act);
    return 0;
}

static int trace_copy(Bench *b, const Work *w)
{
    LvTensor x = INPUT(b, b->act, 2, cut(b, w->a), 8192);

    lv_act(b->graph, x, LV_ACT_NONE, b->act);
    return 0;
}

static int dim_of(const Bench *b)
{
    return b->small ? DIM / HEADS : DIM;
}

static int heads_of(const Bench *b)
{
    return b->small ? 1 : HEADS;
}

static int trace_attn(Bench *b, const Work *w)
{
    LvTensor q = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));
    LvTensor k = INPUT(b, b->act, 2, cut(b, w->b), dim_of(b));
    LvTensor v = INPUT(b, b->act, 2, cut(b, w->b), dim_of(b));

    lv_attn(b->graph, q, k, v, LV_NO_TENSOR, LV_NO_TENSOR, heads_of(b), 0, 0.0883883f);
    return 0;
}

static int trace_linattn(Bench *b, const Work *w)
{
    LvTensor q = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));
    LvTensor k = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));
    LvTensor v = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));
    LvTensor wq = WEIGHT(b, LV_F32, 3, heads_of(b), DIM / HEADS, MAP);
    LvTensor wk = WEIGHT(b, LV_F32, 3, heads_of(b), DIM / HEADS, MAP);

    lv_linattn(b->graph, q, k, v, wq, wk, heads_of(b), LV_MAP_HEDGEHOG, 1e-6f);
    return 0;
}

static int trace_norm(Bench *b, const Work *w)
{
    LvTensor x   = INPUT(b, LV_F32, 2, cut(b, w->a), dim_of(b));
    LvTensor mod = INPUT(b, LV_F32, 2, 6, dim_of(b));

    lv_norm(b->graph, x, LV_NO_TENSOR, LV_NO_TENSOR, mod, LV_NORM_LAYER, 0, 1, 1e-6f,
            b->act);
    return 0;
}

static int trace_qknorm(Bench *b, const Work *w)
{
    LvTensor x = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));
    LvTensor rope = INPUT(b, LV_F32, 3, cut(b, w->a), DIM / HEADS / 2, 2);

    lv_qknorm(b->graph, x, WEIGHT(b, LV_F32, 1, dim_of(b)), rope, heads_of(b), 1e-6f, b->act);
    return 0;
}

static int trace_gate(Bench *b, const Work *w)
{
    LvTensor r = INPUT(b, LV_F32, 2, cut(b, w->a), dim_of(b));
    LvTensor x = INPUT(b, b->act, 2, cut(b, w->a), dim_of(b));

    lv_gate(b->graph, r, x, INPUT(b, LV_F32, 2, 6, dim_of(b)), 2);
    return 0;
}

/* a pictures of b x b, c channels: the middle of a MemBlock of the tiny decoder */
static int trace_conv(Bench *b, const Work *w)
{
    int side = b->small ? 8 : w->b;
    LvTensor x = INPUT(b, b->act, 4, w->a, side, side, w->c);

    lv_conv(b->graph, x, WEIGHT(b, b->act, 4, w->c, w->c, 3, 3),
            WEIGHT(b, LV_F32, 1, w->c), LV_NO_TENSOR, 1, 1, LV_ACT_RELU, b->act);
    return 0;
}

/* The DiT. Blocks of one kind of attention share their weights: 1.4 G random
 * parameters would tell no more, and each block's exceed any cache. */

static LvAffine random_affine(Bench *b, int n, int k)
{
    return (LvAffine) { WEIGHT(b, b->act, 2, n, k), WEIGHT(b, LV_F32, 1, n) };
}

static LvDitAttn random_attn(Bench *b, int dim)
{
    LvDitAttn a = { .q = random_affine(b, dim, dim), .k = random_affine(b, dim, dim),
                    .v = random_affine(b, dim, dim), .o = random_affine(b, dim, dim) };

    a.norm_q = WEIGHT(b, LV_F32, 1, dim);
    a.norm_k = WEIGHT(b, LV_F32, 1, dim);
    return a;
}

static LvDitBlock random_block(Bench *b, const LvDitConfig *c)
{
    LvDitBlock k = { .mod = WEIGHT(b, LV_F32, 2, 6, c->dim),
                     .self = random_attn(b, c->dim), .cross = random_attn(b, c->dim) };

    k.norm3 = (LvAffine) { WEIGHT(b, LV_F32, 1, c->dim), WEIGHT(b, LV_F32, 1, c->dim) };
    k.ffn0  = random_affine(b, c->ffn_dim, c->dim);
    k.ffn2  = random_affine(b, c->dim, c->ffn_dim);
    k.mix   = WEIGHT(b, LV_F32, 1, 1);
    k.map_q = k.map_k = LV_NO_TENSOR;
    if (c->map_dim) {
        k.map_q = WEIGHT(b, b->act, 3, c->heads, c->dim / c->heads, c->map_dim);
        k.map_k = WEIGHT(b, b->act, 3, c->heads, c->dim / c->heads, c->map_dim);
    }
    return k;
}

/* Blocks are allocated by the caller. */
static void random_dit(Bench *b, LvDit *m, const LvDitConfig *c)
{
    int token = c->channels * c->patch[0] * c->patch[1] * c->patch[2];
    LvDitBlock block = random_block(b, c);

    m->cfg      = *c;
    m->patch    = random_affine(b, c->dim, token);
    m->text0    = random_affine(b, c->dim, c->text_dim);
    m->text2    = random_affine(b, c->dim, c->dim);
    m->time0    = random_affine(b, c->dim, c->freq_dim);
    m->time2    = random_affine(b, c->dim, c->dim);
    m->proj     = random_affine(b, 6 * c->dim, c->dim);
    m->head     = random_affine(b, token, c->dim);
    m->head_mod = WEIGHT(b, LV_F32, 2, 2, c->dim);
    for (int i = 0; i < c->layers; i++)
        m->block[i] = block;
}

/* Latents of size[] through a DiT; text: its text side instead. */
static int trace_dit(Bench *b, const LvDitConfig *c, const int size[3], int text)
{
    LvDitInputs *in = calloc(1, sizeof(*in));
    LvDit m = { .block = calloc(c->layers, sizeof(*m.block)), .i8 = b->i8 };
    int ret = in && m.block ? 0 : -ENOMEM;

    if (!ret)
        random_dit(b, &m, c);
    if (!ret && text) {
        LvTensor context = INPUT(b, LV_F32, 2, c->text_len, c->text_dim);

        lv_dit_trace_text(b->graph, &m, context, b->act, in);
    } else if (!ret) {
        lv_dit_inputs(b->graph, &m, size, b->act, in);
        keep_input(b, in->latent);
        keep_input(b, in->t);
        keep_input(b, in->rope);
        lv_dit_trace(b->graph, &m, in, b->act, NULL);
    }
    for (int i = 0; i < c->layers && !ret; i++) {
        keep_input(b, in->k[i]);
        keep_input(b, in->v[i]);
    }
    lv_dit_free(&m);
    free(in);
    return ret ? lv_fail(&b->msg, ret, "out of memory") : 0;
}

/* Configurations of layers stay; sizes are cut down with --small. */
static LvDitConfig shape(const Bench *b, const LvDitConfig *of)
{
    LvDitConfig c = *of;

    if (!b->small)
        return c;
    c.heads    = 1;
    c.dim      = of->dim / of->heads;
    c.ffn_dim  = 2 * c.dim;
    c.text_dim = c.text_len = 32;
    return c;
}

static const LvDitConfig wan_1_3b = {
    .dim = DIM, .ffn_dim = FFN, .heads = HEADS, .layers = 30, .text_dim = 4096,
    .text_len = TEXT, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },
    .eps = 1e-6f, .map = LV_MAP_HEDGEHOG, .map_dim = MAP, .map_eps = 1e-6f,
};

static const LvDitConfig wan_14b = {
    .dim = 5120, .ffn_dim = 13824, .heads = 40, .layers = 40, .text_dim = 4096,
    .text_len = TEXT, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },
    .eps = 1e-6f, .map = LV_MAP_HEDGEHOG, .map_dim = MAP, .map_eps = 1e-6f,
};

/* Spread n linear layers evenly. */
static void make_linear(LvDitConfig *c, int n)
{
    for (int i = 0; i < c->layers; i++)
        c->attention[i] = (i + 1) * n / c->layers > i * n / c->layers ?
                          LV_ATTN_LINEAR : LV_ATTN_SOFTMAX;
}

typedef struct Clip {
    int tokens, size[3]; ///< latent frames, rows, columns
} Clip;

static const Clip clips[] = {
    { 1280,  { 5, 32, 32 } },   /* 17 frames of 256x256 */
    { 5120,  { 5, 64, 64 } },   /* 17 frames of 512x512 */
    { 32760, { 21, 60, 104 } }, /* 81 frames of 832x480 */
    { 75600, { 21, 90, 160 } }, /* 81 frames of 1280x720 */
};

static const int *clip_size(const Bench *b, int tokens)
{
    static const int small[] = { 2, 4, 8 };

    if (b->small)
        return small;
    for (int i = 0; i < LV_COUNT(clips); i++)
        if (clips[i].tokens == tokens)
            return clips[i].size;
    return NULL;
}

/* a tokens, b layers linear */
static int trace_wan(Bench *b, const Work *w)
{
    LvDitConfig c = shape(b, &wan_1_3b);

    make_linear(&c, w->b);
    snprintf(b->note, sizeof(b->note), "%d layers, %d linear; layers share the weights "
             "of one", c.layers, w->b);
    return trace_dit(b, &c, clip_size(b, w->a), 0);
}

/* The same, too long to run whole: one layer of each kind is, and counts as many. */
static int trace_sum(Bench *b, const Work *w, const LvDitConfig *whole)
{
    LvDitConfig c = shape(b, whole);

    c.layers       = 2;
    c.attention[0] = LV_ATTN_SOFTMAX;
    c.attention[1] = LV_ATTN_LINEAR;
    b->times[1]    = whole->layers - w->b;
    b->times[2]    = w->b;
    snprintf(b->note, sizeof(b->note), "a sum: 1 softmax layer is run and counts %d "
             "times, 1 linear layer %d times", whole->layers - w->b, w->b);
    return trace_dit(b, &c, clip_size(b, w->a), 0);
}

static int trace_wan_sum(Bench *b, const Work *w)
{
    return trace_sum(b, w, &wan_1_3b);
}

static int trace_wan_14b(Bench *b, const Work *w)
{
    return trace_sum(b, w, &wan_14b);
}

static int trace_wan_text(Bench *b, const Work *w)
{
    const LvDitConfig c = shape(b, &wan_1_3b);

    (void)w;
    snprintf(b->note, sizeof(b->note), "once for each prompt; not part of the others");
    return trace_dit(b, &c, NULL, 1);
}

/* One linear layer, with its cross-attention and MLP, over a tokens. */
static int trace_layer(Bench *b, const Work *w)
{
    const int whole[3] = { w->a / 2048, 64, 128 };
    const int *size    = b->small ? clip_size(b, 0) : whole;
    LvDitConfig c = shape(b, &wan_1_3b);

    c.layers       = 1;
    c.attention[0] = LV_ATTN_LINEAR;
    b->times[0]    = 0;
    return trace_dit(b, &c, size, 0);
}

/* A step's forward and backward passes over w->a samples at the shapes of
 * samples/configs/motion.json: text side, network, loss, all gradients. */
static int trace_step(Bench *b, const Work *w)
{
    const LvDitConfig c = { .dim = 192, .ffn_dim = 768, .heads = 3, .layers = 12,
                            .text_dim = 128, .text_len = 64, .freq_dim = 256,
                            .channels = 16, .patch = { 1, 2, 2 }, .eps = 1e-6f };
    const int whole[] = { 5, 14, 24 }, batch = b->small ? 1 : w->a;
    const int *size   = b->small ? clip_size(b, 0) : whole;
    LvDitInputs *in = calloc(1, sizeof(*in));
    LvDit m = { .block = calloc(c.layers, sizeof(*m.block)) };
    LvTensor v, dv, target, weight;
    int ret = -ENOMEM;

    if (in && m.block) {
        b->train = 1;
        random_dit(b, &m, &c);
        lv_graph_train(b->graph, 0);
        lv_dit_batch_inputs(b->graph, &m, size, batch, in);
        keep_input(b, in->latent);
        keep_input(b, in->t);
        keep_input(b, in->rope);
        v = lv_dit_trace_batch(b->graph, &m,
                               INPUT(b, LV_F32, 2, batch * c.text_len, c.text_dim), in,
                               b->act, NULL);
        target = keep_input(b, lv_external(b->graph, "target", LV_F32, 5, v.dim));
        weight = INPUT(b, LV_F32, 1, batch);
        lv_loss(b->graph, v, target, weight, LV_LOSS_MSE, LV_F32, &dv);
        ret = lv_grad(b->graph, &(LvGradSeed) { v, dv }, 1, b->target, b->nb_targets);
    }
    lv_dit_free(&m);
    free(in);
    return ret == -ENOMEM ? lv_fail(&b->msg, ret, "out of memory") : ret;
}

/* The shapes of the model that generate takes by default, of its own clip. */
static int trace_motion(Bench *b, const Work *w)
{
    char path[LV_PATH_SIZE];
    LvSafetensors *file = NULL;
    LvModelConfig c;
    int size[3], ret = lv_model_find(path, NULL, &b->msg);

    (void)w;
    if (ret < 0 || (ret = lv_safetensors_open(&file, path, &b->msg)) < 0)
        return ret;
    ret = lv_config_read(&c, file, &b->msg);
    lv_safetensors_close(&file);
    if (ret < 0)
        return ret;
    size[0] = (c.video.frames + 6) / 4;
    size[1] = LV_ROUND_UP(c.video.height / 8, c.dit.patch[1]);
    size[2] = LV_ROUND_UP(c.video.width / 8, c.dit.patch[2]);
    if (b->small)
        memcpy(size, clip_size(b, 0), sizeof(size));
    snprintf(b->note, sizeof(b->note), "%d layers of %d, %d linear, %d tokens",
             c.dit.layers, c.dit.dim, lv_config_layers(&c.dit, LV_ATTN_LINEAR),
             lv_dit_tokens(&c.dit, size));
    return trace_dit(b, &c.dit, size, 0);
}

/* The tiny decoder in its published widths (taew2_1) */

static const struct TaeRow {
    int kind, in, out, n;
} tae_rows[] = {
    { LV_TAE_CLAMP, 16, 16, 1 },  { LV_TAE_CONV, 16, 256, 1 },  { LV_TAE_RELU, 256, 256, 1 },
    { LV_TAE_MEM, 256, 256, 1 },  { LV_TAE_MEM, 256, 256, 1 },  { LV_TAE_MEM, 256, 256, 1 },
    { LV_TAE_UP, 256, 256, 1 },   { LV_TAE_GROW, 256, 256, 1 }, { LV_TAE_CONV, 256, 128, 1 },
    { LV_TAE_MEM, 128, 128, 1 },  { LV_TAE_MEM, 128, 128, 1 },  { LV_TAE_MEM, 128, 128, 1 },
    { LV_TAE_UP, 128, 128, 1 },   { LV_TAE_GROW, 128, 128, 2 }, { LV_TAE_CONV, 128, 64, 1 },
    { LV_TAE_MEM, 64, 64, 1 },    { LV_TAE_MEM, 64, 64, 1 },    { LV_TAE_MEM, 64, 64, 1 },
    { LV_TAE_UP, 64, 64, 1 },     { LV_TAE_GROW, 64, 64, 2 },   { LV_TAE_CONV, 64, 64, 1 },
    { LV_TAE_RELU, 64, 64, 1 },   { LV_TAE_CONV, 64, 3, 1 },
};

static void random_layer(Bench *b, LvTaeLayer *l, const struct TaeRow *row, int bias)
{
    *l = (LvTaeLayer) { .kind = row->kind, .in = row->in, .out = row->out, .n = row->n,
                        .stride = 1 };
    for (int k = 0; k < 3; k++)
        l->w[k] = l->b[k] = LV_NO_TENSOR;
    if (l->kind == LV_TAE_GROW)
        l->w[0] = WEIGHT(b, b->act, 4, l->n * l->out, l->in, 1, 1);
    for (int k = 0; k < (l->kind == LV_TAE_MEM ? 3 : l->kind == LV_TAE_CONV); k++) {
        l->w[k] = WEIGHT(b, b->act, 4, l->out, l->kind == LV_TAE_MEM && !k ?
                         2 * l->in : l->in, 3, 3);
        if (bias)
            l->b[k] = WEIGHT(b, LV_F32, 1, l->out);
    }
}

/* One latent frame of a x a, which stands for b of them */
static int trace_tae(Bench *b, const Work *w)
{
    LvTaeState state;
    int side = b->small ? 4 : w->a;
    LvTae m = { .cfg = { .channels = 16, .patch = 1 } };

    m.decoder.layers = LV_COUNT(tae_rows);
    for (int i = 0; i < m.decoder.layers; i++)
        random_layer(b, &m.decoder.layer[i], &tae_rows[i], tae_rows[i].kind == LV_TAE_MEM ||
                     i == 1 || i == m.decoder.layers - 1);
    lv_tae_trace_decoder(b->graph, &m, INPUT(b, LV_F32, 4, 1, side, side, 16), b->act,
                         &state);
    for (int i = 0; i < state.nb; i++)
        keep_input(b, state.t[i]);
    for (int i = 0; i < MAX_LAYERS; i++)
        b->times[i] = w->b;
    snprintf(b->note, sizeof(b->note), "one latent frame (4 pictures) is run and counts "
             "%d times; memory does not grow with their number", w->b);
    return 0;
}

/* Wan's decoder */

/* Memory and values for a tensor that is described. */
static void random_tensor(Bench *b, LvTensor *t)
{
    if (t->rank && lv_has(t))
        *t = take_weight(b, (LvDtype)t->dtype, t->rank, t->dim);
}

static void random_wan(Bench *b, LvWanHalf *h)
{
    random_tensor(b, &h->w);
    random_tensor(b, &h->b);
    for (int i = 0; i < h->layers; i++) {
        LvWanLayer *l = &h->layer[i];
        LvTensor *all[] = { &l->norm[0], &l->norm[1], &l->w[0], &l->w[1], &l->b[0],
                            &l->b[1], &l->side_w, &l->side_b };
        for (int k = 0; k < LV_COUNT(all); k++)
            random_tensor(b, all[k]);
        for (int k = 0; k < 3 && l->kind == LV_WAN_ATTN; k++) {
            random_tensor(b, &l->part_w[k]);
            random_tensor(b, &l->part_b[k]);
        }
    }
}

/* All of a clip: b latent frames of a x a, or a x c, the first of which is one picture */
static int trace_wan_vae(Bench *b, const Work *w)
{
    const LvTaeConfig cfg = { .kind = LV_VAE_WAN, .channels = 16, .patch = 1,
                              .width = b->small ? 8 : 96 };
    int rows = b->small ? 2 : w->a, cols = b->small ? 3 : w->c ? w->c : w->a;
    const LvWeightsFrom from = { .wide = b->act };
    LvWeights *weights = NULL;
    LvWanVae *m = calloc(1, sizeof(*m));
    LvWanState state;
    int ret = m ? lv_weights_new_from(&weights, &from, b->dev, &b->msg) : -ENOMEM;

    if (ret >= 0)
        ret = lv_wan_vae_bind(m, &cfg, 0, weights, "");
    if (ret >= 0)
        random_wan(b, &m->decoder);
    for (int k = 0; k < w->b && ret >= 0; k++) {
        lv_wan_vae_trace_decoder(b->graph, m, INPUT(b, LV_F32, 4, 1, rows, cols, 16), !k,
                                 b->act, &state);
        for (int i = 0; i < state.nb; i++)
            keep_input(b, state.t[i]);
    }
    lv_weights_free(&weights);
    free(m);
    return ret;
}
#define DIT_480P(n, name)                                                       \
    { name, trace_wan, 32760, n, 0, ON_GPU, 0,                                   \
      "Wan 1.3B, one forward, 81 frames of 832x480, " #n " of 30 layers linear" }
#define DIT_720P(n, name)                                                       \
    { name, trace_wan_14b, 75600, n, 0, ON_GPU, 0,                               \
      "Wan 14B, 81 frames of 1280x720, " #n " of 40 layers linear, a sum" }

#define LAYER(n, chosen)                                                         \
    { "linear-layer-" #n, trace_layer, n, 0, 0, chosen, n,                       \
      "one linear layer of the 1.3B model, " #n " tokens" }

static const Work works[] = {
    { "dit-1.3b-1280", trace_wan, 1280, 0, 0, ON_CPU, 0,
      "Wan 1.3B, one forward, 17 frames of 256x256" },
    { "dit-1.3b-1280-linear16", trace_wan, 1280, 16, 0, NEVER, 0,
      "the same, 16 of the 30 layers linear" },
    { "dit-1.3b-5120", trace_wan, 5120, 0, 0, NEVER, 0,
      "Wan 1.3B, one forward, 17 frames of 512x512" },
    { "dit-1.3b-5120-linear16", trace_wan, 5120, 16, 0, NEVER, 0,
      "the same, 16 of the 30 layers linear" },
    { "dit-1.3b-32760-linear16", trace_wan_sum, 32760, 16, 0, NEVER, 0,
      "81 frames of 832x480, a sum: one layer of each kind is run" },
    DIT_480P(0, "dit-1.3b-480p"), DIT_480P(16, "dit-1.3b-480p-linear16"),
    DIT_480P(24, "dit-1.3b-480p-linear24"), DIT_480P(30, "dit-1.3b-480p-linear30"),
    DIT_720P(0, "dit-14b-720p"), DIT_720P(16, "dit-14b-720p-linear16"),
    DIT_720P(24, "dit-14b-720p-linear24"), DIT_720P(30, "dit-14b-720p-linear30"),
    { "dit-1.3b-text", trace_wan_text, 0, 0, 0, NEVER, 0,
      "its text side: keys and values of 512 rows for all layers" },
    { "dit-motion", trace_motion, 0, 0, 0, ALWAYS, 0,
      "the shapes of the default model, one forward of its clip" },
    { "dit-motion-step", trace_step, 8, 0, 0, ALWAYS, 0,
      "training: forward and back over 8 samples of 420 tokens" },
    LAYER(2048, ALWAYS), LAYER(4096, NEVER), LAYER(8192, ALWAYS),
    LAYER(16384, NEVER), LAYER(32768, ON_GPU), LAYER(65536, ON_GPU),
    { "tae-256", trace_tae, 32, 5, 0, ALWAYS, 0,
      "TAEHV decoder (taew2_1), 17 frames of 256x256" },
    { "wan-vae-256", trace_wan_vae, 32, 5, 0, NEVER, 0,
      "Wan's decoder, 17 frames of 256x256" },
    { "wan-vae-480p", trace_wan_vae, 60, 2, 104, ON_GPU, 0,
      "Wan's decoder, the first 5 of 81 frames of 832x480" },
    { "op-linear", trace_linear, 1280, DIM, DIM, ON_CPU, 0,
      "projection, [1280,1536] to 1536" },
    { "op-linear-up", trace_linear, 1280, DIM, FFN, ON_CPU, 0,
      "into the MLP, [1280,1536] to 8960, GELU" },
    { "op-linear-down", trace_linear, 1280, FFN, DIM, ON_CPU, 0,
      "out of the MLP, [1280,8960] to 1536" },
    { "op-attn", trace_attn, 1280, 1280, 0, ON_CPU, 0,
      "softmax attention, 1280 tokens, 12 heads of 128" },
    { "op-attn-5120", trace_attn, 5120, 5120, 0, NEVER, 0,
      "softmax attention, 5120 tokens" },
    { "op-attn-text", trace_attn, 1280, TEXT, 0, ON_CPU, 0,
      "cross-attention, 1280 tokens to 512" },
    { "op-linattn", trace_linattn, 1280, 0, 0, ON_CPU, 0,
      "linear attention, 1280 tokens, maps of 64 columns" },
    { "op-linattn-5120", trace_linattn, 5120, 0, 0, NEVER, 0,
      "linear attention, 5120 tokens" },
    { "op-norm", trace_norm, 1280, 0, 0, 1, 0, "norm and modulation, [1280,1536]" },
    { "op-qknorm", trace_qknorm, 1280, 0, 0, ON_CPU, 0,
      "q/k norm and rotation, [1280,1536]" },
    { "op-gate", trace_gate, 1280, 0, 0, 1, 0, "gated residual, [1280,1536]" },
    { "op-linear-480p", trace_linear, 32760, DIM, DIM, ON_GPU, 0,
      "projection, [32760,1536] to 1536" },
    { "op-linear-up-480p", trace_linear, 32760, DIM, FFN, ON_GPU, 0,
      "into the MLP, [32760,1536] to 8960, GELU" },
    { "op-linear-down-480p", trace_linear, 32760, FFN, DIM, ON_GPU, 0,
      "out of the MLP, [32760,8960] to 1536" },
    { "op-attn-480p", trace_attn, 32760, 32760, 0, ON_GPU, 0,
      "softmax attention, 32760 tokens, 12 heads of 128" },
    { "op-attn-text-480p", trace_attn, 32760, TEXT, 0, ON_GPU, 0,
      "cross-attention, 32760 tokens to 512" },
    { "op-linattn-480p", trace_linattn, 32760, 0, 0, ON_GPU, 0,
      "linear attention, 32760 tokens, maps of 64 columns" },
    { "op-norm-480p", trace_norm, 32760, 0, 0, ON_GPU, 0,
      "norm and modulation, [32760,1536]" },
    { "op-qknorm-480p", trace_qknorm, 32760, 0, 0, ON_GPU, 0,
      "q/k norm and rotation, [32760,1536]" },
    { "op-gate-480p", trace_gate, 32760, 0, 0, ON_GPU, 0,
      "gated residual, [32760,1536]" },
    { "op-conv-256", trace_conv, 5, 32, 256, ALWAYS, 0,
      "3x3 convolution, 5 pictures of 32x32, 256 channels" },
    { "op-conv-64", trace_conv, 4, 128, 64, ALWAYS, 0,
      "3x3 convolution, 4 pictures of 128x128, 64 channels" },
};

/* What a GPU does best, by which the rest is judged. */
static const Work best_product = { "product", trace_product, 8192, 8192, 8192, 0, 0, "" };
static const Work best_copy    = { "copy", trace_copy, 32768, 0, 0, 0, 0, "" };

/* Measuring */

static void clear_work(Bench *b)
{
    lv_program_free(&b->program);
    lv_graph_free(&b->graph);
    b->dev->fn->free(b->dev, b->arena);
    for (int i = 0; i < b->nb_inputs; i++)
        b->dev->fn->free(b->dev, b->input[i].data);
    while (b->weights) {
        Block *next = b->weights->next;

        if (b->weights->data) {
            b->dev->fn->forget(b->dev, b->weights->data, b->weights->bytes);
            b->dev->fn->free(b->dev, b->weights->data);
        }
        free(b->weights);
        b->weights = next;
    }
    b->arena      = NULL;
    b->nb_weights = b->nb_inputs = 0;
    b->nb_targets = b->train = 0;
    b->note[0]    = '\0';
    b->random     = 1;
    memset(b->input, 0, sizeof(b->input));
    for (int i = 0; i < MAX_LAYERS; i++)
        b->times[i] = 1;
}

static int bind_inputs(Bench *b)
{
    for (int i = 0; i < b->nb_inputs; i++) {
        Input *in = &b->input[i];
        size_t bytes = lv_tensor_bytes(&in->tensor);

        int ret = lv_device_alloc(b->dev, &in->data, bytes, "inputs");

        if (ret < 0 || (ret = fill(b, in->data, in->tensor.dtype,
                                   lv_tensor_numel(&in->tensor), 1)) < 0)
            return ret;
        lv_program_bind(b->program, in->tensor, in->data);
    }
    return 0;
}

static int prepare(Bench *b, const Work *w)
{
    LvSizes sizes;
    int ret;

    b->graph = lv_graph_new(&b->msg);
    if (!b->graph)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    ret = w->trace(b, w);
    if (ret < 0 || (ret = lv_program_new(&b->program, b->graph, b->dev)) < 0)
        return ret;
    sizes    = lv_program_sizes(b->program);
    ret      = lv_device_alloc(b->dev, &b->arena, LV_MAX(sizes.arena, 1), w->name);
    if (ret < 0 || (ret = lv_program_build(b->program, b->arena)) < 0)
        return ret;
    return bind_inputs(b);
}

static double record_times(const Bench *b, int i)
{
    int layer = lv_program_record(b->program, i)->layer;

    return layer < MAX_LAYERS ? b->times[layer] : 1;
}

/* One run; its seconds, counting each layer as often as it stands for. */
static int run_once(Bench *b, Result *r, double *seconds)
{
    int n = lv_program_count(b->program), ret;
    double *one = calloc(n + 1, sizeof(*one));

    if (!one)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    lv_program_time(b->program, one);
    ret = lv_program_run(b->program, NULL, NULL);
    *seconds = 0;
    for (int i = 0; i < n; i++) {
        *seconds     += one[i] * record_times(b, i);
        r->record[i] += one[i];
    }
    lv_program_time(b->program, NULL);
    free(one);
    return ret;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int measure(Bench *b, Result *r)
{
    int n = lv_program_count(b->program), ret;
    double warm;

    r->record = calloc(n + 1, sizeof(*r->record));
    if (!r->record)
        return lv_fail(&b->msg, -ENOMEM, "out of memory");
    if ((ret = run_once(b, r, &warm)) < 0)
        return ret;
    memset(r->record, 0, n * sizeof(*r->record));
    r->reps = warm > SLOW_SECONDS ? LV_MIN(b->reps, SLOW_REPS) : b->reps;
    for (int i = 0; i < r->reps; i++)
        if ((ret = run_once(b, r, &r->seconds[i])) < 0)
            return ret;
    qsort(r->seconds, r->reps, sizeof(*r->seconds), compare);
    for (int i = 0; i < n; i++) {
        const LvRecord *rec = lv_program_record(b->program, i);

        r->record[i] /= r->reps;
        r->flops += lv_op_flops(rec->op, &rec->u) * record_times(b, i);
        r->bytes += lv_op_bytes(rec->op, &rec->u) * record_times(b, i);
    }
    return 0;
}

static double median(const Result *r)
{
    return (r->seconds[(r->reps - 1) / 2] + r->seconds[r->reps / 2]) / 2;
}

/* Reports */

static const char *time_text(char *buf, size_t size, double s)
{
    if (s >= 1)
        snprintf(buf, size, "%.3f s ", s);
    else if (s >= 1e-3)
        snprintf(buf, size, "%.3f ms", 1e3 * s);
    else
        snprintf(buf, size, "%.3f us", 1e6 * s);
    return buf;
}

/* A GPU's rates: of products and of memory, each with its share. */
static void print_rates(const Bench *b, double flops, double bytes, double seconds)
{
    double products = seconds > 0 ? 1e-9 * flops / seconds : 0;
    double memory   = seconds > 0 ? 1e-9 * bytes / seconds : 0;

    printf(" %9.1f %8.0f %% %9.0f %5.0f %%", 1e-3 * products, 100 * products / b->ceiling,
           memory, 100 * memory / b->copy);
}

/* What only moves memory is told in GB/s, of which there is no ceiling on the CPU. */
static void print_rate(const Bench *b, double flops, double bytes, double seconds)
{
    double rate;

    if (b->copy > 0) {
        print_rates(b, flops, bytes, seconds);
        return;
    }
    rate = seconds > 0 ? 1e-9 * (flops > 0 ? flops : bytes) / seconds : 0;

    if (flops > 0)
        printf(" %9.1f %8.0f %%", rate, 100 * rate / b->ceiling);
    else
        printf(" %9.1f %10s", rate, "GB/s");
}

static const char *rate_head(const Bench *b)
{
    return b->copy > 0 ? "  TFLOP/s of ceiling      GB/s of copy"
                       : "  GFLOP/s of ceiling";
}

/* A sum over like records: of one kind, or of one place in the model's source. */
typedef struct Row {
    const LvRecord *rec;
    double calls, seconds, flops, bytes;
} Row;

static int same_place(const LvRecord *a, const LvRecord *b)
{
    return a->op == b->op && a->line == b->line && !strcmp(a->file, b->file) &&
           !memcmp(a->u.t[0].dim, b->u.t[0].dim, sizeof(a->u.t[0].dim)) &&
           !memcmp(a->u.t[1].dim, b->u.t[1].dim, sizeof(a->u.t[1].dim));
}

static int same_op(const LvRecord *a, const LvRecord *b)
{
    return a->op == b->op;
}

static int compare_rows(const void *a, const void *b)
{
    return compare(&((const Row *)b)->seconds, &((const Row *)a)->seconds);
}

static int sum_rows(const Bench *b, const Result *r, Row *row,
                    int (*same)(const LvRecord *a, const LvRecord *b))
{
    int n = 0, k;

    for (int i = 0; i < lv_program_count(b->program); i++) {
        const LvRecord *rec = lv_program_record(b->program, i);
        double times = record_times(b, i);

        for (k = 0; k < n && !same(row[k].rec, rec); k++)
            ;
        if (k == n)
            row[n++] = (Row) { .rec = rec };
        row[k].calls   += times;
        row[k].seconds += times * r->record[i];
        row[k].flops   += times * lv_op_flops(rec->op, &rec->u);
        row[k].bytes   += times * lv_op_bytes(rec->op, &rec->u);
    }
    qsort(row, n, sizeof(*row), compare_rows);
    return n;
}

static void print_rows(const Bench *b, const Row *row, int n, int places)
{
    char text[32], x[64], w[64];
    double total = 0;

    for (int i = 0; i < n; i++)
        total += row[i].seconds;
    printf("    %-12s %6s %12s %6s %s\n", "op", "calls", "time", "share", rate_head(b));
    for (int i = 0; i < n; i++) {
        const LvRecord *r = row[i].rec;
        const char *slash = strrchr(r->file, '/');

        printf("    %-12s %6.0f %12s %4.1f %%", lv_op_info(r->op)->name, row[i].calls,
               time_text(text, sizeof(text), row[i].seconds),
               total > 0 ? 100 * row[i].seconds / total : 0);
        print_rate(b, row[i].flops, row[i].bytes, row[i].seconds);
        if (places)
            printf("  %s %s  %s:%d", lv_tensor_text(x, sizeof(x), &r->u.t[0]),
                   lv_op_info(r->op)->in > 1 && lv_has(&r->u.t[1]) ?
                   lv_tensor_text(w, sizeof(w), &r->u.t[1]) : "",
                   slash ? slash + 1 : r->file, r->line);
        putchar('\n');
    }
}

static void print_ops(const Bench *b, const Result *r)
{
    Row *row = calloc(lv_program_count(b->program) + 1, sizeof(*row));

    if (!row)
        return;
    print_rows(b, row, sum_rows(b, r, row, same_op), 0);
    putchar('\n');
    memset(row, 0, lv_program_count(b->program) * sizeof(*row));
    print_rows(b, row, sum_rows(b, r, row, same_place), 1);
    putchar('\n');
    free(row);
}

static void print_text(const Bench *b, const Work *w, const Result *r)
{
    char mid[32], low[32], high[32];

    printf("%-24s %12s %12s %12s", w->name, time_text(mid, sizeof(mid), median(r)),
           time_text(low, sizeof(low), r->seconds[0]),
           time_text(high, sizeof(high), r->seconds[r->reps - 1]));
    print_rate(b, r->flops, r->bytes, median(r));
    putchar('\n');
    if (w->tokens)
        printf("    %s for each of %d tokens\n",
               time_text(mid, sizeof(mid), median(r) / w->tokens), w->tokens);
    if (b->note[0])
        printf("    %s\n", b->note);
    if (b->ops)
        print_ops(b, r);
    fflush(stdout);
}

static void print_json_ops(const Bench *b, const Result *r)
{
    Row *row = calloc(lv_program_count(b->program) + 1, sizeof(*row));
    int n = row ? sum_rows(b, r, row, same_op) : 0;

    printf(", \"ops\": {");
    for (int i = 0; i < n; i++)
        printf("%s\"%s\": {\"calls\": %.0f, \"seconds\": %.9g, \"gflop\": %.9g, "
               "\"gbyte\": %.9g}", i ? ", " : "", lv_op_info(row[i].rec->op)->name,
               row[i].calls, row[i].seconds, 1e-9 * row[i].flops, 1e-9 * row[i].bytes);
    putchar('}');
    free(row);
}

static void print_json(const Bench *b, const Work *w, const Result *r)
{
    double rate = 1e-9 * r->flops / median(r);

    printf("%s  {\"name\": \"%s\", \"seconds\": %.9g, \"min\": %.9g, \"max\": %.9g, "
           "\"reps\": %d, \"gflop\": %.9g, \"gflops\": %.6g, \"share\": %.4g, "
           "\"gbyte\": %.9g",
           b->printed ? ",\n" : "", w->name, median(r), r->seconds[0],
           r->seconds[r->reps - 1], r->reps, 1e-9 * r->flops, rate,
           rate / b->ceiling, 1e-9 * r->bytes);
    if (b->copy > 0)
        printf(", \"copy_share\": %.4g", 1e-9 * r->bytes / median(r) / b->copy);
    if (w->tokens)
        printf(", \"tokens\": %d", w->tokens);
    if (b->note[0])
        printf(", \"note\": \"%s\"", b->note);
    if (b->ops)
        print_json_ops(b, r);
    putchar('}');
    fflush(stdout);
}

/* The shortest time of a work that is not reported. */
static int find_best(Bench *b, const Work *w, Result *r)
{
    int ret;

    clear_work(b);
    if ((ret = prepare(b, w)) >= 0)
        ret = measure(b, r);
    free(r->record);
    clear_work(b);
    return ret;
}

static int find_ceilings(Bench *b)
{
    Result product = { .reps = 0 }, copy = { .reps = 0 };
    int ret = find_best(b, &best_product, &product);

    if (ret < 0 || (ret = find_best(b, &best_copy, &copy)) < 0)
        return ret;
    b->ceiling = 1e-9 * product.flops / product.seconds[0];
    b->copy    = 1e-9 * copy.bytes / copy.seconds[0];
    return 0;
}

static int run_work(Bench *b, const Work *w)
{
    Result r = { .reps = 0 };
    int ret;

    clear_work(b);
    ret = prepare(b, w);
    if (!ret)
        ret = measure(b, &r);
    if (!ret)
        (b->json ? print_json : print_text)(b, w, &r);
    b->printed += !ret;
    free(r.record);
    clear_work(b);
    return ret;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo bench [options] [NAME...]\n\n"
         "Times networks and their parts, with random weights: the median, smallest and\n"
         "largest time of some runs after one to warm up, GFLOP/s, and the share of what\n"
         "a plain oneDNN matrix product reaches here and now. On a GPU: TFLOP/s and GB/s,\n"
         "and the share of what a large product and a copy reach there.\n\n"
         "  --list                list the names\n"
         "  --ops                 also the time of each kind of op, and of each place\n"
         "                        in the model's source\n"
         "  --device NAME         cpu (default), cuda or cuda:N\n"
         "  --threads N           default: one for each core\n"
         "  --precision NAME      f32, bf16 (default where the CPU has it), or int8 for\n"
         "                        products of the network's blocks; shares are of bf16's\n"
         "  --reps N              runs that are measured (default 5; at most 2 of\n"
         "                        what takes over 8 s)\n"
         "  --small               shapes are cut down: to try the command, not to measure\n"
         "  --json                print JSON\n\n"
         "Without a name, those marked * by --list are run; on a GPU those marked +.");
}

static void list(void)
{
    for (int i = 0; i < LV_COUNT(works); i++)
        printf("%c%c %-24s %s\n", works[i].chosen & ON_CPU ? '*' : ' ',
               works[i].chosen & ON_GPU ? '+' : ' ', works[i].name, works[i].about);
}

static const Work *find_work(const char *name)
{
    for (int i = 0; i < LV_COUNT(works); i++)
        if (!strcmp(works[i].name, name))
            return &works[i];
    return NULL;
}

static int set_precision(Bench *b, const char *name)
{
    static const char *const names[] = { "auto", "f32", "bf16", "int8" };

    for (int i = 0; name && i < LV_COUNT(names); i++)
        if (!strcmp(names[i], name))
            return b->precision = i, 0;
    return name ? lv_tool_fail(-1, "option precision: \"%s\" is none of auto, f32, "
                               "bf16, int8", name) : -1;
}

static int set_option(Bench *b, LvArgs *a)
{
    if (!strcmp(a->name, "threads"))
        return lv_args_int(a, 0, 1024, &b->threads);
    if (!strcmp(a->name, "reps"))
        return lv_args_int(a, 1, MAX_REPS, &b->reps);
    if (!strcmp(a->name, "precision"))
        return set_precision(b, lv_args_value(a));
    if (!strcmp(a->name, "device"))
        return (b->device = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "small"))
        return b->small = 1, 0;
    if (!strcmp(a->name, "ops"))
        return b->ops = 1, 0;
    if (!strcmp(a->name, "json"))
        return b->json = 1, 0;
    return lv_tool_fail(-1, "no option \"%s\"; linvideo bench --help lists them",
                        a->name);
}

/* -1 to go on, or an exit code; chosen[] marks the works named. */
static int parse(Bench *b, int argc, char **argv, int *chosen)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };
    int words = 0;

    while (lv_args_next(&a)) {
        const Work *w = a.name[0] ? NULL : find_work(a.value);

        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (!strcmp(a.name, "list"))
            return list(), LV_EXIT_OK;
        if (!a.name[0] && !w)
            return lv_tool_fail(LV_EXIT_USAGE, "nothing to time is named \"%s\"; "
                                "linvideo bench --list lists the names", a.value);
        if (w)
            words += chosen[w - works] = 1;
        else if (set_option(b, &a) < 0)
            return LV_EXIT_USAGE;
    }
    for (int i = 0; i < LV_COUNT(works) && !words; i++)
        chosen[i] = works[i].chosen & (strcmp(b->device, "cpu") ? ON_GPU : ON_CPU);
    return -1;
}

static int open_device(Bench *b)
{
    LvDeviceOptions options = { .threads = b->threads };
    int ret = lv_device_open(&b->dev, b->device, &options, &b->msg);

    if (ret < 0)
        return ret;
    if (!b->precision)
        b->precision = b->dev->bf16 ? LINVIDEO_PRECISION_BF16 :
                                      LINVIDEO_PRECISION_F32;
    b->i8  = b->precision == LINVIDEO_PRECISION_INT8;
    b->act = b->precision == LINVIDEO_PRECISION_BF16 || (b->i8 && b->dev->bf16) ? LV_BF16 :
             LV_F32;
    if (b->i8 && !b->dev->i8)
        return lv_fail(&b->msg, LV_ERR_UNSUPPORTED, "%s has no int8 products",
                       b->dev->about);
    if (!b->dev->host)
        return find_ceilings(b);
    if (lv_probe(&b->probe, b->dev->threads) < 0)
        return lv_fail(&b->msg, LV_ERR_DEVICE, "oneDNN %s does no matrix product",
                       b->probe.version);
    b->ceiling = b->act == LV_BF16 && b->probe.bf16 > 0 ? b->probe.bf16 : b->probe.f32;
    return 0;
}

static void print_head(const Bench *b)
{
    const char *type = b->i8 ? "int8" : b->act == LV_BF16 ? "bf16" : "f32";

    if (b->copy > 0 && b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\",\n \"ceiling\": {\"gflops\": "
               "%.6g, \"gbps\": %.6g},\n \"works\": [\n", b->dev->about, type, b->ceiling,
               b->copy);
        return;
    }
    if (b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\", \"onednn\": \"%s\",\n"
               " \"ceiling\": {\"bf16\": %.6g, \"f32\": %.6g},\n \"works\": [\n",
               b->dev->about, type, b->probe.version, b->probe.bf16, b->probe.f32);
        return;
    }
    printf("%s, %s\n", b->dev->about, type);
    if (b->copy > 0)
        printf("ceiling: %.1f TFLOP/s, a product 8192 x 8192 x 8192; copy: %.0f GB/s\n\n",
               1e-3 * b->ceiling, b->copy);
    else
        printf("ceiling: %.0f GFLOP/s in bf16, %.0f in f32: [1280,1536] by [1536,8960], "
               "oneDNN %s\n\n", b->probe.bf16, b->probe.f32, b->probe.version);
    printf("%-24s %12s %12s %12s %s\n", "", "median", "min   ", "max   ", rate_head(b));
}

static int cmd_bench(int argc, char **argv)
{
    Bench b = { .reps = 5, .random = 1, .device = "cpu" };
    int chosen[LV_COUNT(works)] = { 0 };
    int ret = parse(&b, argc, argv, chosen);

    if (ret >= 0)
        return ret;
    b.msg = lv_tool_msg;
    ret = open_device(&b);
    if (!ret)
        print_head(&b);
    for (int i = 0; i < LV_COUNT(works) && ret >= 0; i++)
        if (chosen[i])
            ret = run_work(&b, &works[i]);
    if (b.json && b.dev)
        puts("\n]}");
    lv_device_close(&b.dev);
    return ret < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
}

const LvCommand lv_cmd_bench = {
    .name  = "bench",
    .about = "measure the speed of networks and their parts",
    .run   = cmd_bench,
};
