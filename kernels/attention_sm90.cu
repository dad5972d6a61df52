/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention forward for compute capability 9.0, in bf16 for heads of 64 and 128
 * channels: what attention.cu does, with products of a warpgroup (wgmma), copies of boxes
 * and a block for each multiprocessor.
 *
 *   s = scale q k^T + key_bias; o = softmax(s) v; lse = ln sum exp s
 *
 * Tiles: an item is 128 queries of a head. A block of three warpgroups takes items
 * blockIdx.x, blockIdx.x + gridDim.x... One thread of the first warpgroup copies: the
 * queries of an item, then its keys and values in tiles of NT rows, the last ones first,
 * into rings of STAGES tiles; it runs ahead, into the next item. The other two own 64
 * queries each. Full barriers say that a tile has come, empty ones that the eight warps
 * have done with it. Keys that are not there come as zeros and get no weight: only an
 * item's first tile has such.
 *
 * Scores and outputs stay in registers; weights, in bf16, are the first operand of their
 * product from there. The scores of a tile are made while the weights of the one before
 * meet their values, and the two warpgroups give their products in turns, so that one's
 * exponentials run beside the other's products. Every output element is summed by one
 * warpgroup in the order of tiles: the same bits every time.
 *
 * FLOPs: 4 Lq Lk D a head. Bytes: q, k, v, o once and k, v again for each item, from the
 * second-level cache, 128 FLOPs a byte of it. Bound by the tensor cores at D 128; at D 64
 * as much by exp: 16 a clock of a multiprocessor, and as many scores as it multiplies.
 */

#include "attention.cuh"
#include "lv_hopper.cuh"

enum { THREADS = 3 * WARPGROUP, TEAMS = 2, ROWS = 64 * TEAMS };

/* Registers of a thread that copies, and of one that computes. */
enum { FEW = 24, MANY = 240 };

typedef struct Maps {
    const LvTileMap *q, *k, *v;
} Maps;

#if LV_HOPPER

/* Shared memory: queries, tiles of keys, tiles of values, then barriers. */
template <int D, int NT, int STAGES> struct Room {
    enum { QUERIES = ROWS * D * 2, TILE = NT * D * 2 };
    unsigned char *q, *k, *v;
    uint64_t *q_full, *q_empty, *k_full, *k_empty, *v_full, *v_empty;
};

template <int D, int NT, int STAGES>
LV_INLINE Room<D, NT, STAGES> room_of(unsigned char *memory)
{
    typedef Room<D, NT, STAGES> R;
    unsigned char *k = memory + R::QUERIES, *v = k + STAGES * R::TILE;
    uint64_t *b = (uint64_t *)(v + STAGES * R::TILE);
    R r = { memory, k, v, b, b + 1, b + 2, b + 2 + STAGES, b + 2 + 2 * STAGES,
            b + 2 + 3 * STAGES };

    return r;
}

/* Full barriers wait for the thread that copies, empty ones for each warp. */
template <int D, int NT, int STAGES>
LV_INLINE void make_barriers(const Room<D, NT, STAGES> &r)
{
    barrier_make(r.q_full, 1);
    barrier_make(r.q_empty, 4 * TEAMS);
#pragma unroll
    for (int s = 0; s < STAGES; s++) {
        barrier_make(r.k_full + s, 1);
        barrier_make(r.k_empty + s, 4 * TEAMS);
        barrier_make(r.v_full + s, 1);
        barrier_make(r.v_empty + s, 4 * TEAMS);
    }
    barriers_made();
}

/* A block's items, and one of them. */
typedef struct Work {
    int lq, lk, tiles, blocks, items;
} Work;

typedef struct Item {
    int first;          ///< query in the sample
    int head, sample;
} Item;

template <int NT> LV_INLINE Work work_of(const LvAttnArgs &a)
{
    int lq = a.q.dim[0] / a.batch, lk = a.k.dim[0] / a.batch;
    int blocks = (lq + ROWS - 1) / ROWS;
    Work w = { lq, lk, (lk + NT - 1) / NT, blocks, blocks * a.batch * a.heads };

    return w;
}

