/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of a model's configuration: whatever the text, it is read or refused by one line;
 * one that is read can be written, and what is written reads the same.
 */

#include <stdlib.h>
#include <string.h>

#include "model/config.h"

#define FUZZ_EDGE 4096 ///< all of a small one
#include "folder.h"
#include "mutate.h"

static void check_numbers(const LvModelConfig *c)
{
    const int picture[2] = { c->video.width, c->video.height };
    int size[3];

    if (c->dit.layers < 1 || c->dit.layers > LV_MAX_LAYERS || c->dit.dim % c->dit.heads ||
        c->dit.channels > LV_MAX_CHANNELS || c->vae.channels > LV_MAX_CHANNELS)
        abort();
    for (int i = 0; i < c->dit.layers; i++)
        if (c->dit.attention[i] >= LV_ATTN_NB)
            abort();
    lv_config_latents(c, picture, c->video.frames, 8, size);
    if (size[0] < 1 || size[1] < 1 || size[2] < 1)
        abort();
}

static void check_text(const LvModelConfig *c)
{
    char *text = lv_config_text(c), *again;
    LvModelConfig *d = malloc(sizeof(*d));

    if (!text || !d || lv_config_parse(d, text, "fuzz", NULL) < 0)
        abort();
    again = lv_config_text(d);
    if (!again || strcmp(text, again))
        abort();
    free(again);
    free(text);
    free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LvModelConfig *c = malloc(sizeof(*c));
    char *text = malloc(size + 1);
    int lines  = 0, ret;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };

    if (!c || !text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    ret = lv_config_parse(c, text, "fuzz", &msg);
    if (lines != (ret < 0))
        abort();
    if (ret >= 0) {
        check_numbers(c);
        check_text(c);
    }
    free(text);
    free(c);
    return 0;
}
