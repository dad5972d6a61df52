/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ops_ref.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/half.h"
#include "tests/ops_ref_grad.h"

double *ref_zeros(size_t n)
{
    double *p = calloc(n ? n : 1, sizeof(*p));

    if (!p)
        abort();
    return p;
}

size_t ops_numel(const LvTensor *t)
{
    size_t n = 1;

    if (t->id == LV_ID_NONE)
        return 0;
    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->dim[i];
    return n;
}

size_t ops_elem(int dtype)
{
    return dtype == LV_F32 || dtype == LV_I32 ? 4 : 2;
}

/* Value of a 16-bit float with the given bits of exponent and mantissa. */
static double half_value(unsigned u, int ebits, int mbits)
{
    int e      = (int)(u >> mbits) & ((1 << ebits) - 1);
    double m   = u & ((1u << mbits) - 1);
    double s   = u & 0x8000 ? -1 : 1;
    int bias   = (1 << (ebits - 1)) - 1;

    if (e == (1 << ebits) - 1)
        return m != 0 ? NAN : s * INFINITY;
    if (e == 0)
        return s * ldexp(m, 1 - bias - mbits);
    return s * ldexp(m + ldexp(1, mbits), e - bias - mbits);
}

double ops_get(const LvTensor *t, size_t i)
{
    const uint16_t *h = t->data;

    switch (t->dtype) {
    case LV_F32:  return ((const float *)t->data)[i];
    case LV_I32:  return ((const int32_t *)t->data)[i];
    case LV_F16:  return half_value(h[i], 5, 10);
    case LV_BF16: return half_value(h[i], 8, 7);
    }
    abort();
}

double *ops_f64(const LvTensor *t)
{
    size_t n = ops_numel(t);
    double *p;

    if (!n)
        return NULL;
    p = ref_zeros(n);
    for (size_t i = 0; i < n; i++)
        p[i] = ops_get(t, i);
    return p;
}

double ops_half_ulp(double x, int dtype)
{
    int digits = dtype == LV_F32 ? 24 : 8, e = -125;

    if (x != 0)
        frexp(x, &e);
    return ldexp(1, LV_MAX(e, -125) - digits - 1);
}

static double act(int kind, double x)
{
    switch (kind) {
    case LV_ACT_RELU:   return x > 0 ? x : 0;
    case LV_ACT_SILU:   return x / (1 + exp(-x));
    case LV_ACT_GELU:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case LV_ACT_CLAMP3: return 3 * tanh(x / 3);
    case LV_ACT_GELU_ERF: return 0.5 * x * erfc(-x / sqrt(2));
    default:            return x;
    }
}

/* The nearest number of a type of 8 bits. */
static double nearest(float x, enum LvMatmul of)
{
    return of == LV_MATMUL_I8 ? rint((double)x) : (double)lv_e4m3_f32(lv_f32_e4m3(x));
}

/* Rows of small numbers times a scale; a copy. */
static double *small_rows(const double *x, size_t rows, size_t n, enum LvMatmul of)
{
    float top  = of == LV_MATMUL_I8 ? 127 : 448;
    float least = of == LV_MATMUL_I8 ? 0x1p-149f : LV_F8_LEAST;
    double *y = malloc((rows * n + 1) * sizeof(*y));

    for (size_t i = 0; i < rows; i++) {
        float most = 0, by;
        for (size_t k = 0; k < n; k++)
            most = fmaxf(most, fabsf((float)x[i * n + k]));
        by = most >= least ? top / most : 0;
        for (size_t k = 0; k < n; k++)
            y[i * n + k] = nearest((float)x[i * n + k] * by, of) * (double)most / (double)top;
    }
    return y;
}

static void ref_linear_of(const LvLinearArgs *a, double **in, double **out);

