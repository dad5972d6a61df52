/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Convolutions over place, and over time and place, for compute capability 9.0 in bf16 with
 * stride 1: what product.cu does, with matmuls of a warpgroup (wgmma) and copies of boxes.
 *
 *   y = act(sum over taps and channels of x w + bias + r)
 *
 * Tiles: an item is a picture's tile of 16 columns and 8 (or 16) rows, for N output
 * channels. A block of three warpgroups for each multiprocessor takes items blockIdx.x,
 * blockIdx.x + gridDim.x... Two threads of the first warpgroup copy. One copies patches:
 * for each frame of the kernel and each 64 channels, the tile with the rim that its taps
 * reach, outside of the picture zeros; frames before the first come from where the call
 * before left them. The other copies weights: N output channels of 64 inputs of one tap.
 * The other two warpgroups own 8 columns each, in squares of 8 x 8 pixels, 64 rows of their
 * matmul: a tap's pixels are those of the patch some rows of shared memory further on, so
 * that a patch is copied once and multiplied kh kw times. The swizzle goes by addresses, and
 * does not mind where a square begins.
 *
 * Sums stay in registers, over all taps, in the order of frames, channels, taps: the same
 * bits every time. In the end, the four threads of a row exchange what they hold, each then
 * has eight neighbours: bias, residual, activation and the one rounding happen there.
 *
 * FLOPs: 2 O C taps a pixel. Bytes: x, w, r and y once; from the second-level cache, for a
 * tile of 256 pixels and N of 96: a patch of 41 KB and nine times 12 KB of weights for 28
 * MFLOPs, 188 FLOPs a byte. Bound by the tensor cores; for N of 96 as much by the reading of
 * shared memory, 5 KB for a matmul of 48 clocks.
 */

#include "lv_hopper.cuh"

enum { THREADS = 3 * WARPGROUP, TEAMS = 2, SIDE = 8, WIDE = TEAMS * SIDE };

/* Registers of a thread that copies, and of one that computes. */
enum { FEW = 24, MANY = 240 };

/* Patches in their ring. */
enum { PATCHES = 2 };

/* Largest patch, with a rim of 1; the swizzle repeats after so many bytes. */
enum { ATOM = 1024 };

template <int TALL> struct Patch {
    enum { ROWS = (TALL * SIDE + 2) * (WIDE + 2),
           BYTES = (ROWS * PANEL_BYTES + ATOM - 1) / ATOM * ATOM };
};

#if LV_HOPPER

typedef struct Maps {
    const LvTileMap *x, *prev, *w;
} Maps;

/* Shared memory: patches, weights of taps, barriers. */
typedef struct Room {
    unsigned char *patch, *w;
    uint64_t *patch_full, *patch_empty, *w_full, *w_empty;
} Room;

template <int N, int TALL, int STAGES> LV_INLINE Room room_of(unsigned char *memory)
{
    unsigned char *w = memory + PATCHES * Patch<TALL>::BYTES;
    uint64_t *b = (uint64_t *)(w + STAGES * N * PANEL_BYTES);
    Room r = { memory, w, b, b + PATCHES, b + 2 * PATCHES, b + 2 * PATCHES + STAGES };

    return r;
}

template <int STAGES> LV_INLINE void make_barriers(const Room &r)
{
    for (int s = 0; s < PATCHES; s++) {
        barrier_make(r.patch_full + s, 1);
        barrier_make(r.patch_empty + s, 4 * TEAMS);
    }
    for (int s = 0; s < STAGES; s++) {
        barrier_make(r.w_full + s, 1);
        barrier_make(r.w_empty + s, 4 * TEAMS);
    }
    barriers_made();
}

/* A tile of a picture of the result, and its output channels. */
typedef struct Item {
    int frame, y, x, o;
} Item;

template <int N, int TALL> LV_INLINE Item item_of(const LvProductArgs &a, int number)
{
    int across = (a.xo + WIDE - 1) / WIDE, down = (a.yo + TALL * SIDE - 1) / (TALL * SIDE);
    int blocks = (a.o + N - 1) / N, tile = number / blocks;
    Item i = { tile / (across * down), tile / across % down * TALL * SIDE,
               tile % across * WIDE, number % blocks * N };

    return i;
}

