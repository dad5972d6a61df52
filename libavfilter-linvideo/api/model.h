/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Where models lie.
 * Floor F6 (api).
 */

#ifndef LINVIDEO_API_MODEL_H
#define LINVIDEO_API_MODEL_H

#include "base/msg.h"

/** The model that is taken when none is named. */
#define LV_DEFAULT_MODEL "motion"

enum { LV_PATH_SIZE = 4096 };

/**
 * Path of the model called name: name itself when it has a '/' or ends in
 * ".safetensors" or ".json", else NAME.safetensors or NAME.json in the first of the
 * folders (see LinvideoParams.model) that has it.
 *
 * @return 0 or -ENOENT; the message lists the places
 */
int lv_model_find(char path[LV_PATH_SIZE], const char *name, const LvMsg *msg);

#endif /* LINVIDEO_API_MODEL_H */
