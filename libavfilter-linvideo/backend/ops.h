/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * THE CONTRACT: every operation a network is made of, one argument struct each.
 * Floor F2 (backend): knows tensors, never models or callers. C99; a kernel
 * compiler reads it too, and takes the structs by value.
 *
 * Shape letters, everywhere in the project:
 *   M rows of a matrix   K inner size         N outputs        C channels
 *   L tokens             H heads              D head_dim       F frames
 *   B batch (samples, frames)   R rows of modulation           P feature map width
 *   Y rows, X columns of a frame
 *
 * Tensors are dense and row-major, dimensions listed slowest first as in
 * PyTorch; frames are channels last, [B,Y,X,C]. No strides, no views.
 *
 * Types: an "act" tensor is f32 or bf16, each tensor of an op on its own; the
 * result is rounded once, on the way out. Weights of matmuls may be f32, bf16 or
 * f16; all other parameters and all statistics are f32. Sums run in f32 or better.
 *
 * What changes between runs (time, ids, mask) is a tensor, never a scalar here, and
 * no shape depends on data, so that a recorded program stays valid.
 *
 * Optional tensors are absent when their id is LV_ID_NONE. Optional outputs of the
 * forward ops are statistics for the gradient; inference leaves them out. Unless an
 * op says otherwise, outputs alias no input and no other output.
 *
 * A batch of B samples stands in the rows: tensors of M rows are B groups of M / B,
 * one after the other. Ops in which samples differ have a field `batch`.
 *
 * Backward ops (LINEAR_DX and those after it) take dy, the gradient of some scalar
 * with respect to y, and give that with respect to the inputs: dx of x, dw of w.
 * Outputs that are not wanted are absent; at least one is there. Bit i of `add`: output
 * i is added to what its tensor holds, in f32 or better, instead of replacing it.
 */

#ifndef LINVIDEO_BACKEND_OPS_H
#define LINVIDEO_BACKEND_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/planes.h"

#define LV_MAX_RANK 5

enum {
    LV_ID_NONE   = -1, ///< absent
    LV_ID_WEIGHT = -2, ///< ids of weights are LV_ID_WEIGHT - number of the weight
};

/** A tensor: what it is (always) and where (data; set before an op runs). */
typedef struct LvTensor {
    void *data;    ///< on the device; NULL while tracing
    struct LvWeight *w; ///< handle of a weight, see weight.h; NULL: contents change
    int32_t id;    ///< >= 0: made or fed in the graph; else see above
    uint8_t dtype; ///< LvDtype
    uint8_t rank;  ///< 1 to LV_MAX_RANK; 0 when absent
    int32_t dim[LV_MAX_RANK]; ///< >= 1 each; 1 from rank on
} LvTensor;

/** An absent tensor, for optional arguments. */
#define LV_NO_TENSOR ((LvTensor) { .id = LV_ID_NONE })

/** Activations. gelu is the tanh form, gelu_erf the exact one, x times the normal
 *  distribution's cumulative function; clamp3 is 3 tanh(x / 3). */
enum LvAct { LV_ACT_NONE, LV_ACT_RELU, LV_ACT_SILU, LV_ACT_GELU, LV_ACT_CLAMP3,
             LV_ACT_GELU_ERF, LV_ACT_NB };

/** Normalisations: LAYER subtracts the mean, RMS does not. */
enum LvNormKind { LV_NORM_LAYER, LV_NORM_RMS };

/** Numbers that a LINEAR or an ATTN multiplies. */
enum LvMatmul {
    LV_MATMUL_FLOAT, ///< as x has them: f32 or bf16
    LV_MATMUL_I8,    ///< 8-bit integers; where LvDevice.i8
    LV_MATMUL_F8,    ///< F8_E4M3; where LvDevice.f8
    LV_MATMUL_NB
};

/** See LvLinearArgs: 448 over less is not finite. */
#define LV_F8_LEAST 0x1p-118f

/** Feature maps of linear attention; see LvLinattnArgs. */
enum LvMapKind { LV_MAP_HEDGEHOG, LV_MAP_RELU, LV_MAP_TAYLOR, LV_MAP_NB };

/**
 * y = act(x w^T + b)
 *
 * Accuracy: f32 sums of f32 or of products of bf16-rounded values; see tests/ops_table.c. Where x
 * is bf16, w is rounded to it, and b may be.
 *
 * LV_MATMUL_I8: each row of x and each of w is rounded to whole numbers from -127 to 127 times
 * a scale of its own, max |row| / 127, and sums are exact: twice the rate of bf16 for an
 * error of about 1 % of y.
 *
 * LV_MATMUL_F8: each row of x and each of w is rounded to F8_E4M3 times a scale of its own,
 * max |row| / 448. A row whose maximum is below LV_F8_LEAST becomes zeros. The error of y is about
 * 4 %; tensor cores keep some 13 bits of their sums, which adds 1e-4 to it. LV_MATMUL_FLOAT is used
 * instead where K or N is not a multiple of 16, and where w is stored as I8 or in blocks.
 *
 * A device with LvDevice.widens also takes w as files store it: in blocks of GGUF, if K is a
 * multiple of the block, or as F8_E4M3 or I8, if N and K are multiples of 16, followed by N scales
 * (f32), one for each row. It is rounded to x's type, or to F8_E4M3.
 */
typedef struct LvLinearArgs {
    LvTensor x; ///< in:  [M,K] act. bf16: matmuls in bf16, f32: in f32
    LvTensor w; ///< in:  [N,K] f32, bf16 or f16; see above
    LvTensor b; ///< in:  [N] f32, optional
    LvTensor y; ///< out: [M,N] act
    enum LvAct act;
    enum LvMatmul of;
} LvLinearArgs;

