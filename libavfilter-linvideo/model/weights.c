/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_NAME = LV_PARAM_NAME };

/* What became of a tensor of the file. */
enum { UNUSED, BOUND, SKIPPED };

/* Memory of bound tensors that are not in the mapping. */
typedef struct Block {
    void *data;
    size_t bytes;
    struct Block *next;
} Block;

struct LvWeights {
    const LvSafetensors *st;
    LvDevice *dev;
    const LvMsg *msg;
    LvParams *params; /* NULL: not for training */
    int plain;        /* all as f32, not fixed */
    Block *blocks;
    uint8_t *used; /* UNUSED, BOUND or SKIPPED, of each tensor of the file */
    int bound;     /* weights so far, for their ids */
};

static int count_of(const LvSafetensors *st)
{
    return st ? lv_safetensors_count(st) : 0;
}

int lv_weights_new(LvWeights **out, const LvSafetensors *st, LvDevice *dev,
                   const LvMsg *msg)
{
    LvWeights *w = *out = calloc(1, sizeof(*w));

    if (w)
        w->used = calloc((size_t)count_of(st) + 1, 1);
    if (!w || !w->used) {
        free(w);
        *out = NULL;
        return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
    }
    w->st  = st;
    w->dev = dev;
    w->msg = msg;
    return 0;
}

int lv_weights_new_params(LvWeights **w, LvParams *p, const LvSafetensors *st,
                          LvDevice *dev, const LvMsg *msg)
{
    int ret = lv_weights_new(w, st, dev, msg);

    if (ret >= 0)
        (*w)->params = p;
    return ret;
}

int lv_weights_new_plain(LvWeights **w, const LvSafetensors *st, LvDevice *dev,
                         const LvMsg *msg)
{
    int ret = lv_weights_new(w, st, dev, msg);

    if (ret >= 0)
        (*w)->plain = 1;
    return ret;
}

void lv_weights_forget(LvWeights *w)
{
    for (int i = 0; i < count_of(w->st); i++) {
        const LvFileTensor *t = lv_safetensors_at(w->st, i);
        if (w->used[i] == BOUND)
            w->dev->fn->forget(w->dev, t->data, t->size);
    }
    for (Block *b = w->blocks; b; b = b->next)
        w->dev->fn->forget(w->dev, b->data, b->bytes);
}

void lv_weights_free(LvWeights **out)
{
    LvWeights *w = *out;

    if (!w)
        return;
    lv_weights_forget(w);
    for (Block *b = w->blocks, *next; b; b = next) {
        next = b->next;
        w->dev->fn->free(w->dev, b->data);
        free(b);
    }
    free(w->used);
    free(w);
    *out = NULL;
}

static void *new_block(LvWeights *w, size_t bytes)
{
    Block *b = calloc(1, sizeof(*b));

    if (!b)
        lv_msg(w->msg, LV_MSG_ERROR, "weights: out of memory");
    if (!b || lv_device_alloc(w->dev, &b->data, bytes, "weights") < 0) {
        free(b);
        return NULL;
    }
    b->bytes  = bytes;
    b->next   = w->blocks;
    w->blocks = b;
    return b->data;
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

static void shape_text(char *buf, size_t size, int rank, const int64_t *dim)
{
    size_t n = (size_t)snprintf(buf, size, "[");

    for (int i = 0; i < rank && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? "," : "",
                              (long long)dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "]");
}

static int check(const LvWeights *w, const LvWeightRow *row, const LvFileTensor *t,
                 const int *symbols)
{
    int64_t want[LV_MAX_RANK];
    int rank = rank_of(row), same = t->rank == rank;
    char has[128], wants[128];

    for (int i = 0; i < rank; i++) {
        want[i] = size_of(row, i, symbols);
        same    = same && t->dim[i] == want[i];
    }
    if (!same) {
        shape_text(has, sizeof(has), t->rank, t->dim);
        shape_text(wants, sizeof(wants), rank, want);
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s: file has %s, model wants %s",
                       lv_safetensors_path(w->st), t->name, has, wants);
    }
    if (t->dtype != LV_F32 && t->dtype != LV_BF16 && t->dtype != LV_F16)
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s: file has type %s, model wants "
                       "F32, BF16 or F16", lv_safetensors_path(w->st), t->name,
                       lv_dtype_name(t->dtype));
    return 0;
}

/* Data on the device: as f32, or as it is. */
static void *place(LvWeights *w, const LvFileTensor *t, int as_f32)
{
    size_t bytes = as_f32 ? t->numel * sizeof(float) : t->size;
    const void *src = t->data;
    float *tmp = NULL;
    void *data;

    if (!as_f32 && w->dev->host && (uintptr_t)t->data % lv_dtype_size(t->dtype) == 0)
        return (void *)t->data;
    if (!(data = new_block(w, bytes)))
        return NULL;
    if (as_f32) {
        if (!(tmp = lv_alloc(bytes))) {
            lv_msg(w->msg, LV_MSG_ERROR, "weights: no memory for %zu bytes", bytes);
            return NULL;
        }
        lv_to_f32(tmp, t->data, t->dtype, t->numel);
        src = tmp;
    }
    if (w->dev->fn->upload(w->dev, data, src, bytes) < 0)
        data = NULL;
    lv_free(tmp);
    return data;
}

