/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/weights.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/form.h"
#include "backend/weight.h"
#include "base/convert.h"
#include "base/ring.h"
#include "model/lora.h"
#include "model/reader.h"
#include "model/stored.h"

enum { ROWS_NAME = LV_PARAM_NAME };

/* Bytes that a thread reads at once where no ring is; threads that read. */
enum { HERE = 1 << 20, READERS = 8 };

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

/* A bound tensor. */
typedef struct Item {
    LvWeight w;   /* first, so that an LvWeight * is an Item * */
    LvTensor to;
    LvReader reader; /* src NULL: nothing is behind it */
    int stays, waits; /* as it is stored; until it is packed, see place() */
    struct Item *of; /* of a slice: what it is rows of, from number `first` on */
    size_t first;
    struct Item *next;
} Item;

struct LvWeights {
    LvWeightsFrom from; /* src: NULL when tensors are only described in params */
    LvSource *view;     /* src, when it is ours */
    LvDevice *dev;
    const LvMsg *msg;
    Block *blocks;
    Item *items, **last;
    LvWeightsPlace place;
    LvUpload *own; /* while rows are bound without one of the caller */
    size_t taken;  /* of the caller's room */
    LvStoredFile file; /* what became of its tensors */
    int bound;     /* weights so far, for their ids */
    size_t bytes;  /* of blocks, or what they would take */
    size_t streamed; /* the same of those on the host */
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
        w->from  = *from;
        w->place = from->place;
        w->file = (LvStoredFile) { .src = from->src, .msg = msg,
                                   .used = calloc((size_t)count_of(w) + 1, 1) };
    }
    if (!w || !w->file.used) {
        free(w);
        *out = NULL;
        return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
    }
    w->dev  = dev;
    w->msg  = msg;
    w->last = &w->items;
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

static void evict(LvWeights *w)
{
    for (Item *i = w->items; i; i = i->next)
        lv_forms_evict(&i->w);
}

static void free_item(Item *i)
{
    lv_reader_free(&i->reader);
    free(i);
}

static void free_block(LvWeights *w, Block *b)
{
    if (b->host) {
        lv_device_unpin(w->dev, b->data);
        free(b->data);
    } else {
        lv_device_free(w->dev, b->data);
    }
    free(b);
}

