/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo setup`: looks at a folder of downloaded files, says what each one is, and
 * writes the manifest that makes a model of them.
 */

#include "tools/cmd/commands.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linvideo/linvideo.h>

#include "base/common.h"
#include "base/file.h"
#include "base/map.h"
#include "base/text.h"
#include "model/files.h"
#include "model/names.h"
#include "model/presets.h"
#include "model/spm.h"
#include "tools/share/arguments.h"
#include "tools/share/blank.h"
#include "tools/share/message.h"
#include "tools/share/output.h"

/* Files that are looked at, and folders within each other. */
enum { FILES_MAX = 10000, PATH_SIZE = 4096, DEPTH_MAX = 8, LORAS_MAX = 16,
       OLD_MAX = 2 << 20 };

/* Parts of a model that are networks, but for the second of a pair. */
enum { PART_DIT, PART_TEXT, PART_VAE, PART_CLIP, PARTS };

/** What a file turned out to be. */
enum Kind { KIND_NONE = LV_PART_NONE, KIND_DIT = LV_PART_DIT, KIND_TEXT = LV_PART_TEXT,
            KIND_WAN_VAE = LV_PART_WAN_VAE, KIND_TAE = LV_PART_TAE,
            KIND_LORA = LV_PART_LORA, KIND_CLIP = LV_PART_CLIP,
            KIND_TOKENIZER = LV_PART_NB, KIND_PICKLE, KIND_SHARD, KIND_BROKEN, KIND_OTHER };

typedef struct Found {
    char *path;      ///< within the folder
    int kind;        ///< Kind; the first of several networks
    unsigned parts;  ///< a bit for the Kind of each network in it
    double bytes;
    int has_spm;     ///< a text encoder with its tokenizer
    int latents;     ///< channels of the latents of its DIT or, without one, its decoder; 0: not
                     ///< known, or neither
    LvHint hint;     ///< DIT, LORA
    int paired;      ///< LORA: its keys are of two networks
    LvDitConfig dit; ///< DIT
    char why[256];   ///< BROKEN
    char about[96];
} Found;

typedef struct Setup {
    const char *folder, *output, *preset, *tokenizer;
    const char *chosen[PARTS]; ///< --dit, --text, --vae, --clip
    const char *chosen_low; ///< --dit-low
    const char *lora[LORAS_MAX];
    int loras;
    Found *file;
    int nb, room;
    char **shard;    ///< paths of files that others are made of
    int shards, shards_room;
    int strict;      ///< as of LinvideoParams
    int overwrite;   ///< nothing of an old manifest is kept
    int too_many, too_deep, odd; ///< it was said
    char why[256];   ///< the last message
} Setup;

/* A folder, within another one. */
typedef struct Folder {
    const struct Folder *parent;
    int depth;
    dev_t dev;
    ino_t ino;
} Folder;

static void catch_line(void *opaque, int level, const char *line)
{
    Setup *s = opaque;

    if (level == LV_MSG_ERROR)
        snprintf(s->why, sizeof(s->why), "%.255s", line);
}

/* Looking */

static int ends_with_any(const char *name, const char *const *ends)
{
    for (; *ends; ends++)
        if (lv_tool_ends_with(name, *ends))
            return 1;
    return 0;
}

/* "layers of dim" and how its matrices are stored. */
static void describe(Found *f, const LvPart *p)
{
    static const char *const layouts[LV_LAYOUT_NB] = { "original names", "diffusers' names",
                                                       "llama.cpp's names" };
    size_t bytes[LV_DTYPE_NB] = { 0 };
    int most = 0;

    for (int i = 0; i < lv_source_count(p->src); i++) {
        const LvFileTensor *t = lv_source_at(p->src, i);
        bytes[t->dtype] += t->size;
    }
    for (int i = 0; i < LV_DTYPE_NB; i++)
        most = bytes[i] > bytes[most] ? i : most;
    snprintf(f->about, sizeof(f->about), "%s, mostly %s", layouts[p->layout],
             lv_dtype_name(most));
}

static int note_shard(Setup *s, const char *path)
{
    if (s->shards == s->shards_room) {
        int room    = 2 * s->shards_room + 64;
        char **more = realloc(s->shard, (size_t)room * sizeof(*more));
        if (!more)
            return lv_tool_fail(-ENOMEM, "out of memory");
        s->shard       = more;
        s->shards_room = room;
    }
    s->shard[s->shards] = strdup(path);
    return s->shard[s->shards] ? s->shards++ : lv_tool_fail(-ENOMEM, "out of memory");
}

/* The files that a source is made of besides its own: their bytes count as its. */
static void note_shards(Setup *s, Found *f, const LvSource *src, const char *path)
{
    const char *other;
    struct stat st;

    for (int i = 0; (other = lv_source_file(src, i)); i++)
        if (strcmp(other, path) && !stat(other, &st) && note_shard(s, other) >= 0)
            f->bytes += (double)st.st_size;
}

static int latents_in(const LvSource *src)
{
    static const enum LvPartKind kinds[] = { LV_PART_DIT, LV_PART_WAN_VAE, LV_PART_TAE };
    LvModelConfig cfg = { .dit = { .channels = 0 } };

    for (int i = 0; i < LV_COUNT(kinds); i++) {
        const LvPart part = lv_part_find_kind(src, kinds[i]);
        if (part.kind == LV_PART_DIT)
            return lv_part_dit(&cfg.dit, &part, NULL) < 0 ? 0 : cfg.dit.channels;
        if (part.kind != LV_PART_NONE)
            return lv_part_vae(&cfg.vae, &part, NULL) < 0 ? 0 : cfg.vae.channels;
    }
    return 0;
}

static void look_at_source(Setup *s, Found *f, const char *path)
{
    const LvMsg msg = { catch_line, s, LV_MSG_ERROR };
    LvSource *src;
    LvPart part;

    if (lv_source_open(&src, path, &msg) < 0) {
        f->kind = KIND_BROKEN;
        memcpy(f->why, s->why, sizeof(f->why));
        return;
    }
    if (lv_part_check(src, &msg) < 0) {
        f->kind = KIND_BROKEN;
        memcpy(f->why, s->why, sizeof(f->why));
        lv_source_close(&src);
        return;
    }
    note_shards(s, f, src, path);
    part    = lv_part_find(src);
    f->kind = part.kind == LV_PART_NONE ? KIND_OTHER : part.kind;
    for (int i = LV_PART_DIT; i < LV_PART_NB && f->kind == (int)part.kind; i++)
        f->parts |= (int)lv_part_find_kind(src, i).kind == i ? 1u << i : 0;
    f->latents = latents_in(src);
    f->has_spm = lv_files_spm_of(src) ||
                 (lv_source_gguf(src) &&
                  lv_gguf_value(lv_source_gguf(src), "tokenizer.ggml.tokens"));
    if (part.kind != LV_PART_NONE && part.kind != LV_PART_LORA)
        describe(f, &part);
    if (part.kind == LV_PART_DIT || part.kind == LV_PART_LORA)
        f->hint = lv_hint_of(&part, path);
    f->paired = part.kind == LV_PART_LORA && lv_lora_is_paired(src);
    if (part.kind == LV_PART_DIT && lv_part_dit(&f->dit, &part, NULL) < 0)
        f->dit = (LvDitConfig) { 0 };
    lv_source_close(&src);
}

static void look_at_tokenizer(Found *f, const char *path)
{
    LvMap map;
    LvSpm spm;

    if (lv_map_open(&map, path, NULL) < 0)
        return;
    if (lv_spm_read(&spm, map.data, map.size, NULL) >= 0) {
        f->kind = KIND_TOKENIZER;
        snprintf(f->about, sizeof(f->about), "%d pieces", spm.pieces);
        lv_spm_free(&spm);
    }
    lv_map_close(&map);
}

/* Contents decide; names only tell what should be one of weights, or a tokenizer. */
static void look_at(Setup *s, Found *f, const char *path)
{
    static const char *const weights[] = { ".safetensors", ".sft", ".gguf", NULL };
    static const char *const torch[] = { ".pth", ".pt", ".ckpt", ".bin", NULL };
    static const char *const tokenizers[] = { ".model", ".spm", NULL };
    int is_torch = ends_with_any(f->path, torch);
    enum LvSourceForm form;
    int is_source;

    lv_source_look(&form, path, NULL);
    is_source = form == LV_SOURCE_GGUF || form == LV_SOURCE_SAFETENSORS;
    if (is_source && !lv_source_first_part(path))
        f->kind = KIND_SHARD;
    else if (is_source || lv_tool_ends_with(f->path, ".index.json") ||
             ends_with_any(f->path, weights))
        look_at_source(s, f, path);
    else if (is_torch && form == LV_SOURCE_PICKLE)
        f->kind = KIND_PICKLE;
    else if (form == LV_SOURCE_OTHER &&
             (is_torch || ends_with_any(f->path, tokenizers)))
        look_at_source(s, f, path);
    else if (ends_with_any(f->path, tokenizers))
        look_at_tokenizer(f, path);
    else if (is_torch && !lv_tool_ends_with(f->path, ".bin"))
        f->kind = KIND_PICKLE;
}

static Found *new_file(Setup *s, const char *name, double bytes)
{
    if (s->nb == s->room) {
        int room = 2 * s->room + 64;
        Found *f = realloc(s->file, (size_t)room * sizeof(*f));
        if (!f)
            return NULL;
        s->file = f;
        s->room = room;
    }
    s->file[s->nb] = (Found) { .path = strdup(name), .bytes = bytes };
    return s->file[s->nb].path ? &s->file[s->nb++] : NULL;
}

static int add_file(Setup *s, const char *name, const char *path, const struct stat *st)
{
    Found *f;

    if (s->nb == FILES_MAX) {
        if (!s->too_many++)
            lv_tool_fail(0, "warning: %s: more than %d files, the others are not looked at; "
                         "put those of the model into a folder of their own", s->folder,
                         FILES_MAX);
        return 0;
    }
    if (!(f = new_file(s, name, (double)st->st_size)))
        return lv_tool_fail(-ENOMEM, "out of memory");
    look_at(s, f, path);
    return 0;
}

/* Links may lead to a folder that it lies in. */
static int is_within_itself(const Folder *f)
{
    for (const Folder *p = f->parent; p; p = p->parent)
        if (p->dev == f->dev && p->ino == f->ino)
            return 1;
    return 0;
}

static int walk(Setup *s, const char *within, const Folder *f);

static int look_into(Setup *s, const char *name, const Folder *parent,
                     const struct stat *st)
{
    const Folder f = { parent, parent->depth + 1, st->st_dev, st->st_ino };

    if (is_within_itself(&f))
        return 0;
    if (f.depth <= DEPTH_MAX)
        return walk(s, name, &f);
    if (!s->too_deep++)
        lv_tool_fail(0, "warning: %s/%s: more than %d folders within each other, this and "
                     "others are not looked into", s->folder, name, DEPTH_MAX);
    return 0;
}

/* A manifest, which is JSON, can't hold other names. */
static int is_odd(Setup *s, const char *name)
{
    char shown[LV_SHOW_SIZE];

    if (lv_text_is_plain(name, strlen(name)))
        return 0;
    if (!s->odd++)
        lv_tool_fail(0, "warning: %s/%s: its name holds control characters or is not UTF-8, so "
                     "it is not looked at; rename it", s->folder,
                     lv_text_show(shown, name, strlen(name)));
    return 1;
}

/* The folder itself has to be there; what can't be read within it is passed over. */
static int fail_folder(const char *path, const Folder *f)
{
    if (!f->parent)
        return lv_tool_fail(-errno, "%s: %s", path, strerror(errno));
    return lv_tool_fail(0, "warning: %s: %s: it is not looked into", path, strerror(errno));
}

static int walk(Setup *s, const char *within, const Folder *f)
{
    char path[PATH_SIZE], name[PATH_SIZE];
    struct dirent *e;
    struct stat st;
    int ret = 0;
    DIR *d;

    if (snprintf(path, sizeof(path), "%s/%s", s->folder, within) >= PATH_SIZE)
        return lv_tool_fail(-ENAMETOOLONG, "%s: %s", s->folder, strerror(ENAMETOOLONG));
    if (!(d = opendir(path)))
        return fail_folder(path, f);
    while (ret >= 0 && (e = readdir(d))) {
        if (e->d_name[0] == '.' || is_odd(s, e->d_name) ||
            snprintf(name, sizeof(name), "%s%s%s", within, *within ? "/" : "",
                     e->d_name) >= PATH_SIZE ||
            snprintf(path, sizeof(path), "%s/%s", s->folder, name) >= PATH_SIZE ||
            stat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            ret = look_into(s, name, f, &st);
        else if (S_ISREG(st.st_mode))
            ret = add_file(s, name, path, &st);
    }
    closedir(d);
    return ret;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files that others are made of are no files of their own. */
static void mark_shards(Setup *s)
{
    char path[PATH_SIZE], *key = path;

    if (s->shards)
        qsort(s->shard, (size_t)s->shards, sizeof(*s->shard), by_text);
    for (int i = 0; i < s->nb && s->shards; i++) {
        snprintf(path, sizeof(path), "%s/%s", s->folder, s->file[i].path);
        if (bsearch(&key, s->shard, (size_t)s->shards, sizeof(*s->shard), by_text))
            s->file[i] = (Found) { .path = s->file[i].path, .kind = KIND_SHARD };
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const Found *)a)->path, ((const Found *)b)->path);
}

static void print_found(const Setup *s)
{
    static const char *const names[] = { "", "network", "text encoder", "decoder",
                                         "tiny decoder", "LoRA", "image tower",
                                         "tokenizer", "PyTorch file", "", "not readable",
                                         "other" };
    char bytes[32];

    for (int i = 0; i < s->nb; i++) {
        const Found *f = &s->file[i];
        if (f->kind == KIND_NONE || f->kind == KIND_SHARD)
            continue;
        printf("%-13s %10s  %s%s%s%s\n", names[f->kind],
               lv_bytes_text(bytes, sizeof(bytes), f->bytes), f->path,
               f->about[0] ? " (" : "", f->about, f->about[0] ? ")" : "");
        if (f->kind == KIND_BROKEN)
            printf("%25s %s\n", "", f->why);
        if (f->kind == KIND_OTHER)
            printf("%25s not used: it holds no network that is known\n", "");
        for (int k = f->kind + 1; k < LV_PART_NB; k++)
            if (f->parts & 1u << k)
                printf("%-13s %10s  in the same file\n", names[k], "");
        if (f->kind == KIND_PICKLE)
            printf("%25s not read, as it may run code; safetensors and GGUF files are\n",
                   "");
    }
}

/* Choosing */

static const Found *pick_named(const Setup *s, const char *name)
{
    for (int i = 0; i < s->nb; i++) {
        const char *slash = strrchr(s->file[i].path, '/');
        if (!strcmp(s->file[i].path, name) || (slash && !strcmp(slash + 1, name)))
            return &s->file[i];
    }
    lv_tool_fail(0, "%s is not in %s", name, s->folder);
    return NULL;
}

/* LvChosen: by an option, or by the name of a file that tells a causal preset. */
static int chosen(const Setup *s, const Found *f)
{
    const LvPreset *p = s->preset ? lv_preset_find(s->preset) : f->hint.preset;

    return p && (s->preset || p->causal.block) ? lv_chosen(&p->causal) : LV_CHOSEN_NONE;
}

/* Whether a network or LoRA can be run, with a message where not. */
static int is_usable(const Setup *s, const Found *f, int place)
{
    return lv_hint_check(&f->hint, f->path, place, chosen(s, f), &lv_tool_msg) >= 0;
}

static int holds(const Found *f, int kind)
{
    return f->kind == kind || (f->parts & 1u << kind) != 0;
}

/* Whether a file holds more than one network. */
static int is_shared(const Found *f)
{
    return (f->parts & (f->parts - 1)) != 0;
}

/* Whether a decoder, if it is one, may take latents of so many channels; 0: of any. */
static int takes(const Found *f, int kind, int latents)
{
    return (kind != KIND_WAN_VAE && kind != KIND_TAE) || !latents || !f->latents ||
           f->latents == latents;
}

/* How many files hold a kind, and the last of them; *other is one that can't be run. */
static int count_usable(const Setup *s, int kind, int latents, int shared, const Found **found,
                        const Found **other)
{
    int nb = 0;

    for (int i = 0; i < s->nb; i++) {
        const Found *f = &s->file[i];
        int fits = holds(f, kind) && takes(f, kind, latents) && is_shared(f) == shared;
        int runs = f->hint.use != LV_USE_HALF;

        *other = fits && !runs ? f : *other;
        *found = fits && runs ? f : *found;
        nb    += fits && runs;
    }
    return nb;
}

/* The only file of a kind that can be run, one of its own before one of several; NULL after
 * a message. */
static const Found *pick(const Setup *s, int kind, int latents, const char *option,
                         const char *what)
{
    const Found *found = NULL, *other = NULL, *shared = NULL;
    int nb = count_usable(s, kind, latents, 0, &found, &other);
    int nb_shared = count_usable(s, kind, latents, 1, &shared, &other);
    char word[2 * PATH_SIZE];

    if (nb == 1 && nb_shared)
        lv_tool_line(stdout, "%s: %s is taken, not the one in %s (--%s %s takes that)", what,
                     found->path, shared->path, option,
                     lv_tool_word(word, sizeof(word), shared->path));
    if (!nb) {
        nb    = nb_shared;
        found = shared;
    }
    if (nb == 1)
        return found;
    if (!nb && other)
        is_usable(s, other, LV_AS_ALONE);
    else if (!nb)
        lv_tool_fail(0, "no %s in %s", what, s->folder);
    else
        lv_tool_fail(0, "%d files hold a %s; say which with --%s NAME", nb, what, option);
    return NULL;
}

static int count(const Setup *s, int kind, int latents)
{
    int nb = 0;

    for (int i = 0; i < s->nb; i++)
        nb += holds(&s->file[i], kind) && takes(&s->file[i], kind, latents);
    return nb;
}

static const char *const part_options[PARTS] = { "dit", "text", "vae", "clip" };

/* latents: channels that the decoder has to take; 0: any. */
static const Found *choose(const Setup *s, int part, int latents)
{
    static const char *const what[PARTS] = { "network for text to video", "text encoder",
                                             "decoder", "image tower of CLIP" };
    int kind = part == PART_DIT ? KIND_DIT : part == PART_TEXT ? KIND_TEXT
             : part == PART_CLIP ? KIND_CLIP
             : count(s, KIND_WAN_VAE, latents) ? KIND_WAN_VAE : KIND_TAE;
    const Found *found;

    found = s->chosen[part] ? pick_named(s, s->chosen[part])
                            : pick(s, kind, latents, part_options[part], what[part]);
    return found && is_usable(s, found, LV_AS_ALONE) ? found : NULL;
}

/* Networks: the only one, or the two of a pair. */
typedef struct Networks {
    const Found *dit, *low; ///< low: NULL where dit is alone
} Networks;

static int place_of(const Networks *n, int expert)
{
    return !n->low ? LV_AS_ALONE : expert == LV_LOW ? LV_AS_LOW : LV_AS_HIGH;
}

/* The networks whose names tell that they are halves, counted by which; and the last of each. */
static int count_halves(const Setup *s, Networks *n, int nb[LV_EXPERTS])
{
    int unknown = 0;

    nb[LV_HIGH] = nb[LV_LOW] = 0;
    for (int i = 0; i < s->nb; i++) {
        const Found *f = &s->file[i];

        if (!holds(f, KIND_DIT) || f->hint.use != LV_USE_HALF)
            continue;
        if (f->hint.half == LV_HALF_UNKNOWN) {
            unknown++;
            continue;
        }
        nb[f->hint.half]++;
        *(f->hint.half == LV_LOW ? &n->low : &n->dit) = f;
    }
    return unknown;
}

static int say_pair(const Networks *n)
{
    printf("\ntwo networks of Wan2.2 A14B, by their names:\n  high noise  %s\n"
           "  low noise   %s\n", n->dit->path, n->low->path);
    return 0;
}

/* Both halves, where no other network is there. */
static int find_pair(const Setup *s, Networks *n)
{
    const Found *found = NULL, *other = NULL;
    int nb[LV_EXPERTS], unknown;

    *n = (Networks) { NULL, NULL };
    if (count_usable(s, KIND_DIT, 0, 0, &found, &other) ||
        count_usable(s, KIND_DIT, 0, 1, &found, &other))
        return 0;
    unknown = count_halves(s, n, nb);
    if (nb[LV_HIGH] == 1 && nb[LV_LOW] == 1 && !unknown)
        return say_pair(n);
    *n = (Networks) { NULL, NULL };
    return nb[LV_HIGH] + nb[LV_LOW] + unknown < 2 ? 0 :
           lv_tool_fail(-EINVAL, "%d networks for high noise, %d for low noise, %d whose names do "
                        "not say: choose with --dit HIGH --dit-low LOW", nb[LV_HIGH],
                        nb[LV_LOW], unknown);
}

/* @return 0, or -1 after a message */
static int choose_networks(const Setup *s, Networks *n)
{
    *n = (Networks) { NULL, NULL };
    if (s->chosen_low && !s->chosen[0])
        return lv_tool_fail(-1, "option --dit-low: expected --dit beside it, the network for high "
                            "noise");
    if (s->chosen_low && (!(n->dit = pick_named(s, s->chosen[0])) ||
                          !(n->low = pick_named(s, s->chosen_low))))
        return -1;
    if (!s->chosen[0] && find_pair(s, n) < 0)
        return -1;
    if (n->low)
        return is_usable(s, n->dit, LV_AS_HIGH) && is_usable(s, n->low, LV_AS_LOW) ? 0 : -1;
    n->dit = choose(s, 0, 0);
    return n->dit ? 0 : -1;
}

/* Writing */

static void put_line(void *opaque, int level, const char *line)
{
    lv_tool_log(opaque, (enum LinvideoLogLevel)level, line);
}

/* LoRAs of each network. */
typedef struct Loras {
    json_t *of[LV_EXPERTS];
    const Found *few_steps; ///< the last that tells how to sample, or NULL
} Loras;

/* Which networks a LoRA is added to. @return 0, or -1 after a message */
static int add_lora(const Setup *s, const Networks *n, const Found *f, json_t *lora, Loras *to)
{
    int nb = 0, places = n->low ? LV_EXPERTS : 1;
    LvHint hint = f->hint;

    if (!lv_has_halves(&n->dit->dit))
        lv_hint_whole(&hint);
    for (int i = 0; i < places; i++)
        if (lv_hint_fits(&hint, place_of(n, i))) {
            json_array_append(to->of[i], lora);
            nb++;
        }
    if (!nb)
        return is_usable(s, f, LV_AS_ALONE) ? 0 : -1;
    if (nb > 1)
        printf("%s: added to both networks: its %s\n", f->path, f->paired
               ? "keys say which of them each is for"
               : "name says neither high noise nor low noise");
    return 0;
}

/* {"file", "weight"} of NAME[@WEIGHT], and the file; NULL after a message. */
static json_t *lora_json(const Setup *s, const char *text, const Found **f)
{
    const LvMsg msg = { put_line, NULL, LV_MSG_ERROR };
    char name[PATH_SIZE];
    LvLoraFile lora;

    snprintf(name, sizeof(name), "%s", text);
    if (lv_lora_split(&lora, name, &msg) < 0 || !(*f = pick_named(s, lora.path)))
        return NULL;
    return json_pack("{s:s, s:f}", "file", (*f)->path, "weight",
                     rint(1e6 * lora.weight) / 1e6);
}

/* @return 0, or -1 after a message */
static int read_loras(const Setup *s, const Networks *n, Loras *to)
{
    const Found *f;
    int ret = 0;

    *to = (Loras) { { json_array(), json_array() }, NULL };
    for (int i = 0; i < s->loras && ret >= 0; i++) {
        json_t *lora = lora_json(s, s->lora[i], &f);

        ret = lora ? add_lora(s, n, f, lora, to) : -1;
        if (ret >= 0 && f->hint.preset)
            to->few_steps = f;
        json_decref(lora);
    }
    return ret;
}

static void free_loras(Loras *l)
{
    for (int i = 0; i < LV_EXPERTS; i++)
        json_decref(l->of[i]);
}

/* As an option says, or as such networks are sampled where no name tells it. */
static const char *preset_of_networks(const Setup *s, const Networks *n)
{
    int own = !s->preset || !strcmp(s->preset, "none");

    return (own ? lv_preset_of(&n->dit->dit, n->low != NULL) : lv_preset_find(s->preset))->name;
}

/* What a file tells of how to sample, said to the user. */
static const char *preset_of(const Setup *s, const Networks *n, const Found *f)
{
    const LvPreset *p = f->hint.preset;

    if (s->preset || !p)
        return preset_of_networks(s, n);
    p = lv_preset_for(p, &n->dit->dit);
    printf("\n%s: sampler %s, %d steps, shift %g, guidance %g:\n"
           "guessed from the word '%s' in %s; --preset none turns it off\n", f->path, p->solver,
           p->steps, (double)p->shift, (double)p->guidance, f->hint.word, f->hint.from);
    if (p->causal.block)
        printf("it makes blocks of %d latents that see %d, the first %d among them\n",
               p->causal.block, p->causal.window, p->causal.sink);
    return p->name;
}

/* Latents of tiny decoders: lighttaew2_1 takes plain ones. */
static const char *latents_for(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n;

    return lv_find_word(name, "light", &n) || !strncmp(name, "lighttae", 8) ? "plain"
                                                                            : "normalised";
}

static const char *latents_of(const Found *f)
{
    const char *latents = latents_for(f->path);

    if (!strcmp(latents, "plain"))
        printf("\n%s: latents plain: guessed from the word 'light' in its name\n", f->path);
    return latents;
}

/* What the model is of. */
typedef struct Parts {
    Networks net;
    const Found *text, *vae, *spm;
    const Found *clip; ///< NULL: the network needs none
    Loras loras;
} Parts;

/* @return 0, or -1 after a message */
static int choose_tokenizer(const Setup *s, Parts *p)
{
    if (s->tokenizer)
        p->spm = pick_named(s, s->tokenizer);
    else if (!p->text->has_spm)
        p->spm = pick(s, KIND_TOKENIZER, 0, "tokenizer", "tokenizer (spiece.model)");
    return p->spm || (!s->tokenizer && p->text->has_spm) ? 0 : -1;
}

static int choose_parts(const Setup *s, Parts *p)
{
    if (choose_networks(s, &p->net) < 0 || read_loras(s, &p->net, &p->loras) < 0 ||
        !(p->text = choose(s, PART_TEXT, 0)) ||
        !(p->vae = choose(s, PART_VAE, p->net.dit->latents)) ||
        (p->net.dit->dit.clip_dim && !(p->clip = choose(s, PART_CLIP, 0))))
        return -1;
    if (s->chosen[PART_CLIP] && !p->clip)
        return lv_tool_fail(-1, "option --clip: %s attends to no features of images",
                            p->net.dit->path);
    return choose_tokenizer(s, p);
}

static json_t *parts_json(const Setup *s, const Parts *p)
{
    static const char *const loras[LV_EXPERTS] = { "loras", "loras_low" };
    const Found *few_steps = p->loras.few_steps ? p->loras.few_steps : p->net.dit;
    json_t *root = json_pack("{s:s, s:s, s:s, s:s}", "dit", p->net.dit->path, "text",
                             p->text->path, "vae", p->vae->path, "preset",
                             preset_of(s, &p->net, few_steps));

    if (p->net.low)
        json_object_set_new(root, "dit_low", json_string(p->net.low->path));
    if (p->clip)
        json_object_set_new(root, "clip", json_string(p->clip->path));
    if (p->spm)
        json_object_set_new(root, "tokenizer", json_string(p->spm->path));
    for (int i = 0; i < LV_EXPERTS; i++)
        if (json_array_size(p->loras.of[i]))
            json_object_set(root, loras[i], p->loras.of[i]);
    if (holds(p->vae, KIND_TAE) && !holds(p->vae, KIND_WAN_VAE))
        json_object_set_new(root, "latents", json_string(latents_of(p->vae)));
    return root;
}

static json_t *manifest(const Setup *s)
{
    Parts p = { .spm = NULL };
    json_t *root = choose_parts(s, &p) < 0 ? NULL : parts_json(s, &p);

    free_loras(&p.loras);
    return root;
}

/* Merging with a manifest that is there */

/* Whether an entry names a file that is gone. */
static int is_gone(const Setup *s, const char *key, const char *name)
{
    char path[PATH_SIZE];

    return name && strcmp(key, "preset") && strcmp(key, "latents") && name[0] != '/' &&
           snprintf(path, sizeof(path), "%s/%s", s->folder, name) < PATH_SIZE &&
           access(path, F_OK);
}

/* The file that an entry names; NULL: none that is there. */
static const Found *named_by(const Setup *s, const json_t *name)
{
    for (int i = 0; i < s->nb; i++)
        if (json_string_value(name) && !strcmp(s->file[i].path, json_string_value(name)))
            return &s->file[i];
    return NULL;
}

/* The preset that an entry's file tells, or p. */
static const LvPreset *preset_told(const Setup *s, const json_t *name, const Found *dit,
                                   const LvPreset *p)
{
    const Found *f = named_by(s, name);

    return !f || !f->hint.preset ? p : dit ? lv_preset_for(f->hint.preset, &dit->dit)
                                           : f->hint.preset;
}

/* The preset that setup would write for the files of a manifest. */
static const LvPreset *preset_of_old(const Setup *s, const json_t *old)
{
    const Found *dit  = named_by(s, json_object_get(old, "dit"));
    const LvPreset *p = dit ? lv_preset_of(&dit->dit, json_object_get(old, "dit_low") != NULL)
                            : lv_preset_at(0);
    static const char *const lists[] = { "loras", "loras_low" };
    const json_t *lora;
    size_t i;

    p = preset_told(s, json_object_get(old, "dit"), dit, p);
    for (int k = 0; k < LV_COUNT(lists); k++)
        json_array_foreach(json_object_get(old, lists[k]), i, lora)
            p = preset_told(s, json_object_get(lora, "file"), dit, p);
    return p;
}

/* An entry that setup would write, too, for the files that the old manifest names: nobody
 * wrote it by hand; or one of no use. */
static int is_automatic(const Setup *s, const json_t *old, const char *key)
{
    const char *value = json_string_value(json_object_get(old, key));
    const char *vae   = json_string_value(json_object_get(old, "vae"));

    if (is_gone(s, key, value))
        return 1;
    if (!strcmp(key, "latents"))
        return value && vae && !strcmp(value, latents_for(vae));
    return !strcmp(key, "preset") && value && !strcmp(value, preset_of_old(s, old)->name);
}

/* Whether an option says what the key is to be. */
static int is_chosen(const Setup *s, const char *key)
{
    for (int i = 0; i < PARTS; i++)
        if (!strcmp(key, part_options[i]))
            return s->chosen[i] != NULL;
    return (!strcmp(key, "preset") && s->preset) || (!strncmp(key, "loras", 5) && s->loras) ||
           (!strcmp(key, "dit_low") && s->chosen_low) ||
           (!strcmp(key, "tokenizer") && s->tokenizer);
}

static int refuse_change(const char *path, const char *key, const json_t *old,
                         const json_t *new)
{
    char *has = json_dumps(old, JSON_ENCODE_ANY), *expected = json_dumps(new, JSON_ENCODE_ANY);
    char option[32] = "";

    if (strcmp(key, "latents"))
        snprintf(option, sizeof(option), "--%s NAME sets it, ",
                 !strncmp(key, "loras", 5) ? "lora" : !strcmp(key, "dit_low") ? "dit-low" : key);
    lv_tool_fail(0, "%s: \"%s\" is %s there, setup would make it %s; %s-y writes a new manifest",
                 path, key, has ? has : "", expected ? expected : "", option);
    free(has);
    free(expected);
    return -EEXIST;
}

static void say_kept(const json_t *old, const json_t *new)
{
    const char *key;
    json_t *value;
    int nb = 0;

    json_object_foreach((json_t *)(uintptr_t)old, key, value)
        if (!json_object_get(new, key))
            printf("%s%s", nb++ ? ", " : "kept from the existing manifest: ", key);
    if (nb)
        putchar('\n');
}

/* A manifest that is there; NULL: it is none. A pipe is not waited for. */
static json_t *read_old(const char *path)
{
    json_error_t error;
    json_t *old = NULL;
    LvMap map;

    if (lv_map_open_upto(&map, path, OLD_MAX, NULL) < 0)
        return NULL;
    if (map.size)
        old = json_loadb((const char *)map.data, map.size, JSON_REJECT_DUPLICATES, &error);
    lv_map_close(&map);
    return old;
}

/* What setup finds goes over what is there; what it knows nothing of stays. */
static int merge(const Setup *s, const char *path, json_t *root)
{
    json_t *old = read_old(path), *value;
    const char *key;
    int ret = 0;

    if (!json_is_object(old) || !(json_object_get(old, "dit") || json_object_get(old, "vae"))) {
        json_decref(old);
        return lv_tool_fail(-EEXIST, "%s: exists and is not a manifest; -y overwrites it, "
                            "--name NAME writes another", path);
    }
    json_object_foreach(root, key, value) {
        json_t *has = json_object_get(old, key);
        if (has && !json_equal(has, value) && !is_chosen(s, key) &&
            !is_automatic(s, old, key)) {
            ret = refuse_change(path, key, has, value);
            break;
        }
    }
    if (ret >= 0 && is_automatic(s, old, "latents"))
        json_object_del(old, "latents");
    if (ret >= 0) {
        say_kept(old, root);
        json_object_update_missing(root, old);
    }
    json_decref(old);
    return ret;
}

/* Writing it */

/* Where messages of a trial go: about the file that is to come. */
typedef struct Trial {
    const char *part, *path;
} Trial;

static void put_trial(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    const Trial *t = opaque;
    const char *at = strstr(line, t->part);
    char text[2048];

    if (at) {
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - line), line, t->path,
                 at + strlen(t->part));
        line = text;
    }
    lv_tool_log(NULL, level, line);
}

/* The manifest is opened as generate does it, before it gets its name. */
static int try_it(const Setup *s, const char *part, const char *path, int images,
                  LinvideoInfo *info)
{
    Trial trial = { part, path };
    LinvideoContext *c;
    LinvideoParams p;
    int ret;

    linvideo_params_default(&p);
    p.model        = part;
    p.prompt       = "a";
    p.memory_limit = (int64_t)1 << 59;
    p.log          = put_trial;
    p.opaque       = &trial;
    p.log_level    = LINVIDEO_LOG_WARNING;
    p.strict       = s->strict;
    lv_tool_blank(&p, images);
    if ((ret = linvideo_open(&c, &p)) < 0)
        return ret;
    linvideo_info(c, info);
    linvideo_close(&c);
    return 0;
}

static void say_written(const char *path, const LinvideoInfo *info, int images)
{
    char weights[32], work[32], word[2 * PATH_SIZE];

    putchar('\n');
    lv_tool_line(stdout, "wrote %s", path);
    printf("%dx%d, %d frames at %d/s, %s, %d steps, shift %g, guidance %g\n"
           "memory: weights %s, work %s\n\n", info->width, info->height, info->clip_frames,
           info->rate_num / info->rate_den, info->sampler, info->steps, info->shift,
           info->guidance, lv_bytes_text(weights, sizeof(weights),
                                         (double)info->memory_weights),
           lv_bytes_text(work, sizeof(work), (double)info->memory_work));
    lv_tool_line(stdout, "  linvideo generate --model %s%s%s \"a prompt\"",
                 lv_tool_word(word, sizeof(word), path),
                 images > 0 ? " --image FILE" : "",
                 images > 1 ? " --last-image FILE" : "");
}

static int write_manifest(const Setup *s, const char *path, const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2));
    const Found *dit  = named_by(s, json_object_get(root, "dit"));
    int images        = dit ? lv_preset_images(&dit->dit) : 0;
    LinvideoInfo info = { 0 };
    LvFile f;
    int ret = text ? lv_file_create(&f, path, &lv_tool_msg)
                   : lv_tool_fail(-ENOMEM, "out of memory");

    if (ret >= 0) {
        lv_file_print(&f, "%s\n", text);
        if (lv_file_sync(&f) >= 0)
            ret = try_it(s, f.tmp, path, images, &info);
        ret = lv_file_end(&f, ret, NULL, NULL, &lv_tool_msg);
    }
    free(text);
    if (ret >= 0)
        say_written(path, &info, images);
    return ret;
}

/* It replaces no file of the model. */
static int check_path(const Setup *s, const char *path, const json_t *root)
{
    static const char *const keys[] = { "dit", "dit_low", "text", "vae", "clip", "tokenizer" };
    char file[PATH_SIZE];
    int ret = 0;

    for (int i = 0; i < LV_COUNT(keys) && ret >= 0; i++) {
        const char *name = json_string_value(json_object_get(root, keys[i]));
        if (name && snprintf(file, sizeof(file), "%s/%s", s->folder, name) < PATH_SIZE)
            ret = lv_tool_not_input(path, file);
    }
    return ret;
}

static int run(Setup *s)
{
    char path[PATH_SIZE];
    struct stat st;
    json_t *root;
    int ret = stat(s->folder, &st) < 0
            ? lv_tool_fail(-errno, "%s: %s", s->folder, strerror(errno)) : 0;

    if (ret < 0 || (ret = walk(s, "", &(Folder) { NULL, 0, st.st_dev, st.st_ino })) < 0)
        return ret;
    if (s->nb)
        qsort(s->file, (size_t)s->nb, sizeof(*s->file), by_path);
    mark_shards(s);
    print_found(s);
    if (!(root = manifest(s)))
        return -ENOENT;
    if (snprintf(path, sizeof(path), "%s/%s.json", s->folder,
                 s->output ? s->output : "wan") >= PATH_SIZE)
        ret = lv_tool_fail(-ENAMETOOLONG, "%s: %s", s->folder, strerror(ENAMETOOLONG));
    if (ret >= 0 && !s->overwrite && !access(path, F_OK))
        ret = merge(s, path, root);
    if (ret >= 0 && (ret = check_path(s, path, root)) >= 0)
        ret = write_manifest(s, path, root);
    json_decref(root);
    return ret;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo setup [options] FOLDER\n"
         "\n"
         "Looks at the files in a folder (safetensors, GGUF, tokenizer), says what each\n"
         "one is, and writes FOLDER/wan.json, a manifest that generate and the filter take\n"
         "as a model. Settings in an existing manifest are kept, and it stays unchanged\n"
         "when the new one cannot be opened. Defaults are shown in brackets.\n"
         "\n"
         "  -y, --overwrite       write a new manifest, keep no settings\n"
         "  --name NAME           write FOLDER/NAME.json [wan]\n"
         "  --dit, --text, --vae, --clip, --tokenizer NAME\n"
         "                        which file to use, when there are several\n"
         "  --dit-low NAME        of Wan2.2 A14B: --dit is the network for high noise, this\n"
         "                        the one for low noise [guessed from file names]\n"
         "  --lora NAME[@WEIGHT]  add a LoRA; may be repeated\n"
         "  --strict 0|1          1: refuse files that hold more than is used [0]\n"
         "  --preset NAME         how to sample [guessed from metadata and file names];\n"
         "                        none: as Wan2.1:");
    for (int i = 0; lv_preset_at(i); i++)
        printf("          %-13s %s\n", lv_preset_at(i)->name,
               lv_preset_at(i)->about);
}

static int set_strict(Setup *s, const char *value)
{
    if (!value)
        return -1;
    s->strict = !strcmp(value, "1");
    return s->strict || !strcmp(value, "0") ? 0 :
           lv_tool_fail(-1, "option --strict: expected 0 or 1, got '%s'", value);
}

static int set_option(Setup *s, LvArgs *a)
{
    const char **to = NULL;

    if (lv_args_overwrite(a, &s->overwrite))
        return 0;
    if (!strcmp(a->name, "strict"))
        return set_strict(s, lv_args_value(a));
    for (int i = 0; i < PARTS; i++)
        to = !strcmp(a->name, part_options[i]) ? &s->chosen[i] : to;
    to = !strcmp(a->name, "dit_low") ? &s->chosen_low : to;
    to = !strcmp(a->name, "name") ? &s->output : to;
    to = !strcmp(a->name, "preset") ? &s->preset : to;
    to = !strcmp(a->name, "tokenizer") ? &s->tokenizer : to;
    if (!strcmp(a->name, "lora") && s->loras == LORAS_MAX)
        return lv_tool_fail(-1, "option --lora: expected at most %d of them", LORAS_MAX);
    if (!strcmp(a->name, "lora"))
        to = &s->lora[s->loras++];
    if (!to)
        return lv_tool_fail(-1, "no option \"%s\"; linvideo setup --help lists them",
                            a->name);
    if (!(*to = lv_args_value(a)))
        return -1;
    if (to == &s->preset && !lv_preset_find(s->preset))
        return lv_tool_fail(-1, "no preset \"%s\"; linvideo setup --help lists them",
                            s->preset);
    return 0;
}

/* -1 to go on, or an exit code. */
static int parse(Setup *s, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && set_option(s, &a) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && s->folder)
            return lv_tool_fail(LV_EXIT_USAGE, "two folders, the second is \"%s\"", a.value);
        if (!a.name[0])
            s->folder = a.value;
    }
    return s->folder ? -1 : lv_tool_fail(LV_EXIT_USAGE, "setup: expected a folder");
}

static int cmd_setup(int argc, char **argv)
{
    Setup s = { .folder = NULL };
    int ret = parse(&s, argc, argv);

    if (ret < 0)
        ret = run(&s) < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
    for (int i = 0; i < s.nb; i++)
        free(s.file[i].path);
    free(s.file);
    for (int i = 0; i < s.shards; i++)
        free(s.shard[i]);
    free(s.shard);
    return ret;
}

const LvCommand lv_cmd_setup = {
    .name  = "setup",
    .about = "make a model from downloaded files",
    .run   = cmd_setup,
};
