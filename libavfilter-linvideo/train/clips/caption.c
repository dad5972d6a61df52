/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/clips/caption.h"

#include <ctype.h>
#include "base/common.h"
#include "train/clips/grammar.h"

/* Words. Names in scene.c come first and are not repeated here. */

static const char *const more_shapes[LV_SHAPE_NB] = {
    [LV_CIRCLE] = "disc|ball|dot|disk", [LV_SQUARE] = "box|block",
    [LV_STAR] = "five-pointed star", [LV_RING] = "hoop|donut",
    [LV_CROSS] = "plus sign|plus", [LV_HEART] = "love heart",
    [LV_DIAMOND] = "rhombus|lozenge",
};

static const char *const more_colors[LV_COLOR_NB] = {
    [LV_RED] = "bright red", [LV_CYAN] = "turquoise|aqua", [LV_PURPLE] = "violet",
    [LV_GREY] = "gray",
};

static const char *const sizes[LV_SIZE_NB] = {
    "small |little |tiny ", "||medium-sized ", "large |big |huge ",
};

/* as in "a circle ..." */
static const char *const moving[LV_MOTION_NB] = {
    "moving left|moving to the left|sliding left|sliding to the left|"
    "gliding to the left|moving from right to left|travelling left|going left|drifting left",
    "moving right|moving to the right|sliding right|sliding to the right|"
    "gliding to the right|moving from left to right|travelling right|going right|"
    "drifting right",
    "moving up|moving upwards|rising|sliding up|floating up|going up",
    "moving down|moving downwards|sinking|sliding down|going down|descending",
    "moving in a circle|circling|going round in circles|moving around in a circle|"
    "going in circles|orbiting the centre",
    "bouncing|bouncing up and down|jumping up and down|hopping|bouncing on the floor",
    "spinning|rotating|turning|spinning around|turning around|whirling",
    "growing|getting bigger|growing larger|becoming bigger|expanding|getting larger",
    "shrinking|getting smaller|becoming smaller|growing smaller|contracting",
    "pulsing|pulsating|throbbing|beating|growing and shrinking",
    "standing still|staying still|not moving|resting|at rest|holding still",
};

/* as in "a circle that ..." */
static const char *const moves[LV_MOTION_NB] = {
    "moves left|moves to the left|slides left|slides to the left|glides to the left|"
    "moves from right to left|travels left|goes left|drifts left",
    "moves right|moves to the right|slides right|slides to the right|"
    "glides to the right|moves from left to right|travels right|goes right|drifts right",
    "moves up|moves upwards|rises|slides up|floats up|goes up",
    "moves down|moves downwards|sinks|slides down|goes down|descends",
    "moves in a circle|circles|goes round in circles|moves around in a circle|"
    "goes in circles|orbits the centre",
    "bounces|bounces up and down|jumps up and down|hops|bounces on the floor",
    "spins|rotates|turns|spins around|turns around|whirls",
    "grows|gets bigger|grows larger|becomes bigger|expands|gets larger",
    "shrinks|gets smaller|becomes smaller|grows smaller|contracts",
    "pulses|pulsates|throbs|beats|grows and shrinks",
    "stands still|stays still|does not move|rests|is at rest|holds still",
};

/* as in "a ... circle" */
static const char *const adjectives[LV_MOTION_NB] = {
    [LV_UP] = "rising", [LV_DOWN] = "sinking", [LV_CIRCLING] = "circling",
    [LV_BOUNCING] = "bouncing|hopping|jumping", [LV_SPINNING] = "spinning|rotating",
    [LV_GROWING] = "growing|expanding", [LV_SHRINKING] = "shrinking",
    [LV_PULSING] = "pulsing|pulsating|throbbing", [LV_STILL] = "still|motionless",
};

static const char *const backs[LV_PATTERN_NB] = {
    "$b background|$b backdrop|plain $b background|solid $b background",
    "$b gradient background|$b gradient|soft $b gradient|$b gradient backdrop|"
    "shaded $b background",
    "$b to $e gradient background|gradient from $b to $e|$b to $e gradient|"
    "gradient background from $b to $e|$b and $e gradient background",
    "striped $b background|$b striped background|$b background with stripes|"
    "striped $b backdrop",
    "checkered $b background|$b checkered background|$b checkerboard|"
    "checkered $b backdrop|$b checkerboard background",
};

