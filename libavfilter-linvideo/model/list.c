/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/list.h"

#include <stdlib.h>

#include "model/dit.h"
#include "model/umt5.h"
#include "model/wan_vae.h"

static int list_dit(const LvModelConfig *cfg, LvWeights *w, const char *prefix)
{
    LvDit m = { 0 };
    int ret = lv_dit_bind(&m, &cfg->dit, w, prefix);

    lv_dit_free(&m);
    return ret;
}

static int list_text(const LvModelConfig *cfg, LvWeights *w, const char *prefix)
{
    LvUmt5 m = { 0 };
    int ret  = lv_umt5_bind(&m, &cfg->text, w, prefix);

    lv_umt5_free(&m);
    return ret;
}

static int list_vae(const LvModelConfig *cfg, LvWeights *w, const char *prefix)
{
    LvWanVae *m = calloc(1, sizeof(*m));
    int ret = m ? 0 : lv_fail(lv_weights_msg(w), LV_ERR(ENOMEM), "out of memory");

    /* Of Wan2.2's, a file of the decoder alone tells no size of the encoder. */
    for (int encoder = cfg->vae.patch == 1 || cfg->vae.encoder_width; encoder >= 0 && ret >= 0;
         encoder--)
        ret = lv_wan_vae_bind(m, &cfg->vae, encoder, w, prefix);
    free(m);
    return ret;
}

int lv_part_list(LvParams **list, int kind, const LvModelConfig *cfg, int layout,
                 const char *prefix, LvDevice *dev, const LvMsg *msg)
{
    LvWeightsFrom from = { .layout = layout, .wide = LV_F32 };
    LvWeights *w = NULL;
    int ret = lv_params_new(list, 0, dev, msg);

    from.params = *list;
    if (ret >= 0 && (ret = lv_weights_new_from(&w, &from, dev, msg)) >= 0)
        ret = kind == LV_PART_DIT ? list_dit(cfg, w, prefix)
            : kind == LV_PART_TEXT ? list_text(cfg, w, prefix)
            : kind == LV_PART_WAN_VAE ? list_vae(cfg, w, prefix)
            : lv_fail(msg, LV_ERR(EINVAL), "unknown kind of network %d", kind);
    lv_weights_free(&w);
    if (ret < 0)
        lv_params_free(list);
    return ret;
}
