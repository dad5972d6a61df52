/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/common.h"
#include "train/clips/grammar.h"
#include "train/reel/effect.h"
#include "train/reel/things.h"
#include "train/reel/tint.h"

/*
 * Symbols: G the ground with "background"; g its colour alone; e its second colour;
 * A all actors; F the effect with its colours; h the colours of the effect;
 * d the side a direction goes to; o the side it comes from.
 */

/* Effects: first as plain nouns, where $h stands before what is coloured. */
static const char *const effects[LV_FX_NB] = {
    [LV_FX_SNOW] = "$hsnow falling|falling $hsnow|$hsnowfall|$hsnowflakes|$hsnow|"
                   "gently falling $hsnow|$hsnowflakes drifting down",
    [LV_FX_RAIN] = "$hrain falling|falling $hrain|$hrain|$hraindrops|pouring $hrain|"
                   "$hrain coming down",
    [LV_FX_CONFETTI] = "$hconfetti falling|falling $hconfetti|$hconfetti|$hparty confetti|"
                       "$hconfetti raining down",
    [LV_FX_PARTICLES] = "$hparticles floating|floating $hparticles|$hdust particles|"
                        "glowing $hparticles|$hglitter|$hgolden dust|drifting $hparticles|"
                        "$hmagic dust",
    [LV_FX_FIREWORKS] = "$hfireworks|$hfireworks exploding|exploding $hfireworks|"
                        "$hfireworks in the sky|$hfirework display",
    [LV_FX_BUBBLES] = "$hbubbles rising|rising $hbubbles|$hsoap bubbles|$hbubbles floating up|"
                      "$hbubbles",
    [LV_FX_LEAVES] = "$hleaves falling|falling $hleaves|$hautumn leaves|"
                     "$hleaves blowing in the wind|$hleaves drifting down",
    [LV_FX_PETALS] = "$hpetals falling|falling $hpetals|$hflower petals|"
                     "$hcherry blossom petals drifting|$hrose petals falling",
    [LV_FX_SPARKS] = "$hsparks rising|rising $hsparks|$hembers|glowing $hembers rising|"
                     "flying $hsparks|$hfire sparks",
    [LV_FX_RIBBONS] = "$hribbons waving|waving $hribbons|flowing $hribbons|$hsilk ribbons|"
                      "$hribbons",
    [LV_FX_SMOKE] = "$hsmoke rising|rising $hsmoke|$hsmoke|drifting $hsmoke|"
                    "swirling $hsmoke|curling $hsmoke",
    [LV_FX_FOG] = "$hfog drifting|drifting $hfog|$hfog|$hmist|rolling $hfog|$hhaze",
    [LV_FX_LIGHT_LEAKS] = "$hlight leaks|$hfilm light leaks|$hlens flares|soft $hlight leaks|"
                          "$hlight leak overlay",
    [LV_FX_LIGHTNING] = "$hlightning|flashes of $hlightning|$hlightning bolts striking|"
                        "$hlightning strikes|$hthunderbolts",
    [LV_FX_BOKEH] = "$hbokeh lights|$hbokeh|soft $hbokeh|blurred $hlights|"
                    "soft $hlights out of focus|$hbokeh background|defocused $hlights drifting",
    [LV_FX_CLOUDS] = "$hclouds moving $d|$hclouds drifting $d|$hclouds in the sky|"
                     "sky with $hclouds|drifting $hclouds|$hcloudy sky|$hclouds passing by",
    [LV_FX_FIRE] = "$hfire burning|burning $hfire|$hflames|$hfire|rising $hflames|"
                   "~ wall of $hfire|flickering $hflames|~ $hcampfire burning",
    [LV_FX_WATER] = "$hwater surface|rippling $hwater|$hwater ripples|calm $hwater|"
                    "surface of $hwater|$hwater with glints of light|$hlake water",
    [LV_FX_CAUSTICS] = "$hwater caustics|$hcaustics|light at the bottom of ~ $hpool|"
                       "$hlight patterns under water|$hunderwater light|$hswimming pool light",
    [LV_FX_RAIN_ON_GLASS] = "$hrain on ~ window|rain drops on glass with $hlights|"
                            "$hraindrops running down ~ window|$hrain on glass|"
                            "wet window with $hlights",
    [LV_FX_AURORA] = "$hnorthern lights|$haurora|$haurora borealis|$hnorthern lights in the "
                     "night sky|dancing $haurora",
    [LV_FX_STARFIELD] = "$hstars in the night sky|$hstarry sky|$hstarfield|twinkling $hstars|"
                        "night sky with $hstars|$hstars in space",
    [LV_FX_WARP] = "flying through $hstars|$hwarp speed|$hhyperspace|"
                   "$hstars flying towards us|$hstar warp|flight through $hspace at warp speed",
    [LV_FX_GALAXY] = "~ $hgalaxy|~ spiral $hgalaxy turning|~ $hspiral galaxy|"
                     "~ turning $hgalaxy|$hmilky way|~ rotating $hgalaxy in space",
    [LV_FX_INK] = "$hink in water|$hink spreading in water|$hink clouds|"
                  "swirling $hink in water|$hink drop in water",
    [LV_FX_PAPER] = "$hpaper texture|$hpaper|textured $hpaper|$hpaper background|old $hpaper",
    [LV_FX_PLASMA] = "$hplasma|$hplasma effect|psychedelic $hplasma|moving $hplasma",
    [LV_FX_LIQUID] = "$hliquid gradient|flowing $hgradient|$hfluid gradient|"
                     "$hliquid shapes flowing|abstract $hfluid colours|smooth $hliquid gradient|"
                     "moving $hgradient",
    [LV_FX_GRID] = "$hneon grid|$hretro grid|$hsynthwave grid|$hgrid moving towards us|"
                   "$h80s grid|endless $hgrid",
    [LV_FX_TUNNEL] = "~ $htunnel|flight through ~ $htunnel|$htunnel of rings|"
                     "flying through ~ $htunnel|endless $htunnel",
    [LV_FX_HILLS] = "$hhills passing $d|$hmountains in parallax|rolling $hhills|$hhills|"
                    "~ landscape of $hhills|layers of $hmountains moving $d|misty $hhills",
    [LV_FX_SKYLINE] = "~ $hcity skyline|$hskyline passing $d|~ $hcity at night|"
                      "$hskyline|$hcity buildings moving $d|~ $hcity skyline at dusk",
    [LV_FX_SUNSET_WAVES] = "$hsunset over the sea|$hsunset over waves|~ $hsun over the ocean|"
                           "sea waves with ~ $hsun|$hocean at sunset|$hsea at sunset",
    [LV_FX_WIPE] = "~ $hwipe $o|$hwipe coming $o|~ $htransition $o|$hcolour sweeping in $o",
    [LV_FX_COUNTDOWN] = "~ $hcountdown|~ $hfilm countdown|$hcountdown leader|"
                        "$hnumbers counting down|old film $hcountdown",
    [LV_FX_BARS] = "$hequalizer bars|$hequaliser|$haudio bars moving|$hmusic visualizer|"
                   "$hsound bars|dancing $hequalizer bars",
    [LV_FX_RAYS] = "$hsun rays turning|rotating $hrays|$hsunburst|$hrays|$hretro sunburst|"
                   "turning $hrays",
    [LV_FX_RINGS] = "$hrings expanding|expanding $hrings|$hconcentric circles|$hrings|"
                    "$hcircles spreading|$hradio waves|growing $hrings",
    [LV_FX_MOSAIC] = "$hmosaic|$hlow poly background|$htriangles changing shade|"
                     "$htriangle mosaic|geometric $hmosaic|$hpolygons",
};

