/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/trajectory.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/convert.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/sealed.h"
#include "pipeline/denoise.h"
#include "pipeline/place.h"
#include "pipeline/sample.h"
#include "train/run/streams.h"

#define KEY "linvideo.trajectories"

enum { ABOUT = 512 };

typedef struct Work {
    const LvFrozen *b;
    const LvTrajectoryConfig *cfg;
    const LvPrompts *p;
    uint64_t seed;
    LvSchedule solver;
    LvTrajectories t;
    int fd;

    LvEnv env;
    LvNetwork *network;
    LvDenoise *denoise;
    void *arena;

    int clip;                /* being sampled */
    uint64_t sum;            /* of what was stored of it so far */
    uint16_t *half;          /* a state */
} Work;

/* The teacher's sampler, the model's own where the recipe says nothing. */
static int choose_solver(LvSchedule *s, const LvFrozen *b, const LvTrajectoryConfig *c)
{
    const LvVideoConfig *v = &b->cfg.video;
    const char *name = c->solver[0] ? c->solver : v->sampler;

    s->kind     = lv_sampler_by_name(name);
    s->steps    = c->steps ? c->steps : v->steps;
    s->shift    = c->shift > 0 ? c->shift : v->shift;
    s->branches = s->runs[LV_HIGH] = LV_BRANCHES;
    s->guidance[LV_HIGH] = c->guidance > 0 ? c->guidance : v->guidance;
    return s->kind > LV_SAMPLER_AUTO ? 0 :
           lv_fail(b->msg, LV_ERR_MODEL, "trajectories: unknown solver '%s'", name);
}

static void describe(const Work *w, char about[ABOUT])
{
    snprintf(about, ABOUT, "teacher=%s solver=%s steps=%d shift=%.9g guidance=%.9g "
             "clips=%d prompts=%d:%016llx velocities=%d seed=%llu", w->b->hash,
             lv_sampler_name(w->solver.kind), w->solver.steps, w->solver.shift,
             w->solver.guidance[LV_HIGH], w->cfg->clips, w->p->nb,
             (unsigned long long)lv_hash_text(0, w->p->text), w->cfg->velocities,
             (unsigned long long)w->seed);
}

/* The file */

static LvFileTensor tensor(const char *name, LvDtype dtype, const void *data, int rank,
                           const int *dim)
{
    LvFileTensor t = { .name = name, .dtype = dtype, .data = data, .rank = rank,
                       .numel = 1 };

    for (int i = 0; i < rank; i++) {
        t.dim[i] = dim[i];
        t.numel *= (size_t)dim[i];
    }
    t.size = t.numel * lv_dtype_size(dtype);
    return t;
}

static int write_file(const Work *w, const char *path, const float *features,
                      const int32_t *prompt, const float *sigma, const char *about)
{
    const LvDitConfig *c = &w->b->cfg.dit;
    const int *s = w->b->size, n = w->cfg->clips, k = w->solver.steps;
    const int state[] = { n, k, c->channels, s[0], s[1], s[2] };
    const int velocity[] = { n, k, 2, c->channels, s[0], s[1], s[2] };
    const int text[] = { 1 + w->p->nb, c->text_len, c->text_dim }, levels = k + 1;
    const int letters = (int)strlen(w->p->text);
    const char *meta[] = { KEY, about, NULL };
    LvFileTensor list[8] = {
        tensor("features", LV_F32, features, 3, text),
        tensor("sigma", LV_F32, sigma, 1, &levels),
        tensor("prompts", LV_U8, w->p->text, 1, &letters),
    };
    int nb = 3;

    if (n) {
        list[nb++] = tensor("states", LV_F16, NULL, 6, state);
        list[nb++] = tensor("prompt", LV_I32, prompt, 1, &n);
        list[nb++] = tensor("done", LV_U8, NULL, 1, &n);
        list[nb++] = tensor("sums", LV_U64, NULL, 1, &n);
    }
    if (n && w->cfg->velocities)
        list[nb++] = tensor("velocities", LV_F16, NULL, 7, velocity);
    return lv_sealed_write(path, list, nb, meta, w->b->msg);
}

/* Levels of the sampler, [steps + 1]. */
static int fill_levels(const Work *w, float sigma[LV_TIMES])
{
    const LvSchedule *s = &w->solver;
    LvSampler *sampler;
    int ret = lv_sampler_new(&sampler, s->kind, s->steps, (double)s->shift, 1, w->b->msg);

    for (int i = 0; i <= s->steps && ret >= 0; i++)
        sigma[i] = lv_sampler_sigma(sampler, i);
    lv_sampler_free(&sampler);
    return ret;
}

