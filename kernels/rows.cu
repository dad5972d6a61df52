/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops on rows (norm, gate, qknorm) and their gradients; sums of columns.
 *
 *   norm     y = n(x) A + B, A = w (1 + scale), B = b (1 + scale) + shift
 *   norm_dx  h = (x - mean) rstd, g = dy A: dx = rstd (g - mean(g) - h mean(g h)),
 *            mean(g) only for LAYER. For each sample P = sum dy and Q = sum dy h over
 *            its rows; dmod, dw and db follow from those
 *   gate_norm  y = r + mod x, then its norm
 *   norm_act   an activation of a norm's result, rounded in between as if it were stored
 *   qknorm   u = x rstd w, then the pairs turn; _dx turns dy back to g = rope^T dy:
 *            dx = rstd (g w - h mean(g w h)), dw = sum g h
 *
 * Tiles: a warp for each row, a lane for eight columns in every 256; rows are read again
 * from the cache for each pass. Forward, rows of up to 5120 columns in eights stay in
 * registers, those of more than 512 in a block's. Sums of columns: a block of 16 x 16 threads walks
 * a run of rows of one sample over 128 columns, adds its 16 partial sums in order and
 * leaves one row of partial sums; a second kernel adds those in order.
 * Bytes: 4 to 12 for an element, a few operations each: bound by memory.
 */

#include "lv_device.cuh"

LV_INLINE size_t my_row(void)
{
    return (size_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
}

LV_INLINE int my_lane(void)
{
    return threadIdx.x % WARP;
}

LV_INLINE float sum8(const float v[8])
{
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/* Sum of x and, about the mean, of its square; over a row of n columns. */
LV_INLINE float row_sum(const LvTensor &x, size_t row, int n)
{
    float sum = 0, v[8];

    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(x, row, c, n, v);
        sum += sum8(v);
    }
    return warp_sum(sum);
}

LV_INLINE float row_sum_sq(const LvTensor &x, size_t row, int n, float mean)
{
    float sum = 0, v[8];

    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(x, row, c, n, v);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float d = c + k < n ? v[k] - mean : 0;
            sum += d * d;
        }
    }
    return warp_sum(sum);
}

/* A and B of eight columns, in the place of w and b. */
LV_INLINE void fold(float w[8], float b[8], const float scale[8], const float shift[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++) {
        w[k] *= 1 + scale[k];
        b[k] = b[k] * (1 + scale[k]) + shift[k];
    }
}

/* The same of a norm. */
LV_INLINE void fold8(const LvTensor &w, const LvTensor &b, const LvTensor &mod,
                     size_t shift, size_t scale, int c, int n, float wa[8], float ba[8])
{
    float s[8], t[8];

    row_param8(w, 0, c, n, 1, wa);
    row_param8(b, 0, c, n, 0, ba);
    row_param8(mod, scale, c, n, 0, s);
    row_param8(mod, shift, c, n, 0, t);
    fold(wa, ba, s, t);
}

/* First row of mod that the rows of a row's sample take, of so many rows in all. */
LV_INLINE size_t first_mod(const LvTensor &mod, int batch, size_t row, int rows)
{
    return has(mod) ? (uint32_t)row / (uint32_t)(rows / batch) *
                      (uint32_t)(mod.dim[0] / batch) : 0;
}

/* Rows that stay in registers: of LANES threads each, 16, 32 or 128, one block; chunk i of HELD
 * of a thread is eight columns. All of a row is read before any of it is written. */

template <int LANES> LV_INLINE size_t held_row(void)
{
    return LANES > WARP ? blockIdx.x :
           (size_t)blockIdx.x * (128 / LANES) + threadIdx.x / LANES;
}

template <int LANES> LV_INLINE int held_column(int i)
{
    return (i * LANES + threadIdx.x % LANES) * 8;
}

/* Sum of what the warps of a block of 128 have; turn: 0 or 1, another one for the next. */
LV_INLINE float sum_warps(float x, int turn)
{
    __shared__ float part[2][4];

    if (my_lane() == 0)
        part[turn][threadIdx.x / WARP] = x;
    __syncthreads();
    return (part[turn][0] + part[turn][1]) + (part[turn][2] + part[turn][3]);
}

/* Lanes of a warp that share the running thread's row. */
template <int LANES> LV_INLINE uint32_t held_lanes(void)
{
    return LANES < WARP ? ((1u << LANES % WARP) - 1) << my_lane() / LANES * LANES
                        : 0xFFFFFFFFu;
}