static const char few[]  = "a little |a bit of |sparse |light ";
static const char many[] = "lots of |dense |heavy |a lot of ";

static const char *const grounds[LV_GROUND_NB] = {
    [LV_GROUND_PLAIN] = "~ $g background|~ $g backdrop|~ plain $g background|$g|"
                        "~ solid $g background",
    [LV_GROUND_SHADED] = "~ $g gradient background|~ $g gradient|~ soft $g gradient|"
                         "~ shaded $g background",
    [LV_GROUND_BLEND] = "~ gradient from $g to $e|~ $g to $e gradient|"
                        "~ $g and $e gradient background|~ $g to $e background",
    [LV_GROUND_GLOW] = "~ glowing $g background|~ $g background with ~ vignette|"
                       "~ $g spotlight background|~ $g background lit in the middle",
    [LV_GROUND_STRIPED] = "~ striped $g background|~ $g striped background|$g stripes",
    [LV_GROUND_CHECKERED] = "~ checkered $g background|~ $g checkerboard|"
                            "~ $g checkered background",
    [LV_GROUND_DOTTED] = "~ dotted $g background|~ $g background with dots|"
                         "~ $g polka dot background",
};

static const char *const sizes[LV_SIZE_NB] = { "small |little |tiny ", "",
                                               "large |big |huge |giant " };
