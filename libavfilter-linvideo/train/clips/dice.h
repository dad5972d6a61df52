/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Random numbers that clips and captions are drawn by.
 * Floor train/clips: knows numbers.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_DICE_H
#define LINVIDEO_TRAIN_CLIPS_DICE_H

#include <stdint.h>

/** A sequence of random words: blocks of Philox, counted by ctr[2]. */
typedef struct LvDice {
    uint32_t key[2], ctr[4], word[4];
    int used;          ///< of word
} LvDice;

/** What numbers are for: the last word of the counter. */
enum LvDiceUse {
    LV_DICE_SCENE = 1, LV_DICE_HASH, LV_DICE_CAPTION, LV_DICE_REEL = 8, LV_DICE_REEL_CAPTION
};

/** The sequence of number `index` of the stream `seed`. */
LvDice lv_dice(uint64_t seed, uint64_t index, enum LvDiceUse use);

/** The next word. */
uint32_t lv_roll(LvDice *d);

/** 0 to n - 1, as a word says. */
int lv_pick_even(uint32_t word, int n);

/** 0 to n - 1, each as often as its share says, in any unit. */
int lv_pick(uint32_t word, const uint8_t *share, int n);

/** A word as a number in 0..1. */
float lv_pick_unit(uint32_t word);

/** Four numbers in 0..1 that belong to thing `i` of a key. */
void lv_pick_four(float out[4], const uint32_t key[2], int i);

#endif /* LINVIDEO_TRAIN_CLIPS_DICE_H */