/* Sum over a row's threads. */
template <int LANES> LV_INLINE float held_total(float x, int turn)
{
    if (LANES >= WARP)
        x = warp_sum(x);
    else
#pragma unroll
        for (int d = LANES / 2; d > 0; d /= 2)
            x += __shfl_xor_sync(held_lanes<LANES>(), x, d);
    return LANES <= WARP ? x : sum_warps(x, turn);
}

template <int LANES, int HELD>
LV_INLINE void hold_row(float v[HELD][8], const LvTensor &x, size_t row, int n)
{
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (held_column<LANES>(i) < n)
            get8(x.data, x.dtype, row * n + held_column<LANES>(i), (size_t)-1, v[i]);
}

/* Eight columns of a vector or a row of f32 that nobody writes; `none` when absent. */
LV_INLINE void read_only8(const LvTensor &t, size_t row, int c, int n, float none,
                          float v[8])
{
    const float4 *at = (const float4 *)((const float *)t.data + row * n + c);
    float4 a = { none, none, none, none }, b = a;

    if (has(t)) {
        a = __ldg(at);
        b = __ldg(at + 1);
    }
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

LV_INLINE void put_stats(const LvNormArgs &a, size_t row, int first, float mean,
                         float rstd)
{
    if (first && has(a.mean))
        ((float *)a.mean.data)[row] = mean;
    if (first && has(a.rstd))
        ((float *)a.rstd.data)[row] = rstd;
}

template <int LANES, int HELD>
LV_INLINE float held_rstd(const float v[HELD][8], int n, float mean, float eps)
{
    float sum = 0;

#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (held_column<LANES>(i) < n)
#pragma unroll
            for (int k = 0; k < 8; k++)
                sum += (v[i][k] - mean) * (v[i][k] - mean);
    return 1 / sqrtf(held_total<LANES>(sum, 1) / n + eps);
}

/* Eight of a norm's results, or an activation of what would have been stored. */
LV_INLINE void put_normed8(const LvNormArgs &a, const LvActArgs *f, size_t at, float v[8])
{
    if (!f) {
        put8(a.y.data, a.y.dtype, at, (size_t)-1, v);
        return;
    }
    if (a.y.dtype != LV_F32)
        LV_EACH8(v, from_bf16(to_bf16(x)));
    act8(f->act, v);
    put8(f->y.data, f->y.dtype, at, (size_t)-1, v);
}

template <int LANES, int HELD>
LV_INLINE void norm_held(const LvNormArgs &a, const LvActArgs *f, size_t row,
                         float v[HELD][8])
{
    int n = a.x.dim[1];
    size_t mod = first_mod(a.mod, a.batch, row, a.x.dim[0]);
    float mean = 0, rstd, w[8], b[8], s[8], t[8];

#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (held_column<LANES>(i) < n)
            mean += sum8(v[i]);
    mean = a.kind == LV_NORM_LAYER ? held_total<LANES>(mean, 0) / n : 0;
    rstd = held_rstd<LANES, HELD>(v, n, mean, a.eps);
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        int c = held_column<LANES>(i);
        if (c >= n)
            continue;
        read_only8(a.w, 0, c, n, 1, w);
        if (f && !has(a.b) && !has(a.mod)) { /* few operations beside those of f */
#pragma unroll
            for (int k = 0; k < 8; k++)
                v[i][k] = (v[i][k] - mean) * rstd * w[k] + 0.0f;
            put_normed8(a, f, row * n + c, v[i]);
            continue;
        }
        read_only8(a.b, 0, c, n, 0, b);
        read_only8(a.mod, mod + a.scale, c, n, 0, s);
        read_only8(a.mod, mod + a.shift, c, n, 0, t);
        fold(w, b, s, t);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[i][k] = (v[i][k] - mean) * rstd * w[k] + b[k];
        put_normed8(a, f, row * n + c, v[i]);
    }
    put_stats(a, row, threadIdx.x % LANES == 0, mean, rstd);
}

template <int LANES, int HELD>
static __device__ void norm(const LvNormArgs &a, const LvActArgs *f)
{
    size_t row = held_row<LANES>();
    float v[HELD][8];

    if (row >= a.x.dim[0])
        return;
    hold_row<LANES, HELD>(v, a.x, row, a.x.dim[1]);
    norm_held<LANES, HELD>(a, f, row, v);
}

