/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradient of softmax attention for compute capability 9.0, in bf16 for heads of 64 and 128
 * channels: what attention.cu does, with products of a warpgroup (wgmma), copies of boxes,
 * and ds kept in memory for a part of the keys at a time.
 *
 *   p = exp(s - lse), delta = sum do o, ds = p (do v^T - delta);
 *   dv = p^T do, dk = scale ds^T q, and ds to memory; then dq = scale ds k
 *
 * Tiles: keys of all samples and heads are tiles of 128, counted on from head to head. A
 * launch has `tiles` of them, from `first` on; row r of their ds^T [128 tiles,pitch] is key r
 * of these. Two kernels a launch:
 *
 * dkv: three warpgroups take tiles blockIdx.x, blockIdx.x + gridDim.x... One thread of the
 * first copies: a tile's keys and values, then queries and dy in tiles of NT rows into a ring
 * of STAGES. The other two own 64 keys each. They work on s^T: as accumulators of one
 * product p and ds are the first operand of the next. While exp is made, do v^T is under
 * way, while ds is made, the product for dv. Of 16 queries those of a thread stand
 * together in ds: query_of() says where.
 *
 * dq: a block has 128 queries of a head, two warpgroups half of them each, and adds up the
 * keys that a launch has of it, 64 at a time. The sums of a head that goes on in the next
 * launch wait in f32.
 *
 * Every sum is made by one warpgroup, in the order of tiles and launches: the same bits every
 * time.
 *
 * FLOPs: 10 Lq Lk D a head, none made twice. Bytes: ds twice, 4 Lq Lk a head; q and dy again
 * for each tile of keys, from the second-level cache. dkv is bound by the tensor cores, dq by
 * memory.
 */

#include "attention.cuh"
#include "lv_hopper.cuh"

enum { THREADS = 3 * WARPGROUP, TEAMS = 2, ROWS = 64 * TEAMS };

/* Registers of a thread that copies, and of one that computes. */
enum { FEW = 24, MANY = 240 };

/* -lse in units of ln 2, then delta, of each tile of nt queries: [B H,tiles,2,nt]. Queries
 * that are not there, or without keys, get -inf, which makes their p 0. */
LV_KERNEL lv_attn_sm90_stats(LV_ARG LvAttnDxArgs a, const float *delta, float *stats, int nt)
{
    int lq = a.q.dim[0] / a.batch, tiles = (lq + nt - 1) / nt;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    size_t group = i / ((size_t)tiles * nt);
    int query = (int)(i % ((size_t)tiles * nt)), there = query < lq;
    float *to = stats + (group * tiles + query / nt) * 2 * nt + query % nt;
    float lse;

    if (group >= (size_t)a.batch * a.heads)
        return;
    lse    = there ? ((const float *)a.lse.data)[group * lq + query] : -INFINITY;
    to[0]  = lse == -INFINITY ? -INFINITY : -lse * LOG2E;
    to[nt] = there ? delta[group * lq + query] : 0;
}

/* What of the keys a launch has, and where their ds^T is. */
typedef struct Part {
    uint16_t *ds;       ///< NULL: not wanted
    int first, tiles;
    int pitch;          ///< elements from a key to the next
} Part;

typedef struct Maps {
    const LvTileMap *q, *dy, *k, *v;
} Maps;

#if LV_HOPPER

/* Which query stands at a place in ds^T. */
LV_INLINE int query_of(int place)
{
    return (place & ~15) | (place / 4 % 4 * 2 + place % 2 + place / 2 % 2 * 8);
}

/* Shared memory: keys, values, tiles of queries, tiles of dy, each warp's two tiles of stats,
 * then barriers. */
template <int D, int NT, int STAGES> struct Room {
    enum { OWN = ROWS * D * 2, TILE = NT * D * 2, STATS = 2 * NT * 4 };
    unsigned char *k, *v, *q, *dy, *stats;
    uint64_t *own_full, *own_empty, *full, *empty;
};

