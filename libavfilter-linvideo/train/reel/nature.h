/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The functions of the effects, as lv_effect_paint() says. Whole pictures of light,
 * weather and space.
 * Floor train/reel.
 */

#ifndef LINVIDEO_TRAIN_REEL_NATURE_H
#define LINVIDEO_TRAIN_REEL_NATURE_H

#include "train/reel/look.h"

void lv_fx_bokeh(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_clouds(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_fire(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_water(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_caustics(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_rain_on_glass(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_aurora(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_starfield(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_warp(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_galaxy(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_ink(LvPaint *p, const LvLook *look, LvClock at);

#endif /* LINVIDEO_TRAIN_REEL_NATURE_H */
