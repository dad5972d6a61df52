/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/lora_change.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"

#define EACH(...) (const int[]) { __VA_ARGS__, -1 }

static int missing(const LvFileTensor *has, const char *what, const char *file,
                   const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s lacks its other half%s", file,
                   has->name, what);
}

/* Sizes */

static size_t rows_of(const LvFileTensor *t)
{
    return t->rank ? (size_t)t->dim[0] : 1;
}

static size_t cols_of(const LvFileTensor *t)
{
    return rows_of(t) ? t->numel / rows_of(t) : 0;
}

/* Elements of a kernel's place: of all dimensions behind the second. */
static size_t places_of(const LvFileTensor *t)
{
    size_t n = 1;

    for (int i = 2; i < t->rank; i++)
        n *= (size_t)t->dim[i];
    return n;
}

/* Factors a b of a matrix, with a kernel between them or without. */
typedef struct Factors {
    const LvFileTensor *whole, *a, *b, *t; /* whole, or a and b */
} Factors;

static size_t factor_rank(const Factors *f)
{
    return f->whole ? 0 : rows_of(f->b);
}

/* Size of the product; 0 rows when the factors do not agree. */
static void factor_size(const Factors *f, size_t *rows, size_t *cols)
{
    size_t r = factor_rank(f), inner;

    if (f->whole) {
        *rows = rows_of(f->whole);
        *cols = cols_of(f->whole);
        return;
    }
    *rows = f->t ? cols_of(f->a) : rows_of(f->a);
    *cols = cols_of(f->b) * (f->t ? places_of(f->t) : 1);
    inner = f->t ? rows_of(f->a) : cols_of(f->a);
    if (!r || (f->t ? f->t->rank < 2 || rows_of(f->t) != inner || (size_t)f->t->dim[1] != r
                    : inner != r))
        *rows = 0;
}

/* Kinds */

enum { NONE, PAIR, HADA, KRON };

static int kind_of(const LvLoraParts p)
{
    return p[LV_LORA_DOWN] || p[LV_LORA_UP] ? PAIR
         : p[LV_LORA_HADA_1A] || p[LV_LORA_HADA_1B] ? HADA
         : p[LV_LORA_KRON_1] || p[LV_LORA_KRON_1A] ? KRON : NONE;
}

/* The factors that D is made of: one of PAIR, two of the others. */
static int factors_of(Factors f[2], const LvLoraParts p)
{
    int kind = kind_of(p);

    f[0] = f[1] = (Factors) { 0 };
    if (kind == PAIR) {
        f[0] = (Factors) { NULL, p[LV_LORA_UP], p[LV_LORA_DOWN], NULL };
    } else if (kind == HADA) {
        f[0] = (Factors) { NULL, p[LV_LORA_HADA_1A], p[LV_LORA_HADA_1B], p[LV_LORA_HADA_T1] };
        f[1] = (Factors) { NULL, p[LV_LORA_HADA_2A], p[LV_LORA_HADA_2B], p[LV_LORA_HADA_T2] };
    } else if (kind == KRON) {
        f[0] = (Factors) { p[LV_LORA_KRON_1], p[LV_LORA_KRON_1A], p[LV_LORA_KRON_1B], NULL };
        f[1] = (Factors) { p[LV_LORA_KRON_2], p[LV_LORA_KRON_2A], p[LV_LORA_KRON_2B],
                           p[LV_LORA_KRON_T2] };
    }
    return kind;
}

/* Which tensors go together: where one is, all are. */
static const struct {
    const int *parts;
    const char *what;
} halves[] = {
    { EACH(LV_LORA_DOWN, LV_LORA_UP), "" },
    { EACH(LV_LORA_HADA_1A, LV_LORA_HADA_1B, LV_LORA_HADA_2A, LV_LORA_HADA_2B),
      ": LoHa has hada_w1_a, hada_w1_b, hada_w2_a and hada_w2_b" },
    { EACH(LV_LORA_HADA_T1, LV_LORA_HADA_T2), "" },
    { EACH(LV_LORA_KRON_1A, LV_LORA_KRON_1B), "" },
    { EACH(LV_LORA_KRON_2A, LV_LORA_KRON_2B), "" },
};