/* A gate and the norm of what it made. */
template <int LANES, int HELD>
static __device__ void gate_norm(const LvGateArgs &g, const LvNormArgs &a)
{
    size_t row = held_row<LANES>(), mod;
    int n = a.x.dim[1];
    float v[HELD][8], x[HELD][8], m[8];

    if (row >= a.x.dim[0])
        return;
    mod = first_mod(g.mod, g.batch, row, a.x.dim[0]);
    hold_row<LANES, HELD>(v, g.r, row, n);
    hold_row<LANES, HELD>(x, g.x, row, n);
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        int c = held_column<LANES>(i);
        if (c >= n)
            continue;
        read_only8(g.mod, mod + g.row, c, n, 1, m);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[i][k] += m[k] * x[i][k];
        put8(g.y.data, g.y.dtype, row * n + c, (size_t)-1, v[i]);
    }
    norm_held<LANES, HELD>(a, NULL, row, v);
}

/* The angles of eight columns of a row, for heads of d channels, a multiple of 8. */
LV_INLINE void turn_held(const LvTensor &rope, uint32_t row, int c, int d, float v[8])
{
    float cs[8];

    read_only8(rope, row % (uint32_t)rope.dim[0], c % d, d, 0, cs);
#pragma unroll
    for (int k = 0; k < 8; k += 2) {
        float e = v[k], o = v[k + 1];
        v[k]     = e * cs[k] - o * cs[k + 1];
        v[k + 1] = e * cs[k + 1] + o * cs[k];
    }
}

template <int LANES, int HELD> static __device__ void qknorm(const LvQknormArgs &a)
{
    size_t row = held_row<LANES>();
    int n = a.x.dim[1];
    float v[HELD][8], w[8], rstd;

    if (row >= a.x.dim[0])
        return;
    hold_row<LANES, HELD>(v, a.x, row, n);
    rstd = held_rstd<LANES, HELD>(v, n, 0, a.eps);
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        int c = held_column<LANES>(i);
        if (c >= n)
            continue;
        read_only8(a.w, 0, c, n, 1, w);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[i][k] *= rstd * w[k];
        if (has(a.rope))
            turn_held(a.rope, (uint32_t)row, c, n / a.heads, v[i]);
        put8(a.y.data, a.y.dtype, row * n + c, (size_t)-1, v[i]);
    }
    if (threadIdx.x % LANES == 0 && has(a.rstd))
        ((float *)a.rstd.data)[row] = rstd;
}

/* By the columns that rows may have, in multiples of 8: heads of qknorm too. */
#define HELD_ROWS(columns, LANES, HELD)                                             \
    LV_KERNEL lv_norm_##columns(LV_ARG LvNormArgs a)                                \
    {                                                                               \
        norm<LANES, HELD>(a, NULL);                                                 \
    }                                                                               \
    LV_KERNEL lv_gate_norm_##columns(LV_ARG LvGateArgs g, LV_ARG LvNormArgs a)      \
    {                                                                               \
        gate_norm<LANES, HELD>(g, a);                                               \
    }                                                                               \
    LV_KERNEL lv_qknorm_##columns(LV_ARG LvQknormArgs a)                            \
    {                                                                               \
        qknorm<LANES, HELD>(a);                                                     \
    }

LV_KERNEL lv_norm_act_128(LV_ARG LvNormArgs a, LV_ARG LvActArgs f)
{
    norm<16, 1>(a, &f);
}

LV_KERNEL lv_norm_act_256(LV_ARG LvNormArgs a, LV_ARG LvActArgs f)
{
    norm<32, 1>(a, &f);
}

LV_KERNEL lv_norm_act_512(LV_ARG LvNormArgs a, LV_ARG LvActArgs f)
{
    norm<32, 2>(a, &f);
}

HELD_ROWS(512, 32, 2)
HELD_ROWS(2048, 128, 2)
HELD_ROWS(5120, 128, 5)

/* Any rows, read again for each pass. */

