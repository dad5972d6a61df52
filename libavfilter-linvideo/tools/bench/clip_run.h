/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * One clip's whole way through a session, as `linvideo generate` has it: opening, loading,
 * text, denoising, decoding, delivery. Models are of Wan's sizes with random weights, in memory.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_CLIP_RUN_H
#define LINVIDEO_TOOLS_BENCH_CLIP_RUN_H

#include "tools/bench/bench.h"

/** Models and their clips: w->a. */
enum { LV_CLIP_1_3B_480P, LV_CLIP_1_3B_720P, LV_CLIP_14B_480P, LV_CLIP_14B_720P, LV_CLIP_TINY };

/** Layers of the network of a kind. */
int lv_clip_layers(int kind);

/**
 * Make b->reps of three clips: the first of a session, one of another prompt, one of the same
 * prompt. Print the seconds of each stage, and how much of them is left at the rates b->ceiling,
 * b->copy and b->send. With b->clip.plan: open the session and print what it takes, no more.
 * b->dev is not used: the session opens a device of its own.
 *
 * @return 0 or an error
 */
int lv_clip_run(LvBench *b, const LvWork *w);

#endif /* LINVIDEO_TOOLS_BENCH_CLIP_RUN_H */
