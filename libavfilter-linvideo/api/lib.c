/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The public functions: validate, then hand on to the pipeline.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/image.h"
#include "api/model.h"
#include "api/params.h"
#include "api/prompt.h"
#include "api/video.h"
#include "base/common.h"
#include "base/deliver.h"
#include "base/locale.h"
#include "linvideo/linvideo.h"
#include "model/prompt.h"
#include "model/prompt_times.h"
#include "pipeline/choices.h"
#include "pipeline/images.h"
#include "pipeline/sample.h"
#include "pipeline/session.h"

_Static_assert((int)LINVIDEO_EOF == LV_EOF &&
               (int)LINVIDEO_ERR_MODEL == LV_ERR_MODEL &&
               (int)LINVIDEO_ERR_DEVICE == LV_ERR_DEVICE &&
               (int)LINVIDEO_ERR_UNSUPPORTED == LV_ERR_UNSUPPORTED &&
               (int)LINVIDEO_ERR_CANCELLED == LV_ERR_CANCELLED, "codes differ");
_Static_assert((int)LINVIDEO_SAMPLER_RENOISE == LV_SAMPLER_RENOISE &&
               (int)LINVIDEO_SAMPLER_DPMPP == LV_SAMPLER_DPMPP &&
               (int)LINVIDEO_SAMPLER_CAUSVID_CAUSAL == LV_SAMPLER_CAUSVID_CAUSAL &&
               (int)LINVIDEO_CACHE_ON == LV_CACHE_ON &&
               (int)LINVIDEO_NV12 == LV_NV12 &&
               (int)LINVIDEO_JOIN_AUTO == LV_JOIN_AUTO &&
               (int)LINVIDEO_ENDLESS == LV_ENDLESS &&
               (int)LINVIDEO_INPUT_LAST_IMAGE == LV_IMAGE_LAST &&
               (int)LINVIDEO_STAGE_DECODE == LV_STAGE_DECODE &&
               (int)LINVIDEO_LOG_DEBUG == LV_MSG_DEBUG, "values differ");

enum { MAX_LORAS = 32, UNKNOWN = -1 };

struct LinvideoContext {
    LinvideoParams p;       /* callbacks and numbers; strings are not kept */
    LvRelay relay;
    LvMsg msg;
    LvSession *session;
    LvSessionInfo info;     /* as opened */
    char *prompt;           /* while it is opened */
    LvImage image[LV_CLIP_IMAGES]; /* the same */
    int missing[LV_CLIP_IMAGES]; /* 1: it is to be sent */
    LvVideoFile *video;     /* NULL: none */
    LvVideoFile *masks;     /* of each of its frames; NULL: none */
    LvImage mask;           /* of all of them; rgb NULL: none */
    int video_size[2];      /* of frames that clips are made of: width, height */
    int takes_video;        /* 1: in mode video */
    int64_t sent;           /* frames of the video */
    char path[LV_PATH_SIZE];
    char name[64];
    int64_t frames, next;   /* frames: UNKNOWN until a video that is sent is over */
    int failed;             /* code that ended the stream */
    char *lora_text;        /* while it is opened */
    LvLoraFile lora[MAX_LORAS];
    int nb_loras;
    LvPromptSaid said;
};

unsigned linvideo_version(void)
{
    return LINVIDEO_VERSION_INT;
}

const char *linvideo_strerror(int code)
{
    static const struct {
        int code;
        const char *text;
    } texts[] = {
        { 0, "success" },
        { LINVIDEO_EOF, "end of the video" },
        { LINVIDEO_ERR_MODEL, "model file malformed or of the wrong kind" },
        { LINVIDEO_ERR_DEVICE, "device missing or failed" },
        { LINVIDEO_ERR_UNSUPPORTED, "not supported here" },
        { LINVIDEO_ERR_CANCELLED, "cancelled" },
        { -ENOMEM, "too little memory" },
        { -EINVAL, "invalid option or input" },
        { -ENOENT, "no such model or file" },
        { -EACCES, "no permission" },
        { -EIO, "input or output failed" },
    };

    for (int i = 0; i < LV_COUNT(texts); i++)
        if (texts[i].code == code)
            return texts[i].text;
    return "unknown error";
}

/* Opening */