int lv_trajectories_times(float sigma[LV_TIMES], const LvFrozen *teacher,
                          const LvTrajectoryConfig *cfg)
{
    Work w  = { .b = teacher };
    int ret = choose_solver(&w.solver, teacher, cfg);

    if (ret >= 0)
        ret = fill_levels(&w, sigma);
    return ret < 0 ? ret : w.solver.steps;
}

static int create(const Work *w, const char *path, LvDtype dtype)
{
    const LvDitConfig *c = &w->b->cfg.dit;
    size_t text     = (size_t)c->text_len * (size_t)c->text_dim;
    size_t bytes    = (size_t)(1 + w->p->nb) * text * sizeof(float);
    float *features = bytes > lv_host_available() ? NULL : lv_alloc(bytes);
    int32_t *prompt = lv_alloc((size_t)(w->cfg->clips + 1) * sizeof(*prompt));
    float sigma[LV_TIMES];
    char about[ABOUT];
    int ret = LV_ERR(ENOMEM);

    if (!features || !prompt) {
        lv_msg(w->b->msg, LV_MSG_ERROR, "trajectories: features of %d prompts take %zu MiB, "
               "%zu are available; take fewer (trajectories.prompts)", w->p->nb, bytes >> 20,
               lv_host_available() >> 20);
    } else if ((ret = lv_prompts_encode(w->p, w->b, dtype, features)) >= 0 &&
               (ret = fill_levels(w, sigma)) >= 0) {
        for (int i = 0; i < w->cfg->clips; i++)
            prompt[i] = i % w->p->nb;
        describe(w, about);
        ret = write_file(w, path, features, prompt, sigma, about);
    }
    lv_free(features);
    lv_free(prompt);
    return ret;
}

static const void *data_of(const LvTrajectories *t, const char *name, LvDtype dtype,
                           size_t numel)
{
    const LvFileTensor *f = lv_safetensors_find(t->file, name);

    return f && f->dtype == dtype && f->numel == numel &&
           (uintptr_t)f->data % lv_dtype_size(dtype) == 0 ? f->data : NULL;
}

static int dim_of(const LvTrajectories *t, const char *name, int i)
{
    const LvFileTensor *f = lv_safetensors_find(t->file, name);

    return f && f->rank > i && f->dim[i] <= INT32_MAX ? (int)f->dim[i] : 0;
}

static int fail_file(const LvTrajectories *t, const LvMsg *msg, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s", lv_safetensors_path(t->file), what);
}

static int prompts_in_range(const LvTrajectories *t)
{
    for (int i = 0; i < t->clips; i++)
        if (t->prompt[i] < 0 || t->prompt[i] >= t->prompts)
            return 0;
    return 1;
}

/* Of what was stored of a clip, step by step. */
static uint64_t hash_clip(const LvTrajectories *t, int clip)
{
    size_t n = t->numel, first = (size_t)clip * (size_t)t->steps;
    uint64_t h = (uint64_t)clip;

    for (size_t k = first; k < first + (size_t)t->steps; k++) {
        h = lv_hash(h, t->states + k * n, 2 * n);
        for (size_t s = 2 * k; s < 2 * k + 2 && t->velocities; s++)
            h = lv_hash(h, t->velocities + s * n, 2 * n);
    }
    return h;
}

/* Whether a clip is there, as it was stored. Files of old have no sums. */
static int is_stored(const LvTrajectories *t, int clip)
{
    return t->done[clip] && (!t->sums || t->sums[clip] == hash_clip(t, clip));
}

/* All but the clips, which have sums of their own. */
static int check_file(const LvTrajectories *t, const LvMsg *msg)
{
    static const char *const keys[] = { KEY, NULL };
    static const char *const later[] = { "states", "velocities", "done", "sums", NULL };

    return lv_sealed_check(t->file, keys, later, msg);
}

/* Whether states are latents of b's clips; without clips there are none. */
static int are_of_size(const LvTrajectories *t, const LvFrozen *b)
{
    const LvFileTensor *f = lv_safetensors_find(t->file, "states");
    const int64_t dim[]   = { b->cfg.dit.channels, b->size[0], b->size[1], b->size[2] };

    return !t->clips || (t->states && f->rank == 6 && !memcmp(f->dim + 2, dim, sizeof(dim)));
}

