/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the command `bench` times: single ops, and networks.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_WORKS_H
#define LINVIDEO_TOOLS_BENCH_WORKS_H

#include "tools/bench/bench.h"

/** Room for a mark on each of them. */
enum { LV_WORKS = 64 };

/** All works, ended by a name of NULL; fewer than LV_WORKS. */
extern const LvWork lv_works[];

/** By name; NULL: there is none. */
const LvWork *lv_work_find(const char *name);

/** What a GPU does best, by which the rest is judged. */
extern const LvWork lv_best_matmul, lv_best_copy;

#endif /* LINVIDEO_TOOLS_BENCH_WORKS_H */