static int draw_seed(LinvideoContext *c)
{
    uint32_t seed;

    if (c->p.seed >= 0)
        return 0;
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return lv_fail(&c->msg, LV_ERR(EIO), "cannot draw a random seed; give seed");
    c->p.seed = seed;
    return 0;
}

/* Clips of the video; 0: not known. */
static int64_t count_clips(const LinvideoContext *c)
{
    return c->frames < 0 ? 0 : lv_session_clips(c->session, c->frames);
}

static void relay_progress(void *opaque, const LvProgress *p)
{
    static const char *const names[] = { "loading", "text", "denoising", "decoding" };
    LinvideoContext *c = opaque;
    LinvideoProgress out = {
        .stage = (enum LinvideoStage)p->stage, .stage_name = names[p->stage],
        .clip = p->clip, .clips = count_clips(c),
        .step = p->step, .steps = p->steps, .layer = p->layer, .layers = p->layers,
        .fraction = p->fraction, .elapsed = p->elapsed,
    };
    locale_t ours = uselocale(c->relay.locale);

    c->p.progress(c->p.opaque, &out);
    uselocale(ours);
}

static void relay_preview(void *opaque, const LvPreview *p)
{
    LinvideoContext *c = opaque;
    const LinvideoPreview out = {
        .clip = p->clip, .step = p->step, .steps = p->steps, .width = p->size[2],
        .height = p->size[1], .frames = p->size[0], .data = p->rgb,
    };
    locale_t ours = uselocale(c->relay.locale);

    c->p.preview(c->p.opaque, &out);
    uselocale(ours);
}

/* "FILE[@WEIGHT]|..."; the text is cut up in place. */
static int split_loras(LinvideoContext *c, const LinvideoParams *p)
{
    char *next;
    int ret;

    if (!p->lora || !*p->lora)
        return 0;
    if (!(c->lora_text = strdup(p->lora)))
        return lv_fail(&c->msg, LV_ERR(ENOMEM), "out of memory");
    for (char *file = c->lora_text; file; file = next) {
        LvLoraFile *l = &c->lora[c->nb_loras];

        if ((next = strchr(file, '|')))
            *next++ = 0;
        if (c->nb_loras++ == MAX_LORAS || !*file)
            return lv_fail(&c->msg, LV_ERR(EINVAL), "lora: '%s' is not 1 to %d names of "
                           "files", p->lora, MAX_LORAS);
        if ((ret = lv_lora_split(l, file, &c->msg)) < 0)
            return ret;
        l->strict = p->strict;
    }
    return 0;
}

/* Who wants frames in CUDA memory has chosen. */
static const char *device_name(const LinvideoParams *p)
{
    int chosen = p->device && *p->device && strcmp(p->device, "auto");

    return p->cuda && !chosen ? "cuda" : p->device;
}

#define DEFAULT_STRENGTH 0.6f

/* Width and height of the frames that clips are made of; 0: of none. */
static void find_video_size(LinvideoContext *c, const LinvideoParams *p)
{
    const LvY4m *y = c->video ? lv_video_file_head(c->video) : NULL;

    c->video_size[0] = y ? (int)y->width : c->takes_video ? p->video_frame->width : 0;
    c->video_size[1] = y ? (int)y->height : c->takes_video ? p->video_frame->height : 0;
}

static LvSessionOptions session_options(LinvideoContext *c, const LinvideoParams *p)
{
    LvSessionOptions opt = {
        .model = c->path, .prompt = c->prompt, .negative = p->negative_prompt,
        .width = p->width, .height = p->height, .clip_frames = p->clip_frames,
        .join = (enum LvJoin)p->join, .loop = p->loop,
        .causal = p->causal, .causal_window = p->causal_window, .causal_sink = p->causal_sink,
        .frames = p->frames, .duration = p->duration, .rate_num = p->rate_num,
        .rate_den = p->rate_den, .native = p->native, .image = c->image[LV_IMAGE_FIRST],
        .last_image = c->image[LV_IMAGE_LAST], .video = c->takes_video,
        .strength = p->strength ? p->strength : DEFAULT_STRENGTH,
        .seed = (uint64_t)c->p.seed, .steps = p->steps, .guidance = p->guidance,
        .shift = p->shift, .sampler = (int)p->sampler, .step_cache = p->cache,
        .nag = p->nag, .nag_tau = p->nag_tau, .nag_alpha = p->nag_alpha,
        .guidance_start = p->guidance_start, .guidance_end = p->guidance_end,
        .precision = lv_precision_type(p->precision), .device = device_name(p),
        .on_device = p->cuda != NULL, .context = p->cuda ? p->cuda->context : NULL,
        .stream = p->cuda ? p->cuda->stream : NULL,
        .threads = p->threads, .memory_limit = (size_t)p->memory_limit,
        .tile = p->tile, .cache = (enum LvCacheMode)p->prompt_cache, .loras = c->lora,
        .nb_loras = c->nb_loras, .strict = p->strict,
        .progress = p->progress ? relay_progress : NULL,
        .preview = p->preview ? relay_preview : NULL, .opaque = c,
    };

    memcpy(opt.video_size, c->video_size, sizeof(opt.video_size));
    return opt;
}

