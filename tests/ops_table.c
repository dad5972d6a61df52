/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ops_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/half.h"
#include "tests/ops_ref.h"

/*
 * What the list of ops does not say: the role of each tensor, which letter of a
 * case's type is its type ('f': always f32, 'i': i32), and which may be absent.
 *
 * Tolerances beyond the rounding of the result, as parts of the reference's norm:
 *   sum   f32 arithmetic: sums of some hundred terms and polynomials for exp, tanh
 *   half  added when the op multiplies in bf16 what is not bf16 as stored: weights of
 *         another type, probabilities, features, the state
 *   stat  of the statistics, in f32; half is added there for the state
 * 0: the op only moves values, so its one rounding is all there is.
 */
static const struct {
    const char *role, *type, *optional;
    double sum, half, stat;
} ops[LV_OP_NB] = {
    [LV_OP_LINEAR]     = { "Awb-", "01f2", "..o.", 2e-6, 3e-3, 0 },
    [LV_OP_NORM]       = { "Agbm---", "0fff1ff", ".ooo.oo", 1e-6, 0, 2e-6 },
    [LV_OP_GATE]       = { "Aam-", "01f2", "..o.", 2e-7, 0, 0 },
    [LV_OP_QKNORM]     = { "Agr--", "0ff1f", "..o.o", 1e-6, 0, 2e-6 },
    [LV_OP_ATTN]       = { "Aaake--", "000ff1f", "...oo.o", 3e-6, 3e-3, 2e-6 },
    [LV_OP_LINATTN]    = { "Aaaww---", "000112ff", "......oo", 4e-6, 4e-3, 4e-6 },
    [LV_OP_MIX]        = { "Aas-", "01f2", "....", 3e-7, 0, 0 },
    [LV_OP_ADD]        = { "Aa-", "012", "...", 1e-7, 0, 0 },
    [LV_OP_ACT]        = { "A-", "01", "..", 1e-6, 0, 0 },
    [LV_OP_GLU]        = { "Aa-", "012", "...", 1e-6, 0, 0 },
    [LV_OP_EMBED]      = { "iw-", "i01", "...", 0, 0, 0 },
    [LV_OP_SINUSOID]   = { "t-", "ff", "..", 1e-9, 0, 0 },
    [LV_OP_PATCHIFY]   = { "A-", "f0", "..", 0, 0, 0 },
    [LV_OP_UNPATCHIFY] = { "A-", "0f", "..", 0, 0, 0 },
    [LV_OP_CONV]       = { "Awba-", "01f23", "..oo.", 2e-6, 3e-3, 0 },
    [LV_OP_RECALL]     = { "Aa--", "0000", "....", 0, 0, 0 },
    [LV_OP_UPSAMPLE]   = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_UNSTACK]    = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_STACK]      = { "A-", "00", "..", 0, 0, 0 },
    [LV_OP_SHUFFLE]    = { "A-", "01", "..", 0, 0, 0 },
    [LV_OP_UNSHUFFLE]  = { "A-", "01", "..", 0, 0, 0 },
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
#define HEDGE LV_MAP_HEDGEHOG
#define RELUM LV_MAP_RELU
#define TAYL  LV_MAP_TAYLOR
#define LAYER LV_NORM_LAYER
#define RMS   LV_NORM_RMS

