/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/attention_f8.h"

#include "config.h"

/* As kernels/attention_f8.cu has them: channels of a head, rows of a tile, channels of its values,
 * tiles in each ring; rows that a block looks at. */
enum { HEAD = 128, TILE = 128, VALUES = HEAD + 8, STAGES = 4, PIECE = 1024 };
enum { THREADS = 384, BARRIERS = 2 + 4 * STAGES };

/* Fewer keys are not worth what goes before. */
enum { LEAST_KEYS = 1024 };

static int rows_of(const LvTensor *t, int batch)
{
    return t->dim[0] / batch;
}

int lv_cuda_is_attn_f8(const LvCuda *cu, const LvAttnArgs *a)
{
    int wanted = cu->newest ? cu->newest >= 90 : rows_of(&a->k, a->batch) >= LEAST_KEYS;

    return HAVE_SM90A && cu->arch == 90 && wanted && a->of == LV_MATMUL_F8 &&
           a->q.dtype == LV_BF16 && a->q.dim[1] / a->heads == HEAD && a->scale > 0 &&
           !lv_has(&a->key_bias) && !lv_has(&a->rel_bias) && !lv_has(&a->lse);
}

/* What is made before, in scratch; at counts its bytes. */
static LvAttnF8Args args_of(const LvAttnArgs *a, void *scratch, size_t *at)
{
    size_t lq = (size_t)rows_of(&a->q, a->batch), lk = (size_t)rows_of(&a->k, a->batch);
    size_t heads  = (size_t)a->batch * (size_t)a->heads;
    size_t pieces = lv_cuda_split(LV_MAX(lq, lk), PIECE);
    LvAttnF8Args f = { .q = a->q, .k = a->k, .v = a->v, .batch = a->batch, .heads = a->heads,
                       .piece = PIECE, .pieces = (int)pieces };

    f.most   = lv_cuda_carve(scratch, at, sizeof(float) * 3 * heads * pieces);
    f.scales = lv_cuda_carve(scratch, at, sizeof(float) * 3 * heads);
    f.q8     = lv_cuda_carve(scratch, at, lv_tensor_numel(&a->q));
    f.k8     = lv_cuda_carve(scratch, at, lv_tensor_numel(&a->k));
    f.v8     = lv_cuda_carve(scratch, at, heads * lv_cuda_split(lk, TILE) * TILE * VALUES);
    return f;
}

size_t lv_cuda_attn_f8_bytes(const LvAttnArgs *a)
{
    size_t bytes = 0;

    args_of(a, NULL, &bytes);
    return bytes;
}

static int prepare(LvCuda *cu, const LvAttnArgs *a, const LvAttnF8Args *f)
{
    size_t heads = (size_t)a->heads, batch = (size_t)a->batch;
    size_t lq = (size_t)rows_of(&a->q, a->batch), lk = (size_t)rows_of(&a->k, a->batch);
    const LvGrid most = { (size_t)f->pieces, heads, 3 * batch, 256, 0 };
    const LvGrid rows = { lv_cuda_split(LV_MAX(lq, lk), TILE), heads, 2 * batch, 256, 0 };
    const LvGrid turn = { lv_cuda_split(lk, TILE), heads, batch, 256, 0 };
    int ret;

    if ((ret = LV_LAUNCH(cu, attn_f8_most, most, (void *)f)) < 0 ||
        (ret = LV_LAUNCH(cu, attn_f8_rows, rows, (void *)f)) < 0)
        return ret;
    return LV_LAUNCH(cu, attn_f8_turn, turn, (void *)f);
}

/* Rows of q or k, a head's in one box. */
static int map_rows(LvCuda *cu, LvTileMap *map, const LvTensor *t, int batch, const void *data)
{
    const uint64_t dim[3] = { (uint64_t)t->dim[1], (uint64_t)rows_of(t, batch), (uint64_t)batch };

    return lv_cuda_map(cu, map, CU_TILE_BYTES, 3, data, dim, (const uint32_t[]) { HEAD, TILE, 1 });
}

static int map_tiles(LvCuda *cu, LvTileMap *map, const LvAttnArgs *a, const void *data)
{
    size_t tiles = lv_cuda_split((size_t)rows_of(&a->k, a->batch), TILE);
    const uint64_t dim[3] = { TILE, VALUES, tiles * (size_t)a->batch * (size_t)a->heads };

    return lv_cuda_map(cu, map, CU_TILE_BYTES, 3, data, dim,
                       (const uint32_t[]) { TILE, VALUES, 1 });
}

int lv_cuda_attn_f8(LvCuda *cu, const LvAttnArgs *a, void *scratch)
{
    size_t at = 0, blocks = lv_cuda_split((size_t)rows_of(&a->q, a->batch), TILE);
    const LvAttnF8Args f = args_of(a, scratch, &at);
    const size_t items = blocks * (size_t)a->batch * (size_t)a->heads;
    const LvGrid grid  = { LV_MIN(items, (size_t)cu->processors), 1, 1, THREADS,
                           TILE * (HEAD + STAGES * (HEAD + VALUES)) + 8 * BARRIERS };
    LvTileMap q, k, v;
    int ret = prepare(cu, a, &f);

    if (ret < 0 || (ret = map_rows(cu, &q, &a->q, a->batch, f.q8)) < 0 ||
        (ret = map_rows(cu, &k, &a->k, a->batch, f.k8)) < 0 ||
        (ret = map_tiles(cu, &v, a, f.v8)) < 0)
        return ret;
    return LV_LAUNCH(cu, attn_f8_d128, grid, (void *)a, &q, &k, &v, (void *)&f.scales);
}
