/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the forward kernels of softmax attention for compute capability 9.0 share, of bf16 and of
 * e4m3: threads, items, rings, and the softmax of a tile of scores.
 */

#ifndef LINVIDEO_KERNELS_ATTENTION_ITEMS_CUH
#define LINVIDEO_KERNELS_ATTENTION_ITEMS_CUH

#include "attention.cuh"
#include "lv_hopper.cuh"

enum { THREADS = 3 * WARPGROUP, TEAMS = 2, ROWS = 64 * TEAMS };

/* Registers of a thread that copies, and of one that computes. */
enum { FEW = 24, MANY = 240 };

#define ATTENTION extern "C" __global__ void __launch_bounds__(THREADS, 1)

#if LV_HOPPER

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

/* Shared memory: queries, tiles of keys, tiles of values, of so many bytes, then barriers. */
template <int Q, int K, int V, int S> struct Rings {
    enum { QUERIES = Q, KEYS = K, VALUES = V, STAGES = S };
    unsigned char *q, *k, *v;
    uint64_t *q_full, *q_empty, *k_full, *k_empty, *v_full, *v_empty;
};

template <class R> LV_INLINE R rings_of(unsigned char *memory)
{
    const int n = R::STAGES;
    unsigned char *k = memory + R::QUERIES, *v = k + n * R::KEYS;
    uint64_t *b = (uint64_t *)(v + n * R::VALUES);
    R r = { memory, k, v, b, b + 1, b + 2, b + 2 + n, b + 2 + 2 * n, b + 2 + 3 * n };

    return r;
}

/* Full barriers wait for the thread that copies, empty ones for each warp. */
template <class R> LV_INLINE void make_barriers(const R &r)
{
    barrier_make(r.q_full, 1);
    barrier_make(r.q_empty, 4 * TEAMS);
#pragma unroll
    for (int s = 0; s < R::STAGES; s++) {
        barrier_make(r.k_full + s, 1);
        barrier_make(r.k_empty + s, 4 * TEAMS);
        barrier_make(r.v_full + s, 1);
        barrier_make(r.v_empty + s, 4 * TEAMS);
    }
    barriers_made();
}

/* The warp has done with what a barrier guards. */
LV_INLINE void done_with(uint64_t *empty)
{
    if (threadIdx.x % WARP == 0)
        barrier_arrive(empty);
}

/* What a team does whose rows are behind the last query: it gives all back. */
template <class R> LV_INLINE void sit_out(const R &r, const Work &w, int team, unsigned n)
{
    done_with(r.q_empty);
    for (int j = 0; j < w.tiles; j++, n++) {
        int at = stage_of<R::STAGES>(n), turn = turn_of<R::STAGES>(n);
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

/* What a team keeps of its 64 rows, a thread two of them. */
template <int D> struct Rows {
    float o[D / 8][4], max[2], sum[2];
};

#endif /* LV_HOPPER */

#endif /* LINVIDEO_KERNELS_ATTENTION_ITEMS_CUH */
