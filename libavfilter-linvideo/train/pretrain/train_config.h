/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A recipe: what a model is and how it is trained, from one JSON file. The sections of
 * the model (dit, text, vae, video, sampler) are those of a bundle; the whole text goes
 * into the bundle, so that it tells how it was made.
 * Floor train/pretrain: knows numbers.
 */

#ifndef LINVIDEO_TRAIN_PRETRAIN_TRAIN_CONFIG_H
#define LINVIDEO_TRAIN_PRETRAIN_TRAIN_CONFIG_H

#include "model/config.h"
#include "model/tae.h"
#include "train/run/trainer.h"

/** Section "data": what lv_stock_open() takes. */
typedef struct LvDataConfig {
    char clips[16];  ///< "shapes" or "reel"
    char art[512];   ///< path of the font; "": none
} LvDataConfig;

/** Section "autoencoder". */
typedef struct LvAutoencoderConfig {
    LvOptim optim;
    int batch;       ///< clips (or crops of one) a step
    int frames;      ///< of them; 0: whole clips
    int crop_width, crop_height; ///< pixels; 0: whole pictures
    float noise;     ///< deviation of noise added to latents
    float penalty;   ///< weight of the latents' mean square
} LvAutoencoderConfig;

enum { LV_FLOW_SHAPES = 8 };

/** Size of clips that the flow is trained on. */
typedef struct LvFlowShape {
    int width, height, frames;
    int micro;       ///< samples at once
    int clips;       ///< in the set of latents
} LvFlowShape;

/** Section "flow". */
typedef struct LvFlowConfig {
    LvOptim optim;
    int clips;       ///< in the set of latents, of the first shape
    int batch;       ///< samples a step, of the first shape
    int micro;       ///< samples at once, divides batch; of the first shape
    LvFlowShape shape[LV_FLOW_SHAPES]; ///< key "shapes", by turns step by step; a step is
                     ///< batch / micro times its shape's micro. Without the key: the video's
    int shapes;
    float dropout;   ///< share of samples with the empty prompt
    float t_mean, t_std; ///< of the normal whose logistic is t
    float shift;     ///< t' = shift t / (1 + (shift - 1) t)
} LvFlowConfig;

typedef struct LvTrainConfig {
    LvModelConfig model;
    LvTaeDesign design;
    LvDataConfig data;
    LvAutoencoderConfig autoencoder;
    LvFlowConfig flow;
    int seed;        ///< of everything
    char *text;      ///< the JSON
} LvTrainConfig;

/**
 * Read a recipe.
 *
 * @param c freed with lv_train_config_free(), after an error too
 * @return 0, -errno of the file, LV_ERR_MODEL (which key, what it holds, what is
 *         allowed), -ENOMEM
 */
int lv_train_config_read(LvTrainConfig *c, const char *path, const LvMsg *msg);

/** Free what reading made. */
void lv_train_config_free(LvTrainConfig *c);

/** Frames of a clip, and pixels a side, that one latent stands for. */
int lv_train_latent_frames(const LvTrainConfig *c);
int lv_train_latent_scale(const LvTrainConfig *c);

/** The size of the recipe's clips, as a shape of its flow. */
LvFlowShape lv_train_video_shape(const LvTrainConfig *c);

/** Latents of the recipe's clips: F, Y, X. */
void lv_train_latent_size(const LvTrainConfig *c, int size[3]);

/** The same of clips of another size. */
void lv_train_shape_size(const LvTrainConfig *c, const LvFlowShape *shape, int size[3]);

/** The recipe's text for a bundle: with the latents' mean and deviation, the words of its
 *  captions and, where the recipe has flow.shapes, the range of sizes that they span; the
 *  video's size is then one of them. malloc'ed; NULL when
 *  out of memory. */
char *lv_train_config_text(const LvTrainConfig *c, const float *mean, const float *std);

#endif /* LINVIDEO_TRAIN_PRETRAIN_TRAIN_CONFIG_H */
