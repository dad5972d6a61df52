/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/choices.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "model/presets.h"
#include "model/range.h"
#include "pipeline/sample.h"

/* Steps of the slowest models that count as few-step ones. */
enum { FEW_STEPS = 16 };

/* Tokens along an axis. */
enum { MAX_TOKENS = 1024 };

int lv_precision_type(int precision)
{
    static const int types[] = { LV_NONE, LV_F32, LV_BF16, LV_I8, LV_F8_E4M3 };

    assert(precision >= 0 && precision < LV_COUNT(types));
    return types[precision];
}

int lv_choose_precision(LvEnv *env, int precision)
{
    const LvDevice *dev = env->dev;

    env->matmul = precision == LV_I8 ? LV_MATMUL_I8 :
                  precision == LV_F8_E4M3 ? LV_MATMUL_F8 : LV_MATMUL_FLOAT;
    if (env->matmul == LV_MATMUL_I8 && !dev->i8)
        return lv_fail(env->msg, LV_ERR_UNSUPPORTED, "%s has no int8 matmuls, which are for "
                       "CPUs with AVX-512 VNNI; use precision auto", dev->about);
    if (env->matmul == LV_MATMUL_F8 && !dev->f8)
        return lv_fail(env->msg, LV_ERR_UNSUPPORTED, "%s has no fp8 matmuls, which are for "
                       "GPUs of compute capability 8.9 or more; use precision auto", dev->about);
    env->dtype = env->matmul ? LV_NONE : (LvDtype)precision;
    if (!env->dtype)
        env->dtype = dev->bf16 ? LV_BF16 : LV_F32;
    if (env->dtype == LV_BF16 && !dev->bf16)
        return lv_fail(env->msg, LV_ERR_UNSUPPORTED, "%s has no bf16 matmuls; use "
                       "precision f32", dev->about);
    return 0;
}

const char *lv_precision_name(const LvEnv *env)
{
    static const char *const names[LV_MATMUL_NB] = { NULL, "int8", "fp8" };

    return env->matmul ? names[env->matmul] : env->dtype == LV_BF16 ? "bf16" : "f32";
}

/* The schedule */

/* Whether one was given, or written into the model's own files: not Wan's, which all of its
 * models have. */
static int has_negative(const LvSessionOptions *opt, const LvFiles *files)
{
    const char *own = files->negative;

    if (opt->negative)
        return *opt->negative;
    return own && *own && strcmp(own, lv_preset_negative(&files->cfg.dit));
}

/* The model's own settings are those of a few-step one. */
static int is_few_step(const LvVideoConfig *own)
{
    return own->guidance <= 1 && own->steps <= FEW_STEPS;
}

/* What is given and has no effect, or is far from what a few-step model was made for. */
static void warn_settings(const LvVideoConfig *v, const LvVideoConfig *own, int unused,
                          const LvMsg *msg)
{
    int few_steps = is_few_step(own);

    if (v->guidance <= 1 && v->guidance_low <= 1 && unused)
        lv_msg(msg, LV_MSG_WARNING, "negative_prompt: it is not used with guidance 1, "
               "which is off; nag uses it");
    if (few_steps && v->guidance > 1)
        lv_msg(msg, LV_MSG_WARNING, "guidance: %g; the model is a few-step one, made for "
               "guidance 1: colours burn out, and it takes twice the time", v->guidance);
    if (few_steps && (v->steps > 2 * own->steps || 2 * v->steps < own->steps))
        lv_msg(msg, LV_MSG_WARNING, "steps: %d; the model is a few-step one, made for %d",
               v->steps, own->steps);
}

/* One scale that is given is that of both networks. */
static void choose_scales(LvSchedule *s, LvVideoConfig *v, float given)
{
    v->guidance_low = given ? given : v->guidance_low ? v->guidance_low : v->guidance;
    v->guidance     = given ? given : v->guidance;
    s->guidance[LV_HIGH] = v->guidance;
    s->guidance[LV_LOW]  = v->guidance_low;
    for (int i = 0; i < LV_EXPERTS; i++)
        s->runs[i] = s->guidance[i] > 1 ? 2 : 1;
    s->branches = s->runs[LV_HIGH];
    if (s->boundary > 0)
        s->branches = LV_MAX(s->branches, s->runs[LV_LOW]);
}

