/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "graph/program.h"
#include "graph/slots.h"
#include "model/presets.h"
#include "model/range.h"
#include "pipeline/deliver.h"
#include "pipeline/noise.h"

int lv_net_plan(LvNet *net, LvGraph **g, LvDevice *dev)
{
    int ret = lv_program_new(&net->prog, *g, dev);

    lv_graph_free(g);
    if (ret >= 0)
        net->sizes = lv_program_sizes(net->prog);
    return ret;
}

/* Opening */

/** Steps of the slowest models that count as few-step ones. */
enum { FEW_STEPS = 16 };

static const char *path_of(const LvSession *s)
{
    return s->files.path;
}

static int open_tokenizer(LvSession *s)
{
    const LvFiles *f = &s->files;
    int ret;

    if (!f->spm)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm is missing", path_of(s));
    if (f->spm_type != LV_U8)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm: file has type %s, "
                       "model wants U8", path_of(s), lv_dtype_name(f->spm_type));
    if ((ret = lv_tokenizer_open(&s->tokenizer, f->spm, f->spm_size, s->msg)) < 0)
        return ret;
    if (lv_tokenizer_size(s->tokenizer) > s->cfg.text.vocab)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm has %d pieces, "
                       "text.token_embedding.weight %d rows", path_of(s),
                       lv_tokenizer_size(s->tokenizer), s->cfg.text.vocab);
    return 0;
}

static LvWeightsFrom from_part(const LvSession *s, const LvPart *part, int described)
{
    return (LvWeightsFrom) { .src = part->src, .layout = part->layout, .wide = s->dtype,
                             .described = described };
}

/* Where a file holds several parts, those of the others are not wanted. */
static void skip_others(LvSession *s, LvWeights *w, const LvPart *part)
{
    const LvPart *parts[] = { &s->files.dit, &s->files.text, &s->files.vae };

    if (!s->files.bundle) {
        lv_files_skip_others(w, part);
        return;
    }
    for (int i = 0; i < LV_COUNT(parts); i++)
        if (parts[i] != part)
            lv_weights_skip(w, parts[i]->prefix);
    lv_weights_skip(w, "tokenizer.");
}

int lv_text_weights(LvSession *s, int described, LvWeights **w)
{
    const LvPart *part = &s->files.text;
    LvWeightsFrom from = from_part(s, part, described);
    int ret = lv_weights_new_from(w, &from, s->dev, s->msg);

    if (ret >= 0)
        skip_others(s, *w, part);
    return ret;
}

/* The text encoder is only looked at; its data are bound while it runs. */
static int check_text(LvSession *s)
{
    LvWeights *w = NULL;
    int ret = lv_text_weights(s, 1, &w);

    if (ret >= 0 &&
        (ret = lv_umt5_bind(&s->text, &s->cfg.text, w, s->files.text.prefix)) >= 0)
        ret = lv_weights_finish(w);
    lv_weights_free(&w);
    return ret;
}

static int bind_dit(LvSession *s, int described)
{
    const LvPart *part = &s->files.dit;
    LvWeightsFrom from = from_part(s, part, described);
    int ret;

    from.loras    = s->files.loras;
    from.later    = 1;
    from.streamed = s->streams ? s->streamed : NULL;
    lv_dit_free(&s->dit);
    lv_weights_free(&s->dit_weights);
    if ((ret = lv_weights_new_from(&s->dit_weights, &from, s->dev, s->msg)) < 0)
        return ret;
    skip_others(s, s->dit_weights, part);
    if ((ret = lv_dit_bind(&s->dit, &s->cfg.dit, s->dit_weights, part->prefix)) < 0 ||
        (ret = lv_weights_finish(s->dit_weights)) < 0)
        return ret;
    return s->files.loras ? lv_loras_finish(s->files.loras, s->msg) : 0;
}

/* Names in the encoder, which is not run. */
static void skip_encoder(LvSession *s)
{
    static const char *const names[] = { "encoder.", "conv1.", "quant_conv." };
    char name[LV_PARAM_NAME];

    for (int i = 0; i < (s->wan ? LV_COUNT(names) : 1); i++) {
        snprintf(name, sizeof(name), "%s%s", s->files.vae.prefix, names[i]);
        lv_weights_skip(s->vae_weights, name);
    }
}

