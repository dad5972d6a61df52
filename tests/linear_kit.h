/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The network of tests/ref/dit_b with other kinds of attention: maps and shares are added to its
 * file.
 * Of the tests.
 */

#ifndef LINVIDEO_TESTS_LINEAR_KIT_H
#define LINVIDEO_TESTS_LINEAR_KIT_H

#include "base/safetensors.h"
#include "model/config.h"

#ifndef REF_DIR
#define REF_DIR LV_TEST_MADE "/ref"
#endif

enum { B_DIM = 96, B_HEADS = 2, B_LAYERS = 3, MAP_DIM = 24 };

/**
 * Write one with layers of the kinds given; tensors are called "weights...".
 *
 * @param[out] cfg its configuration
 * @param map  enum LvMapKind
 * @param mix  share of softmax in MIXED layers
 * @return 0 or an error
 */
int linear_kit_write(const char *path, LvDitConfig *cfg, const int kinds[B_LAYERS], int map,
                     float mix, const LvMsg *msg);

#endif /* LINVIDEO_TESTS_LINEAR_KIT_H */
