/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/reader.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/weight.h"
#include "base/convert.h"
#include "base/half.h"
#include "base/quant.h"

/* Bytes that are made before they are looked at, while they are near. */
enum { NEAR = 1 << 20 };

static int no_memory(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(ENOMEM), "weights: out of memory");
}

/* Making */

static size_t rows_of(const LvFileTensor *t)
{
    return t->rank ? (size_t)t->dim[0] : 1;
}

/* Whether t is that many rows, each of whole bytes and blocks. */
static int has_rows(const LvFileTensor *t, size_t rows)
{
    return rows && t->size % rows == 0 && t->numel % rows == 0 &&
           t->numel / rows % (size_t)lv_dtype_block(t->dtype) == 0;
}

/* Treat t as a matrix of this many rows, for its scale as well. */
static void set_rows(LvReader *r, size_t rows)
{
    LvStored *s = &r->from.t;

    r->grid.rank   = 2;
    r->grid.dim[0] = (int64_t)rows;
    r->grid.dim[1] = (int64_t)(r->grid.numel / rows);
    s->rows        = (int)rows;
    s->cols        = (int)(r->grid.numel / rows);
}

/* Choose the rows that the file is read by: those of `to` where that can be, which LoRAs of a
 * kernel mean however it is folded; of all others they mean the file's. */
static void choose_rows(LvReader *r)
{
    const LvStored *s = &r->from.t;
    size_t rows = rows_of(s->t);
    int one     = !s->scale || s->scale->numel == 1;

    if (rows == r->units && has_rows(s->t, rows))
        return;
    if (one && has_rows(s->t, r->units) && (!r->from.loras || r->from.row.flags & LV_W_FLAT))
        set_rows(r, r->units);
    else if (!has_rows(s->t, rows))
        set_rows(r, 1);
}

void lv_reader_new(LvReader *r, const LvReaderFrom *from)
{
    const LvTensor *to = &from->to;

    *r = (LvReader) { .from = *from, .file = from->t.t, .grid = *from->t.t };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->made_rows, NULL);
    if (from->loras && !lv_loras_has(from->loras, &from->row, from->index))
        r->from.loras = NULL;
    r->units = from->row.flags & LV_W_FRAMES ? (size_t)to->dim[1]
                                             : lv_tensor_numel(to) / lv_weight_cols(to);
    r->cols  = from->t.t->numel / r->units;
    choose_rows(r);
    if (from->row.flags & LV_W_FLAT && rows_of(&r->grid) == r->units)
        r->file = &r->grid;
    r->from.t.t = &r->grid;
    r->is_whole = rows_of(&r->grid) != r->units ||
                  (r->from.loras && rows_of(&r->grid) != rows_of(r->file));
    r->shares   = from->t.scale || r->from.loras || r->is_whole || lv_reader_tail(r);
}

/* What rows share */

static void close_shared(LvReader *r)
{
    free(r->scales);
    lv_loras_unready(&r->changes);
    lv_freep(&r->whole);
    r->scales = NULL;
    r->open   = 0;
    r->done   = 0;
}

static void forget_failure(LvReader *r)
{
    r->failed = 0;
    free(r->line);
    r->line = NULL;
}

void lv_reader_retry(LvReader *r)
{
    if (!r->shares)
        return;
    pthread_mutex_lock(&r->lock);
    forget_failure(r);
    if (!r->users)
        close_shared(r);
    r->made = r->unmade = 0;
    pthread_mutex_unlock(&r->lock);
}

void lv_reader_free(LvReader *r)
{
    if (!r->from.src)
        return;
    close_shared(r);
    forget_failure(r);
    free(r->row_scales);
    pthread_cond_destroy(&r->made_rows);
    pthread_mutex_destroy(&r->lock);
    *r = (LvReader) { 0 };
}

/* Scales where any thread finds them. */
static int read_scales(LvReader *r, const LvMsg *msg)
{
    const LvFileTensor *from = r->from.t.scale;

    if (!from)
        return 0;
    if (!(r->scales = malloc(from->size)))
        return no_memory(msg);
    r->scale      = *from;
    r->scale.data = r->scales;
    return lv_source_read(r->from.src, from, 0, r->scales, from->size, msg);
}