static int bind_decoder(LvSession *s)
{
    const LvPart *part = &s->files.vae;
    char prefix[LV_PARAM_NAME];

    if (s->wan)
        return lv_wan_vae_bind(s->wan, &s->cfg.vae, 0, s->vae_weights, part->prefix);
    snprintf(prefix, sizeof(prefix), "%sdecoder.", part->prefix);
    return lv_tae_bind(&s->tae, &s->cfg.vae, 0, s->vae_weights, prefix);
}

static int bind_vae(LvSession *s, int described)
{
    LvWeightsFrom from = from_part(s, &s->files.vae, described);
    int ret;

    free(s->wan);
    s->wan = NULL;
    lv_weights_free(&s->vae_weights);
    if (s->cfg.vae.kind == LV_VAE_WAN && !(s->wan = calloc(1, sizeof(*s->wan))))
        return lv_fail(s->msg, LV_ERR(ENOMEM), "out of memory");
    if ((ret = lv_weights_new_from(&s->vae_weights, &from, s->dev, s->msg)) < 0)
        return ret;
    skip_others(s, s->vae_weights, &s->files.vae);
    skip_encoder(s);
    if ((ret = bind_decoder(s)) < 0)
        return ret;
    return lv_weights_finish(s->vae_weights);
}

/* Trace and plan all networks; what was planned before is freed. */
static int plan_networks(LvSession *s)
{
    int ret;

    lv_program_free(&s->net.prog);
    lv_program_free(&s->side.prog);
    for (int i = 0; i < LV_DECODERS; i++)
        lv_program_free(&s->decoder[i].net.prog);
    if ((ret = lv_text_plan(s)) < 0 || (ret = lv_denoise_plan(s)) < 0)
        return ret;
    return lv_decode_plan(s);
}

/* Whether one was given, or written into the model's own files: not Wan's, which all of its
 * models have. */
static int has_negative(const LvSession *s)
{
    const char *own = s->files.negative;

    if (s->opt.negative)
        return *s->opt.negative;
    return own && *own && strcmp(own, LV_WAN_NEGATIVE);
}

/* What is given and has no effect, or is far from what a few-step model was made for. */
static void warn_settings(const LvSession *s, const LvVideoConfig *own)
{
    const LvVideoConfig *v = &s->cfg.video;
    int few_steps = own->guidance <= 1 && own->steps <= FEW_STEPS;

    if (v->guidance <= 1 && has_negative(s))
        lv_msg(s->msg, LV_MSG_WARNING, "negative_prompt: it is not used with guidance 1, "
               "which is off");
    if (few_steps && v->guidance > 1)
        lv_msg(s->msg, LV_MSG_WARNING, "guidance: %g; the model is a few-step one, made for "
               "guidance 1: colours burn out, and it takes twice the time", v->guidance);
    if (few_steps && (v->steps > 2 * own->steps || 2 * v->steps < own->steps))
        lv_msg(s->msg, LV_MSG_WARNING, "steps: %d; the model is a few-step one, made for %d",
               v->steps, own->steps);
}

static int choose_sampler(LvSession *s)
{
    LvVideoConfig *v = &s->cfg.video;
    LvVideoConfig own = *v;
    int named = lv_sampler_by_name(v->sampler);

    if (named <= LV_SAMPLER_AUTO)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: unknown sampler '%s'",
                       path_of(s), v->sampler);
    s->sampler_kind = s->opt.sampler ? s->opt.sampler : named;
    v->steps        = s->opt.steps ? s->opt.steps : v->steps;
    v->shift        = s->opt.shift ? s->opt.shift : v->shift;
    v->guidance     = s->opt.guidance ? s->opt.guidance : v->guidance;
    s->branches     = v->guidance > 1 ? 2 : 1;
    warn_settings(s, &own);
    return 0;
}

static int check_delivery(const LvSession *s)
{
    return !s->opt.on_device || s->dev->fn->deliver ? 0 :
           lv_fail(s->msg, LV_ERR(EINVAL), "frames in CUDA memory want a CUDA device, not %s",
                   s->dev->about);
}