/**
 * y = n(x) w + b, then (1 + mod[scale]) y + mod[shift], for each row of x; rows of
 * sample b take rows b R + scale and b R + shift of mod
 * n(x) = (x - mean) rstd (LAYER) or x rstd (RMS); rstd = 1 / sqrt(var + eps), var
 * being the biased variance, or the mean square for RMS.
 *
 * With an activation, y = act(y) follows, of what was rounded to y's type: the bits are
 * those of a NORM and an ACT.
 */
typedef struct LvNormArgs {
    LvTensor x;    ///< in:  [M,C] act
    LvTensor w;    ///< in:  [C] f32, optional (ones)
    LvTensor b;    ///< in:  [C] f32, optional (zeros)
    LvTensor mod;  ///< in:  [B R,C] f32, optional (no modulation)
    LvTensor y;    ///< out: [M,C] act; may alias x when of its type
    LvTensor mean; ///< out: [M] f32, optional
    LvTensor rstd; ///< out: [M] f32, optional
    enum LvNormKind kind;
    int shift;     ///< row of a sample's mod added, < R
    int scale;     ///< row of a sample's mod multiplied with, < R
    float eps;     ///< > 0
    int batch;     ///< B >= 1, divides M and the rows of mod
    enum LvAct act;
} LvNormArgs;

/**
 * y = r + mod[row] x (elementwise; row b R + row of mod for all rows of sample b)
 */
typedef struct LvGateArgs {
    LvTensor r;   ///< in:  [M,C] act
    LvTensor x;   ///< in:  [M,C] act
    LvTensor mod; ///< in:  [B R,C] f32, optional (ones)
    LvTensor y;   ///< out: [M,C] act; may alias r or x when of its type
    int row;      ///< row of a sample's mod, < R
    int batch;    ///< B >= 1, divides M and the rows of mod
} LvGateArgs;

/**
 * A GATE and the NORM of what it makes, to their bits: y = r + gate[row] x in f32, and
 * n = norm(y) with w, b, mod as in LvNormArgs. Both take the same samples.
 */
typedef struct LvGateNormArgs {
    LvTensor r;    ///< in:  [M,C] act
    LvTensor x;    ///< in:  [M,C] act
    LvTensor gate; ///< in:  [B R,C] f32, optional (ones)
    LvTensor w;    ///< in:  [C] f32, optional (ones)
    LvTensor b;    ///< in:  [C] f32, optional (zeros)
    LvTensor mod;  ///< in:  [B R,C] f32, optional (no modulation)
    LvTensor y;    ///< out: [M,C] f32; may alias r or x when of its type
    LvTensor n;    ///< out: [M,C] act
    LvTensor mean; ///< out: [M] f32, optional
    LvTensor rstd; ///< out: [M] f32, optional
    int row;       ///< row of a sample's gate, < R
    enum LvNormKind kind;
    int shift;     ///< row of a sample's mod added, < R
    int scale;     ///< row of a sample's mod multiplied with, < R
    float eps;     ///< > 0
    int batch;     ///< B >= 1, divides M and the rows of gate and mod
} LvGateNormArgs;

/**
 * y = rope(x rstd w): RMS norm over the full width C, then rotation of each
 * adjacent pair of each head by the token's angle:
 *   y[2p]   = u[2p] cos - u[2p+1] sin
 *   y[2p+1] = u[2p] sin + u[2p+1] cos
 */
typedef struct LvQknormArgs {
    LvTensor x;    ///< in:  [M,C] act
    LvTensor w;    ///< in:  [C] f32
    LvTensor rope; ///< in:  [L,D/2,2] f32 (cos, sin), optional (no rotation); L
                   ///< divides M, row i of x turns by row i mod L
    LvTensor y;    ///< out: [M,C] act; may alias x when of its type
    LvTensor rstd; ///< out: [M] f32, optional
    int heads;     ///< H; D = C / H, even when rope is given
    float eps;     ///< > 0
} LvQknormArgs;

/**
 * o_i = sum_j softmax_j(scale q_i k_j + key_bias_j + rel_bias[bucket(j - i)]) v_j
 * for each sample and head (channels h D to h D + D - 1). Never holds Lq x Lk values.
 * A query whose keys are all masked gets zeros.
 *
 * LV_MATMUL_F8: q, k and v of bf16 are rounded to F8_E4M3 times a scale of each sample's head,
 * max |head| / 448, and so are 256 exp(s - max s): an error of some 5 % of o. Scores beyond 1.8e5,
 * and inputs that are not finite, make o NaN. LV_MATMUL_FLOAT is used instead where there are a
 * bias, lse, a scale of 0 or less, heads of other than 128 channels or, unless
 * LvDeviceOptions.newest asks, fewer than 1024 keys; and on devices that have no such kernel. Not
 * LV_MATMUL_I8.
 *
 * bucket(d) is the bidirectional one of T5 for `buckets` rows: half of them for
 * d > 0; a quarter exact, the rest logarithmic up to max_distance.
 */
typedef struct LvAttnArgs {
    LvTensor q;        ///< in:  [B Lq,C] act
    LvTensor k;        ///< in:  [B Lk,C] act, same type as q
    LvTensor v;        ///< in:  [B Lk,C] act, same type as q
    LvTensor key_bias; ///< in:  [B Lk] f32, optional; -INFINITY masks a key
    LvTensor rel_bias; ///< in:  [buckets,H] f32, optional; buckets: a multiple of 4
    LvTensor o;        ///< out: [B Lq,C] act
    LvTensor lse;      ///< out: [B H,Lq] f32, optional: ln of the softmax's sum
    int heads;         ///< H
    int max_distance;  ///< of rel_bias
    float scale;       ///< usually 1 / sqrt(D)
    int batch;         ///< B >= 1
    enum LvMatmul of;
} LvAttnArgs;

