/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Features of prompts on disk, so that a large text encoder is read once for each prompt:
 * $XDG_CACHE_HOME/linvideo/prompts/HASH.safetensors, HASH being that of the key, which the
 * file holds too: sizes and settings of the encoder, precision, device, a hash of the
 * encoder's files (size and time of change; names and types of their tensors and a sample of
 * their bytes), and the ids. What can't be read or written is passed over; what is damaged is
 * made again, with a warning. Files that were used least recently are removed when all
 * together are larger than 512 MiB.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_CACHE_H
#define LINVIDEO_PIPELINE_CACHE_H

#include "pipeline/env.h"

/** Whether features of prompts are kept on disk: AUTO where the encoder is of 256 MiB or
 *  more. The same values as enum LinvideoCache. */
enum LvCacheMode { LV_CACHE_AUTO, LV_CACHE_OFF, LV_CACHE_ON };

/** 1: the mode and the encoder want a cache. */
int lv_cache_is_on(const LvEnv *env, enum LvCacheMode mode);

/** Features [nb,cfg.text.dim] of ids, of the host, from disk. 1: they were there; 0: not. */
int lv_cache_load(const LvEnv *env, const int32_t *ids, int nb, float *features);

/** The same to it. */
void lv_cache_store(const LvEnv *env, const int32_t *ids, int nb, const float *features);

#endif /* LINVIDEO_PIPELINE_CACHE_H */
