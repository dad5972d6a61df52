/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Bodies of the ISA kernels over a vector type, compiled once for each instruction set.
 * The including file defines: V (vector of VL floats), LOAD STORE LOADN STOREN (the
 * last k < VL lanes; missing ones read as a fill), SET1 ADD SUB MUL DIV FMA MAX MIN
 * SQRT ROUND, POW2 (2^n of whole n in -126..127), LESS (a < b ? x : y), PAIRS (swap the
 * lanes of each pair), EVENS/ODDS (copy the even/odd lane of each pair over it),
 * SIGNS (-1, 1, -1, 1...), HSUM HMAX HMIN, FROM_BF16 TO_BF16 HALF (of to_operand) with
 * N forms, TO_U8 (of whole numbers), DIFF_I32 (of whole numbers, as floats) with N forms,
 * WEAVE (pairs of VL 16-bit numbers), TURN (transpose VL x VL 32-bit numbers),
 * NAME.
 */

/* For i over whole vectors, then once with k lanes left. */
#define EACH(body, tail)                                                          \
    do {                                                                          \
        size_t i = 0;                                                             \
        for (; i + VL <= n; i += VL) {                                            \
            body;                                                                 \
        }                                                                         \
        if (i < n) {                                                              \
            size_t k = n - i;                                                     \
            (void)k;                                                              \
            tail;                                                                 \
        }                                                                         \
    } while (0)

static void from_bf16(float *restrict y, const uint16_t *restrict x, size_t n)
{
    EACH(STORE(y + i, FROM_BF16(x + i)), STOREN(y + i, FROM_BF16N(x + i, k), k));
}

static void to_bf16(uint16_t *restrict y, const float *restrict x, size_t n)
{
    EACH(TO_BF16(y + i, LOAD(x + i)), TO_BF16N(y + i, LOADN(x + i, k, 0), k));
}

static void to_operand(uint16_t *restrict y, const float *restrict x, size_t n)
{
    EACH(HALF(y + i, LOAD(x + i)), HALFN(y + i, LOADN(x + i, k, 0), k));
}

static void to_u8(uint8_t *restrict y, const float *restrict x, float a, size_t n)
{
    V m = SET1(a), half = SET1(128);

    EACH(TO_U8(y + i, ADD(ROUND(MUL(LOAD(x + i), m)), half)),
         TO_U8N(y + i, ADD(ROUND(MUL(LOADN(x + i, k, 0), m)), half), k));
}

static float sum(const float *x, size_t n)
{
    V s = SET1(0);

    EACH(s = ADD(s, LOAD(x + i)), s = ADD(s, LOADN(x + i, k, 0)));
    return HSUM(s);
}

static float sum_sq(const float *x, float mean, size_t n)
{
    V s = SET1(0), m = SET1(mean), d;

    EACH(d = SUB(LOAD(x + i), m); s = FMA(d, d, s),
         d = SUB(LOADN(x + i, k, mean), m); s = FMA(d, d, s));
    return HSUM(s);
}

static V absolute(V x)
{
    return MAX(x, SUB(SET1(0), x));
}

static float sum_abs(const float *x, size_t n)
{
    V s = SET1(0);

    EACH(s = ADD(s, absolute(LOAD(x + i))), s = ADD(s, absolute(LOADN(x + i, k, 0))));
    return HSUM(s);
}

static float extrapolate(float *y, float a, const float *x, const float *z, size_t n)
{
    V s = SET1(0), m = SET1(a), v;

    EACH(v = FMA(m, SUB(LOAD(x + i), LOAD(z + i)), LOAD(x + i));
         STORE(y + i, v); s = ADD(s, absolute(v)),
         v = FMA(m, SUB(LOADN(x + i, k, 0), LOADN(z + i, k, 0)), LOADN(x + i, k, 0));
         STOREN(y + i, v, k); s = ADD(s, absolute(v)));
    return HSUM(s);
}