static const LvFileTensor *first_of(const LvLoraParts p, const int *parts)
{
    for (; *parts >= 0; parts++)
        if (p[*parts])
            return p[*parts];
    return NULL;
}

static int check_halves(const LvLoraParts p, const char *file, const LvMsg *msg)
{
    for (int i = 0; i < LV_COUNT(halves); i++) {
        const LvFileTensor *has = first_of(p, halves[i].parts);
        for (const int *k = halves[i].parts; has && *k >= 0; k++)
            if (!p[*k])
                return missing(has, halves[i].what, file, msg);
    }
    return 0;
}

/* Tensors that change nothing without others. */
static int check_needs(const LvLoraParts p, const char *file, const LvMsg *msg)
{
    const int *kron[2] = { EACH(LV_LORA_KRON_1, LV_LORA_KRON_1A),
                           EACH(LV_LORA_KRON_2, LV_LORA_KRON_2A, LV_LORA_KRON_T2) };
    const LvFileTensor *k1 = first_of(p, kron[0]), *k2 = first_of(p, kron[1]);
    const LvFileTensor *more = p[LV_LORA_ALPHA] ? p[LV_LORA_ALPHA] : p[LV_LORA_DORA];

    if (!k1 != !k2)
        return missing(k1 ? k1 : k2, ": LoKr has lokr_w1 and lokr_w2", file, msg);
    if ((p[LV_LORA_KRON_1] && p[LV_LORA_KRON_1A]) || (p[LV_LORA_KRON_2] && p[LV_LORA_KRON_2A]))
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is given both whole and as two factors", file,
                       p[LV_LORA_KRON_1A] ? k1->name : k2->name);
    if (p[LV_LORA_HADA_T1] && !p[LV_LORA_HADA_1A])
        return missing(p[LV_LORA_HADA_T1], "", file, msg);
    if (p[LV_LORA_KRON_T2] && !p[LV_LORA_KRON_2A])
        return missing(p[LV_LORA_KRON_T2], "", file, msg);
    if (more && !kind_of(p) && (more == p[LV_LORA_ALPHA] ? !p[LV_LORA_DIFF] : 1))
        return missing(more, ": there is no lora_A, hada_ or lokr_ beside it", file, msg);
    return 0;
}

int lv_lora_check_parts(const LvLoraParts p, const char *file, const LvMsg *msg)
{
    const LvFileTensor *alpha = p[LV_LORA_ALPHA];
    size_t rows, cols;
    Factors f[2];
    int kinds = (p[LV_LORA_DOWN] != NULL) + (p[LV_LORA_HADA_1A] != NULL) +
                (p[LV_LORA_KRON_1] || p[LV_LORA_KRON_1A]);
    int ret;

    if ((ret = check_halves(p, file, msg)) < 0 || (ret = check_needs(p, file, msg)) < 0)
        return ret;
    if (alpha && alpha->numel != 1)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s is not one number", file, alpha->name);
    factors_of(f, p);
    for (int i = 0; i < 2; i++) {
        if (!f[i].whole && !f[i].a)
            continue;
        factor_size(&f[i], &rows, &cols);
        if (!rows || !cols || (!f[i].whole && (f[i].a->rank < 2 || f[i].b->rank < 2)))
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s and %s have different ranks", file,
                           (f[i].whole ? f[i].whole : f[i].b)->name,
                           (f[i].whole ? f[i].whole : f[i].a)->name);
    }
    if (kinds > 1)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s: the layer is changed in two ways, LoRA, LoHa "
                       "or LoKr", file, (f[0].a ? f[0].a : f[0].whole)->name);
    return 0;
}

/* Shapes */

static int misfit(const LvFileTensor *a, const LvFileTensor *b, const LvFileTensor *t,
                  const char *file, const LvMsg *msg)
{
    char sa[LV_SHAPE_SIZE], sb[LV_SHAPE_SIZE], st[LV_SHAPE_SIZE];

    lv_shape_text(sa, a->rank, a->dim);
    lv_shape_text(st, t->rank, t->dim);
    if (a == b)
        return lv_fail(msg, LV_ERR_MODEL, "%s: %s, %s, does not fit %s of the model, %s "
                       "(made for a model of another size?)", file, a->name, sa, t->name, st);
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s, %s, and %s, %s, do not fit %s of the model, %s "
                   "(made for a model of another size?)", file, a->name, sa, b->name,
                   lv_shape_text(sb, b->rank, b->dim), t->name, st);
}

