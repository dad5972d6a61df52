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
#include "pipeline/sample.h"
#include "train/run/streams.h"
#include "train/run/task.h"

#define KEY "linvideo.trajectories"

enum { ABOUT = 512 };

/* The teacher's sampler, the model's own where the recipe says nothing. */
typedef struct Solver {
    int kind, steps;
    float shift, guidance;
} Solver;

typedef struct Work {
    const LvBundle *b;
    const LvTrajectoryConfig *cfg;
    const LvPrompts *p;
    uint64_t seed;
    Solver solver;
    LvTrajectories t;
    int fd;
    LvSampler *sampler;
    LvTask task;
    LvDitInputs in;
    LvTensor text[2], v[2];  /* of the prompt, of the empty one */
    float *x, *velocity[2], *context; /* [batch] */
    uint16_t *half;          /* a state */
    uint64_t *sum;           /* [batch], of what was stored of a clip so far */
} Work;

static int choose_solver(Solver *s, const LvBundle *b, const LvTrajectoryConfig *c)
{
    const LvVideoConfig *v = &b->cfg.video;
    const char *name = c->solver[0] ? c->solver : v->sampler;

    s->kind     = lv_sampler_by_name(name);
    s->steps    = c->steps ? c->steps : v->steps;
    s->shift    = c->shift > 0 ? c->shift : v->shift;
    s->guidance = c->guidance > 0 ? c->guidance : v->guidance;
    return s->kind > LV_SAMPLER_AUTO ? 0 :
           lv_fail(b->msg, LV_ERR_MODEL, "trajectories: unknown solver '%s'", name);
}

