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
 *   B batch (frames)     Y rows, X columns of a picture        P feature map width
 *
 * Tensors are dense and row-major, dimensions listed slowest first as in
 * PyTorch; pictures are channels last, [B,Y,X,C]. No strides, no views.
 *
 * Types: an "act" tensor is f32 or bf16, each tensor of an op on its own; the
 * result is rounded once, on the way out. Weights of products may be f32, bf16 or
 * f16; all other parameters and all statistics are f32. Sums run in f32 or better.
 *
 * What changes between runs (time, ids, mask) is a tensor, never a scalar here, and
 * no shape depends on data, so that a recorded program stays valid.
 *
 * Optional tensors are absent when their id is LV_ID_NONE. Optional outputs are
 * statistics for the gradient; inference leaves them out. Unless an op says
 * otherwise, outputs alias no input and no other output.
 */

#ifndef LINVIDEO_BACKEND_OPS_H
#define LINVIDEO_BACKEND_OPS_H

#include <stddef.h>
#include <stdint.h>

#define LV_MAX_RANK 5

enum {
    LV_ID_NONE   = -1, ///< absent
    LV_ID_WEIGHT = -2, ///< ids of weights are LV_ID_WEIGHT - number of the weight
};

/** A tensor: what it is (always) and where (data; set before an op runs). */
typedef struct LvTensor {
    void *data;    ///< on the device; NULL while tracing, but for weights
    int32_t id;    ///< >= 0: made or fed in the graph; else see above
    uint8_t dtype; ///< LvDtype
    uint8_t rank;  ///< 1 to LV_MAX_RANK; 0 when absent
    uint8_t fixed; ///< 1: contents never change (a packed copy may be kept)
    uint8_t pad;
    int32_t dim[LV_MAX_RANK]; ///< >= 1 each; 1 from rank on
} LvTensor;

/** An absent tensor, for optional arguments. */
#define LV_NO_TENSOR ((LvTensor) { .id = LV_ID_NONE })

/** Activations. gelu is the tanh form, clamp3 is 3 tanh(x / 3). */
enum LvAct { LV_ACT_NONE, LV_ACT_RELU, LV_ACT_SILU, LV_ACT_GELU, LV_ACT_CLAMP3, LV_ACT_NB };

/** Normalisations: LAYER subtracts the mean, RMS does not. */
enum LvNormKind { LV_NORM_LAYER, LV_NORM_RMS };

/** Feature maps of linear attention; see LvLinattnArgs. */
enum LvMapKind { LV_MAP_HEDGEHOG, LV_MAP_RELU, LV_MAP_TAYLOR, LV_MAP_NB };

/**
 * y = act(x w^T + b)
 *
 * Accuracy: f32 sums of f32 or of bf16-rounded products; see tests/ops_table.c.
 */
typedef struct LvLinearArgs {
    LvTensor x; ///< in:  [M,K] act. bf16: products in bf16, f32: in f32
    LvTensor w; ///< in:  [N,K] f32, bf16 or f16
    LvTensor b; ///< in:  [N] f32, optional
    LvTensor y; ///< out: [M,N] act
    int act;    ///< LvAct
} LvLinearArgs;

/**
 * y = n(x) w + b, then (1 + mod[scale]) y + mod[shift], for each row of x
 * n(x) = (x - mean) rstd (LAYER) or x rstd (RMS); rstd = 1 / sqrt(var + eps), var
 * being the biased variance, or the mean square for RMS.
 */
typedef struct LvNormArgs {
    LvTensor x;    ///< in:  [M,C] act
    LvTensor w;    ///< in:  [C] f32, optional (ones)
    LvTensor b;    ///< in:  [C] f32, optional (zeros)
    LvTensor mod;  ///< in:  [R,C] f32, optional (no modulation)
    LvTensor y;    ///< out: [M,C] act; may alias x when of its type
    LvTensor mean; ///< out: [M] f32, optional
    LvTensor rstd; ///< out: [M] f32, optional
    int kind;      ///< LvNormKind
    int shift;     ///< row of mod added
    int scale;     ///< row of mod multiplied with
    float eps;     ///< > 0
} LvNormArgs;

/**
 * y = r + mod[row] x (elementwise; the row for every row of x)
 */
typedef struct LvGateArgs {
    LvTensor r;   ///< in:  [M,C] act
    LvTensor x;   ///< in:  [M,C] act
    LvTensor mod; ///< in:  [R,C] f32, optional (ones)
    LvTensor y;   ///< out: [M,C] act; may alias r or x when of its type
    int row;      ///< row of mod
} LvGateArgs;