static void interpolate(float *y, float a, const float *x, float b, const float *z, size_t n)
{
    V m = SET1(a), share = SET1(b), v;

    EACH(v = LOAD(x + i);
         STORE(y + i, FMA(m, SUB(MUL(share, LOAD(z + i)), v), v)),
         v = LOADN(x + i, k, 0);
         STOREN(y + i, FMA(m, SUB(MUL(share, LOADN(z + i, k, 0)), v), v), k));
}

static float dot(const float *x, const float *y, size_t n)
{
    V s = SET1(0);

    EACH(s = FMA(LOAD(x + i), LOAD(y + i), s),
         s = FMA(LOADN(x + i, k, 0), LOADN(y + i, k, 0), s));
    return HSUM(s);
}

static float max(const float *x, size_t n)
{
    V m = SET1(-INFINITY);

    EACH(m = MAX(m, LOAD(x + i)), m = MAX(m, LOADN(x + i, k, -INFINITY)));
    return HMAX(m);
}

static float min(const float *x, size_t n)
{
    V m = SET1(INFINITY);

    EACH(m = MIN(m, LOAD(x + i)), m = MIN(m, LOADN(x + i, k, INFINITY)));
    return HMIN(m);
}

static void norm(float *y, const float *x, const float *a, const float *b,
                 float mean, float rstd, size_t n)
{
    V m = SET1(mean), r = SET1(rstd), zero = SET1(0);

#define NORM(get)                                                                 \
    FMA(MUL(SUB(get(x + i), m), r), get(a + i), b ? get(b + i) : zero)
#define TAIL(p) LOADN(p, k, 0)
    EACH(STORE(y + i, NORM(LOAD)), STOREN(y + i, NORM(TAIL), k));
#undef NORM
}

static void madd(float *y, const float *r, const float *m, const float *x, size_t n)
{
    if (m)
        EACH(STORE(y + i, FMA(LOAD(m + i), LOAD(x + i), LOAD(r + i))),
             STOREN(y + i, FMA(TAIL(m + i), TAIL(x + i), TAIL(r + i)), k));
    else
        EACH(STORE(y + i, ADD(LOAD(x + i), LOAD(r + i))),
             STOREN(y + i, ADD(TAIL(x + i), TAIL(r + i)), k));
}

static void from_i32(float *y, const int32_t *c, const int32_t *d, float a, const float *s,
                     const float *b, size_t n)
{
    V m = SET1(a), zero = SET1(0);

    EACH(STORE(y + i, FMA(MUL(LOAD(s + i), m), DIFF_I32(c + i, d + i),
                          b ? LOAD(b + i) : zero)),
         STOREN(y + i, FMA(MUL(TAIL(s + i), m), DIFF_I32N(c + i, d + i, k),
                           b ? TAIL(b + i) : zero), k));
}

static void axpby(float *y, float a, const float *x, float b, const float *z,
                  size_t n)
{
    V va = SET1(a), vb = SET1(b);

    EACH(STORE(y + i, FMA(va, LOAD(x + i), MUL(vb, LOAD(z + i)))),
         STOREN(y + i, FMA(va, TAIL(x + i), MUL(vb, TAIL(z + i))), k));
}

static void affine(float *y, float a, const float *x, const float *b, size_t n)
{
    V va = SET1(a), zero = SET1(0);

    EACH(STORE(y + i, FMA(va, LOAD(x + i), b ? LOAD(b + i) : zero)),
         STOREN(y + i, FMA(va, TAIL(x + i), b ? TAIL(b + i) : zero), k));
}

