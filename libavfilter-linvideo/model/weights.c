/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/convert.h"
#include "base/half.h"
#include "base/map.h"
#include "model/lora.h"
#include "model/stored.h"

enum { ROWS_NAME = LV_PARAM_NAME };

/* Memory of bound tensors that is not the file's. */
typedef struct Block {
    void *data;
    size_t bytes;
    int host; /* of a device that is another's: for slots */
    struct Block *next;
} Block;

/* A row that is being bound. */
typedef struct Bind {
    const LvWeightRow *row;
    int index;
    const int *symbols;
    char name[ROWS_NAME];
    LvStored t;
} Bind;

/* A matrix that is made, or read, when it is packed. */
typedef struct Late {
    LvLater later; /* first, so that an LvLater * is a Late * */
    struct LvWeights *w;
    Bind bind;
    LvTensor to;
    int own;   /* pages are ours, not the file's */
    int seen;  /* of one that is read: it was looked at */
    struct Late *next;
} Late;

/* A tensor that threads read for an upload. */
typedef struct Sending {
    const struct LvWeights *w;
    LvStored t;
    LvDtype dtype; /* that it is made; elements of a plain one are looked at as this */
    struct Sending *next;
} Sending;

struct LvWeights {
    LvWeightsFrom from; /* src: NULL when tensors are only described in params */
    LvSource *view;     /* src, when it is ours */
    LvDevice *dev;
    const LvMsg *msg;
    Block *blocks;
    Late *late;
    Sending *sending;
    LvUpload *own; /* while rows are bound without one of the caller */
    size_t taken;  /* of the caller's room */
    LvStoredFile file; /* what became of its tensors */
    int bound;     /* weights so far, for their ids */
    size_t bytes;  /* of blocks, or what they would take */
    size_t streamed; /* the same of those on the host */
    size_t later;    /* what the largest of `late` takes while it is made */
};

static int count_of(const LvWeights *w)
{
    return w->from.src ? lv_source_count(w->from.src) : 0;
}

static const char *path_of(const LvWeights *w)
{
    return lv_source_path(w->from.src);
}

int lv_weights_new_from(LvWeights **out, const LvWeightsFrom *from, LvDevice *dev,
                        const LvMsg *msg)
{
    LvWeights *w = *out = calloc(1, sizeof(*w));
    int ret = 0;

    if (w) {
        w->from = *from;
        w->file = (LvStoredFile) { .src = from->src, .msg = msg,
                                   .used = calloc((size_t)count_of(w) + 1, 1) };
    }
    if (!w || !w->file.used) {
        free(w);
        *out = NULL;
        return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
    }
    w->dev = dev;
    w->msg = msg;
    if (from->src && (ret = lv_stored_check_file(&w->file)) < 0)
        lv_weights_free(out);
    return ret;
}

int lv_weights_new(LvWeights **out, const LvSafetensors *st, LvDevice *dev,
                   const LvMsg *msg)
{
    LvWeightsFrom from = { .wide = LV_F32 };
    LvSource *view = NULL;
    int ret;

    *out = NULL;
    if (st && (ret = lv_source_view(&view, st, msg)) < 0)
        return ret;
    from.src = view;
    if ((ret = lv_weights_new_from(out, &from, dev, msg)) < 0)
        lv_source_close(&view);
    else
        (*out)->view = view;
    return ret;
}

int lv_weights_new_params(LvWeights **w, LvParams *p, const LvSafetensors *st,
                          LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_weights_new(w, st, dev, msg);

    if (ret >= 0)
        (*w)->from.params = p;
    return ret;
}

void lv_weights_forget(LvWeights *w)
{
    for (int i = 0; i < count_of(w); i++) {
        const LvFileTensor *t = lv_source_at(w->from.src, i);
        if (w->file.used[i] == LV_TAKEN_BOUND || w->file.used[i] == LV_TAKEN_KEPT)
            w->dev->fn->forget(w->dev, t->data, t->size);
    }
    for (Block *b = w->blocks; b; b = b->next)
        w->dev->fn->forget(w->dev, b->data, b->bytes);
    w->dev->fn->forget(w->dev, w->from.room, w->taken);
    for (Late *l = w->late; l; l = l->next)
        w->dev->fn->forget(w->dev, l->later.data, l->later.bytes);
}