static void set_name(LinvideoContext *c)
{
    const char *base = strrchr(c->path, '/');

    snprintf(c->name, sizeof(c->name), "%.63s", base ? base + 1 : c->path);
    if (strrchr(c->name, '.'))
        *strrchr(c->name, '.') = 0;
}

enum { MAX_FRAMES = 1000000000 };

/* Motion has the speed of the model's rate. */
static void warn_of_rate(const LinvideoContext *c)
{
    const LvVideoConfig *v = &c->info.cfg->video;
    double own = (double)v->rate_num / v->rate_den;
    double asked = (double)c->p.rate_num / c->p.rate_den;

    if (asked > 1.01 * own || asked < 0.99 * own)
        lv_msg(&c->msg, LV_MSG_WARNING, "rate: %.4g; the model makes motion for %.4g frames "
               "a second: it is %.3g times as fast now; leave rate out and use filter "
               "minterpolate or fps for its own speed", asked, own, asked / own);
}

/* The rate is what was asked, else that of a video's file, else the model's. */
static int choose_rate(LinvideoContext *c)
{
    const LvVideoConfig *v = &c->info.cfg->video;
    const LvY4m *file      = c->video ? lv_video_file_head(c->video) : NULL;

    if (file && c->p.rate_num)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "rate: the frames of a video have its own rate; "
                       "leave rate out");
    if (file && !file->rate_num)
        lv_msg(&c->msg, LV_MSG_WARNING, "video: its header says %s: that of the model is used",
               file->odd_rate ? "a rate that is not 1/1048576 to 1048576" : "no rate");
    if (c->takes_video && !file && !c->p.rate_num && c->p.duration > 0)
        lv_msg(&c->msg, LV_MSG_WARNING, "duration: the video has no rate: it is counted in frames "
               "of the model's, %d/%d a second", v->rate_num, v->rate_den);
    if (!c->p.rate_num) {
        c->p.rate_num = file && file->rate_num ? file->rate_num : v->rate_num;
        c->p.rate_den = file && file->rate_num ? file->rate_den : v->rate_den;
    }
    if (!c->takes_video)
        warn_of_rate(c);
    return 0;
}

/* Frames of a video are as many as there are, or were asked for. */
static void bound_frames(LinvideoContext *c)
{
    int64_t there = c->video ? lv_video_file_frames(c->video) : c->frames;

    if (c->p.duration == LINVIDEO_ENDLESS && !c->takes_video)
        c->frames = UNKNOWN;
    else if (c->takes_video && c->p.frames < 0 && c->p.duration < 0)
        c->frames = c->video ? there : UNKNOWN;
    else if (c->takes_video)
        c->frames = LV_MIN(c->frames, there);
}

/* Whether the video is one clip, in windows or as a loop. */
static int is_whole(const LinvideoContext *c)
{
    const LvClipShape *s = c->info.shape;

    return s->history || s->length > s->size[0];
}

/* Frames that were asked for, once size and rate of the model are known. */
static int count_asked(LinvideoContext *c)
{
    const LvVideoConfig *v = &c->info.cfg->video;
    uint64_t frames;

    c->frames = is_whole(c)          ? v->frames
              : c->p.frames > 0      ? c->p.frames
              : c->p.clip_frames > 0 ? c->p.clip_frames : v->frames;
    if (c->p.duration < 0 || is_whole(c))
        return 0;
    frames = lv_frames_of(c->p.duration, c->p.rate_num, c->p.rate_den);
    if (frames > MAX_FRAMES)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "duration: %.0f s at %d/%d are more "
                       "than %d frames", c->p.duration / 1e6, c->p.rate_num,
                       c->p.rate_den, MAX_FRAMES);
    c->frames = (int64_t)frames;
    return 0;
}

