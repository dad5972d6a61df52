/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * ISA kernels in plain C, one lane at a time.
 */

#include <math.h>

#include "backend/cpu/dsp.h"
#include "base/half.h"

typedef float V;
#define VL 1
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define LOADN(p, k, fill) (*(p))
#define STOREN(p, v, k) (*(p) = (v))
#define SET1(a) (a)
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define FMA(a, b, c) ((a) * (b) + (c))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define SQRT(a) sqrtf(a)
#define ROUND(a) rintf(a)
#define POW2(n) lv_bits_f32((uint32_t)((int)(n) + 127) << 23)
#define LESS(a, b, x, y) ((a) < (b) ? (x) : (y))
#define HSUM(v) (v)
#define HMAX(v) (v)
#define HMIN(v) (v)
#define FROM_BF16(p) lv_bf16_f32(*(p))
#define FROM_BF16N(p, k) lv_bf16_f32(*(p))
#define TO_BF16(p, v) (*(p) = lv_f32_bf16(v))
#define TO_BF16N(p, v, k) (*(p) = lv_f32_bf16(v))
#define HALF TO_BF16
#define HALFN TO_BF16N
#define TO_U8(p, v) (*(p) = (uint8_t)(v))
#define TO_U8N(p, v, k) TO_U8(p, v)
#define DIFF_I32(c, d) ((float)(*(c) - *(d)))
#define DIFF_I32N(c, d, k) DIFF_I32(c, d)
#define WEAVE(y, a, b) ((y)[0] = *(a), (y)[1] = *(b))
#define TURN(y, ly, x, lx) (*(y) = *(x))

#include "backend/cpu/dsp_tmpl.h"

const LvDsp lv_dsp_c = DSP_TABLE("C");