static void free_late(LvWeights *w, Late *l)
{
    lv_later_remove(w->dev, &l->later);
    if (l->own)
        lv_pages_free(l->later.data, l->later.bytes);
    free(l);
}

static void free_block(LvWeights *w, Block *b)
{
    if (b->host) {
        w->dev->fn->unpin(w->dev, b->data);
        free(b->data);
    } else {
        w->dev->fn->free(w->dev, b->data);
    }
    free(b);
}

void lv_weights_free(LvWeights **out)
{
    LvWeights *w = *out;

    if (!w)
        return;
    lv_upload_free(&w->own);
    lv_weights_forget(w);
    for (Block *b = w->blocks, *next; b; b = next) {
        next = b->next;
        free_block(w, b);
    }
    for (Late *l = w->late, *next; l; l = next) {
        next = l->next;
        free_late(w, l);
    }
    for (Sending *s = w->sending, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    lv_source_close(&w->view);
    free(w->file.used);
    free(w);
    *out = NULL;
}

void lv_weights_drop(const LvWeights *w)
{
    for (int i = 0; i < count_of(w); i++)
        if (w->file.used[i] == LV_TAKEN_BOUND)
            lv_source_drop(w->from.src, lv_source_at(w->from.src, i));
}

/* Pages of its own, as two that share one can't both be pinned. */
static int alloc_host(LvWeights *w, void **p, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!(*p = aligned_alloc(page, LV_ROUND_UP(bytes, page))))
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes", bytes);
    w->dev->fn->pin(w->dev, *p, bytes);
    return 0;
}

/* The type that elements of a stored matrix are rounded to. */
static LvDtype rounded(const LvWeights *w, const LvWeightRow *row)
{
    return row->flags & LV_W_EXACT || w->from.plain || w->from.params ? LV_F32 : w->from.wide;
}

/* Whether n elements of t from number `first` on, which lie at data, are finite. */
static int check_finite(const LvWeights *w, const LvFileTensor *t, LvDtype as,
                        const void *data, size_t first, size_t n, const LvMsg *msg)
{
    size_t i = lv_find_nonfinite(data, t->dtype, as, n);

    return i == n ? 0 : lv_stored_fail(t, first + i, path_of(w), msg);
}

/* Memory of the caller's room. 0 when there is not enough */
static int take_room(LvWeights *w, size_t bytes, void **data)
{
    bytes = LV_ROUND_UP(bytes, LV_ALIGN);
    if (!w->from.room || bytes > w->from.room_bytes - w->taken)
        return 0;
    *data     = (char *)w->from.room + w->taken;
    w->taken += bytes;
    return 1;
}

/* Memory of the device, or of the host, that is freed with w. */
static int new_block(LvWeights *w, int host, size_t bytes, void **data)
{
    Block *b;
    int ret;

    if (!host && take_room(w, bytes, data))
        return 0;
    if (!(b = calloc(1, sizeof(*b))))
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
    ret = host ? alloc_host(w, &b->data, bytes)
               : lv_device_alloc(w->dev, &b->data, bytes, "weights");
    if (ret < 0) {
        free(b);
        return ret;
    }
    b->bytes  = bytes;
    b->host   = host;
    b->next   = w->blocks;
    w->blocks = b;
    *data     = b->data;
    return 0;
}

/* Data in memory of the device, or of the host. */
static int put_block(LvWeights *w, int host, const void *src, size_t bytes, void **data)
{
    int ret = new_block(w, host, bytes, data);

    if (ret < 0)
        return ret;
    if (!host)
        return w->dev->fn->upload(w->dev, *data, src, bytes);
    memcpy(*data, src, bytes);
    return 0;
}

/* Uploads */

/* Bytes that are read, or made, before they are looked at, while they are near. */
enum { NEAR = 256 << 10, HERE = 1 << 20 /* of a thread, where no ring is */ };

/* A part of a tensor as it is. */
static int fill_plain(const LvRingJob *job, void *slot, const LvMsg *msg)
{
    const Sending *s      = job->what;
    const LvWeights *w    = s->w;
    const LvFileTensor *t = s->t.t;
    size_t size = lv_dtype_size(t->dtype), n;
    int ret = 0;

    for (size_t i = 0; i < job->bytes && ret >= 0; i += n) {
        char *p = (char *)slot + i;
        n   = LV_MIN(job->bytes - i, (size_t)NEAR);
        ret = lv_source_read(w->from.src, t, job->at + i, p, n, msg);
        if (ret >= 0)
            ret = check_finite(w, t, s->dtype, p, (job->at + i) / size, n / size, msg);
    }
    return ret;
}