template <int D, int NT, int STAGES>
LV_INLINE Room<D, NT, STAGES> room_of(unsigned char *memory)
{
    typedef Room<D, NT, STAGES> R;
    unsigned char *q = memory + 2 * R::OWN, *dy = q + STAGES * R::TILE;
    unsigned char *stats = dy + STAGES * R::TILE;
    uint64_t *b = (uint64_t *)(stats + 4 * TEAMS * 2 * R::STATS);
    R r = { memory, memory + R::OWN, q, dy, stats, b, b + 1, b + 2, b + 2 + STAGES };

    return r;
}

template <int D, int NT, int STAGES>
LV_INLINE void make_barriers(const Room<D, NT, STAGES> &r)
{
    barrier_make(r.own_full, 1);
    barrier_make(r.own_empty, 4 * TEAMS);
#pragma unroll
    for (int s = 0; s < STAGES; s++) {
        barrier_make(r.full + s, 1);
        barrier_make(r.empty + s, 4 * TEAMS);
    }
    barriers_made();
}

typedef struct Work {
    int lq, lk, tiles;  ///< tiles of queries
    int blocks;         ///< tiles of keys of a head
} Work;

LV_INLINE Work work_of(const LvAttnDxArgs &a, int nt)
{
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    Work w = { lq, lk, (lq + nt - 1) / nt, (lk + ROWS - 1) / ROWS };

    return w;
}

/* A tile of keys. */
typedef struct Item {
    int first;          ///< key in the sample
    int head, sample;
    int group;          ///< sample heads + head
} Item;

LV_INLINE Item item_of(const Work &w, int heads, int number)
{
    int group = number / w.blocks;
    Item i = { number % w.blocks * ROWS, group % heads, group / heads, group };

    return i;
}

/* Rows from `row` on of an item's head. */
template <int D, int N>
LV_INLINE void copy_rows(unsigned char *to, const LvTileMap *map, const Item &i, int row,
                         uint64_t *full)
{
#pragma unroll
    for (int p = 0; p < D / PANEL; p++)
        copy_box(to + p * N * PANEL_BYTES, map, i.head * D + p * PANEL, row, i.sample, full);
}

template <int D, int NT, int STAGES>
LV_INLINE void copy_items(const Room<D, NT, STAGES> &r, const Maps &m, const Work &w,
                          int heads, const Part &part)
{
    typedef Room<D, NT, STAGES> R;
    unsigned turn = 0, n = 0;

    for (int at = blockIdx.x; at < part.tiles; at += gridDim.x, turn++) {
        Item i = item_of(w, heads, part.first + at);
        barrier_wait(r.own_empty, (turn & 1) ^ 1);
        barrier_expect(r.own_full, 2 * R::OWN);
        copy_rows<D, ROWS>(r.k, m.k, i, i.first, r.own_full);
        copy_rows<D, ROWS>(r.v, m.v, i, i.first, r.own_full);
        for (int j = 0; j < w.tiles; j++, n++) {
            int s = n % STAGES;
            barrier_wait(r.empty + s, (n / STAGES & 1) ^ 1);
            barrier_expect(r.full + s, 2 * R::TILE);
            copy_rows<D, NT>(r.q + s * R::TILE, m.q, i, j * NT, r.full + s);
            copy_rows<D, NT>(r.dy + s * R::TILE, m.dy, i, j * NT, r.full + s);
        }
    }
}

/* The warp has done with what a barrier guards. */
LV_INLINE void done_with(uint64_t *empty)
{
    if (threadIdx.x % WARP == 0)
        barrier_arrive(empty);
}

/* Start c[64,NT] = own tile^T, own being 64 rows of ROWS. */
template <int D, int NT>
LV_INLINE void start_scores(float c[NT / 8][4], uint64_t own, uint64_t tile)
{
#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        int panel = kk * 16 / PANEL, in = kk * 32 % PANEL_BYTES;
        product_shared<NT>(c, own + (panel * ROWS * PANEL_BYTES + in) / 16,
                           tile + (panel * NT * PANEL_BYTES + in) / 16, kk > 0);
    }
    products_commit();
}