/* How what is longer than a clip is made; a whole and blocks have told of themselves. */
static void tell_join(const LinvideoContext *c)
{
    int clip = c->info.cfg->video.frames, endless = c->frames < 0;
    char frames[32] = "frames without end";

    if (c->info.shape->causal.block ||
        (c->takes_video ? c->frames <= clip : !endless && c->frames <= clip))
        return;
    if (!endless)
        snprintf(frames, sizeof(frames), "%lld frames", (long long)c->frames);
    lv_msg(&c->msg, LV_MSG_INFO, "join: %s are made clip after clip, of %d each%s", frames, clip,
           c->info.shape->continues ? ", each from the last frame of the one before" : "");
}

static int count_frames(LinvideoContext *c)
{
    int ret = choose_rate(c);

    if (ret < 0 || (ret = count_asked(c)) < 0)
        return ret;
    bound_frames(c);
    tell_join(c);
    lv_session_rate(c->session, c->p.rate_num, c->p.rate_den);
    return 0;
}

/* Say what of a text has no effect. 0, -EINVAL, -ENOMEM */
static int warn(LinvideoContext *c, const char *option, const char *text)
{
    char *clean = text ? lv_prompt_clean(text, &c->msg) : NULL;

    if (text && !clean)
        return LV_ERR(errno);
    if (clean)
        lv_prompt_warn(&c->said, option, clean, c->info.cfg->text.words, &c->msg);
    free(clean);
    return 0;
}

/* The same of each prompt over time, of which those that come too late have none at all. */
static int warn_each(LinvideoContext *c, const char *prompt)
{
    double end = (double)c->frames * c->p.rate_den / c->p.rate_num;
    LvPromptTimes t = { 0 };
    int ret = lv_prompt_times_read(&t, prompt, &c->msg);

    for (int i = 0; i < t.nb && ret >= 0; i++) {
        if (c->frames >= 0 && t.from[i] >= end)
            lv_msg(&c->msg, LV_MSG_WARNING, "prompt: what begins at %g s is not shown, the video "
                   "ends at %g s", t.from[i], end);
        ret = warn(c, "prompt", t.text[i]);
    }
    lv_prompt_times_free(&t);
    return ret;
}

static int warn_of_prompts(LinvideoContext *c, const char *prompt, const char *negative)
{
    int ret = warn_each(c, prompt);

    return ret < 0 || lv_schedule_prompts(c->info.schedule) == 1 ? ret :
           warn(c, "negative_prompt", negative);
}

/* Check p, read the prompt, draw a seed into c->p. */
static int begin(LinvideoContext *c, const LinvideoParams *p, char **prompt)
{
    int ret = lv_params_check(p, &c->msg);

    if (ret < 0)
        return ret;
    if (p->frames > 0 && p->duration != -1)
        return lv_fail(&c->msg, LV_ERR(EINVAL),
                       "both frames and duration are given; give one of them");
    ret = lv_prompt_read(prompt, p, &c->msg);
    return ret < 0 ? ret : draw_seed(c);
}

static int read_images(LinvideoContext *c, const LinvideoParams *p)
{
    int ret = lv_image_read(&c->image[LV_IMAGE_FIRST], "image", p->image, p->image_data, &c->msg);

    if (ret >= 0)
        ret = lv_image_read(&c->image[LV_IMAGE_LAST], "last_image", p->last_image,
                            p->last_image_data, &c->msg);
    for (int i = 0; i < LV_CLIP_IMAGES; i++)
        c->missing[i] = c->image[i].width && !c->image[i].rgb;
    return ret;
}

/* The file is open as long as the context. */
static int open_video(LinvideoContext *c, const LinvideoParams *p)
{
    const LvReader sent = { .option = "video", .path = "that is sent", .msg = &c->msg };
    int named = p->video && *p->video;

    c->takes_video = named || p->mode == LINVIDEO_MODE_VIDEO;
    if (p->strength > 0 && !c->takes_video)
        lv_msg(&c->msg, LV_MSG_WARNING, "strength: it is not used without a video");
    if (named && p->video_frame)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "both video and video_frame are given; give one "
                       "of them");
    if (named)
        return lv_video_file_open(&c->video, "video", p->video, &c->msg);
    if (c->takes_video && !p->video_frame)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "mode video: expected a video, got none");
    return c->takes_video ? lv_image_check(&sent, p->video_frame->width, p->video_frame->height)
                          : 0;
}

