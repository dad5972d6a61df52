/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of the logs of steps: every number of what was read is looked at.
 */

#include <math.h>
#include <stdlib.h>

#include "base/common.h"
#include "train/post/steplog.h"

#define FUZZ_EDGE 4096 ///< all of a small one
#include "folder.h"
#include "mutate.h"

/* Numbers are finite or NaN: JSON has no infinity. */
static void look_at(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isinf(x[i]))
            abort();
}

static void check(const LvStepLog *l)
{
    size_t rows = (size_t)l->rows, wide = rows * (size_t)l->layers;

    if (l->rows < 1 || l->layers < 1 || l->layers > LV_MAX_LAYERS || l->flips < 0 ||
        l->flips >= l->rows)
        abort();
    look_at(l->step, rows);
    look_at(l->error, rows);
    look_at(l->bins, rows * LV_TIME_BINS);
    look_at(l->r, wide);
    look_at(l->kind, wide);
    look_at(l->rho, wide);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int lines = 0;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    char path[FUZZ_PATH];
    LvStepLog l;
    int ret = lv_steplog_read(&l, fuzz_write(path, "log.jsonl", data, size), &msg);

    if (lines != (ret < 0))
        abort();
    if (ret >= 0)
        check(&l);
    lv_steplog_free(&l);
    return 0;
}