LV_INLINE Item item_of(const Work &w, int heads, int number)
{
    int group = number / w.blocks;
    Item i = { number % w.blocks * ROWS, group % heads, group / heads };

    return i;
}

/* Where use number n of a ring is, and the parity of its turn. */
template <int STAGES> LV_INLINE int stage_of(unsigned n)
{
    return n % STAGES;
}

template <int STAGES> LV_INLINE int turn_of(unsigned n)
{
    return n / STAGES & 1;
}

/* Use n of a ring of tiles: rows from `row` on of an item's head. */
template <int D, int NT, int STAGES>
LV_INLINE void copy_tile(unsigned char *ring, const LvTileMap *map, const Item &i,
                         int row, unsigned n, uint64_t *full, uint64_t *empty)
{
    int s = stage_of<STAGES>(n);

    barrier_wait(empty + s, turn_of<STAGES>(n) ^ 1);
    barrier_expect(full + s, NT * D * 2);
#pragma unroll
    for (int p = 0; p < D / PANEL; p++)
        copy_box(ring + (s * (D / PANEL) + p) * NT * PANEL_BYTES, map,
                 i.head * D + p * PANEL, row, i.sample, full + s);
}

template <int D, int NT, int STAGES>
LV_INLINE void copy_items(const Room<D, NT, STAGES> &r, const Maps &m, const Work &w,
                          int heads)
{
    unsigned turn = 0, n = 0;

    for (int at = blockIdx.x; at < w.items; at += gridDim.x, turn++) {
        Item i = item_of(w, heads, at);
        for (int j = w.tiles - 1; j >= 0; j--, n++) {
            copy_tile<D, NT, STAGES>(r.k, m.k, i, j * NT, n, r.k_full, r.k_empty);
            if (j == w.tiles - 1) /* there is room for keys before there is for these */
                copy_tile<D, ROWS, 1>(r.q, m.q, i, i.first, turn, r.q_full, r.q_empty);
            copy_tile<D, NT, STAGES>(r.v, m.v, i, j * NT, n, r.v_full, r.v_empty);
        }
    }
}

/* The warp has done with what a barrier guards. */
LV_INLINE void done_with(uint64_t *empty)
{
    if (threadIdx.x % WARP == 0)
        barrier_arrive(empty);
}

/* Start s[64,NT] = q k^T, q being the team's rows of all queries. */
template <int D, int NT>
LV_INLINE void start_scores(float s[NT / 8][4], uint64_t q, uint64_t k)
{
#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        int panel = kk * 16 / PANEL, in = kk * 32 % PANEL_BYTES;
        product_shared<NT>(s, q + (panel * ROWS * PANEL_BYTES + in) / 16,
                           k + (panel * NT * PANEL_BYTES + in) / 16, kk > 0);
    }
    products_commit();
}

/* Start o[64,D] += p[64,NT] v. */
template <int D, int NT>
LV_INLINE void start_outputs(float o[D / 8][4], const uint32_t p[NT / 16][4], uint64_t v)
{
#pragma unroll
    for (int kk = 0; kk < NT / 16; kk++)
        product_held<D>(o, p[kk], v + kk * 16 * PANEL_BYTES / 16);
    products_commit();
}

/* Scores of keys from j on that are not there, or with a bias: those come out scaled, in
 * units of ln 2. @return what scores have still to be multiplied by */
template <int NT>
LV_INLINE float mask_keys(float s[NT / 8][4], float scale, const float *bias, int j,
                          int lk)
{
    int t = j + threadIdx.x % 4 * 2;

    if (!bias && j + NT <= lk)
        return scale;
#pragma unroll
    for (int n = 0; n < NT / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int key = t + n * 8 + e;
            float b = key >= lk ? -INFINITY : bias ? bias[key] * LOG2E : 0;
            s[n][e]     = s[n][e] * scale + b;
            s[n][e + 2] = s[n][e + 2] * scale + b;
        }
    return 1;
}

/* The running softmax of rows r (h = 0) and r + 8 (h = 1), in units of ln 2: s becomes
 * exp2(factor s - max), sums are brought to the new maximum; corr is what does that. */