static void ref_linear(const LvLinearArgs *a, double **in, double **out)
{
    double *whole[3] = { in[0], in[1], in[2] };
    int even = a->w.dim[0] % 16 == 0 && a->w.dim[1] % 16 == 0;

    if (a->of == LV_MATMUL_FLOAT || (a->of == LV_MATMUL_F8 && !even)) {
        ref_linear_of(a, in, out);
        return;
    }
    whole[0] = small_rows(in[0], (size_t)a->x.dim[0], (size_t)a->x.dim[1], a->of);
    whole[1] = small_rows(in[1], (size_t)a->w.dim[0], (size_t)a->w.dim[1], a->of);
    ref_linear_of(a, whole, out);
    free(whole[0]);
    free(whole[1]);
}

static void ref_linear_of(const LvLinearArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->x.dim[0], k = (size_t)a->x.dim[1], n = (size_t)a->w.dim[0];

    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = in[2] ? in[2][j] : 0;
            for (size_t l = 0; l < k; l++)
                s += in[0][i * k + l] * in[1][j * k + l];
            out[0][i * n + j] = act(a->act, s);
        }
}

double *ref_mod(const LvTensor *t, double *mod, size_t i, size_t rows,
                      int batch, int row)
{
    size_t sample = i / (rows / (size_t)batch), r = (size_t)t->dim[0] / (size_t)batch;

    return mod ? mod + (sample * r + (size_t)row) * (size_t)t->dim[1] : NULL;
}

static void ref_norm(const LvNormArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->x.dim[0], c = (size_t)a->x.dim[1];

    for (size_t i = 0; i < m; i++) {
        const double *x = in[0] + i * c;
        const double *scale = ref_mod(&a->mod, in[3], i, m, a->batch, a->scale);
        const double *shift = ref_mod(&a->mod, in[3], i, m, a->batch, a->shift);
        double mean = 0, var = 0, rstd;
        for (size_t j = 0; j < c && a->kind == LV_NORM_LAYER; j++)
            mean += x[j] / (double)c;
        for (size_t j = 0; j < c; j++)
            var += (x[j] - mean) * (x[j] - mean) / (double)c;
        rstd = 1 / sqrt(var + (double)a->eps);
        for (size_t j = 0; j < c; j++) {
            double y = (x[j] - mean) * rstd;
            y = y * (in[1] ? in[1][j] : 1) + (in[2] ? in[2][j] : 0);
            if (scale)
                y = (1 + scale[j]) * y + shift[j];
            out[0][i * c + j] = act(a->act, y);
        }
        if (out[1])
            out[1][i] = mean;
        if (out[2])
            out[2][i] = rstd;
    }
}

static void ref_gate(const LvGateArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->r.dim[0], c = (size_t)a->r.dim[1];

    for (size_t i = 0; i < m * c; i++) {
        const double *g = ref_mod(&a->mod, in[2], i / c, m, a->batch, a->row);
        out[0][i] = in[0][i] + (g ? g[i % c] : 1) * in[1][i];
    }
}

static void ref_gate_norm(const LvGateNormArgs *a, double **in, double **out)
{
    const LvGateArgs g = { a->r, a->x, a->gate, a->y, a->row, a->batch };
    const LvNormArgs n = { .x = a->y, .w = a->w, .b = a->b, .mod = a->mod, .y = a->n,
                           .mean = a->mean, .rstd = a->rstd, .kind = a->kind,
                           .shift = a->shift, .scale = a->scale, .eps = a->eps,
                           .batch = a->batch };
    double *of_norm[] = { out[0], in[3], in[4], in[5] };

    ref_gate(&g, in, out);
    ref_norm(&n, of_norm, out + 1);
}