/**
 * y = rope(x rstd w): RMS norm over the full width C, then rotation of each
 * adjacent pair of each head by the token's angle:
 *   y[2p]   = u[2p] cos - u[2p+1] sin
 *   y[2p+1] = u[2p] sin + u[2p+1] cos
 */
typedef struct LvQknormArgs {
    LvTensor x;    ///< in:  [L,C] act
    LvTensor w;    ///< in:  [C] f32
    LvTensor rope; ///< in:  [L,D/2,2] f32 (cos, sin), optional (no rotation)
    LvTensor y;    ///< out: [L,C] act; may alias x when of its type
    LvTensor rstd; ///< out: [L] f32, optional
    int heads;     ///< H; D = C / H, even when rope is given
    float eps;     ///< > 0
} LvQknormArgs;

/**
 * o_i = sum_j softmax_j(scale q_i k_j + key_bias_j + rel_bias[bucket(j - i)]) v_j
 * for each head (channels h D to h D + D - 1). Never holds Lq x Lk values. A query
 * whose keys are all masked gets zeros.
 *
 * bucket(d) is the bidirectional one of T5 for `buckets` rows: half of them for
 * d > 0; a quarter exact, the rest logarithmic up to max_distance.
 */
typedef struct LvAttnArgs {
    LvTensor q;        ///< in:  [Lq,C] act
    LvTensor k;        ///< in:  [Lk,C] act, same type as q
    LvTensor v;        ///< in:  [Lk,C] act, same type as q
    LvTensor key_bias; ///< in:  [Lk] f32, optional; -INFINITY masks a key
    LvTensor rel_bias; ///< in:  [buckets,H] f32, optional; buckets: a multiple of 4
    LvTensor o;        ///< out: [Lq,C] act
    LvTensor lse;      ///< out: [H,Lq] f32, optional: ln of the softmax's sum
    int heads;         ///< H
    int max_distance;  ///< of rel_bias
    float scale;       ///< usually 1 / sqrt(D)
} LvAttnArgs;

/**
 * Linear attention, for each head (LinVideo, arXiv 2510.08318; the mean-normalised
 * form of the project's specification, A.3):
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
    LvTensor q;     ///< in:  [L,C] act
    LvTensor k;     ///< in:  [L,C] act, same type as q
    LvTensor v;     ///< in:  [L,C] act, same type as q
    LvTensor wq;    ///< in:  [H,D,P] f32, bf16 or f16
    LvTensor wk;    ///< in:  [H,D,P], same type as wq
    LvTensor o;     ///< out: [L,C] act
    LvTensor state; ///< out: [H,F',D+1] f32, optional: S
    LvTensor den;   ///< out: [H,L] f32, optional: den + eps
    int heads;      ///< H
    int map;        ///< LvMapKind
    float eps;      ///< >= 0
} LvLinattnArgs;

/** y = r a + (1 - r) b, with one r for all elements */
typedef struct LvMixArgs {
    LvTensor a; ///< in:  any shape, act
    LvTensor b; ///< in:  same shape, act
    LvTensor r; ///< in:  [1] f32
    LvTensor y; ///< out: same shape, act; may alias a or b when of its type
} LvMixArgs;

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
    int act;    ///< LvAct
} LvActArgs;

/** y = x gelu(g) (tanh form) */
typedef struct LvGluArgs {
    LvTensor x; ///< in:  any shape, act
    LvTensor g; ///< in:  same shape, act
    LvTensor y; ///< out: same shape, act; may alias x or g when of its type
} LvGluArgs;

/** y[i] = table[ids[i]]; ids outside the table give zeros */
typedef struct LvEmbedArgs {
    LvTensor ids;   ///< in:  [L] i32
    LvTensor table; ///< in:  [V,C] f32, bf16 or f16
    LvTensor y;     ///< out: [L,C] act
} LvEmbedArgs;

/**
 * y = [cos(t w_0) ... cos(t w_{n-1}), sin(t w_0) ... sin(t w_{n-1})],
 * w_i = 10000^(-i/n), n = size(y) / 2; computed in f64, rounded once
 */
typedef struct LvSinusoidArgs {
    LvTensor t; ///< in:  [1] f32, 0 to 1000
    LvTensor y; ///< out: [1,2n] f32
} LvSinusoidArgs;

/**
 * Tokens of a latent video: token (f,i,j), frame slowest, of
 * y[.., c pt ph pw + (a ph + b) pw + e] = x[c, f pt + a, i ph + b, j pw + e]
 */
typedef struct LvPatchifyArgs {
    LvTensor x;   ///< in:  [C,F,Y,X] f32; F, Y, X multiples of pt, ph, pw
    LvTensor y;   ///< out: [L, C pt ph pw] act
    int pt, ph, pw;
} LvPatchifyArgs;

