/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ops_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/weight.h"
#include "base/common.h"
#include "base/half.h"
#include "tests/ops_grad.h"
#include "tests/ops_ref.h"

/*
 * What the list of ops does not say: the role of each tensor, which letter of a
 * case's type is its type ('f': always f32, 'i': i32), and which may be absent.
 *
 * Tolerances beyond the rounding of the result, as parts of the reference's norm:
 *   sum   f32 arithmetic: sums of some hundred terms and polynomials for exp, tanh
 *   half  added when the op multiplies in bf16 what is not bf16 as stored: weights of
 *         another type, probabilities, features, the state
 *   stat  of all but the first output (statistics, other gradients); half is added
 *         there where they come from such products
 * 0: the op only moves values, so its one rounding is all there is.
 */
static const struct {
    const char *role, *type, *optional;
    double sum, half, stat;
} ops[LV_OP_NB] = {
    [LV_OP_LINEAR]     = { "Awb-", "01f2", "..o.", 2e-6, 3e-3, 0 },
    [LV_OP_NORM]       = { "Agbm---", "0fff1ff", ".ooo.oo", 1e-6, 0, 2e-6 },
    [LV_OP_GATE]       = { "Aam-", "01f2", "..o.", 2e-7, 0, 0 },
    [LV_OP_GATE_NORM]  = { "Aamgbm----", "01fffff2ff", "..oooo..oo", 2e-7, 0, 2e-6 },
    [LV_OP_QKNORM]     = { "Agr--", "0ff1f", "..o.o", 1e-6, 0, 2e-6 },
    [LV_OP_ATTN]       = { "Aaake--", "000ff1f", "...oo.o", 3e-6, 3e-3, 2e-6 },
    [LV_OP_LINATTN]    = { "Aaaww---", "000112ff", "......oo", 4e-6, 5e-3, 4e-6 },
    [LV_OP_LINATTN_RUN] = { "Aaawwgs--", "00011ff2f", ".........", 4e-6, 5e-3, 4e-6 },
    [LV_OP_MIX]        = { "Aas-", "01f2", "....", 3e-7, 0, 0 },
    [LV_OP_NAG]        = { "Aa-", "012", "...", 3e-6, 0, 0 },
    [LV_OP_ADD]        = { "Aa-", "012", "...", 1e-7, 0, 0 },
    [LV_OP_ACT]        = { "A-", "01", "..", 1e-6, 0, 0 },
    [LV_OP_GLU]        = { "Aa-", "012", "...", 1e-6, 0, 0 },
    [LV_OP_EMBED]      = { "iw-", "i01", "...", 0, 0, 0 },
    [LV_OP_SINUSOID]   = { "t-", "ff", "..", 1e-9, 0, 0 },
    [LV_OP_PATCHIFY]   = { "A-", "f0", "..", 0, 0, 0 },
    [LV_OP_UNPATCHIFY] = { "A-", "0f", "..", 0, 0, 0 },
    [LV_OP_CONV]       = { "Awba-", "01f23", "..oo.", 2e-6, 3e-3, 0 },
    [LV_OP_CONV3]      = { "Awbaa--", "01f2030", "..oo...", 3e-6, 3e-3, 0 },
    [LV_OP_RECALL]     = { "Aa--", "0000", "....", 0, 0, 0 },
    [LV_OP_UPSAMPLE]   = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_UNSTACK]    = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_STACK]      = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_SHUFFLE]    = { "A-", "01", "..", 0, 0, 0 },
    [LV_OP_UNSHUFFLE]  = { "A-", "01", "..", 0, 0, 0 },
    [LV_OP_AVG_DOWN]   = { "Aa-", "012", ".o.", 1e-6, 0, 0 },
    [LV_OP_DUP_UP]     = { "Aa-", "012", ".o.", 1e-7, 0, 0 },
    [LV_OP_BLEND]      = { "Agg-", "ffff", "....", 3e-7, 0, 0 },
    [LV_OP_FRAME]      = { "A", "f", ".", 0, 0, 0 },
    [LV_OP_EXPAND]     = { "A-", "01", "..", 0, 0, 0 },
    [LV_OP_REDUCE]     = { "A-", "01", "..", 1e-6, 0, 0 },
    [LV_OP_FILL]       = { "-", "0", ".", 0, 0, 0 },
    [LV_OP_LOSS]       = { "Aagg--", "01fff2", "...o.o", 3e-7, 0, 3e-7 },
    [LV_OP_SQSUM]      = { "A-", "ff", "..", 1e-9, 0, 0 },
    [LV_OP_ADAMW]      = { "Ahq--+-", "fffffff", "..o...o", 3e-7, 0, 3e-7 },
    [LV_OP_LINEAR_DX]  = { "Aw-", "012", "...", 2e-6, 3e-3, 0 },
    [LV_OP_LINEAR_DW]  = { "Aa-", "00f", "...", 2e-6, 0, 0 },
    [LV_OP_NORM_DX]    = { "Agbmdda----", "0fffff12fff", ".oooo..oooo", 2e-6, 0, 2e-6 },
    [LV_OP_GATE_DX]    = { "amA--", "0f12f", "oo.oo", 3e-7, 0, 1e-6 },
    [LV_OP_QKNORM_DX]  = { "Agrda--", "0fff12f", "..o..oo", 2e-6, 0, 2e-6 },
    [LV_OP_ATTN_DX]    = { "Aaakedda----", "000ff1f2333f", "...oo...oooo",
                           5e-6, 8e-3, 5e-6 },
    [LV_OP_LINATTN_DX] = { "Aaawwddda-----", "000112ff3444ff", ".........ooooo",
                           1e-5, 8e-3, 1e-5 },
    [LV_OP_MIX_DX]     = { "Aasa---", "01f233f", "....ooo", 3e-7, 0, 3e-7 },
    [LV_OP_ACT_DX]     = { "Aa-", "012", "...", 1e-6, 0, 0 },
    [LV_OP_GLU_DX]     = { "Aaa--", "01233", "...oo", 1e-6, 0, 1e-6 },
    [LV_OP_EMBED_DX]   = { "iA-", "i0f", "...", 1e-6, 0, 0 },
    [LV_OP_CONV_DX]    = { "Aw-", "012", "...", 2e-6, 3e-3, 0 },
    [LV_OP_CONV_DW]    = { "Aa-", "00f", "...", 2e-6, 0, 0 },
    [LV_OP_RECALL_DX]  = { "A-", "01", "..", 2e-7, 0, 0 },
    [LV_OP_UPSAMPLE_DX] = { "A-", "01", "..", 3e-7, 0, 0 },
};

/* A row stands for the cases types x kinds. slack widens the tolerances where the
 * inputs make the problem itself worse conditioned; 0 is 1. */
typedef struct Row {
    int op, flags;
    const char *types; ///< words of letters: f f32, b bf16, h f16
    const char *kinds;
    double slack;
    float s;
    int n[9];
} Row;

#define NONE  LV_ACT_NONE
#define RELU  LV_ACT_RELU
#define SILU  LV_ACT_SILU
#define GELU  LV_ACT_GELU
#define CLAMP LV_ACT_CLAMP3
#define EXACT LV_ACT_GELU_ERF
#define B     OPS_BIAS
#define G     OPS_GAIN
#define MOD   OPS_MOD
#define ROPE  OPS_ROPE
#define RES   OPS_RES
#define KEYB  OPS_KEYB
#define RELB  OPS_RELB
#define STATS OPS_STATS
#define ON0   OPS_ON_0
#define ON1   OPS_ON_1
#define FIX   OPS_FIXED
#define ONDY  OPS_ON_DY
#define SIZES OPS_SIZES
#define NO(i) OPS_LESS(i)
#define AD(i) OPS_ADD(i)
#define SLOW  LV_PATCH_CHANNEL_SLOW
#define FAST  LV_PATCH_CHANNEL_FAST
#define MSE   LV_LOSS_MSE
#define ROOT  LV_LOSS_SMOOTH
#define ABS   LV_LOSS_ABS
#define HEDGE LV_MAP_HEDGEHOG
#define RELUM LV_MAP_RELU
#define TAYL  LV_MAP_TAYLOR
#define LAYER LV_NORM_LAYER
#define RMS   LV_NORM_RMS