/**
 * Linear attention, for each sample and head (LinVideo, arXiv 2510.08318; sums over
 * keys as means, so that eps means the same at every length):
 *
 *   phi_q = map(q wq), phi_k = map(k wk)
 *   S = 1/L sum_j phi_k_j^T [v_j, 1]           [F',D+1]
 *   [num, den] = phi_q_i S;  o_i = num / (den + eps)
 *
 * map, of y = x w with P columns, to F' features:
 *   HEDGEHOG  [softmax(y), softmax(-y)]                      F' = 2 P
 *   RELU      max(y, 0)                                      F' = P
 *   TAYLOR    [1, y P^-1/4, y_a y_b P^-1/2 (a < b), y_a^2 (2 P)^-1/2]
 *                                                 F' = 1 + P + P (P + 1) / 2
 * so that phi(q) phi(k) = 1 + s + s^2 / 2 with s = y_q y_k / sqrt(P).
 */
typedef struct LvLinattnArgs {
    LvTensor q;     ///< in:  [B L,C] act
    LvTensor k;     ///< in:  [B L,C] act, same type as q
    LvTensor v;     ///< in:  [B L,C] act, same type as q
    LvTensor wq;    ///< in:  [H,D,P] f32, bf16 or f16
    LvTensor wk;    ///< in:  [H,D,P], same type as wq
    LvTensor o;     ///< out: [B L,C] act
    LvTensor state; ///< out: [B H,F',D+1] f32, optional: S
    LvTensor den;   ///< out: [B H,L] f32, optional: den + eps
    int heads;      ///< H
    enum LvMapKind map;
    float eps;      ///< >= 0
    int batch;      ///< B >= 1
} LvLinattnArgs;

/**
 * Linear attention of a block of tokens to itself and to all blocks before it, which a state
 * stands for:
 *
 *   S' = share S_block + (1 - share) S;  [num, den] = phi_q_i S';  o_i = num / (den + eps)
 *
 * with S_block the S of LINATTN. A share of 1 is LINATTN; one of 1 / n, block after block, makes
 * S' the mean of all n blocks.
 */
typedef struct LvLinattnRunArgs {
    LvTensor q;     ///< in:  as in LvLinattnArgs
    LvTensor k;
    LvTensor v;
    LvTensor wq;
    LvTensor wk;
    LvTensor past;  ///< in:  [B H,F',D+1] f32: S
    LvTensor share; ///< in:  [1] f32, 0 to 1
    LvTensor o;     ///< out: [B L,C] act
    LvTensor state; ///< out: [B H,F',D+1] f32: S'
    int heads, map;
    float eps;
    int batch;
} LvLinattnRunArgs;

/** y = r a + (1 - r) b, with one r for all elements */
typedef struct LvMixArgs {
    LvTensor a; ///< in:  any shape, act
    LvTensor b; ///< in:  same shape, act
    LvTensor r; ///< in:  [1] f32
    LvTensor y; ///< out: same shape, act; may alias a or b when of its type
} LvMixArgs;

/**
 * Normalised attention guidance (arXiv 2505.21179), for each row: away from n, as far as the size
 * of p allows.
 *
 *   g = scale p - (scale - 1) n
 *   g = g min(1, tau |p| / (|g| + 1e-7)), where |g| > tau |p|;  |x| = sum of |x_c|
 *   y = alpha g + (1 - alpha) p
 */
typedef struct LvNagArgs {
    LvTensor p; ///< in:  [M,C] act: attention to the prompt
    LvTensor n; ///< in:  [M,C] act: to the negative prompt
    LvTensor y; ///< out: [M,C] act; may alias p or n when of its type
    float scale; ///< >= 1
    float tau;   ///< > 0
    float alpha; ///< 0 to 1
} LvNagArgs;

/** y[i] = a[i] + b[i mod size(b)]: b is repeated along the slow dimensions */
typedef struct LvAddArgs {
    LvTensor a; ///< in:  any shape, act
    LvTensor b; ///< in:  size divides that of a, act
    LvTensor y; ///< out: shape of a, act; may alias a when of its type
} LvAddArgs;

/** y = act(x) */
typedef struct LvActArgs {
    LvTensor x; ///< in:  any shape, act
    LvTensor y; ///< out: same shape, act; may alias x when of its type
    enum LvAct act;
} LvActArgs;

/** y = x gelu(g) (tanh form) */
typedef struct LvGluArgs {
    LvTensor x; ///< in:  any shape, act
    LvTensor g; ///< in:  same shape, act
    LvTensor y; ///< out: same shape, act; may alias x or g when of its type
} LvGluArgs;

/** y[i] = table[ids[i]]; ids outside the table give zeros */
typedef struct LvEmbedArgs {
    LvTensor ids;   ///< in:  [M] i32
    LvTensor table; ///< in:  [V,C] f32, bf16 or f16
    LvTensor y;     ///< out: [M,C] act
} LvEmbedArgs;

/**
 * y[b] = [cos(t_b w_0) ... cos(t_b w_{n-1}), sin(t_b w_0) ... sin(t_b w_{n-1})],
 * w_i = 10000^(-i/n), 2n columns of y; computed in f64, rounded once
 */