static const Row rows[] = {
    /* M K N act; types x w y */
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

    /* M C kind rows-of-mod shift scale; types x y */
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

    /* M C rows-of-mod row; types r x y */
    { LV_OP_GATE, MOD,       "fff fbf bbb ffb", "n", 0, 0, { 1, 1, 1, 0 } },
    { LV_OP_GATE, MOD,       "fff fbf bbb bfb", "nzl", 0, 0, { 65, 193, 6, 5 } },
    { LV_OP_GATE, 0,         "fff fbf bbb fbb", "nd", 0, 0, { 33, 127, 0, 0 } },
    { LV_OP_GATE, MOD | ON0, "fff fbf bbb", "n", 0, 0, { 17, 192, 6, 2 } },
    { LV_OP_GATE, ON0,       "fff fbf bbb", "n", 0, 0, { 7, 513, 0, 0 } },
    { LV_OP_GATE, MOD | ON1, "fff bff bbb", "n", 0, 0, { 64, 16, 2, 1 } },

    /* L H D; types x y */
    { LV_OP_QKNORM, 0,                  "ff bb", "n", 0, 1e-6f, { 1, 1, 2 } },
    { LV_OP_QKNORM, ROPE,               "ff fb bb bf", "nzl", 0, 1e-6f, { 65, 4, 48 } },
    { LV_OP_QKNORM, ROPE | STATS | FIX, "ff bb", "nd", 0, 1e-6f, { 33, 3, 12 } },
    { LV_OP_QKNORM, STATS,              "ff fb", "n", 0, 1e-6f, { 7, 5, 11 } },
    { LV_OP_QKNORM, ROPE | FIX,         "ff bb", "n", 0, 1e-6f, { 129, 2, 64 } },
    { LV_OP_QKNORM, ROPE | ON0 | FIX,   "ff bb", "n", 0, 1e-6f, { 16, 3, 128 } },
    { LV_OP_QKNORM, ROPE,               "ff", "c", 0, 1e-6f, { 3, 12, 128 } },

    /* Lq Lk H D buckets max_distance; types qkv o; s: scale */
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

    /* L H D P map; types qkv w o */
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

    /* n */
    { LV_OP_SINUSOID, 0, "", "nzc", 0, 0, { 128 } },
    { LV_OP_SINUSOID, 0, "", "n", 0, 0, { 1 } },
    { LV_OP_SINUSOID, 0, "", "nc", 0, 0, { 13 } },

    /* C F Y X pt ph pw; type of the tokens */
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2 } },
    { LV_OP_PATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3 } },
    { LV_OP_PATCHIFY, 0, "f", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1 } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 16, 3, 6, 10, 1, 2, 2 } },
    { LV_OP_UNPATCHIFY, 0, "f b", "n", 0, 0, { 3, 4, 6, 15, 2, 2, 3 } },
    { LV_OP_UNPATCHIFY, 0, "f", "n", 0, 0, { 1, 1, 1, 1, 1, 1, 1 } },

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

/* Whether the op's products are in bf16 and must round what they multiply. */
static int rounds(int op, const char *type)
{
    if (op == LV_OP_LINEAR || op == LV_OP_CONV)
        return type[0] == 'b' && type[1] != 'b';
    return type[0] == 'b' && (op == LV_OP_ATTN || op == LV_OP_LINATTN);
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
    half       = rounds(c.op, c.type) ? ops[c.op].half : 0;
    c.tol      = slack * (ops[c.op].sum + half);
    c.stat_tol = slack * (ops[c.op].stat + (c.op == LV_OP_LINATTN ? half : 0));
    return c;
}

static LvTensor tensor(int rank, int a, int b, int c, int d)
{
    return (LvTensor) {
        .rank = (uint8_t)rank,
        .dim = { a, rank > 1 ? b : 1, rank > 2 ? c : 1, rank > 3 ? d : 1, 1 },
    };
}

#define T1(a)          tensor(1, a, 1, 1, 1)
#define T2(a, b)       tensor(2, a, b, 1, 1)
#define T3(a, b, c)    tensor(3, a, b, c, 1)
#define T4(a, b, c, d) tensor(4, a, b, c, d)
/* a tensor that is there only with a flag */
#define IF(flag, t)    ((f & (flag)) ? (t) : LV_NO_TENSOR)

static void shape_linear(LvLinearArgs *a, const int *n, int f, float s)
{
    *a = (LvLinearArgs) {
        T2(n[0], n[1]), T2(n[2], n[1]), IF(B, T1(n[2])), T2(n[0], n[2]), .act = n[3],
    };
    (void)s;
}

static void shape_norm(LvNormArgs *a, const int *n, int f, float s)
{
    *a = (LvNormArgs) {
        T2(n[0], n[1]), IF(G, T1(n[1])), IF(B, T1(n[1])), IF(MOD, T2(n[3], n[1])),
        T2(n[0], n[1]), IF(STATS, T1(n[0])), IF(STATS, T1(n[0])),
        .kind = n[2], .shift = n[4], .scale = n[5], .eps = s,
    };
}

static void shape_gate(LvGateArgs *a, const int *n, int f, float s)
{
    *a = (LvGateArgs) {
        T2(n[0], n[1]), T2(n[0], n[1]), IF(MOD, T2(n[2], n[1])), T2(n[0], n[1]),
        .row = n[3],
    };
    (void)s;
}

static void shape_qknorm(LvQknormArgs *a, const int *n, int f, float s)
{
    int c = n[1] * n[2];

    *a = (LvQknormArgs) {
        T2(n[0], c), T1(c), IF(ROPE, T3(n[0], n[2] / 2, 2)), T2(n[0], c),
        IF(STATS, T1(n[0])), .heads = n[1], .eps = s,
    };
}

static void shape_attn(LvAttnArgs *a, const int *n, int f, float s)
{
    int c = n[2] * n[3];

    *a = (LvAttnArgs) {
        T2(n[0], c), T2(n[1], c), T2(n[1], c), IF(KEYB, T1(n[1])),
        IF(RELB, T2(n[4], n[2])), T2(n[0], c), IF(STATS, T2(n[2], n[0])),
        .heads = n[2], .max_distance = n[5],
        .scale = s > 0 ? s : (float)(1 / sqrt(n[3])),
    };
}

