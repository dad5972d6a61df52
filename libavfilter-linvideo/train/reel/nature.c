#include "train/reel/nature.h"
void lv_fx_bokeh(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_clouds(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_fire(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_water(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_caustics(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_rain_on_glass(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_aurora(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_starfield(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_warp(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_galaxy(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_ink(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
