/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What linear attention and its gradient share: sizes, packed maps, and how a tile of
 * tokens becomes features.
 * Floor F2 (backend).
 *
 * Heads of all samples are numbered: head h of sample b is number b H + h. Work is cut
 * into tiles of LV_LINATTN_TILE tokens; sums over tokens into chunks of whole tiles, at
 * most 16 for each number, as many as the number of tokens says.
 */

#ifndef LINVIDEO_BACKEND_CPU_LINATTN_H
#define LINVIDEO_BACKEND_CPU_LINATTN_H

#include "backend/cpu/cpu.h"

enum { LV_LINATTN_TILE = 128 };

typedef struct LvFeatures {
    LvCpu *cpu;
    LvDtype type;       ///< of matmuls
    enum LvMapKind map;
    int heads;          ///< H
    int numbers;        ///< B H
    int l, c, d, p, f;  ///< tokens of a sample, C, D, P, F'
    int tiles;          ///< of a sample
    int chunk, chunks;  ///< tiles of a chunk; chunks of a sample
    size_t map_head;    ///< bytes of a head's packed map
    size_t x, y, phi, half; ///< offsets in a thread's slab: rows of the tensor, y, phi
                            ///< as f32 and (bf16 matmuls) as bf16
    const LvGemm *gemm[2];  ///< [last tile]: y = x w; of lv_features_build()
} LvFeatures;

/** Sizes from tensors q and wq; *at: see lv_cpu_place(), of the thread's slab. */
LvFeatures lv_features_plan(LvCpu *cpu, const LvTensor *q, const LvTensor *wq, int map,
                            int heads, int batch, size_t *at);

/** Bytes of the slab that packing maps takes. */
size_t lv_maps_slab(const LvFeatures *f);

/** The matmul of the maps. @return 0 or a negative code */
int lv_features_build(LvFeatures *f);

/**
 * Packed maps w[H,D,P] of all heads, f->map_head bytes each: kept ones when w is fixed
 * and dst is NULL, else written to dst.
 *
 * @param transposed 1: each map as its transpose [P,D], for dx = dy w^T; a head's bytes are
 *               lv_transposed_head()
 * @return NULL after an error
 */
const void *lv_maps_pack(const LvFeatures *f, const LvTensor *w, int transposed, void *dst);

/** Bytes of a head's packed transposed map. */
size_t lv_transposed_head(const LvFeatures *f);

/** Rows of a tile; its first row and first column in tensors [B L,C]. */
int lv_tile_rows(const LvFeatures *f, int tile);
size_t lv_tile_row(const LvFeatures *f, int number, int tile);
int lv_head_column(const LvFeatures *f, int number);

/** Pack [k,n] at src, dense or with rows ld apart, for matmuls: all of its columns. */
void lv_pack_matrix(const LvCpu *cpu, int type, void *dst, const void *src, int k,
                    int n, int ld);

/**
 * Features of a tile of tensor x under the packed maps w, at f->phi of the slab in f32.
 *
 * @param[out] out what matmuls read
 */
int lv_features(const LvFeatures *f, const LvTensor *x, const char *w, int number,
                int tile, int thread, char *slab, void **out);

#endif /* LINVIDEO_BACKEND_CPU_LINATTN_H */
