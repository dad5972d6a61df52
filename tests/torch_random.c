/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/torch_random.h"

#include <math.h>
#include <string.h>

enum { STATE = 624, SHIFT = 397, GROUP = 16 };

/* The Mersenne Twister */

void torch_seed(TorchRandom *t, uint32_t seed)
{
    *t = (TorchRandom) { .state = { seed }, .next = STATE };
    for (uint32_t i = 1; i < STATE; i++)
        t->state[i] = 1812433253u * (t->state[i - 1] ^ t->state[i - 1] >> 30) + i;
}

static void twist(TorchRandom *t)
{
    uint32_t *s = t->state;

    for (int i = 0; i < STATE; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % STATE] & 0x7fffffffu);
        s[i] = s[(i + SHIFT) % STATE] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->next = 0;
}

static uint32_t draw(TorchRandom *t)
{
    uint32_t y;

    if (t->next == STATE)
        twist(t);
    y  = t->state[t->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* In [0,1): of 24 bits, and of 53. */
static float uniform(TorchRandom *t)
{
    return (float)(draw(t) & 0xffffffu) * 0x1p-24f;
}

static double uniform_double(TorchRandom *t)
{
    uint64_t high = draw(t), low = draw(t);

    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* Logarithm, sine and cosine in the roundings of avx_mathfun.h (after Cephes), where a
 * compiler with FMA joins each product to the sum behind it. */

static float horner(const float *c, int n, float x)
{
    float y = c[0];

    for (int i = 1; i < n; i++)
        y = fmaf(y, x, c[i]);
    return y;
}

static float log_f32(float x)
{
    static const float c[] = {
        7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
        1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f,
        3.3333331174e-1f,
    };
    int exponent;
    float m = frexpf(x, &exponent), small = m < 0.707106781186547524f ? 1 : 0;
    float e = (float)exponent - small, y, z;

    m = (m - 1) + small * m;
    z = m * m;
    y = fmaf(horner(c, 9, m) * m, z, e * -2.12194440e-4f);
    y = fmaf(z, -0.5f, y);
    return fmaf(e, 0.693359375f, m + y);
}

/* x in [0, 2 pi) */
static void sincos_f32(float x, float *sine, float *cosine)
{
    static const float cs[] = { 2.443315711809948e-5f, -1.388731625493765e-3f,
                                4.166664568298827e-2f };
    static const float sn[] = { -1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f };
    int octant = ((int)(x * 1.27323954473516f) + 1) & ~1;
    float j = (float)octant, z, c, s;

    x = fmaf(j, -0.78515625f, x);
    x = fmaf(j, -2.4187564849853515625e-4f, x);
    x = fmaf(j, -3.77489497744594108e-8f, x);
    z = x * x;
    c = fmaf(horner(cs, 3, z) * z, z, -(z * 0.5f)) + 1;
    s = fmaf(horner(sn, 3, z) * z, x, x);
    *sine   = (octant & 2 ? c : s) * (octant & 4 ? -1.0f : 1.0f);
    *cosine = (octant & 2 ? s : c) * ((octant + 2) & 4 ? -1.0f : 1.0f);
}

/* Normal numbers by Box and Muller: of 16 uniform ones the first eight give the radius. */

static void normal_group(float *x)
{
    for (int i = 0; i < GROUP / 2; i++) {
        float radius = sqrtf(-2 * log_f32(1 - x[i])), s, c;

        sincos_f32((float)(2 * M_PI) * x[i + GROUP / 2], &s, &c);
        x[i]             = radius * c + 0; /* never -0 */
        x[i + GROUP / 2] = radius * s + 0;
    }
}

static void uniforms(TorchRandom *t, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(t);
}

static double normal_double(TorchRandom *t)
{
    double u, v, radius;

    if (t->has_spare) {
        t->has_spare = 0;
        return t->spare;
    }
    u = uniform_double(t);
    v = uniform_double(t);
    radius       = sqrt(-2 * log1p(-v));
    t->has_spare = 1;
    t->spare     = radius * sin(2 * M_PI * u);
    return radius * cos(2 * M_PI * u);
}

void torch_randn(TorchRandom *t, float *x, size_t n)
{
    if (n < GROUP) {
        for (size_t i = 0; i < n; i++)
            x[i] = (float)normal_double(t);
        return;
    }
    uniforms(t, x, n);
    for (size_t i = 0; i + GROUP <= n; i += GROUP)
        normal_group(x + i);
    if (n % GROUP) { /* the last 16 are drawn again */
        uniforms(t, x + n - GROUP, GROUP);
        normal_group(x + n - GROUP);
    }
}
