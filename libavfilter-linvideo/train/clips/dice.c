/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/dice.h"

#include "base/philox.h"

LvDice lv_dice(uint64_t seed, uint64_t index, enum LvDiceUse use)
{
    return (LvDice) { .key = { (uint32_t)seed, (uint32_t)(seed >> 32) },
                      .ctr = { (uint32_t)index, (uint32_t)(index >> 32), 0, use }, .used = 4 };
}

uint32_t lv_roll(LvDice *d)
{
    if (d->used == 4) {
        lv_philox(d->word, d->ctr, d->key);
        d->ctr[2]++;
        d->used = 0;
    }
    return d->word[d->used++];
}

int lv_pick_even(uint32_t word, int n)
{
    return (int)((uint64_t)word * (uint32_t)n >> 32);
}

int lv_pick(uint32_t word, const uint8_t *share, int n)
{
    int sum = 0, at, i = 0;

    for (int k = 0; k < n; k++)
        sum += share[k];
    at = lv_pick_even(word, sum);
    while (at >= share[i])
        at -= share[i++];
    return i;
}

float lv_pick_unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

void lv_pick_four(float out[4], const uint32_t key[2], int i)
{
    const uint32_t ctr[4] = { (uint32_t)i };
    uint32_t w[4];

    lv_philox(w, ctr, key);
    for (int k = 0; k < 4; k++)
        out[k] = lv_pick_unit(w[k]);
}
