/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Ops that only move elements (or add up a few), lookups, sinusoids.
 *
 * Tiles: a thread for each element of the output (or, where channels allow, for 16
 * bytes of it). Bytes: every tensor once; bound by memory.
 */

#include "lv_device.cuh"

LV_INLINE size_t my_index(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Units: 16, 4 or 2 bytes, of the copying ops; sizes C are in units. */
LV_INLINE void move_unit(void *dst, size_t to, const void *src, size_t from, int unit)
{
    if (unit == 16)
        ((uint4 *)dst)[to] = ((const uint4 *)src)[from];
    else if (unit == 4)
        ((uint32_t *)dst)[to] = ((const uint32_t *)src)[from];
    else
        ((uint16_t *)dst)[to] = ((const uint16_t *)src)[from];
}

LV_KERNEL lv_copy(void *dst, const void *src, size_t n, int unit)
{
    size_t i = my_index();

    if (i < n)
        move_unit(dst, i, src, i, unit);
}

/* n units of y; c units of a pixel of x; frame units of a frame of x. */
LV_KERNEL lv_recall(LV_ARG LvRecallArgs a, size_t n, size_t c, size_t frame, int unit)
{
    size_t i = my_index(), pixel = i / (2 * c), e = i % (2 * c);
    size_t from = pixel * c + e % c;

    if (i >= n)
        return;
    if (e < c)
        move_unit(a.y.data, i, a.x.data, from, unit);
    else if (from < frame)
        move_unit(a.y.data, i, a.prev.data, from, unit);
    else
        move_unit(a.y.data, i, a.x.data, from - frame, unit);
}

/* I: a type that holds n */
template <typename I> static __device__ void upsample(const LvUpsampleArgs &a, I n, I c,
                                                      int unit)
{
    I i = my_index(), x = a.y.dim[2], y = a.y.dim[1], p = i / c;
    I b = p / (x * y), row = p / x % y, col = p % x;

    if (i < n)
        move_unit(a.y.data, i, a.x.data,
                  ((b * (y / 2) + row / 2) * (x / 2) + col / 2) * c + i % c, unit);
}

LV_KERNEL lv_upsample(LV_ARG LvUpsampleArgs a, size_t n, size_t c, int unit)
{
    if (n >> 31)
        upsample<size_t>(a, n, c, unit);
    else
        upsample<uint32_t>(a, n, c, unit);
}

template <typename I> static __device__ void unstack(const LvUnstackArgs &a, I n, I c,
                                                     int unit)
{
    I i = my_index(), area = (I)a.y.dim[1] * a.y.dim[2], p = i / c;
    I frame = p / area, k = frame % a.n;

    if (i < n)
        move_unit(a.y.data, i, a.x.data,
                  ((frame / a.n * area + p % area) * a.n + k) * c + i % c, unit);
}

LV_KERNEL lv_unstack(LV_ARG LvUnstackArgs a, size_t n, size_t c, int unit)
{
    if (n >> 31)
        unstack<size_t>(a, n, c, unit);
    else
        unstack<uint32_t>(a, n, c, unit);
}

LV_KERNEL lv_stack(LV_ARG LvStackArgs a, size_t n, size_t c, int unit)
{
    size_t i = my_index(), area = (size_t)a.x.dim[1] * a.x.dim[2], p = i / (c * a.n);
    size_t k = i / c % a.n;

    if (i < n)
        move_unit(a.y.data, i, a.x.data,
                  ((p / area * a.n + k) * area + p % area) * c + i % c, unit);
}

/* Pixel (b, i, j, (c n + u) n + v) of the deep side for element e of the wide one. */
LV_INLINE size_t deep_index(size_t e, size_t wy, size_t wx, size_t c, size_t n,
                            int transposed)
{
    size_t ch = e % c, p = e / c, x = p % wx, y = p / wx % wy, b = p / (wx * wy);
    size_t u = transposed ? x % n : y % n, v = transposed ? y % n : x % n;

    return ((b * (wy / n) + y / n) * (wx / n) + x / n) * c * n * n + (ch * n + u) * n + v;
}

LV_KERNEL lv_shuffle(LV_ARG LvShuffleArgs a, size_t n)
{
    size_t i = my_index();

    if (i < n)
        put1(a.y, i, get1(a.x, deep_index(i, a.y.dim[1], a.y.dim[2], a.y.dim[3], a.n,
                                       a.transposed)));
}

LV_KERNEL lv_unshuffle(LV_ARG LvUnshuffleArgs a, size_t n)
{
    size_t i = my_index();

    if (i < n)
        put1(a.y, deep_index(i, a.x.dim[1], a.x.dim[2], a.x.dim[3], a.n, a.transposed),
             get1(a.x, i));
}

LV_KERNEL lv_avg_down(LV_ARG LvAvgDownArgs a, size_t n)
{
    size_t i = my_index(), o = a.y.dim[3], p = i / o, x = p % a.y.dim[2];
    size_t y = p / a.y.dim[2] % a.y.dim[1], f = p / ((size_t)a.y.dim[2] * a.y.dim[1]);
    int near = a.ft * a.fs * a.fs, zeros = a.y.dim[0] * a.ft - a.x.dim[0];
    size_t g = (size_t)a.x.dim[3] * near / o;
    float sum = 0;

    if (i >= n)
        return;
    for (size_t v = i % o * g; v < (i % o + 1) * g; v++) {
        int k = v % near, frame = (int)f * a.ft + k / (a.fs * a.fs) - zeros;
        size_t row = y * a.fs + k / a.fs % a.fs, col = x * a.fs + k % a.fs;
        if (frame >= 0)
            sum += get1(a.x, (((size_t)frame * a.x.dim[1] + row) * a.x.dim[2] + col) *
                             a.x.dim[3] + v / near);
    }
    put1(a.y, i, sum / (float)g + (a.r.id == LV_ID_NONE ? 0 : get1(a.r, i)));
}

LV_KERNEL lv_dup_up(LV_ARG LvDupUpArgs a, size_t n)
{
    size_t i = my_index(), o = a.y.dim[3], p = i / o, x = p % a.y.dim[2];
    size_t y = p / a.y.dim[2] % a.y.dim[1], f = p / ((size_t)a.y.dim[2] * a.y.dim[1]);
    int near = a.ft * a.fs * a.fs, many = (int)(o * near / a.x.dim[3]), at;
    size_t from;

    if (i >= n)
        return;
    f += (size_t)a.x.dim[0] * a.ft - a.y.dim[0];
    at   = ((int)(f % a.ft) * a.fs + (int)(y % a.fs)) * a.fs + (int)(x % a.fs);
    from = ((f / a.ft * a.x.dim[1] + y / a.fs) * a.x.dim[2] + x / a.fs) * a.x.dim[3];
    put1(a.y, i, get1(a.x, from + (i % o * near + at) / many) +
                 (a.r.id == LV_ID_NONE ? 0 : get1(a.r, i)));
}

/* Where element e of tokens [B L, C N] lies in latents [B,C,F,Y,X]. */
LV_INLINE size_t latent_index(size_t e, const int32_t *d, int pt, int ph, int pw,
                              int order)
{
    size_t c = d[0], nb = (size_t)pt * ph * pw, in = e % (c * nb), token = e / (c * nb);
    size_t tx = d[3] / pw, ty = d[2] / ph, tf = d[1] / pt;
    size_t ch = order == LV_PATCH_CHANNEL_SLOW ? in / nb : in % c;
    size_t at = order == LV_PATCH_CHANNEL_SLOW ? in % nb : in / c;
    size_t j = token % tx, i = token / tx % ty, f = token / (tx * ty) % tf;
    size_t b = token / (tx * ty * tf);
    size_t z = f * pt + at / ((size_t)ph * pw), y = i * ph + at / pw % ph;

    return (((b * c + ch) * d[1] + z) * d[2] + y) * d[3] + j * pw + at % pw;
}

LV_KERNEL lv_patchify(LV_ARG LvPatchifyArgs a, size_t n)
{
    size_t i = my_index();

    if (i < n)
        put1(a.y, i, get1(a.x, latent_index(i, a.x.dim + (a.x.rank == 5), a.pt, a.ph,
                                            a.pw, a.order)));
}

LV_KERNEL lv_unpatchify(LV_ARG LvUnpatchifyArgs a, size_t n)
{
    size_t i = my_index();

    if (i < n)
        put1(a.y, latent_index(i, a.y.dim + (a.y.rank == 5), a.pt, a.ph, a.pw, a.order),
             get1(a.x, i));
}

LV_KERNEL lv_recall_dx(LV_ARG LvRecallDxArgs a, size_t n, size_t frame)
{
    size_t i = my_index(), c = a.dx.dim[3], pixel = i / c, ch = i % c;
    float v;

    if (i >= n)
        return;
    v = get1(a.dy, pixel * 2 * c + ch);
    if (pixel + frame < n / c)
        v += get1(a.dy, (pixel + frame) * 2 * c + c + ch);
    put1(a.dx, i, v + (a.add & 1 ? get1(a.dx, i) : 0));
}

/* Eight channels of a pixel, or one where they do not come in eights. */
LV_KERNEL lv_upsample_dx(LV_ARG LvUpsampleDxArgs a, size_t n)
{
    size_t c = a.dx.dim[3], x = a.dx.dim[2], many = c % 8 == 0 ? 8 : 1;
    size_t i = my_index() * many, p = i / c, row = 2 * c * x;
    size_t at = p / x * 2 * row + p % x * 2 * c + i % c;
    float v[8] = { 0 }, w[8];

    if (i >= n)
        return;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        load8(a.dy, at + k / 2 * row + k % 2 * c, at + k / 2 * row + k % 2 * c + many,
              w);
#pragma unroll
        for (int e = 0; e < 8; e++)
            v[e] += w[e];
    }
    if (a.add & 1) {
        load8(a.dx, i, i + many, w);
#pragma unroll
        for (int e = 0; e < 8; e++)
            v[e] += w[e];
    }
    store8(a.dx, i, i + many, v);
}

