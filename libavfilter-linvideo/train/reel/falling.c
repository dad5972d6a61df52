#include "train/reel/falling.h"
void lv_fx_snow(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_rain(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_confetti(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_particles(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_fireworks(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_bubbles(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_leaves(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_petals(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_sparks(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_ribbons(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_smoke(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_fog(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_light_leaks(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
void lv_fx_lightning(LvPaint *p, const LvLook *look, LvClock at) { (void)p; (void)look; (void)at; }
