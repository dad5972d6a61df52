/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What is wrong with a text that is not JSON.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_JSON_H
#define LINVIDEO_BASE_JSON_H

#include <jansson.h>

#include "base/text.h"

/** An error of json_loadb() and its like as "expected X, got Y", in printable ASCII. Where it
 *  is: error->line and error->column. Returns dst. */
const char *lv_json_expected(char dst[LV_SHOW_SIZE], const json_error_t *error);

#endif /* LINVIDEO_BASE_JSON_H */