template <int NT>
LV_INLINE void softmax_tile(float s[NT / 8][4], float factor, float max[2], float sum[2],
                            float corr[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top[2] = { -INFINITY, -INFINITY }, part[2] = { 0, 0 }, now, base;
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                top[e] = fmaxf(top[e], s[n][2 * h + e]);
        now     = fmaxf(max[h], quad_max(fmaxf(top[0], top[1])) * factor);
        base    = now == -INFINITY ? 0 : now;
        corr[h] = fast_exp2(max[h] - base);
        max[h]  = now;
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float *x = &s[n][2 * h + e];
                *x = fast_exp2(fmaf(*x, factor, -base));
                part[e] += *x;
            }
        sum[h] = sum[h] * corr[h] + (part[0] + part[1]);
    }
}

template <int D> LV_INLINE void scale_outputs(float o[D / 8][4], const float f[2])
{
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            o[n][e] *= f[e / 2];
}

/* What a team keeps of its 64 rows, a thread two of them. */
template <int D> struct Rows {
    float o[D / 8][4], max[2], sum[2];
};

/* One item's keys and values, uses n on of the rings. */
template <int D, int NT, int STAGES>
LV_INLINE void attend(Rows<D> &x, const Room<D, NT, STAGES> &r, const Work &w, int team,
                      unsigned n, float scale, const float *bias)
{
    typedef Room<D, NT, STAGES> R;
    const uint64_t q  = operand(r.q + team * 64 * PANEL_BYTES, 16);
    const uint64_t ks = operand(r.k, 16), vs = operand(r.v, NT * PANEL_BYTES);
    int at = stage_of<STAGES>(n), j = (w.tiles - 1) * NT;
    float s[NT / 8][4], corr[2], factor;
    uint32_t p[NT / 16][4];

    barrier_wait(r.k_full + at, turn_of<STAGES>(n));
    products_begin();
    start_scores<D, NT>(s, q, ks + at * R::TILE / 16);
    products_wait<0>();
    hold<NT / 8>(s);
    done_with(r.k_empty + at);
    if (j == 0)
        done_with(r.q_empty);
    factor = mask_keys<NT>(s, scale, bias, j, w.lk);
    softmax_tile<NT>(s, factor, x.max, x.sum, corr);
    pack_operands<NT>(p, s);
    for (j -= NT; j >= 0; j -= NT) {
        const uint64_t v  = vs + at * R::TILE / 16;
        uint64_t *v_empty = r.v_empty + at;

        barrier_wait(r.v_full + at, turn_of<STAGES>(n));
        at = stage_of<STAGES>(++n);
        barrier_wait(r.k_full + at, turn_of<STAGES>(n));
        turn_wait<TEAMS * WARPGROUP>(1 + team);
        products_begin();
        start_scores<D, NT>(s, q, ks + at * R::TILE / 16);
        start_outputs<D, NT>(x.o, p, v);
        turn_give<TEAMS * WARPGROUP>(2 - team);
        products_wait<1>();
        hold<NT / 8>(s);
        done_with(r.k_empty + at);
        if (j == 0)
            done_with(r.q_empty);
        factor = mask_keys<NT>(s, scale, bias, j, w.lk);
        softmax_tile<NT>(s, factor, x.max, x.sum, corr);
        stay_behind(x.sum[0] + x.sum[1]);
        products_wait<0>();
        hold<D / 8>(x.o);
        hold<NT / 8>(s);
        done_with(v_empty);
        scale_outputs<D>(x.o, corr);
        pack_operands<NT>(p, s);
    }
    barrier_wait(r.v_full + at, turn_of<STAGES>(n));
    products_begin();
    start_outputs<D, NT>(x.o, p, vs + at * R::TILE / 16);
    products_wait<0>();
    hold<D / 8>(x.o);
    done_with(r.v_empty + at);
}

/* The same for a team whose rows are behind the last query: it gives all back. */
template <int D, int NT, int STAGES>
LV_INLINE void sit_out(const Room<D, NT, STAGES> &r, const Work &w, int team, unsigned n)
{
    done_with(r.q_empty);
    for (int j = 0; j < w.tiles; j++, n++) {
        int at = stage_of<STAGES>(n), turn = turn_of<STAGES>(n);
        barrier_wait(r.k_full + at, turn);
        done_with(r.k_empty + at);
        if (j > 0) {
            turn_wait<TEAMS * WARPGROUP>(1 + team);
            turn_give<TEAMS * WARPGROUP>(2 - team);
        }
        barrier_wait(r.v_full + at, turn);
        done_with(r.v_empty + at);
    }
}

