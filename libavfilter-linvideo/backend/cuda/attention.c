/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention: on tensor cores for bf16 heads of 64 and 128 channels without
 * relative bias, by matmuls for more than LV_CUDA_HEAD, else in f32. With kernels of
 * compute capability 9.0 where the device and this build have them.
 */

#include "backend/cuda/attention_f8.h"
#include "backend/cuda/attention_wide.h"
#include "backend/cuda/cast.h"
#include "backend/cuda/cuda.h"
#include "config.h"

enum { ANY_ROWS = 32, ANY_WARPS = 8 };

static int is_fast(const LvTensor *q, const LvTensor *rel_bias, int d)
{
    return q->dtype == LV_BF16 && (d == 64 || d == 128) && !lv_has(rel_bias);
}

static int is_wide(const LvTensor *q, int heads)
{
    return q->dim[1] / heads > LV_CUDA_HEAD;
}

static size_t bucket_bytes(const LvTensor *rel_bias, int max_distance)
{
    return lv_has(rel_bias) ? 4 * (size_t)(max_distance + 1) : 0;
}

static int fill_buckets(LvCuda *cu, int *bucket, const LvTensor *rel_bias,
                        int max_distance)
{
    int half = rel_bias->dim[0] / 2;

    if (!lv_has(rel_bias))
        return 0;
    return LV_LAUNCH(cu, attn_buckets, lv_cuda_grid1((size_t)max_distance + 1), &bucket,
                     &half, &max_distance);
}

/* Tiles of the kernels for heads of 64 and 128, as kernels/attention.cu has them: rows
 * that a block owns, rows of a tile of the other side. */
typedef struct Tiles {
    int kernel, own, tile;
} Tiles;

static const Tiles forward[2] = { { LV_K_attn_bf16_d64, 64, 64 },
                                  { LV_K_attn_bf16_d128, 128, 64 } };
static const Tiles queries[2] = { { LV_K_attn_dq_bf16_d64, 64, 64 },
                                  { LV_K_attn_dq_bf16_d128, 128, 32 } };
static const Tiles keys[2] = { { LV_K_attn_dkv_bf16_d64, 64, 32 },
                               { LV_K_attn_dkv_bf16_d128, 64, 64 } };

/* Start a kernel for n own rows of each sample and head; `kept` tensors of its own rows
 * are in shared memory, two tiles of two others, two numbers for each row of those. */
static int launch_tiles(LvCuda *cu, const Tiles *of, int n, int groups, int d, int kept,
                        void **args)
{
    const Tiles *t = &of[d == 128];
    size_t rows = (size_t)(kept * t->own + 4 * t->tile);
    LvGrid grid = { lv_cuda_split((size_t)n, (size_t)t->own), (size_t)groups, 1, 128,
                    2 * rows * (size_t)d + 16 * (size_t)t->tile };

    return lv_cuda_launch(cu, t->kernel, grid, args);
}

/* Blocks of eight rows each, for the kernels in f32. */
static LvGrid any_grid(int n, int groups, int d, size_t ones)
{
    return (LvGrid) { lv_cuda_split((size_t)n, ANY_WARPS), (size_t)groups, 1,
                      32 * ANY_WARPS, 4 * (2 * ANY_ROWS * (size_t)(d + 1) +
                                           ones * ANY_WARPS * (size_t)d) };
}

/* As kernels/attention_sm90.cu has them: rows of an item, of a tile, tiles in each ring. */
enum { SM90_ROWS = 128, SM90_THREADS = 384, SM90_BARRIERS = 18 };

/* With 32 keys they took 1.8 times as long as the others, with 420 0.8 times. */
enum { SM90_KEYS = 256 };

static const struct {
    int kernel, tile, stages;
} sm90[2] = { { LV_K_attn_sm90_d64, 144, 4 }, { LV_K_attn_sm90_d128, 176, 2 } };

/* Scores are scaled after their maximum is known, which a scale below 0 turns round. */
static int is_sm90(const LvCuda *cu, const LvAttnArgs *a, int d)
{
    int wanted = cu->newest ? cu->newest >= 90 : a->k.dim[0] / a->batch >= SM90_KEYS;

    return HAVE_SM90A && cu->arch == 90 && wanted && is_fast(&a->q, &a->rel_bias, d) &&
           a->scale > 0;
}

