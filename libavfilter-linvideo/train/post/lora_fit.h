/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A change of a matrix as factors of low rank, for those who write LoRAs.
 * Floor train/post: numbers only. Source: randomized QB in blocks, with one step of power
 * iteration (arXiv 1503.07157).
 */

#ifndef LINVIDEO_TRAIN_POST_LORA_FIT_H
#define LINVIDEO_TRAIN_POST_LORA_FIT_H

#include <stddef.h>

/** D [rows,cols] is near up [rows,rank] down [rank,cols]. */
typedef struct LvLoraFit {
    float *up, *down; ///< columns of up and rows of down are of like size
    int rank;         ///< 0: D itself is within the bound
    double error;     ///< root of the sum of squares of what is left of D
} LvLoraFit;

/**
 * Find factors of a matrix, of a rank that is as low as the bound allows, nearly.
 *
 * @param d     [rows,cols]; used up
 * @param most  highest rank, at least 1
 * @param bound of the error; where rank `most` does not meet it, the error is above it
 * @param[out] fit freed with lv_lora_fit_free(), after an error too
 * @return 0 or -ENOMEM; says nothing
 */
int lv_lora_fit(LvLoraFit *fit, float *d, size_t rows, size_t cols, int most, double bound);

/** Free the factors. A zeroed one is fine. */
void lv_lora_fit_free(LvLoraFit *fit);

/** Root of the sum of squares. */
double lv_lora_norm(const float *x, size_t n);

#endif /* LINVIDEO_TRAIN_POST_LORA_FIT_H */