static const Row rows[] = {
    /* M K N act of; types x w y */
    { LV_OP_LINEAR, 0,       "fff bbb bff fbf", "n", 0, 0, { 1, 1, 1, NONE } },
    { LV_OP_LINEAR, B | FIX, "fff fbf fhb bbb bhf bfb", "nz", 0, 0, { 33, 65, 17, NONE } },
    { LV_OP_LINEAR, B,       "fff fbf fhb bbb bhf bfb", "n", 0, 0, { 33, 65, 17, SILU } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "nlcd", 0, 0, { 64, 128, 64, NONE } },
    { LV_OP_LINEAR, FIX,     "fff bbb bbf", "n", 0, 0, { 7, 513, 31, RELU } },
    { LV_OP_LINEAR, B | FIX, "fff bbb fbb", "nl", 0, 0, { 31, 63, 129, GELU } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 0, 0, { 1, 192, 1152, SILU } },
    { LV_OP_LINEAR, B,       "fff bff", "n", 0, 0, { 129, 16, 3, CLAMP } },
    { LV_OP_LINEAR, FIX,     "fff bbb", "n", 0, 0, { 513, 32, 15, NONE } },
    { LV_OP_LINEAR, 0,       "fhf bhb", "n", 0, 0, { 16, 127, 512, NONE } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 0, 0, { 65, 1, 33, GELU } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 2, 0, { 3, 2051, 5, NONE } },
    { LV_OP_LINEAR, B,       "fff bbb bff", "n", 0, 0, { 130, 200, 136, SILU } },
    { LV_OP_LINEAR, 0,       "fff bbb", "n", 0, 0, { 1, 1, 1, NONE, 1 } },
    { LV_OP_LINEAR, B | FIX, "fff fbf fhb bbb bhf bfb", "nz", 0, 0,
      { 33, 65, 17, NONE, 1 } },
    { LV_OP_LINEAR, B,       "fff fhb bbb", "nl", 0, 0, { 31, 63, 129, GELU, 1 } },
    { LV_OP_LINEAR, FIX,     "fff bbb bbf", "nc", 0, 0, { 7, 513, 31, RELU, 1 } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 0, 0, { 1, 192, 1152, SILU, 1 } },
    { LV_OP_LINEAR, B | FIX, "fff bbf", "no", 0, 0, { 260, 128, 600, CLAMP, 1 } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 0, 0, { 3, 2051, 5, NONE, 1 } },

    /* M C kind rows-of-mod shift scale batch; types x y */
    { LV_OP_NORM, 0,                  "ff bb", "n", 0, 1e-6f, { 1, 1, RMS } },
    { LV_OP_NORM, B | STATS,          "ff", "n", 50, 1e-6f, { 3, 1, LAYER } },
    { LV_OP_NORM, 0,                  "ff fb bb bf", "n", 0, 1e-6f, { 5, 192, LAYER } },
    { LV_OP_NORM, MOD | STATS | FIX,  "ff fb bb", "n", 0, 1e-6f, { 65, 193, LAYER, 6, 0, 1 } },
    { LV_OP_NORM, MOD,                "ff fb", "nzd", 0, 1e-6f, { 17, 64, LAYER, 6, 3, 4 } },
    { LV_OP_NORM, G | B | FIX,        "ff bb", "nl", 0, 1e-5f, { 33, 127, LAYER } },
    { LV_OP_NORM, G | B | STATS,      "ff", "o", 20, 1e-6f, { 9, 1536, LAYER } },
    { LV_OP_NORM, G | B | FIX,        "ff", "c", 200, 1e-6f, { 4, 77, LAYER } },
    { LV_OP_NORM, G | B | MOD | STATS, "ff bb", "n", 0, 1e-6f, { 2, 513, LAYER, 2, 1, 0 } },
    { LV_OP_NORM, MOD | ON0,          "ff bb", "n", 0, 1e-6f, { 31, 48, LAYER, 3, 2, 2 } },
    { LV_OP_NORM, G | FIX,            "ff fb bb bf", "nzc", 0, 1e-6f, { 11, 128, RMS } },
    { LV_OP_NORM, G | STATS,          "ff bb", "nl", 0, 1e-6f, { 129, 15, RMS } },
    { LV_OP_NORM, G | B | MOD | ON0,  "ff bb", "n", 0, 1e-6f, { 16, 129, RMS, 1, 0, 0 } },
    { LV_OP_NORM, MOD | STATS,        "ff fb", "n", 0, 1e-6f, { 66, 65, LAYER, 6, 3, 4, 2 } },
    { LV_OP_NORM, G | B | MOD,        "ff bb", "n", 0, 1e-6f, { 15, 192, RMS, 2, 1, 0, 5 } },
    { LV_OP_NORM, MOD | ON0,          "ff bb", "n", 0, 1e-6f, { 3, 16, LAYER, 1, 0, 0, 3 } },

    /* M C rows-of-mod row batch; types r x y */
    { LV_OP_GATE, MOD,       "fff fbf bbb ffb", "n", 0, 0, { 1, 1, 1, 0 } },
    { LV_OP_GATE, MOD,       "fff fbf bbb bfb", "nzl", 0, 0, { 65, 193, 6, 5 } },
    { LV_OP_GATE, 0,         "fff fbf bbb fbb", "nd", 0, 0, { 33, 127, 0, 0 } },
    { LV_OP_GATE, MOD | ON0, "fff fbf bbb", "n", 0, 0, { 17, 192, 6, 2 } },
    { LV_OP_GATE, ON0,       "fff fbf bbb", "n", 0, 0, { 7, 513, 0, 0 } },
    { LV_OP_GATE, MOD | ON1, "fff bff bbb", "n", 0, 0, { 64, 16, 2, 1 } },
    { LV_OP_GATE, MOD,       "fff fbf bbb", "n", 0, 0, { 66, 65, 6, 5, 2 } },
    { LV_OP_GATE, MOD | ON0, "fff fbf bbb", "n", 0, 0, { 5, 48, 1, 0, 5 } },

    /* M H D M-over-L; types x y */
    { LV_OP_QKNORM, 0,                  "ff bb", "n", 0, 1e-6f, { 1, 1, 2 } },
    { LV_OP_QKNORM, ROPE,               "ff fb bb bf", "nzl", 0, 1e-6f, { 65, 4, 48 } },
    { LV_OP_QKNORM, ROPE | STATS | FIX, "ff bb", "nd", 0, 1e-6f, { 33, 3, 12 } },
    { LV_OP_QKNORM, STATS,              "ff fb", "n", 0, 1e-6f, { 7, 5, 11 } },
    { LV_OP_QKNORM, ROPE | FIX,         "ff bb", "n", 0, 1e-6f, { 129, 2, 64 } },
    { LV_OP_QKNORM, ROPE | ON0 | FIX,   "ff bb", "n", 0, 1e-6f, { 16, 3, 128 } },
    { LV_OP_QKNORM, ROPE,               "ff", "c", 0, 1e-6f, { 3, 12, 128 } },
    { LV_OP_QKNORM, ROPE | STATS,       "ff bb", "n", 0, 1e-6f, { 66, 2, 12, 3 } },
    { LV_OP_QKNORM, ROPE | ON0,         "ff", "n", 0, 1e-6f, { 5, 3, 48, 5 } },

    /* Lq Lk H D buckets max_distance batch; types qkv o; s: scale */
    { LV_OP_ATTN, 0,            "ff bb", "n", 0, 0, { 1, 1, 1, 12 } },
    { LV_OP_ATTN, STATS,        "ff bb", "n", 0, 0, { 7, 1, 2, 64 } },
    { LV_OP_ATTN, STATS,        "ff bb", "nzc", 0, 0, { 33, 65, 3, 12 } },
    { LV_OP_ATTN, 0,            "ff fb bb bf", "nd", 0, 0, { 64, 64, 4, 48 } },
    { LV_OP_ATTN, STATS,        "ff bb", "n", 0, 0, { 127, 129, 2, 64 } },
    { LV_OP_ATTN, 0,            "ff bb", "n", 0, 0, { 128, 31, 3, 128 } },
    { LV_OP_ATTN, STATS,        "ff bb", "n", 0, 0, { 129, 513, 1, 128 } },
    { LV_OP_ATTN, 0,            "ff bb", "n", 0, 0, { 513, 511, 2, 48 } },
    { LV_OP_ATTN, 0,            "ff bb", "n", 0, 0, { 5, 1027, 1, 12 } },
    { LV_OP_ATTN, STATS,        "ff bb", "l", 200, 0, { 65, 200, 2, 64 } },
    { LV_OP_ATTN, KEYB | STATS, "ff bb", "nm", 0, 0, { 32, 63, 2, 48 } },
    { LV_OP_ATTN, KEYB,         "ff bb", "nm", 0, 0, { 17, 600, 3, 64 } },
    { LV_OP_ATTN, KEYB,         "ff bb", "m", 0, 0, { 130, 1, 1, 128 } },
    { LV_OP_ATTN, RELB | STATS | FIX, "ff bb", "n", 5, 1, { 33, 33, 2, 12, 32, 128 } },
    { LV_OP_ATTN, RELB | KEYB | FIX,  "ff bb", "nm", 5, 1, { 200, 200, 3, 64, 32, 128 } },
    { LV_OP_ATTN, RELB,               "ff bb", "n", 0, 0, { 300, 129, 1, 48, 32, 128 } },
    { LV_OP_ATTN, RELB | STATS,       "ff", "n", 0, 0, { 40, 90, 2, 12, 16, 64 } },
    { LV_OP_ATTN, 0,                  "ff bb", "n", 0, 0, { 1, 1, 1, 12, 0, 0, 5 } },
    { LV_OP_ATTN, STATS,              "ff bb", "n", 0, 0, { 33, 65, 2, 12, 0, 0, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "ff bb", "nm", 0, 0, { 129, 40, 3, 64, 0, 0, 3 } },
    { LV_OP_ATTN, RELB | KEYB | FIX,  "ff bb", "n", 5, 1, { 40, 33, 2, 48, 32, 128, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "ff bb", "x", 0, 0, { 33, 40, 2, 12, 0, 0, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "ff bb", "nx", 0, 0, { 200, 130, 2, 64, 0, 0, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "ff bf", "nx", 0, 0, { 150, 70, 1, 128, 0, 0, 2 } },

    /* L H D P map batch; types qkv w o */
    { LV_OP_LINATTN, FIX,         "fff bbb", "n", 0, 0, { 1, 1, 12, 5, HEDGE } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb bfb bhf", "n", 0, 0, { 65, 3, 12, 48, HEDGE } },
    { LV_OP_LINATTN, FIX,         "fff fbf fhb bbb", "nzcd", 0, 0, { 129, 2, 48, 64, HEDGE } },
    { LV_OP_LINATTN, STATS,       "fff bbb bbf", "n", 0, 0, { 513, 2, 64, 64, HEDGE } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb", "n", 0, 0, { 127, 3, 128, 128, HEDGE } },
    { LV_OP_LINATTN, 0,           "fff bbb", "n", 0, 0, { 1031, 1, 12, 128, HEDGE } },
    { LV_OP_LINATTN, FIX,         "fff bbb", "l", 20, 0, { 64, 2, 64, 48, HEDGE } },
    { LV_OP_LINATTN, 0,           "fff bbb", "n", 0, 0, { 31, 5, 48, 5, HEDGE } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb bhf", "nz", 4, 0, { 63, 2, 12, 5, RELUM } },
    { LV_OP_LINATTN, STATS,       "fff bbb", "n", 0, 0, { 130, 2, 64, 128, RELUM } },
    { LV_OP_LINATTN, FIX,         "fff bbb", "n", 0, 1e-3f, { 512, 3, 48, 64, RELUM } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb bfb", "nz", 4, 0, { 33, 3, 12, 5, TAYL } },
    { LV_OP_LINATTN, STATS,       "fff bbb", "n", 4, 0, { 128, 2, 64, 16, TAYL } },
    { LV_OP_LINATTN, FIX,         "fff bbb", "n", 8, 0, { 97, 2, 48, 48, TAYL } },
    { LV_OP_LINATTN, 0,           "fff bbb", "n", 8, 0, { 17, 1, 64, 64, TAYL } },
    { LV_OP_LINATTN, 0,           "fff bbb", "n", 0, 0, { 1, 2, 12, 5, HEDGE, 4 } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb", "n", 0, 0, { 65, 2, 48, 64, HEDGE, 2 } },
    { LV_OP_LINATTN, STATS,       "fff bbb", "n", 4, 0, { 130, 1, 12, 5, RELUM, 3 } },
    { LV_OP_LINATTN, STATS,       "fff bbb", "n", 4, 0, { 33, 2, 12, 5, TAYL, 2 } },
    { LV_OP_LINATTN, STATS | FIX, "fff bbb bff", "n", 0, 0, { 700, 2, 64, 64, HEDGE, 2 } },
    { LV_OP_LINATTN, STATS,       "fff bbb", "n", 0, 0, { 1100, 1, 128, 64, HEDGE, 2 } },
    { LV_OP_LINATTN, STATS,       "bbb", "n", 0, 0, { 130, 2, 64, 128, HEDGE, 3 } },

    /* rows cols; types a b y */
    { LV_OP_MIX, 0,   "fff bbb fbb bfb", "nz", 0, 0, { 33, 193 } },
    { LV_OP_MIX, ON0, "fff bbb", "n", 0, 0, { 1, 1 } },
    { LV_OP_MIX, ON1, "fff bbb bff", "nl", 0, 0, { 64, 127 } },

    /* rows cols elements-of-b; types a b y */
    { LV_OP_ADD, 0,   "fff fbf bbb bfb ffb", "nld", 0, 0, { 65, 193, 193 } },
    { LV_OP_ADD, 0,   "fff bbb", "n", 0, 0, { 33, 127, 33 * 127 } },
    { LV_OP_ADD, 0,   "fff bbb", "n", 0, 0, { 7, 15, 1 } },
    { LV_OP_ADD, 0,   "fff bbb", "n", 0, 0, { 6, 96, 192 } },
    { LV_OP_ADD, ON0, "fff fbf bbb", "n", 0, 0, { 17, 513, 513 } },

    /* rows cols act; types x y */
    { LV_OP_ACT, 0,   "ff bb fb bf", "nl", 0, 0, { 7, 193, NONE } },
    { LV_OP_ACT, 0,   "ff bb fb bf", "nzld", 0, 0, { 7, 193, RELU } },
    { LV_OP_ACT, 0,   "ff bb fb bf", "nzld", 0, 0, { 33, 65, SILU } },
    { LV_OP_ACT, 0,   "ff bb fb bf", "nzlcd", 0, 0, { 33, 65, GELU } },
    { LV_OP_ACT, 0,   "ff bb fb bf", "nzld", 0, 0, { 1, 1, CLAMP } },
    { LV_OP_ACT, 0,   "ff bb", "nl", 0, 0, { 129, 31, CLAMP } },
    { LV_OP_ACT, ON0, "ff bb", "n", 0, 0, { 65, 127, SILU } },

    /* rows cols; types x g y */
    { LV_OP_GLU, 0,   "fff bbb fbb bff", "nzl", 0, 0, { 33, 193 } },
    { LV_OP_GLU, ON0, "fff bbb", "n", 0, 0, { 7, 129 } },
    { LV_OP_GLU, ON1, "fff bbb", "nd", 0, 0, { 1, 513 } },

    /* L V C; types table y */
    { LV_OP_EMBED, FIX, "ff fb bb bf hf hb", "n", 0, 0, { 33, 127, 65 } },
    { LV_OP_EMBED, 0,   "ff bb", "n", 0, 0, { 1, 1, 1 } },

    /* n B */
    { LV_OP_SINUSOID, 0, "", "nzc", 0, 0, { 128 } },
    { LV_OP_SINUSOID, 0, "", "n", 0, 0, { 1 } },
    { LV_OP_SINUSOID, 0, "", "nc", 0, 0, { 13 } },
    { LV_OP_SINUSOID, 0, "", "n", 0, 0, { 65, 5 } },

    /* C F Y X pt ph pw B (0: rank 4) order; type of the tokens */
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2 } },
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3 } },
    { LV_OP_PATCHIFY, 0, "f", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1 } },
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3, 0, FAST } },
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2, 3, SLOW } },
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 5, 2, 4, 6, 2, 1, 3, 2, FAST } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2, 0, FAST } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3, 0, FAST } },
    { LV_OP_UNPATCHIFY, 0, "f", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1, 0, FAST } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3, 0, SLOW } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2, 3, FAST } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 5, 2, 4, 6, 2, 1, 3, 2, SLOW } },

    /* B Y X C O k stride pad act; types x w r y */
    { LV_OP_CONV, 0,             "ffff bbbb", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1, 0, NONE } },
    { LV_OP_CONV, B | FIX,       "ffff bbbb fbfb bfff bhff", "nz", 0, 0,
      { 2, 7, 9, 16, 17, 3, 1, 1, RELU } },
    { LV_OP_CONV, B | RES | FIX, "ffff bbbb ffbf bbfb", "nd", 0, 0,
      { 3, 8, 5, 33, 16, 3, 1, 1, RELU } },
    { LV_OP_CONV, RES,           "ffff bbbb", "n", 0, 0, { 1, 9, 11, 5, 12, 3, 1, 0, NONE } },
    { LV_OP_CONV, B | FIX,       "ffff bbbb", "n", 0, 0, { 2, 9, 8, 12, 31, 3, 2, 1, SILU } },
    { LV_OP_CONV, FIX,           "ffff bbbb", "nl", 0, 0, { 1, 7, 7, 64, 3, 3, 2, 0, NONE } },
    { LV_OP_CONV, B,             "ffff bbbb fhfb", "n", 0, 0,
      { 2, 5, 13, 65, 64, 1, 1, 0, NONE } },
    { LV_OP_CONV, FIX,           "ffff bbbb", "n", 0, 0, { 1, 6, 5, 7, 4, 1, 2, 0, GELU } },
    { LV_OP_CONV, B | FIX,       "ffff bbbb", "nc", 0, 0, { 1, 3, 3, 128, 129, 3, 1, 1, CLAMP } },
    { LV_OP_CONV, B | RES,       "ffff bbbb", "n", 0, 0, { 1, 2, 2, 3, 5, 3, 1, 2, SILU } },
    { LV_OP_CONV, B | RES | FIX, "ffff bbbb bffb", "n", 0, 0,
      { 3, 9, 11, 24, 72, 3, 1, 1, RELU } },
    { LV_OP_CONV, B,             "ffff bbbb", "n", 0, 0, { 2, 10, 12, 72, 136, 3, 2, 1, GELU } },

    /* B Y X C */
    { LV_OP_RECALL, 0,   "f b", "n", 0, 0, { 1, 3, 5, 7 } },
    { LV_OP_RECALL, 0,   "f b", "n", 0, 0, { 4, 8, 9, 64 } },
    { LV_OP_RECALL, ON1, "f b", "n", 0, 0, { 1, 7, 5, 16 } },
    { LV_OP_RECALL, ON1, "f b", "n", 0, 0, { 3, 5, 7, 33 } },
    { LV_OP_UPSAMPLE, 0, "f b", "n", 0, 0, { 1, 1, 1, 1 } },
    { LV_OP_UPSAMPLE, 0, "f b", "n", 0, 0, { 3, 5, 7, 33 } },

    /* B Y X C n, C being the smaller side's */
    { LV_OP_UNSTACK, 0, "f b", "n", 0, 0, { 1, 3, 5, 7, 1 } },
    { LV_OP_UNSTACK, 0, "f b", "n", 0, 0, { 3, 5, 7, 33, 2 } },
    { LV_OP_UNSTACK, 0, "f b", "n", 0, 0, { 2, 4, 1, 16, 4 } },
    { LV_OP_STACK, 0,   "f b", "n", 0, 0, { 1, 3, 5, 7, 1 } },
    { LV_OP_STACK, 0,   "f b", "n", 0, 0, { 3, 5, 7, 33, 2 } },
    { LV_OP_STACK, 0,   "f b", "n", 0, 0, { 2, 4, 1, 16, 4 } },
    { LV_OP_SHUFFLE, 0,   "ff fb bb bf", "n", 0, 0, { 2, 5, 7, 3, 2 } },
    { LV_OP_SHUFFLE, 0,   "ff bb", "n", 0, 0, { 1, 4, 3, 5, 3 } },
    { LV_OP_SHUFFLE, 0,   "ff bb", "n", 0, 0, { 2, 3, 3, 17, 1 } },
    { LV_OP_UNSHUFFLE, 0, "ff fb bb bf", "n", 0, 0, { 2, 5, 7, 3, 2 } },
    { LV_OP_UNSHUFFLE, 0, "ff bb", "n", 0, 0, { 1, 4, 3, 5, 3 } },
    { LV_OP_UNSHUFFLE, 0, "ff bb", "n", 0, 0, { 2, 3, 3, 17, 1 } },

    /* A n C whole: the tensor [A,C] is repeated, not its rows; types x y */
    { LV_OP_EXPAND, 0,     "ff bb fb bf", "n", 0, 0, { 5, 3, 193 } },
    { LV_OP_EXPAND, 0,     "ff bb", "n", 0, 0, { 1, 1, 1 } },
    { LV_OP_EXPAND, 0,     "ff bb", "n", 0, 0, { 2, 7, 4097 } },
    { LV_OP_EXPAND, 0,     "ff bb", "n", 0, 0, { 6, 4, 33, 1 } },
    { LV_OP_REDUCE, 0,     "ff bb fb bf", "nz", 0, 0, { 5, 3, 193 } },
    { LV_OP_REDUCE, 0,     "ff bb", "n", 0, 0, { 1, 1, 1 } },
    { LV_OP_REDUCE, 0,     "ff bf", "nl", 0, 0, { 1, 1283, 65 } },
    { LV_OP_REDUCE, AD(0), "ff bf bb", "n", 0, 0, { 3, 127, 129 } },
    { LV_OP_REDUCE, AD(0), "ff", "o", 4, 0, { 1, 40009, 1 } },
    { LV_OP_REDUCE, 0,     "ff bf", "n", 0, 0, { 6, 4, 33, 1 } },

    /* rows cols; type of y; s: value */
    { LV_OP_FILL, 0, "f b", "n", 0, 0,     { 1, 1 } },
    { LV_OP_FILL, 0, "f b", "n", 0, -1.7f, { 17, 4099 } },

    /* B rows-of-a-sample cols kind; types x target dx */
    { LV_OP_LOSS, 0,     "fff bbb", "n", 0, 0, { 1, 1, 1, MSE } },
    { LV_OP_LOSS, 0,     "fff fbf bfb bbb ffb", "nzld", 0, 0, { 3, 7, 193, MSE } },
    { LV_OP_LOSS, 0,     "fff bbf", "nzl", 0, 0, { 2, 33, 513, ROOT } },
    { LV_OP_LOSS, NO(1), "fff bbf", "n", 0, 0, { 5, 1, 129, ROOT } },
    { LV_OP_LOSS, NO(1), "fff", "n", 0, 0, { 1, 65, 1027, MSE } },

    /* rows cols */
    { LV_OP_SQSUM, 0,     "", "n", 0, 0, { 1, 1 } },
    { LV_OP_SQSUM, 0,     "", "nzld", 0, 0, { 17, 193 } },
    { LV_OP_SQSUM, AD(0), "", "n", 0, 0, { 65, 1031 } },

    /* n clip norm */
    { LV_OP_ADAMW, 0,                "", "n", 0, 0, { 1 } },
    { LV_OP_ADAMW, NO(3),            "", "nzl", 0, 0, { 193 } },
    { LV_OP_ADAMW, OPS_NORM,         "", "n", 0, 0, { 4097, 1, 9 } },
    { LV_OP_ADAMW, OPS_NORM,         "", "nd", 0, 0, { 127, 3, 1 } },
    { LV_OP_ADAMW, OPS_NORM | NO(3), "", "n", 0, 0, { 40009, 0, 9 } },
    { LV_OP_ADAMW, OPS_NORM,         "", "z", 0, 0, { 65, 1, 0 } },

    /* M K N; types dy w dx */
    { LV_OP_LINEAR_DX, 0,           "fff bbb fbf fhb bff", "n", 0, 0, { 1, 1, 1 } },
    { LV_OP_LINEAR_DX, FIX,         "fff fbf fhb bbb bhf bfb", "nz", 0, 0, { 33, 65, 17 } },
    { LV_OP_LINEAR_DX, FIX,         "fff bbb", "nld", 0, 0, { 64, 128, 64 } },
    { LV_OP_LINEAR_DX, AD(0),       "fff bbb bbf", "n", 0, 0, { 31, 63, 129 } },
    { LV_OP_LINEAR_DX, FIX | AD(0), "fff bbb bfb", "n", 0, 0, { 65, 127, 33 } },
    { LV_OP_LINEAR_DX, 0,           "fff bbb", "n", 0, 0, { 513, 32, 15 } },
    { LV_OP_LINEAR_DX, FIX,         "fff bbb", "n", 0, 0, { 7, 1, 513 } },
    { LV_OP_LINEAR_DX, FIX,         "fff bbb", "n", 0, 0, { 129, 513, 2 } },
    { LV_OP_LINEAR_DX, 0,           "fff bbb", "n", 2, 0, { 3, 5, 2051 } },

    /* M K N; types dy and x */
    { LV_OP_LINEAR_DW, 0,     "f b", "n", 0, 0, { 1, 1, 1 } },
    { LV_OP_LINEAR_DW, 0,     "f b", "nzld", 0, 0, { 33, 65, 17 } },
    { LV_OP_LINEAR_DW, 0,     "f b", "n", 0, 0, { 64, 128, 64 } },
    { LV_OP_LINEAR_DW, AD(0), "f b", "n", 0, 0, { 31, 63, 129 } },
    { LV_OP_LINEAR_DW, 0,     "f b", "n", 0, 0, { 129, 16, 3 } },
    { LV_OP_LINEAR_DW, 0,     "f b", "n", 0, 0, { 1, 33, 513 } },
    { LV_OP_LINEAR_DW, AD(0), "f b", "n", 0, 0, { 513, 127, 33 } },
    { LV_OP_LINEAR_DW, 0,     "f b", "n", 2, 0, { 2051, 5, 1 } },

    /* M C kind rows-of-mod shift scale batch; types x dy dx */
    { LV_OP_NORM_DX, 0,           "fff bbb", "n", 0, 0, { 1, 1, LAYER } },
    { LV_OP_NORM_DX, NO(1) | NO(2) | NO(3),
      "fff fbf bbb bfb fbb", "nz", 0, 0, { 5, 192, LAYER } },
    { LV_OP_NORM_DX, MOD | NO(1) | NO(2), "fff fbf bbb", "nzd", 0, 0,
      { 65, 193, LAYER, 6, 0, 1 } },
    { LV_OP_NORM_DX, G | B | NO(3),       "fff bbb", "nl", 0, 0, { 33, 127, LAYER } },
    { LV_OP_NORM_DX, G | B | NO(3),       "fff", "o", 20, 0, { 9, 1536, LAYER } },
    { LV_OP_NORM_DX, G | B | MOD,         "fff fbf bbb", "n", 0, 0,
      { 7, 513, LAYER, 2, 1, 0 } },
    { LV_OP_NORM_DX, G | B | MOD | AD(0) | AD(1) | AD(2), "fff bbb", "n", 0, 0,
      { 31, 65, LAYER, 3, 2, 1 } },
    { LV_OP_NORM_DX, G | NO(0) | NO(2),   "fff bbf", "n", 0, 0, { 17, 64, LAYER } },
    { LV_OP_NORM_DX, MOD | NO(0) | NO(1) | NO(2), "fff", "n", 0, 0,
      { 129, 31, LAYER, 6, 4, 5 } },
    { LV_OP_NORM_DX, MOD | ONDY,          "fff fbb bbb", "n", 0, 0,
      { 16, 129, LAYER, 6, 3, 4 } },
    { LV_OP_NORM_DX, G | NO(2) | NO(3),   "fff bbb bfb", "nz", 0, 0, { 513, 15, RMS } },
    { LV_OP_NORM_DX, G | NO(1) | NO(2) | NO(3), "fff bbb", "nl", 0, 0, { 11, 128, RMS } },
    { LV_OP_NORM_DX, G | B | MOD | ONDY | AD(1), "fff bbb", "n", 0, 0,
      { 64, 63, RMS, 1, 0, 0 } },
    { LV_OP_NORM_DX, MOD | G | B,         "fff fbf bbb", "n", 0, 0,
      { 66, 65, LAYER, 6, 3, 4, 2 } },
    { LV_OP_NORM_DX, MOD | G | AD(0) | AD(1) | AD(2), "fff bbb", "n", 0, 0,
      { 1285, 48, LAYER, 2, 0, 1, 5 } },
    { LV_OP_NORM_DX, MOD | G,             "fff", "n", 0, 0, { 6, 33, RMS, 2, 1, 0, 3 } },

    /* M C rows-of-mod row batch; types x dy dx */
    { LV_OP_GATE_DX, MOD,         "fff bbb", "n", 0, 0, { 1, 1, 1, 0 } },
    { LV_OP_GATE_DX, MOD,         "fff fbf bbb bfb", "nzl", 0, 0, { 65, 193, 6, 5 } },
    { LV_OP_GATE_DX, MOD | NO(0), "fff bff", "n", 0, 0, { 513, 64, 6, 2 } },
    { LV_OP_GATE_DX, MOD | NO(1) | OPS_NO_X, "fff fbb", "n", 0, 0, { 33, 127, 2, 1 } },
    { LV_OP_GATE_DX, NO(1) | OPS_NO_X | AD(0), "fff fbb", "n", 0, 0, { 7, 513, 0, 0 } },
    { LV_OP_GATE_DX, MOD | AD(0), "fff fbf bbb", "n", 0, 0, { 66, 65, 6, 5, 2 } },
    { LV_OP_GATE_DX, MOD | ONDY,  "fff fbb", "n", 0, 0, { 1285, 48, 1, 0, 5 } },

    /* M H D M-over-L; types x dy dx */
    { LV_OP_QKNORM_DX, 0,            "fff bbb", "n", 0, 0, { 1, 1, 2 } },
    { LV_OP_QKNORM_DX, ROPE,         "fff fbb bbb bfb", "nzl", 0, 0, { 65, 4, 48 } },
    { LV_OP_QKNORM_DX, ROPE | NO(1), "fff bbb", "nd", 0, 0, { 33, 3, 12 } },
    { LV_OP_QKNORM_DX, NO(0),        "fff bbb", "n", 0, 0, { 7, 5, 11 } },
    { LV_OP_QKNORM_DX, ROPE | AD(0) | AD(1), "fff bbb", "n", 0, 0, { 129, 2, 64 } },
    { LV_OP_QKNORM_DX, ROPE | ONDY,  "fff bbb", "n", 0, 0, { 513, 3, 10 } },
    { LV_OP_QKNORM_DX, ROPE,         "fff bbb", "n", 0, 0, { 66, 2, 12, 3 } },

    /* Lq Lk H D buckets max_distance batch; types qkv o dy grads; s: scale. Where only
     * one key counts the gradients of q and k vanish. */
    { LV_OP_ATTN_DX, NO(0) | NO(1) | NO(3), "ffff bbbb", "n", 0, 0, { 1, 1, 1, 12 } },
    { LV_OP_ATTN_DX, NO(0) | NO(1) | NO(3), "ffff bbbb", "n", 0, 0, { 7, 1, 2, 64 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff bbbb bbff bfbf", "nz", 0, 0, { 33, 65, 3, 12 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff fbfb bbbb", "nd", 0, 0, { 64, 64, 4, 48 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff bbbb", "n", 0, 0, { 127, 129, 2, 64 } },
    { LV_OP_ATTN_DX, NO(1) | NO(2) | NO(3), "ffff bbbb", "n", 0, 0, { 128, 31, 3, 128 } },
    { LV_OP_ATTN_DX, NO(0) | NO(3),  "ffff bbbb", "n", 0, 0, { 129, 257, 1, 128 } },
    { LV_OP_ATTN_DX, NO(3) | AD(0) | AD(1) | AD(2), "ffff bbbf bbbb", "n", 0, 0,
      { 65, 33, 2, 48 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff bbbb", "l", 200, 0, { 65, 100, 2, 64 } },
    { LV_OP_ATTN_DX, KEYB | NO(3),   "ffff bbbb", "n", 0, 0, { 32, 63, 2, 48 } },
    { LV_OP_ATTN_DX, KEYB | NO(0) | NO(1) | NO(3), "ffff bbbb", "m", 0, 0,
      { 17, 300, 3, 64 } },
    { LV_OP_ATTN_DX, RELB | FIX,     "ffff bbbb", "n", 5, 1, { 33, 33, 2, 12, 32, 128 } },
    { LV_OP_ATTN_DX, RELB | KEYB,    "ffff bbbb", "n", 5, 1, { 100, 100, 3, 64, 32, 128 } },
    { LV_OP_ATTN_DX, RELB | AD(3) | NO(0) | NO(1) | NO(2), "ffff bbbb", "n", 5, 0,
      { 40, 90, 2, 12, 16, 64 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff bbbb", "n", 0, 0, { 33, 65, 2, 12, 0, 0, 2 } },
    { LV_OP_ATTN_DX, KEYB | NO(3) | AD(1), "ffff bbbb", "n", 0, 0,
      { 129, 40, 3, 64, 0, 0, 3 } },
    { LV_OP_ATTN_DX, RELB | KEYB,    "ffff bbbb", "n", 5, 1, { 40, 33, 2, 48, 32, 128, 2 } },
    { LV_OP_ATTN_DX, KEYB | NO(3),   "ffff bbbb", "x", 0, 0, { 33, 40, 2, 12, 0, 0, 2 } },
    { LV_OP_ATTN_DX, KEYB | NO(3) | AD(0) | AD(2), "ffff bbfb bbbf", "nx", 0, 0,
      { 200, 130, 2, 64, 0, 0, 2 } },
    { LV_OP_ATTN_DX, KEYB | NO(3) | AD(1), "ffff bbbb", "nx", 0, 0,
      { 150, 70, 1, 128, 0, 0, 2 } },

    /* L H D P map batch; types qkv w o dy grads; s: eps. With one token
     * only v has any. RELU leaves some tokens without features: eps keeps those few
     * from deciding the error. */
    { LV_OP_LINATTN_DX, NO(0) | NO(1) | NO(3) | NO(4), "fffff bbbbb", "n", 0, 0,
      { 1, 1, 12, 5, HEDGE } },
    { LV_OP_LINATTN_DX, FIX,    "fffff bbbbb bfbbf bhfff", "n", 1.5, 0, { 65, 3, 12, 48, HEDGE } },
    { LV_OP_LINATTN_DX, 0,      "fffff fbbfb bbbbb", "nzd", 0, 0, { 129, 2, 48, 64, HEDGE } },
    { LV_OP_LINATTN_DX, FIX,    "fffff bbbbb", "n", 0, 0, { 257, 2, 64, 64, HEDGE } },
    { LV_OP_LINATTN_DX, 0,      "fffff bbbbb", "n", 0, 0, { 127, 3, 128, 128, HEDGE } },
    { LV_OP_LINATTN_DX, NO(3) | NO(4), "fffff bbbbb", "n", 0, 0, { 64, 5, 48, 5, HEDGE } },
    { LV_OP_LINATTN_DX, NO(1) | NO(2) | NO(4), "fffff bbbbb", "n", 0, 0,
      { 513, 1, 12, 31, HEDGE } },
    { LV_OP_LINATTN_DX, AD(0) | AD(1) | AD(2) | AD(3) | AD(4), "fffff bbbbb", "n", 0, 0,
      { 33, 2, 48, 16, HEDGE } },
    { LV_OP_LINATTN_DX, FIX,    "fffff bbbbb", "nz", 0, 0.1f, { 63, 2, 12, 5, RELUM } },
    { LV_OP_LINATTN_DX, 0,      "fffff bbbbb", "n", 4, 1e-3f, { 130, 2, 64, 128, RELUM } },
    { LV_OP_LINATTN_DX, FIX,    "fffff bbbbb bfbbf", "nz", 4, 0, { 33, 3, 12, 5, TAYL } },
    { LV_OP_LINATTN_DX, 0,      "fffff bbbbb", "n", 4, 0, { 128, 2, 64, 16, TAYL } },
    { LV_OP_LINATTN_DX, 0,      "fffff bbbbb", "n", 0, 0, { 65, 2, 48, 64, HEDGE, 2 } },
    { LV_OP_LINATTN_DX, AD(4),  "fffff bbbbb", "n", 0, 0.1f, { 130, 1, 12, 5, RELUM, 3 } },
    { LV_OP_LINATTN_DX, 0,      "fffff bbbbb", "n", 4, 0, { 33, 2, 12, 5, TAYL, 2 } },
    { LV_OP_LINATTN_DX, AD(0) | AD(1) | AD(2) | AD(3) | AD(4), "fffff bbbbb bfbfb", "n",
      0, 0, { 700, 2, 64, 64, HEDGE, 2 } },
    { LV_OP_LINATTN_DX, 0,      "bbbbb bfbbf", "n", 0, 0, { 600, 1, 128, 64, HEDGE, 2 } },
    { LV_OP_LINATTN_DX, 0,      "bbbbb", "n", 0, 0, { 130, 2, 64, 128, HEDGE, 3 } },

    /* rows cols; types a b dy grads */
    { LV_OP_MIX_DX, 0,                     "ffff bbbb fbfb bfbf", "nzl", 0, 0, { 33, 193 } },
    { LV_OP_MIX_DX, 0,                     "ffff bbbb", "n", 0, 0, { 1, 1 } },
    { LV_OP_MIX_DX, AD(0) | AD(1) | AD(2), "ffff bbbb", "n", 0, 0, { 65, 1027 } },
    { LV_OP_MIX_DX, NO(0) | NO(1),         "ffff bbff", "n", 0, 0, { 129, 513 } },
    { LV_OP_MIX_DX, NO(2) | NO(0),         "ffff bbbb", "n", 0, 0, { 7, 31 } },

    /* rows cols act; types x dy dx */
    { LV_OP_ACT_DX, 0,     "fff bbb fbf bff", "nz", 0, 0, { 7, 193, NONE } },
    { LV_OP_ACT_DX, 0,     "fff bbb fbb bff", "nzld", 0, 0, { 33, 65, RELU } },
    { LV_OP_ACT_DX, 0,     "fff bbb fbb bff", "nzld", 0, 0, { 33, 65, SILU } },
    { LV_OP_ACT_DX, 0,     "fff bbb fbb bff", "nzlcd", 0, 0, { 33, 65, GELU } },
    { LV_OP_ACT_DX, 0,     "fff bbb fbb bff", "nzld", 0, 0, { 129, 31, CLAMP } },
    { LV_OP_ACT_DX, AD(0), "fff bbb", "n", 0, 0, { 1, 1, SILU } },
    { LV_OP_ACT_DX, AD(0), "fff bbb bff", "n", 0, 0, { 17, 4099, GELU } },
    { LV_OP_ACT_DX, ONDY,  "fff bbb", "n", 0, 0, { 65, 127, RELU } },

    /* rows cols; types x g dy grads */
    { LV_OP_GLU_DX, 0,             "ffff bbbb fbfb bfbf", "nzld", 0, 0, { 33, 193 } },
    { LV_OP_GLU_DX, AD(0) | AD(1), "ffff bbbb", "n", 0, 0, { 17, 4099 } },
    { LV_OP_GLU_DX, NO(0),         "ffff bbbb", "n", 0, 0, { 1, 1 } },
    { LV_OP_GLU_DX, NO(1) | AD(0), "ffff bbbf", "n", 0, 0, { 7, 129 } },
    { LV_OP_GLU_DX, ONDY,          "ffff bbbb", "n", 0, 0, { 65, 513 } },

    /* M V C; type of dy */
    { LV_OP_EMBED_DX, 0,     "f b", "n", 0, 0, { 33, 127, 65 } },
    { LV_OP_EMBED_DX, 0,     "f b", "n", 0, 0, { 1, 1, 1 } },
    { LV_OP_EMBED_DX, AD(0), "f b", "nz", 0, 0, { 513, 5, 129 } },
    { LV_OP_EMBED_DX, 0,     "f", "l", 0, 0, { 2051, 2, 300 } },

    /* B Y X C O k stride pad, as of CONV; types dy w dx */
    { LV_OP_CONV_DX, 0,     "fff bbb", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1, 0 } },
    { LV_OP_CONV_DX, FIX,   "fff fbf fhb bbb bhf bfb", "nz", 0, 0,
      { 2, 7, 9, 16, 17, 3, 1, 1 } },
    { LV_OP_CONV_DX, AD(0), "fff bbb bbf", "n", 0, 0, { 3, 8, 5, 33, 16, 3, 1, 1 } },
    { LV_OP_CONV_DX, FIX,   "fff bbb", "n", 0, 0, { 1, 9, 11, 5, 12, 3, 1, 0 } },
    { LV_OP_CONV_DX, 0,     "fff bbb", "n", 0, 0, { 2, 8, 8, 16, 32, 3, 2, 1 } },
    { LV_OP_CONV_DX, FIX,   "fff bbb", "n", 0, 0, { 1, 7, 10, 3, 5, 3, 2, 1 } },
    { LV_OP_CONV_DX, AD(0), "fff bbb", "n", 0, 0, { 2, 6, 5, 8, 4, 1, 2, 0 } },
    { LV_OP_CONV_DX, 0,     "fff bbb", "nl", 0, 0, { 1, 17, 16, 64, 63, 3, 1, 1 } },
    { LV_OP_CONV_DX, 0,     "fff bbb", "n", 0, 0, { 1, 6, 7, 4, 5, 5, 1, 2 } },
    { LV_OP_CONV_DX, AD(0), "fff bbb bfb", "n", 0, 0, { 2, 9, 12, 136, 72, 3, 2, 1 } },

    /* B Y X C O k stride pad, as of CONV; types dy and x */
    { LV_OP_CONV_DW, 0,     "f b", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1, 0 } },
    { LV_OP_CONV_DW, 0,     "f b", "nz", 0, 0, { 2, 7, 9, 16, 17, 3, 1, 1 } },
    { LV_OP_CONV_DW, AD(0), "f b", "n", 0, 0, { 3, 8, 5, 33, 16, 3, 1, 1 } },
    { LV_OP_CONV_DW, 0,     "f b", "n", 0, 0, { 1, 9, 11, 5, 12, 3, 1, 0 } },
    { LV_OP_CONV_DW, 0,     "f b", "n", 0, 0, { 2, 8, 8, 16, 32, 3, 2, 1 } },
    { LV_OP_CONV_DW, 0,     "f b", "n", 0, 0, { 1, 7, 10, 3, 5, 3, 2, 1 } },
    { LV_OP_CONV_DW, AD(0), "f b", "n", 0, 0, { 2, 6, 5, 8, 4, 1, 2, 0 } },
    { LV_OP_CONV_DW, 0,     "f b", "nl", 0, 0, { 1, 17, 16, 64, 63, 3, 1, 1 } },
    { LV_OP_CONV_DW, 0,     "f b", "n", 0, 0, { 1, 6, 7, 4, 5, 5, 1, 2 } },

    /* B Y X C, as of RECALL and UPSAMPLE; types dy dx */
    { LV_OP_RECALL_DX, 0,     "ff bb fb bf", "n", 0, 0, { 3, 5, 7, 33 } },
    { LV_OP_RECALL_DX, 0,     "ff bb", "n", 0, 0, { 1, 1, 1, 1 } },
    { LV_OP_RECALL_DX, AD(0), "ff bb bf", "n", 0, 0, { 2, 3, 17, 16 } },
    { LV_OP_UPSAMPLE_DX, 0,     "ff bb fb bf", "n", 0, 0, { 3, 5, 7, 33 } },
    { LV_OP_UPSAMPLE_DX, 0,     "ff bb", "n", 0, 0, { 1, 1, 1, 1 } },
    { LV_OP_UPSAMPLE_DX, AD(0), "ff bb bf", "n", 0, 0, { 2, 3, 17, 16 } },

    /* more losses, as above; behind all others, whose random numbers so stay */
    { LV_OP_LOSS, 0,     "fff bbf", "nzl", 0, 0, { 3, 33, 131, ABS } },
    { LV_OP_LOSS, SIZES, "fff bbf", "nz", 0, 0, { 4, 9, 217, MSE } },
    { LV_OP_LOSS, SIZES | NO(1), "fff", "n", 0, 0, { 2, 65, 517, ABS } },

    /* and gradients of linear attention at the least of sizes */
    { LV_OP_LINATTN_DX, 0, "fffff", "n", 0, 0, { 7, 2, 5, 3, HEDGE } },
    { LV_OP_LINATTN_DX, 0, "fffff", "n", 4, 0.1f, { 7, 2, 5, 3, RELUM } },
    { LV_OP_LINATTN_DX, 0, "fffff", "n", 4, 0, { 7, 2, 5, 3, TAYL } },
    { LV_OP_MIX_DX, 0,     "ffff", "n", 0, 0, { 7, 5 } },

    /* F Y X C O T k step P; types x w r y; SILU with a residual, pad k / 2 */
    { LV_OP_CONV3, 0,             "ffff bbbb", "n", 0, 0, { 1, 1, 1, 1, 1, 2, 1, 1, 1 } },
    { LV_OP_CONV3, B | FIX,       "ffff bbbb fbfb bfff bhff", "nz", 0, 0,
      { 4, 5, 7, 16, 17, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B | RES | FIX, "ffff bbbb ffbf bbfb", "nd", 0, 0,
      { 1, 19, 6, 33, 16, 3, 3, 1, 2 } },
    { LV_OP_CONV3, RES | ON1,     "ffff bbbb", "n", 0, 0, { 2, 9, 8, 12, 31, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B | ON1 | FIX, "ffff bbbb", "n", 0, 0, { 1, 8, 9, 8, 16, 3, 1, 1, 2 } },
    { LV_OP_CONV3, B | FIX,       "ffff bbbb", "nl", 0, 0, { 4, 6, 5, 8, 8, 3, 1, 2, 1 } },
    { LV_OP_CONV3, B | ON1,       "ffff bbbb", "n", 0, 0, { 2, 6, 5, 24, 8, 3, 1, 2, 1 } },

    /* ATTN on tensor cores once more, behind all others: the number of a case is its seed */
    { LV_OP_ATTN, STATS,              "bb", "n", 0, 0, { 1, 1, 1, 128, 0, 0, 2 } },
    { LV_OP_ATTN, STATS,              "bb", "n", 0, 0, { 65, 881, 1, 128 } },
    { LV_OP_ATTN, STATS,              "bb bf", "n", 0, 0, { 131, 145, 3, 64, 0, 0, 3 } },
    { LV_OP_ATTN, 0,                  "bb", "nl", 200, 0, { 257, 353, 3, 128, 0, 0, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "bb", "nmx", 0, 0, { 140, 400, 2, 128, 0, 0, 2 } },
    { LV_OP_ATTN, STATS,              "bb", "n", 0, 0, { 420, 1153, 1, 64 } },

    /* Behind all others, which so keep their numbers: what has kernels of its own. */
    { LV_OP_LINATTN, STATS,       "bbb", "nzc", 0, 0, { 1, 2, 128, 64, HEDGE, 2 } },
    { LV_OP_LINATTN, FIX,         "bfb bbf", "nd", 0, 0, { 64, 3, 128, 64, HEDGE } },
    { LV_OP_LINATTN, STATS,       "bbb bfb", "n", 0, 0, { 193, 1, 64, 64, HEDGE, 3 } },
    { LV_OP_LINATTN, FIX,         "bbb", "l", 20, 0, { 190, 2, 128, 64, HEDGE } },
    { LV_OP_LINATTN, STATS,       "bbb", "n", 0, 0, { 1600, 2, 128, 64, HEDGE } },
    { LV_OP_NORM, MOD | ON0,          "ff bb", "n", 0, 1e-6f, { 6, 2048, LAYER, 6, 3, 4, 3 } },
    { LV_OP_NORM, G | B | MOD | STATS, "ff fb", "n", 0, 1e-6f, { 3, 2056, LAYER, 2, 1, 0 } },
    { LV_OP_NORM, G | STATS,          "ff bb", "nl", 2, 1e-6f, { 2, 5120, RMS } },
    { LV_OP_NORM, B,                  "ff fb", "n", 0, 1e-6f, { 2, 5128, LAYER } },
    { LV_OP_QKNORM, ROPE | STATS,       "ff bb", "n", 2, 1e-6f, { 6, 12, 128, 2 } },
    { LV_OP_QKNORM, ROPE | ON0,         "bb", "n", 0, 1e-6f, { 2, 40, 128 } },
    { LV_OP_QKNORM, ROPE,               "fb", "n", 0, 1e-6f, { 2, 300, 12 } },

    /* heads of more than 256 channels; numbers follow the place in this list, so new cases
     * stand here */
    { LV_OP_ATTN, 0,                  "ff bb fb bf", "nd", 0, 0, { 35, 61, 1, 384 } },
    { LV_OP_ATTN, STATS,              "ff bb", "nl", 300, 0, { 130, 33, 2, 320, 0, 0, 2 } },
    { LV_OP_ATTN, KEYB | STATS,       "ff bb", "nx", 0, 0, { 40, 67, 2, 261, 0, 0, 2 } },
    { LV_OP_ATTN, RELB | KEYB,        "ff bb", "n", 5, 1, { 33, 70, 2, 300, 32, 128, 2 } },
    { LV_OP_ATTN_DX, NO(3),          "ffff bbbb bbff", "n", 0, 0, { 35, 61, 1, 384 } },
    { LV_OP_ATTN_DX, RELB | KEYB | AD(0) | AD(2), "ffff bbfb", "n", 5, 1,
      { 70, 33, 2, 261, 32, 128, 2 } },

    /* convolutions whose tiles do not fit the pictures, with as many outputs as kernels
     * for 9.0 take at once */
    { LV_OP_CONV, B | RES | FIX,  "bbbb bbfb", "n", 0, 0, { 2, 19, 21, 96, 96, 3, 1, 1, SILU } },
    { LV_OP_CONV, B | FIX,        "bbbb", "n", 0, 0, { 1, 17, 35, 40, 192, 3, 1, 1, NONE } },
    { LV_OP_CONV, RES,            "bbbf", "nl", 0, 0, { 1, 9, 16, 136, 128, 1, 1, 0, RELU } },
    { LV_OP_CONV3, B | RES | ON1, "bbbb", "n", 0, 0, { 3, 18, 20, 96, 384, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B | FIX,       "bbbf", "n", 2, 0, { 2, 33, 17, 96, 3, 3, 3, 1, 2 } },
    { LV_OP_CONV3, B,             "bbbb", "n", 0, 0, { 4, 7, 19, 64, 128, 3, 1, 2, 1 } },
    { LV_OP_ACT, 0,   "ff bb fb bf", "nzlcd", 0, 0, { 33, 65, EXACT } },
    { LV_OP_ACT_DX, 0,     "fff bbb fbb bff", "nzlcd", 0, 0, { 33, 65, EXACT } },
    { LV_OP_LINEAR, B,       "fff bff bfb", "n", 0, 0, { 129, 16, 3, EXACT } },
    { LV_OP_CONV, B | FIX, "ffff bbbb", "n", 0, 0, { 2, 5, 6, 8, 24, 3, 1, 1, EXACT } },
    { LV_OP_SHUFFLE, 0,   "ff bf", "n", 0, 0, { 2, 5, 7, 3, 2, 1 } },
    { LV_OP_UNSHUFFLE, 0, "ff fb", "n", 0, 0, { 2, 5, 7, 3, 2, 1 } },

    /* F Y X C O ft fs, Y and X being the smaller side's; of DUP_UP frames left out */
    { LV_OP_AVG_DOWN, RES, "fff bbb fbf bfb", "n", 0, 0, { 4, 3, 5, 8, 16, 2, 2 } },
    { LV_OP_AVG_DOWN, RES, "fff bbb", "n", 0, 0, { 1, 3, 5, 6, 12, 2, 2 } },
    { LV_OP_AVG_DOWN, 0,   "fff bbb", "nl", 0, 0, { 5, 2, 3, 160, 160, 1, 2 } },
    { LV_OP_AVG_DOWN, RES, "fff", "n", 0, 0, { 7, 1, 2, 4, 6, 3, 3 } },
    { LV_OP_DUP_UP, RES,   "fff bbb fbf bfb", "n", 0, 0, { 2, 3, 5, 8, 8, 2, 2, 0 } },
    { LV_OP_DUP_UP, RES,   "fff bbb", "n", 0, 0, { 1, 3, 5, 8, 4, 2, 2, 1 } },
    { LV_OP_DUP_UP, 0,     "fff bbb", "nl", 0, 0, { 4, 3, 2, 64, 32, 1, 2, 0 } },
    { LV_OP_DUP_UP, RES,   "fff", "n", 0, 0, { 2, 1, 2, 9, 4, 3, 3, 2 } },

    /* NORM with its activation behind batch; to bf16 it rounds twice */
    { LV_OP_NORM, G,              "ff bf", "nz", 0, 1e-6f, { 5, 96, RMS, 0, 0, 0, 1, SILU } },
    { LV_OP_NORM, G,              "fb bb", "nz", 4e3, 1e-6f, { 5, 96, RMS, 0, 0, 0, 1, SILU } },
    { LV_OP_NORM, G | B,          "ff", "n", 0, 1e-6f, { 9, 384, LAYER, 0, 0, 0, 1, GELU } },
    { LV_OP_NORM, G | B,          "bb", "n", 4e3, 1e-6f, { 9, 384, LAYER, 0, 0, 0, 1, GELU } },
    { LV_OP_NORM, G | B | MOD,    "ff bb", "n", 0, 1e-6f, { 6, 33, RMS, 2, 1, 0, 2, RELU } },
    { LV_OP_NORM, ON0,            "ff", "n", 0, 1e-6f, { 3, 1536, RMS, 0, 0, 0, 1, SILU } },
    { LV_OP_NORM, ON0,            "bb", "n", 4e3, 1e-6f, { 3, 1536, RMS, 0, 0, 0, 1, SILU } },

    /* M C rows-of-mod row kind shift scale batch; types r x n */
    { LV_OP_GATE_NORM, MOD,       "fff fbb bbb ffb", "n", 0, 1e-6f,
      { 5, 96, 6, 2, LAYER, 3, 4 } },
    { LV_OP_GATE_NORM, MOD | STATS, "fff fbb bff", "nz", 0, 1e-6f,
      { 64, 193, 6, 5, LAYER, 0, 1 } },
    { LV_OP_GATE_NORM, G | B,     "fff fbb bbb", "n", 0, 1e-6f, { 33, 1536, 0, 0, LAYER } },
    { LV_OP_GATE_NORM, G,         "fff fbb", "n", 0, 1e-6f, { 7, 513, 0, 0, RMS } },
    { LV_OP_GATE_NORM, MOD | ON0, "fff fbb", "n", 0, 1e-6f, { 17, 192, 6, 2, RMS, 1, 0 } },
    { LV_OP_GATE_NORM, MOD | ON1 | G | B, "fff bfb", "n", 0, 1e-6f,
      { 66, 64, 2, 1, LAYER, 0, 1, 2 } },
    { LV_OP_GATE_NORM, MOD | STATS, "fff fbb", "n", 2, 1e-6f,
      { 15, 5120, 6, 2, LAYER, 3, 4, 3 } },

    /* F Y X Y' X' top left old-rows old-cols; s: scale */
    { LV_OP_BLEND, 0,             "f", "nz", 0, 1, { 1, 1, 1, 1, 1 } },
    { LV_OP_BLEND, 0,             "f", "n", 0, 0.5f, { 3, 17, 33, 40, 50, 23, 17, 8, 9 } },
    { LV_OP_BLEND, 0,             "f", "nl", 0, 1, { 2, 31, 65, 31, 70, 0, 5, 31, 0 } },
    { LV_OP_BLEND, 0,             "f", "n", 0, 0.5f, { 4, 64, 96, 65, 97, 1, 0, 0, 96 } },

    /* of F8_E4M3: sizes that are multiples of 16, ones that are not, 48 outputs */
    { LV_OP_LINEAR, B | FIX, "fff fbf fhf bbb bhf bfb", "nzl", 0, 0, { 33, 64, 32, NONE, 2 } },
    { LV_OP_LINEAR, B,       "fff bbb bbf", "n", 0, 0, { 17, 1536, 16, GELU, 2 } },
    { LV_OP_LINEAR, 0,       "fff bbb bhb", "n", 0, 0, { 129, 208, 144, NONE, 2 } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "nd", 0, 0, { 31, 80, 48, SILU, 2 } },
    { LV_OP_LINEAR, FIX,     "fff bbb", "no", 0, 0, { 7, 8960, 16, RELU, 2 } },
    { LV_OP_LINEAR, B | FIX, "fff bbb", "n", 0, 0, { 5, 63, 48, GELU, 2 } },

    /* rows cols 100-times-tau 100-times-alpha; s: scale. Within the size of p, and beyond it */
    { LV_OP_NAG, 0,   "fff bbb fbf bff", "nzcd", 0, 11, { 33, 193, 250, 25 } },
    { LV_OP_NAG, 0,   "fff bbb", "nl", 0, 1.5f, { 65, 1536, 250, 50 } },
    { LV_OP_NAG, ON0, "fff bbb", "n", 0, 5, { 17, 128, 100, 100 } },
    { LV_OP_NAG, ON1, "fff bbb fbb", "n", 0, 5, { 8, 5120, 1000, 25 } },
    { LV_OP_NAG, 0,   "fff", "n", 0, 1, { 1, 1, 100, 0 } },

    /* long rows of e4m3 */
    { LV_OP_LINEAR, 0,       "fff bbb", "n", 0, 0, { 3, 16640, 16, NONE, 2 } },

    /* attention of e4m3: tiles that are not full, samples, scores that are far apart */
    { LV_OP_ATTN, 0,         "bb bf", "nd", 0, 0, { 131, 300, 3, 128, 0, 0, 2, 2 } },
    { LV_OP_ATTN, 0,         "bb", "nd", 0, 0, { 64, 1281, 1, 128, 0, 0, 1, 2 } },
    { LV_OP_ATTN, 0,         "bb", "nz", 0, 0, { 1, 1, 2, 128, 0, 0, 1, 2 } },
    { LV_OP_ATTN, STATS,     "bb", "n", 0, 0, { 33, 65, 2, 128, 0, 0, 1, 2 } },

    /* more tiles of keys than a launch of the kernels for 9.0 has: a head goes on in the next */
    { LV_OP_ATTN_DX, NO(3), "bbbb bbfb", "n", 0, 0, { 150, 700, 3, 128 } },
    { LV_OP_ATTN_DX, KEYB | NO(3) | AD(0), "bbbb", "nx", 0, 0, { 300, 1300, 2, 64, 0, 0, 2 } },

    /* a block and a state of those before it */
    { LV_OP_LINATTN_RUN, FIX, "fff bbb bfb", "nz", 0, 0, { 65, 3, 12, 48, HEDGE } },
    { LV_OP_LINATTN_RUN, 0,   "fff bbb", "n", 0, 0, { 1031, 1, 12, 128, HEDGE } },
    { LV_OP_LINATTN_RUN, FIX, "fff bbb", "n", 0, 0, { 130, 2, 48, 64, RELUM, 2 } },
    { LV_OP_LINATTN_RUN, 0,   "fff bbb", "n", 16, 0, { 33, 2, 64, 16, TAYL } },
    { LV_OP_LINATTN_RUN, FIX, "bbb bfb", "n", 0, 0, { 400, 2, 128, 64, HEDGE } },
    { LV_OP_LINATTN_RUN, 0,   "bbb", "nc", 0, 0, { 193, 1, 64, 64, HEDGE, 2 } },
};

char ops_role(int op, int t)
{
    return ops[op].role[t];
}

int ops_optional(int op, int t)
{
    return ops[op].optional[t] == 'o';
}

int ops_type_index(int op, int t)
{
    char c = ops[op].type[t];

    return c >= '0' && c <= '9' ? c - '0' : -1;
}

/* Words in s, at least 1. */
static int words(const char *s)
{
    int n = 1;

    for (; *s; s++)
        n += *s == ' ';
    return n;
}

static const char *word(const char *s, int i)
{
    for (; i > 0; i--)
        s = strchr(s, ' ') + 1;
    return s;
}

int ops_row_count(void)
{
    return LV_COUNT(rows);
}

int ops_row_start(int row)
{
    int n = 0;

    for (int i = 0; i < row; i++)
        n += words(rows[i].types) * (int)strlen(rows[i].kinds);
    return n;
}

int ops_case_count(void)
{
    return ops_row_start(ops_row_count());
}

/* Whether the op's products are in bf16 and must round what they take in. */
static int rounds(int op, int flags, const char *type)
{
    switch (op) {
    case LV_OP_LINEAR:     return type[0] == 'b' && (type[1] != 'b' || flags & OPS_BIAS);
    case LV_OP_CONV:
    case LV_OP_CONV3:
    case LV_OP_LINEAR_DX:
    case LV_OP_CONV_DX:    return type[0] == 'b' && type[1] != 'b';
    case LV_OP_ATTN:
    case LV_OP_LINATTN:
    case LV_OP_LINATTN_RUN:
    case LV_OP_ATTN_DX:
    case LV_OP_LINATTN_DX: return type[0] == 'b';
    }
    return 0;
}

OpsCase ops_case(int i)
{
    const Row *r = rows;
    uint64_t seed = (uint64_t)i;
    double slack, half;
    OpsCase c;

    for (int n; i >= (n = words(r->types) * (int)strlen(r->kinds)); r++)
        i -= n;
    c = (OpsCase) {
        .op = r->op, .flags = r->flags, .s = r->s, .seed = seed,
        .type = word(r->types, i / (int)strlen(r->kinds)),
        .kind = r->kinds[i % (int)strlen(r->kinds)],
    };
    memcpy(c.n, r->n, sizeof(c.n));
    slack      = r->slack > 0 ? r->slack : 1;
    half       = rounds(c.op, c.flags, c.type) ? ops[c.op].half : 0;
    if (c.op == LV_OP_LINEAR && c.n[4] == LV_MATMUL_F8)
        half += 5e-4; /* sums of tensor cores */
    if (c.op == LV_OP_ATTN && c.n[7] == LV_MATMUL_F8 && !(c.flags & STATS))
        half = 0.1; /* rounded or not */
    c.tol      = slack * (ops[c.op].sum + half);
    c.stat_tol = slack * (ops[c.op].stat + (c.op == LV_OP_ATTN ? 0 : half));
    return c;
}

static LvTensor tensor(int rank, int a, int b, int c, int d, int e)
{
    return (LvTensor) {
        .rank = (uint8_t)rank,
        .dim = { a, rank > 1 ? b : 1, rank > 2 ? c : 1, rank > 3 ? d : 1,
                 rank > 4 ? e : 1 },
    };
}

#define T1(a)          tensor(1, a, 1, 1, 1, 1)
#define T2(a, b)       tensor(2, a, b, 1, 1, 1)
#define T3(a, b, c)    tensor(3, a, b, c, 1, 1)
#define T4(a, b, c, d) tensor(4, a, b, c, d, 1)
#define T5(a, b, c, d, e) tensor(5, a, b, c, d, e)
/* a tensor that is there only with a flag; output i unless a flag takes it away */
#define IF(flag, t)    ((f & (flag)) ? (t) : LV_NO_TENSOR)
#define OUT(i, t)      ((f & OPS_LESS(i)) ? LV_NO_TENSOR : (t))
#define ADDED          (f >> 24 & 31)

static void shape_linear(LvLinearArgs *a, const int *n, int f, float s)
{
    *a = (LvLinearArgs) {
        T2(n[0], n[1]), T2(n[2], n[1]), IF(B, T1(n[2])), T2(n[0], n[2]), .act = n[3],
        .of = (enum LvMatmul)n[4],
    };
    (void)s;
}

/* A number that a row may leave out when it is 1. */
static int samples(int n)
{
    return LV_MAX(n, 1);
}

static void shape_norm(LvNormArgs *a, const int *n, int f, float s)
{
    *a = (LvNormArgs) {
        T2(n[0], n[1]), IF(G, T1(n[1])), IF(B, T1(n[1])),
        IF(MOD, T2(samples(n[6]) * n[3], n[1])), T2(n[0], n[1]),
        IF(STATS, T1(n[0])), IF(STATS, T1(n[0])),
        .kind = n[2], .shift = n[4], .scale = n[5], .eps = s, .batch = samples(n[6]),
        .act = n[7],
    };
}

static void shape_gate(LvGateArgs *a, const int *n, int f, float s)
{
    *a = (LvGateArgs) {
        T2(n[0], n[1]), T2(n[0], n[1]), IF(MOD, T2(samples(n[4]) * n[2], n[1])),
        T2(n[0], n[1]), .row = n[3], .batch = samples(n[4]),
    };
    (void)s;
}

static void shape_gate_norm(LvGateNormArgs *a, const int *n, int f, float s)
{
    int batch = samples(n[7]);

    *a = (LvGateNormArgs) {
        T2(n[0], n[1]), T2(n[0], n[1]), IF(MOD, T2(batch * n[2], n[1])), IF(G, T1(n[1])),
        IF(B, T1(n[1])), IF(MOD, T2(batch * n[2], n[1])), T2(n[0], n[1]), T2(n[0], n[1]),
        IF(STATS, T1(n[0])), IF(STATS, T1(n[0])), .row = n[3], .kind = n[4], .shift = n[5],
        .scale = n[6], .eps = s, .batch = batch,
    };
}

static void shape_qknorm(LvQknormArgs *a, const int *n, int f, float s)
{
    int c = n[1] * n[2];

    *a = (LvQknormArgs) {
        T2(n[0], c), T1(c), IF(ROPE, T3(n[0] / samples(n[3]), n[2] / 2, 2)),
        T2(n[0], c), IF(STATS, T1(n[0])), .heads = n[1], .eps = s,
    };
}

static void shape_attn(LvAttnArgs *a, const int *n, int f, float s)
{
    int c = n[2] * n[3], b = samples(n[6]);
    LvTensor q = T2(b * n[0], c), k = T2(b * n[1], c);

    *a = (LvAttnArgs) {
        q, k, k, IF(KEYB, T1(b * n[1])), IF(RELB, T2(n[4], n[2])), q,
        IF(STATS, T2(b * n[2], n[0])), .heads = n[2], .max_distance = n[5], .of = n[7],
        .scale = s > 0 ? s : (float)(1 / sqrt(n[3])), .batch = b,
    };
}

static void shape_linattn(LvLinattnArgs *a, const int *n, int f, float s)
{
    int b = samples(n[5]);
    LvTensor q = T2(b * n[0], n[1] * n[2]), w = T3(n[1], n[2], n[3]);

    *a = (LvLinattnArgs) {
        q, q, q, w, w, q, IF(STATS, T3(b * n[1], ops_features(n[4], n[3]), n[2] + 1)),
        IF(STATS, T2(b * n[1], n[0])), .heads = n[1], .map = n[4],
        .eps = s > 0 ? s : 1e-6f, .batch = b,
    };
}

static void shape_linattn_run(LvLinattnRunArgs *a, const int *n, int f, float s)
{
    LvLinattnArgs l;
    LvTensor state = T3(samples(n[5]) * n[1], ops_features(n[4], n[3]), n[2] + 1);

    shape_linattn(&l, n, f, s);
    *a = (LvLinattnRunArgs) { l.q, l.k, l.v, l.wq, l.wk, state, T1(1), l.o, state, l.heads,
                              (int)l.map, l.eps, l.batch };
}

static void shape_mix(LvMixArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvMixArgs) { t, t, T1(1), t };
    (void)f, (void)s;
}

static void shape_nag(LvNagArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvNagArgs) { t, t, t, s > 0 ? s : 11, (float)n[2] / 100, (float)n[3] / 100 };
    (void)f;
}

static void shape_add(LvAddArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvAddArgs) { t, n[2] == n[0] * n[1] ? t : T1(n[2]), t };
    if (n[2] > n[1] && n[2] < n[0] * n[1])
        a->b = T2(n[2] / n[1], n[1]);
    (void)f, (void)s;
}

static void shape_act(LvActArgs *a, const int *n, int f, float s)
{
    *a = (LvActArgs) { T2(n[0], n[1]), T2(n[0], n[1]), .act = n[2] };
    (void)f, (void)s;
}

static void shape_glu(LvGluArgs *a, const int *n, int f, float s)
{
    *a = (LvGluArgs) { T2(n[0], n[1]), T2(n[0], n[1]), T2(n[0], n[1]) };
    (void)f, (void)s;
}

static void shape_embed(LvEmbedArgs *a, const int *n, int f, float s)
{
    *a = (LvEmbedArgs) { T1(n[0]), T2(n[1], n[2]), T2(n[0], n[2]) };
    (void)f, (void)s;
}

static void shape_sinusoid(LvSinusoidArgs *a, const int *n, int f, float s)
{
    *a = (LvSinusoidArgs) { T1(samples(n[1])), T2(samples(n[1]), 2 * n[0]) };
    (void)f, (void)s;
}

/* Tokens of latents and their width, [B L,C pt ph pw], and the latents. */
static LvTensor tokens(const int *n)
{
    return T2(samples(n[7]) * (n[1] / n[4]) * (n[2] / n[5]) * (n[3] / n[6]),
              n[0] * n[4] * n[5] * n[6]);
}

static LvTensor latents(const int *n)
{
    if (!n[7])
        return T4(n[0], n[1], n[2], n[3]);
    return (LvTensor) { .rank = 5, .dim = { n[7], n[0], n[1], n[2], n[3] } };
}

static void shape_patchify(LvPatchifyArgs *a, const int *n, int f, float s)
{
    *a = (LvPatchifyArgs) {
        latents(n), tokens(n), .pt = n[4], .ph = n[5], .pw = n[6], .order = n[8],
    };
    (void)f, (void)s;
}

static void shape_unpatchify(LvUnpatchifyArgs *a, const int *n, int f, float s)
{
    *a = (LvUnpatchifyArgs) {
        tokens(n), latents(n), .pt = n[4], .ph = n[5], .pw = n[6], .order = n[8],
    };
    (void)f, (void)s;
}

static void shape_conv(LvConvArgs *a, const int *n, int f, float s)
{
    int rows = (n[1] + 2 * n[7] - n[5]) / n[6] + 1;
    int cols = (n[2] + 2 * n[7] - n[5]) / n[6] + 1;

    *a = (LvConvArgs) {
        T4(n[0], n[1], n[2], n[3]), T4(n[4], n[3], n[5], n[5]), IF(B, T1(n[4])),
        IF(RES, T4(n[0], rows, cols, n[4])), T4(n[0], rows, cols, n[4]),
        .stride = n[6], .pad = n[7], .act = n[8],
    };
    (void)s;
}

static void shape_conv3(LvConv3Args *a, const int *n, int f, float s)
{
    int frames = (n[8] + n[0] - n[5]) / n[7] + 1;
    LvTensor prev = T4(n[8], n[1], n[2], n[3]);

    *a = (LvConv3Args) {
        T4(n[0], n[1], n[2], n[3]), T5(n[5], n[4], n[3], n[6], n[6]), IF(B, T1(n[4])),
        IF(RES, T4(frames, n[1], n[2], n[4])), prev, T4(frames, n[1], n[2], n[4]), prev,
        .step = n[7], .pad = n[6] / 2, .act = f & RES ? SILU : NONE,
    };
    (void)s;
}

static void shape_recall(LvRecallArgs *a, const int *n, int f, float s)
{
    LvTensor one = T4(1, n[1], n[2], n[3]);

    *a = (LvRecallArgs) {
        T4(n[0], n[1], n[2], n[3]), one, T4(n[0], n[1], n[2], 2 * n[3]), one,
    };
    (void)f, (void)s;
}

static void shape_upsample(LvUpsampleArgs *a, const int *n, int f, float s)
{
    *a = (LvUpsampleArgs) {
        T4(n[0], n[1], n[2], n[3]), T4(n[0], 2 * n[1], 2 * n[2], n[3]),
    };
    (void)f, (void)s;
}

static void shape_unstack(LvUnstackArgs *a, const int *n, int f, float s)
{
    *a = (LvUnstackArgs) {
        T4(n[0], n[1], n[2], n[3] * n[4]), T4(n[0] * n[4], n[1], n[2], n[3]), .n = n[4],
    };
    (void)f, (void)s;
}

static void shape_stack(LvStackArgs *a, const int *n, int f, float s)
{
    *a = (LvStackArgs) {
        T4(n[0] * n[4], n[1], n[2], n[3]), T4(n[0], n[1], n[2], n[3] * n[4]), .n = n[4],
    };
    (void)f, (void)s;
}

static void shape_shuffle(LvShuffleArgs *a, const int *n, int f, float s)
{
    *a = (LvShuffleArgs) {
        T4(n[0], n[1], n[2], n[3] * n[4] * n[4]),
        T4(n[0], n[1] * n[4], n[2] * n[4], n[3]), .n = n[4], .transposed = n[5],
    };
    (void)f, (void)s;
}

static void shape_unshuffle(LvUnshuffleArgs *a, const int *n, int f, float s)
{
    *a = (LvUnshuffleArgs) {
        T4(n[0], n[1] * n[4], n[2] * n[4], n[3]),
        T4(n[0], n[1], n[2], n[3] * n[4] * n[4]), .n = n[4], .transposed = n[5],
    };
    (void)f, (void)s;
}

static void shape_avg_down(LvAvgDownArgs *a, const int *n, int f, float s)
{
    LvTensor y = T4((n[0] - 1) / n[5] + 1, n[1], n[2], n[4]);

    *a = (LvAvgDownArgs) {
        T4(n[0], n[1] * n[6], n[2] * n[6], n[3]), f & RES ? y : LV_NO_TENSOR, y, n[5], n[6],
    };
    (void)s;
}

/* n[7]: frames left out in front */
static void shape_dup_up(LvDupUpArgs *a, const int *n, int f, float s)
{
    LvTensor y = T4(n[0] * n[5] - n[7], n[1] * n[6], n[2] * n[6], n[4]);

    *a = (LvDupUpArgs) {
        T4(n[0], n[1], n[2], n[3]), f & RES ? y : LV_NO_TENSOR, y, n[5], n[6],
    };
    (void)s;
}

static void shape_blend(LvBlendArgs *a, const int *n, int f, float s)
{
    *a = (LvBlendArgs) {
        T4(n[0], n[1], n[2], 3), T1(n[1]), T1(n[2]), T4(n[0], n[3], n[4], 3), .top = n[5],
        .left = n[6], .old_rows = n[7], .old_cols = n[8], .scale = s, .offset = s - 1,
    };
    (void)f;
}

static void shape_frame(LvFrameArgs *a, const int *n, int f, float s)
{
    *a = (LvFrameArgs) { T3(n[0], n[1], 3), { .width = n[1], .height = n[0] } };
    (void)f, (void)s;
}

/* inner: of a repeated row, or of all that is repeated */
static void shape_expand(LvExpandArgs *a, const int *n, int f, float s)
{
    *a = (LvExpandArgs) {
        T2(n[0], n[2]), T2(n[0] * n[1], n[2]), .inner = n[3] ? n[0] * n[2] : n[2],
    };
    (void)f, (void)s;
}

static void shape_reduce(LvReduceArgs *a, const int *n, int f, float s)
{
    *a = (LvReduceArgs) {
        T2(n[0] * n[1], n[2]), T2(n[0], n[2]), .inner = n[3] ? n[0] * n[2] : n[2],
        .add = ADDED,
    };
    (void)s;
}

static void shape_fill(LvFillArgs *a, const int *n, int f, float s)
{
    *a = (LvFillArgs) { T2(n[0], n[1]), .value = s };
    (void)f;
}

static void shape_loss(LvLossArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0] * n[1], n[2]);

    *a = (LvLossArgs) { t, t, T1(n[0]), IF(SIZES, T1(n[0])), T1(n[0]), OUT(1, t),
                        .kind = n[3] };
    (void)s;
}

static void shape_sqsum(LvSqsumArgs *a, const int *n, int f, float s)
{
    *a = (LvSqsumArgs) { T2(n[0], n[1]), T1(1), .add = ADDED };
    (void)s;
}

static void shape_adamw(LvAdamwArgs *a, const int *n, int f, float s)
{
    LvTensor t = T1(n[0]);

    *a = (LvAdamwArgs) { t, T1(LV_HYPER_NB), IF(OPS_NORM, T1(1)), t, t, t, OUT(3, t) };
    (void)s;
}

static void shape_linear_dx(LvLinearDxArgs *a, const int *n, int f, float s)
{
    *a = (LvLinearDxArgs) {
        T2(n[0], n[2]), T2(n[2], n[1]), T2(n[0], n[1]), .add = ADDED,
    };
    (void)s;
}

static void shape_linear_dw(LvLinearDwArgs *a, const int *n, int f, float s)
{
    *a = (LvLinearDwArgs) {
        T2(n[0], n[2]), T2(n[0], n[1]), T2(n[2], n[1]), .add = ADDED,
    };
    (void)s;
}

static void shape_norm_dx(LvNormDxArgs *a, const int *n, int f, float s)
{
    LvTensor x = T2(n[0], n[1]), c = T1(n[1]), mod = T2(samples(n[6]) * n[3], n[1]);

    *a = (LvNormDxArgs) {
        x, IF(G, c), IF(B, c), IF(MOD, mod), T1(n[0]), T1(n[0]), x,
        OUT(0, x), OUT(1, c), OUT(2, c), OUT(3, mod),
        .kind = n[2], .shift = n[4], .scale = n[5], .batch = samples(n[6]), .add = ADDED,
    };
    if (n[2] == RMS)
        a->mean = LV_NO_TENSOR;
    if (!(f & MOD))
        a->dmod = LV_NO_TENSOR;
    (void)s;
}

static void shape_gate_dx(LvGateDxArgs *a, const int *n, int f, float s)
{
    LvTensor x = T2(n[0], n[1]), mod = T2(samples(n[4]) * n[2], n[1]);

    *a = (LvGateDxArgs) {
        x, IF(MOD, mod), x, OUT(0, x), OUT(1, mod),
        .row = n[3], .batch = samples(n[4]), .add = ADDED,
    };
    if (f & OPS_NO_X)
        a->x = LV_NO_TENSOR;
    (void)s;
}

static void shape_qknorm_dx(LvQknormDxArgs *a, const int *n, int f, float s)
{
    LvTensor x = T2(n[0], n[1] * n[2]), c = T1(n[1] * n[2]);

    *a = (LvQknormDxArgs) {
        x, c, IF(ROPE, T3(n[0] / samples(n[3]), n[2] / 2, 2)), T1(n[0]), x,
        OUT(0, x), OUT(1, c), .heads = n[1], .add = ADDED,
    };
    (void)s;
}

static void shape_attn_dx(LvAttnDxArgs *a, const int *n, int f, float s)
{
    int c = n[2] * n[3], b = samples(n[6]);
    LvTensor q = T2(b * n[0], c), k = T2(b * n[1], c), rel = T2(n[4], n[2]);

    *a = (LvAttnDxArgs) {
        q, k, k, IF(KEYB, T1(b * n[1])), IF(RELB, rel), q, T2(b * n[2], n[0]), q,
        OUT(0, q), OUT(1, k), OUT(2, k), OUT(3, rel),
        .heads = n[2], .max_distance = n[5],
        .scale = s > 0 ? s : (float)(1 / sqrt(n[3])), .batch = b, .add = ADDED,
    };
}

static void shape_linattn_dx(LvLinattnDxArgs *a, const int *n, int f, float s)
{
    int b = samples(n[5]);
    LvTensor q = T2(b * n[0], n[1] * n[2]), w = T3(n[1], n[2], n[3]);

    *a = (LvLinattnDxArgs) {
        q, q, q, w, w, q, T3(b * n[1], ops_features(n[4], n[3]), n[2] + 1),
        T2(b * n[1], n[0]), q, OUT(0, q), OUT(1, q), OUT(2, q), OUT(3, w), OUT(4, w),
        .heads = n[1], .map = n[4], .eps = s > 0 ? s : 1e-6f, .batch = b, .add = ADDED,
    };
}

static void shape_mix_dx(LvMixDxArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvMixDxArgs) {
        t, t, T1(1), t, OUT(0, t), OUT(1, t), OUT(2, T1(1)), .add = ADDED,
    };
    (void)s;
}

static void shape_act_dx(LvActDxArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvActDxArgs) { t, t, t, .act = n[2], .add = ADDED };
    (void)s;
}

static void shape_glu_dx(LvGluDxArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvGluDxArgs) { t, t, t, OUT(0, t), OUT(1, t), .add = ADDED };
    (void)s;
}