/* Steps with guidance, as shares of those that are taken. */
static int choose_guided(LvSchedule *s, const LvSessionOptions *opt, const LvMsg *msg)
{
    double start = (double)opt->guidance_start, end = (double)opt->guidance_end;
    int steps = lv_schedule_steps(s);

    if (!(start > 0) && !(end > 0))
        return 0;
    if (s->branches < 2)
        lv_msg(msg, LV_MSG_WARNING, "guidance_start, guidance_end: they are not used with "
               "guidance 1, which is off");
    end = end > 0 ? end : 1;
    s->guided[0] = (int)lround(start * steps);
    s->guided[1] = (int)lround(end * steps);
    return s->guided[0] < s->guided[1] ? 0 :
           lv_fail(msg, LV_ERR(EINVAL), "guidance_start %g, guidance_end %g: no step of %d lies "
                   "between them", start, end, steps);
}

/* As the authors have them for Wan. */
#define NAG_TAU 2.5f
#define NAG_ALPHA 0.25f

/* In place of guidance. */
static void choose_nag(LvSchedule *s, const LvSessionOptions *opt, const LvMsg *msg)
{
    if (opt->nag > 0 && s->branches > 1)
        lv_msg(msg, LV_MSG_WARNING, "nag: it is not used with guidance above 1, which uses the "
               "negative prompt itself");
    else if (opt->nag > 0)
        s->nag = (LvNag) { opt->nag, opt->nag_tau > 0 ? opt->nag_tau : NAG_TAU,
                           opt->nag_alpha > 0 ? opt->nag_alpha : NAG_ALPHA };
    else if (opt->nag_tau > 0 || opt->nag_alpha > 0)
        lv_msg(msg, LV_MSG_WARNING, "nag_tau, nag_alpha: they are not used without nag");
}

/* Steps that bring fresh noise, or that are few, have velocities of their own. */
static void choose_cache(LvSchedule *s, float limit, const LvVideoConfig *own, const LvMsg *msg)
{
    int steps = lv_schedule_steps(s);

    if (!(limit > 0))
        return;
    if (lv_sampler_renoises(s->kind))
        lv_msg(msg, LV_MSG_WARNING, "cache: it is not used with sampler %s, whose steps add fresh "
               "noise", lv_sampler_name(s->kind));
    else if (is_few_step(own))
        lv_msg(msg, LV_MSG_WARNING, "cache: it is not used, the model is a few-step one");
    else if (steps < LV_STEP_CACHE_LEAST)
        lv_msg(msg, LV_MSG_WARNING, "cache: it is not used, expected at least %d steps, got %d",
               LV_STEP_CACHE_LEAST, steps);
    else
        s->cache = limit;
}

int lv_choose_schedule(LvSchedule *s, LvModelConfig *cfg, const LvSessionOptions *opt,
                       const LvFiles *files, const LvMsg *msg)
{
    LvVideoConfig *v  = &cfg->video;
    LvVideoConfig own = *v;
    int named = lv_sampler_by_name(v->sampler), chosen = (int)opt->sampler;

    if (named <= LV_SAMPLER_AUTO)
        return lv_fail(msg, LV_ERR_MODEL, "%s: unknown sampler '%s'", files->path, v->sampler);
    v->steps    = opt->steps ? opt->steps : v->steps;
    v->shift    = opt->shift ? opt->shift : v->shift;
    *s = (LvSchedule) { .kind = chosen ? chosen : named, .steps = v->steps,
                        .shift = v->shift, .boundary = files->low.kind ? v->boundary : 0,
                        .strength = opt->video ? opt->strength : 0 };
    choose_scales(s, v, opt->guidance);
    choose_nag(s, opt, msg);
    warn_settings(v, &own, has_negative(opt, files) && !(s->nag.scale > 0), msg);
    choose_cache(s, opt->step_cache, &own, msg);
    return choose_guided(s, opt, msg);
}

/* Sizes */

