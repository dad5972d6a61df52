/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tiny models of Wan's kind with random weights, written as the files in circulation are:
 * any layout, prefix, container and quantisation.
 * Of the tests.
 */

#ifndef LINVIDEO_TESTS_WAN_KIT_H
#define LINVIDEO_TESTS_WAN_KIT_H

#include "linvideo/linvideo.h"
#include "model/list.h"
#include "model/weights.h"

/** How matrices are stored; all else is F32. */
enum WanForm {
    WAN_F32, WAN_F16, WAN_BF16,
    WAN_FP8,        ///< F8_E4M3, no scales
    WAN_FP8_E5M2,
    WAN_OLD_SCALE,  ///< .scale_weight, with the marker
    WAN_NEW_SCALE,  ///< .weight_scale and .comfy_quant
    WAN_META_SCALE, ///< .weight_scale and "_quantization_metadata"
    WAN_ROW_SCALE,  ///< .weight_scale [out,1]
    WAN_INT8,       ///< I8, .weight_scale [out]
    WAN_TURBO,      ///< .int8_weight, .scale
    WAN_Q8_0, WAN_Q4_K, WAN_Q6_K,
    WAN_FORMS
};

/** A network: its tensors, in the original layout, with values. */
typedef struct WanPart {
    int kind;
    LvParams *list;
    float **data;   ///< of each tensor
} WanPart;

typedef struct WanModel {
    LvModelConfig cfg;
    LvDevice *dev;
    WanPart dit, text, vae;
} WanModel;

/** How a part is written. */
typedef struct WanFile {
    const char *path;   ///< ends in .gguf: GGUF; .json: an index and two shards
    int layout;
    const char *prefix;
    int form;           ///< WanForm
    int exact;          ///< 1: written as F32, with the values that the form keeps
    const char *drop;   ///< name of a tensor, as in the file, that is left out; or NULL
    const char *add;    ///< name of a tensor of one F32 more, or in the place
                        ///< of that left out; or NULL
    const char *note;   ///< WAN_META_SCALE: the metadata, in place of one that is right
} WanFile;

/** Make a model: 2 layers each, 32 x 32 pixels are enough. Checks. */
void wan_kit_new(WanModel *m);
void wan_kit_free(WanModel *m);

/** Put a network of another kind, of cfg's channels and CLIP, in the model's place. Checks. */
void wan_kit_change(WanModel *m, const LvDitConfig *kind);

/** Put Wan2.2's autoencoder, of 48 channels, in the place of Wan2.1's. Checks. */
void wan_kit_change_vae(WanModel *m);

/** For the tests of a program: a model, and a folder of its own under /tmp that holds
 *  "tokenizer.spm". Both go again with wan_kit_end(). Checks. */
void wan_kit_start(WanModel *m);
void wan_kit_end(WanModel *m);

extern char wan_folder[64];

/** Path of a file in it; valid for the next seven calls. */
const char *wan_path(const char *name);

/** A log callback that keeps the last error, and counts them. */
void wan_catch_line(void *opaque, enum LinvideoLogLevel level, const char *line);

extern char wan_message[2048];
extern int wan_errors;

/** Write a part. The tokenizer of the tests goes into text encoders as spiece_model. */
void wan_kit_write(const WanModel *m, const WanPart *p, const WanFile *f);

/** What a GGUF file of a text encoder says of its tokenizer. */
typedef struct WanPieces {
    int flags;          ///< 1: with those that may be left out, as they are in any case
    int kind_type;      ///< of the array of kinds: LV_GGUF_I32 as files have it
    double first_kind;  ///< in place of that of the first piece; 0: as it is
    int fewer;          ///< of scores than of pieces
} WanPieces;

/** Put the tokenizer of the tests into the GGUF file at path. */
void wan_kit_add_pieces(const char *path, const WanPieces *p);

/** Write a TAEHV decoder in the published widths, with random weights: taew2_1, or taew2_2 where
 *  the model's latents have 48 channels. */
void wan_kit_write_tae(const WanModel *m, const char *path);

/** Value i of tensor `name` (original layout). NULL when there is none. */
float *wan_kit_tensor(const WanPart *p, const char *name, const LvParam **param);

#endif /* LINVIDEO_TESTS_WAN_KIT_H */
