/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/tint.h"

#include <stdio.h>

#include "base/common.h"

static const struct {
    const char *name, *others;
    uint32_t rgb;
} tints[] = {
    { "red", "bright red|pure red", 0xDB1A1F },
    { "crimson", "deep red", 0xA8122E },
    { "scarlet", NULL, 0xF5321C },
    { "maroon", "dark red|burgundy|wine red", 0x6B1020 },
    { "coral", NULL, 0xFF7A62 },
    { "salmon", NULL, 0xF9937C },
    { "orange", "bright orange", 0xFA870F },
    { "dark orange", "burnt orange", 0xE06500 },
    { "amber", NULL, 0xFFB000 },
    { "gold", "golden", 0xDDA520 },
    { "yellow", "bright yellow", 0xFAE024 },
    { "lemon yellow", "pale yellow|light yellow", 0xFFF45A },
    { "mustard", "dark yellow", 0xC9A21A },
    { "lime", "lime green|yellow-green", 0xA6E22E },
    { "green", "grass green", 0x1F9E33 },
    { "dark green", "forest green|deep green", 0x0E5A22 },
    { "light green", "pale green", 0x8BDC8B },
    { "mint", "mint green", 0x9FE8C5 },
    { "emerald", "emerald green", 0x12A86B },
    { "olive", "olive green", 0x76801F },
    { "teal", "dark cyan", 0x0E8380 },
    { "cyan", "aqua|bright cyan", 0x26CCDB },
    { "turquoise", NULL, 0x36D6C3 },
    { "sky blue", "light blue|pale blue|baby blue", 0x74BDF4 },
    { "blue", "bright blue", 0x1F42DB },
    { "royal blue", "cobalt blue", 0x3A5FE8 },
    { "dark blue", "deep blue", 0x13256E },
    { "navy", "navy blue|midnight blue", 0x101B44 },
    { "steel blue", "grey blue", 0x4B7DA8 },
    { "indigo", NULL, 0x3F1F9E },
    { "purple", NULL, 0x8024AD },
    { "violet", "bright purple", 0x8F4BE0 },
    { "dark purple", "deep purple|plum", 0x44125F },
    { "lavender", "light purple|lilac", 0xB9A1EA },
    { "magenta", "fuchsia", 0xE01ABF },
    { "hot pink", "bright pink|neon pink", 0xFF3E96 },
    { "pink", NULL, 0xFA8CBF },
    { "light pink", "pale pink|baby pink", 0xFFC6DA },
    { "rose", "dusty pink", 0xE0567F },
    { "peach", NULL, 0xFFC49B },
    { "brown", NULL, 0x73421C },
    { "dark brown", "chocolate brown", 0x43260F },
    { "tan", "light brown", 0xC69C6D },
    { "beige", "sand|sand-coloured", 0xE3D2AE },
    { "cream", "ivory|off-white", 0xFBF1D3 },
    { "white", "pure white", 0xF7F7F7 },
    { "silver", "light grey|light gray", 0xC4C8CE },
    { "grey", "gray", 0x808080 },
    { "dark grey", "charcoal|dark gray|slate", 0x474B51 },
    { "black", "pure black", 0x0D0D0D },
    { "neon green", NULL, 0x39FF4A },
    { "neon blue", "electric blue", 0x1FA2FF },
};

int lv_tints(void)
{
    return LV_COUNT(tints);
}

const char *lv_tint_name(int i)
{
    return tints[i].name;
}

const char *lv_tint_others(int i)
{
    return tints[i].others;
}

void lv_tint_rgb(float rgb[3], uint32_t hex)
{
    for (int c = 0; c < 3; c++)
        rgb[c] = (float)(hex >> (16 - 8 * c) & 255) / 255.0f;
}

uint32_t lv_tint_hex(int i)
{
    return tints[i].rgb;
}
