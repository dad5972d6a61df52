/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/pipes.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/wan_vae.h"
#include "pipeline/clip_vision.h"
#include "pipeline/decode.h"
#include "pipeline/denoise.h"
#include "pipeline/images.h"
#include "pipeline/prepare.h"
#include "pipeline/sample.h"
#include "pipeline/vae_encode.h"

/* What a file is run with. Stages are the library's own. */
typedef struct Pipe {
    const LvSafetensors *st;
    const NetsOptions *opt;
    LvSource *src;
    LvFiles files;
    LvModelConfig cfg;
    LvEnv env;
    LvSchedule schedule;
    int size[3], experts;
    size_t numel;
    LvNetwork *network[LV_EXPERTS];
    LvDenoise *denoise;
    LvVaeEncode *encode;     ///< NULL: no picture is given; shows what a session's stage does
    LvImages *images;        ///< that stage, which gives the networks what it makes
    LvDecode *decode;
    LvImage image, last;     ///< the file's; rgb NULL: none
    LvPixels input[2];       ///< frames that are encoded, the first and the last
    LvClipConfig clip;       ///< its dim is 0 where the file has no tower
    float *seen[2];          ///< what CLIP sees of them
    float *given;            ///< latents of them, [C,F,Y,X] or of TI2V [C,1,Y,X]
    void *arena;
    float *noise;
    float *states, *high, *times, *first[LV_BRANCHES]; ///< what was seen
    LvSampler *sampler;      ///< for its tables alone
} Pipe;

static int fail(const Pipe *p, const char *what)
{
    return lv_fail(p->opt->msg, LV_ERR_MODEL, "%s: %s", lv_safetensors_path(p->st), what);
}

static void put(const Pipe *p, const char *name, const float *ours)
{
    const LvFileTensor *ref = lv_safetensors_find(p->st, name);

    if (ref && ours)
        p->opt->put(p->opt->opaque, ref, ours);
}

static float *new_floats(size_t n)
{
    return calloc(n + 1, sizeof(float));
}

/* The file's configuration */

static LvPart part_of(const Pipe *p, int kind, const char *prefix)
{
    LvPart part = { .src = p->src, .kind = kind };

    strcpy(part.prefix, prefix);
    return part;
}

static int find_parts(Pipe *p)
{
    int two = lv_safetensors_find(p->st, "weights.high.patch_embedding.weight") != NULL;

    p->experts    = two ? LV_EXPERTS : 1;
    p->files.dit  = part_of(p, LV_PART_DIT, two ? "weights.high." : "weights.dit.");
    p->files.vae  = part_of(p, LV_PART_WAN_VAE, "weights.vae.");
    p->files.path = (char *)(uintptr_t)lv_safetensors_path(p->st);
    if (two)
        p->files.low = part_of(p, LV_PART_DIT, "weights.low.");
    return nets_dit_config_of(&p->cfg.dit, p->st, p->files.dit.prefix, p->opt->msg);
}

static double number(const json_t *root, const char *key, double fallback)
{
    const json_t *v = json_object_get(root, key);

    return v ? json_number_value(v) : fallback;
}

static int read_schedule(Pipe *p, const json_t *root)
{
    LvSchedule *s        = &p->schedule;
    const json_t *guide  = json_object_get(root, "guide");
    const json_t *solver = json_object_get(root, "solver");

    *s = (LvSchedule) {
        .kind     = lv_sampler_by_name(solver ? json_string_value(solver) : ""),
        .steps    = (int)number(root, "steps", 0),
        .shift    = (float)number(root, "shift", 0),
        .boundary = (float)number(root, "boundary", 0),
        .runs     = { LV_BRANCHES, LV_BRANCHES },
        .branches = LV_BRANCHES,
    };
    for (int i = 0; i < LV_EXPERTS; i++) /* low comes first there */
        s->guidance[i] = (float)json_number_value(
            json_is_array(guide) ? json_array_get(guide, i == LV_HIGH) : guide);
    return s->kind > LV_SAMPLER_AUTO && s->steps > 0 ? 0 : fail(p, "cfg: no solver or steps");
}

static LvImage image_of(const Pipe *p, const char *name)
{
    const LvFileTensor *t = lv_safetensors_find(p->st, name);

    if (!t || t->dtype != LV_U8 || t->rank != 3 || t->dim[2] != 3)
        return (LvImage) { NULL, 0, 0 };
    return (LvImage) { (uint8_t *)(uintptr_t)t->data, (int)t->dim[1], (int)t->dim[0] };
}