/* exp by 2^n times a polynomial on |r| <= ln 2 / 2; ln 2 in two parts. */
static inline V vexp(V x)
{
    V lo = SET1(-87.3f), c = MIN(MAX(x, lo), SET1(88.3f));
    V n = ROUND(MUL(c, SET1(1.44269504f)));
    V r = FMA(n, SET1(-0.693359375f), c);
    V p;

    r = FMA(n, SET1(2.12194440e-4f), r);
    p = FMA(r, SET1(1.9875691500e-4f), SET1(1.3981999507e-3f));
    p = FMA(p, r, SET1(8.3334519073e-3f));
    p = FMA(p, r, SET1(4.1665795894e-2f));
    p = FMA(p, r, SET1(1.6666665459e-1f));
    p = FMA(p, r, SET1(5.0000001201e-1f));
    p = ADD(FMA(MUL(p, r), r, r), SET1(1));
    return LESS(x, lo, SET1(0), MUL(p, POW2(n)));
}

static float exp_sum(float *y, uint16_t *half, float a, const float *x, const float *b,
                     float c, size_t n)
{
    static const float zeros[VL];
    V va = SET1(a), vc = SET1(c), s = SET1(0), e;

    EACH(e = b ? LOAD(b + i) : SET1(0);
         e = vexp(FMA(va, LOAD(x + i), SUB(e, vc)));
         STORE(y + i, e); if (half) HALF(half + i, e); s = ADD(s, e),
         e = LOADN(b ? b + i : zeros, k, -INFINITY);
         e = vexp(FMA(va, TAIL(x + i), SUB(e, vc)));
         STOREN(y + i, e, k); if (half) HALFN(half + i, e, k); s = ADD(s, e));
    return HSUM(s);
}

static void softmax_dx(float *y, uint16_t *half, const float *p, const float *x,
                       float c, size_t n)
{
    V vc = SET1(c), d;

    EACH(d = MUL(SUB(LOAD(x + i), vc), LOAD(p + i)); STORE(y + i, d);
         if (half) HALF(half + i, d),
         d = MUL(SUB(LOADN(x + i, k, 0), vc), LOADN(p + i, k, 0)); STOREN(y + i, d, k);
         if (half) HALFN(half + i, d, k));
}

static void hedgehog(float *phi, const float *y, size_t n)
{
    V hi = SET1(-INFINITY), lo = SET1(INFINITY), s = SET1(0), t = SET1(0), e, f;

    EACH(e = LOAD(y + i); hi = MAX(hi, e); lo = MIN(lo, e),
         hi = MAX(hi, LOADN(y + i, k, -INFINITY));
         lo = MIN(lo, LOADN(y + i, k, INFINITY)));
    hi = SET1(HMAX(hi));
    lo = SET1(HMIN(lo));
    EACH(e = vexp(SUB(LOAD(y + i), hi)); f = vexp(SUB(lo, LOAD(y + i)));
         STORE(phi + i, e); STORE(phi + n + i, f); s = ADD(s, e); t = ADD(t, f),
         e = vexp(SUB(LOADN(y + i, k, -INFINITY), hi));
         f = vexp(SUB(lo, LOADN(y + i, k, INFINITY)));
         STOREN(phi + i, e, k); STOREN(phi + n + i, f, k);
         s = ADD(s, e); t = ADD(t, f));
    affine(phi, 1 / HSUM(s), phi, NULL, n);
    affine(phi + n, 1 / HSUM(t), phi + n, NULL, n);
}

/* p (dp - <p, dp>) - m (dm - <m, dm>) for phi = [p, m] */
static void hedgehog_dx(float *dy, const float *phi, const float *dphi, size_t n)
{
    const float *m = phi + n, *dm = dphi + n;
    V s = SET1(0), t = SET1(0);

    EACH(s = FMA(LOAD(phi + i), LOAD(dphi + i), s);
         t = FMA(LOAD(m + i), LOAD(dm + i), t),
         s = FMA(TAIL(phi + i), TAIL(dphi + i), s);
         t = FMA(TAIL(m + i), TAIL(dm + i), t));
    s = SET1(HSUM(s));
    t = SET1(HSUM(t));
    EACH(STORE(dy + i, SUB(MUL(LOAD(phi + i), SUB(LOAD(dphi + i), s)),
                           MUL(LOAD(m + i), SUB(LOAD(dm + i), t)))),
         STOREN(dy + i, SUB(MUL(TAIL(phi + i), SUB(TAIL(dphi + i), s)),
                            MUL(TAIL(m + i), SUB(TAIL(dm + i), t))), k));
}

