/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Softmax attention forward in F8_E4M3 for compute capability 9.0 and heads of 128 channels: as
 * attention_sm90.cu, with products of twice the rate.
 *
 *   q8 = q / sq, k8 = k / sk, v8 = v / sv, rounded; sq, sk, sv being the largest magnitude of a
 *   sample's head / 448; s = scale sq sk q8 k8^T; p8 = 256 exp(s - max), rounded;
 *   o = sv p8 v8 / sum p8
 *
 * Three kernels before it make those: lv_attn_f8_most finds the magnitudes, lv_attn_f8_rows rounds
 * q and k, lv_attn_f8_turn rounds v and turns it to tiles [channels][128 keys], as products of e4m3
 * take rows along the sum alone. In each 16 of these, keys stand as a thread's four scores of them
 * do in the first operand: see key_at().
 *
 * The byte of 2^x in e4m3 is about 8 (x + 7): exactly where x is whole, and between these a
 * straight line in place of a curve, at most 6 % above it, of which the sum takes most away. So p8
 * is one multiplication with 8 and the constant 3 2^22 added, which leaves the rounded byte in the
 * lowest bits: no exp, no conversion. The maximum is rounded up to an eighth, so that bytes of all
 * tiles mean the same. The sum comes from the tensor cores, as a channel of ones behind v's.
 *
 * Tensor cores keep some 13 bits of sums of e4m3, so that those over thousands of keys would lose:
 * each tile's outputs are summed apart, and added in f32.
 *
 * Tiles of 128 keys: 64 registers of scores, 68 of a tile's outputs, 68 of all, 16 of weights.
 * A tile of 64 queries takes 530 clocks of the tensor cores, by which it is bound, and some 350
 * instructions.
 * Before: q, k, v read twice, 3 bytes of 5 written: 0.2 ms where attention takes 7.
 */

#include "attention_items.cuh"

/* A tile: keys; channels of its values, those of the head, ones and zeros; bytes of keys, and of
 * values. */
enum { D = 128, NT = 128, DV = D + 8, TILE_BYTES = NT * D, VALUE_BYTES = NT * DV, STAGES = 4 };

/* What goes before */

enum { BLOCK = 256, CHANNELS = 8, AT_ONCE = BLOCK / (D / CHANNELS) };

/* Eight channels of a row of a head. */
LV_INLINE void get_channels(const LvTensor &x, size_t row, int head, float v[CHANNELS])
{
    size_t at = row * x.dim[1] + head * D + threadIdx.x % (D / CHANNELS) * CHANNELS;

    get8(x.data, LV_BF16, at, (size_t)-1, v);
}

LV_INLINE float block_max(float x)
{
    __shared__ float part[BLOCK / WARP];

    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(part[threadIdx.x % (BLOCK / WARP)]);
}

/* The largest magnitude of a piece of a head's rows, infinite where one is not a number; block
 * (piece, head, tensor + 3 sample). */
LV_KERNEL lv_attn_f8_most(LV_ARG LvAttnF8Args a)
{
    const int which = blockIdx.z % 3, sample = blockIdx.z / 3, head = blockIdx.y;
    const LvTensor &x = which == 0 ? a.q : which == 1 ? a.k : a.v;
    const int rows = x.dim[0] / a.batch, first = blockIdx.x * a.piece;
    float v[CHANNELS], most = 0;

    for (int r = threadIdx.x / (D / CHANNELS); r < a.piece && first + r < rows; r += AT_ONCE) {
        get_channels(x, (size_t)sample * rows + first + r, head, v);
#pragma unroll
        for (int c = 0; c < CHANNELS; c++)
            most = fabsf(v[c]) < INFINITY ? fmaxf(most, fabsf(v[c])) : INFINITY;
    }
    most = block_max(most);
    if (threadIdx.x == 0)
        a.most[((size_t)blockIdx.z * a.heads + head) * a.pieces + blockIdx.x] = most;
}

/* The scale of a head of a sample's tensor, for all threads of the block. */
LV_INLINE float scale_of(const LvAttnF8Args &a, int which, int sample, int head)
{
    const float *most = a.most + ((size_t)(sample * 3 + which) * a.heads + head) * a.pieces;
    float x = 0;

    for (int i = threadIdx.x; i < a.pieces; i += BLOCK)
        x = fmaxf(x, most[i]);
    return block_max(x) / 448;
}

/* What numbers are multiplied by to be in the range. */
LV_INLINE float inverse(float scale)
{
    return scale * 448 >= LV_F8_LEAST ? 1 / scale : 0;
}

LV_INLINE void note_scale(const LvAttnF8Args &a, int which, int sample, int head, float scale)
{
    if (threadIdx.x == 0 && blockIdx.x == 0)
        a.scales[(size_t)(sample * 3 + which) * a.heads + head] = scale;
}

