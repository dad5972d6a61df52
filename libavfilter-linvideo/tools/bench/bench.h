/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A measurement of the command `bench`: its options, and memory for the work at hand.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_BENCH_H
#define LINVIDEO_TOOLS_BENCH_BENCH_H

#include <linvideo/linvideo.h>

#include "backend/device.h"
#include "base/safetensors.h"
#include "graph/graph.h"
#include "graph/program.h"
#include "model/config.h"
#include "model/params.h"
#include "model/weights.h"
#include "tools/share/probe.h"

enum { LV_BENCH_INPUTS = 2 * LV_MAX_LAYERS + 8, LV_BENCH_LAYERS = LV_MAX_LAYERS + 1 };

/** Memory given to the network: an external tensor. */
typedef struct LvBenchInput {
    LvTensor tensor;
    void *data;
} LvBenchInput;

typedef struct LvBenchBlock LvBenchBlock;

/** How clips are made. */
typedef struct LvClipOptions {
    LinvideoParams params; ///< size, frames of a clip, steps, guidance, tile and memory; 0: the
                           ///< kind's own, 4 steps, no guidance
    int linear;     ///< layers of the network; -1: 16 of 30, or as many of others
    int tiny;       ///< 1: by the tiny decoder
    LvDtype stored; ///< type of the network's matrices in its file: as of lv_clip_model_new()
    int plan;       ///< 1: they are planned, not made
    char given[64]; ///< name of an option that was given; "": none was
} LvClipOptions;

typedef struct LvBench {
    LvDevice *dev;
    LvMsg msg;
    LvDtype act;      ///< of activations, and of the weights of matmuls
    int reps, ops, json;
    int threads, precision;
    enum LvMatmul matmul; ///< of blocks
    const char *type;     ///< of matmuls
    int small;        ///< 1: shapes are cut down, to try the command
    const char *device;
    LvProbe probe;    ///< of the CPU
    double ceiling;   ///< GFLOP/s
    double copy;      ///< GB/s read and written; 0: not measured
    double send;      ///< GB/s to the device's memory; 0: not measured
    char about[96];   ///< the device
    LvClipOptions clip;
    int printed;      ///< works reported so far

    /* of the work at hand */
    LvGraph *graph;
    LvProgram *program;
    void *arena;
    LvBenchBlock *blocks; ///< weights of single ops
    int nb_weights;
    void *bytes;      ///< of file
    LvSafetensors *file;
    LvSource *source; ///< of file
    LvParams *params; ///< of a network in training
    LvWeights *weights; ///< of a network
    LvBenchInput input[LV_BENCH_INPUTS];
    int nb_inputs;
    double times[LV_BENCH_LAYERS]; ///< how often the records of a layer count
    char note[256];   ///< printed below the result
    uint32_t random;
} LvBench;

/** Devices on which a work runs when no name is given. */
enum LvWorkChoice { LV_NEVER, LV_ON_CPU, LV_ON_GPU, LV_ALWAYS };

/** Something to be timed. */
typedef struct LvWork {
    const char *name;
    /** Trace it into b->graph: 0 or an error. NULL: whole clips of kind a, see clip_run.h. */
    int (*trace)(LvBench *b, const struct LvWork *w);
    int a, b, c;       ///< what trace makes of them
    enum LvWorkChoice chosen; ///< whether it runs when no name is given
    int tokens;        ///< > 0: time per token is of interest
    const char *about;
} LvWork;

/** A size of a shape: cut down with --small. */
static inline int lv_bench_cut(const LvBench *b, int n)
{
    return b->small ? LV_MIN(n, 128) : n;
}

/** The next random number of [-1, 1): none is denormal. */
float lv_bench_random(LvBench *b);

/** A weight of random values; absent, and the graph fails at its use, when there is no
 *  memory. Freed with lv_bench_clear(). */
LvTensor lv_bench_weight(LvBench *b, LvDtype type, int rank, const int *dim);

/** Note that t is an external tensor of the graph. Returns t. */
LvTensor lv_bench_input(LvBench *b, LvTensor t);

#define LV_BENCH_WEIGHT(b, type, rank, ...) \
    lv_bench_weight(b, type, rank, (const int[LV_MAX_RANK]) { __VA_ARGS__ })

#define LV_BENCH_INPUT(b, type, rank, ...) \
    lv_bench_input(b, lv_external((b)->graph, "input", type, rank, \
                                  (const int[LV_MAX_RANK]) { __VA_ARGS__ }))

/** Give all inputs memory with random values, and bind them. 0 or an error. */
int lv_bench_bind_inputs(LvBench *b);

/** Free all of the work at hand. */
void lv_bench_clear(LvBench *b);

#endif /* LINVIDEO_TOOLS_BENCH_BENCH_H */
