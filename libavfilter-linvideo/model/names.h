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
#include "model/recognise.h"

/** How a network of such a name can be run. */
enum LvUse {
    LV_USE_ANY,     ///< as any other
    LV_USE_CHOSEN,  ///< a preset has to be chosen: what it was made for is not done here
    LV_USE_CAUSAL,  ///< in blocks; as a whole where a preset for that is chosen
    LV_USE_HALF,    ///< as one of the two networks of Wan2.2 A14B
};

/** Half of a hint of LV_USE_HALF that tells neither LV_HIGH nor LV_LOW. */
enum { LV_HALF_UNKNOWN = -1 };

/** What a network or LoRA is taken as. */
enum LvAs {
    LV_AS_ALONE, ///< the only network, or a LoRA of that
    LV_AS_HIGH,  ///< of two the network of LV_HIGH
    LV_AS_LOW,
};

/** The preset that a user named. */
enum LvChosen {
    LV_CHOSEN_NONE,
    LV_CHOSEN_WHOLE,  ///< it makes whole clips
    LV_CHOSEN_CAUSAL,
};

typedef struct LvHint {
    const LvPreset *preset; ///< how it is sampled; NULL: nothing tells
    enum LvUse use;
    int half;               ///< LV_USE_HALF: LV_HIGH, LV_LOW or LV_HALF_UNKNOWN
    const char *what;       ///< all but LV_USE_ANY: what it is, in words
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

/** The same of a network or LoRA that was found: names of Wan2.2 do not make halves of networks
 *  that are whole by their tensors. */
LvHint lv_hint_of(const LvPart *part, const char *path);

/** LvChosen of how a model is sampled. */
int lv_chosen(const LvCausal *causal);

/** Take a hint of one half back: the network is whole. */
void lv_hint_whole(LvHint *h);

/** Whether a network of this kind may be half of a pair. */
int lv_has_halves(const LvDitConfig *c);

/** Whether what a hint tells does not speak against an LvAs. */
int lv_hint_fits(const LvHint *h, int place);

/**
 * Refuse what can't be run.
 *
 * @param place  LvAs
 * @param chosen LvChosen
 * @return 0; LV_ERR_UNSUPPORTED after a message that says what it is and from what that was
 *         seen. Where a chosen preset makes the difference: 0 after a warning
 */
int lv_hint_check(const LvHint *h, const char *path, int place, int chosen, const LvMsg *msg);

/** The word (lower case, letters and digits only) in text: where it begins, its length in *n;
 *  NULL when absent. */
const char *lv_find_word(const char *text, const char *word, size_t *n);

#endif /* LINVIDEO_MODEL_NAMES_H */