static void read_clip(Pipe *p, const json_t *root)
{
    const LvFileTensor *mlp =
        lv_safetensors_find(p->st, "weights.clip.visual.transformer.0.mlp.0.bias");

    if (mlp)
        p->clip = (LvClipConfig) { (int)number(root, "clip_dim", 0), (int)mlp->dim[0],
                                   (int)number(root, "clip_heads", 1),
                                   (int)number(root, "clip_layers", 0) };
}

static int read_config(Pipe *p)
{
    const char *text = lv_safetensors_meta(p->st, "cfg");
    json_t *root     = json_loads(text ? text : "", 0, NULL);
    const LvFileTensor *noise = lv_safetensors_find(p->st, "in.noise");
    int ret = root ? read_schedule(p, root) : fail(p, "no cfg in its metadata");

    if (ret >= 0)
        read_clip(p, root);
    json_decref(root);
    for (int i = 0; i < 3; i++)
        p->size[i] = (int)noise->dim[1 + i];
    p->numel = noise->numel;
    p->files.clip     = part_of(p, LV_PART_CLIP, "weights.clip.");
    p->files.clip_cfg = p->clip;
    p->image = image_of(p, "in.image");
    p->last  = image_of(p, "in.last_image");
    if (ret < 0 || (ret = find_parts(p)) < 0)
        return ret;
    return lv_part_vae(&p->cfg.vae, &p->files.vae, p->opt->msg);
}

/* Pictures */

static int is_ti2v(const Pipe *p)
{
    return !p->cfg.dit.cond_channels;
}

/* [Y,X,3] as [3,Y,X] */
static void put_input(const Pipe *p, const char *name, const LvPixels *in)
{
    size_t area  = (size_t)in->width * (size_t)in->height;
    float *plane = new_floats(3 * area);

    for (size_t i = 0; i < 3 * area && plane; i++)
        plane[i % 3 * area + i / 3] = in->rgb[i];
    put(p, name, plane);
    free(plane);
}

static int new_input(const Pipe *p, LvPixels *in)
{
    int scale = lv_vae_encode_scale(p->encode);

    *in = (LvPixels) { NULL, scale * p->size[2], scale * p->size[1] };
    return (in->rgb = new_floats(3 * (size_t)in->width * (size_t)in->height)) ? 0
                                                                              : LV_ERR(ENOMEM);
}

/* The first picture as it is, the last one cut to it. */
static int stretch(Pipe *p, const LvImage *image, LvPixels *in)
{
    const int first[2] = { p->image.width, p->image.height };
    LvPixels whole = { 0 }, cut = { 0 };
    float **seen   = &p->seen[in == &p->input[1]];
    int ret = new_input(p, in);

    if (ret >= 0 && !(*seen = new_floats(3 * LV_CLIP_SIDE * LV_CLIP_SIDE)))
        ret = LV_ERR(ENOMEM);
    if (ret >= 0 && (ret = lv_pixels_from(&whole, image)) >= 0 &&
        (ret = lv_prepare_last(&cut, &whole, first, p->env.msg)) >= 0 &&
        (ret = lv_prepare_clip(*seen, &cut)) >= 0)
        ret = lv_prepare_stretch(in->rgb, (const int[]) { in->width, in->height }, &cut);
    lv_pixels_free(&whole);
    lv_pixels_free(&cut);
    return ret;
}

static int cover(Pipe *p, LvPixels *in)
{
    int scale  = lv_vae_encode_scale(p->encode);
    LvImage to = { NULL, scale * p->size[2], scale * p->size[1] };
    int ret    = LV_ERR(ENOMEM);

    if ((to.rgb = malloc(3 * (size_t)to.width * (size_t)to.height)) &&
        (ret = lv_prepare_cover(&to, &p->image, p->env.msg)) >= 0)
        ret = lv_pixels_from(in, &to);
    free(to.rgb);
    return ret;
}

static int prepare(Pipe *p)
{
    int ret = is_ti2v(p) ? cover(p, &p->input[0]) : stretch(p, &p->image, &p->input[0]);

    if (ret >= 0 && p->last.rgb)
        ret = stretch(p, &p->last, &p->input[1]);
    if (ret < 0)
        return ret;
    put_input(p, "out.encode_input_first", &p->input[0]);
    if (p->last.rgb)
        put_input(p, "out.encode_input_last", &p->input[1]);
    return 0;
}

