/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/budget.h"

#include "backend/device.h"

_Static_assert((int)LV_LEAST_STREAMED == LV_SLOTS + 1, "more than the slots hold");

size_t lv_budget_left(const LvRoom *r)
{
    return r->have - LV_MIN(r->text, r->have - r->all);
}

int lv_budget_streamed(const LvRoom *r, int blocks)
{
    size_t left = lv_budget_left(r), grown = r->none + r->slots;
    size_t each = (grown - LV_MIN(grown, r->all)) / (size_t)blocks;
    size_t stay = each ? (left - r->all) / each : 0;

    if (r->none <= left)
        return 0;
    return LV_MAX(blocks - (int)LV_MIN(stay, (size_t)blocks), LV_LEAST_STREAMED);
}

void lv_budget_spread(uint8_t *streamed, int blocks, int nb)
{
    for (int i = 0; i < blocks; i++)
        streamed[i] = (i + 1) * nb / blocks > i * nb / blocks;
}
