/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradient of linear attention with the HEDGEHOG map in bf16, in two passes; features
 * and what belongs to them are made anew:
 *
 *   queries  dphi = (dy S^T - delta z) / den, delta = sum dy o;
 *            dS = (phi / den)^T [dy, -delta] / L; through the map to dq and dwq
 *   keys     dphi = [v, 1] dS^T; dv = phi dS; through the map to dk and dwk
 *   map      du = sum over both signs of +-phi (dphi - sum phi dphi);
 *            dx = du w^T; dw = x^T du
 *
 * Tiles: as in hedgehog.cu, a block for a chunk of the tokens of a head, tiles of 128,
 * 16 tokens in the registers of a warp for all that has a row for each token. Sums over
 * tokens (dS, dw) take phi and du from shared memory; a warp owns an eighth of their
 * rows, in registers until the chunk ends; chunks are added in order by linattn_sum.
 *
 * FLOPs: 12 L D P + 8 L F (D + 1) a head; bytes: q, k, v, dy in, dq, dk, dv out, once.
 */

#include "hedgehog.cuh"

/* c [16,ROWS] += the warp's tokens of left [128][D] times rows `first` on of
 * right [..][D]^T. */
template <int D, int ROWS>
LV_INLINE void multiply_turned(float c[ROWS / 8][4], uint4 *left, uint4 *right,
                               int first)
{
    int l = threadIdx.x % WARP, token = threadIdx.x / WARP * 16;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        uint32_t a[4];
        load_matrices(a, chunk_of<D>(left, token + l % 16, kk * 2 + l / 16));
#pragma unroll
        for (int p = 0; p < ROWS / 16; p++) {
            uint32_t b[4];
            load_matrices(b, chunk_of<D>(right, first + p * 16 + l / 16 * 8 + l % 8,
                                         kk * 2 + l / 8 % 2));
            mma_bf16(c[2 * p], a, b[0], b[1]);
            mma_bf16(c[2 * p + 1], a, b[2], b[3]);
        }
    }
}

/* du += sign phi (dphi - sum phi dphi). */
template <int P>
LV_INLINE void softmax_dx(float du[P / 8][4], const float phi[P / 8][4],
                          const float dphi[P / 8][4], float sign)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = 0;
#pragma unroll
        for (int n = 0; n < P / 8; n++)
            sum += phi[n][2 * h] * dphi[n][2 * h] +
                   phi[n][2 * h + 1] * dphi[n][2 * h + 1];
        sum = quad_sum(sum);
#pragma unroll
        for (int n = 0; n < P / 8; n++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++)
                du[n][e] += sign * phi[n][e] * (dphi[n][e] - sum);
    }
}

/* The warp's 16 rows of du to mem [128][P]. */
template <int P> LV_INLINE void keep_rows(uint4 *mem, const float du[P / 8][4])
{
    int row = threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4, t = threadIdx.x % 4;

#pragma unroll
    for (int n = 0; n < P / 8; n++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            ((uint32_t *)chunk_of<P>(mem, row + 8 * h, n))[t] =
                pack2(du[n][2 * h], du[n][2 * h + 1]);
}

/* Store the warp's 16 tokens, or add them; those that are `there`. */
template <int D>
LV_INLINE void store_tokens(const LvTensor &y, const float c[D / 8][4], size_t row,
                            size_t column, const float there[2], int add)
{
    int l = threadIdx.x % WARP;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        size_t at = (row + 8 * h) * y.dim[1] + column + l % 4 * 2;
        if (there[h] == 0)
            continue;
#pragma unroll
        for (int n = 0; n < D / 8; n++, at += 8) {
            float x0 = c[n][2 * h], x1 = c[n][2 * h + 1];
            if (add) {
                x0 += get1(y, at);
                x1 += get1(y, at + 1);
            }
            if (y.dtype == LV_BF16)
                *(uint32_t *)((uint16_t *)y.data + at) = pack2(x0, x1);
            else
                *(float2 *)((float *)y.data + at) = make_float2(x0, x1);
        }
    }
}