LV_INLINE void norm_read(const LvNormArgs &a, size_t row)
{
    int n = a.x.dim[1];
    size_t mod = first_mod(a.mod, a.batch, row, a.x.dim[0]);
    float mean = a.kind == LV_NORM_LAYER ? row_sum(a.x, row, n) / n : 0, v[8], w[8], b[8];
    float rstd = 1 / sqrtf(row_sum_sq(a.x, row, n, mean) / n + a.eps);

    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.x, row, c, n, v);
        fold8(a.w, a.b, a.mod, mod + a.shift, mod + a.scale, c, n, w, b);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = (v[k] - mean) * rstd * w[k] + b[k];
        row_put8(a.y.data, a.y.dtype, row, c, n, v);
    }
    put_stats(a, row, my_lane() == 0, mean, rstd);
}

LV_INLINE void gate_read(const LvGateArgs &a, size_t row)
{
    int n = a.r.dim[1];
    size_t mod = first_mod(a.mod, a.batch, row, a.r.dim[0]);
    float x[8], r[8], m[8];

    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.r, row, c, n, r);
        row_load8(a.x, row, c, n, x);
        row_param8(a.mod, mod + a.row, c, n, 1, m);
#pragma unroll
        for (int k = 0; k < 8; k++)
            r[k] += m[k] * x[k];
        row_put8(a.y.data, a.y.dtype, row, c, n, r);
    }
}

LV_KERNEL lv_norm(LV_ARG LvNormArgs a)
{
    size_t row = my_row();

    if (row < a.x.dim[0])
        norm_read(a, row);
}

LV_KERNEL lv_gate(LV_ARG LvGateArgs a)
{
    size_t row = my_row();

    if (row < a.r.dim[0])
        gate_read(a, row);
}

/* Here a lane reads what itself has written. */
LV_KERNEL lv_gate_norm(LV_ARG LvGateArgs g, LV_ARG LvNormArgs a)
{
    size_t row = my_row();

    if (row >= a.x.dim[0])
        return;
    gate_read(g, row);
    norm_read(a, row);
}

/* Turn the pairs of eight columns; back with sign -1. C is even when rope is there,
 * so a pair never straddles. */
LV_INLINE void turn8(const LvTensor &rope, size_t row, int c, int n, int d, float sign,
                     float v[8])
{
    const float *at = (const float *)rope.data + row % rope.dim[0] * d;

#pragma unroll
    for (int k = 0; k < 8; k += 2) {
        if (c + k < n) {
            const float *cs = at + (c + k) % d;
            float co = cs[0], si = sign * cs[1], e = v[k], o = v[k + 1];
            v[k]     = e * co - o * si;
            v[k + 1] = e * si + o * co;
        }
    }
}

LV_KERNEL lv_qknorm(LV_ARG LvQknormArgs a)
{
    int n = a.x.dim[1], d = n / a.heads;
    size_t row = my_row();
    float rstd, v[8], w[8];

    if (row >= a.x.dim[0])
        return;
    rstd = 1 / sqrtf(row_sum_sq(a.x, row, n, 0) / n + a.eps);
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.x, row, c, n, v);
        row_load8(a.w, 0, c, n, w);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] *= rstd * w[k];
        if (has(a.rope))
            turn8(a.rope, row, c, n, d, 1, v);
        row_put8(a.y.data, a.y.dtype, row, c, n, v);
    }
    if (my_lane() == 0 && has(a.rstd))
        ((float *)a.rstd.data)[row] = rstd;
}

/* Normalised attention guidance */

LV_INLINE void guide8(const float p[8], const float n[8], float scale, float g[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
        g[k] = p[k] + (scale - 1) * (p[k] - n[k]);
}

LV_INLINE float sum_abs8(const float v[8])
{
    return ((fabsf(v[0]) + fabsf(v[1])) + (fabsf(v[2]) + fabsf(v[3]))) +
           ((fabsf(v[4]) + fabsf(v[5])) + (fabsf(v[6]) + fabsf(v[7])));
}

/* What is left of g: all of it, or as much as the size of p allows. */
LV_INLINE float nag_share(const LvNagArgs &a, size_t row, int n)
{
    float p[8], v[8], of_p = 0, of_g = 0;

    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.p, row, c, n, p);
        row_load8(a.n, row, c, n, v);
        of_p += sum_abs8(p);
        guide8(p, v, a.scale, v);
        of_g += sum_abs8(v);
    }
    of_p = a.tau * warp_sum(of_p);
    of_g = warp_sum(of_g);
    return of_g > of_p ? of_p / (of_g + 1e-7f) : 1;
}