static int launch_sm90(LvCuda *cu, const LvAttnArgs *a, int d)
{
    int of = d == 128, tile = sm90[of].tile, ret;
    size_t blocks = lv_cuda_split((size_t)(a->q.dim[0] / a->batch), SM90_ROWS);
    size_t items  = blocks * (size_t)a->batch * (size_t)a->heads;
    size_t rows   = (size_t)(SM90_ROWS + 2 * sm90[of].stages * tile);
    LvGrid grid   = { LV_MIN(items, (size_t)cu->processors), 1, 1, SM90_THREADS,
                      2 * rows * (size_t)d + 8 * SM90_BARRIERS };
    LvTileMap q, k, v;

    if ((ret = lv_cuda_tile_map(cu, &q, &a->q, a->batch, SM90_ROWS)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &k, &a->k, a->batch, tile)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &v, &a->v, a->batch, tile)) < 0)
        return ret;
    return lv_cuda_launch(cu, sm90[of].kernel, grid, (void *[]) { (void *)a, &q, &k, &v });
}

int lv_cuda_plan_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    if (lv_cuda_is_attn_f8(lv_cuda(dev), a)) {
        call->scratch_bytes = lv_cuda_attn_f8_bytes(a);
        return 0;
    }
    lv_cuda_carve(NULL, &call->scratch_bytes,
                  bucket_bytes(&a->rel_bias, a->max_distance));
    if (is_wide(&a->q, a->heads))
        call->scratch_bytes += lv_cuda_wide_bytes(lv_cuda(dev), a);
    return 0;
}

int lv_cuda_ready_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    (void)call;
    return is_wide(&a->q, a->heads) ? lv_cuda_wide_build(lv_cuda(dev), a) : 0;
}

static int run_wide(LvCuda *cu, const LvAttnArgs *a, char *scratch)
{
    size_t at = 0;
    int *bucket = lv_cuda_carve(scratch, &at, bucket_bytes(&a->rel_bias, a->max_distance));
    int ret = fill_buckets(cu, bucket, &a->rel_bias, a->max_distance);

    return ret < 0 ? ret : lv_cuda_wide(cu, a, bucket, scratch + at);
}

int lv_cuda_attn(LvDevice *dev, const LvAttnArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    int d = a->q.dim[1] / a->heads, lq = a->q.dim[0] / a->batch, ret;
    int groups = a->batch * a->heads;

    if (lv_cuda_is_attn_f8(cu, a))
        return lv_cuda_attn_f8(cu, a, call->scratch);
    if (is_sm90(cu, a, d))
        return launch_sm90(cu, a, d);
    if (is_fast(&a->q, &a->rel_bias, d))
        return launch_tiles(cu, forward, lq, groups, d, 1, (void *[]) { (void *)a });
    if (is_wide(&a->q, a->heads))
        return run_wide(cu, a, call->scratch);
    ret = fill_buckets(cu, call->scratch, &a->rel_bias, a->max_distance);
    return ret < 0 ? ret :
           LV_LAUNCH(cu, attn_any, any_grid(lq, groups, d, 1), (void *)a,
                                     &call->scratch);
}

/* What the gradient makes on the way, in its scratch. */
typedef struct Parts {
    float *delta;      /* [B H,Lq] */
    uint16_t *dy;      /* [B Lq,C] in bf16, when dy is not */
    int *bucket;
    float *diagonals;  /* [B H,Lq + Lk - 1] */
    float *stats;      /* for 9.0: [B H,tiles,2,tile] */
    uint16_t *ds;      /* and of the keys of a launch [keys,pitch] */
    float *carry[2];   /* [Lq,D] */
    size_t bytes;
} Parts;

/* As kernels/attention_dx_sm90.cu has them: keys of a tile, threads; queries of a tile and
 * tiles in the ring, stages of dq. */
enum { DX90_KEYS = 128, DX90_THREADS = 384, DX90_STEP = 64 };

