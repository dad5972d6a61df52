/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The files of a model, opened: a bundle, or a manifest that names separate ones.
 * Floor F4 (model): knows what parts a model has, not how they are run.
 *
 * A manifest is JSON; names of files are relative to its folder:
 *   "dit", "text", "vae"   files of the networks, in any layout (safetensors, the index
 *                          of shards, GGUF); one file may hold several of them
 *   "dit_low"              of Wan2.2 A14B: "dit" is the network for much noise, this the one
 *                          for little noise
 *   "clip"                 CLIP's image tower, where the network attends to its features; other
 *                          tensors of its file are passed over
 *   "tokenizer"            a sentencepiece model; not needed where "text" holds one
 *   "loras"                [{"file": NAME, "weight": 1}, ...]; one of them may hold maps of linear
 *                          layers, as `linvideo convert --delta` writes them
 *   "loras_low"            the same, of "dit_low"; "loras" are of "dit" alone then. Of a file
 *                          for both networks (see lora.h) each takes its own keys
 *   "preset"               name of a preset (see presets.h): sampler, steps, shift,
 *                          guidance
 *   "video"                {"width", "height", "frames", "fps", "fps_den"}
 *   "sampler"              {"solver", "steps", "shift", "guidance"}; with "dit_low" also
 *                          "guidance_low" and "boundary"
 *   "negative_prompt"      taken when none is given
 *   "latents"              of a TAEHV decoder: "normalised" (taew2_1) or "plain"
 *                          (lighttaew2_1)
 */

#ifndef LINVIDEO_MODEL_FILES_H
#define LINVIDEO_MODEL_FILES_H

#include "base/map.h"
#include "model/config.h"
#include "model/lora.h"
#include "model/recognise.h"
#include "model/weights.h"

enum { LV_FILES_MAX = 5 };

typedef struct LvFiles {
    LvModelConfig cfg;
    LvPart dit, text, vae;
    LvPart low;            ///< the network of LV_LOW; of kind LV_PART_NONE where dit is alone
    LvPart clip;           ///< CLIP's image tower; of kind LV_PART_NONE where none is needed
    LvClipConfig clip_cfg; ///< of it
    int bundle;            ///< 1: all parts are of one source
    char *spm_path;        ///< of its file; NULL: a part's file holds it
    const void *spm;       ///< the tokenizer, a sentencepiece model; NULL: missing
    size_t spm_size;
    LvDtype spm_type;      ///< of the tensor that holds it; U8 elsewhere
    LvLoras *loras;        ///< of dit; NULL: none
    LvLoras *low_loras;    ///< the same of low
    LvSource *maps[LV_EXPERTS]; ///< a LoRA's file whose maps make layers of dit, of low linear
    char *negative;        ///< NULL: none
    char *path;
    int strict;            ///< 1: nothing is skipped
    /* what has to be closed */
    LvSource *src[LV_FILES_MAX];
    int nb_src;
    LvMap spm_map;
    void *spm_made;
} LvFiles;

/**
 * Open a bundle or a manifest. A warning tells of tensors that no part of a manifest uses.
 *
 * @param loras  more of them than the manifest names; of a model of two networks each is of
 *               that which its name tells, else of both; of keys for either that which they say
 * @param strict 1: files that hold more than is used are an error, not a warning
 * @return 0; as lv_source_open(), lv_config_read(), lv_part_dit() and others
 */
int lv_files_open(LvFiles *f, const char *path, const LvLoraFile *loras, int nb_loras,
                  int strict, const LvMsg *msg);

/** Path of file number i, from 0, of all that the model is read from, LoRAs and shards
 *  included; NULL after the last. */
const char *lv_files_at(const LvFiles *f, int i);

/** Mark the tensors of part's file that are of other networks as not wanted. */
void lv_files_skip_others(LvWeights *w, const LvPart *part);

/** The same for a part of f, which may be a bundle: tensors that are of no part stay wanted
 *  there, so that lv_weights_finish() names them. */
void lv_files_skip_parts(const LvFiles *f, LvWeights *w, const LvPart *part);

/** The tensor that holds a file's tokenizer, "spiece_model" under any prefix, or NULL. */
const LvFileTensor *lv_files_spm_of(const LvSource *src);

/** 1: a file is a manifest, by what it holds: JSON that is no index of shards. 0: it is not,
 *  or cannot be read. -ENOMEM after a message. */
int lv_files_is_manifest(const char *path, const LvMsg *msg);

/** Whether a file is a bundle or a manifest, not a network's alone. */
int lv_files_is_model(const char *path);

/** Close all; a zeroed one is fine. */
void lv_files_close(LvFiles *f);

#endif /* LINVIDEO_MODEL_FILES_H */
