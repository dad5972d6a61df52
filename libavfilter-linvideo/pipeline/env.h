/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What all stages share and none changes: messages, device, files, configuration, types,
 * and how to tell of progress and hear of a cancel.
 * Floor F5 (pipeline).
 */

#ifndef LINVIDEO_PIPELINE_ENV_H
#define LINVIDEO_PIPELINE_ENV_H

#include <stdatomic.h>

#include "graph/program.h"
#include "model/files.h"

/** The same values as enum LinvideoStage. */
enum LvStage { LV_STAGE_LOAD, LV_STAGE_TEXT, LV_STAGE_DENOISE, LV_STAGE_DECODE,
               LV_STAGE_NB };

/** Where a stage is. Steps count from 0; layers from 1, and 0 where there are none. */
typedef struct LvAt {
    enum LvStage stage;
    int step, steps, layer, layers;
} LvAt;

/** Lives longer than the stages that were made with it. */
typedef struct LvEnv {
    const LvMsg *msg;
    LvDevice *dev;
    const LvFiles *files;
    const LvModelConfig *cfg;    ///< .video as chosen
    LvDtype dtype;               ///< of activations between matmuls: F32 or BF16
    enum LvMatmul matmul;        ///< of the network's blocks
    void (*tell)(void *opaque, const LvAt *at); ///< of progress; NULL: nobody asks
    void *opaque;
    const atomic_int *cancelled; ///< not 0: stop; NULL: never
} LvEnv;

/** An environment for another device, whose work may be in a thread of its own: it tells of
 *  no progress, and what it says there is kept. */
typedef struct LvAside {
    LvEnv env;
    LvMsg msg;
    const LvMsg *to; ///< where messages go in the end
    int apart;       ///< 1: between begin and end
    int level;       ///< of line
    char line[512];  ///< the last of what was said; "": nothing
} LvAside;

/** Make one of env's, of a device. a is not to be moved. */
void lv_aside_new(LvAside *a, const LvEnv *env, LvDevice *dev);

/** Its work goes to another thread; it has come back, and what it said last is told. */
void lv_aside_begin(LvAside *a);
void lv_aside_end(LvAside *a);

/** Tell where a stage is. @return 0 or LV_ERR_CANCELLED */
int lv_env_tell(const LvEnv *env, LvAt at);

/** LvRunHook whose opaque is the environment: stops when cancelled. */
int lv_env_hook(void *env, const LvRecord *next, int index, int count);

/** LvUploadAsk whose opaque is the environment: stops when cancelled. */
int lv_env_ask(void *env);

/** What a message about values that are not finite ends with; many: of several, not of one. */
const char *lv_env_hint(const LvEnv *env, int many);

/** Make the weights of a part of the model's files; other parts' tensors are skipped.
 *
 * @param from src, layout and wide are set here
 * @return as lv_weights_new_from() */
int lv_env_weights(const LvEnv *env, const LvPart *part, LvWeightsFrom from, LvWeights **w);

/**
 * Load weights that were described. Those of another device are read in one go, and lie in one
 * piece of its memory.
 *
 * @param[out] room that piece, freed by the caller behind the weights; unchanged: there is none
 * @param progs programs that are built next, made ready meanwhile; [nb], some may be NULL
 * @return as lv_weights_load(), lv_program_ready(); LV_ERR_CANCELLED
 */
int lv_env_load(const LvEnv *env, LvWeights *w, void **room, LvProgram *const *progs, int nb);

#endif /* LINVIDEO_PIPELINE_ENV_H */
