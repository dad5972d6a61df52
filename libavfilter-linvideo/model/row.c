/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/row.h"

#include <stdio.h>
#include <string.h>

void lv_row_name(char *name, const char *prefix, const LvWeightRow *r, int layout,
                 int index)
{
    const char *row  = layout && r->other[layout - 1] ? r->other[layout - 1] : r->name;
    const char *mark = strstr(row, "%d");

    if (mark)
        snprintf(name, LV_PARAM_NAME, "%s%.*s%d%s", prefix, (int)(mark - row), row, index,
                 mark + 2);
    else
        snprintf(name, LV_PARAM_NAME, "%s%s", prefix, row);
}