static const struct {
    int dkv, tile, ring, dq, stages;
} dx90[2] = { { LV_K_attn_dkv_sm90_d64, 128, 4, LV_K_attn_dq_sm90_d64, 8 },
              { LV_K_attn_dkv_sm90_d128, 80, 3, LV_K_attn_dq_sm90_d128, 6 } };

/* How they divide a gradient: key tiles of a head, of all, of a launch. */
typedef struct Division {
    int of, d, groups, lq, lk, pitch, blocks, tiles, launch;
} Division;

static int is_dx90(const LvCuda *cu, const LvAttnDxArgs *a)
{
    int wanted = cu->newest ? cu->newest >= 90 : a->k.dim[0] / a->batch >= SM90_KEYS;

    return HAVE_SM90A && cu->arch == 90 && wanted && a->scale > 0 &&
           is_fast(&a->q, &a->rel_bias, a->q.dim[1] / a->heads);
}

/* Tiles of a launch: as many as multiprocessors, and more while ds is not large. Tests ask
 * for 9.0 and get the least, so that they have several launches. */
static int launch_of(const LvCuda *cu, const Division *v)
{
    size_t most = cu->newest ? 0 : (size_t)256 << 20;
    size_t wave = (size_t)cu->processors, one = 2 * DX90_KEYS * (size_t)v->pitch;
    size_t waves = LV_MAX(most / (one * wave), 1);

    return (int)LV_MIN(waves * wave, (size_t)v->tiles);
}

static Division divide(const LvCuda *cu, const LvAttnDxArgs *a)
{
    Division v = { .d = a->q.dim[1] / a->heads, .groups = a->batch * a->heads,
                   .lq = a->q.dim[0] / a->batch, .lk = a->k.dim[0] / a->batch };

    v.of     = v.d == 128;
    v.pitch  = LV_ROUND_UP(v.lq, dx90[v.of].tile);
    v.blocks = (int)lv_cuda_split((size_t)v.lk, DX90_KEYS);
    v.tiles  = v.groups * v.blocks;
    v.launch = launch_of(cu, &v);
    return v;
}

static void dx90_parts(const LvCuda *cu, const LvAttnDxArgs *a, void *scratch, Parts *p)
{
    Division v    = divide(cu, a);
    size_t keys   = lv_has(&a->dq) ? DX90_KEYS * (size_t)v.launch : 0;
    size_t carry  = lv_has(&a->dq) && v.launch < v.tiles ? 4 * (size_t)v.lq * (size_t)v.d : 0;

    p->stats    = lv_cuda_carve(scratch, &p->bytes, 8 * (size_t)v.groups * (size_t)v.pitch);
    p->ds       = lv_cuda_carve(scratch, &p->bytes, 2 * keys * (size_t)v.pitch);
    p->carry[0] = lv_cuda_carve(scratch, &p->bytes, carry);
    p->carry[1] = lv_cuda_carve(scratch, &p->bytes, carry);
    if (!keys)
        p->ds = NULL;
}

static Parts parts_of(const LvCuda *cu, const LvAttnDxArgs *a, void *scratch)
{
    size_t groups = (size_t)a->batch * (size_t)a->heads;
    size_t lq = (size_t)(a->q.dim[0] / a->batch), lk = (size_t)(a->k.dim[0] / a->batch);
    int fast  = is_fast(&a->q, &a->rel_bias, a->q.dim[1] / a->heads);
    Parts p   = { 0 };

    p.delta     = lv_cuda_carve(scratch, &p.bytes, 4 * groups * lq);
    p.dy        = lv_cuda_carve(scratch, &p.bytes, fast && a->dy.dtype != LV_BF16 ?
                                2 * lv_tensor_numel(&a->dy) : 0);
    p.bucket    = lv_cuda_carve(scratch, &p.bytes,
                                bucket_bytes(&a->rel_bias, a->max_distance));
    p.diagonals = lv_cuda_carve(scratch, &p.bytes,
                                lv_has(&a->drel) ? 4 * groups * (lq + lk - 1) : 0);
    if (is_dx90(cu, a))
        dx90_parts(cu, a, scratch, &p);
    return p;
}

