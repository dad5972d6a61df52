/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Connected parts of a picture, and the largest of them described: place, area, aspect,
 * outline.
 * Floor train/measure.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_BLOB_H
#define LINVIDEO_TRAIN_MEASURE_BLOB_H

#include <stddef.h>
#include <stdint.h>

enum { LV_PART_PIXELS = 5, LV_RINGS = 10, LV_HARMONICS = 7 };

/** The parts of one picture. */
typedef struct LvParts {
    int count;        ///< of at least LV_PART_PIXELS
    int total;        ///< pixels of those
    int largest;      ///< pixels of the largest
    int x0, y0, x1, y1; ///< the box around the largest
} LvParts;

/**
 * Find the 4-connected parts of the pixels above 0.5.
 *
 * @param alpha [height,width]
 * @param mark  room for as many bytes
 * @param stack room for as many numbers
 */
LvParts lv_parts_find(const float *alpha, int width, int height, uint8_t *mark,
                      int *stack);

/** What lies in a box. */
typedef struct LvBlob {
    float area;       ///< pixels; 0: nothing there
    float x, y;       ///< centroid, pixels
    float aspect;     ///< of the shorter to the longer axis of inertia, 0..1
    /** Harmonic h on ring k: complex, per unit of area; ring k has (k + 0.5) / 5 of the
     *  radius of a disc of the same area. */
    float ring[LV_RINGS][LV_HARMONICS][2];
} LvBlob;

/** Describe what alpha shows in the box of parts and some pixels around it; values
 *  below a quarter count as nothing, above three quarters as one. */
void lv_blob_describe(LvBlob *b, const float *alpha, int width, int height,
                      const LvParts *parts);

/** Rotation in radians, within 0.6 of 0, that takes outline a nearest to b; 0 for
 *  outlines that are almost round. */
float lv_blob_rotation(const LvBlob *a, const LvBlob *b);

#endif /* LINVIDEO_TRAIN_MEASURE_BLOB_H */
