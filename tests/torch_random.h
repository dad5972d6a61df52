/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * torch.manual_seed() and torch.randn() of PyTorch 2 on a CPU with AVX2, bit by bit: random
 * weights that reference numbers were made with need a seed, not a file.
 */

#ifndef LINVIDEO_TESTS_TORCH_RANDOM_H
#define LINVIDEO_TESTS_TORCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct TorchRandom {
    uint32_t state[624]; ///< of the Mersenne Twister MT19937
    int next;
    int has_spare;
    double spare;        ///< the second of a pair of doubles
} TorchRandom;

void torch_seed(TorchRandom *t, uint32_t seed);

/** torch.randn(n) in f32. */
void torch_randn(TorchRandom *t, float *x, size_t n);

#endif /* LINVIDEO_TESTS_TORCH_RANDOM_H */
