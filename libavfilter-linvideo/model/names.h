/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What names and metadata tell of weights beyond their tensors: distilled models and the
 * halves of Wan2.2 have the very tensors of Wan2.1.
 * Floor F4 (model).
 *
 * Words are looked for, never parts of them: a word begins and ends where a name does, at a
 * character that is no letter or digit, between letters and digits, and where lower case
 * turns to upper. Such places within a word do not matter: "self_forcing", "SelfForcing" and
 * "selfforcing" are one.
 */

#ifndef LINVIDEO_MODEL_NAMES_H
#define LINVIDEO_MODEL_NAMES_H

#include "base/source.h"
#include "model/presets.h"

/** How a network of such a name can be run. */
enum LvUse {
    LV_USE_ANY,     ///< as any other
    LV_USE_CHOSEN,  ///< a preset has to be chosen: what it was made for is not done here
    LV_USE_NONE,    ///< not at all
};

typedef struct LvHint {
    const LvPreset *preset; ///< how it is sampled; NULL: nothing tells
    int use;                ///< LvUse
    const char *what;       ///< LV_USE_CHOSEN, LV_USE_NONE: what it is, in words
    char word[64];          ///< the word as it stands there; "" when nothing tells
    char from[64];          ///< where: "its name", "its metadata modelspec.title"...
} LvHint;

/**
 * Look at the metadata of a network or LoRA, then, where they tell nothing, at its file's
 * name without folders; of names that say nothing, as "diffusion_pytorch_model", at the
 * folder too and at the model_index.json beside it.
 *
 * @param src NULL: only the name is looked at
 * @param lora 1: it changes a network whose attention stays as it is
 */
void lv_hint(LvHint *h, const LvSource *src, const char *path, int lora);

/**
 * Refuse what can't be run.
 *
 * @param chosen 1: the user named a preset
 * @return 0; LV_ERR_UNSUPPORTED after a message that says what it is and from what that was
 *         seen. Where a chosen preset makes the difference: 0 after a warning
 */
int lv_hint_check(const LvHint *h, const char *path, int chosen, const LvMsg *msg);

/** The word (lower case, letters and digits only) in text: where it begins, its length in *n;
 *  NULL when absent. */
const char *lv_find_word(const char *text, const char *word, size_t *n);

#endif /* LINVIDEO_MODEL_NAMES_H */
