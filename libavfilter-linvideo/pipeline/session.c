/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/session.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deliver.h"
#include "model/prompt_times.h"
#include "pipeline/decode.h"
#include "pipeline/delivery.h"
#include "pipeline/devices.h"
#include "pipeline/images.h"
#include "pipeline/encode.h"
#include "pipeline/experts.h"
#include "pipeline/footage.h"
#include "pipeline/preview.h"

/* A branch's prompt on its way: text to ids to features to keys and values. */
typedef struct Prompt {
    LvIds ids;
    float *features; /* host; NULL: not needed any more */
    int stale;       /* ids changed since features were made */
    int kv_stale[LV_EXPERTS]; /* features were made since the network has seen them */
} Prompt;

/* Of branches, and of what a clip that is a whole shows later. */
enum { PROMPTS = LV_BRANCHES + LV_PROMPT_TIMES - 1 };

/* Where in the stream of clips the next frame is. */
typedef struct Clock {
    int64_t clip;
    int in_clip;     /* the clip is denoised, frames of it are to come */
    int next;        /* frame of the clip */
    int continued;   /* the clip has the last frame of the one before */
    int num, den;    /* frames a second, of prompts over time */
    double begun;    /* when work on the clip began */
} Clock;

struct LvSession {
    const LvMsg *msg;
    pid_t process;           /* that opened it: memory of a GPU is not a child's */
    uint64_t seed;
    void (*progress)(void *opaque, const LvProgress *p);
    void (*preview)(void *opaque, const LvPreview *p);
    void *opaque;
    atomic_int cancelled;

    LvFiles files;
    LvModelConfig cfg;
    LvDevices devices;
    LvEnv env;               /* of the first device */
    LvSchedule schedule;
    LvClipShape shape;

    LvEncode *encode;
    LvImages *images;        /* NULL: none are given */
    LvVideo *video;          /* NULL: clips are made from noise alone */
    LvExperts experts;
    LvDenoise *denoise;
    LvDecode *decode;
    LvDelivery delivery;
    LvPreviewMap map;        /* of previews */
    uint8_t *small;          /* host: their frames; NULL: none */

    int loaded;

    Prompt prompt[PROMPTS];
    LvPromptTimes words, next_words; /* of this clip; of the next ones, nb 0: the same */
    int parts, room;         /* prompts that a clip has over time; that networks have room for */
    int part;                /* of words, that the clip shows, or its first */
    int from_latent[LV_PROMPT_TIMES], number[LV_PROMPT_TIMES]; /* of lv_denoise_parts() */
    Clock clock;
    LvFrames frames;         /* decoded */
    int next_frame;          /* of these; or how many are behind them */
    LvImage last;            /* host: the frame that the next clip goes on from */
    double seconds[LV_STAGE_NB];
};

static LvNetwork *first_network(const LvSession *s)
{
    return s->experts.network[0][LV_HIGH];
}

/* Number of the prompt that a clip shows from its part i on. */
static int prompt_of(const LvSession *s, int i)
{
    return i ? lv_schedule_prompts(&s->schedule) + i - 1 : LV_COND;
}

static int nb_prompts(const LvSession *s)
{
    return prompt_of(s, s->parts);
}

/* Whether the video is one clip, in windows, which show what is their time's. */
static int is_whole(const LvSession *s)
{
    return s->shape.history || s->shape.length > s->shape.size[0];
}

/* Of a causal network clips are the blocks of one video. */
static int has_blocks(const LvSession *s)
{
    return s->shape.causal.block > 0;
}

/* Number of frames that the first `latents` latents of a video decode to. */
static int64_t frames_of(const LvSession *s, int64_t latents)
{
    return latents ? 1 + (latents - 1) * lv_decode_frames(s->decode) : 0;
}

/* Frames before a clip. */
static int64_t frames_before(const LvSession *s, int64_t clip)
{
    return has_blocks(s) ? frames_of(s, clip * s->shape.causal.block)
                         : clip * (s->cfg.video.frames - s->shape.continues);
}

/* Of the clip that is made, with that which it has of the one before. */
static int clip_frames(const LvSession *s)
{
    return s->shape.continues + (int)(frames_before(s, s->clock.clip + 1) -
                                      frames_before(s, s->clock.clip));
}

int64_t lv_session_clips(const LvSession *s, int64_t frames)
{
    int shared = has_blocks(s) ? 1 - lv_decode_frames(s->decode) : s->shape.continues;
    int each   = has_blocks(s) ? s->shape.causal.block * lv_decode_frames(s->decode)
                               : s->cfg.video.frames - shared;

    return LV_MAX((frames - shared + each - 1) / each, 1);
}

/* Progress */