typedef struct LvSinusoidArgs {
    LvTensor t; ///< in:  [B] f32, 0 to 1000
    LvTensor y; ///< out: [B,2n] f32
} LvSinusoidArgs;

/** Order of channels and places within a token: of the patch embedding and of the
 *  head in Wan. N = pt ph pw places, place n = (a ph + b) pw + e. */
enum LvPatchOrder {
    LV_PATCH_CHANNEL_SLOW, ///< element c N + n
    LV_PATCH_CHANNEL_FAST  ///< element n C + c
};

/**
 * Tokens of latent videos: token (sample, f, i, j), j fastest, holds
 * x[b, c, f pt + a, i ph + b, j pw + e] at the element that `order` says
 */
typedef struct LvPatchifyArgs {
    LvTensor x;   ///< in:  [C,F,Y,X] or [B,C,F,Y,X] f32; F, Y, X multiples of pt, ph, pw
    LvTensor y;   ///< out: [B L, C N] act
    int pt, ph, pw;
    enum LvPatchOrder order;
} LvPatchifyArgs;

/** Back from tokens: the inverse of LvPatchifyArgs with the same order. */
typedef struct LvUnpatchifyArgs {
    LvTensor x;   ///< in:  [B L, C N] act
    LvTensor y;   ///< out: [C,F,Y,X] or [B,C,F,Y,X] f32
    int pt, ph, pw;
    enum LvPatchOrder order;
} LvUnpatchifyArgs;

/**
 * y = act(conv(x, w) + b + r): 2-D cross-correlation of every frame, zero padding
 */
typedef struct LvConvArgs {
    LvTensor x; ///< in:  [B,Y,X,C] act. bf16: products in bf16, f32: in f32
    LvTensor w; ///< in:  [O,C,kh,kw] f32, bf16 or f16
    LvTensor b; ///< in:  [O] f32, optional
    LvTensor r; ///< in:  [B,Y',X',O] act, optional
    LvTensor y; ///< out: [B,Y',X',O] act; Y' = (Y + 2 pad - kh) / stride + 1
    int stride; ///< 1 or 2
    int pad;    ///< on all four sides, 0 to (kh - 1)
    enum LvAct act;
} LvConvArgs;

/**
 * y[n] = act(sum over t of conv(x'[n step + t], w[t]) + b + r), x' being prev and behind
 * it x: a convolution over time and place, causal when prev has T - 1 frames; zero padding
 * in place only. next = the last P frames of x', the prev of the following call.
 */
typedef struct LvConv3Args {
    LvTensor x;    ///< in:  [F,Y,X,C] act. bf16: products in bf16, f32: in f32
    LvTensor w;    ///< in:  [T,O,C,kh,kw] f32, bf16 or f16
    LvTensor b;    ///< in:  [O] f32, optional
    LvTensor r;    ///< in:  [F',Y',X',O] act, optional
    LvTensor prev; ///< in:  [P,Y,X,C], type of x; 1 <= P < T
    LvTensor y;    ///< out: [F',Y',X',O] act; F' = (P + F - T) / step + 1 >= 1,
                   ///< Y' = Y + 2 pad - kh + 1
    LvTensor next; ///< out: [P,Y,X,C], type of x; may alias prev
    int step;      ///< 1 or 2
    int pad;       ///< on all four sides, 0 to (kh - 1)
    enum LvAct act;
} LvConv3Args;

/**
 * A frame beside the one before it: y[n] = [x[n], x[n-1]] along channels, where
 * x[-1] = prev; next = x[B-1], the prev of the following call.
 */
typedef struct LvRecallArgs {
    LvTensor x;    ///< in:  [B,Y,X,C] act
    LvTensor prev; ///< in:  [1,Y,X,C], type of x
    LvTensor y;    ///< out: [B,Y,X,2C], type of x
    LvTensor next; ///< out: [1,Y,X,C], type of x; may alias prev
} LvRecallArgs;

/** y[b,2i+u,2j+v,c] = x[b,i,j,c]: nearest, twice as large */
typedef struct LvUpsampleArgs {
    LvTensor x; ///< in:  [B,Y,X,C] act
    LvTensor y; ///< out: [B,2Y,2X,C], type of x
} LvUpsampleArgs;

/** y[b n + k, i, j, c] = x[b, i, j, k C + c]: channel groups become n frames */
typedef struct LvUnstackArgs {
    LvTensor x; ///< in:  [B,Y,X,n C] act
    LvTensor y; ///< out: [n B,Y,X,C], type of x
    int n;      ///< frames out of one
} LvUnstackArgs;

/** y[b, i, j, k C + c] = x[b n + k, i, j, c]: n frames become channel groups */
typedef struct LvStackArgs {
    LvTensor x; ///< in:  [n B,Y,X,C] act
    LvTensor y; ///< out: [B,Y,X,n C], type of x
    int n;      ///< frames into one
} LvStackArgs;

/** y[b, i n + u, j n + v, c] = x[b, i, j, (c n + u) n + v] (PyTorch's order) */
typedef struct LvShuffleArgs {
    LvTensor x; ///< in:  [B,Y,X,C n n] act
    LvTensor y; ///< out: [B,Y n,X n,C] act
    int n;      ///< >= 1
    int transposed; ///< 1: (c n + v) n + u in place of (c n + u) n + v
} LvShuffleArgs;

/** y[b, i, j, (c n + u) n + v] = x[b, i n + u, j n + v, c]: the inverse */
typedef struct LvUnshuffleArgs {
    LvTensor x; ///< in:  [B,Y n,X n,C] act
    LvTensor y; ///< out: [B,Y,X,C n n] act
    int n;      ///< >= 1
    int transposed; ///< as of SHUFFLE
} LvUnshuffleArgs;

