/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/effect.h"

#include "train/reel/design.h"
#include "train/reel/falling.h"
#include "train/reel/nature.h"

typedef void (*Painter)(LvPaint *p, const LvLook *look, LvClock at);

static const Painter painters[LV_FX_NB] = {
    [LV_FX_SNOW] = lv_fx_snow, [LV_FX_RAIN] = lv_fx_rain,
    [LV_FX_CONFETTI] = lv_fx_confetti, [LV_FX_PARTICLES] = lv_fx_particles,
    [LV_FX_FIREWORKS] = lv_fx_fireworks, [LV_FX_BUBBLES] = lv_fx_bubbles,
    [LV_FX_LEAVES] = lv_fx_leaves, [LV_FX_PETALS] = lv_fx_petals,
    [LV_FX_SPARKS] = lv_fx_sparks, [LV_FX_RIBBONS] = lv_fx_ribbons,
    [LV_FX_SMOKE] = lv_fx_smoke, [LV_FX_FOG] = lv_fx_fog,
    [LV_FX_LIGHT_LEAKS] = lv_fx_light_leaks, [LV_FX_LIGHTNING] = lv_fx_lightning,
    [LV_FX_BOKEH] = lv_fx_bokeh, [LV_FX_CLOUDS] = lv_fx_clouds,
    [LV_FX_FIRE] = lv_fx_fire, [LV_FX_WATER] = lv_fx_water,
    [LV_FX_CAUSTICS] = lv_fx_caustics, [LV_FX_RAIN_ON_GLASS] = lv_fx_rain_on_glass,
    [LV_FX_AURORA] = lv_fx_aurora, [LV_FX_STARFIELD] = lv_fx_starfield,
    [LV_FX_WARP] = lv_fx_warp, [LV_FX_GALAXY] = lv_fx_galaxy,
    [LV_FX_INK] = lv_fx_ink, [LV_FX_PAPER] = lv_fx_paper,
    [LV_FX_PLASMA] = lv_fx_plasma, [LV_FX_LIQUID] = lv_fx_liquid,
    [LV_FX_GRID] = lv_fx_grid, [LV_FX_TUNNEL] = lv_fx_tunnel,
    [LV_FX_HILLS] = lv_fx_hills, [LV_FX_SKYLINE] = lv_fx_skyline,
    [LV_FX_SUNSET_WAVES] = lv_fx_sunset_waves, [LV_FX_WIPE] = lv_fx_wipe,
    [LV_FX_COUNTDOWN] = lv_fx_countdown, [LV_FX_BARS] = lv_fx_bars,
    [LV_FX_RAYS] = lv_fx_rays, [LV_FX_RINGS] = lv_fx_rings,
    [LV_FX_MOSAIC] = lv_fx_mosaic,
};

void lv_effect_paint(LvPaint *p, const LvLook *look, LvClock at)
{
    painters[look->effect](p, look, at);
}

int lv_effect_is_whole(LvEffect effect)
{
    return effect >= LV_FX_BOKEH;
}
