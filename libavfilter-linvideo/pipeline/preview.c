/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/preview.h"

#include <math.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"
#include "pipeline/decode.h"

/* Published maps, to -1 to 1 */

static const LvPreviewMap wan21 = {
    .channels = 16,
    .bias     = { -0.1835f, -0.0868f, -0.3360f },
    .factor   = {
        { -0.1299f, -0.1692f, 0.2932f }, { 0.0671f, 0.0406f, 0.0442f },
        { 0.3568f, 0.2548f, 0.1747f }, { 0.0372f, 0.2344f, 0.1420f },
        { 0.0313f, 0.0189f, -0.0328f }, { 0.0296f, -0.0956f, -0.0665f },
        { -0.3477f, -0.4059f, -0.2925f }, { 0.0166f, 0.1902f, 0.1975f },
        { -0.0412f, 0.0267f, -0.1364f }, { -0.1293f, 0.0740f, 0.1636f },
        { 0.0680f, 0.3019f, 0.1128f }, { 0.0032f, 0.0581f, 0.0639f },
        { -0.1251f, 0.0927f, 0.1699f }, { 0.0060f, -0.0633f, 0.0005f },
        { 0.3477f, 0.2275f, 0.2950f }, { 0.1984f, 0.0913f, 0.1861f },
    },
};

static const LvPreviewMap wan22 = {
    .channels = 48,
    .bias     = { 0.0317f, -0.0878f, -0.1388f },
    .factor   = {
        { 0.0119f, 0.0103f, 0.0046f }, { -0.1062f, -0.0504f, 0.0165f },
        { 0.0140f, 0.0409f, 0.0491f }, { -0.0813f, -0.0677f, 0.0607f },
        { 0.0656f, 0.0851f, 0.0808f }, { 0.0264f, 0.0463f, 0.0912f },
        { 0.0295f, 0.0326f, 0.0590f }, { -0.0244f, -0.0270f, 0.0025f },
        { 0.0443f, -0.0102f, 0.0288f }, { -0.0465f, -0.0090f, -0.0205f },
        { 0.0359f, 0.0236f, 0.0082f }, { -0.0776f, 0.0854f, 0.1048f },
        { 0.0564f, 0.0264f, 0.0561f }, { 0.0006f, 0.0594f, 0.0418f },
        { -0.0319f, -0.0542f, -0.0637f }, { -0.0268f, 0.0024f, 0.0260f },
        { 0.0539f, 0.0265f, 0.0358f }, { -0.0359f, -0.0312f, -0.0287f },
        { -0.0285f, -0.1032f, -0.1237f }, { 0.1041f, 0.0537f, 0.0622f },
        { -0.0086f, -0.0374f, -0.0051f }, { 0.0390f, 0.0670f, 0.2863f },
        { 0.0069f, 0.0144f, 0.0082f }, { 0.0006f, -0.0167f, 0.0079f },
        { 0.0313f, -0.0574f, -0.0232f }, { -0.1454f, -0.0902f, -0.0481f },
        { 0.0714f, 0.0827f, 0.0447f }, { -0.0304f, -0.0574f, -0.0196f },
        { 0.0401f, 0.0384f, 0.0204f }, { -0.0758f, -0.0297f, -0.0014f },
        { 0.0568f, 0.1307f, 0.1372f }, { -0.0055f, -0.0310f, -0.0380f },
        { 0.0239f, -0.0305f, 0.0325f }, { -0.0663f, -0.0673f, -0.0140f },
        { -0.0416f, -0.0047f, -0.0023f }, { 0.0166f, 0.0112f, -0.0093f },
        { -0.0211f, 0.0011f, 0.0331f }, { 0.1833f, 0.1466f, 0.2250f },
        { -0.0368f, 0.0370f, 0.0295f }, { -0.3441f, -0.3543f, -0.2008f },
        { -0.0479f, -0.0489f, -0.0420f }, { -0.0660f, -0.0153f, 0.0800f },
        { -0.0101f, 0.0068f, 0.0156f }, { -0.0690f, -0.0452f, -0.0927f },
        { -0.0145f, 0.0041f, 0.0015f }, { 0.0421f, 0.0451f, 0.0373f },
        { 0.0504f, -0.0483f, -0.0356f }, { -0.0837f, 0.0168f, 0.0055f },
    },
};