static void ref_qknorm(const LvQknormArgs *a, double **in, double **out)
{
    size_t l = (size_t)a->x.dim[0], c = (size_t)a->x.dim[1];
    size_t d = c / (size_t)a->heads;

    for (size_t i = 0; i < l; i++) {
        const double *x = in[0] + i * c;
        double *y = out[0] + i * c, ms = 0, rstd;
        for (size_t j = 0; j < c; j++)
            ms += x[j] * x[j] / (double)c;
        rstd = 1 / sqrt(ms + (double)a->eps);
        for (size_t j = 0; j < c; j++)
            y[j] = x[j] * rstd * in[1][j];
        for (size_t j = 0; j + 1 < c && in[2]; j += 2) {
            size_t turn = i % (size_t)a->rope.dim[0];
            const double *cs = in[2] + (turn * (d / 2) + j % d / 2) * 2;
            double u = y[j], v = y[j + 1];
            y[j]     = u * cs[0] - v * cs[1];
            y[j + 1] = u * cs[1] + v * cs[0];
        }
        if (out[1])
            out[1][i] = rstd;
    }
}

int ops_bucket(int d, int buckets, int max_distance)
{
    int n = buckets / 2, exact = n / 2, a = abs(d), g = a;

    if (a >= exact) {
        double x = log((double)a / exact) / log((double)max_distance / exact);
        g = LV_MIN(n - 1, exact + (int)(x * (n - exact)));
    }
    return (d > 0 ? n : 0) + g;
}

/* One sample (b), head (h) and query (i): scores, the softmax, the values. */
static void attn_row(const LvAttnArgs *a, double **in, double **out, size_t b, size_t h,
                     size_t i, double *s)
{
    size_t c = (size_t)a->q.dim[1], d = c / (size_t)a->heads, batch = (size_t)a->batch;
    size_t lq = (size_t)a->q.dim[0] / batch, lk = (size_t)a->k.dim[0] / batch;
    const double *v = in[2] + b * lk * c + h * d;
    double *o = out[0] + (b * lq + i) * c + h * d, top = -INFINITY, sum = 0;

    for (size_t j = 0; j < lk; j++) {
        s[j] = ref_score(a, in, b, h, i, j);
        top  = fmax(top, s[j]);
    }
    for (size_t j = 0; j < lk && top > -INFINITY; j++)
        sum += s[j] = exp(s[j] - top);
    for (size_t j = 0; j < lk && sum > 0; j++)
        for (size_t e = 0; e < d; e++)
            o[e] += s[j] / sum * v[j * c + e];
    if (out[1])
        out[1][(b * (size_t)a->heads + h) * lq + i] = log(sum) + top;
}

double ref_score(const LvAttnArgs *a, double **in, size_t b, size_t h, size_t i, size_t j)
{
    size_t c = (size_t)a->q.dim[1], d = c / (size_t)a->heads, batch = (size_t)a->batch;
    size_t row = b * ((size_t)a->q.dim[0] / batch) + i;
    size_t key = b * ((size_t)a->k.dim[0] / batch) + j;
    const double *q = in[0] + row * c + h * d, *k = in[1] + key * c + h * d;
    double s = in[3] ? in[3][key] : 0;

    for (size_t e = 0; e < d; e++)
        s += (double)a->scale * q[e] * k[e];
    if (in[4]) {
        int n = ops_bucket((int)j - (int)i, a->rel_bias.dim[0], a->max_distance);
        s += in[4][(size_t)n * (size_t)a->heads + h];
    }
    return s;
}

static void ref_attn(const LvAttnArgs *a, double **in, double **out)
{
    size_t batch = (size_t)a->batch;
    double *s = ref_zeros((size_t)a->k.dim[0] / batch);

    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < (size_t)a->heads; h++)
            for (size_t i = 0; i < (size_t)a->q.dim[0] / batch; i++)
                attn_row(a, in, out, b, h, i, s);
    free(s);
}

int ops_features(int map, int p)
{
    if (map == LV_MAP_HEDGEHOG)
        return 2 * p;
    return map == LV_MAP_RELU ? p : 1 + p + p * (p + 1) / 2;
}

static void softmax(double *f, const double *y, size_t n, double sign)
{
    double top = -INFINITY, sum = 0;

    for (size_t i = 0; i < n; i++)
        top = fmax(top, sign * y[i]);
    for (size_t i = 0; i < n; i++)
        sum += f[i] = exp(sign * y[i] - top);
    for (size_t i = 0; i < n; i++)
        f[i] /= sum;
}

