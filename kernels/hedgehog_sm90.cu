/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention with the HEDGEHOG map for compute capability 9.0, in bf16, forward, for
 * maps of 64 columns: what hedgehog.cu does, with products of a warpgroup (wgmma), copies of
 * boxes and a block for each multiprocessor.
 *
 *   state  y = k w; phi = [softmax(y), softmax(-y)]; S += phi^T [v, 1]
 *   apply  y = q w; phi; [num, den] = phi S; o = num / (den + eps)
 *
 * Tiles: a block owns a chunk of the tokens of one head, and walks it in tiles of 64; its two
 * or three teams, a warpgroup each, take tiles in turn and know nothing of each other till the
 * end. One thread of a team lets tiles come into its ring, the next one as soon as the team
 * has done with a place of it. Of y a thread has two rows with three others, so that
 * softmaxes need two shuffles a sum. For the state, features pass through shared memory, as
 * the turned first operand of their product; S stays in registers, and in the end each team
 * adds half of the other's to its own. Chunks are added in order by linattn_sum. To apply,
 * features are the first operand from where they are, S and z stay in shared memory, and
 * outputs leave as boxes from the place of their queries, which is let fill again a tile
 * later: threads that store before a barrier wait for it, 1.7 times as long as all else takes.
 *
 * FLOPs: 4 L D P + 4 L F (D + 1) a head; bytes: k, v, q and o once: bound by memory.
 */

#include "hedgehog.cuh"
#include "lv_hopper.cuh"

enum { P = 64, ROWS = 64, STATE_TEAMS = 2, STATE_STAGES = 2, APPLY_TEAMS = 3,
       APPLY_STAGES = 3 };

#if LV_HOPPER

/* The tiles of a team: i of `count` begins at token first + i step of the sample. */
typedef struct Walk {
    int first, step, count, channel, sample;
} Walk;

LV_INLINE Walk walk_of(const LvLinattnArgs &a, const Chunk &me, int d)
{
    int team = threadIdx.x / WARPGROUP, teams = blockDim.x / WARPGROUP;
    int tiles = max(me.to - me.from + ROWS - 1, 0) / ROWS;
    Walk w = { me.from + team * ROWS, teams * ROWS, (tiles - team + teams - 1) / teams,
               me.head * d, (int)(blockIdx.y / a.heads) };

    return w;
}

LV_INLINE int leads(void)
{
    return threadIdx.x % WARPGROUP == 0;
}

/* The first of the thread's two rows of a tile; the other one is 8 on. */
LV_INLINE int first_row(void)
{
    return threadIdx.x % WARPGROUP / WARP * 16 + threadIdx.x % WARP / 4;
}

/* Let tile i of NB tensors come to `to`, one behind the other. */
template <int D, int NB>
LV_INLINE void copy_tiles(unsigned char *to, const LvTileMap *const map[NB], const Walk &w,
                          int i, uint64_t *full)
{
    barrier_expect(full, NB * ROWS * D * 2);
#pragma unroll
    for (int t = 0; t < NB; t++)
#pragma unroll
        for (int p = 0; p < D / PANEL; p++)
            copy_box(to + (t * (D / PANEL) + p) * ROWS * PANEL_BYTES, map[t],
                     w.channel + p * PANEL, w.first + i * w.step, w.sample, full);
}

/* Make the barriers of a team's ring, and let its first tiles come. */
template <int D, int NB, int STAGES>
LV_INLINE void start_ring(unsigned char *ring, const LvTileMap *const map[NB], const Walk &w,
                          uint64_t *full)
{
    for (int i = 0; i < STAGES; i++)
        barrier_make(full + i, 1);
    barriers_made();
    for (int i = 0; i < STAGES && i < w.count; i++)
        copy_tiles<D, NB>(ring + i * NB * ROWS * D * 2, map, w, i, full + i);
}

LV_INLINE void team_meets(void)
{
    turn_wait<WARPGROUP>(1 + threadIdx.x / WARPGROUP);
}

/* Element i of a map, which nobody writes. */
LV_INLINE float map_get(const LvTensor &w, size_t i)
{
    if (w.dtype == LV_F32)
        return __ldg((const float *)w.data + i);
    if (w.dtype == LV_BF16)
        return from_bf16(__ldg((const uint16_t *)w.data + i));
    return get1(w, i);
}

