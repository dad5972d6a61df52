/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the two files of reference ops share.
 * Tests: used by ops_ref.c and ops_ref_grad.c alone.
 */

#ifndef LINVIDEO_TESTS_OPS_REF_GRAD_H
#define LINVIDEO_TESTS_OPS_REF_GRAD_H

#include "backend/ops.h"

/** n zeros; free() them. */
double *ref_zeros(size_t n);

/** Row `row` of mod (values of t) for row i of `rows`; NULL when mod is. */
double *ref_mod(const LvTensor *t, double *mod, size_t i, size_t rows,
                      int batch, int row);

/** Sample b, head h: score of query i for key j, biases added. in: values of q, k, v,
 *  key_bias, rel_bias. */
double ref_score(const LvAttnArgs *a, double **in, size_t b, size_t h, size_t i,
                 size_t j);

/** Features f of one token of one head: x [D], w [D,P]; y: x w, [P]. */
void ref_features(double *f, double *y, int map, const double *x, const double *w,
                  size_t d, size_t p);

/** Ops of ops_ref_grad.c. out holds zeros, or what is added to. */
#define REF_DECLARE(name, Type)                                                   \
    void ref_##name(const Lv##Type##Args *a, double **in, double **out);
REF_DECLARE(reduce, Reduce)
REF_DECLARE(loss, Loss)
REF_DECLARE(sqsum, Sqsum)
REF_DECLARE(adamw, Adamw)
REF_DECLARE(linear_dx, LinearDx)
REF_DECLARE(linear_dw, LinearDw)
REF_DECLARE(norm_dx, NormDx)
REF_DECLARE(gate_dx, GateDx)
REF_DECLARE(qknorm_dx, QknormDx)
REF_DECLARE(attn_dx, AttnDx)
REF_DECLARE(linattn_dx, LinattnDx)
REF_DECLARE(mix_dx, MixDx)
REF_DECLARE(act_dx, ActDx)
REF_DECLARE(glu_dx, GluDx)
REF_DECLARE(embed_dx, EmbedDx)
REF_DECLARE(conv_dx, ConvDx)
REF_DECLARE(conv_dw, ConvDw)
REF_DECLARE(recall_dx, RecallDx)
REF_DECLARE(upsample_dx, UpsampleDx)
#undef REF_DECLARE

#endif /* LINVIDEO_TESTS_OPS_REF_GRAD_H */