static int fail_size(const LvTrajectories *t, const LvFrozen *b)
{
    const LvFileTensor *f = lv_safetensors_find(t->file, "states");
    const int64_t dim[]   = { b->cfg.dit.channels, b->size[0], b->size[1], b->size[2] };
    int own = f && f->rank == 6;
    char got[LV_SHAPE_SIZE] = "none", expected[LV_SHAPE_SIZE];

    return lv_fail(b->msg, LV_ERR_MODEL, "%s: expected latents of %s as of the model, got %s",
                   lv_safetensors_path(t->file), lv_shape_text(expected, 4, dim),
                   own ? lv_shape_text(got, 4, f->dim + 2) : got);
}

static int look_at_file(LvTrajectories *t, const LvFrozen *b, const char *path)
{
    const LvDitConfig *c = &b->cfg.dit;
    const char *about, *guidance;
    size_t all;
    int ret = lv_safetensors_open(&t->file, path, b->msg);

    if (ret < 0)
        return ret;
    about    = lv_safetensors_meta(t->file, KEY);
    guidance = about ? strstr(about, "guidance=") : NULL;
    if (!guidance || strncmp(about, "teacher=", 8))
        return fail_file(t, b->msg, "not trajectories: its metadata has no '" KEY "'");
    t->numel    = b->numel;
    t->text     = (size_t)c->text_len * (size_t)c->text_dim;
    t->guidance = strtof(guidance + 9, NULL);
    t->prompts  = dim_of(t, "features", 0) - 1;
    t->steps    = dim_of(t, "sigma", 0) - 1;
    t->clips    = dim_of(t, "prompt", 0);
    if (t->prompts < 1 || t->steps < 1)
        return fail_file(t, b->msg, "without prompts or steps");
    all         = (size_t)t->clips * (size_t)t->steps * t->numel;
    t->features = data_of(t, "features", LV_F32, (size_t)(1 + t->prompts) * t->text);
    t->sigma    = data_of(t, "sigma", LV_F32, (size_t)t->steps + 1);
    t->states   = data_of(t, "states", LV_F16, all);
    t->prompt   = data_of(t, "prompt", LV_I32, (size_t)t->clips);
    t->done     = data_of(t, "done", LV_U8, (size_t)t->clips);
    t->sums     = data_of(t, "sums", LV_U64, (size_t)t->clips);
    t->velocities = data_of(t, "velocities", LV_F16, 2 * all);
    if (!are_of_size(t, b))
        return fail_size(t, b);
    if (!t->features || !t->sigma ||
        (t->clips && (!t->prompt || !t->done || !prompts_in_range(t))))
        return fail_file(t, b->msg, "its tensors do not fit each other");
    return LV_MIN(check_file(t, b->msg), 0);
}

int lv_trajectories_open(LvTrajectories *t, const LvFrozen *teacher, const char *path)
{
    const char *about;
    int ret;

    *t = (LvTrajectories) { 0 };
    if ((ret = look_at_file(t, teacher, path)) < 0)
        return ret;
    about = lv_safetensors_meta(t->file, KEY);
    if (strncmp(about + 8, teacher->hash, strlen(teacher->hash)))
        return fail_file(t, teacher->msg, "trajectories of another teacher");
    for (int i = 0; i < t->clips; i++) {
        if (!t->done[i])
            return fail_file(t, teacher->msg, "not all clips are sampled yet");
        if (!is_stored(t, i))
            return lv_fail(teacher->msg, LV_ERR_MODEL, "%s: clip %d is damaged: its states do "
                           "not have the hash that they were stored with; sampling again "
                           "mends it", path, i);
    }
    return 0;
}

void lv_trajectories_close(LvTrajectories *t)
{
    lv_safetensors_close(&t->file);
}

void lv_trajectories_state(const LvTrajectories *t, int clip, int k, float *out)
{
    const uint16_t *x = t->states + ((size_t)clip * (size_t)t->steps + (size_t)k) *
                        t->numel;

    for (size_t i = 0; i < t->numel; i++)
        out[i] = lv_f16_f32(x[i]);
}

const float *lv_trajectories_text(const LvTrajectories *t, int prompt)
{
    return t->features + (size_t)(prompt + 1) * t->text;
}