/* Share of a clip's work that is done, by floating point operations. */
static double fraction(const LvSession *s, int stage, double done)
{
    double denoise = lv_network_flops(first_network(s)) * s->schedule.branches *
                     lv_schedule_passes(&s->schedule) * lv_denoise_windows(s->denoise);
    double decode  = lv_decode_flops(s->decode);

    if (stage < LV_STAGE_DENOISE)
        return 0;
    return (stage == LV_STAGE_DENOISE ? done * denoise : denoise + done * decode) /
           (denoise + decode);
}

static void tell(void *opaque, const LvAt *at)
{
    const LvSession *s = opaque;
    double done  = (at->step + (at->layers ? (at->layer - 1) / (double)at->layers : 0)) /
                   at->steps;
    LvProgress p = { at->stage, s->clock.clip, at->step, at->steps, at->layer, at->layers,
                     fraction(s, at->stage, done), lv_seconds() - s->clock.begun };

    if (s->progress)
        s->progress(s->opaque, &p);
}

static size_t preview_pixels(const LvSession *s)
{
    return (size_t)s->shape.length * (size_t)s->shape.size[1] * (size_t)s->shape.size[2];
}

/* LvStepGuess */
static int show_preview(void *opaque, int step, const float *x0)
{
    LvSession *s = opaque;
    const int *size = s->shape.size;
    LvPreview p = { s->clock.clip, step + 1, lv_schedule_steps(&s->schedule),
                    { s->shape.length, size[1], size[2] }, s->small };

    lv_preview_make(&s->map, x0, preview_pixels(s), s->small);
    s->preview(s->opaque, &p);
    return 0;
}

/* Opening */

static int open_device(LvSession *s, const LvSessionOptions *opt)
{
    const LvDeviceOptions dev = { .threads = opt->threads, .isa = opt->isa,
                                  .context = opt->context, .stream = opt->stream };
    int ret = lv_devices_open(&s->devices, opt->device, &dev, s->msg);

    if (ret < 0)
        return ret;
    return !opt->on_device || !s->devices.dev[0]->host ? 0 :
           lv_fail(s->msg, LV_ERR(EINVAL), "frames in CUDA memory: expected a CUDA device, got %s",
                   s->devices.about);
}

static int open_env(LvSession *s, const LvSessionOptions *opt)
{
    int ret = lv_files_open(&s->files, opt->model, opt->loras, opt->nb_loras, opt->strict,
                            s->msg);

    if (ret < 0 || (ret = lv_video_check(&s->files, opt, s->msg)) < 0 ||
        (ret = lv_images_check(&s->files, opt, s->msg)) < 0)
        return ret;
    s->cfg = s->files.cfg;
    if ((ret = open_device(s, opt)) < 0)
        return ret;
    s->env = (LvEnv) { .msg = s->msg, .dev = s->devices.dev[0], .files = &s->files, .cfg = &s->cfg,
                       .tell = tell, .opaque = s, .cancelled = &s->cancelled };
    return lv_choose_precision(&s->env, opt->precision);
}

static int make_stages(LvSession *s, const LvSessionOptions *opt)
{
    int ret = lv_encode_new(&s->encode, &s->env, opt->cache);

    if (ret >= 0)
        ret = lv_experts_new(&s->experts, &s->env);
    return ret < 0 ? ret : lv_decode_new(&s->decode, &s->env);
}

static int choose(LvSession *s, const LvSessionOptions *opt)
{
    const LvLatentShape latent = { lv_decode_scale(s->decode), lv_decode_frames(s->decode) };
    int ret = lv_choose_schedule(&s->schedule, &s->cfg, opt, &s->files, s->msg);

    return ret < 0 ? ret : lv_choose_shape(&s->shape, &s->cfg, opt, latent, s->msg);
}

/* Take ids of a branch's prompt; those that stay are not encoded again. */
static void take_ids(Prompt *p, LvIds ids)
{
    p->stale |= !p->ids.id || ids.nb != p->ids.nb ||
                memcmp(ids.id, p->ids.id, (size_t)ids.nb * sizeof(*ids.id));
    lv_ids_free(&p->ids);
    p->ids = ids;
}

/* Ids of the first `nb` prompts, all or none; NULL: that one stays. */
static int tokenize(LvSession *s, int nb, const char *const *words)
{
    LvIds ids[PROMPTS] = { 0 };
    int ret = 0;

    if (lv_schedule_prompts(&s->schedule) > LV_NEGATIVE)
        ids[LV_UNCOND].what = "negative prompt";
    for (int i = 0; i < nb && ret >= 0; i++)
        ret = words[i] ? lv_encode_tokenize(s->encode, &ids[i], words[i]) : 0;
    for (int i = 0; i < nb; i++)
        if (ret < 0)
            lv_ids_free(&ids[i]);
        else if (words[i])
            take_ids(&s->prompt[i], ids[i]);
    return ret;
}