static LvTensor describe(LvWeights *w, const LvWeightRow *row, LvDtype dtype,
                         const int *symbols, void *data)
{
    int rank = rank_of(row), skip = row->flags & LV_W_INNER ? 1 : 0;
    LvTensor out = { .data = data, .id = LV_ID_WEIGHT - w->bound++,
                     .dtype = (uint8_t)dtype, .fixed = !w->params && !w->plain };

    out.rank = (uint8_t)(row->flags & LV_W_FLAT ? 2 : rank - skip);
    for (int i = 0; i < LV_MAX_RANK; i++)
        out.dim[i] = i + skip < rank ? size_of(row, i + skip, symbols) : 1;
    for (int i = 2; i < LV_MAX_RANK && row->flags & LV_W_FLAT; i++) {
        out.dim[1] *= out.dim[i];
        out.dim[i]  = 1;
    }
    return out;
}

/* File order is name order, so the index is found by halving as find() does. */
static int index_of(const LvSafetensors *st, const LvFileTensor *t)
{
    int lo = 0, hi = lv_safetensors_count(st) - 1;

    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (strcmp(lv_safetensors_at(st, mid)->name, t->name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const LvFileTensor *lv_weights_take(LvWeights *w, const char *name)
{
    const LvFileTensor *t = lv_safetensors_find(w->st, name);

    if (t)
        w->used[index_of(w->st, t)] = BOUND;
    return t;
}

/* prefix + row's name, with the index put in for "%d". */
static void full_name(char *name, const char *prefix, const char *row, int index)
{
    const char *mark = strstr(row, "%d");

    if (mark)
        snprintf(name, ROWS_NAME, "%s%.*s%d%s", prefix, (int)(mark - row), row, index,
                 mark + 2);
    else
        snprintf(name, ROWS_NAME, "%s%s", prefix, row);
}

/* A weight that is trained: its place in the slabs, filled from the file if any. */
static int bind_param(LvWeights *w, const LvWeightRow *row, const char *name,
                      const int *symbols, const LvFileTensor *t, LvTensor *to)
{
    int64_t dim[LV_MAX_RANK];
    float *tmp = NULL, *data = NULL;
    LvParam *p;
    int ret = 0;

    for (int i = 0; i < rank_of(row); i++)
        dim[i] = size_of(row, i, symbols);
    if (!(p = lv_params_add(w->params, name, rank_of(row), dim, row->flags)))
        return LV_ERR(ENOMEM);
    if (t) {
        data = w->params->slab[LV_SLAB_VALUE] + p->at;
        if (!(tmp = lv_alloc(p->numel * sizeof(*tmp))))
            return lv_fail(w->msg, LV_ERR(ENOMEM), "weights: out of memory");
        lv_to_f32(tmp, t->data, t->dtype, t->numel);
        ret = w->dev->fn->upload(w->dev, data, tmp, p->numel * sizeof(*tmp));
        lv_free(tmp);
    }
    *to = p->value = describe(w, row, LV_F32, symbols, data);
    return ret;
}

static int bind_row(LvWeights *w, const LvWeightRow *row, const char *name,
                    const int *symbols, LvTensor *to)
{
    const LvFileTensor *t = w->st ? lv_weights_take(w, name) : NULL;
    int matrix = row->flags & LV_W_MATRIX && !w->plain;
    void *data;
    int ret;

    if (!w->st)
        return bind_param(w, row, name, symbols, NULL, to);

    if (!t)
        return lv_fail(w->msg, LV_ERR_MODEL, "%s: %s is missing",
                       lv_safetensors_path(w->st), name);
    if ((ret = check(w, row, t, symbols)) < 0)
        return ret;
    if (w->params)
        return bind_param(w, row, name, symbols, t, to);
    if (!(data = place(w, t, !matrix)))
        return LV_ERR(ENOMEM);
    *to = describe(w, row, matrix ? t->dtype : LV_F32, symbols, data);
    return 0;
}

int lv_weights_bind(LvWeights *w, const LvWeightRow *rows, int nb,
                    const char *prefix, int index, const int *symbols, void *to)
{
    char name[ROWS_NAME];
    int ret = 0;

    for (int i = 0; i < nb && ret >= 0; i++) {
        full_name(name, prefix, rows[i].name, index);
        ret = bind_row(w, &rows[i], name, symbols,
                       (LvTensor *)(void *)((char *)to + rows[i].offset));
    }
    return ret;
}

void lv_weights_skip(LvWeights *w, const char *prefix)
{
    size_t len = strlen(prefix);

    for (int i = 0; i < lv_safetensors_count(w->st); i++)
        if (!strncmp(lv_safetensors_at(w->st, i)->name, prefix, len))
            w->used[i] = SKIPPED;
}

int lv_weights_finish(const LvWeights *w)
{
    const char *first = NULL;
    int nb = 0;

    for (int i = 0; i < count_of(w->st); i++) {
        if (w->used[i])
            continue;
        first = nb++ ? first : lv_safetensors_at(w->st, i)->name;
    }
    if (!nb)
        return 0;
    return lv_fail(w->msg, LV_ERR_MODEL, "%s: %d tensor%s the model does not know, the "
                   "first is %s", lv_safetensors_path(w->st), nb, nb > 1 ? "s" : "",
                   first);
}

const LvMsg *lv_weights_msg(const LvWeights *w)
{
    return w->msg;
}

const LvSafetensors *lv_weights_file(const LvWeights *w)
{
    return w->st;
}
