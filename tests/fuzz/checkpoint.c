/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of training checkpoints: the bytes are a run of two tensors, opened as they are,
 * then with the hash that they should have, so that changes reach what is behind it. A run
 * that opens takes a step.
 */

#include <stdlib.h>
#include <string.h>

#include "base/sealed.h"
#include "train/run/trainer.h"

#define FUZZ_EDGE 2048 ///< where the header lies
#include "folder.h"
#include "mutate.h"

enum { STATES = 3 };

typedef struct Net {
    LvTensor w, b;
} Net;

static const LvWeightRow rows[] = {
    { .name = "w", .offset = offsetof(Net, w), .dim = { 3, 2 },
      .flags = LV_W_MATRIX | LV_W_DECAY },
    { .name = "b", .offset = offsetof(Net, b), .dim = { 3 } },
};

static const LvOptim optim = { .steps = 4, .warmup = 1, .lr = 0.01f, .lr_end = 0.1f,
                               .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f,
                               .decay = 0.01f, .clip = 1, .ema = 0.99f, .seed = 1 };

static int go_on(LvTrainer *t)
{
    float state[STATES];
    Net net;
    int ret;

    if (t->step < 0 || t->step > optim.steps)
        abort();
    if ((ret = lv_weights_bind(t->weights, rows, LV_COUNT(rows), "", 0, NULL, &net)) < 0 ||
        (ret = lv_trainer_keep(t, "state.ring", LV_F32, STATES, state)) < 0 ||
        (ret = lv_trainer_ready(t)) < 0 || t->step == optim.steps ||
        (ret = lv_trainer_begin(t)) < 0)
        return ret;
    return lv_trainer_update(t);
}

static void open_run(const char *path)
{
    static LvDevice *dev;
    int lines = 0, ret;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    LvTrainer *t;

    if (!dev && lv_device_open(&dev, "cpu", &(LvDeviceOptions) { .threads = 1 }, NULL) < 0)
        abort();
    ret = lv_trainer_open(&t, path, &optim, dev, &msg);
    if (ret < 0 && t)
        abort();
    if (ret >= 0)
        ret = go_on(t);
    if (lines != (ret < 0))
        abort();
    lv_trainer_close(&t);
}

/* Write what the bytes hold with the hash of just that. */
static int seal(const char *path, const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "linvideo.config", "linvideo.train" };
    const char *meta[2 * LV_COUNT(keys) + 1] = { NULL };
    LvSafetensors *st;
    LvFileTensor *list;
    int n = 0, ret;

    if (lv_safetensors_parse(&st, data, size, "fuzz", NULL) < 0)
        return -1;
    list = calloc((size_t)lv_safetensors_count(st) + 1, sizeof(*list));
    for (int i = 0; list && i < lv_safetensors_count(st); i++)
        list[i] = *lv_safetensors_at(st, i);
    for (int i = 0; i < LV_COUNT(keys); i++)
        if (lv_safetensors_meta(st, keys[i])) {
            meta[n++] = keys[i];
            meta[n++] = lv_safetensors_meta(st, keys[i]);
        }
    ret = list ? lv_sealed_write(path, list, lv_safetensors_count(st), meta, NULL) : -1;
    free(list);
    lv_safetensors_close(&st);
    return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];

    open_run(fuzz_write(path, "run.safetensors", data, size));
    if (seal(path, data, size) >= 0)
        open_run(path);
    return 0;
}