static void taylor(double *f, const double *y, size_t p)
{
    *f++ = 1;
    for (size_t a = 0; a < p; a++)
        *f++ = y[a] / pow((double)p, 0.25);
    for (size_t a = 0; a < p; a++)
        for (size_t b = a + 1; b < p; b++)
            *f++ = y[a] * y[b] / sqrt((double)p);
    for (size_t a = 0; a < p; a++)
        *f++ = y[a] * y[a] / sqrt(2 * (double)p);
}

void ref_features(double *f, double *y, int map, const double *x, const double *w,
                  size_t d, size_t p)
{
    for (size_t j = 0; j < p; j++) {
        y[j] = 0;
        for (size_t e = 0; e < d; e++)
            y[j] += x[e] * w[e * p + j];
    }
    if (map == LV_MAP_TAYLOR)
        taylor(f, y, p);
    for (size_t j = 0; j < p && map == LV_MAP_RELU; j++)
        f[j] = fmax(y[j], 0);
    if (map == LV_MAP_HEDGEHOG) {
        softmax(f, y, p, 1);
        softmax(f + p, y, p, -1);
    }
}

/* S = share S + (1 - share) past, of one sample and head. */
static void add_past(double *s, const double *past, double share, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s[i] = share * s[i] + (1 - share) * past[i];
}

/* One sample (b) and head (h); past: of those before, or NULL. */
static void linattn_head(const LvLinattnArgs *a, double **in, double **out, size_t b,
                         size_t h, double *phi, double *y, double *s, const double *past)
{
    size_t l = (size_t)a->q.dim[0] / (size_t)a->batch, c = (size_t)a->q.dim[1];
    size_t d = (size_t)a->wq.dim[1], p = (size_t)a->wq.dim[2];
    size_t nf = (size_t)ops_features(a->map, (int)p), at = b * l * c + h * d;

    for (size_t j = 0; j < l; j++) {
        const double *v = in[2] + at + j * c;
        ref_features(phi, y, a->map, in[1] + at + j * c, in[4] + h * d * p, d, p);
        for (size_t f = 0; f < nf; f++)
            for (size_t e = 0; e <= d; e++)
                s[f * (d + 1) + e] += phi[f] * (e < d ? v[e] : 1) / (double)l;
    }
    if (past)
        add_past(s, past, in[6][0], nf * (d + 1));
    for (size_t i = 0; i < l; i++) {
        double *o = out[0] + at + i * c, den = (double)a->eps;
        ref_features(phi, y, a->map, in[0] + at + i * c, in[3] + h * d * p, d, p);
        for (size_t f = 0; f < nf; f++) {
            for (size_t e = 0; e < d; e++)
                o[e] += phi[f] * s[f * (d + 1) + e];
            den += phi[f] * s[f * (d + 1) + d];
        }
        for (size_t e = 0; e < d; e++)
            o[e] /= den;
        if (out[2])
            out[2][(b * (size_t)a->heads + h) * l + i] = den;
    }
}

/* past: [B H,F',D+1], or NULL */
static void linattn(const LvLinattnArgs *a, double **in, double **out, const double *past)
{
    size_t d = (size_t)a->wq.dim[1], p = (size_t)a->wq.dim[2], heads = (size_t)a->heads;
    size_t nf = (size_t)ops_features(a->map, (int)p), n = nf * (d + 1);
    double *phi = ref_zeros(nf), *y = ref_zeros(p), *s = ref_zeros(n);

    for (size_t i = 0; i < (size_t)a->batch * heads; i++) {
        memset(s, 0, n * sizeof(*s));
        linattn_head(a, in, out, i / heads, i % heads, phi, y, s, past ? past + i * n : NULL);
        if (out[1])
            memcpy(out[1] + i * n, s, n * sizeof(*s));
    }
    free(phi);
    free(y);
    free(s);
}

static void ref_linattn(const LvLinattnArgs *a, double **in, double **out)
{
    linattn(a, in, out, NULL);
}

