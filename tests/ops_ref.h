/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Every op of backend/ops.h once more, as loops over its definition, in f64.
 * Tests: knows the argument structs, shares no code with the library.
 */

#ifndef LINVIDEO_TESTS_OPS_REF_H
#define LINVIDEO_TESTS_OPS_REF_H

#include "backend/ops.h"

#define OPS_MAX_OUT 5

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

/** Outputs that op adds to, a bit for each: their contents are inputs too. */
int ops_added(int op, const LvOpArgs *a);

/**
 * Compute op from the inputs of a, which lie in host memory, as outputs do that are
 * added to.
 *
 * @param[out] out one array for each output tensor, NULL where it is absent; free()
 *                 them
 */
void ops_ref(int op, const LvOpArgs *a, double *out[OPS_MAX_OUT]);

/**
 * Compute op in f64 throughout: data of a are not used.
 *
 * @param in  values of each input, NULL where it is absent
 * @param out values of each output, NULL where it is absent: zeros, or what they are
 *            added to
 */
void ops_ref_f64(int op, const LvOpArgs *a, double **in, double **out);

#endif /* LINVIDEO_TESTS_OPS_REF_H */
