/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The functions of the effects, as lv_effect_paint() says. Whole pictures of paper,
 * geometry and landscapes.
 * Floor train/reel.
 */

#ifndef LINVIDEO_TRAIN_REEL_DESIGN_H
#define LINVIDEO_TRAIN_REEL_DESIGN_H

#include "train/reel/look.h"

void lv_fx_paper(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_plasma(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_liquid(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_grid(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_tunnel(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_hills(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_skyline(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_sunset_waves(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_wipe(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_countdown(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_bars(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_rays(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_rings(LvPaint *p, const LvLook *look, LvClock at);
void lv_fx_mosaic(LvPaint *p, const LvLook *look, LvClock at);

#endif /* LINVIDEO_TRAIN_REEL_DESIGN_H */