/* w [D,P] as rows of its columns, in panels of 64 of its D; for THREADS of them. */
template <int D, int THREADS>
LV_INLINE void keep_map(unsigned char *to, const LvTensor &w, int head)
{
#pragma unroll
    for (int n = 0; n < (P * D / 8 + THREADS - 1) / THREADS; n++) {
        int i = threadIdx.x + n * THREADS, p = i % P, chunk = i / P;
        float v[8];
        if (i >= P * D / 8)
            continue;
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = map_get(w, ((size_t)head * D + chunk * 8 + k) * P + p);
        panel_put8(to + chunk / 8 * P * PANEL_BYTES, p, chunk % 8, v);
    }
}

/* y [64,P]: a tile times w. */
template <int D>
LV_INLINE void project_tile(float y[P / 8][4], uint64_t tile, uint64_t w)
{
    products_begin();
#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        int panel = kk * 16 / PANEL, in = kk * 32 % PANEL_BYTES;
        product_shared<P>(y, tile + (panel * ROWS * PANEL_BYTES + in) / 16,
                          w + (panel * P * PANEL_BYTES + in) / 16, kk > 0);
    }
    products_commit();
    products_wait<0>();
    hold<P / 8>(y);
}

/* Features of the team's tile as a panel of 64 rows. */
LV_INLINE void keep_panel(unsigned char *panel, const float phi[P / 8][4])
{
    int row = first_row();

#pragma unroll
    for (int n = 0; n < P / 8; n++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            panel_put2(panel, row + 8 * h, n, threadIdx.x % 4,
                       pack2(phi[n][2 * h], phi[n][2 * h + 1]));
}

/* S and z of half of the features. */
template <int D> struct Half {
    float s[D / 8][4], z[1][4];
};

/* What a team adds to S and z: F x (D + 1) in all. `ones`: a panel of 16 rows. */
template <int D>
LV_INLINE void add_tile(Half<D> half[2], uint64_t phi, uint64_t v, uint64_t ones)
{
    products_begin();
#pragma unroll
    for (int kk = 0; kk < ROWS / 16; kk++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint64_t f = phi + (i * ROWS + kk * 16) * PANEL_BYTES / 16;
            product_turned<D>(half[i].s, f, v + kk * 16 * PANEL_BYTES / 16);
            product_turned<8>(half[i].z, f, ones);
        }
    products_commit();
    products_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        hold<D / 8>(half[i].s);
        hold<1>(half[i].z);
    }
}

/* Sum e of number n of a half, z behind s. */
template <int D> LV_INLINE float *sum_of(Half<D> &half, int n, int e)
{
    return n < D / 8 ? &half.s[n][e] : &half.z[0][e];
}

/* Give the other team what this one has of its half: the first's is that of softmax(y). */
template <int D>
LV_INLINE void give_half(float *room, Half<D> half[2])
{
    int mine = threadIdx.x / WARPGROUP, i = threadIdx.x % WARPGROUP;

#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int n = 0; n <= D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (h != mine)
                    room[((h * (D / 8 + 1) + n) * 4 + e) * WARPGROUP + i] =
                        *sum_of<D>(half[h], n, e);
}

/* Add what was given to the team's own half; that times f goes to its place of [F,D + 1]. */
template <int D>
LV_INLINE void keep_half(float *all, const float *room, Half<D> half[2], float f)
{
    int mine = threadIdx.x / WARPGROUP, i = threadIdx.x % WARPGROUP, row = first_row();

#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int n = 0; n <= D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int col = n * 8 + threadIdx.x % 4 * 2 + e % 2;
                if (h == mine && col <= D)
                    all[(h * P + row + e / 2 * 8) * (D + 1) + col] = f *
                        (*sum_of<D>(half[h], n, e) +
                         room[((h * (D / 8 + 1) + n) * 4 + e) * WARPGROUP + i]);
            }
}

/* Store the sum of both teams times f as part [F,D + 1], by way of shared memory. */
template <int D>
LV_INLINE void store_state(float *part, float *room, Half<D> half[2], float f)
{
    float *all = room + 2 * (D / 8 + 1) * 4 * WARPGROUP;

    __syncthreads();
    give_half<D>(room, half);
    __syncthreads();
    keep_half<D>(all, room, half, f);
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * P * (D + 1) / 4; i += blockDim.x)
        ((float4 *)part)[i] = ((const float4 *)all)[i];
}

/* part [B H,chunks,F,D + 1].
 * shared: w; ones; for each team tiles of k and v and the features of one; barriers. */
