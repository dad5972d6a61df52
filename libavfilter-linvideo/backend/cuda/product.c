/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Our own products in bf16, with what follows them: matrices, and convolutions that never
 * write the unrolled pictures. Convolutions with kernels of compute capability 9.0 where the
 * device and this build have it.
 */

#include "backend/cuda/product.h"
#include "config.h"

/* As kernels/conv_sm90.cu has them: rows of pixels in a tile by half its height; patches in
 * their ring. */
enum { SM90_WIDE = 16, SM90_SIDE = 8, SM90_PATCHES = 2, SM90_THREADS = 384, SM90_SIZE = 3 };

/* Fewer pixels leave the device idle, and fewer channels the tensor cores. */
enum { SM90_PIXELS = 1024, SM90_CHANNELS = 16 };

typedef struct Sm90 {
    int kernel;
    int n;       /* output channels of an item */
    int tall;    /* squares that a warpgroup has */
    int stages;  /* of weights */
} Sm90;

static const Sm90 sm90[] = {
    { LV_K_conv_sm90_n16, 16, 2, 8 },    { LV_K_conv_sm90_n64, 64, 2, 8 },
    { LV_K_conv_sm90_n96, 96, 2, 8 },    { LV_K_conv_sm90_n128, 128, 2, 8 },
    { LV_K_conv_sm90_n192, 192, 2, 5 },  { LV_K_conv_sm90_low_n64, 64, 1, 8 },
    { LV_K_conv_sm90_low_n96, 96, 1, 8 }, { LV_K_conv_sm90_low_n128, 128, 1, 8 },
    { LV_K_conv_sm90_low_n192, 192, 1, 6 },
};

static int is_sm90(const LvCuda *cu, const LvProductArgs *a)
{
    int wanted = a->rows >= SM90_PIXELS && a->c >= SM90_CHANNELS;

    if (cu->newest)
        wanted = cu->newest >= 90;
    return HAVE_SM90A && cu->arch == 90 && wanted && a->yi > 1 && a->stride == 1 &&
           a->spread == 1 && a->kh <= SM90_SIZE && a->kw <= SM90_SIZE;
}

/* Output channels of an item: such that few are wasted, and many share a patch. */
static int width_of(int o)
{
    static const uint8_t widths[] = { 192, 128, 96, 64 };

    if (o <= 16)
        return 16;
    for (int i = 0; i < LV_COUNT(widths); i++)
        if (o % widths[i] == 0)
            return widths[i];
    return o <= 64 ? 64 : o <= 96 ? 96 : 128;
}

static size_t items_of(const LvProductArgs *a, int n, int tall)
{
    return (size_t)(a->rows / (a->yo * a->xo)) *
           lv_cuda_split((size_t)a->yo, (size_t)(tall * SM90_SIDE)) *
           lv_cuda_split((size_t)a->xo, SM90_WIDE) * lv_cuda_split((size_t)a->o, (size_t)n);
}

/* A low tile takes somewhat more than half as long as a tall one: tall ones, unless that
 * leaves many multiprocessors without work in the end. */
static const Sm90 *choose(const LvCuda *cu, const LvProductArgs *a)
{
    int n = width_of(a->o);
    size_t waves[3], nb = (size_t)cu->processors;
    const Sm90 *k = sm90;

    for (int tall = 1; tall <= 2; tall++)
        waves[tall] = lv_cuda_split(items_of(a, n, tall), nb);
    while (k->n != n || (n > 16 && k->tall == 2 && 11 * waves[1] < 20 * waves[2]))
        k++;
    return k;
}

/* Of pictures, in boxes of a patch; of weights, in boxes of n outputs of one tap. */
static int map_pictures(LvCuda *cu, LvTileMap *map, const LvProductArgs *a, const void *data,
                        int frames, int tall)
{
    const uint64_t c = (uint64_t)a->c, x = (uint64_t)a->xi, y = (uint64_t)a->yi;
    const uint64_t dim[4] = { c, x, y, (uint64_t)frames };
    const uint32_t box[4] = { 64, (uint32_t)(SM90_WIDE + a->kw - 1),
                              (uint32_t)(tall * SM90_SIDE + a->kh - 1), 1 };

    return lv_cuda_map(cu, map, CU_TILE_BF16, 4, data, dim, box);
}

static int map_weights(LvCuda *cu, LvTileMap *map, const LvProductArgs *a, int n)
{
    const uint64_t dim[3] = { (uint64_t)a->c, (uint64_t)(a->kt * a->kh * a->kw),
                              (uint64_t)a->o };
    const uint32_t box[3] = { 64, 1, (uint32_t)n };

    return lv_cuda_map(cu, map, CU_TILE_BF16, 3, a->w, dim, box);
}

static int launch_sm90(LvCuda *cu, const LvProductArgs *a)
{
    const Sm90 *k = choose(cu, a);
    int frames    = (a->rows / (a->yo * a->xo) - 1) * a->step + a->kt - a->before, ret;
    size_t rows   = (size_t)(k->tall * SM90_SIDE + 2) * (SM90_WIDE + 2);
    size_t shared = SM90_PATCHES * LV_ROUND_UP(128 * rows, (size_t)1024) +
                    (size_t)k->stages * (size_t)k->n * 128 +
                    16 * (size_t)(SM90_PATCHES + k->stages);
    LvGrid grid = { LV_MIN(items_of(a, k->n, k->tall), (size_t)cu->processors), 1, 1,
                    SM90_THREADS, shared };
    LvTileMap x, prev, w;

    if ((ret = map_pictures(cu, &x, a, a->x, frames, k->tall)) < 0 ||
        (ret = map_weights(cu, &w, a, k->n)) < 0)
        return ret;
    prev = x;
    if (a->before && (ret = map_pictures(cu, &prev, a, a->prev, a->before, k->tall)) < 0)
        return ret;
    return lv_cuda_launch(cu, k->kernel, grid, (void *[]) { (void *)a, &x, &prev, &w });
}

int lv_cuda_product(LvCuda *cu, const LvProductArgs *a)
{
    size_t cols = a->o > 64 ? 128 : 64;
    LvGrid grid = { lv_cuda_split((size_t)a->o, cols) *
                    lv_cuda_split((size_t)a->rows, 128), 1, 1, 128,
                    3 * 128 * (128 + cols) };

    if (is_sm90(cu, a))
        return launch_sm90(cu, a);
    return a->o > 64 ? LV_LAUNCH(cu, product_bf16_wide, grid, (void *)a)
                     : LV_LAUNCH(cu, product_bf16_slim, grid, (void *)a);
}