/* Sampling */

static int plan(Work *w, LvDtype dtype)
{
    const int *size = w->b->size;
    const LvNetworkShape shape = { .size = { size[0], size[1], size[2] },
                                   .prompts = LV_BRANCHES };
    LvPlace place = { .shape = &shape };
    LvBranch branch[LV_BRANCHES];
    LvPlaced placed;
    int ret;

    w->env       = w->b->env;
    w->env.dtype = dtype;
    if ((ret = lv_network_new(&w->network, &w->env, LV_HIGH)) < 0 ||
        (ret = lv_network_plan(w->network, &shape, NULL)) < 0)
        return ret;
    for (int i = 0; i < LV_BRANCHES; i++)
        branch[i] = (LvBranch) { { w->network }, i, NULL };
    if ((ret = lv_denoise_new(&w->denoise, &w->env, branch, &w->solver)) < 0)
        return ret;
    place.network = w->network;
    place.others  = lv_denoise_need(w->denoise);
    ret = lv_place(&w->env, &place, &placed);
    return ret < 0 && ret != LV_ERR(ENOMEM) ? ret : lv_place_tell(&w->env, &place, &placed);
}

static int build(Work *w)
{
    LvNeed need = lv_need_join(lv_network_need(w->network), lv_denoise_need(w->denoise));
    int ret = lv_device_alloc(w->b->dev, &w->arena, need.arena, "arena");

    if (ret < 0 || (ret = lv_network_build(w->network, w->arena)) < 0 ||
        (ret = lv_denoise_build(w->denoise)) < 0)
        return ret;
    w->half = lv_alloc(w->b->numel * sizeof(*w->half));
    return w->half ? 0 : lv_fail(w->b->msg, LV_ERR(ENOMEM), "trajectories: out of memory");
}

/* Where tensor `name` lies, and from which element. */
static int put_bytes(const Work *w, const char *name, size_t at, const void *data,
                     size_t size)
{
    const LvFileTensor *f = lv_safetensors_find(w->t.file, name);
    size_t place = lv_safetensors_place(w->t.file, f) + at;
    const char *p = data;

    while (size) {
        ssize_t n = pwrite(w->fd, p, size, (off_t)place);

        if (n < 0 && errno != EINTR)
            return lv_fail(w->b->msg, LV_ERR(errno), "%s: %s",
                           lv_safetensors_path(w->t.file), strerror(errno));
        p     += LV_MAX(n, 0);
        place += (size_t)LV_MAX(n, 0);
        size  -= (size_t)LV_MAX(n, 0);
    }
    return 0;
}

static int sync_file(const Work *w)
{
    return !fsync(w->fd) || errno == EINVAL ? 0 :
           lv_fail(w->b->msg, LV_ERR(errno), "%s: %s", lv_safetensors_path(w->t.file),
                   strerror(errno));
}

/* n values as f16, which is record number `index` of a tensor, of a step of a clip. */
static int put_half(const Work *w, const char *name, size_t index, const float *x)
{
    size_t n = w->b->numel, steps = (size_t)w->t.steps * (strcmp(name, "states") ? 2 : 1);
    size_t clip = index / steps, step = index % steps / (steps / (size_t)w->t.steps);

    for (size_t i = 0; i < n; i++)
        w->half[i] = lv_f32_f16(x[i]);
    if (lv_find_nonfinite(w->half, LV_F16, LV_F16, n) < n)
        return lv_fail(w->b->msg, LV_ERR_MODEL, "%s: step %zu of clip %zu: %s are not finite, "
                       "or too large for f16", lv_safetensors_path(w->t.file), step + 1, clip,
                       name);
    return put_bytes(w, name, index * n * sizeof(*w->half), w->half,
                     n * sizeof(*w->half));
}

static int keep(Work *w, const char *name, size_t index, const float *x)
{
    int ret = put_half(w, name, index, x);

    w->sum = lv_hash(w->sum, w->half, w->b->numel * sizeof(*w->half));
    return ret;
}

/* LvStepSeen */
static int keep_step(void *opaque, int step, const float *x, const float *const v[LV_BRANCHES])
{
    Work *w   = opaque;
    size_t at = (size_t)w->clip * (size_t)w->t.steps + (size_t)step;
    int ret   = keep(w, "states", at, x);

    for (size_t s = 0; s < LV_BRANCHES && w->cfg->velocities && ret >= 0; s++)
        ret = keep(w, "velocities", LV_BRANCHES * at + s, v[s]);
    return ret;
}