static void ref_linattn_run(const LvLinattnRunArgs *a, double **in, double **out)
{
    const LvLinattnArgs part = lv_linattn_part(a);
    double *both[3] = { out[0], out[1], NULL };

    linattn(&part, in, both, in[5]);
}

static void ref_mix(const LvMixArgs *a, double **in, double **out)
{
    double r = in[2][0];

    for (size_t i = 0; i < ops_numel(&a->a); i++)
        out[0][i] = r * in[0][i] + (1 - r) * in[1][i];
}

static void ref_nag(const LvNagArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->p.dim[0], c = (size_t)a->p.dim[1];
    double scale = (double)a->scale, tau = (double)a->tau, alpha = (double)a->alpha;

    for (size_t i = 0; i < m; i++) {
        const double *p = in[0] + i * c, *n = in[1] + i * c;
        double *y = out[0] + i * c, of_p = 0, of_g = 0;
        for (size_t j = 0; j < c; j++) {
            y[j]  = scale * p[j] - (scale - 1) * n[j];
            of_p += fabs(p[j]);
            of_g += fabs(y[j]);
        }
        for (size_t j = 0; j < c; j++) {
            if (of_g / of_p > tau)
                y[j] *= tau * of_p / (of_g + 1e-7);
            y[j] = alpha * y[j] + (1 - alpha) * p[j];
        }
    }
}

static void ref_add(const LvAddArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->a); i++)
        out[0][i] = in[0][i] + in[1][i % ops_numel(&a->b)];
}

static void ref_act(const LvActArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->x); i++)
        out[0][i] = act(a->act, in[0][i]);
}

static void ref_glu(const LvGluArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->x); i++)
        out[0][i] = in[0][i] * act(LV_ACT_GELU, in[1][i]);
}

static void ref_embed(const LvEmbedArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->table.dim[1];

    for (size_t i = 0; i < (size_t)a->ids.dim[0]; i++)
        for (size_t j = 0; j < c && in[0][i] >= 0 && in[0][i] < a->table.dim[0]; j++)
            out[0][i * c + j] = in[1][(size_t)in[0][i] * c + j];
}

static void ref_sinusoid(const LvSinusoidArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->y.dim[1] / 2;

    for (size_t b = 0; b < (size_t)a->t.dim[0]; b++)
        for (size_t i = 0; i < n; i++) {
            double w = pow(10000, -(double)i / (double)n), *y = out[0] + b * 2 * n;
            y[i]     = cos(in[0][b] * w);
            y[n + i] = sin(in[0][b] * w);
        }
}

/* Copy between a video [C,F,Y,X] or [B,C,F,Y,X] and its tokens. */
static void patches(const LvTensor *video, double *x, double *tokens, const int patch[3],
                    int order, int to_tokens)
{
    const int32_t *n = video->dim + (video->rank == 5);
    int pt = patch[0], ph = patch[1], pw = patch[2], c, f, i, j;
    int places = pt * ph * pw, deep = n[1] / pt, down = n[2] / ph, wide = n[3] / pw;

    for (size_t at = 0; at < ops_numel(video); at++) {
        int rest = (int)at, token, place, element;
        j = rest % n[3], rest /= n[3];
        i = rest % n[2], rest /= n[2];
        f = rest % n[1], rest /= n[1];
        c = rest % n[0], rest /= n[0];
        token   = ((rest * deep + f / pt) * down + i / ph) * wide + j / pw;
        place   = (f % pt * ph + i % ph) * pw + j % pw;
        element = order == LV_PATCH_CHANNEL_FAST ? place * n[0] + c : c * places + place;
        element += token * n[0] * places;
        if (to_tokens)
            tokens[element] = x[at];
        else
            x[at] = tokens[element];
    }
}

static void ref_patchify(const LvPatchifyArgs *a, double **in, double **out)
{
    const int patch[3] = { a->pt, a->ph, a->pw };

    patches(&a->x, in[0], out[0], patch, a->order, 1);
}

