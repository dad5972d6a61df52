/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A network as a trace: builders append records of ops to a flat list; planning,
 * running and printing are loops over that list.
 * Floor F3 (graph): knows ops and devices, never what a network means.
 *
 * Builders check shapes. After the first wrong one the graph is failed: further
 * builders do nothing and return absent tensors, and lv_program_new() returns the
 * error, which was put once with the model's source line. So model code checks
 * nothing in between.
 */

#ifndef LINVIDEO_GRAPH_GRAPH_H
#define LINVIDEO_GRAPH_GRAPH_H

#include "backend/device.h"
#include "graph/record.h"

/** A new, empty graph; NULL when out of memory. msg may be NULL. */
LvGraph *lv_graph_new(const LvMsg *msg);

/** Free *g and set it to NULL. NULL is fine. */
void lv_graph_free(LvGraph **g);

/** Records that follow belong to layer n (from 1; 0: none). */
void lv_graph_layer(LvGraph *g, int n);

/** The rows of what follows are those of n samples (1 at first); see ops.h. */
void lv_graph_batch(LvGraph *g, int n);

/** Numbers that matmuls of what follows are of. Not in training. */
void lv_graph_matmul(LvGraph *g, enum LvMatmul of);

/** Trace what follows for training: ops keep the statistics that their gradients
 *  need, and activations of matmuls and convolutions become ops of their own, whose
 *  input is kept. checkpoints: whether lv_graph_checkpoint() does anything. */
void lv_graph_train(LvGraph *g, int checkpoints);

/** Note the caller's place for the next record. Returns g. */
LvGraph *lv_graph_at(LvGraph *g, const char *file, int line);

/** Records so far. */
int lv_graph_count(const LvGraph *g);
const LvRecord *lv_graph_record(const LvGraph *g, int i);

/** 0, or the code of the first failure. */
int lv_graph_error(const LvGraph *g);

/**
 * A tensor that the caller owns and gives with lv_program_bind(): an input, or
 * state that ops read and write in place.
 *
 * @param name for messages and the dump; static
 */
LvTensor lv_external(LvGraph *g, const char *name, LvDtype dtype, int rank,
                     const int *dim);

/** Make t, which an op produced, be written to memory of the caller. */
void lv_output(LvGraph *g, LvTensor t, const char *name);

/** Like lv_output(), for tensors inside a network (tests, parity). */
#define lv_watch lv_output

/** The same tensor seen with another shape of as many elements. Free of cost. */
static inline LvTensor lv_reshape(LvTensor t, int rank, const int *dim)
{
    t.rank = (uint8_t)rank;
    for (int i = 0; i < LV_MAX_RANK; i++)
        t.dim[i] = i < rank ? dim[i] : 1;
    return t;
}

/*
 * Builders, named as the ops of ops.h; arguments are the inputs and scalars, the
 * result is the output. dtype is that of the output; LV_NONE: that of the first
 * input. Statistics are absent unless lv_graph_train() was called.
 */