/* Rows of the file as numbers, before LoRAs. */
static int decode(void *opaque, size_t first, size_t rows, float *dst, const LvMsg *msg)
{
    const LvReader *r = opaque;
    LvStored s = r->from.t;

    if (s.scale)
        s.scale = &r->scale;
    return lv_stored_read_rows(dst, &s, first, rows, r->from.src, msg);
}

static int make(const LvReader *r, size_t first, size_t rows, float *dst, const LvMsg *msg)
{
    int ret = decode((void *)(uintptr_t)r, first, rows, dst, msg);

    return ret < 0 || !r->changes ? ret : lv_loras_change(r->changes, first, rows, dst, msg);
}

static size_t rows_to(const LvReader *r)
{
    return lv_tensor_numel(&r->from.to) / lv_weight_cols(&r->from.to);
}

size_t lv_reader_tail(const LvReader *r)
{
    return lv_dtype_has_scales((LvDtype)r->from.to.dtype) ? sizeof(float) * rows_to(r) : 0;
}

/* Scales of the rows of `to`: those of the file, or room for those that are found. */
static int ready_tail(LvReader *r, const LvMsg *msg)
{
    const LvStored *s = &r->from.t;
    size_t rows = rows_to(r), size = s->scale ? lv_dtype_size(s->scale->dtype) : 0;

    if (!lv_reader_tail(r))
        return 0;
    if (!r->row_scales && !(r->row_scales = malloc(rows * sizeof(*r->row_scales))))
        return no_memory(msg);
    for (size_t i = 0; i < rows && r->from.plain; i++) {
        r->row_scales[i] = 1;
        if (s->scale)
            lv_to_f32(&r->row_scales[i], (char *)r->scales + i / (size_t)s->rows * size,
                      s->scale->dtype, 1);
    }
    return 0;
}

static int decode_whole(LvReader *r, const LvMsg *msg)
{
    if (!r->is_whole)
        return 0;
    if (!(r->whole = lv_alloc(r->grid.numel * sizeof(*r->whole))))
        return no_memory(msg);
    return decode(r, 0, rows_of(&r->grid), r->whole, msg);
}

/* Rows of the file's tensor, which are not those of the grid where the whole is there. */
static int base_rows(void *opaque, size_t first, size_t rows, float *dst, const LvMsg *msg)
{
    const LvReader *r = opaque;
    size_t cols = r->file->numel / rows_of(r->file);

    if (!r->whole)
        return decode(opaque, first, rows, dst, msg);
    memcpy(dst, r->whole + first * cols, rows * cols * sizeof(*dst));
    return 0;
}

static int ready_changes(LvReader *r, const LvMsg *msg)
{
    const LvReaderFrom *f = &r->from;
    int ret;

    if (!f->loras)
        return 0;
    ret = lv_loras_ready(&r->changes, f->loras, &f->row, f->index, r->file,
                         &(LvLoraBase) { base_rows, r }, msg);
    return ret < 0 || !r->whole ? ret
         : lv_loras_change(r->changes, 0, rows_of(r->file), r->whole, msg);
}

static void keep_line(void *opaque, int level, const char *text)
{
    LvReader *r = opaque;

    (void)level;
    if (!r->line)
        r->line = strdup(text);
}

/* What fails once is not tried by each part: all of them fail as the first did. */
static int open_shared(LvReader *r)
{
    const LvMsg msg = { keep_line, r, LV_MSG_ERROR };
    int ret = read_scales(r, &msg);

    if (ret >= 0)
        ret = ready_tail(r, &msg);
    if (ret >= 0)
        ret = decode_whole(r, &msg);
    if (ret >= 0)
        ret = ready_changes(r, &msg);
    if (ret < 0)
        close_shared(r);
    r->failed = LV_MIN(ret, 0);
    r->open   = ret >= 0;
    return ret;
}

/* For who waits for all rows; with the lock. */
static void count_rows(LvReader *r, size_t rows, int ret)
{
    r->made   += ret < 0 ? 0 : rows;
    r->unmade += ret < 0 ? rows : 0;
    pthread_cond_broadcast(&r->made_rows);
}

static int enter(LvReader *r, size_t rows, const LvMsg *msg)
{
    int ret = 0;

    if (!r->shares)
        return 0;
    pthread_mutex_lock(&r->lock);
    if (!r->open)
        ret = r->failed ? r->failed : open_shared(r);
    if (ret < 0 && r->line)
        lv_msg(msg, LV_MSG_ERROR, "%s", r->line);
    r->users += ret >= 0;
    if (ret < 0)
        count_rows(r, rows, ret);
    pthread_mutex_unlock(&r->lock);
    return ret;
}

