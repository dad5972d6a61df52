/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of nets.h share: a program with its memory, and tensors of a file.
 */

#ifndef LINVIDEO_TESTS_NETS_KIT_H
#define LINVIDEO_TESTS_NETS_KIT_H

#include "graph/graph.h"
#include "graph/program.h"
#include "model/weights.h"
#include "tests/nets.h"

enum { MAX_MEMORY = 8 * LV_MAX_LAYERS };

/* A program with all the memory that was bound to it. */
typedef struct Run {
    LvDevice *dev;
    LvProgram *p;
    void *arena;
    void *memory[MAX_MEMORY];
    int nb;
} Run;

/* Plan and build what g holds, and free g. */
int run_new(Run *r, LvGraph *g, LvDevice *dev);

/* New memory for t, bound to it; NULL when there is none. */
void *run_bind(Run *r, LvTensor t);

void run_free(Run *r);

/* Bring tensor t at data here, as f32. */
int fetch(LvDevice *dev, LvTensor t, const void *data, float *dst);

float *new_floats(size_t n);

/* Hand ours on where the file has a reference of that name. */
void put(const NetsOptions *opt, const LvSafetensors *st, const char *name, const float *ours);

/* Size i of a tensor, 0 when it is not there. */
int size_of(const LvSafetensors *st, const char *name, int i);

/* Weights whose tensors "<prefix>..." will all have to be bound. */
int open_weights(LvWeights **w, const LvSafetensors *st, const char *prefix,
                 const NetsOptions *opt);

/* Files of pictures and their preparation (nets_image.c). */
int run_prepare_file(const LvSafetensors *st, const NetsOptions *opt);
int run_clip_file(const LvSafetensors *st, const NetsOptions *opt);

#endif /* LINVIDEO_TESTS_NETS_KIT_H */
