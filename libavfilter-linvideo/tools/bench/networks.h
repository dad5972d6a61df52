/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Whole networks of named shapes, with random weights, to be timed. For LvWork.trace; a, b, c
 * are what each makes of them.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_NETWORKS_H
#define LINVIDEO_TOOLS_BENCH_NETWORKS_H

#include "tools/bench/bench.h"

/** Make n layers linear, spread evenly, the others softmax. */
void lv_make_linear(LvDitConfig *c, int n);

/** Wan's 1.3B network over a tokens, b of its layers linear. */
int lv_trace_wan(LvBench *b, const LvWork *w);

/** The same, too long to run whole: one layer of each kind is, and counts as many. */
int lv_trace_wan_sum(LvBench *b, const LvWork *w);
int lv_trace_wan_14b(LvBench *b, const LvWork *w);

/** Text side of the 1.3B network. */
int lv_trace_wan_text(LvBench *b, const LvWork *w);

/** One linear layer of it, with its cross-attention and MLP, over a tokens. */
int lv_trace_layer(LvBench *b, const LvWork *w);

/** A step's forward and backward passes over a samples at the shapes of
 *  samples/configs/motion.json: text side, network, loss, all gradients. */
int lv_trace_step(LvBench *b, const LvWork *w);

/** The shapes of the model that generate takes by default, of its own clip. */
int lv_trace_motion(LvBench *b, const LvWork *w);

/** The tiny decoder in its published widths (taew2_1): one latent frame of a x a, which
 *  stands for b of them. */
int lv_trace_tae(LvBench *b, const LvWork *w);

/** What that decoder asks for. As lv_part_list(), freed after an error too. */
int lv_list_tae(LvParams **list, const LvTaeConfig *cfg, const char *prefix, LvDevice *dev,
                const LvMsg *msg);

/** Wan's decoder over all of a clip: b latent frames of a x a, or a x c, the first of which
 *  is one frame. */
int lv_trace_wan_vae(LvBench *b, const LvWork *w);
int lv_trace_wan22_vae(LvBench *b, const LvWork *w);

#endif /* LINVIDEO_TOOLS_BENCH_NETWORKS_H */