/**
 * Back from tokens; channel fastest here:
 * y[c, f pt + a, i ph + b, j pw + e] = x[.., ((a ph + b) pw + e) C + c]
 */
typedef struct LvUnpatchifyArgs {
    LvTensor x;   ///< in:  [L, pt ph pw C] act
    LvTensor y;   ///< out: [C,F,Y,X] f32
    int pt, ph, pw;
} LvUnpatchifyArgs;

/**
 * y = act(conv(x, w) + b + r): 2-D cross-correlation of every picture, zero padding
 */
typedef struct LvConvArgs {
    LvTensor x; ///< in:  [B,Y,X,C] act. bf16: products in bf16, f32: in f32
    LvTensor w; ///< in:  [O,C,kh,kw] f32, bf16 or f16
    LvTensor b; ///< in:  [O] f32, optional
    LvTensor r; ///< in:  [B,Y',X',O] act, optional
    LvTensor y; ///< out: [B,Y',X',O] act; Y' = (Y + 2 pad - kh) / stride + 1
    int stride; ///< 1 or 2
    int pad;    ///< on all four sides, 0 to (kh - 1)
    int act;    ///< LvAct
} LvConvArgs;

/**
 * A picture beside the one before it: y[n] = [x[n], x[n-1]] along channels, where
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
} LvShuffleArgs;

/** y[b, i, j, (c n + u) n + v] = x[b, i n + u, j n + v, c]: the inverse */
typedef struct LvUnshuffleArgs {
    LvTensor x; ///< in:  [B,Y n,X n,C] act
    LvTensor y; ///< out: [B,Y,X,C n n] act
    int n;      ///< >= 1
} LvUnshuffleArgs;

/**
 * The list: NAME, name, Type, tensors in, tensors out. Enum, record union, device
 * tables, names and the run switch are made from it. In every struct the tensors
 * come first, inputs before outputs, with nothing between.
 */
#define LV_OPS(X)                            \
    X(LINEAR,     linear,     Linear,     3, 1) \
    X(NORM,       norm,       Norm,       4, 3) \
    X(GATE,       gate,       Gate,       3, 1) \
    X(QKNORM,     qknorm,     Qknorm,     3, 2) \
    X(ATTN,       attn,       Attn,       5, 2) \
    X(LINATTN,    linattn,    Linattn,    5, 3) \
    X(MIX,        mix,        Mix,        3, 1) \
    X(ADD,        add,        Add,        2, 1) \
    X(ACT,        act,        Act,        1, 1) \
    X(GLU,        glu,        Glu,        2, 1) \
    X(EMBED,      embed,      Embed,      2, 1) \
    X(SINUSOID,   sinusoid,   Sinusoid,   1, 1) \
    X(PATCHIFY,   patchify,   Patchify,   1, 1) \
    X(UNPATCHIFY, unpatchify, Unpatchify, 1, 1) \
    X(CONV,       conv,       Conv,       4, 1) \
    X(RECALL,     recall,     Recall,     2, 2) \
    X(UPSAMPLE,   upsample,   Upsample,   1, 1) \
    X(UNSTACK,    unstack,    Unstack,    1, 1) \
    X(STACK,      stack,      Stack,      1, 1) \
    X(SHUFFLE,    shuffle,    Shuffle,    1, 1) \
    X(UNSHUFFLE,  unshuffle,  Unshuffle,  1, 1)

#define LV_OP_ENUM(NAME, name, Type, in, out) LV_OP_##NAME,
enum LvOpKind { LV_OPS(LV_OP_ENUM) LV_OP_NB };
#undef LV_OP_ENUM

#define LV_OP_MAX_TENSORS 8

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

/** Bytes of t; 0 when absent. */
size_t lv_tensor_bytes(const LvTensor *t);

/** Elements of t with the last dimension taken away: rows of it as a matrix. */
size_t lv_tensor_rows(const LvTensor *t);

/** Text of a shape, "[80,192] F32", into buf. Returns buf. */
const char *lv_tensor_text(char *buf, size_t size, const LvTensor *t);

/** Floating point operations of an op (a multiply-add is two), counting products
 *  only: linear, attention, convolution. 0 for the others. */
double lv_op_flops(int op, const LvOpArgs *a);

/** Bytes an op must read and write at least: all its tensors once. */
double lv_op_bytes(int op, const LvOpArgs *a);

/** Features F' that a map makes of P columns. */
int lv_map_features(int map, int p);

/**
 * Check shapes, types and scalars of an op against its struct's comment.
 *
 * @param why set to a static text of what is wrong, NULL when all is right
 * @return 0 or -EINVAL
 */
int lv_op_check(int op, const LvOpArgs *a, const char **why);

#endif /* LINVIDEO_BACKEND_OPS_H */
