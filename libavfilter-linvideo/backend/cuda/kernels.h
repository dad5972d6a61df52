/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The list of kernels, by file.
 * Floor F2 (backend): names only; tests read it too.
 */

#ifndef LINVIDEO_BACKEND_CUDA_KERNELS_H
#define LINVIDEO_BACKEND_CUDA_KERNELS_H

/** X(kernel): every kernel of kernels/X.cu below the name of its file. */
#define LV_KERNELS_CAST(X)    X(cast) X(epilogue) X(order) X(columns)
#define LV_KERNELS_ELEMENTS(X)                                                      \
    X(add) X(act) X(glu) X(mix) X(fill) X(expand) X(act_dx) X(glu_dx) X(mix_dx)
#define LV_KERNELS_OPTIM(X)                                                         \
    X(mix_dr) X(loss) X(loss_sum) X(sqsum) X(sum_f64) X(adamw)
#define LV_KERNELS_ROWS(X)                                                          \
    X(norm) X(norm_512) X(norm_2048) X(norm_5120) X(gate) X(gate_norm)              \
    X(gate_norm_512) X(gate_norm_2048) X(gate_norm_5120) X(qknorm) X(qknorm_512)    \
    X(qknorm_2048) X(qknorm_5120) X(norm_act_128) X(norm_act_256)        \
    X(norm_act_512) X(norm_dx) X(gate_dx) X(qknorm_dx)                \
    X(norm_cols) X(gate_cols) X(qknorm_cols) X(reduce_cols)                         \
    X(norm_fold) X(norm_params) X(cols_sum) X(reduce_few) X(nag)
#define LV_KERNELS_LAYOUT(X)                                                        \
    X(patchify) X(unpatchify) X(recall) X(upsample) X(unstack) X(stack) X(shuffle)  \
    X(unshuffle) X(recall_dx) X(upsample_dx) X(embed) X(embed_dx) X(sinusoid)       \
    X(copy) X(avg_down) X(dup_up)
#define LV_KERNELS_ATTENTION(X)                                                     \
    X(attn_bf16_d64) X(attn_bf16_d128) X(attn_dq_bf16_d64) X(attn_dq_bf16_d128)     \
    X(attn_dkv_bf16_d64) X(attn_dkv_bf16_d128) X(attn_delta)
#define LV_KERNELS_ATTENTION_ANY(X)                                                 \
    X(attn_any) X(attn_dq_any) X(attn_dkv_any) X(attn_buckets) X(attn_diagonals)    \
    X(attn_drel)
#define LV_KERNELS_ATTENTION_WIDE(X) X(attn_weights) X(attn_weights_dx) X(attn_rows)
#define LV_KERNELS_ATTENTION_SM90(X) X(attn_sm90_d64) X(attn_sm90_d128)
#define LV_KERNELS_ATTENTION_F8(X)                                                  \
    X(attn_f8_most) X(attn_f8_rows) X(attn_f8_turn) X(attn_f8_d128)
#define LV_KERNELS_ATTENTION_DX_SM90(X)                                             \
    X(attn_sm90_stats) X(attn_dkv_sm90_d64) X(attn_dkv_sm90_d128)                   \
    X(attn_dq_sm90_d64) X(attn_dq_sm90_d128)
#define LV_KERNELS_LINATTN(X)                                                       \
    X(linattn_map) X(linattn_map_dx) X(linattn_divide) X(linattn_grad)              \
    X(linattn_sum) X(batched_f32) X(batched_bf16)
#define LV_KERNELS_HEDGEHOG(X)                                                      \
    X(hedgehog_state_d64_p64) X(hedgehog_state_d64_p128) X(hedgehog_state_d128_p64) \
    X(hedgehog_state_d128_p128) X(hedgehog_apply_d64_p64) X(hedgehog_apply_d64_p128) \
    X(hedgehog_apply_d128_p64) X(hedgehog_apply_d128_p128)
#define LV_KERNELS_HEDGEHOG_SM90(X)                                                 \
    X(hedgehog_sm90_state_d64) X(hedgehog_sm90_state_d128)                          \
    X(hedgehog_sm90_apply_d64) X(hedgehog_sm90_apply_d128)
#define LV_KERNELS_HEDGEHOG_DX(X)                                                   \
    X(hedgehog_queries_d64_p64) X(hedgehog_queries_d64_p128)                        \
    X(hedgehog_queries_d128_p64) X(hedgehog_keys_d64_p64) X(hedgehog_keys_d64_p128) \
    X(hedgehog_keys_d128_p64)
#define LV_KERNELS_QUANT(X)   X(quantize_rows) X(quantize_short) X(widen)
#define LV_KERNELS_FRAME(X)   X(blend) X(deliver)
#define LV_KERNELS_PRODUCT(X) X(product_bf16_wide) X(product_bf16_slim)
#define LV_KERNELS_CONV_SM90(X)                                                     \
    X(conv_sm90_n16) X(conv_sm90_n64) X(conv_sm90_n96) X(conv_sm90_n128)            \
    X(conv_sm90_n192) X(conv_sm90_low_n64) X(conv_sm90_low_n96)                     \
    X(conv_sm90_low_n128) X(conv_sm90_low_n192)

/** X(FILE, file): the files. */
#define LV_KERNEL_FILES(X)                                                          \
    X(CAST, cast) X(ELEMENTS, elements) X(OPTIM, optim) X(ROWS, rows)               \
    X(LAYOUT, layout) X(ATTENTION, attention) X(ATTENTION_ANY, attention_any)       \
    X(ATTENTION_WIDE, attention_wide) X(ATTENTION_SM90, attention_sm90)             \
    X(ATTENTION_F8, attention_f8)                                                   \
    X(ATTENTION_DX_SM90, attention_dx_sm90)                                         \
    X(LINATTN, linattn) X(HEDGEHOG, hedgehog)                                       \
    X(FRAME, frame) X(HEDGEHOG_SM90, hedgehog_sm90)                                 \
    X(HEDGEHOG_DX, hedgehog_dx) X(PRODUCT, product) X(CONV_SM90, conv_sm90)        \
    X(QUANT, quant)

#endif /* LINVIDEO_BACKEND_CUDA_KERNELS_H */