LV_KERNEL lv_nag(LV_ARG LvNagArgs a)
{
    int n = a.p.dim[1];
    size_t row = my_row();
    float share, p[8], v[8];

    if (row >= a.p.dim[0])
        return;
    share = nag_share(a, row, n);
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.p, row, c, n, p);
        row_load8(a.n, row, c, n, v);
        guide8(p, v, a.scale, v);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = p[k] + a.alpha * (share * v[k] - p[k]);
        row_put8(a.y.data, a.y.dtype, row, c, n, v);
    }
}

/* Gradients of rows */

/* Of eight columns of a row: h, and g = dy A. */
LV_INLINE void norm_parts(const LvNormDxArgs &a, size_t row, size_t sample, int r,
                          float mean, float rstd, int c, int n, float h[8], float g[8])
{
    float w[8], s[8];

    row_load8(a.x, row, c, n, h);
    row_load8(a.dy, row, c, n, g);
    row_param8(a.w, 0, c, n, 1, w);
    row_param8(a.mod, sample * r + a.scale, c, n, 0, s);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        h[k] = c + k < n ? (h[k] - mean) * rstd : 0;
        g[k] *= w[k] * (1 + s[k]);
    }
}

LV_KERNEL lv_norm_dx(LV_ARG LvNormDxArgs a)
{
    int n = a.x.dim[1], r = has(a.mod) ? a.mod.dim[0] / a.batch : 0;
    size_t row = my_row(), sample = row / (a.x.dim[0] / a.batch);
    float mean = 0, rstd, sg = 0, sgh = 0, h[8], g[8];

    if (row >= a.x.dim[0])
        return;
    if (has(a.mean))
        mean = ((const float *)a.mean.data)[row];
    rstd = ((const float *)a.rstd.data)[row];
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        norm_parts(a, row, sample, r, mean, rstd, c, n, h, g);
        sg += sum8(g);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sgh += g[k] * h[k];
    }
    sg  = a.kind == LV_NORM_LAYER ? warp_sum(sg) / n : 0;
    sgh = warp_sum(sgh) / n;
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        norm_parts(a, row, sample, r, mean, rstd, c, n, h, g);
#pragma unroll
        for (int k = 0; k < 8; k++)
            g[k] = rstd * (g[k] - sg - h[k] * sgh);
        row_grad8(a.dx, row, c, n, g, a.add);
    }
}

LV_KERNEL lv_gate_dx(LV_ARG LvGateDxArgs a)
{
    int n = a.dy.dim[1], rows = has(a.mod) ? a.mod.dim[0] / a.batch : 0;
    size_t row = my_row(), sample = row / (a.dy.dim[0] / a.batch);
    float d[8], m[8];

    if (row >= a.dy.dim[0])
        return;
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        row_load8(a.dy, row, c, n, d);
        row_param8(a.mod, sample * rows + a.row, c, n, 1, m);
#pragma unroll
        for (int k = 0; k < 8; k++)
            d[k] *= m[k];
        row_grad8(a.dx, row, c, n, d, a.add);
    }
}

/* Of eight columns of a row: h = x rstd, and g = rope^T dy. */
LV_INLINE void qknorm_parts(const LvQknormDxArgs &a, size_t row, float rstd, int c,
                            int n, float h[8], float g[8])
{
    row_load8(a.x, row, c, n, h);
    row_load8(a.dy, row, c, n, g);
    if (has(a.rope))
        turn8(a.rope, row, c, n, n / a.heads, -1, g);
#pragma unroll
    for (int k = 0; k < 8; k++)
        h[k] *= rstd;
}

LV_KERNEL lv_qknorm_dx(LV_ARG LvQknormDxArgs a)
{
    int n = a.x.dim[1];
    size_t row = my_row();
    float rstd, sum = 0, h[8], g[8], w[8];

    if (row >= a.x.dim[0])
        return;
    rstd = ((const float *)a.rstd.data)[row];
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        qknorm_parts(a, row, rstd, c, n, h, g);
        row_load8(a.w, 0, c, n, w);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sum += g[k] * w[k] * h[k];
    }
    sum = warp_sum(sum) / n;
    for (int c = my_lane() * 8; c < n; c += WARP * 8) {
        qknorm_parts(a, row, rstd, c, n, h, g);
        row_load8(a.w, 0, c, n, w);
#pragma unroll
        for (int k = 0; k < 8; k++)
            g[k] = rstd * (g[k] * w[k] - h[k] * sum);
        row_grad8(a.dx, row, c, n, g, a.add);
    }
}