template <int D>
static __device__ void state(const LvLinattnArgs &a, const LvTileMap *k, const LvTileMap *v,
                             int size, float *part)
{
    enum { MAP = D * P * 2, ONES = 16 * PANEL_BYTES, TILE = ROWS * D * 2,
           PHI = 2 * ROWS * PANEL_BYTES, TEAM = 2 * STATE_STAGES * TILE + PHI };
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    Walk walk = walk_of(a, me, D);
    int team = threadIdx.x / WARPGROUP, row = first_row();
    const LvTileMap *const maps[] = { k, v };
    unsigned char *ones = shared + MAP, *tiles = ones + ONES + team * TEAM;
    unsigned char *phi = tiles + 2 * STATE_STAGES * TILE;
    uint64_t *full = (uint64_t *)(ones + ONES + STATE_TEAMS * TEAM) + team * STATE_STAGES;
    const float all_ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    Half<D> half[2] = {};

    if (leads())
        start_ring<D, 2, STATE_STAGES>(tiles, maps, walk, full);
    keep_map<D, STATE_TEAMS * WARPGROUP>(shared, a.wk, me.head);
    if (threadIdx.x < 16)
        panel_put8(ones, threadIdx.x, 0, all_ones);
    panels_put();
    __syncthreads();
    for (int i = 0; i < walk.count; i++) {
        int at = i % STATE_STAGES, token = walk.first + i * walk.step + row;
        const float there[2] = { token < me.to ? 1.0f : 0, token + 8 < me.to ? 1.0f : 0 };
        unsigned char *tile = tiles + 2 * at * TILE;
        float y[P / 8][4], f[P / 8][4];

        barrier_wait(full + at, i / STATE_STAGES & 1);
        project_tile<D>(y, operand(tile, 16), operand(shared, 16));
        softmax_rows<P>(f, y, 1, there);
        keep_panel(phi, f);
        softmax_rows<P>(f, y, -1, there);
        keep_panel(phi + PHI / 2, f);
        panels_put();
        team_meets();
        add_tile<D>(half, operand(phi, 16), operand(tile + TILE, ROWS * PANEL_BYTES),
                    operand(ones, 16));
        team_meets();
        if (leads() && i + STATE_STAGES < walk.count)
            copy_tiles<D, 2>(tile, maps, walk, i + STATE_STAGES, full + at);
    }
    part += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 2 * P * (D + 1);
    store_state<D>(part, (float *)(ones + ONES), half, 1.0f / (a.q.dim[0] / a.batch));
}

/* S [2 P,D + 1] as panels of 64 of its D, and z in the first column of one more. */
template <int D, int THREADS>
LV_INLINE void keep_state(unsigned char *s, unsigned char *z, const float *state)
{
#pragma unroll
    for (int n = 0; n < (2 * P * (D / 8 + 1) + THREADS - 1) / THREADS; n++) {
        int i = threadIdx.x + n * THREADS, row = i % (2 * P), chunk = i / (2 * P);
        unsigned char *panel = chunk < D / 8 ? s + chunk / 8 * 2 * P * PANEL_BYTES : z;
        float v[8];
        if (chunk > D / 8)
            continue;
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = chunk * 8 + k <= D ? __ldg(state + row * (D + 1) + chunk * 8 + k) : 0;
        panel_put8(panel, row, chunk < D / 8 ? chunk % 8 : 0, v);
    }
}

/* Start num [64,D] and den [64,8] += features times rows of S and z. */
template <int D>
LV_INLINE void start_sums(float num[D / 8][4], float den[1][4],
                          const uint32_t phi[P / 16][4], uint64_t s, uint64_t z)
{
#pragma unroll
    for (int kk = 0; kk < P / 16; kk++) {
        product_held<D>(num, phi[kk], s + kk * 16 * PANEL_BYTES / 16);
        product_held<8>(den, phi[kk], z + kk * 16 * PANEL_BYTES / 16);
    }
    products_commit();
}

/* Divide, and put the rows of a tile that begins at token `first` of the sample in panels. */
template <int D>
LV_INLINE void keep_rows(unsigned char *tile, const LvLinattnArgs &a, const Chunk &me,
                         int first, const float num[D / 8][4], const float den[4])
{
    size_t dens = (size_t)blockIdx.y * (a.q.dim[0] / a.batch);
    int l = threadIdx.x % WARP, row = first_row();

#pragma unroll
    for (int h = 0; h < 2; h++, row += 8) {
        float d = __shfl_sync(0xFFFFFFFFu, den[2 * h], l & ~3) + a.eps;
        float f = d != 0 ? 1 / d : 0;

        if (has(a.den) && l % 4 == 0 && first + row < me.to)
            ((float *)a.den.data)[dens + first + row] = d;
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            panel_put2(tile + n / 8 * ROWS * PANEL_BYTES, row, n % 8, l % 4,
                       pack2(num[n][2 * h] * f, num[n][2 * h + 1] * f));
    }
}

