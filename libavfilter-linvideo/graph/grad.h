/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradients of a traced graph.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_GRAD_H
#define LINVIDEO_GRAPH_GRAD_H

#include "graph/graph.h"

/** A gradient to start from: of some scalar with respect to y. */
typedef struct LvGradSeed {
    LvTensor y;
    LvTensor dy; ///< shape of y, act. A temporary may be written over
} LvGradSeed;

/** A tensor whose gradient is wanted. */
typedef struct LvGradTarget {
    LvTensor value; ///< a weight, or a tensor of the graph that no op made
    LvTensor grad;  ///< same shape, f32, with memory of its own (id as of a weight) or
                    ///< external; the gradient is added to it
} LvGradTarget;

/**
 * Append the backward pass to a graph traced after lv_graph_train(): records that
 * add the gradients of all targets. What leads to no target costs nothing, so weights
 * that are not listed are frozen. Gradients of activations have their tensor's type;
 * those of what a matmul made have the type of the matmul's input.
 *
 * @return 0, the graph's error, -ENOMEM, LV_ERR_UNSUPPORTED (an op on the way has no
 *         gradient)
 */
int lv_grad(LvGraph *g, const LvGradSeed *seed, int nb_seeds, const LvGradTarget *target,
            int nb_targets);

#endif /* LINVIDEO_GRAPH_GRAD_H */
