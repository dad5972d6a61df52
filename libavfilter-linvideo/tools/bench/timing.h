/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Times of a work.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_TIMING_H
#define LINVIDEO_TOOLS_BENCH_TIMING_H

#include "tools/bench/bench.h"

enum { LV_TIMING_REPS = 1000 };

typedef struct LvTiming {
    double seconds[LV_TIMING_REPS]; ///< of the runs, sorted
    int reps;
    double flops, bytes;
    double *record;           ///< seconds of each record, mean of the runs; freed by the
                              ///< caller
} LvTiming;

/** Trace a work and run it, b->reps times after one to warm up; a run of more than 8 seconds
 *  is not repeated more than twice. The program stays until lv_bench_clear(). Zero r first.
 *  0 or an error. */
int lv_timing_measure(LvBench *b, const LvWork *w, LvTiming *r);

/** Median of the runs. */
double lv_timing_median(const LvTiming *r);

/** How often record i of the program counts. */
double lv_timing_times(const LvBench *b, int i);

/** For qsort(): of two doubles. */
int lv_timing_compare(const void *a, const void *b);

#endif /* LINVIDEO_TOOLS_BENCH_TIMING_H */