static const char *const sides[LV_SIDE_NB] = { "left", "right", "top", "bottom" };

/* Sentences */

static const char object_rule[] =
    "~ $N $m on ~ $B|~ $N $m on ~ $B|~ $N that $v on ~ $B|~ $N $v on ~ $B|"
    "~ $N $m over ~ $B|~ $N is $m on ~ $B|$N $m, $B|$N $m on ~ $B|"
    "~ $N $m in front of ~ $B|"
    "~ $B with ~ $N $m|~ $B and ~ $N $m|$B, ~ $N $m|on ~ $B, ~ $N $v|~ $N, $m, on ~ $B|"
    "~ $B where ~ $N $v|$N on $B, $m|~ $N $m";

/* used as well where a motion has an adjective, or the background one word */
static const char adjective_rule[] =
    "~ $a $N on ~ $B|~ $s$a $c $h on ~ $B|$a $c $h, $B|~ $B with ~ $a $N|~ $a $N";
static const char still_rule[] = "~ $N on ~ $B|$N on ~ $B|~ $B with ~ $N|~ $N";
static const char short_rule[] =
    "~ $N $m on $b|~ $N, $m, on $b|$N $m, on $b|~ $N $v on $b";

static const char *const material_rules[LV_SCENE_NB] = {
    [LV_SCENE_SNOW] =
        "$c snow falling on ~ $B|$c snow falls on ~ $B|$c snowflakes falling over ~ $B|"
        "falling $c snow, $B|$c snow falling gently on ~ $B|~ $B with $c snow falling|"
        "snow in $c falling on ~ $B|gentle $c snowfall on ~ $B|$c snow on ~ $B|"
        "$B, falling $c snow|$c snow falling",
    [LV_SCENE_RAIN] =
        "$c rain falling on ~ $B|$c rain falls on ~ $B|$c raindrops falling on ~ $B|"
        "falling $c rain, $B|~ $B with $c rain falling|$c rain on ~ $B|"
        "$c rain pouring down over ~ $B|it rains $c drops on ~ $B|$B, $c rain|"
        "$c rain falling",
    [LV_SCENE_STARS] =
        "$c stars flying on ~ $B|$c stars flying towards us on ~ $B|"
        "flying through $c stars on ~ $B|$c stars fly out of the centre of ~ $B|"
        "~ $c star field on ~ $B|~ $B with flying $c stars|flying $c stars, $B|"
        "~ flight through $c stars, $B|$c stars flying by on ~ $B|$c stars flying",
    [LV_SCENE_WAVES] =
        "$c waves on ~ $B|moving $c waves on ~ $B|$c waves rolling on ~ $B|"
        "flowing $c waves, $B|~ $B with $c waves|$c waves moving over ~ $B|"
        "gentle $c waves on ~ $B|$c ocean waves on ~ $B|$B, $c waves|$c waves",
    [LV_SCENE_LIGHTS] =
        "$c soft lights on ~ $B|soft $c lights on ~ $B|soft $c lights drifting on ~ $B|"
        "blurred $c lights floating over ~ $B|$c bokeh lights on ~ $B|$c bokeh, $B|"
        "glowing $c lights on ~ $B|~ $B with soft $c lights|$B, soft $c lights|"
        "soft $c lights",
    [LV_SCENE_GRADIENT] =
        "a slow gradient of $c and $b|a slow gradient of $b and $c|"
        "a slowly moving gradient from $c to $b|~ $c and $b gradient, slowly moving|"
        "slow gradient between $b and $c|$c and $b flowing slowly into each other|"
        "an animated gradient of $c and $b|~ $b and $c moving gradient|"
        "~ moving $c and $b gradient",
    [LV_SCENE_WIPE] =
        "~ $c wipe from the $w over ~ $B|$c wiping over ~ $B from the $w|"
        "$c wipes over $b from the $w|$c sweeps over ~ $B from the $w|"
        "~ wipe from $b to $c, coming from the $w|$c covers ~ $B from the $w|"
        "~ $B wiped by $c from the $w|~ $B is covered by $c from the $w|"
        "~ wipe to $c from the $w over ~ $B",
    [LV_SCENE_CONFETTI] =
        "colorful confetti falling on ~ $B|colourful confetti falling on ~ $B|"
        "confetti falling on ~ $B|confetti raining down on ~ $B|colorful confetti, $B|"
        "~ $B with falling confetti|confetti over ~ $B|$B, colourful confetti falling|"
        "party confetti falling on ~ $B|colorful confetti falling",
};