static const char *const numbers[LV_MAX_COUNT] = {
    "", "two |2 |a pair of |a couple of ", "three |3 ", "four |4 ", "five |5 ", "six |6 ",
};
static const char *const fills[LV_FILL_NB] = {
    "", "outlined |hollow ", "striped ", "dotted |spotted ", "glossy |shiny ",
};
static const char *const shapes[LV_SHAPE_NB] = {
    [LV_CIRCLE] = "disc|ball|dot", [LV_SQUARE] = "box|block", [LV_STAR] = "five-pointed star",
    [LV_RING] = "hoop", [LV_CROSS] = "plus sign", [LV_HEART] = "love heart",
    [LV_DIAMOND] = "rhombus",
};
static const char *const moves[LV_MOVE_NB] = {
    [LV_LEFT] = "moving left|moving to the left|sliding left|going left|"
                "moving from right to left|drifting left|passing by to the left",
    [LV_RIGHT] = "moving right|moving to the right|sliding right|going right|"
                 "moving from left to right|drifting right|passing by",
    [LV_UP] = "moving up|rising|going up|flying up|moving upwards",
    [LV_DOWN] = "moving down|falling|sinking|going down|coming down",
    [LV_CIRCLING] = "moving in ~ circle|circling|going round in circles|flying in circles",
    [LV_BOUNCING] = "bouncing|jumping|hopping|bouncing up and down|jumping up and down",
    [LV_SPINNING] = "spinning|rotating|turning|turning around|spinning around",
    [LV_GROWING] = "growing|getting bigger|growing larger|coming closer",
    [LV_SHRINKING] = "shrinking|getting smaller|becoming smaller|going away",
    [LV_PULSING] = "pulsing|pulsating|beating|throbbing",
    [LV_STILL] = "standing still|at rest|not moving|staying still",
    [LV_MOVE_SWINGING] = "swinging|swinging to and fro|dangling|swaying",
    [LV_MOVE_FLOATING] = "floating|hovering|bobbing up and down|floating in the air",
    [LV_MOVE_SHAKING] = "shaking|trembling|wobbling|vibrating",
    [LV_MOVE_ROLLING_LEFT] = "rolling left|rolling to the left",
    [LV_MOVE_ROLLING_RIGHT] = "rolling right|rolling to the right|rolling along|rolling",
    [LV_MOVE_ZIGZAG] = "moving in ~ zigzag|zigzagging|flying in ~ zigzag",
    [LV_MOVE_FADING] = "fading in|appearing|slowly appearing",
};
static const char *const places[LV_PLACE_NB] = {
    [LV_PLACE_LEFT] = " on the left| on the left side| at the left",
    [LV_PLACE_RIGHT] = " on the right| on the right side| at the right",
    [LV_PLACE_TOP] = " at the top| in the upper part| above",
    [LV_PLACE_BOTTOM] = " at the bottom| in the lower part| below",
    [LV_PLACE_MIDDLE] = " in the middle| in the centre| in the center",
};
static const char *const cameras[LV_CAMERA_NB] = {
    [LV_CAMERA_ZOOM_IN] = ", camera zooming in|, zoom in|, slow zoom in|, the camera moves closer",
    [LV_CAMERA_ZOOM_OUT] = ", camera zooming out|, zoom out|, the camera moves away",
    [LV_CAMERA_PAN_LEFT] = ", camera panning left|, pan left|, the camera moves left",
    [LV_CAMERA_PAN_RIGHT] = ", camera panning right|, pan right|, the camera moves right",
};
static const char *const tones[LV_TONE_NB] = {
    [LV_TONE_DARK] = ", dark|, in the dark|, dim light|, dark mood",
    [LV_TONE_LIGHT] = ", light|, pale|, bright and airy|, faded colours",
    [LV_TONE_WARM] = ", warm|, warm light|, warm colours|, golden hour",
    [LV_TONE_COLD] = ", cold|, cold light|, cool colours|, icy",
};
static const char *const paces[LV_PACE_NB] = {
    [LV_PACE_SLOW] = " slowly| in slow motion| gently|, slow",
    [LV_PACE_FAST] = " fast| quickly| rapidly|, fast",
};
static const char *const sides[4] = { "left", "right", "up", "down" };
static const char *const origins[4] = { "from the left", "from the right", "from the top",
                                        "from the bottom" };

/* Sentences: actors on a ground; an effect over one; both; an effect alone. */
static const char actors_rule[] = "$A on $G|$A on $G|$A over $G|$A, $G|$A in front of $G|"
                                  "$G with $A|$A on $G|$A";
