/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/art.h"

#include <stdlib.h>

#include "base/common.h"
#include "train/reel/things.h"

#include "config.h"

#if HAVE_FREETYPE
#include <ft2build.h>
#include FT_FREETYPE_H
#endif

struct LvArt {
    LvPicture *picture;  /* [lv_things()] */
};

const LvPicture *lv_art_picture(const LvArt *art, int i)
{
    return &art->picture[i];
}

void lv_art_close(LvArt **out)
{
    LvArt *art = *out;

    if (!art)
        return;
    for (int i = 0; art->picture && i < lv_things(); i++)
        for (int k = 0; k < LV_ART_LEVELS; k++)
            free(art->picture[i].level[k].rgba);
    free(art->picture);
    free(art);
    *out = NULL;
}

#if HAVE_FREETYPE

static int new_level(LvArtLevel *l, int width, int height)
{
    l->rgba   = calloc((size_t)width * (size_t)height, 4);
    l->width  = width;
    l->height = height;
    return l->rgba ? 0 : LV_ERR(ENOMEM);
}

/* Mean of four pixels each. */
static int halve(LvArtLevel *to, const LvArtLevel *from)
{
    size_t row = 4 * (size_t)from->width;
    int ret = new_level(to, LV_MAX(from->width / 2, 1), LV_MAX(from->height / 2, 1));

    for (int y = 0; y < to->height && ret >= 0; y++)
        for (int x = 0; x < 4 * to->width; x++) {
            const uint8_t *s = from->rgba + 2 * (size_t)y * row + 8 * (x / 4) + x % 4;
            to->rgba[4 * (size_t)y * (size_t)to->width + (size_t)x] =
                (uint8_t)((s[0] + s[4] + s[row] + s[row + 4] + 2) / 4);
        }
    return ret;
}

static int take_bitmap(LvPicture *p, const FT_Bitmap *b)
{
    static const int order[] = { 2, 1, 0, 3 };
    LvArtLevel *l = &p->level[0];
    int ret = new_level(l, (int)b->width, (int)b->rows);

    for (int y = 0; y < l->height && ret >= 0; y++)
        for (int x = 0; x < 4 * l->width; x++)
            l->rgba[4 * (size_t)y * (size_t)l->width + (size_t)x] =
                b->buffer[y * b->pitch + x / 4 * 4 + order[x % 4]];
    for (int k = 1; k < LV_ART_LEVELS && ret >= 0; k++)
        ret = halve(&p->level[k], &p->level[k - 1]);
    return ret;
}

static int load_thing(LvArt *art, FT_Face face, int i, const char *path, const LvMsg *msg)
{
    const LvThing *t = lv_thing(i);
    FT_UInt glyph = FT_Get_Char_Index(face, t->character);

    if (!glyph || FT_Load_Glyph(face, glyph, FT_LOAD_COLOR) ||
        face->glyph->bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || face->glyph->bitmap.rows < 32)
        return lv_fail(msg, LV_ERR_MODEL, "%s: no colour image of U+%04X (%s); expected "
                       "NotoColorEmoji.ttf of version 2.038 or later", path,
                       (unsigned)t->character, t->names);
    return take_bitmap(&art->picture[i], &face->glyph->bitmap);
}

static int load_all(LvArt *art, FT_Library lib, const char *path, const LvMsg *msg)
{
    FT_Face face;
    int ret = 0;

    if (FT_New_Face(lib, path, 0, &face))
        return lv_fail(msg, LV_ERR_MODEL, "%s: not a font that FreeType reads", path);
    if (!FT_HAS_COLOR(face) || face->num_fixed_sizes < 1 || FT_Select_Size(face, 0))
        ret = lv_fail(msg, LV_ERR_MODEL, "%s: a font without colour bitmaps; expected "
                      "NotoColorEmoji.ttf", path);
    for (int i = 0; i < lv_things() && ret >= 0; i++)
        ret = load_thing(art, face, i, path, msg);
    FT_Done_Face(face);
    return ret;
}

int lv_art_open(LvArt **out, const char *path, const LvMsg *msg)
{
    LvArt *art = *out = calloc(1, sizeof(*art));
    FT_Library lib;
    int ret = LV_ERR(ENOMEM);

    if (art)
        art->picture = calloc((size_t)lv_things(), sizeof(*art->picture));
    if (art && art->picture && !FT_Init_FreeType(&lib)) {
        ret = load_all(art, lib, path, msg);
        FT_Done_FreeType(lib);
    }
    if (ret == LV_ERR(ENOMEM))
        lv_fail(msg, ret, "%s: out of memory", path);
    if (ret < 0)
        lv_art_close(out);
    return ret;
}

#else

int lv_art_open(LvArt **out, const char *path, const LvMsg *msg)
{
    *out = NULL;
    return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: this build has no FreeType, which reads "
                   "images of things; install it and configure again", path);
}

#endif
