/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/linear_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/nets.h"

enum { MAP_VALUES = B_HEADS * B_DIM / B_HEADS * MAP_DIM };

typedef struct LinearFile {
    float maps[B_LAYERS][2][MAP_VALUES];
    float mix[B_LAYERS];
    char names[B_LAYERS][3][80];
    LvFileTensor t[160];
    int nb;
} LinearFile;

static void add_tensor(LinearFile *f, char name[80], const char *what, int layer,
                       const float *data, const LvFileTensor *shape)
{
    LvFileTensor *t = &f->t[f->nb++];

    snprintf(name, 80, "weights.blocks.%d.self_attn.%s", layer, what);
    *t       = *shape;
    t->name  = name;
    t->dtype = LV_F32;
    t->data  = data;
    t->size  = t->numel * sizeof(float);
}

static void add_layer(LinearFile *f, int layer, int kind)
{
    const LvFileTensor map = { .rank = 3, .dim = { B_HEADS, B_DIM / B_HEADS, MAP_DIM },
                               .numel = MAP_VALUES };
    const LvFileTensor mix = { .rank = 1, .dim = { 1 }, .numel = 1 };

    if (kind != LV_ATTN_SOFTMAX) {
        add_tensor(f, f->names[layer][0], "map_q.weight", layer, f->maps[layer][0], &map);
        add_tensor(f, f->names[layer][1], "map_k.weight", layer, f->maps[layer][1], &map);
    }
    if (kind == LV_ATTN_MIXED)
        add_tensor(f, f->names[layer][2], "mix", layer, &f->mix[layer], &mix);
}

static void fill_maps(LinearFile *f, float mix)
{
    uint32_t state = 1;

    for (int i = 0; i < B_LAYERS; i++) {
        f->mix[i] = mix;
        for (int k = 0; k < 2 * MAP_VALUES; k++) {
            state = state * 1664525u + 1013904223u;
            f->maps[i][k / MAP_VALUES][k % MAP_VALUES] =
                (float)(state >> 8) / 3e7f - 0.28f;
        }
    }
}

int linear_kit_write(const char *path, LvDitConfig *cfg, const int kinds[B_LAYERS], int map,
                     float mix, const LvMsg *msg)
{
    LinearFile *f = calloc(1, sizeof(*f));
    LvSafetensors *b = NULL;
    int ret = f ? lv_safetensors_open(&b, REF_DIR "/dit_b.safetensors", msg) : LV_ERR(ENOMEM);

    if (ret >= 0 && (ret = nets_dit_config(cfg, b, msg)) >= 0) {
        cfg->map     = map;
        cfg->map_dim = MAP_DIM;
        fill_maps(f, mix);
        for (int i = 0; i < lv_safetensors_count(b); i++)
            f->t[f->nb++] = *lv_safetensors_at(b, i);
        for (int i = 0; i < B_LAYERS; i++) {
            cfg->attention[i] = (uint8_t)kinds[i];
            add_layer(f, i, kinds[i]);
        }
        ret = lv_safetensors_write(path, f->t, f->nb, NULL, msg);
    }
    lv_safetensors_close(&b);
    free(f);
    return ret;
}
