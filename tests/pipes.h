/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Runs files of reference numbers of whole pipelines: noise and text states go in, states of
 * every step and frames come out, by the stages that a session has. Called by nets.c.
 */

#ifndef LINVIDEO_TESTS_PIPES_H
#define LINVIDEO_TESTS_PIPES_H

#include "tests/nets.h"

/** A file with in.noise [C,F,Y,X], weights.dit.* or weights.high.* and weights.low.*, and
 *  weights.vae.*. @return as nets_run() */
int pipes_run(const LvSafetensors *st, const NetsOptions *opt);

#endif /* LINVIDEO_TESTS_PIPES_H */