/* Latent frames that are encoded. */
static int encoded_frames(const Pipe *p)
{
    return is_ti2v(p) ? 1 : p->size[0];
}

static int encode(Pipe *p)
{
    int frames = encoded_frames(p), ret;

    if (!(p->given = new_floats(p->numel)))
        return LV_ERR(ENOMEM);
    ret = lv_vae_encode_begin(p->encode, p->given);
    for (int i = 0; i < frames && ret >= 0; i++) {
        const float *part[LV_WAN_FRAMES] = { i ? NULL : p->input[0].rgb };

        if (i && i == frames - 1)
            part[LV_WAN_FRAMES - 1] = p->input[1].rgb;
        ret = lv_vae_encode_run(p->encode, part);
    }
    return ret;
}

static int run_clip(Pipe *p, float *features)
{
    const LvPart part = part_of(p, LV_PART_CLIP, "weights.clip.");
    LvClipVision *c;
    int ret = lv_clip_vision_new(&c, &p->env, &part, &p->clip);

    if (ret >= 0)
        ret = lv_clip_vision_run(c, (const float *const *)p->seen, p->cfg.dit.clip_images,
                                 features);
    lv_clip_vision_free(&c);
    if (ret >= 0)
        put(p, "out.clip_fea", features);
    return ret;
}

/* CLIP's features, or the file's where it has no tower. */
static int show_clip(Pipe *p)
{
    const LvDitConfig *c = &p->cfg.dit;
    float *features = c->clip_dim ? nets_floats(p->st, "out.clip_fea", p->opt->msg) : NULL;
    int ret = c->clip_dim && !features ? LV_ERR_MODEL : 0;

    if (features && p->clip.dim)
        ret = run_clip(p, features);
    for (int i = 0; i < p->experts && features && !p->clip.dim && ret >= 0; i++)
        ret = lv_network_clip(p->network[i], features);
    free(features);
    return ret;
}

/* Whether the session's stage gives the networks what they take: it makes CLIP's features
 * itself, and cuts a last picture of another size in its own way. */
static int by_stage(const Pipe *p)
{
    return (!p->cfg.dit.clip_dim || p->clip.dim) &&
           (!p->last.rgb || (p->last.width == p->image.width &&
                             p->last.height == p->image.height));
}

static int give_images(Pipe *p)
{
    const LvSessionOptions opt = { .image = p->image, .last_image = p->last };
    int scale = lv_vae_encode_scale(p->encode), ret;
    const LvClipShape shape = { .size = { p->size[0], p->size[1], p->size[2] },
                                .rows = scale * p->size[1], .cols = scale * p->size[2] };

    if ((ret = lv_images_new(&p->images, &p->env, &opt, &shape)) < 0 ||
        (ret = lv_images_run(p->images)) < 0)
        return ret;
    for (int i = 0; i < p->experts && ret >= 0; i++)
        ret = lv_images_show(p->images, p->network[i]);
    lv_denoise_give_first(p->denoise, lv_images_first(p->images));
    return ret;
}

static int show_condition(Pipe *p)
{
    const LvDitConfig *c = &p->cfg.dit;
    float *y = new_floats(p->numel / (size_t)c->channels * (size_t)c->cond_channels);
    int ret  = y ? 0 : LV_ERR(ENOMEM);

    if (ret >= 0)
        lv_prepare_condition(y, p->given, c->channels, p->size, p->last.rgb != NULL);
    for (int i = 0; i < p->experts && !by_stage(p) && ret >= 0; i++)
        ret = lv_network_condition(p->network[i], y);
    if (ret >= 0)
        put(p, "out.y", y);
    free(y);
    return ret;
}

static int show_images(Pipe *p)
{
    int ret;

    if (!p->encode)
        return 0;
    if ((ret = prepare(p)) < 0 || (ret = encode(p)) < 0 || (ret = show_clip(p)) < 0)
        return ret;
    if (is_ti2v(p))
        put(p, "out.z", p->given);
    else if ((ret = show_condition(p)) < 0)
        return ret;
    return by_stage(p) ? give_images(p) : 0;
}

