/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    size_t elements, bytes; ///< of a block; of plain types that is one element
} dtypes[LV_DTYPE_NB] = {
    [LV_NONE]      = { "none",      1,   0 },
    [LV_F32]       = { "F32",       1,   4 },
    [LV_F64]       = { "F64",       1,   8 },
    [LV_F16]       = { "F16",       1,   2 },
    [LV_BF16]      = { "BF16",      1,   2 },
    [LV_I8]        = { "I8",        1,   1 },
    [LV_I16]       = { "I16",       1,   2 },
    [LV_I32]       = { "I32",       1,   4 },
    [LV_I64]       = { "I64",       1,   8 },
    [LV_U8]        = { "U8",        1,   1 },
    [LV_U16]       = { "U16",       1,   2 },
    [LV_U32]       = { "U32",       1,   4 },
    [LV_U64]       = { "U64",       1,   8 },
    [LV_BOOL]      = { "BOOL",      1,   1 },
    [LV_F8_E4M3]   = { "F8_E4M3",   1,   1 },
    [LV_F8_E5M2]   = { "F8_E5M2",   1,   1 },
    [LV_Q4_0]      = { "Q4_0",     32,  18 },
    [LV_Q4_1]      = { "Q4_1",     32,  20 },
    [LV_Q5_0]      = { "Q5_0",     32,  22 },
    [LV_Q5_1]      = { "Q5_1",     32,  24 },
    [LV_Q8_0]      = { "Q8_0",     32,  34 },
    [LV_Q2_K]      = { "Q2_K",    256,  84 },
    [LV_Q3_K]      = { "Q3_K",    256, 110 },
    [LV_Q4_K]      = { "Q4_K",    256, 144 },
    [LV_Q5_K]      = { "Q5_K",    256, 176 },
    [LV_Q6_K]      = { "Q6_K",    256, 210 },
};

size_t lv_dtype_size(LvDtype dtype)
{
    return dtypes[dtype].elements == 1 ? dtypes[dtype].bytes : 0;
}

size_t lv_dtype_block(LvDtype dtype)
{
    return dtypes[dtype].elements;
}

int lv_dtype_bytes(size_t *bytes, LvDtype dtype, size_t n)
{
    size_t elements = dtypes[dtype].elements;

    if (n % elements)
        return -1;
    return __builtin_mul_overflow(n / elements, dtypes[dtype].bytes, bytes) ? -1 : 0;
}

const char *lv_dtype_name(LvDtype dtype)
{
    return dtypes[dtype].name;
}

LvDtype lv_dtype_by_name(const char *name)
{
    for (int i = LV_NONE + 1; i < LV_DTYPE_NB; i++)
        if (dtypes[i].elements == 1 && !strcmp(dtypes[i].name, name))
            return (LvDtype)i;
    return LV_NONE;
}