/* Rows of q or k; block (128 rows, head, tensor + 2 sample). */
LV_KERNEL lv_attn_f8_rows(LV_ARG LvAttnF8Args a)
{
    const int which = blockIdx.z % 2, sample = blockIdx.z / 2, head = blockIdx.y;
    const LvTensor &x = which ? a.k : a.q;
    const int rows = x.dim[0] / a.batch, first = blockIdx.x * NT;
    const float scale = scale_of(a, which, sample, head), by = inverse(scale);
    uint8_t *y = which ? a.k8 : a.q8;

    note_scale(a, which, sample, head, scale);
    for (int r = first + threadIdx.x / (D / CHANNELS); r < rows && r < first + NT; r += AT_ONCE) {
        size_t row = (size_t)sample * rows + r;
        float v[CHANNELS];
        get_channels(x, row, head, v);
#pragma unroll
        for (int c = 0; c < CHANNELS; c++)
            v[c] *= by;
        *(uint2 *)(y + row * x.dim[1] + head * D + threadIdx.x % (D / CHANNELS) * CHANNELS) =
            make_uint2(to_e4m3(v), to_e4m3(v + 4));
    }
}

/* Four keys are a word of a turned row; words of a row in shared memory, which threads that write
 * at once find in other banks. */
enum { WORDS = NT / 4, PITCH = WORDS + 1 };

/* 1 in e4m3, four times. */
#define FOUR_ONES 0x38383838u

/* The key that stands at place i of word w. */
LV_INLINE int key_at(int w, int i)
{
    return w / 4 * 16 + i / 2 * 8 + w % 4 * 2 + i % 2;
}

/* Word w of a thread's channels, of keys from `first` on. */
LV_INLINE void turn_word(uint32_t y[CHANNELS], const LvAttnF8Args &a, int first, int w, float by)
{
    const int sample = blockIdx.z, rows = a.v.dim[0] / a.batch;
    float v[4][CHANNELS] = {};

#pragma unroll
    for (int i = 0; i < 4; i++)
        if (first + key_at(w, i) < rows)
            get_channels(a.v, (size_t)sample * rows + first + key_at(w, i), blockIdx.y, v[i]);
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
        const float four[4] = { v[0][c] * by, v[1][c] * by, v[2][c] * by, v[3][c] * by };
        y[c] = to_e4m3(four);
    }
}

/* A tile of v, zeros behind its last key; block (tile, head, sample). */
LV_KERNEL lv_attn_f8_turn(LV_ARG LvAttnF8Args a)
{
    __shared__ uint32_t tile[D * PITCH];
    const int sample = blockIdx.z, head = blockIdx.y;
    const float scale = scale_of(a, 2, sample, head), by = inverse(scale);
    const int channel = threadIdx.x % (D / CHANNELS) * CHANNELS;
    uint32_t *y = (uint32_t *)(a.v8 + (((size_t)sample * a.heads + head) * gridDim.x +
                                       blockIdx.x) * VALUE_BYTES);

    note_scale(a, 2, sample, head, scale);
    for (int w = threadIdx.x / (D / CHANNELS); w < WORDS; w += AT_ONCE) {
        uint32_t of[CHANNELS];
        turn_word(of, a, blockIdx.x * NT, w, by);
#pragma unroll
        for (int c = 0; c < CHANNELS; c++)
            tile[(channel + c) * PITCH + w] = of[c];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < VALUE_BYTES / 4; i += BLOCK)
        y[i] = i < TILE_BYTES / 4 ? tile[i / WORDS * PITCH + i % WORDS]
             : i < TILE_BYTES / 4 + WORDS ? FOUR_ONES : 0;
}

/* Attention */

#if LV_HOPPER

typedef Rings<TILE_BYTES, TILE_BYTES, VALUE_BYTES, STAGES> Room;

typedef struct Maps {
    const LvTileMap *q, *k, *v;
} Maps;

/* Use n of a ring: one box. */
template <int N, int BYTES>
LV_INLINE void copy_tile(unsigned char *ring, const LvTileMap *map, int x, int y, int z,
                         unsigned n, uint64_t *full, uint64_t *empty)
{
    int s = stage_of<N>(n);

    barrier_wait(empty + s, turn_of<N>(n) ^ 1);
    barrier_expect(full + s, BYTES);
    copy_box(ring + s * BYTES, map, x, y, z, full + s);
}