static int make_encode(Pipe *p)
{
    const LvVaeEncodeShape shape = { { encoded_frames(p), p->size[1], p->size[2] }, 0 };
    int ret;

    if (!p->image.rgb)
        return 0;
    ret = lv_vae_encode_new(&p->encode, &p->env);
    return ret < 0 ? ret : lv_vae_encode_plan(p->encode, &shape);
}

/* Stages */

static int make_networks(Pipe *p)
{
    const LvNetworkShape shape = { .size = { p->size[0], p->size[1], p->size[2] },
                                   .prompts = LV_BRANCHES,
                                   .first_given = is_ti2v(p) && p->image.rgb };
    LvBranch branch[LV_BRANCHES] = { { .prompt = LV_COND }, { .prompt = LV_UNCOND } };
    int ret = 0;

    for (int i = 0; i < p->experts && ret >= 0; i++) {
        if ((ret = lv_network_new(&p->network[i], &p->env, i)) >= 0)
            ret = lv_network_plan(p->network[i], &shape, NULL);
        for (int b = 0; b < LV_BRANCHES; b++)
            branch[b].net[i] = p->network[i];
    }
    return ret < 0 ? ret : lv_denoise_new(&p->denoise, &p->env, branch, &p->schedule);
}

static int make_decode(Pipe *p)
{
    const LvDecodeShape shape = { .size = { p->size[0], p->size[1], p->size[2] } };
    int ret = lv_decode_new(&p->decode, &p->env);

    return ret < 0 ? ret : lv_decode_plan(p->decode, &shape);
}

static int build(Pipe *p)
{
    size_t arena = lv_decode_need(p->decode).arena;
    int ret = 0;

    for (int i = 0; i < p->experts; i++)
        arena = LV_MAX(arena, lv_network_need(p->network[i]).arena);
    if (p->encode)
        arena = LV_MAX(arena, lv_vae_encode_need(p->encode).arena);
    if ((ret = lv_device_alloc(p->opt->dev, &p->arena, arena, "arena")) < 0 ||
        (p->encode && (ret = lv_vae_encode_build(p->encode, p->arena)) < 0))
        return ret;
    for (int i = 0; i < p->experts && ret >= 0; i++)
        ret = lv_network_build(p->network[i], p->arena);
    if (ret < 0 || (ret = lv_denoise_build(p->denoise)) < 0)
        return ret;
    return lv_decode_build(p->decode, p->arena);
}

/* Text states, then rows of zeros. */
static int show_text(Pipe *p, const char *name, int prompt)
{
    const LvDitConfig *c = &p->cfg.dit;
    const LvFileTensor *t = lv_safetensors_find(p->st, name);
    float *text = nets_floats(p->st, name, p->opt->msg), *rows = NULL;
    int ret = text && t->numel <= (size_t)c->text_len * (size_t)c->text_dim ? 0 : LV_ERR_MODEL;

    if (ret >= 0 && !(rows = new_floats((size_t)c->text_len * (size_t)c->text_dim)))
        ret = LV_ERR(ENOMEM);
    if (ret >= 0)
        memcpy(rows, text, t->numel * sizeof(*text));
    for (int i = 0; i < p->experts && ret >= 0; i++)
        ret = lv_network_prompt(p->network[i], prompt, rows);
    free(text);
    free(rows);
    return ret;
}

static int open_pipe(Pipe *p)
{
    int ret;

    p->env = (LvEnv) { .msg = p->opt->msg, .dev = p->opt->dev, .files = &p->files,
                       .cfg = &p->cfg, .dtype = (LvDtype)p->opt->dtype };
    if ((ret = lv_source_view(&p->src, p->st, p->opt->msg)) < 0 || (ret = read_config(p)) < 0 ||
        (ret = make_networks(p)) < 0 || (ret = make_encode(p)) < 0 ||
        (ret = make_decode(p)) < 0 || (ret = build(p)) < 0 || (ret = show_images(p)) < 0 ||
        (ret = show_text(p, "in.context", LV_COND)) < 0 ||
        (ret = show_text(p, "in.context_null", LV_UNCOND)) < 0)
        return ret;
    return lv_sampler_new(&p->sampler, p->schedule.kind, p->schedule.steps,
                          (double)p->schedule.shift, 1, p->opt->msg);
}