/* The last part is followed by none. */
static void leave(LvReader *r, size_t rows, int ret)
{
    if (!r->shares)
        return;
    pthread_mutex_lock(&r->lock);
    r->users--;
    r->done += rows;
    if (!r->users && r->done >= rows_to(r))
        close_shared(r);
    count_rows(r, rows, ret);
    pthread_mutex_unlock(&r->lock);
}

/* Scales, once all rows are made: parts begin in order, so that none is waited for which does
 * not begin. */
static int read_tail(LvReader *r, void *dst, const LvMsg *msg)
{
    int all;

    pthread_mutex_lock(&r->lock);
    while (r->made + r->unmade < rows_to(r))
        pthread_cond_wait(&r->made_rows, &r->lock);
    all     = !r->unmade;
    r->made = r->unmade = 0;
    pthread_mutex_unlock(&r->lock);
    if (all)
        memcpy(dst, r->row_scales, lv_reader_tail(r));
    return all ? 0 : lv_fail(msg, LV_ERR_MODEL, "%s: %s: not all rows could be read",
                             lv_source_path(r->from.src), r->grid.name);
}

/* Parts */

/* n values in the type of the tensor, f32 or bf16. */
static int round_to(const LvReader *r, void *dst, const float *src, size_t n, const LvMsg *msg)
{
    uint16_t *to = dst;

    if (r->from.to.dtype == LV_F32) {
        memcpy(dst, src, n * sizeof(*src));
        return 0;
    }
    if (lv_find_nonfinite(src, LV_F32, LV_BF16, n) < n)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s holds a value that is too large for bf16; "
                       "use precision f32", lv_source_path(r->from.src), r->grid.name);
    for (size_t i = 0; i < n; i++)
        to[i] = lv_f32_bf16(src[i]);
    return 0;
}

/* Frame number `frame` of rows [C,T,n], as [C,n]. */
static void take_frame(float *dst, const float *src, const LvTensor *to, size_t frame,
                       size_t rows)
{
    size_t frames = (size_t)to->dim[0], n = (size_t)to->dim[3] * (size_t)to->dim[4];

    rows *= (size_t)to->dim[2];
    for (size_t i = 0; i < rows; i++, dst += n)
        memcpy(dst, src + (i * frames + frame) * n, n * sizeof(*dst));
}

/* Rows [C,k,k] as [C,k+1,k+1], behind a row and a column of zeros. */
static void add_edge(float *dst, const float *src, const LvTensor *to, size_t rows)
{
    size_t k = (size_t)to->dim[2] - 1;

    rows *= (size_t)to->dim[1];
    memset(dst, 0, rows * (k + 1) * (k + 1) * sizeof(*dst));
    for (size_t i = 0; i < rows; i++)
        for (size_t y = 0; y < k; y++)
            memcpy(dst + (i * (k + 1) + y + 1) * (k + 1) + 1, src + (i * k + y) * k,
                   k * sizeof(*dst));
}

/* Of magnitudes; n is a multiple of 16. */
static float largest(const float *x, size_t n)
{
    enum { LANES = 16 };
    float most[LANES] = { 0 }, all = 0;

    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            most[k] = LV_MAX(most[k], fabsf(x[i + k]));
    for (size_t k = 0; k < LANES; k++)
        all = LV_MAX(all, most[k]);
    return all;
}

/* Rows from number `first` on, each with its scale. */
static int quantize(const LvReader *r, size_t first, size_t rows, uint8_t *dst, const float *src,
                    const LvMsg *msg)
{
    size_t cols = lv_weight_cols(&r->from.to);

    if (lv_find_nonfinite(src, LV_F32, LV_F32, rows * cols) < rows * cols)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s holds a value that is not finite",
                       lv_source_path(r->from.src), r->grid.name);

    for (size_t i = 0; i < rows; i++, src += cols, dst += cols) {
        float most = largest(src, cols);

        lv_to_e4m3(dst, src, most >= LV_F8_LEAST ? 448 / most : 0, cols);
        r->row_scales[first + i] = most / 448;
    }
    return 0;
}