static void ref_unpatchify(const LvUnpatchifyArgs *a, double **in, double **out)
{
    const int patch[3] = { a->pt, a->ph, a->pw };

    patches(&a->y, out[0], in[0], patch, a->order, 0);
}

/* The sum at one place of the result: picture b, row i, column j, channel o. */
static double conv_at(const LvConvArgs *a, double **in, int b, int i, int j, int o)
{
    const int32_t *x = a->x.dim, *w = a->w.dim;
    double s = in[2] ? in[2][o] : 0;

    for (int u = 0; u < w[2]; u++)
        for (int v = 0; v < w[3]; v++) {
            int y = i * a->stride + u - a->pad, z = j * a->stride + v - a->pad;
            if (y < 0 || y >= x[1] || z < 0 || z >= x[2])
                continue;
            for (int c = 0; c < x[3]; c++)
                s += in[0][((b * x[1] + y) * x[2] + z) * x[3] + c] *
                     in[1][((o * w[1] + c) * w[2] + u) * w[3] + v];
        }
    return s;
}

static void ref_conv(const LvConvArgs *a, double **in, double **out)
{
    const int32_t *n = a->y.dim;
    size_t k = 0;

    for (int b = 0; b < n[0]; b++)
        for (int i = 0; i < n[1]; i++)
            for (int j = 0; j < n[2]; j++)
                for (int o = 0; o < n[3]; o++, k++)
                    out[0][k] = act(a->act, conv_at(a, in, b, i, j, o) +
                                            (in[3] ? in[3][k] : 0));
}

/* Frame f of prev, then x. */
static const double *conv3_frame(const LvConv3Args *a, double **in, int f)
{
    size_t frame = ops_numel(&a->prev) / (size_t)a->prev.dim[0];
    int before   = a->prev.dim[0];

    return f < before ? in[4] + (size_t)f * frame : in[0] + (size_t)(f - before) * frame;
}

/* The part of one frame of the kernel in the sum at a place of the result. */
static double conv3_part(const LvConv3Args *a, const double *x, const double *w, int i,
                         int j, int o)
{
    const int32_t *n = a->x.dim, *k = a->w.dim;
    double s = 0;

    for (int u = 0; u < k[3]; u++)
        for (int v = 0; v < k[4]; v++) {
            int y = i + u - a->pad, z = j + v - a->pad;
            if (y < 0 || y >= n[1] || z < 0 || z >= n[2])
                continue;
            for (int c = 0; c < n[3]; c++)
                s += x[(y * n[2] + z) * n[3] + c] *
                     w[((o * k[2] + c) * k[3] + u) * k[4] + v];
        }
    return s;
}

static void ref_conv3(const LvConv3Args *a, double **in, double **out)
{
    const int32_t *n = a->y.dim, *k = a->w.dim;
    size_t tap = ops_numel(&a->w) / (size_t)k[0], at = 0;
    size_t frame = ops_numel(&a->prev) / (size_t)a->prev.dim[0];

    for (int f = 0; f < n[0]; f++)
        for (int i = 0; i < n[1]; i++)
            for (int j = 0; j < n[2]; j++)
                for (int o = 0; o < n[3]; o++, at++) {
                    double s = (in[2] ? in[2][o] : 0) + (in[3] ? in[3][at] : 0);
                    for (int t = 0; t < k[0]; t++)
                        s += conv3_part(a, conv3_frame(a, in, f * a->step + t),
                                        in[1] + (size_t)t * tap, i, j, o);
                    out[0][at] = act(a->act, s);
                }
    for (int p = 0; p < a->prev.dim[0]; p++)
        memcpy(out[1] + (size_t)p * frame, conv3_frame(a, in, a->x.dim[0] + p),
               frame * sizeof(**out));
}