/* n values of a tensor in the type that it is made, f32 or bf16. */
static int round_to(void *dst, LvDtype dtype, const float *src, size_t n,
                    const LvFileTensor *t, const char *path, const LvMsg *msg)
{
    uint16_t *to = dst;

    if (dtype == LV_F32) {
        memcpy(dst, src, n * sizeof(*src));
        return 0;
    }
    if (lv_find_nonfinite(src, LV_F32, LV_BF16, n) < n)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s holds a value that is too large for bf16; "
                       "use precision f32", path, t->name);
    for (size_t i = 0; i < n; i++)
        to[i] = lv_f32_bf16(src[i]);
    return 0;
}

/* Rows of a tensor, decoded: some at a time. */
static int fill_decoded(const LvRingJob *job, void *slot, const LvMsg *msg)
{
    const Sending *s      = job->what;
    const LvFileTensor *t = s->t.t;
    size_t cols = t->numel / (size_t)t->dim[0], row = cols * lv_dtype_size(s->dtype);
    size_t rows = job->bytes / row, some = LV_MAX(NEAR / row, 1), n;
    float *tmp  = malloc(some * cols * sizeof(*tmp));
    int ret     = tmp ? 0 : lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");

    for (size_t i = 0; i < rows && ret >= 0; i += n) {
        n   = LV_MIN(rows - i, some);
        ret = lv_stored_read_rows(tmp, &s->t, job->at / row + i, n, s->w->from.src, msg);
        if (ret >= 0)
            ret = round_to((char *)slot + i * row, s->dtype, tmp, n * cols, t,
                           path_of(s->w), msg);
    }
    free(tmp);
    return ret;
}

/* That of the caller, or one for the rows that are being bound. */
static int get_upload(LvWeights *w, LvUpload **u)
{
    int ret = w->from.upload || w->own ? 0
            : lv_upload_new(&w->own, w->dev, NULL, NULL, w->msg);

    *u = w->from.upload ? w->from.upload : w->own;
    return ret;
}

/* Have a tensor made by `fill`, in whole units, in new memory of the device. */
static int send(LvWeights *w, const LvStored *t, LvDtype dtype, const LvRingJob *part,
                size_t unit, void **data)
{
    Sending *s    = malloc(sizeof(*s));
    LvRingJob job = *part;
    LvUpload *u;
    int ret;

    if (!s)
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
    *s = (Sending) { .w = w, .t = *t, .dtype = dtype, .next = w->sending };
    w->sending = s;
    if ((ret = new_block(w, 0, job.bytes, data)) < 0 || (ret = get_upload(w, &u)) < 0)
        return ret;
    job.what = s;
    job.to   = *data;
    return lv_upload_add(u, &job, unit);
}

/* Wait for an upload of our own. */
static int end_upload(LvWeights *w, int ret)
{
    if (w->own && ret >= 0)
        ret = lv_upload_run(w->own, lv_upload_mark(w->own));
    lv_upload_free(&w->own);
    return ret;
}

static int rank_of(const LvWeightRow *row)
{
    int rank = 0;

    while (rank < LV_MAX_RANK && row->dim[rank])
        rank++;
    return rank;
}

static int size_of(const LvWeightRow *row, int i, const int *symbols)
{
    return row->dim[i] < 0 ? symbols[-row->dim[i] - 1] : row->dim[i];
}

/* Shapes are the same but for dimensions of 1. */
static int same_shape(const LvFileTensor *t, int rank, const int64_t *want)
{
    int i = 0, k = 0;

    for (;; i++, k++) {
        while (i < t->rank && t->dim[i] == 1)
            i++;
        while (k < rank && want[k] == 1)
            k++;
        if (i == t->rank || k == rank)
            return i == t->rank && k == rank;
        if (t->dim[i] != want[k])
            return 0;
    }
}

/* The file's dimensions are products of neighbours among those wanted: some tools store
 * kernels as matrices, others have no more than four dimensions. */
static int is_folded(const LvFileTensor *t, int rank, const int64_t *want)
{
    int64_t n = 1, m = 1;
    int k = 0;

    for (int i = 0; i < t->rank; i++) {
        n *= t->dim[i];
        while (k < rank && m < n)
            m *= want[k++];
        if (m != n)
            return 0;
    }
    while (k < rank)
        m *= want[k++];
    return m == n && t->rank > 1;
}

