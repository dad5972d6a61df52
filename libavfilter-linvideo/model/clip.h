/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The image tower of CLIP (ViT-H/14) that image to video of Wan2.1 attends to: features of
 * the class and of 16 x 16 patches, as the last block but one gives them.
 * Floor F4 (model). Source: Wan2.1's reference (open-clip's xlm-roberta-large-vit-huge-14); in
 * transformers' words, hidden_states[-2].
 */

#ifndef LINVIDEO_MODEL_CLIP_H
#define LINVIDEO_MODEL_CLIP_H

#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"

enum { LV_CLIP_PATCH = 14, ///< pixels of a patch, both ways
       LV_CLIP_IN = 3 * LV_CLIP_PATCH * LV_CLIP_PATCH }; ///< its values

typedef struct LvClipBlock {
    LvTensor norm1_w, norm1_b, norm2_w, norm2_b;
    LvTensor qkv_w, qkv_b;           ///< of files that have them together
    LvTensor part_w[3], part_b[3];   ///< q, k and v
    LvTensor proj_w, proj_b, fc1_w, fc1_b, fc2_w, fc2_b;
} LvClipBlock;

typedef struct LvClip {
    LvClipConfig cfg;
    LvTensor cls, places, patch, norm_w, norm_b;
    LvClipBlock *block;  ///< [cfg.layers - 1]: the last one is not run
} LvClip;

/** Bind what is run; the last block, the norm and head behind it, and the text half are
 *  skipped. Zero m first. @return as lv_weights_bind(); -ENOMEM */
int lv_clip_bind(LvClip *m, const LvClipConfig *cfg, LvWeights *w, const char *prefix);

/** Free what bind made (not the weights). */
void lv_clip_free(LvClip *m);

/** What goes in of a picture: x[LV_CLIP_ROWS,LV_CLIP_IN], first a row of zeros for the class,
 *  then the patches; ids[LV_CLIP_ROWS].
 *  @param rgb [224,224,3], of lv_prepare_clip() */
void lv_clip_patches(float *x, int32_t *ids, const float *rgb);

/** Tensors inside, to be watched. */
typedef struct LvClipWatch {
    LvTensor in, block0; ///< [LV_CLIP_ROWS,dim]: what the first block gets and gives
} LvClipWatch;

/**
 * Trace it over one picture.
 *
 * @param x     external [LV_CLIP_ROWS,LV_CLIP_IN] f32
 * @param ids   external [LV_CLIP_ROWS] i32
 * @param dtype of activations between matmuls: f32 or bf16
 * @param watch NULL: nobody looks
 * @return features [LV_CLIP_ROWS,dim] f32
 */
LvTensor lv_clip_trace(LvGraph *g, const LvClip *m, LvTensor x, LvTensor ids, LvDtype dtype,
                       LvClipWatch *watch);

#endif /* LINVIDEO_MODEL_CLIP_H */