#define LV_HERE(g) lv_graph_at(g, __FILE__, __LINE__)
#define lv_linear(g, ...)     lv_linear_(LV_HERE(g), __VA_ARGS__)
#define lv_norm(g, ...)       lv_norm_(LV_HERE(g), __VA_ARGS__)
#define lv_gate(g, ...)       lv_gate_(LV_HERE(g), __VA_ARGS__)
#define lv_gate_to(g, ...)    lv_gate_to_(LV_HERE(g), __VA_ARGS__)
#define lv_qknorm(g, ...)     lv_qknorm_(LV_HERE(g), __VA_ARGS__)
#define lv_attn(g, ...)       lv_attn_(LV_HERE(g), __VA_ARGS__)
#define lv_linattn(g, ...)    lv_linattn_(LV_HERE(g), __VA_ARGS__)
#define lv_linattn_run(g, ...) lv_linattn_run_(LV_HERE(g), __VA_ARGS__)
#define lv_mix(g, ...)        lv_mix_(LV_HERE(g), __VA_ARGS__)
#define lv_nag(g, ...)        lv_nag_(LV_HERE(g), __VA_ARGS__)
#define lv_add(g, ...)        lv_add_(LV_HERE(g), __VA_ARGS__)
#define lv_act(g, ...)        lv_act_(LV_HERE(g), __VA_ARGS__)
#define lv_glu(g, ...)        lv_glu_(LV_HERE(g), __VA_ARGS__)
#define lv_embed(g, ...)      lv_embed_(LV_HERE(g), __VA_ARGS__)
#define lv_sinusoid(g, ...)   lv_sinusoid_(LV_HERE(g), __VA_ARGS__)
#define lv_patchify(g, ...)   lv_patchify_(LV_HERE(g), __VA_ARGS__)
#define lv_unpatchify(g, ...) lv_unpatchify_(LV_HERE(g), __VA_ARGS__)
#define lv_conv(g, ...)       lv_conv_(LV_HERE(g), __VA_ARGS__)
#define lv_conv3(g, ...)      lv_conv3_(LV_HERE(g), __VA_ARGS__)
#define lv_recall(g, ...)     lv_recall_(LV_HERE(g), __VA_ARGS__)
#define lv_upsample(g, ...)   lv_upsample_(LV_HERE(g), __VA_ARGS__)
#define lv_unstack(g, ...)    lv_unstack_(LV_HERE(g), __VA_ARGS__)
#define lv_stack(g, ...)      lv_stack_(LV_HERE(g), __VA_ARGS__)
#define lv_shuffle(g, ...)    lv_shuffle_(LV_HERE(g), __VA_ARGS__)
#define lv_unshuffle(g, ...)  lv_unshuffle_(LV_HERE(g), __VA_ARGS__)
#define lv_avg_down(g, ...)   lv_avg_down_(LV_HERE(g), __VA_ARGS__)
#define lv_dup_up(g, ...)     lv_dup_up_(LV_HERE(g), __VA_ARGS__)
#define lv_expand(g, ...)     lv_expand_(LV_HERE(g), __VA_ARGS__)
#define lv_reduce(g, ...)     lv_reduce_(LV_HERE(g), __VA_ARGS__)
#define lv_fill(g, ...)       lv_fill_(LV_HERE(g), __VA_ARGS__)
#define lv_loss(g, ...)       lv_loss_(LV_HERE(g), __VA_ARGS__)
#define lv_loss_by(g, ...)    lv_loss_by_(LV_HERE(g), __VA_ARGS__)
#define lv_sqsum(g, ...)      lv_sqsum_(LV_HERE(g), __VA_ARGS__)
#define lv_adamw(g, ...)      lv_adamw_(LV_HERE(g), __VA_ARGS__)

LvTensor lv_linear_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, int act,
                    LvDtype dtype);
LvTensor lv_norm_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor mod,
                  int kind, int shift, int scale, float eps, LvDtype dtype);
LvTensor lv_gate_(LvGraph *g, LvTensor r, LvTensor x, LvTensor mod, int row);
LvTensor lv_qknorm_(LvGraph *g, LvTensor x, LvTensor w, LvTensor rope, int heads,
                    float eps, LvDtype dtype);
LvTensor lv_attn_(LvGraph *g, LvTensor q, LvTensor k, LvTensor v,
                  LvTensor key_bias, LvTensor rel_bias, int heads,
                  int max_distance, float scale);
LvTensor lv_linattn_(LvGraph *g, LvTensor q, LvTensor k, LvTensor v, LvTensor wq,
                     LvTensor wk, int heads, int map, float eps);
/** All of *a but its outputs and batch; state: S', which may be made an output. */
LvTensor lv_linattn_run_(LvGraph *g, const LvLinattnRunArgs *a, LvTensor *state);
LvTensor lv_mix_(LvGraph *g, LvTensor a, LvTensor b, LvTensor r);
/** Of type p's; scales as of LvNagArgs. */
LvTensor lv_nag_(LvGraph *g, LvTensor p, LvTensor n, float scale, float tau, float alpha);
LvTensor lv_add_(LvGraph *g, LvTensor a, LvTensor b);
LvTensor lv_act_(LvGraph *g, LvTensor x, int act, LvDtype dtype);
LvTensor lv_glu_(LvGraph *g, LvTensor x, LvTensor gate);
LvTensor lv_embed_(LvGraph *g, LvTensor ids, LvTensor table, LvDtype dtype);
/** n: width of the result, cosines and sines together; even. */
LvTensor lv_sinusoid_(LvGraph *g, LvTensor t, int n);
/** Channels slowest within a token. */
LvTensor lv_patchify_(LvGraph *g, LvTensor x, const int patch[3], LvDtype dtype);
/** Channels fastest within a token; like: latents whose shape the result has. */
LvTensor lv_unpatchify_(LvGraph *g, LvTensor x, const int patch[3], LvTensor like);
LvTensor lv_conv_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor r,
                  int stride, int pad, int act, LvDtype dtype);