static void choose_frames(LvModelConfig *cfg, const LvSessionOptions *opt, const LvMsg *msg)
{
    const LvRange *r = &cfg->range;
    LvVideoConfig *v = &cfg->video;
    int asked = opt->clip_frames ? opt->clip_frames : v->frames;

    v->frames = opt->native ? asked : lv_range_frames(r, asked);
    if (v->frames != asked)
        lv_msg(msg, LV_MSG_WARNING, "clip_frames: %d; the model is made for clips of %d "
               "and makes these; native=1 makes what is asked", asked, v->frames);
    else if (r->max_frames && asked > r->max_frames)
        lv_msg(msg, LV_MSG_WARNING, "clip_frames: %d; the model is made for %d at most: "
               "longer clips repeat or fall apart", asked, r->max_frames);
}

/* The size to make frames of cfg->video's at. @return 1: they are scaled */
static int fit_size(const LvModelConfig *cfg, int native, int scale, int made[2],
                    const LvMsg *msg)
{
    const LvVideoConfig *v = &cfg->video;
    const int *patch = cfg->dit.patch, asked[2] = { v->width, v->height };
    const int step[2] = { scale * patch[2], scale * patch[1] };
    char text[LV_RANGE_TEXT];
    int fit = lv_range_size(&cfg->range, asked, step, made);

    lv_range_text(text, &cfg->range);
    if (fit < 0)
        lv_msg(msg, LV_MSG_WARNING, "size: %dx%d is below what the model is made for "
               "(%s): frames are poorer", asked[0], asked[1], text);
    else if (fit && native)
        lv_msg(msg, LV_MSG_WARNING, "size: %dx%d is not what the model is made for (%s)",
               asked[0], asked[1], text);
    else if (fit)
        lv_msg(msg, LV_MSG_INFO, "size: the model is made for %s: %dx%d is made at %dx%d "
               "and scaled; native=1 makes what is asked", text, asked[0], asked[1],
               made[0], made[1]);
    if (fit > 0 && !native)
        return 1;
    memcpy(made, asked, sizeof(asked));
    return 0;
}

static int check_shape(const LvClipShape *s, const LvModelConfig *cfg, int on_device,
                       const LvMsg *msg)
{
    const LvVideoConfig *v = &cfg->video;
    const int *patch = cfg->dit.patch;

    if (s->size[0] > MAX_TOKENS || s->size[1] / patch[1] > MAX_TOKENS ||
        s->size[2] / patch[2] > MAX_TOKENS)
        return lv_fail(msg, LV_ERR(EINVAL), "%dx%d, %d frames: more than %d tokens "
                       "along an axis", v->width, v->height, v->frames, MAX_TOKENS);
    if (s->scaled && on_device)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "size: %dx%d is scaled from %dx%d, which "
                       "is not done in GPU memory; ask for that size and use scale_cuda, "
                       "or native=1", v->width, v->height, s->cols, s->rows);
    return 0;
}

/* The area is the model's own, the shape that of an image or a video: width, height. */
static int follow(LvModelConfig *cfg, const int from[2], const LvMsg *msg)
{
    int ti2v = lv_preset_takes_image(&cfg->dit) && !cfg->dit.cond_channels, size[2], ret;
    LvVideoConfig *v = &cfg->video;
    double area      = (double)v->width * v->height;

    ret = ti2v ? lv_prepare_size_ti2v(size, from, area, msg)
               : lv_prepare_size(size, from, area, msg);
    if (ret < 0)
        return ret;
    v->width  = size[0];
    v->height = size[1];
    return 0;
}

uint64_t lv_frames_of(int64_t duration, int num, int den)
{
    uint64_t unit = 1000000 * (uint64_t)den;

    return ((uint64_t)duration * (uint64_t)num + unit - 1) / unit;
}

/* Frames of a video, at least one; INT64_MAX without an end. */
static int64_t frames_asked(const LvVideoConfig *v, const LvSessionOptions *opt)
{
    int num = opt->rate_num ? opt->rate_num : v->rate_num;
    int den = opt->rate_num ? opt->rate_den : v->rate_den;

    if (opt->frames > 0)
        return opt->frames;
    if (opt->duration == LV_ENDLESS)
        return INT64_MAX;
    return opt->duration > 0 ? (int64_t)lv_frames_of(opt->duration, num, den) : v->frames;
}

