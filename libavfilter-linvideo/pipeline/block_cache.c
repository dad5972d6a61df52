/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/block_cache.h"

#include <assert.h>
#include <math.h>

/* Which and where */

int lv_blocks_slots(const LvCausal *c)
{
    return c->block ? c->window / c->block - 1 : 0;
}

int lv_blocks_slot(const LvCausal *c, int64_t n)
{
    int sink = c->sink / c->block, ring = lv_blocks_slots(c) - sink;

    if (n < sink)
        return (int)n;
    return ring ? sink + (int)((n - sink) % ring) : -1;
}

int lv_blocks_position(const LvCausal *c, int64_t n, int64_t now)
{
    int64_t at = LV_MIN(now * c->block, c->window - c->block);

    return (int)(n * c->block < c->sink ? n * c->block : at - (now - n) * c->block);
}

float lv_blocks_share(const LvCausal *c, int64_t n)
{
    return (float)c->block / (float)LV_MIN((n + 1) * c->block, c->window);
}

/* Memory */

static const LvDitConfig *network(const LvBlocks *b)
{
    return &b->env->cfg->dit;
}

static int has_keys(const LvBlocks *b, int layer)
{
    return network(b)->attention[layer] != LV_ATTN_LINEAR;
}

static int has_state(const LvBlocks *b, int layer)
{
    return network(b)->attention[layer] != LV_ATTN_SOFTMAX;
}

/* Tokens, of a block and of the window. */
static int block_tokens(const LvBlocks *b)
{
    return lv_dit_tokens(network(b), b->size);
}

static int window_tokens(const LvBlocks *b)
{
    return block_tokens(b) * (lv_blocks_slots(&b->causal) + 1);
}

static size_t rope_row(const LvBlocks *b)
{
    return sizeof(float) * (size_t)(network(b)->dim / network(b)->heads);
}

static size_t row_bytes(const LvBlocks *b)
{
    return (size_t)network(b)->dim * lv_dtype_size(b->env->dtype);
}

static size_t keys_bytes(const LvBlocks *b)
{
    return LV_ROUND_UP((size_t)window_tokens(b) * row_bytes(b), LV_ALIGN);
}

static size_t state_bytes(const LvBlocks *b)
{
    return LV_ROUND_UP(lv_dit_state(network(b)) * sizeof(float), LV_ALIGN);
}

/* Parts of a layer in a cache: keys and values, or state before and after the block, or all. */
typedef struct Layer {
    char *keys, *values, *past, *state;
} Layer;

static Layer layer_of(const LvBlocks *b, LvRegion *region, int layer)
{
    Layer l = { NULL, NULL, NULL, NULL };

    if (has_keys(b, layer)) {
        l.keys   = lv_region_take(region, keys_bytes(b));
        l.values = lv_region_take(region, keys_bytes(b));
    }
    if (has_state(b, layer)) {
        l.past  = lv_region_take(region, state_bytes(b));
        l.state = lv_region_take(region, state_bytes(b));
    }
    return l;
}

static size_t cache_bytes(const LvBlocks *b)
{
    LvRegion region = { NULL, 0 };

    for (int i = 0; i < network(b)->layers; i++)
        layer_of(b, &region, i);
    return region.at;
}

void lv_blocks_lay_out(LvBlocks *b, LvRegion *region)
{
    size_t block = (size_t)block_tokens(b), window = (size_t)window_tokens(b);

    b->rope      = lv_region_take(region, block * rope_row(b));
    b->rope_keys = lv_region_take(region, window * rope_row(b));
    b->mask      = lv_region_take(region, window * sizeof(*b->mask));
    b->share     = lv_region_take(region, sizeof(*b->share));
    b->cache     = lv_region_take(region, cache_bytes(b) * (size_t)b->caches);
}

void lv_blocks_lay_out_host(LvBlocks *b, LvRegion *region)
{
    const int size[3] = { b->causal.window, b->size[1], b->size[2] };

    b->table = lv_region_take(region, (size_t)window_tokens(b) * rope_row(b));
    b->masks = lv_region_take(region, (size_t)window_tokens(b) * sizeof(*b->masks));
    if (b->table)
        lv_dit_rope(b->table, network(b), size);
}

/* Running */

/* Rows of a block from a position on. */
static int put_rope(const LvBlocks *b, float *to, int position)
{
    size_t row  = rope_row(b) / sizeof(float);
    size_t each = (size_t)block_tokens(b) / (size_t)b->causal.block * row;

    return lv_device_upload(b->env->dev, to, b->table + (size_t)position * each,
                            (size_t)block_tokens(b) * rope_row(b));
}