/* Parts of a clip: a clip that is no whole shows one prompt. */
static int parts_of(const LvSession *s, const LvPromptTimes *t)
{
    return is_whole(s) ? t->nb : 1;
}

/* Ids of all that a clip shows. */
static int tokenize_parts(LvSession *s, const LvPromptTimes *t, const char *negative)
{
    const char *words[PROMPTS] = { [LV_UNCOND] = negative };
    int parts = parts_of(s, t);

    if (s->room && parts > s->room)
        return lv_fail(s->msg, LV_ERR(EINVAL), "prompt: expected at most %d prompts over time, as "
                       "many as the video was opened with, got %d", s->room, parts);
    for (int i = 0; i < parts; i++)
        words[prompt_of(s, i)] = t->text[i];
    return tokenize(s, prompt_of(s, parts), words);
}

/* negative: NULL is the model's */
static int take_prompts(LvSession *s, LvPromptTimes *t, const char *negative)
{
    int ret;

    if (!negative)
        negative = s->files.negative ? s->files.negative : "";
    if ((ret = tokenize_parts(s, t, negative)) < 0)
        return ret;
    lv_prompt_times_free(&s->words);
    lv_prompt_times_free(&s->next_words);
    s->words = *t;
    *t       = (LvPromptTimes) { 0 };
    s->parts = parts_of(s, &s->words);
    s->part  = 0;
    return 0;
}

static int open_prompts(LvSession *s, const LvSessionOptions *opt)
{
    LvPromptTimes t = { 0 };
    int ret = lv_prompt_times_read(&t, opt->prompt, s->msg);

    if (ret >= 0)
        ret = take_prompts(s, &t, opt->negative);
    lv_prompt_times_free(&t);
    s->room = s->parts;
    return ret;
}

/* Frames that are not scaled are made to planes where they are: fewer bytes come to the host. */
static int open_delivery(LvSession *s, int wanted_there)
{
    const LvDevice *dev = s->env.dev;
    int there = wanted_there || (!dev->host && !s->shape.scaled && lv_device_has(dev, LV_OP_FRAME));

    s->delivery = (LvDelivery) { .env = &s->env, .rows = s->shape.rows, .cols = s->shape.cols,
                                 .on_device = there, .fetched = there && !wanted_there,
                                 .scaled = s->shape.scaled };
    return lv_delivery_new(&s->delivery);
}

/* What runs before the networks are there, one after the other: the one that needs more. */
static int need_before(LvSession *s, LvNeed *need)
{
    const LvNeed images = lv_images_need(s->images);
    const LvDevice *dev = s->env.dev;
    int ret = lv_encode_need(s->encode, nb_prompts(s), need);

    if (ret >= 0 && lv_need_weights(&images) + lv_need_work(&images, dev) >
                    lv_need_weights(need) + lv_need_work(need, dev))
        *need = images;
    return ret;
}

/* Tiles for frames that do not fit whole, pixels of a side: as large as does. */
static const int tiles[] = { 768, 512, 384, 256, 128 };

/* Whether frames can be cut to it. */
static int is_tile(const LvSession *s, int tile)
{
    return tile >= lv_decode_least_tile(s->decode) &&
           tile < LV_MAX(s->shape.rows, s->shape.cols);
}

/* Decoding in tiles, or of whole frames, with all else. */
typedef struct Trial {
    LvPlace *place;
    LvNeed others;   /* of all but decoding */
    size_t bytes;    /* the least that any needs */
    int least;       /* tile of that */
} Trial;

/* Plan a tile. @return 1: all fits; 0: it does not; an error */
static int try_tile(LvSession *s, LvDecodeShape *shape, int tile, Trial *t)
{
    LvPlaced at;
    int ret;

    shape->tile = tile;
    if ((ret = lv_decode_plan(s->decode, shape)) < 0)
        return ret;
    t->place->tile   = lv_decode_tile(s->decode);
    t->place->others = lv_need_join(lv_decode_need(s->decode), t->others);
    ret = lv_place(&s->env, t->place, &at);
    if (at.bytes < t->bytes) {
        t->bytes = at.bytes;
        t->least = tile;
    }
    return ret == LV_ERR(ENOMEM) ? 0 : ret < 0 ? ret : 1;
}

/* Plan decoding so that all fits the first device, p->others being of all but decoding; where
 * nothing does, with what needs least. What p's network was planned to meanwhile is undone. */