/* Start c[64,D] += p[64,NT] tile. */
template <int D, int NT>
LV_INLINE void start_sums(float c[D / 8][4], const uint32_t p[NT / 16][4], uint64_t tile)
{
#pragma unroll
    for (int kk = 0; kk < NT / 16; kk++)
        product_held<D>(c, p[kk], tile + kk * 16 * PANEL_BYTES / 16);
    products_commit();
}

/* Start to copy a tile of stats into the warp's place for it. */
template <int NT> LV_INLINE void start_stats(float *to, const float *from)
{
    for (int c = threadIdx.x % WARP; c < NT / 2; c += WARP)
        copy_async(to + 4 * c, from + 4 * c, 1);
    copy_commit();
}

/* s, scores of 64 keys (rows), becomes p, and p its bf16. bias is in units of the scores. */
template <int NT>
LV_INLINE void make_weights(float s[NT / 8][4], const float *stats, float scale,
                            const float bias[2], int biased)
{
    int t = threadIdx.x % 4 * 2;

    if (biased) {
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[n][e] += bias[e / 2];
    }
#pragma unroll
    for (int n = 0; n < NT / 8; n++) {
        float2 l = *(const float2 *)(stats + n * 8 + t);
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[n][e] = fast_exp2(fmaf(s[n][e], scale, e % 2 ? l.y : l.x));
    }
}

/* dp becomes ds. p is in bf16, because registers cannot hold it in f32 beside the sums. */
template <int NT>
LV_INLINE void make_ds(float dp[NT / 8][4], const uint32_t p[NT / 16][4], const float *stats)
{
    int t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int n = 0; n < NT / 8; n++) {
        float2 d = *(const float2 *)(stats + NT + n * 8 + t);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint32_t pair = p[n / 2][n % 2 * 2 + h];
            dp[n][2 * h]     = __uint_as_float(pair << 16) * (dp[n][2 * h] - d.x);
            dp[n][2 * h + 1] = __uint_as_float(pair & 0xFFFF0000u) *
                               (dp[n][2 * h + 1] - d.y);
        }
    }
}

/* Packed ds to memory: `to` is the place of the thread's first key and four queries. */
template <int NT>
LV_INLINE void store_ds(uint16_t *to, const uint32_t p[NT / 16][4], int pitch)
{
#pragma unroll
    for (int kk = 0; kk < NT / 16; kk++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            *(uint2 *)(to + (size_t)(8 * h) * pitch + 16 * kk) =
                make_uint2(p[kk][h], p[kk][2 + h]);
}

/* What a team keeps of its 64 keys. */
template <int D> struct Rows {
    float dk[D / 8][4], dv[D / 8][4];
};

/* What a thread adds to scores of its keys r and r + 8, in their units: those that are not
 * there get no weight. @return whether there is anything to add */
LV_INLINE int bias_of(float bias[2], const LvAttnDxArgs &a, const Work &w, const Item &i,
                      int key)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int j = key + 8 * h;
        bias[h] = j >= w.lk ? -INFINITY : !has(a.key_bias) ? 0 :
            ((const float *)a.key_bias.data)[(size_t)i.sample * w.lk + j] / a.scale;
    }
    return has(a.key_bias) || i.first + ROWS > w.lk;
}

