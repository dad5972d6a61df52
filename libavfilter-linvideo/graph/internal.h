/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Graphs and programs as the files of this folder see them; nobody else includes it.
 * Floor F3 (graph).
 */

#ifndef LINVIDEO_GRAPH_INTERNAL_H
#define LINVIDEO_GRAPH_INTERNAL_H

#include "backend/device.h"
#include "graph/record.h"

/** What is known of the graph tensor with this id. */
typedef struct LvTensorInfo {
    const char *name; ///< of externals and outputs, else NULL
    int external;     ///< lives in memory of the caller
    size_t bytes;
    void *data;       ///< program: bound or planned address
    size_t offset;    ///< program: in the arena, when not external
    int first, last;  ///< program: records that write it first and read it last
} LvTensorInfo;

struct LvGraph {
    const LvMsg *msg;
    LvRecord *rec;
    int nb_rec;
    LvTensorInfo *info;
    int nb_info;
    int layer;        ///< of the next record
    int batch;        ///< samples in the rows
    enum LvMatmul matmul; ///< numbers that matmuls are of
    int train;        ///< statistics for the gradient are kept
    int checkpoints;  ///< marks count
    const char *file; ///< place of the next record
    int line;
    int error;
    int *mark;        ///< first records of segments, see lv_graph_checkpoint()
    int nb_marks;
};

enum { LV_CAPTURES = 4 };

/** A run that the device keeps, with the addresses that it works on. */
typedef struct LvCapture {
    void *kept;    ///< the device's
    void **bound;  ///< [nb_info], as LvTensorInfo.data
} LvCapture;

/** Records of one layer that read streamed weights, which come to a slot
 *  together: group g to slot g % LV_SLOTS. */
typedef struct LvGroup {
    int first, last;  ///< records
    int copy, nb;     ///< of its copies
} LvGroup;

struct LvProgram {
    LvDevice *dev;
    LvRecord *rec;
    LvCall *call; ///< of each record
    int nb_rec;
    LvTensorInfo *info;
    int nb_info;
    LvSizes sizes;
    size_t scratch; ///< offset of the shared op scratch in the arena
    int built;
    double *seconds;
    LvCapture capture[LV_CAPTURES];
    int nb_captures;
    int has_run;       ///< since it was built
    int runs_alone; ///< the device can't keep this program
    LvGroup *group;
    int nb_groups;
    LvCopy *copy;      ///< of all groups
    const struct LvWeight **copy_of; ///< what each is of
    LvSlots *slots;
};

#endif /* LINVIDEO_GRAPH_INTERNAL_H */
