/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/ops_ref.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

static double *zeros(size_t n)
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
    p = zeros(n);
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
    default:            return x;
    }
}

static void ref_linear(const LvLinearArgs *a, double **in, double **out)
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

static void ref_norm(const LvNormArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->x.dim[0], c = (size_t)a->x.dim[1];
    const double *mod = in[3];

    for (size_t i = 0; i < m; i++) {
        const double *x = in[0] + i * c;
        double mean = 0, var = 0, rstd;
        for (size_t j = 0; j < c && a->kind == LV_NORM_LAYER; j++)
            mean += x[j] / (double)c;
        for (size_t j = 0; j < c; j++)
            var += (x[j] - mean) * (x[j] - mean) / (double)c;
        rstd = 1 / sqrt(var + (double)a->eps);
        for (size_t j = 0; j < c; j++) {
            double y = (x[j] - mean) * rstd;
            y = y * (in[1] ? in[1][j] : 1) + (in[2] ? in[2][j] : 0);
            if (mod)
                y = (1 + mod[(size_t)a->scale * c + j]) * y +
                    mod[(size_t)a->shift * c + j];
            out[0][i * c + j] = y;
        }
        if (out[1])
            out[1][i] = mean;
        if (out[2])
            out[2][i] = rstd;
    }
}