/**
 * Means of values near each other in time, place and channels (the short cut of Wan2.2's
 * encoder): y[f,i,j,o] = r + 1 / g sum over k < g of v[o g + k], where
 * v[((c ft + a) fs + u) fs + w] = x'[f ft + a, i fs + u, j fs + w, c], x' being x behind as
 * many frames of zeros as make it F' ft.
 */
typedef struct LvAvgDownArgs {
    LvTensor x; ///< in:  [F,Y fs,X fs,C] act
    LvTensor r; ///< in:  [F',Y,X,O] act, optional
    LvTensor y; ///< out: [F',Y,X,O] act; F' = F / ft rounded up, O divides C ft fs fs
    int ft, fs; ///< >= 1; g = C ft fs fs / O
} LvAvgDownArgs;

/**
 * Values repeated in time, place and channels (the short cut of Wan2.2's decoder):
 * y[f',i fs + u,j fs + w,o] = r + x[f,i,j,(((o ft + a) fs + u) fs + w) / n], where
 * f ft + a = f' + F ft - F': what would be too much in front is left out.
 */
typedef struct LvDupUpArgs {
    LvTensor x; ///< in:  [F,Y,X,C] act
    LvTensor r; ///< in:  [F',Y fs,X fs,O] act, optional
    LvTensor y; ///< out: [F',Y fs,X fs,O] act; F ft - ft < F' <= F ft
    int ft, fs; ///< >= 1; C divides O ft fs fs, n times
} LvDupUpArgs;

/**
 * Frames of a tile into whole ones, weighted by where they overlap with other tiles:
 * with v = wy[i] wx[j] (scale x[f,i,j] + offset),
 *   y[f,top+i,left+j] = v + y[f,top+i,left+j]   where i < old_rows or j < old_cols
 *                     = v                       elsewhere
 *
 * Accuracy: f32, each operation rounded, none fused: the same bits on every device. Runs by
 * itself, not in programs, since it reads what y holds.
 */
typedef struct LvBlendArgs {
    LvTensor x;  ///< in:  [F,Y,X,3] f32, of the tile
    LvTensor wy; ///< in:  [Y] f32
    LvTensor wx; ///< in:  [X] f32
    LvTensor y;  ///< out: [F,Y',X',3] f32, the whole frames; the rest of it stays
    int top, left;          ///< of the tile; it lies within y
    int old_rows, old_cols; ///< of the tile, its first ones: tiles before it were there
    float scale, offset;
} LvBlendArgs;

/**
 * The middle of a frame in the caller's pixel format, to the bytes of lv_deliver()
 * (base/deliver.h), on every device.
 *
 * The planes are memory of the device and no tensors: they have strides. On a device with
 * a stream of the caller (LvDeviceOptions.stream) they are written in the order of that
 * stream, behind all work of the device, and are written when the entry returns. Runs by
 * itself, not in programs.
 */
typedef struct LvFrameArgs {
    LvTensor rgb;  ///< in: [Y,X,3] f32, 0 to 1; at least as large as out
    LvPlanes out; ///< planes, format, matrix
} LvFrameArgs;

/** y[a,k,c] = x[a,c]: each row n times, or a tensor repeated n times (A = 1) */
typedef struct LvExpandArgs {
    LvTensor x; ///< in:  A C elements, act; C is the size of its last dimension, or
                ///< all of it when n repeats the whole
    LvTensor y; ///< out: A n C elements, act
    int inner;  ///< C, divides the size of x
} LvExpandArgs;

/** y[a,c] = sum_k x[a,k,c]: the gradient of EXPAND; with A = 1 that of a bias */
typedef struct LvReduceArgs {
    LvTensor x; ///< in:  A n C elements, act
    LvTensor y; ///< out: A C elements, act
    int inner;  ///< C, divides the size of y
    int add;
} LvReduceArgs;

/** y = value, everywhere */
typedef struct LvFillArgs {
    LvTensor y; ///< out: any shape, act
    float value;
} LvFillArgs;

/** Losses of an element e = x - target. SMOOTH is sqrt(e^2 + 1e-4) - 1e-2, ABS is |e|,
 *  whose slope at 0 is 0. */
enum LvLossKind { LV_LOSS_MSE, LV_LOSS_SMOOTH, LV_LOSS_ABS, LV_LOSS_NB };

/** What sizes of LOSS are at least. */
#define LV_LOSS_FLOOR 1e-3f

/**
 * loss[b] = w / n sum_i f(e_i), dx = w / n f'(e), with n elements in each of B samples
 * and w = weight[b] / max(size[b], LV_LOSS_FLOOR); sums in f64. The first dimension of x
 * is a multiple of B.
 */
typedef struct LvLossArgs {
    LvTensor x;      ///< in:  any shape, act
    LvTensor target; ///< in:  same shape, act
    LvTensor weight; ///< in:  [B] f32
    LvTensor size;   ///< in:  [B] f32, optional (ones)
    LvTensor loss;   ///< out: [B] f32
    LvTensor dx;     ///< out: shape of x, act, optional
    enum LvLossKind kind;
} LvLossArgs;

/** y = sum_i x_i^2, in f64 until the end */
typedef struct LvSqsumArgs {
    LvTensor x; ///< in:  any shape, f32
    LvTensor y; ///< out: [1] f32
    int add;
} LvSqsumArgs;