/* A tile of keys against all queries, uses n on of the ring. */
template <int D, int NT, int STAGES>
LV_INLINE void walk(Rows<D> &x, const Room<D, NT, STAGES> &r, const LvAttnDxArgs &a,
                    const Work &w, const Item &i, const float *from, uint16_t *ds, int pitch,
                    unsigned n)
{
    typedef Room<D, NT, STAGES> R;
    int warp = threadIdx.x / WARP - 4, team = warp / 4;
    const uint64_t k = operand(r.k + team * 64 * PANEL_BYTES, 16);
    const uint64_t v = operand(r.v + team * 64 * PANEL_BYTES, 16);
    float *stats = (float *)(r.stats + warp * 2 * R::STATS);
    float scale = a.scale * LOG2E, bias[2];
    int biased = bias_of(bias, a, w, i, i.first + warp * 16 + threadIdx.x % WARP / 4);

    __syncwarp();
    start_stats<NT>(stats, from);
    for (int j = 0; j < w.tiles; j++, n++) {
        int at = n % STAGES;
        const float *now = stats + j % 2 * 2 * NT;
        float s[NT / 8][4], dp[NT / 8][4];
        uint32_t p[NT / 16][4], d[NT / 16][4];

        copy_wait<0>();
        __syncwarp();
        if (j + 1 < w.tiles)
            start_stats<NT>(stats + (j + 1) % 2 * 2 * NT, from + (size_t)(j + 1) * 2 * NT);
        barrier_wait(r.full + at, n / STAGES & 1);
        products_begin();
        start_scores<D, NT>(s, k, operand(r.q + at * R::TILE, 16));
        start_scores<D, NT>(dp, v, operand(r.dy + at * R::TILE, 16));
        products_wait<1>();
        hold<NT / 8>(s);
        make_weights<NT>(s, now, scale, bias, biased);
        pack_operands<NT>(p, s);
        products_begin();
        start_sums<D, NT>(x.dv, p, operand(r.dy + at * R::TILE, NT * PANEL_BYTES));
        products_wait<1>();
        hold<NT / 8>(dp);
        make_ds<NT>(dp, p, now);
        pack_operands<NT>(d, dp);
        products_begin();
        start_sums<D, NT>(x.dk, d, operand(r.q + at * R::TILE, NT * PANEL_BYTES));
        if (ds)
            store_ds<NT>(ds + j * NT, d, pitch);
        products_wait<0>(); /* the next scores need the registers of p and ds */
        hold<D / 8>(x.dk);
        hold<D / 8>(x.dv);
        done_with(r.empty + at);
    }
}

template <int D>
LV_INLINE void finish(const Rows<D> &x, const LvAttnDxArgs &a, const Work &w, const Item &i)
{
    int first = i.first + (threadIdx.x / WARP - 4) * 16;
    const float f[2] = { a.scale, a.scale }, one[2] = { 1, 1 };
    size_t row = (size_t)i.sample * w.lk + first;

    if (has(a.dk))
        store_rows<D>(a.dk, x.dk, row, i.head * D, w.lk - first, f, a.add & 2);
    if (has(a.dv))
        store_rows<D>(a.dv, x.dv, row, i.head * D, w.lk - first, one, a.add & 4);
}

template <int D, int NT, int STAGES>
LV_INLINE void compute_items(const Room<D, NT, STAGES> &r, const LvAttnDxArgs &a,
                             const Work &w, const float *stats, const Part &part)
{
    int row = threadIdx.x / WARP * 16 - 64 + threadIdx.x % WARP / 4;
    unsigned turn = 0, n = 0;

    for (int at = blockIdx.x; at < part.tiles; at += gridDim.x, turn++, n += w.tiles) {
        Item i = item_of(w, a.heads, part.first + at);
        const float *from = stats + (size_t)i.group * w.tiles * 2 * NT;
        uint16_t *ds = !part.ds ? NULL :
            part.ds + (size_t)(at * ROWS + row) * part.pitch + threadIdx.x % 4 * 4;
        Rows<D> x;
#pragma unroll
        for (int c = 0; c < D / 8; c++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                x.dk[c][e] = x.dv[c][e] = 0;
        barrier_wait(r.own_full, turn & 1);
        walk<D, NT, STAGES>(x, r, a, w, i, from, ds, part.pitch, n);
        done_with(r.own_empty);
        finish<D>(x, a, w, i);
    }
}

template <int D, int NT, int STAGES>
static __device__ void backward_kv(const LvAttnDxArgs &a, const Maps &m, const float *stats,
                                   const Part &part)
{
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    const Room<D, NT, STAGES> r = room_of<D, NT, STAGES>(shared);
    const Work w = work_of(a, NT);

    if (threadIdx.x == 0)
        make_barriers<D, NT, STAGES>(r);
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        registers_down<FEW>();
        if (threadIdx.x == 0)
            copy_items<D, NT, STAGES>(r, m, w, a.heads, part);
    } else {
        registers_up<MANY>();
        compute_items<D, NT, STAGES>(r, a, w, stats, part);
    }
}

