/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of the tokenizer: the bytes are a model; when it opens, texts are cut
 * with it, one of them taken from the bytes themselves.
 */

#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"

#define FUZZ_EDGE 8192 ///< where the pieces and settings of small models lie
#include "mutate.h"

static void count_line(void *opaque, int level, const char *line)
{
    *(int *)opaque += level == LV_MSG_ERROR && *line;
}

static void cut(const LvTokenizer *t, const char *text)
{
    int32_t ids[512];
    int lines = 0;
    const LvMsg msg = { count_line, &lines, LV_MSG_DEBUG };
    int n = lv_tokenizer_encode(t, text, ids, 512, &msg);

    if (n < 0 ? lines != 1 : lines || !n || n > 512)
        abort();
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= lv_tokenizer_size(t))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {
        "", "a red circle moving left",
        "  \xEF\xBC\xA1\xEF\xB7\xBA &amp; \xF0\x9F\x98\x80 ",
    };
    char own[256] = "";
    int lines = 0;
    const LvMsg msg = { count_line, &lines, LV_MSG_DEBUG };
    LvTokenizer *t;
    int ret = lv_tokenizer_open(&t, data, size, &msg);

    if (ret < 0 ? t || lines != 1 : lines)
        abort();
    if (ret < 0)
        return 0;
    for (int i = 0; i < LV_COUNT(texts); i++)
        cut(t, texts[i]);
    memcpy(own, data + size / 2, LV_MIN(size - size / 2, sizeof(own) - 1));
    for (size_t i = 0; i < sizeof(own) - 1; i++)
        own[i] &= 0x7F;
    cut(t, own);
    lv_tokenizer_close(&t);
    return 0;
}