/** Scalars of ADAMW, in the order of its tensor hyper. */
enum LvHyper {
    LV_HYPER_LR,    ///< step size
    LV_HYPER_BETA1, LV_HYPER_BETA2, LV_HYPER_EPS,
    LV_HYPER_DECAY, ///< weight decay, decoupled: multiplied with lr
    LV_HYPER_BIAS1, ///< 1 - beta1^step
    LV_HYPER_BIAS2, ///< 1 - beta2^step
    LV_HYPER_CLIP,  ///< largest norm of the whole gradient; 0: no clipping
    LV_HYPER_EMA,   ///< share of the old average kept
    LV_HYPER_NB
};

/**
 * AdamW with decoupled decay (Loshchilov and Hutter), for each element:
 *   g' = g min(1, clip / sqrt(norm))
 *   m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
 *   p = p - lr (m / bias1 / (sqrt(v / bias2) + eps) + decay p)
 *   ema = EMA ema + (1 - EMA) p
 */
typedef struct LvAdamwArgs {
    LvTensor g;     ///< in:  [n] f32
    LvTensor hyper; ///< in:  [LV_HYPER_NB] f32
    LvTensor norm;  ///< in:  [1] f32, optional (no clipping): sum of g^2 over all
    LvTensor p;     ///< in and out: [n] f32
    LvTensor m;     ///< in and out: [n] f32
    LvTensor v;     ///< in and out: [n] f32
    LvTensor ema;   ///< in and out: [n] f32, optional
} LvAdamwArgs;

/** dx = dy w */
typedef struct LvLinearDxArgs {
    LvTensor dy; ///< in:  [M,N] act. bf16: matmuls in bf16, f32: in f32
    LvTensor w;  ///< in:  [N,K] f32, bf16 or f16
    LvTensor dx; ///< out: [M,K] act
    int add;
} LvLinearDxArgs;

/** dw = dy^T x (the gradient of b is a REDUCE of dy) */
typedef struct LvLinearDwArgs {
    LvTensor dy; ///< in:  [M,N] act
    LvTensor x;  ///< in:  [M,K], type of dy. bf16: matmuls in bf16, f32: in f32
    LvTensor dw; ///< out: [N,K] f32
    int add;
} LvLinearDwArgs;

/**
 * Gradient of NORM. dmod: rows shift and scale of each sample are added to, the others
 * left alone (bit 3 of add has no meaning).
 */
typedef struct LvNormDxArgs {
    LvTensor x;    ///< in:  as in LvNormArgs
    LvTensor w;
    LvTensor b;
    LvTensor mod;
    LvTensor mean; ///< in:  [M] f32; absent for RMS
    LvTensor rstd; ///< in:  [M] f32
    LvTensor dy;   ///< in:  [M,C] act
    LvTensor dx;   ///< out: [M,C] act, optional; may alias dy when of its type
    LvTensor dw;   ///< out: [C] f32, optional
    LvTensor db;   ///< out: [C] f32, optional
    LvTensor dmod; ///< out: [B R,C] f32, optional
    int kind, shift, scale, batch; ///< as in LvNormArgs
    int add;
} LvNormDxArgs;

/**
 * Gradient of GATE with respect to x and mod (that of r is dy itself):
 * dx = mod[row] dy; dmod[row] += sum over the sample's rows of dy x (bit 1 of add
 * has no meaning)
 */
typedef struct LvGateDxArgs {
    LvTensor x;    ///< in:  [M,C] act; may be absent when dmod is
    LvTensor mod;  ///< in:  [B R,C] f32, optional (ones)
    LvTensor dy;   ///< in:  [M,C] act
    LvTensor dx;   ///< out: [M,C] act, optional; may alias dy when of its type
    LvTensor dmod; ///< out: [B R,C] f32, optional
    int row, batch; ///< as in LvGateArgs
    int add;
} LvGateDxArgs;

/** Gradient of QKNORM. */
typedef struct LvQknormDxArgs {
    LvTensor x;    ///< in:  as in LvQknormArgs
    LvTensor w;
    LvTensor rope;
    LvTensor rstd; ///< in:  [M] f32
    LvTensor dy;   ///< in:  [M,C] act
    LvTensor dx;   ///< out: [M,C] act, optional; may alias dy when of its type
    LvTensor dw;   ///< out: [C] f32, optional
    int heads;
    int add;
} LvQknormDxArgs;

/**
 * Gradient of ATTN. With p the softmax, recomputed from lse, and
 * delta_i = sum_e do_ie o_ie:  ds_ij = p_ij (do_i v_j - delta_i),
 * dq = scale ds k, dk = scale ds^T q, dv = p^T do, drel[bucket] = sum of ds.
 * Keys are walked in a fixed order: the same bits every time. key_bias gets none.
 */
typedef struct LvAttnDxArgs {
    LvTensor q;        ///< in:  as in LvAttnArgs
    LvTensor k;
    LvTensor v;
    LvTensor key_bias;
    LvTensor rel_bias;
    LvTensor o;        ///< in:  [B Lq,C] act
    LvTensor lse;      ///< in:  [B H,Lq] f32
    LvTensor dy;       ///< in:  [B Lq,C] act: of o
    LvTensor dq;       ///< out: [B Lq,C] act, optional
    LvTensor dk;       ///< out: [B Lk,C] act, optional
    LvTensor dv;       ///< out: [B Lk,C] act, optional
    LvTensor drel;     ///< out: [buckets,H] f32, optional
    int heads, max_distance;
    float scale;
    int batch;
    int add;
} LvAttnDxArgs;

/**
 * Gradient of LINATTN: with g_i = do_i / den_i,
 * c_i = -(do_i o_i) / den_i, G = [g, c] and V+ = [v, 1]:
 * dphi_q = G S^T, dS = phi_q^T G / L, dphi_k = V+ dS^T, dv = phi_k dS[:, 0:D],
 * then through the maps: dq = dy_q wq^T, dwq = q^T dy_q, and so for k.
 */