static void shape_linattn(LvLinattnArgs *a, const int *n, int f, float s)
{
    int c = n[1] * n[2];

    *a = (LvLinattnArgs) {
        T2(n[0], c), T2(n[0], c), T2(n[0], c), T3(n[1], n[2], n[3]),
        T3(n[1], n[2], n[3]), T2(n[0], c),
        IF(STATS, T3(n[1], ops_features(n[4], n[3]), n[2] + 1)),
        IF(STATS, T2(n[1], n[0])), .heads = n[1], .map = n[4],
        .eps = s > 0 ? s : 1e-6f,
    };
}

static void shape_mix(LvMixArgs *a, const int *n, int f, float s)
{
    LvTensor t = T2(n[0], n[1]);

    *a = (LvMixArgs) { t, t, T1(1), t };
    (void)f, (void)s;
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
    *a = (LvSinusoidArgs) { T1(1), T2(1, 2 * n[0]) };
    (void)f, (void)s;
}

/* Tokens of a latent and their width, [L,C pt ph pw]. */
static LvTensor tokens(const int *n)
{
    return T2(n[1] / n[4] * (n[2] / n[5]) * (n[3] / n[6]), n[0] * n[4] * n[5] * n[6]);
}

static void shape_patchify(LvPatchifyArgs *a, const int *n, int f, float s)
{
    *a = (LvPatchifyArgs) {
        T4(n[0], n[1], n[2], n[3]), tokens(n), .pt = n[4], .ph = n[5], .pw = n[6],
    };
    (void)f, (void)s;
}

static void shape_unpatchify(LvUnpatchifyArgs *a, const int *n, int f, float s)
{
    *a = (LvUnpatchifyArgs) {
        tokens(n), T4(n[0], n[1], n[2], n[3]), .pt = n[4], .ph = n[5], .pw = n[6],
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
        T4(n[0], n[1] * n[4], n[2] * n[4], n[3]), .n = n[4],
    };
    (void)f, (void)s;
}

static void shape_unshuffle(LvUnshuffleArgs *a, const int *n, int f, float s)
{
    *a = (LvUnshuffleArgs) {
        T4(n[0], n[1] * n[4], n[2] * n[4], n[3]),
        T4(n[0], n[1], n[2], n[3] * n[4] * n[4]), .n = n[4],
    };
    (void)f, (void)s;
}

static int dtype_of(const OpsCase *c, int t)
{
    int i = ops_type_index(c->op, t);

    if (i < 0)
        return ops[c->op].type[t] == 'i' ? LV_I32 : LV_F32;
    return c->type[i] == 'f' ? LV_F32 : c->type[i] == 'b' ? LV_BF16 : LV_F16;
}

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
        a->t[t].fixed = weight && (c->flags & FIX);
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

static double masked(char kind, size_t i, size_t n, uint64_t *s)
{
    int off = kind == 'm' ? i + 1 != n : i % 3 == 1;
    double x = 0.5 * normal(s);

    return off ? -INFINITY : x;
}

static double moment(char kind, uint64_t *s)
{
    double t = 1000 * uniform(s);

    return kind == 'z' ? 0 : kind == 'c' ? 937.5 : t;
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
    case 'k': return masked(c->kind, i, ops_numel(x), s);
    case 's': return 0.3;
    case 't': return moment(c->kind, s);
    case 'i': return floor(uniform(s) * (a->embed.table.dim[0] + 4)) - 2;
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

void ops_case_fill(const OpsCase *c, LvOpArgs *a)
{
    for (int t = 0; ops[c->op].role[t] && ops[c->op].role[t] != '-'; t++) {
        uint64_t s = c->seed * 16 + (uint64_t)t;
        if (ops[c->op].role[t] == 'r')
            fill_rope(&a->t[t], &s);
        else
            for (size_t i = 0; i < ops_numel(&a->t[t]); i++)
                put(&a->t[t], i, value(c, a, t, i, &s));
    }
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
                              ops[c->op].role[t] == '-' ? " -> " : " ", text);
    }
    if (n < size)
        snprintf(buf + n, size - n, ", kind %c, flags %#x, scalar %g, numbers "
                 "%d %d %d %d %d %d %d %d %d", c->kind, (unsigned)c->flags, (double)c->s,
                 c->n[0], c->n[1], c->n[2], c->n[3], c->n[4], c->n[5], c->n[6], c->n[7],
                 c->n[8]);
    return buf;
}
