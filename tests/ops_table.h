/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The one list of op cases: shapes, types, scalars, kinds of input, tolerances.
 * Tests: every device, and later every gradient, goes through the same list.
 */

#ifndef LINVIDEO_TESTS_OPS_TABLE_H
#define LINVIDEO_TESTS_OPS_TABLE_H

#include "backend/device.h"

/** What a case has besides its shape. */
enum OpsFlags {
    OPS_BIAS  = 1 << 0, ///< b
    OPS_GAIN  = 1 << 1, ///< w of a norm
    OPS_MOD   = 1 << 2, ///< mod
    OPS_ROPE  = 1 << 3, ///< rope
    OPS_RES   = 1 << 4, ///< r of a convolution
    OPS_KEYB  = 1 << 5, ///< key_bias, with masked keys
    OPS_RELB  = 1 << 6, ///< rel_bias
    OPS_STATS = 1 << 7, ///< the optional outputs
    OPS_ON_0  = 1 << 8, ///< the output lies on the first input
    OPS_ON_1  = 1 << 9, ///< the output lies on the second input; of recall and
                         ///< conv3: the second output on the state
    OPS_FIXED = 1 << 10, ///< weights have a handle
    OPS_ON_DY = 1 << 11, ///< the first output lies on dy
    OPS_NORM  = 1 << 12, ///< norm of ADAMW
    OPS_NO_X  = 1 << 13, ///< no x, where it is optional
    OPS_SIZES = 1 << 14, ///< size of LOSS
};

/** Output i is absent; output i is added to (bit i of `add`). */
#define OPS_LESS(i) (1 << (16 + (i)))
#define OPS_ADD(i)  (1 << (24 + (i)))

/** Inputs: normal, zero, constant, large, with subnormals, offset, all but one
 *  key of each sample masked, all keys of the first sample masked. */
#define OPS_KINDS "nzcldomx"

/** One case; what n[] holds for each op stands above its rows. */
typedef struct OpsCase {
    int op;           ///< enum LvOpKind
    int flags;        ///< enum OpsFlags
    int n[9];         ///< sizes and choices
    float s;          ///< eps, or the scale of attention; 0: the usual one
    const char *type; ///< a letter for each type that the op leaves open
    char kind;        ///< one of OPS_KINDS
    double tol;       ///< of the first output, see below
    double stat_tol;  ///< of the others
    uint64_t seed;
} OpsCase;

/*
 * Error of an element: how far the result is from the f64 reference, less half a
 * step of the result's own type there (the one rounding on the way out). The norm of
 * the errors over the norm of the reference, and the largest error over the largest
 * element of the reference, must both be at most tol.
 */

/** Cases in the list. */
int ops_case_count(void);

/** Rows of the list; a row is one shape with several types and kinds of input. */
int ops_row_count(void);

/** First case of a row; for the row after the last one, the number of cases. */
int ops_row_start(int row);

/** Case i, 0 <= i < count. */
OpsCase ops_case(int i);

/** Arguments of a case: shapes, types, ids, scalars; no data. Handles are those of weights that are
 *  not there. */
void ops_case_args(const OpsCase *c, LvOpArgs *a);

/** Fill the inputs of a, whose data are set, with the case's values. */
void ops_case_fill(const OpsCase *c, LvOpArgs *a);

/** The case in words into buf. Returns buf. */
const char *ops_case_text(char *buf, size_t size, const OpsCase *c);

/** Whether the contents of tensor t are an input: outputs that are added to count. */
int ops_given(const OpsCase *c, const LvOpArgs *a, int t);

/** Role of tensor t of an op: 'A' and 'a' activations (A is scaled in kind 'l'),
 *  'w' weights of products, 'g' gains, 'b' biases, 'm' modulation, 'r' rotations,
 *  'k' key bias, 'e' relative bias, 's' share, 'i' ids, 't' time, 'h' scalars of
 *  ADAMW, 'q' its norm, 'd' results of the forward op, '-' output, '+' output that is
 *  not negative. */
char ops_role(int op, int t);

/** Letter number of the type of tensor t in a case's type, or -1: settled (f32, or
 *  i32 for ids). */
int ops_type_index(int op, int t);

/** Whether tensor t of an op may be absent. */
int ops_optional(int op, int t);

/** Those whose fields newest and scores are LV_TEST_NEWEST and LV_TEST_SCORES of the
 *  environment, where they are there. */
LvDeviceOptions ops_device_options(void);

#endif /* LINVIDEO_TESTS_OPS_TABLE_H */