/* dx = du w^T for the warp's tokens. */
template <int D, int P>
LV_INLINE void store_dx(const LvTensor &dx, const float du[P / 8][4], uint4 *w,
                        size_t row, size_t column, const float there[2], int add)
{
    int l = threadIdx.x % WARP;
    float c[D / 8][4] = { 0 };

#pragma unroll
    for (int kk = 0; kk < P / 16; kk++) {
        uint32_t x[4];
#pragma unroll
        for (int e = 0; e < 4; e++)
            x[e] = pack2(du[2 * kk + e / 2][e % 2 * 2],
                         du[2 * kk + e / 2][e % 2 * 2 + 1]);
#pragma unroll
        for (int p = 0; p < D / 16; p++) {
            uint32_t b[4];
            load_matrices(b, chunk_of<P>(w, p * 16 + l / 16 * 8 + l % 8,
                                         kk * 2 + l / 8 % 2));
            mma_bf16(c[2 * p], x, b[0], b[1]);
            mma_bf16(c[2 * p + 1], x, b[2], b[3]);
        }
    }
    store_tokens<D>(dx, c, row, column, there, add);
}

/* Part of dw = x^T du that a warp owns: 16 rows, SPAN columns. */
template <int D, int P> struct Share {
    enum { SPAN = P * D / 128, TILES = SPAN / 8 };
};

template <int D> LV_INLINE int share_row(void)
{
    return D == 128 ? threadIdx.x / WARP * 16 : threadIdx.x / WARP / 2 * 16;
}

template <int D, int P> LV_INLINE int share_column(void)
{
    return D == 128 ? 0 : threadIdx.x / WARP % 2 * (P / 2);
}

template <int D, int P>
LV_INLINE void add_dw(float dw[Share<D, P>::TILES][4], uint4 *x, uint4 *du)
{
    int l = threadIdx.x % WARP;
    int row = share_row<D>() / 8, col = share_column<D, P>() / 8;

#pragma unroll 2
    for (int kk = 0; kk < TOKENS / 16; kk++) {
        uint32_t a[4];
        load_matrices_t(a, chunk_of<D>(x, kk * 16 + l / 16 * 8 + l % 8,
                                       row + l / 8 % 2));
#pragma unroll
        for (int p = 0; p < Share<D, P>::TILES / 2; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<P>(du, kk * 16 + l / 8 % 2 * 8 + l % 8,
                                           col + p * 2 + l / 16));
            mma_bf16(dw[2 * p], a, b[0], b[1]);
            mma_bf16(dw[2 * p + 1], a, b[2], b[3]);
        }
    }
}

/* To part [B H,chunks,D,P]. */
template <int D, int P>
LV_INLINE void leave_dw(float *part, const float dw[Share<D, P>::TILES][4])
{
    int l = threadIdx.x % WARP;

    part += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * D * P;
    part += (share_row<D>() + l / 4) * P + share_column<D, P>() + l % 4 * 2;
#pragma unroll
    for (int n = 0; n < Share<D, P>::TILES; n++) {
        *(float2 *)(part + 8 * n)         = make_float2(dw[n][0], dw[n][1]);
        *(float2 *)(part + 8 * P + 8 * n) = make_float2(dw[n][2], dw[n][3]);
    }
}

/* ds [16 TALL,D + 8] of the warp += its columns of phi [128][2 P], transposed, times
 * [dy, -delta, 0...]. */