static void describe(const Work *w, char about[ABOUT])
{
    snprintf(about, ABOUT, "teacher=%s solver=%s steps=%d shift=%.9g guidance=%.9g "
             "clips=%d prompts=%d:%016llx velocities=%d seed=%llu", w->b->hash,
             lv_sampler_name(w->solver.kind), w->solver.steps, w->solver.shift,
             w->solver.guidance, w->cfg->clips, w->p->nb,
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

static int check_features(const Work *w, const float *features, size_t text)
{
    size_t n = (size_t)(1 + w->p->nb) * text, i = lv_find_nonfinite(features, LV_F32, LV_F32, n);

    return i == n ? 0 :
           lv_fail(w->b->msg, LV_ERR_MODEL, "trajectories: text encoder: features of prompt %zu "
                   "are not finite", i / text);
}

static int create(const Work *w, const char *path, LvDtype dtype)
{
    const LvDitConfig *c = &w->b->cfg.dit;
    size_t text     = (size_t)c->text_len * (size_t)c->text_dim;
    size_t bytes    = (size_t)(1 + w->p->nb) * text * sizeof(float);
    float *features = bytes > lv_host_available() ? NULL : lv_alloc(bytes);
    int32_t *prompt = lv_alloc((size_t)(w->cfg->clips + 1) * sizeof(*prompt));
    float sigma[1001];
    char about[ABOUT];
    int ret = LV_ERR(ENOMEM);

    if (!features || !prompt) {
        lv_msg(w->b->msg, LV_MSG_ERROR, "trajectories: features of %d prompts take %zu MiB, "
               "%zu are available; take fewer (trajectories.prompts)", w->p->nb, bytes >> 20,
               lv_host_available() >> 20);
    } else if ((ret = lv_prompts_encode(w->p, w->b, dtype, features)) >= 0 &&
               (ret = check_features(w, features, text)) >= 0) {
        for (int i = 0; i < w->cfg->clips; i++)
            prompt[i] = i % w->p->nb;
        for (int i = 0; i <= w->solver.steps; i++)
            sigma[i] = lv_sampler_sigma(w->sampler, i);
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

static int look_at_file(LvTrajectories *t, const LvBundle *b, const char *path)
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
        return fail_file(t, b->msg, "no trajectories: its metadata has no '" KEY "'");
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
    if (!t->features || !t->sigma ||
        (t->clips && (!t->states || !t->prompt || !t->done || !prompts_in_range(t))))
        return fail_file(t, b->msg, "holds trajectories of other sizes than the model's");
    return LV_MIN(check_file(t, b->msg), 0);
}

int lv_trajectories_open(LvTrajectories *t, const LvBundle *teacher, const char *path)
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
    const LvDitConfig *c = &w->b->cfg.dit;
    const int text[] = { w->cfg->batch * c->text_len, c->text_dim };
    LvTensor *list[] = { &w->in.latent, &w->in.t, &w->in.rope, &w->text[0], &w->text[1],
                         &w->v[0], &w->v[1] };
    LvGraph *g = lv_graph_new(w->b->msg);

    if (!g)
        return lv_fail(w->b->msg, LV_ERR(ENOMEM), "trajectories: out of memory");
    lv_dit_batch_inputs(g, &w->b->dit, w->b->size, w->cfg->batch, &w->in);
    for (int i = 0; i < 2; i++) {
        LvDitInputs in = w->in;
        w->text[i] = lv_external(g, "text", LV_F32, 2, text);
        w->v[i]    = lv_dit_trace_batch(g, &w->b->dit, w->text[i], &in, dtype, NULL);
        lv_output(g, w->v[i], "velocity");
    }
    return lv_task_new(&w->task, &g, list, LV_COUNT(list), w->b->dev, w->b->msg);
}

static int allocate(Work *w)
{
    size_t n = (size_t)w->cfg->batch, x = n * w->b->numel;

    w->x           = lv_alloc(x * sizeof(*w->x));
    w->velocity[0] = lv_alloc(x * sizeof(*w->x));
    w->velocity[1] = lv_alloc(x * sizeof(*w->x));
    w->context     = lv_alloc(n * w->t.text * sizeof(*w->x));
    w->half        = lv_alloc(w->b->numel * sizeof(*w->half));
    w->sum         = lv_alloc(n * sizeof(*w->sum));
    return w->x && w->velocity[0] && w->velocity[1] && w->context && w->half && w->sum ? 0 :
           lv_fail(w->b->msg, LV_ERR(ENOMEM), "trajectories: out of memory");
}

static int put_rope(const Work *w)
{
    float *table = lv_alloc(lv_tensor_bytes(&w->in.rope));
    int ret;

    if (!table)
        return lv_fail(w->b->msg, LV_ERR(ENOMEM), "trajectories: out of memory");
    lv_dit_rope(table, &w->b->cfg.dit, w->b->size);
    ret = lv_task_put(&w->task, &w->in.rope, table);
    lv_free(table);
    return ret;
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

static int keep(const Work *w, int i, const char *name, size_t index, const float *x)
{
    int ret = put_half(w, name, index, x + (size_t)i * w->b->numel);

    w->sum[i] = lv_hash(w->sum[i], w->half, w->b->numel * sizeof(*w->half));
    return ret;
}

static int keep_step(const Work *w, int first, int nb, int k)
{
    int ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++) {
        size_t at = (size_t)(first + i) * (size_t)w->t.steps + (size_t)k;
        ret = keep(w, i, "states", at, w->x);
        for (int s = 0; s < 2 && w->cfg->velocities && ret >= 0; s++)
            ret = keep(w, i, "velocities", 2 * at + (size_t)s, w->velocity[s]);
    }
    return ret;
}

static int run_nets(Work *w, int k)
{
    float t[1024];
    int ret;

    for (int i = 0; i < w->cfg->batch; i++)
        t[i] = lv_sampler_time(w->sampler, k);
    if ((ret = lv_task_put(&w->task, &w->in.latent, w->x)) < 0 ||
        (ret = lv_task_put(&w->task, &w->in.t, t)) < 0 ||
        (ret = lv_task_run(&w->task)) < 0 ||
        (ret = lv_task_get(&w->task, &w->v[0], w->velocity[0])) < 0)
        return ret;
    return lv_task_get(&w->task, &w->v[1], w->velocity[1]);
}

static int put_texts(Work *w, int first, int nb)
{
    int ret = 0;

    for (int s = 0; s < 2 && ret >= 0; s++) {
        for (int i = 0; i < w->cfg->batch; i++)
            memcpy(w->context + (size_t)i * w->t.text, lv_trajectories_text(
                &w->t, s || i >= nb ? -1 : w->t.prompt[first + i]),
                w->t.text * sizeof(*w->context));
        ret = lv_task_put(&w->task, &w->text[s], w->context);
    }
    return ret;
}

/* The sums of clips, then, when all is on the disk, that they are done. */
static int finish_clips(const Work *w, int first, int nb)
{
    const uint8_t done = 1;
    int ret = 0;

    if (w->t.sums)
        ret = put_bytes(w, "sums", (size_t)first * sizeof(*w->sum), w->sum,
                        (size_t)nb * sizeof(*w->sum));
    if (ret >= 0)
        ret = sync_file(w);
    for (int i = first; i < first + nb && ret >= 0; i++)
        ret = put_bytes(w, "done", (size_t)i, &done, sizeof(done));
    return ret;
}

/* Clips `first` to first + nb - 1. */
static int sample(Work *w, int first, int nb)
{
    int ret = put_texts(w, first, nb);

    for (int i = 0; i < w->cfg->batch; i++)
        lv_philox_normal(w->x + (size_t)i * w->b->numel, w->b->numel, w->seed,
                         lv_stream(LV_STREAM_TRAJECTORY, 0, first + i));
    for (int i = 0; i < nb; i++)
        w->sum[i] = (uint64_t)(first + i);
    lv_sampler_start(w->sampler, w->seed, lv_stream(LV_STREAM_RENOISE, first, 0));
    for (int k = 0; k < w->t.steps && ret >= 0; k++) {
        if ((ret = run_nets(w, k)) < 0 || (ret = keep_step(w, first, nb, k)) < 0)
            break;
        lv_guide(w->velocity[0], w->velocity[1], (size_t)w->cfg->batch * w->b->numel,
                 w->solver.guidance);
        lv_sampler_step(w->sampler, k, w->x, w->velocity[0]);
    }
    return ret < 0 ? ret : finish_clips(w, first, nb);
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
    int ret = 0;

    for (int i = 0; i < w->t.clips && ret >= 0; i += w->cfg->batch) {
        int nb = LV_MIN(w->cfg->batch, w->t.clips - i), done = 1;
        for (int k = 0; k < nb; k++)
            done = done && is_there(w, i + k);
        if (progress && (ret = progress(opaque, i, w->t.clips)) < 0)
            return ret;
        if (!done)
            ret = sample(w, i, nb);
    }
    return ret;
}

static int is_same(const Work *w)
{
    const char *has = lv_safetensors_meta(w->t.file, KEY);
    char want[ABOUT];

    describe(w, want);
    return !strcmp(has, want) ? 0 :
           lv_fail(w->b->msg, LV_ERR_MODEL, "%s: trajectories of %s; wanted are those of "
                   "%s", lv_safetensors_path(w->t.file), has, want);
}

static int make(Work *w, const char *path, LvDtype dtype, LvTrajectoriesProgress progress,
                void *opaque)
{
    size_t n = (size_t)w->cfg->batch * w->b->numel;
    int ret;

    if ((ret = choose_solver(&w->solver, w->b, w->cfg)) < 0 ||
        (ret = lv_sampler_new(&w->sampler, w->solver.kind, w->solver.steps,
                              (double)w->solver.shift, n, w->b->msg)) < 0 ||
        (access(path, F_OK) && (ret = create(w, path, dtype)) < 0) ||
        (ret = look_at_file(&w->t, w->b, path)) < 0 || (ret = is_same(w)) < 0)
        return ret;
    if (!w->t.clips)
        return 0;
    if ((w->fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
        return lv_fail(w->b->msg, LV_ERR(errno), "%s: %s", path, strerror(errno));
    if (flock(w->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lv_fail(w->b->msg, LV_ERR(EBUSY), "%s: another process samples into it; wait "
                       "for it", path);
    if ((ret = allocate(w)) < 0 || (ret = plan(w, dtype)) < 0 || (ret = put_rope(w)) < 0)
        return ret;
    ret = sample_all(w, progress, opaque);
    return ret < 0 ? ret : sync_file(w);
}

int lv_trajectories_make(const LvBundle *teacher, const LvTrajectoryConfig *cfg,
                         const LvPrompts *p, uint64_t seed, LvDtype dtype,
                         const char *path, LvTrajectoriesProgress progress, void *opaque)
{
    Work w = { .b = teacher, .cfg = cfg, .p = p, .seed = seed, .fd = -1 };
    int ret = make(&w, path, dtype, progress, opaque);

    if (w.fd >= 0)
        close(w.fd);
    lv_task_free(&w.task);
    lv_sampler_free(&w.sampler);
    lv_trajectories_close(&w.t);
    lv_free(w.x);
    lv_free(w.velocity[0]);
    lv_free(w.velocity[1]);
    lv_free(w.context);
    lv_free(w.half);
    lv_free(w.sum);
    return ret;
}