LV_KERNEL lv_embed(LV_ARG LvEmbedArgs a, size_t n)
{
    size_t i = my_index(), c = a.table.dim[1];
    int id;

    if (i >= n)
        return;
    id = ((const int *)a.ids.data)[i / c];
    put1(a.y, i, id >= 0 && id < a.table.dim[0] ? get1(a.table, id * c + i % c) : 0);
}

enum { SLICES = 8, SPAN = 4 }; /* warps; columns of a lane */

/* Sums of the rows from `from` to `to` - 1 whose id it is, columns c, c + 32, ... */
LV_INLINE void add_uses(const LvEmbedDxArgs &a, int id, int from, int to, int c,
                        float sum[SPAN])
{
    const int *ids = (const int *)a.ids.data;
    int n = a.dtable.dim[1];

    for (int i = from; i < to; i += WARP) {
        int me = i + threadIdx.x % WARP;
        unsigned uses = __ballot_sync(0xFFFFFFFFu, me < to && ids[me] == id);
        for (; uses; uses &= uses - 1) {
            size_t row = (size_t)(i + __ffs((int)uses) - 1) * n;
#pragma unroll
            for (int k = 0; k < SPAN; k++)
                if (c + k * WARP < n)
                    sum[k] += get1(a.dy, row + c + k * WARP);
        }
    }
}