/* A mask has the shape of the frames, whatever its size. */
static int check_mask(const LinvideoContext *c, int width, int height)
{
    const int *size = c->video_size;
    int64_t off = (int64_t)width * size[1] - (int64_t)height * size[0];

    return llabs(off) < LV_MAX(size[0], size[1]) ? 0 :
           lv_fail(&c->msg, LV_ERR(EINVAL), "mask: expected the shape of the video, %dx%d, got "
                   "%dx%d", size[0], size[1], width, height);
}

/* An image for all frames, or a video with one for each. */
static int open_mask(LinvideoContext *c, const LinvideoParams *p)
{
    int64_t frames = c->video ? lv_video_file_frames(c->video) : 1, there;
    int ret;

    if (!p->mask || !*p->mask)
        return 0;
    if (!c->takes_video)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "mask: expected mode video, whose frames it keeps "
                       "a part of");
    if (!lv_video_file_is(p->mask)) {
        ret = lv_image_read(&c->mask, "mask", p->mask, NULL, &c->msg);
        return ret < 0 ? ret : check_mask(c, c->mask.width, c->mask.height);
    }
    if ((ret = lv_video_file_open(&c->masks, "mask", p->mask, &c->msg)) < 0)
        return ret;
    there = lv_video_file_frames(c->masks);
    if (there < frames && there > 1)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "mask: %s: expected 1 frame, or as many as the "
                       "video, %lld, got %lld", p->mask, (long long)frames, (long long)there);
    return check_mask(c, (int)lv_video_file_head(c->masks)->width,
                      (int)lv_video_file_head(c->masks)->height);
}

static int open_context(LinvideoContext *c, const LinvideoParams *p)
{
    LvSessionOptions opt;
    int ret;

    if ((ret = begin(c, p, &c->prompt)) < 0 || (ret = read_images(c, p)) < 0 ||
        (ret = lv_model_find(c->path, p->model, &c->msg)) < 0 || (ret = open_video(c, p)) < 0)
        return ret;
    find_video_size(c, p);
    if ((ret = open_mask(c, p)) < 0)
        return ret;
    set_name(c);
    if ((ret = split_loras(c, p)) < 0)
        return ret;
    opt = session_options(c, p);
    if ((ret = lv_session_open(&c->session, &opt, &c->msg)) < 0)
        return ret;
    lv_session_info(c->session, &c->info);
    ret = count_frames(c);
    return ret < 0 ? ret : warn_of_prompts(c, c->prompt, p->negative_prompt);
}

static int create(LinvideoContext **out, const LinvideoParams *p, locale_t callers)
{
    LinvideoContext *c = *out = calloc(1, sizeof(*c));
    const LvRelay relay = { p, callers };
    const LvMsg msg = lv_params_msg(&relay);
    LinvideoParams *kept;
    int ret;

    if (!c)
        return lv_fail(&msg, LV_ERR(ENOMEM), "out of memory");
    kept     = &c->p;
    *kept    = *p;
    c->relay = (LvRelay) { kept, callers };
    c->msg   = lv_params_msg(&c->relay);
    ret      = open_context(c, p);
    kept->model = kept->prompt = kept->prompt_file = kept->negative_prompt = NULL;
    kept->device = kept->lora = kept->image = kept->last_image = kept->video = NULL;
    kept->mask   = NULL;
    kept->image_data = kept->last_image_data = kept->video_frame = NULL;
    kept->cuda   = NULL;
    free(c->lora_text);
    free(c->prompt);
    for (int i = 0; i < LV_CLIP_IMAGES; i++) {
        free(c->image[i].rgb);
        c->image[i].rgb = NULL;
    }
    c->lora_text = c->prompt = NULL;
    if (ret < 0)
        linvideo_close(out);
    return ret;
}

int linvideo_open(LinvideoContext **out, const LinvideoParams *p)
{
    LvLocale l;
    int ret;

    if (out)
        *out = NULL;
    if (!out || !p)
        return LV_ERR(EINVAL);
    lv_locale_enter(&l);
    ret = create(out, p, l.before);
    lv_locale_leave(&l);
    return ret;
}

