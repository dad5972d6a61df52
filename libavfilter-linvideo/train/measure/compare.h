/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * How near a student's clips are to its teacher's: of each prompt, a clip of the student,
 * one of the teacher from the same noise, and one of the teacher from other noise, which
 * tells how far apart two right answers are.
 * Floor train/measure: does not know how clips are made.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_COMPARE_H
#define LINVIDEO_TRAIN_MEASURE_COMPARE_H

#include "train/measure/frechet.h"
#include "train/measure/measure.h"

/** Numbers of a comparison. Frechet distances are to the clips from other noise, so that
 *  student and teacher are measured alike. */
typedef struct LvCompared {
    double frechet, frechet_teacher, frechet_ratio;
    double frechet_same;     ///< of the student's clips to those from the same noise
    double flicker, flicker_teacher, flicker_ratio; ///< means of LvFlicker.index
    double distance, distance_teacher, distance_ratio; ///< mean squares per value: to the
                             ///< clip from the same noise; between two noises
    double distance_error;   ///< standard error of distance_ratio, by that of distance
    double median, median_teacher, median_ratio; ///< of the same mean squares: what a clip
                             ///< in the middle has, few that went another way or not
} LvCompared;

typedef struct LvComparison LvComparison;

/** For so many clips (2 or more) of one size. 0 or -ENOMEM; freed with
 *  lv_comparison_free(). For one thread. */
int lv_comparison_new(LvComparison **c, int clips, int width, int height, int frames);

/** Free *c and set it to NULL. NULL is fine. */
void lv_comparison_free(LvComparison **c);

/** Take in the clips of a prompt, [frames,height,width,3] in 0..1 each. */
void lv_comparison_add(LvComparison *c, const float *student, const float *teacher,
                       const float *other);

/** The numbers of all clips taken in. Some seconds. 0 or -ENOMEM. */
int lv_comparison_finish(LvComparison *c, LvCompared *out);

#endif /* LINVIDEO_TRAIN_MEASURE_COMPARE_H */
