/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/clip_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/half.h"
#include "base/quant.h"
#include "base/ring.h"
#include "model/list.h"
#include "tools/bench/networks.h"
#include "tools/bench/random_file.h"

enum { DIT, TEXT, VAE, PARTS };

/* Random values that a tensor repeats: a prime, so that no two rows are alike. */
enum { VALUES = 65521, SLOT = 4 * VALUES, THREADS = 8 };

/* The same in blocks, and where in a slot the values lie that these are made of. */
enum { BLOCK = 256, BLOCKS = 127, SOURCE = 1 << 17 };

_Static_assert((int)SOURCE + 4 * BLOCK * BLOCKS <= (int)SLOT, "a slot holds both");

typedef struct Part {
    LvParams *list;
    LvDtype matrices; /* type of these */
    int fd;
    size_t at, bytes; /* of the data in the file */
} Part;

struct LvClipModel {
    const LvMsg *msg;
    LvDevice *dev;    /* the null device, of the lists */
    Part part[PARTS];
    int tokenizer, manifest; /* files */
    char path[32];
};

/* Files in memory */

static int fail(const LvClipModel *m, const char *what)
{
    return lv_fail(m->msg, LV_ERR(errno), "random weights: %s: %s", what, strerror(errno));
}

static int new_file(const LvClipModel *m, int *fd)
{
    *fd = memfd_create("linvideo", MFD_CLOEXEC);
    return *fd < 0 ? fail(m, "no file in memory") : 0;
}

static int put(const LvClipModel *m, int fd, const void *data, size_t bytes)
{
    ssize_t n = pwrite(fd, data, bytes, 0);

    if (n >= 0 && (size_t)n < bytes)
        errno = ENOSPC;
    return n == (ssize_t)bytes ? 0 : fail(m, "cannot be written");
}

static int out_of_memory(const LvClipModel *m)
{
    return lv_fail(m->msg, LV_ERR(ENOMEM), "random weights: out of memory");
}

static size_t bytes_of(const Part *p, const LvParam *t)
{
    size_t bytes = 0;

    lv_dtype_bytes(&bytes, lv_random_type(t, p->matrices), t->numel);
    return bytes;
}

static int is_gguf(const Part *p)
{
    return lv_dtype_block(p->matrices) > 1;
}

/* The same with what lies behind it in the file. */
static size_t room_of(const Part *p, const LvParam *t)
{
    size_t bytes = bytes_of(p, t);

    return is_gguf(p) ? LV_ROUND_UP(bytes, LV_GGUF_ALIGN) : bytes;
}

static int put_safetensors(const LvClipModel *m, Part *p)
{
    char *head = malloc(lv_random_head_room(p->list));
    int ret;

    if (!head)
        return out_of_memory(m);
    p->at = lv_random_head(p->list, p->matrices, head);
    ret   = put(m, p->fd, head, p->at);
    free(head);
    return ret;
}

static int put_gguf(const LvClipModel *m, Part *p)
{
    LvFileTensor *t = calloc((size_t)p->list->nb, sizeof(*t));
    LvFile f;
    int ret = t ? lv_file_stream(&f, dup(p->fd), "random weights", m->msg) : out_of_memory(m);

    for (int i = 0; i < p->list->nb && ret >= 0; i++) {
        const LvParam *of = &p->list->list[i];

        t[i] = (LvFileTensor) { .name = of->name, .dtype = lv_random_type(of, p->matrices),
                                .rank = of->rank, .size = bytes_of(p, of) };
        memcpy(t[i].dim, of->dim, (size_t)of->rank * sizeof(*of->dim));
    }
    if (ret >= 0) {
        lv_gguf_put_head(&f, "wan", NULL, t, p->list->nb);
        p->at = f.size;
        ret   = lv_file_finish(&f, m->msg);
    }
    free(t);
    return ret;
}

/* Head and room of a network's file. */
static int new_part(LvClipModel *m, Part *p)
{
    int ret = new_file(m, &p->fd);

    if (ret < 0 || (ret = (is_gguf(p) ? put_gguf : put_safetensors)(m, p)) < 0)
        return ret;
    for (int i = 0; i < p->list->nb; i++)
        p->bytes += room_of(p, &p->list->list[i]);
    return ftruncate(p->fd, (off_t)(p->at + p->bytes)) < 0 ? fail(m, "no room") : 0;
}

/* The tokenizer */

/* A sentencepiece model in the making: a protocol buffer, all of whose parts are short. */
typedef struct Pieces {
    uint8_t p[2048];
    size_t n;
} Pieces;

enum { NORMAL = 1, UNKNOWN, CONTROL };