/* Whole pairs share a vector, for VL is even; scalar code has its own form. */
#if VL > 1
static inline V rotate(V x, V t0, V t1)
{
    /* t0: cos cos of each pair; t1: sin sin */
    return FMA(x, t0, MUL(MUL(PAIRS(x), SIGNS), t1));
}

static void rope(float *y, const float *x, const float *t, size_t n)
{
    EACH(STORE(y + i, rotate(LOAD(x + i), EVENS(LOAD(t + i)), ODDS(LOAD(t + i)))),
         STOREN(y + i, rotate(TAIL(x + i), EVENS(TAIL(t + i)), ODDS(TAIL(t + i))),
                k));
}

static void unrope(float *y, const float *x, const float *t, size_t n)
{
#define BACK(v) SUB(SET1(0), ODDS(v))
    EACH(STORE(y + i, rotate(LOAD(x + i), EVENS(LOAD(t + i)), BACK(LOAD(t + i)))),
         STOREN(y + i, rotate(TAIL(x + i), EVENS(TAIL(t + i)), BACK(TAIL(t + i))),
                k));
#undef BACK
}
#else
static void rope(float *y, const float *x, const float *t, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        float a = x[i], b = x[i + 1];
        y[i]     = a * t[i] - b * t[i + 1];
        y[i + 1] = a * t[i + 1] + b * t[i];
    }
}

static void unrope(float *y, const float *x, const float *t, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        float a = x[i], b = x[i + 1];
        y[i]     = a * t[i] + b * t[i + 1];
        y[i + 1] = b * t[i] - a * t[i + 1];
    }
}
#endif

static inline V vrelu(V x)
{
    return MAX(x, SET1(0));
}

/* x / (1 + e^-x) */
static inline V vsilu(V x)
{
    return DIV(x, ADD(SET1(1), vexp(SUB(SET1(0), x))));
}

/* 0.5 (1 + tanh u) = 1 / (1 + e^-2u), which keeps small values exact */
static inline V vgelu(V x)
{
    V u = MUL(x, FMA(MUL(x, x), SET1(0.0713548162726f), SET1(1.59576912161f)));

    return DIV(x, ADD(SET1(1), vexp(SUB(SET1(0), u))));
}

/* 3 tanh(x / 3): by a series where 1 - 2 / (e^2z + 1) would cancel */
static inline V vclamp3(V x)
{
    V z = MUL(x, SET1(1.0f / 3)), z2 = MUL(z, z);
    V big = SUB(SET1(1), DIV(SET1(2), ADD(vexp(ADD(z, z)), SET1(1))));
    V p = FMA(z2, SET1(-17.0f / 315), SET1(2.0f / 15));

    p = FMA(p, z2, SET1(-1.0f / 3));
    p = FMA(MUL(p, z2), z, z);
    return MUL(SET1(3), LESS(z2, SET1(0.01f), p, big));
}

/* Of the normal distribution: *e = exp(-x^2 / 2); how much lies below x, within 1e-7
 * (Abramowitz and Stegun 7.1.26). */
static inline V vcdf(V x, V *e)
{
    V a = MAX(x, SUB(SET1(0), x)), t, q;

    *e = vexp(MUL(MUL(x, x), SET1(-0.5f)));
    t  = DIV(SET1(1), FMA(a, SET1(0.23164189f), SET1(1)));
    q  = FMA(t, SET1(0.5307027145f), SET1(-0.7265760135f));
    q  = FMA(t, q, SET1(0.7107068705f));
    q  = FMA(t, q, SET1(-0.142248368f));
    q  = FMA(t, q, SET1(0.127414796f));
    q  = MUL(MUL(t, q), *e);
    return LESS(x, SET1(0), q, SUB(SET1(1), q));
}

