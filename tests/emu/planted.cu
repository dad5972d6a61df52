/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Kernels with one error each, that the emulated GPU has to find, and a few without.
 * All run in one block of 64 threads, with 512 bytes of shared memory, on n floats; those
 * with boxes in one of 128 threads, with room for a box of 64 rows and a barrier.
 */

#include "lv_hopper.cuh"

#define LV_KERNELS_PLANTED(X)                                                       \
    X(fine_turn) X(fine_warp) X(fine_async)                                         \
    X(read_behind) X(write_behind) X(read_freed) X(write_host) X(shared_behind)     \
    X(shared_unset) X(shared_unset_fixed) X(misaligned) X(misaligned_shared)        \
    X(other_barriers) X(lost_barrier) X(other_shuffles) X(race_write) X(race_read)  \
    X(race_back) X(race_async) X(early_async)                                       \
    X(fine_box) X(early_box) X(race_box) X(lost_box) X(other_box) X(unmade_box)     \
    X(fine_panel_box) X(early_panel_box) X(race_panel_box)                          \
    X(fine_back_box) X(early_back_box) X(race_back_box) X(lost_back_box)

/* Without errors */

LV_KERNEL lv_fine_turn(float *x, int n)
{
    LV_DYNAMIC float mem[];
    int i = threadIdx.x;

    mem[i] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n)
        x[i] = mem[(i + 1) % n];
}

LV_KERNEL lv_fine_warp(float *x, int n)
{
    __shared__ float part[64];
    int i = threadIdx.x, other = i ^ 1;

    part[i] = i < n ? x[i] : 0;
    __syncwarp();
    part[i] += warp_sum(part[other]);
    if (i < n)
        x[i] = part[i];
}

LV_KERNEL lv_fine_async(float *x, int n)
{
    LV_DYNAMIC uint4 shared[];
    int i = threadIdx.x;

    if (i < 16)
        copy_async(shared + i, (uint4 *)x + i, i < n / 4);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    if (i < n)
        x[i] = ((float *)shared)[(i + 1) % n];
}

/* Memory of the device */

LV_KERNEL lv_read_behind(float *x, int n)
{
    if (threadIdx.x == 0)
        x[0] = x[n];
}

LV_KERNEL lv_write_behind(float *x, int n)
{
    if (threadIdx.x == 5)
        x[n] = 1;
}

LV_KERNEL lv_read_freed(float *x, int n)
{
    if (threadIdx.x == 0)
        x[0] = x[(1 << 20) + n];
}

LV_KERNEL lv_write_host(float *x, int n)
{
    float *host;

    memcpy(&host, x, sizeof(host));
    if (threadIdx.x == 0)
        host[0] = n;
}

/* Shared memory */

LV_KERNEL lv_shared_behind(float *x, int n)
{
    LV_DYNAMIC float mem[];

    mem[threadIdx.x + 65] = n;
    __syncthreads();
    x[threadIdx.x % n] = 0;
}

LV_KERNEL lv_shared_unset(float *x, int n)
{
    LV_DYNAMIC float mem[];

    if (threadIdx.x != 7)
        mem[threadIdx.x] = n;
    __syncthreads();
    x[threadIdx.x % n] = mem[threadIdx.x] > 0;
}

LV_KERNEL lv_shared_unset_fixed(float *x, int n)
{
    __shared__ float part[64];

    if (threadIdx.x != 7)
        part[threadIdx.x] = n;
    __syncthreads();
    x[threadIdx.x % n] = part[threadIdx.x] > 0;
}

/* Alignment */

LV_KERNEL lv_misaligned(float *x, int n)
{
    float4 v = *(const float4 *)(x + 1);

    x[threadIdx.x % n] = v.x + v.y + v.z + v.w;
}

LV_KERNEL lv_misaligned_shared(float *x, int n)
{
    LV_DYNAMIC uint4 shared[];

    ((float *)shared)[threadIdx.x] = n;
    __syncthreads();
    if (threadIdx.x == 0)
        *(uint4 *)x = *(const uint4 *)((const float *)shared + 2);
}