/* The least latents that windows have to share, a second of Wan's: those of the embedded model
 * share two, and its windows are further from each other than its clips are good. */
enum { LEAST_SHARED = 5 };

/* As many clips as a whole may be long: what is further apart knows nothing of each other. */
enum { MOST_CLIPS = 4 };

/* How a video that is longer than a clip is made where nobody says so. */
static enum LvJoin best_join(const LvClipShape *s, const LvModelConfig *cfg,
                             const LvSessionOptions *opt, int64_t asked)
{
    const LvWindows w = { .length = INT_MAX, .size = s->size[0] };
    int shared = w.size - lv_windows_step(&w);

    if (opt->video || opt->last_image.width)
        return LV_JOIN_CUT;
    if (opt->image.width)
        return cfg->video.frames > 1 ? LV_JOIN_CONTINUE : LV_JOIN_CUT;
    return shared >= LEAST_SHARED && asked <= (int64_t)MOST_CLIPS * cfg->video.frames
         ? LV_JOIN_WINDOW : LV_JOIN_CUT;
}

/* Latents that a clip in windows may have, some 16 minutes at 16 frames a second; those of a loop
 * that are decoded before it: the embedded decoder needs 3 for the same bits in every turn. */
enum { MAX_LENGTH = 4096, HISTORY = 4 };

/* What is given stands before what the model says; a window that nobody tells is the clip that the
 * network was made for, a sink is one block. */
static LvCausal causal_asked(const LvCausal *own, const LvSessionOptions *opt, int clip)
{
    LvCausal c = { .block = opt->causal ? opt->causal : own->block };
    int same   = c.block == own->block;

    if (!c.block)
        return c;
    c.window = opt->causal_window ? opt->causal_window : same ? own->window : 0;
    if (!c.window)
        c.window = LV_MAX(clip / c.block * c.block, c.block);
    c.sink   = opt->causal_sink >= 0 ? opt->causal_sink
             : same && own->window ? own->sink : c.window > 2 * c.block ? c.block : 0;
    return c;
}

static int check_causal(const LvCausal *c, const LvModelConfig *cfg, const LvSessionOptions *opt,
                        const LvMsg *msg)
{
    const char *other = opt->video ? "mode video" : opt->loop ? "loop"
                      : opt->join != LV_JOIN_AUTO ? "join" : NULL;

    if (other)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: it is for clips; expected a model that is not "
                       "causal", other);
    if (opt->image.width || lv_preset_images(&cfg->dit))
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "causal: it is for models of text to video, "
                       "without an image");
    if (cfg->video.boundary > 0)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "causal: it is for models of one network");
    if (c->block % cfg->dit.patch[0] || c->window % c->block || c->sink % c->block)
        return lv_fail(msg, LV_ERR(EINVAL), "causal: expected a window and a sink of whole blocks "
                       "of %d latents, got %d and %d", c->block, c->window, c->sink);
    if (c->window > MAX_TOKENS || c->sink > c->window - c->block)
        return lv_fail(msg, LV_ERR(EINVAL), "causal: expected a window of at most %d latents and "
                       "in it room for the sink and a block, got window %d, sink %d, block %d",
                       MAX_TOKENS, c->window, c->sink, c->block);
    return 0;
}

/* Blocks in place of a clip. */
static int choose_block(LvClipShape *s, const LvModelConfig *cfg, const LvSessionOptions *opt,
                        const LvMsg *msg)
{
    const LvVideoConfig *v = &cfg->video;
    LvCausal c = causal_asked(&v->causal, opt, s->size[0]);
    int ret;

    if (!c.block && (opt->causal_window || opt->causal_sink >= 0))
        lv_msg(msg, LV_MSG_WARNING, "causal_window, causal_sink: they are not used without causal");
    if (!c.block)
        return 0;
    if ((ret = check_causal(&c, cfg, opt, msg)) < 0)
        return ret;
    if (!v->causal.block)
        lv_msg(msg, LV_MSG_WARNING, "causal: the model is not made for it: frames fall apart "
               "unless it has learned to make blocks");
    s->causal  = c;
    s->size[0] = s->length = c.block;
    lv_msg(msg, LV_MSG_INFO, "causal: the video is made in blocks of %d latents, which see %d: the "
           "first %d of the video and the last ones", c.block, c.window, c.sink);
    return 0;
}