typedef struct LvLinattnDxArgs {
    LvTensor q;     ///< in:  as in LvLinattnArgs
    LvTensor k;
    LvTensor v;
    LvTensor wq;
    LvTensor wk;
    LvTensor o;     ///< in:  [B L,C] act
    LvTensor state; ///< in:  [B H,F',D+1] f32
    LvTensor den;   ///< in:  [B H,L] f32
    LvTensor dy;    ///< in:  [B L,C] act: of o
    LvTensor dq;    ///< out: [B L,C] act, optional
    LvTensor dk;    ///< out: [B L,C] act, optional
    LvTensor dv;    ///< out: [B L,C] act, optional
    LvTensor dwq;   ///< out: [H,D,P] f32, optional
    LvTensor dwk;   ///< out: [H,D,P] f32, optional
    int heads, map;
    float eps;
    int batch;
    int add;
} LvLinattnDxArgs;

/** Gradient of MIX: da = r dy, db = (1 - r) dy, dr = sum dy (a - b), in f64 until
 *  the end */
typedef struct LvMixDxArgs {
    LvTensor a;  ///< in:  any shape, act
    LvTensor b;  ///< in:  same shape, act
    LvTensor r;  ///< in:  [1] f32
    LvTensor dy; ///< in:  same shape, act
    LvTensor da; ///< out: same shape, act, optional
    LvTensor db; ///< out: same shape, act, optional
    LvTensor dr; ///< out: [1] f32, optional
    int add;
} LvMixDxArgs;

/** dx = dy act'(x); the slope of RELU at 0 is 0 */
typedef struct LvActDxArgs {
    LvTensor x;  ///< in:  any shape, act: what went into the activation
    LvTensor dy; ///< in:  same shape, act
    LvTensor dx; ///< out: same shape, act; may alias dy when of its type
    enum LvAct act;
    int add;
} LvActDxArgs;

/** Gradient of GLU: dx = dy gelu(g), dg = dy x gelu'(g) */
typedef struct LvGluDxArgs {
    LvTensor x;  ///< in:  any shape, act
    LvTensor g;  ///< in:  same shape, act
    LvTensor dy; ///< in:  same shape, act
    LvTensor dx; ///< out: same shape, act, optional; may alias dy when of its type
    LvTensor dg; ///< out: same shape, act, optional
    int add;
} LvGluDxArgs;

/** dtable[ids[i]] += dy[i], in the order of i, after being zeroed unless added to */
typedef struct LvEmbedDxArgs {
    LvTensor ids;    ///< in:  [M] i32; those outside the table have no effect
    LvTensor dy;     ///< in:  [M,C] act
    LvTensor dtable; ///< out: [V,C] f32
    int add;
} LvEmbedDxArgs;

/** Gradient of CONV with respect to x (that of r is dy, of b a REDUCE). */
typedef struct LvConvDxArgs {
    LvTensor dy; ///< in:  [B,Y',X',O] act. bf16: products in bf16, f32: in f32
    LvTensor w;  ///< in:  [O,C,kh,kw] f32, bf16 or f16
    LvTensor dx; ///< out: [B,Y,X,C] act; Y' and X' as in LvConvArgs
    int stride, pad;
    int add;
} LvConvDxArgs;

/** Gradient of CONV with respect to w. */
typedef struct LvConvDwArgs {
    LvTensor dy; ///< in:  [B,Y',X',O] act
    LvTensor x;  ///< in:  [B,Y,X,C], type of dy. bf16: products in bf16, f32: in f32
    LvTensor dw; ///< out: [O,C,kh,kw] f32
    int stride, pad;
    int add;
} LvConvDwArgs;

/** Gradient of RECALL, with no part for prev and none from next:
 *  dx[n] = dy[n, 0:C] + dy[n+1, C:2C] */
typedef struct LvRecallDxArgs {
    LvTensor dy; ///< in:  [B,Y,X,2C] act
    LvTensor dx; ///< out: [B,Y,X,C] act
    int add;
} LvRecallDxArgs;

/** Gradient of UPSAMPLE: dx[b,i,j,c] = sum over u, v of dy[b,2i+u,2j+v,c] */
typedef struct LvUpsampleDxArgs {
    LvTensor dy; ///< in:  [B,2Y,2X,C] act
    LvTensor dx; ///< out: [B,Y,X,C] act
    int add;
} LvUpsampleDxArgs;

/**
 * The list: NAME, name, Type, tensors in, tensors out. Enum, record union, device
 * tables, names and the run switch are made from it. In every struct the tensors
 * come first, inputs before outputs, with nothing between.
 */