void linvideo_close(LinvideoContext **out)
{
    LinvideoContext *c = out ? *out : NULL;

    if (!c)
        return;
    lv_session_close(&c->session);
    lv_video_file_close(&c->video);
    lv_video_file_close(&c->masks);
    free(c->mask.rgb);
    free(c);
    *out = NULL;
}

void linvideo_info(const LinvideoContext *c, LinvideoInfo *info)
{
    const LvVideoConfig *v;
    LvSessionInfo s;

    if (info)
        *info = (LinvideoInfo) { .frames = 0 };
    if (!info || !c)
        return;
    lv_session_info(c->session, &s);
    v     = &s.cfg->video;
    *info = (LinvideoInfo) {
        .width = v->width, .height = v->height, .model_width = s.shape->cols,
        .model_height = s.shape->rows, .scaled = s.shape->scaled,
        .rate_num = c->p.rate_num, .rate_den = c->p.rate_den,
        .frames = c->frames, .clip_frames = v->frames, .seed = c->p.seed,
        .steps = v->steps, .guidance = v->guidance, .shift = v->shift,
        .sampler = lv_sampler_name(s.schedule->kind),
        .precision = s.precision,
        .device = s.about,
        .model = c->name, .model_path = c->path, .layers = s.cfg->dit.layers,
        .linear_layers = lv_config_layers(&s.cfg->dit, LV_ATTN_LINEAR),
        .tokens = lv_dit_tokens(&s.cfg->dit, s.shape->size),
        .memory_weights = (int64_t)s.weight_bytes,
        .memory_work = (int64_t)s.work_bytes,
    };
    memcpy(info->seconds, s.seconds, sizeof(info->seconds));
}

static int set_prompt(LinvideoContext *c, const char *prompt)
{
    int ret;

    if (!prompt)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "no prompt");
    if (is_whole(c) && c->next > 0)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "prompt: this video is made as a whole; "
                       "expected it before the first frame, or join cut without loop");
    if ((ret = lv_prompt_check(prompt, &c->msg)) < 0 ||
        (ret = warn_each(c, prompt)) < 0)
        return ret;
    return lv_session_set_prompt(c->session, prompt);
}

/* Work in the C locale; callbacks have the caller's. */
static void enter(LinvideoContext *c, LvLocale *l)
{
    lv_locale_enter(l);
    c->relay.locale = l->before;
}

int linvideo_set_prompt(LinvideoContext *c, const char *prompt)
{
    LvLocale l;
    int ret;

    if (!c)
        return LV_ERR(EINVAL);
    enter(c, &l);
    ret = set_prompt(c, prompt);
    lv_locale_leave(&l);
    return ret;
}

/* What another video may change, beside its prompts. */
static void take_params(LinvideoParams *to, const LinvideoParams *from)
{
    to->seed     = from->seed;
    to->rate_num = from->rate_num;
    to->rate_den = from->rate_den;
    to->frames   = from->frames;
    to->duration = from->duration;
    to->format   = from->format;
    to->matrix   = from->matrix;
}

static int restart_with(LinvideoContext *c, const LinvideoParams *p, char **prompt)
{
    int ret = begin(c, p, prompt);

    if (ret < 0 || (ret = count_frames(c)) < 0 ||
        (ret = warn_of_prompts(c, *prompt, p->negative_prompt)) < 0)
        return ret;
    return lv_session_restart(c->session, *prompt, p->negative_prompt, (uint64_t)c->p.seed);
}

static int restart(LinvideoContext *c, const LinvideoParams *p)
{
    const LinvideoParams before = c->p;
    int64_t frames = c->frames;
    char *prompt = NULL;
    int ret;

    if (!p)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "no parameters");
    if (c->failed < 0 && c->failed != LINVIDEO_ERR_CANCELLED)
        return lv_fail(&c->msg, c->failed, "restart: an error has ended this context (%s)",
                       linvideo_strerror(c->failed));
    if (is_whole(c) && (p->frames != c->p.frames || p->duration != c->p.duration))
        return lv_fail(&c->msg, LV_ERR(EINVAL), "restart: this video is made as a whole; expected "
                       "its frames and duration, or a context of its own");
    take_params(&c->p, p);
    if ((ret = restart_with(c, p, &prompt)) < 0) {
        c->p      = before;
        c->frames = frames;
    } else {
        c->next = c->failed = 0;
        c->sent = 0;
        if (c->video)
            lv_video_file_rewind(c->video);
        if (c->masks)
            lv_video_file_rewind(c->masks);
        if (c->takes_video)
            ret = lv_session_send_mask(c->session, NULL);
    }
    free(prompt);
    return ret;
}

