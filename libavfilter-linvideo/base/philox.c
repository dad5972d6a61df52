/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Bits must not depend on the C library, the compiler or its flags. So ln, sin
 * and cos are polynomials of our own, and every product that is added to
 * something is an explicit fma(), which is exact on every machine: nothing is
 * left for a compiler to contract. The other operations (one division, one
 * square root, single products) are correctly rounded by IEEE 754.
 *
 * Errors measured against long double functions, at every 211th of the 2^32
 * words and the 100 000 at either end: ln below 3.4e-16 of its value, sin and
 * cos below 1.7e-16 absolute.
 */

#include "base/philox.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/common.h"

#if FLT_EVAL_METHOD == 2
#error "f64 must be evaluated as f64 (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* Where a CPU has fma(), it is a call of the C library all the same unless the compiler
 * may count on it: so what follows is compiled twice. */
#if defined(__x86_64__) && defined(__GNUC__)
#define INLINE inline __attribute__((always_inline))
#define WITH_FMA __attribute__((target("fma")))
#else
#define INLINE inline
#endif

static INLINE void philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int i = 0; i < 10; i++) {
        uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;

        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* c[0] + x c[1] + x^2 c[2] ... */
static INLINE double horner(const double *c, int n, double x)
{
    double y = c[n - 1];

    for (int i = n - 2; i >= 0; i--)
        y = fma(y, x, c[i]);
    return y;
}

/*
 * ln((w + 0.5) / 2^32). The argument is m 2^e with m in [sqrt(1/2), sqrt(2)),
 * ln m = 2 atanh(s) with s = (m - 1) / (m + 1), |s| < 0.1716, by its series up
 * to s^23 (the next term is below 2^-64 of the sum). Where e ln 2 and ln m have
 * opposite signs, ln m is at most half as large: at most a bit is lost.
 */
static INLINE double log_unit(uint32_t w)
{
    static const double series[] = {
        1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11,
        1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23,
    };
    const double ln2_high = 0x1.62e42fefa39efp-1, ln2_low = 0x1.abc9e3b39803fp-56;
    double u = ((double)w + 0.5) * 0x1p-32, m, s;
    uint64_t bits;
    int e;

    memcpy(&bits, &u, sizeof(bits));
    e    = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000;
    memcpy(&m, &bits, sizeof(m));
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        e++;
    }
    s = (m - 1) / (m + 1);
    s = 2 * s * horner(series, LV_COUNT(series), s * s);
    return fma(e, ln2_high, fma(e, ln2_low, s));
}

/*
 * Sine and cosine of 2 pi (w + 0.5) / 2^32. The angle is an integer number of
 * 2^-33 turns: the quadrant and what is left of it (within an eighth of a turn)
 * are exact in integers; then Taylor series up to a^17 and a^18.
 */
static INLINE void sincos_turn(double *sine, double *cosine, uint32_t w)
{
    static const double odd[] = {
        1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
        1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0,
    };
    static const double even[] = {
        1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
        1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0,
        -1.0 / 6402373705728000.0,
    };
    int64_t x = 2 * (int64_t)w + 1, quadrant = (x + (1 << 30)) >> 31;
    double a  = (double)(x - quadrant * ((int64_t)1 << 31)) * 0x1p-31;
    double s, c;

    a *= 0x1.921fb54442d18p+0;
    s  = a * horner(odd, LV_COUNT(odd), a * a);
    c  = horner(even, LV_COUNT(even), a * a);
    *sine   = quadrant & 1 ? c : s;
    *cosine = quadrant & 1 ? s : c;
    if (quadrant & 2)
        *sine = -*sine;
    if ((quadrant + 1) & 2)
        *cosine = -*cosine;
}

static INLINE void normal_block(float out[4], const uint32_t word[4])
{
    for (int i = 0; i < 4; i += 2) {
        double r = sqrt(-2 * log_unit(word[i])), s, c;

        sincos_turn(&s, &c, word[i + 1]);
        out[i]     = (float)(r * c);
        out[i + 1] = (float)(r * s);
    }
}

static INLINE void normal(float *dst, size_t n, uint64_t seed, uint64_t stream)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };

    for (size_t i = 0; i < n; i += 4) {
        uint64_t block = i / 4;
        uint32_t ctr[4] = { (uint32_t)block, (uint32_t)(block >> 32),
                            (uint32_t)stream, (uint32_t)(stream >> 32) };
        uint32_t word[4];
        float value[4];

        philox(word, ctr, key);
        normal_block(value, word);
        memcpy(dst + i, value, LV_MIN(n - i, 4) * sizeof(*dst));
    }
}

#ifdef WITH_FMA
WITH_FMA static void normal_fma(float *dst, size_t n, uint64_t seed, uint64_t stream)
{
    normal(dst, n, seed, stream);
}
#endif

void lv_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
    philox(out, ctr, key);
}

void lv_philox_normal(float *dst, size_t n, uint64_t seed, uint64_t stream)
{
#ifdef WITH_FMA
    if (__builtin_cpu_supports("fma")) {
        normal_fma(dst, n, seed, stream);
        return;
    }
#endif
    normal(dst, n, seed, stream);
}
