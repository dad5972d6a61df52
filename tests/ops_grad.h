/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Which op each backward op is the gradient of.
 * Tests: knows the argument structs alone.
 */

#ifndef LINVIDEO_TESTS_OPS_GRAD_H
#define LINVIDEO_TESTS_OPS_GRAD_H

#include "backend/ops.h"

typedef struct OpsGrad {
    int op;            ///< backward, enum LvOpKind
    int of;            ///< the op it is the gradient of
    const char *place; ///< for each tensor of that op: number (a digit) of the backward
                       ///< op's tensor that has its shape, and its values unless that
                       ///< is dy or an output; '-': absent
    int dy;            ///< the tensor that holds dy
    const char *to;    ///< for each output of the backward op: the input whose gradient
                       ///< it is
} OpsGrad;

/** Backward ops, and REDUCE, which is one as well. */
int ops_grad_count(void);
const OpsGrad *ops_grad_at(int i);

/** Row of an op; NULL when it is no backward op. */
const OpsGrad *ops_grad(int op);

/** The forward op's arguments for those of backward op g: tensors (data too where they
 *  are the same) and scalars. eps is 1e-6. */
void ops_grad_forward(const OpsGrad *g, const LvOpArgs *a, LvOpArgs *f);

#endif /* LINVIDEO_TESTS_OPS_GRAD_H */
