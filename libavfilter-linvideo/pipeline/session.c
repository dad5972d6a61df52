/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "pipeline/deliver.h"

int lv_net_plan(LvNet *net, LvGraph **g, LvDevice *dev)
{
    int ret = lv_program_new(&net->prog, *g, dev);

    lv_graph_free(g);
    if (ret >= 0)
        net->sizes = lv_program_sizes(net->prog);
    return ret;
}

/* Opening */

static int open_tokenizer(LvSession *s)
{
    const LvFileTensor *t = lv_weights_take(s->weights, "tokenizer.spm");
    int ret;

    if (!t)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm is missing",
                       lv_safetensors_path(s->file));
    if (t->dtype != LV_U8)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm: file has type %s, "
                       "model wants U8", lv_safetensors_path(s->file),
                       lv_dtype_name(t->dtype));
    if ((ret = lv_tokenizer_open(&s->tokenizer, t->data, t->size, s->msg)) < 0)
        return ret;
    if (lv_tokenizer_size(s->tokenizer) > s->cfg.text.vocab)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: tokenizer.spm has %d pieces, "
                       "text.token_embedding.weight %d rows",
                       lv_safetensors_path(s->file), lv_tokenizer_size(s->tokenizer),
                       s->cfg.text.vocab);
    return 0;
}

static int bind_networks(LvSession *s)
{
    int ret;

    if ((ret = lv_weights_new(&s->weights, s->file, s->dev, s->msg)) < 0 ||
        (ret = lv_weights_new(&s->text_weights, s->file, s->dev, s->msg)) < 0)
        return ret;
    lv_weights_skip(s->weights, "text.");
    lv_weights_skip(s->weights, "vae.encoder.");
    lv_weights_skip(s->text_weights, "dit.");
    lv_weights_skip(s->text_weights, "vae.");
    lv_weights_skip(s->text_weights, "tokenizer.");
    if ((ret = open_tokenizer(s)) < 0 ||
        (ret = lv_dit_bind(&s->dit, &s->cfg.dit, s->weights, "dit.")) < 0 ||
        (ret = lv_tae_bind(&s->tae, &s->cfg.vae, 0, s->weights, "vae.decoder.")) < 0 ||
        (ret = lv_umt5_bind(&s->text, &s->cfg.text, s->text_weights, "text.")) < 0 ||
        (ret = lv_weights_finish(s->weights)) < 0)
        return ret;
    return lv_weights_finish(s->text_weights);
}

static int choose_sampler(LvSession *s)
{
    LvVideoConfig *v = &s->cfg.video;
    int named = lv_sampler_by_name(v->sampler);

    if (named <= LV_SAMPLER_AUTO)
        return lv_fail(s->msg, LV_ERR_MODEL, "%s: unknown sampler '%s'",
                       lv_safetensors_path(s->file), v->sampler);
    s->sampler_kind = s->opt.sampler ? s->opt.sampler : named;
    v->steps        = s->opt.steps ? s->opt.steps : v->steps;
    v->shift        = s->opt.shift ? s->opt.shift : v->shift;
    v->guidance     = s->opt.guidance ? s->opt.guidance : v->guidance;
    s->branches     = v->guidance > 1 ? 2 : 1;
    return 0;
}

static int choose_precision(LvSession *s)
{
    s->dtype = (LvDtype)s->opt.precision;
    if (!s->dtype)
        s->dtype = s->dev->bf16 ? LV_BF16 : LV_F32;
    if (s->dtype == LV_BF16 && !s->dev->bf16)
        return lv_fail(s->msg, LV_ERR_UNSUPPORTED, "%s has no bf16 products; use "
                       "precision f32", s->dev->about);
    return 0;
}