static const char over_rule[] = "$F on $G|$F over $G|$F, $G|$G with $F|$F on $G|$F";
static const char both_rule[] = "$A on $G with $F|$F and $A on $G|$A with $F on $G|"
                                "$A and $F on $G";
static const char before_rule[] = "$A in front of $F|$A with $F behind|$A on $F|$A and $F|"
                                  "$F with $A";
static const char alone_rule[] = "$F|$F|$F|$F, animation|$F, loop|$F, video background";
static const char empty_rule[] = "$G";
static const char title_rule[] = "a video of |an animation of |video of |a clip of |footage of ";

/* Words of parts */

static void put_hue(LvWriter *w, LvHue h)
{
    char digits[16];

    if (h.tint >= 0) {
        lv_write_name(w, lv_tint_name(h.tint), lv_tint_others(h.tint));
        return;
    }
    snprintf(digits, sizeof(digits), "#%06x", (unsigned)h.rgb);
    lv_write_first(w, digits);
}

/* "red ", "red and blue ", "red, white and blue ". */
static void put_hues(LvWriter *w, const LvReel *r)
{
    for (int i = 0; r->named && i < r->hues; i++) {
        if (i && i == r->hues - 1)
            lv_write_first(w, "and ");
        put_hue(w, r->hue[i]);
        lv_write_first(w, i < r->hues - 2 ? ", " : " ");
    }
}

static const LvLook *look_of(const LvReel *r)
{
    return r->has_over ? &r->over : &r->effect;
}

static void put_effect(LvWriter *w, const LvReel *r)
{
    const LvLook *l = look_of(r);

    if (r->amount)
        lv_write(w, r->amount > 0 ? many : few);
    lv_write(w, effects[l->effect]);
    if (r->pace && !r->actors)
        lv_write(w, paces[r->pace]);
}

static void put_thing(LvWriter *w, const LvActor *a)
{
    char one[LV_THING_NAME_SIZE], more[LV_THING_NAME_SIZE];
    const char *names = a->thing < 0 ? lv_shape_name(a->shape) : lv_thing(a->thing)->names;
    const char *others = a->thing < 0 ? shapes[a->shape] : strchr(names, '|');
    LvWriter inner = *w;

    inner.buf     = one;
    inner.at      = 0;
    inner.article = 0;
    inner.room    = sizeof(one) - 1;
    snprintf(more, sizeof(more), "%.*s", (int)strcspn(names, "|"), names);
    lv_write_name(&inner, more, others && *others == '|' ? others + 1 : others);
    one[inner.at] = '\0';
    w->dice = inner.dice;
    if (a->count > 1)
        lv_thing_plural(more, sizeof(more), one);
    lv_write_first(w, a->count > 1 ? more : one);
}

/* "jeans", "green leaves". Whether other names of the thing are alike is not asked. */
static int has_no_article(const LvActor *a)
{
    return a->thing >= 0 && lv_thing_is_many(a->thing);
}

/* "a small red dog jumping on the left" */
static void put_actor(LvWriter *w, const LvReel *r, const LvActor *a)
{
    int silent = !w->plain && a->move == LV_STILL && lv_roll(&w->dice) % 2;

    lv_write_first(w, a->count > 1 || has_no_article(a) ? "" : "~ ");
    lv_write(w, numbers[a->count - 1]);
    lv_write(w, sizes[a->size]);
    if (a->thing < 0)
        lv_write(w, fills[a->fill]);
    if (a->tinted) {
        put_hue(w, a->hue);
        lv_write_first(w, " ");
    }
    put_thing(w, a);
    if (a->shadow && lv_write_choose(w, 3) == 0)
        lv_write(w, " with ~ shadow| with ~ soft shadow");
    if (!silent) {
        lv_write_first(w, " ");
        lv_write(w, moves[a->move]);
        if (r->pace && a->move != LV_STILL && a->move != LV_MOVE_FADING)
            lv_write(w, paces[r->pace]);
    }
    if (places[a->place])
        lv_write(w, places[a->place]);
}

static void put_actors(LvWriter *w, const LvReel *r)
{
    for (int i = 0; i < r->actors; i++) {
        if (i)
            lv_write(w, " and | and |, ");
        put_actor(w, r, &r->actor[i]);
    }
}

static void put_symbol(LvWriter *w, char symbol)
{
    const LvReel *r = w->opaque;

    switch (symbol) {
    case 'G': lv_write(w, grounds[r->ground]); break;
    case 'g': put_hue(w, r->back); break;
    case 'e': put_hue(w, r->back2); break;
    case 'A': put_actors(w, r); break;
    case 'F': put_effect(w, r); break;
    case 'h': put_hues(w, r); break;
    case 'd': lv_write_first(w, sides[look_of(r)->direction]); break;
    case 'o': lv_write_first(w, origins[look_of(r)->direction]); break;
    }
}

