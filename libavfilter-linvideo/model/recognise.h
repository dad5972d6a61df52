/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What a file of weights is: which network, in which layout, under which prefix, and of
 * which size.
 * Floor F4 (model): knows names that tell networks apart; reads no values.
 */

#ifndef LINVIDEO_MODEL_RECOGNISE_H
#define LINVIDEO_MODEL_RECOGNISE_H

#include "base/source.h"
#include "model/config.h"
#include "model/row.h"

enum LvPartKind {
    LV_PART_NONE,
    LV_PART_DIT, LV_PART_TEXT, LV_PART_WAN_VAE, LV_PART_TAE,
    LV_PART_LORA, ///< changes of a DiT
    LV_PART_CLIP, ///< CLIP's image tower, with or without its text half
    LV_PART_NB
};

enum { LV_PREFIX_SIZE = 64 };

/** A network within a source. */
typedef struct LvPart {
    const LvSource *src;
    enum LvPartKind kind;
    enum LvLayout layout;
    char prefix[LV_PREFIX_SIZE]; ///< of its tensors' names
    char within[4][LV_PREFIX_SIZE]; ///< of other networks' that begin with it; ""
} LvPart;

/** Metadata of a network's file, safetensors or GGUF, both text: the kind of the maps of its
 *  linear layers, which are those that have some (absent: hedgehog), and the number in their
 *  denominators (absent: 1e-6). */
#define LV_MAP_KEY     "linvideo.feature_map"
#define LV_MAP_EPS_KEY "linvideo.feature_eps"

/** Make the layers linear of which the part has maps. 0; LV_ERR_MODEL */
int lv_part_maps(LvDitConfig *cfg, const LvPart *part, const LvMsg *msg);

/** Find the network in a source, the first by kind where there are several; kind is
 *  LV_PART_NONE when there is none. */
LvPart lv_part_find(const LvSource *src);

/** Find the network of a kind: a file may hold several, told apart by prefixes. */
LvPart lv_part_find_kind(const LvSource *src, int kind);

/** Whether a tensor of this name is the part's, not of another network beside it. */
int lv_part_owns(const LvPart *part, const char *name);

/**
 * Check that a source is not quantised in a way that is not known (quanto, bitsandbytes,
 * SVDQuant, AWQ...), and holds no second network of a kind.
 *
 * @return 0; LV_ERR_UNSUPPORTED or LV_ERR_MODEL after a message that names it
 */
int lv_part_check(const LvSource *src, const LvMsg *msg);

/** Name of a kind: "dit", "text", "vae", "tae", "lora", "clip". */
const char *lv_part_name(int kind);

/**
 * Sizes of a network from its tensors' shapes; all else as Wan2.1 has it (512 rows of
 * text, norms' eps, 128 channels a head of the DiT).
 *
 * @return 0; LV_ERR_MODEL: a tensor that tells a size is missing or of a size out of
 *         range; LV_ERR_UNSUPPORTED: another network (VACE, Fun, S2V, Animate...)
 */
int lv_part_dit(LvDitConfig *cfg, const LvPart *part, const LvMsg *msg);
int lv_part_text(LvUmt5Config *cfg, const LvPart *part, const LvMsg *msg);
int lv_part_vae(LvTaeConfig *cfg, const LvPart *part, const LvMsg *msg);
int lv_part_clip(LvClipConfig *cfg, const LvPart *part, const LvMsg *msg);

#endif /* LINVIDEO_MODEL_RECOGNISE_H */