LV_INLINE void copy_items(const Room &r, const Maps &m, const Work &w, int heads)
{
    unsigned turn = 0, n = 0;

    for (int at = blockIdx.x; at < w.items; at += gridDim.x, turn++) {
        Item i = item_of(w, heads, at);
        int tiles = (i.sample * heads + i.head) * w.tiles;

        for (int j = w.tiles - 1; j >= 0; j--, n++) {
            copy_tile<STAGES, TILE_BYTES>(r.k, m.k, i.head * D, j * NT, i.sample, n, r.k_full,
                                          r.k_empty);
            if (j == w.tiles - 1)
                copy_tile<1, TILE_BYTES>(r.q, m.q, i.head * D, i.first, i.sample, turn, r.q_full,
                                         r.q_empty);
            copy_tile<STAGES, VALUE_BYTES>(r.v, m.v, 0, 0, tiles + j, n, r.v_full, r.v_empty);
        }
    }
}

/* Start s[64,NT] = q k^T. */
LV_INLINE void start_scores(float s[NT / 8][4], uint64_t q, uint64_t k)
{
#pragma unroll
    for (int kk = 0; kk < D / 32; kk++)
        product8_shared<NT>(s, q + kk * 2, k + kk * 2, kk > 0);
    products_commit();
}

/* Start o[64,DV] = p[64,NT] v, which is turned. */
LV_INLINE void start_outputs(float o[DV / 8][4], const uint32_t p[NT / 32][4], uint64_t v)
{
#pragma unroll
    for (int kk = 0; kk < NT / 32; kk++)
        product8_held<DV>(o, p[kk], v + kk * 2, kk > 0);
    products_commit();
}

/* 3 2^22: a number below 2^22 that is added to it is rounded to a whole one, in the lowest bits. */
#define MAGIC 12582912.0f

/* The byte of 256, which no weight is above. */
enum { TOP = 8 * (8 + 7) };

/* The running maximum of rows r (h = 0) and r + 8 (h = 1), in eighths of ln 2, a whole number: s
 * becomes MAGIC + the byte of 256 exp2(factor s - max); corr brings what was summed before to the
 * new maximum. */
