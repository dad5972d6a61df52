/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The functions of the effects, as lv_effect_paint() says. What falls, flies and
 * flashes over any background.
 * Floor train/reel.
 */

#ifndef LINVIDEO_TRAIN_REEL_FALLING_H
#define LINVIDEO_TRAIN_REEL_FALLING_H

#include "train/reel/look.h"

void lv_fx_snow(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_rain(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_confetti(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_particles(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_fireworks(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_bubbles(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_leaves(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_petals(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_sparks(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_ribbons(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_smoke(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_fog(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_light_leaks(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_lightning(LvPaint *p, const LvLook *look, LvClock at);

#endif /* LINVIDEO_TRAIN_REEL_FALLING_H */