/* before the first alternative of a sentence, now and then */
static const char title_rule[] = "a video of |an animation of |animation of |video of ";

/* Writing */

static void put_color(LvWriter *w, LvColor color)
{
    lv_write_name(w, lv_color_name(color), more_colors[color]);
}

static void expand_symbol(LvWriter *w, char symbol)
{
    const LvScene *s = w->opaque;

    switch (symbol) {
    case 'N': lv_write(w, "$s$c $h"); break;
    case 'B': lv_write(w, backs[s->pattern]); break;
    case 's': lv_write(w, sizes[s->size]); break;
    case 'c': put_color(w, s->color); break;
    case 'h': lv_write_name(w, lv_shape_name(s->shape), more_shapes[s->shape]); break;
    case 'm': lv_write(w, moving[s->motion]); break;
    case 'v': lv_write(w, moves[s->motion]); break;
    case 'a': lv_write(w, adjectives[s->motion]); break;
    case 'b': put_color(w, s->back); break;
    case 'e': put_color(w, s->back2); break;
    case 'w': lv_write(w, sides[s->side]); break;
    }
}

/* Which sentences say it. */
static const char *sentences(LvWriter *w)
{
    const LvScene *s = w->opaque;
    int kind = w->plain ? 0 : lv_roll(&w->dice) % 20;

    if (s->kind != LV_SCENE_OBJECT)
        return material_rules[s->kind];
    if (kind >= 19 && s->pattern == LV_PLAIN)
        return short_rule;
    if (kind >= 16 && adjectives[s->motion])
        return adjective_rule;
    if (kind >= 14 && s->motion == LV_STILL)
        return still_rule;
    return object_rule;
}

static void write_caption(LvWriter *w)
{
    const char *rule = sentences(w);
    int dressed = w->plain ? 0 : lv_roll(&w->dice) % 16;

    w->room--;
    if (dressed == 3) {
        lv_write(w, title_rule);
        lv_write_first(w, rule);
    } else {
        lv_write(w, rule);
    }
    if (dressed == 1)
        lv_write_first(w, ".");
    w->buf[w->at] = '\0';
    if (dressed == 1 || dressed == 2)
        w->buf[0] = (char)toupper((unsigned char)w->buf[0]);
}

void lv_caption_write(char *buf, size_t size, const LvScene *s, uint64_t seed,
                      uint64_t index)
{
    LvWriter w = { .buf = buf, .room = size, .symbol = expand_symbol, .opaque = s,
                   .dice = lv_dice(seed, index, LV_DICE_CAPTION) };

    write_caption(&w);
}

void lv_caption_plain(char *buf, size_t size, const LvScene *s)
{
    LvWriter w = { .buf = buf, .room = size, .symbol = expand_symbol, .opaque = s,
                   .plain = 1 };

    write_caption(&w);
}

/* All words */

static void add_all(LvWordList *w)
{
    lv_words_add(w, "a|an");
    for (int i = 0; i < LV_COLOR_NB; i++)
        lv_words_add(w, lv_color_name(i));
    for (int i = 0; i < LV_SHAPE_NB; i++)
        lv_words_add(w, lv_shape_name(i));
#define ADD(table) lv_words_add_all(w, table, LV_COUNT(table))
    ADD(more_shapes);
    ADD(more_colors);
    ADD(sizes);
    ADD(moving);
    ADD(moves);
    ADD(adjectives);
    ADD(backs);
    ADD(sides);
    ADD(material_rules);
#undef ADD
    lv_words_add(w, object_rule);
    lv_words_add(w, adjective_rule);
    lv_words_add(w, still_rule);
    lv_words_add(w, short_rule);
    lv_words_add(w, title_rule);
}

int lv_caption_words(char *buf, size_t size)
{
    LvWordList w = { .nb = 0 };

    add_all(&w);
    return lv_words_print(&w, buf, size);
}
