/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ISA kernels of the CPU device: loops over one row, in C, AVX2, AVX-512 and NEON,
 * picked once from what the CPU has.
 * Floor F2 (backend): knows rows of f32, never tensors.
 *
 * Rows need no alignment. n is any length, 0 included. Results may be written over
 * an input of the same length, unless `restrict` says otherwise. For a given table
 * a result depends on its inputs alone: lanes are summed in a fixed order.
 */

#ifndef LINVIDEO_BACKEND_CPU_DSP_H
#define LINVIDEO_BACKEND_CPU_DSP_H

#include <stddef.h>
#include <stdint.h>

#include "backend/ops.h"

/** Scalars of adamw below; see LvAdamwArgs. */
typedef struct LvAdam {
    float clip;         ///< factor of g
    float beta1, beta2;
    float bias1, bias2; ///< 1 / bias
    float lr, eps, decay;
    float keep;         ///< share of the old average
} LvAdam;

typedef struct LvDsp {
    const char *name; ///< "C", "AVX2", "AVX-512", "NEON"

    /** bf16 to f32, exact; f32 to bf16, to nearest even, NaN stays NaN. */
    void (*from_bf16)(float *restrict y, const uint16_t *restrict x, size_t n);
    void (*to_bf16)(uint16_t *restrict y, const float *restrict x, size_t n);

    /** f32 to bf16 for a bf16 matmul, where the device has those: as to_bf16, but
     *  subnormal numbers may become 0. */
    void (*to_operand)(uint16_t *restrict y, const float *restrict x, size_t n);

    float (*sum)(const float *x, size_t n);                 ///< sum of x
    float (*sum_sq)(const float *x, float mean, size_t n);  ///< sum of (x - mean)^2
    float (*sum_abs)(const float *x, size_t n);             ///< sum of |x|
    float (*dot)(const float *x, const float *y, size_t n); ///< sum of x y
    float (*max)(const float *x, size_t n);                 ///< -INFINITY for n = 0
    float (*min)(const float *x, size_t n);                 ///< INFINITY for n = 0

    /** y = (x - mean) rstd a + b; b may be NULL (zeros) */
    void (*norm)(float *y, const float *x, const float *a, const float *b,
                 float mean, float rstd, size_t n);
    /** y = r + m x; m may be NULL (ones) */
    void (*madd)(float *y, const float *r, const float *m, const float *x, size_t n);
    /** y = a x + b z */
    void (*axpby)(float *y, float a, const float *x, float b, const float *z,
                  size_t n);
    /** y = x + a (x - z). Returns the sum of |y|. */
    float (*extrapolate)(float *y, float a, const float *x, const float *z, size_t n);
    /** y = x + a (b z - x); may be in place of z */
    void (*interpolate)(float *y, float a, const float *x, float b, const float *z,
                        size_t n);
    /** y = a x + b; b may be NULL (zeros) */
    void (*affine)(float *y, float a, const float *x, const float *b, size_t n);
    /** y = exp(a x + b - c), exactly 0 where the exponent is below -87.3; b may be
     *  NULL. half: y once more, as by to_operand, or NULL. Returns the sum of y.
     *  Relative error of exp below 2e-7. */
    float (*exp_sum)(float *y, uint16_t *half, float a, const float *x, const float *b,
                     float c, size_t n);
    /** y = p (x - c), the gradient of a softmax; half as in exp_sum. */
    void (*softmax_dx)(float *y, uint16_t *half, const float *p, const float *x,
                       float c, size_t n);
    /** phi[2n] = [softmax(y), softmax(-y)] */
    void (*hedgehog)(float *phi, const float *y, size_t n);
    /** Its gradient: dy[n] from phi and dphi, [2n] each. */
    void (*hedgehog_dx)(float *dy, const float *phi, const float *dphi, size_t n);
    /** Rotate n / 2 pairs by t[n/2][2] = (cos, sin); see LvQknormArgs. */
    void (*rope)(float *y, const float *x, const float *t, size_t n);
    /** y = act(x), by enum LvAct; LV_ACT_NONE copies. */
    void (*act[LV_ACT_NB])(float *y, const float *x, size_t n);
    /** y = x gelu(g) */
    void (*glu)(float *y, const float *x, const float *g, size_t n);

    /** y = a x to the nearest whole number, plus 128; |a x| <= 127 */
    void (*to_u8)(uint8_t *restrict y, const float *restrict x, float a, size_t n);
    /** y = a s (c - d) + b; b may be NULL (zeros). y may be c. */
    void (*from_i32)(float *y, const int32_t *c, const int32_t *d, float a, const float *s,
                     const float *b, size_t n);

    /** y[2i] = a[i], y[2i+1] = b[i] */
    void (*weave)(uint16_t *restrict y, const uint16_t *restrict a,
                  const uint16_t *restrict b, size_t n);
    /** y[j,i] = x[i,j] for a matrix x of rows x cols, whose rows lie lx apart; those
     *  of y lie ly apart. */
    void (*turn)(uint32_t *restrict y, size_t ly, const uint32_t *restrict x, size_t lx,
                 size_t rows, size_t cols);

    /** y = a b */
    void (*mul)(float *y, const float *a, const float *b, size_t n);
    /** y = dy act'(x), by enum LvAct */
    void (*act_dx[LV_ACT_NB])(float *y, const float *x, const float *dy, size_t n);
    /** With v = (x - mean) rstd: sums = { sum of dy a, sum of dy a v }; s0 += dy and
     *  s1 += dy v, each unless NULL. sums and s0, s1 lie apart from the inputs. */
    void (*norm_sums)(float sums[2], float *s0, float *s1, const float *x,
                      const float *dy, const float *a, float mean, float rstd,
                      size_t n);
    /** y = (dy a - c0 - c1 v) rstd, v as above */
    void (*norm_dx)(float *y, const float *x, const float *dy, const float *a,
                    float mean, float rstd, float c0, float c1, size_t n);
    /** The inverse of rope. */
    void (*unrope)(float *y, const float *x, const float *t, size_t n);
    /** One step, in place; ema may be NULL. g lies apart from the others. */
    void (*adamw)(float *p, float *m, float *v, float *ema, const float *g,
                  const LvAdam *k, size_t n);
    /** Returns the sum of f(x - t), dx = scale f'(x - t), both in f64, by enum
     *  LvLossKind. */
    double (*loss[LV_LOSS_NB])(float *restrict dx, const float *x, const float *t,
                               double scale, size_t n);
    /** Sums in f64: of x^2; of z (x - y). */
    double (*sum_sq_f64)(const float *x, size_t n);
    double (*dot_diff_f64)(const float *z, const float *x, const float *y, size_t n);
} LvDsp;

extern const LvDsp lv_dsp_c, lv_dsp_avx2, lv_dsp_avx512, lv_dsp_neon;

/**
 * Table by name ("c", "avx2", "avx512", "neon"; NULL: the best), NULL when the name is
 * unknown, or this CPU or this build has not got it.
 */
const LvDsp *lv_dsp_get(const char *isa);

#endif /* LINVIDEO_BACKEND_CPU_DSP_H */
