/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A graph planned for a device, made ready, run.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_PROGRAM_H
#define LINVIDEO_GRAPH_PROGRAM_H

#include "graph/graph.h"

/**
 * Plan a graph for a device: check that it runs every op, find live ranges, place
 * temporaries (largest first, lowest free offset), ask every op for its sizes.
 * The records are copied; g may be freed. Weights may be described without being there.
 *
 * @param[out] p freed with lv_program_free(); NULL on error
 * @return 0, the graph's error, -ENOMEM, LV_ERR_UNSUPPORTED (an op, or streamed weights)
 */
int lv_program_new(LvProgram **p, const LvGraph *g, LvDevice *dev);

/** Free *p (not the arena) and set it to NULL. NULL is fine. */
void lv_program_free(LvProgram **p);

LvSizes lv_program_sizes(const LvProgram *p);

/**
 * Choose the matmuls, which needs no weights: lv_program_build() has less to do while weights
 * are on their way. May be left out.
 *
 * @return 0 or the first op's code
 */
int lv_program_ready(LvProgram *p);

/**
 * Make ready to run: temporaries lie in arena (sizes.arena bytes of the device,
 * LV_ALIGN-aligned, not freed here; programs that do not run at the same time may
 * share one), matmuls are prepared, weights taken from where their handles say they lie, and
 * packed. May be called again, with another arena, and has to be when weights have moved.
 */
int lv_program_build(LvProgram *p, void *arena);

/** Give an external tensor or an output its memory, on the device. Cheap; may be
 *  changed between runs. */
void lv_program_bind(LvProgram *p, LvTensor t, void *data);

/** Called before every record; a negative result stops the run with that code. */
typedef int (*LvRunHook)(void *opaque, const LvRecord *next, int index, int count);

/**
 * Run all records. Every external tensor and output must be bound. Where the device
 * can keep a run (LvDeviceFns.record), later runs with the same addresses are started
 * as a whole, after hook was called for every record.
 *
 * @param hook may be NULL
 * @return 0, what hook returned, LV_ERR_DEVICE
 */
int lv_program_run(LvProgram *p, LvRunHook hook, void *opaque);

/** Seconds spent in each record by lv_program_run() are added up from now on in
 *  seconds[count of records] (cleared by the caller); NULL turns it off. */
void lv_program_time(LvProgram *p, double *seconds);

/** Records of the program, in the order of running: those of the graph, but fused ones
 *  (fuse.h). */
int lv_program_count(const LvProgram *p);
const LvRecord *lv_program_record(const LvProgram *p, int i);

/** What a machine does in a second. */
typedef struct LvRates {
    double flops;
    double bytes; ///< of its memory, read or written
    double sent;  ///< bytes that come to its memory
} LvRates;

/** What work takes of it. */
typedef struct LvCost {
    double flops, bytes, sent;
    double seconds; ///< at least: no operation is faster than either rate lets it
} LvCost;

/** Add `times` runs of p to *cost; none of them sends. */
void lv_program_cost(const LvProgram *p, const LvRates *rates, double times, LvCost *cost);

/** Have bytes sent while the rest goes on. */
void lv_cost_send(LvCost *cost, double bytes, const LvRates *rates);

#endif /* LINVIDEO_GRAPH_PROGRAM_H */