int lv_cuda_plan_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    call->scratch_bytes = parts_of(lv_cuda(dev), a, NULL).bytes;
    if (is_wide(&a->q, a->heads))
        call->scratch_bytes += lv_cuda_wide_dx_bytes(lv_cuda(dev), a);
    return 0;
}

int lv_cuda_build_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    (void)call;
    return is_wide(&a->q, a->heads) ? lv_cuda_wide_dx_build(lv_cuda(dev), a) : 0;
}

/* What of the keys a launch has, as the kernels take it. */
typedef struct Part {
    uint16_t *ds;
    int first, tiles, pitch;
} Part;

/* Maps of a gradient: rows in tiles of queries, of keys, in steps of keys, and of ds. */
typedef struct DxMaps {
    LvTileMap q, dy, k, v, step, ds;
} DxMaps;

static int make_maps(LvCuda *cu, const LvAttnDxArgs *a, const void *dy, const Division *v,
                     const Parts *p, DxMaps *m)
{
    LvTensor grad = a->q;
    LvTensor ds   = { .data = p->ds, .dtype = LV_BF16, .rank = 2,
                      .dim = { v->launch * DX90_KEYS, v->pitch } };
    int tile = dx90[v->of].tile, ret;

    grad.data = (void *)dy;
    if ((ret = lv_cuda_tile_map(cu, &m->q, &a->q, a->batch, tile)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &m->dy, &grad, a->batch, tile)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &m->k, &a->k, a->batch, DX90_KEYS)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &m->v, &a->v, a->batch, DX90_KEYS)) < 0 ||
        (ret = lv_cuda_tile_map(cu, &m->step, &a->k, a->batch, DX90_STEP)) < 0)
        return ret;
    return p->ds ? lv_cuda_tile_map(cu, &m->ds, &ds, 1, DX90_STEP) : 0;
}

static int launch_dkv(LvCuda *cu, const LvAttnDxArgs *a, const Division *v, DxMaps *m,
                      float **stats, Part *part)
{
    int tile    = dx90[v->of].tile, ring = dx90[v->of].ring;
    size_t rows = 2 * (size_t)(DX90_KEYS + ring * tile);
    LvGrid grid = { LV_MIN((size_t)part->tiles, (size_t)cu->processors), 1, 1, DX90_THREADS,
                    2 * rows * (size_t)v->d + 8 * 2 * 8 * (size_t)tile +
                    8 * (size_t)(2 + 2 * ring) };

    return lv_cuda_launch(cu, dx90[v->of].dkv, grid,
                          (void *[]) { (void *)a, &m->q, &m->dy, &m->k, &m->v, stats, part });
}

static int launch_dq(LvCuda *cu, const LvAttnDxArgs *a, const Division *v, DxMaps *m,
                     float **before, float **behind, Part *part)
{
    int first = part->first / v->blocks, last = (part->first + part->tiles - 1) / v->blocks;
    size_t stage = 2 * DX90_STEP * (size_t)(DX90_KEYS + v->d), n = (size_t)dx90[v->of].stages;
    LvGrid grid  = { lv_cuda_split((size_t)v->lq, DX90_KEYS), (size_t)(last - first + 1), 1,
                     DX90_THREADS, n * (stage + 16) };

    return lv_cuda_launch(cu, dx90[v->of].dq, grid,
                          (void *[]) { (void *)a, &m->ds, &m->step, part, before, behind });
}

static int dx90_run(LvCuda *cu, const LvAttnDxArgs *a, const void *dy, Parts *p)
{
    Division v = divide(cu, a);
    int tile   = dx90[v.of].tile, turn = 0;
    DxMaps m;
    int ret = LV_LAUNCH(cu, attn_sm90_stats,
                        lv_cuda_grid1((size_t)v.groups * (size_t)v.pitch), (void *)a,
                        &p->delta, &p->stats, &tile);

    if (ret >= 0)
        ret = make_maps(cu, a, dy, &v, p, &m);
    for (int at = 0; ret >= 0 && at < v.tiles; at += v.launch, turn ^= 1) {
        Part part = { p->ds, at, LV_MIN(v.launch, v.tiles - at), v.pitch };
        ret = launch_dkv(cu, a, &v, &m, &p->stats, &part);
        if (ret >= 0 && p->ds)
            ret = launch_dq(cu, a, &v, &m, &p->carry[turn ^ 1], &p->carry[turn], &part);
    }
    return ret;
}