#define LV_OPS(X)                            \
    X(LINEAR,     linear,     Linear,     3, 1) \
    X(NORM,       norm,       Norm,       4, 3) \
    X(GATE,       gate,       Gate,       3, 1) \
    X(GATE_NORM,  gate_norm,  GateNorm,   6, 4) \
    X(QKNORM,     qknorm,     Qknorm,     3, 2) \
    X(ATTN,       attn,       Attn,       5, 2) \
    X(LINATTN,    linattn,    Linattn,    5, 3) \
    X(LINATTN_RUN, linattn_run, LinattnRun, 7, 2) \
    X(MIX,        mix,        Mix,        3, 1) \
    X(NAG,        nag,        Nag,        2, 1) \
    X(ADD,        add,        Add,        2, 1) \
    X(ACT,        act,        Act,        1, 1) \
    X(GLU,        glu,        Glu,        2, 1) \
    X(EMBED,      embed,      Embed,      2, 1) \
    X(SINUSOID,   sinusoid,   Sinusoid,   1, 1) \
    X(PATCHIFY,   patchify,   Patchify,   1, 1) \
    X(UNPATCHIFY, unpatchify, Unpatchify, 1, 1) \
    X(CONV,       conv,       Conv,       4, 1) \
    X(CONV3,      conv3,      Conv3,      5, 2) \
    X(RECALL,     recall,     Recall,     2, 2) \
    X(UPSAMPLE,   upsample,   Upsample,   1, 1) \
    X(UNSTACK,    unstack,    Unstack,    1, 1) \
    X(STACK,      stack,      Stack,      1, 1) \
    X(SHUFFLE,    shuffle,    Shuffle,    1, 1) \
    X(UNSHUFFLE,  unshuffle,  Unshuffle,  1, 1) \
    X(AVG_DOWN,   avg_down,   AvgDown,    2, 1) \
    X(DUP_UP,     dup_up,     DupUp,      2, 1) \
    X(BLEND,      blend,      Blend,      3, 1) \
    X(FRAME,      frame,      Frame,      1, 0) \
    X(EXPAND,     expand,     Expand,     1, 1) \
    X(REDUCE,     reduce,     Reduce,     1, 1) \
    X(FILL,       fill,       Fill,       0, 1) \
    X(LOSS,       loss,       Loss,       4, 2) \
    X(SQSUM,      sqsum,      Sqsum,      1, 1) \
    X(ADAMW,      adamw,      Adamw,      3, 4) \
    X(LINEAR_DX,  linear_dx,  LinearDx,   2, 1) \
    X(LINEAR_DW,  linear_dw,  LinearDw,   2, 1) \
    X(NORM_DX,    norm_dx,    NormDx,     7, 4) \
    X(GATE_DX,    gate_dx,    GateDx,     3, 2) \
    X(QKNORM_DX,  qknorm_dx,  QknormDx,   5, 2) \
    X(ATTN_DX,    attn_dx,    AttnDx,     8, 4) \
    X(LINATTN_DX, linattn_dx, LinattnDx,  9, 5) \
    X(MIX_DX,     mix_dx,     MixDx,      4, 3) \
    X(ACT_DX,     act_dx,     ActDx,      2, 1) \
    X(GLU_DX,     glu_dx,     GluDx,      3, 2) \
    X(EMBED_DX,   embed_dx,   EmbedDx,    2, 1) \
    X(CONV_DX,    conv_dx,    ConvDx,     2, 1) \
    X(CONV_DW,    conv_dw,    ConvDw,     2, 1) \
    X(RECALL_DX,  recall_dx,  RecallDx,   1, 1) \
    X(UPSAMPLE_DX, upsample_dx, UpsampleDx, 1, 1)

#define LV_OP_ENUM(NAME, name, Type, in, out) LV_OP_##NAME,
enum LvOpKind { LV_OPS(LV_OP_ENUM) LV_OP_NB };
#undef LV_OP_ENUM

#define LV_OP_MAX_TENSORS 14

/** Arguments of any op; t[] sees its tensors in order, inputs first. */
typedef union LvOpArgs {
    LvTensor t[LV_OP_MAX_TENSORS];
#define LV_OP_MEMBER(NAME, name, Type, in, out) Lv##Type##Args name;
    LV_OPS(LV_OP_MEMBER)
#undef LV_OP_MEMBER
} LvOpArgs;

/** What the list says of an op. */
typedef struct LvOpInfo {
    const char *name; ///< "linear"
    int in, out;      ///< tensors
} LvOpInfo;

/** Row of the list for op, 0 <= op < LV_OP_NB. */
const LvOpInfo *lv_op_info(int op);

/** Whether tensor t is there. */
static inline int lv_has(const LvTensor *t)
{
    return t->id != LV_ID_NONE;
}

/** Elements of t; 0 when absent. */
size_t lv_tensor_numel(const LvTensor *t);

/** Bytes of t, those of scales too; 0 when absent. */
size_t lv_tensor_bytes(const LvTensor *t);

/** Whether t is of a type that only LINEAR takes, and only as its w. */
int lv_tensor_is_stored(const LvTensor *t);

/** Whether numbers of such a weight have scales behind them. */
int lv_dtype_has_scales(LvDtype dtype);

/** Elements of t with the last dimension taken away: rows of it as a matrix. */
size_t lv_tensor_rows(const LvTensor *t);

/** Text of a shape, "[80,192] F32", into buf. Returns buf. */
const char *lv_tensor_text(char *buf, size_t size, const LvTensor *t);

/** The two ops that a GATE_NORM is. */
LvGateArgs lv_gate_part(const LvGateNormArgs *a);
LvNormArgs lv_norm_part(const LvGateNormArgs *a);

/** A LINATTN_RUN as the LINATTN of its block alone. */
LvLinattnArgs lv_linattn_part(const LvLinattnRunArgs *a);

/** Frame t of the weight of a CONV3, as [O,C,kh,kw]. */
LvTensor lv_conv3_tap(const LvConv3Args *a, int t);

/** Floating point operations of an op (a multiply-add is two), counting products
 *  only: linear, attention, convolution. 0 for the others. */
double lv_op_flops(int op, const LvOpArgs *a);

/** Bytes an op must read and write at least: all its tensors once. */
double lv_op_bytes(int op, const LvOpArgs *a);

/** Features F' that a map makes of P columns. */
int lv_map_features(int map, int p);

#endif /* LINVIDEO_BACKEND_OPS_H */