/* Rows of `to` from number `first` on, none of another frame: by way of src and, where they
 * are transposed, to. */
static int make_rows(const LvReader *r, size_t first, size_t rows, float *src, float *to,
                     void *dst, const LvMsg *msg)
{
    size_t at = first % r->units;
    int ret = 0;

    if (r->whole)
        memcpy(src, r->whole + at * r->cols, rows * r->cols * sizeof(*src));
    else
        ret = make(r, at, rows, src, msg);
    if (ret < 0)
        return ret;
    if (r->from.row.flags & LV_W_FRAMES)
        take_frame(to, src, &r->from.to, first / r->units, rows);
    else if (r->from.row.flags & LV_W_EDGE)
        add_edge(to, src, &r->from.to, rows);
    if (lv_reader_tail(r))
        return quantize(r, first, rows, dst, src, msg);
    return round_to(r, dst, r->from.row.flags & LV_W_REORDERED ? to : src,
                    rows * lv_weight_cols(&r->from.to), msg);
}

static int read_rows(LvReader *r, size_t first, size_t rows, char *dst, const LvMsg *msg)
{
    const LvTensor *to = &r->from.to;
    size_t row  = lv_weight_row_bytes(to), cols = LV_MAX(r->cols, lv_weight_cols(to));
    size_t some = LV_MIN(LV_MAX(NEAR / (cols * sizeof(float)), 1), rows), n;
    int reordered = !!(r->from.row.flags & LV_W_REORDERED), ret = 0;
    float *tmp    = malloc((size_t)(1 + reordered) * some * cols * sizeof(*tmp));

    if (!tmp)
        return no_memory(msg);
    for (size_t i = 0; i < rows && ret >= 0; i += n) {
        n   = LV_MIN(LV_MIN(some, rows - i), r->units - (first + i) % r->units);
        ret = make_rows(r, first + i, n, tmp, tmp + (reordered ? some * cols : 0),
                        dst + i * row, msg);
    }
    free(tmp);
    return ret;
}

/* Bytes of a block of the file, or of an element. */
static size_t block_bytes(const LvReader *r)
{
    size_t bytes = 0;

    lv_dtype_bytes(&bytes, r->grid.dtype, lv_dtype_block(r->grid.dtype));
    return bytes;
}

static size_t find_nonfinite(const LvReader *r, const void *p, size_t n)
{
    return lv_dtype_block(r->grid.dtype) > 1 ? lv_block_find_nonfinite(p, r->grid.dtype, n)
         : lv_find_nonfinite(p, r->grid.dtype, r->from.as, n);
}

static int read_plain(const LvReader *r, size_t at, size_t bytes, char *dst, const LvMsg *msg)
{
    const LvReaderFrom *f = &r->from;
    size_t size = block_bytes(r), elements = lv_dtype_block(r->grid.dtype), n, bad, nb;
    int ret = 0;

    for (size_t i = 0; i < bytes && ret >= 0; i += n) {
        n   = LV_MIN(bytes - i, (size_t)NEAR / size * size);
        nb  = n / size * elements;
        ret = lv_source_read(f->src, &r->grid, at + i, dst + i, n, msg);
        bad = ret < 0 ? nb : find_nonfinite(r, dst + i, nb);
        if (bad < nb)
            ret = lv_stored_fail(&r->grid, (at + i) / size * elements + bad,
                                 lv_source_path(f->src), msg);
    }
    return ret;
}

size_t lv_reader_unit(const LvReader *r)
{
    return r->from.plain && !lv_reader_tail(r) ? block_bytes(r) : lv_weight_row_bytes(&r->from.to);
}

int lv_reader_read(LvReader *r, size_t at, size_t bytes, void *dst, const LvMsg *msg)
{
    size_t row = lv_weight_row_bytes(&r->from.to);
    int ret;

    assert(dst || !bytes);
    if (r->from.plain && !r->shares)
        return read_plain(r, at, bytes, dst, msg);
    if (lv_reader_tail(r) && at == lv_tensor_numel(&r->from.to))
        return read_tail(r, dst, msg);
    if ((ret = enter(r, bytes / row, msg)) < 0)
        return ret;
    ret = r->from.plain ? read_plain(r, at, bytes, dst, msg)
                        : read_rows(r, at / row, bytes / row, dst, msg);
    leave(r, bytes / row, ret);
    return ret;
}