/* Sums of columns. blockIdx.x: sample chunks + chunk; blockIdx.y: 128 columns. */

enum { COL_TILE = 128, COL_LANES = 16 };

typedef struct Run {
    size_t from, to; ///< rows, this thread's first and the end
    int c;           ///< its eight columns
} Run;

LV_INLINE Run my_columns(size_t rows, int chunks)
{
    size_t sample = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
    size_t per = (rows + chunks - 1) / chunks, end = min(rows, (chunk + 1) * per);
    Run r = { sample * rows + chunk * per + threadIdx.x / COL_LANES,
              sample * rows + end,
              (int)(blockIdx.y * COL_TILE + threadIdx.x % COL_LANES * 8) };

    return r;
}

/* Leave the block's sum of v as row `row` of part [..,n]. */
LV_INLINE void leave_columns(float *part, size_t row, int n, const float v[8])
{
    __shared__ float tile[16][COL_TILE];
    int c = blockIdx.y * COL_TILE + threadIdx.x;
    float sum = 0;

    __syncthreads();
#pragma unroll
    for (int k = 0; k < 8; k++)
        tile[threadIdx.x / COL_LANES][threadIdx.x % COL_LANES * 8 + k] = v[k];
    __syncthreads();
    if (threadIdx.x >= COL_TILE || c >= n)
        return;
#pragma unroll
    for (int k = 0; k < 16; k++)
        sum += tile[k][threadIdx.x];
    part[row * n + c] = sum;
}

/* part [B chunks,2,C]: P and Q. */
LV_KERNEL lv_norm_cols(LV_ARG LvNormDxArgs a, int chunks, float *part)
{
    int n = a.x.dim[1];
    Run r = my_columns(a.x.dim[0] / a.batch, chunks);
    float p[8] = { 0 }, q[8] = { 0 }, x[8], d[8];

    for (size_t row = r.from; row < r.to && r.c < n; row += 16) {
        float mean = has(a.mean) ? ((const float *)a.mean.data)[row] : 0;
        float rstd = ((const float *)a.rstd.data)[row];
        row_load8(a.x, row, r.c, n, x);
        row_load8(a.dy, row, r.c, n, d);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            p[k] += d[k];
            q[k] += d[k] * ((x[k] - mean) * rstd);
        }
    }
    leave_columns(part, 2 * (size_t)blockIdx.x, n, p);
    leave_columns(part, 2 * (size_t)blockIdx.x + 1, n, q);
}

/* part [B chunks,C]: sum of dy x. */
LV_KERNEL lv_gate_cols(LV_ARG LvGateDxArgs a, int chunks, float *part)
{
    int n = a.dy.dim[1];
    Run r = my_columns(a.dy.dim[0] / a.batch, chunks);
    float p[8] = { 0 }, x[8], d[8];

    for (size_t row = r.from; row < r.to && r.c < n; row += 16) {
        row_load8(a.x, row, r.c, n, x);
        row_load8(a.dy, row, r.c, n, d);
#pragma unroll
        for (int k = 0; k < 8; k++)
            p[k] += d[k] * x[k];
    }
    leave_columns(part, blockIdx.x, n, p);
}

/* part [chunks,C]: sum of g h. */
LV_KERNEL lv_qknorm_cols(LV_ARG LvQknormDxArgs a, int chunks, float *part)
{
    int n = a.x.dim[1];
    Run r = my_columns(a.x.dim[0], chunks);
    float p[8] = { 0 }, h[8], g[8];

    for (size_t row = r.from; row < r.to && r.c < n; row += 16) {
        qknorm_parts(a, row, ((const float *)a.rstd.data)[row], r.c, n, h, g);
#pragma unroll
        for (int k = 0; k < 8; k++)
            p[k] += g[k] * h[k];
    }
    leave_columns(part, blockIdx.x, n, p);
}

/* part [A chunks,C] of x [A,times,C]. */
LV_KERNEL lv_reduce_cols(LV_ARG LvReduceArgs a, size_t times, int chunks, float *part)
{
    int n = a.inner;
    Run r = my_columns(times, chunks);
    float p[8] = { 0 }, x[8];

    for (size_t row = r.from; row < r.to && r.c < n; row += 16) {
        row_load8(a.x, row, r.c, n, x);
#pragma unroll
        for (int k = 0; k < 8; k++)
            p[k] += x[k];
    }
    leave_columns(part, blockIdx.x, n, p);
}