void lv_weights_free(LvWeights **out)
{
    LvWeights *w = *out;

    if (!w)
        return;
    lv_upload_free(&w->own);
    evict(w);
    for (Block *b = w->blocks, *next; b; b = next) {
        next = b->next;
        free_block(w, b);
    }
    for (Item *i = w->items, *next; i; i = next) {
        next = i->next;
        free_item(i);
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
    lv_device_pin(w->dev, *p, bytes);
    return 0;
}

/* Memory of the caller's room. 0 when there is not enough */
static int take_room(LvWeights *w, size_t bytes, void **data)
{
    bytes = LV_ROUND_UP(bytes, LV_ALIGN);
    if (!w->place.room || bytes > w->place.room_bytes - w->taken)
        return 0;
    *data     = (char *)w->place.room + w->taken;
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

/* Reading */

static int fill_job(const LvRingJob *job, void *to, const LvMsg *msg)
{
    return lv_reader_read((LvReader *)(uintptr_t)job->what, job->at, job->bytes, to, msg);
}

static int read_rows_here(const LvWeights *w, LvReader *r, void *to, size_t bytes)
{
    const LvRingJob all = { .fill = fill_job, .what = r, .bytes = bytes };
    size_t unit = lv_reader_unit(r);
    int threads = w->dev->host ? w->dev->threads : LV_MIN(lv_cores(), READERS);

    if (bytes <= HERE)
        return lv_reader_read(r, 0, bytes, to, w->msg);
    return lv_ring_fill(threads, to, LV_MAX(HERE / unit, 1) * unit, &all, w->msg);
}

/* All of a tensor to memory of the host, by threads. */
static int read_here(const LvWeights *w, LvReader *r, void *to, size_t bytes)
{
    size_t tail = lv_reader_tail(r), rows = bytes - tail;
    int ret = read_rows_here(w, r, to, rows);

    return ret < 0 || !tail ? ret : lv_reader_read(r, rows, tail, (char *)to + rows, w->msg);
}

/* That of the caller, or one for the rows that are being bound. */
static int get_upload(LvWeights *w, LvUpload **u)
{
    int ret = w->place.upload || w->own ? 0
            : lv_upload_new(&w->own, w->dev, NULL, NULL, w->msg);

    *u = w->place.upload ? w->place.upload : w->own;
    return ret;
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
                     .dtype = (uint8_t)dtype };

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

/* Placing */

/* Part by part to memory of the device, unless parts are larger than those of the upload: then
 * by way of the host's. */
static int send(LvWeights *w, Item *i, void *to, size_t bytes)
{
    size_t unit = lv_reader_unit(&i->reader), tail = lv_reader_tail(&i->reader), most;
    const LvRingJob rows = { .fill = fill_job, .what = &i->reader, .bytes = bytes - tail,
                             .to = to };
    const LvRingJob behind = { .fill = fill_job, .what = &i->reader, .at = rows.bytes,
                               .bytes = tail, .to = (char *)to + rows.bytes };
    LvUpload *u;
    void *tmp;
    int ret;

    if ((ret = get_upload(w, &u)) < 0 || (ret = lv_upload_slot(u, &most)) < 0)
        return ret;
    if (LV_MAX(unit, tail) <= most) {
        ret = lv_upload_add(u, &rows, unit);
        return ret < 0 || !tail ? ret : lv_upload_add(u, &behind, tail);
    }
    if (!(tmp = lv_alloc(bytes)))
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: no memory for %zu bytes", bytes);
    if ((ret = read_here(w, &i->reader, tmp, bytes)) >= 0)
        ret = lv_device_upload(w->dev, to, tmp, bytes);
    lv_free(tmp);
    return ret;
}

/* Whether data that stay as they are can be used where the file's lie. */
static int lies_well(const LvWeights *w, const LvFileTensor *t)
{
    return w->dev->host && lv_dtype_block(t->dtype) == 1 &&
           (uintptr_t)t->data % lv_dtype_size(t->dtype) == 0;
}

/* In memory of the file, where it stays. */
static int keep(LvWeights *w, Item *i)
{
    const LvFileTensor *t = lv_source_find(w->from.src, i->reader.grid.name);
    int ret = lv_source_load(w->from.src, t, w->msg);
    size_t bad;

    w->file.used[lv_source_index(w->from.src, t)] = LV_TAKEN_KEPT;
    i->w.data = (void *)(uintptr_t)t->data;
    if (ret < 0)
        return ret;
    bad = lv_find_nonfinite(t->data, t->dtype, i->reader.from.as, t->numel);
    return bad == t->numel ? 0 : lv_stored_fail(t, bad, path_of(w), w->msg);
}

/* Have an item's contents where they are wanted: nowhere, when they are read by rows. */
static int place(LvWeights *w, Item *i)
{
    size_t bytes = lv_tensor_bytes(&i->to);
    int ret;

    if (i->of)
        i->w.data = !i->of->w.data ? NULL
                  : (char *)i->of->w.data + i->first * lv_weight_row_bytes(&i->to);
    if (i->of || i->waits)
        return 0;
    if (i->stays && !i->w.streamed && lies_well(w, &i->reader.grid))
        return keep(w, i);
    lv_reader_retry(&i->reader);
    if ((ret = new_block(w, i->w.streamed, bytes, &i->w.data)) < 0)
        return ret;
    return i->w.streamed || w->dev->host ? read_here(w, &i->reader, i->w.data, bytes)
                                         : send(w, i, i->w.data, bytes);
}

int lv_weights_load(LvWeights *w, const LvWeightsPlace *p)
{
    int ret = 0;

    w->from.described = 0;
    w->place          = *p;
    w->taken          = 0;
    for (Item *i = w->items; i && ret >= 0; i = i->next)
        ret = place(w, i);
    w->place = (LvWeightsPlace) { 0 };
    return end_upload(w, ret);
}

int lv_weights_check(const LvWeights *w)
{
    int ret = 0;

    for (const Item *i = w->items; i && ret >= 0; i = i->next)
        if (i->waits && !i->w.forms)
            ret = lv_weight_check(&i->to, w->msg);
    return ret;
}

const LvFileTensor *lv_weights_take(LvWeights *w, const char *name)
{
    return lv_stored_take(&w->file, name);
}

int lv_weights_find(LvWeights *w, LvStored *s, const char *name)
{
    return lv_stored_find(s, &w->file, name);
}

/* Items */

static int read_item(const LvWeight *w, size_t first, size_t rows, void *dst, const LvMsg *msg)
{
    Item *i    = (Item *)(uintptr_t)w;
    size_t row = lv_weight_row_bytes(&i->to);

    if (i->of)
        return read_item(&i->of->w, i->first + first, rows, dst, msg);
    return lv_reader_read(&i->reader, first * row, rows * row, dst, msg);
}

static void retry_item(const LvWeight *w)
{
    Item *i = (Item *)(uintptr_t)w;

    while (i->of)
        i = i->of;
    lv_reader_retry(&i->reader);
}

static Item *new_item(LvWeights *w, const LvTensor *to)
{
    Item *i = calloc(1, sizeof(*i));

    if (!i) {
        lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
        return NULL;
    }
    i->to   = *to;
    *w->last = i;
    w->last  = &i->next;
    return i;
}

/* A tensor as f32, in the order of the file, to memory of the device. */
static int read_param(LvWeights *w, const Bind *b, float *data, size_t n)
{
    LvReaderFrom from = { .src = w->from.src, .t = b->t, .row = *b->row,
                          .to = { .dtype = LV_F32, .rank = 2, .dim = { 1, 1, 1, 1, 1 } } };
    size_t rows = b->t.t->rank ? (size_t)b->t.t->dim[0] : 1;
    float *tmp  = lv_alloc(n * sizeof(*tmp));
    LvReader r;
    int ret;

    if (!tmp)
        return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
    from.row.flags &= ~(unsigned)LV_W_REORDERED;
    from.to.dim[0]  = (int)rows;
    from.to.dim[1]  = (int)(n / rows);
    lv_reader_new(&r, &from);
    ret = read_here(w, &r, tmp, n * sizeof(*tmp));
    lv_reader_free(&r);
    if (ret >= 0)
        ret = lv_device_upload(w->dev, data, tmp, n * sizeof(*tmp));
    lv_free(tmp);
    return ret;
}

/* A weight that is trained: its place in the slabs, filled from the file if any. */
static int bind_param(LvWeights *w, const Bind *b, LvTensor *to)
{
    int64_t dim[LV_MAX_RANK];
    float *data = NULL;
    LvParam *p;
    int ret = 0;

    for (int i = 0; i < rank_of(b->row); i++)
        dim[i] = size_of(b->row, i, b->symbols);
    p = lv_params_add(w->from.params, b->name, rank_of(b->row), dim, b->row->flags);
    if (!p)
        return LV_ERR(ENOMEM);
    if (b->t.t) {
        data = w->from.params->slab[LV_SLAB_VALUE] + p->at;
        ret  = read_param(w, b, data, p->numel);
    }
    *to = p->value = describe(w, b->row, LV_F32, b->symbols, data);
    return ret;
}

/* A matrix of a block that is only multiplied with: one that may be streamed. */
static int is_of_block(const Bind *b)
{
    const unsigned others = LV_W_MAP | LV_W_EXACT | LV_W_FLAT | LV_W_TABLE | LV_W_REORDERED;

    return b->row->flags & LV_W_MATRIX && !(b->row->flags & others) &&
           strstr(b->row->name, "%d") != NULL;
}

static int is_changed(const LvWeights *w, const Bind *b)
{
    return w->from.loras && lv_loras_has(w->from.loras, b->row, b->index);
}

/* Whether LINEAR takes it as F8_E4M3, or as I8. */
static int fits_f8(const Bind *b)
{
    return is_of_block(b) && size_of(b->row, 0, b->symbols) % 16 == 0 &&
           size_of(b->row, 1, b->symbols) % 16 == 0;
}

/* A matrix of small numbers that the device takes as they are: with one scale for a row, or in
 * blocks of a row. */
static int keeps_form(const LvWeights *w, const Bind *b)
{
    const LvStored *s = &b->t;
    size_t block = lv_dtype_block(s->t->dtype);

    if (!w->from.stored || !w->dev->widens || !is_of_block(b) || is_changed(w, b))
        return 0;
    if (s->t->dtype == LV_F8_E4M3 || (s->t->dtype == LV_I8 && !w->from.f8))
        return fits_f8(b) && (!s->scale || s->cols >= size_of(b->row, 1, b->symbols));
    return block > 1 && !w->from.f8 && (size_t)size_of(b->row, 1, b->symbols) % block == 0;
}

/* A matrix of a plain type stays as it is, unless a LoRA changes it. */
static int stays_plain(const LvWeights *w, const Bind *b)
{
    return !(b->row->flags & LV_W_REORDERED) && lv_stored_is_plain(&b->t) && !is_changed(w, b) &&
           !(w->from.f8 && fits_f8(b)) &&
           !(w->from.streamed && is_of_block(b) && b->t.t->dtype != w->from.wide);
}

static int stays(const LvWeights *w, const Bind *b)
{
    return b->row->flags & LV_W_MATRIX && !w->from.plain &&
           (stays_plain(w, b) || keeps_form(w, b));
}

/* The type that a tensor is bound in. */
static LvDtype type_of(const LvWeights *w, const Bind *b)
{
    if (stays(w, b))
        return b->t.t->dtype;
    if (w->from.f8 && !w->from.plain && fits_f8(b))
        return LV_F8_E4M3;
    return (b->row->flags & (LV_W_MATRIX | LV_W_EXACT)) == LV_W_MATRIX && !w->from.plain
         ? w->from.wide : LV_F32;
}

/* Note what memory an item takes that is not the file's. */
static void count(LvWeights *w, const Item *i)
{
    if (i->w.streamed)
        w->streamed += lv_tensor_bytes(&i->to);
    else if (!i->waits && !(i->stays && lies_well(w, &i->reader.grid)))
        w->bytes += LV_ROUND_UP(lv_tensor_bytes(&i->to), LV_ALIGN);
}

static int bind_stored(LvWeights *w, const Bind *b, LvTensor *to)
{
    Item *i;
    int ret = 0;

    *to = describe(w, b->row, type_of(w, b), b->symbols, NULL);
    if (!(i = new_item(w, to)))
        return LV_ERR(ENOMEM);
    i->stays      = stays(w, b);
    i->w.streamed = w->from.streamed && is_of_block(b) && w->from.streamed[b->index];
    i->waits      = w->dev->packs && !w->from.plain && !i->w.streamed &&
                    (b->row->flags & (LV_W_MATRIX | LV_W_TABLE)) == LV_W_MATRIX;
    i->w.read     = i->waits ? read_item : NULL;
    i->w.retry    = retry_item;
    i->to.w = to->w = w->from.plain ? NULL : &i->w;
    lv_reader_new(&i->reader, &(LvReaderFrom) {
        .src = w->from.src, .loras = w->from.loras, .t = b->t, .row = *b->row,
        .index = b->index, .to = *to, .plain = i->stays,
        .as = b->row->flags & LV_W_EXACT ? LV_F32 : w->from.wide });
    count(w, i);
    if (w->from.loras)
        ret = lv_loras_note(w->from.loras, b->row, b->index, i->reader.file, w->msg);
    if (!w->from.described && ret >= 0)
        ret = place(w, i);
    to->data = i->w.data;
    return ret;
}

/* Without a file. */
static int bind_described(LvWeights *w, const Bind *b, LvTensor *to)
{
    Item *i;

    *to = describe(w, b->row, b->row->flags & LV_W_MATRIX ? w->from.wide : LV_F32, b->symbols,
                   NULL);
    if (!(i = new_item(w, to)))
        return LV_ERR(ENOMEM);
    to->w = i->to.w = &i->w;
    return 0;
}

static int bind_row(LvWeights *w, Bind *b, LvTensor *to)
{
    int ret;

    if (!w->from.src && !w->from.params)
        return bind_described(w, b, to);
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

    assert(nb >= 0 && to);
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
    return w->bytes;
}

size_t lv_weights_streamed(const LvWeights *w)
{
    return w->streamed;
}

int lv_weights_slice(LvTensor *part, LvWeights *w, LvTensor t, int first, int rows)
{
    Item *of = (Item *)t.w, *i;

    assert(first >= 0 && rows >= 1 && first + rows <= t.dim[0] && !lv_tensor_is_stored(&t));
    t.id     = LV_ID_WEIGHT - w->bound++;
    t.dim[0] = rows;
    t.data   = t.data ? (char *)t.data + (size_t)first * lv_weight_row_bytes(&t) : NULL;
    *part    = t;
    if (!of)
        return 0;
    if (!(i = new_item(w, &t)))
        return LV_ERR(ENOMEM);
    i->of     = of;
    i->first  = (size_t)first;
    i->w.data = t.data;
    i->w.read  = of->w.read;
    i->w.retry = of->w.retry;
    part->w = i->to.w = &i->w;
    return 0;
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
