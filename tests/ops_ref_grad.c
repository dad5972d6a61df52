/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The ops of training: gradients, losses, the optimizer.
 */

#include "tests/ops_ref_grad.h"

#include <math.h>
#include <stdlib.h>

#include "tests/ops_ref.h"

/* Add to an output that may be absent. */
static void add(double *out, size_t i, double v)
{
    if (out)
        out[i] += v;
}

void ref_reduce(const LvReduceArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->inner, n = ops_numel(&a->x) / ops_numel(&a->y);

    for (size_t i = 0; i < ops_numel(&a->x); i++)
        out[0][i / (n * c) * c + i % c] += in[0][i];
}

void ref_loss(const LvLossArgs *a, double **in, double **out)
{
    size_t n = ops_numel(&a->x) / (size_t)a->weight.dim[0];

    for (size_t i = 0; i < ops_numel(&a->x); i++) {
        double e = in[0][i] - in[1][i], w = in[2][i / n] / (double)n;
        double r = sqrt(e * e + 1e-4);
        const double f[LV_LOSS_NB]     = { e * e, r - 1e-2, fabs(e) };
        const double slope[LV_LOSS_NB] = { 2 * e, e / r, (e > 0) - (e < 0) };
        if (in[3])
            w /= fmax(in[3][i / n], (double)LV_LOSS_FLOOR);
        out[0][i / n] += w * f[a->kind];
        add(out[1], i, w * slope[a->kind]);
    }
}

void ref_sqsum(const LvSqsumArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->x); i++)
        out[0][0] += in[0][i] * in[0][i];
}

void ref_adamw(const LvAdamwArgs *a, double **in, double **out)
{
    const double *h = in[1];
    double *p = out[0], *m = out[1], *v = out[2], clip = 1;

    if (in[2] && h[LV_HYPER_CLIP] > 0)
        clip = fmin(1, h[LV_HYPER_CLIP] / sqrt(in[2][0]));
    for (size_t i = 0; i < ops_numel(&a->g); i++) {
        double g = in[0][i] * clip;
        m[i] = h[LV_HYPER_BETA1] * m[i] + (1 - h[LV_HYPER_BETA1]) * g;
        v[i] = h[LV_HYPER_BETA2] * v[i] + (1 - h[LV_HYPER_BETA2]) * g * g;
        p[i] -= h[LV_HYPER_LR] * (m[i] / h[LV_HYPER_BIAS1] /
                                  (sqrt(v[i] / h[LV_HYPER_BIAS2]) + h[LV_HYPER_EPS]) +
                                  h[LV_HYPER_DECAY] * p[i]);
        if (out[3])
            out[3][i] = h[LV_HYPER_EMA] * out[3][i] + (1 - h[LV_HYPER_EMA]) * p[i];
    }
}

void ref_linear_dx(const LvLinearDxArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->dy.dim[0], n = (size_t)a->w.dim[0], k = (size_t)a->w.dim[1];

    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t l = 0; l < k; l++)
                out[0][i * k + l] += in[0][i * n + j] * in[1][j * k + l];
}

void ref_linear_dw(const LvLinearDwArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->x.dim[0], n = (size_t)a->dw.dim[0], k = (size_t)a->dw.dim[1];

    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t l = 0; l < k; l++)
                out[0][j * k + l] += in[0][i * n + j] * in[1][i * k + l];
}