static void add_piece(Pieces *o, const char *text, int type)
{
    const uint8_t score[4] = { 0 };
    uint8_t *p = o->p + o->n;
    uint8_t n  = (uint8_t)strlen(text);

    *p++ = 1 << 3 | 2; /* a piece */
    *p++ = (uint8_t)(n + 9);
    *p++ = 1 << 3 | 2;
    *p++ = n;
    memcpy(p, text, n);
    p   += n;
    *p++ = 2 << 3 | 5;
    memcpy(p, score, sizeof(score));
    p   += sizeof(score);
    *p++ = 3 << 3;
    *p++ = (uint8_t)type;
    o->n = (size_t)(p - o->p);
}

static int new_tokenizer(LvClipModel *m)
{
    static const uint8_t ends[] = {
        2 << 3 | 2, 2, 3 << 3, 1,                               /* unigrams */
        3 << 3 | 2, 6, 3 << 3, 1, 4 << 3, 1, 5 << 3, 1,         /* blanks */
    };
    Pieces o = { .n = 0 };
    int ret  = new_file(m, &m->tokenizer);

    add_piece(&o, "<pad>", CONTROL);
    add_piece(&o, "</s>", CONTROL);
    add_piece(&o, "<unk>", UNKNOWN);
    add_piece(&o, "\u2581", NORMAL);
    for (char c = 'a'; c <= 'z'; c++)
        add_piece(&o, (const char[]) { c, 0 }, NORMAL);
    memcpy(o.p + o.n, ends, sizeof(ends));
    return ret < 0 ? ret : put(m, m->tokenizer, o.p, o.n + sizeof(ends));
}

/* The model */

static int new_manifest(LvClipModel *m, const LvVideoConfig *v)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"dit\": \"/proc/self/fd/%d\", \"text\": \"/proc/self/fd/%d\", "
                     "\"vae\": \"/proc/self/fd/%d\", \"tokenizer\": \"/proc/self/fd/%d\", "
                     "\"video\": {\"width\": %d, \"height\": %d, \"frames\": %d}}",
                     m->part[DIT].fd, m->part[TEXT].fd, m->part[VAE].fd, m->tokenizer, v->width,
                     v->height, v->frames);
    int ret = new_file(m, &m->manifest);

    snprintf(m->path, sizeof(m->path), "/proc/self/fd/%d", m->manifest);
    return ret < 0 ? ret : put(m, m->manifest, text, (size_t)n);
}

static int list(LvClipModel *m, const LvModelConfig *cfg, int i)
{
    static const struct { int kind, layout; } parts[PARTS] = {
        [DIT]  = { LV_PART_DIT, LV_LAYOUT_ORIGINAL }, [TEXT] = { LV_PART_TEXT, LV_LAYOUT_HF },
        [VAE]  = { LV_PART_WAN_VAE, LV_LAYOUT_ORIGINAL },
    };
    LvParams **to = &m->part[i].list;

    return i == VAE && cfg->vae.kind == LV_VAE_TAE
         ? lv_list_tae(to, &cfg->vae, "decoder.", m->dev, m->msg)
         : lv_part_list(to, parts[i].kind, cfg, parts[i].layout, "", m->dev, m->msg);
}

static int make(LvClipModel *m, const LvModelConfig *cfg, LvDtype stored)
{
    int ret = lv_device_open(&m->dev, "null", NULL, m->msg);

    for (int i = 0; i < PARTS && ret >= 0; i++) {
        m->part[i].matrices = i == DIT ? stored : LV_BF16;
        if ((ret = list(m, cfg, i)) >= 0)
            ret = new_part(m, &m->part[i]);
    }
    if (ret >= 0)
        ret = new_tokenizer(m);
    return ret < 0 ? ret : new_manifest(m, &cfg->video);
}

int lv_clip_model_new(LvClipModel **out, const LvModelConfig *cfg, LvDtype stored,
                      const LvMsg *msg)
{
    LvClipModel *m = *out = calloc(1, sizeof(*m));
    int ret;

    if (!m)
        return lv_fail(msg, LV_ERR(ENOMEM), "random weights: out of memory");
    m->msg       = msg;
    m->tokenizer = m->manifest = -1;
    for (int i = 0; i < PARTS; i++)
        m->part[i].fd = -1;
    if ((ret = make(m, cfg, stored)) < 0)
        lv_clip_model_free(out);
    return ret;
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

void lv_clip_model_free(LvClipModel **out)
{
    LvClipModel *m = *out;

    if (!m)
        return;
    for (int i = 0; i < PARTS; i++) {
        lv_params_free(&m->part[i].list);
        close_file(m->part[i].fd);
    }
    close_file(m->tokenizer);
    close_file(m->manifest);
    lv_device_close(&m->dev);
    free(m);
    *out = NULL;
}

const char *lv_clip_model_path(const LvClipModel *m)
{
    return m->path;
}

size_t lv_clip_model_bytes(const LvClipModel *m)
{
    size_t n = 0;

    for (int i = 0; i < PARTS; i++)
        n += m->part[i].bytes;
    return n;
}

/* Values */

/* A tensor in its file. */
typedef struct Place {
    const LvParam *t;
    LvDtype type;
    int fd;
    size_t at, bytes;
} Place;

static void put_value(uint8_t *to, LvDtype type, float x)
{
    uint16_t half = lv_f32_bf16(x);

    if (type == LV_F32)
        memcpy(to, &x, sizeof(x));
    else if (type == LV_BF16)
        memcpy(to, &half, sizeof(half));
    else
        *to = lv_f32_e4m3(x);
}

static float next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state * 0x1p-31f;
}