static inline V vgelu_erf(V x)
{
    V e;

    return MUL(x, vcdf(x, &e));
}

#define ACT(name, f)                                                              \
    static void name(float *y, const float *x, size_t n)                          \
    {                                                                             \
        EACH(STORE(y + i, f(LOAD(x + i))), STOREN(y + i, f(TAIL(x + i)), k));     \
    }
#define COPY(v) (v)
ACT(act_none, COPY)
ACT(act_relu, vrelu)
ACT(act_silu, vsilu)
ACT(act_gelu, vgelu)
ACT(act_clamp3, vclamp3)
ACT(act_gelu_erf, vgelu_erf)

static void glu(float *y, const float *x, const float *g, size_t n)
{
    EACH(STORE(y + i, MUL(LOAD(x + i), vgelu(LOAD(g + i)))),
         STOREN(y + i, MUL(TAIL(x + i), vgelu(TAIL(g + i))), k));
}

static void weave(uint16_t *restrict y, const uint16_t *restrict a,
                  const uint16_t *restrict b, size_t n)
{
    size_t i = 0;

    for (; i + VL <= n; i += VL)
        WEAVE(y + 2 * i, a + i, b + i);
    for (; i < n; i++) {
        y[2 * i]     = a[i];
        y[2 * i + 1] = b[i];
    }
}

static void turn(uint32_t *restrict y, size_t ly, const uint32_t *restrict x, size_t lx,
                 size_t rows, size_t cols)
{
    size_t down = rows / VL * VL, right = cols / VL * VL;

    for (size_t j = 0; j < right; j += VL)
        for (size_t i = 0; i < down; i += VL)
            TURN(y + j * ly + i, ly, x + i * lx + j, lx);
    for (size_t j = 0; j < cols; j++)
        for (size_t i = j < right ? down : 0; i < rows; i++)
            y[j * ly + i] = x[i * lx + j];
}

static void mul(float *y, const float *a, const float *b, size_t n)
{
    EACH(STORE(y + i, MUL(LOAD(a + i), LOAD(b + i))),
         STOREN(y + i, MUL(TAIL(a + i), TAIL(b + i)), k));
}

/* Slopes of the activations. */

static inline V slope_none(V x)
{
    (void)x;
    return SET1(1);
}

static inline V slope_relu(V x)
{
    return LESS(SET1(0), x, SET1(1), SET1(0));
}

/* s (1 + x (1 - s) du), s being the logistic function of u; 1 - s = e s with
 * e = exp(-u), which does not cancel */
static inline V slope_logistic(V x, V u, V du)
{
    V e = vexp(SUB(SET1(0), u)), s = DIV(SET1(1), ADD(SET1(1), e));

    return MUL(s, FMA(MUL(x, MUL(e, s)), du, SET1(1)));
}

static inline V slope_silu(V x)
{
    return slope_logistic(x, x, SET1(1));
}

/* u as in vgelu */
static inline V slope_gelu(V x)
{
    V x2 = MUL(x, x);

    return slope_logistic(x, MUL(x, FMA(x2, SET1(0.0713548162726f),
                                        SET1(1.59576912161f))),
                          FMA(x2, SET1(0.2140644488178f), SET1(1.59576912161f)));
}

/* 1 - tanh(z)^2 = 4 e / (1 + e)^2 with e = exp(-2 |z|), which never cancels */
static inline V slope_clamp3(V x)
{
    V z = MUL(x, SET1(2.0f / 3)), e = vexp(MIN(z, SUB(SET1(0), z)));
    V d = ADD(SET1(1), e);

    return DIV(MUL(SET1(4), e), MUL(d, d));
}

static inline V slope_gelu_erf(V x)
{
    V e, cdf = vcdf(x, &e);

    return FMA(MUL(x, e), SET1(0.398942280f), cdf);
}

