/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/presets.h"

#include <stdio.h>
#include <string.h>

/* A list of faults of frames. */
#define FAULTS \
    "色调艳丽，过曝，静态，细节模糊不清，" \
    "字幕，风格，作品，画作，画面，静止，" \
    "整体发灰，最差质量，低质量，JPEG压缩残留，" \
    "丑陋的，残缺的，多余的手指，画得不好的手部，" \
    "画得不好的脸部，畸形的，毁容的，" \
    "形态畸形的肢体，手指融合，静止不动的画面，" \
    "杂乱的背景，三条腿，背景人很多，倒着走"

/* Models of one network. */
#define ONE .boundary = 0

/* Of two. */
#define PAIR(low, at) .guidance_low = low, .boundary = at

/* Of causal ones. */
#define BLOCKS(block, window, sink) .causal = { block, window, sink }

/* As their authors publish them. */
static const LvPreset presets[] = {
    { "wan2.1", "unipc", 50, 5, 5, "Wan2.1 as its reference samples it", ONE },
    { "wan2.1-480p", "unipc", 50, 3, 5, "the same, shifted as advised for 832x480", ONE },
    { "lightx2v", "euler", 4, 5, 1, "LightX2V's four steps, and models distilled like it", ONE },
    { "self-forcing", "renoise", 4, 5, 1,
      "Self-Forcing's steps, without its blockwise attention", ONE },
    { "self-forcing-causal", "renoise", 4, 5, 1, "Self-Forcing, Causal-Forcing in blocks of 3 latents",
      BLOCKS(3, 21, 3) },
    { "causal-forcing-framewise", "renoise", 4, 5, 1, "Causal-Forcing latent by latent",
      BLOCKS(1, 21, 1) },
    { "longlive", "renoise", 4, 5, 1, "LongLive: blocks of 3 latents, a window of 12, a sink of 3",
      BLOCKS(3, 12, 3) },
    { "causvid", "causvid", 9, 8, 1, "CausVid's nine steps", ONE },
    { "causvid-causal", "causvid-causal", 3, 8, 1, "CausVid's three steps, in blocks of 3 latents",
      BLOCKS(3, 21, 3) },
    { "rcm", "rcm", 4, 5, 1, "rCM's steps (TurboDiffusion)", ONE },
    { "accvideo", "unipc", 10, 5, 1, "AccVideo's ten steps", ONE },
    { "fusionx", "unipc", 8, 1, 1, "FusionX's eight steps", ONE },
    { "fastwan", "renoise", 3, 1.8f, 1,
      "FastWan's three steps (their times within 5 %)", ONE },
    { "wan2.2-t2v", "unipc", 40, 12, 4, "Wan2.2 T2V A14B as its reference samples it",
      PAIR(3, 0.875f) },
    { "wan2.2-i2v", "unipc", 40, 5, 3.5f, "Wan2.2 I2V A14B, the same", PAIR(3.5f, 0.9f) },
    { "wan2.2-ti2v", "unipc", 50, 5, 5, "Wan2.2 TI2V 5B, the same", .made_for = LV_CLIP_TI2V },
    { "wan2.2-lightning", "euler", 4, 5, 1, "Wan2.2-Lightning's four steps, of T2V",
      PAIR(1, 0.875f) },
    { "wan2.2-lightning-i2v", "euler", 4, 5, 1, "the same, of I2V", PAIR(1, 0.9f) },
    { "wan2.1-i2v", "unipc", 40, 3, 5, "Wan2.1 I2V as its reference samples it at 832x480", ONE },
    { "wan2.1-i2v-720p", "unipc", 40, 5, 5, "the same at 1280x720", .made_for = LV_CLIP_720P },
    { "wan2.1-flf2v", "unipc", 50, 16, 5, "Wan2.1 FLF2V, the same", .made_for = LV_CLIP_720P },
};

const LvPreset *lv_preset_at(int i)
{
    return i >= 0 && i < LV_COUNT(presets) ? &presets[i] : NULL;
}

const LvPreset *lv_preset_find(const char *name)
{
    if (name && !strcmp(name, "none"))
        return &presets[0];
    for (int i = 0; name && i < LV_COUNT(presets); i++)
        if (!strcmp(presets[i].name, name))
            return &presets[i];
    return NULL;
}

/* Of Wan2.1's networks, by the images that they attend to. */
static const char *const of_images[] = { "wan2.1", "wan2.1-i2v", "wan2.1-flf2v" };

const LvPreset *lv_preset_of(const LvDitConfig *c, int pair)
{
    if (c->channels == LV_WAN22_CHANNELS)
        return lv_preset_find("wan2.2-ti2v");
    return pair ? lv_preset_for(lv_preset_find("wan2.2-t2v"), c)
                : lv_preset_find(of_images[c->clip_images]);
}

int lv_preset_takes_image(const LvDitConfig *c)
{
    return c->cond_channels || c->channels == LV_WAN22_CHANNELS;
}

int lv_preset_images(const LvDitConfig *c)
{
    return !c->cond_channels ? 0 : LV_MAX(c->clip_images, 1);
}

const char *lv_preset_negative(const LvDitConfig *c)
{
    static const char *const faults[] = {
        FAULTS, "镜头晃动，" FAULTS, "镜头切换，镜头晃动，" FAULTS,
    };

    return faults[c->clip_images];
}

const LvPreset *lv_preset_for(const LvPreset *p, const LvDitConfig *c)
{
    static const char *const images[][2] = {
        { "wan2.2-t2v", "wan2.2-i2v" }, { "wan2.2-lightning", "wan2.2-lightning-i2v" },
    };

    for (int i = 0; i < LV_COUNT(images) && c->cond_channels; i++)
        if (!strcmp(p->name, images[i][0]))
            return lv_preset_find(images[i][1]);
    return p;
}

void lv_preset_apply(LvVideoConfig *v, const LvPreset *p)
{
    static const struct {
        int width, height, frames, rate;
    } clips[] = {
        [LV_CLIP_480P] = { 832, 480, 81, 16 }, [LV_CLIP_720P] = { 1280, 720, 81, 16 },
        [LV_CLIP_TI2V] = { 1280, 704, 121, 24 },
    };

    *v = (LvVideoConfig) { .width = clips[p->made_for].width,
                           .height = clips[p->made_for].height,
                           .frames = clips[p->made_for].frames,
                           .rate_num = clips[p->made_for].rate, .rate_den = 1,
                           .steps = p->steps, .shift = p->shift, .guidance = p->guidance,
                           .guidance_low = p->guidance_low, .boundary = p->boundary,
                           .causal = p->causal };
    snprintf(v->sampler, sizeof(v->sampler), "%s", p->solver);
}
