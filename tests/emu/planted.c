/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 *     planted KERNEL
 *
 * Runs a kernel of planted.cu on the emulated GPU, which ends the process with a
 * message where it finds the kernel's error. Status 0: nothing was found.
 */

#include <stdio.h>
#include <string.h>

#include "backend/cuda/args.h"
#include "backend/cuda/driver.h"

enum { N = 64, ROOM = 4 * N, BOX_BYTES = 128 * N };

/* The floats as two rows of 64 channels in bf16, for boxes of 64 rows. */
static int make_map(LvDriver *d, LvTileMap *map, CuAddress x)
{
    const uint64_t dim[3] = { N, 2, 1 }, stride[2] = { 2 * N, 4 * N };
    const uint32_t box[3] = { N, N, 1 }, step[3] = { 1, 1, 1 };

    return d->tile_map(map, CU_TILE_BF16, 3, (void *)(uintptr_t)x, dim, stride, box, step, 0,
                       CU_TILE_SWIZZLE_128, CU_TILE_FETCH_256, 0);
}

static int run(LvDriver *d, const char *name)
{
    char symbol[64];
    int n = N, *host = &n, boxes = strstr(name, "box") != NULL;
    CuAddress x, freed[2];
    CuContext ctx;
    CuStream stream;
    CuModule module;
    CuFunction f;
    LvTileMap map;
    void *args[] = { &x, &n, &map };
    float zeros[N] = { 0 };
    int ret;

    snprintf(symbol, sizeof(symbol), "lv_%s", name);
    if (d->init(0) || d->context_retain(&ctx, 0) || d->context_set(ctx) ||
        d->stream_create(&stream, 0) || d->module_load(&module, "") ||
        d->module_function(&f, module, symbol) || d->mem_alloc(&x, ROOM) ||
        d->mem_alloc(&freed[0], 8 << 20) || d->mem_alloc(&freed[1], 8 << 20) ||
        d->mem_free(freed[0]) || d->upload(x, zeros, ROOM, stream) ||
        d->upload(x, &host, sizeof(host), stream) || make_map(d, &map, x))
        return -1;
    ret = d->launch(f, 1, 1, 1, boxes ? 2 * N : N, 1, 1, boxes ? BOX_BYTES + 8 : 8 * N,
                    stream, args, NULL);
    return ret ? ret : d->stream_sync(stream);
}

static void put_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "planted: %s\n", line);
}

int main(int argc, char **argv)
{
    const LvMsg msg = { put_line, NULL, LV_MSG_WARNING };
    LvDriver d;
    int ret = argc == 2 ? lv_driver_open(&d, &msg) : -1;

    if (ret >= 0)
        ret = run(&d, argv[1]);
    if (ret)
        fprintf(stderr, "planted: %d\n", ret);
    return ret != 0;
}
