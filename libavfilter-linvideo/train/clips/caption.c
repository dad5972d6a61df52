/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A grammar of rules. A rule is alternatives parted by |, the plainest first. In one,
 * $ and a letter stand for another rule or a word of the scene, ~ for the article
 * that fits what follows.
 */

#include "train/clips/caption.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"

/* Last word of the counter, apart from those of scene.c. */
#define USE_CAPTION 3

typedef struct Writer {
    char *buf;
    size_t at, room;   ///< room without the final NUL
    int article;       ///< an "a" was written that may have to become "an"
    int plain;         ///< always the first alternative
    const LvScene *scene;
    uint32_t key[2], ctr[4], word[4];
    int used;          ///< of word
} Writer;

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

static uint32_t next_word(Writer *w)
{
    if (w->used == 4) {
        lv_philox(w->word, w->ctr, w->key);
        w->ctr[2]++;
        w->used = 0;
    }
    return w->word[w->used++];
}

/* One of n; the first as often again as it falls to it. */
static int choose(Writer *w, int n)
{
    uint32_t r;

    if (w->plain || n < 2)
        return 0;
    r = next_word(w);
    return r % 8 < 2 ? 0 : (int)((uint64_t)(r >> 3) * (uint32_t)n >> 29);
}

static void put(Writer *w, char c)
{
    if (w->article && c != ' ') {
        w->article = 0;
        if (strchr("aeiou", c)) {
            w->at--;
            put(w, 'n');
            put(w, ' ');
        }
    }
    if (w->at < w->room)
        w->buf[w->at++] = c;
}

static const char *alternative(const char *rule, int i)
{
    while (i--)
        rule = strchr(rule, '|') + 1;
    return rule;
}

static int alternatives(const char *rule)
{
    int n = 1;

    while ((rule = strchr(rule, '|'))) {
        rule++;
        n++;
    }
    return n;
}

static void expand(Writer *w, const char *rule);

/* A name, or one of some other words for it (NULL: none). */
static void put_name(Writer *w, const char *name, const char *others)
{
    int i = others ? choose(w, 1 + alternatives(others)) : 0;

    expand(w, i ? alternative(others, i - 1) : name);
}

static void put_color(Writer *w, LvColor color)
{
    put_name(w, lv_color_name(color), more_colors[color]);
}

static void expand_symbol(Writer *w, char symbol)
{
    const LvScene *s = w->scene;

    switch (symbol) {
    case 'N': expand(w, "$s$c $h"); break;
    case 'B': expand(w, backs[s->pattern]); break;
    case 's': expand(w, sizes[s->size]); break;
    case 'c': put_color(w, s->color); break;
    case 'h': put_name(w, lv_shape_name(s->shape), more_shapes[s->shape]); break;
    case 'm': expand(w, moving[s->motion]); break;
    case 'v': expand(w, moves[s->motion]); break;
    case 'a': expand(w, adjectives[s->motion]); break;
    case 'b': put_color(w, s->back); break;
    case 'e': put_color(w, s->back2); break;
    case 'w': expand(w, sides[s->side]); break;
    }
}

/* A rule's first alternative. */
static void expand_first(Writer *w, const char *rule)
{
    for (; *rule && *rule != '|'; rule++) {
        if (*rule == '$') {
            expand_symbol(w, *++rule);
        } else if (*rule == '~') {
            put(w, 'a');
            put(w, ' ');
            w->article = 1;
            rule++;
        } else {
            put(w, *rule);
        }
    }
}

static void expand(Writer *w, const char *rule)
{
    expand_first(w, alternative(rule, choose(w, alternatives(rule))));
}

/* Which sentences say it. */
static const char *sentences(Writer *w)
{
    const LvScene *s = w->scene;
    int kind = w->plain ? 0 : next_word(w) % 20;

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

static void write_caption(Writer *w)
{
    const char *rule = sentences(w);
    int dressed = w->plain ? 0 : next_word(w) % 16;

    w->room--;
    if (dressed == 3) {
        expand(w, title_rule);
        expand_first(w, rule);
    } else {
        expand(w, rule);
    }
    if (dressed == 1)
        put(w, '.');
    w->buf[w->at] = '\0';
    if (dressed == 1 || dressed == 2)
        w->buf[0] = (char)toupper((unsigned char)w->buf[0]);
}

void lv_caption_write(char *buf, size_t size, const LvScene *s, uint64_t seed,
                      uint64_t index)
{
    Writer w = { .buf = buf, .room = size, .scene = s, .used = 4,
                 .key = { (uint32_t)seed, (uint32_t)(seed >> 32) },
                 .ctr = { (uint32_t)index, (uint32_t)(index >> 32), 0, USE_CAPTION } };

    write_caption(&w);
}

void lv_caption_plain(char *buf, size_t size, const LvScene *s)
{
    Writer w = { .buf = buf, .room = size, .scene = s, .used = 4, .plain = 1 };

    write_caption(&w);
}

/* All words */

enum { MAX_WORDS = 512 };

typedef struct Words {
    struct { const char *s; int n; } list[MAX_WORDS];
    int nb;
} Words;

static int is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static void add_word(Words *w, const char *s, int n)
{
    for (int i = 0; i < w->nb; i++)
        if (w->list[i].n == n && !memcmp(w->list[i].s, s, (size_t)n))
            return;
    if (w->nb < MAX_WORDS) {
        w->list[w->nb].s   = s;
        w->list[w->nb++].n = n;
    }
}

static void add_rule(Words *w, const char *rule)
{
    for (int n; rule && *rule; rule += n) {
        n = *rule == '$' ? 2 : 1;
        if (!is_letter(*rule))
            continue;
        for (n = 1; is_letter(rule[n]);)
            n++;
        add_word(w, rule, n);
    }
}

static void add_rules(Words *w, const char *const *rules, int nb)
{
    for (int i = 0; i < nb; i++)
        add_rule(w, rules[i]);
}

static void add_all(Words *w)
{
    add_rule(w, "a|an");
    for (int i = 0; i < LV_COLOR_NB; i++)
        add_rule(w, lv_color_name(i));
    for (int i = 0; i < LV_SHAPE_NB; i++)
        add_rule(w, lv_shape_name(i));
#define ADD(table) add_rules(w, table, LV_COUNT(table))
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
    add_rule(w, object_rule);
    add_rule(w, adjective_rule);
    add_rule(w, still_rule);
    add_rule(w, short_rule);
    add_rule(w, title_rule);
}

static int by_letters(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;

    while (is_letter(*x) && *x == *y) {
        x++;
        y++;
    }
    return (is_letter(*x) ? *x : 0) - (is_letter(*y) ? *y : 0);
}

int lv_caption_words(char *buf, size_t size)
{
    Words w = { .nb = 0 };
    size_t at = 0;

    add_all(&w);
    qsort(w.list, (size_t)w.nb, sizeof(*w.list), by_letters);
    for (int i = 0; i < w.nb && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%.*s", i ? " " : "", w.list[i].n,
                               w.list[i].s);
    return at < size ? (int)at : -1;
}
