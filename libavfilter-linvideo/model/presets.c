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

/* As their authors publish them. */
static const LvPreset presets[] = {
    { "wan2.1", "unipc", 50, 5, 5, "Wan2.1 as its reference samples it" },
    { "wan2.1-480p", "unipc", 50, 3, 5, "the same, shifted as advised for 832x480" },
    { "lightx2v", "euler", 4, 5, 1, "LightX2V's four steps, and models distilled like it" },
    { "self-forcing", "renoise", 4, 5, 1,
      "Self-Forcing's steps, without its blockwise attention" },
    { "causvid", "causvid", 9, 8, 1, "CausVid's nine steps" },
    { "rcm", "rcm", 4, 5, 1, "rCM's steps (TurboDiffusion)" },
    { "accvideo", "unipc", 10, 5, 1, "AccVideo's ten steps" },
    { "fusionx", "unipc", 8, 1, 1, "FusionX's eight steps" },
    { "fastwan", "renoise", 3, 1.8f, 1,
      "FastWan's three steps (their times within 5 %)" },
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

void lv_preset_apply(LvVideoConfig *v, const LvPreset *p)
{
    *v = (LvVideoConfig) { .width = 832, .height = 480, .frames = 81, .rate_num = 16,
                           .rate_den = 1, .steps = p->steps, .shift = p->shift,
                           .guidance = p->guidance };
    snprintf(v->sampler, sizeof(v->sampler), "%s", p->solver);
}
