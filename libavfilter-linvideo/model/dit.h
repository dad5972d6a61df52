/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The diffusion transformer: the networks of Wan2.1 and Wan2.2 for text and image to
 * video, in which the self-attention of each layer is softmax, linear (LinVideo, arXiv
 * 2510.08318) or a mixture of both. The file to read first.
 * Floor F4 (model).
 *
 * The text side runs once a prompt and leaves keys and values for every layer; so does the
 * image side, once a picture, where there are CLIP's features. The network runs once a step
 * and branch of guidance.
 */

#ifndef LINVIDEO_MODEL_DIT_H
#define LINVIDEO_MODEL_DIT_H

#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"

/** Weight and bias of a matmul. */
typedef struct LvAffine {
    LvTensor w, b;
} LvAffine;

/** Attention: matmuls and the norms of q and k. */
typedef struct LvDitAttn {
    LvAffine q, k, v, o;
    LvTensor norm_q, norm_k;
} LvDitAttn;

/** What makes CLIP's features the network's: norm, MLP, norm. */
typedef struct LvDitClip {
    LvTensor pos;        ///< [rows,clip_dim]; of networks of two pictures only
    LvAffine norm_in, mlp0, mlp2, norm_out;
} LvDitClip;

typedef struct LvDitBlock {
    LvTensor mod;        ///< [6,dim]: shift, scale, gate of attention, of ffn
    LvDitAttn self, cross;
    LvTensor map_q, map_k; ///< [heads,head_dim,map_dim]; not in SOFTMAX layers
    LvTensor mix;        ///< [1]: r; in MIXED layers only
    LvAffine k_img, v_img; ///< of cross-attention to CLIP's features
    LvTensor norm_k_img;
    LvAffine norm3;      ///< before cross-attention
    LvAffine ffn0, ffn2;
} LvDitBlock;

/** Normalised attention guidance in cross-attention to the text; see LvNagArgs. */
typedef struct LvNag {
    float scale; ///< 0: none
    float tau, alpha;
} LvNag;

typedef struct LvDit {
    LvDitConfig cfg;
    LvAffine patch, text0, text2, time0, time2, proj, head;
    LvTensor head_mod;   ///< [2,dim]
    LvDitClip clip;      ///< where cfg.clip_dim
    LvDitBlock *block;   ///< [layers]
    enum LvMatmul matmul; ///< of blocks
    int apart;           ///< 1: MIXED layers go on with the softmax branch alone, the
                         ///< linear one is only there to be watched
    int frame_times;     ///< 1: tokens of each latent frame have a time of their own
    LvNag nag;           ///< away from the negative prompt; not in training
    LvCausal causal;     ///< the network makes a block; not in training
    int filling;         ///< 1: some of the window is not there yet
} LvDit;

/** Bind all tensors "<prefix>...". Zero m first. @return as lv_weights_bind() */
int lv_dit_bind(LvDit *m, const LvDitConfig *cfg, LvWeights *w, const char *prefix);

/** Free what bind made (not the weights). */
void lv_dit_free(LvDit *m);

/**
 * See the tensors of a bound network, in the order of binding.
 *
 * @param see gets the name in Wan's own layout, without prefix ("blocks.0.ffn.0.weight"); a
 *            negative result stops with that code
 */
int lv_dit_each(const LvDit *m, int (*see)(void *opaque, const char *name, const LvTensor *t),
                void *opaque);

/** Inputs of the network. All external, but for text. */
typedef struct LvDitInputs {
    LvTensor latent; ///< [channels + cond_channels,F,Y,X] f32, or [B,...]: the latents,
                     ///< behind them the condition; the patch divides F, Y, X
    LvTensor t;      ///< [B] f32, 0 to 1000; with frame_times [B F / patch[0]], in the order
                     ///< of tokens
    LvTensor rope;   ///< [L,head_dim/2,2] f32, filled by lv_dit_rope()
    LvTensor k[LV_MAX_LAYERS], v[LV_MAX_LAYERS]; ///< [text_len,dim] dtype, made by
                     ///< the text side
    LvTensor k_neg[LV_MAX_LAYERS], v_neg[LV_MAX_LAYERS]; ///< the same of the negative
                     ///< prompt; where LvDit.nag
    LvTensor k_img[LV_MAX_LAYERS], v_img[LV_MAX_LAYERS]; ///< [rows,dim] dtype, made by
                     ///< the image side; where cfg.clip_dim
    LvTensor rope_keys; ///< rope of the window, in the order of keys; where causal.block
    LvTensor mask;   ///< [W] f32: -INFINITY for what is not there yet; where filling
    LvTensor share;  ///< [1] f32: see LvLinattnRunArgs; where causal.block
    LvTensor keys[LV_MAX_LAYERS], values[LV_MAX_LAYERS]; ///< [W,dim] dtype: of the tokens of the
                     ///< window, the block's own first; keys before norm and rotation. Not of
                     ///< LINEAR layers
    LvTensor own_keys[LV_MAX_LAYERS], own_values[LV_MAX_LAYERS]; ///< outputs [L,dim], to be bound
                     ///< to the first rows of keys and values
    LvTensor past[LV_MAX_LAYERS], state[LV_MAX_LAYERS]; ///< see LvLinattnRunArgs; state: output.
                     ///< Not of SOFTMAX layers
    LvTensor text;   ///< embedded text, from which every layer makes its k and v; rank 0:
                     ///< k and v are given
    LvTensor image;  ///< the same of embedded features of pictures
} LvDitInputs;

