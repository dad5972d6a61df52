/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Writes a model of Wan's kind with random weights, in bf16: dit.safetensors,
 * text.safetensors (names of transformers, with a tokenizer) and vae.safetensors, for
 * tests of the command and for runs at true size.
 *
 *     make_wan FOLDER TOKENIZER [tiny|tiny-pair|tiny-tae|deep|wide|cut-1.3b|cut-14b|vae-1.3b|
 *              net-1.3b|1.3b|14b|tiny-5b|vae-5b|5b|tiny-i2v|tiny-flf2v|tiny-i2v-pair]
 *
 * tiny-pair: two networks, wan2.2_high_noise.safetensors and wan2.2_low_noise.safetensors.
 * tiny-tae: with the published tiny decoder in place of Wan's. wide: 200 MB of weights.
 * cut: true widths in one layer, of 14b in the network alone. net-1.3b, vae-1.3b: of true size is
 * the network alone, or the autoencoder. 5b: Wan2.2's TI2V with its own autoencoder. i2v, flf2v:
 * image to video of Wan2.1, with clip.safetensors; i2v-pair: of Wan2.2, without.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/map.h"
#include "model/clip.h"
#include "model/list.h"
#include "model/tae.h"
#include "model/weights.h"

typedef struct Size {
    const char *name;
    LvDitConfig dit;
    LvUmt5Config text;
    LvTaeConfig vae;
    int pair; ///< 1: two networks
} Size;

#define DIT(d, f, n, t)                                                           \
    { .dim = d, .ffn_dim = f, .heads = d / 128, .layers = n, .text_dim = t,       \
      .text_len = 512, .freq_dim = 256, .channels = 16, .patch = { 1, 2, 2 },     \
      .eps = 1e-6f }
#define DIT48(d, f, n, t)                                                         \
    { .dim = d, .ffn_dim = f, .heads = d / 128, .layers = n, .text_dim = t,       \
      .text_len = 512, .freq_dim = 256, .channels = 48, .patch = { 1, 2, 2 },     \
      .eps = 1e-6f }
#define DIT36(d, f, n, t, c, i)                                                   \
    { .dim = d, .ffn_dim = f, .heads = d / 128, .layers = n, .text_dim = t,       \
      .text_len = 512, .freq_dim = 256, .channels = 16, .cond_channels = 20,      \
      .clip_dim = c, .clip_images = i, .patch = { 1, 2, 2 }, .eps = 1e-6f }
#define TEXT(v, d, f, h, n)                                                       \
    { .vocab = v, .dim = d, .dim_attn = d, .dim_ffn = f, .heads = h, .layers = n, \
      .buckets = 32, .max_distance = 128, .eps = 1e-6f }
#define VAE(w) { .kind = LV_VAE_WAN, .channels = 16, .patch = 1, .width = w }
#define VAE48(w, e) { .kind = LV_VAE_WAN, .channels = 48, .patch = 2, .width = w,  \
                      .encoder_width = e }
#define TAE    { .kind = LV_VAE_TAE, .channels = 16, .patch = 1 }