/* dq */

enum { STEP = 64 /* keys of a stage */, BOX = STEP * PANEL_BYTES };

/* The keys that a launch has of a head. */
typedef struct Span {
    int group, row;     ///< sample heads + head; of ds^T
    int first, end;     ///< keys of the sample
} Span;

LV_INLINE Span span_of(const Work &w, const Part &part)
{
    int group = part.first / w.blocks + blockIdx.y;
    int from  = max(group * w.blocks, part.first);
    int to    = min((group + 1) * w.blocks, part.first + part.tiles);
    Span s = { group, (from - part.first) * ROWS, (from - group * w.blocks) * ROWS,
               min((to - group * w.blocks) * ROWS, w.lk) };

    return s;
}

template <int D, int STAGES>
LV_INLINE void copy_span(unsigned char *shared, uint64_t *full, const LvTileMap *ds,
                         const LvTileMap *k, const Span &s, int heads)
{
    enum { STAGE = (TEAMS + D / PANEL) * BOX };
    uint64_t *empty = full + STAGES;
    Item i = { s.first, s.group % heads, s.group / heads, s.group };

    for (int n = 0, key = s.first; key < s.end; n++, key += STEP) {
        unsigned char *to = shared + n % STAGES * STAGE;
        uint64_t *come    = full + n % STAGES;
        barrier_wait(empty + n % STAGES, (n / STAGES & 1) ^ 1);
        barrier_expect(come, STAGE);
#pragma unroll
        for (int p = 0; p < TEAMS; p++)
            copy_box(to + p * BOX, ds, blockIdx.x * ROWS + p * PANEL, s.row + n * STEP, 0,
                     come);
        copy_rows<D, STEP>(to + TEAMS * BOX, k, i, key, come);
    }
}

template <int D, int STAGES>
LV_INLINE void sum_span(float o[D / 8][4], unsigned char *shared, uint64_t *full,
                        const Span &s)
{
    enum { STAGE = (TEAMS + D / PANEL) * BOX };
    uint64_t *empty = full + STAGES;
    int team = threadIdx.x / WARPGROUP - 1, n = 0;

    for (int key = s.first; key < s.end; n++, key += STEP) {
        unsigned char *at = shared + n % STAGES * STAGE;
        const uint64_t ds = operand(at + team * BOX, 16), k = operand(at + TEAMS * BOX, BOX);
        barrier_wait(full + n % STAGES, n / STAGES & 1);
        products_begin();
#pragma unroll
        for (int kk = 0; kk < STEP / 16; kk++)
            product_turned<D>(o, ds + kk * 16 * PANEL_BYTES / 16,
                              k + kk * 16 * PANEL_BYTES / 16);
        products_commit();
        products_wait<1>();
        if (n > 0)
            done_with(empty + (n - 1) % STAGES);
    }
    products_wait<0>();
    hold<D / 8>(o);
}

/* Sums of a head that this launch goes on with or leaves: [Lq,D]. */
template <int D>
LV_INLINE void carry_row(float *at, float o[D / 8][4], int h, int store)
{
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        float2 *x = (float2 *)(at + n * 8 + threadIdx.x % 4 * 2);
        if (store) {
            *x = make_float2(o[n][2 * h], o[n][2 * h + 1]);
        } else {
            o[n][2 * h] += x->x;
            o[n][2 * h + 1] += x->y;
        }
    }
}