static int check(const LvWeights *w, const LvWeightRow *row, const LvFileTensor *t,
                 const int *symbols)
{
    int64_t want[LV_MAX_RANK];
    int rank = rank_of(row);
    char has[LV_SHAPE_SIZE], wants[LV_SHAPE_SIZE];

    for (int i = 0; i < rank; i++)
        want[i] = size_of(row, i, symbols);
    if (!lv_stored_has_type(t))
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s: file has type %s, expected F32, "
                       "BF16 or F16, or a quantised type", path_of(w), t->name,
                       lv_dtype_name(t->dtype));
    if (same_shape(t, rank, want) || (row->flags & LV_W_FLAT && is_folded(t, rank, want)))
        return 0;
    return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s: file has %s, expected %s", path_of(w),
                   t->name, lv_shape_text(has, t->rank, t->dim),
                   lv_shape_text(wants, rank, want));
}

static LvTensor describe(LvWeights *w, const LvWeightRow *row, LvDtype dtype,
                         const int *symbols, void *data)
{
    int rank = rank_of(row), skip = row->flags & LV_W_INNER ? 1 : 0;
    LvTensor out = { .data = data, .id = LV_ID_WEIGHT - w->bound++,
                     .dtype = (uint8_t)dtype, .fixed = !w->from.params && !w->from.plain };

    out.rank = (uint8_t)(row->flags & LV_W_FLAT ? 2 : rank - skip);
    for (int i = 0; i < LV_MAX_RANK; i++)
        out.dim[i] = i + skip < rank ? size_of(row, i + skip, symbols) : 1;
    for (int i = 2; i < LV_MAX_RANK && row->flags & LV_W_FLAT; i++) {
        out.dim[1] *= out.dim[i];
        out.dim[i]  = 1;
    }
    if (row->flags & LV_W_EDGE)
        out.dim[2] = out.dim[3] = out.dim[2] + 1;
    if (row->flags & LV_W_FRAMES) {
        out.dim[0] = size_of(row, 2, symbols);
        out.dim[1] = size_of(row, 0, symbols);
        out.dim[2] = size_of(row, 1, symbols);
    }
    return out;
}

/* Data of a row's tensor as f32 at dst, on the host; LoRAs added. */
static int read_f32(LvWeights *w, const Bind *b, float *dst)
{
    int ret = lv_stored_read(dst, &b->t, w->from.src, w->msg);

    lv_source_drop(w->from.src, b->t.t);
    if (ret < 0 || !w->from.loras)
        return ret;
    return lv_loras_add(w->from.loras, b->row, b->index, dst, b->t.t, w->msg);
}

enum { TURNED = LV_W_FRAMES | LV_W_EDGE };

/* Values in the order and shape that they are bound in: [O,C,T,n] as [T,O,C,n]. */
static void turn_frames(float *dst, const float *src, const LvTensor *to)
{
    size_t frames = (size_t)to->dim[0], n = (size_t)to->dim[3] * (size_t)to->dim[4];
    size_t rows   = (size_t)to->dim[1] * (size_t)to->dim[2];

    for (size_t t = 0; t < frames; t++)
        for (size_t i = 0; i < rows; i++, dst += n)
            memcpy(dst, src + (i * frames + t) * n, n * sizeof(*dst));
}

/* [O,C,k,k] as [O,C,k+1,k+1], dst being zeroed. */
static void add_edge(float *dst, const float *src, const LvTensor *to)
{
    size_t rows = (size_t)to->dim[0] * (size_t)to->dim[1], k = (size_t)to->dim[2] - 1;

    for (size_t i = 0; i < rows; i++)
        for (size_t y = 0; y < k; y++)
            memcpy(dst + (i * (k + 1) + y + 1) * (k + 1) + 1, src + (i * k + y) * k,
                   k * sizeof(*dst));
}