static int choose_tile(LvSession *s, LvDecodeShape *shape, LvPlace *p)
{
    Trial t = { .place = p, .others = p->others, .bytes = SIZE_MAX };
    int ret;

    p->network = first_network(s);
    p->others  = lv_need_join(lv_decode_need(s->decode), t.others);
    p->tile    = lv_decode_tile(s->decode);
    if (shape->tile || lv_place_whole(&s->env, p))
        return 0;
    ret = try_tile(s, shape, 0, &t);
    for (int i = 0; i < LV_COUNT(tiles) && !ret; i++)
        if (is_tile(s, tiles[i]))
            ret = try_tile(s, shape, tiles[i], &t);
    if (ret > 0 && shape->tile)
        lv_msg(s->msg, LV_MSG_INFO, "memory: there is no room to decode whole frames: tiles of %d "
               "are decoded one after another", shape->tile);
    if (!ret)
        ret = try_tile(s, shape, t.least, &t);
    return ret < 0 ? ret : lv_network_plan(p->network, p->shape, NULL);
}

static int enter(void *opaque, int expert);

/* Memory of a device that nobody plans: of kernels, of what the encoder makes beside its need. */
enum { SPARE = 256 << 20 };

/* Plan all stages and place them. */
static int plan(LvSession *s, const LvSessionOptions *opt)
{
    const int *size      = s->shape.size;
    LvNetworkShape net   = { { size[0], size[1], size[2] }, 1, lv_images_gives_first(s->images),
                             s->schedule.nag, s->shape.causal };
    LvDecodeShape decode = { { s->shape.length, size[1], size[2] }, s->shape.history,
                             has_blocks(s), opt->tile, s->delivery.on_device };
    LvPlace all = { .shape = &net, .limit = opt->memory_limit };
    LvLeft left = { 0, 0 };
    size_t work;
    int ret;

    if ((ret = lv_decode_plan(s->decode, &decode)) < 0 || (ret = open_prompts(s, opt)) < 0 ||
        (ret = need_before(s, &all.before)) < 0)
        return ret;
    s->schedule.keeps = has_blocks(s);
    if (!s->experts.split || s->parts > 1)
        net.prompts = nb_prompts(s);
    if ((ret = lv_experts_plan(&s->experts, &net)) < 0 ||
        (ret = lv_denoise_new(&s->denoise, &s->env, s->experts.branch, &s->schedule)) < 0)
        return ret;
    if (s->preview)
        lv_denoise_each_guess(s->denoise, show_preview, s);
    lv_denoise_lengthen(s->denoise, s->shape.length, s->shape.history > 0);
    all.others       = lv_need_join(lv_denoise_need(s->denoise), lv_video_need(s->video));
    all.others       = lv_need_join(all.others, lv_delivery_need(&s->delivery));
    all.others       = lv_need_join(all.others, lv_images_need_beside(s->images));
    all.others.host += lv_images_kept(s->images);
    if ((ret = choose_tile(s, &decode, &all)) < 0)
        return ret;
    ret = lv_experts_place(&s->experts, &all, &left);
    lv_encode_spare(s->encode, left.spare);
    work = lv_need_work(&all.before, s->env.dev) + SPARE;
    lv_encode_keep(s->encode, left.all > work ? left.all - work : 0);
    if (s->experts.in_turn)
        lv_denoise_each_expert(s->denoise, enter, s);
    return ret;
}

static int open_all(LvSession *s, const LvSessionOptions *opt)
{
    int ret;

    if ((ret = open_env(s, opt)) < 0 || (ret = make_stages(s, opt)) < 0 ||
        (ret = choose(s, opt)) < 0 || (ret = open_delivery(s, opt->on_device)) < 0 ||
        (ret = lv_images_new(&s->images, &s->env, opt, &s->shape)) < 0 ||
        (opt->video && (ret = lv_video_new(&s->video, &s->env, &s->shape, opt->tile)) < 0) ||
        (ret = lv_experts_split(&s->experts, &s->devices, s->schedule.branches)) < 0)
        return ret;
    return plan(s, opt);
}

int lv_session_open(LvSession **out, const LvSessionOptions *opt, const LvMsg *msg)
{
    LvSession *s = *out = calloc(1, sizeof(*s));
    int ret;

    if (!s)
        return lv_fail(msg, LV_ERR(ENOMEM), "out of memory");
    s->msg      = msg;
    s->process  = getpid();
    s->seed     = opt->seed;
    s->progress = opt->progress;
    s->preview  = opt->preview;
    s->opaque   = opt->opaque;
    if ((ret = open_all(s, opt)) < 0)
        lv_session_close(out);
    return ret;
}

/* A child of fork() has the host's memory, but nothing of a GPU. */
static int is_lost(const LvSession *s)
{
    return s->devices.nb && strcmp(s->devices.dev[0]->fn->name, "cpu") &&
           s->process != getpid();
}

