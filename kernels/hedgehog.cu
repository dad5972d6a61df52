/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention with the HEDGEHOG map in bf16, forward in two passes: nothing of
 * size L F is ever written.
 *
 *   state  y = k w; phi = [softmax(y), softmax(-y)]; S += phi^T [v, 1]
 *   apply  y = q w; phi; [num, den] = phi S; o = num / (den + eps)
 *
 * Tiles: a block of eight warps owns a chunk of the tokens of one head and walks it in
 * tiles of 128. A warp makes the features of 16 tokens: rows of y lie in the registers
 * of four threads each, so that the softmaxes need two shuffles a sum. For the state,
 * features pass through shared memory, and a warp owns an eighth of the rows of S, in
 * registers until the chunk ends; chunks are added in order by linattn_sum. To apply,
 * features are the first operand of the next product where they are, and S stays in
 * shared memory. The columns of ones and of the sums z are second operands made in
 * registers. Tiles of k, v and q are on their way while another one is used.
 *
 * FLOPs: 4 L D P + 4 L F (D + 1) a head; bytes: q, k, v and o once: at 64 to 128
 * features a channel bound by memory (95 to 191 FLOPs for a byte).
 */

#include "hedgehog.cuh"

/* s [16 TALL,D + 8] of the warp += its columns of mem [128][2 P], transposed, times
 * [v, 1, 0...]. */