/* Barriers */

LV_KERNEL lv_other_barriers(float *x, int n)
{
    if (threadIdx.x < 32) {
        x[threadIdx.x % n] = 1;
        __syncthreads();
    } else {
        __syncthreads();
    }
}

LV_KERNEL lv_lost_barrier(float *x, int n)
{
    if (threadIdx.x % 32 < 16)
        __syncthreads();
    x[threadIdx.x % n] = warp_sum(1);
}

LV_KERNEL lv_other_shuffles(float *x, int n)
{
    float v = threadIdx.x;

    if (threadIdx.x % 2)
        v = __shfl_xor_sync(0xFFFFFFFFu, v, 1);
    else
        __syncwarp();
    x[threadIdx.x % n] = v;
}

/* Threads in each other's way */

LV_KERNEL lv_race_write(float *x, int n)
{
    LV_DYNAMIC float mem[];

    mem[threadIdx.x / 2] = threadIdx.x;
    __syncthreads();
    x[threadIdx.x % n] = mem[0];
}

LV_KERNEL lv_race_read(float *x, int n)
{
    LV_DYNAMIC float mem[];

    mem[threadIdx.x] = n;
    x[threadIdx.x % n] = mem[threadIdx.x & ~1];
}

LV_KERNEL lv_race_back(float *x, int n)
{
    LV_DYNAMIC float mem[];

    mem[threadIdx.x] = n;
    __syncthreads();
    mem[threadIdx.x] = mem[(threadIdx.x + 1) % 64];
    x[threadIdx.x % n] = 1;
}

/* The next copy starts while others may still read. */
LV_KERNEL lv_race_async(float *x, int n)
{
    LV_DYNAMIC uint4 shared[];
    float sum = 0;

    for (int k = 0; k < 2; k++) {
        if (threadIdx.x < 16)
            copy_async(shared + threadIdx.x, (uint4 *)x, 1);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        sum += ((float *)shared)[(threadIdx.x + 20) % 64];
    }
    x[threadIdx.x % n] = sum;
}

/* Nobody waits for the copy. */
LV_KERNEL lv_early_async(float *x, int n)
{
    LV_DYNAMIC uint4 shared[];

    if (threadIdx.x < 16)
        copy_async(shared + threadIdx.x, (uint4 *)x, 1);
    copy_commit();
    __syncthreads();
    x[threadIdx.x % n] = ((float *)shared)[threadIdx.x];
}

/* Boxes and products of a warpgroup: x x^T, x being 64 rows in bf16 */

enum { BOX = 64, BOX_BYTES = BOX * PANEL_BYTES };

#define LV_BOX_KERNEL(name) LV_KERNEL name(float *x, int n, LV_ARG LvTileMap map)

/* Copy the box, without waiting for it. */
LV_INLINE uint64_t *start_box(uint4 *box, const LvTileMap *map)
{
    uint64_t *b = (uint64_t *)(box + BOX_BYTES / 16);

    if (threadIdx.x == 0) {
        barrier_make(b, 1);
        barriers_made();
        barrier_expect(b, BOX_BYTES);
        copy_box(box, map, 0, 0, 0, b);
    }
    __syncthreads();
    return b;
}

LV_INLINE void start_product(float c[BOX / 8][4], const uint4 *box)
{
    products_begin();
    for (int k = 0; k < 4; k++)
        product_shared<BOX>(c, operand(box, 16) + 2 * k, operand(box, 16) + 2 * k, k > 0);
    products_commit();
}

LV_BOX_KERNEL(lv_fine_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    start_product(c, shared);
    products_wait<0>();
    x[threadIdx.x % n] = c[0][0];
}

/* Nobody waits for the copy. */
LV_BOX_KERNEL(lv_early_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    start_box(shared, &map);
    start_product(c, shared);
    products_wait<0>();
    x[threadIdx.x % n] = c[0][0];
}