void lv_session_close(LvSession **out)
{
    LvSession *s = *out;

    *out = NULL;
    if (!s || is_lost(s))
        return;
    lv_delivery_free(&s->delivery);
    lv_decode_free(&s->decode);
    lv_denoise_free(&s->denoise);
    lv_encode_free(&s->encode);
    lv_images_free(&s->images);
    lv_video_free(&s->video);
    for (int i = 0; i < PROMPTS; i++) {
        lv_ids_free(&s->prompt[i].ids);
        lv_free(s->prompt[i].features);
    }
    lv_experts_free(&s->experts);
    lv_devices_close(&s->devices);
    lv_files_close(&s->files);
    lv_prompt_times_free(&s->words);
    lv_prompt_times_free(&s->next_words);
    lv_free(s->small);
    lv_free(s->last.rgb);
    free(s);
}

void lv_session_info(const LvSession *s, LvSessionInfo *info)
{
    *info = (LvSessionInfo) {
        .cfg = &s->cfg, .shape = &s->shape, .schedule = &s->schedule,
        .about = s->devices.about, .dtype = s->env.dtype, .precision = lv_precision_name(&s->env),
        .tile = lv_decode_tile(s->decode),
    };
    for (int i = 0; i < s->devices.nb; i++) {
        const LvNeed *need = &s->experts.need[i];

        info->weight_bytes += lv_need_weights(need);
        info->work_bytes   += lv_need_work(need, s->devices.dev[i]);
    }
    info->streamed_bytes = lv_experts_streamed(&s->experts);
    memcpy(info->seconds, s->seconds, sizeof(info->seconds));
}

size_t lv_session_free_bytes(const LvSession *s)
{
    return lv_device_available(s->devices.dev[0]);
}

int lv_session_cost(LvSession *s, const LvRates *rates, LvCost cost[LV_STAGE_NB])
{
    LvIds ids[PROMPTS];
    int nb = nb_prompts(s), ret;

    memset(cost, 0, LV_STAGE_NB * sizeof(*cost));
    for (int i = 0; i < nb; i++)
        ids[i] = s->prompt[i].ids;
    if ((ret = lv_encode_cost(s->encode, ids, nb, rates, &cost[LV_STAGE_TEXT])) < 0 ||
        (ret = lv_denoise_cost(s->denoise, rates, &cost[LV_STAGE_DENOISE])) < 0)
        return ret;
    for (int i = 0; i < s->experts.nb; i++) {
        lv_network_cost_load(s->experts.network[0][i], rates, &cost[LV_STAGE_LOAD]);
        for (int b = 0; b < nb; b++)
            lv_network_cost_prompt(s->experts.network[0][i], rates, &cost[LV_STAGE_TEXT]);
    }
    lv_decode_cost_load(s->decode, rates, &cost[LV_STAGE_LOAD]);
    lv_decode_cost(s->decode, rates, &cost[LV_STAGE_DECODE]);
    return 0;
}

int lv_session_dump(LvSession *s, const char *name, FILE *to)
{
    int ret = 0;

    if (!strcmp(name, "dit"))
        lv_network_dump(first_network(s), to);
    else if (!strcmp(name, "decode"))
        lv_decode_dump(s->decode, to);
    else if (strcmp(name, "text"))
        ret = lv_fail(s->msg, LV_ERR(EINVAL), "graph '%s', expected text, dit or decode", name);
    else if ((ret = lv_encode_dump(s->encode, to)) >= 0)
        lv_network_dump_text(first_network(s), to);
    return ret;
}

/* Prompts */

int lv_session_set_prompt(LvSession *s, const char *prompt)
{
    LvPromptTimes t = { 0 };
    int ret = lv_prompt_times_read(&t, prompt, s->msg);

    if (ret >= 0)
        ret = tokenize_parts(s, &t, NULL);
    if (ret < 0) {
        lv_prompt_times_free(&t);
        return ret;
    }
    lv_prompt_times_free(&s->next_words);
    s->next_words = t;
    return 0;
}

void lv_session_rate(LvSession *s, int num, int den)
{
    s->clock.num = num;
    s->clock.den = den;
}

int lv_session_restart(LvSession *s, const char *prompt, const char *negative, uint64_t seed)
{
    LvPromptTimes t = { 0 };
    int ret = !s->loaded ? lv_fail(s->msg, LV_ERR(EINVAL), "restart: expected a context that "
                                   "has loaded its weights")
                         : lv_prompt_times_read(&t, prompt, s->msg);

    if (ret >= 0)
        ret = take_prompts(s, &t, negative);
    lv_prompt_times_free(&t);
    if (ret < 0)
        return ret;
    s->seed       = seed;
    s->clock      = (Clock) { .begun = lv_seconds(), .num = s->clock.num, .den = s->clock.den };
    s->frames.nb  = s->next_frame = 0;
    lv_video_begin(s->video);
    lv_images_again(s->images);
    lv_denoise_give_first(s->denoise, lv_images_first(s->images));
    if ((ret = lv_experts_show(&s->experts)) < 0)
        return ret;
    memset(s->seconds, 0, sizeof(s->seconds));
    atomic_store(&s->cancelled, 0);
    return 0;
}