/* Divide by the sums and store. */
template <int D>
LV_INLINE void finish(Rows<D> &x, const LvAttnArgs &a, const Work &w, const Item &i,
                      int team)
{
    int first = i.first + 64 * team + threadIdx.x % WARPGROUP / WARP * 16;
    size_t stats = ((size_t)i.sample * a.heads + i.head) * w.lq;
    float f[2];

#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = first + threadIdx.x % WARP / 4 + 8 * h;
        x.sum[h] = quad_sum(x.sum[h]);
        f[h]     = x.sum[h] > 0 ? 1 / x.sum[h] : 0;
        if (has(a.lse) && threadIdx.x % 4 == 0 && row < w.lq)
            ((float *)a.lse.data)[stats + row] = x.max[h] * LN2 + logf(x.sum[h]);
    }
    store_rows<D>(a.o, x.o, (size_t)i.sample * w.lq + first, i.head * D, w.lq - first, f,
                  0);
}

/* The items of a team. They begin with the first team's turn, and end with its having
 * the turn again. */
template <int D, int NT, int STAGES>
LV_INLINE void compute_items(const Room<D, NT, STAGES> &r, const LvAttnArgs &a,
                             const Work &w)
{
    int team = threadIdx.x / WARPGROUP - 1;
    unsigned turn = 0, n = 0;

    if (team == 1)
        turn_give<TEAMS * WARPGROUP>(1);
    for (int at = blockIdx.x; at < w.items; at += gridDim.x, turn++, n += w.tiles) {
        Item i = item_of(w, a.heads, at);
        if (i.first + 64 * team >= w.lq) {
            barrier_wait(r.q_full, turn & 1);
            sit_out<D, NT, STAGES>(r, w, team, n);
            continue;
        }
        const float *bias = has(a.key_bias) ?
            (const float *)a.key_bias.data + (size_t)i.sample * w.lk : NULL;
        Rows<D> x;
#pragma unroll
        for (int c = 0; c < D / 8; c++)
            x.o[c][0] = x.o[c][1] = x.o[c][2] = x.o[c][3] = 0;
        x.max[0] = x.max[1] = -INFINITY;
        x.sum[0] = x.sum[1] = 0;
        barrier_wait(r.q_full, turn & 1);
        attend<D, NT, STAGES>(x, r, w, team, n, a.scale * LOG2E, bias);
        finish<D>(x, a, w, i, team);
    }
    if (team == 0)
        turn_wait<TEAMS * WARPGROUP>(1);
}

template <int D, int NT, int STAGES>
static __device__ void forward(const LvAttnArgs &a, const Maps &m)
{
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    const Room<D, NT, STAGES> r = room_of<D, NT, STAGES>(shared);
    const Work w = work_of<NT>(a);

    if (threadIdx.x == 0)
        make_barriers<D, NT, STAGES>(r);
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        registers_down<FEW>();
        if (threadIdx.x == 0)
            copy_items<D, NT, STAGES>(r, m, w, a.heads);
    } else {
        registers_up<MANY>();
        compute_items<D, NT, STAGES>(r, a, w);
    }
}

#else /* a device that is never given these kernels */

template <int D, int NT, int STAGES>
static __device__ void forward(const LvAttnArgs &, const Maps &)
{
    __trap();
}

#endif

#define ATTENTION extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define ATTENTION_ARGS                                                              \
    LV_ARG LvAttnArgs a, LV_ARG LvTileMap q, LV_ARG LvTileMap k, LV_ARG LvTileMap v

ATTENTION lv_attn_sm90_d64(ATTENTION_ARGS)
{
    const Maps m = { &q, &k, &v };

    forward<64, 144, 4>(a, m);
}

ATTENTION lv_attn_sm90_d128(ATTENTION_ARGS)
{
    const Maps m = { &q, &k, &v };

    forward<128, 176, 2>(a, m);
}
