/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Sums over rows by many threads, the same bits for any number of them.
 * Floor F2 (backend), cpu.
 */

#ifndef LINVIDEO_BACKEND_CPU_REDUCE_H
#define LINVIDEO_BACKEND_CPU_REDUCE_H

#include "backend/cpu/cpu.h"

/**
 * Sums over rows: every group of rows is cut into parts by shapes alone, each part and
 * block of columns is a job, and the parts are added in order.
 */
typedef struct LvSumsJob LvSumsJob;

/** Add row i to sums [j->sums, j->block], of columns col to col + n - 1. */
typedef void (*LvSumRow)(const LvSumsJob *j, size_t i, size_t col, size_t n,
                         float *sums, float *tmp);

struct LvSumsJob {
    LvCpu *cpu;
    const void *args;
    size_t groups, rows; ///< rows in all; divided by groups
    size_t cols, block;  ///< columns of a row and of a job
    size_t sums;         ///< rows of sums of a group; 0: nothing is summed
    size_t parts;        ///< of a group
    float *partial;      ///< [groups,blocks,parts,sums,block]
    LvSumRow row;
};

/** Fill in cpu and parts from the sizes, which are set. */
void lv_cpu_sums_init(LvSumsJob *j, LvDevice *dev);

/** Floats of j->partial. */
size_t lv_cpu_sums_floats(const LvSumsJob *j);

/** Walk over all rows, then add the parts up. @return as lv_cpu_jobs() */
int lv_cpu_sum_rows(LvSumsJob *j);

/** Totals [sums,block] of block i of all groups' blocks, in order. */
float *lv_cpu_totals(const LvSumsJob *j, size_t i);

#endif /* LINVIDEO_BACKEND_CPU_REDUCE_H */
