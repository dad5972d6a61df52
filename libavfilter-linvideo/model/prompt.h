/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The text of a prompt before it is cut into tokens.
 * Floor F4 (model).
 */

#ifndef LINVIDEO_MODEL_PROMPT_H
#define LINVIDEO_MODEL_PROMPT_H

#include "base/msg.h"

/**
 * Clean a prompt as Wan's reference does (spec of Wan2.1, section 6.1, without
 * mojibake repair): typographic quotes and fullwidth forms to ASCII, Latin
 * ligatures expanded, control characters removed, HTML entities decoded
 * twice (once more in a text without <), white space runs to one space, trimmed.
 * Exposed for tests.
 *
 * @return malloc'ed text, or NULL with a message and errno: EINVAL (invalid UTF-8),
 *         ENOMEM
 */
char *lv_prompt_clean(const char *text, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_PROMPT_H */