static int choose_precision(LvSession *s)
{
    int i8 = s->opt.precision == LV_I8;

    if (i8 && !s->dev->i8)
        return lv_fail(s->msg, LV_ERR_UNSUPPORTED, "%s has no int8 products, which are for "
                       "CPUs with AVX-512 VNNI; use precision auto", s->dev->about);
    s->dit.i8 = i8;
    s->dtype  = i8 ? LV_NONE : (LvDtype)s->opt.precision;
    if (!s->dtype)
        s->dtype = s->dev->bf16 ? LV_BF16 : LV_F32;
    if (s->dtype == LV_BF16 && !s->dev->bf16)
        return lv_fail(s->msg, LV_ERR_UNSUPPORTED, "%s has no bf16 products; use "
                       "precision f32", s->dev->about);
    return 0;
}

static void choose_frames(LvSession *s)
{
    const LvRange *r = &s->cfg.range;
    LvVideoConfig *v = &s->cfg.video;
    int asked = s->opt.clip_frames ? s->opt.clip_frames : v->frames;

    v->frames = s->opt.native ? asked : lv_range_frames(r, asked);
    if (v->frames != asked)
        lv_msg(s->msg, LV_MSG_WARNING, "clip_frames: %d; the model is made for clips of %d "
               "and makes these; native=1 makes what is asked", asked, v->frames);
    else if (r->max_frames && asked > r->max_frames)
        lv_msg(s->msg, LV_MSG_WARNING, "clip_frames: %d; the model is made for %d at most: "
               "longer clips repeat or fall apart", asked, r->max_frames);
}

/* The size to make pictures of v's at. */
static void fit_size(LvSession *s, int scale, int made[2])
{
    const LvVideoConfig *v = &s->cfg.video;
    const int *patch = s->cfg.dit.patch, asked[2] = { v->width, v->height };
    const int step[2] = { scale * patch[2], scale * patch[1] };
    char text[LV_RANGE_TEXT];
    int fit = lv_range_size(&s->cfg.range, asked, step, made);

    lv_range_text(text, &s->cfg.range);
    if (fit < 0)
        lv_msg(s->msg, LV_MSG_WARNING, "size: %dx%d is below what the model is made for "
               "(%s): pictures are poorer", asked[0], asked[1], text);
    else if (fit && s->opt.native)
        lv_msg(s->msg, LV_MSG_WARNING, "size: %dx%d is not what the model is made for (%s)",
               asked[0], asked[1], text);
    else if (fit)
        lv_msg(s->msg, LV_MSG_INFO, "size: the model is made for %s: %dx%d is made at %dx%d "
               "and scaled; native=1 makes what is asked", text, asked[0], asked[1],
               made[0], made[1]);
    s->scaled = fit > 0 && !s->opt.native;
    for (int i = 0; i < 2 && !s->scaled; i++)
        made[i] = asked[i];
}

static int prepare_scaling(LvSession *s)
{
    const LvVideoConfig *v = &s->cfg.video;

    if (!s->scaled)
        return 0;
    if (s->opt.on_device)
        return lv_fail(s->msg, LV_ERR_UNSUPPORTED, "size: %dx%d is scaled from %dx%d, which "
                       "is not done in GPU memory; ask for that size and use scale_cuda, "
                       "or native=1", v->width, v->height, s->cols, s->rows);
    return lv_resize_new(&s->resize, s->rows, s->cols, v->height, v->width) < 0
         ? lv_fail(s->msg, LV_ERR(ENOMEM), "out of memory") : 0;
}