static void shape_embed_dx(LvEmbedDxArgs *a, const int *n, int f, float s)
{
    *a = (LvEmbedDxArgs) { T1(n[0]), T2(n[0], n[2]), T2(n[1], n[2]), .add = ADDED };
    (void)s;
}

static void shape_conv_dx(LvConvDxArgs *a, const int *n, int f, float s)
{
    LvConvArgs c;

    shape_conv(&c, n, 0, s);
    *a = (LvConvDxArgs) { c.y, c.w, c.x, c.stride, c.pad, .add = ADDED };
}

static void shape_conv_dw(LvConvDwArgs *a, const int *n, int f, float s)
{
    LvConvArgs c;

    shape_conv(&c, n, 0, s);
    *a = (LvConvDwArgs) { c.y, c.x, c.w, c.stride, c.pad, .add = ADDED };
}

static void shape_recall_dx(LvRecallDxArgs *a, const int *n, int f, float s)
{
    *a = (LvRecallDxArgs) {
        T4(n[0], n[1], n[2], 2 * n[3]), T4(n[0], n[1], n[2], n[3]), .add = ADDED,
    };
    (void)s;
}

static void shape_upsample_dx(LvUpsampleDxArgs *a, const int *n, int f, float s)
{
    *a = (LvUpsampleDxArgs) {
        T4(n[0], 2 * n[1], 2 * n[2], n[3]), T4(n[0], n[1], n[2], n[3]), .add = ADDED,
    };
    (void)s;
}