template <int D, int P>
LV_INLINE void add_ds(float ds[P / 64][D / 8 + 1][4], uint4 *phi, uint4 *dy,
                      const float *delta)
{
    int l = threadIdx.x % WARP, first = threadIdx.x / WARP * (P / 32);

#pragma unroll 2
    for (int kk = 0; kk < TOKENS / 16; kk++) {
        const float *at = delta + kk * 16 + l % 4 * 2;
        uint32_t keep = l / 4 == 0 ? 0xFFFFFFFFu : 0, a[P / 64][4];
        uint32_t c0 = pack2(-at[0], -at[1]) & keep, c1 = pack2(-at[8], -at[9]) & keep;
#pragma unroll
        for (int m = 0; m < P / 64; m++) {
            load_matrices_t(a[m], chunk_of<2 * P>(phi, kk * 16 + l / 16 * 8 + l % 8,
                                                  first + 2 * m + l / 8 % 2));
            mma_bf16(ds[m][D / 8], a[m], c0, c1);
        }
#pragma unroll
        for (int p = 0; p < D / 16; p++) {
            uint32_t b[4];
            load_matrices_t(b, chunk_of<D>(dy, kk * 16 + l / 8 % 2 * 8 + l % 8,
                                           p * 2 + l / 16));
#pragma unroll
            for (int m = 0; m < P / 64; m++) {
                mma_bf16(ds[m][2 * p], a[m], b[0], b[1]);
                mma_bf16(ds[m][2 * p + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* To part [B H,chunks,F,D + 1]. */
template <int D, int P>
LV_INLINE void leave_ds(float *part, const float ds[P / 64][D / 8 + 1][4], float f)
{
    int l = threadIdx.x % WARP;

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
                    part[(16 * m + e / 2 * 8) * (D + 1) + col] = ds[m][n][e] * f;
            }
}

/* dphi = (dphi's products) with rows times f[h] added to z: where they start. */
template <int P>
LV_INLINE void start_dphi(float dphi[P / 8][4], const float *z, float f0, float f1)
{
    int t = threadIdx.x % 4 * 2;

#pragma unroll
    for (int n = 0; n < P / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            dphi[n][e] = (e < 2 ? f0 : f1) * z[8 * n + t + e % 2];
}

template <int P> LV_INLINE void scale_rows(float v[P / 8][4], const float f[2])
{
#pragma unroll
    for (int n = 0; n < P / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            v[n][e] *= f[e / 2];
}

/* Memory of a block: w [D][P]; S or dS [2 P][D] and its last column z; tiles of x (q or
 * k) and of g (dy or v); phi [128][2 P], for queries only; du [128][P]; delta [128]. */
template <int D, int P> struct Memory {
    uint4 *w, *s, *x, *g, *phi, *du;
    float *z, *delta;
};

template <int D, int P> LV_INLINE Memory<D, P> my_memory(int with_phi)
{
    LV_DYNAMIC uint4 shared[];
    Memory<D, P> m;

    m.w     = shared;
    m.s     = m.w + D * P / 8;
    m.x     = m.s + 2 * P * D / 8;
    m.g     = m.x + TOKENS * D / 8;
    m.du    = m.g + TOKENS * D / 8;
    m.z     = (float *)(m.du + TOKENS * P / 8);
    m.delta = m.z + 2 * P;
    m.phi   = with_phi ? (uint4 *)(m.delta + TOKENS) : NULL;
    return m;
}

template <int D, int P>
LV_INLINE void load_constants(const Memory<D, P> &m, const LvTensor &w, int head,
                              const float *state)
{
    state += (size_t)blockIdx.y * 2 * P * (D + 1);
    load_matrix<P>(m.w, w.data, w.dtype, (size_t)head * D * P, D, P);
    load_matrix<D>(m.s, state, LV_F32, 0, 2 * P, D + 1);
    for (int i = threadIdx.x; i < 2 * P; i += THREADS)
        m.z[i] = state[(size_t)i * (D + 1) + D];
}

/* dq, and parts of dS and dwq. delta [B H,L]. */
template <int D, int P>
static __device__ void queries(const LvLinattnDxArgs &a, int size, const uint16_t *dy,
                               const float *delta, float *ds_part, float *dw_part)
{
    Memory<D, P> m = my_memory<D, P>(1);
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    int c = a.q.dim[1], l = a.q.dim[0] / a.batch, column = me.head * D;
    int row = threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    const uint16_t *q = (const uint16_t *)a.q.data + me.row * c + column;
    const float *den = (const float *)a.den.data + (size_t)blockIdx.y * l;
    float ds[P / 64][D / 8 + 1][4] = { 0 }, dw[Share<D, P>::TILES][4] = { 0 };

    dy += me.row * c + column;
    delta += (size_t)blockIdx.y * l;
    start_tile<D>(m.x, q + (size_t)me.from * c, c, me.to - me.from);
    start_tile<D>(m.g, dy + (size_t)me.from * c, c, me.to - me.from);
    copy_commit();
    load_constants<D, P>(m, a.wq, me.head, (const float *)a.state.data);
    for (int i = me.from; i < me.to; i += TOKENS) {
        float there[2], inv[2], dl[2], u[P / 8][4], du[P / 8][4] = { 0 };
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int at = i + row + 8 * h;
            there[h] = at < me.to;
            inv[h]   = at < me.to && den[at] != 0 ? 1 / den[at] : 0;
            dl[h]    = at < me.to ? delta[at] : 0;
            if (threadIdx.x % 4 == 0)
                m.delta[row + 8 * h] = dl[h];
        }
        copy_wait<0>();
        __syncthreads();
        project<D, P>(u, m.x, m.w);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float phi[P / 8][4], dphi[P / 8][4], sign = half ? -1 : 1;
            softmax_rows<P>(phi, u, sign, there);
            start_dphi<P>(dphi, m.z + half * P, -dl[0], -dl[1]);
            multiply_turned<D, P>(dphi, m.g, m.s, half * P);
            scale_rows<P>(dphi, inv);
            softmax_dx<P>(du, phi, dphi, sign);
            scale_rows<P>(phi, inv);
            keep_features<P>(m.phi, phi, half);
        }
        keep_rows<P>(m.du, du);
        if (has(a.dq))
            store_dx<D, P>(a.dq, du, m.w, me.row + i + row, column, there, a.add & 1);
        __syncthreads();
        add_ds<D, P>(ds, m.phi, m.g, m.delta);
        add_dw<D, P>(dw, m.x, m.du);
        __syncthreads();
        if (i + TOKENS < me.to) {
            size_t next = (size_t)(i + TOKENS) * c;
            start_tile<D>(m.x, q + next, c, me.to - i - TOKENS);
            start_tile<D>(m.g, dy + next, c, me.to - i - TOKENS);
        }
        copy_commit();
    }
    leave_ds<D, P>(ds_part, ds, 1.0f / l);
    if (has(a.dwq))
        leave_dw<D, P>(dw_part, dw);
}

/* dk and dv, and parts of dwk. */
template <int D, int P>
static __device__ void keys(const LvLinattnDxArgs &a, int size, const float *dstate,
                            float *dw_part)
{
    Memory<D, P> m = my_memory<D, P>(0);
    Chunk me = my_chunk(a.q, a.heads, a.batch, size);
    int c = a.q.dim[1], column = me.head * D;
    int row = threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    const uint16_t *k = (const uint16_t *)a.k.data + me.row * c + column;
    const uint16_t *v = (const uint16_t *)a.v.data + me.row * c + column;
    float dw[Share<D, P>::TILES][4] = { 0 };

    start_tile<D>(m.x, k + (size_t)me.from * c, c, me.to - me.from);
    start_tile<D>(m.g, v + (size_t)me.from * c, c, me.to - me.from);
    copy_commit();
    load_constants<D, P>(m, a.wk, me.head, dstate);
    for (int i = me.from; i < me.to; i += TOKENS) {
        float there[2] = { i + row < me.to ? 1.0f : 0, i + row + 8 < me.to ? 1.0f : 0 };
        float u[P / 8][4], du[P / 8][4] = { 0 }, dv[D / 8][4] = { 0 };
        copy_wait<0>();
        __syncthreads();
        project<D, P>(u, m.x, m.w);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float phi[P / 8][4], dphi[P / 8][4], sign = half ? -1 : 1;
            softmax_rows<P>(phi, u, sign, there);
            if (has(a.dv))
                multiply_rows<D, P>(dv, phi, m.s, half * P);
            start_dphi<P>(dphi, m.z + half * P, 1, 1);
            multiply_turned<D, P>(dphi, m.g, m.s, half * P);
            softmax_dx<P>(du, phi, dphi, sign);
        }
        keep_rows<P>(m.du, du);
        if (has(a.dv))
            store_tokens<D>(a.dv, dv, me.row + i + row, column, there, a.add & 4);
        if (has(a.dk))
            store_dx<D, P>(a.dk, du, m.w, me.row + i + row, column, there, a.add & 2);
        __syncthreads();
        add_dw<D, P>(dw, m.x, m.du);
        __syncthreads();
        if (i + TOKENS < me.to) {
            size_t next = (size_t)(i + TOKENS) * c;
            start_tile<D>(m.x, k + next, c, me.to - i - TOKENS);
            start_tile<D>(m.g, v + next, c, me.to - i - TOKENS);
        }
        copy_commit();
    }
    if (has(a.dwk))
        leave_dw<D, P>(dw_part, dw);
}

#define HEDGEHOG_DX(D, P)                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS)                           \
    lv_hedgehog_queries_d##D##_p##P(LV_ARG LvLinattnDxArgs a, int size,             \
                                    const uint16_t *dy, const float *delta,         \
                                    float *ds, float *dw)                           \
    {                                                                               \
        queries<D, P>(a, size, dy, delta, ds, dw);                                  \
    }                                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS)                           \
    lv_hedgehog_keys_d##D##_p##P(LV_ARG LvLinattnDxArgs a, int size,                \
                                 const float *dstate, float *dw)                    \
    {                                                                               \
        keys<D, P>(a, size, dstate, dw);                                            \
    }

HEDGEHOG_DX(64, 64)
HEDGEHOG_DX(64, 128)
HEDGEHOG_DX(128, 64)
