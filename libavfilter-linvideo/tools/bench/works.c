/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/works.h"

#include <string.h>

#include "tools/bench/clip_run.h"
#include "tools/bench/networks.h"

/* Single ops, with the shapes they have in the 1.3B model; a is the tokens */

enum { DIM = 1536, FFN = 8960, HEADS = 12, TEXT = 512, MAP = 64 };

static int trace_linear(LvBench *b, const LvWork *w)
{
    int k = lv_bench_cut(b, w->b), n = lv_bench_cut(b, w->c);
    LvTensor x = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), k);

    lv_graph_matmul(b->graph, b->matmul);
    lv_linear(b->graph, x, LV_BENCH_WEIGHT(b, b->act, 2, n, k), LV_BENCH_WEIGHT(b, LV_F32, 1, n),
              w->c == FFN ? LV_ACT_GELU : LV_ACT_NONE, b->act);
    return 0;
}

/* Nothing but a matmul of a, b and c; nothing but a copy of a rows. */
static int trace_matmul(LvBench *b, const LvWork *w)
{
    LvTensor x = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), lv_bench_cut(b, w->b));
    LvTensor weight = LV_BENCH_WEIGHT(b, b->act, 2, lv_bench_cut(b, w->c), lv_bench_cut(b, w->b));

    lv_linear(b->graph, x, weight, LV_NO_TENSOR, LV_ACT_NONE, b->act);
    return 0;
}

static int trace_copy(LvBench *b, const LvWork *w)
{
    LvTensor x = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), 8192);

    lv_act(b->graph, x, LV_ACT_NONE, b->act);
    return 0;
}

static int dim_of(const LvBench *b)
{
    return b->small ? DIM / HEADS : DIM;
}

static int heads_of(const LvBench *b)
{
    return b->small ? 1 : HEADS;
}

static int trace_attn(LvBench *b, const LvWork *w)
{
    LvTensor q = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor k = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->b), dim_of(b));
    LvTensor v = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->b), dim_of(b));

    lv_attn(b->graph, q, k, v, LV_NO_TENSOR, LV_NO_TENSOR, heads_of(b), 0, 0.0883883f);
    return 0;
}

static int trace_linattn(LvBench *b, const LvWork *w)
{
    LvTensor q = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor k = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor v = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor wq = LV_BENCH_WEIGHT(b, LV_F32, 3, heads_of(b), DIM / HEADS, MAP);
    LvTensor wk = LV_BENCH_WEIGHT(b, LV_F32, 3, heads_of(b), DIM / HEADS, MAP);

    lv_linattn(b->graph, q, k, v, wq, wk, heads_of(b), LV_MAP_HEDGEHOG, 1e-6f);
    return 0;
}