/* Let tile i of the result go from `tile`. */
template <int D>
LV_INLINE void store_tile(const unsigned char *tile, const LvTileMap *map, const Walk &w,
                          int i)
{
#pragma unroll
    for (int p = 0; p < D / PANEL; p++)
        store_box(tile + p * ROWS * PANEL_BYTES, map, w.channel + p * PANEL,
                  w.first + i * w.step, w.sample);
}

/* shared: w; S; z; tiles of q for each team, which become those of o; barriers. */
template <int D>
static __device__ void apply(const LvLinattnArgs &a, const LvTileMap *q, const LvTileMap *o,
                             int size, const float *state)
{
    enum { MAP = D * P * 2, S = 2 * P * D * 2, Z = 2 * P * PANEL_BYTES, TILE = ROWS * D * 2,
           TEAM = APPLY_STAGES * TILE };
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    Walk walk = walk_of(a, me, D);
    int team = threadIdx.x / WARPGROUP;
    unsigned char *s = shared + MAP, *z = s + S, *tiles = z + Z + team * TEAM;
    uint64_t *full = (uint64_t *)(z + Z + APPLY_TEAMS * TEAM) + team * APPLY_STAGES;
    const uint64_t so = operand(s, 2 * P * PANEL_BYTES), zo = operand(z, 16);
    const float there[2] = { 1, 1 };

    if (leads())
        start_ring<D, 1, APPLY_STAGES>(tiles, &q, walk, full);
    keep_map<D, APPLY_TEAMS * WARPGROUP>(shared, a.wq, me.head);
    keep_state<D, APPLY_TEAMS * WARPGROUP>(s, z, state + (size_t)blockIdx.y * 2 * P * (D + 1));
    panels_put();
    __syncthreads();
    for (int i = 0; i < walk.count; i++) {
        int at = i % APPLY_STAGES, back = i - 1, next = back + APPLY_STAGES;
        unsigned char *tile = tiles + at * TILE;
        float y[P / 8][4], f[P / 8][4], num[D / 8][4] = { 0 }, den[1][4] = { 0 };
        uint32_t phi[2][P / 16][4];

        barrier_wait(full + at, i / APPLY_STAGES & 1);
        project_tile<D>(y, operand(tile, 16), operand(shared, 16));
        team_meets();
        if (leads() && back >= 0 && next < walk.count) {
            int to = back % APPLY_STAGES;
            stores_read();
            copy_tiles<D, 1>(tiles + to * TILE, &q, walk, next, full + to);
        }
        softmax_rows<P>(f, y, 1, there);
        pack_operands<P>(phi[0], f);
        products_begin();
        start_sums<D>(num, den, phi[0], so, zo);
        softmax_rows<P>(f, y, -1, there);
        pack_operands<P>(phi[1], f);
        products_begin();
        start_sums<D>(num, den, phi[1], so + P * PANEL_BYTES / 16, zo + P * PANEL_BYTES / 16);
        products_wait<0>();
        hold<D / 8>(num);
        hold<1>(den);
        keep_rows<D>(tile, a, me, walk.first + i * walk.step, num, den[0]);
        panels_put();
        team_meets();
        if (leads())
            store_tile<D>(tile, o, walk, i);
    }
    if (leads())
        stores_read();
}

#else /* a device that is never given these kernels */

template <int D>
static __device__ void state(const LvLinattnArgs &, const LvTileMap *, const LvTileMap *, int,
                             float *)
{
    __trap();
}

template <int D>
static __device__ void apply(const LvLinattnArgs &, const LvTileMap *, const LvTileMap *, int,
                             const float *)
{
    __trap();
}

#endif

#define HEDGEHOG(D)                                                                 \
    extern "C" __global__ void __launch_bounds__(STATE_TEAMS * WARPGROUP, 1)        \
    lv_hedgehog_sm90_state_d##D(LV_ARG LvLinattnArgs a, LV_ARG LvTileMap k,         \
                                LV_ARG LvTileMap v, int size, float *part)          \
    {                                                                               \
        state<D>(a, &k, &v, size, part);                                            \
    }                                                                               \
    extern "C" __global__ void __launch_bounds__(APPLY_TEAMS * WARPGROUP, 1)        \
    lv_hedgehog_sm90_apply_d##D(LV_ARG LvLinattnArgs a, LV_ARG LvTileMap q,         \
                                LV_ARG LvTileMap o, int size, const float *s)       \
    {                                                                               \
        apply<D>(a, &q, &o, size, s);                                               \
    }

HEDGEHOG(64)
HEDGEHOG(128)