/** state: external, [P,Y,X,C]; read as prev, then written as next. */
LvTensor lv_conv3_(LvGraph *g, LvTensor x, LvTensor w, LvTensor b, LvTensor r,
                   LvTensor state, int step, int pad, int act, LvDtype dtype);
/** state: external, [1,Y,X,C]; read as prev, then written as next. In training it is
 *  only read. */
LvTensor lv_recall_(LvGraph *g, LvTensor x, LvTensor state);
LvTensor lv_upsample_(LvGraph *g, LvTensor x);
LvTensor lv_unstack_(LvGraph *g, LvTensor x, int n);
LvTensor lv_stack_(LvGraph *g, LvTensor x, int n);
LvTensor lv_shuffle_(LvGraph *g, LvTensor x, int n, int transposed, LvDtype dtype);
LvTensor lv_unshuffle_(LvGraph *g, LvTensor x, int n, int transposed, LvDtype dtype);
/** ft frames, fs rows and fs columns of x become one, of r's channels; r has the shape and
 *  type of the result. */
LvTensor lv_avg_down_(LvGraph *g, LvTensor x, LvTensor r, int ft, int fs);
/** The other way; r tells how many frames there are. */
LvTensor lv_dup_up_(LvGraph *g, LvTensor x, LvTensor r, int ft, int fs);
/** Each row of x [M,C] n times. */
LvTensor lv_expand_(LvGraph *g, LvTensor x, int n);
/** Sum of n rows each of x [M,C]. */
LvTensor lv_reduce_(LvGraph *g, LvTensor x, int n);
/** y, which is external or a weight, is written. */
void lv_fill_(LvGraph *g, LvTensor y, float value);
/** Loss of each sample, [B]; dx: set to the gradient, of type dtype; NULL: not wanted.
 *  weight: [B]. */
LvTensor lv_loss_(LvGraph *g, LvTensor x, LvTensor target, LvTensor weight, int kind,
                  LvDtype dtype, LvTensor *dx);
/** The same with weights divided by sizes [B] f32, which may be absent. */
LvTensor lv_loss_by_(LvGraph *g, LvTensor x, LvTensor target, LvTensor weight,
                     LvTensor size, int kind, LvDtype dtype, LvTensor *dx);
/** r + mod[row] x written to y, which is external and may be r or x. */
void lv_gate_to_(LvGraph *g, LvTensor r, LvTensor x, LvTensor mod, int row, LvTensor y);
/** y, [1] f32, is written, or added to. */
void lv_sqsum_(LvGraph *g, LvTensor x, LvTensor y, int add);
/** Optional: norm, ema. All others are external or weights, [n] f32. */
void lv_adamw_(LvGraph *g, LvTensor grad, LvTensor hyper, LvTensor norm, LvTensor p,
               LvTensor m, LvTensor v, LvTensor ema);

/** What follows can be computed again: of the records between this mark and the next
 *  one, only what others read is kept, the rest is made once more when the gradient
 *  needs it. Behind the last mark all is kept. */
void lv_graph_checkpoint(LvGraph *g);

/* For grad.c */

/** A new tensor of the graph; absent after an error. */
LvTensor lv_graph_tensor(LvGraph *g, LvDtype dtype, int rank, const int *dim);

/** Append a record whose tensors are described. Checks it; does nothing in a failed
 *  graph, so that absent inputs are not reported as errors of their own. */
void lv_graph_append(LvGraph *g, const LvRecord *r);

#endif /* LINVIDEO_GRAPH_GRAPH_H */
