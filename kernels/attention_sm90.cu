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

#include "attention_items.cuh"

typedef struct Maps {
    const LvTileMap *q, *k, *v;
} Maps;

#if LV_HOPPER

template <int D, int NT, int STAGES> using Room =
    Rings<ROWS * D * 2, NT * D * 2, NT * D * 2, STAGES>;

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

template <int D> LV_INLINE void scale_outputs(float o[D / 8][4], const float f[2])
{
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            o[n][e] *= f[e / 2];
}

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
    start_scores<D, NT>(s, q, ks + at * R::KEYS / 16);
    products_wait<0>();
    hold<NT / 8>(s);
    done_with(r.k_empty + at);
    if (j == 0)
        done_with(r.q_empty);
    factor = mask_keys<NT>(s, scale, bias, j, w.lk);
    softmax_tile<NT>(s, factor, x.max, x.sum, corr);
    pack_operands<NT>(p, s);
    for (j -= NT; j >= 0; j -= NT) {
        const uint64_t v  = vs + at * R::KEYS / 16;
        uint64_t *v_empty = r.v_empty + at;

        barrier_wait(r.v_full + at, turn_of<STAGES>(n));
        at = stage_of<STAGES>(++n);
        barrier_wait(r.k_full + at, turn_of<STAGES>(n));
        turn_wait<TEAMS * WARPGROUP>(1 + team);
        products_begin();
        start_scores<D, NT>(s, q, ks + at * R::KEYS / 16);
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
    start_outputs<D, NT>(x.o, p, vs + at * R::KEYS / 16);
    products_wait<0>();
    hold<D / 8>(x.o);
    done_with(r.v_empty + at);
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
            sit_out(r, w, team, n);
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
    const Room<D, NT, STAGES> r = rings_of<Room<D, NT, STAGES> >(shared);
    const Work w = work_of<NT>(a);

    if (threadIdx.x == 0)
        make_barriers(r);
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