const LvPreviewMap *lv_preview_wan(int channels)
{
    return channels == wan21.channels ? &wan21 : channels == wan22.channels ? &wan22 : NULL;
}

/* To 0 to 1. */
static void take_published(LvPreviewMap *to, const LvPreviewMap *from)
{
    *to = (LvPreviewMap) { .channels = from->channels };
    for (int k = 0; k < 3; k++)
        to->bias[k] = (from->bias[k] + 1) / 2;
    for (int i = 0; i < 3 * from->channels; i++)
        to->factor[i / 3][i % 3] = from->factor[i / 3][i % 3] / 2;
}

/* Fitting. Each block of SIDE x SIDE latents is of one colour, and stays as it is for FRAMES
 * latent frames, so that what is decoded in the middle of the last one is that colour's. */

enum { SIDE = 4, BLOCKS = 4, LATENTS = SIDE * BLOCKS, FRAMES = 3,
       MAX_ROWS = LV_PREVIEW_CHANNELS + 1 };

/* Seed of the colours, and how many there are for each channel. */
enum { SEED = 20, TIMES = 16 };

/* Normal equations: of bias, then channels; and three right sides. */
typedef struct Fit {
    int channels;
    double a[MAX_ROWS][MAX_ROWS + 3];
} Fit;

static void add_sample(Fit *f, const float *colour, const double rgb[3])
{
    double row[MAX_ROWS + 3] = { 1 };
    int n = f->channels + 1;

    for (int c = 1; c < n; c++)
        row[c] = (double)colour[c - 1];
    memcpy(row + n, rgb, 3 * sizeof(*rgb));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n + 3; k++)
            f->a[i][k] += row[i] * row[k];
}

/* Gauss and Jordan; what is positive definite needs no pivots. */
static void solve(Fit *f, LvPreviewMap *m)
{
    int n = f->channels + 1;

    for (int p = 0; p < n; p++)
        for (int i = 0; i < n; i++) {
            double share = i == p ? 0 : f->a[i][p] / f->a[p][p];
            for (int k = p; k < n + 3; k++)
                f->a[i][k] -= share * f->a[p][k];
        }
    m->channels = f->channels;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            (i ? m->factor[i - 1] : m->bias)[k] = (float)(f->a[i][n + k] / f->a[i][i]);
}

/* Blocks of colours [BLOCKS BLOCKS,channels] as latents z. */
static void fill_blocks(float *z, const float *colours, int channels)
{
    for (int i = 0; i < channels * FRAMES * LATENTS * LATENTS; i++) {
        int x = i % LATENTS, y = i / LATENTS % LATENTS, c = i / (FRAMES * LATENTS * LATENTS);

        z[i] = colours[(y / SIDE * BLOCKS + x / SIDE) * channels + c];
    }
}

/* Mean of the middle of a block: half of its sides. */
static void mean_of_block(const LvFrames *frames, int scale, int block, double rgb[3])
{
    int size = SIDE * scale, cols = LATENTS * scale, n = 0;

    memset(rgb, 0, 3 * sizeof(*rgb));
    for (int f = 0; f < frames->nb; f++)
        for (int y = size / 4; y < size - size / 4; y++)
            for (int x = size / 4; x < size - size / 4; x++, n++) {
                int row = block / BLOCKS * size + y, col = block % BLOCKS * size + x;
                for (int k = 0; k < 3; k++)
                    rgb[k] += (double)frames->rgb[((f * cols + row) * cols + col) * 3 + k];
            }
    for (int k = 0; k < 3; k++)
        rgb[k] /= n;
}

/* What the fit needs beside the decoder. */
typedef struct Probe {
    LvDecode *decode;
    void *arena;
    float *z, *colours;
    Fit fit;
} Probe;

