/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Every op of backend/ops.h once more, as loops over its definition, in f64.
 * Tests: knows the argument structs, shares no code with the library.
 */

#ifndef LINVIDEO_TESTS_OPS_REF_H
#define LINVIDEO_TESTS_OPS_REF_H

#include "backend/ops.h"

#define OPS_MAX_OUT 3

/** Elements of t, from its dimensions; 0 when absent. */
size_t ops_numel(const LvTensor *t);

/** Bytes of an element of a type that tensors of ops have. */
size_t ops_elem(int dtype);

/** Element i of t (host memory) as it is stored, widened to f64. */
double ops_get(const LvTensor *t, size_t i);

/** All elements of t, to be freed with free(); NULL when t is absent. */
double *ops_f64(const LvTensor *t);

/** Half the distance of neighbouring numbers of the type around x: the error that
 *  one rounding to it may have. */
double ops_half_ulp(double x, int dtype);

/** Bucket of a distance for T5's bidirectional relative bias. */
int ops_bucket(int d, int buckets, int max_distance);

/** Features that a map makes of p columns. */
int ops_features(int map, int p);

/**
 * Compute op from the inputs of a, which lie in host memory.
 *
 * @param[out] out one array for each output tensor, NULL where it is absent; free()
 *                 them
 */
void ops_ref(int op, const LvOpArgs *a, double *out[OPS_MAX_OUT]);

#endif /* LINVIDEO_TESTS_OPS_REF_H */