/* Size of D. */
static void change_size(const LvLoraParts p, size_t *rows, size_t *cols)
{
    Factors f[2];
    int kind = factors_of(f, p);
    size_t r, c;

    factor_size(&f[0], rows, cols);
    if (kind == PAIR)
        return;
    factor_size(&f[1], &r, &c);
    if (kind == KRON) {
        *rows *= r;
        *cols *= c;
    } else if (r != *rows || c != *cols) {
        *rows = 0;
    }
}

/* Magnitudes are [out,1] or [out], one a row, or [1,in], one a column, which stands for all
 * places of a kernel. */
static int is_by_column(const LvFileTensor *m)
{
    return m->rank > 1 && rows_of(m) == 1 && m->numel > 1;
}

static int magnitudes_fit(const LvFileTensor *m, size_t rows, size_t cols)
{
    return m->numel && (is_by_column(m) ? cols % m->numel == 0 : m->numel == rows);
}

/* The first dimension that is not 1. */
static int64_t first_dim(const LvFileTensor *t)
{
    int i = 0;

    while (i + 1 < t->rank && t->dim[i] == 1)
        i++;
    return t->rank ? t->dim[i] : 1;
}

int lv_lora_check_shape(const LvLoraParts p, const LvFileTensor *t, const char *file,
                        const LvMsg *msg)
{
    size_t rows, cols;
    Factors f[2];
    int kind = factors_of(f, p);
    const LvFileTensor *diff = p[LV_LORA_DIFF], *dora = p[LV_LORA_DORA];

    if (diff && (diff->numel != t->numel || first_dim(diff) != first_dim(t)))
        return misfit(diff, diff, t, file, msg);
    if (kind == NONE)
        return 0;
    change_size(p, &rows, &cols);
    if (!rows || rows != rows_of(t) || cols != cols_of(t))
        return misfit(f[0].b ? f[0].b : f[0].whole,
                      kind == PAIR ? f[0].a : f[1].a ? f[1].a : f[1].whole, t, file, msg);
    return !dora || magnitudes_fit(dora, rows, cols) ? 0 : misfit(dora, dora, t, file, msg);
}

/* Sums */

/* Factors as numbers. */
typedef struct Matrix {
    float *a, *b;      /* [rows, r] and [r, cols]; a NULL: b is the matrix */
    size_t rows, cols, r;
} Matrix;

static int out_of_memory(const LvMsg *msg)
{
    return lv_fail(msg, LV_ERR(ENOMEM), "LoRA: out of memory");
}

static float *numbers(const LvFileTensor *t)
{
    float *x = lv_alloc(t->numel * sizeof(*x));

    if (x)
        lv_to_f32(x, t->data, t->dtype, t->numel);
    return x;
}

static void free_matrix(Matrix *m)
{
    lv_freep(&m->a);
    lv_freep(&m->b);
}

/* dst[q,x] += a sum_j t[j,x] b[j,q], t being one slice of the kernel. */
static void add_places(float *dst, const float *t, const float *b, float a, size_t r,
                       size_t cols, size_t places)
{
    for (size_t j = 0; j < r; j++)
        for (size_t q = 0; q < cols; q++)
            for (size_t x = 0; x < places; x++)
                dst[q * places + x] += a * t[j * places + x] * b[j * cols + q];
}

/* All of w[p,q,x] = sum t[i,j,x] a[i,p] b[j,q]. */
static int read_kernel(Matrix *m, const Factors *f)
{
    size_t inner = rows_of(f->a), r = rows_of(f->b), places = places_of(f->t);
    float *a = numbers(f->a), *b = numbers(f->b), *t = numbers(f->t);

    m->b = lv_alloc(m->rows * m->cols * sizeof(*m->b));
    for (size_t p = 0; a && b && t && m->b && p < m->rows; p++)
        for (size_t i = 0; i < inner; i++)
            add_places(m->b + p * m->cols, t + i * r * places, b, a[i * m->rows + p], r,
                       cols_of(f->b), places);
    lv_free(a);
    lv_free(b);
    lv_free(t);
    return a && b && t && m->b ? 0 : -1;
}