static const char *sentence(const LvReel *r)
{
    if (r->ground == LV_GROUND_EFFECT)
        return r->actors ? before_rule : alone_rule;
    if (r->has_over)
        return r->actors ? both_rule : over_rule;
    return r->actors ? actors_rule : empty_rule;
}

/* One letter of a word left out, doubled or exchanged with the next. */
static void slip(char *buf, size_t size, uint32_t r)
{
    size_t n = strlen(buf), at = r % LV_MAX(n, 1);
    char c;

    if (n < 8 || n + 2 > size || !isalpha((unsigned char)buf[at]) ||
        !isalpha((unsigned char)buf[at + 1]))
        return;
    switch (r >> 16 & 3) {
    case 0: memmove(buf + at, buf + at + 1, n - at); break;
    case 1: memmove(buf + at + 1, buf + at, n - at + 1); break;
    default:
        c = buf[at];
        buf[at] = buf[at + 1];
        buf[at + 1] = c;
    }
}

static void write_caption(LvWriter *w, const LvReel *r)
{
    const char *rule = sentence(r);
    uint32_t dress = w->plain ? 99 : lv_roll(&w->dice) % 64;

    w->room--;
    if (dress < 5)
        lv_write(w, title_rule);
    lv_write(w, rule);
    if (cameras[r->camera])
        lv_write(w, cameras[r->camera]);
    if (tones[r->tone])
        lv_write(w, tones[r->tone]);
    if (dress >= 5 && dress < 9)
        lv_write_first(w, ".");
    w->buf[w->at] = '\0';
    if (dress >= 7 && dress < 13)
        w->buf[0] = (char)toupper((unsigned char)w->buf[0]);
    if (dress >= 60 && dress < 64)
        slip(w->buf, w->room, lv_roll(&w->dice));
}

void lv_reel_caption(char *buf, size_t size, const LvReel *r, uint64_t seed, uint64_t index)
{
    LvWriter w = { .buf = buf, .room = size, .symbol = put_symbol, .opaque = r,
                   .dice = lv_dice(seed, index, LV_DICE_REEL_CAPTION) };

    write_caption(&w, r);
}

void lv_reel_caption_plain(char *buf, size_t size, const LvReel *r)
{
    LvWriter w = { .buf = buf, .room = size, .symbol = put_symbol, .opaque = r,
                   .plain = 1 };

    write_caption(&w, r);
}

static void add_all(LvWordList *w)
{
    lv_words_add(w, "a|an");
    for (int i = 0; i < lv_tints(); i++) {
        lv_words_add(w, lv_tint_name(i));
        lv_words_add(w, lv_tint_others(i));
    }
    for (int i = 0; i < LV_SHAPE_NB; i++)
        lv_words_add(w, lv_shape_name((LvShape)i));
    for (int i = 0; i < lv_things(); i++)
        lv_words_add(w, lv_thing(i)->names);
#define ADD(table) lv_words_add_all(w, table, LV_COUNT(table))
    ADD(effects);
    ADD(grounds);
    ADD(sizes);
    ADD(numbers);
    ADD(fills);
    ADD(shapes);
    ADD(moves);
    ADD(places);
    ADD(cameras);
    ADD(tones);
    ADD(paces);
    ADD(sides);
    ADD(origins);
#undef ADD
    lv_words_add(w, few);
    lv_words_add(w, many);
    lv_words_add(w, both_rule);
    lv_words_add(w, before_rule);
    lv_words_add(w, alone_rule);
    lv_words_add(w, title_rule);
}

int lv_reel_words(char *buf, size_t size)
{
    LvWordList w = { .nb = 0 };

    add_all(&w);
    return lv_words_print(&w, buf, size);
}

const char *lv_effect_name(LvEffect effect)
{
    static const char *const names[LV_FX_NB] = {
        "snow", "rain", "confetti", "particles", "fireworks", "bubbles", "leaves", "petals",
        "sparks", "ribbons", "smoke", "fog", "light leaks", "lightning", "bokeh", "clouds",
        "fire", "water", "caustics", "rain on glass", "aurora", "starfield", "warp", "galaxy",
        "ink", "paper", "plasma", "liquid", "grid", "tunnel", "hills", "skyline",
        "sunset waves", "wipe", "countdown", "bars", "rays", "rings", "mosaic",
    };

    return names[effect];
}