int linvideo_restart(LinvideoContext *c, const LinvideoParams *p)
{
    LvLocale l;
    int ret;

    if (!c)
        return LV_ERR(EINVAL);
    enter(c, &l);
    ret = restart(c, p);
    lv_locale_leave(&l);
    return ret;
}

/* Frames */

static int check_planes(const LinvideoContext *c, const LinvideoFrame *f)
{
    const LvVideoConfig *v = &c->info.cfg->video;

    if (!f)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "no frame");
    for (int i = 0; i < LV_COUNT(f->data); i++) {
        ptrdiff_t stride = f->stride[i];
        ptrdiff_t bytes  = lv_plane_size((enum LvFormat)c->p.format, i, v->width, v->height).row;

        if (bytes && !f->data[i])
            return lv_fail(&c->msg, LV_ERR(EINVAL), "frame: plane %d is NULL", i);
        if (stride < bytes && stride > -bytes)
            return lv_fail(&c->msg, LV_ERR(EINVAL), "frame: stride of plane %d is %td, "
                           "expected at least %td", i, stride, bytes);
    }
    return 0;
}

static const LvMatrix matrices[] = {
    [LINVIDEO_MATRIX_AUTO]  = LV_MATRIX_BT709,
    [LINVIDEO_MATRIX_BT709] = LV_MATRIX_BT709,
    [LINVIDEO_MATRIX_BT601] = LV_MATRIX_BT601,
};

/* The frame of a video that is sent as the last one ends its clip. */
static int end_video(LinvideoContext *c)
{
    c->frames = c->sent;
    if (!c->sent)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "video: it ended before its first frame");
    return c->sent % c->info.cfg->video.frames ? lv_session_send(c->session, NULL) : 0;
}

/* The mask of the next frame, where a file has it. */
static int read_mask(LinvideoContext *c)
{
    const LvImage *mask = c->mask.rgb && !c->sent ? &c->mask : NULL;
    int ret = 0;

    if (c->masks && c->sent < lv_video_file_frames(c->masks))
        ret = lv_video_file_next(c->masks, &mask);
    return ret < 0 || !mask ? ret : lv_session_send_mask(c->session, mask);
}

static int take_frame(LinvideoContext *c, const LvImage *image)
{
    int ret = read_mask(c);

    if (ret < 0 || (ret = lv_session_send(c->session, image)) < 0)
        return ret;
    return ++c->sent == c->frames ? end_video(c) : 0;
}

static int wants(const LinvideoContext *c)
{
    return lv_session_wants(c->session) && c->sent != c->frames;
}

/* Frames of a file go into the clip that is next. */
static int read_video(LinvideoContext *c)
{
    const LvImage *image;
    int ret = 0;

    while (c->video && wants(c) && ret >= 0)
        if ((ret = lv_video_file_next(c->video, &image)) >= 0)
            ret = take_frame(c, image);
    return ret;
}

/* All that a frame is made of is there: 1, 0 (frames are to be sent), or an error. */
static int prepare(LinvideoContext *c)
{
    int ret;

    for (int i = 0; i < LV_CLIP_IMAGES; i++)
        if (c->missing[i])
            return lv_fail(&c->msg, LV_ERR(EINVAL), "%s: expected its pixels, which were not "
                           "sent", i == LV_IMAGE_LAST ? "last_image" : "image");
    if ((ret = lv_session_load(c->session)) < 0 || (ret = read_video(c)) < 0)
        return c->failed = ret;
    return !wants(c);
}

static int send_image(LinvideoContext *c, int which, const LinvideoImage *image)
{
    static const char *const names[LV_CLIP_IMAGES] = { "image", "last_image" };
    const LvImage *size = &c->image[which];
    LvImage copy = { NULL, 0, 0 };
    int ret;

    if (!c->missing[which])
        return lv_fail(&c->msg, LV_ERR(EINVAL), "%s: none is to be sent", names[which]);
    if (!image || !image->data || image->width != size->width || image->height != size->height)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "%s: expected one of %dx%d, got %dx%d",
                       names[which], size->width, size->height, image ? image->width : 0,
                       image ? image->height : 0);
    if ((ret = lv_image_copy(&copy, names[which], image, &c->msg)) >= 0)
        ret = lv_session_send_image(c->session, which, &copy);
    free(copy.rgb);
    c->missing[which] = ret < 0;
    return ret;
}

