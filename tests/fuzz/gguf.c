/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of the GGUF reader: whatever the bytes, it answers, every tensor it shows lies in
 * them and can be decoded, and every value can be read.
 */

#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"

#define FUZZ_EDGE 1024 ///< where the header of small files lies
#include "base/convert.h"
#include "mutate.h"

static void count_line(void *opaque, int level, const char *line)
{
    *(int *)opaque += level == LV_MSG_ERROR && *line;
}

/* A tensor must lie within the bytes, whole; its first blocks are decoded. */
static void look_at(const LvFileTensor *t, const uint8_t *data, size_t size)
{
    const uint8_t *p = t->data;
    size_t bytes, n = lv_dtype_block(t->dtype);
    volatile uint8_t byte;
    float x[256];

    if (p < data || t->size > size - (size_t)(p - data) ||
        lv_dtype_bytes(&bytes, t->dtype, t->numel) < 0 || bytes != t->size)
        abort();
    for (size_t i = 0; i < t->size; i++)
        byte = p[i];
    if (t->numel)
        lv_to_f32(x, p, t->dtype, n);
    (void)byte;
}

/* The keys of real files, of which any may be there. */
static void look_up(const LvGguf *g)
{
    static const char *const keys[] = { "general.architecture", "general.alignment",
                                        "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
                                        "words", "half" };

    for (int i = 0; i < LV_COUNT(keys); i++) {
        const LvGgufValue *v = lv_gguf_value(g, keys[i]);
        const uint8_t *at = v ? v->at : NULL;
        volatile double sum = 0;
        for (uint64_t k = 0; v && k < v->nb; k++)
            sum += v->type == LV_GGUF_STRING ? (double)lv_gguf_string(&at).n
                                             : lv_gguf_number(v, &at);
        (void)sum;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int lines = 0;
    const LvMsg msg = { count_line, &lines, LV_MSG_DEBUG };
    LvGguf *g;
    int ret = lv_gguf_parse(&g, data, size, "fuzz", &msg);

    if (ret < 0 ? g || lines != 1 : lines)
        abort();
    if (ret < 0)
        return 0;
    for (int i = 0; i < lv_gguf_count(g); i++)
        look_at(lv_gguf_at(g, i), data, size);
    look_up(g);
    lv_gguf_close(&g);
    return 0;
}