static int read_matrix(Matrix *m, const Factors *f)
{
    factor_size(f, &m->rows, &m->cols);
    m->r = factor_rank(f);
    if (f->t)
        return read_kernel(m, f);
    if (f->a && !(m->a = numbers(f->a)))
        return -1;
    return (m->b = numbers(f->a ? f->b : f->whole)) ? 0 : -1;
}

/* Row i of a matrix in dst. */
static void read_row(float *dst, const Matrix *m, size_t i)
{
    if (!m->a) {
        memcpy(dst, m->b + i * m->cols, m->cols * sizeof(*dst));
        return;
    }
    memset(dst, 0, m->cols * sizeof(*dst));
    for (size_t k = 0; k < m->r; k++) {
        float a = m->a[i * m->r + k];
        const float *row = m->b + k * m->cols;
        for (size_t c = 0; c < m->cols; c++)
            dst[c] += a * row[c];
    }
}

/* Scale of D but for the weight: alpha over rank. */
typedef struct Scale {
    float alpha, rank;
} Scale;

struct LvLoraChange {
    int kind;
    Matrix m[2];
    size_t rows, cols; /* of the matrix */
    Scale s;
    float weight;
    float *diff;       /* all elements; NULL: none */
    float *gain;       /* DoRA's magnitudes; by column, divided by norms once they are known */
    double *sum;       /* by column: squares of V */
    size_t places;     /* by column: columns that a magnitude is for; else 0 */
    size_t gains;
};

/* A row of D, and room to make it: [cols] each. */
typedef struct Lines {
    float *row, *more;
} Lines;

/* Row i of D, without its scale, in l->row. */
static void make_row(const LvLoraChange *c, Lines *l, size_t i)
{
    const Matrix *m = &c->m[1];
    size_t n = m->cols;

    if (c->kind == KRON) {
        const Matrix *outer = &c->m[0];

        read_row(l->more, outer, i / m->rows);
        /* The inner row is made in the last place, which is used last. */
        read_row(l->row + c->cols - n, m, i % m->rows);
        for (size_t k = 0; k < outer->cols; k++)
            for (size_t j = 0; j < n; j++)
                l->row[k * n + j] = l->more[k] * l->row[c->cols - n + j];
        return;
    }
    read_row(l->row, &c->m[0], i);
    if (c->kind == PAIR)
        return;
    read_row(l->more, m, i);
    for (size_t k = 0; k < c->cols; k++)
        l->row[k] *= l->more[k];
}

static Scale scale_of(const LvLoraParts p)
{
    const LvFileTensor *t = p[LV_LORA_ALPHA];
    Factors f[2];
    float rank, alpha;
    int kind = factors_of(f, p);
    size_t r = factor_rank(&f[0]);

    if (kind == KRON && !r)
        r = factor_rank(&f[1]);
    rank = alpha = r ? (float)r : 1;
    if (t && r)
        lv_to_f32(&alpha, t->data, t->dtype, 1);
    return (Scale) { alpha, rank };
}

static float step_of(const LvLoraChange *c)
{
    return c->s.alpha / c->s.rank;
}

/* Making */

void lv_lora_change_free(LvLoraChange **out)
{
    LvLoraChange *c = *out;

    if (!c)
        return;
    free_matrix(&c->m[0]);
    free_matrix(&c->m[1]);
    lv_free(c->diff);
    lv_free(c->gain);
    lv_free(c->sum);
    free(c);
    *out = NULL;
}

static int read_dora(LvLoraChange *c, const LvFileTensor *m)
{
    c->gains = m->numel;
    c->gain  = numbers(m);
    if (!c->gain || !is_by_column(m))
        return c->gain ? 0 : -1;
    c->places = c->cols / m->numel;
    c->sum    = lv_alloc(m->numel * sizeof(*c->sum));
    return c->sum ? 0 : -1;
}

