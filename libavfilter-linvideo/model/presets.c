/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/presets.h"

#include <stdio.h>
#include <string.h>

/* A list of faults of pictures. */
const char LV_WAN_NEGATIVE[] =
    "色调艳丽，过曝，静态，细节模糊不清，"
    "字幕，风格，作品，画作，画面，静止，"
    "整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，"
    "画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走";

/* Models of one network. */
#define ONE .boundary = 0

/* Of two. */
#define PAIR(low, at) .guidance_low = low, .boundary = at

/* As their authors publish them. */
static const LvPreset presets[] = {
    { "wan2.1", "unipc", 50, 5, 5, "Wan2.1 as its reference samples it", ONE },
    { "wan2.1-480p", "unipc", 50, 3, 5, "the same, shifted as advised for 832x480", ONE },
    { "lightx2v", "euler", 4, 5, 1, "LightX2V's four steps, and models distilled like it", ONE },
    { "self-forcing", "renoise", 4, 5, 1,
      "Self-Forcing's steps, without its blockwise attention", ONE },
    { "causvid", "causvid", 9, 8, 1, "CausVid's nine steps", ONE },
    { "rcm", "rcm", 4, 5, 1, "rCM's steps (TurboDiffusion)", ONE },
    { "accvideo", "unipc", 10, 5, 1, "AccVideo's ten steps", ONE },
    { "fusionx", "unipc", 8, 1, 1, "FusionX's eight steps", ONE },
    { "fastwan", "renoise", 3, 1.8f, 1,
      "FastWan's three steps (their times within 5 %)", ONE },
    { "wan2.2-t2v", "unipc", 40, 12, 4, "Wan2.2 T2V A14B as its reference samples it",
      PAIR(3, 0.875f) },
    { "wan2.2-i2v", "unipc", 40, 5, 3.5f, "Wan2.2 I2V A14B, the same", PAIR(3.5f, 0.9f) },
    { "wan2.2-ti2v", "unipc", 50, 5, 5, "Wan2.2 TI2V 5B, the same", .large = 1 },
    { "wan2.2-lightning", "euler", 4, 5, 1, "Wan2.2-Lightning's four steps, of T2V",
      PAIR(1, 0.875f) },
    { "wan2.2-lightning-i2v", "euler", 4, 5, 1, "the same, of I2V", PAIR(1, 0.9f) },
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

enum { TI2V_CHANNELS = 48 };

const LvPreset *lv_preset_of(const LvDitConfig *c, int pair)
{
    if (c->channels == TI2V_CHANNELS)
        return lv_preset_find("wan2.2-ti2v");
    return pair ? lv_preset_for(lv_preset_find("wan2.2-t2v"), c) : &presets[0];
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
    *v = (LvVideoConfig) { .width = 832, .height = 480, .frames = 81, .rate_num = 16,
                           .rate_den = 1, .steps = p->steps, .shift = p->shift,
                           .guidance = p->guidance, .guidance_low = p->guidance_low,
                           .boundary = p->boundary };
    if (p->large) {
        v->width    = 1280;
        v->height   = 704;
        v->frames   = 121;
        v->rate_num = 24;
    }
    snprintf(v->sampler, sizeof(v->sampler), "%s", p->solver);
}