static size_t make_blocks(uint8_t *slot, LvDtype type, size_t numel, float scale)
{
    float *x = (float *)(void *)(slot + SOURCE);
    size_t n = LV_MIN(numel, BLOCK * BLOCKS), bytes = 0;
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++)
        x[i] = scale * next(&state);
    lv_block_encode(slot, x, type, n);
    lv_dtype_bytes(&bytes, type, n);
    return bytes;
}

/* Matrices keep the size of what they multiply; norms are near 1. @return bytes */
static size_t make_values(uint8_t *to, const LvParam *t, LvDtype type)
{
    int norm    = (strstr(t->name, "norm") || strstr(t->name, "gamma")) && !strstr(t->name, "bias");
    float scale = 1.7f / sqrtf(t->rank > 1 ? (float)(t->numel / (size_t)t->dim[0]) : 100);
    size_t size = lv_dtype_size(type), n = LV_MIN(t->numel, VALUES);
    uint32_t state = 1;

    if (!size)
        return make_blocks(to, type, t->numel, scale);
    for (size_t i = 0; i < n; i++)
        put_value(to + i * size, type, (float)norm + scale * next(&state));
    return n * size;
}

/* LvRingJob.fill: the values of a tensor, over and over, to its file; they are made in the
 * slot. */
static int write_tensor(const LvRingJob *job, void *slot, const LvMsg *msg)
{
    const Place *p = job->what;
    size_t all = make_values(slot, p->t, p->type);

    for (size_t at = 0, n; at < p->bytes; at += n) {
        n = LV_MIN(p->bytes - at, all);
        if (pwrite(p->fd, slot, n, (off_t)(p->at + at)) != (ssize_t)n)
            return lv_fail(msg, LV_ERR(ENOSPC), "random weights: %s cannot be written",
                           p->t->name);
    }
    return 0;
}

static int run_jobs(LvRing *ring)
{
    LvRingJob job;
    void *slot;
    int ret;

    while ((ret = lv_ring_take(ring, 1, &job, &slot)) > 0)
        lv_ring_give(ring);
    return ret;
}

static int add_jobs(LvRing *ring, const Part *p, Place *place)
{
    size_t at = p->at;
    int ret   = 0;

    for (int i = 0; i < p->list->nb && ret >= 0; i++) {
        const LvParam *t = &p->list->list[i];

        place[i] = (Place) { t, lv_random_type(t, p->matrices), p->fd, at, bytes_of(p, t) };
        at      += room_of(p, t);
        ret      = lv_ring_add(ring, &(LvRingJob) { .fill = write_tensor, .what = &place[i] });
    }
    return ret;
}

/* A file that was written to is another one: its time is put back. */
static int fill_part(const LvClipModel *m, const Part *p, void *slots)
{
    Place *place = calloc((size_t)p->list->nb, sizeof(*place));
    LvRing *ring = NULL;
    struct stat st;
    int ret = place ? lv_ring_new(&ring, LV_MIN(lv_cores(), THREADS), slots, SLOT, THREADS, m->msg)
                    : out_of_memory(m);

    if (ret >= 0 && fstat(p->fd, &st) < 0)
        ret = fail(m, "fstat");
    if (ret >= 0 && (ret = add_jobs(ring, p, place)) >= 0 && (ret = run_jobs(ring)) >= 0 &&
        futimens(p->fd, (const struct timespec[]) { st.st_atim, st.st_mtim }) < 0)
        ret = fail(m, "futimens");
    lv_ring_free(&ring);
    free(place);
    return ret;
}

int lv_clip_model_fill(LvClipModel *m)
{
    size_t wanted = lv_clip_model_bytes(m), have = lv_host_available();
    void *slots   = malloc(SLOT * THREADS);
    int ret       = 0;

    if (wanted > have)
        ret = lv_fail(m->msg, LV_ERR(ENOMEM), "random weights need %zu MiB of the host, %zu are "
                      "available", wanted >> 20, have >> 20);
    else if (!slots)
        ret = out_of_memory(m);
    for (int i = 0; i < PARTS && ret >= 0; i++)
        ret = fill_part(m, &m->part[i], slots);
    free(slots);
    return ret;
}
