/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Prompts as they come: read, checked, and what of them has no effect.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_PROMPT_H
#define LINVIDEO_API_PROMPT_H

#include "base/msg.h"
#include "linvideo/linvideo.h"

/** What a context has warned of. Zeroed at first. */
typedef struct LvPromptSaid {
    int lora, weight;
    char words[1024]; ///< " dragon castle"; no more are said when it is full
} LvPromptSaid;

/** The prompt of p or of its file, which may be a pipe; malloc'ed.
 *  @return 0, -EINVAL, -errno of the file, -ENOMEM */
int lv_prompt_read(char **text, const LinvideoParams *p, const LvMsg *msg);

/** Check that a prompt is not blank and has at most 64 KiB. 0 or -EINVAL. */
int lv_prompt_check(const char *prompt, const LvMsg *msg);

/**
 * Warn, once, of what has no effect: words that the model does not know, and the syntax
 * of other programs for LoRAs and weights of words.
 *
 * @param option that the text came with
 * @param text   as lv_prompt_clean() gives it
 * @param words  of the model, see LvUmt5Config.words; "" when they are not told
 */
void lv_prompt_warn(LvPromptSaid *said, const char *option, const char *text,
                    const char *words, const LvMsg *msg);

#endif /* LINVIDEO_API_PROMPT_H */