/* Row i: u is the gradient of the normalised row, with the parameters put in. */
static void norm_dx_row(const LvNormDxArgs *a, double **in, double **out, size_t i,
                        double *u)
{
    size_t m = (size_t)a->x.dim[0], c = (size_t)a->x.dim[1], at = i * c;
    const double *scale = ref_mod(&a->mod, in[3], i, m, a->batch, a->scale);
    double *dscale = ref_mod(&a->mod, out[3], i, m, a->batch, a->scale);
    double *dshift = ref_mod(&a->mod, out[3], i, m, a->batch, a->shift);
    double mean = in[4] ? in[4][i] : 0, rstd = in[5][i], su = 0, sun = 0;

    for (size_t j = 0; j < c; j++) {
        double n = (in[0][at + j] - mean) * rstd, dy = in[6][at + j];
        double w = in[1] ? in[1][j] : 1, s = scale ? 1 + scale[j] : 1;
        u[j] = dy * s * w;
        su  += u[j] / (double)c;
        sun += u[j] * n / (double)c;
        add(out[1], j, dy * s * n);
        add(out[2], j, dy * s);
        add(dscale, j, dy * (n * w + (in[2] ? in[2][j] : 0)));
        add(dshift, j, dy);
    }
    for (size_t j = 0; j < c; j++)
        add(out[0], at + j, rstd * (u[j] - (a->kind == LV_NORM_LAYER ? su : 0) -
                                    (in[0][at + j] - mean) * rstd * sun));
}

void ref_norm_dx(const LvNormDxArgs *a, double **in, double **out)
{
    double *u = ref_zeros((size_t)a->x.dim[1]);

    for (size_t i = 0; i < (size_t)a->x.dim[0]; i++)
        norm_dx_row(a, in, out, i, u);
    free(u);
}

void ref_gate_dx(const LvGateDxArgs *a, double **in, double **out)
{
    size_t m = (size_t)a->dy.dim[0], c = (size_t)a->dy.dim[1];

    for (size_t i = 0; i < m * c; i++) {
        const double *g = ref_mod(&a->mod, in[1], i / c, m, a->batch, a->row);
        double *d = ref_mod(&a->mod, out[1], i / c, m, a->batch, a->row);
        add(out[0], i, (g ? g[i % c] : 1) * in[2][i]);
        if (d)
            add(d, i % c, in[2][i] * in[0][i]);
    }
}

/* Row i: the rotation is undone first. */
static void qknorm_dx_row(const LvQknormDxArgs *a, double **in, double **out, size_t i,
                          double *u)
{
    size_t c = (size_t)a->x.dim[1], d = c / (size_t)a->heads;
    const double *x = in[0] + i * c, *dy = in[4] + i * c;
    double rstd = in[3][i], sun = 0;

    for (size_t j = 0; j < c; j++)
        u[j] = dy[j];
    for (size_t j = 0; j + 1 < c && in[2]; j += 2) {
        size_t turn = i % (size_t)a->rope.dim[0];
        const double *cs = in[2] + (turn * (d / 2) + j % d / 2) * 2;
        u[j]     = dy[j] * cs[0] + dy[j + 1] * cs[1];
        u[j + 1] = dy[j + 1] * cs[0] - dy[j] * cs[1];
    }
    for (size_t j = 0; j < c; j++) {
        add(out[1], j, u[j] * x[j] * rstd);
        u[j] *= in[1][j];
        sun  += u[j] * x[j] * rstd / (double)c;
    }
    for (size_t j = 0; j < c; j++)
        add(out[0], i * c + j, rstd * (u[j] - x[j] * rstd * sun));
}

void ref_qknorm_dx(const LvQknormDxArgs *a, double **in, double **out)
{
    double *u = ref_zeros((size_t)a->x.dim[1]);

    for (size_t i = 0; i < (size_t)a->x.dim[0]; i++)
        qknorm_dx_row(a, in, out, i, u);
    free(u);
}

/* What one query and key of a head give to all gradients; at and key: the first
 * elements of their rows in that head. */
static void attn_dx_pair(const LvAttnDxArgs *a, double **in, double **out, size_t at,
                         size_t key, double p, double delta, size_t rel)
{
    size_t d = (size_t)a->q.dim[1] / (size_t)a->heads;
    double ds = -delta;

    for (size_t e = 0; e < d; e++)
        ds += in[7][at + e] * in[2][key + e];
    ds *= p;
    for (size_t e = 0; e < d; e++) {
        add(out[0], at + e, (double)a->scale * ds * in[1][key + e]);
        add(out[1], key + e, (double)a->scale * ds * in[0][at + e]);
        add(out[2], key + e, p * in[7][at + e]);
    }
    add(out[3], rel, ds);
}

