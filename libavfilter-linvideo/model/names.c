/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/names.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/text.h"

enum { NAME_SIZE = 256, PATH_SIZE = 4096, INDEX_MAX = 1 << 20 };

#define HALF   "one half of a Wan2.2 A14B pair (high or low noise)"
#define CAUSAL "attends over blocks of frames one after the other (causal)"
#define SPARSE "attends to parts of the tokens (sparse), which is not done here"

/* The first row whose word is there counts. */
static const struct {
    const char *word;
    const char *preset; /* name, or NULL */
    int use;            /* of a network; LoRAs, which leave attention as it is: only LV_USE_HALF
                         * counts */
    const char *what;
} words[] = {
    { "wan22", NULL, LV_USE_HALF, HALF },
    { "a14b", NULL, LV_USE_HALF, HALF },
    { "highnoise", NULL, LV_USE_HALF, HALF },
    { "lownoise", NULL, LV_USE_HALF, HALF },
    { "longlive", "longlive", LV_USE_CAUSAL, CAUSAL },
    { "krea", NULL, LV_USE_CAUSAL, CAUSAL },
    { "rollingforcing", NULL, LV_USE_CAUSAL, CAUSAL },
    { "rewardforcing", NULL, LV_USE_CAUSAL, CAUSAL },
    { "framewise", "causal-forcing-framewise", LV_USE_CAUSAL, CAUSAL },
    { "causalforcing", "self-forcing-causal", LV_USE_CAUSAL, CAUSAL },
    { "selfforcing", "self-forcing-causal", LV_USE_CAUSAL, CAUSAL },
    { "causvid", "causvid", LV_USE_CAUSAL, CAUSAL },
    { "autoregressive", NULL, LV_USE_CAUSAL, CAUSAL },
    { "causal", NULL, LV_USE_CAUSAL, CAUSAL },
    { "fastwan", "fastwan", LV_USE_ANY, NULL },
    { "vsa", NULL, LV_USE_CHOSEN, SPARSE },
    { "sla", NULL, LV_USE_CHOSEN, SPARSE },
    { "accvideo", "accvideo", LV_USE_ANY, NULL },
    { "accvid", "accvideo", LV_USE_ANY, NULL },
    { "fusionx", "fusionx", LV_USE_ANY, NULL },
    { "rcm", "rcm", LV_USE_ANY, NULL },
    { "turbowan", "rcm", LV_USE_ANY, NULL },
    { "turbodiffusion", "rcm", LV_USE_ANY, NULL },
    { "lightx2v", "lightx2v", LV_USE_ANY, NULL },
    { "stepdistill", "lightx2v", LV_USE_ANY, NULL },
    { "lightning", "lightx2v", LV_USE_ANY, NULL },
    { "4step", "lightx2v", LV_USE_ANY, NULL },
    { "4steps", "lightx2v", LV_USE_ANY, NULL },
};

/* Metadata that tell which model it is. */
static const char *const keys[] = {
    "modelspec.architecture", "modelspec.title", "ss_base_model_version", "base_model",
    "general.name", "general.basename", "general.finetune",
};

/* Words */

static int kind_of(char c)
{
    return isdigit((unsigned char)c) ? 1 : isupper((unsigned char)c) ? 2 :
           islower((unsigned char)c) ? 3 : 0;
}

/* Whether a word may begin or end before text[i]. */
static int is_edge(const char *text, size_t i)
{
    int before = i ? kind_of(text[i - 1]) : 0, at = kind_of(text[i]);

    if (before == 2 && at == 3) /* "Ab"; but "WANFusion" is cut before the F */
        return 0;
    if (before == 2 && at == 2)
        return kind_of(text[i + 1]) == 3;
    return before != at || !at;
}

/* Length of the word at the beginning of text, or 0. */
static size_t match(const char *text, size_t at, const char *word)
{
    size_t i = at;

    for (; *word; i++) {
        if (!text[i] || (i == at && !kind_of(text[i])))
            return 0;
        if (!kind_of(text[i]))
            continue;
        if (tolower((unsigned char)text[i]) != *word++)
            return 0;
    }
    return is_edge(text, i) ? i - at : 0;
}

const char *lv_find_word(const char *text, const char *word, size_t *n)
{
    for (size_t i = 0; text[i]; i++)
        if (is_edge(text, i) && (*n = match(text, i, word)))
            return text + i;
    return NULL;
}

/* Looking */

/* The half that a text names, if it names one. "high" and "low" alone count only where the text
 * is about a half. */