static void close_pipe(Pipe *p)
{
    lv_sampler_free(&p->sampler);
    lv_vae_encode_free(&p->encode);
    lv_images_free(&p->images);
    lv_decode_free(&p->decode);
    free(p->given);
    for (int i = 0; i < 2; i++) {
        lv_pixels_free(&p->input[i]);
        free(p->seen[i]);
    }
    lv_denoise_free(&p->denoise);
    for (int i = 0; i < LV_EXPERTS; i++)
        lv_network_free(&p->network[i]);
    if (p->arena)
        lv_device_free(p->opt->dev, p->arena);
    lv_source_close(&p->src);
    free(p->noise);
    free(p->states);
    free(p->high);
    free(p->times);
    for (int i = 0; i < LV_BRANCHES; i++)
        free(p->first[i]);
}

/* Running */

/* Latents that a step begins with are those after the step before it. */
static int see(void *opaque, int step, const float *x, const float *const v[LV_BRANCHES])
{
    Pipe *p = opaque;

    p->times[step] = lv_sampler_time(p->sampler, step);
    p->high[step]  = lv_sampler_expert(p->sampler, step, p->schedule.boundary) == LV_HIGH;
    if (step)
        memcpy(p->states + (size_t)(step - 1) * p->numel, x, p->numel * sizeof(*x));
    if (!step)
        put(p, "out.x0", x);
    for (int i = 0; i < LV_BRANCHES && !step; i++)
        memcpy(p->first[i], v[i], p->numel * sizeof(*x));
    return 0;
}

static int sample(Pipe *p, const float **x)
{
    size_t steps = (size_t)p->schedule.steps;
    LvNoise noise = lv_noise_of(0, 0);
    int ret;

    p->noise  = nets_floats(p->st, "in.noise", p->opt->msg);
    p->states = new_floats(steps * p->numel);
    p->high   = new_floats(steps);
    p->times  = new_floats(steps);
    for (int i = 0; i < LV_BRANCHES; i++)
        p->first[i] = new_floats(p->numel);
    if (!p->noise || !p->states || !p->high || !p->times || !p->first[0] || !p->first[1])
        return LV_ERR(ENOMEM);
    noise.given = p->noise;
    if ((ret = lv_denoise_run(p->denoise, &noise, see, p, x)) < 0)
        return ret;
    memcpy(p->states + (steps - 1) * p->numel, *x, p->numel * sizeof(**x));
    put(p, "out.timesteps", p->times);
    put(p, "out.use_high", p->high);
    put(p, "out.v_cond0", p->first[LV_COND]);
    put(p, "out.v_uncond0", p->first[LV_UNCOND]);
    put(p, "out.latents", p->states);
    return 0;
}

/* Frames [n,rows,cols,3] of 0 to 1 to [3,F,rows,cols] of -1 to 1. */
static void add_frames(float *video, const LvFileTensor *ref, const LvFrames *f, int at)
{
    size_t area = (size_t)(ref->dim[2] * ref->dim[3]), frames = (size_t)ref->dim[1];

    for (size_t n = 0; n < (size_t)f->nb; n++)
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++) {
                float v = 2 * f->rgb[(n * area + i) * 3 + c] - 1;
                video[(c * frames + (size_t)at + n) * area + i] = fminf(fmaxf(v, -1), 1);
            }
}

static int decode(Pipe *p, const float *x)
{
    const LvFileTensor *ref = lv_safetensors_find(p->st, "out.video");
    int at = 0, scale = lv_decode_scale(p->decode), ret;
    float *video;
    LvFrames f;

    if (!ref)
        return 0;
    if (ref->rank != 4 || ref->dim[2] != scale * p->size[1] ||
        ref->dim[3] != scale * p->size[2])
        return fail(p, "out.video is of another size");
    if (!(video = new_floats(ref->numel)))
        return LV_ERR(ENOMEM);
    ret = lv_decode_begin(p->decode, x);
    while (ret >= 0 && at < ref->dim[1] && (ret = lv_decode_run(p->decode, &f)) >= 0) {
        f.nb = LV_MIN(f.nb, (int)ref->dim[1] - at);
        add_frames(video, ref, &f, at);
        at += f.nb;
    }
    if (ret >= 0)
        put(p, "out.video", video);
    free(video);
    return ret;
}

int pipes_run(const LvSafetensors *st, const NetsOptions *opt)
{
    Pipe p = { .st = st, .opt = opt };
    const float *x;
    int ret = open_pipe(&p);

    if (ret >= 0 && (ret = sample(&p, &x)) >= 0)
        ret = decode(&p, x);
    close_pipe(&p);
    return ret;
}
