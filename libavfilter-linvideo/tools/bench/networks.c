/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/model.h"
#include "graph/grad.h"
#include "model/dit.h"
#include "model/list.h"
#include "model/tae.h"
#include "model/wan_vae.h"
#include "tools/bench/random_file.h"

/* The DiT. Blocks share the weights of one: 1.4 G random parameters would tell no more, and
 * each block's exceed any cache. */

/* The kind of layer that has all weights that any layer of c has. */
static int fullest(const LvDitConfig *c)
{
    return lv_config_layers(c, LV_ATTN_MIXED) ? LV_ATTN_MIXED
         : lv_config_layers(c, LV_ATTN_LINEAR) ? LV_ATTN_LINEAR : LV_ATTN_SOFTMAX;
}

/* Freed by the caller, after an error too. */
static int random_dit(LvBench *b, LvDit *m, const LvDitConfig *c, int train)
{
    LvModelConfig one = { .dit = *c };
    LvParams *list = NULL;
    LvDitBlock *block;
    int ret;

    one.dit.layers       = 1;
    one.dit.attention[0] = fullest(c);
    ret = lv_part_list(&list, LV_PART_DIT, &one, LV_LAYOUT_ORIGINAL, "", b->dev, &b->msg);
    if (ret < 0 || (ret = lv_random_file(b, &list, train)) < 0 ||
        (ret = lv_dit_bind(m, &one.dit, b->weights, "")) < 0)
        return ret;
    if (!(block = realloc(m->block, (size_t)c->layers * sizeof(*block))))
        return lv_fail(&b->msg, LV_ERR(ENOMEM), "out of memory");
    for (int i = 1; i < c->layers; i++)
        block[i] = block[0];
    m->block = block;
    m->cfg   = *c;
    m->matmul = b->matmul;
    return 0;
}

/* Latents of size[] through a DiT; text: its text side instead. */
static int trace_dit(LvBench *b, const LvDitConfig *c, const int size[3], int text)
{
    LvDitInputs *in = calloc(1, sizeof(*in));
    LvDit m = { 0 };
    int ret = in ? random_dit(b, &m, c, 0) : lv_fail(&b->msg, LV_ERR(ENOMEM), "out of memory");

    if (!ret && text) {
        LvTensor context = LV_BENCH_INPUT(b, LV_F32, 2, c->text_len, c->text_dim);

        lv_dit_trace_text(b->graph, &m, context, b->act, in);
    } else if (!ret) {
        lv_dit_inputs(b->graph, &m, size, b->act, in);
        lv_bench_input(b, in->latent);
        lv_bench_input(b, in->t);
        lv_bench_input(b, in->rope);
        lv_dit_trace(b->graph, &m, in, b->act, NULL);
    }
    for (int i = 0; i < c->layers && !ret; i++) {
        lv_bench_input(b, in->k[i]);
        lv_bench_input(b, in->v[i]);
    }
    lv_dit_free(&m);
    free(in);
    return ret;
}

/* Configurations of layers stay; sizes are cut down with --small. */
static LvDitConfig shape(const LvBench *b, const LvDitConfig *of)
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
    .dim = 1536, .ffn_dim = 8960, .heads = 12, .layers = 30, .text_dim = 4096,
    .text_len = 512, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },
    .eps = 1e-6f, .map = LV_MAP_HEDGEHOG, .map_dim = 64, .map_eps = 1e-6f,
};

static const LvDitConfig wan_14b = {
    .dim = 5120, .ffn_dim = 13824, .heads = 40, .layers = 40, .text_dim = 4096,
    .text_len = 512, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },
    .eps = 1e-6f, .map = LV_MAP_HEDGEHOG, .map_dim = 64, .map_eps = 1e-6f,
};

void lv_make_linear(LvDitConfig *c, int n)
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