/* The row's values as f32, in the order that they are bound in. NULL after an error. */
static float *read_turned(LvWeights *w, const Bind *b, const LvTensor *to, int *ret)
{
    size_t n = LV_MAX(b->t.t->numel, lv_tensor_numel(to));
    float *src = lv_alloc(n * sizeof(*src)), *dst;

    *ret = src ? read_f32(w, b, src)
               : lv_fail(w->msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes", 4 * n);
    if (*ret < 0 || !(b->row->flags & TURNED)) {
        if (*ret < 0)
            lv_freep(&src);
        return src;
    }
    if (!(dst = lv_alloc(n * sizeof(*dst))))
        *ret = lv_fail(w->msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes", 4 * n);
    else
        (b->row->flags & LV_W_FRAMES ? turn_frames : add_edge)(dst, src, to);
    lv_free(src);
    return dst;
}

/* Whether threads may decode it row by row, each a whole number of blocks. */
static int has_rows(const LvWeights *w, const Bind *b)
{
    const LvFileTensor *t = b->t.t;
    size_t rows = t->rank ? (size_t)t->dim[0] : 0;

    return rows && t->size % rows == 0 &&
           t->numel / rows % (size_t)lv_dtype_block(t->dtype) == 0 &&
           !(b->row->flags & TURNED) &&
           !(w->from.loras && lv_loras_has(w->from.loras, b->row, b->index));
}

/* The row's values in the type of `to`, f32 or bf16. NULL after an error. */
static float *decode(LvWeights *w, const Bind *b, const LvTensor *to, int *ret)
{
    float *tmp = read_turned(w, b, to, ret);
    size_t n   = lv_tensor_numel(to);

    if (*ret >= 0 && to->dtype == LV_BF16)
        *ret = round_to(tmp, LV_BF16, tmp, n, b->t.t, path_of(w), w->msg);
    return tmp;
}

/* @return 1 when it was, 0 when it can't be, or a code */
static int send_decoded(LvWeights *w, const Bind *b, const LvTensor *to, void **data)
{
    const LvRingJob part = { .fill = fill_decoded, .bytes = lv_tensor_bytes(to) };
    size_t slot;
    LvUpload *u;
    int ret;

    if (w->dev->host || to->streamed || !has_rows(w, b))
        return 0;
    if ((ret = get_upload(w, &u)) < 0 || (ret = lv_upload_slot(u, &slot)) < 0)
        return ret;
    if (part.bytes / (size_t)b->t.t->dim[0] > slot)
        return 0;
    ret = send(w, &b->t, (LvDtype)to->dtype, &part, part.bytes / (size_t)b->t.t->dim[0],
               data);
    return ret < 0 ? ret : 1;
}

static int place_decoded(LvWeights *w, const Bind *b, const LvTensor *to, void **data)
{
    int ret = send_decoded(w, b, to, data);
    float *tmp;

    if (ret)
        return LV_MIN(ret, 0);
    tmp = decode(w, b, to, &ret);
    if (ret >= 0)
        ret = put_block(w, to->streamed, tmp, lv_tensor_bytes(to), data);
    lv_free(tmp);
    return ret;
}

/* By threads, row by row. */
static int make_rows(const Late *l)
{
    const LvStored *t = &l->bind.t;
    const Sending s   = { .w = l->w, .t = *t, .dtype = (LvDtype)l->to.dtype };
    const LvRingJob all = { .fill = fill_decoded, .what = &s, .bytes = l->later.bytes };
    size_t row = all.bytes / (size_t)t->t->dim[0];
    int ret = t->scale ? lv_source_load(l->w->from.src, t->scale, l->w->msg) : 0;

    return ret < 0 ? ret : lv_ring_fill(l->w->dev->threads, l->later.data,
                                        LV_MAX(HERE / row, 1) * row, &all, l->w->msg);
}

static int make_late(LvLater *later)
{
    Late *l = (void *)later;
    float *tmp;
    int ret;

    if (has_rows(l->w, &l->bind))
        return make_rows(l);
    tmp = decode(l->w, &l->bind, &l->to, &ret);
    if (ret >= 0)
        memcpy(later->data, tmp, later->bytes);
    lv_free(tmp);
    return ret;
}

static void drop_late(LvLater *later)
{
    lv_pages_drop(later->data, later->bytes);
}

static int look(const LvRingJob *job, void *data, const LvMsg *msg)
{
    const Late *l = job->what;
    const LvFileTensor *t = l->bind.t.t;
    size_t size = lv_dtype_size(t->dtype);

    return check_finite(l->w, t, rounded(l->w, l->bind.row), data, job->at / size,
                        job->bytes / size, msg);
}

static int check_late(const Late *l)
{
    const LvRingJob all = { .fill = look, .what = l, .bytes = l->later.bytes };

    return lv_ring_fill(all.bytes > HERE ? l->w->dev->threads : 1, l->later.data, HERE, &all,
                        l->w->msg);
}

/* A matrix of the file: it is looked at when it is first there. */
static int read_late(LvLater *later)
{
    Late *l = (void *)later;
    const LvFileTensor *t = l->bind.t.t;
    int ret = lv_source_load_by(l->w->dev->threads, l->w->from.src, t, l->w->msg);

    if (ret < 0 || l->seen)
        return ret;
    l->seen = 1;
    return check_late(l);
}

static void drop_read(LvLater *later)
{
    Late *l = (void *)later;

    lv_source_drop(l->w->from.src, l->bind.t.t);
}

/* To lie at *data, or in pages of its own. */
static int place_late(LvWeights *w, const Bind *b, const LvTensor *to, void **data)
{
    Late *l = calloc(1, sizeof(*l));
    int own = !*data;

    if (!l)
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
    *l = (Late) { .later = { .bytes = lv_tensor_bytes(to),
                             .make = own ? make_late : read_late,
                             .drop = own ? drop_late : drop_read },
                  .w = w, .bind = *b, .to = *to, .own = own, .next = w->late };
    l->bind.symbols = NULL; /* the caller's */
    if (own && !(*data = lv_pages_new(l->later.bytes))) {
        free(l);
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes",
                       lv_tensor_bytes(to));
    }
    l->later.data = *data;
    lv_later_add(w->dev, &l->later);
    w->late = l;
    return 0;
}

int lv_weights_check(const LvWeights *w)
{
    int ret = 0;

    for (Late *l = w->late; l && ret >= 0; l = l->next) {
        if (l->own || l->seen)
            continue;
        ret = read_late(&l->later);
        drop_read(&l->later);
    }
    return ret;
}

/* Whether data that stay as they are can be used where the file's lie. */
static int lies_well(const LvWeights *w, const LvFileTensor *t)
{
    return w->dev->host && (uintptr_t)t->data % lv_dtype_size(t->dtype) == 0;
}

/* All of it is there, and stays. */
static int keep(LvWeights *w, const LvFileTensor *t, LvDtype as)
{
    int ret = lv_source_load(w->from.src, t, w->msg);

    w->file.used[lv_source_index(w->from.src, t)] = LV_TAKEN_KEPT;
    return ret < 0 ? ret : check_finite(w, t, as, t->data, 0, t->numel, w->msg);
}

/* Data on the device as they are: the file's where that is possible. */
static int place_plain(LvWeights *w, const Bind *b, const LvTensor *to, void **data)
{
    const LvFileTensor *t = b->t.t;
    LvDtype as = rounded(w, b->row);
    int ret;

    *data = (void *)(uintptr_t)t->data;
    if (to->fixed == LV_FIXED_LATER)
        return place_late(w, b, to, data);
    if (lies_well(w, t))
        return keep(w, t, as);
    if (!to->streamed && !w->dev->host)
        return send(w, &b->t, as, &(LvRingJob) { .fill = fill_plain, .bytes = t->size },
                    lv_dtype_size(t->dtype), data);
    if ((ret = new_block(w, to->streamed, t->size, data)) < 0)
        return ret;
    if ((ret = lv_source_read(w->from.src, t, 0, *data, t->size, w->msg)) < 0)
        return ret;
    return check_finite(w, t, as, *data, 0, t->numel, w->msg);
}

const LvFileTensor *lv_weights_take(LvWeights *w, const char *name)
{
    return lv_stored_take(&w->file, name);
}

int lv_weights_find(LvWeights *w, LvStored *s, const char *name)
{
    return lv_stored_find(s, &w->file, name);
}

/* A weight that is trained: its place in the slabs, filled from the file if any. */
static int bind_param(LvWeights *w, const Bind *b, LvTensor *to)
{
    int64_t dim[LV_MAX_RANK];
    float *tmp = NULL, *data = NULL;
    LvParam *p;
    int ret = 0;

    for (int i = 0; i < rank_of(b->row); i++)
        dim[i] = size_of(b->row, i, b->symbols);
    p = lv_params_add(w->from.params, b->name, rank_of(b->row), dim, b->row->flags);
    if (!p)
        return LV_ERR(ENOMEM);
    if (b->t.t) {
        data = w->from.params->slab[LV_SLAB_VALUE] + p->at;
        if (!(tmp = lv_alloc(p->numel * sizeof(*tmp))))
            return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
        if ((ret = read_f32(w, b, tmp)) >= 0)
            ret = w->dev->fn->upload(w->dev, data, tmp, p->numel * sizeof(*tmp));
        lv_free(tmp);
    }
    *to = p->value = describe(w, b->row, LV_F32, b->symbols, data);
    return ret;
}

/* A matrix of a block that is only multiplied with: one that may be streamed. */
static int is_of_block(const Bind *b)
{
    const unsigned others = LV_W_MAP | LV_W_EXACT | LV_W_FLAT | TURNED;

    return b->row->flags & LV_W_MATRIX && !(b->row->flags & others) &&
           strstr(b->row->name, "%d") != NULL;
}

/* A matrix of a plain type stays as it is, unless a LoRA changes it. */
static int stays(const LvWeights *w, const Bind *b)
{
    return b->row->flags & LV_W_MATRIX && !w->from.plain && !(b->row->flags & TURNED) &&
           lv_stored_is_plain(&b->t) &&
           !(w->from.streamed && is_of_block(b) && b->t.t->dtype != w->from.wide) &&
           !(w->from.loras && lv_loras_has(w->from.loras, b->row, b->index));
}

/* Whether it may be made, or read, when it is packed, and only then. */
static int may_wait(const LvWeights *w, const Bind *b, const LvTensor *to, int plain)
{
    if (!w->dev->packs || to->fixed != LV_FIXED)
        return 0;
    return plain ? lies_well(w, b->t.t) && !(b->row->flags & LV_W_TABLE)
                 : w->from.later && is_of_block(b);
}

/* Note what memory a tensor takes that is not the file's. */
static void count(LvWeights *w, const LvTensor *to)
{
    if (to->streamed)
        w->streamed += lv_tensor_bytes(to);
    else if (to->fixed == LV_FIXED_LATER)
        w->later = LV_MAX(w->later, lv_tensor_bytes(to) +
                          lv_tensor_numel(to) * sizeof(float));
    else
        w->bytes += LV_ROUND_UP(lv_tensor_bytes(to), LV_ALIGN);
}

static int place(LvWeights *w, const Bind *b, LvTensor *to)
{
    if (stays(w, b))
        return place_plain(w, b, to, &to->data);
    return to->fixed == LV_FIXED_LATER ? place_late(w, b, to, &to->data)
                                       : place_decoded(w, b, to, &to->data);
}

static int bind_stored(LvWeights *w, const Bind *b, LvTensor *to)
{
    int plain     = stays(w, b), ret = 0;
    LvDtype dtype = plain ? b->t.t->dtype
                  : (b->row->flags & (LV_W_MATRIX | LV_W_EXACT)) == LV_W_MATRIX && !w->from.plain
                  ? w->from.wide : LV_F32;

    *to = describe(w, b->row, dtype, b->symbols, NULL);
    to->streamed = w->from.streamed && is_of_block(b) && w->from.streamed[b->index];
    to->fixed   &= !to->streamed;
    if (may_wait(w, b, to, plain))
        to->fixed = LV_FIXED_LATER;
    if (!plain || !lies_well(w, b->t.t))
        count(w, to);
    else if (to->fixed == LV_FIXED_LATER)
        w->later = LV_MAX(w->later, lv_tensor_bytes(to));
    if (w->from.loras && (w->from.described || to->fixed == LV_FIXED_LATER))
        ret = lv_loras_note(w->from.loras, b->row, b->index, b->t.t, w->msg);
    if (!w->from.described && ret >= 0)
        ret = place(w, b, to);
    return ret;
}

static int bind_row(LvWeights *w, Bind *b, LvTensor *to)
{
    int ret;

    if (!w->from.src && !w->from.params) {
        *to = describe(w, b->row, b->row->flags & LV_W_MATRIX ? w->from.wide : LV_F32,
                       b->symbols, NULL);
        return 0;
    }
    if (!w->from.src)
        return bind_param(w, b, to);
    if ((ret = lv_stored_find(&b->t, &w->file, b->name)) < 0)
        return ret;
    if (!b->t.t)
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s is missing", path_of(w), b->name);
    if ((ret = check(w, b->row, b->t.t, b->symbols)) < 0)
        return ret;
    return w->from.params ? bind_param(w, b, to) : bind_stored(w, b, to);
}

int lv_weights_bind(LvWeights *w, const LvWeightRow *rows, int nb,
                    const char *prefix, int index, const int *symbols, void *to)
{
    Bind b = { .index = index, .symbols = symbols };
    int ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++) {
        b.row = &rows[i];
        b.t   = (LvStored) { 0 };
        lv_row_name(b.name, prefix, b.row, w->from.layout, index);
        ret = bind_row(w, &b, (LvTensor *)(void *)((char *)to + rows[i].offset));
    }
    return end_upload(w, ret);
}

