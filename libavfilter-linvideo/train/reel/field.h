/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Smooth random fields that clouds, fire and water are made of.
 * Floor train/reel: knows numbers.
 */

#ifndef LINVIDEO_TRAIN_REEL_FIELD_H
#define LINVIDEO_TRAIN_REEL_FIELD_H

#include <stdint.h>

/** Gradient noise (Perlin 2002) at a point; z is mostly time. About -1..1, mean 0,
 *  deviation 0.25; the lattice has one cell a unit. The same for the same key. */
float lv_noise(float x, float y, float z, uint32_t key);

/** Sum of octaves of lv_noise(), each twice as fine and half as strong; about -1..1. */
float lv_fbm(float x, float y, float z, int octaves, uint32_t key);

/** A number in 0..1 that belongs to a lattice point. */
float lv_lattice(int x, int y, int z, uint32_t key);

/** Distances to the nearest and the second nearest of points that lie one to a cell of
 *  the lattice and wander with z (Worley 1996). */
void lv_cells(float near[2], float x, float y, float z, uint32_t key);

#endif /* LINVIDEO_TRAIN_REEL_FIELD_H */