static int check_windows(const LvModelConfig *cfg, const LvSessionOptions *opt, const LvMsg *msg)
{
    const char *what = opt->loop ? "loop" : "join window";

    if (opt->video)
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: a video is made clip after clip; expected "
                       "mode text", what);
    if (opt->image.width || lv_preset_images(&cfg->dit))
        return lv_fail(msg, LV_ERR_UNSUPPORTED, "%s: it is for models of text to video, without an "
                       "image", what);
    return 0;
}

/* A loop has whole latents. */
static void choose_loop(LvClipShape *s, LvVideoConfig *v, int64_t asked, int per, const LvMsg *msg)
{
    s->length  = (int)LV_MAX((asked + per / 2) / per, 1);
    s->history = HISTORY;
    v->frames  = s->length * per;
    if (v->frames != asked)
        lv_msg(msg, LV_MSG_INFO, "loop: %lld frames are asked, %d are made: a loop has a multiple "
               "of %d", (long long)asked, v->frames, per);
}

/* The whole video as one clip. */
static int choose_length(LvClipShape *s, LvModelConfig *cfg, const LvSessionOptions *opt,
                         int per, const LvMsg *msg)
{
    LvVideoConfig *v = &cfg->video;
    int64_t asked    = frames_asked(v, opt);
    int window = v->frames, join = (int)opt->join, ret;

    if (join == LV_JOIN_AUTO)
        join = asked > v->frames ? (int)best_join(s, cfg, opt, asked) : LV_JOIN_CUT;
    s->continues = !opt->loop && join == LV_JOIN_CONTINUE;
    if (s->continues && v->frames < 2)
        return lv_fail(msg, LV_ERR(EINVAL), "join continue: expected clips of 2 frames or more, "
                       "got %d", v->frames);
    s->length    = s->size[0];
    if (!opt->loop && !(join == LV_JOIN_WINDOW && asked > v->frames))
        return 0;
    if ((ret = check_windows(cfg, opt, msg)) < 0)
        return ret;
    if (opt->duration == LV_ENDLESS)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: expected a length, got a video without an end",
                       opt->loop ? "loop" : "join window");
    if (asked > (int64_t)(MAX_LENGTH - 1) * per)
        return lv_fail(msg, LV_ERR(EINVAL), "%s: %lld frames, expected at most %d",
                       opt->loop ? "loop" : "join window", (long long)asked,
                       (MAX_LENGTH - 1) * per);
    if (opt->loop) {
        choose_loop(s, v, asked, per, msg);
    } else {
        s->length = LV_MAX((int)(1 + (asked - 1 + per - 1) / per), s->size[0]);
        v->frames = (int)asked;
    }
    lv_msg(msg, LV_MSG_INFO, "join: %d frames are made as a whole, in windows of %d", v->frames,
           window);
    return 0;
}

/* Latents for the frames are rounded up to what the networks can make. */
int lv_choose_shape(LvClipShape *s, LvModelConfig *cfg, const LvSessionOptions *opt,
                    LvLatentShape latent, const LvMsg *msg)
{
    const int image[2] = { opt->image.width, opt->image.height };
    const int *from    = opt->video ? opt->video_size : image;
    LvVideoConfig *v   = &cfg->video;
    int made[2], ret;

    if (*from && !opt->width && (ret = follow(cfg, from, msg)) < 0)
        return ret;
    v->width  = opt->width ? opt->width : v->width;
    v->height = opt->height ? opt->height : v->height;
    choose_frames(cfg, opt, msg);
    s->scaled = fit_size(cfg, opt->native, latent.scale, made, msg);
    lv_config_latents(cfg, made, latent.frames, latent.scale, s->size);
    s->rows   = s->size[1] * latent.scale;
    s->cols   = s->size[2] * latent.scale;
    if ((ret = check_shape(s, cfg, opt->on_device, msg)) < 0)
        return ret;
    if ((ret = choose_block(s, cfg, opt, msg)) < 0 || s->causal.block)
        return ret;
    return choose_length(s, cfg, opt, latent.frames, msg);
}
