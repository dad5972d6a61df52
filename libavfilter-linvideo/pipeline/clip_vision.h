/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "CLIP": features of pictures by CLIP's image tower, for networks that attend to them.
 * It runs once, before denoising: nothing of it stays on the device.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_CLIP_VISION_H
#define LINVIDEO_PIPELINE_CLIP_VISION_H

#include "pipeline/env.h"
#include "pipeline/memory.h"

typedef struct LvClipVision LvClipVision;

/**
 * Describe the tower: all tensors are checked, none is read.
 *
 * @param part of LV_PART_CLIP, of any file; its other tensors are skipped. Outlives the stage,
 *             as env does
 * @param cfg  of lv_part_clip()
 * @param[out] c freed with lv_clip_vision_free(); NULL on error
 * @return 0; -ENOMEM; as lv_weights_bind()
 */
int lv_clip_vision_new(LvClipVision **c, const LvEnv *env, const LvPart *part,
                       const LvClipConfig *cfg);

/** NULL is fine. */
void lv_clip_vision_free(LvClipVision **c);

/** What running needs: nothing of it stays. */
LvNeed lv_clip_vision_need(const LvClipVision *c);

/**
 * Features of nb pictures, one after another.
 *
 * @param pixels   [nb] of the host, each [224,224,3], of lv_prepare_clip()
 * @param features [nb,LV_CLIP_ROWS,cfg.dim] of the host
 * @return 0; LV_ERR_CANCELLED; LV_ERR_MODEL (not finite); errors of files and device
 */
int lv_clip_vision_run(LvClipVision *c, const float *const *pixels, int nb, float *features);

#endif /* LINVIDEO_PIPELINE_CLIP_VISION_H */