template <int N, int TALL> LV_INLINE int items_of(const LvProductArgs &a)
{
    return a.rows / (a.yo * a.xo) * ((a.yo + TALL * SIDE - 1) / (TALL * SIDE)) *
           ((a.xo + WIDE - 1) / WIDE) * ((a.o + N - 1) / N);
}

/* The next place of a ring of n, whose turns have parities. */
typedef struct Turn {
    int at, parity;
} Turn;

template <int n> LV_INLINE void go_on(Turn *t)
{
    if (++t->at == n) {
        t->at = 0;
        t->parity ^= 1;
    }
}

template <int N, int TALL> LV_INLINE void copy_patches(const LvProductArgs &a, const Maps &m,
                                                       const Room &r)
{
    const int bytes = (TALL * SIDE + a.kh - 1) * (WIDE + a.kw - 1) * PANEL_BYTES;
    Turn t = { 0, 0 };

    for (int at = blockIdx.x; at < items_of<N, TALL>(a); at += gridDim.x) {
        Item i = item_of<N, TALL>(a, at);
        for (int k = 0; k < a.kt; k++) {
            int frame = i.frame * a.step + k;
            for (int c = 0; c < a.c; c += PANEL) {
                barrier_wait(r.patch_empty + t.at, t.parity ^ 1);
                barrier_expect(r.patch_full + t.at, bytes);
                copy_box4(r.patch + t.at * Patch<TALL>::BYTES,
                          frame < a.before ? m.prev : m.x, c, i.x - a.pad_x, i.y - a.pad_y,
                          frame < a.before ? frame : frame - a.before,
                          r.patch_full + t.at);
                go_on<PATCHES>(&t);
            }
        }
    }
}

template <int N, int TALL, int STAGES>
LV_INLINE void copy_weights(const LvProductArgs &a, const Maps &m, const Room &r)
{
    const int taps = a.kh * a.kw;
    Turn t = { 0, 0 };

    for (int at = blockIdx.x; at < items_of<N, TALL>(a); at += gridDim.x) {
        Item i = item_of<N, TALL>(a, at);
        for (int k = 0; k < a.kt; k++)
            for (int c = 0; c < a.c; c += PANEL)
                for (int tap = 0; tap < taps; tap++) {
                    barrier_wait(r.w_empty + t.at, t.parity ^ 1);
                    barrier_expect(r.w_full + t.at, N * PANEL_BYTES);
                    copy_box(r.w + t.at * N * PANEL_BYTES, m.w, c, k * taps + tap, i.o,
                             r.w_full + t.at);
                    go_on<STAGES>(&t);
                }
    }
}

/* The warp has done with what a barrier guards. */
LV_INLINE void done_with(uint64_t *empty)
{
    if (threadIdx.x % WARP == 0)
        barrier_arrive(empty);
}

/* Start c[h] += the tap's pixels of square h times its weights, `deep` times 16 channels. */
template <int N, int TALL>
LV_INLINE void start_tap(float c[TALL][N / 8][4], uint64_t x, uint64_t w, int down, int deep,
                         int add)
{
    products_begin();
    for (int k = 0; k < deep; k++)
#pragma unroll
        for (int h = 0; h < TALL; h++)
            product_shared<N>(c[h], x + h * down + 2 * k, w + 2 * k, add || k > 0);
    products_commit();
}

/* All taps of an item. Matmuls of one tap run while the next one's are started; what the one
 * before it read is given back then. */