static void attn_dx_row(const LvAttnDxArgs *a, double **in, double **out, size_t b,
                        size_t h, size_t i)
{
    LvAttnArgs f = { .q = a->q, .k = a->k, .rel_bias = a->rel_bias, .heads = a->heads,
                     .max_distance = a->max_distance, .scale = a->scale,
                     .batch = a->batch };
    size_t heads = (size_t)a->heads, batch = (size_t)a->batch;
    size_t c = (size_t)a->q.dim[1], d = c / heads;
    size_t lq = (size_t)a->q.dim[0] / batch, lk = (size_t)a->k.dim[0] / batch;
    size_t at = (b * lq + i) * c + h * d;
    double delta = 0;

    for (size_t e = 0; e < d; e++)
        delta += in[7][at + e] * in[5][at + e];
    for (size_t j = 0; j < lk; j++) {
        double s   = ref_score(&f, in, b, h, i, j);
        double p   = s > -INFINITY ? exp(s - in[6][(b * heads + h) * lq + i]) : 0;
        int bucket = in[4] ? ops_bucket((int)j - (int)i, a->rel_bias.dim[0],
                                        a->max_distance) : 0;
        attn_dx_pair(a, in, out, at, (b * lk + j) * c + h * d, p, delta,
                     (size_t)bucket * heads + h);
    }
}

void ref_attn_dx(const LvAttnDxArgs *a, double **in, double **out)
{
    size_t batch = (size_t)a->batch;

    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < (size_t)a->heads; h++)
            for (size_t i = 0; i < (size_t)a->q.dim[0] / batch; i++)
                attn_dx_row(a, in, out, b, h, i);
}

static void softmax_dx(double *dy, const double *f, const double *df, size_t p,
                       double sign)
{
    double sum = 0;

    for (size_t j = 0; j < p; j++)
        sum += f[j] * df[j];
    for (size_t j = 0; j < p; j++)
        dy[j] += sign * f[j] * (df[j] - sum);
}

static void taylor_dx(double *dy, const double *y, const double *df, size_t p)
{
    df++;
    for (size_t a = 0; a < p; a++)
        dy[a] += *df++ / pow((double)p, 0.25);
    for (size_t a = 0; a < p; a++)
        for (size_t b = a + 1; b < p; b++, df++) {
            dy[a] += *df * y[b] / sqrt((double)p);
            dy[b] += *df * y[a] / sqrt((double)p);
        }
    for (size_t a = 0; a < p; a++)
        dy[a] += 2 * *df++ * y[a] / sqrt(2 * (double)p);
}

/* dy [P] from df, the gradient of the features f of y. */
static void map_dx(double *dy, int map, const double *y, const double *f,
                   const double *df, size_t p)
{
    for (size_t j = 0; j < p; j++)
        dy[j] = map == LV_MAP_RELU && y[j] > 0 ? df[j] : 0;
    if (map == LV_MAP_TAYLOR)
        taylor_dx(dy, y, df, p);
    if (map == LV_MAP_HEDGEHOG) {
        softmax_dx(dy, f, df, p, 1);
        softmax_dx(dy, f + p, df + p, p, -1);
    }
}

/* One sample and head of linear attention: sizes, and scratch for one token. */
typedef struct Head {
    size_t l, c, d, p, nf, at, w, den; ///< at, w, den: where its values begin
    double *f, *df, *y, *dy, *g;       ///< features and theirs, y = x w and its, G
    const double *s;                   ///< [nf,d+1]
    double *ds;                        ///< [nf,d+1]
} Head;

/* Gradients of x and w through the map, for the token that begins at x. */
static void through_map(const Head *h, int map, const double *x, const double *w,
                        double *dx, double *dw)
{
    map_dx(h->dy, map, h->y, h->f, h->df, h->p);
    for (size_t e = 0; e < h->d; e++)
        for (size_t j = 0; j < h->p; j++) {
            add(dx, e, h->dy[j] * w[e * h->p + j]);
            add(dw, e * h->p + j, x[e] * h->dy[j]);
        }
}

static double *offset(double *p, size_t n)
{
    return p ? p + n : NULL;
}

