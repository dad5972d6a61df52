/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Small frames while a clip is sampled: a pixel for each latent, by a linear map from its channels.
 * For the latents of Wan2.1 and Wan2.2 it is the one that ComfyUI has published
 * (comfy/latent_formats.py, Wan21 and Wan22); for those of other decoders, TAEHV's, it is fitted
 * to the decoder, by least squares over blocks of random latents.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_PREVIEW_H
#define LINVIDEO_PIPELINE_PREVIEW_H

#include "pipeline/env.h"

enum { LV_PREVIEW_CHANNELS = 48 };

/** rgb = bias + sum over c of factor[c] z[c], 0 to 1 when in range. */
typedef struct LvPreviewMap {
    int channels;
    float bias[3];
    float factor[LV_PREVIEW_CHANNELS][3];
} LvPreviewMap;

/** Those of Wan's latents; NULL: there are none of so many channels. */
const LvPreviewMap *lv_preview_wan(int channels);

/**
 * The map for env's decoder. Where it is fitted the decoder is loaded, run and freed again.
 *
 * @return 0; -ENOMEM; LV_ERR_UNSUPPORTED: no map of so many channels; as of decoding
 */
int lv_preview_map(LvPreviewMap *m, const LvEnv *env);

/** Map latents z [channels,n] to rgb [n,3], 8 bits. */
void lv_preview_make(const LvPreviewMap *m, const float *z, size_t n, uint8_t *rgb);

#endif /* LINVIDEO_PIPELINE_PREVIEW_H */