template <int N, int TALL, int STAGES>
LV_INLINE void sum_taps(float c[TALL][N / 8][4], const LvProductArgs &a, const Room &r,
                        Turn *patch, Turn *w)
{
    const int team = threadIdx.x / WARPGROUP - 1, pitch = WIDE + a.kw - 1;
    const uint64_t squares = operand_apart(r.patch, 16, pitch * PANEL_BYTES) +
                             team * SIDE * PANEL_BYTES / 16;
    const uint64_t weights = operand(r.w, 16);
    int w_done = -1, patch_done = -1; /* in their rings */

    for (int k = 0; k < a.kt; k++)
        for (int ch = 0; ch < a.c; ch += PANEL) {
            int deep = (min((int)PANEL, a.c - ch) + 15) / 16;
            barrier_wait(r.patch_full + patch->at, patch->parity);
            for (int u = 0; u < a.kh; u++)
                for (int v = 0; v < a.kw; v++) {
                    int row = u * pitch + v;
                    barrier_wait(r.w_full + w->at, w->parity);
                    start_tap<N, TALL>(c, squares + (patch->at * Patch<TALL>::BYTES +
                                                     row * PANEL_BYTES) / 16,
                                       weights + w->at * N * PANEL_BYTES / 16,
                                       SIDE * pitch * PANEL_BYTES / 16, deep,
                                       k + ch + row > 0);
                    products_wait<1>();
                    if (w_done >= 0)
                        done_with(r.w_empty + w_done);
                    if (patch_done >= 0)
                        done_with(r.patch_empty + patch_done);
                    patch_done = -1;
                    w_done     = w->at;
                    go_on<STAGES>(w);
                }
            patch_done = patch->at;
            go_on<PATCHES>(patch);
        }
    products_wait<0>();
    done_with(r.w_empty + w_done);
    done_with(r.patch_empty + patch_done);
#pragma unroll
    for (int h = 0; h < TALL; h++)
        hold<N / 8>(c[h]);
}

/* Of four neighbouring threads, number t gives x[n] to thread n and gets its x[t]. */
LV_INLINE void exchange(float2 x[4])
{
    int t = threadIdx.x % 4;

#pragma unroll
    for (int d = 1; d <= 2; d *= 2)
#pragma unroll
        for (int n = 0; n < 4; n++)
            if (!(n & d)) {
                float2 *mine = &x[n], *theirs = &x[n | d];
                float2 out = t & d ? *mine : *theirs, in;
                in.x = __shfl_xor_sync(0xFFFFFFFFu, out.x, d);
                in.y = __shfl_xor_sync(0xFFFFFFFFu, out.y, d);
                if (t & d)
                    *mine = in;
                else
                    *theirs = in;
            }
}

/* Whether the layer has only what most have, so that the code after the sums is short. */
LV_INLINE int is_plain(const LvProductArgs &a)
{
    return a.o % 8 == 0 && a.act == LV_ACT_NONE && !a.add && a.y_type == LV_BF16 &&
           (!a.r || a.r_type == LV_BF16);
}

LV_INLINE void add8(float v[8], const float w[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] += w[k];
}

/* Eight sums of a pixel, from output channel o on. */
LV_INLINE void finish8_plain(const LvProductArgs &a, size_t pixel, int o, float v[8])
{
    const size_t at = pixel * a.o + o;
    float w[8];

    if (a.bias) {
        get8(a.bias, LV_F32, o, (size_t)-1, w);
        add8(v, w);
    }
    if (a.r) {
        get8(a.r, LV_BF16, at, (size_t)-1, w);
        add8(v, w);
    }
    put8(a.y, LV_BF16, at, (size_t)-1, v);
}

LV_INLINE void finish8(const LvProductArgs &a, size_t pixel, int o, float v[8])
{
    float w[8];

    if (a.bias) {
        row_get8(a.bias, LV_F32, 0, o, a.o, w);
        add8(v, w);
    }
    if (a.r) {
        row_get8(a.r, a.r_type, pixel, o, a.o, w);
        add8(v, w);
    }
    act8(a.act, v);
    if (a.add) {
        row_get8(a.y, a.y_type, pixel, o, a.o, w);
        add8(v, w);
    }
    row_put8(a.y, a.y_type, pixel, o, a.o, v);
}