/* The next copy starts while the product may still read. */
LV_BOX_KERNEL(lv_race_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];
    uint64_t *b = start_box(shared, &map);

    barrier_wait(b, 0);
    start_product(c, shared);
    if (threadIdx.x == 0) {
        barrier_expect(b, BOX_BYTES);
        copy_box(shared, &map, 0, 1, 0, b);
    }
    products_wait<0>();
    barrier_wait(b, 1);
    x[threadIdx.x % n] = c[0][0];
}

/* Every thread puts four chunks of a row in the place of the box. */
LV_INLINE void put_rows(uint4 *box, float v)
{
    const float eight[8] = { v, v, v, v, v, v, v, v };

    for (int i = 0; i < 4; i++)
        panel_put8((unsigned char *)box, threadIdx.x / 2, threadIdx.x % 2 * 4 + i, eight);
}

LV_BOX_KERNEL(lv_fine_panel_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    put_rows(shared, 2);
    panels_put();
    __syncthreads();
    start_product(c, shared);
    products_wait<0>();
    __syncthreads();
    put_rows(shared, c[0][0]);
    x[threadIdx.x % n] = c[0][0];
}

/* Nobody says that the rows are put. */
LV_BOX_KERNEL(lv_early_panel_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    put_rows(shared, 2);
    __syncthreads();
    start_product(c, shared);
    products_wait<0>();
    x[threadIdx.x % n] = c[0][0];
}

/* Rows are put while the product may still read. */
LV_BOX_KERNEL(lv_race_panel_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    start_product(c, shared);
    put_rows(shared, 2);
    products_wait<0>();
    x[threadIdx.x % n] = c[0][0];
}

/* Rows are put, and go to where the box came from. */
LV_INLINE void put_back(uint4 *box, const LvTileMap *map, int say)
{
    barrier_wait(start_box(box, map), 0);
    put_rows(box, 2);
    if (say)
        panels_put();
    __syncthreads();
    if (threadIdx.x == 0)
        store_box(box, map, 0, 0, 0);
}

LV_BOX_KERNEL(lv_fine_back_box)
{
    LV_DYNAMIC uint4 shared[];

    put_back(shared, &map, 1);
    if (threadIdx.x == 0)
        stores_read();
    __syncthreads();
    put_rows(shared, x[n - 1]);
}

/* Nobody says that the rows are put. */
LV_BOX_KERNEL(lv_early_back_box)
{
    LV_DYNAMIC uint4 shared[];

    put_back(shared, &map, 0);
    if (threadIdx.x == 0)
        stores_read();
    x[threadIdx.x % n] = 1;
}

/* Rows are put while the box goes back. */
LV_BOX_KERNEL(lv_race_back_box)
{
    LV_DYNAMIC uint4 shared[];

    put_back(shared, &map, 1);
    __syncthreads();
    put_rows(shared, x[n - 1]);
    if (threadIdx.x == 0)
        stores_read();
}

/* Nobody waits for the box that goes back. */
LV_BOX_KERNEL(lv_lost_back_box)
{
    LV_DYNAMIC uint4 shared[];

    put_back(shared, &map, 1);
    x[threadIdx.x % n] = 1;
}

/* Nobody waits for the product. */
LV_BOX_KERNEL(lv_lost_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    start_product(c, shared);
    x[threadIdx.x % n] = c[0][0];
}

/* A warp takes another operand. */
LV_BOX_KERNEL(lv_other_box)
{
    LV_DYNAMIC uint4 shared[];
    float c[BOX / 8][4];

    barrier_wait(start_box(shared, &map), 0);
    products_begin();
    product_shared<BOX>(c, operand(shared, 16), operand(shared, 16) + threadIdx.x / 96, 0);
    products_commit();
    products_wait<0>();
    x[threadIdx.x % n] = c[0][0];
}

/* The barrier is not made yet. */
LV_BOX_KERNEL(lv_unmade_box)
{
    LV_DYNAMIC uint4 shared[];

    barrier_wait((uint64_t *)(shared + BOX_BYTES / 16), 0);
    x[threadIdx.x % n] = map.data[0] > 0;
}