/** Tensors of a block that one may want to see, for lv_watch(). */
typedef struct LvDitWatch {
    LvTensor self_attn;  ///< [L,dim]: after o, before the gate
    LvTensor cross_attn; ///< [L,dim]: after o
    LvTensor out;        ///< [L,dim]
    LvTensor softmax, linear; ///< [L,dim]: branches of a MIXED layer, before o
} LvDitWatch;

/**
 * Trace the text side: k and v of every layer from the encoder's features. They
 * are outputs, to be bound by the caller.
 *
 * @param context external [text_len,text_dim] f32: features, then zero rows, which
 *                are attended to as well
 * @param dtype   of activations between matmuls: f32 or bf16
 * @param in      k and v are set
 */
void lv_dit_trace_text(LvGraph *g, const LvDit *m, LvTensor context, LvDtype dtype,
                       LvDitInputs *in);

/** Rows of CLIP's features that the network attends to; 0: none. */
int lv_dit_clip_rows(const LvDitConfig *cfg);

/**
 * Trace the image side: k_img and v_img of every layer, as lv_dit_trace_text().
 *
 * @param clip external [lv_dit_clip_rows(),clip_dim] f32: features of the pictures, one
 *             after another
 */
void lv_dit_trace_image(LvGraph *g, const LvDit *m, LvTensor clip, LvDtype dtype,
                        LvDitInputs *in);

/** Describe all inputs of the network as externals of g, for latents of F, Y, X. */
void lv_dit_inputs(LvGraph *g, const LvDit *m, const int size[3], LvDtype dtype,
                   LvDitInputs *in);

/**
 * Trace the network.
 *
 * @param watch [layers], or NULL
 * @return velocity, of the latents' shape, f32
 */
LvTensor lv_dit_trace(LvGraph *g, const LvDit *m, LvDitInputs *in, LvDtype dtype,
                      LvDitWatch *watch);

/** Describe latent, t and rope as externals of g, for B samples:
 *  [B,channels + cond_channels,F,Y,X]. */
void lv_dit_batch_inputs(LvGraph *g, const LvDit *m, const int size[3], int batch,
                         LvDitInputs *in);

/**
 * Trace text side and network in one, for training: each block is a segment of its own
 * (lv_graph_checkpoint()).
 *
 * @param context [B text_len,text_dim] f32: features and zero rows of every sample
 * @param clip    [B rows,clip_dim] f32: CLIP's features of the images; rank 0 for none
 * @param in      of lv_dit_batch_inputs(); latent may be any tensor of its shape
 * @param watch   [layers], or NULL
 * @return velocity [B,channels,F,Y,X] f32
 */
LvTensor lv_dit_trace_batch(LvGraph *g, const LvDit *m, LvTensor context, LvTensor clip,
                            LvDitInputs *in, LvDtype dtype, LvDitWatch *watch);

/** Elements of the state of a layer that is not SOFTMAX. */
size_t lv_dit_state(const LvDitConfig *cfg);

/** Tokens of latents of F, Y, X. */
int lv_dit_tokens(const LvDitConfig *cfg, const int size[3]);

/**
 * Fill the table of cosines and sines: of head_dim / 2 pairs, c - 2 (c / 3) turn with
 * the frame, c / 3 with the row, c / 3 with the column (c being all of them);
 * angle = position 10000^(-p / pairs of the axis). In f64, rounded once.
 *
 * @param table [tokens,head_dim/2,2]
 */
void lv_dit_rope(float *table, const LvDitConfig *cfg, const int size[3]);

#endif /* LINVIDEO_MODEL_DIT_H */
