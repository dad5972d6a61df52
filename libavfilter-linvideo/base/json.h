/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What is wrong with a text that is not JSON, and values of one that is, for messages.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_JSON_H
#define LINVIDEO_BASE_JSON_H

#include <jansson.h>

#include "base/text.h"

/** An error of json_loadb() and its like as "expected X, got Y", in printable ASCII. Where it
 *  is: error->line and error->column. Returns dst. */
const char *lv_json_expected(char dst[LV_SHOW_SIZE], const json_error_t *error);

/** A value as JSON, cut where it is long, in printable ASCII; NULL: "nothing". Returns dst. */
const char *lv_json_value(char dst[LV_SHOW_SIZE], const json_t *v);

#endif /* LINVIDEO_BASE_JSON_H */