/* Latents for the wanted pictures: rounded up to what the networks can make. */
static int choose_size(LvSession *s)
{
    LvVideoConfig *v = &s->cfg.video;
    const int *patch = s->cfg.dit.patch;
    int scale = s->wan ? LV_WAN_SCALE : s->tae.decoder.scale * s->cfg.vae.patch, made[2];

    v->width   = s->opt.width ? s->opt.width : v->width;
    v->height  = s->opt.height ? s->opt.height : v->height;
    choose_frames(s);
    fit_size(s, scale, made);
    lv_config_latents(&s->cfg, made, s->wan ? LV_WAN_FRAMES : s->tae.decoder.frames, scale,
                      s->size);
    s->rows    = s->size[1] * scale;
    s->cols    = s->size[2] * scale;
    if (s->size[0] > 1024 || s->size[1] / patch[1] > 1024 || s->size[2] / patch[2] > 1024)
        return lv_fail(s->msg, LV_ERR(EINVAL), "%dx%d, %d frames: more than 1024 tokens "
                       "along an axis", v->width, v->height, v->frames);
    return prepare_scaling(s);
}

/* State lies in two slabs, the host's and the device's. They are laid out twice:
 * without memory to find their sizes, then with it. */

typedef struct Slab {
    char *base;
    size_t at;
} Slab;

static void *take(Slab *slab, size_t bytes)
{
    char *p = slab->base ? slab->base + slab->at : NULL;

    slab->at += LV_ROUND_UP(bytes, LV_ALIGN);
    return p;
}

/* Of the whole pictures that a latent frame gives. */
static size_t picture_bytes(const LvSession *s)
{
    return 3 * sizeof(float) * (size_t)s->decoder[LV_REST].rgb.dim[0] * (size_t)s->rows *
           (size_t)s->cols;
}

static void lay_out_host(LvSession *s, Slab *slab)
{
    size_t latent = lv_tensor_bytes(&s->in.latent);
    const LvDecoder *d = &s->decoder[LV_REST];

    s->x           = take(slab, latent);
    s->z_host      = take(slab, lv_tensor_bytes(&d->z));
    if (!s->opt.on_device)
        s->rgb = take(slab, picture_bytes(s));
    if (!lv_decode_pastes(s))
        s->rgb_tile = take(slab, lv_tensor_bytes(&d->rgb));
    for (int i = 0; i < s->branches; i++)
        s->v[i] = take(slab, latent);
}

static void lay_out_pictures(LvSession *s, Slab *slab)
{
    s->rgb_whole = take(slab, picture_bytes(s));
    if (s->opt.on_device)
        s->rgb = s->rgb_whole;
    for (int i = 0; i < 2; i++)
        s->tiles[i].weight_dev = take(slab, lv_decode_weight_bytes(s, i));
}

static void lay_out_device(LvSession *s, Slab *slab)
{
    const LvDitConfig *c = &s->cfg.dit;
    size_t latent = lv_tensor_bytes(&s->in.latent);

    s->latent       = take(slab, latent);
    s->velocity_dev = take(slab, latent);
    s->t            = take(slab, sizeof(*s->t));
    s->rope         = take(slab, lv_tensor_bytes(&s->in.rope));
    s->z            = take(slab, lv_tensor_bytes(&s->decoder[LV_REST].z));
    s->rgb_dev      = take(slab, lv_tensor_bytes(&s->decoder[LV_REST].rgb));
    s->energy_dev   = take(slab, sizeof(*s->energy_dev));
    s->memory_dev   = take(slab, s->memory_bytes * (size_t)s->tiles[0].nb *
                                 (size_t)s->tiles[1].nb);
    if (lv_decode_pastes(s))
        lay_out_pictures(s, slab);
    for (int i = 0; i < s->branches; i++) {
        s->prompt[i].context = take(slab, sizeof(float) * (size_t)c->text_len *
                                          (size_t)c->text_dim);
        s->prompt[i].kv      = take(slab, lv_text_kv_bytes(s));
    }
}

static void size_state(LvSession *s)
{
    Slab host = { 0 }, dev = { 0 };

    lay_out_host(s, &host);
    lay_out_device(s, &dev);
    s->host_bytes  = host.at;
    s->state_bytes = dev.at;
}