static int alloc_features(LvSession *s, Prompt *p)
{
    const LvDitConfig *c = &s->cfg.dit;
    size_t bytes = (size_t)c->text_len * (size_t)c->text_dim * sizeof(float);

    if (!p->features && !(p->features = lv_alloc(bytes)))
        return lv_fail(s->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", bytes);
    return 0;
}

/* Features of the prompts that changed, all in one run of the encoder. */
static int encode(LvSession *s)
{
    LvIds ids[PROMPTS];
    float *features[PROMPTS];
    int nb = 0, ret = 0;

    for (int i = 0; i < nb_prompts(s) && ret >= 0; i++) {
        Prompt *p = &s->prompt[i];
        if (!p->stale)
            continue;
        ret          = alloc_features(s, p);
        ids[nb]      = p->ids;
        features[nb] = p->features;
        nb++;
    }
    if (ret < 0 || (ret = lv_encode_run(s->encode, ids, nb, features)) < 0)
        return ret;
    for (int i = 0; i < nb_prompts(s); i++) {
        for (int k = 0; k < s->experts.nb; k++)
            s->prompt[i].kv_stale[k] |= s->prompt[i].stale;
        s->prompt[i].stale = 0;
    }
    return 0;
}

static int encode_images(LvSession *s)
{
    return lv_images_run(s->images);
}

/* Keys and values of the prompts that changed, for a network. */
static int show_expert(LvSession *s, int expert)
{
    int ret = 0;

    for (int i = 0; i < nb_prompts(s) && ret >= 0; i++) {
        int later = i >= prompt_of(s, 1);
        const LvBranch *b = &s->experts.branch[later ? LV_COND : i];
        Prompt *p = &s->prompt[i];
        if (!p->kv_stale[expert])
            continue;
        ret = lv_network_prompt(b->net[expert], later ? i : b->prompt, p->features);
        p->kv_stale[expert] = ret < 0;
    }
    return ret;
}

/* For all networks; those that come in turn are shown when they come, and need features that
 * stay. */
static int show_network(LvSession *s)
{
    int ret = 0;

    for (int k = 0; k < s->experts.nb && !s->experts.in_turn && ret >= 0; k++)
        ret = show_expert(s, k);
    for (int i = 0; i < nb_prompts(s) && !s->experts.in_turn && ret >= 0; i++) {
        lv_free(s->prompt[i].features);
        s->prompt[i].features = NULL;
    }
    return ret;
}

/* Work */

/* Run a step of a stage and add its seconds up. */
static int timed(LvSession *s, enum LvStage stage, int (*run)(LvSession *s))
{
    double start = lv_seconds();
    int ret = run(s);

    s->seconds[stage] += lv_seconds() - start;
    return ret;
}

/* What stays of the text encoder gives way where others took memory meanwhile. */
static void make_room(LvSession *s)
{
    const LvDevice *dev = s->devices.dev[0];
    const LvNeed *need  = &s->experts.need[0];

    if (lv_device_available(dev) < lv_need_weights(need) + lv_need_work(need, dev))
        lv_encode_drop(s->encode);
}

/* Before anything else takes the device's memory. */
static int build_preview(LvSession *s)
{
    if (!s->preview)
        return 0;
    s->small = lv_alloc(preview_pixels(s) * 3);
    return s->small ? lv_preview_map(&s->map, &s->env) :
           lv_fail(s->msg, LV_ERR(ENOMEM), "preview: out of memory");
}

/* Where frames that clips go on from are. */
static int build_last(LvSession *s)
{
    size_t bytes = 3 * (size_t)s->shape.rows * (size_t)s->shape.cols;

    s->last = (LvImage) { s->shape.continues ? lv_alloc(bytes) : NULL, s->shape.cols,
                          s->shape.rows };
    return s->last.rgb || !s->shape.continues ? 0 :
           lv_fail(s->msg, LV_ERR(ENOMEM), "join: no memory for %zu bytes", bytes);
}

static int build(LvSession *s)
{
    int ret;

    make_room(s);
    if ((ret = build_preview(s)) < 0 || (ret = build_last(s)) < 0)
        return ret;
    ret = lv_denoise_build(s->denoise);

    lv_denoise_give_first(s->denoise, lv_images_first(s->images));
    if (ret < 0 || (ret = lv_experts_build(&s->experts, s->images)) < 0 ||
        (ret = lv_decode_build(s->decode, s->experts.arena[0])) < 0 ||
        (ret = lv_delivery_build(&s->delivery)) < 0 ||
        (ret = lv_video_build(s->video, s->experts.arena[0])) < 0)
        return ret;
    s->loaded = 1;
    return 0;
}

/* Of networks that come in turn: the time is not the sampler's. */
static int enter(void *opaque, int expert)
{
    LvSession *s = opaque;
    double start = lv_seconds(), spent;
    int ret = lv_experts_enter(&s->experts, expert);

    for (int i = 0; i < prompt_of(s, s->room) && ret; i++)
        s->prompt[i].kv_stale[expert] = 1;
    if (ret >= 0)
        ret = show_expert(s, expert);
    spent = lv_seconds() - start;
    s->seconds[LV_STAGE_LOAD]    += spent;
    s->seconds[LV_STAGE_DENOISE] -= spent;
    return ret;
}

/* Whether work may go on. A GPU's context does not survive fork(). */
static int check(const LvSession *s)
{
    if (atomic_load(&s->cancelled))
        return LV_ERR_CANCELLED;
    return !is_lost(s) ? 0 :
           lv_fail(s->msg, LV_ERR_DEVICE, "%s: a child of fork() cannot use a GPU that "
                   "its parent opened; open the context in the child", s->devices.about);
}

int lv_session_load(LvSession *s)
{
    int ret;

    if (s->loaded)
        return 0;
    s->clock.begun = lv_seconds();
    if ((ret = check(s)) < 0 ||
        (ret = lv_env_tell(&s->env, (LvAt) { LV_STAGE_LOAD, 0, 1, 0, 0 })) < 0 ||
        (ret = timed(s, LV_STAGE_TEXT, encode)) < 0 ||
        (ret = timed(s, LV_STAGE_TEXT, encode_images)) < 0)
        return ret;
    return timed(s, LV_STAGE_LOAD, build);
}

static int denoise(LvSession *s)
{
    const LvNoise noise = lv_noise_of(s->seed, s->clock.clip);
    const float *x;
    int ret;

    if (s->video) {
        lv_denoise_from(s->denoise, lv_video_latents(s->video));
        lv_denoise_blend(s->denoise, lv_video_latents(s->video), lv_video_kept(s->video));
    }
    if (has_blocks(s) && !s->clock.clip && (ret = lv_denoise_clear(s->denoise)) < 0)
        return ret;
    if ((ret = lv_denoise_run(s->denoise, &noise, NULL, NULL, &x)) < 0 ||
        (has_blocks(s) && (ret = lv_denoise_keep(s->denoise)) < 0))
        return ret;
    if (!has_blocks(s) || !s->clock.clip)
        return lv_decode_begin(s->decode, x);
    lv_decode_continue(s->decode, x);
    return 0;
}

static void take_words(LvSession *s)
{
    if (!s->next_words.nb)
        return;
    lv_prompt_times_free(&s->words);
    s->words      = s->next_words;
    s->next_words = (LvPromptTimes) { 0 };
    s->parts      = parts_of(s, &s->words);
    s->part       = 0;
}

/* Seconds at which a frame of the clip begins. */
static double time_of(const LvSession *s, int frame)
{
    double at = (double)frames_before(s, s->clock.clip) + frame;

    return at * s->clock.den / s->clock.num;
}

/* First latent of what begins at a time; that of the end is length. */
static int latent_at(const LvSession *s, double seconds)
{
    int per      = lv_decode_frames(s->decode), circular = s->shape.history > 0;
    double frame = ceil(seconds * s->clock.num / s->clock.den - 1e-6);

    if (frame >= s->cfg.video.frames)
        return s->shape.length;
    return circular ? (int)frame / per : ((int)frame + per - 1) / per;
}

/* Parts of a whole. */
static void place_parts(LvSession *s)
{
    for (int i = 0; i < s->parts; i++) {
        s->from_latent[i] = latent_at(s, s->words.from[i]);
        s->number[i]      = prompt_of(s, i);
    }
    lv_denoise_parts(s->denoise, s->from_latent, s->number, s->parts);
}

/* The prompt of a clip's first frame is its own. */
static int choose_part(LvSession *s)
{
    int part = lv_prompt_times_at(&s->words, time_of(s, 0)), ret = 0;

    if (is_whole(s))
        place_parts(s);
    else if (part != s->part && (ret = tokenize(s, 1, &s->words.text[part])) >= 0)
        s->part = part;
    return ret;
}

/* What a frame of the clip shows. */
static const char *words_at(const LvSession *s, int frame)
{
    int whole = s->parts > 1;

    return s->words.text[whole ? lv_prompt_times_at(&s->words, time_of(s, frame)) : s->part];
}

/* Have all networks begin with the frame that the clip before ended with. */
static int continue_clip(LvSession *s)
{
    const LvAt at = { LV_STAGE_TEXT, 0, 1, 0, 0 };
    int ret = lv_env_tell(&s->env, at);

    if (ret < 0 || (ret = lv_images_continue(s->images, &s->last, s->experts.arena[0])) < 0 ||
        (ret = lv_experts_show(&s->experts)) < 0)
        return ret;
    lv_denoise_give_first(s->denoise, lv_images_first(s->images));
    s->clock.continued = 1;
    return 0;
}

/* The first frame of a clip that continues another is that one's last, and is not shown again. */
static int begin_clip(LvSession *s)
{
    int continues = s->clock.clip && s->shape.continues, ret;

    if (s->clock.clip && !s->video)
        s->clock.begun = lv_seconds();
    s->clock.next = s->next_frame = continues;
    s->frames.nb  = 0;
    if (continues && !s->clock.continued && (ret = timed(s, LV_STAGE_TEXT, continue_clip)) < 0)
        return ret;
    take_words(s);
    if ((ret = choose_part(s)) < 0 || (ret = timed(s, LV_STAGE_TEXT, encode)) < 0 ||
        (ret = timed(s, LV_STAGE_TEXT, show_network)) < 0 ||
        (ret = timed(s, LV_STAGE_DENOISE, denoise)) < 0)
        return ret;
    s->clock.in_clip = 1;
    return 0;
}

static int decode(LvSession *s)
{
    int ret = 0;

    while (s->next_frame >= s->frames.nb && ret >= 0) {
        s->next_frame -= s->frames.nb;
        ret = lv_decode_run(s->decode, &s->frames);
    }
    return ret;
}

/* The bytes of the clip's last frame, as a file of it would have them. */
static int keep_last(LvSession *s, const float *rgb)
{
    const LvPlanes to = { .data = { s->last.rgb }, .stride = { 3 * (ptrdiff_t)s->shape.cols },
                          .width = s->shape.cols, .height = s->shape.rows,
                          .format = LV_RGB24 };
    size_t bytes = 3 * (size_t)s->shape.rows * (size_t)s->shape.cols * sizeof(*rgb);
    float *host  = s->delivery.on_device ? lv_alloc(bytes) : NULL;
    int ret = 0;

    if (s->delivery.on_device)
        ret = host ? lv_device_download(s->env.dev, host, rgb, bytes)
                   : lv_fail(s->msg, LV_ERR(ENOMEM), "join: no memory for %zu bytes", bytes);
    if (ret >= 0)
        lv_deliver(&to, host ? host : rgb, s->shape.rows, s->shape.cols);
    lv_free(host);
    return ret;
}

int lv_session_send_image(LvSession *s, int which, const LvImage *image)
{
    return lv_images_send(s->images, which, image);
}

/* The clip whose frames are delivered is over. */
static void end_clip(LvSession *s)
{
    if (!s->clock.in_clip || s->clock.next < clip_frames(s))
        return;
    s->clock.in_clip   = 0;
    s->clock.continued = 0;
    s->clock.clip++;
    lv_video_begin(s->video);
}

int lv_session_wants(const LvSession *s)
{
    int within = s->clock.in_clip && s->clock.next < s->cfg.video.frames;

    return s->video && !within && (s->clock.in_clip || !lv_video_latents(s->video));
}

int lv_session_send(LvSession *s, const LvImage *frame)
{
    double start = lv_seconds();
    int ret = check(s);

    assert(s->loaded && lv_session_wants(s));
    end_clip(s);
    if (ret < 0)
        return ret;
    if (!lv_video_sent(s->video) && s->clock.clip)
        s->clock.begun = start;
    ret = frame ? lv_video_send(s->video, frame) : lv_video_end(s->video);
    s->seconds[LV_STAGE_TEXT] += lv_seconds() - start;
    return ret;
}

int lv_session_send_mask(LvSession *s, const LvImage *mask)
{
    assert(s->loaded && s->video);
    return lv_video_mask(s->video, mask);
}

int lv_session_frame(LvSession *s, LvShot *shot)
{
    size_t frame = (size_t)s->shape.rows * (size_t)s->shape.cols * 3;
    int ret;

    assert(s->loaded);
    if ((ret = check(s)) < 0)
        return ret;
    end_clip(s);
    if (!s->clock.in_clip && (ret = begin_clip(s)) < 0)
        return ret;
    if (s->next_frame >= s->frames.nb && (ret = timed(s, LV_STAGE_DECODE, decode)) < 0)
        return ret;
    *shot = (LvShot) { s->frames.rgb + (size_t)s->next_frame++ * frame, s->clock.clip,
                       words_at(s, s->clock.next) };
    s->clock.next++;
    return s->shape.continues && s->clock.next == s->cfg.video.frames ? keep_last(s, shot->rgb)
                                                                     : 0;
}

int lv_session_deliver(LvSession *s, const LvPlanes *out, const LvShot *shot)
{
    return lv_delivery_run(&s->delivery, out, shot->rgb);
}

void lv_session_cancel(LvSession *s)
{
    atomic_store(&s->cancelled, 1);
}
