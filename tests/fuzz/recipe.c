/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of recipes: the bytes are one of training and one of post-training, and, up to
 * the end of their first line, a change of one.
 */

#include <stdlib.h>
#include <string.h>

#include "train/post/recipe.h"
#include "train/pretrain/train_config.h"

#define FUZZ_EDGE 4096 ///< all of a small one
#include "folder.h"
#include "mutate.h"

static void read_training(const char *path)
{
    LvTrainConfig c;
    int lines = 0, size[3];
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    int ret = lv_train_config_read(&c, path, &msg);

    if (lines != (ret < 0))
        abort();
    if (ret >= 0) {
        lv_train_latent_size(&c, size);
        if (size[0] < 1 || size[1] < 1 || size[2] < 1 || c.flow.batch % c.flow.micro)
            abort();
    }
    lv_train_config_free(&c);
}

static void read_recipe(const char *path, const char *edit)
{
    static const char *const sections[] = { "trajectories", "linearize", "none" };
    LvRecipe r;
    int lines = 0;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    int ret = lv_recipe_read(&r, path, &edit, edit != NULL, &msg);

    if (lines != (ret < 0))
        abort();
    for (int i = 0; i < LV_COUNT(sections) && ret >= 0; i++)
        free(lv_recipe_section(&r, sections[i]));
    if (ret >= 0 && (r.linearize.batch % r.linearize.micro ||
                     r.linearize.objective >= LV_LEARN_NB))
        abort();
    lv_recipe_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH], edit[128] = "";

    fuzz_write(path, "recipe.json", data, size);
    read_training(path);
    read_recipe(path, NULL);
    for (size_t i = 0; i < LV_MIN(size, sizeof(edit) - 1) && data[i] != '\n'; i++)
        edit[i] = (char)data[i];
    read_recipe(NULL, edit);
    return 0;
}
