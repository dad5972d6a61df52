/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of LoRAs: the bytes are a file of them, which is opened and added to small
 * weights.
 */

#include <stdlib.h>
#include <string.h>

#include "model/lora.h"

#define FUZZ_EDGE 2048 ///< where the header lies
#include "folder.h"
#include "mutate.h"
#include "tests/loras_add.h"

enum { OUT = 6, IN = 4, PLACES = 2, SIZE = OUT * IN * PLACES };

static void add_to(LvLoras *loras, const LvWeightRow *row, LvFileTensor *t)
{
    static float x[SIZE];
    int lines = 0;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    int ret;

    if (!lv_loras_has(loras, row, 1))
        return;
    memset(x, 0, sizeof(x));
    ret = loras_add(loras, row, 1, x, t, &msg);
    if (lines != (ret < 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const LvWeightRow rows[] = { { .name = "blocks.%d.x.weight" },
                                        { .name = "blocks.%d.x.bias" } };
    LvFileTensor tensors[] = {
        { .name = "blocks.1.x.weight", .dtype = LV_F32, .rank = 3,
          .dim = { OUT, IN, PLACES }, .numel = SIZE },
        { .name = "blocks.1.x.bias", .dtype = LV_F32, .rank = 1, .dim = { OUT },
          .numel = OUT },
    };
    char path[FUZZ_PATH];
    const LvLoraFile file = { .path = fuzz_write(path, "lora", data, size), .weight = 0.5f,
                              .strict = size & 1 };
    int lines = 0;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    LvLoras *loras;
    int ret = lv_loras_open(&loras, &file, 1, &msg);

    if (lines != (ret < 0) || (ret < 0 && loras))
        abort();
    if (ret < 0)
        return 0;
    for (int i = 0; i < LV_COUNT(rows); i++)
        add_to(loras, &rows[i], &tensors[i]);
    ret = lv_loras_finish(loras, &msg);
    if (lines != (ret < 0))
        abort();
    lv_loras_close(&loras);
    return 0;
}
