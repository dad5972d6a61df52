/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Rows of an optimizer's settings, the same in every section that has one.
 * Floor train/run: for the files with tables of rows. Before it, AT(member) is defined.
 */

#ifndef LINVIDEO_TRAIN_RUN_OPTIMROWS_H
#define LINVIDEO_TRAIN_RUN_OPTIMROWS_H

#include "model/config.h"

#define ROW(section, key, kind, member, ...) \
    { section, key, LV_CONFIG_##kind, AT(member), __VA_ARGS__ }

/** nb, rate: fallbacks of steps and lr, NAN where they are required. */
#define OPTIM(section, in, nb, rate)                                            \
    ROW(section, "steps",  INT,  in.optim.steps,  0, 1 << 30, nb),              \
    ROW(section, "warmup", INT,  in.optim.warmup, 0, 1 << 30, 0),               \
    ROW(section, "lr",     REAL, in.optim.lr,     0, 1, rate),                  \
    ROW(section, "lr_end", REAL, in.optim.lr_end, 0, 1, 0.1),                   \
    ROW(section, "beta1",  REAL, in.optim.beta1,  0, 0.9999, 0.9),              \
    ROW(section, "beta2",  REAL, in.optim.beta2,  0, 0.99999, 0.99),            \
    ROW(section, "eps",    REAL, in.optim.eps,    1e-20, 1, 1e-8),              \
    ROW(section, "weight_decay", REAL, in.optim.decay, 0, 1, 0.01),             \
    ROW(section, "clip",   REAL, in.optim.clip,   0, 1e9, 1),                   \
    ROW(section, "ema",    REAL, in.optim.ema,    0, 0.99999, 0.999)

#endif /* LINVIDEO_TRAIN_RUN_OPTIMROWS_H */