#define ACT_DX(name)                                                              \
    static void name##_dx(float *y, const float *x, const float *dy, size_t n)    \
    {                                                                             \
        EACH(STORE(y + i, MUL(LOAD(dy + i), slope_##name(LOAD(x + i)))),          \
             STOREN(y + i, MUL(TAIL(dy + i), slope_##name(TAIL(x + i))), k));     \
    }
ACT_DX(none)
ACT_DX(relu)
ACT_DX(silu)
ACT_DX(gelu)
ACT_DX(clamp3)
ACT_DX(gelu_erf)

static void norm_sums(float sums[2], float *s0, float *s1, const float *x,
                      const float *dy, const float *a, float mean, float rstd, size_t n)
{
    V m = SET1(mean), r = SET1(rstd), su = SET1(0), suv = SET1(0), v, d, u;

#define SUMS(get)                                                                 \
    v   = MUL(SUB(get(x + i), m), r);                                             \
    d   = get(dy + i);                                                            \
    u   = MUL(d, get(a + i));                                                     \
    su  = ADD(su, u);                                                             \
    suv = FMA(u, v, suv)
    EACH(SUMS(LOAD);
         if (s0) STORE(s0 + i, ADD(LOAD(s0 + i), d));
         if (s1) STORE(s1 + i, FMA(d, v, LOAD(s1 + i))),
         SUMS(TAIL);
         if (s0) STOREN(s0 + i, ADD(TAIL(s0 + i), d), k);
         if (s1) STOREN(s1 + i, FMA(d, v, TAIL(s1 + i)), k));
#undef SUMS
    sums[0] = HSUM(su);
    sums[1] = HSUM(suv);
}

static void norm_dx(float *y, const float *x, const float *dy, const float *a,
                    float mean, float rstd, float c0, float c1, size_t n)
{
    V m = SET1(mean), r = SET1(rstd), v0 = SET1(-c0), v1 = SET1(-c1 * rstd);

#define NORM_DX(get)                                                              \
    MUL(FMA(SUB(get(x + i), m), v1, FMA(get(dy + i), get(a + i), v0)), r)
    EACH(STORE(y + i, NORM_DX(LOAD)), STOREN(y + i, NORM_DX(TAIL), k));
#undef NORM_DX
}

/* The state of one element after a step. */
typedef struct Adam {
    V p, m, v;
} Adam;

static inline Adam adam_step(V p, V m, V v, V g, const LvAdam *k)
{
    V step;

    g    = MUL(g, SET1(k->clip));
    m    = FMA(SET1(k->beta1), m, MUL(SET1(1 - k->beta1), g));
    v    = FMA(SET1(k->beta2), v, MUL(MUL(SET1(1 - k->beta2), g), g));
    step = DIV(MUL(m, SET1(k->bias1)),
               ADD(SQRT(MUL(v, SET1(k->bias2))), SET1(k->eps)));
    step = FMA(SET1(k->decay), p, step);
    p    = FMA(SET1(-k->lr), step, p);
    return (Adam) { p, m, v };
}

static void adamw(float *p, float *m, float *v, float *ema, const float *g,
                  const LvAdam *c, size_t n)
{
    V keep = SET1(c->keep), rest = SET1(1 - c->keep);
    Adam a;

    EACH(a = adam_step(LOAD(p + i), LOAD(m + i), LOAD(v + i), LOAD(g + i), c);
         STORE(p + i, a.p);
         STORE(m + i, a.m);
         STORE(v + i, a.v);
         if (ema) STORE(ema + i, FMA(keep, LOAD(ema + i), MUL(rest, a.p))),
         a = adam_step(TAIL(p + i), TAIL(m + i), TAIL(v + i), TAIL(g + i), c);
         STOREN(p + i, a.p, k);
         STOREN(m + i, a.m, k);
         STOREN(v + i, a.v, k);
         if (ema) STOREN(ema + i, FMA(keep, TAIL(ema + i), MUL(rest, a.p)), k));
}

/* Sums in f64, in lanes that compilers make vectors of. */
#define LANES 16

static double fold_lanes(const double *s)
{
    double all = 0;

    for (int k = 0; k < LANES; k++)
        all += s[k];
    return all;
}

#define SUM_F64(term)                                                             \
    double s[LANES] = { 0 };                                                      \
    size_t i = 0, k;                                                              \
    for (; i + LANES <= n; i += LANES)                                            \
        for (k = 0; k < LANES; k++)                                               \
            s[k] += term;                                                         \
    for (k = 0; i + k < n; k++)                                                   \
        s[k] += term;                                                             \
    return fold_lanes(s)

static double sum_sq_f64(const float *x, size_t n)
{
    SUM_F64((double)x[i + k] * (double)x[i + k]);
}

static double dot_diff_f64(const float *z, const float *x, const float *y, size_t n)
{
    SUM_F64((double)z[i + k] * ((double)x[i + k] - (double)y[i + k]));
}

static inline double mse(float *dx, double e, double scale)
{
    *dx = (float)(scale * 2 * e);
    return e * e;
}

/* r - 0.01 with r = sqrt(e^2 + 1e-4) cancels */
static inline double smooth(float *dx, double e, double scale)
{
    double r = sqrt(e * e + 1e-4);

    *dx = (float)(scale * e / r);
    return e * e / (r + 1e-2);
}

static inline double abs_error(float *dx, double e, double scale)
{
    *dx = (float)(e > 0 ? scale : e < 0 ? -scale : 0);
    return fabs(e);
}

#define LOSS(name)                                                                \
    static double loss_##name(float *restrict dx, const float *x, const float *t, \
                              double scale, size_t n)                             \
    {                                                                             \
        SUM_F64(name(&dx[i + k], (double)x[i + k] - (double)t[i + k], scale));    \
    }
LOSS(mse)
LOSS(smooth)
LOSS(abs_error)

#define DSP_TABLE(about)                                                          \
    {                                                                             \
        .name = about, .from_bf16 = from_bf16, .to_bf16 = to_bf16, .sum = sum,    \
        .to_operand = to_operand, .to_u8 = to_u8, .from_i32 = from_i32,           \
        .sum_abs = sum_abs, .extrapolate = extrapolate, .interpolate = interpolate, \
        .sum_sq = sum_sq, .dot = dot, .max = max, .min = min, .norm = norm,       \
        .madd = madd, .axpby = axpby, .affine = affine, .exp_sum = exp_sum,       \
        .rope = rope, .glu = glu, .weave = weave, .turn = turn,                   \
        .softmax_dx = softmax_dx, .hedgehog = hedgehog,                           \
        .hedgehog_dx = hedgehog_dx,                                               \
        .act = { [LV_ACT_NONE] = act_none, [LV_ACT_RELU] = act_relu,              \
                 [LV_ACT_SILU] = act_silu, [LV_ACT_GELU] = act_gelu,              \
                 [LV_ACT_CLAMP3] = act_clamp3,                                    \
                 [LV_ACT_GELU_ERF] = act_gelu_erf },                              \
        .mul = mul, .norm_sums = norm_sums, .norm_dx = norm_dx, .unrope = unrope, \
        .loss = { [LV_LOSS_MSE] = loss_mse, [LV_LOSS_SMOOTH] = loss_smooth,       \
                  [LV_LOSS_ABS] = loss_abs_error },                               \
        .adamw = adamw, .sum_sq_f64 = sum_sq_f64, .dot_diff_f64 = dot_diff_f64,   \
        .act_dx = { [LV_ACT_NONE] = none_dx, [LV_ACT_RELU] = relu_dx,             \
                    [LV_ACT_SILU] = silu_dx, [LV_ACT_GELU] = gelu_dx,             \
                    [LV_ACT_CLAMP3] = clamp3_dx,                                  \
                    [LV_ACT_GELU_ERF] = gelu_erf_dx },                            \
    }
