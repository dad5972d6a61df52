/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Prompts of post-training: from a file, a line each, or drawn from the grammar of
 * captions; and what the text encoder makes of them, once.
 * Floor train/post.
 */

#ifndef LINVIDEO_TRAIN_POST_PROMPTS_H
#define LINVIDEO_TRAIN_POST_PROMPTS_H

#include "train/post/frozen.h"

typedef struct LvPrompts {
    char *text;     ///< lines, each ended by a newline
    int nb;
} LvPrompts;

/** Read the lines of a file that hold anything. @return 0; -errno; LV_ERR_MODEL (none).
 *  Free with lv_prompts_free(), after an error too. */
int lv_prompts_read(LvPrompts *p, const char *path, const LvMsg *msg);

/** Draw nb captions of the clips that the model was made on, such as it takes. 0; -ENOMEM;
 *  LV_ERR_MODEL (it takes hardly any, or is a manifest's, which was not made on them). Free it
 *  after an error too. */
int lv_prompts_draw(LvPrompts *p, int nb, uint64_t seed, const LvFrozen *b);

void lv_prompts_free(LvPrompts *p);

/**
 * Encode the prompt of the unconditional branch, then all others, by the text stage.
 *
 * @param features [1 + nb,text_len,text_dim]: zero behind each prompt's own
 * @param dtype    of activations
 * @return as lv_encode_tokenize() and lv_encode_run()
 */
int lv_prompts_encode(const LvPrompts *p, const LvFrozen *b, LvDtype dtype,
                      float *features);

#endif /* LINVIDEO_TRAIN_POST_PROMPTS_H */
