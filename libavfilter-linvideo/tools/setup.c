/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo setup`: looks at a folder of downloaded files, says what each one is, and
 * writes the manifest that makes a model of them.
 */

#include "tools/tools.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"
#include "model/files.h"
#include "model/names.h"
#include "model/presets.h"
#include "model/spm.h"

enum { FILES_MAX = 512, PATH_SIZE = 4096, DEPTH_MAX = 3 };

/** What a file turned out to be. */
enum Kind { KIND_NONE = LV_PART_NONE, KIND_DIT = LV_PART_DIT, KIND_TEXT = LV_PART_TEXT,
            KIND_WAN_VAE = LV_PART_WAN_VAE, KIND_TAE = LV_PART_TAE,
            KIND_LORA = LV_PART_LORA, KIND_TOKENIZER = LV_PART_NB, KIND_PICKLE,
            KIND_SHARD, KIND_BROKEN };

typedef struct Found {
    char *path;      ///< within the folder
    int kind;        ///< Kind
    double bytes;
    int has_spm;     ///< a text encoder with its tokenizer
    LvHint hint;     ///< DIT, LORA
    char why[256];   ///< BROKEN
    char about[96];
} Found;

typedef struct Setup {
    const char *folder, *output, *preset;
    const char *chosen[3]; ///< --dit, --text, --vae
    const char *lora[16];
    int loras;
    Found *file;
    int nb;
    char why[256];   ///< the last message
} Setup;

static void catch_line(void *opaque, int level, const char *line)
{
    Setup *s = opaque;

    if (level == LV_MSG_ERROR)
        snprintf(s->why, sizeof(s->why), "%.255s", line);
}

/* Looking */

static int ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n >= k && !strcmp(name + n - k, end);
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
    part    = lv_part_find(src);
    f->kind = part.kind;
    f->has_spm = lv_source_find(src, "spiece_model") ||
                 (lv_source_gguf(src) &&
                  lv_gguf_value(lv_source_gguf(src), "tokenizer.ggml.tokens"));
    if (part.kind != LV_PART_NONE && part.kind != LV_PART_LORA)
        describe(f, &part);
    if (part.kind == LV_PART_DIT || part.kind == LV_PART_LORA)
        lv_hint(&f->hint, src, path, part.kind == LV_PART_LORA);
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

static void look_at(Setup *s, Found *f, const char *path)
{
    const char *name = f->path;

    if (ends_with(name, ".safetensors") || ends_with(name, ".gguf") ||
        ends_with(name, ".index.json"))
        look_at_source(s, f, path);
    else if (ends_with(name, ".model") || ends_with(name, ".spm"))
        look_at_tokenizer(f, path);
    else if (ends_with(name, ".pth") || ends_with(name, ".pt") || ends_with(name, ".ckpt"))
        f->kind = KIND_PICKLE;
}

static int walk(Setup *s, const char *within, int depth)
{
    char path[PATH_SIZE], name[PATH_SIZE];
    struct dirent *e;
    struct stat st;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", s->folder, within);
    if (!(d = opendir(path)))
        return lv_tool_fail(-errno, "%s: %s", path, strerror(errno));
    while ((e = readdir(d)) && s->nb < FILES_MAX) {
        if (e->d_name[0] == '.' ||
            snprintf(name, sizeof(name), "%s%s%s", within, *within ? "/" : "",
                     e->d_name) >= PATH_SIZE ||
            snprintf(path, sizeof(path), "%s/%s", s->folder, name) >= PATH_SIZE ||
            stat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
            walk(s, name, depth + 1);
        if (!S_ISREG(st.st_mode) || s->nb == FILES_MAX)
            continue;
        s->file[s->nb] = (Found) { .path = strdup(name), .bytes = (double)st.st_size };
        if (s->file[s->nb].path)
            look_at(s, &s->file[s->nb++], path);
    }
    closedir(d);
    return 0;
}

/* Shards of an index that was found: "NAME-00001-of-00006.safetensors" beside it. */
static void mark_shards(Setup *s)
{
    for (int i = 0; i < s->nb; i++) {
        const char *end = strstr(s->file[i].path, ".safetensors.index.json");
        size_t n = end ? (size_t)(end - s->file[i].path) : 0;
        for (int k = 0; k < s->nb && n && s->file[i].kind != KIND_BROKEN; k++) {
            const char *of = strstr(s->file[k].path + LV_MIN(n, strlen(s->file[k].path)),
                                    "-of-");
            if (k != i && !strncmp(s->file[k].path, s->file[i].path, n) && of) {
                s->file[i].bytes += s->file[k].bytes;
                s->file[k].kind   = KIND_SHARD;
            }
        }
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const Found *)a)->path, ((const Found *)b)->path);
}

static void print_found(const Setup *s)
{
    static const char *const names[] = { "", "network", "text encoder", "decoder",
                                         "tiny decoder", "LoRA", "tokenizer",
                                         "PyTorch file", "", "not readable" };
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

static void put_message(void *opaque, int level, const char *line)
{
    lv_tool_log(opaque, level, line);
}

static const LvMsg to_user = { put_message, NULL, LV_MSG_WARNING };

/* Whether a network or LoRA can be run, with a message where not. */
static int is_usable(const Setup *s, const Found *f)
{
    return lv_hint_check(&f->hint, f->path, s->preset != NULL, &to_user) >= 0;
}

/* The only file of a kind that can be run; NULL after a message. */
static const Found *pick(const Setup *s, int kind, const char *option, const char *what)
{
    const Found *found = NULL, *other = NULL;
    int nb = 0;

    for (int i = 0; i < s->nb; i++) {
        const Found *f = &s->file[i];
        if (f->kind == kind && f->hint.use == LV_USE_NONE)
            other = f;
        nb   += f->kind == kind && f != other;
        found = f->kind == kind && f != other ? f : found;
    }
    if (nb == 1)
        return found;
    if (!nb && other)
        is_usable(s, other);
    else if (!nb)
        lv_tool_fail(0, "no %s in %s", what, s->folder);
    else
        lv_tool_fail(0, "%d files hold a %s; say which with --%s NAME", nb, what, option);
    return NULL;
}

static int count(const Setup *s, int kind)
{
    int nb = 0;

    for (int i = 0; i < s->nb; i++)
        nb += s->file[i].kind == kind;
    return nb;
}

static const Found *choose(const Setup *s, int part)
{
    static const char *const options[] = { "dit", "text", "vae" };
    static const char *const what[] = { "network for text to video", "text encoder",
                                        "decoder" };
    int kind = part == 0 ? KIND_DIT : part == 1 ? KIND_TEXT
             : count(s, KIND_WAN_VAE) ? KIND_WAN_VAE : KIND_TAE;
    const Found *found;

    found = s->chosen[part] ? pick_named(s, s->chosen[part])
                            : pick(s, kind, options[part], what[part]);
    return found && is_usable(s, found) ? found : NULL;
}

/* Writing */

static void put_line(void *opaque, int level, const char *line)
{
    lv_tool_log(opaque, (enum LinvideoLogLevel)level, line);
}

/* {"file", "weight"} of NAME[@WEIGHT], and the file; NULL after a message. */
static json_t *lora_json(const Setup *s, const char *text, const Found **f)
{
    const LvMsg msg = { put_line, NULL, LV_MSG_ERROR };
    char name[PATH_SIZE];
    LvLoraFile lora;

    snprintf(name, sizeof(name), "%s", text);
    if (lv_lora_split(&lora, name, &msg) < 0 || !(*f = pick_named(s, lora.path)) ||
        !is_usable(s, *f))
        return NULL;
    return json_pack("{s:s, s:f}", "file", (*f)->path, "weight",
                     rint(1e6 * lora.weight) / 1e6);
}

/* The LoRAs, and the last of them that tells how to sample, or NULL. */
static json_t *loras_json(const Setup *s, const Found **few_steps)
{
    json_t *list = json_array();
    const Found *hinted = NULL, *f;

    for (int i = 0; i < s->loras; i++) {
        json_t *lora = lora_json(s, s->lora[i], &f);

        if (!lora) {
            json_decref(list);
            return NULL;
        }
        hinted = f->hint.preset ? f : hinted;
        json_array_append_new(list, lora);
    }
    *few_steps = hinted;
    return list;
}

/* What a file tells of how to sample, said to the user. */
static const char *preset_of(const Setup *s, const Found *f)
{
    const LvPreset *p = f->hint.preset;

    if (s->preset)
        return lv_preset_find(s->preset)->name;
    if (!p)
        return lv_preset_at(0)->name;
    printf("\n%s: sampler %s, %d steps, shift %g, guidance %g:\n"
           "guessed from the word '%s' in %s; --preset none turns it off\n", f->path, p->solver,
           p->steps, (double)p->shift, (double)p->guidance, f->hint.word, f->hint.from);
    return p->name;
}

/* Latents of tiny decoders: lighttaew2_1 takes plain ones. */
static const char *latents_of(const Found *f)
{
    const char *slash = strrchr(f->path, '/'), *name = slash ? slash + 1 : f->path;
    size_t n;
    int plain = lv_find_word(name, "light", &n) || !strncmp(name, "lighttae", 8);

    if (plain)
        printf("\n%s: latents plain: guessed from the word 'light' in its name\n", f->path);
    return plain ? "plain" : "normalised";
}

static json_t *manifest(const Setup *s)
{
    const Found *part[3], *spm = NULL;
    const Found *few_steps = NULL;
    json_t *root, *loras = loras_json(s, &few_steps);

    for (int i = 0; i < 3; i++)
        if (!loras || !(part[i] = choose(s, i))) {
            json_decref(loras);
            return NULL;
        }
    if (!part[1]->has_spm &&
        !(spm = pick(s, KIND_TOKENIZER, "tokenizer", "tokenizer (spiece.model)"))) {
        json_decref(loras);
        return NULL;
    }
    root = json_pack("{s:s, s:s, s:s, s:s}", "dit", part[0]->path, "text", part[1]->path,
                     "vae", part[2]->path, "preset",
                     preset_of(s, few_steps ? few_steps : part[0]));
    if (spm)
        json_object_set_new(root, "tokenizer", json_string(spm->path));
    if (json_array_size(loras))
        json_object_set(root, "loras", loras);
    if (part[2]->kind == KIND_TAE)
        json_object_set_new(root, "latents", json_string(latents_of(part[2])));
    json_decref(loras);
    return root;
}

/* The manifest is opened as generate does it, before it is said to be good. */
static int check(const char *path)
{
    LinvideoContext *c;
    LinvideoParams p;
    LinvideoInfo info;
    char weights[32], work[32];
    int ret;

    linvideo_params_default(&p);
    p.model        = path;
    p.prompt       = "a";
    p.memory_limit = (int64_t)1 << 59;
    p.log          = lv_tool_log;
    p.log_level    = LINVIDEO_LOG_ERROR;
    if ((ret = linvideo_open(&c, &p)) < 0)
        return ret;
    linvideo_info(c, &info);
    printf("\nwrote %s\n%dx%d, %d frames at %d/s, %s, %d steps, shift %g, guidance %g\n"
           "memory: weights %s, work %s\n\n  linvideo generate --model %s \"a prompt\"\n",
           path, info.width, info.height, info.clip_frames, info.rate_num / info.rate_den,
           info.sampler, info.steps, info.shift, info.guidance,
           lv_bytes_text(weights, sizeof(weights), (double)info.memory_weights),
           lv_bytes_text(work, sizeof(work), (double)info.memory_work), path);
    linvideo_close(&c);
    return 0;
}

static int run(Setup *s)
{
    char path[PATH_SIZE];
    json_t *root;
    int ret;

    if (!(s->file = calloc(FILES_MAX, sizeof(*s->file))))
        return lv_tool_fail(-ENOMEM, "out of memory");
    if ((ret = walk(s, "", 0)) < 0)
        return ret;
    qsort(s->file, (size_t)s->nb, sizeof(*s->file), by_path);
    mark_shards(s);
    print_found(s);
    if (!(root = manifest(s)))
        return -ENOENT;
    snprintf(path, sizeof(path), "%s/%s.json", s->folder, s->output ? s->output : "wan");
    ret = json_dump_file(root, path, JSON_INDENT(2)) ? -EIO : 0;
    json_decref(root);
    return ret < 0 ? lv_tool_fail(ret, "%s: can't be written", path) : check(path);
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo setup [options] FOLDER\n\n"
         "Looks at the files in a folder (safetensors, GGUF, tokenizer), says what each\n"
         "one is, and writes FOLDER/wan.json, a model that generate takes.\n\n"
         "  --name NAME           write FOLDER/NAME.json\n"
         "  --dit, --text, --vae NAME\n"
         "                        which file to take, where there are several\n"
         "  --lora NAME[@WEIGHT]  a LoRA to add; may be given again\n"
         "  --preset NAME         how to sample [as metadata or names of the files tell];\n"
         "                        none: as Wan2.1:");
    for (int i = 0; lv_preset_at(i); i++)
        printf("                          %-13s %s\n", lv_preset_at(i)->name,
               lv_preset_at(i)->about);
}

static int set_option(Setup *s, LvArgs *a)
{
    static const char *const parts[] = { "dit", "text", "vae" };
    const char **to = NULL;

    for (int i = 0; i < 3; i++)
        to = !strcmp(a->name, parts[i]) ? &s->chosen[i] : to;
    to = !strcmp(a->name, "name") ? &s->output : to;
    to = !strcmp(a->name, "preset") ? &s->preset : to;
    if (!strcmp(a->name, "lora") && s->loras < (int)(sizeof(s->lora) / sizeof(*s->lora)))
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
    return s->folder ? -1 : lv_tool_fail(LV_EXIT_USAGE, "setup wants a folder");
}

int lv_cmd_setup(int argc, char **argv)
{
    Setup s = { .folder = NULL };
    int ret = parse(&s, argc, argv);

    if (ret < 0)
        ret = run(&s) < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
    for (int i = 0; i < s.nb; i++)
        free(s.file[i].path);
    free(s.file);
    return ret;
}