/* The sum of a clip, then, when all is on the disk, that it is done. */
static int finish_clip(const Work *w, int clip)
{
    const uint8_t done = 1;
    int ret = 0;

    if (w->t.sums)
        ret = put_bytes(w, "sums", (size_t)clip * sizeof(w->sum), &w->sum, sizeof(w->sum));
    if (ret >= 0)
        ret = sync_file(w);
    return ret < 0 ? ret : put_bytes(w, "done", (size_t)clip, &done, sizeof(done));
}

static int sample(Work *w, int clip)
{
    const LvNoise noise = { .seed = w->seed, .start = lv_stream(LV_STREAM_TRAJECTORY, 0, clip),
                            .renoise = lv_stream(LV_STREAM_RENOISE, clip, 0) };
    const float *x;
    int ret = lv_network_prompt(w->network, LV_COND,
                                lv_trajectories_text(&w->t, w->t.prompt[clip]));

    w->clip = clip;
    w->sum  = (uint64_t)clip;
    if (ret < 0 || (ret = lv_denoise_run(w->denoise, &noise, keep_step, w, &x)) < 0)
        return ret;
    return finish_clip(w, clip);
}

/* A clip that was damaged is sampled again. */
static int is_there(const Work *w, int clip)
{
    if (!w->t.done[clip] || is_stored(&w->t, clip))
        return w->t.done[clip];
    lv_msg(w->b->msg, LV_MSG_WARNING, "%s: clip %d is damaged and is sampled again",
           lv_safetensors_path(w->t.file), clip);
    return 0;
}

static int sample_all(Work *w, LvTrajectoriesProgress progress, void *opaque)
{
    int ret = lv_network_prompt(w->network, LV_UNCOND, lv_trajectories_text(&w->t, -1));

    for (int i = 0; i < w->t.clips && ret >= 0; i++) {
        if (progress && (ret = progress(opaque, i, w->t.clips)) < 0)
            return ret;
        if (!is_there(w, i))
            ret = sample(w, i);
    }
    return ret;
}

static int is_same(const Work *w)
{
    const char *has = lv_safetensors_meta(w->t.file, KEY);
    char want[ABOUT];

    describe(w, want);
    return !strcmp(has, want) ? 0 :
           lv_fail(w->b->msg, LV_ERR_MODEL, "%s: trajectories of %s; expected those of "
                   "%s", lv_safetensors_path(w->t.file), has, want);
}

/* The file, made or gone on with, open for writing. */
static int open_file(Work *w, const char *path, LvDtype dtype)
{
    int ret;

    if ((access(path, F_OK) && (ret = create(w, path, dtype)) < 0) ||
        (ret = look_at_file(&w->t, w->b, path)) < 0 || (ret = is_same(w)) < 0 || !w->t.clips)
        return ret;
    if ((w->fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
        return lv_fail(w->b->msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    if (flock(w->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lv_fail(w->b->msg, LV_ERR(EBUSY), "%s: another process samples into it; wait "
                       "for it", path);
    return 0;
}

static int make(Work *w, const char *path, LvDtype dtype, LvTrajectoriesProgress progress,
                void *opaque)
{
    int ret;

    if ((ret = choose_solver(&w->solver, w->b, w->cfg)) < 0 ||
        (ret = open_file(w, path, dtype)) < 0 || !w->t.clips)
        return ret;
    if ((ret = plan(w, dtype)) < 0 || (ret = build(w)) < 0)
        return ret;
    ret = sample_all(w, progress, opaque);
    return ret < 0 ? ret : sync_file(w);
}

int lv_trajectories_make(const LvFrozen *teacher, const LvTrajectoryConfig *cfg,
                         const LvPrompts *p, uint64_t seed, LvDtype dtype,
                         const char *path, LvTrajectoriesProgress progress, void *opaque)
{
    Work w  = { .b = teacher, .cfg = cfg, .p = p, .seed = seed, .fd = -1 };
    int ret = make(&w, path, dtype, progress, opaque);

    if (w.fd >= 0)
        close(w.fd);
    lv_denoise_free(&w.denoise);
    lv_network_free(&w.network);
    lv_device_free(teacher->dev, w.arena);
    lv_trajectories_close(&w.t);
    lv_free(w.half);
    return ret;
}