static int trace_norm(LvBench *b, const LvWork *w)
{
    LvTensor x   = LV_BENCH_INPUT(b, LV_F32, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor mod = LV_BENCH_INPUT(b, LV_F32, 2, 6, dim_of(b));

    lv_norm(b->graph, x, LV_NO_TENSOR, LV_NO_TENSOR, mod, LV_NORM_LAYER, 0, 1, 1e-6f,
            b->act);
    return 0;
}

static int trace_qknorm(LvBench *b, const LvWork *w)
{
    LvTensor x = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor rope = LV_BENCH_INPUT(b, LV_F32, 3, lv_bench_cut(b, w->a), DIM / HEADS / 2, 2);
    LvTensor scale = LV_BENCH_WEIGHT(b, LV_F32, 1, dim_of(b));

    lv_qknorm(b->graph, x, scale, rope, heads_of(b), 1e-6f, b->act);
    return 0;
}

static int trace_gate(LvBench *b, const LvWork *w)
{
    LvTensor r = LV_BENCH_INPUT(b, LV_F32, 2, lv_bench_cut(b, w->a), dim_of(b));
    LvTensor x = LV_BENCH_INPUT(b, b->act, 2, lv_bench_cut(b, w->a), dim_of(b));

    lv_gate(b->graph, r, x, LV_BENCH_INPUT(b, LV_F32, 2, 6, dim_of(b)), 2);
    return 0;
}

/* a frames of b x b, c channels: the middle of a MemBlock of the tiny decoder */
static int trace_conv(LvBench *b, const LvWork *w)
{
    int side = b->small ? 8 : w->b;
    LvTensor x = LV_BENCH_INPUT(b, b->act, 4, w->a, side, side, w->c);

    lv_conv(b->graph, x, LV_BENCH_WEIGHT(b, b->act, 4, w->c, w->c, 3, 3),
            LV_BENCH_WEIGHT(b, LV_F32, 1, w->c), LV_NO_TENSOR, 1, 1, LV_ACT_RELU, b->act);
    return 0;
}

#define DIT_480P(n, name)                                                       \
    { name, lv_trace_wan, 32760, n, 0, LV_ON_GPU, 0,                                   \
      "Wan 1.3B, one forward, 81 frames of 832x480, " #n " of 30 layers linear" }
#define DIT_720P(n, name)                                                       \
    { name, lv_trace_wan_14b, 75600, n, 0, LV_ON_GPU, 0,                               \
      "Wan 14B, 81 frames of 1280x720, " #n " of 40 layers linear, a sum" }

#define LAYER(n, chosen)                                                         \
    { "linear-layer-" #n, lv_trace_layer, n, 0, 0, chosen, n,                       \
      "one linear layer of the 1.3B model, " #n " tokens" }

#define CLIP(name, kind, about)                                                  \
    { name, NULL, LV_CLIP_##kind, 0, 0, LV_NEVER, 0, "whole clips: " about }

const LvWork lv_works[] = {
    { "dit-1.3b-1280", lv_trace_wan, 1280, 0, 0, LV_ON_CPU, 0,
      "Wan 1.3B, one forward, 17 frames of 256x256" },
    { "dit-1.3b-1280-linear16", lv_trace_wan, 1280, 16, 0, LV_NEVER, 0,
      "the same, 16 of the 30 layers linear" },
    { "dit-1.3b-5120", lv_trace_wan, 5120, 0, 0, LV_NEVER, 0,
      "Wan 1.3B, one forward, 17 frames of 512x512" },
    { "dit-1.3b-5120-linear16", lv_trace_wan, 5120, 16, 0, LV_NEVER, 0,
      "the same, 16 of the 30 layers linear" },
    { "dit-1.3b-32760-linear16", lv_trace_wan_sum, 32760, 16, 0, LV_NEVER, 0,
      "81 frames of 832x480, a sum: one layer of each kind is run" },
    DIT_480P(0, "dit-1.3b-480p"), DIT_480P(16, "dit-1.3b-480p-linear16"),
    DIT_480P(24, "dit-1.3b-480p-linear24"), DIT_480P(30, "dit-1.3b-480p-linear30"),
    DIT_720P(0, "dit-14b-720p"), DIT_720P(16, "dit-14b-720p-linear16"),
    DIT_720P(24, "dit-14b-720p-linear24"), DIT_720P(30, "dit-14b-720p-linear30"),
    { "dit-1.3b-text", lv_trace_wan_text, 0, 0, 0, LV_NEVER, 0,
      "its text side: keys and values of 512 rows for all layers" },
    { "dit-motion", lv_trace_motion, 0, 0, 0, LV_ALWAYS, 0,
      "the shapes of the default model, one forward of its clip" },
    { "dit-motion-step", lv_trace_step, 8, 0, 0, LV_ALWAYS, 0,
      "training: forward and back over 8 samples of 420 tokens" },
    LAYER(2048, LV_ALWAYS), LAYER(4096, LV_NEVER), LAYER(8192, LV_ALWAYS),
    LAYER(16384, LV_NEVER), LAYER(32768, LV_ON_GPU), LAYER(65536, LV_ON_GPU),
    { "tae-256", lv_trace_tae, 32, 5, 0, LV_ALWAYS, 0,
      "TAEHV decoder (taew2_1), 17 frames of 256x256" },
    { "wan-vae-256", lv_trace_wan_vae, 32, 5, 0, LV_NEVER, 0,
      "Wan's decoder, 17 frames of 256x256" },
    { "wan-vae-480p", lv_trace_wan_vae, 60, 2, 104, LV_ON_GPU, 0,
      "Wan's decoder, the first 5 of 81 frames of 832x480" },
    { "wan22-vae-704p", lv_trace_wan22_vae, 44, 2, 80, LV_ON_GPU, 0,
      "Wan2.2's decoder (5B), the first 5 of 121 frames of 1280x704" },
    { "op-linear", trace_linear, 1280, DIM, DIM, LV_ON_CPU, 0,
      "projection, [1280,1536] to 1536" },
    { "op-linear-up", trace_linear, 1280, DIM, FFN, LV_ON_CPU, 0,
      "into the MLP, [1280,1536] to 8960, GELU" },
    { "op-linear-down", trace_linear, 1280, FFN, DIM, LV_ON_CPU, 0,
      "out of the MLP, [1280,8960] to 1536" },
    { "op-attn", trace_attn, 1280, 1280, 0, LV_ON_CPU, 0,
      "softmax attention, 1280 tokens, 12 heads of 128" },
    { "op-attn-5120", trace_attn, 5120, 5120, 0, LV_NEVER, 0,
      "softmax attention, 5120 tokens" },
    { "op-attn-text", trace_attn, 1280, TEXT, 0, LV_ON_CPU, 0,
      "cross-attention, 1280 tokens to 512" },
    { "op-linattn", trace_linattn, 1280, 0, 0, LV_ON_CPU, 0,
      "linear attention, 1280 tokens, maps of 64 columns" },
    { "op-linattn-5120", trace_linattn, 5120, 0, 0, LV_NEVER, 0,
      "linear attention, 5120 tokens" },
    { "op-norm", trace_norm, 1280, 0, 0, 1, 0, "norm and modulation, [1280,1536]" },
    { "op-qknorm", trace_qknorm, 1280, 0, 0, LV_ON_CPU, 0,
      "q/k norm and rotation, [1280,1536]" },
    { "op-gate", trace_gate, 1280, 0, 0, 1, 0, "gated residual, [1280,1536]" },
    { "op-linear-480p", trace_linear, 32760, DIM, DIM, LV_ON_GPU, 0,
      "projection, [32760,1536] to 1536" },
    { "op-linear-up-480p", trace_linear, 32760, DIM, FFN, LV_ON_GPU, 0,
      "into the MLP, [32760,1536] to 8960, GELU" },
    { "op-linear-down-480p", trace_linear, 32760, FFN, DIM, LV_ON_GPU, 0,
      "out of the MLP, [32760,8960] to 1536" },
    { "op-attn-480p", trace_attn, 32760, 32760, 0, LV_ON_GPU, 0,
      "softmax attention, 32760 tokens, 12 heads of 128" },
    { "op-attn-text-480p", trace_attn, 32760, TEXT, 0, LV_ON_GPU, 0,
      "cross-attention, 32760 tokens to 512" },
    { "op-linattn-480p", trace_linattn, 32760, 0, 0, LV_ON_GPU, 0,
      "linear attention, 32760 tokens, maps of 64 columns" },
    { "op-norm-480p", trace_norm, 32760, 0, 0, LV_ON_GPU, 0,
      "norm and modulation, [32760,1536]" },
    { "op-qknorm-480p", trace_qknorm, 32760, 0, 0, LV_ON_GPU, 0,
      "q/k norm and rotation, [32760,1536]" },
    { "op-gate-480p", trace_gate, 32760, 0, 0, LV_ON_GPU, 0,
      "gated residual, [32760,1536]" },
    { "op-conv-256", trace_conv, 5, 32, 256, LV_ALWAYS, 0,
      "3x3 convolution, 5 frames of 32x32, 256 channels" },
    { "op-conv-64", trace_conv, 4, 128, 64, LV_ALWAYS, 0,
      "3x3 convolution, 4 frames of 128x128, 64 channels" },
    CLIP("clip-1.3b-480p", 1_3B_480P, "Wan 1.3B, 81 frames of 832x480, from prompt to planes"),
    CLIP("clip-1.3b-720p", 1_3B_720P, "the same, 1280x720"),
    CLIP("clip-14b-480p", 14B_480P, "Wan 14B, 81 frames of 832x480"),
    CLIP("clip-14b-720p", 14B_720P, "the same, 1280x720"),
    CLIP("clip-tiny", TINY, "tiny networks, 5 frames of 64x64: to try the command"),
    { 0 },
};

_Static_assert(LV_COUNT(lv_works) <= LV_WORKS, "too many works");

const LvWork *lv_work_find(const char *name)
{
    for (const LvWork *w = lv_works; w->name; w++)
        if (!strcmp(w->name, name))
            return w;
    return NULL;
}

const LvWork lv_best_matmul = { "matmul", trace_matmul, 8192, 8192, 8192, 0, 0, "" };
const LvWork lv_best_copy    = { "copy", trace_copy, 32768, 0, 0, 0, 0, "" };
