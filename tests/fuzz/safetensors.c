/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of the safetensors reader: whatever the bytes, it answers, and every
 * tensor it shows lies in them.
 */

#include <stdlib.h>
#include <string.h>

#include "base/safetensors.h"

#define FUZZ_EDGE 4096 ///< where the header of small files lies
#include "mutate.h"

static void count_line(void *opaque, int level, const char *line)
{
    *(int *)opaque += level == LV_MSG_ERROR && *line;
}

/* A tensor must lie within the bytes, whole. */
static void look_at(const LvFileTensor *t, const uint8_t *data, size_t size)
{
    const uint8_t *p = t->data;
    volatile uint8_t byte;

    if (p < data || t->size > size - (size_t)(p - data) ||
        t->size != t->numel * lv_dtype_size(t->dtype))
        abort();
    for (size_t i = 0; i < t->size; i++)
        byte = p[i];
    (void)byte;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int lines = 0;
    const LvMsg msg = { count_line, &lines, LV_MSG_DEBUG };
    LvSafetensors *st;
    int ret = lv_safetensors_parse(&st, data, size, "fuzz", &msg);

    if (ret < 0 ? st || lines != 1 : lines)
        abort();
    if (ret < 0)
        return 0;
    for (int i = 0; i < lv_safetensors_count(st); i++) {
        const LvFileTensor *t = lv_safetensors_at(st, i);

        look_at(t, data, size);
        if (lv_safetensors_find(st, t->name) != t)
            abort();
    }
    lv_safetensors_close(&st);
    return 0;
}