static void ref_recall(const LvRecallArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->x.dim[3], pixels = ops_numel(&a->prev) / c;
    size_t frames = (size_t)a->x.dim[0], frame = pixels * c;

    for (size_t b = 0; b < frames; b++) {
        const double *x = in[0] + b * frame, *p = b ? x - frame : in[1];
        for (size_t i = 0; i < pixels; i++)
            for (size_t j = 0; j < c; j++) {
                double *y = out[0] + (b * pixels + i) * 2 * c;
                y[j]     = x[i * c + j];
                y[c + j] = p[i * c + j];
            }
    }
    memcpy(out[1], in[0] + (frames - 1) * frame, frame * sizeof(**out));
}

/* Element b, i, j, c of a tensor of pictures. */
static size_t at(const LvTensor *t, size_t b, size_t i, size_t j, size_t c)
{
    return ((b * (size_t)t->dim[1] + i) * (size_t)t->dim[2] + j) * (size_t)t->dim[3] + c;
}

/* for all b, i, j, c of a tensor of pictures */
#define EACH(t)                                                    \
    for (size_t b = 0; b < (size_t)(t).dim[0]; b++)                \
        for (size_t i = 0; i < (size_t)(t).dim[1]; i++)            \
            for (size_t j = 0; j < (size_t)(t).dim[2]; j++)        \
                for (size_t c = 0; c < (size_t)(t).dim[3]; c++)

static void ref_upsample(const LvUpsampleArgs *a, double **in, double **out)
{
    EACH(a->y)
        out[0][at(&a->y, b, i, j, c)] = in[0][at(&a->x, b, i / 2, j / 2, c)];
}

static void ref_unstack(const LvUnstackArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->n, groups = (size_t)a->y.dim[3];

    EACH(a->y)
        out[0][at(&a->y, b, i, j, c)] =
            in[0][at(&a->x, b / n, i, j, b % n * groups + c)];
}

static void ref_stack(const LvStackArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->n, groups = (size_t)a->x.dim[3];

    EACH(a->y)
        out[0][at(&a->y, b, i, j, c)] =
            in[0][at(&a->x, b * n + c / groups, i, j, c % groups)];
}

static void ref_shuffle(const LvShuffleArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->n;

    EACH(a->y)
        out[0][at(&a->y, b, i, j, c)] =
            in[0][at(&a->x, b, i / n, j / n,
                     a->transposed ? (c * n + j % n) * n + i % n : (c * n + i % n) * n + j % n)];
}

static void ref_unshuffle(const LvUnshuffleArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->n;

    EACH(a->x)
        out[0][at(&a->y, b, i / n, j / n,
                  a->transposed ? (c * n + j % n) * n + i % n : (c * n + i % n) * n + j % n)] =
            in[0][at(&a->x, b, i, j, c)];
}

/* Walks over the larger side, which the definition does not: every value of it has one
 * place on the other. */
static void ref_avg_down(const LvAvgDownArgs *a, double **in, double **out)
{
    size_t ft = (size_t)a->ft, fs = (size_t)a->fs, n = ft * fs * fs;
    size_t g = (size_t)a->x.dim[3] * n / (size_t)a->y.dim[3];
    size_t zeros = (size_t)a->y.dim[0] * ft - (size_t)a->x.dim[0];

    for (size_t i = 0; i < ops_numel(&a->y); i++)
        out[0][i] = in[1] ? in[1][i] : 0;
    EACH(a->x) {
        size_t f = b + zeros, v = ((c * ft + f % ft) * fs + i % fs) * fs + j % fs;
        out[0][at(&a->y, f / ft, i / fs, j / fs, v / g)] +=
            in[0][at(&a->x, b, i, j, c)] / (double)g;
    }
}

static void ref_dup_up(const LvDupUpArgs *a, double **in, double **out)
{
    size_t ft = (size_t)a->ft, fs = (size_t)a->fs, n = ft * fs * fs;
    size_t many = (size_t)a->y.dim[3] * n / (size_t)a->x.dim[3];
    size_t left = (size_t)a->x.dim[0] * ft - (size_t)a->y.dim[0];

    EACH(a->y) {
        size_t f = b + left, v = ((c * ft + f % ft) * fs + i % fs) * fs + j % fs;
        out[0][at(&a->y, b, i, j, c)] = in[0][at(&a->x, f / ft, i / fs, j / fs, v / many)] +
                                        (in[1] ? in[1][at(&a->y, b, i, j, c)] : 0);
    }
}

