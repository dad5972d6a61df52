/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What was measured, as text and as JSON on standard output.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_RATES_H
#define LINVIDEO_TOOLS_BENCH_RATES_H

#include "tools/bench/timing.h"

/** The end of the line above all works: names of the rates. */
const char *lv_rates_head(const LvBench *b);

/** A work's times and rates. */
void lv_rates_print(const LvBench *b, const LvWork *w, const LvTiming *r);
void lv_rates_json(const LvBench *b, const LvWork *w, const LvTiming *r);

#endif /* LINVIDEO_TOOLS_BENCH_RATES_H */