/* Second kernels. blockIdx.x: sample; blockIdx.y: 32 columns, added by eight warps that
 * take a run of the rows each. */

enum { SLICES = 8 };

/* Sum of n rows `row + i step` of part, column c of `cols`; for the first warp. */
LV_INLINE float add_rows(const float *part, size_t row, int step, int n, int cols,
                         int c)
{
    __shared__ float slice[SLICES][WARP];
    int per = (n + SLICES - 1) / SLICES, from = threadIdx.x / WARP * per;
    float sum = 0;

    __syncthreads();
    if (c < cols) {
#pragma unroll 8
        for (int i = from; i < min(n, from + per); i++)
            sum += part[(row + (size_t)i * step) * cols + c];
    }
    slice[threadIdx.x / WARP][threadIdx.x % WARP] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < SLICES; i++)
        sum += slice[i][threadIdx.x % WARP];
    return sum;
}

/* The thread's column. */
LV_INLINE int my_column(void)
{
    return blockIdx.y * WARP + threadIdx.x % WARP;
}

/* Sums of a sample: its rows of dmod, and P and Q to total [B,2,C]. */
LV_KERNEL lv_norm_fold(LV_ARG LvNormDxArgs a, int chunks, const float *part,
                       float *total)
{
    int n = a.x.dim[1], c = my_column(), b = blockIdx.x;
    float p = add_rows(part, 2 * (size_t)b * chunks, 2, chunks, n, c);
    float q = add_rows(part, 2 * (size_t)b * chunks + 1, 2, chunks, n, c);

    if (c >= n || threadIdx.x >= WARP)
        return;
    total[2 * (size_t)b * n + c]       = p;
    total[(2 * (size_t)b + 1) * n + c] = q;
    if (has(a.dmod)) {
        size_t r = a.mod.dim[0] / a.batch;
        float *dmod = (float *)a.dmod.data, w = has(a.w) ? ((float *)a.w.data)[c] : 1;
        dmod[(b * r + a.shift) * n + c] += p;
        dmod[(b * r + a.scale) * n + c] += w * q +
            (has(a.b) ? ((float *)a.b.data)[c] * p : 0);
    }
}

/* dw and db from the samples' sums. */
LV_KERNEL lv_norm_params(LV_ARG LvNormDxArgs a, const float *total)
{
    int n = a.x.dim[1], c = blockIdx.x * blockDim.x + threadIdx.x;
    size_t r = has(a.mod) ? a.mod.dim[0] / a.batch : 0;
    float dw = 0, db = 0;

    if (c >= n)
        return;
    for (int b = 0; b < a.batch; b++) {
        float s = has(a.mod) ? 1 + ((float *)a.mod.data)[(b * r + a.scale) * n + c] : 1;
        db += s * total[2 * (size_t)b * n + c];
        dw += s * total[(2 * (size_t)b + 1) * n + c];
    }
    if (has(a.dw))
        ((float *)a.dw.data)[c] = dw + (a.add & 2 ? ((float *)a.dw.data)[c] : 0);
    if (has(a.db))
        ((float *)a.db.data)[c] = db + (a.add & 4 ? ((float *)a.db.data)[c] : 0);
}

/* y[row b of stride] = sum of the sample's chunks of part, or added to it. */
LV_KERNEL lv_cols_sum(const float *part, int chunks, int n, void *y, int y_type,
                      size_t row, size_t stride, int add)
{
    int c = my_column();
    size_t at = (row + blockIdx.x * stride) * n + c;
    float sum = add_rows(part, (size_t)blockIdx.x * chunks, 1, chunks, n, c);

    if (c < n && threadIdx.x < WARP)
        put(y, y_type, at, sum + (add ? get(y, y_type, at) : 0));
}

/* REDUCE with few terms: a thread for each sum. */
LV_KERNEL lv_reduce_few(LV_ARG LvReduceArgs a, size_t n, size_t times)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, c = a.inner;
    float sum = 0;

    if (i >= n)
        return;
    for (size_t k = 0; k < times; k++)
        sum += get1(a.x, (i / c * times + k) * c + i % c);
    put1(a.y, i, sum + (a.add & 1 ? get1(a.y, i) : 0));
}
