/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * How good clips are that a model makes of held-out scenes, beside what the same
 * measurement says of the scenes as rendered, and of those passed through the model's
 * autoencoder.
 * Floor train/measure: does not know how clips are made.
 */

#ifndef LINVIDEO_TRAIN_MEASURE_EVALUATE_H
#define LINVIDEO_TRAIN_MEASURE_EVALUATE_H

#include <stdint.h>

#include "backend/device.h"
#include "model/config.h"
#include "train/measure/measure.h"

/** How often what was measured is right. */
typedef struct LvScore {
    int clips[2];    ///< that show an object; material
    int right[2][4]; ///< of them, by bit of lv_measure_matches()
    int all[2];      ///< of them, right in everything
} LvScore;

/** Count a clip of a scene. Returns the bits of lv_measure_matches(). */
int lv_score_add(LvScore *score, const LvMeasured *found, const LvScene *s);

/** Say what was found: "red star growing on plain blue", "grey waves on plain black". */
void lv_measured_text(char *buf, size_t size, const LvMeasured *found);

/** What is measured. */
typedef enum LvEvalSource {
    LV_EVAL_MADE,  ///< by the model
    LV_EVAL_DATA,  ///< the scenes as rendered
    LV_EVAL_CODEC, ///< those through encoder and decoder
    LV_EVAL_SOURCES
} LvEvalSource;

typedef struct LvEvalResult {
    LvScore score;
    double frechet; ///< distance to as many rendered clips of other held-out scenes
    double flicker; ///< mean of LvFlicker.index
    double psnr;    ///< dB, mean error of all clips; of LV_EVAL_CODEC, else INFINITY
} LvEvalResult;

typedef struct LvEvaluation LvEvaluation;

/**
 * Prepare to evaluate a model over scenes 0 to clips - 1 of the held-out stream `seed`.
 *
 * @param model path of a bundle with both halves of the autoencoder
 * @param clips at least 2
 * @param dtype of the autoencoder's activations; LV_NONE: what is fast on dev
 * @param dev   outlives the evaluation, as msg
 * @param[out] e freed with lv_evaluation_free(); NULL on error. For one thread
 * @return 0; -ENOMEM; as lv_safetensors_open(), lv_config_read(), lv_tae_bind();
 *         LV_ERR_UNSUPPORTED: clips of the model's own size are no whole latents, or
 *         too small to measure
 */
int lv_evaluation_new(LvEvaluation **e, const char *model, uint64_t seed, int clips,
                      LvDtype dtype, LvDevice *dev, const LvMsg *msg);

/** Free *e and set it to NULL. NULL is fine. */
void lv_evaluation_free(LvEvaluation **e);

/** Size, number and rate of the frames that are wanted. */
const LvVideoConfig *lv_evaluation_video(const LvEvaluation *e);

/**
 * Take in what the model made of the next scene, and measure it with its floors.
 *
 * @param rgb [frames,height,width,3] in 0..1
 * @param[out] scene the scene
 * @param[out] found what the clip shows
 * @return bits of lv_measure_matches(), or an error of the device
 */
int lv_evaluation_clip(LvEvaluation *e, const float *rgb, LvScene *scene,
                       LvMeasured *found);

/** Results, when all clips were taken in. Some seconds. 0 or -ENOMEM. */
int lv_evaluation_finish(LvEvaluation *e, LvEvalResult result[LV_EVAL_SOURCES]);

#endif /* LINVIDEO_TRAIN_MEASURE_EVALUATE_H */