static int half_of(const char *text)
{
    static const char *const halves[LV_EXPERTS][2] = {
        [LV_HIGH] = { "highnoise", "high" }, [LV_LOW] = { "lownoise", "low" },
    };
    int told[LV_EXPERTS];
    size_t n;

    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < LV_EXPERTS; i++)
            told[i] = lv_find_word(text, halves[i][k], &n) != NULL;
        if (told[LV_HIGH] != told[LV_LOW])
            return told[LV_HIGH] ? LV_HIGH : LV_LOW;
    }
    return LV_HALF_UNKNOWN;
}

static void note(LvHint *h, int row, const char *word, size_t n, const char *from, int lora)
{
    int half = words[row].use == LV_USE_HALF;
    const char *preset = words[row].preset;

    if (lora && preset && !strcmp(preset, "self-forcing-causal"))
        preset = "self-forcing";
    h->preset = preset ? lv_preset_find(preset) : NULL;
    h->use    = half || !lora ? words[row].use : LV_USE_ANY;
    h->half   = LV_HALF_UNKNOWN;
    h->what   = words[row].what;
    snprintf(h->word, sizeof(h->word), "%.*s", (int)n, word);
    snprintf(h->from, sizeof(h->from), "%s", from);
}

/* Which half, and whether it is one of few steps. */
static void look_at_half(LvHint *h, const char *text)
{
    size_t n;

    h->half = half_of(text);
    for (int i = 0; i < LV_COUNT(words) && !h->preset; i++)
        if (words[i].preset && !strcmp(words[i].preset, "lightx2v") &&
            lv_find_word(text, words[i].word, &n))
            h->preset = lv_preset_find("wan2.2-lightning");
}

/* Whether a text tells anything. */
static int look(LvHint *h, const char *text, const char *from, int lora)
{
    const char *at;
    size_t n;

    for (int i = 0; i < LV_COUNT(words); i++)
        if ((at = lv_find_word(text, words[i].word, &n))) {
            note(h, i, at, n, from, lora);
            if (h->use == LV_USE_HALF)
                look_at_half(h, text);
            return 1;
        }
    return 0;
}

static int value_of(char text[NAME_SIZE], const LvSource *src, const char *key)
{
    const LvGguf *g      = lv_source_gguf(src);
    const char *plain    = lv_source_meta(src, key);
    const LvGgufValue *v = g ? lv_gguf_value(g, key) : NULL;

    if (plain) {
        snprintf(text, NAME_SIZE, "%s", plain);
        return 1;
    }
    if (v && v->type == LV_GGUF_STRING && !v->is_array) {
        const uint8_t *at = v->at;
        LvGgufString s    = lv_gguf_string(&at);
        snprintf(text, NAME_SIZE, "%.*s", (int)LV_MIN(s.n, (size_t)NAME_SIZE - 1), s.s);
        return 1;
    }
    return 0;
}

/* Metadata beat names: those that say Wan2.1 end the search. */
static int look_at_metadata(LvHint *h, const LvSource *src, int lora)
{
    char text[NAME_SIZE], from[64];
    int plain = 0;
    size_t n;

    for (int i = 0; i < LV_COUNT(keys); i++) {
        if (!value_of(text, src, keys[i]))
            continue;
        snprintf(from, sizeof(from), "its metadata %s", keys[i]);
        if (look(h, text, from, lora))
            return 1;
        plain = plain || lv_find_word(text, "wan21", &n);
    }
    return plain;
}

/* Names that tools give to any network. */
static int says_nothing(const char *name)
{
    return !strncmp(name, "diffusion_pytorch_model", 23) || !strncmp(name, "model.", 6) ||
           !strncmp(name, "model-", 6) || !strncmp(name, "pytorch_model", 13) ||
           !strncmp(name, "causal_model", 12);
}