static void ref_gate(const LvGateArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->r.dim[1], n = ops_numel(&a->r);

    for (size_t i = 0; i < n; i++) {
        double g = in[2] ? in[2][(size_t)a->row * c + i % c] : 1;
        out[0][i] = in[0][i] + g * in[1][i];
    }
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
            const double *cs = in[2] + (i * (d / 2) + j % d / 2) * 2;
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

/* One head (h) and one query (i): scores, then the softmax, then the values. */
static void attn_row(const LvAttnArgs *a, double **in, double **out, size_t h,
                     size_t i, double *s)
{
    size_t c = (size_t)a->q.dim[1], d = c / (size_t)a->heads;
    size_t lq = (size_t)a->q.dim[0], lk = (size_t)a->k.dim[0];
    const double *q = in[0] + i * c + h * d, *k = in[1] + h * d, *v = in[2] + h * d;
    double top = -INFINITY, sum = 0;

    for (size_t j = 0; j < lk; j++) {
        s[j] = 0;
        for (size_t e = 0; e < d; e++)
            s[j] += (double)a->scale * q[e] * k[j * c + e];
        if (in[3])
            s[j] += in[3][j];
        if (in[4]) {
            int b = ops_bucket((int)j - (int)i, a->rel_bias.dim[0], a->max_distance);
            s[j] += in[4][(size_t)b * (size_t)a->heads + h];
        }
        top = fmax(top, s[j]);
    }
    for (size_t j = 0; j < lk; j++)
        sum += s[j] = exp(s[j] - top);
    for (size_t j = 0; j < lk; j++)
        for (size_t e = 0; e < d; e++)
            out[0][i * c + h * d + e] += s[j] / sum * v[j * c + e];
    if (out[1])
        out[1][h * lq + i] = log(sum) + top;
}

static void ref_attn(const LvAttnArgs *a, double **in, double **out)
{
    double *s = zeros((size_t)a->k.dim[0]);

    for (size_t h = 0; h < (size_t)a->heads; h++)
        for (size_t i = 0; i < (size_t)a->q.dim[0]; i++)
            attn_row(a, in, out, h, i, s);
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

/* Features of one token of one head: x [D], w [D,P]. y is scratch of P. */
static void features(double *f, double *y, int map, const double *x, const double *w,
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

static void linattn_head(const LvLinattnArgs *a, double **in, double **out, size_t h,
                         double *phi, double *y, double *s)
{
    size_t l = (size_t)a->q.dim[0], c = (size_t)a->q.dim[1];
    size_t d = (size_t)a->wq.dim[1], p = (size_t)a->wq.dim[2];
    size_t nf = (size_t)ops_features(a->map, (int)p);

    for (size_t j = 0; j < l; j++) {
        const double *v = in[2] + j * c + h * d;
        features(phi, y, a->map, in[1] + j * c + h * d, in[4] + h * d * p, d, p);
        for (size_t f = 0; f < nf; f++)
            for (size_t e = 0; e <= d; e++)
                s[f * (d + 1) + e] += phi[f] * (e < d ? v[e] : 1) / (double)l;
    }
    for (size_t i = 0; i < l; i++) {
        double *o = out[0] + i * c + h * d, den = (double)a->eps;
        features(phi, y, a->map, in[0] + i * c + h * d, in[3] + h * d * p, d, p);
        for (size_t f = 0; f < nf; f++) {
            for (size_t e = 0; e < d; e++)
                o[e] += phi[f] * s[f * (d + 1) + e];
            den += phi[f] * s[f * (d + 1) + d];
        }
        for (size_t e = 0; e < d; e++)
            o[e] /= den;
        if (out[2])
            out[2][h * l + i] = den;
    }
}

static void ref_linattn(const LvLinattnArgs *a, double **in, double **out)
{
    size_t d = (size_t)a->wq.dim[1], p = (size_t)a->wq.dim[2];
    size_t nf = (size_t)ops_features(a->map, (int)p), n = nf * (d + 1);
    double *phi = zeros(nf), *y = zeros(p), *s = zeros(n);

    for (size_t h = 0; h < (size_t)a->heads; h++) {
        memset(s, 0, n * sizeof(*s));
        linattn_head(a, in, out, h, phi, y, s);
        if (out[1])
            memcpy(out[1] + h * n, s, n * sizeof(*s));
    }
    free(phi);
    free(y);
    free(s);
}

static void ref_mix(const LvMixArgs *a, double **in, double **out)
{
    double r = in[2][0];

    for (size_t i = 0; i < ops_numel(&a->a); i++)
        out[0][i] = r * in[0][i] + (1 - r) * in[1][i];
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
    size_t n = ops_numel(&a->y) / 2;

    for (size_t i = 0; i < n; i++) {
        double w = pow(10000, -(double)i / (double)n);
        out[0][i]     = cos(in[0][0] * w);
        out[0][n + i] = sin(in[0][0] * w);
    }
}

/* Place of a latent's element c, f, y, x among its tokens. */
typedef struct Patch {
    size_t token, a, b, e;
} Patch;

static Patch patch_of(size_t f, size_t y, size_t x, const size_t p[3], size_t rows,
                      size_t cols)
{
    return (Patch) {
        .token = (f / p[0] * (rows / p[1]) + y / p[1]) * (cols / p[2]) + x / p[2],
        .a = f % p[0], .b = y % p[1], .e = x % p[2],
    };
}

static void ref_patchify(const LvPatchifyArgs *a, double **in, double **out)
{
    const size_t p[3] = { (size_t)a->pt, (size_t)a->ph, (size_t)a->pw };
    const int32_t *n = a->x.dim;
    size_t width = (size_t)a->y.dim[1], i = 0;

    for (size_t c = 0; c < (size_t)n[0]; c++)
        for (size_t f = 0; f < (size_t)n[1]; f++)
            for (size_t y = 0; y < (size_t)n[2]; y++)
                for (size_t x = 0; x < (size_t)n[3]; x++) {
                    Patch q = patch_of(f, y, x, p, (size_t)n[2], (size_t)n[3]);
                    out[0][q.token * width + c * p[0] * p[1] * p[2] +
                           (q.a * p[1] + q.b) * p[2] + q.e] = in[0][i++];
                }
}

static void ref_unpatchify(const LvUnpatchifyArgs *a, double **in, double **out)
{
    const size_t p[3] = { (size_t)a->pt, (size_t)a->ph, (size_t)a->pw };
    const int32_t *n = a->y.dim;
    size_t width = (size_t)a->x.dim[1], i = 0;

    for (size_t c = 0; c < (size_t)n[0]; c++)
        for (size_t f = 0; f < (size_t)n[1]; f++)
            for (size_t y = 0; y < (size_t)n[2]; y++)
                for (size_t x = 0; x < (size_t)n[3]; x++) {
                    Patch q = patch_of(f, y, x, p, (size_t)n[2], (size_t)n[3]);
                    out[0][i++] = in[0][q.token * width +
                                        ((q.a * p[1] + q.b) * p[2] + q.e) *
                                            (size_t)n[0] + c];
                }
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
            in[0][at(&a->x, b, i / n, j / n, (c * n + i % n) * n + j % n)];
}

static void ref_unshuffle(const LvUnshuffleArgs *a, double **in, double **out)
{
    size_t n = (size_t)a->n;

    EACH(a->x)
        out[0][at(&a->y, b, i / n, j / n, (c * n + i % n) * n + j % n)] =
            in[0][at(&a->x, b, i, j, c)];
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
        out[i] = i < counts[op].out && ops_numel(t) ? zeros(ops_numel(t)) : NULL;
    }
    switch (op) {
#define CASE(NAME, name, Type, nin, nout)  \
    case LV_OP_##NAME:                     \
        ref_##name(&a->name, in, out);     \
        break;
    LV_OPS(CASE)
#undef CASE
    }
    for (int i = 0; i < counts[op].in; i++)
        free(in[i]);
}