static const int *clip_size(const LvBench *b, int tokens)
{
    static const int small[] = { 2, 4, 8 };

    if (b->small)
        return small;
    for (int i = 0; i < LV_COUNT(clips); i++)
        if (clips[i].tokens == tokens)
            return clips[i].size;
    return NULL;
}

int lv_trace_wan(LvBench *b, const LvWork *w)
{
    LvDitConfig c = shape(b, &wan_1_3b);

    lv_make_linear(&c, w->b);
    snprintf(b->note, sizeof(b->note), "%d layers, %d linear; layers share the weights "
             "of one", c.layers, w->b);
    return trace_dit(b, &c, clip_size(b, w->a), 0);
}

static int trace_sum(LvBench *b, const LvWork *w, const LvDitConfig *whole)
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

int lv_trace_wan_sum(LvBench *b, const LvWork *w)
{
    return trace_sum(b, w, &wan_1_3b);
}

int lv_trace_wan_14b(LvBench *b, const LvWork *w)
{
    return trace_sum(b, w, &wan_14b);
}

int lv_trace_wan_text(LvBench *b, const LvWork *w)
{
    const LvDitConfig c = shape(b, &wan_1_3b);

    (void)w;
    snprintf(b->note, sizeof(b->note), "once for each prompt; not part of the others");
    return trace_dit(b, &c, NULL, 1);
}

int lv_trace_layer(LvBench *b, const LvWork *w)
{
    const int whole[3] = { w->a / 2048, 64, 128 };
    const int *size    = b->small ? clip_size(b, 0) : whole;
    LvDitConfig c = shape(b, &wan_1_3b);

    c.layers       = 1;
    c.attention[0] = LV_ATTN_LINEAR;
    b->times[0]    = 0;
    return trace_dit(b, &c, size, 0);
}

/* All gradients of a loss of v. */
static int trace_loss(LvBench *b, LvTensor v, int batch)
{
    LvTensor target = lv_bench_input(b, lv_external(b->graph, "target", LV_F32, 5, v.dim));
    LvTensor weight = LV_BENCH_INPUT(b, LV_F32, 1, batch), dv;
    LvGradTarget *to = calloc((size_t)b->params->nb, sizeof(*to));
    int ret = LV_ERR(ENOMEM);

    if (to) {
        lv_params_targets(b->params, to);
        lv_loss(b->graph, v, target, weight, LV_LOSS_MSE, LV_F32, &dv);
        ret = lv_grad(b->graph, &(LvGradSeed) { v, dv }, 1, to, b->params->nb);
    }
    free(to);
    return ret;
}

int lv_trace_step(LvBench *b, const LvWork *w)
{
    const LvDitConfig c = { .dim = 192, .ffn_dim = 768, .heads = 3, .layers = 12,
                            .text_dim = 128, .text_len = 64, .freq_dim = 256,
                            .channels = 16, .patch = { 1, 2, 2 }, .eps = 1e-6f };
    const int whole[] = { 5, 14, 24 }, batch = b->small ? 1 : w->a;
    const int *size   = b->small ? clip_size(b, 0) : whole;
    LvDitInputs *in = calloc(1, sizeof(*in));
    LvDit m = { 0 };
    int ret = in ? random_dit(b, &m, &c, 1) : lv_fail(&b->msg, LV_ERR(ENOMEM), "out of memory");

    if (!ret) {
        LvTensor context = LV_BENCH_INPUT(b, LV_F32, 2, batch * c.text_len, c.text_dim);

        lv_graph_train(b->graph, 0);
        lv_dit_batch_inputs(b->graph, &m, size, batch, in);
        lv_bench_input(b, in->latent);
        lv_bench_input(b, in->t);
        lv_bench_input(b, in->rope);
        ret = trace_loss(b, lv_dit_trace_batch(b->graph, &m, context, LV_NO_TENSOR, in, b->act,
                                               NULL), batch);
    }
    lv_dit_free(&m);
    free(in);
    return ret;
}