template <int D, int P>
LV_INLINE void add_state(float s[P / 64][D / 8 + 1][4], uint4 *mem, uint4 *v)
{
    int l = threadIdx.x % WARP, first = threadIdx.x / WARP * (P / 32);
    uint32_t one = l / 4 == 0 ? 0x3F803F80u : 0;

#pragma unroll 2
    for (int kk = 0; kk < TOKENS / 16; kk++) {
        uint32_t a[P / 64][4];
#pragma unroll
        for (int m = 0; m < P / 64; m++) {
            load_matrices_t(a[m], chunk_of<2 * P>(mem, kk * 16 + l / 16 * 8 + l % 8,
                                                  first + 2 * m + l / 8 % 2));
            mma_bf16(s[m][D / 8], a[m], one, one);
        }
#pragma unroll
        for (int p = 0; p < D / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<D>(v, kk * 16 + l / 8 % 2 * 8 + l % 8,
                                           p * 2 + l / 16));
#pragma unroll
            for (int m = 0; m < P / 64; m++) {
                mma_bf16(s[m][2 * p], a[m], b[0], b[1]);
                mma_bf16(s[m][2 * p + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* part [B H,chunks,F,D + 1].
 * shared: w [D][P], a tile of k, one of v, features [128][2 P]. */
template <int D, int P>
static __device__ void state(const LvLinattnArgs &a, int size, float *part)
{
    LV_DYNAMIC uint4 shared[];
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    int c = a.q.dim[1], l = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + l / 4;
    const uint16_t *k = (const uint16_t *)a.k.data + me.row * c + me.head * D;
    const uint16_t *v = (const uint16_t *)a.v.data + me.row * c + me.head * D;
    uint4 *w = shared, *kt = w + D * P / 8, *vt = kt + TOKENS * D / 8;
    uint4 *mem = vt + TOKENS * D / 8;
    float s[P / 64][D / 8 + 1][4] = { 0 }, f = 1.0f / (a.q.dim[0] / a.batch);

    start_tile<D>(kt, k + (size_t)me.from * c, c, me.to - me.from);
    copy_commit();
    start_tile<D>(vt, v + (size_t)me.from * c, c, me.to - me.from);
    copy_commit();
    load_matrix<P>(w, a.wk.data, a.wk.dtype, (size_t)me.head * D * P, D, P);
    for (int i = me.from; i < me.to; i += TOKENS) {
        int next = i + TOKENS;
        float there[2] = { i + row < me.to ? 1.0f : 0, i + row + 8 < me.to ? 1.0f : 0 };
        float y[P / 8][4], phi[P / 8][4];
        copy_wait<1>();
        __syncthreads();
        project<D, P>(y, kt, w);
        softmax_rows<P>(phi, y, 1, there);
        keep_features<P>(mem, phi, 0);
        softmax_rows<P>(phi, y, -1, there);
        keep_features<P>(mem, phi, 1);
        copy_wait<0>();
        __syncthreads();
        if (next < me.to)
            start_tile<D>(kt, k + (size_t)next * c, c, me.to - next);
        copy_commit();
        add_state<D, P>(s, mem, vt);
        __syncthreads();
        if (next < me.to)
            start_tile<D>(vt, v + (size_t)next * c, c, me.to - next);
        copy_commit();
    }
    part += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 2 * P * (D + 1);
    part += (size_t)(threadIdx.x / WARP * (P / 4) + l / 4) * (D + 1);
#pragma unroll
    for (int m = 0; m < P / 64; m++)
#pragma unroll
        for (int n = 0; n <= D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int col = n * 8 + l % 4 * 2 + e % 2;
                if (col <= D)
                    part[(16 * m + e / 2 * 8) * (D + 1) + col] = s[m][n][e] * f;
            }
}

/* Column 0 of den [16,8] += phi [16,P] times z. */
template <int P>
LV_INLINE void add_den(float den[4], const float phi[P / 8][4], const uint16_t *z)
{
    uint32_t keep = threadIdx.x % WARP / 4 == 0 ? 0xFFFFFFFFu : 0;

#pragma unroll
    for (int kk = 0; kk < P / 16; kk++) {
        const uint32_t *at = (const uint32_t *)(z + kk * 16 + threadIdx.x % 4 * 2);
        uint32_t a[4];
#pragma unroll
        for (int e = 0; e < 4; e++)
            a[e] = pack2(phi[2 * kk + e / 2][e % 2 * 2],
                         phi[2 * kk + e / 2][e % 2 * 2 + 1]);
        mma_bf16(den, a, at[0] & keep, at[4] & keep);
    }
}

/* shared: w [D][P], S [2 P][D], z [2 P], two tiles of q. */
template <int D, int P>
static __device__ void apply(const LvLinattnArgs &a, int size, const float *state)
{
    LV_DYNAMIC uint4 shared[];
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    int c = a.q.dim[1], l = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + l / 4;
    const uint16_t *q = (const uint16_t *)a.q.data + me.row * c + me.head * D;
    uint4 *w = shared, *s = w + D * P / 8, *tiles = s + 2 * P * D / 8 + 2 * P / 8;
    uint16_t *z = (uint16_t *)(s + 2 * P * D / 8);
    size_t group = (size_t)blockIdx.y * 2 * P * (D + 1);
    size_t dens = (size_t)blockIdx.y * (a.q.dim[0] / a.batch);
    const float there[2] = { 1, 1 };

    start_tile<D>(tiles, q + (size_t)me.from * c, c, me.to - me.from);
    copy_commit();
    load_matrix<P>(w, a.wq.data, a.wq.dtype, (size_t)me.head * D * P, D, P);
    load_matrix<D>(s, state, LV_F32, group, 2 * P, D + 1);
    for (int i = threadIdx.x; i < 2 * P; i += THREADS)
        z[i] = to_bf16(state[group + (size_t)i * (D + 1) + D]);
    for (int i = me.from, stage = 0; i < me.to; i += TOKENS, stage ^= 1) {
        float y[P / 8][4], phi[P / 8][4], num[D / 8][4] = { 0 }, den[4] = { 0 };
        copy_wait<0>();
        __syncthreads();
        if (i + TOKENS < me.to)
            start_tile<D>(tiles + (stage ^ 1) * TOKENS * D / 8,
                          q + (size_t)(i + TOKENS) * c, c, me.to - i - TOKENS);
        copy_commit();
        project<D, P>(y, tiles + stage * TOKENS * D / 8, w);
        softmax_rows<P>(phi, y, 1, there);
        add_den<P>(den, phi, z);
        multiply_rows<D, P>(num, phi, s, 0);
        softmax_rows<P>(phi, y, -1, there);
        add_den<P>(den, phi, z + P);
        multiply_rows<D, P>(num, phi, s, P);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int token = i + row + 8 * h;
            float d = __shfl_sync(0xFFFFFFFFu, den[2 * h], l & ~3) + a.eps;
            float inv = d != 0 ? 1 / d : 0;
            size_t at = (me.row + token) * c + me.head * D + l % 4 * 2;
            if (token >= me.to)
                continue;
            if (has(a.den) && l % 4 == 0)
                ((float *)a.den.data)[dens + token] = d;
#pragma unroll
            for (int n = 0; n < D / 8; n++, at += 8) {
                float x0 = num[n][2 * h] * inv, x1 = num[n][2 * h + 1] * inv;
                if (a.o.dtype == LV_BF16)
                    *(uint32_t *)((uint16_t *)a.o.data + at) = pack2(x0, x1);
                else
                    *(float2 *)((float *)a.o.data + at) = make_float2(x0, x1);
            }
        }
    }
}

#define HEDGEHOG(D, P)                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS)                           \
    lv_hedgehog_state_d##D##_p##P(LV_ARG LvLinattnArgs a, int size, float *part)    \
    {                                                                               \
        state<D, P>(a, size, part);                                                 \
    }                                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS)                           \
    lv_hedgehog_apply_d##D##_p##P(LV_ARG LvLinattnArgs a, int size, const float *s) \
    {                                                                               \
        apply<D, P>(a, size, s);                                                    \
    }

HEDGEHOG(64, 64)
HEDGEHOG(64, 128)
HEDGEHOG(128, 64)
HEDGEHOG(128, 128)
