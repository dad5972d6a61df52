/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Prompts over time: "0: a calm sea|5: a storm|9.5: a calm sea", a prompt from each second on.
 * Two or more parts between |, each of them a number, a colon, a space and words, are read so;
 * any other text is one prompt, as it is.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_PROMPT_TIMES_H
#define LINVIDEO_MODEL_PROMPT_TIMES_H

#include "base/msg.h"

/** Prompts that a text has at most. */
enum { LV_PROMPT_TIMES = 32 };

/** All zero is fine for lv_prompt_times_free(). */
typedef struct LvPromptTimes {
    int nb;                            ///< 1 or more
    double from[LV_PROMPT_TIMES];      ///< seconds, from 0 on, rising
    const char *text[LV_PROMPT_TIMES]; ///< into words
    char *words;
} LvPromptTimes;

/** Read a text. @return 0; -EINVAL (times that do not rise from 0, too many prompts); -ENOMEM;
 *  t is as it was then */
int lv_prompt_times_read(LvPromptTimes *t, const char *text, const LvMsg *msg);

/** Number of the prompt of a time, in seconds from 0 on. */
int lv_prompt_times_at(const LvPromptTimes *t, double seconds);

void lv_prompt_times_free(LvPromptTimes *t);

#endif /* LINVIDEO_MODEL_PROMPT_TIMES_H */