/* Names of folders that Wan2.2 is kept in, and what diffusers' index says of it. */
static void look_at_folder(LvHint *h, const char *path, size_t n, int lora)
{
    static const char *const signs[] = { "boundary_ratio", "transformer_2" };
    char folder[PATH_SIZE], index[PATH_SIZE + 32];
    const char *slash;
    json_t *root;
    LvMap map;

    snprintf(folder, sizeof(folder), "%.*s", (int)LV_MIN(n, (size_t)PATH_SIZE - 1), path);
    slash = strrchr(folder, '/');
    look(h, slash ? slash + 1 : folder, "the name of its folder", lora);
    if (!strcmp(slash ? slash + 1 : folder, "transformer_2")) {
        note(h, 0, "transformer_2", 13, "the name of its folder", lora);
        h->half = LV_LOW;
    }
    if (h->use == LV_USE_HALF)
        return;
    *h = (LvHint) { .word = "" };
    snprintf(index, sizeof(index), "%.*s/model_index.json",
             slash ? (int)(slash - folder) : 1, slash ? folder : ".");
    if (lv_map_open_upto(&map, index, INDEX_MAX, NULL) < 0)
        return;
    root = json_loadb((const char *)map.data, map.size, 0, NULL);
    for (int i = 0; i < LV_COUNT(signs); i++) {
        const json_t *v = json_object_get(root, signs[i]), *first = json_array_get(v, 0);
        if (v && !json_is_null(v) && !(json_is_array(v) && json_is_null(first))) {
            note(h, 0, signs[i], strlen(signs[i]), "model_index.json beside it", lora);
            h->half = LV_HIGH;
        }
    }
    json_decref(root);
    lv_map_close(&map);
}

void lv_hint(LvHint *h, const LvSource *src, const char *path, int lora)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    *h = (LvHint) { .word = "" };
    if (src && look_at_metadata(h, src, lora))
        return;
    if (look(h, name, "its name", lora))
        return;
    if (slash && says_nothing(name))
        look_at_folder(h, path, (size_t)(slash - path), lora);
}

LvHint lv_hint_of(const LvPart *part, const char *path)
{
    LvDitConfig c;
    LvHint h;

    lv_hint(&h, part->src, path, part->kind == LV_PART_LORA);
    if (part->kind == LV_PART_DIT && lv_part_dit(&c, part, NULL) >= 0 && !lv_has_halves(&c))
        lv_hint_whole(&h);
    return h;
}

void lv_hint_whole(LvHint *h)
{
    if (h->use == LV_USE_HALF)
        *h = (LvHint) { .word = "" };
}

int lv_has_halves(const LvDitConfig *c)
{
    return c->channels != LV_WAN22_CHANNELS && !c->clip_dim;
}

int lv_hint_fits(const LvHint *h, int place)
{
    return place == LV_AS_ALONE ? h->use != LV_USE_HALF
         : h->use != LV_USE_HALF || h->half == LV_HALF_UNKNOWN ||
           h->half == (place == LV_AS_LOW ? LV_LOW : LV_HIGH);
}

static int fail_half(const LvHint *h, const char *path, int place, const char *word,
                     const LvMsg *msg)
{
    if (place == LV_AS_ALONE)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: \"%s\" in %s says: %s, which makes no whole "
                       "clip alone: a manifest names the one for high noise as \"dit\", the other "
                       "as \"dit_low\", their LoRAs as \"loras\" and \"loras_low\" (linvideo "
                       "setup --dit HIGH --dit-low LOW writes it)", path, word, h->from, h->what);
    return lv_fail(msg, LV_ERR_MODEL, "%s: \"%s\" in %s says: %s, the one for %s noise; expected "
                   "the one for %s noise", path, word, h->from, h->what,
                   h->half == LV_LOW ? "low" : "high", place == LV_AS_LOW ? "low" : "high");
}

int lv_chosen(const LvCausal *causal)
{
    return causal->block ? LV_CHOSEN_CAUSAL : LV_CHOSEN_WHOLE;
}

/* Of a network that makes blocks. */
static int check_causal(const LvHint *h, const char *path, const char *word, int chosen,
                        const LvMsg *msg)
{
    if (chosen == LV_CHOSEN_NONE)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: \"%s\" in %s says that it %s; expected a "
                       "preset: a causal one, as self-forcing-causal, or another, which runs it "
                       "as a whole", path, word, h->from, h->what);
    if (chosen == LV_CHOSEN_WHOLE)
        lv_msg(msg, LV_MSG_WARNING, "%s: \"%s\" in %s says that it %s; it is run as a whole",
               path, word, h->from, h->what);
    return 0;
}

int lv_hint_check(const LvHint *h, const char *path, int place, int chosen, const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];

    lv_text_show(shown, h->word, strlen(h->word));
    if (!lv_hint_fits(h, place))
        return fail_half(h, path, place, shown, msg);
    if (h->use == LV_USE_CAUSAL)
        return check_causal(h, path, shown, chosen, msg);
    if (h->use == LV_USE_CHOSEN && !chosen)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: \"%s\" in %s says that it %s; naming a "
                       "preset runs it all the same", path, shown, h->from, h->what);
    if (h->use == LV_USE_CHOSEN)
        lv_msg(msg, LV_MSG_WARNING, "%s: \"%s\" in %s says that it %s", path, shown, h->from,
               h->what);
    return 0;
}