/* Latents for the wanted pictures: rounded up to what the networks can make. */
static int choose_size(LvSession *s)
{
    LvVideoConfig *v = &s->cfg.video;
    const int *patch = s->cfg.dit.patch;
    int scale = s->tae.decoder.scale * s->cfg.vae.patch;

    v->width   = s->opt.width ? s->opt.width : v->width;
    v->height  = s->opt.height ? s->opt.height : v->height;
    v->frames  = s->opt.clip_frames ? s->opt.clip_frames : v->frames;
    lv_tae_latent_size(&s->tae, &s->cfg, s->size);
    s->rows    = s->size[1] * scale;
    s->cols    = s->size[2] * scale;
    if (s->size[0] > 1024 || s->size[1] / patch[1] > 1024 || s->size[2] / patch[2] > 1024)
        return lv_fail(s->msg, LV_ERR(EINVAL), "%dx%d, %d frames: more than 1024 tokens "
                       "along an axis", v->width, v->height, v->frames);
    return 0;
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

static void lay_out_host(LvSession *s, Slab *slab)
{
    size_t latent = lv_tensor_bytes(&s->in.latent);

    s->x           = take(slab, latent);
    s->z_host      = take(slab, lv_tensor_bytes(&s->z_in));
    s->rgb         = take(slab, lv_tensor_bytes(&s->rgb_out));
    s->memory_zero = take(slab, s->memory_bytes);
    for (int i = 0; i < s->branches; i++)
        s->v[i] = take(slab, latent);
}

static void lay_out_device(LvSession *s, Slab *slab)
{
    const LvDitConfig *c = &s->cfg.dit;
    size_t latent = lv_tensor_bytes(&s->in.latent);

    s->latent       = take(slab, latent);
    s->velocity_dev = take(slab, latent);
    s->t            = take(slab, sizeof(*s->t));
    s->rope         = take(slab, lv_tensor_bytes(&s->in.rope));
    s->z            = take(slab, lv_tensor_bytes(&s->z_in));
    s->rgb_dev      = take(slab, lv_tensor_bytes(&s->rgb_out));
    s->memory_dev   = take(slab, s->memory_bytes);
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

static int check_memory(LvSession *s)
{
    size_t text = s->side.sizes.arena, threads, need, have;
    double mib  = 1024 * 1024;

    threads = LV_MAX(s->net.sizes.thread, s->decoder.sizes.thread);
    threads = LV_MAX(threads, s->side.sizes.thread) * (size_t)s->dev->threads;
    s->arena_bytes  = LV_MAX(s->net.sizes.arena, s->decoder.sizes.arena);
    size_state(s);
    s->weight_bytes = s->net.sizes.weights + s->decoder.sizes.weights +
                      s->side.sizes.weights;
    s->work_bytes   = LV_MAX(s->arena_bytes, text) + s->state_bytes +
                      s->host_bytes + threads;
    need = s->weight_bytes + s->work_bytes;
    have = s->opt.memory_limit ? s->opt.memory_limit : s->dev->fn->available(s->dev);
    lv_msg(s->msg, LV_MSG_VERBOSE, "memory: weights %.1f MiB, arena %.1f MiB (bound "
           "%.1f), state %.1f MiB, threads %.1f MiB", s->weight_bytes / mib,
           s->arena_bytes / mib, LV_MAX(s->net.sizes.lower, s->decoder.sizes.lower) / mib,
           (s->state_bytes + s->host_bytes) / mib, threads / mib);
    if (need <= have)
        return 0;
    return lv_fail(s->msg, LV_ERR(ENOMEM), "%dx%d, %d frames need %.1f MiB (weights "
                   "%.1f, work %.1f), %.1f are available", s->cfg.video.width,
                   s->cfg.video.height, s->cfg.video.frames, need / mib,
                   s->weight_bytes / mib, s->work_bytes / mib, have / mib);
}

static int open_prompts(LvSession *s)
{
    const char *text[LV_BRANCHES] = { s->opt.prompt, s->opt.negative };
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
    const LvDeviceOptions dev = { .threads = s->opt.threads, .isa = s->opt.isa };
    int ret;

    if ((ret = lv_safetensors_open(&s->file, s->opt.model, s->msg)) < 0 ||
        (ret = lv_config_read(&s->cfg, s->file, s->msg)) < 0 ||
        (ret = lv_device_open(&s->dev, s->opt.device, &dev, s->msg)) < 0 ||
        (ret = bind_networks(s)) < 0 || (ret = choose_sampler(s)) < 0 ||
        (ret = choose_precision(s)) < 0 || (ret = choose_size(s)) < 0 ||
        (ret = open_prompts(s)) < 0 || (ret = lv_text_plan(s)) < 0 ||
        (ret = lv_denoise_plan(s)) < 0 || (ret = lv_decode_plan(s)) < 0)
        return ret;
    return check_memory(s);
}

int lv_session_open(LvSession **out, const LvSessionOptions *opt, const LvMsg *msg)
{
    LvSession *s = *out = calloc(1, sizeof(*s));
    int ret;

    if (!s)
        return lv_fail(msg, LV_ERR(ENOMEM), "out of memory");
    s->msg = msg;
    s->opt = *opt;
    ret    = open_all(s);
    s->opt.model = s->opt.prompt = s->opt.negative = s->opt.device = s->opt.isa = NULL;
    if (ret < 0)
        lv_session_close(out);
    return ret;
}

void lv_session_close(LvSession **out)
{
    LvSession *s = *out;

    if (!s)
        return;
    lv_program_free(&s->net.prog);
    lv_program_free(&s->side.prog);
    lv_program_free(&s->decoder.prog);
    lv_sampler_free(&s->sampler);
    lv_weights_free(&s->weights);
    lv_weights_free(&s->text_weights);
    lv_dit_free(&s->dit);
    lv_umt5_free(&s->text);
    lv_tokenizer_close(&s->tokenizer);
    for (int i = 0; i < LV_BRANCHES; i++)
        free(s->prompt[i].ids);
    if (s->dev) {
        s->dev->fn->free(s->dev, s->arena);
        s->dev->fn->free(s->dev, s->state);
    }
    lv_free(s->host);
    lv_device_close(&s->dev);
    lv_safetensors_close(&s->file);
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
    double decode  = s->decoder.sizes.flops * s->size[0];

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

static int allocate(LvSession *s)
{
    void *state = NULL;
    int ret;

    if ((ret = lv_device_alloc(s->dev, &s->arena, s->arena_bytes, "arena")) < 0 ||
        (ret = lv_device_alloc(s->dev, &state, s->state_bytes, "state")) < 0)
        return ret;
    s->state = state;
    if (!(s->host = lv_alloc(s->host_bytes)))
        return lv_fail(s->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", s->host_bytes);
    lay_out_host(s, &(Slab) { .base = s->host });
    lay_out_device(s, &(Slab) { .base = s->state });
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

static int load(LvSession *s)
{
    double start = lv_seconds();
    int ret = lv_session_step(s, LV_STAGE_LOAD, 0, 1, 0, 0);

    if (ret < 0 || (ret = allocate(s)) < 0 || (ret = fill_rope(s)) < 0 ||
        (ret = lv_program_build(s->net.prog, s->arena)) < 0 ||
        (ret = lv_program_build(s->decoder.prog, s->arena)) < 0)
        return ret;
    lv_program_bind(s->net.prog, s->in.latent, s->latent);
    lv_program_bind(s->net.prog, s->in.t, s->t);
    lv_program_bind(s->net.prog, s->in.rope, s->rope);
    lv_program_bind(s->net.prog, s->velocity, s->velocity_dev);
    lv_program_bind(s->decoder.prog, s->z_in, s->z);
    lv_program_bind(s->decoder.prog, s->rgb_out, s->rgb_dev);
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