/* Queries: dphi_q = G S^T, and dS = phi_q^T G / L. */
static void linattn_dx_query(const LvLinattnDxArgs *a, double **in, double **out,
                             const Head *h, size_t i)
{
    size_t at = h->at + i * h->c, d = h->d;
    const double *q = in[0] + at, *o = in[5] + at, *dy = in[8] + at;
    double den = in[7][h->den + i];

    h->g[d] = 0;
    for (size_t e = 0; e < d; e++) {
        h->g[e]  = dy[e] / den;
        h->g[d] -= dy[e] * o[e] / den;
    }
    ref_features(h->f, h->y, a->map, q, in[3] + h->w, d, h->p);
    for (size_t f = 0; f < h->nf; f++) {
        h->df[f] = 0;
        for (size_t e = 0; e <= d; e++) {
            h->df[f] += h->g[e] * h->s[f * (d + 1) + e];
            h->ds[f * (d + 1) + e] += h->f[f] * h->g[e] / (double)h->l;
        }
    }
    through_map(h, a->map, q, in[3] + h->w, offset(out[0], at), offset(out[3], h->w));
}

/* Keys: dphi_k = [v, 1] dS^T, dv = phi_k dS. */
static void linattn_dx_key(const LvLinattnDxArgs *a, double **in, double **out,
                           const Head *h, size_t j)
{
    size_t at = h->at + j * h->c, d = h->d;
    const double *k = in[1] + at, *v = in[2] + at;

    ref_features(h->f, h->y, a->map, k, in[4] + h->w, d, h->p);
    for (size_t f = 0; f < h->nf; f++) {
        const double *ds = h->ds + f * (d + 1);
        h->df[f] = ds[d];
        for (size_t e = 0; e < d; e++) {
            h->df[f] += v[e] * ds[e];
            add(out[2], at + e, h->f[f] * ds[e]);
        }
    }
    through_map(h, a->map, k, in[4] + h->w, offset(out[1], at), offset(out[4], h->w));
}

static void linattn_dx_head(const LvLinattnDxArgs *a, double **in, double **out,
                            Head *h, size_t sample, size_t head)
{
    size_t i = sample * (size_t)a->heads + head, n = h->nf * (h->d + 1);

    h->at  = sample * h->l * h->c + head * h->d;
    h->w   = head * h->d * h->p;
    h->den = i * h->l;
    h->s   = in[6] + i * n;
    for (size_t k = 0; k < n; k++)
        h->ds[k] = 0;
    for (size_t k = 0; k < h->l; k++)
        linattn_dx_query(a, in, out, h, k);
    for (size_t k = 0; k < h->l; k++)
        linattn_dx_key(a, in, out, h, k);
}

void ref_linattn_dx(const LvLinattnDxArgs *a, double **in, double **out)
{
    size_t d = (size_t)a->wq.dim[1], p = (size_t)a->wq.dim[2];
    size_t nf = (size_t)ops_features(a->map, (int)p);
    double *work = ref_zeros(2 * nf + 2 * p + (nf + 1) * (d + 1));
    Head h = { .l = (size_t)a->q.dim[0] / (size_t)a->batch, .c = (size_t)a->q.dim[1],
               .d = d, .p = p, .nf = nf, .f = work, .df = work + nf, .y = work + 2 * nf,
               .dy = work + 2 * nf + p, .g = work + 2 * nf + 2 * p };

    h.ds = h.g + d + 1;
    for (size_t b = 0; b < (size_t)a->batch; b++)
        for (size_t i = 0; i < (size_t)a->heads; i++)
            linattn_dx_head(a, in, out, &h, b, i);
    free(work);
}