void lv_weights_skip(LvWeights *w, const char *prefix)
{
    size_t len = strlen(prefix);

    for (int i = 0; i < count_of(w); i++)
        if (!strncmp(lv_source_at(w->from.src, i)->name, prefix, len))
            w->file.used[i] = LV_TAKEN_SKIPPED;
}

void lv_weights_skip_at(LvWeights *w, int i)
{
    w->file.used[i] = LV_TAKEN_SKIPPED;
}

/* Row i of a stored table. */
static int read_row(LvWeights *w, const LvStored *t, int32_t i, float *dst)
{
    size_t cols = (size_t)t->t->dim[1], bytes = t->t->size / (size_t)t->t->dim[0];
    size_t scale = t->scale ? lv_dtype_size(t->scale->dtype) : 0;
    LvFileTensor one = *t->t, at = { 0 };
    LvStored row = { .t = &one, .rows = 1, .cols = (int)cols, .first = i };

    if (i < 0 || i >= t->t->dim[0])
        return lv_fail(w->msg, LV_ERR(EINVAL), "%s: %s has no row %d", path_of(w),
                       t->t->name, i);
    one.dim[0] = 1;
    one.numel  = cols;
    one.size   = bytes;
    one.data   = (const char *)t->t->data + (size_t)i * bytes;
    if (scale) {
        at       = *t->scale;
        at.data  = (const char *)at.data + (size_t)(i / t->rows) * scale;
        row.scale = &at;
    }
    return lv_stored_read(dst, &row, w->from.src, w->msg);
}