static int dtype_of(const OpsCase *c, int t)
{
    int i = ops_type_index(c->op, t);

    if (i < 0)
        return ops[c->op].type[t] == 'i' ? LV_I32 : LV_F32;
    return c->type[i] == 'f' ? LV_F32 : c->type[i] == 'b' ? LV_BF16 : LV_F16;
}

/* The handle of weights that are not there. */
static LvWeight described;

void ops_case_args(const OpsCase *c, LvOpArgs *a)
{
    memset(a, 0, sizeof(*a));
    switch (c->op) {
#define CASE(NAME, name, Type, in, out)                   \
    case LV_OP_##NAME:                                    \
        shape_##name(&a->name, c->n, c->flags, c->s);     \
        break;
    LV_OPS(CASE)
#undef CASE
    }
    for (int t = 0; ops[c->op].role[t]; t++) {
        int weight = strchr("wgbe", ops[c->op].role[t]) != NULL;
        if (a->t[t].id == LV_ID_NONE)
            continue;
        a->t[t].dtype = (uint8_t)dtype_of(c, t);
        a->t[t].id    = weight ? LV_ID_WEIGHT - t : t;
        a->t[t].w     = weight && (c->flags & FIX) ? &described : NULL;
    }
}

/* A stream of random numbers. */
static uint64_t next(uint64_t *s)
{
    uint64_t z = *s += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *s)
{
    return ((double)(next(s) >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *s)
{
    double r = sqrt(-2 * log(uniform(s)));

    return r * cos(2 * M_PI * uniform(s));
}

static void put(LvTensor *t, size_t i, double v)
{
    uint16_t *h = t->data;

    switch (t->dtype) {
    case LV_F32:  ((float *)t->data)[i] = (float)v; break;
    case LV_I32:  ((int32_t *)t->data)[i] = (int32_t)v; break;
    case LV_F16:  h[i] = lv_f32_f16((float)v); break;
    case LV_BF16: h[i] = lv_f32_bf16((float)v); break;
    }
}

static double activation(char kind, char role, size_t i, uint64_t *s)
{
    double x = normal(s);

    switch (kind) {
    case 'z': return 0;
    case 'c': return 0.75;
    case 'l': return role == 'A' ? 100 * x : x;
    case 'd': return i % 3 == 1 ? 1e-39 * x : x;
    case 'o': return 30 + x;
    default:  return x;
    }
}

/* n: keys of a sample */
static double masked(char kind, size_t i, size_t n, uint64_t *s)
{
    int off = kind == 'm' ? i % n + 1 != n : kind == 'x' ? i < n : i % 3 == 1;
    double x = 0.5 * normal(s);

    return off ? -INFINITY : x;
}

static double moment(char kind, uint64_t *s)
{
    double t = 1000 * uniform(s);

    return kind == 'z' ? 0 : kind == 'c' ? 937.5 : t;
}

/* Scalars of ADAMW in its third step. */
static double hyper(const OpsCase *c, size_t i)
{
    switch (i) {
    case LV_HYPER_LR:    return 1e-2;
    case LV_HYPER_BETA1: return 0.9;
    case LV_HYPER_BETA2: return 0.95;
    case LV_HYPER_EPS:   return 1e-8;
    case LV_HYPER_DECAY: return 0.1;
    case LV_HYPER_BIAS1: return 1 - pow(0.9, 3);
    case LV_HYPER_BIAS2: return 1 - pow(0.95, 3);
    case LV_HYPER_CLIP:  return c->n[1];
    default:             return 0.99;
    }
}

/* Rows of the table that ids choose from. */
static int table_rows(const OpsCase *c, const LvOpArgs *a)
{
    return c->op == LV_OP_EMBED ? a->embed.table.dim[0] : a->embed_dx.dtable.dim[0];
}

static int batch_of(const OpsCase *c)
{
    return c->op == LV_OP_ATTN || c->op == LV_OP_ATTN_DX ? samples(c->n[6]) : 1;
}

/* Size that the products of a weight sum over. */
static double fan(const LvTensor *t)
{
    return t->rank == 4 ? t->dim[1] * t->dim[2] * t->dim[3] : t->dim[1];
}

static double value(const OpsCase *c, const LvOpArgs *a, int t, size_t i, uint64_t *s)
{
    const LvTensor *x = &a->t[t];
    char role = ops[c->op].role[t];

    switch (role) {
    case 'A':
    case 'a': return activation(c->kind, role, i, s);
    case 'w': return normal(s) / sqrt(fan(x));
    case 'g': return 1 + 0.2 * normal(s);
    case 'b': return 0.5 * normal(s);
    case 'm': return 0.5 * normal(s);
    case 'e': return normal(s);
    case 'k': return masked(c->kind, i, ops_numel(x) / (size_t)batch_of(c), s);
    case 's': return 0.3;
    case 't': return moment(c->kind, s);
    case 'i': return floor(uniform(s) * (table_rows(c, a) + 4)) - 2;
    case 'h': return hyper(c, i);
    case 'q': return c->n[2];
    case '-': return normal(s);
    case '+': return pow(normal(s), 2);
    default:  return 0;
    }
}

/* Pairs (cos, sin) of random angles. */
static void fill_rope(LvTensor *t, uint64_t *s)
{
    for (size_t i = 0; i < ops_numel(t); i += 2) {
        double phi = 40 * uniform(s);
        put(t, i, cos(phi));
        put(t, i + 1, sin(phi));
    }
}

/* What the forward op gives for these inputs. */
static void fill_results(const OpsCase *c, LvOpArgs *a)
{
    const OpsGrad *g = ops_grad(c->op);
    double *out[OPS_MAX_OUT];
    LvOpArgs f;

    ops_grad_forward(g, a, &f);
    ops_ref(g->of, &f, out);
    for (int i = 0; i < OPS_MAX_OUT; i++) {
        int at = out[i] ? g->place[lv_op_info(g->of)->in + i] - '0' : -1;
        for (size_t k = 0; at >= 0 && at != g->dy && k < ops_numel(&a->t[at]); k++)
            put(&a->t[at], k, out[i][k]);
        free(out[i]);
    }
}

int ops_given(const OpsCase *c, const LvOpArgs *a, int t)
{
    int i = t - lv_op_info(c->op)->in;

    return lv_has(&a->t[t]) && (i < 0 || ops_added(c->op, a) >> i & 1);
}

void ops_case_fill(const OpsCase *c, LvOpArgs *a)
{
    const char *role = ops[c->op].role;

    for (int t = 0; role[t]; t++) {
        uint64_t s = c->seed * 16 + (uint64_t)t;
        if (!ops_given(c, a, t))
            continue;
        if (role[t] == 'r')
            fill_rope(&a->t[t], &s);
        else
            for (size_t i = 0; i < ops_numel(&a->t[t]); i++)
                put(&a->t[t], i, value(c, a, t, i, &s));
    }
    if (strchr(role, 'd'))
        fill_results(c, a);
}

const char *ops_case_text(char *buf, size_t size, const OpsCase *c)
{
    LvOpArgs a;
    size_t n;

    ops_case_args(c, &a);
    n = (size_t)snprintf(buf, size, "case %d, %s", (int)c->seed, lv_op_info(c->op)->name);
    for (int t = 0; ops[c->op].role[t] && n < size; t++) {
        char one[96];
        const char *text = lv_has(&a.t[t]) ? lv_tensor_text(one, sizeof(one), &a.t[t])
                                           : "none";
        n += (size_t)snprintf(buf + n, size - n, "%s%s",
                              strchr("-+", ops[c->op].role[t]) ? " -> " : " ", text);
    }
    if (n < size)
        snprintf(buf + n, size - n, ", kind %c, flags %#x, scalar %g, numbers "
                 "%d %d %d %d %d %d %d %d %d", c->kind, (unsigned)c->flags, (double)c->s,
                 c->n[0], c->n[1], c->n[2], c->n[3], c->n[4], c->n[5], c->n[6], c->n[7],
                 c->n[8]);
    return buf;
}

LvDeviceOptions ops_device_options(void)
{
    const char *newest = getenv("LV_TEST_NEWEST"), *scores = getenv("LV_TEST_SCORES");

    return (LvDeviceOptions) { .newest = newest ? atoi(newest) : 0,
                               .scores = scores ? (size_t)atol(scores) : 0 };
}