template <int D>
LV_INLINE void finish_queries(float o[D / 8][4], const LvAttnDxArgs &a, const Work &w,
                              const Span &s, const float *before, float *behind)
{
    int sample = s.group / a.heads, column = s.group % a.heads * D;
    int place  = blockIdx.x * ROWS + threadIdx.x / WARP * 16 - 64 + threadIdx.x % WARP / 4;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        int i = query_of(place + 8 * h);
        if (i >= w.lq)
            continue;
        if (s.first > 0)
            carry_row<D>((float *)before + (size_t)i * D, o, h, 0);
        if (s.end < w.lk)
            carry_row<D>(behind + (size_t)i * D, o, h, 1);
        else
            store_row<D>(a.dq, o, h, (size_t)sample * w.lq + i, column, a.scale, a.add & 1);
    }
}

template <int D, int STAGES>
static __device__ void backward_q(const LvAttnDxArgs &a, const LvTileMap *ds,
                                  const LvTileMap *k, const Part &part, const float *before,
                                  float *behind)
{
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    uint64_t *full = (uint64_t *)(shared + STAGES * (TEAMS + D / PANEL) * BOX);
    const Work w = work_of(a, 16);
    const Span s = span_of(w, part);

    if (threadIdx.x == 0) {
#pragma unroll
        for (int i = 0; i < STAGES; i++) {
            barrier_make(full + i, 1);
            barrier_make(full + STAGES + i, 4 * TEAMS);
        }
        barriers_made();
    }
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        if (threadIdx.x == 0)
            copy_span<D, STAGES>(shared, full, ds, k, s, a.heads);
    } else {
        float o[D / 8][4];
#pragma unroll
        for (int c = 0; c < D / 8; c++)
            o[c][0] = o[c][1] = o[c][2] = o[c][3] = 0;
        sum_span<D, STAGES>(o, shared, full, s);
        finish_queries<D>(o, a, w, s, before, behind);
    }
}

#else /* a device that is never given these kernels */

template <int D, int NT, int STAGES>
static __device__ void backward_kv(const LvAttnDxArgs &, const Maps &, const float *,
                                   const Part &)
{
    __trap();
}

template <int D, int STAGES>
static __device__ void backward_q(const LvAttnDxArgs &, const LvTileMap *, const LvTileMap *,
                                  const Part &, const float *, float *)
{
    __trap();
}

#endif

#define ATTENTION extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define DKV_ARGS                                                                       \
    LV_ARG LvAttnDxArgs a, LV_ARG LvTileMap q, LV_ARG LvTileMap dy, LV_ARG LvTileMap k, \
    LV_ARG LvTileMap v, const float *stats, LV_ARG Part part
#define DQ_ARGS                                                                        \
    LV_ARG LvAttnDxArgs a, LV_ARG LvTileMap ds, LV_ARG LvTileMap k, LV_ARG Part part,  \
    const float *before, float *behind

ATTENTION lv_attn_dkv_sm90_d64(DKV_ARGS)
{
    const Maps m = { &q, &dy, &k, &v };

    backward_kv<64, 128, 4>(a, m, stats, part);
}

ATTENTION lv_attn_dkv_sm90_d128(DKV_ARGS)
{
    const Maps m = { &q, &dy, &k, &v };

    backward_kv<128, 80, 3>(a, m, stats, part);
}

ATTENTION lv_attn_dq_sm90_d64(DQ_ARGS)
{
    backward_q<64, 8>(a, &ds, &k, part, before, behind);
}

ATTENTION lv_attn_dq_sm90_d128(DQ_ARGS)
{
    backward_q<128, 6>(a, &ds, &k, part, before, behind);
}