int lv_weights_read_rows(LvWeights *w, const LvWeightRow *row, const char *prefix,
                         const int *symbols, const int32_t *ids, int nb, float *dst)
{
    char name[ROWS_NAME];
    LvStored t;
    int ret;

    lv_row_name(name, prefix, row, w->from.layout, 0);
    if ((ret = lv_stored_find(&t, &w->file, name)) < 0)
        return ret;
    if (!t.t)
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s is missing", path_of(w), name);
    if ((ret = check(w, row, t.t, symbols)) < 0)
        return ret;
    for (int i = 0; i < nb && ret >= 0; i++)
        ret = read_row(w, &t, ids[i], dst + (size_t)i * (size_t)t.t->dim[1]);
    lv_source_drop(w->from.src, t.t);
    return ret;
}

size_t lv_weights_bytes(const LvWeights *w)
{
    return w->bytes + w->later;
}

size_t lv_weights_streamed(const LvWeights *w)
{
    return w->streamed;
}

LvTensor lv_weights_slice(LvWeights *w, LvTensor t, int first, int rows)
{
    size_t row = lv_tensor_bytes(&t) / (size_t)t.dim[0];

    t.id     = LV_ID_WEIGHT - w->bound++;
    t.dim[0] = rows;
    t.data   = t.data ? (char *)t.data + (size_t)first * row : NULL;
    return t;
}

int lv_weights_finish(const LvWeights *w)
{
    const char *first = NULL;
    int nb = 0;

    for (int i = 0; i < count_of(w); i++) {
        /* A tensor of no elements says nothing. */
        if (w->file.used[i] || !lv_source_at(w->from.src, i)->numel)
            continue;
        first = nb++ ? first : lv_source_at(w->from.src, i)->name;
    }
    if (!nb)
        return 0;
    return lv_fail(w->msg, LV_ERR_MODEL, "%s: %d tensor%s the model does not know, the "
                   "first is %s", path_of(w), nb, nb > 1 ? "s" : "",
                   first);
}

const LvMsg *lv_weights_msg(const LvWeights *w)
{
    return w->msg;
}

const LvSource *lv_weights_file(const LvWeights *w)
{
    return w->from.src;
}

int lv_weights_layout(const LvWeights *w)
{
    return w->from.layout;
}