static void ref_expand(const LvExpandArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->inner, n = ops_numel(&a->y) / ops_numel(&a->x);

    for (size_t i = 0; i < ops_numel(&a->y); i++)
        out[0][i] = in[0][i / (n * c) * c + i % c];
}

static void ref_fill(const LvFillArgs *a, double **in, double **out)
{
    (void)in;
    for (size_t i = 0; i < ops_numel(&a->y); i++)
        out[0][i] = (double)a->value;
}

static void ref_blend(const LvBlendArgs *a, double **in, double **out)
{
    EACH(a->x) {
        size_t to = at(&a->y, b, i + (size_t)a->top, j + (size_t)a->left, c);
        double v  = in[1][i] * in[2][j] *
                    ((double)a->scale * in[0][at(&a->x, b, i, j, c)] + (double)a->offset);
        int old   = i < (size_t)a->old_rows || j < (size_t)a->old_cols;
        out[0][to] = v + (old ? out[0][to] : 0);
    }
}

/* Planes are no tensors: check_pipeline compares them. */
static void ref_frame(const LvFrameArgs *a, double **in, double **out)
{
    (void)a, (void)in, (void)out;
}

int ops_added(int op, const LvOpArgs *a)
{
    switch (op) {
#define ADD(NAME, name) case LV_OP_##NAME: return a->name.add;
    ADD(REDUCE, reduce)
    ADD(SQSUM, sqsum)
    ADD(LINEAR_DX, linear_dx)
    ADD(LINEAR_DW, linear_dw)
    ADD(QKNORM_DX, qknorm_dx)
    ADD(ATTN_DX, attn_dx)
    ADD(LINATTN_DX, linattn_dx)
    ADD(MIX_DX, mix_dx)
    ADD(ACT_DX, act_dx)
    ADD(GLU_DX, glu_dx)
    ADD(EMBED_DX, embed_dx)
    ADD(CONV_DX, conv_dx)
    ADD(CONV_DW, conv_dw)
    ADD(RECALL_DX, recall_dx)
    ADD(UPSAMPLE_DX, upsample_dx)
#undef ADD
    case LV_OP_NORM_DX: return a->norm_dx.add | 8;
    case LV_OP_GATE_DX: return a->gate_dx.add | 2;
    case LV_OP_BLEND:   return 1;
    case LV_OP_ADAMW:   return 15;
    }
    return 0;
}

void ops_ref_f64(int op, const LvOpArgs *a, double **in, double **out)
{
    switch (op) {
#define CASE(NAME, name, Type, nin, nout)  \
    case LV_OP_##NAME:                     \
        ref_##name(&a->name, in, out);     \
        break;
    LV_OPS(CASE)
#undef CASE
    }
}

#define COUNT(NAME, name, Type, in, out) { in, out },
static const struct {
    int in, out;
} counts[LV_OP_NB] = { LV_OPS(COUNT) };

void ops_ref(int op, const LvOpArgs *a, double *out[OPS_MAX_OUT])
{
    double *in[LV_OP_MAX_TENSORS] = { NULL };

    for (int i = 0; i < counts[op].in; i++)
        in[i] = ops_f64(&a->t[i]);
    for (int i = 0; i < OPS_MAX_OUT; i++) {
        const LvTensor *t = &a->t[counts[op].in + i];
        out[i] = NULL;
        if (i < counts[op].out && ops_numel(t))
            out[i] = ops_added(op, a) >> i & 1 ? ops_f64(t) : ref_zeros(ops_numel(t));
    }
    ops_ref_f64(op, a, in, out);
    for (int i = 0; i < counts[op].in; i++)
        free(in[i]);
}