/* The largest of what the programs want of a kind. */
static LvSizes largest_sizes(const LvSession *s)
{
    const LvSizes *all[] = { &s->net.sizes, &s->side.sizes,
                             &s->decoder[LV_FIRST].net.sizes,
                             &s->decoder[LV_REST].net.sizes };
    LvSizes m = { 0 };

    for (int i = 0; i < LV_COUNT(all); i++) {
        m.arena   = LV_MAX(m.arena, all[i]->arena);
        m.lower   = LV_MAX(m.lower, all[i]->lower);
        m.thread  = LV_MAX(m.thread, all[i]->thread);
        m.slot    = LV_MAX(m.slot, all[i]->slot);
    }
    /* Both decoders pack the same weights. */
    m.weights = s->net.sizes.weights + s->side.sizes.weights +
                LV_MAX(all[2]->weights, all[3]->weights);
    return m;
}

size_t lv_session_need(LvSession *s, LvSizes *m)
{
    *m = largest_sizes(s);
    s->arena_bytes  = m->arena;
    size_state(s);
    s->weight_bytes = m->weights + LV_SLOTS * m->slot + lv_weights_bytes(s->dit_weights) +
                      lv_weights_bytes(s->vae_weights);
    s->work_bytes   = s->arena_bytes + s->state_bytes + s->host_bytes +
                      m->thread * (size_t)s->dev->threads;
    return LV_MAX(s->weight_bytes + s->work_bytes,
                  s->text_bytes + s->state_bytes + s->host_bytes);
}

int lv_session_plan(LvSession *s)
{
    int ret = bind_dit(s, 1);

    return ret < 0 ? ret : plan_networks(s);
}

static int open_prompts(LvSession *s)
{
    const char *negative = s->opt.negative ? s->opt.negative : s->files.negative;
    const char *text[LV_BRANCHES] = { s->opt.prompt, negative };
    size_t max = (size_t)s->cfg.dit.text_len;
    int ret = 0;

    for (int i = 0; i < s->branches && ret >= 0; i++) {
        s->prompt[i].ids = calloc(max, sizeof(*s->prompt[i].ids));
        ret = s->prompt[i].ids ? lv_text_tokenize(s, &s->prompt[i],
                                                  text[i] ? text[i] : "")
                               : lv_fail(s->msg, LV_ERR(ENOMEM), "out of memory");
    }
    return ret;
}

static int open_all(LvSession *s)
{
    const LvDeviceOptions dev = { .threads = s->opt.threads, .isa = s->opt.isa,
                                  .context = s->opt.context, .stream = s->opt.stream };
    int ret;

    if ((ret = lv_files_open(&s->files, s->opt.model, s->opt.loras, s->opt.nb_loras, s->opt.strict,
                             s->msg)) < 0)
        return ret;
    s->cfg = s->files.cfg;
    if ((ret = lv_device_open(&s->dev, s->opt.device, &dev, s->msg)) < 0 ||
        (ret = check_delivery(s)) < 0 ||
        (ret = choose_precision(s)) < 0 || (ret = open_tokenizer(s)) < 0 ||
        (ret = bind_dit(s, 1)) < 0 || (ret = bind_vae(s, 1)) < 0 ||
        (ret = check_text(s)) < 0 || (ret = choose_sampler(s)) < 0 ||
        (ret = choose_size(s)) < 0 || (ret = lv_decode_tiles(s)) < 0 ||
        (ret = open_prompts(s)) < 0 || (ret = plan_networks(s)) < 0)
        return ret;
    return lv_budget_check(s);
}

int lv_session_open(LvSession **out, const LvSessionOptions *opt, const LvMsg *msg)
{
    LvSession *s = *out = calloc(1, sizeof(*s));
    int ret;

    if (!s)
        return lv_fail(msg, LV_ERR(ENOMEM), "out of memory");
    s->msg = msg;
    s->opt = *opt;
    s->process = getpid();
    ret    = open_all(s);
    s->opt.model = s->opt.prompt = s->opt.negative = s->opt.device = s->opt.isa = NULL;
    s->opt.loras = NULL;
    s->opt.context = s->opt.stream = NULL;
    if (ret < 0)
        lv_session_close(out);
    return ret;
}

/* A child of fork() has the host's memory, but nothing of a GPU. */
static int is_lost(const LvSession *s)
{
    return s->dev && strcmp(s->dev->fn->name, "cpu") && s->process != getpid();
}