void ref_mix_dx(const LvMixDxArgs *a, double **in, double **out)
{
    double r = in[2][0];

    for (size_t i = 0; i < ops_numel(&a->a); i++) {
        add(out[0], i, r * in[3][i]);
        add(out[1], i, (1 - r) * in[3][i]);
        add(out[2], 0, in[3][i] * (in[0][i] - in[1][i]));
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double act_slope(int kind, double x)
{
    double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x), s = 1 / (1 + exp(-x));

    switch (kind) {
    case LV_ACT_RELU: return x > 0;
    case LV_ACT_SILU: return s * (1 + x * (1 - s));
    case LV_ACT_GELU:
        return 0.5 * (1 + tanh(u)) + 0.5 * x * (1 - tanh(u) * tanh(u)) *
                                     sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    case LV_ACT_CLAMP3: return 1 - tanh(x / 3) * tanh(x / 3);
    case LV_ACT_GELU_ERF:
        return 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    default:            return 1;
    }
}

void ref_act_dx(const LvActDxArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->x); i++)
        out[0][i] += in[1][i] * act_slope(a->act, in[0][i]);
}

void ref_glu_dx(const LvGluDxArgs *a, double **in, double **out)
{
    for (size_t i = 0; i < ops_numel(&a->x); i++) {
        add(out[0], i, in[2][i] * gelu(in[1][i]));
        add(out[1], i, in[2][i] * in[0][i] * act_slope(LV_ACT_GELU, in[1][i]));
    }
}

void ref_embed_dx(const LvEmbedDxArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->dtable.dim[1];

    for (size_t i = 0; i < ops_numel(&a->dy); i++) {
        double id = in[0][i / c];
        if (id >= 0 && id < a->dtable.dim[0])
            out[0][(size_t)id * c + i % c] += in[1][i];
    }
}

/* dx or dw of a convolution, whose pictures x and filters w have these shapes. */
static void conv_grad(const LvTensor *tx, const LvTensor *tw, const LvTensor *ty,
                      int stride, int pad, const double *dy, const double *x,
                      const double *w, double *dx, double *dw)
{
    const int32_t *nx = tx->dim, *nw = tw->dim, *ny = ty->dim;
    int taps = nw[1] * nw[2] * nw[3];

    for (int at = 0; at < (int)ops_numel(ty); at++)
        for (int t = 0; t < taps; t++) {
            int o = at % ny[3], j = at / ny[3] % ny[2], i = at / ny[3] / ny[2] % ny[1];
            int b = at / ny[3] / ny[2] / ny[1], c = t / nw[3] / nw[2];
            int row = i * stride + t / nw[3] % nw[2] - pad;
            int col = j * stride + t % nw[3] - pad;
            size_t in = (size_t)(((b * nx[1] + row) * nx[2] + col) * nx[3] + c);
            size_t tap = (size_t)(o * taps + t);
            if (row < 0 || row >= nx[1] || col < 0 || col >= nx[2])
                continue;
            add(dx, in, w ? dy[at] * w[tap] : 0);
            add(dw, tap, x ? dy[at] * x[in] : 0);
        }
}

void ref_conv_dx(const LvConvDxArgs *a, double **in, double **out)
{
    conv_grad(&a->dx, &a->w, &a->dy, a->stride, a->pad, in[0], NULL, in[1], out[0], NULL);
}

void ref_conv_dw(const LvConvDwArgs *a, double **in, double **out)
{
    conv_grad(&a->x, &a->dw, &a->dy, a->stride, a->pad, in[0], in[1], NULL, NULL, out[0]);
}

void ref_recall_dx(const LvRecallDxArgs *a, double **in, double **out)
{
    size_t c = (size_t)a->dx.dim[3], n = ops_numel(&a->dx);
    size_t frame = n / (size_t)a->dx.dim[0];

    for (size_t i = 0; i < n; i++) {
        const double *dy = in[0] + i / c * 2 * c + i % c;
        out[0][i] += dy[0] + (i + frame < n ? dy[2 * frame + c] : 0);
    }
}

void ref_upsample_dx(const LvUpsampleDxArgs *a, double **in, double **out)
{
    const int32_t *n = a->dy.dim;
    size_t c = (size_t)n[3], cols = (size_t)n[2];

    for (size_t i = 0; i < ops_numel(&a->dy); i++) {
        size_t row = i / c / cols, col = i / c % cols; /* the rows of a picture are even */
        out[0][(row / 2 * (cols / 2) + col / 2) * c + i % c] += in[0][i];
    }
}
