/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The choice among the tables of ISA kernels.
 */

#include "backend/cpu/dsp.h"

#include <string.h>

#include "config.h"

#if HAVE_AVX512
static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

#if HAVE_AVX2
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

/* C; NEON, which is part of every 64-bit ARM */
static int has_always(void)
{
    return 1;
}

/* Best first. */
static const struct {
    const char *isa;
    const LvDsp *dsp;
    int (*has)(void);
} tables[] = {
#if HAVE_AVX512
    { "avx512", &lv_dsp_avx512, has_avx512 },
#endif
#if HAVE_AVX2
    { "avx2", &lv_dsp_avx2, has_avx2 },
#endif
#if HAVE_NEON
    { "neon", &lv_dsp_neon, has_always },
#endif
    { "c", &lv_dsp_c, has_always },
};

const LvDsp *lv_dsp_get(const char *isa)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if ((!isa || !strcmp(isa, tables[i].isa)) && tables[i].has())
            return tables[i].dsp;
    return NULL;
}