/* The sums of a square, of which a thread holds parts of two rows of pixels. */
template <int N, int PLAIN>
LV_INLINE void finish_square(float c[N / 8][4], const LvProductArgs &a, const Item &i, int y,
                             int x)
{
    int lane = threadIdx.x % WARP;

    y += threadIdx.x % WARPGROUP / WARP * 2;
    x += lane / 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        size_t pixel = ((size_t)i.frame * a.yo + y + h) * a.xo + x;
#pragma unroll
        for (int n = 0; n < N / 8; n += 4) {
            int o = i.o + (n + lane % 4) * 8;
            float2 p[4];
            float v[8];
#pragma unroll
            for (int k = 0; k < 4; k++)
                p[k] = n + k < N / 8 ? make_float2(c[n + k][2 * h], c[n + k][2 * h + 1])
                                     : make_float2(0, 0);
            exchange(p);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                v[2 * k]     = p[k].x;
                v[2 * k + 1] = p[k].y;
            }
            if (y + h < a.yo && x < a.xo && n + lane % 4 < N / 8 && o < a.o)
                PLAIN ? finish8_plain(a, pixel, o, v) : finish8(a, pixel, o, v);
        }
    }
}

template <int N, int TALL, int STAGES>
LV_INLINE void compute_items(const LvProductArgs &a, const Room &r)
{
    int team = threadIdx.x / WARPGROUP - 1;
    Turn patch = { 0, 0 }, w = { 0, 0 };

    for (int at = blockIdx.x; at < items_of<N, TALL>(a); at += gridDim.x) {
        Item i = item_of<N, TALL>(a, at);
        float c[TALL][N / 8][4];
        sum_taps<N, TALL, STAGES>(c, a, r, &patch, &w);
        if (is_plain(a)) {
#pragma unroll
            for (int h = 0; h < TALL; h++)
                finish_square<N, 1>(c[h], a, i, i.y + h * SIDE, i.x + team * SIDE);
        } else {
#pragma unroll
            for (int h = 0; h < TALL; h++)
                finish_square<N, 0>(c[h], a, i, i.y + h * SIDE, i.x + team * SIDE);
        }
    }
}

template <int N, int TALL, int STAGES>
static __device__ void convolve(const LvProductArgs &a, const Maps &m)
{
    LV_DYNAMIC __align__(1024) unsigned char shared[];
    const Room r = room_of<N, TALL, STAGES>(shared);

    if (threadIdx.x == 0)
        make_barriers<STAGES>(r);
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        registers_down<FEW>();
        if (threadIdx.x == 0)
            copy_patches<N, TALL>(a, m, r);
        else if (threadIdx.x == WARP)
            copy_weights<N, TALL, STAGES>(a, m, r);
    } else {
        registers_up<MANY>();
        compute_items<N, TALL, STAGES>(a, r);
    }
}

#else /* a device that is never given these kernels */

typedef struct Maps {
    const LvTileMap *x, *prev, *w;
} Maps;

template <int N, int TALL, int STAGES>
static __device__ void convolve(const LvProductArgs &, const Maps &)
{
    __trap();
}

#endif

#define CONVOLUTION(name, N, TALL, STAGES)                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)                        \
    name(LV_ARG LvProductArgs a, LV_ARG LvTileMap x, LV_ARG LvTileMap prev,         \
         LV_ARG LvTileMap w)                                                        \
    {                                                                               \
        const Maps m = { &x, &prev, &w };                                           \
                                                                                    \
        convolve<N, TALL, STAGES>(a, m);                                            \
    }

CONVOLUTION(lv_conv_sm90_n16, 16, 2, 8)
CONVOLUTION(lv_conv_sm90_n64, 64, 2, 8)
CONVOLUTION(lv_conv_sm90_n96, 96, 2, 8)
CONVOLUTION(lv_conv_sm90_n128, 128, 2, 8)
CONVOLUTION(lv_conv_sm90_n192, 192, 2, 5)
CONVOLUTION(lv_conv_sm90_low_n64, 64, 1, 8)
CONVOLUTION(lv_conv_sm90_low_n96, 96, 1, 8)
CONVOLUTION(lv_conv_sm90_low_n128, 128, 1, 8)
CONVOLUTION(lv_conv_sm90_low_n192, 192, 1, 6)