static int decode_blocks(Probe *p, LvFrames *frames)
{
    int ret = lv_decode_begin(p->decode, p->z);

    for (int i = 0; i < FRAMES && ret >= 0; i++)
        ret = lv_decode_run(p->decode, frames);
    return ret;
}

static int add_round(Probe *p, int round)
{
    int channels = p->fit.channels, ret;
    LvFrames frames;
    double rgb[3];

    lv_philox_normal(p->colours, (size_t)(BLOCKS * BLOCKS * channels), SEED, (uint64_t)round);
    fill_blocks(p->z, p->colours, channels);
    if ((ret = decode_blocks(p, &frames)) < 0)
        return ret;
    for (int i = 0; i < BLOCKS * BLOCKS; i++) {
        mean_of_block(&frames, lv_decode_scale(p->decode), i, rgb);
        add_sample(&p->fit, p->colours + i * channels, rgb);
    }
    return 0;
}

static int open_probe(Probe *p, const LvEnv *env)
{
    const LvDecodeShape shape = { .size = { FRAMES, LATENTS, LATENTS } };
    size_t channels = (size_t)env->cfg->dit.channels;
    int ret = lv_decode_new(&p->decode, env);

    if (ret < 0 || (ret = lv_decode_plan(p->decode, &shape)) < 0 ||
        (ret = lv_device_alloc(env->dev, &p->arena, lv_decode_need(p->decode).arena,
                               "preview")) < 0 ||
        (ret = lv_decode_build(p->decode, p->arena)) < 0)
        return ret;
    p->fit.channels = (int)channels;
    p->z       = lv_alloc(channels * FRAMES * LATENTS * LATENTS * sizeof(float));
    p->colours = lv_alloc(channels * BLOCKS * BLOCKS * sizeof(float));
    return p->z && p->colours ? 0 : lv_fail(env->msg, LV_ERR(ENOMEM), "preview: out of memory");
}

static void close_probe(Probe *p, const LvEnv *env)
{
    lv_decode_free(&p->decode);
    if (p->arena)
        lv_device_free(env->dev, p->arena);
    lv_free(p->z);
    lv_free(p->colours);
}

/* Its decoding is no progress of the clip's. */
static int fit(LvPreviewMap *m, const LvEnv *env)
{
    int rounds = TIMES * (env->cfg->dit.channels + 1) / (BLOCKS * BLOCKS), ret;
    Probe p = { .decode = NULL };
    LvEnv quiet = *env;

    quiet.tell = NULL;
    ret = open_probe(&p, &quiet);
    for (int i = 0; i < rounds && ret >= 0; i++)
        ret = add_round(&p, i);
    if (ret >= 0)
        solve(&p.fit, m);
    close_probe(&p, &quiet);
    return ret;
}

int lv_preview_map(LvPreviewMap *m, const LvEnv *env)
{
    int channels = env->cfg->dit.channels;
    const LvPreviewMap *known = lv_preview_wan(channels);

    *m = (LvPreviewMap) { .channels = 0 };
    if (channels > LV_PREVIEW_CHANNELS)
        return lv_fail(env->msg, LV_ERR_UNSUPPORTED, "preview: expected at most %d channels, got "
                       "%d", LV_PREVIEW_CHANNELS, channels);
    if (env->cfg->vae.kind != LV_VAE_WAN)
        return fit(m, env);
    if (!known)
        return lv_fail(env->msg, LV_ERR_UNSUPPORTED, "preview: expected latents of 16 or 48 "
                       "channels, got %d", channels);
    take_published(m, known);
    return 0;
}

void lv_preview_make(const LvPreviewMap *m, const float *z, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < 3 * n; i++) {
        float sum = m->bias[i % 3];

        for (int c = 0; c < m->channels; c++)
            sum += m->factor[c][i % 3] * z[(size_t)c * n + i / 3];
        rgb[i] = (uint8_t)lrintf(255 * fminf(fmaxf(sum, 0), 1));
    }
}
