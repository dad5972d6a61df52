/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), the
 * same bits on every device and for any order of evaluation.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_PHILOX_H
#define LINVIDEO_BASE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/** One block: ten rounds over counter ctr with key; four 32-bit words out. */
void lv_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);

/**
 * Fill dst with n standard normal values.
 *
 * Element i of block b = i / 4 comes from counter {b low, b high, stream low,
 * stream high} and key {seed low, seed high}; words (0,1) and (2,3) of a block
 * make one Box-Muller pair each: u = (word + 0.5) / 2^32,
 * r = sqrt(-2 ln u0), values r cos(2 pi u1), r sin(2 pi u1), computed in f64 by
 * own polynomials, so that bits do not depend on the C library, rounded to f32.
 *
 * @param seed   any value
 * @param stream which of the independent sequences of this seed (clip number
 *               and purpose, see pipeline/)
 */
void lv_philox_normal(float *dst, size_t n, uint64_t seed, uint64_t stream);

#endif /* LINVIDEO_BASE_PHILOX_H */
