/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of manifests: the bytes are one, beside files of small networks that it may
 * name: dit, text, vae, spm, lora.
 */

#include <stdlib.h>
#include <string.h>

#include "model/files.h"
#include "model/list.h"

#define FUZZ_EDGE 1024 ///< all of a small one
#include "folder.h"
#include "mutate.h"

static const LvModelConfig sizes = {
    .dit  = { .dim = 128, .ffn_dim = 64, .heads = 1, .layers = 1, .text_dim = 16,
              .text_len = 512, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },
              .eps = 1e-6f },
    .text = { .vocab = 64, .dim = 16, .dim_attn = 64, .dim_ffn = 16, .heads = 1,
              .layers = 1, .buckets = 32, .max_distance = 128, .eps = 1e-6f },
    .vae  = { .kind = LV_VAE_WAN, .channels = 16, .patch = 1, .width = 8 },
};

static void write_tensors(const char *name, LvFileTensor *t, int nb)
{
    char path[FUZZ_PATH];

    for (int i = 0; i < nb; i++) {
        t[i].dtype = LV_F32;
        t[i].size  = t[i].numel * sizeof(float);
        if (!(t[i].data = calloc(t[i].numel + 1, sizeof(float))))
            abort();
    }
    if (lv_safetensors_write(fuzz_path(path, name), t, nb, NULL, NULL) < 0)
        abort();
    for (int i = 0; i < nb; i++)
        free((void *)(uintptr_t)t[i].data);
}

static void write_part(const char *name, int kind, LvDevice *dev)
{
    LvFileTensor *t;
    LvParams *p;

    if (lv_part_list(&p, kind, &sizes, LV_LAYOUT_ORIGINAL, "", dev, NULL) < 0 ||
        !(t = calloc((size_t)p->nb, sizeof(*t))))
        abort();
    for (int i = 0; i < p->nb; i++) {
        t[i] = (LvFileTensor) { .name = p->list[i].name, .rank = p->list[i].rank,
                                .numel = p->list[i].numel };
        memcpy(t[i].dim, p->list[i].dim, sizeof(t[i].dim));
    }
    write_tensors(name, t, p->nb);
    free(t);
    lv_params_free(&p);
}

static void write_files(void)
{
    LvFileTensor lora[] = {
        { .name = "blocks.0.self_attn.q.lora_A.weight", .rank = 2, .dim = { 1, 128 },
          .numel = 128 },
        { .name = "blocks.0.self_attn.q.lora_B.weight", .rank = 2, .dim = { 128, 1 },
          .numel = 128 },
    };
    char path[FUZZ_PATH];
    LvDevice *dev;

    if (lv_device_open(&dev, "null", &(LvDeviceOptions) { 0 }, NULL) < 0)
        abort();
    write_part("dit", LV_PART_DIT, dev);
    write_part("text", LV_PART_TEXT, dev);
    write_part("vae", LV_PART_WAN_VAE, dev);
    write_tensors("lora", lora, LV_COUNT(lora));
    fuzz_write(path, "spm", (const uint8_t *)"spm", 3);
    lv_device_close(&dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    int lines = 0, ret;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    LvFiles f = { 0 };

    if (!fuzz_folder[0])
        write_files();
    fuzz_write(path, "manifest.json", data, size);
    lv_files_is_manifest(path, NULL);
    ret = lv_files_open(&f, path, NULL, 0, size & 1, &msg);
    if (lines != (ret < 0))
        abort();
    if (ret >= 0 && (!f.spm || !f.negative || !f.dit.kind || !f.text.kind || !f.vae.kind))
        abort();
    lv_files_close(&f);
    return 0;
}