static const Size sizes[] = {
    { "tiny", DIT(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "tiny-pair", DIT(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 1 },
    { "tiny-tae", DIT(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), TAE, 0 },
    { "deep", DIT(256, 512, 7, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "wide", DIT(1024, 4096, 6, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "cut-1.3b", DIT(1536, 8960, 1, 4096), TEXT(8192, 4096, 10240, 64, 1), VAE(96), 0 },
    { "cut-14b", DIT(5120, 13824, 1, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "vae-1.3b", DIT(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), VAE(96), 0 },
    { "net-1.3b", DIT(1536, 8960, 30, 64), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "1.3b", DIT(1536, 8960, 30, 4096), TEXT(256384, 4096, 10240, 64, 24), VAE(96), 0 },
    { "tiny-5b", DIT48(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), VAE48(8, 4), 0 },
    { "vae-5b", DIT48(256, 512, 2, 64), TEXT(8192, 64, 96, 4, 2), VAE48(256, 160), 0 },
    { "5b", DIT48(3072, 14336, 30, 4096), TEXT(256384, 4096, 10240, 64, 24), VAE48(256, 160), 0 },
    { "tiny-i2v", DIT36(256, 512, 2, 64, 80, 1), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "tiny-flf2v", DIT36(256, 512, 2, 64, 80, 2), TEXT(8192, 64, 96, 4, 2), VAE(8), 0 },
    { "tiny-i2v-pair", DIT36(256, 512, 2, 64, 0, 0), TEXT(8192, 64, 96, 4, 2), VAE(8), 1 },
    { "14b", DIT(5120, 13824, 40, 4096), TEXT(256384, 4096, 10240, 64, 24), VAE(96), 0 },
};

/* Values of the tensor at hand. */
typedef struct Values {
    const LvParams *list;
    const LvMap *spm;
    uint16_t *data;
    uint64_t state;
} Values;

static float next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return (float)(int32_t)(*s >> 32) * 0x1p-31f;
}

/* Matrices keep the size of what they multiply; norms are near 1. */
static int get(void *opaque, int i, const void **data)
{
    Values *v = opaque;
    const LvParam *t = &v->list->list[i];
    int norm     = strstr(t->name, "norm") || strstr(t->name, "gamma");
    size_t fan   = t->rank > 1 ? t->numel / (size_t)t->dim[0] : 100;
    float scale  = 1.7f / sqrtf((float)fan), base = norm && !strstr(t->name, "bias");
    uint16_t *to = realloc(v->data, t->numel * sizeof(*to));

    if (!to)
        return LV_ERR(ENOMEM);
    v->data = to;
    for (size_t k = 0; k < t->numel; k++)
        to[k] = lv_f32_bf16(base + scale * next(&v->state));
    *data = to;
    return 0;
}

static LvFileTensor describe(const LvParam *p)
{
    LvFileTensor t = { .name = p->name, .dtype = LV_BF16, .rank = p->rank,
                       .numel = p->numel, .size = 2 * p->numel };

    memcpy(t.dim, p->dim, (size_t)p->rank * sizeof(*p->dim));
    return t;
}

static int write_part(const char *path, const LvParams *list, const LvMap *spm, uint64_t seed)
{
    LvFileTensor *t = calloc((size_t)list->nb + 1, sizeof(*t));
    Values v = { list, spm, NULL, 88172645463325252u + seed };
    const LvFeed feed = { .get = get, .opaque = &v };
    int n = list->nb, ret;

    if (!t)
        return LV_ERR(ENOMEM);
    for (int i = 0; i < n; i++)
        t[i] = describe(&list->list[i]);
    if (spm)
        t[n++] = (LvFileTensor) { .name = "spiece_model", .dtype = LV_U8, .rank = 1,
                                  .dim = { (int64_t)spm->size }, .numel = spm->size,
                                  .data = spm->data, .size = spm->size };
    ret = lv_safetensors_write_from(path, t, n, NULL, &feed, NULL);
    free(v.data);
    free(t);
    return ret;
}

/* Tensors of the decoder of TAEHV in its published widths. */
static int list_tae(LvParams **list, const LvTaeConfig *cfg, LvDevice *dev)
{
    const LvTaeDesign design = {
        4, { { 64, 0, 1 }, { 64, 3, 2 }, { 128, 3, 2 }, { 256, 3, 1 } }
    };
    LvTae *tae   = calloc(1, sizeof(*tae));
    LvWeights *w = NULL;
    int ret      = lv_params_new(list, 0, dev, NULL);

    if (ret >= 0)
        ret = tae ? lv_weights_new_params(&w, *list, NULL, dev, NULL) : LV_ERR(ENOMEM);
    if (ret >= 0)
        ret = lv_tae_design(tae, cfg, &design, 0, w, "decoder.");
    lv_weights_free(&w);
    free(tae);
    return ret;
}

/* Those of CLIP's image tower. */
static int list_clip(LvParams **list, int dim, LvDevice *dev)
{
    const LvClipConfig cfg = { .dim = dim, .ffn_dim = 2 * dim, .heads = dim / 80, .layers = 3 };
    LvClip clip  = { 0 };
    LvWeights *w = NULL;
    int ret      = lv_params_new(list, 0, dev, NULL);

    if (ret >= 0 && (ret = lv_weights_new_params(&w, *list, NULL, dev, NULL)) >= 0)
        ret = lv_clip_bind(&clip, &cfg, w, "");
    lv_clip_free(&clip);
    lv_weights_free(&w);
    return ret;
}

static int list_part(LvParams **list, int kind, const LvModelConfig *cfg, int layout,
                     LvDevice *dev)
{
    if (kind == LV_PART_CLIP)
        return list_clip(list, cfg->dit.clip_dim, dev);
    return kind == LV_PART_WAN_VAE && cfg->vae.kind == LV_VAE_TAE
         ? list_tae(list, &cfg->vae, dev)
         : lv_part_list(list, kind, cfg, layout, "", dev, NULL);
}

static int make(const char *folder, const Size *size, const LvMap *spm)
{
    static const struct {
        const char *name;
        int kind, layout;
    } parts[] = {
        { "text", LV_PART_TEXT, LV_LAYOUT_HF },
        { "vae", LV_PART_WAN_VAE, LV_LAYOUT_ORIGINAL },
        { "dit", LV_PART_DIT, LV_LAYOUT_ORIGINAL },
        { "wan2.2_high_noise", LV_PART_DIT, LV_LAYOUT_ORIGINAL },
        { "wan2.2_low_noise", LV_PART_DIT, LV_LAYOUT_ORIGINAL },
        { "clip", LV_PART_CLIP, LV_LAYOUT_ORIGINAL },
    };
    LvModelConfig cfg = { .dit = size->dit, .text = size->text, .vae = size->vae };
    LvParams *list = NULL;
    LvDevice *dev;
    char path[4096];
    int ret = lv_device_open(&dev, "null", &(LvDeviceOptions) { 0 }, NULL);

    for (int i = 0; i < LV_COUNT(parts) && ret >= 0; i++) {
        if ((parts[i].kind == LV_PART_DIT && (i > 2) != size->pair) ||
            (parts[i].kind == LV_PART_CLIP && !cfg.dit.clip_dim))
            continue;
        snprintf(path, sizeof(path), "%s/%s.safetensors", folder, parts[i].name);
        ret = list_part(&list, parts[i].kind, &cfg, parts[i].layout, dev);
        if (ret >= 0)
            ret = write_part(path, list, parts[i].kind == LV_PART_TEXT ? spm : NULL,
                             i > 2 ? (uint64_t)i : 0);
        lv_params_free(&list);
    }
    lv_device_close(&dev);
    return ret;
}

int main(int argc, char **argv)
{
    const Size *size = &sizes[0];
    LvMap spm;
    int ret;

    for (int i = 0; i < LV_COUNT(sizes) && argc > 3; i++)
        size = strcmp(sizes[i].name, argv[3]) ? size : &sizes[i];
    if (argc < 3 || lv_map_open(&spm, argv[2], NULL) < 0) {
        fprintf(stderr, "usage: %s FOLDER TOKENIZER [SIZE]\n", argv[0]);
        return 2;
    }
    ret = make(argv[1], size, &spm);
    lv_map_close(&spm);
    if (ret < 0)
        fprintf(stderr, "%s: %s\n", argv[1], strerror(-ret));
    return ret < 0;
}