void lv_session_close(LvSession **out)
{
    LvSession *s = *out;

    if (s && is_lost(s))
        *out = s = NULL;
    if (!s)
        return;
    lv_program_free(&s->net.prog);
    lv_program_free(&s->side.prog);
    for (int i = 0; i < LV_DECODERS; i++)
        lv_program_free(&s->decoder[i].net.prog);
    lv_slots_free(&s->slots);
    lv_decode_free_tiles(s);
    lv_resize_free(&s->resize);
    lv_sampler_free(&s->sampler);
    lv_weights_free(&s->dit_weights);
    lv_weights_free(&s->vae_weights);
    lv_dit_free(&s->dit);
    free(s->wan);
    lv_umt5_free(&s->text);
    lv_tokenizer_close(&s->tokenizer);
    for (int i = 0; i < LV_BRANCHES; i++)
        free(s->prompt[i].ids);
    if (s->dev) {
        if (s->host && s->dev->fn->unpin)
            s->dev->fn->unpin(s->dev, s->host);
        s->dev->fn->free(s->dev, s->arena);
        s->dev->fn->free(s->dev, s->state);
    }
    lv_free(s->host);
    lv_device_close(&s->dev);
    lv_files_close(&s->files);
    free(s);
    *out = NULL;
}

int lv_session_set_prompt(LvSession *s, const char *prompt)
{
    return lv_text_tokenize(s, &s->prompt[LV_COND], prompt);
}

int lv_session_clip_frames(const LvSession *s)
{
    return s->cfg.video.frames;
}

void lv_session_cancel(LvSession *s)
{
    atomic_store(&s->cancelled, 1);
}

/* Work */

/* Share of a clip's work that is done, by floating point operations. */
static double fraction(const LvSession *s, int stage, double done)
{
    double denoise = s->net.sizes.flops * s->branches * s->cfg.video.steps;
    double decode  = s->decoder[LV_REST].net.sizes.flops * s->size[0] *
                     s->tiles[0].nb * s->tiles[1].nb;

    if (stage < LV_STAGE_DENOISE)
        return 0;
    return (stage == LV_STAGE_DENOISE ? done * denoise : denoise + done * decode) /
           (denoise + decode);
}

int lv_session_step(LvSession *s, int stage, int step, int steps, int layer,
                    int layers)
{
    double done = (step + (layers ? (layer - 1) / (double)layers : 0)) / steps;
    LvProgress p = { stage, s->clip, step, steps, layer, layers,
                     fraction(s, stage, done) };

    if (s->opt.progress)
        s->opt.progress(s->opt.opaque, &p);
    return atomic_load(&s->cancelled) ? LV_ERR_CANCELLED : 0;
}