LV_INLINE void weigh(float s[NT / 8][4], float factor, float max[2], float corr[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top[2] = { -INFINITY, -INFINITY }, now, add;
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                top[e] = fmaxf(top[e], s[n][2 * h + e]);
        now     = fmaxf(max[h], ceilf(quad_max(fmaxf(top[0], top[1])) * (8 * factor)));
        corr[h] = fast_exp2((max[h] - now) / 8);
        max[h]  = now;
        add     = MAGIC + TOP - now;
#pragma unroll
        for (int n = 0; n < NT / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                s[n][2 * h + e] = fmaxf(fmaf(s[n][2 * h + e], 8 * factor, add), MAGIC);
    }
}

/* Their bytes as the first operand, keys in the order of key_at(). */
LV_INLINE void pack_weights(uint32_t p[NT / 32][4], const float s[NT / 8][4])
{
#pragma unroll
    for (int kk = 0; kk < NT / 32; kk++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float *lo = s[4 * kk + e / 2 * 2] + e % 2 * 2;
            const float *hi = s[4 * kk + e / 2 * 2 + 1] + e % 2 * 2;
            uint32_t a = __byte_perm(__float_as_uint(lo[0]), __float_as_uint(lo[1]), 0x0040);
            uint32_t b = __byte_perm(__float_as_uint(hi[0]), __float_as_uint(hi[1]), 0x0040);
            p[kk][e] = __byte_perm(a, b, 0x5410);
        }
}

/* What a team keeps of its 64 rows, a thread two of them; behind the outputs their sums. */
typedef struct Sums {
    float o[DV / 8][4], max[2];
} Sums;

/* o = o f + tile */
LV_INLINE void add_outputs(float o[DV / 8][4], const float tile[DV / 8][4], const float f[2])
{
#pragma unroll
    for (int n = 0; n < DV / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            o[n][e] = fmaf(o[n][e], f[e / 2], tile[n][e]);
}

/* One item's keys and values, uses n on of the rings. */
LV_INLINE void attend(Sums &x, const Room &r, const Work &w, int team, unsigned n, float scale)
{
    const uint64_t q  = operand(r.q + team * 64 * PANEL_BYTES, 16);
    const uint64_t ks = operand(r.k, 16), vs = operand(r.v, 16);
    int at = stage_of<STAGES>(n), j = (w.tiles - 1) * NT;
    float s[NT / 8][4], o[DV / 8][4], corr[2], last[2];
    uint32_t p[NT / 32][4];
    float factor;

    barrier_wait(r.k_full + at, turn_of<STAGES>(n));
    products_begin();
    start_scores(s, q, ks + at * (TILE_BYTES / 16));
    products_wait<0>();
    hold<NT / 8>(s);
    done_with(r.k_empty + at);
    if (j == 0)
        done_with(r.q_empty);
    factor = mask_keys<NT>(s, scale, NULL, j, w.lk);
    weigh(s, factor, x.max, last);
    pack_weights(p, s);
    for (j -= NT; j >= 0; j -= NT) {
        const uint64_t v  = vs + at * (VALUE_BYTES / 16);
        uint64_t *v_empty = r.v_empty + at;

        barrier_wait(r.v_full + at, turn_of<STAGES>(n));
        at = stage_of<STAGES>(++n);
        barrier_wait(r.k_full + at, turn_of<STAGES>(n));
        turn_wait<TEAMS * WARPGROUP>(1 + team);
        products_begin();
        start_scores(s, q, ks + at * (TILE_BYTES / 16));
        start_outputs(o, p, v);
        turn_give<TEAMS * WARPGROUP>(2 - team);
        products_wait<1>();
        hold<NT / 8>(s);
        done_with(r.k_empty + at);
        if (j == 0)
            done_with(r.q_empty);
        factor = mask_keys<NT>(s, scale, NULL, j, w.lk);
        weigh(s, factor, x.max, corr);
        stay_behind(s[0][0] + s[NT / 8 - 1][3]);
        products_wait<0>();
        hold<DV / 8>(o);
        hold<NT / 8>(s);
        done_with(v_empty);
        add_outputs(x.o, o, last);
        last[0] = corr[0];
        last[1] = corr[1];
        pack_weights(p, s);
    }
    barrier_wait(r.v_full + at, turn_of<STAGES>(n));
    products_begin();
    start_outputs(o, p, vs + at * (VALUE_BYTES / 16));
    products_wait<0>();
    hold<DV / 8>(o);
    done_with(r.v_empty + at);
    add_outputs(x.o, o, last);
}

/* Scores from which MAGIC has no room: in eighths of ln 2. */
#define SCORES 2097152.0f

/* Divide by the sums, which the first of four threads has, and store. A scale that is not finite
 * is of an input that is not, and so are outputs then; those of scores without room too. */
LV_INLINE void finish(const Sums &x, const LvAttnArgs &a, const Work &w, const Item &i, int team,
                      float scale)
{
    int first = i.first + 64 * team + threadIdx.x % WARPGROUP / WARP * 16;
    float f[2];

#pragma unroll
    for (int h = 0; h < 2; h++)
        f[h] = (scale < INFINITY && fabsf(x.max[h]) < SCORES ? scale : NAN) /
               __shfl_sync(0xFFFFFFFFu, x.o[D / 8][2 * h], threadIdx.x % WARP & ~3);
    store_rows<D>(a.o, x.o, (size_t)i.sample * w.lq + first, i.head * D, w.lq - first, f, 0);
}

/* The items of a team. */
LV_INLINE void compute_items(const Room &r, const LvAttnArgs &a, const float *scales,
                             const Work &w)
{
    int team = threadIdx.x / WARPGROUP - 1;
    unsigned turn = 0, n = 0;

    if (team == 1)
        turn_give<TEAMS * WARPGROUP>(1);
    for (int at = blockIdx.x; at < w.items; at += gridDim.x, turn++, n += w.tiles) {
        Item i = item_of(w, a.heads, at);
        const float *scale = scales + (size_t)i.sample * 3 * a.heads + i.head;
        Sums x = { {}, { -INFINITY, -INFINITY } };

        barrier_wait(r.q_full, turn & 1);
        if (i.first + 64 * team >= w.lq) {
            sit_out(r, w, team, n);
            continue;
        }
        attend(x, r, w, team, n, a.scale * LOG2E * scale[0] * scale[a.heads]);
        finish(x, a, w, i, team, scale[2 * a.heads] + 0 * (scale[0] + scale[a.heads]));
    }
    if (team == 0)
        turn_wait<TEAMS * WARPGROUP>(1);
}

static __device__ void forward(const LvAttnArgs &a, const float *scales, const Maps &m)
{
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    const Room r = rings_of<Room>(shared);
    const Work w = work_of<NT>(a);

    if (threadIdx.x == 0)
        make_barriers(r);
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        registers_down<FEW>();
        if (threadIdx.x == 0)
            copy_items(r, m, w, a.heads);
    } else {
        registers_up<MANY>();
        compute_items(r, a, scales, w);
    }
}

#endif

ATTENTION lv_attn_f8_d128(LV_ARG LvAttnArgs a, LV_ARG LvTileMap q, LV_ARG LvTileMap k,
                          LV_ARG LvTileMap v, const float *scales)
{
#if LV_HOPPER
    const Maps m = { &q, &k, &v };

    forward(a, scales, m);
#else /* a device that is never given it */
    __trap();
#endif
}