/* Where the next block is, and what it sees. */
static int place(LvBlocks *b)
{
    size_t tokens = (size_t)block_tokens(b), rows = tokens * rope_row(b) / sizeof(float);
    int slots = lv_blocks_slots(&b->causal), own = lv_blocks_position(&b->causal, b->done, b->done);
    float share = lv_blocks_share(&b->causal, b->done);
    int ret = put_rope(b, b->rope, own);

    if (ret >= 0)
        ret = put_rope(b, b->rope_keys, own);
    for (int64_t n = LV_MAX(b->done - slots - 1, 0); n < b->done && ret >= 0; n++)
        if (lv_blocks_slot(&b->causal, n) >= b->causal.sink / b->causal.block &&
            lv_blocks_position(&b->causal, n, b->done) >= b->causal.sink)
            ret = put_rope(b, b->rope_keys + (size_t)(1 + lv_blocks_slot(&b->causal, n)) * rows,
                           lv_blocks_position(&b->causal, n, b->done));
    for (size_t i = 0; i < tokens * (size_t)(slots + 1); i++)
        b->masks[i] = i < tokens * (size_t)LV_MIN(b->done + 1, slots + 1) ? 0 : -INFINITY;
    if (ret < 0 || (ret = lv_device_upload(b->env->dev, b->mask, b->masks,
                                           sizeof(*b->masks) * tokens * (size_t)(slots + 1))) < 0)
        return ret;
    return lv_device_upload(b->env->dev, b->share, &share, sizeof(share));
}

static LvTensor rows_of(void *data, LvDtype dtype, size_t rows, int cols)
{
    return (LvTensor) { .data = data, .dtype = (uint8_t)dtype, .rank = 2,
                        .dim = { (int32_t)rows, cols, 1, 1, 1 } };
}

/* bytes: a multiple of LV_ALIGN */
static int fill(const LvBlocks *b, void *data, size_t bytes)
{
    enum { UNIT = LV_ALIGN / sizeof(float) };
    const LvOpArgs a = { .fill = { .y = rows_of(data, LV_F32, bytes / LV_ALIGN, UNIT) } };

    return bytes ? lv_device_run(b->env->dev, LV_OP_FILL, &a) : 0;
}

static int copy(const LvBlocks *b, void *to, void *from, LvDtype dtype, size_t rows, int cols)
{
    const LvOpArgs a = { .expand = { .x = rows_of(from, dtype, rows, cols),
                                     .y = rows_of(to, dtype, rows, cols), .inner = cols } };

    return lv_device_run(b->env->dev, LV_OP_EXPAND, &a);
}

int lv_blocks_clear(LvBlocks *b)
{
    size_t bytes = cache_bytes(b);
    int ret = 0;

    b->done = 0;
    for (int i = 0; i < b->caches && ret >= 0; i++)
        ret = fill(b, b->cache + (size_t)i * bytes, bytes);
    for (int i = 0; i <= lv_blocks_slots(&b->causal) && ret >= 0; i++)
        ret = put_rope(b, b->rope_keys + (size_t)i * (size_t)block_tokens(b) * rope_row(b) /
                          sizeof(float), LV_MAX(i - 1, 0) * b->causal.block);
    return ret < 0 ? ret : place(b);
}

int lv_blocks_filling(const LvBlocks *b)
{
    return b->done < lv_blocks_slots(&b->causal);
}

void lv_blocks_bind(const LvBlocks *b, LvProgram *p, const LvDitInputs *in, int cache)
{
    LvRegion region = { b->cache + (size_t)cache * cache_bytes(b), 0 };

    lv_program_bind(p, in->rope, b->rope);
    lv_program_bind(p, in->rope_keys, b->rope_keys);
    lv_program_bind(p, in->share, b->share);
    if (lv_has(&in->mask))
        lv_program_bind(p, in->mask, b->mask);
    for (int i = 0; i < network(b)->layers; i++) {
        Layer l = layer_of(b, &region, i);
        if (has_keys(b, i)) {
            lv_program_bind(p, in->keys[i], l.keys);
            lv_program_bind(p, in->own_keys[i], l.keys);
            lv_program_bind(p, in->values[i], l.values);
            lv_program_bind(p, in->own_values[i], l.values);
        }
        if (has_state(b, i)) {
            lv_program_bind(p, in->past[i], l.past);
            lv_program_bind(p, in->state[i], l.state);
        }
    }
}

/* What the block made becomes what came before the next one. */
static int keep_layer(const LvBlocks *b, const Layer *l, int slot)
{
    const LvDitConfig *c = network(b);
    size_t rows = (size_t)block_tokens(b), at = (size_t)(slot + 1) * rows * row_bytes(b);
    int head = c->dim / c->heads + 1, ret = 0;

    if (l->keys && slot >= 0 &&
        (ret = copy(b, l->keys + at, l->keys, b->env->dtype, rows, c->dim)) >= 0)
        ret = copy(b, l->values + at, l->values, b->env->dtype, rows, c->dim);
    if (l->past && ret >= 0)
        ret = copy(b, l->past, l->state, LV_F32, lv_dit_state(c) / (size_t)head, head);
    return ret;
}

int lv_blocks_keep(LvBlocks *b)
{
    int slot = lv_blocks_slot(&b->causal, b->done), ret = 0;

    for (int k = 0; k < b->caches; k++) {
        LvRegion region = { b->cache + (size_t)k * cache_bytes(b), 0 };
        for (int i = 0; i < network(b)->layers && ret >= 0; i++) {
            Layer l = layer_of(b, &region, i);
            ret     = keep_layer(b, &l, slot);
        }
    }
    b->done++;
    return ret < 0 ? ret : place(b);
}