static int allocate_state(LvSession *s)
{
    void *state = NULL;
    int ret = lv_device_alloc(s->dev, &state, s->state_bytes, "state");

    if (ret < 0)
        return ret;
    s->state = state;
    if (!(s->host = lv_alloc(s->host_bytes)))
        return lv_fail(s->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", s->host_bytes);
    if (s->dev->fn->pin)
        s->dev->fn->pin(s->dev, s->host, s->host_bytes);
    lay_out_host(s, &(Slab) { .base = s->host });
    lay_out_device(s, &(Slab) { .base = s->state });
    return 0;
}

static int allocate_arena(LvSession *s)
{
    int ret = lv_device_alloc(s->dev, &s->arena, s->arena_bytes, "arena");

    if (ret < 0)
        return ret;
    return lv_sampler_new(&s->sampler, s->sampler_kind, s->cfg.video.steps,
                          s->cfg.video.shift, lv_tensor_numel(&s->in.latent), s->msg);
}

static int fill_rope(LvSession *s)
{
    size_t bytes = lv_tensor_bytes(&s->in.rope);
    float *table = lv_alloc(bytes);
    int ret;

    if (!table)
        return lv_fail(s->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", bytes);
    lv_dit_rope(table, &s->cfg.dit, s->size);
    ret = s->dev->fn->upload(s->dev, s->rope, table, bytes);
    lv_free(table);
    return ret;
}

static int stream_weights(LvSession *s)
{
    LvSizes m = largest_sizes(s);
    int ret;

    if (!m.slot)
        return 0;
    if ((ret = lv_slots_new(&s->slots, s->dev, m.slot)) < 0)
        return ret;
    lv_slots_attach(s->side.prog, s->slots);
    lv_slots_attach(s->net.prog, s->slots);
    return 0;
}

/* Bind the weights, and make all programs ready with them. */
static int build(LvSession *s)
{
    int ret;

    if ((ret = bind_dit(s, 0)) < 0 || (ret = bind_vae(s, 0)) < 0 ||
        (ret = plan_networks(s)) < 0 || (ret = stream_weights(s)) < 0 ||
        (ret = lv_program_build(s->side.prog, s->arena)) < 0 ||
        (ret = lv_program_build(s->net.prog, s->arena)) < 0 ||
        (ret = lv_decode_build(s)) < 0 ||
        (ret = lv_weights_check(s->dit_weights)) < 0 ||
        (ret = lv_weights_check(s->vae_weights)) < 0)
        return ret;
    lv_weights_drop(s->dit_weights);
    lv_weights_drop(s->vae_weights);
    lv_program_bind(s->net.prog, s->in.latent, s->latent);
    lv_program_bind(s->net.prog, s->in.t, s->t);
    lv_program_bind(s->net.prog, s->in.rope, s->rope);
    lv_program_bind(s->net.prog, s->velocity, s->velocity_dev);
    return 0;
}

/* The text encoder runs before the other networks are there. */
static int load(LvSession *s)
{
    double start;
    int ret = lv_session_step(s, LV_STAGE_LOAD, 0, 1, 0, 0);

    if (ret < 0 || (ret = allocate_state(s)) < 0 || (ret = fill_rope(s)) < 0 ||
        (ret = lv_text_encode(s)) < 0)
        return ret;
    start = lv_seconds();
    if ((ret = allocate_arena(s)) < 0 || (ret = build(s)) < 0)
        return ret;
    s->loaded = 1;
    s->seconds[LV_STAGE_LOAD] += lv_seconds() - start;
    return 0;
}

static int begin_clip(LvSession *s)
{
    size_t n = lv_tensor_numel(&s->in.latent);
    int ret;

    if ((!s->loaded && (ret = load(s)) < 0) || (ret = lv_text_run(s)) < 0)
        return ret;
    lv_philox_normal(s->x, n, s->opt.seed, lv_noise_stream(s->clip, LV_NOISE_START, 0));
    for (size_t i = 0; i < n; i++)
        s->x[i] *= lv_sampler_scale(s->sampler);
    lv_sampler_start(s->sampler, s->opt.seed,
                     lv_noise_stream(s->clip, LV_NOISE_RENOISE, 0));
    if ((ret = lv_denoise_run(s)) < 0)
        return ret;
    return lv_decode_begin(s);
}

int lv_session_picture(LvSession *s, const float **rgb, int64_t *clip)
{
    int ret;

    if (atomic_load(&s->cancelled))
        return LV_ERR_CANCELLED;
    if (is_lost(s))
        return lv_fail(s->msg, LV_ERR_DEVICE, "%s: a child of fork() cannot use a GPU that "
                       "its parent opened; open the context in the child", s->dev->about);
    if (s->in_clip && s->clip_next == s->cfg.video.frames) {
        s->in_clip = 0;
        s->clip++;
    }
    if (!s->in_clip && (ret = begin_clip(s)) < 0)
        return ret;
    s->in_clip = 1;
    if (s->rgb_next == s->rgb_frames && (ret = lv_decode_run(s)) < 0)
        return ret;
    *rgb  = s->rgb + (size_t)s->rgb_next++ * s->rows * s->cols * 3;
    *clip = s->clip;
    s->clip_next++;
    return 0;
}

int lv_session_deliver(LvSession *s, const LvPicture *out, const float *rgb)
{
    if (s->opt.on_device)
        return s->dev->fn->deliver(s->dev, out, rgb, s->rows, s->cols);
    if (s->scaled)
        lv_resize_deliver(&s->resize, out, rgb);
    else
        lv_deliver(out, rgb, s->rows, s->cols);
    return 0;
}
