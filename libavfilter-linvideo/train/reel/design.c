#include "train/reel/design.h"
void lv_fx_paper(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_plasma(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_liquid(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_grid(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_tunnel(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_hills(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_skyline(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_sunset_waves(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_wipe(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_countdown(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_bars(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_rays(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_rings(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_mosaic(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