/* An error within the video ends it. */
static int send_frame(LinvideoContext *c, const LinvideoImage *image)
{
    LvImage copy = { NULL, 0, 0 };
    int ret;

    if (!c->takes_video || c->video)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "video: no frames are to be sent");
    if (c->failed < 0 || c->sent == c->frames)
        return c->failed < 0 ? c->failed : LINVIDEO_EOF;
    if (image && !image->data)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "video: data of a frame is NULL");
    if ((ret = lv_session_load(c->session)) < 0)
        return c->failed = ret;
    if (image && !wants(c))
        return LV_ERR(EAGAIN);
    if (image && (ret = lv_image_copy(&copy, "video", image, &c->msg)) < 0)
        return ret;
    ret = image ? take_frame(c, &copy) : end_video(c);
    free(copy.rgb);
    return c->failed = ret;
}

/* Of frames that are sent. */
static int send_mask(LinvideoContext *c, const LinvideoImage *image)
{
    LvImage copy = { NULL, 0, 0 };
    int ret;

    if (!c->takes_video || c->mask.rgb || c->masks)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "mask: none is to be sent, expected %s",
                       c->takes_video ? "no mask of a file" : "mode video");
    if (c->failed < 0)
        return c->failed;
    if (image && !image->data)
        return lv_fail(&c->msg, LV_ERR(EINVAL), "mask: its data is NULL");
    if (image && ((ret = check_mask(c, image->width, image->height)) < 0 ||
                  (ret = lv_image_copy(&copy, "mask", image, &c->msg)) < 0))
        return ret;
    if ((ret = lv_session_load(c->session)) < 0)
        c->failed = ret;
    else
        ret = lv_session_send_mask(c->session, image ? &copy : NULL);
    free(copy.rgb);
    return ret;
}

int linvideo_send(LinvideoContext *c, enum LinvideoInput input, const LinvideoImage *image)
{
    LvLocale l;
    int ret;

    if (!c)
        return LV_ERR(EINVAL);
    enter(c, &l);
    if (input == LINVIDEO_INPUT_VIDEO)
        ret = send_frame(c, image);
    else if (input == LINVIDEO_INPUT_MASK)
        ret = send_mask(c, image);
    else if (input == LINVIDEO_INPUT_IMAGE || input == LINVIDEO_INPUT_LAST_IMAGE)
        ret = send_image(c, (int)input, image);
    else
        ret = lv_fail(&c->msg, LV_ERR(EINVAL), "send: no input %d", (int)input);
    lv_locale_leave(&l);
    return ret;
}

static int next_frame(LinvideoContext *c, LinvideoFrame *f)
{
    const LvVideoConfig *v = &c->info.cfg->video;
    LvPlanes planes = { .width = v->width, .height = v->height,
                          .format = (int)c->p.format, .matrix = matrices[c->p.matrix] };
    LvShot shot;
    int ret;

    if (c->failed < 0 || c->next == c->frames)
        return c->failed < 0 ? c->failed : LINVIDEO_EOF;
    if ((ret = check_planes(c, f)) < 0)
        return ret;
    if ((ret = prepare(c)) <= 0)
        return ret < 0 ? ret : LV_ERR(EAGAIN);
    if ((ret = lv_session_frame(c->session, &shot)) < 0)
        return c->failed = ret;
    memcpy(planes.data, f->data, sizeof(planes.data));
    memcpy(planes.stride, f->stride, sizeof(planes.stride));
    if ((ret = lv_session_deliver(c->session, &planes, &shot)) < 0)
        return c->failed = ret;
    f->index  = c->next++;
    f->clip   = shot.clip;
    f->seed   = c->p.seed;
    f->prompt = shot.prompt;
    return 0;
}

int linvideo_next_frame(LinvideoContext *c, LinvideoFrame *f)
{
    LvLocale l;
    int ret;

    if (!c)
        return LV_ERR(EINVAL);
    enter(c, &l);
    ret = next_frame(c, f);
    lv_locale_leave(&l);
    return ret;
}

void linvideo_cancel(LinvideoContext *c)
{
    if (c)
        lv_session_cancel(c->session);
}