/* A block for each position: that of an id's first use adds up all its uses, a warp an
 * eighth of the positions, the eighths in order. The table was zeroed unless added to. */
LV_KERNEL lv_embed_dx(LV_ARG LvEmbedDxArgs a)
{
    __shared__ float part[SLICES][SPAN * WARP];
    const int *ids = (const int *)a.ids.data;
    int m = a.ids.dim[0], n = a.dtable.dim[1], me = blockIdx.x, id = ids[me];
    int before = 0, per = (m - me + SLICES - 1) / SLICES, lane = threadIdx.x % WARP;
    int from = me + (int)(threadIdx.x / WARP) * per;

    for (int i = threadIdx.x; i < me; i += blockDim.x)
        before |= ids[i] == id;
    if (__syncthreads_or(before) || id < 0 || id >= a.dtable.dim[0])
        return;
    for (int first = 0; first < n; first += SPAN * WARP) {
        float sum[SPAN] = { 0 };
        add_uses(a, id, from, min(from + per, m), first + lane, sum);
        for (int k = 0; k < SPAN; k++)
            part[threadIdx.x / WARP][k * WARP + lane] = sum[k];
        __syncthreads();
        if (threadIdx.x < SPAN * WARP && first + (int)threadIdx.x < n) {
            float *at = (float *)a.dtable.data + (size_t)id * n + first + threadIdx.x;
            float all = *at;
            for (int k = 0; k < SLICES; k++)
                all += part[k][threadIdx.x];
            *at = all;
        }
        __syncthreads();
    }
}

LV_KERNEL lv_sinusoid(LV_ARG LvSinusoidArgs a)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y, n = a.y.dim[1] / 2;
    double angle;

    if (i >= n)
        return;
    angle = ((const float *)a.t.data)[b] * pow(10000.0, -(double)i / n);
    ((float *)a.y.data)[(size_t)b * 2 * n + i]     = (float)cos(angle);
    ((float *)a.y.data)[(size_t)b * 2 * n + n + i] = (float)sin(angle);
}
