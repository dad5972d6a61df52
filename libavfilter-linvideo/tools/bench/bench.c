/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "backend/form.h"
#include "base/half.h"

/** Memory of random weights, all freed together. */
struct LvBenchBlock {
    struct LvBenchBlock *next;
    LvWeight w;
};

float lv_bench_random(LvBench *b)
{
    b->random = b->random * 1664525u + 1013904223u;
    return (int32_t)b->random * 0x1p-31f;
}

/** Values made at once: a piece of memory that any device takes. */
enum { PIECE = 1 << 16 };

static int fill_piece(LvBench *b, char *to, LvDtype type, size_t n, float scale)
{
    static float values[PIECE];
    uint16_t *half = (uint16_t *)values;

    for (size_t i = 0; i < n; i++) {
        float x = scale * lv_bench_random(b);

        if (type == LV_F32)
            values[i] = x;
        else
            half[i] = type == LV_BF16 ? lv_f32_bf16(x) : 0;
    }
    return lv_device_upload(b->dev, to, values, n * lv_dtype_size(type));
}

static int fill(LvBench *b, void *data, LvDtype type, size_t n, float scale)
{
    int ret = 0;

    for (size_t i = 0; i < n && ret >= 0; i += PIECE)
        ret = fill_piece(b, (char *)data + i * lv_dtype_size(type), type,
                         LV_MIN(n - i, PIECE), scale);
    return ret;
}

static LvTensor describe(LvDtype type, int rank, const int *dim)
{
    LvTensor t = { .dtype = type, .rank = rank };

    for (int i = 0; i < LV_MAX_RANK; i++)
        t.dim[i] = i < rank ? dim[i] : 1;
    return t;
}

LvTensor lv_bench_weight(LvBench *b, LvDtype type, int rank, const int *dim)
{
    LvTensor t = describe(type, rank, dim);
    LvBenchBlock *block = calloc(1, sizeof(*block));

    if (!block)
        return LV_NO_TENSOR;
    block->next  = b->blocks;
    b->blocks    = block;
    if (lv_device_alloc(b->dev, &block->w.data, lv_tensor_bytes(&t), "weights") < 0 ||
        fill(b, block->w.data, type, lv_tensor_numel(&t), rank > 1 ? 0.03f : 1) < 0)
        return LV_NO_TENSOR;
    t.id    = LV_ID_WEIGHT - b->nb_weights++;
    t.data  = block->w.data;
    t.w     = &block->w;
    return t;
}

LvTensor lv_bench_input(LvBench *b, LvTensor t)
{
    if (t.id >= 0 && b->nb_inputs < LV_BENCH_INPUTS)
        b->input[b->nb_inputs++].tensor = t;
    return t;
}

int lv_bench_bind_inputs(LvBench *b)
{
    for (int i = 0; i < b->nb_inputs; i++) {
        LvBenchInput *in = &b->input[i];
        size_t bytes = lv_tensor_bytes(&in->tensor);

        int ret = lv_device_alloc(b->dev, &in->data, bytes, "inputs");

        if (ret < 0 || (ret = fill(b, in->data, in->tensor.dtype,
                                   lv_tensor_numel(&in->tensor), 1)) < 0)
            return ret;
        lv_program_bind(b->program, in->tensor, in->data);
    }
    return 0;
}

static void free_blocks(LvBench *b)
{
    while (b->blocks) {
        LvBenchBlock *next = b->blocks->next;

        lv_forms_evict(&b->blocks->w);
        lv_device_free(b->dev, b->blocks->w.data);
        free(b->blocks);
        b->blocks = next;
    }
}

void lv_bench_clear(LvBench *b)
{
    lv_program_free(&b->program);
    lv_graph_free(&b->graph);
    lv_device_free(b->dev, b->arena);
    for (int i = 0; i < b->nb_inputs; i++)
        lv_device_free(b->dev, b->input[i].data);
    free_blocks(b);
    lv_weights_free(&b->weights);
    lv_params_free(&b->params);
    lv_source_close(&b->source);
    lv_safetensors_close(&b->file);
    lv_free(b->bytes);
    b->arena      = b->bytes = NULL;
    b->nb_weights = b->nb_inputs = 0;
    b->note[0]    = '\0';
    b->random     = 1;
    memset(b->input, 0, sizeof(b->input));
    for (int i = 0; i < LV_BENCH_LAYERS; i++)
        b->times[i] = 1;
}
