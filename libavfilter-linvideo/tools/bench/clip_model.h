/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A model of Wan's kind with random weights, as files that lie in memory: what opens models by
 * path takes it. Its values are written when they are wanted; before, they take no memory.
 * Floor tools/bench.
 */

#ifndef LINVIDEO_TOOLS_BENCH_CLIP_MODEL_H
#define LINVIDEO_TOOLS_BENCH_CLIP_MODEL_H

#include "base/msg.h"
#include "model/config.h"

typedef struct LvClipModel LvClipModel;

/**
 * Make it: a manifest, the three networks (matrices in bf16, or those of the diffusion
 * transformer in `stored`; all else in f32), a tokenizer that makes a token of a letter.
 *
 * @param cfg    dit, text, vae (LV_VAE_TAE: of the published tiny decoder's widths), and of video
 *               width, height and frames
 * @param stored LV_BF16, LV_F8_E4M3 or LV_Q4_K (in a GGUF file)
 * @param[out] m freed with lv_clip_model_free(); NULL on error
 * @return 0; -ENOMEM or another -errno after a message
 */
int lv_clip_model_new(LvClipModel **m, const LvModelConfig *cfg, LvDtype stored,
                      const LvMsg *msg);

/** NULL is fine. */
void lv_clip_model_free(LvClipModel **m);

/** Path to open it by, while this process has it. */
const char *lv_clip_model_path(const LvClipModel *m);

/** Bytes of all weights. */
size_t lv_clip_model_bytes(const LvClipModel *m);

/** Write all values; it may be open, and nothing of them was read. A rule makes them, the same
 *  each time: matrices keep the size of what they multiply, norms are near 1.
 *  @return 0; -ENOMEM: the host has no room for them; LV_ERR(errno) */
int lv_clip_model_fill(LvClipModel *m);

#endif /* LINVIDEO_TOOLS_BENCH_CLIP_MODEL_H */