int lv_trace_motion(LvBench *b, const LvWork *w)
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
/* The autoencoders */

static const LvTaeDesign taew2_1 = { 4, { { 64, 0, 0 }, { 64, 3, 2 }, { 128, 3, 2 },
                                          { 256, 3, 1 } } };

int lv_list_tae(LvParams **list, const LvTaeConfig *cfg, const char *prefix, LvDevice *dev,
                const LvMsg *msg)
{
    LvWeightsFrom from = { .wide = LV_F32 };
    LvWeights *w = NULL;
    LvTae m = { 0 };
    int ret = lv_params_new(list, 0, dev, msg);

    from.params = *list;
    if (ret >= 0 && (ret = lv_weights_new_from(&w, &from, dev, msg)) >= 0)
        ret = lv_tae_design(&m, cfg, &taew2_1, 0, w, prefix);
    lv_weights_free(&w);
    return ret;
}

int lv_trace_tae(LvBench *b, const LvWork *w)
{
    const LvTaeConfig cfg = { .channels = 16, .patch = 1 };
    int side = b->small ? 4 : w->a, ret;
    LvParams *list = NULL;
    LvTaeState state;
    LvTae m = { 0 };

    if ((ret = lv_list_tae(&list, &cfg, "", b->dev, &b->msg)) < 0) {
        lv_params_free(&list);
        return ret;
    }
    if ((ret = lv_random_file(b, &list, 0)) < 0 ||
        (ret = lv_tae_bind(&m, &cfg, 0, b->weights, "")) < 0)
        return ret;
    lv_tae_trace_decoder(b->graph, &m, LV_BENCH_INPUT(b, LV_F32, 4, 1, side, side, 16), b->act,
                         &state);
    for (int i = 0; i < state.nb; i++)
        lv_bench_input(b, state.t[i]);
    for (int i = 0; i < LV_BENCH_LAYERS; i++)
        b->times[i] = w->b;
    snprintf(b->note, sizeof(b->note), "one latent frame (4 frames) is run and counts "
             "%d times; memory does not grow with their number", w->b);
    return 0;
}

static int trace_wan(LvBench *b, const LvWork *w, const LvTaeConfig *vae)
{
    const LvModelConfig cfg = { .vae = *vae };
    int rows = b->small ? 2 : w->a, cols = b->small ? 3 : w->c ? w->c : w->a;
    LvParams *list = NULL;
    LvWanVae *m = calloc(1, sizeof(*m));
    LvWanState state;
    int ret = m ? lv_part_list(&list, LV_PART_WAN_VAE, &cfg, LV_LAYOUT_ORIGINAL, "", b->dev,
                               &b->msg)
                : lv_fail(&b->msg, LV_ERR(ENOMEM), "out of memory");

    if (ret >= 0 && (ret = lv_random_file(b, &list, 0)) >= 0)
        ret = lv_wan_vae_bind(m, &cfg.vae, 0, b->weights, "");
    for (int k = 0; k < w->b && ret >= 0; k++) {
        lv_wan_vae_trace_decoder(b->graph, m, LV_BENCH_INPUT(b, LV_F32, 4, 1, rows, cols,
                                                             vae->channels), !k, b->act, &state);
        for (int i = 0; i < state.nb; i++)
            lv_bench_input(b, state.t[i]);
    }
    free(m);
    return ret;
}

int lv_trace_wan_vae(LvBench *b, const LvWork *w)
{
    return trace_wan(b, w, &(LvTaeConfig) { .kind = LV_VAE_WAN, .channels = 16, .patch = 1,
                                            .width = b->small ? 8 : 96 });
}

int lv_trace_wan22_vae(LvBench *b, const LvWork *w)
{
    return trace_wan(b, w, &(LvTaeConfig) { .kind = LV_VAE_WAN, .channels = 48, .patch = 2,
                                            .width = b->small ? 8 : 256, .encoder_width = 4 });
}
