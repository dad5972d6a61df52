/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/run/codec.h"

#include <string.h>

/* Externals and outputs; returns how many, and the bytes of the largest memory. */
static int list_tensors(LvCodec *c, LvTensor **list, size_t *bytes)
{
    int nb = 0;

    list[nb++] = &c->x;
    list[nb++] = &c->z;
    list[nb++] = &c->y;
    *bytes = LV_ALIGN;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < c->memory[k].nb; i++) {
            list[nb++] = &c->memory[k].t[i];
            *bytes = LV_MAX(*bytes, lv_tensor_bytes(&c->memory[k].t[i]));
        }
    return nb;
}

int lv_codec_new(LvCodec *c, const LvTae *tae, const int size[3], LvDtype dtype,
                 int decode, LvDevice *dev, const LvMsg *msg)
{
    const int shape[] = { size[0], size[1], size[2], 3 };
    LvTensor *list[3 + 2 * LV_TAE_MAX_LAYERS];
    LvGraph *g = lv_graph_new(msg);
    size_t bytes;
    int nb;

    *c = (LvCodec) { .y = LV_NO_TENSOR };
    if (!g)
        return lv_fail(msg, LV_ERR(ENOMEM), "autoencoder: out of memory");
    c->x = lv_external(g, "frames", LV_F32, 4, shape);
    c->z = lv_tae_trace_encoder(g, tae, c->x, dtype, &c->memory[0]);
    lv_output(g, c->z, "latents");
    if (decode) {
        c->y = lv_tae_trace_decoder(g, tae, c->z, dtype, &c->memory[1]);
        lv_output(g, c->y, "frames again");
    }
    nb      = list_tensors(c, list, &bytes);
    c->zero = lv_alloc(bytes);
    if (!c->zero) {
        lv_graph_free(&g);
        return lv_fail(msg, LV_ERR(ENOMEM), "autoencoder: out of memory");
    }
    return lv_task_new(&c->task, &g, list, nb, dev, msg);
}

void lv_codec_free(LvCodec *c)
{
    lv_task_free(&c->task);
    lv_free(c->zero);
    c->zero = NULL;
}

int lv_codec_run(const LvCodec *c, const float *x, float *z, float *y)
{
    int ret = lv_task_put(&c->task, &c->x, x);

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < c->memory[k].nb && ret >= 0; i++)
            ret = lv_task_put(&c->task, &c->memory[k].t[i], c->zero);
    if (ret < 0 || (ret = lv_task_run(&c->task)) < 0 ||
        (z && (ret = lv_task_get(&c->task, &c->z, z)) < 0))
        return ret;
    return y ? lv_task_get(&c->task, &c->y, y) : 0;
}

void lv_codec_repeat(float *rgb, int before, size_t size)
{
    const float *first = rgb + (size_t)before * size;

    for (int i = 0; i < before; i++)
        memcpy(rgb + (size_t)i * size, first, size * sizeof(*rgb));
}

double lv_codec_error(const float *x, const float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double v = LV_CLAMP(y[i], 0, 1) - x[i];
        sum += v * v;
    }
    return sum / (double)n;
}