static int tiles_dx(LvCuda *cu, const LvAttnDxArgs *a, const void *dy, Parts *p)
{
    int d = a->q.dim[1] / a->heads, groups = a->batch * a->heads, ret = 0;
    void *args[] = { (void *)a, &dy, &p->delta };

    if (lv_has(&a->dq))
        ret = launch_tiles(cu, queries, a->q.dim[0] / a->batch, groups, d, 2, args);
    if (ret >= 0 && (lv_has(&a->dk) || lv_has(&a->dv)))
        ret = launch_tiles(cu, keys, a->k.dim[0] / a->batch, groups, d, 2, args);
    return ret;
}

static int fast_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    const void *dy = a->dy.data;
    int ret = 0;

    if (a->dy.dtype != LV_BF16) {
        ret = lv_cuda_cast(cu, p->dy, LV_BF16, dy, a->dy.dtype,
                           lv_tensor_numel(&a->dy));
        dy  = p->dy;
    }
    if (ret < 0)
        return ret;
    return is_dx90(cu, a) ? dx90_run(cu, a, dy, p) : tiles_dx(cu, a, dy, p);
}

static int relative_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    size_t n = (size_t)(a->q.dim[0] / a->batch + a->k.dim[0] / a->batch) - 1;
    LvGrid grid = { lv_cuda_split(n, 4), (size_t)(a->batch * a->heads), 1, 128, 0 };
    int ret = LV_LAUNCH(cu, attn_diagonals, grid, (void *)a, &p->delta, &p->bucket,
                        &p->diagonals);

    return ret < 0 ? ret :
           LV_LAUNCH(cu, attn_drel, lv_cuda_grid1(lv_tensor_numel(&a->drel)), (void *)a,
                     &p->bucket, &p->diagonals);
}

static int narrow_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p)
{
    int d = a->q.dim[1] / a->heads, groups = a->batch * a->heads, ret = 0;

    if (lv_has(&a->dq))
        ret = LV_LAUNCH(cu, attn_dq_any, any_grid(a->q.dim[0] / a->batch, groups, d, 2),
                        (void *)a, &p->delta, &p->bucket);
    if (ret >= 0 && (lv_has(&a->dk) || lv_has(&a->dv)))
        ret = LV_LAUNCH(cu, attn_dkv_any,
                        any_grid(a->k.dim[0] / a->batch, groups, d, 2),
                        (void *)a, &p->delta, &p->bucket);
    return ret;
}

static int any_dx(LvCuda *cu, const LvAttnDxArgs *a, Parts *p, char *scratch)
{
    int ret = fill_buckets(cu, p->bucket, &a->rel_bias, a->max_distance);

    if (ret >= 0)
        ret = is_wide(&a->q, a->heads) ? lv_cuda_wide_dx(cu, a, p->bucket, p->delta, scratch)
                                       : narrow_dx(cu, a, p);
    return ret < 0 || !lv_has(&a->drel) ? ret : relative_dx(cu, a, p);
}

int lv_cuda_attn_dx(LvDevice *dev, const LvAttnDxArgs *a, LvCall *call)
{
    LvCuda *cu = lv_cuda(dev);
    Parts p    = parts_of(cu, a, call->scratch);
    size_t threads = 8 * (size_t)a->q.dim[0] * (size_t)a->heads;
    int ret = LV_LAUNCH(cu, attn_delta, lv_cuda_grid1(threads), (void *)a, &p.delta);

    if (ret < 0)
        return ret;
    if (is_fast(&a->q, &a->rel_bias, a->q.dim[1] / a->heads))
        return fast_dx(cu, a, &p);
    return any_dx(cu, a, &p, (char *)call->scratch + p.bytes);
}