static int read_change(LvLoraChange *c, const LvLoraParts p)
{
    Factors f[2];

    if (p[LV_LORA_DIFF] && !(c->diff = numbers(p[LV_LORA_DIFF])))
        return -1;
    if ((c->kind = factors_of(f, p)) == NONE)
        return 0;
    c->s = scale_of(p);
    if (read_matrix(&c->m[0], &f[0]) < 0 || (c->kind != PAIR && read_matrix(&c->m[1], &f[1]) < 0))
        return -1;
    return p[LV_LORA_DORA] ? read_dora(c, p[LV_LORA_DORA]) : 0;
}

int lv_lora_change_new(LvLoraChange **out, const LvLoraParts p, const LvFileTensor *t,
                       float weight, const LvMsg *msg)
{
    LvLoraChange *c = *out = calloc(1, sizeof(*c));

    if (!c)
        return out_of_memory(msg);
    c->weight = weight;
    c->rows   = rows_of(t);
    c->cols   = cols_of(t);
    if (read_change(c, p) >= 0)
        return 0;
    lv_lora_change_free(out);
    return out_of_memory(msg);
}

/* Changing */

static void add_row(const LvLoraChange *c, const Lines *l, float *data)
{
    float scale = c->weight * c->s.alpha / c->s.rank;

    for (size_t k = 0; k < c->cols; k++)
        data[k] += scale * l->row[k];
}

/* Squares of V = W + s D. */
static void sum_row(const LvLoraChange *c, const Lines *l, const float *data, double *sum)
{
    float scale = step_of(c);

    for (size_t k = 0; k < c->cols; k++) {
        double v = (double)data[k] + (double)scale * l->row[k];
        sum[c->places ? k / c->places : 0] += v * v;
    }
}

/* W += weight (m V / |V| - W). gain: m / |V| of the row, or of columns */
static void turn_row(const LvLoraChange *c, const Lines *l, float *data, const float *gain)
{
    float scale = step_of(c);

    for (size_t k = 0; k < c->cols; k++) {
        float v = data[k] + scale * l->row[k];
        data[k] += c->weight * (gain[c->places ? k / c->places : 0] * v - data[k]);
    }
}

static void change_row(const LvLoraChange *c, Lines *l, size_t i, float *data)
{
    double sum = 0;
    float gain;

    make_row(c, l, i);
    if (!c->gain) {
        add_row(c, l, data);
    } else if (c->places) {
        turn_row(c, l, data, c->gain);
    } else {
        sum_row(c, l, data, &sum);
        gain = c->gain[i] / ((float)sqrt(sum) + FLT_EPSILON);
        turn_row(c, l, data, &gain);
    }
}

static int new_lines(Lines *l, const LvLoraChange *c, const LvMsg *msg)
{
    l->row  = lv_alloc(2 * c->cols * sizeof(*l->row));
    l->more = l->row + (l->row ? c->cols : 0);
    return l->row ? 0 : out_of_memory(msg);
}

int lv_lora_change_rows(const LvLoraChange *c, size_t first, size_t rows, float *data,
                        const LvMsg *msg)
{
    size_t at = first * c->cols;
    Lines l;
    int ret = c->kind == NONE ? 0 : new_lines(&l, c, msg);

    for (size_t i = 0; i < rows && c->kind != NONE && ret >= 0; i++)
        change_row(c, &l, first + i, data + i * c->cols);
    if (c->kind != NONE)
        lv_free(l.row);
    for (size_t i = 0; i < rows * c->cols && c->diff && ret >= 0; i++)
        data[i] += c->weight * c->diff[at + i];
    return ret;
}

int lv_lora_change_looks(const LvLoraChange *c)
{
    return c->sum != NULL;
}

int lv_lora_change_look(LvLoraChange *c, size_t first, size_t rows, const float *data,
                        const LvMsg *msg)
{
    Lines l;
    int ret = new_lines(&l, c, msg);

    for (size_t i = 0; i < rows && ret >= 0; i++) {
        make_row(c, &l, first + i);
        sum_row(c, &l, data + i * c->cols, c->sum);
    }
    lv_free(l.row);
    for (size_t i = 0; i < c->gains && ret >= 0 && first + rows == c->rows; i++)
        c->gain[i] /= (float)sqrt(c->sum[i]) + FLT_EPSILON;
    return ret;
}
