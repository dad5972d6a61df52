/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/stock.h"

#include <string.h>

#include "base/common.h"
#include "train/clips/caption.h"
#include "train/clips/render.h"
#include "train/reel/things.h"
#include "train/reel/words.h"

/* Reels from here on are held out. */
#define HELD_OUT ((uint64_t)1 << 40)

int lv_stock_open(LvStock *s, const char *name, const char *art, int pixels, uint64_t seed,
                  const LvMsg *msg)
{
    *s = (LvStock) { .reel = !strcmp(name, "reel"), .seed = seed };
    if (!s->reel && *name && strcmp(name, "shapes"))
        return lv_fail(msg, LV_ERR(EINVAL), "data.clips is \"%s\", expected \"shapes\" or "
                       "\"reel\"", name);
    if (!s->reel || !*art)
        return 0;
    s->things = lv_things();
    return pixels ? lv_art_open(&s->art, art, msg) : 0;
}

void lv_stock_close(LvStock *s)
{
    lv_art_close(&s->art);
}

static void draw_reel(LvReel *r, const LvStock *s, uint64_t index, int held_out)
{
    lv_reel_draw(r, s->seed, index + (held_out ? HELD_OUT : 0), s->things);
}

void lv_stock_clip(const LvStock *s, uint64_t index, int held_out, const LvSpan *span,
                   float *rgb)
{
    LvScene scene;
    LvReel reel;

    if (s->reel) {
        draw_reel(&reel, s, index, held_out);
        lv_stage_render(&reel, s->art, span, rgb);
        return;
    }
    lv_scene_draw(&scene, s->seed, index, held_out);
    lv_render(&scene, span->width, span->height, span->frames, span->rate, rgb);
}

void lv_stock_caption(const LvStock *s, uint64_t index, int held_out, uint64_t stream,
                      char *buf, size_t size)
{
    LvScene scene;
    LvReel reel;

    if (s->reel) {
        draw_reel(&reel, s, index, held_out);
        lv_reel_caption(buf, size, &reel, s->seed, stream);
        return;
    }
    lv_scene_draw(&scene, s->seed, index, held_out);
    lv_caption_write(buf, size, &scene, s->seed, stream);
}

int lv_stock_words(const LvStock *s, char *buf, size_t size)
{
    return s->reel ? lv_reel_words(buf, size) : lv_caption_words(buf, size);
}
