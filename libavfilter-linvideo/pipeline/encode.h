/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Stage "encode": prompts to ids to features. The encoder is large and runs before the other
 * networks are there, layer by layer: a layer's weights are read, used for all prompts that
 * were handed in, and let go. On another device than the host the next layer is read
 * meanwhile, to the other half of memory that all layers use in turn; where there is memory
 * for it, all of them stay.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_ENCODE_H
#define LINVIDEO_PIPELINE_ENCODE_H

#include <stdio.h>

#include "pipeline/cache.h"
#include "pipeline/memory.h"

typedef struct LvEncode LvEncode;

/** Ids of a prompt, </s> included. */
typedef struct LvIds {
    int32_t *id; ///< [nb]; NULL: none yet
    int nb;      ///< at most cfg.dit.text_len
    const char *what; ///< in messages: "negative prompt"; NULL: "prompt"
} LvIds;

/**
 * Open the tokenizer and check the encoder's tensors.
 *
 * @param env   outlives the stage
 * @param[out] t freed with lv_encode_free(); NULL on error
 * @return 0; -ENOMEM; LV_ERR_MODEL (no tokenizer, or of another encoder); as lv_umt5_bind()
 */
int lv_encode_new(LvEncode **t, const LvEnv *env, enum LvCacheMode cache);

void lv_encode_free(LvEncode **t);

/** What running nb prompts of full length at once needs, beside layers that stay. @return 0,
 *  -ENOMEM, as lv_program_new() */
int lv_encode_need(LvEncode *t, int nb, LvNeed *need);

/** Memory of another device that it may take beside its need, none to begin with: with room
 *  for one more layer, that layer is read while the one before it is used. */
void lv_encode_spare(LvEncode *t, size_t bytes);

/** Memory of another device that is left when all stages are there and the encoder runs, none to
 *  begin with: where it holds all layers, they stay in it between runs. */
void lv_encode_keep(LvEncode *t, size_t bytes);

/** Free what stays. */
void lv_encode_drop(LvEncode *t);

/**
 * Ids of a prompt. What is longer than the model takes is cut, with a warning, where the
 * model's own reference does so, and else an error.
 *
 * @param ids replaced; kept as they were after an error. Freed with lv_ids_free()
 * @return 0; -EINVAL (too long, no UTF-8); -ENOMEM; LV_ERR_MODEL
 */
int lv_encode_tokenize(const LvEncode *t, LvIds *ids, const char *prompt);

void lv_ids_free(LvIds *ids);

/**
 * Features of prompts, from the cache or by the encoder. A weight is read once for all of
 * them; they are taken in groups of at most 64, and of 256 MiB of the device.
 *
 * @param ids      [nb]
 * @param features [nb] of the host, each [cfg.dit.text_len,cfg.dit.text_dim]: rows behind
 *                 the prompt's own become zero
 * @return 0; LV_ERR_CANCELLED; LV_ERR_MODEL (not finite); errors of files and device
 */
int lv_encode_run(LvEncode *t, const LvIds *ids, int nb, float *const *features);

/** Add what running such prompts costs, none of them from the cache. @return 0, -ENOMEM, as
 *  lv_program_new() */
int lv_encode_cost(LvEncode *t, const LvIds *ids, int nb, const LvRates *rates, LvCost *cost);

/** Print the encoder's program for a prompt of full length. @return 0 or an error */
int lv_encode_dump(LvEncode *t, FILE *to);

#endif /* LINVIDEO_PIPELINE_ENCODE_H */
