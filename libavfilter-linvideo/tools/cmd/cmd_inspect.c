/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo inspect`: what a model file is, and what running it takes.
 */

#include "tools/cmd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linvideo/linvideo.h>

#include "api/model.h"
#include "base/common.h"
#include "graph/dump.h"
#include "graph/program.h"
#include "model/files.h"
#include "model/names.h"
#include "model/presets.h"
#include "model/range.h"
#include "pipeline/session.h"
#include "tools/share/arguments.h"
#include "tools/share/blank.h"
#include "tools/share/message.h"

/* More than any machine has: planning is to succeed here. */
#define NO_LIMIT ((int64_t)1 << 59)

typedef struct Network {
    const char *name;
    const LvSource *src;
    char prefix[96];    ///< of its tensors
    int tensors;
    double parameters, bytes;
    int types[LV_DTYPE_NB];
} Network;

typedef struct Memory {
    const char *precision;
    enum LinvideoPrecision value;
    int64_t weights, work; ///< -1: not possible here
} Memory;

enum { NETWORKS = 7, MEMORIES = 4 };

typedef struct Report {
    LvMsg msg;
    const char *name, *size, *graph, *device;
    int json, tensors;
    char path[LV_PATH_SIZE];
    LvFiles files;
    LvSource *single;     ///< a network's file alone; NULL: a model
    LvModelConfig cfg;
    Network network[NETWORKS];
    Memory memory[MEMORIES];
    LinvideoInfo info;    ///< of the last precision that opened; no strings
} Report;

/* Gathering */

static void count_network(Network *n)
{
    for (int i = 0; i < lv_source_count(n->src); i++) {
        const LvFileTensor *t = lv_source_at(n->src, i);

        if (strncmp(t->name, n->prefix, strlen(n->prefix)))
            continue;
        n->tensors++;
        n->parameters += t->dtype == LV_U8 ? 0 : t->numel;
        n->bytes      += t->size;
        n->types[t->dtype]++;
    }
}

static void count_tensors(Report *r)
{
    const LvFiles *f = &r->files;
    const struct {
        const char *name;
        const LvPart *part;
        const char *more;
    } parts[NETWORKS] = {
        { "dit", &f->dit, "" }, { "dit_low", &f->low, "" }, { "text", &f->text, "" },
        { "decoder", &f->vae, "decoder." }, { "encoder", &f->vae, "encoder." },
        { "tokenizer", NULL, "tokenizer." }, { "clip", &f->clip, "" },
    };

    for (int k = 0; k < NETWORKS; k++) {
        Network *n = &r->network[k];

        n->name = parts[k].name;
        n->src  = parts[k].part ? parts[k].part->src : f->dit.src;
        snprintf(n->prefix, sizeof(n->prefix), "%s%s",
                 parts[k].part ? parts[k].part->prefix : "", parts[k].more);
        if (!n->src)
            continue;
        if (parts[k].part || f->bundle)
            count_network(n);
    }
}

/* Open as a user would, for each precision. The last failure is told, when none
 * opens. */
static int plan(Report *r)
{
    static const char *const names[MEMORIES] = { "f32", "bf16", "int8", "fp8" };
    int ret = 0, opened = 0;

    for (int i = 0; i < MEMORIES; i++) {
        Memory *m = &r->memory[i];
        LinvideoContext *c = NULL;
        LinvideoParams p;

        *m = (Memory) { names[i], LINVIDEO_PRECISION_F32 + i, -1, -1 };
        linvideo_params_default(&p);
        p.model        = r->path;
        p.prompt       = "a";
        p.precision    = m->value;
        p.memory_limit = NO_LIMIT;
        lv_tool_blank(&p, lv_preset_images(&r->cfg.dit));
        p.device       = r->device;
        p.log          = opened ? NULL : lv_tool_log;
        p.log_level    = LINVIDEO_LOG_ERROR;
        if (r->size && linvideo_params_set(&p, "size", r->size) < 0)
            return -EINVAL;
        ret = linvideo_open(&c, &p);
        if (ret < 0)
            continue;
        linvideo_info(c, &r->info);
        m->weights = r->info.memory_weights;
        m->work    = r->info.memory_work;
        opened++;
        linvideo_close(&c);
    }
    return opened ? 0 : ret;
}

/* A file that is no bundle is one network. */
static int open_file(Report *r)
{
    int ret = lv_files_is_manifest(r->path, &r->msg);

    ret = ret ? LV_MIN(ret, 0) : lv_source_open(&r->single, r->path, &r->msg);

    if (ret < 0 || (r->single && !lv_source_meta(r->single, LV_CONFIG_KEY) &&
                    lv_part_find(r->single).kind != LV_PART_NONE))
        return ret;
    lv_source_close(&r->single);
    return lv_files_open(&r->files, r->path, NULL, 0, 0, &r->msg);
}

static int gather(Report *r)
{
    int ret = lv_model_find(r->path, r->name, &r->msg);

    if (ret < 0 || (ret = open_file(r)) < 0)
        return ret;
    if (r->single) {
        r->network[0] = (Network) { .name = lv_part_name(lv_part_find(r->single).kind),
                                    .src = r->single };
        count_network(&r->network[0]);
        return 0;
    }
    r->cfg = r->files.cfg;
    count_tensors(r);
    return plan(r);
}

/* Text */

static void print_attention(const LvDitConfig *c)
{
    printf("  attention  ");
    for (int i = 0, k; i < c->layers; i = k) {
        for (k = i + 1; k < c->layers && c->attention[k] == c->attention[i]; k++)
            ;
        printf("%s%s in layer%s %d", i ? ", " : "", lv_attn_kind_name(c->attention[i]),
               k - i > 1 ? "s" : "", i);
        if (k - i > 1)
            printf(" to %d", k - 1);
    }
    putchar('\n');
    if (lv_config_layers(c, LV_ATTN_SOFTMAX) < c->layers)
        printf("  map        %s, %d columns, eps %g\n", lv_map_name(c->map), c->map_dim,
               c->map_eps);
}

static void print_range(const LvRange *r)
{
    char text[LV_RANGE_TEXT];

    printf("made for     %s", lv_range_text(text, r));
    if (r->max_frames && r->min_frames == r->max_frames)
        printf(", %d frames", r->max_frames);
    else if (r->max_frames)
        printf(", %d to %d frames", LV_MAX(r->min_frames, 1), r->max_frames);
    putchar('\n');
}

static json_t *range_json(const LvRange *r)
{
    return json_pack("{s:[i,i], s:[i,i], s:[i,i], s:[i,i], s:b}",
                     "width", r->min_width, r->max_width,
                     "height", r->min_height, r->max_height,
                     "pixels", r->min_pixels, r->max_pixels,
                     "frames", r->min_frames, r->max_frames, "lenient", r->lenient);
}

static void print_config(const Report *r)
{
    const LvDitConfig *d = &r->cfg.dit;
    const LvUmt5Config *t = &r->cfg.text;
    const LvVideoConfig *v = &r->cfg.video;
    char rate[32];

    lv_tool_line(stdout, "model        %s", r->path);
    printf("clip         %dx%d, %d frames at %s/s\n", v->width, v->height, v->frames,
           lv_rate_text(rate, sizeof(rate), v->rate_num, v->rate_den));
    print_range(&r->cfg.range);
    printf("sampler      %s, %d steps, shift %g, guidance %g%s\n", v->sampler, v->steps,
           v->shift, v->guidance, v->guidance > 1 ? "" : " (off)");
    if (r->files.low.kind)
        printf("  networks   two: for steps from noise level %g on, and the others, with guidance "
               "%g\n", v->boundary, v->guidance_low);
    printf("dit          %d layers of %d, %d heads of %d, MLP of %d\n", d->layers, d->dim,
           d->heads, d->dim / d->heads, d->ffn_dim);
    print_attention(d);
    printf("  latents    %d channels, %d x %d x %d to a token\n", d->channels,
           d->patch[0], d->patch[1], d->patch[2]);
    if (d->cond_channels)
        printf("  images     %s%s\n", d->clip_images == 2 ? "the first frame and the last"
               : d->clip_images ? "the first frame" : "the first frame, the last may be given",
               d->clip_dim ? ", and CLIP's features of them" : "");
    printf("  text       %d rows of %d\n", d->text_len, d->text_dim);
    printf("text         UMT5, %d layers of %d, %d heads of %d, MLP of %d, %d pieces\n",
           t->layers, t->dim, t->heads, t->dim_attn / t->heads, t->dim_ffn, t->vocab);
    if (r->cfg.vae.kind == LV_VAE_WAN)
        printf("decoder      Wan%s's, %d channels next to the pixels\n",
               r->cfg.vae.patch > 1 ? "2.2" : "", r->cfg.vae.width);
    else
        printf("decoder      TAEHV, pixels in patches of %d x %d\n", r->cfg.vae.patch,
               r->cfg.vae.patch);
}

static void print_part(const char *name, const LvPart *p)
{
    static const char *const layouts[LV_LAYOUT_NB] = { "the reference", "diffusers",
                                                       "llama.cpp" };

    lv_tool_line(stdout, "%-12s %s, names of %s%s%s", name,
                 lv_source_path(p->src), layouts[p->layout], p->prefix[0] ? " below " : "",
                 p->prefix);
}

static void print_files(const Report *r)
{
    const LvFiles *f = &r->files;

    if (f->bundle)
        return;
    putchar('\n');
    print_part("dit", &f->dit);
    if (f->low.kind)
        print_part("dit_low", &f->low);
    print_part("text", &f->text);
    print_part(lv_part_name(f->vae.kind), &f->vae);
    if (f->clip.kind)
        print_part("clip", &f->clip);
}

static void print_networks(const Report *r)
{
    char bytes[32];

    printf("\n%-12s %8s %14s %12s  types\n", "network", "tensors", "parameters", "size");
    for (int k = 0; k < NETWORKS; k++) {
        const Network *n = &r->network[k];

        if (!n->tensors)
            continue;
        printf("%-12s %8d %14.0f %12s ", n->name, n->tensors, n->parameters,
               lv_bytes_text(bytes, sizeof(bytes), n->bytes));
        for (int t = 0; t < LV_DTYPE_NB; t++)
            if (n->types[t])
                printf(" %s", lv_dtype_name(t));
        putchar('\n');
    }
}

static void print_memory(const Report *r)
{
    const LinvideoInfo *i = &r->info;
    char a[32], b[32], c[32];

    printf("\n%dx%d, %d frames: %d tokens", i->width, i->height, i->clip_frames, i->tokens);
    if (i->width != i->model_width || i->height != i->model_height)
        printf(" (made at %dx%d%s)", i->model_width, i->model_height,
               i->scaled ? " and scaled" : "");
    printf("\n%-12s %12s %12s %12s\n", "memory", "weights", "work", "in all");
    for (int k = 0; k < MEMORIES; k++) {
        const Memory *m = &r->memory[k];

        if (m->weights < 0)
            printf("%-12s %12s\n", m->precision, "not on this machine");
        else
            printf("%-12s %12s %12s %12s\n", m->precision,
                   lv_bytes_text(a, sizeof(a), m->weights),
                   lv_bytes_text(b, sizeof(b), m->work),
                   lv_bytes_text(c, sizeof(c), (double)m->weights + m->work));
    }
}

static void print_source(const LvSource *src)
{
    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        char shape[LV_SHAPE_SIZE];

        lv_tool_line(stdout, "%-48s %-5s %s", t->name, lv_dtype_name(t->dtype),
                     lv_shape_text(shape, t->rank, t->dim));
    }
}

static void print_tensors(const Report *r)
{
    putchar('\n');
    if (r->single)
        print_source(r->single);
    for (int i = 0; i < r->files.nb_src; i++)
        print_source(r->files.src[i]);
}

/* JSON */

static json_t *networks_json(const Report *r)
{
    json_t *all = json_object();

    for (int k = 0; k < NETWORKS && r->network[k].name; k++) {
        const Network *n = &r->network[k];
        json_t *types = json_object();

        for (int t = 0; t < LV_DTYPE_NB; t++)
            if (n->types[t])
                json_object_set_new(types, lv_dtype_name(t), json_integer(n->types[t]));
        json_object_set_new(all, n->name, json_pack("{s:i, s:I, s:I, s:o}",
            "tensors", n->tensors, "parameters", (json_int_t)n->parameters,
            "bytes", (json_int_t)n->bytes, "types", types));
    }
    return all;
}

static json_t *memory_json(const Report *r)
{
    json_t *all = json_object();

    for (int k = 0; k < MEMORIES; k++)
        if (r->memory[k].weights >= 0)
            json_object_set_new(all, r->memory[k].precision, json_pack("{s:I, s:I}",
                "weights", (json_int_t)r->memory[k].weights,
                "work", (json_int_t)r->memory[k].work));
    return all;
}

static json_t *dit_json(const LvDitConfig *d)
{
    json_t *kinds = json_array();

    for (int i = 0; i < d->layers; i++)
        json_array_append_new(kinds, json_string(lv_attn_kind_name(d->attention[i])));
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i,i], s:s, s:i, s:o}",
                     "layers", d->layers, "dim", d->dim, "heads", d->heads, "ffn_dim",
                     d->ffn_dim, "text_len", d->text_len, "text_dim", d->text_dim,
                     "channels", d->channels, "patch", d->patch[0], d->patch[1],
                     d->patch[2], "map", lv_map_name(d->map), "map_dim", d->map_dim,
                     "attention", kinds);
}

static void put_source(json_t *all, const LvSource *src)
{
    for (int i = 0; i < lv_source_count(src); i++) {
        const LvFileTensor *t = lv_source_at(src, i);
        json_t *shape = json_array();

        for (int k = 0; k < t->rank; k++)
            json_array_append_new(shape, json_integer(t->dim[k]));
        json_object_set_new(all, t->name, json_pack("{s:s, s:o}", "dtype",
                            lv_dtype_name(t->dtype), "shape", shape));
    }
}

static json_t *tensors_json(const Report *r)
{
    json_t *all = json_object();

    if (r->single)
        put_source(all, r->single);
    for (int i = 0; i < r->files.nb_src; i++)
        put_source(all, r->files.src[i]);
    return all;
}

static int dump_json(const Report *r, json_t *root)
{
    if (root && r->tensors)
        json_object_set_new(root, "tensors", tensors_json(r));
    if (!root || json_dumpf(root, stdout, JSON_INDENT(2)))
        return lv_fail(&r->msg, -ENOMEM, "out of memory");
    putchar('\n');
    json_decref(root);
    return 0;
}

static int print_json(const Report *r)
{
    const LvVideoConfig *v = &r->cfg.video;
    const LvUmt5Config *t = &r->cfg.text;
    json_t *root = json_pack(
        "{s:s, s:{s:i, s:i, s:i, s:[i,i]}, s:o, s:{s:s, s:i, s:f, s:f}, s:o,"
        " s:{s:i, s:i, s:i, s:i, s:i}, s:o, s:{s:i, s:i, s:i, s:i}, s:o}",
        "path", r->path,
        "clip", "width", v->width, "height", v->height, "frames", v->frames,
        "rate", v->rate_num, v->rate_den,
        "range", range_json(&r->cfg.range),
        "sampler", "name", v->sampler, "steps", v->steps, "shift", v->shift,
        "guidance", v->guidance,
        "dit", dit_json(&r->cfg.dit),
        "text", "layers", t->layers, "dim", t->dim, "heads", t->heads,
        "ffn_dim", t->dim_ffn, "vocab", t->vocab,
        "networks", networks_json(r),
        "planned", "width", r->info.width, "height", r->info.height,
        "frames", r->info.clip_frames, "tokens", r->info.tokens,
        "memory", memory_json(r));

    return dump_json(r, root);
}

/* Graphs */

static int dump(Report *r)
{
    LvSessionOptions o = { .model = r->path, .prompt = "a", .memory_limit = NO_LIMIT };
    LvSession *s = NULL;
    int ret;

    o.width  = r->info.width;
    o.height = r->info.height;
    ret = lv_session_open(&s, &o, &r->msg);
    if (ret < 0)
        return ret;
    ret = lv_session_dump(s, r->graph, stdout);
    lv_session_close(&s);
    return ret;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo inspect [options] [FILE|NAME]\n"
         "\n"
         "Shows what a model, a bundle or a manifest, holds: its networks and how they are\n"
         "stored, the kind of attention of each layer, the clip it was made for, its\n"
         "sampler, and the memory that it needs. Given one network's file, says what that\n"
         "is. Without a name it shows the model that generate uses.\n"
         "\n"
         "  --size WxH            plan memory and graphs for frames of this size\n"
         "  --device NAME         plan memory for this device\n"
         "  --graph NAME          print the operations of a network in the order in which\n"
         "                        they run: text, dit or decode\n"
         "  --tensors             also list all tensors: name, type, shape\n"
         "  --json                print JSON");
}

static int set_option(Report *r, LvArgs *a)
{
    if (!strcmp(a->name, "json"))
        return r->json = 1, 0;
    if (!strcmp(a->name, "tensors"))
        return r->tensors = 1, 0;
    if (!strcmp(a->name, "size"))
        return (r->size = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "device"))
        return (r->device = lv_args_value(a)) ? 0 : -1;
    if (strcmp(a->name, "graph"))
        return lv_tool_fail(-1, "no option \"%s\"; linvideo inspect --help lists them",
                            a->name);
    r->graph = lv_args_value(a);
    if (r->graph && strcmp(r->graph, "text") && strcmp(r->graph, "dit") &&
        strcmp(r->graph, "decode"))
        return lv_tool_fail(-1, "option graph: \"%s\" is not one of text, dit, decode",
                            r->graph);
    return r->graph ? 0 : -1;
}

/* -1 to go on, or an exit code. */
static int parse(Report *r, int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && set_option(r, &a) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && r->name)
            return lv_tool_fail(LV_EXIT_USAGE, "two models, the second is \"%s\"",
                                a.value);
        if (!a.name[0])
            r->name = a.value;
    }
    return -1;
}

/* What the name or the metadata tell of a network or LoRA that can't be run. */
static int check_hint(const Report *r, const LvPart *part)
{
    LvHint h;

    if (part->kind != LV_PART_DIT && part->kind != LV_PART_LORA)
        return 0;
    h = lv_hint_of(part, r->path);
    return lv_hint_check(&h, r->path, LV_AS_ALONE, LV_CHOSEN_CAUSAL, &r->msg);
}

static int print(Report *r)
{
    if (r->graph)
        return r->single ? lv_tool_fail(-EINVAL, "--graph needs a whole model") : dump(r);
    if (r->json)
        return r->single ? dump_json(r, json_pack("{s:s, s:o}", "path", r->path, "networks",
                                                  networks_json(r))) : print_json(r);
    if (r->single) {
        const LvPart part = lv_part_find(r->single);
        print_part(lv_part_name(part.kind), &part);
        print_networks(r);
        if (r->tensors)
            print_tensors(r);
        return check_hint(r, &part);
    }
    print_config(r);
    print_files(r);
    print_networks(r);
    print_memory(r);
    if (r->tensors)
        print_tensors(r);
    return 0;
}

static int cmd_inspect(int argc, char **argv)
{
    Report *r = calloc(1, sizeof(*r));
    int ret;

    if (!r)
        return lv_tool_fail(LV_EXIT_FAILED, "out of memory");
    r->msg = lv_tool_msg;
    ret = parse(r, argc, argv);
    if (ret < 0) {
        ret = gather(r);
        if (!ret)
            ret = print(r);
        ret = !ret ? LV_EXIT_OK : ret == -EINVAL ? LV_EXIT_USAGE : LV_EXIT_FAILED;
    }
    lv_files_close(&r->files);
    lv_source_close(&r->single);
    free(r);
    return ret;
}

const LvCommand lv_cmd_inspect = {
    .name  = "inspect",
    .about = "show what a model holds and how much memory it needs",
    .run   = cmd_inspect,
};
